r"""The mistakes that people make in the gradient of an op, each as the wrong rule that it amounts to.

A wrong rule is called as the right one, ``rule(g, y, *inputs, **params)``, on arrays, and returns what the mistake would give
for each input, None where it makes no difference.  ``diagnose`` pulls each one back to the inputs and compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..kernels import erf
from ..ops.attention import causal_bias


class Mistake(NamedTuple):
    """Its name, what it is in words, and the wrong rule."""

    name: str
    words: str
    rule: Callable[..., Any]


MISTAKES: dict[str, list[Mistake]] = {}


def mistake(op: str, name: str, words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the function is what the op's rule becomes by this mistake."""

    def note(rule: Callable[..., Any]) -> Callable[..., Any]:
        MISTAKES.setdefault(op, []).append(Mistake(name, words, rule))
        return rule

    return note


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Softmax on arrays; zeros where a slice holds nothing but −∞."""
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=axis, keepdims=True)
    return e / np.where(total == 0, 1, total)


DIAGONAL = "only the diagonal of softmax's Jacobian, y_i (1 − y_i), is used; the terms −y_i y_j off the diagonal are missing"
NO_SUM = "the term −y Σ_j ȳ_j y_j of softmax's gradient is missing"
UNWEIGHTED = "the sum in softmax's gradient is Σ_j ȳ_j; it should be Σ_j ȳ_j y_j"

# Softmax and the losses on top of it -----------------------------------------------------------------------------------


@mistake("softmax", "softmax diagonal", DIAGONAL)
def _(g, y, x, axis=-1):
    return [g * y * (1 - y)]


@mistake("softmax", "missing term", NO_SUM)
def _(g, y, x, axis=-1):
    return [g * y]


@mistake("softmax", "wrong term", UNWEIGHTED)
def _(g, y, x, axis=-1):
    return [y * (g - g.sum(axis=axis, keepdims=True))]


@mistake("softmax", "other function", "this is the gradient of log_softmax")
def _(g, y, x, axis=-1):
    return [g - y * g.sum(axis=axis, keepdims=True)]


@mistake("softmax", "wrong axis", "the sum in softmax's gradient runs over another axis than softmax does")
def _(g, y, x, axis=-1):
    other = -2 if axis % x.ndim == x.ndim - 1 else -1
    return [y * (g - (g * y).sum(axis=other, keepdims=True))] if x.ndim > 1 else [None]


@mistake("log_softmax", "softmax diagonal", "only the diagonal 1 − p_i of log_softmax's Jacobian is used; the terms −p_j off the diagonal are missing")
def _(g, y, x, axis=-1):
    return [g * (1 - np.exp(y))]


@mistake("log_softmax", "missing term", "the factor Σ_j ȳ_j is missing from the term −p Σ_j ȳ_j of log_softmax's gradient")
def _(g, y, x, axis=-1):
    return [g - np.exp(y)]


@mistake("log_softmax", "other function", "this is the gradient of softmax")
def _(g, y, x, axis=-1):
    p = np.exp(y)
    return [p * (g - (g * p).sum(axis=axis, keepdims=True))]


def _loss_terms(g: Any, x: np.ndarray, targets: np.ndarray, ignored: int | None, smoothing: float, reduction: str) -> tuple[Any, Any, Any]:
    """The weight of each row, softmax of the rows, the targets as rows of probabilities."""
    v = x.shape[-1]
    flat = targets.ravel()
    counted = np.ones(flat.size, bool) if ignored is None else flat != ignored
    weight = counted / (max(1, counted.sum()) if reduction == "mean" else 1)
    wanted = np.full((flat.size, v), smoothing / v)
    wanted[np.flatnonzero(counted), flat[counted]] += 1 - smoothing
    return (np.reshape(g, -1) * weight)[:, None], softmax(x).reshape(-1, v), wanted


@mistake("_cross_entropy", "missing term", "the target is not subtracted: the gradient is softmax − target, here it is softmax alone")
def _(g, y, x, targets, ignore_index, label_smoothing, reduction, saved=None):
    w, p, _ = _loss_terms(g, x, targets, ignore_index, label_smoothing, reduction)
    return [(w * p).reshape(x.shape)]


@mistake("_cross_entropy", "missing term", "softmax is missing: the gradient is softmax − target, here it is −target alone")
def _(g, y, x, targets, ignore_index, label_smoothing, reduction, saved=None):
    w, _, t = _loss_terms(g, x, targets, ignore_index, label_smoothing, reduction)
    return [(-w * t).reshape(x.shape)]


@mistake("_cross_entropy", "softmax diagonal", DIAGONAL)
def _(g, y, x, targets, ignore_index, label_smoothing, reduction, saved=None):
    w, p, t = _loss_terms(g, x, targets, ignore_index, label_smoothing, reduction)
    return [(-w * t * (1 - p)).reshape(x.shape)]


@mistake("_cross_entropy", "sign of a term", "the target is added: the gradient is softmax − target, here it is softmax + target")
def _(g, y, x, targets, ignore_index, label_smoothing, reduction, saved=None):
    w, p, t = _loss_terms(g, x, targets, ignore_index, label_smoothing, reduction)
    return [(w * (p + t)).reshape(x.shape)]


@mistake("_cross_entropy", "forgotten softmax", "the logits stand in place of their softmax: x − target, where softmax(x) − target belongs")
def _(g, y, x, targets, ignore_index, label_smoothing, reduction, saved=None):
    w, _, t = _loss_terms(g, x, targets, ignore_index, label_smoothing, reduction)
    return [(w * (x.reshape(t.shape) - t)).reshape(x.shape)]


@mistake("_cross_entropy", "missing label smoothing", "label smoothing is forgotten: the targets here are 0 and 1")
def _(g, y, x, targets, ignore_index, label_smoothing, reduction, saved=None):
    w, p, t = _loss_terms(g, x, targets, ignore_index, 0.0, reduction)
    return [(w * (p - t)).reshape(x.shape)]


# Normalisation -----------------------------------------------------------------------------------------------------------


def _mean(x: np.ndarray) -> np.ndarray:
    return x.mean(axis=-1, keepdims=True)


def _normal(x: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    centred = x - _mean(x)
    inverse = 1 / np.sqrt(_mean(centred * centred) + eps)
    return centred * inverse, inverse


@mistake("layer_norm", "missing term through the mean", "x also acts through the mean μ: the term −⟨γ ȳ⟩/σ is missing")
def _(g, y, x, weight, bias=None, eps=1e-5, saved=None):
    n, r = _normal(x, eps)
    u = g * weight
    return [r * (u - n * _mean(u * n)), None, None]


@mistake("layer_norm", "missing term through the variance", "x also acts through the variance σ²: the term −x̂ ⟨γ ȳ x̂⟩/σ is missing")
def _(g, y, x, weight, bias=None, eps=1e-5, saved=None):
    _, r = _normal(x, eps)
    u = g * weight
    return [r * (u - _mean(u)), None, None]


@mistake("layer_norm", "missing terms through the mean and the variance", "μ and σ are treated as constants: only the direct term γ ȳ/σ is there")
def _(g, y, x, weight, bias=None, eps=1e-5, saved=None):
    return [_normal(x, eps)[1] * g * weight, None, None]


@mistake("layer_norm", "missing weight", "γ is missing from the gradient of x (it is right only where γ = 1)")
def _(g, y, x, weight, bias=None, eps=1e-5, saved=None):
    n, r = _normal(x, eps)
    return [r * (g - _mean(g) - n * _mean(g * n)), None, None]


@mistake("layer_norm", "missing scale", "the division by σ is missing from the gradient of x")
def _(g, y, x, weight, bias=None, eps=1e-5, saved=None):
    n, _ = _normal(x, eps)
    u = g * weight
    return [u - _mean(u) - n * _mean(u * n), None, None]


@mistake("layer_norm", "missing mean", "sums over the width stand where the means ⟨·⟩ over the width belong")
def _(g, y, x, weight, bias=None, eps=1e-5, saved=None):
    n, r = _normal(x, eps)
    u = g * weight
    return [r * (u - u.sum(-1, keepdims=True) - n * (u * n).sum(-1, keepdims=True)), None, None]


@mistake("layer_norm", "not normalised", "the gradient of the weight is Σ ȳ x̂ with the normalised x̂; here x itself is used")
def _(g, y, x, weight, bias=None, eps=1e-5, saved=None):
    return [None, g * x, None]


@mistake("layer_norm", "not normalised", "the gradient of the weight is Σ ȳ x̂ with x̂ = (x − μ)/σ; here the division by σ is missing")
def _(g, y, x, weight, bias=None, eps=1e-5, saved=None):
    return [None, g * (x - _mean(x)), None]


@mistake("layer_norm", "not normalised", "the gradient of the weight is Σ ȳ x̂; here the output y = γ x̂ + β is used for x̂")
def _(g, y, x, weight, bias=None, eps=1e-5, saved=None):
    return [None, g * y, None]


@mistake("rms_norm", "missing term through the mean square", "x also acts through the mean square: the term −x̂ ⟨γ ȳ x̂⟩ / rms is missing")
def _(g, y, x, weight, eps=1e-6, saved=None):
    return [g * weight / np.sqrt(_mean(x * x) + eps), None]


@mistake("rms_norm", "missing weight", "γ is missing from the gradient of x (it is right only where γ = 1)")
def _(g, y, x, weight, eps=1e-6, saved=None):
    r = 1 / np.sqrt(_mean(x * x) + eps)
    return [r * (g - x * r * _mean(g * x * r)), None]


@mistake("rms_norm", "not normalised", "the gradient of the weight is Σ ȳ x̂ with the normalised x̂; here x itself is used")
def _(g, y, x, weight, eps=1e-6, saved=None):
    return [None, g * x]


# Attention ---------------------------------------------------------------------------------------------------------------


class _Attention:
    """The pieces of attention's backward pass, to be put together wrongly; grouped key heads are repeated and summed back."""

    def __init__(self, g, o, q, k, v, bias=None, causal=False, scale=None, keep=None, saved=None):
        self.group = q.shape[-3] // k.shape[-3] if q.ndim > 2 else 1
        self.q, self.g, self.keep = q, g, 1.0 if keep is None else keep
        self.k, self.v = (np.repeat(x, self.group, axis=-3) if self.group > 1 else x for x in (k, v))
        self.tau = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
        self.plain = self.tau * q @ self.k.mT
        scores = self.plain if bias is None else self.plain + bias
        if causal:
            scores = scores + causal_bias(*scores.shape[-2:], scores.dtype)
        self.masked = bias is not None or causal
        self.p = softmax(scores)
        self.dp = g @ self.v.mT * self.keep  # what reaches P
        self.ds = self.p * (self.dp - (self.dp * self.p).sum(-1, keepdims=True))
        self.square = q.shape[-2] == k.shape[-2]

    def from_scores(self, ds: np.ndarray, has_bias: bool = True) -> list[Any]:
        """q, k, v and bias when the gradient of the scores is this."""
        return [self.tau * ds @ self.k, self.together(self.tau * ds.mT @ self.q), None, ds]

    def together(self, d: np.ndarray, how: Any = np.sum) -> np.ndarray:
        """Heads that shared a key or value head, summed."""
        return d if self.group == 1 else how(d.reshape(*d.shape[:-3], -1, self.group, *d.shape[-2:]), axis=-3)


