"""The hypotheses, a grammar of mistakes: every single edit of the backward program that is tried.

An edit has a story.  Those of the ops come from ``mistakes``; here are the ones that any op may suffer: its
derivative left out or applied twice, an operand replaced by a neighbour (``operands``), a sum over broadcast axes
forgotten; two like tensors exchanged; the same at every step of a loop, or the steps of a loop taken for each other;
and those of functions that are recognised although they were written out: a softmax, a sigmoid, a norm.

It has more than 300 lines because each of these is a way of its own to edit the program.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..recording import conform
from .mistakes import COMPOSED, MISTAKES, Mistake
from .operands import neighbours, operands, symmetric, turned
from .program import CONSTANT, PRODUCTS, Edit, Program, Site, Step, edit, site

MASKS = ("maximum", "minimum", "relu", "clip", "select", "tril", "triu")


def general(program: Program, step: Step) -> Iterator[Edit]:
    """The derivative of a step left out, or applied twice."""
    op, name = step.op, step.name
    if op in (
        "add", "subtract", "sum", "reshape", "broadcast_to", "pick", "_take", "negative", "astype", "softmax", "cumsum",
        "mean", "max", "min", "prod", "logsumexp", "log_softmax", "var", "_concatenate", "_stack", *MASKS):
        return
    for i in step.wanted():
        a = program.operand(step, i)
        other = program.operand(step, 1 - i) if len(step.inputs) == 2 else ""
        at = f", in {program.where(step)}"
        forgotten, missing, twofold = "forgotten derivative", "missing factor", "factor twice"
        if op == "multiply" or op == "matmul":
            product = " of the product" if op == "matmul" else ""
            left = missing, f"the factor {other}{product} is left out of the gradient of {a}"
            twice = twofold, f"the factor {other} is applied twice"
        elif op == "divide" and i == 0:
            left = missing, f"the division by {other} is left out of the gradient of {a}"
            twice = twofold, f"the division by {other} is done twice"
        elif op == "divide":
            denominator = f"the derivative with respect to the denominator {a}"
            left = forgotten, f"{denominator} is left out: the gradient passes through unchanged"
            twice = twofold, "the quotient's derivative is applied twice"
        else:
            left = forgotten, f"the derivative of {name} is left out: the gradient passes through to {a} unchanged"
            twice = "derivative twice", f"the derivative of {name} is applied twice"
        if op == "multiply" and step.multiplies_zeros():
            left = (
                "mask not applied", f"the mask {other} is not applied (the factor is left out) to the gradient of {a}")
        yield from edit(program, step, i, lambda g: g, left[0], left[1] + at, 1.1, ("left out", op, i))
        if np.shape(step.arrays[i]) == step.value.shape:
            again = lambda g, i=i: step.pull(step.pull(g)[i])[i]  # noqa: E731
            yield from edit(program, step, i, again, twice[0], twice[1] + at, 1.5, ("twice", op, i))
        if op in ("multiply", "divide") and i == 0 and (c := step.number(1)):
            inverse = lambda g, c=c, op=op: g * c if op == "divide" else g / c  # noqa: E731
            done, does = ("multiplied by", "divides") if op == "divide" else ("divided by", "multiplies")
            words = f"{done} {other}, where the function {does} by it{at}"
            yield from edit(program, step, i, inverse, "upside down", words, 1.6, ("inverse", op, i))


def broadcast(program: Program, step: Step) -> Iterator[Edit]:
    """An input that was broadcast: one of its gradients taken for their sum, or the sum along another axis."""
    for i in step.wanted():
        r, a = step.raw[i], step.arrays[i]
        if not a.size or r.size <= a.size:
            continue
        what, where, op = program.operand(step, i), program.where(step), step.op
        extra = r.ndim - a.ndim
        axes = [k for k, n in enumerate(r.shape) if n > 1 and (k < extra or a.shape[k - extra] == 1)]
        n = r.size // a.size
        words = f"{what} was broadcast over {n} places by {where}: their gradients must be added (a sum"

        def one(g: np.ndarray, at: int, i: int = i, axes: list[int] = axes) -> np.ndarray:
            found = step.pull(g)[i]
            for k in axes:
                found = np.take(found, [at], axis=k)
            return found.reshape(step.arrays[i].shape)

        whole = r.reshape(-1) if not axes else np.moveaxis(r, axes, range(len(axes))).reshape(n, -1)
        if not np.ptp(whole):
            words += "), here is that of one place alone"
            alone = lambda g: one(g, 0)  # noqa: E731
            yield from edit(program, step, i, alone, "missing sum", words, 1.1, ("first or last", op, i, 0))
            continue
        for at, which in ((-1, "last"), (0, "first")):
            if np.ptp(whole[at]):  # else, as of a mask, the numbers do not tell it from a constant
                said = f"{words} over the batch), here is the {which} alone"
                there = lambda g, at=at: one(g, at)  # noqa: E731
                yield from edit(program, step, i, there, "missing sum", said, 1.1, ("first or last", op, i, at))
        if r.ndim == 2 and r.shape[0] == r.shape[1] and len(axes) == 1:
            other = 1 - axes[0]
            across = lambda g, i=i, o=other: step.pull(g)[i].sum(axis=o).reshape(step.arrays[i].shape)  # noqa: E731
            along = f"is summed over axis {other}; it was broadcast along axis {axes[0]}"
            words = f"the gradient of {what} {along}, in {where}"
            yield from edit(program, step, i, across, "wrong axis", words, 1.1, ("other axis", op, i))


# All edits of a program ----------------------------------------------------------------------------------------------

LARGE = 400  # steps; of a longer program only the ops' own mistakes are tried


def edits(program: Program) -> list[Edit]:
    """All single edits, the loops' among them."""
    found: list[Edit] = []
    seen = list(recognised(program))
    for step in program.live:
        found += of_op(program, step)
        found += broadcast(program, step)
        for may_suffer in ANY_OP if len(program.live) <= LARGE else ():
            found += may_suffer(program, step)
    for r in seen:
        found += of_recognised(program, r)
    if len(program.live) <= LARGE:
        found += exchanged(program)
        found += steps_apart(program)
    found += taps(program)
    return found + list(repeated(program, found))


