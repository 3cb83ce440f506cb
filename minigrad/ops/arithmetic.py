r"""Elementwise ops.  With :math:`c = f(a, b)` entry by entry, :math:`\bar a = \bar c \odot \partial f / \partial a`.

Inputs broadcast as in NumPy; the engine sums each gradient over the axes along which its input was stretched.
In a rule, ``g`` is the upstream gradient and the letters are those of the formula.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from . import numerics
from .declare import Example, example, op, recorded


def _broadcasting(rng: np.random.Generator) -> list[Example]:
    """Equal shapes, a missing axis, axes of size 1 on either side and both, numbers, no entries, no axes."""
    pairs = [((3, 4), (3, 4)), ((3, 4), (4,)), ((1, 4), (3, 1)), ((2, 1, 3), (4, 1)), ((2, 3), (1, 1, 1)), ((0, 3), (3,)), ((), (2,)), ((), ())]
    return [example(rng.uniform(0.5, 1.5, a), rng.uniform(0.5, 1.5, b)) for a, b in pairs]


def _any_sign(rng: np.random.Generator) -> list[Example]:
    """Small and large, positive and negative, one alone."""
    return [example(rng.normal(size=(3, 4))), example(3 * rng.normal(size=5)), example(rng.normal(size=()))]


@op(r"c = a + b", numpy=[np.add])
def add(a, b):
    """The sum ``a + b``, broadcast."""
    return np.add(a, b)


add.vjp("a", r"\bar c", lambda g, c, a, b: g)
add.vjp("b", r"\bar c", lambda g, c, a, b: g)
add.examples = _broadcasting


@op(r"c = a - b", numpy=[np.subtract])
def subtract(a, b):
    """The difference ``a - b``, broadcast."""
    return np.subtract(a, b)


subtract.vjp("a", r"\bar c", lambda g, c, a, b: g)
subtract.vjp("b", r"-\bar c", lambda g, c, a, b: -g)
subtract.examples = _broadcasting


@op(r"c = a \odot b", numpy=[np.multiply])
def multiply(a, b):
    """The product ``a * b``, entry by entry, broadcast."""
    return np.multiply(a, b)


multiply.vjp("a", r"\bar c \odot b", lambda g, c, a, b: g * b)
multiply.vjp("b", r"\bar c \odot a", lambda g, c, a, b: g * a)
multiply.examples = _broadcasting


@op(r"c = a / b", numpy=[np.divide])
def divide(a, b):
    """The quotient ``a / b``, entry by entry, broadcast."""
    return np.divide(a, b)


divide.vjp("a", r"\bar c / b", lambda g, c, a, b: g / b)
divide.vjp("b", r"-\bar c \odot c / b", lambda g, c, a, b: -g * c / b)
divide.examples = _broadcasting


@op(r"y = -x", numpy=[np.negative])
def negative(x):
    """The negative ``-x``."""
    return np.negative(x)


negative.vjp("x", r"-\bar y", lambda g, y, x: -g)


def _log_of_base(a: Any) -> Any:
    """log a where a > 0, and 0 elsewhere: 0ᵇ and negative bases have no derivative in the exponent."""
    a = a if hasattr(a, "shape") else np.asarray(a)
    positive = np.greater(a, 0)
    return np.log(a * positive + ~positive) * positive


def _power_base(g: Any, c: Any, a: Any, b: Any) -> Any:
    if isinstance(b, int | float):
        return g if b == 1 else g * (2 * a) if b == 2 else g * (b * a ** (b - 1)) if b else g * 0
    exponent = np.subtract(b, np.not_equal(b, 0).astype(np.int8))  # b = 0: the derivative is 0 · a⁰, also at a = 0
    return g * (b * a**exponent)


@op(r"c = a^b", numpy=[np.power, np.float_power])
def power(a, b):
    """The power ``a ** b``, entry by entry, broadcast."""
    return np.power(a, b)


power.vjp("a", r"\bar c \odot b \odot a^{b-1}", _power_base)
power.vjp("b", r"\bar c \odot c \odot \log a", lambda g, c, a, b: g * c * _log_of_base(a))
power.examples = lambda rng: [
    *_broadcasting(rng),
    *(example(rng.normal(size=4), n) for n in (-1, 0, 1, 2, 3)),
    example(rng.normal(size=4), np.arange(4)),
    example(2, rng.normal(size=3)),
]


@op(r"y = e^x", numpy=[np.exp])
def exp(x):
    """The exponential of every entry."""
    return np.exp(x)


exp.vjp("x", r"\bar y \odot y", lambda g, y, x: g * y)


@op(r"y = \log x", numpy=[np.log])
def log(x):
    """The natural logarithm of every entry."""
    return np.log(x)


log.vjp("x", r"\bar y / x", lambda g, y, x: g / x)


@op(r"y = \log(1 + x)", numpy=[np.log1p])
def log1p(x):
    """log(1 + x), exact for small x."""
    return np.log1p(x)


log1p.vjp("x", r"\bar y / (1 + x)", lambda g, y, x: g / (1 + x))


@op(r"y = e^x - 1", numpy=[np.expm1])
def expm1(x):
    """exp(x) − 1, exact for small x."""
    return np.expm1(x)


expm1.vjp("x", r"\bar y \odot (y + 1)", lambda g, y, x: g * (y + 1))


@op(r"y = \sqrt{x}", numpy=[np.sqrt])
def sqrt(x):
    """The square root of every entry."""
    return np.sqrt(x)


sqrt.vjp("x", r"\bar y / (2 y)", lambda g, y, x: g / (2 * y))


@op(r"y = x^2", numpy=[np.square])
def square(x):
    """The square of every entry."""
    return np.square(x)


square.vjp("x", r"2 \bar y \odot x", lambda g, y, x: g * (2 * x))


@op(r"y = 1 / x", numpy=[np.reciprocal])
def reciprocal(x):
    """One over every entry."""
    return np.reciprocal(x)


reciprocal.vjp("x", r"-\bar y \odot y^2", lambda g, y, x: -g * (y * y))


@op(r"y = \sin x", numpy=[np.sin])
def sin(x):
    """The sine of every entry (radians)."""
    return np.sin(x)


sin.vjp("x", r"\bar y \odot \cos x", lambda g, y, x: g * np.cos(x))
sin.examples = _any_sign


@op(r"y = \cos x", numpy=[np.cos])
def cos(x):
    """The cosine of every entry (radians)."""
    return np.cos(x)


cos.vjp("x", r"-\bar y \odot \sin x", lambda g, y, x: -g * np.sin(x))
cos.examples = _any_sign


@op(r"y = \tanh x", numpy=[np.tanh])
def tanh(x):
    """The hyperbolic tangent of every entry."""
    return np.tanh(x)


tanh.vjp("x", r"\bar y \odot (1 - y^2)", lambda g, y, x: g * (1 - y * y))
tanh.examples = _any_sign


@op(r"y = \sigma(x) = 1 / (1 + e^{-x})")
def sigmoid(x):
    """The logistic function of every entry, without overflow for large |x|."""
    y = np.exp(-np.abs(x))
    return np.divide(np.maximum(y, np.greater_equal(x, 0)), 1 + y)


sigmoid.vjp("x", r"\bar y \odot y \odot (1 - y)", lambda g, y, x: g * (y * (1 - y)))
sigmoid.examples = _any_sign


@op(r"y = |x|", numpy=[np.abs, np.fabs])
def abs(x):
    """The absolute value of every entry; its derivative at 0 is taken as 0."""
    return np.abs(x)


abs.vjp("x", r"\bar y \odot m, \quad m = \operatorname{sign}(x)", lambda g, y, x: g * np.sign(x))
abs.examples = _any_sign


@op(r"y = \operatorname{erf}(x) = \tfrac{2}{\sqrt\pi} \int_0^x e^{-t^2} dt")
def erf(x):
    """The error function of every entry, to the precision of its dtype."""
    return numerics.erf(x)


erf.vjp("x", r"\bar y \odot \tfrac{2}{\sqrt\pi} e^{-x^2}", lambda g, y, x: g * (2 / math.sqrt(math.pi) * np.exp(-x * x)))
erf.examples = _any_sign


def _share(winner: Any, loser: Any) -> Any:
    """1 where ``winner`` is larger, ½ where the two tie, 0 elsewhere: constants, also when given Tensors."""
    return 0.5 * np.greater(winner, loser) + 0.5 * np.greater_equal(winner, loser)


@op(r"c = \max(a, b)", numpy=[np.maximum])
def maximum(a, b):
    """The larger of ``a`` and ``b``, entry by entry; where they tie, each gets half the gradient."""
    return np.maximum(a, b)


maximum.vjp("a", r"\bar c \odot m, \quad m = [a > b] + \tfrac12 [a = b]", lambda g, c, a, b: g * _share(a, b))
maximum.vjp("b", r"\bar c \odot k, \quad k = [b > a] + \tfrac12 [a = b]", lambda g, c, a, b: g * _share(b, a))
maximum.examples = _broadcasting


@op(r"c = \min(a, b)", numpy=[np.minimum])
def minimum(a, b):
    """The smaller of ``a`` and ``b``, entry by entry; where they tie, each gets half the gradient."""
    return np.minimum(a, b)


minimum.vjp("a", r"\bar c \odot m, \quad m = [a < b] + \tfrac12 [a = b]", lambda g, c, a, b: g * _share(b, a))
minimum.vjp("b", r"\bar c \odot k, \quad k = [b < a] + \tfrac12 [a = b]", lambda g, c, a, b: g * _share(a, b))
minimum.examples = _broadcasting


@op(r"y = \max(x, 0)")
def relu(x):
    """The positive part of every entry; the derivative at 0 is taken as 0."""
    return np.maximum(x, 0)


relu.vjp("x", r"\bar y \odot m, \quad m = [x > 0]", lambda g, y, x: g * np.greater(y, 0))
relu.examples = _any_sign


@op(r"y = \min(\max(x, l), u)")
def clip(x, min=None, max=None):
    """``x`` limited to the interval from ``min`` to ``max``; outside, and on the bounds themselves, as at a kink, the
    gradient is 0 and 1 respectively."""
    return np.clip(x, min, max)


clip.vjp("x", r"\bar y \odot m, \quad m = [l \le x \le u]", lambda g, y, x, min=None, max=None: g * np.equal(x, y))
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


select.vjp("a", r"\bar y \odot m", lambda g, y, a, b, condition: g * condition)
select.vjp("b", r"\bar y \odot (1 - m)", lambda g, y, a, b, condition: g * np.logical_not(condition))
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
