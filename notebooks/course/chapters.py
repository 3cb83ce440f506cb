"""A chapter as grading sees it: the code before its exercises, and of each exercise the function, the points and the solution."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import editions

HEADING = re.compile(r"(?m)^### (.*?)\s*(★+)\s*·?\s*(.*)$")
ARGUMENT = re.compile(r"\((\w+)\)\s*\Z")


@dataclass(frozen=True)
class Exercise:
    """``name`` as in its check and its grade_id: ``03_softmax_backward``."""

    name: str
    title: str
    points: int
    function: str
    solution: str


@dataclass(frozen=True)
class Chapter:
    """``code`` holds every code cell that is not an exercise."""

    stem: str
    title: str
    code: tuple[str, ...]
    exercises: tuple[Exercise, ...]

    @property
    def number(self) -> str:
        return self.stem.split("_")[0]


def chapter(path: Path) -> Chapter:
    """Read the source of a chapter.  Raises ValueError for an exercise whose check does not name one function."""
    code, exercises = [], []
    title, points = "", 1
    for cell in editions.source(path).cells:
        if cell.cell_type == "markdown":
            if found := HEADING.search(cell.source):
                title, points = found[3].strip(), len(found[2])
        elif "exercise" in editions.tags(cell):
            call = editions.CALL.search(cell.source)
            argument = call and ARGUMENT.search(call[0])
            if not call or not argument:
                raise ValueError(
                    f"{path.name}: the check of an exercise does not name one function: {cell.source[-80:]!r}"
                )
            solution = editions.CALL.sub("", editions.solved(cell.source))
            exercises.append(Exercise(call[1], title, points, argument[1], solution))
        else:
            code.append(cell.source)
    first = editions.source(path).cells[0].source.splitlines()[0].lstrip("# ")
    return Chapter(path.stem, first, tuple(code), tuple(exercises))


def chapters(book: Path, wanted: list[str] | None = None) -> list[Chapter]:
    """Those whose name begins with one of ``wanted``, in order, or all.  Raises ValueError when one of ``wanted`` fits none."""
    paths = sorted((book / "chapters").glob("[0-9][0-9]*_*.py"))
    for beginning in wanted or []:
        if not any(path.name.startswith(beginning) for path in paths):
            raise ValueError(f"no chapter begins with {beginning}; there are {', '.join(path.stem for path in paths)}")
    return [chapter(path) for path in paths if not wanted or path.name.startswith(tuple(wanted))]
