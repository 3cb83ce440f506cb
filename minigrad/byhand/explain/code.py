"""A derivation as a program: the graph that was explained, written as a function with the reader's letters, and its backward pass after it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...nn import Module
from ...programs import Program, program
from ...programs.source import identifier
from ...tensor import Tensor
from ..recording import call_of, is_tensor
from .names import Names


class Replay:
    """The ops of a graph in order, from copies of its leaves; ``program.source()`` prints them."""

    def __init__(self, order: Sequence[Any], names: Names, seed: np.ndarray) -> None:
        self.seed = seed
        self.values: dict[str, Any] = {}  # what the text of the function names: leaves, arrays, ops
        taken: set[str] = set()
        letters: dict[int, str] = {}
        lines: list[str] = []
        self.kept: list[Any] = []  # what the letters are of, so that no address is used again

        def letter(x: Any, otherwise: str) -> str:
            wanted = identifier(names.given_name(x) or (names.of(x).text if is_tensor(x) else ""), otherwise)
            found, n = wanted, 2
            while found in taken:
                found, n = f"{wanted}_{n}", n + 1
            taken.add(found)
            letters[id(x)] = found
            return found

        for t in order:
            call = call_of(t)
            if call is None:
                leaf = Tensor(t.data.copy(), requires_grad=t.requires_grad)
                leaf.name = letter(t, "x")
                self.values[leaf.name] = leaf
                continue
            inputs = []
            self.kept.append(call.inputs)
            for x in call.inputs:
                if id(x) not in letters and x is not None:
                    self.values[letter(x, "constant")] = x.data if is_tensor(x) else x
                inputs.append("None" if x is None else letters[id(x)])
            step = f"_op{len(lines)}"
            self.values[step] = _applied(call.op, call.own_params())
            lines.append(f"    {letter(t, 't')} = {step}({', '.join(inputs)})")
        self.output = letters[id(order[-1])]
        self.text = "def derivation():\n" + "\n".join(lines) + f"\n    return {self.output}\n"

    @functools.cached_property
    def program(self) -> Program:
        """The derivation, recorded."""
        exec(self.text, self.values)  # of our own making: names, and calls of ops by number
        whole = self.values["derivation"]
        if self.seed.shape == () and self.seed == 1:
            derivation = whole
        else:
            gradient = self.seed

            def derivation() -> Any:
                return (whole() * gradient).sum()

        recorded = program(derivation, Module())
        recorded()
        return recorded


def _applied(op: Any, params: dict[str, Any]) -> Any:
    def step(*inputs: Any) -> Any:
        return op.apply(inputs, params)

    return step
