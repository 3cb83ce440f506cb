"""NumPy's functions that have no derivative, and how the arguments of the others are called here."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np

from ..ops.declare import Op

WITHOUT_DERIVATIVE_UFUNCS = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isfinite, np.isnan, np.isinf,
    np.sign, np.signbit, np.floor, np.ceil, np.rint, np.trunc, np.logical_and, np.logical_or, np.logical_not,
    np.logical_xor, np.floor_divide, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.spacing,
}  # fmt: skip

WITHOUT_DERIVATIVE = {
    np.allclose, np.isclose, np.array_equal, np.array_equiv, np.argmax, np.argmin, np.argsort, np.argwhere,
    np.argpartition, np.nanargmax, np.nanargmin, np.lexsort, np.nonzero, np.flatnonzero, np.count_nonzero, np.all,
    np.any, np.shape, np.ndim, np.size, np.array2string, np.array_repr, np.array_str, np.isneginf, np.isposinf,
    np.round, np.around, np.fix, np.imag, np.zeros_like, np.ones_like, np.empty_like, np.searchsorted, np.digitize,
    np.isin, np.may_share_memory, np.shares_memory, np.result_type, np.can_cast, np.min_scalar_type, np.common_type,
    np.einsum_path, np.save, np.savez, np.savez_compressed, np.savetxt, np.isreal, np.iscomplexobj, np.isrealobj,
    np.iscomplex, np.tril_indices_from, np.triu_indices_from, np.diag_indices_from, np.linalg.matrix_rank,
}  # fmt: skip

ABOUT_ARRAYS = {  # and not about their numbers, as far as a program is concerned
    np.shape, np.ndim, np.size, np.array2string, np.array_repr, np.array_str, np.may_share_memory, np.shares_memory,
    np.result_type, np.can_cast, np.min_scalar_type, np.common_type, np.isrealobj, np.iscomplexobj, np.einsum_path,
}  # fmt: skip

IN_PLACE = {  # they write into their first argument
    np.copyto, np.put, np.place, np.putmask, np.put_along_axis, np.fill_diagonal,
}  # fmt: skip


@cache
def _signature(function: Any) -> inspect.Signature | None:
    """None for some C functions of older NumPys."""
    try:
        return inspect.signature(function.forward if isinstance(function, Op) else function)
    except ValueError:
        return None


def is_default(value: Any, default: Any) -> bool:
    """Whether ``value`` says no more than ``default``, what NumPy takes when nothing is given."""
    if value is default or value is np._NoValue:
        return True
    return type(value) in (bool, int, float, str) and type(value) is type(default) and value == default


RENAMED = {"newshape": "shape"}  # an argument's name in NumPy 2.0, and its name since then


@cache
def agreement(function: Any, answer: Any) -> tuple[int, set[str]]:
    """How many leading arguments mean the same here and in NumPy, and which names do."""
    theirs, ours = _signature(function), _signature(answer)
    if theirs is None or ours is None:
        return 99, set()
    inputs = len(answer.inputs) if isinstance(answer, Op) else 0
    pairs = list(zip(theirs.parameters.values(), ours.parameters.values()))
    leading = next((i for i, (a, b) in enumerate(pairs) if i >= inputs and a.name != b.name), len(pairs))
    by_position = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    fixed = next((i for i, pair in enumerate(pairs) if any(p.kind not in by_position for p in pair)), leading)
    names = {n for n, p in ours.parameters.items() if n in theirs.parameters and p.kind is not p.POSITIONAL_ONLY}
    return min(leading, fixed), names - set(list(theirs.parameters)[:inputs])


def by_our_names(
    function: Any, answer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any], list[str]]:
    """What was given to ``function``, as ``answer`` takes it: the inputs by position, all else by NumPy's names, without what is
    NumPy's default; and the options that ``answer`` does not know."""
    theirs, ours = _signature(function), _signature(answer)
    if theirs is None or ours is None:
        return list(args), kwargs, []
    given = theirs.bind(*args, **kwargs).arguments
    rest: tuple[Any, ...] = ()
    for parameter in theirs.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            given.update(given.pop(parameter.name, {}))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            rest = given.pop(parameter.name, ())
        elif parameter.name in given and is_default(
            given[parameter.name], True if parameter.name == "where" else parameter.default
        ):
            del given[parameter.name]
    given = {RENAMED.get(parameter, parameter): value for parameter, value in given.items()}
    n = len(answer.inputs) if isinstance(answer, Op) else 0
    inputs = [given.pop(p) for p in list(theirs.parameters)[:n] if p in given]
    unknown = [k for k in given if k not in ours.parameters]
    positional = [given.pop(k) for k, p in ours.parameters.items() if p.kind is p.POSITIONAL_ONLY and k in given]
    return [*inputs, *positional, *rest], given, unknown
