"""What every chapter uses: tables, the numbers that PyTorch once computed, and one style for the figures."""

from __future__ import annotations

import html
import importlib.util
import json
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from transformer.bias.statistics import over_seeds
from transformer.plots import COLOURS, LINES, draw_lines, draw_matrix, figure, plot_attention, use_style

__all__ = [
    "BOOK", "COLOURS", "IN_BROWSER", "LINES", "ROOT", "Paired", "draw_lines", "draw_matrix", "figure", "line", "paired", "plot_attention",
    "recorded", "recorded_sentences", "sized", "table",
]  # fmt: skip
BOOK = Path(__file__).resolve().parent
ROOT = BOOK / "book_data" if (BOOK / "book_data").is_dir() else BOOK.parent  # docs, benchmarks, tests: packed for a browser, or the project
REFERENCE = ROOT / "tests" / "reference"
IN_BROWSER = sys.platform == "emscripten"
SMALL = IN_BROWSER or os.environ.get("BOOK_SIZES") == "browser"  # the latter tries a browser's sizes on a machine of one's own

Size = TypeVar("Size")

if IN_BROWSER:  # every new kernel has to look at the fonts: no reason for a warning in red
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
if SMALL and not IN_BROWSER:
    sys.modules["pydoc_data.topics"] = None  # type: ignore[assignment]  # and its text: there Python comes without help topics
use_style()


def sized(full: Size, browser: Size, what: str = "") -> Size:
    """``full``, or ``browser`` in a browser, where a training step takes three to twenty times as long; it says which.

    What a chapter claims has to hold for both; tests run both.
    """
    if SMALL:
        print(f"in a browser: {browser} {what} in place of {full}".replace("  ", " "))
    return browser if SMALL else full


class Table:
    """Rows under a head; text in a terminal, HTML in a notebook."""

    def __init__(self, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        self.cells = [[str(c) for c in head], *([_cell(c) for c in row] for row in rows)]

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self.cells, strict=True)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in self.cells)

    def _repr_html_(self) -> str:
        head, *rows = self.cells
        style = 'style="text-align:left"'
        lines = ["".join(f"<td {style}>{html.escape(c)}</td>" for c in row) for row in rows]
        return f"<table><tr>{''.join(f'<th {style}>{html.escape(c)}</th>' for c in head)}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table to show as the result of a cell; floats get six significant digits."""
    return Table(head, rows)


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating) or (isinstance(value, np.ndarray) and not value.ndim):
        return f"{float(value):.6g}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, suppress_small=True, separator=", ").replace("\n", "")
    return str(value)


@dataclass(frozen=True)
class Paired:
    """A mean difference with its 95 % interval; ``print`` shows both, and whether 0 lies inside."""

    mean: float
    low: float
    high: float
    digits: int = 2

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        mean, low, high = (f"{x:+.{self.digits}f}".replace("-", "−") for x in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]" + ("" if self.decided else " undecided")


def paired(a: Any, b: Any, digits: int = 2) -> Paired:
    """The mean of a − b over runs with the same seeds, (N,) each, with Student's 95 % interval; 3 to 11 seeds.

    This is the standard of evidence in the whole book: two ways differ when the interval leaves out 0.
    Raises ValueError for rows of different lengths, and for fewer than three seeds.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 3:
        raise ValueError(f"paired: shapes {a.shape} and {b.shape}; expected two rows with one number for each of the same three seeds or more")
    found = over_seeds(a - b)
    return Paired(found.value, found.low, found.high, digits)


@cache
def _file(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def recorded(case: str) -> dict[str, np.ndarray]:
    """What PyTorch computed, once, for a case of tests/reference: inputs, ``output``, ``upstream`` gradient, and ``grad.…`` of each input.

    Raises KeyError for an unknown case.
    """
    for path in sorted(REFERENCE.glob("*.npz")):
        found = {key.partition("/")[2]: value for key, value in _file(path).items() if key.startswith(case + "/")}
        if found:
            return {key: value for key, value in found.items() if key != "config"}
    raise KeyError(f"recorded: no case {case!r} in tests/reference")


def recorded_sentences() -> tuple[list[str], list[list[int]], np.ndarray]:
    """What the transformers library computed with all-MiniLM-L6-v2: a hundred texts, the ids of each, and the vectors (25, 384) of every fourth."""
    spec = importlib.util.spec_from_file_location("texts", REFERENCE / "texts.py")
    assert spec is not None and spec.loader is not None
    texts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(texts)
    file = _file(REFERENCE / "pretrained" / "minilm.npz")
    return texts.hundred_sentences(), json.loads(str(file["ids"])), file["vectors"]


def line(i: int) -> dict[str, Any]:
    """Colour and dashes of the i-th line of a plot: different also without colours."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i % len(LINES)]}
