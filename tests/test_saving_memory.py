"""Shared layers, layers computed again, batches in parts: fewer parameters or less memory, and the same mathematics."""

import os
import sys
import tracemalloc

import numpy as np
import pytest

import minigrad as mg
from transformer import GPT, Classification, Classifier, LanguageModelling, RecurrentLM, Trainer, Transformer, Translation, cli, generate
from transformer.compression import count, recompute_layers, share_layers, watch
from transformer.data.codec import BEGIN, END, PAD
from transformer.data.tasks import MADE
from transformer.data.tokenizers import CharTokenizer
from transformer.training.checkpoints import RunFolder
from transformer.training.classification import Labelled
from transformer.training.objectives import Penalised, parts
from transformer.training.recipes import make_tokenizer
from transformer.training.settings import Settings

V = 9
IDS = np.random.default_rng(0).integers(0, V, (2, 3, 12))


def gradients(model, call=None):
    mg.manual_seed(1)
    loss = mg.cross_entropy(model(IDS[0]) if call is None else call(model), IDS[1])
    loss.backward()
    found = {name: p.grad.data for name, p in model.named_parameters()}
    model.zero_grad()
    return loss.item(), found


def gpt(layers=4, **options):
    mg.manual_seed(0)
    return GPT(V, 16, 2, layers, 12, **options)


# Sharing -----------------------------------------------------------------------------------------------------------------


def test_shared_layers_have_one_set_of_weights_and_the_gradient_of_all_places():
    shared = share_layers(gpt(), 2)
    assert shared.layers[0] is shared.layers[1] is not shared.layers[2] is shared.layers[3]
    assert shared.num_parameters() == gpt(2).num_parameters()
    twin = gpt()
    for i in (0, 2):
        for j in (i, i + 1):
            twin.layers[j].load_state_dict(shared.layers[i].state_dict())
    rest = {name: a for name, a in shared.state_dict().items() if not name.startswith("layers.")}
    twin.load_state_dict(rest, strict=False)
    loss, one = gradients(shared)
    other, several = gradients(twin)
    assert loss == pytest.approx(other, abs=1e-6)
    for name in (n for n in one if n.startswith("layers.2.")):
        summed = several[name] + several[name.replace("layers.2.", "layers.3.")]
        assert np.allclose(one[name], summed, atol=1e-6)


def test_sharing_saves_parameters_and_no_flops():
    shared, plain = count(share_layers(gpt()), 3, 12), count(gpt(), 3, 12)
    assert shared.parameters == count(gpt(1), 3, 12).parameters < plain.parameters / 2
    assert shared.training_flops == plain.training_flops and shared.cache_bytes == plain.cache_bytes


def test_a_shared_model_generates_with_a_cache_as_without_and_is_stored_once():
    shared = share_layers(gpt()).eval()
    with_cache, without = (generate(shared, IDS[0, 0, :4], 6, temperature=0, use_cache=use) for use in (True, False))
    assert np.array_equal(with_cache, without)
    again = share_layers(gpt()).load_state_dict(shared.state_dict())
    assert np.array_equal(again(IDS[0]).data, shared(IDS[0]).data)
    assert not any(name.startswith("layers.1") for name in shared.state_dict())


def test_both_stacks_of_an_encoder_decoder_and_the_cells_of_a_recurrent_model_are_shared():
    model = share_layers(Transformer(V, 16, 2, 2, 24, 12))
    assert model.encoder.layers[0] is model.encoder.layers[1] and model.decoder.layers[0] is model.decoder.layers[1]
    rnn = share_layers(RecurrentLM(V, 16, 2, 12))
    assert rnn.cells[0] is rnn.cells[1]
    with pytest.raises(ValueError, match="4 layers cannot share 3 sets of weights; expected a divisor of 4"):
        share_layers(gpt(), 3)
    with pytest.raises(ValueError, match="Linear has no layers"):
        share_layers(mg.nn.Linear(2, 2))


# Recomputing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: gpt(dropout=0.2),
        lambda: gpt(num_kv_heads=1, positions="rotary", norm="rms", ffn="swiglu"),
        lambda: share_layers(gpt(), 2),
        lambda: (mg.manual_seed(0), Transformer(V, 16, 2, 2, 24, 12, dropout=0.2))[1],
    ],
)
def test_layers_computed_again_give_the_same_gradients(make):
    plain, again = make(), recompute_layers(make())
    assert list(plain.state_dict()) == list(again.state_dict())
    loss, expected = gradients(plain)
    same, found = gradients(again)
    assert same == loss
    for name, gradient in expected.items():
        assert np.allclose(found[name], gradient, atol=1e-6), name


def test_recomputing_costs_one_more_forward_pass_of_the_layers_and_saves_most_activations():
    measured = {}
    for name, model in (("plain", gpt()), ("again", recompute_layers(gpt()))):
        gradients(model)
        tracemalloc.start()
        with watch() as work:
            gradients(model)
        measured[name] = work.flops, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    layers = [row for row in count(gpt(), 3, 12).by_layer().rows if row.name.startswith("layers.")]
    assert measured["again"][0] - measured["plain"][0] == sum(row.forward_flops for row in layers)
    held = []
    for model in (gpt(), recompute_layers(gpt())):
        tracemalloc.start()
        loss = mg.cross_entropy(model(IDS[0]), IDS[1])
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        del loss
    assert held[1] < 0.4 * held[0]


def test_a_model_that_computes_again_still_generates_with_its_cache():
    plain, again = gpt().eval(), recompute_layers(gpt()).eval()
    written = [generate(model, IDS[0, 0, :4], 6, temperature=0) for model in (plain, again)]
    assert np.array_equal(*written)
    with pytest.raises(ValueError, match="RecurrentLM has no attention layers"):
        recompute_layers(RecurrentLM(V, 16, 2, 12))


