"""Writing text: greedy and sampled decoding, batches of different lengths, the cache beyond the context, where it stops."""

import warnings

import numpy as np
import pytest
from small_models import Table, certain, tiny

import minigrad as mg
from minigrad import no_grad
from transformer import beam_search, generate
from transformer.decoding.generate import steps
from transformer.decoding.speculative import speculative_generate
from transformer.models.gpt import POSITIONS


def test_each_draw_follows_the_token_before_it():
    assert generate(certain(2, 3, 1, 0), [0], 8, rng=0).tolist() == [0, 2, 1, 3, 0, 2, 1, 3, 0]


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
    model = certain(1, 2, 3, 0)
    assert generate(model, [0], 9, stop=3, rng=0).tolist() == [0, 1, 2, 3]
    assert generate(model, [0], 9, stop=[3, 2], rng=0).tolist() == [0, 1, 2]
    assert generate(model, [3], 2, stop=3, rng=0).tolist() == [3, 0, 1]  # a stop token in the prompt ends nothing
    assert generate(model, [0], 0, rng=0).tolist() == [0]


def test_a_row_that_ended_is_filled_with_its_stop_token_while_the_others_go_on():
    model = certain(1, 2, 3, 0)
    assert generate(model, [[0], [2]], 9, stop=3, rng=0).tolist() == [[0, 1, 2, 3], [2, 3, 3, 3]]


def test_rows_of_a_batch_are_written_independently():
    model = tiny()
    together = generate(model, [[1, 2], [3, 4], [5, 6]], 20, temperature=0)
    for row, prompt in zip(together, ([1, 2], [3, 4], [5, 6]), strict=True):
        assert np.array_equal(row, generate(model, prompt, 20, temperature=0))
    sampled = generate(model, [[1, 2]] * 4, 20, rng=0)
    assert len({tuple(row) for row in sampled.tolist()}) > 1


def test_steps_give_the_tokens_of_generate_one_at_a_time():
    model = tiny()
    columns = [step.tokens for step in steps(model, [[1, 2], [3, 4]], 12, rng=2)]
    assert np.array_equal(np.stack(columns, axis=1), generate(model, [[1, 2], [3, 4]], 12, rng=2)[:, 2:])


def test_the_model_returns_to_its_former_mode_even_when_generation_is_broken_off():
    model = tiny()
    for mode in (True, False):
        model.train(mode)
        generate(model, [1], 3, rng=0)
        assert all(m.training is mode for m in model.modules())
        beam_search(model, [1], 3, 2)
        assert all(m.training is mode for m in model.modules())
        broken_off = steps(model, [1], 9, rng=0)
        next(broken_off)
        broken_off.close()
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


# Batches of different lengths ------------------------------------------------------------------------------------------

PROMPTS = [[1], [2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4], [6, 5, 4], [1, 2, 3, 4, 5, 6, 0, 1]]


def naive(model, prompt, count, options, seed):
    """What the definition says: no batch, no cache, no padding; the window of ``decoding.window``, written out."""
    ids, rng, context = list(prompt), np.random.default_rng(seed), model.context_length
    for _ in range(count):
        start = 0
        while len(ids) - start > context:
            start += max(1, context // 2)
        with no_grad():
            logits = model(np.array([ids[start:]])).data[0, -1] / options.get("temperature", 1.0)
        logits[np.argsort(-logits, kind="stable")[options.get("top_k", len(logits)) :]] = -np.inf
        totals = np.cumsum(np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum())
        ids.append(int(np.searchsorted(totals, rng.random() * totals[-1], side="right")))
    return ids


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5, "top_k": 3}, {"top_k": 1}], ids=["plain", "top-k", "greedy"])
@pytest.mark.parametrize("scheme", list(POSITIONS))
@pytest.mark.slow
def test_a_cached_batch_of_different_lengths_equals_each_row_alone_uncached_far_beyond_the_context(scheme, options):
    model = tiny(positions=scheme)
    seeds = range(len(PROMPTS))
    together = generate(model, PROMPTS, 40, rng=list(seeds), **options)
    uncached = generate(model, PROMPTS, 40, rng=list(seeds), use_cache=False, **options)
    for row, other, prompt, seed in zip(together, uncached, PROMPTS, seeds, strict=True):
        alone = naive(model, prompt, 40, options, seed)
        assert row.tolist() == alone
        assert other.tolist() == alone
        assert generate(model, prompt, 40, rng=seed, **options).tolist() == alone


