"""How large is a model, and how much work: parameters, FLOPs and bytes of every part, by formula (see ``costs`` for what counts)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from minigrad import nn

from .model_costs import FAMILIES

COLUMNS = ("forward_flops", "training_flops", "parameters", "weight_bytes", "activation_bytes", "cache_bytes")


@dataclass(frozen=True)
class Row:
    """One part of a model: FLOPs of one forward pass, and of forward and backward; bytes of its weights, of what training keeps until
    the backward pass, and of its KV cache."""

    name: str
    part: str
    parameters: int = 0
    forward_flops: int = 0
    training_flops: int = 0
    weight_bytes: int = 0
    activation_bytes: int = 0
    cache_bytes: int = 0


def summed(column: str, meaning: str) -> Any:
    """The total of a column as a property of a Table."""
    return property(lambda table: sum(getattr(row, column) for row in table.rows), doc=meaning)


@dataclass(frozen=True)
class Table:
    """The parts of a model for ``batch`` sequences of ``length`` tokens; its totals have the names of a row's columns."""

    rows: tuple[Row, ...]
    batch: int
    length: int

    parameters = summed("parameters", "How many numbers the model has; shared ones count once.")
    forward_flops = summed("forward_flops", "FLOPs of a forward pass over the batch.")
    training_flops = summed("training_flops", "FLOPs of a forward and a backward pass over the batch; the optimizer's are not counted.")
    bytes = summed("weight_bytes", "Bytes of the weights; a gradient has as many, and Adam's memory twice as many.")
    activation_bytes = summed("activation_bytes", "Bytes that a training step keeps from the forward to the backward pass.")
    cache_bytes = summed("cache_bytes", "Bytes of the keys and values of the batch, in generation.")

    def by_layer(self) -> Table:
        """The same with one row for each layer."""
        merged = []
        for name, rows in itertools.groupby(self.rows, key=lambda row: layer_of(row.name)):
            first, *more = rows
            totals = {column: sum(getattr(row, column) for row in (first, *more)) for column in COLUMNS}
            merged.append(Row(name, "" if more else first.part, **totals))
        return Table(tuple(merged), self.batch, self.length)

    def __str__(self) -> str:
        head = ("", "forward", "share", "training", "parameters", "weights", "kept in training", "KV cache")
        lines = [head, *(self.line(f"{row.name} {row.part}".strip(), row) for row in self.rows), self.line("total", self)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [" ".join([line[0].ljust(widths[0]), *(c.rjust(w + 1) for c, w in zip(line[1:], widths[1:], strict=True))]) for line in lines]
        rule = "-" * len(text[0])
        return "\n".join([text[0], rule, *text[1:-1], rule, text[-1]])

    def line(self, name: str, row: Any) -> tuple[str, ...]:
        share = f"{row.forward_flops / max(1, self.forward_flops):.1%}"
        flops = [amount(n, "FLOP") for n in (row.forward_flops, row.training_flops)]
        sizes = [amount(n, "B") for n in (getattr(row, "weight_bytes", self.bytes), row.activation_bytes, row.cache_bytes)]
        return name, flops[0], share, flops[1], f"{row.parameters:,}", *sizes


def amount(number: int, unit: str) -> str:
    """Three digits and a prefix: 12.3 MFLOP, 4.56 kB."""
    thousands = next(i for i in range(9) if number < 999.5 * 1000**i or i == 8)
    return f"{number / 1000**thousands:.3g} {' kMGTPEZY'[thousands].strip()}{unit}" if number else "-"


def layer_of(name: str) -> str:
    """``encoder.layers.0.ffn.up`` belongs to ``encoder.layers.0``."""
    words = name.split(".")
    cut = next((i + 1 for i, word in enumerate(words) if word.isdigit()), len(words))
    return ".".join(words[:cut])


def count(model: nn.Module, batch: int = 1, length: int | None = None, source_length: int | None = None, dense: bool = False) -> Table:
    """What ``model`` costs on ``batch`` sequences of ``length`` tokens (default: as many as it can read), without padding.

    Encoder–decoders read ``source_length`` tokens (default: ``length``) and write ``length``.  ``dense`` counts causal attention whole, as
    most papers do, and not as computed here.  Activations are those of the training mode: with dropout if the model has any.
    Raises TypeError for a kind of model without a formula, ValueError for sizes below 1.
    """
    formula = next((formula for kind, formula in FAMILIES.items() if isinstance(model, kind)), None)
    if formula is None:
        known = ", ".join(kind.__name__ for kind in FAMILIES)
        raise TypeError(f"count: no formula for {type(model).__name__}; it knows {known}")
    longest = getattr(model, "context_length", getattr(model, "max_length", None))
    length = longest if length is None else length
    if length is None or length < 1 or batch < 1 or (source_length is not None and source_length < 1):
        raise ValueError(f"count: batch={batch}, length={length}, source_length={source_length}; expected numbers from 1 on")
    if longest is not None and max(length, source_length or 0) > longest:
        raise ValueError(f"count: length={max(length, source_length or 0)}; this {type(model).__name__} reads up to {longest} tokens")
    parts = list(formula(model, batch, length, length if source_length is None else source_length, dense))
    sizes = assigned(model, [name for name, _, _ in parts])
    first = {name: i for i, (name, _, _) in reversed(list(enumerate(parts)))}
    item = model.parameters()[0].dtype.itemsize
    rows = []
    for i, (name, part, cost) in enumerate(parts):
        parameters, weight_bytes = sizes.get(name, (0, 0)) if first[name] == i else (0, 0)
        flops = cost.forward, cost.forward + cost.backward
        rows.append(Row(name, part, parameters, *flops, weight_bytes, item * cost.kept, item * cost.cache))
    return Table(tuple(rows), batch, length)


def assigned(model: nn.Module, parts: list[str]) -> dict[str, tuple[int, int]]:
    """How many numbers, and bytes, each part holds: a parameter belongs to the part with the longest name that begins its own."""
    found: dict[str, tuple[int, int]] = {}
    for name, p in model.named_parameters():
        owner = max((part for part in parts if f"{name}.".startswith(f"{part}.")), key=len, default=name.rpartition(".")[0] or name)
        number, size = found.get(owner, (0, 0))
        found[owner] = (number + p.size, size + p.data.nbytes)
    if lost := [owner for owner in found if owner not in parts]:
        raise TypeError(f"count: no formula for {lost[0]} of {type(model).__name__}")
    return found
