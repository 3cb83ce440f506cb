"""What ``course release`` and ``course grade`` do, and say."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import report, sandbox, written
from .chapters import Chapter, chapters
from .grading import Limits, Result, try_out
from .grading import grade as grade_one
from .release import Release, roster_of
from .room import Library
from .submissions import Submission, read, submissions

Say = Callable[[str], None]


def say(words: str) -> None:
    print(words, flush=True)


def counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def manifest_of(folder: Path) -> dict[str, Any]:
    """course.json.  Raises ValueError when there is none, or it is not one."""
    path = folder / "course.json"
    if not path.exists():
        raise ValueError(f"{path}: no such file; `course release {folder}` writes it, with the students' edition")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        chapters, seed, students = manifest["chapters"], manifest["seed"], manifest["students"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not as `course release` writes it ({type(error).__name__}: {error})") from None
    if not isinstance(chapters, list) or not isinstance(seed, int) or not isinstance(students, dict):
        raise ValueError(f"{path}: not as `course release` writes it")
    return dict(manifest)


def release(args: argparse.Namespace, book: Path) -> int:
    """Write what is handed out, and what is kept."""
    folder = Path(args.dir)
    if book in folder.resolve().parents or book == folder.resolve():
        raise ValueError(f"{folder}: this is inside the book's own folder {book}; name another")
    every = chapters(book, args.chapters)
    if args.seed < 0:
        raise ValueError(f"--seed {args.seed}; expected 0 or more")
    roster = roster_of(Path(args.seed_per_student)) if args.seed_per_student else {}
    before = manifest_of(folder) if (folder / "course.json").exists() else None
    Release(book, folder, every, roster, args.seed, before, say).run(
        args.only or ["students", "solutions", "slides"], pdf=not args.no_pdf
    )
    return 0


def grade(args: argparse.Namespace, book: Path) -> int:
    """Grade every submission; status 1 when the lecturer's own files were changed meanwhile."""
    folder = Path(args.dir)
    manifest = manifest_of(folder)
    if args.seconds <= 0:
        raise ValueError(f"--seconds {args.seconds:g}; expected more than 0")
    asked, out = written.questions(book), Path(args.out or folder / "grades")
    handed_in = submissions(
        Path(args.submitted or folder / "submitted"), manifest["chapters"], manifest["students"]
    )
    if args.students:
        known = {one.student for one in handed_in}
        if unknown := [name for name in args.students if name not in known]:
            raise ValueError(
                f"--students {' '.join(unknown)}: not there; there are {', '.join(sorted(known)) or 'none'}"
            )
        handed_in = [one for one in handed_in if one.student in args.students]
    every = graded_chapters(book, manifest, args.chapters, handed_in)
    before = written.marked(out / "written.csv")
    marks = written.kept(written.merged(written_answers(handed_in, every, asked), before), before, asked)
    library, limits = Library(book), Limits(args.seconds, args.megabytes)
    numbers = ", ".join(one.number for one in every)
    tasks = sum(len(one.exercises) for one in every)
    say(f"{counted(len(handed_in), 'student')}, {counted(tasks, 'exercise')} of chapter{'s' * (len(every) > 1)} {numbers}")
    try:
        try_out(library, every, limits)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    results: list[Result] = []
    said: set[str] = set()

    def confined(held: list[str]) -> None:
        missing = [name for name in sandbox.FULL if name not in held]
        if held and missing and not said:
            said.add("")
            say(
                f"note: this system does not confine {' and '.join(missing)} of an answer; docs/teaching.md says what that leaves open"
            )

    changed: list[str] = []
    for one in handed_in:
        started = time.perf_counter()
        mine = list(grade_one(one, every, library, limits, manifest.get("variants", {}).get(one.student), confined))
        results += mine
        points, of = sum(r.points for r in mine), sum(r.of for r in mine)
        remarks = "".join(f"; {remark}" for remark in (one.note, *one.remarks) if remark)
        say(f"{one.student}: {points} of {of} points, {time.perf_counter() - started:.0f} s{remarks}")
        if now := [name for name in library.changed() if name not in changed]:
            changed += now
            say(
                f"warning: while {one.student} was graded, files of this clone changed: {', '.join(now[:5])};"
                " the others are graded with what was there before"
            )
    results = report.together(results, report.earlier(out))
    shown = [one for one in chapters(book) if one.stem in {r.chapter for r in results}]
    report.write(out, results, marks, shown)
    report.save(out / "written.csv", report.table(written.COLUMNS, marks))
    say(
        f"{out}: results.csv, points.csv, feedback/"
        + (f", written.csv with {counted(sum(not m['points'] for m in marks if m['answer']), 'answer')} to mark" if marks else "")
    )
    return 1 if changed else 0


def graded_chapters(
    book: Path, manifest: dict[str, Any], wanted: list[str] | None, handed_in: list[Submission]
) -> list[Chapter]:
    """Those that are asked for; else those of the course of which somebody has handed in a notebook."""
    there = {stem for one in handed_in for stem in one.notebooks}
    found = [
        one for one in chapters(book, wanted) if one.stem in manifest["chapters"] and (wanted or one.stem in there)
    ]
    if not found:
        seen = "; ".join(f"{one.student}: {remark}" for one in handed_in for remark in one.remarks)
        words = f"no notebook of a chapter of this course ({', '.join(manifest['chapters'])}) was handed in"
        raise ValueError(words + (f". {seen}" if seen else ""))
    return found


def written_answers(
    handed_in: list[Submission], every: list[Chapter], asked: dict[str, list[written.Question]]
) -> list[dict[str, str]]:
    """A line of written.csv for each student and question."""
    lines = []
    for one in handed_in:
        for chapter in every:
            try:
                cells = read(one.notebooks[chapter.stem]) if chapter.stem in one.notebooks else []
            except (ValueError, OSError):
                cells = []
            for question in asked.get(chapter.number, []):
                text = written.of(cells, question)
                about = {
                    "student": one.student,
                    "chapter": chapter.stem,
                    "question": question.name,
                    "title": question.title,
                }
                lines.append({**about, "of": str(question.points), "points": "", "remark": "", "answer": text})
    return lines
