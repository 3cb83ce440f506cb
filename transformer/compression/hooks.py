"""Standing between the engine and its ops for a while, to watch or to round what goes through; outside of it the engine pays nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from minigrad.graph import REGISTRY
from minigrad.ops import declare

Wrap = Callable[[str, str, Callable[..., Any]], Callable[..., Any]]


@contextmanager
def intercepted(names: Iterable[str], wrap: Wrap) -> Iterator[None]:
    """Within it the forward and the rules of these ops are what ``wrap(name, "forward" | "rule", function)`` gives, in every thread."""
    ops = [REGISTRY[name] for name in names]
    declare.intercepted += 1
    before = [(op, dict(op.__dict__), list(op.rules)) for op in ops]
    for op in ops:
        op.forward = wrap(op.name, "forward", op.forward)
        op.rules[:] = [rule and wrap(op.name, "rule", rule) for rule in op.rules]
        op.joint = op.joint and wrap(op.name, "rule", op.joint)
    try:
        yield
    finally:
        declare.intercepted -= 1
        for op, attributes, rules in before:
            op.__dict__.clear()
            op.__dict__.update(attributes)
            op.rules[:] = rules
