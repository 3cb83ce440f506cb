"""A run as a page: what its JavaScript computes is what NumPy computes, and the file stands for itself."""

import html.parser
import json
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import no_grad
from transformer.attention import attention_maps
from transformer.checks import shaken
from transformer.cli import main
from transformer.data.corpora import default_text
from transformer.data.tokenizers import CHUNK, BPETokenizer, CharTokenizer
from transformer.filters import Sampling, draw
from transformer.page import build, describe
from transformer.reading import window_start
from transformer.runs import RunFolder, build_model
from transformer.translation import BEGIN, END, PAD

NODE = shutil.which("node")
node = pytest.mark.skipif(NODE is None, reason="node is not installed: what the page computes is tested where it is")
LETTERS = "".join(map(chr, range(32, 127))) + "\n"
ODD = [
    "", " ", "  \n\n x", "a\r\nb", "it's  2026, 3.14159 and 1234567", "naïve Ünïcödé — ½ ² ⅷ ٣٤٥ 一二三", "👩‍👩‍👧‍👦 👍🏽 🇨🇭", "e\u0301 combining \u0300\u0300",
    "\ufeffbom", "\x1c\x1d\x1e\x1f\x85\xa0\u2028\u3000x", "_snake_case __init__", "x" * 200, " " * 130 + "y", "!?" * 70, "\0\1\2\x7f", "</script><!-- <b>\"'&",
    "日本語のテキスト", "עברית العربية हिन्दी", "\U0001d4d0\U0001d4d1 \U0010ffff", "tab\tand\vmore\f",
]  # fmt: skip
SIZES = {"embedding_dim": 16, "num_heads": 4, "num_layers": 2}
MODELS = {
    "learned, layer norm, gelu": {"kind": "GPT", "positions": "learned"},
    "rotary, RMS norm, SwiGLU, grouped heads": {"kind": "GPT", "positions": "rotary", "norm": "rms", "ffn": "swiglu", "num_kv_heads": 2},
    "alibi, three heads, untied": {"kind": "GPT", "positions": "alibi", "tie_embeddings": False, "num_heads": 3, "embedding_dim": 18},
    "sinusoidal, odd width, one key": {"kind": "GPT", "positions": "sinusoidal", "num_heads": 3, "embedding_dim": 15, "num_kv_heads": 1},
    "no positions, no biases": {"kind": "GPT", "positions": "none", "ffn": "relu", "bias": False},
    "layers that share their weights": {"kind": "GPT", "positions": "rotary", "distinct_layers": 1},
    "the Transformer of 2017": {"kind": "Transformer"},
    "the same, pre-norm, untied": {"kind": "Transformer", "norm_first": True, "tie_embeddings": False},
}


def make_run(path, tokenizer, kind="GPT", distinct_layers=None, scale=0.3, **sizes):
    """A run folder of a model whose every weight is away from its start."""
    length = {"context_length": 24} if kind == "GPT" else {"max_length": 24}
    task = {"task": "copy"} if kind == "Transformer" else {}
    config = {"kind": kind, "model": {**SIZES, **length, "vocab_size": tokenizer.vocab_size, **sizes}, "training": {"steps": 1}, **task}
    if distinct_layers:
        config["distinct_layers"] = distinct_layers
    mg.manual_seed(3)
    model, rng = build_model(config), np.random.default_rng(4)
    for p in model.parameters():
        p.data = (p.data + rng.normal(0, scale, p.shape)).astype(np.float32)
    folder = RunFolder(path)
    folder.create(config, tokenizer)
    folder.save_best(model.state_dict())
    folder.lock.give_back()
    return folder


def halved(folder):
    """Its model, with the weights that the page has."""
    model = folder.load_model()[0]
    for p in model.parameters():
        p.data = p.data.astype(np.float16).astype(np.float32)
    return model


def in_node(page, job):
    """The answer of the page's own JavaScript."""
    command = [NODE, str(Path(__file__).parent / "page_in_node.js"), str(page)]
    done = subprocess.run(command, input=json.dumps(job).encode(), capture_output=True, timeout=120)
    assert not done.returncode, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=list(MODELS))
def made(request, tmp_path_factory):
    """A run of each kind of model, and its page."""
    choice, path = MODELS[request.param], tmp_path_factory.mktemp("run")
    tokenizer = CharTokenizer((PAD + BEGIN + END if choice["kind"] == "Transformer" else "") + LETTERS)
    folder = make_run(path / "run", tokenizer, **choice)
    build.write_page(folder, path / "page.html", "The first text" if choice["kind"] == "GPT" else "321")
    return folder, path / "page.html"


