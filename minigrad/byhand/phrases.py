r"""What an op's formula says of one particular call: its symbols, its derivatives, its parameters in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .notation import escape, symbols, tokens

COLUMN, ROW = (-1, 1), (1, -1)  # how a vector stands in a product of matrices
ALIASES = {"weight": ("W", r"\gamma"), "bias": ("b", r"\beta", "M"), "logits": ("x",)}


@dataclass
class Phrase:
    """The formula of a call, for each input its derivative (and the index that the gradient carries there), notes, the
    values of letters that the formulas define, as a function of the upstream gradient, and how a vector stands in a product."""

    formula: str
    derivatives: list[tuple[str, str]]
    notes: list[str] = field(default_factory=list)
    values: Callable[[np.ndarray], dict[str, Any]] = lambda g: {}
    vectors: tuple[int, ...] | None = None


def derivative(op: Any, i: int) -> str:
    key = op.inputs[i] if i < len(op.inputs) else next(iter(op.derivatives), "")
    given = op.derivatives.get(key) or op.derivatives.get("*")
    symbol = rf"\bar {output_symbol(op)}"
    if given is None:
        return rf"\operatorname{{vjp}}_{{{input_symbol(op, i)}}}({symbol})"
    return given


def output_symbol(op: Any) -> str:
    """The letter on the left of the formula."""
    return next((t for t in tokens(op.formula.partition("=")[0]) if t.isalpha() or (t.startswith("\\") and t[1:].isalpha())), "y")


def input_symbol(op: Any, i: int) -> str:
    """The letter by which the formula calls an input: its name, the capital, the first letter, or a usual alias."""
    if op.variadic or i >= len(op.inputs):
        return f"x_{i + 1}"
    name = op.inputs[i]
    used = symbols(op.formula).union(*map(symbols, op.derivatives.values())) - {output_symbol(op)}
    for candidate in (name, name.upper(), *ALIASES.get(name, ()), "\\" + name, name[:1], name[:1].upper()):
        if candidate in used:
            return candidate
    return name if len(name) == 1 else rf"\mathtt{{{escape(name)}}}"


def parameter(name: str, value: Any) -> str:
    return f"{name.replace('_', ' ')}: {in_words(value)}"


def in_words(value: Any) -> str:
    """A parameter in words; arrays whole when they are small."""
    if isinstance(value, np.ndarray):
        return str(value.tolist()) if value.size <= 16 else f"array of shape {value.shape}"
    if isinstance(value, slice):
        start, stop, step = ("" if v is None else str(v) for v in (value.start, value.stop, value.step))
        return f"{start}:{stop}" + (f":{step}" if step else "")
    if isinstance(value, tuple):
        return ", ".join(map(in_words, value)) if value else "()"
    if isinstance(value, type):
        return value.__name__
    return "..." if value is Ellipsis else str(value)
