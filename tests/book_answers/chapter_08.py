"""What students answer to chapter 08: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _ffn(y_bar, x, W1, b1, W2, b2, gate=True, summed=True, after=True):
    u = x @ W1 + b1
    u_bar = y_bar @ W2.T * ((u > 0) if gate else 1)
    return u_bar @ W1.T, x.T @ u_bar, u_bar.sum(axis=0) if summed else u_bar, (np.maximum(u, 0) if after else u).T @ y_bar, y_bar.sum(axis=0)


def _ffn_by_rows(y_bar, x, W1, b1, W2, b2):
    x_bar, W1_bar, b1_bar, W2_bar, b2_bar = (np.zeros_like(a) for a in (x, W1, b1, W2, b2))
    for n in range(len(x)):
        u = x[n] @ W1 + b1
        open_ = np.where(u > 0, W2 @ y_bar[n], 0.0)
        x_bar[n] = W1 @ open_
        W1_bar += np.outer(x[n], open_)
        b1_bar += open_
        W2_bar += np.outer(u.clip(0), y_bar[n])
        b2_bar += y_bar[n]
    return [x_bar, W1_bar, b1_bar, W2_bar, b2_bar]


def _ffn_by_gate(y_bar, x, W1, b1, W2, b2):
    gate = np.heaviside(x @ W1 + b1, 0)
    hidden, back = gate * (x @ W1 + b1), gate * np.einsum("nc,fc->nf", y_bar, W2)
    return np.einsum("nf,cf->nc", back, W1), np.einsum("nc,nf->cf", x, back), back.sum(0), np.einsum("nf,nc->fc", hidden, y_bar), y_bar.sum(0)


def _by_modules(L, C, F, first):
    shapes = [(C, C), (C,)] * 4 + [(C, F), (F,), (F, C), (C,)] + [(C,)] * 4
    return L * sum(int(np.prod(s)) for s in shapes) + first * (C + C)


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
    ("check_08_residual_factor", lambda L: np.sqrt(2 * L), "divide"),
    ("check_08_residual_factor", lambda L: 1 / (2 * L) ** 0.25, "should be"),
]

RIGHT = [
    ("check_08_add_and_norm", lambda x, f, norm, first: np.add(x, f(norm(x))) if first else norm(np.add(f(x), x))),
    ("check_08_add_and_norm", lambda x, f, norm, first: [norm(x + f(x)), f(norm(x)) + x][bool(first)]),
    ("check_08_ffn_backward", _ffn_by_rows),
    ("check_08_ffn_backward", _ffn_by_gate),
    ("check_08_encoder_parameters", _by_modules),
    ("check_08_encoder_parameters", lambda L, C, F, first: float(L * ((2 * C + 1) * F + C * (4 * C + 9)) + (2 * C) * int(first))),
    ("check_08_residual_factor", lambda L: (2 * L) ** -0.5),
    ("check_08_residual_factor", lambda L: np.float32(np.exp(-0.5 * np.log(2 * L)))),
]
