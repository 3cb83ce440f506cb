"""BERT's tokenizer: equal to the transformers library's on text that breaks tokenizers; the recorded answers run everywhere."""

import json
from pathlib import Path

import numpy as np
import pytest

from transformer.data.tokenizers import load_tokenizer
from transformer.data.wordpiece import SPECIAL, WordPieceTokenizer, normalise, words

CASE = json.loads((Path(__file__).parent / "reference" / "pretrained" / "wordpiece.json").read_text(encoding="utf-8"))
SMALL = [*SPECIAL, "un", "##aff", "##able", "##a", "a", "b", "!", "##ing", "the", "##x" * 1, "x"]


def small(**options):
    return WordPieceTokenizer(SMALL, **options)


def tokens(tokenizer, text):
    return [tokenizer.token(i) for i in tokenizer.encode(text)]


@pytest.mark.parametrize("name", ["uncased", "cased"])
def test_ids_equal_the_recorded_ones(name):
    tokenizer = WordPieceTokenizer(CASE["vocabulary"], lowercase=name == "uncased", max_length=32)
    for text, ids in zip(CASE["texts"], CASE[name], strict=True):
        assert tokenizer.encode(text).tolist() == ids, ascii(text)


def test_the_recorded_texts_leave_few_words_unknown():
    """Else the comparison would compare [UNK] with [UNK]."""
    tokenizer = WordPieceTokenizer(CASE["vocabulary"])
    ids = np.concatenate([tokenizer.encode(text) for text in CASE["texts"]])
    assert 0 < (ids == tokenizer.unknown_id).mean() < 0.2


@pytest.mark.weights
def test_ids_equal_the_librarys(library):
    case = library.wordpiece_case(seed=2, count=400)
    for name in ("uncased", "cased"):
        tokenizer = WordPieceTokenizer(case["vocabulary"], lowercase=name == "uncased", max_length=32)
        for text, ids in zip(case["texts"], case[name], strict=True):
            assert tokenizer.encode(text).tolist() == ids, ascii(text)


def test_a_word_is_its_longest_known_pieces_or_unknown_as_a_whole():
    assert tokens(small(), "unaffable") == ["[CLS]", "un", "##aff", "##able", "[SEP]"]
    assert tokens(small(), "una unz") == ["[CLS]", "un", "##a", "[UNK]", "[SEP]"]


def test_a_word_of_more_than_a_hundred_characters_is_unknown():
    tokenizer = WordPieceTokenizer([*SPECIAL, "x", "##x"])
    assert len(tokenizer.encode("x" * 100)) == 102
    assert tokens(tokenizer, "x" * 101) == ["[CLS]", "[UNK]", "[SEP]"]


def test_normalising_strips_accents_lowercases_and_cleans():
    assert normalise("Naïve\tCAFÉ\u00a0\x00\u200b\ufffdİ ΣΑΣ") == "naive cafe i σασ"
    assert normalise("Naïve", lowercase=False) == "Naïve"
    assert normalise("Naïve", lowercase=False, strip_accents=True) == "Naive"
    assert normalise("Naïve", strip_accents=False) == "naïve"
    assert normalise("漢字kana") == " 漢  字 kana"


def test_the_blocks_of_chinese_characters_begin_and_end_where_the_librarys_do():
    """From the Rust library tokenizers; the original BERT's last block but two begins at U+2B820."""
    inside = "\u3400 \u4dbf \u4e00 \u9fff \uf900 \ufaff \U00020000 \U0002a6df \U0002a700 \U0002b73f \U0002b740 \U0002b81f"
    inside += " \U0002b920 \U0002ceaf \U0002f800 \U0002fa1f"
    outside = "\u33ff \u4dc0 \u4dff \ua000 \ufb00 \U0001ffff \U0002a6e0 \U0002a6ff \U0002b820 \U0002b91f \U0002ceb0 \U0002f7ff \U0002fa20"
    assert all(normalise(c, lowercase=False) == f" {c} " for c in inside.split())
    assert all(normalise(c, lowercase=False) == c for c in outside.split())


def test_punctuation_and_symbols_of_ascii_stand_alone():
    assert words("don't $5+3=8 ok…") == ["don", "'", "t", "$", "5", "+", "3", "=", "8", "ok", "…"]
    assert words("5€ ©") == ["5€", "©"]


def test_special_tokens_written_in_the_text_are_themselves():
    assert tokens(small(), "a[SEP]b [MASK] [mask]")[:5] == ["[CLS]", "a", "[SEP]", "b", "[MASK]"]


def test_truncation_keeps_both_ends():
    assert tokens(small(max_length=4), "a b a b a b") == ["[CLS]", "a", "b", "[SEP]"]
    assert tokens(small(max_length=2), "a") == ["[CLS]", "[SEP]"]
    with pytest.raises(ValueError, match="max_length is 1"):
        small(max_length=1)


def test_a_batch_is_padded_and_masked():
    tokenizer = small()
    ids, mask = tokenizer.batch(["a", "a b !", ""])
    assert ids.tolist() == [[2, 9, 3, 0, 0], [2, 9, 10, 11, 3], [2, 3, 0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    for bad in ("a b", []):
        with pytest.raises(ValueError, match="a list of one text or more"):
            tokenizer.batch(bad)


def test_decoding_joins_the_pieces():
    tokenizer = small()
    assert tokenizer.decode(tokenizer.encode("Unaffable  THE x!")) == "unaffable the x !"
    assert tokenizer.token_bytes(6) == b"aff" and tokenizer.token(6) == "##aff"
    with pytest.raises(ValueError, match="out of range"):
        tokenizer.decode([99])


def test_a_bad_vocabulary_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"lacks \[MASK\]"):
        WordPieceTokenizer(SPECIAL[:4])
    with pytest.raises(ValueError, match="'a' more than once"):
        WordPieceTokenizer([*SPECIAL, "a", "b", "a"])
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt"):
        WordPieceTokenizer.from_file(tmp_path / "vocab.txt")
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(ValueError, match=r"vocab\.txt: .*utf-8"):
        WordPieceTokenizer.from_file(tmp_path / "vocab.txt")


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_vocabulary_file_is_read_line_by_line(newline, tmp_path):
    (tmp_path / "vocab.txt").write_bytes(newline.join(token.encode() for token in [*SMALL, "a\u2028b"]) + newline)
    assert WordPieceTokenizer.from_file(tmp_path / "vocab.txt").vocabulary == [*SMALL, "a\u2028b"]


def test_it_is_saved_and_loaded_with_its_settings(tmp_path):
    tokenizer = small(lowercase=False, strip_accents=True, max_length=7)
    tokenizer.save(tmp_path / "t.json")
    again = load_tokenizer(tmp_path / "t.json")
    assert isinstance(again, WordPieceTokenizer) and again.to_dict() == tokenizer.to_dict()
    with pytest.raises(ValueError, match="expected a 'wordpiece' tokenizer"):
        WordPieceTokenizer.from_dict({"kind": "wordpiece", "vocabulary": SMALL})
    with pytest.raises(ValueError, match="not a list of tokens"):
        WordPieceTokenizer.from_dict({**tokenizer.to_dict(), "vocabulary": [1]})


def test_lone_surrogates_are_refused_with_a_cure():
    with pytest.raises(ValueError, match="lone surrogate"):
        small().encode("a\ud800")
    with pytest.raises(TypeError, match="expected text"):
        small().encode(b"a")
