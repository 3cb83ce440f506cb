"""The table: ``python -m benchmarks``; with ``--save`` also benchmarks/results.md and results.png."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .paired import Row

HERE = Path(__file__).parent


def main() -> int:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="for every side alike (default 1)")
    parser.add_argument("--only", nargs="+", choices=["ops", "step", "attention", "decoding"], help="some sections")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes: a look, not a result")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results.md and results.png")
    arguments = parser.parse_args()
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[variable] = str(arguments.threads)  # read when NumPy is imported, so it is imported after this

    from . import attention_scaling, decoding, paired, tiny_ops, training_step

    if "PyTorch" in paired.installed():
        import torch

        torch.set_num_threads(arguments.threads)
    for peer in paired.PEERS:
        if peer not in paired.installed():
            print(f"{peer} is not installed and left out; pip install -e '.[torch,peers]' brings it")
    sections = {"ops": tiny_ops, "step": training_step, "attention": attention_scaling, "decoding": decoding}
    rows: list[Row] = []
    for name, section in sections.items():
        if arguments.only and name not in arguments.only:
            continue
        for row in section.run(arguments.quick):
            if not rows or rows[-1].section != row.section:
                print(f"\n{row.section}\n{heading()}", flush=True)
            rows.append(row)
            print(line(row), flush=True)
    if arguments.save:
        save(rows, arguments.threads)
    return 0


CONTENDERS = ("ours", "ours, eager", "PyTorch", "HIPS autograd", "MyGrad", "matrix products", "NumPy by hand")


def heading() -> str:
    return f"{'':46} {'unit':>8}" + "".join(f"{c:>16}" for c in CONTENDERS) + f"{'ours/PyTorch':>14}"


def cells(row: Row) -> list[str]:
    figures = [f"{row.figures[c]:.3g}" if row.figures.get(c, 0) < 1000 else f"{row.figures[c]:.0f}" for c in CONTENDERS if c in row.figures]
    known = dict(zip([c for c in CONTENDERS if c in row.figures], figures))
    ratio = f"{row.ratios['PyTorch']:.2f}" if "PyTorch" in row.ratios else ""
    return [row.case, row.unit, *(known.get(c, "") for c in CONTENDERS), ratio]


def line(row: Row) -> str:
    case, unit, *rest, ratio = cells(row)
    return f"{case:46} {unit:>8}" + "".join(f"{c:>16}" for c in rest) + f"{ratio:>14}"


def machine(threads: int) -> str:
    import numpy as np

    from . import paired

    versions = [f"NumPy {np.__version__}"]
    if "PyTorch" in paired.installed():
        import torch

        versions.append(f"PyTorch {torch.__version__}")
    each = f"{threads} thread{'s' if threads > 1 else ''} for every side"
    return ", ".join([f"Python {platform.python_version()}", *versions, platform.machine(), each])


def markdown(rows: Iterable[Row], threads: int) -> str:
    parts = [
        "# Side by side\n",
        f"Written by `python -m benchmarks --threads {threads} --save`: {machine(threads)}. The contenders take turns in one process (of the",
        "steps of width 16 fifty are a turn, as in training, where the caches hold what the last step left); figures are medians, ratios",
        "are medians of paired ratios, and below 1 ours is the better one. PyTorch is eager, with its fused attention or its plain one,",
        "whichever is faster. *Matrix products* is the time of the products alone: the limit that BLAS sets; *NumPy by hand* that of the same",
        "calls in a straight line without a check: the limit that Python sets.",
    ]
    section = None
    for row in rows:
        if row.section != section:
            section = row.section
            head = ["", "unit", *CONTENDERS, "ours/PyTorch"]
            parts += [f"\n## {section[0].upper()}{section[1:]}\n", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        parts.append("| " + " | ".join(cells(row)) + " |")
    return "\n".join(parts) + "\n"


def save(rows: list[Row], threads: int) -> None:
    """Write the table and the picture."""
    from minigrad.storage import write_atomically
    from transformer import plots

    from . import decoding, training_step

    name = "results" if threads == 1 else f"results_{threads}_threads"
    write_atomically(HERE / f"{name}.md", lambda file: file.write(markdown(rows, threads).encode("utf-8")))
    compared = [row for row in rows if "PyTorch" in row.ratios]
    bars = [row for row in compared if row.case == "geometric mean" or row.section in (training_step.SECTION, decoding.SECTION)]
    lengths = [row for row in rows if row.case.startswith("T =")]
    if not bars or not lengths:
        return
    fig, (left, right) = plots.figure(11, 4, 1, 2)
    labels = ["cost per op on tiny tensors" if row.case == "geometric mean" else f"{row.section.split()[0]}, {row.case}" for row in bars]
    left.barh(range(len(bars)), [row.ratios["PyTorch"] for row in bars], color=plots.COLOURS[0])
    left.set_yticks(range(len(bars)), labels, fontsize=8)
    left.invert_yaxis()
    left.axvline(1, color="0.3", linewidth=1)
    left.set_xlabel("ours / PyTorch (below 1: ours is faster, or smaller)")
    for k, engine in enumerate(("ours", "PyTorch")):
        points = [(int(row.case[4:]), row.figures[engine]) for row in lengths if engine in row.figures]
        right.loglog(*zip(*points), marker="os"[k], linestyle="-" if k == 0 else "--", color=plots.COLOURS[k], label=engine)
    right.set_xlabel("length T of the sequence (tokens)")
    right.set_ylabel("causal attention, forward + backward (ms)")
    right.legend()
    plots.save(fig, HERE / f"{name}.png")
    print(f"\nwrote benchmarks/{name}.md and benchmarks/{name}.png")


if __name__ == "__main__":
    sys.exit(main())