def of_op(program: Program, step: Step) -> Iterator[Edit]:
    """The typical mistakes of the op."""
    for k, m in enumerate(MISTAKES.get(step.op, ())):
        sites = []
        for i in step.wanted():

            def rule(g: np.ndarray, i: int = i, m: Any = m) -> Any:
                return m.rule(g, step.value, *step.arrays, **step.call.own_params())[i]

            with contextlib.suppress(ValueError, IndexError, TypeError):
                if rule(step.g) is not None and (s := site(program, step, i, rule)):
                    sites.append(s)
        for s in sites:
            i = next(i for i in step.wanted() if step.inputs[i] == s.node)
            of = f"gradient of {program.operand(step, i)}"
            yield Edit(m.name, f"{m.words}; {of}, in {program.where(step)}", 1.0, (s,), ("op", step.op, k))
        if len(sites) > 1:
            yield Edit(m.name, f"{m.words}, in {program.where(step)}", 1.02, tuple(sites), ("op both", step.op, k))


def of_recognised(program: Program, r: Recognised) -> Iterator[Edit]:
    """The mistakes of a function that was written out in plain operations."""
    made = program.made[r.y]
    what = "the normalisation" if r.kind in ("standardise", "rms", "unit") else r.kind
    for k, m in enumerate([*MISTAKES.get(r.kind, ()), *COMPOSED.get(r.kind, ()), *AGAIN.get(r.kind, ())]):

        def more(g: np.ndarray, m: Any = m) -> np.ndarray:
            wrong = m.rule(r.spread(g), r.value, r.x_value, **r.params)[0]
            return np.zeros(r.x_value.shape) if wrong is None else r.sign * (conform(wrong, r.x_value) - r.right(g))

        try:
            with np.errstate(all="ignore"):
                change = more(made.g)
        except (ValueError, IndexError, TypeError):
            continue
        right = r.right(made.g)
        top = np.abs(right).max(initial=0)
        if np.abs(change + r.sign * right).max(initial=0) <= 1e-12 * top:
            continue
        fits = change.shape == r.x_value.shape and np.isfinite(change).all()
        if fits and np.abs(change).max(initial=0) > 1e-10 * top:
            of = ("-" if r.sign < 0 else "") + program.called(r.x)
            words = f"{m.words}; {what} of {of}, in {program.where(made)}"
            yield Edit(m.name, words, 0.95, (Site(made.index, r.x, more),), ("recognised", r.kind, k))
    yield from _gain_left_out(program, r)
    if r.kind in ("softmax", "log_softmax"):
        rules = [
            (m, lambda g, m=m: r.sign * (conform(m.rule(r.spread(g), r.value, r.x_value, **r.params)[0], r.x_value)))
            for m in MISTAKES[r.kind][:3]]
        yield from _of_some_readers(program, made, r.x, rules, lambda g: r.sign * r.right(g))


