"""Rows and blocks of arrays: whatever NumPy trick pays, so that the kernels stay math.

What was measured to pay: sums as products with ones, by BLAS; of two matrices ``a.dot(b)``, which has less overhead than ``a @ b``; results
written in place, and pieces of an array that stay in the cache.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from ..numerics import ones as ones

BLOCK = 1 << 15  # numbers worked on at a time, so that a few arrays of them stay in the cache
LOWEST = {c: max(float(np.finfo(c).min), -sys.float_info.max) for c in "efdg"}  # of each precision the lowest finite number,
LEAST = {c: max(float(np.finfo(c).tiny), sys.float_info.min) for c in "efdg"}  # and the least normal one above 0


@lru_cache(maxsize=64)
def column(n: int, value: float, dtype: Any) -> np.ndarray:
    """``n`` times the same number, as a matrix (n, 1) to multiply by.  Not to be written."""
    return np.full((n, 1), value, dtype)


@lru_cache(maxsize=256)
def number(value: float, dtype: Any) -> np.ndarray:
    """A number as an array without axes, which NumPy's functions take with less overhead than a Python one.  Not to be written."""
    return np.array(value, dtype)


def column_sums(x: np.ndarray) -> np.ndarray:
    """The sums of the columns of ``(N, C)``, by BLAS."""
    return ones(len(x), x.dtype).dot(x)


def row_means(x: np.ndarray) -> np.ndarray:
    """The means of the rows of ``(N, C)``, by BLAS: ``(N, 1)``."""
    return x.dot(column(x.shape[1], 1 / x.shape[1], x.dtype))


def inverse_norms(x: np.ndarray, eps: float) -> np.ndarray:
    """1/√(mean of x² over the last axis + ε), as √C/√(Σx² + Cε): ``(..., 1)``."""
    n = x.shape[-1]
    total = row_dots(x, x)
    total += number(n * eps, x.dtype)
    np.sqrt(total, total)
    return np.divide(number(math.sqrt(n), x.dtype), total, total)


def row_dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The dot products of the rows of two arrays ``(..., C)``: ``(..., 1)``."""
    if a.size <= BLOCK and a.itemsize > 2:  # of products that fit in the cache, and are not rounded to half precision
        return row_sums(a * b)
    return np.asarray(np.vecdot(a, b))[..., None]


def row_sums(x: np.ndarray) -> np.ndarray:
    """The sums of the rows of ``(..., C)``, by BLAS: ``(..., 1)``."""
    n = x.shape[-1]
    rows = x if x.ndim == 2 else x.reshape(-1 if x.size else math.prod(x.shape[:-1]), n)
    sums = rows.dot(column(n, 1.0, x.dtype))
    return sums if x.ndim == 2 else sums.reshape(*x.shape[:-1], 1)


def blocks(*arrays: np.ndarray) -> Iterator[list[np.ndarray]]:
    """The same piece of several arrays of one shape, as many numbers at a time as the cache holds well; those that are to be
    written must be contiguous."""
    if arrays[0].ndim and arrays[0].size <= BLOCK:
        return iter([list(arrays)])
    flat = [a.reshape(-1) for a in arrays]
    return ([a[start : start + BLOCK] for a in flat] for start in range(0, flat[0].size, BLOCK))


def row_blocks(*arrays: np.ndarray) -> Iterator[list[np.ndarray]]:
    """The same rows of several arrays ``(..., C)``, flattened to ``(N, C)``: as many as the cache holds well, one at least."""
    flat = [a.reshape(-1, a.shape[-1]) for a in arrays]
    if arrays[0].size <= BLOCK:
        return iter([flat])
    n = max(1, BLOCK // max(1, flat[0].shape[1]))
    return ([a[start : start + n] for a in flat] for start in range(0, len(flat[0]), n))


def row_maxima(x: np.ndarray) -> np.ndarray:
    """The largest number of each row of ``(..., C)``, or the lowest finite one where that is −∞: ``(..., 1)``."""
    return np.maximum.reduce(x, axis=-1, keepdims=True, initial=LOWEST[x.dtype.char])


def common_shift(x: np.ndarray, spread: float) -> Any:
    """The maximum of everything, if it may be subtracted from ``x`` before ``exp`` in place of each row's own; else None.

    Of many numbers it costs a fraction of a maximum for each row.  It serves while they lie within ``spread`` of each other, 32 at
    most: no row of exponentials then comes near 0, and in single precision the differences are rounded by 10⁻⁶ (by 2·10⁻⁷ for 8).
    """
    if x.size > 256 and x.itemsize > 2:
        top = np.maximum.reduce(x, axis=None)
        if top < np.minimum.reduce(x, axis=None) + spread:
            return top
    return None


def shift_of(x: np.ndarray) -> Any:
    """What to subtract from ``x`` (..., C) before ``exp``, so that nothing overflows, no row becomes zero and no digit is lost."""
    top = common_shift(x, 8)
    return row_maxima(x) if top is None else top


def divisors(x: np.ndarray) -> np.ndarray:
    """The sums of the rows of ``(..., C)``, the least normal number in place of 0, to divide by: ``(..., 1)``."""
    total = row_sums(x)
    return np.maximum(total, number(LEAST[x.dtype.char], x.dtype), out=total)
