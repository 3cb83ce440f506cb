r"""How a model reads a text that grows: prompts of different lengths, the window beyond the context, the cache, where to stop.

**Different lengths.** Rows are padded on the left, so that they all end, and grow, in the same place.  Nobody attends to padding,
and the first real token of a row has position 0 whatever the padding before it.

**Beyond the context** C, the next token is predicted from a window: whenever the window is full, its older half is dropped, and the rest is
read again as if the text began there.  So after n > C tokens the window starts at ⌈(n − C)/h⌉·h with h = max(1, ⌊C/2⌋), and holds C − h + 1
to C tokens.  It is one rule for every position scheme, for these reasons:

- learned: there is no vector for position C, so positions must begin again at 0;
- sinusoidal: there is one, but the model has never seen it in training, so likewise;
- rotary, ALiBi: only distances count, and those within a window are unchanged; distances above C were not trained, and do not occur;
- none: nothing to renumber.

In all five the kept tokens are read again because, from the second layer on, cached keys and values still carry what they took
from the dropped tokens.  Hence cached and uncached generation agree, and ``perplexity.token_losses(model, ids, stride=h)`` gives
a text just the likelihood that it had while it was written.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad import nn, no_grad
from minigrad.random import generator

from ..attention import KVCache
from ..data.codec import by_length
from .stepping import give_back, take_stepper

Stop = int | Collection[int] | None
Seed = np.random.Generator | int | None
Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # ``map``, or what does as ``map`` does with several processes


def window_start(length: Any, context: int) -> Any:
    """Where the window begins in a text of ``length`` tokens (a number or an array)."""
    half = max(1, context // 2)
    return np.maximum(0, -(-(np.asarray(length) - context) // half) * half)


class Reader:
    """Returns the logits after each row of a growing batch; it remembers what it has read when ``use_cache``."""

    def __init__(self, model: Any, use_cache: bool = True) -> None:
        self.model, self.context, self.use_cache = model, model.context_length, use_cache
        self.cache = KVCache(self.context)
        self.starts = np.zeros(0, np.int64)  # where each row's window began when the cache was filled
        self.read = -1  # how many columns of ids the cache knows, where no row is padded
        self.stepper = take_stepper(model) if use_cache else None

    def logits(self, ids: np.ndarray, lengths: np.ndarray, last: int = 1) -> np.ndarray:
        """(B, last, V): the logits at the ``last`` positions of ids (B, N), of which row b is ids[b, −lengths[b]:].

        The ``last`` positions must share one window, that of the whole row.
        """
        if ids.shape[1] == self.read + 1 and last == 1 and self.stepper is not None and self.cache.length < self.context:
            logits = self.stepper(ids[:, -1:], self.cache)  # one token more in the same window
            if logits is not None:
                self.read += 1
                return checked(logits)
        starts = window_start(lengths, self.context)
        if not self.use_cache or not np.array_equal(starts, self.starts):
            self.cache, self.starts = KVCache(self.context), starts
        widths = lengths - starts
        width = int(widths.max())
        padding = {} if (widths == width).all() else {"attention_mask": np.arange(width) >= (width - widths)[:, None]}
        new = ids[:, ids.shape[1] - width + self.cache.length :]
        with no_grad():
            logits = self.model(new, cache=self.cache if self.use_cache else None, **padding).data[:, -last:]
        self.read = -1 if padding else ids.shape[1]
        return checked(logits)

    def __del__(self) -> None:
        stepper = getattr(self, "stepper", None)
        if stepper is not None:
            give_back(self.model, stepper)  # others may use what it has recorded

    def take(self, rows: np.ndarray) -> None:
        """Go on with these rows, in this order; one may be taken several times."""
        self.cache.take(rows)
        self.starts = self.starts[rows]

    def forget(self, length: int) -> None:
        """Forget all but the first ``length`` tokens of a single row."""
        self.read = -1
        if self.cache.length:
            self.cache.truncate(min(self.cache.length, max(0, length - int(self.starts[0]))))


def checked(logits: np.ndarray) -> np.ndarray:
    """The logits (B, n, V); FloatingPointError when one row's largest is not finite."""
    if not math.isfinite(np.maximum.reduce(logits, axis=None)) or (logits.shape[0] > 1 and not np.isfinite(logits.max(axis=-1)).all()):
        raise FloatingPointError("the model's logits are not finite; were its weights damaged, or trained with too high a rate?")
    return logits


_lock = threading.Lock()
_evaluated: dict[int, tuple[list[int], list[tuple[Any, bool]]]] = {}  # by model: how many evaluate it now, and the modes before the first


