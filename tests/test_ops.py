"""Every op in the registry, on its examples.  A new op is picked up by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad import Tensor, gradcheck, gradgradcheck
from minigrad.byhand.gradcheck import calls, check_op, check_ops, examples, run
from minigrad.graph import REGISTRY
from minigrad.ops.declare import Example, Op, op

OPS = list(REGISTRY)
EXAMPLES = [(name, n) for name in OPS for n in range(len(examples(REGISTRY[name], np.random.default_rng(0))))]
each_op = pytest.mark.parametrize("name", OPS)
each_example = pytest.mark.parametrize(("name", "n"), EXAMPLES)
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def tensors(example: Example, dtype=np.float64) -> list:
    """The example's inputs, those of real numbers as Tensors that require grad."""
    return [Tensor(x, requires_grad=True, dtype=dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in example.inputs]


def in_precision(example: Example, dtype) -> Example:
    params = {k: v.astype(dtype) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for k, v in example.params.items()}
    return example._replace(params=params)


def pick_example(name: str, n: int) -> tuple[Op, Example]:
    return REGISTRY[name], examples(REGISTRY[name], np.random.default_rng(5))[n]


# The registry ---------------------------------------------------------------------------------------------------------


@each_op
def test_first_derivatives_agree_with_finite_differences(name):
    report = check_op(REGISTRY[name])
    assert report, f"\n{report}"
    assert report.rows


@each_op
@pytest.mark.slow
def test_second_derivatives_agree_with_finite_differences(name):
    report = check_op(REGISTRY[name], gradgradcheck)
    assert report, f"\n{report}"


def test_only_ops_of_one_input_and_no_params_do_without_examples():
    lacking = [o for o in REGISTRY.values() if o.examples is None]
    assert not [o.name for o in lacking if len(o.inputs) != 1 or o.params]


def test_an_ops_own_examples_come_first():
    def cube(x):
        return x**3

    declared = Op(cube, "", None, builtin=False)
    assert declared.examples is None
    declared.examples = lambda rng: [Example((rng.normal(size=2),), {})]
    assert [x.shape for (x,), _, _ in examples(declared, np.random.default_rng(0))] == [(2,)]
    kept = mg.exp.examples
    try:
        mg.exp.examples = declared.examples
        assert len(check_op(mg.exp).rows) == 1 and check_op(mg.exp).rows[0].shape == (2,)
    finally:
        mg.exp.examples = kept


def test_a_new_elementwise_op_is_checked_without_further_ado():
    try:

        @op(r"y = x^3")
        def cube_of_this_test(x):
            return x**3

        cube_of_this_test.vjp("x", r"3 \bar y x^2", lambda g, y, x: g * 3 * x**2)
        ((name, first, second),) = check_ops(["cube_of_this_test"])
        assert name == "cube_of_this_test" and first and second
        assert first.rows[0].shape == (3, 4)
        cube_of_this_test.vjp("x", r"2 \bar y x^2", lambda g, y, x: g * 2 * x**2)
        assert not check_op(cube_of_this_test)
    finally:
        REGISTRY.pop("cube_of_this_test")


def test_check_ops_refuses_an_unknown_name():
    with pytest.raises(KeyError, match="no op called 'soft_max'"):
        check_ops(["soft_max"])


@each_op
def test_every_input_of_every_op_has_a_rule_and_a_formula(name):
    declared = REGISTRY[name]
    assert declared.formula
    assert declared.definition or declared.joint or all(declared.rules)
    assert declared.derivatives.keys() >= set(declared.inputs)
    assert all(declared.derivatives.values())


@each_example
def test_float32_in_float32_gradient_out(name, n):
    declared, example = pick_example(name, n)
    example = in_precision(example, np.float32)
    inputs = tensors(example, np.float32)
    out = run(declared, example, *inputs)
    if name != "astype" and all(x is None or isinstance(x, Tensor | int) for x in inputs):  # integer arrays promote, as in NumPy
        assert out.dtype == np.float32
    out.backward(np.random.default_rng(1).normal(size=out.shape))
    for x in inputs:
        if isinstance(x, Tensor):
            assert x.grad.dtype == np.float32
            assert x.grad.shape == x.shape


@each_example
def test_inputs_params_and_upstream_are_not_mutated_and_gradients_share_no_memory(name, n):
    declared, example = pick_example(name, n)
    inputs = tensors(example)
    out = run(declared, example, *inputs)
    upstream = np.random.default_rng(1).normal(size=out.shape)
    arrays = [x.data for x in inputs if isinstance(x, Tensor)] + [p for p in example.params.values() if isinstance(p, np.ndarray)]
    before = [a.copy() for a in (*arrays, upstream, out.data)]
    out.backward(upstream)
    for a, b in zip((*arrays, upstream, out.data), before, strict=True):
        np.testing.assert_array_equal(a, b)
    gradients = [x.grad.data for x in inputs if isinstance(x, Tensor)]
    for i, a in enumerate(gradients):
        assert a.flags.writeable
        for other in (*gradients[:i], *arrays, upstream, out.data):
            assert not np.shares_memory(a, other)


@each_example
def test_the_same_gradient_whether_or_not_it_is_recorded(name, n):
    """The rule on arrays and the rule on Tensors are one function; this holds the fused branches together."""
    declared, example = pick_example(name, n)
    upstream = None
    found = []
    for create_graph in (False, True):
        inputs = tensors(example)
        out = run(declared, example, *inputs)
        upstream = np.random.default_rng(1).normal(size=out.shape)
        out.backward(upstream, create_graph=create_graph)
        found.append([x.grad.data for x in inputs if isinstance(x, Tensor)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


# Kernels and the definitions that they stand behind -----------------------------------------------------------------------------------

DEFINED = [(name, n) for name, n in EXAMPLES if REGISTRY[name].definition]


def three_orders(f, inputs, rng):
    """Value, gradient and Hessian-vector product, on random non-uniform upstream gradients and vectors."""
    out = f(*inputs)
    variables = [x for x in inputs if isinstance(x, Tensor)]
    out.backward(rng.normal(size=out.shape), create_graph=True)
    first = [x.grad for x in variables]
    total = sum((g * rng.normal(size=g.shape)).sum() for g in first)
    for x in variables:
        x.zero_grad()
    if total.requires_grad:
        total.backward()
    return [out.data], [g.data for g in first], [np.zeros(x.shape) if x.grad is None else x.grad.data for x in variables]


@pytest.mark.parametrize(("name", "n"), DEFINED)
def test_a_kernel_agrees_with_the_definition_of_its_op_in_value_gradient_and_hessian_vector_product(name, n):
    declared, example = pick_example(name, n)
    fused = three_orders(lambda *xs: run(declared, example, *xs), tensors(example), np.random.default_rng(2))
    with mg.plain():
        plain = three_orders(lambda *xs: run(declared, example, *xs), tensors(example), np.random.default_rng(2))
    for order, (a, b) in enumerate(zip(fused, plain, strict=True)):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-11, err_msg=f"order {order} of {calls(declared, example)}")


def test_the_ops_that_the_design_names_are_composed_ones():
    names = {"softmax", "log_softmax", "_cross_entropy", "layer_norm", "rms_norm", "_gelu_erf", "_gelu_tanh", "silu", "attention", "linear"}
    assert names <= {name for name in OPS if REGISTRY[name].definition}


# The public functions in front of the ops -----------------------------------------------------------------------------


@pytest.mark.parametrize("approximate", ["tanh", "none"])
def test_gelu_to_second_order(approximate):
    x = np.random.default_rng(0).normal(size=(3, 4))
    assert gradcheck(lambda t: mg.gelu(t, approximate), x)
    assert gradgradcheck(lambda t: mg.gelu(t, approximate), x)


def test_attention_with_boolean_mask_causality_grouped_heads_and_dropout():
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(2, 4, 3, 2)), rng.normal(size=(2, 2, 5, 2)), rng.normal(size=(2, 2, 5, 3))
    mask = rng.random((2, 1, 3, 5)) < 0.7

    def f(q, k, v):
        return mg.scaled_dot_product_attention(q, k, v, mask, causal=True, dropout=0.3)

    assert gradcheck(f, q, k, v)
    assert gradgradcheck(f, q, k, v)


def test_dropout_is_checked_while_it_is_on():
    x = np.random.default_rng(0).normal(size=(4, 5))
    assert gradcheck(lambda t: mg.dropout(t * t, 0.4), x)
    assert gradgradcheck(lambda t: mg.dropout(t * t, 0.4), x)


def test_dropout_keeps_the_expectation_and_draws_anew_at_each_call():
    mg.manual_seed(3)
    x = Tensor(np.ones(20_000), requires_grad=True)
    first, second = mg.dropout(x, 0.25), mg.dropout(x, 0.25)
    assert abs(first.data.mean() - 1) < 0.02
    assert set(np.unique(first.data)) == {0.0, 1 / 0.75}
    assert (first.data != second.data).any()
    (first.sum() + second.sum()).backward()
    np.testing.assert_array_equal(x.grad.data, first.data + second.data)  # each mask serves its own call
    assert mg.dropout(x, 0.25, training=False) is x


def test_dropout_in_attention_keeps_the_expectation():
    mg.manual_seed(3)
    q, v = np.zeros((1, 20, 4)), np.ones((1, 1000, 1))
    out = mg.scaled_dot_product_attention(q, np.zeros((1, 1000, 4)), v, dropout=0.25)  # of a thousand equal weights each
    assert 0 < abs(out.data - 1).max() < 0.1 and abs(out.data.mean() - 1) < 0.02


def test_cross_entropy_of_ties_has_a_gradient():
    logits = Tensor(np.zeros((2, 4)), requires_grad=True)
    mg.cross_entropy(logits, np.array([1, 3])).backward()
    np.testing.assert_allclose(logits.grad.data, (0.25 - np.eye(4)[[1, 3]]) / 2)


def test_cross_entropy_leaves_ignored_targets_out_of_sum_and_count():
    logits = np.random.default_rng(0).normal(size=(5, 4))
    targets = np.array([1, -100, 0, -100, 2])
    some, all_ = Tensor(logits, requires_grad=True), Tensor(logits[[0, 2, 4]], requires_grad=True)
    a = mg.cross_entropy(some, targets, ignore_index=-100, label_smoothing=0.1)
    b = mg.cross_entropy(all_, targets[[0, 2, 4]], label_smoothing=0.1)
    a.backward()
    b.backward()
    assert a.item() == pytest.approx(b.item(), rel=1e-14)
    np.testing.assert_allclose(some.grad.data[[0, 2, 4]], all_.grad.data, rtol=1e-14)
    assert not some.grad.data[[1, 3]].any()


@pytest.mark.parametrize("f", [mg.softmax, mg.log_softmax, mg.logsumexp, mg.sigmoid, mg.silu, mg.gelu, mg.tanh])
def test_large_numbers_do_not_overflow(f):
    x = Tensor(np.array([-1e4, -800.0, 0.0, 800.0, 1e4]), requires_grad=True)
    out = f(x)
    out.sum().backward()
    assert np.isfinite(out.data).all() and np.isfinite(x.grad.data).all()


def test_a_softmax_row_of_minus_infinity_gives_zeros_and_zero_gradient():
    x = Tensor(np.array([[-np.inf, -np.inf], [0.0, -np.inf]]), requires_grad=True)
    y = mg.softmax(x)
    y.backward(np.array([[1.0, 2.0], [3.0, 5.0]]))
    np.testing.assert_array_equal(y.data, [[0, 0], [1, 0]])
    np.testing.assert_array_equal(x.grad.data, np.zeros((2, 2)))
    z = Tensor(np.full((1, 3), -np.inf), requires_grad=True)
    mg.logsumexp(z, axis=-1).sum().backward()
    np.testing.assert_array_equal(z.grad.data, np.zeros((1, 3)))


def test_erf_is_exact_to_double_precision():
    import math

    x = np.linspace(-7, 7, 4001)
    np.testing.assert_allclose(mg.erf(x).data, [math.erf(v) for v in x], rtol=3e-15, atol=1e-17)
    single = np.r_[x, np.linspace(-5, 5, 2001)].astype(np.float32)
    np.testing.assert_allclose(mg.erf(single).data, [math.erf(v) for v in single], rtol=4e-7)


@pytest.mark.parametrize("axis", [(1, 2), (0, 2), (2,), (-1, 0), None])
def test_mean_divides_by_the_number_of_entries_and_not_by_the_axis_numbers(axis):
    x = Tensor(np.random.default_rng(0).normal(size=(2, 3, 5)), requires_grad=True)
    y = x.mean(axis=axis)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.data, np.full(x.shape, y.size / x.size))


