r"""NumPy's functions that have a rule of their own and that a Transformer does without; those without one are in ``functions``.

Rules are written as in ``ops``: ``g`` is the upstream gradient, and the letters are those of the formula.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ops.arithmetic import elementwise, multiply, nan_of, weigh
from ..ops.declare import op
from ..ops.reductions import Axis, axes_of, count, stretch, sum

# Elementwise -----------------------------------------------------------------------------------------------------------

mod = elementwise(
    np.remainder, r"c = a - \lfloor a / b \rfloor \odot b", "The remainder of ``a / b``, signed as ``b``.", "mod"
)
mod.vjp("a", r"\bar c", lambda g, c, a, b: g)
mod.vjp("b", r"-\bar c \odot \lfloor a / b \rfloor", lambda g, c, a, b: -g * np.floor_divide(a, b))

reciprocal = elementwise(np.reciprocal, r"y = 1 / x", "One over every entry.")
reciprocal.vjp("x", r"-\bar y \odot y^2", lambda g, y, x: -g * (y * y))

square = elementwise(np.square, r"y = x^2", "The square of every entry.")
square.vjp("x", r"2 \bar y \odot x", lambda g, y, x: g * (2 * x))

cbrt = elementwise(np.cbrt, r"y = \sqrt[3]{x}", "The cube root of every entry.")
cbrt.vjp("x", r"\bar y / (3 y^2)", lambda g, y, x: g / (3 * y * y))

exp2 = elementwise(np.exp2, r"y = 2^x", "Two to the power of every entry.")
exp2.vjp("x", r"\bar y \odot y \log 2", lambda g, y, x: g * (y * math.log(2)))

expm1 = elementwise(np.expm1, r"y = e^x - 1", "exp(x) − 1, exact for small x.")
expm1.vjp("x", r"\bar y \odot (y + 1)", lambda g, y, x: g * (y + 1))

log2 = elementwise(np.log2, r"y = \log_2 x", "The logarithm of every entry to base 2.")
log2.vjp("x", r"\bar y / (x \log 2)", lambda g, y, x: g / (x * math.log(2)))

log10 = elementwise(np.log10, r"y = \log_{10} x", "The logarithm of every entry to base 10.")
log10.vjp("x", r"\bar y / (x \log 10)", lambda g, y, x: g / (x * math.log(10)))

logaddexp = elementwise(np.logaddexp, r"c = \log(e^a + e^b)", "log(exp(a) + exp(b)) without overflow, broadcast.")


def _share_of(x: Any, c: Any) -> Any:
    """exp(x − c), also where both are −∞."""
    return np.exp(x - np.where(np.isneginf(c), 0.0, c))


logaddexp.vjp("a", r"\bar c \odot e^{a - c}", lambda g, c, a, b: g * _share_of(a, c))
logaddexp.vjp("b", r"\bar c \odot e^{b - c}", lambda g, c, a, b: g * _share_of(b, c))

# Angles, in radians, and their hyperbolic relatives -------------------------------------------------------------------

sin = elementwise(np.sin, r"y = \sin x", "The sine of every entry (radians).")
sin.vjp("x", r"\bar y \odot \cos x", lambda g, y, x: g * np.cos(x))

cos = elementwise(np.cos, r"y = \cos x", "The cosine of every entry (radians).")
cos.vjp("x", r"-\bar y \odot \sin x", lambda g, y, x: -g * np.sin(x))

tan = elementwise(np.tan, r"y = \tan x", "The tangent of every entry (radians).")
tan.vjp("x", r"\bar y \odot (1 + y^2)", lambda g, y, x: g * (1 + y * y))

arcsin = elementwise(np.arcsin, r"y = \arcsin x", "The angle in [−π/2, π/2] with this sine.")
arcsin.vjp("x", r"\bar y / \sqrt{1 - x^2}", lambda g, y, x: g / np.sqrt(1 - x * x))

arccos = elementwise(np.arccos, r"y = \arccos x", "The angle in [0, π] with this cosine.")
arccos.vjp("x", r"-\bar y / \sqrt{1 - x^2}", lambda g, y, x: -g / np.sqrt(1 - x * x))

arctan = elementwise(np.arctan, r"y = \arctan x", "The angle in (−π/2, π/2) with this tangent.")
arctan.vjp("x", r"\bar y / (1 + x^2)", lambda g, y, x: g / (1 + x * x))

arctan2 = elementwise(np.arctan2, r"c = \operatorname{angle}(b, a)", "The angle of the point (b, a), in (−π, π].")
arctan2.vjp("a", r"\bar c \odot b / (a^2 + b^2)", lambda g, c, a, b: g * b / (a * a + b * b))
arctan2.vjp("b", r"-\bar c \odot a / (a^2 + b^2)", lambda g, c, a, b: -g * a / (a * a + b * b))

hypot = elementwise(np.hypot, r"c = \sqrt{a^2 + b^2}", "The length of (a, b); its derivative at 0 is taken as 0.")
hypot.vjp("a", r"\bar c \odot a / c", lambda g, c, a, b: g * a / (c + np.equal(c, 0)))
hypot.vjp("b", r"\bar c \odot b / c", lambda g, c, a, b: g * b / (c + np.equal(c, 0)))

sinh = elementwise(np.sinh, r"y = \sinh x", "The hyperbolic sine of every entry.")
sinh.vjp("x", r"\bar y \odot \cosh x", lambda g, y, x: g * np.cosh(x))

cosh = elementwise(np.cosh, r"y = \cosh x", "The hyperbolic cosine of every entry.")
cosh.vjp("x", r"\bar y \odot \sinh x", lambda g, y, x: g * np.sinh(x))

arcsinh = elementwise(np.arcsinh, r"y = \operatorname{arsinh} x", "The area hyperbolic sine.")
arcsinh.vjp("x", r"\bar y / \sqrt{x^2 + 1}", lambda g, y, x: g / np.sqrt(x * x + 1))

arccosh = elementwise(np.arccosh, r"y = \operatorname{arcosh} x", "The area hyperbolic cosine.")
arccosh.vjp("x", r"\bar y / \sqrt{x^2 - 1}", lambda g, y, x: g / np.sqrt(x * x - 1))

arctanh = elementwise(np.arctanh, r"y = \operatorname{artanh} x", "The area hyperbolic tangent.")
arctanh.vjp("x", r"\bar y / (1 - x^2)", lambda g, y, x: g / (1 - x * x))


@op(r"y = \min(\max(x, l), u)")
def clip(x, min=None, max=None):
    """``x`` limited to the interval from ``min`` to ``max``; outside, and on the bounds themselves, as at a kink, the
    gradient is 0 and 1 respectively."""
    low, high = (bound.item() if np.ndim(bound) == 0 and hasattr(bound, "item") else bound for bound in (min, max))
    return np.clip(x, low, high)  # a bound that is a number promotes nothing


def _clip(g: Any, y: Any, x: Any, min: Any = None, max: Any = None) -> Any:
    return weigh.on(g, np.equal(x, y) + nan_of(y))


clip.vjp("x", r"\bar y \odot m, \quad m = [l \le x \le u]", _clip)


# Variance, and roots of sums of squares -------------------------------------------------------------------------------


@op(r"y = \tfrac1{n - \mathrm{ddof}} \sum_i (x_i - \mu)^2", numpy=[np.var])
def var(x, axis=None, keepdims=False, ddof=0):
    """The variance over ``axis``: squared distances from the mean, summed and divided by ``n - ddof``."""
    if count(x.shape, axis) <= ddof:
        raise ValueError(f"var: {count(x.shape, axis)} entries with ddof={ddof} (shape {x.shape}, axis {axis}); needs more than ddof")
    first = x[tuple(slice(1) if i in axes_of(axis, x.ndim) else slice(None) for i in range(x.ndim))]
    return np.var(x - first, axis=axis, keepdims=keepdims, ddof=ddof)  # of equal numbers 0, without round-off


def _var(g: Any, y: Any, x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    centred = x - x.mean(axis=axis, keepdims=True)
    return stretch(g, x.shape, axis) * (2 / (count(x.shape, axis) - ddof)) * centred


var.vjp("x", r"\tfrac{2}{n - \mathrm{ddof}} \, \bar y \, (x_i - \mu)", _var)


@op(r"y = \sqrt{x}")
def root(x):
    """The square root of a sum of squares: at 0, as at the kink of ``abs``, its derivative is taken as 0."""
    return np.sqrt(x)


root.vjp("x", r"\bar y / (2 y)", lambda g, y, x: weigh.on(g, np.not_equal(y, 0)) / (2 * (y + np.equal(y, 0))))


def std(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """The standard deviation over ``axis``; where all entries are equal, its derivative is taken as 0."""
    return root(var(x, axis=axis, keepdims=keepdims, ddof=ddof))


def norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The Euclidean norm, √Σx², over ``axis``; its derivative at 0 is taken as 0."""
    return root(sum(multiply(x, x), axis=axis, keepdims=keepdims))


