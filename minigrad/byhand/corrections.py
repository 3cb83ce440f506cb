"""Mistakes that can be undone in the claimed numbers themselves: a sign, a factor, a transposition, a sum, single entries.

Each function tries one kind, and says something only when the corrected numbers are the right ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ..ops.shapes import sum_to
from .factors import general, origins
from .recording import Recording
from .report import entries, largest, number, place


class Finding(NamedTuple):
    """A mistake that explains the claimed numbers: its name, the sentence, and the numbers that show it."""

    mistake: str
    words: str
    evidence: str


class Case(NamedTuple):
    """One claimed gradient beside the right one."""

    i: int
    name: str
    claimed: np.ndarray
    right: np.ndarray
    close: Callable[[np.ndarray, np.ndarray], bool]  # whether two arrays of one shape agree to the tolerance
    recording: Recording
    names: dict[int, str]


def off(found: np.ndarray, expected: np.ndarray) -> str:
    """How far two arrays that agree are apart, in words."""
    return f"differs by {largest(found - expected)[0]:.0e} at most"


def by_shape(case: Case) -> Iterator[Finding]:
    """A gradient of another shape than its input: transposed, not summed, summed too much, or just laid out differently."""
    claimed, right = case.claimed, case.right
    if claimed.shape == right.shape:
        return
    for axes in itertools.permutations(range(claimed.ndim)) if claimed.ndim == right.ndim <= 4 else ():
        turned = claimed.transpose(axes)
        if axes != tuple(range(claimed.ndim)) and turned.shape == right.shape and case.close(turned, right):
            yield Finding("transposed", f"transposed: {claimed.shape}, expected {right.shape}", f"with its axes put back it {off(turned, right)}")
    if claimed.size == right.size and case.close(claimed.reshape(right.shape), right):
        words = f"the right numbers in shape {claimed.shape}; a gradient has the shape of its input, {right.shape}"
        yield Finding("wrong shape", words, f"reshaped it {off(claimed.reshape(right.shape), right)}")
    summed = _summed_to(claimed, right.shape)
    if summed is not None:
        n = claimed.size // max(1, right.size)
        if case.close(summed, right):
            words = f"a sum is missing: {case.name} of shape {right.shape} was broadcast over {n} places, whose gradients must be added"
            yield Finding("missing sum", words, f"yours, {claimed.shape}, summed to {right.shape} {off(summed, right)}")
        if case.close(summed / n, right):
            words = f"a mean is missing: the {n} gradients over which {case.name} was broadcast must be averaged"
            yield Finding("missing mean", words, f"yours, {claimed.shape}, averaged to {right.shape} {off(summed / n, right)}")
    for axes, keepdims in _axes_to_reduce(right.ndim):
        for how, what in ((np.sum, "sum"), (np.mean, "mean")):
            reduced = np.asarray(how(right, axis=axes, keepdims=keepdims))
            if reduced.shape == claimed.shape and case.close(claimed, reduced):
                words = f"a superfluous {what}: over axis {', '.join(map(str, axes))}, which {case.name} has"
                yield Finding(f"superfluous {what}", words, f"the right gradient, reduced in the same way, {off(claimed, reduced)} from yours")
    shapes = " (the shape of its transpose)" if claimed.shape == right.shape[::-1] else ""
    yield Finding("wrong shape", f"of shape {claimed.shape}{shapes}; a gradient has the shape of its input, {right.shape}", "")


def _summed_to(claimed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        fits = np.broadcast_shapes(claimed.shape, shape) == claimed.shape
    except ValueError:
        fits = False
    return sum_to.forward(claimed, shape) if fits else None


def _axes_to_reduce(ndim: int) -> Iterator[tuple[tuple[int, ...], bool]]:
    for k in range(1, min(ndim, 4) + 1):
        for axes in itertools.combinations(range(ndim), k):
            yield axes, False
            yield axes, True


def by_sign(case: Case) -> Iterator[Finding]:
    """The negative."""
    if case.close(-case.claimed, case.right):
        yield Finding("sign", "the sign is wrong: every entry is the negative of the right one", f"times −1 it {off(-case.claimed, case.right)}")


def by_factor(case: Case) -> Iterator[Finding]:
    """A constant multiple, with the origin of the number when the graph has one."""
    c, enough = _ratio(case)
    if c is None:
        return
    sign = "sign and " if c < 0 else ""
    corrected = case.claimed / c
    evidence = f"divided by {number(c)} it {off(corrected, case.right)}"
    negative = "the sign is wrong, and " if c < 0 else ""
    asked = (case.recording, case.i, case.names)
    where = [o for o in origins(*asked) if _same(o.factor, abs(c))] or [o for o in general(*asked) if _same(o.factor, abs(c))][:1]
    if where:
        origin = "; or ".join(list(dict.fromkeys(o.words for o in where))[:3])
    elif enough:
        origin = "a number with no origin in this computation"
    else:
        return
    name = sign + (where[0].mistake if where else "factor")
    yield Finding(name, f"{negative}every entry is {number(abs(c))} times the right one: {origin}", evidence)


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * b and abs(a - 1) > 1e-9


def _ratio(case: Case) -> tuple[float | None, bool]:
    """The factor between claimed and right when there is one, and whether two entries or more agree on it."""
    weight = float((case.right * case.right).sum())
    if not weight or not case.claimed.any():
        return None, False
    c = float((case.claimed * case.right).sum()) / weight
    if abs(c) < 1e-12 or abs(abs(c) - 1) < 1e-9 or not case.close(case.claimed / c, case.right):
        return None, False
    return c, int((np.abs(case.right) > 1e-3 * np.abs(case.right).max()).sum()) >= 2


def by_order(case: Case) -> Iterator[Finding]:
    """The gradient of another input, or a transposition that keeps the shape."""
    for j, other in enumerate(case.recording.gradients):
        if j != case.i and other.shape == case.claimed.shape and not case.close(other, case.right) and case.close(case.claimed, other):
            what = case.names[id(case.recording.variables[j])]
            yield Finding("wrong input", f"this is the gradient of {what}, not of {case.name}", f"from that of {what} it {off(case.claimed, other)}")
    for axes in itertools.permutations(range(case.claimed.ndim)) if 1 < case.claimed.ndim <= 4 else ():
        turned = case.claimed.transpose(axes)
        if axes != tuple(range(case.claimed.ndim)) and turned.shape == case.right.shape and case.close(turned, case.right):
            yield Finding("transposed", "transposed: the axes are exchanged", f"with its axes put back it {off(turned, case.right)}")


def by_sum(case: Case) -> Iterator[Finding]:
    """Every entry holds the sum, or the mean, over an axis."""
    for axes, _ in _axes_to_reduce(case.right.ndim):
        if all(case.right.shape[a] == 1 for a in axes):
            continue
        for how, what in ((np.sum, "sum"), (np.mean, "mean")):
            spread = np.broadcast_to(how(case.right, axis=axes, keepdims=True), case.right.shape)
            if spread.any() and case.close(case.claimed, spread):
                words = f"a superfluous {what}: every entry holds the {what} over axis {', '.join(map(str, axes))}"
                yield Finding(f"superfluous {what}", words, f"the right gradient, reduced in the same way, {off(case.claimed, spread)} from yours")


def by_entries(case: Case) -> Iterator[Finding]:
    """Zero everywhere, not finite, not zero where the gradient is masked out, or wrong at single entries."""
    claimed, right = case.claimed, case.right
    if not np.isfinite(claimed).all():
        bad = np.argwhere(~np.isfinite(claimed))
        words = f"not finite at {entries(len(bad), claimed.size)}, the first at {place(bad[0])}"
        yield Finding("not finite", words, f"{claimed[tuple(bad[0])]} there; the right one is {number(right[tuple(bad[0])])}")
        return
    if not claimed.any():
        yield Finding("zero", "zero everywhere: nothing was added to it", f"the largest entry of the right one is {number(largest(right)[0])}")
        return
    zero = right == 0
    if zero.any() and not zero.all() and case.close(np.where(zero, 0.0, claimed), right):
        count = int(((claimed != 0) & zero).sum())
        first = tuple(np.argwhere((claimed != 0) & zero)[0])
        masks = [s.name for s in case.recording.steps if s.masks()]
        name, why = ("masked entries not zeroed", f", which {masks[0]} masks out,") if masks else ("entries not zeroed", "")
        words = f"{entries(count, right.size)}{why} should be exactly 0 and are not; the first at {place(first)} is {number(claimed[first])}"
        yield Finding(name, words, f"with zeros there it {off(np.where(zero, 0.0, claimed), right)}")
    wrong = ~np.array([case.close(a, b) for a, b in zip(claimed.ravel(), right.ravel(), strict=True)]).reshape(right.shape)
    if 0 < wrong.sum() <= max(1, right.size // 8) and right.size >= 4:
        where = [tuple(int(j) for j in index) for index in np.argwhere(wrong)]
        shown = "; ".join(f"{place(at)}: yours {number(claimed[at])}, right {number(right[at])}" for at in where[:4])
        words = f"right except at {'a single entry' if len(where) == 1 else f'{len(where)} single entries'}"
        yield Finding("single entries", words, shown + (" …" if len(where) > 4 else ""))
