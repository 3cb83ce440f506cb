r"""Products of matrices, and picking rows: factors that are not transposed, contributions that are overwritten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .registry import mistake


def _try(product: Callable[[], np.ndarray], shape: tuple[int, ...]) -> Any:
    try:
        found = product()
    except ValueError:
        return None
    return found if found.shape == shape else None


@mistake("matmul", "missing transposition", "the second factor is not transposed: the gradient of A in C = A B is C̄ Bᵀ, here it is C̄ B")
def _(g, c, a, b):
    return [_try(lambda: g @ b, a.shape), None]


@mistake("matmul", "missing transposition", "the first factor is not transposed: the gradient of B in C = A B is Aᵀ C̄, here it is A C̄")
def _(g, c, a, b):
    return [None, _try(lambda: a @ g, b.shape)]


@mistake("matmul", "wrong order", "the factors stand in the wrong order: the gradient of A in C = A B is C̄ Bᵀ, here it is Bᵀ C̄")
def _(g, c, a, b):
    return [_try(lambda: b.mT @ g, a.shape) if b.ndim > 1 else None, None]


@mistake("matmul", "wrong order", "the factors stand in the wrong order: the gradient of B in C = A B is Aᵀ C̄, here it is C̄ Aᵀ")
def _(g, c, a, b):
    return [None, _try(lambda: g @ a.mT, b.shape) if a.ndim > 1 else None]


@mistake("matmul", "missing transposition", "C̄ᵀ stands where C̄ belongs, in the gradient of A or B of C = A B")
def _(g, c, a, b):
    if min(g.ndim, a.ndim, b.ndim) < 2 or g.shape[-1] != g.shape[-2]:
        return [None, None]
    return [_try(lambda: g.mT @ b.mT, a.shape), _try(lambda: a.mT @ g.mT, b.shape)]


@mistake("linear", "missing transposition", "the weight is not transposed: the gradient of X in Y = X W + b is Ȳ Wᵀ, here it is Ȳ W")
def _(g, y, x, weight, bias=None):
    return [_try(lambda: g @ weight, x.shape), None, None]


@mistake("linear", "missing transposition", "X is not transposed: the gradient of W in Y = X W + b is Xᵀ Ȳ, here it is X Ȳ")
def _(g, y, x, weight, bias=None):
    return [None, _try(lambda: x @ g, weight.shape), None]


for _at, _which in ((-1, "last"), (0, "first")):

    @mistake("linear", "overwritten", f"only the {_which} row of the batch is there; the gradient of W adds up over the batch")
    def _(g, y, x, weight, bias=None, _at=_at):
        rows = x.reshape(-1, x.shape[-1])
        return [None, np.outer(rows[_at], g.reshape(-1, g.shape[-1])[_at]) if len(rows) > 1 else None, None]


def _repeated(ids: np.ndarray) -> bool:
    return len(np.unique(ids)) < ids.size


@mistake("_take", "overwritten", "the last one wins: where an index occurs more than once the gradients must be added, not overwritten (dW[ids] = g)")
def _(g, y, x, indices, axis):
    dx = np.zeros(x.shape)
    np.moveaxis(dx, axis, 0)[indices] = np.moveaxis(g, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim)))
    return [dx if _repeated(indices) else None]


@mistake("_take", "overwritten", "the first one wins: where an index occurs more than once the gradients must be added")
def _(g, y, x, indices, axis):
    rows = np.moveaxis(g, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim)))
    dx = np.zeros(x.shape)
    flat, rest = indices.ravel()[::-1], rows.reshape(indices.size, *rows.shape[indices.ndim :])[::-1]
    np.moveaxis(dx, axis, 0)[flat] = rest
    return [dx if _repeated(indices) else None]


@mistake("_take", "superfluous mean", "where an index occurs more than once the gradients are averaged; they must be added")
def _(g, y, x, indices, axis):
    rows = np.moveaxis(g, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim)))
    dx = np.zeros(x.shape)
    np.add.at(np.moveaxis(dx, axis, 0), indices, rows)
    times = np.bincount(indices.ravel(), minlength=x.shape[axis])
    np.moveaxis(dx, axis, 0)[...] /= np.maximum(times, 1).reshape(-1, *[1] * (x.ndim - 1))
    return [dx if _repeated(indices) else None]


@mistake("pick", "overwritten", "the last one wins: where an entry is picked more than once the gradients must be added, not overwritten")
def _(g, y, x, index):
    dx = np.zeros(x.shape)
    dx[index] = g
    return [dx]
