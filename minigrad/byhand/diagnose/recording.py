"""What ``diagnose`` is asked: a function at its inputs, in whichever form they were given, recorded once; the gradients
that are claimed; and which line of the user's function made each tensor.

It has more than 300 lines because inputs and claims come in many forms, and each is checked with words of its own.
"""

from __future__ import annotations

import bisect
import inspect
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from ...modes import enable_grad, no_grad
from ...random import generator
from ...tensor import Tensor
from ..differences import CUT, Line, arity, as_float64, binds, slope, takes
from ..recording import clock, is_tensor
from .program import Place, Program

LIBRARIES = (str(Path(__file__).parents[2]), str(Path(np.__file__).parent), "<frozen")


class Trace:
    """What is seen while a function runs: ``place(tick)`` is the line that made a tensor, ``names`` are by the id of
    tensor or array."""

    def __init__(self) -> None:
        self.places: list[tuple[int, Place | None]] = []
        self.names: dict[int, str] = {}
        self.scalars: dict[str, float] = {}  # numbers by name; not a number where the name had several
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
        for name in frame.f_code.co_names:
            self._name(name, frame.f_globals.get(name))
        self._stack.append((frame, frame.f_lineno))
        return self._inside

    def _inside(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event in ("line", "return"):
            for name, x in frame.f_locals.items():
                self._name(name, x)
            if self._stack:
                self._stack.pop()
                if event == "line":
                    self._stack.append((frame, frame.f_lineno))
            self._mark()
        return self._inside

    def _mark(self) -> None:
        if self._stack:
            frame, line = self._stack[-1]
            source = linecache.getline(frame.f_code.co_filename, line).strip()
            self.places.append((clock(), Place(frame.f_code.co_filename, line, source)))
        else:
            self.places.append((clock(), None))

    def _name(self, name: str, x: Any) -> None:
        if isinstance(x, int | float | np.number) and not isinstance(x, bool):
            value = float(x) if not isinstance(x, np.complexfloating) else float("nan")
            self.scalars[name] = value if self.scalars.get(name, value) == value else float("nan")
            return
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


# The question ----------------------------------------------------------------------------------------------------------


class Question:
    """The function at its inputs: recorded once, and called again for differences."""

    def __init__(self, f: Callable[..., Any], inputs: Any, upstream: Any, names: list[str] | None) -> None:
        self.f = f
        self.keys: list[str] | None = list(inputs) if isinstance(inputs, Mapping) else None
        alone = not isinstance(inputs, Mapping | list | tuple) or (
            isinstance(inputs, list) and _is_data(inputs) and arity(f) == 1
        )
        given = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs] if alone else list(inputs)
        if any(isinstance(x, Mapping | list | tuple) for x in given if not _is_data(x)):
            raise TypeError("diagnose: nested inputs; give one array, a flat list or tuple, or a flat dict of arrays")
        self.as_tree = self.keys is not None and not takes(f, self.keys)
        self.arrays = [as_float64(np.asarray(x) if isinstance(x, list | tuple) else x, "diagnose") for x in given]
        self.which = [i for i, x in enumerate(self.arrays) if x.dtype.kind == "f"]
        if not self.which:
            raise TypeError(
                "diagnose: no floating-point input to differentiate with respect to; got"
                f" {[str(x.dtype) for x in self.arrays]}. Write 2.0 for 2, or x.astype(float)"
            )
        if self.keys is None and not binds(f, len(given)):
            raise TypeError(
                f"diagnose: the function takes {arity(f)} arguments, but {len(given)} inputs are given; give them as a"
                " list or a tuple"
            )
        self.names = self._named(names, given)
        self.state = generator().bit_generator.state
        variables = [
            Tensor(x, requires_grad=True, name=self.names[i]) if i in self.which else x
            for i, x in enumerate(self.arrays)]
        self.trace = Trace()
        with enable_grad(), np.errstate(all="ignore"):
            output = self.trace.run(lambda: self.call(variables))
        if not output.requires_grad:
            raise TypeError(f"diagnose: {CUT}")
        if not np.isfinite(output.data).all():
            raise ValueError(
                f"diagnose: the function gives {output.data if output.size == 1 else 'nan or infinity'} at these inputs"
                " (an overflow, a division by zero or a logarithm of zero), so it has no gradient there; try smaller"
                " inputs, or away from the edge of its domain"
            )
        if upstream is None and output.size != 1:
            raise ValueError(
                f"diagnose: the function returns shape {output.shape}, so its gradient needs an upstream gradient: "
                "pass upstream=array of that shape, or reduce to a scalar (a loss)"
            )
        self.upstream = (
            np.ones(output.shape) if upstream is None else np.array(getattr(upstream, "data", upstream), np.float64)
        )
        if self.upstream.shape != output.shape:
            raise ValueError(
                f"diagnose: the upstream gradient has shape {self.upstream.shape}; expected {output.shape}, the shape"
                " of the output"
            )
        names_of = {**self.trace.names, **{id(variables[i]): self.names[i] for i in self.which}}
        with np.errstate(all="ignore"):
            wanted = [variables[i] for i in self.which]
            self.program = Program(output, self.upstream.astype(output.dtype), wanted, self.trace.place, names_of)
            self.program.scalars = {k: v for k, v in self.trace.scalars.items() if v == v}
        self.output_shape = output.shape
        self.variable_names = [self.names[i] for i in self.which]

    def _named(self, names: list[str] | None, given: list[Any]) -> list[str]:
        if names is not None and len(names) not in (len(given), len(self.which)):
            raise ValueError(
                f"diagnose: {len(names)} names for {len(given)} inputs; give one for each, or a dict of inputs by name"
            )
        if names is not None and len(names) == len(given):
            return list(names)
        if names is not None:
            found = [f"x{i}" for i in range(len(given))]
            for i, name in zip(self.which, names, strict=True):
                found[i] = name
            return found
        own = self.keys or _argument_names(self.f, len(given))
        return [getattr(x, "name", None) or own[i] if isinstance(x, Tensor) else own[i] for i, x in enumerate(given)]

    def call(self, values: list[Any]) -> Tensor:
        """``f`` in the form in which its inputs were given, with the same draws of the random generator each time."""
        before = generator().bit_generator.state
        generator().bit_generator.state = self.state
        try:
            output = self.shaped(self.f, values)
        finally:
            generator().bit_generator.state = before
        if not isinstance(output, Tensor):
            raise TypeError(
                f"diagnose: the function must return one Tensor, got {type(output).__name__}; .data or float() loses"
                " the gradient"
            )
        return output

    def shaped(self, function: Callable[..., Any], values: list[Any]) -> Any:
        """A call with one array, with positions, with keywords or with a dict."""
        if self.keys is None:
            return function(*values)
        arguments = dict(zip(self.keys, values, strict=True))
        return function(arguments) if self.as_tree else function(**arguments)

    def match(self, claimed: Any, arrays: list[np.ndarray] | None = None) -> dict[int, np.ndarray]:
        """The claimed arrays by the number of their variable; ValueError when they do not belong to the inputs."""
        if is_function(claimed):
            claimed = self.shaped(claimed, [np.array(x) for x in arrays or self.arrays])
        n = len(self.which)
        if isinstance(claimed, Mapping):
            unknown = [name for name in claimed if name not in self.variable_names]
            if unknown:
                raise ValueError(
                    f"diagnose: claimed a gradient of {unknown[0]!r}; the inputs are {', '.join(self.variable_names)}"
                )
            pairs = [(self.variable_names.index(name), value) for name, value in claimed.items()]
        elif n == 1 and not self.listed(claimed):
            pairs = [(0, claimed)]
        elif not isinstance(claimed, list | tuple):
            raise ValueError(
                f"diagnose: {n} inputs ({', '.join(self.variable_names)}) need {n} claimed gradients, as a list or a"
                " dict by name"
            )
        elif len(claimed) == n:
            pairs = list(enumerate(claimed))
        elif len(claimed) == len(self.arrays):
            pairs = [(self.which.index(i), value) for i, value in enumerate(claimed) if i in self.which]
        else:
            raise ValueError(
                f"diagnose: {len(claimed)} claimed gradients for {n} inputs ({', '.join(self.variable_names)}); None"
                " leaves one out"
            )
        found = {i: _as_claim(value, self.variable_names[i]) for i, value in pairs if value is not None}
        if not found:
            raise ValueError("diagnose: no gradient is claimed")
        return found

    def listed(self, claimed: Any) -> bool:
        """Whether a claim for the one variable is given in a list, and is not itself a list of numbers."""
        if not isinstance(claimed, list | tuple):
            return False
        if len(claimed) == len(self.arrays) > 1:
            return all(claimed[i] is None for i in range(len(claimed)) if i not in self.which)
        return len(claimed) == 1 and np.ndim(claimed[0]) == self.program.gradient(0).ndim

    def along(self, values: list[np.ndarray], i: int, direction: np.ndarray, size: float) -> Line:
        """The outputs along one direction of variable ``i``, through ``values``."""
        k = self.which[i]

        def outputs(step: float) -> np.ndarray:
            moved = list(values)
            moved[k] = moved[k] + step * direction
            with no_grad(), np.errstate(all="ignore"):
                return self.call([Tensor(v) if j in self.which else v for j, v in enumerate(moved)]).data.ravel()

        return Line(outputs, outputs(0.0), self.upstream.ravel(), size, float(np.finfo(np.float64).eps))

    def difference(self, i: int, where: tuple[int, ...]) -> float:
        """The derivative with respect to one entry, by central differences: who is right?"""
        x = self.arrays[self.which[i]]
        direction = np.zeros(x.shape)
        direction[where] = 1
        size = max(1.0, abs(float(x[where]))) if np.isfinite(x[where]) else 1.0
        right = float(self.program.gradient(i)[where])
        return slope(self.along(self.arrays, i, direction, size), right, 1e-6, abs(right), abs(float(x[where]))).value

    def gradients_at(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """The gradients of the variables at other inputs."""
        variables: list[Any] = [Tensor(x, requires_grad=True) if i in self.which else x for i, x in enumerate(values)]
        with enable_grad(), np.errstate(all="ignore"):
            output = self.call(variables)
            output.backward(self.upstream.astype(output.dtype))
        return [
            np.zeros(variables[i].shape) if variables[i].grad is None else np.asarray(variables[i].grad.data)
            for i in self.which]


def is_function(claimed: Any) -> bool:
    """Whether a claim is a function that computes it."""
    return callable(claimed) and not isinstance(claimed, Tensor | np.ndarray)


def _is_data(x: Any) -> bool:
    """A nested list of numbers, such as token ids."""
    return isinstance(x, list | tuple) and all(isinstance(i, int | float | np.number) or _is_data(i) for i in x)


def _argument_names(f: Callable[..., Any], n: int) -> list[str]:
    """The names of the first ``n`` arguments of ``f``, where it has names for them."""
    try:
        parameters = inspect.signature(f).parameters.values()
        found = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        found = []
    return [found[i] if i < len(found) else f"x{i}" for i in range(n)]


def _as_claim(value: Any, name: str) -> np.ndarray:
    array = np.asarray(value.data if isinstance(value, Tensor) else value)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"diagnose: the claimed gradient of {name} must be real numbers, got {type(value).__name__} with dtype"
            f" {array.dtype}"
        )
    return array if array.dtype.kind == "f" else array.astype(np.float64)
