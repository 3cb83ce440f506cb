"""The Tensor: an array, its gradient, and NumPy's grammar.  Sugar only; the calculus is in ``ops`` and ``graph``.

It has more than 300 lines because NumPy's arrays have that many methods; nearly all are one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from . import contractions, graph, numpy_ops
from .guards import note_write, short
from .modes import mode
from .numpy_protocol import WITHOUT_DERIVATIVE, call_function, call_ufunc, check_plain
from .ops import arithmetic as a
from .ops import indexing, reductions, shapes
from .ops import linear as products
from .ops.declare import BY_NUMPY, arrays_of, recorded, refuse_hidden

UNSET = {"name": None, "grad": None}


@recorded
def _copy(data: Any, dtype: Any) -> np.ndarray:
    return np.array(data, dtype=dtype)


@recorded
def _cast(x: Any, dtype: Any) -> np.ndarray:
    return x.astype(dtype)


@graph.results_are
class Tensor(graph.Value):
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
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of entries."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The precision of the entries."""
        return self.data.dtype

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

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"the truth of a Tensor of shape {self.shape} is ambiguous; reduce it, as in (t > 0).all()")
        return bool(self.data)

    def __float__(self) -> float:
        check_plain(self, "float")
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.data.dtype.kind == "f":
            raise TypeError(
                f"a Tensor of {self.data.dtype} is no index and no size; write int(t.item()) if it is a whole number"
            )
        return self.data.__index__()

    def __contains__(self, x: Any) -> bool:
        return bool((self.data == x).any())

    def item(self) -> Any:
        """The one number that it holds, as a Python number; ValueError if it holds more."""
        if self.size != 1:
            raise ValueError(f"item: a Tensor of shape {self.shape} holds {self.size} numbers, not one; reduce it first, or use .tolist()")
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The array itself (not a copy), without gradient tracking."""
        return self.data

    def tolist(self) -> Any:
        """The numbers as nested lists."""
        return self.data.tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        check_plain(self, "array")
        return np.array(self.data, dtype=dtype, copy=copy)

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

    def __add__(self, other: Any) -> Tensor:
        return a.add(self, other)

    def __sub__(self, other: Any) -> Tensor:
        return a.subtract(self, other)

    def __mul__(self, other: Any) -> Tensor:
        return a.multiply(self, other)

    def __truediv__(self, other: Any) -> Tensor:
        return a.divide(self, other)

    def __pow__(self, other: Any) -> Tensor:
        return a.power(self, other)

    def __matmul__(self, other: Any) -> Tensor:
        return products.matmul(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return a.add(other, self)

    def __rsub__(self, other: Any) -> Tensor:
        return a.subtract(other, self)

    def __rmul__(self, other: Any) -> Tensor:
        return a.multiply(other, self)

    def __rtruediv__(self, other: Any) -> Tensor:
        return a.divide(other, self)

    def __rpow__(self, other: Any) -> Tensor:
        return a.power(other, self)

    def __rmatmul__(self, other: Any) -> Tensor:
        return products.matmul(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return numpy_ops.mod(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return numpy_ops.mod(other, self)

    def __iadd__(self, other: Any) -> Tensor:
        return self._becomes(self + other)

    def __isub__(self, other: Any) -> Tensor:
        return self._becomes(self - other)

    def __imul__(self, other: Any) -> Tensor:
        return self._becomes(self * other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._becomes(self / other)

    def __ipow__(self, other: Any) -> Tensor:
        return self._becomes(self**other)

    def __imatmul__(self, other: Any) -> Tensor:
        return self._becomes(self @ other)

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

    def __eq__(self, other: Any) -> Any:
        return self.data == arrays_of(other)

    def __ne__(self, other: Any) -> Any:
        return self.data != arrays_of(other)

    def __lt__(self, other: Any) -> Any:
        return self.data < arrays_of(other)

    def __le__(self, other: Any) -> Any:
        return self.data <= arrays_of(other)

    def __gt__(self, other: Any) -> Any:
        return self.data > arrays_of(other)

    def __ge__(self, other: Any) -> Any:
        return self.data >= arrays_of(other)

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

    # NumPy's methods ----------------------------------------------------------------------------------------------------

    def sum(self, axis: reductions.Axis = None, keepdims: bool = False, **numpys: Any) -> Tensor:
        """The sum over ``axis``."""
        if numpys:
            return call_function(np.sum, (self,), {"axis": axis, "keepdims": keepdims} | numpys)
        return reductions.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: reductions.Axis = None, keepdims: bool = False, **numpys: Any) -> Tensor:
        """The mean over ``axis``."""
        if numpys:
            return call_function(np.mean, (self,), {"axis": axis, "keepdims": keepdims} | numpys)
        return reductions.mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis: reductions.Axis = None, keepdims: bool = False, ddof: int = 0, **numpys: Any) -> Tensor:
        """The variance over ``axis``."""
        if numpys:
            return call_function(np.var, (self,), {"axis": axis, "keepdims": keepdims, "ddof": ddof} | numpys)
        return reductions.var(self, axis=axis, keepdims=keepdims, ddof=ddof)

    def std(self, axis: reductions.Axis = None, keepdims: bool = False, ddof: int = 0, **numpys: Any) -> Tensor:
        """The standard deviation over ``axis``; where all entries are equal, its derivative is taken as 0."""
        if numpys:
            return call_function(np.std, (self,), {"axis": axis, "keepdims": keepdims, "ddof": ddof} | numpys)
        return reductions.std(self, axis=axis, keepdims=keepdims, ddof=ddof)

    def max(self, axis: reductions.Axis = None, keepdims: bool = False, **numpys: Any) -> Tensor:
        """The largest entry over ``axis``."""
        if numpys:
            return call_function(np.max, (self,), {"axis": axis, "keepdims": keepdims} | numpys)
        return reductions.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: reductions.Axis = None, keepdims: bool = False, **numpys: Any) -> Tensor:
        """The smallest entry over ``axis``."""
        if numpys:
            return call_function(np.min, (self,), {"axis": axis, "keepdims": keepdims} | numpys)
        return reductions.min(self, axis=axis, keepdims=keepdims)

    def prod(self, axis: reductions.Axis = None, keepdims: bool = False, **numpys: Any) -> Tensor:
        """The product over ``axis``."""
        if numpys:
            return call_function(np.prod, (self,), {"axis": axis, "keepdims": keepdims} | numpys)
        return numpy_ops.prod(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None, **numpys: Any) -> Tensor:
        """The running sum along ``axis``."""
        return call_function(np.cumsum, (self, axis), numpys) if numpys else numpy_ops.cumsum(self, axis=axis)

    def clip(self, min: Any = None, max: Any = None, **numpys: Any) -> Tensor:
        """Limited to the interval from ``min`` to ``max``."""
        return call_function(np.clip, (self, min, max), numpys) if numpys else numpy_ops.clip(self, min, max)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Tensor:
        """The same entries in another shape, read and written row by row, or column by column with ``order`` "F"."""
        return shapes.reshape_in_order(self, shape[0] if len(shape) == 1 else shape, order)

    def ravel(self, order: str = "C") -> Tensor:
        """All entries along one axis, row by row, or column by column with ``order`` "F"."""
        return shapes.reshape_in_order(self, -1, order)

    flatten = ravel

    def squeeze(self, axis: reductions.Axis = None) -> Tensor:
        """Without the axes of size 1 (or those named)."""
        return shapes.reshape(self, np.squeeze(self.data, axis).shape)

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in another order, reversed by default."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return shapes.transpose(self, order)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Two axes exchanged."""
        return shapes.swapaxes(self, axis1, axis2)

    @property
    def T(self) -> Tensor:
        """The axes reversed."""
        return shapes.transpose(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        if self.ndim < 2:
            raise ValueError(f"mT: needs two axes or more, got shape {self.shape}")
        return shapes.swapaxes(self, -1, -2)

    def dot(self, other: Any) -> Tensor:
        """The product ``np.dot``."""
        return contractions.dot(self, other)

    def take(self, indices: Any, axis: int | None = None, **numpys: Any) -> Tensor:
        """The slices at ``indices`` along ``axis``."""
        return call_function(np.take, (self, indices, axis), numpys) if numpys else indexing.take(self, indices, axis)

    def astype(
        self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
    ) -> Tensor:
        """In another precision; integers and booleans have no gradient."""
        if not np.can_cast(self.data.dtype, dtype, casting):  # type: ignore[arg-type]
            raise TypeError(f"astype: cannot cast {self.data.dtype} to {np.dtype(dtype)} with casting={casting!r}")
        return a.astype(self, dtype) if np.dtype(dtype).kind == "f" else graph.wrap(arrays_of(_cast(self, dtype)))

    def copy(self, order: str = "C") -> Tensor:
        """A copy; the gradient flows through it."""
        return a.add(self, 0)

    def argmax(self, axis: int | None = None) -> Any:
        """The index of the largest entry, as an array."""
        return recorded(np.argmax)(self, axis)

    def argmin(self, axis: int | None = None) -> Any:
        """The index of the smallest entry, as an array."""
        return recorded(np.argmin)(self, axis)

    def all(self, axis: reductions.Axis = None) -> Any:
        """Whether every entry is nonzero."""
        return recorded(np.all)(self, axis)

    def any(self, axis: reductions.Axis = None) -> Any:
        """Whether some entry is nonzero."""
        return recorded(np.any)(self, axis)


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