def _gain_left_out(program: Program, r: Recognised) -> Iterator[Edit]:
    """Of a norm with a gain, y = g x̂: the gain left out of the means over the normalised axis, not of the rest."""
    readers = program.readers.get(r.y, [])
    if "s" not in r.params or len(readers) != 1 or readers[0][0].op != "multiply":
        return
    step, k = readers[0]
    gain = np.broadcast_to(step.arrays[1 - k], step.value.shape)
    if not gain.all() or step.value.shape != r.value.shape:
        return
    y, s, keep = r.value, r.params["s"], {"axis": r.params["axis"], "keepdims": True}
    made, what = program.made[r.y], program.operand(step, 1 - k)
    total = np.sum if r.kind == "unit" else np.mean
    for both in (False, True) if r.kind == "standardise" else (False,):

        def more(g: np.ndarray, both: bool = both) -> np.ndarray:
            rest = g / gain - g
            change = -y * total(rest * y, **keep) - (rest.mean(**keep) if both else 0.0)
            return np.asarray(change / s)

        if np.abs(more(made.g)).max(initial=0) > 1e-10 * np.abs(r.right(made.g)).max(initial=0):
            term = "the sum Σ ȳ x̂" if r.kind == "unit" else "the mean ⟨ȳ x̂⟩"
            term = "the two means ⟨ȳ⟩ and ⟨ȳ x̂⟩" if both else term
            words = (
                f"the factor {what} (the gain) is left out inside {term}; it belongs to the upstream gradient ȳ of the"
                f" normalised x̂ in every term, in {program.where(step)}")
            yield Edit("missing factor", words, 1.1, (Site(made.index, r.x, more),), ("gain", r.kind, both))
    if r.kind in ("standardise", "rms"):
        n = r.value.size // s.size

        def summed(g: np.ndarray) -> np.ndarray:
            return np.asarray(-y * (np.sum(g / gain * y, **keep) - np.mean(g * y, **keep)) / s)

        words = (
            f"two mistakes in one term: a sum stands where the mean ⟨ȳ x̂⟩ over {n} entries belongs, and the factor"
            f" {what} (the gain) is left out inside it, in {program.where(step)}")
        yield Edit("missing factor and mean", words, 2.3, (Site(made.index, r.x, summed),), ("gain", r.kind, "sum"))


def in_one_term(program: Program, step: Step) -> Iterator[Edit]:
    """Softmax's coupling left out of the gradient that comes through some of its uses."""
    if step.op in ("softmax", "log_softmax") and step.inputs[0] != CONSTANT:
        own = step.call.own_params()
        rules = [(m, lambda g, m=m: m.rule(g, step.value, *step.arrays, **own)[0]) for m in MISTAKES[step.op][:3]]
        yield from _of_some_readers(program, step, step.inputs[0], rules, lambda g: step.pull(g)[0])


def _of_some_readers(program: Program, step: Step, node: int, rules: list[Any], right: Any) -> Iterator[Edit]:
    readers = [(s, k) for s, k in program.readers.get(step.out, []) if s.g is not None]
    for n in range(1, len(readers)) if 2 <= len(readers) <= 4 else ():
        for some in itertools.combinations(readers, n):
            g = sum(s.share(k, s.g) for s, k in some)
            for m, rule in rules:
                with np.errstate(all="ignore"):
                    change = conform(np.asarray(rule(g)), program.values[node]) - right(g)
                if np.isfinite(change).all() and np.abs(change).max(initial=0) > 1e-10 * np.abs(g).max(initial=0):
                    through = " and ".join(dict.fromkeys(program.where(s) for s, _ in some))
                    words = f"{m.words}; {program.called(step.out)}, only in the part of its gradient through {through}"
                    more = lambda _, c=change: c  # noqa: E731
                    yield Edit(m.name, words, 1.3, (Site(step.index, node, more),), ("in one term", step.name, m.words))


