"""Inputs on which the checks try ops: every way of calling one that has a path of its own through its forward or a rule.

Those of ``linalg``, and of an op of your own, are given beside the op: ``my_op.examples = lambda rng: [...]``; those of the other
ops are here, out of the reader's way, and loaded when ``op.examples`` is first asked for.  An elementwise op of one input needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .numerics import index_array
from .numpy_api import contractions
from .numpy_api import ops as more
from .ops import activations, arithmetic, attention, grouped, indexing, linear, norms, reductions, shapes, softmax
from .ops.declare import Example, Op, example


def _broadcasting(rng: np.random.Generator) -> list[Example]:
    """Equal shapes, a missing axis, axes of size 1 on either side and both, numbers, no entries, no axes."""
    pairs = [
        ((3, 4), (3, 4)), ((3, 4), (4,)), ((1, 4), (3, 1)), ((2, 1, 3), (4, 1)), ((2, 3), (1, 1, 1)), ((0, 3), (3,)),
        ((), (2,)), ((), ()),
    ]  # fmt: skip
    return [example(rng.uniform(0.5, 1.5, a), rng.uniform(0.5, 1.5, b)) for a, b in pairs]


def _any_sign(rng: np.random.Generator) -> list[Example]:
    """Small and large, positive and negative, one alone."""
    return [example(rng.normal(size=(3, 4))), example(3 * rng.normal(size=5)), example(rng.normal(size=()))]


def _within(low: float, high: float) -> Callable[[np.random.Generator], list[Example]]:
    return lambda rng: [example(rng.uniform(low, high, (3, 4)))]


def _along_axes(rng: np.random.Generator) -> list[Example]:
    """No axes, one, several, negative ones, all; kept and not; axes of size 1."""
    axes: list[Any] = [None, 0, -1, (0, 2), (-1, 0), (0, 1, 2), ()]
    tried = [example(rng.normal(size=(2, 3, 2)), axis=axis, keepdims=bool(i % 2)) for i, axis in enumerate(axes)]
    return [
        *tried,
        example(rng.normal(size=(2, 1)), axis=1, keepdims=True),
        example(rng.normal(size=4), axis=0),
        example(rng.normal(size=())),
    ]


def _indices() -> list[Any]:
    """Basic and advanced ways of picking from an array of shape (3, 4, 2)."""
    basic = [1, -1, slice(None, None, -2), (Ellipsis, 0), (slice(1, 3), None, 2), (0, 1, 1), slice(0, 0), ()]
    rows, columns = np.array([0, 2, 2, 0]), np.array([1, 3, 3, -1])
    mask = np.arange(12).reshape(3, 4) % 5 < 2
    return [
        *basic,
        rows,
        (rows, columns),
        (rows[:, None], columns),
        (rows, slice(None), 0),
        (0, slice(None), rows - 2),
        mask,
        (mask, 1),
        rows[:0],
    ]


def _of_attention(rng: np.random.Generator) -> list[Example]:
    """With and without each of: head axis, batch, grouped heads, bias, causal mask, scale, dropout, and a query that sees nothing."""
    shut = np.where(rng.random((3, 4)) < 0.3, -np.inf, 0.0)
    shut[1] = -np.inf
    cases: list[tuple[Any, ...]] = [  # q, k, v, bias, params
        ((3, 2), (4, 2), (4, 3), None, {}),
        ((2, 3, 2), (2, 4, 2), (2, 4, 2), None, {"causal": True}),
        ((2, 2, 3, 2), (2, 2, 4, 2), (2, 2, 4, 2), rng.normal(size=(2, 2, 3, 4)), {"scale": 0.3}),
        ((2, 4, 3, 2), (2, 2, 4, 2), (2, 2, 4, 2), rng.normal(size=(4, 1, 4)), {"causal": True}),
        ((2, 2, 3, 2), (2, 1, 4, 2), (2, 1, 4, 1), rng.normal(size=(2, 1, 1, 4)), {"dropout": 0.3, "seed": 5}),
        ((1, 4, 2), (1, 3, 2), (1, 3, 2), None, {"causal": True}),
        ((2, 3, 2), (1, 4, 2), (1, 4, 2), shut, {}),
        ((2, 3, 2), (1, 4, 2), (1, 4, 2), None, {"mask": shut, "causal": True}),
        ((2, 1, 3, 2), (1, 1, 4, 2), (2, 1, 4, 2), rng.normal(size=(3, 4)), {"causal": True}),
    ]
    return [Example((*(rng.normal(size=s) for s in shapes), bias), params) for *shapes, bias, params in cases]


def _rows_of_scores(rng: np.random.Generator) -> list[Example]:
    """The last axis and others, one vector, rows of one entry, no rows."""
    cases = [((3, 4), -1), ((2, 3, 2), 1), ((3, 2), 0), ((4,), 0), ((2, 1), -1), ((0, 3), 1)]
    return [example(rng.normal(size=shape), axis=axis) for shape, axis in cases]


def _activations(rng: np.random.Generator) -> list[Example]:
    """Moderate and large, one alone."""
    return [example(rng.normal(size=(3, 4))), example(4 * rng.normal(size=6)), example(rng.normal(size=()))]


def _linear(rng: np.random.Generator) -> list[Example]:
    """A matrix, a batch of them, a vector; without a bias."""
    return [
        example(rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=2)),
        example(rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 2)), rng.normal(size=2)),
        example(rng.normal(size=4), rng.normal(size=(4, 2)), rng.normal(size=2)),
        example(rng.normal(size=(2, 3)), rng.normal(size=(3, 1)), None),
    ]


COUNTS = [(2, 3), (1, 0, 4), (0, 2, 0), (3,), (0, 0)]


# fmt: off
EXAMPLES: dict[Op[Any], Callable[[np.random.Generator], list[Example]]] = {
    # arithmetic, and NumPy's other elementwise functions
    **dict.fromkeys([arithmetic.add, arithmetic.subtract, arithmetic.multiply, arithmetic.divide], _broadcasting),
    **dict.fromkeys([arithmetic.maximum, arithmetic.minimum], _broadcasting),
    **dict.fromkeys([arithmetic.abs, arithmetic.tanh, arithmetic.sigmoid, arithmetic.erf, arithmetic.relu], _any_sign),
    **dict.fromkeys([more.logaddexp, more.arctan2, more.hypot], _broadcasting),
    **dict.fromkeys([more.sin, more.cos, more.arctan, more.sinh, more.cosh, more.arcsinh], _any_sign),
    **dict.fromkeys([more.arcsin, more.arccos, more.arctanh], _within(-0.9, 0.9)),
    more.tan: _within(-1, 1),
    more.arccosh: _within(1.5, 3),
    more.mod: lambda rng: [example(5 * rng.normal(size=(3, 4)), b * rng.uniform(1, 2, 4)) for b in (1, -1)],
    arithmetic.weigh: lambda rng: [
        example(rng.normal(size=(3, 4)), weights=w) for w in (rng.normal(size=4), rng.random((3, 4)) < 0.5)
    ],
    arithmetic.power: lambda rng: [
        *_broadcasting(rng),
        *(example(rng.normal(size=4), n) for n in (-1, 0, 1, 2, 3)),
        example(rng.normal(size=4), np.arange(4)),
        example(2, rng.normal(size=3)),
        example(np.array([23.0, 2, 3]), np.array([0.0, 1, 2])),  # where the derivative in the base has a factor of 0
    ],
    arithmetic.select: lambda rng: [
        Example((rng.normal(size=a), rng.normal(size=b)), {"condition": rng.random(c) < 0.5})
        for a, b, c in [((3, 4), (3, 4), (3, 4)), ((4,), (3, 1), (2, 1, 1)), ((), (2, 3), (3,)), ((1, 3), (3,), (2, 1))]
    ],
    arithmetic.astype: lambda rng: [example(rng.normal(size=(2, 3)), dtype=np.float64)],
    # reductions
    **dict.fromkeys(
        [reductions.sum, reductions.mean, reductions.max, reductions.min, reductions.logsumexp], _along_axes
    ),
    more.var: lambda rng: [
        *_along_axes(rng),
        example(rng.normal(size=(3, 4)), axis=0, ddof=1),
        example(rng.normal(size=(2, 3)), ddof=2),
    ],
    # shapes
    shapes.reshape: lambda rng: [
        example(rng.normal(size=(2, 6)), shape=shape) for shape in ((3, 4), -1, (2, -1, 3), (1, 12, 1))
    ],
    shapes.transpose: lambda rng: [
        example(rng.normal(size=(2, 3, 4)), axes=axes) for axes in (None, (1, 2, 0), (-1, 0, 1))
    ],
    shapes.swapaxes: lambda rng: [
        example(rng.normal(size=(2, 3, 4)), axis1=i, axis2=j) for i, j in ((0, 2), (-1, -2), (1, 1))
    ],
    shapes.split_heads: lambda rng: [
        example(rng.normal(size=s), num_heads=h) for s, h in [((2, 3, 4), 2), ((3, 6), 3), ((1, 1, 2), 1)]
    ],
    shapes.join_heads: lambda rng: [example(rng.normal(size=s)) for s in [(2, 2, 3, 2), (3, 2, 2), (1, 1, 1)]],
    shapes.broadcast_to: lambda rng: [
        example(rng.normal(size=a), shape=b)
        for a, b in [((3,), (2, 3)), ((2, 1, 3), (2, 4, 3)), ((1, 1), (2, 3)), ((), (2,)), ((2, 3), (2, 3))]
    ],
    shapes.sum_to: lambda rng: [
        example(rng.normal(size=a), shape=b)
        for a, b in [((2, 3), (3,)), ((2, 4, 3), (2, 1, 3)), ((2, 3), (1, 1)), ((2,), ()), ((2, 3), (2, 3))]
    ],
    shapes._concatenate: lambda rng: [
        Example(tuple(rng.normal(size=s) for s in sizes), {"axis": axis})
        for axis, *sizes in [(0, (2, 3), (1, 3)), (-1, (2, 1), (2, 3), (2, 2)), (1, (1, 2, 2), (1, 0, 2)), (0, (3,))]
    ],
    shapes._stack: lambda rng: [
        Example(tuple(rng.normal(size=(2, 3)) for _ in range(n)), {"axis": axis})
        for n, axis in [(2, 0), (3, 1), (2, -1), (2, -3), (1, 0)]
    ],
    # linear
    linear.matmul: lambda rng: [
        example(rng.normal(size=a), rng.normal(size=b))
        for a, b in [
            ((3, 4), (4, 2)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 3, 4), (4, 2)), ((2, 3), (4, 3, 2)),
            ((2, 1, 3, 2), (4, 2, 3)), ((1, 2, 3), (2, 3, 1)), ((3,), (2, 3, 2)), ((2, 2, 3), (3,)),
            ((2, 0), (0, 3)), ((0, 2), (2, 3)), ((1, 1), (1, 1)),
        ]
    ],
    # indexing
    indexing.pick: lambda rng: [example(rng.normal(size=(3, 4, 2)), index=i) for i in _indices()],
    indexing.put: lambda rng: [
        example(rng.normal(size=np.empty((3, 4, 2))[i].shape), index=i, shape=(3, 4, 2)) for i in _indices()
    ],
    indexing._take: lambda rng: [
        example(rng.normal(size=(3, 4, 2)), indices=index_array(rng.integers(0, 2, shape)), axis=axis)
        for shape, axis in [((5,), 0), ((2, 3), 1), ((), 2), ((0,), 1), ((1, 4), 0)]
    ],
    indexing._put_along: lambda rng: [
        example(rng.normal(size=shape), indices=index_array(rng.integers(0, 3, ids)), axis=axis, size=4)
        for shape, ids, axis in [((5, 2), (5,), 0), ((2, 2, 3), (2, 3), 1), ((2, 3), (), 1), ((0, 2), (0,), 0)]
    ],
    # softmax
    **dict.fromkeys([softmax.softmax, softmax.log_softmax], _rows_of_scores),
    softmax._cross_entropy: lambda rng: [
        Example(
            (rng.normal(size=(*shape, 4)),),
            {"targets": rng.integers(0, 4, shape), "ignore_index": ignored, "label_smoothing": smoothing, "reduction": reduction},
        )
        for shape, ignored, smoothing, reduction in [
            ((3,), None, 0.0, "mean"), ((2, 3), 1, 0.0, "mean"), ((2, 3), None, 0.1, "sum"),
            ((2, 3), 2, 0.2, "none"), ((5,), 0, 0.3, "mean"), ((), None, 0.0, "none"), ((4,), None, 0.0, "none"),
        ]
    ],
    # norms
    norms.layer_norm: lambda rng: [
        example(
            rng.normal(size=shape),
            rng.uniform(0.5, 2, shape[-1]),
            rng.normal(size=shape[-1]) if bias else None,
            eps=eps,
        )
        for shape, bias, eps in [
            ((3, 4), True, 1e-5), ((2, 3, 5), False, 1e-5), ((4,), True, 0.1), ((2, 2), False, 1e-2),
        ]
    ],
    norms.rms_norm: lambda rng: [
        example(rng.normal(size=shape), rng.uniform(0.5, 2, shape[-1]), eps=eps)
        for shape, eps in [((3, 4), 1e-6), ((2, 3, 5), 0.1), ((4,), 1e-6)]
    ],
    # activations
    **dict.fromkeys([activations.silu, activations._gelu_erf, activations._gelu_tanh], _activations),
    **dict.fromkeys([linear.linear, activations.linear_gelu], _linear),
    # attention
    attention.attention: _of_attention,
    # grouped
    grouped.grouped_linear: lambda rng: [
        example(rng.normal(size=(sum(c), 3)), rng.normal(size=(len(c), 3, size)), counts=np.array(c))
        for c in COUNTS
        for size in (2, 3)
    ],
    grouped.grouped_outer: lambda rng: [
        example(rng.normal(size=(sum(c), 3)), rng.normal(size=(sum(c), size)), counts=np.array(c))
        for c in COUNTS
        for size in (2, 3)
    ],
    # NumPy's breadth
    contractions._einsum: lambda rng: [
        Example(tuple(rng.normal(size=s) for s in shapes), {"subscripts": subscripts})  # type: ignore[arg-type]
        for subscripts, *shapes in [
            ("ij,jk->ik", (2, 3), (3, 2)), ("bij,bkj->bik", (2, 2, 3), (2, 2, 3)), ("ij->ji", (2, 3)),
            ("ij->", (2, 3)), ("ij->i", (2, 3)), ("ii->i", (3, 3)), ("ii->", (3, 3)), ("iij->ji", (2, 2, 3)),
            ("iii->i", (2, 2, 2)), ("ij,ij->", (2, 3), (2, 3)), ("i,j->ij", (2,), (3,)),
            ("ij,jk,kl->il", (2, 3), (3, 2), (2, 2)), ("ij,kj->ik", (2, 1), (3, 4)), ("bi,bi->b", (1, 3), (2, 3)),
            ("ii,i->i", (2, 2), (2,)), ("i,k->i", (3,), (2,)), (",ij->ji", (), (2, 3)),
        ]
    ],
    more.clip: lambda rng: [
        example(rng.normal(size=(3, 4)), min=-0.5, max=0.5),
        example(rng.normal(size=5), max=0.2),
        example(rng.normal(size=5), min=0.2),
        example(rng.normal(size=(3, 4)), min=np.array([-0.5, 0.0, 0.1, -9.0]), max=np.ones((3, 1))),
    ],
    more.cumsum: lambda rng: [example(rng.normal(size=(2, 3, 2)), axis=axis) for axis in (None, 0, 1, -1)],
    more.prod: lambda rng: [
        *_along_axes(rng),
        *(example(np.array([[0.0, 2.0, 3.0], [4.0, 0.0, 0.0]]), axis=axis) for axis in (None, 0, 1)),
    ],
    more.cumprod: lambda rng: [
        *(example(rng.normal(size=(2, 3, 2)), axis=axis) for axis in (None, 0, 1, -1)),
        example(np.array([2.0, 0.0, 3.0, 0.0, 5.0])),
    ],
    more.pad: lambda rng: [
        example(rng.normal(size=(2, 3)), pad_width=width, constant_values=value)
        for width, value in [(1, 0), (((1, 2), (0, 3)), 5.0), ((2, 1), 0)]
    ],
    **dict.fromkeys(
        [more.tril, more.triu],
        lambda rng: [example(rng.normal(size=s), k=k) for s, k in [((3, 3), 0), ((2, 3, 4), 1), ((3, 2), -1)]],
    ),
    more.flip: lambda rng: [example(rng.normal(size=(2, 3, 2)), axis=axis) for axis in (None, 0, -1, (0, 2))],
}
# fmt: on
