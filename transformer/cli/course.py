"""The command ``attention-by-hand course release|grade``: hands over to the course kit that lies with the chapters, in notebooks/course."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from .options import positive

EPILOG = "docs/teaching.md leads from a clone to graded submissions."


def add_commands(commands: Any) -> None:
    course = commands.add_parser("course", help="for lecturers: hand out the chapters, and grade what comes back", epilog=EPILOG)
    parts = course.add_subparsers(dest="part", required=True, metavar="release|grade")

    release = parts.add_parser("release", help="write the students' edition, the solutions as pages, and slides", epilog=EPILOG)
    release.add_argument("--seed-per-student", metavar="ROSTER", help="a table (CSV) of students: each gets exercises with other numbers")
    release.add_argument("--seed", type=int, default=0, metavar="N", help="of these numbers (default 0)")
    kinds = ("students", "solutions", "slides")
    release.add_argument("--only", nargs="+", choices=kinds, metavar="PART", help="students, solutions or slides")
    release.add_argument("--no-pdf", action="store_true", help="the solutions as HTML only")

    grade = parts.add_parser("grade", help="grade the notebooks below DIR/submitted", epilog=EPILOG)
    grade.add_argument("--submitted", metavar="FOLDER", help="where they are (default DIR/submitted)")
    grade.add_argument("--out", metavar="FOLDER", help="where the tables and the feedback go (default DIR/grades)")
    grade.add_argument("--students", nargs="+", metavar="NAME", help="only these")
    grade.add_argument("--seconds", type=float, default=20.0, metavar="N", help="that an answer may take (default 20)")
    grade.add_argument("--megabytes", type=positive, default=2000, metavar="N", help="of address space that an answer may use (default 2000)")
    for part in (release, grade):
        part.add_argument("dir", metavar="DIR", help="the folder of the course")
        part.add_argument("--chapters", nargs="+", metavar="NN", help="only these, such as 03 05")
        where = "the folder notebooks of a clone (default: the one beside this library, or below this folder)"
        part.add_argument("--book", metavar="FOLDER", help=where)
        part.set_defaults(run=course_command, works=True)


def course_command(args: argparse.Namespace) -> int:
    """Find the chapters, and do what is asked."""
    book = find_book(args.book)
    if str(book) not in sys.path:
        sys.path.insert(0, str(book))
    try:
        command = importlib.import_module("course.command")
    except ImportError as error:
        raise ImportError(f"course needs {error.name}: pip install -e '.[notebooks]' in the clone") from error
    return int((command.release if args.part == "release" else command.grade)(args, book))


def find_book(given: str | None = None) -> Path:
    """The folder with the chapters.  Raises ValueError when it is not at hand: the installed library alone has none."""
    places = [Path(given)] if given else [Path(__file__).resolve().parents[2] / "notebooks", Path.cwd() / "notebooks"]
    for place in places:
        if (place / "chapters").is_dir() and (place / "course" / "command.py").is_file():
            return place.resolve()
    looked = " and ".join(str(place) for place in places)
    raise ValueError(
        f"course needs the chapters, which come with a clone of the project, and {looked} has none; name a clone's folder with --book"
    )
