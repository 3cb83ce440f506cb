"""NumPy meets a Tensor: ``np.exp(t)``, ``np.matmul(a, t)``, ``array * t``, and ``np.asarray(t)``.

A function that has a derivative here becomes our op; one that has none in mathematics (comparisons, ``argmax``,
``allclose``) takes arrays and returns arrays; any other, given a Tensor that requires grad, raises and names itself
rather than drop a gradient.  Plain numbers come from ``t.data``, ``t.item()`` and ``t.detach()``; under ``no_grad``,
and of a Tensor that requires none, NumPy may take them itself.  matplotlib and ``numpy.testing``, which only look at
numbers, always may.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from . import numpy_ops
from .graph import Value
from .modes import mode
from .ops import reductions
from .ops.declare import BY_NUMPY, Op, recorded
from .ops.declare import arrays_of as plain

WITHOUT_DERIVATIVE_UFUNCS = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isfinite, np.isnan, np.isinf,
    np.sign, np.signbit, np.floor, np.ceil, np.rint, np.trunc, np.logical_and, np.logical_or, np.logical_not,
    np.logical_xor, np.floor_divide, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.spacing,
}  # fmt: skip

WITHOUT_DERIVATIVE = {
    np.allclose, np.isclose, np.array_equal, np.array_equiv, np.argmax, np.argmin, np.argsort, np.argwhere,
    np.argpartition, np.nanargmax, np.nanargmin, np.lexsort, np.nonzero, np.flatnonzero, np.count_nonzero, np.all,
    np.any, np.shape, np.ndim, np.size, np.array2string, np.array_repr, np.array_str, np.isneginf, np.isposinf,
    np.round, np.around, np.fix, np.imag, np.zeros_like, np.ones_like, np.empty_like, np.searchsorted, np.digitize,
    np.isin, np.may_share_memory, np.shares_memory, np.result_type, np.can_cast, np.min_scalar_type, np.common_type,
    np.einsum_path, np.save, np.savez, np.savez_compressed, np.savetxt, np.isreal, np.iscomplexobj, np.isrealobj,
    np.iscomplex, np.tril_indices_from, np.triu_indices_from, np.diag_indices_from, np.linalg.matrix_rank,
}  # fmt: skip

ABOUT_ARRAYS = {  # and not about their numbers, as far as a program is concerned
    np.shape, np.ndim, np.size, np.array2string, np.array_repr, np.array_str, np.may_share_memory, np.shares_memory,
    np.result_type, np.can_cast, np.min_scalar_type, np.common_type, np.isrealobj, np.iscomplexobj, np.einsum_path,
}  # fmt: skip

IN_PLACE = {
    np.copyto,
    np.put,
    np.place,
    np.putmask,
    np.put_along_axis,
    np.fill_diagonal,
}  # they write into their first argument

REDUCES: dict[Any, Callable[..., Any]] = {
    np.add: reductions.sum, np.multiply: numpy_ops.prod, np.maximum: reductions.max, np.minimum: reductions.min,
    np.logaddexp: reductions.logsumexp,
}  # fmt: skip
ACCUMULATES: dict[Any, Callable[..., Any]] = {np.add: numpy_ops.cumsum, np.multiply: numpy_ops.cumprod}

READERS = ("matplotlib.", "mpl_toolkits.", "numpy.testing.")  # they look at numbers and compute nothing from them
OURS = (__name__, "minigrad.tensor", "minigrad.numpy_methods")
CURE = "use the ops of minigrad, or t.data if no gradient is wanted"


def wants_grad(x: Any) -> bool:
    """Whether a Tensor in ``x`` (also inside lists, tuples and dicts) would lose a gradient as an array."""
    if isinstance(x, Value):
        return x.requires_grad and mode.get().grad
    if isinstance(x, dict):
        return any(map(wants_grad, x.values()))
    return isinstance(x, list | tuple) and any(map(wants_grad, x))


def refusal(name: str, options: Any = ()) -> TypeError:
    """The error of a function that would drop a gradient, or of one of its options."""
    what = f" with {', '.join(options)}" if options else ""
    return TypeError(f"minigrad: {name}{what} has no derivative here; {CURE}")


def on_arrays(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What NumPy says of the arrays; a program that is being made takes note of the call."""
    if mode.get().tape is not None:
        return recorded(function)(*args, **kwargs)
    return function(*plain(args), **{k: plain(v) for k, v in kwargs.items()})


