"""Writing text: the filters, greedy and sampled decoding, the cache beyond the context, beam search."""

import itertools
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, nn, no_grad
from transformer import GPT, beam_search, generate
from transformer.checks import shaken
from transformer.generation import min_p_filter, next_distribution, penalise_repetition, stream, top_k_filter, top_p_filter
from transformer.models.decoder_only import POSITIONS


@pytest.fixture(autouse=True)
def same_weights_each_time():
    mg.manual_seed(0)


def tiny(vocab=7, context=8, seed=0, **options):
    """A model with opinions: float64, every parameter away from its start."""
    return shaken(GPT(vocab, 8, 2, 1, context, **options), np.random.default_rng(seed)).eval()


class Table(nn.Module):
    """A language model with a fixed row of logits after each token."""

    def __init__(self, logits, context_length=1000):
        self.logits, self.context_length = np.asarray(logits, np.float64), context_length

    def forward(self, ids, cache=None):
        return Tensor(self.logits[ids])


def logits_of(*probabilities):
    return np.log(np.array([probabilities]))


def kept(logits):
    return np.isfinite(logits[0]).tolist()


# Filters --------------------------------------------------------------------------------------------------------------


def test_top_p_keeps_the_token_that_crosses_p():
    logits = logits_of(0.2, 0.5, 0.05, 0.25)
    assert kept(top_p_filter(logits, 0.6)) == [False, True, False, True]
    assert kept(top_p_filter(logits, 0.8)) == [True, True, False, True]
    assert kept(top_p_filter(logits, 0.4)) == [False, True, False, False]
    assert kept(top_p_filter(logits, 1.0)) == [True] * 4


def test_top_p_keeps_the_most_likely_token_however_small_p_is():
    assert kept(top_p_filter(logits_of(0.3, 0.4, 0.3), 1e-9)) == [False, True, False]


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
    assert np.count_nonzero(next_distribution(logits, seen, 1.0, top_p=0.7)) == 2
    assert np.count_nonzero(next_distribution(logits, seen, 10.0, top_p=0.7)) == 3  # flatter first, so more tokens are needed
    assert np.count_nonzero(next_distribution(logits, seen, 0.2, top_p=0.7)) == 1


def test_the_nucleus_is_taken_of_what_top_k_leaves():
    p = next_distribution(logits_of(0.4, 0.2, 0.2, 0.1, 0.1), np.zeros((1, 0), int), top_k=3, top_p=0.5)
    np.testing.assert_allclose(p, [[1, 0, 0, 0, 0]])  # 0.4 of the 0.8 that top-k left is the nucleus of 0.5


def test_the_penalty_comes_before_the_temperature():
    p = next_distribution(np.array([[2.0, 1.0]]), np.array([[0]]), temperature=0.5, repetition_penalty=4.0)
    np.testing.assert_allclose(p[0], np.exp([1.0, 2.0]) / np.exp([1.0, 2.0]).sum())


def test_the_distribution_sums_to_one_whatever_the_filters():
    rng = np.random.default_rng(0)
    for temperature, k, p, low in itertools.product((0.0, 0.3, 5.0), (None, 1, 4), (None, 0.3, 1.0), (None, 0.0, 0.5)):
        q = next_distribution(rng.normal(size=(3, 9)).astype(np.float32), np.zeros((3, 1), int), temperature, k, p, low, 1.3)
        np.testing.assert_allclose(q.sum(-1), 1)
        assert (q >= 0).all()


def test_huge_logits_do_not_overflow():
    p = next_distribution(np.array([[1e4, -1e4, 1e4 - 1]], np.float32), np.zeros((1, 0), int), 0.5, 2, 0.9, 0.01)
    assert np.isfinite(p).all() and p[0, 0] > 0.8


# Sampling -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.7}, {"temperature": 1.5, "top_k": 5}, {"top_p": 0.8}, {"min_p": 0.3}],
    ids=["plain", "cooler", "top-k", "top-p", "min-p"],
)
def test_ten_thousand_draws_follow_the_distribution(options):
    row = np.log(np.array([0.3, 0.22, 0.18, 0.12, 0.08, 0.05, 0.03, 0.02]))
    p = np.exp(row / options.get("temperature", 1.0))
    order = np.argsort(-p)
    p = p / p.sum()
    if "top_k" in options:
        p[order[5:]] = 0
    if "top_p" in options:
        p[order[np.searchsorted(np.cumsum(p[order]), 0.8) + 1 :]] = 0
    if "min_p" in options:
        p[p < 0.3 * p.max()] = 0
    p = p / p.sum()
    drawn = generate(Table(np.tile(row, (8, 1))), np.zeros((100, 1), int), 100, rng=3, **options)[:, 1:]
    assert drawn.shape == (100, 100)
    counts = np.bincount(drawn.ravel(), minlength=8)
    assert (counts[p == 0] == 0).all()
    alive = p > 0
    chi_square = ((counts - 10_000 * p)[alive] ** 2 / (10_000 * p[alive])).sum()
    assert chi_square < {2: 10.8, 3: 13.8, 4: 16.3, 5: 18.5, 7: 24.3}.get(alive.sum() - 1, 24.3)  # 1 in 1000


