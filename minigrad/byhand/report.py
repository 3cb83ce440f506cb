"""How every report of this room looks: a table with sentences below it, in a terminal and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

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
    return "[" + ", ".join(str(int(i)) for i in index) + "]"


def number(x: Any) -> str:
    """A number to eight digits."""
    return f"{float(x):.8g}"


def largest(difference: np.ndarray) -> tuple[float, tuple[int, ...]]:
    """The largest absolute entry (not a number counts as infinite) and where it is; 0 and () when there are none."""
    if not difference.size:
        return 0.0, ()
    size = np.where(np.isnan(difference), np.inf, np.abs(difference))
    return float(size.max()), tuple(int(i) for i in np.unravel_index(int(size.argmax()), size.shape))


def entries(k: int, n: int) -> str:
    """``k of n entries``, in words that fit small numbers."""
    if k == n:
        return "its only entry" if n == 1 else f"all {n} entries"
    return f"{k} of {n} entries"
