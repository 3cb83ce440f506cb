"""Direct preference optimisation: the loss against a formula written apart, its gradient four ways, a reference that stays, runs that resume."""

import numpy as np
import pytest
from small_models import log_probability, tiny

import minigrad as mg
from transformer import GPT, Trainer
from transformer.compression import add_adapters, remove_adapters
from transformer.training.checkpoints import RunFolder
from transformer.training.objectives import parts, rows
from transformer.training.preference import Preferences
from transformer.training.settings import Settings

PAIRS = [([1, 2, 3], [4, 5], [5, 4, 1]), ([6], [1, 2, 3], [2]), ([2, 2], [6], [3, 3]), ([1], [5, 5], [6, 1])]


def reference():
    return tiny(seed=1)


def batch_of(objective):
    """The batch of all pairs, drawn by a generator that says so."""

    class Fixed:
        integers = staticmethod(lambda low, high, size: np.arange(len(PAIRS)))

    return objective.batch(Fixed(), len(PAIRS))


def by_hand(model, ref, beta, smoothing=0.0):
    """The mean loss from log-probabilities of one row at a time."""
    losses = []
    for prompt, chosen, rejected in PAIRS:
        r = [beta * (log_probability(model, prompt, y) - log_probability(ref, prompt, y)) for y in (chosen, rejected)]
        right, wrong = (np.log1p(np.exp(-m)) for m in (r[0] - r[1], r[1] - r[0]))
        losses.append((1 - smoothing / 2) * right + smoothing / 2 * wrong)
    return np.mean(losses)


@pytest.mark.parametrize("beta", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_formula(beta, smoothing):
    model, ref = tiny(), reference()
    objective = Preferences(ref, PAIRS, PAIRS, beta)
    expected = by_hand(model, ref, beta, smoothing)
    np.testing.assert_allclose(objective.loss(model, batch_of(objective), smoothing).item(), expected, rtol=1e-12)
    if not smoothing:
        np.testing.assert_allclose(objective.evaluate(model), expected, rtol=1e-12)


def test_before_training_the_loss_is_that_of_a_coin():
    model = tiny()
    objective = Preferences(model, PAIRS, PAIRS, 0.7)
    assert np.isclose(objective.evaluate(model), np.log(2)) and np.isclose(objective.loss(model, batch_of(objective)).item(), np.log(2))


def test_its_gradients_are_those_of_finite_differences():
    """Of a model that is a table of logits after each token, so that a row of it is used in many places, for and against."""
    objective = Preferences(reference(), PAIRS, PAIRS, 0.8)
    batch = batch_of(objective)
    table = np.random.default_rng(0).normal(size=(7, 7))
    assert mg.gradcheck(lambda table: objective.loss(lambda ids: mg.embedding(table, ids), batch, 0.1), table)


@pytest.mark.torch
def test_the_loss_and_its_gradient_are_pytorchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    objective = Preferences(reference(), PAIRS, PAIRS, 0.6)
    batch = batch_of(objective)
    both = [rng.normal(size=(*part.inputs.shape, 7)) for part in (batch.chosen, batch.rejected)]
    ours = [mg.Tensor(z, requires_grad=True) for z in both]
    waiting = list(ours)
    loss = objective.loss(lambda ids: waiting.pop(0), batch)
    loss.backward()
    theirs, log_p = [torch.tensor(z, requires_grad=True) for z in both], []
    for z, part in zip(theirs, (batch.chosen, batch.rejected)):
        targets = torch.tensor(part.targets)
        each = z.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
        log_p.append((each * (targets >= 0)).sum(1))
    change = torch.stack(log_p, 1) - torch.tensor(batch.reference)
    expected = -torch.nn.functional.logsigmoid(0.6 * (change[:, 0] - change[:, 1])).mean()
    expected.backward()
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-12)
    for mine, other in zip(ours, theirs):
        np.testing.assert_allclose(mine.grad.data, other.grad.numpy(), atol=1e-14)


def test_far_off_margins_neither_overflow_nor_lose_their_gradient():
    model = tiny()
    objective = Preferences(reference(), PAIRS, PAIRS, 1e6)
    loss = objective.loss(model, batch_of(objective))
    loss.backward()
    assert np.isfinite(loss.item()) and all(np.isfinite(p.grad.data).all() for p in model.parameters())
    assert np.isfinite(objective.evaluate(model))


