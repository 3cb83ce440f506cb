"""Weights on disk in fewer bits: float16, bfloat16 or int8 in the file, float32 in the model.

A packed state dict holds all half-precision numbers in one array, all int8 values in another and their scales in a third (bfloat16 as bit
patterns), and in ``@format`` how it was packed and what the arrays contain.  In int8 only matrices are quantized; the few vectors are float16.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad import nn

from ..positions import LearnedPositions
from ..training.checkpoints import RunFolder, checksum
from .mixed_precision import FORMATS, from_bfloat16, to_bfloat16
from .quantization import BLOCKS, Quantized, block_of, quantize

KINDS = ("float16", "bfloat16", "int8")
FORMAT, HALVES, VALUES, SCALES = "@format", "@halves", "@values", "@scales"


def summed_axes(model: nn.Module) -> dict[str, int]:
    """Along which axis the products of each matrix sum: rows of tables are channels, and columns of all other weights."""
    axes: dict[str, int] = {}
    for prefix, module in model.named_modules():
        for name, value in module.__dict__.items():
            if isinstance(value, nn.Parameter):
                axes.setdefault(f"{prefix}.{name}" if prefix else name, int(isinstance(module, nn.Embedding | LearnedPositions)))
    return axes


def halved(name: str, array: np.ndarray, to: str) -> np.ndarray:
    """The numbers in 16 bits; ValueError for what float16 cannot hold."""
    if to == "bfloat16":
        return to_bfloat16(array)
    largest = float(np.abs(array).max(initial=0))
    if not largest <= FORMATS["float16"].largest:
        raise ValueError(f"compress: {name} reaches {largest:g}, beyond float16's 65504; use bfloat16, whose range is that of float32")
    return array.astype(np.float16)


def pack(model: nn.Module, to: str, by: str = "channel", group: int = 64) -> dict[str, np.ndarray]:
    """The weights of ``model`` in fewer bits, for ``minigrad.save``; ``by`` and ``group`` as for ``quantize``.

    Raises ValueError for an unknown format, and for weights that are not finite or too large for it.
    """
    if to not in KINDS:
        raise ValueError(f"compress: to {to!r}; expected one of {', '.join(KINDS)}")
    axes = summed_axes(model)
    contents: list[tuple[str, tuple[int, ...], int | None]] = []
    found: dict[str, list[np.ndarray]] = {HALVES: [], **({VALUES: [], SCALES: []} if to == "int8" else {})}
    for name, array in model.state_dict().items():
        axis = axes[name] if to == "int8" and array.ndim == 2 else None
        contents.append((name, array.shape, axis))
        if axis is None:
            found[HALVES].append(halved(name, array, to))
            continue
        try:
            q = quantize(array, by, axis, group)
        except ValueError as error:
            raise ValueError(f"compress: {name}: {error}") from error
        found[VALUES].append(q.values)
        found[SCALES].append(to_bfloat16(q.scales))
    described = {"to": to, **({"by": by, "group": group} if to == "int8" else {}), "contents": contents}
    flat = {key: np.concatenate([np.zeros(0, arrays[0].dtype), *(a.ravel() for a in arrays)]) for key, arrays in found.items() if arrays}
    return {FORMAT: np.array(json.dumps(described)), **flat}


def unpack(state: Mapping[str, np.ndarray], expected: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
    """A packed state dict as float32 arrays for ``load_state_dict``; one that was never packed as it is.

    ``expected`` is what the configuration says of the packing.  Raises ValueError when the two differ, or parts do not belong together.
    """
    described = description(state)
    if expected is not None and {k: v for k, v in expected.items() if k != "weights"} != described:
        raise ValueError(f"holds weights packed as {named(described)}, the configuration says {named(expected)}")
    if not described:
        return dict(state)
    if expected is not None and expected.get("weights") != checksum(state):
        raise ValueError("holds other weights than those that the configuration describes")
    try:
        contents = [(str(name), tuple(map(int, shape)), axis) for name, shape, axis in json.loads(str(state[FORMAT]))["contents"]]
        for name, shape, axis in contents:
            if min(shape, default=0) < 0 or not (axis is None or (axis in (0, 1) and len(shape) == 2)):
                raise ValueError(f"{name} has shape {shape} and axis {axis}")
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"{FORMAT} has no readable table of contents") from error
    remaining = {key: array.reshape(-1) for key, array in state.items() if key != FORMAT}

    def cut(key: str, shape: tuple[int, ...]) -> np.ndarray:
        size, stored = math.prod(shape), remaining.get(key, np.zeros(0))
        kind = described["to"] if key == HALVES else key
        dtype = np.dtype({"bfloat16": np.uint16, SCALES: np.uint16, VALUES: np.int8}.get(kind, np.float16))
        if stored.size < size or (size and stored.dtype != dtype):
            raise ValueError(f"{key} has {stored.size} numbers of {stored.dtype} left where {size} of {dtype} are due")
        remaining[key] = stored[size:]
        return stored[:size].reshape(shape)

    arrays = {}
    for name, shape, axis in contents:
        if axis is None:
            half = cut(HALVES, shape)
            arrays[name] = from_bfloat16(half) if half.dtype == np.uint16 else half.astype(np.float32)
        else:
            block = block_of(shape, described["by"], axis, described["group"])
            scales = from_bfloat16(cut(SCALES, tuple(-(-n // b) for n, b in zip(shape, block, strict=True))))
            arrays[name] = Quantized(cut(VALUES, shape), scales, block).array()
    if left := [key for key, array in remaining.items() if array.size]:
        raise ValueError(f"{left[0]} holds {remaining[left[0]].size} numbers more than its table of contents tells of")
    return arrays


def description(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How a state dict was packed; empty when it was not."""
    if FORMAT not in state:
        return {}
    try:
        told = json.loads(str(state[FORMAT]))
        described = {key: told[key] for key in ("to", *(("by", "group") if told["to"] == "int8" else ()))}
        if described["to"] not in KINDS or described.get("by", "channel") not in BLOCKS or not isinstance(described.get("group", 1), int):
            raise KeyError(described["to"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"was packed in a way that this version does not know: {str(state[FORMAT])[:80]}") from error
    return described


def named(described: Mapping[str, Any]) -> str:
    """A format in words."""
    by = f" by {described['by']}" + (f" of {described['group']}" if described.get("by") == "group" else "") if "by" in described else ""
    return f"{described.get('to', 'float32')}{by}"


def pack_run(source: RunFolder, target: RunFolder, to: str, by: str = "channel", group: int = 64) -> tuple[int, int]:
    """Write the weights of a run, packed, into a new run folder, from which they are used like the originals; returns the bytes before and after.

    Raises ValueError for a run that is packed already, FileExistsError where the new folder holds a run.
    """
    model, tokenizer, config = source.load_model()
    if "compressed" in config:
        raise ValueError(f"{source.path}: is compressed already ({named(config['compressed'])}); compress the run that it was made from")
    packed = pack(model, to, by, group)
    whole = io.BytesIO()
    np.savez(whole, **model.state_dict())
    kept = {key: value for key, value in config.items() if key not in ("format", "tokenizer")}
    with target.beginning({**kept, "compressed": {**description(packed), "weights": checksum(packed)}}, tokenizer):
        target.save_best(packed)
    target.lock.give_back()
    return whole.tell(), target.best_file.stat().st_size
