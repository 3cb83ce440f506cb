"""Attention in blocks: whatever the blocks are, the result is that of the plain formula, and the memory grows like T."""

import itertools
import tracemalloc

import numpy as np
import pytest

import minigrad as mg
from minigrad.fast import attention as blocks
from minigrad.ops.attention import attention

CASES = list(itertools.product((True, False), (1, 3), ("many kept", "few kept"), (None, 0.3)))


def inputs(t, s, kv_heads, group, rng):
    q = rng.normal(size=(2, kv_heads * group, t, 4))
    k, v = rng.normal(size=(2, 2, kv_heads, s, 4))
    return [mg.Tensor(x, requires_grad=True) for x in (q, k, v)]


def gradients(out, tensors, g):
    for t in tensors:
        t.zero_grad()
    out.backward(g)
    return [t.grad.numpy().copy() for t in tensors]


@pytest.mark.parametrize(("causal", "group", "kept", "p"), CASES)
def test_any_division_into_blocks_gives_the_plain_formula_and_its_gradients(causal, group, kept, p, monkeypatch):
    monkeypatch.setattr(blocks, "ROWS", 2)
    monkeypatch.setattr(blocks, "SCORES", 40)
    monkeypatch.setattr(blocks, "KEPT", 1 << 20 if kept == "many kept" else 0)
    rng = np.random.default_rng(0)
    for t, s in ((7, 7), (5, 9), (9, 5), (1, 6)):
        tensors = inputs(t, s, 2, group, rng)
        mask = np.where(rng.random((2, 1, t, s)) < 0.3, -np.inf, rng.normal(size=(2, 1, t, s)))
        params = {"mask": mask, "causal": causal} | ({} if p is None else {"dropout": p, "seed": 11})
        out = attention(*tensors, None, **params)
        g = rng.normal(size=out.shape)
        found = gradients(out, tensors, g)
        plain = attention.definition(*tensors, None, **params)
        np.testing.assert_allclose(out.numpy(), plain.numpy(), rtol=1e-12, atol=1e-13)
        for a, b in zip(found, gradients(plain, tensors, g), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("short", range(4))
@pytest.mark.parametrize(("lead", "given"), [((3,), (1,)), ((2, 3), (2, 1)), ((2, 3), (1, 3)), ((2, 3), (1, 1))])
def test_the_leading_axes_of_each_operand_broadcast(short, lead, given):
    rng = np.random.default_rng(0)
    tensors = [
        mg.Tensor(rng.normal(size=((given if i == short else lead) + shape)), requires_grad=True)
        for i, shape in enumerate([(4, 5, 2), (4, 6, 2), (4, 6, 3), (4, 5, 6)])  # q, k, v, bias
    ]
    out, plain = attention(*tensors), attention.definition(*tensors)
    np.testing.assert_allclose(out.numpy(), plain.numpy(), rtol=1e-12, atol=1e-13)
    g = rng.normal(size=out.shape)
    for a, b in zip(gradients(out, tensors, g), gradients(plain, tensors, g), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_scores_that_lie_far_apart_lose_no_digits():
    """One shift for a whole block would make the row of small scores underflow."""
    q = np.array([[100.0, 0.0], [0.0, 1.0], [-100.0, 0.0]], np.float32)[None]
    k = np.array([[2.0, 0.1], [-2.0, 0.2], [1.0, 0.3]], np.float32)[None]
    v = np.eye(3, dtype=np.float32)[None]
    weights = mg.scaled_dot_product_attention(q, k, v, scale=1.0).numpy()
    scores = q.astype(np.float64) @ k.astype(np.float64).mT
    exact = np.exp(scores - scores.max(axis=-1, keepdims=True))
    np.testing.assert_allclose(weights, exact / exact.sum(axis=-1, keepdims=True), rtol=1e-6, atol=1e-30)


def test_a_bias_that_is_learned_gets_its_gradient_from_every_block(monkeypatch):
    monkeypatch.setattr(blocks, "ROWS", 2)
    monkeypatch.setattr(blocks, "SCORES", 10)
    rng = np.random.default_rng(1)
    q, k, v = inputs(6, 6, 2, 2, rng)
    bias = mg.Tensor(rng.normal(size=(4, 1, 6)), requires_grad=True)
    g = rng.normal(size=q.shape)
    found = gradients(mg.scaled_dot_product_attention(q, k, v, bias, causal=True), [bias], g)
    wanted = gradients(attention.definition(q, k, v, bias, None, True), [bias], g)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-10, atol=1e-12)


def peak(t):
    """The most bytes that causal attention over T tokens holds at a time, forward and backward."""
    rng = np.random.default_rng(0)
    q, k, v = (mg.Tensor(rng.normal(size=(1, 2, t, 8)).astype(np.float32), requires_grad=True) for _ in range(3))
    g = np.ones(q.shape, np.float32)
    tracemalloc.start()
    mg.scaled_dot_product_attention(q, k, v, causal=True).backward(g)
    top = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return top


def test_the_memory_grows_like_t_and_not_like_t_squared(monkeypatch):
    monkeypatch.setattr(blocks, "KEPT", 0)
    small, large = peak(1024), peak(4096)
    assert large < 5 * small
    assert large < 4096 * 4096 * 4 / 4  # a quarter of one T×T array in float32, and there are two heads


def test_a_mask_without_a_gradient_makes_no_t_by_t_array(monkeypatch):
    monkeypatch.setattr(blocks, "KEPT", 0)
    t = 2048
    q = mg.Tensor(np.ones((1, 1, t, 4), np.float32), requires_grad=True)
    mask = np.ones((1, 1, 1, t), bool)
    mask[..., -5:] = False
    tracemalloc.start()
    mg.scaled_dot_product_attention(q, q, q, mask).sum().backward()
    top = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert top < t * t * 4 / 2


@pytest.mark.parametrize("small", [True, False])
def test_a_key_of_the_future_with_a_huge_score_changes_nothing(small, monkeypatch):
    if not small:
        monkeypatch.setattr(blocks, "is_one_block", lambda *_: False)
    q = np.zeros((1, 1, 3, 2), np.float32)
    q[..., 0] = 1
    k = np.array([[1.0, 0], [2, 0], [3000, 0]], np.float32)[None, None]
    v = np.eye(3, dtype=np.float32)[None, None]
    weights = mg.scaled_dot_product_attention(q, k, v, causal=True, scale=1.0).numpy()[0, 0]
    e = np.exp(-1.0)
    np.testing.assert_allclose(weights, [[1, 0, 0], [e / (1 + e), 1 / (1 + e), 0], [0, 0, 1]], rtol=1e-6)


@pytest.mark.parametrize(("heads", "kept"), [(4, True), (8, False)])
def test_the_weights_are_kept_for_the_backward_pass_while_they_are_at_most_two_million(heads, kept):
    q, k, v = np.random.default_rng(0).normal(size=(3, 1, heads, 600, 4)).astype(np.float32)  # heads times 360,000 weights
    _, (weights, ell) = blocks.attention(q, k, v, save=True)
    assert (sum(p.size for p in weights) == heads * 600 * 600) == kept and (ell is None) == kept
