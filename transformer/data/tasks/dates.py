"""Dates as people write them, to ISO 8601: "Tuesday, March 5th, 2024" → "2024-03-05".

Numbers with slashes have the month first (3/5/2024), numbers with dots the day first (5.3.2024), and years of two digits mean 1950 to
2049, so that every form has one reading.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

import numpy as np

from .base import Pair, PairTask

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th, … 11th, 12th, 13th, … 21st."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def month(date: datetime.date) -> str:
    """The month's English name, on every machine."""
    return MONTHS[date.month - 1]


def weekday(date: datetime.date) -> str:
    return WEEKDAYS[date.weekday()]


FORMS: tuple[Callable[[datetime.date], str], ...] = (
    lambda d: f"{month(d)} {d.day}, {d.year}",
    lambda d: f"{month(d)} {ordinal(d.day)}, {d.year}",
    lambda d: f"{d.day} {month(d)} {d.year}",
    lambda d: f"the {ordinal(d.day)} of {month(d)} {d.year}",
    lambda d: f"{weekday(d)}, {d.day} {month(d)} {d.year}",
    lambda d: f"{weekday(d)}, {month(d)} {ordinal(d.day)}, {d.year}",
    lambda d: f"{weekday(d)[:3]} {d.day} {month(d)[:3]} {d.year}",
    lambda d: f"{d.day} {month(d)[:3]} {d.year}",
    lambda d: f"{month(d)[:3]}. {d.day}, {d.year}",
    lambda d: f"{d.day:02}-{month(d)[:3]}-{d.year % 100:02}",
    lambda d: f"{d.month}/{d.day}/{d.year}",
    lambda d: f"{d.month:02}/{d.day:02}/{d.year % 100:02}",
    lambda d: f"{d.day}.{d.month}.{d.year}",
    lambda d: f"{d.day:02}.{d.month:02}.{d.year % 100:02}",
    lambda d: f"{d.year}/{d.month:02}/{d.day:02}",
    lambda d: f"{d.year}{d.month:02}{d.day:02}",
)
CASES: tuple[Callable[[str], str], ...] = (str, str.lower, str.upper)


def dates() -> PairTask:
    """The date decides the part: all the ways of writing it are unseen, or none."""
    days = (LAST - FIRST).days + 1

    def make(rng: np.random.Generator) -> Pair:
        day, form, case = (int(rng.integers(n)) for n in (days, len(FORMS), len(CASES)))
        date = FIRST + datetime.timedelta(day)
        return Pair(CASES[case](FORMS[form](date)), date.isoformat(), date.isoformat())

    return PairTask("dates", f"dates in {len(FORMS)} forms to ISO 8601", make)
