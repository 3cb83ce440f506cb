"""F1 of spans and of words, ROUGE: by hand, and equal to the libraries that the field counts with."""

import sys

import numpy as np
import pytest

from transformer.evaluation import metrics as scores
from transformer.evaluation.metrics import Estimate, estimate, normalised, rouge, span_f1, spans, token_f1

TAGS = ("O", "B-A", "I-A", "B-B", "I-B")
WORDS = ("the", "cat", "sat", "on", "a", "mat", "dog", "12", "It's", "x-y")


@pytest.fixture
def rng():
    return np.random.default_rng(4)


# By hand --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O B-A I-A O", [("A", 1, 2)]),
        ("B-A B-A I-B I-B", [("A", 0, 0), ("A", 1, 1), ("B", 2, 3)]),
        ("I-A I-A O I-A", [("A", 0, 1), ("A", 3, 3)]),
        ("O O", []),
        ("", []),
        ("B-A O I-A", [("A", 0, 0), ("A", 2, 2)]),
    ],
)
def test_spans_begin_with_b_or_with_an_i_that_continues_nothing(tags, found):
    assert spans(tags.split()) == found


def test_a_span_is_right_when_its_kind_and_both_ends_are():
    wanted = [["B-A", "I-A", "O", "B-B"], ["O", "B-A"]]
    found = [["B-A", "I-A", "O", "B-A"], ["B-A", "I-A"]]  # one of three found is right, of three wanted
    assert span_f1(found, wanted).rate == pytest.approx(1 / 3)
    assert span_f1(wanted, wanted).rate == 1
    assert span_f1([["O", "O"]], [["O", "O"]]).rate == 0  # nothing to find is no success
    with pytest.raises(ValueError, match="1 tagged sentences for 2"):
        span_f1(found[:1], wanted)
    with pytest.raises(ValueError, match="as many tags in each"):
        span_f1([["O"]], [["O", "O"]])


def test_word_f1_counts_words_and_an_empty_answer_is_right_only_where_there_is_none():
    assert normalised("The  Eiffel-Tower, a tower!") == ["eiffeltower", "tower"]
    assert token_f1(["the grey cat"], ["a cat"]).rate == pytest.approx(2 / 3)
    assert token_f1(["", "x", "", "cat cat"], ["", "", "x", "cat"]).rate == pytest.approx((1 + 0 + 0 + 2 / 3) / 4)
    with pytest.raises(ValueError, match="1 answers for 2"):
        token_f1(["a"], ["a", "b"])


def test_rouge_by_hand():
    found = rouge(["the cat sat on the mat"], ["on the mat sat the cat"])
    assert found["ROUGE-1"].rate == 1
    assert found["ROUGE-2"].rate == pytest.approx(3 / 5)  # the cat, on the, the mat
    assert found["ROUGE-L"].rate == pytest.approx(3 / 6)  # on the mat
    assert rouge([""], ["x"])["ROUGE-L"].rate == 0
    with pytest.raises(ValueError, match="1 texts for 2"):
        rouge(["a"], ["a", "b"])


def test_the_interval_holds_the_score_and_narrows_with_more_examples(rng):
    outcomes = rng.random(2000) < 0.7
    few, many = (estimate(np.c_[outcomes[:n], np.ones(n)], lambda s: s[..., 0] / s[..., 1]) for n in (50, 2000))
    for found in (few, many):
        assert found.low < found.rate < found.high
    assert many.high - many.low < (few.high - few.low) / 4
    share = scores.share(outcomes)
    assert many.low == pytest.approx(share.low, abs=0.004) and many.high == pytest.approx(share.high, abs=0.004)
    assert str(Estimate(0.5, 1000, 0.4, 0.6)) == "50.00% of 1,000 (95 % interval 40.00% to 60.00%)"
    with pytest.raises(ValueError, match="no examples"):
        estimate(np.zeros((0, 3)), scores.f1)


def words_one_by_one(found, wanted):
    """The mean of precision and recall, harmonic, each word of one answer crossed out in the other."""
    each = []
    for answers in zip(found, wanted, strict=True):
        plain = ["".join(c for c in a.lower() if c.isalnum() or c.isspace()).split() for a in answers]
        a, b = ([word for word in words if word not in ("a", "an", "the")] for words in plain)
        rest = list(b)
        for word in a:
            if word in rest:
                rest.remove(word)
        common = len(b) - len(rest)
        precision, recall = (common / max(len(words), 1) for words in (a, b))
        each.append(2 * precision * recall / (precision + recall) if common else float(a == b))
    return np.mean(each)


def test_word_f1_is_that_of_precision_and_recall_on_random_answers(rng):
    texts = [" ".join(WORDS[i] for i in rng.integers(0, len(WORDS), rng.integers(0, 6))) for _ in range(600)]
    for i in range(0, 300, 10):
        found, wanted = texts[i : i + 10], texts[300 + i : 310 + i]
        assert token_f1(found, wanted).rate == pytest.approx(words_one_by_one(found, wanted), abs=1e-12)


# By the libraries -----------------------------------------------------------------------------------------------------


def random_tags(rng):
    wanted = [[TAGS[i] for i in rng.integers(0, 5, rng.integers(1, 9))] for _ in range(rng.integers(1, 9))]
    return [[TAGS[i] for i in rng.integers(0, 5, len(tags))] for tags in wanted], wanted


def test_span_f1_equals_seqeval(rng):
    pytest.importorskip("seqeval", reason="seqeval is not installed: the cases by hand stand in for it")
    for _ in range(300):
        found, wanted = random_tags(rng)
        assert 100 * span_f1(found, wanted).rate == pytest.approx(scores.seqeval_f1(found, wanted), abs=1e-10)


@pytest.mark.slow
def test_rouge_equals_rouge_score(rng):
    pytest.importorskip("rouge_score", reason="rouge-score is not installed: the cases by hand stand in for it")
    texts = [" ".join(WORDS[i] for i in rng.integers(0, len(WORDS), rng.integers(0, 12))) for _ in range(400)]
    found, wanted = texts[:200], texts[200:]
    theirs = scores.rouge_scores(found, wanted)
    assert {name: 100 * value.rate for name, value in rouge(found, wanted).items()} == pytest.approx(theirs, abs=1e-10)


def test_without_the_libraries_the_extra_is_named(monkeypatch):
    for name in ("seqeval", "seqeval.metrics", "rouge_score", "rouge_score.rouge_scorer"):
        monkeypatch.setitem(sys.modules, name, None)
    for ask in (lambda: scores.seqeval_f1([["O"]], [["O"]]), lambda: scores.rouge_scores(["a"], ["a"])):
        with pytest.raises(ImportError, match=r'extra "scores": pip install -e "\.\[scores\]"'):
            ask()
