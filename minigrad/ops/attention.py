r"""Scaled dot-product attention, one op from q, k, v to the output.

.. math:: S = \tau Q K^\top + M, \qquad P = \operatorname{softmax}(S), \qquad O = P V, \qquad \tau = 1/\sqrt{d_k}

With upstream gradient :math:`\bar O`: :math:`\bar V = P^\top \bar O`, :math:`\bar P = \bar O V^\top`,
:math:`\bar S = P \odot (\bar P - \operatorname{rowsum}(\bar P \odot P))`, :math:`\bar Q = \tau \bar S K`, :math:`\bar K = \tau \bar S^\top Q`,
:math:`\bar M = \bar S`.  Source: Vaswani et al. (2017), eq. 1.

Sizes: ``B`` batch (any leading axes), ``H`` heads, ``T`` queries, ``S`` keys, ``D`` head width.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..arguments import added_mask, check_attention, check_mask
from ..graph import Value
from .declare import composed, recorded
from .dropout import draw_seed, seeded_mask
from .indexing import take
from .softmax import softmax

KEPT = 1 << 21  # a kernel keeps up to this many weights for the backward pass, and computes more of them again
ROWS = 64  # a kernel works on at least this many queries at a time; here, since the counting of work and memory asks too


@composed(
    r"O = \operatorname{softmax}(\tau Q K^\top + M) \, V",
    inputs=["q", "k", "v", "bias"],
    q=r"\tau \bar S K, \quad P = \operatorname{softmax}(\tau Q K^\top + M), \quad \bar P = \bar O V^\top,"
    r" \quad \bar S = P \odot \big(\bar P - \operatorname{rowsum}(\bar P \odot P)\big)",
    k=r"\tau \bar S^\top Q",
    v=r"P^\top \bar O",
    bias=r"\bar S",
)
def attention(q, k, v, bias=None, mask=None, causal=False, scale=None, dropout=0.0, seed=None):
    """softmax(τ q kᵀ + bias) v; see ``scaled_dot_product_attention``.  A ``mask`` is a bias without a gradient."""
    weights = attention_weights(q, k, bias, mask, causal, scale, dropout, seed)
    return weights @ shared_heads(q, v)


def attention_weights(q, k, bias=None, mask=None, causal=False, scale=None, dropout=0.0, seed=None):
    """P (..., H, T, S), after dropout."""
    scores = q @ shared_heads(q, k).mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    for added in (bias, mask, future(*scores.shape[-2:], scores.dtype) if causal else None):
        if added is not None:
            scores = scores + added
    weights = softmax(scores)
    return weights * attention_mask(weights.shape, dropout, seed, weights.dtype) if dropout else weights


@recorded
def attention_mask(shape, p, seed, dtype):
    """The dropout mask of the weights."""
    return seeded_mask(shape, p, seed, dtype)


@lru_cache(maxsize=16)
def future(t: int, s: int, dtype: Any) -> np.ndarray:
    """(T, S): −∞ where a key lies in the future of a query, else 0; the last query sees the last key.  Not to be written."""
    return np.triu(np.full((t, s), -np.inf, dtype), s - t + 1)


def shared_heads(q: Any, x: Any) -> Any:
    """Keys or values (..., Hkv, S, D) repeated for the query heads that share them: head h reads h // (H / Hkv)."""
    group = q.shape[-3] // x.shape[-3] if q.ndim > 2 else 1
    return x if group == 1 else take(x, np.arange(q.shape[-3]) // group, -3)


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
        check_attention(*shapes)
    bias = fixed = None
    if mask is not None:
        batch = np.broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3])
        full, dtype = (*batch, *q.shape[-3:-1], k.shape[-2]), np.result_type(np.float16, *(x.dtype for x in (q, k, v)))
        learned: Any = mask if isinstance(mask, Value) and mask.requires_grad else None
        if learned is not None:
            check_mask(learned.shape, learned.dtype, full)
            bias = learned if learned.dtype == dtype else learned.astype(dtype)
        else:
            fixed = added_mask(mask, full, dtype)
    settings = {"mask": fixed, "causal": causal, "scale": scale, "dropout": dropout, "seed": draw_seed() if dropout else None}
    inputs, settings = attention.bind((q, k, v, bias), {name: value for name, value in settings.items() if value is not None})
    if return_weights:
        weights = attention_weights(q, k, bias, **settings)
        return weights @ shared_heads(q, v), weights
    return attention.apply(inputs, settings)


