"""Who, where, which firm, when: named entities in sentences whose names say nothing, so that the context has to.

The same thirty-six names are people, places and firms: Jordan flew to Jordan, shares of Jordan fell.  April, May and
June are people and months, and may is a verb.  Spans are of one to four words: New Austin, Bank of Austin, 4 May 2021.
"""

from __future__ import annotations

import re

import numpy as np

from .base import PairTask
from .dates import MONTHS, WEEKDAYS
from .sentences import Tagged, begun, bio_labels, bio_tags, one

KINDS = ("PER", "LOC", "ORG", "DATE")
LABELS = bio_labels(KINDS)
NAMES = (
    "Jordan", "Chelsea", "Austin", "Sydney", "Paris", "Florence", "Lincoln", "Washington", "Houston", "Dallas", "Madison", "Georgia",
    "Charlotte", "Victoria", "Lourdes", "Carolina", "Logan", "Orlando", "Alexandria", "Savannah", "Brooklyn", "Kent", "Chester",
    "Cleveland", "Jackson", "Hamilton", "Nelson", "Wellington", "Melbourne", "Preston", "Lancaster", "Stanley", "Morgan", "Holland",
    "Israel", "Verona",
)  # fmt: skip
GIRLS = ("April", "May", "June")
FIRMS = ("Motors", "Airlines", "Steel", "Foods", "Insurance")
CLAUSES = tuple(
    line.strip()
    for line in """
    {PER} was born in {LOC}
    {PER} , who makes shoes , flew from {LOC} to {LOC}
    {PER} and {PER} married in {LOC} on {DATE}
    {PER} may leave {LOC} in {MONTH}
    {PER} met {PER} on {DATE}
    {PER} said that {PER} was ill
    {PER} , the head of {ORG} , bought a house in {LOC}
    {PER} quit {ORG} to join {ORG}
    {PER} has worked for {ORG} since {MONTH}
    the mother of {PER} smiled
    the mayor of {LOC} , {PER} , resigned on {DATE}
    a letter from {PER} arrived on {DATE}
    {LOC} lies north of {LOC}
    {LOC} , which lies on the coast , may flood in {MONTH}
    the road from {LOC} to {LOC} was closed on {DATE}
    the population of {LOC} grew
    trains between {LOC} and {LOC} were late on {DATE}
    it rained in {LOC} on {DATE}
    the army left {LOC} in {MONTH}
    {ORG} , which makes shoes , may close in {MONTH}
    {ORG} opened an office in {LOC}
    {ORG} reported a loss on {DATE}
    {ORG} will merge with {ORG} in {MONTH}
    shares of {ORG} fell on {DATE}
    the profits of {ORG} grew
    the board of {ORG} met in {LOC} on {DATE}
    {ORG} sued {ORG} in {MONTH}
    a strike at {ORG} ended on {DATE}
    {MONTH} was wet in {LOC}
    {DATE} is a holiday in {LOC}
    """.strip().splitlines()
)
LINKS = ("and", "while", ", but", "because", ";")


def entity(rng: np.random.Generator, kind: str) -> str:
    """A name of this kind; most are one word, which could be of another kind as well."""
    name, form = one(rng, NAMES), int(rng.integers(8))
    match kind:
        case "PER":
            girl = one(rng, GIRLS)
            return {0: f"{name} {one(rng, NAMES)}", 1: f"{girl} {name}", 2: girl, 3: girl}.get(form, name)
        case "LOC":
            return {0: f"New {name}", 1: f"{name} Bay"}.get(form, name)
        case "ORG":
            two = f"{name} and {one(rng, NAMES)}"
            return {0: f"{name} {one(rng, FIRMS)}", 1: f"Bank of {name}", 2: two}.get(form, name)
        case "MONTH":
            return one(rng, MONTHS) if form else f"{one(rng, MONTHS)} {rng.integers(1990, 2030)}"
    day = f"{rng.integers(1, 29)} {one(rng, MONTHS)}"
    return f"{day} {rng.integers(1990, 2030)}" if form == 0 else day if form < 5 else one(rng, WEEKDAYS)


def entities() -> PairTask[Tagged]:
    """The names in it, in their order, decide the part of a sentence."""

    def make(rng: np.random.Generator) -> Tagged:
        parts = f" {one(rng, LINKS)} ".join(one(rng, CLAUSES) for _ in range(1 + int(rng.integers(2))))
        words: list[str] = []
        tags: list[str] = []
        for part in re.split(r"(\{\w+\})", parts + " ."):
            kind = part.strip("{}") if part.startswith("{") else ""
            found = (entity(rng, kind) if kind else part).split()
            tags += bio_tags("DATE" if kind == "MONTH" else kind, len(found))
            words += found
        names = (word for word, tag in zip(words, tags, strict=True) if tag != "O")
        return Tagged(begun(words), tuple(tags), " ".join(names))

    return PairTask("entities", "people, places, firms and dates in sentences whose names could be any of them", make)
