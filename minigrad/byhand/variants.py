"""Mistakes made at one step of a recorded computation, and the gradients that they would give.

Three kinds: the typical ones of each op, a path from a tensor to the output that is left out, a derivative that is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import graph
from .mistakes import MISTAKES
from .recording import Recording, Step


class Variant(NamedTuple):
    """A mistake at one step and the gradients that it would give for every variable."""

    mistake: str
    words: str
    gradients: list[np.ndarray]


def variants(recording: Recording, names: dict[int, str]) -> Iterator[Variant]:
    """Every mistake that is tried: the typical ones of each op, paths that are left out, derivatives that are left out."""
    for step in recording.steps:
        for m in MISTAKES.get(step.op.name, []):
            results = m.rule(step.g, step.out.data, *step.arrays, **step.params)
            if any(r is not None and step.wants(i) for i, r in enumerate(results)):
                yield Variant(m.name, f"in {step.name}: {m.words}", recording.with_results(step, results))
    yield from left_out(recording, names)
    for step in recording.steps:
        yield from not_summed(recording, step, names)
        yield from passed_through(recording, step, names)


def left_out(recording: Recording, names: dict[int, str]) -> Iterator[Variant]:
    """For a tensor that is read more than once: all but one of the contributions lost, or one of them."""
    for t in {id(x): x for step in recording.steps for x in step.inputs if isinstance(x, graph.Value)}.values():
        uses = recording.readers.get(id(t), [])
        by_step: dict[int, list[tuple[Step, int]]] = {}
        for step, i in uses:
            by_step.setdefault(id(step), []).append((step, i))
        groups = list(by_step.values()) if len(by_step) > 1 else [[use] for use in uses]
        if len(groups) < 2 or len(groups) > 16:
            continue
        whole = recording.gradient_of[id(t)]
        parts = [np.sum([recording.share(step, i) for step, i in group], axis=0) for group in groups]
        what = recording.called(t, names)
        for kept in range(len(groups)):
            gone = [g for k, g in enumerate(groups) if k != kept]
            found = recording.changed([(t, parts[kept] - whole)])
            yield Variant(*_loss(recording, what, [groups[kept]], gone), found)
            if len(groups) > 2:
                others = [g for k, g in enumerate(groups) if k != kept]
                yield Variant(*_loss(recording, what, others, [groups[kept]]), recording.changed([(t, -parts[kept])]))
    yield from without_statistics(recording)


def without_statistics(recording: Recording) -> Iterator[Variant]:
    """Means and variances treated as constants, all of them."""
    cut = {(id(step), i) for step in recording.steps if _statistic(recording, step) for i in range(len(step.inputs)) if _branches(recording, step, i)}
    named = {_statistic(recording, step) for step in recording.steps if any((id(step), i) in cut for i in range(len(step.inputs)))}
    if len(named) == 2:
        words = "the mean and the variance are treated as constants: the paths through them are missing"
        yield Variant("missing terms through the mean and the variance", words, recording.without(cut))


def _branches(recording: Recording, step: Step, i: int) -> bool:
    """Whether what a step reads goes elsewhere, too: then its path may be left out."""
    return step.wants(i) and len({id(s) for s, _ in recording.readers[id(step.inputs[i])]}) > 1


def _loss(recording: Recording, what: str, kept: list[Any], gone: list[Any]) -> tuple[str, str]:
    """The name and the words for contributions that are kept and lost."""
    statistics = [s for group in gone if (s := _statistic(recording, group[0][0]))]
    lost, left = (" and ".join(dict.fromkeys(group[0][0].name for group in g)) for g in (gone, kept))
    if len(statistics) == len(gone) and not any(_statistic(recording, group[0][0]) for group in kept):
        through = " and ".join(f"the {s}" for s in dict.fromkeys(statistics))
        terms = "terms" if len(statistics) > 1 else "term"
        return f"missing {terms} through {through}", f"{what} also acts through {through}: the path through {lost} is missing"
    n = len(kept) + len(gone)
    if len(kept) == 1:
        words = f"only the one from {left} is there, as if it had overwritten that from {lost}"
        return "overwritten", f"{what} is used {n} times and its gradients must be added; {words}"
    return "missing path", f"{what} is used {n} times and its gradients must be added; the one from {lost} is missing"


def _statistic(recording: Recording, step: Step) -> str | None:
    """Whether a step begins to compute a mean or a variance."""
    if step.op.name == "mean":
        return "mean"
    if step.op.name == "var":
        return "variance"
    squares = step.op.name == "square" or (step.op.name == "power" and np.size(step.arrays[1]) == 1 and float(step.arrays[1]) == 2)
    squares = squares or (step.op.name == "multiply" and step.inputs[0] is step.inputs[1])
    readers = recording.readers.get(id(step.out), [])
    return "variance" if squares and readers and all(s.op.name in ("mean", "sum") for s, _ in readers) else None


def not_summed(recording: Recording, step: Step, names: dict[int, str]) -> Iterator[Variant]:
    """An input that was broadcast: one of its gradients taken for their sum."""
    for i, r in enumerate(step.results):
        if r is None or not step.arrays[i].size or r.size <= step.arrays[i].size:
            continue
        what = recording.called(step.inputs[i], names)
        extra = r.ndim - step.arrays[i].ndim
        axes = [a for a, n in enumerate(r.shape) if n > 1 and (a < extra or step.arrays[i].shape[a - extra] == 1)]
        for at, which in ((-1, "last"), (0, "first")):
            one = r
            for a in axes:
                one = np.take(one, [at], axis=a)
            results: list[Any] = [None] * len(step.inputs)
            results[i] = one.reshape(step.arrays[i].shape)
            n = r.size // step.arrays[i].size
            words = f"{what} was broadcast over {n} places by {step.name}: their gradients must be added, here is the {which} alone"
            yield Variant("missing sum", words, recording.with_results(step, results))


def passed_through(recording: Recording, step: Step, names: dict[int, str]) -> Iterator[Variant]:
    """The derivative of a step left out: the upstream gradient goes through unchanged."""
    for i, r in enumerate(step.results):
        if r is None or r.shape != step.g.shape or np.array_equal(r, step.g):
            continue
        results: list[Any] = [None] * len(step.inputs)
        results[i] = step.g
        what = recording.called(step.inputs[i], names)
        if step.masks() and step.op.name != "relu":
            name, words = "mask not applied", f"the mask of {step.name} is not applied to the gradient of {what}"
        else:
            name, words = "forgotten derivative", f"the derivative of {step.name} is left out: the gradient passes through to {what} unchanged"
        yield Variant(name, words, recording.with_results(step, results))
