"""Tokenizers: exact round trips, merges equal to a slow recount, files in which no changed bit goes unnoticed."""

import json
import tracemalloc
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.data.bpe import CHUNK, BPETokenizer
from transformer.data.byte_level import GPT2Tokenizer
from transformer.data.tokenizers import CACHE_ENTRIES, CharTokenizer, Tokenizer, load_tokenizer, tokenizer_from_dict

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
ODD_TEXTS = ["", " ", "\n", "\r\n\r\n", "\0", "a\0b", "naïve café", "e\u0301\u0327",
             "👩‍👩‍👧‍👦🏳️‍🌈", "日本語 テスト", "_" * 300,
             "x" * 300, " " * 300, "1234567 ²½", "\u2028\x85\x1c", "\U0010ffff\ufeff\ufffd", "don't  stop \n\n  now"]
CORPUS = "the cat sat on the mat; the cats sat on the mats.\n" * 20 + "höhe höher am höchsten 🙂🙂\n" * 10
BPE = BPETokenizer.train(CORPUS, 300)
CHAR = CharTokenizer.train(CORPUS)


def slow_merges(text: str, limit: int) -> list[tuple[int, int]]:
    """The algorithm as the paper states it: count everything again for each merge."""
    words = [list(chunk.encode()) for chunk in CHUNK.findall(text)]
    merges: list[tuple[int, int]] = []
    while len(merges) < limit:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts or max(counts.values()) < 2:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [256 + len(merges)]
                i += 1
        merges.append(best)
    return merges


# round trips

@pytest.mark.parametrize("text", ODD_TEXTS)
def test_bpe_gives_back_every_odd_text(text: str) -> None:
    assert BPE.decode(BPE.encode(text)) == text


@given(ANY_TEXT)
def test_bpe_gives_back_any_text(text: str) -> None:
    assert BPE.decode(BPE.encode(text)) == text
    assert "".join(CHUNK.findall(text)) == text


@given(ANY_TEXT.filter(bool))
def test_characters_give_back_any_text_that_they_were_trained_on(text: str) -> None:
    tokenizer = CharTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert ids.shape == (len(text),) and tokenizer.vocab_size == len(set(text))


def test_character_ids_follow_the_code_points() -> None:
    assert CharTokenizer.train("cab🙂a").encode("abc🙂").tolist() == [0, 1, 2, 3]
    assert CharTokenizer("ba").encode("ab").tolist() == [1, 0]


def test_character_encoding_is_the_same_across_block_borders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformer.data.tokenizers.BLOCK", 7)
    assert CHAR.decode(CHAR.encode(CORPUS)) == CORPUS
    with pytest.raises(ValueError, match=r"U\+0058.*position 23"):
        CHAR.encode("the cat sat on the mat;X")


@pytest.mark.parametrize("tokenizer", [CHAR, BPE], ids=["char", "bpe"])
def test_ids_take_the_smallest_sensible_integer(tokenizer: Tokenizer) -> None:
    for text in ("", "the cat"):
        assert tokenizer.encode(text).dtype == np.uint16
    assert tokenizer.decode([]) == "" and tokenizer.decode(np.zeros(0)) == ""
    many = CharTokenizer(map(chr, range(0x10000, 0x10000 + 65537)))
    assert many.encode(chr(0x20000)).dtype == np.int32
    assert many.decode(many.encode(chr(0x20000))) == chr(0x20000)


def test_ids_can_be_decoded_from_lists_scalars_and_every_integer_type() -> None:
    for ids in ([104, 105], (104, 105), np.array([104, 105], np.int8), np.array([104, 105], np.uint64)):
        assert BPE.decode(ids) == "hi"
    assert BPE.decode(np.int64(104)) == "h"


# byte-pair encoding

@given(st.text("abc ", max_size=60).filter(bool))
def test_incremental_training_learns_what_counting_again_learns(text: str) -> None:
    assert BPETokenizer.train(text, 276).merges == slow_merges(text, 20)


def test_incremental_training_agrees_with_counting_again_on_real_text() -> None:
    text = CORPUS + "aaaaaaa aaaa bananas banana ananas"
    assert BPETokenizer.train(text, 340).merges == slow_merges(text, 84)


def test_ties_go_to_the_smaller_ids() -> None:
    assert BPETokenizer.train("xyab xyab", 257).merges == [(ord("a"), ord("b"))]


def test_training_stops_when_no_pair_occurs_twice() -> None:
    assert BPETokenizer.train("abcdef", 512).vocab_size == 256
    assert BPETokenizer.train("abab", 512).merges == [(97, 98)]


def test_encoding_replays_the_merges_in_the_order_learned() -> None:
    tokenizer = BPETokenizer([(ord("b"), ord("c")), (ord("a"), ord("b"))])
    assert tokenizer.encode("abc").tolist() == [ord("a"), 256]      # bc was learned before ab


def test_the_sample_parameter_limits_what_training_reads() -> None:
    assert BPETokenizer.train("abab" + "cdcdcdcd", 512, max_characters=4).merges == [(97, 98)]


