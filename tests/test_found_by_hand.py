"""What was found wrong in the tools for gradients by hand, each as a small case that must stay right."""

import re
import shutil
import subprocess

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, compare, diagnose, explain, gradcheck, gradgradcheck

SEEDS = range(12)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def said(f, inputs, claimed, **options):
    """The verdict and the words on the first claimed gradient that is wrong."""
    found = diagnose(f, inputs, claimed, **options)
    row = next((r for r in found.rows if not r), found.rows[0])
    return row.mistake, f"{row.mistake}: {row.words} {' '.join(row.others)}"


# Zero in theory, kinks, rounded answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.slow
def test_zero_in_theory_may_be_claimed_as_zero(seed):
    z = draw(3, 5, seed=seed)
    found = diagnose(lambda z: mg.softmax(z).sum(), z, np.zeros((3, 5)))
    assert found
    assert not diagnose(lambda z: mg.softmax(z).sum(), z, np.zeros((3, 5))).rows[0].max_abs or "round-off" in str(found)
    assert diagnose(lambda z: (mg.exp(z) / mg.exp(z).sum(axis=1, keepdims=True)).sum(), z, np.zeros((3, 5)))
    assert not diagnose(lambda z: mg.softmax(z).sum(), z, np.full((3, 5), 1e-3))
    one, zero = np.ones(5), np.zeros(5)
    norm = lambda x: mg.layer_norm(x, one, zero).sum()  # noqa: E731
    assert gradcheck(norm, z) and diagnose(norm, z, np.zeros((3, 5)))
    batch = lambda x: ((x - x.mean(axis=0)) / mg.sqrt(x.var(axis=0) + 1e-5)).sum()  # noqa: E731
    assert gradcheck(batch, z) and diagnose(batch, z, np.zeros((3, 5)))


def test_compare_knows_round_off_from_a_difference():
    assert compare({"dx": np.full(3, 1e-17)}, {"dx": np.zeros(3)})
    assert compare({"dx": np.zeros(3)}, {"dx": np.full(3, 1e-17)})
    assert compare({"dx": np.full(3, 1e-15), "dw": np.ones(2)}, {"dx": np.zeros(3), "dw": np.ones(2)})
    assert not compare({"dx": np.full(3, 1e-9)}, {"dx": np.zeros(3)})
    assert not compare({"dx": np.full(3, 1e-12)}, {"dx": np.full(3, 2e-12)})


def test_a_subgradient_at_a_kink_is_right_and_said_to_be_one_of_several():
    z = np.array([0.0, 1.0, -1.0])
    relu = lambda z: mg.maximum(z, 0).sum()  # noqa: E731
    for claim in (z > 0, z >= 0, [0.5, 1, 0]):
        found = diagnose(relu, z, np.array(claim, float))
        assert found, found
    assert "kink" in str(diagnose(relu, z, (z > 0) * 1.0)) and "subgradient" in str(diagnose(relu, z, (z > 0) * 1.0))
    assert not diagnose(relu, z, [5.0, 1, 0]) and not diagnose(relu, z, [0.0, 0.5, 0]) and not diagnose(relu, z, [-0.1, 1, 0])
    m = np.array([2.0, 2.0, 1.0])
    assert diagnose(lambda x: x.max(), m, [1.0, 0, 0]) and diagnose(lambda x: x.max(), m, [0.0, 1, 0])
    assert not diagnose(lambda x: x.max(), m, [0.0, 0, 1])
    scores = np.array([[1.0, 2.0, 0.0]])
    hinge = lambda s: mg.maximum(s - s[:, :1] + 1.0, 0).sum()  # noqa: E731
    claim = ((scores - scores[:, :1] + 1 > 0) * 1.0)
    claim[:, 0] -= claim.sum()
    assert diagnose(hinge, scores, claim), diagnose(hinge, scores, claim)


def test_zero_inputs_with_zero_biases_under_relu():
    x, w, b, v = np.zeros((2, 3)), draw(3, 4), np.zeros(4), draw(4, seed=1)
    f = lambda b: (mg.maximum(x @ w + b, 0) @ v).sum()  # noqa: E731
    assert diagnose(f, b, np.zeros(4)) and diagnose(f, b, 2 * v)


def test_a_claim_that_is_a_function_is_tried_at_other_points_too():
    found = diagnose(lambda x: x * x, 2.0, lambda x: x**2)
    assert not found and "other inputs" in str(found)
    assert diagnose(lambda x: x * x, 2.0, lambda x: 2 * x)
    x, g, u = draw(3, 4), np.ones(4), draw(3, 4, seed=1)

    def without_gamma(x, gamma):
        n, s = (x - x.mean(1, keepdims=True)), np.sqrt(x.var(1, keepdims=True) + 1e-5)
        n = n / s
        return {"x": (u - u.mean(1, keepdims=True) - n * (u * n).mean(1, keepdims=True)) / s}

    found = diagnose(lambda x, gamma: (u * mg.layer_norm(x, gamma, None)).sum(), {"x": x, "gamma": g}, without_gamma)
    assert not found and "gamma" in str(found)
    y = np.eye(3)[[0, 2, 1]]  # targets are not moved: they must stay one-hot
    assert diagnose(lambda z, y: -(y * mg.log_softmax(z)).sum(), {"z": draw(3, 3), "y": y}, lambda z, y: {"z": softmax(z) - y})
    a = draw(3, 3)
    assert diagnose(lambda x, a: x @ a @ x, {"x": draw(3), "a": a + a.T}, lambda x, a: {"x": 2 * a @ x})  # symmetric stays symmetric


def test_a_rounded_answer_agrees_to_so_many_digits():
    x = draw(3, 4)
    mistake, words = said(lambda x: mg.tanh(x).sum(), x, np.round(1 - np.tanh(x) ** 2, 4))
    assert mistake == "rounded" and "agrees to 4 d" in words and "rtol" in words


