r"""Rotary positions for texts longer than those of training: which waves become slower, and by how much.

A rotary pair i turns by :math:`\theta_i = b^{-2i/D}` per token.  Trained on L tokens, a model has seen the fast pairs
turn many times, and of the slow ones only the beginning of one turn; beyond L these show angles that it has never met.
A stretch maps the θ to slower ones:

- :class:`Interpolated`: all of them s times slower, so that s·L tokens make the angles that L made;
- :class:`RaisedBase`: the fast ones stay, the slowest becomes s times slower, the others in between, as if the base b were larger;
- :class:`Yarn`: by the number of turns within L, and a little more contrast in the scores.

``StretchedRotation`` in ``positions`` is Llama 3.1's.  Each is passed to ``RotaryPositions(head_dim, stretch=...)``.

Sources: Chen et al. (2023), "Extending context window of large language models via positional interpolation"; bloc97
(2023), "NTK-aware scaled RoPE"; Peng et al. (2024), "YaRN", sections 3.1 to 3.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


def check(stretch: Any, **numbers: float) -> None:
    """ValueError unless all are finite numbers above 0."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
            raise ValueError(f"{type(stretch).__name__}: {name}={value!r:.80}; expected a number above 0")


@dataclass(frozen=True)
class Interpolated:
    """θ/s: positions are squeezed into those that were trained.  Source: Chen et al. (2023), eq. 4."""

    factor: float

    def __post_init__(self) -> None:
        check(self, factor=self.factor)

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        return theta / self.factor


@dataclass(frozen=True)
class RaisedBase:
    r"""The base :math:`b \cdot s^{D/(D-2)}` ("NTK-aware"): :math:`\theta_i \, s^{-2i/(D-2)}`.  Peng et al., eq. 14 and 15."""

    factor: float

    def __post_init__(self) -> None:
        check(self, factor=self.factor)

    @classmethod
    def dynamic(cls, factor: float, original_length: int, length: int) -> RaisedBase:
        """As much as ``length`` tokens need ("dynamic NTK"): nothing up to the length of training, then more and more."""
        return cls(factor * max(length, original_length) / original_length - (factor - 1))

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        return theta * self.factor ** (-np.arange(len(theta)) / max(1, len(theta) - 1))


@dataclass(frozen=True)
class Yarn:
    r"""Pairs that turn more than ``fast`` times within ``original_length`` stay, those below ``slow`` become s times slower.

    Between them it is linear in the pair's number, from whole number to whole number.  Queries and keys become longer by
    the ``amplitude`` :math:`0.1 \ln s + 1`, so that scores grow by its square.  Source: Peng et al. (2024), eq. 17 to 22.
    """

    factor: float
    original_length: int
    fast: float = 32.0
    slow: float = 1.0

    def __post_init__(self) -> None:
        check(self, factor=self.factor, original_length=self.original_length, fast=self.fast, slow=self.slow)
        if self.fast <= self.slow:
            raise ValueError(f"Yarn: fast={self.fast}, slow={self.slow}; expected more turns for the fast pairs")

    @property
    def amplitude(self) -> float:
        """How much longer queries and keys become."""
        return 0.1 * math.log(self.factor) + 1 if self.factor > 1 else 1.0

    def pair(self, turns: float, theta: np.ndarray) -> float:
        """The number i, a fraction, of the pair that turns so often within the original length."""
        step = math.log(theta[1]) if len(theta) > 1 else -1.0  # θ_i = exp(i · step)
        return math.log(2 * math.pi * turns / self.original_length) / step

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        first = max(math.floor(self.pair(self.fast, theta)), 0)
        last = min(math.ceil(self.pair(self.slow, theta)), 2 * len(theta) - 1)
        slowed = np.clip((np.arange(len(theta)) - first) / max(last - first, 1e-3), 0, 1)
        return theta * (1 - slowed) + theta / self.factor * slowed
