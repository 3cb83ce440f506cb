"""Inputs to try an op on.  An op declares its own beside its rule; an elementwise one needs none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .check import Report, gradcheck, gradgradcheck
from .recording import REGISTRY, Example, Op

__all__ = ["Example", "calls", "check_op", "check_ops", "examples", "run"]


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
    params = [f"{k}={f'array {v.shape}' if isinstance(v, np.ndarray) else v}" for k, v in example.params.items()]
    return f"{op.name}({', '.join(map(str, [*shown, *params]))})"


def check_op(op: Op[Any], check: Any = gradcheck, seed: int = 0) -> Report:
    """``gradcheck`` (or ``gradgradcheck``) of every example of ``op``, in one table."""
    report = Report(title=f"{check.__name__} {op.name}")
    for n, tried in enumerate(examples(op, np.random.default_rng(seed)), 1):
        names = list(op.inputs) or [f"x{i + 1}" for i in range(len(tried.inputs))]
        names = [name for name, x in zip(names, tried.inputs, strict=True) if x is not None]
        for row in check(lambda *xs, tried=tried: run(op, tried, *xs), *tried.inputs, names=names).rows:
            row.name = f"{row.name} in example {n}, {calls(op, tried)}"
            report.rows.append(row)
    return report


def check_ops(names: Iterable[str] | None = None) -> list[tuple[str, Report, Report]]:
    """Each op of the registry (or those named) with its report of first and of second order.

    Raises KeyError for a name that is no op.
    """
    chosen = list(REGISTRY) if names is None else list(names)
    unknown = [name for name in chosen if name not in REGISTRY]
    if unknown:
        raise KeyError(f"no op called {unknown[0]!r}; there are {', '.join(REGISTRY)}")
    return [(name, check_op(REGISTRY[name]), check_op(REGISTRY[name], gradgradcheck)) for name in chosen]