# Ufuncs ---------------------------------------------------------------------------------------------------------------


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a ufunc, or one of its methods such as ``reduce``, called with a Tensor among its inputs."""
    if not kwargs and method == "__call__" and ufunc in BY_NUMPY:
        return BY_NUMPY[ufunc](*inputs)
    name = f"np.{ufunc.__name__}" if method == "__call__" else f"np.{ufunc.__name__}.{method}"
    out = kwargs.get("out") or ()
    if any(isinstance(x, Value) for x in out) or (method == "at" and isinstance(inputs[0], Value)):
        raise TypeError(f"minigrad: {name} would write into a Tensor behind the graph's back; use t[...] = result")
    kwargs = {k: v for k, v in kwargs.items() if k == "axis" or not is_default(v, True if k == "where" else None)}
    lost = any(map(wants_grad, inputs))
    constant = ufunc in WITHOUT_DERIVATIVE_UFUNCS and (ufunc is not np.floor_divide or method in ("__call__", "outer"))
    if constant or ((out or method == "at") and not lost):
        return on_arrays(ufunc if method == "__call__" else getattr(ufunc, method), inputs, kwargs)
    if out:
        raise TypeError(f"minigrad: {name}(..., out=array) would drop the gradient; write result = {name}(...)")
    if method == "__call__" and ufunc in BY_NUMPY and not kwargs:  # where all that was given is NumPy's default
        return BY_NUMPY[ufunc](*inputs)
    if method == "outer" and ufunc in BY_NUMPY and not kwargs:
        a, b = (x if hasattr(x, "ndim") else np.asarray(x) for x in inputs)
        return BY_NUMPY[ufunc](a.reshape(a.shape + (1,) * b.ndim), b)
    table = REDUCES if method == "reduce" else ACCUMULATES if method == "accumulate" else {}
    if ufunc in table and len(inputs) <= 2 and kwargs.keys() <= {"axis", "keepdims"}:
        kwargs.setdefault("axis", inputs[1] if len(inputs) > 1 else 0)
        return table[ufunc](inputs[0], **kwargs)
    if not lost:
        return on_arrays(ufunc if method == "__call__" else getattr(ufunc, method), inputs, kwargs)
    raise refusal(name, kwargs)


# Functions ------------------------------------------------------------------------------------------------------------


@cache
def _signature(function: Any) -> inspect.Signature | None:
    """None for some C functions of older NumPys."""
    try:
        return inspect.signature(function.forward if isinstance(function, Op) else function)
    except ValueError:
        return None


def is_default(value: Any, default: Any) -> bool:
    """Whether ``value`` says no more than ``default``, what NumPy takes when nothing is given."""
    if value is default or value is np._NoValue:
        return True
    return type(value) in (bool, int, float, str) and type(value) is type(default) and value == default


def call_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer any other NumPy function called with a Tensor among its arguments."""
    module = (function.__module__ or "numpy").replace("numpy", "np", 1)
    name = f"{module}.{function.__name__}"
    answer = BY_NUMPY.get(function)
    if answer is not None:
        try:
            positions, names = _agreement(function, answer)
            if len(args) <= positions and kwargs.keys() <= names and not any(v is np._NoValue for v in kwargs.values()):
                return answer(*args, **kwargs)
            return _by_our_names(name, function, answer, args, kwargs)
        except TypeError:
            if not only_looks():
                raise
            return function(*plain(args), **{k: plain(v) for k, v in kwargs.items()})
    if function in IN_PLACE and (isinstance(args[0] if args else None, Value) or wants_grad((args, kwargs))):
        asked, _ = _asked_by()
        raise TypeError(
            f"minigrad: {f'np.{asked}' if asked else name} would write numbers without their gradient; use "
            "minigrad.where(mask, a, b), minigrad.stack([...]) or minigrad.broadcast_to(t, shape), "
            "or t.data if no gradient is wanted"
        )
    if function in ABOUT_ARRAYS:
        return function(*plain(args), **{k: plain(v) for k, v in kwargs.items()})
    if function in WITHOUT_DERIVATIVE or not wants_grad((args, kwargs)) or only_looks():
        return on_arrays(function, args, kwargs)
    raise refusal(name)


