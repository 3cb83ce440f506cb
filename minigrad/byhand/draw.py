"""The recorded graph as a picture: what was computed from what, by which op, in which module."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from .explain import matrices
from .explain.names import Names
from .picture import dot, mermaid, numbered, paint
from .recording import Call, call_of, clock, gradients, inputs_of, is_result, is_tensor, made_at, recorded_order

SHOWS = ("auto", "shapes", "values", "gradients")
FEW = 24  # a graph with more nodes shows shapes only, unless asked


@dataclass
class Node:
    """A tensor, with the op that made it; ``op`` is empty for what was given."""

    key: int
    op: str
    name: str
    shape: tuple[int, ...]
    value: np.ndarray
    inputs: list[int]
    kind: str  # "op", "leaf" or "constant"
    parameters: list[str] = field(default_factory=list)
    gradient: np.ndarray | None = None
    module: str = ""


@dataclass
class Frame:
    """One call of a module: its name, its class, and what was computed in it."""

    name: str
    kind: str
    start: int
    stop: int
    nodes: list[Node] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    def everything(self) -> Iterator[Node]:
        """The nodes inside, also those of inner frames."""
        yield from self.nodes
        for frame in self.frames:
            yield from frame.everything()


@contextmanager
def module_calls(module: Any) -> Iterator[list[Frame]]:
    """Within it, every call of ``module`` and of the modules inside it is noted, with the ticks between which it ran.

    The instances are shadowed for as long as the block lasts; otherwise calling a module costs nothing more.
    """
    calls: list[Frame] = []
    watched = list({id(m): (path, m) for path, m in module.named_modules() if "forward" not in m.__dict__}.values())

    def note(path: str, m: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            frame = Frame(_last_name(path) or type(m).__name__, type(m).__name__, clock(), 0)
            calls.append(frame)
            try:
                return forward(*args, **kwargs)
            finally:
                frame.stop = clock()

        return noted

    for path, m in watched:
        m.__dict__["forward"] = note(path, m, m.forward)
    try:
        yield calls
    finally:
        for _, m in watched:
            del m.__dict__["forward"]


def _last_name(path: str) -> str:
    """The name of a module in its parent; of a list's member with the list's name, ``layers.0``."""
    *others, last = path.split(".")
    return f"{others[-1]}.{last}" if last.isdigit() and others else last


class Drawing:
    """A drawn graph: shown in a notebook, ``save``d as PNG, PDF or SVG, or written as Graphviz or Mermaid text."""

    def __init__(self, root: Frame, output: int, show: str) -> None:
        self.root, self.output, self.show = root, output, show
        self._figure: Any = None

    @property
    def nodes(self) -> list[Node]:
        """All nodes, oldest first."""
        return list(self.root.everything())

    @property
    def figure(self) -> Any:
        """The matplotlib Figure."""
        if self._figure is None:
            self._figure = paint(self.root, self.output, self.show)
        return self._figure

    def save(self, path: str | Path) -> None:
        """Write the picture, whole or not at all; the ending of the name says how: .png, .pdf, .svg."""
        from ..storage import write_atomically

        kind = Path(path).suffix.lstrip(".").lower()
        if kind not in ("png", "pdf", "svg"):
            raise ValueError(
                f"save: {str(path)!r} should end in .png, .pdf or .svg; for text use to_dot() or to_mermaid()"
            )
        write_atomically(path, lambda file: self.figure.savefig(file, format=kind, dpi=160))

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()

    def __repr__(self) -> str:
        return f"<drawing of {len(self.nodes)} nodes; .save('graph.png') writes it, .figure is the matplotlib Figure>"

    def to_dot(self) -> str:
        """The graph in the language of Graphviz."""
        number = numbered(self.nodes)
        lines = [
            "digraph {",
            '  node [shape=box, fontname="sans-serif", style=filled, fillcolor=white];',
            *dot(self.root, "  ", number, count()),
        ]
        lines += [f"  n{number[i]} -> n{number[node.key]};" for node in self.nodes for i in node.inputs]
        return "\n".join([*lines, "}"]) + "\n"

    def to_mermaid(self) -> str:
        """The graph in the language of Mermaid, which Markdown pages show."""
        number = numbered(self.nodes)
        lines = ["flowchart TD", *mermaid(self.root, "  ", number, count())]
        lines += [f"  n{number[i]} --> n{number[node.key]}" for node in self.nodes for i in node.inputs]
        lines += ["  classDef leaf fill:#fdf0d5,stroke:#8a5a00", "  classDef op fill:#ffffff,stroke:#0b3c5d"]
        return "\n".join(lines) + "\n"


def draw(output: Any, module: Any = None, show: str = "auto", names: Any = None) -> Drawing:
    """Draw what ``output`` was computed from: each op with its result's name and shape.

    ``output`` is a Tensor, or a function without arguments that computes one; with ``module`` it must be the
    function, for instance ``draw(lambda: model(ids), module=model)``, and each call of a module gets a frame.
    ``show`` is "shapes", "values" or "gradients" (of small arrays; "auto" shows values in small graphs); ``names`` as
    in ``explain``.  Raises RuntimeError when there is no graph.
    """
    if show not in SHOWS:
        raise ValueError(f"draw: show={show!r}; expected one of {', '.join(map(repr, SHOWS))}")
    calls: list[Frame] = []
    if module is not None:
        if not callable(output) or is_tensor(output):
            raise TypeError(
                "draw: to frame the modules it must see them run; pass a function, draw(lambda: model(ids),"
                f" module=model), instead of the {type(output).__name__}"
            )
        with module_calls(module) as calls:
            output = output()
        names = module if names is None else names
    elif callable(output) and not is_tensor(output):
        output = output()
    order = recorded_order(output, "draw")
    nodes = _nodes(order, Names(order, names), _parameters(module))
    if show == "gradients":
        _add_gradients(nodes, order, output)
    if show == "auto":
        show = "values" if module is None and len(nodes) <= FEW else "shapes"
    return Drawing(_framed(nodes, order, calls), id(order[-1]), show)


def _parameters(module: Any) -> dict[int, str]:
    return {} if module is None else {id(p): name for name, p in module.named_parameters()}


def _nodes(order: list[Any], names: Names, parameters: dict[int, str]) -> dict[int, Node]:
    """A node for every tensor, oldest first; a module's parameters are written into the op that reads them."""
    nodes: dict[int, Node] = {}
    for t in order:
        if not is_result(t):
            continue
        inputs, folded = [], []
        for x in inputs_of(t):
            if id(x) in parameters:
                folded.append(f"{parameters[id(x)].split('.')[-1]} {matrices.size(x.data).replace(' ', '')}")
            elif is_tensor(x) or isinstance(x, np.ndarray):
                constant = not (is_tensor(x) and x.requires_grad)
                if constant and not np.ndim(x.data):
                    continue  # a bare number
                if constant and parameters and not (is_tensor(x) and x.name):
                    continue  # a module's own constants: masks, tables of positions
                array = x.data if is_tensor(x) else x
                if id(x) not in nodes:
                    nodes[id(x)] = Node(
                        id(x), "", names.of(x).text, array.shape, array, [], "constant" if constant else "leaf"
                    )
                inputs.append(id(x))
        call = call_of(t)
        assert call is not None
        given = bool(t.name) or not parameters
        nodes[id(t)] = Node(
            id(t), _op(call), names.of(t).text if given else "", t.data.shape, t.data, inputs, "op", folded
        )
    if not nodes:
        t = order[-1]
        nodes[id(t)] = Node(id(t), "", names.of(t).text, t.data.shape, t.data, [], "leaf")
    return nodes


