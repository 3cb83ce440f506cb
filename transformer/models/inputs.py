"""What every model checks of its token ids, once, where they enter."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from minigrad import recorded


@partial(recorded, shown="{1}")
def checked_ids(model: str, ids: Any, vocab_size: int, max_length: int | None = None) -> np.ndarray:
    """Token ids as an integer array (B, T); raises TypeError, ValueError or IndexError with the offender and the cure."""
    array = np.asarray(ids)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{model}: token ids must be integers, got {array.dtype}; encode text with a tokenizer")
    if array.ndim != 2:
        hint = "; for one sequence write ids[None, :]" if array.ndim == 1 else ""
        raise ValueError(f"{model}: expected token ids (batch, length), got shape {array.shape}{hint}")
    if not array.size:
        raise ValueError(f"{model}: no tokens, shape {array.shape}")
    if max_length is not None and array.shape[1] > max_length:
        raise ValueError(
            f"{model}: {array.shape[1]} tokens exceed the context of {max_length}; shorten the input to ids[:, -{max_length}:], "
            "or build the model with a longer context"
        )
    if array.dtype == np.intp and array.view(np.uintp).max() < vocab_size:  # one look is enough: below 0 is far above
        return array
    if array.max() >= vocab_size or array.min() < 0:
        where = tuple(int(i) for i in np.argwhere((array >= vocab_size) | (array < 0))[0])
        raise IndexError(
            f"{model}: token id {int(array[where])} at position {where} is outside the vocabulary, 0 to {vocab_size - 1}; "
            "encode with the tokenizer that the model was trained with"
        )
    return array


def checked_mask(model: str, mask: Any, ids: np.ndarray) -> np.ndarray | None:
    """An attention mask (B, T), 1 or True for tokens, checked against the ids; None stays None."""
    if mask is None:
        return None
    if np.shape(mask) != ids.shape:
        raise ValueError(f"{model}: attention_mask {np.shape(mask)} for token ids {ids.shape}; expected one entry for each token")
    return mask if hasattr(mask, "dtype") else np.asarray(mask)


@recorded
def left_padding(model: str, mask: Any, shape: tuple[int, int]) -> np.ndarray:
    """How much padding each row of an attention mask (B, S) begins with, (B,); ValueError for any other kind of mask."""
    array = np.asarray(mask)
    if array.shape != shape:
        raise ValueError(f"{model}: attention_mask {array.shape}; expected {shape}: one entry for each token, those in the cache included")
    real = array.astype(bool)
    odd = np.flatnonzero((real[:, :-1] & ~real[:, 1:]).any(axis=1) | ~real[:, -1])
    if len(odd):
        raise ValueError(
            f"{model}: attention_mask row {odd[0]} does not end in tokens: {array[odd[0]].astype(int).tolist()}; "
            "pad on the left, so that a row reads 0 … 0 1 … 1 (padding on the right needs no mask)"
        )
    return real.argmax(axis=1)