# Second order, steep functions, kinks in gradcheck ---------------------------------------------------------------------


def test_gradgradcheck_differentiates_with_respect_to_the_upstream_gradient():
    @mg.custom_op(vjp=lambda g, y, x: 2 * x * (g.detach() if isinstance(g, Tensor) else g))
    def sq(x):
        return x**2

    assert gradcheck(sq, draw(3))
    assert not gradgradcheck(sq, draw(3))
    assert gradgradcheck(lambda x: mg.tanh(x) * x, draw(3))


@pytest.mark.parametrize(("f", "x"), [
    (mg.sin, np.array([1e7])),
    (mg.sin, np.array([1e8])),
    (lambda x: mg.sin(1e7 * x), np.array([0.3, -1.2])),
    (lambda t: mg.exp(-((t - 1e4) ** 2)), np.array([1e4 + 0.3])),
    (lambda x: x.var(), np.ones(5)),
    (lambda x: ((x - x.mean()) ** 2).sum(), np.ones(5)),
])  # fmt: skip
def test_what_is_steep_or_flat_is_resolved_or_undecided_never_wrong(f, x):
    assert "WRONG" not in str(gradcheck(f, x))


def test_a_chaotic_map_is_undecided():
    def logistic(x):
        for _ in range(30):
            x = 3.9 * x * (1 - x)
        return x

    assert "WRONG" not in str(gradcheck(logistic, np.array([0.3, 0.61])))


def test_gradcheck_still_finds_wrong_gradients_of_steep_functions():
    @mg.custom_op(vjp=lambda g, y, x: 1.01 * g * np.cos(x))
    def wrong(x):
        return np.sin(x)

    assert "WRONG" in str(gradcheck(wrong, np.array([1e5, 1e3, 2.0])))


def test_at_a_kink_the_derivative_must_lie_between_the_one_sided_slopes():
    def relu_with(slope):
        return mg.custom_op(vjp=lambda g, y, x: g * np.where(x > 0, 1.0, np.where(x == 0, slope, 0.0)))(lambda x: np.maximum(x, 0))

    x = np.array([0.0, 1.0, -2.0])
    assert gradcheck(relu_with(0.0), x) and gradcheck(relu_with(1.0), x) and gradcheck(relu_with(0.5), x)
    assert not gradcheck(relu_with(5.0), x) and not gradcheck(relu_with(-2.0), x)


def test_a_bilinear_function_has_no_kink_at_mixed_scales():
    a, b = np.array([1e-6, 1.0, 1e6]), np.array([1e6, 1e-3, 1.0])
    assert "kink" not in str(gradcheck(lambda a, b: (a * b).sum(), a, b))
    assert "kink" not in str(gradcheck(lambda a, b: a * b, a, b))


# Named mistakes --------------------------------------------------------------------------------------------------------

Y4 = np.array([0, 2, 1, 3, 3, 0])


def test_a_missing_regulariser_is_the_regulariser_s_term():
    x, w = draw(6, 3), draw(3, 4, seed=1)
    f = lambda W: mg.cross_entropy(x @ W, Y4) + 0.1 * (W * W).sum()  # noqa: E731
    data = x.T @ (softmax(x @ w) - np.eye(4)[Y4])
    mistake, words = said(f, w, data / 6)
    assert mistake == "missing term" and "0.1 * sum(W * W)" in words and "variance" not in words
    mistake, words = said(f, w, data + 0.2 * w)
    assert mistake == "missing mean" and "6" in words
    mistake, words = said(f, w, data / 6 + 0.1 * w)
    assert "2 of the square" in words
    mistake, words = said(f, w, (data + 0.2 * w) / 6)
    assert "0.1 * sum(W * W)" in words and "divided by" in words and "6" in words


@pytest.mark.parametrize("which", ["norm", "rms", "cosine"])
def test_a_norm_that_is_held_constant_is_named_as_the_norm(which):
    x, v, c = draw(5), draw(5, seed=1), draw(5, seed=2)
    n, r = np.sqrt(x @ x), np.sqrt((x * x).mean() + 1e-6)
    f, claim = {
        "norm": (lambda x: (c * x / mg.sqrt((x * x).sum())).sum(), c / n),
        "rms": (lambda x: (c * x / mg.sqrt((x * x).mean() + 1e-6)).sum(), c / r),
        "cosine": (lambda x: (x @ v) / (mg.sqrt((x * x).sum()) * mg.sqrt((v * v).sum())), v / (n * np.sqrt(v @ v))),
    }[which]
    _, words = said(f, x, claim)
    assert "norm" in words and "constant" in words and "variance" not in words, words


def test_relu_s_zeros_are_not_blamed_on_the_targets():
    x, w1, b1, w2, y = draw(6, 3), draw(3, 5, seed=1), draw(5, seed=2), draw(5, 4, seed=3), np.eye(4)[Y4]

    def f(W1, b1, W2):
        h = mg.maximum(x @ W1 + b1, 0)
        return -(y * mg.log_softmax(h @ W2)).sum()

    h = np.maximum(x @ w1 + b1, 0)
    mistake, words = said(f, {"W1": w1, "b1": b1, "W2": w2}, {"b1": ((softmax(h @ w2) - y) @ w2.T).sum(0)})
    assert mistake == "mask not applied" and "maximum" in words and "multiply" not in words


def test_a_factor_that_is_an_input_is_named():
    x, z = draw(3), draw(5, 3, seed=1)
    f = lambda x, z, g: mg.exp(-g * ((x - z) ** 2).sum(axis=1)).sum()  # noqa: E731
    k = np.exp(-0.4 * ((x - z) ** 2).sum(1))
    mistake, words = said(f, {"x": x, "z": z, "g": np.array(0.4)}, {"x": -2 * k @ (x - z)})
    assert mistake == "factor" and re.search(r"factor -?g\b", words) and "no origin" not in words


