"""Which line of the user's function made each tensor, and what it is called there: a trace of the one call that is
recorded."""

from __future__ import annotations

import bisect
import linecache
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from ..recording import clock, is_tensor
from .steps import Place

LIBRARIES = (str(Path(__file__).parents[2]), str(Path(np.__file__).parent), "<frozen")


class Trace:
    """What is seen while a function runs: ``place(tick)`` is the line that made a tensor, ``names`` are by the id of
    tensor or array."""

    def __init__(self) -> None:
        self.places: list[tuple[int, Place | None]] = []
        self.names: dict[int, str] = {}
        self.keep: list[Any] = []  # so that ids stay those of the objects that were named
        self._stack: list[tuple[FrameType, int]] = []

    def run(self, f: Callable[[], Any]) -> Any:
        """Call ``f`` and watch the user's frames."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            return f()
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event != "call" or frame.f_code.co_filename.startswith(LIBRARIES) or frame.f_code.co_name in ("<genexpr>",):
            return None
        self._constants(frame)
        self._stack.append((frame, frame.f_lineno))
        return self._inside

    def _inside(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            self._names(frame)
            if self._stack:
                self._stack[-1] = (frame, frame.f_lineno)
            self._mark()
        elif event == "return":
            self._names(frame)
            if self._stack:
                self._stack.pop()
            self._mark()
        return self._inside

    def _mark(self) -> None:
        if self._stack:
            frame, line = self._stack[-1]
            source = linecache.getline(frame.f_code.co_filename, line).strip()
            self.places.append((clock(), Place(frame.f_code.co_filename, line, source)))
        else:
            self.places.append((clock(), None))

    def _constants(self, frame: FrameType) -> None:
        for name in frame.f_code.co_names:
            self._name(name, frame.f_globals.get(name), frame)

    def _names(self, frame: FrameType) -> None:
        for name, x in frame.f_locals.items():
            self._name(name, x, frame)

    def _name(self, name: str, x: Any, frame: FrameType) -> None:
        for key, value in _arrays(name, x):
            if id(value) not in self.names:
                self.names[id(value)] = key
                self.keep.append(value)

    def place(self, tick: int) -> tuple[Place | None, int]:
        """The line that was running at a tick, and the how-manieth run of a line it was."""
        at = bisect.bisect_left(self.places, tick, key=lambda p: p[0]) - 1
        return (self.places[at][1], at) if at >= 0 else (None, 0)


def _arrays(name: str, x: Any) -> Iterator[tuple[str, Any]]:
    if is_tensor(x) or (isinstance(x, np.ndarray) and x.ndim):
        yield name, x
    elif isinstance(x, list | tuple) and len(x) <= 64:
        for i, item in enumerate(x):
            if is_tensor(item):
                yield f"{name}[{i}]", item
    elif isinstance(x, dict) and len(x) <= 64:
        for key, item in x.items():
            if is_tensor(item):
                yield f"{name}[{key!r}]", item
