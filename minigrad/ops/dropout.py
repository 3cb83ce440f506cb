"""Dropout: a random mask, drawn anew at every call, and a product with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..random import generator


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


def dropout_mask(shape: tuple[int, ...], p: float, dtype: Any, rng: np.random.Generator | None = None) -> np.ndarray:
    """Zeros with probability ``p``, else 1/(1 − p)."""
    drawn = (rng or generator()).random(shape, dtype=np.float32)
    return np.greater_equal(drawn, p).astype(dtype) * np.asarray(1 / (1 - p), dtype)


