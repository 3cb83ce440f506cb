"""Behaviour that mutants of the code could change without a test noticing, found by mutation testing."""

import io
import threading
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

import minigrad as mg
from tests.test_parallel import IDS, together
from transformer import GPT, Answering, KVCache, LayerNorm, MultiHeadAttention, RMSNorm, SwiGLU, Trainer, Window, beam_search, causal_mask
from transformer.attention import masked_mean
from transformer.checks import shaken
from transformer.data.tasks import MADE
from transformer.positions import LearnedPositions, RotaryPositions, SinusoidalPositions, StretchedRotation, sinusoids
from transformer.training import answering
from transformer.training.classification import Classification, Labelled
from transformer.training.objectives import LanguageModelling
from transformer.training.recipes import make_tokenizer
from transformer.training.settings import Settings
from transformer.training.translation import Translation


def test_a_list_of_bools_is_an_index_as_in_numpy():
    x = mg.Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    picked = x[[True, False, True]]
    np.testing.assert_array_equal(picked.data, x.data[[True, False, True]])
    (picked * mg.Tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [[1, 2], [0, 0], [3, 4]])


def test_a_second_backward_pass_that_is_recorded_adds_to_the_gradient():
    x = mg.Tensor([2.0, 3.0], requires_grad=True)
    for _ in range(2):
        (x**3).sum().backward(create_graph=True)
    np.testing.assert_allclose(x.grad.data, 2 * 3 * np.array([4.0, 9.0]))


def test_ranks_that_begin_with_other_numbers_stop_before_the_first_step():
    steps = []

    def work(ranks):
        mg.manual_seed(ranks.rank)
        model = GPT(8, 8, 2, 1, 8)
        trainer = Trainer(
            model,
            LanguageModelling(IDS[:400], IDS[400:], 8),
            Settings(steps=2, batch_size=4),
            None,
            io.StringIO(),
            ranks,
        )
        real = trainer.step
        trainer.step = lambda: (steps.append(threading.get_ident()), real())[1]
        trainer.train()

    for error in together(2, work):
        assert isinstance(error, ValueError) and "rank 1 of 2 differs from rank 0 in the parameter" in str(error)
    assert not steps


@pytest.mark.parametrize(
    ("limit", "pairs"), [(1, 1), (12, 1), (40, 3), (None, 1000)]
)  # each target has 11 tokens, END included
@pytest.mark.slow
def test_a_limit_of_evaluation_tokens_is_that_of_the_targets_read(limit, pairs):
    tokenizer = make_tokenizer("copy")
    work = Translation(MADE["copy"](), tokenizer)
    read = []

    def loss(model, batch, label_smoothing=0.0):
        read.append(work.counts(batch))
        return mg.Tensor(1.0)

    work.loss = loss
    work.evaluate(GPT(8, 8, 2, 1, 8), limit)
    assert sum(read) == 11 * pairs


def test_a_limit_of_classification_is_that_of_the_examples_read():
    tokenizer = make_tokenizer("copy")
    part = Labelled([tokenizer.decode([3 + i % 5]) for i in range(30)], np.arange(30) % 2)
    work = Classification(part, part, tokenizer, 16)
    read = []
    work.logits = lambda model, inputs, **_: (read.append(len(inputs)), np.eye(2)[[0] * len(inputs)])[1]
    assert work.evaluate(None, 7) == pytest.approx(3 / 7) and work.evaluate(None) == pytest.approx(0.5)
    assert read == [7, 30]


def test_a_beam_search_of_no_tokens_gives_the_prompt():
    assert beam_search(GPT(8, 8, 2, 1, 8).eval(), [3, 1, 4], 0, 3).tolist() == [3, 1, 4]


def test_the_messages_of_training_have_the_step_the_losses_and_the_sample():
    class Sampled(LanguageModelling):
        def sample(self, model, tokens, rng):
            return f"line one\nand {tokens} more"

    messages = []
    settings = Settings(steps=4, batch_size=4, evaluate_every=2, sample_tokens=5, evaluation_tokens=50)
    trainer = Trainer(GPT(8, 8, 2, 1, 8), Sampled(IDS[:400], IDS[400:], 8), settings, None, io.StringIO())
    trainer.train(show=messages.append)
    assert len(messages) == 2
    for message, (step, loss) in zip(messages, trainer.validation, strict=True):
        first, *sample = message.split("\n")
        seen = float(first.split()[4])  # by the same measure as the validation loss
        assert first == f"step {step:>5}  training loss {seen:.3f}  validation loss {loss:.3f}"
        assert sample == ["    line one", "    and 5 more"]
    measured = LanguageModelling(IDS[:400], IDS[400 - 51 : 400], 8).evaluate(trainer.model)
    assert seen == pytest.approx(measured, abs=6e-4) and trainer.evaluate_seen(50) == pytest.approx(measured)


@pytest.mark.parametrize("larger", ["q", "k", "v"])
def test_attention_where_one_input_alone_has_the_larger_batch(larger):
    rng = np.random.default_rng(0)
    sizes = {"q": (1, 2, 3, 4), "k": (1, 2, 5, 4), "v": (1, 2, 5, 4)}
    sizes[larger] = (3, *sizes[larger][1:])
    arrays = {name: rng.normal(size=size) for name, size in sizes.items()}
    upstream = rng.normal(size=(3, 2, 3, 4))
    found, expected = ({name: mg.Tensor(a, requires_grad=True) for name, a in arrays.items()} for _ in range(2))
    out = mg.scaled_dot_product_attention(found["q"], found["k"], found["v"])
    plain = mg.softmax(expected["q"] @ expected["k"].mT / 2.0) @ expected["v"]
    np.testing.assert_allclose(out.data, plain.data, atol=1e-12)
    out.backward(upstream)
    plain.backward(upstream)
    for name, t in found.items():
        assert t.grad.shape == sizes[name]
        np.testing.assert_allclose(t.grad.data, expected[name].grad.data, atol=1e-12)


