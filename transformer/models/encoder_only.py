"""A classifier: an encoder reads the whole sequence, its output is pooled to one vector, and that is classified.

Source: Devlin et al. (2019) for the first token as summary; the mean over real tokens is the other usual choice.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import Tensor, nn

from ..layers import Encoder
from ..masks import masked_mean, padding_mask
from ..positions import SinusoidalPositions
from .inputs import checked_ids, checked_mask


class Classifier(nn.Module):
    """``model(ids, attention_mask)`` gives logits (B, num_classes); ``pooling`` is "mean" (over real tokens) or "cls" (the first)."""

    def __init__(
        self,
        vocab_size: int,
        num_classes: int,
        embedding_dim: int,
        num_heads: int,
        num_layers: int,
        max_length: int,
        ffn_dim: int | None = None,
        dropout: float = 0.1,
        norm_first: bool = True,
        pooling: str = "mean",
    ) -> None:
        if pooling not in ("mean", "cls"):
            raise ValueError(f"Classifier: pooling={pooling!r}; expected 'mean' or 'cls'")
        self.vocab_size, self.max_length, self.embedding_dim, self.pooling = vocab_size, max_length, embedding_dim, pooling
        self.embedding = nn.Embedding(vocab_size, embedding_dim, 1 / math.sqrt(embedding_dim))
        self.positions = SinusoidalPositions(embedding_dim, max_length)
        self.encoder = Encoder(num_layers, embedding_dim, num_heads, ffn_dim, dropout, norm_first)
        self.head = nn.Linear(embedding_dim, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Any, attention_mask: Any = None) -> Tensor:
        """Ids (B, T), mask (B, T) with 0 for padding → logits (B, num_classes)."""
        ids = checked_ids("Classifier", input_ids, self.vocab_size, self.max_length)
        mask = checked_mask("Classifier", attention_mask, ids)
        x = self.dropout(self.positions.embed(self.embedding(ids) * math.sqrt(self.embedding_dim)))
        x = self.encoder(x, None if mask is None else padding_mask(mask))  # (B, T, C)
        return self.head(self.dropout(self.pool(x, mask)))

    def pool(self, x: Tensor, mask: np.ndarray | None) -> Tensor:
        """(B, T, C) → (B, C)."""
        if self.pooling == "cls":
            return x[:, 0]
        if mask is None:
            return x.mean(axis=1)
        return masked_mean(x, mask)
