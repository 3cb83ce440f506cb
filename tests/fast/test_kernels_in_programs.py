"""The text of a program calls kernels by name, and brings them along."""

import numpy as np

import minigrad as mg


def test_kernels_are_called_by_name_and_stand_below():
    W = mg.Tensor(np.ones((3, 2)), requires_grad=True, name="W")

    def attend(X):
        S = X @ W
        P = mg.softmax(S)
        return (P * P).sum()

    program = mg.program(attend, [W])
    program(np.ones((4, 3)))
    text = program.source()
    assert "P, _ = softmax(S, save=True)" in text and "d_S, = softmax_vjp(d_P, P" in text
    assert text.index("def attend") < text.index("def softmax_vjp") and "import minigrad" not in text
    assert "softmax_vjp" not in program.source(plain=True)
