"""A two-layer model of attention alone, written out in PyTorch: no norm, no bias, no feed-forward, no shared matrix."""

from __future__ import annotations

import math
from typing import Any

from asking import B, C, D, H, V, compare, integers, last_aligned
from torch import Tensor, inf

LENGTH, LAYERS, PROJECTIONS = 6, 2, ("q_proj", "k_proj", "v_proj", "out_proj")
SIZES: dict[str, Any] = {"vocab_size": V, "embedding_dim": C, "num_heads": H, "num_layers": LAYERS, "context_length": 8}
SHAPES = {
    "token_embedding.weight": (V, C),
    "positions.weight": (8, C),
    "output.weight": (C, V),
    **{f"layers.{i}.self_attention.{name}.weight": (C, C) for i in range(LAYERS) for name in PROJECTIONS},
}


def attention_only(ours: dict[str, Tensor], input_ids: Tensor) -> Tensor:
    x = ours["token_embedding.weight"][input_ids] + ours["positions.weight"][:LENGTH]  # (B, T, C)
    for i in range(LAYERS):
        w_q, w_k, w_v, w_o = (ours[f"layers.{i}.self_attention.{name}.weight"] for name in PROJECTIONS)
        q, k, v = (split(x @ w) for w in (w_q, w_k, w_v))  # (B, H, T, D)
        scores = (q @ k.mT / math.sqrt(D)).masked_fill(~last_aligned(LENGTH, LENGTH), -inf)
        x = x + (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, LENGTH, C) @ w_o
    return x @ ours["output.weight"]


def split(x: Tensor) -> Tensor:
    return x.reshape(B, LENGTH, H, D).transpose(1, 2)


compare("circuits", "attention_only", "transformer.GPT", attention_only, {"input_ids": integers(V, B, LENGTH)}, SHAPES,
        options={**SIZES, "norm": "none", "ffn": "none", "bias": False, "tie_embeddings": False})  # fmt: skip
