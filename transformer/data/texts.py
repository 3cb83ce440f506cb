"""Which text a language model is trained on, and which part of it is held out: one answer for all commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..training import recipes
from ..training.objectives import LanguageModelling
from . import corpora
from .tokenizers import Tokenizer


def load_text(text: list[str] | None, task: str | None = None) -> str:
    """The given files, the text of that name, or the default text."""
    return corpora.read_text(text) if text else recipes.TEXTS[task]() if task else corpora.default_text()


def held_out(ids: np.ndarray, context_length: int) -> tuple[np.ndarray, np.ndarray]:
    """The first 90 % for training; of the rest at most 200 000 tokens for validation, so that a large text does not wait for it."""
    train_ids, validation_ids = corpora.train_validation_split(ids, context_length)
    return train_ids, validation_ids[:200_001]


def text_of_run(config: Mapping[str, Any]) -> str:
    """The text that a run's configuration names; ValueError for a run that is on no text."""
    text, task = config.get("text"), config.get("task")
    if task is not None and task not in recipes.TEXTS:
        raise ValueError(f"the run is on the task {task!r:.80}, not on a text; this needs a language model of a text")
    if text is not None and not (isinstance(text, list) and all(isinstance(name, str) for name in text)):
        raise ValueError(f"config.json: text is {text!r:.80}; expected a list of files")
    return load_text(text, task)


def data_of_run(config: Mapping[str, Any], tokenizer: Tokenizer, context_length: int) -> tuple[np.ndarray, np.ndarray]:
    """The ids that a run was trained on, and those held out; ValueError when the text is another one by now."""
    files = config.get("text") or [config.get("task") or "the default text"]
    changed = (
        f"{', '.join(map(str, files))}: is not the text any more that the run was trained on; put the original back"
    )
    text = text_of_run(config)
    try:
        train_ids, validation_ids = held_out(tokenizer.encode(text), context_length)
    except ValueError as error:
        raise ValueError(f"{changed} ({error})") from error
    if (
        "data" in config
        and config["data"] != LanguageModelling(train_ids, validation_ids, context_length).fingerprint()
    ):
        raise ValueError(changed)
    return train_ids, validation_ids