def above(program: Program, step: Step) -> Iterator[Edit]:
    """The step above, an activation or a factor, left out of the gradient of one operand but not of the other."""
    if step.op not in PRODUCTS or len(set(step.wanted())) < 2:
        return
    node, readers = step.out, program.readers.get(step.out, [])
    while len(readers) == 1 and readers[0][0].op in ("add", "subtract") and readers[0][1] == 0:
        node = readers[0][0].out
        readers = program.readers.get(node, [])
    if len(readers) != 1:
        return
    (reader, k), shape = readers[0], step.value.shape
    op, two = reader.op, len(reader.inputs) == 2
    if reader.g is None or reader.g.shape != shape or reader.arrays[k].shape != shape or (
        op in ("add", "reshape", "negative") or (two and op not in ("multiply", "divide", "maximum"))):
        return
    what = f"the derivative of {reader.name}"
    if op in ("multiply", "divide") and two:
        what = f"the {'factor' if op == 'multiply' else 'division by'} {program.operand(reader, 1 - k)}"
    for i in step.wanted():
        if len(program.readers[step.inputs[i]]) > 1:
            words = (
                f"{what} is left out of the gradient of {program.operand(step, i)}, though not of that of"
                f" {program.operand(step, 1 - i)}, in {program.where(reader)}")
            rule = lambda g, i=i: step.pull(reader.g)[i]  # noqa: E731
            yield from edit(program, step, i, rule, "missing factor", words, 1.3, ("above", step.op, op, i))


def picked(program: Program, step: Step) -> Iterator[Edit]:
    """Entries that are picked, as the scores of the right classes: none of their gradient, or one for their count."""
    index = step.params.get("index") if step.name == "indexing" else None
    if not isinstance(index, tuple) or not any(isinstance(k, np.ndarray) for k in index):
        return
    node = step.inputs[0]
    whole = program.gradients[node]
    times = np.zeros(whole.shape)
    np.add.at(times, index, 1.0)
    if len(program.readers[node]) < 2 or times.max() > 1:
        return
    total = whole[index]
    others = np.abs(whole[(times == 0) & (whole != 0)])
    unit = float(others[0]) if others.size and np.ptp(others) <= 1e-12 * others[0] else 0.0
    sign = float(np.sign(total.sum()))
    what = program.expression(step)
    nowhere = f"the entries {what} get no gradient at all, neither as picked ones nor as those of {{}}"
    rows = [("missing path", nowhere, 0.0)]
    if unit and sign:
        one, minus = ("−1", "minus ") if sign < 0 else ("1", "")
        rows.append((
            "missing sum",
            f"each of the entries {what} gets {one}, where {minus}the count of the others that take part belongs (the"
            f" gradients of {program.called(step.out)} must be added)", sign * unit))
    for name, words, value in rows:
        change = np.zeros(whole.shape)
        change[index] = value - total
        if np.abs(change).max() > 1e-10 * np.abs(whole).max():
            more = lambda g, c=change: c  # noqa: E731
            said = f"{words.format(program.called(node))}, in {program.where(step)}"
            yield Edit(name, said, 1.2, (Site(step.index, node, more),), ("picked", name))


def exchanged(program: Program) -> Iterator[Edit]:
    """The gradients of two like tensors exchanged: two gates, or queries and keys."""
    groups: dict[Any, list[int]] = {}
    for step in program.live:
        key: Any = None
        if step.name == "indexing":
            key = ("pick", step.inputs[0])
        elif step.op == "matmul":
            key = ("matmul", step.inputs[0] if step.inputs[0] != CONSTANT else id(step.call.inputs[0]))
        if key is not None:
            groups.setdefault((*key, step.value.shape), []).append(step.out)
    for nodes in groups.values():
        for _ in range(6):
            if not 2 <= len(nodes) <= 6:
                break
            for a, b in itertools.combinations(nodes, 2):
                yield from _exchange(program, a, b)
            nodes = [
                readers[0][0].out for n in nodes
                if len(readers := program.readers.get(n, [])) == 1 and len(list(readers[0][0].wanted())) == 1]
            if len({program.values[n].shape for n in nodes}) > 1:
                break


