"""What ``diagnose`` is asked: a function at its inputs, in whichever form they were given, and the gradients that are claimed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..modes import enable_grad, no_grad
from ..random import generator
from ..tensor import Tensor
from .differences import Line, slope
from .problem import CUT, as_float64
from .recording import Recording


class Question:
    """The function at its inputs: recorded once, and called again for differences."""

    def __init__(self, f: Callable[..., Any], inputs: Any, upstream: Any, names: list[str] | None) -> None:
        self.f = f
        self.keys: list[str] | None = list(inputs) if isinstance(inputs, Mapping) else None
        self.alone = not isinstance(inputs, Mapping | list | tuple)
        given = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs] if self.alone else list(inputs)
        if any(isinstance(x, Mapping | list | tuple) for x in given if not _is_data(x)):
            raise TypeError("diagnose: nested inputs; give one array, a flat list or tuple, or a flat dict of arrays")
        self.as_tree = self.keys is not None and not _takes(f, self.keys)
        self.arrays = as_float64(given, "diagnose") if all(not isinstance(x, Mapping | list | tuple) for x in given) else _arrays(given)
        self.which = [i for i, x in enumerate(self.arrays) if x.dtype.kind == "f"]
        if not self.which:
            raise TypeError(f"diagnose: no floating-point input to differentiate by; got {[str(x.dtype) for x in self.arrays]}")
        named = [getattr(x, "name", None) if isinstance(x, Tensor) else None for x in given]
        own = names or self.keys or _argument_names(f, len(given))
        self.names = [own[i] if names and i < len(names) else named[i] or own[i] for i in range(len(given))]
        self.state = generator().bit_generator.state
        variables = [Tensor(x, requires_grad=i in self.which, name=self.names[i]) if i in self.which else x for i, x in enumerate(self.arrays)]
        with enable_grad():
            output = self.call(variables)
        if not output.requires_grad:
            raise TypeError(f"diagnose: {CUT}")
        if upstream is None and output.size != 1:
            raise ValueError(
                f"diagnose: the function returns shape {output.shape}, so its gradient needs an upstream gradient: "
                "pass upstream=array of that shape, or reduce to a scalar (a loss)"
            )
        self.upstream = np.ones(output.shape) if upstream is None else np.array(getattr(upstream, "data", upstream), np.float64)
        if self.upstream.shape != output.shape:
            raise ValueError(f"diagnose: the upstream gradient has shape {self.upstream.shape}; expected {output.shape}, the shape of the output")
        self.recording = Recording(output, self.upstream.astype(output.dtype), [variables[i] for i in self.which])
        self.variable_names = [self.names[i] for i in self.which]

    def call(self, values: list[Any]) -> Tensor:
        """``f`` in the form in which its inputs were given, with the same draws of the random generator each time."""
        before = generator().bit_generator.state
        generator().bit_generator.state = self.state
        try:
            output = self.shaped(self.f, values)
        finally:
            generator().bit_generator.state = before
        if not isinstance(output, Tensor):
            raise TypeError(f"diagnose: the function must return one Tensor, got {type(output).__name__}; .data or float() loses the gradient")
        return output

    def shaped(self, function: Callable[..., Any], values: list[Any]) -> Any:
        """A call with one array, with positions, with keywords or with a dict."""
        if self.keys is None:
            return function(*values)
        arguments = dict(zip(self.keys, values, strict=True))
        return function(arguments) if self.as_tree else function(**arguments)

    def match(self, claimed: Any) -> dict[int, np.ndarray]:
        """The claimed arrays by the number of their variable; ValueError when they do not belong to the inputs."""
        if callable(claimed) and not isinstance(claimed, Tensor | np.ndarray):
            claimed = self.shaped(claimed, [np.array(x) for x in self.arrays])
        n = len(self.which)
        if isinstance(claimed, Mapping):
            unknown = [name for name in claimed if name not in self.variable_names]
            if unknown:
                raise ValueError(f"diagnose: claimed a gradient of {unknown[0]!r}; the inputs are {', '.join(self.variable_names)}")
            pairs = [(self.variable_names.index(name), value) for name, value in claimed.items()]
        elif n == 1 and not self.listed(claimed):
            pairs = [(0, claimed)]
        elif not isinstance(claimed, list | tuple):
            raise ValueError(f"diagnose: {n} inputs ({', '.join(self.variable_names)}) need {n} claimed gradients, as a list or a dict by name")
        elif len(claimed) == n:
            pairs = list(enumerate(claimed))
        elif len(claimed) == len(self.arrays):
            pairs = [(self.which.index(i), value) for i, value in enumerate(claimed) if i in self.which]
        else:
            raise ValueError(f"diagnose: {len(claimed)} claimed gradients for {n} inputs ({', '.join(self.variable_names)}); None leaves one out")
        found = {i: _as_claim(value, self.variable_names[i]) for i, value in pairs if value is not None}
        if not found:
            raise ValueError("diagnose: no gradient is claimed")
        return found

    def listed(self, claimed: Any) -> bool:
        """Whether a claim for the one variable is given in a list, and is not itself a list of numbers."""
        if not isinstance(claimed, list | tuple):
            return False
        if len(claimed) == len(self.arrays) > 1:
            return all(claimed[i] is None for i in range(len(claimed)) if i not in self.which)
        return len(claimed) == 1 and np.ndim(claimed[0]) == self.recording.gradients[0].ndim

    def difference(self, i: int, where: tuple[int, ...]) -> float:
        """The derivative by one entry, by central differences: who is right?"""
        x = self.arrays[self.which[i]]
        direction = np.zeros(x.shape)
        direction[where] = 1

        def outputs(step: float) -> np.ndarray:
            values = list(self.arrays)
            values[self.which[i]] = x + step * direction
            with no_grad(), np.errstate(all="ignore"):
                return self.call([Tensor(v) if k in self.which else v for k, v in enumerate(values)]).data.ravel()

        size = max(1.0, abs(float(x[where]))) if np.isfinite(x[where]) else 1.0
        line = Line(outputs, outputs(0.0), self.upstream.ravel(), size, float(np.finfo(np.float64).eps))
        right = float(self.recording.gradients[i][where])
        return slope(line, right, 1e-6, abs(right), abs(float(x[where]))).value


def _is_data(x: Any) -> bool:
    """A nested list of numbers, such as token ids."""
    return isinstance(x, list | tuple) and np.asarray(x, object).dtype == object and all(isinstance(i, int | float) for i in np.ravel(x))


def _arrays(given: list[Any]) -> list[np.ndarray]:
    return [as_float64(np.asarray(x) if isinstance(x, list | tuple) else x, "diagnose") for x in given]


def _takes(f: Callable[..., Any], keys: list[str]) -> bool:
    """Whether ``f`` can be called with these keywords."""
    try:
        inspect.signature(f).bind(**dict.fromkeys(keys))
    except (TypeError, ValueError):
        return False
    return True


def _argument_names(f: Callable[..., Any], n: int) -> list[str]:
    """The names of the first ``n`` arguments of ``f``, where it has names for them."""
    try:
        parameters = inspect.signature(f).parameters.values()
        found = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        found = []
    return [found[i] if i < len(found) else f"x{i}" for i in range(n)]


def _as_claim(value: Any, name: str) -> np.ndarray:
    array = np.asarray(value.data if isinstance(value, Tensor) else value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"diagnose: the claimed gradient of {name} must be real numbers, got {type(value).__name__} with dtype {array.dtype}")
    return array if array.dtype.kind == "f" else array.astype(np.float64)
