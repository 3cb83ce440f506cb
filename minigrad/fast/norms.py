"""Kernels of the norms: what they keep is x̂ if that is small, else two numbers for each row; means over C are products with γ/C."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ops import norms as ops
from ..ops.norms import KEPT
from . import rows


def layer_norm(x, weight, bias=None, eps=1e-5, save=False):
    """γ x̂ + β, x̂ or the means of the rows, and their inverse deviations."""
    if not save and x.size == x.shape[-1]:  # one row, as in decoding
        row = x.reshape(-1)
        y = row - row.dot(rows.ones(row.size, row.dtype)) / row.size
        y *= 1 / math.sqrt(y.dot(y) / row.size + eps)
        y *= weight
        if bias is not None:
            y += bias
        return y.reshape(x.shape), None
    flat = x.reshape(-1, x.shape[-1])
    saved = rows.row_means(flat)
    y = flat - saved
    inverse = rows.inverse_norms(y, eps)
    y *= inverse
    if save and y.size <= KEPT:
        saved, y = y, y * weight
    else:
        y *= weight
    if bias is not None:
        y += bias
    return y.reshape(x.shape), (saved, inverse)


def layer_norm_vjp(g, _, saved, x, weight, bias=None, eps=1e-5):
    """The gradients of x and γ, and ȳ, whose rows the engine sums for β."""
    return (*_norm_vjp(g, x, weight, *saved), g.reshape(-1, weight.size))


def rms_norm(x, weight, eps=1e-6, save=False):
    """γ x̂, and the inverse norms of the rows."""
    if not save and x.size == x.shape[-1]:
        row = x.reshape(-1)
        y = row * (1 / math.sqrt(row.dot(row) / row.size + eps))
        y *= weight
        return y.reshape(x.shape), None
    flat = x.reshape(-1, x.shape[-1])
    inverse = rows.inverse_norms(flat, eps)
    y = flat * inverse
    y *= weight
    return y.reshape(x.shape), inverse


def rms_norm_vjp(g, _, saved, x, weight, eps=1e-6):
    """The gradients of x and γ."""
    return _norm_vjp(g, x, weight, None, saved)


def _norm_vjp(g: np.ndarray, x: np.ndarray, weight: np.ndarray, saved: np.ndarray | None, inverse: np.ndarray) -> tuple[Any, ...]:
    """The gradients of x and γ, from x̂ or the row means (None for RMS norm), and 1/σ."""
    g = g.reshape(-1, weight.size)
    share = (weight / weight.size)[:, None]
    normalised = saved if saved is not None and g.size <= KEPT else _normalised(x.reshape(g.shape), saved, inverse)
    dx = g * normalised
    d_weight = rows.column_sums(dx)
    away = np.multiply(normalised, dx.dot(share), out=None if normalised is saved else normalised)
    if saved is not None:
        away += g.dot(share)
    np.multiply(g, weight, out=dx)
    dx -= away
    dx *= inverse
    return dx.reshape(x.shape), d_weight


def _normalised(x: np.ndarray, mean: np.ndarray | None, inverse: np.ndarray) -> np.ndarray:
    """x̂ again."""
    if mean is None:
        return x * inverse
    y = x - mean
    y *= inverse
    return y


ops.layer_norm.accelerate(layer_norm, layer_norm_vjp)
ops.rms_norm.accelerate(rms_norm, rms_norm_vjp)
