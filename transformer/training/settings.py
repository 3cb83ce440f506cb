"""How to train: every number that a run is started with."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

OPTIMIZERS = ("adamw", "muon")


@dataclass
class Settings:
    """How to train: lengths in steps, rates per step.

    With ``accumulate`` > 1 each batch is read in so many parts, whose gradients are added: the same gradient in less memory.
    With ``optimizer`` "muon" the matrices within the layers are moved by Muon, all else by AdamW, at the same rate.
    ``recompute_layers`` saves more memory, for a third more time (see ``models.stacks``).
    """

    optimizer: str = "adamw"
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
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"training: optimizer={self.optimizer!r:.80}; expected {' or '.join(OPTIMIZERS)}")
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
