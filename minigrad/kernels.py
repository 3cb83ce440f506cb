r"""The low-level room: whatever NumPy trick pays, so that the rest of the code stays math.

Everything here takes and gives ndarrays.  What was measured to pay: sums along the batch axis as ``ones @ x``, row dot
products as ``einsum``, results written in place, ``exp`` in place of ``tanh``, and no ``add.at``.
"""

from __future__ import annotations

import math
import os
import sys

import numpy as np


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


def column_sums(x: np.ndarray) -> np.ndarray:
    """The sums of the columns of ``(N, C)``, by BLAS."""
    return np.ones(len(x), x.dtype) @ x


def row_dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The dot products of the rows of two arrays ``(..., C)``: ``(...)``."""
    return np.einsum("...i,...i->...", a, b)


def softmax(x: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in one new array; a row of nothing but −∞ gives zeros."""
    if not x.size:
        return x.copy()
    top = np.max(x, axis=-1, keepdims=True)
    if np.isneginf(top).any():
        top = np.where(np.isneginf(top), 0, top)
    y = np.subtract(x, top)
    np.exp(y, out=y)
    total = y.sum(axis=-1, keepdims=True)
    total += total == 0
    y /= total
    return y


def erf(x: np.ndarray) -> np.ndarray:
    r"""The error function to double precision.

    For |x| < 3 the all-positive series :math:`\tfrac{2}{\sqrt\pi} e^{-x^2} \sum_n 2^n x^{2n+1} / (2n+1)!!`
    (Abramowitz & Stegun 7.1.6); beyond, one minus the continued fraction of erfc (7.1.14), evaluated from the tail.
    """
    x = np.asarray(x)
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


# Attention ---------------------------------------------------------------------------------------------------------------


def _grouped(x: np.ndarray, group: int) -> np.ndarray:
    return x if group == 1 else np.repeat(x, group, axis=-3)


def _scores(q: np.ndarray, k: np.ndarray, bias: np.ndarray | None, causal: bool, tau: float) -> np.ndarray:
    scores = (q * q.dtype.type(tau)) @ k.mT
    if bias is not None:
        scores += bias
    if causal:
        t, s = scores.shape[-2:]
        scores += np.triu(np.full((t, s), -np.inf, scores.dtype), s - t + 1)
    return scores


def attention(q, k, v, bias, causal, tau, keep):
    """softmax(τ q kᵀ + bias) v and the weights."""
    q, k, v = real(q), real(k), real(v)
    group = q.shape[-3] // k.shape[-3] if q.ndim > 2 else 1
    p = softmax(_scores(q, _grouped(k, group), bias, causal, tau))
    return (p if keep is None else p * keep) @ _grouped(v, group), p


def attention_vjp(g, o, q, k, v, bias, causal, tau, keep, p, want_bias):
    """The gradients of q, k, v and bias."""
    group = q.shape[-3] // k.shape[-3] if q.ndim > 2 else 1
    dv = (p if keep is None else p * keep).mT @ g
    ds = g @ _grouped(v, group).mT
    if keep is not None:
        ds *= keep
    ds -= row_dots(g, o)[..., None]
    ds *= p
    dq = ds @ _grouped(k, group)
    dq *= tau
    dk = ds.mT @ q
    dk *= tau
    if group > 1:
        dk, dv = (d.reshape(*d.shape[:-3], -1, group, *d.shape[-2:]).sum(axis=-3) for d in (dk, dv))
    return dq, dk, dv, ds if want_bias else None
