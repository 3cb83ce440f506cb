r"""Kernels of softmax and cross-entropy: one exponential for each number, in cache-sized blocks of rows."""

from __future__ import annotations

import numpy as np

from ..numerics import real
from ..ops import softmax as ops
from . import rows


def softmax(x: np.ndarray, axis: int = -1, save: bool = False) -> tuple[np.ndarray, None]:
    """Softmax over the last axis, in one new array; a row of nothing but −∞ gives zeros."""
    x = real(x)
    y = x - rows.shift_of(x)
    np.exp(y, out=y)
    y /= rows.sum_rows(y)
    return y, None


def softmax_vjp(g: np.ndarray, y: np.ndarray, saved: None, x: np.ndarray, axis: int = -1) -> tuple[np.ndarray]:
    """y ⊙ (g − rowsum(g ⊙ y))."""
    dx = g - rows.row_dots(g, y)[..., None]
    dx *= y
    return (dx,)


def along_rows(x: np.ndarray, axis: int = -1) -> bool:
    """Whether the axis is the last one."""
    return np.ndim(x) > 0 and axis in (-1, x.ndim - 1)


ops.softmax.accelerate(softmax, softmax_vjp, along_rows)


def log_softmax(x: np.ndarray, axis: int = -1, save: bool = False) -> tuple[np.ndarray, None]:
    """x less its maximum and log Σ exp, over the last axis; a row of nothing but −∞ gives −∞."""
    x = real(x)
    y = x - rows.row_maxima(x)
    y -= np.log(rows.sum_rows(np.exp(y)))
    return y, None


def log_softmax_vjp(g: np.ndarray, y: np.ndarray, saved: None, x: np.ndarray, axis: int = -1) -> tuple[np.ndarray]:
    """g − exp(y) ⊙ rowsum(g)."""
    dx = np.exp(y)
    dx *= -g.sum(axis=-1, keepdims=True)
    dx += g
    return (dx,)


def cross_entropy(x, targets, ignore_index, label_smoothing, reduction, save=False):
    """The loss, and p if that is small, or else the maximum and log Σ exp of each row: all that the backward pass needs besides x."""
    x = real(x)
    logits = x.reshape(-1, x.shape[-1])
    top = rows.row_maxima(logits)
    p = None
    log_sum = np.empty(top.shape, x.dtype)
    for row, highest, total in rows.row_blocks(logits, top, log_sum):
        e = row - highest
        np.exp(e, e)
        sums = rows.sum_rows(e)
        np.log(sums, total)
        if save and logits.size <= rows.BLOCK:
            e /= sums
            p = e
    which, columns = _which(targets, ignore_index)
    losses = log_sum[which, 0] - (1 - label_smoothing) * (logits[which, columns] - top[which, 0])  # of those that count
    if label_smoothing:
        losses -= label_smoothing * (logits[which] - top[which]).mean(axis=-1)
    saved = (top, log_sum) if p is None else p
    if reduction == "none":
        loss = np.zeros(len(logits), x.dtype)
        loss[which] = losses
        return loss.reshape(x.shape[:-1]), saved
    return np.asarray(losses.sum() / (max(1, len(which)) if reduction == "mean" else 1), x.dtype), saved


def cross_entropy_vjp(g, _, saved, x, targets, ignore_index, label_smoothing, reduction):
    """(p − T) times the upstream gradient of each row, which is 0 where the target does not count."""
    logits, v = x.reshape(-1, x.shape[-1]), x.shape[-1]
    which, columns = _which(targets, ignore_index)
    upstream = g.reshape(-1, 1) if reduction == "none" else g / max(1, len(which)) if reduction == "mean" else g
    if len(which) < len(logits):
        counts = np.zeros((len(logits), 1), x.dtype)
        counts[which] = 1
        upstream = upstream * counts
    if isinstance(saved, np.ndarray):
        dx = saved - label_smoothing / v if label_smoothing else saved.copy()
        dx[which, columns] -= 1 - label_smoothing
        dx *= upstream
        return (dx.reshape(x.shape),)
    dx, upstream = np.empty(logits.shape, x.dtype), np.broadcast_to(upstream, (len(logits), 1))
    for row, top, log_sum, d, u in rows.row_blocks(logits, *saved, dx, upstream):
        np.subtract(row, top, out=d)
        d -= log_sum
        np.exp(d, out=d)
        if label_smoothing:
            d -= label_smoothing / v
        d *= u
    dx[which, columns] -= (1 - label_smoothing) * upstream[which, 0]
    return (dx.reshape(x.shape),)


def _which(targets: np.ndarray, ignore_index: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the targets that count, and those targets."""
    flat = targets.ravel()
    which = np.arange(flat.size) if ignore_index is None else np.flatnonzero(flat != ignore_index)
    return which, flat[which]


ops._cross_entropy.accelerate(cross_entropy, cross_entropy_vjp)
ops.log_softmax.accelerate(log_softmax, log_softmax_vjp, along_rows)
