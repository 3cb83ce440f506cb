"""A room for one submission: fresh copies of what its judge and its answers read, from bytes that were read before any submission.

room/checks/     the library, the checks and the judge
room/answers/    the library and the answerer: no check, no chapter, no solution
"""

from __future__ import annotations

import compileall
import contextlib
import py_compile
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("minigrad", "transformer")
JUDGE = ("judge.py", "objects.py", "wire.py", "definitions.py")
ANSWERER = ("answerer.py", "objects.py", "wire.py", "definitions.py", "sandbox.py")
Files = dict[str, bytes]


def files_below(folder: Path, pattern: str = "*.py") -> Files:
    """The files of a folder by their relative paths."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob(pattern))
        if path.is_file()
    }


class Library:
    """The lecturer's files as they were at the start.  ``changed`` says which are no longer."""

    def __init__(self, book: Path) -> None:
        self.book, self.root = book, book.parent
        shared = {
            f"{name}/{path}": content for name in PACKAGES for path, content in files_below(self.root / name).items()
        }
        kit = files_below(book / "course")
        judged = {
            f"{name}/{path}": content
            for name in ("checks", "variants")
            for path, content in files_below(book / name).items()
        }
        self.rooms = {
            "checks": _compiled({**shared, **judged, **{f"course/{name}": kit[name] for name in JUDGE}}),
            "answers": _compiled({**shared, **{name: kit[name] for name in ANSWERER}}),
        }
        self.watched = self._on_disk()

    def _on_disk(self) -> Files:
        own = {
            f"{name}/{path}": content for name in PACKAGES for path, content in files_below(self.root / name).items()
        }
        return own | {f"notebooks/{path}": content for path, content in files_below(self.book).items()}

    def changed(self) -> list[str]:
        """The lecturer's own files that differ from those at the start."""
        return differences(self.watched, self._on_disk())

    @contextlib.contextmanager
    def room(self) -> Iterator[Room]:
        """A room that is gone afterwards."""
        folder = Path(tempfile.mkdtemp(prefix="grading-"))
        try:
            room = Room(folder, self.rooms)
            room.furnish()
            yield room
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Room:
    """The copies for one submission."""

    def __init__(self, folder: Path, files: dict[str, Files]) -> None:
        self.checks, self.answers, self.files = folder / "checks", folder / "answers", files

    def furnish(self) -> None:
        """Write all files anew."""
        for name, files in self.files.items():
            place = self.checks.parent / name
            shutil.rmtree(place, ignore_errors=True)
            for path, content in files.items():
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                (place / path).write_bytes(content)

    def changed(self) -> list[str]:
        """The files that are not as they were furnished, those that were added too."""
        return [
            path
            for name, files in self.files.items()
            for path in differences(files, files_below(self.checks.parent / name, "*"))
        ]


def differences(before: Files, after: Files) -> list[str]:
    """The paths of what was changed, added or removed."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _compiled(files: Files) -> Files:
    """The same with byte code that does not look at the time of its source, so that a copy starts as quickly as the original."""
    with tempfile.TemporaryDirectory() as place:
        for path, content in files.items():
            (Path(place) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(place) / path).write_bytes(content)
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(place, quiet=2, invalidation_mode=mode, stripdir=place)
        return files_below(Path(place), "*")
