"""The Transformer of 2017: an encoder reads the source, a decoder writes the target, one token after the other.

Source: Vaswani et al. (2017), figure 1.  ``B`` batch, ``S`` source length, ``T`` target length, ``C`` width, ``V`` vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import Tensor, nn

from ..attention import KVCache, padding_mask
from ..layers import Decoder, Encoder
from ..positions import Positions, SinusoidalPositions
from .inputs import check_sizes, checked_ids, checked_mask


class Transformer(nn.Module):
    """The encoder–decoder model: ``model(input_ids, attention_mask)`` returns logits (B, T, V).

    Source, target and output share one embedding matrix when ``tie_embeddings``.  Without ``target_ids`` the decoder reads
    ``input_ids`` itself.  For training, feed the target shifted by one: the decoder reads ``target[:, :-1]`` and predicts ``target[:, 1:]``.
    ``positions`` is any scheme that adds to the embeddings; without it, the sinusoids of the paper; with ``Positions()``, none.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        num_heads: int,
        num_layers: int,
        ffn_dim: int | None = None,
        max_length: int = 512,
        dropout: float = 0.1,
        norm_first: bool = False,
        tie_embeddings: bool = True,
        positions: Positions | None = None,
    ) -> None:
        check_sizes(
            "Transformer", vocab_size=vocab_size, embedding_dim=embedding_dim, num_heads=num_heads, num_layers=num_layers, ffn_dim=ffn_dim,
            max_length=max_length,
        )  # fmt: skip
        self.vocab_size, self.embedding_dim, self.max_length = vocab_size, embedding_dim, max_length
        std = 1 / math.sqrt(embedding_dim)  # times √C at the input: entries of size 1, like those of the positions
        self.embedding = nn.Embedding(vocab_size, embedding_dim, std)
        self.target_embedding = self.embedding if tie_embeddings else nn.Embedding(vocab_size, embedding_dim, std)
        self.positions = SinusoidalPositions(embedding_dim, max_length) if positions is None else positions
        self.encoder = Encoder(num_layers, embedding_dim, num_heads, ffn_dim, dropout, norm_first)
        self.decoder = Decoder(num_layers, embedding_dim, num_heads, ffn_dim, dropout, norm_first)
        self.output = None if tie_embeddings else nn.Linear(embedding_dim, vocab_size, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Any, attention_mask: Any = None, target_ids: Any = None, target_mask: Any = None) -> Tensor:
        """Ids (B, S), masks 1 for tokens and 0 for padding, targets (B, T) → logits (B, T, V)."""
        if target_ids is None:
            target_ids, target_mask = input_ids, attention_mask if target_mask is None else target_mask
        memory = self.encode(input_ids, attention_mask)
        return self.decode(target_ids, memory, attention_mask, target_mask)

    def encode(self, input_ids: Any, attention_mask: Any = None) -> Tensor:
        """(B, S) → memory (B, S, C)."""
        ids = checked_ids("Transformer", input_ids, self.vocab_size, self.max_length)
        mask = checked_mask("Transformer", attention_mask, ids)
        return self.encoder(self.embed(self.embedding, ids), None if mask is None else padding_mask(mask))

    def decode(self, target_ids: Any, memory: Any, attention_mask: Any = None, target_mask: Any = None, cache: KVCache | None = None) -> Tensor:
        """(B, T), memory (B, S, C) → logits (B, T, V)."""
        ids = checked_ids("Transformer", target_ids, self.vocab_size, self.max_length)
        mask = checked_mask("Transformer", target_mask, ids)
        x = self.embed(self.target_embedding, ids, 0 if cache is None else cache.length)
        x = self.decoder(
            x,
            memory,
            None if mask is None else padding_mask(mask),
            None if attention_mask is None else padding_mask(attention_mask),
            cache,
        )
        return x @ self.embedding.weight.mT if self.output is None else self.output(x)

    def embed(self, embedding: nn.Embedding, ids: np.ndarray, start: int = 0) -> Any:
        """√C · E[ids] + positions."""
        return self.dropout(self.positions.embed(embedding(ids) * math.sqrt(self.embedding_dim), start))
