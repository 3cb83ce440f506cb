"""From logits to a distribution: each filter by its definition, their order, and ten thousand draws."""

import itertools

import numpy as np
import pytest
from small_models import Table, chi_square

from transformer import generate
from transformer.decoding.sampling import Sampling, draw, min_p_filter, penalise_repetition, temperature_filter, top_k_filter, top_p_filter


def logits_of(*probabilities):
    return np.log(np.array([probabilities]))


def kept(logits):
    return np.isfinite(logits[0]).tolist()


def test_top_p_keeps_the_token_that_crosses_p():
    logits = logits_of(0.2, 0.5, 0.05, 0.25)
    assert kept(top_p_filter(logits, 0.6)) == [False, True, False, True]
    assert kept(top_p_filter(logits, 0.8)) == [True, True, False, True]
    assert kept(top_p_filter(logits, 0.4)) == [False, True, False, False]
    assert kept(top_p_filter(logits, 1.0)) == [True] * 4


def test_top_p_keeps_the_most_likely_token_however_small_p_is():
    assert kept(top_p_filter(logits_of(0.3, 0.4, 0.3), 1e-9)) == [False, True, False]


def test_of_many_tokens_that_tie_the_nucleus_takes_the_first():
    keep = np.flatnonzero(kept(top_p_filter(np.tile([-9.0, 0.0], 50)[None], 0.1)))
    assert len(keep) >= 5 and keep.tolist() == list(range(1, 2 * len(keep), 2))


def test_top_p_works_row_by_row_and_leaves_its_input_alone():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]))
    before = logits.copy()
    assert np.isfinite(top_p_filter(logits, 0.75)).tolist() == [[True, True, False], [False, True, True]]
    assert np.array_equal(logits, before)


def test_top_k_keeps_k_tokens_and_those_that_tie_with_the_last():
    assert kept(top_k_filter(np.array([[1.0, 3.0, 2.0, 0.0]]), 2)) == [False, True, True, False]
    assert kept(top_k_filter(np.array([[1.0, 3.0, 1.0, 0.0]]), 2)) == [True, True, True, False]
    assert kept(top_k_filter(np.array([[1.0, 3.0]]), 5)) == [True, True]


def test_min_p_is_relative_to_the_most_likely_token():
    logits = logits_of(0.5, 0.3, 0.15, 0.05)
    assert kept(min_p_filter(logits, 0.2)) == [True, True, True, False]
    assert kept(min_p_filter(logits, 0.5)) == [True, True, False, False]
    assert kept(min_p_filter(logits, 1.0)) == [True, False, False, False]


def test_a_repetition_penalty_makes_seen_tokens_less_likely_whatever_the_sign_of_their_logit():
    out = penalise_repetition(np.array([[2.0, -2.0, 2.0, -2.0]]), np.array([[0, 1, 1]]), 2.0)
    assert out.tolist() == [[1.0, -4.0, 2.0, -2.0]]


def test_a_repetition_penalty_looks_at_each_row_alone():
    out = penalise_repetition(np.full((2, 3), 2.0), np.array([[0], [2]]), 2.0)
    assert out.tolist() == [[1.0, 2.0, 2.0], [2.0, 2.0, 1.0]]


def test_temperature_comes_before_the_nucleus():
    logits, seen = logits_of(0.5, 0.3, 0.2), np.zeros((1, 0), int)
    assert np.count_nonzero(Sampling(1.0, top_p=0.7).distribution(logits, seen)) == 2
    assert np.count_nonzero(Sampling(10.0, top_p=0.7).distribution(logits, seen)) == 3  # flatter first, so more tokens are needed
    assert np.count_nonzero(Sampling(0.2, top_p=0.7).distribution(logits, seen)) == 1


def test_the_nucleus_is_taken_of_what_top_k_leaves():
    p = Sampling(top_k=3, top_p=0.5).distribution(logits_of(0.4, 0.2, 0.2, 0.1, 0.1), np.zeros((1, 0), int))
    np.testing.assert_allclose(p, [[1, 0, 0, 0, 0]])  # 0.4 of the 0.8 that top-k left is the nucleus of 0.5


