r"""Record and replay: the whole of automatic differentiation on one page.

An op :math:`y = f(x_1, \dots, x_n)` that is applied to Tensors is recorded: its output remembers which op made it,
from what, and when.  Walking back from a scalar :math:`L`, newest op first, the chain rule

.. math:: \bar x_i = \bar y \, \frac{\partial y}{\partial x_i}, \qquad \bar x := \frac{\partial L}{\partial x}

is the op's *vector-Jacobian product* (VJP).  A rule is written once, in plain operators, and is valid for arrays and for
Tensors: the ordinary backward pass hands it arrays, ``create_graph=True`` hands it Tensors, so that the backward pass is
itself recorded and can be differentiated again.

Source: Baydin et al., "Automatic differentiation in machine learning: a survey", JMLR 18 (2018), section 3.2.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import update_wrapper
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar

import numpy as np

from . import watch
from .kernels import column_sums
from .modes import mode
from .watch import short

if TYPE_CHECKING:
    from .tensor import Tensor

P = ParamSpec("P")
V = TypeVar("V", bound="type[Value]")
Rule = Callable[..., Any]

REGISTRY: dict[str, Op] = {}  # every op by name: tests, checks and documentation walk it
BY_NUMPY: dict[Any, Callable[..., Any]] = {}  # which function of ours answers a NumPy function called on a Tensor



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
new_object = object.__new__
ndarray = np.ndarray
_tensor_type: Any = Value


def results_are(cls: V) -> V:
    """Class decorator: from here on, ops return instances of ``cls``."""
    global _tensor_type
    _tensor_type = cls
    return cls


def wrap(data: Any) -> Tensor:
    """A Tensor around an array, without copying it and without a history."""
    out = _tensor_type.__new__(_tensor_type)
    out.data = data if type(data) is ndarray else np.asarray(data)
    out.requires_grad = False
    out.history = None
    out.tick = 0
    return out


def constant(x: Any, recording: bool = True) -> Any:
    """An input that is no Tensor, as the ops take it.

    Python and NumPy scalars stay Python scalars, so that they never promote float32 to float64.  An array is copied when
    the op is being recorded: its owner may change it before the backward pass reads it.
    """
    if x is None or type(x) in (int, float, bool):
        return x
    if type(x) in (list, tuple):
        refuse_hidden(x)
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"expected real numbers, got {type(x).__name__} with dtype {array.dtype}: {short(x)}")
    if array.ndim == 0:
        return array.item()
    return array.copy() if recording and array is x else array


def refuse_hidden(x: Any) -> None:
    """Raise TypeError for a list with Tensors in it that require grad: as an array it would lose their gradients."""
    for item in x:
        if type(item) in (list, tuple):
            refuse_hidden(item)
        elif isinstance(item, Value) and item.requires_grad and mode.get().grad:
            raise TypeError("a list of Tensors that require grad would lose their gradients as an array; join them with minigrad.stack([...])")


def plain(x: Any) -> Any:
    """Tensors, also inside tuples and lists, as arrays; everything else as it is."""
    if isinstance(x, Value):
        return x.data
    return type(x)(plain(i) for i in x) if type(x) in (tuple, list) else x


class Example(NamedTuple):
    """Inputs and params on which an op is tried by the checks; ``through`` is the function to call instead of the op itself."""

    inputs: tuple[Any, ...]
    params: dict[str, Any]
    through: Callable[..., Any] | None = None


def example(*inputs: Any, **params: Any) -> Example:
    """An example, written as the call would be."""
    return Example(inputs, params)


class Op(Generic[P]):
    """A differentiable function: its forward on arrays, its formula, and one VJP rule per input.

    Calling it on Tensors records it.  ``forward(*inputs, **params)`` takes arrays and gives one; if the op ``saves``, then
    with ``save=True`` it gives ``(out, saved)`` and its rules get ``saved=...``, which is None when they run on Tensors and must
    recompute.
    """

    def __init__(self, forward: Callable[P, Any], formula: str, inputs: Sequence[str] | None, saves: bool, builtin: bool):
        signature = list(inspect.signature(forward).parameters.values())
        self.variadic = bool(signature) and signature[0].kind is inspect.Parameter.VAR_POSITIONAL
        names = [p.name for p in signature if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
        self.name = forward.__name__
        self.forward: Callable[..., Any] = forward
        self.formula = formula
        self.inputs = tuple(inputs if inputs is not None else names)
        self.params = tuple(p.name for p in signature if p.name not in self.inputs and not (saves and p.name == "save"))
        self.defaults = {p.name: p.default for p in signature if p.default is not p.empty}
        self.saves = saves
        self.builtin = builtin
        self.arity = -1 if self.variadic else len(self.inputs)
        self.rules: list[Rule | None] = [None] * len(self.inputs)
        self.joint: Rule | None = None
        self.derivatives: dict[str, str] = {}
        self.twin: Callable[..., Any] | None = None
        self.examples: Callable[[np.random.Generator], list[Example]] | None = None
        update_wrapper(self, forward)

    def vjp(self, name: str, derivative: str, rule: Rule) -> Rule:
        """Give the rule of one input: ``rule(g, out, *inputs, **params)`` is the gradient of that input."""
        self.rules[self.inputs.index(name)] = rule
        self.derivatives[name] = derivative
        return rule

    def joint_vjp(self, **derivatives: str) -> Callable[[Rule], Rule]:
        """Give one rule for all inputs, where they share work; it returns a gradient for each."""

        def give(rule: Rule) -> Rule:
            self.joint = rule
            self.derivatives.update(derivatives)
            return rule

        return give

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        if kwargs or len(args) != self.arity:
            return self.apply(*self.bind(args, kwargs))
        return self.apply(args)

    def on(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The op inside a rule: on arrays it gives an array, on Tensors a recorded Tensor."""
        inputs, params = self.bind(args, kwargs)
        if any(isinstance(x, Value) for x in inputs):
            return self.apply(inputs, params)
        return self.forward(*inputs, **params)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Sort the arguments of a call into inputs (differentiable) and params."""
        if self.variadic:
            return args, kwargs
        n = len(self.inputs)
        if not kwargs and n <= len(args) <= n + len(self.params):
            params = dict(zip(self.params, args[n:]))
            for value in params.values():
                if isinstance(value, Value):
                    break
            else:
                return args[:n], params
        if len(args) > n + len(self.params):
            raise TypeError(f"{self.name}: takes {n + len(self.params)} arguments at most, got {len(args)}")
        params = dict(zip(self.params, args[n:], strict=False))
        inputs = list(args[:n])
        for name in self.inputs[len(inputs) :]:
            if name in kwargs:
                inputs.append(kwargs.pop(name))
            elif name in self.defaults:
                inputs.append(self.defaults[name])
            else:
                raise TypeError(f"{self.name}: argument {name!r} is missing; it takes {inspect.signature(self.forward)}")
        for name, value in kwargs.items():
            if name not in self.params or name in params:
                what = "given twice" if name in params or name in self.inputs else "unknown"
                raise TypeError(f"{self.name}: argument {name!r} is {what}; it takes {inspect.signature(self.forward)}")
            params[name] = value
        for name, value in params.items():
            if isinstance(value, Value):
                if value.requires_grad:
                    raise TypeError(
                        f"{self.name}: {name} takes no gradient, but got a Tensor that requires grad; use plain operators, or {name}.detach()"
                    )
                params[name] = value.data
        return tuple(inputs), params

    def apply(self, inputs: tuple[Any, ...], params: dict[str, Any] = NO_PARAMS) -> Tensor:
        """Compute the op, and record it when an input wants a gradient."""
        recording, anomaly = mode.get()
        if not recording and not anomaly:
            arrays = [x.data if isinstance(x, Value) else constant(x, False) for x in inputs]
            try:
                return wrap(self.forward(*arrays, **params))
            except (ValueError, IndexError, TypeError) as error:
                raise self.explained(error, arrays) from error
        wanted = False
        arrays = []
        for x in inputs:
            if isinstance(x, Value):
                arrays.append(x.data)
                wanted = wanted or x.requires_grad
            else:
                arrays.append(x if type(x) is float else constant(x, recording))
        try:
            if self.saves and wanted and recording:
                data, saved = self.forward(*arrays, save=True, **params)
                params = {**params, "saved": saved}
            else:
                data = self.forward(*arrays, **params) if params else self.forward(*arrays)
        except (ValueError, IndexError, TypeError) as error:
            raise self.explained(error, arrays) from error
        out = new_object(_tensor_type)
        out.data = data if type(data) is np.ndarray else np.asarray(data)
        if wanted and recording and out.data.dtype.kind == "f":
            out.requires_grad = True
            out.history = (self, inputs, arrays, params, False)
            out.tick = watch.tick()
        else:
            out.requires_grad = False
            out.history = None
            out.tick = 0
        if anomaly:
            watch.inspect_forward(self, out, arrays)
        return out

    def explained(self, error: Exception, arrays: Sequence[Any]) -> Exception:
        """The error of a forward pass, with the op and the shapes in front."""
        kind = next(k for k in (TypeError, np.linalg.LinAlgError, ValueError, IndexError) if isinstance(error, k))
        message = str(error)
        name = self.name.lstrip("_")
        if message.startswith(f"{name}:"):
            return kind(message)
        shapes = ", ".join(str(x.shape) if isinstance(x, np.ndarray) else repr(x) for x in arrays)
        return kind(f"{name}: inputs of shape {shapes}: {message}")

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def op(
    formula: str, inputs: Sequence[str] | None = None, numpy: Iterable[Any] = (), saves: bool = False
) -> Callable[[Callable[P, Any]], Op[P]]:
    """Decorator: declare the decorated forward as an op.

    ``formula`` is LaTeX; ``inputs`` names the differentiable arguments (by default those without a default value);
    ``numpy`` lists the NumPy functions which mean this op when they are called on a Tensor.
    """

    def declare(forward: Callable[P, Any]) -> Op[P]:
        new = Op(forward, formula, inputs, saves, builtin=True)
        REGISTRY[new.name] = new
        BY_NUMPY.update(dict.fromkeys(numpy, new))
        return new

    return declare


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
    order, leaves, gradients = reachable(outputs, since)
    asked = None if wrt is None else set(map(id, wrt))
    if asked is not None:
        gradients = {id(t): None for t in leaves if id(t) in asked}
        for t in order:
            if id(t) in asked or any(id(x) in gradients for x in t.history[1]):
                gradients[id(t)] = None
    for t, g in zip(outputs, upstream):
        if id(t) in gradients:
            gradients[id(t)] = g if gradients[id(t)] is None else gradients[id(t)] + g
    answers: dict[int, Any] = {}
    shared = set(map(id, upstream))  # arrays that stand, or will stand, for more than one gradient
    free = not (retain_graph or create_graph)
    anomaly, last_write = mode.get().anomaly, watch.last_write

    while order:
        t = order.pop()
        g = gradients.pop(id(t), None)
        if g is None:
            continue
        op, inputs, arrays, params, keeps = t.history
        if asked is not None:
            if id(t) in asked:
                answers[id(t)] = g
            if not any(id(x) in gradients for x in inputs):
                continue
        elif keeps:
            deposit(t, g, shared)
        if last_write > t.tick:
            watch.refuse_written(t, op, arrays)
        if anomaly:
            watch.refuse_changed(t, op, arrays)
        out: Any = t.data
        given: Any = arrays
        if create_graph:
            out = t
            given = [x if isinstance(x, Value) else a for x, a in zip(inputs, arrays)]
            if op.saves:
                params = {**params, "saved": None}
        rules = op.joint(g, out, *given, **params) if op.joint else op.rules
        for x, a, r in zip(inputs, arrays, rules):
            slot = id(x)
            if slot not in gradients:
                continue
            if rules is op.rules:
                r = r(g, out, *given, **params) if params else r(g, out, *given)
            if create_graph:
                r = _conform_tensor(r, x)
            elif type(r) is not ndarray or r.shape != a.shape or r.dtype is not a.dtype:
                r = _conform(r, a.shape, a.dtype)
            if anomaly:
                watch.inspect_backward(op, inputs, x, r, g)
            if r is g:
                shared.add(id(r))
            held = gradients[slot]
            if held is None:
                gradients[slot] = r
            elif create_graph or held.base is not None or id(held) in shared:
                gradients[slot] = held + r
            else:  # our rules give g itself, a view, or an array of their own, which may be added to
                held += r
                gradients[slot] = held
        if free:
            t.history = FREED
        x = a = r = held = rules = None  # so that their memory is free before the next op
    for t in leaves:
        g = gradients.get(id(t))
        if g is None:
            continue
        if asked is not None:
            answers[id(t)] = g
        else:
            deposit(t, g, shared)
    return [answers.get(id(t)) for t in wrt or ()]


def reachable(outputs: Iterable[Value], since: int = 0) -> tuple[list[Any], list[Value], dict[int, Any]]:
    """What wants a gradient and led to an output: the results of ops, oldest first; the leaves; an empty slot for each."""
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
    return watch.tick()


def boundary(output: Value, start: int) -> list[Value]:
    """The tensors older than ``start`` from which ``output`` was computed after ``start``."""
    stack, seen, older = [output], {id(output)}, []
    while stack:
        t = stack.pop()
        if t.tick < start:
            older.append(t)
            continue
        for x in t.history[1] if t.history else ():
            if isinstance(x, Value) and x.requires_grad and id(x) not in seen:
                seen.add(id(x))
                stack.append(x)
    return older


def deposit(t: Value, g: Any, shared: set[int]) -> None:
    """Add ``g`` to ``t.grad``, in memory that no other tensor shares: the gradients in ``shared`` are copied."""
    if t.grad is not None and t.grad.tick == USED:
        warnings.warn(
            "backward adds to a gradient that an optimizer step has used already, so two steps are mixed; "
            "call optimizer.zero_grad() before each backward()",
            stacklevel=4,
        )
        t.grad.tick = 0
    if isinstance(g, Value):
        t.grad = g.copy() if t.grad is None else t.grad + g  # type: ignore[attr-defined]
    elif t.grad is not None:
        t.grad = wrap(t.grad.data + g)
    else:
        t.grad = wrap(g.copy() if id(g) in shared or g.base is not None else g)
        shared.add(id(g))


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum ``g`` over the axes along which an input of ``shape`` was broadcast."""
    extra = g.ndim - len(shape)
    if type(g) is ndarray and len(shape) == 1 and g.shape[extra:] == shape and g.size:
        return column_sums(g.reshape(-1, shape[0]))
    axes = tuple(i for i, n in enumerate(g.shape) if i < extra or (shape[i - extra] == 1 and n != 1))
    return g.sum(axis=axes).reshape(shape) if axes else g.reshape(shape)


def _conform(r: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """What a rule gave, as an array of the input's shape and dtype."""
    r = np.asarray(r)
    if r.shape != shape:
        r = unbroadcast(r, shape)
    return r if r.dtype == dtype else r.astype(dtype)


def _conform_tensor(r: Any, x: Value) -> Any:
    r = r if isinstance(r, Value) else wrap(r)
    if r.data.shape != x.data.shape:
        r = unbroadcast(r, x.data.shape)
    return r if r.data.dtype == x.data.dtype else r.astype(x.data.dtype)
