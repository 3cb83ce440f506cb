"""The cures: what they do to data, to the loss and to a model, and that each is an option of the trainer."""

import io

import numpy as np
import pytest

import minigrad as mg
from minigrad.nn import functional_call
from minigrad.random import generator
from transformer import GPT, CharTokenizer, Trainer
from transformer.bias import corpus, experiment, results
from transformer.bias.experiment import BASELINE, SWAPPED_IDS, TOKENIZER, Cure, Result
from transformer.bias.reduce import CounterfactualPenalty, additional, augmented, balanced_weights, project_out, running_pairs
from transformer.training.checkpoints import RunFolder
from transformer.training.objectives import LanguageModelling, Penalised
from transformer.training.settings import Settings

FOUND = corpus.sentences(0.5, 8, seed=0)
IDS = corpus.ids_of(FOUND, TOKENIZER)
TEXTS = [(s.text, s.twin.text) for s in FOUND]


def balance(found):
    """Male minus female sentences of each occupation."""
    return {job: sum(1 if s.male else -1 for s in found if s.occupation == job and s.male is not None) for job in (*corpus.OCCUPATIONS, None)}


def small_gpt(dtype=np.float32):
    mg.manual_seed(0)
    return GPT(TOKENIZER.vocab_size, 8, 2, 1, 24).astype(dtype)


# Data --------------------------------------------------------------------------------------------------------------------


def test_weights_let_he_and_she_weigh_the_same_in_every_occupation():
    weights = balanced_weights(FOUND, TOKENIZER)
    assert weights.shape == IDS.shape
    starts = np.cumsum([0, *(len(s.text.split()) for s in FOUND)])[:-1]
    for job in corpus.OCCUPATIONS:
        sums = [sum(weights[start] for start, s in zip(starts, FOUND) if s.occupation == job and s.male is male) for male in (True, False)]
        np.testing.assert_allclose(sums, 4)
    assert all(weights[start] == 1 for start, s in zip(starts, FOUND) if s.male is None)


def test_no_weight_can_balance_what_never_occurs():
    with pytest.raises(ValueError, match="only male sentences; no weight balances them, add data"):
        balanced_weights([s for s in FOUND if s.occupation == "pilot" and s.male], TOKENIZER)


def test_additional_data_are_what_lacks_and_no_more():
    rng = np.random.default_rng(0)
    both = additional(FOUND, corpus.sentences(0.0, 60, seed=9), rng)
    assert set(balance(both).values()) == {0}
    assert len(both) == len(FOUND) + 20 * 4  # of 8 sentences 6 and 2
    with pytest.raises(ValueError, match=r"more .* are needed than there are"):
        additional(FOUND, corpus.sentences(1.0, 8, seed=9), rng)


def test_augmentation_adds_each_twin_once_and_balances_exactly():
    both = augmented(FOUND, np.random.default_rng(0))
    assert set(balance(both).values()) == {0}
    assert len(both) == len(FOUND) + sum(s.male is not None for s in FOUND)
    assert len(augmented(FOUND, np.random.default_rng(0), 0.0)) == len(FOUND)
    with pytest.raises(ValueError, match="share"):
        augmented(FOUND, np.random.default_rng(0), 1.5)


# The trainer's options ---------------------------------------------------------------------------------------------------


def trainer(weights=None, penalty=None, ids=IDS, folder=None, **settings):
    options = {"steps": 6, "batch_size": 4, "evaluate_every": 3, "warmup": 2, **settings}
    objective = LanguageModelling(ids, ids[:200], 24, weights=weights)
    objective = objective if penalty is None else Penalised(objective, penalty)
    return Trainer(small_gpt(), objective, Settings(**options), folder=folder, output=io.StringIO())


def losses(run):
    return [run.step()[1] for _ in range(run.settings.steps)]


def test_equal_weights_and_a_penalty_of_zero_change_nothing():
    plain = losses(trainer())
    np.testing.assert_allclose(losses(trainer(weights=np.full(len(IDS), 7.0))), plain, rtol=1e-5)
    np.testing.assert_allclose(losses(trainer(penalty=lambda model, rng: mg.Tensor(0.0))), plain, rtol=1e-6)


def test_a_token_counts_as_often_as_its_weight_says():
    weights = np.random.default_rng(0).uniform(0, 2, len(IDS))
    run = trainer(weights=weights, batch_size=2)
    mg.manual_seed(5)
    found = run.objective.loss(run.model, run.objective.batch(generator(), 2)).item()
    starts = mg.manual_seed(5).integers(0, len(IDS) - 24, size=(2, 1))
    places = starts + np.arange(24)
    each = mg.cross_entropy(run.model(IDS[places]), IDS[places + 1], reduction="none").data
    np.testing.assert_allclose(found, (each * weights[places + 1]).mean() / weights.mean(), rtol=1e-5)