def test_an_entry_that_is_picked_twice_gets_both_gradients():
    x = Tensor(np.arange(5.0), requires_grad=True)
    (x[[1, 1, 4]] * np.array([2.0, 3.0, 5.0])).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [0, 5, 0, 0, 5])
    w = Tensor(np.ones((4, 2)), requires_grad=True)
    (mg.embedding(w, [[1, 1], [3, 1]]) * np.array([[[1.0], [2.0]], [[4.0], [8.0]]])).sum().backward()
    np.testing.assert_array_equal(w.grad.data[:, 0], [0, 11, 0, 4])


def test_scatter_of_a_large_vocabulary_equals_add_at():
    rng = np.random.default_rng(0)
    w = Tensor(rng.normal(size=(5000, 3)), requires_grad=True)
    ids = rng.integers(0, 5000, (20, 50))
    upstream = rng.normal(size=(20, 50, 3))
    mg.embedding(w, ids).backward(upstream)
    expected = np.zeros((5000, 3))
    np.add.at(expected, ids, upstream)
    np.testing.assert_allclose(w.grad.data, expected, rtol=1e-12, atol=1e-14)


def test_ties_share_the_gradient():
    x = Tensor(np.array([3.0, 1.0, 3.0]), requires_grad=True)
    x.max().backward(6.0)
    np.testing.assert_array_equal(x.grad.data, [3, 0, 3])
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([1.0, 1.0], requires_grad=True)
    mg.maximum(a, b).sum().backward()
    np.testing.assert_array_equal(a.grad.data, [0.5, 1])
    np.testing.assert_array_equal(b.grad.data, [0.5, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_max_has_the_gradient_dtype_of_its_input(dtype):
    x = Tensor(np.ones((2, 3)), requires_grad=True, dtype=dtype)
    x.max(axis=1).sum().backward()
    assert x.grad.dtype == dtype


def test_astype_brings_the_gradient_back_to_its_own_precision():
    x = Tensor([1.0, 2.0], requires_grad=True, dtype=np.float32)
    (x.astype(np.float64) * np.array([1.5, 2.5])).sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad.data, [1.5, 2.5])


def test_split_and_stack_are_inverse_and_their_gradients_too():
    x = Tensor(np.arange(12.0).reshape(2, 6), requires_grad=True)
    parts = mg.split(x, 3, axis=1)
    back = mg.concatenate(parts, axis=1)
    upstream = np.random.default_rng(0).normal(size=(2, 6))
    back.backward(upstream)
    np.testing.assert_array_equal(back.data, x.data)
    np.testing.assert_array_equal(x.grad.data, upstream)
    assert [p.shape for p in mg.split(x, [1, 4], axis=-1)] == [(2, 1), (2, 3), (2, 2)]


# Properties over random shapes -----------------------------------------------------------------------------------------


def numbers(shape, seed, low=0.5, high=1.5):
    return np.random.default_rng(seed).uniform(low, high, shape)


def summed_to(g, shape):
    """A dense reference for broadcasting: the matrix of the broadcast, transposed, times g."""
    index = np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), g.shape)
    out = np.zeros(int(np.prod(shape)))
    np.add.at(out, index.ravel(), g.ravel())
    return out.reshape(shape)


