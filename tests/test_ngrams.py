"""Models that count: equal to a definition written out with dictionaries, proper distributions, and refusals."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.data.ngrams import ngram_losses


def written_out(train, validation, V, n):
    """The formula, with dictionaries; a prefix of the validation text that is shorter than n − 1 is a shorter context."""
    followers = defaultdict(Counter)
    for length in range(n):
        for t in range(length, len(train)):
            followers[tuple(train[t - length : t])][train[t]] += 1

    def p(w, h):
        shorter = 1 / V if not h else p(w, h[1:])
        c = followers.get(h)
        return shorter if c is None else (c[w] + len(c) * shorter) / (sum(c.values()) + len(c))

    return [p(validation[t], tuple(validation[max(0, t - n + 1) : t])) for t in range(1, len(validation))], p


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(2, 30))
def test_ngrams_equal_the_formula_written_out(V, n, seed, long, short):
    rng = np.random.default_rng(seed)
    train, validation = rng.integers(0, V, long), rng.integers(0, V, short)
    losses = ngram_losses(train, validation, V, n)
    assert list(losses) == list(range(1, n + 1))
    for order, loss in losses.items():
        assert np.isclose(loss, -np.log(written_out(train.tolist(), validation.tolist(), V, order)[0]).mean(), rtol=1e-12)


def test_the_probabilities_after_a_context_add_up_to_one():
    train = np.random.default_rng(0).integers(0, 4, 200).tolist()
    _, p = written_out(train, [0, 1], 4, 4)
    for h in [(), (1,), (3, 2), (0, 1, 2)]:
        assert np.isclose(sum(p(w, h) for w in range(4)), 1)


def test_longer_contexts_help_on_a_text_that_has_them():
    text = np.tile([0, 1, 0, 2, 0, 1, 0, 3], 60)
    losses = ngram_losses(text[:400], text[400:], 4)
    assert losses[1] > 1.0 and losses[1] > losses[2] > losses[3] > losses[4] and losses[4] < 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0, 5], 5), "0 to 4"),
        (([0, -1], [0, 1], 5), "from -1"),
        (([0], [0, 1], 5), "too few"),
        (([0, 1], [0], 5), "too few"),
        (([0, 1], [0, 1], 5, 0), "longest is 0"),
    ],
)
def test_what_cannot_be_counted_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ngram_losses(*arguments)
