"""Parameters, FLOPs and bytes: the formulas against what is computed and kept, model by model."""

from functools import partial

import numpy as np
import pytest

import minigrad as mg
from minigrad.ops.attention import KEPT
from transformer import BERT, GPT, Classifier, FeedForward, ImageClassifier, KVCache, MaskedLM, RecurrentLM, Seq2SeqRNN, Transformer, cli
from transformer.compression import count, kept_bytes, watch

V = 11


def ids(*shape):
    return np.random.default_rng(0).integers(0, V, shape)


def reads(batch, length):
    return batch, length, None, lambda model: model(ids(batch, length))


def writes(batch, length, source):
    return batch, length, source, lambda model: model(ids(batch, source), None, ids(batch, length))


MODELS = {
    "GPT": (lambda: GPT(V, 16, 4, 2, 200), reads(3, 9)),
    "GPT, longer than a block": (lambda: GPT(V, 16, 4, 2, 400), reads(2, 300)),
    "GPT, weights of attention made again": (lambda: GPT(V, 8, 4, 1, 800), reads(1, 750)),
    "GPT, norms made again": (lambda: GPT(V, 64, 4, 1, 400), reads(2, 300)),
    "GPT, one token": (lambda: GPT(V, 16, 4, 2, 200), reads(1, 1)),
    "GPT, grouped heads": (lambda: GPT(V, 16, 4, 2, 200, num_kv_heads=2), reads(3, 9)),
    "GPT, one key/value head, no biases, dropout": (lambda: GPT(V, 16, 4, 2, 200, num_kv_heads=1, dropout=0.1, bias=False), reads(3, 9)),
    "GPT, rotary, RMS norm, SwiGLU, untied": (
        lambda: GPT(V, 16, 4, 2, 200, norm="rms", positions="rotary", ffn="swiglu", tie_embeddings=False), reads(3, 9)
    ),
    "GPT, windows": (lambda: GPT(V, 16, 4, 2, 200, attention={"name": "full", "window": 4, "sinks": 1}, positions="rotary"), reads(3, 9)),
    "GPT, normed queries and keys": (lambda: GPT(V, 16, 4, 2, 200, num_kv_heads=2, attention={"name": "full", "norm": "rms"}), reads(3, 9)),
    "GPT, latent attention": (lambda: GPT(V, 16, 4, 2, 200, attention={"name": "latent", "query_dim": 5}), reads(3, 9)),
    "GPT, latent attention, rotary": (
        lambda: GPT(V, 16, 4, 2, 400, attention="latent", positions={"name": "rotary", "head_dim": 2}), reads(2, 300)
    ),
    "GPT, experts": (lambda: GPT(V, 16, 4, 2, 200, ffn="experts"), reads(3, 9)),
    "GPT, one expert and a shared one": (
        lambda: GPT(V, 16, 4, 2, 200, ffn={"name": "experts", "num_experts": 3, "per_token": 1, "shared_dim": 5}), reads(3, 9)
    ),
    "GPT, ALiBi, ReLU": (lambda: GPT(V, 16, 4, 2, 200, positions="alibi", ffn="relu"), reads(3, 9)),
    "GPT, sinusoidal, exact GELU": (
        lambda: GPT(V, 16, 4, 2, 200, positions="sinusoidal", ffn=partial(FeedForward, activation="gelu_erf")), reads(3, 9)
    ),
    "GPT, attention only": (lambda: GPT(V, 16, 4, 2, 200, norm="none", ffn="none", bias=False, tie_embeddings=False), reads(3, 9)),
    "Transformer": (lambda: Transformer(V, 16, 4, 2, 24, 64), writes(3, 9, 7)),
    "Transformer, pre-norm, untied": (lambda: Transformer(V, 16, 4, 2, 24, 64, norm_first=True, tie_embeddings=False), writes(3, 5, 7)),
    "Classifier": (lambda: Classifier(V, 3, 16, 4, 2, 64), reads(3, 9)),
    "Classifier, first token": (lambda: Classifier(V, 3, 16, 4, 2, 64, pooling="cls", dropout=0.0), reads(3, 9)),
    "ImageClassifier": (lambda: ImageClassifier(8, 2, 10, 16, 4, 2), (3, None, None, lambda model: model(np.ones((3, 8, 8))))),
    "BERT": (lambda: BERT(V, 16, 4, 2, 64), reads(3, 9)),
    "MaskedLM": (lambda: MaskedLM(BERT(V, 16, 4, 2, 64)), reads(3, 9)),
    "MaskedLM, GELU by tanh": (lambda: MaskedLM(BERT(V, 16, 4, 2, 64, activation="gelu"), "gelu"), reads(3, 9)),
    "RecurrentLM": (lambda: RecurrentLM(V, 16, 2, 64), reads(3, 9)),
    "RecurrentLM, GRU, untied, dropout": (lambda: RecurrentLM(V, 16, 2, 64, "gru", 0.1, False), reads(3, 9)),
    "Seq2SeqRNN": (lambda: Seq2SeqRNN(V, 16, 12), writes(3, 9, 7)),
    "Seq2SeqRNN, LSTM, no attention, dropout": (lambda: Seq2SeqRNN(V, 16, 12, "lstm", False, dropout=0.1), writes(3, 5, 7)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_formulas_equal_what_is_computed_and_kept(name):
    mg.manual_seed(0)
    make, (batch, length, source, call) = MODELS[name]
    model = make()
    table = count(model, batch, length, source)
    with watch() as forward:
        logits = call(model)
    kept = kept_bytes(logits, model)
    with watch() as backward:
        logits.sum().backward()
    assert table.forward_flops == forward.flops > 0
    assert table.training_flops == forward.flops + backward.flops
    assert table.activation_bytes == kept
    assert table.parameters == model.num_parameters()
    assert table.bytes == sum(p.data.nbytes for p in model.parameters())


def test_the_cases_reach_both_ways_of_remembering_attention_and_more_than_one_block():
    assert 4 * 750 * 750 > KEPT > 2 * 4 * 300 * 300
    dense = count(GPT(V, 16, 4, 2, 400), 2, 300, dense=True).forward_flops
    assert count(GPT(V, 16, 4, 2, 400), 2, 300).forward_flops < dense


def test_a_product_costs_two_flops_for_each_multiplication_and_training_three_times_the_forward_pass():
    rng = np.random.default_rng(0)
    a, b = (mg.Tensor(rng.normal(size=s), requires_grad=True) for s in [(3, 4), (4, 5)])
    with watch() as forward:
        product = a @ b
    assert forward.flops == 2 * 3 * 4 * 5 and forward.by_op == {"matmul": 120}
    with watch() as backward:
        product.sum().backward()
    assert backward.flops == 2 * forward.flops
    with watch() as work:
        mg.einsum("bij,bkj->bik", rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4)))
    assert work.flops == 2 * 2 * 3 * 4 * 5


