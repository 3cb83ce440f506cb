"""Corpora: reading files safely, splits and batches that lose no token, baselines against slow counts."""

import codecs
import math
import sys
import tracemalloc
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer.data import corpora
from transformer.data.corpora import (
    IGNORE_INDEX,
    LAMBDAS,
    batch,
    bigram_loss,
    default_text,
    read_text,
    sequential_batches,
    train_validation_split,
    uniform_loss,
    unigram_loss,
)

IDS = np.random.default_rng(1).integers(0, 50, 1000).astype(np.uint16)


def markov_ids(size: int, seed: int, stay: float = 0.9) -> np.ndarray:
    """Tokens 0 .. 9 that step up by one with probability `stay`, else jump anywhere."""
    rng = np.random.default_rng(seed)
    jumps = rng.random(size) > stay
    steps = np.where(jumps, rng.integers(0, 10, size), 1)
    return np.cumsum(steps) % 10


def slow_bigram_loss(train: list[int], validation: list[int], vocab_size: int, weight: float) -> float:
    single, pairs = Counter(train), Counter(pairwise(train))
    starts = Counter(train[:-1])
    total = 0.0
    for a, b in pairwise(validation):
        unigram = (single[b] + 1) / (len(train) + vocab_size)
        probability = weight * pairs[a, b] / starts[a] + (1 - weight) * unigram if starts[a] else unigram
        total -= math.log(probability)
    return total / (len(validation) - 1)


# reading

def test_the_default_text_is_english_of_useful_size() -> None:
    text = default_text()
    assert len(text) > 300_000 and "Python" in text


def test_where_python_has_no_help_topics_a_text_of_our_own_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    text = default_text()
    assert 100_000 < len(text) < 200_000 and text.isascii() and "\r" not in text
    train, validation = train_validation_split(np.frombuffer(text.encode(), np.uint8), 64)
    assert unigram_loss(train, validation, 128) - bigram_loss(train, validation, 128) > 0.5


