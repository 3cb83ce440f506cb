"""NumPy functions called on Tensors: ``np.exp(t)``, ``np.matmul(a, t)``, ``array * t``.

A function that has a derivative here becomes our op; one that has none in mathematics (comparisons, ``argmax``, ``allclose``)
gets arrays and gives arrays; a differentiable one that is missing raises and names itself, rather than drop a gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import Value
from .ops import arithmetic, indexing, linear, reductions, shapes
from .ops.declare import BY_NUMPY, recorded
from .ops.declare import arrays_of as plain

WITHOUT_DERIVATIVE_UFUNCS = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isfinite, np.isnan, np.isinf, np.sign,
    np.signbit, np.floor, np.ceil, np.rint, np.trunc, np.logical_and, np.logical_or, np.logical_not, np.logical_xor,
    np.floor_divide, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.spacing,
}  # fmt: skip

WITHOUT_DERIVATIVE = {
    np.allclose, np.isclose, np.array_equal, np.array_equiv, np.argmax, np.argmin, np.argsort, np.argwhere, np.nonzero,
    np.flatnonzero, np.count_nonzero, np.all, np.any, np.shape, np.ndim, np.size, np.array2string, np.array_repr, np.array_str,
    np.isneginf, np.isposinf, np.round, np.around, np.fix, np.zeros_like, np.ones_like, np.empty_like, np.full_like,
    np.searchsorted, np.digitize, np.unique, np.histogram, np.bincount, np.isin, np.may_share_memory, np.shares_memory,
    np.result_type, np.can_cast, np.min_scalar_type, np.save, np.savez, np.savetxt, np.isreal, np.iscomplexobj, np.isrealobj,
    np.iscomplex, np.linalg.matrix_rank, np.copyto,
}  # fmt: skip


ABOUT_ARRAYS = {  # and not about their numbers, as far as a program is concerned
    np.shape, np.ndim, np.size, np.array2string, np.array_repr, np.array_str, np.may_share_memory, np.shares_memory, np.result_type,
    np.can_cast, np.min_scalar_type, np.isrealobj, np.iscomplexobj,
}  # fmt: skip


def _moveaxis(a: Any, source: Any, destination: Any) -> Any:
    sources = [s % a.ndim for s in np.atleast_1d(source)]
    targets = [d % a.ndim for d in np.atleast_1d(destination)]
    rest = [n for n in range(a.ndim) if n not in sources]
    for target, origin in sorted(zip(targets, sources, strict=True)):
        rest.insert(target, int(origin))
    return shapes.transpose(a, tuple(rest))


def _expand_dims(a: Any, axis: Any) -> Any:
    return shapes.reshape(a, np.expand_dims(np.empty(a.shape, bool), axis).shape)


def _repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    x = shapes.reshape(a, -1) if axis is None else a
    return indexing.take(x, np.repeat(np.arange(x.shape[axis or 0]), repeats), axis or 0)


def _where(condition: Any, *branches: Any) -> Any:
    return arithmetic.where(condition, *branches) if branches else np.where(plain(condition))


def _std(a: Any, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Any:
    return arithmetic.sqrt(reductions.var(a, axis=axis, keepdims=keepdims, ddof=ddof))


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord not in (None, 2, "fro") or (ord == 2 and axis is None and x.ndim > 1):
        raise TypeError(f"minigrad: np.linalg.norm with ord={ord!r} has no derivative here; the Euclidean norm has (ord=None)")
    return linear.norm(x, axis=axis, keepdims=keepdims)


def _trace(a: Any) -> Any:
    return linear.einsum("ii->", a)


def _diagonal(a: Any) -> Any:
    return linear.einsum("ii->i", a)


BY_NUMPY.update(
    {
        np.reshape: lambda a, shape: shapes.reshape(a, shape),
        np.ravel: lambda a: shapes.reshape(a, -1),
        np.squeeze: lambda a, axis=None: a.squeeze(axis),
        np.expand_dims: _expand_dims,
        np.moveaxis: _moveaxis,
        np.matrix_transpose: lambda x: x.mT,
        np.concatenate: lambda arrays, axis=0: shapes.concatenate(arrays, axis),
        np.stack: lambda arrays, axis=0: shapes.stack(arrays, axis),
        np.split: shapes.split,
        np.where: _where,
        np.take: indexing.take,
        np.repeat: _repeat,
        np.einsum: linear.einsum,
        np.dot: linear.dot,
        np.vdot: lambda a, b: linear.dot(a.reshape(-1), b.reshape(-1)),
        np.inner: lambda a, b: linear.einsum("...i,...i->...", a, b) if np.ndim(b) == 1 else linear.einsum("...i,ji->...j", a, b),
        np.outer: linear.outer,
        np.tensordot: linear.tensordot,
        np.trace: _trace,
        np.diagonal: _diagonal,
        np.linalg.norm: _norm,
        np.std: _std,
        np.clip: lambda a, a_min=None, a_max=None, *, min=None, max=None: arithmetic.clip(
            a, a_min if min is None else min, a_max if max is None else max
        ),
        np.positive: lambda x: x,
        np.copy: lambda a: a.copy(),
    }
)
REDUCES: dict[Any, Any] = {
    np.add: reductions.sum, np.multiply: reductions.prod, np.maximum: reductions.max, np.minimum: reductions.min,
}  # fmt: skip


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a ufunc (or its ``reduce``) called with a Tensor among its inputs."""
    if any(isinstance(x, Value) for x in kwargs.get("out") or ()):
        raise TypeError(f"minigrad: np.{ufunc.__name__}(..., out=Tensor) would write behind the graph's back; use t[...] = result")
    tracked = any(isinstance(x, Value) and x.requires_grad for x in inputs)
    if ufunc in WITHOUT_DERIVATIVE_UFUNCS or (kwargs.get("out") is not None and not tracked):
        return recorded(ufunc if method == "__call__" else getattr(ufunc, method))(*inputs, **kwargs)
    if kwargs.get("out") is not None:
        raise TypeError(f"minigrad: np.{ufunc.__name__}(..., out=array) would drop the gradient; write result = np.{ufunc.__name__}(...)")
    if method == "__call__" and ufunc in BY_NUMPY and not kwargs:
        return BY_NUMPY[ufunc](*inputs)
    if method == "reduce" and ufunc in REDUCES:
        axis = kwargs.pop("axis", 0)
        return REDUCES[ufunc](*inputs, axis=axis, **kwargs)
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    with_arguments = f" with {', '.join(kwargs)}" if kwargs else ""
    raise TypeError(
        f"minigrad: np.{name}{with_arguments} has no derivative here; use the ops of minigrad, or t.data if no gradient is wanted"
    )


def call_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer any other NumPy function called with a Tensor among its arguments."""
    if function in BY_NUMPY:
        return BY_NUMPY[function](*args, **kwargs)
    if function in ABOUT_ARRAYS:
        return function(*map(plain, args), **{k: plain(v) for k, v in kwargs.items()})
    if function in WITHOUT_DERIVATIVE:
        return recorded(function)(*args, **kwargs)
    module = function.__module__.replace("numpy", "np") if function.__module__ else "np"
    raise TypeError(
        f"minigrad: {module}.{function.__name__} has no derivative here; use the ops of minigrad, or t.data if no gradient is wanted"
    )
