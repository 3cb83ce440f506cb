"""The source of randomness: a seeded ``numpy.random.Generator``, one for the program, and one for each thread that seeds its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

_generator = np.random.default_rng(0)
_own = threading.local()  # .generator: that of this thread, where it has one
_drawn_from: ContextVar[dict[int, tuple[np.random.Generator, Any]] | None] = ContextVar("minigrad_drawn_from", default=None)


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


def drawing(rng: np.random.Generator | None = None) -> np.random.Generator:
    """``rng``, or the generator that everything draws from, about to be drawn from by an op."""
    chosen = generator() if rng is None else rng
    noted = _drawn_from.get()
    if noted is not None and id(chosen) not in noted:
        noted[id(chosen)] = (chosen, chosen.bit_generator.state)
    return chosen


@contextmanager
def noting_draws() -> Iterator[dict[int, tuple[np.random.Generator, Any]]]:
    """Within it, the state of each generator before an op first draws from it is noted; that of ours in any case."""
    own = generator()
    noted: dict[int, tuple[np.random.Generator, Any]] = {id(own): (own, own.bit_generator.state)}
    token = _drawn_from.set(noted)
    try:
        yield noted
    finally:
        _drawn_from.reset(token)
        outer = _drawn_from.get()
        if outer is not None:
            for key, entry in noted.items():
                outer.setdefault(key, entry)


@contextmanager
def drawing_again(noted: dict[int, tuple[np.random.Generator, Any]]) -> Iterator[None]:
    """Within it, the noted generators draw again what they drew then; afterwards they go on where they were."""
    now = [(rng, rng.bit_generator.state) for rng, _ in noted.values()]
    for rng, state in noted.values():
        rng.bit_generator.state = state
    try:
        yield
    finally:
        for rng, state in now:
            rng.bit_generator.state = state
