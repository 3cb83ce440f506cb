r"""Linear algebra, as ``np.linalg``: :math:`B = A^{-1}` gives :math:`\bar A = -B^\top \bar B B^\top`.

Stacks of matrices (..., m, n) are taken matrix by matrix.  Of symmetric matrices NumPy reads one triangle only; so do
we, and the gradient lies in that triangle.  Eigenvectors and singular vectors of equal values are free to turn: a
function that depends on that choice has no derivative there, and one that does not gets the right one.

The file has more than 300 lines because it holds the whole of ``np.linalg``; each function stands on its own.

Sources: Giles (2008), "Collected matrix derivative results for forward and reverse mode algorithmic differentiation";
Murray (2016), "Differentiation of the Cholesky decomposition"; Townsend (2016), "Differentiating the singular value
decomposition"; Golub & Pereyra (1973), eq. 4.12, for the pseudo-inverse.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from .numpy_api import functions as numpy_functions
from .numpy_api.contractions import dot, outer, tensordot
from .numpy_api.functions import answers, matrix_transpose, moveaxis, tensor, vecdot
from .numpy_api.ops import norm as euclidean
from .ops.arithmetic import abs, power, where
from .ops.declare import Example, example, op, recorded
from .ops.linear import matmul
from .ops.reductions import max, min, sum
from .ops.shapes import reshape

__all__ = [
    "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm", "matrix_power",
    "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "slogdet", "solve", "svd", "svdvals", "tensordot",
    "trace", "vecdot", "vector_norm",
]  # fmt: skip


class SlogdetResult(NamedTuple):
    """The sign of a determinant, and the logarithm of its size."""

    sign: Any
    logabsdet: Any


class EighResult(NamedTuple):
    """Eigenvalues in ascending order, (..., n), and eigenvectors as columns, (..., n, n)."""

    eigenvalues: Any
    eigenvectors: Any


class SVDResult(NamedTuple):
    """A = U diag(S) Vh: singular vectors as columns of U and rows of Vh, singular values in descending order."""

    U: Any
    S: Any
    Vh: Any


def _regular(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Matrices far from singular, and not symmetric."""
    return rng.normal(size=shape) + 3 * np.eye(shape[-1])


