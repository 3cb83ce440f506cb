"""Verdicts at special points: zero in theory, a kink, a rounded answer, a function that leaves the graph, a claim that
is a function."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..differences import slope
from ..report import largest
from .program import Program
from .question import Question
from .steps import CONSTANT
from .whole import Case

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
        tuple(int(j) for j in at) for at in np.argwhere(~np.isclose(case.claimed, case.right, rtol=1e-6, atol=1e-9))
    ]
    if not ties or not wrong or len(wrong) > MANY:
        return False
    scale = largest(case.right)[0] or 1.0
    for at in wrong:
        direction = np.zeros(case.right.shape)
        direction[at] = 1
        line = question.along(
            question.arrays, case.i, direction, max(1.0, abs(float(question.arrays[question.which[case.i]][at])))
        )
        low, high = sorted(line.one_sided())
        room = 1e-5 * max(scale, abs(low), abs(high))
        if high - low <= 2 * room or not low - room <= case.claimed[at] <= high + room:
            return False
    return True


def _ties(step: Any) -> bool:
    op, arrays = step.call.op.name, step.arrays
    if op in ("maximum", "minimum"):
        return bool(np.equal(arrays[0], arrays[1]).any())
    if op in ("relu", "abs"):
        return not np.all(arrays[0])
    if op in ("max", "min"):
        axis, keep = step.params.get("axis"), step.params.get("keepdims", False)
        best = step.value if keep or axis is None else np.expand_dims(step.value, axis)
        return bool((np.equal(arrays[0], best).sum(axis=axis) > 1).any())
    if op == "clip":
        return any(
            b is not None and bool(np.equal(arrays[0], b).any())
            for b in (step.params.get("min"), step.params.get("max"))
        )
    return (
        op == "select"
        and any(x != CONSTANT for x in step.inputs)
        and bool(np.isclose(arrays[0], arrays[1], rtol=0, atol=1e-12).any())
    )


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
    """How far the engine's derivative in a random direction is from differences, relative; 0 when they agree or cannot
    be told apart."""
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
        found = slope(
            question.along(question.arrays, i, direction, max(1.0, float(np.abs(x).max()))), along, 1e-5, scale
        )
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


def elsewhere(question: Question, seed: int) -> list[np.ndarray] | None:
    """The inputs a little beside: what looks like targets, masks, counts, distributions or symmetric matrices stays
    so."""
    rng = np.random.default_rng(seed)
    moved = []
    for i, x in enumerate(question.arrays):
        if i not in question.which or not x.size:
            moved.append(np.array(x))
            continue
        constant = bool((x == x.flat[0]).all())
        rows = x.sum(axis=-1) if x.ndim else x
        unit = np.sqrt((x * x).sum(axis=-1)) if x.ndim else x
        special = (
            x.size > 1
            and not constant
            and (np.equal(x, np.round(x)).all() or np.allclose(rows, 1) or np.allclose(unit, 1))
        )
        if special or (x.ndim and len(question.which) > 1 and not x.any()):
            moved.append(np.array(x))
            continue
        factor = 1 + 0.15 * rng.uniform(0.5, 1, x.shape) * rng.choice([-1, 1], x.shape)
        new = np.where(x == 0, 0.1 * rng.normal(size=x.shape), x * factor)
        if x.ndim == 2 and x.shape[0] == x.shape[1] > 1 and np.array_equal(x, x.T):
            new = (new + new.T) / 2
        if not np.allclose(np.sort(np.ravel(x)), np.ravel(x)) or x.ndim != 1:
            moved.append(new)
        else:
            moved.append(np.sort(new))
    return moved


def right_elsewhere(question: Question, claimed: Any, cases: dict[int, float]) -> tuple[int, list[np.ndarray]] | None:
    """The first variable whose claim, a function, is wrong at other inputs, and these inputs; ``cases`` holds the
    precisions."""
    for seed in (1, 2):
        values = elsewhere(question, seed)
        if values is None:
            return None
        try:
            with np.errstate(all="ignore"):
                answers = question.match(claimed, values)
                gradients = question.gradients_at(values)
        except (ValueError, TypeError, IndexError, ZeroDivisionError, FloatingPointError, np.linalg.LinAlgError):
            return None
        for i, precision in cases.items():
            right, answer = gradients[i], answers.get(i)
            if (
                answer is None
                or answer.shape != right.shape
                or not np.isfinite(right).all()
                or not np.isfinite(answer).all()
            ):
                continue
            top = max((largest(g)[0] for g in gradients), default=0.0)
            if float(np.abs(answer - right).max(initial=0)) > 10 * precision * largest(right)[0] + 1e-9 * top:
                return i, values
    return None
