r"""Sixteen bits: what float16 and bfloat16 can hold, and training that rounds to them.

| | sign, exponent, mantissa | smallest > 0 | smallest normal | largest | ε, the gap after 1 |
| --- | --- | --- | --- | --- | --- |
| float16 | 1, 5, 10 | 2⁻²⁴ ≈ 6·10⁻⁸ | 2⁻¹⁴ ≈ 6·10⁻⁵ | 65 504 | 2⁻¹⁰ |
| bfloat16 | 1, 8, 7 | 2⁻¹³³ | 2⁻¹²⁶ | 3.4·10³⁸ | 2⁻⁷ |

float16 is fine but narrow: small gradients become 0.  Hence loss scaling: multiply the loss by s, so that all gradients are s times as large,
and divide by s before the step; where one overflows, skip the step and halve s.  bfloat16 is wide but coarse.  In both, an update
smaller than half the gap at a weight is lost, so the optimizer keeps float32 *master* weights.

Source: Micikevicius et al. (2018), "Mixed precision training", sections 3.1 and 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from minigrad import Tensor, nn
from minigrad.graph import REGISTRY
from minigrad.optim import Optimizer

from .hooks import intercepted


class Format(NamedTuple):
    """The limits of a floating-point format."""

    smallest: float  # above 0
    normal: float  # the smallest with full precision
    largest: float
    epsilon: float  # from 1 to the next


FORMATS = {
    "float16": Format(2.0**-24, 2.0**-14, 65504.0, 2.0**-10),
    "bfloat16": Format(2.0**-133, 2.0**-126, (2 - 2.0**-7) * 2.0**127, 2.0**-7),
}


def checked_format(name: str) -> Format:
    if name not in FORMATS:
        raise ValueError(f"format {name!r}; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


# Rounding ----------------------------------------------------------------------------------------------------------------


def to_bfloat16(x: Any) -> np.ndarray:
    """The bit patterns (uint16) of the bfloat16 numbers nearest to ``x``, ties to even: the upper half of a float32, rounded.

    Too large becomes ±∞; a NaN stays one.
    """
    x = np.asarray(x, np.float32)
    bits = x.view(np.uint32)
    half = (bits >> np.uint32(16)) & np.uint32(1)  # just below one half of the last digit that stays, and one half exactly where that is odd
    half += np.uint32(0x7FFF)
    half += bits
    half >>= np.uint32(16)
    pattern = half.astype(np.uint16)
    if np.isnan(x).any():
        pattern = np.where(np.isnan(x), (bits >> np.uint32(16)).astype(np.uint16) | np.uint16(0x40), pattern)
    return pattern


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 numbers of bfloat16 bit patterns (uint16): exact."""
    return (np.asarray(bits, np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)


def rounded(x: Any, name: str) -> np.ndarray:
    """``x`` as the nearest numbers of the format, in float32 again."""
    checked_format(name)
    if name == "bfloat16":
        return from_bfloat16(to_bfloat16(x))
    x = np.asarray(x, np.float32)
    tiny = np.abs(x) < 2.0**-14  # multiples of 2⁻²⁴ in float16, which NumPy converts twenty times as slowly as others
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(tiny, np.rint(x * np.float32(2.0**24)) * np.float32(2.0**-24), np.where(tiny, np.float32(0), x).astype(np.float16))


@contextmanager
def rounding(name: str) -> Iterator[None]:
    """Within it every op computes in float32 and rounds its result, and every gradient, to the format, as hardware does that multiplies
    half-precision numbers and adds in float32.  Single numbers, such as the loss, stay float32; float64 is left alone."""
    checked_format(name)

    def halve(x: Any) -> Any:
        if isinstance(x, np.ndarray) and x.ndim and x.dtype == np.float32:
            return rounded(x, name)
        return type(x)(map(halve, x)) if type(x) in (list, tuple) else x

    def wrap(op: str, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if kind == "forward" and type(result) is tuple:  # a kernel's output, and what it saved
                return halve(result[0]), result[1]
            return halve(result)

        return call

    with intercepted(REGISTRY, wrap):
        yield


# Training ----------------------------------------------------------------------------------------------------------------


class LossScale:
    """The factor s on the loss: halved after an overflow, doubled after ``patience`` steps without one; ``dynamic=False`` leaves it."""

    def __init__(self, start: float = 2.0**16, dynamic: bool = True, patience: int = 200) -> None:
        if not start > 0 or patience < 1:
            raise ValueError(f"LossScale: start={start}, patience={patience}; expected a positive factor and 1 step or more")
        self.value, self.dynamic, self.patience = float(start), dynamic, patience
        self.good = 0  # steps since the last change

    def update(self, overflow: bool) -> None:
        """Learn whether the last step overflowed."""
        self.good = 0 if overflow else self.good + 1
        if self.dynamic and overflow:
            self.value /= 2
        elif self.dynamic and self.good == self.patience:
            self.value, self.good = 2 * self.value, 0


class HalfTraining:
    """Training steps in half precision: weights, activations and gradients are rounded to ``format``; the optimizer works in float32.

    With ``master`` the optimizer moves float32 weights, of which the model sees a rounded copy; without, the weights themselves are rounded
    after each step.  ``scale`` is a LossScale (None: no scaling).  Steps whose gradients overflow are skipped and counted.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, format: str = "float16", scale: LossScale | None = None, master: bool = True
    ) -> None:
        checked_format(format)
        self.model, self.optimizer, self.format, self.master = model, optimizer, format, master
        self.scale = LossScale(1.0, dynamic=False) if scale is None else scale
        self.skipped = 0

    @contextmanager
    def halved(self) -> Iterator[None]:
        """Within it the model holds rounded weights, and ops round."""
        parameters = self.model.parameters()
        masters = [p.data for p in parameters]
        for p, whole in zip(parameters, masters, strict=True):
            p.data = rounded(whole, self.format)
        try:
            with rounding(self.format):
                yield
        finally:
            for p, whole in zip(parameters, masters, strict=True):
                p.data = whole

    def gradients(self, loss: Callable[[], Tensor]) -> float:
        """The loss, a float; the parameters get gradients that are rounded, and s times too large."""
        self.optimizer.zero_grad()
        with self.halved():
            value = loss()
            value.backward(np.asarray(self.scale.value, value.dtype))
        for p in self.model.parameters():
            if p.grad is not None:
                p.grad.data[...] = rounded(p.grad.data, self.format)
        return value.item()

    def step(self, loss: Callable[[], Tensor]) -> float:
        """One step down ``loss()``, a scalar Tensor computed by the model; returns its value.  Raises FloatingPointError when that is not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            value = self.gradients(loss)
        if not math.isfinite(value):
            raise FloatingPointError(
                f"HalfTraining: the loss became {value}, which no loss scale mends: a result is beyond {self.format}'s "
                f"{FORMATS[self.format].largest:g}; lower the learning rate{', or use bfloat16' if self.format == 'float16' else ''}"
            )
        gradients = [p.grad.data for p in self.model.parameters() if p.grad is not None]
        overflow = not all(np.isfinite(g).all() for g in gradients)
        if overflow:
            self.skipped += 1
        else:
            for g in gradients:
                g /= self.scale.value
            self.optimizer.step()
            if not self.master:
                for p in self.model.parameters():
                    p.data[...] = rounded(p.data, self.format)
        self.scale.update(overflow)
        return value
