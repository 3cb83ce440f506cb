r"""Where am I?  Attention alone does not see the order of its tokens; a position scheme tells it.

A scheme acts in one of three places, and leaves the other two alone:

- ``embed`` adds a vector for each position to the token embeddings (sinusoidal, learned);
- ``rotate`` turns queries and keys, so that their dot product sees only the distance (rotary);
- ``bias`` adds something to the scores that depends on the distance (ALiBi).

``start`` is the position of the first token: with a KV cache it is the number of tokens already seen.  ``embed`` also takes one for each
row, (B,), negative where a row begins with that much padding; the other two see only distances, which padding on the left does not change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import Tensor, concatenate, nn, recorded, take
from minigrad.random import generator


class Positions(nn.Module):
    """No position scheme at all; the others replace one of its three methods."""

    max_length: int | None = None  # how many positions it knows; None: any number

    def embed(self, x: Any, start: int | np.ndarray = 0) -> Any:
        """Token embeddings (B, T, C) → (B, T, C)."""
        return x

    def rotate(self, x: Any, start: int = 0) -> Any:
        """Queries or keys (B, H, T, D) → (B, H, T, D)."""
        return x

    def bias(self, target_length: int, source_length: int, dtype: Any) -> np.ndarray | None:
        """Something to add to the scores, (H, T, S), or None."""
        return None

    def between(self, q: Any, k: Any) -> Any:
        """``bias`` for queries (B, H, T, D) and keys (B, H, S, D)."""
        return self.bias(q.shape[-2], k.shape[-2], q.dtype)

    def forward(self, x: Any, start: int | np.ndarray = 0) -> Any:
        """The same as ``embed``."""
        return self.embed(x, start)

    def places(self, start: int | np.ndarray, length: int) -> Any:
        """The rows of a table for these positions: a slice, or (B, T) for a start of each row, where padding gets the first."""
        if isinstance(start, np.ndarray | Tensor):
            return row_places(start, length, self.max_length)
        self.check_length(start, length)
        return slice(start, start + length)

    def check_length(self, start: int, length: int) -> None:
        """Raise ValueError when positions ``start`` … ``start + length`` go beyond ``max_length``."""
        if self.max_length is not None and start + length > self.max_length:
            raise ValueError(
                f"{type(self).__name__}: {start + length} tokens exceed the {self.max_length} positions of this model; "
                "shorten the input, or build the model with a longer context"
            )


@recorded
def row_places(start: np.ndarray, length: int, max_length: int | None) -> np.ndarray:
    """(B, T): the positions of rows that start at ``start`` (B,); padding, below 0, gets the first."""
    if max_length is not None and (stop := np.maximum.reduce(start) + length) > max_length:
        raise ValueError(f"positions: {stop} tokens exceed the {max_length} positions of this model; shorten the input")
    return np.maximum(start[:, None] + np.arange(length), 0)


def sinusoids(length: int, width: int, start: int = 0, base: float = 10_000.0) -> np.ndarray:
    r"""(length, width): :math:`PE_{t,2i} = \sin(t / 10000^{2i/d})`, :math:`PE_{t,2i+1} = \cos(t / 10000^{2i/d})`, for i < d/2."""
    t = np.arange(start, start + length)[:, None]
    i = np.arange((width + 1) // 2)[None, :]
    angle = t / base ** (2 * i / width)  # (length, ⌈width/2⌉)
    table = np.empty((length, width))
    table[:, 0::2] = np.sin(angle)
    table[:, 1::2] = np.cos(angle[:, : width // 2])
    return table


class SinusoidalPositions(Positions):
    """Fixed waves of geometrically growing wavelength are added to the embeddings.  Source: Vaswani et al. (2017), section 3.5."""

    def __init__(self, embedding_dim: int, max_length: int | None = None) -> None:
        self.embedding_dim = embedding_dim
        self.max_length = max_length
        self._tables: dict[Any, np.ndarray] = {}

    def embed(self, x: Any, start: int | np.ndarray = 0) -> Any:
        """x + PE."""
        places = self.places(start, x.shape[-2])
        return x + (self.waves(places, x.dtype) if isinstance(places, slice) else waves_at(self, places, x.dtype))

    def waves(self, places: Any, dtype: Any) -> np.ndarray:
        """The rows of the table at a slice of places, or at an array of them."""
        stop = places.stop if isinstance(places, slice) else int(places.max()) + 1
        table = self._tables.get(dtype)
        if table is None or len(table) < stop:
            table = self._tables[dtype] = sinusoids(max(2 * stop, 64), self.embedding_dim).astype(dtype)
        return table[places]


@recorded
def waves_at(positions: SinusoidalPositions, places: np.ndarray, dtype: Any) -> np.ndarray:
    """The rows of its table at places that a program is told at each call."""
    return positions.waves(places, dtype)


class LearnedPositions(Positions):
    """A learned vector for each of ``max_length`` positions is added to the embeddings.  Source: Gehring et al. (2017), section 3.1."""

    def __init__(self, max_length: int, embedding_dim: int, std: float = 0.02) -> None:
        self.max_length = max_length
        self.weight = nn.Parameter(generator().normal(0, std, (max_length, embedding_dim)))

    def embed(self, x: Any, start: int | np.ndarray = 0) -> Any:
        """x + the rows of the table."""
        return x + self.weight[self.places(start, x.shape[-2])]


@dataclass(frozen=True)
class StretchedRotation:
    r"""Rotary angles for texts longer than those of training, as in Llama 3.1: slow waves are made ``factor`` times slower.

    A wave turns :math:`n = L \theta / 2\pi` times within the original length L.  Below ``low`` turns it becomes θ/factor, above ``high`` it stays,
    and in between the two are mixed in proportion.
    """

    factor: float
    low: float
    high: float
    original_length: int

    def __post_init__(self) -> None:
        if not (0 < self.factor < math.inf and 0 < self.low < self.high < math.inf and self.original_length >= 1):
            raise ValueError(f"{self}: expected 0 < factor, 0 < low < high and a length of 1 or more")

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        """Angles per step to angles per step."""
        turns = self.original_length * theta / (2 * np.pi)
        kept = np.clip((turns - self.low) / (self.high - self.low), 0, 1)
        return (1 - kept) * theta / self.factor + kept * theta


class RotaryPositions(Positions):
    r"""Each pair of coordinates of a query or key at position t is turned by the angle :math:`t\,\theta_i`, :math:`\theta_i = 10000^{-2i/D}`.

    The pairs are (i, i + D/2), as in Llama, or with ``interleaved`` (2i, 2i + 1), as in the paper; ``stretch`` changes the θ, and with its
    ``amplitude``, if it has one, the length of what is turned (see ``models.stretching``).
    Source: Su et al. (2021), eq. 34.  Raises ValueError for an odd head width.
    """

    def __init__(self, head_dim: int, base: float = 10_000.0, interleaved: bool = False, max_length: int | None = None,
                 stretch: Callable[[np.ndarray], np.ndarray] | None = None) -> None:  # fmt: skip
        if head_dim % 2:
            raise ValueError(f"RotaryPositions: head width {head_dim} is odd; coordinates are turned in pairs")
        if not 0 < base < math.inf:
            raise ValueError(f"RotaryPositions: base={base}; expected a number above 0, such as 10000")
        self.head_dim, self.base, self.interleaved, self.max_length = head_dim, base, interleaved, max_length
        self.stretch = stretch
        self._tables: dict[Any, tuple[np.ndarray, np.ndarray]] = {}

    def _table(self, length: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        known = self._tables.get(dtype)
        if known is None or len(known[0]) < length:
            theta = self.base ** (-2 * np.arange(self.head_dim // 2) / self.head_dim)
            theta = theta if self.stretch is None else self.stretch(theta)
            angle, amplitude = np.arange(max(2 * length, 64))[:, None] * theta, getattr(self.stretch, "amplitude", 1.0)  # (length, D/2)
            known = self._tables[dtype] = ((amplitude * np.cos(angle)).astype(dtype), (amplitude * np.sin(angle)).astype(dtype))
        return known

    def turn(self, start: int, length: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        """The cosines and sines for ``length`` positions from ``start`` on."""
        self.check_length(start, length)
        cos, sin = self._table(start + length, dtype)
        return cos[start : start + length], sin[start : start + length]

    def rotate(self, x: Any, start: int = 0) -> Any:
        """(a, b) → (a cos − b sin, b cos + a sin)."""
        turn = RotaryPositions.turn if isinstance(start, int) else turn_at
        cos, sin = turn(self, start, x.shape[-2], x.dtype)  # (T, D/2)
        if self.interleaved:
            a, b = x[..., 0::2], x[..., 1::2]
            turned = concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
            back = np.arange(self.head_dim).reshape(2, -1).T.ravel()
            return take(turned, back, -1)
        half = self.head_dim // 2
        a, b = x[..., :half], x[..., half:]
        return concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


@recorded
def turn_at(positions: RotaryPositions, start: np.ndarray, length: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Its cosines and sines from a place on that a program is told at each call, (1,)."""
    return positions.turn(int(start[0]), length, dtype)


