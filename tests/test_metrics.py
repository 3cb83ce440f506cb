"""Measures of models and of texts, each against its definition written out, and perplexity against PyTorch."""

import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from small_models import Table, tiny

import minigrad as mg
from minigrad import no_grad
from transformer import GPT, perplexity, plots
from transformer.decoding.generate import steps
from transformer.evaluation import perplexity as metrics
from transformer.evaluation.perplexity import (
    bits_per_character,
    calibration,
    distinct_n,
    entropy,
    model_calibration,
    predictive_entropy,
    repetition_rate,
    token_losses,
)

REFERENCE = Path(__file__).parent / "reference"
TEXT = np.random.default_rng(3).integers(0, 7, 61)


# Perplexity ------------------------------------------------------------------------------------------------------------


def check_perplexity(case):
    weights = {name.removeprefix("param."): case[name] for name in case if name.startswith("param.")}
    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-5)):
        model = GPT(11, 12, 3, 2, 8).astype(dtype)
        model.load_state_dict({name: array.astype(dtype) for name, array in weights.items()})
        for stride, expected in zip((1, 3, 4, 8), case["perplexities"], strict=True):
            assert perplexity(model, case["ids"], stride) == pytest.approx(expected, rel=tolerance)
        assert perplexity(model, case["ids"]) == pytest.approx(case["perplexities"][-1], rel=tolerance)


def test_perplexity_equals_that_of_the_recorded_pytorch_twin():
    check_perplexity(np.load(REFERENCE / "perplexity" / "gpt.npz", allow_pickle=False))


