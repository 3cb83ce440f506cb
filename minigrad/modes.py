"""Switches of the engine: whether ops are recorded, watched, and done by the fast kernels.

The switches belong to the thread or the async task that sets them; they nest, and they decorate functions.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Mode(NamedTuple):
    """What the engine does with the ops of this thread or task."""

    grad: bool = True
    anomaly: bool = False
    plain: bool = os.environ.get("MINIGRAD_PLAIN", "0") not in ("", "0")
    tape: Any = None  # what records the calls on arrays, while a program is made


mode: ContextVar[Mode] = ContextVar("minigrad_mode", default=Mode())  # noqa: B039 (a NamedTuple is immutable)


class _Called(type):
    """Says what is missing in ``with no_grad:``, which enters the class in place of an object."""

    def __enter__(cls) -> Any:
        raise TypeError(f"with {cls.__name__}: lacks its parentheses; write with {cls.__name__}():")

    def __exit__(cls, *exception: object) -> None:
        """Never reached; Python looks for it first."""


class _Switch(metaclass=_Called):
    """A context manager that changes the mode, and a decorator that does so during each call."""

    change: dict[str, Any] = {}

    def __init__(self) -> None:
        self._tokens: list[Token[Mode]] = []

    def __enter__(self) -> _Switch:
        self._tokens.append(mode.set(mode.get()._replace(**self.change)))
        return self

    def __exit__(self, *exception: object) -> None:
        mode.reset(self._tokens.pop())

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{type(self).__name__}: cannot decorate the generator {function.__name__}; use `with` inside it, around the computation"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with type(self)():
                    return await function(*args, **kwargs)

            return awaited  # type: ignore[return-value]

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return called  # type: ignore[return-value]


class no_grad(_Switch):
    """Record nothing inside: results do not require grad. For evaluation, generation and parameter updates."""

    change = {"grad": False}


class enable_grad(_Switch):
    """Record again, inside a ``no_grad`` region."""

    change = {"grad": True}


class detect_anomaly(_Switch):
    """Watch every op (slow): name the first op that makes a NaN or inf, in forward or backward, from finite inputs, and
    refuse a backward pass over arrays that were changed after the forward pass.

    Raises FloatingPointError and RuntimeError.
    """

    change = {"anomaly": True}


class plain(_Switch):
    """Compute every op by its definition, without the fast kernels: the same numbers but for rounding, more slowly, and in
    explanations and programs every step is seen.  ``MINIGRAD_PLAIN=1`` in the environment does so from the start."""

    change = {"plain": True}


class recording(_Switch):
    """Note every call on arrays on a tape (see ``program``)."""

    def __init__(self, tape: Any) -> None:
        super().__init__()
        self.change = {"tape": tape}
