"""Who did what to whom: the agent, the patient and the recipient of a marked verb.

Actives, passives, clefts and relative clauses say the same in another order, so the order alone is not enough, and a
sentence may have several verbs, so the mark on one of them matters: the nurse was *thanked* by the pilot who saw a dog.
"""

from __future__ import annotations

import numpy as np

from .base import PairTask
from .sentences import Tagged, a, begun, bio_labels, bio_tags, one

KINDS = ("AGENT", "PATIENT", "RECIPIENT")
LABELS = bio_labels(KINDS)
PEOPLE = (
    "nurse", "pilot", "doctor", "farmer", "teacher", "student", "baker", "singer", "painter", "lawyer", "sailor",
    "queen", "king", "judge", "guard", "child", "girl", "boy", "woman", "man", "dog", "cat", "horse", "bear",
)  # fmt: skip
THINGS = ("letter", "book", "hat", "key", "ring", "map", "coat", "cup", "lamp", "chair", "apple", "ticket")
KINDNESS = ("old", "young", "tall", "small", "happy", "angry", "tired", "clever")
LOOKS = ("red", "green", "heavy", "broken", "new", "silver")
NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry")
TOWNS = ("Rome", "Oslo", "Cairo", "Lima")
DONE = (  # past and participle; where they differ, the form helps a little
    "thanked", "chased", "helped", "followed", "watched", "found", "heard", "pushed", "called", "visited", "trusted",
    "met", "saw/seen", "knew/known", "chose/chosen", "forgot/forgotten",
)  # fmt: skip
GIVEN = ("sent", "lent", "offered", "brought", "gave/given", "showed/shown")
LINKS = ("and", "while", "because", "before")
Piece = tuple[str, str]  # words, and their role, V for the verb itself, or ""
WAS, BY, TO, WHO, THAT, IT_WAS = [(words, "") for words in ("was", "by", "to", "who", "that", "it was")]


def someone(rng: np.random.Generator) -> str:
    """A noun phrase for a person or an animal, of one to five words."""
    form = int(rng.integers(8))
    if form == 0:
        return one(rng, NAMES)
    noun = f"{one(rng, KINDNESS)} {one(rng, PEOPLE)}" if form < 3 else one(rng, PEOPLE)
    noun += f" from {one(rng, TOWNS)}" if form == 3 else ""
    return a(noun) if rng.integers(2) else f"the {noun}"


def something(rng: np.random.Generator) -> str:
    return f"the {one(rng, LOOKS)} {one(rng, THINGS)}" if rng.integers(3) == 0 else f"the {one(rng, THINGS)}"


def clause(rng: np.random.Generator) -> list[list[Piece]]:
    """A clause seen from each of its verbs: the same words, and their roles for that verb, which is marked V."""
    if rng.integers(3) == 0:
        past, given = forms_of(one(rng, GIVEN))
        giver, taker, gift = (someone(rng), "AGENT"), (someone(rng), "RECIPIENT"), (something(rng), "PATIENT")
        return one(rng, [
            [[giver, (past, "V"), taker, gift]],
            [[giver, (past, "V"), gift, TO, taker]],
            [[taker, WAS, (given, "V"), gift, BY, giver]],
            [[gift, WAS, (given, "V"), TO, taker, BY, giver]],
            [[taker, WAS, (given, "V"), gift]],
        ])  # fmt: skip
    past, done = forms_of(one(rng, DONE))
    past2, done2 = forms_of(one(rng, DONE))  # of a verb in a relative clause, with someone else, y
    x, p, y = someone(rng), someone(rng), someone(rng)
    agent, patient, active, passive = (x, "AGENT"), (p, "PATIENT"), (past, "V"), (done, "V")
    return one(rng, [
        [[agent, active, patient]],
        [[patient, WAS, passive, BY, agent]],
        [[patient, WAS, passive]],
        [[IT_WAS, agent, WHO, active, patient]],
        [[IT_WAS, patient, THAT, agent, active]],
        [[patient, WAS, passive, BY, agent, WHO, (past2, ""), (y, "")],
         [(p, ""), WAS, (done, ""), BY, (x, "AGENT"), WHO, (past2, "V"), (y, "PATIENT")]],
        [[agent, WHO, (past2, ""), (y, ""), active, patient],
         [(x, "AGENT"), WHO, (past2, "V"), (y, "PATIENT"), (past, ""), (p, "")]],
        [[agent, WHO, WAS, (done2, ""), BY, (y, ""), active, patient],
         [(x, "PATIENT"), WHO, WAS, (done2, "V"), BY, (y, "AGENT"), (past, ""), (p, "")]],
    ])  # fmt: skip


def forms_of(verb: str) -> tuple[str, str]:
    """Past and participle."""
    past, _, participle = verb.partition("/")
    return past, participle or past


def roles() -> PairTask[Tagged]:
    """The sentence itself decides its part, whichever of its verbs is marked."""

    def make(rng: np.random.Generator) -> Tagged:
        views, other = clause(rng), clause(rng)
        seen, link = one(rng, views), (one(rng, LINKS), "")
        plain = [(piece[0], "") for piece in other[0]]
        pieces = seen if rng.integers(3) == 0 else [*seen, link, *plain] if rng.integers(2) else [*plain, link, *seen]
        words: list[str] = []
        tags: list[str] = []
        predicate = None
        for part, role in [*pieces, (".", "")]:
            found = part.split()
            if role == "V":
                predicate, role = len(words), ""
            tags += bio_tags(role, len(found))
            words += found
        return Tagged(begun(words), tuple(tags), " ".join(words), predicate)

    return PairTask("roles", "who did what to whom: agent, patient and recipient of a marked verb", make)
