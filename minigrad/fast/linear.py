"""Kernels of the linear map and of what stands around attention: one product of tall matrices, views in place of copies."""

from __future__ import annotations

import sys

import numpy as np

from ..ops import linear as ops
from ..ops import shapes

BLAS = sys.platform != "emscripten"  # a browser's NumPy has none


def matmul(a, b):
    """A B for two matrices: ``dot`` has less overhead than ``@``, and without BLAS einsum's loops along rows are up to six times as fast."""
    return a.dot(b) if BLAS or a.shape[0] * b.size < 1 << 16 else np.einsum("ik,kj->ij", a, b, order="C")


def linear(x, weight, bias=None, save=False):
    """X W + b for all rows at once; for one row, as a product with a vector."""
    y = x.reshape(-1).dot(weight) if x.size == x.shape[-1] else matmul(x.reshape(-1, x.shape[-1]), weight)
    if bias is not None:
        y += bias
    return y.reshape(x.shape[:-1] + weight.shape[1:]), None


def linear_vjp(g, _, saved, x, weight, bias=None, wanted=(True, True, True)):
    """Ȳ Wᵀ, Xᵀ Ȳ, as far as they are wanted, and Ȳ, whose rows the engine sums for b."""
    g = g.reshape(-1, weight.shape[1])
    dx = matmul(g, weight.T).reshape(x.shape) if wanted[0] else None
    d_weight = matmul(x.reshape(-1, weight.shape[0]).T, g) if wanted[1] else None
    return dx, d_weight, g


def fits(x, weight, bias=None, **_):
    """Something to multiply."""
    return x.size and weight.size


ops.linear.accelerate(linear, linear_vjp, fits)


def split_heads(x, num_heads, save=False):
    """(..., T, H·D) → (..., H, T, D), a view."""
    if x.shape[-2] == 1:
        return x.reshape(*x.shape[:-2], num_heads, 1, -1), None
    return x.reshape(*x.shape[:-1], num_heads, -1).swapaxes(-2, -3), None


def join_heads(x, save=False):
    """(..., H, T, D) → (..., T, H·D)."""
    if x.shape[-2] == 1:
        return x.reshape(*x.shape[:-3], 1, -1), None
    return x.swapaxes(-2, -3).reshape(*x.shape[:-3], x.shape[-2], -1), None


def split_heads_vjp(g, _, saved, x, num_heads):
    """The heads side by side again."""
    return (g.swapaxes(-2, -3).reshape(x.shape),)


def join_heads_vjp(g, _, saved, x):
    """The part of each head."""
    return (g.reshape(*g.shape[:-1], x.shape[-3], x.shape[-1]).swapaxes(-2, -3),)


shapes.split_heads.accelerate(split_heads, split_heads_vjp, lambda x, num_heads: x.size)
shapes.join_heads.accelerate(join_heads, join_heads_vjp, lambda x: x.size)
