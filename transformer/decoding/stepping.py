"""One more token as a program: what lies between its id and the logits runs as a straight line of NumPy, without Tensors.

The cache grows, so its arrays have another length at each step; the program looks them up, and nothing else in it depends on the length.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minigrad import no_grad, recorded
from minigrad.programs import Program, Refused

from ..attention import KVCache

_free: weakref.WeakKeyDictionary[Any, list[Stepper]] = weakref.WeakKeyDictionary()  # of each model, those that nobody uses


@dataclass(frozen=True)
class Running:
    """A cache, or one layer of it, as a program sees it: which one it is, and how long, is looked up at each call."""

    stepper: Stepper
    index: int = 0

    @property
    @recorded
    def length(self) -> np.ndarray:
        """(1,): how many tokens the cache held when the step began."""
        return np.array([self.stepper.start])

    def layer(self, i: int) -> Running:
        """The cache of layer ``i``."""
        return Running(self.stepper, i)

    @partial(recorded, effects=True)
    def append(self, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add keys and values (B, H, 1, D) and return all of them."""
        return self.stepper.cache.layer(self.index).append(k, v)

    @partial(recorded, effects=True)
    def slide(self, k: np.ndarray, v: np.ndarray, window: Any, mask: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same within a window; returns also their places.  No row is padded when a program reads."""
        return self.stepper.cache.layer(self.index).slide(k, v, window)

    def memory(self, length: int) -> Remembered:
        """What the layer's cross-attention attends to."""
        return Remembered(self.stepper, self.index)


@dataclass(frozen=True)
class Remembered:
    """The keys and values of a memory, which stay the same from step to step."""

    stepper: Stepper
    index: int

    @property
    def length(self) -> int:
        """How many there are."""
        return self.stepper.cache.layer(self.index).memory(0).length

    @recorded
    def contents(self) -> tuple[np.ndarray, np.ndarray]:
        """All of them."""
        return self.stepper.cache.layer(self.index).memory(0).contents()


class Stepper:
    """Returns the logits (B, 1, V) after one more token of each row, whose keys and values it puts into a cache."""

    def __init__(self, model: Any) -> None:
        owner: Any = weakref.ref(model)  # the model keeps its steppers, and not the other way round
        self.cache: KVCache = KVCache(1)
        self.start = 0
        self.refused = False
        self.program = Program(lambda ids: owner()(ids, cache=Running(self)), fluid=True, rewind=self.rewind, modules=model)

    def rewind(self) -> None:
        """Forget what this step has put into the cache."""
        self.cache.truncate(self.start)

    def __call__(self, ids: np.ndarray, cache: KVCache) -> np.ndarray | None:
        """None where the model cannot be recorded."""
        if self.refused:
            return None
        self.cache, self.start = cache, cache.length
        try:
            with no_grad():
                return self.program(ids).data
        except Refused:
            self.refused = True
            self.rewind()
            return None


def take_stepper(model: Any) -> Stepper:
    """One that nobody else uses; give it back with ``give_back``."""
    try:
        return _free.setdefault(model, []).pop()
    except IndexError:
        return Stepper(model)


def give_back(model: Any, stepper: Stepper) -> None:
    _free.setdefault(model, []).append(stepper)