def test_each_draw_follows_the_token_before_it():
    certain = np.full((4, 4), -50.0)
    certain[[0, 1, 2, 3], [2, 3, 1, 0]] = 50.0
    assert generate(Table(certain), [0], 8, rng=0).tolist() == [0, 2, 1, 3, 0, 2, 1, 3, 0]


def test_the_same_seed_writes_the_same_text_and_another_seed_another():
    model = tiny()
    a, b, c = (generate(model, [1, 2], 40, rng=seed) for seed in (5, 5, 6))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    mg.manual_seed(9)
    first = generate(model, [1, 2], 20)
    mg.manual_seed(9)
    assert np.array_equal(generate(model, [1, 2], 20), first)


def test_greedy_is_temperature_zero_the_argmax_at_each_step_and_needs_no_seed():
    model = tiny(context=30)
    ids = [1, 2]
    for _ in range(20):
        with no_grad():
            ids.append(int(model([ids]).data[0, -1].argmax()))
    assert generate(model, [1, 2], 20, temperature=0).tolist() == ids
    assert generate(model, [1, 2], 20, temperature=0, rng=4).tolist() == ids
    assert generate(model, [1, 2], 20, temperature=1e-6, rng=4).tolist() == ids
    assert generate(model, [1, 2], 20, top_k=1, rng=4).tolist() == ids


@pytest.mark.parametrize("scheme", list(POSITIONS))
@pytest.mark.parametrize("prompt", [[1], [1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4]])
def test_cached_generation_equals_uncached_token_for_token_beyond_the_context(scheme, prompt):
    model = tiny(positions=scheme)
    a, b = (generate(model, prompt, 40, use_cache=cached, rng=7) for cached in (True, False))
    assert len(a) == len(prompt) + 40
    assert np.array_equal(a, b)


def test_a_context_of_one_token_still_generates():
    model = tiny(context=1)
    assert np.array_equal(generate(model, [1, 2], 9, rng=0), generate(model, [1, 2], 9, rng=0, use_cache=False))


def test_generation_ends_after_a_stop_token():
    certain = np.full((4, 4), -50.0)
    certain[[0, 1, 2, 3], [1, 2, 3, 0]] = 50.0
    assert generate(Table(certain), [0], 9, stop=3, rng=0).tolist() == [0, 1, 2, 3]
    assert generate(Table(certain), [0], 9, stop=[3, 2], rng=0).tolist() == [0, 1, 2]
    assert generate(Table(certain), [3], 2, stop=3, rng=0).tolist() == [3, 0, 1]  # a stop token in the prompt ends nothing
    assert generate(Table(certain), [0], 0, rng=0).tolist() == [0]


def test_a_row_that_ended_is_filled_with_its_stop_token_while_the_others_go_on():
    certain = np.full((4, 4), -50.0)
    certain[[0, 1, 2, 3], [1, 2, 3, 0]] = 50.0
    assert generate(Table(certain), [[0], [2]], 9, stop=3, rng=0).tolist() == [[0, 1, 2, 3], [2, 3, 3, 3]]


def test_rows_of_a_batch_are_written_independently():
    model = tiny()
    together = generate(model, [[1, 2], [3, 4], [5, 6]], 20, temperature=0)
    for row, prompt in zip(together, ([1, 2], [3, 4], [5, 6]), strict=True):
        assert np.array_equal(row, generate(model, prompt, 20, temperature=0))
    sampled = generate(model, [[1, 2]] * 4, 20, rng=0)
    assert len({tuple(row) for row in sampled.tolist()}) > 1


def test_stream_gives_the_tokens_of_generate_one_step_at_a_time():
    model = tiny()
    steps = list(stream(model, [[1, 2], [3, 4]], 12, rng=2))
    assert np.array_equal(np.stack(steps, axis=1), generate(model, [[1, 2], [3, 4]], 12, rng=2)[:, 2:])


