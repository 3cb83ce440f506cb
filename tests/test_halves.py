"""Sixteen bits: every pattern there and back, and what training in them loses."""

import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from transformer import GPT
from transformer.compression import FORMATS, HalfTraining, LossScale, from_bfloat16, rounded, rounding, to_bfloat16

ALL = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)


def test_every_bfloat16_is_exact_in_float32_and_comes_back_as_it_was():
    x = from_bfloat16(ALL)
    nan = np.isnan(x)
    assert nan.sum() == 2 * 127
    assert np.array_equal(to_bfloat16(x)[~nan], ALL[~nan])
    assert np.isnan(from_bfloat16(to_bfloat16(x[nan]))).all()


def test_rounding_goes_to_the_nearest_and_ties_to_the_even_pattern():
    finite = np.sort(from_bfloat16(ALL)[np.isfinite(from_bfloat16(ALL))].astype(np.float64))
    finite = np.unique(finite)
    rng = np.random.default_rng(0)
    low = rng.integers(0, len(finite) - 1, 4000)
    a, b = finite[low], finite[low + 1]
    middle = (a + b) / 2
    with np.errstate(over="ignore"):
        got = from_bfloat16(to_bfloat16(middle.astype(np.float32)))
    exact = middle.astype(np.float32) == middle  # the middle of two neighbours is a float32, subnormals included
    assert exact.all()
    even = np.where(to_bfloat16(a) & 1, b, a)
    assert np.array_equal(got.astype(np.float64), even)
    for share, nearest in [(0.49, a), (0.51, b)]:
        assert np.array_equal(from_bfloat16(to_bfloat16((a + share * (b - a)).astype(np.float32))), nearest.astype(np.float32))


@pytest.mark.parametrize(
    ("x", "expected"),
    [(np.inf, np.inf), (-np.inf, -np.inf), (3.4e38, np.inf), (3e38, 3e38), (1e-40, 1e-40), (-0.0, -0.0), (1 + 2**-9, 1.0), (1.0078125,) * 2],
)
def test_the_edges_of_bfloat16(x, expected):
    got = from_bfloat16(to_bfloat16(x))
    assert got == pytest.approx(expected, rel=2**-8 if abs(x) > 1e-38 else 0.01)
    assert np.signbit(got) == np.signbit(expected)


