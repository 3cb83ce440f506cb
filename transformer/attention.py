r"""Multi-head attention: queries, keys and values are learned projections, and each head looks on its own.

.. math:: \operatorname{head}_h = \operatorname{softmax}(Q_h K_h^\top / \sqrt{d_k}) V_h, \qquad
   \operatorname{MultiHead}(X) = [\operatorname{head}_1 \dots \operatorname{head}_H] \, W^O

with :math:`Q = X W^Q`, :math:`K = X W^K`, :math:`V = X W^V`.  Source: Vaswani et al. (2017), section 3.2.

``B`` batch, ``T`` queries, ``S`` keys, ``H`` heads, ``C`` model width, ``D`` = C/H head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import Tensor, join_heads, nn, recorded, scaled_dot_product_attention, split_heads

from .decoding.cache import KVCache
from .positions import Positions

__all__ = ["KVCache", "MultiHeadAttention", "Window", "attention_maps", "causal_mask", "padding_mask", "scaled_dot_product_attention"]


class MultiHeadAttention(nn.Module):
    """Attention with ``num_heads`` heads; ``num_kv_heads`` < ``num_heads`` lets groups of query heads share keys and values.

    Called with ``query`` (B, T, C), and for cross-attention ``key`` and ``value`` (B, S, C); ``mask`` broadcasts to (B, H, T, S).
    ``norm``, called with (head_dim, bias=False), makes what norms the queries and the keys of each head before they are turned; ``window``
    limits how far self-attention looks.  Raises ValueError when sizes do not divide.  Sources: Ainslie et al. (2023) for grouped heads;
    Henry et al. (2020), section 3, and Dehghani et al. (2023), section 2, for normed queries and keys.
    """

    kept_weights: list[np.ndarray] | None = None  # filled by attention_maps()
    writes = "out_proj"  # into the residual stream

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        positions: Positions | None = None,
        norm: Callable[..., nn.Module] | None = None,
        window: Window | None = None,
    ) -> None:
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self.head_dim = head_width("MultiHeadAttention", embedding_dim, num_heads)
        if num_kv_heads < 1 or num_heads % num_kv_heads:
            raise ValueError(f"MultiHeadAttention: num_heads={num_heads} is no multiple of num_kv_heads={num_kv_heads}")
        self.num_heads, self.num_kv_heads = num_heads, num_kv_heads
        self.dropout = dropout
        kv_dim = num_kv_heads * self.head_dim
        self.q_proj = nn.Linear(embedding_dim, embedding_dim, bias)
        self.k_proj = nn.Linear(embedding_dim, kv_dim, bias)
        self.v_proj = nn.Linear(embedding_dim, kv_dim, bias)
        self.out_proj = nn.Linear(embedding_dim, embedding_dim, bias)
        self.q_norm = None if norm is None else norm(self.head_dim, bias=False)
        self.k_norm = None if norm is None else norm(self.head_dim, bias=False)
        self.positions = Positions() if positions is None else positions
        self.window = window

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        mask: Any = None,
        causal: bool = False,
        cache: KVCache | None = None,
    ) -> Tensor:
        """(B, T, C) → (B, T, C); self-attention when ``key`` is None.

        With a ``cache`` self-attention adds to what it holds, and cross-attention fills it once, since what it attends to stays the same.
        """
        cross = key is not None and key is not query
        key = query if key is None else key
        value = key if value is None else value
        start = 0 if cache is None or cross else cache.length
        q = self.positions.rotate(heads(self.q_proj(query), self.num_heads, self.q_norm), start)  # (B, H, T, D)
        if cross and cache is not None and cache.length:
            k, v = cache.contents()  # type: Any, Any
        else:
            k = self.positions.rotate(heads(self.k_proj(key), self.num_kv_heads, self.k_norm), start)  # (B, Hkv, S, D)
            v = split_heads(self.v_proj(value), self.num_kv_heads)  # (B, Hkv, S, D)
            if cache is not None and self.window is None:
                k, v = cache.append(k, v)
        if self.window is not None:
            k, v, mask = self.within(self.window, q, k, v, mask, cross, cache)
        else:
            mask = biased(mask, self.positions.between(q, k), q.dtype)
        return self.out_proj(join_heads(attend(self, q, k, v, mask, causal)))  # (B, T, C)

    def within(self, window: Window, q: Any, k: Any, v: Any, mask: Any, cross: bool, cache: KVCache | None) -> tuple[Any, Any, Any]:
        """The keys and values within reach, and what is added to their scores: the window, the mask and the positions' bias."""
        if cross:
            raise ValueError("MultiHeadAttention: a window is for self-attention; queries and keys of two texts have no distance")
        if isinstance(mask, Tensor) and mask.requires_grad:
            raise ValueError("MultiHeadAttention: a learned mask would get no gradient beside a window; leave one of them out")
        k, v, places = (k, v, places_of(k)) if cache is None else cache.slide(k, v, window, mask)
        return k, v, windowed(window, self.positions, places, q, mask)


