"""Writing from a file of prompts, one a line: in order, and the same text however many processes share the work.

Prompts are read in groups of neighbours, which are the same for any number of processes; each prompt has a random generator of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.corpora import read_text
from ..data.tokenizers import Tokenizer
from ..decoding.beams import beam_search
from ..decoding.generate import generate
from ..decoding.sampling import Sampling
from ..decoding.window import Spread, evaluating

GROUP = 16


def read_prompts(path: str | Path) -> list[str]:
    """The lines of a UTF-8 file; ValueError for an empty one, with its number, as for a file that is not text."""
    prompts = read_text(path).removesuffix("\n").split("\n")
    for number, prompt in enumerate(prompts, 1):
        if not prompt:
            raise ValueError(f"{path}, line {number}: is empty; every line is a prompt of at least one character")
    return prompts


def encoded(tokenizer: Tokenizer, prompts: Sequence[str], where: str | Path) -> list[np.ndarray]:
    """The ids of each prompt; ValueError with the number of the line that the tokenizer cannot read."""
    rows = []
    for number, prompt in enumerate(prompts, 1):
        try:
            rows.append(tokenizer.encode(prompt))
        except ValueError as error:
            raise ValueError(f"{where}, line {number}: {error}") from error
    return rows


def groups(count: int, size: int = GROUP) -> list[range]:
    """Neighbours that are read together."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def continuations(
    model: Any, tokenizer: Tokenizer, rows: Sequence[np.ndarray], tokens: int, sampling: Sampling, seed: int, stop: str | None = None,
    num_beams: int = 0, spread: Spread = map,
) -> list[str]:  # fmt: skip
    """What follows each prompt (ids): up to ``tokens``, or to the end of the text ``stop``; by beam search where ``num_beams``."""

    def write(group: range) -> list[str]:
        prompts = [rows[i] for i in group]
        if num_beams:
            found = [beam_search(model, prompt, tokens, num_beams) for prompt in prompts]
        else:
            own = [np.random.default_rng([seed, i]) for i in group]
            sequences = [tokenizer.encode(stop).tolist()] if stop else None
            found = list(generate(model, prompts, tokens, **vars(sampling), rng=own, stop_sequences=sequences))
        texts = [tokenizer.decode(ids[len(prompt) :]) for prompt, ids in zip(prompts, found, strict=True)]
        return [text[: text.find(stop) + len(stop)] if stop and stop in text else text for text in texts]

    with evaluating(model):
        return [text for texts in spread(write, groups(len(rows))) for text in texts]
