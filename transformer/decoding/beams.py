r"""Beam search: the most likely text, as far as a few parallel hypotheses find it.

A hypothesis y of n new tokens after the prompt x is worth

.. math:: s(y) = \frac{1}{n^\alpha} \sum_{t=1}^{n} \log p(y_t \mid x, y_{<t})

At α = 0 that is its log-probability, which favours short texts; at α = 1 the mean per token.
Source: Wu et al. (2016), section 7, with the plain power of the length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import log_softmax

from .window import Reader, Stop, Stops, checked_count, checked_prompts, evaluating


class Hypothesis(NamedTuple):
    """A finished text of beam search."""

    score: float
    log_probability: float
    ids: np.ndarray  # prompt included


def beam_search(
    model: Any,
    prompt_ids: Any,
    max_new_tokens: int,
    num_beams: int,
    length_penalty: float = 1.0,
    stop: Stop = None,
    use_cache: bool = True,
    stop_sequences: Sequence[Sequence[int]] | None = None,
) -> np.ndarray:
    """The best continuation that ``num_beams`` parallel hypotheses find, prompt (T,) included.

    Hypotheses are compared by log-probability divided by (number of new tokens) ** ``length_penalty``; one that ends with ``stop``
    is finished.  Raises ValueError for a batch, or settings out of range.
    """
    return beam_hypotheses(model, prompt_ids, max_new_tokens, num_beams, length_penalty, stop, use_cache, stop_sequences)[0].ids


def beam_hypotheses(
    model: Any,
    prompt_ids: Any,
    max_new_tokens: int,
    num_beams: int,
    length_penalty: float = 1.0,
    stop: Stop = None,
    use_cache: bool = True,
    stop_sequences: Sequence[Sequence[int]] | None = None,
) -> list[Hypothesis]:
    """All the texts that beam search finished, the best first."""
    prompts = checked_prompts("beam_search", prompt_ids)
    if len(prompts) != 1 or np.ndim(prompt_ids) != 1:
        raise ValueError(f"beam_search: expected one prompt (length,), got {len(prompts)} rows; call it for each row")
    checked_count("beam_search", "num_beams", num_beams, 1)
    checked_count("beam_search", "max_new_tokens", max_new_tokens)
    if not np.isfinite(length_penalty):
        raise ValueError(f"beam_search: length_penalty={length_penalty}; expected a number, 0 for none, 1 for the mean per token")
    stops = Stops("beam_search", stop, stop_sequences)
    prompt = len(prompts[0])
    beams, scores = prompts[0][None], np.zeros(1)  # (beams, length), (beams,)
    finished: list[Hypothesis] = []

    def finish(rows: np.ndarray, totals: np.ndarray) -> None:
        n = max(1, rows.shape[1] - prompt)
        finished.extend(Hypothesis(float(total / n**length_penalty), float(total), row) for row, total in zip(rows, totals, strict=True))

    with evaluating(model, "beam_search"):
        reader = Reader(model, use_cache)
        for length in range(1, max_new_tokens + 1):
            logits = reader.logits(beams, np.full(len(beams), beams.shape[1]))[:, 0]
            totals = scores[:, None] + log_softmax(logits.astype(np.float64)).data  # (beams, V)
            best = largest(totals.ravel(), num_beams * (1 + len(stops.sequences)))  # enough that num_beams of them go on
            row, token = np.unravel_index(best, totals.shape)
            grown, totals = np.concatenate([beams[row], token[:, None]], axis=1), totals[row, token]
            ended = stops.ended(grown[:, prompt:])
            finish(grown[ended], totals[ended])
            alive = np.flatnonzero(~ended)[:num_beams]
            beams, scores = grown[alive], totals[alive]
            if not len(beams) or (finished and max(h.score for h in finished) >= still_possible(scores, length, max_new_tokens, length_penalty)):
                beams, scores = beams[:0], scores[:0]
                break
            reader.take(row[alive])
    finish(beams, scores)
    return sorted(finished, key=lambda h: -h.score)


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Where the ``count`` largest values are, in falling order; of equal ones the first comes first."""
    if count < len(values):
        found = np.flatnonzero(values >= np.partition(values, -count)[-count])  # and all that tie with the last
    else:
        found = np.arange(len(values))
    return found[np.argsort(-values[found], kind="stable")][:count]


def still_possible(scores: np.ndarray, length: int, longest: int, length_penalty: float) -> float:
    """The best score that any hypothesis alive can still reach: as probable as now, at the most favourable length."""
    if length == longest:
        return np.inf  # they are finished now
    return float(max(scores.max() / n**length_penalty for n in (length + 1, longest)))
