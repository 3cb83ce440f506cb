"""What raises the quality of a small language model, each cause switched on or off alone, all else equal.

    python -m benchmarks.ablations [--only NAME ...] [--steps N] [--seeds N ...] [--width N] [--layers N] [--save]

Every run trains a GPT on the first 90 % of the default text and is measured in bits per character on the same piece of the rest, so that
tokenizers can be compared: at the end of training, and at its best evaluation, which is what `train` keeps. `--save` writes
benchmarks/ablations.md and benchmarks/scaling.png. `--only` takes names from the table, and `parameters` and `data` for the two
scaling curves, each with a fitted power law L(N) = E + (N_c / N)^alpha (Henighan et al. 2020, equation 1.1).
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # read when NumPy is imported

import argparse
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad.storage import write_atomically
from transformer import GPT, Trainer, plots
from transformer.data import corpora
from transformer.data.bpe import BPETokenizer
from transformer.data.tokenizers import CharTokenizer, Tokenizer
from transformer.evaluation.perplexity import bits_per_character, token_losses
from transformer.training.objectives import LanguageModelling
from transformer.training.settings import Settings

HERE = Path(__file__).resolve().parent
VALIDATION_CHARACTERS = 25_000
CONTEXT = 64
UNITS = {"parameters": "parameters", "data": "characters of training text"}


@dataclass(frozen=True)
class Setup:
    """One way to train; the defaults are the base that every other is compared with."""

    width: int = 64
    layers: int = 2
    heads: int = 2
    steps: int = 800
    share: float = 1.0  # of the training text
    bpe: int = 0  # vocabulary; 0: characters
    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


class Result(NamedTuple):
    last: float  # bits per character at the end of training
    best: float  # at the best evaluation
    parameters: int
    seconds: float


class Row(NamedTuple):
    """Several seeds of one setup."""

    name: str
    results: list[Result]

    def mean(self, what: str) -> float:
        return float(np.mean([getattr(r, what) for r in self.results]))

    def spread(self, what: str) -> float:
        return float(np.std([getattr(r, what) for r in self.results]))


def ablations(base: Setup) -> dict[str, Setup]:
    """The base, and what is changed in each of the others."""

    def with_training(**options: Any) -> Setup:
        return replace(base, training=options)

    few = replace(base, share=1 / 16)
    return {
        "base": base,
        "label smoothing 0.1": with_training(label_smoothing=0.1),
        "dropout 0.1": replace(base, model={"dropout": 0.1}),
        "output not tied": replace(base, model={"tie_embeddings": False}),
        "no warm-up": with_training(warmup=0),
        "no clipping": with_training(clip=math.inf),
        "no warm-up, no clipping, 5 x rate": with_training(warmup=0, clip=math.inf, lr=1e-2),
        "5 x rate": with_training(lr=1e-2),
        "average of weights": with_training(average=0.99),
        "constant rate": with_training(min_lr=2e-3),
        "constant rate, average of weights": with_training(min_lr=2e-3, average=0.99),
        "1/16 of the text": few,
        "1/16 of the text, dropout 0.2": replace(few, model={"dropout": 0.2}),
        "1/16 of the text, label smoothing 0.1": replace(few, training={"label_smoothing": 0.1}),
        "BPE, 512 tokens": replace(base, bpe=512),
        "BPE, 1024 tokens": replace(base, bpe=1024),
        "twice the width": replace(base, width=2 * base.width, heads=2 * base.heads),
        "twice the layers": replace(base, layers=2 * base.layers),
    }


def scaling(base: Setup) -> dict[str, dict[str, Setup]]:
    """The two curves: ever more parameters, ever more text."""
    widths = [base.width // 8, base.width // 4, base.width // 2, base.width, 2 * base.width]
    return {
        "parameters": {f"width {w}": replace(base, width=w) for w in widths},
        "data": {f"1/{n} of the text": replace(base, share=1 / n) for n in (64, 32, 16, 8, 4, 2, 1)},
    }


# One run -----------------------------------------------------------------------------------------------------------------


@cache
def text() -> tuple[str, str]:
    """Training and validation text; cut before encoding, so that all tokenizers are measured on the same characters."""
    whole = corpora.default_text()
    cut = len(whole) * 9 // 10
    return whole[:cut], whole[cut : cut + VALIDATION_CHARACTERS]


@cache
def encoded(bpe: int) -> tuple[Tokenizer, np.ndarray, np.ndarray]:
    train, validation = text()
    tokenizer: Tokenizer = BPETokenizer.train(train, bpe) if bpe else CharTokenizer.train(train + validation)
    return tokenizer, tokenizer.encode(train), tokenizer.encode(validation)


def part(ids: np.ndarray, share: float, piece: int = 1024) -> np.ndarray:
    """1/n of the ids: every n-th piece, so that less text is not also other text."""
    return np.concatenate([ids[start : start + piece] for start in range(0, len(ids), piece * round(1 / share))])


def run(setup: Setup, seed: int) -> Result:
    """Train and measure once."""
    start = time.perf_counter()
    tokenizer, train, validation = encoded(setup.bpe)
    mg.manual_seed(seed)
    model = GPT(tokenizer.vocab_size, setup.width, setup.heads, setup.layers, CONTEXT, **setup.model)
    options = {"lr": 2e-3, "min_lr": 2e-4, "warmup": 100, **setup.training}
    settings = Settings(steps=setup.steps, evaluate_every=max(1, setup.steps // 6), evaluation_tokens=len(validation), seed=seed, **options)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        trainer = Trainer(model, LanguageModelling(part(train, setup.share), validation, model.context_length), settings, output=nowhere)
        trainer.train()
    with trainer.averaged():
        last = float(token_losses(model, validation).mean())
    per_token = (len(validation) - 1) / len(tokenizer.decode(validation[1:]))  # tokens per character
    best = min(loss for _, loss in trainer.validation)
    bits = [bits_per_character(loss * per_token, 1) for loss in (last, best)]
    return Result(bits[0], bits[1], model.num_parameters(), time.perf_counter() - start)


def run_all(setups: Mapping[str, Setup], seeds: Sequence[int]) -> list[Row]:
    rows = []
    for name, setup in setups.items():
        row = Row(name, [run(setup, seed) for seed in seeds])
        print(f"  {name:<38} {row.mean('last'):.3f} ± {row.spread('last'):.3f}   best {row.mean('best'):.3f}   "
              f"{int(row.mean('parameters')):>9,} parameters  {row.mean('seconds'):5.0f} s", flush=True)  # fmt: skip
        rows.append(row)
    return rows


# Power law ---------------------------------------------------------------------------------------------------------------


class PowerLaw(NamedTuple):
    """L(N) = floor + (scale / N) ** alpha; the floor is what more of N alone cannot mend."""

    floor: float
    alpha: float
    scale: float
    fit: float  # R²

    def __call__(self, n: Any) -> Any:
        return self.floor + (self.scale / np.asarray(n, float)) ** self.alpha

    def __str__(self) -> str:
        return f"L(N) = {self.floor:.2f} + ({self.scale:.3g} / N)^{self.alpha:.3f}, R² = {self.fit:.3f}"


Curve = tuple[list[float], list[float], PowerLaw]  # sizes, losses, and the law


def fit_power_law(sizes: Sequence[float], losses: Sequence[float]) -> PowerLaw:
    """Least squares: for each of many exponents the law is linear in its floor (≥ 0) and its factor; the best of them."""
    x, y = np.asarray(sizes, float), np.asarray(losses, float)
    laws = []
    for alpha in np.geomspace(0.01, 4, 2000):
        power = (x / x[0]) ** -alpha
        factor, floor = np.polyfit(power, y, 1)
        if floor < 0:
            factor, floor = power @ y / (power @ power), 0.0
        missed = ((floor + factor * power - y) ** 2).sum()
        scale = x[0] * max(factor, 0.0) ** (1 / alpha)
        laws.append(PowerLaw(float(floor), float(alpha), float(scale), float(1 - missed / ((y - y.mean()) ** 2).sum())))
    return max(laws, key=lambda law: law.fit)


def curve(name: str, rows: Sequence[Row], setups: Mapping[str, Setup]) -> Curve:
    """Sizes (parameters, or characters of text), losses at the best evaluation in nats per character, and the law."""
    if name == "parameters":
        sizes = [row.mean("parameters") for row in rows]
    else:
        sizes = [setups[row.name].share * len(text()[0]) for row in rows]
    losses = [row.mean("best") * math.log(2) for row in rows]
    return sizes, losses, fit_power_law(sizes, losses)


def power_of_ten(value: float) -> str:
    digits, exponent = f"{value:.1e}".split("e")
    return rf"{digits} \cdot 10^{{{int(exponent)}}}"


def draw(curves: Mapping[str, Curve], path: Path) -> None:
    """Loss against size, on logarithmic axes, where a power law without a floor is a straight line."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    fig, axes = plots.figure(8.8, 4.0, 1, len(curves), squeeze=False, sharey=True)
    for ax, (name, (sizes, losses, law)) in zip(axes[0], curves.items(), strict=True):
        ax.plot(sizes, losses, "o", color=plots.COLOURS[0], label="measured")
        n, floor = np.geomspace(min(sizes), max(sizes), 100), f"{law.floor:.2f} + " if law.floor else ""
        ax.plot(n, law(n), "--", color=plots.COLOURS[1], label=f"${floor}({power_of_ten(law.scale)}/N)^{{{law.alpha:.2f}}}$")
        ax.set(xscale="log", yscale="log", xlabel=UNITS[name])
        ax.yaxis.set_major_locator(MaxNLocator(6))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.legend(frameon=False)
    axes[0][0].set_ylabel("loss (nats per character)")
    plots.save(fig, path)


