r"""Layer norm and its kin: x acts directly, through :math:`\mu` and through :math:`\sigma`, and one of the paths is forgotten."""

from __future__ import annotations

import numpy as np

from .registry import mistake


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
