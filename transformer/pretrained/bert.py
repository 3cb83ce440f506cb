"""BERT's format: the encoder alone, or with the head that fills in masked words.  Its weights lie (out, in).

Source: Devlin et al. (2019); the names are those of the transformers library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ..models.bert import BERT, MaskedLM
from .gpt2 import ACTIVATIONS
from .names import NUMBER, Format, Row, module, require, setting


def build(config: Mapping[str, Any], names: Iterable[str]) -> BERT | MaskedLM:
    """The model that a config.json of BERT describes; pooler and head are there when the file has their weights."""
    require(config, position_embedding_type=("absolute",), is_decoder=(False,), tie_word_embeddings=(True,), hidden_act=("gelu", *ACTIVATIONS))
    names, activation = set(names), ACTIVATIONS[config.get("hidden_act", "gelu")]
    eps = setting(config, "layer_norm_eps", 1e-12, NUMBER)
    bert = BERT(
        vocab_size=setting(config, "vocab_size", 30522),
        embedding_dim=setting(config, "hidden_size", 768),
        num_heads=setting(config, "num_attention_heads", 12),
        num_layers=setting(config, "num_hidden_layers", 12),
        max_length=setting(config, "max_position_embeddings", 512),
        ffn_dim=setting(config, "intermediate_size", 3072),
        num_segments=setting(config, "type_vocab_size", 2),
        dropout=setting(config, "hidden_dropout_prob", 0.1, NUMBER),
        activation=activation,
        eps=eps,
        pooler="pooler.dense.weight" in names,
    )
    return MaskedLM(bert, activation, eps) if "cls.predictions.bias" in names else bert


def config(model: Any) -> dict[str, Any]:
    """The config.json of a BERT or a MaskedLM."""
    bert = model.bert if isinstance(model, MaskedLM) else model
    layer = bert.encoder.layers[0]
    return {
        "architectures": ["BertForMaskedLM" if isinstance(model, MaskedLM) else "BertModel"],
        "model_type": "bert",
        "vocab_size": bert.vocab_size,
        "hidden_size": bert.embedding_dim,
        "num_attention_heads": layer.self_attention.num_heads,
        "num_hidden_layers": len(bert.encoder.layers),
        "max_position_embeddings": bert.max_length,
        "intermediate_size": layer.ffn.up.weight.shape[1],
        "type_vocab_size": bert.num_segments,
        "hidden_dropout_prob": bert.dropout.p,
        "attention_probs_dropout_prob": layer.self_attention.dropout,
        "hidden_act": next(theirs for theirs, ours in ACTIVATIONS.items() if ours == layer.ffn.activation),
        "layer_norm_eps": bert.norm.eps,
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
    }


def table(model: Any) -> list[Row]:
    """Their names and ours."""
    linear = partial(module, transposed=True)
    inside = "bert." if isinstance(model, MaskedLM) else ""  # there and here
    bert = model.bert if inside else model
    rows = [
        Row(f"{inside}embeddings.word_embeddings.weight", (f"{inside}token_embedding.weight",)),
        Row(f"{inside}embeddings.position_embeddings.weight", (f"{inside}positions.weight",)),
        Row(f"{inside}embeddings.token_type_embeddings.weight", (f"{inside}segment_embedding.weight",)),
        *module(f"{inside}embeddings.LayerNorm", f"{inside}norm"),
    ]
    for i in range(len(bert.encoder.layers)):
        theirs, ours = f"{inside}encoder.layer.{i}", f"{inside}encoder.layers.{i}"
        for their_part, part in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
            rows += linear(f"{theirs}.attention.self.{their_part}", f"{ours}.self_attention.{part}")
        rows += linear(f"{theirs}.attention.output.dense", f"{ours}.self_attention.out_proj")
        rows += module(f"{theirs}.attention.output.LayerNorm", f"{ours}.norm1")
        rows += linear(f"{theirs}.intermediate.dense", f"{ours}.ffn.up")
        rows += linear(f"{theirs}.output.dense", f"{ours}.ffn.down")
        rows += module(f"{theirs}.output.LayerNorm", f"{ours}.norm2")
    if bert.pooler is not None:
        rows += linear(f"{inside}pooler.dense", f"{inside}pooler")
    if inside:
        rows += linear("cls.predictions.transform.dense", "transform")
        rows += module("cls.predictions.transform.LayerNorm", "norm")
        rows += [Row("cls.predictions.bias", ("bias",))]
    return rows


FORMAT = Format(
    build,
    config,
    table,
    prefix="bert.",
    ignored=(".position_ids", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "seq_relationship.weight", "seq_relationship.bias"),
    renamed={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
)