def test_a_jacobian_where_the_gradient_is_asked_is_recognised():
    x = draw(4)
    mistake, words = said(lambda x: mg.tanh(x).sum(), x, np.diag(1 - np.tanh(x) ** 2))
    assert mistake == "jacobian" and "it is right" in words
    assert diagnose(mg.tanh, x, np.diag(1 - np.tanh(x) ** 2))  # asked as such
    p = softmax(x)
    assert diagnose(mg.softmax, x, np.diag(p) - np.outer(p, p))
    assert diagnose(mg.softmax, x, np.diag(p)).mistake == "missing term"
    a = draw(3, 3)
    quadratic = lambda x: x @ a @ x  # noqa: E731
    assert diagnose(quadratic, draw(3), a + a.T)  # the Hessian
    assert not diagnose(quadratic, draw(3), 2 * a)


def test_a_symmetric_term_assumed():
    x, a, b = draw(4), draw(4, 4, seed=1), draw(4, 4, seed=2)
    for claim in (2 * a @ x, 2 * a.T @ x):
        _, words = said(lambda x, A: x @ A @ x, {"x": x, "A": a}, {"x": claim})
        assert "symmetric" in words, words
    X = draw(4, 4, seed=3)
    _, words = said(lambda X: ((X.T @ a @ X) * b.T).sum(), X, 2 * a @ X @ b)
    assert "symmetric" in words, words


def test_a_cumulative_sum_that_is_not_reversed():
    x, c = draw(6), draw(6, seed=1)
    assert said(lambda x: (c * mg.cumsum(x)).sum(), x, np.cumsum(c))[0] == "not reversed"


def test_neighbours_in_the_place_of_operands():
    x, w1, w2, c = draw(6, 3), draw(3, 4, seed=1), draw(4, 2, seed=2), draw(6, 2, seed=3)

    def net(W1, W2):
        z = x @ W1
        h = mg.tanh(z)
        return (c * (h @ W2)).sum()

    mistake, words = said(net, {"W1": w1, "W2": w2}, {"W2": (x @ w1).T @ c})
    assert mistake == "wrong operand" and "z stands where h belongs" in words
    u, g = draw(4, 5), draw(5, seed=1)

    def norm(x, gamma):
        xc = x - x.mean(axis=1, keepdims=True)
        xhat = xc / mg.sqrt((xc**2).mean(axis=1, keepdims=True) + 0.1)
        return (u * (gamma * xhat)).sum()

    mistake, words = said(norm, {"x": draw(4, 5, seed=2), "gamma": g}, {"gamma": (u * draw(4, 5, seed=2)).sum(0)})
    assert mistake == "wrong operand" and "x stands where xhat belongs" in words
    q, k, v, d = (draw(4, 4, seed=s) for s in range(4))

    def attention(v):
        s = Tensor(q) @ k.T / 2.0
        return (d * (mg.softmax(s + 0.0 * v) @ v)).sum()

    mistake, words = said(attention, v, (q @ k.T / 2).T @ d)
    assert mistake == "wrong operand", words


def test_the_same_slip_at_each_step_of_an_rnn():
    x, d = draw(3, 3), draw(4)

    def rnn(Wx, Wh):
        h = np.zeros(4)
        for t in range(3):
            h = mg.tanh(x[t] @ Wx + h @ Wh)
        return (d * h).sum()

    wx, wh = draw(3, 4, seed=1), draw(4, 4, seed=2)
    h = [np.zeros(4)]
    for t in range(3):
        h.append(np.tanh(x[t] @ wx + h[-1] @ wh))
    g, gw = d, np.zeros((4, 4))
    for t in (2, 1, 0):
        gw += np.outer(h[t], g)
        g = wh @ g
    mistake, words = said(rnn, {"Wx": wx, "Wh": wh}, {"Wh": gw})
    assert mistake == "forgotten derivative" and "each step" in words and "tanh" in words
    last = np.outer(h[0], wh @ ((wh @ (d * (1 - h[3] ** 2))) * (1 - h[2] ** 2)) * (1 - h[1] ** 2))
    assert not last.any()  # the first step alone: h is 0 there, so that overwriting leaves nothing
    mistake, words = said(rnn, {"Wx": wx, "Wh": wh}, {"Wh": last})
    assert "overwritten" in words, words


def test_forgotten_axes_factors_epsilon_and_smoothing():
    x, c = draw(3, 4), draw(3, seed=1)
    mistake, words = said(lambda x: (c * mg.exp(x).sum(axis=1)).sum(), x, c.sum() * np.exp(x))
    assert "axis" in words or "sum" in words, words
    z = draw(5)
    p = softmax(z)
    r = draw(5, seed=1)
    _, words = said(lambda z: mg.softmax(z) @ r, z, r - p @ r)
    assert "factor y" in words or "softmax" in words
    u = draw(3, 4, seed=2)

    def norm(x):
        xc = x - x.mean(axis=1, keepdims=True)
        return (u * xc / mg.sqrt((xc * xc).mean(axis=1, keepdims=True) + 1e-3)).sum()

    n0 = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    claim = (u - u.mean(1, keepdims=True) - n0 * (u * n0).mean(1, keepdims=True)) / x.std(1, keepdims=True)
    mistake, words = said(norm, x, claim)
    assert "0.001" in words and "left out" in words, words
    w, y = draw(3, 4, seed=3), np.array([0, 2, 1])
    t = np.eye(4)[y]
    claim = (softmax(w) - 0.9 * t - 0.1 / 3 * (1 - t)) / 3
    mistake, words = said(lambda w: mg.cross_entropy(w, y, label_smoothing=0.1), w, claim)
    assert mistake == "wrong label smoothing" and "V − 1" in words


