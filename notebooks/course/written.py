"""Written answers: the questions and rubrics of docs/written_answers.md, and the table in which a lecturer marks them.

## 05 · …                          the chapter
### name · Title (4 points)        a question, its text below
**Rubric**                         a list; each item begins with its points
**A good answer**                  one that would get them all
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat

from .submissions import Cell
from .tables import plain, records

COLUMNS = ("student", "chapter", "question", "of", "points", "remark", "answer")
PLACE = "*Your answer, in place of this line.*"
CHAPTER = re.compile(r"(?m)^## (\d\d\w?) · .*$")
QUESTION = re.compile(r"(?m)^### (\w+) · (.+) \((\d+) points?\)$")


@dataclass(frozen=True)
class Question:
    """``name`` is its grade_id: ``written_05_name``."""

    name: str
    title: str
    points: int
    text: str
    rubric: str
    good: str


def questions(book: Path) -> dict[str, list[Question]]:
    """Those of each chapter, by its number.  Raises ValueError where the page is not as described above."""
    page = (book.parent / "docs" / "written_answers.md").read_text(encoding="utf-8")
    found: dict[str, list[Question]] = {}
    parts = CHAPTER.split(page)
    for number, section in zip(parts[1::2], parts[2::2]):
        pieces = QUESTION.split(section)
        for name, title, points, body in zip(pieces[1::4], pieces[2::4], pieces[3::4], pieces[4::4]):
            halves = re.split(r"(?m)^\*\*(?:Rubric|A good answer)\*\*$", body)
            if len(halves) != 3:
                raise ValueError(
                    f"docs/written_answers.md: question {name!r} lacks its **Rubric** or **A good answer**"
                )
            text, rubric, good = (half.strip() for half in halves)
            given = sum(int(n) for n in re.findall(r"(?m)^- (\d+):", rubric))
            if given != int(points):
                raise ValueError(
                    f"docs/written_answers.md: question {name!r} has {points} points, its rubric gives {given}"
                )
            found.setdefault(number, []).append(
                Question(f"written_{number}_{name}", title, int(points), text, rubric, good)
            )
    return found


def cells(asked: list[Question]) -> list[Any]:
    """The questions as a students' edition has them: a heading with the text, and a cell to write in."""
    made = []
    for one in asked:
        made.append(
            nbformat.v4.new_markdown_cell(
                f"### In words · {one.title}\n\n{one.text}\n\n*{one.points} points, marked by a reader.*"
            )
        )
        about = {
            "grade_id": one.name,
            "grade": True,
            "solution": True,
            "locked": False,
            "points": one.points,
            "schema_version": 3,
            "task": False,
        }
        made.append(nbformat.v4.new_markdown_cell(PLACE, metadata={"nbgrader": about}))
    return made


def solved(asked: list[Question]) -> list[Any]:
    """The questions as the solutions have them: with rubric and a good answer."""
    return [
        nbformat.v4.new_markdown_cell(
            f"### In words · {q.title}\n\n{q.text}\n\n**Rubric** ({q.points} points)\n\n{q.rubric}\n\n**A good answer.** {q.good}"
        )
        for q in asked
    ]


def of(handed_in: list[Cell], question: Question) -> str:
    """What a student wrote: the cell with the question's mark, or the one below its heading."""
    for cell in handed_in:
        if cell.grade_id == question.name:
            return cell.source.replace(PLACE, "").strip()
    for cell, following in pairwise(handed_in):
        if f"In words · {question.title}" in cell.source and following.kind == "markdown":
            return following.source.replace(PLACE, "").strip()
    return ""


def marked(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The table as the lecturer left it, by student and question; empty when there is none yet."""
    if not path.exists():
        return {}
    return {
        (row["student"], row["question"]): row for row in records(path) if row.get("student") and row.get("question")
    }


def merged(new: list[dict[str, str]], old: dict[tuple[str, str], dict[str, str]]) -> list[dict[str, str]]:
    """The new table with the points and remarks of the old one, where the answer is still the same.

    Raises ValueError for points that are no number from 0 to the question's.
    """
    rows = []
    for row in new:
        before = old.get((plain(row["student"]), row["question"]), {})
        points, remark = (before.get("points") or "").strip(), before.get("remark") or ""
        if points:
            try:
                fits = 0 <= float(points.replace(",", ".")) <= float(row["of"])
            except ValueError:
                fits = False
            if not fits:
                raise ValueError(
                    f"written.csv: {points!r} points for {row['question']} of {row['student']}; expected 0 to {row['of']}"
                )
            if before.get("answer", "").split() != plain(row["answer"]).split():
                points, remark = "", "; ".join(filter(None, [f"handed in anew; the answer before had {points}", remark]))
        rows.append({**row, "points": points, "remark": remark})
    return rows


def kept(
    new: list[dict[str, str]], old: dict[tuple[str, str], dict[str, str]], asked: dict[str, list[Question]]
) -> list[dict[str, str]]:
    """The new lines, and the old ones of students and questions that were not read now, by student and question."""
    titles = {one.name: one.title for each in asked.values() for one in each}
    now = {(plain(row["student"]), row["question"]) for row in new}
    rest = [{**row, "title": titles.get(row["question"], row["question"])} for key, row in old.items() if key not in now]
    return sorted([*new, *rest], key=lambda row: (row["student"], row["question"]))
