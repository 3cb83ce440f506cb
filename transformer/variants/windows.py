"""Attention to what is near: each query sees the last few keys, and with sinks also the first ones of its row.

A cache then needs no more than these, however long the text grows.  ``T`` queries, ``S`` keys; ``places`` (S,) says
where each key stands in the text, since those that nobody will look at again are no longer there.

Sources: Beltagy, Peters & Cohan (2020), section 3.1; Jiang et al. (2023), section 2, for windows in language models;
Xiao et al. (2024), section 3, for the sinks: a softmax must put its weight somewhere, and models put it on the first
tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigrad import recorded

from ..positions import Positions


@dataclass(frozen=True)
class Window:
    """A query sees the keys less than ``size`` places away, itself included, and the first ``sinks`` that the mask
    shows it."""

    size: int
    sinks: int = 0

    def __post_init__(self) -> None:
        if (
            any(isinstance(n, bool) or not isinstance(n, int | np.integer) for n in (self.size, self.sinks))
            or self.size < 1
            or self.sinks < 0
        ):
            raise ValueError(f"{self}: expected a size of 1 or more, and 0 sinks or more, whole numbers")

    def mask(self, places: np.ndarray, target_length: int, mask: np.ndarray | None = None) -> np.ndarray:
        """Boolean, (T, S) or as ``mask`` broadcasts with it: what the last ``target_length`` of the places see; the
        future is not hidden."""
        near = np.abs(places[-target_length:, None] - places) < self.size  # (T, S)
        if mask is None:
            return near | (places < self.sinks)
        return mask & (near | (np.cumsum(mask, axis=-1) <= self.sinks))

    def kept(self, places: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Boolean (S,): which keys a later query may still look at."""
        near = places > places.max(initial=0) + 1 - self.size
        if mask is None or not self.sinks:
            return near | (places < self.sinks)
        first = mask & (np.cumsum(mask, axis=-1) <= self.sinks)
        return near | first.any(axis=tuple(range(first.ndim - 1)))


@recorded
def places_of(k: np.ndarray) -> np.ndarray:
    """(S,): where keys (..., S, D) stand that are all there from the start."""
    return np.arange(k.shape[-2])


@recorded
def windowed(
    window: Window, positions: Positions, places: np.ndarray, q: np.ndarray, mask: np.ndarray | None
) -> np.ndarray:
    """The window of queries q (..., T, D), a mask (booleans, or floats to add) and the positions' bias, as one thing to
    add to the scores."""
    length, total = q.shape[-2], int(places[-1]) + 1
    boolean = mask is not None and mask.dtype == bool
    if mask is not None and mask.shape[-1] == total:
        mask = mask[..., places]
    added = np.where(window.mask(places, length, mask if boolean else None), 0.0, -np.inf)
    if mask is not None and not boolean:
        added = added + mask
    bias = positions.bias(length, total, q.dtype)
    return (added if bias is None else added + bias[..., places]).astype(q.dtype)