def test_sums_norms_and_lookups_count_nothing():
    x = mg.Tensor(np.ones((3, 4), np.float32), requires_grad=True)
    with watch() as work:
        mg.softmax(mg.layer_norm(mg.embedding(x, [[0, 1]]), np.ones(4, np.float32))).sum().backward()
    assert work.flops == 0


def test_watching_changes_no_result_and_leaves_the_engine_as_it_was():
    mg.manual_seed(0)
    model = GPT(V, 16, 4, 1, 8)
    before = {name: (op.forward, list(op.rules), op.joint) for name, op in mg.graph.REGISTRY.items()}
    plain = model(ids(2, 8))
    plain.sum().backward()
    gradients = [p.grad.data for p in model.parameters()]
    model.zero_grad()
    with watch() as outer, watch() as inner:
        seen = model(ids(2, 8))
        seen.sum().backward()
    assert outer.flops == inner.flops > 0
    assert {name: (op.forward, list(op.rules), op.joint) for name, op in mg.graph.REGISTRY.items()} == before
    assert np.array_equal(plain.data, seen.data) and type(seen.data) is np.ndarray
    for p, g in zip(model.parameters(), gradients, strict=True):
        assert np.array_equal(p.grad.data, g) and type(p.grad.data) is np.ndarray


def test_what_checkpointing_computes_again_is_counted():
    mg.manual_seed(0)
    weight = mg.Tensor(np.ones((4, 4), np.float32), requires_grad=True)
    x = mg.Tensor(np.ones((3, 4), np.float32), requires_grad=True)
    with watch() as work:
        mg.checkpoint(lambda x: mg.tanh(x @ weight), x).sum().backward()
    assert work.flops == 4 * (2 * 3 * 4 * 4)  # forward twice, and two gradients


