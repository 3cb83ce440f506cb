"""What each remedy for too large and too slow costs in quality, and saves in bytes and time.

    python -m benchmarks.remedies [--only SECTION ...] [--steps N] [--save]

`--save` writes benchmarks/remedies.md and benchmarks/remedies.png. Times are medians of runs that take turns with the plain way, as ratios
to it; memory is the peak of arrays that NumPy allocates, as tracemalloc sees it.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # read when NumPy is imported

import argparse
import io
import math
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import optim
from minigrad.ops.attention import attention
from minigrad.storage import write_atomically
from transformer import GPT, KVCache, LanguageModelling, Trainer, plots
from transformer.compression import HalfTraining, LossScale, add_adapters, count, pack, recompute_layers, remove_adapters, share_layers, unpack
from transformer.data import corpora
from transformer.data.tokenizers import CharTokenizer
from transformer.training.settings import Settings

from .paired import seconds

HERE = Path(__file__).resolve().parent
WIDTH, LAYERS, HEADS, CONTEXT, BATCH = 128, 2, 4, 64, 12
LIBRARY = ("argparse.py", "typing.py", "inspect.py", "subprocess.py", "tarfile.py")  # of Python itself: the second text


class Row(NamedTuple):
    """A line of a table: the remedy, and its figures as text; ``place`` is where it stands in the picture."""

    name: str
    cells: tuple[str, ...]
    place: tuple[float, float] | None = None


class Section(NamedTuple):
    title: str
    says: str
    head: tuple[str, ...]
    rows: list[Row]


@cache
def texts() -> tuple[CharTokenizer, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A tokenizer for both texts, and of each what to train on and what to measure on."""
    first = corpora.default_text()
    folder = Path(os.__file__).parent
    second = "".join((folder / name).read_text(encoding="utf-8") for name in LIBRARY)
    tokenizer = CharTokenizer.train(first + second)
    cut = [(ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :][:10_001]) for ids in (tokenizer.encode(first), tokenizer.encode(second))]
    return tokenizer, cut[0], cut[1]


def make(layers: int = LAYERS, context: int = CONTEXT, **options: Any) -> GPT:
    mg.manual_seed(0)
    return GPT(texts()[0].vocab_size, WIDTH, HEADS, layers, context, **options)


def train(model: GPT, steps: int, second: bool = False, lr: float = 2e-3, decay: float = 0.1, characters: int | None = None) -> float:
    """Train on so many characters; the loss on held-out text in nats per character: in the end, or on the second text at its best."""
    settings = Settings(steps=steps, batch_size=BATCH, lr=lr, min_lr=lr / 10, warmup=20, weight_decay=decay, evaluate_every=50 if second else steps)
    ids, held_out = texts()[1 + second]
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        trainer = Trainer(model, LanguageModelling(ids[:characters], held_out, CONTEXT), settings, output=nowhere)
        return trainer.train().best


def loss_of(model: GPT, second: bool = False) -> float:
    return LanguageModelling(*texts()[1 + second], CONTEXT).evaluate(model)


def file_size(state: Mapping[str, np.ndarray]) -> int:
    """As minigrad.save writes it, but for its checksums."""
    whole = io.BytesIO()
    np.savez(whole, **state)
    return whole.tell()


def kilobytes(n: float) -> str:
    return f"{n / 1000:,.0f} kB"


