"""One step of a backward program: its op, its place in the user's code, how it pulls back and how it pushes forward."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..recording import Call, conform

CONSTANT = -1


class Place(NamedTuple):
    """A line of the user's code."""

    file: str
    number: int
    source: str

    def __str__(self) -> str:
        source = self.source if len(self.source) <= 72 else self.source[:70] + " …"
        return f"line {self.number}, `{source}`" if source else f"line {self.number}"


class Site(NamedTuple):
    """Where an edit changes the walk: at a step with upstream gradient ``g``, ``more(g)`` is added to the gradient of
    a node."""

    step: int
    node: int
    more: Any  # (g) -> array


@dataclass(eq=False)
class Step:
    """One op of the program; ``inputs`` are nodes, or CONSTANT; ``g`` is the upstream gradient, ``shares`` what each
    input gets."""

    index: int
    call: Call
    inputs: list[int]
    arrays: list[Any]
    value: np.ndarray
    out: int
    place: Place | None
    within: str = ""
    visit: int = 0  # which run of the line it belongs to
    g: Any = None
    raw: list[Any] = field(default_factory=list)
    shares: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The op's name as the user knows it."""
        if self.call.name == "take":
            return "take" if self.place is None or "take(" in self.place.source else "embedding"
        return self.call.name

    @property
    def params(self) -> dict[str, Any]:
        """The op's parameters."""
        return self.call.params

    def wanted(self) -> Iterable[int]:
        """The numbers of the inputs that get a gradient."""
        return (i for i, x in enumerate(self.inputs) if x != CONSTANT)

    def pull(self, g: np.ndarray) -> list[Any]:
        """The rule of the op, before sums over broadcast axes."""
        return self.call.pull(g, self.value, self.arrays)

    def share(self, i: int, g: np.ndarray) -> np.ndarray:
        """What input ``i`` gets of an upstream gradient."""
        return self.shares[i] if g is self.g else conform(self.pull(g)[i], self.arrays[i])


def pushed(step: Step, along: list[Any]) -> np.ndarray:
    """How the result of a step moves when its inputs move ``along`` (None for those that stay)."""
    op = step.call.op.name
    if op in ELEMENTWISE:  # its Jacobian is a diagonal: pulling and pushing are the same
        total = np.zeros(step.value.shape)
        for i, v in enumerate(along):
            if v is not None:
                total = total + step.pull(np.broadcast_to(v, step.value.shape))[i]
        return total

    def f(h: float) -> np.ndarray:
        moved = [a if v is None else a + h * v for a, v in zip(step.arrays, along, strict=True)]
        return step.call.forward(moved)

    if op in MULTILINEAR:
        return (f(1.0) - f(-1.0)) / 2
    h = 1e-3 / max(float(np.abs(v).max(initial=1e-300)) for v in along if v is not None)
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


ELEMENTWISE = {
    "add", "subtract", "multiply", "divide", "negative", "power", "exp", "log", "log1p", "expm1", "sqrt", "square",
    "reciprocal", "sin", "cos",
    "tanh", "sigmoid", "abs", "erf", "maximum", "minimum", "relu", "clip", "select", "silu", "_gelu_erf",
    "_gelu_tanh", "astype", "tril", "triu",
}  # fmt: skip
MULTILINEAR = {
    "matmul", "sum", "mean", "var", "cumsum", "reshape", "transpose", "swapaxes", "split_heads", "join_heads",
    "broadcast_to", "_concatenate",
    "_stack", "flip", "pick", "_take", "put",
}  # fmt: skip


class Skipped:
    """An op that hands on one of its inputs as it is."""

    def __init__(self, call: Call, i: int, mask: np.ndarray | None) -> None:
        self.call, self.i, self.mask = call, i, mask

    def __getattr__(self, name: str) -> Any:
        return getattr(self.call, name)

    def forward(self, arrays: Sequence[Any]) -> Any:
        return arrays[self.i]

    def pull(self, g: np.ndarray, out: np.ndarray, arrays: Sequence[Any]) -> list[Any]:
        mine = g if self.mask is None else g * self.mask
        return [
            mine if k == self.i else np.zeros(np.shape(a)) if self.call.wants(k) else None for k, a in enumerate(arrays)
        ]
