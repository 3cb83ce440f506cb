"""grad, vjp, jvp, jacobian, hessian, hvp and checkpoint: closed forms, nesting, trees, and the same numbers by different ways."""

import weakref
from typing import NamedTuple

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, checkpoint, grad, hessian, hvp, jacobian, jvp, nn, no_grad, value_and_grad, vjp

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 4))
X = RNG.normal(size=4)


def softmax_of(x):
    return mg.softmax(A @ x)


def scalar(x):
    return mg.log(mg.softmax(A @ x)[0]) + (x**3).sum() / 3


# First order ----------------------------------------------------------------------------------------------------------


def test_grad_of_closed_forms():
    np.testing.assert_allclose(grad(lambda x: (x**3).sum())(X).data, 3 * X**2)
    np.testing.assert_allclose(grad(lambda x: x @ A.T @ A @ x)(X).data, 2 * A.T @ A @ X)
    np.testing.assert_allclose(grad(mg.logsumexp)(X).data, np.exp(X) / np.exp(X).sum())
    assert grad(lambda x: x * x)(3).item() == 6  # a plain number, an integer even


def test_value_and_grad_gives_both_and_the_value_is_detached():
    value, gradient = value_and_grad(lambda x: (x * x).sum())(X)
    assert value.item() == pytest.approx(X @ X)
    assert not value.requires_grad and not gradient.requires_grad
    np.testing.assert_allclose(gradient.data, 2 * X)


def test_argnums_chooses_the_arguments():
    def f(a, b, c=1.0):
        return (a * b * b).sum() * c

    assert grad(f)(2.0, 3.0).item() == 9
    assert grad(f, 1)(2.0, 3.0, c=2.0).item() == 24
    both = grad(f, (1, 0))(2.0, 3.0)
    assert [g.item() for g in both] == [12, 9] and isinstance(both, tuple)
    assert [g.item() for g in grad(f, (0,))(2.0, 3.0)] == [9]
    assert grad(f, -1)(2.0, 3.0).item() == 12
    with pytest.raises(ValueError, match=r"argnums=2: the function was called with 2"):
        grad(f, 2)(2.0, 3.0)


def test_has_aux_hands_the_rest_through():
    gradient, aux = grad(lambda x: ((x * x).sum(), {"n": x.size}), has_aux=True)(X)
    np.testing.assert_allclose(gradient.data, 2 * X)
    assert aux == {"n": 4}
    (value, aux), _ = value_and_grad(lambda x: (x.sum(), "aux"), has_aux=True)(X)
    assert value.item() == pytest.approx(X.sum()) and aux == "aux"
    _, pull, aux = vjp(lambda x: (x * 2, 7), X, has_aux=True)
    assert aux == 7 and (pull(np.ones(4))[0].data == 2).all()


def test_aux_comes_back_from_every_derivative_without_its_graph():
    def f(x):
        y = x * x
        return y.sum(), {"y": y, "note": ["kept", (y, 3)]}

    for derivative in (grad(f, has_aux=True), jacobian(f, has_aux=True), hessian(f, has_aux=True)):
        _, aux = derivative(X)
        np.testing.assert_allclose(aux["y"].data, X * X)
        assert not aux["y"].requires_grad and not aux["note"][1][0].requires_grad
        assert aux["note"][0] == "kept" and aux["note"][1][1] == 3
    outer = grad(lambda x: grad(lambda y: ((x * y * y).sum(), x * 3), has_aux=True)(X)[1].sum())(X)  # through aux, to what it needs outside
    np.testing.assert_allclose(outer.data, np.full(4, 3.0))
    for wrong in (grad(lambda x: x.sum(), has_aux=True), jacobian(lambda x: [x, 1], has_aux=True), lambda x: vjp(lambda x: x, x, has_aux=True)):
        with pytest.raises(TypeError, match=r"with has_aux the function must return a pair \(output, aux\)"):
            wrong(X)