# Report ------------------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> list[str]:
    lines = ["| change | bits per character at the end | at the best evaluation | against the base | parameters |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    base = next((row for row in rows if row.name == "base"), None)
    for row in rows:
        change = "" if base is None or row is base else f"{row.mean('best') - base.mean('best'):+.3f}"
        lines.append(f"| {row.name} | {row.mean('last'):.3f} ± {row.spread('last'):.3f} | {row.mean('best'):.3f} "
                     f"| {change} | {int(row.mean('parameters')):,} |")  # fmt: skip
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablations", description="What raises the quality of a small language model?")
    base = Setup()
    names = [*ablations(base), *scaling(base)]
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"some of: {', '.join(names)}")
    parser.add_argument("--steps", type=int, default=base.steps, metavar="N")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], metavar="N")
    parser.add_argument("--width", type=int, default=base.width, metavar="N")
    parser.add_argument("--layers", type=int, default=base.layers, metavar="N")
    parser.add_argument("--save", action="store_true", help="write benchmarks/ablations.md and benchmarks/scaling.png")
    args = parser.parse_args(argv)
    wanted = names if args.only is None else args.only
    if unknown := [name for name in wanted if name not in names]:
        parser.error(f"--only {unknown[0]!r}: there are {', '.join(names)}")
    base = replace(base, steps=args.steps, width=args.width, layers=args.layers)
    shape = (
        f"{base.layers} layers, width {base.width}, context {CONTEXT}, batch 12, {base.steps} steps, characters, rate 2e-3 with warm-up and "
        f"cosine, gradients clipped to norm 1, output tied to the embeddings; mean ± spread over seeds {', '.join(map(str, args.seeds))}"
    )
    print(f"Base: {shape}.", flush=True)
    rows = run_all({name: setup for name, setup in ablations(base).items() if name in wanted}, args.seeds)
    curves = {}
    for name, setups in scaling(base).items():
        if name in wanted:
            print(f"{name}:", flush=True)
            curves[name] = curve(name, run_all(setups, args.seeds), setups)
            print(f"  {curves[name][2]}", flush=True)
    if args.save:
        save(shape, rows, curves, " ".join(["python -m benchmarks.ablations", *(sys.argv[1:] if argv is None else argv)]))
    return 0