def _exchange(program: Program, a: int, b: int) -> Iterator[Edit]:
    ga, gb = program.gradients[a], program.gradients[b]
    last = [max((s.index for s, _ in program.readers[n] if s.g is not None), default=-1) for n in (a, b)]
    if ga is None or gb is None or min(last) < 0 or np.allclose(ga, gb):
        return
    sites = tuple(
        Site(k, n, lambda g, c=other - own: c)
        for k, n, own, other in zip(last, (a, b), (ga, gb), (gb, ga), strict=True))
    words = f"the gradients of {program.called(a)} and {program.called(b)} are exchanged"
    place = program.made[b].place
    yield Edit("exchanged", words + (f" ({place})" if place else ""), 1.25, sites, ("exchanged", a, b))


def _loops(program: Program) -> Iterator[tuple[tuple[Step, ...], int, Step | None]]:
    """The steps at one place of a loop, an operand that changes, and what makes it at the end if it is carried."""
    runs: dict[Any, dict[int, list[Step]]] = {}
    for step in program.live:
        if step.place is not None:
            runs.setdefault((step.place, step.op), {}).setdefault(step.visit, []).append(step)
    for visits in runs.values():
        if len(visits) < 2 or len({len(v) for v in visits.values()}) > 1:
            continue
        for steps in zip(*visits.values(), strict=True):
            for j in range(len(steps[0].inputs)):
                arrays = [s.arrays[j] for s in steps]
                if any(not isinstance(a, np.ndarray) or not a.ndim or a.shape != arrays[0].shape for a in arrays):
                    continue
                if all(np.array_equal(a, arrays[0]) for a in arrays):
                    continue
                made = [program.made.get(s.inputs[j]) for s in steps[1:]]
                apart = {m.index - s.index if m else -1 for m, s in zip(made, steps, strict=False)}
                end = None
                if len(apart) == 1 and (by := apart.pop()) >= 0 and steps[-1].index + by < len(program.steps):
                    end = program.steps[steps[-1].index + by]
                    if made[0] is None or end.op != made[0].op or end.value.shape != arrays[0].shape:
                        end = None
                yield steps, j, end


def steps_apart(program: Program) -> Iterator[Edit]:
    """In a loop, the operand of the next step or of the one before; a state that gets the last one's gradient."""
    ends = set()
    for steps, j, end in _loops(program):
        arrays, nothing = [s.arrays[j] for s in steps], np.zeros(steps[0].arrays[j].shape)
        if steps[0].op in PRODUCTS:
            yield from _apart(program, steps, j, "next", [*arrays[1:], nothing if end is None else end.value])
            yield from _apart(program, steps, j, "previous", [nothing, *arrays[:-1]])
        if end is not None and end.g is not None and end.out not in ends:
            ends.add(end.out)
            yield from _as_if_last(program, steps, j, end)


def _as_if_last(program: Program, steps: tuple[Step, ...], j: int, end: Step) -> Iterator[Edit]:
    sites = []
    for step in steps:
        node = step.inputs[j]
        inside = [(s, k) for s, k in program.readers.get(node, ()) if s.g is not None and s.index < end.index]
        if node == CONSTANT or not inside:
            continue
        try:
            new = _through_the_end(program, end.out, program.values[node])
        except (ValueError, IndexError, TypeError):
            return
        for s, k in inside:
            sites.append(Site(s.index, node, lambda g, s=s, k=k: -s.share(k, g)))
        sites.append(Site(inside[-1][0].index, node, lambda g, new=new: new))
    if len(sites) > 2:
        x = unnumbered(program.called(end.out))
        words = (
            f"at each step of the loop ({len(steps)} times): {x} gets the gradient that it would have if the step were"
            f" the last one: nothing is carried back from the later steps, in {end.place}")
        yield Edit("missing path", words, 1.35, tuple(sites), ("as if last", end.out))


def _through_the_end(program: Program, node: int, value: np.ndarray) -> np.ndarray:
    """The gradient of a node through the steps that follow it, at another value of it."""
    values, tail = {node: value}, []
    for step in program.live:
        if any(x in values for x in step.inputs):
            arrays = [values.get(x, a) if x != CONSTANT else a for x, a in zip(step.inputs, step.arrays, strict=True)]
            values[step.out] = np.asarray(step.call.forward(arrays))
            tail.append((step, arrays))
    gradients: dict[int, Any] = {program.output: program.seed}
    for step, arrays in reversed(tail):
        if step.out in gradients:
            given = step.call.pull(gradients[step.out], values[step.out], arrays)
            for i in step.wanted():
                x = step.inputs[i]
                if x in values:
                    gradients[x] = gradients.get(x, 0.0) + conform(given[i], arrays[i])
    return np.asarray(gradients.get(node, np.zeros(value.shape)), float)