class Pair(NamedTuple):
    w: object
    b: object


def test_trees_keep_their_structure():
    params = {"layers": [Pair(A.T.copy(), np.zeros(3)), (X[:3], None)], "scale": 2.0}

    def f(p):
        h = mg.tanh(X @ p["layers"][0].w + p["layers"][0].b)
        return (h * p["layers"][1][0]).sum() * p["scale"]

    g = grad(f)(params)
    assert list(g) == ["layers", "scale"] and isinstance(g["layers"][0], Pair) and isinstance(g["layers"][1], tuple)
    assert g["layers"][1][1] is None
    h = np.tanh(X @ A.T)
    np.testing.assert_allclose(g["layers"][1][0].data, 2 * h)
    np.testing.assert_allclose(g["layers"][0].b.data, 2 * X[:3] * (1 - h**2))
    assert g["scale"].item() == pytest.approx(h @ X[:3])


def test_a_function_that_is_no_scalar_is_refused():
    with pytest.raises(ValueError, match=r"must return a scalar Tensor, got shape \(4,\); use jacobian or vjp"):
        grad(lambda x: x * 2)(X)
    with pytest.raises(ValueError, match="got float"):
        grad(lambda x: 1.0)(X)
    for derivative in (jacobian(lambda x: 1.0), lambda x: vjp(lambda x: 1.0, x), lambda x: jvp(lambda x: x.data, (x,), (x,))):
        with pytest.raises(TypeError, match=r"must return Tensors \(or a tree of them\), got"):
            derivative(X)
    with pytest.raises(TypeError, match="cannot require grad"):
        grad(lambda x: x.sum())(np.arange(3))


def test_what_the_function_does_not_use_has_gradient_zero():
    a, b = grad(lambda a, b: (a * 2).sum(), (0, 1))(X, A)
    assert (a.data == 2).all() and b.shape == A.shape and not b.data.any()
    assert not grad(lambda x: Tensor(1.0))(X).data.any()


def test_derivatives_work_inside_no_grad_and_leave_no_gradients_behind():
    w = nn.Parameter(np.ones(4), dtype=np.float64)
    with no_grad():
        g = grad(lambda x: (w * x * x).sum())(X)
    np.testing.assert_allclose(g.data, 2 * X)
    assert w.grad is None


def test_gradients_keep_the_precision_of_their_arguments():
    x = X.astype(np.float32)
    assert grad(lambda t: (t**2).sum())(x).dtype == np.float32
    assert jacobian(softmax_of)(x).dtype == np.float32
    assert hvp(lambda t: (t**3).sum(), x, X).dtype == np.float32


def test_vjp_pulls_any_number_of_times_through_any_number_of_outputs():
    outputs, pull = vjp(lambda a, b: {"sum": a + b, "product": [a * b]}, X, 2 * X)
    np.testing.assert_allclose(outputs["product"][0].data, 2 * X * X)
    u, v = RNG.normal(size=4), RNG.normal(size=4)
    for _ in range(2):
        da, db = pull({"sum": u, "product": [v]})
        np.testing.assert_allclose(da.data, u + v * 2 * X)
        np.testing.assert_allclose(db.data, u + v * X)
    with pytest.raises(ValueError, match="2 outputs, got 1"):
        pull([u])
    with pytest.raises(ValueError, match=r"shape \(3,\); expected \(4,\)"):
        pull({"sum": np.ones(3), "product": [v]})


