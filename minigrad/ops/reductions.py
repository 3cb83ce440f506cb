r"""Reductions: with :math:`y = \sum_i x_i`, every :math:`x_i` gets :math:`\bar y`.

``axis`` is None (all axes), an integer or a tuple; ``keepdims`` keeps the reduced axes with size 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .arithmetic import root, weigh
from .declare import Example, example, op
from .numerics import real

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


def _along_axes(rng: np.random.Generator) -> list[Example]:
    """No axes, one, several, negative ones, all; kept and not; axes of size 1."""
    axes: list[Axis] = [None, 0, -1, (0, 2), (-1, 0), (0, 1, 2), ()]
    tried = [example(rng.normal(size=(2, 3, 2)), axis=axis, keepdims=bool(i % 2)) for i, axis in enumerate(axes)]
    return [*tried, example(rng.normal(size=(2, 1)), axis=1, keepdims=True), example(rng.normal(size=4), axis=0), example(rng.normal(size=()))]


@op(r"y = \sum_i x_i", numpy=[np.sum])
def sum(x, axis=None, keepdims=False):
    """The sum over ``axis``."""
    return np.add.reduce(x, axis=axis, keepdims=keepdims)


sum.vjp(
    "x",
    r"\bar y \text{ for every } i",
    lambda g, y, x, axis=None, keepdims=False: np.broadcast_to(stretch(g, x.shape, axis), x.shape),
)
sum.examples = _along_axes


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
mean.examples = _along_axes


@op(r"y = \tfrac1{n - \mathrm{ddof}} \sum_i (x_i - \mu)^2", numpy=[np.var])
def var(x, axis=None, keepdims=False, ddof=0):
    """The variance over ``axis``: squared distances from the mean, summed and divided by ``n - ddof``."""
    if count(x.shape, axis) <= ddof:
        raise ValueError(f"var: {count(x.shape, axis)} entries with ddof={ddof} (shape {x.shape}, axis {axis}); needs more than ddof")
    first = x[tuple(slice(1) if i in axes_of(axis, x.ndim) else slice(None) for i in range(x.ndim))]
    return np.var(x - first, axis=axis, keepdims=keepdims, ddof=ddof)  # of equal numbers 0, without round-off


def _var(g: Any, y: Any, x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    centred = x - x.mean(axis=axis, keepdims=True)
    return stretch(g, x.shape, axis) * (2 / (count(x.shape, axis) - ddof)) * centred


var.vjp("x", r"\tfrac{2}{n - \mathrm{ddof}} \, \bar y \, (x_i - \mu)", _var)
var.examples = lambda rng: [*_along_axes(rng), example(rng.normal(size=(3, 4)), axis=0, ddof=1), example(rng.normal(size=(2, 3)), ddof=2)]


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
max.examples = _along_axes


@op(r"y = \min_i x_i", numpy=[np.min])
def min(x, axis=None, keepdims=False):
    """The smallest entry over ``axis``; entries that tie share the gradient evenly."""
    return np.min(x, axis=axis, keepdims=keepdims)


min.vjp("x", r"\bar y \, [x_i = y] / \#\{j : x_j = y\}", _extremum)
min.examples = _along_axes


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
logsumexp.examples = _along_axes


@op(r"y_i = \sum_{j \le i} x_j", numpy=[np.cumsum])
def cumsum(x, axis=None):
    """The running sum along ``axis`` (over the flattened array when None)."""
    return np.cumsum(x, axis=axis)


def _cumsum(g: Any, y: Any, x: Any, axis: int | None = None) -> Any:
    along = 0 if axis is None else axis
    after = np.flip(np.cumsum(np.flip(g, along), along), along)
    return after.reshape(x.shape)


cumsum.vjp("x", r"\sum_{j \ge i} \bar y_j", _cumsum)
cumsum.examples = lambda rng: [example(rng.normal(size=(2, 3, 2)), axis=axis) for axis in (None, 0, 1, -1)]


@op(r"y = \prod_i x_i", numpy=[np.prod])
def prod(x, axis=None, keepdims=False):
    """The product over ``axis``; exact also where entries are 0."""
    return np.prod(x, axis=axis, keepdims=keepdims)


def _prod(g: Any, y: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The product of all the others: running products from the left and from the right."""
    if not x.size:
        return np.broadcast_to(stretch(g, x.shape, axis), x.shape)
    reduced = axes_of(axis, x.ndim)
    kept = tuple(i for i in range(x.ndim) if i not in reduced)
    order = kept + reduced
    rows = x.transpose(order).reshape(*(x.shape[i] for i in kept), -1)
    n = rows.shape[-1]
    others = [rows[..., :0].sum(axis=-1) + 1] * n
    left = right = others[0]
    for i in range(n):
        others[i] = others[i] * left
        left = left * rows[..., i]
    for i in reversed(range(n)):
        others[i] = others[i] * right
        right = right * rows[..., i]
    stacked = np.stack(others, axis=-1).reshape(tuple(x.shape[i] for i in order))
    return stretch(g, x.shape, axis) * stacked.transpose(tuple(int(i) for i in np.argsort(order)))


prod.vjp("x", r"\bar y \prod_{j \ne i} x_j", _prod)
prod.examples = lambda rng: [
    *_along_axes(rng),
    *(example(np.array([[0.0, 2.0, 3.0], [4.0, 0.0, 0.0]]), axis=axis) for axis in (None, 0, 1)),
]


@op(r"y_i = \prod_{j \le i} x_j", numpy=[np.cumprod])
def cumprod(x, axis=None):
    """The running product along ``axis`` (over the flattened array when None)."""
    return np.cumprod(x, axis=axis)


def _cumprod(g: Any, y: Any, x: Any, axis: int | None = None) -> Any:
    r"""With :math:`s_k = \bar y_k + x_{k+1} s_{k+1}`, :math:`\bar x_k = s_k \prod_{j<k} x_j`: exact also at 0."""
    if not x.size:
        return g.reshape(x.shape)
    along = 0 if axis is None else axis
    rows = x.reshape(-1) if axis is None or not x.ndim else np.moveaxis(x, axis, 0)
    g = np.moveaxis(g, along, 0)
    sums, before = [g[-1]], 1
    for k in reversed(range(len(rows) - 1)):
        sums.append(g[k] + rows[k + 1] * sums[-1])
    parts = []
    for row, total in zip(rows, reversed(sums), strict=True):
        parts.append(before * total)
        before = before * row
    return np.moveaxis(np.stack(parts), 0, along).reshape(x.shape)


cumprod.vjp("x", r"\sum_{j \ge i} \bar y_j \prod_{k \le j, k \ne i} x_k", _cumprod)
cumprod.examples = lambda rng: [
    *(example(rng.normal(size=(2, 3, 2)), axis=axis) for axis in (None, 0, 1, -1)),
    example(np.array([2.0, 0.0, 3.0, 0.0, 5.0])),
]


def std(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """The standard deviation over ``axis``; where all entries are equal, its derivative is taken as 0."""
    return root(var(x, axis=axis, keepdims=keepdims, ddof=ddof))
