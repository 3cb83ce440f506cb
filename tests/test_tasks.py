"""Tasks: right answers, and parts that never share a key."""

import datetime

import numpy as np
import pytest

from transformer import BPETokenizer, CharTokenizer
from transformer.data.codec import Pieces
from transformer.data.tasks import MADE, Pair, PairTask, addition, dates, in_words, reversal, sentences, sorting
from transformer.data.tasks.dates import CASES, FIRST, FORMS
from transformer.training.recipes import make_tokenizer

SENTENCES = ("entities", "roles", "answers", "headlines")
ENGLISH = {
    0: "zero", 7: "seven", 13: "thirteen", 20: "twenty", 21: "twenty-one", 40: "forty", 99: "ninety-nine", 100: "one hundred",
    115: "one hundred fifteen", 380: "three hundred eighty", 1000: "one thousand", 1001: "one thousand one", 21_019: "twenty-one thousand nineteen",
    300_000: "three hundred thousand", 1_000_000: "one million", 2_000_045: "two million forty-five",
    999_999_999_999: "nine hundred ninety-nine billion nine hundred ninety-nine million nine hundred ninety-nine thousand nine hundred ninety-nine",
}  # fmt: skip
FRENCH = {
    0: "zéro", 1: "un", 16: "seize", 17: "dix-sept", 20: "vingt", 21: "vingt et un", 22: "vingt-deux", 31: "trente et un", 60: "soixante",
    61: "soixante et un", 69: "soixante-neuf", 70: "soixante-dix", 71: "soixante et onze", 72: "soixante-douze", 76: "soixante-seize",
    77: "soixante-dix-sept", 79: "soixante-dix-neuf", 80: "quatre-vingts", 81: "quatre-vingt-un", 82: "quatre-vingt-deux",
    90: "quatre-vingt-dix", 91: "quatre-vingt-onze", 97: "quatre-vingt-dix-sept", 99: "quatre-vingt-dix-neuf", 100: "cent", 101: "cent un",
    171: "cent soixante et onze", 180: "cent quatre-vingts", 200: "deux cents", 201: "deux cent un", 280: "deux cent quatre-vingts",
    999: "neuf cent quatre-vingt-dix-neuf", 1000: "mille", 1001: "mille un", 1100: "mille cent", 2000: "deux mille", 21_000: "vingt et un mille",
    80_000: "quatre-vingt mille", 80_080: "quatre-vingt mille quatre-vingts", 81_000: "quatre-vingt-un mille", 100_000: "cent mille",
    200_000: "deux cent mille", 200_200: "deux cent mille deux cents", 280_000: "deux cent quatre-vingt mille", 1_000_000: "un million",
    80_000_000: "quatre-vingts millions", 200_000_000: "deux cents millions", 2_000_001_000: "deux milliards mille",
}  # fmt: skip


@pytest.mark.parametrize(("language", "known"), [("en", ENGLISH), ("fr", FRENCH)])
def test_numbers_in_words_as_grammars_have_them(language, known):
    assert {n: in_words(n, language) for n in known} == known


@pytest.mark.parametrize("language", ["en", "fr"])
def test_different_numbers_have_different_words(language):
    assert len({in_words(n, language) for n in range(30_000)}) == 30_000


def test_numbers_in_words_refuse_what_they_cannot_say():
    for n, language, words in ((-1, "en", "-1"), (10**12, "fr", "outside"), (5, "de", "'de'")):
        with pytest.raises(ValueError, match=words):
            in_words(n, language)


@pytest.mark.slow
def test_no_way_of_writing_a_date_can_be_read_as_another_date():
    meaning = {}
    for day in range(0, 36_525, 3):
        date = FIRST + datetime.timedelta(day)
        for form in FORMS:
            for case in CASES:
                assert meaning.setdefault(case(form(date)), date) == date


