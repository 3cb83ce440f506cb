r"""What decoding does to text: likelihood, diversity and repetition of each strategy, on one trained model.

    python -m transformer quality DIR

Every strategy continues the same openings of held-out text.  Measured on what it wrote, without the opening:

- loss, in nats per token: how likely the model finds it, given the window that it was written from;
- distinct-2: the share of different pairs of words, over all its texts together;
- repeated: the share of runs of 16 characters (about three words) that the same text had said before; an endless row of spaces counts.

The held-out text's own continuations are measured in the same way: that is what good text looks like to this model.
Maximising likelihood (greedy, beam search) repeats itself, plain sampling falls below the likelihood of real text, and truncated sampling
lies between.  Source: Holtzman et al. (2020).  Before the strategies, the model itself: its loss, the entropy of its predictions and its calibration.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..data.tokenizers import Tokenizer
from ..decoding.beams import beam_search
from ..decoding.generate import generate
from ..decoding.sampling import Sampling
from .perplexity import distinct_n, repetition_rate, token_losses

BEAMS = 8
RUN = 16  # characters
HELD_OUT = 20_001  # tokens on which the model itself is measured
SWEEPS: dict[str, list[Sampling]] = {
    "temperature": [Sampling(t) for t in (0.25, 0.5, 0.7, 0.85, 1.0, 1.2)],
    "top-k": [Sampling(top_k=k) for k in (2, 4, 8, 16)],
    "top-p": [Sampling(top_p=p) for p in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)],
}
TABLE: list[Sampling | int] = [  # a number is a beam search with so many beams
    Sampling(0), BEAMS, Sampling(0, repetition_penalty=1.3), Sampling(0.7), Sampling(top_k=8), Sampling(top_p=0.9), Sampling(min_p=0.1),
    Sampling(), Sampling(1.2),
]  # fmt: skip


@dataclass(frozen=True)
class Quality:
    """What one strategy wrote, measured."""

    name: str
    loss: float  # nats per token
    distinct2: float
    repeated: float
    texts: list[str]  # without the opening


def words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def openings(ids: np.ndarray, count: int, length: int, tokens: int) -> list[np.ndarray]:
    """``count`` evenly spaced pieces of held-out ids, ``length`` + ``tokens`` long, that do not overlap; ValueError when there is no room."""
    size = length + tokens
    if count * size > len(ids):
        raise ValueError(
            f"quality: {count} pieces of {size} tokens do not fit into the {len(ids)} held-out tokens; "
            f"ask for fewer prompts (at most {len(ids) // size} of this size), fewer tokens, or train on a longer text"
        )
    return [ids[start : start + size].astype(np.int64) for start in np.linspace(0, len(ids) - size, count).astype(int)]


def measure(name: str, model: Any, tokenizer: Tokenizer, texts: Sequence[np.ndarray], opening: int) -> Quality:
    """Measure texts whose first ``opening`` tokens were given."""
    half = max(1, model.context_length // 2)  # the window by which the model writes
    losses = [token_losses(model, ids, half)[opening - 1 :] for ids in texts]
    written = [tokenizer.decode(ids[opening:]) for ids in texts]
    repeated = float(np.mean([repetition_rate(text, RUN) for text in written]))
    return Quality(name, float(np.mean(np.concatenate(losses))), distinct_n(map(words, written)), repeated, written)


def write(model: Any, strategy: Sampling | int, prompts: Sequence[np.ndarray], tokens: int, seed: int) -> list[np.ndarray]:
    """Continue each prompt; every row has its own random numbers, the same for all strategies."""
    if isinstance(strategy, int):
        return [beam_search(model, prompt, tokens, strategy) for prompt in prompts]
    rngs = [np.random.default_rng([seed, row]) for row in range(len(prompts))]
    return list(generate(model, list(prompts), tokens, **asdict(strategy), rng=rngs))
