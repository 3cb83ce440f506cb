"""The outcome of the experiment as a table and as a picture: gap against perplexity, each with its interval over the seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .. import plots
from .corpus import true_gap
from .experiment import BASELINE, SKEW, Cure, Result
from .statistics import Estimate, over_seeds

LARGEST = 8.0  # percent of perplexity that the picture shows
CURVES = {"augmentation": "share of twins added", "ratio penalty": "λ", "KL penalty": "λ"}
MARKERS = {"augmentation": "o", "ratio penalty": "s", "KL penalty": "^"}
SINGLE = {"re-weighting": "P", "additional data": "X", "ratio penalty at starts": "d", "projection": "v"}


def grouped(results: Iterable[Result], by: str) -> dict[Any, list[Result]]:
    """The results of each cure, or at each skew, in the order in which they come."""
    found: dict[Any, list[Result]] = {}
    for result in results:
        found.setdefault(getattr(result, by), []).append(result)
    return found


def mean(values: Sequence[float]) -> Estimate:
    """Over seeds, with an interval where there are two or more."""
    return over_seeds(values) if len(values) > 1 else Estimate(values[0], values[0], values[0], n=1)


def compared(results: Sequence[Result]) -> dict[Cure, dict[str, Estimate]]:
    """For each cure: the gaps; how much of the baseline's gap is gone, and how much the perplexities grow, in percent, seed by seed."""
    groups = grouped(results, "cure")
    baseline = {r.seed: r for r in groups[BASELINE]}
    table = {}
    for cure, rows in groups.items():
        pairs = [(r, baseline[r.seed]) for r in rows]
        table[cure] = {
            "gap": mean([r.gap for r in rows]),
            "start": mean([r.gap_at_start for r in rows]),
            "unseen": mean([r.gap_unseen for r in rows]),
            "reduction": mean([100 * (1 - abs(r.gap) / abs(b.gap)) for r, b in pairs]),
            "balanced": mean([100 * (r.balanced / b.balanced - 1) for r, b in pairs]),
            "skewed": mean([100 * (r.skewed / b.skewed - 1) for r, b in pairs]),
        }
    return table


def cell(found: Estimate, digits: int = 2) -> str:
    """A number with its interval; one seed has none."""
    numbers = [f"{round(x, digits) + 0.0:+.{digits}f}" for x in (found.value, found.low, found.high)]  # + 0.0: no −0
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}]" if found.n > 1 else numbers[0]


