"""A derivation as a program: what ``explain(...).code()`` prints runs with NumPy alone and gives the gradients that were explained."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor
from minigrad.byhand.gradcheck import run as call
from minigrad.graph import REGISTRY


def run(explanation, **leaves):
    """The printed program, with nothing but NumPy around it."""
    text = explanation.code()
    assert "minigrad" not in text
    space = {}
    exec(compile(text, "<code>", "exec"), space)
    assert all(np.array_equal(explanation.arrays()[name], t.data) for name, t in leaves.items())
    return space["derivation"](**explanation.arrays()), text


def leaf(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def check(output, names, **options):
    explanation = mg.explain(output, names=names, **options)
    (value, gradients), text = run(explanation, **names)
    for name, g in gradients.items():
        np.testing.assert_allclose(g, explanation.gradients[name], rtol=1e-11, atol=1e-13)
    assert set(gradients) == set(names)
    return value, text


def test_the_code_of_a_derivation_has_the_readers_letters_and_its_gradients():
    X, W, b = leaf(3, 4), leaf(4, 2, seed=1), leaf(2, seed=2)
    Z = X @ W + b
    P = mg.softmax(Z)
    loss = -(mg.log(P) * np.eye(3)[:, :2]).sum() / 3
    explanation = mg.explain(loss, names={"X": X, "W": W, "b": b, "Z": Z, "P": P})
    (value, gradients), text = run(explanation, X=X, W=W, b=b)
    assert np.isclose(value, loss.data) and "def derivation(X, W, b" in text
    assert "Z = " in text and "P = " in text and "d_W = " in text
    for name, g in gradients.items():
        np.testing.assert_allclose(g, explanation.gradients[name], rtol=1e-12)


def test_a_leaf_used_twice_and_an_upstream_gradient():
    x = leaf(3)
    check(x * x + mg.exp(x), {"x": x}, gradient=np.array([1.0, -2.0, 0.5]))
    y = leaf(4)
    check((y * y.detach() + 2.0).mean(), {"y": y})


def test_the_graph_may_be_walked_before_and_after_the_code_is_made():
    x = leaf(2, 3)
    loss = (mg.tanh(x) ** 2).sum()
    explanation = mg.explain(loss, names={"x": x})
    loss.backward()
    (_, gradients), _ = run(explanation, x=x)
    np.testing.assert_allclose(gradients["x"], x.grad.data, rtol=1e-12)
    assert explanation.code() == explanation.code()


def test_attention_with_a_mask_and_layer_norm():
    Q, K, V, g, b = leaf(1, 2, 4, 3), leaf(1, 2, 4, 3, seed=1), leaf(1, 2, 4, 3, seed=2), leaf(3, seed=3), leaf(3, seed=4)
    out = mg.layer_norm(mg.scaled_dot_product_attention(Q, K, V, causal=True), g, b)
    check((out**2).sum(), {"Q": Q, "K": K, "V": V, "g": g, "b": b})


OPS = [name for name, op in REGISTRY.items() if op.builtin and op.examples is not None]


@pytest.mark.parametrize("name", OPS)
@pytest.mark.slow
def test_every_op_can_be_printed_with_its_gradient(name):
    op, rng = REGISTRY[name], np.random.default_rng(0)
    for example in op.examples(rng):
        leaves = {
            f"x{i}": Tensor(a, requires_grad=True) for i, a in enumerate(example.inputs) if np.asarray(a).dtype.kind == "f"
        }
        inputs = [leaves.get(f"x{i}", a) for i, a in enumerate(example.inputs)]
        out = call(op, example, *inputs)
        if not isinstance(out, Tensor) or not out.requires_grad:
            continue
        explanation = mg.explain(out, names=leaves, gradient=np.random.default_rng(1).normal(size=out.shape))
        if name == "_recomputed":
            with pytest.raises(RuntimeError, match="has no text"):
                explanation.code()
            continue
        (_, gradients), _ = run(explanation)
        for key, g in gradients.items():
            np.testing.assert_allclose(g, explanation.gradients[key], rtol=1e-10, atol=1e-12)
