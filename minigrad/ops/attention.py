r"""Scaled dot-product attention, one op from q, k, v to the output.

.. math:: S = \tau Q K^\top + M, \qquad P = \operatorname{softmax}(S), \qquad O = P V, \qquad \tau = 1/\sqrt{d_k}

With upstream gradient :math:`\bar O`: :math:`\bar V = P^\top \bar O`, :math:`\bar P = \bar O V^\top`,
:math:`\bar S = P \odot (\bar P - \operatorname{rowsum}(\bar P \odot P))`, :math:`\bar Q = \tau \bar S K`, :math:`\bar K = \tau \bar S^\top Q`,
:math:`\bar M = \bar S`.  Source: Vaswani et al. (2017), eq. 1.

Sizes: ``B`` batch (any leading axes), ``H`` heads, ``T`` queries, ``S`` keys, ``D`` head width.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..graph import Example, Value, op, plain
from ..random import generator
from .attention_blocks import attend, attend_vjp, dropout_matrix, future
from .fused import softmax_twin
from .indexing import take


def attention_twin(
    q: Any, k: Any, v: Any, bias: Any = None, mask: Any = None, causal: bool = False, scale: float | None = None, drop: Any = None
) -> tuple[Any, Any]:
    """The output and the weights P (after dropout), in plain operators."""
    q, k, v = (x if hasattr(x, "mT") else np.asarray(x) for x in (q, k, v))
    keep = None if drop is None else dropout_matrix(plain(q), plain(k), plain(v), causal, drop)
    k, v = shared_heads(q, k), shared_heads(q, v)
    scores = q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)  # (..., H, T, S)
    for added in (bias, mask, future(*scores.shape[-2:], scores.dtype) if causal else None):
        if added is not None:
            scores = scores + added
    weights = softmax_twin(scores)
    if keep is not None:
        weights = weights * keep
    return weights @ v, weights


def shared_heads(q: Any, x: Any) -> Any:
    """Keys or values (..., Hkv, S, D) repeated for the query heads that share them: head h reads h // (H / Hkv)."""
    group = q.shape[-3] // x.shape[-3] if q.ndim > 2 else 1
    return x if group == 1 else take(x, np.arange(q.shape[-3]) // group, -3)


@op(r"O = \operatorname{softmax}(\tau Q K^\top + M) \, V", inputs=["q", "k", "v", "bias"], saves=True)
def attention(q, k, v, bias=None, mask=None, causal=False, scale=None, drop=None, save=False):
    """softmax(τ q kᵀ + bias) v; see ``scaled_dot_product_attention``.  A ``mask`` is a bias without a gradient."""
    q, k, v = kernels.real(q), kernels.real(k), kernels.real(v)
    tau = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    return attend(q, k, v, bias if mask is None else mask, causal, tau, drop, save)


attention.twin = lambda *inputs, **params: attention_twin(*inputs, **params)[0]


@attention.joint_vjp(
    q=r"\tau \bar S K, \quad P = \operatorname{softmax}(\tau Q K^\top + M), \quad \bar P = \bar O V^\top,"
    r" \quad \bar S = P \odot \big(\bar P - \operatorname{rowsum}(\bar P \odot P)\big)",
    k=r"\tau \bar S^\top Q",
    v=r"P^\top \bar O",
    bias=r"\bar S",
)
def _attention_vjp(
    g: Any, o: Any, q: Any, k: Any, v: Any, bias: Any = None, mask: Any = None, causal: bool = False, scale: Any = None, drop: Any = None,
    saved: Any = None,
) -> tuple[Any, ...]:  # fmt: skip
    tau = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    if saved is not None:
        return attend_vjp(g, o, q, k, v, bias if mask is None else mask, causal, tau, drop, saved, bias is not None)
    _, p = attention_twin(q, k, v, bias, mask, causal, scale)
    group = q.shape[-3] // k.shape[-3] if q.ndim > 2 else 1
    keep = 1.0 if drop is None else dropout_matrix(plain(q), plain(k), plain(v), causal, drop)
    dv = (p * keep).mT @ g
    dp = g @ shared_heads(q, v).mT * keep
    ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    dq = tau * (ds @ shared_heads(q, k))
    dk = tau * (ds.mT @ q)
    return dq, _ungroup(dk, group), _ungroup(dv, group), ds


def _ungroup(d: Any, group: int) -> Any:
    """Sum the gradients of the query heads that shared a key/value head: (..., H, S, D) → (..., Hkv, S, D)."""
    if group == 1:
        return d
    return d.reshape(*d.shape[:-3], d.shape[-3] // group, group, *d.shape[-2:]).sum(axis=-3)


def _examples(rng: np.random.Generator) -> list[Example]:
    """With and without each of: head axis, batch, grouped heads, bias, causal mask, scale, dropout, and a query that sees nothing."""
    shut = np.where(rng.random((3, 4)) < 0.3, -np.inf, 0.0)
    shut[1] = -np.inf
    cases: list[tuple[Any, ...]] = [  # q, k, v, bias, params
        ((3, 2), (4, 2), (4, 3), None, {}),
        ((2, 3, 2), (2, 4, 2), (2, 4, 2), None, {"causal": True}),
        ((2, 2, 3, 2), (2, 2, 4, 2), (2, 2, 4, 2), rng.normal(size=(2, 2, 3, 4)), {"scale": 0.3}),
        ((2, 4, 3, 2), (2, 2, 4, 2), (2, 2, 4, 2), rng.normal(size=(4, 1, 4)), {"causal": True}),
        ((2, 2, 3, 2), (2, 1, 4, 2), (2, 1, 4, 1), rng.normal(size=(2, 1, 1, 4)), {"drop": (0.3, 5)}),
        ((1, 4, 2), (1, 3, 2), (1, 3, 2), None, {"causal": True}),
        ((2, 3, 2), (1, 4, 2), (1, 4, 2), shut, {}),
        ((2, 3, 2), (1, 4, 2), (1, 4, 2), None, {"mask": shut, "causal": True}),
        ((2, 1, 3, 2), (1, 1, 4, 2), (2, 1, 4, 2), rng.normal(size=(3, 4)), {"causal": True}),
    ]
    return [Example((*(rng.normal(size=s) for s in shapes), bias), params) for *shapes, bias, params in cases]


attention.examples = _examples


def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    return_weights: bool = False,
) -> Any:
    """softmax(q kᵀ · scale + mask) v: each query's average of the values, weighted by how well its key matches.

    ``q`` (..., H, T, D), ``k`` and ``v`` (..., Hkv, S, D) with H a multiple of Hkv (or all without the head axis);
    ``mask`` broadcasts to (..., H, T, S) and is boolean (True = may attend) or added to the scores; ``causal`` aligns the last
    query with the last key; ``scale`` is 1/√D unless given; ``dropout`` zeroes weights with that probability.  A query
    that may attend to nothing gets zeros.  Returns the output (..., H, T, D), with ``return_weights`` also the weights
    (..., H, T, S).  Raises ValueError for shapes that do not fit.  Source: Vaswani et al. (2017), eq. 1.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"scaled_dot_product_attention: dropout={dropout}; expected a probability from 0 up to, but not including, 1")
    q, k, v = (x if hasattr(x, "dtype") else np.asarray(x, np.float64) for x in (q, k, v))
    shapes = (q.shape, k.shape, v.shape)
    if not shapes[0] == shapes[1] == shapes[2] or q.ndim < 2:
        _check_shapes(*shapes)
    bias = fixed = drop = None
    if mask is not None:
        batch = np.broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3])
        added = _added(mask, (*batch, *q.shape[-3:-1], k.shape[-2]), np.result_type(np.float16, *(x.dtype for x in (q, k, v))))
        learned = isinstance(added, Value) and added.requires_grad
        bias, fixed = (added, None) if learned else (None, getattr(added, "data", added) if isinstance(added, Value) else added)
    if dropout:
        drop = (dropout, int(generator().integers(1 << 62)))
    if return_weights:
        return attention_twin(q, k, v, bias, fixed, causal, scale, drop)
    return attention(q, k, v, bias, fixed, causal, scale, drop)


def _check_shapes(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    name = "scaled_dot_product_attention"
    if not len(q) == len(k) == len(v) >= 2:
        raise ValueError(f"{name}: q {q}, k {k}, v {v}; expected the same number of axes, (..., heads, length, width)")
    if q[-1] != k[-1]:
        raise ValueError(f"{name}: queries of width {q[-1]} cannot meet keys of width {k[-1]} (q {q}, k {k})")
    if k[-2] != v[-2]:
        raise ValueError(f"{name}: {k[-2]} keys but {v[-2]} values (k {k}, v {v}); each key needs its value")
    if len(q) > 2 and (k[-3] != v[-3] or k[-3] == 0 or q[-3] % k[-3]):
        raise ValueError(f"{name}: {q[-3]} query heads over {k[-3]} key and {v[-3]} value heads; expected a multiple")
    try:
        np.broadcast_shapes(q[:-3], k[:-3], v[:-3])
    except ValueError as error:
        raise ValueError(f"{name}: batch axes of q {q}, k {k}, v {v} do not broadcast") from error


def _added(mask: Any, full: tuple[int, ...], dtype: Any) -> Any:
    """The mask as something to add to the scores; a boolean one becomes 0 and −∞."""
    shape = np.shape(mask)
    try:
        fits = np.broadcast_shapes(shape, full) == full
    except ValueError:
        fits = False
    if not fits:
        hint = ""
        if len(shape) >= 2 and shape[-2:] == (full[-1], full[-2]) and full[-1] != full[-2]:
            hint = " It looks transposed: queries are rows, keys are columns."
        elif len(shape) == 2 and full[:1] + full[-1:] == shape:
            hint = " A padding mask (batch, keys) needs two axes more: mask[:, None, None, :], or padding_mask(mask)."
        raise ValueError(f"scaled_dot_product_attention: mask {shape} does not broadcast to (..., queries, keys) = {full}.{hint}")
    array = mask if hasattr(mask, "dtype") else np.asarray(mask)
    if array.dtype == bool:
        return np.where(np.asarray(array), 0.0, -np.inf).astype(dtype)
    if array.dtype.kind != "f":
        raise TypeError(
            f"scaled_dot_product_attention: mask of {array.dtype}; use booleans (True = may attend), mask.astype(bool), or floats to add"
        )
    numbers = np.asarray(array.data if isinstance(array, Value) else array)
    if (numbers == 1).any() and ((numbers == 0) | (numbers == 1)).all() and (numbers == 0).any():
        raise ValueError(
            f"scaled_dot_product_attention: a float mask {shape} of zeros and ones would be added to the scores and hide nothing; "
            "use booleans (True = may attend): mask.astype(bool), or mask == 1"
        )
    return mask if isinstance(mask, Value) else np.array(mask)
