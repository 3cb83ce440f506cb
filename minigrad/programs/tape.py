"""The tape: every call on arrays that a function makes, noted line by line while it runs once as usual.

An array is known by its identity: as an argument, as the data of a Tensor that was there before (a parameter), or as the result of an
earlier line.  Whatever else a call reads is a constant.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import graph
from ..graph import Value
from ..modes import recording
from ..random import generator
from .watched import refuse, watched

_numbers = itertools.count(1)


class What(NamedTuple):
    """What is remembered of an array that may be gone."""

    shape: tuple[int, ...]
    dtype: Any
    whole: bool  # all of a block of memory, and in order
    owner: int  # the number of that block

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)


class Name:
    """An array (or whatever a kernel keeps) that a line makes, or that is given.  An array that was made may die: a recording holds none."""

    __slots__ = ("kind", "label", "of", "ref", "value", "what")

    def __init__(self, kind: str, value: Any, what: What | None = None, ref: Any = None) -> None:
        self.kind, self.ref = kind, ref  # "argument", "leaf" or "made"
        self.what: Any = what  # a What, or None for what is no array
        self.value: Any = None if ref is not None else value
        self.label: str | None = None
        self.of: Name | None = None  # what it is the gradient of

    def stands_for(self, x: Any) -> bool:
        """Whether it is the name of this very object."""
        return (self.ref() if self.ref is not None else self.value) is x


@dataclass
class Line:
    """One call: ``outs = function(*args, **kwargs)``, where names stand in args and kwargs, also inside tuples and lists."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any  # a Name, or a tuple of Names and Nones
    op: Any = None  # the op whose forward or kernel this is
    role: str = "call"  # "forward" of a primitive op, "kernel", "vjp" of a kernel, or another "call"
    effects: bool = False
    within: tuple[Any, ...] = ()  # the composed ops whose definitions it is part of, outermost first
    backward: bool = False

    def reads(self) -> Iterator[Name]:
        """The names that it reads."""
        return names_in((self.args, tuple(self.kwargs.values())))

    def makes(self) -> Iterator[Name]:
        """The names that it makes."""
        return names_in(self.out)


def names_in(tree: Any) -> Iterator[Name]:
    """The names in nested tuples and lists."""
    if isinstance(tree, Name):
        yield tree
    elif isinstance(tree, tuple | list):
        for branch in tree:
            yield from names_in(branch)
    elif isinstance(tree, slice):
        yield from names_in((tree.start, tree.stop, tree.step))


