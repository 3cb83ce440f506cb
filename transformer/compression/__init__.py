"""Doing more with less: what a model costs, and the remedies, each in a room of its own.

- ``counting`` (``costs``, ``families``, ``watching``): parameters, FLOPs and bytes, by formula and by watching;
- ``halves``: float16 and bfloat16, and training that rounds to them;
- ``quantization``: eight bits for a weight;  ``packing``: weights on disk in sixteen or eight bits.
"""

from .counting import Row, Table, count
from .halves import FORMATS, HalfTraining, LossScale, from_bfloat16, rounded, rounding, to_bfloat16
from .packing import pack, unpack
from .quantization import Quantized, quantize
from .watching import Work, kept_bytes, watch

__all__ = [
    "FORMATS",
    "HalfTraining",
    "LossScale",
    "Quantized",
    "Row",
    "Table",
    "Work",
    "count",
    "from_bfloat16",
    "kept_bytes",
    "pack",
    "quantize",
    "rounded",
    "rounding",
    "to_bfloat16",
    "unpack",
    "watch",
]
