"""Writing text: from the logits of the next token to a choice, again and again.

``sampling`` says how logits become a distribution, ``window`` how a batch is padded, cached, and slides beyond the context.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .sampling import Sampling, draw
from .window import Reader, Seed, Stop, Stops, as_generator, checked_count, checked_prompts, evaluating, pad_left

Rng = Seed | Sequence[np.random.Generator | int]


@dataclass
class Step:
    """One step of a batch: what was drawn, and from what."""

    tokens: np.ndarray  # (B,); a row that has ended repeats its last token
    alive: np.ndarray  # (B,): False for a row that had ended before
    logits: np.ndarray  # (B, V), the model's
    distribution: Callable[[], np.ndarray]

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """(B, V), after the filters."""
        return self.distribution()


def generate(
    model: Any,
    prompt_ids: Any,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    stop: Stop = None,
    use_cache: bool = True,
    rng: Rng = None,
    stop_sequences: Sequence[Sequence[int]] | None = None,
) -> Any:
    """The prompt (T,) or (B, T) with up to ``max_new_tokens`` more, or a list of arrays for a list of prompts of different lengths.

    ``temperature=0`` is greedy.  A row ends after an id in ``stop`` or after one of ``stop_sequences`` (of new tokens), which is part of
    the result; in an array, rows that end early repeat their last id.  ``rng`` is a generator or a seed, or a list of them,
    one for each row, so that a row does not depend on its company.  Raises ValueError for settings out of range, IndexError for
    ids outside the vocabulary.
    """
    rows = checked_prompts("generate", prompt_ids)
    made = list(
        steps(model, rows, max_new_tokens, Sampling(temperature, top_k, top_p, min_p, repetition_penalty), stop, use_cache, rng, stop_sequences)
    )
    new = np.array([step.tokens for step in made], np.int64).reshape(len(made), len(rows)).T  # (B, n)
    if len({len(row) for row in rows}) > 1:
        counts = np.array([step.alive for step in made], int).reshape(new.T.shape).sum(axis=0)
        return [np.concatenate([row, more[:count]]) for row, more, count in zip(rows, new, counts, strict=True)]
    out = np.concatenate([np.stack(rows), new], axis=1)
    return out if np.ndim(prompt_ids) == 2 else out[0]


def steps(
    model: Any,
    prompt_ids: Any,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    stop: Stop = None,
    use_cache: bool = True,
    rng: Rng = None,
    stop_sequences: Sequence[Sequence[int]] | None = None,
) -> Iterator[Step]:
    """The steps of ``generate`` with all that there is to know about each."""
    checked_count("generate", "max_new_tokens", max_new_tokens)
    sampling = sampling or Sampling()
    ids, lengths = pad_left(checked_prompts("generate", prompt_ids))
    uniform = uniform_source(rng, len(ids))
    stops = Stops("generate", stop, stop_sequences)
    alive, prompt = np.ones(len(ids), bool), ids.shape[1]
    text = np.concatenate([ids, np.zeros((len(ids), max_new_tokens), np.int64)], axis=1)
    with evaluating(model, "generate"):
        reader = Reader(model, use_cache)
        for n in range(prompt, prompt + max_new_tokens):
            ids = text[:, :n]
            logits = reader.logits(ids, lengths + (n - prompt))[:, 0]
            step = Step(alive, alive, logits, lambda: sampling.distribution(logits, seen_in(ids, lengths + (n - prompt))))  # noqa: B023
            step.tokens = logits.argmax(axis=-1) if sampling.greedy else draw(step.probabilities, uniform())
            if stops.sequences:
                step.tokens = np.where(alive, step.tokens, ids[:, -1])
            text[:, n] = step.tokens
            yield step
            if stops.sequences:
                alive = alive & ~stops.ended(text[:, prompt : n + 1])
                if not alive.any():
                    return


def seen_in(ids: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """The tokens of each row without its padding on the left."""
    return [row[len(row) - length :] for row, length in zip(ids, lengths, strict=True)]


def uniform_source(rng: Rng, rows: int) -> Any:
    """A function that returns a fresh random number in [0, 1) for each row, (B,)."""
    if isinstance(rng, Sequence):
        if len(rng) != rows:
            raise ValueError(f"generate: {len(rng)} random generators for {rows} rows; pass one for each, or a single one for all")
        own = [as_generator(r) for r in rng]
        return lambda: np.array([r.random() for r in own])
    shared = as_generator(rng)
    return lambda: shared.random(rows)