NOTHING = [None] * 4


@mistake("attention", "softmax diagonal", DIAGONAL)
def _(*args, **params):
    a = _Attention(*args, **params)
    return a.from_scores(a.dp * a.p * (1 - a.p))


@mistake("attention", "missing term", NO_SUM)
def _(*args, **params):
    a = _Attention(*args, **params)
    return a.from_scores(a.p * a.dp)


@mistake("attention", "wrong term", UNWEIGHTED)
def _(*args, **params):
    a = _Attention(*args, **params)
    return a.from_scores(a.p * (a.dp - a.dp.sum(-1, keepdims=True)))


@mistake("attention", "forgotten softmax", "the gradient of the weights P is taken for that of the scores: softmax's own gradient is left out")
def _(*args, **params):
    a = _Attention(*args, **params)
    return a.from_scores(a.dp)


@mistake("attention", "mask not applied", "the mask is left out in the backward pass: the weights P are computed again without it")
def _(*args, **params):
    a = _Attention(*args, **params)
    if not a.masked:
        return NOTHING
    p = softmax(a.plain)
    ds = p * (a.dp - (a.dp * p).sum(-1, keepdims=True))
    return [*a.from_scores(ds)[:2], a.together((p * a.keep).mT @ a.g), ds]


@mistake("attention", "mask not applied", "the dropout mask is left out in the backward pass")
def _(*args, **params):
    a = _Attention(*args, **params)
    if params.get("keep") is None:
        return NOTHING
    dp = a.g @ a.v.mT
    return [*a.from_scores(a.p * (dp - (dp * a.p).sum(-1, keepdims=True)))[:2], a.together(a.p.mT @ a.g), None]


