"""The paper model of a training step (transformer/parallel/scaling.py) for 1 to 100 000 workers: the table and the figure of docs/parallel.md.

    python -m benchmarks.scaling [--save]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from transformer.parallel.scaling import A100, GPT2_XL, GPT3, Job, Layout, Step, best, gpt, ring, step

HERE = Path(__file__).resolve().parent
WORKERS = (1, 8, 64, 512, 1024, 4096, 16384, 100_000)
PARTS = ("compute", "bubble", "tensor", "pipeline", "data", "optimizer")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Step time on 1 to 100 000 workers, on paper.")
    parser.add_argument("--save", action="store_true", help="draw docs/scaling.png")
    options = parser.parse_args(arguments)
    print("\n\n".join([layouts_table(), rings_table(), published()]))
    if options.save:
        draw(HERE.parent / "docs" / "scaling.png")


def layouts_table() -> str:
    """The best layout for GPT-3 on N workers."""
    lines = [
        "| workers | data × tensor × pipeline | s / step | efficiency | products | bubble | tensor | gradients | GB / worker |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for n in WORKERS:
        found = best(GPT3, A100, n)
        if found is None:
            need = step(GPT3, A100, Layout(1, 1, 1)).memory if n == 1 else step(GPT3, A100, Layout(1, n, 1)).memory
            lines.append(f"| {n:,} | does not fit | | | | | | | {need / 1e9:,.0f} |")
            continue
        layout, taken = found
        shares = [f"{getattr(taken, part) / taken.seconds:.0%}" for part in ("compute", "bubble", "tensor", "data")]
        cells = [
            f"{n:,}", f"{layout.data} × {layout.tensor} × {layout.pipeline}", f"{taken.seconds:.2f}", f"{efficiency(GPT3, taken, n):.0%}", *shares,
            f"{taken.memory / 1e9:.0f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rings_table() -> str:
    """GPT-2 XL, each worker with one sequence: the gradient on its way through one ring, and through nodes and halving."""
    lines = [
        "| workers | gradients in one ring, s | in nodes first, s | products, s | GB / worker | states sharded, GB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for n in WORKERS:
        job = gpt(GPT2_XL.layers, GPT2_XL.width, GPT2_XL.context, 50257, n)
        whole, sharded = (step(job, A100, Layout(data=n, sharding=stage)) for stage in (0, 1))
        circle = ring(job.number * job.parameters, n, A100.node_bandwidth, A100.node_latency)
        cells = [f"{n:,}", f"{circle:.3f}", f"{whole.data:.3f}", f"{whole.compute:.3f}", f"{whole.memory / 1e9:.1f}", f"{sharded.memory / 1e9:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def published() -> str:
    """The one trillion parameters of Narayanan et al. (2021), on 3072 A100."""
    job = gpt(128, 25600, 2048, 51200, 3072)
    rate = job.flops / step(job, A100, Layout(6, 8, 64)).seconds / 1e15
    return f"{job.parameters / 1e12:.3f} trillion parameters on 3072 workers as 6 × 8 × 64: {rate:.0f} PFLOP/s; published: 502 PFLOP/s."


def efficiency(job: Job, taken: Step, n: int) -> float:
    """The share of the N workers' time in which they compute."""
    return job.flops / (A100.flops * n) / taken.seconds


def draw(path: Path) -> None:
    """Speed-up, and where the time goes, against the number of workers."""
    from transformer import plots

    fig, (left, right) = plots.figure(10, 3.8, 1, 2)
    numbers = [2**i for i in range(17)] + [100_000]
    for i, (label, job) in enumerate([("GPT-2 XL, 1.6 billion", GPT2_XL), ("GPT-3, 175 billion", GPT3)]):
        found = [(n, efficiency(job, pair[1], n) * n) for n in numbers if (pair := best(job, A100, n))]
        left.loglog(*zip(*found, strict=True), color=plots.COLOURS[i], linestyle=plots.LINES[i], marker="os"[i], markersize=4, label=label)
    left.loglog([1, 1e5], [1, 1e5], color="0.6", linewidth=1, label="ideal")
    left.set(xlabel="workers", ylabel="as fast as so many workers without loss")
    left.legend()
    found = [(n, pair[1]) for n in numbers if (pair := best(GPT3, A100, n))]
    shares = [[getattr(taken, part) / taken.seconds for _, taken in found] for part in PARTS]
    greys = ["0.9", "0.75", "0.6", "0.45", "0.3", "0.15"]
    hatches = ["", "//", "\\\\", "..", "xx", ""]
    areas = right.stackplot([n for n, _ in found], shares, colors=greys, edgecolor="white", linewidth=0.5)
    for area, hatch in zip(areas, hatches, strict=True):
        area.set_hatch(hatch)
    right.set(xscale="log", xlabel="workers, GPT-3", ylabel="share of a step's time", ylim=(0, 1), xlim=(found[0][0], found[-1][0]))
    names = ["products", "pipeline's bubble", "tensor all-reduces", "pipeline messages", "gradients", "optimizer"]
    right.legend(areas, names, loc="upper left", bbox_to_anchor=(1, 1))
    plots.save(fig, path)


if __name__ == "__main__":
    main()