RENAMED = {"newshape": "shape"}  # an argument's name in NumPy 2.0, and its name since then


@cache
def _agreement(function: Any, answer: Any) -> tuple[int, set[str]]:
    """How many leading arguments mean the same here and in NumPy, and which names do."""
    theirs, ours = _signature(function), _signature(answer)
    if theirs is None or ours is None:
        return 99, set()
    inputs = len(answer.inputs) if isinstance(answer, Op) else 0
    pairs = list(zip(theirs.parameters.values(), ours.parameters.values()))
    leading = next((i for i, (a, b) in enumerate(pairs) if i >= inputs and a.name != b.name), len(pairs))
    by_position = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    fixed = next((i for i, pair in enumerate(pairs) if any(p.kind not in by_position for p in pair)), leading)
    names = {n for n, p in ours.parameters.items() if n in theirs.parameters and p.kind is not p.POSITIONAL_ONLY}
    return min(leading, fixed), names - set(list(theirs.parameters)[:inputs])


def _by_our_names(name: str, function: Any, answer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call ``answer`` with what was given to ``function``: the inputs by position, all else by NumPy's names, without
    what is NumPy's default.  TypeError for an option that ``answer`` does not know."""
    theirs, ours = _signature(function), _signature(answer)
    if theirs is None or ours is None:
        return answer(*args, **kwargs)
    given = theirs.bind(*args, **kwargs).arguments
    rest: tuple[Any, ...] = ()
    for parameter in theirs.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            given.update(given.pop(parameter.name, {}))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            rest = given.pop(parameter.name, ())
        elif parameter.name in given and is_default(
            given[parameter.name], True if parameter.name == "where" else parameter.default
        ):
            del given[parameter.name]
    given = {RENAMED.get(parameter, parameter): value for parameter, value in given.items()}
    n = len(answer.inputs) if isinstance(answer, Op) else 0
    inputs = [given.pop(p) for p in list(theirs.parameters)[:n] if p in given]
    if isinstance(given.get("out"), Value):
        raise TypeError(f"minigrad: {name}(..., out=Tensor) would write behind the graph's back; use t[...] = result")
    unknown = [k for k in given if k not in ours.parameters]
    if unknown and not wants_grad((args, kwargs)):
        return on_arrays(function, args, kwargs)
    if unknown:
        raise refusal(name, unknown)
    positional = [given.pop(k) for k, p in ours.parameters.items() if p.kind is p.POSITIONAL_ONLY and k in given]
    return answer(*inputs, *positional, *rest, **given)


# Plain numbers --------------------------------------------------------------------------------------------------------


def _asked_by() -> tuple[str, str]:
    """Who asks for a Tensor's numbers: the function of NumPy, if one in Python, and the module that called it."""
    asked = ""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("numpy.") and not module.startswith("numpy.testing"):
            asked = frame.f_code.co_name
        elif module not in OURS:
            break
        frame = frame.f_back
    return asked, module


def only_looks() -> bool:
    """Whether matplotlib, ``numpy.testing`` or a function without a derivative asks for a Tensor's numbers."""
    asked, module = _asked_by()
    return f"{module}.".startswith(READERS) or getattr(np, asked, None) in WITHOUT_DERIVATIVE


def check_plain(t: Value, how: str) -> None:
    """Raise TypeError when plain numbers of ``t``, as an "array" or a "float", would drop its gradient in silence."""
    if not t.requires_grad or not mode.get().grad:
        return
    if only_looks():
        return
    if how == "float":
        raise TypeError(
            f"float() of a Tensor of shape {t.data.shape} that requires grad would drop its gradient, as in "
            "math.exp(t) or out[i] = t: write np.exp(t) or minigrad.stack([...]); if no gradient is wanted, t.item() or t.detach()"
        )
    asked, _ = _asked_by()
    what = f"np.{asked}" if hasattr(np, asked) else "NumPy"
    raise TypeError(
        f"{what} would make plain numbers of a Tensor of shape {t.data.shape} that requires grad and drop its "
        "gradient, as in np.asarray(t), X.dot(t) or out[i] = t: write X @ t, minigrad.stack([...]) or "
        "minigrad.where(mask, t, out); if no gradient is wanted, t.data or t.detach()"
    )
