r"""The backward program behind a gradient, step by step, and what becomes of the gradient when some of its steps are
edited.

Walking back is linear: an edit that hands :math:`\delta` more to a tensor changes the gradient of a variable by
:math:`J^\top \delta`.  Whether it could explain the claimed numbers shows already in a few projections,
:math:`\langle r, J^\top \delta \rangle = \langle J r, \delta \rangle`, where the tangents :math:`J r` are computed
once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..recording import call_of, conform, recorded_order, steps_of
from .steps import CONSTANT, Place, Site, Skipped, Step, pushed

DIRECTIONS = 12
NOTHING: Mapping[int, Any] = {}


class Program:
    """Everything between the variables and the output, oldest first; nodes are numbered."""

    def __init__(
        self,
        output: Any,
        upstream: np.ndarray,
        variables: Sequence[Any],
        place: Callable[[int], tuple[Place | None, int]],
        names: dict[int, str],
    ):
        self.steps: list[Step] = []
        self.values: list[np.ndarray] = []
        self.names: dict[int, str] = {}
        self._where: tuple[Place | None, int] = (None, 0)
        self.recognised: set[int] = set()  # results of functions that were written out and are recognised
        self.constants = names  # by the id of the array
        self.keep: list[Any] = []  # ids stay valid while their objects live
        self.nodes: dict[int, int] = {}
        for v in variables:
            self._node(v, names)
        self.variables = list(range(len(self.values)))
        self._add(recorded_order(output, "diagnose"), place, names, "")
        self.output, self.seed = self.nodes[id(output)], upstream
        self._index()
        self._walk_back()

    def _node(self, t: Any, names: dict[int, str]) -> int:
        if id(t) not in self.nodes:
            self.nodes[id(t)] = len(self.values)
            self.values.append(t.data)
            self.keep.append(t)
            if name := names.get(id(t)) or t.name:
                self.names[self.nodes[id(t)]] = name
        return self.nodes[id(t)]

    def _add(
        self, order: Sequence[Any], place: Callable[[int], tuple[Place | None, int]], names: dict[int, str], within: str
    ) -> None:
        for t in order:
            call = call_of(t)
            if call is None:
                continue
            where = place(t.tick) if not within else self._where
            plainer = steps_of(call)
            if plainer is not None:
                stand_ins, result = plainer
                for x, s in zip(call.inputs, stand_ins, strict=True):
                    if s is not x:
                        self.nodes[id(s)] = self._node(x, names)
                        self.keep.append(s)
                self._where = where
                self._add(recorded_order(result, "diagnose"), place, names, within or call.name)
                self.nodes[id(t)] = self.nodes[id(result)]
                self.keep.append(t)
                if name := names.get(id(t)) or t.name:
                    self.names[self.nodes[id(t)]] = name
                continue
            inputs = [self._node(x, names) if call.wants(i) else CONSTANT for i, x in enumerate(call.inputs)]
            arrays = [np.asarray(a) if isinstance(a, np.ndarray) else a for a in call.arrays]
            self.steps.append(
                Step(len(self.steps), call, inputs, arrays, t.data, self._node(t, names), where[0], within, where[1])
            )

    def _index(self) -> None:
        self.made: dict[int, Step] = {step.out: step for step in self.steps}
        self.readers: dict[int, list[tuple[Step, int]]] = {}
        for step in self.steps:
            for i in step.wanted():
                self.readers.setdefault(step.inputs[i], []).append((step, i))

    def _walk_back(self) -> None:
        self.gradients: list[Any] = [None] * len(self.values)
        self.gradients[self.output] = self.seed
        for step in reversed(self.steps):
            g = self.gradients[step.out]
            if g is None:
                continue
            step.g, step.raw = g, step.pull(g)
            step.shares = [None if r is None else conform(r, a) for r, a in zip(step.raw, step.arrays, strict=True)]
            for i in step.wanted():
                at, share = step.inputs[i], step.shares[i]
                self.gradients[at] = share if self.gradients[at] is None else self.gradients[at] + share
        self.live = [step for step in self.steps if step.g is not None]

    def gradient(self, i: int) -> np.ndarray:
        """The gradient of variable ``i``."""
        g = self.gradients[i]
        return np.zeros(self.values[i].shape) if g is None else np.asarray(g)

    def changes(self, sites: Sequence[Site]) -> dict[int, np.ndarray]:
        """By how much the gradient of each node changes under these edits."""
        at: dict[int, list[Site]] = {}
        for site in sites:
            at.setdefault(site.step, []).append(site)
        if not at:
            return {}
        delta: dict[int, np.ndarray] = {}

        def add(node: int, d: np.ndarray) -> None:
            delta[node] = delta[node] + d if node in delta else d

        for step in reversed(self.steps[: max(at) + 1]):
            if step.g is None:
                continue
            moved = delta.get(step.out)
            if moved is not None:
                results = step.pull(moved)
                for i in step.wanted():
                    add(step.inputs[i], conform(results[i], step.arrays[i]))
            for site in at.get(step.index, ()):
                add(site.node, site.more(step.g if moved is None else step.g + moved))
        return delta

    def edited(self, i: int, sites: Sequence[Site]) -> np.ndarray:
        """The gradient of variable ``i`` under these edits."""
        delta = self.changes(sites).get(i)
        return self.gradient(i) if delta is None else self.gradient(i) + delta

    def leads(self, i: int) -> set[int]:
        """The nodes that variable ``i`` acts on, itself among them."""
        found = {i}
        for step in self.steps:
            if any(x in found for x in step.inputs):
                found.add(step.out)
        return found

    def tangents(self, i: int) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """A few directions in which variable ``i`` may move, and how each node moves along them."""
        rng = np.random.default_rng(0)
        x = self.values[i]
        directions = rng.normal(size=(DIRECTIONS, *x.shape))
        moved = {i: directions}
        for step in self.steps:
            if not any(n in moved for n in step.inputs):
                continue
            along = [moved.get(n) if n != CONSTANT else None for n in step.inputs]
            tangent = np.array([pushed(step, [None if m is None else m[k] for m in along]) for k in range(DIRECTIONS)])
            moved[step.out] = tangent
        return directions, moved

    def replayed(
        self,
        skip: Mapping[int, int],
        change: Mapping[int, Callable[[np.ndarray], np.ndarray]] = NOTHING,
        mask: Mapping[int, np.ndarray] = NOTHING,
    ) -> Program | None:
        """The program of another function; None where that does not run.

        The result of a step in ``skip`` is one of its inputs itself, that of a step in ``change`` is changed; the
        gradient that passes a step in ``mask`` is multiplied.
        """
        new = object.__new__(Program)
        new.__dict__.update(self.__dict__)
        new.values, new.steps = list(self.values), []
        try:
            for s in self.steps:
                arrays = [a if n == CONSTANT else new.values[n] for n, a in zip(s.inputs, s.arrays, strict=True)]
                call: Any = Skipped(s.call, skip[s.index], mask.get(s.index)) if s.index in skip else s.call
                same = s.index not in skip and all(x is y for x, y in zip(arrays, s.arrays, strict=True))
                value = s.value if same else np.asarray(call.forward(arrays), float)
                value = change[s.index](value) if s.index in change else value
                if value.shape != s.value.shape or not np.isfinite(value).all():
                    return None
                new.values[s.out] = value
                new.steps.append(Step(s.index, call, s.inputs, arrays, value, s.out, s.place, s.within, s.visit))
            new._index()
            new._walk_back()
        except (ValueError, IndexError, TypeError, FloatingPointError):
            return None
        return new

    # Words ------------------------------------------------------------------------------------------------------------

    def called(self, node: int, depth: int = 2) -> str:
        """A node in words: the user's name for it, or the expression that made it."""
        if node in self.names:
            return self._counted(node)
        step = self.made.get(node)
        if step is None:
            return f"the input of shape {self.values[node].shape}"
        text = self.expression(step, depth)
        return text if len(text) <= 44 else f"the result of {step.name}"

    def _counted(self, node: int) -> str:
        """A name; where a loop gave it to several results, with the number of the one that is meant."""
        name = self.names[node]
        alike = [n for n in self.names if self.names[n] == name]
        return name if len(alike) == 1 else f"{name} (number {sorted(alike).index(node) + 1} of {len(alike)})"

    def expression(self, step: Step, depth: int = 2) -> str:
        """What a step computes, as code."""
        parts = [
            self.operand(step, i, depth - 1) if depth else "…"
            for i in range(len(step.inputs))
            if step.arrays[i] is not None
        ]
        sign = SIGNS.get(step.call.op.name)
        if sign and len(parts) == 2:
            return f"{_wrapped(parts[0])} {sign} {_wrapped(parts[1])}"
        if step.call.op.name == "negative":
            return f"-{_wrapped(parts[0])}"
        if step.call.op.name in ("swapaxes", "transpose") and step.value.ndim == 2:
            return f"{_wrapped(parts[0])}.T"
        if step.name == "indexing":
            return f"{_wrapped(parts[0])}[{_index_text(step.params.get('index'))}]"
        return f"{step.name}({', '.join(parts)})"

    def operand(self, step: Step, i: int, depth: int = 2) -> str:
        """Input ``i`` of a step in words."""
        if step.inputs[i] != CONSTANT:
            return self.called(step.inputs[i], depth)
        x, a = step.call.inputs[i], step.arrays[i]
        if id(x) in self.constants:
            return self.constants[id(x)]
        if np.size(a) == 1:
            return f"{float(np.reshape(a, -1)[0]):.6g}"
        return f"the constant of shape {np.shape(a)}"

    def where(self, step: Step) -> str:
        """The line of the user's function, with the library op that the step is a part of."""
        inside = f" of {step.within}" if step.within else ""
        twin = any(
            s is not step and s.call.op.name == step.call.op.name and s.place == step.place and s.visit == step.visit
            for s in self.steps
        )
        which = f" {self.expression(step, 1)}" if twin and step.name != "indexing" else ""
        return f"{step.name}{inside}{which}" + (f" ({step.place})" if step.place else "")


SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@", "power": "**"}


def _wrapped(text: str) -> str:
    simple = text.replace("_", "a").replace(".", "a").replace("[", "a").replace("]", "a").isalnum() or (
        text.endswith(")") and " " not in text.split("(")[0]
    )
    return text if simple or text.startswith(("the ", "(")) else f"({text})"


def _index_text(index: Any) -> str:
    if isinstance(index, slice):
        return ":".join(
            "" if v is None else str(v)
            for v in ((index.start, index.stop) if index.step is None else (index.start, index.stop, index.step))
        )
    if isinstance(index, tuple):
        return ", ".join(map(_index_text, index))
    if isinstance(index, np.ndarray):
        return str(index.tolist()) if index.size <= 8 else "…"
    return {None: "None", Ellipsis: "..."}.get(index, str(index)) if not isinstance(index, np.ndarray) else "…"