BINARY = {
    mg.add: lambda a, b: (1 + 0 * a * b, 1 + 0 * a * b), mg.subtract: lambda a, b: (1 + 0 * a * b, -1 + 0 * a * b),
    mg.multiply: lambda a, b: (b + 0 * a, a + 0 * b), mg.divide: lambda a, b: (1 / b + 0 * a, -a / b**2),
    mg.power: lambda a, b: (b * a ** (b - 1), a**b * np.log(a)), mg.maximum: lambda a, b: ((a > b) * 1.0, (b > a) * 1.0),
    mg.minimum: lambda a, b: ((a < b) * 1.0, (b < a) * 1.0),
}  # fmt: skip


@quick
@given(st.sampled_from(list(BINARY)), hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0), st.integers(0, 99))
def test_binary_ops_broadcast_as_numpy_does(f, shapes, seed):
    a, b = (Tensor(numbers(s, seed + i), requires_grad=True) for i, s in enumerate(shapes.input_shapes))
    out = f(a, b)
    assert out.shape == shapes.result_shape
    upstream = np.random.default_rng(seed).normal(size=out.shape)
    out.backward(upstream)
    for x, slope in zip((a, b), BINARY[f](a.data, b.data), strict=True):
        np.testing.assert_allclose(x.grad.data, summed_to(upstream * slope, x.shape), rtol=1e-12, atol=1e-13)