def test_a_nan_whose_payload_lies_in_the_lower_half_does_not_become_infinity():
    sneaky = np.array([0x7F800001, 0xFF800001, 0x7FFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(from_bfloat16(to_bfloat16(sneaky))).all()


def test_float16_overflows_to_infinity_and_underflows_to_zero_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rounded([70000.0, 65504.0, 2**-24, 2**-26], "float16").tolist() == [np.inf, 65504.0, 2**-24, 0.0]
    with pytest.raises(ValueError, match="'half'; expected one of float16, bfloat16"):
        rounded([1.0], "half")


@pytest.mark.parametrize("name", FORMATS)
def test_the_table_of_formats_is_true(name):
    limits = FORMATS[name]
    assert rounded(limits.smallest, name) == np.float32(limits.smallest) and rounded(limits.smallest * 0.49, name) == 0
    assert rounded(limits.largest, name) == np.float32(limits.largest)
    assert rounded(1 + limits.epsilon, name) == np.float32(1 + limits.epsilon) and rounded(1 + 0.49 * limits.epsilon, name) == 1


@pytest.mark.torch
def test_pytorch_rounds_to_the_same_bits():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(0, 1 << 32, 100_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = x[~np.isnan(x)]
    theirs = torch.from_numpy(x).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(to_bfloat16(x), theirs)


@pytest.mark.parametrize("name", FORMATS)
def test_every_result_and_every_gradient_of_a_parameter_is_a_number_of_the_format(name):
    mg.manual_seed(0)
    model = GPT(7, 16, 2, 1, 8)
    ids = np.random.default_rng(0).integers(0, 7, (2, 2, 8))
    training = HalfTraining(model, optim.SGD(model.parameters(), 0.1), name, LossScale(1024.0, dynamic=False))
    with training.halved():
        loss = mg.cross_entropy(model(ids[0]), ids[1])
        seen = [t.data for t in mg.graph.reachable([loss])[0] if t.ndim] + [p.data for p in model.parameters()]
    training.gradients(lambda: mg.cross_entropy(model(ids[0]), ids[1]))
    seen += [p.grad.data for p in model.parameters()]
    assert len(seen) > 30
    for array in seen:
        assert np.array_equal(array, rounded(array, name))
    assert loss.data.dtype == np.float32 and not np.array_equal(loss.data, rounded(loss.data, name))  # a single number stays float32


def test_outside_of_rounding_nothing_is_rounded():
    x = mg.Tensor(np.array([1 + 2**-20, 2.0], np.float32), requires_grad=True)
    with rounding("bfloat16"):
        assert (x * 1.0).data[0] == 1
    assert (x * 1.0).data[0] > 1


def least_squares(scale_of_gradients):
    """A model with one matrix whose gradients are of that size, and its loss."""
    mg.manual_seed(0)
    model = nn.Linear(4, 4, bias=False)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    factor = np.float32(scale_of_gradients)
    return model, lambda: (model(mg.Tensor(x)) * factor).sum(axis=0).mean()


def test_small_gradients_vanish_in_float16_and_are_saved_by_scaling_the_loss():
    found = {}
    for name, format, scale in [("plain", "float16", None), ("scaled", "float16", LossScale(2.0**12, dynamic=False)), ("wide", "bfloat16", None)]:
        model, loss = least_squares(1e-9)
        before = model.weight.data.copy()
        HalfTraining(model, optim.SGD(model.parameters(), 1e6), format, scale).step(loss)
        found[name] = np.abs(model.weight.data - before).max()
    assert found["plain"] == 0
    assert found["scaled"] == pytest.approx(found["wide"], rel=0.02) and found["scaled"] > 1e-4


def test_an_update_below_half_a_gap_is_lost_without_master_weights():
    moved = {}
    for master in (True, False):
        model = nn.Linear(1, 1, bias=False)
        model.weight.data[...] = 1.0
        training = HalfTraining(model, optim.SGD(model.parameters(), 1.0), "bfloat16", master=master)
        for _ in range(100):
            training.step(lambda model=model: (model(mg.Tensor(np.full((2, 1), 1e-3, np.float32)))).mean())
        moved[master] = 1 - model.weight.data.item()
    assert moved[False] == 0  # each step is 0.001, half a gap below 1 is 2⁻⁹ ≈ 0.002
    assert moved[True] == pytest.approx(0.1, rel=0.02)


def test_a_step_that_overflows_is_skipped_and_the_scale_halved_until_it_fits():
    model, loss = least_squares(1.0)
    optimizer = optim.SGD(model.parameters(), 0.01)
    training = HalfTraining(model, optimizer, "float16", LossScale(2.0**20, patience=3))
    before = model.weight.data.copy()
    training.step(loss)
    assert training.skipped == 1 and training.scale.value == 2.0**19 and optimizer.steps == 0
    assert np.array_equal(model.weight.data, before)
    while optimizer.steps < 3:
        training.step(loss)
    assert training.skipped > 1 and training.scale.value == 2.0 ** (20 - training.skipped + 1)  # doubled again after three good steps
    assert np.isfinite(model.weight.data).all() and not np.array_equal(model.weight.data, before)


def test_scaling_leaves_the_update_as_it_is():
    steps = []
    for scale in (1.0, 2.0**7):
        model, loss = least_squares(1.0)
        before = model.weight.data.copy()
        HalfTraining(model, optim.SGD(model.parameters(), 0.1), "float16", LossScale(scale, dynamic=False)).step(loss)
        steps.append(model.weight.data - before)
    assert np.array_equal(*steps) and np.abs(steps[0]).max() > 0.01


def test_a_loss_that_is_not_finite_is_told_since_no_scale_mends_it():
    model, _ = least_squares(1.0)
    x = mg.Tensor(np.full((2, 4), 6e4, np.float32))
    training = HalfTraining(model, optim.SGD(model.parameters(), 0.1), "float16", LossScale())
    with pytest.raises(FloatingPointError, match="beyond float16's 65504; lower the learning rate, or use bfloat16"):
        training.step(lambda: (model(x) * model(x)).mean())
    HalfTraining(model, optim.SGD(model.parameters(), 1e-12), "bfloat16").step(lambda: (model(x) * model(x)).mean())


def test_a_number_is_rounded_to_sixteen_bits_as_numpy_rounds_it():
    """All float16 numbers, the ties between them, and a million float32 numbers of any bits."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (np.arange(1 << 16, dtype=np.uint32) << 16 | 0x1000).view(np.float32)
    multiples = np.arange(-5000, 5000).astype(np.float32) * np.float32(2.0**-25)
    any_bits = np.random.default_rng(0).integers(0, 1 << 32, 1 << 20, dtype=np.uint64).astype(np.uint32).view(np.float32)
    for x in (halves, ties, multiples, any_bits):
        with np.errstate(over="ignore"):
            wanted = x.astype(np.float16).astype(np.float32)
        found = rounded(x, "float16")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))
