r"""A linear map and its GELU in one op: what goes wrong in either part, with the gradient :math:`\bar U` between them."""

from __future__ import annotations

from typing import Any

from ...ops.activations import _gelu_tanh
from ...ops.linear import linear
from .elementwise import _tanh_form
from .registry import MISTAKES, Mistake, mistake


def _linear_parts(du: Any, x: Any, weight: Any) -> list[Any]:
    """The right gradients of x, W and b, given Ū."""
    return [du @ weight.T, x.reshape(-1, len(weight)).T @ du.reshape(-1, weight.shape[1]), du]


def _within_gelu(part: Mistake) -> Any:
    def rule(g, y, x, weight, bias=None, saved=None):
        u = linear(x, weight, bias).data
        du = part.rule(g, _gelu_tanh(u).data, u)[0]
        return _linear_parts(du, x, weight)

    return rule


def _within_linear(part: Mistake) -> Any:
    def rule(g, y, x, weight, bias=None, saved=None):
        u = linear(x, weight, bias).data
        s, slope = _tanh_form(u)
        return part.rule(g * (s + 2 * slope * u * s * (1 - s)), y, x, weight, bias)

    return rule


for _part in MISTAKES["_gelu_tanh"]:
    mistake("linear_gelu", _part.name, f"in the GELU: {_part.words}")(_within_gelu(_part))
for _part in MISTAKES["linear"]:
    mistake("linear_gelu", _part.name, _part.words)(_within_linear(_part))
mistake("linear_gelu", "forgotten activation", "the gradient of GELU is left out: Ȳ is taken for Ū, the gradient of U = X W + b")(
    lambda g, y, x, weight, bias=None, saved=None: _linear_parts(g, x, weight)
)
