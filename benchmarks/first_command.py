"""The first command's recipe, here and in PyTorch: from the same weights, on the same batches, by the same optimizers; quality and the clock.

    python -m benchmarks.first_command [--seeds 0 1 2] [--ours] [--save]

The recipe is `transformer.cli.train.LANGUAGE_MODEL` with `training.recipes.TEXT`; PyTorch's side is `pytorch_rotary.GPT` with
`torch.optim.Muon` for the matrices within layers and `torch.optim.AdamW` for all else.  Prints, for each seed, the loss on the whole
validation part after the last step, and the processor seconds that the steps took, one thread each; before that the time of a step with either
optimizer, taken in turn.  `--save` writes benchmarks/first_command.md.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # read when NumPy is imported

import argparse
import io
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad import manual_seed
from minigrad.optim import warmup_cosine
from minigrad.storage import write_atomically
from transformer.cli.train import LANGUAGE_MODEL, language_model
from transformer.data import corpora
from transformer.data.tokenizers import CharTokenizer
from transformer.models.build import build_model
from transformer.training import recipes
from transformer.training.loop import Trainer, within_layers
from transformer.training.objectives import LanguageModelling
from transformer.training.run_data import language_modelling
from transformer.training.settings import Settings

PAGE = Path(__file__).with_suffix(".md")
TIMED_STEPS = 20


class Row(NamedTuple):
    """A seed: losses on the whole validation part, and processor seconds of all steps; None where PyTorch was left out."""

    seed: int
    ours: float
    theirs: float | None
    seconds: float
    their_seconds: float | None


def main() -> int:
    parser = argparse.ArgumentParser(description="Train the first command's recipe with this library and with PyTorch; compare.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--ours", action="store_true", help="leave PyTorch out")
    parser.add_argument("--save", action="store_true", help="write benchmarks/first_command.md")
    arguments = parser.parse_args()
    work, config = the_work()
    print("lines: " + ", ".join(f"{name} {value:.3f}" for name, value in work.lines.items()), flush=True)
    pace = {} if arguments.ours else {name: step_times(work, config, name) for name in ("muon", "adamw")}
    for name, (ours, theirs) in pace.items():
        print(f"a step with {name}: {1e3 * ours:.0f} ms, PyTorch {1e3 * theirs:.0f} ms", flush=True)
    rows: list[Row] = []
    for seed in arguments.seeds:
        rows.append(compared(work, config, Settings(**{**recipes.TEXT["muon"], "seed": seed}), not arguments.ours))
        print(as_text(rows[-1]), flush=True)
        if arguments.save:
            write_atomically(PAGE, lambda file: file.write(page(work, config, rows, pace).encode()))
    return 0


def the_work() -> tuple[LanguageModelling, dict[str, Any]]:
    """The default text as the first command reads it, and the model's configuration."""
    text = corpora.default_text()
    tokenizer = CharTokenizer.train(text)
    config = language_model(LANGUAGE_MODEL, tokenizer.vocab_size)
    return language_modelling(text, tokenizer, config["model"]["context_length"]), config


def compared(work: LanguageModelling, config: dict[str, Any], settings: Settings, with_theirs: bool) -> Row:
    """One seed, trained by both."""
    trainer = our_trainer(work, config, settings)
    theirs = TheirTrainer(trainer, config, work, settings) if with_theirs else None
    seconds = spent(trainer.step, settings.steps)
    if theirs is None:
        return Row(settings.seed, trainer.evaluate(), None, seconds, None)
    their_seconds = spent(theirs.step, settings.steps)
    theirs.copy_into(trainer.model)  # both are judged by the same code
    ours = trainer.evaluate()
    return Row(settings.seed, ours, work.evaluate(trainer.model), seconds, their_seconds)


def our_trainer(work: LanguageModelling, config: dict[str, Any], settings: Settings) -> Trainer:
    manual_seed(settings.seed)
    trainer = Trainer(build_model(config), work, settings, output=io.StringIO())
    trainer.model.train()
    return trainer


def spent(step: Callable[[], Any], times: int) -> float:
    """The processor seconds of so many steps."""
    start = time.process_time()
    for _ in range(times):
        step()
    return time.process_time() - start