class AlibiBias(Positions):
    """A penalty on the scores that grows with distance, with a slope of its own for each head.  Source: Press et al. (2022), section 3."""

    def __init__(self, num_heads: int) -> None:
        self.num_heads = num_heads
        power = 2 ** math.floor(math.log2(num_heads))
        slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
        slopes += [2 ** (-4 * (2 * i + 1) / power) for i in range(num_heads - power)]
        self.slopes = np.array(slopes)

    def bias(self, target_length: int, source_length: int, dtype: Any) -> np.ndarray:
        """−slope · |i − j|, with the last query aligned with the last key: (H, T, S)."""
        return distance_penalties(self.slopes, np.empty((target_length, 0), dtype), np.empty((source_length, 0)))

    def between(self, q: Any, k: Any) -> Any:
        """The same for queries (..., T, D) and keys (..., S, D)."""
        return distance_penalties(self.slopes, q, k)


@recorded
def distance_penalties(slopes: np.ndarray, q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """−slope · |i − j| for each head, query i of q (..., T, D) and key j of k (..., S, D): (H, T, S)."""
    i = np.arange(k.shape[-2] - q.shape[-2], k.shape[-2])[:, None]
    j = np.arange(k.shape[-2])[None, :]
    return (-slopes[:, None, None] * np.abs(i - j)).astype(q.dtype)