@mistake("attention", "missing transposition", "the gradient of k is τ S̄ᵀ Q; here it is τ S̄ Q")
def _(*args, **params):
    a = _Attention(*args, **params)
    return [None, a.together(a.tau * a.ds @ a.q), None, None] if a.square else NOTHING


@mistake("attention", "missing transposition", "the gradient of v is Pᵀ Ō; here it is P Ō")
def _(*args, **params):
    a = _Attention(*args, **params)
    return [None, None, a.together((a.p * a.keep) @ a.g), None] if a.square else NOTHING


@mistake("attention", "wrong operand", "q is used where k belongs: the gradient of q is τ S̄ K, that of k is τ S̄ᵀ Q")
def _(*args, **params):
    a = _Attention(*args, **params)
    return [a.tau * a.ds @ a.q, a.together(a.tau * a.ds.mT @ a.k), None, None] if a.square else NOTHING


@mistake("attention", "wrong operand", "the scores S stand where the weights P = softmax(S) belong: the gradient of v is Pᵀ Ō")
def _(*args, **params):
    a = _Attention(*args, **params)
    return NOTHING if a.masked else [None, None, a.together(a.plain.mT @ a.g), None]


for _at, _which in ((-1, "last"), (0, "first")):

    @mistake("attention", "overwritten", f"{_which} query head only: the gradients of the query heads that share a key head add up")
    def _(*args, _at=_at, **params):
        a = _Attention(*args, **params)
        if a.group == 1:
            return NOTHING
        one = lambda d, axis: np.take(d, _at, axis=axis)  # noqa: E731
        return [None, a.together(a.tau * a.ds.mT @ a.q, one), a.together((a.p * a.keep).mT @ a.g, one), None]