@quick
@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3), st.integers(0, 99))
def test_where_broadcasts_condition_and_both_branches(shapes, seed):
    c, a, b = shapes.input_shapes
    condition = np.random.default_rng(seed).random(c) < 0.5
    assert gradcheck(lambda x, y: mg.where(condition, x, y), numbers(a, seed), numbers(b, seed + 1))


REDUCTIONS = {
    **{f: getattr(np, f.name) for f in (mg.sum, mg.mean, mg.max, mg.min, mg.prod, mg.var)},
    mg.logsumexp: lambda x, **how: np.log(np.exp(x).sum(**how)), mg.norm: lambda x, **how: np.sqrt((x * x).sum(**how)),
}  # fmt: skip


@quick
@given(st.sampled_from(list(REDUCTIONS)), hnp.array_shapes(min_dims=1, max_dims=4, max_side=3), st.data())
def test_reductions_over_any_axes(f, shape, data):
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1) | hnp.valid_tuple_axes(len(shape)))
    keepdims = data.draw(st.booleans())
    x = numbers(shape, data.draw(st.integers(0, 99)))
    expected = REDUCTIONS[f](x, axis=axis, keepdims=keepdims)
    np.testing.assert_allclose(f(Tensor(x), axis=axis, keepdims=keepdims).data, expected, rtol=1e-12, atol=1e-14, strict=True)
    report = gradcheck(lambda t: f(t, axis=axis, keepdims=keepdims), x)
    assert report, report


