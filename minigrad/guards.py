"""Guards against what goes wrong behind the engine's back: arrays that change between forward and backward, numbers that are not finite."""

from __future__ import annotations

import itertools
import threading
import weakref
import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

if TYPE_CHECKING:
    from .graph import Value
    from .ops.declare import Op

tick = itertools.count(1).__next__  # the engine's clock: every recorded result and every write gets the next number
last_write = 0

_checksums = threading.local()  # id(tensor) -> checksums of the arrays that made it; only filled by detect_anomaly()


# id of a block of memory -> itself, and when each part of it was last written
_writes: dict[int, tuple[weakref.ref[np.ndarray], dict[tuple[int, int], int]]] = {}


def _memory(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory of this one."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def note_write(array: np.ndarray) -> None:
    """Remember that ``array`` was written in place, so that a backward pass that still needs the old values refuses."""
    global last_write
    owner = _memory(array)
    key = id(owner)
    last_write = tick()
    if key not in _writes:
        _writes[key] = (weakref.ref(owner, lambda _: _writes.pop(key, None)), {})
    _writes[key][1][byte_bounds(array)] = last_write


def _written_since(array: np.ndarray, since: int) -> bool:
    written = _writes.get(id(_memory(array)))
    if written is None:
        return False
    low, high = byte_bounds(array)
    return any(when > since and low < stop and start < high for (start, stop), when in written[1].items())


def refuse_written(t: Value, op: Op, arrays: Sequence[Any]) -> None:
    """Raise RuntimeError when an array that made ``t`` was written through a Tensor since."""
    for i, a in enumerate((*arrays, t.data)):
        if isinstance(a, np.ndarray) and _written_since(a, t.tick):
            what = "an input" if i < len(arrays) else "the output"
            raise RuntimeError(
                f"backward: {what} of {op.name}, shape {a.shape}, was changed in place after {op.name} had run, so "
                "its gradient would be wrong. Write into a copy (x.detach().copy()), or write (step an optimizer) after backward()."
            )


def before_rule(t: Value, op: Op, arrays: Sequence[Any], anomaly: bool) -> None:
    """Raise RuntimeError when what the rule of ``op`` is about to read was changed since ``t`` was made."""
    if last_write > t.tick:
        refuse_written(t, op, arrays)
    if anomaly:
        refuse_changed(t, op, arrays)


def _checksum(arrays: Iterable[Any]) -> tuple[int, ...]:
    return tuple(zlib.crc32(np.ascontiguousarray(a).tobytes()) if isinstance(a, np.ndarray) and a.ndim else 0 for a in arrays)


def _finite(a: Any) -> bool:
    return not isinstance(a, np.ndarray) or a.dtype.kind != "f" or bool(np.isfinite(a).all())


def after_forward(op: Op, out: Value, arrays: Sequence[Any]) -> None:
    """Raise FloatingPointError when an op made something that is not finite; else note the checksums of what it read."""
    if not _finite(out.data) and all(map(_finite, arrays)):
        bad = np.argwhere(~np.isfinite(out.data))[0]
        where = tuple(int(i) for i in bad)
        raise FloatingPointError(f"detect_anomaly: forward of {op.name} made {out.data[where]} at {where} from finite inputs")
    if out.history:
        table = _checksums.__dict__.setdefault("table", {})
        if len(table) > 1_000_000:
            table.clear()
        table[out.tick] = _checksum([*arrays, out.data])


def refuse_changed(t: Value, op: Op, arrays: Sequence[Any]) -> None:
    """Raise RuntimeError when an array that made ``t`` is not what it was, whoever wrote into it."""
    noted = _checksums.__dict__.get("table", {}).pop(t.tick, None)
    if noted is None:
        return
    for i, (before, after) in enumerate(zip(noted, _checksum([*arrays, t.data]), strict=True)):
        if before != after:
            what = "the output" if i == len(arrays) else f"input {op.inputs[i] if i < len(op.inputs) else i}"
            raise RuntimeError(
                f"detect_anomaly: {what} of {op.name} was changed after the forward pass (shape {t.data.shape}); "
                "its gradient would be wrong. Do not write into .data or into an array that shares its memory before backward()."
            )


def after_rule(op: Op, inputs: Sequence[Any], x: Any, r: Any, g: Any) -> None:
    """Raise FloatingPointError when a rule made something that is not finite, as the gradient of the input ``x``."""
    if not _finite(getattr(r, "data", r) if not isinstance(r, np.ndarray) else r) and _finite(g):
        i = next(i for i, y in enumerate(inputs) if y is x)
        name = op.inputs[i] if i < len(op.inputs) else i
        raise FloatingPointError(f"detect_anomaly: backward of {op.name} made a gradient of {name} that is not finite")


def short(x: Any) -> str:
    """``repr`` cut to 60 characters, for messages."""
    text = repr(x)
    return text if len(text) <= 60 else text[:57] + "..."