# Products and picking ----------------------------------------------------------------------------------------------------


def _try(product: Callable[[], np.ndarray], shape: tuple[int, ...]) -> Any:
    try:
        found = product()
    except ValueError:
        return None
    return found if found.shape == shape else None


@mistake("matmul", "missing transposition", "the second factor is not transposed: the gradient of A in C = A B is C̄ Bᵀ, here it is C̄ B")
def _(g, c, a, b):
    return [_try(lambda: g @ b, a.shape), None]


@mistake("matmul", "missing transposition", "the first factor is not transposed: the gradient of B in C = A B is Aᵀ C̄, here it is A C̄")
def _(g, c, a, b):
    return [None, _try(lambda: a @ g, b.shape)]


@mistake("matmul", "wrong order", "the factors stand in the wrong order: the gradient of A in C = A B is C̄ Bᵀ, here it is Bᵀ C̄")
def _(g, c, a, b):
    return [_try(lambda: b.mT @ g, a.shape) if b.ndim > 1 else None, None]


@mistake("matmul", "wrong order", "the factors stand in the wrong order: the gradient of B in C = A B is Aᵀ C̄, here it is C̄ Aᵀ")
def _(g, c, a, b):
    return [None, _try(lambda: g @ a.mT, b.shape) if a.ndim > 1 else None]