@st.composite
def einsums(draw):
    """Subscripts with repeated letters, letters that only one operand has, ellipses, and size-1 axes against longer ones."""
    letters = "ijkl"
    sizes = {c: draw(st.integers(1, 3)) for c in letters}
    ellipsis = draw(st.booleans())
    dots = draw(st.lists(st.integers(1, 2), max_size=2)) if ellipsis else []
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        term = draw(st.text(letters, max_size=3))
        shape = [sizes[c] for c in term]
        if draw(st.integers(0, 3)) == 0 and len(set(term)) == len(term) and term:
            shape[draw(st.integers(0, len(term) - 1))] = 1
        if ellipsis:
            mine = dots[draw(st.integers(0, len(dots))) :]
            mine = [1 if draw(st.integers(0, 3)) == 0 else n for n in mine]
            at = draw(st.integers(0, len(term)))
            term, shape = term[:at] + "..." + term[at:], shape[:at] + mine + shape[at:]
        terms.append(term)
        shapes.append(tuple(shape))
    used = sorted(set("".join(terms)) - {"."})
    target = "".join(draw(st.permutations(used))[: draw(st.integers(0, len(used)))])
    if ellipsis:
        at = draw(st.integers(0, len(target)))
        target = target[:at] + "..." + target[at:]
    implicit = draw(st.booleans())
    return ",".join(terms) + ("" if implicit else "->" + target), shapes


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(einsums(), st.integers(0, 99))
def test_einsum_with_repeated_letters_ellipsis_and_size_1_axes(case, seed):
    subscripts, shapes = case
    arrays = [numbers(s, seed + i) for i, s in enumerate(shapes)]
    try:
        expected = np.einsum(subscripts, *arrays)
    except ValueError:
        return  # NumPy does not take it either (an ellipsis that vanishes, say)
    np.testing.assert_allclose(mg.einsum(subscripts, *map(Tensor, arrays)).data, expected, rtol=1e-12)
    report = gradcheck(lambda *xs: mg.einsum(subscripts, *xs), *arrays)
    assert report, f"{subscripts} {shapes}\n{report}"


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(einsums(), st.integers(0, 99))
def test_einsum_to_second_order(case, seed):
    subscripts, shapes = case
    arrays = [numbers(s, seed + i) for i, s in enumerate(shapes)]
    try:
        np.einsum(subscripts, *arrays)
    except ValueError:
        return
    assert gradgradcheck(lambda *xs: mg.einsum(subscripts, *xs), *arrays)


