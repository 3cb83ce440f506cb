"""Two drawings of chapter 00: the architecture of 2017, part by part, and a map of the book on one page."""

from __future__ import annotations

import json
import re
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

from book import BOOK, COLOURS, figure

PARTS = (  # the first chapter of each part, and the question that it answers
    ("00", "How does\na model learn?"),
    ("04", "What is in\na Transformer?"),
    ("09", "How is it used?"),
    ("13", "What does it do\nin the world?"),
)
PALE = {"attention": "#D6E6F2", "norm": "#F4F0D5", "network": "#DDEFE4", "table": "#F2DFD8"}
WIDTH = 3.4  # of the boxes of the architecture


def box(ax: Any, x: float, y: float, text: str, colour: str, width: float = WIDTH, height: float = 0.62) -> float:
    """A labelled box with its bottom in the middle at (x, y); the height of its top."""
    from matplotlib.patches import FancyBboxPatch

    shape = FancyBboxPatch(
        (x - width / 2, y),
        width,
        height,
        "round,pad=0,rounding_size=0.08",
        facecolor=colour,
        edgecolor="0.25",
        linewidth=0.9,
        zorder=3,
    )
    ax.add_patch(shape)
    ax.text(x, y + height / 2, text, ha="center", va="center", fontsize=9, zorder=4)
    return y + height


