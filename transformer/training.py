"""The training loop: batches, AdamW with warm-up and cosine, clipping, averaged weights, evaluation, samples, checkpoints.

All randomness of a run comes from one seeded generator of its own, whose state is in the checkpoint, so that a run that was stopped and
resumed gives the very same losses as one that was not.  What only shows, evaluation and samples, draws from others.
"""

from __future__ import annotations

import contextlib
import functools
import math
import signal
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, TextIO

import numpy as np

from minigrad import detect_anomaly, manual_seed, program
from minigrad.optim import AdamW, clip_grad_norm, warmup_cosine
from minigrad.programs import Program, Refused
from minigrad.random import drawing_from, generator

from .averaging import WeightAverage
from .compression.recomputing import recompute_layers
from .files import brief
from .objectives import Objective, parts
from .parallel import Workers
from .reading import evaluating
from .runs import RunFolder, append


@dataclass
class Settings:
    """How to train: lengths in steps, rates per step.

    With ``accumulate`` > 1 each batch is read in so many parts, whose gradients are added: the same gradient in less memory.
    ``recompute_layers`` saves more memory, for a third more time (see ``compression.recomputing``).
    """

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
    average: float = 0.0
    evaluate_every: int = 250
    evaluation_tokens: int = 50_000
    sample_tokens: int = 200
    seed: int = 0
    accumulate: int = 1
    recompute_layers: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            checked_number(field.name, getattr(self, field.name), type(field.default))
        for name in ("steps", "batch_size", "evaluate_every", "evaluation_tokens", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"training: {name}={getattr(self, name)}; expected 1 or more")
        if not self.lr > 0 or not self.clip > 0:
            raise ValueError(f"training: lr={self.lr}, clip={self.clip}; expected positive numbers")
        for name in ("min_lr", "warmup", "weight_decay", "sample_tokens", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"training: {name}={getattr(self, name)}; expected 0 or more")
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"training: label_smoothing={self.label_smoothing}; expected a number from 0 to 1")
        if self.accumulate > self.batch_size:
            raise ValueError(f"training: a batch of {self.batch_size} cannot be read in {self.accumulate} parts; lower accumulate")
        if not 0 <= self.average < 1:
            raise ValueError(f"training: average={self.average}; expected 0 for none, or a decay below 1 such as 0.99")


