r"""The mistakes that people make in the gradient of an op, each as the wrong rule that it amounts to.

A wrong rule is called as ``rule(g, y, *inputs, **params)``, on arrays, and returns what the mistake would give for
each input, None where it makes no difference.  ``diagnose`` pulls each one back to the inputs and compares; a test
holds ``gradcheck`` to catching every one.

By family: activations, masks and powers (inner derivatives that are left out, derivatives taken at the wrong place);
sums, extrema and running sums; products and picking rows; softmax and the norms, what is forgotten of
:math:`y \odot (\bar y - \sum_j \bar y_j y_j)` and of :math:`(\bar y - \langle \bar y \rangle - y \langle \bar y y
\rangle) / s`.  It has more than 300 lines because it is a table with one row for each mistake.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...numerics import erf


class Mistake(NamedTuple):
    """Its name, what it is in words, and the wrong rule."""

    name: str
    words: str
    rule: Callable[..., Any]


MISTAKES: dict[str, list[Mistake]] = {}  # by the name of the op
COMPOSED: dict[str, list[Mistake]] = {}  # of functions that are no op but are recognised: rule(g, y, x, axis, s)
Row = tuple[str, str, Callable[..., Any]]


def _add(
    op: str, rows: list[Row], full: Callable[..., Any] = lambda rule: rule,
    registry: dict[str, list[Mistake]] = MISTAKES
) -> None:
    """Note the mistakes of an op; ``full`` makes the whole wrong rule of what a row of the table says."""
    registry.setdefault(op, []).extend(Mistake(name, words, full(rule)) for name, words, rule in rows)


# Activations, masks and powers: the wrong derivative as a function of y and x ----------------------------------------

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
IN_SECOND = "the first term is right, and in the second the factor"
RELU = "this is relu's derivative [x > 0]; the function is gelu"
OF_OUTPUT = "the derivative in terms of the output takes the output"
ENTRYWISE: dict[str, list[Row]] = {
    "_gelu_tanh": [
        ("missing term", f"of gelu {NO_INNER}", lambda y, x: _switch(x)),
        ("missing term", f"of gelu {NO_OUTER}", lambda y, x: 2 * _inside(x) * y * (1 - _switch(x))),
        ("forgotten inner derivative", "the derivative u' of the inside u(x) of gelu is left out",
         lambda y, x: _switch(x) + 2 * y * (1 - _switch(x))),
        ("forgotten inner derivative",
         "of the inside u = √(2/π)(x + 0.044715 x³) of gelu only the first term is differentiated",
         lambda y, x: _switch(x) + 2 * ROOT * y * (1 - _switch(x))),
        ("missing factor", f"of gelu {IN_SECOND} x is missing",
         lambda y, x: _switch(x) + 2 * _inside(x) * _switch(x) * (1 - _switch(x))),
        ("missing factor", f"of gelu {IN_SECOND} 1 − s is missing", lambda y, x: _switch(x) + 2 * _inside(x) * y),
        ("sign of a term", "of gelu the second term x s' has the wrong sign",
         lambda y, x: _switch(x) - 2 * _inside(x) * y * (1 - _switch(x))),
        ("other function", "this is the gradient of the exact GELU, x Φ(x); the function is its tanh form",
         lambda y, x: _normal(x) + x * _density(x)),
        ("other function", RELU, lambda y, x: x > 0)],
    "_gelu_erf": [
        ("missing term", f"of gelu {NO_INNER}", lambda y, x: _normal(x)),
        ("missing term", f"of gelu {NO_OUTER}", lambda y, x: x * _density(x)),
        ("missing factor", f"of gelu {IN_SECOND} x is missing: Φ + φ in place of Φ + x φ",
         lambda y, x: _normal(x) + _density(x)),
        ("sign of a term", "of gelu the second term has the wrong sign: Φ − x φ in place of Φ + x φ",
         lambda y, x: _normal(x) - x * _density(x)),
        ("missing factor", "of gelu the 1/√(2π) of the density φ is missing: Φ + x exp(−x²/2)",
         lambda y, x: _normal(x) + x * np.exp(-x * x / 2)),
        ("forgotten inner derivative", "the 1/√2 from the inside x/√2 of erf is left out",
         lambda y, x: _normal(x) + math.sqrt(2) * x * _density(x)),
        ("other function", "this is the gradient of GELU's tanh form; the function is the exact one",
         lambda y, x: _switch(x) + 2 * _inside(x) * x * _switch(x) * (1 - _switch(x))),
        ("other function", RELU, lambda y, x: x > 0)],
    "silu": [
        ("missing term", f"of silu {NO_INNER}", lambda y, x: _sigmoid(x)),
        ("missing term", f"of silu {NO_OUTER}", lambda y, x: y * (1 - _sigmoid(x))),
        ("missing factor", f"of silu {IN_SECOND} 1 − s is missing: s + x s in place of s + x s (1 − s)",
         lambda y, x: _sigmoid(x) + y),
        ("missing factor", f"of silu {IN_SECOND} s is missing: s + x (1 − s) in place of s + x s (1 − s)",
         lambda y, x: _sigmoid(x) + x * (1 - _sigmoid(x))),
        ("missing factor", f"of silu {IN_SECOND} x is missing: s + s (1 − s) in place of s + x s (1 − s)",
         lambda y, x: _sigmoid(x) * (2 - _sigmoid(x))),
        ("sign of a term", "of silu the second term has the wrong sign: s − x s (1 − s) in place of s + x s (1 − s)",
         lambda y, x: _sigmoid(x) - y * (1 - _sigmoid(x))),
        ("other function", "this is the sigmoid's derivative s (1 − s); silu's is s + x s (1 − s)",
         lambda y, x: _sigmoid(x) * (1 - _sigmoid(x)))],
    "tanh": [
        ("wrong argument", f"1 − x² in place of 1 − y² for tanh: {OF_OUTPUT}, after the activation",
         lambda y, x: 1 - x * x),
        ("wrong derivative", "1 − y in place of tanh's 1 − y²: the square is missing", lambda y, x: 1 - y),
        ("wrong derivative", "(1 − y)² in place of tanh's 1 − y²", lambda y, x: (1 - y) ** 2),
        ("wrong argument", "tanh is applied twice: 1 − tanh²(y) in place of 1 − y²", lambda y, x: 1 - np.tanh(y) ** 2),
        ("other function", "y (1 − y), the derivative of the logistic function; the function is tanh",
         lambda y, x: y * (1 - y))],
    "sigmoid": [
        ("wrong argument", f"x (1 − x) in place of y (1 − y) for the sigmoid: {OF_OUTPUT}", lambda y, x: x * (1 - x)),
        ("missing term", "y in place of the sigmoid's y (1 − y): the factor 1 − y is missing", lambda y, x: y),
        ("missing term", "1 − y in place of the sigmoid's y (1 − y): the factor y is missing", lambda y, x: 1 - y),
        ("wrong argument", "the sigmoid is applied twice: σ(y) (1 − σ(y)) in place of y (1 − y)",
         lambda y, x: _sigmoid(y) * (1 - _sigmoid(y))),
        ("other function", "1 − y², the derivative of tanh; the function is the sigmoid", lambda y, x: 1 - y * y)],
    "exp": [("wrong argument", "x in place of eˣ for exp", lambda y, x: x)],
    "log": [
        ("wrong derivative", "x in place of 1/x for log", lambda y, x: x),
        ("wrong derivative", "1/log x in place of 1/x", lambda y, x: _inverse(y)),
        ("wrong derivative", "1/x² in place of 1/x for log", lambda y, x: 1 / (x * x))],
    "sqrt": [
        ("wrong derivative", "√x/2 in place of 1/(2√x)", lambda y, x: y / 2),
        ("wrong derivative", "1/(2x) in place of 1/(2√x): the square root is missing", lambda y, x: _inverse(2 * x)),
        ("missing factor", "½ in place of 1/(2√x): the division by the root (the norm) √x is missing",
         lambda y, x: 0.5)],
    "square": [
        ("wrong derivative", "x² in place of 2x for the square", lambda y, x: y),
        ("wrong derivative", "1 in place of 2x: the inner x of the square is missing", lambda y, x: 2.0)],
    "sin": [("wrong derivative", "sin x in place of cos x", lambda y, x: y)],
    "cos": [("wrong derivative", "cos x in place of −sin x", lambda y, x: y)],
    "abs": [
        ("wrong derivative", "x in place of sign(x) for abs", lambda y, x: x),
        ("wrong derivative", "1 in place of sign(x): the sign of x is forgotten in abs", lambda y, x: 1.0),
        ("wrong derivative", "|x| in place of sign(x) for abs", lambda y, x: y)],
    "reciprocal": [("wrong derivative", "1/x in place of −1/x²: the square is missing", lambda y, x: -y)],
    "relu": [
        ("mask not applied", "relu's mask [x > 0] is not applied: the gradient passes through unchanged",
         lambda y, x: 1.0),
        ("wrong mask", "the mask of relu is upside down: [x ≤ 0]", lambda y, x: x <= 0),
        ("wrong derivative", "x, or relu(x), is multiplied in place of relu's mask [x > 0]", lambda y, x: y)],
    "clip": [
        ("mask not applied", "the mask of clip is not applied: the gradient passes through where the value was clipped",
         lambda y, x: 1.0)],
    "tril": [("mask not applied", "the mask of tril is not applied to the gradient", lambda y, x: 1.0)],
    "triu": [("mask not applied", "the mask of triu is not applied to the gradient", lambda y, x: 1.0)],
}  # fmt: skip
for _op, _rows in ENTRYWISE.items():
    _add(_op, _rows, lambda derivative: lambda g, y, x, **params: [g * derivative(y, x)])

_add("relu", [
    ("wrong mask", "relu's mask is taken from the gradient, [ȳ > 0], not from its input, [x > 0]",
     lambda g, y, x: [g * (g > 0)]),
    ("wrong mask", "relu itself is applied to the gradient, after the mask", lambda g, y, x: [g * (x > 0) * (g > 0)]),
])  # fmt: skip

# Ops of two inputs: rule(g, c, a, b) ---------------------------------------------------------------------------------

OF_B = "the derivative of a/b with respect to the denominator b is −a/b², here it is"
_add("divide", [
    ("wrong derivative", f"the square is missing: {OF_B} −a/b (one division by b is left out)",
     lambda g, c, a, b: [None, -g * c]),
    ("wrong derivative", f"both divisions are missing: {OF_B} −a", lambda g, c, a, b: [None, -g * a]),
    ("wrong derivative", f"the numerator is missing: {OF_B} −1/b²",
     lambda g, c, a, b: [None, -g / (np.asarray(b) * b)]),
    ("wrong derivative", f"the numerator is missing: {OF_B} −1/b", lambda g, c, a, b: [None, -g / np.asarray(b)]),
    ("wrong derivative", "multiplied by the denominator b where the gradient is divided by it",
     lambda g, c, a, b: [g * b, None]),
])  # fmt: skip

NOT_APPLIED = (
    "(the indicator of the {} one, as in relu or a hinge's margin > 0): the gradient passes through where it should"
    " be 0")
for _op, _sign, _word in (("maximum", 1, "larger"), ("minimum", -1, "smaller")):
    _add(_op, [
        ("mask not applied", f"the mask of {_op} is not applied " + NOT_APPLIED.format(_word),
         lambda g, c, a, b: [g, g]),
        ("mask not applied",
         f"the mask of {_op} is not applied: the first operand gets the gradient everywhere, the second nowhere",
         lambda g, c, a, b: [g, 0 * g]),
        ("mask not applied",
         f"the mask of {_op} is not applied: the second operand gets the gradient everywhere, the first nowhere",
         lambda g, c, a, b: [0 * g, g]),
        ("wrong mask", f"the mask of {_op} is upside down: the gradient goes where the other one is {_word}",
         lambda g, c, a, b, s=_sign: [g * (s * np.subtract(b, a) > 0), g * (s * np.subtract(a, b) > 0)]),
        ("wrong mask", f"the mask of {_op} is taken from the gradient, [ȳ > 0], not from its inputs",
         lambda g, c, a, b: [g * (g > 0), None]),
        ("wrong derivative", f"the inputs are multiplied in place of the mask of {_op}",
         lambda g, c, a, b: [g * c, None]),
    ])  # fmt: skip

BRANCH = "the mask (condition) of where is not applied: {} branch gets the gradient everywhere"
_add("select", [
    ("mask not applied", BRANCH.format("this"), lambda g, y, a, b, condition: [g, None]),
    ("mask not applied", BRANCH.format("the other"), lambda g, y, a, b, condition: [None, g]),
    ("wrong mask", "the branches of where are exchanged: the condition is upside down",
     lambda g, y, a, b, condition: [g * ~condition, g * condition]),
])  # fmt: skip


def _with_exponent(change: Callable[[float], float]) -> Callable[..., Any]:
    def rule(g: Any, c: Any, a: Any, b: Any) -> list[Any]:
        if np.size(b) != 1 or float(np.reshape(b, -1)[0]) in (0.0, 1.0):
            return [None, None]
        n = float(np.reshape(b, -1)[0])
        with np.errstate(all="ignore"):
            return [g * n * np.power(a, change(n)), None]

    return rule


OF_POWER = "in the derivative of the power x^b"
_add("power", [
    ("wrong derivative", f"x^b in place of x^(b−1): the exponent is not lowered, {OF_POWER}", lambda n: n),
    ("wrong derivative", f"x^(b−2) in place of x^(b−1), {OF_POWER}", lambda n: n - 2),
    ("wrong derivative", f"x^(1−b) in place of x^(b−1): the exponent has the wrong sign, {OF_POWER}", lambda n: 1 - n),
    ("wrong derivative", f"x^(−b) in place of x^(b−1): the exponent is wrong, {OF_POWER}", lambda n: -n),
    ("wrong derivative", f"the power x^(b−1) is missing: only the exponent b is there, {OF_POWER}", lambda n: 0.0),
], _with_exponent)  # fmt: skip
_add("power", [
    ("wrong derivative", "the inner base and the exponent are missing: x^b in place of b x^(b−1)",
     lambda g, c, a, b: [g * c, None]),
])  # fmt: skip

# Sums, extrema, running sums -----------------------------------------------------------------------------------------


def _stretched(g: Any, axis: Any, keepdims: bool) -> Any:
    return g if keepdims or axis is None else np.expand_dims(g, axis)


def _spread(rule: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """Of ``rule(g, y, x)`` with g and y laid along the reduced axes."""

    def spread(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False, **params: Any) -> list[Any]:
        return [np.broadcast_to(rule(_stretched(g, axis, keepdims), _stretched(y, axis, keepdims), x), x.shape)]

    return spread


for _op, _word in (("max", "largest"), ("min", "smallest")):
    _add(_op, [
        ("wrong entries", f"every entry gets the gradient of {_op}; only the {_word} one should", lambda g, y, x: g),
        ("wrong entries",
         f"every entry gets an equal share, as for a mean; of {_op} only the {_word} entry should get the gradient",
         lambda g, y, x: g * (y.size / x.size)),
        ("wrong derivative",
         f"the value of the {_word} entry is multiplied in; the derivative of {_op} is 1 there",
         lambda g, y, x: g * (x == y) * x),
    ], _spread)  # fmt: skip
_add("prod", [
    ("forgotten derivative", "the product of the other factors, the inner derivative of prod, is left out",
     lambda g, y, x: g),
    ("wrong derivative",
     "the whole product stands in place of the product of the other factors: the division by x is missing",
     lambda g, y, x: g * y),
], _spread)  # fmt: skip
_add("var", [
    ("not centred", "2x/n in place of 2(x − μ)/n",
     lambda g, y, x, axis=None, keepdims=False, ddof=0: [
         _stretched(g, axis, keepdims) * 2 * x / (x.size // max(1, y.size) - ddof)]),
])  # fmt: skip


def _from_the_end(g: np.ndarray, axis: int) -> np.ndarray:
    return np.flip(np.cumsum(np.flip(g, axis), axis), axis)


_add("cumsum", [
    ("not reversed", "cumsum's gradient runs in the wrong direction: it is the running sum from the end (reversed),"
     " here it runs from the beginning", lambda g, axis: np.cumsum(g, axis)),
    ("forgotten derivative",
     "cumsum's gradient is that of an entry's own place alone: the later results of cumsum are left out",
     lambda g, axis: g),
    ("wrong entries", "cumsum's gradient is the sum of all in every entry; an entry acts only on its own and the later"
     " results of cumsum", lambda g, axis: np.broadcast_to(g.sum(axis=axis, keepdims=True), g.shape)),
    ("shifted", "cumsum's gradient is shifted by one: the entry's own place is left out (an exclusive sum)",
     lambda g, axis: _from_the_end(g, axis) - g),
], lambda rule: lambda g, y, x, axis=None: [np.asarray(rule(g, axis or 0)).reshape(x.shape)])  # fmt: skip
_add("cumsum", [
    ("wrong axis", "the running sum goes along another axis than cumsum's",
     lambda g, y, x, axis=None: [
         None if x.ndim < 2 or axis is None else _from_the_end(g, -2 if axis % x.ndim == x.ndim - 1 else -1)]),
])  # fmt: skip


def _wrong_axis(scale: bool) -> Callable[..., Any]:
    def rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> list[Any]:
        if axis is None or x.ndim != 2 or x.shape[0] != x.shape[1] or not isinstance(axis, int):
            return [None]
        spread = np.expand_dims(np.squeeze(g, axis) if keepdims else g, 1 - axis % 2)
        return [np.broadcast_to(spread, x.shape) / (x.shape[0] if scale else 1)]

    return rule


def _missing_axis(scale: bool) -> Callable[..., Any]:
    def rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> list[Any]:
        n = x.size // max(1, y.size) if scale else 1
        return [np.broadcast_to(g.sum() / n, x.shape) if g.size > 1 else None]

    return rule


for _op in ("sum", "mean"):
    _add(_op, [
        ("wrong axis", f"the gradient of the {_op} is laid along the wrong axis: rows and columns are exchanged",
         _wrong_axis(_op == "mean")),
        ("missing axis",
         f"the gradients of all results of {_op} are added, as if it ran over all axes; it runs over one axis only",
         _missing_axis(_op == "mean")),
    ])  # fmt: skip

# Products, picking and moving ----------------------------------------------------------------------------------------


def _fitting(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule of products, None for an input to whose shape its product does not come."""

    def tried(g: Any, c: Any, a: Any, b: Any) -> list[Any]:
        found: list[Any] = [None, None]
        for k, product in enumerate(rule(g, a, b)):
            with contextlib.suppress(ValueError):
                found[k] = r if product and (r := product()).shape == (a, b)[k].shape else None
        return found

    return tried


