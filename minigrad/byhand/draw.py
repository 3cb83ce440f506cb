r"""The recorded graph as a picture: what was computed from what, by which op, in which module.

In matplotlib an op is a dark strip over its result's box; what was given is a rounded box without one.  Graphviz and
Mermaid get the same boxes as text.

Boxes stand in layers, so that every edge points down, with few crossings.  A frame is laid out on its own and is one
large box to its surroundings, so frames never overlap and no edge runs through a box.  Source: Sugiyama, Tagawa & Toda
(1981): layers by longest path, dummies for long edges, order by barycentres.

It has more than 300 lines because the graph, its three forms and the places of its boxes (``arrange``) share the nodes.
"""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations, count, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .explain import notation
from .explain.describe import Names
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
                f"save: {str(path)!r} should end in .png, .pdf or .svg; for text use to_dot() or to_mermaid()")
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
            "digraph {", '  node [shape=box, fontname="sans-serif", style=filled, fillcolor=white];',
            *dot(self.root, "  ", number, count())]
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
    if module is not None and (not callable(output) or is_tensor(output)):
        raise TypeError(
            "draw: to frame the modules it must see them run; pass a function, draw(lambda: model(ids),"
            f" module=model), instead of the {type(output).__name__}")
    if module is not None:
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
                folded.append(f"{parameters[id(x)].split('.')[-1]} {notation.size(x.data).replace(' ', '')}")
            elif is_tensor(x) or isinstance(x, np.ndarray):
                constant = not (is_tensor(x) and x.requires_grad)
                if constant and not np.ndim(x.data):
                    continue  # a bare number
                if constant and parameters and not (is_tensor(x) and x.name):
                    continue  # a module's own constants: masks, tables of positions
                array = x.data if is_tensor(x) else x
                kind = "constant" if constant else "leaf"
                nodes.setdefault(id(x), Node(id(x), "", names.of(x).text, array.shape, array, [], kind))
                inputs.append(id(x))
        call = call_of(t)
        assert call is not None
        name = names.of(t).text if t.name or not parameters else ""
        nodes[id(t)] = Node(id(t), _op(call), name, t.data.shape, t.data, inputs, "op", folded)
    if not nodes:
        t = order[-1]
        nodes[id(t)] = Node(id(t), "", names.of(t).text, t.data.shape, t.data, [], "leaf")
    return nodes


OPS = {"multiply": "×", "divide": "/", "add": "+", "subtract": "−", "power": "^"}
WORDS = {"pick": "getitem", "put": "scatter", "gelu_tanh": "gelu", "gelu_erf": "gelu", "recomputed": "checkpoint"}


def _op(call: Call) -> str:
    """What stands on the op's strip: its name, and a number that it takes."""
    name = call.op.name.lstrip("_")
    if name in OPS and len(call.arrays) == 2:
        for i, x in enumerate(call.arrays):
            if isinstance(x, int | float):
                number = notation.plain_constant(x)
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

    def home(tick: int) -> Frame:
        """The innermost frame that was open at a tick."""
        frame = root
        while inner := [f for f in frame.frames if f.start < tick < f.stop]:
            frame = inner[-1]
        return frame

    for call in calls:
        home(call.start).frames.append(call)
    made = {id(t): made_at(t) for t in order if is_result(t)}
    for node in nodes.values():
        (home(made[node.key]) if node.key in made else root).nodes.append(node)
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


# As a picture --------------------------------------------------------------------------------------------------------

SIZE = 9.0  # points
LINE, LETTER = 1.35 * SIZE / 72, 0.605 * SIZE / 72  # inches: height of a line, width of a monospaced letter
INK, OP, GIVEN, EDGE, GRADIENT = "#1b1b1b", "#0b3c5d", "#fdf0d5", "#55606b", "#a33b00"
FRAMES = ("#f2f5f7", "#e4eaee", "#d6dfe5")
PAD = 0.09
LOOKS: dict[str, dict[str, str]] = {
    "title": {"fontweight": "bold", "color": INK},
    "parameter": {"color": "#5b4a1f"},
    "value": {"color": INK},
    "gradient": {"color": GRADIENT, "style": "italic"}}


