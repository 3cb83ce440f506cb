r"""Writing text: from the logits of the next token to a choice, again and again.

The logits pass through filters, always in this order: repetition penalty, temperature, top-k, top-p, min-p; then a token is drawn
from their softmax.  A filter maps logits (B, V) to logits (B, V), with −∞ for tokens that are out.

Beyond the context: when the window is full, its older half is dropped and the rest is read again, so that cached and uncached
generation agree token for token.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from minigrad import log_softmax, nn, no_grad
from minigrad.random import generator

from .attention import KVCache

Filter = Callable[[np.ndarray], np.ndarray]


# Filters -----------------------------------------------------------------------------------------------------------------


def penalise_repetition(logits: np.ndarray, seen: np.ndarray, penalty: float) -> np.ndarray:
    """Make tokens that were seen (B, T) less likely: positive logits divided, negative ones multiplied by ``penalty``.
    Source: Keskar et al. (2019), section 4.1."""
    out = logits.copy()
    for row, ids in zip(out, seen, strict=True):
        ids = np.unique(ids)
        row[ids] = np.where(row[ids] > 0, row[ids] / penalty, row[ids] * penalty)
    return out


def top_k_filter(logits: np.ndarray, k: int) -> np.ndarray:
    """Keep the ``k`` most likely tokens (and those that tie with the last).  Source: Fan, Lewis & Dauphin (2018), section 5.4."""
    if k >= logits.shape[-1]:
        return logits
    threshold = np.partition(logits, -k, axis=-1)[..., -k, None]
    return np.where(logits < threshold, -np.inf, logits)


def top_p_filter(logits: np.ndarray, p: float) -> np.ndarray:
    """Nucleus: keep the most likely tokens until their probabilities reach ``p``, the token that crosses it included.
    Source: Holtzman et al. (2020), section 3.1."""
    order = np.argsort(-logits, axis=-1, kind="stable")
    probabilities = np.take_along_axis(softmax(logits), order, -1)
    before = np.cumsum(probabilities, axis=-1) - probabilities  # what the more likely tokens have together
    keep = np.empty(logits.shape, bool)
    np.put_along_axis(keep, order, before < p, -1)
    return np.where(keep, logits, -np.inf)


def min_p_filter(logits: np.ndarray, p: float) -> np.ndarray:
    """Keep tokens with at least ``p`` times the probability of the most likely one.  Source: Nguyen et al. (2024)."""
    return np.where(logits < logits.max(axis=-1, keepdims=True) + np.log(p), -np.inf, logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities in float64 over the last axis."""
    e = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def next_distribution(
    logits: np.ndarray,
    seen: np.ndarray,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
) -> np.ndarray:
    """The probabilities (B, V) from which the next tokens are drawn; at temperature 0 all of it on the most likely token."""
    logits = logits.astype(np.float64)
    if repetition_penalty != 1.0:
        logits = penalise_repetition(logits, seen, repetition_penalty)
    if temperature == 0:
        return np.eye(logits.shape[-1])[logits.argmax(axis=-1)]
    logits = logits / temperature
    if top_k is not None:
        logits = top_k_filter(logits, top_k)
    if top_p is not None:
        logits = top_p_filter(logits, top_p)
    if min_p:
        logits = min_p_filter(logits, min_p)
    return softmax(logits)


def _check_settings(max_new_tokens: int, temperature: float, top_k: Any, top_p: Any, min_p: Any, repetition_penalty: float) -> None:
    if max_new_tokens < 0:
        raise ValueError(f"generate: max_new_tokens={max_new_tokens}; expected 0 or more")
    if not temperature >= 0:
        raise ValueError(f"generate: temperature={temperature}; expected 0 (greedy) or a positive number")
    if top_k is not None and top_k < 1:
        raise ValueError(f"generate: top_k={top_k}; expected 1 or more, or None for all tokens")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"generate: top_p={top_p}; expected a probability above 0, up to 1")
    if min_p is not None and not 0 <= min_p <= 1:
        raise ValueError(f"generate: min_p={min_p}; expected a number from 0 to 1")
    if not repetition_penalty > 0:
        raise ValueError(f"generate: repetition_penalty={repetition_penalty}; expected a positive number, 1 for none")


# Decoding ----------------------------------------------------------------------------------------------------------------


