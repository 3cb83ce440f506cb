"""Every op on small inputs: checked, and derived step by step with numbers.

The examples of an op are its own, or those in ``minigrad/examples.py``; an elementwise one needs none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..tensor import Tensor
from .explain import Explanation, explain, notation
from .explain.names import input_symbol, output_symbol
from .explain.notation import named, plain
from .gradcheck import Report, gradcheck, gradgradcheck
from .recording import REGISTRY, Example, Op, twin_of

__all__ = ["Example", "calls", "check_op", "check_ops", "derivation", "examples", "run"]


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
    shown = [
        x if x is None or isinstance(x, int | float) else "x".join(map(str, np.shape(x))) or "()"
        for x in example.inputs]
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


def derivation(name: str, seed: int = 0) -> str:
    """The derivation of the op ``name`` as text for a terminal.  Raises KeyError for a name that is no op."""
    if name not in REGISTRY:
        raise KeyError(f"no op called {name!r}; there are {', '.join(REGISTRY)}")
    op = REGISTRY[name]
    lines = [f"{name.lstrip('_')}: {plain(op.formula)}", ""]
    for i, key in enumerate(op.inputs or op.derivatives):
        bar = named(input_symbol(op, i) if op.inputs else "x_i").bar
        lines.append(f"  {plain(bar)} = {plain(op.derivatives[key])}")
    worked = example_of(op, seed)
    lines += ["", "With numbers", "", _below(worked)]
    if twin_of(op) is not None:
        twin = example_of(op, seed, twin=True)
        difference = max(
            (float(np.abs(twin.gradients[k] - g).max(initial=0)) for k, g in worked.gradients.items()), default=0.0
        )
        lines += ["", "The same in plain operations, one at a time", "", _below(twin), ""]
        lines.append(
            f"The one rule and the plain operations give the same gradients: largest difference {difference:.0e}."
        )
    return "\n".join(lines)


def example_of(op: Op[Any], seed: int = 0, twin: bool = False) -> Explanation:
    """A small example of ``op`` explained, with the letters of its formula; with ``twin``, of its composition from
    plain operators."""
    rng = np.random.default_rng(seed)
    small = [e for e in examples(op, rng) if all(x is None or notation.is_small(x) for x in e.inputs)]
    small = [
        e for e in small
        if notation.is_small(run(op, e, *(Tensor(x) if isinstance(x, np.ndarray) else x for x in e.inputs)).data)
    ] or small
    chosen = next((e for e in small if any(np.ndim(x) == 2 for x in e.inputs)), small[0])
    inputs = [
        (
            Tensor(np.round(x, 1), requires_grad=True, name=input_symbol(op, i))
            if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x)
        for i, x in enumerate(chosen.inputs)
    ]
    plainer = twin_of(op) if twin else None
    out = plainer(*inputs, **chosen.params) if plainer is not None else run(op, chosen, *inputs)
    out.name = output_symbol(op)
    return explain(out, gradient=np.round(rng.normal(size=out.shape), 1))


def _below(e: Explanation) -> str:
    return "\n".join("  " + line if line else line for line in str(e).splitlines())