def paint(root: Frame, output: int, show: str) -> Any:
    """The Figure of a graph in its frames."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "draw: pictures need matplotlib; pip install matplotlib, or use to_dot() or to_mermaid()"
        ) from error
    nodes = {node.key: node for node in root.everything()}
    of = nodes[output].name
    box = _frame_box(root, nodes, show, of)
    arrange(box)
    figure = Figure(figsize=(max(2.0, box.width), max(1.2, box.height)))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-figure.get_figwidth() / 2, figure.get_figwidth() / 2)
    axes.set_ylim(figure.get_figheight(), 0)
    axes.axis("off")
    _paint_frame(axes, box, root, 0.0, 0.0, 0, output, show, of)
    return figure


def lines_of(node: Node, show: str, of: str) -> list[tuple[str, str]]:
    """The text of a node: (style, line); ``of`` names the output whose gradients are shown."""
    title, *parameters = label(node)
    lines = [("title", title), *(("parameter", p) for p in parameters)]
    if show in ("values", "gradients"):
        lines += [("value", row) for row in _grid(node.value)]
    if show == "gradients" and node.gradient is not None and node.gradient.ndim == node.value.ndim:
        head = f"∂{of}/∂{node.name}" if of and node.name else "gradient"
        lines += [("gradient", row) for row in (head, *_grid(node.gradient))]
    return lines


def _grid(x: np.ndarray) -> list[str]:
    """The rows of a small array; nothing for a large one."""
    if not notation.is_small(x) or x.ndim > 2 or not x.size:
        return []
    n = notation.numbers(x, 3)
    rows = n.entries.reshape(-1, x.shape[-1] if x.ndim else 1)
    front = f"10^{n.exponent} ×" if n.exponent else ""
    return ([front] if front else []) + [" ".join(row) for row in rows]


def _frame_box(frame: Frame, nodes: dict[int, Node], show: str, of: str) -> Box:
    members = list(frame.everything())
    inside = {n.key for n in members}
    children = [*(_node_box(n, show, of) for n in frame.nodes), *(_frame_box(f, nodes, show, of) for f in frame.frames)]
    reads: list[Hashable] = list(dict.fromkeys(i for n in members for i in n.inputs if i not in inside))
    outside = {i for m in nodes.values() if m.key not in inside for i in m.inputs}
    made: list[Hashable] = [n.key for n in members if n.key in outside]
    width, head = (2 * (len(_title(frame)) + 3) * LETTER, LINE + 0.04) if frame.name else (0.0, 0.0)
    return Box(id(frame), width, 0.0, reads, made, children, head)


def _title(frame: Frame) -> str:
    return frame.name if frame.name == frame.kind else f"{frame.name} · {frame.kind}"


def _node_box(node: Node, show: str, of: str) -> Box:
    lines = lines_of(node, show, of)
    longest = max(len(node.op) * 1.05, *(notation.columns(text) for _, text in lines))
    height = (len(lines) + bool(node.op)) * LINE + 2 * PAD + (0.06 if node.op else 0.0)
    return Box(node.key, longest * LETTER + 3 * PAD, height, list(node.inputs), [node.key])


def _paint_frame(
    axes: Any, box: Box, frame: Frame, x: float, y: float, depth: int, output: int, show: str, of: str
) -> None:
    from matplotlib.patches import FancyBboxPatch

    if depth:
        colour, left = FRAMES[min(depth - 1, len(FRAMES) - 1)], x - box.width / 2
        axes.add_patch(FancyBboxPatch(
            (left, y), box.width, box.height, boxstyle="round,pad=0,rounding_size=0.08", facecolor=colour,
            edgecolor="#8b97a1", linewidth=0.9, zorder=depth / 10))
        axes.text(
            left + PAD, y + 0.05, _title(frame), fontsize=SIZE, fontweight="bold", color="#37424c", va="top", zorder=8,
            parse_math=False, bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.0})
    for points, at_node in box.routes:
        _paint_edge(axes, [(x + a, y + b) for a, b in points], at_node)
    members: dict[Any, Any] = {node.key: node for node in frame.nodes} | {id(f): f for f in frame.frames}
    for child in box.children:
        member = members[child.key]
        if child.children:
            _paint_frame(axes, child, member, x + child.x, y + child.y, depth + 1, output, show, of)
        else:
            _paint_node(axes, child, member, x + child.x, y + child.y, output, show, of)


def _paint_edge(axes: Any, points: list[tuple[float, float]], arrow: bool) -> None:
    """Down through the gaps between layers, with vertical tangents; straight past the boxes of a layer."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    vertices, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(points):
        if abs(x0 - x1) < 1e-6:
            vertices.append((x1, y1))
            codes.append(Path.LINETO)
        else:
            middle = (y0 + y1) / 2
            vertices += [(x0, middle), (x1, middle), (x1, y1)]
            codes += [Path.CURVE4] * 3
    style = "-|>,head_length=3.2,head_width=1.7" if arrow else "-"
    axes.add_patch(
        FancyArrowPatch(
            path=Path(vertices, codes), arrowstyle=style, color=EDGE, linewidth=1.0, zorder=5, shrinkA=0, shrinkB=0,
            joinstyle="round"))