@pytest.mark.parametrize(("limit", "options"), [(200, {"max_characters": 200}), (2_000_000, {})])
@pytest.mark.parametrize("kind", [BPETokenizer, GPT2Tokenizer])
def test_training_reads_as_many_characters_as_it_is_told_and_not_one_more(kind, limit, options) -> None:  # type: ignore[no-untyped-def]
    text = ("xy" + (" " + "!" * 63) * (limit // 64 + 1))[: limit - 2] + " xy"      # the second xy lies on the border

    def tokens(**options: int) -> set[bytes]:
        tokenizer = kind.train(text, 290, **options)
        return {tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)}

    assert b"xy" not in tokens(**options) and b"xy" in tokens(max_characters=limit + 1)


def test_a_vocabulary_of_the_bytes_alone_has_no_merges() -> None:
    assert BPETokenizer.train("abab", 256).merges == []


def test_any_byte_may_stand_on_either_side_of_a_merge() -> None:
    for text in ("\0!", "!\0"):
        assert BPETokenizer([list(text.encode())]).encode(text).tolist() == [256]


def test_merges_shorten_text_and_never_cross_words() -> None:
    assert len(BPE.encode(CORPUS)) < 0.4 * len(CORPUS.encode())
    words = [token for token in map(BPE.token_bytes, range(BPE.vocab_size)) if token.strip()]
    assert all(word.count(b" ") == word.startswith(b" ") for word in words)


def test_a_piece_of_a_character_decodes_to_the_replacement_character() -> None:
    assert BPE.decode([0xE2, ord("a")]) == "\ufffda"


def test_the_cache_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = BPETokenizer(BPE.merges)
    monkeypatch.setattr("transformer.data.tokenizers.CACHE_ENTRIES", 3)
    assert np.array_equal(fresh.encode(CORPUS), BPE.encode(CORPUS))
    assert len(fresh._cache) <= 3 and len(BPE._cache) <= CACHE_ENTRIES


# memory

@pytest.mark.parametrize("kind", ["char", "bpe"])
@pytest.mark.slow
def test_encoding_a_long_text_takes_little_more_than_its_ids(kind: str) -> None:
    text = CORPUS * 3000                                            # 3.9 million characters
    tokenizer: Tokenizer = CharTokenizer.train(CORPUS) if kind == "char" else BPETokenizer(BPE.merges)
    tracemalloc.start()
    try:
        ids = tokenizer.encode(text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ids.nbytes > 1e6
    assert peak < 1.2 * ids.nbytes + 6e6


# labels

def test_labels_show_spaces_newlines_and_partial_utf8() -> None:
    assert BPE.token(ord(" ")) == "␣" and BPE.token(ord("\n")) == "⏎" and BPE.token(0xE2) == "\\xe2"
    assert BPE.token(0) == "\\x00"
    assert CharTokenizer(" \n\té\u0301").token(1) == "⏎"
    assert [CharTokenizer(" \té\u0301\u200b").token(i) for i in range(5)] == ["␣", "⇥", "é", "◌\u0301", "\\u200b"]
    assert "␣the" in [BPE.token(i) for i in range(BPE.vocab_size)]
    assert all(BPE.token(i).isprintable() for i in range(BPE.vocab_size))


def test_token_bytes_joined_are_the_text() -> None:
    for tokenizer in (CHAR, BPE):
        assert b"".join(tokenizer.token_bytes(i) for i in tokenizer.encode(CORPUS)) == CORPUS.encode()


# refusals

def test_an_unknown_character_is_named_with_its_place_and_the_cure() -> None:
    with pytest.raises(ValueError, match=r"'🚀' \(U\+1F680\) at position 4.*vocabulary; remove it, train"):
        CHAR.encode("the 🚀 cat")


@pytest.mark.parametrize("ids, error, message", [
    ([0.5], TypeError, "float64"), ([True], TypeError, "bool"), (["a"], TypeError, "<U1"),
    ([2**70], TypeError, "object"),
    ([0, -1], ValueError, "id -1 at position 1"), ([0, 0, 9999], ValueError, "id 9999 at position 2"),
    (np.zeros((2, 2), int), ValueError, "row by row"),
])
@pytest.mark.parametrize("tokenizer", [CHAR, BPE], ids=["char", "bpe"])
def test_decode_refuses_what_is_not_an_id(tokenizer: Tokenizer, ids: list[int], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        tokenizer.decode(ids)


@pytest.mark.parametrize("tokenizer", [CHAR, BPE], ids=["char", "bpe"])
def test_single_token_ids_are_checked_too(tokenizer: Tokenizer) -> None:
    for wrong in (-1, tokenizer.vocab_size):
        with pytest.raises(ValueError, match=f"token id {wrong} is out of range"):
            tokenizer.token(wrong)
    with pytest.raises(TypeError, match=r"1\.5"):
        tokenizer.token(1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("action", [CharTokenizer.train, CHAR.encode, BPETokenizer.train, BPE.encode])
def test_lone_surrogates_are_named(action, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("transformer.data.tokenizers.BLOCK", 3)
    with pytest.raises(ValueError, match=r"U\+D83D at position 8 is a lone surrogate.*surrogatepass"):
        action("the cat \ud83d the cat \ud83d")


@pytest.mark.parametrize("action", [CharTokenizer.train, CHAR.encode, BPETokenizer.train, BPE.encode])
def test_bytes_are_not_text(action) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TypeError, match="got bytes"):
        action(b"the cat")


def test_impossible_vocabularies_are_refused() -> None:
    for vocabulary, message in ((["ab"], "'ab'"), ([1], "entry 0 is 1"), ("", "empty"), ("aba", "'a' more than once")):
        with pytest.raises(ValueError, match=message):
            CharTokenizer(vocabulary)  # type: ignore[arg-type]
    for train in (CharTokenizer.train, BPETokenizer.train):
        with pytest.raises(ValueError, match="empty text"):
            train("")
    with pytest.raises(ValueError, match="vocab_size is 255"):
        BPETokenizer.train("abc", 255)
    with pytest.raises(ValueError, match="max_characters is 0"):
        BPETokenizer.train("abc", max_characters=0)


@pytest.mark.parametrize("merges, message", [
    ([[1]], "merge 0"), ([[1, 2, 3]], "merge 0"), ([[1, True]], "merge 0"), ([[1, 2.0]], "merge 0"), ([5], "merge 0"),
    (["ab"], "merge 0"), ([[0, 256]], "only ids 0 to 255"), ([[-1, 0]], "only ids"),
    ([[1, 2], [1, 2]], "merge 1 repeats"),
    ([[1, 1]] + [[i, i] for i in range(256, 300)], "more than 260 bytes"),
])
def test_impossible_merges_are_refused(merges: list, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        tokenizer_from_dict({"kind": "bpe", "merges": merges})


# files

@pytest.mark.parametrize("tokenizer", [CHAR, BPE, CharTokenizer("é\0🙂\ufeff\u2028\"\\")], ids=["char", "bpe", "odd"])
def test_saving_and_loading_gives_the_same_tokenizer(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = load_tokenizer(str(tmp_path / "tokenizer.json"))
    assert type(loaded) is type(tokenizer) and loaded.to_dict() == tokenizer.to_dict()
    assert tokenizer_from_dict(json.loads(json.dumps(tokenizer.to_dict()))).to_dict() == tokenizer.to_dict()
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_a_save_that_fails_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "tokenizer.json"
    CHAR.save(path)

    def full_disk(*arguments: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(step, full_disk)
        with pytest.raises(OSError, match="no space"):
            BPE.save(path)
    assert load_tokenizer(path).to_dict() == CHAR.to_dict()
    assert len(list(tmp_path.iterdir())) == 1
    BPE.save(path)
    assert load_tokenizer(path).to_dict() == BPE.to_dict()


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", [CharTokenizer("abcé🙂"), BPETokenizer([(1, 2), (256, 3)])], ids=["char", "bpe"])
def test_every_flipped_bit_and_every_truncation_is_found(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    whole = path.read_bytes()
    damaged = [whole[:size] for size in range(len(whole))]
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(ValueError) as caught:
            load_tokenizer(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_with_windows_line_ends_still_loads(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    CHAR.save(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_tokenizer(path).to_dict() == CHAR.to_dict()


@settings(max_examples=50)
@given(st.one_of(st.binary(max_size=50), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["crc32", "tokenizer", "kind"]), inner),
).map(lambda value: json.dumps(value).encode())))
@pytest.mark.slow
def test_foreign_files_are_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "foreign.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"foreign\.json") as caught:
        load_tokenizer(path)
    assert "\n" not in str(caught.value)


def test_deeply_nested_and_huge_number_files_are_refused(tmp_path: Path) -> None:
    for text in ("[" * 200_000, '{"crc32":' + "9" * 10_000 + "}"):
        (tmp_path / "foreign.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"foreign\.json"):
            load_tokenizer(tmp_path / "foreign.json")


@pytest.mark.parametrize("payload", [
    None, [], {}, {"kind": "wordpiece"}, {"kind": ["char"]}, {"kind": "char"}, {"kind": "char", "vocabulary": ["a"]},
    {"kind": "char", "vocabulary": "aa"}, {"kind": "char", "vocabulary": ""}, {"kind": "char", "vocabulary": "\ud800"},
    {"kind": "bpe", "merges": {}}, {"kind": "bpe", "merges": [], "extra": 1},
])
def test_payloads_of_another_shape_are_refused(payload) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError):
        tokenizer_from_dict(payload)


def test_a_payload_of_the_other_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a 'char' tokenizer"):
        CharTokenizer.from_dict(BPE.to_dict())


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no tokenizer file .*absent"):
        load_tokenizer(tmp_path / "absent")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load_tokenizer(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist; create it"):
        CHAR.save(tmp_path / "absent" / "tokenizer.json")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        CHAR.save(tmp_path)
