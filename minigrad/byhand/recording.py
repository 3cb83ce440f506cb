r"""What the engine recorded: the only file of this room that knows how a graph is kept.

A tensor that an op made remembers the op, its inputs, their arrays and the op's parameters.  Everything else here
works on ``Call``: one op that ran, which can be run again on other arrays, or be pulled back: :math:`\bar y \mapsto
(\bar x_1, \bar x_2, \dots)`.  ``Trace`` notes which line of the user's code made each tensor.
"""

from __future__ import annotations

import bisect
import linecache
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from .. import graph, guards
from ..graph import FREED, REGISTRY, Value
from ..modes import enable_grad
from ..ops.attention import attention_weights as weights_of_attention
from ..ops.declare import Example, Op
from ..ops.dropout import seeded_mask
from ..ops.shapes import sum_to
from ..tensor import Tensor, upstream_gradient

__all__ = ["REGISTRY", "Call", "Example", "Op"]
NAMES = {"pick": "indexing", "select": "where", "_gelu_tanh": "gelu", "_gelu_erf": "gelu"}
unbroadcast = sum_to.forward
KEPT = ("saved", "wanted")  # what a result of a composed op remembers besides its parameters


@dataclass(eq=False)
class Call:
    """One op that ran: what it read, what it made."""

    result: Value
    op: Any
    inputs: tuple[Any, ...]
    arrays: list[Any]
    params: dict[str, Any]

    @property
    def name(self) -> str:
        """The op's name as the user knows it."""
        return NAMES.get(self.op.name, self.op.name.lstrip("_"))

    @property
    def out(self) -> np.ndarray:
        """The array that it made."""
        return self.result.data

    def param(self, name: str) -> Any:
        """A parameter, or its default."""
        return self.params.get(name, self.op.defaults.get(name))

    def wants(self, i: int) -> bool:
        """Whether input ``i`` is a tensor that wants a gradient."""
        return isinstance(self.inputs[i], Value) and self.inputs[i].requires_grad

    def forward(self, arrays: Sequence[Any]) -> np.ndarray:
        """The op on other arrays."""
        out = self.op.forward(*arrays, **self.own_params())
        return np.asarray(out[0] if self.op.definition is not None else out)

    def pull(self, g: np.ndarray, out: np.ndarray, arrays: Sequence[Any]) -> list[Any]:
        """What the op's rule hands to each input (before sums over broadcast axes), None for those that want none."""
        params = self.own_params()
        if self.op.definition is not None:  # what it keeps for the backward pass is made anew from these arrays
            params["saved"] = self.op.forward(*arrays, **params, save=True)[1]
        if self.op.joint:
            given = list(self.op.joint(g, out, *arrays, **params))
        else:
            rules = enumerate(self.op.rules)
            given = [rule(g, out, *arrays, **params) if rule and self.wants(i) else None for i, rule in rules]
        return [np.asarray(r) if r is not None and self.wants(i) else None for i, r in enumerate(given)]

    def handed(self, g: np.ndarray) -> list[Any]:
        """The same, as the engine does it in its own backward pass; RuntimeError when an array was written since."""
        if guards.last_write > self.result.tick:
            guards.refuse_written(self.result, self.op, self.arrays)
        if self.op.joint:
            given = list(self.op.joint(g.copy(), self.out, *self.arrays, **self.params))
        else:
            given = [
                self.op.rules[i](g.copy(), self.out, *self.arrays, **self.params) if self.wants(i) else None
                for i in range(len(self.inputs))]
        return [np.asarray(r) if r is not None and self.wants(i) else None for i, r in enumerate(given)]

    def own_params(self) -> dict[str, Any]:
        return {k: v for k, v in self.params.items() if k not in KEPT}


def is_tensor(x: Any) -> bool:
    """Whether ``x`` is a Tensor."""
    return isinstance(x, Value)


def call_of(t: Any) -> Call | None:
    """The op that made ``t``, None for what was given."""
    return Call(t, *t.history[:4]) if t.history else None


def inputs_of(t: Any) -> tuple[Any, ...]:
    """What the op that made ``t`` read; nothing for what was given."""
    return t.history[1] if t.history else ()


def is_result(t: Any) -> bool:
    """Whether an op made ``t``."""
    return bool(t.history)


def made_at(t: Any) -> int:
    """When ``t`` was made."""
    return t.tick


