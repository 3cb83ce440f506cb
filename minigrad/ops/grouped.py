r"""Rows in groups, each group times a matrix of its own: the product behind a mixture of experts.

.. math:: y_n = x_n W_{e(n)} \quad\Rightarrow\quad \bar x_n = \bar y_n W_{e(n)}^\top, \qquad \bar W_e = \sum_{n \in e} x_n^\top \bar y_n

The rows lie group after group; ``counts`` (E,) says how many each has.  The two ops are each other's derivatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .declare import op


def groups(name: str, counts: Any, rows: int) -> Iterator[slice]:
    """The rows of each group; ValueError unless they are all rows, once."""
    counts = np.asarray(counts)
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any() or counts.sum() != rows:
        raise ValueError(
            f"{name}: counts {counts.tolist()} for {rows} rows; expected whole numbers from 0 on that add up to {rows}"
        )
    stops = np.cumsum(counts)
    return (slice(int(stop - count), int(stop)) for stop, count in zip(stops, counts))


@op(r"y_n = x_n W_{e(n)}", inputs=["x", "weight"])
def grouped_linear(x, weight, counts):
    """``x`` (N, in) times, for each row, the matrix of its group in ``weight`` (E, in, out): (N, out)."""
    if np.ndim(x) != 2 or np.ndim(weight) != 3 or x.shape[1] != weight.shape[1] or len(weight) != len(counts):
        sizes = f"x {np.shape(x)}, weight {np.shape(weight)}, {len(counts)} counts"
        raise ValueError(f"grouped_linear: {sizes}; expected (N, in), (E, in, out) and E")
    y = np.empty((len(x), weight.shape[2]), np.result_type(x, weight))
    for w, rows in zip(weight, groups("grouped_linear", counts, len(x))):
        y[rows] = np.matmul(x[rows], w)
    return y


@op(r"W_e = \sum_{n \in e} x_n^\top y_n", inputs=["x", "y"])
def grouped_outer(x, y, counts):
    """For each group the product of its rows of ``x`` (N, in), transposed, and of ``y`` (N, out): (E, in, out)."""
    if np.ndim(x) != 2 or np.ndim(y) != 2 or len(x) != len(y):
        raise ValueError(f"grouped_outer: x {np.shape(x)}, y {np.shape(y)}; expected as many rows in both")
    weight = np.empty((len(counts), x.shape[1], y.shape[1]), np.result_type(x, y))
    for e, rows in enumerate(groups("grouped_outer", counts, len(x))):
        weight[e] = np.matmul(x[rows].T, y[rows])
    return weight


def _linear_x(g: Any, y: Any, x: Any, weight: Any, counts: Any) -> Any:
    return grouped_linear.on(g, weight.mT, counts)


def _linear_weight(g: Any, y: Any, x: Any, weight: Any, counts: Any) -> Any:
    return grouped_outer.on(x, g, counts)


def _outer_x(g: Any, out: Any, x: Any, y: Any, counts: Any) -> Any:
    return grouped_linear.on(y, g.mT, counts)


def _outer_y(g: Any, out: Any, x: Any, y: Any, counts: Any) -> Any:
    return grouped_linear.on(x, g, counts)


grouped_linear.vjp("x", r"\bar y_n W_{e(n)}^\top", _linear_x)
grouped_linear.vjp("weight", r"\sum_{n \in e} x_n^\top \bar y_n", _linear_weight)
grouped_outer.vjp("x", r"y_n \bar W_{e(n)}^\top", _outer_x)
grouped_outer.vjp("y", r"x_n \bar W_{e(n)}", _outer_y)