def test_dates_in_all_their_forms():
    day = datetime.date(2003, 2, 1)
    assert [form(day) for form in FORMS] == [
        "February 1, 2003", "February 1st, 2003", "1 February 2003", "the 1st of February 2003", "Saturday, 1 February 2003",
        "Saturday, February 1st, 2003", "Sat 1 Feb 2003", "1 Feb 2003", "Feb. 1, 2003", "01-Feb-03", "2/1/2003", "02/01/03", "1.2.2003",
        "01.02.03", "2003/02/01", "20030201",
    ]  # fmt: skip
    endings = ("1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "31st")
    assert [form for form in endings if FORMS[1](datetime.date(2000, 1, int(form[:-2]))) != f"January {form}, 2000"] == []


def test_answers_are_right():
    rng = np.random.default_rng(0)
    right = {
        "copy": lambda s: s, "reverse": lambda s: s[::-1], "sort": lambda s: "".join(sorted(s)),
        "addition": lambda s: str(sum(map(int, s.split("+")))),
    }  # fmt: skip
    for name, answer in right.items():
        for pair in MADE[name]().draw(rng, 50):
            assert pair.target == answer(pair.source)
    for pair in MADE["numbers"]().draw(rng, 50):
        language, _, digits = pair.source.partition(" ")
        if digits.isdigit():
            assert pair.target == in_words(int(digits), language)
        else:
            assert pair.source in (in_words(int(pair.target), "en"), in_words(int(pair.target), "fr"))


@pytest.mark.parametrize("name", MADE)
@pytest.mark.slow
def test_parts_share_no_key_whatever_is_drawn(name):
    task = MADE[name]()
    held = {part: {pair.key for pair in task.sample(part, 400)} for part in ("test", "validation")}
    assert held["test"] and held["validation"] and not held["test"] & held["validation"]
    for seed in range(3):
        drawn = {pair.key for pair in task.draw(np.random.default_rng(seed), 500)}
        assert not drawn & (held["test"] | held["validation"])


def test_the_test_part_is_the_same_every_time_and_has_no_pair_twice():
    first, again = reversal(test_size=300).sample("test"), reversal(test_size=300).sample("test")
    assert first == again and len({pair.source for pair in first}) == 300
    rng = np.random.default_rng(5)
    assert first != reversal().draw(rng, 300, "test") != reversal().draw(rng, 300, "test")


def test_a_task_with_few_different_pairs_gives_those_and_one_with_too_few_says_so():
    assert 0 < len(reversal("ab", 6).sample("test")) < 64
    lonely = PairTask("lonely", "", lambda rng: Pair("a", "a", "a"))
    with pytest.raises(ValueError, match="too few different keys"):
        [lonely.draw(np.random.default_rng(0), 1, part) for part in ("test", "validation", "training")]


def test_a_sum_and_its_mirror_image_are_in_the_same_part():
    task = addition()
    parts = {pair.source: task.part(pair.key) for pair in task.pairs}
    assert len(parts) == 8100 and all(parts[f"{b}+{a}"] == part for source, part in parts.items() for a, b in [source.split("+")])


def test_sort_lists_all_729_inputs_in_three_parts():
    task = sorting()
    sizes = {part: len(task.listed[part]) for part in task.listed}
    assert sum(sizes.values()) == 729 and min(sizes.values()) > 50


def test_a_date_is_unseen_in_all_its_forms():
    task = dates()
    unseen = {pair.target for pair in task.sample("test")}
    assert not unseen & {pair.target for pair in task.draw(np.random.default_rng(0), 3000)}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.slow
def test_the_tokenizer_of_a_task_can_write_all_its_pairs(name):
    tokenizer, task = make_tokenizer(name), MADE[name]()
    assert isinstance(tokenizer, BPETokenizer if name in SENTENCES else CharTokenizer)
    for part in ("training", "test"):
        for pair in task.draw(np.random.default_rng(9), 1000, part):
            assert tokenizer.decode(tokenizer.encode(pair.source + pair.target)) == pair.source + pair.target


@pytest.mark.parametrize("name", SENTENCES)
@pytest.mark.slow
def test_a_word_within_a_sentence_is_one_piece_unless_it_is_a_year(name):
    pieces, task = Pieces(make_tokenizer(name)), MADE[name]()
    for item in task.draw(np.random.default_rng(9), 500, "test"):
        first, *others = sentences.words(item.source)
        assert len(pieces.of(first)) <= 2  # learned without the space before it
        assert all(len(pieces.of(word)) == 1 for word in others if not word.isdigit() and word not in ("The", "It"))


def test_a_task_needs_room_for_its_parts_and_something_to_draw_from():
    with pytest.raises(ValueError, match="every=2"):
        PairTask("x", "", every=2)
    with pytest.raises(ValueError, match="neither pairs nor"):
        PairTask("x", "").draw(np.random.default_rng(0), 1)
    assert PairTask("x", "", lambda rng: Pair("a", "b", str(rng.integers(99)))).draw(np.random.default_rng(0), 2)
