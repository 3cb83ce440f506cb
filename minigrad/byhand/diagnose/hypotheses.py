"""The hypotheses, a grammar of mistakes: every single edit of the backward program that is tried.

An edit has a story.  Those of the ops come from ``mistakes``; here are the ones that any op may suffer: its
derivative left out or applied twice, an operand replaced by a neighbour (``operands``), a sum over broadcast axes
forgotten; the same at every step of a loop; and those of functions that are recognised although they were written
out: a softmax, a sigmoid, a norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..recording import conform
from .mistakes import COMPOSED, MISTAKES
from .operands import neighbours, operands, turned
from .program import CONSTANT, Edit, Program, Site, Step, site
from .recognised import Recognised, recognised

MASKS = ("maximum", "minimum", "relu", "clip", "select", "tril", "triu")


def general(program: Program, step: Step) -> Iterator[Edit]:
    """The derivative of a step left out, or applied twice."""
    op, name = step.call.op.name, step.name
    if op in (
        "add", "subtract", "sum", "reshape", "broadcast_to", "pick", "_take", "negative", "astype", "softmax", "cumsum",
        "mean", "max", "min", "prod", "logsumexp", "log_softmax", "var", "_concatenate", "_stack", *MASKS):
        return
    for i in step.wanted():
        a = program.operand(step, i)
        other = program.operand(step, 1 - i) if len(step.inputs) == 2 else ""
        left, twice = {
            "multiply": (
                ("missing factor", f"the factor {other} is left out of the gradient of {a}"),
                ("factor twice", f"the factor {other} is applied twice")),
            "divide": (
                (
                    ("missing factor", f"the division by {other} is left out of the gradient of {a}")
                    if i == 0
                    else (
                        "forgotten derivative",
                        (
                            f"the derivative with respect to the denominator {a} is left out: the gradient passes"
                            " through unchanged"
                        ),
                    )
                ),
                (
                    "factor twice",
                    (
                        f"the division by {other} is done twice" if i == 0
                        else "the quotient's derivative is applied twice"),
                ),
            ),
            "matmul": (
                ("missing factor", f"the factor {other} of the product is left out of the gradient of {a}"),
                ("factor twice", f"the factor {other} is applied twice")),
        }.get(
            op,
            (
                (
                    "forgotten derivative",
                    f"the derivative of {name} is left out: the gradient passes through to {a} unchanged"),
                ("derivative twice", f"the derivative of {name} is applied twice"),
            ),
        )
        at = f", in {program.where(step)}"
        if (
            op == "multiply" and step.inputs[1 - i] == CONSTANT and np.size(step.arrays[1 - i]) > 1
            and not np.all(step.arrays[1 - i])
        ):
            left = (
                "mask not applied", f"the mask {other} is not applied (the factor is left out) to the gradient of {a}")
        if s := site(program, step, i, lambda g: g):
            yield Edit(left[0], left[1] + at, 1.1, (s,), ("left out", op, i))
        if np.shape(step.arrays[i]) == step.value.shape and (
            s := site(program, step, i, lambda g, i=i: step.pull(step.pull(g)[i])[i])
        ):
            yield Edit(twice[0], twice[1] + at, 1.5, (s,), ("twice", op, i))
        if op in ("multiply", "divide") and np.size(step.arrays[1 - i]) == 1 and i == 0:
            c = float(np.reshape(step.arrays[1], -1)[0])
            if c and (s := site(program, step, i, lambda g, c=c: g * c if op == "divide" else g / c)):
                word = ("multiplied by", "divides") if op == "divide" else ("divided by", "multiplies")
                yield Edit(
                    "upside down", f"{word[0]} {other}, where the function {word[1]} by it{at}", 1.6, (s,),
                    ("inverse", op, i))


def broadcast(program: Program, step: Step) -> Iterator[Edit]:
    """An input that was broadcast: one of its gradients taken for their sum, or the sum along another axis."""
    for i in step.wanted():
        r, a = step.raw[i], step.arrays[i]
        if not a.size or r.size <= a.size:
            continue
        what = program.operand(step, i)
        extra = r.ndim - a.ndim
        axes = [k for k, n in enumerate(r.shape) if n > 1 and (k < extra or a.shape[k - extra] == 1)]
        n = r.size // a.size

        def one(g: np.ndarray, at: int, i: int = i, axes: list[int] = axes) -> np.ndarray:
            whole = step.pull(g)[i]
            for k in axes:
                whole = np.take(whole, [at], axis=k)
            return whole.reshape(step.arrays[i].shape)

        for at, which in ((-1, "last"), (0, "first")):
            if s := site(program, step, i, lambda g, at=at: one(g, at)):
                words = (
                    f"{what} was broadcast over {n} places by {program.where(step)}: their gradients must be added (a"
                    f" sum over the batch), here is the {which} alone")
                yield Edit("missing sum", words, 1.1, (s,), ("first or last", step.call.op.name, i, at))
        if r.ndim == 2 and r.shape[0] == r.shape[1] and len(axes) == 1:
            other = 1 - axes[0]
            if s := site(
                program, step, i, lambda g, i=i, o=other: step.pull(g)[i].sum(axis=o).reshape(step.arrays[i].shape)
            ):
                words = (
                    f"the gradient of {what} is summed over axis {other}; it was broadcast along axis {axes[0]}, in"
                    f" {program.where(step)}")
                yield Edit("wrong axis", words, 1.1, (s,), ("other axis", step.call.op.name, i))


# All edits of a program ------------------------------------------------------------------------------------------------


LARGE = 400  # steps; of a longer program only the ops' own mistakes are tried


def edits(program: Program) -> list[Edit]:
    """All single edits, the loops' among them."""
    found: list[Edit] = []
    seen = list(recognised(program))
    for step in program.live:
        found += of_op(program, step)
        found += broadcast(program, step)
        if len(program.live) <= LARGE:
            found += general(program, step)
            found += operands(program, step)
            found += turned(program, step)
            found += neighbours(program, step)
    for r in seen:
        found += of_recognised(program, r)
    found += taps(program)
    return found + list(repeated(program, found))