def test_jvp_is_the_jacobian_times_the_tangent():
    v = RNG.normal(size=4)
    out, pushed = jvp(softmax_of, (X,), (v,))
    np.testing.assert_allclose(out.data, softmax_of(Tensor(X)).data)
    np.testing.assert_allclose(pushed.data, jacobian(softmax_of)(X).data @ v, atol=1e-15)
    numeric = (softmax_of(Tensor(X + 1e-6 * v)).data - softmax_of(Tensor(X - 1e-6 * v)).data) / 2e-6
    np.testing.assert_allclose(pushed.data, numeric, atol=1e-9)
    _, linear = jvp(lambda x: x * 3, (X,), (v,))
    np.testing.assert_allclose(linear.data, 3 * v)
    _, several = jvp(lambda a, b: (a * b, a), (X, A[0]), (v, v))
    np.testing.assert_allclose(several[0].data, v * A[0] + X * v)
    np.testing.assert_allclose(several[1].data, v)
    with pytest.raises(ValueError, match="1 primals but 2 tangents"):
        jvp(softmax_of, (X,), (v, v))


def test_jacobian_of_closed_forms_and_shapes():
    p = np.exp(A @ X) / np.exp(A @ X).sum()
    np.testing.assert_allclose(jacobian(softmax_of)(X).data, (np.diag(p) - np.outer(p, p)) @ A, atol=1e-15)
    m = jacobian(lambda w: w @ X)(A)
    assert m.shape == (3, 3, 4)
    np.testing.assert_allclose(m.data, np.einsum("ij,k->ijk", np.eye(3), X))
    da, db = jacobian(lambda a, b: a * b, (0, 1))(X, 2.0)
    np.testing.assert_allclose(da.data, 2 * np.eye(4))
    np.testing.assert_allclose(db.data, X)
    assert jacobian(lambda x: x[:0])(X).shape == (0, 4)


def test_jacobian_of_trees_is_a_tree_of_trees_outputs_outside():
    def f(p, s):
        return {"h": mg.tanh(p["w"] @ X) * s, "sizes": [p["b"].sum(), (p["b"] * s,)]}

    p = {"w": A, "b": X[:3]}
    j = jacobian(f, (0, 1))(p, 2.0)
    by_p, by_s = j["h"]
    assert by_p["w"].shape == (3, 3, 4) and by_p["b"].shape == (3, 3) and not by_p["b"].data.any()
    np.testing.assert_allclose(by_s.data, np.tanh(A @ X))
    np.testing.assert_allclose(j["sizes"][0][0]["b"].data, np.ones(3))
    np.testing.assert_allclose(j["sizes"][1][0][0]["b"].data, 2 * np.eye(3))
    np.testing.assert_allclose(j["sizes"][1][0][1].data, X[:3])


# Higher order ---------------------------------------------------------------------------------------------------------


def test_nested_grad_to_third_order_and_beyond():
    f = mg.sin
    for expected in (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin):
        f = grad(f)
        assert f(0.7).item() == pytest.approx(expected(0.7), rel=1e-14)
    cube = grad(grad(grad(lambda x: (x**5).sum())))
    assert cube(2.0).item() == pytest.approx(60 * 4)


def test_the_third_derivative_of_softmax_agrees_with_differences_of_the_second():
    v = RNG.normal(size=4)

    def second(x):
        return hessian(scalar)(x)

    third = (second(X + 1e-5 * v).data - second(X - 1e-5 * v).data) / 2e-5
    np.testing.assert_allclose(jvp(second, (X,), (v,))[1].data, third, atol=1e-7)
    np.testing.assert_allclose(jacobian(second)(X).data @ v, third, atol=1e-7)


def test_hessian_of_closed_forms():
    np.testing.assert_allclose(hessian(lambda x: x @ A.T @ A @ x)(X).data, 2 * A.T @ A, rtol=1e-13)
    p = np.exp(X) / np.exp(X).sum()
    np.testing.assert_allclose(hessian(mg.logsumexp)(X).data, np.diag(p) - np.outer(p, p), atol=1e-15)
    np.testing.assert_allclose(hessian(lambda x: (x * 2).sum())(X).data, np.zeros((4, 4)))
    h = hessian(scalar)(X).data
    np.testing.assert_allclose(h, h.T, atol=1e-15)


