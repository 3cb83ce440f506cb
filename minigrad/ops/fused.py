r"""Fused ops: one recorded step where the plain formula would take many.

Each has a *composed twin* of a few plain lines, ``op.twin``, that says what it computes; tests tie the two together to
second order.  The gradients are derived by hand from the twins.  In the formulas :math:`\langle \cdot \rangle` is the mean over
the last axis.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..graph import Example, Value, example, op
from .arithmetic import exp, log, sqrt
from .indexing import checked_ids
from .reductions import mean
from .reductions import sum as sum_


def _highest(x: Any, axis: int) -> Any:
    """The maximum along ``axis`` as a constant, 0 where it is −∞: subtracting it changes no value, only the range."""
    top = np.max(getattr(x, "data", x) if not isinstance(x, np.ndarray) else x, axis=axis, keepdims=True, initial=-np.inf)
    return np.where(np.isneginf(top), 0, top).astype(x.dtype)


# Softmax and the losses on top of it -----------------------------------------------------------------------------------


@op(r"y = \operatorname{softmax}(x), \quad y_j = e^{x_j} / \textstyle\sum_k e^{x_k}")
def softmax(x, axis=-1):
    """Softmax along ``axis``; a slice of nothing but −∞ gives zeros."""
    x = kernels.real(x)
    if not x.ndim:
        raise ValueError("softmax: a single number has no axis to normalise along")
    if axis in (-1, x.ndim - 1):
        return kernels.softmax(x)
    return np.swapaxes(kernels.softmax(np.swapaxes(x, axis, -1)), axis, -1)


def softmax_twin(x: Any, axis: int = -1) -> Any:
    """The same in plain operators."""
    e = exp(x - _highest(x, axis))
    total = sum_(e, axis=axis, keepdims=True)
    return e / (total + np.equal(total, 0))


def _softmax(g: Any, y: Any, x: Any, axis: int = -1) -> Any:
    if isinstance(g, np.ndarray) and axis in (-1, y.ndim - 1):
        dx = g - kernels.row_dots(g, y)[..., None]
        dx *= y
        return dx
    return (g - (g * y).sum(axis=axis, keepdims=True)) * y


softmax.twin = softmax_twin
softmax.vjp("x", r"y \odot \big(\bar y - \operatorname{rowsum}(\bar y \odot y)\big)", _softmax)
softmax.examples = lambda rng: [
    example(rng.normal(size=shape), axis=axis) for shape, axis in [((3, 4), -1), ((2, 3, 2), 1), ((3, 2), 0), ((4,), 0), ((2, 1), -1), ((0, 3), 1)]
]


@op(r"y = \log \operatorname{softmax}(x), \quad y_j = x_j - \log \textstyle\sum_k e^{x_k}")
def log_softmax(x, axis=-1):
    """The logarithm of softmax along ``axis``, without overflow or log 0."""
    x = kernels.real(x)
    if not x.ndim:
        raise ValueError("log_softmax: a single number has no axis to normalise along")
    y = x - _highest(x, axis)
    y -= np.log(np.exp(y).sum(axis=axis, keepdims=True))
    return y


def log_softmax_twin(x: Any, axis: int = -1) -> Any:
    """The same in plain operators."""
    shifted = x - _highest(x, axis)
    return shifted - log(sum_(exp(shifted), axis=axis, keepdims=True))


log_softmax.twin = log_softmax_twin
log_softmax.vjp(
    "x",
    r"\bar y - p \odot \operatorname{rowsum}(\bar y), \quad p = e^y",
    lambda g, y, x, axis=-1: g - np.exp(y) * g.sum(axis=axis, keepdims=True),
)
log_softmax.examples = softmax.examples


def _targets(logits: Any, targets: np.ndarray, ignore_index: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the targets that count, and those targets."""
    flat = targets.ravel()
    rows = np.arange(flat.size) if ignore_index is None else np.flatnonzero(flat != ignore_index)
    return rows, flat[rows]


