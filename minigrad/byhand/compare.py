"""My intermediates beside the reference's, name by name: for people who write every step of a backward pass themselves.

First, how every report of this room looks: a table with sentences below it, in a terminal and in a notebook.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tensor import Tensor

BAD = ("WRONG", "UNDECIDED", "missing", "unexpected", "shape")
COLOURS = {True: "#b3261e", False: "#1b6e3c"}


class Report:
    """Something that was checked: true when all is right, a table when printed, and the same as HTML in a notebook.

    Subclasses give ``table()``, the head and the rows as text with the verdict last, and perhaps ``notes()``,
    sentences.
    """

    def table(self) -> list[list[str]]:
        """The head, then the rows; the last column is the verdict."""
        raise NotImplementedError

    def notes(self) -> list[str]:
        """Sentences below the table."""
        return []

    def __str__(self) -> str:
        cells = self.table()
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        return "\n".join([*lines, *self.notes()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *body = self.table()
        rows = "".join("<tr>" + "".join(_cell(c, c is row[-1]) for c in row) + "</tr>" for row in body)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes())
        heads = "".join(f'<th style="text-align:left">{html.escape(c)}</th>' for c in head)
        return f"<table><tr>{heads}</tr>{rows}</table>{notes}"


def _cell(text: str, verdict: bool) -> str:
    style = f' style="text-align:left;color:{COLOURS[text.startswith(BAD)]}"' if verdict else ' style="text-align:left"'
    return f"<td{style}>{html.escape(text)}</td>"


def place(index: Sequence[int]) -> str:
    """An entry's index as it is written in code: ``[1, 2]``."""
    return str([int(i) for i in index])


def number(x: Any) -> str:
    """A number to eight digits."""
    return f"{float(x):.8g}"


def largest(difference: np.ndarray) -> tuple[float, tuple[int, ...]]:
    """The largest absolute entry (not a number counts as infinite) and where it is; 0 and () when there are none."""
    if not difference.size:
        return 0.0, ()
    size = np.where(np.isnan(difference), np.inf, np.abs(difference))
    return float(size.max()), tuple(int(i) for i in np.unravel_index(int(size.argmax()), size.shape))


def largest_finite(x: Any) -> float:
    """The largest absolute value among the entries that are finite numbers; 0 when there are none."""
    x = np.asarray(x)
    return float(np.abs(x[np.isfinite(x)]).max(initial=0))


def entries(k: int, n: int) -> str:
    """``k of n entries``, in words that fit small numbers."""
    if k == n:
        return "its only entry" if n == 1 else f"all {n} entries"
    return f"{k} of {n} entries"


# Step by step --------------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """One name: equal to the last bit, equal to the tolerance, and how far apart at most."""

    name: str
    exact: bool
    approximately: bool
    max_difference: float
    verdict: str


@dataclass(repr=False)
class Comparison(Report):
    """What ``compare`` found: true when each name is on both sides, with about the same numbers."""

    rows: list[Line]

    def __bool__(self) -> bool:
        return all(row.approximately for row in self.rows)

    def table(self) -> list[list[str]]:
        """One row for each name, those of the reference first."""
        said = {True: "yes", False: "no"}
        body = []
        for r in self.rows:
            apart = "-" if np.isnan(r.max_difference) else f"{r.max_difference:.1e}"
            body.append([r.name, said[r.exact], said[r.approximately], apart, r.verdict])
        return [["name", "exact", "approximately", "max difference", "verdict"], *body]


def compare(mine: Mapping[str, Any], reference: Mapping[str, Any], rtol: float = 1e-6) -> Comparison:
    """Compare two dictionaries of arrays or Tensors; ``approximately`` means within ``rtol`` of the reference's
    largest entry.

    Names that one side lacks and shapes that differ are rows of the table, and make it false.  Raises TypeError for
    what is no dict or holds no numbers.
    """
    for which, given in (("mine", mine), ("reference", reference)):
        if not isinstance(given, Mapping):
            raise TypeError(f"compare: {which} must be a dict of names to arrays, got {type(given).__name__}")
    numbers = [_array(str(name), x) for given in (mine, reference) for name, x in given.items() if x is not None]
    top = max((largest_finite(a) for a in numbers), default=0.0)
    zero = 1e-14 * top if top > 1e-14 else 1e-14  # below it, a number is what round-off leaves of a zero
    names = [*reference, *(name for name in mine if name not in reference)]
    return Comparison([
        _line(str(n), mine.get(n), reference.get(n), n in mine, n in reference, rtol, zero) for n in names])


def _line(name: str, mine: Any, reference: Any, here: bool, there: bool, rtol: float, zero: float) -> Line:
    def no(verdict: str) -> Line:
        return Line(name, False, False, float("nan"), verdict)

    if not here:
        return no("missing: not among mine")
    if not there:
        return no("unexpected: not in the reference")
    if mine is None or reference is None:
        side = "mine" if mine is None else "the reference"
        return no(f"missing: {side} is None (an interior tensor keeps its .grad after retain_grad())")
    a, b = _array(name, mine), _array(name, reference)
    if a.shape != b.shape:
        hint = ", transposed" if a.shape == b.shape[::-1] else ""
        return no(f"shape {a.shape}, expected {b.shape}{hint}")
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        top, where = largest(np.where(same, 0.0, a - b))
    scale = largest_finite(b)
    nothing_but_round_off = (not b.any() and top <= zero) or (not a.any() and scale <= zero)
    close = bool(same.all()) or top <= rtol * scale or nothing_but_round_off
    said = "ok, zero up to round-off" if nothing_but_round_off and not same.all() else "ok"
    said = said if close else f"WRONG, most at {place(where)}: {a[where]:.8g}, expected {b[where]:.8g}"
    return Line(name, bool(same.all()), close, top, said)


def _array(name: str, x: Any) -> np.ndarray:
    array = np.asarray(x.data if isinstance(x, Tensor) else x)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"compare: {name!r} must be real numbers, got {type(x).__name__} with dtype {array.dtype}")
    return array.astype(np.float64)
