"""Masks say who may attend to whom: boolean, True = may attend, rows are queries and columns are keys.

``T`` queries, ``S`` keys.  They broadcast to (B, H, T, S) and combine with ``&``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import recorded


def causal_mask(target_length: int, source_length: int | None = None) -> np.ndarray:
    """(T, S): query i may attend to key j when j is not in its future; the last query is aligned with the last key."""
    source_length = target_length if source_length is None else source_length
    if target_length < 0 or source_length < 0:
        raise ValueError(f"causal_mask: lengths must not be negative, got {target_length} and {source_length}")
    return np.tri(target_length, source_length, source_length - target_length, dtype=bool)


@recorded
def padding_mask(attention_mask: Any) -> np.ndarray:
    """(B, S) with 1 or True for real tokens and 0 for padding → (B, 1, 1, S): nobody attends to padding.

    Raises ValueError for another shape or other values, such as token ids.
    """
    mask = np.asarray(attention_mask)
    if mask.ndim != 2:
        raise ValueError(f"padding_mask: expected (batch, length), got shape {mask.shape}")
    if mask.dtype != bool:
        if not np.isin(mask, (0, 1)).all():
            odd = mask[~np.isin(mask, (0, 1))].ravel()[0]
            raise ValueError(f"padding_mask: expected 1 for tokens and 0 for padding, got {odd}; from ids, write ids != pad_id")
        mask = mask.astype(bool)
    return mask[:, None, None, :]


def masked_mean(x: Any, attention_mask: Any) -> Any:
    """The mean of the vectors of real tokens: x (B, T, C), mask (B, T) with 0 for padding → (B, C); zeros where nothing is real."""
    return (x * shares(attention_mask, x.dtype)).sum(axis=1)


@recorded
def shares(attention_mask: Any, dtype: Any) -> np.ndarray:
    """(B, T) with 0 for padding → (B, T, 1): each real token's part of the mean over its row."""
    mask = np.asarray(attention_mask)
    return (mask / np.maximum(mask.sum(axis=1, keepdims=True), 1))[..., None].astype(dtype)


def as_bias(mask: Any, dtype: Any) -> Any:
    """A boolean mask as something to add to scores, 0 where it allows and −∞ where it forbids; a float mask as it is."""
    return closed(mask, dtype) if mask.dtype == bool else mask


@recorded
def closed(mask: np.ndarray, dtype: Any) -> np.ndarray:
    """Booleans as 0 where True, −∞ where False."""
    return np.where(mask, 0.0, -np.inf).astype(dtype)
