"""A passage of facts and a question about it: the answer is some words of the passage, or is not there.

Each passage tells of several people, who share the kinds of facts: more than one of them lives somewhere.  So neither the kind of
the question (the first town) nor the person (any of her facts) is enough, and a third of the questions ask what is not told.
"""

from __future__ import annotations

import numpy as np

from .base import PairTask
from .sentences import Question, a, begun, one, pick

NAMES = (
    "Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Irene", "Jack", "Kate", "Leo", "Maria", "Nora", "Oscar",
    "Paula", "Quentin", "Rosa", "Simon", "Tina", "Ursula", "Victor", "Wanda", "Yusuf",
)  # fmt: skip
TOWNS = ("Rome", "Oslo", "Cairo", "Lima", "New York", "Paris", "Cape Town", "Delhi", "Boston", "San Marino", "Kyoto", "Quito")
JOBS = (
    "baker", "ship builder", "judge", "taxi driver", "painter", "nurse", "piano tuner", "pilot", "farmer", "tax lawyer", "cook",
    "teacher",
)  # fmt: skip
GAMES = ("chess", "the violin", "tennis", "the double bass", "football", "the harp", "golf", "the tin whistle", "the drums", "cards")
COLOURS, GOODS = ("grey", "white", "old", "small", "very fat"), ("cat", "boat", "horse", "house", "car", "clock", "parrot")
FACTS = {  # how it is told; how it is asked, and who
    "home": (("{p} lives in {v}", "the home of {p} is in {v}"), "Where does {p} live ?", "Who lives in {v} ?"),
    "job": (("{p} works as {v}", "the job of {p} is that of {v}"), "What does {p} work as ?", "Who works as {v} ?"),
    "game": (("{p} plays {v}", "it is {v} that {p} plays"), "What does {p} play ?", "Who plays {v} ?"),
    "goods": (("{p} owns {v}", "there is {v} that belongs to {p}"), "What does {p} own ?", "Who owns {v} ?"),
    "birth": (("{p} was born in {v}", "in {v} , {p} was born"), "When was {p} born ?", "Who was born in {v} ?"),
}
Fact = tuple[str, str, str]  # person, kind, value


def value(rng: np.random.Generator, kind: str) -> str:
    """What may be said of a person."""
    match kind:
        case "home":
            return one(rng, TOWNS)
        case "job":
            return a(one(rng, JOBS))
        case "game":
            return one(rng, GAMES)
        case "goods":
            return a(f"{one(rng, COLOURS)} {one(rng, GOODS)}")
    return str(rng.integers(1950, 2000))


def facts(rng: np.random.Generator, people: list[str]) -> list[Fact]:
    """Four to six, no two the same, and no value twice."""
    wanted, found = int(rng.integers(4, 7)), dict[tuple[str, str], str]()
    while len(found) < wanted:
        person, kind = one(rng, people), one(rng, tuple(FACTS))
        said = value(rng, kind)
        if said not in found.values():
            found.setdefault((person, kind), said)
    return [(person, kind, said) for (person, kind), said in found.items()]


def asked(rng: np.random.Generator, told: list[Fact], people: list[str]) -> tuple[str, Fact | None, bool]:
    """A question, the fact that answers it, if any, and whether its answer is the person."""
    inverse = bool(rng.integers(2))
    if rng.random() < 0.65:
        fact = told[int(rng.integers(len(told)))]
        return FACTS[fact[1]][2 if inverse else 1].format(p=fact[0], v=fact[2]), fact, inverse
    known = {(person, kind) for person, kind, _ in told} | {(kind, said) for _, kind, said in told}
    kind = told[int(rng.integers(len(told)))][1]  # of a kind that is told of somebody
    while True:
        person, said = one(rng, people), value(rng, kind)
        if (inverse and (kind, said) not in known) or (not inverse and (person, kind) not in known):
            return FACTS[kind][2 if inverse else 1].format(p=person, v=said), None, inverse
        people = [*people, one(rng, NAMES)]


def answers() -> PairTask[Question]:
    """The passage decides the part, whatever is asked of it."""

    def make(rng: np.random.Generator) -> Question:
        people = pick(rng, NAMES, int(rng.integers(2, 5)))
        told = facts(rng, people)
        query, fact, inverse = asked(rng, told, people)
        passage: list[str] = []
        span = None
        for person, kind, said in told:
            form = one(rng, FACTS[kind][0]).split()
            for place in form:
                found = {"{p}": person, "{v}": said}.get(place, place).split()
                if (person, kind, said) == fact and place == ("{p}" if inverse else "{v}"):
                    span = (len(passage), len(passage) + len(found) - 1)
                passage += found
            passage.append(".")
        return Question(tuple(query.split()), begun(passage), span, " ".join(passage))

    return PairTask("answers", "find the answer to a question in a passage, or say that it is not there", make)
