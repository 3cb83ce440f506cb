"""Kernels of the activations: value and slope in one pass over cache-sized blocks; the slope is all that they keep."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..numerics import erf
from ..ops import activations as ops
from ..ops.activations import ROOT_2_OVER_PI
from .linear import fits, linear, linear_vjp
from .rows import blocks, number


def _rooms(x: np.ndarray, save: bool) -> tuple[np.ndarray, np.ndarray]:
    """Room for y, and for dy/dx if that is to be saved (else the same room, to be overwritten)."""
    y = np.empty(x.shape, x.dtype)
    return y, np.empty(x.shape, x.dtype) if save else y


def times_slope(g, _, slope, x):
    """ȳ ⊙ dy/dx."""
    return (g * slope,)


def silu(x, save=False):
    """x σ(x) and its slope."""
    y, slope = _rooms(x, save)
    with np.errstate(over="ignore"):
        for a, b, d in blocks(x, y, slope):
            s = np.exp(-a)
            s += 1
            np.reciprocal(s, out=s)
            if save:  # dy/dx = s + (1 − s) y
                np.subtract(1, s, out=d)
                d *= a
                d += 1
                d *= s
            np.multiply(a, s, out=b)
    return y, slope


def gelu_erf(x, save=False):
    """x Φ(x) and its slope Φ + x φ."""
    cumulative = 0.5 * (1 + erf(x / math.sqrt(2)))
    return x * cumulative, cumulative + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) if save else None


def gelu_tanh(x, save=False):
    """x h(x) with h = ½ (1 + tanh u), and its slope."""
    y, slope = _rooms(x, save)
    _write_gelu(x, y, slope, save)
    return y, slope


@lru_cache(maxsize=8)
def _constants(dtype: Any) -> list[np.ndarray]:
    """√(2/π), twice it, 0.044715 √(2/π), ½, 1 and 6."""
    c = ROOT_2_OVER_PI
    return [number(value, dtype) for value in (c, 2 * c, 0.044715 * c, 0.5, 1, 6)]


def _write_gelu(x: np.ndarray, y: np.ndarray, slope: np.ndarray, save: bool) -> None:
    """Write y, and if ``save`` dy/dx, which may take the place of x."""
    c, two_c, cubic, half, one, six = _constants(x.dtype)
    for a, b, d in blocks(x, y, slope):
        du = a * a
        du *= cubic
        h = du + c
        h *= a
        np.tanh(h, h)
        h += one
        h *= half
        np.multiply(a, h, b)
        if save:  # dy/dx = h + 2 u' y (1 − h)
            du *= six
            du += two_c
            du *= b
            np.subtract(one, h, d)
            d *= du
            d += h


def linear_gelu(x, weight, bias=None, save=False):
    """gelu(U) with U = X W + b, and gelu'(U) in the place of U."""
    u, _ = linear(x, weight, bias)
    y = np.empty_like(u) if save else u
    _write_gelu(u, y, u, save)
    return y, u


def linear_gelu_vjp(g, _, slope, x, weight, bias=None, wanted=(True, True, True)):
    """The linear map's gradients of Ū = Ȳ ⊙ gelu'(U)."""
    return linear_vjp(g * slope, None, None, x, weight, bias, wanted)


ops.silu.accelerate(silu, times_slope)
ops._gelu_erf.accelerate(gelu_erf, times_slope)
ops._gelu_tanh.accelerate(gelu_tanh, times_slope)
ops.linear_gelu.accelerate(linear_gelu, linear_gelu_vjp, fits)
