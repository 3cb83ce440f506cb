r"""Smooth activations, fused: with :math:`y = x\,s(x)` and a soft switch s, :math:`\bar x = \bar y \odot (s + x s')`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..graph import example, op
from .arithmetic import erf, sigmoid
from .arithmetic import tanh as tanh_
from .linear import linear, linear_twin

ROOT_2_OVER_PI = math.sqrt(2 / math.pi)


def _rooms(x: np.ndarray, save: bool) -> tuple[np.ndarray, np.ndarray]:
    """Room for y, and for dy/dx if that is to be saved (else the same room, to be overwritten)."""
    y = np.empty(x.shape, x.dtype)
    return y, np.empty(x.shape, x.dtype) if save else y


@op(r"y = x \, \sigma(x)", saves=True)
def silu(x, save=False):
    """x σ(x), also called swish.  Source: Elfwing, Uchibe & Doya (2018)."""
    x = kernels.real(x)
    y, slope = _rooms(x, save)
    with np.errstate(over="ignore"):
        for a, b, d in kernels.blocks(x, y, slope):
            s = np.exp(-a)
            s += 1
            np.reciprocal(s, out=s)
            if save:  # dy/dx = s + (1 − s) y
                np.subtract(1, s, out=d)
                d *= a
                d += 1
                d *= s
            np.multiply(a, s, out=b)
    return (y, slope) if save else y


silu.twin = lambda x: x * sigmoid(x)


def _silu(g: Any, y: Any, x: Any, saved: Any = None) -> Any:
    if saved is not None:
        return g * saved
    s = sigmoid.on(x)
    return g * (s + y * (1 - s))


silu.vjp("x", r"\bar y \odot (s + y \odot (1 - s)), \quad s = \sigma(x)", _silu)
silu.examples = lambda rng: [example(rng.normal(size=(3, 4))), example(4 * rng.normal(size=6)), example(rng.normal(size=()))]


@op(r"y = x \, \Phi(x), \quad \Phi(x) = \tfrac12 (1 + \operatorname{erf}(x / \sqrt2))")
def _gelu_erf(x):
    return x * (0.5 * (1 + kernels.erf(x / math.sqrt(2))))


_gelu_erf.twin = lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2)))


def _gelu_erf_vjp(g: Any, y: Any, x: Any) -> Any:
    density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return g * (0.5 * (1 + erf.on(x / math.sqrt(2))) + x * density)


_gelu_erf.vjp("x", r"\bar y \odot (\Phi(x) + x \odot \varphi(x)), \quad \varphi = \Phi'", _gelu_erf_vjp)
_gelu_erf.examples = silu.examples


@op(r"y = \tfrac12 x \, (1 + \tanh u) = x \, \sigma(2u), \quad u = \sqrt{2/\pi} \, (x + 0.044715 \, x^3)", saves=True)
def _gelu_tanh(x, save=False):
    x = kernels.real(x)
    y, slope = _rooms(x, save)
    _write_gelu(x, y, slope, save)
    return (y, slope) if save else y


def _write_gelu(x: np.ndarray, y: np.ndarray, slope: np.ndarray, save: bool) -> None:
    """Write y, and if ``save`` dy/dx, which may take the place of x."""
    c = ROOT_2_OVER_PI
    for a, b, d in kernels.blocks(x, y, slope):
        du = a * a
        du *= 0.044715 * c
        h = du + c
        h *= a
        np.tanh(h, out=h)
        h += 1
        h *= 0.5  # Φ ≈ h = ½ (1 + tanh u)
        np.multiply(a, h, out=b)
        if save:  # dy/dx = h + 2 u' y (1 − h)
            du *= 6
            du += 2 * c
            du *= b
            np.subtract(1, h, out=d)
            d *= du
            d += h


def gelu_twin(x: Any) -> Any:
    """The same in plain operators."""
    return 0.5 * x * (1 + tanh_(ROOT_2_OVER_PI * (x + 0.044715 * x * x * x)))


_gelu_tanh.twin = gelu_twin


def _gelu_tanh_vjp(g: Any, y: Any, x: Any, saved: Any = None) -> Any:
    if saved is not None:
        return g * saved
    square = x * x
    s = sigmoid.on((2 * ROOT_2_OVER_PI) * (x + 0.044715 * (square * x)))
    return g * (s + y * (1 - s) * (2 * ROOT_2_OVER_PI * (1 + 3 * 0.044715 * square)))


_gelu_tanh.vjp("x", r"\bar y \odot (s + y \odot (1 - s) \odot w), \quad s = \sigma(2u), \quad w = 2 u'(x)", _gelu_tanh_vjp)
_gelu_tanh.examples = silu.examples


@op(r"Y = \operatorname{gelu}(U), \quad U = X W + b", inputs=["x", "weight", "bias"], saves=True)
def linear_gelu(x, weight, bias=None, save=False):
    """``gelu(linear(x, weight, bias))`` in one op, which keeps gelu'(U) for the backward pass in the place of U."""
    u = linear.forward(x, weight, bias)
    y = np.empty_like(u) if save else u
    _write_gelu(u, y, u, save)
    return (y, u) if save else y


linear_gelu.twin = lambda x, weight, bias=None: gelu_twin(linear_twin(x, weight, bias))


@linear_gelu.joint_vjp(
    x=r"\bar U W^\top, \quad \bar U = \bar Y \odot \operatorname{gelu}'(U)", weight=r"X^\top \bar U", bias=r"\sum_n \bar U_n"
)
def _linear_gelu_vjp(g: Any, y: Any, x: Any, weight: Any, bias: Any = None, saved: Any = None) -> tuple[Any, ...]:
    if saved is None:
        u = linear(x, weight, bias)
        du = _gelu_tanh_vjp(g, _gelu_tanh(u), u)
    else:
        du = g * saved
    return tuple(rule(du, y, x, weight, bias) for rule in linear.rules if rule)


linear_gelu.examples = linear.examples


def gelu(x: Any, approximate: str = "tanh") -> Any:
    """x Φ(x) with Φ the normal distribution function: by its tanh approximation, or exactly with ``approximate="none"``.
    Source: Hendrycks & Gimpel (2016), section 2."""
    if approximate not in ("tanh", "none"):
        raise ValueError(f"gelu: approximate={approximate!r}; expected 'tanh' or 'none'")
    return _gelu_tanh(x) if approximate == "tanh" else _gelu_erf(x)
