"""A classifier: an encoder reads the whole sequence, its output is pooled to one vector, and that is classified.

The sequence is one of tokens, or of the patches of an image.  Sources: Devlin et al. (2019) for the first token as summary (the mean over
real tokens is the other usual choice); Dosovitskiy et al. (2021) for images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import Tensor, nn, recorded

from ..attention import masked_mean, padding_mask
from ..layers import Encoder
from ..positions import LearnedPositions, SinusoidalPositions
from .inputs import check_sizes, checked_ids, checked_mask


class Classifier(nn.Module):
    """``model(ids, attention_mask)`` returns logits (B, num_classes); ``pooling`` is "mean" (over real tokens) or "cls" (the first)."""

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
        check_sizes(
            "Classifier", vocab_size=vocab_size, num_classes=num_classes, embedding_dim=embedding_dim, num_heads=num_heads, num_layers=num_layers,
            max_length=max_length, ffn_dim=ffn_dim,
        )  # fmt: skip
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


@recorded
def patches(images: Any, size: int) -> np.ndarray:
    """Images (B, height, width) cut into squares, row by row: (B, patches, size²).  Raises ValueError when they do not divide."""
    array = np.asarray(images)
    if array.ndim != 3 or array.shape[1] % size or array.shape[2] % size:
        raise ValueError(f"patches: images of shape {array.shape} do not divide into squares of {size}; expected (batch, height, width)")
    B, height, width = array.shape
    cut = array.reshape(B, height // size, size, width // size, size)
    return cut.swapaxes(2, 3).reshape(B, -1, size * size)


class ImageClassifier(nn.Module):
    """``model(images)`` returns logits (B, num_classes): an image (height, width) is a sequence of patches, each a vector of its pixels."""

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_classes: int,
        embedding_dim: int,
        num_heads: int,
        num_layers: int,
        ffn_dim: int | None = None,
        dropout: float = 0.1,
        norm_first: bool = True,
    ) -> None:
        check_sizes(
            "ImageClassifier", image_size=image_size, patch_size=patch_size, num_classes=num_classes, embedding_dim=embedding_dim,
            num_heads=num_heads, num_layers=num_layers, ffn_dim=ffn_dim,
        )  # fmt: skip
        if image_size % patch_size:
            raise ValueError(f"ImageClassifier: image_size={image_size} does not divide into patches of {patch_size}")
        self.image_size, self.patch_size = image_size, patch_size
        self.max_length = (image_size // patch_size) ** 2
        self.embedding = nn.Linear(patch_size**2, embedding_dim)
        self.positions = LearnedPositions(self.max_length, embedding_dim)
        self.encoder = Encoder(num_layers, embedding_dim, num_heads, ffn_dim, dropout, norm_first)
        self.head = nn.Linear(embedding_dim, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Any) -> Tensor:
        """Images (B, height, width), pixels of size about 1 → logits (B, num_classes)."""
        if np.shape(images)[1:] != (self.image_size, self.image_size):
            raise ValueError(f"ImageClassifier: images of shape {np.shape(images)}; expected (batch, {self.image_size}, {self.image_size})")
        pixels = patches(images, self.patch_size).astype(self.head.weight.dtype)  # (B, T, P²)
        x = self.encoder(self.dropout(self.positions.embed(self.embedding(pixels))))  # (B, T, C)
        return self.head(self.dropout(x.mean(axis=1)))