def _paint_node(axes: Any, box: Box, node: Node, x: float, y: float, output: int, show: str, of: str) -> None:
    from matplotlib.patches import FancyBboxPatch, Rectangle

    left, last = x - box.width / 2, node.key == output
    given = node.kind != "op"
    axes.add_patch(FancyBboxPatch(
        (left, y), box.width, box.height, boxstyle=f"round,pad=0,rounding_size={0.14 if given else 0.03}",
        facecolor=GIVEN if node.kind == "leaf" else "white", edgecolor=INK if given or last else OP,
        linewidth=2.2 if last else 1.1, linestyle="--" if node.kind == "constant" else "-", zorder=6))
    at = y + PAD
    if node.op:
        strip = LINE + 0.1
        axes.add_patch(Rectangle((left, y), box.width, strip, facecolor=OP, edgecolor=OP, linewidth=1.1, zorder=7))
        axes.text(
            x, y + strip / 2, node.op, fontsize=SIZE, color="white", fontweight="bold", ha="center", va="center",
            zorder=8, parse_math=False)
        at = y + strip + 0.05
    for style, text in lines_of(node, show, of):
        axes.text(
            x, at + LINE / 2, text, fontsize=SIZE, family="DejaVu Sans Mono", ha="center", va="center", zorder=8,
            parse_math=False, **LOOKS[style])
        at += LINE


# Text ---------------------------------------------------------------------------------------------------------------


def label(node: Node) -> list[str]:
    """The lines of a node below its op: module, name and shape, parameters."""
    shape = notation.size(node.value) if node.shape else ""
    first = "  ".join(part for part in (node.module, node.name, shape) if part) or "scalar"
    together = ", ".join(node.parameters)
    return [first, *([together] if 0 < len(together) <= 26 else node.parameters)]


def numbered(nodes: list[Node]) -> dict[int, int]:
    return {node.key: i for i, node in enumerate(nodes, 1)}


def dot(frame: Frame, indent: str, number: dict[int, int], frames: Iterator[int]) -> list[str]:
    looks = {"op": "", "leaf": ' shape=ellipse fillcolor="#fdf0d5"', "constant": ' shape=ellipse style="filled,dashed"'}
    lines = []
    for node in frame.nodes:
        shown = [s.replace("\\", "\\\\").replace('"', '\\"') for s in [*([node.op] if node.op else []), *label(node)]]
        text = "\\n".join(shown)
        lines.append(f'{indent}n{number[node.key]} [label="{text}"{looks[node.kind]}];')
    for inner in frame.frames:
        lines += [f"{indent}subgraph cluster_{next(frames)} {{", f'{indent}  label="{inner.name}";']
        lines += [*dot(inner, indent + "  ", number, frames), f"{indent}}}"]
    return lines


