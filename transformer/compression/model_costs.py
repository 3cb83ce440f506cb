"""What each model costs: its parts in the order in which they run, each by a formula of ``costs``.

``B`` batch, ``T`` target length, ``S`` source length, ``C`` width, ``H`` hidden width, ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..models.bert import BERT, MaskedLM, SpanReader, Tagger
from ..models.classifier import Classifier, ImageClassifier
from ..models.gpt import GPT
from ..models.rnn import AdditiveAttention, Cell, GRUCell, RecurrentLM, Seq2SeqRNN
from ..models.transformer import Transformer
from .costs import Cost, Part, activated, decoder, dropout, embedded, encoder, encoder_layer, kept, linear, norm, product


def logits(output: Any, embedding: Any, n: int) -> Cost:
    """By a linear map, or where there is none by the transposed embedding matrix (V, C)."""
    V, C = embedding.shape
    return product(n, C, V, right=embedding.requires_grad) if output is None else linear(output, n)


def gpt(m: GPT, B: int, T: int, S: int, dense: bool) -> Iterator[Part]:
    C = m.token_embedding.weight.shape[1]
    yield "token_embedding", "lookup", kept(B * T * C) + dropout(m.dropout, B * T * C)
    yield "positions", "lookup", embedded(m.positions, B, T, C)
    for i, layer in enumerate(m.layers):
        wants = i > 0 or m.token_embedding.weight.requires_grad  # where all but adapters is fixed, the first layer's input wants none
        yield from encoder_layer(f"layers.{i}", layer, B, T, True, dense, wants)
    yield "norm", "norm", norm(m.norm, B * T)
    yield "output", "logits", logits(m.output, m.token_embedding.weight, B * T)


def transformer(m: Transformer, B: int, T: int, S: int, dense: bool) -> Iterator[Part]:
    C = m.embedding_dim
    for name, length in (("embedding", S), ("target_embedding", T)):
        yield name, "lookup", kept(2 * B * length * C)
        yield "positions", "lookup", embedded(m.positions, B, length, C) + dropout(m.dropout, B * length * C)
    yield from encoder("encoder", m.encoder, B, S, dense)
    yield from decoder("decoder", m.decoder, B, T, S, dense)
    yield "output", "logits", logits(m.output, m.embedding.weight, B * T)


def classifier(m: Classifier, B: int, T: int, S: int, dense: bool) -> Iterator[Part]:
    C = m.embedding_dim
    yield "embedding", "lookup", kept(2 * B * T * C) + embedded(m.positions, B, T, C) + dropout(m.dropout, B * T * C)
    yield from encoder("encoder", m.encoder, B, T, dense)
    pooled = B * C if m.pooling == "mean" else 0
    yield "head", "classes", kept(pooled) + dropout(m.dropout, B * C) + linear(m.head, B)


def image_classifier(m: ImageClassifier, B: int, T: int, S: int, dense: bool) -> Iterator[Part]:
    """Patches in place of tokens; pixels want no gradient."""
    pixels, C = m.embedding.weight.shape
    if m.max_length != T:
        raise ValueError(f"count: length={T}; this ImageClassifier always reads {m.max_length} patches")
    yield "embedding", "patches", linear(m.embedding, B * T, wants=False) + kept(B * T * pixels)
    yield "positions", "lookup", embedded(m.positions, B, T, C) + dropout(m.dropout, B * T * C)
    yield from encoder("encoder", m.encoder, B, T, dense)
    yield "head", "classes", kept(B * C) + dropout(m.dropout, B * C) + linear(m.head, B)


def bert(m: BERT, B: int, T: int, S: int, dense: bool, prefix: str = "") -> Iterator[Part]:
    n, C = B * T, m.embedding_dim
    yield f"{prefix}token_embedding", "lookup", kept(n * C)
    yield f"{prefix}segment_embedding", "lookup", kept(2 * n * C)
    yield f"{prefix}positions", "lookup", embedded(m.positions, B, T, C)
    yield f"{prefix}norm", "norm", norm(m.norm, n) + dropout(m.dropout, n * C)
    yield from encoder(f"{prefix}encoder", m.encoder, B, T, dense)


def masked_lm(m: MaskedLM, B: int, T: int, S: int, dense: bool) -> Iterator[Part]:
    yield from bert(m.bert, B, T, S, dense, "bert.")
    yield "transform", "head", activated(m.transform, B * T, m.activation, fused=False)
    yield "norm", "norm", norm(m.norm, B * T)
    yield "bias", "logits", logits(None, m.bert.token_embedding.weight, B * T)


def token_head(m: Tagger | SpanReader, B: int, T: int, S: int, dense: bool) -> Iterator[Part]:
    yield from bert(m.bert, B, T, S, dense, "bert.")
    cost = dropout(m.dropout, B * T * m.embedding_dim) + linear(m.head, B * T)
    yield "head", "labels" if isinstance(m, Tagger) else "pointers", cost


# Recurrent ---------------------------------------------------------------------------------------------------------------


def steps(m: Cell, B: int, T: int, pushed: bool = False, from_zero: bool = True) -> Cost:
    """T steps of a cell; a first state of zeros wants no gradient, and two copies of it are kept."""
    H, width = m.hidden_dim, m.recurrent.shape[1]
    state = product(B, H, width) * (T - 1) + product(B, H, width, left=not from_zero)
    gates = 10 * B * H if isinstance(m, GRUCell) else 13 * B * H
    return linear(m.input, B) * T + state + kept(T * (gates + pushed * B * width) + from_zero * 2 * B * H)


def additive(m: AdditiveAttention, B: int, S: int) -> Cost:
    """One look back over S states."""
    M, H = m.key.weight.shape
    return linear(m.query, B) + kept(2 * B * S * H) + linear(m.score, B * S) + kept(B * S) + product(1, S, M) * B


def seq2seq_rnn(m: Seq2SeqRNN, B: int, T: int, S: int, dense: bool) -> Iterator[Part]:
    """Both directions over the source, then step by step over the target."""
    H, C = m.hidden_dim, m.embedding.weight.shape[1]
    yield "embedding", "lookup", kept(B * (S + T) * C) + dropout(m.dropout, B * (S + T) * C)
    yield "forwards", "encoder", steps(m.forwards, B, S) + kept(B * S * H)
    yield "backwards", "encoder", steps(m.backwards, B, S) + kept(B * S * H)
    yield "bridge", "first state", kept(B * S * 2 * H + B * 2 * H) + linear(m.bridge, B) + kept(B * m.decoder.states * H)
    if m.attention is not None:
        yield "attention", "scores", linear(m.attention.key, B * S) + additive(m.attention, B, S) * T
    yield "context", "pushed", linear(m.context, B) * (1 if m.attention is None else T)
    yield "decoder", "decoder", steps(m.decoder, B, T, pushed=True, from_zero=False)
    yield "output", "logits", kept(2 * B * T * 3 * H) + dropout(m.dropout, B * T * 3 * H) + linear(m.output, B * T)


def recurrent_lm(m: RecurrentLM, B: int, T: int, S: int, dense: bool) -> Iterator[Part]:
    C = m.token_embedding.weight.shape[1]
    yield "token_embedding", "lookup", kept(2 * B * T * C)
    for i, cell in enumerate(m.cells):
        yield f"cells.{i}", "steps", dropout(m.dropout, B * T * C) + steps(cell, B, T)
    before = kept(B * T * C) + dropout(m.dropout, B * T * C)
    yield "output", "logits", before + logits(m.output, m.token_embedding.weight, B * T)


FAMILIES: dict[type, Callable[..., Iterator[Part]]] = {
    GPT: gpt, Transformer: transformer, Classifier: classifier, ImageClassifier: image_classifier, BERT: bert, MaskedLM: masked_lm,
    Tagger: token_head, SpanReader: token_head,
    Seq2SeqRNN: seq2seq_rnn, RecurrentLM: recurrent_lm,
}  # fmt: skip
