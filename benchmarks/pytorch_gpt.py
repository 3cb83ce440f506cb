"""The PyTorch twin of `transformer.GPT`: same formula, same weights, written the way PyTorch runs it fastest.

    x_0     = E[ids] + P[0..T-1]
    x'_l    = x_l + Attention(LayerNorm(x_l))          pre-norm residual block
    x_{l+1} = x'_l + W_down gelu(W_up LayerNorm(x'_l))
    logits  = LayerNorm(x_L) E^T                       tied embeddings

It serves the recorded tests (tests/reference/), the training comparison and the speed comparison, so q, k and v are one
packed Linear and attention is one kernel (`sdpa=True`) or four visible steps (`sdpa=False`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["GPT", "from_our_names"]


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, embedding_dim: int, num_heads: int, sdpa: bool) -> None:
        super().__init__()
        self.num_heads, self.sdpa = num_heads, sdpa
        self.qkv = nn.Linear(embedding_dim, 3 * embedding_dim)
        self.out_proj = nn.Linear(embedding_dim, embedding_dim)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.num_heads, C // self.num_heads).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True) if self.sdpa else self.plain(q, k, v)
        return self.out_proj(mixed.transpose(1, 2).reshape(B, T, C))

    @staticmethod
    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # (B, H, T, D) -> (B, H, T, D)
        T, D = q.shape[-2:]
        scores = q @ k.mT / math.sqrt(D)  # (B, H, T, T)
        future = torch.ones(T, T, dtype=torch.bool).triu(1)
        return scores.masked_fill(future, -torch.inf).softmax(-1) @ v


class FeedForward(nn.Module):
    def __init__(self, embedding_dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.up = nn.Linear(embedding_dim, ffn_dim)
        self.down = nn.Linear(ffn_dim, embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, embedding_dim: int, num_heads: int, ffn_dim: int, sdpa: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embedding_dim)
        self.self_attention = Attention(embedding_dim, num_heads, sdpa)
        self.norm2 = nn.LayerNorm(embedding_dim)
        self.ffn = FeedForward(embedding_dim, ffn_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attention(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class GPT(nn.Module):
    """`GPT(vocab_size, ...)(ids)` -> logits; `(ids, targets)` -> mean cross-entropy. Sizes as in `transformer.GPT`."""

    def __init__(self, vocab_size: int, embedding_dim: int, num_heads: int, num_layers: int, context_length: int,
                 ffn_dim: int | None = None, sdpa: bool = True) -> None:  # fmt: skip
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, embedding_dim)
        self.positions = nn.Embedding(context_length, embedding_dim)
        blocks = (Block(embedding_dim, num_heads, ffn_dim or 4 * embedding_dim, sdpa) for _ in range(num_layers))
        self.layers = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(embedding_dim)

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:  # (B, T) -> (B, T, V), or ()
        x = self.token_embedding(ids) + self.positions.weight[: ids.shape[1]]  # (B, T, C)
        for block in self.layers:
            x = block(x)
        logits = F.linear(self.norm(x), self.token_embedding.weight)  # (B, T, V)
        return logits if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def cache(self) -> list[tuple[Tensor, Tensor]]:
        """Room for the keys and values of one sequence, (1, H, context, D) for each layer."""
        context, width = self.positions.weight.shape
        heads = self.layers[0].self_attention.num_heads
        shape = (1, heads, context, width // heads)
        return [(torch.empty(shape), torch.empty(shape)) for _ in self.layers]

    def next_logits(self, ids: Tensor, cache: list[tuple[Tensor, Tensor]], position: int) -> Tensor:
        """The logits (1, V) after one more token (1, 1), whose keys and values are written into the cache."""
        x = self.token_embedding(ids) + self.positions.weight[position : position + 1]
        B, T, C = x.shape
        for block, (keys, values) in zip(self.layers, cache):
            attention = block.self_attention
            qkv = attention.qkv(block.norm1(x)).view(B, T, 3, attention.num_heads, C // attention.num_heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            keys[:, :, position : position + T], values[:, :, position : position + T] = k, v
            mixed = F.scaled_dot_product_attention(q, keys[:, :, : position + T], values[:, :, : position + T])
            x = x + attention.out_proj(mixed.transpose(1, 2).reshape(B, T, C))
            x = x + block.ffn(block.norm2(x))
        return F.linear(self.norm(x), self.token_embedding.weight)[:, -1]

    def load_ours(self, state_dict: Mapping[str, Any]) -> GPT:
        """Copy the arrays of `transformer.GPT(...).state_dict()` into this model; returns the model."""
        ours = {name: torch.tensor(value) for name, value in state_dict.items()}  # a copy: two models, no shared memory
        self.load_state_dict(from_our_names(ours))
        return self


def from_our_names(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The twin's state dict made of ours: Linear weights (in, out) -> (out, in), q, k and v packed. Differentiable."""
    twin = {}
    for name, value in ours.items():
        is_table = name.startswith(("token_embedding", "positions"))  # rows looked up, not multiplied
        twin[name] = value.mT if value.ndim == 2 and not is_table else value
    for name in [name for name in twin if ".q_proj." in name]:
        parts = [twin.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        twin[name.replace("q_proj", "qkv")] = torch.cat(parts)
    return twin
