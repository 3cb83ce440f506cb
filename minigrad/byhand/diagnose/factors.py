r"""Where a constant factor comes from: the scale of attention, the n of a mean, the 2 of a square, the length of an
axis.

A factor c means: claimed = c · right, on one path or on all.  Each origin is a number found in the recorded program,
with the sentence that it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .program import Program
from .steps import CONSTANT, Step


class Origin(NamedTuple):
    """A factor that a mistake would leave in the gradient, the mistake's name, and the sentence for it."""

    factor: float
    mistake: str
    words: str
    cost: float = 0.0


def origins(program: Program, steps: Iterable[Step], through: set[int]) -> list[Origin]:
    """Every factor that these steps suggest, on the way to variables that act on the nodes ``through``."""
    found: list[Origin] = []
    for step in steps:
        if not any(x in through for x in step.inputs):
            continue
        found += [
            o._replace(words=f"{o.words}, in {program.where(step)}")
            for o in OF_OP.get(step.call.op.name, lambda p, s: ())(program, step)
        ]
        for i in step.wanted():
            a, r = step.arrays[i], step.raw[i]
            if step.inputs[i] in through and a.size and r.size > a.size:
                n = r.size // a.size
                words = (
                    f"{program.operand(step, i)} was broadcast over {n} places by {program.where(step)}, whose"
                    f" gradients add up (a sum); here is their mean, divided by {n}"
                )
                found.append(Origin(1 / n, "superfluous mean", words))
    return found


def same(a: float, b: float) -> bool:
    """Whether two factors agree, and are not 1."""
    return abs(a - b) <= 1e-6 * abs(b) and abs(a - 1) > 1e-9


def tidy(c: float) -> float:
    """A factor without its round-off."""
    for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12):
        if abs(c * n - round(c * n)) < 1e-7 * max(1.0, abs(c * n)):
            return round(c * n) / n
    return c


def general(program: Program, i: int) -> Iterator[Origin]:
    """What a factor may be when no step explains it: 2, 1/2, and n, 1/n, √n, 1/√n for the length n of an axis."""
    yield Origin(2, "factor", "counted twice")
    yield Origin(1 / 2, "factor", "half of it, as when a square's 2 or a second, equal contribution is forgotten")
    for n, where in _lengths(program, i).items():
        for value, text in ((n, f"{n}"), (1 / n, f"1/{n}"), (math.sqrt(n), f"√{n}"), (1 / math.sqrt(n), f"1/√{n}")):
            yield Origin(value, "factor", f"{text}, where {n} is {where}")


def _lengths(program: Program, i: int) -> dict[int, str]:
    """Each length with where it is met first, beginning with the variable itself."""
    found: dict[int, str] = {}
    for node in [i, *program.variables, *(step.out for step in program.steps)]:
        what, value = program.called(node), program.values[node]
        for axis, n in enumerate(value.shape):
            found.setdefault(n, f"the length of axis {axis} of {what}")
        if value.ndim > 1:
            found.setdefault(value.size, f"the number of entries of {what}")
    found.pop(1, None)
    return found


def _mean(program: Program, step: Step) -> Iterator[Origin]:
    n = step.arrays[0].size // max(1, step.value.size)
    axis = step.params.get("axis")
    over = f"the mean over {n} entries" + ("" if axis is None else f" (axis {axis})")
    over += ", the batch," if step.within == "cross_entropy" else ""
    missing = (
        f"the mean over the batch of {n} is missing: cross_entropy divides by {n}"
        if step.within == "cross_entropy"
        else f"the 1/{n} of {over} is missing"
    )
    yield Origin(n, "missing mean", missing)
    yield Origin(1 / n, "factor", f"divided by {n} twice, once more than {over} asks")
    shape = step.arrays[0].shape
    for k, m in enumerate(shape if axis is None and len(shape) > 1 else ()):
        yield Origin(n / m, "factor", f"divided by {m} only, as for a mean over axis {k}; {over} divides by {n}")
    if step.within == "cross_entropy":
        made = next((s for s in program.steps if s.index < step.index and s.call.op.name == "log_softmax"), None)
        v = made.value.shape[-1] if made else 1
        yield Origin(1 / v, "factor", f"divided by the {v} classes; the mean is over targets, not over classes")


