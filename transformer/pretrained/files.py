"""The files of a checkpoint folder: ``model.safetensors`` (or its shards) with the arrays, ``config.json`` with the sizes.

A safetensors file is a length (8 bytes, little-endian), a JSON header with name, dtype, shape and place of each array, and the raw
numbers; nothing in it can run.  bfloat16, which NumPy lacks, is the upper half of a float32, and is read as one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import Tensor
from minigrad.storage import write_atomically

from ..data import files

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "b1",
}  # fmt: skip


def safetensors_library() -> Any:
    """The safetensors package; ImportError that names our extra when it is not installed."""
    missing = 'safetensors files need the safetensors package: pip install -e ".[pretrained]"'
    files.library("safetensors.numpy", missing)
    return files.library("safetensors", missing)


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a safetensors file, by name; bfloat16 becomes float32, the other types stay what they are.

    Raises FileNotFoundError; ValueError, naming the file, when it is damaged or holds a type that NumPy lacks; ImportError
    without the extra "pretrained".
    """
    library, path = safetensors_library(), Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected weights in the safetensors format")
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= len(content) - 8:
        declared = f"it declares a header of {length} bytes and has {len(content)} in all"
        raise ValueError(f"{path}: truncated, damaged or not a safetensors file ({declared}); copy it again from where it came")
    names = files.parse_json(content[8 : 8 + length].rstrip(b" "), path)
    try:
        entries = library.deserialize(content)
    except library.SafetensorError as error:
        raise ValueError(f"{path}: truncated, damaged or not a safetensors file ({files.brief(error)}); copy it again from where it came") from error
    arrays = {name: _array(path, name, entry) for name, entry in entries}
    if set(arrays) != set(names) - {"__metadata__"}:
        raise ValueError(f"{path}: damaged: the arrays are not those of the header")
    return arrays


def _array(path: Path, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    if entry["dtype"] == "BF16":
        upper = np.frombuffer(entry["data"], "<u2").astype(np.uint32)
        return (upper << 16).view(np.float32).reshape(entry["shape"])
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"{path}: {name[:80]} is stored as {entry['dtype']}; expected BF16 or one of {', '.join(DTYPES)}")
    array = np.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return array.astype(array.dtype.newbyteorder("="))


def write_safetensors(arrays: Mapping[str, Any], path: str | Path) -> None:
    """Write arrays (or Tensors) by name; an old file stays whole until the new one replaces it.

    Raises TypeError for a type that the format lacks, before anything is written; ImportError without the extra "pretrained".
    """
    library = safetensors_library()
    little = {}
    if "__metadata__" in arrays:
        raise ValueError("write_safetensors: '__metadata__' is the format's own name; give the array another")
    for name, value in arrays.items():
        array = np.asarray(value.data if isinstance(value, Tensor) else value)
        if array.dtype.newbyteorder("<").str.lstrip("|") not in DTYPES.values():
            raise TypeError(f"write_safetensors: {name!r} has dtype {array.dtype}; the format holds {', '.join(DTYPES)}")
        little[name] = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    content = library.numpy.save(little, metadata={"format": "pt"})  # the transformers library asks for this word
    write_atomically(path, lambda file: file.write(content))


def read_weights(folder: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint folder, from one file or from the shards that its index lists."""
    folder = Path(folder)
    if not (folder / INDEX).is_file() or (folder / WEIGHTS).is_file():
        if (folder / "pytorch_model.bin").is_file() and not (folder / WEIGHTS).is_file():
            raise FileNotFoundError(
                f"{folder / WEIGHTS}: no such file; pytorch_model.bin, a pickle that could run anything, is not read here: "
                "open it with the transformers library and save it again, as safetensors"
            )
        return read_safetensors(folder / WEIGHTS)
    places = read_json(folder / INDEX).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(v, str) and is_name(v) for v in places.values()):
        raise ValueError(f"{folder / INDEX}: not an index of shards: 'weight_map' should give the file of each array")
    shards = {shard: read_safetensors(folder / shard) for shard in sorted(set(places.values()))}
    if lost := [name for name, shard in places.items() if name not in shards[shard]]:
        raise ValueError(f"{folder / places[lost[0]]}: lacks {lost[0][:80]}, which {INDEX} places there; copy it again from where it came")
    return {name: shards[shard][name] for name, shard in places.items()}


def read_json(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file; FileNotFoundError, or ValueError when it holds none."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; expected a folder with {CONFIG} and {WEIGHTS}")
    return files.read_json(path)


def is_name(text: str) -> bool:
    """Whether a text is the plain name of a file in the folder, and no way out of it, on any system."""
    return 0 < len(text) < 100 and text.isprintable() and not set(text) & set("/\\:") and text not in (".", "..")


def json_text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write_text(text: str, path: str | Path) -> None:
    """Write a text as UTF-8; an old file stays whole until the new one replaces it."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))
