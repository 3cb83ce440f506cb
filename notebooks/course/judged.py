"""nbgrader with the course kit's judge: in place of ``Execute``, so that no submission runs in a kernel beside the gradebook.

Cells for which there are points and which a submission has lost are put back, so that the same answers get the same points as from the kit.
The configuration that ``build.py --course`` writes puts ``Judged`` first among ``Autograde.autograde_preprocessors``.  A right answer's check cell
gets the words of the check as output, a wrong one's an error, as if the cell had been run; nbgrader does the rest.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.preprocessors.base import NbGraderPreprocessor
from traitlets import Float, Integer

import editions

from . import written
from .chapters import Chapter, chapter
from .grading import Limits, grade, try_out
from .release import finished
from .room import Library
from .submissions import Cell, Submission

BOOK = Path(__file__).resolve().parent.parent


@cache
def library() -> Library:
    """What every submission is judged with: as it was before the first one."""
    return Library(BOOK)


@cache
def tried(stem: str, limits: Limits) -> Chapter:
    """A chapter whose solution is found right here."""
    found = chapter(BOOK / "chapters" / f"{stem}.py")
    try_out(library(), [found], limits)
    return found


def restored(nb: Any, source: Path, cells: list[Cell]) -> list[Any]:
    """The cells with points that a notebook no longer has, or whose marks it has lost: those of the edition that was released."""
    there = {cell.grade_id for cell in cells}
    asked = written.questions(BOOK).get(editions.number(source), [])
    edition = finished(editions.teachers(source), source, written.cells(asked), {}, stubbed=False)
    lost = [cell for cell in edition.cells if cell.metadata.get("nbgrader", {}).get("grade") and cell.metadata.nbgrader.grade_id not in there]
    for cell in lost:
        name = cell.metadata.nbgrader.grade_id
        cell["id"] = re.sub(r"[^\w-]", "-", f"restored-{name}", flags=re.ASCII)[:64]
        cell.source = next((written.of(cells, one) or cell.source for one in asked if one.name == name), cell.source)
    return lost


class Judged(NbGraderPreprocessor):
    """Judge the answers of a chapter, and write the verdicts into the cells of its checks."""

    seconds = Float(20.0, help="that an answer may take").tag(config=True)
    megabytes = Integer(2000, help="of address space that an answer may use").tag(config=True)

    def preprocess(self, nb: Any, resources: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The notebook with verdicts.  Raises ValueError for one that is no chapter."""
        stem = resources["nbgrader"]["notebook"]
        source = BOOK / "chapters" / f"{stem}.py"
        if not source.exists():
            raise ValueError(f"{stem}: no such chapter in {source.parent}")
        cells = [
            Cell(cell.cell_type, cell.source, cell.metadata.get("nbgrader", {}).get("grade_id", ""))
            for cell in nb.cells
        ]
        student = Submission(str(resources["nbgrader"]["student"]))
        results = grade(
            student, [chapter(source)], library(), Limits(self.seconds, self.megabytes), handed_in={stem: cells}
        )
        if lost := restored(nb, source, cells):
            self.log.warning("%s: %d cells with points were lost and are put back", student.student, len(lost))
            nb.cells += lost
        verdicts = {f"check_{one.exercise}": one for one in results}
        for cell in nb.cells:
            one = verdicts.get(cell.metadata.get("nbgrader", {}).get("grade_id", ""))
            if cell.cell_type != "code" or one is None:
                continue
            words = one.words or one.remark
            if one.points:
                cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=words + "\n")]
            else:
                cell.outputs = [
                    nbformat.v4.new_output("error", ename="AssertionError", evalue=words, traceback=words.splitlines())
                ]
        return nb, resources
