"""The checker is checked: it must catch what is wrong, and must not cry wolf."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad import Tensor, gradcheck, gradgradcheck
from minigrad.graph import REGISTRY
from minigrad.ops.declare import op

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4))


def sabotage(monkeypatch, name, wrong):
    rule = REGISTRY[name].rules[0]
    monkeypatch.setattr(REGISTRY[name], "rules", [lambda g, *rest, **params: wrong(rule(g, *rest, **params), g), *REGISTRY[name].rules[1:]])


@pytest.mark.parametrize("wrong", [
    lambda r, g: r * 500, lambda r, g: r * 1.00001, lambda r, g: r * 0, lambda r, g: -r, lambda r, g: r + 1e-4, lambda r, g: g,
    lambda r, g: r * np.nan, lambda r, g: r * np.inf, lambda r, g: r[::-1],
])  # fmt: skip
def test_a_sabotaged_rule_is_caught(monkeypatch, wrong):
    assert gradcheck(mg.tanh, X)
    sabotage(monkeypatch, "tanh", wrong)
    with np.errstate(invalid="ignore"):
        report = gradcheck(mg.tanh, X)
    assert not report
    assert "WRONG" in str(report)


def test_one_wrong_entry_among_many_is_found_and_located(monkeypatch):
    def wrong(r, g):
        r = np.array(r)
        r[1, 2] += 1e-3
        return r

    sabotage(monkeypatch, "sin", wrong)
    report = gradcheck(mg.sin, X)
    assert not report
    assert report.rows[0].worst == (1, 2)
    assert report.rows[0].verdict == "WRONG at 1 of 12"
    assert report.rows[0].analytic == pytest.approx(report.rows[0].numeric + 1e-3, rel=1e-6)


def test_a_wrong_gradient_of_one_input_does_not_hide_behind_a_right_one(monkeypatch):
    monkeypatch.setattr(mg.multiply, "rules", [mg.multiply.rules[0], lambda g, c, a, b: g * a * 1.01])
    report = gradcheck(lambda a, b: mg.multiply(a, b).sum(), X, X + 1, names=["a", "b"])
    assert not report
    assert [row.verdict.startswith("WRONG") for row in report.rows] == [False, True]
    assert [row.name for row in report.rows] == ["a", "b"]


def test_a_rule_right_in_first_order_and_wrong_in_second_is_caught_by_gradgradcheck():
    """A rule that keeps an array of the forward pass drops a term of the second derivative."""
    try:

        @op(r"y = x^3")
        def frozen_cube(x):
            return x**3

        frozen_cube.vjp("x", r"3 \bar y x^2", lambda g, y, x: g * (3 * x.data**2 if isinstance(x, Tensor) else 3 * x**2))
        assert gradcheck(frozen_cube, X)
        assert not gradgradcheck(frozen_cube, X)
    finally:
        REGISTRY.pop("frozen_cube")


def test_a_tiny_error_in_a_small_gradient_beside_a_large_value_is_still_judged_by_the_gradient():
    try:

        @op(r"y = x + 1000")
        def shifted(x):
            return x + 1000.0

        shifted.vjp("x", r"\bar y", lambda g, y, x: g * 1.0001)
        assert not gradcheck(shifted, X)
    finally:
        REGISTRY.pop("shifted")


@pytest.mark.parametrize(("f", "x"), [
    (mg.relu, np.array([0.0, 1.0, -1.0])), (mg.abs, np.array([0.0, 2.0])), (lambda t: t.max(), np.array([1.0, 1.0, 0.0])),
    (lambda t: mg.maximum(t, 1.0), np.array([1.0, 2.0])), (lambda t: mg.clip(t, 0, 1), np.array([0.0, 0.5, 1.0])),
    (lambda t: mg.relu(t) + 100.0, np.array([1e-9, 1.0])),
])  # fmt: skip
def test_kinks_are_reported_and_not_failed(f, x):
    report = gradcheck(f, x)
    assert report
    assert "kink" in report.rows[0].verdict


def test_a_wrong_gradient_elsewhere_is_not_excused_by_a_kink(monkeypatch):
    sabotage(monkeypatch, "relu", lambda r, g: r * 1.01)
    report = gradcheck(mg.relu, np.array([0.0, 1.0, 2.0]))
    assert not report


@pytest.mark.parametrize("f", [mg.exp, mg.log, mg.sin, lambda t: t**7, lambda t: 1 / t, mg.sqrt, mg.gelu, lambda t: mg.exp(5 * t)])
def test_smooth_but_curved_functions_have_no_kinks(f):
    report = gradcheck(f, RNG.uniform(0.1, 2, (3, 4)))
    assert report
    assert "kink" not in str(report)


def test_a_random_function_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(RuntimeError, match=r"gave different values.*minigrad's generator"):
        gradcheck(lambda t: (t * rng.normal(size=4)).sum(), X)


def test_minigrads_own_randomness_is_rewound():
    mg.manual_seed(0)
    before = mg.random.generator().bit_generator.state
    assert gradcheck(lambda t: mg.dropout(t, 0.5) * mg.dropout(t, 0.5), X)
    assert gradgradcheck(lambda t: mg.dropout(t, 0.5) * mg.dropout(t, 0.5), X)
    assert mg.random.generator().bit_generator.state == before


def test_a_function_that_changes_its_inputs_is_refused():
    def f(t):
        t.data *= 1.5
        return t * t

    with pytest.raises(RuntimeError, match="changed its inputs in place"):
        gradcheck(f, X)

    def g(t, table):
        table[0] += 0.0 if table[0] else 1.0
        return t * 2

    with pytest.raises(RuntimeError, match="changed its inputs in place"):
        gradcheck(g, X, np.zeros(2, np.int64))


def test_the_callers_arrays_are_left_alone():
    x, ids = X.copy(), np.array([0, 2])
    t = Tensor(X, requires_grad=True)
    assert gradcheck(lambda w, i, t: mg.embedding(w, i) * t[:2], x, ids, t)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(ids, [0, 2])
    assert t.grad is None


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_inputs_and_results_that_cannot_be_checked_are_clear_errors(check):
    with pytest.raises(TypeError, match="complex inputs are not supported"):
        check(lambda t: t, X + 1j)
    with pytest.raises(TypeError, match="no floating-point input"):
        check(lambda t: t, np.arange(3))
    with pytest.raises(TypeError, match=r"detach\(\) cut the graph"):
        check(lambda t: Tensor(t.data * 2), X)
    with pytest.raises(TypeError, match="must return Tensors, got"):
        check(lambda t: float(t.data.sum()), X)


def test_gradgradcheck_of_a_linear_function_is_zero_and_fine():
    assert gradgradcheck(lambda t: t * 3, X)
    assert gradgradcheck(mg.relu, X)


def test_large_inputs_are_checked_along_random_directions(monkeypatch):
    x = RNG.normal(size=(80, 60))
    report = gradcheck(lambda t: mg.tanh(t).mean(), x)
    assert report
    assert "32 random directions" in report.rows[0].verdict
    sabotage(monkeypatch, "tanh", lambda r, g: r * 1.001)
    assert not gradcheck(lambda t: mg.tanh(t).mean(), x)


def test_float32_inputs_are_judged_in_float64():
    seen = []

    def f(t):
        seen.append(t.dtype)
        return mg.softmax(t)

    report = gradcheck(f, X.astype(np.float32))
    assert report and report.max_rel < 1e-7
    assert set(seen) == {np.dtype(np.float64)}
    assert gradcheck(f, Tensor(X, dtype=np.float32))


def test_trees_integers_empty_and_scalar_inputs():
    params = {"w": X, "b": [np.zeros(3), None, 2.0]}
    report = gradcheck(lambda p, ids: (mg.linear(mg.embedding(X, ids), p["w"].T, p["b"][0]) * p["b"][2], p["w"].sum()), params, np.array([1, 1]))
    assert report
    assert [row.shape for row in report.rows] == [(3,), (), (3, 4)]
    empty = gradcheck(lambda t, s: t.sum() + s * s, np.zeros((0, 3)), 1.5)
    assert empty and empty.rows[0].verdict == "ok, empty"


def test_infinite_entries_such_as_a_masks_are_no_trouble():
    mask = np.where(np.eye(3), 0.0, -np.inf)
    assert gradcheck(lambda s, m: mg.softmax(s + m) * np.arange(3.0), RNG.normal(size=(3, 3)), mask)


def test_tiny_and_huge_inputs_are_no_false_alarm():
    for scale in (1e-8, 1e-3, 1e3, 1e6):
        report = gradcheck(lambda t: mg.tanh(t).sum() + (t * t).sum(), X * scale)
        assert report, report
        assert gradcheck(lambda t: t * 1e9, X * scale)


def test_the_report_is_a_table_in_text_and_in_html():
    report = gradcheck(lambda a, b: a @ b, X, X.T, names=["<a>", "b"])
    lines = str(report).splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:4] == ["input", "shape", "max", "abs"]
    assert "(3, 4)" in lines[1] and lines[1].endswith("ok")
    page = report._repr_html_()
    assert page.startswith("<table>") and page.count("<tr>") == 3
    assert "&lt;a&gt;" in page and "<a>" not in page
    assert report.max_rel < 1e-8


def test_the_same_seed_gives_the_same_report():
    assert str(gradcheck(mg.softmax, X, seed=3)) == str(gradcheck(mg.softmax, X, seed=3))


SMOOTH = [mg.tanh, mg.gelu, mg.softmax, mg.log_softmax, mg.silu, mg.sigmoid, mg.exp, mg.erf, mg.logsumexp, mg.var, mg.prod, mg.cumsum]


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(SMOOTH), hnp.array_shapes(max_dims=3, max_side=4), st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 3.0]))
@pytest.mark.slow
def test_no_false_alarm_over_hundreds_of_random_shapes(f, shape, seed, scale):
    x = np.random.default_rng(seed).normal(0, scale, shape)
    report = gradcheck(f, x, seed=seed)
    assert report, f"{f} {shape}\n{report}"


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(SMOOTH), hnp.array_shapes(max_dims=2, max_side=3), st.integers(0, 10_000))
def test_no_false_alarm_in_second_order_either(f, shape, seed):
    x = np.random.default_rng(seed).normal(size=shape)
    report = gradgradcheck(f, x, seed=seed)
    assert report, f"{f} {shape}\n{report}"


# The step, its bound, and points without a derivative -----------------------------------------------------------------


@pytest.mark.parametrize(("f", "x"), [
    (mg.log, [1e-8, 1e-5, 1.0, 1e5]), (mg.sqrt, [1e-8, 1e-3, 1.0, 1e5]), (lambda t: 1 / t, [1e-6, 1e-3, 1.0, 1e4]), (lambda t: mg.exp(20 * t), X),
    (lambda t: mg.sin(1000 * t), X), (lambda t: mg.tanh(1e4 * t), [1e-5, 0.0, 3e-4]), (lambda t: t * 1e-12, X), (lambda t: t / 1e-30, X),
    (lambda t: t**9, [1e-3, 50.0, 1e3]), (lambda t: 1e9 + t, X), (mg.relu, [1e-9, 1.0]), (lambda t: mg.relu(t) + 1e4 * (t + 1), [1e-5, -3e-5]),
])  # fmt: skip
def test_the_step_fits_the_entry(f, x):
    """Near the end of a domain, steep, fast, tiny, huge, under large constants, close to a kink."""
    report = gradcheck(f, np.array(x))
    assert report and "judged" not in str(report), f"\n{report}"


@pytest.mark.parametrize(("rule", "f", "x"), [
    ("log", mg.log, [1e-8, 1.0]), ("sin", lambda t: mg.sin(1000 * t), [0.3, 2.0]), ("multiply", lambda t: t * 1e-12, [0.1, 2.0]),
    ("relu", lambda t: mg.relu(t) + 100, [1e-5, -1e-5]), ("add", lambda t: t + 1e6, [0.1, 2.0]),
])  # fmt: skip
def test_a_wrong_gradient_is_caught_in_hard_places_too(rule, f, x, monkeypatch):
    sabotage(monkeypatch, rule, lambda r, g: r * 1.001)
    assert not gradcheck(f, np.array(x))


@pytest.mark.parametrize("wrong", [lambda r, g: r * 1.01, lambda r, g: -r, lambda r, g: g])
def test_at_a_kink_the_gradient_is_judged_beside_it(wrong, monkeypatch):
    """Every entry at the kink: a wrong rule has nowhere to hide."""
    assert "2 at a kink judged beside it" in str(gradcheck(mg.relu, np.zeros(2)))
    sabotage(monkeypatch, "relu", wrong)
    assert not gradcheck(mg.relu, np.zeros(2))


def test_weights_that_start_at_zero_before_a_relu_are_no_false_alarm():
    x = RNG.normal(size=(5, 3))
    report = gradcheck(lambda w: mg.relu(x @ w) @ np.array([1.0, -2.0]), np.zeros((3, 2)))
    assert report and "6 at a kink judged beside it" in str(report)


def test_the_end_of_a_domain_is_not_judged():
    report = gradcheck(mg.sqrt, np.array([0.0, 1.0]))
    assert report and "1 at the edge of the domain not judged" in str(report)
    nowhere = gradcheck(mg.sqrt, np.zeros(2))
    assert not nowhere and "UNDECIDED: at a kink or the edge of the domain, all 2 entries" in str(nowhere)


def test_what_round_off_hides_is_undecided_and_not_called_right():
    report = gradcheck(lambda t: 1e15 + t, X)
    assert not report
    assert report.rows[0].verdict == "UNDECIDED: the function's round-off hides all 12"
    rounded = gradcheck(lambda t: 1e12 + t, X)
    assert "WRONG" not in str(rounded) and rounded.rows[0].verdict != "ok"
    inside = gradcheck(lambda t: (t - 1e8) + 1e8, X)
    assert "WRONG" not in str(inside)
    in_float32 = gradcheck(lambda t: t.astype(np.float32) * 3.0, X)
    assert "WRONG" not in str(in_float32)


def test_a_gradient_that_is_zero_in_theory_is_right():
    assert gradcheck(lambda t: mg.softmax(t).sum() * 1.0, X)
    assert gradcheck(lambda t, b: mg.softmax(t + b), X, np.zeros((3, 1)))


def test_a_cut_graph_is_told_from_a_wrong_rule():
    report = gradcheck(lambda a, b: a.data * b, X, X)
    assert not report
    assert report.rows[0].verdict == "WRONG at 12 of 12: no gradient arrives; do .data, np.asarray or detach() cut the graph?"
    assert report.rows[1].verdict == "ok"


def test_a_function_that_gives_nan_is_refused():
    with pytest.raises(ValueError, match="gives nan at these inputs"):
        gradcheck(lambda t: t * np.nan, X)
    with pytest.raises(TypeError, match="expected numbers, got str"):
        gradcheck(lambda t: t, "text")


def test_the_checker_works_with_ops_that_are_themselves_wrong(monkeypatch):
    """Weighting outputs with ops would hide a wrong sign of sum: minus times minus."""
    sabotage(monkeypatch, "sum", lambda r, g: -r)
    assert not gradcheck(mg.sum, X)
