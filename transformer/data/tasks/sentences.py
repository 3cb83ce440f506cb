"""Sentences in words: what the tasks on sentences are made of, and how a text becomes words and words a text.

A word is a run of letters and digits, perhaps with apostrophes, dots or hyphens inside; other characters stand alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")
WORD = re.compile(r"\w+(?:['’.-]\w+)*|[^\w\s]")
MARK = "*"  # stands before and after the predicate


class Tagged(NamedTuple):
    """A sentence in words with a tag for each; ``predicate`` is the place of the verb that the tags are about."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    key: str
    predicate: int | None = None

    @property
    def source(self) -> str:
        """The sentence as a text, its predicate between asterisks."""
        return text([f"{MARK}{w}{MARK}" if i == self.predicate else w for i, w in enumerate(self.words)])

    @property
    def target(self) -> str:
        """The tags, one for each word."""
        return " ".join(self.tags)


class Question(NamedTuple):
    """A question about a passage, both in words; ``span`` is the answer's first and last word, None for no answer."""

    question: tuple[str, ...]
    passage: tuple[str, ...]
    span: tuple[int, int] | None
    key: str

    @property
    def source(self) -> str:
        """Question and passage as one text."""
        return text(self.question + self.passage)

    @property
    def target(self) -> str:
        """The words of the answer; "" for none."""
        return "" if self.span is None else text(self.passage[self.span[0] : self.span[1] + 1])


def words(string: str) -> tuple[str, ...]:
    """A text cut into words and punctuation marks."""
    return tuple(WORD.findall(string))


def text(parts: Sequence[str]) -> str:
    """Words as a text, without a space before punctuation marks."""
    return re.sub(r" (?=[.,;:?!](?: |$))", "", " ".join(parts))


def tagged(string: str) -> Tagged:
    """A text without tags; the word between asterisks is the predicate.  Raises ValueError for other marks."""
    parts = words(string)
    marks = [i for i, part in enumerate(parts) if part == MARK]
    if not marks:
        return Tagged(parts, (), "")
    if len(marks) != 2 or marks[1] != marks[0] + 2:
        raise ValueError(f"{string!r}: mark one word, with an asterisk before and after it: the dog *chased* the cat")
    place = marks[0]
    return Tagged(parts[:place] + parts[place + 1 : place + 2] + parts[place + 3 :], (), "", place)


def question(string: str) -> Question:
    """A text that begins with its question, which ends at the first question mark; ValueError when there is none."""
    parts = words(string)
    if "?" not in parts[:-1]:
        raise ValueError(f"{string!r}: expected a question, a question mark, and the passage in which to look")
    end = parts.index("?") + 1
    return Question(parts[:end], parts[end:], None, "")


def bio_labels(kinds: Sequence[str]) -> tuple[str, ...]:
    """The tags for spans of these kinds: O outside of them, B-X at the beginning of an X, I-X inside."""
    return ("O", *(f"{place}-{kind}" for kind in kinds for place in "BI"))


def bio_tags(kind: str, count: int) -> list[str]:
    """The tags of ``count`` words that are one span of this kind, or outside for ""."""
    return [f"B-{kind}", *[f"I-{kind}"] * (count - 1)] if kind else ["O"] * count


def a(noun: str) -> str:
    """With its article: a cat, an old cat."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def begun(parts: Sequence[str]) -> tuple[str, ...]:
    """Words with a capital at the beginning of each sentence."""
    before = (".", *parts)
    return tuple(w[0].upper() + w[1:] if b == "." else w for b, w in zip(before, parts, strict=False))


def pick(rng: np.random.Generator, choices: Sequence[str], count: int) -> list[str]:
    """So many different ones of them."""
    return [choices[i] for i in rng.permutation(len(choices))[:count]]


def one(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]
