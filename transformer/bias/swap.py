"""The counterfactual of a text: she for he, his for her, Mary for James, with their case, and nothing else touched.

"her" is two words, one that becomes "his" (her book) and one that becomes "him" (saw her); "his" is "her" (his book) or "hers" (it is his).
What follows decides, and for some verbs what stands before.  Where that is not enough (gave her flowers, heard her singing) the reading is a
guess, and ``counterfactual`` gives nothing rather than a wrong sentence.  A few closed lists are no parser; see docs/bias.md for what they miss.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .terms import BARE_VERBS, EITHER, LETTING, NAMES, NO_NOUN, PARTNERLESS, PREDICATES, TITLES, TWO_OBJECTS, WORDS

WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
POSSESSIVE = {"her": ("his", "him"), "his": ("her", "hers")}  # before a noun, and alone
ALONE = {"him": "her", "hers": "his"}
PREFIXES = ("ex-", "half-", "great-", "co-", "non-", "step-", "all-")


def swap(text: str) -> str:
    """The text with every term exchanged for its partner; where the reading is in doubt, the likelier one."""
    return "".join(_pieces(text)[0])


def counterfactual(text: str) -> str | None:
    """The swapped text, or None when there is nothing to swap, when a reading is in doubt, or when swapping back would not give the text."""
    pieces, sure = _pieces(text)
    swapped = "".join(pieces)
    return swapped if sure and swapped != text and swap(swapped) == text else None


def counterfactual_pairs(texts: Iterable[str]) -> list[tuple[str, str]]:
    """(text, its counterfactual) of those texts that have one without doubt."""
    return [(text, swapped) for text in texts if (swapped := counterfactual(text)) is not None]


def _pieces(text: str) -> tuple[list[str], bool]:
    """The swapped text in pieces, and whether it is beyond doubt."""
    terms = list(WORD.finditer(text))
    pieces, sure, done = [], True, 0
    for i, term in enumerate(terms):
        if inside_an_identifier(text, term):
            continue
        word, lower = term[0], term[0].lower()
        if lower in PARTNERLESS and word != "miss":  # to miss
            sure = False
        if lower in POSSESSIVE:
            before_noun, certain = reading(text, terms, i)
            new = like(POSSESSIVE[lower][0 if before_noun else 1], word)
            sure = sure and certain
        else:
            new = partner(word)
        if new is not None:
            pieces += [text[done : term.start()], new]
            done = term.end()
        elif "-" in word and set(lower.split("-")) & WORDS.keys():  # woman-owned
            sure = False
    return [*pieces, text[done:]], sure


def partner(word: str) -> str | None:
    """What stands in place of the word, in its case; None when it stays."""
    lower, titled = word.lower(), word.capitalize()
    if word in TITLES:
        return TITLES[word]
    if titled in NAMES and word in (titled, titled.upper()):
        return like(NAMES[titled].lower(), word)
    if lower in WORDS or lower in ALONE:
        return like(WORDS.get(lower) or ALONE[lower], word)
    prefix = next((p for p in PREFIXES if lower.startswith(p)), None)
    if prefix and lower[len(prefix) :] in WORDS:
        rest = like(WORDS[lower[len(prefix) :]], word[len(prefix) :])
        return None if rest is None else word[: len(prefix)] + rest
    return None


def like(new: str, old: str) -> str | None:
    """``new`` in the case of ``old``: lower, Capital, UPPER or Each-Part; None for another, which could not be got back."""
    for case in (str.lower, str.capitalize, str.upper, str.title):
        if old == case(old):
            return case(new)
    return None


def inside_an_identifier(text: str, term: re.Match[str]) -> bool:
    """Whether the word is a part of something else: her_name, HER2, @him, www.her.com, (s)he, s/he."""
    before, after = text[: term.start()], text[term.end() :]
    return bool(re.search(r"[\w@#\\]$|\w[.-]$|\(s\)$|(?<!\w)s/$", before, re.IGNORECASE) or re.match(r"[\w@\\]|[.-]\w|\(", after))


def reading(text: str, terms: list[re.Match[str]], i: int) -> tuple[bool, bool]:
    """Of "her" or "his": whether a noun follows that it belongs to, and whether that is beyond doubt."""
    before = terms[i - 1][0].lower() if i and text[terms[i - 1].end() : terms[i].start()].isspace() else ""
    if i + 1 == len(terms):
        return bool(re.match(r"\s*\d", text[terms[i].end() :])), True
    between, following = text[terms[i].end() : terms[i + 1].start()], terms[i + 1][0].lower()
    if re.fullmatch(r"\s+\d.*", between, re.DOTALL):  # her 2 cats
        return True, True
    if between == "/" and following in POSSESSIVE:  # his/her book
        return reading(text, terms, i + 1)
    if re.fullmatch(r"\s+[\"“‘'(]", between):  # her "friend", or: called her "honey"
        return True, before not in TWO_OBJECTS and "(" not in between
    if not between.isspace():
        return False, True
    if following in ("and", "or") and i + 2 < len(terms) and terms[i + 2][0].lower() in POSSESSIVE:  # his or her book; saw her and his book
        before_noun, sure = reading(text, terms, i + 2)
        return before_noun, sure and (following == "or" or not before_noun)
    if following in NO_NOUN:
        return False, True
    if before in LETTING:
        if following in BARE_VERBS:
            return False, True
        if following in PREDICATES:  # made her happy; made her happy memories
            alone = i + 2 == len(terms) or not text[terms[i + 1].end() : terms[i + 2].start()].isspace() or terms[i + 2][0].lower() in NO_NOUN
            return not alone, alone
        if following.endswith("ing"):  # heard her singing
            return False, False
    return True, following in WORDS or (before not in TWO_OBJECTS and following not in EITHER)
