r"""An op of one's own, in a script or a notebook: its forward and its gradient, and the formula if explanations should show it.

.. code-block:: python

    @minigrad.custom_op(vjp=lambda g, y, x: g * 3 * x**2, formula=r"y = x^3", derivative=r"3 \bar y \odot x^2")
    def cube(x):
        return x**3

    minigrad.gradcheck(cube, np.linspace(-1, 1, 5))
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .ops.declare import Op
from .tensor import Tensor

Rule = Callable[..., Any]


def custom_op(
    vjp: Rule | Mapping[str, Rule],
    formula: str = "",
    derivative: str | Mapping[str, str] = "",
    inputs: Sequence[str] | None = None,
) -> Callable[[Callable[..., Any]], Op[Any]]:
    r"""Decorator: make an op of a function on arrays and its vector-Jacobian product.

    The decorated function takes arrays and returns an array; arguments with a default value are parameters without a gradient, unless
    ``inputs`` names the differentiable ones.  ``vjp(g, y, *inputs, **params)`` gets the upstream gradient and the output and gives the
    gradient of the input, or a tuple with one for each; or a dict has one such rule for each input.  A rule in plain operators and
    minigrad's functions, which also take Tensors, can be differentiated again.  ``formula`` and ``derivative`` are LaTeX.

    Raises TypeError for a missing rule; when it runs, ValueError for a gradient that does not fit its input or for writing into an argument.
    """

    def declare(forward: Callable[..., Any]) -> Op[Any]:
        if not callable(forward):
            raise TypeError(f"custom_op: decorates a function, got {type(forward).__name__}")
        op: Op[Any] = Op(_guarded(forward), formula, inputs, builtin=False)
        wanted = list(op.inputs)
        if not wanted and not op.variadic:
            raise TypeError(f"custom_op {op.name}: no differentiable argument; inputs=[...] names those that have a default value")
        for name, rule in vjp.items() if isinstance(vjp, Mapping) else [("", vjp)]:
            _refuse_other_arguments(op, name, rule)
        if isinstance(vjp, Mapping):
            lacking, unknown = [n for n in wanted if n not in vjp], [n for n in vjp if n not in wanted]
            if lacking or unknown:
                what = f"no rule for {lacking[0]!r}" if lacking else f"a rule for {unknown[0]!r}, which is no input"
                raise TypeError(f"custom_op {op.name}: {what}; the inputs are {', '.join(wanted)}")
            for name in wanted:
                op.vjp(name, "", functools.partial(_one, op, name, vjp[name]))
        elif callable(vjp):
            op.joint_vjp()(functools.partial(_all, op, vjp))
        else:
            raise TypeError(f"custom_op {op.name}: vjp must be a function or a dict of functions, got {type(vjp).__name__}")
        texts = derivative if isinstance(derivative, Mapping) else {wanted[0]: derivative} if len(wanted) == 1 else {}
        op.derivatives = {name: texts.get(name, "") for name in wanted}
        return op

    return declare


def _refuse_other_arguments(op: Op[Any], name: str, rule: Any) -> None:
    """TypeError for a rule that cannot be called with the upstream gradient, the output and the inputs."""
    if op.variadic or not callable(rule):
        return
    try:
        signature = inspect.signature(rule)
        signature.bind(*range(2 + len(op.inputs)), **dict.fromkeys(op.params))
    except ValueError:
        return  # a function that does not tell
    except TypeError as error:
        wanted = ", ".join(["g", "y", *op.inputs, *(f"{p}=..." for p in op.params)])
        which = f"the rule for {name!r}" if name else "vjp"
        raise TypeError(
            f"custom_op {op.name}: {which} is called as vjp({wanted}), with the upstream gradient g, the output y, then the inputs; "
            f"it takes {signature}. Write lambda {wanted}: ..."
        ) from error


def _guarded(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The forward on arrays that it cannot write into; its result is an array of its own."""

    @functools.wraps(forward)
    def called(*args: Any, **kwargs: Any) -> Any:
        with _explaining(f"{forward.__name__}: the function"):
            result = forward(*(_shielded(x) for x in args), **kwargs)
        array = np.asarray(result.data if isinstance(result, Tensor) else result)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{forward.__name__}: the function gave {type(result).__name__} with dtype {array.dtype}; expected an array of numbers")
        return array.copy() if any(isinstance(x, np.ndarray) and np.may_share_memory(array, x) for x in args) else array

    return called


@contextmanager
def _explaining(who: str) -> Iterator[None]:
    """Say who wrote into an argument."""
    try:
        yield
    except ValueError as error:
        if "read-only" in str(error):
            raise ValueError(f"{who} writes into an array that it was given, which others still need; let it work on a copy (x = x * 2)") from error
        raise


def _shielded(x: Any) -> Any:
    """A view of an array that cannot be written."""
    if not isinstance(x, np.ndarray):
        return x
    view = x.view()
    view.flags.writeable = False
    return view


def _call(op: Op[Any], rule: Rule, g: Any, y: Any, given: Sequence[Any], params: Any) -> Any:
    """The rule's answer; what fails on Tensors is said to be the lack of a second derivative."""
    if not isinstance(g, Tensor):
        with _explaining(f"custom_op {op.name}: its vjp"):
            return rule(_shielded(g), _shielded(y), *(_shielded(x) for x in given), **params)
    try:
        answer = rule(g, y, *given, **params)
    except (TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        raise TypeError(
            f"custom_op {op.name}: no second derivative, since its vjp works on arrays only ({error}). Write the vjp in plain "
            "operators and minigrad functions, which take Tensors, too"
        ) from error
    answers = answer if isinstance(answer, tuple | list) else [answer]
    tensors = [r for r in answers if isinstance(r, Tensor)]
    if any(r is not None and not isinstance(r, Tensor) and np.any(r) for r in answers) or (
        g.requires_grad and tensors and not any(r.requires_grad for r in tensors)
    ):
        raise TypeError(
            f"custom_op {op.name}: no second derivative, since its vjp leaves the graph (.data, np.asarray or float()). Write it in plain "
            "operators and minigrad functions, which take Tensors, too"
        )
    return answer


def _one(op: Op[Any], name: str, rule: Rule, g: Any, y: Any, *given: Any, **params: Any) -> Any:
    return _fitted(op, name, _call(op, rule, g, y, given, params), given[op.inputs.index(name)])


def _all(op: Op[Any], rule: Rule, g: Any, y: Any, *given: Any, **params: Any) -> list[Any]:
    answer = _call(op, rule, g, y, given, params)
    answers = list(answer) if isinstance(answer, tuple | list) else [answer]
    if len(answers) != len(given):
        raise ValueError(f"custom_op {op.name}: its vjp gave {len(answers)} gradients for {len(given)} inputs; give one for each, as a tuple")
    names = op.inputs or [f"x{i}" for i in range(len(given))]
    return [_fitted(op, name, r, x) for name, r, x in zip(names, answers, given, strict=True)]


def _fitted(op: Op[Any], name: str, r: Any, x: Any) -> Any:
    """One answer, checked: of the input's shape, or of one to which the input broadcasts; None means zeros."""
    shape = np.shape(x)
    if r is None:
        return np.zeros(shape)
    try:
        fits = np.broadcast_shapes(np.shape(r), shape) == np.shape(r)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"custom_op {op.name}: its vjp gave a gradient of shape {np.shape(r)} for {name} of shape {shape}; they must agree")
    return r if isinstance(r, Tensor) else np.array(r)  # a copy: the rule may keep the array that it gave
