"""nbgrader with the course kit's judge: in place of ``Execute``, so that no submission runs in a kernel beside the gradebook.

The configuration that ``build.py --course`` writes puts ``Judged`` first among ``Autograde.autograde_preprocessors``.  A right answer's check cell
gets the words of the check as output, a wrong one's an error, as if the cell had been run; nbgrader does the rest.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.preprocessors.base import NbGraderPreprocessor
from traitlets import Float, Integer

from .chapters import Chapter, chapter
from .grading import Limits, grade, try_out
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
