"""What the JavaScript of a page has to know of a model: its sizes, which of each choice it is made of, its weights.

Read from the model itself, not from its configuration, so that what ``model.js`` lacks is refused here by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad import nn

from ...attention import MultiHeadAttention
from ...layers import FeedForward, LayerNorm, RMSNorm, SwiGLU
from ...models.gpt import GPT
from ...models.transformer import Transformer
from ...positions import AlibiBias, LearnedPositions, Positions, RotaryPositions, SinusoidalPositions

LARGEST = float(np.finfo(np.float16).max)
ACTIVATIONS = ("relu", "gelu")  # of model.js, besides SwiGLU


def describe_model(model: Any) -> dict[str, Any]:
    """Sizes and choices of a GPT or an encoder–decoder, ready for JSON; ValueError, naming the part, for any other."""
    attention = next((module for module in model.modules() if isinstance(module, MultiHeadAttention)), None)
    if type(model) not in (GPT, Transformer) or attention is None:
        raise ValueError(f"is a {type(model).__name__}; a page shows a GPT or an encoder–decoder Transformer")
    gpt = isinstance(model, GPT)
    layers = model.layers if gpt else model.encoder.layers
    first = layers[0]
    return {
        "kind": type(model).__name__,
        "vocab": model.vocab_size,
        "width": attention.num_heads * attention.head_dim,
        "layers": len(layers),
        "heads": attention.num_heads,
        "kv_heads": attention.num_kv_heads,
        "head_dim": attention.head_dim,
        "context": model.context_length if gpt else model.max_length,
        "norm_first": first.norm_first,
        "norm": describe_norm(first.norm1),
        "ffn": describe_ffn(first.ffn),
        "positions": describe_positions(model.positions),
        "tied": model.output is None,
        "parameters": model.num_parameters(),
    }


def describe_norm(norm: nn.Module) -> dict[str, Any]:
    """Which norm, and its ε."""
    kinds = {LayerNorm: "layer", RMSNorm: "rms"}
    return {"kind": known(kinds, norm, "norm"), "eps": getattr(norm, "eps", None)}


def describe_ffn(ffn: Any) -> str:
    """ "relu", "gelu" or "swiglu"."""
    kind = known({FeedForward: "", SwiGLU: "swiglu"}, ffn, "feed-forward")
    if not kind and ffn.activation not in ACTIVATIONS:
        raise ValueError(f"has a feed-forward with {ffn.activation!r}; a page has {', '.join(ACTIVATIONS)} and swiglu")
    return kind or ffn.activation


def describe_positions(positions: Any) -> dict[str, Any]:
    """Which scheme, with what it needs."""
    kinds = {
        Positions: "none", LearnedPositions: "learned", SinusoidalPositions: "sinusoidal", RotaryPositions: "rotary",
        AlibiBias: "alibi",
    }  # fmt: skip
    kind = known(kinds, positions, "position scheme")
    if kind == "rotary" and (positions.interleaved or positions.stretch is not None):
        raise ValueError("has rotary positions that are interleaved or stretched; a page has the plain ones")
    more = {"rotary": ("base",), "alibi": ("slopes",)}.get(kind, ())
    return {"kind": kind, **{name: np.asarray(getattr(positions, name)).tolist() for name in more}}


def known(kinds: Mapping[Any, str], part: Any, what: str) -> str:
    """The name of a part's kind; ValueError for another."""
    if type(part) not in kinds:
        raise ValueError(f"has a {type(part).__name__} as its {what}; a page has {', '.join(kind.__name__ for kind in kinds)}")
    return kinds[type(part)]


def named_weights(model: nn.Module) -> tuple[dict[str, tuple[list[int], int]], bytes]:
    """Every name's shape and place, and all the numbers in half precision, little-endian; shared ones lie there once.

    Raises ValueError, with the name, for a number that half precision cannot hold.
    """
    places: dict[str, tuple[list[int], int]] = {}
    starts: dict[int, int] = {}
    halves = bytearray()
    for prefix, module in model.named_modules():
        for name, value in module.__dict__.items():
            if not isinstance(value, nn.Parameter):
                continue
            full = f"{prefix}.{name}" if prefix else name
            if id(value) not in starts:
                largest = float(np.abs(value.data).max(initial=0))
                if not largest <= LARGEST or math.isnan(largest):
                    raise ValueError(f"{full} holds {largest:g}; half precision ends at {LARGEST:g}")
                starts[id(value)] = len(halves) // 2
                halves += value.data.astype("<f2").tobytes()
            places[full] = (list(value.shape), starts[id(value)])
    return places, bytes(halves)
