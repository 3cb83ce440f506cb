"""Training with several processes over MPI: throughput of 1, 2 and 4 ranks of one thread each, and what the paper model predicts for it.

    python -m benchmarks.parallel [--rounds 9] [--save]

One job of 4 ranks takes turns in every round: one rank alone, two and four together, and the same number of processes side by side that do not
talk to each other, which is the ceiling.  With ``--save``: parallel.json, parallel.md and parallel.png beside this file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
import transformer
from transformer.compression import count
from transformer.parallel import Workers
from transformer.parallel.scaling import Job, Layout, Machine, step
from transformer.parallel.workers import Ranks
from transformer.training.settings import Settings

HERE = Path(__file__).resolve().parent
VOCABULARY, WIDTH, LAYERS, HEADS, CONTEXT, BATCH = 96, 384, 6, 6, 256, 4
CASES = {  # name: ranks, sequences over all of them, whether they talk
    "1 rank": (1, BATCH, True),
    "2 ranks, 4 sequences each": (2, 2 * BATCH, True),
    "2 processes side by side": (2, BATCH, False),
    "4 ranks, 4 sequences each": (4, 4 * BATCH, True),
    "4 processes side by side": (4, BATCH, False),
    "2 ranks, 4 sequences together": (2, BATCH, True),
    "4 ranks, 4 sequences together": (4, BATCH, True),
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Throughput of several processes over MPI, measured and predicted.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--save", action="store_true", help="write parallel.json, parallel.md and parallel.png")
    parser.add_argument("--again", action="store_true", help="predict and draw again from parallel.json, without measuring")
    parser.add_argument("--rank", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rank:
        return as_rank(options.rounds, Path(options.rank))
    measured = json.loads((HERE / "parallel.json").read_text(encoding="utf-8"))["measured"] if options.again else measure(options.rounds)
    predicted = predict(measured)
    print(text := report(measured, predicted))
    if options.save or options.again:
        found = json.dumps({"measured": measured, "predicted": predicted}, indent=1) + "\n"
        (HERE / "parallel.json").write_text(found, encoding="utf-8", newline="\n")
        (HERE / "parallel.md").write_text(text + "\n", encoding="utf-8", newline="\n")
        draw(measured, predicted, HERE / "parallel.png")


# Measuring ---------------------------------------------------------------------------------------------------------------


def measure(rounds: int) -> dict[str, Any]:
    """Start the ranks and read what they found."""
    beside = Path(sys.executable).parent / "mpiexec"
    mpiexec = str(beside) if beside.exists() else "mpiexec"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        command = [mpiexec, "-n", "4", sys.executable, "-m", "benchmarks.parallel", "--rounds", str(rounds), "--rank", str(file)]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}, cwd=HERE.parent)
        return json.loads(file.read_text(encoding="utf-8"))


def as_rank(rounds: int, file: Path) -> None:
    """One of the four ranks."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    comms = {n: world.Split(0 if world.rank < n else 1) for n in (1, 2, 4)}
    mg.manual_seed(0)
    model = transformer.GPT(VOCABULARY, WIDTH, HEADS, LAYERS, CONTEXT)
    ids = np.random.default_rng(0).integers(0, VOCABULARY, 100_000)
    trainer = transformer.Trainer(model, transformer.LanguageModelling(ids[:90_000], ids[90_000:], CONTEXT), Settings(steps=10_000))
    taken: dict[str, list[float]] = {name: [] for name in CASES}
    reducing: dict[str, list[float]] = {name: [] for name in CASES}
    for turn in range(rounds + 1):
        for name in list(CASES)[:: 1 if turn % 2 else -1]:
            ranks, trainer.settings.batch_size, talking = CASES[name]
            if world.rank < ranks:
                trainer.workers = Timed(comms[ranks], MPI) if talking and ranks > 1 else Workers()
                comms[ranks].barrier()
                start = time.perf_counter()
                trainer.step()
                comms[ranks].barrier()
                taken[name].append(time.perf_counter() - start)
                reducing[name].append(getattr(trainer.workers, "seconds", 0.0))
            rest(world)
    found = {
        "seconds": {name: times[1:] for name, times in taken.items()},
        "all_reduce_seconds": {name: times[1:] for name, times in reducing.items()},
        "parameters": model.num_parameters(),
        "cores": os.cpu_count(),
        **links(comms, world, MPI),
    }
    rest(world)
    if world.rank == 0:
        file.write_text(json.dumps(found), encoding="utf-8")