class _Reader:
    """Gives the logits after a growing sequence, cached or not, and slides the window when the context is full."""

    def __init__(self, model: Any, use_cache: bool) -> None:
        self.model, self.use_cache = model, use_cache
        self.context = model.context_length
        self.start = 0  # where the window begins
        self.cache = KVCache(self.context)

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """(B, V) after ids (B, T)."""
        length = ids.shape[1]
        if length - self.start > self.context:
            while length - self.start > self.context:
                self.start += max(1, self.context // 2)
            self.cache = KVCache(self.context)
        if not self.use_cache:
            return self.model(ids[:, self.start :]).data[:, -1]
        return self.model(ids[:, self.start + self.cache.length :], cache=self.cache).data[:, -1]


def _prompt(model: Any, prompt_ids: Any) -> np.ndarray:
    ids = np.asarray(prompt_ids)
    if ids.dtype.kind not in "iu" and ids.size:
        raise TypeError(f"generate: the prompt must be integer token ids, got {ids.dtype}; encode text with the tokenizer first")
    if ids.ndim not in (1, 2) or not ids.size:
        raise ValueError(f"generate: the prompt must be ids (length,) or (batch, length) with at least one token, got shape {ids.shape}")
    return ids.astype(np.int64)


def generate(
    model: Any,
    prompt_ids: Any,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    stop: int | Collection[int] | None = None,
    use_cache: bool = True,
    rng: np.random.Generator | int | None = None,
) -> np.ndarray:
    """The prompt (T,) or (B, T) with up to ``max_new_tokens`` more; ``temperature=0`` is greedy.

    ``stop`` is a token id, or several, after which a row ends (rows that end early are filled with that id); ``rng`` a generator or
    a seed.  Raises ValueError for settings out of range, IndexError for ids outside the vocabulary.
    """
    ids = _prompt(model, prompt_ids)
    rows = ids if ids.ndim == 2 else ids[None]
    for step in stream(model, rows, max_new_tokens, temperature, top_k, top_p, min_p, repetition_penalty, stop, use_cache, rng):
        rows = np.concatenate([rows, step[:, None]], axis=1)
    return rows if ids.ndim == 2 else rows[0]


def stream(
    model: Any,
    prompt_ids: Any,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    stop: int | Collection[int] | None = None,
    use_cache: bool = True,
    rng: np.random.Generator | int | None = None,
) -> Iterator[np.ndarray]:
    """The new tokens of ``generate``, one step (B,) at a time, as they are drawn."""
    _check_settings(max_new_tokens, temperature, top_k, top_p, min_p, repetition_penalty)
    ids = _prompt(model, prompt_ids)
    rows = ids if ids.ndim == 2 else ids[None]
    rng = rng if isinstance(rng, np.random.Generator) else generator() if rng is None else np.random.default_rng(rng)
    stops = np.atleast_1d(np.array([] if stop is None else list(stop) if isinstance(stop, Collection) else stop, np.int64))
    ended = np.full(len(rows), -1, np.int64)
    training = model.training
    if training and _uses_dropout(model):
        warnings.warn("generate: the model is in training mode; generating in eval mode, without dropout. Call model.eval()", stacklevel=3)
    model.eval()
    try:
        reader = _Reader(model, use_cache)
        for _ in range(max_new_tokens):
            with no_grad():
                logits = reader.logits(rows)
            p = next_distribution(logits, rows, temperature, top_k, top_p, min_p, repetition_penalty)
            if temperature == 0:
                chosen = p.argmax(axis=-1)
            else:
                totals = np.cumsum(p, axis=-1)
                drawn = rng.random((len(p), 1)) * totals[:, -1:]
                chosen = np.minimum((totals <= drawn).sum(axis=-1), p.shape[-1] - 1)
            chosen = np.where(ended >= 0, ended, chosen)
            ended = np.where(np.isin(chosen, stops), chosen, ended)
            rows = np.concatenate([rows, chosen[:, None]], axis=1)
            yield chosen
            if (ended >= 0).all():
                return
    finally:
        model.train(training)


def _uses_dropout(model: Any) -> bool:
    return any(m.p > 0 for m in model.modules() if isinstance(m, nn.Dropout))


def beam_search(
    model: Any, prompt_ids: Any, max_new_tokens: int, num_beams: int, length_penalty: float = 1.0, stop: int | None = None
) -> np.ndarray:
    """The best continuation that ``num_beams`` parallel hypotheses find, prompt (T,) included.

    Hypotheses are compared by log-probability divided by (number of new tokens) ** ``length_penalty``; one that ends with ``stop``
    is finished.  Source: Wu et al. (2016), section 7, with the plain power of the length.
    """
    ids = _prompt(model, prompt_ids)
    if ids.ndim != 1:
        raise ValueError(f"beam_search: expected one prompt (length,), got shape {ids.shape}; call it for each row")
    if num_beams < 1:
        raise ValueError(f"beam_search: num_beams={num_beams}; expected 1 or more")
    if max_new_tokens < 0:
        raise ValueError(f"beam_search: max_new_tokens={max_new_tokens}; expected 0 or more")
    beams, scores = ids[None], np.zeros(1)
    finished: list[tuple[float, np.ndarray]] = []
    training = model.training
    model.eval()
    try:
        for length in range(1, max_new_tokens + 1):
            with no_grad():
                logits = _Reader(model, use_cache=False).logits(beams)
                totals = scores[:, None] + log_softmax(logits.astype(np.float64)).data  # (beams, V)
            best = np.argsort(-totals, axis=None, kind="stable")[: 2 * num_beams]
            row, token = np.unravel_index(best, totals.shape)
            grown = np.concatenate([beams[row], token[:, None]], axis=1)
            ended = token == stop if stop is not None else np.zeros(len(token), bool)
            finished += [(totals[r, t] / length**length_penalty, g) for r, t, g, e in zip(row, token, grown, ended, strict=True) if e]
            beams, scores = grown[~ended][:num_beams], totals[row, token][~ended][:num_beams]
            if not len(beams):
                break
        finished += [(s / max(1, max_new_tokens) ** length_penalty, b) for s, b in zip(scores, beams, strict=True)]
    finally:
        model.train(training)
    return max(finished, key=lambda pair: pair[0])[1]