def save(shape: str, rows: Sequence[Row], curves: Mapping[str, Curve], command: str) -> None:
    """The report, and its picture."""
    lines = [
        "# What raises quality", "",
        f"Written by `{command}`.", "",
        f"The base: {shape}. Bits per character on the same {VALIDATION_CHARACTERS:,} characters of held-out text, lower is better.", "",
        "All runs make the same number of steps, each on the same number of tokens; with BPE these are more characters. A share of the text is made "
        "of pieces spread over all of it. Rows such as \"constant rate\" or \"5 x rate\" are there to show what warm-up, clipping and averaging "
        "do where they matter.", "",
        *table(rows), "",
    ]  # fmt: skip
    if curves:
        lines += [
            "## Scaling", "",
            "Loss in nats per character at the best evaluation, and the power law fitted to it.", "",
            "![Loss against size](scaling.png)", "",
        ]  # fmt: skip
        draw(curves, HERE / "scaling.png")
    for name, (sizes, losses, law) in curves.items():
        lines += [f"{law}, N = {UNITS[name]}:", "", f"| {UNITS[name]} | loss | law |", "| ---: | ---: | ---: |"]
        lines += [f"| {int(n):,} | {loss:.3f} | {law(n):.3f} |" for n, loss in zip(sizes, losses, strict=True)] + [""]
    write_atomically(HERE / "ablations.md", lambda file: file.write("\n".join(lines).encode("utf-8")))


if __name__ == "__main__":
    sys.exit(main())
