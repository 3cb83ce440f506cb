"""How good are answers?  Exact match and accuracy with their uncertainty; BLEU and chrF of translations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Share(NamedTuple):
    """How many of how many are right, and the interval in which the true rate lies with 95 % confidence."""

    right: int
    of: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """The share that is right."""
        return self.right / self.of

    def __str__(self) -> str:
        return f"{self.rate:.2%} of {self.of:,} (95 % interval {self.low:.2%} to {self.high:.2%})"


def share(right: Any, z: float = 1.96) -> Share:
    """Outcomes (N,), true where right, as a rate with its interval.  Raises ValueError for none.

    The interval is Wilson's, the rates p for which the one found is within z standard errors √(p(1 − p)/N); it stays inside 0 … 1 and
    is right at 100 %, where the usual one has no width.  Source: Wilson (1927).
    """
    outcomes = np.asarray(right, bool).ravel()
    n = outcomes.size
    if not n:
        raise ValueError("share: no outcomes; expected at least one")
    p = outcomes.mean()
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Share(int(outcomes.sum()), n, max(0.0, float(middle - half)), min(1.0, float(middle + half)))


def exact_match(written: Sequence[str], wanted: Sequence[str]) -> Share:
    """The share of texts that are right to the last character."""
    if len(written) != len(wanted):
        raise ValueError(f"exact_match: {len(written)} texts for {len(wanted)} references; expected as many")
    return share([a == b for a, b in zip(written, wanted, strict=True)])


def accuracy(logits: Any, labels: Any) -> Share:
    """The share of rows (N, classes) whose largest logit is at their label (N,)."""
    scores, wanted = np.asarray(getattr(logits, "data", logits) if not isinstance(logits, np.ndarray) else logits), np.asarray(labels)
    if scores.ndim != 2 or wanted.shape != scores.shape[:1]:
        raise ValueError(f"accuracy: logits {scores.shape} for labels {wanted.shape}; expected (N, classes) and (N,)")
    return share(scores.argmax(axis=1) == wanted)


def translation_scores(written: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
    """BLEU (0 to 100) of the corpus and chrF (0 to 100), by sacrebleu's standard settings.

    Sources: Papineni et al. (2002); Popović (2015); Post (2018) for why one fixed implementation.  Raises ImportError without the extra.
    """
    try:
        import sacrebleu
    except ImportError:
        raise ImportError('BLEU and chrF need the extra "sacrebleu": pip install -e ".[sacrebleu]"') from None
    if len(written) != len(wanted) or not written:
        raise ValueError(f"translation_scores: {len(written)} texts for {len(wanted)} references; expected as many, and at least one")
    return {
        "bleu": sacrebleu.corpus_bleu(list(written), [list(wanted)]).score,
        "chrf": sacrebleu.corpus_chrf(list(written), [list(wanted)]).score,
    }
