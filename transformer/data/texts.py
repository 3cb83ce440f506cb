"""Texts for language models: files, a text of a package, or the one that every Python carries; and which part is held out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import corpora, real

TEXTS: dict[str, Callable[[], str]] = {"shakespeare": real.shakespeare}  # by the name of a task


def load_text(files: list[str] | None, task: str | None = None) -> str:
    """The given files, the text of that name, or the default text."""
    return corpora.read_text(files) if files else TEXTS[task]() if task else corpora.default_text()


def held_out(ids: np.ndarray, context_length: int) -> tuple[np.ndarray, np.ndarray]:
    """The first 90 % for training; of the rest at most 200 000 tokens for validation, so that a large text does not wait for it."""
    train_ids, validation_ids = corpora.train_validation_split(ids, context_length)
    return train_ids, validation_ids[:200_001]
