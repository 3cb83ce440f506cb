"""NumPy's functions that need no rule of their own: each is a composition of ops, and its gradient is theirs.

The names, the arguments and the results are NumPy's; every function takes Tensors or whatever ``np.asarray`` takes, and
returns Tensors.  ``answers`` says which functions of NumPy, called on a Tensor, mean it.  It has more than 300 lines because
there are some ninety functions, a few lines each, and none needs another one to be understood.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..graph import Value, wrap
from ..numerics import index_array
from ..ops.arithmetic import divide, multiply, subtract, where
from ..ops.declare import BY_NUMPY, constant, recorded
from ..ops.declare import arrays_of as plain
from ..ops.indexing import getitem, put
from ..ops.indexing import take as take_
from ..ops.linear import matmul
from ..ops.reductions import Axis, max, mean, min, sum
from ..ops.shapes import broadcast_to, concatenate, reshape, reshape_in_order, stack, transpose
from .contractions import dot, einsum, outer, tensordot
from .ops import clip, cumprod, cumsum, flip, pad, sin, std, var

F = TypeVar("F", bound=Callable[..., Any])


def answers(*names: str) -> Callable[[F], F]:
    """Decorator: NumPy's functions of these names (if this NumPy has them) mean the decorated one on a Tensor."""

    def register(function: F) -> F:
        for name in names:
            home, _, last = name.rpartition(".")
            theirs = getattr(getattr(np, home) if home else np, last, None)
            if theirs is not None:
                BY_NUMPY[theirs] = function
        return function

    return register


def tensor(x: Any) -> Any:
    """``x`` as a Tensor; TypeError for a list of Tensors that require grad."""
    return x if isinstance(x, Value) else wrap(np.asarray(constant(x, False)))


def last(x: Any, axis: int) -> Any:
    """``x`` with one axis moved to the end."""
    return moveaxis(x, axis, -1)


# Shapes ---------------------------------------------------------------------------------------------------------------

answers("concatenate")(concatenate)
answers("stack")(stack)
answers("reshape")(lambda a, shape, order="C", copy=None: reshape_in_order(a, shape, order))
answers("amax", "max")(max)
answers("amin", "min")(min)
answers("permute_dims")(transpose)


@answers("ravel")
def ravel(a: Any, order: str = "C") -> Any:
    """All entries along one axis, row by row, or column by column with ``order`` "F"."""
    return reshape_in_order(a, -1, order)


@answers("squeeze")
def squeeze(a: Any, axis: Any = None) -> Any:
    """``a`` without its axes of size 1, or without those named."""
    return reshape(a, np.squeeze(np.empty(np.shape(a), bool), axis).shape)


@answers("expand_dims")
def expand_dims(a: Any, axis: Any) -> Any:
    """``a`` with new axes of size 1 at ``axis``."""
    return reshape(a, np.expand_dims(np.empty(np.shape(a), bool), axis).shape)


@answers("moveaxis")
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """``a`` with axes moved to other places, the others in their order."""
    n = np.ndim(a)
    sources, targets = normalize_axis_tuple(source, n, "source"), normalize_axis_tuple(destination, n, "destination")
    if len(sources) != len(targets):
        raise ValueError(f"moveaxis: {len(sources)} axes to move, {len(targets)} destinations")
    order = [i for i in range(n) if i not in sources]
    for target, origin in sorted(zip(targets, sources, strict=True)):
        order.insert(target, origin)
    return transpose(a, tuple(order))


@answers("rollaxis")
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """``a`` with one axis moved to lie before the place ``start``."""
    return transpose(a, np.rollaxis(np.empty([*range(np.ndim(a))]), axis, start).shape)


@answers("matrix_transpose", "linalg.matrix_transpose")
def matrix_transpose(x: Any) -> Any:
    """The last two axes exchanged."""
    return tensor(x).mT


@answers("atleast_1d")
def atleast_1d(*arys: Any) -> Any:
    """Numbers as vectors of one entry; one result, or a tuple of as many as there are arguments."""
    found = tuple(tensor(x) if np.ndim(x) else reshape(x, 1) for x in arys)
    return found[0] if len(found) == 1 else found


