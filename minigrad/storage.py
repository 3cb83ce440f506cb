"""State dicts on disk: named arrays in NumPy's .npz format, without pickle, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

CHECKSUMS = "__checksums__"


def write_atomically(path: str | Path, write: Any) -> None:
    """Call ``write(file)`` on a temporary binary file beside ``path``, flush it to disk, and move it into place."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if hasattr(os, "umask"):  # mkstemp makes files for the owner alone; give ours the mode of any new file
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _checksum(name: str, array: np.ndarray) -> int:
    head = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode())
    return zlib.crc32(memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)) if array.size else b"", head)  # type: ignore[arg-type]


def save(state: Mapping[str, Any], path: str | Path) -> None:
    """Write a state dict (names to Tensors, arrays or numbers) to ``path``, with a checksum of every entry.

    Raises TypeError for an entry that is no array of numbers or text, before anything is written.
    """
    arrays = {}
    for name, value in state.items():
        array = np.asarray(getattr(value, "data", value) if not isinstance(value, np.ndarray) else value)
        if array.dtype.kind not in "biufU":
            raise TypeError(f"save: entry {name!r} is a {type(value).__name__}; expected a Tensor, an array, a number or a string")
        arrays[str(name)] = array
    if CHECKSUMS in arrays:
        raise ValueError(f"save: the name {CHECKSUMS!r} is reserved")
    sums = json.dumps({name: _checksum(name, array) for name, array in arrays.items()})
    write_atomically(path, lambda file: np.savez(file, **{CHECKSUMS: np.array(sums), **arrays}))  # type: ignore[arg-type]


def load(path: str | Path) -> dict[str, np.ndarray]:
    """The state dict in ``path``, as arrays.

    Raises ValueError, naming the file, when it is empty, truncated, damaged or not one of ours; FileNotFoundError.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; expected a state dict written by minigrad.save")
    if not path.is_file():
        raise ValueError(f"{path}: is a folder; expected a state dict written by minigrad.save")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: is empty; expected a state dict written by minigrad.save")
    try:
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile) or CHECKSUMS not in file.files:
                raise ValueError("was not written by minigrad.save")
            state = {name: file[name] for name in file.files}
        sums = json.loads(str(state.pop(CHECKSUMS)))
        if not isinstance(sums, dict):
            raise ValueError("was not written by minigrad.save")
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, SyntaxError) as error:
        reason = str(error) if "minigrad.save" in str(error) else f"truncated, damaged or not a state dict ({error})"
        raise ValueError(f"{path}: {' '.join(reason.split())}") from error
    if set(sums) != set(state):
        raise ValueError(f"{path}: damaged: entries {sorted(set(sums) ^ set(state))[:3]} do not match its table of contents")
    for name, array in state.items():
        if _checksum(name, array) != sums[name]:
            raise ValueError(f"{path}: damaged: the checksum of {name!r} does not match; use an older checkpoint")
    return state
