"""The training loop: batches, AdamW with warm-up and cosine, clipping, averaged weights, evaluation, samples, checkpoints.

All randomness of a run comes from one seeded generator of its own, whose state is in the checkpoint, so that a run that was stopped and
resumed gives the very same losses as one that was not.  What only shows, evaluation and samples, draws from others.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import numpy as np

from minigrad import manual_seed, nn, program
from minigrad.optim import AdamW, Muon, Optimizer, clip_grad_norm, warmup_cosine
from minigrad.programs import Program, Refused
from minigrad.random import drawing_from, generator

from ..decoding.window import evaluating
from ..models.stacks import recompute_layers
from .averaging import WeightAverage
from .checkpoints import RunFolder
from .console import Pace, clean_stop, progress_bar, sample_lines
from .objectives import Objective, parts
from .resuming import Progress, checkpoint, cure, facts, resume
from .settings import Settings
from .workers import Workers


def drawing_its_own(method: Callable[..., Any]) -> Callable[..., Any]:
    """Within a method so decorated, everything is drawn from the trainer's generator."""

    @functools.wraps(method)
    def wrapped(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        with drawing_from(self.rng):
            return method(self, *args, **kwargs)

    return wrapped


def optimizers(model: nn.Module, parameters: list[Any], s: Settings) -> list[Optimizer]:
    """Who moves which parameters: Muon those that ``within_layers`` names, AdamW all others.  Decay acts on matrices only, as is usual."""
    within = {id(p) for p in within_layers(model)} if s.optimizer == "muon" else set()
    hidden, rest = [p for p in parameters if id(p) in within], [p for p in parameters if id(p) not in within]
    found: list[Optimizer] = [Muon(hidden, s.lr, weight_decay=s.weight_decay)] if hidden else []
    for group, decay in (([p for p in rest if p.ndim >= 2], s.weight_decay), ([p for p in rest if p.ndim < 2], 0.0)):
        if group:
            found.append(AdamW(group, s.lr, (s.beta1, s.beta2), weight_decay=decay))
    return found


def within_layers(model: nn.Module) -> Iterator[nn.Parameter]:
    """The weights of linear layers within stacks of layers: no embedding, and no output layer."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and {"layers", "cells"} & set(name.split(".")):
            yield module.weight


class Trainer:
    """Trains a model for an objective (see ``objectives``), optionally into a run folder.

    ``workers`` are the processes that share the work: this one, or ``parallel.world()``.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        settings: Settings | None = None,
        folder: RunFolder | None = None,
        output: TextIO | None = None,
        workers: Workers | None = None,
    ) -> None:
        if not callable(getattr(objective, "loss", None)):
            raise TypeError(
                f"Trainer: expected an objective, got {type(objective).__name__}; for a text write "
                "Trainer(model, LanguageModelling(train_ids, validation_ids, model.context_length))"
            )
        self.model, self.objective, self.folder = model, objective, folder
        self.settings = settings or Settings()
        self.output = sys.stderr if output is None else output
        self.workers = workers or Workers()
        s = self.settings
        self.workers.check(s.batch_size)
        self.schedule = warmup_cosine(s.lr, min(s.warmup, s.steps // 2), s.steps, min(s.min_lr, s.lr))
        if s.recompute_layers:
            recompute_layers(model)
        self.parameters = model.parameters()  # looked up once: of a small model's step that would be a good part
        parameters = [p for p in self.parameters if p.requires_grad]
        self.optimizers = optimizers(model, parameters, s)
        self.average = WeightAverage(parameters, s.average) if s.average else None
        self.program: Program | None = program(self.loss, model)  # forward and backward, recorded once for each set of shapes
        self.unrecorded = ""  # why there is no program any more
        self.progress = Progress()
        self.losses: list[float] = []
        self.validation: list[tuple[int, float]] = []
        self.stopping = False
        self.signal = 0  # the number of the one that asked to stop
        self.tokens = 0  # read since training began
        self.log_checksum = 0  # of all rows so far
        self.best_checksum = 0  # of the weights in best.npz
        self.saved = 0  # the step of the last checkpoint
        self.rng = np.random.default_rng(s.seed)
        manual_seed(s.seed)

    # One step ---------------------------------------------------------------------------------------------------------

    @drawing_its_own
    def step(self) -> list[Any]:
        """One batch forward, backward and an update; returns the row for the log."""
        s = self.settings
        batch = self.objective.batch(generator(), s.batch_size)
        lr = self.schedule(self.progress.step)
        for optimizer in self.optimizers:
            optimizer.lr = lr
            optimizer.zero_grad()
        value = 0.0
        mine, weight = self.workers.part(self.objective, batch)  # all of it, and 1, for a process alone
        with self.workers.own_draws(self.model, s.seed, self.progress.step):
            for part, share in parts(self.objective, mine, s.accumulate):
                value += weight * share * self.gradients(part, weight * share)
        value = self.workers.total(value)
        if not math.isfinite(value):
            raise FloatingPointError(f"training: the loss became {value} at step {self.progress.step + 1}{cure(self, mine)}")
        self.workers.sum_gradients(self.parameters)
        norm = clip_grad_norm(self.parameters, s.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        if self.average:
            self.average.step()
        self.progress.step += 1
        self.losses.append(value)
        self.tokens += self.objective.tokens(batch)
        return [self.progress.step, value, lr, norm, None]

    def loss(self, batch: Any) -> Any:
        return self.objective.loss(self.model, batch, self.settings.label_smoothing)

    def gradients(self, batch: Any, share: float) -> float:
        """Add the gradients of the loss, times ``share``, and return the loss: by a program, unless the loss cannot be recorded as one."""
        if self.program is not None:
            try:
                return self.program(batch, gradient=share).item()
            except Refused as why:
                self.program, self.unrecorded = None, str(why)
        loss = self.loss(batch)
        loss.backward(np.asarray(share, loss.dtype))
        return loss.item()

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Within it the model holds the weights that count: their average where there is one."""
        return self.average.applied() if self.average else contextlib.nullcontext()

    @property
    def remembered(self) -> list[Any]:
        """What has a state besides the model."""
        return [*self.optimizers, *([self.average] if self.average else [])]

    def evaluate(self, limit: int | None = None) -> float:
        """The objective's measure of validation, usually the loss, over about ``limit`` tokens (all when None)."""
        return self.measured(self.objective.evaluate, limit, 1)

    def evaluate_seen(self, limit: int | None = None) -> float:
        """The same on training data, where the objective can tell; else the mean loss of the last 50 batches."""
        seen = getattr(self.objective, "evaluate_seen", None)
        if seen is None:
            return float(np.mean(self.losses[-50:]))
        return self.measured(seen, limit, 2)

    def measured(self, measure: Callable[..., float], limit: int | None, stream: int) -> float:
        """What ``measure`` finds on about ``limit`` tokens; what it draws disturbs nothing."""
        with self.averaged(), drawing_from(np.random.default_rng([self.settings.seed, self.progress.step, stream])):
            return float(measure(self.model, limit, spread=self.workers.spread))

    def sample(self, tokens: int | None = None) -> str:
        """What the model can do now, drawn from a generator of its own so that the run is not disturbed."""
        rng = np.random.default_rng([self.settings.seed, self.progress.step])
        with evaluating(self.model), self.averaged(), drawing_from(rng):
            return self.objective.sample(self.model, self.settings.sample_tokens if tokens is None else tokens, rng)

    # The run ----------------------------------------------------------------------------------------------------------

    @drawing_its_own
    def train(self, show: Callable[[str], None] | None = None) -> Progress:
        """Train to the last step, or until Ctrl-C or SIGTERM, which end the step, save and return; ``show`` gets messages for the user."""
        s = self.settings
        if self.folder:
            self.workers.first(self.folder.lock.take)
        self.workers.agree(functools.partial(facts, self))
        self.model.train()
        bar = progress_bar(s.steps, self.progress.step, self.output, hidden=self.workers.rank > 0)
        pace = Pace(s.steps - self.progress.step)
        pending: list[list[Any]] = []  # rows of the log since the last checkpoint
        self.tokens = 0
        try:
            with clean_stop(self), self.workers.watched(self.folder.path if self.folder else None):
                stop = self.stopping
                while self.progress.step < s.steps and not stop:
                    row = self.step()
                    stop = self.workers.total(self.stopping) > 0  # Ctrl-C may come to one worker; all stop after the same step
                    due = self.progress.step % s.evaluate_every == 0 or self.progress.step == s.steps
                    if due:
                        row[-1] = self.evaluate(s.evaluation_tokens)
                        if not math.isfinite(row[-1]):
                            raise FloatingPointError(f"training: the {self.objective.measure} became {row[-1]} at step {row[0]}{cure(self)}")
                        self.validation.append((self.progress.step, row[-1]))
                        seen = self.evaluate_seen(s.evaluation_tokens) if show else math.nan  # for the eyes only
                    pending.append(row)
                    if due or stop:
                        self.workers.agree(functools.partial(facts, self))
                        text = self.workers.first(functools.partial(checkpoint, self, pending, row[-1]))
                        pending = []
                    if due and self.workers.rank == 0:
                        self.report(bar, show, row, seen, text)
                    if (told := pace.step()) and show and self.workers.rank == 0:
                        bar.clear()
                        show(told)
                    bar.update(1)
                    if self.progress.step % 10 == 0:
                        rate = self.tokens / max(1e-9, bar.format_dict["elapsed"])
                        bar.set_postfix_str(f"loss {np.mean(self.losses[-50:]):.3f}, {rate:,.0f} tokens/s", refresh=False)
                self.stopping = stop
        finally:
            bar.close()
            if self.folder:
                self.folder.lock.give_back()
        return self.progress

    def report(self, bar: Any, show: Callable[[str], None] | None, row: list[Any], seen: float, text: str) -> None:
        message = f"step {row[0]:>5}  training loss {seen:.3f}  {self.objective.measure} {row[-1]:.3f}"
        message += sample_lines(text)
        if self.unrecorded:
            message += f"\n    trained step by step, without a program: {self.unrecorded}"
            self.unrecorded = ""
        if show:
            bar.clear()
            show(message)

    def resume(self) -> None:
        """Continue from the folder's last checkpoint; everything is read and checked before anything is changed."""
        resume(self)

    @functools.cached_property
    def fingerprint(self) -> int:
        """A checksum of the data, so that a run is not continued on another."""
        return self.objective.fingerprint()