def _apart(program: Program, steps: tuple[Step, ...], j: int, word: str, there: list[Any]) -> Iterator[Edit]:
    for i in steps[0].wanted():
        if i == j:
            continue
        sites = []
        for step, a in zip(steps, there, strict=True):
            arrays = [a if k == j else x for k, x in enumerate(step.arrays)]
            rule = lambda g, s=step, a=arrays, i=i: s.call.pull(g, s.value, a)[i]  # noqa: E731
            if s := site(program, step, i, rule, zero=True):
                sites.append(s)
        if sites:
            middle = steps[len(steps) // 2]
            x, of = unnumbered(program.operand(middle, j)), unnumbered(program.operand(middle, i))
            x = "the other factor" if x.startswith("the constant") else x
            carried = program.readers.get(middle.out) and middle.inputs[j] in program.made
            h = f"{x} of the {word} step" if word == "previous" or not carried else f"{x} after the step ({x}_t)"
            own = f"{x} before it ({x}_(t−1))" if word == "next" and carried else f"{x} of the step itself"
            words = (
                f"at each step of the loop ({len(steps)} times): {h} stands where {own} belongs (off by one), in the"
                f" gradient of {of}, in {unnumbered(program.where(middle))}")
            yield Edit("wrong operand", words, 1.3, tuple(sites), ("apart", j, word))


def unnumbered(words: str) -> str:
    """Without the numbers that tell the steps of a loop apart."""
    return re.sub(r" \(number \d+ of \d+\)", "", words)


AGAIN = {  # the derivative where the composition had cancelled it, as in p − t
    "sigmoid": [
        Mistake("forgotten derivative", "the sigmoid's derivative y (1 − y) is left out", lambda g, y, x: [g]),
        Mistake(
            "derivative twice", "the sigmoid's derivative y (1 − y) is multiplied once more: it has cancelled already",
            lambda g, y, x: [g * (y * (1 - y)) ** 2])]}


def taps(program: Program) -> Iterator[Edit]:
    """The taps of a convolution, w₀ x₀ + w₁ x₁ + …, in reverse order, or each shifted by one."""
    groups: dict[tuple[int, int], list[tuple[Step, Step]]] = {}
    for step in program.live if len(program.live) <= LARGE else ():
        for j in range(2) if step.op in ("multiply", "matmul") else ():
            made = program.made.get(step.inputs[j])
            if made is not None and made.op == "pick" and step.inputs[1 - j] != CONSTANT:
                groups.setdefault((made.inputs[0], j), []).append((step, made))
    for (base, j), uses in groups.items():
        taken = [step.arrays[j] for step, _ in uses]
        if not 2 <= len(uses) <= 16 or len({a.shape for a in taken}) > 1:
            continue
        rolled = [[np.roll(program.values[base], d, axis=0)[made.params["index"]] for _, made in uses] for d in (1, -1)]
        for k, others in enumerate([taken[::-1], *rolled]):
            sites = []
            for (step, _), other in zip(uses, others, strict=True):
                arrays = [step.arrays[0], other] if j else [other, step.arrays[1]]
                rule = lambda g, s=step, a=arrays, j=j: s.call.pull(g, s.value, a)[1 - j]  # noqa: E731
                if s := site(program, step, 1 - j, rule):
                    sites.append(s)
            how = "shifted by one place" if k else "taken in reverse order (flipped)"
            words = f"the {len(uses)} parts of {program.called(base)} are {how}, at {uses[0][0].place}"
            if sites:
                yield Edit("shifted" if k else "flipped", words, 1.2, tuple(sites), ("taps", base, k))


def repeated(program: Program, single: list[Edit]) -> Iterator[Edit]:
    """The same slip at every step of a loop, or in every op of one kind; also a path dropped, or a sign, at each."""
    groups: dict[Any, list[Edit]] = {}
    order: dict[int, int] = {}  # of the steps, which one of its op it is at its place
    seen: dict[Any, int] = {}
    for step in program.steps:
        at = (step.op, step.place, step.visit)
        order[step.index] = seen[at] = seen.get(at, -1) + 1

    def at_its_place(e: Edit) -> None:
        index = e.sites[0].step
        if (place := program.steps[index].place) is not None:
            groups.setdefault((e.kind, place.number), []).append(e)
            groups.setdefault((e.kind, (place.number, order[index])), []).append(e)

    for e in single:
        if e.kind[0] not in ALREADY_SEVERAL:
            groups.setdefault((e.kind, None), []).append(e)
            at_its_place(e)
    for step in program.live:
        for i in step.wanted():
            for name, c in (("missing path", 0.0), ("sign", -1.0)):
                rule = lambda g, i=i, c=c, step=step: c * step.pull(g)[i]  # noqa: E731
                if s := site(program, step, i, rule, zero=True):
                    at_its_place(Edit(name, "", 1.4, (s,), (name, step.op, i)))
    done = set()
    for (kind, line), members in groups.items():
        steps = {e.sites[0].step for e in members}
        if not 2 <= len(steps) <= 64 or len(steps) != len(members):
            continue
        key = (kind, tuple(sorted(steps)))
        if key in done:
            continue
        done.add(key)
        looped = len({program.steps[k].visit for k in steps}) == len(steps)
        one = line is not None or _one_line(program, steps)
        if not looped and not members[0].words and len({e.sites[0].node in program.made for e in members}) > 1:
            continue  # what is given and what is made are not forgotten together
        first = members[len(members) // 2 if one and looped else 0]
        site_ = first.sites[0]
        step = program.steps[site_.step]
        operand = program.operand(step, step.inputs.index(site_.node) if site_.node in step.inputs else 0)
        words = first.words or {
            "missing path": f"the path through {operand} is left out, in {program.where(step)}",
            "sign": f"the sign of the gradient of {operand} is wrong, in {program.where(step)}",
        }[first.name]
        every = "at each step of the loop" if one and looped else f"in each {step.name}"
        said = list(dict.fromkeys(re.split("; |: |, in ", e.words)[0] for e in members))
        if one and looped:
            words = unnumbered(words if len(said) == 1 else re.sub(r"\[([^\[\]]*?)\d+\]", r"[\1…]", words))
        elif len(said) > 1 and first.words:
            words = " and ".join(said) + (f", in {step.place}" if one else "")
        elif not one or first.words:
            places = dict.fromkeys(program.called(program.steps[e.sites[0].step].out) for e in members)
            words = f"{re.split('; gradient of |, in ', words)[0]}: {' and '.join(places)}"
            words += f", in {step.place}" if one else ""
        words, sites = f"{every} ({len(steps)} times): {words}", tuple(s for e in members for s in e.sites)
        yield Edit(first.name, words, first.cost + 0.15, sites, ("each", *kind))


ALREADY_SEVERAL = ("apart", "symmetric", "as if last", "exchanged", "picked", "in one term")


def _one_line(program: Program, steps: set[int]) -> bool:
    return len({program.steps[k].place for k in steps}) == 1 and program.steps[next(iter(steps))].place is not None


ANY_OP = (general, operands, turned, neighbours, symmetric, above, picked, in_one_term)


# Functions that were written out in plain operations and are recognised by their numbers: softmax, sigmoid, norms ----

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
        if step.op not in ("divide", "multiply", "subtract", "log", "log1p", "reciprocal", "power", "exp"):
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


NORMALISED = "x̂ (the normalised {})"
LABELS = {
    **dict.fromkeys(("standardise", "rms", "unit"), NORMALISED), "softmax": "softmax({})", "sigmoid": "sigmoid({})"}


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
    if program.made[node].op not in ("log", "log1p") or not y.size or np.ptp(np.sign(y)) or not y.all():
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
    picked = program.made.get(made.inputs[0]) if made.op == "log" else None
    if picked is None or picked.op != "pick":
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
    if program.made[node].op != "log":
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
    if program.made[node].op not in ("divide", "multiply") or not y.ndim:
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
                positive = np.isfinite(s).all() and (s > 0).all()
                if not positive or not np.allclose(u / s, y, rtol=1e-8, atol=1e-10) or not _depends(program, node, x):
                    continue
                rest = s * s - (u * u).mean(**keep)  # ε, the same in every row and small
                if kind == "rms" and np.allclose(s * s, (u * u).sum(**keep), rtol=1e-9):
                    right = lambda g, s=s, k=keep: (g - y * (g * y).sum(**k)) / s  # noqa: E731
                    return Recognised("unit", x, node, v, y, {"axis": axis, "s": s}, right)
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