def test_hessian_of_trees_and_of_several_arguments_has_a_block_for_each_pair():
    def f(p, s):
        return (mg.tanh(p["w"] @ X + p["b"][0]) * s).sum()

    p = {"w": A, "b": [X[:3], None]}
    by_p, by_s = hessian(f, (0, 1))(p, 2.0)
    (bb, bs), (wb, _), (sp, ss) = by_p["b"][0], by_p["w"], by_s
    t = np.tanh(A @ X + X[:3])
    curve = 2.0 * -2 * t * (1 - t**2)
    np.testing.assert_allclose(bb["b"][0].data, np.diag(curve))
    np.testing.assert_allclose(wb["b"][0].data, np.einsum("i,j,ik->ijk", curve, X, np.eye(3)), atol=1e-15)
    np.testing.assert_allclose(bb["w"].data, wb["b"][0].data.transpose(2, 0, 1))
    np.testing.assert_allclose(bs.data, 1 - t**2)
    np.testing.assert_allclose(sp["w"].data, np.outer(1 - t**2, X))
    assert ss.item() == 0 and by_p["b"][1] is None and bb["b"][1] is None


def test_everything_nests_to_third_order():
    """d³/dx³ of Σ x⁴ is 24 x on the diagonal, by every way to the third derivative."""
    def f(x):
        return (x**4).sum()

    v, w = RNG.normal(size=(2, 4))
    diagonal = np.einsum("i,ij,jk->ijk", 24 * X, np.eye(4), np.eye(4))
    np.testing.assert_allclose(jacobian(hessian(f))(X).data, diagonal, atol=1e-12)
    np.testing.assert_allclose(hessian(lambda x: (grad(f)(x) * v).sum())(X).data, diagonal @ v, atol=1e-12)
    np.testing.assert_allclose(grad(lambda x: (hvp(f, x, v) * w).sum())(X).data, 24 * X * v * w)
    np.testing.assert_allclose(hvp(lambda x: jvp(f, (x,), (v,))[1], X, w).data, 24 * X * v * w)
    np.testing.assert_allclose(jvp(lambda x: vjp(grad(f), x)[1](v)[0], (X,), (w,))[1].data, 24 * X * v * w)
    tree = grad(lambda p: hvp(lambda q: (q["a"] ** 2 * q["b"]).sum(), p, {"a": v, "b": w})["a"].sum())({"a": X, "b": A[0]})
    np.testing.assert_allclose(tree["a"].data, 2 * w)
    np.testing.assert_allclose(tree["b"].data, 2 * v)


def test_a_direction_of_another_shape_is_refused_by_name():
    for call, words in [
        (lambda: vjp(lambda x: x * 2, X)[1](np.ones(3)), "vjp: the upstream gradient"),
        (lambda: jvp(lambda x: x * 2, (X,), (np.ones(3),)), "jvp: the tangent"),
        (lambda: hvp(lambda x: (x * x).sum(), X, np.ones(3)), "hvp: the vector"),
    ]:
        with pytest.raises(ValueError, match=rf"{words} has shape \(3,\); expected \(4,\)"):
            call()


def test_hvp_equals_the_hessian_times_the_vector():
    v = RNG.normal(size=4)
    np.testing.assert_allclose(hvp(scalar, X, v).data, hessian(scalar)(X).data @ v, rtol=1e-12)
    assert not hvp(lambda x: x.sum(), X, v).data.any()
    assert not hvp(lambda x: x.sum() + (x * 0).sum(), X, v).data.any()


def test_hvp_of_several_arguments_and_of_trees_includes_the_mixed_terms():
    u, v = RNG.normal(size=4), RNG.normal(size=4)
    da, db = hvp(lambda a, b: (a * a * b).sum(), (X, A[0]), (u, v))
    np.testing.assert_allclose(da.data, 2 * A[0] * u + 2 * X * v)
    np.testing.assert_allclose(db.data, 2 * X * u)
    tree = hvp(lambda p: (p["a"] * p["b"]).sum(), {"a": X, "b": A[0]}, {"a": u, "b": v})
    np.testing.assert_allclose(tree["a"].data, v)
    with pytest.raises(ValueError, match="hvp"):
        hvp(lambda a: (a * a).sum(), X, (u, v))


