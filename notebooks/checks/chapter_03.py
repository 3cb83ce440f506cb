"""Softmax, cross-entropy, layer norm backward by hand: the library's diagnosis is the hint."""

import numpy as np

import minigrad as mg

from .verdict import ask, check, diagnosed, pair, softmax


@check
def check_03_softmax_backward(answer):
    rng = np.random.default_rng(1)
    for shape in [(3, 5), (4, 4)]:
        x, p_bar = rng.normal(size=shape), rng.normal(size=shape)
        diagnosed(mg.softmax, {"x": x}, {"x": ask(answer, p_bar, softmax(x))}, p_bar)
    return "Each row of x_bar adds up to zero, as raising all scores alike changes nothing."


@check
def check_03_log_softmax_backward(answer):
    rng = np.random.default_rng(2)
    for shape in [(3, 5), (4, 4)]:
        x, y_bar = rng.normal(size=shape), rng.normal(size=shape)
        diagnosed(mg.log_softmax, {"x": x}, {"x": ask(answer, y_bar, np.log(softmax(x)))}, y_bar)
    return "And no division by a small share anywhere: that is why losses start from log-softmax."


@check
def check_03_smoothed_backward(answer):
    rng = np.random.default_rng(3)
    for alpha in (0.0, 0.1, 0.4):
        x, t = 2 * rng.normal(size=(3, 5)), np.array([1, 0, 4])
        claimed = ask(answer, x, t, alpha)
        diagnosed(lambda x, t=t, a=alpha: mg.cross_entropy(x, t, label_smoothing=a), {"x": x}, {"x": claimed}, at=f"α = {alpha}")
    x = np.array([[700.0, 800.0, 0.0]])  # exponentials overflow
    diagnosed(lambda x: mg.cross_entropy(x, [1], label_smoothing=0.1), {"x": x}, {"x": ask(answer, x, np.array([1]), 0.1)}, at="scores up to 800")
    return "The gradient is zero when p equals the smoothed target, so the scores stop growing."


@check
def check_03_rms_norm_backward(answer):
    rng = np.random.default_rng(4)
    for eps in (1e-6, 0.5):
        x, gamma, y_bar = rng.normal(size=(3, 5)), rng.uniform(0.5, 2, 5), rng.normal(size=(3, 5))
        x_bar, gamma_bar = pair(ask(answer, y_bar, x, gamma, eps))
        claimed = {"x": x_bar, "gamma": gamma_bar}
        diagnosed(lambda x, gamma, e=eps: mg.rms_norm(x, gamma, e), {"x": x, "gamma": gamma}, claimed, y_bar, at=f"ε = {eps:g}")
    return "One term less than layer norm, and in practice as good."
