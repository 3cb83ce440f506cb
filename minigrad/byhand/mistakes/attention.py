r"""Attention: what goes wrong between :math:`\bar O` and :math:`\bar Q, \bar K, \bar V`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ops.attention import future
from ...ops.dropout import seeded_mask
from .registry import mistake
from .softmax import DIAGONAL, NO_SUM, UNWEIGHTED, softmax


class _Attention:
    """The pieces of attention's backward pass, to be put together wrongly; grouped key heads are repeated and summed back."""

    def __init__(self, g, o, q, k, v, bias=None, mask=None, causal=False, scale=None, dropout=0.0, seed=None, saved=None):
        self.group = q.shape[-3] // k.shape[-3] if q.ndim > 2 else 1
        self.q, self.g = q, g
        self.k, self.v = (np.repeat(x, self.group, axis=-3) if self.group > 1 else x for x in (k, v))
        self.tau = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
        self.plain = self.tau * q @ self.k.mT
        self.keep = seeded_mask(self.plain.shape, dropout, seed, q.dtype) if dropout else 1.0
        added = [x for x in (bias, mask, future(*self.plain.shape[-2:], self.plain.dtype) if causal else None) if x is not None]
        self.masked = bool(added)
        scores = sum(added, self.plain)
        self.p = softmax(scores)
        self.dp = g @ self.v.mT * self.keep  # what reaches P
        self.ds = self.p * (self.dp - (self.dp * self.p).sum(-1, keepdims=True))
        self.square = q.shape[-2] == k.shape[-2]

    def from_scores(self, ds: np.ndarray, has_bias: bool = True) -> list[Any]:
        """q, k, v and bias when the gradient of the scores is this."""
        return [self.tau * ds @ self.k, self.together(self.tau * ds.mT @ self.q), None, ds]

    def together(self, d: np.ndarray, how: Any = np.sum) -> np.ndarray:
        """Heads that shared a key or value head, summed."""
        return d if self.group == 1 else how(d.reshape(*d.shape[:-3], -1, self.group, *d.shape[-2:]), axis=-3)


NOTHING = [None] * 4


@mistake("attention", "softmax diagonal", DIAGONAL)
def _(*args, **params):
    a = _Attention(*args, **params)
    return a.from_scores(a.dp * a.p * (1 - a.p))


@mistake("attention", "missing term", NO_SUM)
def _(*args, **params):
    a = _Attention(*args, **params)
    return a.from_scores(a.p * a.dp)


@mistake("attention", "wrong term", UNWEIGHTED)
def _(*args, **params):
    a = _Attention(*args, **params)
    return a.from_scores(a.p * (a.dp - a.dp.sum(-1, keepdims=True)))


@mistake("attention", "forgotten softmax", "the gradient of the weights P is taken for that of the scores: softmax's own gradient is left out")
def _(*args, **params):
    a = _Attention(*args, **params)
    return a.from_scores(a.dp)


@mistake("attention", "mask not applied", "the mask is left out in the backward pass: the weights P are computed again without it")
def _(*args, **params):
    a = _Attention(*args, **params)
    if not a.masked:
        return NOTHING
    p = softmax(a.plain)
    ds = p * (a.dp - (a.dp * p).sum(-1, keepdims=True))
    return [*a.from_scores(ds)[:2], a.together((p * a.keep).mT @ a.g), ds]


@mistake("attention", "mask not applied", "the dropout mask is left out in the backward pass")
def _(*args, **params):
    a = _Attention(*args, **params)
    if not params.get("dropout"):
        return NOTHING
    dp = a.g @ a.v.mT
    return [*a.from_scores(a.p * (dp - (dp * a.p).sum(-1, keepdims=True)))[:2], a.together(a.p.mT @ a.g), None]


@mistake("attention", "missing transposition", "the gradient of k is τ S̄ᵀ Q; here it is τ S̄ Q")
def _(*args, **params):
    a = _Attention(*args, **params)
    return [None, a.together(a.tau * a.ds @ a.q), None, None] if a.square else NOTHING


@mistake("attention", "missing transposition", "the gradient of v is Pᵀ Ō; here it is P Ō")
def _(*args, **params):
    a = _Attention(*args, **params)
    return [None, None, a.together((a.p * a.keep) @ a.g), None] if a.square else NOTHING


@mistake("attention", "wrong operand", "q is used where k belongs: the gradient of q is τ S̄ K, that of k is τ S̄ᵀ Q")
def _(*args, **params):
    a = _Attention(*args, **params)
    return [a.tau * a.ds @ a.q, a.together(a.tau * a.ds.mT @ a.k), None, None] if a.square else NOTHING


@mistake("attention", "wrong operand", "the scores S stand where the weights P = softmax(S) belong: the gradient of v is Pᵀ Ō")
def _(*args, **params):
    a = _Attention(*args, **params)
    return NOTHING if a.masked else [None, None, a.together(a.plain.mT @ a.g), None]


for _at, _which in ((-1, "last"), (0, "first")):

    @mistake("attention", "overwritten", f"{_which} query head only: the gradients of the query heads that share a key head add up")
    def _(*args, _at=_at, **params):
        a = _Attention(*args, **params)
        if a.group == 1:
            return NOTHING
        one = lambda d, axis: np.take(d, _at, axis=axis)  # noqa: E731
        return [None, a.together(a.tau * a.ds.mT @ a.q, one), a.together((a.p * a.keep).mT @ a.g, one), None]
