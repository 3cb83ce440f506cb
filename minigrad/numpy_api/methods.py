"""What a Tensor has from NumPy's arrays: their methods, and plain numbers.

A method is one of our ops, under NumPy's name; where NumPy's other arguments are given, it is NumPy's function of that name,
which answers through ``numpy_protocol``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import graph
from ..numpy_protocol import call_function, check_plain
from ..ops import arithmetic, indexing, reductions, shapes
from ..ops.declare import arrays_of, recorded
from . import contractions
from . import ops as more

if TYPE_CHECKING:
    from ..tensor import Tensor


@recorded
def _cast(x: Any, dtype: Any) -> np.ndarray:
    return x.astype(dtype)


class NumPyMethods(graph.Value):
    """What a Tensor can do because an array can."""

    __slots__ = ()

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
        return more.var(self, axis=axis, keepdims=keepdims, ddof=ddof)

    def std(self, axis: reductions.Axis = None, keepdims: bool = False, ddof: int = 0, **numpys: Any) -> Tensor:
        """The standard deviation over ``axis``; where all entries are equal, its derivative is taken as 0."""
        if numpys:
            return call_function(np.std, (self,), {"axis": axis, "keepdims": keepdims, "ddof": ddof} | numpys)
        return more.std(self, axis=axis, keepdims=keepdims, ddof=ddof)

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
        return more.prod(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None, **numpys: Any) -> Tensor:
        """The running sum along ``axis``."""
        return call_function(np.cumsum, (self, axis), numpys) if numpys else more.cumsum(self, axis=axis)

    def clip(self, min: Any = None, max: Any = None, **numpys: Any) -> Tensor:
        """Limited to the interval from ``min`` to ``max``."""
        return call_function(np.clip, (self, min, max), numpys) if numpys else more.clip(self, min, max)

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
        return arithmetic.astype(self, dtype) if np.dtype(dtype).kind == "f" else graph.wrap(arrays_of(_cast(self, dtype)))

    def copy(self, order: str = "C") -> Tensor:
        """A copy; the gradient flows through it."""
        return arithmetic.add(self, 0)

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

    # Plain numbers -----------------------------------------------------------------------------------------------------

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