@pytest.mark.parametrize(
    "options",
    [
        {}, {"num_kv_heads": 2}, {"num_kv_heads": 1}, {"attention": "latent", "positions": "rotary"},
        {"attention": {"name": "full", "window": 3, "sinks": 1}},
    ],
)  # fmt: skip
def test_the_bytes_of_the_cache_are_those_of_the_cache(options):
    mg.manual_seed(0)
    model = GPT(V, 16, 4, 3, 12, **options).eval()
    cache = KVCache(12)
    with mg.no_grad():
        for token in ids(2, 12).T:
            model(token[:, None], cache=cache)
    held = sum(a.nbytes for i in range(3) for a in cache.layer(i).contents())
    assert count(model, 2, 12).cache_bytes == held


@pytest.mark.torch
@pytest.mark.slow
def test_pytorchs_counter_agrees_on_dense_attention():
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.pytorch_gpt import GPT as Twin

    model = GPT(V, 16, 4, 2, 100)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        Twin(V, 16, 4, 2, 100).load_ours(model.state_dict())(torch.from_numpy(ids(3, 100))).sum().backward()
    assert counter.get_total_flops() == count(model, 3, 100, dense=True).training_flops


def test_the_table_shows_every_layer_and_its_total():
    table = count(GPT(V, 16, 4, 2, 200), 3, 9)
    layers = table.by_layer()
    assert [row.name for row in layers.rows] == ["token_embedding", "positions", "layers.0", "layers.1", "norm", "output"]
    for column in ("parameters", "forward_flops", "training_flops", "bytes", "activation_bytes", "cache_bytes"):
        assert getattr(layers, column) == getattr(table, column)
    assert f"{table.parameters:,}" in str(table).splitlines()[-1]


def test_mistakes_are_told():
    with pytest.raises(TypeError, match="no formula for Linear; it knows GPT"):
        count(mg.nn.Linear(2, 3))
    with pytest.raises(ValueError, match="reads up to 8 tokens"):
        count(GPT(V, 16, 4, 1, 8), 1, 9)
    with pytest.raises(ValueError, match="always reads 16 patches"):
        count(ImageClassifier(8, 2, 10, 16, 4, 2), 1, 9)
    with pytest.raises(ValueError, match="batch=0"):
        count(GPT(V, 16, 4, 1, 8), 0)


@pytest.mark.slow
def test_the_command_prints_the_table(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question. " * 20, encoding="utf-8")
    out = str(tmp_path / "run")
    sizes = ["--width", "16", "--layers", "2", "--heads", "2", "--context", "16"]
    assert cli.main(["train", "--text", str(text), "--steps", "1", *sizes, "--out", out]) == 0
    capsys.readouterr()
    assert cli.main(["count", out, "--batch", "2"]) == 0
    shown = capsys.readouterr().out
    assert "2 sequences of 16 tokens" in shown and "layers.1" in shown and "total" in shown
    assert cli.main(["count", out, "--length", "99"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
