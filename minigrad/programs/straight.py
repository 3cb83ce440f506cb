"""From a tape to a straight line of Python: the calls that matter, freed as they are used up, into buffers that are free."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..numerics import ones
from .tape import Line, Name, names_in

SIMPLE = (bool, int, float, str, type(None), type(Ellipsis))


def needed(lines: list[Line], wanted: Iterable[Name]) -> list[Line]:
    """The lines on which the wanted names depend, and those with effects."""
    live, kept = set(wanted), []
    for line in reversed(lines):
        if line.effects or any(name in live for name in line.makes()):
            live.update(line.reads())
            kept.append(line)
    return kept[::-1]


class Straight:
    """The text of a function ``run(arguments, leaves, buffers)`` and the objects that it names."""

    def __init__(self, lines: list[Line], arguments: list[Name], leaves: list[Name], results: list[Name], reuse: bool = True) -> None:
        self.lines, self.results, self.reuse = lines, results, reuse
        self.globals: dict[str, Any] = {"np": np}
        self.local: dict[Name, str] = {}
        self.buffers: list[tuple[tuple[int, ...], Any]] = []  # shapes and dtypes of the arrays that results are written into
        given = [self._declare("arguments", arguments), self._declare("leaves", leaves)]
        body = [*given, *self._body(lines, [*arguments, *leaves])]
        body.append(f"return ({''.join(self.local[r] + ', ' for r in results)})")
        self.text = "def run(arguments, leaves, buffers):\n" + "".join(f"    {line}\n" for line in body if line)
        exec(compile(self.text, "<program>", "exec"), self.globals)  # the text is made from the lines above, of known functions
        self.run: Callable[..., tuple[Any, ...]] = self.globals["run"]

    def forget(self) -> None:
        """Keep the function only."""
        self.lines, self.local = [], {}

    def _declare(self, what: str, names: list[Name]) -> str:
        for i, name in enumerate(names):
            self.local[name] = f"{what[0]}{i}"
        return f"{''.join(self.local[n] + ', ' for n in names)} = {what}" if names else ""

    def _body(self, lines: list[Line], given: list[Name]) -> list[str]:
        last = {name: number for number, line in enumerate(lines) for name in (*line.makes(), *line.reads())}
        forever = {*self.results, *given}
        memory = Memory(lines, last, forever)
        body: list[str] = []
        for number, line in enumerate(lines):
            target = memory.target(number, line) if self.reuse else None
            for name in line.makes():
                self.local.setdefault(name, f"v{len(self.local)}")
            body.append(f"{self._outs(line.out)} = {self._call(line, target)}")
            dead = {name for name in (*line.makes(), *line.reads()) if last[name] == number and name not in forever}
            if dead:
                body.append("del " + ", ".join(sorted(self.local[name] for name in dead)))
        self.buffers = memory.buffers
        declared = "".join(f"b{i}, " for i in range(len(self.buffers)))
        return [f"{declared} = buffers" if declared else "", *body]

    def _outs(self, out: Any) -> str:
        if isinstance(out, tuple):
            return f"({''.join(self._outs(x) + ', ' for x in out)})" if out else "_"
        return "_" if out is None else self.local[out]

    def _call(self, line: Line, target: Any) -> str:
        args = [self.render(a) for a in line.args]
        ufunc = ufunc_of(line)
        if ufunc is not None:
            into = [] if target is None else [target if isinstance(target, str) else self.local[target]]
            if into and ufunc in (np.maximum, np.minimum):  # a third argument would look like one more to compare
                into[0] = f"out={into[0]}"
            return f"{self._bound(ufunc)}({', '.join([*args, *into])})"
        direct = self._direct(line, args)
        if direct is not None:
            return direct
        args += [f"{k}={self.render(v)}" for k, v in line.kwargs.items()]
        return f"{self._bound(line.function)}({', '.join(args)})"

    def _direct(self, line: Line, args: list[str]) -> str | None:
        """What an op or a kernel comes to for the shapes at hand, where that is one expression: the same numbers for fewer calls."""
        name, p = line.op.name if line.op is not None and line.op.builtin else "", line.kwargs  # a user's op may have the name of ours
        if name in ("reshape", "swapaxes") and isinstance(line.args[0], Name):
            return f"{args[0]}.{name}({', '.join(self.render(v) for v in p.values())})"
        if not line.args or not isinstance(line.args[0], Name):
            return None
        if name == "sum_to" and (shape := p["shape"]) and (x := line.args[0].what).ndim > len(shape) and x.size and x.dtype.kind == "f":
            n = x.size // math.prod(shape)
            if x.shape[-len(shape) :] == shape:  # as the op does it
                return f"{self._bound(ones(n, x.dtype))}.dot({args[0]}.reshape({(n, x.size // n)})).reshape({shape})"
        if name == "put" and type(p["index"]) is slice and (shape := line.args[0].what.shape) == p["shape"] and p["index"] == slice(0, shape[0]):
            return f"{args[0]}.copy()"  # all of it
        if line.role != "kernel":
            return None
        x, out = line.args[0].what, line.out[0].what
        if name == "linear" and sys.platform != "emscripten" and out.size <= 1 << 15:  # of a larger one, the kernel adds the bias in place
            rows = f"{args[0]}.reshape({x.size if x.size == x.shape[-1] else (x.size // x.shape[-1], x.shape[-1])})"
            product = f"{rows}.dot({args[1]})" + ("" if args[2] == "None" else f" + {args[2]}")
            return f"(({product}).reshape({out.shape}), None)"
        if p["save"]:
            return None
        if name in ("split_heads", "join_heads") and x.shape[-2] == 1:  # of one token: nothing changes places
            return f"({args[0]}.reshape({out.shape}), None)"
        return None

    def render(self, tree: Any) -> str:
        """An argument as Python text; what has no text is bound to a name."""
        if isinstance(tree, Name):
            return self.local[tree]
        if isinstance(tree, float) and not math.isfinite(tree):
            return self._bound(tree)
        if type(tree) in SIMPLE:
            return "..." if tree is ... else repr(tree)
        if type(tree) is tuple and any(True for _ in names_in(tree)):
            return f"({''.join(self.render(x) + ', ' for x in tree)})"
        if type(tree) is list and any(True for _ in names_in(tree)):
            return f"[{', '.join(map(self.render, tree))}]"
        if isinstance(tree, slice):
            return f"slice({self.render(tree.start)}, {self.render(tree.stop)}, {self.render(tree.step)})"
        return self._bound(tree)

    def _bound(self, value: Any) -> str:
        for name, known in self.globals.items():
            if known is value:
                return name
        name = f"c{len(self.globals)}"
        self.globals[name] = value
        return name


def ufunc_of(line: Line) -> np.ufunc | None:
    """The NumPy ufunc that a primitive op is, if it is one."""
    if line.role != "forward" or line.kwargs:
        return None
    ufunc = line.op.ufunc
    return ufunc if ufunc is not None and ufunc.nin == len(line.args) else None


class Memory:
    """Which lines write into memory that is free: a buffer of the program, or an array that dies in that line."""

    def __init__(self, lines: list[Line], last: dict[Name, int], forever: set[Name]) -> None:
        self.buffers: list[tuple[tuple[int, ...], Any]] = []
        self.free: dict[Any, list[int]] = {}  # buffers by shape and dtype
        # names that share memory have one group; None: it cannot be told
        self.group: dict[Name, int | None] = {name: None if name.what is None else name.what.owner for name in last}
        blind = {  # such a thing may hold what it was made from, and what was made with it
            name for line in lines if any(self.group[m] is None for m in line.makes()) for name in (*line.reads(), *line.makes())
        }
        self.fixed = {self.group[name] for name in {*forever, *blind} if name in self.group} | {None}
        self.death: dict[Any, int] = {}
        for name, number in last.items():
            g = self.group[name]
            self.death[g] = max(self.death.get(g, -1), number)
        self.held: dict[Any, int] = {}  # which buffer a group has

    def target(self, number: int, line: Line) -> Any:
        """Where the line writes: a name, the name of a buffer, or None for new memory."""
        out = line.out
        place: Any = None
        if ufunc_of(line) is not None and self._owns(out) and out.what.size > 1:
            shape = (out.what.shape, out.what.dtype)
            dying = [n for n in line.reads() if self._dies(n, number) and self._owns(n) and (n.what.shape, n.what.dtype) == shape]
            if dying and self._alone(line, dying[0]):
                g, h = self.group[dying[0]], self.group[out]
                if g in self.held:
                    self.held[h] = self.held.pop(g)
                place = dying[0]
            else:
                if not self.free.get(shape):
                    self.buffers.append(shape)
                    self.free.setdefault(shape, []).append(len(self.buffers) - 1)
                self.held[self.group[out]] = self.free[shape].pop()
                place = f"b{self.held[self.group[out]]}"
        for g in {self.group[n] for n in (*line.makes(), *line.reads())}:
            if self.death.get(g) == number and g in self.held:
                i = self.held.pop(g)
                self.free[self.buffers[i]].append(i)
        return place

    def _owns(self, name: Any) -> bool:
        """Whether the name stands for a whole block of memory that the program made and nobody else keeps."""
        return (
            isinstance(name, Name)
            and name.kind == "made"
            and name.what is not None
            and name.what.whole
            and name.what.ndim > 0
            and self.group[name] not in self.fixed
        )

    def _dies(self, name: Name, number: int) -> bool:
        return name.kind == "made" and self.death[self.group[name]] == number

    def _alone(self, line: Line, name: Name) -> bool:
        """Whether the line reads this block of memory under this one name only."""
        return all(n is name or self.group[n] != self.group[name] for n in line.reads())