def arrow(ax: Any, points: list[tuple[float, float]], **style: Any) -> None:
    """A line through the points, with a head at the last one."""
    xs, ys = zip(*points, strict=True)
    style = {"color": "0.2", "linewidth": 1.1} | style
    ax.plot(xs[:-1], ys[:-1], solid_capstyle="round", **style)
    ax.annotate("", points[-1], points[-2], arrowprops={"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, **style})


def layer(ax: Any, x: float, y: float, stack: dict[str, tuple[str, str]], side: int) -> dict[str, float]:
    """Sub-layers from bottom to top, each with its Add & Norm and the way around it; the height of each, and of the top."""
    heights = {}
    for name, (text, colour) in stack.items():
        arrow(ax, [(x, y), (x, y + 0.55)])
        heights[name] = y + 0.55
        top = box(ax, x, y + 0.55, text, PALE[colour])
        arrow(ax, [(x, top), (x, top + 0.3)])
        around = x + side * (WIDTH / 2 + 0.4)
        arrow(ax, [(x, y + 0.2), (around, y + 0.2), (around, top + 0.5), (x + side * WIDTH / 2, top + 0.5)])
        y = box(ax, x, top + 0.3, "Add & Norm  (03, 08)", PALE["norm"], height=0.4)
    return heights | {"top": y}


def architecture() -> Any:
    """The Transformer of Vaswani et al. (2017), figure 1, with shapes and, in brackets, the chapters that build its parts."""
    from matplotlib.patches import Rectangle

    fig, ax = figure(9.2, 7.6)
    ax.set_axis_off()
    ax.set_xlim(-3.3, 10.6)
    ax.set_ylim(-1.4, 8.6)
    label = partial(ax.text, fontsize=8.5, color="0.2", va="center")
    left, right, start = 0.6, 6.4, 0.6
    for x, words, shape in (
        (left, "source: ids of the words to read", "$(B, S)$"),
        (right, "target: ids of the words so far", "$(B, T)$"),
    ):
        label(x, -1.15, f"{words}, {shape}", ha="center")
        arrow(ax, [(x, -0.95), (x, -0.6)])
        top = box(ax, x, -0.6, "embedding: a row per id  (02)", PALE["table"], height=0.45)
        arrow(ax, [(x, top), (x, top + 0.3)])
        box(ax, x, top + 0.3, "+ positions  (07)", PALE["table"], height=0.4)
        label(x + 0.12, start + 0.08, shape.replace(")", ", C)"), ha="left")
    ffn = ("feed-forward network\neach word by itself  (08)", "network")
    encoder = layer(
        ax,
        left,
        start,
        {"self": ("self-attention, $H$ heads\nall words see all  (05, 06)", "attention"), "ffn": ffn},
        -1,
    )
    causal = ("causal self-attention, $H$ heads\nno word sees later ones  (05, 06)", "attention")
    decoder = layer(
        ax,
        right,
        start,
        {
            "self": causal,
            "cross": ("cross-attention, $H$ heads\nsees all of the source  (09)", "attention"),
            "ffn": ffn,
        },
        1,
    )
    for x, found, name, side in ((left, encoder, "encoder", -1), (right, decoder, "decoder", 1)):
        edge = x + side * (WIDTH / 2 + 0.65)
        corner = min(edge, x - side * (WIDTH / 2 + 0.25)), start + 0.2
        ax.add_patch(
            Rectangle(
                corner,
                WIDTH + 0.9,
                found["top"] - start - 0.05,
                fill=False,
                edgecolor="0.5",
                linestyle="--",
                linewidth=0.9,
            )
        )
        words = f"{name}\nlayer,\n$L$ times"
        label(edge + side * 0.12, (start + found["top"]) / 2, words, ha="right" if side < 0 else "left", fontsize=9)
    memory, cross = encoder["top"] + 0.45, decoder["cross"] + 0.31
    arrow(ax, [(left, encoder["top"]), (left, memory + 0.3)])
    label(left, memory + 0.55, "the memory, $(B, S, C)$", ha="center")
    arrow(
        ax, [(left, memory), (3.45, memory), (3.45, cross), (right - WIDTH / 2, cross)], color=COLOURS[0], linewidth=1.6
    )
    label(3.35, memory + 0.2, "keys and values", ha="right", color=COLOURS[0])
    y = decoder["top"]
    for text, colour, shape in (
        ("output layer: logits  (03)", "network", "$(B, T, C)$"),
        ("softmax  (03)", "norm", r"$(B, T, \mathcal{V})$"),
    ):
        arrow(ax, [(right, y), (right, y + 0.42)])
        label(right + 0.12, y + 0.26, shape, ha="left")
        y = box(ax, right, y + 0.42, text, PALE[colour], height=0.42)
    arrow(ax, [(right, y), (right, y + 0.35)])
    label(right, y + 0.55, "probabilities of the next word, at each place", ha="center")
    label(-3.2, 8.3, "In brackets: the chapter.", ha="left", color="0.4")
    return fig


def opening(path: Path) -> str:
    """The first cell of a chapter, from its source or from its notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return "".join(json.loads(text)["cells"][0]["source"])
    return re.sub("(?m)^# ?", "", text.split("# %% [markdown]\n", 1)[1].split("\n\n# %%", 1)[0])


def contents() -> dict[str, tuple[str, set[str]]]:
    """The number of each chapter → its title, and the numbers of the earlier ones that it says one needs."""
    name = "[0-9][0-9]*_*"
    found = {}
    for path in sorted(BOOK.glob(f"chapters/{name}.py")) or sorted(BOOK.glob(f"{name}.ipynb")):
        text, number = opening(path), path.name.split("_")[0]
        needs = re.search(r"You need(.*?)\n\n", text, re.S)
        title = text.splitlines()[0].removeprefix(f"# {number} · ")
        named = re.findall(r"\]\((\d\d\w?)_", needs[1].split("Next:")[0]) if needs else []
        found[number] = title, {other for other in named if other < number}  # a later one is an aside
    return found


def behind(number: str, chapters: dict[str, tuple[str, set[str]]]) -> set[str]:
    """All chapters that one needs for a chapter, at any distance."""
    needs = {other for other in chapters[number][1] if other in chapters and other < number}
    return needs.union(*(behind(other, chapters) for other in needs))


def book_map() -> Any:
    """All chapters, a row for each part; arrows lead to a chapter from those it needs that none of the others needs too."""
    chapters = contents()
    if not chapters:  # a notebook that somebody runs alone, far from the book
        fig, ax = figure(6, 0.6)
        ax.set_axis_off()
        ax.text(0, 0.5, "The map is drawn where the other chapters are.")
        return fig
    part = {number: max(i for i, (first, _) in enumerate(PARTS) if first <= number) for number in chapters}
    rows = [[number for number in chapters if part[number] == i] for i in range(len(PARTS))]
    width, height, across, down = 2.7, 1.05, 3.15, 1.85
    fig, ax = figure(1.5 * max(map(len, rows)) * across / width + 1.7, 1.5 * len(rows))
    ax.set_axis_off()
    place = {number: (j * across, -i * down) for i, row in enumerate(rows) for j, number in enumerate(row)}
    for i, (_, question) in enumerate(PARTS):
        ax.text(-1.65, -i * down + height / 2, question, ha="right", va="center", fontsize=10, fontweight="bold")
    for number, (title, _) in chapters.items():
        x, y = place[number]
        box(
            ax,
            x,
            y,
            f"{number}\n" + "\n".join(textwrap.wrap(title, 19)),
            list(PALE.values())[part[number]],
            width,
            height,
        )
        needs = {other for other in chapters[number][1] if other in chapters}
        for other in needs - set().union(*(behind(one, chapters) for one in needs)):
            u, v = place[other]
            beside = v == y and abs(u - x) < 1.5 * across
            start, end = (
                ((u + width / 2, v + height / 2), (x - width / 2, y + height / 2))
                if beside
                else ((u, v), (x, y + height))
            )
            bend = 0.0 if beside or v != y else -0.3
            if bend:
                start = u, v + height
            style = {
                "arrowstyle": "-|>",
                "color": "0.3",
                "linewidth": 1.1,
                "shrinkA": 0,
                "shrinkB": 0,
                "connectionstyle": f"arc3,rad={bend}",
            }
            ax.annotate("", end, start, arrowprops=style, zorder=2)
    ax.set_xlim(-4.6, max(map(len, rows)) * across - across + width / 2 + 0.1)
    ax.set_ylim(-(len(rows) - 1) * down - 0.1, height + 0.5)
    return fig