def test_which_of_two_layers_is_said():
    x, w1, w2, c = draw(6, 3), draw(3, 4, seed=1), draw(4, 2, seed=2), draw(6, 2, seed=3)

    def net(W1, W2):
        h = mg.sigmoid(x @ W1)
        y = mg.sigmoid(h @ W2)
        return (c * y).sum()

    h = 1 / (1 + np.exp(-x @ w1))
    y = 1 / (1 + np.exp(-h @ w2))
    first = x.T @ ((c * y * (1 - y)) @ w2.T)
    second = x.T @ ((c @ w2.T) * h * (1 - h))
    inputs = {"W1": w1, "W2": w2}
    a, b = said(net, inputs, {"W1": first})[1], said(net, inputs, {"W1": second})[1]
    assert a != b and "x @ W1" in a and "h = mg.sigmoid" in a and "h @ W2" in b and "y = mg.sigmoid" in b


# Calls that agree with each other ---------------------------------------------------------------------------------------


def test_inputs_in_every_form():
    X, W = draw(3, 4), draw(4, 2)
    f = lambda X, W: (X @ W).sum()  # noqa: E731
    right = (np.ones((3, 2)) @ W.T, X.T @ np.ones((3, 2)))
    assert gradcheck(f, X, W) and gradcheck(f, (X, W)) and gradcheck(f, [X, W]) and gradcheck(f, {"X": X, "W": W})
    assert gradgradcheck(f, (X, W))
    assert diagnose(f, (X, W), right) and diagnose(f, [X, W], right) and diagnose(f, {"X": X, "W": W}, dict(zip("XW", right, strict=True)))
    assert diagnose(lambda x: (x * x).sum(), [1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    with pytest.raises(ValueError, match="1 names for 2 inputs"):
        diagnose(f, (X, W), right, names=["A"])
    with pytest.raises(ValueError, match="1 names for 2 inputs"):
        gradcheck(f, X, W, names=["A"])
    with pytest.raises(TypeError, match=r"no floating-point input.*2\.0"):
        diagnose(lambda x: x * x, 2, 4)
    with pytest.raises(TypeError, match=r"no floating-point input.*2\.0"):
        gradcheck(lambda x: x * x, 2)
    with pytest.raises(TypeError, match="takes 2 arguments, but 1"):
        diagnose(f, X, X)
    with pytest.raises(TypeError, match="takes 2 arguments, but 1"):
        gradcheck(f, X)


def test_derivatives_take_one_argument_as_it_is_and_say_what_they_expect():
    x, v = draw(3), draw(3, seed=1)
    np.testing.assert_allclose(mg.jvp(mg.sin, x, v)[1].data, np.cos(x) * v)
    np.testing.assert_allclose(mg.hvp(lambda x: (x**3).sum(), x, v).data, 6 * x * v)
    with pytest.raises(TypeError, match="expected the position of an argument"):
        mg.grad(lambda W: (W * W).sum(), "W")(x)
    with pytest.raises(TypeError, match=r"called as vjp\(g, y, x\)"):
        mg.custom_op(vjp=lambda g, x: g)(lambda x: x)


def test_overflow_and_the_edge_of_the_domain_get_a_message():
    with pytest.raises(ValueError, match="overflow"):
        diagnose(lambda x: mg.exp(x), 1000.0, 1.0)
    with pytest.raises(ValueError, match=r"overflow|infinit"):
        gradcheck(lambda x: mg.exp(x), np.array([1000.0]))
    with pytest.raises(ValueError, match="division by zero"):
        diagnose(lambda x: 1 / x, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"division by zero|infinit"):
        gradcheck(lambda x: 1 / x, np.array([0.0]))


def test_a_function_that_leaves_the_graph_is_said_to():
    x = draw(4)
    f = lambda x: (x * x.data).sum()  # noqa: E731
    found = diagnose(f, x, 2 * x)
    assert found and "leaves the graph" in str(found)
    found = diagnose(f, x, x)
    assert not found and "leaves the graph" in str(found)


# explain ----------------------------------------------------------------------------------------------------------------


def test_vectors_in_products_are_told_right():
    x, a = Tensor(draw(3), requires_grad=True, name="x"), Tensor(draw(3, 3), requires_grad=True, name="A")
    page = str(explain(x @ a @ x))
    assert "a = Aᵀ x" in page and "xᵀ A" not in page


def test_a_square_entry_by_entry_is_no_power_of_a_matrix():
    a = Tensor(draw(2, 2), requires_grad=True, name="A")
    for square in (a**2, a * a, np.square(a)):
        assert "A ⊙ A" in str(explain(square.sum()))
    v = Tensor(draw(3), requires_grad=True, name="v")
    assert "v ⊙ v" in str(explain((v**2).sum()))
    s = Tensor(2.5, requires_grad=True, name="s")
    assert "s²" in str(explain(s**2))


def test_a_running_sum_has_its_indices():
    x = Tensor(draw(4), requires_grad=True, name="x")
    page = str(explain((mg.cumsum(x) * np.arange(4.0)).sum()))
    assert "aᵢ=Σ_(n≤i)xₙ" in page.replace(" ", "") and "x̄ᵢ=Σ_(n≥i)āₙ" in page.replace(" ", ""), page
    from minigrad.byhand.explain import derivation

    assert "norm" not in derivation("cumsum")


def test_zeros_are_zeros():
    loss = lambda z: mg.softmax(z).sum()  # noqa: E731
    z = next(x for x in (draw(4, seed=s) for s in range(20)) if mg.grad(loss)(Tensor(x)).data.any())
    page = str(explain(loss(Tensor(z, requires_grad=True, name="z"))))
    assert "10^-" not in page and "round-off" in page


GREEK = {"θ_0": draw(3), "Σ": draw(3, 3), "α": draw(3), "ω": draw(3)}


def greek():
    t, s, a, o = (Tensor(x, requires_grad=True, name=name) for name, x in GREEK.items())
    return ((s @ t) * a + o).sum()


def wide():
    x = Tensor(draw(2, 2, 3, 3), requires_grad=True, name="x")
    return mg.softmax(x * 1234.5678).sum() + (x**3).sum()


def normed():
    x, g, b = (Tensor(draw(*s), requires_grad=True, name=n) for s, n in (((4, 8), "x"), ((8,), "gamma"), ((8,), "beta")))
    return (mg.layer_norm(x, g, b) * draw(4, 8)).sum()


def attended():
    q, k, v = (Tensor(draw(6, 6, seed=s), requires_grad=True, name=n) for s, n in enumerate("QKV"))
    return (mg.scaled_dot_product_attention(q, k, v, causal=True) * draw(6, 6)).sum()


PAGES = {"greek": greek, "4-D array": wide, "layer norm": normed, "attention": attended}


def test_greek_names_are_commands_in_latex():
    page = explain(greek()).latex(document=True)
    assert page.isascii() and r"\theta" in page and r"\Sigma" in page and r"\alpha" in page and r"\omega" in page


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
@pytest.mark.parametrize("name", PAGES)
def test_the_page_compiles_as_it_stands_and_stays_within_its_margins(name, tmp_path):
    (tmp_path / "page.tex").write_text(explain(PAGES[name]()).latex(document=True))
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "page.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    errors = [line for line in done.stdout.splitlines() if line.startswith("!")]
    assert not errors, errors[:5]
    over = [float(m) for m in re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)]
    assert not over or max(over) < 5, over


@pytest.mark.parametrize("name", PAGES)
def test_no_line_of_the_page_is_too_long(name):
    page = explain(PAGES[name]()).latex(document=True)
    assert page.startswith("\\documentclass") and page.rstrip().endswith("\\end{document}")
    assert page.isascii()


def test_gradients_go_by_the_user_s_names_intermediates_too():
    x, w = Tensor(draw(3, 4), requires_grad=True, name="X"), Tensor(draw(4, 2), requires_grad=True, name="W_1")
    h = np.tanh(x @ w)
    h.name = "hidden"
    e = explain((h * h).sum())
    assert {"X", "W_1", "hidden"} <= set(e.gradients)
    gh = 2 * h.data
    mine = {"hidden": gh, "W_1": x.data.T @ (gh * (1 - h.data**2)), "X": (gh * (1 - h.data**2)) @ w.data.T}
    assert compare(mine, {k: e.gradients[k] for k in mine})
    z = x @ w
    e = explain(np.tanh(z).sum(), names={"z": z, "X": x})
    assert "z" in e.gradients


def test_a_square_x_times_x_is_drawn_with_two_arrows():
    x = Tensor(draw(3), requires_grad=True, name="x")
    drawing = mg.draw((x * x).sum())
    assert drawing.to_dot().count("n1 -> n2") == 2 and drawing.to_mermaid().count("n1 --> n2") == 2
    (arrows,) = [f.routes for f in [_laid_out(drawing)]]
    ends = [points[-1] for points, _ in arrows]
    assert len(ends) == len(set(ends)) == 3


def _laid_out(drawing):
    from minigrad.byhand.draw import _frame_box, arrange

    nodes = {node.key: node for node in drawing.root.everything()}
    box = _frame_box(drawing.root, nodes, "shapes", "L")
    arrange(box)
    return box


# Slips that had another name, or none ----------------------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def named(f, inputs, claimed, *words, never=()):
    """The diagnosis says these words, and none of the others."""
    text = str(diagnose(f, inputs, claimed))
    assert "not recognised" not in text, text
    assert all(re.search(w, text) for w in words), text
    assert not any(re.search(w, text) for w in never), text


class Hinge:
    X, y = draw(6, 3, seed=3), np.array([0, 2, 1, 1, 0, 3])
    rows = np.arange(6)

    @classmethod
    def loss(cls, w):
        scores = cls.X @ w
        return np.maximum(scores - scores[cls.rows, cls.y].reshape(6, 1) + 2.0, 0).sum()

    @classmethod
    def active(cls, w):
        scores = cls.X @ w
        on = (scores - scores[cls.rows, cls.y][:, None] + 2.0 > 0) * 1.0
        on[cls.rows, cls.y] = 0
        return on


def test_the_right_class_of_a_hinge_without_gradient_or_counted_once():
    w = draw(3, 4, seed=4)
    on = Hinge.active(w)
    named(Hinge.loss, w, Hinge.X.T @ on, "get no gradient at all", never=["last alone", "first alone"])
    on[Hinge.rows, Hinge.y] = -1
    named(Hinge.loss, w, Hinge.X.T @ on, "minus the count of the others", never=["last alone", "first alone"])


def test_equal_gradients_of_all_places_are_no_last_one():
    x, b = draw(4, 3), draw(3, seed=1)
    named(lambda b: (x + b).sum(), b, np.ones(3), "one place alone", never=["last alone"])


def test_exponents_that_one_term_lacks():
    a, b = np.array([0.7, 1.1, 1.6, 0.9, 1.3, 2.0]), np.array(0.8)
    r = a**2 + 0.5
    f = lambda a: (b / (a**2 + 0.5) ** 3 - 2 * (a**2 + 0.5)).sum() + (b * a).sum()  # noqa: E731
    u = lambda a: ((a**2) ** 3).sum()  # noqa: E731
    named(u, a, a**5, "exponent 3.*square", never=["broadcast", "length of axis"])

    def g(a):
        s = (b**2 * (a**2)) ** 3
        return (s**2 - s).sum()

    s = (b**2 * a**2) ** 3
    named(g, a, (12 * s**2 - s) / a, "exponent 3.*square.*in this part alone", never=["broadcast over"])
    assert diagnose(f, a, -6 * b * a / r**4 - 4 * a + b)


def test_a_scale_by_another_length():
    q, k, m = draw(2, 2, 3, 4), draw(2, 2, 3, 4, seed=1), draw(2, 2, 3, 3, seed=2)
    wide = draw(8)
    f = lambda q, k, wide: (m * (q @ k.swapaxes(-1, -2) / np.sqrt(4))).sum() + wide.sum()  # noqa: E731
    claimed = {"q": m @ k / np.sqrt(8), "k": m.swapaxes(-1, -2) @ q / np.sqrt(8), "wide": np.ones(8)}
    named(f, {"q": q, "k": k, "wide": wide}, claimed, r"the scale is 1/√8 \(8 is the length of axis 0 of wide")


def test_a_factor_keeps_its_sign_and_lies_on_the_path():
    d, c = np.abs(draw(4)), draw(4, seed=1)
    f = lambda r, d: (c * np.exp(-np.exp(r) * d)).sum()  # noqa: E731
    r = np.array(-0.3)
    e = c * np.exp(-np.exp(r) * d)
    named(f, {"r": r, "d": d}, {"r": -(d * e).sum()}, "derivative of exp is left out", never=["is missing"])
    named(f, {"r": r, "d": d}, {"d": -e}, "though not its minus sign|left out of the gradient of d")


def test_a_count_of_kept_entries_only_where_there_is_a_mask():
    x, t = draw(5, 2), draw(5, 2, seed=1)
    named(lambda x: ((x - t) ** 2).sum() / 5, x, (x - t) / 5, "2 of the square", never=["masked"])
    m = np.array([1.0, 0, 1, 1, 0]).reshape(5, 1)
    named(lambda x: ((x - t) ** 2 * m).sum() / 3, x, 2 * (x - t) * m / 5, "ignored")


def test_the_claims_that_are_right_speak_too():
    x, w, b, t = draw(4, 3), draw(3, 2, seed=1), draw(2, seed=2), draw(4, 2, seed=3)
    e = 2 * (x @ w + b - t) / 4
    f = lambda w, b: ((x @ w + b - t) ** 2).sum() / 4  # noqa: E731
    row = diagnose(f, {"w": w, "b": b}, {"w": x.T @ e, "b": e.mean(0)})["b"]
    assert row.mistake == "superfluous mean" and "b was broadcast over 4 places" in row.words
    u = draw(5, seed=4)  # a scalar is explained by what explains the others
    pinball = lambda v, c: np.maximum(0.7 * (u * v + c), -0.3 * (u * v + c)).sum()  # noqa: E731
    v, c = draw(5, seed=5), np.array(0.1)
    g = np.where(u * v + c > 0, 0.7, 0.3)
    found = diagnose(pinball, {"v": v, "c": c}, {"v": u * g, "c": g.sum()})
    assert found["v"].mistake == found["c"].mistake == "sign", found


def test_what_explains_one_claim_is_tried_on_another_with_a_second_slip():
    x, w, c = draw(4, 3), draw(3, 3, seed=1), draw(4, 3, seed=3)  # of both tanh' is left out, of x a term as well
    f = lambda x, w: (c * np.sin(np.tanh(x @ w))).sum() + (x * x * c).sum()  # noqa: E731
    d = c * np.cos(np.tanh(x @ w))
    named(f, {"x": x, "w": w}, {"w": x.T @ d, "x": d @ w.T}, "two mistakes: .*tanh.*(term|path)")


def test_two_paths_one_of_them_within_the_other():
    u, t = draw(4, 3), draw(4, seed=1)

    def f(u):
        n = np.sqrt((u * u).sum(axis=1))
        return ((u.sum(axis=1) / n - t) ** 2).sum()

    n = np.sqrt((u * u).sum(1))
    e = u.sum(1) / n - t
    named(f, u, (e / n)[:, None] * np.ones(3), "two mistakes.*2 of the square")  # both the 2 and the norm's path


def test_factors_of_a_number_that_a_line_multiplies():
    x, rate, power = draw(4), 0.7, 3.0
    f = lambda x: rate * power**2 * np.sin(x).sum() + (x * x).sum()  # noqa: E731
    named(f, x, rate * np.cos(x) + 2 * x, r"the factor power \*\* 2 = 9 of rate \* power \*\* 2 = 6.3 is missing")


def test_every_square_on_parallel_branches():
    a, p, n = draw(4, 2), draw(4, 2, seed=1), draw(4, 2, seed=2)

    def f(a):
        near = ((a - p) ** 2).sum()
        far = ((a - n) ** 2).sum()
        return near - 0.3 * far

    named(f, a, (a - p) - 0.3 * (a - n), "in each of 2 places, the 2 of the square", never=["another term"])


def recurrent(h, w, u, x):
    for t in range(4):
        h = np.tanh(x[t] @ w + h @ u)
    return h.sum()


def through_time(h, w, u, x, after=False, last=False):
    states = [h]
    for t in range(4):
        states.append(np.tanh(x[t] @ w + states[-1] @ u))
    dh, dw, du = np.ones(h.shape), 0, 0
    for t in range(3, -1, -1):
        dz = dh * (1 - states[t + 1] ** 2)
        dw, du = dw + x[t].T @ dz, du + states[t + after].T @ dz
        dh = np.ones(h.shape) if last else dz @ u.T
    return {"w": dw, "u": du}


def test_off_by_one_in_a_loop_and_every_step_as_if_it_were_the_last():
    h, w, u, x = draw(2, 3), draw(2, 3, seed=1), 0.5 * draw(3, 3, seed=2), draw(4, 2, 2, seed=3)
    f = lambda w, u: recurrent(h, w, u, x)  # noqa: E731
    assert diagnose(f, {"w": w, "u": u}, through_time(h, w, u, x))
    late = through_time(h, w, u, x, after=True)
    named(f, {"w": w, "u": u}, late, r"h after the step \(h_t\) stands where h before it", never=["number"])
    named(f, {"w": w, "u": u}, through_time(h, w, u, x, last=True), "as if|last one", never=["number 1"])
    both = through_time(h, w, u, x, after=True, last=True)
    named(f, {"w": w, "u": u}, both, "u: two mistakes")


def test_one_of_several_products_in_the_body_of_a_loop():
    a, b, x = draw(3, seed=1) ** 2, draw(3, seed=2), draw(3)

    def f(b, x):
        for _ in range(3):
            x = a * x + b * np.sin(x)
        return x.sum()

    states = [x]
    for _ in range(3):
        states.append(a * states[-1] + b * np.sin(states[-1]))
    g, db = np.ones(3), 0
    for s in reversed(states[:-1]):
        db, g = db + g * np.sin(s), g * b * np.cos(s)  # a x is forgotten
    named(f, {"b": b, "x": x}, {"b": db, "x": g}, r"each step of the loop.* x is left out, in multiply a \* x")


def test_the_step_above_left_out_of_one_operand_only():
    m, e = np.abs(draw(3, 3)), np.abs(draw(4, 3, seed=1))

    def f(m, a):
        for t in range(3):
            a = (a @ m) * e[t]
        return a.sum()

    a = np.ones((1, 3))
    states = [a]
    for t in range(3):
        states.append((states[-1] @ m) * e[t])
    g, dm = np.ones((1, 3)), 0
    for t in range(2, -1, -1):
        dm, g = dm + states[t].T @ g, (g * e[t]) @ m.T
    named(f, {"m": m, "a": a}, {"m": dm, "a": g},
          r"the factor e\[….*\] is left out of the gradient of m, though not of that of a|left out")


def test_inverses_on_one_side_and_softmax_over_another_axis():
    a, c = draw(3, 3) + 3 * np.eye(3), draw(3, 3, seed=1)
    f = lambda a: (c * np.linalg.inv(a)).sum()  # noqa: E731
    named(f, a, -c @ np.linalg.inv(a).T, "one side only.*left is missing")
    named(f, a, -np.linalg.inv(a).T @ c, "one side only.*right is missing")
    z = draw(3, 4)
    named(lambda z: mg.logsumexp(z, axis=1).sum(), z, softmax(z.T).T, "softmax.x. is taken over another axis")


def test_second_terms_of_silu_and_gelu():
    x = draw(5)
    s = sigmoid(x)
    named(lambda x: mg.silu(x).sum(), x, s + x * s, "in the second the factor 1 − s is missing")
    named(lambda x: mg.silu(x).sum(), x, s + s * (1 - s), "in the second the factor x is missing")
    named(lambda x: mg.silu(x).sum(), x, s - x * s * (1 - s), "second term has the wrong sign")
    phi = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    exact = lambda x: mg.gelu(x, approximate="none").sum()  # noqa: E731
    right = mg.grad(exact)(x)
    named(exact, x, right - x * phi + phi, "in the second the factor x is missing")
    tanh_form = lambda x: mg.gelu(x, approximate="tanh").sum()  # noqa: E731
    inside = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x * x)
    switch = sigmoid(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    named(tanh_form, x, switch + 2 * inside * x * switch, "in the second the factor 1 − s is missing")


def test_the_gain_of_a_norm_left_out_inside_its_mean():
    x, g, c = draw(3, 5), draw(5, seed=1) + 3, draw(3, 5, seed=2)
    f = lambda x: (c * (x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-6) * g)).sum()  # noqa: E731
    s = np.sqrt((x * x).mean(1, keepdims=True) + 1e-6)
    n = x / s
    named(f, x, (c * g - n * (c * n).mean(1, keepdims=True)) / s, r"the factor g \(the gain\) is left out inside")