@mistake("matmul", "missing transposition", "C̄ᵀ stands where C̄ belongs, in the gradient of A or B of C = A B")
def _(g, c, a, b):
    if min(g.ndim, a.ndim, b.ndim) < 2 or g.shape[-1] != g.shape[-2]:
        return [None, None]
    return [_try(lambda: g.mT @ b.mT, a.shape), _try(lambda: a.mT @ g.mT, b.shape)]


@mistake("linear", "missing transposition", "the weight is not transposed: the gradient of X in Y = X W + b is Ȳ Wᵀ, here it is Ȳ W")
def _(g, y, x, weight, bias=None):
    return [_try(lambda: g @ weight, x.shape), None, None]


@mistake("linear", "missing transposition", "X is not transposed: the gradient of W in Y = X W + b is Xᵀ Ȳ, here it is X Ȳ")
def _(g, y, x, weight, bias=None):
    return [None, _try(lambda: x @ g, weight.shape), None]


for _at, _which in ((-1, "last"), (0, "first")):

    @mistake("linear", "overwritten", f"only the {_which} row of the batch is there; the gradient of W adds up over the batch")
    def _(g, y, x, weight, bias=None, _at=_at):
        rows = x.reshape(-1, x.shape[-1])
        return [None, np.outer(rows[_at], g.reshape(-1, g.shape[-1])[_at]) if len(rows) > 1 else None, None]


def _repeated(ids: np.ndarray) -> bool:
    return len(np.unique(ids)) < ids.size


@mistake("_take", "overwritten", "the last one wins: where an index occurs more than once the gradients must be added, not overwritten (dW[ids] = g)")
def _(g, y, x, indices, axis):
    dx = np.zeros(x.shape)
    np.moveaxis(dx, axis, 0)[indices] = np.moveaxis(g, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim)))
    return [dx if _repeated(indices) else None]


@mistake("_take", "overwritten", "the first one wins: where an index occurs more than once the gradients must be added")
def _(g, y, x, indices, axis):
    rows = np.moveaxis(g, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim)))
    dx = np.zeros(x.shape)
    flat, rest = indices.ravel()[::-1], rows.reshape(indices.size, *rows.shape[indices.ndim :])[::-1]
    np.moveaxis(dx, axis, 0)[flat] = rest
    return [dx if _repeated(indices) else None]


@mistake("_take", "superfluous mean", "where an index occurs more than once the gradients are averaged; they must be added")
def _(g, y, x, indices, axis):
    rows = np.moveaxis(g, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim)))
    dx = np.zeros(x.shape)
    np.add.at(np.moveaxis(dx, axis, 0), indices, rows)
    times = np.bincount(indices.ravel(), minlength=x.shape[axis])
    np.moveaxis(dx, axis, 0)[...] /= np.maximum(times, 1).reshape(-1, *[1] * (x.ndim - 1))
    return [dx if _repeated(indices) else None]


@mistake("pick", "overwritten", "the last one wins: where an entry is picked more than once the gradients must be added, not overwritten")
def _(g, y, x, index):
    dx = np.zeros(x.shape)
    dx[index] = g
    return [dx]


# Activations and reductions ----------------------------------------------------------------------------------------------

NO_INNER = "the inner derivative is missing: of (x s(x))' = s + x s' only the term s is there"
NO_OUTER = "of (x s(x))' = s + x s' only the term x s' is there; s is missing"
ROOT = math.sqrt(2 / math.pi)