@contextmanager
def evaluating(model: Any, what: str = "") -> Iterator[None]:
    """Within it the model is in eval mode; with ``what`` it warns when that switches dropout off.

    When the last one leaves, whatever the order and the threads, each module is in the mode in which the first one found it.
    """
    with _lock:
        count, modes = _evaluated.setdefault(id(model), ([0], [(module, module.training) for module in model.modules()]))
        count[0] += 1
        first, training = count[0] == 1, model.training
        model.eval()
    try:
        if what and first and training and any(m.p > 0 for m in model.modules() if isinstance(m, nn.Dropout)):
            warnings.warn(f"{what}: the model is in training mode; generating in eval mode, without dropout. Call model.eval()", stacklevel=5)
        yield
    finally:
        with _lock:
            count[0] -= 1
            if not count[0]:
                del _evaluated[id(model)]
                for module, mode in modes:
                    module.training = mode


def read_together(
    model: Any, read: Callable[[np.ndarray], Iterable[Any]], lengths: Sequence[int], batch_size: int = 64, spread: Spread = map
) -> list[Any]:
    """What ``read`` returns for each row of these lengths, in their order; it gets the places of rows of like length, ``batch_size`` at a time."""
    out: list[Any] = [None] * len(lengths)
    groups = list(by_length(lengths, batch_size))
    with evaluating(model), no_grad():
        for places, found in zip(groups, spread(read, groups), strict=True):
            for i, one in zip(places, found, strict=True):
                out[i] = one
    return out


def checked_count(what: str, argument: str, value: Any, least: int = 0) -> None:
    """ValueError unless a number of tokens, beams or the like is a whole one, ``least`` or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{what}: {argument}={value!r}; expected a whole number, {least} or more")


def checked_prompts(what: str, prompt_ids: Any) -> list[np.ndarray]:
    """A prompt (T,), a batch (B, T) or a list of prompts of different lengths, as a list of arrays of ids."""
    if isinstance(prompt_ids, str) or (isinstance(prompt_ids, Iterable) and any(isinstance(row, str) for row in prompt_ids)):
        raise TypeError(f"{what}: the prompt must be integer token ids, got text; encode text with the tokenizer first")
    if isinstance(prompt_ids, Sequence) and any(np.ndim(row) for row in prompt_ids):
        rows = [np.asarray(row) for row in prompt_ids]
        shape = f"rows of shapes {', '.join(str(row.shape) for row in rows[:9])}"
    else:
        array = np.asarray(prompt_ids)
        rows, shape = [array] if array.ndim < 2 else list(array), f"shape {array.shape}"
    if not rows or any(row.ndim != 1 or not row.size for row in rows):
        raise ValueError(f"{what}: prompts must be ids (length,), (batch, length) or a list of rows, each with at least one token, got {shape}")
    for row in rows:
        if row.dtype.kind not in "iu":
            raise TypeError(f"{what}: the prompt must be integer token ids, got {row.dtype}; encode text with the tokenizer first")
    return [row.astype(np.int64) for row in rows]


def pad_left(rows: Sequence[np.ndarray], pad_id: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of different lengths as one array (B, N), padded on the left, and their lengths (B,)."""
    lengths = np.array([len(row) for row in rows])
    ids = np.full((len(rows), lengths.max()), pad_id, np.int64)
    for line, row in zip(ids, rows, strict=True):
        line[len(line) - len(row) :] = row
    return ids, lengths


class Stops:
    """Where a text ends: after a stop id, or after a sequence of ids."""

    def __init__(self, what: str, stop: Stop = None, stop_sequences: Sequence[Sequence[int]] | None = None) -> None:
        ids = [] if stop is None else list(stop) if isinstance(stop, Collection) else [stop]
        self.sequences = [np.asarray(sequence) for sequence in [*([i] for i in ids), *(stop_sequences or ())]]
        for sequence in self.sequences:
            if sequence.ndim != 1 or not sequence.size or sequence.dtype.kind not in "iu":
                raise ValueError(f"{what}: a stop is a token id, or a sequence of one or more of them, got {sequence.tolist()}")

    def ended(self, new: np.ndarray) -> np.ndarray:
        """(B,): which rows end here, given all their new tokens (B, n)."""
        found = np.zeros(len(new), bool)
        for sequence in self.sequences:
            if new.shape[1] >= len(sequence):
                found |= (new[:, -len(sequence) :] == sequence).all(axis=1)
        return found


def as_generator(rng: Seed) -> np.random.Generator:
    """A generator as it is, a seed as a new one, None as the one that everything draws from."""
    return rng if isinstance(rng, np.random.Generator) else generator() if rng is None else np.random.default_rng(rng)