def test_the_model_returns_to_its_former_mode_even_when_generation_is_broken_off():
    model = tiny()
    for mode in (True, False):
        model.train(mode)
        generate(model, [1], 3, rng=0)
        assert all(m.training is mode for m in model.modules())
        beam_search(model, [1], 3, 2)
        assert all(m.training is mode for m in model.modules())
        steps = stream(model, [1], 9, rng=0)
        next(steps)
        steps.close()
        assert model.training is mode
        with pytest.raises(IndexError):
            generate(model, [99], 3, rng=0)
        assert model.training is mode


def test_generation_in_training_mode_with_dropout_warns_and_writes_without_dropout():
    model = tiny(dropout=0.5)
    expected = generate(model, [1], 20, rng=0)
    model.train()
    with pytest.warns(UserWarning, match=r"model\.eval\(\)"):
        assert np.array_equal(generate(model, [1], 20, rng=0), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generate(model.eval(), [1], 2, rng=0)


def test_generation_leaves_no_graph_and_no_gradient_behind():
    model = tiny()
    generate(model, [1], 5, rng=0)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": -1}, "temperature=-1"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_p": 0}, "top_p=0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"min_p": 2}, "min_p=2"),
        ({"repetition_penalty": 0}, "repetition_penalty=0"),
        ({"max_new_tokens": -1}, "max_new_tokens=-1"),
        ({"prompt_ids": []}, "at least one token"),
    ],
)
def test_settings_out_of_range_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        generate(**{"model": tiny(), "prompt_ids": [1], "max_new_tokens": 3, **options})


def test_a_prompt_of_text_or_floats_is_refused():
    for prompt in ([0.5], ["a"]):
        with pytest.raises(TypeError, match="encode text"):
            generate(tiny(), prompt, 3)


# Beam search ----------------------------------------------------------------------------------------------------------


def log_probability(model, prompt, continuation):
    ids = np.array([[*prompt, *continuation]])
    with no_grad():
        log_p = mg.log_softmax(model(ids[:, :-1])).data[0]
    return sum(log_p[len(prompt) - 1 + i, token] for i, token in enumerate(continuation))


@pytest.mark.parametrize("seed", range(4))
def test_beam_search_with_enough_beams_finds_the_most_likely_text_of_all(seed):
    model = tiny(vocab=4, seed=seed)
    best = max(itertools.product(range(4), repeat=4), key=lambda c: log_probability(model, [1, 2], c))
    assert beam_search(model, [1, 2], 4, num_beams=64).tolist() == [1, 2, *best]


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_beam_search_with_a_stop_token_compares_by_length_normalised_scores(seed, length_penalty):
    model = tiny(vocab=4, seed=seed)
    candidates = [c for n in range(1, 5) for c in itertools.product(range(4), repeat=n) if 3 not in c[:-1] and (n == 4 or c[-1] == 3)]
    best = max(candidates, key=lambda c: log_probability(model, [1, 2], c) / len(c) ** length_penalty)
    assert beam_search(model, [1, 2], 4, 64, length_penalty, stop=3).tolist() == [1, 2, *best]


def test_a_length_penalty_favours_longer_texts():
    p = np.array([[0.6, 0.4], [0.5, 0.5]])  # after 0: end (1) with 0.4, or go on with 0.6
    model = Table(np.log(p))
    assert beam_search(model, [0], 4, 8, length_penalty=0.0, stop=1).tolist() == [0, 1]
    assert beam_search(model, [0], 4, 8, length_penalty=1.0, stop=1).tolist() == [0, 0, 0, 0, 0]


def test_one_beam_is_greedy_and_more_beams_never_score_less_than_it_here():
    model = tiny(context=20)
    greedy = generate(model, [1, 2], 8, temperature=0)
    assert np.array_equal(beam_search(model, [1, 2], 8, 1), greedy)
    wide = beam_search(model, [1, 2], 8, 30)
    assert log_probability(model, [1, 2], wide[2:]) >= log_probability(model, [1, 2], greedy[2:])


def test_beam_search_refuses_a_batch_and_no_beams():
    with pytest.raises(ValueError, match="one prompt"):
        beam_search(tiny(), [[1], [2]], 3, 2)
    with pytest.raises(ValueError, match="num_beams=0"):
        beam_search(tiny(), [1], 3, 0)


def test_beam_search_refuses_a_negative_length():
    with pytest.raises(ValueError, match="max_new_tokens=-1; expected 0 or more"):
        beam_search(GPT(5, 4, 1, 1, 4), [1], -1, 2)
