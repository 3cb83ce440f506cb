r"""Record, order, walk, add: the grown-up of chapter 02's engine.

An op :math:`y = f(x_1, \dots, x_n)` that is applied to Tensors is *recorded*: its output remembers which op made it, from what, and
when.  The results that led to a scalar :math:`L` are put in *order*; we *walk* back, newest first, and at each result the chain rule

.. math:: \bar x_i = \bar y \, \frac{\partial y}{\partial x_i}, \qquad \bar x := \frac{\partial L}{\partial x}

is the op's *vector-Jacobian product* (VJP).  What reaches a tensor on several paths is *added*.

There are two kinds of op.  A **primitive** one has a forward on arrays and a rule for each input, written once in plain operators: the
ordinary backward pass hands it arrays, ``create_graph=True`` hands it Tensors, so that the backward pass is recorded itself and can be
differentiated again.  A **composed** one is defined by other ops, in a few lines that say all there is to know about its value and
its derivatives of every order.  A fast kernel may stand behind the definition (see ``fast``); it does the ordinary first-order work.

Source: Baydin et al., "Automatic differentiation in machine learning: a survey", JMLR 18 (2018), section 3.2.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import guards
from .modes import enable_grad, mode, no_grad

if TYPE_CHECKING:
    from .ops.declare import Op
    from .tensor import Tensor

V = TypeVar("V", bound="type[Value]")
Slots = dict[int, Any]  # gradients by the identity of their tensors; None where nothing has arrived yet


class Value:
    """What the graph knows of a tensor: its array, whether it wants a gradient, and where it came from.

    ``history`` is None for a leaf, ``(op, inputs, arrays, params, keeps_grad)`` for the result of an op, and FREED after a
    backward pass has used it; ``tick`` orders the results by the time at which they were made.
    """

    __slots__ = ("__weakref__", "data", "grad", "history", "name", "requires_grad", "tick")

    data: np.ndarray
    grad: Tensor | None
    history: tuple[Op, tuple[Any, ...], list[Any], dict[str, Any], bool] | None
    name: str | None
    requires_grad: bool
    tick: int


FREED: Any = ("freed",)
USED = -1  # the tick of a gradient that an optimizer step has consumed
NO_PARAMS: dict[str, Any] = {}
_by_tick = attrgetter("tick")
_new = object.__new__
_tensor_type: Any = Value
_deposits = threading.Lock()
_as_it_is = nullcontext()  # the mode
ndarray = np.ndarray


def results_are(cls: V) -> V:
    """Class decorator: from here on, ops return instances of ``cls``."""
    global _tensor_type
    _tensor_type = cls
    return cls


# Record -----------------------------------------------------------------------------------------------------------------


def wrap(data: Any) -> Tensor:
    """A Tensor around an array, without copying it and without a history."""
    out = _new(_tensor_type)
    out.data = data if type(data) is ndarray else np.asarray(data)
    out.requires_grad = False
    out.history = None
    out.tick = 0
    return out


def record(op: Op, data: Any, inputs: tuple[Any, ...], arrays: list[Any], params: dict[str, Any], wanted: bool) -> Tensor:
    """The result of an op as a Tensor, which remembers where it came from if a gradient is ``wanted``."""
    out = _new(_tensor_type)
    out.data = data if type(data) is ndarray else np.asarray(data)
    if wanted and out.data.dtype.kind == "f":
        out.requires_grad = True
        out.history = (op, inputs, arrays, params, False)
        out.tick = guards.tick()
    else:
        out.requires_grad = False
        out.history = None
        out.tick = 0
    return out


# Order ------------------------------------------------------------------------------------------------------------------


def reachable(outputs: Iterable[Value], since: int = 0) -> tuple[list[Any], list[Value], dict[int, Any]]:
    """What wants a gradient and led to an output: the results of ops, oldest first; the leaves; an empty slot for each.

    Tensors from before the tick ``since`` count as leaves.
    """
    stack = [t for t in outputs if t.requires_grad]
    slots: dict[int, Any] = dict.fromkeys(map(id, stack))
    order, leaves = [], []
    while stack:
        t = stack.pop()
        history = t.history
        if history is None or t.tick < since:
            leaves.append(t)
            continue
        order.append(t)
        if history is FREED:
            raise RuntimeError(
                f"backward: the graph behind this tensor of shape {t.data.shape} was freed by an earlier backward(). "
                "Compute it again, or keep it with backward(retain_graph=True) the first time."
            )
        for x in history[1]:
            if id(x) not in slots and isinstance(x, Value) and x.requires_grad:
                slots[id(x)] = None
                stack.append(x)
    order.sort(key=_by_tick)
    return order, leaves, slots


def now() -> int:
    """A tick: whatever is recorded later has a greater one."""
    return guards.tick()


# Walk -------------------------------------------------------------------------------------------------------------------


def pullback(
    outputs: Sequence[Value],
    upstream: Sequence[Any],
    wrt: Sequence[Value] | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    since: int = 0,
) -> list[Any]:
    """Walk the graph back from ``outputs`` and return the gradient of each tensor in ``wrt`` (None if unreachable).

    Without ``wrt``, the gradients of the leaves (and of tensors that asked by ``retain_grad``) go to their ``.grad``.
    ``upstream`` holds one array, or one Tensor if ``create_graph``, for each output; it is never changed.
    Tensors from before the tick ``since`` count as leaves.
    """
    tape = mode.get().tape
    tensors = create_graph or tape is not None  # what the rules are handed
    order, leaves, gradients = reachable(outputs, since)
    if wrt is not None:
        gradients = _on_the_way(order, leaves, wrt)
    upstream = [wrap(g) if tensors and not isinstance(g, Value) else g for g in upstream]
    shared = {id(g.data if tensors else g) for g in upstream}  # arrays that stand, or will stand, for more than one gradient
    for t, g in zip(outputs, upstream):
        if id(t) in gradients:
            gradients[id(t)] = g if gradients[id(t)] is None else gradients[id(t)] + g
    kept: Slots = dict.fromkeys(map(id, wrt or ()))
    if tape is not None:
        kept = tape.marking(kept, order)
    retained: list[tuple[Value, Any]] = []
    with no_grad() if tensors and not create_graph else enable_grad() if create_graph else _as_it_is:
        walk(order, gradients, kept, retained, shared, tensors, not (retain_graph or create_graph))
    for t in leaves:
        g = gradients.get(id(t))
        if wrt is not None:
            kept[id(t)] = g
        elif g is not None:
            retained.append((t, g))
    if wrt is not None:
        return [kept[id(t)] for t in wrt]
    deposit(retained, shared)
    return []


def walk(order: list[Any], gradients: Slots, kept: Slots, retained: list[Any], shared: set[int], tensors: bool, free: bool) -> None:
    """Pop the newest result, ask its op for the gradients of the inputs, add each to what the input has; until all is done.

    ``gradients`` has a slot for each tensor on the way; those of ``kept`` are noted there when they are complete.
    """
    anomaly = mode.get().anomaly
    while order:
        t = order.pop()
        g = gradients.pop(id(t), None)
        if g is None:
            continue
        op, inputs, arrays, params, keeps = t.history
        if id(t) in kept:
            kept[id(t)] = g
        elif keeps:
            retained.append((t, g))
            shared.add(id(g))
        if guards.last_write > t.tick or anomaly:
            guards.before_rule(t, op, arrays, anomaly)
        out, given = (t, [x if isinstance(x, Value) else a for x, a in zip(inputs, arrays)]) if tensors else (t.data, arrays)
        rules = op.joint(g, out, *given, **params) if op.joint else op.rules
        for x, a, r in zip(inputs, arrays, rules):
            slot = id(x)
            if slot not in gradients:
                continue
            if rules is op.rules:
                r = r(g, out, *given, **params) if params else r(g, out, *given)
            if type(r) is not ndarray or r.shape != a.shape or r.dtype is not a.dtype:
                r = conform(r, a.shape, a.dtype, tensors)
            if anomaly:
                guards.after_rule(op, inputs, x, r, g)
            if r is g:
                shared.add(id(r))
            held = gradients[slot]
            if held is None:
                gradients[slot] = r
            elif tensors or held.base is not None or id(held) in shared:
                gradients[slot] = held + r
            else:  # our rules return g itself, a view, or an array of their own, which may be added to
                held += r
                gradients[slot] = held  # a sum without axes is a number, which is not changed in place
        if free:
            t.history = FREED
        x = a = r = g = held = out = given = rules = arrays = inputs = None  # so that their memory is free before the next op


def _on_the_way(order: list[Any], leaves: list[Value], wrt: Sequence[Value]) -> dict[int, Any]:
    """An empty slot for each tensor of ``wrt`` that was reached, and for each between it and the outputs."""
    asked = set(map(id, wrt))
    slots: dict[int, Any] = {id(t): None for t in leaves if id(t) in asked}
    for t in order:
        if id(t) in asked or any(id(x) in slots for x in t.history[1]):
            slots[id(t)] = None
    return slots


# Add --------------------------------------------------------------------------------------------------------------------


def conform(r: Any, shape: tuple[int, ...], dtype: Any, tensors: bool) -> Any:
    """What a rule gave, in the input's shape (summed over the axes along which it was broadcast) and dtype."""
    if tensors:
        r = r if isinstance(r, Value) else wrap(r)
        r = r if r.data.shape == shape else REGISTRY["sum_to"](r, shape)
        return r if r.data.dtype == dtype else r.astype(dtype)
    r = np.asarray(r)
    r = r if r.shape == shape else REGISTRY["sum_to"].forward(r, shape)
    return r if r.dtype == dtype else r.astype(dtype)


def deposit(gradients: Iterable[tuple[Value, Any]], shared: set[int]) -> None:
    """Add to ``grad`` of each tensor, in memory that no other tensor shares: the gradients in ``shared`` are copied."""
    with _deposits:
        for t, g in gradients:
            held = t.grad
            if held is not None and held.tick == USED:
                warnings.warn(
                    "backward adds to a gradient that an optimizer step has used already, so two steps are mixed; "
                    "call optimizer.zero_grad() before each backward()",
                    stacklevel=4,
                )
                held.tick = 0
            if isinstance(g, Value):
                t.grad = g.copy() if held is None else held + g  # type: ignore[attr-defined]
            elif held is not None:
                t.grad = wrap(held.data + g)
            else:
                t.grad = wrap(g.copy() if id(g) in shared or g.base is not None else g)
                shared.add(id(g))


REGISTRY: dict[str, Op] = {}  # every op by name: tests, checks, tools and documentation walk it
