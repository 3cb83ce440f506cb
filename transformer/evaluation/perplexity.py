r"""How good is a language model, and how good is its text?

Of a model that gives probability p(x_t | x_{<t}) to each token of a text that it did not see:

- loss :math:`-\frac1N \sum_t \log p(x_t \mid x_{<t})`, in nats; perplexity, its exponential; bits per character, comparable between tokenizers;
- entropy :math:`-\sum_v p(v) \log p(v)` of its predictions: how sure it is, whether or not it is right;
- calibration: when it says 70 %, is it right in 70 % of the cases?

Of a text: distinct-n, the share of its n-grams that are different, and the repetition rate, the share that it had already said.

``N`` tokens, ``V`` vocabulary, ``B`` batch, ``T`` length.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import cross_entropy, log_softmax, no_grad

from ..decoding.window import Spread, evaluating

# Of a model --------------------------------------------------------------------------------------------------------------


def predictions(model: Any, ids: Any, stride: int | None = None, batch_size: int = 16) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pieces (places (n,), logits (n, V)) in which each token of ``ids`` (N,) but the first is predicted once, from those before it.

    Place t is that of target ids[t + 1].  Windows of the model's context length are moved by ``stride`` tokens (default: the context, so that
    windows do not overlap); each token counts in the first window that reaches it, the first tokens of the text included.  A smaller
    stride gives each token more context, and costs more; half the context is the rule by which the model writes (``decoding.window``).
    """
    ids = np.asarray(ids)
    groups = window_groups(ids, model.context_length, stride, batch_size)
    with evaluating(model), no_grad():
        for group in groups:
            yield predict(model, ids, group)


Windows = list[tuple[int, int]]  # where each begins, and the first place that no window before it has reached


def window_groups(ids: np.ndarray, context: int, stride: int | None, batch_size: int) -> list[Windows]:
    """Windows that are read together, as they are of one length."""
    stride = context if stride is None else stride
    if not 1 <= stride <= context:
        raise ValueError(f"token_losses: stride={stride}; expected 1 to {context}, the context length")
    if ids.ndim != 1 or len(ids) < 2:
        raise ValueError(f"token_losses: expected two token ids or more in one row, got shape {ids.shape}")
    n = len(ids) - 1
    width = min(context, n)
    windows = [(s, s - stride + width if s else 0) for s in range(0, max(1, n - context + stride), stride)]
    full = [w for w in windows if w[0] + width <= n]
    return [full[i : i + batch_size] for i in range(0, len(full), batch_size)] + [[w] for w in windows[len(full) :]]


