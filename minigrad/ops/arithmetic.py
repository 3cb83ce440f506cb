r"""Elementwise ops.  With :math:`c = f(a, b)` entry by entry, :math:`\bar a = \bar c \odot \partial f / \partial a`.

Inputs broadcast as in NumPy; the engine sums each gradient over the axes along which its input was stretched.
In a rule, ``g`` is the upstream gradient and the letters are those of the formula.  NaN travels: where an input of a
maximum or a mask is NaN, so is the gradient.  The file has more than 300 lines because it is a list: an op takes five to ten,
and none needs another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from . import numerics
from .declare import Example, Op, example, op, recorded


def _broadcasting(rng: np.random.Generator) -> list[Example]:
    """Equal shapes, a missing axis, axes of size 1 on either side and both, numbers, no entries, no axes."""
    pairs = [
        ((3, 4), (3, 4)), ((3, 4), (4,)), ((1, 4), (3, 1)), ((2, 1, 3), (4, 1)), ((2, 3), (1, 1, 1)), ((0, 3), (3,)),
        ((), (2,)), ((), ()),
    ]  # fmt: skip
    return [example(rng.uniform(0.5, 1.5, a), rng.uniform(0.5, 1.5, b)) for a, b in pairs]


def _any_sign(rng: np.random.Generator) -> list[Example]:
    """Small and large, positive and negative, one alone."""
    return [example(rng.normal(size=(3, 4))), example(3 * rng.normal(size=5)), example(rng.normal(size=()))]


def _within(low: float, high: float) -> Callable[[np.random.Generator], list[Example]]:
    return lambda rng: [example(rng.uniform(low, high, (3, 4)))]


def elementwise(
    function: np.ufunc,
    formula: str,
    says: str,
    examples: Callable[[np.random.Generator], list[Example]] | None = None,
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
    declared = op(formula, numpy=[function, *also])(forward)
    declared.examples = examples or (None if function.nin == 1 else _broadcasting)
    return declared


@op(r"y = m \odot x", inputs=["x"])
def weigh(x, weights):
    """``x * weights``, and 0 where a weight is 0, even for an infinite ``x``: a mask makes no NaN of 0 · ∞."""
    with np.errstate(all="ignore"):
        y = np.multiply(x, weights, dtype=x.dtype)
        finite = np.isfinite(np.sum(y))
    return y if finite else np.where(weights, y, 0)


weigh.vjp("x", r"m \odot \bar y", lambda g, y, x, weights: weigh.on(g, weights))
weigh.examples = lambda rng: [
    example(rng.normal(size=(3, 4)), weights=w) for w in (rng.normal(size=4), rng.random((3, 4)) < 0.5)
]


def _nan_of(y: Any) -> Any:
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

mod = elementwise(
    np.remainder, r"c = a - \lfloor a / b \rfloor \odot b", "The remainder of ``a / b``, signed as ``b``.", name="mod",
    examples=lambda rng: [example(5 * rng.normal(size=(3, 4)), b * rng.uniform(1, 2, 4)) for b in (1, -1)],
)  # fmt: skip
mod.vjp("a", r"\bar c", lambda g, c, a, b: g)
mod.vjp("b", r"-\bar c \odot \lfloor a / b \rfloor", lambda g, c, a, b: -g * np.floor_divide(a, b))

negative = elementwise(np.negative, r"y = -x", "The negative ``-x``.")
negative.vjp("x", r"-\bar y", lambda g, y, x: -g)

reciprocal = elementwise(np.reciprocal, r"y = 1 / x", "One over every entry.")
reciprocal.vjp("x", r"-\bar y \odot y^2", lambda g, y, x: -g * (y * y))

square = elementwise(np.square, r"y = x^2", "The square of every entry.")
square.vjp("x", r"2 \bar y \odot x", lambda g, y, x: g * (2 * x))

sqrt = elementwise(np.sqrt, r"y = \sqrt{x}", "The square root of every entry.")
sqrt.vjp("x", r"\bar y / (2 y)", lambda g, y, x: g / (2 * y))


@op(r"y = \sqrt{x}")
def root(x):
    """The square root of a sum of squares: at 0, as at the kink of ``abs``, its derivative is taken as 0."""
    return np.sqrt(x)


root.vjp("x", r"\bar y / (2 y)", lambda g, y, x: weigh.on(g, np.not_equal(y, 0)) / (2 * (y + np.equal(y, 0))))

cbrt = elementwise(np.cbrt, r"y = \sqrt[3]{x}", "The cube root of every entry.")
cbrt.vjp("x", r"\bar y / (3 y^2)", lambda g, y, x: g / (3 * y * y))

power = elementwise(np.power, r"c = a^b", "The power ``a ** b``, entry by entry, broadcast.", also=[np.float_power])
power.examples = lambda rng: [
    *_broadcasting(rng),
    *(example(rng.normal(size=4), n) for n in (-1, 0, 1, 2, 3)),
    example(rng.normal(size=4), np.arange(4)),
    example(2, rng.normal(size=3)),
    example(np.array([23.0, 2, 3]), np.array([0.0, 1, 2])),  # where the derivative in the base has a factor of 0
]


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

exp2 = elementwise(np.exp2, r"y = 2^x", "Two to the power of every entry.")
exp2.vjp("x", r"\bar y \odot y \log 2", lambda g, y, x: g * (y * math.log(2)))

expm1 = elementwise(np.expm1, r"y = e^x - 1", "exp(x) − 1, exact for small x.")
expm1.vjp("x", r"\bar y \odot (y + 1)", lambda g, y, x: g * (y + 1))

log = elementwise(np.log, r"y = \log x", "The natural logarithm of every entry.")
log.vjp("x", r"\bar y / x", lambda g, y, x: g / x)

log2 = elementwise(np.log2, r"y = \log_2 x", "The logarithm of every entry to base 2.")
log2.vjp("x", r"\bar y / (x \log 2)", lambda g, y, x: g / (x * math.log(2)))

log10 = elementwise(np.log10, r"y = \log_{10} x", "The logarithm of every entry to base 10.")
log10.vjp("x", r"\bar y / (x \log 10)", lambda g, y, x: g / (x * math.log(10)))

log1p = elementwise(np.log1p, r"y = \log(1 + x)", "log(1 + x), exact for small x.")
log1p.vjp("x", r"\bar y / (1 + x)", lambda g, y, x: g / (1 + x))

logaddexp = elementwise(np.logaddexp, r"c = \log(e^a + e^b)", "log(exp(a) + exp(b)) without overflow, broadcast.")


def _share_of(x: Any, c: Any) -> Any:
    """exp(x − c), also where both are −∞."""
    return np.exp(x - np.where(np.isneginf(c), 0.0, c))


logaddexp.vjp("a", r"\bar c \odot e^{a - c}", lambda g, c, a, b: g * _share_of(a, c))
logaddexp.vjp("b", r"\bar c \odot e^{b - c}", lambda g, c, a, b: g * _share_of(b, c))

# Angles, in radians, and their hyperbolic relatives -------------------------------------------------------------------

sin = elementwise(np.sin, r"y = \sin x", "The sine of every entry (radians).", _any_sign)
sin.vjp("x", r"\bar y \odot \cos x", lambda g, y, x: g * np.cos(x))

cos = elementwise(np.cos, r"y = \cos x", "The cosine of every entry (radians).", _any_sign)
cos.vjp("x", r"-\bar y \odot \sin x", lambda g, y, x: -g * np.sin(x))

tan = elementwise(np.tan, r"y = \tan x", "The tangent of every entry (radians).", _within(-1, 1))
tan.vjp("x", r"\bar y \odot (1 + y^2)", lambda g, y, x: g * (1 + y * y))

arcsin = elementwise(np.arcsin, r"y = \arcsin x", "The angle in [−π/2, π/2] with this sine.", _within(-0.9, 0.9))
arcsin.vjp("x", r"\bar y / \sqrt{1 - x^2}", lambda g, y, x: g / np.sqrt(1 - x * x))

arccos = elementwise(np.arccos, r"y = \arccos x", "The angle in [0, π] with this cosine.", _within(-0.9, 0.9))
arccos.vjp("x", r"-\bar y / \sqrt{1 - x^2}", lambda g, y, x: -g / np.sqrt(1 - x * x))

arctan = elementwise(np.arctan, r"y = \arctan x", "The angle in (−π/2, π/2) with this tangent.", _any_sign)
arctan.vjp("x", r"\bar y / (1 + x^2)", lambda g, y, x: g / (1 + x * x))

arctan2 = elementwise(np.arctan2, r"c = \operatorname{angle}(b, a)", "The angle of the point (b, a), in (−π, π].")
arctan2.vjp("a", r"\bar c \odot b / (a^2 + b^2)", lambda g, c, a, b: g * b / (a * a + b * b))
arctan2.vjp("b", r"-\bar c \odot a / (a^2 + b^2)", lambda g, c, a, b: -g * a / (a * a + b * b))

hypot = elementwise(np.hypot, r"c = \sqrt{a^2 + b^2}", "The length of (a, b); its derivative at 0 is taken as 0.")
hypot.vjp("a", r"\bar c \odot a / c", lambda g, c, a, b: g * a / (c + np.equal(c, 0)))
hypot.vjp("b", r"\bar c \odot b / c", lambda g, c, a, b: g * b / (c + np.equal(c, 0)))

sinh = elementwise(np.sinh, r"y = \sinh x", "The hyperbolic sine of every entry.", _any_sign)
sinh.vjp("x", r"\bar y \odot \cosh x", lambda g, y, x: g * np.cosh(x))

cosh = elementwise(np.cosh, r"y = \cosh x", "The hyperbolic cosine of every entry.", _any_sign)
cosh.vjp("x", r"\bar y \odot \sinh x", lambda g, y, x: g * np.sinh(x))

tanh = elementwise(np.tanh, r"y = \tanh x", "The hyperbolic tangent of every entry.", _any_sign)
tanh.vjp("x", r"\bar y \odot (1 - y^2)", lambda g, y, x: g * (1 - y * y))

arcsinh = elementwise(np.arcsinh, r"y = \operatorname{arsinh} x", "The area hyperbolic sine.", _any_sign)
arcsinh.vjp("x", r"\bar y / \sqrt{x^2 + 1}", lambda g, y, x: g / np.sqrt(x * x + 1))

arccosh = elementwise(np.arccosh, r"y = \operatorname{arcosh} x", "The area hyperbolic cosine.", _within(1.5, 3))
arccosh.vjp("x", r"\bar y / \sqrt{x^2 - 1}", lambda g, y, x: g / np.sqrt(x * x - 1))

arctanh = elementwise(np.arctanh, r"y = \operatorname{artanh} x", "The area hyperbolic tangent.", _within(-0.9, 0.9))
arctanh.vjp("x", r"\bar y / (1 - x^2)", lambda g, y, x: g / (1 - x * x))


@op(r"y = \sigma(x) = 1 / (1 + e^{-x})")
def sigmoid(x):
    """The logistic function of every entry, without overflow for large |x|."""
    x = numerics.real(x)
    y = np.exp(-np.abs(x))
    return np.divide(np.maximum(y, np.greater_equal(x, 0)), 1 + y)


sigmoid.vjp("x", r"\bar y \odot y \odot (1 - y)", lambda g, y, x: g * (y * (1 - y)))
sigmoid.examples = _any_sign


@op(r"y = \operatorname{erf}(x) = \tfrac{2}{\sqrt\pi} \int_0^x e^{-t^2} dt")
def erf(x):
    """The error function of every entry, to the precision of its dtype."""
    return numerics.erf(x)


erf.vjp("x", r"\bar y \odot \tfrac{2}{\sqrt\pi} e^{-x^2}", lambda g, y, x: g * (2 / math.sqrt(math.pi) * np.exp(-x * x)))
erf.examples = _any_sign


# Kinks and masks ------------------------------------------------------------------------------------------------------

abs = elementwise(np.absolute, r"y = |x|", "|x|; its derivative at 0 is taken as 0.", _any_sign, "abs", [np.fabs])
abs.vjp("x", r"\bar y \odot m, \quad m = \operatorname{sign}(x)", lambda g, y, x: weigh.on(g, np.sign(x)))

maximum = elementwise(np.maximum, r"c = \max(a, b)", "The larger of two; where they tie, each gets half the gradient.")
minimum = elementwise(np.minimum, r"c = \min(a, b)", "The smaller of two; where they tie, each gets half the gradient.")


def _share(winner: Any, loser: Any, c: Any) -> Any:
    """1 where ``winner`` is larger, ½ where the two tie, 0 elsewhere: constants, also when given Tensors."""
    return 0.5 * np.greater(winner, loser) + 0.5 * np.greater_equal(winner, loser) + _nan_of(c)


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
relu.examples = _any_sign


@op(r"y = \min(\max(x, l), u)")
def clip(x, min=None, max=None):
    """``x`` limited to the interval from ``min`` to ``max``; outside, and on the bounds themselves, as at a kink, the
    gradient is 0 and 1 respectively."""
    low, high = (bound.item() if np.ndim(bound) == 0 and hasattr(bound, "item") else bound for bound in (min, max))
    return np.clip(x, low, high)  # a bound that is a number promotes nothing


def _clip(g: Any, y: Any, x: Any, min: Any = None, max: Any = None) -> Any:
    return weigh.on(g, np.equal(x, y) + _nan_of(y))


clip.vjp("x", r"\bar y \odot m, \quad m = [l \le x \le u]", _clip)
clip.examples = lambda rng: [
    example(rng.normal(size=(3, 4)), min=-0.5, max=0.5),
    example(rng.normal(size=5), max=0.2),
    example(rng.normal(size=5), min=0.2),
    example(rng.normal(size=(3, 4)), min=np.array([-0.5, 0.0, 0.1, -9.0]), max=np.ones((3, 1))),
]


@op(r"y = a \text{ where } m, \text{ else } b", inputs=["a", "b"])
def select(a, b, condition):
    """``a`` where ``condition`` holds and ``b`` elsewhere, all broadcast."""
    return np.where(condition, a, b)


select.vjp("a", r"\bar y \odot m", lambda g, y, a, b, condition: weigh.on(g, condition))
select.vjp("b", r"\bar y \odot (1 - m)", lambda g, y, a, b, condition: weigh.on(g, np.logical_not(condition)))
select.examples = lambda rng: [
    Example((rng.normal(size=a), rng.normal(size=b)), {"condition": rng.random(c) < 0.5})
    for a, b, c in [((3, 4), (3, 4), (3, 4)), ((4,), (3, 1), (2, 1, 1)), ((), (2, 3), (3,)), ((1, 3), (3,), (2, 1))]
]


@op(r"y = x \text{ in another precision}", inputs=["x"])
def astype(x, dtype):
    """``x`` in another floating-point precision; the gradient comes back in that of ``x``."""
    return x.astype(dtype)


astype.vjp("x", r"\bar y", lambda g, y, x, dtype: g.astype(x.dtype))
astype.examples = lambda rng: [example(rng.normal(size=(2, 3)), dtype=np.float64)]


def where(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where ``condition`` (boolean, broadcast) holds and ``b`` elsewhere."""
    return select(a, b, as_mask(condition))


@partial(recorded, shown="{0}")
def as_mask(condition):
    """Booleans of our own: the owner of ``condition`` may change it before the backward pass."""
    return np.array(condition, bool)