NOT_TRANSPOSED = "factor is not transposed: the gradient of"
ORDER = "the factors stand in the wrong order: the gradient of"
_add("matmul", [
    ("missing transposition", f"the second {NOT_TRANSPOSED} A in C = A B is C̄ Bᵀ, here it is C̄ B",
     lambda g, a, b: [lambda: g @ b]),
    ("missing transposition", f"the first {NOT_TRANSPOSED} B in C = A B is Aᵀ C̄, here it is A C̄",
     lambda g, a, b: [None, lambda: a @ g]),
    ("wrong order", f"{ORDER} A in C = A B is C̄ Bᵀ, here it is Bᵀ C̄",
     lambda g, a, b: [lambda: b.mT @ g] if b.ndim > 1 else []),
    ("wrong order", f"{ORDER} B in C = A B is Aᵀ C̄, here it is C̄ Aᵀ",
     lambda g, a, b: [None, lambda: g @ a.mT] if a.ndim > 1 else []),
    ("missing transposition", "C̄ᵀ stands where C̄ belongs, in the gradient of A or B of C = A B",
     lambda g, a, b: [lambda: g.mT @ b.mT, lambda: a.mT @ g.mT]
     if min(g.ndim, a.ndim, b.ndim) > 1 and g.shape[-1] == g.shape[-2] else []),
    *(("missing sum",
       f"one matrix serves the whole batch, and its gradients Aᵀ C̄ must be added; here is the {which} alone",
       lambda g, a, b, at=at: [None, lambda: a.reshape(-1, *a.shape[-2:])[at].T @ g.reshape(-1, *g.shape[-2:])[at]]
       if a.ndim > 2 and b.ndim < 3 and g.ndim > 2 else [])
      for at, which in ((-1, "last"), (0, "first"))),
], _fitting)  # fmt: skip