def mermaid(frame: Frame, indent: str, number: dict[int, int], frames: Iterator[int]) -> list[str]:
    lines = []
    for node in frame.nodes:
        text = "<br/>".join(s.replace('"', "#quot;") for s in ([f"<b>{node.op}</b>"] if node.op else []) + label(node))
        a, b, kind = ("[", "]", "op") if node.kind == "op" else ("([", "])", "leaf")
        lines.append(f'{indent}n{number[node.key]}{a}"{text}"{b}:::{kind}')
    for inner in frame.frames:
        lines += [
            f'{indent}subgraph g{next(frames)}["{inner.name}"]', *mermaid(inner, indent + "  ", number, frames),
            f"{indent}end"]
    return lines


# Where the boxes go --------------------------------------------------------------------------------------------------

GAP_X, GAP_Y, MARGIN = 0.28, 0.36, 0.16  # inches
Key = Hashable
Point = tuple[float, float]


@dataclass
class Box:
    """A node, or with ``children`` a frame; after ``arrange``, (x, y) is the middle of its upper edge, y downwards.

    ``reads`` lists the values that it takes, ``makes`` those that it gives.
    """

    key: Key
    width: float
    height: float
    reads: list[Key] = field(default_factory=list)
    makes: list[Key] = field(default_factory=list)
    children: list[Box] = field(default_factory=list)
    head: float = 0.0  # room for a frame's title
    x: float = 0.0
    y: float = 0.0
    routes: list[tuple[list[Point], bool]] = field(default_factory=list)  # each edge, and whether it ends at a node
    ins: dict[Key, float] = field(default_factory=dict)
    outs: dict[Key, float] = field(default_factory=dict)


def arrange(frame: Box) -> None:
    """Give every box inside ``frame`` its place and every edge its way; sets the frame's size."""
    for child in frame.children:
        if child.children:
            arrange(child)
    inputs = [Box(("in", v), 0.05, 0.0, makes=[v]) for v in frame.reads]
    outputs = [Box(("out", v), 0.05, 0.0, reads=[v]) for v in frame.makes]
    boxes = [*inputs, *frame.children, *outputs]
    maker = {v: i for i, b in enumerate(boxes) for v in b.makes}
    edges = [(maker[v], i, v) for i, b in enumerate(boxes) for v in b.reads if v in maker and maker[v] != i]
    rank = _ranks(boxes, edges, len(inputs), len(outputs))
    _place(frame, boxes, edges, rank)
    frame.ins = {v: b.x for b in inputs for v in b.makes}
    frame.outs = {v: b.x for b in outputs for v in b.reads}


def _ranks(boxes: Sequence[Box], edges: list[tuple[int, int, Key]], inputs: int, outputs: int) -> list[int]:
    """The layer of each box: the longest path to it; sources stand right above what reads them, ports at the rims."""
    below, above = defaultdict(list), defaultdict(list)
    for a, b, _ in edges:
        below[a].append(b)
        above[b].append(a)
    rank = [0] * len(boxes)
    waiting = [len(above[i]) for i in range(len(boxes))]
    ready = [i for i in range(len(boxes)) if not waiting[i]]
    while ready:
        i = ready.pop()
        for j in below[i]:
            rank[j] = max(rank[j], rank[i] + 1)
            waiting[j] -= 1
            if not waiting[j]:
                ready.append(j)
    if inputs:  # a frame's inputs have the top layer for themselves
        for i in range(inputs, len(boxes)):
            rank[i] = max(rank[i], 1)
    for i in range(inputs, len(boxes)):
        if not above[i] and below[i]:
            rank[i] = max(rank[i], min(rank[j] for j in below[i]) - 1)
    last = max([rank[i] for i in range(len(boxes) - outputs)], default=0) + 1
    for i in range(len(boxes) - outputs, len(boxes)):
        rank[i] = last
    return rank