# Running sums and products ---------------------------------------------------------------------------------------------


@op(r"y_i = \sum_{j \le i} x_j", numpy=[np.cumsum])
def cumsum(x, axis=None):
    """The running sum along ``axis`` (over the flattened array when None)."""
    return np.cumsum(x, axis=axis)


def _cumsum(g: Any, y: Any, x: Any, axis: int | None = None) -> Any:
    along = 0 if axis is None else axis
    after = np.flip(np.cumsum(np.flip(g, along), along), along)
    return after.reshape(x.shape)


cumsum.vjp("x", r"\sum_{j \ge i} \bar y_j", _cumsum)


@op(r"y = \prod_i x_i", numpy=[np.prod])
def prod(x, axis=None, keepdims=False):
    """The product over ``axis``; exact also where entries are 0."""
    return np.prod(x, axis=axis, keepdims=keepdims)


def _prod(g: Any, y: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The product of all the others: running products from the left and from the right."""
    if not x.size:
        return np.broadcast_to(stretch(g, x.shape, axis), x.shape)
    reduced = axes_of(axis, x.ndim)
    kept = tuple(i for i in range(x.ndim) if i not in reduced)
    order = kept + reduced
    rows = x.transpose(order).reshape(*(x.shape[i] for i in kept), -1)
    n = rows.shape[-1]
    others = [rows[..., :0].sum(axis=-1) + 1] * n
    left = right = others[0]
    for i in range(n):
        others[i] = others[i] * left
        left = left * rows[..., i]
    for i in reversed(range(n)):
        others[i] = others[i] * right
        right = right * rows[..., i]
    stacked = np.stack(others, axis=-1).reshape(tuple(x.shape[i] for i in order))
    return stretch(g, x.shape, axis) * stacked.transpose(tuple(int(i) for i in np.argsort(order)))


prod.vjp("x", r"\bar y \prod_{j \ne i} x_j", _prod)


@op(r"y_i = \prod_{j \le i} x_j", numpy=[np.cumprod])
def cumprod(x, axis=None):
    """The running product along ``axis`` (over the flattened array when None)."""
    return np.cumprod(x, axis=axis)


def _cumprod(g: Any, y: Any, x: Any, axis: int | None = None) -> Any:
    r"""With :math:`s_k = \bar y_k + x_{k+1} s_{k+1}`, :math:`\bar x_k = s_k \prod_{j<k} x_j`: exact also at 0."""
    if not x.size:
        return g.reshape(x.shape)
    along = 0 if axis is None else axis
    rows = x.reshape(-1) if axis is None or not x.ndim else np.moveaxis(x, axis, 0)
    g = np.moveaxis(g, along, 0)
    sums, before = [g[-1]], 1
    for k in reversed(range(len(rows) - 1)):
        sums.append(g[k] + rows[k + 1] * sums[-1])
    parts = []
    for row, total in zip(rows, reversed(sums), strict=True):
        parts.append(before * total)
        before = before * row
    return np.moveaxis(np.stack(parts), 0, along).reshape(x.shape)


cumprod.vjp("x", r"\sum_{j \ge i} \bar y_j \prod_{k \le j, k \ne i} x_k", _cumprod)


# Margins, triangles, reversed axes -------------------------------------------------------------------------------------


@op(r"y = x \text{ with a margin}", inputs=["x"], numpy=[np.pad])
def pad(x, pad_width, mode="constant", constant_values=0):
    """``x`` with ``pad_width`` = ((before, after), …) entries of ``constant_values`` around it, as in NumPy."""
    if mode != "constant":
        raise ValueError(f"pad: mode {mode!r} is not differentiable here; use 'constant'")
    return np.pad(x, pad_width, constant_values=constant_values)


def _pad(g: Any, y: Any, x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    if isinstance(pad_width, dict):
        pad_width = [next((w for a, w in pad_width.items() if a % x.ndim == i), (0, 0)) for i in range(x.ndim)]
        pad_width = [(w, w) if isinstance(w, int) else w for w in pad_width]
    before = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))[:, 0]
    return g[tuple(slice(int(b), int(b) + n) for b, n in zip(before, x.shape, strict=True))]


pad.vjp("x", r"\bar y \text{ without the margin}", _pad)


@op(r"y_{ij} = x_{ij} \text{ for } j \le i + k, \text{ else } 0", numpy=[np.tril])
def tril(x, k=0):
    """The lower triangle of the last two axes: zeros above the ``k``-th diagonal."""
    return np.tril(x, k)


tril.vjp("x", r"\bar y_{ij} \text{ for } j \le i + k, \text{ else } 0", lambda g, y, x, k=0: np.tril(g, k))


@op(r"y_{ij} = x_{ij} \text{ for } j \ge i + k, \text{ else } 0", numpy=[np.triu])
def triu(x, k=0):
    """The upper triangle of the last two axes: zeros below the ``k``-th diagonal."""
    return np.triu(x, k)


triu.vjp("x", r"\bar y_{ij} \text{ for } j \ge i + k, \text{ else } 0", lambda g, y, x, k=0: np.triu(g, k))


@op(r"y_i = x_{n-1-i}", numpy=[np.flip])
def flip(x, axis=None):
    """``x`` in reverse order along ``axis`` (all axes when None)."""
    return np.flip(x, axis)


flip.vjp("x", r"\bar y_{n-1-i}", lambda g, y, x, axis=None: np.flip(g, axis))
