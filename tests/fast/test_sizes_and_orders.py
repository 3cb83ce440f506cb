"""What a kernel keeps depends on the size and the order of its arrays; what it computes does not."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.ops.norms import KEPT

SHAPES = [(1, 1), (3, 5), (KEPT, 1), (KEPT + 1, 1), (KEPT // 64 + 1, 64), (2, 3, 300)]


def in_order(x, order):
    """The same numbers, with this order in memory."""
    return np.asfortranarray(x) if order == "F" else x


def compared(function, arrays):
    """The value and all gradients, by the kernels and by the definitions."""
    differentiated = mg.value_and_grad(function, argnums=tuple(range(len(arrays))))
    fast = differentiated(*arrays)
    with mg.plain():
        plain = differentiated(*arrays)
    for a, b in zip([fast[0], *fast[1]], [plain[0], *plain[1]], strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_norms(shape, order):
    rng = np.random.default_rng(0)
    x, upstream = in_order(rng.normal(size=shape), order), rng.normal(size=shape)
    weight, bias = rng.normal(size=(2, shape[-1]))
    compared(lambda x, w, b: (mg.layer_norm(x, w, b) * upstream).sum(), [x, weight, bias])
    compared(lambda x, w: (mg.rms_norm(x, w) * upstream).sum(), [x, weight])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax_and_cross_entropy(shape, order, smoothing):
    rng = np.random.default_rng(0)
    x, upstream = in_order(50 * rng.normal(size=shape), order), rng.normal(size=shape)
    targets = rng.integers(0, shape[-1], shape[:-1])
    compared(lambda x: (mg.softmax(x) * upstream).sum(), [x])
    compared(lambda x: mg.cross_entropy(x, targets, label_smoothing=smoothing), [x])
    with_none = np.where(rng.random(targets.shape) < 0.5, -1, targets)
    compared(lambda x: mg.cross_entropy(x, with_none, ignore_index=-1, label_smoothing=smoothing, reduction="sum"), [x])
    rows = rng.normal(size=targets.shape)
    compared(lambda x: (mg.cross_entropy(x, with_none, ignore_index=-1, label_smoothing=smoothing, reduction="none") * rows).sum(), [x])


def test_gradients_are_the_same_at_a_second_backward_pass():
    rng = np.random.default_rng(0)
    x, w, b = (mg.Tensor(rng.normal(size=s), requires_grad=True) for s in [(4, 5), 5, 5])
    loss = mg.cross_entropy(mg.layer_norm(x, w, b), np.array([1, 0, 4, 2]))
    loss.backward(retain_graph=True)
    first = [t.grad.data.copy() for t in (x, w, b)]
    loss.backward()
    for t, once in zip((x, w, b), first, strict=True):
        np.testing.assert_array_equal(t.grad.data, 2 * once)
