"""The process that runs one answer: it is told the code and the inputs, and says values.  It knows no check and no verdict.

python -I answerer.py PACKAGES        frames on standard input and output (wire.py); the first one is the job
"""

from __future__ import annotations

import os
import sys
import traceback
import tracemalloc
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]
sys.path += [place for place in sys.argv[1:2] if place not in sys.path]

import numpy as np  # noqa: E402
import sandbox  # noqa: E402
import wire  # noqa: E402
from definitions import NAME, prepare  # noqa: E402
from objects import Objects  # noqa: E402

LIBRARIES = {"minigrad", "transformer", "autograd", "jax"}

import minigrad  # noqa: E402, F401


class Anything(types.ModuleType):
    """Stands for ``checks`` and ``book`` while a notebook's first cell imports them: there is nothing to check or to draw here."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


# Answering ---------------------------------------------------------------------------------------------------------------


def told(error: BaseException, source: str) -> list[str]:
    """Kind and words of an error, and the line of the answer where it came up."""
    if isinstance(error, SyntaxError):
        return [type(error).__name__, f"{error.msg} (line {error.lineno})", (error.text or "").strip()[:200]]
    lines = source.splitlines()
    at = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == NAME and frame.lineno
    ]
    line = lines[at[0] - 1].strip() if at and 0 < at[0] <= len(lines) else ""
    return [type(error).__name__, str(error)[:2000], line[:200]]


class Wrong(Exception):
    """What a check would say of an answer that uses the library."""


@contextmanager
def by_hand(wanted: bool) -> Iterator[None]:
    """Inside, if that is wanted, a call of the library's functions raises Wrong, as it does where checks run beside the answer."""

    def watch(frame: Any, event: str, argument: Any) -> None:
        name = frame.f_code.co_name
        if event != "call" or name.startswith("__") or name == "<module>":
            return
        if library := LIBRARIES.intersection(frame.f_code.co_filename.replace("\\", "/").split("/")):
            sys.setprofile(None)
            raise Wrong(
                f"Your function lets the library do the work: it calls `{name}` of {min(library)}. "
                "Write it with NumPy alone; the check compares it with the library afterwards."
            )

    sys.setprofile(watch if wanted else None)
    try:
        yield
    finally:
        sys.setprofile(None)


def answer(function: Any, objects: Objects, request: dict[str, Any], source: str) -> dict[str, Any]:
    """Call the student's function once: its value and its warnings, or its error; the inputs, if it has changed them; its memory."""
    args = objects.decode(request["call"])
    reply: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as heard, np.errstate(**request["errstate"]):
        warnings.simplefilter("always")
        if request["measured"]:
            tracemalloc.start()
        try:
            with by_hand(request["by hand"]):
                value = function(*args)
            reply |= {"peak": tracemalloc.get_traced_memory()[1]} if request["measured"] else {}
            reply["return"] = objects.encode(value, keep=False)
        except Exception as error:
            reply["error"] = told(error, source)
        tracemalloc.stop()
    reply["warnings"] = [[w.category.__name__, str(w.message)[:500]] for w in heard[:20]]
    after = objects.encode(args)
    return reply | ({"after": after} if after != request["call"] else {})


def provide(job: dict[str, Any]) -> dict[str, Any]:
    """What stands for ``checks`` and ``book``: nothing to check, nothing to draw; of ``checks`` what later exercises build on, by name."""
    for name in ("checks", "book"):
        sys.modules[name] = Anything(name)
    if not job["earlier"]:
        return {}
    module = types.ModuleType("earlier")
    module.__file__ = str(HERE / "earlier.py")
    exec(compile(job["earlier"], module.__file__, "exec"), module.__dict__)
    named = dict(module.OURS)
    offered = {name: function for name, function in named.items() if name != job["exercise"]}
    sys.modules["checks"].__dict__.update(graph=module.graph, earlier=offered.__getitem__)
    return named


def main() -> None:
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what the answer prints goes nowhere, and what it reads is empty
        os.dup2(nothing, stream)

    def exchange(message: dict[str, Any]) -> dict[str, Any]:
        wire.send(sink, message)
        return wire.receive(source)

    job = wire.receive(source)
    objects = Objects(exchange, provide(job))
    import transformer  # noqa: F401  (while its files can be read)

    sys.setrecursionlimit = lambda limit: None  # "without recursion" is part of some tasks
    wire.send(sink, {"held": sandbox.confine([HERE, *sandbox.python_paths()], job["seconds"], job["megabytes"])})
    try:
        function = prepare(job, {"__name__": "__main__"})
    except Exception as error:
        wire.send(sink, {"error": told(error, job["answer"])})
        return
    wire.send(sink, {})
    serve(function, objects, source, sink, job["answer"])


def serve(function: Any, objects: Objects, source: BinaryIO, sink: BinaryIO, code: str) -> None:
    """Answer the judge until it hangs up."""
    while True:
        try:
            request = wire.receive(source)
        except EOFError:
            return
        try:
            wire.send(sink, answer(function, objects, request, code))
        except (wire.Unreadable, MemoryError, RecursionError) as error:
            wire.send(sink, {"error": told(error, ""), "warnings": []})


if __name__ == "__main__":
    main()