@dataclass
class Tape:
    """The lines, and the names of all arrays that they know."""

    lines: list[Line] = field(default_factory=list)
    known: dict[int, Name] = field(default_factory=dict)  # by the identity of the array
    leaves: dict[int, tuple[Any, Name]] = field(default_factory=dict)  # Tensors from before, by their identity
    modules: dict[int, Any] = field(default_factory=dict)  # those that were called, by their identity
    blocks: dict[int, int] = field(default_factory=dict)  # the numbers of blocks of memory, by the identity of the array that owns them
    draws: dict[Any, Any] = field(default_factory=dict)  # what functions with effects have returned
    backward: bool = False
    _within: tuple[Any, ...] = ()

    def give(self, kind: str, value: Any) -> Name:
        """A name for something that is there before any line."""
        name = self.known[id(value)] = Name(kind, value, self.what(value))
        return name

    def what(self, array: np.ndarray) -> What:
        """What to remember of an array."""
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        key = id(owner)
        if key not in self.blocks:
            self.blocks[key] = next(_numbers)
            weakref.finalize(owner, self.blocks.pop, key, None).atexit = False
        return What(array.shape, array.dtype, array.base is None and array.flags.c_contiguous, self.blocks[key])

    def leaf(self, t: Any) -> None:
        """Know the data of a Tensor that was there before: it is read anew at each call."""
        if id(t) not in self.leaves and id(t.data) not in self.known:
            self.leaves[id(t)] = (t, self.give("leaf", t.data))
            watched(t)

    # What the engine tells it ---------------------------------------------------------------------------------------

    def note(self, op: Any, inputs: tuple[Any, ...], arrays: list[Any], params: dict[str, Any], out: Any) -> Any:
        """The forward of a primitive op."""
        self.leaves_among(inputs)
        if id(out.data) not in self.known:  # else it handed on what it was given
            self._add(op.forward, tuple(arrays), params, out.data, op, "forward")
        return watched(out)

    def kernel(self, op: Any, inputs: tuple[Any, ...], arrays: list[Any], params: dict[str, Any], save: bool) -> tuple[Any, Any]:
        """Run the kernel of a composed op."""
        self.leaves_among(inputs)
        out, saved = op.forward(*arrays, **params, save=save)
        self._add(op.forward, tuple(arrays), params | {"save": save}, (out, saved), op, "kernel")
        return out, saved

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], op: Any = None, effects: bool = False) -> Any:
        """Run a function of arrays that is no op; its arrays and numbers become Tensors that are watched."""
        self.leaves_among(args)
        self.leaves_among(tuple(kwargs.values()))
        arrays, settings = _arrays(args), {k: _arrays(v) for k, v in kwargs.items()}
        draw = (function, self._state((arrays, tuple(settings.values())))) if effects else None
        with recording(None):  # what it calls in turn is its own matter
            result = function(*arrays, **settings)
        if draw in self.draws:  # drawn again, as a checkpoint does: the numbers of the first time
            return self.draws[draw]
        if result is None:
            self._add(function, arrays, settings, None, op, "call", effects)
            return None
        several = isinstance(result, tuple | list)
        outs = tuple(None if r is None else r if isinstance(r, np.ndarray) else np.asarray(r) for r in (result if several else (result,)))
        self._add(function, arrays, settings, outs if several else outs[0], op, "vjp" if op else "call", effects)
        found = tuple(None if r is None else watched(graph.wrap(r)) for r in outs)
        if draw is not None:
            self.draws[draw] = found if several else found[0]
        return found if several else found[0]

    @staticmethod
    def _state(given: Any) -> str:
        """What a draw depends on: the states of the generators, and all else that is given."""
        generators = [generator(), *(x for branch in given for x in branch if isinstance(x, np.random.Generator))]
        return repr(([g.bit_generator.state for g in generators], given))

    @staticmethod
    def refuse(what: str) -> None:
        """Raise Refused."""
        refuse(what)

    def marking(self, kept: dict[int, Any], order: list[Any]) -> dict[int, Any]:
        """``kept`` for a walk that also notes of which result each gradient is."""
        names = {id(t): self.known.get(id(t.data)) for t in order}
        return Marks(self, kept, {key: name for key, name in names.items() if name is not None})

    @staticmethod
    def watched(t: Any) -> Any:
        """A result whose numbers nobody reads unnoticed."""
        return watched(t)

    @contextmanager
    def within(self, op: Any, inputs: Any = ()) -> Iterator[None]:
        """What is noted here is part of the definition of a composed op."""
        before, self._within = self._within, (*self._within, op)
        try:
            yield
        finally:
            self._within = before

    def leaves_among(self, inputs: Any) -> None:
        for x in inputs:
            if isinstance(x, Value):
                self.leaf(x)
            elif isinstance(x, tuple | list):
                self.leaves_among(x)

    def _add(self, function: Any, args: Any, kwargs: Any, out: Any, op: Any, role: str, effects: bool = False) -> None:
        number = len(self.lines)
        line = Line(
            function, self.named(args), {k: self.named(v) for k, v in kwargs.items()}, None, op, role, effects, self._within, self.backward
        )
        line.out = self._made(out, number)
        self.lines.append(line)

    def _made(self, out: Any, number: int) -> Any:
        if isinstance(out, tuple) and not hasattr(out, "_fields"):
            return tuple(self._made(x, number) for x in out)
        if out is None or isinstance(out, bool | int | float):
            return None
        key = id(out)
        name = self.known.get(key)
        if name is None or not name.stands_for(out):
            if isinstance(out, np.ndarray):
                known = self.known
                name = Name("made", out, self.what(out), weakref.ref(out, lambda _: known.pop(key, None)))
            else:
                name = Name("made", out)
            self.known[key] = name
        return name

    def named(self, tree: Any) -> Any:
        """The same with names in the place of known arrays."""
        name = self.known.get(id(tree))
        if name is not None and name.stands_for(tree):
            return name
        if isinstance(tree, tuple | list):
            branches = [self.named(x) for x in tree]
            return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
        if isinstance(tree, slice):
            return slice(self.named(tree.start), self.named(tree.stop), self.named(tree.step))
        return tree


def _arrays(tree: Any) -> Any:
    if isinstance(tree, Value):
        return tree.data
    if isinstance(tree, tuple | list) and not hasattr(tree, "_fields"):
        branches = [_arrays(x) for x in tree]
        return tree if all(a is b for a, b in zip(tree, branches)) else type(tree)(branches)  # known by its identity
    return tree


class Marks(dict[int, Any]):
    """What a walk keeps; it is asked for every result, and notes the name of its gradient, but holds only what it was asked for."""

    def __init__(self, tape: Tape, kept: dict[int, Any], names: dict[int, Name]) -> None:
        super().__init__(kept)
        self.tape, self.names, self.wanted = tape, names, set(kept)

    def __contains__(self, key: object) -> bool:
        return key in self.names or key in self.wanted

    def __setitem__(self, key: int, g: Any) -> None:
        name = self.tape.known.get(id(g.data)) if isinstance(g, Value) else None
        if name is not None and name.kind == "made" and name.of is None and key in self.names:
            name.of = self.names[key]
        if key in self.wanted:
            super().__setitem__(key, g)
