"""Doing more with less: what a model costs, and the remedies, each in a room of its own.

- ``counting`` (``costs``, ``model_costs``, ``measuring``): parameters, FLOPs and bytes, by formula and by watching;
- ``mixed_precision``: float16 and bfloat16, and training that rounds to them;
- ``quantization``: eight bits for a weight;  ``packing``: weights on disk in sixteen or eight bits;
- ``adapters``: a small difference to train in place of all weights;  ``share_layers``: one set of weights for several layers;
- ``recompute_layers``: memory for time.  (Gradient accumulation is an option of the Trainer, attention without a T×T array the rule.)
"""

from ..models.stacks import recompute_layers, share_layers
from .adapters import LowRank, add_adapters, load_adapters, merge_adapters, remove_adapters, save_adapters, trainable
from .counting import Row, Table, count
from .measuring import Work, kept_bytes, watch
from .mixed_precision import FORMATS, HalfTraining, LossScale, from_bfloat16, rounded, rounding, to_bfloat16
from .packing import pack, unpack
from .quantization import Quantized, quantize

__all__ = [
    "FORMATS", "HalfTraining", "LossScale", "LowRank", "Quantized", "Row", "Table", "Work", "add_adapters", "count", "from_bfloat16",
    "kept_bytes", "load_adapters", "merge_adapters", "pack", "quantize", "recompute_layers", "remove_adapters", "rounded", "rounding",
    "save_adapters", "share_layers", "to_bfloat16", "trainable", "unpack", "watch",
]  # fmt: skip
