r"""Elementwise ops.  With :math:`c = f(a, b)` entry by entry, :math:`\bar a = \bar c \odot \partial f / \partial a`.

Inputs broadcast as in NumPy; the engine sums each gradient over the axes along which its input was stretched.
In a rule, ``g`` is the upstream gradient and the letters are those of the formula.  NaN travels: where an input of a
maximum or a mask is NaN, so is the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from .. import numerics
from .declare import Op, op, recorded


def elementwise(
    function: np.ufunc,
    formula: str,
    says: str,
    name: str = "",
    also: Iterable[np.ufunc] = (),
) -> Op[Any]:
    """Declare the op that a ufunc of ``x``, or of ``a`` and ``b``, is; ``also`` are other ufuncs that mean the same."""

    def of_one(x):
        return function(x)

    def of_two(a, b):
        return function(a, b)

    forward = of_one if function.nin == 1 else of_two
    forward.__name__ = forward.__qualname__ = name or function.__name__
    forward.__doc__ = says
    return op(formula, numpy=[function, *also])(forward)


@op(r"y = m \odot x", inputs=["x"])
def weigh(x, weights):
    """``x * weights``, and 0 where a weight is 0, even for an infinite ``x``: a mask makes no NaN of 0 · ∞."""
    with np.errstate(all="ignore"):
        y = np.multiply(x, weights, dtype=x.dtype)
        finite = np.isfinite(np.sum(y))
    return y if finite else np.where(weights, y, 0)


weigh.vjp("x", r"m \odot \bar y", lambda g, y, x, weights: weigh.on(g, weights))


def nan_of(y: Any) -> Any:
    """0, and NaN where ``y`` is NaN, as a constant to add to the weights of a mask."""
    return 0 * np.sign(y)


# Arithmetic -----------------------------------------------------------------------------------------------------------

add = elementwise(np.add, r"c = a + b", "The sum ``a + b``, broadcast.")
add.vjp("a", r"\bar c", lambda g, c, a, b: g)
add.vjp("b", r"\bar c", lambda g, c, a, b: g)

subtract = elementwise(np.subtract, r"c = a - b", "The difference ``a - b``, broadcast.")
subtract.vjp("a", r"\bar c", lambda g, c, a, b: g)
subtract.vjp("b", r"-\bar c", lambda g, c, a, b: -g)

multiply = elementwise(np.multiply, r"c = a \odot b", "The product ``a * b``, entry by entry, broadcast.")
multiply.vjp("a", r"\bar c \odot b", lambda g, c, a, b: g * b)
multiply.vjp("b", r"\bar c \odot a", lambda g, c, a, b: g * a)

divide = elementwise(np.divide, r"c = a / b", "The quotient ``a / b``, entry by entry, broadcast.")
divide.vjp("a", r"\bar c / b", lambda g, c, a, b: g / b)
divide.vjp("b", r"-\bar c \odot c / b", lambda g, c, a, b: -g * c / b)

negative = elementwise(np.negative, r"y = -x", "The negative ``-x``.")
negative.vjp("x", r"-\bar y", lambda g, y, x: -g)

sqrt = elementwise(np.sqrt, r"y = \sqrt{x}", "The square root of every entry.")
sqrt.vjp("x", r"\bar y / (2 y)", lambda g, y, x: g / (2 * y))

power = elementwise(np.power, r"c = a^b", "The power ``a ** b``, entry by entry, broadcast.", also=[np.float_power])


def _log_of_base(a: Any) -> Any:
    """log a where a > 0, and 0 elsewhere: 0ᵇ and negative bases have no derivative in the exponent."""
    return np.log(np.where(np.greater(a, 0), a, 1.0))


def _power_base(g: Any, c: Any, a: Any, b: Any) -> Any:
    if isinstance(b, int | float):
        return g if b == 1 else g * (2 * a) if b == 2 else g * (b * a ** (b - 1)) if b else weigh.on(g, 0.0)
    both = np.logical_and(np.equal(a, 0), np.equal(b, 0))  # at 0⁰, b a^(b-1) would be 0 · ∞; it is taken as 0
    return g * (b * (a + both) ** np.subtract(b, 1.0))


power.vjp("a", r"\bar c \odot b \odot a^{b-1}", _power_base)
power.vjp("b", r"\bar c \odot c \odot \log a", lambda g, c, a, b: g * c * _log_of_base(a))

# Exponentials and logarithms ------------------------------------------------------------------------------------------

exp = elementwise(np.exp, r"y = e^x", "The exponential of every entry.")
exp.vjp("x", r"\bar y \odot y", lambda g, y, x: g * y)

log = elementwise(np.log, r"y = \log x", "The natural logarithm of every entry.")
log.vjp("x", r"\bar y / x", lambda g, y, x: g / x)

log1p = elementwise(np.log1p, r"y = \log(1 + x)", "log(1 + x), exact for small x.")
log1p.vjp("x", r"\bar y / (1 + x)", lambda g, y, x: g / (1 + x))

tanh = elementwise(np.tanh, r"y = \tanh x", "The hyperbolic tangent of every entry.")
tanh.vjp("x", r"\bar y \odot (1 - y^2)", lambda g, y, x: g * (1 - y * y))


@op(r"y = \sigma(x) = 1 / (1 + e^{-x})")
def sigmoid(x):
    """The logistic function of every entry, without overflow for large |x|."""
    x = numerics.real(x)
    y = np.exp(-np.abs(x))
    return np.divide(np.maximum(y, np.greater_equal(x, 0)), 1 + y)


sigmoid.vjp("x", r"\bar y \odot y \odot (1 - y)", lambda g, y, x: g * (y * (1 - y)))


@op(r"y = \operatorname{erf}(x) = \tfrac{2}{\sqrt\pi} \int_0^x e^{-t^2} dt")
def erf(x):
    """The error function of every entry, to the precision of its dtype."""
    return numerics.erf(x)


erf.vjp("x", r"\bar y \odot \tfrac{2}{\sqrt\pi} e^{-x^2}", lambda g, y, x: g * (2 / math.sqrt(math.pi) * np.exp(-x * x)))

# Kinks and masks ------------------------------------------------------------------------------------------------------

abs = elementwise(np.absolute, r"y = |x|", "|x|; its derivative at 0 is taken as 0.", "abs", [np.fabs])
abs.vjp("x", r"\bar y \odot m, \quad m = \operatorname{sign}(x)", lambda g, y, x: weigh.on(g, np.sign(x)))

maximum = elementwise(np.maximum, r"c = \max(a, b)", "The larger of two; where they tie, each gets half the gradient.")
minimum = elementwise(np.minimum, r"c = \min(a, b)", "The smaller of two; where they tie, each gets half the gradient.")


def _share(winner: Any, loser: Any, c: Any) -> Any:
    """1 where ``winner`` is larger, ½ where the two tie, 0 elsewhere: constants, also when given Tensors."""
    return 0.5 * np.greater(winner, loser) + 0.5 * np.greater_equal(winner, loser) + nan_of(c)


maximum.vjp(
    "a", r"\bar c \odot m, \quad m = [a > b] + \tfrac12 [a = b]", lambda g, c, a, b: weigh.on(g, _share(a, b, c))
)
maximum.vjp(
    "b", r"\bar c \odot k, \quad k = [b > a] + \tfrac12 [a = b]", lambda g, c, a, b: weigh.on(g, _share(b, a, c))
)
minimum.vjp(
    "a", r"\bar c \odot m, \quad m = [a < b] + \tfrac12 [a = b]", lambda g, c, a, b: weigh.on(g, _share(b, a, c))
)
minimum.vjp(
    "b", r"\bar c \odot k, \quad k = [b < a] + \tfrac12 [a = b]", lambda g, c, a, b: weigh.on(g, _share(a, b, c))
)


@op(r"y = \max(x, 0)")
def relu(x):
    """The positive part of every entry; the derivative at 0 is taken as 0."""
    return np.maximum(x, 0)


relu.vjp("x", r"\bar y \odot m, \quad m = [x > 0]", lambda g, y, x: weigh.on(g, np.sign(y)))


@op(r"y = a \text{ where } m, \text{ else } b", inputs=["a", "b"])
def select(a, b, condition):
    """``a`` where ``condition`` holds and ``b`` elsewhere, all broadcast."""
    return np.where(condition, a, b)


select.vjp("a", r"\bar y \odot m", lambda g, y, a, b, condition: weigh.on(g, condition))
select.vjp("b", r"\bar y \odot (1 - m)", lambda g, y, a, b, condition: weigh.on(g, np.logical_not(condition)))


@op(r"y = x \text{ in another precision}", inputs=["x"])
def astype(x, dtype):
    """``x`` in another floating-point precision; the gradient comes back in that of ``x``."""
    return x.astype(dtype)


astype.vjp("x", r"\bar y", lambda g, y, x, dtype: g.astype(x.dtype))


def where(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where ``condition`` (boolean, broadcast) holds and ``b`` elsewhere."""
    return select(a, b, as_mask(condition))


@partial(recorded, shown="{0}")
def as_mask(condition):
    """Booleans of our own: the owner of ``condition`` may change it before the backward pass."""
    return np.array(condition, bool)