def test_a_derivative_inside_a_function_may_use_the_outer_variable_from_outside():
    """d/dx [d/dy x·y] = 1, although x is not an argument of the inner function."""
    assert grad(lambda x: grad(lambda y: x * y)(2.0))(3.0).item() == 1
    assert grad(lambda x: grad(lambda y: x * x * y * y)(2.0))(3.0).item() == 24
    assert grad(lambda x: vjp(lambda y: x * y, 2.0)[1](1.0)[0])(3.0).item() == 1
    assert grad(lambda x: jvp(lambda y: x * x * y, (2.0,), (1.0,))[1])(3.0).item() == 6
    assert grad(lambda x: hvp(lambda y: x * y**3, 2.0, 1.0))(3.0).item() == 12
    np.testing.assert_allclose(jacobian(lambda x: jacobian(lambda y: x * y)(X))(3.0).data, np.eye(4))


def test_perturbations_of_inner_and_outer_variables_are_not_confused():
    assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0).item() == 1
    assert grad(lambda x: x * grad(lambda y: x * y)(2.0))(3.0).item() == 6


def test_gradient_penalty_through_parameters():
    """The gradient of |∂f/∂x|² with respect to the weights, with backward(create_graph=True) and with grad."""
    w = nn.Parameter(A, dtype=np.float64)
    x = Tensor(X, requires_grad=True)
    mg.tanh(w @ x).sum().backward(create_graph=True)
    penalty = (x.grad * x.grad).sum()
    w.zero_grad()
    penalty.backward()
    by_grad = grad(lambda w: (grad(lambda x: mg.tanh(w @ x).sum())(X) ** 2).sum())(A)
    np.testing.assert_allclose(w.grad.data, by_grad.data, rtol=1e-12)
    assert mg.gradcheck(lambda w: (grad(lambda x: mg.tanh(w @ x).sum())(X) ** 2).sum(), A)


# Checkpoint -----------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self):
        self.up, self.down, self.drop = nn.Linear(4, 8), nn.Linear(8, 4), nn.Dropout(0.5)
        self.astype(np.float64)

    def forward(self, x):
        return x + self.drop(self.down(mg.gelu(self.up(x))))


def run_blocks(through, x, seed=3):
    mg.manual_seed(1)
    blocks = [Block() for _ in range(3)]
    mg.manual_seed(seed)
    t = Tensor(x, requires_grad=True)
    y = t
    for block in blocks:
        y = through(block, y)
    loss = (y * np.arange(4.0)).sum()
    loss.backward()
    state = mg.dropout(np.ones(20), 0.5).tolist()  # the generator goes on as if nothing had been computed again
    return loss.item(), [t.grad.data] + [p.grad.data for b in blocks for p in b.parameters()], state


