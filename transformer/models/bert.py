"""BERT: an encoder that reads a whole text at once, and the heads that make a task of it.

A head is one linear map of each token's vector: to the vocabulary (fill in masked words), to labels (tag each word), or
to two numbers (where an answer begins, and where it ends).  Source: Devlin et al. (2019), section 3 and figure 4.

``B`` batch, ``T`` length, ``C`` width, ``V`` vocabulary, ``L`` labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import numpy as np

from minigrad import Tensor, linear, nn, tanh

from ..attention import padding_mask
from ..layers import ACTIVATIONS, Encoder, LayerNorm
from ..positions import AlibiBias, LearnedPositions, Positions
from .inputs import check_sizes, checked_ids, checked_mask


class BERT(nn.Module):
    """``model(ids, attention_mask, segment_ids)`` returns a vector for every token, (B, T, C).

    Token, position and segment embeddings are added and normed; then come post-norm encoder layers with the exact (erf) GELU.
    With ``pooler``, ``model.pool(hidden)`` gives one vector for each text, (B, C).  ``distances`` is a scheme for the
    attention, such as AlibiBias, besides the learned positions; BERT itself has none.
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
        distances: Positions | None = None,
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
        if distances is not None:
            for layer in self.encoder.layers:
                layer.self_attention.positions = distances

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


class TokenHead(nn.Module):
    """BERT, dropout, and one linear map of every token's vector to ``outputs`` numbers; two heads share it."""

    new_bert: Callable[..., BERT] = BERT

    def __init__(self, bert: BERT, outputs: int, dropout: float) -> None:
        self.bert = bert
        self.vocab_size, self.max_length, self.embedding_dim = bert.vocab_size, bert.max_length, bert.embedding_dim
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(bert.embedding_dim, outputs)

    @classmethod
    def sized(
        cls,
        vocab_size: int,
        embedding_dim: int,
        num_heads: int,
        num_layers: int,
        max_length: int,
        ffn_dim: int | None = None,
        num_segments: int = 2,
        dropout: float = 0.1,
        **head: Any,
    ) -> Self:
        """The head on a new BERT of these sizes; ``head`` is what it takes besides, such as a Tagger's ``labels``."""
        sizes = {"num_layers": num_layers, "max_length": max_length, "ffn_dim": ffn_dim, "num_segments": num_segments, "dropout": dropout}
        return cls(cls.new_bert(vocab_size, embedding_dim, num_heads, **sizes), **head)

    def outputs(self, input_ids: Any, attention_mask: Any, segment_ids: Any) -> Tensor:
        """(B, T) → (B, T, outputs)."""
        return self.head(self.dropout(self.bert(input_ids, attention_mask, segment_ids)))


class Tagger(TokenHead):
    """A label for each token: ``model(ids, attention_mask, segment_ids)`` returns logits (B, T, L).

    ``labels`` names the classes in the order of their logits.  Raises ValueError for fewer than two, or one twice.
    Source: Devlin et al. (2019), section 5.3.
    """

    def __init__(self, bert: BERT, labels: Sequence[str], dropout: float | None = None) -> None:
        self.labels = tuple(labels)
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"Tagger: labels {list(self.labels)}; expected two different names or more")
        super().__init__(bert, len(self.labels), bert.dropout.p if dropout is None else dropout)

    def forward(self, input_ids: Any, attention_mask: Any = None, segment_ids: Any = None) -> Tensor:
        """Ids (B, T) → logits (B, T, L); arguments as for BERT."""
        return self.outputs(input_ids, attention_mask, segment_ids)


class SpanReader(TokenHead):
    """Two pointers into a text: ``model(ids, attention_mask, segment_ids)`` returns logits (B, 2, T).

    Row 0 says how likely the answer begins at each position, row 1 how likely it ends there, this position included.
    The question is segment 0, the passage segment 1; position 0, before both, stands for "there is no answer".
    Source: Devlin et al. (2019), sections 4.2 and 4.3.
    """

    def __init__(self, bert: BERT, dropout: float = 0.0) -> None:
        if bert.num_segments < 2:
            raise ValueError(f"SpanReader: num_segments={bert.num_segments}; expected 2 or more: question and passage")
        super().__init__(bert, 2, dropout)

    @staticmethod
    def new_bert(vocab_size: int, embedding_dim: int, num_heads: int, **sizes: Any) -> BERT:
        """A BERT of these sizes, built to look things up.

        Its attention falls off with distance (ALiBi), so that what stands together is read together; its keys start as
        its queries, and its words larger than positions and segments, so that a word of the question finds the same
        word in the passage.  Without them, training stands still for thousands of steps before it finds either.
        Sources: Press et al. (2022); Trockman & Kolter (2023), section 4, for the start.
        """
        bert = BERT(vocab_size, embedding_dim, num_heads, distances=AlibiBias(num_heads), **sizes)
        bert.token_embedding.weight.data *= np.float32(8)
        for layer in bert.encoder.layers:
            layer.self_attention.k_proj.weight.data[...] = layer.self_attention.q_proj.weight.data
        return bert

    def forward(self, input_ids: Any, attention_mask: Any = None, segment_ids: Any = None) -> Tensor:
        """Ids (B, T) → logits (B, 2, T); arguments as for BERT."""
        return self.outputs(input_ids, attention_mask, segment_ids).mT
