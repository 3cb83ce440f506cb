"""Tasks that are made rather than downloaded: copy, reverse, sort, addition, dates, numbers."""

from __future__ import annotations

from collections.abc import Callable

from .base import Pair, PairTask
from .dates import dates
from .numbers import in_words, number_words
from .sequences import addition, copying, reversal, sorting

__all__ = ["MADE", "Pair", "PairTask", "addition", "copying", "dates", "in_words", "number_words", "reversal", "sorting"]

MADE: dict[str, Callable[[], PairTask]] = {
    "copy": copying,
    "reverse": reversal,
    "sort": sorting,
    "addition": addition,
    "dates": dates,
    "numbers": number_words,
}