OPS = {"multiply": "×", "divide": "/", "add": "+", "subtract": "−", "power": "^"}
WORDS = {
    "pick": "getitem",
    "put": "scatter",
    "gelu_tanh": "gelu",
    "gelu_erf": "gelu",
    "recomputed": "checkpoint",
    "concatenate": "concatenate",
}


def _op(call: Call) -> str:
    """What stands on the op's strip: its name, and a number that it takes."""
    name = call.op.name.lstrip("_")
    if name in OPS and len(call.arrays) == 2:
        for i, x in enumerate(call.arrays):
            if isinstance(x, int | float):
                number = matrices.plain_constant(x)
                return f"{number} {OPS[name]}" if i == 0 else f"{OPS[name]} {number}"
        return {"×": "⊙", "/": "/"}.get(OPS[name], OPS[name])
    if name in ("sum", "mean", "max", "min", "var", "logsumexp", "prod") and call.param("axis") is not None:
        return f"{name}, axis {call.param('axis')}"
    return WORDS.get(name, name)


def _add_gradients(nodes: dict[int, Node], order: list[Any], output: Any) -> None:
    for t, g in zip(order, gradients(output, order), strict=True):
        if id(t) in nodes:
            nodes[id(t)].gradient = g


def _framed(nodes: dict[int, Node], order: list[Any], calls: list[Frame]) -> Frame:
    """The nodes in the frames of the module calls that made them; a frame around a single op becomes its name."""
    root = Frame("", "", 0, clock())
    made = {id(t): made_at(t) for t in order if is_result(t)}
    for call in calls:
        parent = root
        while inner := [f for f in parent.frames if f.start < call.start < f.stop]:
            parent = inner[-1]
        parent.frames.append(call)
    home: dict[int, list[Frame]] = {}
    for key, tick in made.items():
        path = [root]
        while inner := [f for f in path[-1].frames if f.start < tick < f.stop]:
            path.append(inner[-1])
        home[key] = path
    for node in nodes.values():
        if node.key in home:
            home[node.key][-1].nodes.append(node)
        else:
            root.nodes.append(node)
    _simplify(root)
    return root


def _simplify(frame: Frame) -> None:
    kept = []
    for inner in frame.frames:
        _simplify(inner)
        if len(inner.nodes) == 1 and not inner.frames:
            node = inner.nodes[0]
            node.module = inner.name if not node.module else f"{inner.name}.{node.module}"
            frame.nodes.append(node)
        elif inner.nodes or inner.frames:
            kept.append(inner)
    frame.frames = kept
