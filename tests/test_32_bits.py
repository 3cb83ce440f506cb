"""Where an index has 32 bits, as in WebAssembly: NumPy's take, repeat and bincount refuse int64, and nothing here may hand them one.

The narrow NumPy is imitated: ``np.intp`` has 32 bits, functions that return indices return such, and those that refuse int64 there
refuse it here, with the same words.  tests/test_browser.py runs the real one, where it is installed.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.byhand.gradcheck import check_op
from minigrad.graph import REGISTRY
from transformer import GPT, BPETokenizer, CharTokenizer, Transformer, beam_search, generate
from transformer.checks import cases
from transformer.data import corpora

sys.path.insert(0, str(Path(__file__).parent.parent / "notebooks"))
RETURN_INDICES = [
    "arange", "argmax", "argmin", "argpartition", "argsort", "argwhere", "array", "asarray", "count_nonzero", "flatnonzero", "indices", "lexsort",
    "nonzero", "searchsorted", "unravel_index",
]  # fmt: skip
TEXT = "she sells sea shells by the sea shore\n" * 30


def refuse(name, array):
    array = np.asarray(array)
    if array.dtype.kind in "iu" and array.size and not np.can_cast(array.dtype, np.int32, "safe"):
        raise TypeError(f"{name}: Cannot cast array data from dtype('{array.dtype}') to dtype('int32') according to the rule 'safe'")


def narrow(value, given):
    """Indices that NumPy made, in 32 bits; what was int64 before stays so."""
    if isinstance(value, tuple):
        return tuple(narrow(v, given) for v in value)
    wide = getattr(value, "dtype", None) == np.int64 and not any(getattr(x, "dtype", None) == np.int64 for x in given)
    return value.astype(np.int32) if wide and abs(value).max(initial=0) < 1 << 31 else value


@pytest.fixture
def narrow_numpy(monkeypatch):
    def accepts(name, place):
        function = getattr(np, name)

        def checked(*args, **kwargs):
            if isinstance(args[0], mg.Tensor):  # minigrad's own then
                return function(*args, **kwargs)
            if len(args) > place:
                refuse(name, args[place])
            for word in ("indices", "repeats", "ind"):
                refuse(name, kwargs.get(word, 0))
            return function(*args, **kwargs)

        monkeypatch.setattr(np, name, checked)

    def returns(name):
        function = getattr(np, name)
        plain = name not in ("array", "asarray")

        def made(*args, **kwargs):
            value = function(*args, **kwargs)
            asked = "dtype" in kwargs or (len(args) > 1 and not plain)
            return value if asked else narrow(value, () if plain and name != "arange" else args)

        monkeypatch.setattr(np, name, made)

    for name in RETURN_INDICES:
        returns(name)
    for name, place in (("take", 1), ("repeat", 1), ("bincount", 0), ("put", 1), ("choose", 0)):
        accepts(name, place)
    monkeypatch.setattr(np, "intp", np.int32)
    monkeypatch.setattr(np, "uintp", np.uint32)


def test_the_imitation_refuses_what_a_browser_refuses(narrow_numpy):
    x, wide = np.zeros((3, 2)), np.ones(2, np.int64)
    calls = lambda: np.take(x, wide, axis=0), lambda: np.take(x, indices=wide, axis=0), lambda: np.repeat(x, wide, axis=1), lambda: np.bincount(wide)
    for call in calls:
        with pytest.raises(TypeError, match="int64"):
            call()
    assert np.take(x, np.arange(2), axis=0).shape == (2, 2) and x[wide].shape == (2, 2) and len(np.bincount([1, 1])) == 2


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_op_and_its_gradient(name, narrow_numpy):
    assert check_op(REGISTRY[name])


@pytest.mark.parametrize("kind", [np.int64, np.uint32, np.int8, np.uint16])
def test_indices_of_every_type(kind, narrow_numpy):
    x = mg.Tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    ids = np.array([[3, 1], [0, 3]], kind)
    (mg.take(x, ids, 0).sum() + mg.embedding(x, ids).sum() + np.take(x, ids, axis=0).sum() + np.take(x, ids, axis=0, mode="clip").sum()).backward()
    assert x.grad.data[:, 0].tolist() == [4, 4, 0, 8]
    assert np.repeat(x, np.array([1, 0, 2, 1], kind), axis=0).shape == (4, 3)
    assert x.take(ids, axis=0).shape == (2, 2, 3)
    assert np.isfinite(mg.cross_entropy(x, ids[:, :1].repeat(2).astype(kind) % 3).item())
    with pytest.raises(IndexError, match="5 at position"):
        mg.take(x, np.array([0, 5], kind), 0)
    with pytest.raises(IndexError, match=str(1 << 40)):
        mg.take(x, np.array([1 << 40]), 0)  # more than 32 bits hold


@pytest.mark.parametrize(("name", "case"), [pytest.param(case[1], case, id=case[1]) for case in cases(np.random.default_rng(0))])
def test_every_layer_and_model(name, case, narrow_numpy):
    module, call, inputs = case[2:]
    call(module, *inputs).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_a_language_model_learns_and_writes(narrow_numpy):
    for tokenizer in (CharTokenizer.train(TEXT), BPETokenizer.train(TEXT, 300)):
        ids = tokenizer.encode(TEXT)
        train, validation = corpora.train_validation_split(ids, 8)
        assert corpora.bigram_loss(train, validation, tokenizer.vocab_size) < corpora.unigram_loss(train, validation, tokenizer.vocab_size)
        model = GPT(tokenizer.vocab_size, 16, 2, 1, 8, num_kv_heads=1, positions="rotary")
        x, y = corpora.batch(train, 4, 8, np.random.default_rng(0))
        mg.cross_entropy(model(x), y).backward()
        prompt = tokenizer.encode("she ")
        assert len(generate(model, prompt, 12, temperature=0)) and len(generate(model, prompt, 12, top_k=5, top_p=0.9, rng=0))
        assert len(beam_search(model, prompt, 6, 3))
    step = mg.program(lambda x, y: mg.cross_entropy(model(x), y), model)
    assert np.isclose(step(x, y).item(), step(x, y).item())


def test_a_translator_reads_and_writes(narrow_numpy):
    model = Transformer(vocab_size=9, embedding_dim=8, num_heads=2, num_layers=1)
    ids = np.array([[1, 2, 3, 0], [4, 5, 6, 7]], np.int64)
    logits = model(ids, (ids > 0).astype(np.int64), ids[:, :-1])
    mg.cross_entropy(logits, ids[:, 1:], ignore_index=0).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_an_answer_is_asked_with_indices_that_numpy_takes_everywhere(narrow_numpy):
    verdict = pytest.importorskip("checks.verdict")
    seen = verdict.ask(lambda ids, small: (np.bincount(ids), small.dtype), np.array([1, 0, 1]).astype(np.int64), np.zeros(2, np.int8))
    assert seen[0].tolist() == [1, 2] and seen[1] == np.int8
