r"""Activations, masks and powers: inner derivatives that are left out, and derivatives taken at the wrong place.

Each table has rows (op, name, words, derivative): what the op's derivative becomes, of its result y and its input x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ....ops.numerics import erf
from . import mistake

ROOT = math.sqrt(2 / math.pi)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _switch(x: Any) -> Any:
    """The switch s of gelu's tanh form."""
    return _sigmoid(2 * ROOT * (x + 0.044715 * x**3))


def _inside(x: Any) -> Any:
    """The derivative u' of the inside of gelu's tanh form."""
    return ROOT * (1 + 3 * 0.044715 * x * x)


def _normal(x: Any) -> Any:
    """Φ of the normal distribution."""
    return 0.5 * (1 + erf(x / math.sqrt(2)))


def _density(x: Any) -> Any:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _inverse(y: Any) -> Any:
    return 1 / np.where(y == 0, np.inf, y)


NO_INNER = "the inner derivative is missing: of (x s(x))' = s + x s' only the first term s is there"
NO_OUTER = "of (x s(x))' = s + x s' only the term x s' is there; the term s is missing"
RELU = "this is relu's derivative [x > 0]; the function is gelu"
OF_OUTPUT = "the derivative in terms of the output takes the output"
ROWS: list[tuple[str, str, str, Callable[[Any, Any], Any]]] = [
    ("_gelu_tanh", "missing term", f"of gelu {NO_INNER}", lambda y, x: _switch(x)),
    ("_gelu_tanh", "missing term", f"of gelu {NO_OUTER}", lambda y, x: 2 * _inside(x) * y * (1 - _switch(x))),
    ("_gelu_tanh", "forgotten inner derivative", "the derivative u' of the inside u(x) of gelu is left out",
     lambda y, x: _switch(x) + 2 * y * (1 - _switch(x))),
    ("_gelu_tanh", "forgotten inner derivative",
     "of the inside u = √(2/π)(x + 0.044715 x³) of gelu only the first term is differentiated",
     lambda y, x: _switch(x) + 2 * ROOT * y * (1 - _switch(x))),
    ("_gelu_tanh", "other function", "this is the gradient of the exact GELU, x Φ(x); the function is its tanh form",
     lambda y, x: _normal(x) + x * _density(x)),
    ("_gelu_tanh", "other function", RELU, lambda y, x: x > 0),
    ("_gelu_erf", "missing term", f"of gelu {NO_INNER}", lambda y, x: _normal(x)),
    ("_gelu_erf", "missing term", f"of gelu {NO_OUTER}", lambda y, x: x * _density(x)),
    ("_gelu_erf", "forgotten inner derivative", "the 1/√2 from the inside x/√2 of erf is left out",
     lambda y, x: _normal(x) + math.sqrt(2) * x * _density(x)),
    ("_gelu_erf", "other function", "this is the gradient of GELU's tanh form; the function is the exact one",
     lambda y, x: _switch(x) + 2 * _inside(x) * x * _switch(x) * (1 - _switch(x))),
    ("_gelu_erf", "other function", RELU, lambda y, x: x > 0),
    ("silu", "missing term", f"of silu {NO_INNER}", lambda y, x: _sigmoid(x)),
    ("silu", "missing term", f"of silu {NO_OUTER}", lambda y, x: y * (1 - _sigmoid(x))),
    ("silu", "other function", "this is the sigmoid's derivative s (1 − s); silu's is s + x s (1 − s)",
     lambda y, x: _sigmoid(x) * (1 - _sigmoid(x))),
    ("tanh", "wrong argument", f"1 − x² in place of 1 − y² for tanh: {OF_OUTPUT}, after the activation",
     lambda y, x: 1 - x * x),
    ("tanh", "wrong derivative", "1 − y in place of tanh's 1 − y²: the square is missing", lambda y, x: 1 - y),
    ("tanh", "wrong derivative", "(1 − y)² in place of tanh's 1 − y²", lambda y, x: (1 - y) ** 2),
    ("tanh", "wrong argument", "tanh is applied twice: 1 − tanh²(y) in place of 1 − y²",
     lambda y, x: 1 - np.tanh(y) ** 2),
    ("tanh", "other function", "y (1 − y), the derivative of the logistic function; the function is tanh",
     lambda y, x: y * (1 - y)),
    ("sigmoid", "wrong argument", f"x (1 − x) in place of y (1 − y) for the sigmoid: {OF_OUTPUT}",
     lambda y, x: x * (1 - x)),
    ("sigmoid", "missing term", "y in place of the sigmoid's y (1 − y): the factor 1 − y is missing", lambda y, x: y),
    ("sigmoid", "missing term", "1 − y in place of the sigmoid's y (1 − y): the factor y is missing",
     lambda y, x: 1 - y),
    ("sigmoid", "wrong argument", "the sigmoid is applied twice: σ(y) (1 − σ(y)) in place of y (1 − y)",
     lambda y, x: _sigmoid(y) * (1 - _sigmoid(y))),
    ("sigmoid", "other function", "1 − y², the derivative of tanh; the function is the sigmoid",
     lambda y, x: 1 - y * y),
    ("exp", "wrong argument", "x in place of eˣ for exp", lambda y, x: x),
    ("log", "wrong derivative", "x in place of 1/x for log", lambda y, x: x),
    ("log", "wrong derivative", "1/log x in place of 1/x", lambda y, x: _inverse(y)),
    ("log", "wrong derivative", "1/x² in place of 1/x for log", lambda y, x: 1 / (x * x)),
    ("sqrt", "wrong derivative", "√x/2 in place of 1/(2√x)", lambda y, x: y / 2),
    ("sqrt", "wrong derivative", "1/(2x) in place of 1/(2√x): the square root is missing",
     lambda y, x: _inverse(2 * x)),
    ("sqrt", "missing factor", "½ in place of 1/(2√x): the division by the root (the norm) √x is missing",
     lambda y, x: 0.5),
    ("square", "wrong derivative", "x² in place of 2x for the square", lambda y, x: y),
    ("square", "wrong derivative", "1 in place of 2x: the inner x of the square is missing", lambda y, x: 2.0),
    ("sin", "wrong derivative", "sin x in place of cos x", lambda y, x: y),
    ("cos", "wrong derivative", "cos x in place of −sin x", lambda y, x: y),
    ("abs", "wrong derivative", "x in place of sign(x) for abs", lambda y, x: x),
    ("abs", "wrong derivative", "1 in place of sign(x): the sign of x is forgotten in abs", lambda y, x: 1.0),
    ("abs", "wrong derivative", "|x| in place of sign(x) for abs", lambda y, x: y),
    ("reciprocal", "wrong derivative", "1/x in place of −1/x²: the square is missing", lambda y, x: -y),
    ("relu", "mask not applied", "relu's mask [x > 0] is not applied: the gradient passes through unchanged",
     lambda y, x: 1.0),
    ("relu", "wrong mask", "the mask of relu is upside down: [x ≤ 0]", lambda y, x: x <= 0),
    ("relu", "wrong derivative", "x, or relu(x), is multiplied in place of relu's mask [x > 0]", lambda y, x: y),
    ("clip",
     "mask not applied", "the mask of clip is not applied: the gradient passes through where the value was clipped",
     lambda y, x: 1.0),
    ("tril", "mask not applied", "the mask of tril is not applied to the gradient", lambda y, x: 1.0),
    ("triu", "mask not applied", "the mask of triu is not applied to the gradient", lambda y, x: 1.0),
]  # fmt: skip
for _op, _name, _words, _derivative in ROWS:
    mistake(_op, _name, _words)(lambda g, y, x, _d=_derivative, **params: [g * _d(y, x)])

