r"""Llama's format: RMSNorm, rotary positions, SwiGLU, grouped heads, no biases.  Its weights lie (out, in).

Rotary positions turn pairs of coordinates, and which ones are pairs is a convention.  This format pairs i with i + D/2 (the halves), the
paper pairs 2i with 2i + 1 (interleaved).  Queries and keys meet only in a dot product, so one turns into the other by permuting
the columns of W^Q and W^K alike within each head; a model of either kind is read and written here.

Sources: Touvron et al. (2023); Su et al. (2021) for rotary positions; the names are those of the transformers library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..layers import RMSNorm, SwiGLU
from ..models.gpt import GPT
from ..positions import RotaryPositions, StretchedRotation
from .names import NUMBER, Format, Row, module, require, setting


def build(config: Mapping[str, Any], names: Iterable[str], interleaved: bool = False) -> GPT:
    """The model that a config.json of Llama describes, with rotary positions in halves or ``interleaved``."""
    width, heads = setting(config, "hidden_size", 4096), setting(config, "num_attention_heads", 32)
    if heads < 1:
        raise ValueError(f"config.json: num_attention_heads is {heads}; expected 1 or more")
    require(config, hidden_act=("silu",), head_dim=(None, width // heads))
    mlp_bias = setting(config, "mlp_bias", False, bool)
    return GPT(
        vocab_size=setting(config, "vocab_size", 32000),
        embedding_dim=width,
        num_heads=heads,
        num_layers=setting(config, "num_hidden_layers", 32),
        context_length=setting(config, "max_position_embeddings", 2048),
        num_kv_heads=setting(config, "num_key_value_heads", heads),
        norm=partial(RMSNorm, eps=setting(config, "rms_norm_eps", 1e-6, NUMBER)),
        positions=rotary(config, width // heads, interleaved),
        ffn_dim=setting(config, "intermediate_size", 11008),
        ffn=lambda width, ffn_dim, bias: SwiGLU(width, ffn_dim, bias=mlp_bias),
        tie_embeddings=setting(config, "tie_word_embeddings", False, bool),
        bias=setting(config, "attention_bias", False, bool),
    )


def rotary(config: Mapping[str, Any], head_dim: int, interleaved: bool) -> RotaryPositions:
    """The positions: the base, and the stretching of Llama 3.1 where there is one."""
    for name in ("rope_parameters", "rope_scaling"):
        if not isinstance(config.get(name) or {}, dict):
            raise ValueError(f"config.json: {name} is {config[name]!r:.80}; expected an object, or null")
    rope = config.get("rope_parameters") or {"rope_theta": config.get("rope_theta"), **(config.get("rope_scaling") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    require({"rope_type": kind, **rope}, rope_type=("default", "llama3"), partial_rotary_factor=(1, None))
    stretch = None
    if kind == "llama3":
        factor, low, high = (setting(rope, name, kind=NUMBER) for name in ("factor", "low_freq_factor", "high_freq_factor"))
        stretch = StretchedRotation(factor, low, high, setting(rope, "original_max_position_embeddings"))
    return RotaryPositions(head_dim, setting(rope, "rope_theta", 10_000.0, NUMBER), interleaved, stretch=stretch)


def config(model: Any) -> dict[str, Any]:
    """The config.json of a GPT that Llama's format can express; ValueError says which part it cannot."""
    attention, ffn = model.layers[0].self_attention, model.layers[0].ffn
    if not isinstance(model.norm, RMSNorm) or not isinstance(model.positions, RotaryPositions) or not isinstance(ffn, SwiGLU):
        raise ValueError("Llama's format has norm='rms', positions='rotary' and ffn='swiglu'")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": model.vocab_size,
        "hidden_size": model.norm.weight.size,
        "intermediate_size": ffn.up.weight.shape[1],
        "num_attention_heads": attention.num_heads,
        "num_key_value_heads": attention.num_kv_heads,
        "num_hidden_layers": len(model.layers),
        "max_position_embeddings": model.context_length,
        "hidden_act": "silu",
        "rms_norm_eps": model.norm.eps,
        "rope_theta": float(model.positions.base),
        "rope_scaling": stretching(model.positions.stretch),
        "attention_bias": attention.q_proj.bias is not None,
        "attention_dropout": attention.dropout,
        "mlp_bias": ffn.up.bias is not None,
        "tie_word_embeddings": model.output is None,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def stretching(stretch: Any) -> dict[str, Any] | None:
    """The entry of config.json for a stretched rotation."""
    if stretch is None:
        return None
    if not isinstance(stretch, StretchedRotation):
        raise ValueError(f"Llama's format has rotary angles as they are or a StretchedRotation, not {stretch!r}")
    return {
        "rope_type": "llama3",
        "factor": float(stretch.factor),
        "low_freq_factor": float(stretch.low),
        "high_freq_factor": float(stretch.high),
        "original_max_position_embeddings": stretch.original_length,
    }


def interleaving(num_heads: int, head_dim: int) -> np.ndarray:
    """Which column of a projection in halves stands at each place of the interleaved one: (num_heads · head_dim,)."""
    within = np.arange(head_dim).reshape(2, -1).T.ravel()  # 0, D/2, 1, D/2 + 1, ...
    return (head_dim * np.arange(num_heads)[:, None] + within).ravel()


def table(model: Any) -> list[Row]:
    attention, ffn = model.layers[0].self_attention, model.layers[0].ffn
    linear = partial(module, bias=attention.q_proj.bias is not None, transposed=True)
    mlp = partial(module, bias=ffn.up.bias is not None, transposed=True)
    order = partial(interleaving, head_dim=attention.head_dim) if model.positions.interleaved else lambda num_heads: None
    rows = [Row("model.embed_tokens.weight", ("token_embedding.weight",))]
    for i in range(len(model.layers)):
        theirs, ours = f"model.layers.{i}", f"layers.{i}"
        rows += module(f"{theirs}.input_layernorm", f"{ours}.norm1", bias=False)
        rows += linear(f"{theirs}.self_attn.q_proj", f"{ours}.self_attention.q_proj", order=order(attention.num_heads))
        rows += linear(f"{theirs}.self_attn.k_proj", f"{ours}.self_attention.k_proj", order=order(attention.num_kv_heads))
        rows += linear(f"{theirs}.self_attn.v_proj", f"{ours}.self_attention.v_proj")
        rows += linear(f"{theirs}.self_attn.o_proj", f"{ours}.self_attention.out_proj")
        rows += module(f"{theirs}.post_attention_layernorm", f"{ours}.norm2", bias=False)
        for part in ("gate", "up", "down"):
            rows += mlp(f"{theirs}.mlp.{part}_proj", f"{ours}.ffn.{part}")
    rows += module("model.norm", "norm", bias=False)
    return rows if model.output is None else rows + module("lm_head", "output", bias=False, transposed=True)


FORMAT = Format(build, config, table, "model.", (".rotary_emb.inv_freq",))
