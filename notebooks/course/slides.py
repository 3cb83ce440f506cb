"""Which parts of a chapter make its slides: headings, formulas with the sentence that leads to them, figures, tables and short code.

The prose is in the speaker's notes (key S).  A section is a column of slides: right to the next section, down through this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import nbformat

LEFT_OUT = ("Exercises", "References")  # sections that are no part of a lecture
FULL = 14.0  # lines of text that fit on a slide, below its heading
FIGURE = 11.5  # lines that a figure takes
ROWS = 10  # of a table, below its head, on one slide
BLOCK = re.compile(r"\n\s*\n")
DISPLAY = re.compile(r"\$\$.*?\$\$", re.S)


def slides(notebook: Any) -> Any:
    """The published edition of a chapter as cells with slide types."""
    deck, shown = Deck(), True
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for title, body in sections(cell.source):
                if title is not None:
                    shown = not title.startswith(LEFT_OUT)
                    if shown:
                        deck.begin(title, body)
                if shown and deck.sections > 1:
                    for block in told(body, lead=title is not None):
                        deck.add(nbformat.v4.new_markdown_cell(block), lines_of(block))
                    deck.note(body)
        elif shown and "exercise" not in cell.metadata.get("tags", []):
            for part, lines in code(cell):
                deck.add(part, lines)
    return nbformat.v4.new_notebook(cells=deck.cells, metadata=notebook.metadata)


def sections(source: str) -> Iterator[tuple[str | None, str]]:
    """The text above the first heading of level 1 or 2 (with None), then each heading and the text below it."""
    parts = re.split(r"(?m)^##? (.*)$", source)
    if parts[0].strip():
        yield None, parts[0]
    yield from zip(parts[1::2], parts[2::2])


class Deck:
    """Cells with slide types, filled slide by slide."""

    def __init__(self) -> None:
        self.cells: list[Any] = []
        self.heading, self.room, self.sections = "", 0.0, 0

    def begin(self, heading: str, body: str) -> None:
        """A new column of slides; the first is the title, with what the chapter is for."""
        self.heading, self.sections = heading, self.sections + 1
        if self.sections > 1:
            return self._slide("slide", f"## {heading}")
        paragraphs = [p.strip() for p in BLOCK.split(body) if p.strip() and not p.strip().startswith(("*", "-"))]
        self._slide("slide", f"# {heading}\n\n{first_sentence(paragraphs[0]) if paragraphs else ''}")
        self.note(body)
        if goals := re.search(r"(?ms)^\*\*After this chapter you can\*\*\s*\n(.*?)(?=\n\n(?!-)|\Z)", body):
            self._slide("subslide", f"## After this chapter you can\n\n{goals[1].strip()}")

    def add(self, cell: Any, lines: float) -> None:
        """Put a cell on this slide, or on a new one below it when it does not fit."""
        if lines > self.room and self.room < FULL:
            self._slide("subslide", f"## {self.heading}")
        self.room -= lines
        cell.metadata["slideshow"] = {"slide_type": "-"}
        self.cells.append(cell)

    def note(self, text: str) -> None:
        """Into the speaker's notes of this slide."""
        if text.strip():
            self.cells.append(
                nbformat.v4.new_markdown_cell(text.strip(), metadata={"slideshow": {"slide_type": "notes"}})
            )

    def _slide(self, kind: str, text: str) -> None:
        self.cells.append(nbformat.v4.new_markdown_cell(text, metadata={"slideshow": {"slide_type": kind}}))
        self.room = FULL


def told(body: str, lead: bool) -> Iterator[str]:
    """The blocks of a text for a slide: formulas with the sentence before them, tables, lists, questions; and the first sentence of a section."""
    before = ""
    for i, block in enumerate(
        filter(None, map(str.strip, BLOCK.split(DISPLAY.sub(lambda m: f"\n\n{m[0]}\n\n", body))))
    ):
        if block.startswith(("$$", "|")) or re.match(r"[-*] |\d+\. ", block):
            for part in pieces(block):
                yield f"{last_sentence(before)}\n\n{part}" if before else part  # the two stay on one slide
                before = ""
        elif "**Question:**" in block:
            yield "**Question:** " + re.sub(
                r"\s*\(.*\)\s*$", "", block.partition("**Question:**")[2].strip(), flags=re.S
            )
            before = ""
        elif i == 0 and lead:
            yield first_sentence(block)
            before = ""
        elif not block.startswith(("<", "#", "!", ">")):
            before = block


def pieces(block: str) -> Iterator[str]:
    """A table in parts that fit on a slide, each below its head; anything else as it is."""
    head, rows = block.splitlines()[:2], block.splitlines()[2:]
    if not block.startswith("|") or len(rows) <= ROWS:
        yield block
    else:
        for first in range(0, len(rows), ROWS):
            yield "\n".join([*head, *rows[first : first + ROWS]])


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph; a stop inside a formula ends none."""
    text = " ".join(text.split())
    kept: list[str] = []
    masked = re.sub(r"\$[^$]*\$|`[^`]*`", lambda m: kept.append(m[0]) or f"\x00{len(kept) - 1}\x00", text)  # type: ignore[func-returns-value]
    found = re.split(r"(?<=[.?!:])\s+(?=[A-Z\x00*\"(])", masked)
    return [re.sub(r"\x00(\d+)\x00", lambda m: kept[int(m[1])], one) for one in found]


def first_sentence(text: str) -> str:
    return whole(sentences(text)[0])


def last_sentence(text: str) -> str:
    """The sentence that leads to what follows; a mere "So" takes the one before along."""
    *others, last = sentences(text)
    return whole(f"{others[-1]} {last}" if others and len(last.split()) < 4 else last)


def whole(sentence: str) -> str:
    """A sentence whose marks of bold are in pairs."""
    return sentence if sentence.count("**") % 2 == 0 else sentence.replace("**", "")


def lines_of(block: str) -> float:
    """How much of a slide a block takes, in lines."""
    head, _, rest = block.partition("\n\n")
    if rest:
        return lines_of(head) + lines_of(rest)
    if block.startswith("$$"):
        return 2.4 + 1.3 * (block.count(r"\\") + block.count("frac") / 4 + block.count("underbrace") / 2)
    if block.startswith("|"):
        return 1.2 * max(1, len(block.splitlines()) - 1)
    return sum(1.25 * (1 + len(line) // 72) for line in block.splitlines())


def code(cell: Any) -> Iterator[tuple[Any, float]]:
    """The figures and tables of a cell; and its code when that is short and defines something.  Each with its lines."""
    definitions = re.findall(r"(?ms)^def .*?(?=^\S(?<!\))|\Z)", cell.source)
    text = "\n\n".join(one.strip() for one in definitions)
    if definitions and len(text.splitlines()) <= 18 and max(map(len, text.splitlines())) <= 120:
        yield nbformat.v4.new_code_cell(text), 1 + 0.72 * len(text.splitlines())
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "image/png" in data:
            yield nbformat.v4.new_code_cell("", outputs=[output]), FIGURE
        elif "text/html" in data:
            yield nbformat.v4.new_code_cell("", outputs=[output]), 1 + 1.05 * str(data["text/html"]).count("<tr")
