"""The one source of randomness: a seeded ``numpy.random.Generator``."""

from __future__ import annotations

import numpy as np

_generator = np.random.default_rng(0)


def manual_seed(seed: int) -> np.random.Generator:
    """Start the generator behind initialisation and dropout from ``seed``, and return it: the same seed, the same run."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"manual_seed: expected an integer ≥ 0, got {seed!r}")
    _generator.bit_generator.state = np.random.default_rng(int(seed)).bit_generator.state
    return _generator


def generator() -> np.random.Generator:
    """The generator that everything draws from unless it is given another."""
    return _generator
