"""What is read in place of what belongs there: an operand left out, exchanged, transposed, or replaced by a neighbour.

An edit changes what one rule of the backward pass reads.  A variation is another function, whose gradient may have been
taken by mistake: an operand left out of the forward pass, a mask left out, late or the wrong way round.  It
has more than 300 lines because it has a few for each way to read the wrong thing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .program import CONSTANT, PRODUCTS, Edit, Program, Site, Step, edit, site

NEIGHBOURS = 14
REDUCTIONS = ("mean", "sum", "max", "min")


def operands(program: Program, step: Step) -> Iterator[Edit]:
    """An operand left out, with its axes exchanged, or reduced otherwise; an upstream gradient summed too early."""
    op = step.op
    if op not in PRODUCTS:
        return
    at = program.where(step)
    for i in step.wanted():
        of = program.operand(step, i)

        def read(
            name: str, words: str, cost: float, kind: tuple[Any, ...], arrays: list[Any], before: Any = lambda g: g,
            i: int = i, of: str = of
        ) -> Iterator[Edit]:
            rule = lambda g: step.call.pull(before(g), step.value, arrays)[i]  # noqa: E731
            words = f"{words}, in the gradient of {of}, in {at}"
            return edit(program, step, i, rule, name, words, cost, (*kind, op, i))

        for j, a in enumerate(step.arrays):
            if j == i or not isinstance(a, np.ndarray) or not a.ndim:
                continue
            other = program.operand(step, j)
            put = lambda x, j=j: [x if k == j else b for k, b in enumerate(step.arrays)]  # noqa: E731
            if op == "_einsum":
                words = f"the factor {other} is left out"
                yield from read("missing factor", words, 1.2, ("ones", j), put(np.ones(a.shape)))
            orders = itertools.islice(itertools.permutations(range(a.ndim)), 1, None)
            for axes in orders if a.ndim == 3 or (a.ndim == 2 and op == "_einsum") else ():
                if op != "multiply" and a.transpose(axes).shape == a.shape:
                    words = f"the axes of {other} are exchanged (transposed)"
                    yield from read("transposed", words, 1.3, ("axes", j, axes), put(a.transpose(axes)))
            made: Any = program.made.get(step.inputs[j])
            for how in REDUCTIONS if made is not None and made.op in REDUCTIONS else ():
                if how != made.op:
                    axis, keepdims = made.params.get("axis"), made.params.get("keepdims", False)
                    reduced = np.asarray(getattr(np, how)(made.arrays[0], axis=axis, keepdims=keepdims))
                    words = f"the {how} of {program.called(made.inputs[0])} stands where its {made.op} {other} belongs"
                    yield from read("wrong operand", words, 1.4, ("reduced", j, how), put(reduced))
        for axis in range(step.g.ndim) if step.g.ndim > 1 else ():
            early = lambda g, axis=axis: np.broadcast_to(g.sum(axis=axis, keepdims=True), g.shape)  # noqa: E731
            words = f"the upstream gradient is summed over axis {axis} (the batch) too early, before the product"
            yield from read("sum too early", words, 1.6, ("early", axis), list(step.arrays), early)


def turned(program: Program, step: Step) -> Iterator[Edit]:
    """One of several contributions to a square matrix transposed."""
    for i in step.wanted():
        node, a = step.inputs[i], step.arrays[i]
        if np.ndim(a) != 2 or a.shape[0] != a.shape[1] or len(program.readers[node]) < 2:
            continue
        words = f"the part of {program.operand(step, i)}'s gradient through {program.where(step)} is transposed"
        rule = lambda g, i=i: step.share(i, g).T  # noqa: E731
        yield from edit(program, step, i, rule, "transposed", words, 1.3, ("turned", step.op, i))


SYMMETRIC = (
    "a symmetric matrix is assumed: {} is used twice, and twice the part through {} stands for the sum of both; the two"
    " agree only where the matrix between them is symmetric, as in 2Ax for (A + Aᵀ)x")


def symmetric(program: Program, step: Step) -> Iterator[Edit]:
    """Of two uses of a tensor, one in a product with the other, twice one in place of both."""
    if step.op not in PRODUCTS or len(step.inputs) != 2:
        return
    for i in step.wanted():
        made, node = program.made.get(step.inputs[1 - i]), step.inputs[i]
        inner = None if made is None or made.op not in ("matmul", "_einsum") else next(
            (k for k, x in enumerate(made.inputs) if x == node), None)
        if made is None or inner is None:
            continue
        for kept, k, lost, j in ((step, i, made, inner), (made, inner, step, i)):
            more = lambda g, s=kept, k=k: s.share(k, g)  # noqa: E731
            less = lambda g, s=lost, j=j: -s.share(j, g)  # noqa: E731
            words = SYMMETRIC.format(program.called(node), program.where(kept))
            yield Edit(
                "symmetry assumed", words, 0.97, (Site(kept.index, node, more), Site(lost.index, node, less)),
                ("symmetric", step.op))


def neighbours(program: Program, step: Step) -> Iterator[Edit]:
    """Another tensor of the same shape where an operand, or the place at which a derivative is taken, belongs."""
    if step.op in BILINEAR:
        for i in step.wanted():
            for j, a in enumerate(step.arrays):
                if (j != i or (step.op == "divide" and i == 1)) and a is not None and np.ndim(a):
                    yield from _replaced(program, step, i, j)
            yield from _complements(program, step, i)
    elif step.op in AT_A_PLACE and len(step.inputs) == 1 and step.value.shape == np.shape(step.arrays[0]) != ():
        yield from _taken_elsewhere(program, step)


def _replaced(program: Program, step: Step, i: int, j: int) -> Iterator[Edit]:
    """In the gradient of operand i, another tensor where operand j belongs."""
    node, shape = step.inputs[j], np.shape(step.arrays[j])
    candidates = [(program.values[n], program.called(n), d, path) for n, d, path in near(program, node, shape, step, j)]
    made: Any = program.made.get(node)
    turned = made is not None and made.op in ("swapaxes", "transpose") and made.value.ndim == 2
    if turned and made.inputs[0] != CONSTANT:
        others = near(program, made.inputs[0], np.shape(made.arrays[0]), made, 0)
        candidates += [(program.values[n].T, f"{program.called(n)}.T", d, path) for n, d, path in others]
    if node == CONSTANT and len(program.live) <= MOST:
        candidates += [
            (value, label, 1, ("constant", label))
            for label, value in _constants(program, shape) if value is not step.arrays[j]]
    for value, label, distance, path in candidates:
        arrays = [value if k == j else a for k, a in enumerate(step.arrays)]
        rule = lambda g, a=arrays: step.call.pull(g, _rerun(step, a), a)[i]  # noqa: E731
        if s := site(program, step, i, rule):
            words = (
                f"{label} stands where {program.operand(step, j)} belongs{_story(path)}, in the gradient of"
                f" {program.operand(step, i)}, in {program.where(step)}")
            yield Edit("wrong operand", words, 1.4 + 0.1 * distance, (s,), ("operand", step.op, i, j, path))


def _complements(program: Program, step: Step, i: int) -> Iterator[Edit]:
    """1 − p where a factor p between 0 and 1 belongs."""
    for j, a in enumerate(step.arrays):
        inside = isinstance(a, np.ndarray) and a.size and a.min() >= 0 and a.max() <= 1
        if j != i and step.op == "multiply" and inside and (a.ndim or step.inputs[j] != CONSTANT):
            arrays = [1 - a if k == j else x for k, x in enumerate(step.arrays)]
            rule = lambda g, a=arrays: step.call.pull(g, step.value, a)[i]  # noqa: E731
            p = program.operand(step, j)
            words = f"1 − {p} stands where {p} belongs, in {program.where(step)}"
            yield from edit(program, step, i, rule, "wrong operand", words, 1.6, ("complement", step.op, i))


def _taken_elsewhere(program: Program, step: Step) -> Iterator[Edit]:
    """The derivative of an activation, taken at another tensor than its input."""
    for node, distance, path in near(program, step.inputs[0], np.shape(step.arrays[0]), step, 0):
        if distance <= 3:
            x = program.values[node]
            with np.errstate(all="ignore"):
                out = step.call.forward([x])
            rule = lambda g, x=x, out=out: step.call.pull(g, out, [x])[0]  # noqa: E731
            words = (
                f"the derivative of {step.name} is taken at {program.called(node)}, not at"
                f" {program.operand(step, 0)}{_story(path)}, in {program.where(step)}")
            kind = ("argument", step.op, path)
            yield from edit(program, step, 0, rule, "wrong argument", words, 1.4 + 0.1 * distance, kind)


BILINEAR = {"multiply", "divide", "matmul", "_einsum"}
AT_A_PLACE = {  # functions whose derivative is taken at the argument, or at the result
    "log", "square", "sqrt", "sin", "cos", "power", "exp", "silu", "_gelu_tanh", "_gelu_erf", "softmax", "log_softmax",
    "tanh", "sigmoid"}


def _constants(program: Program, shape: tuple[int, ...]) -> list[tuple[str, np.ndarray]]:
    """The named constants of a shape."""
    found: dict[str, np.ndarray] = {}
    for step in program.live:
        for k, (x, a) in enumerate(zip(step.inputs, step.arrays, strict=True)):
            if x == CONSTANT and isinstance(a, np.ndarray) and a.ndim and a.shape == shape:
                label = program.operand(step, k)
                if not label.startswith("the constant"):
                    found[label] = a
    return list(found.items())[:6]


def _rerun(step: Step, arrays: list[Any]) -> np.ndarray:
    return step.value if step.op != "divide" else np.divide(arrays[0], arrays[1])


def _story(path: tuple[Any, ...]) -> str:
    """What a neighbour is to the operand that it replaces."""
    if len(path) == 1 and path[0][1] in ACTIVATIONS:
        here, there = ("before", "after") if path[0][0] == "up" else ("after", "before")
        return f" ({here} the activation {path[0][1].lstrip('_')}, not {there} it)"
    return ""


ACTIVATIONS = {
    "tanh", "sigmoid", "relu", "maximum", "exp", "softmax", "silu", "_gelu_tanh", "_gelu_erf", "log_softmax", "sqrt",
    "square", "log"}


def near(
    program: Program, start: int, shape: tuple[int, ...], step: Step, j: int
) -> list[tuple[int, int, tuple[Any, ...]]]:
    """Nodes of a shape around ``start``, operand ``j`` of a step, the nearest first: (node, distance, path)."""
    seen = {start} if start != CONSTANT else set()
    edge: list[tuple[int, tuple[Any, ...]]] = [(start, ())]
    if start == CONSTANT:
        down = ("down", step.op, j)
        edge = [(n, (down, ("up", step.op, i))) for i, n in enumerate(step.inputs) if n != CONSTANT]
        edge.append((step.out, (down,)))
    found = [(n, 1, p) for n, p in edge if start == CONSTANT and program.values[n].shape == shape]
    seen |= {n for n, _ in edge}
    for distance in range(1, 6):
        following = []
        for node, path in edge:
            made = program.made.get(node)
            links = ([(x, ("up", made.op, k)) for k, x in enumerate(made.inputs) if x != CONSTANT] if made else [])
            links += [(s.out, ("down", s.op, k)) for s, k in program.readers.get(node, ())]
            for other, link in links:
                if other in seen:
                    continue
                seen.add(other)
                following.append((other, (*path, link)))
                if program.values[other].shape == shape and shape:
                    found.append((other, distance, (*path, link)))
        edge = following
        if len(found) >= NEIGHBOURS:
            break
    return found[:NEIGHBOURS]


# Other functions -----------------------------------------------------------------------------------------------------

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
        if step.name == "indexing" and _is_slice(step.params["index"]):
            new = program.replayed({step.index: 0}, resized=True)
            if new is not None:
                x, part = program.operand(step, 0), program.expression(step)
                words = (
                    f"the slice is forgotten: all of {x} stands where {part} belongs, also the entries that it leaves"
                    f" out, in {program.where(step)}")
                yield Variation("superfluous entries", words, new, 1.2)
        yield from _skipped(program, step)


def _is_slice(index: Any) -> bool:
    return all(isinstance(k, slice) or k is Ellipsis for k in (index if isinstance(index, tuple) else (index,)))


def _is_mask(step: Step) -> bool:
    return step.op == "select" or (
        step.op in ("add", "subtract") and any(
            x == CONSTANT and isinstance(a, np.ndarray) and a.ndim and bool((np.abs(a) > 1e6).any())
            for x, a in zip(step.inputs, step.arrays, strict=True)))


def _keep(step: Step) -> np.ndarray:
    """1 where the mask lets through."""
    if step.op == "select":
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
    hidden = lambda keep: {step.index: lambda v: np.where(keep > 0, step.arrays[i], -1e9)}  # noqa: E731
    without = {step.index: i}
    if new := program.replayed(without):
        words = f"the mask is forgotten (not applied): the weights are computed again without it, in {at}"
        yield Variation("mask not applied", words, new, 1.2)
    if reader is not None and (new := program.replayed(without, {reader.index: lambda v: v * keep})):
        words = (
            f"the mask is applied after the softmax ({program.called(reader.out)}), not before it; the rows no longer"
            f" add up to 1, in {at}")
        yield Variation("late mask", words, new, 1.3)
    if new := program.replayed(without, {}, {step.index: keep}):
        words = f"the mask is applied to the gradient alone: the weights are computed without it, in {at}"
        yield Variation("late mask", words, new, 1.3)
    square = keep.ndim > 1 and keep.shape[-1] == keep.shape[-2]
    if square and (new := program.replayed({}, hidden(keep.swapaxes(-1, -2)))):
        words = f"the mask is the wrong way round (transposed: rows and columns exchanged), in {at}"
        yield Variation("wrong mask", words, new, 1.4)
    if new := program.replayed({}, hidden(1 - keep)):
        yield Variation("wrong mask", f"the mask is upside down: it hides what it should show, in {at}", new, 1.4)


def _normalised(step: Step) -> bool:
    v = step.value
    return (step.op in ("softmax", "divide") and v.ndim > 0 and v.min() >= 0 and bool(np.allclose(v.sum(axis=-1), 1)))


def _skipped(program: Program, step: Step) -> Iterator[Variation]:
    """A step whose result is one of its inputs: the other operand left out, the function not applied."""
    op = step.op
    if op not in ("add", "subtract", "multiply", "divide", "select", "power", "square") or _is_mask(step):
        return
    for i in step.wanted():
        fits = step.value.ndim or op in ("multiply", "divide") or _small(step, 1 - i)
        squared = len(step.inputs) == 2 and step.inputs[0] == step.inputs[1]
        if np.shape(step.arrays[i]) != step.value.shape or not fits or squared:
            continue
        new = program.replayed({step.index: i})
        if new is None:
            continue
        other = program.operand(step, 1 - i) if len(step.inputs) == 2 else ""
        retained, whole, at = None, program.expression(step), program.where(step)
        words = f"{other} is left out: {program.operand(step, i)} stands where {whole} belongs, in {at}"
        if op in ("multiply", "divide") and (c := step.number(1 - i)) is not None:
            retained = 1 / c if op == "divide" and c else c
            kind = "temperature, scale" if op == "divide" else "scale"
            words = f"{other} (the {kind}) is left out of {whole} in the forward values, in {at}"
        yield Variation("missing operand", words, new, 1.5, retained)


def _small(step: Step, i: int) -> bool:
    """Whether an operand is a small constant, such as the ε under a root."""
    if i >= len(step.inputs) or step.inputs[i] != CONSTANT:
        return False
    value = step.number(i)
    return value is not None and abs(value) < 0.5