def of_op(program: Program, step: Step) -> Iterator[Edit]:
    """The typical mistakes of the op."""
    for k, m in enumerate(MISTAKES.get(step.call.op.name, ())):
        sites = []
        for i in step.wanted():

            def rule(g: np.ndarray, i: int = i, m: Any = m) -> Any:
                return m.rule(g, step.value, *step.arrays, **step.call.own_params())[i]

            try:
                fits = rule(step.g) is not None
            except (ValueError, IndexError, TypeError):
                fits = False
            if fits and (s := site(program, step, i, rule)):
                sites.append(s)
        for s in sites:
            i = next(i for i in step.wanted() if step.inputs[i] == s.node)
            of = f"gradient of {program.operand(step, i)}"
            yield Edit(m.name, f"{m.words}; {of}, in {program.where(step)}", 1.0, (s,), ("op", step.call.op.name, k))
        if len(sites) > 1:
            yield Edit(
                m.name, f"{m.words}, in {program.where(step)}", 1.02, tuple(sites), ("op both", step.call.op.name, k)
            )


def of_recognised(program: Program, r: Recognised) -> Iterator[Edit]:
    """The mistakes of a function that was written out in plain operations."""
    made = program.made[r.y]
    what = {"standardise": "the normalisation", "rms": "the normalisation", "unit": "the normalisation"}.get(
        r.kind, r.kind
    )
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
        if np.abs(change + r.sign * right).max(initial=0) <= 1e-12 * np.abs(right).max(initial=0):
            continue
        if (
            change.shape == r.x_value.shape and np.isfinite(change).all()
            and np.abs(change).max(initial=0) > 1e-10 * np.abs(r.right(made.g)).max(initial=0)
        ):
            words = f"{m.words}; {what} of {program.called(r.x)}, in {program.where(made)}"
            yield Edit(m.name, words, 0.95, (Site(made.index, r.x, more),), ("recognised", r.kind, k))


