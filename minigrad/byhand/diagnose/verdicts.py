"""What ``diagnose`` says, and what it can say from the numbers alone, before any search.

A verdict is a row of the table, with a sentence for a mistake.  Mistakes that can be undone in the claimed numbers: a
sign, a transposition, a sum, single entries; each function tries one kind, and says something only when the corrected
numbers are the right ones.  Special points: zero in theory, a kink, a rounded answer, a function that leaves the graph,
a claim that is a function.  It has more than 300 lines because it has one short function for each of these.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..compare import Report, entries, largest, number, place
from ..gradcheck import slope
from ..recording import unbroadcast
from .program import CONSTANT, Program, Question, Step

UNKNOWN = "not recognised"


@dataclass
class Verdict:
    """What is said of one claim; ``mistake`` is None when it is right, "not recognised" when no pattern fits."""

    name: str
    shape: tuple[int, ...]
    mistake: str | None
    words: str
    evidence: str
    others: list[str] = field(default_factory=list)
    max_abs: float = 0.0  # not a number where the shapes differ
    worst: str = ""

    def __bool__(self) -> bool:
        return self.mistake is None


@dataclass(repr=False)
class Diagnosis(Report):
    """What ``diagnose`` found: true when every claim is right; prints as a table with a sentence for each mistake."""

    rows: list[Verdict]
    remarks: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return all(self.rows)

    def __getitem__(self, name: str) -> Verdict:
        found = [row for row in self.rows if row.name == name]
        if not found:
            raise KeyError(
                f"diagnose: no claimed gradient of {name!r}; there are {', '.join(row.name for row in self.rows)}")
        return found[0]

    @property
    def mistake(self) -> str | None:
        """The first mistake's name, None when all is right."""
        return next((row.mistake for row in self.rows if row.mistake), None)

    @property
    def mistakes(self) -> dict[str, str | None]:
        """The mistake in each input's gradient, None where it is right."""
        return {row.name: row.mistake for row in self.rows}

    def table(self) -> list[list[str]]:
        """One row for each claimed gradient."""
        head = ["gradient of", "shape", "max difference", "worst entry: yours, chain rule, differences", "verdict"]
        verdicts = ["right" if row else f"WRONG: {row.mistake}" for row in self.rows]
        return [head] + [
            [r.name, str(r.shape), "-" if np.isnan(r.max_abs) else f"{r.max_abs:.1e}", r.worst, v]
            for r, v in zip(self.rows, verdicts, strict=True)]

    def notes(self) -> list[str]:
        """What is wrong, with the evidence; what is wrong with several in the same way is said once."""
        said = []
        for words in dict.fromkeys(row.words for row in self.rows if row.mistake or row.words != "right"):
            rows = [row for row in self.rows if row.words == words]
            names, evidence = ", ".join(row.name for row in rows), rows[0].evidence
            said.append(f"{names}: {words}{f' ({evidence})' if evidence else ''}.")
            others = [o for o in rows[0].others if all(o in row.others for row in rows)]
            said += [f"    The same numbers would come of this: {other}." for other in others]
        return [*said, *(f"Note: {remark}." for remark in self.remarks)]


# Mistakes that can be undone in the claimed numbers ------------------------------------------------------------------


class Finding(NamedTuple):
    """A mistake that explains the claimed numbers: name, sentence, the numbers that show it, how far-fetched it is."""

    mistake: str
    words: str
    evidence: str
    cost: float = 1.0
    sites: tuple[Any, ...] = ()  # the edits of the backward program that it stands for
    at: Any = None  # the step at which the slip is made
    program: Any = None  # that of another function, where its gradient was taken
    parts: tuple[str, ...] = ()  # the two mistakes of which it consists


class Case(NamedTuple):
    """One claimed gradient beside the right one."""

    i: int
    name: str
    claimed: np.ndarray
    right: np.ndarray
    tolerance: float
    program: Program

    def close(self, a: Any, b: Any) -> bool:
        """Whether two arrays of one shape agree to the tolerance."""
        return bool((np.abs(np.asarray(a) - b) <= self.tolerance).all())


    def explained_by(self, found: np.ndarray) -> bool:
        """Whether this gradient is the claimed one, and not the right one."""
        return self.close(self.claimed, found) and not self.close(found, self.right)

    def undone(self, mistake: str, words: str, done: str, corrected: np.ndarray, cost: float = 1) -> Iterator[Finding]:
        """A mistake, when the claimed numbers without it are the right ones."""
        if corrected.shape == self.right.shape and self.close(corrected, self.right):
            yield Finding(mistake, words, f"{done} it {off(corrected, self.right)}", cost)


