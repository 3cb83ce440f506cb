"""Which parts of a chapter make its slides: headings, formulas with the sentence that leads to them, figures, tables and short code.

The prose is in the speaker's notes (key S).  A section is a column of slides: right to the next section, down through this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import nbformat

LEFT_OUT = ("Exercises", "References")  # sections that are no part of a lecture
FULL = 11.0  # lines of text that fit on a slide, beside its heading
BLOCK = re.compile(r"\n\s*\n")
DISPLAY = re.compile(r"\$\$.*?\$\$", re.S)


def slides(notebook: Any) -> Any:
    """The published edition of a chapter as cells with slide types."""
    made: list[Any] = []
    heading, shown = "", True
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for title, body in sections(cell.source):
                if title is not None:
                    heading, shown = title, not title.startswith(LEFT_OUT)
                if shown:
                    made += prose(heading, body, begins=title is not None, first=not made)
        elif shown and "exercise" not in cell.metadata.get("tags", []):
            made += code(heading, cell)
    return nbformat.v4.new_notebook(cells=made, metadata=notebook.metadata)


def sections(source: str) -> Iterator[tuple[str | None, str]]:
    """The text above the first heading of level 1 or 2 (with None), then each heading and the text below it."""
    parts = re.split(r"(?m)^##? (.*)$", source)
    if parts[0].strip():
        yield None, parts[0]
    yield from zip(parts[1::2], parts[2::2])


def slide(kind: str, *lines: str) -> Any:
    return nbformat.v4.new_markdown_cell("\n\n".join(filter(None, lines)), metadata={"slideshow": {"slide_type": kind}})


def prose(heading: str, body: str, begins: bool, first: bool) -> list[Any]:
    """What a text puts on slides, each no fuller than a slide; the text itself goes into the notes of the first."""
    chosen = list(told(body, lead=begins and not first))
    pages: list[list[str]] = [[]]
    room = FULL
    for block in chosen:
        cost = lines_of(block)
        if pages[-1] and cost > room:
            pages.append([])
            room = FULL
        pages[-1].append(block)
        room -= cost
    notes = slide("notes", body.strip()) if body.strip() else None
    if first:
        goals = re.search(r"(?ms)^\*\*After this chapter you can\*\*\s*\n(.*?)(?=\n\n(?!-)|\Z)", body)
        return [slide("slide", f"# {heading}"), *([notes] if notes else []), *([slide("subslide", "## After this chapter you can", goals[1].strip())] if goals else [])]
    made = []
    for page in pages:
        if page or begins:
            made.append(slide("slide" if begins and not made else "subslide", f"## {heading}", *page))
            if notes and len(made) == 1:
                made.append(notes)
    if not made and notes:
        made.append(notes)
    return made


def told(body: str, lead: bool) -> Iterator[str]:
    """The blocks of a text for a slide: formulas with the sentence before them, tables, lists, questions; and the first sentence of a section."""
    before = ""
    for i, block in enumerate(filter(None, map(str.strip, BLOCK.split(DISPLAY.sub(lambda m: f"\n\n{m[0]}\n\n", body))))):
        if block.startswith("$$"):
            if before:
                yield last_sentence(before)
            yield block
            before = ""
        elif block.startswith("|") or re.match(r"[-*] |\d+\. ", block):
            if before:
                yield last_sentence(before)
            yield block
            before = ""
        elif "**Question:**" in block:
            yield "**Question:** " + re.sub(r"\s*\(.*\)\s*$", "", block.partition("**Question:**")[2].strip(), flags=re.S)
            before = ""
        elif i == 0 and lead:
            yield first_sentence(block)
            before = ""
        elif not block.startswith(("<", "#", "!", ">")):
            before = block


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
    return whole(sentences(text)[-1])


def whole(sentence: str) -> str:
    """A sentence whose marks of bold are in pairs."""
    return sentence if sentence.count("**") % 2 == 0 else sentence.replace("**", "")


def lines_of(block: str) -> float:
    """How much of a slide a block takes, in lines."""
    if block.startswith("$$"):
        return 2.2 + 1.3 * (block.count(r"\\") + block.count("frac") / 4 + block.count("underbrace") / 2)
    if block.startswith("|"):
        return 1.2 * max(1, len(block.splitlines()) - 1)
    return sum(1.2 * (1 + len(line) // 95) for line in block.splitlines())


def code(heading: str, cell: Any) -> list[Any]:
    """The figures and tables of a cell; and its code when that is short and defines something."""
    made = []
    outputs = [o for o in cell.get("outputs", []) if {"image/png", "text/html"} & set(o.get("data", {}))]
    definitions = re.findall(r"(?ms)^def .*?(?=^\S(?<!\))|\Z)", cell.source)
    text = "\n\n".join(one.strip() for one in definitions)
    if definitions and len(text.splitlines()) <= 16 and max(map(len, text.splitlines())) <= 120:
        made.append(slide("subslide", f"## {heading}"))
        made.append(nbformat.v4.new_code_cell(text, metadata={"slideshow": {"slide_type": "-"}}))
    for output in outputs:
        made.append(slide("subslide", f"## {heading}"))
        made.append(nbformat.v4.new_code_cell("", outputs=[output], metadata={"slideshow": {"slide_type": "-"}}))
    return made
