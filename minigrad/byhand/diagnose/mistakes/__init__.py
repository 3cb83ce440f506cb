r"""The mistakes that people make in the gradient of an op, each as the wrong rule that it amounts to.

A wrong rule is called as ``rule(g, y, *inputs, **params)``, on arrays, and returns what the mistake would give for
each input, None where it makes no difference.  ``diagnose`` pulls each one back to the inputs and compares; a test
holds ``gradcheck`` to catching every one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Mistake(NamedTuple):
    """Its name, what it is in words, and the wrong rule."""

    name: str
    words: str
    rule: Callable[..., Any]


MISTAKES: dict[str, list[Mistake]] = {}  # by the name of the op
COMPOSED: dict[str, list[Mistake]] = {}  # of functions that are no op but are recognised: rule(g, y, x, axis, s)


def mistake(
    op: str, name: str, words: str, registry: dict[str, list[Mistake]] = MISTAKES
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the function is what the op's rule becomes by this mistake."""

    def note(rule: Callable[..., Any]) -> Callable[..., Any]:
        registry.setdefault(op, []).append(Mistake(name, words, rule))
        return rule

    return note


from . import elementwise, normalisers, products, reductions  # noqa: E402  (they fill the registry)  # isort: skip

__all__ = ["COMPOSED", "MISTAKES", "Mistake", "elementwise", "mistake", "normalisers", "products", "reductions"]