def test_the_reference_is_read_once_and_may_be_the_model_itself(capsys):
    mg.manual_seed(0)
    model = GPT(7, 16, 2, 1, 8, dropout=0.2)
    objective = Preferences(model, PAIRS, PAIRS, 0.5)
    before = objective.training_reference.copy(), objective.fingerprint()
    again = Preferences(model, PAIRS, PAIRS, 0.5).training_reference
    assert np.array_equal(before[0], again)  # without dropout
    run = Trainer(model, objective, Settings(steps=60, lr=1e-2, batch_size=8, warmup=5, evaluate_every=60))
    run.train()
    assert np.array_equal(objective.training_reference, before[0]) and objective.fingerprint() == before[1]
    found = objective.test(model)
    assert found["loss"] < 0.3 < np.log(2) and found["reward accuracy"].rate == 1 and found["reward margin"] > 1
    np.testing.assert_allclose(found["reward margin"], 0.5 * (found["log p of chosen"] - found["log p of rejected"]), rtol=1e-4)


def test_a_batch_read_in_parts_keeps_pairs_together():
    model, objective = tiny(), Preferences(reference(), PAIRS, PAIRS, 0.8)
    batch, gradients = batch_of(objective), []
    assert rows(batch) == len(PAIRS)
    for n in (1, 2, 4):
        model.zero_grad()
        for part, weight in parts(objective, batch, n):
            assert len(part.reference) == rows(part.chosen) == rows(part.rejected) == len(PAIRS) // n
            objective.loss(model, part).backward(np.asarray(weight))
        gradients.append(np.concatenate([p.grad.data.ravel() for p in model.parameters()]))
    for other in gradients[1:]:
        np.testing.assert_allclose(other, gradients[0], atol=1e-12)


@pytest.mark.slow
def test_a_run_in_parts_has_the_losses_of_one_that_was_not_stopped(tmp_path, capsys):
    config = dict(vocab_size=7, embedding_dim=16, num_heads=2, num_layers=1, context_length=8)

    def run(name, accumulate=1, stop_at=None, resume=False):
        mg.manual_seed(0)
        model = GPT(**config)
        settings = Settings(steps=12, lr=1e-2, batch_size=4, warmup=2, evaluate_every=6, accumulate=accumulate)
        t = Trainer(model, Preferences(model, PAIRS, PAIRS, 0.5), settings, RunFolder(tmp_path / name))
        if resume:
            t.resume()
        else:
            t.folder.create({"model": config}, None)
        one = t.step

        def step():
            row = one()
            t.stopping = row[0] == stop_at
            return row

        t.step = step
        t.train()
        return t

    whole = run("whole")
    run("parts", stop_at=7)
    assert run("parts", resume=True).losses == whole.losses
    np.testing.assert_allclose(run("accumulated", accumulate=2).losses, whole.losses, rtol=1e-4)


def test_the_trainer_records_the_loss_as_a_program_and_replays_it_rightly():
    mg.manual_seed(0)
    model = GPT(7, 16, 2, 1, 8)
    objective = Preferences(tiny(), PAIRS, PAIRS, 0.5)
    run = Trainer(model, objective, Settings(steps=9, batch_size=4))
    for seed in range(6):  # the same shapes again with other numbers, and other shapes
        batch = objective.batch(np.random.default_rng(seed), 4)
        model.zero_grad()
        value = run.gradients(batch, 1.0)
        mine = [p.grad.data.copy() for p in model.parameters()]
        model.zero_grad()
        loss = objective.loss(model, batch)
        loss.backward()
        np.testing.assert_allclose(value, loss.item(), rtol=1e-6)
        for a, p in zip(mine, model.parameters(), strict=True):
            np.testing.assert_allclose(a, p.grad.data, atol=1e-6)


def test_adapters_learn_a_preference_and_leave_the_reference_beneath_them(capsys):
    mg.manual_seed(0)
    model = GPT(7, 16, 2, 1, 8)
    objective, before = Preferences(model, PAIRS, PAIRS, 0.5), model.state_dict()
    before = {name: array.copy() for name, array in before.items()}
    add_adapters(model, 2)
    Trainer(model, objective, Settings(steps=60, lr=2e-2, batch_size=8, warmup=5, evaluate_every=60)).train()
    assert objective.test(model)["reward accuracy"].rate == 1
    remove_adapters(model)
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
    assert np.isclose(objective.evaluate(model), np.log(2))


@pytest.mark.parametrize("beta", [0.0, -1.0, np.nan, np.inf])
def test_a_beta_that_means_nothing_is_refused(beta):
    with pytest.raises(ValueError, match="beta="):
        Preferences(tiny(), PAIRS, PAIRS, beta)


def test_examples_that_cannot_be_read_are_refused_before_the_reference_reads():
    for pairs, words in (([], "no example"), ([([1], [2], [])], "answer of example 0 is empty"), ([([1], [2], [1] * 9)], "a context of 8")):
        with pytest.raises(ValueError, match=words):
            Preferences(tiny(), PAIRS, pairs)
