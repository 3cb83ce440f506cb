r"""Modules: parameters with names, nested.  Linear weights are stored ``(in, out)``: :math:`Y = X W + b`.

It has more than 300 lines because the base class and the six small modules are read together.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from .modes import mode
from .ops.activations import gelu, linear_gelu
from .ops.dropout import dropout
from .ops.indexing import embedding
from .ops.linear import linear
from .random import generator
from .tensor import Tensor

__all__ = ["Dropout", "Embedding", "Linear", "Module", "ModuleList", "Parameter", "Sequential"]


class Parameter(Tensor):
    """A Tensor that a Module learns: it requires grad, and is float32 unless ``dtype`` says otherwise."""

    __slots__ = ()

    def __init__(self, data: Any, dtype: Any = np.float32, name: str | None = None) -> None:
        super().__init__(data, requires_grad=True, dtype=dtype, name=name)


_changes = [0]


def changes() -> int:
    """How often an attribute of any module was set, so that a program need not look at each."""
    return _changes[0]


class Module:
    """A function with parameters: attributes that are Parameters or Modules are found by name.

    Subclasses write ``forward``; the module is called as a function.
    """

    training = True  # whether dropout is on

    def __setattr__(self, name: str, value: Any) -> None:
        _changes[0] += 1
        object.__setattr__(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The computation; every subclass has its own."""
        raise TypeError(f"{type(self).__name__} defines no forward method")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tape = mode.get().tape
        if tape is not None:
            tape.modules[id(self)] = self
        return self.forward(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        known = [*self.__dict__, *(n for n in dir(type(self)) if not n.startswith("_"))]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(self.__dict__) or 'no attributes yet'}"
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}", name=name, obj=self)

    # Names -----------------------------------------------------------------------------------------------------------

    def children(self) -> Iterator[tuple[str, Module]]:
        """The modules that are attributes of this one, with their names.

        Raises TypeError for modules or parameters in a plain list, tuple, dict or set, which would be neither trained nor saved.
        """
        for name, value in self.__dict__.items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list | tuple | dict | set):
                for inner in value.values() if isinstance(value, dict) else value:
                    if isinstance(inner, Module | Parameter):
                        cure = "nn.ModuleList([...])" if isinstance(inner, Module) else "an attribute for each"
                        where = f"{type(self).__name__}.{name}: a {type(inner).__name__} in a plain {type(value).__name__}"
                        raise TypeError(f"{where} is neither trained nor saved; use {cure}")

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all inside it, with dotted names."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, under its first name; one that is shared (tied) is not repeated.

        Raises TypeError for a plain Tensor that requires grad, which would be neither trained nor saved.
        """
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in module.__dict__.items():
                if isinstance(value, Tensor) and not isinstance(value, Parameter) and value.requires_grad and value.history is None:
                    where = f"{type(module).__name__}.{name}: a Tensor that requires grad"
                    raise TypeError(f"{where} is neither trained nor saved; write nn.Parameter in place of Tensor")
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{prefix}.{name}" if prefix else name, value

    def parameters(self) -> list[Parameter]:
        """Every parameter once."""
        return [p for _, p in self.named_parameters()]

    def num_parameters(self) -> int:
        """How many numbers are learned; shared ones count once."""
        return sum(p.size for p in self.parameters())

    # Modes -----------------------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Switch to training: dropout is on."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation: dropout is off."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters():
            p.grad = None

    def astype(self, dtype: Any) -> Self:
        """Convert every parameter in place, to float64 for checks, say."""
        for p in self.parameters():
            p.data = p.data.astype(dtype)
            p.grad = None
        return self

    # State -----------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of every parameter, by name."""
        return {name: p.data.copy() for name, p in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Self:
        """Set the parameters from ``state``; checked as a whole before anything is changed.

        Raises ValueError for missing or unknown names (unless not ``strict``) and for shapes that differ.
        """
        if isinstance(state, str | os.PathLike):
            raise TypeError(f"{type(self).__name__}.load_state_dict: got the name {str(state)!r}; pass what is in the file: load({str(state)!r})")
        own = dict(self.named_parameters())
        missing = [n for n in own if n not in state]
        unknown = [n for n in state if n not in own]
        troubles = []
        if strict and missing:
            troubles.append(f"missing: {', '.join(missing[:5])}{' …' * (len(missing) > 5)}")
        if strict and unknown:
            troubles.append(f"unknown: {', '.join(unknown[:5])}{' …' * (len(unknown) > 5)}")
        new = {n: np.asarray(getattr(v, "data", v) if isinstance(v, Tensor) else v) for n, v in state.items() if n in own}
        for name, array in new.items():
            if array.shape != own[name].shape:
                troubles.append(f"{name} has shape {array.shape}, the model expects {own[name].shape}")
            elif array.dtype.kind not in "fiub":
                troubles.append(f"{name} has dtype {array.dtype}, the model expects numbers")
        if troubles:
            raise ValueError(f"{type(self).__name__}.load_state_dict: " + "; ".join(troubles))
        for name, array in new.items():
            own[name].data = array.astype(own[name].dtype)
        return self

    def __repr__(self) -> str:
        inside = "".join(f"\n  {name}: " + repr(child).replace("\n", "\n  ") for name, child in self.children())
        return f"{type(self).__name__}({self.describe()}{inside}{chr(10) if inside else ''})"

    def describe(self) -> str:
        """The sizes, for the printed form."""
        return ", ".join(f"{n} {v.shape}" for n, v in self.__dict__.items() if isinstance(v, Parameter))


class Linear(Module):
    """``x @ weight + bias``, (..., in) → (..., out); the weight starts normal with standard deviation ``std``
    (by default 1/√in), the bias at zero."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, std: float | None = None) -> None:
        if in_features < 1 or out_features < 1:
            raise ValueError(f"Linear: sizes must be positive, got {in_features} → {out_features}")
        std = 1 / math.sqrt(in_features) if std is None else std
        self.weight = Parameter(generator().normal(0, std, (in_features, out_features)))
        self.bias = Parameter(np.zeros(out_features)) if bias else None

    def forward(self, x: Any, activation: Callable[[Any], Any] | None = None) -> Tensor:
        """(..., in) → (..., out), through an ``activation`` if one is given (gelu and the product are then one op)."""
        if activation is gelu:
            return linear_gelu(x, self.weight, self.bias)
        y = linear(x, self.weight, self.bias)
        return y if activation is None else activation(y)


class Embedding(Module):
    """A learned row for every token id: (...) integers → (..., C)."""

    def __init__(self, num_embeddings: int, embedding_dim: int, std: float = 0.02) -> None:
        if num_embeddings < 1 or embedding_dim < 1:
            raise ValueError(f"Embedding: sizes must be positive, got {num_embeddings} rows of width {embedding_dim}")
        self.weight = Parameter(generator().normal(0, std, (num_embeddings, embedding_dim)))

    def forward(self, ids: Any) -> Tensor:
        """(...) → (..., C)."""
        return embedding(self.weight, ids)


class Dropout(Module):
    """Zeroes entries with probability ``p`` while training; does nothing in ``eval()``."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p={p}; expected a probability from 0 up to, but not including, 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; every call draws its own mask."""
        return dropout(x, self.p) if self.training and self.p else x

    def describe(self) -> str:
        """The probability."""
        return f"p={self.p}"


class ModuleList(Module):
    """Modules in a list, named by their numbers."""

    def __init__(self, modules: Sequence[Module] = ()) -> None:
        self._count = 0
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> Self:
        """Add one at the end."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: expected Modules, got {type(module).__name__}")
        setattr(self, str(self._count), module)
        self._count += 1
        return self

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return (self.__dict__[str(i)] for i in range(self._count))

    def __getitem__(self, i: int) -> Any:
        if not -self._count <= i < self._count:
            raise IndexError(f"{type(self).__name__}: index {i} of {self._count} modules")
        return self.__dict__[str(i % self._count)]


class Sequential(ModuleList):
    """Modules (or plain functions) applied one after the other."""

    def __init__(self, *modules: Any) -> None:
        super().__init__([m if isinstance(m, Module) else Function(m) for m in modules])

    def forward(self, x: Any) -> Any:
        """The last module's output."""
        for module in self:
            x = module(x)
        return x


class Function(Module):
    """A function without parameters as a Module."""

    def __init__(self, function: Any) -> None:
        if not callable(function):
            raise TypeError(f"expected a Module or a function, got {type(function).__name__}")
        self.function = function

    def forward(self, x: Any) -> Any:
        """Whatever the function does."""
        return self.function(x)


def functional_call(module: Module, parameters: Mapping[str, Tensor], call: Any) -> Any:
    """``call()`` while the module's parameters are replaced by the given Tensors: the model as a function of its parameters.

    A parameter that is shared is replaced wherever it stands.  Raises ValueError for an unknown name.
    """
    own = dict(module.named_parameters())
    if unknown := [name for name in parameters if name not in own]:
        raise ValueError(f"functional_call: {type(module).__name__} has no parameter {unknown[0]!r}")
    replacement = {id(own[name]): value for name, value in parameters.items()}
    places = [
        (inner, name, value) for inner in module.modules() for name, value in inner.__dict__.items() if id(value) in replacement
    ]
    try:
        for inner, name, value in places:
            setattr(inner, name, replacement[id(value)])
        return call()
    finally:
        for inner, name, value in places:
            setattr(inner, name, value)
