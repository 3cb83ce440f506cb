"""The trainer: one schedule step for each batch, one optimizer step for each parameter, and a model that learns."""

import io
import sys

import numpy as np
import pytest
from small_models import Table

import minigrad as mg
from minigrad.optim import AdamW, warmup_cosine
from transformer import GPT, Trainer
from transformer.data.corpora import bigram_loss
from transformer.models.experts import imbalance, routings
from transformer.training import loop
from transformer.training.checkpoints import RunFolder
from transformer.training.classification import Classification, Labelled
from transformer.training.objectives import Balanced, LanguageModelling, Penalised
from transformer.training.settings import Settings
from transformer.training.workers import Workers

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


def test_the_rate_rises_over_half_of_a_short_run_at_most():
    run, schedule = trainer(steps=20, warmup=100), warmup_cosine(1e-3, 10, 20, 1e-4)
    assert [run.schedule(i) for i in range(20)] == [schedule(i) for i in range(20)]


def test_muon_moves_the_linear_maps_within_the_layers_and_adamw_all_else():
    run = trainer(optimizer="muon")
    names = {id(p): name for name, p in run.model.named_parameters()}
    moved = {names[id(p)] for p in run.optimizers[0].params}
    assert moved == {name for name in names.values() if name.startswith("layers.") and run.model.state_dict()[name].ndim == 2}
    assert len(moved) == 12 and sorted(names.values()) == sorted(names[id(p)] for o in run.optimizers for p in o.params)


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


@pytest.mark.parametrize("saved", [0, 7])
def test_a_good_checkpoint_is_named_where_there_is_one(saved, tmp_path):
    run = trainer()
    run.folder, run.saved = RunFolder(tmp_path), saved
    run.model.token_embedding.weight.data[:] = np.nan
    with pytest.raises(FloatingPointError) as told:
        run.step()
    assert str(told.value).count("last.npz holds step 7, the last good one") == bool(saved) == ("last good" in str(told.value))


@pytest.mark.parametrize("rank", [0, 1])
def test_one_process_alone_shows_the_bar_the_pace_and_the_messages(rank, monkeypatch):
    class Other(Workers):
        pass

    Other.rank = rank
    monkeypatch.setattr(loop.Pace, "FIRST", 1)
    monkeypatch.setattr(loop.Pace, "LAST", 2)
    run, shown = trainer(steps=8, evaluate_every=8), []
    run.output, run.workers = io.StringIO(), Other()
    run.train(show=shown.append)
    assert [words in " ".join(shown) for words in ("steps a second", "step     8  training loss")] == [rank == 0] * 2
    assert run.output.getvalue() == "" if rank else "8/8" in run.output.getvalue() and run.output.getvalue().endswith("\n")


def test_the_line_of_the_bar_ends_before_an_error_is_told():
    run = trainer()
    run.output = io.StringIO()
    run.model.token_embedding.weight.data[:] = np.nan
    with pytest.raises(FloatingPointError) as told:
        run.train()
    assert run.output.getvalue().endswith("\n") and told


def test_why_a_loss_is_no_program_is_told_once():
    class Deciding(LanguageModelling):
        def loss(self, model, batch, label_smoothing=0.0):
            loss = super().loss(model, batch, label_smoothing)
            return loss if loss.item() > 0 else -loss

    run, shown = trainer(steps=4, evaluate_every=2), []
    run.objective, run.output = Deciding(IDS[:400], IDS[400:], 8), io.StringIO()
    run.train(show=shown.append)
    assert ["trained step by step, without a program: program: the function reads" in message for message in shown] == [True, False]


def test_where_an_objective_measures_no_training_data_its_last_fifty_losses_are_shown():
    run = trainer()
    run.objective, run.losses = object(), [9.0] * 7 + [float(i) for i in range(50)]
    assert run.evaluate_seen() == 24.5


# Objectives -------------------------------------------------------------------------------------------------------------


def objectives():
    """Objectives, each with a model: for texts a table of logits, for classes of vectors a linear map."""
    rng = np.random.default_rng(0)
    text = LanguageModelling(IDS[:400], IDS[400:], 8)
    weighted = LanguageModelling(IDS[:400], IDS[400:], 8, weights=rng.random(400))
    known, unseen = (Labelled(rng.normal(size=(n, 6)), rng.integers(0, 4, n)) for n in (20, 17))
    mg.manual_seed(0)
    table, linear = Table(rng.normal(size=(8, 8))), mg.nn.Linear(6, 4)
    return {"text": (text, table), "weighted text": (weighted, table), "classes": (Classification(known, known, unseen=unseen), linear)}


