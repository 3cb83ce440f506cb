"""GPT-2's tokenizer: equal to the transformers library's on text that breaks tokenizers; the recorded answers run everywhere."""

import json
from pathlib import Path

import numpy as np
import pytest

from transformer.data.byte_level import BYTE, CHARACTER, GPT2Tokenizer, split_pattern
from transformer.data.tokenizers import load_tokenizer

CASE = json.loads((Path(__file__).parent / "reference" / "pretrained" / "gpt2.json").read_text(encoding="utf-8"))
BYTES = {character: i for i, character in enumerate(CHARACTER.values())}


def recorded():
    return GPT2Tokenizer(CASE["vocabulary"], CASE["merges"])


def with_merges(*merges):
    tokens = dict.fromkeys([*BYTES, *(a + b for a, b in merges)])
    return GPT2Tokenizer({token: i for i, token in enumerate(tokens)}, merges)


def test_ids_equal_the_recorded_ones_and_decode_to_the_text():
    tokenizer = recorded()
    for text, ids in zip(CASE["texts"], CASE["ids"], strict=True):
        assert tokenizer.encode(text).tolist() == ids, ascii(text)
        assert tokenizer.decode(ids) == text


@pytest.mark.slow
@pytest.mark.weights
def test_ids_equal_the_librarys(library):
    case = library.gpt2_case(seed=2, count=400)
    tokenizer = GPT2Tokenizer(case["vocabulary"], case["merges"])
    for text, ids in zip(case["texts"], case["ids"], strict=True):
        assert tokenizer.encode(text).tolist() == ids, ascii(text)


@pytest.mark.slow
@pytest.mark.weights
def test_a_tokenizer_trained_here_gives_the_same_ids_there(library):
    texts = library.nasty(seed=3, count=100)
    tokenizer = GPT2Tokenizer.train("\n".join(texts), 400)
    theirs = library.their_gpt2(tokenizer.vocabulary, tokenizer.merges)
    assert tokenizer.vocab_size == 400 and tokenizer.token(399) == "<|endoftext|>"
    for text in texts:
        assert tokenizer.encode(text).tolist() == theirs.encode(text), ascii(text)


def test_each_byte_has_a_visible_character():
    assert len(set(CHARACTER.values())) == 256 and all(c.isprintable() and not c.isspace() for c in BYTE)
    assert CHARACTER[ord(" ")] == "Ġ" and CHARACTER[ord("\n")] == "Ċ" and CHARACTER[0xAD] == "Ń" and CHARACTER[ord("a")] == "a"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("we'll don't I'M", ["we", "'ll", " don", "'t", " I", "'", "M"]),
        ("a  b \n\n c  ", ["a", " ", " b", " \n\n", " c", "  "]),
        ("x²½Ⅷ१२ 一二", ["x", "²½Ⅷ१२", " 一二"]),
        ("_a_1 _!", ["_", "a", "_", "1", " _!"]),
        ("e\u0301a", ["e", "\u0301", "a"]),
        ("a\x1cb \x1f", ["a", "\x1c", "b", " \x1f"]),
        ("\u3000\u00a0x", ["\u3000", "\u00a0", "x"]),
        ("", []),
    ],
)
def test_text_is_cut_as_by_gpt2s_pattern(text, words):
    assert split_pattern().findall(text) == words


def test_the_earliest_merge_goes_first_and_of_equals_the_leftmost():
    tokenizer = with_merges(("b", "c"), ("a", "b"), ("a", "a"))
    assert [tokenizer.token(i) for i in tokenizer.encode("abc")] == ["a", "bc"]
    assert [tokenizer.token(i) for i in tokenizer.encode("aaab")] == ["aa", "ab"]
    assert [tokenizer.token(i) for i in tokenizer.encode("aaaaa")] == ["aa", "aa", "a"]


def test_a_merge_counts_by_its_text_however_its_parts_came_about():
    tokenizer = with_merges(("b", "c"), ("a", "bc"), ("a", "b"), ("ab", "c"), ("abc", "d"))
    assert [tokenizer.token(i) for i in tokenizer.encode("abcd")] == ["abcd"]


