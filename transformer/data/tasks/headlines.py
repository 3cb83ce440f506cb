"""A report of five or six sentences about one event, and the sentence that sums it up.

The report never says the summary: it opens with the day, tells what happened in other words (smoke rose from the roof:
a fire), names the place, the town and the number of people in different sentences, and mentions another event, of
another year, with a place, a town and a number of its own.  Copying the first sentence, or any one, is never right.
"""

from __future__ import annotations

import numpy as np

from .base import Pair, PairTask
from .dates import WEEKDAYS
from .sentences import begun, one, pick, text

TOWNS = (
    "Oslo", "Rome", "Cairo", "Lima", "Boston", "Delhi", "Kyoto", "Quito", "Paris", "Leeds", "Turin", "Ghent", "Perth", "Accra", "Malmo",
    "Porto",
)  # fmt: skip
PLACES = (
    "library", "station", "museum", "school", "market", "hospital", "theatre", "bakery", "castle", "hotel", "harbour", "factory", "church",
    "bank", "cinema", "stadium",
)  # fmt: skip
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty")
EVENTS = {  # what it is called, and how the report tells it
    "fire": ("smoke rose from the roof of the {place}", "flames spread through the {place}", "the {place} burned down"),
    "flood": ("water ran into the {place}", "the river rose into the cellar of the {place}", "boats were needed at the {place}"),
    "robbery": ("masked men took all the money from the {place}", "thieves emptied the safe of the {place}"),
    "explosion": ("a loud bang broke every window of the {place}", "a gas pipe burst under the {place}"),
    "strike": ("the workers of the {place} put down their tools", "nobody came to work at the {place}"),
    "collapse": ("the roof of the {place} fell in", "a wall of the {place} gave way"),
}
WEATHER = (
    "It was a {mood} {day} morning .", "The {day} began like any other .", "The sun had not yet risen on {day} .",
    "{day} was market day , and the streets were full .", "A {mood} {day} it was .",
)  # fmt: skip
MOODS = ("cold", "warm", "quiet", "grey", "windy", "rainy")
WHERE = ("People in {town} will not forget it .", "The mayor of {town} came at once .", "All of {town} heard of it .")
HARM = {
    "hurt": ("{n} people were taken to hospital .", "A doctor treated {n} people .", "Ambulances brought away {n} people ."),
    "kill": ("{n} people died .", "{n} people lost their lives .", "For {n} people , help came too late ."),
    "spare": ("Nobody was hurt .", "All were safe in the end .", "Luckily , nobody was inside ."),
}
OLD = (
    "Ten years ago , the {event} at the {place} of {town} had hurt {n} people .",
    "It was not like the {event} of {town} , where {n} people died in a {place} .",
    "Last year , {n} people were in a {place} in {town} during the {event} .",
)
ASIDES = (
    "The {place} next door stayed open .", "A witness from {town} said that he had seen nothing .",
    "Buses to {town} were late .", "The {place} will be used in its place .",
)  # fmt: skip
SUMMARY = {
    "hurt": "{Event} at {place} in {town} hurts {n} people .",
    "kill": "{Event} at {place} in {town} kills {n} people .",
    "spare": "{Event} at {place} in {town} hurts nobody .",
}


def headlines() -> PairTask[Pair]:
    """The report decides the part."""

    def make(rng: np.random.Generator) -> Pair:
        towns, places, numbers = pick(rng, TOWNS, 3), pick(rng, PLACES, 3), pick(rng, NUMBERS, 2)
        event, old = pick(rng, tuple(EVENTS), 2)
        harm = one(rng, tuple(HARM))
        facts = {"town": towns[0], "place": places[0], "n": numbers[0], "Event": event.capitalize()}
        past = {"town": towns[1], "place": places[1], "n": numbers[1], "event": old}
        aside = {"town": towns[2], "place": places[2]}
        happened = one(rng, EVENTS[event]).format(**facts)
        told = [f"{happened} .", one(rng, WHERE).format(**facts), one(rng, HARM[harm]).format(**facts)]
        told = [told[i] for i in rng.permutation(3)]
        told.insert(int(rng.integers(1, 4)), one(rng, OLD).format(**past))
        if rng.integers(2):
            told.insert(int(rng.integers(0, 5)), one(rng, ASIDES).format(**aside))
        told.insert(0, one(rng, WEATHER).format(mood=one(rng, MOODS), day=one(rng, WEEKDAYS)))
        report = text(begun(" ".join(told).split()))
        return Pair(report, text(SUMMARY[harm].format(**facts).split()), report)

    return PairTask("headlines", "sum up a report of several sentences in one", make, test_size=1000)
