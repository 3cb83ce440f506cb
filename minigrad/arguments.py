"""What the ops ask of their arguments; errors say what was wrong, with the values, what was expected, and what to do."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .graph import Value
from .modes import mode
from .ops.declare import recorded

# Axes and indices -----------------------------------------------------------------------------------------------------


def checked_axis(what: str, axis: Any) -> Any:
    """TypeError when an array stands in the place of the axis: the list around the arrays is missing."""
    if np.ndim(axis):
        raise TypeError(f"{what}: axis is a {type(axis).__name__} of shape {np.shape(axis)}; the arrays go into one list: {what}([a, b])")
    return axis


def plain_index(index: Any) -> Any:
    """An index with its Tensors and lists as arrays; copied, since their owner may change them before the backward pass."""
    if isinstance(index, tuple):
        return tuple(plain_index(i) for i in index)
    if isinstance(index, Value):
        if index.data.dtype == bool and (tape := mode.get().tape) is not None:
            tape.refuse("how many entries x[mask] has depends on values; use minigrad.where(mask, x, 0)")
        index = as_index(index)
    if isinstance(index, Value):
        return index.data
    if isinstance(index, np.ndarray | list):
        array = np.array(index)
        if array.size and array.dtype.kind not in "iub":
            raise IndexError(f"getitem: an index must be integers or booleans, got an array of {array.dtype}")
        return array if array.size or isinstance(index, np.ndarray) else array.astype(np.intp)
    return index


@partial(recorded, shown="{0}")
def as_index(index):
    """A copy of an array of integers or booleans."""
    return index.copy()


@partial(recorded, shown="{1}")
def checked_ids(name, ids, size, what, negative=True):
    """``ids`` as an integer array of our own, each within ``[-size, size)`` and returned from 0 on; errors name the offender."""
    ids = np.array(ids)
    if ids.dtype.kind not in "iu":
        if ids.size:
            raise TypeError(f"{name}: {what} must be integers, got {ids.dtype}; convert with .astype(np.int64) if they are whole numbers")
        ids = ids.astype(np.int64)
    # one look is enough: below 0 is far above
    if not ids.size or (ids.dtype == np.intp and np.maximum.reduce(ids.view(np.uintp), axis=None) < size):
        return ids.astype(np.intp, copy=False)
    if ids.max() >= size or ids.min() < -size:
        where = tuple(int(i) for i in np.argwhere((ids >= size) | (ids < -size))[0])
        raise IndexError(f"{name}: {what} {int(ids[where])} at position {where} is out of range for size {size} (0 to {size - 1})")
    if not negative and ids.min() < 0:
        where = tuple(int(i) for i in np.argwhere(ids < 0)[0])
        raise IndexError(f"{name}: {what} {int(ids[where])} at position {where} is negative; ids run from 0 to {size - 1}")
    return np.where(ids < 0, ids + size, ids).astype(np.intp, copy=False)


# Products and norms ---------------------------------------------------------------------------------------------------


def no_product(a: tuple[int, ...], b: tuple[int, ...]) -> ValueError:
    """Why arrays of these shapes have no matrix product."""
    if not a or not b:
        reason = "a scalar has no matrix product; use *"
    elif a[-1] != b[-2 if len(b) > 1 else 0]:
        reason = f"inner sizes {a[-1]} and {b[-2 if len(b) > 1 else 0]} differ"
        if len(b) > 1 and a[-1] == b[-1]:
            reason += "; perhaps a @ b.mT is meant"
    else:
        reason = f"leading axes {a[:-2]} and {b[:-2]} do not broadcast"
    return ValueError(f"matmul: {a} @ {b}: {reason}")


def check_linear(x: Any, weight: Any, bias: Any = None) -> None:
    """Raise ValueError when the shapes do not fit."""
    if x.ndim < 1 or weight.ndim != 2 or x.shape[-1] != weight.shape[0]:
        fits = x.ndim and weight.ndim == 2
        reason = f"the last size of x is {x.shape[-1]}, weight (in, out) expects {weight.shape[0]}" if fits else "weight must be (in, out)"
        raise ValueError(f"linear: {x.shape} @ {weight.shape}: {reason}")
    if bias is not None and bias.shape != weight.shape[1:]:
        raise ValueError(f"linear: bias {bias.shape} for weight {weight.shape}; expected {weight.shape[1:]}")


def check_norm(name: str, x: Any, weight: Any, bias: Any = None) -> None:
    """Raise ValueError when weight and bias are not of the size of the last axis."""
    for what, p in (("weight", weight), ("bias", bias)):
        if p is not None and p.shape != x.shape[-1:]:
            raise ValueError(f"{name}: {what} {np.shape(p)} for x {x.shape}; expected {x.shape[-1:]}, the last axis of x")


# Softmax and cross-entropy --------------------------------------------------------------------------------------------


def has_axis(name: str, x: Any) -> None:
    """Raise ValueError for a single number."""
    if not x.ndim:
        raise ValueError(f"{name}: a single number has no axis to normalise along")


def are_soft(targets: Any, shape: tuple[int, ...], ignore_index: Any, label_smoothing: float, reduction: str) -> bool:
    """Whether the targets of cross-entropy are probabilities, as the logits' ``shape`` says; ValueError for what does not fit."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"cross_entropy: reduction {reduction!r}; expected 'mean', 'sum' or 'none'")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing {label_smoothing}; expected a number from 0 to 1")
    soft = bool(shape) and targets.shape == shape and targets.dtype.kind == "f"
    if soft and ignore_index is not None:
        raise ValueError(f"cross_entropy: ignore_index={ignore_index} with soft targets, which have no index; leave those rows out")
    if not soft and (not shape or targets.shape != shape[:-1]):
        raise ValueError(f"cross_entropy: logits {shape} need targets of shape {shape[:-1]}, got {targets.shape}")
    return soft