def off(found: np.ndarray, expected: np.ndarray) -> str:
    """How far two arrays that agree are apart, in words."""
    return f"differs by {largest(found - expected)[0]:.0e} at most"


def by_shape(case: Case) -> Iterator[Finding]:
    """A gradient of another shape than its input: transposed, not summed, summed too much, or laid out differently."""
    claimed, right = case.claimed, case.right
    yield from _jacobian(case)
    for axes in _permutations(claimed.ndim) if claimed.ndim == right.ndim <= 4 else ():
        words = f"transposed: {claimed.shape}, expected {right.shape}"
        yield from case.undone("transposed", words, "with its axes put back", claimed.transpose(axes))
    if claimed.size == right.size:
        words = f"the right numbers in shape {claimed.shape}; a gradient has the shape of its input, {right.shape}"
        yield from case.undone("wrong shape", words, "reshaped", claimed.reshape(right.shape))
    summed = _summed_to(claimed, right.shape)
    if summed is not None:
        n = claimed.size // max(1, right.size)
        if case.close(summed, right):
            words = (
                f"a sum is missing: {case.name} of shape {right.shape} was broadcast over {n} places, whose gradients"
                " must be added")
            yield Finding("missing sum", words, f"yours, {claimed.shape}, summed to {right.shape} {off(summed, right)}")
        if case.close(summed / n, right):
            words = f"a mean is missing: the {n} gradients over which {case.name} was broadcast must be averaged"
            yield Finding(
                "missing mean", words, f"yours, {claimed.shape}, averaged to {right.shape} {off(summed / n, right)}")
    for axes, keepdims in _axes_to_reduce(right.ndim):
        for how, what in ((np.sum, "sum"), (np.mean, "mean")):
            reduced = np.asarray(how(right, axis=axes, keepdims=keepdims))
            if reduced.shape == claimed.shape and case.close(claimed, reduced):
                words = f"a superfluous {what}: over axis {', '.join(map(str, axes))}, which {case.name} has"
                yield Finding(
                    f"superfluous {what}", words,
                    f"the right gradient, reduced in the same way, {off(claimed, reduced)} from yours")
    shapes = " (the shape of its transpose)" if claimed.shape == right.shape[::-1] else ""
    factor = _left_out(case)
    yield Finding(
        "wrong shape",
        f"of shape {claimed.shape}{shapes}; a gradient has the shape of its input, {right.shape}{factor}", "", 9.0)


def _left_out(case: Case) -> str:
    """A factor of a product that, when it is left out, gives this shape."""
    for step in case.program.live:
        for i in step.wanted():
            if step.op != "matmul" or step.inputs[i] != case.i or {np.ndim(a) for a in step.arrays} != {2}:
                continue
            other: Any = case.program.made.get(step.inputs[1 - i])
            for k in other.wanted() if other is not None and other.op == "matmul" else ():
                a = other.arrays[k]
                product = a.T @ step.g if i == 1 else step.g @ a.T
                if product.shape == case.claimed.shape and case.close(product, case.claimed):
                    left = case.program.operand(other, 1 - k)
                    return (
                        f". {case.program.called(other.inputs[k])} stands where {case.program.called(other.out)}"
                        f" belongs: {left} is left out")
    return ""


def _jacobian(case: Case) -> Iterator[Finding]:
    """A Jacobian where the gradient was asked."""
    program, x = case.program, case.right
    for step in reversed(program.live):
        shape = step.value.shape
        if case.claimed.shape != shape + x.shape or step.value.size > 64 or step.out not in program.leads(case.i):
            continue
        units = np.eye(step.value.size).reshape(-1, *shape)
        rows = [program.changes([], {step.out: unit}).get(case.i, np.zeros(x.shape)) for unit in units]
        jacobian = np.reshape(rows, case.claimed.shape)
        if np.allclose(jacobian, case.claimed, rtol=1e-6, atol=1e-9 * np.abs(jacobian).max(initial=1)):
            what = program.called(step.out)
            words = (
                f"this is the Jacobian of {what} with respect to {case.name}, and it is right; the gradient of the"
                f" output has the shape {x.shape} of {case.name}: multiply the upstream gradient of {what} with it, Σ_k"
                f" ḡ_k ∂{what}_k/∂{case.name} (for a sum, add its rows)")
            yield Finding("jacobian", words, "")