def recorded_order(output: Any, name: str) -> list[Any]:
    """What ``output`` was computed from, oldest first, itself last; errors speak for the function ``name``."""
    if not isinstance(output, Value):
        raise TypeError(
            f"{name}: expected a Tensor, got {type(output).__name__}; .data, float() and np.asarray cut the graph")
    if not output.requires_grad:
        raise RuntimeError(
            f"{name}: this tensor does not require grad, so no op was recorded. Make the inputs with Tensor(data,"
            " requires_grad=True)")
    stack, seen, order = [output], {id(output)}, []
    while stack:
        t = stack.pop()
        order.append(t)
        if t.history is FREED:
            raise RuntimeError(
                f"{name}: backward() has freed this graph. Call {name} before backward(), or keep it with"
                " backward(retain_graph=True)")
        for x in t.history[1] if t.history else ():
            if isinstance(x, Value) and x.requires_grad and id(x) not in seen:
                seen.add(id(x))
                stack.append(x)
    return sorted(order, key=lambda t: t.tick if t.history else 0)


def clock() -> int:
    """A tick: whatever is recorded later has a greater one."""
    return graph.now()


def gradients(output: Any, tensors: Sequence[Any], upstream: Any = None) -> list[Any]:
    """The gradient of ``output`` with respect to each of ``tensors``, as arrays; the graph stays."""
    return graph.pullback([output], [upstream_gradient(output, upstream).data], wrt=tensors, retain_graph=True)


def in_shape(r: Any, like: np.ndarray) -> np.ndarray:
    """What a rule gave, in the shape and the precision of its input."""
    return conform(r, like).astype(like.dtype, copy=False)


def conform(r: Any, like: Any) -> np.ndarray:
    """What a rule gave, summed to the shape of its input."""
    r = np.asarray(r)
    return r if r.shape == np.shape(like) else unbroadcast(r, np.shape(like))


# The numbers inside library ops --------------------------------------------------------------------------------------


def sigmoid(x: Any) -> np.ndarray:
    """The logistic function on arrays."""
    return REGISTRY["sigmoid"].forward(np.asarray(x))


def softmax(x: Any) -> np.ndarray:
    """Softmax over the last axis, on arrays."""
    return REGISTRY["softmax"](Tensor(x)).data


def attention_mask(call: Call) -> np.ndarray | None:
    """The dropout mask of the weights of an attention; None without dropout."""
    q, k = call.arrays[:2]
    if not call.param("dropout"):
        return None
    return seeded_mask((*q.shape[:-1], k.shape[-2]), call.param("dropout"), call.param("seed"), q.dtype)


def attention_weights(call: Call) -> np.ndarray:
    """The weights of an attention before dropout."""
    q, k, _, bias = call.arrays
    masks = call.param("mask"), call.param("causal"), call.param("scale")
    return weights_of_attention(Tensor(q), Tensor(k), bias, *masks).data


# Library ops in steps that one would write by hand -------------------------------------------------------------------

EXPANDED = ("linear", "linear_gelu", "layer_norm", "rms_norm", "attention", "_cross_entropy")


def steps_of(call: Call) -> tuple[list[Any], Any] | None:
    """A library op in the ops of its definition: stand-ins for its inputs, and the result; None for a plain op."""
    if call.op.name not in EXPANDED:
        return None
    pairs = enumerate(zip(call.inputs, call.arrays, strict=True))
    stand_ins = [Tensor(a, requires_grad=True) if call.wants(i) else x for i, (x, a) in pairs]
    with enable_grad():
        return stand_ins, call.op.definition(*stand_ins, **call.own_params())


# Which line made each tensor -----------------------------------------------------------------------------------------


class Place(NamedTuple):
    """A line of the user's code."""

    file: str
    number: int
    source: str

    def __str__(self) -> str:
        source = self.source if len(self.source) <= 72 else self.source[:70] + " …"
        return f"line {self.number}, `{source}`" if source else f"line {self.number}"


LIBRARIES = (str(Path(__file__).parents[1]), str(Path(np.__file__).parent), "<frozen")


class Trace:
    """What is seen while a function runs: ``place(tick)``, the line that made a tensor; ``names`` by id."""

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
        seen = None
        if self._stack:
            frame, line = self._stack[-1]
            source = linecache.getline(frame.f_code.co_filename, line).strip()
            seen = Place(frame.f_code.co_filename, line, source)
        self.places.append((clock(), seen))

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
        """The line that was running at a tick, and which run of that line it was, counted from 1."""
        at = bisect.bisect_left(self.places, tick, key=lambda p: p[0]) - 1
        return (self.places[at][1], at) if at >= 0 else (None, 0)


def _arrays(name: str, x: Any) -> Iterator[tuple[str, Any]]:
    if is_tensor(x) or (isinstance(x, np.ndarray) and x.ndim):
        yield name, x
    elif isinstance(x, list | tuple | dict) and len(x) <= 64:
        for key, item in x.items() if isinstance(x, dict) else enumerate(x):
            if is_tensor(item):
                yield f"{name}[{key!r}]", item
