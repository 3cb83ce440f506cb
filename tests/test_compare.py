"""compare: my intermediates beside the reference's, name by name."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, compare

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(3, 4)), RNG.normal(size=5)


def rows(report):
    return {row.name: (row.exact, row.approximately) for row in report.rows}


def test_equal_to_the_last_bit_and_equal_to_the_tolerance():
    report = compare({"a": A, "b": B * (1 + 1e-9)}, {"a": A.copy(), "b": Tensor(B)})
    assert report
    assert rows(report) == {"a": (True, True), "b": (False, True)}
    assert report.rows[0].max_difference == 0
    assert report.rows[1].max_difference == pytest.approx(1e-9 * np.abs(B).max(), rel=1e-6)
    assert not compare({"b": B * (1 + 1e-9)}, {"b": B}, rtol=1e-10)


def test_a_difference_is_located():
    wrong = A.copy()
    wrong[2, 1] += 0.5
    report = compare({"a": wrong, "b": B}, {"a": A, "b": B})
    assert not report
    assert rows(report) == {"a": (False, False), "b": (True, True)}
    assert report.rows[0].max_difference == pytest.approx(0.5)
    assert f"most at [2, 1]: {wrong[2, 1]:.8g}, expected {A[2, 1]:.8g}" in str(report)


def test_names_and_shapes_that_do_not_fit_are_rows_of_the_table():
    report = compare({"a": A.T, "b": B[None], "mine": B, "none": None}, {"a": A, "b": B, "theirs": B, "none": B})
    assert not report
    verdicts = {row.name: row.verdict for row in report.rows}
    assert verdicts["a"] == "shape (4, 3), expected (3, 4), transposed"
    assert verdicts["b"] == "shape (1, 5), expected (5,)"
    assert verdicts["theirs"] == "missing: not among mine"
    assert verdicts["mine"] == "unexpected: not in the reference"
    assert "mine is None" in verdicts["none"] and "retain_grad()" in verdicts["none"]
    assert [row.name for row in report.rows] == ["a", "b", "theirs", "none", "mine"]


def test_the_tolerance_is_relative_to_the_largest_entry_of_the_reference():
    reference = np.array([1e6, 1e-6])
    assert compare({"x": reference + np.array([0, 1e-3])}, {"x": reference})
    assert not compare({"x": np.array([1e-9])}, {"x": np.array([0.0])})
    assert compare({"x": np.zeros(0)}, {"x": np.zeros(0)})


def test_infinities_and_nan_match_only_themselves():
    special = np.array([np.inf, -np.inf, np.nan, 1.0])
    assert compare({"x": special}, {"x": special.copy()}).rows[0].exact
    for i, other in enumerate([1.0, np.inf, 0.0, np.nan]):
        changed = special.copy()
        changed[i] = other
        assert not compare({"x": changed}, {"x": special})
        assert not compare({"x": special}, {"x": changed})


def test_precision_and_kind_of_number_do_not_matter_but_values_do():
    assert rows(compare({"n": 3, "f": np.float32(0.5), "b": True}, {"n": 3.0, "f": 0.5, "b": 1})) == dict.fromkeys("nfb", (True, True))
    third = compare({"x": np.float32(1 / 3)}, {"x": 1 / 3})
    assert rows(third) == {"x": (False, True)}


def test_a_whole_backward_pass_by_hand():
    x, w = Tensor(A, requires_grad=True), Tensor(RNG.normal(size=(4, 2)), requires_grad=True)
    h = x @ w
    y = mg.tanh(h)
    for t in (h, y):
        t.retain_grad()
    (y * y).sum().backward()
    dy = 2 * y.data
    dh = dy * (1 - y.data**2)
    mine = {"y": dy, "h": dh, "x": dh @ w.data.T, "w": x.data.T @ dh}
    report = compare(mine, {"y": y.grad, "h": h.grad, "x": x.grad, "w": w.grad})
    assert report, report


def test_the_table_in_text_and_in_html():
    report = compare({"<a>": A}, {"<a>": A + 1})
    head, row = str(report).splitlines()
    assert head.split() == ["name", "exact", "approximately", "max", "difference", "verdict"]
    assert row.split()[:4] == ["<a>", "no", "no", "1.0e+00"]
    page = report._repr_html_()
    assert page.startswith("<table>") and "&lt;a&gt;" in page and "<a>" not in page


def test_what_is_no_dictionary_of_numbers_is_refused():
    with pytest.raises(TypeError, match="mine must be a dict of names to arrays, got list"):
        compare([A], {"a": A})
    with pytest.raises(TypeError, match="reference must be a dict of names to arrays, got ndarray"):
        compare({"a": A}, A)
    with pytest.raises(TypeError, match=r"'a' must be real numbers, got ndarray with dtype complex128"):
        compare({"a": A * 1j}, {"a": A})