def _place(frame: Box, boxes: list[Box], edges: list[tuple[int, int, Key]], rank: list[int]) -> None:
    """Order the layers, then give coordinates; long edges pass each layer at a dummy."""
    count = len(boxes)
    widths = [b.width for b in boxes]
    dummies: dict[tuple[Key, int], int] = {}  # a value passes a layer once, whoever reads it below
    links: dict[tuple[int, int], float] = {}  # how much further right than its upper end the lower end should stand
    chains: list[tuple[int, int, Key, list[int]]] = []
    for a, b, v in edges:
        chain = []
        for r in range(rank[a] + 1, rank[b]):
            if (v, r) not in dummies:
                dummies[v, r] = len(widths)
                widths.append(0.12)
                rank = [*rank, r]
            chain.append(dummies[v, r])
        chains.append((a, b, v, chain))
        for upper, lower in pairwise([a, *chain, b]):
            start = boxes[a].outs.get(v, 0.0) if upper == a else 0.0
            links[upper, lower] = start - (boxes[b].ins.get(v, 0.0) if lower == b else 0.0)
    layers: list[list[int]] = [[] for _ in range(max(rank, default=0) + 1)]
    for i, r in enumerate(rank):
        layers[r].append(i)
    layers = _ordered(layers, set(links), len(widths))
    xs = _abscissas(layers, links, widths, count)
    _straighten(xs, layers, widths, [chain for *_, chain in chains if chain])

    heights = [max((boxes[i].height for i in layer if i < count), default=0.0) for layer in layers]
    ports = {rank[i] for i, b in enumerate(boxes) if _is_port(b)}
    tops, y = [], frame.head + (0.0 if 0 in ports else MARGIN)
    for r, h in enumerate(heights):
        tops.append(y)
        y += h + (GAP_Y if not {r, r + 1} & ports else 0.7 * GAP_Y)
    y -= 0.7 * GAP_Y if len(layers) - 1 in ports else GAP_Y
    left = min((xs[i] - widths[i] / 2 for layer in layers for i in layer), default=0.0)
    right = max((xs[i] + widths[i] / 2 for layer in layers for i in layer), default=0.0)
    frame.width = max(frame.width, right - left + 2 * MARGIN)
    frame.height = y + (0.0 if len(layers) - 1 in ports else MARGIN)
    centre = (left + right) / 2
    for i, box in enumerate(boxes):
        box.x = float(xs[i] - centre)
        box.y = tops[rank[i]] + (heights[rank[i]] - box.height) / 2
        if _is_port(box):
            box.y = 0.0 if box.makes else frame.height
    entries = _entries(boxes, chains, xs, centre)
    frame.routes = []
    uses, seen = Counter((b, v) for _, b, v, _ in chains), Counter[tuple[int, Key]]()
    for a, b, v, chain in chains:
        aside = 0.08 * (seen[b, v] - (uses[b, v] - 1) / 2)  # the arrows of x·x stand side by side
        seen[b, v] += 1
        source, target = boxes[a], boxes[b]
        points: list[Point] = [(source.x + source.outs.get(v, 0.0), source.y + source.height)]
        if _is_port(source):  # down past the frame's title
            points.append((points[0][0], tops[0]))
        elif source.height < heights[rank[a]]:
            points.append((points[0][0], tops[rank[a]] + heights[rank[a]]))
        for d in chain:
            points += [(xs[d] - centre, tops[rank[d]]), (xs[d] - centre, tops[rank[d]] + heights[rank[d]])]
        end = (target.x + (target.ins[v] if v in target.ins else entries[b, v]), target.y)
        if target.height < heights[rank[b]]:
            points.append((end[0], tops[rank[b]]))
        frame.routes.append(([(x + aside, y) for x, y in [*points, end]], not target.children and not _is_port(target)))


def _is_port(box: Box) -> bool:
    return isinstance(box.key, tuple)


def _entries(
    boxes: list[Box], chains: list[tuple[int, int, Key, list[int]]], xs: np.ndarray, centre: float
) -> dict[tuple[int, Key], float]:
    """Where on the upper edge of its box each edge ends: spread out, in the order from which they come."""
    incoming = defaultdict(list)
    for a, b, v, chain in chains:
        incoming[b].append((float(xs[chain[-1]] if chain else xs[a]), str(v), v))
    entries = {}
    for b, ends in incoming.items():
        step = min(0.45, 0.7 * boxes[b].width / max(1, len(ends)))
        for k, (_, _, v) in enumerate(sorted(ends, key=lambda e: e[:2])):
            entries[b, v] = (k - (len(ends) - 1) / 2) * step
    return entries