def _tanh_form(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The switch s of the tanh form and the derivative u' of its inside."""
    return 1 / (1 + np.exp(-2 * ROOT * (x + 0.044715 * x**3))), ROOT * (1 + 3 * 0.044715 * x * x)


def _normal_form(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Φ and φ of the normal distribution."""
    phi = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + erf(x / math.sqrt(2))), phi


@mistake("_gelu_tanh", "missing term", NO_INNER)
def _(g, y, x):
    return [g * _tanh_form(x)[0]]


@mistake("_gelu_tanh", "missing term", NO_OUTER)
def _(g, y, x):
    s, du = _tanh_form(x)
    return [g * 2 * du * y * (1 - s)]


@mistake("_gelu_tanh", "forgotten inner derivative", "the derivative u' of the inside u(x) is left out")
def _(g, y, x):
    s, _ = _tanh_form(x)
    return [g * (s + 2 * y * (1 - s))]


@mistake("_gelu_tanh", "forgotten inner derivative", "of the inside u = √(2/π)(x + 0.044715 x³) only the first term is differentiated")
def _(g, y, x):
    s, _ = _tanh_form(x)
    return [g * (s + 2 * ROOT * y * (1 - s))]


@mistake("_gelu_tanh", "other function", "this is the gradient of the exact GELU, x Φ(x); the function is its tanh form")
def _(g, y, x):
    s, phi = _normal_form(x)
    return [g * (s + x * phi)]


@mistake("_gelu_erf", "missing term", NO_INNER)
def _(g, y, x):
    return [g * _normal_form(x)[0]]


@mistake("_gelu_erf", "missing term", NO_OUTER)
def _(g, y, x):
    return [g * x * _normal_form(x)[1]]


@mistake("_gelu_erf", "forgotten inner derivative", "the 1/√2 from the inside x/√2 of erf is left out")
def _(g, y, x):
    s, phi = _normal_form(x)
    return [g * (s + math.sqrt(2) * x * phi)]


@mistake("_gelu_erf", "other function", "this is the gradient of GELU's tanh form; the function is the exact one")
def _(g, y, x):
    s, du = _tanh_form(x)
    return [g * (s + 2 * du * x * s * (1 - s))]


@mistake("silu", "missing term", NO_INNER)
def _(g, y, x):
    return [g / (1 + np.exp(-x))]


@mistake("silu", "missing term", NO_OUTER)
def _(g, y, x):
    return [g * y * (1 - 1 / (1 + np.exp(-x)))]


def _elementwise(op: str, name: str, words: str, derivative: Callable[[Any, Any], Any]) -> None:
    mistake(op, name, words)(lambda g, y, x, **params: [g * derivative(y, x)])


_elementwise("tanh", "wrong argument", "1 − x² in place of 1 − y²: the derivative in terms of the output takes the output", lambda y, x: 1 - x * x)
_elementwise("tanh", "wrong derivative", "1 − y in place of 1 − y²", lambda y, x: 1 - y)
_elementwise("tanh", "other function", "y (1 − y), the derivative of the logistic function", lambda y, x: y * (1 - y))
_elementwise("sigmoid", "wrong argument", "x (1 − x) in place of y (1 − y): the derivative in terms of the output takes the output", lambda y, x: x * (1 - x))
_elementwise("sigmoid", "missing term", "y in place of y (1 − y)", lambda y, x: y)
_elementwise("sigmoid", "other function", "1 − y², the derivative of tanh", lambda y, x: 1 - y * y)
_elementwise("exp", "wrong argument", "x in place of eˣ", lambda y, x: x)
_elementwise("log", "wrong derivative", "x in place of 1/x", lambda y, x: x)
_elementwise("log", "wrong derivative", "1/log x in place of 1/x", lambda y, x: 1 / np.where(y == 0, np.inf, y))
_elementwise("sqrt", "wrong derivative", "√x/2 in place of 1/(2√x)", lambda y, x: y / 2)
_elementwise("square", "wrong derivative", "x² in place of 2x", lambda y, x: y)


@mistake("divide", "wrong derivative", "the square is missing: the derivative of a/b by b is −a/b², here it is −a/b")
def _(g, c, a, b):
    return [None, -g * c]


@mistake("divide", "wrong derivative", "the numerator is missing: the derivative of a/b by b is −a/b², here it is −1/b²")
def _(g, c, a, b):
    return [None, -g / (np.asarray(b) * b)]


@mistake("max", "wrong entries", "every entry gets the gradient; only the largest one should")
def _(g, y, x, axis=None, keepdims=False):
    return [np.broadcast_to(g if keepdims or axis is None else np.expand_dims(g, axis), x.shape)]


@mistake("var", "not centred", "2x/n in place of 2(x − μ)/n")
def _(g, y, x, axis=None, keepdims=False, ddof=0):
    n = x.size // max(1, y.size) - ddof
    return [(g if keepdims or axis is None else np.expand_dims(g, axis)) * 2 * x / n]
