"""Mistakes that can be undone in the claimed numbers themselves: a sign, a transposition, a sum, single entries.

Each function tries one kind, and says something only when the corrected numbers are the right ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..recording import unbroadcast
from ..report import entries, largest, number, place
from .program import Program
from .steps import CONSTANT


class Finding(NamedTuple):
    """A mistake that explains the claimed numbers: its name, the sentence, the numbers that show it, how far-fetched
    it is."""

    mistake: str
    words: str
    evidence: str
    cost: float = 1.0


class Case(NamedTuple):
    """One claimed gradient beside the right one."""

    i: int
    name: str
    claimed: np.ndarray
    right: np.ndarray
    close: Callable[[np.ndarray, np.ndarray], bool]  # whether two arrays of one shape agree to the tolerance
    program: Program


def off(found: np.ndarray, expected: np.ndarray) -> str:
    """How far two arrays that agree are apart, in words."""
    return f"differs by {largest(found - expected)[0]:.0e} at most"


def by_shape(case: Case) -> Iterator[Finding]:
    """A gradient of another shape than its input: transposed, not summed, summed too much, or just laid out
    differently."""
    claimed, right = case.claimed, case.right
    yield from _jacobian(case)
    for axes in itertools.permutations(range(claimed.ndim)) if claimed.ndim == right.ndim <= 4 else ():
        turned = claimed.transpose(axes)
        if axes != tuple(range(claimed.ndim)) and turned.shape == right.shape and case.close(turned, right):
            yield Finding(
                "transposed",
                f"transposed: {claimed.shape}, expected {right.shape}",
                f"with its axes put back it {off(turned, right)}",
            )
    if claimed.size == right.size and case.close(claimed.reshape(right.shape), right):
        words = f"the right numbers in shape {claimed.shape}; a gradient has the shape of its input, {right.shape}"
        yield Finding("wrong shape", words, f"reshaped it {off(claimed.reshape(right.shape), right)}")
    summed = _summed_to(claimed, right.shape)
    if summed is not None:
        n = claimed.size // max(1, right.size)
        if case.close(summed, right):
            words = (
                f"a sum is missing: {case.name} of shape {right.shape} was broadcast over {n} places, whose gradients"
                " must be added"
            )
            yield Finding("missing sum", words, f"yours, {claimed.shape}, summed to {right.shape} {off(summed, right)}")
        if case.close(summed / n, right):
            words = f"a mean is missing: the {n} gradients over which {case.name} was broadcast must be averaged"
            yield Finding(
                "missing mean", words, f"yours, {claimed.shape}, averaged to {right.shape} {off(summed / n, right)}"
            )
    for axes, keepdims in _axes_to_reduce(right.ndim):
        for how, what in ((np.sum, "sum"), (np.mean, "mean")):
            reduced = np.asarray(how(right, axis=axes, keepdims=keepdims))
            if reduced.shape == claimed.shape and case.close(claimed, reduced):
                words = f"a superfluous {what}: over axis {', '.join(map(str, axes))}, which {case.name} has"
                yield Finding(
                    f"superfluous {what}",
                    words,
                    f"the right gradient, reduced in the same way, {off(claimed, reduced)} from yours",
                )
    shapes = " (the shape of its transpose)" if claimed.shape == right.shape[::-1] else ""
    factor = _left_out(case)
    yield Finding(
        "wrong shape",
        f"of shape {claimed.shape}{shapes}; a gradient has the shape of its input, {right.shape}{factor}",
        "",
    )


def _left_out(case: Case) -> str:
    """A factor of a product that, when it is left out, gives this shape."""
    for step in case.program.live:
        for i in step.wanted():
            if (
                step.call.op.name != "matmul"
                or step.inputs[i] != case.i
                or np.ndim(step.arrays[1 - i]) != 2
                or np.ndim(step.arrays[i]) != 2
            ):
                continue
            other: Any = case.program.made.get(step.inputs[1 - i])
            for k in other.wanted() if other is not None and other.call.op.name == "matmul" else ():
                a = other.arrays[k]
                product = a.T @ step.g if i == 1 else step.g @ a.T
                if product.shape == case.claimed.shape and case.close(product, case.claimed):
                    left = case.program.operand(other, 1 - k)
                    return (
                        f". {case.program.called(other.inputs[k])} stands where {case.program.called(other.out)}"
                        f" belongs: {left} is left out"
                    )
    return ""


def _jacobian(case: Case) -> Iterator[Finding]:
    """A Jacobian where the gradient was asked."""
    program, x = case.program, case.right
    for step in reversed(program.live):
        if (
            case.claimed.shape != step.value.shape + x.shape
            or step.value.size > 64
            or step.out not in program.leads(case.i)
        ):
            continue
        rows = []
        for k in range(step.value.size):
            unit = np.zeros(step.value.size)
            unit[k] = 1
            rows.append(_pulled(program, step.out, unit.reshape(step.value.shape), case.i))
        jacobian = np.reshape(rows, case.claimed.shape)
        if np.allclose(jacobian, case.claimed, rtol=1e-6, atol=1e-9 * np.abs(jacobian).max(initial=1)):
            what = program.called(step.out)
            words = (
                f"this is the Jacobian of {what} with respect to {case.name}, and it is right; the gradient of the"
                f" output has the shape {x.shape} of {case.name}: multiply the upstream gradient of {what} with it, Σ_k"
                f" ḡ_k ∂{what}_k/∂{case.name} (for a sum, add its rows)"
            )
            yield Finding("jacobian", words, "")


def _pulled(program: Program, node: int, g: np.ndarray, i: int) -> np.ndarray:
    found = {node: g}
    for step in reversed(program.live):
        if step.out in found:
            results = step.pull(found[step.out])
            for k in step.wanted():
                share = unbroadcast(results[k], step.arrays[k].shape)
                found[step.inputs[k]] = found[step.inputs[k]] + share if step.inputs[k] in found else share
    return found.get(i, np.zeros(program.values[i].shape))


def _summed_to(claimed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        fits = np.broadcast_shapes(claimed.shape, shape) == claimed.shape
    except ValueError:
        fits = False
    return unbroadcast(claimed, shape) if fits else None


def _axes_to_reduce(ndim: int) -> Iterator[tuple[tuple[int, ...], bool]]:
    for k in range(1, min(ndim, 4) + 1):
        for axes in itertools.combinations(range(ndim), k):
            yield axes, False
            yield axes, True


def by_sign(case: Case) -> Iterator[Finding]:
    """The negative."""
    if case.close(-case.claimed, case.right):
        words = "the sign is wrong: every entry is the negative of the right one"
        yield Finding("sign", words, f"times −1 it {off(-case.claimed, case.right)}", 0.5)


def by_order(case: Case) -> Iterator[Finding]:
    """The gradient of another input, or a transposition or reversal that keeps the shape."""
    claimed, right = case.claimed, case.right
    for j in case.program.variables:
        other = case.program.gradient(j)
        if j != case.i and other.shape == claimed.shape and not case.close(other, right) and case.close(claimed, other):
            what = case.program.names.get(j, f"input {j}")
            yield Finding(
                "wrong input",
                f"this is the gradient of {what}, not of {case.name}",
                f"from that of {what} it {off(claimed, other)}",
                0.6,
            )
    for axes in itertools.permutations(range(claimed.ndim)) if 1 < claimed.ndim <= 4 else ():
        turned = claimed.transpose(axes)
        if axes != tuple(range(claimed.ndim)) and turned.shape == right.shape:
            for c, also in ((1.0, ""), (-1.0, ", and the sign is wrong")):
                if case.close(c * turned, right):
                    words = f"transposed: the axes are exchanged{also}"
                    yield Finding(
                        "transposed" if c > 0 else "sign and transposed",
                        words,
                        f"with its axes put back it {off(c * turned, right)}",
                        0.6,
                    )
    for axis in range(claimed.ndim):
        turned = np.flip(claimed, axis)
        if claimed.shape[axis] > 1 and case.close(turned, right) and not case.close(claimed, right):
            yield Finding(
                "reversed",
                f"in reverse order along axis {axis} (flipped)",
                f"flipped back it {off(turned, right)}",
                1.3,
            )
        for by in (1, -1) if claimed.shape[axis] > 2 else ():
            rolled = np.roll(claimed, -by, axis)
            if case.close(rolled, right):
                yield Finding(
                    "shifted",
                    f"shifted by {'one' if by > 0 else 'minus one'} along axis {axis}",
                    f"shifted back it {off(rolled, right)}",
                    1.3,
                )


def by_sum(case: Case) -> Iterator[Finding]:
    """Every entry holds the sum, or the mean, over an axis."""
    for axes, _ in _axes_to_reduce(case.right.ndim):
        if all(case.right.shape[a] == 1 for a in axes):
            continue
        for how, what in ((np.sum, "sum"), (np.mean, "mean")):
            spread = np.broadcast_to(how(case.right, axis=axes, keepdims=True), case.right.shape)
            if spread.any() and case.close(case.claimed, spread):
                words = f"a superfluous {what}: every entry holds the {what} over axis {', '.join(map(str, axes))}"
                yield Finding(
                    f"superfluous {what}",
                    words,
                    f"the right gradient, reduced in the same way, {off(case.claimed, spread)} from yours",
                    1.5,
                )


def by_entries(case: Case) -> Iterator[Finding]:
    """Not finite, not zero where the gradient is masked out, or wrong at single entries."""
    claimed, right = case.claimed, case.right
    zero = right == 0
    if zero.any() and not zero.all() and case.close(np.where(zero, 0.0, claimed), right):
        count = int(((claimed != 0) & zero).sum())
        first = tuple(np.argwhere((claimed != 0) & zero)[0])
        mask = next((s for s in case.program.live if masks(s)), None)
        name, why = (
            ("masked entries not zeroed", f", which the mask of {case.program.where(mask)} leaves out,")
            if mask
            else ("entries not zeroed", "")
        )
        words = (
            f"{entries(count, right.size)}{why} should be exactly 0 and are not; the first at {place(first)} is"
            f" {number(claimed[first])}"
        )
        yield Finding(name, words, f"with zeros there it {off(np.where(zero, 0.0, claimed), right)}", 1.9)
    wrong = (
        ~np.array([case.close(a, b) for a, b in zip(claimed.ravel(), right.ravel(), strict=True)]).reshape(right.shape)
        if right.size <= 4096
        else np.ones(0)
    )
    if 0 < wrong.sum() <= max(1, right.size // 8) and right.size >= 4:
        where = [tuple(int(j) for j in index) for index in np.argwhere(wrong)]
        shown = "; ".join(f"{place(at)}: yours {number(claimed[at])}, right {number(right[at])}" for at in where[:4])
        words = f"right except at {'a single entry' if len(where) == 1 else f'{len(where)} single entries'}"
        yield Finding("single entries", words, shown + (" …" if len(where) > 4 else ""), 9.0)


def masks(step: object) -> bool:
    """Whether a step sets entries to zero, or leaves them out."""
    name, arrays, inputs = step.call.op.name, step.arrays, step.inputs  # type: ignore[attr-defined]
    if name == "multiply":
        return any(x == CONSTANT and np.size(a) > 1 and not np.all(a) for x, a in zip(inputs, arrays, strict=True))
    if name == "add":
        return any(x == CONSTANT and bool(np.isneginf(a).any()) for x, a in zip(inputs, arrays, strict=True))
    return name in ("select", "tril", "triu", "relu", "clip", "_take", "pick", "maximum", "minimum")
