r"""A recorded computation, step by step, and what would change in its gradients if one step went wrong.

Walking back is linear in the upstream gradients.  So a mistake at one step, which gives :math:`\bar x + \delta` for an input
in place of :math:`\bar x`, changes the gradients of the variables by what pulling :math:`\delta` back from there gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import graph
from ..ops.declare import Op
from ..ops.shapes import sum_to


@dataclass
class Step:
    """One op that ran: what it read, what it made, and the upstream gradient ``g`` of its result."""

    out: Any
    op: Op[Any]
    inputs: tuple[Any, ...]
    arrays: list[Any]
    params: dict[str, Any]
    g: np.ndarray
    kept: dict[str, Any] = field(default_factory=dict)  # what its kernel keeps for the backward pass
    results: list[Any] = field(default_factory=list)  # what its rule gives for each input, before sums over broadcast axes

    @property
    def name(self) -> str:
        """The op's name as the user knows it."""
        return {"_take": "embedding", "pick": "indexing", "select": "where"}.get(self.op.name, self.op.name.lstrip("_"))

    def wants(self, i: int) -> bool:
        """Whether input ``i`` is a tensor that wants a gradient."""
        return isinstance(self.inputs[i], graph.Value) and self.inputs[i].requires_grad

    def masks(self) -> bool:
        """Whether it sets entries to zero, or leaves them out."""
        name, params = self.op.name, self.params
        if name == "multiply":
            return any(not self.wants(i) and np.size(a) > 1 and not np.all(a) for i, a in enumerate(self.arrays))
        if name == "attention":
            added = (self.arrays[3], params.get("mask"))
            return bool(params.get("causal")) or any(a is not None and bool(np.isneginf(a).any()) for a in added)
        if name == "_cross_entropy":
            return params["ignore_index"] is not None
        if name == "add":
            return any(not self.wants(i) and bool(np.isneginf(a).any()) for i, a in enumerate(self.arrays))
        return name in ("select", "tril", "triu", "relu", "clip", "_take", "pick")

    def rule(self) -> list[Any]:
        """The right gradients of its inputs, None for those that want none."""
        if self.op.joint:
            given = list(self.op.joint(self.g, self.out.data, *self.arrays, **self.params, **self.kept))
        else:
            given = [
                rule(self.g, self.out.data, *self.arrays, **self.params) if rule and self.wants(i) else None
                for i, rule in enumerate(self.op.rules)
            ]
        return [np.asarray(r) if self.wants(i) else None for i, r in enumerate(given)]


class Recording:
    """Everything between the variables and the output, the newest step first."""

    def __init__(self, output: Any, upstream: np.ndarray, variables: Sequence[Any]) -> None:
        self.variables = list(variables)
        order, leaves, _ = graph.reachable([output])
        tensors = [*leaves, *order]
        found = graph.pullback([output], [upstream], tensors, retain_graph=True)
        self.gradient_of = {id(t): g for t, g in zip(tensors, found, strict=True)}
        self.steps: list[Step] = []
        for t in reversed(tensors):
            g = self.gradient_of[id(t)]
            if t.history and g is not None:
                op, inputs, arrays, params, _ = t.history
                kept = {k: v for k, v in params.items() if k in ("saved", "wanted")}
                step = Step(t, op, inputs, arrays, {k: v for k, v in params.items() if k not in kept}, g, kept)
                step.results = step.rule()
                self.steps.append(step)
        self.readers: dict[int, list[tuple[Step, int]]] = {}
        for step in self.steps:
            for i, x in enumerate(step.inputs):
                if step.wants(i):
                    self.readers.setdefault(id(x), []).append((step, i))
        self.gradients = [
            np.zeros(v.shape) if self.gradient_of.get(id(v)) is None else np.asarray(self.gradient_of[id(v)]) for v in self.variables
        ]

    def share(self, step: Step, i: int, result: Any = None) -> np.ndarray:
        """What input ``i`` of a step gets from it, in the shape of the input (or what another result would give)."""
        r = step.results[i] if result is None else np.asarray(result, float)
        x = step.arrays[i]
        return sum_to.forward(r, x.shape) if r.shape != x.shape else r

    def changed(self, changes: Sequence[tuple[Any, np.ndarray]]) -> list[np.ndarray]:
        """The gradients of the variables when these tensors get so much more."""
        extra = graph.pullback([t for t, _ in changes], [d for _, d in changes], self.variables, retain_graph=True)
        return [g if d is None else g + d for g, d in zip(self.gradients, extra, strict=True)]

    def with_results(self, step: Step, results: Sequence[Any]) -> list[np.ndarray]:
        """The gradients when a step's rule gives other results; None means the right one."""
        changes = [
            (step.inputs[i], self.share(step, i, r) - self.share(step, i)) for i, r in enumerate(results) if r is not None and step.wants(i)
        ]
        return self.changed(changes) if changes else self.gradients

    def without(self, cut: set[tuple[int, int]]) -> list[np.ndarray]:
        """The gradients when some inputs of some steps, as (id of the step, number of the input), get nothing."""
        found: dict[int, Any] = {id(self.steps[0].out): self.steps[0].g}
        for step in self.steps:
            g = found.get(id(step.out))
            if g is None:
                continue
            results = replace(step, g=g).rule()
            for i, r in enumerate(results):
                if r is not None and (id(step), i) not in cut:
                    share = self.share(step, i, r)
                    found[id(step.inputs[i])] = found[id(step.inputs[i])] + share if id(step.inputs[i]) in found else share
        return [found.get(id(v), np.zeros(v.shape)) for v in self.variables]

    def depends_on(self, i: int) -> set[int]:
        """The ids of the tensors that variable ``i`` acts on, itself among them."""
        found = {id(self.variables[i])}
        for step in reversed(self.steps):
            if any(id(x) in found for x in step.inputs):
                found.add(id(step.out))
        return found

    def called(self, t: Any, names: dict[int, str]) -> str:
        """A tensor in words: its name, or the op that made it."""
        if id(t) in names:
            return names[id(t)]
        made = next((step for step in self.steps if step.out is t), None)
        return t.name or (f"the result of {made.name}" if made else f"a tensor of shape {t.shape}")
