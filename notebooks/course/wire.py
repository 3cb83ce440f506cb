"""Values over a pipe between the judge and an answer: JSON in frames, so that reading them can run nothing.

Numbers, texts, None, arrays, tensors, and lists, tuples, sets and dicts of these go as they are.  Whatever else the judge sends, a function or an
object, stays with it: the answer gets a reference, which asks the judge.  What the answer sends is never called.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

import minigrad as mg

LIMIT = 16 * 2**20  # bytes of a frame: an answer's largest value
KINDS = "biufcUS"  # of arrays: numbers and texts, not Python objects
Refer = Callable[[Any], dict[str, Any]]
Resolve = Callable[[str, Any], Any]


class Unreadable(ValueError):
    """A frame or a value that this format does not have."""


def send(pipe: BinaryIO, message: dict[str, Any]) -> None:
    """Write one frame: eight bytes of length, then JSON.  Raises Unreadable when it is too long."""
    content = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(content) > LIMIT:
        raise Unreadable(f"a value of {len(content) / 2**20:.0f} MB; at most {LIMIT // 2**20} MB can be handed over")
    pipe.write(struct.pack(">Q", len(content)) + content)
    pipe.flush()


def receive(pipe: BinaryIO) -> dict[str, Any]:
    """Read one frame.  Raises EOFError at the end, Unreadable for anything but a frame."""
    head = pipe.read(8)
    if len(head) < 8:
        raise EOFError
    (length,) = struct.unpack(">Q", head)
    if length > LIMIT:
        raise Unreadable(f"a frame of {length} bytes; at most {LIMIT}")
    content = pipe.read(length)
    if len(content) < length:
        raise EOFError
    try:
        message = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"a frame that is not JSON: {type(error).__name__}") from None
    if not isinstance(message, dict):
        raise Unreadable(f"a frame that holds a {type(message).__name__}; expected an object")
    return message


def encode(value: Any, refer: Refer) -> Any:
    """The value as JSON has it; ``refer(value)`` says what stands for an object that has to stay here, or raises TypeError."""
    if value is None or type(value) in (bool, str, float):
        return value
    if type(value) is int:
        return value if abs(value) < 2**53 else {"int": hex(value)}
    if isinstance(value, complex) and not isinstance(value, np.generic):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, mg.Tensor):
        return {"tensor": encode(np.asarray(value.data), refer)}
    if isinstance(value, np.generic) and value.dtype.kind in KINDS:
        return {"scalar": _array(np.asarray(value))}
    if type(value) is np.ndarray and value.dtype.kind in KINDS:
        return {"array": _array(value)}
    if type(value) is list:
        return [encode(item, refer) for item in value]
    for kind, name in ((tuple, "tuple"), (set, "set"), (frozenset, "frozenset")):
        if type(value) is kind:
            return {name: [encode(item, refer) for item in value]}
    if type(value) is dict:
        return {"dict": [[encode(key, refer), encode(item, refer)] for key, item in value.items()]}
    if type(value) is range:
        return {"range": [value.start, value.stop, value.step]}
    if hasattr(type(value), "__array__"):  # another library's array
        return encode(np.asarray(value), refer)
    return refer(value)


def _array(x: np.ndarray) -> list[Any]:
    if x.nbytes > LIMIT:
        raise Unreadable(f"an array of {x.nbytes / 2**20:.0f} MB; at most {LIMIT // 2**20} MB can be handed over")
    x = x.astype(x.dtype.newbyteorder("<"), copy=False)
    data = base64.b64encode(np.ascontiguousarray(x).tobytes()).decode("ascii")
    return [x.dtype.str, list(x.shape), data, bool(x.ndim and x.size and x.strides[-1] != x.itemsize)]


def _apart(x: np.ndarray) -> np.ndarray:
    """The same with its entries apart in memory, as a check may hand it out."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def decode(data: Any, resolve: Resolve) -> Any:
    """The value that ``encode`` was given; ``resolve(kind, key)`` gives what a reference stands for.  Raises Unreadable."""
    try:
        return _decoded(data, resolve)
    except (TypeError, ValueError, KeyError, IndexError, RecursionError, OverflowError) as error:
        raise (
            error
            if isinstance(error, Unreadable)
            else Unreadable(f"a value that cannot be read: {type(error).__name__}")
        ) from None


def _decoded(data: Any, resolve: Resolve) -> Any:
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if isinstance(data, list):
        return [_decoded(item, resolve) for item in data]
    ((kind, content),) = data.items()
    if kind == "int":
        return int(content, 16)
    if kind == "complex":
        return complex(*content)
    if kind == "tensor":
        return mg.Tensor(_decoded(content, resolve))
    if kind in ("array", "scalar"):
        name, shape, text, apart = content
        dtype = np.dtype(str(name))
        if dtype.kind not in KINDS or dtype.hasobject:
            raise Unreadable(f"an array of dtype {name}")
        content, shape = base64.b64decode(text, validate=True), [int(n) for n in shape]
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise Unreadable(f"an array of shape {shape} with {len(content)} bytes")
        x = np.frombuffer(content, dtype=dtype).reshape(shape).copy() if content else np.zeros(shape, dtype)
        return (_apart(x) if apart else x) if kind == "array" else x.reshape(())[()]
    if kind in ("tuple", "set", "frozenset"):
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](_decoded(item, resolve) for item in content)
    if kind == "dict":
        return {_decoded(key, resolve): _decoded(item, resolve) for key, item in content}
    if kind == "range":
        found = range(*content)
        if len(found) > LIMIT // 8:  # short to write, long to make an array of
            raise Unreadable(f"a range of {len(found)} numbers")
        return found
    if kind in ("mine", "yours", "named"):
        return resolve(kind, content)
    raise Unreadable(f"a value of kind {kind!r}")
