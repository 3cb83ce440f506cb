"""A function at a point, in float64: its outputs near the point and its gradient there, always from the same random
draws."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..derivatives import leaves as tree_leaves
from ..derivatives import rebuild, vjp
from ..modes import enable_grad, no_grad
from ..ops.declare import arrays_of
from ..random import generator
from ..tensor import Tensor
from .differences import Line

CUT = "the result does not depend on the inputs through recorded ops; .data, np.asarray or detach() cut the graph"


def as_float64(tree: Any, title: str = "gradcheck") -> Any:
    """A tree of arrays of our own, real numbers in float64 and integers as they are; TypeError for complex numbers."""

    def convert(x: Any) -> np.ndarray:
        array = np.array(x.data if isinstance(x, Tensor) else x)
        if array.dtype.kind == "c":
            raise TypeError(
                f"{title}: complex inputs are not supported; check the real and imaginary parts as two real inputs"
            )
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{title}: expected numbers, got {type(x).__name__} with dtype {array.dtype}")
        return array.astype(np.float64) if array.dtype.kind == "f" else array

    return rebuild(tree, [convert(x) for x in tree_leaves(tree)])


def arranged(
    f: Callable[..., Any], inputs: tuple[Any, ...], names: list[str] | None, title: str
) -> tuple[Any, tuple[Any, ...], list[str] | None]:
    """The function, its inputs one by one and their names, also when they were given in one tuple, list or dict.

    Raises TypeError when ``f`` takes another number of arguments, ValueError for another number of names.
    """
    if len(inputs) == 1 and isinstance(inputs[0], Mapping | list | tuple) and not binds(f, 1):
        (one,) = inputs
        if isinstance(one, Mapping):
            keys = list(one)
            if not takes(f, keys):
                raise TypeError(
                    f"{title}: the inputs are {', '.join(map(str, keys))}, but the function takes {_parameters(f)}"
                )
            return (lambda *xs: f(**dict(zip(keys, xs, strict=True)))), tuple(one.values()), names or keys
        inputs = tuple(one)
    if not binds(f, len(inputs)):
        given = f"{len(inputs)} {'is' if len(inputs) == 1 else 'are'}"
        raise TypeError(
            f"{title}: the function takes {arity(f)} arguments, but {given} given; pass them one by one, or in one"
            " tuple or list"
        )
    if names is not None and len(names) != len(inputs) and len(inputs) == len(tree_leaves(list(inputs))):
        raise ValueError(f"{title}: {len(names)} names for {len(inputs)} inputs; give one for each")
    return f, inputs, names


def takes(f: Callable[..., Any], keys: list[str]) -> bool:
    """Whether ``f`` can be called with these keywords."""
    try:
        inspect.signature(f).bind(**dict.fromkeys(keys))
    except (TypeError, ValueError):
        return False
    return True


def binds(f: Callable[..., Any], n: int) -> bool:
    """Whether ``f`` can be called with so many positional arguments, as far as it is known."""
    try:
        inspect.signature(f).bind(*range(n))
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def arity(f: Callable[..., Any]) -> int:
    """The number of arguments that ``f`` needs, −1 when nobody knows."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return -1
    return len(
        [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    )


def _parameters(f: Callable[..., Any]) -> str:
    return ", ".join(inspect.signature(f).parameters)


def floating(arrays: list[np.ndarray], title: str) -> list[int]:
    """The numbers of the floating-point inputs; TypeError when there are none."""
    found = [i for i, x in enumerate(arrays) if x.dtype.kind == "f"]
    if not found:
        kinds = [str(x.dtype) for x in arrays]
        raise TypeError(
            f"{title}: no floating-point input to differentiate with respect to; got {kinds}. Write 2.0 for 2, or"
            " x.astype(float)"
        )
    return found


def only_tensors(title: str, output: Any) -> list[Tensor]:
    """The outputs in a tree of them; TypeError when they are not all Tensors."""
    outputs = tree_leaves(output)
    if not outputs or not all(isinstance(t, Tensor) for t in outputs):
        raise TypeError(
            f"{title}: the function must return Tensors, got {type(output).__name__}; .data or float() loses the"
            " gradient"
        )
    return outputs


def draw_upstream(weights: list[np.ndarray], outputs: list[Tensor], rng: np.random.Generator) -> None:
    """A random upstream gradient for each output, 1 for a scalar; drawn once."""
    for t in outputs[len(weights) :]:
        weights.append(rng.normal(size=t.shape) if t.ndim else np.ones(()))


class Problem:
    """A function at a point: its outputs near it, its gradient there, both from the same draws of the random
    generator."""

    def __init__(self, f: Callable[..., Any], arrays: Any, title: str, rng: np.random.Generator) -> None:
        self.f, self.arrays, self.title, self.rng = f, arrays, title, rng
        self.flat = [np.array(x) for x in tree_leaves(arrays)]
        self.which = floating(self.flat, title)
        self.state = generator().bit_generator.state
        self.weights: list[np.ndarray] = []
        self.eps = float(np.finfo(np.float64).eps)
        self.centre = self.outputs(self.flat, watch=True)
        if np.isnan(self.centre).any():
            raise ValueError(f"{title}: the function gives nan at these inputs, so there is nothing to compare")
        if not np.isfinite(self.centre).all() and title == "gradcheck":
            raise ValueError(
                f"{title}: the function gives infinity at these inputs (an overflow, a division by zero or a logarithm"
                " of zero), so it has no gradient there; try smaller inputs, or away from the edge of its domain"
            )
        if not np.array_equal(self.centre, self.outputs(self.flat)):
            raise RuntimeError(
                f"{title}: two calls with the same inputs gave different values; take randomness from minigrad's"
                " generator or fix it"
            )

    def call(self, values: list[Any], watch: bool = False) -> list[Tensor]:
        """The outputs as Tensors; with ``watch``, RuntimeError when ``f`` writes into what it is given."""
        generator().bit_generator.state = self.state
        before = [np.array(arrays_of(x)) for x in values] if watch else []
        outputs = only_tensors(self.title, self.f(*rebuild(self.arrays, values)))
        if any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(before, values, strict=False)):
            raise RuntimeError(f"{self.title}: the function changed its inputs in place; let it work on copies")
        draw_upstream(self.weights, outputs, self.rng)
        return outputs

    def outputs(self, values: list[np.ndarray], watch: bool = False) -> np.ndarray:
        """All outputs in one vector."""
        differentiates = self.title == "gradgradcheck"  # inside f
        with enable_grad() if differentiates else no_grad(), np.errstate(all="ignore"):
            found = self.call([Tensor(x) if i in self.which else x for i, x in enumerate(values)], watch)
        self.eps = max([self.eps, *(float(np.finfo(t.dtype).eps) for t in found if t.dtype.kind == "f")])
        return np.concatenate([t.data.ravel().astype(np.float64) for t in found])

    def gradient(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """What the engine says, for each floating-point input."""

        def outputs(*chosen: Any) -> list[Tensor]:
            full: list[Any] = list(values)
            for i, x in zip(self.which, chosen, strict=True):
                full[i] = x
            return self.call(full, watch=True)

        with np.errstate(all="ignore"):
            found, pull = vjp(outputs, *(values[i] for i in self.which))
            if self.title == "gradcheck" and not any(t.requires_grad for t in found):
                raise TypeError(f"{self.title}: {CUT}")
            return [
                np.asarray(g.data) for g in pull(self.weights)
            ]  # zeros where the gradient is constant and gradgradcheck differentiates it

    def line(self, values: list[np.ndarray], centre: np.ndarray, i: int, direction: np.ndarray, size: float) -> Line:
        """The outputs along one direction of input ``i``."""

        def outputs(step: float) -> np.ndarray:
            moved = list(values)
            moved[i] = values[i] + step * direction
            return self.outputs(moved)

        return Line(outputs, centre, np.concatenate([w.ravel() for w in self.weights]), size, self.eps)
