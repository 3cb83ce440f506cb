"""Class weights and soft targets of cross-entropy: the formula, its gradient, and PyTorch's numbers."""

import itertools

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, gradcheck, gradgradcheck
from minigrad.fast import rows

REDUCTIONS = ("mean", "sum", "none")
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.3])


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def log_p(x):
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def soft(rng, *shape):
    p = rng.uniform(0.1, 1.0, shape)
    return p / p.sum(axis=-1, keepdims=True)


def test_the_mean_with_class_weights_is_weighted_by_the_class_of_each_target(rng):
    x, targets = rng.normal(size=(5, 4)), np.array([1, 0, 3, 1, 2])
    losses = -log_p(x)[np.arange(5), targets]
    w = WEIGHTS[targets]
    expected = {"mean": (w * losses).sum() / w.sum(), "sum": (w * losses).sum(), "none": w * losses}
    for reduction, value in expected.items():
        found = mg.cross_entropy(x, targets, reduction=reduction, class_weights=WEIGHTS)
        np.testing.assert_allclose(found.data, value)


def test_equal_class_weights_change_nothing(rng):
    x, targets = rng.normal(size=(2, 3, 4)), rng.integers(0, 4, (2, 3))
    for smoothing, reduction in itertools.product((0.0, 0.2), REDUCTIONS):
        plain = mg.cross_entropy(x, targets, 1, smoothing, reduction)
        weighted = mg.cross_entropy(x, targets, 1, smoothing, reduction, class_weights=np.ones(4))
        np.testing.assert_allclose(weighted.data, plain.data, rtol=1e-12)


def test_soft_targets_that_are_certain_are_plain_ones(rng):
    x, targets = rng.normal(size=(2, 3, 4)), rng.integers(0, 4, (2, 3))
    for smoothing, reduction in itertools.product((0.0, 0.2), REDUCTIONS):
        plain = mg.cross_entropy(x, targets, None, smoothing, reduction)
        certain = mg.cross_entropy(x, np.eye(4)[targets], None, smoothing, reduction)
        np.testing.assert_allclose(certain.data, plain.data, rtol=1e-12)


def test_the_loss_of_soft_targets_is_least_where_the_model_says_just_them(rng):
    t = soft(rng, 3, 4)
    x = Tensor(np.log(t), requires_grad=True)
    mg.cross_entropy(x, t).backward()
    np.testing.assert_allclose(x.grad.data, 0, atol=1e-12)


def test_a_soft_target_is_a_copy_that_the_caller_may_change_before_the_backward_pass(rng):
    x, t = Tensor(rng.normal(size=(3, 4)), requires_grad=True), soft(rng, 3, 4)
    p, wanted = mg.softmax(x.data).data, t.copy()
    loss = mg.cross_entropy(x, t, reduction="sum")
    t[...] = 0
    loss.backward()
    np.testing.assert_allclose(x.grad.data, p - wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_to_first_and_second_order(smoothing, reduction, rng):
    x, targets, t = rng.normal(size=(2, 3, 4)), np.array([[0, 1, 2], [3, 1, 0]]), soft(rng, 2, 3, 4)
    for check in (gradcheck, gradgradcheck):
        assert check(lambda x: mg.cross_entropy(x, targets, 1, smoothing, reduction, class_weights=WEIGHTS), x)
        assert check(lambda x, t: mg.cross_entropy(x, t, None, smoothing, reduction, class_weights=WEIGHTS), x, t)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ignore_index", [None, 2])
def test_of_large_logits_of_which_no_probabilities_are_kept_the_gradient_is_the_same(smoothing, reduction, ignore_index, rng, monkeypatch):
    x, targets = Tensor(rng.normal(size=(7, 4)), requires_grad=True), np.array([1, 0, 2, 3, 2, 1, 0])
    upstream = rng.normal(size=7 if reduction == "none" else ())

    def found():
        x.zero_grad()
        loss = mg.cross_entropy(x, targets, ignore_index=ignore_index, label_smoothing=smoothing, reduction=reduction)
        loss.backward(upstream)
        return loss.data, x.grad.data

    small = found()
    monkeypatch.setattr(rows, "BLOCK", 8)
    for a, b in zip(found(), small, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_the_gradient_keeps_the_dtype_of_the_logits(rng):
    for targets in (np.array([0, 1, 3]), soft(rng, 3, 4)):
        x = Tensor(rng.normal(size=(3, 4)).astype(np.float32), requires_grad=True)
        loss = mg.cross_entropy(x, targets, label_smoothing=0.1, class_weights=WEIGHTS)
        loss.backward()
        assert loss.dtype == np.float32 and x.grad.dtype == np.float32


def test_a_batch_in_which_everything_is_ignored_costs_nothing(rng):
    x = Tensor(rng.normal(size=(2, 4)), requires_grad=True)
    loss = mg.cross_entropy(x, [-1, -1], -1, 0.1, class_weights=WEIGHTS)
    loss.backward()
    assert loss.item() == 0 and not x.grad.data.any()


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"targets": [0, 1], "class_weights": [1.0, 2.0]}, ValueError, r"class_weights \(2,\); expected \(4,\)"),
        ({"targets": [0, 1], "class_weights": [1.0, 2.0, np.nan, 1.0]}, ValueError, "a finite number for each class"),
        ({"targets": np.full((2, 4), 0.25), "ignore_index": 0}, ValueError, "ignore_index=0 with soft targets"),
        ({"targets": np.full((2, 3), 0.25)}, ValueError, r"logits \(2, 4\) need targets of shape \(2,\), got \(2, 3\)"),
        ({"targets": [0, 4], "class_weights": WEIGHTS}, IndexError, "target 4"),
        ({"targets": [0.0, 1.0], "class_weights": WEIGHTS}, TypeError, "integers"),
    ],
)
def test_mistakes_say_what_was_expected(options, kind, words):
    with pytest.raises(kind, match=words):
        mg.cross_entropy(np.zeros((2, 4)), **options)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_reduction_equals_pytorch(dtype, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: the formulas above stand in for it")
    tolerance = {"rtol": 1e-10, "atol": 1e-12} if dtype is np.float64 else {"rtol": 1e-5, "atol": 1e-6}
    for kind, smoothing, reduction, weights in itertools.product(
        ("integers", "ignored", "soft"), (0.0, 0.15), REDUCTIONS, (None, WEIGHTS, np.array([-1.0, 2.0, 0.5, 3.0]))
    ):
        x = rng.normal(size=(3, 5, 4)).astype(dtype)
        targets = rng.uniform(size=(3, 5, 4)).astype(dtype) if kind == "soft" else rng.integers(0, 4, (3, 5))
        ignored = 1 if kind == "ignored" else None
        upstream = rng.normal(size=(3, 5) if reduction == "none" else ()).astype(dtype)
        ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        loss = mg.cross_entropy(ours, targets, ignored, smoothing, reduction, class_weights=weights)
        loss.backward(upstream)
        expected = torch.nn.functional.cross_entropy(
            theirs.flatten(0, 1),
            torch.tensor(targets).flatten(0, 1),
            None if weights is None else torch.tensor(weights, dtype=theirs.dtype),
            ignore_index=-100 if ignored is None else ignored,
            label_smoothing=smoothing,
            reduction=reduction,
        ).reshape(upstream.shape)
        expected.backward(torch.tensor(upstream))
        case = f"{kind} {smoothing} {reduction} {weights}"
        np.testing.assert_allclose(loss.data, expected.detach().numpy(), **tolerance, err_msg=case)
        np.testing.assert_allclose(ours.grad.data, theirs.grad.numpy(), **tolerance, err_msg=case)
