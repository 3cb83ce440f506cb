"""Small language models whose texts can be worked out: shared by the tests of decoding."""

import numpy as np

import minigrad as mg
from minigrad import Tensor, nn, no_grad
from transformer import GPT
from transformer.checks import shaken


def tiny(vocab=7, context=8, seed=0, **options):
    """A model with opinions: float64, every parameter away from its start."""
    mg.manual_seed(0)
    return shaken(GPT(vocab, 8, 2, 1, context, **options), np.random.default_rng(seed)).eval()


class Table(nn.Module):
    """A language model with a fixed row of logits after each token."""

    def __init__(self, logits, context_length=1000):
        self.logits, self.context_length = np.asarray(logits, np.float64), context_length
        self.vocab_size = len(self.logits)

    def forward(self, ids, cache=None, attention_mask=None):
        return Tensor(self.logits[ids])


def certain(*successors):
    """A table in which each token is followed by a fixed one."""
    logits = np.full((len(successors), len(successors)), -50.0)
    logits[np.arange(len(successors)), list(successors)] = 50.0
    return Table(logits)


def log_probability(model, prompt, continuation):
    """Of a continuation that fits into the context with the prompt."""
    ids = np.array([[*prompt, *continuation]])
    with no_grad():
        log_p = mg.log_softmax(model(ids[:, :-1])).data[0]
    return sum(log_p[len(prompt) - 1 + i, token] for i, token in enumerate(continuation))


def chi_square(counts, expected):
    """Pearson's statistic over its degrees of freedom's 0.999 quantile (Wilson & Hilferty 1931): below 1 unless one in a thousand."""
    counts, expected = np.asarray(counts, float), np.asarray(expected, float)
    assert (counts[expected == 0] == 0).all()
    possible = expected > 0
    freedom = possible.sum() - 1
    statistic = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    return statistic / (freedom * (1 - 2 / (9 * freedom) + 3.0902 * np.sqrt(2 / (9 * freedom))) ** 3)
