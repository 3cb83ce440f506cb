"""Variants: an exercise with other numbers, drawn from a seed for each student.  ``attention-by-hand course release --seed-per-student``.

A variant keeps the function of its exercise and has a task, a solution and inputs of its own; ``«name»`` in its texts stands for a number
that is drawn.  Its check compares an answer with the solution, and knows the answers to all the other numbers: a neighbour's is met by name.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .variant import Variant

Numbers = dict[str, Any]


@cache
def variants() -> dict[str, Variant]:
    """All of them, by the name of their exercise."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("chapter_*.py"))
    return {one.exercise: one for name in names for one in importlib.import_module(f"{__name__}.{name}").VARIANTS}


def draw(exercise: str, seed: int, student: str) -> Numbers:
    """The student's numbers: the same for the same seed, student and exercise on every machine."""
    digest = hashlib.sha256(f"{seed}\n{exercise}\n{student}".encode()).digest()
    rng = np.random.default_rng(list(digest))
    return {name: choices[int(rng.integers(len(choices)))] for name, choices in variants()[exercise].numbers.items()}


def others(one: Variant, numbers: Numbers) -> list[Numbers]:
    """Every other choice of numbers."""
    every = (dict(zip(one.numbers, choice)) for choice in itertools.product(*one.numbers.values()))
    return [other for other in every if other != numbers]


def check(exercise: str, numbers: Numbers) -> Callable[[Any], Any]:
    """The check of a variant.  Raises ValueError for numbers that it cannot have."""
    from checks.verdict import Wrong, ask, same
    from checks.verdict import check as judged

    if exercise not in variants():
        raise ValueError(f"variant: exercise {exercise!r} has none; those that have: {', '.join(variants())}")
    one = variants()[exercise]
    if set(numbers) != set(one.numbers) or any(value not in one.numbers[name] for name, value in numbers.items()):
        raise ValueError(
            f"variant: {exercise} with {numbers}; expected {', '.join(f'{n} of {c}' for n, c in one.numbers.items())}"
        )
    solution, neighbours = one.solution(numbers), [(other, one.solution(other)) for other in others(one, numbers)]

    def parts(value: Any) -> list[Any]:
        return list(value) if isinstance(value, tuple) else [value]

    @judged
    def compared(answer: Any) -> str:
        for given in one.inputs(np.random.default_rng(1)):
            right = parts(ask(solution, *given))
            got = ask(answer, *given)
            if len(right) > 1 and (not isinstance(got, tuple | list) or len(got) != len(right)):
                raise Wrong(f"Return {len(right)} things, in the order of the task.")
            got = list(got) if len(right) > 1 else [got]
            for i, (mine, expected) in enumerate(zip(got, right)):
                hints = {}
                for other, theirs in neighbours:
                    words = ", ".join(f"{name} = {value}" for name, value in other.items())
                    hints[f"This is the answer for {words}; your task has other numbers."] = parts(ask(theirs, *given))[
                        i
                    ]
                what = "the result" if len(right) == 1 else f"result {i + 1} of {len(right)}"
                same(mine, expected, what, hints, 1e-8)
        return (
            "It is the answer to your own numbers: "
            + ", ".join(f"{name} = {value}" for name, value in numbers.items())
            + "."
        )

    return compared  # type: ignore[no-any-return]
