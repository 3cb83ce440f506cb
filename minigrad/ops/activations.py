r"""Smooth activations: with :math:`y = x\,s(x)` and a soft switch s, :math:`\bar x = \bar y \odot (s + x s')`."""

from __future__ import annotations

import math
from typing import Any

from .arithmetic import erf, sigmoid, tanh
from .declare import composed
from .linear import linear

ROOT_2_OVER_PI = math.sqrt(2 / math.pi)


@composed(r"y = x \, \sigma(x)", x=r"\bar y \odot (s + y \odot (1 - s)), \quad s = \sigma(x)")
def silu(x):
    """x σ(x), also called swish.  Source: Elfwing, Uchibe & Doya (2018)."""
    return x * sigmoid(x)


@composed(
    r"y = x \, \Phi(x), \quad \Phi(x) = \tfrac12 (1 + \operatorname{erf}(x / \sqrt2))",
    x=r"\bar y \odot (\Phi(x) + x \odot \varphi(x)), \quad \varphi = \Phi'",
)
def _gelu_erf(x):
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


@composed(
    r"y = \tfrac12 x \, (1 + \tanh u) = x \, \sigma(2u), \quad u = \sqrt{2/\pi} \, (x + 0.044715 \, x^3)",
    x=r"\bar y \odot (s + y \odot (1 - s) \odot w), \quad s = \sigma(2u), \quad w = 2 u'(x)",
)
def _gelu_tanh(x):
    return 0.5 * x * (1 + tanh(ROOT_2_OVER_PI * (x + 0.044715 * x * x * x)))


@composed(
    r"Y = \operatorname{gelu}(U), \quad U = X W + b",
    inputs=["x", "weight", "bias"],
    x=r"\bar U W^\top, \quad \bar U = \bar Y \odot \operatorname{gelu}'(U)",
    weight=r"X^\top \bar U",
    bias=r"\sum_n \bar U_n",
)
def linear_gelu(x, weight, bias=None):
    """``gelu(linear(x, weight, bias))``."""
    return _gelu_tanh(linear(x, weight, bias))


linear_gelu.check = linear.check


def gelu(x: Any, approximate: str = "tanh") -> Any:
    """x Φ(x) with Φ the normal distribution function: by its tanh approximation, or exactly with ``approximate="none"``.
    Source: Hendrycks & Gimpel (2016), section 2."""
    if approximate not in ("tanh", "none"):
        raise ValueError(f"gelu: approximate={approximate!r}; expected 'tanh' or 'none'")
    return _gelu_tanh(x) if approximate == "tanh" else _gelu_erf(x)
