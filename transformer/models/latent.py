r"""Multi-head latent attention: one small vector per token, from which every head makes its own keys and values.

.. math:: c_s = \operatorname{norm}(x_s W^{DKV}), \qquad k_{h s} = [\, c_s W^{UK}_h,\; R_s\, x_s W^{KR} \,], \qquad v_{h s} = c_s W^{UV}_h

A cache holds c and the turned key R x W^KR, which all heads share, and nothing else.  Rotary positions need that key of
their own (they are *decoupled*): were the position turned into c W^UK, the matrix could not be moved to the other side
of the dot product.  Without it, it can:

.. math:: q_{h t} \cdot (c_s W^{UK}_h) = (q_{h t} W^{UK\top}_h) \cdot c_s, \qquad
   \sum_s p_{h t s}\, c_s W^{UV}_h = \big(\textstyle\sum_s p_{h t s}\, c_s\big) W^{UV}_h

so a token is decoded on the cached c as they are (*absorbed*), by attention with one key-value head.

Source: DeepSeek-AI (2024), "DeepSeek-V2", section 2.1 and appendix C. ``B`` batch, ``T`` queries, ``S`` keys, ``H``
heads, ``D`` width of a head, ``L`` of the latent vector, ``R`` of the turned key.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import Tensor, broadcast_to, concatenate, join_heads, nn, split_heads, swapaxes

from ..attention import KVCache, attend, biased, head_width
from ..layers import RMSNorm
from ..positions import Positions, RotaryPositions


class LatentAttention(nn.Module):
    """Self-attention whose cache holds L + R numbers per token, not 2·H·D; called and cached as MultiHeadAttention is.

    ``latent_dim`` L is by default a quarter of the width; R is the width of the rotary ``positions`` (0 for other
    schemes); queries go through a latent vector too when ``query_dim`` says how wide.  ``norm``, called with (width,
    bias=False), norms the latent vectors. Raises ValueError when sizes do not divide, and for ``num_kv_heads``: keys
    and values are shared another way.
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
        latent_dim: int | None = None,
        query_dim: int | None = None,
        head_dim: int | None = None,
        value_dim: int | None = None,
        norm: Callable[..., nn.Module] = RMSNorm,
    ) -> None:
        if num_kv_heads not in (None, num_heads):
            raise ValueError(f"LatentAttention: num_kv_heads={num_kv_heads}; its heads share a latent vector: give latent_dim instead")
        if head_dim is None or num_heads < 1:
            head_dim = head_width("LatentAttention", embedding_dim, num_heads)
        self.num_heads, self.dropout = num_heads, dropout
        self.positions = Positions() if positions is None else positions
        self.head_dim = head_dim  # D, without the turned part
        self.value_dim = self.head_dim if value_dim is None else value_dim
        self.rotary_dim = self.positions.head_dim if isinstance(self.positions, RotaryPositions) else 0
        self.latent_dim = max(1, embedding_dim // 4) if latent_dim is None else latent_dim
        q_dim = num_heads * (self.head_dim + self.rotary_dim)
        if query_dim is None:
            self.q_down, self.q_norm = None, None
            self.q_proj = nn.Linear(embedding_dim, q_dim, bias=False)
        else:
            self.q_down, self.q_norm = nn.Linear(embedding_dim, query_dim, bias), norm(query_dim, bias=False)
            self.q_proj = nn.Linear(query_dim, q_dim, bias=False)
        self.kv_down, self.kv_norm = nn.Linear(embedding_dim, self.latent_dim, bias), norm(self.latent_dim, bias=False)
        self.k_rotary = nn.Linear(embedding_dim, self.rotary_dim, bias) if self.rotary_dim else None
        self.k_up = nn.Linear(self.latent_dim, num_heads * self.head_dim, bias=False)
        self.v_up = nn.Linear(self.latent_dim, num_heads * self.value_dim, bias=False)
        self.out_proj = nn.Linear(num_heads * self.value_dim, embedding_dim, bias)

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        mask: Any = None,
        causal: bool = False,
        cache: KVCache | None = None,
    ) -> Tensor:
        """(B, T, C) → (B, T, C), self-attention only; what a ``cache`` holds is added to, and read as it is."""
        if (key is not None and key is not query) or (value is not None and value is not query):
            raise ValueError("LatentAttention: it is for self-attention; use MultiHeadAttention for keys and values of another text")
        start = 0 if cache is None else cache.length
        x = query if self.q_down is None or self.q_norm is None else self.q_norm(self.q_down(query))
        q = split_heads(self.q_proj(x), self.num_heads)  # (B, H, T, D + R)
        content, turned = q[..., : self.head_dim], self.positions.rotate(q[..., self.head_dim :], start)
        c: Any = split_heads(self.kv_norm(self.kv_down(query)), 1)  # (B, 1, S, L)
        k: Any = c[..., :0]  # (B, 1, S, R)
        if self.k_rotary is not None:
            k = self.positions.rotate(split_heads(self.k_rotary(query), 1), start)
        if cache is not None:
            k, c = cache.append(k, c)
        mask = biased(mask, self.positions.between(q, k), q.dtype)
        q, k, v, after = self.expanded(content, turned, c, k) if cache is None else self.absorbed(content, turned, c, k)
        out = attend(self, q, k, v, mask, causal, 1 / math.sqrt(self.head_dim + self.rotary_dim))
        return self.out_proj(join_heads(out if after is None else out @ after))

    def expanded(self, content: Any, turned: Any, c: Any, k: Any) -> tuple[Any, Any, Any, Any]:
        """Queries, keys and values of every head, made from c and k: fewest products for a whole text."""
        keys, values = split_heads(self.k_up(c[:, 0]), self.num_heads), split_heads(self.v_up(c[:, 0]), self.num_heads)
        shared = broadcast_to(k, (*keys.shape[:-1], self.rotary_dim)) if self.rotary_dim else k
        return joined(content, turned), joined(keys, shared), values, None

    def absorbed(self, content: Any, turned: Any, c: Any, k: Any) -> tuple[Any, Any, Any, Any]:
        """The same scores with W^UK on the queries' side: one head of keys [c, k] and values c, and W^UV afterwards."""
        k_up = swapaxes(self.k_up.weight.reshape(self.latent_dim, self.num_heads, self.head_dim), 0, 1)  # (H, L, D)
        v_up = swapaxes(self.v_up.weight.reshape(self.latent_dim, self.num_heads, self.value_dim), 0, 1)  # (H, L, Dv)
        return joined(content @ k_up.mT, turned), joined(c, k), c, v_up


def joined(content: Any, turned: Any) -> Any:
    """The two parts of a query or key side by side; the turned one may be missing."""
    return concatenate([content, turned], axis=-1) if turned.shape[-1] else content