@quick
@given(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), st.data())
def test_basic_indexing(shape, data):
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    check_index(shape, index)


@quick
@given(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), st.data())
def test_advanced_indexing(shape, data):
    kind = data.draw(st.sampled_from(["integers", "mask", "mixed"]))
    if kind == "integers":
        index = data.draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4)))
    elif kind == "mask":
        index = data.draw(hnp.arrays(bool, shape))
    else:
        first = data.draw(hnp.arrays(np.int64, st.integers(0, 4), elements=st.integers(-shape[0], shape[0] - 1)))
        index = (first, *data.draw(st.sampled_from([(), (Ellipsis,), (None,)])))
    check_index(shape, index)


def check_index(shape, index):
    x = Tensor(numbers(shape, 0), requires_grad=True)
    out = x[index]
    np.testing.assert_array_equal(out.data, x.data[index])
    upstream = np.random.default_rng(0).normal(size=out.shape)
    out.backward(upstream)
    expected = np.zeros(shape)
    np.add.at(expected, index, upstream)
    np.testing.assert_allclose(x.grad.data, expected, rtol=1e-13, atol=1e-14)


@st.composite
def matmul_shapes(draw):
    n, k, m = (draw(st.integers(1, 3)) for _ in range(3))
    batch = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3)).input_shapes
    a = draw(st.sampled_from([(k,), (n, k), (*batch[0], n, k)]))
    b = draw(st.sampled_from([(k,), (k, m), (*batch[1], k, m)]))
    return a, b


@quick
@given(matmul_shapes(), st.integers(0, 99))
def test_matmul_with_broadcast_batches_and_vectors(shapes, seed):
    a, b = (numbers(s, seed + i) for i, s in enumerate(shapes))
    assert gradcheck(lambda x, y: x @ y, a, b)
    assert gradcheck(mg.matmul, a, b)
    assert gradgradcheck(mg.matmul, a, b)


@quick
@given(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), st.data())
@pytest.mark.slow
def test_softmax_along_any_axis(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = 3 * np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=shape)
    np.testing.assert_allclose(mg.softmax(Tensor(x), axis).data.sum(axis=axis), 1)
    assert gradcheck(lambda t: mg.softmax(t, axis), x)
    assert gradcheck(lambda t: mg.log_softmax(t, axis), x)