@answers("atleast_2d")
def atleast_2d(*arys: Any) -> Any:
    """Numbers and vectors as matrices of one row."""
    found = tuple(tensor(x) if np.ndim(x) > 1 else reshape(x, (1, -1)) for x in arys)
    return found[0] if len(found) == 1 else found


@answers("atleast_3d")
def atleast_3d(*arys: Any) -> Any:
    """Vectors as (1, n, 1), matrices as (m, n, 1)."""
    found = tuple(
        tensor(x) if np.ndim(x) > 2 else reshape(x, np.atleast_3d(np.empty(np.shape(x), bool)).shape) for x in arys
    )
    return found[0] if len(found) == 1 else found


@answers("broadcast_arrays")
def broadcast_arrays(*args: Any) -> Any:
    """The arrays, each broadcast to their common shape."""
    shape = np.broadcast_shapes(*map(np.shape, args))
    return tuple(broadcast_to(x, shape) for x in args)


@answers("meshgrid")
def meshgrid(*xi: Any, sparse: bool = False, indexing: str = "xy", copy: bool = True) -> Any:
    """Vectors as coordinates of a grid; with ``indexing`` "xy" the first runs along axis 1, with "ij" along axis 0."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing={indexing!r}; expected 'xy' or 'ij'")
    order = list(range(len(xi)))
    if indexing == "xy":
        order[:2] = order[:2][::-1]
    grid = [reshape(x, [-1 if i == at else 1 for i in range(len(xi))]) for x, at in zip(xi, order, strict=True)]
    return tuple(grid) if sparse else broadcast_arrays(*grid)


@answers("vstack")
def vstack(tup: Any) -> Any:
    """The arrays on top of each other; vectors are rows."""
    return concatenate([atleast_2d(x) for x in tup], 0)


@answers("hstack")
def hstack(tup: Any) -> Any:
    """The arrays side by side; vectors end to end."""
    arrays = [atleast_1d(x) for x in tup]
    return concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1)


@answers("dstack")
def dstack(tup: Any) -> Any:
    """The arrays behind each other, along the third axis."""
    return concatenate([atleast_3d(x) for x in tup], 2)


@answers("column_stack")
def column_stack(tup: Any) -> Any:
    """Vectors as the columns of a matrix; matrices side by side."""
    return concatenate([reshape(x, (-1, 1)) if np.ndim(x) < 2 else x for x in tup], 1)


@answers("append")
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """``values`` after ``arr`` along ``axis``, or both flattened when it is None."""
    return concatenate([arr, values], axis)


@answers("block")
def block(arrays: Any) -> Any:
    """Nested lists of blocks as one array: the innermost joined along the last axis, the next along the one before."""

    def depth(x: Any) -> int:
        return 1 + depth(x[0]) if isinstance(x, list) and x else 0

    def lift(x: Any) -> list[Any]:
        return [y for branch in x for y in lift(branch)] if isinstance(x, list) else [x]

    levels = depth(arrays)
    ndim = builtins.max(levels, *(np.ndim(x) for x in lift(arrays)))

    def join(x: Any, level: int) -> Any:
        if not isinstance(x, list):
            return reshape(x, (*[1] * (ndim - np.ndim(x)), *np.shape(x)))
        return concatenate([join(y, level + 1) for y in x], level - levels)

    return join(arrays, 0)


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """The parts of ``x`` along ``axis``: so many equal ones (an integer), or cut at the given indices, as in NumPy.

    Raises ValueError when an equal division is not possible.
    """
    n = np.shape(x)[axis]
    if isinstance(indices_or_sections, int | np.integer):
        if indices_or_sections < 1 or n % indices_or_sections:
            raise ValueError(f"split: axis {axis} of size {n} does not divide into {indices_or_sections} equal parts")
        step = n // int(indices_or_sections)
        cuts = [step * i for i in range(1, int(indices_or_sections))]
    else:
        cuts = [int(i) for i in indices_or_sections]
    place = (slice(None),) * (axis % np.ndim(x))
    return [getitem(x, (*place, slice(a, b))) for a, b in zip([None, *cuts], [*cuts, None], strict=True)]


answers("split")(lambda ary, indices_or_sections, axis=0: split(ary, indices_or_sections, axis))


@answers("array_split")
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """The parts of ``ary`` along ``axis``: so many, as equal as can be, or cut at the given indices."""
    if isinstance(indices_or_sections, int | np.integer):
        sizes = [len(part) for part in np.array_split(np.arange(np.shape(ary)[axis]), indices_or_sections)]
        indices_or_sections = np.cumsum(sizes[:-1])
    return split(ary, indices_or_sections, axis)


@answers("hsplit")
def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """The parts of ``ary`` from left to right."""
    return split(ary, indices_or_sections, 0 if np.ndim(ary) == 1 else 1)


@answers("vsplit")
def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """The parts of ``ary`` from top to bottom."""
    if np.ndim(ary) < 2:
        raise ValueError(f"vsplit: expected two axes or more, got shape {np.shape(ary)}")
    return split(ary, indices_or_sections, 0)


@answers("dsplit")
def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """The parts of ``ary`` along its third axis."""
    if np.ndim(ary) < 3:
        raise ValueError(f"dsplit: expected three axes or more, got shape {np.shape(ary)}")
    return split(ary, indices_or_sections, 2)


@answers("unstack")
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices of ``x`` along ``axis``, without that axis."""
    return tuple(moveaxis(x, axis, 0))