@op(
    r"L = -\tfrac1N \sum_{n,j} T_{nj} \log p_{nj}, \quad p = \operatorname{softmax}(x)",
    inputs=["x"],
    saves=True,
)
def _cross_entropy(x, targets, ignore_index, label_smoothing, reduction, save=False):
    x = kernels.real(x)
    logits = x.reshape(-1, x.shape[-1])
    ell = np.empty((len(logits), 1), x.dtype)  # log Σ exp of each row: all that the backward pass needs besides x
    for rows, log_sum in kernels.row_blocks(logits, ell):
        top = kernels.row_maxima(rows)
        e = rows - top
        np.exp(e, out=e)
        np.log(kernels.sum_rows(e), out=log_sum)
        log_sum += top
    rows, columns = _targets(x, targets, ignore_index)
    losses = ell[rows, 0] - (1 - label_smoothing) * logits[rows, columns]  # of those that count
    if label_smoothing:
        losses -= label_smoothing * logits[rows].mean(axis=-1)
    if reduction == "none":
        loss = np.zeros(len(logits), x.dtype)
        loss[rows] = losses
        loss = loss.reshape(x.shape[:-1])
    else:
        loss = np.asarray(losses.sum() / (max(1, len(rows)) if reduction == "mean" else 1), x.dtype)
    return (loss, ell) if save else loss


def _cross_entropy_vjp(
    g: Any, y: Any, x: Any, targets: np.ndarray, ignore_index: int | None, label_smoothing: float, reduction: str, saved: Any
) -> Any:
    v = x.shape[-1]
    rows, columns = _targets(x, targets, ignore_index)
    counts = np.zeros((targets.size, 1), x.dtype)
    counts[rows] = 1 / max(1, len(rows)) if reduction == "mean" else 1
    upstream = (g.reshape(-1, 1) if reduction == "none" else g) * counts  # of each row: (N, 1)
    if saved is not None:
        logits, dx = x.reshape(-1, v), np.empty((targets.size, v), x.dtype)
        for row, log_sum, d, u in kernels.row_blocks(logits, saved, dx, upstream):
            np.subtract(row, log_sum, out=d)
            np.exp(d, out=d)
            if label_smoothing:
                d -= label_smoothing / v
            d *= u
        dx[rows, columns] -= (1 - label_smoothing) * upstream[rows, 0]
        return dx.reshape(x.shape)
    wanted = np.full((targets.size, v), label_smoothing / v, x.dtype)
    wanted[rows, columns] += 1 - label_smoothing
    return (upstream * (softmax(x.reshape(-1, v)) - wanted)).reshape(x.shape)


_cross_entropy.vjp("x", r"\bar L \cdot (p - T) / N", _cross_entropy_vjp)
_cross_entropy.examples = lambda rng: [
    Example(
        (rng.normal(size=(*shape, 4)),),
        {"targets": rng.integers(0, 4, shape), "ignore_index": ignored, "label_smoothing": smoothing, "reduction": reduction},
    )
    for shape, ignored, smoothing, reduction in [
        ((3,), None, 0.0, "mean"), ((2, 3), 1, 0.0, "mean"), ((2, 3), None, 0.1, "sum"), ((2, 3), 2, 0.2, "none"), ((5,), 0, 0.3, "mean"),
        ((), None, 0.0, "none"), ((4,), None, 0.0, "none"),
    ]
]  # fmt: skip


def cross_entropy_twin(
    x: Any, targets: np.ndarray, ignore_index: int | None = None, label_smoothing: float = 0.0, reduction: str = "mean"
) -> Any:
    """The same in plain operators."""
    log_p = log_softmax_twin(x).reshape(-1, x.shape[-1])
    rows, columns = _targets(x, targets, ignore_index)
    wanted = np.zeros(log_p.shape, x.dtype)
    wanted[rows] = label_smoothing / x.shape[-1]
    wanted[rows, columns] += 1 - label_smoothing
    losses = -sum_(log_p * wanted, axis=-1)
    if reduction == "none":
        return losses.reshape(targets.shape)
    return sum_(losses) / (max(1, len(rows)) if reduction == "mean" else 1)


