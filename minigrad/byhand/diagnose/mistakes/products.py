r"""Products of matrices, and picking rows: factors that are not transposed, contributions that are overwritten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import mistake


def _try(product: Callable[[], np.ndarray], shape: tuple[int, ...]) -> Any:
    try:
        found = product()
    except ValueError:
        return None
    return found if found.shape == shape else None


@mistake(
    "matmul",
    "missing transposition",
    "the second factor is not transposed: the gradient of A in C = A B is C̄ Bᵀ, here it is C̄ B",
)
def _(g, c, a, b):
    return [_try(lambda: g @ b, a.shape), None]


@mistake(
    "matmul",
    "missing transposition",
    "the first factor is not transposed: the gradient of B in C = A B is Aᵀ C̄, here it is A C̄",
)
def _(g, c, a, b):
    return [None, _try(lambda: a @ g, b.shape)]


@mistake(
    "matmul",
    "wrong order",
    "the factors stand in the wrong order: the gradient of A in C = A B is C̄ Bᵀ, here it is Bᵀ C̄",
)
def _(g, c, a, b):
    return [_try(lambda: b.mT @ g, a.shape) if b.ndim > 1 else None, None]


@mistake(
    "matmul",
    "wrong order",
    "the factors stand in the wrong order: the gradient of B in C = A B is Aᵀ C̄, here it is C̄ Aᵀ",
)
def _(g, c, a, b):
    return [None, _try(lambda: g @ a.mT, b.shape) if a.ndim > 1 else None]


@mistake("matmul", "missing transposition", "C̄ᵀ stands where C̄ belongs, in the gradient of A or B of C = A B")
def _(g, c, a, b):
    if min(g.ndim, a.ndim, b.ndim) < 2 or g.shape[-1] != g.shape[-2]:
        return [None, None]
    return [_try(lambda: g.mT @ b.mT, a.shape), _try(lambda: a.mT @ g.mT, b.shape)]


def _repeated(ids: np.ndarray) -> bool:
    return len(np.unique(ids)) < ids.size


@mistake(
    "_take",
    "overwritten",
    "the last one wins: where an index occurs more than once the gradients must be added, not overwritten (dW[ids]"
    " = g)",
)
def _(g, y, x, indices, axis):
    dx = np.zeros(x.shape)
    np.moveaxis(dx, axis, 0)[indices] = np.moveaxis(
        g, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim))
    )
    return [dx if _repeated(indices) else None]


@mistake("_take", "overwritten", "the first one wins: where an index occurs more than once the gradients must be added")
def _(g, y, x, indices, axis):
    rows = np.moveaxis(g, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim)))
    dx = np.zeros(x.shape)
    flat, rest = indices.ravel()[::-1], rows.reshape(indices.size, *rows.shape[indices.ndim :])[::-1]
    np.moveaxis(dx, axis, 0)[flat] = rest
    return [dx if _repeated(indices) else None]


@mistake(
    "_take", "superfluous mean", "where an index occurs more than once the gradients are averaged; they must be added"
)
def _(g, y, x, indices, axis):
    rows = np.moveaxis(g, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim)))
    dx = np.zeros(x.shape)
    np.add.at(np.moveaxis(dx, axis, 0), indices, rows)
    times = np.bincount(indices.ravel(), minlength=x.shape[axis])
    np.moveaxis(dx, axis, 0)[...] /= np.maximum(times, 1).reshape(-1, *[1] * (x.ndim - 1))
    return [dx if _repeated(indices) else None]


@mistake(
    "pick",
    "overwritten",
    "the last one wins: where an entry is picked more than once the gradients must be added, not overwritten",
)
def _(g, y, x, index):
    dx = np.zeros(x.shape)
    dx[index] = g
    return [dx]


@mistake("pick", "flipped", "the places are taken in reverse order: the gradient is put back from the end")
def _(g, y, x, index):
    dx = np.zeros(x.shape)
    np.add.at(dx, index, np.flip(g))
    return [dx if g.ndim else None]


for _op in ("transpose", "swapaxes"):

    @mistake(_op, "missing transposition", "the gradient is not transposed back")
    def _(g, y, x, **params):
        return [g if g.shape == x.shape else None]


@mistake("flip", "not reversed", "the gradient is not flipped back")
def _(g, y, x, axis=None):
    return [g]


@mistake(
    "_concatenate",
    "wrong part",
    "the parts of concatenate are exchanged: another part's slice of the gradient is taken",
)
def _(g, y, *arrays, axis=0):
    if len({a.shape for a in arrays}) > 1 or len(arrays) < 2:
        return [None] * len(arrays)
    parts = np.split(g, len(arrays), axis=axis)
    return parts[1:] + parts[:1]


@mistake("_stack", "wrong part", "the parts of stack are exchanged: another part's slice of the gradient is taken")
def _(g, y, *arrays, axis=0):
    parts = [np.squeeze(p, axis) for p in np.split(g, len(arrays), axis=axis)]
    return parts[1:] + parts[:1] if len(parts) > 1 else [None]
