"""BERT: an encoder that reads a whole text at once, trained to fill in the words that were masked.

Source: Devlin et al. (2019), section 3.  ``B`` batch, ``T`` length, ``C`` width, ``V`` vocabulary.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from minigrad import Tensor, linear, nn, tanh

from ..layers import ACTIVATIONS, Encoder, LayerNorm
from ..masks import padding_mask
from ..positions import LearnedPositions
from .inputs import check_sizes, checked_ids, checked_mask


class BERT(nn.Module):
    """``model(ids, attention_mask, segment_ids)`` gives a vector for every token, (B, T, C).

    Token, position and segment embeddings are added and normed; then come post-norm encoder layers with the exact (erf) GELU.
    With ``pooler``, ``model.pool(hidden)`` gives one vector for each text, (B, C).
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        num_heads: int,
        num_layers: int,
        max_length: int = 512,
        ffn_dim: int | None = None,
        num_segments: int = 2,
        dropout: float = 0.1,
        activation: str = "gelu_erf",
        eps: float = 1e-12,
        pooler: bool = False,
    ) -> None:
        check_sizes(
            "BERT", vocab_size=vocab_size, embedding_dim=embedding_dim, num_heads=num_heads, num_layers=num_layers, max_length=max_length,
            ffn_dim=ffn_dim, num_segments=num_segments,
        )  # fmt: skip
        self.vocab_size, self.embedding_dim, self.max_length, self.num_segments = vocab_size, embedding_dim, max_length, num_segments
        norm = partial(LayerNorm, eps=eps)
        self.token_embedding = nn.Embedding(vocab_size, embedding_dim)
        self.positions = LearnedPositions(max_length, embedding_dim)
        self.segment_embedding = nn.Embedding(num_segments, embedding_dim)
        self.norm = norm(embedding_dim)
        self.dropout = nn.Dropout(dropout)
        self.encoder = Encoder(num_layers, embedding_dim, num_heads, ffn_dim, dropout, activation=activation, norm=norm)
        self.pooler = nn.Linear(embedding_dim, embedding_dim) if pooler else None

    def forward(self, input_ids: Any, attention_mask: Any = None, segment_ids: Any = None) -> Tensor:
        """Ids (B, T), mask (B, T) with 0 for padding, segments (B, T), all 0 unless given → (B, T, C)."""
        ids = checked_ids("BERT", input_ids, self.vocab_size, self.max_length)
        mask = checked_mask("BERT", attention_mask, ids)
        segments = np.zeros_like(ids) if segment_ids is None else checked_ids("BERT segments", segment_ids, self.num_segments)
        if segments.shape != ids.shape:
            raise ValueError(f"BERT: segment_ids {segments.shape} for token ids {ids.shape}; expected one entry for each token")
        x = self.positions.embed(self.token_embedding(ids) + self.segment_embedding(segments))
        return self.encoder(self.dropout(self.norm(x)), None if mask is None else padding_mask(mask))

    def pool(self, hidden: Tensor) -> Tensor:
        """tanh of a linear map of the first token's vector: (B, T, C) → (B, C)."""
        if self.pooler is None:
            raise ValueError("BERT: this model has no pooler; build it with pooler=True, or average the vectors over the real tokens")
        return tanh(self.pooler(hidden[:, 0]))


class MaskedLM(nn.Module):
    """BERT and the head that it was trained with: logits over the vocabulary at every position, (B, T, V).

    The output shares the matrix of the token embeddings.  Source: Devlin et al. (2019), section 3.1.
    """

    def __init__(self, bert: BERT, activation: str = "gelu_erf", eps: float = 1e-12) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"MaskedLM: activation {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        self.bert = bert
        self.transform = nn.Linear(bert.embedding_dim, bert.embedding_dim)
        self.activation = activation
        self.norm = LayerNorm(bert.embedding_dim, eps=eps)
        self.bias = nn.Parameter(np.zeros(bert.vocab_size))

    def forward(self, input_ids: Any, attention_mask: Any = None, segment_ids: Any = None) -> Tensor:
        """Ids (B, T) → logits (B, T, V); arguments as for BERT."""
        hidden = self.bert(input_ids, attention_mask, segment_ids)
        hidden = self.norm(ACTIVATIONS[self.activation](self.transform(hidden)))
        return linear(hidden, self.bert.token_embedding.weight.mT, self.bias)
