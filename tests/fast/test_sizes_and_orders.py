"""What a kernel keeps depends on the size, the order and the precision of its arrays; what it computes does not."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.fast import linear
from minigrad.graph import REGISTRY
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


ACCELERATED = [op for op in REGISTRY.values() if getattr(op, "kernel", None)]


def outcome(op, arrays, params):
    """The dtype, the value and the gradients of an op, or which error it raises."""
    tensors = [x if x is None else mg.Tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    try:
        y = op(*tensors, **params)
        if y.requires_grad:
            y.backward(np.linspace(-1, 1, y.size).reshape(y.shape))
    except (TypeError, ValueError) as error:
        return [type(error)]
    return [y.dtype, y.data, *(t.grad.data for t in tensors if t is not None and t.grad is not None)]


@pytest.mark.parametrize("dtype", [np.float32, np.int64], ids=["single", "integers"])
@pytest.mark.parametrize("op", ACCELERATED, ids=lambda op: op.name)
def test_inputs_of_several_precisions_give_what_the_definition_gives(op, dtype):
    for example in op.examples(np.random.default_rng(0)):
        for i in (i for i, x in enumerate(example.inputs) if x is not None):
            arrays = list(example.inputs)
            arrays[i] = np.asarray(np.rint(3 * np.clip(arrays[i], -9, 9)), dtype)
            fast = outcome(op, arrays, example.params)
            with mg.plain():
                plain = outcome(op, arrays, example.params)
            assert len(fast) == len(plain) and fast[0] == plain[0], (example, i)
            for a, b in zip(fast[1:], plain[1:], strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
            if len(fast) > 1:
                program = mg.program(lambda given, params=example.params: op(*given, **params))
                tensors = [x if x is None else mg.Tensor(x) for x in arrays]
                assert [program(tensors).dtype for _ in range(3)] == [fast[0]] * 3


@pytest.mark.parametrize(("dtype", "within"), [(np.float16, 4e-3), (np.float32, 6e-7)])
def test_rows_that_lie_far_from_each_other(dtype, within):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 20)) + np.linspace(-24, 0, 30)[:, None]
    x = x.astype(dtype)
    targets = rng.integers(0, 20, 30)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(mg.softmax(x).data, mg.softmax(wide).data, atol=within)
    np.testing.assert_allclose(
        mg.cross_entropy(x, targets, reduction="none").data, mg.cross_entropy(wide, targets, reduction="none").data, rtol=4 * within, atol=within
    )
    q, k, v = (rng.normal(size=(2, 2, 70, 4)).astype(dtype) for _ in range(3))
    exact = mg.scaled_dot_product_attention(*(a.astype(np.float64) for a in (q, k, v)), scale=2)
    np.testing.assert_allclose(mg.scaled_dot_product_attention(q, k, v, scale=2).data, exact.data, atol=10 * within)


def test_a_loss_is_never_negative():
    rng = np.random.default_rng(0)
    for _ in range(50):
        x = np.full((30, 20), -14, np.float32)
        x[0], x[1:, 0] = 14, rng.uniform(2, 13.9, 29)
        assert (mg.cross_entropy(x, np.zeros(30, int), reduction="none").data >= 0).all()


def test_rows_of_nothing_have_gradients():
    x = mg.Tensor(np.full((2, 3), -np.inf, np.float32), requires_grad=True)
    (10 * mg.cross_entropy(x, [0, 1], reduction="none")).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [[-10, 0, 0], [0, -10, 0]])
    table = mg.Tensor(np.ones((0, 3)), requires_grad=True)
    mg.embedding(table, np.zeros(0, int)).sum().backward()
    assert table.grad.shape == (0, 3)


def test_without_blas_the_order_in_memory_does_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    x, w, b = np.asfortranarray(rng.normal(size=(300, 64))), np.asfortranarray(rng.normal(size=(64, 200))), rng.normal(size=200)
    monkeypatch.setattr(linear, "BLAS", False)
    compared(lambda x, w, b: mg.linear_gelu(x, w, b).sum(), [x, w, b])


def test_a_bias_has_its_gradient_where_scores_do_not_count():
    rng = np.random.default_rng(0)
    q, k, v, bias = (rng.normal(size=s) for s in [(1, 2, 150, 4)] * 3 + [(150, 150)])
    compared(lambda *given: (mg.scaled_dot_product_attention(*given, scale=0.0) ** 2).sum(), [q, k, v, bias])
