"""Dropout: a random mask, drawn anew at every call, and a product with it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..random import drawing
from .declare import recorded


def dropout(x: Any, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None) -> Any:
    """``x`` with each entry zeroed with probability ``p`` and the others divided by 1 − p; ``x`` itself when not training.

    Every call draws its own mask, from ``rng`` or from the generator that ``manual_seed`` seeds.
    Source: Srivastava et al. (2014), section 10 (inverted form).
    """
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p={p}; expected a probability from 0 up to, but not including, 1")
    if not training or p == 0:
        return x
    return x * dropout_mask(np.shape(x), p, x.dtype, rng)


@partial(recorded, effects=True)
def dropout_mask(shape, p, dtype, rng=None):
    """Zeros with probability ``p``, else 1/(1 − p)."""
    drawn = drawing(rng).random(shape, dtype=np.float32)
    return np.greater_equal(drawn, p).astype(dtype) * np.asarray(1 / (1 - p), dtype)


@partial(recorded, effects=True)
def draw_seed():
    """A seed for a mask that is drawn piece by piece."""
    return int(drawing().integers(1 << 62))


def seeded_mask(shape: tuple[int, ...], p: float, seed: int, dtype: Any, start: int = 0) -> np.ndarray:
    """``dropout_mask`` from a seed; the entries from number ``start`` on of one long mask, so that it can be drawn again in pieces."""
    bits = np.random.PCG64(int(seed))
    bits.advance(start // 2)  # two 32-bit numbers for each step of the generator
    generator = np.random.Generator(bits)
    if start % 2:
        generator.random(dtype=np.float32)
    drawn = generator.random(shape, dtype=np.float32)
    return np.greater_equal(drawn, p).astype(dtype) * np.asarray(1 / (1 - p), dtype)
