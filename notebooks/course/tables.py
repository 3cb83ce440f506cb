"""Tables that a spreadsheet opens and saves: in UTF-8 with its mark, no cell a formula; read back in whatever way it was saved."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any


def table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> bytes:
    """CSV that a spreadsheet opens rightly: with a mark of its encoding, and no cell that is a formula."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: plain(row.get(name, "")) for name in columns} for row in rows)
    return text.getvalue().encode("utf-8-sig", "replace")


def plain(value: Any) -> Any:
    """A text that a spreadsheet does not compute: ``=…`` and its like get a quotation mark in front."""
    if (
        isinstance(value, str)
        and value.lstrip()[:1] in ("=", "+", "-", "@")
        and not re.fullmatch(r"[+-]?[\d.]+", value)
    ):
        return "'" + value
    return value


def rows(path: Path) -> list[list[str]]:
    """The lines of a table, its columns separated by commas, semicolons or tabs; UTF-8, or what Windows took for it."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    return [
        row
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        if any(cell.strip() for cell in row)
    ]


def records(path: Path) -> list[dict[str, str]]:
    """The lines below the head, by its names."""
    head, *rest = rows(path) or [[]]
    return [dict(zip((name.strip() for name in head), row)) for row in rest]
