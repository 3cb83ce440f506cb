"""The training loop: batches, AdamW with warm-up and cosine, clipping, evaluation, samples, checkpoints.

All randomness of a run comes from one seeded generator whose state is in the checkpoint, so that a run that was stopped and
resumed gives the very same losses as one that was not.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import signal
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TextIO

import numpy as np

from minigrad import cross_entropy, manual_seed, save
from minigrad.optim import AdamW, clip_grad_norm, warmup_cosine
from minigrad.random import generator

from .data.corpora import batch
from .data.tokenizers import Tokenizer
from .generation import generate
from .metrics import token_losses
from .runs import RunFolder


@dataclass
class Settings:
    """How to train: lengths in steps, rates per step."""

    steps: int = 2000
    batch_size: int = 12
    lr: float = 1e-3
    min_lr: float = 1e-4
    warmup: int = 100
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    clip: float = 1.0
    label_smoothing: float = 0.0
    evaluate_every: int = 250
    evaluation_tokens: int = 50_000
    sample_tokens: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "evaluate_every", "evaluation_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"training: {name}={getattr(self, name)}; expected 1 or more")
        if not self.lr > 0 or not self.clip > 0:
            raise ValueError(f"training: lr={self.lr}, clip={self.clip}; expected positive numbers")
        for name in ("min_lr", "warmup", "weight_decay", "sample_tokens", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"training: {name}={getattr(self, name)}; expected 0 or more")
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"training: label_smoothing={self.label_smoothing}; expected a number from 0 to 1")


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    best: float = math.inf
    best_step: int = 0


class Trainer:
    """Trains a language model on token ids, optionally into a run folder.

    ``train_ids`` and ``validation_ids`` are one row each.  Decay acts on matrices only, as is usual.  ``weights`` say how much each
    training token counts, in one row like ``train_ids``; they are scaled to a mean of 1.  ``penalty(model, rng)`` gives a scalar Tensor that is
    added to the loss of every step.
    """

    def __init__(
        self,
        model: Any,
        train_ids: np.ndarray,
        validation_ids: np.ndarray,
        settings: Settings | None = None,
        tokenizer: Tokenizer | None = None,
        folder: RunFolder | None = None,
        output: TextIO | None = None,
        weights: np.ndarray | None = None,
        penalty: Callable[[Any, np.random.Generator], Any] | None = None,
    ) -> None:
        self.weights = None if weights is None else checked_weights(weights, train_ids)
        self.penalty = penalty
        self.model, self.train_ids, self.validation_ids = model, train_ids, validation_ids
        self.settings = settings or Settings()
        self.tokenizer, self.folder = tokenizer, folder
        self.output = sys.stderr if output is None else output
        s = self.settings
        self.schedule = warmup_cosine(s.lr, min(s.warmup, s.steps // 2), s.steps, min(s.min_lr, s.lr))
        parameters = model.parameters()
        groups = [([p for p in parameters if p.ndim >= 2], s.weight_decay), ([p for p in parameters if p.ndim < 2], 0.0)]
        self.optimizers = [AdamW(group, s.lr, (s.beta1, s.beta2), weight_decay=decay) for group, decay in groups if group]
        self.progress = Progress()
        self.losses: list[float] = []
        self.validation: list[tuple[int, float]] = []
        self.stopping = False
        self.log_checksum = 0  # of all rows so far
        manual_seed(s.seed)

    # One step ---------------------------------------------------------------------------------------------------------

    def step(self) -> list[Any]:
        """One batch forward, backward and an update; gives the row for the log."""
        s = self.settings
        lr = self.schedule(self.progress.step)
        for optimizer in self.optimizers:
            optimizer.lr = lr
            optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(f"training: the loss became {value} at step {self.progress.step + 1}; lower the learning rate (--lr {s.lr})")
        norm = clip_grad_norm(self.model.parameters(), s.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        self.progress.step += 1
        self.losses.append(value)
        return [self.progress.step, value, lr, norm, None]

    def loss(self) -> Any:
        """The mean loss per token of a fresh batch, each token with its weight, and the penalty."""
        draw = functools.partial(batch, batch_size=self.settings.batch_size, context_length=self.model.context_length, rng=generator())
        if self.weights is None:
            inputs, targets = draw(self.train_ids)
            loss = cross_entropy(self.model(inputs), targets, label_smoothing=self.settings.label_smoothing)
        else:
            places, following = draw(self.places)  # the same windows as of the ids themselves
            inputs, targets = self.train_ids[places].astype(np.int64), self.train_ids[following].astype(np.int64)
            losses = cross_entropy(self.model(inputs), targets, label_smoothing=self.settings.label_smoothing, reduction="none")
            loss = (losses * self.weights[following]).mean()
        return loss if self.penalty is None else loss + self.penalty(self.model, generator())

    @functools.cached_property
    def places(self) -> np.ndarray:
        """0 … N − 1: windows of it are places in ``train_ids`` and ``weights``."""
        return np.arange(len(self.train_ids))

    def evaluate(self, tokens: int | None = None) -> float:
        """The mean loss per validation token, in nats, over the first ``tokens`` of them (all when None)."""
        ids = self.validation_ids if tokens is None else self.validation_ids[: tokens + 1]
        return float(token_losses(self.model, ids).mean(dtype=np.float64))

    def opening(self, characters: int = 24) -> str:
        """The first piece of running text in the validation part, for samples and pictures."""
        if self.tokenizer is None:
            raise ValueError("Trainer: needs a tokenizer for samples")
        text = self.tokenizer.decode(self.validation_ids[:4000])
        phrase = re.search(rf"(?<=\s)\w[^\W\d_]+(?: \w[^\s]*){{3,}}.{{{characters}}}", text)
        return (phrase[0] if phrase else text)[:characters]

    def sample(self, tokens: int | None = None) -> str:
        """How the model continues that opening, drawn from a generator of its own so that the run is not disturbed."""
        if self.tokenizer is None:
            raise ValueError("Trainer: needs a tokenizer for samples")
        ids = self.tokenizer.encode(self.opening())
        rng = np.random.default_rng([self.settings.seed, self.progress.step])
        count = self.settings.sample_tokens if tokens is None else tokens
        training = self.model.training
        self.model.eval()
        try:
            written = generate(self.model, ids, count, temperature=0.8, top_p=0.95, rng=rng)
        finally:
            self.model.train(training)
        return self.tokenizer.decode(written)

    # The run ----------------------------------------------------------------------------------------------------------

    def train(self, show: Callable[[str], None] | None = None) -> Progress:
        """Train to the last step, or until Ctrl-C, which ends the step, saves and returns; ``show`` gets messages for the user."""
        from tqdm import tqdm

        s, tokens = self.settings, self.settings.batch_size * self.model.context_length
        self.model.train()
        bar = tqdm(total=s.steps, initial=self.progress.step, file=self.output, unit="step", dynamic_ncols=True, mininterval=0.5)
        pending: list[list[Any]] = []  # rows of the log since the last checkpoint
        start = self.progress.step
        try:
            with self.clean_stop():
                while self.progress.step < s.steps and not self.stopping:
                    row = self.step()
                    due = self.progress.step % s.evaluate_every == 0 or self.progress.step == s.steps
                    if due:
                        row[-1] = self.evaluate(s.evaluation_tokens)
                        self.validation.append((self.progress.step, row[-1]))
                    pending.append(row)
                    if due or self.stopping:
                        self.checkpoint(pending, row[-1])
                        pending = []
                    if due:
                        self.report(bar, show, row)
                    bar.update(1)
                    if self.progress.step % 10 == 0:
                        rate = tokens * (self.progress.step - start) / max(1e-9, bar.format_dict["elapsed"])
                        bar.set_postfix_str(f"loss {np.mean(self.losses[-50:]):.3f}, {rate:,.0f} tokens/s", refresh=False)
        finally:
            bar.close()
        return self.progress

    def report(self, bar: Any, show: Callable[[str], None] | None, row: list[Any]) -> None:
        """Tell the user how it goes, and keep a sample."""
        message = f"step {row[0]:>5}  training loss {np.mean(self.losses[-50:]):.3f}  validation loss {row[-1]:.3f}"
        if self.tokenizer is not None:
            text = self.sample()
            if self.folder:
                with self.folder.samples_file.open("a", encoding="utf-8", newline="\n") as file:
                    file.write(f"=== step {row[0]} ===\n{text}\n")
            message += "\n    " + " ".join(text.split())[:150]
        if show:
            bar.clear()
            show(message)

    def checkpoint(self, rows: list[list[Any]], validation: float | None) -> None:
        """First the log, then the checkpoint: a checkpoint never knows of steps that the log lacks."""
        better = validation is not None and validation < self.progress.best
        if better:
            self.progress.best, self.progress.best_step = float(validation or 0.0), self.progress.step
        if not self.folder:
            return
        self.log_checksum = zlib.crc32(self.folder.append_log(rows), self.log_checksum)
        if better:
            save(self.model.state_dict(), self.folder.best_file)
        progress = {**asdict(self.progress), "rng": generator().bit_generator.state, "data": self.fingerprint, "log": self.log_checksum}
        self.folder.save_last(self.model, self.optimizers, progress)

    @functools.cached_property
    def fingerprint(self) -> int:
        """A checksum of the data, so that a run is not continued on another text."""
        crc = 0
        for start in range(0, len(self.train_ids), 1 << 20):
            crc = zlib.crc32(np.ascontiguousarray(self.train_ids[start : start + (1 << 20)]).tobytes(), crc)
        if self.weights is not None:
            crc = zlib.crc32(self.weights.tobytes(), crc)
        return zlib.crc32(np.ascontiguousarray(self.validation_ids[: 1 << 20]).tobytes(), crc)

    def resume(self) -> None:
        """Continue from the folder's last checkpoint; everything is read and checked before anything is changed."""
        if self.folder is None:
            raise ValueError("Trainer.resume: needs a run folder")
        model, optimizers, progress = self.folder.load_last()
        where = self.folder.last_file
        if progress.get("data") != self.fingerprint:
            raise ValueError(f"{where}: was trained on another text; resume with the same --text")
        if len(optimizers) != len(self.optimizers):
            raise ValueError(f"{where}: holds the state of {len(optimizers)} optimizers, expected {len(self.optimizers)}")
        self.folder.load_model()  # needed in the end, so damage is told now; before the generator's state is set, as it draws
        try:
            self.model.load_state_dict(model)
            for optimizer, state in zip(self.optimizers, optimizers, strict=True):
                optimizer.load_state_dict(state)
            generator().bit_generator.state = progress["rng"]
            self.progress = Progress(int(progress["step"]), float(progress["best"]), int(progress["best_step"]))
            self.log_checksum = int(progress["log"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{where}: does not fit this run: {error}") from error
        self.folder.cut_back(self.progress.step, self.log_checksum)
        rows = self.folder.read_log()
        self.losses = [float(r[1]) for r in rows]
        self.validation = [(int(r[0]), float(r[4])) for r in rows if r[4]]

    @contextlib.contextmanager
    def clean_stop(self) -> Iterator[None]:
        """Within it, the first Ctrl-C asks the loop to stop after the step; the second one interrupts."""

        def stop(*_: Any) -> None:
            self.stopping = True
            signal.signal(signal.SIGINT, signal.default_int_handler)

        try:
            before = signal.signal(signal.SIGINT, stop)
        except ValueError:  # not the main thread, or a browser: leave it as it is
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def checked_weights(weights: Any, ids: np.ndarray) -> np.ndarray:
    """Weights in float32 scaled to a mean of 1; ValueError when they are not one number ≥ 0 for each id."""
    weights = np.asarray(weights, np.float64)
    if weights.shape != np.shape(ids):
        raise ValueError(f"Trainer: weights {weights.shape} for train_ids {np.shape(ids)}; expected one weight for each token")
    if not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
        raise ValueError(f"Trainer: weights from {weights.min()} to {weights.max()}; expected numbers from 0 on, not all of them 0")
    return (weights / weights.mean()).astype(np.float32)