def _positive(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Symmetric matrices with eigenvalues that are positive and far apart."""
    a = 0.3 * rng.normal(size=shape)
    return a + a.swapaxes(-1, -2) + np.diag(np.arange(1.0, shape[-1] + 1) * 2)


# Inverse and determinant ----------------------------------------------------------------------------------------------


@op(r"B = A^{-1}", numpy=[np.linalg.inv])
def inv(a):
    """The inverse of ``a`` (..., n, n); LinAlgError for a singular matrix."""
    return np.linalg.inv(a)


inv.vjp("a", r"-B^\top \bar B B^\top", lambda g, y, a: -(y.mT @ g @ y.mT))
inv.examples = lambda rng: [example(_regular(rng, *shape)) for shape in [(3, 3), (2, 2, 2), (1, 1), (0, 2, 2)]]


@op(r"X = A^{-1} B")
def _solve(a, b):
    return np.linalg.solve(a, b)


@_solve.joint_vjp(a=r"-\bar B X^\top", b=r"A^{-\top} \bar X")
def _solve_vjp(g: Any, x: Any, a: Any, b: Any) -> tuple[Any, Any]:
    db = _solve.on(a.mT, g)
    return -(db @ x.mT), db


_solve.examples = lambda rng: [
    example(_regular(rng, *a), rng.normal(size=b))
    for a, b in [((3, 3), (3, 2)), ((2, 2, 2), (2, 1)), ((2, 2), (3, 2, 2))]
]


@answers("linalg.solve")
def solve(a: Any, b: Any) -> Any:
    """The solution X of A X = B: (..., n, n), (..., n, k) → (..., n, k), or (n,); LinAlgError for a singular matrix."""
    return _solve(a, reshape(b, (-1, 1)))[..., 0] if np.ndim(b) == 1 else _solve(a, b)


@op(r"d = \det A", numpy=[np.linalg.det])
def det(a):
    """The determinant of ``a`` (..., n, n): (...)."""
    return np.linalg.det(a)


def _cofactors(d: Any, a: Any) -> Any:
    """∂d/∂A; up to 6 × 6 by the recursion of Faddeev and LeVerrier, without dividing by d: singular ones too."""
    n = a.shape[-1]
    if n > 6:
        return d[..., None, None] * np.linalg.inv(a).mT
    eye = np.eye(n, dtype=a.dtype)
    m: Any = eye
    for k in range(1, n):
        am = a @ m
        m = am - np.trace(am, axis1=-2, axis2=-1)[..., None, None] / k * eye
    return (m if n % 2 else -m).mT


det.vjp("a", r"\bar d \, d A^{-\top}", lambda g, d, a: g[..., None, None] * _cofactors(d, a))
det.examples = lambda rng: [
    *(example(_regular(rng, *shape)) for shape in [(3, 3), (2, 2, 2), (1, 1), (7, 7)]),
    example(np.array([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]])),
]


@op(r"\ell = \log |\det A|")
def _logabsdet(a):
    return np.linalg.slogdet(a)[1]


_logabsdet.vjp("a", r"\bar \ell \, A^{-\top}", lambda g, y, a: g[..., None, None] * np.linalg.inv(a).mT)
_logabsdet.examples = inv.examples


@recorded
def _sign(a):
    return np.linalg.slogdet(a)[0]


@answers("linalg.slogdet")
def slogdet(a: Any) -> SlogdetResult:
    """The sign and the logarithm of the absolute value of det ``a``, without overflow: (..., n, n) → (...), (...)."""
    return SlogdetResult(tensor(_sign(a)), _logabsdet(a))


@op(r"P = A^+")
def _pinv(a):
    return np.linalg.pinv(a)


def _pinv_vjp(g: Any, p: Any, a: Any) -> Any:
    left, right = np.eye(a.shape[-2], dtype=a.dtype) - a @ p, np.eye(a.shape[-1], dtype=a.dtype) - p @ a
    return -(p.mT @ g @ p.mT) + left @ g.mT @ p @ p.mT + p.mT @ p @ g.mT @ right


_pinv.vjp("a", r"-P^\top \bar P P^\top + (I - A P) \bar P^\top P P^\top + P^\top P \bar P^\top (I - P A)", _pinv_vjp)
_pinv.examples = lambda rng: [example(rng.normal(size=shape)) for shape in [(4, 2), (2, 3), (2, 3, 2)]]


@answers("linalg.pinv")
def pinv(a: Any, rcond: Any = None) -> Any:
    """The pseudo-inverse (..., n, m) of ``a`` (..., m, n); singular values ≤ ``rcond`` times the largest are taken as 0."""
    if rcond is None:
        return _pinv(a)
    u, s, vh = svd(a, full_matrices=False)
    kept = np.greater(s, np.asarray(rcond)[..., None] * s.max(axis=-1, keepdims=True))
    return vh.mT * (where(kept, 1 / where(kept, s, 1.0), 0.0))[..., None, :] @ u.mT


# Factors --------------------------------------------------------------------------------------------------------------


def _in_triangle(s: Any, upper: bool = False) -> Any:
    """The gradient ``s`` of a symmetric matrix whose one triangle only was read, and stood for both."""
    n = s.shape[-1]
    weights = np.tril(np.ones((n, n), s.dtype)) - np.eye(n, dtype=s.dtype) / 2
    return (s + s.mT) * (weights.T if upper else weights)


@op(r"L = \operatorname{cholesky}(A), \quad A = L L^\top", inputs=["a"])
def cholesky(a, *, upper=False):
    """The lower triangular L with A = L Lᵀ of positive definite ``a`` (..., n, n); or, with ``upper``, Lᵀ."""
    return np.linalg.cholesky(a) if not upper else np.linalg.cholesky(a.mT).mT


def _cholesky(g: Any, y: Any, a: Any, upper: bool = False) -> Any:
    lower, g = (y.mT, g.mT) if upper else (y, g)
    n = a.shape[-1]
    half = np.tril(np.ones((n, n), a.dtype)) - np.eye(n, dtype=a.dtype) / 2
    back = np.linalg.inv(lower)
    return _in_triangle(back.mT @ (lower.mT @ g * half) @ back, upper)


cholesky.vjp("a", r"L^{-\top} \, \Phi(L^\top \bar L) \, L^{-1} \text{, in the triangle that was read}", _cholesky)
cholesky.examples = lambda rng: [
    example(_positive(rng, *shape), upper=upper)
    for shape, upper in [((3, 3), False), ((2, 2, 2), False), ((3, 3), True), ((1, 1), False)]
]
answers("linalg.cholesky")(cholesky)


@op(r"A = V \operatorname{diag}(w) V^\top", inputs=["a"])
def _eigh(a, UPLO="L"):
    """Eigenvalues (the first row) on top of the eigenvectors: (..., n + 1, n)."""
    w, v = np.linalg.eigh(a, UPLO)
    return np.concatenate([w[..., None, :], v], axis=-2)


def _one_over(x: Any) -> Any:
    """1 / x, and 0 where ``x`` is 0."""
    zero = np.equal(x, 0)
    return np.logical_not(zero) / (x + zero)


def _gaps(w: Any) -> Any:
    """1 / (w_j − w_i), and 0 where the two are equal."""
    return _one_over(w[..., None, :] - w[..., :, None])


def _eigh_vjp(g: Any, y: Any, a: Any, UPLO: str = "L") -> Any:
    w, v, gw, gv = y[..., 0, :], y[..., 1:, :], g[..., 0, :], g[..., 1:, :]
    inner = _gaps(w) * (v.mT @ gv) + gw[..., None, :] * np.eye(a.shape[-1], dtype=a.dtype)
    return _in_triangle(v @ inner @ v.mT, UPLO == "U")


_eigh.vjp(
    "a",
    r"V \big(\operatorname{diag}(\bar w) + F \odot (V^\top \bar V)\big) V^\top, \quad F_{ij} = 1 / (w_j - w_i)",
    _eigh_vjp,
)
_eigh.examples = lambda rng: [
    Example((_positive(rng, *shape),), {"UPLO": uplo}, lambda a, uplo=uplo: _free_of_signs(a, uplo))
    for shape, uplo in [((3, 3), "L"), ((2, 2, 2), "U"), ((1, 1), "L")]
]


def _free_of_signs(a: Any, uplo: str) -> Any:
    """The eigenvalues, and the eigenvectors with the sign of their largest entry made positive."""
    w, v = eigh(a, uplo)
    tops = np.take_along_axis(v.data, np.argmax(np.abs(v.data), -2, keepdims=True), -2)
    return np.concatenate([w[..., None, :], v * np.sign(tops)], -2)


@answers("linalg.eigh")
def eigh(a: Any, UPLO: str = "L") -> EighResult:
    """Eigenvalues and eigenvectors of symmetric ``a`` (..., n, n); its lower ("L") or upper ("U") part is read."""
    both = _eigh(a, UPLO)
    return EighResult(both[..., 0, :], both[..., 1:, :])


@answers("linalg.eigvalsh")
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """The eigenvalues of symmetric ``a`` in ascending order: (..., n, n) → (..., n)."""
    return eigh(a, UPLO).eigenvalues


@op(r"A = U \operatorname{diag}(s) V^\top")
def _svd(a):
    """U, s and Vᵀ one after the other in one vector: (..., m k + k + k n), k = min(m, n)."""
    parts = np.linalg.svd(a, full_matrices=False)
    return np.concatenate([p.reshape(*a.shape[:-2], int(np.prod(p.shape[a.ndim - 2 :]))) for p in parts], axis=-1)


def _usv(y: Any, m: int, n: int) -> tuple[Any, Any, Any]:
    """The three out of the one vector."""
    k, batch = n if n < m else m, y.shape[:-1]
    return y[..., : m * k].reshape(*batch, m, k), y[..., m * k : m * k + k], y[..., m * k + k :].reshape(*batch, k, n)


def _svd_vjp(g: Any, y: Any, a: Any) -> Any:
    m, n = a.shape[-2:]
    (u, s, vh), (gu, gs, gvh) = _usv(y, m, n), _usv(g, m, n)
    f = _gaps(s * s)
    j, k = f * (u.mT @ gu), f * (vh @ gvh.mT)
    row, over = s[..., None, :], _one_over(s)
    middle = (j + j.mT) * row + s[..., :, None] * (k + k.mT) + gs[..., None, :] * np.eye(s.shape[-1], dtype=a.dtype)
    beside_u = (gu - u @ (u.mT @ gu)) * over[..., None, :]
    beside_v = over[..., :, None] * (gvh - gvh @ vh.mT @ vh)
    return u @ middle @ vh + beside_u @ vh + u @ beside_v


_svd.vjp(
    "a",
    r"U \big((J + J^\top) S + S (K + K^\top) + \bar S\big) V^\top + (I - U U^\top) \bar U S^{-1} V^\top"
    r" + U S^{-1} \bar V^\top (I - V V^\top), \quad J = F \odot (U^\top \bar U), \quad K = F \odot (V^\top \bar V),"
    r" \quad F_{ij} = 1 / (s_j^2 - s_i^2)",
    _svd_vjp,
)
_svd.examples = lambda rng: [
    Example((rng.normal(size=shape),), {}, lambda a: _svd_free_of_signs(a))
    for shape in [(3, 3), (3, 2), (2, 3), (2, 2, 2)]
]


def _svd_free_of_signs(a: Any) -> Any:
    """The singular values, then U and Vᵀ with the sign of each vector fixed by the largest entry of U's."""
    u, s, vh = svd(a, full_matrices=False)
    signs = np.sign(np.take_along_axis(u.data, np.argmax(np.abs(u.data), -2, keepdims=True), -2))
    return np.concatenate([s[..., None, :], u * signs, (vh * signs.mT).mT], -2)


@answers("linalg.svd")
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """U, S and Vᵀ with A = U diag(S) Vᵀ of ``a`` (..., m, n), or S alone without ``compute_uv``.

    Raises TypeError for ``full_matrices`` of one that is not square: the columns beyond min(m, n) have no derivative.
    """
    m, n = np.shape(a)[-2:]
    if compute_uv and full_matrices and m != n:
        raise TypeError(
            f"minigrad: np.linalg.svd of {np.shape(a)} with full_matrices=True has no derivative here; "
            "use full_matrices=False"
        )
    found = SVDResult(*_usv(_svd(a), m, n))
    return found if compute_uv else found.S


@answers("linalg.svdvals")
def svdvals(x: Any) -> Any:
    """The singular values of ``x`` (..., m, n) in descending order: (..., min(m, n))."""
    return svd(x, compute_uv=False)


# Norms ----------------------------------------------------------------------------------------------------------------


@answers("linalg.vector_norm")
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """(Σ|x|ᵖ)^(1/p) over ``axis``, p = ``ord``; for ±∞ the largest or smallest |x|.  Derivative 0 at 0."""
    if np.ndim(ord):
        raise TypeError(f"norm: ord={ord!r}; expected a number")
    if ord in (None, 2, 2.0):
        return euclidean(x, axis=axis, keepdims=keepdims)
    if ord in (np.inf, -np.inf):
        return (max if ord > 0 else min)(abs(x), axis=axis, keepdims=keepdims)
    if ord == 1:
        return sum(abs(x), axis=axis, keepdims=keepdims)
    if ord == 0:
        raise TypeError(
            "minigrad: np.linalg.norm with ord=0 has no derivative here: it counts; use t.data if no gradient is wanted"
        )
    total = sum(power(abs(x), ord), axis=axis, keepdims=keepdims)
    nothing = np.equal(total, 0)
    return where(nothing, 0.0, power(where(nothing, 1.0, total), 1 / ord))


@answers("linalg.matrix_norm")
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norms of matrices (..., m, n): "fro", "nuc" (the sum of the singular values), 2 and −2 (the largest and the
    smallest of them), ±1 (of the column sums of |x|), ±∞ (of the row sums)."""
    if ord in (None, "fro"):
        return euclidean(x, axis=(-2, -1), keepdims=keepdims)
    if ord not in ("nuc", 1, -1, 2, -2, np.inf, -np.inf):
        raise ValueError(f"norm: ord={ord!r} of matrices; expected 'fro', 'nuc', 1, -1, 2, -2, inf or -inf")
    if ord in ("nuc", 2, -2):
        values = svdvals(x)
    else:
        values = sum(abs(x), axis=-2 if ord in (1, -1) else -1)
    found = sum(values, axis=-1) if ord == "nuc" else (max if ord > 0 else min)(values, axis=-1)
    return found[..., None, None] if keepdims else found


@answers("linalg.norm")
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm ``ord`` of all of ``x``, of the vectors along ``axis``, or of the matrices in two axes, as in NumPy."""
    axis = int(axis) if axis is not None and np.ndim(axis) == 0 else axis
    if ord is None or np.ndim(x) < 2 or (axis is not None and np.size(axis) == 1):
        return vector_norm(x, axis=axis, keepdims=keepdims, ord=2 if ord is None else ord)
    if axis is None and np.ndim(x) != 2:
        raise ValueError(f"norm: ord={ord!r} of an array of shape {np.shape(x)}; say over which axis, or which two")
    pair = (-2, -1) if axis is None else tuple(axis)
    if len(pair) != 2:
        raise ValueError(f"norm: axis={axis}; expected one axis or two")
    found = matrix_norm(moveaxis(x, pair, (-2, -1)), ord=ord, keepdims=keepdims)
    return moveaxis(found, (-2, -1), pair) if keepdims else found


# Products -------------------------------------------------------------------------------------------------------------

answers("linalg.matmul")(lambda x1, x2, /: matmul(x1, x2))
answers("linalg.outer")(lambda x1, x2, /: outer(x1, x2))
answers("linalg.tensordot")(lambda x1, x2, /, *, axes=2: tensordot(x1, x2, axes))


@answers("linalg.cross")
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The cross products of vectors of three entries along ``axis``."""
    return numpy_functions.cross(x1, x2, axis=axis)


@answers("linalg.trace")
def trace(x: Any, /, *, offset: int = 0) -> Any:
    """The sum of the diagonal of the last two axes, ``offset`` places above the main one."""
    return numpy_functions.trace(x, offset, -2, -1)


@answers("linalg.diagonal")
def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonal of the last two axes, ``offset`` places above the main one."""
    return numpy_functions.diagonal(x, offset, -2, -1)


@answers("linalg.multi_dot")
def multi_dot(arrays: Any) -> Any:
    """The matrix product of all, from left to right."""
    return reduce(dot, arrays)


@answers("linalg.matrix_power")
def matrix_power(a: Any, n: int) -> Any:
    """``a`` (..., m, m) times itself, ``n`` factors; of the inverse for negative ``n``."""
    x = tensor(a)
    if n == 0:
        return x * 0 + np.eye(x.shape[-1], dtype=x.dtype)
    return reduce(matmul, [inv(x) if n < 0 else x] * (n if n > 0 else -n))
