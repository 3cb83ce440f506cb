"""GPT-2's format: pre-norm blocks with biases, learned positions, query, key and value in one matrix.

Its weights lie (in, out), as ours do.  Source: Radford et al. (2019); the names are those of the transformers library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..layers import FeedForward, LayerNorm
from ..models.gpt import GPT
from ..positions import LearnedPositions
from .names import NUMBER, Format, Row, module, require, setting

ACTIVATIONS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu": "gelu_erf", "relu": "relu", "silu": "silu"}  # theirs to ours


def build(config: Mapping[str, Any], names: Iterable[str]) -> GPT:
    """The model that a config.json of GPT-2 describes."""
    require(config, scale_attn_weights=(True,), scale_attn_by_inverse_layer_idx=(False,), add_cross_attention=(False,))
    require(config, activation_function=tuple(ACTIVATIONS))
    return GPT(
        vocab_size=setting(config, "vocab_size", 50257),
        embedding_dim=setting(config, "n_embd", 768),
        num_heads=setting(config, "n_head", 12),
        num_layers=setting(config, "n_layer", 12),
        context_length=setting(config, "n_positions", 1024),
        ffn_dim=setting(config, "n_inner", 4 * setting(config, "n_embd", 768)),
        dropout=setting(config, "resid_pdrop", 0.1, NUMBER),
        norm=partial(LayerNorm, eps=setting(config, "layer_norm_epsilon", 1e-5, NUMBER)),
        ffn=partial(FeedForward, activation=ACTIVATIONS[config.get("activation_function", "gelu_new")]),
        tie_embeddings=setting(config, "tie_word_embeddings", True, bool),
    )


def config(model: Any) -> dict[str, Any]:
    """The config.json of a GPT that GPT-2's format can express; ValueError says which part it cannot."""
    attention, ffn = model.layers[0].self_attention, model.layers[0].ffn
    if not isinstance(model.norm, LayerNorm) or not isinstance(model.positions, LearnedPositions) or not isinstance(ffn, FeedForward):
        raise ValueError("GPT-2's format has norm='layer', positions='learned' and a feed-forward with one activation")
    if attention.num_kv_heads != attention.num_heads:
        raise ValueError(f"GPT-2's format has no grouped heads, this model shares {attention.num_kv_heads} keys among {attention.num_heads} heads")
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": model.vocab_size,
        "n_embd": model.norm.weight.size,
        "n_head": attention.num_heads,
        "n_layer": len(model.layers),
        "n_positions": model.context_length,
        "n_inner": ffn.up.weight.shape[1],
        "activation_function": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == ffn.activation),
        "layer_norm_epsilon": model.norm.eps,
        "resid_pdrop": model.dropout.p,
        "embd_pdrop": model.dropout.p,
        "attn_pdrop": attention.dropout,
        "tie_word_embeddings": model.output is None,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def table(model: Any) -> list[Row]:
    rows = [Row("transformer.wte.weight", ("token_embedding.weight",)), Row("transformer.wpe.weight", ("positions.weight",))]
    for i in range(len(model.layers)):
        theirs, ours = f"transformer.h.{i}", f"layers.{i}"
        rows += module(f"{theirs}.ln_1", f"{ours}.norm1")
        rows += module(f"{theirs}.attn.c_attn", *(f"{ours}.self_attention.{part}_proj" for part in "qkv"))
        rows += module(f"{theirs}.attn.c_proj", f"{ours}.self_attention.out_proj")
        rows += module(f"{theirs}.ln_2", f"{ours}.norm2")
        rows += module(f"{theirs}.mlp.c_fc", f"{ours}.ffn.up")
        rows += module(f"{theirs}.mlp.c_proj", f"{ours}.ffn.down")
    rows += module("transformer.ln_f", "norm")
    return rows if model.output is None else rows + module("lm_head", "output", bias=False, transposed=True)


def with_biases(state: Mapping[str, np.ndarray], rows: Iterable[Row]) -> dict[str, np.ndarray]:
    """A state dict in which a bias that the model lacks is zero, since GPT-2's format has them all."""
    absent = [name for row in rows for name in row.ours if name.endswith(".bias") and name not in state]
    weights = {name: state[name.removesuffix("bias") + "weight"] for name in absent}
    return {**state, **{name: np.zeros(weight.shape[-1], weight.dtype) for name, weight in weights.items()}}


FORMAT = Format(build, config, table, "transformer.", (".attn.bias", ".attn.masked_bias"))
