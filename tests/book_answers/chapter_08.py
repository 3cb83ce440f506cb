"""What students answer to chapter 08: the name of the check, the wrong answer, and what the hint must say."""

import numpy as np


def _ffn(y_bar, x, W1, b1, W2, b2, gate=True, summed=True, after=True):
    u = x @ W1 + b1
    u_bar = y_bar @ W2.T * ((u > 0) if gate else 1)
    return u_bar @ W1.T, x.T @ u_bar, u_bar.sum(axis=0) if summed else u_bar, (np.maximum(u, 0) if after else u).T @ y_bar, y_bar.sum(axis=0)


WRONG = [
    ("check_08_add_and_norm", lambda x, f, norm, first: norm(x + f(x)) if first else x + f(norm(x)), "swapped"),
    ("check_08_add_and_norm", lambda x, f, norm, first: f(norm(x)) if first else norm(f(x)), "addition is missing"),
    ("check_08_add_and_norm", lambda x, f, norm, first: norm(x) + f(norm(x)) if first else norm(x + f(x)), "not to norm(x)"),
    ("check_08_ffn_backward", lambda *a: _ffn(*a, gate=False), "relu"),
    ("check_08_ffn_backward", lambda *a: _ffn(*a, summed=False), "sum"),
    ("check_08_ffn_backward", lambda *a: _ffn(*a, after=False), "W2"),
    ("check_08_encoder_parameters", lambda L, C, F, first: L * (4 * C * C + 2 * C * F), "should be"),
    ("check_08_encoder_parameters", lambda L, C, F, first: L * (4 * C * C + 9 * C + 2 * C * F + F), "last norm"),
    ("check_08_encoder_parameters", lambda L, C, F, first: L * (4 * C * C + 5 * C + 2 * C * F + F) + 2 * C * first, "two norms"),
    ("check_08_residual_factor", lambda L: 1 / np.sqrt(L), "two sub-layers"),
    ("check_08_residual_factor", lambda L: 1 / (2 * L), "Variances add"),
]