@answers("tile")
def tile(A: Any, reps: Any) -> Any:
    """``A`` repeated ``reps`` times along each axis."""
    reps = (reps,) if np.ndim(reps) == 0 else tuple(reps)
    n = builtins.max(len(reps), np.ndim(A))
    shape = (*[1] * (n - np.ndim(A)), *np.shape(A))
    reps = (*[1] * (n - len(reps)), *(int(r) for r in reps))
    parts = reshape(A, [m for size in shape for m in (1, size)])
    tiled = broadcast_to(parts, tuple(m for pair in zip(reps, shape, strict=True) for m in pair))
    return reshape(tiled, tuple(r * size for r, size in zip(reps, shape, strict=True)))


@answers("repeat")
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each entry (or slice along ``axis``) of ``a``, ``repeats`` times in a row; flattened when ``axis`` is None."""
    x = reshape(a, -1) if axis is None or not np.ndim(a) else a
    axis = normalize_axis_index(axis or 0, np.ndim(x))
    return take_(x, np.repeat(np.arange(np.shape(x)[axis]), index_array(plain(repeats))), axis)


@answers("roll")
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """``a`` shifted by ``shift`` places along ``axis``, what leaves at the end coming back at the start."""
    if axis is None:
        return reshape(roll(reshape(a, -1), shift, 0), np.shape(a))
    x = tensor(a)
    for by, along in np.broadcast(plain(shift), axis):
        n = x.shape[normalize_axis_index(int(along), x.ndim)]
        if n and by % n:
            x = concatenate(split(x, [n - int(by % n)], int(along))[::-1], int(along))
    return x


@answers("flipud")
def flipud(m: Any) -> Any:
    """``m`` upside down."""
    return flip(m, 0)


@answers("fliplr")
def fliplr(m: Any) -> Any:
    """``m`` with left and right exchanged: its second axis in reverse order."""
    return flip(m, 1)


@answers("rot90")
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """``m`` turned by ``k`` quarter turns, from the first of ``axes`` towards the second."""
    x = tensor(m)
    if k % 1:
        raise TypeError(f"rot90: k={k} quarter turns; expected a whole number")
    for _ in range(int(k) % 4):
        x = flip(x.swapaxes(*axes), axes[0])
    return x


# Picking --------------------------------------------------------------------------------------------------------------


@answers("where")
def _where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    return np.nonzero(condition) if x is None and y is None else where(condition, x, y)


@answers("select")
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """Entry by entry the choice of the first condition that holds, or else ``default``."""
    if len(condlist) != len(choicelist):
        raise ValueError(f"select: {len(condlist)} conditions for {len(choicelist)} choices")
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        default = where(condition, choice, default)
    return default


@answers("take")
def _take(a: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Any:
    if mode != "raise":
        places = np.arange(np.size(a) if axis is None else np.shape(a)[axis])
        indices = np.take(places, index_array(plain(indices)), mode=mode)  # type: ignore[call-overload]
    return take_(a, indices, axis)


@answers("take_along_axis")
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """The entries of ``arr`` at ``indices`` along ``axis``, one index for each entry, as ``argsort`` gives them."""
    ids: Any = indices if isinstance(indices, Value) else np.asarray(indices)
    x, ids = (reshape(arr, -1), ids.reshape(-1)) if axis is None else (arr, ids)
    shape = np.shape(x)
    if ids.ndim != len(shape):
        raise ValueError(
            f"take_along_axis: indices of shape {ids.shape} for an array of shape {shape}; expected as many axes"
        )
    at = normalize_axis_index(-1 if axis is None else axis, len(shape))
    grid = [np.arange(n).reshape([-1 if j == i else 1 for j in range(len(shape))]) for i, n in enumerate(shape)]
    return getitem(x, (*grid[:at], ids, *grid[at + 1 :]))


@answers("compress")
def compress(condition: Any, a: Any, axis: int | None = None) -> Any:
    """The slices of ``a`` along ``axis`` for which ``condition`` holds."""
    return take_(a, np.flatnonzero(condition), axis)


@answers("diagonal")
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes, ``offset`` places above the main one, as the last axis."""
    rows = np.arange(np.size(a)).reshape(np.shape(a)).diagonal(offset, axis1, axis2)
    return getitem(reshape(a, -1), rows)


