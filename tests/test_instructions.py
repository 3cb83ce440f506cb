"""Answers only: the prompt is read and never a target; what pads, how long rows are and how a batch is cut changes nothing."""

import numpy as np
import pytest
from small_models import certain, log_probability, tiny

import minigrad as mg
from transformer import GPT, CharTokenizer, Trainer
from transformer.data.corpora import IGNORE_INDEX
from transformer.training.instructions import Instructions, collate
from transformer.training.instructions import log_probability as row_log_probability
from transformer.training.objectives import parts
from transformer.training.settings import Settings

PAIRS = [([1, 2, 3], [4, 5]), ([6], [1, 2, 3]), ([2, 2], [6])]


def test_the_prompt_and_the_padding_are_no_targets():
    rows = collate(PAIRS)
    none = IGNORE_INDEX
    assert rows.inputs.tolist() == [[1, 2, 3, 4], [6, 1, 2, 3], [2, 2, 6, 0]]
    assert rows.targets.tolist() == [[none, none, 4, 5], [1, 2, 3, none], [none, 6, none, none]]
    assert collate(PAIRS, answers_only=False).targets.tolist() == [[2, 3, 4, 5], [1, 2, 3, none], [2, 6, none, none]]


def test_the_loss_is_the_mean_surprise_at_the_tokens_of_the_answers():
    model, objective = tiny(), Instructions(PAIRS, PAIRS, 8)
    expected = -sum(log_probability(model, *pair) for pair in PAIRS) / 6
    loss = objective.loss(model, collate(PAIRS)).item()
    np.testing.assert_allclose([loss, objective.evaluate(model)], expected, rtol=1e-12)
    np.testing.assert_allclose(row_log_probability(model, collate(PAIRS)).data, [log_probability(model, *p) for p in PAIRS])


def test_a_limit_of_evaluation_is_that_of_the_tokens_read_and_one_example_at_least():
    model, objective = tiny(), Instructions(PAIRS, PAIRS, 8)  # of 5, 4 and 3 tokens
    for limit, count in ((1, 1), (5, 1), (8, 1), (9, 2), (12, 3), (99, 3), (None, 3)):
        assert objective.evaluate(model, limit) == pytest.approx(Instructions(PAIRS, PAIRS[:count], 8).evaluate(model))


def test_an_example_may_have_one_token_more_than_the_context():
    assert np.isfinite(Instructions(PAIRS, [([1] * 5, [2] * 4)], 8).evaluate(tiny()))


def test_judging_counts_answers_only_however_the_model_was_trained():
    model = tiny()
    assert Instructions(PAIRS, PAIRS, 8, answers_only=False).evaluate(model) == Instructions(PAIRS, PAIRS, 8).evaluate(model)


def test_no_gradient_leads_to_a_token_of_the_prompt_as_a_target():
    logits = mg.Tensor(np.random.default_rng(0).normal(size=(3, 4, 7)), requires_grad=True)
    Instructions(PAIRS, PAIRS, 8).loss(lambda ids: logits, collate(PAIRS)).backward()
    counted = collate(PAIRS).targets != IGNORE_INDEX
    assert not logits.grad.data[~counted].any() and logits.grad.data[counted].any(axis=-1).all()


def test_its_gradients_are_those_of_finite_differences():
    """Of a model that is a table of logits after each token, so that a row of it is used in many places."""
    objective, rows = Instructions(PAIRS, PAIRS, 8), collate(PAIRS)
    assert mg.gradcheck(lambda table: objective.loss(lambda ids: mg.embedding(table, ids), rows), np.random.default_rng(0).normal(size=(7, 7)))


def test_a_batch_read_in_parts_gives_the_same_gradient_though_the_parts_have_answers_of_different_lengths():
    model, objective, batch = tiny(), Instructions(PAIRS, PAIRS, 8), collate(PAIRS)
    gradients = []
    for n in (1, 3):
        model.zero_grad()
        for part, weight in parts(objective, batch, n):
            objective.loss(model, part).backward(np.asarray(weight))
        gradients.append(np.concatenate([p.grad.data.ravel() for p in model.parameters()]))
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-12)


def test_exact_match_in_one_pass_is_what_greedy_writing_finds():
    model = certain(1, 2, 3, 0)
    found = Instructions(PAIRS[:1], [([0, 1], [2, 3]), ([0], [1, 3]), ([2], [3])], 8).test(model)
    assert found["exact match"].rate == 2 / 3


def test_a_model_learns_to_answer_and_shows_it(capsys):
    mg.manual_seed(0)
    tokenizer = CharTokenizer("abcd>")
    pairs = [(tokenizer.encode(f"{a}{b}>"), tokenizer.encode(b + a)) for a in "abcd" for b in "abcd"]
    objective = Instructions(pairs, pairs, 6, tokenizer)
    run = Trainer(GPT(5, 16, 2, 1, 6), objective, Settings(steps=150, lr=1e-2, batch_size=16, warmup=5, evaluate_every=150))
    run.train()
    assert run.evaluate() < 0.1 and objective.test(run.model)["exact match"].rate == 1
    assert "ab> → ba" in objective.sample(run.model, 1, np.random.default_rng(3)) or "> → " in run.sample()


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([], "no example"),
        ([([], [1])], "the prompt of example 0 is empty"),
        ([([1], [1]), ([1], [])], "the answer of example 1 is empty"),
        ([([1] * 5, [2] * 5)], r"5 \+ 5 tokens; a context of 8 holds 9"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(pairs, words):
    with pytest.raises(ValueError, match=words):
        Instructions(PAIRS, pairs, 8)
    with pytest.raises(ValueError, match=words):
        Instructions(pairs, PAIRS, 8)


def test_the_fingerprint_tells_other_examples_and_another_loss():
    moved = [([1, 2], [3, 4, 5]), *PAIRS[1:]]  # the same tokens, another border
    prints = [Instructions(pairs, PAIRS, 8, answers_only=only).fingerprint() for pairs, only in ((PAIRS, True), (moved, True), (PAIRS, False))]
    assert len(set(prints)) == 3 and prints[0] == Instructions(PAIRS, PAIRS, 8).fingerprint()
