"""State dicts on disk: named arrays in NumPy's .npz format, without pickle, written whole or not at all.

A reader verifies before it parses: every declared size against that of the file, then the checksum of an entry, then its header, which has
to be in the one form that NumPy writes.  Nothing is decompressed, evaluated or unpickled.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

CHECKSUMS = "__checksums__"
MAGIC = b"\x93NUMPY\x01\x00"
HEADER = re.compile(rb"\{'descr': '([<>|=][biufU]\d{1,9})', 'fortran_order': (True|False), 'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), \} *\n")


def write_atomically(path: str | Path, write: Any) -> None:
    """Call ``write(file)`` on a temporary binary file beside ``path``, flush it to disk, and move it into place.

    OSError names the file and says what became of it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:  # with the mode of any new file; os.umask would have to be changed to be read
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        what = "what it held before is untouched" if path.exists() else "no part of it is left behind"
        raise OSError(error.errno, f"not written: {error.strerror}; {what}", str(path)) from error
    finally:
        if temporary.exists():
            temporary.unlink()


def _checksum(name: str, array: np.ndarray) -> int:
    head = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode())
    return zlib.crc32(memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)) if array.size else b"", head)  # type: ignore[arg-type]


def save(state: Mapping[str, Any], path: str | Path) -> None:
    """Write a state dict (names to Tensors, arrays or numbers) to ``path``, with a checksum of every entry.

    Raises TypeError for an entry that is no array of numbers or text, ValueError for a name that a file cannot hold, before anything is written.
    """
    arrays = {}
    for name, value in state.items():
        array = np.asarray(getattr(value, "data", value) if not isinstance(value, np.ndarray) else value)
        if array.dtype.kind not in "biufU":
            raise TypeError(f"save: entry {name!r} is a {type(value).__name__}; expected a Tensor, an array, a number or a string")
        if len(_encoded(str(name))) > 60_000 or "\0" in str(name):
            raise ValueError(f"save: the name {str(name)[:40]!r}… is longer than 60,000 bytes, or holds a zero character; choose another")
        arrays[str(name)] = array
    if CHECKSUMS in arrays:
        raise ValueError(f"save: the name {CHECKSUMS!r} is reserved")
    sums = json.dumps({name: _checksum(name, array) for name, array in arrays.items()})
    write_atomically(path, lambda file: _write(file, {CHECKSUMS: np.array(sums), **arrays}))


def _encoded(name: str) -> bytes:
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"save: the name {name[:40]!r} holds half of a character (a lone surrogate); choose another") from None


def _write(file: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """What ``np.savez`` writes; but that one takes the names as keywords, so that some names mean something else to it."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo()
            info.filename, info.external_attr = f"{name}.npy", 0o600 << 16
            with archive.open(info, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, version=(1, 0), allow_pickle=False)


def load(path: str | Path) -> dict[str, np.ndarray]:
    """The state dict in ``path``, as arrays.

    Raises ValueError, naming the file, when it is empty, truncated, damaged or not one of ours; FileNotFoundError.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; expected a state dict written by minigrad.save")
    if not path.is_file():
        raise ValueError(f"{path}: is {'a folder' if path.is_dir() else 'no ordinary file'}; expected a state dict written by minigrad.save")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: is empty; expected a state dict written by minigrad.save")
    try:
        state = _entries(path)
        sums = json.loads(str(state.pop(CHECKSUMS))) if CHECKSUMS in state else None
        if not isinstance(sums, dict):
            raise ValueError("was not written by minigrad.save")
    except (ValueError, OSError, LookupError, EOFError, OverflowError, RuntimeError, struct.error, zipfile.BadZipFile) as error:
        reason = str(error) if "minigrad.save" in str(error) else f"truncated, damaged or not a state dict ({error})"
        raise ValueError(f"{path}: {' '.join(reason.split())[:300]}") from error
    if set(sums) != set(state):
        raise ValueError(f"{path}: damaged: entries {_shortened(set(sums) ^ set(state))} do not match its table of contents")
    for name, array in state.items():
        if _checksum(name, array) != sums[name]:
            raise ValueError(f"{path}: damaged: the checksum of {name[:80]!r} does not match; use an older checkpoint")
    return state


def _shortened(names: set[str]) -> str:
    return ", ".join(repr(name[:40]) for name in sorted(names)[:3])


def _entries(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file.  What an entry declares is compared with the file before any memory is taken for it."""
    size, arrays = path.stat().st_size, {}
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            raise ValueError("was not written by minigrad.save")
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
                    raise ValueError(f"entry {entry.orig_filename[:80]!r} is compressed, so the file was not written by minigrad.save")
            if (declared := sum(entry.file_size for entry in entries)) > size:
                raise ValueError(f"its entries declare {declared} bytes, the file has {size}")
            for entry in entries:
                name = entry.orig_filename.removesuffix(".npy")
                if name == entry.orig_filename or name in arrays:
                    raise ValueError(f"entry {name[:80]!r} is there twice, or is no array, so the file was not written by minigrad.save")
                arrays[name] = _array(name, archive.read(entry))  # read() compares the checksum before it returns
    return arrays


def _array(name: str, raw: bytes) -> np.ndarray:
    """An array in NumPy's format; ValueError unless the header says exactly what is there."""
    start = len(MAGIC) + 2
    stop = start + int.from_bytes(raw[len(MAGIC) : start], "little")
    found = HEADER.fullmatch(raw[start:stop])
    if not raw.startswith(MAGIC) or not found:
        raise ValueError(f"entry {name[:80]!r} has no header as minigrad.save writes it")
    try:
        dtype = np.dtype(found[1].decode())
    except TypeError as error:
        raise ValueError(f"entry {name[:80]!r} has an unknown type {found[1].decode()!r}") from error
    shape = tuple(int(n) for n in found[3].replace(b" ", b"").split(b",") if n)
    if dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize != len(raw) - stop:
        raise ValueError(f"entry {name[:80]!r} declares {shape} numbers of {dtype}, and has {len(raw) - stop} bytes")
    array = np.frombuffer(raw, dtype, offset=stop) if math.prod(shape) else np.zeros(0, dtype)
    return array.reshape(shape, order="F" if found[2] == b"True" else "C").copy(order="K")