@quick
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.data())
@pytest.mark.slow
def test_attention_of_any_size(kv_heads, group, t, s, d, causal, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    batch = data.draw(st.sampled_from([(), (2,), (1, 2)]))
    q, k, v = (rng.normal(size=(*batch, h, n, d)) for h, n in ((kv_heads * group, t), (kv_heads, s), (kv_heads, s)))
    mask = data.draw(st.sampled_from([None, rng.random((t, s)) < 0.6, rng.normal(size=(kv_heads * group, 1, s))]))
    report = gradcheck(lambda q, k, v: mg.scaled_dot_product_attention(q, k, v, mask, causal=causal), q, k, v)
    assert report, report


@quick
@given(st.sampled_from([np.float32, np.float64]), st.sampled_from([np.float32, np.float64, np.int32]), st.sampled_from(list(BINARY)))
def test_a_gradient_has_the_dtype_of_its_tensor_whatever_it_is_combined_with(one, other, f):
    a = Tensor(numbers((2, 3), 0), requires_grad=True, dtype=one)
    b = Tensor(numbers((3,), 1) * 2, requires_grad=other is not np.int32, dtype=other)
    f(a, b).sum().backward()
    assert a.grad.dtype == one
    assert b.grad is None if other is np.int32 else b.grad.dtype == other


def test_a_boolean_exponent_is_an_exponent():
    x = Tensor([2.0, 3.0, 5.0], requires_grad=True)
    (x ** np.array([True, False, True])).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [1, 0, 1])


@pytest.mark.parametrize("scalar", [2, 2.0, True, np.float32(2), np.float64(2), np.int64(2), np.array(2.0)])
@pytest.mark.parametrize("f", list(BINARY))
def test_scalars_do_not_promote_float32(f, scalar):
    x = Tensor(numbers((2, 3), 0), requires_grad=True, dtype=np.float32)
    for out in (f(x, scalar), f(scalar, x)):
        assert out.dtype == np.float32
        x.zero_grad()
        out.sum().backward()
        assert x.grad.dtype == np.float32


# Errors name the op and the shapes ------------------------------------------------------------------------------------

