r"""Softmax and the losses on top of it: :math:`p_j = e^{x_j} / \sum_k e^{x_k}`, and :math:`L = -\log p_t` for the target :math:`t`.

The largest entry is taken off before ``exp``: it changes no value, only the range, so that nothing overflows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arguments import are_soft, checked_targets, checked_weights, has_axis
from ..graph import Value
from .arithmetic import exp, log, where
from .declare import composed, recorded
from .reductions import mean
from .reductions import sum as sum_


@recorded
def highest(x, axis):
    """The maximum along ``axis`` as a constant, 0 where it is −∞ and no shift is needed."""
    top = np.max(x if x.dtype.kind == "f" else x.astype(float), axis=axis, keepdims=True, initial=-np.inf)
    return np.where(np.isneginf(top), 0, top).astype(top.dtype)


@composed(
    r"y = \operatorname{softmax}(x), \quad y_j = e^{x_j} / \textstyle\sum_k e^{x_k}",
    x=r"y \odot \big(\bar y - \operatorname{rowsum}(\bar y \odot y)\big)",
)
def softmax(x, axis=-1):
    """Softmax along ``axis``; a slice of nothing but −∞ returns zeros."""
    has_axis("softmax", x)
    e = exp(x - highest(x, axis))
    total = sum_(e, axis=axis, keepdims=True)
    return e / (total + np.equal(total, 0))


@composed(
    r"y = \log \operatorname{softmax}(x), \quad y_j = x_j - \log \textstyle\sum_k e^{x_k}",
    x=r"\bar y - p \odot \operatorname{rowsum}(\bar y), \quad p = e^y",
)
def log_softmax(x, axis=-1):
    """The logarithm of softmax along ``axis``, without overflow or log 0; a slice of nothing but −∞ returns −∞."""
    has_axis("log_softmax", x)
    shifted = x - highest(x, axis)
    total = sum_(exp(shifted), axis=axis, keepdims=True)
    return shifted - log(total + np.equal(total, 0))


@recorded
def counted_targets(targets, ignore_index, dtype):
    """Which targets count, (...) of booleans; the targets with 0 in the place of the others; and how many count."""
    counts = np.ones(targets.shape, bool) if ignore_index is None else targets != ignore_index
    return counts, np.where(counts, targets, 0), np.asarray(max(1, counts.sum()), dtype)[()]


@composed(
    r"L = -\tfrac1N \sum_{n,j} T_{nj} \log p_{nj}, \quad p = \operatorname{softmax}(x)", inputs=["x"], x=r"\bar L \cdot (p - T) / N"
)
def _cross_entropy(x, targets, ignore_index, label_smoothing, reduction):
    log_p = log_softmax(x)  # (..., V)
    counts, safe, number = counted_targets(targets, ignore_index, x.dtype)
    losses = (label_smoothing - 1) * log_p[(*np.indices(targets.shape, sparse=True), safe)]  # (...)
    if label_smoothing:
        losses = losses - label_smoothing * mean(log_p, axis=-1)
    if ignore_index is None and targets.size:
        return losses if reduction == "none" else mean(losses) if reduction == "mean" else sum_(losses)
    losses = where(counts, losses, 0)
    return losses if reduction == "none" else sum_(losses) / (number if reduction == "mean" else 1)


def cross_entropy(
    logits: Any,
    targets: Any,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    class_weights: Any = None,
) -> Any:
    """The negative log-likelihood, in nats, of ``targets`` (...) under softmax of ``logits`` (..., V).

    Targets equal to ``ignore_index`` count neither in the sum nor in the mean; ``label_smoothing`` spreads that much of
    each target evenly over the V classes; ``reduction`` is "mean", "sum" or "none".  Float targets (..., V) are soft: a
    probability for each class.  With ``class_weights`` (V,) every class counts with its weight, and the mean over
    integer targets is weighted.  Raises ValueError for shapes that do not fit, TypeError for targets that are no integers,
    IndexError for a target out of range.  Source: Szegedy et al. (2016), section 7, for label smoothing.
    """
    shape = logits.data.shape if isinstance(logits, Value) else np.shape(logits)
    targets = targets if isinstance(targets, Value) else np.asarray(targets)
    soft = are_soft(targets, shape, ignore_index, label_smoothing, reduction)
    ids = None if soft else checked_targets(targets, shape[-1], ignore_index)
    if class_weights is None and not soft:
        return _cross_entropy(logits, ids, ignore_index, label_smoothing, reduction)
    log_p = log_softmax(logits)
    weights = checked_weights(class_weights, shape[-1], log_p.dtype)  # (V,)
    if soft:
        wanted = (targets * (1 - label_smoothing) + label_smoothing / shape[-1]).astype(log_p.dtype)  # (..., V)
        losses, total = -sum_(wanted * (log_p * weights), axis=-1), math.prod(shape[:-1])
    else:
        counts, safe, own, total = own_weights(ids, ignore_index, weights)
        losses = (label_smoothing - 1) * own * log_p[(*np.indices(shape[:-1], sparse=True), safe)]
        if label_smoothing:
            losses = losses - sum_(log_p * (weights * (label_smoothing / shape[-1])), axis=-1)
        losses = where(counts, losses, 0)
    return losses if reduction == "none" else sum_(losses) / (total if reduction == "mean" else 1)


@recorded
def own_weights(targets, ignore_index, weights):
    """Which targets count; the targets with 0 in the place of the others; the weights of their classes; and the sum of those that count."""
    counts, safe, _ = counted_targets(targets, ignore_index, weights.dtype)
    own = np.where(counts, weights[safe], 0)
    return counts, safe, own, np.asarray(own.sum() or 1, weights.dtype)[()]
