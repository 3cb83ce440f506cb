"""The trainer: one schedule step for each batch, one optimizer step for each parameter, and a model that learns."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.optim import AdamW, warmup_cosine
from transformer import GPT, Trainer
from transformer.data.corpora import bigram_loss
from transformer.training.objectives import LanguageModelling
from transformer.training.settings import Settings

IDS = np.tile(np.array([3, 1, 4, 1, 5, 2, 6, 5]), 60)


def trainer(**settings):
    mg.manual_seed(0)
    model = GPT(8, 16, 2, 2, 8)
    options = Settings(**{"steps": 60, "batch_size": 4, "evaluate_every": 30, "warmup": 5, **settings})
    return Trainer(model, LanguageModelling(IDS[:400], IDS[400:], 8), options)


def test_the_schedule_moves_once_for_each_batch_and_not_once_for_each_parameter():
    run = trainer(steps=20, lr=3e-3, min_lr=1e-4)
    schedule = warmup_cosine(3e-3, 5, 20, 1e-4)
    assert [run.step()[2] for _ in range(20)] == [schedule(i) for i in range(20)]


def test_the_optimizers_count_batches():
    run = trainer()
    for _ in range(3):
        run.step()
    assert [optimizer.steps for optimizer in run.optimizers] == [3, 3]


def test_decay_acts_on_matrices_only():
    run = trainer()
    assert {p.ndim for p in run.optimizers[0].params} == {2} and run.optimizers[0].weight_decay > 0
    assert {p.ndim for p in run.optimizers[1].params} == {1} and run.optimizers[1].weight_decay == 0


def test_the_first_adam_step_has_the_size_of_the_learning_rate_for_every_parameter():
    parameters = [mg.nn.Parameter(np.zeros(2)), mg.nn.Parameter(np.zeros(3)), mg.nn.Parameter(np.zeros(4))]
    optimizer = AdamW(parameters, 0.1, weight_decay=0.0)
    mg.concatenate(parameters).sum().backward()
    optimizer.step()
    for p in parameters:
        np.testing.assert_allclose(p.data, -0.1, rtol=1e-5)


def test_a_pattern_that_repeats_is_learned_beyond_what_pairs_can_tell(capsys):
    run = trainer(steps=150, lr=5e-3)
    run.train()
    assert run.evaluate() < 0.5 * bigram_loss(IDS[:400], IDS[400:], 8)


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(capsys):
    losses = []
    for seed in (1, 1, 2):
        run = trainer(steps=5, seed=seed)
        run.train()
        losses.append(run.losses)
    assert losses[0] == losses[1] != losses[2]


def test_a_loss_that_is_not_finite_stops_the_run_with_a_cure():
    run = trainer()
    run.model.token_embedding.weight.data[:] = np.nan
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        run.step()


def test_tied_logits_have_a_gradient():
    logits = mg.Tensor(np.zeros((1, 4)), requires_grad=True)
    mg.cross_entropy(logits, [2]).backward()
    np.testing.assert_allclose(logits.grad.data, [[0.25, 0.25, -0.75, 0.25]])


def test_a_stop_on_an_evaluation_step_still_evaluates_so_that_the_log_is_that_of_the_whole_run(tmp_path, capsys):
    from transformer import CharTokenizer
    from transformer.training.checkpoints import RunFolder

    def run(name, stop_at):
        folder = RunFolder(tmp_path / name)
        t = trainer(steps=20, evaluate_every=5)
        t.folder = folder
        folder.create({"model": {}}, CharTokenizer("abcdefgh"))
        one = t.step

        def step():
            row = one()
            t.stopping = row[0] == stop_at
            return row

        t.step = step
        t.train()
        return folder.read_log()

    whole = run("whole", None)
    assert run("stopped", 10) == whole[:10] and whole[9][-1]
    assert run("between", 12) == whole[:12]


def test_the_average_is_the_mean_that_its_formula_gives():
    from transformer.training.averaging import WeightAverage

    p = mg.nn.Parameter(np.zeros(3))
    average, path = WeightAverage([p], 0.8), np.random.default_rng(0).normal(size=(60, 3))
    expected = np.zeros(3)
    for t, value in enumerate(path, 1):
        p.data[...] = value
        average.step()
        beta = min(0.8, (t - 1) / (t + 8))
        expected = beta * expected + (1 - beta) * p.data
        with average.applied():
            np.testing.assert_allclose(p.data, expected, rtol=1e-5, atol=1e-6)
            if t == 1:
                np.testing.assert_allclose(p.data, value, rtol=1e-6)  # no trace of the start
        np.testing.assert_allclose(p.data, value, rtol=1e-6)


def test_averaging_changes_what_is_evaluated_and_not_the_path_of_training(capsys):
    plain = trainer(steps=40)
    plain.train()
    averaged = trainer(steps=40, average=0.9)
    averaged.train()
    assert plain.losses == averaged.losses
    assert plain.evaluate() != averaged.evaluate()
    weights = [p.data.copy() for p in averaged.model.parameters()]
    with averaged.averaged():
        assert any(not np.array_equal(p.data, w) for p, w in zip(averaged.model.parameters(), weights, strict=True))
    assert all(np.array_equal(p.data, w) for p, w in zip(averaged.model.parameters(), weights, strict=True))
    assert all(np.array_equal(p.data, q.data) for p, q in zip(plain.model.parameters(), averaged.model.parameters(), strict=True))


def test_the_best_checkpoint_holds_the_average_and_a_resumed_run_continues_it(tmp_path, capsys):
    from transformer import CharTokenizer
    from transformer.training.checkpoints import RunFolder

    def run(name, stop_at=None, resume=False):
        folder = RunFolder(tmp_path / name)
        t = trainer(steps=20, evaluate_every=10, average=0.9)
        t.tokenizer, t.folder = CharTokenizer("abcdefgh"), folder
        if resume:
            t.resume()
        else:
            folder.create({"model": dict(vocab_size=8, embedding_dim=16, num_heads=2, num_layers=2, context_length=8)}, t.tokenizer)
        one = t.step

        def step():
            row = one()
            t.stopping = row[0] == stop_at
            return row

        t.step = step
        t.train()
        return t

    whole = run("whole")
    run("parts", stop_at=13)
    parts = run("parts", resume=True)
    assert whole.losses == parts.losses and whole.validation == parts.validation
    with whole.averaged():
        expected = {name: array.copy() for name, array in whole.model.state_dict().items()}
    best = RunFolder(tmp_path / "parts").load_model()[0].state_dict()
    assert whole.progress.best_step == 20 and all(np.array_equal(best[name], expected[name]) for name in expected)


@pytest.mark.parametrize("average", [-0.1, 1.0, 2.0])
def test_an_average_that_never_forgets_or_never_remembers_is_refused(average):
    with pytest.raises(ValueError, match=f"average={average}"):
        trainer(average=average)


def test_ids_in_the_place_of_an_objective_are_refused_with_the_call_that_is_meant():
    with pytest.raises(TypeError, match=r"LanguageModelling\(train_ids"):
        Trainer(GPT(5, 8, 2, 1, 4), np.arange(20) % 5)
