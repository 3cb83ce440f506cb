"""Grade what was handed in: every exercise of every submission, each judged by processes of its own, in a fresh room."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .chapters import Chapter, Exercise
from .room import Library, Room
from .submissions import Cell, Submission, answer, others, read

PATIENCE = 60  # seconds that the judge itself may take, besides the answer's


@dataclass(frozen=True)
class Limits:
    """What one answer may use: seconds, by the clock, and megabytes of address space."""

    seconds: float = 20.0
    megabytes: int = 2000


@dataclass(frozen=True)
class Result:
    """One line of results.csv."""

    student: str
    chapter: str
    exercise: str
    title: str
    points: int
    of: int
    seconds: float
    remark: str
    words: str


class Judge:
    """The judge's process, started again when it does not answer."""

    def __init__(self, room: Room, limits: Limits) -> None:
        self.room, self.limits = room, limits
        self.process: subprocess.Popen[str] | None = None
        self.log = room.checks.parent / "judge.txt"

    def verdict(self, job: dict[str, Any]) -> dict[str, Any]:
        """What the judge says of one exercise; that it is wrong, when it says nothing in time."""
        process = self.process = self.process or self._start()
        late = threading.Timer(self.limits.seconds + PATIENCE, self._kill)
        late.start()
        try:
            process.stdin.write(json.dumps(job) + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            line = process.stdout.readline()  # type: ignore[union-attr]
            if line.endswith("\n"):
                return json.loads(line)
        except OSError:
            pass
        finally:
            late.cancel()
        self.close()
        return {
            "right": False,
            "words": "Your answer's value could not be judged in time.",
            "seconds": self.limits.seconds,
            "held": [],
        }

    def _start(self) -> subprocess.Popen[str]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}
        command = [sys.executable, "-I", "-B", str(self.room.checks / "course" / "judge.py"), str(self.room.answers)]
        command.append(str(Path(np.__file__).parent.parent))
        with self.log.open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self.room.checks,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )

    def _kill(self) -> None:
        if self.process:
            with contextlib.suppress(OSError):
                if hasattr(os, "killpg"):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.kill()

    def close(self) -> None:
        """End the process and its group."""
        self._kill()
        if self.process:
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
        self.process = None


def try_out(library: Library, chapters: list[Chapter], limits: Limits) -> None:
    """Judge the lecturer's own solution of a chapter's first exercise, so that a judge that cannot work here costs no student points.

    Raises RuntimeError with what it said.
    """
    with library.room() as room:
        judge = Judge(room, limits)
        try:
            for chapter in chapters:
                first = chapter.exercises[0]
                found = judge.verdict(job_of(chapter, first, first.solution, [], limits))
                if not found["right"]:
                    said = judge.log.read_text(encoding="utf-8", errors="replace").strip()[-500:]
                    words = f"the solution of {first.name} is not found right here, so nothing is graded"
                    raise RuntimeError(f"{words}: {found['words']} {said}")
        finally:
            judge.close()


def grade(
    submission: Submission, chapters: list[Chapter], library: Library, limits: Limits, variants: dict[str, dict[str, Any]] | None = None,
    held: Callable[[list[str]], None] = lambda names: None, handed_in: dict[str, list[Cell]] | None = None,
) -> Iterator[Result]:  # fmt: skip
    """The results of a student, exercise by exercise.

    ``variants`` has the student's own numbers, ``handed_in`` the cells of chapters that are not to be read from files; ``held`` is told what
    confined the answers.
    """
    with library.room() as room:
        judge = Judge(room, limits)
        try:
            for chapter in chapters:
                cells, why = (handed_in[chapter.stem], "") if handed_in else _cells(submission, chapter)
                for exercise in chapter.exercises:
                    code, remark = answer(cells, exercise) if cells is not None else (None, why)
                    if code is None:
                        yield Result(
                            submission.student,
                            chapter.stem,
                            exercise.name,
                            exercise.title,
                            0,
                            exercise.points,
                            0.0,
                            remark,
                            "",
                        )
                        continue
                    job = job_of(
                        chapter, exercise, code, others(cells or [], code), limits, (variants or {}).get(exercise.name)
                    )
                    found = judge.verdict(job)
                    held(found["held"])
                    if touched := room.changed():
                        found |= {
                            "right": False,
                            "words": f"Your code changed files of the library: {', '.join(touched[:5])}.",
                        }
                        remark = "changed files of the library"
                        judge.close()
                        room.furnish()
                    points = exercise.points if found["right"] else 0
                    words = " ".join(found["words"].split())
                    remark = "; ".join(filter(None, [remark] if points else [submission.note, remark, words]))
                    yield Result(
                        submission.student, chapter.stem, exercise.name, exercise.title, points, exercise.points, found["seconds"],
                        remark if len(remark) <= 200 else remark[:199] + "…", found["words"],
                    )  # fmt: skip
        finally:
            judge.close()


def _cells(submission: Submission, chapter: Chapter) -> tuple[list[Cell] | None, str]:
    path = submission.notebooks.get(chapter.stem)
    if path is None:
        return None, "; ".join(submission.remarks) or "no notebook of this chapter"
    try:
        return read(path), ""
    except (ValueError, OSError) as error:
        return None, str(error)


def job_of(
    chapter: Chapter,
    exercise: Exercise,
    code: str,
    elsewhere: list[str],
    limits: Limits,
    variant: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What the judge is told of an exercise."""
    return {
        "exercise": exercise.name, "function": exercise.function, "variant": variant, "chapter": list(chapter.code),
        "solutions": [one.solution for one in chapter.exercises], "answer": code, "others": elsewhere,
        "seconds": limits.seconds, "megabytes": limits.megabytes,
    }  # fmt: skip