NOT_TURNED = "the matrix is not transposed: A⁻¹ stands where A⁻ᵀ belongs, in the gradient of {}"
_add("_solve", [
    ("missing transposition", NOT_TURNED.format("the right-hand side B of A X = B"),
     lambda g, x, a, b: [None, np.linalg.solve(a, g)]),
    ("missing transposition", NOT_TURNED.format("the matrix A of A X = B"),
     lambda g, x, a, b: [-np.linalg.solve(a, g) @ x.mT, None]),
    ("wrong operand", "the right-hand side B stands where the solution X belongs: Ā = −A⁻ᵀ X̄ Xᵀ",
     lambda g, x, a, b: [-np.linalg.solve(a.mT, g) @ b.mT, None]),
])  # fmt: skip
ONE_SIDE = "the inverse A⁻ᵀ stands on one side only: Ā = −A⁻ᵀ Ȳ A⁻ᵀ, here the one on the {} is missing"
_add("inv", [
    ("missing transposition", NOT_TURNED.format("the inverse: Ā = −A⁻ᵀ Ȳ A⁻ᵀ"), lambda g, y, a: [-y @ g @ y]),
    ("missing factor", ONE_SIDE.format("left"), lambda g, y, a: [-g @ y.mT]),
    ("missing factor", ONE_SIDE.format("right"), lambda g, y, a: [-y.mT @ g]),
    ("wrong derivative", "Ā = −A⁻ᵀ Ȳ A⁻ᵀ is a product of matrices, here it is one entry by entry, as for 1/a",
     lambda g, y, a: [-g * y * y]),
])  # fmt: skip