def relative(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The time of each relative to the first, which takes turns with them."""
    times = seconds(contenders, rounds)
    first = times[next(iter(times))]
    return {name: float(np.median(t / first)) for name, t in times.items()}


def peak(run: Callable[[], object]) -> int:
    """The most bytes that NumPy held at a time while it ran, beyond what there was."""
    run()
    tracemalloc.start()
    run()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


# The sections ------------------------------------------------------------------------------------------------------------


def weights(base: GPT) -> Iterator[Row]:
    """The trained weights in fewer bits."""
    state = base.state_dict()
    whole, exact = file_size(state), loss_of(base)
    yield Row("float32", (kilobytes(whole), "100 %", f"{math.exp(exact):.4f}", ""), (100, 0))
    for to, by, group in [("float16", "", 0), ("bfloat16", "", 0), ("int8", "tensor", 0), ("int8", "channel", 0), ("int8", "group", 64)]:
        packed = pack(base, to, **({"by": by, "group": group or 64} if by else {}))
        size = file_size(packed)
        found = loss_of(base.load_state_dict(unpack(packed)))
        base.load_state_dict(state)
        name = f"{to}{f', by {by}' if by else ''}{f' of {group}' if group else ''}"
        change = math.expm1(found - exact)
        place = 100 * size / whole, 100 * change
        yield Row(name, (kilobytes(size), f"{size / whole:.1%}", f"{math.exp(found):.4f}", f"{change:+.3%}"), place)


ARCHITECTURES: dict[str, tuple[dict[str, Any], int]] = {
    "output tied to the embedding": ({}, 0),
    "output not tied": ({"tie_embeddings": False}, 0),
    "2 layers, 1 set of weights": ({}, 1),
    "2 key/value heads for 4": ({"num_kv_heads": 2}, 0),
    "1 key/value head for 4": ({"num_kv_heads": 1}, 0),
}


def architectures(steps: int) -> Iterator[Row]:
    """Models with fewer parameters, trained alike."""
    models = {name: share_layers(make(**options), distinct) if distinct else make(**options) for name, (options, distinct) in ARCHITECTURES.items()}
    ids = texts()[1][0][: BATCH * CONTEXT].reshape(BATCH, CONTEXT).astype(np.int64)

    def step(model: GPT) -> None:
        mg.cross_entropy(model(ids), ids).backward()
        model.zero_grad()

    slower = relative({name: partial(step, model) for name, model in models.items()}, 15)
    for name, model in models.items():
        loss = train(model, steps)
        table, size = count(model, 1), file_size(model.state_dict())
        cells = (f"{table.parameters:,}", kilobytes(size), kilobytes(table.cache_bytes), f"{slower[name]:.2f}", f"{math.exp(loss):.2f}")
        yield Row(name, cells, (size / 1000, math.exp(loss)))


def memory(length: int = 256) -> Iterator[Row]:
    """A training step in less memory."""
    batch = 8
    ids = np.random.default_rng(0).integers(0, 90, (batch, length))

    def step(model: GPT, parts: int = 1) -> None:
        for part in np.split(ids, parts):
            mg.cross_entropy(model(part), part).backward(np.asarray(1 / parts, np.float32))
        model.zero_grad()

    plain, again = make(4, length), recompute_layers(make(4, length))
    with_square = make(4, length)
    for layer in with_square.layers:
        layer.self_attention.forward = partial(attention_with_square, layer.self_attention)
    ways = {
        "plain": partial(step, plain),
        "attention with a T × T array": partial(step, with_square),
        "layers computed again": partial(step, again),
        "batch in 4 parts": partial(step, plain, 4),
        "both": partial(step, again, 4),
    }
    slower = relative(ways, 7)
    held = {name: peak(run) for name, run in ways.items()}
    for name in ways:
        share = held[name] / held["plain"]
        yield Row(name, (f"{held[name] / 1e6:.1f} MB", f"{share:.0%}", f"{slower[name]:.2f}"), (100 * share, slower[name]))


def attention_with_square(m: Any, query: Any, key: Any = None, value: Any = None, mask: Any = None, causal: bool = False, cache: Any = None) -> Any:
    """What MultiHeadAttention does, in plain operators: all T × T scores, and each step on them, in memory."""
    q, k, v = (mg.split_heads(p(query), heads) for p, heads in ((m.q_proj, m.num_heads), (m.k_proj, m.num_kv_heads), (m.v_proj, m.num_kv_heads)))
    return m.out_proj(mg.join_heads(attention.definition(q, k, v, None, mask, causal)))


def generation(length: int = 128) -> Iterator[Row]:
    """Writing with and without a cache of keys and values."""
    models = {f"{kv} key/value head{'s' * (kv > 1)}": make(4, length, num_kv_heads=kv) for kv in (4, 2, 1)}

    def write(model: GPT, cached: bool) -> None:
        cache, ids = KVCache(length) if cached else None, np.ones((1, 1), np.int64)
        with mg.no_grad():
            for _ in range(length - 1):
                last = model(ids[:, -1:] if cached else ids, cache=cache).data[:, -1].argmax(axis=-1)[:, None]
                ids = np.concatenate([ids, last], axis=1)

    ways = {"no cache": partial(write, models["4 key/value heads"].eval(), False)}
    ways |= {f"cache, {name}": partial(write, model.eval(), True) for name, model in models.items()}
    slower = relative(ways, 3)
    for name in ways:
        held = count(models[name.removeprefix("cache, ")], 1).cache_bytes if name != "no cache" else 0
        yield Row(name, (kilobytes(held), f"{slower[name]:.3f}"), (held, slower[name]))


def half(steps: int) -> Iterator[Row]:
    """Training that rounds to sixteen bits."""
    small = 2.0**-12
    ways: dict[str, tuple[str, float, float, bool]] = {  # format, factor on the loss, loss scale (0: dynamic), master weights
        "float32": ("", 1.0, 1.0, True),
        "float16, loss scaled": ("float16", 1.0, 0.0, True),
        "float16, loss not scaled": ("float16", 1.0, 1.0, True),
        "float16, gradients 4096 times smaller, loss scaled": ("float16", small, 0.0, True),
        "float16, gradients 4096 times smaller, loss not scaled": ("float16", small, 1.0, True),
        "bfloat16": ("bfloat16", 1.0, 1.0, True),
        "bfloat16, no master weights": ("bfloat16", 1.0, 1.0, False),
    }
    for name, way in ways.items():
        loss, skipped = rounded_training(steps, *way)
        yield Row(name, (f"{loss:.3f}", f"{skipped}"))


def rounded_training(steps: int, format: str, factor: float, scale: float, master: bool) -> tuple[float, int]:
    """The loss on held-out text after so many steps, and how many of them were skipped."""
    model, rng = make(), np.random.default_rng(0)
    work = LanguageModelling(*texts()[1], CONTEXT)
    optimizer = optim.Adam(model.parameters(), 1e-3, (0.9, 0.99))
    training = HalfTraining(model, optimizer, format or "float16", LossScale() if not scale else LossScale(scale, dynamic=False), master)
    schedule = optim.warmup_cosine(1e-3, min(20, steps), steps, 1e-4)
    for step in range(steps):
        optimizer.lr = schedule(step)
        batch = work.batch(rng, BATCH)
        if format:
            training.step(lambda batch=batch: work.loss(model, batch) * factor)
            continue
        optimizer.zero_grad()
        work.loss(model, batch).backward()
        optimizer.step()
    return loss_of(model), training.skipped


BOTH = ("q_proj", "v_proj", "up", "down")


def adapters(base: GPT, steps: int) -> Iterator[Row]:
    """From help texts to source code, a little of it and much of it."""
    state, before = base.state_dict(), loss_of(base, second=True)
    everything = sum(a.size for a in state.values())
    yield Row("nothing", ("0", "", f"{before:.3f}", ""))
    for characters, tried in ((48_000, [(1, ("q_proj", "v_proj")), (1, BOTH), (2, BOTH), (8, BOTH)]), (None, [(2, BOTH), (8, BOTH)])):
        much = "48,000 characters" if characters else f"{len(texts()[2][0]):,} characters"
        full = min(train(base.load_state_dict(state), steps, True, lr, 0.1, characters) for lr in (1e-3, 4e-4))
        yield Row(f"all weights, {much}", (f"{everything:,}", "100 %", f"{full:.3f}", "100 %"))
        for rank, targets in tried:
            base.load_state_dict(state)
            mg.manual_seed(1)
            number = sum(p.size for p in add_adapters(base, rank, targets=targets))
            loss = train(base, steps, True, 1e-2, 0.0, characters)
            remove_adapters(base)
            where = "attention and feed-forward" if targets is BOTH else "attention"
            gain = (before - loss) / (before - full)
            cells = (f"{number:,}", f"{number / everything:.2%}", f"{loss:.3f}", f"{gain:.0%}")
            yield Row(f"rank {rank}, {where}, {much}", cells, (100 * number / everything, 100 * gain))


SECTIONS = ("weights", "architectures", "memory", "generation", "half", "adapters")


def run(only: Sequence[str], steps: int) -> Iterator[Section]:
    """The sections that are asked for; a base is trained once."""
    base = make()
    if {"weights", "adapters"} & set(only):
        train(base, steps)
    if "weights" in only:
        says = "The same trained weights, stored in fewer bits and computed in float32."
        yield Section("Weights on disk", says, ("weights", "file", "of float32", "perplexity", "change"), list(weights(base)))
    if "architectures" in only:
        says = (
            f"Each trained for {steps // 3} steps; the cache is that of one text of {CONTEXT} tokens, time that of a training step. The loss still "
            "falls fast after so few steps, so the order tells who learns quickly, not who is best in the end."
        )
        head = ("model", "parameters", "file", "KV cache", "time", "perplexity")
        yield Section("Fewer parameters", says, head, list(architectures(steps // 3)))
    if "memory" in only:
        says = "A training step of 4 layers on 8 texts of 256 tokens; the gradients are the same to round-off in every row."
        yield Section("Memory of training", says, ("way", "peak", "of plain", "time"), list(memory()))
    if "generation" in only:
        says = "128 tokens, one text, 4 layers; bytes at its end."
        yield Section("Writing", says, ("way", "KV cache", "time"), list(generation()))
    if "half" in only:
        says = f"{steps // 15} steps from the start, with weights, activations and gradients rounded; loss in nats per character of held-out text."
        yield Section("Training in sixteen bits", says, ("way", "loss", "steps skipped"), list(half(steps // 15)))
    if "adapters" in only:
        says = (
            f"The base learned Python's help texts; here it goes on to Python's source code, for up to {steps // 4} steps, and counts at its best on "
            "held-out source code (nats per character); all weights at the better of two learning rates. Of little text the few numbers of an "
            "adapter of rank 2 learn nearly as much as all weights do; of much text, less. It depends on the texts: with the last 8,000 characters "
            "of inspect.py held out, of which all weights gained only 0.14 nats, rank 2 recovered 65 %."
        )
        head = ("what learns, from how much text", "numbers", "of all", "loss", "of the gain")
        yield Section("Adapters", says, head, list(adapters(base, steps // 4)))


# Report ------------------------------------------------------------------------------------------------------------------


def markdown(section: Section) -> list[str]:
    lines = [f"## {section.title}", "", section.says, "", f"| {' | '.join(section.head)} |", "| --- |" + " ---: |" * (len(section.head) - 1)]
    return [*lines, *(f"| {row.name} | {' | '.join(row.cells)} |" for row in section.rows), ""]


def draw(sections: Mapping[str, Section], path: Path) -> None:
    """Quality against bytes, time against memory, gain against numbers."""
    fig, axes = plots.figure(11.0, 8.0, 2, 2)
    labels = {  # the words on the axes, and where a name stands beside its point
        "Weights on disk": ("bytes of the file, relative to float32 (%)", "change of the perplexity (%)"),
        "Fewer parameters": ("bytes of the file (kB)", "perplexity"),
        "Memory of training": ("peak memory of a step, relative to the plain way (%)", "time of a step, relative to the plain way"),
        "Adapters": ("numbers that learn, of all (%)", "share of the gain of all weights (%)"),
    }
    for ax, (title, (across, up)), colour in zip(axes.flat, labels.items(), plots.COLOURS, strict=False):
        placed = [row for row in sections[title].rows if row.place]
        for row in placed:
            filled = not row.name.endswith("48,000 characters")
            ax.plot(*row.place, "o", color=colour, markersize=8, markerfacecolor=colour if filled else "white", markeredgewidth=1.6)
            right = row.place[0] > (4 if title == "Adapters" else 0.6 * max(r.place[0] for r in placed if r.place))
            name = row.name.rsplit(", ", 1)[0].replace(", attention and feed-forward", "") if title == "Adapters" else row.name
            beside: dict[str, Any] = {"xytext": (-9, 0), "ha": "right"} if right else {"xytext": (9, 0), "ha": "left"}
            ax.annotate(name, row.place, textcoords="offset points", fontsize=8.5, va="center", **beside)
        ax.set(xlabel=across, ylabel=up)
        ax.set_title(title, fontsize=11)
        ax.margins(x=0.25, y=0.15)
    axes[0, 0].axhline(0, color="0.4", linestyle=":", linewidth=1)
    axes[1, 0].set(xlim=(0, None), ylim=(0, None))
    ax = axes[1, 1]
    ax.axhline(100, color="0.4", linestyle=":", linewidth=1)
    ax.set_xscale("log")
    ax.set_xticks([0.2, 0.5, 1, 2, 5, 10], ["0.2", "0.5", "1", "2", "5", "10"])
    ax.minorticks_off()
    ax.set(xlim=(0.15, 40), ylim=(0, None))
    for name, face in (("from 48,000 characters", "white"), ("from all source code", plots.COLOURS[3])):
        ax.plot([], [], "o", color=plots.COLOURS[3], markerfacecolor=face, markeredgewidth=1.6, markersize=8, label=name)
    ax.legend(loc="lower left")
    plots.save(fig, path)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.remedies", description="What do the remedies cost, and save?")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION", help=f"some of: {', '.join(SECTIONS)}")
    parser.add_argument("--steps", type=int, default=1500, metavar="N", help="training steps of the base (default 1500)")
    parser.add_argument("--save", action="store_true", help="write benchmarks/remedies.md and benchmarks/remedies.png")
    args = parser.parse_args(argv)
    if args.steps < 15:
        parser.error(f"--steps {args.steps}: expected 15 or more")
    if args.save and len(args.only) < len(SECTIONS):
        parser.error("--save needs all sections; leave out --only")
    start, found = time.process_time(), {}
    for section in run(args.only, args.steps):
        found[section.title] = section
        print("\n".join(markdown(section)), flush=True)
    if args.save:
        minutes = (time.process_time() - start) / 60
        lines = [
            "# What the remedies cost, and what they save", "",
            f"Written by `python -m benchmarks.remedies --save` in {minutes:.0f} minutes, one thread.", "",
            f"The base is a GPT of {LAYERS} layers, {HEADS} heads, width {WIDTH}, context {CONTEXT}, trained on characters of Python's help "
            f"texts for {args.steps} steps of {BATCH} × {CONTEXT} tokens, one seed. Times are relative to the first row of their table, measured "
            "in turns with it.", "",
            "![Quality against bytes, time against memory, gain against numbers](remedies.png)", "",
        ]  # fmt: skip
        lines += [line for section in found.values() for line in markdown(section)]
        write_atomically(HERE / "remedies.md", lambda file: file.write("\n".join(lines).encode("utf-8")))
        draw(found, HERE / "remedies.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