def test_tokens_of_weight_zero_are_not_learned():
    ids = np.tile([3, 1, 4, 2, 5, 9], 60)
    objective = LanguageModelling(ids, ids[:50], 24, weights=np.isin(ids, [1, 4]))
    run = Trainer(small_gpt(), objective, Settings(steps=60, lr=1e-2, warmup=5), output=io.StringIO())
    losses(run)
    each = mg.cross_entropy(run.model(ids[None, :24]), ids[None, 1:25], reduction="none").data[0]
    wanted = np.isin(ids[1:25], [1, 4])
    assert each[wanted].max() < 1 < 3 < each[~wanted].min()


@pytest.mark.parametrize("weights", [np.ones(3), np.zeros(len(IDS)), -np.ones(len(IDS)), np.full(len(IDS), np.nan)])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        trainer(weights=weights)


def test_a_penalised_and_weighted_run_resumes_bit_for_bit(tmp_path):
    def run(name, steps, resume=False):
        folder = RunFolder(tmp_path / name)
        penalty = CounterfactualPenalty(running_pairs(TEXTS, TOKENIZER, 24, np.random.default_rng(0)), 0.1)
        t = trainer(balanced_weights(FOUND, TOKENIZER), penalty, folder=folder, sample_tokens=0)
        if resume:
            t.resume()
        else:
            model = {"vocab_size": TOKENIZER.vocab_size, "embedding_dim": 8, "num_heads": 2, "num_layers": 1, "context_length": 24}
            folder.create({"model": model}, TOKENIZER)
        one = t.step

        def step():
            row = one()
            t.stopping = row[0] == steps
            return row

        t.step = step
        t.train()
        return t.losses

    whole = run("whole", 6)
    assert run("half", 3) == whole[:3] and run("half", 6, resume=True) == whole
    with pytest.raises(ValueError, match="another text"):
        t = trainer(np.ones(len(IDS)), folder=RunFolder(tmp_path / "half"))
        t.resume()


# The penalty -------------------------------------------------------------------------------------------------------------

PAIRS = running_pairs(TEXTS, TOKENIZER, 24, np.random.default_rng(0))


def test_pairs_are_the_sentences_in_their_running_text():
    text = list(IDS)
    for before, x, y in PAIRS[:40]:
        assert len(before) >= 1 and len(before) + len(x) <= 25
        np.testing.assert_array_equal(SWAPPED_IDS[x], y)
        row = [*before, *x]
        assert any(text[i : i + len(row)] == row for i in range(len(text) - len(row) + 1))
    assert len({len(before) for before, *_ in PAIRS}) > 5
    assert {len(before) for before, *_ in running_pairs(TEXTS, TOKENIZER, 24, np.random.default_rng(0), from_start=True)} == {1}


def test_pairs_of_unequal_length_fit_the_context_with_their_separator():
    tokenizer = CharTokenizer("\n .adehis")
    texts = [("he hid.", "she hid."), ("she said she hid.", "he said he hid."), ("a shed.", "a shed."), ("he had.", "she had.")]
    pairs = running_pairs(texts, tokenizer, 12, np.random.default_rng(0), "\n")
    assert [tokenizer.decode(x) for _, x, _ in pairs] == ["he had.\n"]  # the first has nothing before it, the second is too long, the third the same
    assert tokenizer.decode(pairs[0][2]) == "she had.\n" and len(pairs[0][0]) + len(pairs[0][2]) <= 13


def log_p(model, before, x):
    row = np.concatenate([before, x])
    table = mg.log_softmax(model(row[None, :-1])).data[0]
    return table[np.arange(len(row) - 1), row[1:]][len(before) - 1 :], table[len(before) - 1 :]


def drawn(seed, size):
    return [PAIRS[i] for i in np.random.default_rng(seed).integers(0, len(PAIRS), size)]


def test_the_ratio_penalty_is_the_mean_distance_of_the_log_probabilities():
    model = small_gpt(np.float64)
    found = CounterfactualPenalty(PAIRS, 0.5, batch_size=5)(model, np.random.default_rng(3)).item()
    gaps = [log_p(model, b, x)[0].sum() - log_p(model, b, y)[0].sum() for b, x, y in drawn(3, 5)]
    np.testing.assert_allclose(found, 0.5 * np.mean(np.abs(gaps)), rtol=1e-10)


def test_the_kl_penalty_compares_the_predictions_of_both_texts_with_their_words_swapped():
    model = small_gpt(np.float64)
    found = CounterfactualPenalty(PAIRS, 0.5, "kl", SWAPPED_IDS, batch_size=5)(model, np.random.default_rng(3)).item()
    total = 0.0
    for b, x, y in drawn(3, 5):
        p, q = log_p(model, b, x)[1], log_p(model, b, y)[1][:, SWAPPED_IDS]
        total += ((np.exp(p) * (p - q)).sum() + (np.exp(q) * (q - p)).sum()) / 2
    np.testing.assert_allclose(found, 0.5 * total / 5, rtol=1e-10)


