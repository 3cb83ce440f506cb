r"""What a task is: pairs of texts (x, y), made without end, of which a fixed part is never trained on.

Every pair has a key, and the key alone decides, by a checksum, to which part the pair belongs.  So training, validation and test have
no key in common, whatever is drawn, in whatever order and from whatever seed.
"""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

PARTS = ("test", "validation", "training")
PATIENCE = 1000  # fruitless draws in a row, after which there is probably nothing more to find
SPLIT_SEED = 2017  # of the fixed samples of each part; no training run draws from it


class Item(Protocol):
    """What a task is made of: what is read and what is said, as texts, and the key by which both belong to a part."""

    @property
    def source(self) -> str: ...

    @property
    def target(self) -> str: ...

    @property
    def key(self) -> str: ...


I = TypeVar("I", bound=Item)


class Pair(NamedTuple):
    """What is read, what is to be written, and the key by which both belong to a part."""

    source: str
    target: str
    key: str


@dataclass(frozen=True)
class PairTask(Generic[I]):
    """``make(rng)`` returns any pair; ``every`` n-th key is for the test, another n-th for validation, all others for training.

    ``pairs`` lists all there are where they can be listed, and then pairs are drawn from the list.
    """

    name: str
    says: str
    make: Callable[[np.random.Generator], I] | None = None
    pairs: tuple[I, ...] = ()
    every: int = 10
    test_size: int = 2000

    def __post_init__(self) -> None:
        if self.every < 3:
            raise ValueError(f"task {self.name}: every={self.every}; expected 3 or more, so that a part is left to train on")

    def part(self, key: str) -> str:
        """"test", "validation" or "training"."""
        return PARTS[min(zlib.crc32(f"{self.name} {key}".encode()) % self.every, 2)]

    def draw(self, rng: np.random.Generator, count: int, part: str = "training") -> list[I]:
        """``count`` pairs of a part, at random."""
        if self.pairs:
            own = self.listed[part]
            return [own[i] for i in rng.integers(0, len(own), count)]
        return list(itertools.islice(self._endless(rng, part), count))

    @functools.cached_property
    def listed(self) -> dict[str, list[I]]:
        """The pairs of each part, where they can be listed."""
        parts: dict[str, list[I]] = {part: [] for part in PARTS}
        for pair in self.pairs:
            parts[self.part(pair.key)].append(pair)
        return parts

    def sample(self, part: str, count: int | None = None) -> list[I]:
        """The same ``count`` (by default ``test_size``) different pairs of a part, every time; all of them where there are no more."""
        count = self.test_size if count is None else count
        rng = np.random.default_rng([SPLIT_SEED, PARTS.index(part)])
        if self.pairs:
            own = self.listed[part]
            return own if len(own) <= count else [own[i] for i in np.sort(rng.permutation(len(own))[:count])]
        found: dict[str, I] = {}
        known = 0  # drawn in a row, and known already
        for pair in self._endless(rng, part):
            known = known + 1 if pair.source in found else 0
            found.setdefault(pair.source, pair)
            if len(found) >= count or known == PATIENCE:
                break
        return list(found.values())

    def text(self, count: int = 4000) -> str:
        """Text with every character that the task uses, to train a tokenizer on."""
        shown: Iterable[I] = self.pairs or self.sample("training", count)
        return "\n".join(f"{pair.source}\n{pair.target}" for pair in shown)

    def _endless(self, rng: np.random.Generator, part: str) -> Iterator[I]:
        if self.make is None:
            raise ValueError(f"task {self.name}: has neither pairs nor a way to make them")
        missed = 0
        while missed < PATIENCE * self.every:
            pair = self.make(rng)
            missed += 1
            if self.part(pair.key) == part:
                missed = 0
                yield pair
        raise ValueError(f"task {self.name}: {missed} pairs in a row, and none of the {part} part; it has too few different keys")
