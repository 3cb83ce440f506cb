"""Pictures: the loss curve and attention maps, in one style that reads in greyscale."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

STYLE: dict[Any, Any] = {
    "figure.dpi": 110, "savefig.dpi": 130, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.alpha": 0.25, "axes.axisbelow": True, "legend.frameon": False, "image.cmap": "cividis",
    "lines.linewidth": 1.8,
}  # fmt: skip
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe & Ito (2008), safe for the colour-blind
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))  # with COLOURS, so that lines differ in greyscale too


def use_style() -> None:
    """The house style for all that matplotlib draws from here on; a notebook calls it once."""
    import matplotlib

    matplotlib.rcParams.update(STYLE)


def figure(width: float, height: float, rows: int = 1, columns: int = 1, **kwargs: Any) -> tuple[Any, Any]:
    """A matplotlib figure and its axes in the house style; drawn without a screen, and shown as the result of a notebook's cell."""
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with matplotlib.style.context(STYLE):
        fig = _shown()(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(fig)
        return fig, fig.subplots(rows, columns, **kwargs)


@cache
def _shown() -> Any:
    """matplotlib's Figure, with the picture that Jupyter asks for; without it a figure made outside pyplot shows as text."""
    from matplotlib.figure import Figure

    class Shown(Figure):
        def _repr_png_(self) -> bytes:
            break_labels(self)
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=STYLE["figure.dpi"])
            return buffer.getvalue()

    return Shown


def break_labels(fig: Any) -> None:
    """Write an axis label that is longer than its figure on two lines."""
    fig.draw_without_rendering()
    for ax in fig.axes:
        for label in (ax.xaxis.label, ax.yaxis.label):
            text, box = label.get_text(), label.get_window_extent()
            spaces = [i for i, c in enumerate(text) if c == " "]
            if spaces and "\n" not in text and (min(box.x0, box.y0) < 0 or box.x1 > fig.bbox.x1 or box.y1 > fig.bbox.y1):
                middle = min(spaces, key=lambda i: abs(i - len(text) / 2))
                label.set_text(f"{text[:middle]}\n{text[middle + 1 :]}")


def draw_matrix(
    ax: Any, matrix: np.ndarray, rows: Sequence[str] = (), columns: Sequence[str] = (), numbers: str = "", low: float | None = None,
    high: float | None = None, cmap: str = "Greys",
) -> Any:  # fmt: skip
    """A matrix as a picture on ``ax``, its first row on top: labels for ``rows`` and ``columns``, and with a format such as ".2f" every number.

    Darker is more (``cmap`` "Greys"); for signed matrices "cividis_r" with ``low`` = −``high``, whose lightness also tells the sign.
    Returns the image, for a colour bar.
    """
    image = ax.imshow(matrix, vmin=low, vmax=high, cmap=cmap, interpolation="nearest", aspect="equal")
    ax.grid(False)
    for axis, labels in ((ax.xaxis, columns), (ax.yaxis, rows)):
        if len(labels):
            axis.set_ticks(range(len(labels)), labels, parse_math=False)
        axis.set_tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(True)
    for (i, j), value in np.ndenumerate(matrix) if numbers else ():
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        ax.text(j, i, format(value, numbers).replace("-", "−"), ha="center", va="center", color="white" if dark else "black", fontsize=9)
    return image


def save(fig: Any, path: str | Path) -> None:
    """Write a PNG, whole or not at all."""
    from minigrad.storage import write_atomically

    break_labels(fig)
    write_atomically(path, lambda file: fig.savefig(file, format="png", dpi=130))


def smooth(values: Sequence[float], window: int) -> np.ndarray:
    """The mean of each value and up to ``window`` − 1 before it."""
    totals = np.cumsum(np.insert(np.asarray(values, float), 0, 0.0))
    stop = np.arange(1, len(totals))
    start = np.maximum(0, stop - window)
    return (totals[stop] - totals[start]) / (stop - start)