class _Again(NamedTuple):
    name: str
    words: str
    rule: Callable[..., Any]


AGAIN = {  # the derivative where the composition had cancelled it, as in p − t
    "sigmoid": [
        _Again("forgotten derivative", "the sigmoid's derivative y (1 − y) is left out", lambda g, y, x: [g]),
        _Again(
            "derivative twice", "the sigmoid's derivative y (1 − y) is multiplied once more: it has cancelled already",
            lambda g, y, x: [g * (y * (1 - y)) ** 2]),
    ]
}


def taps(program: Program) -> Iterator[Edit]:
    """The taps of a convolution, w₀ x₀ + w₁ x₁ + …, in reverse order, or each shifted by one."""
    groups: dict[tuple[int, int], list[tuple[Step, Step]]] = {}
    for step in program.live if len(program.live) <= LARGE else ():
        for j in range(2) if step.call.op.name == "multiply" else ():
            made = program.made.get(step.inputs[j])
            if made is not None and made.call.op.name == "pick" and step.inputs[1 - j] != CONSTANT:
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
                sites += [s for s in [site(program, step, 1 - j, rule)] if s]
            how = "shifted by one place" if k else "taken in reverse order (flipped)"
            words = f"the {len(uses)} parts of {program.called(base)} are {how}, at {uses[0][0].place}"
            if sites:
                yield Edit("shifted" if k else "flipped", words, 1.3, tuple(sites), ("taps", base, k))


def repeated(program: Program, single: list[Edit]) -> Iterator[Edit]:
    """The same slip at every step of a loop, or in every op of one kind; also a path dropped, or a sign, at each."""
    groups: dict[Any, list[Edit]] = {}
    for e in single:
        place = program.steps[e.sites[0].step].place
        groups.setdefault((e.kind, None), []).append(e)
        if place is not None:
            groups.setdefault((e.kind, place.number), []).append(e)
    for step in program.live:
        for i in step.wanted():
            for name, c in (("missing path", 0.0), ("sign", -1.0)):
                if s := site(program, step, i, lambda g, i=i, c=c, step=step: c * step.pull(g)[i], zero=True):
                    e = Edit(name, "", 1.4, (s,), (name, step.call.op.name, i))
                    if step.place is not None:
                        groups.setdefault((e.kind, step.place.number), []).append(e)
    done = set()
    for (kind, line), members in groups.items():
        steps = {e.sites[0].step for e in members}
        if not 2 <= len(steps) <= 64 or len(steps) != len(members):
            continue
        key = (kind, tuple(sorted(steps)))
        if key in done:
            continue
        done.add(key)
        first = members[0]
        step = program.steps[first.sites[0].step]
        i = (
            next(k for k, n in enumerate(step.inputs) if n == first.sites[0].node) if first.sites[0].node in step.inputs
            else 0)
        words = (
            first.words
            or {
                "missing path": f"the path through {program.operand(step, i)} is left out, in {program.where(step)}",
                "sign": f"the sign of the gradient of {program.operand(step, i)} is wrong, in {program.where(step)}",
            }[first.name]
        )
        looped = len({program.steps[k].visit for k in steps}) == len(steps)
        one = line is not None or _one_line(program, steps)
        every = "at each step of the loop" if one and looped else f"in each {step.name}"
        if not one:
            places = dict.fromkeys(program.called(program.steps[e.sites[0].step].out) for e in members)
            words = f"{words.split('; gradient of ')[0].split(', in ')[0]}: {' and '.join(places)}"
        yield Edit(
            first.name, f"{every} ({len(steps)} times): {words}", first.cost + 0.15,
            tuple(s for e in members for s in e.sites), ("each", *kind))


def _one_line(program: Program, steps: set[int]) -> bool:
    return len({program.steps[k].place for k in steps}) == 1 and program.steps[next(iter(steps))].place is not None
