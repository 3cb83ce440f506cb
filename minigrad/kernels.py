r"""The low-level room: whatever NumPy trick pays, so that the rest of the code stays math.

Everything here takes and gives ndarrays.  What was measured to pay: sums along the batch axis as ``ones @ x``, row dot
products as ``einsum``, results written in place, ``exp`` in place of ``tanh``, and no ``add.at``.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

BLOCK = 1 << 15  # numbers worked on at a time, so that a few arrays of them stay in the cache
LOWEST = {c: max(float(np.finfo(c).min), -sys.float_info.max) for c in "efdg"}  # of each precision the lowest finite number,
LEAST = {c: max(float(np.finfo(c).tiny), sys.float_info.min) for c in "efdg"}  # and the least normal one above 0


def real(x: np.ndarray | float) -> np.ndarray:
    """Integers and plain numbers as float64, floating-point arrays as they are."""
    return x if isinstance(x, np.ndarray) and x.dtype.kind == "f" else np.asarray(x, np.float64)


def keep_freed_memory() -> bool:
    """Let the C library keep up to 256 MB of freed memory for the next array, instead of giving it back page by page.

    A training step frees and takes the same sizes again and again; on glibc this spares it the page
    faults of fresh memory (``MINIGRAD_MALLOC=0`` leaves the allocator alone, to compare).  Gives False where there is nothing to set.
    """
    if not sys.platform.startswith("linux") or os.environ.get("MINIGRAD_MALLOC") == "0":
        return False
    try:
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
    except (ImportError, OSError, AttributeError):
        return False
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    return bool(mallopt(mmap_threshold, 32 << 20) and mallopt(trim_threshold, 256 << 20))


keep_freed_memory()


def sum_rows_by_index(rows: np.ndarray, index: np.ndarray, size: int) -> np.ndarray:
    """``out[j] = Σ rows[i] over i with index[i] == j``: (N, C), (N,) → (size, C), without ``add.at``.

    Small vocabularies go through a one-hot matrix product; large ones are sorted and summed run by run.
    """
    n, width = rows.shape
    if n * size <= 1 << 21 and rows.dtype.kind == "f":
        hot = np.zeros((size, n), rows.dtype)
        hot[index, np.arange(n)] = 1
        return hot @ rows
    out = np.zeros((size, width), rows.dtype)
    if n:
        order = np.argsort(index, kind="stable")
        ordered = index[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        out[ordered[starts]] = np.add.reduceat(rows[order], starts, axis=0)
    return out


@lru_cache(maxsize=64)
def column(n: int, value: float, dtype: Any) -> np.ndarray:
    """``n`` times the same number, as a matrix (n, 1) to multiply by.  Not to be written."""
    return np.full((n, 1), value, dtype)


def column_sums(x: np.ndarray) -> np.ndarray:
    """The sums of the columns of ``(N, C)``, by BLAS."""
    return column(len(x), 1.0, x.dtype)[:, 0] @ x


def row_means(x: np.ndarray) -> np.ndarray:
    """The means over the last axis, by BLAS: ``(..., 1)``."""
    return x @ column(x.shape[-1], 1 / x.shape[-1], x.dtype)


def inverse_norms(x: np.ndarray, eps: float) -> np.ndarray:
    """1/√(mean of x² over the last axis + ε): ``(..., 1)``."""
    mean = row_dots(x, x)[..., None]
    mean /= x.shape[-1]
    mean += eps
    np.sqrt(mean, out=mean)
    return np.reciprocal(mean, out=mean)


def row_dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The dot products of the rows of two arrays ``(..., C)``, by BLAS: ``(...)``."""
    return np.asarray(np.vecdot(a, b))


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


def shift_of(x: np.ndarray) -> Any:
    """What to subtract from ``x`` (..., C) before ``exp``, so that nothing overflows, no row becomes zero and no digit is lost.

    Of many numbers the maximum of everything costs a fraction of one for each row, and serves as long as they lie close
    together; otherwise it is that of each row (..., 1).
    """
    if x.size > 4096:
        top = np.maximum.reduce(x, axis=None)
        if top < np.minimum.reduce(x, axis=None) + 32:
            return top
    return row_maxima(x)


def sum_rows(x: np.ndarray) -> np.ndarray:
    """The sums of the rows of ``(..., C)`` by BLAS, the least normal number in place of 0, to divide by: ``(..., 1)``."""
    total = x @ column(x.shape[-1], 1.0, x.dtype)
    return np.maximum(total, LEAST[x.dtype.char], out=total)


def softmax(x: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in one new array; a row of nothing but −∞ gives zeros."""
    y = x - shift_of(x)
    np.exp(y, out=y)
    y /= sum_rows(y)
    return y


# erf(x) = x P(x²) / Q(x²) for |x| < 3.93, where it becomes 1: fitted for the least relative error, 2·10⁻⁸; lowest power first.
ERF_P = [1.12837915, 0.19078321, 0.0527902033, 0.0037795816, 0.000284807801, 2.04197363e-06]
ERF_Q = [1.0, 0.502409937, 0.114257265, 0.0149973834, 0.00116520561, 3.80040615e-05]


def _erf_float32(x: np.ndarray) -> np.ndarray:
    """The error function in float32 throughout, within 4·10⁻⁷; thirty times as fast as the series."""
    x = np.clip(x, np.float32(-3.93), np.float32(3.93))
    square = x * x
    p, q = np.full_like(x, ERF_P[-1]), np.full_like(x, ERF_Q[-1])
    for sums, coefficients in ((p, ERF_P), (q, ERF_Q)):
        for c in coefficients[-2::-1]:
            sums *= square
            sums += np.float32(c)
    p *= x
    p /= q
    return np.clip(p, -1, 1, out=p)


def erf(x: np.ndarray) -> np.ndarray:
    r"""The error function to double precision.

    For |x| < 3 the all-positive series :math:`\tfrac{2}{\sqrt\pi} e^{-x^2} \sum_n 2^n x^{2n+1} / (2n+1)!!`
    (Abramowitz & Stegun 7.1.6); beyond, one minus the continued fraction of erfc (7.1.14), evaluated from the tail.
    """
    x = np.asarray(x)
    if x.dtype == np.float32:
        return _erf_float32(x)
    z = np.minimum(np.abs(x.astype(np.float64)), 6.0)
    y = np.empty_like(z)
    near = z < 3.0
    a = z[near]
    square = 2.0 * a * a
    term = a.copy()
    total = a.copy()
    for n in range(1, 60):
        term *= square
        term /= 2 * n + 1
        total += term
    y[near] = 2 / math.sqrt(math.pi) * np.exp(-a * a) * total
    b = z[~near]
    tail = b.copy()
    for n in range(60, 0, -1):
        tail = b + (n / 2) / tail
    y[~near] = 1 - np.exp(-b * b) / (math.sqrt(math.pi) * tail)
    return np.copysign(y, x).astype(x.dtype if x.dtype.kind == "f" else np.float64)