def _summed_to(claimed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        fits = np.broadcast_shapes(claimed.shape, shape) == claimed.shape
    except ValueError:
        fits = False
    return unbroadcast(claimed, shape) if fits else None


def _axes_to_reduce(ndim: int) -> Iterator[tuple[tuple[int, ...], bool]]:
    for k in range(1, min(ndim, 4) + 1):
        yield from itertools.product(itertools.combinations(range(ndim), k), (False, True))


def _permutations(ndim: int) -> Iterator[tuple[int, ...]]:
    """The orders of the axes other than the one that they have."""
    return itertools.islice(itertools.permutations(range(ndim)), 1, None)


def by_sign(case: Case) -> Iterator[Finding]:
    """The negative."""
    words = "the sign is wrong: every entry is the negative of the right one"
    return case.undone("sign", words, "times −1", -case.claimed, 0.5)


def by_order(case: Case) -> Iterator[Finding]:
    """The gradient of another input, or a transposition or reversal that keeps the shape."""
    claimed, right = case.claimed, case.right
    for j in case.program.variables:
        other = case.program.gradient(j)
        if j != case.i and other.shape == claimed.shape and case.explained_by(other):
            what = case.program.names.get(j, f"input {j}")
            words = f"this is the gradient of {what}, not of {case.name}"
            yield Finding("wrong input", words, f"from that of {what} it {off(claimed, other)}", 0.6)
    for axes in _permutations(claimed.ndim) if 1 < claimed.ndim <= 4 else ():
        turned, words, done = claimed.transpose(axes), "transposed: the axes are exchanged", "with its axes put back"
        yield from case.undone("transposed", words, done, turned, 0.6)
        yield from case.undone("sign and transposed", f"{words}, and the sign is wrong", done, -turned, 0.6)
    even = case.close(claimed, right)  # a claim that is right by the engine, not by differences
    if claimed.ndim > 1 and not even:
        words = "in reverse order along every axis (flipped, rotated by 180°)"
        yield from case.undone("reversed", words, "flipped back", np.flip(claimed), 1.2)
    for axis, n in enumerate(claimed.shape):
        if n > 1 and not even:
            words = f"in reverse order along axis {axis} (flipped)"
            yield from case.undone("reversed", words, "flipped back", np.flip(claimed, axis), 1.3)
        for by, word in ((1, "one"), (-1, "minus one")) if n > 2 else ():
            words = f"shifted by {word} along axis {axis}"
            yield from case.undone("shifted", words, "shifted back", np.roll(claimed, -by, axis), 1.3)


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
                    f"superfluous {what}", words,
                    f"the right gradient, reduced in the same way, {off(case.claimed, spread)} from yours", 1.5)


