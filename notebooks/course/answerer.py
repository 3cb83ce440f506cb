"""The process that runs one answer: it is told the code and the inputs, and says values.  It knows no check and no verdict.

python -I answerer.py PACKAGES        frames on standard input and output (wire.py); the first one is the job
"""

from __future__ import annotations

import builtins
import os
import sys
import traceback
import types
import warnings
from pathlib import Path
from typing import Any, BinaryIO

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]
sys.path += [place for place in sys.argv[1:2] if place not in sys.path]

import numpy as np  # noqa: E402
import sandbox  # noqa: E402
import wire  # noqa: E402
from definitions import NAME, prepare  # noqa: E402

import minigrad  # noqa: E402, F401


class Anything(types.ModuleType):
    """Stands for ``checks`` and ``book`` while a notebook's first cell imports them: there is nothing to check or to draw here."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


class Remote:
    """An object that stays with the judge: calling it, or reading an attribute, asks there."""

    def __init__(self, line: Line, number: int) -> None:
        self.__dict__.update(_line=line, _number=number)

    def __call__(self, *args: Any) -> Any:
        return self._line.ask({"callback": self._number, "args": self._line.encode(args)})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._line.ask({"attribute": name, "of": self._number})


class Line:
    """The pipes to the judge, and the objects that are known on both sides."""

    def __init__(self, pipes: tuple[BinaryIO, BinaryIO]) -> None:
        self.source, self.sink = pipes
        self.remotes: dict[int, Remote] = {}

    def encode(self, value: Any) -> Any:
        def refer(thing: Any) -> int:
            if type(thing) is Remote:
                return int(thing.__dict__["_number"])
            raise TypeError(
                f"a check cannot read an object of type {type(thing).__name__}; return numbers, texts, arrays or lists of them"
            )

        return wire.encode(value, refer)

    def decode(self, data: Any) -> Any:
        return wire.decode(data, lambda number: self.remotes.setdefault(number, Remote(self, number)))

    def ask(self, question: dict[str, Any]) -> Any:
        wire.send(self.sink, question)
        reply = wire.receive(self.source)
        if "raise" in reply:
            kind = getattr(builtins, reply["raise"][0], None)
            raise (kind if isinstance(kind, type) and issubclass(kind, Exception) else RuntimeError)(reply["raise"][1])
        return self.decode(reply["value"])


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


def answer(function: Any, line: Line, request: dict[str, Any], source: str) -> dict[str, Any]:
    """Call the student's function once: its value and its warnings, or its error; and the inputs, if it has changed them."""
    args = line.decode(request["call"])
    reply: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as heard, np.errstate(**request["errstate"]):
        warnings.simplefilter("always")
        try:
            reply["return"] = line.encode(function(*args))
        except Exception as error:
            reply["error"] = told(error, source)
    reply["warnings"] = [[w.category.__name__, str(w.message)[:500]] for w in heard[:20]]
    after = line.encode(args)
    return reply | ({"after": after} if after != request["call"] else {})


def main() -> None:
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what the answer prints goes nowhere, and what it reads is empty
        os.dup2(nothing, stream)
    line = Line((source, sink))
    job = wire.receive(source)
    for name in ("checks", "book"):
        sys.modules[name] = Anything(name)
    import transformer  # noqa: F401  (while its files can be read)

    wire.send(sink, {"held": sandbox.confine([HERE, *sandbox.python_paths()], job["seconds"], job["megabytes"])})
    try:
        function = prepare(job, {"__name__": "__main__"})
    except Exception as error:
        wire.send(sink, {"error": told(error, job["answer"])})
        return
    wire.send(sink, {})
    while True:
        try:
            request = wire.receive(source)
        except EOFError:
            return
        try:
            reply = answer(function, line, request, job["answer"])
            wire.send(sink, reply)
        except (wire.Unreadable, MemoryError, RecursionError) as error:
            wire.send(sink, {"error": told(error, ""), "warnings": []})


if __name__ == "__main__":
    main()