@answers("trace")
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of the diagonal of two axes, ``offset`` places above the main one."""
    return sum(diagonal(a, offset, axis1, axis2), axis=-1)


@answers("diag")
def diag(v: Any, k: int = 0) -> Any:
    """A vector as the ``k``-th diagonal of a matrix of zeros; of a matrix, its ``k``-th diagonal."""
    if np.ndim(v) == 2:
        return diagonal(v, k)
    if np.ndim(v) != 1:
        raise ValueError(f"diag: expected a vector or a matrix, got shape {np.shape(v)}")
    size = np.shape(v)[0]
    n = size + builtins.abs(k)
    rows = np.arange(size)
    return put(v, (rows + builtins.max(0, -k), rows + builtins.max(0, k)), (n, n))


@answers("diagflat")
def diagflat(v: Any, k: int = 0) -> Any:
    """All entries of ``v`` as the ``k``-th diagonal of a matrix of zeros."""
    return diag(reshape(v, -1), k)


# Order ----------------------------------------------------------------------------------------------------------------


@answers("sort")
def sort(a: Any, axis: int | None = -1, kind: str | None = None, *, stable: bool | None = None) -> Any:
    """The entries along ``axis`` in ascending order (of the flattened array when None); each keeps its gradient."""
    x, along = (reshape(a, -1), -1) if axis is None else (tensor(a), axis)
    return take_along_axis(x, np.argsort(x, along, kind="stable"), along)


def _merged(a: Any, axis: Axis) -> tuple[Any, tuple[int, ...]]:
    """``a`` with the axes to reduce as one axis, the last; and its shape with 1 in their place."""
    x = tensor(a)
    reduced = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    kept = tuple(i for i in range(x.ndim) if i not in reduced)
    flat = reshape(transpose(x, kept + reduced), (*(x.shape[i] for i in kept), math.prod(x.shape[i] for i in reduced)))
    return flat, tuple(1 if i in reduced else n for i, n in enumerate(x.shape))


@answers("quantile")
def quantile(a: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """The number below which the share ``q`` of the entries over ``axis`` lies; between two entries, interpolated."""
    if isinstance(q, Value) and q.requires_grad:
        raise TypeError("quantile: q takes no gradient, but got a Tensor that requires grad; use q.detach()")
    if method != "linear":
        raise TypeError(f"minigrad: np.quantile with method={method!r} has no derivative here; 'linear' has")
    share = np.asarray(plain(q), float)
    if not np.all((share >= 0) & (share <= 1)):
        raise ValueError(f"quantile: q={q}; expected shares from 0 to 1")
    x, shape = _merged(a, axis)
    if not x.shape[-1]:
        raise ValueError(f"quantile: of no entries (shape {np.shape(a)}, axis {axis})")
    place = share * (x.shape[-1] - 1)
    low = np.floor(place).astype(int)
    part = (place - low).astype(x.dtype if x.dtype.kind == "f" else float)
    x = sort(x)
    found = x[..., low] * (1 - part) + x[..., np.minimum(low + 1, x.shape[-1] - 1)] * part
    found = found + (0 * np.sign(x[..., -1:])).reshape(
        x.shape[:-1] + (1,) * share.ndim
    )  # NaN is sorted last, and travels
    found = moveaxis(found, range(-share.ndim, 0), range(share.ndim)) if share.ndim else found
    return reshape(found, share.shape + shape) if keepdims else found


@answers("percentile")
def percentile(a: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """``quantile`` with ``q`` in percent."""
    return quantile(
        a, q if isinstance(q, Value) and q.requires_grad else np.asarray(plain(q)) / 100, axis, method, keepdims
    )


@answers("median")
def median(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The entry in the middle, in order of size, over ``axis``; of an even number the mean of the two."""
    return quantile(a, 0.5, axis, keepdims=keepdims)