FROM_GRADIENT = "relu's mask is taken from the gradient, [ȳ > 0], not from its input, [x > 0]"
mistake("relu", "wrong mask", FROM_GRADIENT)(lambda g, y, x: [g * (g > 0)])
mistake("relu", "wrong mask", "relu itself is applied to the gradient, after the mask")(
    lambda g, y, x: [g * (x > 0) * (g > 0)]
)

# Ops of two inputs: rule(g, c, a, b) ----------------------------------------------------------------------------------

OF_B = "the derivative of a/b with respect to the denominator b is −a/b², here it is"
OF_TWO: list[tuple[str, Any]] = [
    (f"the square is missing: {OF_B} −a/b (one division by b is left out)", lambda g, c, a, b: [None, -g * c]),
    (f"both divisions are missing: {OF_B} −a", lambda g, c, a, b: [None, -g * a]),
    (f"the numerator is missing: {OF_B} −1/b²", lambda g, c, a, b: [None, -g / (np.asarray(b) * b)]),
    (f"the numerator is missing: {OF_B} −1/b", lambda g, c, a, b: [None, -g / np.asarray(b)]),
    ("multiplied by the denominator b where the gradient is divided by it", lambda g, c, a, b: [g * b, None]),
]
for _words, _rule in OF_TWO:
    mistake("divide", "wrong derivative", _words)(_rule)

NOT_APPLIED = (
    "(the indicator of the {}, as in relu or a hinge's margin > 0): the gradient passes through where it should be 0"
)
for _op, _sign, _word in (("maximum", 1, "larger"), ("minimum", -1, "smaller")):
    for _name, _words, _rule in [
        ("mask not applied", f"the mask of {_op} is not applied " + NOT_APPLIED.format(f"{_word} one"),
         lambda g, c, a, b, s: [g, g]),
        ("mask not applied",
         f"the mask of {_op} is not applied: the first operand gets the gradient everywhere, the second nowhere",
         lambda g, c, a, b, s: [g, 0 * g]),
        ("mask not applied",
         f"the mask of {_op} is not applied: the second operand gets the gradient everywhere, the first nowhere",
         lambda g, c, a, b, s: [0 * g, g]),
        ("wrong mask", f"the mask of {_op} is upside down: the gradient goes where the other one is {_word}",
         lambda g, c, a, b, s: [g * (s * np.subtract(b, a) > 0), g * (s * np.subtract(a, b) > 0)]),
        ("wrong mask", f"the mask of {_op} is taken from the gradient, [ȳ > 0], not from its inputs",
         lambda g, c, a, b, s: [g * (g > 0), None]),
        ("wrong derivative", f"the inputs are multiplied in place of the mask of {_op}",
         lambda g, c, a, b, s: [g * c, None]),
    ]:  # fmt: skip
        mistake(_op, _name, _words)(lambda g, c, a, b, _r=_rule, _s=_sign: _r(g, c, a, b, _s))

BRANCH = "the mask (condition) of where is not applied: {} branch gets the gradient everywhere"
mistake("select", "mask not applied", BRANCH.format("this"))(lambda g, y, a, b, condition: [g, None])
mistake("select", "mask not applied", BRANCH.format("the other"))(lambda g, y, a, b, condition: [None, g])
mistake("select", "wrong mask", "the branches of where are exchanged: the condition is upside down")(
    lambda g, y, a, b, condition: [g * ~condition, g * condition]
)


def _base(change: Callable[[float], float]) -> Callable[..., Any]:
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
mistake("power", "wrong derivative", "the inner base and the exponent are missing: x^b in place of b x^(b−1)")(
    lambda g, c, a, b: [g * c, None]
)