def checked_number(name: str, value: Any, kind: type) -> None:
    """ValueError unless the value of a setting is of its kind, and finite."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if kind is bool and not isinstance(value, bool):
        raise ValueError(f"training: {name}={value!r}; expected True or False")
    if kind is int and not whole:
        raise ValueError(f"training: {name}={value!r}; expected a whole number, such as {Settings.__dataclass_fields__[name].default}")
    if kind is float and not (whole or (isinstance(value, float | np.floating) and math.isfinite(value))):
        raise ValueError(f"training: {name}={value!r}; expected a number, such as {Settings.__dataclass_fields__[name].default}")


def drawing_its_own(method: Callable[..., Any]) -> Callable[..., Any]:
    """Within a method so decorated, everything is drawn from the trainer's generator."""

    @functools.wraps(method)
    def wrapped(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        with drawing_from(self.rng):
            return method(self, *args, **kwargs)

    return wrapped


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    best: float = math.inf
    best_step: int = 0


class Trainer:
    """Trains a model for an objective (see ``objectives``), optionally into a run folder.  Decay acts on matrices only, as is usual.

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
        parameters = [p for p in model.parameters() if p.requires_grad]
        groups = [([p for p in parameters if p.ndim >= 2], s.weight_decay), ([p for p in parameters if p.ndim < 2], 0.0)]
        self.optimizers = [AdamW(group, s.lr, (s.beta1, s.beta2), weight_decay=decay) for group, decay in groups if group]
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
        """One batch forward, backward and an update; gives the row for the log."""
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
            raise FloatingPointError(f"training: the loss became {value} at step {self.progress.step + 1}{self.cure(mine)}")
        self.workers.sum_gradients(self.model.parameters())
        norm = clip_grad_norm(self.model.parameters(), s.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        if self.average:
            self.average.step()
        self.progress.step += 1
        self.losses.append(value)
        self.tokens += self.objective.tokens(batch)
        return [self.progress.step, value, lr, norm, None]

    def loss(self, batch: Any) -> Any:
        """The objective's loss of a batch, or of a part of one."""
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
        with self.averaged(), drawing_from(np.random.default_rng([self.settings.seed, self.progress.step, 1])):
            return self.objective.evaluate(self.model, limit, spread=self.workers.spread)

    def sample(self, tokens: int | None = None) -> str:
        """What the model can do now, drawn from a generator of its own so that the run is not disturbed."""
        rng = np.random.default_rng([self.settings.seed, self.progress.step])
        with evaluating(self.model), self.averaged(), drawing_from(rng):
            return self.objective.sample(self.model, self.settings.sample_tokens if tokens is None else tokens, rng)

    # Numbers that are not finite ---------------------------------------------------------------------------------------

    def cure(self, batch: Any = None) -> str:
        """What to do about a number that is not finite: where the first one appears in the loss of ``batch``, and where a good state is."""
        found = ""
        if batch is not None:
            try:
                with detect_anomaly(), drawing_from(np.random.default_rng(self.settings.seed)):
                    self.objective.loss(self.model, batch, self.settings.label_smoothing)
            except FloatingPointError as error:
                found = f" ({error})"
        saved = f"; {self.folder.last_file} holds step {self.saved}, the last good one" if self.folder and self.saved else ""
        return f"{found}; lower the learning rate (--lr {self.settings.lr}) in a new run{saved}"

    def check_finite(self) -> None:
        """FloatingPointError when something that a checkpoint would hold is not finite: it must not replace a good one."""
        held = {f"the parameter {name}": p.data for name, p in self.model.named_parameters()}
        for i, optimizer in enumerate(self.remembered):
            held |= {f"{name} of optimizer {i}": array for name, array in optimizer.state_dict().items()}
        for name, array in held.items():
            if not np.isfinite(array).all():
                raise FloatingPointError(f"training: {name} is not finite after step {self.progress.step}, so nothing was saved{self.cure()}")

    # The run ----------------------------------------------------------------------------------------------------------

    @drawing_its_own
    def train(self, show: Callable[[str], None] | None = None) -> Progress:
        """Train to the last step, or until Ctrl-C or SIGTERM, which end the step, save and return; ``show`` gets messages for the user."""
        s = self.settings
        if self.folder:
            self.workers.first(self.folder.lock.take)
        self.workers.agree(self.facts)
        self.model.train()
        bar = progress_bar(s.steps, self.progress.step, self.output, hidden=self.workers.rank > 0)
        pending: list[list[Any]] = []  # rows of the log since the last checkpoint
        self.tokens = 0
        try:
            with self.clean_stop(), self.workers.watched(self.folder.path if self.folder else None):
                stop = self.stopping
                while self.progress.step < s.steps and not stop:
                    row = self.step()
                    stop = self.workers.total(self.stopping) > 0  # Ctrl-C may come to one worker; all stop after the same step
                    due = self.progress.step % s.evaluate_every == 0 or self.progress.step == s.steps
                    if due:
                        row[-1] = self.evaluate(s.evaluation_tokens)
                        if not math.isfinite(row[-1]):
                            raise FloatingPointError(f"training: the {self.objective.measure} became {row[-1]} at step {row[0]}{self.cure()}")
                        self.validation.append((self.progress.step, row[-1]))
                    pending.append(row)
                    if due or stop:
                        self.workers.agree(self.facts)
                        text = self.workers.first(functools.partial(self.checkpoint, pending, row[-1]))
                        pending = []
                    if due and self.workers.rank == 0:
                        self.report(bar, show, row, text)
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

    def report(self, bar: Any, show: Callable[[str], None] | None, row: list[Any], text: str) -> None:
        """Tell the user how it goes."""
        message = f"step {row[0]:>5}  training loss {np.mean(self.losses[-50:]):.3f}  {self.objective.measure} {row[-1]:.3f}"
        for line in text.splitlines()[:3]:
            read, arrow, said = line.rpartition(" → ")  # of a task, where the answer is what counts
            message += f"\n    {brief(read, max(50, 140 - len(said)))}{arrow}{brief(said, 150)}"
        if self.unrecorded:
            message += f"\n    trained step by step, without a program: {self.unrecorded}"
            self.unrecorded = ""
        if show:
            bar.clear()
            show(message)

    def checkpoint(self, rows: list[list[Any]], validation: float | None) -> str:
        """First log and sample, then the checkpoint: it never knows of what they lack.  Returns the sample, where one is due."""
        if self.folder:
            self.check_finite()
        better = validation is not None and validation < self.progress.best
        if better:
            self.progress.best, self.progress.best_step = float(validation or 0.0), self.progress.step
        text = "" if validation is None else self.sample()
        if not self.folder:
            return text
        self.log_checksum = zlib.crc32(self.folder.append_log(rows), self.log_checksum)
        if text:
            append(self.folder.samples_file, f"=== step {self.progress.step} ===\n{text}\n".encode())
        if better:
            with self.averaged():
                self.best_checksum = self.folder.save_best(self.model.state_dict(), self.progress.step)
        progress = {**asdict(self.progress), "rng": self.rng.bit_generator.state, "data": self.fingerprint, "log": self.log_checksum}
        self.folder.save_last(self.model, self.remembered, {**progress, "weights": self.best_checksum})
        self.saved = self.progress.step
        return text

    @functools.cached_property
    def fingerprint(self) -> int:
        """A checksum of the data, so that a run is not continued on another."""
        return self.objective.fingerprint()

    def facts(self) -> dict[str, int]:
        """Checksums of all that must be the same for every worker."""
        randomness = zlib.crc32(repr(self.rng.bit_generator.state).encode())
        return {"the data": self.fingerprint, "the random numbers": randomness} | {
            f"the parameter {name}": zlib.crc32(p.data.tobytes()) for name, p in self.model.named_parameters()
        }

    def resume(self) -> None:
        """Continue from the folder's last checkpoint; everything is read and checked before anything is changed."""
        if self.folder is None:
            raise ValueError("Trainer.resume: needs a run folder")
        self.workers.first(self.folder.lock.take)  # before anything is read: another process might be writing it
        try:
            self._resume(self.folder)
        except BaseException:
            self.folder.lock.give_back()
            raise

    def _resume(self, folder: RunFolder) -> None:
        model, optimizers, progress = folder.load_last()
        where = folder.last_file
        if progress.get("data") != self.fingerprint:
            raise ValueError(f"{where}: was trained on another text or other data; resume with the same --text or --task")
        if len(optimizers) != len(self.remembered):
            raise ValueError(f"{where}: holds the state of {len(optimizers)} optimizers, expected {len(self.remembered)}")
        folder.load_model()  # needed in the end, so damage is told now
        try:
            reached = Progress(int(progress["step"]), float(progress["best"]), int(progress["best_step"]))
            log, weights = int(progress["log"]), folder.best_checksum(reached.step, reached.best_step, progress.get("weights"))
            rng = np.random.default_rng(0)
            rng.bit_generator.state = progress["rng"]
            for optimizer, state in zip(self.remembered, optimizers, strict=True):
                optimizer.check_state_dict(state)
            self.model.load_state_dict(model)
            for optimizer, state in zip(self.remembered, optimizers, strict=True):
                optimizer.load_state_dict(state)
        except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
            message = str(error) if str(folder.path) in str(error) else f"{where}: does not fit this run: {error}"
            raise ValueError(message) from error
        if reached.step > self.settings.steps:
            done = f"{reached.step} steps are done, so it cannot end after {self.settings.steps}"
            raise ValueError(f"{folder.path}: {done}; give --steps {reached.step} or more")
        self.rng.bit_generator.state = rng.bit_generator.state
        self.progress, self.log_checksum, self.best_checksum, self.saved = reached, log, weights, reached.step
        self.workers.first(functools.partial(folder.cut_back, self.progress.step, self.log_checksum))
        rows = folder.read_log()
        self.losses = [float(r[1]) for r in rows]
        self.validation = [(int(r[0]), float(r[4])) for r in rows if r[4]]

    @contextlib.contextmanager
    def clean_stop(self) -> Iterator[None]:
        """Within it, the first Ctrl-C, SIGTERM or hang-up asks the loop to stop after the step; the second one interrupts."""

        def stop(number: int, frame: Any) -> None:
            self.stopping, self.signal = True, number
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

        before: dict[int, Any] = {}
        try:
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                if (number := getattr(signal, name, None)) is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    before[number] = signal.signal(number, stop)
        except ValueError:  # not the main thread, or a browser: leave it as it is
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def progress_bar(steps: int, done: int, output: TextIO, hidden: bool, unit: str = "step") -> Any:
    """tqdm's, without the thread that it starts to watch slow bars: there are none in a browser, and each step shows itself."""
    from tqdm import tqdm

    class Bar(tqdm):
        monitor_interval = 0

    return Bar(total=steps, initial=done, file=output, unit=unit, dynamic_ncols=True, mininterval=0.5, miniters=1, disable=hidden)