def test_byte_order_marks_and_carriage_returns_are_normalised(tmp_path: Path) -> None:
    path = tmp_path / "windows.txt"
    path.write_bytes(codecs.BOM_UTF8 + "één\r\ntwee\ndrie\r".encode())
    assert read_text(path) == read_text(str(path)) == read_text([path]) == "één\ntwee\ndrie\n"


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), min_size=1))
def test_any_text_survives_being_read(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "text.txt"
    path.write_bytes(text.encode())
    assert read_text(path) == text.replace("\r\n", "\n").replace("\r", "\n")


def test_several_files_are_joined_by_a_newline_in_the_order_given(tmp_path: Path) -> None:
    for name, text in (("a", "first"), ("b", "second\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_text([tmp_path / "b", tmp_path / "a"]) == "second\n\nfirst"
    assert read_text(tmp_path / name for name in "ab") == "first\nsecond\n"


@pytest.mark.parametrize("data, offset", [
    (b"caf\xe9 au lait", 3), (codecs.BOM_UTF8 + b"ab\xff", 5), ("é".encode() * 10 + b"\xc3", 20), (b"ok\xe2\x82", 2),
])
def test_the_first_byte_that_is_not_utf8_is_located(tmp_path: Path, data: bytes, offset: int) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"is not UTF-8: byte 0x{data[offset]:02x} at offset {offset} .*-f WIN"):
        read_text(path)


def test_utf16_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "powershell.txt"
    path.write_text("hello", encoding="utf-16")
    with pytest.raises(ValueError, match="-f UTF-16"):
        read_text(path)


def test_what_cannot_be_read_is_named_in_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_bytes(codecs.BOM_UTF8)
    good = tmp_path / "good.txt"
    good.write_text("good", encoding="utf-8")
    for paths, error, message in (
        (tmp_path / "absent.txt", FileNotFoundError, "no file .*absent.txt"),
        (tmp_path, IsADirectoryError, "is a folder"),
        ([good, empty], ValueError, "empty.txt is empty"),
        ([], ValueError, "no files"),
    ):
        with pytest.raises(error, match=message) as caught:
            read_text(paths)
        assert "\n" not in str(caught.value)


def test_reading_takes_no_more_than_twice_the_text(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"twelve bytes" * 500_000)
    tracemalloc.start()
    try:
        text = read_text(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(text) == 6_000_000
    assert peak < 2 * len(text) + 4 * corpora.BLOCK


# splitting

def test_the_split_is_a_contiguous_tail_without_copies() -> None:
    train, validation = train_validation_split(IDS, 8, 0.1)
    assert (train.size, validation.size) == (900, 100)
    assert np.array_equal(np.concatenate([train, validation]), IDS)
    assert np.shares_memory(train, IDS) and np.shares_memory(validation, IDS)


def test_a_part_too_short_for_one_window_is_refused_with_numbers() -> None:
    with pytest.raises(ValueError, match="validation part has 100 of 1000 tokens, but context length 100 needs at "
                                         "least 101; pass a text of about 1010 tokens or more"):
        train_validation_split(IDS, 100)
    assert train_validation_split(IDS, 99)[1].size == 100
    with pytest.raises(ValueError, match="training part has 10 of 1000"):
        train_validation_split(IDS, 10, 0.99)


def test_impossible_settings_are_refused() -> None:
    rng = np.random.default_rng(0)
    for fraction in (0, 1, -0.1, 2, float("nan")):
        with pytest.raises(ValueError, match="validation_fraction"):
            train_validation_split(IDS, 8, fraction)
    for wrong in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="context_length is"):
            batch(IDS, 4, wrong, rng)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="batch_size is"):
            sequential_batches(IDS, wrong, 4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"shape \(10, 100\)"):
        batch(IDS.reshape(10, 100), 4, 8, rng)
    with pytest.raises(TypeError, match="float64"):
        batch(IDS / 2, 4, 8, rng)
    with pytest.raises(TypeError, match="default_rng"):
        batch(IDS, 4, 8, 42)  # type: ignore[arg-type]


# batches

def test_targets_are_the_inputs_one_step_later() -> None:
    ids = np.arange(1000, dtype=np.uint16)
    inputs, targets = batch(ids, 32, 16, np.random.default_rng(0))
    assert inputs.shape == targets.shape == (32, 16)
    assert inputs.dtype == targets.dtype == np.int64
    assert np.array_equal(targets, inputs + 1)
    assert np.array_equal(np.diff(inputs, axis=1), np.ones((32, 15)))
    assert not np.shares_memory(inputs, targets) and not np.shares_memory(inputs, ids)


def test_every_window_is_drawn_including_the_first_and_the_last() -> None:
    inputs, targets = batch(np.arange(10), 2000, 4, np.random.default_rng(0))
    assert set(inputs[:, 0]) == set(range(6)) and targets.max() == 9
    inputs, targets = batch(np.arange(5), 3, 4, np.random.default_rng(0))
    assert np.array_equal(inputs, [[0, 1, 2, 3]] * 3)
    with pytest.raises(ValueError, match="4 ids are too few for context length 4"):
        batch(np.arange(4), 3, 4, np.random.default_rng(0))


def test_the_same_seed_gives_the_same_batches() -> None:
    first, second = (batch(IDS, 4, 8, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, second)


@given(size=st.integers(2, 60), batch_size=st.integers(1, 5), context_length=st.integers(1, 9))
def test_a_sequential_pass_has_each_target_once_and_in_order(size: int, batch_size: int, context_length: int) -> None:
    ids = np.arange(100, 100 + size)
    seen, batches = [], list(sequential_batches(ids, batch_size, context_length))
    for inputs, targets in batches:
        assert inputs.shape == targets.shape and inputs.shape[1] == context_length
        assert 1 <= len(inputs) <= batch_size
        real = targets != IGNORE_INDEX
        assert real.any(axis=1).all()
        assert np.array_equal(inputs[real] + 1, targets[real]) and not inputs[~real].any()
        seen.extend(targets[real])
    assert seen == list(ids[1:])
    assert all((targets != IGNORE_INDEX).all() and len(targets) == batch_size for _, targets in batches[:-1])


def test_a_sequential_pass_over_one_id_is_refused_at_the_call() -> None:
    with pytest.raises(ValueError, match="1 ids hold no target"):
        sequential_batches([3], 2, 4)


# baselines

def test_the_uniform_line_is_the_logarithm_of_the_vocabulary() -> None:
    assert uniform_loss(65) == pytest.approx(math.log(65))
    with pytest.raises(ValueError, match="vocab_size is 0"):
        uniform_loss(0)


def test_the_unigram_line_is_add_one_counted_by_hand() -> None:
    loss = unigram_loss([0, 0, 1], [2, 0, 1, 2], 3)         # counts 2, 1, 0; N + V = 6; the first id is no target
    assert loss == pytest.approx(-(math.log(3 / 6) + math.log(2 / 6) + math.log(1 / 6)) / 3)


def test_the_bigram_line_equals_a_slow_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "BLOCK", 97)               # many blocks, borders included
    train, validation = markov_ids(800, 1), markov_ids(200, 2)
    validation[50] = 11                                     # never seen in training
    weights = [slow_bigram_loss(train[:720].tolist(), train[720:].tolist(), 12, weight) for weight in LAMBDAS]
    expected = slow_bigram_loss(train.tolist(), validation.tolist(), 12, LAMBDAS[int(np.argmin(weights))])
    assert bigram_loss(train.astype(np.uint16), validation.astype(np.uint16), 12) == pytest.approx(expected, rel=1e-12)
    single = Counter(train.tolist())
    unigram = -np.mean([math.log((single[token] + 1) / 812) for token in validation[1:].tolist()])
    assert unigram_loss(train, validation, 12) == pytest.approx(unigram, rel=1e-12)


def test_the_bigram_line_is_near_the_true_entropy_of_a_markov_chain() -> None:
    step, other = 0.9 + 0.1 / 10, 0.1 / 10
    entropy = -step * math.log(step) - 9 * other * math.log(other)
    loss = bigram_loss(markov_ids(100_000, 3), markov_ids(20_000, 4), 10)
    assert entropy - 0.03 < loss < entropy + 0.03
    assert loss < unigram_loss(markov_ids(100_000, 3), markov_ids(20_000, 4), 10) - 1


def test_the_bigram_line_falls_back_to_the_unigram_when_neighbours_tell_nothing() -> None:
    rng = np.random.default_rng(5)
    train, validation = (rng.choice(1000, size=size, p=np.arange(1, 1001) / 500500) for size in (5000, 1000))
    unigram = unigram_loss(train, validation, 1000)
    assert bigram_loss(train, validation, 1000) < unigram + 0.01
    assert unigram < uniform_loss(1000)


def test_bigram_memory_does_not_grow_with_the_square_of_the_vocabulary() -> None:
    train, validation = IDS.astype(np.int64) * 1000, IDS[:200].astype(np.int64) * 1000
    tracemalloc.start()
    try:
        loss = bigram_loss(train, validation, 50_000)       # a dense table would take 20 GB
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert math.isfinite(loss) and peak < 10e6


def test_baselines_refuse_ids_outside_the_vocabulary_and_too_few_ids() -> None:
    cases = [([0, 1, 5, 1, 0], [0, 1], 5), ([0, 1, 1, 0], [0, 7], 7), ([0, 1, -1, 0], [0, 1], -1)]
    for line in (unigram_loss, bigram_loss):
        for train, validation, wrong in cases:
            with pytest.raises(ValueError, match=f"id {wrong} is out of range: vocab_size 4"):
                line(train, validation, 4)
        with pytest.raises(ValueError, match="too few"):
            line([0, 1, 2, 3, 0], [1], 4)
        with pytest.raises(TypeError, match="float64"):
            line([0.5, 1, 2, 3], [1, 2], 4)
