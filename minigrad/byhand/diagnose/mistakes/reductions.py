r"""Sums, means, extrema and running sums: entries that get too much, axes that are taken for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import mistake


def _stretched(g: Any, axis: Any, keepdims: bool) -> Any:
    return g if keepdims or axis is None else np.expand_dims(g, axis)


def _reduction(op: str, name: str, words: str, rule: Callable[[Any, Any, Any], Any]) -> None:
    """``rule(g, y, x)`` with g and y laid along the reduced axes."""

    def spread(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False, **params: Any) -> list[Any]:
        return [np.broadcast_to(rule(_stretched(g, axis, keepdims), _stretched(y, axis, keepdims), x), x.shape)]

    mistake(op, name, words)(spread)


for _op, _word in (("max", "largest"), ("min", "smallest")):
    _reduction(
        _op, "wrong entries", f"every entry gets the gradient of {_op}; only the {_word} one should", lambda g, y, x: g
    )
    _reduction(
        _op,
        "wrong entries",
        f"every entry gets an equal share, as for a mean; of {_op} only the {_word} entry should get the gradient",
        lambda g, y, x: g * (y.size / x.size),
    )
    _reduction(
        _op,
        "wrong derivative",
        f"the value of the {_word} entry is multiplied in; the derivative of {_op} is 1 there",
        lambda g, y, x: g * (x == y) * x,
    )
_reduction(
    "prod",
    "forgotten derivative",
    "the product of the other factors, the inner derivative of prod, is left out",
    lambda g, y, x: g,
)
_reduction(
    "prod",
    "wrong derivative",
    "the whole product stands in place of the product of the other factors: the division by x is missing",
    lambda g, y, x: g * y,
)


@mistake("var", "not centred", "2x/n in place of 2(x − μ)/n")
def _(g, y, x, axis=None, keepdims=False, ddof=0):
    n = x.size // max(1, y.size) - ddof
    return [_stretched(g, axis, keepdims) * 2 * x / n]


def _along(axis: Any) -> int:
    return 0 if axis is None else axis


def _from_the_end(g: np.ndarray, axis: int) -> np.ndarray:
    return np.flip(np.cumsum(np.flip(g, axis), axis), axis)


def _running(name: str, words: str, rule: Callable[[Any, Any], Any]) -> None:
    mistake("cumsum", name, f"cumsum's gradient {words}")(
        lambda g, y, x, axis=None: [np.asarray(rule(g, _along(axis))).reshape(x.shape)]
    )


_running(
    "not reversed",
    "runs in the wrong direction: it is the running sum from the end (reversed), here it runs from the beginning",
    lambda g, axis: np.cumsum(g, axis),
)
_running(
    "forgotten derivative",
    "is that of an entry's own place alone: the later results of cumsum are left out",
    lambda g, axis: g,
)
_running(
    "wrong entries",
    "is the sum of all in every entry; an entry acts only on its own and the later results of cumsum",
    lambda g, axis: np.broadcast_to(g.sum(axis=axis, keepdims=True), g.shape),
)
_running(
    "shifted",
    "is shifted by one: the entry's own place is left out (an exclusive sum)",
    lambda g, axis: _from_the_end(g, axis) - g,
)


@mistake("cumsum", "wrong axis", "the running sum goes along another axis than cumsum's")
def _(g, y, x, axis=None):
    if x.ndim < 2 or axis is None:
        return [None]
    return [_from_the_end(g, -2 if axis % x.ndim == x.ndim - 1 else -1)]


def _wrong_axis(scale: bool) -> Callable[..., Any]:
    def rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> list[Any]:
        if axis is None or x.ndim != 2 or x.shape[0] != x.shape[1] or not isinstance(axis, int):
            return [None]
        spread = np.expand_dims(np.squeeze(g, axis) if keepdims else g, 1 - axis % 2)
        return [np.broadcast_to(spread, x.shape) / (x.shape[0] if scale else 1)]

    return rule


for _op in ("sum", "mean"):
    mistake(
        _op, "wrong axis", f"the gradient of the {_op} is laid along the wrong axis: rows and columns are exchanged"
    )(_wrong_axis(_op == "mean"))

    @mistake(
        _op,
        "missing axis",
        f"the gradients of all results of {_op} are added, as if it ran over all axes; it runs over one axis only",
    )
    def _(g, y, x, axis=None, keepdims=False, _op=_op):
        n = x.size // max(1, y.size) if _op == "mean" else 1
        return [np.broadcast_to(g.sum() / n, x.shape) if g.size > 1 else None]