def predict(model: Any, ids: np.ndarray, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """The places that these windows reach first, and their logits."""
    starts, firsts = np.array(windows).T
    places = starts[:, None] + np.arange(min(model.context_length, len(ids) - 1 - starts[0]))  # (B, T)
    logits = model(ids[places].astype(np.int64)).data  # (B, T, V)
    fresh = places >= firsts[:, None]
    if fresh.all():
        return places.ravel(), logits.reshape(-1, logits.shape[-1])
    return places[fresh], logits[fresh]


def token_losses(model: Any, ids: Any, stride: int | None = None, batch_size: int = 16, spread: Spread = map) -> np.ndarray:
    """−log p of each token of ``ids`` (N,) but the first, given those before it, in nats: (N − 1,).  Windows as in ``predictions``.

    ``spread`` is ``map``, or does as ``map`` does with several processes (``parallel``).
    """
    ids = np.asarray(ids)

    def losses_of(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
        places, logits = predict(model, ids, windows)
        return places, cross_entropy(logits, ids[places + 1].astype(np.int64), reduction="none").data

    losses = np.full(max(0, ids.size - 1), np.nan)
    groups = window_groups(ids, model.context_length, stride, batch_size)
    with evaluating(model), no_grad():
        for places, values in spread(losses_of, groups):
            losses[places] = values
    return losses


def perplexity(model: Any, ids: Any, stride: int | None = None) -> float:
    """exp of the mean loss per token: as many equally likely choices would be as hard to guess."""
    return math.exp(float(token_losses(model, ids, stride).mean()))


def bits_per_character(total_nats: float, characters: int) -> float:
    """The loss in bits for each character of text, comparable between tokenizers."""
    return total_nats / math.log(2) / max(1, characters)


def predictive_entropy(model: Any, ids: Any, stride: int | None = None) -> np.ndarray:
    """The entropy of the prediction of each token of ``ids`` (N,) but the first, in nats: (N − 1,), from 0 (certain) to log V (clueless)."""
    entropies = np.full(max(0, np.size(ids) - 1), np.nan)
    for places, logits in predictions(model, ids, stride):
        entropies[places] = entropy(logits)
    return entropies


def entropy(logits: Any) -> np.ndarray:
    """−Σ p log p over the last axis of logits, in nats; tokens that are out (−∞) count nothing."""
    log_p = log_softmax(np.asarray(logits, np.float64)).data
    return -(np.exp(log_p) * np.where(np.isneginf(log_p), 0.0, log_p)).sum(axis=-1)


@dataclass(frozen=True)
class Calibration:
    """Predictions sorted into bins by their confidence; bins without predictions are left out."""

    confidence: np.ndarray  # (bins,), the mean in each bin
    accuracy: np.ndarray  # (bins,)
    counts: np.ndarray  # (bins,)

    @property
    def error(self) -> float:
        """Expected calibration error: the mean of |accuracy − confidence| over predictions.  Source: Guo et al. (2017), eq. 3."""
        return float(self.counts @ np.abs(self.accuracy - self.confidence) / self.counts.sum())


def calibration(confidence: Any, correct: Any, bins: int = 10) -> Calibration:
    """Sort predictions with these confidences (N,), which were ``correct`` (N,) or not, into ``bins`` of equal width (a, b].

    Raises ValueError for no predictions, or confidences outside [0, 1].
    """
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct)
    if bins < 1 or not confidence.size or confidence.shape != correct.shape or confidence.ndim != 1:
        raise ValueError(f"calibration: {bins} bins for confidences {confidence.shape} and outcomes {correct.shape}; expected one of each, (N,)")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError(f"calibration: confidences from {confidence.min()} to {confidence.max()}; expected probabilities, softmax(logits)")
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(which, minlength=bins)
    used = counts > 0
    means = [np.bincount(which, values, bins)[used] / counts[used] for values in (confidence, correct)]
    return Calibration(means[0], means[1], counts[used])


def model_calibration(model: Any, ids: Any, bins: int = 10, stride: int | None = None) -> Calibration:
    """How far the model's confidence in its most likely next token can be trusted, over the tokens of ``ids`` (N,)."""
    ids = np.asarray(ids)
    confidence, correct = np.zeros(max(0, ids.size - 1)), np.zeros(max(0, ids.size - 1), bool)
    for places, logits in predictions(model, ids, stride):
        best = logits.argmax(axis=-1)
        confidence[places] = np.exp(-cross_entropy(logits, best, reduction="none").data)
        correct[places] = best == ids[places + 1]
    return calibration(np.minimum(confidence, 1.0), correct, bins)


# Of a text ---------------------------------------------------------------------------------------------------------------


def ngrams(sequence: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    """All runs of ``n`` items."""
    if n < 1:
        raise ValueError(f"n-grams: n={n}; expected 1 or more")
    return list(zip(*(sequence[i:] for i in range(n)), strict=False))


def distinct_n(sequences: Iterable[Sequence[Hashable]], n: int = 2) -> float:
    """The number of different n-grams over the number of all, in texts given as sequences of words or ids; NaN when there are none.
    It falls with the length of the text, so compare equal lengths.  Source: Li et al. (2016)."""
    sequences = list(sequences)
    if any(isinstance(sequence, str | int | np.integer) for sequence in sequences):
        raise TypeError("distinct_n: expected several texts, each a list of words or ids; wrap one text in a list: distinct_n([words])")
    found = [gram for sequence in sequences for gram in ngrams(list(sequence), n)]
    return len(set(found)) / len(found) if found else math.nan


def repetition_rate(sequence: Sequence[Hashable], n: int = 4) -> float:
    """The share of the n-grams of one text that occurred before in it, 0 when there are none: seq-rep-n of Welleck et al. (2020)."""
    found = ngrams(list(sequence), n)
    return (len(found) - len(set(found))) / len(found) if found else 0.0