def by_entries(case: Case) -> Iterator[Finding]:
    """Not finite, not zero where the gradient is masked out, or wrong at single entries."""
    claimed, right = case.claimed, case.right
    zero = right == 0
    if zero.any() and not zero.all() and case.close(np.where(zero, 0.0, claimed), right):
        count = int(((claimed != 0) & zero).sum())
        first = tuple(np.argwhere((claimed != 0) & zero)[0])
        mask = next((s for s in case.program.live if masks(s)), None)
        name, why = "entries not zeroed", ""
        if mask:
            name, why = f"masked {name}", f", which the mask of {case.program.where(mask)} leaves out,"
        words = (
            f"{entries(count, right.size)}{why} should be exactly 0 and are not; the first at {place(first)} is"
            f" {number(claimed[first])}")
        yield Finding(name, words, f"with zeros there it {off(np.where(zero, 0.0, claimed), right)}", 1.9)
    wrong: np.ndarray = np.ones(0)
    if right.size <= 4096:
        pairs = zip(claimed.ravel(), right.ravel(), strict=True)
        wrong = ~np.array([case.close(a, b) for a, b in pairs], bool).reshape(right.shape)
    if 0 < wrong.sum() <= max(1, right.size // 8) and right.size >= 4:
        where = [tuple(int(j) for j in index) for index in np.argwhere(wrong)]
        shown = "; ".join(f"{place(at)}: yours {number(claimed[at])}, right {number(right[at])}" for at in where[:4])
        words = f"right except at {'a single entry' if len(where) == 1 else f'{len(where)} single entries'}"
        yield Finding("single entries", words, shown + (" …" if len(where) > 4 else ""), 9.0)


def masks(step: Step) -> bool:
    """Whether a step sets entries to zero, or leaves them out."""
    if step.op == "multiply":
        return step.multiplies_zeros()
    if step.op == "add":
        return any(x == CONSTANT and np.isneginf(a).any() for x, a in zip(step.inputs, step.arrays, strict=True))
    return step.op in ("select", "tril", "triu", "relu", "clip", "_take", "pick", "maximum", "minimum")


# Special points ------------------------------------------------------------------------------------------------------

MANY = 64  # wrong entries; more are no matter of a kink


def floor(program: Program, i: int) -> float:
    """The round-off of variable ``i``'s gradient: what remains of its parts where they cancel in theory."""
    _, moved = program.tangents(i)
    size = 0.0
    for step in program.live:
        for k in step.wanted():
            tangent = moved.get(step.inputs[k])
            if tangent is not None and step.raw[k] is not None:
                size = max(size, float((np.abs(tangent[0]) * np.abs(step.shares[k])).sum()))
    return 32 * float(np.finfo(np.float64).eps) * size


def zero_in_theory(case: Case) -> bool:
    """Whether the right gradient is nothing but round-off."""
    top = largest(case.right)[0]
    return bool(case.right.size) and top < 1e-9 and top <= floor(case.program, case.i)


def at_kink(case: Case, question: Question) -> bool:
    """Whether the claim differs only where the function has a kink, and lies between its one-sided slopes there."""
    ties = [step for step in case.program.live if _ties(step)]
    wrong = [
        tuple(int(j) for j in at) for at in np.argwhere(~np.isclose(case.claimed, case.right, rtol=1e-6, atol=1e-9))]
    if not ties or not wrong or len(wrong) > MANY:
        return False
    scale = largest(case.right)[0] or 1.0
    for at in wrong:
        direction = np.zeros(case.right.shape)
        direction[at] = 1
        size = abs(float(question.arrays[question.which[case.i]][at]))
        line = question.along(question.arrays, case.i, direction, max(1.0, size))
        low, high = sorted(line.one_sided())
        room = 1e-5 * max(scale, abs(low), abs(high))
        if high - low <= 2 * room or not low - room <= case.claimed[at] <= high + room:
            return False
    return True


def _ties(step: Step) -> bool:
    op, arrays = step.op, step.arrays
    if op in ("maximum", "minimum"):
        return bool(np.equal(arrays[0], arrays[1]).any())
    if op in ("relu", "abs"):
        return not np.all(arrays[0])
    if op in ("max", "min"):
        axis, keep = step.params.get("axis"), step.params.get("keepdims", False)
        best = step.value if keep or axis is None else np.expand_dims(step.value, axis)
        return bool((np.equal(arrays[0], best).sum(axis=axis) > 1).any())
    if op == "clip":
        bounds = (step.params.get("min"), step.params.get("max"))
        return any(b is not None and bool(np.equal(arrays[0], b).any()) for b in bounds)
    computed = op == "select" and any(x != CONSTANT for x in step.inputs)
    return computed and bool(np.isclose(arrays[0], arrays[1], rtol=0, atol=1e-12).any())


def digits(case: Case) -> int:
    """To how many digits a rounded answer agrees; 0 when it is not a rounded one."""
    claimed, right = case.claimed, case.right
    scale = largest(right)[0]
    if claimed.shape != right.shape or not scale or not np.isfinite(claimed).all():
        return 0
    for n in range(1, 11):
        decimals = np.abs(np.round(right, n) - claimed).max() <= 1e-12 * scale
        with np.errstate(all="ignore"):
            power = np.where(right != 0, n - 1 - np.floor(np.log10(np.abs(np.where(right == 0, 1, right)))), 0)
        figures = np.abs(np.round(right * 10.0**power) / 10.0**power - claimed).max() <= 1e-12 * scale
        if (decimals and n + np.log10(scale) >= 1.5) or (figures and n >= 2):
            return n
    return 0


def reference_is_off(question: Question) -> float:
    """How far the engine is from differences in random directions, relative; 0 when it agrees or nobody can tell."""
    rng = np.random.default_rng(1)
    worst = 0.0
    for i in range(len(question.which)):
        right = question.program.gradient(i)
        x = question.arrays[question.which[i]]
        if not x.size or not np.isfinite(right).all():
            continue
        direction = rng.normal(size=x.shape)
        direction /= np.linalg.norm(direction) or 1.0
        along = float((right * direction).sum())
        scale = max(abs(along), float(np.linalg.norm(right)), 1e-30)
        line = question.along(question.arrays, i, direction, max(1.0, float(np.abs(x).max())))
        found = slope(line, along, 1e-5, scale)
        if found.kink or not np.isfinite(found.value) or found.doubt > 1e-3 * max(scale, abs(found.value), found.floor):
            continue
        apart = abs(found.value - along) - 3 * found.doubt
        if apart > 1e-3 * max(scale, abs(found.value)) and apart > 10 * found.floor:
            worst = max(worst, apart / max(abs(found.value), scale))
    return worst


def by_differences(question: Question, i: int) -> np.ndarray | None:
    """The gradient of variable ``i`` entry by entry, by differences; None for large ones."""
    shape = question.program.gradient(i).shape
    if np.prod(shape) > 2048:
        return None
    return np.array([question.difference(i, at) for at in np.ndindex(shape)]).reshape(shape)


def elsewhere(question: Question, seed: int) -> list[np.ndarray]:
    """Inputs a little beside: what looks like targets, masks, counts, distributions or symmetric matrices stays so."""
    rng = np.random.default_rng(seed)
    moved = []
    for i, x in enumerate(question.arrays):
        if i not in question.which or not x.size:
            moved.append(np.array(x))
            continue
        constant = bool((x == x.flat[0]).all())
        rows = x.sum(axis=-1) if x.ndim else x
        unit = np.sqrt((x * x).sum(axis=-1)) if x.ndim else x
        whole = np.equal(x, np.round(x)).all() or np.allclose(rows, 1) or np.allclose(unit, 1)
        special = x.size > 1 and not constant and whole
        if special or (x.ndim and len(question.which) > 1 and not x.any()):
            moved.append(np.array(x))
            continue
        factor = 1 + 0.15 * rng.uniform(0.5, 1, x.shape) * rng.choice([-1, 1], x.shape)
        new = np.where(x == 0, 0.1 * rng.normal(size=x.shape), x * factor)
        if x.ndim == 2 and x.shape[0] == x.shape[1] > 1 and np.array_equal(x, x.T):
            new = (new + new.T) / 2
        ordered = x.ndim == 1 and np.allclose(np.sort(x), x)
        moved.append(np.sort(new) if ordered else new)
    return moved


def right_elsewhere(question: Question, claimed: Any, cases: dict[int, float]) -> tuple[int, list[np.ndarray]] | None:
    """The first variable whose claim, a function, is wrong at other inputs, and these; ``cases``: the precisions."""
    for seed in (1, 2):
        values = elsewhere(question, seed)
        try:
            with np.errstate(all="ignore"):
                answers = question.match(claimed, values)
                gradients = question.gradients_at(values)
        except (ValueError, TypeError, IndexError, ZeroDivisionError, FloatingPointError, np.linalg.LinAlgError):
            return None
        for i, precision in cases.items():
            right, answer = gradients[i], answers.get(i)
            if answer is None or answer.shape != right.shape or not np.isfinite([answer, right]).all():
                continue
            top = max((largest(g)[0] for g in gradients), default=0.0)
            if float(np.abs(answer - right).max(initial=0)) > 10 * precision * largest(right)[0] + 1e-9 * top:
                return i, values
    return None
