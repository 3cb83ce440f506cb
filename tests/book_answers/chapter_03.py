"""What students answer to chapter 03: the name of the check, the wrong answer, and what the hint must say."""

import numpy as np


def _softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _smoothed(x, t, alpha, share=lambda v: 1 / v, true=1.0, n=None):
    wanted = (true - alpha) * np.eye(x.shape[-1])[t] + alpha * share(x.shape[-1])
    return (_softmax(x) - wanted) / (n or len(x))


def _overflowing(x, t, alpha):
    with np.errstate(all="ignore"):
        p = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
    return (p - (1 - alpha) * np.eye(x.shape[-1])[t] - alpha / x.shape[-1]) / len(x)


def _rms(y_bar, x, gamma, eps, minus_mean=False, through_scale=True, with_gamma=True, normalised=True, summed=True):
    s = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
    x_hat = s * x
    u = gamma * y_bar if with_gamma else y_bar
    x_bar = s * (u - (x_hat * (u * x_hat).mean(axis=-1, keepdims=True) if through_scale else 0))
    if minus_mean:
        x_bar = x_bar - s * u.mean(axis=-1, keepdims=True)
    gamma_bar = y_bar * (x_hat if normalised else x)
    return x_bar, gamma_bar.sum(axis=0) if summed else gamma_bar


WRONG = [
    ("check_03_softmax_backward", lambda g, p: g * p * (1 - p), "diagonal"),
    ("check_03_softmax_backward", lambda g, p: g * p, "missing"),
    ("check_03_softmax_backward", lambda g, p: p * (g - (g * p).sum(axis=0, keepdims=True)), "another axis"),
    ("check_03_softmax_backward", lambda g, p: -p * (g - (g * p).sum(axis=-1, keepdims=True)), "sign"),
    ("check_03_log_softmax_backward", lambda g, y: g - y * g.sum(axis=-1, keepdims=True), "exp(log_softmax)"),
    ("check_03_log_softmax_backward", lambda g, y: g - np.exp(y), "factor Σ_j ȳ_j"),
    ("check_03_log_softmax_backward", lambda g, y: g, "y"),
    ("check_03_smoothed_backward", lambda x, t, a: _smoothed(x, t, 0.0), "α = 0.1"),
    ("check_03_smoothed_backward", lambda x, t, a: _smoothed(x, t, a, n=1), "mean"),
    ("check_03_smoothed_backward", lambda x, t, a: _smoothed(x, t, a, share=lambda v: 1 / (v - 1)), "α = 0.1"),
    ("check_03_smoothed_backward", _overflowing, "800"),
    ("check_03_rms_norm_backward", lambda *a: _rms(*a, through_scale=False), "missing"),
    ("check_03_rms_norm_backward", lambda *a: _rms(*a, with_gamma=False), "gamma"),
    ("check_03_rms_norm_backward", lambda *a: _rms(*a, normalised=False), "normalised"),
    ("check_03_rms_norm_backward", lambda *a: _rms(*a, summed=False), "sum"),
    ("check_03_rms_norm_backward", lambda *a: _rms(*a, minus_mean=True), "layer norm"),
]
