r"""What NumPy lacks, or does slowly: the error function, sums by index, ones to sum with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np


def real(x: np.ndarray | float) -> np.ndarray:
    """Integers and plain numbers as float64, floating-point arrays as they are."""
    return x if isinstance(x, np.ndarray) and x.dtype.kind == "f" else np.asarray(x, np.float64)


def one_precision(arrays: Iterable[Any]) -> bool:
    """Whether all inputs that there are have one floating-point dtype: what others come to is said by an op's definition alone."""
    dtypes = {x.dtype if isinstance(x, np.ndarray) else None for x in arrays if x is not None}
    return len(dtypes) == 1 and getattr(dtypes.pop(), "kind", "") == "f"


@lru_cache(maxsize=64)
def ones(n: int, dtype: Any) -> np.ndarray:
    """``n`` ones, to sum by BLAS: ``ones.dot(x)``.  Not to be written."""
    return np.ones(n, dtype)


def index_array(indices: Any) -> np.ndarray:
    """Integers as NumPy's own index type, which has 32 bits in a browser, where take, repeat and bincount refuse int64."""
    array = np.asarray(indices)
    return array.astype(np.intp, copy=False) if array.dtype.kind in "iu" else array


def sum_rows_by_index(rows: np.ndarray, index: np.ndarray, size: int) -> np.ndarray:
    """``out[j] = Σ rows[i] over i with index[i] == j``: (N, C), (N,) → (size, C), without ``add.at``.

    Small vocabularies go through a one-hot matrix product; large ones are sorted and summed run by run.
    """
    n, width = rows.shape
    if n * size <= 1 << 21 and rows.dtype.kind == "f":
        hot = np.zeros((n, size), rows.dtype)
        hot.reshape(-1)[np.arange(n) * size + index] = 1
        return hot.T.dot(rows)
    out = np.zeros((size, width), rows.dtype)
    if n:
        order = np.argsort(index, kind="stable")
        ordered = index[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        out[ordered[starts]] = np.add.reduceat(rows[order], starts, axis=0)
    return out


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
