r"""Attention on arrays, block by block, so that the memory for T tokens grows like T and not like T².

A block is some queries of some heads against the keys that these may see; with a causal mask the later keys are skipped.

.. math:: P = e^{S - \ell}, \quad \ell = \log \textstyle\sum_j e^{S_j}, \quad \bar S = P \odot (\bar O V^\top - \operatorname{rowsum}(\bar O \odot O))

The backward pass makes the weights P again from the scores S and the ℓ of each row; while there are few, they are kept.
Source: Dao et al. (2022), "FlashAttention", algorithms 1 and 4.

Axes: ``N`` batch, ``G`` key/value heads, ``R`` query heads that share one, ``T`` queries, ``S`` keys, ``D`` width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..ops import attention as ops
from ..ops.attention import KEPT, ROWS, future
from ..ops.dropout import seeded_mask
from . import rows as kernels

SCORES = 1 << 17  # about so many scores are made at a time, so that they stay in the cache


class Block(NamedTuple):
    """Batch entries ``n``, groups ``g`` and queries ``t`` of a block, and how many keys ``s`` these queries may see."""

    number: int
    n: slice
    g: slice
    t: slice
    s: int


class Heads:
    """Queries (N, G, R, T, D), keys and values (N, G, 1, S, D), and all that says how they meet."""

    def __init__(self, q: Any, k: Any, v: Any, bias: Any, causal: bool, scale: Any, drop: tuple[float, int] | None) -> None:
        self.groups = k.shape[-3] if k.ndim > 2 else 1
        self.lead = k.shape[:-3]
        if not q.shape[:-3] == k.shape[:-3] == v.shape[:-3]:
            self.lead = np.broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3])
            q, k, v = (np.broadcast_to(x, self.lead + x.shape[-3:]) for x in (q, k, v))
        self.shape = (*self.lead, *q.shape[-3:-2][: max(0, q.ndim - 2)], q.shape[-2], v.shape[-1])  # of the output
        self.q, self.k, self.v = self.split(q), self.split(k), self.split(v)
        self.bias = None if bias is None else self.split(bias)
        scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
        self.causal, self.scale, self.drop = causal, q.dtype.type(scale), drop
        self.queries, self.keys = self.scaled(self.q, self.k)

    def scaled(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two factors whose product is τ x yᵀ: with many rows in x it pays to lay yᵀ side by side in memory."""
        if x.shape[-2] < 16:
            return x * self.scale, y.mT
        return x, np.multiply(y.mT, self.scale, out=np.empty(y.mT.shape, y.dtype))

    def split(self, x: np.ndarray) -> np.ndarray:
        """(..., H, T, D) → (N, G, R, T, D), where N and G may stay 1; a view if that is possible."""
        if x.ndim == 4 and x.shape[1] == self.groups:
            return x[:, :, None]
        x = x.reshape((1,) * (3 - x.ndim) + x.shape)
        if 1 < math.prod(x.shape[:-3]) < math.prod(self.lead):
            x = np.broadcast_to(x, self.lead + x.shape[-3:])
        groups = min(x.shape[-3], self.groups)
        return x.reshape(math.prod(x.shape[:-3]), groups, x.shape[-3] // groups, *x.shape[-2:])

    def blocks(self) -> Iterator[Block]:
        """All blocks; of each head the last queries first, since they see all keys."""
        entries, groups, group, queries, _ = self.q.shape
        keys = self.k.shape[-2]
        rows = min(queries, max(ROWS, min(2 * ROWS, queries // 4)))
        room = max(1, SCORES // max(1, group * rows * keys))  # so many groups are worked on at a time
        g_step, n_step = min(groups, room), max(1, room // groups)
        corners = ((n, g, t) for n in range(0, entries, n_step) for g in range(0, groups, g_step) for t in range(queries, 0, -rows))
        for number, (n, g, t) in enumerate(corners):
            seen = max(0, keys - queries + t) if self.causal else keys
            yield Block(number, slice(n, n + n_step), slice(g, g + g_step), slice(max(0, t - rows), t), seen)

    def scores(self, b: Block) -> tuple[np.ndarray, Any]:
        """S = τ q kᵀ + bias with −∞ for the future, and what to subtract from it before ``exp``."""
        s = self.queries[b.n, b.g, :, b.t] @ self.keys[b.n, b.g, ..., : b.s]
        if self.bias is not None:
            bias = self.bias[b.n if len(self.bias) > 1 else slice(None), b.g if self.bias.shape[1] > 1 else slice(None)]
            s += bias[..., b.t if bias.shape[-2] > 1 else slice(None), : b.s]
        shift = kernels.common_shift(s, 32)  # that of each row must not see the future, which may be far above what it may see
        rows = b.t.stop - b.t.start
        if self.causal and rows > 1:
            late = min(rows, b.s)  # of the keys only the last ones lie in the future of some query
            s[..., b.s - late :] += future(rows, late, s.dtype)
        return s, kernels.row_maxima(s) if shift is None else shift

    def keep(self, b: Block) -> Any:
        """The dropout mask of a block, or None: pieces of one long mask, so that it can be drawn again."""
        if self.drop is None:
            return None
        p, seed = self.drop
        _, groups, group, queries, _ = self.q.shape
        keys = self.k.shape[-2]
        rows = b.t.stop - b.t.start
        n, g = range(*b.n.indices(len(self.q))), range(*b.g.indices(groups))
        if rows == queries and (len(g) == groups or len(n) == 1):  # one piece: a generator for each head costs more than its numbers
            first = (n[0] * groups + g[0]) * group * queries
            return seeded_mask((len(n), len(g), group, rows, keys), p, seed, self.q.dtype, first * keys)[..., : b.s]
        mask = np.empty((len(n), len(g), group, rows, keys), self.q.dtype)
        for head in np.ndindex(mask.shape[:3]):
            number = ((n[head[0]] * groups + g[head[1]]) * group + head[2]) * queries + b.t.start
            mask[head] = seeded_mask((rows, keys), p, seed, self.q.dtype, number * keys)
        return mask[..., : b.s]


def attention(q, k, v, bias=None, mask=None, causal=False, scale=None, dropout=0.0, seed=None, save=False):
    """The output, and if ``save`` what the backward pass needs besides: all weights when they are few, else the ℓ of each row."""
    if q.ndim == 4 and q.shape[2] == 1 and bias is None and mask is None and not dropout and q.shape[:2] == k.shape[:2] == v.shape[:2]:
        return one_query(q, k, v, scale)
    if not dropout and is_one_block(q, k, v):
        return one_block(q, k, v, bias if mask is None else mask, causal, scale)
    heads = Heads(q, k, v, bias if mask is None else mask, causal, scale, (dropout, seed) if dropout else None)
    out = np.empty_like(heads.q, shape=(*heads.q.shape[:-1], v.shape[-1]))  # in the memory layout of q
    keep_weights = save and math.prod(out.shape[:-1]) * k.shape[-2] <= KEPT
    weights, ell = [], np.empty((*out.shape[:-1], 1), out.dtype) if save and not keep_weights else None
    for b in heads.blocks():
        p, shift = heads.scores(b)
        p -= shift
        np.exp(p, out=p)
        total = kernels.divisors(p)
        p /= total
        if ell is not None:
            ell[b.n, b.g, :, b.t] = np.log(total) + shift
        elif save:
            weights.append(p)
        keep = heads.keep(b)
        np.matmul(p if keep is None else p * keep, heads.v[b.n, b.g, :, : b.s], out=out[b.n, b.g, :, b.t])
    return out.reshape(heads.shape), (tuple(weights), ell)


def attention_vjp(g, out, saved, q, k, v, bias=None, mask=None, causal=False, scale=None, dropout=0.0, seed=None):
    """The gradients of q, k, v and, if there is one, of bias."""
    if isinstance(saved, np.ndarray):
        return one_block_vjp(g, out, saved, q, k, v, bias, scale)
    heads = Heads(q, k, v, bias if mask is None else mask, causal, scale, (dropout, seed) if dropout else None)
    weights, ell = saved
    want_bias = bias is not None
    g, o = g.reshape(*heads.q.shape[:-1], -1), out.reshape(*heads.q.shape[:-1], -1)
    dot = kernels.row_dots(g, o) * heads.scale
    upstream, values = heads.scaled(g, heads.v)
    dq, dk, dv = np.empty_like(heads.q), np.empty_like(heads.k), np.empty_like(heads.v)
    d_bias = np.zeros((*heads.q.shape[:-1], k.shape[-2]), out.dtype) if want_bias else None
    for b in heads.blocks():
        if ell is None:
            p = weights[b.number]
        else:
            p = heads.scores(b)[0]
            p -= ell[b.n, b.g, :, b.t]
            np.exp(p, out=p)
        here = (b.n, b.g, slice(None), b.t)
        keep = heads.keep(b)
        ds = upstream[here] @ values[b.n, b.g, ..., : b.s]  # τ S̄, so that the gradients of q and k need no scaling
        if keep is not None:
            ds *= keep
        ds -= dot[here]
        ds *= p
        np.matmul(ds, heads.k[b.n, b.g, :, : b.s], out=dq[here])
        first = b.t.stop == q.shape[-2]
        add_product(dv[b.n, b.g], first, p if keep is None else p * keep, g[here])
        add_product(dk[b.n, b.g], first, ds, heads.q[here])
        if d_bias is not None:
            np.divide(ds, heads.scale, out=d_bias[(*here, slice(0, b.s))])
    shapes = ((*heads.lead, *x.shape[max(0, x.ndim - 3) :]) for x in (q, k, v))
    gradients = [d.reshape(shape) for d, shape in zip((dq, dk, dv), shapes)]
    return (*gradients, None if d_bias is None else d_bias.reshape(*heads.shape[:-1], -1))


def is_one_block(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> bool:
    """Whether all heads are worked on at once, each with its own keys: no blocks, no copies."""
    return q.ndim == 4 and q.shape[:2] == k.shape[:2] == v.shape[:2] and q.shape[2] <= ROWS and q.size // q.shape[3] * k.shape[2] <= SCORES


def one_block(q: Any, k: Any, v: Any, added: Any, causal: bool, scale: Any) -> tuple[np.ndarray, np.ndarray]:
    """The output and the weights."""
    p = (q * factor(q, scale)) @ k.mT
    if added is not None:
        p += added
    shift = kernels.common_shift(p, 32)
    if causal and q.shape[2] > 1:
        p += future(q.shape[2], k.shape[2], p.dtype)
    p -= kernels.row_maxima(p) if shift is None else shift
    np.exp(p, p)
    p /= kernels.divisors(p)
    return (v.mT @ p.mT).mT, p  # of small matrices BLAS is quicker at few rows than at few columns


def factor(q: Any, scale: Any) -> np.ndarray:
    """τ, by default 1/√D."""
    return kernels.number(1 / math.sqrt(q.shape[-1]) if scale is None else float(scale), q.dtype)


def one_query(q: Any, k: Any, v: Any, scale: Any) -> tuple[np.ndarray, np.ndarray]:
    """The same for a single query that sees all keys, as in decoding."""
    p = (q * factor(q, scale)) @ k.mT
    p -= np.maximum.reduce(p, axis=3, keepdims=True)
    np.exp(p, p)
    p /= np.add.reduce(p, axis=3, keepdims=True)
    return p @ v, p


def one_block_vjp(g: Any, out: Any, p: Any, q: Any, k: Any, v: Any, bias: Any, scale: Any) -> tuple[Any, ...]:
    """The gradients of q, k, v and bias."""
    tau = factor(q, scale)
    ds = (g if bias is not None else g * tau) @ v.mT
    ds -= kernels.row_dots(ds, p)  # and not ḡ · o, which is the same but cancels badly where one weight is almost 1
    ds *= p
    d_bias = None
    if bias is not None:
        d_bias = ds.copy()
        ds *= tau
    return (k.mT @ ds.mT).mT, (q.mT @ ds).mT, (g.mT @ p).mT, d_bias


def add_product(target: np.ndarray, first: bool, a: np.ndarray, b: np.ndarray) -> None:
    """target[:s] += aᵀ b, summed over the query heads that share a key/value head; ``first`` overwrites (then s is all)."""
    if first and a.shape[2] == 1:
        np.matmul(a.mT, b, out=target)
        return
    product = a.mT @ b
    if a.shape[2] > 1:
        product = product.sum(axis=2, keepdims=True)
    if first:
        target[...] = product
    else:
        target[..., : a.shape[-1], :] += product


def fits(q, k, v, bias=None, mask=None, scale=None, **_):
    """One added matrix at most, something to attend to, and scores of which the bias's gradient can be told."""
    if bias is not None and (mask is not None or scale == 0):
        return False
    return bool(q.size and k.size and v.size)


ops.attention.accelerate(attention, attention_vjp, fits)