@pytest.mark.parametrize("through", [checkpoint, lambda f, x: checkpoint(lambda t: checkpoint(f, t) * 1.0, x)])
def test_checkpoint_gives_the_same_gradients_with_dropout_on(through):
    plain, again = run_blocks(lambda f, x: f(x), A), run_blocks(through, A)
    assert plain[0] == again[0] and plain[2] == again[2]
    assert len(plain[1]) == 13
    for a, b in zip(plain[1], again[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def test_checkpoint_forgets_the_interior():
    watched = []

    def f(x):
        inner = mg.exp(x)
        watched.append(weakref.ref(inner))
        return inner * inner

    x = Tensor(X, requires_grad=True)
    y = checkpoint(f, x)
    assert watched[0]() is None
    y.sum().backward()
    assert len(watched) == 2 and watched[1]() is None
    np.testing.assert_allclose(x.grad.data, 2 * np.exp(2 * X))


def test_checkpoint_reaches_tensors_that_the_function_only_closes_over():
    w = Tensor(A, requires_grad=True)
    h = w * 2  # an interior tensor, made before
    x = Tensor(X, requires_grad=True)
    checkpoint(lambda t: mg.tanh(h @ t) * w.sum(), x).sum().backward()
    expected_w, expected_x = grad(lambda w, x: (mg.tanh(w * 2 @ x) * w.sum()).sum(), (0, 1))(A, X)
    np.testing.assert_allclose(w.grad.data, expected_w.data, rtol=1e-12)
    np.testing.assert_allclose(x.grad.data, expected_x.data, rtol=1e-12)


def test_checkpoint_with_closures_to_second_order():
    def f(w):
        h = w * 2
        return checkpoint(lambda t: mg.tanh(h @ t) * w.sum(), X)

    assert mg.gradcheck(f, A)
    assert mg.gradgradcheck(f, A)


def test_checkpoint_of_constants_still_reaches_parameters():
    w = Tensor(A, requires_grad=True)
    checkpoint(lambda x: w @ x, X).sum().backward()
    np.testing.assert_allclose(w.grad.data, np.tile(X, (3, 1)))


def test_checkpoint_to_second_order():
    def f(w, x):
        return mg.softmax(mg.tanh(w @ x))

    def checked(w, x):
        return checkpoint(f, w, x)

    assert mg.gradcheck(checked, A, X)
    assert mg.gradgradcheck(checked, A, X)
    v = RNG.normal(size=4)
    np.testing.assert_allclose(hvp(lambda x: (checked(A, x) ** 2).sum(), X, v).data, hvp(lambda x: (f(A, x) ** 2).sum(), X, v).data, rtol=1e-10)


def test_checkpoint_to_third_order_with_dropout_on():
    def plain(x):
        return (mg.dropout(mg.tanh(A @ mg.dropout(x, 0.3)), 0.3) ** 3).sum()

    def derivatives(f):
        mg.manual_seed(7)
        first = grad(f)(X).data
        mg.manual_seed(7)
        second = hessian(f)(X).data
        mg.manual_seed(7)
        return first, second, jvp(hessian(f), (X,), (A[0],))[1].data

    found = derivatives(plain), derivatives(lambda x: checkpoint(plain, x))
    for a, b in zip(*found, strict=True):
        assert a.any()
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_checkpoint_with_integer_and_plain_arguments_and_under_no_grad():
    w = Tensor(A, requires_grad=True)
    ids = Tensor([0, 2, 2])

    def f(w, ids, scale):
        return mg.embedding(w, ids) * scale

    checkpoint(f, w, ids, 3.0).sum().backward()
    np.testing.assert_array_equal(w.grad.data[:, 0], [3, 0, 6])
    curvature = mg.hvp(lambda w: (checkpoint(f, w, ids, 3.0) ** 2).sum(), w, np.ones(w.shape))
    np.testing.assert_array_equal(curvature.data[:, 0], [18, 0, 36])
    with no_grad():
        assert not checkpoint(f, w, ids, 3.0).requires_grad
    with pytest.raises(TypeError, match="checkpoint: the function must return one Tensor"):
        checkpoint(lambda x: (x, x), w)


def test_checkpoint_draws_the_same_mask_again_from_a_generator_of_the_users():
    x = Tensor(np.ones((4, 6)), requires_grad=True)
    for use in (lambda f, t: f(t), checkpoint):
        rng = np.random.default_rng(3)
        x.zero_grad()
        y = use(lambda t, rng=rng: mg.dropout(t * 2, 0.5, rng=rng), x)
        y.backward(np.ones(y.shape))
        np.testing.assert_array_equal(x.grad.data, y.data)  # the entries that were kept, times 2 · 2
        after = rng.random()
        assert after == (lambda r: (r.random((4, 6), np.float32), r.random())[1])(np.random.default_rng(3))