def texts_for(model, rng, longest=24):
    """Twenty rows of ids; of the encoder–decoder, pairs."""
    row = lambda: rng.integers(0, model.vocab_size, rng.integers(1, longest + 1)).tolist()  # noqa: E731
    return [[row(), row()] if hasattr(model, "encode") else row() for _ in range(20)]


def numpy_answer(model, text):
    with attention_maps(model) as maps, no_grad():
        source, target = text if hasattr(model, "encode") else (text, None)
        out = model(np.array([source]), None, np.array([target])) if target else model(np.array([source]))
        return out.data[0], {name: calls[0][0] for name, calls in maps.items()}


@node
@pytest.mark.parametrize("grow", [False, True], ids=["at once", "token by token"])
def test_the_page_computes_numpys_logits_and_attention(made, grow):
    folder, page = made
    model = halved(folder)
    texts = texts_for(model, np.random.default_rng(5))
    job = {"do": "translate", "pairs": texts} if hasattr(model, "encode") else {"do": "read", "ids": texts}
    for text, found in zip(texts, in_node(page, {**job, "off": [], "grow": grow}), strict=True):
        logits, maps = numpy_answer(model, text)
        np.testing.assert_allclose(found["logits"], logits, atol=1e-3, rtol=0)
        assert found["attention"].keys() == maps.keys()
        for name, weights in maps.items():
            for theirs, ours in zip(found["attention"][name], weights, strict=True):
                for row, expected in zip(theirs, ours, strict=True):  # of a causal map the page keeps only what is seen
                    np.testing.assert_allclose(row + [0] * (len(expected) - len(row)), expected, atol=1e-4)
        assert np.std(logits) > 0.5  # there is something to compare


@node
def test_a_head_that_is_switched_off_adds_nothing(made):
    folder, page = made
    model = halved(folder)
    two = hasattr(model, "encode")
    attention = model.decoder.layers[1].cross_attention if two else model.layers[1].self_attention
    name = "decoder.layers.1.cross_attention" if two else "layers.1.self_attention"
    texts = texts_for(model, np.random.default_rng(6))[:3]
    if folder.config().get("distinct_layers"):
        pytest.skip("its layers have the same matrix, so NumPy cannot switch a head of one layer off by weights")
    before = numpy_answer(model, texts[0])[0]
    attention.out_proj.weight.data[attention.head_dim : 2 * attention.head_dim] = 0  # what head 1 writes through
    job = {"do": "translate", "pairs": texts} if two else {"do": "read", "ids": texts}
    for text, found in zip(texts, in_node(page, {**job, "off": [f"{name}.1"], "grow": True}), strict=True):
        np.testing.assert_allclose(found["logits"], numpy_answer(model, text)[0], atol=1e-3, rtol=0)
    assert np.abs(numpy_answer(model, texts[0])[0] - before).max() > 1e-2


@node
def test_the_weights_arrive_as_the_halves_that_numpy_rounds_to(made):
    folder, page = made
    expected = np.concatenate([p.data.ravel() for p in halved(folder).parameters()])
    np.testing.assert_array_equal(np.sort(np.array(in_node(page, {"do": "numbers"}), np.float32)), np.sort(expected))


@node
def test_tiny_and_large_halves_are_read_exactly(tmp_path):
    folder = make_run(tmp_path / "run", CharTokenizer(LETTERS))
    state = folder.load_best()[0]
    row = np.array([0.0, -0.0, 6e-8, -5.9e-5, 6.1e-5, 65504.0, -1.0, 1 / 3], np.float32)
    state["token_embedding.weight"][0, :8] = row
    folder.save_best(state)
    build.write_page(folder, tmp_path / "page.html", "x")
    start = json.loads(part(tmp_path / "page.html", "run-data"))["weights"]["token_embedding.weight"][1]
    assert in_node(tmp_path / "page.html", {"do": "numbers"})[start : start + 8] == row.astype(np.float16).astype(float).tolist()


def part(page, name):
    """The contents of one script of a page."""
    return re.search(rf'<script[^>]* ?id="{name}"[^>]*>(.*?)</script>', page.read_text(encoding="utf-8"), re.S)[1]