class TheirTrainer:
    """PyTorch's side: nothing of ours is in its training but the first weights, the batches and the numbers of the recipe."""

    def __init__(self, trainer: Trainer, config: dict[str, Any], work: LanguageModelling, s: Settings) -> None:
        import torch

        from benchmarks import pytorch_rotary

        torch.set_num_threads(1)
        self.model = pytorch_rotary.GPT(config["model"])
        self.model.load_ours({name: np.asarray(value) for name, value in trainer.model.state_dict().items()})
        hidden = {id(p) for p in within_layers(trainer.model)}
        names = {name for name, p in trainer.model.named_parameters() if id(p) in hidden} if s.optimizer == "muon" else set()
        named = dict(self.model.named_parameters())
        rest = [p for name, p in named.items() if name not in names]
        groups = [{"params": [p for p in rest if p.ndim >= 2], "weight_decay": s.weight_decay},
                  {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0}]  # fmt: skip
        self.optimizers: list[Any] = [torch.optim.AdamW(groups, s.lr, betas=(s.beta1, s.beta2))]
        if names:
            matrices = [named[name] for name in sorted(names)]
            self.optimizers.append(torch.optim.Muon(matrices, s.lr, weight_decay=s.weight_decay, adjust_lr_fn="match_rms_adamw"))
        self.torch, self.settings, self.done = torch, s, 0
        self.batches = self.drawn(work)
        self.rate = warmup_cosine(s.lr, s.warmup, s.steps, s.min_lr)

    def drawn(self, work: LanguageModelling) -> Iterator[Any]:
        """What the trainer draws."""
        rng = np.random.default_rng(self.settings.seed)
        while True:
            yield work.batch(rng, self.settings.batch_size)

    def step(self) -> None:
        s, torch = self.settings, self.torch
        inputs, targets = (torch.from_numpy(a) for a in next(self.batches))
        for optimizer in self.optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = self.rate(self.done)
        self.model(inputs, targets).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), s.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        self.done += 1

    def copy_into(self, model: Any) -> None:
        """Our layout again: Linear weights (out, in) -> (in, out)."""
        arrays = {name: a.numpy() for name, a in self.model.state_dict().items()}
        model.load_state_dict({name: a.T if a.ndim == 2 and name != "token_embedding.weight" else a for name, a in arrays.items()})


def step_times(work: LanguageModelling, config: dict[str, Any], optimizer: str) -> tuple[float, float]:
    """The median processor seconds of a step, here and in PyTorch, taken in turn."""
    settings = replace(Settings(**recipes.TEXT["muon"]), optimizer=optimizer)
    trainer = our_trainer(work, config, settings)
    theirs = TheirTrainer(trainer, config, work, settings)
    sides = (trainer.step, theirs.step)
    for step in sides:
        spent(step, 5)  # programs are recorded, memory is claimed
    found = np.array([[spent(step, 1) for step in sides] for _ in range(TIMED_STEPS)])
    ours, other = np.median(found, axis=0)
    return float(ours), float(other)


def as_text(row: Row) -> str:
    theirs = "" if row.theirs is None else f"   PyTorch {row.theirs:.4f} in {row.their_seconds:.0f} s"
    return f"seed {row.seed}: {row.ours:.4f} in {row.seconds:.0f} s{theirs}"


def page(work: LanguageModelling, config: dict[str, Any], rows: list[Row], pace: dict[str, tuple[float, float]]) -> str:
    """The figures as Markdown."""
    import torch

    model, s = config["model"], Settings(**recipes.TEXT["muon"])
    both = pace != {}
    ours = np.array([row.ours for row in rows])
    lines = [
        "# The first command's recipe",
        "",
        f"Written by `python -m benchmarks.first_command --save`, with Python {platform.python_version()}, NumPy {np.__version__}"
        + (f", PyTorch {torch.__version__}." if both else "."),
        "",
        f"{model['num_layers']} layers, {model['num_heads']} heads, width {model['embedding_dim']}, context {model['context_length']}, "
        f"{model['positions']} positions, {model['norm']} norm, {model['ffn']}; {s.steps:,} steps of {s.batch_size} windows; Muon for the "
        f"matrices within layers and AdamW for all else, both at a rate of {s.lr:g} after {s.warmup} steps of warm-up, then a cosine to "
        f"{s.min_lr:g}; weight decay {s.weight_decay:g} on matrices, gradients clipped to norm {s.clip:g}. The text is that of the help "
        f"pages of this version of Python, {len(work.train_ids):,} characters to train on and {len(work.validation_ids):,} to validate on.",
        "",
        "Loss after the last step on the whole validation part, nats per character; processor seconds of all steps, one thread each.",
        "",
        "| seed | here | seconds |" + (" PyTorch | seconds |" if both else ""),
        "| --- | ---: | ---: |" + (" ---: | ---: |" if both else ""),
    ]
    for row in rows:
        theirs = "" if row.theirs is None else f" {row.theirs:.4f} | {row.their_seconds:.0f} |"
        lines.append(f"| {row.seed} | {row.ours:.4f} | {row.seconds:.0f} |{theirs}")
    lines += ["", f"Mean {ours.mean():.4f}, from {ours.min():.4f} to {ours.max():.4f}. Models that only count, on the same characters:", ""]
    lines += ["| model | loss |", "| --- | ---: |", *(f"| {name} | {value:.3f} |" for name, value in work.lines.items())]
    if both:
        lines += ["", f"A step by the clock: the median of {TIMED_STEPS}, taken in turn, in milliseconds. PyTorch's Muon orthogonalizes in bfloat16, "
                  "one matrix after the other; ours in float32, all matrices of a shape together.", "",
                  "| optimizer | here | PyTorch |", "| --- | ---: | ---: |"]  # fmt: skip
        lines += [f"| {name} | {1e3 * mine:.0f} | {1e3 * theirs:.0f} |" for name, (mine, theirs) in pace.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
