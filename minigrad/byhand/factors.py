r"""Where a constant factor comes from: the scale of attention, the n of a mean, the 2 of a square, the length of an axis.

A factor c means: claimed = c · right.  Each origin is a number found in the recorded graph, with the sentence that it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .recording import Recording, Step


class Origin(NamedTuple):
    """A factor that a mistake would leave in the gradient, the mistake's name, and the sentence for it."""

    factor: float
    mistake: str
    words: str


def origins(recording: Recording, i: int, names: dict[int, str]) -> list[Origin]:
    """Every factor that the steps between variable ``i`` and the output suggest; 2 and 1/2; and n, 1/n, √n, 1/√n for the lengths of axes."""
    through = recording.depends_on(i)
    found: list[Origin] = []
    for step in recording.steps:
        if not any(id(x) in through for x in step.inputs):
            continue
        found += OF_OP.get(step.op.name, lambda step: ())(step)
        for x, a, r in zip(step.inputs, step.arrays, step.results, strict=True):
            if r is not None and id(x) in through and a.size and r.size > a.size:
                n, what = r.size // a.size, recording.called(x, names)
                words = f"{what} was broadcast over {n} places by {step.name}, whose gradients add up; here is their mean"
                found.append(Origin(1 / n, "superfluous mean", words))
    return found


def general(recording: Recording, i: int, names: dict[int, str]) -> Iterator[Origin]:
    """What a factor may be when no step explains it: 2, 1/2, and n, 1/n, √n, 1/√n for the length n of an axis."""
    yield Origin(2, "factor", "counted twice")
    yield Origin(1 / 2, "factor", "half of it, as when a square's 2 or a second, equal contribution is forgotten")
    for n, where in _lengths(recording, i, names).items():
        for value, text in ((n, f"{n}"), (1 / n, f"1/{n}"), (math.sqrt(n), f"√{n}"), (1 / math.sqrt(n), f"1/√{n}")):
            yield Origin(value, "factor", f"{text}, where {n} is {where}")


def _lengths(recording: Recording, i: int, names: dict[int, str]) -> dict[int, str]:
    """Each length with where it is met first, beginning with the variable itself."""
    found: dict[int, str] = {}
    for t in [recording.variables[i], *recording.variables, *(step.out for step in reversed(recording.steps))]:
        what = recording.called(t, names)
        for axis, n in enumerate(t.shape):
            found.setdefault(n, f"the length of axis {axis} of {what}")
        if t.ndim > 1:
            found.setdefault(t.size, f"the number of entries of {what}")
    found.pop(1, None)
    return found


def _mean(step: Step) -> Iterator[Origin]:
    n = step.arrays[0].size // max(1, step.out.size)
    axis = step.params.get("axis")
    over = f"the mean over {n} entries" + ("" if axis is None else f" (axis {axis})")
    yield Origin(n, "missing mean", f"the 1/{n} of {over} is missing")
    yield Origin(1 / n, "factor", f"divided by {n} twice, once more than {over} asks")


def _sum(step: Step) -> Iterator[Origin]:
    n = step.arrays[0].size // max(1, step.out.size)
    yield Origin(1 / n, "superfluous mean", f"a mean over {n} entries in place of the function's sum")


def _cross_entropy(step: Step) -> Iterator[Origin]:
    targets, ignored = step.params["targets"], step.params["ignore_index"]
    n = int(targets.size if ignored is None else (targets != ignored).sum())
    if step.params["reduction"] == "mean":
        yield Origin(n, "missing mean", f"the mean over the batch of {n} is missing: cross_entropy divides by {n}")
        yield Origin(1 / n, "factor", f"divided by the batch of {n} twice; cross_entropy divides once")
        if n < targets.size:
            yield Origin(n / targets.size, "factor", f"divided by all {targets.size} targets; the {targets.size - n} ignored ones do not count")
        for m in targets.shape if targets.ndim > 1 else ():
            yield Origin(n / m, "factor", f"divided by {m} only; the mean is over all {n} targets")
    elif step.params["reduction"] == "sum":
        yield Origin(1 / n, "superfluous mean", f"a mean over the batch of {n} in place of the function's sum")
    v = step.arrays[0].shape[-1]
    yield Origin(1 / v, "factor", f"divided by the {v} classes; the mean is over targets, not over classes")


