"""The process that judges: it runs the lecturer's checks, one exercise after the other, against answers that run elsewhere.

    python -I judge.py FOLDER PACKAGES        lines of JSON on standard input (a job each) and output (its verdict)

FOLDER holds what answerers may read, PACKAGES is where NumPy is installed.  Before a check sees an answer twice, it has seen the
solution twice: with the check's own random inputs, and with others, so that an answer that has learned the first by heart is found out.
"""

from __future__ import annotations

import builtins
import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]
PACKAGES = sys.argv[2:3]
sys.path += [place for place in PACKAGES if place not in sys.path]  # with -I Python leaves out a user's own

import numpy as np  # noqa: E402
import wire  # noqa: E402
from definitions import of_chapter, run  # noqa: E402
from objects import Objects  # noqa: E402

import checks  # noqa: E402
from checks.verdict import Wrong  # noqa: E402


class Gone(Exception):
    """The answerer has ended, or has said what it must not."""


TOLD = ("exercise", "chapter", "answer", "others", "function", "seconds", "megabytes")  # to the answerer, of a job
EARLIER = Path(checks.__file__).parent / "earlier.py"  # answers that later exercises build on


def ours() -> dict[str, Any]:
    """The library's answers to earlier exercises, by the names that both processes know."""
    return dict(checks.earlier.__globals__["OURS"]) if EARLIER.exists() else {}


class Shared(Objects):
    """The judge's objects; a check that stops the answer in the middle of a call stops it."""

    answerer: Answerer

    def _refer(self, thing: Any, keep: bool) -> dict[str, Any]:
        if getattr(thing, "whose", None) and callable(thing):  # what ``checks.earlier`` gives wraps one of ours
            thing = inspect.getclosurevars(thing).nonlocals.get("function", thing)
        return super()._refer(thing, keep)

    def failed(self, error: Exception) -> None:
        if isinstance(error, Wrong | Gone):
            self.answerer.kill()
            raise error


class Answerer:
    """One answer in its own process group; calling it asks there.  Use it in a ``with``, which ends the whole group."""

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self.job, self.ended, self.late = job, "", False
        self.objects = Shared(self._exchange, ours())
        self.objects.answerer = self
        environment = {
            key: os.environ[key] for key in ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if key in os.environ
        }
        environment |= {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONUTF8": "1",
            "MPLBACKEND": "Agg",
            "PATH": os.defpath,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(folder / "answerer.py"), *PACKAGES],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.timer = threading.Timer(job["seconds"], self._too_late)
        self.timer.daemon = True
        self.held: list[str] = []

    def _too_late(self) -> None:
        self.late = True
        self.kill()

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()

    def __enter__(self) -> Answerer:
        self.timer.start()
        told = {key: self.job[key] for key in TOLD}
        first = self._exchange(told | {"earlier": EARLIER.read_text(encoding="utf-8") if EARLIER.exists() else ""})
        self.held = [str(name) for name in first["held"]]  # said before the first line of the answer was run
        self.refusal = self._exchange(None).get("error")
        return self

    def __exit__(self, *exception: object) -> None:
        self.timer.cancel()
        self.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _exchange(self, message: dict[str, Any] | None) -> dict[str, Any]:
        """Say something, unless it is the other's turn anyway, and hear the next message."""
        try:
            if message is not None:
                wire.send(self.process.stdin, message)
            return wire.receive(self.process.stdout)
        except (EOFError, OSError):
            self.ended = self._obituary()
        except (wire.Unreadable, MemoryError) as error:
            self.ended = f"The answer wrote into the channel between it and the judge: {error}."
        raise Gone(self.ended)

    def _obituary(self) -> str:
        if self.late:
            return f"Your code took longer than {self.job['seconds']:g} seconds and was stopped."
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        status = self.process.returncode
        if status is not None and status < 0:
            name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
            return f"Your code's process was ended by the signal {name}."
        return f"Your code ended its process (exit status {status}) instead of returning a value."

    # What the check calls

    def __call__(self, *args: Any) -> Any:
        if self.ended:
            raise Gone(self.ended)
        if self.refusal:
            raise self._error(self.refusal)
        about = {"errstate": np.geterr(), "by hand": sys.getprofile() is not None, "measured": tracemalloc.is_tracing()}
        reply = self.objects.converse({"call": self.objects.encode(args), **about})
        if "peak" in reply:  # what the answer took there is taken here, where the check counts; the wire's own part is not
            tracemalloc.reset_peak()
            np.empty(min(int(reply["peak"]), 2**30), np.uint8)
        try:
            if "after" in reply:
                _copy_back(args, self.objects.decode(reply["after"]))
            for name, words in reply.get("warnings", []):
                kind = getattr(builtins, str(name), None)
                if isinstance(kind, type) and issubclass(kind, Warning):
                    warnings.warn_explicit(str(words), kind, "<answer>", 1)
            if "error" in reply:
                raise self._error(reply["error"])
            return self.objects.decode(reply["return"])
        except (wire.Unreadable, KeyError, AttributeError) as error:
            self.ended = f"The answer wrote into the channel between it and the judge: {error}."
            raise Gone(self.ended) from None

    @staticmethod
    def _error(told: Any) -> Exception:
        """The error that the answer met, as far as Python's own kinds go, with the line of the answer."""
        name, words, line = (str(part)[:2000] for part in (*told, "", "", "")[:3])
        if name == "Wrong":  # the answer used the library where that was watched
            return Wrong(words)
        kind: Any = getattr(builtins, name, None)
        if not (isinstance(kind, type) and issubclass(kind, Exception)) or issubclass(
            kind, OSError | UnicodeError | SyntaxError | ImportError
        ):
            kind = type(name, (Exception,), {})
        error: Exception = kind.__new__(kind)  # not every kind can be called with one text
        error.args = (words + (f", at the line `{line}`" if line else ""),)
        return error


