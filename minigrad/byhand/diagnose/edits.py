"""The grammar of mistakes: every single edit of the backward program that is tried.

An edit has a story.  Those of the ops come from ``mistakes``; here are the ones that any op may suffer: its
derivative left out or applied twice, an operand replaced by a neighbour, a sum over broadcast axes forgotten; the
same at every step of a loop; and those of functions that are recognised although they were written out: a softmax, a
sigmoid, a norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..recording import conform
from .mistakes import COMPOSED, MISTAKES
from .operands import neighbours, operands, turned
from .program import Program
from .recognised import Recognised, recognised
from .single import Edit, broadcast, general, site
from .steps import Site, Step

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
            change.shape == r.x_value.shape
            and np.isfinite(change).all()
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
            "derivative twice",
            "the sigmoid's derivative y (1 − y) is multiplied once more: it has cancelled already",
            lambda g, y, x: [g * (y * (1 - y)) ** 2],
        ),
    ]
}


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
            next(k for k, n in enumerate(step.inputs) if n == first.sites[0].node)
            if first.sites[0].node in step.inputs
            else 0
        )
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
            first.name,
            f"{every} ({len(steps)} times): {words}",
            first.cost + 0.15,
            tuple(s for e in members for s in e.sites),
            ("each", *kind),
        )


def _one_line(program: Program, steps: set[int]) -> bool:
    return len({program.steps[k].place for k in steps}) == 1 and program.steps[next(iter(steps))].place is not None
