"""What students answer to chapter 01: the name of the check, the wrong answer, and what the hint must say."""

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


WRONG = [
    ("check_01_second_difference", lambda f, x, h: (f(x + h) - f(x) + f(x - h)) / h**2, "2 f(x)"),
    ("check_01_second_difference", lambda f, x, h: (f(x + h) - 2 * f(x) + f(x - h)) / h, "Divide by h²"),
    ("check_01_second_difference", lambda f, x, h: (f(x + h) - 2 * f(x) + f(x - h)) / (2 * h) ** 2, "4h²"),
    ("check_01_second_difference", lambda f, x, h: 6 * x, "f''(x) should be"),
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
]
