"""NumPy meets a Tensor: ``np.exp(t)``, ``np.matmul(a, t)``, ``array * t``, and ``np.asarray(t)``.

A function that has a derivative here becomes our op; one that has none in mathematics (comparisons, ``argmax``,
``allclose``) takes arrays and returns arrays; any other, given a Tensor that requires grad, raises and names itself
rather than drop a gradient.  Plain numbers come from ``t.data``, ``t.item()`` and ``t.detach()``; under ``no_grad``,
and of a Tensor that requires none, NumPy may take them itself.  matplotlib and ``numpy.testing``, which only look at
numbers, always may.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .graph import Value
from .modes import mode
from .numpy_api import ops as numpy_ops
from .numpy_api.names import ABOUT_ARRAYS, IN_PLACE, WITHOUT_DERIVATIVE, WITHOUT_DERIVATIVE_UFUNCS, agreement, by_our_names, is_default
from .ops import reductions
from .ops.declare import BY_NUMPY, recorded
from .ops.declare import arrays_of as plain

REDUCES: dict[Any, Callable[..., Any]] = {
    np.add: reductions.sum, np.multiply: numpy_ops.prod, np.maximum: reductions.max, np.minimum: reductions.min,
    np.logaddexp: reductions.logsumexp,
}  # fmt: skip
ACCUMULATES: dict[Any, Callable[..., Any]] = {np.add: numpy_ops.cumsum, np.multiply: numpy_ops.cumprod}

READERS = ("matplotlib.", "mpl_toolkits.", "numpy.testing.")  # they look at numbers and compute nothing from them
OURS = (__name__, "minigrad.tensor", "minigrad.numpy_api.methods")
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


def call_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer any other NumPy function called with a Tensor among its arguments."""
    module = (function.__module__ or "numpy").replace("numpy", "np", 1)
    name = f"{module}.{function.__name__}"
    answer = BY_NUMPY.get(function)
    if answer is not None:
        try:
            positions, names = agreement(function, answer)
            if len(args) <= positions and kwargs.keys() <= names and not any(v is np._NoValue for v in kwargs.values()):
                return answer(*args, **kwargs)
            positional, named, unknown = by_our_names(function, answer, args, kwargs)
            if isinstance(named.get("out"), Value):
                raise TypeError(f"minigrad: {name}(..., out=Tensor) would write behind the graph's back; use t[...] = result")
            if unknown and not wants_grad((args, kwargs)):
                return on_arrays(function, args, kwargs)
            if unknown:
                raise refusal(name, unknown)
            return answer(*positional, **named)
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
