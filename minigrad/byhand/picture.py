"""A drawn graph in matplotlib.  An op is a dark strip over its result's box; what was given is a rounded box without
one."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .explain import matrices
from .layout import Box, arrange

if TYPE_CHECKING:
    from .draw import Frame, Node

SIZE = 9.0  # points
LINE, LETTER = (
    1.35 * SIZE / 72,
    0.605 * SIZE / 72,
)  # inches: the height of a line, the width of a letter of the monospaced font
INK, OP, GIVEN, EDGE, GRADIENT = "#1b1b1b", "#0b3c5d", "#fdf0d5", "#55606b", "#a33b00"
FRAMES = ("#f2f5f7", "#e4eaee", "#d6dfe5")
PAD = 0.09
LOOKS: dict[str, dict[str, str]] = {
    "title": {"fontweight": "bold", "color": INK},
    "parameter": {"color": "#5b4a1f"},
    "value": {"color": INK},
    "gradient": {"color": GRADIENT, "style": "italic"},
}


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
        lines += [
            ("gradient", f"∂{of}/∂{node.name}" if of and node.name else "gradient"),
            *(("gradient", row) for row in _grid(node.gradient)),
        ]
    return lines


def _grid(x: np.ndarray) -> list[str]:
    """The rows of a small array; nothing for a large one."""
    if not matrices.is_small(x) or x.ndim > 2 or not x.size:
        return []
    n = matrices.numbers(x, 3)
    rows = n.entries.reshape(-1, x.shape[-1] if x.ndim else 1)
    front = f"10^{n.exponent} ×" if n.exponent else ""
    return ([front] if front else []) + [" ".join(row) for row in rows]


def _frame_box(frame: Frame, nodes: dict[int, Node], show: str, of: str) -> Box:
    inside = {n.key for n in frame.everything()}
    children = [_node_box(node, show, of) for node in frame.nodes] + [
        _frame_box(f, nodes, show, of) for f in frame.frames
    ]
    reads: list[Hashable] = list(dict.fromkeys(i for n in frame.everything() for i in n.inputs if i not in inside))
    made: list[Hashable] = [
        n.key for n in frame.everything() if any(n.key in m.inputs for m in nodes.values() if m.key not in inside)
    ]
    head = LINE + 0.04 if frame.name else 0.0
    return Box(
        id(frame), 2 * (len(_title(frame)) + 3) * LETTER if frame.name else 0.0, 0.0, reads, made, children, head
    )


def _title(frame: Frame) -> str:
    return frame.name if frame.name == frame.kind else f"{frame.name} · {frame.kind}"


def _node_box(node: Node, show: str, of: str) -> Box:
    lines = lines_of(node, show, of)
    longest = max(len(node.op) * 1.05, *(matrices.columns(text) for _, text in lines))
    height = (len(lines) + bool(node.op)) * LINE + 2 * PAD + (0.06 if node.op else 0.0)
    return Box(node.key, longest * LETTER + 3 * PAD, height, list(node.inputs), [node.key])


def _paint_frame(
    axes: Any, box: Box, frame: Frame, x: float, y: float, depth: int, output: int, show: str, of: str
) -> None:
    from matplotlib.patches import FancyBboxPatch

    if depth:
        axes.add_patch(
            FancyBboxPatch(
                (x - box.width / 2, y), box.width, box.height, boxstyle="round,pad=0,rounding_size=0.08",
                facecolor=FRAMES[min(depth - 1, len(FRAMES) - 1)], edgecolor="#8b97a1", linewidth=0.9,
                zorder=depth / 10,
            )
        )  # fmt: skip
        axes.text(
            x - box.width / 2 + PAD,
            y + 0.05,
            _title(frame),
            fontsize=SIZE,
            fontweight="bold",
            color="#37424c",
            va="top",
            zorder=8,
            parse_math=False,
            bbox={"facecolor": FRAMES[min(depth - 1, len(FRAMES) - 1)], "edgecolor": "none", "pad": 1.0},
        )
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
            path=Path(vertices, codes),
            arrowstyle=style,
            color=EDGE,
            linewidth=1.0,
            zorder=5,
            shrinkA=0,
            shrinkB=0,
            joinstyle="round",
        )
    )


def _paint_node(axes: Any, box: Box, node: Node, x: float, y: float, output: int, show: str, of: str) -> None:
    from matplotlib.patches import FancyBboxPatch, Rectangle

    left, last = x - box.width / 2, node.key == output
    given = node.kind != "op"
    shape = f"round,pad=0,rounding_size={0.14 if given else 0.03}"
    axes.add_patch(
        FancyBboxPatch(
            (left, y), box.width, box.height, boxstyle=shape, facecolor=GIVEN if node.kind == "leaf" else "white",
            edgecolor=INK if given or last else OP, linewidth=2.2 if last else 1.1,
            linestyle="--" if node.kind == "constant" else "-", zorder=6,
        )
    )  # fmt: skip
    at = y + PAD
    if node.op:
        strip = LINE + 0.1
        axes.add_patch(Rectangle((left, y), box.width, strip, facecolor=OP, edgecolor=OP, linewidth=1.1, zorder=7))
        axes.text(
            x,
            y + strip / 2,
            node.op,
            fontsize=SIZE,
            color="white",
            fontweight="bold",
            ha="center",
            va="center",
            zorder=8,
            parse_math=False,
        )
        at = y + strip + 0.05
    for style, text in lines_of(node, show, of):
        axes.text(
            x,
            at + LINE / 2,
            text,
            fontsize=SIZE,
            family="DejaVu Sans Mono",
            ha="center",
            va="center",
            zorder=8,
            parse_math=False,
            **LOOKS[style],
        )
        at += LINE


# Text ---------------------------------------------------------------------------------------------------------------


def label(node: Node) -> list[str]:
    """The lines of a node below its op: module, name and shape, parameters."""
    shape = matrices.size(node.value) if node.shape else ""
    first = "  ".join(part for part in (node.module, node.name, shape) if part) or "scalar"
    together = ", ".join(node.parameters)
    return [first, *([together] if 0 < len(together) <= 26 else node.parameters)]


def numbered(nodes: list[Node]) -> dict[int, int]:
    return {node.key: i for i, node in enumerate(nodes, 1)}


def dot(frame: Frame, indent: str, number: dict[int, int], frames: Iterator[int]) -> list[str]:
    looks = {"op": "", "leaf": ' shape=ellipse fillcolor="#fdf0d5"', "constant": ' shape=ellipse style="filled,dashed"'}
    lines = []
    for node in frame.nodes:
        text = "\\n".join(
            s.replace("\\", "\\\\").replace('"', '\\"') for s in ([node.op] if node.op else []) + label(node)
        )
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
            f'{indent}subgraph g{next(frames)}["{inner.name}"]',
            *mermaid(inner, indent + "  ", number, frames),
            f"{indent}end",
        ]
    return lines
