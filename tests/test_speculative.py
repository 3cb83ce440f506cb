"""Speculative decoding writes what the target alone would write."""

import itertools
from collections import Counter

import numpy as np
import pytest
from small_models import Table, certain, chi_square, log_probability, tiny

from transformer import GPT, generate
from transformer.decoding.sampling import Sampling
from transformer.decoding.speculative import residual, speculative_generate
from transformer.models.gpt import POSITIONS


def random_table(seed, vocab=4, sharp=1.5, context=16):
    return Table(sharp * np.random.default_rng(seed).normal(size=(vocab, vocab)), context)


def test_acceptance_and_residual_together_give_the_targets_distribution():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p, q = rng.dirichlet(np.full(6, 0.5), size=2)
        p[rng.integers(6)] = 0
        p /= p.sum()
        accepted = q * np.minimum(1, p / q)
        np.testing.assert_allclose(accepted + (1 - accepted.sum()) * residual(p, q), p, atol=1e-12)


def test_a_draft_that_is_the_target_leaves_a_residual_that_is_still_a_distribution():
    p = np.array([0.25, 0.75])
    assert residual(p, p).sum() == 1


SETTINGS = {"plain": {}, "cooler, top-k": {"temperature": 0.7, "top_k": 3}, "nucleus": {"top_p": 0.8}, "min-p": {"temperature": 1.3, "min_p": 0.2}}


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("lookahead", [1, 4])
@pytest.mark.slow
def test_ten_thousand_tokens_follow_the_targets_distribution_after_each_token(lookahead, options):
    target, draft = random_table(1), random_table(2)
    written = speculative_generate(target, draft, [0], 10_000, rng=lookahead, lookahead=lookahead, **options)
    assert len(written.ids) == 10_001 and 0 < written.accepted < written.proposed
    for before in range(4):
        p = Sampling(**options).distribution(target.logits[before][None], [[]])[0]
        counts = np.bincount(written.ids[1:][written.ids[:-1] == before], minlength=4)
        if np.count_nonzero(p) > 1:
            assert chi_square(counts, counts.sum() * p) < 1
        else:
            assert counts.sum() == counts[p.argmax()]


@pytest.mark.slow
def test_whole_texts_have_the_probability_that_the_target_gives_them():
    target, draft = tiny(vocab=3, seed=1), tiny(vocab=3, seed=2, context=4)
    rng = np.random.default_rng(0)
    texts = Counter(tuple(speculative_generate(target, draft, [0, 1], 3, rng=rng, lookahead=2).ids[2:].tolist()) for _ in range(1000))
    all_texts = list(itertools.product(range(3), repeat=3))
    expected = [1000 * np.exp(log_probability(target, [0, 1], text)) for text in all_texts]
    assert chi_square([texts[text] for text in all_texts], expected) < 1


@pytest.mark.slow
def test_a_repetition_penalty_is_that_of_each_prefix():
    """The proposals of one round are seen by those after them."""
    target, draft = random_table(3, sharp=1.0), random_table(4, sharp=1.0)
    rng = np.random.default_rng(1)
    counts = Counter(
        tuple(speculative_generate(target, draft, [0], 2, repetition_penalty=3.0, rng=rng, lookahead=3).ids[1:].tolist()) for _ in range(3000)
    )
    sampling, expected = Sampling(repetition_penalty=3.0), {}
    for a, b in itertools.product(range(4), repeat=2):
        first = sampling.distribution(target.logits[0][None], [[0]])[0, a]
        expected[a, b] = 3000 * first * sampling.distribution(target.logits[a][None], [[0, a]])[0, b]
    assert chi_square([counts[pair] for pair in expected], list(expected.values())) < 1


@pytest.mark.slow
@pytest.mark.parametrize("scheme", list(POSITIONS))
def test_greedy_speculation_equals_greedy_decoding_token_for_token_beyond_both_contexts(scheme):
    target = tiny(positions=scheme, context=8)
    for context, seed in ((4, 3), (5, 0), (16, 1)):
        draft = tiny(positions=scheme, context=context, seed=seed)
        for cached in (True, False):
            written = speculative_generate(target, draft, [1, 2, 3], 40, temperature=0, use_cache=cached, lookahead=3)
            assert written.ids.tolist() == generate(target, [1, 2, 3], 40, temperature=0).tolist()


def test_cached_speculation_equals_uncached_with_the_same_seed():
    target, draft = tiny(seed=0), tiny(seed=5, context=5)
    a, b = (speculative_generate(target, draft, [1], 60, rng=3, use_cache=cached) for cached in (True, False))
    assert a.ids.tolist() == b.ids.tolist() and a[1:] == b[1:]


def test_a_draft_that_guesses_right_saves_calls_of_the_target():
    model = certain(1, 2, 3, 0)
    written = speculative_generate(model, model, [0], 20, lookahead=4, rng=0)
    assert written.ids.tolist() == [0, *[1, 2, 3, 0] * 5]
    assert (written.calls, written.accepted, written.proposed) == (4, 16, 16)  # 4 guesses and one for nothing, each time
    wrong = speculative_generate(model, certain(0, 0, 0, 0), [0], 20, lookahead=4, rng=0)
    assert wrong.ids.tolist() == written.ids.tolist() and wrong.calls > written.calls


def test_speculation_ends_at_a_stop_even_in_the_middle_of_what_was_accepted():
    model = certain(1, 2, 3, 0)
    for stop in (1, 2, 3):  # the first of what was accepted, or a later one
        assert speculative_generate(model, model, [0], 20, stop=stop, rng=0).ids.tolist() == [0, *range(1, stop + 1)]
    assert speculative_generate(model, model, [0], 20, stop_sequences=[[2, 3]], rng=0).ids.tolist() == [0, 1, 2, 3]
    assert speculative_generate(model, model, [2, 3], 5, stop_sequences=[[3, 0]], rng=0).ids.tolist() == [2, 3, 0, 1, 2, 3, 0]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_no_more_tokens_than_were_asked_for(count):
    assert len(speculative_generate(tiny(), tiny(seed=1), [1], count, rng=0).ids) == 1 + count


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="7 tokens, the draft 5; they need the same tokenizer"):
        speculative_generate(tiny(), tiny(vocab=5), [1], 3)
    with pytest.raises(ValueError, match="one prompt"):
        speculative_generate(tiny(), tiny(), [[1], [2]], 3)
    with pytest.raises(ValueError, match="lookahead=0"):
        speculative_generate(tiny(), tiny(), [1], 3, lookahead=0)
    with pytest.raises(ValueError, match="top_p=2"):
        speculative_generate(tiny(), tiny(), [1], 3, top_p=2)
    with pytest.raises(IndexError, match="outside the vocabulary"):
        speculative_generate(GPT(7, 8, 2, 1, 8), tiny(), [99], 3)
