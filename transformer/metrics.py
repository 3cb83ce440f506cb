"""How good is a language model?  Loss in nats, perplexity, bits per character."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import cross_entropy, no_grad


def token_losses(model: Any, ids: Any, stride: int | None = None, batch_size: int = 16) -> np.ndarray:
    """−log p of each token of ``ids`` (N,) but the first, given those before it, in nats: (N − 1,).

    Windows of the model's context length are moved by ``stride`` tokens (default: the context, so that windows do not overlap); each
    token counts once, in the first window that reaches it.  A smaller stride gives each token more context, and costs more.
    """
    ids = np.asarray(ids)
    context = model.context_length
    stride = context if stride is None else stride
    if not 1 <= stride <= context:
        raise ValueError(f"token_losses: stride={stride}; expected 1 to {context}, the context length")
    if ids.ndim != 1 or len(ids) < 2:
        raise ValueError(f"token_losses: expected two token ids or more in one row, got shape {ids.shape}")
    n = len(ids) - 1
    starts = list(range(0, max(1, n - context + stride), stride))
    losses = np.full(n, np.nan)
    training = model.training
    model.eval()
    try:
        with no_grad():
            for first in range(0, len(starts), batch_size):
                group = starts[first : first + batch_size]
                length = min(context, n - group[0])
                full = [s for s in group if s + length <= n]
                rest = [s for s in group if s + length > n]
                if full:
                    windows = np.stack([ids[s : s + length + 1] for s in full]).astype(np.int64)
                    _note(losses, full, _window_losses(model, windows))
                for s in rest:
                    _note(losses, [s], _window_losses(model, ids[None, s:].astype(np.int64)))
    finally:
        model.train(training)
    return losses


def _window_losses(model: Any, windows: np.ndarray) -> np.ndarray:
    return cross_entropy(model(windows[:, :-1]), windows[:, 1:], reduction="none").data


def _note(losses: np.ndarray, starts: list[int], found: np.ndarray) -> None:
    for s, row in zip(starts, found, strict=True):
        place = losses[s : s + len(row)]
        place[np.isnan(place)] = row[np.isnan(place)]


def perplexity(model: Any, ids: Any, stride: int | None = None) -> float:
    """exp of the mean loss per token: as many equally likely choices would be as hard to guess."""
    return math.exp(float(token_losses(model, ids, stride).mean()))


def bits_per_character(total_nats: float, characters: int) -> float:
    """The loss in bits for each character of text, comparable between tokenizers."""
    return total_nats / math.log(2) / max(1, characters)
