r"""Activations, powers and reductions: inner derivatives that are left out, and derivatives taken at the wrong place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ....kernels import erf
from . import mistake

NO_INNER = "the inner derivative is missing: of (x s(x))' = s + x s' only the first term s is there"
NO_OUTER = "of (x s(x))' = s + x s' only the term x s' is there; the term s is missing"
ROOT = math.sqrt(2 / math.pi)


def _tanh_form(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The switch s of the tanh form and the derivative u' of its inside."""
    return 1 / (1 + np.exp(-2 * ROOT * (x + 0.044715 * x**3))), ROOT * (1 + 3 * 0.044715 * x * x)


def _normal_form(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Φ and φ of the normal distribution."""
    phi = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + erf(x / math.sqrt(2))), phi


def _elementwise(op: str, name: str, words: str, derivative: Callable[[Any, Any], Any]) -> None:
    mistake(op, name, words)(lambda g, y, x, **params: [g * derivative(y, x)])


def _gelu_tanh(name: str, words: str, derivative: Callable[[Any, Any, Any, Any], Any]) -> None:
    mistake("_gelu_tanh", name, words)(lambda g, y, x: [g * derivative(y, x, *_tanh_form(x))])


_gelu_tanh("missing term", f"of gelu {NO_INNER}", lambda y, x, s, du: s)
_gelu_tanh("missing term", f"of gelu {NO_OUTER}", lambda y, x, s, du: 2 * du * y * (1 - s))
_gelu_tanh(
    "forgotten inner derivative",
    "the derivative u' of the inside u(x) of gelu is left out",
    lambda y, x, s, du: s + 2 * y * (1 - s),
)
_gelu_tanh(
    "forgotten inner derivative", "of the inside u = √(2/π)(x + 0.044715 x³) of gelu only the first term is differentiated",
    lambda y, x, s, du: s + 2 * ROOT * y * (1 - s),
)  # fmt: skip
_gelu_tanh(
    "other function", "this is the gradient of the exact GELU, x Φ(x); the function is its tanh form",
    lambda y, x, s, du: _normal_form(x)[0] + x * _normal_form(x)[1],
)  # fmt: skip
_gelu_tanh("other function", "this is relu's derivative [x > 0]; the function is gelu", lambda y, x, s, du: x > 0)
_elementwise("_gelu_erf", "missing term", f"of gelu {NO_INNER}", lambda y, x: _normal_form(x)[0])
_elementwise("_gelu_erf", "missing term", f"of gelu {NO_OUTER}", lambda y, x: x * _normal_form(x)[1])
_elementwise(
    "_gelu_erf", "forgotten inner derivative", "the 1/√2 from the inside x/√2 of erf is left out",
    lambda y, x: _normal_form(x)[0] + math.sqrt(2) * x * _normal_form(x)[1],
)  # fmt: skip
_elementwise(
    "_gelu_erf", "other function", "this is the gradient of GELU's tanh form; the function is the exact one",
    lambda y, x: _tanh_form(x)[0] + 2 * _tanh_form(x)[1] * x * _tanh_form(x)[0] * (1 - _tanh_form(x)[0]),
)  # fmt: skip
_elementwise(
    "_gelu_erf", "other function", "this is relu's derivative [x > 0]; the function is gelu", lambda y, x: x > 0
)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


_elementwise("silu", "missing term", f"of silu {NO_INNER}", lambda y, x: _sigmoid(x))
_elementwise("silu", "missing term", f"of silu {NO_OUTER}", lambda y, x: y * (1 - _sigmoid(x)))
_elementwise(
    "silu",
    "other function",
    "this is the sigmoid's derivative s (1 − s); silu's is s + x s (1 − s)",
    lambda y, x: _sigmoid(x) * (1 - _sigmoid(x)),
)

OF_OUTPUT = "the derivative in terms of the output takes the output"
_elementwise(
    "tanh",
    "wrong argument",
    f"1 − x² in place of 1 − y² for tanh: {OF_OUTPUT}, after the activation",
    lambda y, x: 1 - x * x,
)
_elementwise("tanh", "wrong derivative", "1 − y in place of tanh's 1 − y²: the square is missing", lambda y, x: 1 - y)
_elementwise("tanh", "wrong derivative", "(1 − y)² in place of tanh's 1 − y²", lambda y, x: (1 - y) ** 2)
_elementwise(
    "tanh", "wrong argument", "tanh is applied twice: 1 − tanh²(y) in place of 1 − y²", lambda y, x: 1 - np.tanh(y) ** 2
)
_elementwise(
    "tanh",
    "other function",
    "y (1 − y), the derivative of the logistic function; the function is tanh",
    lambda y, x: y * (1 - y),
)
_elementwise(
    "sigmoid",
    "wrong argument",
    f"x (1 − x) in place of y (1 − y) for the sigmoid: {OF_OUTPUT}",
    lambda y, x: x * (1 - x),
)
_elementwise(
    "sigmoid", "missing term", "y in place of the sigmoid's y (1 − y): the factor 1 − y is missing", lambda y, x: y
)
_elementwise(
    "sigmoid", "missing term", "1 − y in place of the sigmoid's y (1 − y): the factor y is missing", lambda y, x: 1 - y
)
_elementwise(
    "sigmoid",
    "wrong argument",
    "the sigmoid is applied twice: σ(y) (1 − σ(y)) in place of y (1 − y)",
    lambda y, x: _sigmoid(y) * (1 - _sigmoid(y)),
)
_elementwise(
    "sigmoid", "other function", "1 − y², the derivative of tanh; the function is the sigmoid", lambda y, x: 1 - y * y
)
_elementwise("exp", "wrong argument", "x in place of eˣ for exp", lambda y, x: x)
_elementwise("log", "wrong derivative", "x in place of 1/x for log", lambda y, x: x)
_elementwise("log", "wrong derivative", "1/log x in place of 1/x", lambda y, x: 1 / np.where(y == 0, np.inf, y))
_elementwise("log", "wrong derivative", "1/x² in place of 1/x for log", lambda y, x: 1 / (x * x))
_elementwise("sqrt", "wrong derivative", "√x/2 in place of 1/(2√x)", lambda y, x: y / 2)
_elementwise(
    "sqrt",
    "wrong derivative",
    "1/(2x) in place of 1/(2√x): the square root is missing",
    lambda y, x: 1 / np.where(x == 0, np.inf, 2 * x),
)
_elementwise(
    "sqrt",
    "missing factor",
    "½ in place of 1/(2√x): the division by the root (the norm) √x is missing",
    lambda y, x: 0.5,
)
_elementwise("square", "wrong derivative", "x² in place of 2x for the square", lambda y, x: y)
_elementwise("square", "wrong derivative", "1 in place of 2x: the inner x of the square is missing", lambda y, x: 2.0)
_elementwise("sin", "wrong derivative", "sin x in place of cos x", lambda y, x: y)
_elementwise("cos", "wrong derivative", "cos x in place of −sin x", lambda y, x: y)
_elementwise("abs", "wrong derivative", "x in place of sign(x) for abs", lambda y, x: x)
_elementwise("abs", "wrong derivative", "1 in place of sign(x): the sign of x is forgotten in abs", lambda y, x: 1.0)
_elementwise("abs", "wrong derivative", "|x| in place of sign(x) for abs", lambda y, x: y)
_elementwise("reciprocal", "wrong derivative", "1/x in place of −1/x²: the square is missing", lambda y, x: -y)
for _op in ("relu",):
    _elementwise(
        _op,
        "mask not applied",
        "relu's mask [x > 0] is not applied: the gradient passes through unchanged",
        lambda y, x: 1.0,
    )
    _elementwise(_op, "wrong mask", "the mask of relu is upside down: [x ≤ 0]", lambda y, x: x <= 0)
    _elementwise(
        _op, "wrong derivative", "x, or relu(x), is multiplied in place of relu's mask [x > 0]", lambda y, x: y
    )
    mistake(_op, "wrong mask", "relu's mask is taken from the gradient, [ȳ > 0], not from its input, [x > 0]")(
        lambda g, y, x: [g * (g > 0)]
    )
    mistake(_op, "wrong mask", "relu itself is applied to the gradient, after the mask")(
        lambda g, y, x: [g * (x > 0) * (g > 0)]
    )


def _extremum_mistakes(op: str, sign: int) -> None:
    word = "larger" if sign > 0 else "smaller"

    def masks(c: Any, a: Any, b: Any) -> tuple[Any, Any]:
        return sign * np.subtract(a, b) > 0, sign * np.subtract(b, a) > 0

    @mistake(
        op,
        "mask not applied",
        f"the mask of {op} is not applied (the indicator of the {word} one, as in relu or a hinge's margin > 0): the"
        " gradient passes through where it should be 0",
    )
    def _(g, c, a, b):
        return [g, g]

    @mistake(
        op,
        "mask not applied",
        f"the mask of {op} is not applied: the first operand gets the gradient everywhere, the second nowhere",
    )
    def _(g, c, a, b):
        return [g, 0 * g]

    @mistake(
        op,
        "mask not applied",
        f"the mask of {op} is not applied: the second operand gets the gradient everywhere, the first nowhere",
    )
    def _(g, c, a, b):
        return [0 * g, g]

    @mistake(op, "wrong mask", f"the mask of {op} is upside down: the gradient goes where the other one is {word}")
    def _(g, c, a, b):
        first, second = masks(c, a, b)
        return [g * second, g * first]

    @mistake(op, "wrong mask", f"the mask of {op} is taken from the gradient, [ȳ > 0], not from its inputs")
    def _(g, c, a, b):
        return [g * (g > 0), None]

    @mistake(op, "wrong derivative", f"the inputs are multiplied in place of the mask of {op}")
    def _(g, c, a, b):
        return [g * c, None]


_extremum_mistakes("maximum", 1)
_extremum_mistakes("minimum", -1)


@mistake(
    "clip",
    "mask not applied",
    "the mask of clip is not applied: the gradient passes through where the value was clipped",
)
def _(g, y, x, min=None, max=None):
    return [g]


@mistake(
    "select",
    "mask not applied",
    "the mask (condition) of where is not applied: this branch gets the gradient everywhere",
)
def _(g, y, a, b, condition):
    return [g, None]


@mistake(
    "select",
    "mask not applied",
    "the mask (condition) of where is not applied: the other branch gets the gradient everywhere",
)
def _(g, y, a, b, condition):
    return [None, g]


@mistake("select", "wrong mask", "the branches of where are exchanged: the condition is upside down")
def _(g, y, a, b, condition):
    return [g * ~condition, g * condition]


for _op in ("tril", "triu"):
    mistake(_op, "mask not applied", f"the mask of {_op} is not applied to the gradient")(lambda g, y, x, k=0: [g])


@mistake(
    "divide",
    "wrong derivative",
    "the square is missing: the derivative of a/b with respect to the denominator b is −a/b², here it is −a/b (one"
    " division by b is left out)",
)
def _(g, c, a, b):
    return [None, -g * c]


@mistake(
    "divide",
    "wrong derivative",
    "both divisions are missing: the derivative of a/b with respect to the denominator b is −a/b², here it is −a",
)
def _(g, c, a, b):
    return [None, -g * a]


@mistake(
    "divide",
    "wrong derivative",
    "the numerator is missing: the derivative of a/b with respect to b is −a/b², here it is −1/b²",
)
def _(g, c, a, b):
    return [None, -g / (np.asarray(b) * b)]


@mistake(
    "divide",
    "wrong derivative",
    "the numerator is missing: the derivative of a/b with respect to b is −a/b², here it is −1/b",
)
def _(g, c, a, b):
    return [None, -g / np.asarray(b)]


@mistake("divide", "wrong derivative", "multiplied by the denominator b where the gradient is divided by it")
def _(g, c, a, b):
    return [g * b, None]


def _base(change: Callable[[Any], Any]) -> Callable[..., Any]:
    def rule(g: Any, c: Any, a: Any, b: Any) -> list[Any]:
        if np.size(b) != 1 or float(np.reshape(b, -1)[0]) in (0.0, 1.0):
            return [None, None]
        n = float(np.reshape(b, -1)[0])
        with np.errstate(all="ignore"):
            return [g * n * np.power(a, change(n)), None]

    return rule


for _words, _change in [
    ("x^b in place of x^(b−1): the exponent is not lowered", lambda n: n),
    ("x^(b−2) in place of x^(b−1)", lambda n: n - 2),
    ("x^(1−b) in place of x^(b−1): the exponent has the wrong sign", lambda n: 1 - n),
    ("x^(−b) in place of x^(b−1): the exponent is wrong", lambda n: -n),
    ("the power x^(b−1) is missing: only the exponent b is there", lambda n: 0.0),
]:
    mistake("power", "wrong derivative", f"{_words}, in the derivative of the power x^b")(_base(_change))


@mistake("power", "wrong derivative", "the inner base and the exponent are missing: x^b in place of b x^(b−1)")
def _(g, c, a, b):
    return [g * c, None]


# Reductions ---------------------------------------------------------------------------------------------------------------


def _stretched(g: Any, axis: Any, keepdims: bool) -> Any:
    return g if keepdims or axis is None else np.expand_dims(g, axis)


for _op, _word in (("max", "largest"), ("min", "smallest")):

    @mistake(_op, "wrong entries", f"every entry gets the gradient of {_op}; only the {_word} one should")
    def _(g, y, x, axis=None, keepdims=False):
        return [np.broadcast_to(_stretched(g, axis, keepdims), x.shape)]

    @mistake(
        _op,
        "wrong entries",
        f"every entry gets an equal share, as for a mean; of {_op} only the {_word} entry should get the gradient",
    )
    def _(g, y, x, axis=None, keepdims=False):
        return [np.broadcast_to(_stretched(g, axis, keepdims), x.shape) * (y.size / x.size)]

    @mistake(
        _op, "wrong derivative", f"the value of the {_word} entry is multiplied in; the derivative of {_op} is 1 there"
    )
    def _(g, y, x, axis=None, keepdims=False):
        return [_stretched(g, axis, keepdims) * (x == _stretched(y, axis, keepdims)) * x]


@mistake("var", "not centred", "2x/n in place of 2(x − μ)/n")
def _(g, y, x, axis=None, keepdims=False, ddof=0):
    n = x.size // max(1, y.size) - ddof
    return [_stretched(g, axis, keepdims) * 2 * x / n]


@mistake("prod", "forgotten derivative", "the product of the other factors, the inner derivative of prod, is left out")
def _(g, y, x, axis=None, keepdims=False):
    return [np.broadcast_to(_stretched(g, axis, keepdims), x.shape)]


@mistake(
    "prod",
    "wrong derivative",
    "the whole product stands in place of the product of the other factors: the division by x is missing",
)
def _(g, y, x, axis=None, keepdims=False):
    return [np.broadcast_to(_stretched(g * y, axis, keepdims), x.shape)]


def _along(axis: Any) -> int:
    return 0 if axis is None else axis


@mistake(
    "cumsum",
    "not reversed",
    "cumsum's gradient runs in the wrong direction: it is the running sum from the end (reversed), here it runs from"
    " the beginning",
)
def _(g, y, x, axis=None):
    return [np.cumsum(g, axis).reshape(x.shape)]


@mistake(
    "cumsum",
    "forgotten derivative",
    "cumsum's later results are left out: each entry gets only the gradient of its own place",
)
def _(g, y, x, axis=None):
    return [g.reshape(x.shape)]


@mistake(
    "cumsum",
    "wrong entries",
    "every entry gets the sum of all of cumsum's gradients; an entry acts only on its own and the later results",
)
def _(g, y, x, axis=None):
    return [np.broadcast_to(g.sum(axis=axis, keepdims=axis is not None), g.shape).reshape(x.shape)]


@mistake(
    "cumsum", "shifted", "cumsum's gradient is shifted by one: the entry's own place is left out (an exclusive sum)"
)
def _(g, y, x, axis=None):
    k = _along(axis)
    return [(np.flip(np.cumsum(np.flip(g, k), k), k) - g).reshape(x.shape)]


@mistake("cumsum", "wrong axis", "the running sum goes along another axis than cumsum's")
def _(g, y, x, axis=None):
    if x.ndim < 2 or axis is None:
        return [None]
    other = -2 if axis % x.ndim == x.ndim - 1 else -1
    return [np.flip(np.cumsum(np.flip(g, other), other), other)]


def _wrong_axis(scale: bool) -> Callable[..., Any]:
    def rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> list[Any]:
        if axis is None or x.ndim != 2 or x.shape[0] != x.shape[1] or not isinstance(axis, int):
            return [None]
        spread = np.expand_dims(np.squeeze(g, axis) if keepdims else g, 1 - axis % 2)
        return [np.broadcast_to(spread, x.shape) / (x.shape[0] if scale else 1)]

    return rule


for _op in ("sum", "mean"):

    @mistake(
        _op,
        "missing axis",
        f"the gradients of all results of {_op} are added, as if it ran over all axes; it runs over one axis only",
    )
    def _(g, y, x, axis=None, keepdims=False, _op=_op):
        n = x.size // max(1, y.size) if _op == "mean" else 1
        return [np.broadcast_to(g.sum() / n, x.shape) if g.size > 1 else None]


mistake("sum", "wrong axis", "the gradient of the sum is laid along the wrong axis: rows and columns are exchanged")(
    _wrong_axis(False)
)
mistake("mean", "wrong axis", "the gradient of the mean is laid along the wrong axis: rows and columns are exchanged")(
    _wrong_axis(True)
)