T34, T52 = Tensor(np.ones((3, 4)), requires_grad=True), Tensor(np.ones((5, 2)), requires_grad=True)
MISTAKES = [
    (lambda: T34 @ T52, ValueError, r"matmul: \(3, 4\) @ \(5, 2\): inner sizes 4 and 5 differ$"),
    (lambda: T34 @ 2.0, ValueError, r"scalar has no matrix product"),
    (lambda: T34 + T52, ValueError, r"add: inputs of shape \(3, 4\), \(5, 2\)"),
    (lambda: T34.reshape(5, 5), ValueError, r"reshape: inputs of shape \(3, 4\)"),
    (lambda: T34.sum(axis=2), ValueError, r"sum: inputs of shape \(3, 4\)"),
    (lambda: T34[7], IndexError, r"pick: inputs of shape \(3, 4\)"),
    (lambda: T34[np.array([0.5])], IndexError, r"must be integers or booleans"),
    (lambda: mg.linear(T34, T52), ValueError, r"linear: \(3, 4\) @ \(5, 2\)"),
    (lambda: mg.linear(T34, np.ones((4, 2)), np.ones(3)), ValueError, r"linear: bias \(3,\) for weight \(4, 2\)"),
    (lambda: mg.layer_norm(T34, np.ones(3)), ValueError, r"layer_norm: weight \(3,\) for x \(3, 4\)"),
    (lambda: T34 @ T34, ValueError, r"inner sizes 4 and 3 differ; perhaps a @ b\.mT is meant"),
    (lambda: mg.embedding(T34, [3]), IndexError, r"embedding: token id 3 at position \(0,\) is out of range for size 3"),
    (lambda: mg.embedding(T34, [0, -1]), IndexError, r"embedding: token id -1 at position \(1,\) is negative"),
    (lambda: mg.embedding(T34, [0.5]), TypeError, r"embedding: token id must be integers, got float64"),
    (lambda: mg.take(T34, [4], axis=1), IndexError, r"take: index 4"),
    (lambda: mg.take(T34, [0], axis=2), ValueError, r"take: axis 2 of an array with 2 dimensions"),
    (lambda: mg.cross_entropy(T34, [0, 1]), ValueError, r"cross_entropy: logits \(3, 4\) need targets of shape \(3,\), got \(2,\)"),
    (lambda: mg.cross_entropy(T34, [0, 1, 4]), IndexError, r"cross_entropy: target 4 .* out of range for size 4"),
    (lambda: mg.cross_entropy(T34, [0, 1, -100]), IndexError, r"pass ignore_index=-100"),
    (lambda: mg.cross_entropy(T34, [0, 1, 2], reduction="avg"), ValueError, r"reduction 'avg'"),
    (lambda: mg.cross_entropy(T34, [0, 1, 2], label_smoothing=2), ValueError, r"label_smoothing 2"),
    (lambda: mg.einsum("ij,jk->ik", T34, T52), ValueError, r"einsum: .*\(3, 4\), \(5, 2\)"),
    (lambda: mg.einsum("ij->ik", T34), ValueError, r"output 'ik' has unknown or repeated letters"),
    (lambda: mg.einsum("ijk->i", T34), ValueError, r"subscripts 'ijk' for an operand of shape \(3, 4\)"),
    (lambda: mg.einsum("ij,jk->ik", T34), ValueError, r"names 2 operands, got 1"),
    (lambda: mg.split(T34, 3, axis=1), ValueError, r"split: axis 1 of size 4 does not divide into 3"),
    (lambda: mg.concatenate([T34, T52]), ValueError, r"concatenate: .*\(3, 4\), \(5, 2\)"),
    (lambda: mg.stack([T34, T52]), ValueError, r"stack: .*\(3, 4\), \(5, 2\)"),
    (lambda: mg.gelu(T34, "fast"), ValueError, r"gelu: approximate='fast'"),
    (lambda: mg.dropout(T34, 1.0), ValueError, r"dropout: p=1.0"),
    (lambda: mg.pad(T34, 1, mode="edge"), ValueError, r"pad: mode 'edge'"),
    (lambda: mg.mean(Tensor(np.ones((0, 3)))), ValueError, r"mean: of no entries"),
    (lambda: mg.var(Tensor(np.ones(1)), ddof=1), ValueError, r"var: 1 entries with ddof=1"),
    (lambda: T34 * "2", TypeError, r"real numbers|str"),
    (lambda: T34 * 2j, TypeError, r"expected real numbers, got complex"),
    (lambda: mg.sum(T34, axes=0), TypeError, r"sum: argument 'axes' is unknown"),
    (lambda: mg.sum(T34, 0, axis=0), TypeError, r"sum: argument 'axis' is given twice"),
    (lambda: mg.add(T34), TypeError, r"add: argument 'b' is missing"),
    (lambda: mg.exp(T34, 1, 2), TypeError, r"exp: takes 1 arguments at most, got 3"),
    (lambda: mg.scaled_dot_product_attention(T34, T52, T52), ValueError, r"queries of width 4 cannot meet keys of width 2"),
    (lambda: mg.scaled_dot_product_attention(T34, T34, T34, np.ones((2, 3), bool)), ValueError, r"mask \(2, 3\) does not broadcast"),
    (lambda: mg.scaled_dot_product_attention(T34, T34, T34, np.ones((3, 3), int)), TypeError, r"mask of int64; use booleans"),
    (lambda: mg.scaled_dot_product_attention(T34, T34[:2], T34[:2], np.ones((2, 3), bool)), ValueError, r"looks transposed"),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(MISTAKES)))
def test_a_mistake_is_named_with_its_values(i):
    mistake, error, message = MISTAKES[i]
    with pytest.raises(error, match=message):
        mistake()
