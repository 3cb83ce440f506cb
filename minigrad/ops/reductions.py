r"""Reductions: with :math:`y = \sum_i x_i`, every :math:`x_i` gets :math:`\bar y`.

``axis`` is None (all axes), an integer or a tuple; ``keepdims`` keeps the reduced axes with size 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..numerics import real
from .arithmetic import weigh
from .declare import op

Axis = int | tuple[int, ...] | None


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The reduced axes as non-negative numbers."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(i % ndim for i in (axis if isinstance(axis, tuple) else (axis,))) if ndim else ()


def count(shape: tuple[int, ...], axis: Axis) -> int:
    """How many entries go into each sum."""
    return math.prod(shape[i] for i in axes_of(axis, len(shape)))


def stretch(g: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """Lay a reduced ``g`` along the reduced axes again, as a broadcastable shape."""
    reduced = axes_of(axis, len(shape))
    wanted = tuple(1 if i in reduced else n for i, n in enumerate(shape))
    return g if g.shape == wanted else g.reshape(wanted)


@op(r"y = \sum_i x_i", numpy=[np.sum])
def sum(x, axis=None, keepdims=False):
    """The sum over ``axis``."""
    return np.add.reduce(x, axis=axis, keepdims=keepdims)


sum.vjp(
    "x",
    r"\bar y \text{ for every } i",
    lambda g, y, x, axis=None, keepdims=False: np.broadcast_to(stretch(g, x.shape, axis), x.shape),
)


@op(r"y = \tfrac1n \sum_i x_i", numpy=[np.mean])
def mean(x, axis=None, keepdims=False):
    """The mean over ``axis``."""
    if not count(np.shape(x), axis):
        raise ValueError(f"mean: of no entries (shape {np.shape(x)}, axis {axis})")
    return np.mean(x, axis=axis, keepdims=keepdims)


mean.vjp(
    "x",
    r"\bar y / n \text{ for every } i",
    lambda g, y, x, axis=None, keepdims=False: np.broadcast_to(stretch(g, x.shape, axis) / count(x.shape, axis), x.shape),
)


def _extremum(g: Any, y: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Entries that tie share the gradient evenly."""
    top = stretch(y, x.shape, axis)
    hit = np.equal(x, top)
    ties = np.maximum(hit.sum(axis=axis, keepdims=True), 1)
    return weigh.on(np.broadcast_to(stretch(g, x.shape, axis), x.shape), hit / ties + 0 * np.sign(top))  # NaN travels


@op(r"y = \max_i x_i", numpy=[np.max])
def max(x, axis=None, keepdims=False):
    """The largest entry over ``axis``; entries that tie share the gradient evenly."""
    return np.max(x, axis=axis, keepdims=keepdims)


max.vjp("x", r"\bar y \, [x_i = y] / \#\{j : x_j = y\}", _extremum)


@op(r"y = \min_i x_i", numpy=[np.min])
def min(x, axis=None, keepdims=False):
    """The smallest entry over ``axis``; entries that tie share the gradient evenly."""
    return np.min(x, axis=axis, keepdims=keepdims)


min.vjp("x", r"\bar y \, [x_i = y] / \#\{j : x_j = y\}", _extremum)


@op(r"y = \log \sum_i e^{x_i}")
def logsumexp(x, axis=None, keepdims=False):
    """log Σ exp(x) over ``axis``, shifted by the maximum so that nothing overflows; −∞ of nothing, or of nothing but −∞."""
    x = real(x)
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    with np.errstate(divide="ignore"):
        y = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else y.reshape(np.sum(np.empty(x.shape, bool), axis=axis).shape)


def _logsumexp(g: Any, y: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    lowest = stretch(y, x.shape, axis)
    lowest = np.where(np.isneginf(lowest), 0, lowest)  # where all entries are -inf, every weight is exp(-inf) = 0
    return stretch(g, x.shape, axis) * np.exp(x - lowest)


logsumexp.vjp("x", r"\bar y \, e^{x_i - y}", _logsumexp)