def test_the_mean_of_one_real_token_is_that_token_and_of_none_is_0():
    x = np.random.default_rng(0).normal(size=(3, 2, 4))
    mean = masked_mean(mg.Tensor(x), np.array([[1, 1], [0, 1], [0, 0]])).data
    np.testing.assert_allclose(mean, [x[0].mean(axis=0), x[1, 1], np.zeros(4)])


def test_masks_and_windows_refuse_either_number_alone():
    for lengths in ((-1, 2), (2, -1)):
        with pytest.raises(ValueError, match="lengths must not be negative"):
            causal_mask(*lengths)
    for size, sinks in ((0, 1), (3, -1), (True, 0), (3, 0.5)):
        with pytest.raises(ValueError, match="expected a size of 1 or more"):
            Window(size, sinks)


def test_sinusoids_far_into_a_text_are_those_of_the_formula():
    x = mg.Tensor(np.zeros((1, 3, 6)))
    np.testing.assert_allclose(SinusoidalPositions(6)(x, start=200).data[0], sinusoids(203, 6)[200:], atol=1e-12)


@pytest.mark.parametrize("positions", [LearnedPositions(8, 6), SinusoidalPositions(6, 8), RotaryPositions(6, max_length=8)])
@pytest.mark.parametrize("start", [6, np.array([0, 6])])
def test_a_text_that_starts_late_and_ends_beyond_the_last_position_is_refused(positions, start):
    with pytest.raises(ValueError, match="9 tokens exceed the 8 positions"):
        positions.places(start, 3)


def test_what_a_window_keeps_is_near_or_the_sink_of_some_row():
    mask = np.array([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]], bool)[:, None, None]
    kept = Window(2, sinks=1).kept(np.arange(6), mask)
    assert kept.tolist() == [True, False, True, False, False, True]


def test_a_padded_batch_in_a_window_is_read_alike_with_and_without_a_cache():
    attention = shaken(MultiHeadAttention(8, 2, window=Window(2, 1)), np.random.default_rng(0)).eval()
    x = np.random.default_rng(1).normal(size=(2, 6, 8))
    mask = np.array([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]], bool)[:, None, None]
    cache = KVCache(6)
    with mg.no_grad():
        whole = attention(x, mask=mask, causal=True).data
        for t in range(2, 6):
            begin = 0 if t == 2 else t
            part = attention(x[:, begin : t + 1], mask=mask[..., : t + 1], causal=True, cache=cache).data
            np.testing.assert_allclose(part[:, -1], whole[:, t], atol=1e-12)


def test_a_cache_in_a_window_goes_back_as_far_as_it_has_kept_everything_and_else_to_the_start():
    cache, keys = KVCache(9), np.arange(18.0).reshape(1, 1, 9, 2)

    def read(*places):
        for t in places:
            k, v, kept = cache.slide(keys[:, :, t : t + 1], -keys[:, :, t : t + 1], Window(3))
            np.testing.assert_array_equal([k, -v], keys[None, :, :, kept].repeat(2, axis=0))
        return kept.tolist()

    assert read(0, 1, 2) == [0, 1, 2]
    cache.truncate(1)
    assert cache.length == 1 and read(1, 2, 3, 4) == [2, 3, 4]
    cache.truncate(4)  # without the newest
    assert cache.length == 4 and read(4) == [2, 3, 4]
    cache.truncate(3)  # the token at 2 would look at 0, which is gone
    assert cache.length == 0 and read(0) == [0]


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
@pytest.mark.parametrize("eps", [True, False, "1e-5", None, -1e-9, 1, np.nan])
def test_an_eps_that_is_no_small_number_is_refused(norm, eps):
    with pytest.raises(ValueError, match=f"{norm.__name__}: eps={eps!r}; expected a small number"):
        norm(8, eps=eps)


def test_a_stretching_is_a_value_that_nobody_changes_behind_the_tables():
    stretch = StretchedRotation(8.0, 1.0, 4.0, 100)
    assert {stretch, StretchedRotation(8.0, 1.0, 4.0, 100)} == {stretch}
    with pytest.raises(FrozenInstanceError):
        stretch.factor = 2.0


def test_a_gated_network_is_eight_thirds_as_wide_inside():
    assert SwiGLU(12).gate.weight.shape == (12, 32) and SwiGLU(12, 7).down.weight.shape == (7, 12)


def test_what_an_answerer_is_judged_by_is_the_share_of_wrong_answers(monkeypatch):
    work = Answering(MADE["answers"](), make_tokenizer("answers"))
    for found, error in ((lambda q: q.target, 0), (lambda q: q.target + " and more", 1)):
        monkeypatch.setattr(answering, "answer", lambda model, pieces, some, *_, found=found, **__: [found(q) for q in some])
        assert work.evaluate(None, 200) == error
    assert answering.said("") == "(no answer)" and answering.said("a nurse") == "a nurse"
