"""Softmax, cross-entropy, layer norm backward by hand: the library's diagnosis is the hint."""

import numpy as np

import minigrad as mg

from .verdict import Wrong, ask, check, diagnosed, finite, numbers, pair, same, softmax


@check
def check_03_soft_maximum_backward(answer):
    rng = np.random.default_rng(1)
    for n, c, tau in [(3, 5, 0.5), (4, 4, 2.0), (1, 3, 1.0)]:
        x, y_bar, at = 2 * rng.normal(size=(n, c)), rng.normal(size=n), f"N = {n}, C = {c}, τ = {tau}"
        p = softmax(x / tau)
        log_z = np.log(np.exp(x / tau).sum(axis=-1))
        entropy = log_z - (p * x).sum(axis=-1) / tau
        x_bar, tau_bar = pair(ask(answer, y_bar, x, tau))
        right = y_bar[:, None] * p
        hints = {
            "The shares are those of x/τ, not of x.": y_bar[:, None] * softmax(x),
            "τ in front and 1/τ inside cancel: no factor is left.": right / tau,
            "The factor τ in front is cancelled by the 1/τ of the inner derivative.": right * tau,
            "The upstream gradient is missing: each row has its own ȳ.": p,
        }
        same(x_bar, right, "x_bar", hints, at=at)
        hints = {
            "τ stands in two places: the one in the exponents is missing.": (y_bar * log_z).sum(),
            "The weighted mean of the scores is divided by τ once: x/τ has the slope −x/τ², and τ stands in front.": (
                y_bar * (log_z - (p * x).sum(axis=-1))
            ).sum()
            if tau != 1
            else np.nan,
            "The temperature in front is missing: only the one in the exponents is there.": -(y_bar * (p * x).sum(axis=-1)).sum() / tau,
            "One τ serves all rows, so their parts add: one number is wanted.": y_bar * entropy,
            "One τ serves all rows: add their parts, do not average them.": (y_bar * entropy).mean(),
            "The upstream gradient is missing.": entropy.sum(),
        }
        same(tau_bar, (y_bar * entropy).sum(), "tau_bar", hints, at=at)
        diagnosed(lambda x, tau: tau * mg.logsumexp(x / tau, axis=-1), {"x": x, "tau": np.array(tau)}, {"x": x_bar, "tau": tau_bar}, y_bar, at)
    x_bar, tau_bar = pair(ask(answer, np.array([2.0, -1.0]), np.array([[3.0], [-0.5]]), 0.3))
    same(x_bar, [[2.0], [-1.0]], "x_bar", at="a single class, C = 1")
    same(numbers(tau_bar) + 1, 1.0, "tau_bar + 1", at="a single class, C = 1")
    x, y_bar = np.array([[1e4, 1e4, -1e4], [-1e4, -9e3, -1e4]]), np.array([1.0, -2.0])
    x_bar, tau_bar = pair(ask(answer, y_bar, x, 0.5))
    finite(x_bar, "x_bar")
    finite(tau_bar, "tau_bar")
    same(x_bar, [[0.5, 0.5, 0], [0, -2, 0]], "x_bar", at="scores of ±10 000")
    same(tau_bar, np.log(2), "tau_bar", rtol=1e-3, at="scores of ±10 000")
    return "The slope along the temperature is the entropy: 0 where one score wins, log C where all are alike."


@check
def check_03_log_softmax_backward(answer):
    rng = np.random.default_rng(2)
    for shape in [(3, 5), (4, 4), (1, 3), (2, 1)]:
        x, y_bar = rng.normal(size=shape), rng.normal(size=shape)
        got = ask(answer, y_bar, np.log(softmax(x)))
        if shape[1] == 1:
            same(numbers(got) + 1, np.ones(shape), "x_bar + 1", at="a single class, whose share is always 1")
        else:
            diagnosed(mg.log_softmax, {"x": x}, {"x": got}, y_bar)
    y, y_bar = np.array([[0.0, -1e4, -2e4]]), np.array([[1.0, 2.0, -0.5]])
    same(ask(answer, y_bar, y), [[-1.5, 2.0, -0.5]], "x_bar", at="y down to −20 000")
    return "And no division by a small share anywhere: that is why losses start from log-softmax."


