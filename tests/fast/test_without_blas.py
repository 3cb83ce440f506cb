"""Where NumPy has no BLAS, as in a browser, the linear map takes other loops, and no other numbers."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.fast import linear


@pytest.mark.parametrize("rows", [0, 1, 3, 300])  # the last is large enough for the other loops
def test_a_linear_map_without_blas_is_the_same(rows, monkeypatch):
    rng = np.random.default_rng(0)
    x, w, b = (rng.normal(size=shape) for shape in ((rows, 32), (32, 48), (48,)))
    loss = mg.value_and_grad(lambda x, w, b: (mg.tanh(mg.linear(x, w, b))).sum(), argnums=(0, 1, 2))
    with_blas = loss(x, w, b)
    monkeypatch.setattr(linear, "BLAS", False)
    without = loss(x, w, b)
    for ours, theirs in zip([without[0], *without[1]], [with_blas[0], *with_blas[1]], strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-12, atol=1e-12)


def test_a_printed_program_calls_the_product_by_numpys_name():
    program = mg.program(mg.value_and_grad(lambda x, w: mg.linear(x, w).sum()))
    program(np.ones((2, 3)), np.ones((3, 4)))
    text = program.source()
    assert "matmul(x.reshape(-1, x.shape[-1]), weight)" in text and "return a.dot(b) if BLAS" in text and "a product with a vector" in text
