r"""Who does what: the arithmetic of splitting, which needs no second process.

A batch of B rows is split into shares, one for each of N ranks.  The loss of a batch is a mean over its n terms (tokens that are predicted,
labels), so with :math:`n_r` terms in the share of rank r

.. math:: L = \sum_r \frac{n_r}{n} L_r, \qquad \nabla L = \sum_r \frac{n_r}{n} \nabla L_r

exactly, also when N does not divide B, and when padding makes shares of as many rows hold different numbers of terms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minigrad.graph import wrap

from ..training.objectives import piece, rows

BUCKET = 1 << 22  # numbers that travel together, 16 MB in float32


def share(count: int, rank: int, size: int) -> slice:
    """The rows of ``rank`` among ``count``: in order, and no share has more than one row more than another."""
    if not 0 <= rank < size:
        raise ValueError(f"share: rank {rank} of {size}; expected 0 to {size - 1}")
    each, more = divmod(count, size)
    start = rank * each + min(rank, more)
    return slice(start, start + each + (rank < more))


def weighted_share(objective: Any, batch: Any, rank: int, size: int) -> tuple[Any, float]:
    """The rows of a rank and n_r / n, their weight in the mean; the weights of all ranks add up to 1."""
    part = piece(batch, share(rows(batch), rank, size))
    counts = getattr(objective, "counts", rows)
    return part, counts(part) / counts(batch)


def buckets(sizes: Sequence[int], limit: int = BUCKET) -> list[list[int]]:
    """Places of arrays that travel together, the last ones first, as a backward pass finishes them: up to ``limit`` numbers, or one array."""
    found: list[list[int]] = []
    room = 0
    for i in reversed(range(len(sizes))):
        if not found or sizes[i] > room:
            found.append([])
            room = limit
        found[-1].append(i)
        room -= sizes[i]
    return found


class Buckets:
    """The gradients of parameters, packed into a few long rows, so that few long messages carry them."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []  # kept from step to step, as the gradients live in them

    def fill(self, parameters: Sequence[Any]) -> Iterator[tuple[np.ndarray, Callable[[], None]]]:
        """Each row (n,) of gradients, zeros where there are none, and the function that makes ``grad`` of its parameters parts of the row."""
        groups = [[parameters[i] for i in group] for group in buckets([p.size for p in parameters])]
        sizes = [sum(p.size for p in members) for members in groups]
        if [row.size for row in self.rows] != sizes:
            dtype = np.result_type(np.float32, *(p.dtype for p in parameters))
            self.rows = [np.empty(size, dtype) for size in sizes]
        for members, row in zip(groups, self.rows, strict=True):
            np.concatenate([np.zeros(p.size, p.dtype) if p.grad is None else p.grad.data.reshape(-1) for p in members], out=row)
            yield row, functools.partial(hand_out, row, members)


def hand_out(row: np.ndarray, parameters: Sequence[Any]) -> None:
    """Make the gradients of these parameters parts of the row, one after the other."""
    for p, part in zip(parameters, np.split(row, np.cumsum([p.size for p in parameters])[:-1]), strict=True):
        p.grad = wrap(part.reshape(p.shape).astype(p.dtype, copy=False))
