"""Other functions whose gradient may have been taken by mistake: an operand left out, a mask left out, late or the
wrong way round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .program import Program
from .steps import CONSTANT, Step

MOST = 80  # steps; longer programs are not varied


class Variation(NamedTuple):
    """A program of another function; ``retained`` is the factor of the skipped step if its own derivative is kept."""

    name: str
    words: str
    program: Program
    cost: float
    retained: float | None = None


def variations(program: Program) -> Iterator[Variation]:
    """Every variation that runs."""
    for step in program.live if len(program.live) <= MOST else ():
        if _is_mask(step):
            yield from _masks(program, step)
        yield from _skipped(program, step)


def _is_mask(step: Step) -> bool:
    if step.call.op.name == "select":
        return True
    if step.call.op.name in ("add", "subtract"):
        return any(
            x == CONSTANT and isinstance(a, np.ndarray) and a.ndim and bool((np.abs(a) > 1e6).any())
            for x, a in zip(step.inputs, step.arrays, strict=True)
        )
    return False


def _keep(step: Step) -> np.ndarray:
    """1 where the mask lets through."""
    if step.call.op.name == "select":
        return np.broadcast_to(np.asarray(step.params["condition"], float), step.value.shape)
    (a,) = [a for x, a in zip(step.inputs, step.arrays, strict=True) if x == CONSTANT]
    return np.broadcast_to(np.abs(a) < 1e6, step.value.shape).astype(float)


def _masks(program: Program, step: Step) -> Iterator[Variation]:
    i = next(iter(step.wanted()))
    at = program.where(step)
    reader = next(
        (s for s in program.live if s.index > step.index and s.value.shape == step.value.shape and _normalised(s)), None
    )
    keep = _keep(step)
    if new := program.replayed({step.index: i}):
        yield Variation(
            "mask not applied",
            f"the mask is forgotten (not applied): the weights are computed again without it, in {at}",
            new,
            1.2,
        )
    if reader is not None and (new := program.replayed({step.index: i}, {reader.index: lambda v: v * keep})):
        yield Variation(
            "late mask",
            f"the mask is applied after the softmax ({program.called(reader.out)}), not before it; the rows no longer"
            f" add up to 1, in {at}",
            new,
            1.3,
        )
    if new := program.replayed({step.index: i}, {}, {step.index: keep}):
        yield Variation(
            "late mask",
            f"the mask is applied to the gradient alone: the weights are computed without it, in {at}",
            new,
            1.3,
        )
    if (
        keep.ndim > 1
        and keep.shape[-1] == keep.shape[-2]
        and (new := program.replayed({}, {step.index: lambda v: _masked(step, i, keep.swapaxes(-1, -2))}))
    ):
        yield Variation(
            "wrong mask", f"the mask is the wrong way round (transposed: rows and columns exchanged), in {at}", new, 1.4
        )
    if new := program.replayed({}, {step.index: lambda v: _masked(step, i, 1 - keep)}):
        yield Variation("wrong mask", f"the mask is upside down: it hides what it should show, in {at}", new, 1.4)


def _masked(step: Step, i: int, keep: np.ndarray) -> np.ndarray:
    return np.where(keep > 0, step.arrays[i], -1e9)


def _normalised(step: Step) -> bool:
    v = step.value
    return (
        step.call.op.name in ("softmax", "divide")
        and v.ndim > 0
        and v.min() >= 0
        and bool(np.allclose(v.sum(axis=-1), 1))
    )


def _skipped(program: Program, step: Step) -> Iterator[Variation]:
    """A step whose result is one of its inputs: the other operand left out, the function not applied."""
    op = step.call.op.name
    if op not in ("add", "subtract", "multiply", "divide", "select", "power", "square") or _is_mask(step):
        return
    for i in step.wanted():
        if np.shape(step.arrays[i]) != step.value.shape or not (
            step.value.ndim or op in ("multiply", "divide") or _small(step, 1 - i)
        ):
            continue
        if len(step.inputs) == 2 and step.inputs[0] == step.inputs[1]:
            continue
        new = program.replayed({step.index: i})
        if new is None:
            continue
        other = program.operand(step, 1 - i) if len(step.inputs) == 2 else ""
        retained = None
        if op in ("multiply", "divide") and np.size(step.arrays[1 - i]) == 1:
            c = float(np.reshape(step.arrays[1 - i], -1)[0])
            retained = 1 / c if op == "divide" and c else c
            kind = "temperature, scale" if op == "divide" else "scale"
            words = (
                f"{other} (the {kind}) is left out of {program.expression(step)} in the forward values, in"
                f" {program.where(step)}"
            )
            yield Variation("missing operand", words, new, 1.5, retained)
            continue
        words = (
            f"{other} is left out: {program.operand(step, i)} stands where {program.expression(step)} belongs, in"
            f" {program.where(step)}"
        )
        yield Variation("missing operand", words, new, 1.5, retained)


def _small(step: Step, i: int) -> bool:
    """Whether an operand is a small constant, such as the ε under a root."""
    return (
        i < len(step.inputs)
        and step.inputs[i] == CONSTANT
        and np.size(step.arrays[i]) == 1
        and abs(float(np.reshape(step.arrays[i], -1)[0])) < 0.5
    )


__all__ = ["Any", "Variation", "variations"]
