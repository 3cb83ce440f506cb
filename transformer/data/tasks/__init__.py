"""Tasks that are made rather than downloaded: on symbols, numbers and dates, and on sentences of English."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .answers import answers
from .base import Pair, PairTask
from .dates import dates
from .entities import entities
from .headlines import headlines
from .numbers import in_words, number_words
from .roles import roles
from .sentences import Question, Tagged
from .sequences import addition, copying, reversal, sorting

__all__ = [
    "MADE", "Pair", "PairTask", "Question", "Tagged", "addition", "answers", "copying", "dates", "entities",
    "headlines", "in_words", "number_words", "reversal", "roles", "sorting",
]  # fmt: skip

MADE: dict[str, Callable[[], PairTask[Any]]] = {
    "copy": copying,
    "reverse": reversal,
    "sort": sorting,
    "addition": addition,
    "dates": dates,
    "numbers": number_words,
    "entities": entities,
    "roles": roles,
    "answers": answers,
    "headlines": headlines,
}
