r"""Kernels of softmax and cross-entropy: one exponential for each number, in cache-sized blocks of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..numerics import index_array
from ..ops import softmax as ops
from . import rows


def softmax(x: np.ndarray, axis: int = -1, save: bool = False) -> tuple[np.ndarray, None]:
    """Softmax over the last axis, in one new array; a row of nothing but −∞ gives zeros."""
    y = x - rows.shift_of(x)
    np.exp(y, out=y)
    y /= rows.divisors(y)
    return y, None


def softmax_vjp(g: np.ndarray, y: np.ndarray, saved: None, x: np.ndarray, axis: int = -1) -> tuple[np.ndarray]:
    """y ⊙ (g − rowsum(g ⊙ y))."""
    dx = g - rows.row_dots(g, y)
    dx *= y
    return (dx,)


def along_rows(x: np.ndarray, axis: int = -1) -> bool:
    """Whether the axis is the last one."""
    return np.ndim(x) > 0 and axis in (-1, x.ndim - 1)


ops.softmax.accelerate(softmax, softmax_vjp, along_rows)


def log_softmax(x: np.ndarray, axis: int = -1, save: bool = False) -> tuple[np.ndarray, None]:
    """x less its maximum and log Σ exp, over the last axis; a row of nothing but −∞ gives −∞."""
    y = x - rows.row_maxima(x)
    y -= np.log(rows.divisors(np.exp(y)))
    return y, None


def log_softmax_vjp(g: np.ndarray, y: np.ndarray, saved: None, x: np.ndarray, axis: int = -1) -> tuple[np.ndarray]:
    """g − exp(y) ⊙ rowsum(g)."""
    dx = np.exp(y)
    dx *= -g.sum(axis=-1, keepdims=True)
    dx += g
    return (dx,)


def cross_entropy(x, targets, ignore_index, label_smoothing, reduction, save=False):
    """The loss, and what the backward pass needs besides x: the exponentials, if they are few, and their sums, or else the
    maximum and log Σ exp of each row."""
    logits = x.reshape(-1, x.shape[-1])
    which, places = _which(targets, ignore_index, logits.shape[1])
    if logits.size <= rows.BLOCK:
        e = logits - rows.row_maxima(logits)  # its own for each row: log Σ and the target's logit cancel
        losses = (label_smoothing - 1) * e.reshape(-1)[places]
        if label_smoothing:
            losses -= label_smoothing * e[which].mean(axis=-1)
        sums = rows.divisors(np.exp(e, e))
        losses += np.log(sums[which, 0])
        saved = e, sums, places
    else:
        top = rows.row_maxima(logits)
        log_sum = np.empty(top.shape, x.dtype)
        for row, highest, total in rows.row_blocks(logits, top, log_sum):
            e = row - highest
            np.log(rows.divisors(np.exp(e, e)), total)
        losses = log_sum[which, 0] - (1 - label_smoothing) * (logits.reshape(-1)[places] - top[which, 0])  # of those that count
        if label_smoothing:
            losses -= label_smoothing * (logits[which] - top[which]).mean(axis=-1)
        saved = top, log_sum, places
    if reduction == "none":
        loss = np.zeros(len(logits), x.dtype)
        loss[which] = losses
        return loss.reshape(x.shape[:-1]), saved
    return np.asarray(np.add.reduce(losses) / (max(1, len(losses)) if reduction == "mean" else 1), x.dtype), saved


def cross_entropy_vjp(g, _, saved, x, targets, ignore_index, label_smoothing, reduction):
    """(p − T) times the upstream gradient of each row, which is 0 where the target does not count."""
    logits, v = x.reshape(-1, x.shape[-1]), x.shape[-1]
    *saved, places = saved
    upstream = g.reshape(-1, 1) if reduction == "none" else g / max(1, len(places)) if reduction == "mean" else g
    if len(places) < len(logits):
        counts = np.zeros((len(logits), 1), x.dtype)
        counts[places // v] = 1
        upstream = upstream * counts
    dx = np.empty(logits.shape, x.dtype)
    if logits.size <= rows.BLOCK:
        e, sums = saved
        np.divide(e, sums, out=dx)
        dx *= upstream
        if label_smoothing:
            dx -= label_smoothing / v * upstream
        dx.reshape(-1)[places] -= (1 - label_smoothing) * (upstream[places // v, 0] if upstream.ndim else upstream)
        return (dx.reshape(x.shape),)
    upstream = np.broadcast_to(upstream, (len(logits), 1))
    for row, top, log_sum, d, u in rows.row_blocks(logits, *saved, dx, upstream):
        np.subtract(row, top, out=d)
        d -= log_sum
        np.exp(d, out=d)
        if label_smoothing:
            d -= label_smoothing / v
        d *= u
    dx.reshape(-1)[places] -= (1 - label_smoothing) * upstream[places // v, 0]
    return (dx.reshape(x.shape),)


def _which(targets: np.ndarray, ignore_index: int | None, size: int) -> tuple[Any, np.ndarray]:
    """The rows whose targets count, and the place of each of these targets in the flat array of logits, rows of ``size``."""
    flat = index_array(targets).reshape(-1)
    if ignore_index is None:
        return slice(None), np.arange(len(flat)) * size + flat
    which = np.flatnonzero(flat != ignore_index)
    return which, which * size + flat[which]


ops._cross_entropy.accelerate(cross_entropy, cross_entropy_vjp)
ops.log_softmax.accelerate(log_softmax, log_softmax_vjp, along_rows)
