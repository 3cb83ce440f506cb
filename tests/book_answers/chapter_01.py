"""What students answer to chapter 01: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _logistic(sign=1.0, share="wrong", times_t=True, with_x=True):
    def backward(w, b, x, t):
        s = 1 / (1 + np.exp((1 if share == "wrong" else -1) * t * (w * x + b)))
        y_bar = -sign * s * (t if times_t else -1)
        return y_bar * (x if with_x else 1), y_bar

    return backward


def _central(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def _in_place(Y_bar, X, W, b):
    W_bar, X_bar = X.T @ Y_bar, Y_bar @ W.T
    Y_bar[0] = Y_bar.sum(axis=0)
    return X_bar, W_bar, Y_bar[0]


def _entry_by_entry(L, w, w_bar, v, h=1e-6):
    slope = 0.0
    for i in np.ndindex(w.shape):
        step = np.zeros_like(w)
        step[i] = h
        slope += (L(w + step) - L(w - step)) / (2 * h) * v[i]
    return slope, np.sum(w_bar * v)


def _layer_by_loop(Y_bar, X, W, b):
    X_bar, W_bar, b_bar = np.zeros(X.shape), np.zeros(W.shape), np.zeros(b.shape)
    for n in range(len(X)):
        for o in range(len(b)):
            X_bar[n] += Y_bar[n, o] * W[:, o]
            W_bar[:, o] += Y_bar[n, o] * X[n]
            b_bar[o] += Y_bar[n, o]
    return [X_bar, W_bar, b_bar]


def _logistic_by_differences(w, b, x, t, h=1e-5):
    def L(w, b):
        return np.log(1 + np.exp(-t * (w * x + b)))

    return (L(w + h, b) - L(w - h, b)) / (2 * h), (L(w, b + h) - L(w, b - h)) / (2 * h)


def _layer_by_engine(Y_bar, X, W, b):
    import minigrad as mg

    return mg.vjp(lambda X, W, b: X @ W + b, X, W, b)[1](Y_bar)


WRONG = [
    ("check_01_second_difference", lambda f, x, h: (f(x + h) - f(x) + f(x - h)) / h**2, "2 f(x)"),
    ("check_01_second_difference", lambda f, x, h: (f(x + h) - 2 * f(x) + f(x - h)) / h, "Divide by h²"),
    ("check_01_second_difference", lambda f, x, h: (f(x + h) - 2 * f(x) + f(x - h)) / (2 * h) ** 2, "4h²"),
    ("check_01_second_difference", lambda f, x, h: 6 * x, "should be 2; yours is 18"),
    ("check_01_logistic_backward", _logistic(sign=-1), "sign"),
    ("check_01_logistic_backward", _logistic(with_x=False), "factor x"),
    ("check_01_logistic_backward", _logistic(share="right"), "sigmoid"),
    ("check_01_logistic_backward", _logistic(times_t=False), "−t"),
    ("check_01_logistic_backward", lambda w, b, x, t: None, "return"),
    ("check_01_layer_backward", lambda Y_bar, X, W, b: (Y_bar @ W.T, X.T @ Y_bar, Y_bar), "rows"),
    ("check_01_layer_backward", lambda Y_bar, X, W, b: (Y_bar @ W.T, Y_bar.T @ X, Y_bar.sum(axis=0)), "transpose"),
    ("check_01_layer_backward", lambda Y_bar, X, W, b: (Y_bar @ W.T, X.T @ Y_bar, Y_bar.mean(axis=0)), "average"),
    ("check_01_layer_backward", lambda Y_bar, X, W, b: (Y_bar @ W, X.T @ Y_bar, Y_bar.sum(axis=0)), "stopped with ValueError"),
    ("check_01_layer_backward", _in_place, "changes its input"),
    ("check_01_directional_check", lambda L, w, w_bar, v, h=1e-6: ((L(w + h * v) - L(w - h * v)) / h, np.sum(w_bar * v)), "2h"),
    ("check_01_directional_check", lambda L, w, w_bar, v, h=1e-6: ((L(w + h * v) - L(w - h * v)) / (2 * h), w_bar * v), "Sum the products"),
    ("check_01_directional_check", _entry_by_entry, "two are enough"),
    ("check_01_richardson", lambda f, x, h: _central(f, x, h / 2), "alone"),
    ("check_01_richardson", lambda f, x, h: (_central(f, x, h) + _central(f, x, h / 2)) / 2, "mean"),
    ("check_01_richardson", lambda f, x, h: 2 * _central(f, x, h / 2) - _central(f, x, h), "quarter"),
    ("check_01_richardson", lambda f, x, h: (4 * _central(f, x, h) - _central(f, x, h / 2)) / 3, "swapped"),
    ("check_01_directional_check", lambda L, w, w_bar, v, h=1e-6: ((L(w + h * v) - L(w)) / h, np.sum(w_bar * v)), "forward difference"),
    ("check_01_directional_check", lambda L, w, w_bar, v, h=1e-6: ((L(w) - L(w - h * v)) / h, np.sum(w_bar * v)), "backward difference"),
    ("check_01_layer_backward", _layer_by_engine, "lets the library"),
    ("check_01_logistic_backward", _logistic_by_differences, "should be"),
]

RIGHT = [
    ("check_01_second_difference", lambda f, x, h: ((f(x + h) - f(x)) / h - (f(x) - f(x - h)) / h) / h),
    ("check_01_second_difference", lambda f, x, h: np.dot([1, -2, 1], [f(x + i * h) for i in (-1, 0, 1)]) / h / h),
    ("check_01_logistic_backward", lambda w, b, x, t: tuple((-t * (1 - 1 / (1 + np.exp(-t * (w * x + b)))) * np.array([x, 1])).tolist())),
    ("check_01_logistic_backward", lambda w, b, x, t: [-t * k / (1 + np.exp(t * (x * w + b))) for k in (x, 1)]),
    ("check_01_layer_backward", _layer_by_loop),
    ("check_01_layer_backward", lambda Y, X, W, b: (np.einsum("no,io->ni", Y, W), np.einsum("ni,no->io", X, Y), np.ones(len(Y)) @ Y)),
    ("check_01_directional_check", lambda L, w, g, v, h=1e-6: [(L(w + v * h) - L(w - v * h)) / h / 2, np.dot(g.ravel(), v.ravel())]),
    ("check_01_directional_check", lambda L, w, g, v, h=1e-6: (-(L(w - h * v) - L(w + h * v)) / (h + h), np.vdot(g, v))),
    ("check_01_richardson", lambda f, x, h: _central(f, x, h / 2) + (_central(f, x, h / 2) - _central(f, x, h)) / 3),
    ("check_01_richardson", lambda f, x, h: (8 * (f(x + h / 2) - f(x - h / 2)) - (f(x + h) - f(x - h))) / (6 * h)),
]
