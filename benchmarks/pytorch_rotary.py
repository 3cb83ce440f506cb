"""The PyTorch twin of the first command's model: RMSNorm, rotary positions, GELU, pre-norm blocks, as PyTorch runs them fastest on small sizes.

    x'_l    = x_l + Attention(RMSNorm(x_l))            queries and keys turned by their positions
    x_{l+1} = x'_l + W_down gelu(W_up RMSNorm(x'_l))
    logits  = RMSNorm(x_L) W_out                       W_out is the embedding where it is tied

The modules have our names, and q, k and v are a matrix each, so that an optimizer of matrices moves the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["GPT"]


class Attention(nn.Module):
    """Causal multi-head self-attention with rotary positions, in pairs (i, i + D/2)."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        D = width // heads
        angle = torch.arange(context)[:, None] * 10_000.0 ** (-2 * torch.arange(D // 2) / D)  # (T, D/2)
        self.register_buffer("cos", torch.cos(angle).repeat(1, 2), persistent=False)
        self.register_buffer("sin", torch.sin(angle).repeat(1, 2), persistent=False)

    def turned(self, x: Tensor) -> Tensor:  # (B, H, T, D) -> (B, H, T, D)
        a, b = x.chunk(2, dim=-1)
        T = x.shape[-2]
        return x * self.cos[:T] + torch.cat((-b, a), dim=-1) * self.sin[:T]

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        B, T, C = x.shape
        q, k, v = (proj(x).view(B, T, self.heads, C // self.heads).transpose(1, 2) for proj in (self.q_proj, self.k_proj, self.v_proj))
        mixed = F.scaled_dot_product_attention(self.turned(q), self.turned(k), v, is_causal=True)
        return self.out_proj(mixed.transpose(1, 2).reshape(B, T, C))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.norm1, self.self_attention = nn.RMSNorm(width, eps=1e-6), Attention(width, heads, context)
        self.norm2, self.ffn = nn.RMSNorm(width, eps=1e-6), FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attention(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class GPT(nn.Module):
    """`GPT(sizes)(ids)` -> logits; `(ids, targets)` -> mean cross-entropy. The sizes are those of `transformer.GPT`, as a run's config has them."""

    def __init__(self, sizes: Mapping[str, Any]) -> None:
        super().__init__()
        choices = {"norm": "rms", "positions": "rotary", "ffn": "gelu", "num_kv_heads": None, "dropout": 0.0}
        for name, value in choices.items():
            if sizes.get(name, value) != value:
                raise ValueError(f"the twin has {name}={value!r}, the recipe {name}={sizes[name]!r}; change the twin with the recipe")
        width, heads, context = sizes["embedding_dim"], sizes["num_heads"], sizes["context_length"]
        self.token_embedding = nn.Embedding(sizes["vocab_size"], width)
        self.layers = nn.ModuleList(Block(width, heads, context) for _ in range(sizes["num_layers"]))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.output = None if sizes.get("tie_embeddings", True) else nn.Linear(width, sizes["vocab_size"], bias=False)

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:  # (B, T) -> (B, T, V), or ()
        x = self.token_embedding(ids)  # (B, T, C)
        for block in self.layers:
            x = block(x)
        logits = F.linear(self.norm(x), self.token_embedding.weight if self.output is None else self.output.weight)  # (B, T, V)
        return logits if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def load_ours(self, state_dict: Mapping[str, Any]) -> GPT:
        """Copy the arrays of `transformer.GPT(...).state_dict()` into this model, Linear weights (in, out) -> (out, in); returns the model."""
        ours = {name: torch.tensor(value) for name, value in state_dict.items()}  # a copy: two models, no shared memory
        self.load_state_dict({name: a.mT if a.ndim == 2 and name != "token_embedding.weight" else a for name, a in ours.items()})
        return self
