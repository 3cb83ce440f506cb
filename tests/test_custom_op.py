"""An op of one's own: recorded, checked and differentiated like ours, and no trouble when a notebook defines it again."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, custom_op, diagnose, grad, gradcheck, gradgradcheck, hessian
from minigrad.graph import REGISTRY

X = np.random.default_rng(0).normal(size=(3, 4))


@custom_op(vjp=lambda g, y, x: g * 3 * x**2, formula=r"y = x^3", derivative=r"3 \bar y \odot x^2")
def cube(x):
    """The cube of every entry."""
    return x**3


@custom_op(vjp={"a": lambda g, c, a, b, p=2: g * p * a ** (p - 1) * b, "b": lambda g, c, a, b, p=2: g * a**p}, derivative={"b": r"\bar c \odot a^p"})
def scaled_power(a, b, p=2):
    return a**p * b


@custom_op(vjp=lambda g, c, *xs: [g] * len(xs))
def total(*xs):
    return sum(xs)


def test_it_is_checked_like_ours():
    assert gradcheck(cube, X)
    assert gradgradcheck(cube, X)
    for p in (1, 2, 3):
        assert gradcheck(lambda a, b, p=p: scaled_power(a, b, p=p), X, X[0] + 3)  # broadcast
        assert gradgradcheck(lambda a, b, p=p: scaled_power(a, b, p=p), X, X[:, :1])
    assert gradcheck(total, X, X[0], X[:, :1])


def test_it_works_with_everything_else():
    np.testing.assert_allclose(grad(lambda x: (cube(x) * 2).sum())(X).data, 6 * X**2)
    np.testing.assert_allclose(hessian(cube)(2.0).data, 12)
    assert grad(grad(grad(cube)))(2.0).item() == 6
    assert diagnose(lambda x: cube(x).sum(), X, -3 * X**2).mistake == "sign"
    assert diagnose(lambda x: cube(x).sum(), X, np.ones(X.shape)).mistake == "forgotten derivative"
    t = Tensor(X, requires_grad=True, dtype=np.float32)
    cube(t).sum().backward()
    assert t.grad.dtype == np.float32
    with mg.no_grad():
        assert not cube(t).requires_grad


def test_its_formula_and_derivatives_are_there_for_explanations_and_may_be_left_out():
    assert cube.formula == r"y = x^3" and cube.derivatives == {"x": r"3 \bar y \odot x^2"}
    assert scaled_power.formula == "" and scaled_power.derivatives == {"a": "", "b": r"\bar c \odot a^p"}
    assert cube.name == "cube" and cube.__doc__ == "The cube of every entry." and repr(cube) == "<op cube>"


def test_it_may_be_defined_again_and_never_enters_the_registry():
    before = dict(REGISTRY)

    def define(k):
        @custom_op(vjp=lambda g, y, x: g * k)
        def softmax(x):  # the name of one of ours, even
            return k * x

        return softmax

    first, second = define(2.0), define(3.0)
    assert grad(lambda x: first(x).sum())(X).data[0, 0] == 2 and grad(lambda x: second(x).sum())(X).data[0, 0] == 3
    assert before == REGISTRY and mg.softmax is REGISTRY["softmax"]


@pytest.mark.parametrize("name", ["add", "negative", "reshape", "pick", "sum", "sum_to"])
def test_a_program_and_its_text_compute_it_and_not_ours_of_the_same_name(name):
    def forward(x, k=3.0):
        return k * x

    forward.__name__ = name
    op = custom_op(vjp=lambda g, y, x, k=3.0: g * k)(forward)
    program, space = mg.program(lambda x: op(x, k=2.0)), {}
    np.testing.assert_array_equal(program(X).data, 2 * X)
    exec(program.source(), space)
    np.testing.assert_array_equal(space["program"](X), 2 * X)


def test_an_explanation_does_not_take_it_for_ours_of_the_same_name():
    op = custom_op(vjp=lambda g, y, x: g * 2, formula="y = 2 x")(lambda x: 2 * x)
    op.name = "sum"
    told = str(mg.explain(mg.sum(op(Tensor(X, requires_grad=True, name="X")))))
    assert "(1) A = 2 X\n" in told and told.count("over all entries, 12 in each sum") == 1


def test_a_wrong_rule_is_caught_by_gradcheck():
    wrong = custom_op(vjp=lambda g, y, x: g * 2 * x**2)(lambda x: x**3)
    assert not gradcheck(wrong, X)
    frozen = custom_op(vjp=lambda g, y, x: g * 3 * (x.data if isinstance(x, Tensor) else x) ** 2)(lambda x: x**3)
    assert gradcheck(frozen, X)
    assert not gradgradcheck(frozen, X)


@pytest.mark.parametrize("rule", [
    lambda g, y, x: np.asarray(g) * 3 * np.asarray(x) ** 2,
    lambda g, y, x: np.multiply(g, 3 * x**2, out=np.empty(np.shape(x))),
    lambda g, y, x: g * 3 * np.fmax(x, -np.inf) ** 2,
    lambda g, y, x: g.astype(float).view() * 3 * x**2,
])  # fmt: skip
def test_a_rule_for_arrays_only_says_so_when_a_second_derivative_is_asked(rule):
    arrays_only = custom_op(vjp=rule)(lambda x: x**3)
    assert gradcheck(arrays_only, X)
    with pytest.raises(TypeError, match=r"custom_op <lambda>: no second derivative, since its vjp .*minigrad functions, which take Tensors"):
        gradgradcheck(arrays_only, X)


@pytest.mark.parametrize(("rule", "message"), [
    (lambda g, y, x: (g, g), "gave 2 gradients for 1 inputs; give one for each, as a tuple"),
    (lambda g, y, x: g[:2], r"gave a gradient of shape \(2, 4\) for x of shape \(3, 4\)"),
    (lambda g, y, x: g.sum(), r"gave a gradient of shape \(\) for x of shape \(3, 4\)"),
    (lambda g, y, x: g.__imul__(2), r"its vjp writes into an array that it was given.*let it work on a copy"),
])  # fmt: skip
def test_a_gradient_that_does_not_fit_is_a_clear_error(rule, message):
    op = custom_op(vjp=rule)(lambda x: x * 1.0)
    with pytest.raises(ValueError, match=message):
        op(Tensor(X, requires_grad=True)).sum().backward()


def test_none_means_no_gradient():
    step = custom_op(vjp=lambda g, y, a, b: (None, g))(lambda a, b: (a > 0) * b)
    da, db = grad(lambda a, b: step(a, b).sum(), (0, 1))(X, X + 1)
    assert not da.data.any() and (db.data == 1).all()
    assert hessian(lambda b: step(X, b).sum())(X[0]).shape == (4, 4)


def test_the_forward_cannot_write_into_its_inputs_nor_hand_them_out():
    @custom_op(vjp=lambda g, y, x: g)
    def increment(x):
        x += 1
        return x

    with pytest.raises(ValueError, match="increment: the function writes into an array that it was given"):
        increment(Tensor(X))
    same = custom_op(vjp=lambda g, y, x: g)(lambda x: x)
    t = Tensor(X, requires_grad=True)
    out = same(t)
    assert not np.shares_memory(out.data, t.data) and out.data.flags.writeable
    out.sum().backward()
    assert (t.grad.data == 1).all()


def test_a_forward_may_be_written_with_minigrad_functions():
    op = custom_op(vjp=lambda g, y, x: g * y * (1 - y))(lambda x: 1 / (1 + mg.exp(-x)))
    assert gradcheck(op, X)


def test_wrong_declarations_are_clear_errors():
    with pytest.raises(TypeError, match="no rule for 'b'; the inputs are a, b"):
        custom_op(vjp={"a": lambda g, y, a, b: g})(lambda a, b: a + b)
    with pytest.raises(TypeError, match="a rule for 'z', which is no input"):
        custom_op(vjp={"a": lambda g, y, a: g, "z": lambda g, y, a: g})(lambda a: a)
    with pytest.raises(TypeError, match="vjp must be a function or a dict of functions, got str"):
        custom_op(vjp="g * x")(lambda x: x)
    with pytest.raises(TypeError, match=r"no differentiable argument; inputs=\[\.\.\.\] names those"):
        custom_op(vjp=lambda g, y, x=1: g)(lambda x=1: x)
    with pytest.raises(TypeError, match="decorates a function, got int"):
        custom_op(vjp=lambda g, y, x: g)(3)
    with pytest.raises(TypeError, match="the function gave str with dtype"):
        custom_op(vjp=lambda g, y, x: g)(lambda x: "text")(Tensor(X))
    biased = custom_op(vjp=lambda g, y, x, b: (g, g), inputs=["x", "b"])(lambda x, b=None: x if b is None else x + b)
    assert gradcheck(biased, X, X[0])
    assert gradcheck(biased, X)
