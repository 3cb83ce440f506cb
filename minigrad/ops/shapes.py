r"""Ops that move numbers without changing them: the gradient moves back the same way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arguments import checked_axis
from ..numerics import ones
from .declare import composed, op


@op(r"y = x \text{ in another shape}", inputs=["x"])
def reshape(x, shape):
    """The entries of ``x`` in another shape; one size may be −1."""
    return np.asarray(x).reshape(shape)


reshape.vjp("x", r"\bar y \text{ in the shape of } x", lambda g, y, x, shape: g.reshape(x.shape))


def reshape_in_order(x: Any, shape: Any, order: str = "C") -> Any:
    """``reshape`` with the entries read and written row by row ("C") or column by column ("F")."""
    if order not in ("C", "F"):
        raise TypeError(f"reshape: order={order!r} has no derivative here; expected 'C' (by rows) or 'F' (by columns)")
    if order == "C":
        return reshape(x, shape)
    return transpose(reshape(transpose(x), shape[::-1] if isinstance(shape, tuple | list) else shape))


@op(r"y_{i_{p(1)} i_{p(2)} \dots} = x_{i_1 i_2 \dots}", numpy=[np.transpose])
def transpose(x, axes=None):
    """``x`` with its axes in the order ``axes`` (reversed when None)."""
    return np.transpose(x, axes)


def _transpose(g: Any, y: Any, x: Any, axes: Any = None) -> Any:
    return g.transpose(None if axes is None else tuple(int(i) for i in np.argsort(np.atleast_1d(axes) % x.ndim)))


transpose.vjp("x", r"\bar y \text{ with the axes put back}", _transpose)


@op(r"y = x \text{ with two axes exchanged}", inputs=["x"], numpy=[np.swapaxes])
def swapaxes(x, axis1, axis2):
    """``x`` with two axes exchanged."""
    return np.asarray(x).swapaxes(axis1, axis2)


swapaxes.vjp("x", r"\bar y \text{ with the two axes exchanged}", lambda g, y, x, axis1, axis2: g.swapaxes(axis1, axis2))


@composed(r"y_{h t} = x_t \text{, the part of head } h", inputs=["x"], x=r"\text{the heads of } \bar y \text{ side by side}")
def split_heads(x, num_heads):
    """(..., T, H·D) → (..., H, T, D): the features of each head as a sequence of its own."""
    return swapaxes(reshape(x, (*x.shape[:-1], num_heads, x.shape[-1] // num_heads)), -2, -3)


@composed(r"y_t = [x_{1 t} \dots x_{H t}]", x=r"\text{the part of } \bar y_t \text{ of each head}")
def join_heads(x):
    """(..., H, T, D) → (..., T, H·D): the heads side by side again."""
    return reshape(swapaxes(x, -2, -3), (*x.shape[:-3], x.shape[-2], x.shape[-3] * x.shape[-1]))


@op(r"y = x \text{ repeated to a larger shape}", inputs=["x"], numpy=[np.broadcast_to])
def broadcast_to(x, shape):
    """``x`` repeated along axes of size 1 and missing leading axes, as NumPy broadcasts."""
    return np.broadcast_to(x, shape)


broadcast_to.vjp("x", r"\sum \bar y \text{ over the repeated axes}", lambda g, y, x, shape: g)


@op(r"y = \sum x \text{ over the axes that broadcasting repeated}", inputs=["x"])
def sum_to(x, shape):
    """``x`` summed over the axes along which an array of ``shape`` would be broadcast to it."""
    extra = x.ndim - len(shape)
    if extra and shape and x.shape[extra:] == shape and x.size and x.dtype.kind == "f":
        n = math.prod(x.shape[:extra])
        return ones(n, x.dtype).dot(x.reshape(n, -1)).reshape(shape)  # by BLAS
    axes = tuple(i for i, n in enumerate(x.shape) if i < extra or (shape[i - extra] == 1 and n != 1))
    return x.sum(axis=axes).reshape(shape) if axes else x.reshape(shape)


sum_to.vjp("x", r"\bar y \text{ for every repetition}", lambda g, y, x, shape: np.broadcast_to(g, x.shape))


@op(r"y = [x_1 \; x_2 \; \dots]")
def _concatenate(*arrays, axis=0):
    return np.concatenate(arrays, axis=axis)


@_concatenate.joint_vjp(x=r"\bar y \text{ at the place of } x_i")
def _concatenate_vjp(g: Any, y: Any, *arrays: Any, axis: int = 0) -> list[Any]:
    pieces, start = [], 0
    for x in arrays:
        stop = start + x.shape[axis]
        pieces.append(g[(slice(None),) * (axis % g.ndim) + (slice(start, stop),)])
        start = stop
    return pieces


@op(r"y_i = x_i \text{ along a new axis}")
def _stack(*arrays, axis=0):
    return np.stack(arrays, axis=axis)


@_stack.joint_vjp(x=r"\bar y_i")
def _stack_vjp(g: Any, y: Any, *arrays: Any, axis: int = 0) -> list[Any]:
    place = (slice(None),) * (axis % g.ndim)
    return [g[(*place, i)] for i in range(len(arrays))]


def concatenate(arrays: Any, axis: int | None = 0) -> Any:
    """The arrays joined along an existing ``axis``, where their other sizes must agree; flattened when it is None."""
    if axis is None:
        arrays, axis = [reshape(x, -1) for x in arrays], 0
    return _concatenate(*arrays, axis=checked_axis("concatenate", axis))


def stack(arrays: Any, axis: int = 0) -> Any:
    """Arrays of one shape, joined along a new ``axis``."""
    return _stack(*arrays, axis=checked_axis("stack", axis))