def test_label_smoothing_whose_one_hot_part_is_not_scaled():
    z, y = draw(4, 5), np.array([0, 3, 1, 1])
    claimed = (softmax(z) - np.eye(5)[y] - 0.2 / 5) / 4
    named(lambda z: mg.cross_entropy(z, y, label_smoothing=0.2), z, claimed, "factor 1 − ε of the one-hot")


def test_a_slice_forgotten_in_a_penalty():
    w, x, t = draw(5), draw(6, 5, seed=1), draw(6, seed=2)
    f = lambda w: ((x @ w - t) ** 2).sum() + 0.3 * (w[:-1] ** 2).sum()  # noqa: E731
    named(f, w, 2 * x.T @ (x @ w - t) + 0.6 * w, r"slice is forgotten: all of w stands where w\[:-1\] belongs")


def test_one_index_of_each_group():
    table, ids, c = draw(6, 3), np.array([[0, 1, 2], [3, 4, 5], [0, 2, 4]]), draw(3, 3, seed=1)
    claimed = np.zeros((6, 3))
    np.add.at(claimed, ids[:, 0], c)
    named(lambda t: (mg.embedding(t, ids).sum(axis=1) * c).sum(), table, claimed, "only the first one gets a gradient")


def test_the_gradients_of_two_gates_exchanged():
    z, c, d = draw(6), draw(3, seed=1), draw(3, seed=2)

    def f(z):
        i = mg.sigmoid(z[:3])
        o = mg.sigmoid(z[3:])
        return (c * i + d * o).sum()

    s = sigmoid(z)
    named(f, z, np.concatenate([d, c]) * s * (1 - s), "the gradients of i and o are exchanged")


