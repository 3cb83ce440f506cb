"""Recurrent models: PyTorch's cells, padding that changes nothing, attention that can be switched off, states that can be kept."""

import numpy as np
import pytest

import minigrad as mg
from transformer import Classifier, RecurrentLM, Seq2SeqRNN, attention_maps, generate
from transformer.attention import KVCache
from transformer.decoding.window import Reader
from transformer.models.classifier import ImageClassifier, patches
from transformer.models.rnn import CELLS, AdditiveAttention, run

RNG = np.random.default_rng(0)
SOURCES = RNG.integers(0, 9, (3, 6))
MASK = np.arange(6) < np.array([6, 2, 4])[:, None]
TARGETS = RNG.integers(0, 9, (3, 5))


def model(cell="gru", attention=True):
    mg.manual_seed(1)
    return Seq2SeqRNN(9, 6, 5, cell, attention, max_length=20).astype(np.float64).eval()


@pytest.mark.torch
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_is_that_of_pytorch(cell):
    torch = pytest.importorskip("torch")
    mg.manual_seed(0)
    ours = CELLS[cell](4, 5).astype(np.float64)
    theirs = (torch.nn.GRU if cell == "gru" else torch.nn.LSTM)(4, 5, batch_first=True).double()
    order = np.arange(3 * 5) if cell == "gru" else np.concatenate([np.arange(10), np.arange(15, 20), np.arange(10, 15)])  # i, f, g, o there
    ours.input.bias.data = RNG.normal(size=ours.input.bias.shape)
    with torch.no_grad():
        for name, array in (("weight_ih", ours.input.weight.data.T), ("weight_hh", ours.recurrent.data.T),
                            ("bias_ih", ours.input.bias.data), ("bias_hh", ours.recurrent_bias.data)):  # fmt: skip
            getattr(theirs, f"{name}_l0").copy_(torch.tensor(array[order]))
    x = RNG.normal(size=(3, 7, 4))
    found, state = run(ours, [mg.Tensor(column) for column in x.swapaxes(0, 1)])
    wanted, last = theirs(torch.tensor(x))
    np.testing.assert_allclose(np.stack([h.data for h in found], 1), wanted.detach().numpy(), atol=1e-12)
    last = last if cell == "lstm" else (last,)
    for a, b in zip(state, last, strict=True):
        np.testing.assert_allclose(a.data, b[0].detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_padding_of_the_source_changes_nothing_to_the_last_bit_that_matters(cell, attention):
    m = model(cell, attention)
    together = m(SOURCES, MASK, TARGETS).data
    for row, length in enumerate(MASK.sum(axis=1)):
        alone = m(SOURCES[row : row + 1, :length], None, TARGETS[row : row + 1]).data
        np.testing.assert_allclose(together[row], alone[0], atol=1e-13)
    other = np.where(MASK, SOURCES, 8 - SOURCES)
    np.testing.assert_array_equal(m(other, MASK, TARGETS).data, together)
    without = m(SOURCES, None, TARGETS).data
    assert np.abs(without[1] - together[1]).max() > 1e-3


def test_attention_never_looks_at_padding_and_its_weights_are_shares():
    m = model()
    with attention_maps(m) as maps:
        m(SOURCES, MASK, TARGETS)
        (calls,) = maps.values()
    weights = np.concatenate(calls, axis=2)  # (B, heads, T, S)
    assert weights.shape == (3, 1, 5, 6)
    np.testing.assert_allclose(weights.sum(axis=-1), 1)
    assert (weights[~np.broadcast_to(MASK[:, None, None], weights.shape)] == 0).all()


def test_without_attention_every_step_gets_the_same_summary_and_nothing_else_of_the_source():
    m = model(attention=False)
    memory = m.encode(SOURCES)
    changed = memory.data.copy()
    changed[:, 1:-1] = 7.0  # all that is not the end of one of the two readings
    np.testing.assert_array_equal(m.decode(TARGETS, mg.Tensor(changed)).data, m.decode(TARGETS, memory).data)
    assert np.abs(model().decode(TARGETS, mg.Tensor(changed)).data - model().decode(TARGETS, memory).data).max() > 1e-3


def test_additive_attention_is_its_formula():
    mg.manual_seed(3)
    attend = AdditiveAttention(3, 4, 5).astype(np.float64)
    s, h = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 6, 4))
    W, b, U, v = attend.query.weight.data, attend.query.bias.data, attend.key.weight.data, attend.score.weight.data
    for i in range(2):
        e = np.array([v[:, 0] @ np.tanh(s[i] @ W + b + h[i, j] @ U) for j in range(6)])
        alpha = np.exp(e) / np.exp(e).sum()
        np.testing.assert_allclose(attend(s, h).data[i], alpha @ h[i])


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_a_decoder_that_keeps_its_state_says_the_same(cell, attention):
    m, cache = model(cell, attention), KVCache(20)
    with mg.no_grad():
        memory = m.encode(SOURCES, MASK)
        whole = m.decode(TARGETS, memory, MASK).data
        steps = [m.decode(TARGETS[:, t : t + 1], memory, MASK, cache).data for t in range(5)]
    np.testing.assert_allclose(np.concatenate(steps, axis=1), whole, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
def test_a_recurrent_language_model_writes_the_same_with_and_without_its_state_beyond_the_context_too(cell):
    mg.manual_seed(2)
    m = RecurrentLM(9, 8, 2, 6, cell).astype(np.float64).eval()
    written = [generate(m, [1, 2, 3], 20, temperature=1.0, rng=5, use_cache=use) for use in (True, False)]
    np.testing.assert_array_equal(*written)
    rows = [np.array([1, 2, 3, 4]), np.array([5, 6])]
    together = generate(m, rows, 8, temperature=0)
    for row, found in zip(rows, together, strict=True):
        np.testing.assert_array_equal(found, generate(m, row, 8, temperature=0))


def test_a_state_can_be_taken_several_times_and_rolled_back():
    mg.manual_seed(2)
    m = RecurrentLM(9, 8, 1, 12, "lstm").astype(np.float64).eval()
    reader = Reader(m)
    ids = np.array([[1, 2, 3], [4, 5, 6]])
    reader.logits(ids, np.array([3, 3]))
    reader.take(np.array([1, 1, 0]))
    grown = np.concatenate([ids[[1, 1, 0]], [[7], [8], [0]]], axis=1)
    np.testing.assert_allclose(reader.logits(grown, np.full(3, 4))[:, 0], m(grown).data[:, -1], atol=1e-13)


def test_a_recurrent_model_refuses_a_cell_that_there_is_not():
    for make in (lambda: Seq2SeqRNN(9, 4, cell="rnn"), lambda: RecurrentLM(9, 4, 1, 8, "tanh")):
        with pytest.raises(ValueError, match="expected one of gru, lstm"):
            make()


# Classifiers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_changes_no_class(pooling):
    mg.manual_seed(4)
    m = Classifier(9, 3, 8, 2, 2, 10, pooling=pooling).astype(np.float64).eval()
    together = m(SOURCES, MASK).data
    for row, length in enumerate(MASK.sum(axis=1)):
        np.testing.assert_allclose(together[row], m(SOURCES[row : row + 1, :length]).data[0], atol=1e-13)
    np.testing.assert_allclose(m(np.where(MASK, SOURCES, 8 - SOURCES), MASK).data, together, atol=1e-13)


def test_an_image_is_a_sequence_of_its_squares_row_by_row():
    image = np.arange(16).reshape(1, 4, 4)
    assert patches(image, 2).tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]
    with pytest.raises(ValueError, match="do not divide into squares of 3"):
        patches(image, 3)


def test_an_image_classifier_sees_where_a_patch_is():
    mg.manual_seed(4)
    m = ImageClassifier(4, 2, 3, 8, 2, 1).eval()
    image = RNG.random((1, 4, 4))
    assert np.abs(m(image).data - m(image[:, ::-1]).data).max() > 1e-4
    with pytest.raises(ValueError, match=r"expected \(batch, 4, 4\)"):
        m(image[:, :2])
    with pytest.raises(ValueError, match="patches of 3"):
        ImageClassifier(4, 3, 3, 8, 2, 1)
