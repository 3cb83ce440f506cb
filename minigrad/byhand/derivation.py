"""The worked derivation of one op: its formula, its derivatives, an example with numbers, and the same from its plain twin."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from . import matrices
from .examples import examples, run
from .explain import Explanation, explain
from .notation import named, plain
from .phrases import input_symbol, output_symbol
from .recording import REGISTRY, Op, twin_of


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
        difference = max((float(np.abs(twin.gradients[k] - g).max(initial=0)) for k, g in worked.gradients.items()), default=0.0)
        lines += ["", "The same in plain operations, one at a time", "", _below(twin), ""]
        lines.append(f"The one rule and the plain operations give the same gradients: largest difference {difference:.0e}.")
    return "\n".join(lines)


def example_of(op: Op[Any], seed: int = 0, twin: bool = False) -> Explanation:
    """A small example of ``op`` explained, with the letters of its formula; with ``twin``, of its composition from plain operators."""
    rng = np.random.default_rng(seed)
    small = [e for e in examples(op, rng) if all(x is None or matrices.is_small(x) for x in e.inputs)]
    small = [e for e in small if matrices.is_small(run(op, e, *(Tensor(x) if isinstance(x, np.ndarray) else x for x in e.inputs)).data)] or small
    chosen = next((e for e in small if any(np.ndim(x) == 2 for x in e.inputs)), small[0])
    inputs = [
        Tensor(np.round(x, 1), requires_grad=True, name=input_symbol(op, i)) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x
        for i, x in enumerate(chosen.inputs)
    ]
    plainer = twin_of(op) if twin else None
    out = plainer(*inputs, **chosen.params) if plainer is not None else run(op, chosen, *inputs)
    out.name = output_symbol(op)
    return explain(out, gradient=np.round(rng.normal(size=out.shape), 1))


def _below(e: Explanation) -> str:
    return "\n".join("  " + line if line else line for line in str(e).splitlines())