@pytest.mark.torch
def test_perplexity_equals_that_of_the_live_pytorch_twin():
    pytest.importorskip("torch", reason="PyTorch is not installed: the recorded test stands in for the live one")
    sys.path.insert(0, str(REFERENCE))
    try:
        asking = importlib.import_module("ask_perplexity")
    finally:
        sys.path.remove(str(REFERENCE))
    check_perplexity(asking.answer(seed=2))
    recorded, now = np.load(REFERENCE / "perplexity" / "gpt.npz", allow_pickle=False), asking.answer(seed=1)
    np.testing.assert_allclose(recorded["perplexities"], now["perplexities"], rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("length", [2, 3, 8, 9, 10, 17, 61])
@pytest.mark.parametrize("stride", [1, 2, 3, 5, 8, None])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_each_token_is_predicted_once_from_the_first_window_that_reaches_it(length, stride, batch_size):
    model, ids = tiny(), TEXT[:length]
    losses = token_losses(model, ids, stride, batch_size)
    for i in range(1, length):
        start = max(0, math.ceil((i - 8) / (stride or 8)) * (stride or 8))
        with no_grad():
            log_p = mg.log_softmax(model(ids[None, start:i])).data[0, -1]
        assert losses[i - 1] == pytest.approx(-log_p[ids[i]], rel=1e-10)


def test_half_the_context_as_stride_gives_the_probabilities_that_a_text_was_written_with():
    """The window of generation and of evaluation are one rule, so the likelihood of a text is what its writer saw."""
    for context in (1, 2, 7, 8):
        model = tiny(context=context)
        written, log_p = [1, 2, 3], []
        for step in steps(model, written, 30, rng=0):
            log_p.append(mg.log_softmax(step.logits).data[0, step.tokens[0]])
            written.append(int(step.tokens[0]))
        np.testing.assert_allclose(-token_losses(model, written, max(1, context // 2))[2:], log_p, rtol=1e-10)


def test_the_perplexity_of_a_model_that_knows_nothing_is_the_size_of_the_vocabulary():
    assert perplexity(Table(np.zeros((7, 7)), 8), TEXT) == pytest.approx(7)


def test_bits_per_character_do_not_depend_on_how_many_tokens_the_text_was_cut_into():
    assert bits_per_character(100 * math.log(2), 50) == 2


def test_measuring_leaves_the_mode_of_the_model_and_uses_no_dropout():
    model = tiny(dropout=0.5).train()
    assert token_losses(model, TEXT).tolist() == token_losses(model, TEXT).tolist()
    assert model.training


def test_what_cannot_be_measured_is_refused():
    for measure in (token_losses, predictive_entropy, model_calibration):
        for ids in ([1], [[1, 2]], []):
            with pytest.raises(ValueError, match="two token ids or more in one row"):
                measure(tiny(), ids)
        with pytest.raises(ValueError, match="stride=9; expected 1 to 8"):
            measure(tiny(), TEXT, stride=9)


# Entropy and calibration -----------------------------------------------------------------------------------------------


def test_entropy_is_that_of_the_distribution():
    p = np.array([[0.5, 0.25, 0.125, 0.125], [1.0, 0.0, 0.0, 0.0], [0.25] * 4])
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(entropy(np.log(p) + 3.0), np.array([1.75, 0.0, 2.0]) * math.log(2), atol=1e-15)


def test_the_predictive_entropy_is_that_of_each_prediction():
    table = Table(np.random.default_rng(0).normal(size=(7, 7)), 8)
    np.testing.assert_allclose(predictive_entropy(table, TEXT, stride=3), entropy(table.logits[TEXT[:-1]]))


@pytest.mark.slow
def test_the_loss_of_text_that_a_model_wrote_itself_is_its_entropy():
    """On average over its own samples, −log p is the entropy, by definition; a model that is sure and wrong fails this."""
    from transformer import generate

    model = tiny(context=16)
    written = generate(model, np.zeros((200, 1), int), 60, rng=0)
    gaps = np.concatenate([token_losses(model, row, 8)[1:] - predictive_entropy(model, row, 8)[1:] for row in written])
    assert abs(gaps.mean()) < 4 * gaps.std() / math.sqrt(len(gaps))


def test_the_calibration_error_is_the_mean_gap_between_confidence_and_accuracy():
    confidence = np.array([0.95, 0.95, 0.95, 0.55, 0.52, 0.1])
    correct = np.array([1, 1, 0, 1, 0, 0])
    found = calibration(confidence, correct, bins=10)
    np.testing.assert_allclose(found.confidence, [0.1, 0.535, 0.95])
    np.testing.assert_allclose(found.accuracy, [0, 0.5, 2 / 3])
    assert found.counts.tolist() == [1, 2, 3]
    assert found.error == pytest.approx((0.1 + 2 * 0.035 + 3 * (0.95 - 2 / 3)) / 6)


def test_bins_include_their_upper_edge_and_certainty_has_a_place():
    assert calibration([0.1, 0.10001, 1.0, 0.0], [0, 0, 1, 0]).counts.tolist() == [2, 1, 1]


def test_a_model_is_calibrated_on_text_drawn_from_itself_and_not_when_its_logits_are_doubled():
    rng, table = np.random.default_rng(0), Table(np.random.default_rng(1).normal(size=(7, 7)), 50)
    ids = [0]
    for _ in range(20_000):
        p = np.exp(table.logits[ids[-1]])
        ids.append(int(rng.choice(7, p=p / p.sum())))
    assert model_calibration(table, ids).error < 0.01
    assert model_calibration(Table(2 * table.logits, 50), ids).error > 0.1


def test_calibration_refuses_logits():
    with pytest.raises(ValueError, match=r"from -1\.0 to 2\.0; expected probabilities"):
        calibration([-1.0, 2.0], [0, 1])
    with pytest.raises(ValueError, match="one of each"):
        calibration([], [])
    with pytest.raises(ValueError, match="one of each"):
        calibration([0.5], [1, 0])


def test_the_reliability_plot_has_accuracy_over_confidence_and_the_share_of_predictions_below():
    found = calibration([0.95, 0.95, 0.95, 0.55, 0.52, 0.1], [1, 1, 0, 1, 0, 0])
    upper, lower = plots.plot_reliability(found).axes
    line = next(line for line in upper.lines if line.get_label() == "model")
    np.testing.assert_allclose(line.get_xdata(), found.confidence)
    np.testing.assert_allclose(line.get_ydata(), found.accuracy)
    np.testing.assert_allclose([bar.get_height() for bar in lower.patches], [1 / 6, 2 / 6, 3 / 6])
    assert upper.get_title() == f"expected calibration error {100 * found.error:.1f} %"


# Texts -----------------------------------------------------------------------------------------------------------------


def test_distinct_n_counts_different_n_grams_over_all_texts_and_none_across_two():
    assert distinct_n([["a", "b", "a", "b"]], 2) == 2 / 3
    assert distinct_n([["a", "b"], ["a", "b"]], 2) == 1 / 2
    assert distinct_n([[1, 2, 3], [4]], 2) == 1
    assert distinct_n([np.array([1, 1, 1])], 1) == 1 / 3
    assert math.isnan(distinct_n([["a"]], 2))


def test_distinct_n_refuses_one_text_that_is_not_wrapped():
    for text in ("abab", ["a", "b"], [1, 2]):
        with pytest.raises(TypeError, match="wrap one text in a list"):
            distinct_n(text)


def test_the_repetition_rate_is_the_share_of_n_grams_said_before():
    assert repetition_rate(list("abcdefgh"), 4) == 0
    assert repetition_rate(["so"] * 104, 4) == 100 / 101
    assert repetition_rate(list("abcdabcd"), 4) == 1 / 5
    assert repetition_rate(["a"], 4) == 0
    with pytest.raises(ValueError, match="n=0"):
        repetition_rate(["a"], 0)


def test_ngrams_are_runs():
    assert metrics.ngrams([1, 2, 3, 4], 3) == [(1, 2, 3), (2, 3, 4)]
