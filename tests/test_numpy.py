"""NumPy's functions on Tensors: its values, right derivatives of first and second order, its call forms, and no gradient lost."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, grad, gradcheck, gradgradcheck, no_grad


def leaf(data, **kwargs):
    return Tensor(data, requires_grad=True, **kwargs)


def gradient(f, *arrays):
    inputs = [leaf(a) for a in arrays]
    f(*inputs).sum().backward()
    return [x.grad.data for x in inputs] if len(inputs) > 1 else inputs[0].grad.data


# Functions ------------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
A, B = RNG.uniform(0.5, 1.5, (3, 4)), RNG.uniform(0.5, 1.5, (3, 4))
S, V, W = RNG.normal(size=(3, 3)) + 3 * np.eye(3), RNG.uniform(0.5, 1.5, 4), RNG.uniform(0.5, 1.5, 3)
C = RNG.normal(size=(2, 3, 4))
ORDER = np.argsort(A, axis=1)


def spd(xp, a):
    """Symmetric and positive definite, whatever ``a`` is."""
    return a @ xp.swapaxes(a, -1, -2) + np.eye(a.shape[-2], dtype=a.dtype)


def named(xp, name):
    """``np.linalg.inv``, and ours of that name."""
    for part in name.split("."):
        xp = getattr(xp, part)
    return xp


FUNCTIONS = {  # name: how it is called, and on what; xp is numpy or minigrad
    "amax": [(lambda f, a: f(a, axis=1), A)],
    "amin": [(lambda f, a: f(a), A)],
    "vstack": [(lambda f, a, v: f([a, v]), A, V)],
    "hstack": [(lambda f, a, b: f([a, b]), A, B), (lambda f, v, w: f([v, w]), V, W)],
    "column_stack": [(lambda f, w, a: f([w, a]), W, A)],
    "dstack": [(lambda f, a, b: f([a, b]), A, B)],
    "append": [(lambda f, a, v: f(a, v), A, V), (lambda f, a, b: f(a, b, axis=0), A, B)],
    "diag": [(lambda f, v: f(v), V), (lambda f, v: f(v, -2), V), (lambda f, a: f(a), A), (lambda f, a: f(a, k=1), A)],
    "diagflat": [(lambda f, a: f(a), A)],
    "tile": [(lambda f, a: f(a, 2), A), (lambda f, a: f(a, (2, 1, 3)), A), (lambda f, c: f(c, (2,)), C)],
    "roll": [
        (lambda f, a: f(a, 1), A),
        (lambda f, a: f(a, -2, axis=1), A),
        (lambda f, a: f(a, (1, 2), axis=(0, 1)), A),
    ],
    "linalg.inv": [(lambda f, s: f(s), S)],
    "linalg.det": [(lambda f, s: f(s), S)],
    "linalg.pinv": [(lambda f, a: f(a), A)],
    "linalg.solve": [(lambda f, s, w: f(s, w), S, W), (lambda f, s, a: f(s, a), S, A)],
    "linalg.slogdet": [(lambda f, s: f(-s)[1], S), (lambda f, s: f(s).logabsdet * f(s).sign, S)],
    "linalg.cholesky": [(lambda f, a: f(spd(np, a)), A), (lambda f, a: f(spd(np, a), upper=True), A)],
    "linalg.eigh": [(lambda f, a: f(spd(np, a)).eigenvalues, A), (lambda f, a: f(spd(np, a), UPLO="U")[1] ** 2, A)],
    "linalg.eigvalsh": [(lambda f, a: f(spd(np, a)), A)],
    "linalg.svdvals": [(lambda f, a: f(a), A)],
    "linalg.svd": [
        (lambda f, a: f(a, compute_uv=False), A),
        (lambda f, a: f(a, full_matrices=False).U ** 2, A),
        (lambda f, s: f(s)[2] ** 2, S),
        (lambda f, a: f(a, full_matrices=False)[1], A.T),
    ],
    "linalg.norm": [
        (lambda f, a: f(a), A),
        (lambda f, a: f(a, 1), A),
        (lambda f, a: f(a, np.inf), A),
        (lambda f, a: f(a, -np.inf), A),
        (lambda f, a: f(a, -1), A),
        (lambda f, a: f(a, 2), A),
        (lambda f, a: f(a, -2), A),
        (lambda f, a: f(a, "nuc"), A),
        (lambda f, a: f(a, "fro", keepdims=True), A),
        (lambda f, v: f(v, 3), V),
        (lambda f, v: f(v, np.inf), V),
        (lambda f, v: f(v - 1, 1), V),
        (lambda f, a: f(a, 1.5, axis=0), A),
        (lambda f, c: f(c, axis=(0, 2)), C),
        (lambda f, c: f(c, 1, axis=(2, 0), keepdims=True), C),
        (lambda f, c: f(c), C),
    ],
    "linalg.vector_norm": [(lambda f, c: f(c, axis=(0, 1), ord=3), C)],
    "linalg.matrix_norm": [(lambda f, c: f(c, ord="nuc"), C)],
    "linalg.matrix_power": [(lambda f, s: f(s, 3), S), (lambda f, s: f(s, -2), S), (lambda f, s: f(s, 0) * s, S)],
    "linalg.multi_dot": [(lambda f, s, a, v: f([s, a, v]), S, A, V)],
    "linalg.matmul": [(lambda f, s, a: f(s, a), S, A)],
    "linalg.outer": [(lambda f, v, w: f(v, w), V, W)],
    "linalg.vecdot": [(lambda f, a, b: f(a, b, axis=0), A, B)],
    "linalg.cross": [(lambda f, a, b: f(a, b, axis=0), A, B)],
    "linalg.trace": [(lambda f, c: f(c, offset=1), C)],
    "linalg.diagonal": [(lambda f, c: f(c, offset=-1), C)],
    "linalg.matrix_transpose": [(lambda f, c: f(c), C)],
    "linalg.tensordot": [(lambda f, a, b: f(a, b, axes=([0], [0])), A, B)],
    "logaddexp": [(lambda f, a, b: f(a, b), A, B)],
    "hypot": [(lambda f, a, b: f(a, b), A, B)],
    "arctan2": [(lambda f, a, b: f(a, b), A, B)],
    "mod": [(lambda f, a, b: f(5 * a, b), A, B)],
    "nan_to_num": [(lambda f, a: f(a), A)],
    "real": [(lambda f, a: f(a) * a, A)],
    "sort": [(lambda f, a: f(a), A), (lambda f, a: f(a, axis=None), A), (lambda f, a: f(a, 0, kind="stable"), A)],
    "diff": [
        (lambda f, a: f(a), A),
        (lambda f, a: f(a, 2, axis=0), A),
        (lambda f, a, b: f(a, prepend=b, append=1.0), A, B),
    ],
    "cumprod": [(lambda f, a: f(a, axis=1), A), (lambda f, a: f(a), A)],
    "kron": [(lambda f, a, b: f(a, b), A, B), (lambda f, v, a: f(v, a), V, A)],
    "cross": [
        (lambda f, a, b: f(a, b), A[:, :3], B[:, 1:]),
        (lambda f, a, b: f(a, b, axis=0), A, B),
        (lambda f, v, a: f(v, a), W, A[:, :3]),
    ],
    "convolve": [(lambda f, v, w, m=m: f(v, w, m), V, W) for m in ("full", "same", "valid")]
    + [(lambda f, v, w: f(w, v, "same"), V, W)],
    "average": [
        (lambda f, a: f(a, axis=0), A),
        (lambda f, a, w: f(a, axis=0, weights=w), A, W),
        (lambda f, a, b: f(a, weights=b), A, B),
        (lambda f, a, v: f(a, 1, v, returned=True, keepdims=True)[0], A, V),
    ],
    "trapezoid": [
        (lambda f, a: f(a, dx=0.5), A),
        (lambda f, a, v: f(a, v), A, V),
        (lambda f, a, b: f(a, b, axis=0), A, B),
    ],
    "interp": [
        (lambda f, x, fp: f(x, np.arange(4.0), fp), 2.9 * A[0] - 1, V),
        (lambda f, xp: f(np.array([0.3, 1.7, 9.0]), xp, V, right=0.5), np.sort(B[0])),
    ],
    "polyval": [(lambda f, p, a: f(p, a), V, A), (lambda f, a: f([1.0, 2.0, 3.0], a), A)],
    "take_along_axis": [(lambda f, a: f(a, ORDER, axis=1), A), (lambda f, a: f(a, ORDER.ravel(), axis=None), A)],
    "select": [(lambda f, a, b: f([A > 1, B > 1], [a, b * 2], default=0.5), A, B)],
    "atleast_1d": [(lambda f, a: f(a), A), (lambda f, a: f(a[0, 0]) * 2, A)],
    "atleast_2d": [(lambda f, v: f(v), V)],
    "atleast_3d": [(lambda f, v: f(v), V), (lambda f, a: f(a), A)],
    "block": [(lambda f, a, v: f([[a, a], [v, v]]), A, V), (lambda f, v: f([v, 1.0]), V)],
    "flipud": [(lambda f, a: f(a), A)],
    "fliplr": [(lambda f, a: f(a), A)],
    "rot90": [(lambda f, a, k=k: f(a, k), A) for k in (-1, 1, 2)],
    "array_split": [(lambda f, a: f(a, 3, axis=1)[0] * 2, A)],
    "hsplit": [(lambda f, a: f(a, 2)[1], A)],
    "vsplit": [(lambda f, a: f(a, [1])[1], A)],
    "dsplit": [(lambda f, c: f(c, 2)[1], C)],
    "median": [
        (lambda f, a: f(a), A),
        (lambda f, a: f(a, axis=0), A),
        (lambda f, c: f(c, axis=(0, 2), keepdims=True), C),
    ],
    "quantile": [
        (lambda f, a: f(a, 0.3), A),
        (lambda f, a: f(a, [0.1, 0.9], axis=1), A),
        (lambda f, c: f(c, [[0.2, 1.0]], (0, 2), keepdims=True), C),
    ],
    "percentile": [(lambda f, a: f(a, 40, axis=0), A)],
    "ptp": [(lambda f, a: f(a, axis=1), A)],
    "vecdot": [(lambda f, a, v: f(a, v), A, V)],
    "matvec": [(lambda f, c, v: f(c, v), C, V)],
    "vecmat": [(lambda f, w, c: f(w, c), W, C)],
    "cumulative_sum": [(lambda f, a: f(a, axis=1, include_initial=True), A), (lambda f, v: f(v), V)],
    "cumulative_prod": [(lambda f, a: f(a, axis=0, include_initial=True), A)],
    "unstack": [(lambda f, a: f(a, axis=1)[2], A)],
    "conj": [(lambda f, a: f(a) * a, A)],
    "sinc": [(lambda f, a: f(a), np.array([0.0, 1e-9, 0.01, 0.16, 0.5, -1.3, 4.0]))],
    "std": [(lambda f, a: f(a, axis=0, ddof=1), A)],
    "inner": [(lambda f, c, a: f(c, a), C, A), (lambda f, a: f(a, 2.0), A)],
    "trace": [
        (lambda f, a: f(a), A),
        (lambda f, c: f(c, 1, 1, 2), C),
        (lambda f, c: f(c, offset=-1, axis1=2, axis2=0), C),
    ],
    "diagonal": [(lambda f, a: f(a, 1), A), (lambda f, c: f(c, -1, 0, 2), C)],
    "vdot": [(lambda f, a, b: f(a, b), A, B)],
    "repeat": [(lambda f, a: f(a, [1, 2, 0], axis=0), A), (lambda f, a: f(a[0, 0], 3, axis=0), A)],
    "compress": [(lambda f, a: f([True, False, True], a, 0), A)],
    "meshgrid": [
        (lambda f, v, w: f(v, w)[0] * f(v, w)[1], V, W),
        (lambda f, v, w: f(v, w, indexing="ij", sparse=True)[0] * 2, V, W),
    ],
    "broadcast_arrays": [(lambda f, a, v: f(a, v)[1] * f(a, v)[0], A, V)],
    "moveaxis": [(lambda f, c: f(c, (0, 1), (-1, 0)), C)],
    "squeeze": [(lambda f, a: f(a[None], 0), A)],
    "expand_dims": [(lambda f, a: f(a, (0, 2)), A)],
    "ravel": [(lambda f, a: f(a, order="F"), A)],
}
for _name in [
    "log2",
    "log10",
    "tan",
    "arctan",
    "arcsin",
    "arccos",
    "sinh",
    "cosh",
    "cbrt",
    "exp2",
    "arcsinh",
    "arccosh",
    "arctanh",
]:
    FUNCTIONS[_name] = [
        (lambda f, a: f(a), {"arccosh": A + 1, "arcsin": A - 1, "arccos": A - 1, "arctanh": A - 1}.get(_name, A))
    ]
CASES = [(name, n) for name, cases in FUNCTIONS.items() for n in range(len(cases))]


@pytest.mark.parametrize(("name", "n"), CASES)
@pytest.mark.slow
def test_a_function_of_numpy_has_its_value_and_right_derivatives_of_both_orders(name, n):
    call, *arrays = FUNCTIONS[name][n]
    if name in ("matvec", "vecmat", "cumulative_sum", "cumulative_prod", "unstack") and not hasattr(np, name):
        pytest.skip(f"NumPy {np.__version__} has no {name}")
    expected = call(named(np, name), *arrays)
    for home in (np, mg):
        out = call(named(home, name), *map(leaf, arrays))
        assert isinstance(out, Tensor) and out.requires_grad
        assert out.shape == np.shape(expected)
        np.testing.assert_allclose(out.data, expected, rtol=1e-12, atol=1e-14)
    for check in (gradcheck, gradgradcheck):
        report = check(lambda *xs: call(named(np, name), *xs), *arrays)
        assert report, report


def test_the_new_functions_keep_float32():
    for name in (
        "tile",
        "roll",
        "sort",
        "diff",
        "median",
        "cumprod",
        "log2",
        "sinc",
        "kron",
        "vstack",
        "linalg.inv",
        "linalg.svd",
        "linalg.eigvalsh",
    ):
        call, *arrays = FUNCTIONS[name][0]
        inputs = [leaf(a, dtype=np.float32) for a in arrays]
        out = call(named(np, name), *inputs)
        out.sum().backward()
        assert out.dtype == np.float32, name
        assert all(x.grad.dtype == np.float32 for x in inputs), name


def test_linear_algebra_at_special_matrices():
    singular = np.array([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]])
    for m in (singular, np.array([[1.0, 2], [2, 4]])):
        assert gradcheck(mg.linalg.det, m) and gradgradcheck(mg.linalg.det, m)
    np.testing.assert_allclose(
        gradient(lambda a: mg.linalg.eigvalsh(a), np.eye(3)), np.eye(3)
    )  # the trace, though all eigenvalues are equal
    np.testing.assert_allclose(
        gradient(lambda a: mg.linalg.norm(a, "nuc"), np.diag([2.0, 2.0, 1.0])), np.eye(3), atol=1e-15
    )
    low_rank = np.outer(V, W)
    np.testing.assert_allclose(mg.linalg.pinv(leaf(low_rank), 1e-10).data, np.linalg.pinv(low_rank), atol=1e-14)
    with pytest.raises(np.linalg.LinAlgError, match=r"inv: inputs of shape \(2, 2\): Singular matrix"):
        mg.linalg.inv(leaf(np.ones((2, 2))))
    with pytest.raises(TypeError, match="use full_matrices=False"):
        np.linalg.svd(leaf(A))


def test_nan_travels_through_quantiles_and_masks():
    x = leaf([np.nan, 1.0, 2.0])
    assert np.isnan(np.median(x).item())
    for f in (
        mg.relu,
        lambda t: mg.maximum(t, 0.5),
        lambda t: mg.minimum(0.5, t),
        lambda t: mg.clip(t, 0, None),
        lambda t: mg.max(t[None], axis=0),
        abs,
    ):
        assert np.isnan(gradient(f, x.data)[0]), f
        assert not np.isnan(gradient(f, x.data)[1:]).any(), f


# No gradient is lost in silence ---------------------------------------------------------------------------------------


def assigned(index):
    def write(x):
        np.zeros(2)[index] = x[index]

    return write


CUT = {
    "X.dot(T)": lambda x: np.ones((3, 2)).dot(x),
    "np.sum([...])": lambda x: np.sum([x[0] * 3, x[1] * 5]),
    "np.mean([...])": lambda x: np.mean([x[0], x[1]]),
    "np.max([...])": lambda x: np.max([x[0], x[1]]),
    "np.exp([...])": lambda x: np.exp([x[0], x[1]]),
    "np.dot([...])": lambda x: np.dot([x[0], x[1]], np.ones(2)),
    "np.array([...])": lambda x: np.array([x[0] * x[1], x[1]]),
    "np.asarray": np.asarray,
    "out[:] = t": assigned(slice(None)),
    "out[i] = t": assigned(0),
    "np.r_": lambda x: np.r_[x, x],
    "np.c_": lambda x: np.c_[x, x],
    "np.full": lambda x: np.full(2, x[0]),
    "np.full_like": lambda x: np.full_like(np.ones(2), x[0]),
    "np.copyto": lambda x: np.copyto(np.ones(2), x),
    "np.fill_diagonal": lambda x: np.fill_diagonal(np.eye(2), x),
    "np.fromiter": lambda x: np.fromiter(x, float),
    "np.vectorize": lambda x: np.vectorize(lambda v: 2 * v)(x),
    "np.unique": np.unique,
    "math.exp": lambda x: math.exp(x[0]),
    "float": lambda x: float(x[0]),
    "np.float64": lambda x: np.float64(x[0]),
    "X.fill": lambda x: np.ones(2).fill(x[0]),
    "np.histogram": np.histogram,
    "np.bincount": lambda x: np.bincount([0, 1], x),
    "Tensor([...])": lambda x: Tensor([x[0], x[1]]),
    "dtype=object": lambda x: np.array([x[0]], dtype=object),
    "X += t": lambda x: np.add(np.ones(2), x, out=np.ones(2)),
}


@pytest.mark.parametrize("name", CUT)
def test_plain_numbers_of_a_tensor_that_requires_grad_are_refused_with_the_cure(name):
    with pytest.raises((TypeError, ValueError)) as caught:
        CUT[name](leaf([1.0, 2.0]))
    error = (
        caught.value if isinstance(caught.value, TypeError) else caught.value.__cause__
    )  # NumPy's own "setting an array element"
    assert isinstance(error, TypeError)
    assert any(cure in str(error) for cure in (".data", ".item()", "minigrad.stack", "write result ="))


@pytest.mark.parametrize("name", CUT)
def test_plain_numbers_are_there_where_no_gradient_can_be_lost(name):
    CUT[name](Tensor([1.0, 2.0]))
    with no_grad():
        CUT[name](leaf([1.0, 2.0]))


def test_what_only_looks_at_numbers_may():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    x, y = leaf([1.0, 2.0]), leaf([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(x, [1, 2])
    np.testing.assert_array_equal([x[0], x[1]], x)
    assert np.allclose([x[0]], [1.0]) and np.array_equal([x[0]], [1.0])
    figure, axes = pyplot.subplots()
    for draw in (axes.plot, axes.bar, axes.scatter, axes.errorbar):
        draw(x, x * 2)
    axes.plot([x[0], x[1]])
    axes.hist(x)
    axes.imshow(y)
    axes.axhline(x[0])
    figure.canvas.draw()
    pyplot.close(figure)
    assert f"{x[0]:.2f} {x}" == "1.00 Tensor([1., 2.], requires_grad=True)"
    assert x[0].item() == 1


def test_augmented_assignment_moves_a_parameter_under_no_grad_and_refuses_to_seem_to_do_so_elsewhere():
    model = mg.nn.Linear(2, 1)
    (model(np.ones((3, 2))) ** 2).sum().backward()
    before = {n: p.data.copy() for n, p in model.named_parameters()}
    with no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
    for n, p in model.named_parameters():
        np.testing.assert_allclose(p.data, before[n] - 0.1 * p.grad.data, rtol=1e-6)
        assert p.is_leaf and p.requires_grad
    with pytest.raises(RuntimeError, match=r"leaves the leaf where it is.*with no_grad\(\): p -= "):
        for p in model.parameters():
            p -= 0.1 * p.grad
    x = leaf([1.0, 2.0])
    with no_grad():
        for change in ("__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__"):
            assert getattr(x, change)(2.0) is x
    np.testing.assert_allclose(x.data, [1, 4])

    def shifted(z):  # in a function that is differentiated it makes a new Tensor
        z -= z.max()
        z *= 3
        return (z * z).sum()

    assert gradcheck(shifted, V)
    loss = (x * x).sum()
    with no_grad():
        x -= 1.0
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


# Values at special points ---------------------------------------------------------------------------------------------


def test_both_mixed_second_derivatives_of_a_power_are_equal():
    one_way = grad(grad(lambda a, b: a**b), 1)(23.0, 0.0).item()
    other = grad(grad(lambda a, b: a**b, 1))(23.0, 0.0).item()
    assert one_way == pytest.approx(1 / 23) and other == pytest.approx(1 / 23)
    a, b = np.array([23.0, 2.0, 0.0, 0.0, 3.0]), np.array([0.0, 1.0, 0.0, 2.0, 0.0])
    np.testing.assert_allclose(gradient(lambda a, b: a**b, a, b)[0], [0, 1, 0, 0, 0])
    np.testing.assert_allclose(grad(lambda x: (x**0).sum())(np.array([0.0, 2.0])).data, 0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "f",
    [
        mg.relu,
        lambda x: mg.clip(x, 0, None),
        lambda x: mg.maximum(x, 0),
        lambda x: mg.where(x > 0, x, 0),
        lambda x: mg.minimum(mg.relu(x), 5),
        lambda x: np.select([x > 0], [x]),
        lambda x: mg.max(mg.stack([x, np.zeros(x.shape)]), axis=0),
    ],
)
def test_a_mask_shuts_out_an_infinite_upstream_gradient(f):
    for x in (-1.0, np.array([-1.0, 4.0])):
        found = gradient(lambda t: mg.sqrt(f(t)), x)
        np.testing.assert_array_equal(found, np.where(np.asarray(x) > 0, 0.25, 0.0))
    assert grad(grad(lambda t: mg.sqrt(f(t))))(-1.0).item() == 0


def test_norms_of_nothing_and_deviations_of_equal_numbers_have_derivative_zero():
    rows = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_array_equal(gradient(mg.norm, np.zeros(3)), 0)
    for f in (
        lambda x: mg.norm(x, axis=1),
        lambda x: np.linalg.norm(x, axis=1),
        lambda x: mg.linalg.norm(x, 2.5, axis=1),
        lambda x: np.hypot(x[:, 0], x[:, 1]),
    ):
        np.testing.assert_array_equal(gradient(f, rows)[1], 0)
    np.testing.assert_allclose(gradient(lambda x: mg.norm(x, axis=1), rows)[0], [0.6, 0.8])
    for f in (lambda x: x.std(), np.std, lambda x: mg.std(x, axis=0), lambda x: np.std(x, ddof=1)):
        np.testing.assert_array_equal(gradient(f, np.full(3, 0.1)), 0)
        assert not grad(lambda x, f=f: (grad(f)(x) ** 2).sum())(np.full(3, 0.1)).data.any()


@pytest.mark.parametrize("c", [1e4, 1e6, 1e7])
def test_cross_entropy_of_large_float32_logits_keeps_its_digits(c):
    logits = leaf(np.array([[c, c - 1, c - 2]]), dtype=np.float32)
    loss = mg.cross_entropy(logits, [1])
    loss.backward()
    assert loss.item() == pytest.approx(1.407606, rel=1e-6) == -mg.log_softmax(logits)[0, 1].item()
    np.testing.assert_allclose(logits.grad.data, [[0.665241, -0.755271, 0.0900306]], rtol=1e-5)


@pytest.mark.parametrize(
    "f",
    [
        lambda: mg.tensordot(np.ones((2, 3)), leaf(np.ones((1, 4))), ([0], [0])),
        lambda: mg.tensordot(np.ones((2, 3)), leaf(np.ones((1, 4))), 1),
        lambda: np.inner(np.ones((2, 3)), leaf(np.ones((4, 1)))),
        lambda: np.dot(np.ones((2, 3)), leaf(np.ones((1, 4)))),
        lambda: np.dot(np.ones((2, 2, 3)), leaf(np.ones((2, 1, 4)))),
        lambda: np.vecdot(np.ones(3), leaf(np.ones(1))),
    ],
)
def test_products_over_axes_of_size_1_do_not_broadcast(f):
    with pytest.raises(ValueError, match="differ"):
        f()


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.flip(x, 5),
        lambda x: mg.flip(x, (0, 0)),
        lambda x: np.moveaxis(x, [0, 0], [0, 1]),
        lambda x: np.moveaxis(x, 0, 7),
        lambda x: np.expand_dims(x, 9),
        lambda x: x.sum(axis=3),
        lambda x: np.roll(x, 1, axis=4),
        lambda x: np.sort(x, axis=2),
    ],
)
def test_axes_that_there_are_not_are_an_error_as_in_numpy(f):
    for x in (A, leaf(A)):
        with pytest.raises((ValueError, IndexError), match="axis"):
            f(x)


def test_settings_that_are_numbers_or_masks_do_not_promote_float32():
    x = leaf(np.ones((2, 3, 4)), dtype=np.float32)
    assert mg.clip(x, np.float64(0), None).dtype == mg.clip(x, np.array(0.0), np.float64(3)).dtype == np.float32
    for mask in (np.zeros((3, 3)), leaf(np.zeros((3, 3)))):
        assert mg.scaled_dot_product_attention(x, x, x, mask).dtype == np.float32
        assert {t.dtype for t in mg.scaled_dot_product_attention(x, x, x, mask, return_weights=True)} == {
            np.dtype(np.float32)
        }


def test_derivatives_take_an_argument_twice_a_keyword_f_and_speak_of_constants():
    assert [g.item() for g in grad(lambda a, b: a * b, (0, 0))(2.0, 3.0)] == [3, 3]
    assert [g.item() for g in grad(lambda a, b: a * b, (0, -2, 1))(2.0, 3.0)] == [3, 3, 2]
    for derivative in (grad, mg.jacobian, mg.hessian, mg.value_and_grad):
        derivative(lambda x, f: (x * x * f).sum())(V, f=3.0)
    with pytest.raises(ValueError, match="constant, whose derivative is 0"):
        grad(lambda x: 3.0)(V)


# Crashes --------------------------------------------------------------------------------------------------------------


def test_a_result_prints_after_backward_and_says_that_its_graph_is_gone():
    x = leaf([1.0, 2.0])
    h = x * x
    loss = h.sum()
    loss.backward()
    assert str(loss) == f"{loss}" == "Tensor(5., graph freed)" and repr([h]) == "[Tensor([1., 4.], graph freed)]"
    assert f"{loss:.1f}" == "5.0"
    with pytest.raises(RuntimeError, match=r"retain_grad: backward\(\) has been here"):
        h.retain_grad()
    for look in (mg.explain, mg.draw):
        with pytest.raises(RuntimeError, match="freed this graph"):
            look(loss)


def attended(q, k, v, **options):
    return mg.scaled_dot_product_attention(q, k, v, **options)


@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        *(
            (lambda x, axis=axis: mg.prod(x, axis=axis), [shape])
            for shape, axis in [((0,), None), ((3, 0), None), ((3, 0), 0), ((3, 0), 1), ((0, 3), 0), ((0, 3), (0, 1))]
        ),
        (mg.linear, [(3, 0), (0, 2)]),
        (mg.linear, [(3, 2), (2, 0)]),
        (mg.linear_gelu, [(0, 3), (3, 2), (2,)]),
        (mg.matmul, [(5, 4, 0), (0, 3)]),
        (mg.matmul, [(5, 5, 0), (0, 5)]),
        (mg.matmul, [(2, 0, 3), (3, 4)]),
        (attended, [(2, 0, 3), (2, 4, 3), (2, 4, 3)]),
        (attended, [(0, 2, 3, 3), (0, 2, 4, 3), (0, 2, 4, 3)]),
        (attended, [(2, 3, 3), (2, 0, 3), (2, 0, 3)]),
        (mg.logsumexp, [(0,)]),
        (lambda x: mg.logsumexp(x, axis=1), [(3, 0)]),
        (lambda x: mg.concatenate(np.split(x, 3)), [(0, 2)]),
        (mg.cumprod, [(0, 3)]),
        (mg.sort, [(2, 0)]),
        (lambda a, b: mg.einsum("ij,jk->ik", a, b), [(2, 0), (0, 3)]),
        (lambda x: np.roll(x, 1), [(0,)]),
        (lambda x: np.tile(x, 2), [(0, 2)]),
    ],
)
def test_zero_sizes_have_values_and_gradients(f, shapes):
    inputs = [leaf(np.ones(shape)) for shape in shapes]
    out = f(*inputs)
    out.sum().backward()
    for create_graph in (False, True):
        again = [leaf(np.ones(shape)) for shape in shapes]
        f(*again).sum().backward(create_graph=create_graph)
        assert [x.grad.shape for x in again] == shapes
    assert not np.isnan(out.data).any()


def test_the_product_of_nothing_is_1_and_the_logsumexp_of_nothing_minus_infinity():
    assert mg.prod(leaf(np.ones((0, 3))), axis=0).tolist() == [1, 1, 1]
    assert mg.logsumexp(leaf(np.ones((2, 0))), axis=1).tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("f", [np.sum, np.max, np.min, np.prod, np.cumsum, np.cumprod, mg.logsumexp, np.mean, np.var])
def test_a_number_reduced_along_its_axis_0_is_differentiated_as_far_as_numpy_takes_it(f, axis):
    try:
        expected = f(np.array(3.0), axis=axis)
    except ValueError:  # NumPy's mean and var know no such axis
        with pytest.raises(ValueError, match=r"axis .*0|0.* axis"):
            f(leaf(3.0), axis=axis)
        return
    x = leaf(3.0)
    out = f(x, axis=axis)
    assert out.shape == expected.shape
    out.sum().backward()
    assert x.grad.item() == 1


def test_what_numpy_takes_in_the_forward_pass_has_a_backward_pass():
    parts = [A, V, np.array(2.0)]
    for g, a in zip(gradient(lambda *xs: np.concatenate(xs, axis=None) * np.arange(17), *parts), parts, strict=True):
        assert g.shape == a.shape
    np.testing.assert_array_equal(gradient(lambda v: np.transpose(v, 0) * np.arange(4.0), V), np.arange(4.0))
    assert [p.shape for p in mg.split(leaf(np.ones((0, 3))), 3)] == [(0, 3)] * 3


# NumPy's call forms ---------------------------------------------------------------------------------------------------

FORMS = {
    "einsum optimize": (lambda a, b: np.einsum("ij,kj->ik", a, b, optimize=True), A, B),
    "einsum greedy": (lambda a, b: np.einsum("ij,kj,ki->i", a, b, S, optimize="greedy"), A, B),
    "einsum sublists": (lambda a, b: np.einsum(a, [0, 1], b, [2, 1], [0, 2]), A, B),
    "einsum sublists, implicit": (lambda a, b: np.einsum(a, [0, 1], b, [0, 1]), A, B),
    "einsum ellipsis": (lambda c, v: np.einsum(c, [Ellipsis, 0], v, [0], [Ellipsis]), C, V),
    "sum out=None": (lambda a: np.sum(a, 1, None, None, True), A),
    "t.sum(out=None)": (lambda a: a.sum(axis=0, dtype=None, out=None), A),
    "sum a=": (lambda a: np.sum(a=a, axis=(0, 1)), A),
    "sum where=True": (lambda a: np.sum(a, where=True), A),
    "mean keepdims": (lambda a: np.mean(a, axis=-1, keepdims=True), A),
    "var correction": (lambda a: np.var(a, axis=0, correction=1), A),
    "std correction": (lambda a: np.std(a, correction=1), A),
    "t.var(ddof)": (lambda a: a.var(axis=1, ddof=1, out=None), A),
    "reshape F": (lambda a: np.reshape(a, (4, 3), order="F"), A),
    "t.reshape F": (lambda a: a.reshape(2, -1, order="F"), A),
    "ravel F": (lambda a: a.ravel("F"), A),
    "reshape shape=": (lambda a: np.reshape(a, shape=-1, copy=None), A),
    "t.flatten": (lambda a: a.flatten("C"), A),
    "astype copy": (lambda a: a.astype(np.float64, copy=False), A),
    "np.astype": (lambda a: np.astype(a, np.float64, copy=True), A),
    "take wrap": (lambda a: np.take(a, [-5, 6], axis=1, mode="wrap"), A),
    "take clip": (lambda a: a.take([-5, 6], axis=1, mode="clip"), A),
    "take out=None": (lambda a: np.take(a, 3, out=None), A),
    "repeat number": (lambda a: np.repeat(a[0, 0], 3, axis=0), A),
    "t.repeat": (lambda a: a.repeat(2, axis=1), A),
    "t.trace": (lambda a: a.trace(1), A),
    "t.diagonal": (lambda a: a.diagonal(), A),
    "multiply.outer": (lambda a, v: np.multiply.outer(a, v), A, V),
    "subtract.outer": (lambda v, w: np.subtract.outer(v, w), V, W),
    "add.accumulate": (lambda a: np.add.accumulate(a, axis=1), A),
    "multiply.accumulate": (lambda a: np.multiply.accumulate(a), A),
    "multiply.reduce": (lambda a: np.multiply.reduce(a, axis=None), A),
    "logaddexp.reduce": (lambda a: np.logaddexp.reduce(a, axis=1), A),
    "maximum.reduce": (lambda a: np.maximum.reduce(a, 1, keepdims=True), A),
    "vecdot axis": (lambda a, b: np.linalg.vecdot(a, b, axis=0), A, B),
    "clip names": (lambda a: np.clip(a, a_min=0.6, a_max=1.2), A),
    "clip min": (lambda a: np.clip(a, min=0.6, out=None), A),
    "expand_dims a=": (lambda a: np.expand_dims(a=a, axis=0), A),
    "t % 0.3": (lambda a: a % 0.3 + 2 % a, A),
    "pad dict": (lambda a: np.pad(a, {1: (1, 2)}), A),
    "pad names": (lambda a: np.pad(array=a, pad_width=1, constant_values=2.0), A),
    "t.clip": (lambda a: a.clip(0.6, None, out=None), A),
    "max initial": (lambda a: np.max(a, axis=1, keepdims=np._NoValue), A),
    "t.conj": (lambda a: a.conj() * a, A),
    "t.cumprod": (lambda a: a.cumprod(axis=0), A),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_call_forms_of_numpy_differentiate(name):
    f, *arrays = FORMS[name]
    try:
        expected = f(*arrays)
    except TypeError as error:
        assert np.lib.NumpyVersion(np.__version__) < "2.2.0"
        pytest.skip(f"NumPy {np.__version__} has no such form: {error}")
    out = f(*map(leaf, arrays))
    assert out.shape == expected.shape and out.requires_grad
    np.testing.assert_allclose(out.data, expected, rtol=1e-12)
    report = gradcheck(f, *arrays)
    assert report, report


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda a: np.sum(a, dtype=np.float32), "np.sum with dtype has no derivative here"),
        (lambda a: np.sum(a, where=A > 1), "np.sum with where"),
        (lambda a: np.max(a, initial=0.0), "np.max with initial"),
        (lambda a: np.sum(a, axis=[0, 1]), "sum: .*list"),
        (lambda a: np.clip(a, a[0], None), "clip: min takes no gradient"),
        (lambda a: np.mean(a, out=np.empty(())), "np.mean with out"),
        (lambda a: np.sum(A, out=a[0, 0]), "behind the graph's back"),
        (lambda a: np.add.at(np.ones(3), [0], a[0, 0]), "np.add.at"),
        (lambda a: np.reshape(a, (4, 3), order="A"), "order='A'"),
        (lambda a: np.quantile(a, 0.3, method="lower"), "np.quantile with method='lower'"),
        (lambda a: np.linalg.norm(a[0], 0), "np.linalg.norm with ord=0"),
        (lambda a: a.sum(dtype=np.float32), "np.sum with dtype"),
        (lambda a: np.interp(a, W, W, period=3), "np.interp with period"),
        (lambda a: np.fill_diagonal(a, 0), "np.fill_diagonal would write"),
        (lambda a: a.astype(np.int64, casting="safe"), "cannot cast float64 to int64"),
    ],
)
def test_a_call_form_that_is_not_differentiated_is_refused_by_name(f, message):
    with pytest.raises(TypeError, match=message):
        f(leaf(A))


# Speed ----------------------------------------------------------------------------------------------------------------


def test_the_backward_pass_of_a_chain_of_products_takes_the_path_of_the_forward_pass(monkeypatch):
    inputs = [leaf(RNG.normal(size=(100, 100))) for _ in range(3)]
    y = mg.einsum("ij,jk,kl->il", *inputs)
    real, calls = np.einsum, []
    monkeypatch.setattr(np, "einsum", lambda *args, **how: (calls.append((len(args) - 1, how.get("optimize", False))), real(*args, **how))[1])
    y.sum().backward()
    assert all(operands <= 2 or path is not False for operands, path in calls), calls  # not sums over four letters at once
    a, b, c = (x.data for x in inputs)
    np.testing.assert_allclose(inputs[1].grad.data, a.T @ np.ones((100, 100)) @ c.T, rtol=1e-10)
    np.testing.assert_allclose(y.data, a @ b @ c, rtol=1e-10)
