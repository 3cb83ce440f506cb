r"""The mistakes that people make in the gradient of an op, each as the wrong rule that it amounts to.

A wrong rule is called as the right one, ``rule(g, y, *inputs, **params)``, on arrays, and returns what the mistake would give
for each input, None where it makes no difference.  ``diagnose`` pulls each one back to the inputs and compares; a test holds
``gradcheck`` to catching every one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


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