_cross_entropy.twin = cross_entropy_twin


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
    integer targets is weighted.  Raises ValueError for shapes that do not fit, TypeError for targets that are no
    integers, IndexError for a target out of range.  Source: Szegedy et al. (2016), section 7, for label smoothing.
    """
    shape = logits.data.shape if isinstance(logits, Value) else np.shape(logits)
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"cross_entropy: reduction {reduction!r}; expected 'mean', 'sum' or 'none'")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing {label_smoothing}; expected a number from 0 to 1")
    weights = None if class_weights is None else _class_weights(class_weights, shape)
    soft: Any = targets if isinstance(targets, Value) else np.asarray(targets)
    if shape and soft.shape == shape and soft.dtype.kind == "f":
        if ignore_index is not None:
            raise ValueError(
                f"cross_entropy: ignore_index={ignore_index} with soft targets, which have none; leave those rows out"
            )
        return _reduced(_soft_losses(logits, soft, label_smoothing, weights), reduction, math.prod(shape[:-1]))
    if not shape or np.shape(targets) != shape[:-1]:
        raise ValueError(f"cross_entropy: logits {shape} need targets of shape {shape[:-1]}, got {np.shape(targets)}")
    ids = np.array(targets.data if isinstance(targets, Value) else targets)
    counted = ids if ignore_index is None else ids[ids != ignore_index]
    if counted.dtype.kind == "i" and counted.size and (low := int(counted.min())) < 0:
        raise IndexError(
            f"cross_entropy: target {low} is negative; classes run from 0 to {shape[-1] - 1}. "
            f"To leave padding out, pass ignore_index={low}"
        )
    checked_ids("cross_entropy", counted, shape[-1], "target")
    ids = ids.astype(np.int64, copy=False)
    if weights is None:
        return _cross_entropy(logits, ids, ignore_index, label_smoothing, reduction)
    losses, total = _weighted_losses(logits, ids, ignore_index, label_smoothing, weights)
    return _reduced(losses, reduction, total)


# Class weights w and soft targets t, in plain ops: L = −Σ_j t_j w_j log p_j


def _class_weights(class_weights: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The weights (V,) as floats; ValueError when they do not fit the logits."""
    weights = np.asarray(class_weights.data if isinstance(class_weights, Value) else class_weights, float)
    if weights.shape != shape[-1:] or not np.isfinite(weights).all():
        raise ValueError(
            f"cross_entropy: class_weights {weights.shape}; expected {shape[-1:]}, a finite number for each class"
        )
    return weights


def _soft_losses(logits: Any, targets: Any, label_smoothing: float, weights: np.ndarray | None) -> Any:
    """Of each row: (..., V) → (...)."""
    log_p = log_softmax(logits)
    if label_smoothing:
        targets = targets * (1 - label_smoothing) + label_smoothing / log_p.shape[-1]
    if not isinstance(targets, Value):
        targets = targets.astype(log_p.dtype)  # a copy: the caller's array may change before the backward pass
    return -sum_(targets * (log_p if weights is None else log_p * weights.astype(log_p.dtype)), axis=-1)


def _weighted_losses(
    logits: Any, ids: np.ndarray, ignore_index: int | None, label_smoothing: float, weights: np.ndarray
) -> tuple[Any, float]:
    """Of each integer target, (..., V) → (...), zeros where it is ignored; and the sum of their classes' weights."""
    real = np.ones(ids.shape, bool) if ignore_index is None else ids != ignore_index
    own = np.where(real, weights[np.where(real, ids, 0)], 0.0)  # (...)
    losses = _cross_entropy(logits, ids, ignore_index, 0.0, "none")
    losses = losses * ((1 - label_smoothing) * own).astype(losses.dtype)
    if label_smoothing:
        evenly = real[..., None] * weights * (label_smoothing / len(weights))  # (..., V)
        losses = losses - sum_(log_softmax(logits) * evenly.astype(losses.dtype), axis=-1)
    return losses, float(own.sum())


def _reduced(losses: Any, reduction: str, total: float) -> Any:
    """Losses as they are, their sum, or the sum divided by ``total``."""
    if reduction == "none":
        return losses
    return sum_(losses) / (total or 1.0) if reduction == "mean" else sum_(losses)


# Normalisation -----------------------------------------------------------------------------------------------------------


@op(r"y = \gamma \odot \hat x + \beta, \quad \hat x = (x - \mu) / \sqrt{\sigma^2 + \varepsilon}", inputs=["x", "weight", "bias"], saves=True)
def layer_norm(x, weight, bias=None, eps=1e-5, save=False):
    """Each vector along the last axis shifted to mean 0 and scaled to variance 1, then scaled by ``weight`` and shifted
    by ``bias``, both (C,).  Source: Ba, Kiros & Hinton (2016), eq. 4."""
    _check_norm("layer_norm", x, weight, bias)
    mean = kernels.row_means(x)
    y = x - mean
    inverse = kernels.inverse_norms(y, eps)
    y *= inverse
    y *= weight
    if bias is not None:
        y += bias
    return (y, (mean, inverse)) if save else y


def _check_norm(name: str, x: Any, weight: Any, bias: Any = None) -> None:
    for what, p in (("weight", weight), ("bias", bias)):
        if p is not None and getattr(p, "shape", ()) != x.shape[-1:]:
            raise ValueError(f"{name}: {what} {np.shape(p)} for x {x.shape}; expected {x.shape[-1:]}, the last axis of x")