def test_the_penalty_comes_before_the_temperature():
    p = Sampling(0.5, repetition_penalty=4.0).distribution(np.array([[2.0, 1.0]]), np.array([[0]]))
    np.testing.assert_allclose(p[0], np.exp([1.0, 2.0]) / np.exp([1.0, 2.0]).sum())


def test_the_distribution_sums_to_one_whatever_the_filters():
    rng = np.random.default_rng(0)
    for temperature, k, p, low in itertools.product((0.0, 0.3, 5.0), (None, 1, 4), (None, 0.3, 1.0), (None, 0.0, 0.5)):
        q = Sampling(temperature, k, p, low, 1.3).distribution(rng.normal(size=(3, 9)).astype(np.float32), np.zeros((3, 1), int))
        np.testing.assert_allclose(q.sum(-1), 1)
        assert (q >= 0).all()


def test_huge_logits_do_not_overflow():
    p = Sampling(0.5, 2, 0.9, 0.01).distribution(np.array([[1e4, -1e4, 1e4 - 1]], np.float32), np.zeros((1, 0), int))
    assert np.isfinite(p).all() and p[0, 0] > 0.8


def test_top_p_of_one_keeps_even_tokens_too_unlikely_to_move_the_running_total():
    logits = np.array([[0.0, -45.0, -90.0]])
    assert kept(top_p_filter(logits, 1.0)) == [True] * 3
    assert kept(top_p_filter(logits, 1 - 1e-9)) == [True, False, False]


def test_a_nucleus_that_is_reached_exactly_takes_no_further_token_because_of_rounding():
    assert kept(top_p_filter(logits_of(0.7, 0.1, 0.1, 0.1), 0.8)) == [True, True, False, False]
    assert kept(top_p_filter(logits_of(0.3, 0.3, 0.3, 0.1), 0.9)) == [True, True, True, False]


def test_temperature_zero_leaves_the_first_of_the_most_likely_tokens_of_each_row():
    assert temperature_filter(np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]]), 0).tolist() == [[-np.inf, 0, -np.inf], [0, -np.inf, -np.inf]]


@pytest.mark.parametrize("temperature", [1e-300, 5e-324, 1e-6, 1e300])
def test_extreme_temperatures_neither_overflow_nor_give_nan(temperature):
    p = Sampling(temperature).distribution(np.array([[1.0, 3.0, 2.0]]), [[]])
    np.testing.assert_allclose(p, [[0, 1, 0]] if temperature < 1 else [[1 / 3] * 3], atol=1e-12)


def test_filters_compose_one_after_the_other_in_the_documented_order():
    chain = Sampling(0.5, 3, 0.9, 0.1, 1.2).filters([[0]])
    assert [f.func for f in chain] == [penalise_repetition, temperature_filter, top_k_filter, top_p_filter, min_p_filter]
    logits = np.array([[2.0, 1.0, 0.5, 0.0]])
    expected = logits
    for step in chain:
        expected = step(expected)
    p = np.exp(expected) / np.exp(expected).sum()
    np.testing.assert_allclose(Sampling(0.5, 3, 0.9, 0.1, 1.2).distribution(logits, [[0]]), p)


SEEN = np.array([[0]])
PAIRS = {  # two filters, in our order
    "penalty, temperature": (Sampling(0.5, repetition_penalty=3), lambda x: penalise_repetition(x, SEEN, 3), lambda x: temperature_filter(x, 0.5)),
    "penalty, top-k": (Sampling(top_k=1, repetition_penalty=9.0), lambda x: penalise_repetition(x, SEEN, 9.0), lambda x: top_k_filter(x, 1)),
    "temperature, top-p": (Sampling(3.0, top_p=0.6), lambda x: temperature_filter(x, 3.0), lambda x: top_p_filter(x, 0.6)),
    "temperature, min-p": (Sampling(3.0, min_p=0.5), lambda x: temperature_filter(x, 3.0), lambda x: min_p_filter(x, 0.5)),
    "top-k, top-p": (Sampling(top_k=3, top_p=0.8), lambda x: top_k_filter(x, 3), lambda x: top_p_filter(x, 0.8)),
    "top-p, min-p": (Sampling(top_p=0.8, min_p=0.3), lambda x: top_p_filter(x, 0.8), lambda x: min_p_filter(x, 0.3)),
}


