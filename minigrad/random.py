"""The source of randomness: a seeded ``numpy.random.Generator``, one for the program, and one for each thread that seeds its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_generator = np.random.default_rng(0)
_own = threading.local()  # .generator: that of this thread, where it has one


def manual_seed(seed: int) -> np.random.Generator:
    """Start the generator behind initialisation and dropout from ``seed``, and return it: the same seed, the same run.

    A thread other than the main one gets a generator of its own, so that what runs beside it changes nothing.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"manual_seed: expected an integer ≥ 0, got {seed!r}")
    if not hasattr(_own, "generator") and threading.current_thread() is not threading.main_thread():
        _own.generator = np.random.default_rng()
    generator().bit_generator.state = np.random.default_rng(int(seed)).bit_generator.state
    return generator()


def generator() -> np.random.Generator:
    """The generator that everything in this thread draws from unless it is given another."""
    return getattr(_own, "generator", _generator)


@contextmanager
def drawing_from(rng: Any) -> Iterator[None]:
    """Within it, ``generator()`` is ``rng`` in this thread, so that the usual one stands where it stood before."""
    before = getattr(_own, "generator", None)
    _own.generator = rng
    try:
        yield
    finally:
        if before is None:
            del _own.generator
        else:
            _own.generator = before
