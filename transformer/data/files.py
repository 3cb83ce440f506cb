"""Files that others wrote, read within limits of size and depth, so that a damaged or hostile one costs an error and no more.

Whatever is wrong is a ValueError that names the file.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

LARGEST = 1 << 28  # bytes of a text or JSON file
DEEPEST = 64  # objects and lists within each other


def read_bytes(path: str | os.PathLike[str], largest: int = LARGEST) -> bytes:
    """The contents of an ordinary file of at most so many bytes."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: is {'a folder' if path.is_dir() else 'no ordinary file'}; expected a file")
    if (size := path.stat().st_size) > largest:
        raise ValueError(f"{path}: has {size:,} bytes; expected at most {largest:,}")
    with path.open("rb") as file:
        return file.read(size)


def library(module: str, missing: str) -> Any:
    """A module of an extra; ImportError with the message ``missing`` where there is none."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(missing) from error


def package_folder(module: str, missing: str) -> Path:
    """Where an installed package lies, without importing it; ImportError with the message ``missing`` where there is none."""
    spec = importlib.util.find_spec(module)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise ImportError(missing)
    return Path(places[0])


def parse_json(data: bytes, where: Any) -> Any:
    """What JSON says, without a byte order mark; duplicate names, NaN, and nesting beyond ``DEEPEST`` are refused."""
    try:
        content = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_constant)
        _check_depth(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not readable as JSON: {brief(error)}") from error
    return content


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a JSON file."""
    content = parse_json(read_bytes(path), path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def brief(error: object, longest: int = 300) -> str:
    """A message in one line that is not longer than a line should be, whatever the file had put into it."""
    text = " ".join(str(error).split())
    return text if len(text) <= longest else f"{text[:longest]}…"


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """ValueError, with the name, for weights that are NaN or infinite."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name[:80]} holds {array.size - int(np.isfinite(array).sum())} numbers that are NaN or infinite")


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"{name[:80]!r} is given twice")
        content[name] = value
    return content


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _check_depth(content: Any) -> None:
    level = [content]
    for _ in range(DEEPEST + 1):
        inner = [outer.values() if isinstance(outer, dict) else outer for outer in level if isinstance(outer, dict | list)]
        level = list(itertools.chain.from_iterable(inner))
        if not level:
            return
    raise ValueError(f"objects and lists lie more than {DEEPEST} deep within each other")
