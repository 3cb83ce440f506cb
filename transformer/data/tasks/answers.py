"""A passage of facts and a question about it: the answer is some words of the passage, or is not there.

A passage tells of up to four people, who share the kinds of facts: more than one of them lives somewhere.  So neither
the kind of the question (the first town) nor the person (any of her facts) is enough, and a third of the questions ask
what is not told.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .base import PairTask
from .dates import MONTHS
from .sentences import Question, a, begun, one, pick

NAMES = (
    "Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Irene", "Jack", "Kate", "Leo", "Maria", "Nora", "Oscar", "Paula",
    "Quentin", "Rosa", "Simon", "Tina", "Ursula", "Victor", "Wanda", "Yusuf",
)  # fmt: skip
TOWNS = ("Rome", "Oslo", "Cairo", "Lima", "New York", "Paris", "Cape Town", "Delhi", "Boston", "San Marino", "Kyoto", "Quito")
JOBS = (
    "baker", "ship builder", "judge", "taxi driver", "painter", "nurse", "piano tuner", "pilot", "farmer", "tax lawyer", "cook", "teacher",
)  # fmt: skip
GAMES = ("chess", "the violin", "tennis", "the double bass", "football", "the harp", "golf", "the tin whistle", "the drums", "cards")
GOODS = ("cat", "boat", "horse", "house", "car", "clock", "parrot", "piano", "tent", "bicycle", "garden", "goat")
COLOURS = ("grey", "white", "old", "small", "very fat", "ugly")


class Kind(NamedTuple):
    """How a fact is told, with the thing v in full; how v is asked for; how the person p is, by h, the head of v."""

    told: tuple[str, str]
    what: str
    who: str


FACTS = {
    "home": Kind(("{p} lives in {v}", "the home of {p} is in {v}"), "Where does {p} live ?", "Who lives in {h} ?"),
    "job": Kind(("{p} works as {v}", "the job of {p} is that of {v}"), "What does {p} work as ?", "Who works as {h} ?"),
    "game": Kind(("{p} plays {v}", "it is {v} that {p} plays"), "What does {p} play ?", "Who plays {h} ?"),
    "goods": Kind(("{p} owns {v}", "there is {v} that belongs to {p}"), "What does {p} own ?", "Who owns {h} ?"),
    "birth": Kind(("{p} was born in {v}", "in {v} , {p} was born"), "When was {p} born ?", "Who was born in {h} ?"),
}


class Fact(NamedTuple):
    """What is said of a person: the kind, the thing itself and as it is told."""

    person: str
    kind: str
    head: str
    value: str


def thing(rng: np.random.Generator, kind: str) -> tuple[str, str]:
    """What may be said of a person, as it is asked for and as it is told: a cat, a grey cat."""
    match kind:
        case "home":
            return (one(rng, TOWNS),) * 2
        case "job":
            return (a(one(rng, JOBS)),) * 2
        case "game":
            return (one(rng, GAMES),) * 2
        case "goods":
            head = one(rng, GOODS)
            return a(head), a(f"{one(rng, COLOURS)} {head}" if rng.integers(2) else head)
    month = one(rng, MONTHS)
    return month, f"{month} {rng.integers(1950, 2000)}" if rng.integers(2) else month


def facts(rng: np.random.Generator, people: list[str]) -> list[Fact]:
    """One to six; no person has two of a kind, and no two people the same."""
    found: list[Fact] = []
    for _ in range(int(rng.integers(1, 1 + min(6, 3 * len(people))))):
        person, kind = one(rng, people), one(rng, tuple(FACTS))
        head, value = thing(rng, kind)
        if all((f.person, f.kind) != (person, kind) and f.head != head for f in found):
            found.append(Fact(person, kind, head, value))
    return found


def asked(rng: np.random.Generator, told: list[Fact], people: list[str]) -> tuple[str, Fact | None, bool]:
    """A question, the fact that answers it, if any, and whether it asks for the person."""
    who = bool(rng.integers(2))
    answer = one(rng, told)
    fact: Fact | None = answer
    person, kind, head, _ = answer
    if rng.random() < 0.35:  # of the same kind, but it is not told
        fact = None
        heads, persons = {f.head for f in told}, {f.person for f in told if f.kind == kind}
        while who and head in heads:
            head, _ = thing(rng, kind)
        while not who and person in persons:
            person = one(rng, people if rng.integers(2) else NAMES)
    return (FACTS[kind].who if who else FACTS[kind].what).format(p=person, h=head), fact, who


def answers() -> PairTask[Question]:
    """The passage decides the part, whatever is asked of it."""

    def make(rng: np.random.Generator) -> Question:
        people = pick(rng, NAMES, int(rng.integers(1, 5)))
        told = facts(rng, people)
        query, fact, who = asked(rng, told, people)
        passage: list[str] = []
        span = None
        for each in told:
            for part in one(rng, FACTS[each.kind].told).split():
                found = {"{p}": each.person, "{v}": each.value}.get(part, part).split()
                if each is fact and part == ("{p}" if who else "{v}"):
                    span = (len(passage), len(passage) + len(found) - 1)
                passage += found
            passage.append(".")
        return Question(tuple(query.split()), begun(passage), span, " ".join(passage))

    return PairTask("answers", "find the answer to a question in a passage, or say that it is not there", make)
