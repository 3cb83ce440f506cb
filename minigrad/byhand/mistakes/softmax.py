r"""Softmax, and the losses on top of it: what is forgotten of :math:`y \odot (\bar y - \sum_j \bar y_j y_j)`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .registry import mistake


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Softmax on arrays; zeros where a slice holds nothing but −∞."""
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=axis, keepdims=True)
    return e / np.where(total == 0, 1, total)


DIAGONAL = "only the diagonal of softmax's Jacobian, y_i (1 − y_i), is used; the terms −y_i y_j off the diagonal are missing"
NO_SUM = "the term −y Σ_j ȳ_j y_j of softmax's gradient is missing"
UNWEIGHTED = "the sum in softmax's gradient is Σ_j ȳ_j; it should be Σ_j ȳ_j y_j"


@mistake("softmax", "softmax diagonal", DIAGONAL)
def _(g, y, x, axis=-1):
    return [g * y * (1 - y)]


@mistake("softmax", "missing term", NO_SUM)
def _(g, y, x, axis=-1):
    return [g * y]


@mistake("softmax", "wrong term", UNWEIGHTED)
def _(g, y, x, axis=-1):
    return [y * (g - g.sum(axis=axis, keepdims=True))]


@mistake("softmax", "other function", "this is the gradient of log_softmax")
def _(g, y, x, axis=-1):
    return [g - y * g.sum(axis=axis, keepdims=True)]


@mistake("softmax", "wrong axis", "the sum in softmax's gradient runs over another axis than softmax does")
def _(g, y, x, axis=-1):
    other = -2 if axis % x.ndim == x.ndim - 1 else -1
    return [y * (g - (g * y).sum(axis=other, keepdims=True))] if x.ndim > 1 else [None]


@mistake("log_softmax", "softmax diagonal", "only the diagonal 1 − p_i of log_softmax's Jacobian is used; the −p_j off the diagonal are missing")
def _(g, y, x, axis=-1):
    return [g * (1 - np.exp(y))]


@mistake("log_softmax", "missing term", "the factor Σ_j ȳ_j is missing from the term −p Σ_j ȳ_j of log_softmax's gradient")
def _(g, y, x, axis=-1):
    return [g - np.exp(y)]


@mistake("log_softmax", "other function", "this is the gradient of softmax")
def _(g, y, x, axis=-1):
    p = np.exp(y)
    return [p * (g - (g * p).sum(axis=axis, keepdims=True))]


def _loss_terms(g: Any, x: np.ndarray, targets: np.ndarray, ignored: int | None, smoothing: float, reduction: str) -> tuple[Any, Any, Any]:
    """The weight of each row, softmax of the rows, the targets as rows of probabilities."""
    v = x.shape[-1]
    flat = targets.ravel()
    counted = np.ones(flat.size, bool) if ignored is None else flat != ignored
    weight = counted / (max(1, counted.sum()) if reduction == "mean" else 1)
    wanted = np.full((flat.size, v), smoothing / v)
    wanted[np.flatnonzero(counted), flat[counted]] += 1 - smoothing
    return (np.reshape(g, -1) * weight)[:, None], softmax(x).reshape(-1, v), wanted


@mistake("_cross_entropy", "missing term", "the target is not subtracted: the gradient is softmax − target, here it is softmax alone")
def _(g, y, x, targets, ignore_index, label_smoothing, reduction, saved=None):
    w, p, _ = _loss_terms(g, x, targets, ignore_index, label_smoothing, reduction)
    return [(w * p).reshape(x.shape)]


@mistake("_cross_entropy", "missing term", "softmax is missing: the gradient is softmax − target, here it is −target alone")
def _(g, y, x, targets, ignore_index, label_smoothing, reduction, saved=None):
    w, _, t = _loss_terms(g, x, targets, ignore_index, label_smoothing, reduction)
    return [(-w * t).reshape(x.shape)]


@mistake("_cross_entropy", "softmax diagonal", DIAGONAL)
def _(g, y, x, targets, ignore_index, label_smoothing, reduction, saved=None):
    w, p, t = _loss_terms(g, x, targets, ignore_index, label_smoothing, reduction)
    return [(-w * t * (1 - p)).reshape(x.shape)]


@mistake("_cross_entropy", "sign of a term", "the target is added: the gradient is softmax − target, here it is softmax + target")
def _(g, y, x, targets, ignore_index, label_smoothing, reduction, saved=None):
    w, p, t = _loss_terms(g, x, targets, ignore_index, label_smoothing, reduction)
    return [(w * (p + t)).reshape(x.shape)]


@mistake("_cross_entropy", "forgotten softmax", "the logits stand in place of their softmax: x − target, where softmax(x) − target belongs")
def _(g, y, x, targets, ignore_index, label_smoothing, reduction, saved=None):
    w, _, t = _loss_terms(g, x, targets, ignore_index, label_smoothing, reduction)
    return [(w * (x.reshape(t.shape) - t)).reshape(x.shape)]


@mistake("_cross_entropy", "missing label smoothing", "label smoothing is forgotten: the targets here are 0 and 1")
def _(g, y, x, targets, ignore_index, label_smoothing, reduction, saved=None):
    w, p, t = _loss_terms(g, x, targets, ignore_index, 0.0, reduction)
    return [(w * (p - t)).reshape(x.shape)]