def layer_norm_twin(x: Any, weight: Any, bias: Any = None, eps: float = 1e-5) -> Any:
    """The same in plain operators."""
    centred = x - mean(x, axis=-1, keepdims=True)
    y = centred / sqrt(mean(centred * centred, axis=-1, keepdims=True) + eps) * weight
    return y if bias is None else y + bias


layer_norm.twin = layer_norm_twin


@layer_norm.joint_vjp(
    x=r"s \odot (u - m - \hat x \odot c), \quad s = 1 / \sqrt{\sigma^2 + \varepsilon}, \quad u = \gamma \odot \bar y,"
    r" \quad m = \langle u \rangle, \quad c = \langle u \odot \hat x \rangle",
    weight=r"\sum_n \bar y_n \odot \hat x_n",
    bias=r"\sum_n \bar y_n",
)
def _layer_norm_vjp(g: Any, y: Any, x: Any, weight: Any, bias: Any = None, eps: float = 1e-5, saved: Any = None) -> Any:
    if saved is not None:
        return (*_norm_vjp(g, x, weight, *saved), g)
    centred = x - x.mean(axis=-1, keepdims=True)
    inverse = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)
    normalised = centred * inverse
    u = g * weight
    dx = inverse * (u - u.mean(axis=-1, keepdims=True) - normalised * (u * normalised).mean(axis=-1, keepdims=True))
    return dx, g * normalised, g


layer_norm.examples = lambda rng: [
    example(rng.normal(size=shape), rng.uniform(0.5, 2, shape[-1]), rng.normal(size=shape[-1]) if bias else None, eps=eps)
    for shape, bias, eps in [((3, 4), True, 1e-5), ((2, 3, 5), False, 1e-5), ((4,), True, 0.1), ((2, 2), False, 1e-2)]
]


def _norm_vjp(g: np.ndarray, x: np.ndarray, weight: np.ndarray, mean: np.ndarray | None, inverse: np.ndarray) -> tuple[Any, ...]:
    """The gradients of x and weight, from the row means (None for RMS norm) and 1/σ; means over C are products with γ/C."""
    share = (weight / weight.size)[:, None]
    normalised = x * inverse if mean is None else x - mean
    if mean is not None:
        normalised *= inverse
    dx = g * normalised
    d_weight = kernels.column_sums(dx.reshape(-1, weight.size))
    normalised *= dx @ share
    if mean is not None:
        normalised += g @ share
    np.multiply(g, weight, out=dx)
    dx -= normalised
    dx *= inverse
    return dx, d_weight


@op(r"y = \gamma \odot \hat x, \quad \hat x = s \odot x, \quad s = 1 / \sqrt{\langle x^2 \rangle + \varepsilon}", inputs=["x", "weight"], saves=True)
def rms_norm(x, weight, eps=1e-6, save=False):
    """Each vector along the last axis divided by its root mean square, then scaled by ``weight`` (C,).
    Source: Zhang & Sennrich (2019), eq. 4."""
    _check_norm("rms_norm", x, weight)
    inverse = kernels.inverse_norms(x, eps)
    y = x * inverse
    y *= weight
    return (y, (None, inverse)) if save else y


def rms_norm_twin(x: Any, weight: Any, eps: float = 1e-6) -> Any:
    """The same in plain operators."""
    return x / sqrt(mean(x * x, axis=-1, keepdims=True) + eps) * weight


rms_norm.twin = rms_norm_twin


@rms_norm.joint_vjp(
    x=r"s \odot (u - \hat x \odot c), \quad u = \gamma \odot \bar y, \quad c = \langle u \odot \hat x \rangle",
    weight=r"\sum_n \bar y_n \odot \hat x_n",
)
def _rms_norm_vjp(g: Any, y: Any, x: Any, weight: Any, eps: float = 1e-6, saved: Any = None) -> Any:
    if saved is not None:
        return _norm_vjp(g, x, weight, *saved)
    inverse = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    normalised = x * inverse
    u = g * weight
    return inverse * (u - normalised * (u * normalised).mean(axis=-1, keepdims=True)), g * normalised


rms_norm.examples = lambda rng: [
    example(rng.normal(size=shape), rng.uniform(0.5, 2, shape[-1]), eps=eps) for shape, eps in [((3, 4), 1e-6), ((2, 3, 5), 0.1), ((4,), 1e-6)]
]
