"""The Tensor: an array, its gradient, and NumPy's grammar.  Sugar only; the calculus is in ``ops`` and ``graph``.

What it has from NumPy's arrays (``sum``, ``reshape``, ``mT``, ``item``, ...) is in ``numpy_api.methods``.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from . import graph
from .guards import note_write, short
from .modes import mode
from .numpy_api.methods import NumPyMethods
from .numpy_api.names import WITHOUT_DERIVATIVE
from .numpy_api.ops import mod
from .numpy_protocol import call_function, call_ufunc
from .ops import arithmetic as a
from .ops import indexing
from .ops.declare import BY_NUMPY, arrays_of, recorded, refuse_hidden
from .ops.linear import matmul

UNSET = {"name": None, "grad": None}


@recorded
def _copy(data: Any, dtype: Any) -> np.ndarray:
    return np.array(data, dtype=dtype)


Operator = Callable[["Tensor", Any], "Tensor"]


def _operator(name: str, op: Callable[..., Tensor]) -> tuple[Operator, Operator, Operator]:
    """An operator with a Tensor on its left, with one on its right, and as an augmented assignment."""

    def left(self: Tensor, other: Any) -> Tensor:
        return op(self, other)

    def right(self: Tensor, other: Any) -> Tensor:
        return op(other, self)

    def augmented(self: Tensor, other: Any) -> Tensor:
        return self._becomes(op(self, other))

    for function, prefix in ((left, ""), (right, "r"), (augmented, "i")):
        _named(function, f"__{prefix}{name}__")
    return left, right, augmented


def _comparison(compare: Callable[[Any, Any], Any]) -> Any:
    """A comparison, which has no derivative and gives an array."""

    def compared(self: Tensor, other: Any) -> Any:
        return compare(self.data, arrays_of(other))

    return _named(compared, f"__{compare.__name__}__")


def _named(method: Any, name: str) -> Any:
    """The method under the name by which it is known."""
    method.__name__, method.__qualname__ = name, f"Tensor.{name}"
    return method


@graph.results_are
class Tensor(NumPyMethods):
    """An array that remembers how it was computed, so that derivatives can be taken.

    ``data`` (anything that ``np.array`` takes) is copied; with ``requires_grad`` its gradient is kept in ``grad`` after
    ``backward()``.  ``name`` is used in explanations and drawings.  Raises TypeError for data that are not real numbers,
    and for integers that should require grad.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None, name: str | None = None) -> None:
        if isinstance(data, graph.Value):
            if requires_grad and data.history is not None:
                raise TypeError(
                    f"Tensor: a copy of the result of {data.history[0].name} that requires grad would be cut off from what it was computed "
                    "from; use the result as it is, or copy its numbers: Tensor(t.data, requires_grad=True)"
                )
        elif type(data) in (list, tuple):
            refuse_hidden(data)
        try:
            array = arrays_of(_copy(data, dtype))
        except (ValueError, TypeError) as error:
            raise TypeError(f"Tensor: cannot make an array of {short(data)}: {error}") from error
        if array.dtype.kind not in "biuf":
            raise TypeError(f"Tensor: expected real numbers, got dtype {array.dtype} from {short(data)}")
        self.data = array
        self.history = None
        self.tick = 0
        self.grad = None
        self.name = name
        self.requires_grad = False
        if requires_grad:
            self.requires_grad_()
        if (tape := mode.get().tape) is not None and isinstance(data, graph.Value):
            tape.watched(self)

    def __getattr__(self, name: str) -> Any:
        if name in UNSET:
            return UNSET[name]
        if name == "unsqueeze":
            raise AttributeError("Tensor has no attribute 'unsqueeze'; NumPy writes np.expand_dims(t, axis) or t[:, None]", name=name, obj=self)
        function: Any = getattr(np, name, None) if callable(getattr(np.ndarray, name, None)) and name != "sort" else None
        if function in BY_NUMPY or function in WITHOUT_DERIVATIVE:
            return partial(function, self)  # NumPy's other methods that write nothing, by its function of that name
        close = difflib.get_close_matches(name, [n for n in dir(type(self)) if not n.startswith("_")], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ". A NumPy array with all its methods is in .data"
        raise AttributeError(f"Tensor has no attribute {name!r}{hint}", name=name, obj=self)

    # What it is ---------------------------------------------------------------------------------------------------------

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user and not by a recorded op."""
        return self.history is None

    def __repr__(self) -> str:
        text = np.array2string(self.data, separator=", ", prefix="Tensor(")
        extra = "" if self.data.dtype == np.float64 else f", dtype={self.data.dtype}"
        if self.name:
            extra += f", name={self.name!r}"
        if self.history is graph.FREED:
            extra += ", graph freed"
        elif self.history:
            extra += f", op={self.history[0].name}"
        elif self.requires_grad:
            extra += ", requires_grad=True"
        return f"Tensor({text}{extra})"

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.size == 1 else self.data, spec) if spec else str(self)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a Tensor without axes; .item() gives its number")
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise TypeError("iteration over a Tensor without axes; .item() gives its number")
        return (self[i] for i in range(len(self.data)))

    # Gradients ----------------------------------------------------------------------------------------------------------

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for the gradient of a leaf (or stop asking), in place."""
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(
                f"a Tensor of {self.data.dtype} cannot require grad: derivatives need real numbers. "
                "Write Tensor(data, requires_grad=True, dtype=np.float64), or decimals such as 1.0"
            )
        if self.history is not None and not requires_grad:
            raise RuntimeError("requires_grad_: this is the result of an op; detach() gives one without a history")
        self.requires_grad = requires_grad
        return self

    def detach(self) -> Tensor:
        """The same array without a history: a constant for everything that follows."""
        return graph.wrap(self.data)

    def retain_grad(self) -> Tensor:
        """Keep the gradient of this interior tensor in ``grad`` during backward."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require grad, so no gradient will reach it")
        if self.history is graph.FREED:
            raise RuntimeError(
                "retain_grad: backward() has been here and freed the graph; ask before it, or pass backward(retain_graph=True)"
            )
        if self.history:
            self.history = (*self.history[:4], True)
        return self

    def zero_grad(self) -> None:
        """Forget the gradient, before the next backward pass adds to it."""
        self.grad = None

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add the gradient of this tensor to ``grad`` of every leaf that it was computed from.

        ``gradient`` is the upstream gradient, of this tensor's shape; a scalar needs none.  ``retain_graph`` keeps the
        graph for another pass (default: ``create_graph``); ``create_graph`` records the backward pass itself.  Raises
        RuntimeError when there is nothing to differentiate or the graph is gone, ValueError for a wrong shape.
        """
        if not self.requires_grad:
            raise RuntimeError(
                "backward: this tensor does not require grad: nothing that it was computed from does, or it was computed "
                "under no_grad(). Make the inputs with Tensor(data, requires_grad=True)."
            )
        g = upstream_gradient(self, gradient)
        keep = create_graph if retain_graph is None else retain_graph
        graph.pullback([self], [g if create_graph else g.data], retain_graph=keep, create_graph=create_graph)

    # Operators ----------------------------------------------------------------------------------------------------------

    __add__, __radd__, __iadd__ = _operator("add", a.add)
    __sub__, __rsub__, __isub__ = _operator("sub", a.subtract)
    __mul__, __rmul__, __imul__ = _operator("mul", a.multiply)
    __truediv__, __rtruediv__, __itruediv__ = _operator("truediv", a.divide)
    __pow__, __rpow__, __ipow__ = _operator("pow", a.power)
    __matmul__, __rmatmul__, __imatmul__ = _operator("matmul", matmul)
    __mod__, __rmod__ = _operator("mod", mod)[:2]

    def _becomes(self, result: Tensor) -> Tensor:
        """What augmented assignment makes of it: a new Tensor; a leaf that requires grad moves in place under ``no_grad``."""
        if self.history is not None or not self.requires_grad:
            return result
        if not mode.get().grad:
            self[...] = result
            return self
        if self.grad is not None:
            raise RuntimeError(
                f"augmented assignment to a leaf of shape {self.shape} that has a gradient makes a new Tensor and leaves "
                "the leaf where it is. To move it, write `with no_grad(): p -= ...`, as an optimizer does; for a new "
                "Tensor write q = p - ..."
            )
        return result

    def __neg__(self) -> Tensor:
        return a.negative(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return a.abs(self)

    __eq__, __ne__ = _comparison(operator.eq), _comparison(operator.ne)
    __lt__, __le__ = _comparison(operator.lt), _comparison(operator.le)
    __gt__, __ge__ = _comparison(operator.gt), _comparison(operator.ge)
    __hash__ = object.__hash__

    def __getitem__(self, index: Any) -> Tensor:
        return indexing.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        if self.history is not None:
            made_by = self.history[0].name if self.history is not graph.FREED else "an op"
            raise RuntimeError(
                f"in-place write into the result of {made_by}, shape {self.shape}: the graph still needs its values. "
                "Use minigrad.where(mask, a, b), or write into t.detach().copy()"
            )
        if self.requires_grad and mode.get().grad:
            raise RuntimeError(
                f"in-place write into a leaf of shape {self.shape} that requires grad: ops that read it would get wrong "
                "gradients. Write under `with no_grad():`, as an optimizer does"
            )
        if isinstance(value, graph.Value) and value.requires_grad and mode.get().grad:
            raise RuntimeError(
                "in-place write of a value that requires grad would drop its gradient; "
                "use minigrad.where(mask, a, b) or minigrad.concatenate([...])"
            )
        note_write(self.data)
        self.data[arrays_of(index)] = arrays_of(value)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return call_function(function, args, kwargs)

    def __deepcopy__(self, memo: Any) -> Tensor:
        if self.history is not None:
            raise RuntimeError("deepcopy: this is the result of an op; copy.deepcopy works on leaves, t.detach().copy() on any tensor")
        new = type(self).__new__(type(self))
        for slot, value in (("history", None), ("tick", 0), ("name", self.name)):
            setattr(new, slot, value)
        new.data = self.data.copy()
        new.requires_grad = self.requires_grad
        new.grad = None if self.grad is None else graph.wrap(self.grad.data.copy())
        memo[id(self)] = new
        return new


def upstream_gradient(output: Tensor, gradient: Any) -> Tensor:
    """The gradient to start from, checked: ones for a scalar, or the given one in the output's shape and dtype."""
    if gradient is None:
        if output.size != 1:
            raise RuntimeError(
                f"backward: a tensor of shape {output.shape} needs an upstream gradient of that shape; "
                "reduce it to a scalar first (t.sum().backward()), or pass backward(gradient)"
            )
        return graph.wrap(np.ones(output.shape, output.dtype))
    g = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
    if g.shape != output.shape:
        raise ValueError(f"backward: the upstream gradient has shape {g.shape}; expected {output.shape}, the shape of the tensor")
    return g if g.dtype == output.dtype else g.astype(output.dtype)
