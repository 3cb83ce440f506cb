"""A run that stops and goes on: what a checkpoint holds, and how a trainer continues from it as if nothing had happened."""

from __future__ import annotations

import functools
import math
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import detect_anomaly
from minigrad.random import drawing_from

from .checkpoints import RunFolder
from .log import append

if TYPE_CHECKING:
    from .loop import Trainer


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    best: float = math.inf
    best_step: int = 0


def checkpoint(trainer: Trainer, rows: list[list[Any]], validation: float | None) -> str:
    """First log and sample, then the checkpoint: it never knows of what they lack.  Returns the sample, where one is due."""
    if trainer.folder:
        check_finite(trainer)
    better = validation is not None and validation < trainer.progress.best
    if better:
        trainer.progress.best, trainer.progress.best_step = float(validation or 0.0), trainer.progress.step
    text = "" if validation is None else trainer.sample()
    if not trainer.folder:
        return text
    trainer.log_checksum = zlib.crc32(trainer.folder.append_log(rows), trainer.log_checksum)
    if text:
        append(trainer.folder.samples_file, f"=== step {trainer.progress.step} ===\n{text}\n".encode())
    if better:
        with trainer.averaged():
            trainer.best_checksum = trainer.folder.save_best(trainer.model.state_dict(), trainer.progress.step)
    progress = {**asdict(trainer.progress), "rng": trainer.rng.bit_generator.state, "data": trainer.fingerprint, "log": trainer.log_checksum}
    trainer.folder.save_last(trainer.model, trainer.remembered, {**progress, "weights": trainer.best_checksum})
    trainer.saved = trainer.progress.step
    return text


def resume(trainer: Trainer) -> None:
    """Continue from the folder's last checkpoint; everything is read and checked before anything is changed."""
    if trainer.folder is None:
        raise ValueError("Trainer.resume: needs a run folder")
    trainer.workers.first(trainer.folder.lock.take)  # before anything is read: another process might be writing it
    try:
        restore(trainer, trainer.folder)
    except BaseException:
        trainer.folder.lock.give_back()
        raise


def restore(trainer: Trainer, folder: RunFolder) -> None:
    """Read and check everything, then change the trainer."""
    model, optimizers, progress = folder.load_last()
    where = folder.last_file
    if progress.get("data") != trainer.fingerprint:
        raise ValueError(f"{where}: was trained on another text or other data; resume with the same --text or --task")
    if len(optimizers) != len(trainer.remembered):
        raise ValueError(f"{where}: holds the state of {len(optimizers)} optimizers, expected {len(trainer.remembered)}")
    folder.load_model()  # needed in the end, so damage is told now
    try:
        reached = Progress(int(progress["step"]), float(progress["best"]), int(progress["best_step"]))
        log, weights = int(progress["log"]), folder.best_checksum(reached.step, reached.best_step, progress.get("weights"))
        rng = np.random.default_rng(0)
        rng.bit_generator.state = progress["rng"]
        for optimizer, state in zip(trainer.remembered, optimizers, strict=True):
            optimizer.check_state_dict(state)
        trainer.model.load_state_dict(model)
        for optimizer, state in zip(trainer.remembered, optimizers, strict=True):
            optimizer.load_state_dict(state)
    except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        message = str(error) if str(folder.path) in str(error) else f"{where}: does not fit this run: {error}"
        raise ValueError(message) from error
    if reached.step > trainer.settings.steps:
        done = f"{reached.step} steps are done, so it cannot end after {trainer.settings.steps}"
        raise ValueError(f"{folder.path}: {done}; give --steps {reached.step} or more")
    trainer.rng.bit_generator.state = rng.bit_generator.state
    trainer.progress, trainer.log_checksum, trainer.best_checksum, trainer.saved = reached, log, weights, reached.step
    trainer.workers.first(functools.partial(folder.cut_back, trainer.progress.step, trainer.log_checksum))
    rows = folder.read_log()
    trainer.losses = [float(r[1]) for r in rows]
    trainer.validation = [(int(r[0]), float(r[4])) for r in rows if r[4]]


def facts(trainer: Trainer) -> dict[str, int]:
    """Checksums of all that must be the same for every worker."""
    randomness = zlib.crc32(repr(trainer.rng.bit_generator.state).encode())
    return {"the data": trainer.fingerprint, "the random numbers": randomness} | {
        f"the parameter {name}": zlib.crc32(p.data.tobytes()) for name, p in trainer.model.named_parameters()
    }


# Numbers that are not finite ---------------------------------------------------------------------------------------------


def cure(trainer: Trainer, batch: Any = None) -> str:
    """What to do about a number that is not finite: where the first one appears in the loss of ``batch``, and where a good state is."""
    found = ""
    if batch is not None:
        try:
            with detect_anomaly(), drawing_from(np.random.default_rng(trainer.settings.seed)):
                trainer.objective.loss(trainer.model, batch, trainer.settings.label_smoothing)
        except FloatingPointError as error:
            found = f" ({error})"
    saved = f"; {trainer.folder.last_file} holds step {trainer.saved}, the last good one" if trainer.folder and trainer.saved else ""
    return f"{found}; lower the learning rate (--lr {trainer.settings.lr}) in a new run{saved}"


def check_finite(trainer: Trainer) -> None:
    """FloatingPointError when something that a checkpoint would hold is not finite: it must not replace a good one."""
    held = {f"the parameter {name}": p.data for name, p in trainer.model.named_parameters()}
    for i, optimizer in enumerate(trainer.remembered):
        held |= {f"{name} of optimizer {i}": array for name, array in optimizer.state_dict().items()}
    for name, array in held.items():
        if not np.isfinite(array).all():
            raise FloatingPointError(f"training: {name} is not finite after step {trainer.progress.step}, so nothing was saved{cure(trainer)}")
