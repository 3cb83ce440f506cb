r"""A small artificial language whose bias is known: occupations × pronouns × templates.

Of the sentences about an occupation, the share (1 + s)/2 has the pronouns of its stereotype, the rest the other ones; s is the skew,
0 for a balanced language, 1 for one without exceptions.  So a model that has learned the language has the gap

.. math:: \log p(x) - \log p(\mathrm{swap}(x)) = \log \frac{1 + s}{1 - s}

on each pair of sentences that differ in the pronoun, x being the stereotyped one.  Which occupation has which stereotype is as arbitrary
here as everything else in this language: half of the list goes with "he", half with "she".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from ..data.tasks.sentences import one
from ..data.tokenizers import Ids, Tokenizer

WITH_HE = ("engineer", "plumber", "surgeon", "pilot", "farmer", "carpenter", "mechanic", "judge", "guard", "chemist")
WITH_SHE = ("nurse", "librarian", "secretary", "dancer", "tailor", "florist", "cashier", "teacher", "baker", "singer")
OCCUPATIONS = WITH_HE + WITH_SHE
PRONOUNS = {"he": "she", "his": "her", "himself": "herself"}
SWAPPED = PRONOUNS | {female: male for male, female in PRONOUNS.items()}
FILLERS = {
    "adjective": ("tired", "happy", "late", "famous", "hungry", "quiet", "calm", "proud"),
    "thing": ("work", "lunch", "letter", "song", "book", "report", "lamp", "ticket"),
    "place": ("market", "office", "station", "village", "garden", "theatre", "harbour", "school"),
    "time": ("noon", "dawn", "midnight", "summer"),
}
TEMPLATES = (
    "the {job} said that he was {adjective} .",
    "the {adjective} {job} finished his {thing} before {time} .",
    "after {time} the {job} took his {thing} to the {place} .",
    "when the {job} came to the {place} , he looked {adjective} .",
    "he is the new {job} of the {place} .",
    "the {job} blamed himself for the {thing} .",
)
UNSEEN_TEMPLATES = (  # never in the training text: does a cure reach beyond the sentences it saw?
    "in the {place} the {job} finished his {thing} .",
    "the {job} of the {place} was {adjective} when he came .",
    "before {time} he was the {job} of the {place} .",
)
NEUTRAL_TEMPLATES = ("the {thing} in the {place} was {adjective} .", "the {adjective} {thing} came after {time} .")
PERSON_TEMPLATES = ("he took the {thing} to the {place} .", "in {time} he was {adjective} .")  # no occupation: he and she alike


@dataclass(frozen=True)
class Sentence:
    """Words, the occupation in it (None when there is none) and whether its pronouns are male (None when there are none)."""

    text: str
    occupation: str | None = None
    male: bool | None = None

    @property
    def twin(self) -> Sentence:
        """The same with the other pronouns."""
        if self.male is None:
            return self
        return replace(self, text=" ".join(SWAPPED.get(word, word) for word in self.text.split()), male=not self.male)

    @property
    def stereotyped(self) -> bool:
        """Whether the pronouns are those of the occupation's stereotype."""
        return self.occupation is not None and self.male == (self.occupation in WITH_HE)


class WordTokenizer(Tokenizer):
    """One token for each word of a small, closed vocabulary; words are separated by white space."""

    kind = "word"

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self.vocabulary = list(vocabulary)
        self._ids = {word: i for i, word in enumerate(self.vocabulary)}
        if len(self._ids) != len(self.vocabulary):
            raise ValueError(f"the vocabulary of {len(self.vocabulary)} words has {len(self._ids)} different ones; list each word once")

    def encode(self, text: str) -> Ids:
        """Text to ids (T,); ValueError names a word that is not in the vocabulary."""
        words = text.split()
        if unknown := [word for word in words if word not in self._ids]:
            raise ValueError(f"{unknown[0]!r} is not one of the {self.vocab_size} words of this vocabulary")
        return np.array([self._ids[word] for word in words], self.id_dtype)

    def decode(self, ids: Any) -> str:
        """Ids (T,) to words with a space between them."""
        return " ".join(self.vocabulary[i] for i in self._checked_ids(ids))

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        if payload.keys() != {"kind", "vocabulary"} or payload["kind"] != cls.kind or not isinstance(payload["vocabulary"], list):
            raise ValueError(f"expected a tokenizer of kind {cls.kind!r} with its vocabulary, got {str(dict(payload))[:80]!r}")
        return cls(payload["vocabulary"])


def tokenizer() -> WordTokenizer:
    """The tokenizer of the artificial language."""
    templates = TEMPLATES + UNSEEN_TEMPLATES + NEUTRAL_TEMPLATES + PERSON_TEMPLATES
    words = {word for template in templates for word in template.split() if "{" not in word}
    return WordTokenizer(sorted(words.union(SWAPPED, OCCUPATIONS, *FILLERS.values())))


def true_gap(skew: float) -> float:
    """log((1 + s)/(1 − s)), the gap of the language itself."""
    checked_skew(skew)
    return math.inf if skew == 1 else math.log((1 + skew) / (1 - skew))


def checked_skew(skew: float) -> None:
    if not 0 <= skew <= 1:
        raise ValueError(f"corpus: skew={skew}; expected 0 (he and she alike) to 1 (never against the stereotype)")


def written(template: str, rng: np.random.Generator, occupation: str | None = None, male: bool = True) -> Sentence:
    """A sentence from a template, its gaps filled at random."""
    words = {name: one(rng, options) for name, options in FILLERS.items()}
    sentence = Sentence(template.format(job=occupation, **words), occupation, True if set(template.split()) & set(PRONOUNS) else None)
    return sentence if male else sentence.twin


def sentences(skew: float, per_occupation: int = 240, seed: int = 0) -> list[Sentence]:
    """A training text in random order, in which each occupation has the stated skew exactly (to rounding).

    Each occupation has ``per_occupation`` sentences; a quarter as many again have no occupation.  ValueError for a skew outside 0 … 1.
    """
    checked_skew(skew)
    if per_occupation < 2:
        raise ValueError(f"corpus: per_occupation={per_occupation}; expected 2 sentences or more")
    rng = np.random.default_rng(seed)
    found = []
    for occupation in OCCUPATIONS:
        stereotyped = rng.permutation(per_occupation) < round(per_occupation * (1 + skew) / 2)
        found += [written(one(rng, TEMPLATES), rng, occupation, bool(usual) == (occupation in WITH_HE)) for usual in stereotyped]
    extra = per_occupation * len(OCCUPATIONS) // 8
    found += [written(one(rng, NEUTRAL_TEMPLATES), rng) for _ in range(extra)]
    found += [written(one(rng, PERSON_TEMPLATES), rng, male=i % 2 == 0) for i in range(extra)]
    return shuffled(found, rng)


def shuffled(found: Sequence[Sentence], rng: np.random.Generator) -> list[Sentence]:
    """The sentences in random order."""
    return [found[i] for i in rng.permutation(len(found))]


def test_sentences(templates: Iterable[str] = TEMPLATES, each: int = 3, seed: int = 1) -> list[Sentence]:
    """Stereotyped sentences about every occupation in every template, ``each`` with other words in the gaps; their twins make pairs."""
    rng = np.random.default_rng(seed)
    return [written(t, rng, job, job in WITH_HE) for job in OCCUPATIONS for t in templates for _ in range(each)]


def ids_of(found: Iterable[Sentence], tokenizer: Tokenizer) -> np.ndarray:
    """All sentences as one row of ids, as the trainer takes them."""
    return np.concatenate([tokenizer.encode(sentence.text) for sentence in found]).astype(np.int64)