# Accumulating ------------------------------------------------------------------------------------------------------------


def language():
    ids = np.random.default_rng(0).integers(0, V, 2000)
    return gpt(2), LanguageModelling(ids[:1500], ids[1500:], 12)


def weighted():
    ids = np.random.default_rng(0).integers(0, V, 2000)
    weights = np.random.default_rng(1).uniform(0, 2, 1500)
    return gpt(2), LanguageModelling(ids[:1500], ids[1500:], 12, weights=weights)


def translation():
    tokenizer = make_tokenizer("numbers")
    mg.manual_seed(0)
    return Transformer(tokenizer.vocab_size, 16, 2, 1, 24, 96, dropout=0.0), Translation(MADE["numbers"](), tokenizer)


def classification():
    texts, labels = ["ab", "b", "aab", "abba", "bb", "a"], np.array([0, 1, 0, 1, 1, 0])
    mg.manual_seed(0)
    tokenizer, data = CharTokenizer(PAD + BEGIN + END + "ab"), Labelled(texts, labels)
    return Classifier(tokenizer.vocab_size, 2, 16, 2, 1, 12, dropout=0.0), Classification(data, data, tokenizer, 12)


@pytest.mark.parametrize("make", [language, weighted, translation, classification])
@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.slow
def test_a_batch_read_in_parts_gives_the_gradient_of_the_whole(make, n):
    losses, found = [], []
    for accumulate in (1, n):
        model, objective = make()
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            settings = Settings(steps=3, batch_size=7, accumulate=accumulate, clip=1e9, warmup=0)
            trainer = Trainer(model, objective, settings, output=nowhere)
            trainer.step()
        losses.append(trainer.losses[0])
        found.append({name: p.grad.data for name, p in model.named_parameters()})
    assert losses[0] == pytest.approx(losses[1], abs=2e-6)
    for name, gradient in found[0].items():
        assert np.allclose(found[1][name], gradient, atol=1e-5 * max(1e-3, np.abs(gradient).max())), name


def test_parts_of_a_batch_are_weighted_by_their_targets():
    _, objective = translation()
    batch = objective.batch(np.random.default_rng(0), 7)
    shares = [share for _, share in parts(objective, batch, 3)]
    assert sum(shares) == pytest.approx(1) and len(set(shares)) > 1
    _, plain = language()
    penalised = Penalised(plain, lambda model, rng: 0.0)
    assert [share for _, share in parts(penalised, plain.batch(np.random.default_rng(0), 4), 2)] == [0.5, 0.5]


def test_accumulating_needs_less_memory():
    peaks = []
    for accumulate in (1, 4):
        model, objective = language()
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            trainer = Trainer(model, objective, Settings(batch_size=32, accumulate=accumulate), output=nowhere)
            trainer.step()
            tracemalloc.start()
            trainer.step()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 0.5 * peaks[0]


def test_more_parts_than_examples_are_refused():
    with pytest.raises(ValueError, match="a batch of 4 cannot be read in 5 parts"):
        Settings(batch_size=4, accumulate=5)
    with pytest.raises(ValueError, match="accumulate=0"):
        Settings(accumulate=0)


@pytest.mark.slow
def test_a_run_with_all_of_it_resumes_to_the_same_losses(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question. " * 40, encoding="utf-8")
    options = ["--text", str(text), "--width", "16", "--layers", "4", "--heads", "2", "--context", "16", "--batch", "6", "--dropout", "0.1"]
    options += ["--accumulate", "3", "--recompute-layers", "--distinct-layers", "2", "--evaluate-every", "3"]
    whole, halves = str(tmp_path / "whole"), str(tmp_path / "halves")
    assert cli.main(["train", *options, "--steps", "6", "--out", whole]) == 0
    folder = RunFolder(whole)
    config = folder.config()
    assert config["distinct_layers"] == 2 and config["training"]["accumulate"] == 3 and config["training"]["recompute_layers"] is True
    model, _, _ = folder.load_model()
    assert model.layers[0] is model.layers[1]

    from unittest import mock

    def stopped(self, original=Trainer.step):
        row = original(self)
        self.stopping = self.progress.step == 3
        return row

    with mock.patch.object(Trainer, "step", stopped):
        assert cli.main(["train", *options, "--steps", "6", "--out", halves]) == 130
    assert cli.main(["train", "--resume", "--out", halves]) == 0
    assert RunFolder(halves).read_log() == folder.read_log()


@pytest.mark.slow
def test_twenty_thousand_steps_hold_memory_flat_without_the_collector():
    """Nothing but the list of losses grows: 8 bytes for its place and 24 for the number, at each step."""
    import gc
    import tracemalloc

    from benchmarks.peak import status

    mg.manual_seed(0)
    ids = np.random.default_rng(0).integers(0, 8, 2000)
    work = LanguageModelling(ids[:1800], ids[1800:], 4)
    trainer = Trainer(GPT(8, 8, 1, 1, 4), work, Settings(steps=20_000, batch_size=2, evaluate_every=20_000))

    def grown(steps):
        """Bytes that so many steps leave behind, as Python counts them."""
        tracemalloc.start()
        trainer.step()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(steps - 1):
            trainer.step()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return after - before

    gc.disable()
    try:
        for _ in range(1000):
            trainer.step()
        early = grown(500)
        resident = status("VmRSS") if sys.platform == "linux" else 0.0
        for _ in range(18_000):
            trainer.step()
        late = grown(500)
        grew = (status("VmRSS") if sys.platform == "linux" else 0.0) - resident
    finally:
        gc.enable()
    assert early < 64_000 and late < 64_000 and grew < 8, (early, late, grew)
