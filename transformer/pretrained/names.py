"""Our names and theirs.  A format is a table with one row for each array of theirs: what it is called here, and how it lies.

The same table reads and writes, so the two directions cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import nn


class Row(NamedTuple):
    """One array of theirs: ``ours`` side by side along the last axis, in our layout (in, out)."""

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False  # theirs is (out, in)
    order: np.ndarray | None = None  # our column j is their column order[j]


class Format(NamedTuple):
    """How a family of checkpoints is read and written."""

    build: Callable[..., nn.Module]  # from config.json and the names of the arrays
    config: Callable[[Any], dict[str, Any]]  # the config.json of a model; ValueError when the format cannot express it
    table: Callable[[Any], list[Row]]  # the names of a model
    prefix: str  # what their names begin with, unless only the inner part of a model was saved
    ignored: tuple[str, ...] = ()  # ends of names that hold nothing learned, or nothing of ours
    renamed: Mapping[str, str] = {}  # ends of names in old files, and what they are called now


def tidied(format: Format, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays that the format knows, under today's names and without the prefix."""
    tidy = {}
    for name, array in arrays.items():
        if not name.endswith(format.ignored):
            old = next((end for end in format.renamed if name.endswith(end)), "")
            tidy[name.removeprefix(format.prefix).removesuffix(old) + format.renamed.get(old, "")] = array
    return tidy


def to_ours(table: Sequence[Row], arrays: Mapping[str, np.ndarray], model: nn.Module) -> dict[str, np.ndarray]:
    """Their arrays as a state dict of ``model``; ValueError names what is missing, left over or of another shape."""
    sizes = {name: p.shape for name, p in model.named_parameters()}
    known = {row.theirs for row in table}
    missing = [name for name in known if name not in arrays]
    unknown = [name for name in arrays if name not in known]
    if missing or unknown:
        shown = [(what, ", ".join(name[:80] for name in sorted(names)[:4]), len(names) > 4) for what, names in (("lacks", missing), ("has", unknown))]
        parts = [f"{what} {names}{' …' * more}" for what, names, more in shown if names]
        raise ValueError(f"the weights do not fit this {type(model).__name__}: the file " + " and ".join(parts))
    state: dict[str, np.ndarray] = {}
    for row in table:
        if arrays[row.theirs].dtype.kind != "f":
            raise ValueError(f"{row.theirs} is {arrays[row.theirs].dtype}; expected floating-point weights (quantized ones are not read here)")
        array = arrays[row.theirs].T if row.transposed else arrays[row.theirs]
        widths = [sizes[name][-1] for name in row.ours]
        shape = (*sizes[row.ours[0]][:-1], sum(widths))
        if array.shape != shape:
            expected = shape[::-1] if row.transposed else shape
            raise ValueError(f"{row.theirs} has shape {arrays[row.theirs].shape}; the sizes in config.json call for {expected}")
        if row.order is not None:
            array = array[..., row.order]
        state.update(zip(row.ours, np.split(array, np.cumsum(widths)[:-1], axis=-1), strict=True))
    return state


def to_theirs(table: Sequence[Row], state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The opposite: a state dict (or gradients by the same names) under their names and in their layout."""
    arrays = {}
    for row in table:
        array = np.concatenate([state[name] for name in row.ours], axis=-1)
        if row.order is not None:
            array = array[..., np.argsort(row.order)]
        arrays[row.theirs] = np.ascontiguousarray(array.T if row.transposed else array)
    return arrays


def module(theirs: str, *ours: str, bias: bool = True, transposed: bool = False, order: np.ndarray | None = None) -> list[Row]:
    """The rows of a module of theirs with a weight and perhaps a bias, which is several modules side by side here."""
    leaves = ["weight", "bias"] if bias else ["weight"]
    return [Row(f"{theirs}.{leaf}", tuple(f"{name}.{leaf}" for name in ours), transposed, order) for leaf in leaves]


NUMBER = (int, float)
LARGEST_NUMBER = 1 << 48  # of what a configuration may say


def setting(config: Mapping[str, Any], name: str, default: Any = None, kind: type | tuple[type, ...] = int) -> Any:
    """An entry of config.json of the expected type; ValueError otherwise, or when it is missing and has no default."""
    value = config.get(name, default)
    value = default if value is None else value
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise ValueError(f"config.json: {name} is {value!r:.80}; expected {' or '.join(k.__name__ for k in kinds)}")
    if isinstance(value, NUMBER) and not 0 <= value <= LARGEST_NUMBER:
        raise ValueError(f"config.json: {name} is {str(value)[:40]}; expected a number from 0 to {LARGEST_NUMBER}")
    return value


def require(config: Mapping[str, Any], **values: Any) -> None:
    """Refuse a config that asks for a variant that is not here; ``name=(default, allowed, ...)``."""
    for name, allowed in values.items():
        value = config.get(name, allowed[0])
        if not any(value == a and isinstance(value, bool) == isinstance(a, bool) for a in allowed):
            raise ValueError(f"config.json: {name} is {value!r:.80}, which is not supported here; expected {' or '.join(map(repr, allowed))}")