def _z_loss(x, t, lam, factor=2.0, shifted=False, keep=True, count=True, last=False, term=True):
    m = x.max(axis=-1, keepdims=True)
    p, real = softmax(x), t >= 0
    log_z = np.log(np.exp(x - m).sum(axis=-1, keepdims=True)) + (0 if shifted else m)
    one = np.eye(x.shape[1])[t] * (1 if last else real[:, None])
    rows = p * (1 + factor * lam * log_z if term else 1) - one
    return (rows * real[:, None] if keep else rows) / max(1, real.sum() if count else len(x))


@check
def check_03_z_loss_backward(answer):
    rng = np.random.default_rng(3)
    for t, v, lam in [([1, 0, 4], 5, 0.0), ([2, -1, 0, 1], 3, 0.1), ([-1, 3], 4, 0.5), ([0], 2, 1.0), ([-1, 0, 0], 1, 0.25)]:
        x, t = 2 * rng.normal(size=(len(t), v)), np.array(t)
        got = ask(answer, x, t, lam)
        at = f"t = {t.tolist()}, V = {v}, λ = {lam}"
        hints = {
            "The second term has no effect.": _z_loss(x, t, lam, term=False),
            "The slope of a square is twice its root: 2λℓ.": _z_loss(x, t, lam, factor=1.0),
            "ℓ is that of the scores themselves: add the largest score, which you subtracted, again.": _z_loss(x, t, lam, shifted=True),
            "Rows of padding get a gradient; theirs is 0.": _z_loss(x, t, lam, keep=False),
            "Rows of padding get a gradient, that of the last class: −1 as an index is the last.": _z_loss(x, t, lam, keep=False, last=True),
            "Divide by the number of rows that count, not by that of all rows.": _z_loss(x, t, lam, count=False),
            "The mean over the rows is missing.": _z_loss(x, t, lam) * max(1, (t >= 0).sum()),
            "The sign: model minus target.": -_z_loss(x, t, lam),
        }
        same(got, _z_loss(x, t, lam), "the gradient", hints, at=at)
        keep = np.flatnonzero(t >= 0)

        def loss(x, t=t, lam=lam, keep=keep):
            z = mg.logsumexp(x[keep], axis=-1)
            return (z - x[keep, t[keep]] + lam * z * z).mean()

        diagnosed(loss, {"x": x}, {"x": got}, at=at)
    x, t = np.array([[9950.0, 1e4, -1e4], [-1e4, -1e4, -1e4]]), np.array([1, 0])
    got = ask(answer, x, t, 0.0)
    finite(got, "the gradient")
    same(got, _z_loss(x, t, 0.0), "the gradient", at="scores of ±10 000, λ = 0")
    same(ask(answer, x, t, 0.5), _z_loss(x, t, 0.5), "the gradient", at="scores of ±10 000, λ = 0.5")
    nothing = numbers(ask(answer, rng.normal(size=(2, 3)), np.array([-1, -1]), 0.1))
    if nothing.shape != (2, 3) or not np.array_equal(nothing, np.zeros((2, 3))):
        raise Wrong(f"A batch of padding only has the gradient 0; yours is {nothing.ravel()[:3]}…")
    return "Where ℓ = 0 it is the gradient of before; elsewhere all scores of a row are drawn towards it together."


@check
def check_03_rms_norm_backward(answer):
    rng = np.random.default_rng(4)
    for n, c, eps in [(3, 5, 1e-6), (3, 5, 0.5), (4, 4, 0.1), (1, 2, 1e-3)]:
        x, gamma, y_bar = rng.normal(size=(n, c)), rng.uniform(0.5, 2, c), rng.normal(size=(n, c))
        x_bar, gamma_bar = pair(ask(answer, y_bar, x, gamma, eps))
        claimed = {"x": x_bar, "gamma": gamma_bar}
        diagnosed(lambda x, gamma, e=eps: mg.rms_norm(x, gamma, e), {"x": x, "gamma": gamma}, claimed, y_bar, at=f"N = {n}, C = {c}, ε = {eps:g}")
    return "One term less than layer norm, and in practice as good."
