r"""Softmax and the norms: what is forgotten of :math:`y \odot (\bar y - \sum_j \bar y_j y_j)` and of :math:`(\bar y - \langle \bar y
\rangle - y \langle \bar y y \rangle) / s`."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import COMPOSED, mistake


def _sum(x: np.ndarray, axis: Any) -> np.ndarray:
    return x.sum(axis=axis, keepdims=True)


def _mean(x: np.ndarray, axis: Any) -> np.ndarray:
    return x.mean(axis=axis, keepdims=True)


def _other(x: np.ndarray, axis: Any) -> Any:
    """Another axis than the right one."""
    return (-2 if axis % x.ndim == x.ndim - 1 else -1) if x.ndim > 1 and isinstance(axis, int) else None


# Softmax ------------------------------------------------------------------------------------------------------------------

DIAGONAL = "only the diagonal of softmax's Jacobian, y_i (1 − y_i), is used; the terms −y_i y_j off the diagonal are missing"


@mistake("softmax", "forgotten softmax", "softmax's own gradient is left out: the gradient of its result is taken for that of its input")
def _(g, y, x, axis=-1):
    return [g]


@mistake("softmax", "softmax diagonal", DIAGONAL)
def _(g, y, x, axis=-1):
    return [g * y * (1 - y)]


@mistake("softmax", "missing term", "the term −y Σ_j ȳ_j y_j of softmax's gradient is missing: its sum, the denominator, is taken as a constant")
def _(g, y, x, axis=-1):
    return [g * y]


@mistake("softmax", "wrong term", "the sum in softmax's gradient is Σ_j ȳ_j; it should be Σ_j ȳ_j y_j")
def _(g, y, x, axis=-1):
    return [y * (g - _sum(g, axis))]


@mistake("softmax", "sign of a term", "the second term of softmax's gradient has the wrong sign: y (ȳ − Σ_j ȳ_j y_j), here it is y (ȳ + Σ_j ȳ_j y_j)")
def _(g, y, x, axis=-1):
    return [y * (g + _sum(g * y, axis))]


@mistake("softmax", "missing factor", "the factor y in front of softmax's gradient y (ȳ − Σ_j ȳ_j y_j) is missing")
def _(g, y, x, axis=-1):
    return [g - _sum(g * y, axis)]


@mistake("softmax", "other function", "this is the gradient of log_softmax; the function is softmax")
def _(g, y, x, axis=-1):
    return [g - y * _sum(g, axis)]


@mistake("softmax", "wrong axis", "the sum in softmax's gradient runs over another axis than softmax does")
def _(g, y, x, axis=-1):
    other = _other(x, axis)
    return [None if other is None else y * (g - _sum(g * y, other))]


@mistake("softmax", "superfluous mean", "the sum Σ_j ȳ_j y_j in softmax's gradient is taken as a mean")
def _(g, y, x, axis=-1):
    return [y * (g - _mean(g * y, axis))]


# log_softmax, and so cross-entropy: ȳ holds −(targets), so ȳ − p Σ ȳ is (p − target) ---------------------------------------


@mistake("log_softmax", "forgotten softmax", "the term −p Σ_j ȳ_j of log_softmax's gradient is missing: the normaliser log Σ exp is taken as a constant, so softmax is missing from softmax − target")
def _(g, y, x, axis=-1):
    return [g]


@mistake("log_softmax", "missing target", "the target (one-hot, label) is not subtracted: the gradient is softmax − target, here it is softmax alone")
def _(g, y, x, axis=-1):
    return [-np.exp(y) * _sum(g, axis)]


@mistake("log_softmax", "sign of a term", "the target is added: the gradient is softmax − target, here it is softmax + target")
def _(g, y, x, axis=-1):
    return [-g - np.exp(y) * _sum(g, axis)]


@mistake("log_softmax", "softmax diagonal", "only the diagonal 1 − p_i of log_softmax's Jacobian is used; the −p_j off the diagonal are missing")
def _(g, y, x, axis=-1):
    return [g * (1 - np.exp(y))]


@mistake("log_softmax", "missing term", "the factor Σ_j ȳ_j is missing from the term −p Σ_j ȳ_j of log_softmax's gradient")
def _(g, y, x, axis=-1):
    return [g - np.exp(y)]


ONE = "the weights (targets) of a row are assumed to sum to one: their sum Σ_j ȳ_j is missing from the term −p Σ_j ȳ_j of log_softmax's gradient"


@mistake("log_softmax", "missing sum", ONE)
def _(g, y, x, axis=-1):
    return [g + np.exp(y) * (1.0 / max(1, g.size // g.shape[axis]))]


@mistake("log_softmax", "missing sum", ONE)
def _(g, y, x, axis=-1):
    return [g + np.exp(y)]


@mistake("log_softmax", "forgotten softmax", "the logits stand in place of their softmax: x − target, where softmax(x) − target belongs")
def _(g, y, x, axis=-1):
    return [g - x * _sum(g, axis)]


@mistake("log_softmax", "not normalised", "exp(x) stands in place of softmax(x): it is not divided by its sum, the normaliser")
def _(g, y, x, axis=-1):
    return [g - np.exp(x) * _sum(g, axis)]


@mistake("log_softmax", "wrong term", "log_softmax stands in place of softmax: the gradient is ȳ − p Σ_j ȳ_j with p = exp(log_softmax)")
def _(g, y, x, axis=-1):
    return [g - y * _sum(g, axis)]


@mistake("log_softmax", "other function", "this is the gradient of softmax; the function is log_softmax (softmax's Jacobian is applied once more)")
def _(g, y, x, axis=-1):
    p = np.exp(y)
    return [p * (g - _sum(g * p, axis))]


@mistake("log_softmax", "softmax twice", "softmax's own Jacobian is applied once more: softmax − target is already the gradient of the logits")
def _(g, y, x, axis=-1):
    p = np.exp(y)
    u = g - p * _sum(g, axis)
    return [p * (u - _sum(u * p, axis))]


@mistake("log_softmax", "softmax twice", "the diagonal p (1 − p) of softmax's Jacobian is multiplied once more; softmax − target is already the gradient of the logits")
def _(g, y, x, axis=-1):
    p = np.exp(y)
    return [p * (1 - p) * (g - p * _sum(g, axis))]


@mistake("log_softmax", "wrong axis", "the sum in log_softmax's gradient runs over another axis than log_softmax does")
def _(g, y, x, axis=-1):
    other = _other(x, axis)
    return [None if other is None else g - np.exp(y) * _sum(g, other)]


@mistake("log_softmax", "wrong axis", "softmax is taken over another axis than in the function")
def _(g, y, x, axis=-1):
    other = _other(x, axis)
    if other is None:
        return [None]
    e = np.exp(x - x.max(axis=other, keepdims=True))
    return [g - e / _sum(e, other) * _sum(g, axis)]


@mistake("log_softmax", "missing label smoothing", "label smoothing is forgotten: the targets here are 0 and 1")
def _(g, y, x, axis=-1):
    s = _smoothing(g, axis)
    return [None if s is None else s[0] - np.exp(y) * _sum(g, axis)]


@mistake("log_softmax", "missing label smoothing", "the uniform part ε/V of label smoothing is forgotten: the target keeps 1 − ε, the other classes get nothing")
def _(g, y, x, axis=-1):
    s = _smoothing(g, axis)
    return [None if s is None else s[0] * (1 - s[1]) - np.exp(y) * _sum(g, axis)]


@mistake("log_softmax", "wrong label smoothing", "ε/(V − 1) is spread over the other classes; label smoothing here gives ε/V to every class, the target among them")
def _(g, y, x, axis=-1):
    s = _smoothing(g, axis)
    if s is None:
        return [None]
    hot = s[0] != 0
    return [s[0] * (1 - s[1]) + ~hot * _sum(g, axis) * s[1] / (g.shape[axis] - 1) - np.exp(y) * _sum(g, axis)]


def _smoothing(g: np.ndarray, axis: Any) -> tuple[np.ndarray, float] | None:
    """The weights with their smoothing undone (one entry in each row), and ε; None when the weights are not smoothed."""
    total = _sum(g, axis)
    if not total.any():
        return None
    with np.errstate(all="ignore"):
        t = np.where(total != 0, g / np.where(total == 0, 1, total), 0.0)
    low = t.min(axis=axis, keepdims=True)
    hot = t > low + 1e-12
    v = g.shape[axis]
    eps = float(low.max()) * v
    if not 0 < eps < 1 or (hot.sum(axis=axis) > 1).any() or np.abs(np.where(hot, 0, t) - ~hot * low).max() > 1e-12:
        return None
    return np.where(hot, total, 0.0), eps


@mistake("log_softmax", "masked entries not zeroed", "the rows that do not count (ignored, padding: masked out) are not zeroed: softmax alone is left there")
def _(g, y, x, axis=-1):
    total = _sum(g, axis)
    weights = total[total != 0]
    if not weights.size:
        return [None]
    ignored = total.size > weights.size > 0 and np.ptp(weights) <= 1e-12 * np.abs(weights).max()
    return [g - np.exp(y) * weights[0] if ignored else None]


@mistake("logsumexp", "not normalised", "exp(x) stands in place of softmax(x): it is not divided by its sum")
def _(g, y, x, axis=None, keepdims=False):
    return [_stretched(g, x, axis, keepdims) * np.exp(x)]


@mistake("logsumexp", "forgotten derivative", "the weights softmax(x) of logsumexp's gradient are left out: every entry gets the upstream gradient")
def _(g, y, x, axis=None, keepdims=False):
    return [_stretched(g, x, axis, keepdims) + 0 * x]


@mistake("logsumexp", "wrong term", "the scores x themselves stand in place of their softmax: x for softmax(x)")
def _(g, y, x, axis=None, keepdims=False):
    return [_stretched(g, x, axis, keepdims) * x]


@mistake("logsumexp", "wrong entries", "only the largest entry gets the gradient, as for max; logsumexp gives softmax(x) to all")
def _(g, y, x, axis=None, keepdims=False):
    return [_stretched(g, x, axis, keepdims) * (x == x.max(axis=axis, keepdims=True))]


def _stretched(g: Any, x: np.ndarray, axis: Any, keepdims: bool) -> Any:
    return g if keepdims or axis is None else np.expand_dims(g, axis)


# log σ(x) and log(1 + eˣ): the losses of labels 1 and 0 ---------------------------------------------------------------------


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


LOG_SIGMOID = [
    ("missing target", "σ(x) stands where σ(x) − 1 belongs: the label 1 is not subtracted, in the derivative 1 − σ(x) of log sigmoid", lambda s, x: -s),
    ("wrong term", "σ(x) stands in place of 1 − σ(x), the derivative of log sigmoid", lambda s, x: s),
    ("derivative twice", "the sigmoid's derivative y (1 − y) is multiplied once more: in (log σ)' = 1 − σ it has cancelled already", lambda s, x: (1 - s) * s * (1 - s)),
    ("forgotten derivative", "the derivative of the log, 1/σ(x), is left out of that of log sigmoid: only the sigmoid's σ (1 − σ) is there", lambda s, x: s * (1 - s)),
    ("forgotten derivative", "the sigmoid's derivative is left out of that of log sigmoid: only the log's 1/σ(x) is there", lambda s, x: 1 / s),
    ("forgotten derivative", "the derivative 1 − σ(x) of log sigmoid is left out", lambda s, x: 1.0),
    ("wrong term", "x itself stands in place of σ(x), in the derivative 1 − σ(x) of log sigmoid", lambda s, x: 1 - x),
]
SOFTPLUS = [
    ("wrong term", "1 − σ(x), that is σ(−x), stands in place of σ(x), the derivative of log(1 + eˣ)", lambda s, x: 1 - s),
    ("wrong term", "σ(x) − 1 stands in place of σ(x), the derivative of log(1 + eˣ): the label 0 is taken for 1", lambda s, x: s - 1),
    ("derivative twice", "the sigmoid's derivative is multiplied once more: the derivative of log(1 + eˣ) is σ(x) itself", lambda s, x: s * s * (1 - s)),
    ("forgotten derivative", "the derivative of the log is left out: eˣ in place of σ(x) = eˣ/(1 + eˣ)", lambda s, x: s / (1 - s)),
    ("forgotten derivative", "the derivative σ(x) of log(1 + eˣ) is left out", lambda s, x: 1.0),
    ("wrong term", "x itself stands in place of σ(x), the derivative of log(1 + eˣ)", lambda s, x: x),
]
for _kind, _rows in (("log_sigmoid", LOG_SIGMOID), ("softplus", SOFTPLUS)):
    for _name, _words, _derivative in _rows:
        mistake(_kind, _name, _words, COMPOSED)(lambda g, y, x, _d=_derivative: [g * _d(_sigmoid(x), x)])


# Norms: y = (x − μ)/s or x/s, s of each row along the axis ------------------------------------------------------------------


def _norm(op: str, name: str, words: str) -> Any:
    return mistake(op, name, words, COMPOSED)


FORGOTTEN = "the normalisation is left out (no division by the norm or standard deviation, statistics as constants): the gradient of the normalised x̂ is taken for that of x"


@_norm("standardise", "missing scale", "the factor 1/σ, the division by the standard deviation, is missing from the gradient of x")
def _(g, y, x, axis, s):
    return [g - _mean(g, axis) - y * _mean(g * y, axis)]


@_norm("standardise", "wrong scale", "divided by the variance σ² where the standard deviation σ, its square root, belongs")
def _(g, y, x, axis, s):
    return [(g - _mean(g, axis) - y * _mean(g * y, axis)) / (s * s)]


@_norm("standardise", "missing mean", "sums over the axis stand where the means ⟨·⟩ belong, in both terms")
def _(g, y, x, axis, s):
    return [(g - _sum(g, axis) - y * _sum(g * y, axis)) / s]


@_norm("standardise", "missing mean", "a sum stands where the mean ⟨ȳ x̂⟩ of the variance's term belongs")
def _(g, y, x, axis, s):
    return [(g - _mean(g, axis) - y * _sum(g * y, axis)) / s]


@_norm("standardise", "wrong axis", "the means in the gradient run over another axis than the normalisation does")
def _(g, y, x, axis, s):
    other = _other(x, axis)
    return [None if other is None else (g - _mean(g, other) - y * _mean(g * y, other)) / s]


@_norm("standardise", "forgotten normalisation", FORGOTTEN)
def _(g, y, x, axis, s):
    return [g]


@_norm("standardise", "missing terms through the mean and the variance", "the mean and the variance are taken as constants: only the direct term ȳ/σ is there")
def _(g, y, x, axis, s):
    return [g / s]


@_norm("standardise", "missing term through the variance", "the variance (standard deviation) is taken as a constant: the term −x̂ ⟨ȳ x̂⟩/σ is missing")
def _(g, y, x, axis, s):
    return [(g - _mean(g, axis)) / s]


@_norm("standardise", "missing term through the mean", "the mean is taken as a constant: the term −⟨ȳ⟩/σ is missing")
def _(g, y, x, axis, s):
    return [(g - y * _mean(g * y, axis)) / s]


@_norm("standardise", "sign of a term", "the variance's term has the wrong sign: −x̂ ⟨ȳ x̂⟩/σ, here it is added")
def _(g, y, x, axis, s):
    return [(g - _mean(g, axis) + y * _mean(g * y, axis)) / s]


@_norm("rms", "missing scale", "the factor 1/rms, the division by the root mean square, is missing from the gradient of x")
def _(g, y, x, axis, s):
    return [g - y * _mean(g * y, axis)]


@_norm("rms", "wrong scale", "divided by the mean square where its square root, the norm, belongs")
def _(g, y, x, axis, s):
    return [(g - y * _mean(g * y, axis)) / (s * s)]


@_norm("rms", "missing mean", "a sum stands where the mean ⟨ȳ x̂⟩ of the norm's term belongs")
def _(g, y, x, axis, s):
    return [(g - y * _sum(g * y, axis)) / s]


@_norm("rms", "wrong axis", "the mean in the gradient runs over another axis than the normalisation does")
def _(g, y, x, axis, s):
    other = _other(x, axis)
    return [None if other is None else (g - y * _mean(g * y, other)) / s]


@_norm("rms", "forgotten normalisation", FORGOTTEN)
def _(g, y, x, axis, s):
    return [g]


@_norm("rms", "norm as a constant", "the norm (root mean square) is taken as a constant: the term −x̂ ⟨ȳ x̂⟩/rms is missing")
def _(g, y, x, axis, s):
    return [g / s]


@_norm("rms", "sign of a term", "the norm's term has the wrong sign: −x̂ ⟨ȳ x̂⟩/rms, here it is added")
def _(g, y, x, axis, s):
    return [(g + y * _mean(g * y, axis)) / s]


@_norm("rms", "other function", "this is the gradient of layer norm, with a mean ⟨ȳ⟩ subtracted (centred); RMS norm has no mean")
def _(g, y, x, axis, s):
    return [(g - _mean(g, axis) - y * _mean(g * y, axis)) / s]


@_norm("unit", "norm as a constant", "the norm is taken as a constant: the term −x̂ Σ ȳ x̂ / |x| is missing")
def _(g, y, x, axis, s):
    return [g / s]


@_norm("unit", "missing scale", "the factor 1/|x|, the division by the norm, is missing from the gradient of x")
def _(g, y, x, axis, s):
    return [g - y * _sum(g * y, axis)]


@_norm("unit", "forgotten normalisation", FORGOTTEN)
def _(g, y, x, axis, s):
    return [g]


@_norm("unit", "wrong axis", "the sum Σ ȳ x̂ in the gradient runs over another axis than the norm does")
def _(g, y, x, axis, s):
    other = _other(x, axis)
    return [None if other is None else (g - y * _sum(g * y, other)) / s]


@_norm("unit", "sign of a term", "the norm's term has the wrong sign: −x̂ Σ ȳ x̂ / |x|, here it is added")
def _(g, y, x, axis, s):
    return [(g + y * _sum(g * y, axis)) / s]


@_norm("unit", "not normalised", "x stands where the normalised x̂ = x/|x| belongs: two divisions by the norm are missing from the term −x̂ Σ ȳ x̂ / |x|")
def _(g, y, x, axis, s):
    return [(g - x * _sum(g * x, axis)) / s]


@_norm("unit", "not normalised", "one division by the norm is missing from the term −x̂ Σ ȳ x̂ / |x|: x stands for x̂ once")
def _(g, y, x, axis, s):
    return [(g - x * _sum(g * y, axis)) / s]


@_norm("unit", "missing sum", "the sum Σ ȳ x̂ (the upstream gradient's dot product) is missing from the norm's term")
def _(g, y, x, axis, s):
    return [(g - y) / s]


@_norm("unit", "superfluous mean", "a mean ⟨ȳ x̂⟩ stands where the sum Σ ȳ x̂ of the norm's term belongs")
def _(g, y, x, axis, s):
    return [(g - y * _mean(g * y, axis)) / s]