@pytest.mark.parametrize("name", ["text", "weighted text", "classes"])
def test_label_smoothing_mixes_the_loss_with_that_of_all_classes_alike(name):
    objective, model = objectives()[name]
    batch = objective.batch(np.random.default_rng(1), 5)
    sharp, mixed, smooth = (objective.loss(model, batch, smoothing).item() for smoothing in (0.0, 0.3, 1.0))
    assert objective.loss(model, batch).item() == sharp != smooth
    assert mixed == pytest.approx(0.7 * sharp + 0.3 * smooth)


def test_a_penalty_is_added_to_the_plain_loss():
    objective, model = objectives()["text"]
    batch = objective.batch(np.random.default_rng(1), 5)
    assert Penalised(objective, lambda model, rng: mg.Tensor(2.0)).loss(model, batch).item() == objective.loss(model, batch).item() + 2


def test_an_unbalanced_use_of_experts_is_added_to_the_loss():
    objective, _ = objectives()["text"]
    model, batch = GPT(8, 8, 2, 1, 8, ffn="experts"), objective.batch(np.random.default_rng(1), 5)
    with routings(model) as kept:
        plain = objective.loss(model, batch)
    assert Balanced(objective, 0.5).loss(model, batch).item() == pytest.approx((plain + 0.5 * imbalance(kept)).item())


@pytest.mark.parametrize("weights", [np.full(400, 0.0), np.full(400, -1.0), np.full(400, np.nan), np.ones(399)])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="LanguageModelling: weights"):
        LanguageModelling(IDS[:400], IDS[400:], 8, weights=weights)


def test_the_scale_of_weights_does_not_matter():
    weights = np.random.default_rng(0).random(400)
    one, other = (LanguageModelling(IDS[:400], IDS[400:], 8, weights=w) for w in (weights, 5 * weights))
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-6)
    assert one.weights.mean() == pytest.approx(1)


def test_training_data_are_measured_at_their_end_over_as_many_tokens_as_validation():
    objective, model = objectives()["text"]
    for limit, length in ((None, 80), (30, 31), (500, 80)):
        assert objective.evaluate_seen(model, limit) == LanguageModelling(IDS[:400], IDS[400 - length : 400], 8).evaluate(model)


def test_the_fingerprint_of_a_text_sees_each_token_and_each_weight():
    def changed(place, array):
        array = array.copy()
        array[place] += 1
        return array

    train, validation, weights = IDS[:400], IDS[400:], np.ones(400)
    texts = [(train, validation), *((changed(i, train), validation) for i in (0, 200, 399)), (train, changed(50, validation))]
    prints = [LanguageModelling(*text, 8).fingerprint() for text in texts]
    prints += [LanguageModelling(*texts[0], 8, weights=w).fingerprint() for w in (weights, changed(7, weights))]
    assert len(set(prints)) == 7 and LanguageModelling(*texts[0], 8).fingerprint() == prints[0]


def test_a_classification_is_judged_on_what_it_has_not_seen():
    objective, model = objectives()["classes"]
    known, unseen = (np.mean(model(part.inputs).data.argmax(axis=1) == part.labels) for part in (objective.validation, objective.unseen))
    assert objective.test(model)["test accuracy"].rate == unseen != known == pytest.approx(1 - objective.evaluate(model))
    with pytest.raises(ValueError, match="no unseen examples"):
        Classification(objective.train, objective.train).test(model)


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
    parts = run("parts", stop_at=13)
    with parts.folder.log_file.open("a") as log:
        log.write("14,3.25,0.001,0.5,\n15,3.1")  # of steps after the checkpoint, as a crash would leave them
    parts = run("parts", resume=True)
    assert whole.losses == parts.losses and whole.validation == parts.validation
    assert whole.folder.log_file.read_bytes() == parts.folder.log_file.read_bytes()
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


def test_what_a_trainer_says_goes_where_it_is_told_or_to_standard_error():
    said, settings = io.StringIO(), Settings(steps=2, batch_size=2, warmup=0, evaluate_every=1)
    here = Trainer(GPT(8, 8, 2, 1, 8), LanguageModelling(IDS[:400], IDS[400:], 8), settings, output=said)
    here.train()
    assert here.output is said and "2/2" in said.getvalue()
    assert Trainer(GPT(8, 8, 2, 1, 8), LanguageModelling(IDS[:400], IDS[400:], 8), settings).output is sys.stderr
