"""Beam search, against the enumeration of every text."""

import itertools

import numpy as np
import pytest
from small_models import Table, certain, log_probability, tiny

from transformer import GPT, beam_search, generate
from transformer.decoding.beams import beam_hypotheses, largest
from transformer.models.gpt import POSITIONS


@pytest.mark.parametrize("seed", range(4))
def test_beam_search_with_enough_beams_finds_the_most_likely_text_of_all(seed):
    model = tiny(vocab=4, seed=seed)
    best = max(itertools.product(range(4), repeat=4), key=lambda c: log_probability(model, [1, 2], c))
    assert beam_search(model, [1, 2], 4, num_beams=64).tolist() == [1, 2, *best]


@pytest.mark.slow
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
    with pytest.raises(ValueError, match="max_new_tokens=-1; expected a whole number, 0 or more"):
        beam_search(GPT(5, 4, 1, 1, 4), [1], -1, 2)


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0, -1.0])
def test_the_scores_of_all_hypotheses_equal_those_of_the_enumeration(length_penalty):
    model = tiny(vocab=3, seed=1)
    texts = [c for n in range(1, 5) for c in itertools.product(range(3), repeat=n) if 2 not in c[:-1] and (n == 4 or c[-1] == 2)]
    expected = sorted(((log_probability(model, [1, 0], c) / len(c) ** length_penalty, c) for c in texts), reverse=True)
    found = beam_hypotheses(model, [1, 0], 4, 81, length_penalty, stop=2)
    assert tuple(found[0].ids[2:]) == expected[0][1]
    scores = dict(expected_text for expected_text in ((c, s) for s, c in expected))
    for hypothesis in found:
        c = tuple(hypothesis.ids[2:].tolist())
        np.testing.assert_allclose(hypothesis.score, scores[c], rtol=1e-12)
        np.testing.assert_allclose(hypothesis.log_probability, log_probability(model, [1, 0], c), rtol=1e-12)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_without_a_stop_all_texts_are_enumerated_and_their_probabilities_sum_to_one():
    found = beam_hypotheses(tiny(vocab=3), [1], 3, 27)
    assert len({tuple(h.ids) for h in found}) == 27
    np.testing.assert_allclose(sum(np.exp(h.log_probability) for h in found), 1)


@pytest.mark.parametrize("scheme", list(POSITIONS))
def test_cached_beams_equal_uncached_ones_beyond_the_context(scheme):
    model = tiny(positions=scheme)
    for beams in (1, 3, 8):
        a, b = (beam_hypotheses(model, [1, 2, 3], 20, beams, 0.8, stop=4, use_cache=cached) for cached in (True, False))
        assert [h.ids.tolist() for h in a] == [h.ids.tolist() for h in b]
        np.testing.assert_allclose([h.score for h in a], [h.score for h in b], rtol=1e-10)


def test_beams_of_a_stop_sequence_and_of_several_stops_end_there():
    model = certain(1, 2, 3, 0)
    assert beam_search(model, [0], 9, 3, stop_sequences=[[2, 3]]).tolist() == [0, 1, 2, 3]
    assert beam_search(model, [0], 9, 3, stop=[3, 2]).tolist() == [0, 1, 2]


def test_the_largest_values_come_in_falling_order_and_of_equal_ones_the_first():
    values = np.tile([1.0, 2.0], 50)
    for count in (40, 50, 100, 120):
        assert largest(values, count).tolist() == sorted(range(100), key=lambda i: (-values[i], i))[:count]


def test_as_many_beams_go_on_as_were_asked_for_even_when_the_likeliest_tokens_all_end_the_text():
    p = np.array([[0.05, 0.5, 0.4, 0.05]] * 4)  # 1 and 2 end; 0 and 3 go on
    found = beam_hypotheses(Table(np.log(p)), [0], 2, 2, length_penalty=0.0, stop=[1, 2])
    assert {tuple(h.ids[1:]) for h in found} >= {(1,), (2,)}
    longer = beam_hypotheses(Table(np.log(p)), [0], 2, 1, length_penalty=4.0, stop=[1, 2])
    assert {len(h.ids) for h in longer} == {2, 3}


def test_the_search_goes_on_while_a_longer_text_could_overtake_the_finished_one_and_no_longer():
    p = np.array([[0.0001, 0.5, 0.4999], [1e-9, 1e-9, 1.0], [1.0, 1e-9, 1e-9]])  # 0 ends at once (2), or by way of 1
    model, calls = Table(np.log(p)), []
    forward = model.forward
    model.forward = lambda *args, **options: calls.append(1) or forward(*args, **options)
    assert beam_search(model, [0], 500, 3, length_penalty=1.0, stop=2).tolist() == [0, 1, 2]  # log(0.5)/2 beats log 0.4999
    calls.clear()
    assert beam_search(model, [0], 500, 3, length_penalty=0.0, stop=2).tolist() == [0, 1, 2]  # 0.5 beats 0.4999
    assert len(calls) == 2


def test_an_unlikely_beginning_is_kept_while_a_certain_continuation_could_still_lift_its_mean():
    p = np.array([[1e-9, 0.05, 0.95], [1e-9, 1.0, 1e-9], [1e-9, 1e-9, 1.0]])  # 1 goes on for ever, each time for sure
    assert beam_search(Table(np.log(p)), [0], 100, 2, length_penalty=1.0, stop=2).tolist() == [0, *[1] * 100]  # log(0.05)/100 beats log 0.95


def test_the_cache_is_used_one_new_token_for_each_beam():
    model, widths = tiny(context=30), []
    forward = model.forward
    model.forward = lambda ids, **options: widths.append(ids.shape) or forward(ids, **options)
    beam_search(model, [1, 2, 3], 5, 4)
    assert widths[0] == (1, 3) and set(widths[1:]) == {(4, 1)}  # a program calls the model to be recorded and compared