@answers("ptp")
def ptp(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest minus the smallest entry over ``axis``."""
    return subtract(max(a, axis=axis, keepdims=keepdims), min(a, axis=axis, keepdims=keepdims))


# Sums and differences -------------------------------------------------------------------------------------------------


def _with_correction(name: str, compute: Any) -> None:
    """``var`` or ``std``, whose ``ddof`` NumPy also calls ``correction``."""

    @answers(name)
    def answer(a: Any, axis: Axis = None, ddof: Any = 0, keepdims: bool = False, correction: Any = None) -> Any:
        return compute(a, axis=axis, keepdims=keepdims, ddof=ddof if correction is None else correction)


_with_correction("var", var)
_with_correction("std", std)


@answers("average")
def average(a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """Σ w a / Σ w over ``axis``, the mean without ``weights``; with ``returned`` also Σ w.

    ``weights`` has the shape of ``a``, or of ``axis`` alone.
    """
    x = tensor(a)
    if weights is None:
        w = wrap(np.ones(x.shape, x.dtype if x.dtype.kind == "f" else float))
        found, total = mean(x, axis=axis, keepdims=keepdims), sum(w, axis=axis, keepdims=keepdims)
    else:
        w = tensor(weights)
        if w.shape != x.shape:
            axes = None if axis is None else normalize_axis_tuple(axis, x.ndim)
            if axes is None or w.shape != tuple(x.shape[i] for i in axes):
                raise ValueError(
                    f"average: weights {w.shape} for an array {x.shape} over axis {axis}; expected that shape or the axis'"
                )
            order = np.argsort(axes)
            w = reshape(transpose(w, tuple(map(int, order))), [n if i in axes else 1 for i, n in enumerate(x.shape)])
        total = sum(broadcast_to(w, x.shape), axis=axis, keepdims=keepdims)
        found = divide(sum(multiply(x, w), axis=axis, keepdims=keepdims), total)
    return (found, total) if returned else found


@answers("diff")
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """The differences of neighbours along ``axis``, taken ``n`` times."""
    x = tensor(a)
    axis = normalize_axis_index(axis, x.ndim)
    ends = [
        None if e is None else e if np.ndim(e) else broadcast_to(e, (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
        for e in (prepend, append)
    ]
    x = concatenate([part for part in (ends[0], x, ends[1]) if part is not None], axis)
    place = (slice(None),) * axis
    for _ in range(n):
        x = x[(*place, slice(1, None))] - x[(*place, slice(None, -1))]
    return x


@answers("trapezoid", "trapz")
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral along ``axis`` by the trapezoidal rule, at points ``x`` or ``dx`` apart."""
    rows = last(tensor(y), axis)
    steps = dx if x is None else diff(x if np.ndim(x) == 1 else last(tensor(x), axis))
    return sum(multiply(steps, (rows[..., 1:] + rows[..., :-1]) / 2), axis=-1)


def _cumulative(name: str, running: Any, start: float) -> Callable[..., Any]:
    def answer(x: Any, /, *, axis: int | None = None, include_initial: bool = False) -> Any:
        x = atleast_1d(x)
        if axis is None and x.ndim > 1:
            raise ValueError(f"{name}: an array of shape {x.shape} needs an axis")
        axis = normalize_axis_index(axis or 0, x.ndim)
        found = running(x, axis=axis)
        if not include_initial:
            return found
        first = np.full((*found.shape[:axis], 1, *found.shape[axis + 1 :]), start, found.dtype)
        return concatenate([first, found], axis)

    answer.__name__ = answer.__qualname__ = name
    answer.__doc__ = f"The running {running.name[3:]} along ``axis``; with ``include_initial`` a {start:g} comes first."
    return answers(name)(answer)


cumulative_sum = _cumulative("cumulative_sum", cumsum, 0.0)
cumulative_prod = _cumulative("cumulative_prod", cumprod, 1.0)


@recorded
def _segments(xp, x):
    """Between which two of the points ``xp`` each ``x`` lies, or the first or last two."""
    at = np.clip(np.searchsorted(xp, x, "right") - 1, 0, builtins.max(xp.size - 2, 0))
    return at, np.minimum(at + 1, xp.size - 1)


@answers("interp")
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    """At ``x`` the broken line through (``xp``, ``fp``), ``xp`` increasing; beyond its ends ``left`` and ``right``."""
    x, xp, fp = tensor(x), tensor(xp), tensor(fp)
    if xp.ndim != 1 or xp.shape != fp.shape or not xp.size:
        raise ValueError(f"interp: xp {xp.shape} and fp {fp.shape}; expected two vectors of one length")
    at, after = _segments(xp, x)
    width = xp[after] - xp[at] + np.equal(at, after)
    inside = fp[at] + (fp[after] - fp[at]) / width * (x - xp[at])
    above = where(np.greater(x, xp[-1]), fp[-1] if right is None else right, inside)
    return where(np.less(x, xp[0]), fp[0] if left is None else left, above)


@answers("polyval")
def polyval(p: Any, x: Any) -> Any:
    """The polynomial with the coefficients ``p``, the highest power first, at ``x``."""
    y: Any = multiply(x, 0.0)
    for c in p if isinstance(p, list | tuple) else tensor(p):
        y = y * x + c
    return y


# Products -------------------------------------------------------------------------------------------------------------

answers("einsum")(lambda *operands, optimize=True: einsum(*operands, optimize=optimize))
answers("dot")(dot)
answers("outer")(outer)
answers("tensordot")(tensordot)


@answers("vdot")
def vdot(a: Any, b: Any) -> Any:
    """The sum of the products of all entries."""
    return dot(reshape(a, -1), reshape(b, -1))


@answers("inner")
def inner(a: Any, b: Any) -> Any:
    """The sums of products over the last axis of both."""
    return tensordot(a, b, (-1, -1)) if np.ndim(a) and np.ndim(b) else multiply(a, b)


@answers("vecdot", "linalg.vecdot")
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The dot products of the vectors along ``axis``, the other axes broadcast."""
    a, b = last(tensor(x1), axis), last(tensor(x2), axis)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"vecdot: {np.shape(x1)} and {np.shape(x2)}: sizes {a.shape[-1]} and {b.shape[-1]} along axis {axis} differ"
        )
    return sum(multiply(a, b), axis=-1)


@answers("matvec")
def matvec(x1: Any, x2: Any) -> Any:
    """Matrices (..., m, n) times vectors (..., n), the leading axes broadcast."""
    return squeeze(matmul(x1, expand_dims(x2, -1)), -1)


@answers("vecmat")
def vecmat(x1: Any, x2: Any) -> Any:
    """Vectors (..., m) times matrices (..., m, n), the leading axes broadcast."""
    return squeeze(matmul(expand_dims(x1, -2), x2), -2)


@answers("kron")
def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: every entry of ``a`` times the whole of ``b``, as blocks."""
    n = builtins.max(np.ndim(a), np.ndim(b))
    first, second = ((*[1] * (n - np.ndim(x)), *np.shape(x)) for x in (a, b))
    product = multiply(reshape(a, [m for i in first for m in (i, 1)]), reshape(b, [m for i in second for m in (1, i)]))
    return reshape(product, tuple(i * j for i, j in zip(first, second, strict=True)))


@answers("cross")
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The cross products of vectors of three entries, the other axes broadcast; of two entries, a third is 0."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = last(tensor(a), axisa), last(tensor(b), axisb)
    sizes = x.shape[-1], y.shape[-1]
    if not {2, 3} >= set(sizes):
        raise ValueError(
            f"cross: {np.shape(a)} and {np.shape(b)}; expected two or three entries along axes {axisa} and {axisb}"
        )
    x, y = (v if v.shape[-1] == 3 else pad(v, [(0, 0)] * (v.ndim - 1) + [(0, 1)]) for v in (x, y))
    ahead, behind = [1, 2, 0], [2, 0, 1]
    found = x[..., ahead] * y[..., behind] - x[..., behind] * y[..., ahead]
    return found[..., 2] if sizes == (2, 2) else moveaxis(found, -1, axisc)


@answers("convolve")
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """Σ_m a_m v_(n-m) of two vectors for every n ("full"), the middle ones ("same"), or where both overlap ("valid")."""
    long, short = (reshape(x, -1) if np.ndim(x) == 0 else tensor(x) for x in (a, v))
    if long.ndim != 1 or short.ndim != 1 or not long.size or not short.size:
        raise ValueError(f"convolve: {np.shape(a)} and {np.shape(v)}; expected two vectors that are not empty")
    if len(short) > len(long):
        long, short = short, long
    n, m = len(long), len(short)
    mode = {0: "valid", 1: "same", 2: "full"}.get(mode, mode)  # type: ignore[call-overload]
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"convolve: mode={mode!r}; expected 'full', 'same' or 'valid'")
    start, size = {"full": (0, n + m - 1), "same": ((m - 1) // 2, n), "valid": (m - 1, n - m + 1)}[mode]
    windows = pad(long, m - 1)[np.arange(start, start + size)[:, None] + np.arange(m)]
    return matmul(windows, flip(short))


# Entries --------------------------------------------------------------------------------------------------------------

answers("clip")(
    lambda a, a_min=None, a_max=None, *, min=None, max=None: clip(
        a, a_min if min is None else min, a_max if max is None else max
    )
)
answers("positive")(lambda x: x)
answers("copy")(lambda a, order="K", subok=False: tensor(a).copy())
answers("astype")(lambda x, dtype, /, *, copy=True: tensor(x).astype(dtype))
answers("deg2rad", "radians")(lambda x: multiply(x, math.pi / 180))
answers("rad2deg", "degrees")(lambda x: multiply(x, 180 / math.pi))


@answers("real")
def real(val: Any) -> Any:
    """The real part: ``val`` itself, since Tensors are real."""
    return tensor(val)


@answers("conj", "conjugate")
def conj(x: Any) -> Any:
    """The complex conjugate: ``x`` itself, since Tensors are real."""
    return tensor(x)


@answers("nan_to_num")
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """``x`` with numbers in place of NaN and ±∞ (by default 0 and the largest finite ones), which get no gradient."""
    t = tensor(x)
    if t.dtype.kind != "f":
        return t
    limits = np.finfo(t.dtype)
    t = where(np.isnan(t), nan, t)
    t = where(np.isposinf(t), float(limits.max) if posinf is None else posinf, t)
    return where(np.isneginf(t), float(limits.min) if neginf is None else neginf, t)


@answers("sinc")
def sinc(x: Any) -> Any:
    """sin(πx) / (πx), and 1 at 0."""
    angle = multiply(x, math.pi)
    near = np.less(np.abs(angle), 0.5)  # there the series converges at once, and nothing is divided by 0
    square = where(near, angle * angle, 0.0)
    series: Any = 1.0
    for k in range(16, 0, -2):
        series = 1 - square / (k * (k + 1)) * series
    away = where(near, 1.0, angle)
    return where(near, series, sin(away) / away)