def plot_loss(
    steps: Sequence[int],
    losses: Sequence[float],
    validation: Sequence[tuple[int, float]] = (),
    baselines: Mapping[str, float] | None = None,
    unit: str = "nats per token",
    measure: str = "validation",
) -> Any:
    """Training loss (smoothed over the raw one), validation loss, and horizontal lines to beat."""
    fig, ax = figure(7.2, 4.2)
    ax.plot(steps, losses, color="0.8", linewidth=0.7, zorder=1)
    ax.plot(steps, smooth(losses, max(1, len(losses) // 40)), color=COLOURS[0], label="training")
    if validation:
        ax.plot(*zip(*validation, strict=True), color=COLOURS[1], marker="o", markersize=4, linestyle="--", label=measure, clip_on=False)
    ax.set_xlabel("training step")
    ax.set_ylabel(f"loss ({unit})")
    ax.set_xlim(left=0, right=max(steps, default=1))
    ax.legend(loc="best")
    draw_lines(ax, baselines or {})
    return fig


def draw_lines(ax: Any, lines: Mapping[str, float]) -> None:
    """Horizontal lines to beat, with their names and values on the right of ``ax``, moved up where they would overlap."""
    for value in lines.values():
        ax.axhline(value, color="0.35", linewidth=1, linestyle=":", zorder=0)
    low, high = ax.get_ylim()
    points = ax.get_position().height * ax.figure.get_size_inches()[1] * 72
    place = -np.inf
    for name, value in sorted(lines.items(), key=lambda item: item[1]):
        place = max(value, place + 11 / points * (high - low))  # letters of 9 points, and a gap
        ax.annotate(
            f"{name} {value:.2f}", (1, value), (1.03, place), ("axes fraction", "data"), va="center", fontsize=9, color="0.25",
            annotation_clip=False, arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 0},
        )  # fmt: skip


def plot_attention(
    weights: Sequence[np.ndarray],
    keys: Sequence[str],
    queries: Sequence[str] | None = None,
    key_name: str = "key (attended to)",
    query_name: str = "query (attending)",
) -> Any:
    """One map for each layer (row) and head (column): keys across, queries down, darker is more.

    ``weights`` holds for each layer an array (H, T, S); ``keys`` and ``queries`` label the axes.  Raises ValueError when the
    labels do not fit the weights.
    """
    queries = keys if queries is None else queries
    for number, w in enumerate(weights, 1):
        if w.ndim != 3 or w.shape[1:] != (len(queries), len(keys)):
            raise ValueError(f"plot_attention: layer {number} has weights {w.shape}; expected (heads, {len(queries)} queries, {len(keys)} keys)")
    rows, columns = len(weights), max(len(w) for w in weights)
    side = min(3.4, max(1.7, 0.16 * max(len(keys), len(queries))))
    square, readable = side * len(queries) / len(keys), min(1.7, 0.13 * len(queries))
    height = max(square, readable)  # a few queries over many keys: rows higher than wide, so that they have room for their names
    fig, axes = figure(side * columns + 1.0, height * rows + 1.0, rows, columns, squeeze=False, sharex=True, sharey=True)
    size, size_y = (min(9.0, max(4.0, 68 * inches / n)) for inches, n in ((side, max(len(keys), len(queries))), (height, len(queries))))
    for i, layer in enumerate(weights):
        for j, w in enumerate(layer):
            ax = axes[i][j]
            image = draw_matrix(ax, w, low=0, high=1)
            ax.set_aspect("equal" if height == square else "auto")
            ax.set_xticks(range(len(keys)), keys, rotation=90 if max(map(len, keys)) > 1 else 0, fontsize=size, parse_math=False)
            ax.set_yticks(range(len(queries)), queries, fontsize=size_y, parse_math=False)
            if i == 0:
                ax.set_title(f"head {j + 1}", fontsize=10)
            if j == 0:
                ax.set_ylabel(f"layer {i + 1}", fontsize=10)
        for ax in axes[i][len(layer) :]:
            ax.set_visible(False)
    fig.supxlabel(key_name, fontsize=11)
    fig.supylabel(query_name, fontsize=11)
    fig.colorbar(image, ax=axes, shrink=0.6, label="attention weight", pad=0.02)
    return fig


def plot_reliability(calibration: Any, title: str | None = None) -> Any:
    """Accuracy against confidence, bin by bin, and below it how many predictions each bin holds; on the diagonal the model is calibrated."""
    fig, (ax, below) = figure(4.6, 5.6, 2, 1, sharex=True, height_ratios=[3, 1])
    confidence, accuracy = calibration.confidence, calibration.accuracy
    ax.plot([0, 1], [0, 1], color="0.35", linewidth=1, linestyle=":", label="calibrated")
    ax.vlines(confidence, accuracy, confidence, color=COLOURS[1], linewidth=2.5, alpha=0.5, label="gap")
    ax.plot(confidence, accuracy, color=COLOURS[0], marker="o", markersize=5, label="model")
    ax.set(xlim=(0, 1), ylim=(0, 1), ylabel="right in so many cases", title=title or f"expected calibration error {100 * calibration.error:.1f} %")
    ax.legend(loc="upper left", frameon=False)
    below.bar(confidence, calibration.counts / calibration.counts.sum(), width=0.06, color="0.6")
    below.set(xlabel="confidence in the most likely token", ylabel="predictions")
    below.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    return fig


def plot_frontier(curves: Mapping[str, Sequence[tuple[float, float, str]]], points: Mapping[str, tuple[float, float]]) -> Any:
    """Likelihood across, diversity up: one curve for each family of strategies, points (loss, distinct-2, label), and single named points.

    The first of ``points`` is the text to be like; dotted lines run through it.
    """
    fig, ax = figure(7.6, 5.2)
    right, left, below = ((8, -3), "left"), ((-8, 2), "right"), ((0, -15), "center")  # where a label stands, and how it is aligned
    ends = itertools.cycle([(right, below), (left, right), (below, left)])
    for (name, curve), colour, marker, (at_first, at_last) in zip(curves.items(), COLOURS, "os^Dv", ends, strict=False):
        x, y, labels = [-c[0] for c in curve], [c[1] for c in curve], [c[2] for c in curve]
        ax.plot(x, y, color=colour, marker=marker, markersize=5, label=name)
        for end, (place, align) in ((0, at_first), (-1, at_last)):
            ax.annotate(labels[end], (x[end], y[end]), place, textcoords="offset points", ha=align, fontsize=9, color=colour)
    places = [((0, -20), "center"), ((-9, -4), "right"), ((0, -17), "center"), ((0, 10), "center")]
    for i, ((name, (loss, distinct)), (place, align)) in enumerate(zip(points.items(), itertools.cycle(places), strict=False)):
        if i == 0:
            ax.axvline(-loss, color="0.35", linewidth=1, linestyle=":")
            ax.axhline(distinct, color="0.35", linewidth=1, linestyle=":")
        ax.plot([-loss], [distinct], color="black", marker="*" if i == 0 else "o", markersize=14 if i == 0 else 7, linestyle="none")
        ax.annotate(name, (-loss, distinct), place, textcoords="offset points", ha=align, fontweight="bold" if i == 0 else "normal")
    ax.set(xlabel="likelihood under the model (mean log p per token, nats)", ylabel="diversity (distinct-2 of words)", ylim=(0, 1.05))
    ax.margins(x=0.12)
    ax.legend(loc="lower left", title="one setting varied", frameon=False, alignment="left")
    return fig