@pytest.mark.parametrize(("sampling", "first", "second"), PAIRS.values(), ids=PAIRS)
def test_the_order_of_two_filters_is_ours_and_the_other_way_round_would_give_another_distribution(sampling, first, second):
    logits = np.array([[2.0, 1.4, 0.9, 0.6, -1.0]])
    right, wrong = (np.exp(x) / np.exp(x).sum() for x in (second(first(logits)), first(second(logits))))
    np.testing.assert_allclose(sampling.distribution(logits, SEEN), right, atol=1e-12)
    assert not np.allclose(right, wrong)


def test_the_input_of_a_filter_is_never_changed():
    logits = np.random.default_rng(0).normal(size=(3, 9))
    before = logits.copy()
    for step in Sampling(0.5, 3, 0.9, 0.1, 1.2).filters(np.zeros((3, 1), int)):
        step(logits)
    assert np.array_equal(logits, before)


def test_settings_read_in_the_order_in_which_they_act():
    assert str(Sampling()) == "sampling"
    assert str(Sampling(0)) == "greedy"
    assert str(Sampling(0.7, 40, 0.9, 0.05, 1.3)) == "temperature 0.7, top-k 40, top-p 0.9, min-p 0.05, repetition penalty 1.3"


# Ten thousand draws ----------------------------------------------------------------------------------------------------

PROBABILITIES = np.array([0.3, 0.22, 0.18, 0.12, 0.08, 0.05, 0.03, 0.02])


def by_definition(temperature=1.0, top_k=8, top_p=1.0, min_p=0.0):
    """The distribution that the papers describe, token by token, for falling probabilities."""
    p = PROBABILITIES ** (1 / temperature)
    p = p / p.sum()
    p[top_k:] = 0
    p = p / p.sum()
    total, nucleus = 0.0, 0
    while total < top_p - 1e-12 and nucleus < 8:
        total, nucleus = total + p[nucleus], nucleus + 1
    p[nucleus:] = 0
    p[p < min_p * p[0]] = 0
    return p / p.sum()


SAMPLERS = {
    "plain": {},
    "cooler": {"temperature": 0.7},
    "hotter": {"temperature": 2.0},
    "top-k": {"temperature": 1.5, "top_k": 5},
    "top-p": {"top_p": 0.8},
    "min-p": {"min_p": 0.3},
    "all": {"temperature": 1.2, "top_k": 6, "top_p": 0.9, "min_p": 0.2},
}


@pytest.mark.parametrize("options", SAMPLERS.values(), ids=SAMPLERS)
def test_ten_thousand_draws_follow_the_definition_of_the_sampler(options):
    shuffled = np.random.default_rng(1).permutation(8)  # so that the order of likelihood is not the order of ids
    row = np.empty(8)
    row[shuffled] = np.log(PROBABILITIES)
    drawn = generate(Table(np.tile(row, (8, 1))), np.zeros((100, 1), int), 100, rng=3, **options)[:, 1:]
    assert drawn.shape == (100, 100)
    counts = np.bincount(drawn.ravel(), minlength=8)[shuffled]
    assert chi_square(counts, 10_000 * by_definition(**options)) < 1


def test_ten_thousand_draws_under_a_repetition_penalty_follow_its_definition():
    logits = np.array([1.0, 0.5, -0.5, -1.0])
    drawn = generate(Table(np.tile(logits, (4, 1))), np.tile([0, 3], (10_000, 1)), 1, repetition_penalty=1.5, rng=5)[:, 2]
    p = np.exp([1.0 / 1.5, 0.5, -0.5, -1.0 * 1.5])
    assert chi_square(np.bincount(drawn, minlength=4), 10_000 * p / p.sum()) < 1


def test_a_draw_never_gives_a_token_of_probability_zero():
    p = np.array([[0.0, 0.5, 0.0, 0.5, 0.0]])
    for u in (0.0, 0.5 - 1e-17, 0.5, np.nextafter(1, 0)):
        assert draw(p, np.array([u]))[0] in (1, 3)
    assert draw(p, np.array([0.0])) == [1] and draw(p, np.array([np.nextafter(1, 0)])) == [3]


def test_greedy_is_what_takes_the_most_likely_token_whatever_was_seen():
    assert Sampling(0).greedy and Sampling(0, top_k=3).greedy
    assert not Sampling(0, repetition_penalty=2.0).greedy and not Sampling(0.5).greedy
