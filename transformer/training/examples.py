"""What objectives on examples share, and those on a task: which examples they read, in which order, and how they are told apart."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from minigrad import no_grad

from ..data.codec import by_length
from ..data.tasks.base import PairTask
from ..data.tokenizers import Tokenizer
from ..decoding.window import Spread, evaluating

T = TypeVar("T")


def a_few(examples: Sequence[T], tokens: int, rng: np.random.Generator) -> list[T]:
    """Three examples at random, fewer where no more ``tokens`` are to be written."""
    return [examples[i] for i in rng.permutation(len(examples))[: min(3, tokens)]]


def up_to(limit: int | None, examples: Sequence[T], size: Callable[[T], int]) -> Sequence[T]:
    """The first examples, as many as have less than ``limit`` in all, and one at least; all when it is None."""
    if limit is None:
        return examples
    return examples[: max(1, int(np.searchsorted(np.cumsum([size(one) for one in examples]), limit)))]


def mean_loss(model: Any, losses: Callable[[np.ndarray], tuple[float, int]], lengths: Sequence[int], spread: Spread) -> float:
    """The mean over examples of these lengths; ``losses`` returns the sum for some of them, by their places, and the count that it is over."""
    with evaluating(model), no_grad():
        total, count = np.sum(list(spread(losses, by_length(lengths, 64))), axis=0)
    return float(total / count)


def verdict(read: str, said: str, right: str) -> str:
    """What a model read and said, and what would have been right if that is something else, as a line."""
    return f"{read} → {said}" + ("" if said == right else f"   (right: {right})")


class OnTask:
    """An objective on a task: how it draws its examples, and which of them it holds out."""

    task: PairTask[Any]
    tokenizer: Tokenizer
    collate: Callable[..., Any]  # examples as arrays

    @functools.cached_property
    def validation(self) -> list[Any]:
        """Up to 1000 examples that are never trained on, and are no test."""
        return self.task.sample("validation", 1000)

    def batch(self, rng: np.random.Generator, size: int) -> Any:
        """Examples for training, never of the test or validation part."""
        return self.collate(self.task.draw(rng, size))

    @functools.cached_property
    def held(self) -> list[Any]:
        """What tells this data from other data: the examples held out follow from the data and the way of splitting it."""
        return [*self.validation, *self.task.sample("test", 1000), *self.task.pairs]

    def fingerprint(self) -> int:
        """Of the examples held out."""
        return zlib.crc32("\n".join(f"{one.source}\t{self.wanted(one)}" for one in self.held).encode())

    def wanted(self, example: Any) -> Any:
        """What is to be said of an example."""
        return example.target
