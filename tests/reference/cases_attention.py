"""Scaled dot-product attention with each kind of mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from asking import B, D, H, S, Spec, T, additive_with_infinity, booleans, compare, last_aligned, normal
from torch import Tensor
from torch.nn import functional as F

Q, K = (B, H, T, D), (B, H, S, D)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """PyTorch's attention, but a query that may attend to nothing gets zeros; PyTorch never sees that query's mask."""
    allowed = mask if mask.dtype == torch.bool else mask > -torch.inf
    nothing = ~allowed.any(-1, keepdim=True)  # (..., T, 1)
    mask = mask.masked_fill(nothing, mask.dtype == torch.bool)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).masked_fill(nothing, 0.0)


def attention(name: str, reference: Callable[..., Tensor], inputs: Mapping[str, Spec], **options: Any) -> None:
    call = "minigrad.scaled_dot_product_attention"
    compare("attention", f"attention_{name}", call, reference, inputs, options=options)


sdpa = F.scaled_dot_product_attention
qkv: dict[str, Spec] = {"q": Q, "k": K, "v": K}
square: dict[str, Spec] = {"q": Q, "k": Q, "v": Q}
grouped: dict[str, Spec] = {"q": (B, 4, T, D), "k": (B, 2, S, D), "v": (B, 2, S, D)}

attention("without_mask", sdpa, qkv)
attention("without_batch", sdpa, {"q": Q[1:], "k": K[1:], "v": K[1:]})
attention("two_batch_axes", sdpa, {"q": (3, 2, 1, T, D), "k": (3, 2, 1, S, D), "v": (3, 2, 1, S, D)})
attention("wider_values", sdpa, qkv | {"v": (B, H, S, 6)})
attention("weights_too", lambda q, k, v: sdpa(q, k, torch.cat([v, torch.eye(S, dtype=v.dtype).expand(B, H, S, S)], -1)),
          qkv, return_weights=True)  # fmt: skip
attention("other_scale", lambda q, k, v: sdpa(q, k, v, scale=0.3), qkv, scale=0.3)
attention("boolean_mask", sdpa, qkv | {"mask": booleans(B, H, T, S)})
attention("boolean_mask_for_all_heads", sdpa, qkv | {"mask": booleans(B, 1, T, S)})
attention("boolean_mask_of_keys", sdpa, qkv | {"mask": booleans(B, 1, 1, S)})
attention("boolean_mask_dead_row", attend, qkv | {"mask": booleans(B, 1, T, S, dead_row=True)})
attention("additive_mask", sdpa, qkv | {"mask": normal(B, H, T, S)})
attention("additive_mask_for_all", sdpa, qkv | {"mask": normal(T, S)})
attention("additive_mask_per_head", sdpa, qkv | {"mask": normal(H, T, S)})
attention("additive_mask_with_infinity", sdpa, qkv | {"mask": additive_with_infinity(B, 1, T, S)})
attention("additive_mask_dead_row", attend, qkv | {"mask": additive_with_infinity(B, 1, T, S, dead_row=True)})
attention("causal", lambda q, k, v: sdpa(q, k, v, is_causal=True), square, causal=True)
attention("causal_fewer_queries", lambda q, k, v: sdpa(q, k, v, last_aligned(T, S)), qkv, causal=True)
attention("causal_more_queries", lambda q, k, v: attend(q, k, v, last_aligned(S, T)),
          {"q": K, "k": Q, "v": Q}, causal=True)  # fmt: skip
attention("causal_one_query", sdpa, qkv | {"q": (B, H, 1, D)}, causal=True)
attention("causal_boolean_mask", lambda q, k, v, mask: attend(q, k, v, mask & last_aligned(T, T)),
          square | {"mask": booleans(B, 1, T, T)}, causal=True)  # fmt: skip
attention("causal_additive_mask", lambda q, k, v, m: sdpa(q, k, v, m.masked_fill(~last_aligned(T, S), -torch.inf)),
          qkv | {"mask": normal(H, T, S)}, causal=True)  # fmt: skip
attention("grouped", lambda q, k, v: sdpa(q, k, v, enable_gqa=True), grouped)
attention("grouped_boolean_mask", lambda q, k, v, mask: sdpa(q, k, v, mask, enable_gqa=True),
          grouped | {"mask": booleans(B, 4, T, S)})  # fmt: skip
attention("grouped_additive_mask", lambda q, k, v, mask: sdpa(q, k, v, mask, enable_gqa=True),
          grouped | {"mask": normal(4, T, S)})  # fmt: skip
attention("grouped_causal", lambda q, k, v: sdpa(q, k, v, last_aligned(T, S), enable_gqa=True), grouped, causal=True)
attention("one_key_head", lambda q, k, v: sdpa(q, k, v, enable_gqa=True),
          {"q": (B, 4, T, D), "k": (B, 1, S, D), "v": (B, 1, S, D)})  # fmt: skip
