r"""Ops that move numbers without changing them: the gradient moves back the same way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .declare import Example, composed, example, op
from .numerics import ones


@op(r"y = x \text{ in another shape}", inputs=["x"])
def reshape(x, shape):
    """The entries of ``x`` in another shape; one size may be −1."""
    return np.asarray(x).reshape(shape)


reshape.vjp("x", r"\bar y \text{ in the shape of } x", lambda g, y, x, shape: g.reshape(x.shape))
reshape.examples = lambda rng: [example(rng.normal(size=(2, 6)), shape=shape) for shape in ((3, 4), -1, (2, -1, 3), (1, 12, 1))]


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
transpose.examples = lambda rng: [example(rng.normal(size=(2, 3, 4)), axes=axes) for axes in (None, (1, 2, 0), (-1, 0, 1))]


@op(r"y = x \text{ with two axes exchanged}", inputs=["x"], numpy=[np.swapaxes])
def swapaxes(x, axis1, axis2):
    """``x`` with two axes exchanged."""
    return np.asarray(x).swapaxes(axis1, axis2)


swapaxes.vjp("x", r"\bar y \text{ with the two axes exchanged}", lambda g, y, x, axis1, axis2: g.swapaxes(axis1, axis2))
swapaxes.examples = lambda rng: [example(rng.normal(size=(2, 3, 4)), axis1=i, axis2=j) for i, j in ((0, 2), (-1, -2), (1, 1))]


@composed(r"y_{h t} = x_t \text{, the part of head } h", inputs=["x"], x=r"\text{the heads of } \bar y \text{ side by side}")
def split_heads(x, num_heads):
    """(..., T, H·D) → (..., H, T, D): the features of each head as a sequence of its own."""
    return swapaxes(reshape(x, (*x.shape[:-1], num_heads, x.shape[-1] // num_heads)), -2, -3)


@composed(r"y_t = [x_{1 t} \dots x_{H t}]", x=r"\text{the part of } \bar y_t \text{ of each head}")
def join_heads(x):
    """(..., H, T, D) → (..., T, H·D): the heads side by side again."""
    return reshape(swapaxes(x, -2, -3), (*x.shape[:-3], x.shape[-2], x.shape[-3] * x.shape[-1]))


split_heads.examples = lambda rng: [example(rng.normal(size=s), num_heads=h) for s, h in [((2, 3, 4), 2), ((3, 6), 3), ((1, 1, 2), 1)]]
join_heads.examples = lambda rng: [example(rng.normal(size=s)) for s in [(2, 2, 3, 2), (3, 2, 2), (1, 1, 1)]]


@op(r"y = x \text{ repeated to a larger shape}", inputs=["x"], numpy=[np.broadcast_to])
def broadcast_to(x, shape):
    """``x`` repeated along axes of size 1 and missing leading axes, as NumPy broadcasts."""
    return np.broadcast_to(x, shape)


broadcast_to.vjp("x", r"\sum \bar y \text{ over the repeated axes}", lambda g, y, x, shape: g)
broadcast_to.examples = lambda rng: [
    example(rng.normal(size=a), shape=b) for a, b in [((3,), (2, 3)), ((2, 1, 3), (2, 4, 3)), ((1, 1), (2, 3)), ((), (2,)), ((2, 3), (2, 3))]
]


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
sum_to.examples = lambda rng: [
    example(rng.normal(size=a), shape=b) for a, b in [((2, 3), (3,)), ((2, 4, 3), (2, 1, 3)), ((2, 3), (1, 1)), ((2,), ()), ((2, 3), (2, 3))]
]


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


_concatenate.examples = lambda rng: [
    Example(tuple(rng.normal(size=s) for s in sizes), {"axis": axis})
    for axis, *sizes in [(0, (2, 3), (1, 3)), (-1, (2, 1), (2, 3), (2, 2)), (1, (1, 2, 2), (1, 0, 2)), (0, (3,))]
]


@op(r"y_i = x_i \text{ along a new axis}")
def _stack(*arrays, axis=0):
    return np.stack(arrays, axis=axis)


@_stack.joint_vjp(x=r"\bar y_i")
def _stack_vjp(g: Any, y: Any, *arrays: Any, axis: int = 0) -> list[Any]:
    place = (slice(None),) * (axis % g.ndim)
    return [g[(*place, i)] for i in range(len(arrays))]


_stack.examples = lambda rng: [
    Example(tuple(rng.normal(size=(2, 3)) for _ in range(n)), {"axis": axis}) for n, axis in [(2, 0), (3, 1), (2, -1), (2, -3), (1, 0)]
]


def checked_axis(what: str, axis: Any) -> Any:
    """TypeError when an array stands in the place of the axis: the list around the arrays is missing."""
    if np.ndim(axis):
        raise TypeError(f"{what}: axis is a {type(axis).__name__} of shape {np.shape(axis)}; the arrays go into one list: {what}([a, b])")
    return axis


def concatenate(arrays: Any, axis: int | None = 0) -> Any:
    """The arrays joined along an existing ``axis``, where their other sizes must agree; flattened when it is None."""
    if axis is None:
        arrays, axis = [reshape(x, -1) for x in arrays], 0
    return _concatenate(*arrays, axis=checked_axis("concatenate", axis))


def stack(arrays: Any, axis: int = 0) -> Any:
    """Arrays of one shape, joined along a new ``axis``."""
    return _stack(*arrays, axis=checked_axis("stack", axis))


@op(r"y = x \text{ with a margin}", inputs=["x"], numpy=[np.pad])
def pad(x, pad_width, mode="constant", constant_values=0):
    """``x`` with ``pad_width`` = ((before, after), …) entries of ``constant_values`` around it, as in NumPy."""
    if mode != "constant":
        raise ValueError(f"pad: mode {mode!r} is not differentiable here; use 'constant'")
    return np.pad(x, pad_width, constant_values=constant_values)


def _pad(g: Any, y: Any, x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    if isinstance(pad_width, dict):
        pad_width = [next((w for a, w in pad_width.items() if a % x.ndim == i), (0, 0)) for i in range(x.ndim)]
        pad_width = [(w, w) if isinstance(w, int) else w for w in pad_width]
    before = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))[:, 0]
    return g[tuple(slice(int(b), int(b) + n) for b, n in zip(before, x.shape, strict=True))]


pad.vjp("x", r"\bar y \text{ without the margin}", _pad)
pad.examples = lambda rng: [
    example(rng.normal(size=(2, 3)), pad_width=width, constant_values=value) for width, value in [(1, 0), (((1, 2), (0, 3)), 5.0), ((2, 1), 0)]
]


@op(r"y_{ij} = x_{ij} \text{ for } j \le i + k, \text{ else } 0", numpy=[np.tril])
def tril(x, k=0):
    """The lower triangle of the last two axes: zeros above the ``k``-th diagonal."""
    return np.tril(x, k)


tril.vjp("x", r"\bar y_{ij} \text{ for } j \le i + k, \text{ else } 0", lambda g, y, x, k=0: np.tril(g, k))
tril.examples = lambda rng: [example(rng.normal(size=s), k=k) for s, k in [((3, 3), 0), ((2, 3, 4), 1), ((3, 2), -1)]]


@op(r"y_{ij} = x_{ij} \text{ for } j \ge i + k, \text{ else } 0", numpy=[np.triu])
def triu(x, k=0):
    """The upper triangle of the last two axes: zeros below the ``k``-th diagonal."""
    return np.triu(x, k)


triu.vjp("x", r"\bar y_{ij} \text{ for } j \ge i + k, \text{ else } 0", lambda g, y, x, k=0: np.triu(g, k))
triu.examples = tril.examples


@op(r"y_i = x_{n-1-i}", numpy=[np.flip])
def flip(x, axis=None):
    """``x`` in reverse order along ``axis`` (all axes when None)."""
    return np.flip(x, axis)


flip.vjp("x", r"\bar y_{n-1-i}", lambda g, y, x, axis=None: np.flip(g, axis))
flip.examples = lambda rng: [example(rng.normal(size=(2, 3, 2)), axis=axis) for axis in (None, 0, -1, (0, 2))]