def crossings(layers: Sequence[Sequence[int]], links: set[tuple[int, int]]) -> int:
    """How many pairs of edges between neighbouring layers cross."""
    total = 0
    for upper, lower in pairwise(layers):
        up, low = {i: k for k, i in enumerate(upper)}, {i: k for k, i in enumerate(lower)}
        pairs = sorted((up[a], low[b]) for a, b in links if a in up and b in low)
        total += sum(a < c and b > d for (a, b), (c, d) in combinations(pairs, 2))
    return total


def _ordered(layers: list[list[int]], links: set[tuple[int, int]], n: int) -> list[list[int]]:
    """Sweep down and up, sorting each layer by the mean place of its neighbours; keep the fewest crossings."""
    up, down = defaultdict(list), defaultdict(list)
    for a, b in sorted(links):
        down[a].append(b)
        up[b].append(a)
    best, fewest = [list(layer) for layer in layers], crossings(layers, links)
    place = np.zeros(n)

    def note(layer: list[int]) -> None:
        for k, i in enumerate(layer):
            place[i] = k - len(layer) / 2

    for sweep in range(12):
        if not fewest:
            break
        for layer in layers:
            note(layer)
        towards = up if sweep % 2 == 0 else down
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            layer.sort(key=lambda i: float(np.mean([place[j] for j in towards[i]])) if towards[i] else place[i])
            note(layer)
        now = crossings(layers, links)
        if now < fewest:
            best, fewest = [list(layer) for layer in layers], now
    return best


def _abscissas(
    layers: list[list[int]], links: dict[tuple[int, int], float], widths: list[float], count: int
) -> np.ndarray:
    """The x of every box and dummy: near its neighbours' mean, in the order given, without overlap."""
    xs = np.zeros(len(widths))
    neighbours = defaultdict(list)
    for (a, b), shift in links.items():
        weight = 1.0 if a < count and b < count else 4.0 if a >= count and b >= count else 2.0
        neighbours[a].append((b, -shift, weight))
        neighbours[b].append((a, shift, weight))
    offsets = []
    for layer in layers:
        at, middles = 0.0, []
        for k, i in enumerate(layer):
            at += (widths[layer[k - 1]] / 2 + GAP_X if k else 0.0) + widths[i] / 2
            middles.append(at)
            xs[i] = at
        xs[layer] -= at / 2
        offsets.append(np.array(middles))
    for sweep in range(80):  # later sweeps weigh a link less the longer it is, so that most become straight
        pairs = list(zip(layers, offsets, strict=True))
        for layer, places in pairs if sweep % 2 == 0 else pairs[::-1]:
            wanted, weights = [], []
            for i in layer:
                near = [(xs[j] + s, w) for j, s, w in neighbours[i]]
                near = [(x, w / max(abs(x - xs[i]), 0.05)) for x, w in near] if sweep > 20 else near
                total = sum(w for _, w in near)
                wanted.append(sum(x * w for x, w in near) / total if near else xs[i])
                weights.append(max(total, 0.1))
            xs[layer] = _increasing(np.array(wanted) - places, np.array(weights)) + places
    return xs


def _straighten(xs: np.ndarray, layers: list[list[int]], widths: list[float], chains: list[list[int]]) -> None:
    """Stand the dummies of a long edge exactly above each other where their neighbours leave room."""
    sides = {i: (left, right) for layer in layers
             for left, i, right in zip([None, *layer[:-1]], layer, [*layer[1:], None], strict=True)}  # fmt: skip
    for chain in chains:
        low, high = -np.inf, np.inf
        for i in chain:
            left, right = sides[i]
            low = low if left is None else max(low, xs[left] + (widths[left] + widths[i]) / 2 + GAP_X / 2)
            high = high if right is None else min(high, xs[right] - (widths[right] + widths[i]) / 2 - GAP_X / 2)
        if low <= high:
            xs[chain] = np.clip(np.median(xs[chain]), low, high)


def _increasing(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The non-decreasing sequence nearest to ``values`` in least squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        pools.append((float(value), float(weight), 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (v1, w1, n1), (v2, w2, n2) = pools[-2:]
            pools[-2:] = [((v1 * w1 + v2 * w2) / (w1 + w2), w1 + w2, n1 + n2)]
    return np.repeat([v for v, _, _ in pools], [n for _, _, n in pools])
