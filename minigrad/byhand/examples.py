"""Inputs to try an op on.  An op declares its own beside its rule; an elementwise one needs none."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Example, Op

__all__ = ["Example", "examples", "run"]


def examples(op: Op[Any], rng: np.random.Generator) -> list[Example]:
    """The examples that ``op`` declares, or else one: every input uniform in (0.5, 1.5), of shape (3, 4)."""
    if op.examples is not None:
        return op.examples(rng)
    return [Example(tuple(rng.uniform(0.5, 1.5, (3, 4)) for _ in op.inputs or range(2)), {})]


def run(op: Op[Any], example: Example, *inputs: Any) -> Any:
    """``op`` on the example, or on other inputs with its params."""
    given = inputs or example.inputs
    return op.apply(given, example.params) if example.through is None else example.through(*given)


def calls(op: Op[Any], example: Example) -> str:
    """The example in words: shapes and params."""
    shown = [x if x is None or isinstance(x, int | float) else "x".join(map(str, np.shape(x))) or "()" for x in example.inputs]
    params = [f"{k}={v if np.size(v) < 4 else f'array {np.shape(v)}'}" for k, v in example.params.items()]
    return f"{op.name}({', '.join(map(str, [*shown, *params]))})"
