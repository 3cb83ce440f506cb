"""Tensors whose numbers nobody reads unnoticed: what a function would decide by them could not be replayed."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np

from ..graph import Value
from ..modes import mode
from ..tensor import Tensor

_array: Any = vars(Value)["data"]  # the slot, which a watched Tensor hides


class Refused(RuntimeError):
    """What cannot be recorded as a program, and why."""


def refuse(what: str) -> None:
    """Raise Refused with the line of the user's function from which this was reached."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "minigrad":
        frame = frame.f_back
    where = f"{frame.f_code.co_filename}, line {frame.f_lineno}, in {frame.f_code.co_name}"
    raise Refused(f"program: {what} ({where}). Call the function itself there, or keep numbers in Tensors until they are returned")


def _reads(what: str) -> Any:
    """A method that reads numbers: refused while a tape runs."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if mode.get().tape is not None:
            refuse(f"the function reads the numbers of a Tensor ({what}), and what it does with them cannot be replayed")
        return getattr(super(_Watched, self), what.removesuffix("()").removeprefix("."))(*args, **kwargs)

    return method


def _compares(ufunc: np.ufunc, name: str) -> Any:
    """A comparison: recorded while a tape runs."""

    def method(self: Any, other: Any) -> Any:
        tape = mode.get().tape
        return getattr(super(_Watched, self), name)(other) if tape is None else tape.call(ufunc, (self, other), {})

    return method


def _records(ufunc: np.ufunc) -> Any:
    """An operator on masks, which only watched Tensors have: others are arrays there."""

    def method(self: Any, *other: Any) -> Any:
        tape = mode.get().tape
        return ufunc(self.data, *other) if tape is None else tape.call(ufunc, (self, *other), {})

    return method


class _Watched:
    """What a watched Tensor does differently."""

    __slots__ = ()

    @property
    def data(self) -> np.ndarray:
        """The array; read from outside of the engine while a tape runs, it is refused."""
        if mode.get().tape is not None and sys._getframe(1).f_globals.get("__name__", "").partition(".")[0] != "minigrad":
            refuse("the function reads the numbers of a Tensor (.data), and what it does with them cannot be replayed")
        return _array.__get__(self)

    @data.setter
    def data(self, array: np.ndarray) -> None:
        if mode.get().tape is not None:
            refuse("the function sets .data of a Tensor")
        _array.__set__(self, array)

    numpy, item, tolist = _reads(".numpy()"), _reads(".item()"), _reads(".tolist()")
    __float__, __int__, __bool__, __index__ = _reads("__float__"), _reads("__int__"), _reads("__bool__"), _reads("__index__")
    __repr__, __str__, __format__ = _reads("__repr__"), _reads("__str__"), _reads("__format__")
    __array__, __contains__, __setitem__ = _reads("__array__"), _reads("__contains__"), _reads("__setitem__")
    backward = _reads("backward")
    __eq__, __ne__ = _compares(np.equal, "__eq__"), _compares(np.not_equal, "__ne__")
    __lt__, __le__ = _compares(np.less, "__lt__"), _compares(np.less_equal, "__le__")
    __gt__, __ge__ = _compares(np.greater, "__gt__"), _compares(np.greater_equal, "__ge__")
    __and__, __or__, __xor__ = _records(np.bitwise_and), _records(np.bitwise_or), _records(np.bitwise_xor)
    __invert__, __floordiv__ = _records(np.invert), _records(np.floor_divide)
    __hash__ = object.__hash__


@cache
def _watched_type(cls: Any) -> type:
    return type(f"Watched{cls.__name__}", (_Watched, cls), {"__slots__": (), "__module__": __name__})


def array_of(t: Any) -> np.ndarray:
    """The array of a Tensor, watched or not."""
    return _array.__get__(t)


def watched(t: Tensor) -> Tensor:
    """The same Tensor, from now on watched."""
    if not isinstance(t, _Watched):
        t.__class__ = _watched_type(type(t))  # type: ignore[arg-type]
    return t


def unwatched(t: Tensor) -> Tensor:
    """The same Tensor as it was before."""
    if isinstance(t, _Watched):
        t.__class__ = type(t).__mro__[2]
    return t