class Timed(Ranks):
    """Ranks that note how long the sum of gradients takes."""

    def sum_gradients(self, parameters: Any) -> None:
        self.comm.barrier()  # so that waiting for a slower rank is not counted
        start = time.perf_counter()
        super().sum_gradients(parameters)
        self.seconds = time.perf_counter() - start


def rest(comm: Any) -> None:
    """Wait for the others without keeping a core busy, as a blocking call would."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(0.002)


def links(comms: dict[int, Any], world: Any, mpi: Any) -> dict[str, float]:
    """Latency and bandwidth between two ranks, the bandwidth of memory, and whether an all-reduce gets on while a rank computes."""
    found: dict[str, float] = {}
    pair = comms[2]
    if world.rank < 2:
        found["latency"] = repeated(lambda row: ping_pong(pair, row), np.zeros(1, np.float32), 2000) / 2
        large = np.zeros(1 << 22, np.float32)
        found["bandwidth"] = 2 * large.nbytes / repeated(lambda row: ping_pong(pair, row), large, 20)
        other = np.empty_like(large)
        if world.rank == 0:
            found["memory_bandwidth"] = 2 * large.nbytes / repeated(lambda row: np.copyto(other, row), large, 20)
        rest(pair)
        sums = np.zeros(10_000_000, np.float32)
        a = np.ones((700, 700), np.float32)

        def compute(_: Any) -> None:
            for _ in range(20):
                a @ a

        def both(row: np.ndarray) -> None:
            request = pair.Iallreduce(mpi.IN_PLACE, row)
            compute(row)
            request.Wait()

        for name, action in (("reduce", lambda row: pair.Allreduce(mpi.IN_PLACE, row)), ("compute", compute), ("overlapped", both)):
            found[f"overlap_{name}"] = repeated(action, sums, 9, pair.barrier)
    rest(world)
    return found


def ping_pong(comm: Any, row: np.ndarray) -> None:
    """There and back."""
    for sender in (0, 1):
        if comm.rank == sender:
            comm.Send(row, 1 - sender)
        else:
            comm.Recv(row, sender)


def repeated(action: Callable[[np.ndarray], object], row: np.ndarray, times: int, before: Callable[[], object] = lambda: None) -> float:
    """The median time of an action."""
    taken = []
    for _ in range(times):
        before()
        start = time.perf_counter()
        action(row)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


# Predicting --------------------------------------------------------------------------------------------------------------


def predict(measured: dict[str, Any]) -> dict[str, Any]:
    """Step times of the cases with several ranks from what was measured of one rank, of links and of cores; none of them is fitted."""
    middle = {name: statistics.median(times) for name, times in measured["seconds"].items()}
    flops = count(transformer.GPT(VOCABULARY, WIDTH, HEADS, LAYERS, CONTEXT), batch=1).training_flops
    parameters, touched = measured["parameters"], 28 + 12  # AdamW; the sum of squares for clipping, and a copy into the buckets
    optimizer = parameters * touched / measured["memory_bandwidth"]
    sustained = BATCH * flops / (middle["1 rank"] - optimizer)
    found: dict[str, Any] = {"flops": flops, "sustained_flops": sustained, "seconds": {}}
    for name, (ranks, batch, talking) in CASES.items():
        if ranks > 1 and talking:
            slower = middle[f"{ranks} processes side by side"] / middle["1 rank"]
            machine = Machine(
                flops=sustained / slower, memory_bandwidth=measured["memory_bandwidth"] / slower, memory=float("inf"),
                bandwidth=measured["bandwidth"] / max(1.0, ranks / measured["cores"]), latency=measured["latency"], node=ranks,
            )  # fmt: skip
            job = Job(parameters, LAYERS, WIDTH, CONTEXT, batch, flops / 3, number=4, touched=touched, recompute=False)
            found["seconds"][name] = dataclasses.asdict(step(job, machine, Layout(data=ranks))) | {"slower": slower}
            found["seconds"][name]["total"] = step(job, machine, Layout(data=ranks)).seconds
    return found


def report(measured: dict[str, Any], predicted: dict[str, Any]) -> str:
    """The page."""
    middle = {name: statistics.median(times) for name, times in measured["seconds"].items()}
    alone = BATCH / middle["1 rank"]
    lines = [
        "# Several processes over MPI", "",
        f"Made by `python -m benchmarks.parallel --save`: training steps of the Trainer, a GPT of width {WIDTH}, {LAYERS} layers, context {CONTEXT}, "
        f"{measured['parameters']:,} parameters, one thread for each rank, {measured['cores']} cores, "
        f"medians of {len(measured['seconds']['1 rank'])} rounds in which the cases take turns.", "",
        "| case | s / step | spread | sequences / s | times 1 rank | sum of gradients | predicted s | predicted / measured |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for name, (ranks, batch, talking) in CASES.items():
        rate = (batch if talking else ranks * batch) / middle[name]
        share = statistics.median(measured["all_reduce_seconds"][name])
        guess = predicted["seconds"].get(name, {}).get("total")
        low, high = np.quantile(measured["seconds"][name], [0.25, 0.75])
        cells = [
            name, f"{middle[name]:.3f}", f"{low:.3f}–{high:.3f}", f"{rate:.2f}", f"{rate / alone:.2f}",
            f"{share * 1e3:.0f} ms" if share else "", f"{guess:.3f}" if guess else "", f"{guess / middle[name]:.2f}" if guess else "",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    hidden = measured["overlap_reduce"] + measured["overlap_compute"] - measured["overlap_overlapped"]
    lines += [
        "", "“Side by side” are processes that do not talk to each other: what the cores give, and so the ceiling of any way of working together.",
        "", f"Inputs of the prediction, all measured: one rank alone ({predicted['sustained_flops'] / 1e9:.1f} GFLOP/s in a step of "
        f"{BATCH * predicted['flops'] / 1e9:.1f} GFLOP), how much slower processes side by side are, "
        f"a message between two ranks ({measured['latency'] * 1e6:.1f} µs, {measured['bandwidth'] / 1e9:.1f} GB/s), a copy in memory "
        f"({measured['memory_bandwidth'] / 1e9:.1f} GB/s). The times of 2 and 4 ranks are predictions, not fits.",
        "", f"Overlap: an all-reduce of 40 MB takes {measured['overlap_reduce'] * 1e3:.0f} ms, some products "
        f"{measured['overlap_compute'] * 1e3:.0f} ms, and both at once, with a nonblocking all-reduce, "
        f"{measured['overlap_overlapped'] * 1e3:.0f} ms: {max(0.0, hidden) / measured['overlap_reduce']:.0%} of the all-reduce is hidden. "
        "So gradients are sent after the backward pass, and the engine needs no hook.",
    ]  # fmt: skip
    return "\n".join(lines)


def draw(measured: dict[str, Any], predicted: dict[str, Any], path: Path) -> None:
    """Speed-up against ranks: measured, predicted, the ceiling and the ideal."""
    from transformer import plots

    middle = {name: statistics.median(times) for name, times in measured["seconds"].items()}
    fig, ax = plots.figure(6, 4)
    ranks, one = [1, 2, 4], middle["1 rank"]
    times = [one, *(middle[f"{n} ranks, 4 sequences each"] for n in (2, 4))]
    guess = [one, *(predicted["seconds"][f"{n} ranks, 4 sequences each"]["total"] for n in (2, 4))]
    apart = [one, *(middle[f"{n} processes side by side"] for n in (2, 4))]
    curves = [("measured", times, "o"), ("predicted", guess, "s"), ("side by side, without talking", apart, "^")]
    for i, (label, seconds, marker) in enumerate(curves):
        speed = [n * one / s for n, s in zip(ranks, seconds, strict=True)]
        ax.plot(ranks, speed, marker=marker, color=plots.COLOURS[i], linestyle=plots.LINES[i], label=label)
    ax.plot([1, 2, 4], [1, 2, 4], color="0.6", linewidth=1, label="ideal")
    ax.axvline(measured["cores"], color="0.6", linewidth=1, linestyle=":")
    ax.text(measured["cores"] + 0.04, 0.55, f"{measured['cores']} cores", color="0.35")
    ax.set(xlabel="ranks, one thread each", ylabel="throughput relative to one rank", xticks=ranks, ylim=(0.5, 4.1))
    ax.legend()
    plots.save(fig, path)


if __name__ == "__main__":
    main()