def test_heads_that_are_only_reshaped():
    x, w, c = draw(2, 3, 4), draw(4, 4, seed=1), draw(2, 2, 3, 2, seed=2)
    f = lambda x, w: (c * mg.split_heads(x @ w, 2)).sum()  # noqa: E731
    d = c.reshape(2, 3, 4)
    claimed = {"x": d @ w.T, "w": np.einsum("bti,btj->ij", x, d)}
    named(f, {"x": x, "w": w}, claimed, "only reshaped: the transposition of the axes is left out")


def test_softmax_s_coupling_left_out_of_one_term():
    z, t, v = draw(3, 4), softmax(draw(3, 4, seed=1)), draw(3, 4, seed=2)

    def f(z):
        p = mg.softmax(z)
        return (t * np.log(p)).sum() + (v * p).sum()

    p = softmax(z)
    named(f, z, t - p + v * p, "only in the part of its gradient through multiply")


def test_two_edits_that_remove_the_same_path_are_no_pair():
    x, c = draw(5, 3), draw(5, 3, seed=1)

    def f(x):
        m = x - x.mean(axis=0)
        return (c * (m * ((m**2).mean(axis=0) + 1e-5) ** -0.5)).sum()

    s = np.sqrt(x.var(0) + 1e-5)
    n = (x - x.mean(0)) / s
    named(f, x, (c + n * (c * n).mean(0)) / s, "sign", never=["mean and the variance are taken as constants.*norm"])