def _taken(put: Callable[[np.ndarray, np.ndarray, np.ndarray], bool]) -> Callable[..., Any]:
    """The rule of rows that were taken: ``put(dx, ids, rows)`` writes the gradient, and says whether it is wrong."""

    def rule(g: np.ndarray, y: Any, x: np.ndarray, indices: np.ndarray, axis: int) -> list[Any]:
        rows = np.moveaxis(g, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim)))
        dx = np.zeros(x.shape)
        return [dx if put(np.moveaxis(dx, axis, 0), indices, rows) else None]

    return rule


def _repeated(ids: np.ndarray) -> bool:
    return len(np.unique(ids)) < ids.size


def _last_wins(dx: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> bool:
    dx[ids] = rows
    return _repeated(ids)


def _first_wins(dx: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> bool:
    dx[ids.ravel()[::-1]] = rows.reshape(ids.size, *rows.shape[ids.ndim :])[::-1]
    return _repeated(ids)


def _averaged(dx: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> bool:
    np.add.at(dx, ids, rows)
    dx /= np.maximum(np.bincount(ids.ravel(), minlength=len(dx)), 1).reshape(-1, *[1] * (dx.ndim - 1))
    return _repeated(ids)


def _one_of_each(at: int) -> Callable[[np.ndarray, np.ndarray, np.ndarray], bool]:
    def put(dx: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> bool:
        if several := ids.ndim > 1 and ids.shape[-1] > 1:
            np.add.at(dx, ids[..., at], rows[(slice(None),) * (ids.ndim - 1) + (at,)])
        return several

    return put


MORE_THAN_ONCE = "where an index occurs more than once the gradients"
OF_EACH = "of each group of indices (a row of ids) only the {} one gets a gradient; the others' are left out"
_add("_take", [
    ("overwritten", f"the last one wins: {MORE_THAN_ONCE} must be added, not overwritten (dW[ids] = g)", _last_wins),
    ("overwritten", f"the first one wins: {MORE_THAN_ONCE} must be added", _first_wins),
    ("superfluous mean", f"{MORE_THAN_ONCE} are averaged; they must be added", _averaged),
    ("missing path", OF_EACH.format("first"), _one_of_each(0)),
    ("missing path", OF_EACH.format("last"), _one_of_each(-1)),
], _taken)  # fmt: skip


def _put_back(shape: tuple[int, ...], index: Any, g: Any) -> np.ndarray:
    dx = np.zeros(shape)
    np.add.at(dx, index, g)
    return dx


def _overwritten(g: np.ndarray, y: Any, x: np.ndarray, index: Any) -> list[Any]:
    dx = np.zeros(x.shape)
    dx[index] = g
    return [dx]


def _averaged_picks(g: np.ndarray, y: Any, x: np.ndarray, index: Any) -> list[Any]:
    times = _put_back(x.shape, index, 1.0)
    return [_put_back(x.shape, index, g) / np.maximum(times, 1) if times.max(initial=0) > 1 else None]


_add("pick", [
    ("overwritten",
     "the last one wins: where an entry is picked more than once the gradients must be added, not overwritten",
     _overwritten),
    ("superfluous mean", "where an entry is picked more than once the gradients are averaged; they must be added",
     _averaged_picks),
    ("flipped", "the places are taken in reverse order: the gradient is put back from the end",
     lambda g, y, x, index: [_put_back(x.shape, index, np.flip(g)) if g.ndim else None]),
])  # fmt: skip

for _op, _what in (
    ("transpose", ""), ("swapaxes", ""), ("split_heads", " when the heads are joined again"),
    ("join_heads", " when the heads are split again")):
    if not _what:
        _add(_op, [
            ("missing transposition", "the gradient is not transposed back",
             lambda g, y, x, **params: [g if g.shape == x.shape else None]),
        ])  # fmt: skip
    _add(_op, [
        ("missing transposition", f"the gradient is only reshaped: the transposition of the axes is left out{_what}",
         lambda g, y, x, **params: [g.reshape(x.shape) if g.shape != x.shape or g.ndim > 2 else None]),
    ])  # fmt: skip
_add("flip", [("not reversed", "the gradient is not flipped back", lambda g, y, x, axis=None: [g])])


def _parts_exchanged(g: np.ndarray, y: Any, *arrays: np.ndarray, axis: int = 0) -> list[Any]:
    if len({a.shape for a in arrays}) > 1 or len(arrays) < 2:
        return [None] * len(arrays)
    parts = [part.reshape(arrays[0].shape) for part in np.split(g, len(arrays), axis=axis)]
    return parts[1:] + parts[:1]


for _op in ("concatenate", "stack"):
    words = f"the parts of {_op} are exchanged: another part's slice of the gradient is taken"
    _add(f"_{_op}", [("wrong part", words, _parts_exchanged)])


# Softmax and norms ---------------------------------------------------------------------------------------------------


def _sum(x: np.ndarray, axis: Any) -> np.ndarray:
    return x.sum(axis=axis, keepdims=True)


def _mean(x: np.ndarray, axis: Any) -> np.ndarray:
    return x.mean(axis=axis, keepdims=True)


def _along_another(rule: Callable[[Any], Any], x: np.ndarray, axis: Any) -> Any:
    """The rule along another axis than the right one; None where there is none."""
    if x.ndim < 2 or not isinstance(axis, int):
        return None
    return rule(-2 if axis % x.ndim == x.ndim - 1 else -1)


def _along_axis(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda g, y, x, axis=-1: [rule(g, y, x, axis)]


# Softmax -------------------------------------------------------------------------------------------------------------

_add("softmax", [
    ("forgotten softmax",
     "softmax's own gradient is left out: the gradient of its result is taken for that of its input",
     lambda g, y, x, a: g),
    ("softmax diagonal",
     "only the diagonal of softmax's Jacobian, y_i (1 − y_i), is used; the terms −y_i y_j off the diagonal are missing",
     lambda g, y, x, a: g * y * (1 - y)),
    ("missing term",
     "the term −y Σ_j ȳ_j y_j of softmax's gradient is missing: its sum, the denominator, is taken as a constant",
     lambda g, y, x, a: g * y),
    ("wrong term", "the sum in softmax's gradient is Σ_j ȳ_j; it should be Σ_j ȳ_j y_j",
     lambda g, y, x, a: y * (g - _sum(g, a))),
    ("sign of a term", "the second term of softmax's gradient y (ȳ − Σ_j ȳ_j y_j) has the wrong sign: here it is added",
     lambda g, y, x, a: y * (g + _sum(g * y, a))),
    ("missing factor", "the factor y in front of softmax's gradient y (ȳ − Σ_j ȳ_j y_j) is missing",
     lambda g, y, x, a: g - _sum(g * y, a)),
    ("other function", "this is the gradient of log_softmax; the function is softmax",
     lambda g, y, x, a: g - y * _sum(g, a)),
    ("wrong axis", "the sum in softmax's gradient runs over another axis than softmax does",
     lambda g, y, x, a: _along_another(lambda b: y * (g - _sum(g * y, b)), x, a)),
    ("superfluous mean", "the sum Σ_j ȳ_j y_j in softmax's gradient is taken as a mean",
     lambda g, y, x, a: y * (g - _mean(g * y, a))),
], _along_axis)  # fmt: skip

# log_softmax, and so cross-entropy: ȳ holds −(targets), so ȳ − p Σ ȳ is (p − target) ---------------------------------


def _softmax_of(x: np.ndarray, axis: Any) -> np.ndarray:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / _sum(e, axis)


def _twice(g: np.ndarray, p: np.ndarray, axis: Any) -> np.ndarray:
    u = g - p * _sum(g, axis)
    return p * (u - _sum(u * p, axis))


def _smoothing(g: np.ndarray, axis: Any) -> tuple[np.ndarray, float] | None:
    """The weights with their smoothing undone (one entry in each row), and ε; None when they are not smoothed."""
    total = _sum(g, axis)
    if not total.any():
        return None
    t = np.where(total != 0, g / np.where(total == 0, 1, total), 0.0)
    low = t.min(axis=axis, keepdims=True)
    hot = t > low + 1e-12
    eps = float(low.max()) * g.shape[axis]
    if not 0 < eps < 1 or (hot.sum(axis=axis) > 1).any() or np.abs(np.where(hot, 0, t) - ~hot * low).max() > 1e-12:
        return None
    return np.where(hot, total, 0.0), eps


def _smoothed(g: np.ndarray, y: np.ndarray, axis: Any, kept: float, others: float) -> np.ndarray | None:
    """Targets that keep a part of ε less, and spread a part of ε over the other classes."""
    found = _smoothing(g, axis)
    if found is None:
        return None
    hot, eps = found
    spread = (hot == 0) * _sum(g, axis) * others * eps / (g.shape[axis] - 1)
    return hot * (1 - kept * eps) + spread - np.exp(y) * _sum(g, axis)


def _unscaled(g: np.ndarray, y: np.ndarray, axis: Any) -> np.ndarray | None:
    """One-hot targets that do not give up the part of ε that is spread over the classes."""
    found = _smoothing(g, axis)
    return None if found is None else found[0] + _sum(g, axis) * (found[1] / g.shape[axis] - np.exp(y))


def _all_rows(g: np.ndarray, y: np.ndarray, axis: Any) -> np.ndarray | None:
    """Rows without a weight get that of the others."""
    total = _sum(g, axis)
    weights = total[total != 0]
    ignored = total.size > weights.size > 0 and np.ptp(weights) <= 1e-12 * np.abs(weights).max()
    return g - np.exp(y) * weights[0] if ignored else None


NORMALISER = (
    "the term −p Σ_j ȳ_j of log_softmax's gradient is missing: the normaliser log Σ exp is taken as a constant, so"
    " softmax is missing from softmax − target")
TARGET = "the target (one-hot, label) is not subtracted: the gradient is softmax − target, here it is softmax alone"
ONE = (
    "the weights (targets) of a row are assumed to sum to one: their sum Σ_j ȳ_j is missing from the term −p Σ_j ȳ_j of"
    " log_softmax's gradient")
ONCE_MORE = "multiplied once more; softmax − target is already the gradient of the logits"
_add("log_softmax", [
    ("forgotten softmax", NORMALISER, lambda g, y, x, a: g),
    ("missing target", TARGET, lambda g, y, x, a: -np.exp(y) * _sum(g, a)),
    ("sign of a term", "the target is added: the gradient is softmax − target, here it is softmax + target",
     lambda g, y, x, a: -g - np.exp(y) * _sum(g, a)),
    ("softmax diagonal",
     "only the diagonal 1 − p_i of log_softmax's Jacobian is used; the −p_j off the diagonal are missing",
     lambda g, y, x, a: g * (1 - np.exp(y))),
    ("missing term", "the factor Σ_j ȳ_j is missing from the term −p Σ_j ȳ_j of log_softmax's gradient",
     lambda g, y, x, a: g - np.exp(y)),
    ("missing sum", ONE, lambda g, y, x, a: g + np.exp(y) / max(1, g.size // g.shape[a])),
    ("missing sum", ONE, lambda g, y, x, a: g + np.exp(y)),
    ("forgotten softmax", "the logits stand in place of their softmax: x − target, where softmax(x) − target belongs",
     lambda g, y, x, a: g - x * _sum(g, a)),
    ("not normalised", "exp(x) stands in place of softmax(x): it is not divided by its sum, the normaliser",
     lambda g, y, x, a: g - np.exp(x) * _sum(g, a)),
    ("wrong term", "log_softmax stands in place of softmax: the gradient is ȳ − p Σ_j ȳ_j with p = exp(log_softmax)",
     lambda g, y, x, a: g - y * _sum(g, a)),
    ("other function", "this is the gradient of softmax; the function is log_softmax",
     lambda g, y, x, a: np.exp(y) * (g - _sum(g * np.exp(y), a))),
    ("softmax twice", f"softmax's own Jacobian is {ONCE_MORE}", lambda g, y, x, a: _twice(g, np.exp(y), a)),
    ("softmax twice", f"the diagonal p (1 − p) of softmax's Jacobian is {ONCE_MORE}",
     lambda g, y, x, a: np.exp(y) * (1 - np.exp(y)) * (g - np.exp(y) * _sum(g, a))),
    ("wrong axis", "the sum in log_softmax's gradient runs over another axis than log_softmax does",
     lambda g, y, x, a: _along_another(lambda b: g - np.exp(y) * _sum(g, b), x, a)),
    ("wrong axis", "softmax is taken over another axis than in the function",
     lambda g, y, x, a: _along_another(lambda b: g - _softmax_of(x, b) * _sum(g, a), x, a)),
    ("missing label smoothing", "label smoothing is forgotten: the targets here are 0 and 1",
     lambda g, y, x, a: _smoothed(g, y, a, 0.0, 0.0)),
    ("missing label smoothing",
     "the uniform part ε/V of label smoothing is forgotten: the target keeps 1 − ε, the other classes get nothing",
     lambda g, y, x, a: _smoothed(g, y, a, 1.0, 0.0)),
    ("wrong label smoothing",
     "ε/(V − 1) is spread over the other classes; label smoothing here gives ε/V to every class, the target among them",
     lambda g, y, x, a: _smoothed(g, y, a, 1.0, 1.0)),
    ("wrong label smoothing",
     "the factor 1 − ε of the one-hot target is forgotten: the targets are one-hot + ε/V, and add up to more than 1",
     lambda g, y, x, a: _unscaled(g, y, a)),
    ("masked entries not zeroed",
     "the rows that do not count (ignored, padding: masked out) are not zeroed: softmax alone is left there",
     lambda g, y, x, a: _all_rows(g, y, a)),
], _along_axis)  # fmt: skip


def _weighted(weights: Callable[..., Any]) -> Callable[..., Any]:
    def rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> list[Any]:
        w = weights(x, axis)
        return [None if w is None else _stretched(g, axis, keepdims) * w]

    return rule


_add("logsumexp", [
    ("not normalised", "exp(x) stands in place of softmax(x): it is not divided by its sum", lambda x, a: np.exp(x)),
    ("forgotten derivative",
     "the weights softmax(x) of logsumexp's gradient are left out: every entry gets the upstream gradient",
     lambda x, a: 1 + 0 * x),
    ("wrong term", "the scores x themselves stand in place of their softmax: x for softmax(x)", lambda x, a: x),
    ("wrong entries", "only the largest entry gets the gradient, as for max; logsumexp gives softmax(x) to all",
     lambda x, a: x == x.max(axis=a, keepdims=True)),
    ("wrong axis", "softmax(x) is taken over another axis than logsumexp runs over",
     lambda x, a: _along_another(lambda b: _softmax_of(x, b), x, a)),
    ("superfluous mean",
     "the mean of exp(x) stands where their sum belongs: the weights are softmax(x) times the count",
     lambda x, a: _softmax_of(x, a) * (x.size if a is None else x.shape[a] if isinstance(a, int) else 1)),
], _weighted)  # fmt: skip

# log σ(x) and log(1 + eˣ): the losses of labels 1 and 0; s is σ(x) ---------------------------------------------------

OF_LOG_SIGMOID = "the derivative 1 − σ(x) of log sigmoid"


def _of_sigmoid(derivative: Callable[..., Any]) -> Callable[..., Any]:
    return lambda g, y, x: [g * derivative(_sigmoid(x), x)]


_add("log_sigmoid", [
    ("missing target", f"σ(x) stands where σ(x) − 1 belongs: the label 1 is not subtracted, in {OF_LOG_SIGMOID}",
     lambda s, x: -s),
    ("wrong term", f"σ(x) stands in place of 1 − σ(x), in {OF_LOG_SIGMOID}", lambda s, x: s),
    ("derivative twice",
     "the sigmoid's derivative y (1 − y) is multiplied once more: in (log σ)' = 1 − σ it has cancelled already",
     lambda s, x: (1 - s) * s * (1 - s)),
    ("forgotten derivative",
     "the derivative of the log, 1/σ(x), is left out of that of log sigmoid: only the sigmoid's σ (1 − σ) is there",
     lambda s, x: s * (1 - s)),
    ("forgotten derivative",
     "the sigmoid's derivative is left out of that of log sigmoid: only the log's 1/σ(x) is there",
     lambda s, x: 1 / s),
    ("forgotten derivative", f"{OF_LOG_SIGMOID} is left out", lambda s, x: 1.0),
    ("wrong term", f"x itself stands in place of σ(x), in {OF_LOG_SIGMOID}", lambda s, x: 1 - x),
], _of_sigmoid, COMPOSED)  # fmt: skip
OF_SOFTPLUS = "the derivative σ(x) of log(1 + eˣ)"
_add("softplus", [
    ("wrong term", f"1 − σ(x), that is σ(−x), stands in place of {OF_SOFTPLUS}", lambda s, x: 1 - s),
    ("wrong term", f"σ(x) − 1 stands in place of {OF_SOFTPLUS}: the label 0 is taken for 1", lambda s, x: s - 1),
    ("derivative twice",
     "the sigmoid's derivative is multiplied once more: the derivative of log(1 + eˣ) is σ(x) itself",
     lambda s, x: s * s * (1 - s)),
    ("forgotten derivative", "the derivative of the log is left out: eˣ in place of σ(x) = eˣ/(1 + eˣ)",
     lambda s, x: s / (1 - s)),
    ("forgotten derivative", f"{OF_SOFTPLUS} is left out", lambda s, x: 1.0),
    ("wrong term", f"x itself stands in place of {OF_SOFTPLUS}", lambda s, x: x),
], _of_sigmoid, COMPOSED)  # fmt: skip
# Norms: y = (x − μ)/s or x/s, s of each row along the axis; total is the mean, or for x/|x| the sum ------------------

FORGOTTEN = (
    "the normalisation is left out (no division by the norm or standard deviation, statistics as constants): the"
    " gradient of the normalised x̂ is taken for that of x")
NORMS = {  # kind: s in words, its term, whether the mean is subtracted, the total
    "standardise": ("the standard deviation σ", "−x̂ ⟨ȳ x̂⟩/σ", 1.0, _mean),
    "rms": ("the norm (root mean square)", "−x̂ ⟨ȳ x̂⟩/rms", 0.0, _mean),
    "unit": ("the norm |x|", "−x̂ Σ ȳ x̂ / |x|", 0.0, _sum)}


def _of_norm(kind: str) -> list[Row]:
    s_words, term, m, total = NORMS[kind]
    short = "1/σ" if kind == "standardise" else "1/rms" if kind == "rms" else "1/|x|"

    def right(g: Any, y: Any, a: Any) -> Any:
        return g - m * _mean(g, a) - y * total(g * y, a)

    rows: list[Row] = [
        ("missing scale", f"the factor {short}, the division by {s_words}, is missing from the gradient of x",
         lambda g, y, x, a, s: right(g, y, a)),
        ("wrong scale", f"divided by the square of {s_words}: its square root is missing",
         lambda g, y, x, a, s: right(g, y, a) / (s * s)),
        ("wrong axis", "the sums and means in the gradient run over another axis than the normalisation does",
         lambda g, y, x, a, s: _along_another(lambda b: right(g, y, b) / s, x, a)),
        ("forgotten normalisation", FORGOTTEN, lambda g, y, x, a, s: g),
        ("sign of a term", f"the term {term} has the wrong sign: here it is added",
         lambda g, y, x, a, s: (g - m * _mean(g, a) + y * total(g * y, a)) / s),
        ("missing mean", f"a sum stands where the mean ⟨ȳ x̂⟩ of the term {term} belongs",
         lambda g, y, x, a, s: (g - m * _mean(g, a) - y * _sum(g * y, a)) / s),
        ("superfluous mean", f"a mean ⟨ȳ x̂⟩ stands where the sum of the term {term} belongs",
         lambda g, y, x, a, s: (g - m * _mean(g, a) - y * _mean(g * y, a)) / s),
        ("not normalised",
         f"x stands where the normalised x̂ belongs: two divisions by {s_words} are missing from the term {term}",
         lambda g, y, x, a, s: (g - m * _mean(g, a) - x * total(g * x, a)) / s),
        ("not normalised", f"one division by {s_words} is missing from the term {term}: x stands for x̂ once",
         lambda g, y, x, a, s: (g - m * _mean(g, a) - x * total(g * y, a)) / s),
        ("missing sum", f"the sum (the upstream gradient's dot product with x̂) is missing from the norm's term {term}",
         lambda g, y, x, a, s: (g - m * _mean(g, a) - y) / s),
    ]  # fmt: skip
    if kind == "standardise":
        rows += [
            ("missing mean", "sums over the axis stand where the means ⟨·⟩ belong, in both terms",
             lambda g, y, x, a, s: (g - _sum(g, a) - y * _sum(g * y, a)) / s),
            ("missing terms through the mean and the variance",
             "the mean and the variance are taken as constants: only the direct term ȳ/σ is there",
             lambda g, y, x, a, s: g / s),
            ("missing term through the variance",
             f"the variance (standard deviation) is taken as a constant: the term {term} is missing",
             lambda g, y, x, a, s: (g - _mean(g, a)) / s),
            ("missing term through the mean", "the mean is taken as a constant: the term −⟨ȳ⟩/σ is missing",
             lambda g, y, x, a, s: (g - y * _mean(g * y, a)) / s),
        ]  # fmt: skip
    else:
        rows += [
            ("norm as a constant", f"{s_words} is taken as a constant: the term {term} is missing",
             lambda g, y, x, a, s: g / s),
            ("other function",
             "this is the gradient of layer norm, with a mean ⟨ȳ⟩ subtracted (centred); this norm has no mean",
             lambda g, y, x, a, s: (g - _mean(g, a) - y * total(g * y, a)) / s),
        ]  # fmt: skip
    return rows


for _kind in NORMS:
    _add(_kind, _of_norm(_kind), lambda rule: lambda g, y, x, axis, s: [rule(g, y, x, axis, s)], COMPOSED)
