r"""Filters: from the logits of the next token to the distribution that it is drawn from.

A filter maps logits (B, V) to logits (B, V), with −∞ for tokens that are out; filters compose, and the softmax of what the last one
leaves is drawn from.  ``Sampling`` applies them always in this order:

1. repetition penalty: on the model's own logits, whose sign it looks at;
2. temperature, so that the sets below are chosen from the distribution that is drawn from;
3. top-k, a bound on the number of tokens;
4. top-p, the nucleus of what top-k left;
5. min-p, relative to the most likely token, which no filter removes.

``B`` rows, ``V`` vocabulary, ``T`` tokens seen so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

Filter = Callable[[np.ndarray], np.ndarray]


def penalise_repetition(logits: np.ndarray, seen: Sequence[np.ndarray] | np.ndarray, penalty: float) -> np.ndarray:
    """Make the tokens that each row has ``seen`` less likely: positive logits divided, negative ones multiplied by ``penalty``.
    Source: Keskar et al. (2019), section 4.1."""
    out = logits.copy()
    for row, ids in zip(out, seen, strict=True):
        ids = np.unique(ids)
        row[ids] = np.where(row[ids] > 0, row[ids] / penalty, row[ids] * penalty)
    return out


def temperature_filter(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Divide: below 1 sharper, above 1 flatter; at 0 only the most likely token is left (the first of those that tie)."""
    if temperature == 0:
        return np.where(np.arange(logits.shape[-1]) == logits.argmax(axis=-1)[..., None], 0.0, -np.inf)
    with np.errstate(over="ignore"):  # to −∞, which is right
        return (logits - logits.max(axis=-1, keepdims=True)) / temperature


def top_k_filter(logits: np.ndarray, k: int) -> np.ndarray:
    """Keep the ``k`` most likely tokens (and those that tie with the last).  Source: Fan, Lewis & Dauphin (2018), section 5.4."""
    if k >= logits.shape[-1]:
        return logits
    threshold = np.partition(logits, -k, axis=-1)[..., -k, None]
    return np.where(logits < threshold, -np.inf, logits)


def top_p_filter(logits: np.ndarray, p: float) -> np.ndarray:
    """Nucleus: keep the most likely tokens until their probabilities reach ``p``, the token that crosses it included.
    Source: Holtzman et al. (2020), section 3.1."""
    if p >= 1:
        return logits
    order = np.argsort(-logits, axis=-1, kind="stable")
    probabilities = np.take_along_axis(softmax(logits), order, -1)
    before = np.zeros_like(probabilities)  # what the more likely tokens have together
    np.cumsum(probabilities[..., :-1], axis=-1, out=before[..., 1:])
    keep = np.empty(logits.shape, bool)
    np.put_along_axis(keep, order, before < p * (1 - 1e-12), -1)  # 0.7 + 0.1 reaches 0.8, whatever the rounding
    return np.where(keep, logits, -np.inf)


def min_p_filter(logits: np.ndarray, p: float) -> np.ndarray:
    """Keep tokens with at least ``p`` times the probability of the most likely one.  Source: Nguyen et al. (2024)."""
    if p == 0:
        return logits
    return np.where(logits < logits.max(axis=-1, keepdims=True) + np.log(p), -np.inf, logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities in float64 over the last axis."""
    e = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Sampling:
    """A strategy: which filters, how strong.  Raises ValueError for settings out of range."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < np.inf:
            raise ValueError(f"generate: temperature={self.temperature}; expected 0 (greedy) or a positive number")
        if self.top_k is not None and (not isinstance(self.top_k, int | np.integer) or self.top_k < 1):
            raise ValueError(f"generate: top_k={self.top_k}; expected a whole number, 1 or more, or None for all tokens")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"generate: top_p={self.top_p}; expected a probability above 0, up to 1")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise ValueError(f"generate: min_p={self.min_p}; expected a number from 0 to 1")
        if not 0 < self.repetition_penalty < np.inf:
            raise ValueError(f"generate: repetition_penalty={self.repetition_penalty}; expected a positive number, 1 for none")

    def filters(self, seen: Sequence[np.ndarray] | np.ndarray) -> list[Filter]:
        """The filters that this strategy asks for, in their order, for rows that have ``seen`` these tokens, B arrays (T,)."""
        chain: list[Filter] = []
        if self.repetition_penalty != 1:
            chain.append(partial(penalise_repetition, seen=seen, penalty=self.repetition_penalty))
        if self.temperature != 1:
            chain.append(partial(temperature_filter, temperature=self.temperature))
        if self.top_k is not None:
            chain.append(partial(top_k_filter, k=self.top_k))
        if self.top_p is not None:
            chain.append(partial(top_p_filter, p=self.top_p))
        if self.min_p is not None:
            chain.append(partial(min_p_filter, p=self.min_p))
        return chain

    @property
    def greedy(self) -> bool:
        """Whether it always takes the most likely token, whatever was seen."""
        return self.temperature == 0 and self.repetition_penalty == 1

    def distribution(self, logits: np.ndarray, seen: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Logits (B, V) → the probabilities (B, V) from which the next tokens are drawn, in float64."""
        logits = logits.astype(np.float64)
        for step in self.filters(seen):
            logits = step(logits)
        return softmax(logits)

    def __str__(self) -> str:
        """The settings that differ from plain sampling, in the order in which they act."""
        if self.temperature == 0:
            base = "greedy"
        else:
            base = "sampling" if self.temperature == 1 else f"temperature {self.temperature:g}"
        more = {"top-k": self.top_k, "top-p": self.top_p, "min-p": self.min_p}
        if self.repetition_penalty != 1:
            more["repetition penalty"] = self.repetition_penalty
        return ", ".join([base, *(f"{name} {value:g}" for name, value in more.items() if value is not None)])


def draw(probabilities: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """One token for each row of ``probabilities`` (B, V), from numbers ``uniform`` (B,) in [0, 1): the first whose running total exceeds it."""
    totals = np.cumsum(probabilities, axis=-1)
    return (totals <= uniform[:, None] * totals[:, -1:]).sum(axis=-1)