@pytest.mark.parametrize("context", [1, 2, 3, 7])
def test_a_batch_of_different_lengths_agrees_with_each_row_alone_for_odd_and_tiny_contexts(context):
    model = tiny(context=context, positions="sinusoidal", num_kv_heads=1, norm="rms", ffn="swiglu")
    together = generate(model, PROMPTS, 20, rng=list(range(5)))
    assert [row.tolist() for row in together] == [naive(model, prompt, 20, {}, seed) for seed, prompt in enumerate(PROMPTS)]


def test_padding_is_no_token_that_a_repetition_penalty_has_seen():
    model = tiny(context=40)
    prompts = [[1], [2, 3, 4, 5, 6]]  # padded with token 0
    together = generate(model, prompts, 20, repetition_penalty=5.0, rng=[1, 2])
    for seed, (row, prompt) in enumerate(zip(together, prompts, strict=True), 1):
        assert row.tolist() == generate(model, prompt, 20, repetition_penalty=5.0, rng=seed).tolist()


def test_the_cache_is_used_one_new_token_for_each_row_until_the_window_slides():
    model, widths = tiny(context=8), []
    forward = model.forward
    model.forward = lambda ids, **options: widths.append(ids.shape[1]) or forward(ids, **options)
    generate(model, [[1, 2, 3], [4, 5]], 12, rng=0)
    assert widths == [3, 1, 1, 1, 1, 1, 8, 6, 1, 1, 8, 6]  # each row's window slides after its eighth token, on its own


def test_the_logits_of_a_left_padded_batch_are_those_of_each_row_alone():
    for scheme in POSITIONS:
        model = tiny(positions=scheme)
        mask = np.array([[0, 0, 0, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1]])
        ids = np.random.default_rng(0).integers(0, 7, mask.shape)
        padded = model(ids, attention_mask=mask).data
        for row, keep, logits in zip(ids, mask.astype(bool), padded, strict=True):
            np.testing.assert_allclose(logits[keep], model(row[None, keep]).data[0], rtol=1e-12, atol=1e-12)
        other = np.where(mask, ids, (ids + 3) % 7)
        np.testing.assert_array_equal(model(other, attention_mask=mask).data[:, -1], padded[:, -1])  # whatever stands in the padding


def test_padding_takes_part_in_no_gradient():
    model = tiny()
    ids, mask = np.array([[5, 1, 2], [1, 2, 3]]), np.array([[0, 1, 1], [1, 1, 1]])
    (model(ids, attention_mask=mask) * mask[..., None]).sum().backward()
    padded = {name: p.grad.data.copy() for name, p in model.named_parameters()}
    model.zero_grad()
    (model(ids[:1, 1:]).sum() + model(ids[1:]).sum()).backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(padded[name], p.grad.data, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ([[1, 1, 0]], "row 0 does not end in tokens.*pad on the left"),
        ([[0, 1, 1], [1, 0, 1]], "row 1 .*[1, 0, 1].*pad on the left"),
        ([[0, 0, 0]], "row 0 does not end in tokens"),
        ([[1, 1]], r"attention_mask \(1, 2\); expected \(1, 3\)"),
        ([[2, 1, 1]], "expected 1 for tokens and 0 for padding, got 2"),
    ],
)
def test_an_attention_mask_that_is_no_left_padding_is_refused(mask, words):
    with pytest.raises(ValueError, match=words):
        tiny()(np.ones((len(mask), 3), int), attention_mask=mask)


def test_prompts_of_different_lengths_give_a_list_that_ends_where_each_row_ends():
    model = certain(1, 2, 3, 0)
    got = generate(model, [[0], [0, 1], [3, 0, 1, 2]], 5, stop=3, rng=0)
    assert [row.tolist() for row in got] == [[0, 1, 2, 3], [0, 1, 2, 3], [3, 0, 1, 2, 3]]
    assert isinstance(generate(model, [[0, 1], [1, 2]], 2, rng=0), np.ndarray)


