r"""Activations, powers and reductions: inner derivatives that are left out, and derivatives taken at the wrong place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...ops.numerics import erf
from .registry import mistake

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
def _(g, y, x, saved=None):
    return [g * _tanh_form(x)[0]]


@mistake("_gelu_tanh", "missing term", NO_OUTER)
def _(g, y, x, saved=None):
    s, du = _tanh_form(x)
    return [g * 2 * du * y * (1 - s)]


@mistake("_gelu_tanh", "forgotten inner derivative", "the derivative u' of the inside u(x) is left out")
def _(g, y, x, saved=None):
    s, _ = _tanh_form(x)
    return [g * (s + 2 * y * (1 - s))]


@mistake("_gelu_tanh", "forgotten inner derivative", "of the inside u = √(2/π)(x + 0.044715 x³) only the first term is differentiated")
def _(g, y, x, saved=None):
    s, _ = _tanh_form(x)
    return [g * (s + 2 * ROOT * y * (1 - s))]


@mistake("_gelu_tanh", "other function", "this is the gradient of the exact GELU, x Φ(x); the function is its tanh form")
def _(g, y, x, saved=None):
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
def _(g, y, x, saved=None):
    return [g / (1 + np.exp(-x))]


@mistake("silu", "missing term", NO_OUTER)
def _(g, y, x, saved=None):
    return [g * y * (1 - 1 / (1 + np.exp(-x)))]


def _elementwise(op: str, name: str, words: str, derivative: Callable[[Any, Any], Any]) -> None:
    mistake(op, name, words)(lambda g, y, x, **params: [g * derivative(y, x)])


OF_OUTPUT = "the derivative in terms of the output takes the output"
_elementwise("tanh", "wrong argument", f"1 − x² in place of 1 − y²: {OF_OUTPUT}", lambda y, x: 1 - x * x)
_elementwise("tanh", "wrong derivative", "1 − y in place of 1 − y²", lambda y, x: 1 - y)
_elementwise("tanh", "other function", "y (1 − y), the derivative of the logistic function", lambda y, x: y * (1 - y))
_elementwise("sigmoid", "wrong argument", f"x (1 − x) in place of y (1 − y): {OF_OUTPUT}", lambda y, x: x * (1 - x))
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
