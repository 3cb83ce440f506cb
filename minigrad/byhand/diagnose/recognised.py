"""Functions that were written out in plain operations and are recognised by their numbers: softmax, sigmoid, norms.

Each has its own right rule, so that the mistakes of the function can be made at its input, whatever the steps between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .program import CONSTANT, Program

DEPTH = 7  # steps back from the result in which the input is looked for


class Recognised(NamedTuple):
    """``y = kind(sign · x)`` along an axis; ``right(g)`` is the gradient that comes back to x through y."""

    kind: str
    x: int
    y: int
    x_value: np.ndarray
    value: np.ndarray
    params: dict[str, Any]
    right: Any  # (g) -> array
    sign: float = 1.0
    spread: Any = lambda g: g  # an upstream gradient in the shape of ``value``


def recognised(program: Program) -> Iterator[Recognised]:
    """Every function that is recognised, each once."""
    for step in program.live:
        if step.call.op.name not in ("divide", "multiply", "subtract", "log", "log1p", "reciprocal", "power", "exp"):
            continue
        y = step.value
        before = _behind(program, step.out)
        for match in (_log_sigmoid, _sigmoid, _softmax, _picked, _log_softmax, _logsumexp, _norm):
            found = match(program, step.out, y, before)
            if found is not None:
                program.recognised.add(found.y)
                if found.y not in program.names and found.sign > 0 and (label := LABELS.get(found.kind)):
                    program.names[found.y] = label.format(program.called(found.x))
                program.inner[program.made[found.y].index, found.x] = _between(program, found.x, found.y)
                yield found
                break


LABELS = {
    "standardise": "x̂ (the normalised {})",
    "rms": "x̂ (the normalised {})",
    "unit": "x̂ (the normalised {})",
    "softmax": "softmax({})",
    "sigmoid": "sigmoid({})",
}


def _behind(program: Program, node: int) -> list[int]:
    """The nodes from which one was computed in a few steps, the farthest first."""
    found, edge = [], [node]
    for _ in range(DEPTH):
        edge = [x for n in edge if n in program.made for x in program.made[n].inputs if x != CONSTANT]
        found += edge
    return list(dict.fromkeys(found))[::-1]


def _between(program: Program, x: int, y: int) -> frozenset[int]:
    """The steps by which y was computed from x."""
    after, steps = {x}, []
    for step in program.steps[: program.made[y].index + 1]:
        if any(n in after for n in step.inputs):
            after.add(step.out)
            steps.append(step)
    before, found = {y}, set()
    for step in reversed(steps):
        if step.out in before:
            before.update(step.inputs)
            found.add(step.index)
    return frozenset(found)


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-9, atol=1e-12))


def _logits(program: Program, z: np.ndarray, before: list[int]) -> Iterator[tuple[int, np.ndarray, float]]:
    """The nodes that are ± the logits z, with their values and the sign."""
    for x in before:
        v = program.values[x]
        for sign in (1.0, -1.0):
            if v.shape == z.shape and np.allclose(sign * v, z, rtol=1e-7, atol=1e-9):
                yield x, sign * v, sign


def _sigmoid(program: Program, node: int, y: np.ndarray, before: list[int]) -> Recognised | None:
    if not y.size or y.min() <= 0 or y.max() >= 1:
        return None
    for x, v, sign in _logits(program, np.log(y) - np.log1p(-y), before):
        return Recognised("sigmoid", x, node, v, y, {}, lambda g: g * y * (1 - y), sign)
    return None


def _log_sigmoid(program: Program, node: int, y: np.ndarray, before: list[int]) -> Recognised | None:
    """log σ(± x), and log(1 + exp(± x))."""
    if program.made[node].call.op.name not in ("log", "log1p") or not y.size or np.ptp(np.sign(y)) or not y.all():
        return None
    kind = "log_sigmoid" if y.max() < 0 else "softplus"
    with np.errstate(all="ignore"):
        logit = y - np.log1p(-np.exp(y)) if kind == "log_sigmoid" else np.log(np.expm1(y))
    for x, v, sign in _logits(program, logit, before):
        s = 1 / (1 + np.exp(-v))
        slope = 1 - s if kind == "log_sigmoid" else s
        if sign < 0:  # log σ(−x) = −log(1 + eˣ), and the other way round
            other = "softplus" if kind == "log_sigmoid" else "log_sigmoid"
            return Recognised(other, x, node, -v, -y, {}, lambda g, d=slope: -g * d, 1.0, lambda g: -g)
        return Recognised(kind, x, node, v, y, {}, lambda g, d=slope: g * d)
    return None


def _axes(y: np.ndarray) -> Iterator[int]:
    for axis in range(y.ndim - 1, -1, -1):
        if y.shape[axis] > 1:
            yield axis


def _scores(program: Program, p: np.ndarray, before: list[int]) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Where ``p`` is a softmax: the axis, the node of the scores, their values, log p."""
    for axis in _axes(p):
        if not np.allclose(p.sum(axis=axis), 1, atol=1e-9):
            continue
        for x in before:
            v = program.values[x]
            if v.shape == p.shape and np.isfinite(v).all():
                top = v - v.max(axis=axis, keepdims=True)
                logp = top - np.log(np.exp(top).sum(axis=axis, keepdims=True))
                if np.allclose(np.exp(logp), p, rtol=1e-9, atol=1e-12):
                    yield axis, x, v, logp