def _sum(program: Program, step: Step) -> Iterator[Origin]:
    n = step.arrays[0].size // max(1, step.value.size)
    yield Origin(1 / n, "superfluous mean", f"a mean over {n} entries in place of the function's sum")
    for m in {step.arrays[0].shape[0], step.arrays[0].shape[-1]} - {n, 1} if step.arrays[0].ndim > 1 else ():
        yield Origin(
            1 / m, "superfluous mean", f"divided by {m}, as for a mean over a batch of {m}; the function has a sum", 0.2
        )
    for divide, i in program.readers.get(step.out, ()):  # a mean written as sum / count
        d = (
            float(np.reshape(divide.arrays[1 - i], -1)[0])
            if divide.call.op.name == "divide" and np.size(divide.arrays[1 - i]) == 1
            else 0.0
        )
        for m in {n, *step.arrays[0].shape} - {1} if i == 0 else ():
            if d and abs(d - m) > 1e-9 and step.within == "cross_entropy":
                yield Origin(
                    d / m,
                    "factor",
                    f"divided by all {m} targets; the {m - d:g} ignored ones do not count, and the mean is over {d:g}",
                )
            elif d and abs(d - m) > 1e-9:
                yield Origin(
                    d / m,
                    "factor",
                    f"divided by all {m} entries (rows) and not by {d:g}, the count of those that are kept and not"
                    " ignored (masked, padding)",
                )


def _times(program: Program, step: Step) -> Iterator[Origin]:
    a, b = step.arrays
    if step.inputs[0] == step.inputs[1] != CONSTANT:
        yield Origin(
            1 / 2,
            "factor",
            "the 2 of the square is missing: in the derivative 2x of x·x one of the two uses is left out"
            f" ({program.expression(step)})",
        )
        yield Origin(2, "factor", f"a 2 too many: the square {program.expression(step)} is counted twice", 0.1)
    for i, s in ((1, b), (0, a)):
        if np.size(s) == 1 and float(np.reshape(s, -1)[0]) not in (0.0, 1.0, -1.0):
            what = program.operand(step, i)
            d = program.values[step.inputs[1 - i]].shape[-1] if step.within == "attention" else 0
            value = float(np.reshape(s, -1)[0])
            if step.within == "attention":
                made = program.made.get(step.inputs[1 - i])
                d = made.arrays[0].shape[-1] if made is not None else d
                standard = abs(value * value * d - 1) < 1e-9
                yield from _scalar(
                    value,
                    f"the scale 1/√d_k = 1/√{d} of attention" if standard else f"the scale {value:g} of attention",
                )
            else:
                yield from _scalar(value, f"the factor {what}{_root(program, step, i)} of {step.name}")
        elif np.ndim(s) and step.inputs[i] == CONSTANT and not np.all(s) and len(np.unique(s)) == 2:  # a dropout mask
            kept = float(np.max(s))
            if kept not in (0.0, 1.0):
                yield Origin(1 / kept, "factor", f"the mask's factor {kept:g} = 1/(1 − p) is missing")
                yield Origin(kept, "factor", f"the mask's factor {kept:g} = 1/(1 − p) is applied twice")


def _divide(program: Program, step: Step) -> Iterator[Origin]:
    s = step.arrays[1]
    if np.size(s) == 1 and float(np.reshape(s, -1)[0]) not in (0.0, 1.0, -1.0):
        d = float(np.reshape(s, -1)[0])
        what = f"{program.operand(step, 1)}{_root(program, step, 1)}"
        mean = step.call.op.name == "divide" and any(
            s.call.op.name == "sum" for s in program.steps if s.out in step.inputs[:1]
        )
        mean = mean or (abs(d - round(d)) < 1e-12 and step.value.ndim == 0)
        kind = f", the 1/N of a mean over {d:g}," if mean and abs(d - round(d)) < 1e-12 else ""
        yield Origin(abs(d), "missing mean" if kind else "factor", f"the division by {what}{kind} is missing")
        yield Origin(1 / abs(d), "factor", f"the division by {what} is done twice")
        yield Origin(d * d, "upside down", f"multiplied by {what}, where the function divides by it")


