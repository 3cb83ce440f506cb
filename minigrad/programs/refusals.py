"""What a recording is compared with before it is trusted: the same function once more, with attributes and random draws as they were."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..nn import Module
from .straight import SIMPLE
from .tape import Line, Name, Tape
from .watched import Refused

_same = object()


LARGE = 1 << 16  # numbers
SIGNS = np.random.default_rng(0).choice([-1.0, 1.0], 64)


class Digest(NamedTuple):
    """What is kept of a result to compare another with: a large array as a sum of every 64 numbers with random signs, others as they are."""

    numbers: np.ndarray
    scale: float  # the largest finite number of the array
    shape: tuple[int, ...]


def digest(x: np.ndarray) -> Digest:
    """So that a comparison need not hold two sets of gradients of a large model."""
    finite = x[np.isfinite(x)] if x.dtype.kind == "f" else np.zeros(0)
    scale = float(max(finite.max(initial=0), -finite.min(initial=0)))
    if x.size < LARGE or x.dtype.kind != "f" or x.dtype.itemsize < 4:  # sums of halves would be rounded too much
        return Digest(x, scale, x.shape)
    flat = x.reshape(-1)
    whole = flat.size // 64 * 64
    with np.errstate(invalid="ignore"):
        return Digest(np.concatenate([flat[:whole].reshape(-1, 64) @ SIGNS.astype(x.dtype), flat[whole:]]), scale, x.shape)


def close(x: np.ndarray, known: Digest) -> bool:
    """Whether a result agrees with another one but for rounding, relative to the largest finite number."""
    if x.shape != known.shape:
        return False
    a, b = digest(x).numbers, known.numbers
    finite = np.isfinite(b)
    rtol = {2: 1e-2, 4: 1e-3}.get(b.dtype.itemsize, 1e-8)
    relative = rtol if b.shape == known.shape else 0.0  # a sum may be larger than any of its numbers
    return bool(np.array_equal(a[~finite], b[~finite], equal_nan=True) and np.allclose(a[finite], b[finite], relative, rtol * known.scale / 10))


def attributes_of(modules: list[Module]) -> list[dict[str, Any]]:
    """What hangs at each module, by identity; whether it trains is another matter."""
    return [{k: id(v) if not isinstance(v, SIMPLE) else v for k, v in m.__dict__.items() if k != "training"} for m in modules]


def refuse_other_attributes(before: list[Any], after: list[Any], modules: list[Module]) -> None:
    """Raise Refused when the function sets an attribute of a module: it keeps something from call to call."""
    for one, two, module in zip(before, after, modules):
        for name in two:
            if one.get(name, _same) != two[name]:
                raise Refused(
                    f"program: the function sets {type(module).__name__}.{name}, which it keeps from call to call, and a program would not; "
                    "two runs with the same arguments differ in it. Pass it as an argument, and return it"
                )


def refuse_other_draws(tape: Tape, before: dict[int, tuple[np.random.Generator, Any]]) -> None:
    """Raise Refused when more was drawn than the lines on the tape draw, from the states that the generators had ``before``."""
    after = [repr(rng.bit_generator.state) for rng, _ in before.values()]
    for rng, state in before.values():
        rng.bit_generator.state = state
    for line in tape.lines:
        if line.effects and not any(True for _ in line.reads()):
            line.function(*line.args, **line.kwargs)
    if after != [repr(rng.bit_generator.state) for rng, _ in before.values()]:
        raise Refused(
            "program: the function draws random numbers itself, which a program would not draw anew; draw them before, and pass them as arguments"
        )


def refuse_differences(first: Tape, again: Tape) -> None:
    """Raise Refused where two runs of the same function on the same arguments do not make the same calls."""
    why = "two runs with the same arguments differ: it draws numbers outside of minigrad, or keeps something from call to call"
    if len(first.lines) != len(again.lines):
        raise Refused(f"program: {why} ({len(first.lines)} calls, then {len(again.lines)})")
    pairs: dict[Any, Any] = {}
    for one, two in zip(first.lines, again.lines):
        told = getattr(one.op, "name", getattr(one.function, "__name__", "a call"))
        if one.function is not two.function and getattr(one.function, "__code__", 0) is not getattr(two.function, "__code__", 1):
            raise Refused(f"program: {why} ({told}, then another call)")
        if not alike((one.args, one.kwargs), (two.args, two.kwargs), pairs):
            raise Refused(f"program: {why} (what {told} reads, shape {getattr(first_array(one), 'shape', '()')})")
        alike(one.out, two.out, pairs)


def first_array(line: Line) -> Any:
    """An array of the line, for messages."""
    return next((x for x in line.args if isinstance(x, np.ndarray)), next((n.what for n in line.makes()), None))


def alike(a: Any, b: Any, pairs: dict[Any, Any]) -> bool:
    """Whether two arguments are the same: equal constants, and names that were made in the same place."""
    if isinstance(a, Name) and isinstance(b, Name):
        if a in pairs or a.kind == "made":
            return pairs.setdefault(a, b) is b
        return a.kind == b.kind and (a.value is b.value or np.array_equal(a.value, b.value, equal_nan=a.value.dtype.kind == "f"))
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a is b or (a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(alike(x, y, pairs) for x, y in zip(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k], pairs) for k in a)
    if isinstance(a, slice):
        return alike((a.start, a.stop, a.step), (b.start, b.stop, b.step), pairs)
    return a is b or a == b or (a != a and b != b)
