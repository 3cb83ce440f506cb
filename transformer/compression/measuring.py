"""The formulas' witness: it watches the matrix products that NumPy really computes, and the arrays that a graph really keeps.

Within ``watch()`` the ops that multiply matrices get and give their arrays as ``Seen`` ones, whose products are tallied; outside of it
nothing is different, so the engine pays nothing for it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from minigrad import Tensor, nn
from minigrad.graph import reachable

from .hooks import intercepted

# The ops that multiply matrices themselves; others go through these.
PRODUCTS = ("matmul", "linear", "linear_gelu", "attention", "_einsum", "grouped_linear", "grouped_outer")

_watching: list[Work] = []
_running: list[str] = []  # the op whose products are being made


class Work:
    """What was computed: FLOPs in all, and by op."""

    def __init__(self) -> None:
        self.by_op: Counter[str] = Counter()

    @property
    def flops(self) -> int:
        return self.by_op.total()


class Seen(np.ndarray):
    """An array whose matrix products are tallied.  A product with a column of ones that is no input is a sum, and is not."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [bare(x) for x in inputs]
        if "out" in kwargs:
            kwargs["out"] = bare(kwargs["out"])
        result = getattr(ufunc, method)(*plain, **kwargs)
        if ufunc is np.matmul and all(isinstance(x, Seen) for x in inputs):
            tally(2 * result.size * plain[0].shape[-1])
        return seen(result)

    def dot(self, other: Any, out: Any = None) -> Any:
        """The product with a matrix; two vectors are the sum of a row, and not tallied."""
        result = bare(self).dot(bare(other))
        if isinstance(other, Seen) and other.ndim > 1:
            tally(2 * np.size(result) * self.shape[-1])
        return seen(result)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = function(*bare(args), **bare(kwargs))
        if function is np.einsum and len(args) > 2:
            sizes = dict(letter for term, x in zip(args[0].split("->")[0].split(","), args[1:], strict=True) for letter in zip(term, x.shape))
            tally(2 * math.prod(sizes.values()))
        return seen(result)


def tally(flops: int) -> None:
    """Add to the work of everyone who watches."""
    for work in _watching:
        work.by_op[_running[-1] if _running else "elsewhere"] += flops


def seen(x: Any) -> Any:
    """Arrays of floats, also inside lists and tuples, as Seen views."""
    if isinstance(x, np.ndarray):
        return x.view(Seen) if x.dtype.kind == "f" else x
    return type(x)(map(seen, x)) if type(x) in (list, tuple) else x


def bare(x: Any) -> Any:
    """The same as ordinary arrays."""
    if isinstance(x, Seen):
        return x.view(np.ndarray)
    if type(x) is dict:
        return {name: bare(value) for name, value in x.items()}
    return type(x)(map(bare, x)) if type(x) in (list, tuple) else x


def watched(name: str, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The forward or a rule of an op, on Seen arrays; on Tensors, for higher derivatives, the ops that it is made of are watched."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(x, Tensor) for x in args):
            return function(*args, **kwargs)
        _running.append(name)
        try:
            return bare(function(*map(seen, args), **{key: seen(value) for key, value in kwargs.items()}))
        finally:
            _running.pop()

    return call


@contextmanager
def watch() -> Iterator[Work]:
    """Within it, the FLOPs of all matrix products are counted, forward and backward, of every thread (see ``costs`` for what counts)."""
    work = Work()
    _watching.append(work)
    try:
        with intercepted(PRODUCTS, watched) if len(_watching) == 1 else nullcontext():
            yield work
    finally:
        _watching.remove(work)


def kept_bytes(output: Tensor, model: nn.Module) -> int:
    """The bytes of all floats that the graph behind ``output`` keeps for a backward pass, the output included, the parameters not."""
    order, _, _ = reachable([output])
    owners = {id(owner(p.data)) for p in model.parameters()}
    found: dict[int, int] = {}
    for t in order:
        for array in arrays_in([t.data, t.history[2], list(t.history[3].values())]):
            whole = owner(array)
            if id(whole) not in owners and whole.dtype.kind == "f":
                found[id(whole)] = whole.nbytes
    return sum(found.values())


def arrays_in(x: Any) -> Iterator[np.ndarray]:
    if isinstance(x, np.ndarray):
        yield x
    elif isinstance(x, list | tuple):
        for item in x:
            yield from arrays_in(item)


def owner(array: np.ndarray) -> np.ndarray:
    """The array whose memory this one looks at."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