@pytest.mark.parametrize("kind", ["ratio", "kl"])
def test_the_penalty_has_the_right_gradient(kind):
    mg.manual_seed(0)
    model, rng = GPT(5, 4, 2, 1, 4).astype(np.float64), np.random.default_rng(1)
    swapped = np.array([1, 0, 2, 3, 4])
    pairs = [(np.array([4]), x, swapped[x]) for x in (np.array([2, 0, 3]), np.array([1, 3, 1]))]
    penalty = CounterfactualPenalty(pairs, 0.7, kind, swapped, batch_size=3)

    def f(weight):  # the model's other parameters are checked elsewhere
        return functional_call(model, {"token_embedding.weight": weight}, lambda: penalty(model, np.random.default_rng(4)))

    report = mg.gradcheck(f, rng.normal(size=(5, 4)), rtol=1e-5)
    assert report, report


def test_a_model_that_treats_both_alike_pays_nothing():
    model = small_gpt()
    for p in (model.token_embedding.weight,):
        p.data[:] = (p.data + p.data[SWAPPED_IDS]) / 2  # each term has the vector of its partner
    for kind in ("ratio", "kl"):
        assert CounterfactualPenalty(PAIRS, 1.0, kind, SWAPPED_IDS)(model, np.random.default_rng(0)).item() < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "huber"}, "expected one of ratio, kl"),
        ({"strength": -1.0}, "strength=-1.0"),
        ({"pairs": []}, "no pairs"),
        ({"pairs": [(IDS[:0], IDS[:3], IDS[:3])]}, r"pair 0 has rows of \(0, 3, 3\) tokens"),
        ({"kind": "kl"}, "needs swapped_ids"),
        ({"kind": "kl", "swapped_ids": np.roll(np.arange(TOKENIZER.vocab_size), 1)}, "no involution"),
        ({"kind": "kl", "swapped_ids": SWAPPED_IDS, "pairs": [(IDS[:1], IDS[:3], IDS[:4])]}, "pair 0 is not one text"),
    ],
)
def test_mistakes_with_the_penalty_are_told_before_training(options, message):
    with pytest.raises(ValueError, match=message):
        CounterfactualPenalty(**{"pairs": PAIRS, "strength": 1.0, **options})


# Projection --------------------------------------------------------------------------------------------------------------


def test_projection_takes_the_direction_from_all_words_but_the_pairs():
    weight = np.random.default_rng(0).normal(size=(6, 3))
    weight[1] = weight[0] + [0, 2.0, 0]
    out = project_out(weight, [(0, 1)])
    np.testing.assert_array_equal(out[:2], weight[:2])
    np.testing.assert_allclose(out[2:, 1], 0, atol=1e-12)
    np.testing.assert_allclose(out[2:, ::2], weight[2:, ::2])
    assert weight[2, 1] != 0  # the original is left alone
    with pytest.raises(ValueError, match="no pairs"):
        project_out(weight, [])


# The experiment ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_trained_model_has_the_gap_of_its_text_and_augmentation_takes_it_away():
    found = corpus.sentences(0.9, 100, seed=0)
    gaps = [experiment.measured(experiment.cured(cure, found, 0.9, 0, 350), 0.9, cure, 0).gap for cure in (BASELINE, Cure("augmentation", 1.0))]
    assert gaps[0] > 1.0 and abs(gaps[1]) < 0.1 * gaps[0]


def result(cure, seed, gap, balanced):
    return Result(0.8, cure, seed, gap, gap, gap, balanced, balanced)


def test_cures_are_compared_with_the_baseline_of_their_own_seed():
    cure = Cure("augmentation", 1.0)
    rows = [result(BASELINE, 0, 2.0, 3.0), result(cure, 0, -0.5, 3.3), result(BASELINE, 1, 1.0, 4.0), result(cure, 1, 0.25, 4.0)]
    table = results.compared(rows)[cure]
    assert table["reduction"].value == 75.0 and table["reduction"].low == table["reduction"].high
    np.testing.assert_allclose(table["balanced"].value, 5.0)
    assert table["balanced"].low < 0 < table["balanced"].high  # two seeds do not settle it
    assert "| augmentation 1 |" in results.cure_table(rows)
    skews = [Result(s, BASELINE, 0, g, g, g, 3.0, 3.0) for s, g in ((0.0, 0.0), (0.8, 2.1))]
    assert "| 0.8 | 2.20 | +2.10 |" in results.skew_table(skews)