def test_log_sigmoid_of_the_negative():
    x, c = draw(5), draw(5, seed=1)
    f = lambda x: (c * -np.log(1 / (1 + np.exp(x)))).sum()  # noqa: E731
    named(f, x, c * (sigmoid(x) - 1), "σ.x. − 1 stands in place of the derivative σ.x. of log")


def test_a_constant_in_place_of_another_and_a_count_behind_a_sign():
    x, a, b = draw(4, 3), draw(4, 3, seed=1), draw(4, 3, seed=2)
    c = draw(4, 3, seed=3)
    named(lambda x: (a * np.sin(x) + b * x).sum(), x, a * np.cos(x) + a, "a stands where b belongs")
    weights = np.array([1.0, 2.0, 0.5, 3.0])
    f = lambda x: -(weights.reshape(4, 1) * c * x).sum() / 6.5  # noqa: E731
    named(f, x, -weights.reshape(4, 1) * c / 12, "divided by 12, the number of entries, where the function divides by 6.5")


def test_flipped_along_both_axes():
    k, i = draw(2, 3), draw(2, 3, seed=1)
    named(lambda k: (k * i).sum(), k, i[::-1, ::-1].copy(), "rotated by 180°")


def test_the_words_of_a_diagnosis():
    a, b, c = draw(3), draw(3, seed=1), draw(3, seed=2)
    f = lambda a: (0.1 * (a + b) * (a - b) ** 2).sum() + (a * a * a).sum()  # noqa: E731
    text = str(diagnose(lambda a: ((a - b) ** 2 * c).sum(), a, (a - b) * c))
    assert "2 of the square" in text
    few = diagnose(f, a, mg.grad(f)(a) + np.where(np.arange(3) > 0, draw(3, seed=5), 0.0))
    assert "all of them in [1:3]" in str(few), few
    alone = str(diagnose(lambda s: np.sin(s) * 2.0, np.array(0.4), np.array(0.123)))
    assert "times the right one" in alone and "cosine" not in alone
    from minigrad.byhand.diagnose.program import _wrapped

    for text, said_as in {"a": "a", "sum(a) + f(b)": "(sum(a) + f(b))", "(a) * (b)": "((a) * (b))", "a[0, 1]": "a[0, 1]", "-a": "(-a)",
                          "h (number 1 of 4)": "h (number 1 of 4)"}.items():  # fmt: skip
        assert _wrapped(text) == said_as


