"""One derivation: a function, its inputs, the steps of the right gradient, and wrong gradients with the cause of each."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Mistake:
    """A wrong gradient of one input, as an expression of the inputs and steps; ``key`` is what a hint must say.

    ``key`` holds regular expressions joined by " & "; a good hint matches all of them.
    """

    of: str
    code: str
    cause: str
    key: str

    def named_by(self, words: str) -> bool:
        """Whether ``words`` name the cause."""
        return all(re.search(part, words, re.IGNORECASE) for part in self.key.split(" & "))


@dataclass
class Derivation:
    """A function of named inputs; ``data`` maps each name to a shape (normal numbers) or to a function of a generator."""

    name: str
    source: str
    kind: str  # "plain" operations or "library" ops
    f: Callable[..., Any]
    data: dict[str, Any]
    steps: str
    right: dict[str, str]
    wrong: list[Mistake]

    def inputs(self, seed: int = 0) -> dict[str, Any]:
        """Its inputs, drawn anew for each seed."""
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        return {name: spec(rng) if callable(spec) else rng.normal(size=spec) for name, spec in self.data.items()}

    def gradient(self, code: str, inputs: dict[str, Any]) -> np.ndarray:
        """What ``code`` computes after the steps."""
        helpers = {"np": np, "sigmoid": sigmoid, "softmax": softmax, "onehot": onehot}
        space: dict[str, Any] = {**helpers, **self.f.__globals__, **inputs}
        exec(self.steps, space)
        return np.asarray(eval(code, space), dtype=np.float64)


def derivation(
    name: str, source: str, kind: str, f: Callable[..., Any], data: dict[str, Any], steps: str, right: dict[str, str], wrong: list[tuple[str, str, str, str]]
) -> Derivation:
    """A derivation with its wrong gradients given as tuples (input, code, cause, key)."""
    return Derivation(name, source, kind, f, data, steps, right, [Mistake(*w) for w in wrong])


def labels(n: Any, classes: int) -> Callable[[np.random.Generator], np.ndarray]:
    """Class labels."""
    return lambda rng: rng.integers(0, classes, n)


def one_hot(n: int, classes: int) -> Callable[[np.random.Generator], np.ndarray]:
    """Targets, one row of zeros and a one for each example."""
    return lambda rng: np.eye(classes)[rng.integers(0, classes, n)]


def bits(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    """Targets 0.0 or 1.0, at least one of each."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        x = rng.integers(0, 2, shape).astype(float)
        x.flat[0], x.flat[1] = 0.0, 1.0
        return x

    return draw


def positive(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    """Numbers between 0.5 and 2."""
    return lambda rng: rng.uniform(0.5, 2, shape)


def sigmoid(z: Any) -> Any:
    """For the steps."""
    return 1 / (1 + np.exp(-z))


def softmax(z: Any, axis: int = -1) -> Any:
    """For the steps."""
    e = np.exp(z - z.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def onehot(y: Any, classes: int) -> Any:
    """For the steps."""
    return np.eye(classes)[y]
