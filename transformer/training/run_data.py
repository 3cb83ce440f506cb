"""What a run is trained on, from its configuration: one answer for all commands, texts and tasks alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data.corpora import default_text_name, held_out
from ..data.real import TEXTS, load_text
from ..data.tokenizers import Tokenizer
from .objectives import LanguageModelling, Objective
from .recipes import RECIPES, objective


def is_task(config: Mapping[str, Any]) -> bool:
    """Whether a run is one on a task; the others are language models of a text."""
    return isinstance(task := config.get("task"), str) and task in RECIPES


def text_of_run(config: Mapping[str, Any]) -> str:
    """The text that a run's configuration names; ValueError for a run that is on no text."""
    text, task = config.get("text"), config.get("task")
    if task is not None and task not in TEXTS:
        raise ValueError(f"the run is on the task {task!r:.80}, not on a text; this needs a language model of a text")
    if text is not None and not (isinstance(text, list) and all(isinstance(name, str) for name in text)):
        raise ValueError(f"config.json: text is {text!r:.80}; expected a list of files")
    return load_text(text, task)


def name_of_text(config: Mapping[str, Any]) -> str:
    """What a language model reads, in words."""
    if config.get("task"):
        return str(config["task"])
    names = [re.split(r"[/\\]", str(file))[-1] for file in config.get("text") or ()]
    if not names:
        return default_text_name()
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def objective_of_run(config: Mapping[str, Any], tokenizer: Any) -> Objective:
    """What a run is trained for, with its data; ValueError when a text is another one by now."""
    if is_task(config):
        return objective(config["task"], tokenizer)
    files = config.get("text") or [config.get("task") or "the default text"]
    changed = f"{', '.join(map(str, files))}: is not the text any more that the run was trained on; put the original back"
    text = text_of_run(config)
    try:
        found = language_modelling(text, tokenizer, config["model"]["context_length"])
    except ValueError as error:
        raise ValueError(f"{changed} ({error})") from error
    if "data" in config and config["data"] != found.fingerprint():
        raise ValueError(changed)
    return found


def language_modelling(text: str, tokenizer: Tokenizer, context_length: int) -> LanguageModelling:
    """Predicting the next token of a text, whose end is held out."""
    ids: np.ndarray = tokenizer.encode(text)
    return LanguageModelling(*held_out(ids, context_length), context_length, tokenizer)
