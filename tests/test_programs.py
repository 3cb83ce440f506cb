"""Programs: what a function computes, and its backward pass, recorded once and replayed; and the text that runs with NumPy alone."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, nn, optim
from minigrad.byhand.examples import examples, run
from minigrad.graph import REGISTRY
from minigrad.programs import Refused
from minigrad.programs.program import RECORDINGS

EXAMPLES = [(name, n) for name in REGISTRY for n in range(len(examples(REGISTRY[name], np.random.default_rng(0))))]


def weighted(name, n):
    """An example of an op as a loss of its inputs, with a random upstream gradient; and the inputs."""
    op, example = REGISTRY[name], examples(REGISTRY[name], np.random.default_rng(5))[n]
    rng = np.random.default_rng(1)
    inputs = [Tensor(x, requires_grad=True) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in example.inputs]
    out = run(op, example, *inputs)
    weights = rng.normal(size=out.shape)

    def loss(*xs):
        return (run(op, example, *xs) * weights).sum()

    return loss, inputs


def gradients(inputs):
    found = [x.grad.data.copy() for x in inputs if isinstance(x, Tensor)]
    for x in inputs:
        if isinstance(x, Tensor):
            x.zero_grad()
    return found


def execute(text, name, *args, **kwargs):
    space = {}
    exec(compile(text, "source", "exec"), space)
    return space[name](*args, **kwargs)


# One gradient, five ways ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "n"), EXAMPLES)
def test_every_op_has_one_gradient_eager_plain_as_a_program_and_as_text(name, n):
    loss, inputs = weighted(name, n)
    loss(*inputs).backward()
    eager = gradients(inputs)
    with mg.plain():
        loss(*inputs).backward()
    for a, b in zip(eager, gradients(inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13, err_msg="plain")
    program = mg.program(loss, [])
    for _ in range(2):
        value = program(*inputs)
        for a, b in zip(eager, gradients(inputs), strict=True):
            np.testing.assert_array_equal(a, b, err_msg="program")
    if name == "_recomputed":
        return
    arrays = [x.data if isinstance(x, Tensor) else x for x in inputs if isinstance(x, Tensor | np.ndarray)]
    for plain in (False, True):
        found, by_name = execute(program.source(plain), "loss", *arrays, **program.arrays(plain))
        np.testing.assert_allclose(found, value.data, rtol=1e-12, atol=1e-13)
        assert len(by_name) == len(eager)
        for a, b in zip(eager, by_name.values(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13, err_msg=f"source(plain={plain})")