@partial(recorded, shown="{0}")
def checked_targets(targets, classes, ignore_index):
    """The targets as integers of our own, each a class or ``ignore_index``; errors name the offender."""
    ids = np.array(targets)
    if ids.size and ids.dtype == np.intp and np.maximum.reduce(ids.view(np.uintp), axis=None) < classes:
        return ids
    wanted = ids if ignore_index is None else ids[ids != ignore_index]
    if wanted.dtype.kind == "i" and wanted.size and (low := int(wanted.min())) < 0:
        raise IndexError(
            f"cross_entropy: target {low} is negative; classes run from 0 to {classes - 1}. To leave padding out, pass ignore_index={low}"
        )
    checked_ids("cross_entropy", wanted, classes, "target")
    return ids.astype(np.int64, copy=False)


@recorded
def checked_weights(class_weights, classes, dtype):
    """The weights (V,), ones where there are none; ValueError when they do not fit the logits."""
    weights = np.ones(classes, dtype) if class_weights is None else np.asarray(class_weights, float).astype(dtype)
    if weights.shape != (classes,) or not np.isfinite(weights).all():
        raise ValueError(f"cross_entropy: class_weights {weights.shape}; expected ({classes},), a finite number for each class")
    return weights


# Attention ------------------------------------------------------------------------------------------------------------


def check_attention(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    """Raise ValueError when these shapes of q, k and v do not fit together."""
    name = "scaled_dot_product_attention"
    if not len(q) == len(k) == len(v) >= 2:
        raise ValueError(f"{name}: q {q}, k {k}, v {v}; expected the same number of axes, (..., heads, length, width)")
    if q[-1] != k[-1]:
        raise ValueError(f"{name}: queries of width {q[-1]} cannot meet keys of width {k[-1]} (q {q}, k {k})")
    if k[-2] != v[-2]:
        raise ValueError(f"{name}: {k[-2]} keys but {v[-2]} values (k {k}, v {v}); each key needs its value")
    if len(q) > 2 and (k[-3] != v[-3] or k[-3] == 0 or q[-3] % k[-3]):
        raise ValueError(f"{name}: {q[-3]} query heads over {k[-3]} key and {v[-3]} value heads; expected a multiple")
    try:
        np.broadcast_shapes(q[:-3], k[:-3], v[:-3])
    except ValueError as error:
        raise ValueError(f"{name}: batch axes of q {q}, k {k}, v {v} do not broadcast") from error


def check_mask(shape: tuple[int, ...], dtype: Any, full: tuple[int, ...]) -> None:
    """Raise ValueError for a mask that does not broadcast to (..., queries, keys), TypeError for one of integers."""
    try:
        fits = np.broadcast_shapes(shape, full) == full
    except ValueError:
        fits = False
    if not fits:
        hint = ""
        if len(shape) >= 2 and shape[-2:] == (full[-1], full[-2]) and full[-1] != full[-2]:
            hint = " It looks transposed: queries are rows, keys are columns."
        elif len(shape) == 2 and full[:1] + full[-1:] == shape:
            hint = " A padding mask (batch, keys) needs two axes more: mask[:, None, None, :], or padding_mask(mask)."
        raise ValueError(f"scaled_dot_product_attention: mask {shape} does not broadcast to (..., queries, keys) = {full}.{hint}")
    if dtype.kind not in "fb":
        raise TypeError(
            f"scaled_dot_product_attention: mask of {dtype}; use booleans (True = may attend), mask.astype(bool), or floats to add"
        )


@recorded
def added_mask(mask, full, dtype):
    """The mask as something to add to the scores; a boolean one becomes 0 and −∞."""
    mask = np.asarray(mask)
    check_mask(mask.shape, mask.dtype, full)
    if mask.dtype == bool:
        return np.where(mask, 0.0, -np.inf).astype(dtype)
    if (mask == 1).any() and ((mask == 0) | (mask == 1)).all() and (mask == 0).any():
        raise ValueError(
            f"scaled_dot_product_attention: a float mask {mask.shape} of zeros and ones would be added to the scores and hide nothing; "
            "use booleans (True = may attend): mask.astype(bool), or mask == 1"
        )
    return mask.astype(dtype)
