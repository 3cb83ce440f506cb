"""What was handed in, read as text: nothing of it is run or imported here.

submitted/STUDENT/NN_name.ipynb     or, as nbgrader has it, submitted/STUDENT/NN_name/NN_name.ipynb
"""

from __future__ import annotations

import difflib
import json
import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from editions import CALL, STUB

from .chapters import Exercise

LARGEST = 20 * 2**20  # bytes of a notebook


@dataclass
class Submission:
    """A student's folder: the notebook of each chapter, what is to be said about the others, and a note that belongs to every wrong answer."""

    student: str
    notebooks: dict[str, Path] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Cell:
    kind: str
    source: str
    grade_id: str


def shown(name: str) -> str:
    """A name that every file and table can hold: composed, with invisible characters and bytes of another encoding spelled out."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:  # bytes that are not UTF-8, as Python has them in names of files
        name = os.fsencode(name).decode("latin-1")
    name = unicodedata.normalize("NFC", name).strip()
    return "".join(
        f"\\u{ord(c):04x}" if unicodedata.category(c) in ("Cf", "Cc", "Cn", "Cs", "Co", "Zl", "Zp") else c for c in name
    )


def submissions(folder: Path, stems: list[str], roster: dict[str, str] | None = None) -> list[Submission]:
    """One for each student's folder, and an empty one for whoever of the roster has none; in the order of their names.

    The roster has what each student is called, by the names of the folders.  A folder with another name is a student's of the roster if
    it differs in case only, or begins, as learning platforms name it, with what one student is called; else its submission says so.
    Raises ValueError when there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; put each student's notebooks into {folder / 'STUDENT'}")
    found: dict[str, Submission] = {}
    places = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")]
    named = {shown(place.name) for place in places}  # a folder that has a student's very name is that student's
    for place in places:
        name = shown(place.name)
        known = enrolled(name, roster or {})
        if known and known not in named | found.keys():
            name = known
        while name in found:  # two folders whose names look alike are two students
            name += "'"
        found[name] = _submission(name, place, stems)
        if roster and name not in roster:
            near = difflib.get_close_matches(name, roster, n=1)
            meant = f"; rename the folder if {near[0]} is meant" if near else ""
            found[name].note = f"not in the roster, so judged with the book's numbers{meant}"
    for name in map(shown, roster or {}):
        found.setdefault(name, Submission(name, remarks=["nothing was handed in"]))
    return [found[name] for name in sorted(found)]


def enrolled(name: str, roster: dict[str, str]) -> str:
    """The student of the roster that a folder's name means; empty when it is none's, or not one's alone."""
    if name in roster:
        return name
    alike = [student for student in roster if student.casefold() == name.casefold()]
    called = [s for s, full in roster.items() if full and re.match(rf"{re.escape(full.casefold())}(?![^\W_])", name.casefold())]
    return next((only[0] for only in (alike, called) if len(only) == 1), "")


def _submission(name: str, place: Path, stems: list[str]) -> Submission:
    one = Submission(name)
    for path in sorted([*place.glob("*.ipynb"), *place.glob("*/*.ipynb")]):
        if ".ipynb_checkpoints" in path.parts:
            continue
        fitting = [s for s in stems if re.match(rf"{s.split('_')[0]}(?![^\W_])", path.stem)]  # 08 is not 08b
        if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
            one.remarks.append(f"{shown(path.name)}: a link or no file; left out")
        elif not fitting:
            one.remarks.append(f"{shown(path.name)}: the name is none of a chapter's; left out")
        elif fitting[0] in one.notebooks:
            one.remarks.append(f"{shown(path.name)}: a second notebook of chapter {fitting[0]}; left out")
        else:
            one.notebooks[fitting[0]] = path
    if not one.notebooks and not one.remarks:
        one.remarks.append("the folder holds no notebook")
    return one


def read(path: Path) -> list[Cell]:
    """The cells of a notebook.  Raises ValueError that says why it is none."""
    if path.stat().st_size > LARGEST:
        raise ValueError(
            f"the notebook has {path.stat().st_size / 2**20:.0f} MB; at most {LARGEST // 2**20}: clear its outputs"
        )
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise ValueError("the file is not a notebook: it is not JSON") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ValueError("the file is not a notebook: it has no cells (of format 4)")
    return [_cell(cell) for cell in notebook["cells"] if isinstance(cell, dict)]


def _cell(cell: dict[str, Any]) -> Cell:
    source = cell.get("source", "")
    lines = source if isinstance(source, list) else [source]
    about = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
    grader = about.get("nbgrader") if isinstance(about.get("nbgrader"), dict) else {}  # type: ignore[union-attr]
    text = "".join(line for line in lines if isinstance(line, str))
    return Cell(str(cell.get("cell_type")), text, str(grader.get("grade_id", "")))  # type: ignore[union-attr]


def answer(cells: list[Cell], exercise: Exercise) -> tuple[str | None, str]:
    """The code of an exercise, and a remark when it was not found by its mark: a cell that defines its function will do."""
    defines = re.compile(rf"(?m)^(?:def {exercise.function}\b|{exercise.function}\s*=)")
    code = [cell for cell in cells if cell.kind == "code"]
    marked = [cell for cell in code if cell.grade_id == f"answer_{exercise.name}"]
    named = [cell for cell in code if defines.search(cell.source) and cell not in marked]
    filled = [cell for cell in marked if defines.search(cell.source) and STUB not in cell.source]
    filled = filled or [cell for cell in named if STUB not in cell.source] or marked or named
    if not filled:
        return None, f"no cell defines {exercise.function}"
    chosen = filled[-1]
    return CALL.sub(
        "", chosen.source
    ), "" if chosen in marked else f"found by the name of its function, {exercise.function}"


def others(cells: list[Cell], chosen: str) -> list[str]:
    """The student's other code, of which an answer may use definitions."""
    return [cell.source for cell in cells if cell.kind == "code" and CALL.sub("", cell.source) != chosen]