def _attention(step: Step) -> Iterator[Origin]:
    q, scale = step.arrays[0], step.params.get("scale")
    d, heads = q.shape[-1], q.shape[-3] if q.ndim > 2 else 1
    tau = 1 / math.sqrt(d) if scale is None else scale
    text = f"the scale 1/√d_k = 1/√{d}" if scale is None else f"the scale {scale:g}"
    yield Origin(1 / tau, "factor", f"{text} of attention is missing")
    yield Origin(tau, "factor", f"{text} of attention is applied twice")
    if heads > 1 and scale is None:
        yield Origin(1 / math.sqrt(heads), "factor", f"scaled by 1/√d_model = 1/√{d * heads}; the scale is 1/√d_k = 1/√{d}")
    group = heads // (step.arrays[1].shape[-3] if q.ndim > 2 else 1)
    if group > 1:
        yield Origin(1 / group, "superfluous mean", f"a mean over the {group} query heads that share a key head; their gradients add up")


def _times(step: Step) -> Iterator[Origin]:
    a, b = step.arrays
    if step.inputs[0] is step.inputs[1]:
        yield Origin(1 / 2, "factor", "the 2 of the derivative 2x of x·x is missing")
    for i, s in ((1, b), (0, a)):
        if step.wants(i):
            continue
        if np.size(s) == 1 and float(np.reshape(s, -1)[0]) not in (0.0, 1.0, -1.0):
            yield from _scalar(float(np.reshape(s, -1)[0]), f"the factor {{}} of {step.name}")
        elif np.size(s) > 1 and not np.all(s) and len(np.unique(s)) == 2:  # a dropout mask
            kept = float(np.max(s))
            yield Origin(1 / kept, "factor", f"the mask's factor {kept:g} = 1/(1 − p) is missing")
            yield Origin(kept, "factor", f"the mask's factor {kept:g} = 1/(1 − p) is applied twice")


def _divide(step: Step) -> Iterator[Origin]:
    s = step.arrays[1]
    if not step.wants(1) and np.size(s) == 1 and float(np.reshape(s, -1)[0]) not in (0.0, 1.0, -1.0):
        d = float(np.reshape(s, -1)[0])
        yield Origin(abs(d), "factor", f"the division by {_root(d)} is missing")
        yield Origin(1 / abs(d), "factor", f"the division by {_root(d)} is done twice")


def _scalar(s: float, what: str) -> Iterator[Origin]:
    what = what.format(_root(s))
    yield Origin(1 / abs(s), "factor", f"{what} is missing")
    yield Origin(abs(s), "factor", f"{what} is applied twice")


def _root(s: float) -> str:
    """2.23607 as 2.23607 = √5, and the like; whole numbers and their inverses as they are."""
    if any(abs(v - round(v)) < 1e-9 for v in (s, 1 / s)):
        return f"{s:.6g}"
    for value, form in ((s * s, "√{}"), (1 / (s * s), "1/√{}")):
        if abs(value - round(value)) < 1e-9 and 1 < round(value) < 10_000:
            return f"{s:.6g} = {form.format(round(value))}"
    return f"{s:.6g}"


def _power(step: Step) -> Iterator[Origin]:
    b = step.arrays[1] if len(step.arrays) > 1 else 2
    if np.size(b) == 1 and float(np.reshape(b, -1)[0]) not in (0.0, 1.0):
        n = float(np.reshape(b, -1)[0])
        yield Origin(1 / abs(n), "factor", f"the {n:g} of the derivative of x^{n:g} is missing")


def _var(step: Step) -> Iterator[Origin]:
    n, ddof = step.arrays[0].size // max(1, step.out.size), step.params.get("ddof", 0)
    yield Origin(1 / 2, "factor", "the 2 of the derivative of the squares in var is missing")
    yield Origin(n - ddof, "missing mean", f"the 1/{n - ddof} of var is missing")
    if n > 1:
        other = 1 - ddof if ddof in (0, 1) else 0
        yield Origin((n - ddof) / (n - other), "factor", f"divided by {n - other}; var divides by {n - ddof} (ddof = {ddof})")


def _sqrt(step: Step) -> Iterator[Origin]:
    yield Origin(2, "factor", "the 1/2 of the derivative 1/(2√x) is missing")


def _erf(step: Step) -> Iterator[Origin]:
    yield Origin(math.sqrt(math.pi) / 2, "factor", "the 2/√π of the derivative of erf is missing")


OF_OP: dict[str, Any] = {
    "mean": _mean, "sum": _sum, "_cross_entropy": _cross_entropy, "attention": _attention, "multiply": _times, "divide": _divide,
    "power": _power, "square": _power, "var": _var, "sqrt": _sqrt, "erf": _erf,
}  # fmt: skip
