"""Gradient checks of every op, layer and model, in float64, as ``python -m transformer check`` shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.byhand.explain import derivation
from minigrad.byhand.gradcheck import Report, gradcheck, gradgradcheck
from minigrad.nn import Module, functional_call

from .attention import MultiHeadAttention, Window, padding_mask
from .layers import Decoder, DecoderLayer, EncoderLayer, FeedForward, LayerNorm, RMSNorm, SwiGLU
from .models.bert import BERT, MaskedLM, SpanReader, Tagger
from .models.classifier import Classifier, ImageClassifier
from .models.experts import Experts, imbalance, routings
from .models.gpt import GPT
from .models.latent import LatentAttention
from .models.rnn import CELLS, AdditiveAttention, GRUCell, LSTMCell, RecurrentLM, Seq2SeqRNN
from .models.stretching import Yarn
from .models.transformer import Transformer
from .positions import AlibiBias, RotaryPositions

IDS = np.array([[1, 4, 2, 0, 3], [2, 2, 5, 1, 6]])
PADDING = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])


def shaken(module: Module, rng: np.random.Generator) -> Module:
    """The module in float64 with every parameter away from its special starting value (γ ≠ 1, biases ≠ 0)."""
    module.astype(np.float64)
    for p in module.parameters():
        p.data = p.data + 0.3 * rng.normal(size=p.shape)
    return module


def cases(rng: np.random.Generator) -> Iterator[tuple[str, str, Module, Callable[..., Any], tuple[Any, ...]]]:
    """(kind, name, module, how to call it, inputs) of everything that has parameters."""
    x, memory = rng.normal(size=(2, 5, 8)), rng.normal(size=(2, 4, 8))
    mask = padding_mask(PADDING)
    plain = lambda m, *args: m(*args)  # noqa: E731
    yield "layer", "LayerNorm", LayerNorm(8), plain, (x,)
    yield "layer", "RMSNorm", RMSNorm(8), plain, (x,)
    yield "layer", "FeedForward", FeedForward(8, 12, "gelu", dropout=0.3), plain, (x,)
    yield "layer", "SwiGLU", SwiGLU(8, 12), plain, (x,)
    yield "layer", "MultiHeadAttention, causal", MultiHeadAttention(8, 2, dropout=0.3), lambda m, x: m(x, causal=True), (x,)
    yield "layer", "MultiHeadAttention, cross", MultiHeadAttention(8, 2), plain, (x, memory)
    yield "layer", "MultiHeadAttention, grouped", MultiHeadAttention(8, 4, 2), lambda m, x: m(x, mask=mask), (x,)
    yield "layer", "MultiHeadAttention, rotary", MultiHeadAttention(8, 2, positions=RotaryPositions(4)), lambda m, x: m(x, causal=True), (x,)
    yield "layer", "MultiHeadAttention, ALiBi", MultiHeadAttention(8, 2, positions=AlibiBias(2)), lambda m, x: m(x, mask=mask), (x,)
    causal = lambda m, x: m(x, causal=True)  # noqa: E731
    normed = MultiHeadAttention(8, 4, 2, norm=RMSNorm, positions=RotaryPositions(2, stretch=Yarn(4, 8)))
    yield "layer", "MultiHeadAttention, normed queries and keys", normed, causal, (x,)
    yield "layer", "MultiHeadAttention, window, sinks", MultiHeadAttention(8, 2, window=Window(2, 1)), lambda m, x: m(x, mask=mask, causal=True), (x,)
    yield "layer", "LatentAttention", LatentAttention(8, 2, positions=RotaryPositions(2), latent_dim=3, query_dim=5), causal, (x,)
    yield "layer", "LatentAttention, no rotary part", LatentAttention(8, 2, dropout=0.2), lambda m, x: m(x, mask=mask), (x,)
    yield "layer", "Experts", Experts(8, 5, num_experts=3, shared_dim=4), plain, (x,)
    yield "layer", "Experts, one for each token", Experts(8, 5, num_experts=3, per_token=1), plain, (x,)
    yield "layer", "Experts, load balance", Experts(8, 5, num_experts=4), balance, (x,)
    for first in (False, True):
        norm = "pre-norm" if first else "post-norm"
        yield "layer", f"EncoderLayer, {norm}", EncoderLayer(8, 2, 12, 0.2, first, "gelu"), lambda m, x: m(x, mask), (x,)
        yield "layer", f"DecoderLayer, {norm}", DecoderLayer(8, 2, 12, 0.2, first, "gelu"), plain, (x, memory)
    any_mask = rng.random((2, 1, 5, 5)) < 0.6
    any_mask[..., 0] = True
    free = lambda m, x, memory: m(x, memory, any_mask, causal=False)  # noqa: E731
    yield "layer", "DecoderLayer, any target mask", DecoderLayer(8, 2, 12, 0.2, True, "gelu"), free, (x, memory)
    yield "layer", "Decoder", Decoder(2, 8, 2, 12, activation="gelu", norm_first=True), plain, (x, memory)
    loss = lambda m, *args: mg.cross_entropy(m(*args), IDS, label_smoothing=0.1)  # noqa: E731
    yield "model", "GPT", GPT(7, 8, 2, 2, 6, dropout=0.1), lambda m: loss(m, IDS), ()
    yield "model", "GPT, rotary, RMSNorm, SwiGLU", GPT(7, 8, 4, 1, 6, 2, 12, norm="rms", positions="rotary", ffn="swiglu"), lambda m: loss(m, IDS), ()
    today = GPT(7, 8, 2, 2, 6, positions={"name": "rotary", "head_dim": 2}, attention=["latent", {"name": "full", "window": 3}], ffn="experts")
    yield "model", "GPT, latent attention and windows, experts", today, lambda m: loss(m, IDS), ()
    yield "model", "GPT, ALiBi, untied", GPT(7, 8, 2, 1, 6, positions="alibi", tie_embeddings=False), lambda m: loss(m, IDS), ()
    only = GPT(7, 8, 2, 2, 6, norm="none", ffn="none", tie_embeddings=False, bias=False)
    yield "model", "GPT, attention only", only, lambda m: loss(m, IDS), ()
    smooth = Transformer(7, 8, 2, 1, 12, 8, norm_first=True)
    yield "model", "Transformer", smooth, lambda m: loss(m, IDS, PADDING, IDS), ()
    yield "model", "Transformer, untied", Transformer(7, 8, 2, 1, 12, 8, tie_embeddings=False), lambda m: loss(m, IDS, PADDING, IDS), ()
    yield "model", "BERT, masked words", MaskedLM(BERT(7, 8, 2, 1, 8, 12)), lambda m: loss(m, IDS, PADDING, PADDING), ()
    tagger, reader = Tagger(BERT(7, 8, 2, 1, 8, 12), "ABCDEFG"), SpanReader(BERT(7, 8, 2, 1, 8, 12))
    yield "model", "Tagger", tagger, lambda m: loss(m, IDS, PADDING, PADDING), ()
    ends = np.array([[0, 0], [2, 4]])
    yield "model", "SpanReader", reader, lambda m: mg.cross_entropy(m(IDS, PADDING, PADDING), ends), ()
    labels = np.array([1, 0])
    for pooling in ("mean", "cls"):
        classifier = Classifier(7, 3, 8, 2, 1, 8, 12, pooling=pooling)
        yield "model", f"Classifier, {pooling}", classifier, lambda m: mg.cross_entropy(m(IDS, PADDING), labels), ()
    images = rng.normal(size=(2, 4, 4))
    yield "model", "ImageClassifier", ImageClassifier(4, 2, 3, 8, 2, 1, 12), lambda m: mg.cross_entropy(m(images), labels), ()
    h, c = rng.normal(size=(2, 2, 5))
    yield "layer", "GRUCell", GRUCell(8, 5), lambda m, x, h: m(x, (h,))[0], (x[:, 0], h)
    yield "layer", "LSTMCell", LSTMCell(8, 5), lambda m, x, h, c: mg.concatenate(m(x, (h, c))), (x[:, 0], h, c)
    yield "layer", "AdditiveAttention", AdditiveAttention(5, 8, 6), lambda m, h, x: m(h, x, PADDING), (h, x)
    for cell in CELLS:
        for attention in (True, False):
            name = f"Seq2SeqRNN, {cell}, {'with' if attention else 'no'} attention"
            recurrent = Seq2SeqRNN(7, 5, 4, cell, attention, dropout=0.1)
            yield "model", name, recurrent, lambda m: loss(m, IDS, PADDING, IDS), ()
        yield "model", f"RecurrentLM, {cell}", RecurrentLM(7, 4, 2, 8, cell), lambda m: loss(m, IDS), ()


def balance(m: Module, x: Any) -> Any:
    """What the experts give, and how unevenly they are used."""
    with routings(m) as kept:
        y = m(x)
    return y * imbalance(kept)


def check_module(module: Module, call: Callable[..., Any], inputs: tuple[Any, ...], second: bool = False) -> Report:
    """Check the gradient of every parameter and every floating-point input; with ``second`` also of the gradient itself."""
    parameters = dict(module.named_parameters())

    def f(*args: Any) -> Any:
        values = dict(zip(parameters, args[len(inputs) :], strict=True))
        return functional_call(module, values, lambda: call(module, *args[: len(inputs)]))

    names = [f"input {i}" for i in range(len(inputs))] + list(parameters)
    values = (*inputs, *(p.data for p in parameters.values()))
    return (gradgradcheck if second else gradcheck)(f, *values, rtol=1e-5 if second else 1e-6, names=names)


def check_everything(only: str | None = None) -> int:
    """Print the table of all, or of one op with its worked derivation, or of one layer or model with each of its parameters.

    0 when all is right, 1 when something is wrong.  Raises ValueError for a name that there is not.
    """
    from minigrad.byhand.gradcheck import check_ops
    from minigrad.graph import REGISTRY

    names = {n.lstrip("_"): n for n in REGISTRY}
    rng = np.random.default_rng(0)
    mg.manual_seed(0)
    chosen, ops, failures = list(cases(rng)), list(names.values()), 0
    if only is not None:
        labels = dict.fromkeys(name.partition(",")[0] for _, name, *_ in chosen)
        chosen = [case for case in chosen if case[1].partition(",")[0].lower() == only.lower()]
        ops = [names[only.lstrip("_")]] if not chosen and only.lstrip("_") in names else []
        if not chosen and not ops:
            raise ValueError(f"--op {only}: no such op, layer or model; there are {', '.join([*sorted(names), *labels])}")
        for name in ops:
            print(derivation(name) + "\n")
    print(f"{'':9}{'name':<34}{'first order':>12}{'second order':>14}  verdict")
    for name, first, second in check_ops(ops):
        failures += row("op", name.lstrip("_"), first, second)
        if only is not None and not failures:
            print(f"\n{first}")
    for kind, name, module, call, inputs in chosen:
        report = check_module(shaken(module, rng), call, inputs)
        failures += row(kind, name, report, None)
        if only is not None and report:
            print(f"\n{report}\n")
    print("all right" if not failures else f"{failures} WRONG")
    if only is None:
        print("The derivation of one of them, step by step: python -m transformer check --op layer_norm")
    return 1 if failures else 0


def row(kind: str, name: str, first: Report, second: Report | None) -> int:
    """Print one line: the largest relative errors; returns 1 when it is wrong."""
    right = bool(first) and (second is None or bool(second))
    other = f"{second.max_rel:14.1e}" if second is not None else " " * 14
    print(f"{kind:<9}{name:<34}{first.max_rel:12.1e}{other}  {'ok' if right else 'WRONG'}", flush=True)
    if not right:
        print(first if not first else second)
    return 0 if right else 1


def demonstration() -> Iterator[str]:
    """A few checks for the eyes of a new user."""
    rng = np.random.default_rng(0)
    mg.manual_seed(0)
    q, k, v = rng.normal(size=(3, 2, 4, 3))
    x, w, b = rng.normal(size=(4, 6)), rng.normal(size=6), rng.normal(size=6)
    checks: list[tuple[str, Callable[[], Report]]] = [
        ("softmax", lambda: gradcheck(mg.softmax, x)),
        ("layer_norm", lambda: gradcheck(mg.layer_norm, x, w, b)),
        ("attention, causal", lambda: gradcheck(lambda q, k, v: mg.scaled_dot_product_attention(q, k, v, causal=True), q, k, v)),
        ("cross_entropy", lambda: gradcheck(lambda x: mg.cross_entropy(x, [1, 0, 5, 2]), x)),
    ]
    for name, run in checks:
        report = run()
        yield f"{name:<20} largest relative error {report.max_rel:.0e}   {'ok' if report else 'WRONG'}"
    model = shaken(GPT(7, 8, 2, 2, 6), rng)
    report = check_module(model, lambda m: mg.cross_entropy(m(IDS), IDS), ())
    verdict = 'ok' if report else 'WRONG'
    yield f"{'a whole GPT':<20} largest relative error {report.max_rel:.0e}   {verdict}, each of {model.num_parameters()} parameters"
