"""What a lecturer hands out, and what stays: the students' edition, with variants or without, the solutions as pages, and slides.

DIR/course.json              what was handed out: chapters, seed, each student's numbers
DIR/students/                the notebooks to hand out; with a roster, DIR/students/STUDENT/
DIR/solutions/  DIR/slides/  pages for the lecturer and the lecture
DIR/submitted/               where what comes back belongs
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

import editions
import variants
from minigrad.storage import write_atomically

from . import written
from .chapters import HEADING, Chapter
from .report import file_name, save
from .submissions import shown
from .tables import plain, rows, table

Numbers = dict[str, dict[str, Any]]  # of each exercise with a variant
HEAD = re.compile(r"(students?|users?|matriculation|login|e-?mail|folder)?[ _-]*(ids?|names?|numbers?|address)?", re.IGNORECASE)


def roster_of(path: Path) -> dict[str, str]:
    """The students of a table: the first column names their folders, the second, if there is one, what they are called.

    A first line that says "name", "student ID" and the like is a heading.  Raises ValueError for a table without students, or with one twice.
    """
    lines = rows(path)
    if lines and any(HEAD.fullmatch(cell.strip()) for cell in lines[0] if cell.strip()):
        lines = lines[1:]
    found: dict[str, str] = {}
    for row in lines:
        student = shown(row[0])
        if not student or "/" in student or "\\" in student or student.startswith("."):
            raise ValueError(
                f"{path}: {row[0]!r} cannot name a student's folder; expected letters and digits in the first column"
            )
        if student in found:
            raise ValueError(f"{path}: student {student} is there twice")
        found[student] = row[1].strip() if len(row) > 1 else ""
    if not found:
        raise ValueError(f"{path}: no students; expected one on each line, in the first column")
    return found


def students_edition(path: Path, asked: list[written.Question], numbers: Numbers) -> Any:
    """A chapter for students: stubs, the student's own numbers where an exercise has a variant, and the questions in words."""
    return finished(editions.students(path), path, written.cells(asked), numbers, stubbed=True)


def finished(notebook: Any, path: Path, words: list[Any], numbers: Numbers, stubbed: bool) -> Any:
    """The edition with variants in place of their exercises, and ``words`` before the references."""
    task = None
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            task = cell if HEADING.search(cell.source) else task
            continue
        mark = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        name = mark.partition("_")[2]
        if name not in numbers:
            continue
        one, mine = variants.variants()[name], numbers[name]
        if mark.startswith("answer_"):
            answer = one.fill(one.answer, mine).rstrip("\n")
            cell.source = editions.stubbed(answer) if stubbed else answer
            if task is not None and (heading := HEADING.search(task.source)):
                task.source = task.source[: heading.end()] + "\n\n" + one.fill(one.task, mine)
        else:
            given = "".join(f", {key}={value!r}" for key, value in mine.items())
            function = re.findall(r"check_\w+\((\w+)\)", cell.source)[0]
            cell.source = f'import checks\n\nprint(checks.variant("{name}", {function}{given}).require())'
    last = next(
        (i for i, cell in enumerate(notebook.cells) if cell.source.startswith("## References")), len(notebook.cells)
    )
    notebook.cells[last:last] = words
    for i, cell in enumerate(notebook.cells):
        cell.id = f"c{editions.number(path)}-{i:02}"
    return notebook


def store(notebook: Any, path: Path) -> None:
    """Whole or not at all."""
    nbformat.validate(notebook)
    save(path, (nbformat.writes(notebook).rstrip("\n") + "\n").encode("utf-8"))


class Release:
    """One release into a folder.  What was handed out before keeps its numbers, and what was handed in is left alone."""

    def __init__(
        self, book: Path, folder: Path, every: list[Chapter], roster: dict[str, str], seed: int, before: dict[str, Any] | None,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.book, self.folder, self.chapters, self.say = book, folder, every, say
        self.asked = written.questions(book)
        drawn = (before or {}).get("variants", {})
        if before and drawn and roster and before["seed"] != seed:
            raise ValueError(
                f"{folder}: handed out with --seed {before['seed']}, now {seed}; the students' numbers would change. Take the same, or another folder"
            )
        names = [one.name for chapter in every for one in chapter.exercises if one.name in variants.variants()]
        self.numbers = {
            student: {n: variants.draw(n, seed, student) for n in names} | drawn.get(student, {}) for student in roster
        }
        stems = [one.stem for one in every]
        self.manifest = {
            "format": 1,
            "chapters": sorted({*stems, *(before or {}).get("chapters", [])}),
            "seed": seed if roster or not before else before["seed"],
            "students": (before or {}).get("students", {}) | roster,
            "variants": drawn | self.numbers,
        }

    def run(self, parts: list[str], pdf: bool = True) -> None:
        """Write the parts: students, solutions, slides."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "submitted").mkdir(exist_ok=True)
        if "students" in parts:
            self._students()
        if "solutions" in parts:
            self._timed("solutions", lambda: self._solutions(pdf))
        if "slides" in parts:
            self._timed("slides", self._slides)
        text = json.dumps(self.manifest, indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.folder / "course.json", lambda file: file.write(text.encode("utf-8")))
        self.say(
            f"{self.folder / 'submitted'}: put what comes back here, STUDENT/NN_name.ipynb; then: course grade {self.folder}"
        )

    def _timed(self, part: str, write: Callable[[], str]) -> None:
        started = time.perf_counter()
        try:
            self.say(f"{self.folder / part}: {write()}, {time.perf_counter() - started:.0f} s")
        except ImportError as error:
            self.say(f"{self.folder / part}: left out; {error}")

    def _source(self, chapter: Chapter) -> Path:
        return self.book / "chapters" / f"{chapter.stem}.py"

    def _students(self) -> None:
        place, taken = self.folder / "students", set()  # type: tuple[Path, set[str]]
        for student, numbers in (self.numbers or {"": {}}).items():
            own = place / file_name(student, taken) if student else place
            for chapter in self.chapters:
                store(
                    students_edition(self._source(chapter), self.asked.get(chapter.number, []), numbers),
                    own / f"{chapter.stem}.ipynb",
                )
        if self.numbers:
            lines = [
                {
                    "student": s,
                    "name": self.manifest["students"][s],
                    "exercise": e,
                    **{"numbers": ", ".join(f"{k} = {v}" for k, v in n.items())},
                }
                for s, mine in self.numbers.items()
                for e, n in mine.items()
            ]
            save(
                self.folder / "variants.csv",
                table(
                    ("student", "name", "exercise", "numbers"), [{k: plain(v) for k, v in one.items()} for one in lines]
                ),
            )
        people = f", for each of {len(self.numbers)} students" if self.numbers else ""
        self.say(f"{place}: {len(self.chapters)} chapters{people}")

    def _solutions(self, pdf: bool) -> str:
        from .pages import print_pdf, solutions_page

        printed, why = 0, ""
        for chapter in self.chapters:
            page = self.folder / "solutions" / f"{chapter.stem}.html"
            save(page, solutions_page(self.book, chapter, self.asked.get(chapter.number, [])))
            if pdf and not why:
                why = print_pdf(page, page.with_suffix(".pdf"))
                printed += not why
        return f"{len(self.chapters)} pages (HTML){f', {printed} as PDF' if printed else ''}{f'; no PDF: {why}' if why else ''}"

    def _slides(self) -> str:
        from .pages import deck

        for chapter in self.chapters:
            save(self.folder / "slides" / f"{chapter.stem}.html", deck(self.book, chapter))
        return f"{len(self.chapters)} decks"