def test_two_slips_on_paths_that_cross():
    x, t = draw(4), np.array([1.0, 0, 1, 0])

    def f(x):
        p = mg.sigmoid(x)
        q = t * p + (1 - t) * (1 - p)
        return ((1 - q) ** 2 * np.log(q)).sum()

    p = sigmoid(x)
    q = t * p + (1 - t) * (1 - p)
    dq = (1 - q) ** 2 / q  # the first factor as a constant, and the sign of 1 − p forgotten
    named(f, x, dq * p * (1 - p), "two mistakes: q is used 2 times.*the minus sign of the derivative of 1 - p")


def test_a_symmetric_matrix_assumed_and_a_term_forgotten():
    x, a, b = draw(3), draw(3, 3, seed=1), draw(3, seed=2)
    f = lambda x: 0.5 * (x @ a @ x) - b @ x  # noqa: E731
    named(f, x, a @ x, "two mistakes: a symmetric matrix is assumed.*b @ x is left out", never=["stands where b"])


def test_one_minus_a_number_in_its_place_and_a_mistake_in_what_is_transposed():
    def f(s, b):
        for t in range(3):
            s = b * s + (1 - b) * t
        return (s * s).sum()

    s, b = draw(3), np.array(0.8)
    last = s
    for t in range(3):
        last = b * last + (1 - b) * t
    named(f, {"s": s, "b": b}, {"s": 2 * last * (1 - b) ** 3}, "1 − b stands where b belongs")
    w, x, c = draw(3, 3), draw(3, 3, seed=1), draw(3, 3, seed=2)
    named(lambda w: (c * np.tanh(x @ w)).sum(), w, (x.T @ c).T, "two mistakes: the derivative of tanh.*transposed")


def test_a_factor_within_a_product_of_numbers():
    u, k = draw(4), np.array(2.0)
    f = lambda u, k: 0.5 * k * (u * u * u).sum()  # noqa: E731
    named(f, {"u": u, "k": k}, {"u": 1.5 * u**2}, "the factor k = 2 of 0.5 \\* k is missing")


def test_a_path_is_not_told_as_those_through_inputs_whose_gradients_are_right():
    n, u, w, c = draw(3, 3), draw(3, 2, seed=1), draw(2, 2, seed=2), draw(3, 2, seed=3)
    f = lambda n, u, w: (c * (n @ np.maximum(n @ u @ w, 0))).sum()  # noqa: E731
    z = n @ u @ w
    claims = {"n": c @ np.maximum(z, 0).T, "u": n.T @ ((n.T @ c) * (z > 0)) @ w.T, "w": (n @ u).T @ ((n.T @ c) * (z > 0))}
    named(f, {"n": n, "u": u, "w": w}, claims, "n is used 2 times.*through matmul n @ u.*is missing", never=["in each matmul"])
