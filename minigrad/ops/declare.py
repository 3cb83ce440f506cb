"""What an op is: a primitive one with a rule for each input, or one composed of others with, perhaps, a fast kernel behind it.

It has more than 300 lines because calling, recording and refusing are the same for all ops, and are written here once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec

import numpy as np

from .. import graph, guards
from ..graph import REGISTRY, Value
from ..guards import short
from ..modes import enable_grad, mode, no_grad
from ..numerics import one_precision

if TYPE_CHECKING:
    from ..tensor import Tensor

P = ParamSpec("P")
Rule = Callable[..., Any]

intercepted = 0  # how many stand between the engine and its ops, so that no program passes them by
BY_NUMPY: dict[Any, Callable[..., Any]] = {}  # which function of ours answers a NumPy function called on a Tensor


class Example(NamedTuple):
    """Inputs and params on which an op is tried by the checks; ``through`` is the function to call instead of the op itself."""

    inputs: tuple[Any, ...]
    params: dict[str, Any]
    through: Callable[..., Any] | None = None


Examples = Callable[[Any], list[Example]]  # of a generator of random numbers


def example(*inputs: Any, **params: Any) -> Example:
    """An example, written as the call would be."""
    return Example(inputs, params)


class Op(Generic[P]):
    """A primitive differentiable function: its forward on arrays, its formula, and one VJP rule per input.

    Calling it on Tensors records it.  ``forward(*inputs, **params)`` takes arrays and returns one.
    """

    definition: Callable[..., Any] | None = None
    joint: Rule | None = None
    own_examples: Examples | None = None

    def __init__(self, forward: Callable[P, Any], formula: str, inputs: Sequence[str] | None, builtin: bool):
        signature = list(inspect.signature(forward).parameters.values())
        self.variadic = bool(signature) and signature[0].kind is inspect.Parameter.VAR_POSITIONAL
        names = [p.name for p in signature if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
        self.name = forward.__name__
        self.forward: Callable[..., Any] = forward
        self.formula = formula
        self.ufunc: np.ufunc | None = None
        self.inputs = tuple(inputs if inputs is not None else names)
        self.params = tuple(p.name for p in signature if p.name not in self.inputs)
        self.defaults = {p.name: p.default for p in signature if p.default is not p.empty}
        self.signature = str(inspect.signature(forward))
        self.builtin = builtin
        self.arity = -1 if self.variadic else len(self.inputs)
        self.rules: list[Rule | None] = [None] * len(self.inputs)
        self.derivatives: dict[str, str] = {}
        functools.update_wrapper(self, forward)

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

    @property
    def examples(self) -> Examples | None:
        """What makes the inputs on which the checks try the op: its own, or those in ``minigrad/examples.py``."""
        return self.own_examples or import_module("minigrad.examples").EXAMPLES.get(self)

    @examples.setter
    def examples(self, own: Examples | None) -> None:
        self.own_examples = own

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        if kwargs or len(args) != self.arity:
            return self.apply(*self.bind(args, kwargs))
        return self.apply(args)

    def on(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The op inside a rule: on arrays it returns an array, on Tensors a recorded Tensor."""
        inputs, params = self.bind(args, kwargs)
        if any(isinstance(x, Value) for x in inputs):
            return self.apply(inputs, params)
        return self.forward(*inputs, **params)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Sort the arguments of a call into inputs (differentiable) and params."""
        if self.variadic:
            return args, kwargs
        n = len(self.inputs)
        if len(args) > n + len(self.params):
            raise TypeError(f"{self.name}: takes {n + len(self.params)} arguments at most, got {len(args)}")
        params = dict(zip(self.params, args[n:]))
        inputs = list(args[:n])
        for name in self.inputs[len(inputs) :]:
            if name in kwargs:
                inputs.append(kwargs.pop(name))
            elif name in self.defaults:
                inputs.append(self.defaults[name])
            else:
                raise TypeError(f"{self.name}: argument {name!r} is missing; it takes {self.signature}")
        for name, value in kwargs.items():
            if name not in self.params or name in params:
                what = "given twice" if name in params or name in self.inputs else "unknown"
                raise TypeError(f"{self.name}: argument {name!r} is {what}; it takes {self.signature}")
            params[name] = value
        for name, value in params.items():
            if isinstance(value, Value):
                if value.requires_grad:
                    raise TypeError(
                        f"{self.name}: {name} takes no gradient, but got a Tensor that requires grad; use plain operators, or {name}.detach()"
                    )
                params[name] = value.data
        return tuple(inputs), params

    def apply(self, inputs: tuple[Any, ...], params: dict[str, Any] = graph.NO_PARAMS) -> Tensor:
        """Compute the op, and record it when an input wants a gradient."""
        recording, anomaly, _, tape = mode.get()
        wanted = False
        arrays: list[Any] = []
        for x in inputs:
            if isinstance(x, Value):
                arrays.append(x.data)
                wanted = wanted or x.requires_grad
            else:
                arrays.append(x if type(x) is float else constant(x, recording and tape is None))
        try:
            data = self.forward(*arrays, **params) if params else self.forward(*arrays)
        except (ValueError, IndexError, TypeError) as error:
            raise self.explained(error, arrays) from error
        out = graph.record(self, data, inputs, arrays, params, wanted and recording)
        if tape is not None:
            out = tape.note(self, inputs, arrays, params, out)
        if anomaly:
            guards.after_forward(self, out, arrays)
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


class Composed(Op[P]):
    """An op that is defined by other ops.  ``definition(*tensors, **params)`` alone says what its value and its derivatives are.

    It is recorded as one result, whose gradients come from the graph of the definition.  A kernel may do the same on arrays, faster:
    ``forward(*arrays, **params, save=...)`` returns ``(out, saved)``, and ``vjp(g, out, saved, *arrays, **params)`` a gradient for each
    input; if it takes ``wanted``, it is told which ones are needed, and if it calls the result ``_``, a program does not keep it.  When
    the backward pass is recorded itself, the result is differentiated through the definition, kernel or not.
    """

    def __init__(self, definition: Callable[P, Any], formula: str, inputs: Sequence[str] | None, derivatives: dict[str, str]):
        super().__init__(definition, formula, inputs, builtin=True)
        self.definition = definition
        self.derivatives = derivatives
        self.forward = self.by_definition
        self.kernel: tuple[Rule, Rule] | None = None
        self.fits: Callable[..., bool] | None = None
        self.check: Callable[..., None] | None = None  # of the inputs; raises ValueError
        self.selective = False
        self.reads_result = True

    def accelerate(self, forward: Callable[..., Any], vjp: Rule, fits: Callable[..., bool] | None = None) -> None:
        """Put a kernel behind the definition, for inputs of one floating-point dtype and params that it ``fits`` (all when None)."""
        self.kernel, self.forward, self.fits = (forward, vjp), forward, fits
        names = list(inspect.signature(vjp).parameters)
        self.selective, self.reads_result = "wanted" in names, names[1] != "_"

    def apply(self, inputs: tuple[Any, ...], params: dict[str, Any] = graph.NO_PARAMS) -> Tensor:
        """By the kernel if there is one that fits, else by the definition; one result is recorded."""
        recording, anomaly, plain, tape = mode.get()
        wanted = False
        arrays = []
        for x in inputs:
            if isinstance(x, Value):
                arrays.append(x.data)
                wanted = wanted or x.requires_grad
            else:
                arrays.append(constant(x, recording and tape is None))
        wanted = wanted and recording
        if self.check is not None:
            self.check(*arrays, **params)
        fast = self.kernel is not None and not plain and one_precision(arrays) and (self.fits is None or self.fits(*arrays, **params))
        try:
            if not fast:
                if tape is not None:
                    tape.leaves_among(inputs)  # the definition works on other Tensors around the same arrays
                data, saved = self.by_definition(*arrays, **params, save=wanted)
            elif tape is None:
                data, saved = self.forward(*arrays, **params, save=wanted)
            else:
                data, saved = tape.kernel(self, inputs, arrays, params, wanted)
        except (ValueError, IndexError, TypeError) as error:
            raise self.explained(error, arrays) from error
        if wanted:
            params = {**params, "saved": saved}
            if self.selective and fast:
                params["wanted"] = [isinstance(x, Value) and x.requires_grad for x in inputs]
        out = graph.record(self, data, inputs, arrays, params, wanted)
        if tape is not None:
            out = tape.watched(out)
        if anomaly:
            guards.after_forward(self, out, arrays)
        return out

    def by_definition(self, *arrays: Any, save: bool = False, **params: Any) -> tuple[np.ndarray, Any]:
        """The value of the definition, and, to ``save``, its graph: the variables that it begins with, and its result."""
        tape = mode.get().tape
        with nullcontext() if tape is None else tape.within(self), enable_grad() if save else no_grad():
            variables = [x if x is None else _variable(x, save) for x in arrays]
            result = self.definition(*variables, **params)  # type: ignore[misc]
        return result.data, Graph(variables, result) if save else None

    def joint(self, g: Any, y: Any, *given: Any, saved: Any = None, wanted: Any = None, **params: Any) -> Any:
        """A gradient for each input; when the backward pass is recorded itself, through the definition."""
        recording, _, _, tape = mode.get()
        if isinstance(g, Value) and recording:
            return through_definition(self.definition, g, given, params)
        if isinstance(saved, Graph):
            return saved.pull(g)
        rest = {} if wanted is None else {"wanted": wanted}
        if tape is not None:
            return tape.call(self.kernel[1], (g, y if self.reads_result else None, saved, *given), params | rest, self)  # type: ignore[index]
        return self.kernel[1](g, y, saved, *given, **params, **rest)  # type: ignore[index]


class Graph(NamedTuple):
    """The graph of a definition, from its variables to its result."""

    variables: list[Any]
    result: Any

    def pull(self, g: Any) -> list[Any]:
        """The gradient of each variable, given that of the result."""
        wanted = [x for x in self.variables if x is not None and x.requires_grad]
        found = iter(graph.pullback([self.result], [g], wanted, retain_graph=True))
        return [next(found) if x is not None and x.requires_grad else None for x in self.variables]


def _variable(x: Any, requires_grad: bool) -> Tensor:
    """A leaf to begin with."""
    t = graph.wrap(x)  # the same array, as which a tape knows it
    t.requires_grad = requires_grad and t.data.dtype.kind == "f"
    return t


def through_definition(definition: Any, g: Any, given: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """The gradients of ``definition(*given, **params)`` with respect to each Tensor given, recorded so that they have derivatives too."""
    with enable_grad():
        variables = [REGISTRY["add"](x, 0) if isinstance(x, Value) and x.requires_grad else x for x in given]
        start = graph.now()
        again = definition(*[x if x is None or isinstance(x, Value) else graph.wrap(x) for x in variables], **params)
        wanted = [x for x in variables if isinstance(x, Value) and x.requires_grad]
        found = iter(graph.pullback([again], [g], wanted, create_graph=True, since=start))
    return [next(found) if isinstance(x, Value) and x.requires_grad else None for x in variables]


def op(formula: str, inputs: Sequence[str] | None = None, numpy: Iterable[Any] = ()) -> Callable[[Callable[P, Any]], Op[P]]:
    """Decorator: declare the decorated forward as a primitive op.

    ``formula`` is LaTeX; ``inputs`` names the differentiable arguments (by default those without a default value);
    ``numpy`` lists the NumPy functions which mean this op when they are called on a Tensor.
    """

    def declare(forward: Callable[P, Any]) -> Op[P]:
        new = Op(forward, formula, inputs, builtin=True)
        new.ufunc = next((f for f in numpy if isinstance(f, np.ufunc)), None)
        REGISTRY[new.name] = new
        BY_NUMPY.update(dict.fromkeys(numpy, new))
        return new

    return declare


def composed(formula: str, inputs: Sequence[str] | None = None, **derivatives: str) -> Callable[[Callable[P, Any]], Composed[P]]:
    """Decorator: declare the decorated function, which is made of ops, as an op with a formula and, for explanations, its derivatives."""

    def declare(definition: Callable[P, Any]) -> Composed[P]:
        new = Composed(definition, formula, inputs, derivatives)
        REGISTRY[new.name] = new
        return new

    return declare


def recorded(function: Callable[..., Any], effects: bool = False, shown: str | None = None) -> Callable[..., Any]:
    """Decorator: a function of arrays that has no derivative (ids checked, masks made, numbers drawn), which a program calls again.

    Called with Tensors it gets their arrays; it returns an array, a number in the dtype that it is to have, or a tuple of them.
    One with ``effects`` is called again even if nobody reads what it returns; ``shown`` is what the source of a program shows in its
    place, such as "{1}" for a function that checks its second argument and hands it on.
    """
    if shown is not None:
        function.shown = shown  # type: ignore[attr-defined]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        tape = mode.get().tape
        if tape is None:
            return function(*map(arrays_of, args), **{k: arrays_of(v) for k, v in kwargs.items()})
        return tape.call(function, args, kwargs, effects=effects)

    return call


def constant(x: Any, recording: bool) -> Any:
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


def arrays_of(x: Any) -> Any:
    """Tensors, also inside tuples and lists, as arrays; everything else as it is."""
    if isinstance(x, Value):
        return x.data
    return type(x)(arrays_of(i) for i in x) if type(x) in (tuple, list) else x