def _copy_back(given: tuple[Any, ...], after: Any) -> None:
    """Do to the arrays what the answer says that it has done to its own, so that a check can complain; checks hand out copies."""
    if isinstance(after, tuple) and len(after) == len(given):
        for mine, theirs in zip(given, after, strict=True):
            arrays = isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray)
            if arrays and (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype):
                mine[...] = theirs


# Verdicts ----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def other_inputs(salt: int) -> Iterator[list[Any]]:
    """Checks draw their random inputs from other seeds, which nobody could know; gives the list of the seeds that were changed."""
    original, changed = np.random.default_rng, []

    def salted(seed: Any = None) -> Any:
        changed.append(seed)
        return original(
            seed if seed is None or isinstance(seed, np.random.Generator) else [salt, *np.atleast_1d(seed).tolist()]
        )

    np.random.default_rng = salted
    try:
        yield changed
    finally:
        np.random.default_rng = original


def check_of(job: dict[str, Any]) -> Callable[..., Any]:
    """The check of the exercise; of a variant, with the student's own numbers."""
    if job.get("variant") is not None:
        import variants

        return variants.check(job["exercise"], job["variant"])
    return getattr(checks, f"check_{job['exercise']}")


def solution_of(job: dict[str, Any]) -> Any:
    """The lecturer's own answer, which is trusted."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    run(of_chapter([*job["chapter"], *job["solutions"]]), namespace)
    return namespace[job["function"]]


def verdict(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Whether the answer is right, in words, and how long it took."""
    started = time.perf_counter()
    check = check_of(job)
    right, words, held = False, "", []
    try:
        with Answerer(folder, job) as remote:
            held = remote.held
            found = check(remote)
            right, words = bool(found.right) and not remote.ended, remote.ended or repr(found)
            if right and (hidden := hidden_inputs(check, job)):
                with other_inputs(hidden):
                    found = check(remote)
                if remote.ended or not found.right:
                    right, words = (
                        False,
                        f"✗ Right on the inputs of the check, not on others. {remote.ended or found.words}",
                    )
    except Gone as gone:
        words = str(gone)
    return {"right": right, "words": words[:4000], "seconds": round(time.perf_counter() - started, 2), "held": held}


def hidden_inputs(check: Callable[..., Any], job: dict[str, Any]) -> int | None:
    """A seed with which the solution passes the check; None where there is none, or nothing random in the check."""
    for _ in range(3):
        salt = int.from_bytes(os.urandom(4), "big")
        with contextlib.suppress(Exception), other_inputs(salt) as changed:
            if check(solution_of(job)).right and changed:
                return salt
    return None


def main() -> None:
    warnings.simplefilter("ignore")
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(
            resource.RLIMIT_AS, (4 * 2**30, resource.RLIM_INFINITY)
        )  # an answer's value must not fill the machine
    answers, sink = Path(sys.argv[1]).resolve(), sys.stdout
    sys.stdout = sys.stderr  # what a check prints is no verdict
    for line in sys.stdin:
        print(json.dumps(verdict(answers, json.loads(line))), file=sink, flush=True)


if __name__ == "__main__":
    main()
