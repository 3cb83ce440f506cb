"""Whole numbers in words, in English and in French, and back.

English as in American schools: no "and", hyphens from twenty-one to ninety-nine.  French of France before the reform of 1990: hyphens
below one hundred except around "et"; vingt and cent take an s when they are multiplied and end the number or stand before million(s) and
milliard(s), which are nouns, but not before mille, which is none and never changes.
"""

from __future__ import annotations

import numpy as np

from .base import Pair, PairTask

ENGLISH = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
ENGLISH_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
FRENCH = (
    "zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze", "douze", "treize", "quatorze",
    "quinze", "seize", "dix-sept", "dix-huit", "dix-neuf",
)  # fmt: skip
FRENCH_TENS = ("", "", "vingt", "trente", "quarante", "cinquante", "soixante")
LIMIT = 10**12


def in_words(n: int, language: str) -> str:
    """``n`` (0 to 10¹² − 1) in words; ``language`` is "en" or "fr".  Raises ValueError for others."""
    if not 0 <= n < LIMIT:
        raise ValueError(f"in_words: {n} is outside 0 to {LIMIT - 1}")
    if language not in ("en", "fr"):
        raise ValueError(f"in_words: language {language!r}; expected 'en' or 'fr'")
    return english(n) if language == "en" else french(n)


def english(n: int) -> str:
    """1984 → one thousand nine hundred eighty-four."""
    if n < 20:
        return ENGLISH[n]
    if n < 100:
        return ENGLISH_TENS[n // 10] + (f"-{ENGLISH[n % 10]}" if n % 10 else "")
    for size, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if n >= size:
            return f"{english(n // size)} {name}" + (f" {english(n % size)}" if n % size else "")
    raise ValueError(f"english: {n} is not a number from 0")


def french(n: int) -> str:
    """1984 → mille neuf cent quatre-vingt-quatre."""
    for size, name in ((10**9, "milliard"), (10**6, "million")):
        if n >= size:
            many = n // size
            return f"{french(many)} {name}{'s' * (many > 1)}" + (f" {french(n % size)}" if n % size else "")
    if n >= 1000:
        thousands = "" if n < 2000 else french_below_1000(n // 1000, final=False) + " "
        return f"{thousands}mille" + (f" {french_below_1000(n % 1000)}" if n % 1000 else "")
    return french_below_1000(n)


def french_below_1000(n: int, final: bool = True) -> str:
    """``final`` unless mille follows: quatre-vingts, deux cents; but quatre-vingt mille, deux cent mille."""
    hundreds, rest = divmod(n, 100)
    if not hundreds:
        return french_below_100(rest, final)
    cent = "cent" if hundreds == 1 else f"{FRENCH[hundreds]} cent"
    return f"{cent} {french_below_100(rest, final)}" if rest else cent + "s" * (final and hundreds > 1)


def french_below_100(n: int, final: bool = True) -> str:
    """Counted in twenties from sixty on: 70 = 60 + 10, 80 = 4 · 20, 90 = 4 · 20 + 10."""
    if n < 20:
        return FRENCH[n]
    if n >= 80:
        return "quatre-vingt" + (f"-{FRENCH[n - 80]}" if n > 80 else "s" * final)
    tens = min(n // 10, 6)
    rest = n - 10 * tens
    if not rest:
        return FRENCH_TENS[tens]
    return FRENCH_TENS[tens] + (f" et {FRENCH[rest]}" if rest in (1, 11) else f"-{FRENCH[rest]}")


def number_words(below: int = 10_000) -> PairTask:
    """Four directions in one task: "en 42" → forty-two, "fr 42" → quarante-deux, and the words → 42.  The number decides the part.

    It begins at 1: the word for zero stands in no other number, so nobody could learn it from those.
    """

    def make(rng: np.random.Generator) -> Pair:
        digits = int(rng.integers(1, len(str(below - 1)) + 1))  # as many short numbers as long ones
        n = int(rng.integers(10 ** (digits - 1), min(below, 10**digits)))
        language = ("en", "fr")[rng.integers(2)]
        words = in_words(n, language)
        return Pair(f"{language} {n}", words, str(n)) if rng.integers(2) else Pair(words, str(n), str(n))

    return PairTask("numbers", f"numbers from 1 to {below - 1:,} to words and back, in English and French", make)
