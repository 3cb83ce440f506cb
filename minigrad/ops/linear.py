r"""Products of matrices: :math:`C = A B` gives :math:`\bar A = \bar C B^\top` and :math:`\bar B = A^\top \bar C`.

Source: Petersen & Pedersen, "The Matrix Cookbook" (2012), section 2.5; any einsum follows the same rule, index by index.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arguments import check_linear, no_product
from .declare import composed, op


@op(r"C = A B", numpy=[np.matmul])
def matmul(a, b):
    """The matrix product of the last two axes (or vectors), the leading axes broadcast, as in NumPy."""
    try:
        return np.matmul(a, b)
    except ValueError as error:
        raise no_product(np.shape(a), np.shape(b)) from error


def _rows(x: Any) -> Any:
    """(..., n) → (N, n): the leading axes as one, also when there is nothing in them."""
    return x.reshape(-1 if x.size else math.prod(x.shape[:-1]), x.shape[-1])


def _matmul_a(g: Any, c: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return g[..., None] * b
    if a.ndim == 1:
        return (b @ g[..., None])[..., 0]
    return g @ b.mT


def _matmul_b(g: Any, c: Any, a: Any, b: Any) -> Any:
    if a.ndim == 1:
        return a[:, None] * g[..., None, :] if b.ndim > 1 else g * a
    if b.ndim == 1:
        return (a.mT @ g[..., None])[..., 0]
    if b.ndim == 2 and a.ndim > 2:  # one matrix for the whole batch: one product of tall matrices
        return _rows(a).mT @ _rows(g)
    return a.mT @ g


matmul.vjp("a", r"\bar C B^\top", _matmul_a)
matmul.vjp("b", r"A^\top \bar C", _matmul_b)


@composed(
    r"Y = X W + b", inputs=["x", "weight", "bias"], x=r"\bar Y W^\top", weight=r"X^\top \bar Y", bias=r"\sum_n \bar Y_n"
)
def linear(x, weight, bias=None):
    """``x @ weight + bias`` for ``x`` (..., in), ``weight`` (in, out), ``bias`` (out,) or None."""
    return x @ weight if bias is None else x @ weight + bias


linear.check = check_linear