def test_a_trained_vocabulary_is_the_bytes_the_merges_in_order_and_the_end_of_text():
    tokenizer = GPT2Tokenizer.train("low lower lowest " * 3, 262)
    assert list(tokenizer.vocabulary) == [*CHARACTER.values(), *("".join(pair) for pair in tokenizer.merges), "<|endoftext|>"]
    assert len(tokenizer.merges) == 5 and tokenizer.decode(tokenizer.encode("slower")) == "slower"


def test_a_long_word_is_no_trouble():
    tokenizer = with_merges(("a", "a"), ("aa", "aa"), ("b", "a"))
    assert tokenizer.encode("a" * 40_000).tolist() == [257] * 10_000
    assert tokenizer.decode(tokenizer.encode("ba" * 20_000)) == "ba" * 20_000


def test_special_tokens_in_the_text_are_themselves():
    tokenizer = GPT2Tokenizer({**BYTES, "<|endoftext|>": 256, "<|pad|>": 257}, [], ["<|endoftext|>", "<|pad|>"])
    assert tokenizer.encode("a<|endoftext|><|pad|>b").tolist() == [BYTES["a"], 256, 257, BYTES["b"]]
    assert tokenizer.decode([256]) == "<|endoftext|>"
    assert len(tokenizer.encode("<|endoftext")) == 11
    assert len(GPT2Tokenizer({**BYTES, "<|endoftext|>": 256}, [], []).encode("<|endoftext|>")) == 13


def test_half_a_character_decodes_to_the_replacement_character():
    tokenizer = with_merges()
    assert tokenizer.decode(tokenizer.encode("é")[:1]) == "\ufffd"
    assert tokenizer.token_bytes(int(tokenizer.encode("é")[0])) == b"\xc3"


def test_files_are_read_whatever_their_newlines(tmp_path):
    tokenizer = recorded()
    for name, text in tokenizer.files().items():
        (tmp_path / name).write_bytes(text.replace("\n", "\r\n").encode("utf-8"))
    again = GPT2Tokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
    assert again.to_dict() == tokenizer.to_dict()


def test_bad_files_are_refused_by_name(tmp_path):
    vocabulary, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    with pytest.raises(FileNotFoundError, match=r"vocab\.json"):
        GPT2Tokenizer.from_files(vocabulary, merges)
    vocabulary.write_text("[1]", encoding="utf-8")
    merges.write_text("#version: 0.2\na b\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"vocab\.json: expected a JSON object"):
        GPT2Tokenizer.from_files(vocabulary, merges)
    vocabulary.write_text(json.dumps(BYTES), encoding="utf-8")
    with pytest.raises(ValueError, match=r"merges\.txt.*merge 0, 'a b': not two tokens of the vocabulary that make a third"):
        GPT2Tokenizer.from_files(vocabulary, merges)
    with pytest.raises(ValueError, match="lacks 'a', which stands for the byte 0x61"):
        GPT2Tokenizer({token: i for i, token in enumerate(t for t in BYTES if t != "a")}, [])
    with pytest.raises(ValueError, match="ids 0 to 256, each once"):
        GPT2Tokenizer({**BYTES, "ab": 300}, [])
    with pytest.raises(ValueError, match="at least 257"):
        GPT2Tokenizer.train("abc", 256)


def test_it_is_saved_and_loaded_like_every_tokenizer(tmp_path):
    tokenizer = recorded()
    tokenizer.save(tmp_path / "t.json")
    again = load_tokenizer(tmp_path / "t.json")
    assert isinstance(again, GPT2Tokenizer) and again.to_dict() == tokenizer.to_dict()
    np.testing.assert_array_equal(again.encode("naïve"), tokenizer.encode("naïve"))
    for change in ({"merges": 3}, {"vocabulary": {"a": "b"}}, {"more": 1}):
        with pytest.raises(ValueError, match=r"merges are no list|give each token|expected a 'gpt2'"):
            GPT2Tokenizer.from_dict({**tokenizer.to_dict(), **change})


def test_words_are_remembered_and_endless_ones_are_not():
    tokenizer = with_merges(("a", "b"))
    for word in ("abab", "ab" * 32, "ab" * 33):
        assert len(tokenizer.encode(word)) == len(word) // 2
    assert set(tokenizer._cache) == {"abab", "ab" * 32}