def _scalar(s: float, what: str) -> Iterator[Origin]:
    yield Origin(1 / abs(s), "factor", f"{what} is missing")
    yield Origin(abs(s), "factor", f"{what} is applied twice")
    yield Origin(
        1 / (s * s),
        "upside down",
        f"divided by {what.removeprefix('the factor ')}, where the function multiplies by it",
    )


def _root(program: Program, step: Step, i: int) -> str:
    """= √5 after 2.23607, and the like; nothing for whole numbers and their inverses, or for a named number: its
    value."""
    s = float(np.reshape(step.arrays[i], -1)[0])
    text = "" if step.inputs[i] == CONSTANT and not isinstance(step.arrays[i], np.ndarray) else f" = {s:.6g}"
    if any(abs(v - round(v)) < 1e-9 for v in (s, 1 / s)):
        return text
    for value, form in ((s * s, "√{}"), (1 / (s * s), "1/√{}")):
        if abs(value - round(value)) < 1e-9 and 1 < round(value) < 10_000:
            return f"{text} = {form.format(round(value))}"
    return text


def _power(program: Program, step: Step) -> Iterator[Origin]:
    b = step.arrays[1] if len(step.arrays) > 1 else 2
    if np.size(b) == 1 and float(np.reshape(b, -1)[0]) not in (0.0, 1.0):
        n = float(np.reshape(b, -1)[0])
        what = (
            "the 2 of the square (the derivative 2x of x²)"
            if n == 2
            else f"the exponent {n:g} in front, of the derivative of the power x^{n:g},"
        )
        yield Origin(1 / abs(n), "factor", f"{what} is missing")
        yield Origin(abs(n), "factor", f"{what} is applied twice", 0.1)


def _var(program: Program, step: Step) -> Iterator[Origin]:
    n, ddof = step.arrays[0].size // max(1, step.value.size), step.params.get("ddof", 0)
    yield Origin(1 / 2, "factor", "the 2 of the derivative of the squares in var is missing")
    yield Origin(n - ddof, "missing mean", f"the 1/{n - ddof} of var is missing")
    if n > 1:
        other = 1 - ddof if ddof in (0, 1) else 0
        yield Origin(
            (n - ddof) / (n - other), "factor", f"divided by {n - other}; var divides by {n - ddof} (ddof = {ddof})"
        )


def _sqrt(program: Program, step: Step) -> Iterator[Origin]:
    yield Origin(2, "factor", "the 1/2 of the derivative 1/(2√x) of the square root is missing")
    yield Origin(
        1 / 2,
        "factor",
        "the 1/2 of the derivative 1/(2√x) of the square root is applied twice, or a square's 2 is missing",
        0.1,
    )


def _erf(program: Program, step: Step) -> Iterator[Origin]:
    yield Origin(math.sqrt(math.pi) / 2, "factor", "the 2/√π of the derivative of erf is missing")


def _take(program: Program, step: Step) -> Iterator[Origin]:
    """Query heads that share a key head are averaged."""
    if step.within == "attention":
        n = step.value.size // max(1, step.arrays[0].size)
        yield Origin(
            1 / n, "superfluous mean", f"a mean over the {n} query heads that share a key head; their gradients add up"
        )


OF_OP: dict[str, Any] = {
    "mean": _mean, "sum": _sum, "multiply": _times, "divide": _divide, "power": _power, "square": _power,
    "var": _var, "sqrt": _sqrt,
    "erf": _erf, "_take": _take,
}  # fmt: skip
