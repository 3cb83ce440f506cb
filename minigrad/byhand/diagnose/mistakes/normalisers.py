r"""Softmax and the norms: what is forgotten of :math:`y \odot (\bar y - \sum_j \bar y_j y_j)` and of
:math:`(\bar y - \langle \bar y \rangle - y \langle \bar y y \rangle) / s`.

Each table has rows (name, words, rule); a rule gets the upstream gradient g, the result y, the input x and the axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import COMPOSED, MISTAKES, mistake


def _sum(x: np.ndarray, axis: Any) -> np.ndarray:
    return x.sum(axis=axis, keepdims=True)


def _mean(x: np.ndarray, axis: Any) -> np.ndarray:
    return x.mean(axis=axis, keepdims=True)


def _along_another(rule: Callable[[Any], Any], x: np.ndarray, axis: Any) -> Any:
    """The rule along another axis than the right one; None where there is none."""
    if x.ndim < 2 or not isinstance(axis, int):
        return None
    return rule(-2 if axis % x.ndim == x.ndim - 1 else -1)


def _register(op: str, rows: list[tuple[str, str, Any]]) -> None:
    for name, words, rule in rows:
        mistake(op, name, words, MISTAKES)(lambda g, y, x, axis=-1, _rule=rule: [_rule(g, y, x, axis)])


# Softmax --------------------------------------------------------------------------------------------------------------

_register("softmax", [
    ("forgotten softmax",
     "softmax's own gradient is left out: the gradient of its result is taken for that of its input",
     lambda g, y, x, a: g),
    ("softmax diagonal",
     "only the diagonal of softmax's Jacobian, y_i (1 − y_i), is used; the terms −y_i y_j off the diagonal are missing",
     lambda g, y, x, a: g * y * (1 - y)),
    ("missing term",
     "the term −y Σ_j ȳ_j y_j of softmax's gradient is missing: its sum, the denominator, is taken as a constant",
     lambda g, y, x, a: g * y),
    ("wrong term", "the sum in softmax's gradient is Σ_j ȳ_j; it should be Σ_j ȳ_j y_j",
     lambda g, y, x, a: y * (g - _sum(g, a))),
    ("sign of a term", "the second term of softmax's gradient y (ȳ − Σ_j ȳ_j y_j) has the wrong sign: here it is added",
     lambda g, y, x, a: y * (g + _sum(g * y, a))),
    ("missing factor", "the factor y in front of softmax's gradient y (ȳ − Σ_j ȳ_j y_j) is missing",
     lambda g, y, x, a: g - _sum(g * y, a)),
    ("other function", "this is the gradient of log_softmax; the function is softmax",
     lambda g, y, x, a: g - y * _sum(g, a)),
    ("wrong axis", "the sum in softmax's gradient runs over another axis than softmax does",
     lambda g, y, x, a: _along_another(lambda b: y * (g - _sum(g * y, b)), x, a)),
    ("superfluous mean", "the sum Σ_j ȳ_j y_j in softmax's gradient is taken as a mean",
     lambda g, y, x, a: y * (g - _mean(g * y, a))),
])  # fmt: skip

# log_softmax, and so cross-entropy: ȳ holds −(targets), so ȳ − p Σ ȳ is (p − target) ----------------------------------


def _softmax_of(x: np.ndarray, axis: Any) -> np.ndarray:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / _sum(e, axis)


def _twice(g: np.ndarray, p: np.ndarray, axis: Any) -> np.ndarray:
    u = g - p * _sum(g, axis)
    return p * (u - _sum(u * p, axis))


def _smoothing(g: np.ndarray, axis: Any) -> tuple[np.ndarray, float] | None:
    """The weights with their smoothing undone (one entry in each row), and ε; None when they are not smoothed."""
    total = _sum(g, axis)
    if not total.any():
        return None
    t = np.where(total != 0, g / np.where(total == 0, 1, total), 0.0)
    low = t.min(axis=axis, keepdims=True)
    hot = t > low + 1e-12
    eps = float(low.max()) * g.shape[axis]
    if not 0 < eps < 1 or (hot.sum(axis=axis) > 1).any() or np.abs(np.where(hot, 0, t) - ~hot * low).max() > 1e-12:
        return None
    return np.where(hot, total, 0.0), eps


def _smoothed(g: np.ndarray, y: np.ndarray, axis: Any, kept: float, others: float) -> np.ndarray | None:
    """Targets that keep a part of ε less, and spread a part of ε over the other classes."""
    found = _smoothing(g, axis)
    if found is None:
        return None
    hot, eps = found
    spread = (hot == 0) * _sum(g, axis) * others * eps / (g.shape[axis] - 1)
    return hot * (1 - kept * eps) + spread - np.exp(y) * _sum(g, axis)


def _all_rows(g: np.ndarray, y: np.ndarray, axis: Any) -> np.ndarray | None:
    """Rows without a weight get that of the others."""
    total = _sum(g, axis)
    weights = total[total != 0]
    ignored = total.size > weights.size > 0 and np.ptp(weights) <= 1e-12 * np.abs(weights).max()
    return g - np.exp(y) * weights[0] if ignored else None


NORMALISER = (
    "the term −p Σ_j ȳ_j of log_softmax's gradient is missing: the normaliser log Σ exp is taken as a constant, so"
    " softmax is missing from softmax − target"
)
TARGET = "the target (one-hot, label) is not subtracted: the gradient is softmax − target, here it is softmax alone"
ONE = (
    "the weights (targets) of a row are assumed to sum to one: their sum Σ_j ȳ_j is missing from the term −p Σ_j ȳ_j of"
    " log_softmax's gradient"
)
ONCE_MORE = "multiplied once more; softmax − target is already the gradient of the logits"
_register("log_softmax", [
    ("forgotten softmax", NORMALISER, lambda g, y, x, a: g),
    ("missing target", TARGET, lambda g, y, x, a: -np.exp(y) * _sum(g, a)),
    ("sign of a term", "the target is added: the gradient is softmax − target, here it is softmax + target",
     lambda g, y, x, a: -g - np.exp(y) * _sum(g, a)),
    ("softmax diagonal",
     "only the diagonal 1 − p_i of log_softmax's Jacobian is used; the −p_j off the diagonal are missing",
     lambda g, y, x, a: g * (1 - np.exp(y))),
    ("missing term", "the factor Σ_j ȳ_j is missing from the term −p Σ_j ȳ_j of log_softmax's gradient",
     lambda g, y, x, a: g - np.exp(y)),
    ("missing sum", ONE, lambda g, y, x, a: g + np.exp(y) / max(1, g.size // g.shape[a])),
    ("missing sum", ONE, lambda g, y, x, a: g + np.exp(y)),
    ("forgotten softmax", "the logits stand in place of their softmax: x − target, where softmax(x) − target belongs",
     lambda g, y, x, a: g - x * _sum(g, a)),
    ("not normalised", "exp(x) stands in place of softmax(x): it is not divided by its sum, the normaliser",
     lambda g, y, x, a: g - np.exp(x) * _sum(g, a)),
    ("wrong term", "log_softmax stands in place of softmax: the gradient is ȳ − p Σ_j ȳ_j with p = exp(log_softmax)",
     lambda g, y, x, a: g - y * _sum(g, a)),
    ("other function", "this is the gradient of softmax; the function is log_softmax",
     lambda g, y, x, a: np.exp(y) * (g - _sum(g * np.exp(y), a))),
    ("softmax twice", f"softmax's own Jacobian is {ONCE_MORE}", lambda g, y, x, a: _twice(g, np.exp(y), a)),
    ("softmax twice", f"the diagonal p (1 − p) of softmax's Jacobian is {ONCE_MORE}",
     lambda g, y, x, a: np.exp(y) * (1 - np.exp(y)) * (g - np.exp(y) * _sum(g, a))),
    ("wrong axis", "the sum in log_softmax's gradient runs over another axis than log_softmax does",
     lambda g, y, x, a: _along_another(lambda b: g - np.exp(y) * _sum(g, b), x, a)),
    ("wrong axis", "softmax is taken over another axis than in the function",
     lambda g, y, x, a: _along_another(lambda b: g - _softmax_of(x, b) * _sum(g, a), x, a)),
    ("missing label smoothing", "label smoothing is forgotten: the targets here are 0 and 1",
     lambda g, y, x, a: _smoothed(g, y, a, 0.0, 0.0)),
    ("missing label smoothing",
     "the uniform part ε/V of label smoothing is forgotten: the target keeps 1 − ε, the other classes get nothing",
     lambda g, y, x, a: _smoothed(g, y, a, 1.0, 0.0)),
    ("wrong label smoothing",
     "ε/(V − 1) is spread over the other classes; label smoothing here gives ε/V to every class, the target among them",
     lambda g, y, x, a: _smoothed(g, y, a, 1.0, 1.0)),
    ("masked entries not zeroed",
     "the rows that do not count (ignored, padding: masked out) are not zeroed: softmax alone is left there",
     lambda g, y, x, a: _all_rows(g, y, a)),
])  # fmt: skip

LOGSUMEXP = [
    ("not normalised", "exp(x) stands in place of softmax(x): it is not divided by its sum", lambda x, a: np.exp(x)),
    ("forgotten derivative",
     "the weights softmax(x) of logsumexp's gradient are left out: every entry gets the upstream gradient",
     lambda x, a: 1 + 0 * x),
    ("wrong term", "the scores x themselves stand in place of their softmax: x for softmax(x)", lambda x, a: x),
    ("wrong entries", "only the largest entry gets the gradient, as for max; logsumexp gives softmax(x) to all",
     lambda x, a: x == x.max(axis=a, keepdims=True)),
]  # fmt: skip
for _name, _words, _weights in LOGSUMEXP:
    mistake("logsumexp", _name, _words)(
        lambda g, y, x, axis=None, keepdims=False, _w=_weights: [
            (g if keepdims or axis is None else np.expand_dims(g, axis)) * _w(x, axis)
        ]
    )

# log σ(x) and log(1 + eˣ): the losses of labels 1 and 0; s is σ(x) ----------------------------------------------------

OF_LOG_SIGMOID = "the derivative 1 − σ(x) of log sigmoid"
LOG_SIGMOID = [
    ("missing target", f"σ(x) stands where σ(x) − 1 belongs: the label 1 is not subtracted, in {OF_LOG_SIGMOID}",
     lambda s, x: -s),
    ("wrong term", f"σ(x) stands in place of 1 − σ(x), in {OF_LOG_SIGMOID}", lambda s, x: s),
    ("derivative twice",
     "the sigmoid's derivative y (1 − y) is multiplied once more: in (log σ)' = 1 − σ it has cancelled already",
     lambda s, x: (1 - s) * s * (1 - s)),
    ("forgotten derivative",
     "the derivative of the log, 1/σ(x), is left out of that of log sigmoid: only the sigmoid's σ (1 − σ) is there",
     lambda s, x: s * (1 - s)),
    ("forgotten derivative",
     "the sigmoid's derivative is left out of that of log sigmoid: only the log's 1/σ(x) is there",
     lambda s, x: 1 / s),
    ("forgotten derivative", f"{OF_LOG_SIGMOID} is left out", lambda s, x: 1.0),
    ("wrong term", f"x itself stands in place of σ(x), in {OF_LOG_SIGMOID}", lambda s, x: 1 - x),
]  # fmt: skip
OF_SOFTPLUS = "the derivative σ(x) of log(1 + eˣ)"
SOFTPLUS = [
    ("wrong term", f"1 − σ(x), that is σ(−x), stands in place of {OF_SOFTPLUS}", lambda s, x: 1 - s),
    ("wrong term", f"σ(x) − 1 stands in place of {OF_SOFTPLUS}: the label 0 is taken for 1", lambda s, x: s - 1),
    ("derivative twice",
     "the sigmoid's derivative is multiplied once more: the derivative of log(1 + eˣ) is σ(x) itself",
     lambda s, x: s * s * (1 - s)),
    ("forgotten derivative", "the derivative of the log is left out: eˣ in place of σ(x) = eˣ/(1 + eˣ)",
     lambda s, x: s / (1 - s)),
    ("forgotten derivative", f"{OF_SOFTPLUS} is left out", lambda s, x: 1.0),
    ("wrong term", f"x itself stands in place of {OF_SOFTPLUS}", lambda s, x: x),
]  # fmt: skip
for _kind, _rows in (("log_sigmoid", LOG_SIGMOID), ("softplus", SOFTPLUS)):
    for _name, _words, _derivative in _rows:
        mistake(_kind, _name, _words, COMPOSED)(lambda g, y, x, _d=_derivative: [g * _d(1 / (1 + np.exp(-x)), x)])

# Norms: y = (x − μ)/s or x/s, s of each row along the axis; total is the mean, or for x/|x| the sum -------------------

FORGOTTEN = (
    "the normalisation is left out (no division by the norm or standard deviation, statistics as constants): the"
    " gradient of the normalised x̂ is taken for that of x"
)
NORMS = {  # kind: s in words, its term, whether the mean is subtracted, the total
    "standardise": ("the standard deviation σ", "−x̂ ⟨ȳ x̂⟩/σ", 1.0, _mean),
    "rms": ("the norm (root mean square)", "−x̂ ⟨ȳ x̂⟩/rms", 0.0, _mean),
    "unit": ("the norm |x|", "−x̂ Σ ȳ x̂ / |x|", 0.0, _sum),
}


def _register_norm(kind: str) -> None:
    s_words, term, m, total = NORMS[kind]
    short = "1/σ" if kind == "standardise" else "1/rms" if kind == "rms" else "1/|x|"

    def right(g: Any, y: Any, a: Any) -> Any:
        return g - m * _mean(g, a) - y * total(g * y, a)

    rows: list[tuple[str, str, Any]] = [
        ("missing scale", f"the factor {short}, the division by {s_words}, is missing from the gradient of x",
         lambda g, y, x, a, s: right(g, y, a)),
        ("wrong scale", f"divided by the square of {s_words}: its square root is missing",
         lambda g, y, x, a, s: right(g, y, a) / (s * s)),
        ("wrong axis", "the sums and means in the gradient run over another axis than the normalisation does",
         lambda g, y, x, a, s: _along_another(lambda b: right(g, y, b) / s, x, a)),
        ("forgotten normalisation", FORGOTTEN, lambda g, y, x, a, s: g),
        ("sign of a term", f"the term {term} has the wrong sign: here it is added",
         lambda g, y, x, a, s: (g - m * _mean(g, a) + y * total(g * y, a)) / s),
        ("missing mean", f"a sum stands where the mean ⟨ȳ x̂⟩ of the term {term} belongs",
         lambda g, y, x, a, s: (g - m * _mean(g, a) - y * _sum(g * y, a)) / s),
        ("superfluous mean", f"a mean ⟨ȳ x̂⟩ stands where the sum of the term {term} belongs",
         lambda g, y, x, a, s: (g - m * _mean(g, a) - y * _mean(g * y, a)) / s),
        ("not normalised",
         f"x stands where the normalised x̂ belongs: two divisions by {s_words} are missing from the term {term}",
         lambda g, y, x, a, s: (g - m * _mean(g, a) - x * total(g * x, a)) / s),
        ("not normalised", f"one division by {s_words} is missing from the term {term}: x stands for x̂ once",
         lambda g, y, x, a, s: (g - m * _mean(g, a) - x * total(g * y, a)) / s),
        ("missing sum", f"the sum (the upstream gradient's dot product with x̂) is missing from the norm's term {term}",
         lambda g, y, x, a, s: (g - m * _mean(g, a) - y) / s),
    ]  # fmt: skip
    if kind == "standardise":
        rows += [
            ("missing mean", "sums over the axis stand where the means ⟨·⟩ belong, in both terms",
             lambda g, y, x, a, s: (g - _sum(g, a) - y * _sum(g * y, a)) / s),
            ("missing terms through the mean and the variance",
             "the mean and the variance are taken as constants: only the direct term ȳ/σ is there",
             lambda g, y, x, a, s: g / s),
            ("missing term through the variance",
             f"the variance (standard deviation) is taken as a constant: the term {term} is missing",
             lambda g, y, x, a, s: (g - _mean(g, a)) / s),
            ("missing term through the mean", "the mean is taken as a constant: the term −⟨ȳ⟩/σ is missing",
             lambda g, y, x, a, s: (g - y * _mean(g * y, a)) / s),
        ]  # fmt: skip
    else:
        rows += [
            ("norm as a constant", f"{s_words} is taken as a constant: the term {term} is missing",
             lambda g, y, x, a, s: g / s),
            ("other function",
             "this is the gradient of layer norm, with a mean ⟨ȳ⟩ subtracted (centred); this norm has no mean",
             lambda g, y, x, a, s: (g - _mean(g, a) - y * total(g * y, a)) / s),
        ]  # fmt: skip
    for name, words, rule in rows:
        mistake(kind, name, words, COMPOSED)(lambda g, y, x, axis, s, _rule=rule: [_rule(g, y, x, axis, s)])


for _kind in NORMS:
    _register_norm(_kind)