def cure_table(results: Sequence[Result]) -> str:
    columns = ("cure", "gap", "of it gone, %", "gap at starts", "gap, unseen templates", "perplexity, balanced text, %", "perplexity, skewed text, %")
    lines = ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    for cure, row in compared(results).items():
        digits = {"gap": 2, "reduction": 0, "start": 2, "unseen": 2, "balanced": 1, "skewed": 1}
        cells = [cell(row[name], places) for name, places in digits.items()]
        lines.append(f"| {cure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def skew_table(results: Sequence[Result]) -> str:
    lines = ["| skew of the text | its own gap | measured gap |", "| --- | --- | --- |"]
    for skew, rows in by_skew(results).items():
        lines.append(f"| {skew:g} | {true_gap(skew):.2f} | {cell(mean([r.gap for r in rows]))} |")
    return "\n".join(lines)


def by_skew(results: Iterable[Result]) -> dict[float, list[Result]]:
    """The results at each skew, in rising order."""
    return grouped(sorted(results, key=lambda r: (r.skew, r.seed)), "skew")


def report(skews: Sequence[Result], cures: Sequence[Result], steps: int) -> str:
    seeds = sorted({r.seed for r in cures})
    command = f"python -m transformer bias --experiment --seeds {len(seeds)} --steps {steps}"
    return (
        f"# Bias on the artificial language\n\nWritten by `{command} --save FILE`; {len(seeds)} seeds, means with 95 % intervals over them. "
        "Gaps in nats per sentence, stereotyped minus swapped; perplexities against the model without a cure.\n\n"
        f"## Does the measure follow the known skew?\n\n{skew_table(skews)}\n\n## What the cures do at skew {SKEW:g}\n\n{cure_table(cures)}\n"
    )


# The picture -------------------------------------------------------------------------------------------------------------


def picture(skews: Sequence[Result], cures: Sequence[Result]) -> Any:
    """The measured gap against the known skew; then gap against perplexity, on balanced text and on text like the training text."""
    fig, (left, balanced, skewed) = plots.figure(13, 5.2, 1, 3)
    known = by_skew(skews)
    fine = [i / 100 for i in range(round(100 * max(known)) + 1)]
    left.plot(fine, [true_gap(s) for s in fine], color="0.35", linestyle=":", label="of the language itself")
    errors(left, list(known), [mean([r.gap for r in rows]) for rows in known.values()], color="black", marker="o", label="of a model, without a cure")
    left.set(xlabel="skew of the training text", ylabel="gap (nats per sentence)", title="The measure, checked against truth")
    left.legend(loc="upper left", frameon=False)
    table = compared(cures)
    trade_off(balanced, table, "balanced", "Perplexity on balanced text")
    trade_off(skewed, table, "skewed", "Perplexity on text like the training text")
    fig.legend(*balanced.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return fig


def trade_off(ax: Any, table: dict[Cure, dict[str, Estimate]], text: str, title: str) -> None:
    """A curve for each cure with a dial, from no cure on, and a mark for each of the others; what is beyond the picture is written at its top."""
    values = [row[text].value for row in table.values() if row[text].value <= LARGEST]
    start = table[BASELINE]
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.axvline(0, color="0.6", linewidth=0.8)
    places = ({"xytext": (0, -15), "ha": "center"}, {"xytext": (-4, 7), "ha": "right"}, {"xytext": (4, 7), "ha": "left"})
    for colour, (name, dial), place in zip(plots.COLOURS, CURVES.items(), places):
        chosen = {cure: row for cure, row in table.items() if cure.name == name and row[text].value <= LARGEST}
        rows = [start, *chosen.values()]
        ax.plot([row["gap"].value for row in rows], [row[text].value for row in rows], color=colour, linewidth=1.2, alpha=0.6)
        x, y = [row["gap"].value for row in rows[1:]], [row[text] for row in rows[1:]]
        errors(ax, x, y, color=colour, marker=MARKERS[name], label=f"{name} ({dial})")
        for cure, row in chosen.items():
            if row["gap"].value > 0.1:  # those at zero would lie on each other
                at = (row["gap"].value, row[text].value)
                ax.annotate(f"{cure.strength:g}", at, textcoords="offset points", fontsize=9, color=colour, **place)
    for colour, (name, marker) in zip(("black", "black", plots.COLOURS[3], "0.5"), SINGLE.items()):
        for row in (row for cure, row in table.items() if cure.name == name):
            label = name.replace(" at starts", ", sentence starts only")
            ax.plot(row["gap"].value, row[text].value, marker, color=colour, markersize=8, linestyle="none", label=label)
    ax.plot(start["gap"].value, 0, "*", color="black", markersize=14, linestyle="none", label="no cure")
    beyond = {cure: row for cure, row in table.items() if row[text].value > LARGEST}
    lines = [f"↑ {cure}: gap {cell(row['gap']).split()[0]}, perplexity {row[text].value:+.0f} %" for cure, row in beyond.items()]
    ax.text(0.5, 0.97, "\n".join(lines), transform=ax.transAxes, ha="center", va="top", fontsize=9, color="0.25")
    ax.set_ylim(min(values) - 1.2, max(values) + 1.5)
    ax.set(xlabel="gap (nats per sentence)", ylabel="change of perplexity (%)", title=title)


def errors(ax: Any, x: Sequence[float], found: Sequence[Estimate], **style: Any) -> None:
    """Points with their intervals."""
    y = [e.value for e in found]
    below, above = [e.value - e.low for e in found], [e.high - e.value for e in found]
    ax.errorbar(x, y, yerr=[below, above], linestyle="none", markersize=6, capsize=2, elinewidth=1, **style)
