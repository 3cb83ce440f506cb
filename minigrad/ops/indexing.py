r"""Picking entries, and its adjoint, putting them back: :math:`y_i = x_{s_i}` gives :math:`\bar x_j = \sum_{i : s_i = j} \bar y_i`.

An entry that was picked twice gets both gradients.  Putting back is a sum by position, done by sorting or by
``bincount`` rather than by the slow ``add.at``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arguments import checked_ids, plain_index
from ..numerics import sum_rows_by_index
from .declare import op
from .shapes import reshape


def is_basic(index: Any) -> bool:
    """Whether ``index`` picks each entry at most once and gives a view: integers, slices, None and Ellipsis only."""
    items = index if isinstance(index, tuple) else (index,)
    return all(i is None or i is Ellipsis or (isinstance(i, slice | int | np.integer) and not isinstance(i, bool)) for i in items)


@op(r"y_i = x_{s_i}", inputs=["x"])
def pick(x, index):
    """The entries of ``x`` at ``index`` (anything that NumPy takes)."""
    return x[index]


@op(r"x_j = \sum_{i : s_i = j} y_i", inputs=["y"])
def put(y, index, shape):
    """Zeros of ``shape`` with the entries of ``y`` added at ``index``: the adjoint of ``pick``."""
    if is_basic(index):
        x = np.zeros(shape, y.dtype)
        x[index] = y
        return x
    size = math.prod(shape)
    places = np.arange(size).reshape(shape)[index].ravel()
    return np.bincount(places, weights=y.ravel(), minlength=size).reshape(shape).astype(y.dtype)


pick.vjp("x", r"\sum_{i : s_i = j} \bar y_i", lambda g, y, x, index: put.on(g, index, x.shape))
put.vjp("y", r"\bar x_{s_i}", lambda g, x, y, index, shape: g[index])


def getitem(x: Any, index: Any) -> Any:
    """``x[index]``, with NumPy's basic and advanced indexing."""
    return pick(x, index if is_basic(index) else plain_index(index))


@op(r"y_i = x_{s_i}", inputs=["x"])
def _take(x, indices, axis):
    return np.take(x, indices, axis=axis)


@op(r"x_j = \sum_{i : s_i = j} y_i", inputs=["y"])
def _put_along(y, indices, axis, size):
    """The adjoint of ``take``: rows of ``y`` summed by index along ``axis``, which gets ``size`` entries."""
    ndim = indices.ndim
    rows = np.moveaxis(y, tuple(range(axis, axis + ndim)), tuple(range(ndim))) if axis else y
    rest = rows.shape[ndim:]
    summed = sum_rows_by_index(rows.reshape(indices.size, math.prod(rest)), indices.ravel(), size).reshape(size, *rest)
    return np.moveaxis(summed, 0, axis) if axis else summed


_take.vjp(
    "x", r"\sum_{i : s_i = j} \bar y_i", lambda g, y, x, indices, axis: _put_along.on(g, indices, axis, x.shape[axis])
)
_put_along.vjp("y", r"\bar x_{s_i}", lambda g, x, y, indices, axis, size: _take.on(g, indices, axis))


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The slices of ``x`` at integer ``indices`` along ``axis`` (of the flattened array when None).

    Raises TypeError for indices that are no integers, IndexError out of range.
    """
    if axis is None:
        return take(reshape(x, -1), indices, 0)
    shape = np.shape(x)
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"take: axis {axis} of an array with {len(shape)} dimensions, shape {shape}")
    axis %= len(shape)
    return _take(x, checked_ids("take", indices, shape[axis], "index"), axis)


def embedding(weight: Any, ids: Any) -> Any:
    """The rows of ``weight`` (V, C) at integer ``ids`` (...): ``(..., C)``.

    Raises TypeError for ids that are no integers, IndexError for an id outside 0 … V−1.
    """
    shape = np.shape(weight)
    if len(shape) != 2:
        raise ValueError(f"embedding: weight must be (V, C), got shape {shape}")
    return _take(weight, checked_ids("embedding", ids, shape[0], "token id", negative=False), 0)