def test_each_row_has_its_own_randomness_when_given_a_list_of_seeds():
    model = tiny()
    rows = generate(model, [[1], [2, 3], [1]], 20, rng=[4, 5, 4])
    assert rows[0].tolist() == rows[2].tolist() == generate(model, [1], 20, rng=4).tolist()
    with pytest.raises(ValueError, match="2 random generators for 3 rows"):
        generate(model, [[1], [2, 3], [1]], 20, rng=[4, 5])


def test_prompts_that_are_no_rows_of_ids_are_refused():
    for prompts, error in (([[1], []], ValueError), ([[[1]]], ValueError), (3, ValueError), ([], ValueError), ([1, [2]], ValueError),
                           ("text", TypeError), ([["a"], ["b", "c"]], TypeError), ([[1], [0.5, 2]], TypeError)):  # fmt: skip
        with pytest.raises(error, match=r"generate: .*prompt"):
            generate(tiny(), prompts, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error_and_not_a_text(bad):
    model = Table([[0.0, 1.0], [bad, 0.0]])
    for write in (lambda: generate(model, [[0], [1]], 3, rng=0), lambda: beam_search(model, [1], 3, 2),
                  lambda: speculative_generate(model, model, [1], 3)):  # fmt: skip
        with pytest.raises(FloatingPointError, match="not finite"):
            write()


def test_a_row_that_rules_out_every_token_is_an_error_beside_a_row_that_does_not():
    with pytest.raises(FloatingPointError, match="not finite"):
        generate(Table([[0.0, 1.0], [-np.inf, -np.inf]]), [[0], [1]], 3, rng=0)


def test_tokens_that_the_model_rules_out_are_never_written():
    model = Table([[0.0, -np.inf, 0.0]] * 3)
    assert 1 not in generate(model, [0], 200, rng=0, temperature=1.5, top_p=0.9, repetition_penalty=2.0)
    assert 1 not in beam_search(model, [0], 5, 3)


# Where it stops --------------------------------------------------------------------------------------------------------


def test_generation_ends_after_a_stop_sequence_of_several_tokens():
    model = certain(1, 2, 3, 0)
    assert generate(model, [0], 9, stop_sequences=[[2, 3]], rng=0).tolist() == [0, 1, 2, 3]
    assert generate(model, [0], 9, stop_sequences=[[3, 1], [3, 0, 1]], rng=0).tolist() == [0, 1, 2, 3, 0, 1]
    assert generate(model, [0], 9, stop=3, stop_sequences=[[0, 1]], rng=0).tolist() == [0, 1, 2, 3]
    assert generate(model, [0], 5, stop_sequences=[[3, 1]], rng=0).tolist() == [0, 1, 2, 3, 0, 1]


def test_a_stop_sequence_must_lie_wholly_in_the_new_text():
    assert generate(certain(1, 2, 3, 0), [1, 2], 6, stop_sequences=[[2, 3]], rng=0).tolist() == [1, 2, 3, 0, 1, 2, 3]


def test_a_row_that_ended_at_a_sequence_repeats_its_last_token_in_an_array():
    assert generate(certain(1, 2, 3, 0), [[0], [1]], 9, stop_sequences=[[2, 3]], rng=0).tolist() == [[0, 1, 2, 3], [1, 2, 3, 3]]


def test_stops_that_are_no_ids_are_refused_before_anything_is_written():
    for options in ({"stop_sequences": [[]]}, {"stop_sequences": ["ab"]}, {"stop": 0.5}, {"stop": "a"}):
        with pytest.raises(ValueError, match="a stop is a token id"):
            generate(tiny(), [1], 3, **options)


def test_a_step_tells_the_logits_and_the_probabilities_that_its_token_was_drawn_from():
    model = tiny()
    ids = [1, 2]
    from transformer.decoding.sampling import Sampling

    sampling = Sampling(0.5, top_k=3, repetition_penalty=2.0)
    for step in steps(model, ids, 5, sampling, rng=0):
        with no_grad():
            logits = model(np.array([ids])).data[0, -1]
        np.testing.assert_allclose(step.logits[0], logits)
        np.testing.assert_allclose(step.probabilities, sampling.distribution(logits[None], [ids]))
        assert step.probabilities[0, step.tokens[0]] > 0 and step.alive.all()
        ids.append(int(step.tokens[0]))
