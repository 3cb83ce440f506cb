"""What a model remembers of the tokens that it has read, so that a new one costs one row of attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import Tensor

if TYPE_CHECKING:
    from ..attention import Window


class KVCache:
    """The keys and values of the tokens seen so far, so that each new token costs one row of attention.

    One cache serves one attention layer; a model takes ``cache.layer(i)`` for each of its layers.  Memory for
    ``max_length`` tokens is taken once, and for a window (``slide``) as much as the window needs.  Use it under
    ``no_grad()``: it keeps arrays, not graphs.
    """

    def __init__(self, max_length: int = 2048) -> None:
        self.max_length = max_length
        self._length = 0
        self._held: tuple[np.ndarray, np.ndarray] | None = None  # keys and values, with room for more unless a window sees them
        self._places: np.ndarray | None = None  # of what a window has left; None: all are there
        self._newest = 0  # how many tokens were added since it last let go of any
        self._layers: list[KVCache] = []
        self._memory: KVCache | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of the keys and values that it holds, of all layers."""
        own = () if self._held is None else self.contents()
        return sum(array.nbytes for array in own) + sum(cache.nbytes for cache in self._inner())

    @property
    def length(self) -> int:
        """How many tokens it holds."""
        return self._layers[-1].length if self._layers else self._length

    def layer(self, i: int) -> KVCache:
        """The cache of layer ``i`` of a model."""
        while len(self._layers) <= i:
            self._layers.append(KVCache(self.max_length))
        return self._layers[i]

    def memory(self, length: int) -> KVCache:
        """The cache of this layer's cross-attention, for a memory of ``length`` tokens."""
        if self._memory is None:
            self._memory = KVCache(length)
        return self._memory

    def _inner(self) -> list[KVCache]:
        return self._layers if self._memory is None else [*self._layers, self._memory]

    def contents(self) -> tuple[np.ndarray, np.ndarray]:
        """All the keys and values, (B, H, S, D)."""
        if self._held is None:
            raise ValueError("KVCache: it holds nothing yet")
        stop = self._length if self._places is None else len(self._places)
        return self._held[0][..., :stop, :], self._held[1][..., :stop, :]

    def append(self, k: Any, v: Any) -> tuple[np.ndarray, np.ndarray]:
        """Add keys and values (B, H, T, D), Tensors or arrays, and return all of them, (B, H, S, D)."""
        self.check(k)
        if self._held is None:
            keys = np.empty((*k.shape[:-2], self.max_length, k.shape[-1]), k.dtype)
            self._held = keys, np.empty((*v.shape[:-2], self.max_length, v.shape[-1]), v.dtype)
        keys, values = self._held
        start, stop = self._length, self._length + k.shape[-2]
        keys[:, :, start:stop] = k.data if isinstance(k, Tensor) else k
        values[:, :, start:stop] = v.data if isinstance(v, Tensor) else v
        self._length = stop
        return keys[:, :, :stop], values[:, :, :stop]

    def slide(self, k: Any, v: Any, window: Window, mask: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Forget what no query to come can see, add keys and values (B, H, T, D), and return all with their places (S,).

        ``mask`` (B, 1, 1, all keys up to the new ones) says where the rows' padding is: each keeps its own sinks.
        """
        self.check(k)
        places = np.arange(self._length, self._length + k.shape[-2])
        new = len(places)
        k, v = (x.data if isinstance(x, Tensor) else x for x in (k, v))
        if self._held is not None and self._places is not None:
            shown = None if mask is None or mask.dtype != bool else np.asarray(mask)[..., self._places]
            kept = window.kept(self._places, shown)
            k, v = (np.concatenate([old[:, :, kept], added], axis=2) for old, added in zip(self._held, (k, v), strict=True))
            places = np.concatenate([self._places[kept], places])
        self._held, self._places = (k, v), places
        self._length, self._newest = self._length + new, new
        return k, v, places

    def check(self, k: Any) -> None:
        """Raise RuntimeError or ValueError for keys (B, H, T, D) that cannot be added."""
        if isinstance(k, Tensor) and k.requires_grad:
            raise RuntimeError("KVCache: keys that require grad would lose it here; generate under `with no_grad():`")
        stop = self._length + k.shape[-2]
        if stop > self.max_length:
            raise ValueError(f"KVCache: {stop} tokens exceed its max_length={self.max_length}")
        if self._held is not None and k.shape[:-2] != (known := self._held[0].shape[:-2]):
            raise ValueError(f"KVCache: keys of shape {k.shape} after keys of batch and heads {known}; use a new cache")

    def take(self, rows: np.ndarray) -> None:
        """Keep these rows of the batch, in this order; one may be taken several times (beam search)."""
        for inner in self._inner():
            inner.take(rows)
        if self._held is not None:
            self._held = self._held[0][rows], self._held[1][rows]

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` tokens (speculative decoding).

        Where a window has let go of something that they look at, all is forgotten, and they are to be read again.
        """
        if not 0 <= length <= self.length:
            raise ValueError(f"KVCache: cannot keep {length} of {self.length} tokens")
        self.cut(length if self.reaches(length) else 0)

    def reaches(self, length: int) -> bool:
        """Whether it can go back to its first ``length`` tokens: it has let go of nothing since it held just them."""
        if self._places is not None and length < self._length:
            missing = self._length - len(self._places)  # let go of before the newest were added
            return length >= self._length - self._newest or not missing
        return all(layer.reaches(length) for layer in self._layers)

    def cut(self, length: int) -> None:
        """Keep the first ``length`` tokens, of every layer."""
        for layer in self._layers:
            layer.cut(length)
        if self._held is not None and self._places is not None:
            stop = int(np.searchsorted(self._places, length))
            self._held, self._places = (self._held[0][:, :, :stop], self._held[1][:, :, :stop]), self._places[:stop]
            self._newest = max(0, self._newest - (self._length - length))
        if not self._layers:
            self._length = length
