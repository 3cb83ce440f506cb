"""BERT's format: the encoder alone, or under a head that fills in masked words, tags tokens or points at an answer.

Its weights lie (out, in).

Source: Devlin et al. (2019); the names are those of the transformers library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ..models.bert import BERT, MaskedLM, SpanReader, Tagger, TokenHead
from ..positions import LearnedPositions, Positions
from .gpt2 import ACTIVATIONS
from .names import NUMBER, Format, Row, module, require, setting

Model = BERT | MaskedLM | Tagger | SpanReader
CLASSES: dict[type, str] = {
    BERT: "BertModel", MaskedLM: "BertForMaskedLM", Tagger: "BertForTokenClassification", SpanReader: "BertForQuestionAnswering",
}  # fmt: skip
HEADS: dict[type, str] = {Tagger: "classifier", SpanReader: "qa_outputs"}  # what they call the one linear map


def build(config: Mapping[str, Any], names: Iterable[str]) -> Model:
    """The model that a config.json of BERT describes; pooler and head are there when the file has their weights.

    Raises ValueError for a head of whole texts, which has the same name as the one of tokens.
    """
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
    if "cls.predictions.bias" in names:
        return MaskedLM(bert, activation, eps)
    if "classifier.weight" in names:
        if "pooler.dense.weight" in names:
            raise ValueError(
                "config.json: the classifier stands on the pooler, so it is one of whole texts, not read here; expected BertForTokenClassification"
            )
        return Tagger(bert, labels(config), setting(config, "classifier_dropout", bert.dropout.p, NUMBER))
    return SpanReader(bert) if "qa_outputs.weight" in names else bert


def labels(config: Mapping[str, Any]) -> list[str]:
    """The names of the labels, in the order of their numbers; LABEL_0, LABEL_1 … where there are none."""
    named = config.get("id2label")
    if named is None:
        return [f"LABEL_{i}" for i in range(setting(config, "num_labels", 2))]
    try:
        return [named[str(i)] for i in range(len(named))]
    except (KeyError, TypeError) as error:
        raise ValueError(f"config.json: id2label is {named!r:.80}; expected a name for each number from 0") from error


def config(model: Any) -> dict[str, Any]:
    """The config.json of a BERT, alone or under a head."""
    bert = model if isinstance(model, BERT) else model.bert
    layer = bert.encoder.layers[0]
    if type(bert.positions) is not LearnedPositions or type(layer.self_attention.positions) is not Positions:
        raise ValueError(f"save_pretrained: this {type(model).__name__} has other positions than learned ones, which BERT's format cannot express")
    own: dict[str, Any] = {}
    if isinstance(model, Tagger):
        own = {"id2label": {str(i): name for i, name in enumerate(model.labels)}, "classifier_dropout": model.dropout.p}
        own["label2id"] = {name: i for i, name in enumerate(model.labels)}
    return {
        "architectures": [CLASSES[type(model)]],
        "model_type": "bert",
        **own,
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
    linear = partial(module, transposed=True)
    inside = "" if isinstance(model, BERT) else "bert."  # there and here
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
    if bert.pooler is not None and not isinstance(model, TokenHead):  # which do not use it
        rows += linear(f"{inside}pooler.dense", f"{inside}pooler")
    if isinstance(model, TokenHead):
        rows += linear(HEADS[type(model)], "head")
    if isinstance(model, MaskedLM):
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
