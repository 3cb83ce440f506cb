"""The one source of randomness: a seeded ``numpy.random.Generator``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

_generator = np.random.default_rng(0)
_drawn_from: ContextVar[dict[int, tuple[np.random.Generator, Any]] | None] = ContextVar("minigrad_drawn_from", default=None)


def manual_seed(seed: int) -> np.random.Generator:
    """Start the generator behind initialisation and dropout from ``seed``, and return it: the same seed, the same run."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"manual_seed: expected an integer ≥ 0, got {seed!r}")
    _generator.bit_generator.state = np.random.default_rng(int(seed)).bit_generator.state
    return _generator


def generator() -> np.random.Generator:
    """The generator that everything draws from unless it is given another."""
    return _generator


def drawing(rng: np.random.Generator | None = None) -> np.random.Generator:
    """``rng``, or the generator that everything draws from, about to be drawn from by an op."""
    chosen = _generator if rng is None else rng
    noted = _drawn_from.get()
    if noted is not None and id(chosen) not in noted:
        noted[id(chosen)] = (chosen, chosen.bit_generator.state)
    return chosen


@contextmanager
def noting_draws() -> Iterator[dict[int, tuple[np.random.Generator, Any]]]:
    """Within it, the state of each generator before an op first draws from it is noted; that of ours in any case."""
    noted: dict[int, tuple[np.random.Generator, Any]] = {id(_generator): (_generator, _generator.bit_generator.state)}
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