def _picked(program: Program, node: int, y: np.ndarray, before: list[int]) -> Recognised | None:
    """log p[targets] with p a softmax: the log_softmax of its input, picked."""
    made = program.made[node]
    picked = program.made.get(made.inputs[0]) if made.call.op.name == "log" else None
    if picked is None or picked.call.op.name != "pick":
        return None
    index, p = picked.params["index"], picked.arrays[0]
    if picked.inputs[0] == CONSTANT or not p.size or p.min() <= 0:
        return None

    def spread(g: np.ndarray) -> np.ndarray:
        whole = np.zeros(p.shape)
        np.add.at(whole, index, g)
        return whole

    for axis, x, v, logp in _scores(program, p, before):
        right = lambda g, a=axis: spread(g) - p * spread(g).sum(axis=a, keepdims=True)  # noqa: E731
        return Recognised("log_softmax", x, node, v, logp, {"axis": axis}, right, 1.0, spread)
    return None


def _softmax(program: Program, node: int, y: np.ndarray, before: list[int]) -> Recognised | None:
    for axis, x, v, _ in _scores(program, y, before) if y.size and y.min() >= 0 else ():
        right = lambda g, a=axis: y * (g - (g * y).sum(axis=a, keepdims=True))  # noqa: E731
        return Recognised("softmax", x, node, v, y, {"axis": axis}, right)
    return None


def _log_softmax(program: Program, node: int, y: np.ndarray, before: list[int]) -> Recognised | None:
    with np.errstate(all="ignore"):
        p = np.exp(y)
    for axis, x, v, logp in _scores(program, p, before) if y.size and y.max() <= 0 else ():
        if np.allclose(logp, y, rtol=1e-9, atol=1e-9):
            right = lambda g, a=axis: g - p * g.sum(axis=a, keepdims=True)  # noqa: E731
            return Recognised("log_softmax", x, node, v, y, {"axis": axis}, right)
    return None


def _logsumexp(program: Program, node: int, y: np.ndarray, before: list[int]) -> Recognised | None:
    if program.made[node].call.op.name != "log":
        return None
    for x in before:
        v = program.values[x]
        if v.ndim == 0 or v.size <= y.size or not np.isfinite(v).all():
            continue
        for axis in [None, *range(v.ndim)]:
            for keep in (False, True):
                top = v.max(axis=axis, keepdims=True)
                whole = np.log(np.exp(v - top).sum(axis=axis, keepdims=True)) + top
                lse = whole if keep else whole.reshape(np.sum(v, axis=axis).shape)
                if _close(np.asarray(lse), y):
                    p = np.exp(v - whole)
                    params = {"axis": axis, "keepdims": keep}
                    return Recognised(
                        "logsumexp", x, node, v, y, params,
                        lambda g, p=p, a=axis, k=keep: p * (g if k or a is None else np.expand_dims(g, a)))
    return None


def _norm(program: Program, node: int, y: np.ndarray, before: list[int]) -> Recognised | None:
    """x̂ = (x − μ)/s, x/rms or x/|x|, along one axis or over everything."""
    if program.made[node].call.op.name not in ("divide", "multiply") or not y.ndim:
        return None
    for x in before:
        v = program.values[x]
        if v.shape != y.shape:
            continue
        for axis in [*_axes(y), None] if y.ndim > 1 else [None]:
            keep: dict[str, Any] = {"axis": axis, "keepdims": True}
            centred = v - v.mean(**keep)
            for kind, u in (("standardise", centred), ("rms", v)):
                with np.errstate(all="ignore"):
                    s = np.sqrt((u * u).sum(**keep) / (y * y).sum(**keep))
                if (
                    not np.isfinite(s).all() or not (s > 0).all() or not np.allclose(u / s, y, rtol=1e-8, atol=1e-10)
                    or not _depends(program, node, x)
                ):
                    continue
                rest = s * s - (u * u).mean(**keep)  # ε, the same in every row and small
                if kind == "rms" and np.allclose(s * s, (u * u).sum(**keep), rtol=1e-9):
                    return Recognised(
                        "unit", x, node, v, y, {"axis": axis, "s": s},
                        lambda g, s=s, k=keep: (g - y * (g * y).sum(**k)) / s)
                if np.ptp(rest) > 1e-9 * float((s * s).max()) or not -1e-9 <= float(rest.flat[0]) <= 1.0:
                    continue
                mean = kind == "standardise"
                return Recognised(
                    kind, x, node, v, y, {"axis": axis, "s": s},
                    lambda g, s=s, k=keep, m=mean: (g - (g.mean(**k) if m else 0.0) - y * (g * y).mean(**k)) / s)
    return None


def _depends(program: Program, node: int, x: int) -> bool:
    """Whether both operands of the last step were computed from x."""
    made = program.made[node]
    return all(n != CONSTANT and (n == x or x in _behind(program, n)) for n in made.inputs)