def attend(layer: Any, q: Any, k: Any, v: Any, mask: Any, causal: bool, scale: float | None = None) -> Tensor:
    """Scaled dot-product attention with a layer's dropout, while it trains, and with its weights kept, within ``attention_maps``."""
    dropout, keep = layer.dropout if layer.training else 0.0, layer.kept_weights is not None
    out = scaled_dot_product_attention(q, k, v, mask, causal, scale, dropout, return_weights=keep)
    if keep:
        out, weights = out
        layer.kept_weights.append(weights.data)
    return out


def heads(x: Any, count: int, norm: nn.Module | None) -> Any:
    """(B, T, H·D) → (B, H, T, D), each vector normed where there is a norm."""
    x = split_heads(x, count)
    return x if norm is None else norm(x)


def head_width(what: str, embedding_dim: int, num_heads: int) -> int:
    """D = C/H; ValueError, with the numbers of heads that would do, when that is no whole number."""
    if num_heads < 1 or embedding_dim < 1 or embedding_dim % num_heads:
        divisors = ", ".join(str(i) for i in range(1, min(embedding_dim, 64) + 1) if embedding_dim % i == 0)
        raise ValueError(f"{what}: embedding_dim={embedding_dim} does not divide into num_heads={num_heads}; {divisors} would")
    return embedding_dim // num_heads


def attention_maps(model: nn.Module) -> AbstractContextManager[dict[str, list[np.ndarray]]]:
    """Within it, every attention of ``model``, of whatever kind, keeps its weights: names to lists of (B, H, T, S), one for each call."""
    return keeping(model, "kept_weights")


@contextmanager
def keeping(model: nn.Module, attribute: str) -> Iterator[dict[str, list[Any]]]:
    """Within it, every module that has the attribute adds to a list there at each call: names to lists."""
    found = {name: m for name, m in model.named_modules() if hasattr(type(m), attribute)}
    for m in found.values():
        setattr(m, attribute, [])
    try:
        yield {name: getattr(m, attribute) for name, m in found.items()}
    finally:
        for m in found.values():
            setattr(m, attribute, None)


# Masks: boolean, True = may attend; rows are queries and columns are keys; they broadcast to (B, H, T, S) and combine with & ----


def causal_mask(target_length: int, source_length: int | None = None) -> np.ndarray:
    """(T, S): query i may attend to key j when j is not in its future; the last query is aligned with the last key."""
    source_length = target_length if source_length is None else source_length
    if target_length < 0 or source_length < 0:
        raise ValueError(f"causal_mask: lengths must not be negative, got {target_length} and {source_length}")
    return np.tri(target_length, source_length, source_length - target_length, dtype=bool)


@recorded
def padding_mask(attention_mask: Any) -> np.ndarray:
    """(B, S) with 1 or True for real tokens and 0 for padding → (B, 1, 1, S): nobody attends to padding.

    Raises ValueError for another shape or other values, such as token ids.
    """
    mask = np.asarray(attention_mask)
    if mask.ndim != 2:
        raise ValueError(f"padding_mask: expected (batch, length), got shape {mask.shape}")
    if mask.dtype != bool:
        if not np.isin(mask, (0, 1)).all():
            odd = mask[~np.isin(mask, (0, 1))].ravel()[0]
            raise ValueError(f"padding_mask: expected 1 for tokens and 0 for padding, got {odd}; from ids, write ids != pad_id")
        mask = mask.astype(bool)
    return mask[:, None, None, :]


def masked_mean(x: Any, attention_mask: Any) -> Any:
    """The mean of the vectors of real tokens: x (B, T, C), mask (B, T) with 0 for padding → (B, C); zeros where nothing is real."""
    return (x * shares(attention_mask, x.dtype)).sum(axis=1)


@recorded
def shares(attention_mask: Any, dtype: Any) -> np.ndarray:
    """(B, T) with 0 for padding → (B, T, 1): each real token's part of the mean over its row."""
    mask = np.asarray(attention_mask)
    return (mask / np.maximum(mask.sum(axis=1, keepdims=True), 1))[..., None].astype(dtype)


def biased(mask: Any, bias: Any, dtype: Any) -> Any:
    """A mask and the positions' bias as one thing to add to the scores; either may be None."""
    return mask if bias is None else bias if mask is None else as_bias(mask, dtype) + bias


def as_bias(mask: Any, dtype: Any) -> Any:
    """A boolean mask as something to add to scores, 0 where it allows and −∞ where it forbids; a float mask as it is."""
    return closed(mask, dtype) if mask.dtype == bool else mask


@recorded
def closed(mask: np.ndarray, dtype: Any) -> np.ndarray:
    """Booleans as 0 where True, −∞ where False."""
    return np.where(mask, 0.0, -np.inf).astype(dtype)


@dataclass(frozen=True)
class Window:
    """A query sees the keys less than ``size`` places away, itself included, and the first ``sinks`` that the mask shows it.

    A cache then needs no more than these, however long the text grows; ``places`` (S,) says where each key stands in the text, since
    those that nobody will look at again are no longer there.

    Sources: Beltagy, Peters & Cohan (2020), section 3.1; Jiang et al. (2023), section 2, for windows in language models; Xiao et al.
    (2024), section 3, for the sinks: a softmax must put its weight somewhere, and models put it on the first tokens.
    """

    size: int
    sinks: int = 0

    def __post_init__(self) -> None:
        whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in (self.size, self.sinks))
        if not whole or self.size < 1 or self.sinks < 0:
            raise ValueError(f"{self}: expected a size of 1 or more, and 0 sinks or more, whole numbers")

    def mask(self, places: np.ndarray, target_length: int, mask: np.ndarray | None = None) -> np.ndarray:
        """Boolean, (T, S) or as ``mask`` broadcasts: what the last ``target_length`` places see, the future included."""
        near = np.abs(places[-target_length:, None] - places) < self.size  # (T, S)
        if mask is None:
            return near | (places < self.sinks)
        return mask & (near | (np.cumsum(mask, axis=-1) <= self.sinks))

    def kept(self, places: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Boolean (S,): which keys a later query may still look at."""
        near = places > places.max(initial=0) + 1 - self.size
        if mask is None or not self.sinks:
            return near | (places < self.sinks)
        first = mask & (np.cumsum(mask, axis=-1) <= self.sinks)
        return near | first.any(axis=tuple(range(first.ndim - 1)))


@recorded
def places_of(k: np.ndarray) -> np.ndarray:
    """(S,): where keys (..., S, D) stand that are all there from the start."""
    return np.arange(k.shape[-2])


@recorded
def windowed(window: Window, positions: Positions, places: np.ndarray, q: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The window of queries q (..., T, D), a mask (booleans, or floats) and the positions' bias as one thing to add."""
    length, total = q.shape[-2], int(places[-1]) + 1
    boolean = mask is not None and mask.dtype == bool
    if mask is not None and mask.shape[-1] == total:
        mask = mask[..., places]
    added = np.where(window.mask(places, length, mask if boolean else None), 0.0, -np.inf)
    if mask is not None and not boolean:
        added = added + mask
    bias = positions.bias(length, total, q.dtype)
    return (added if bias is None else added + bias[..., places]).astype(q.dtype)
