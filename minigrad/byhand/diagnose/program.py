r"""The backward program behind a gradient, step by step, and what becomes of the gradient when some of its steps are
edited.

Walking back is linear: an edit that hands :math:`\delta` more to a tensor changes the gradient of a variable by
:math:`J^\top \delta`.  Whether it could explain the claimed numbers shows already in a few projections,
:math:`\langle r, J^\top \delta \rangle = \langle J r, \delta \rangle`, where the tangents :math:`J r` are computed
once.

A ``Question`` is the function at its inputs, in whichever form they were given, recorded once, with the gradients that
are claimed.  It has more than 300 lines because a step, the program and an edit are defined by each other, and inputs
and claims come in many forms, each checked with words of its own.
"""

from __future__ import annotations

import ast
import copy
import inspect
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ...modes import enable_grad, no_grad
from ...random import generator
from ...tensor import Tensor
from ..gradcheck import CUT, EDGE, Line, arity, as_float64, binds, floating, slope, takes
from ..recording import Call, Place, Trace, call_of, conform, recorded_order, steps_of

CONSTANT = -1
PRODUCTS = ("matmul", "multiply", "_einsum")


class Site(NamedTuple):
    """Where an edit changes the walk: a step with upstream gradient ``g`` adds ``more(g)`` to a node's gradient."""

    step: int
    node: int
    more: Any  # (g) -> array


@dataclass(eq=False)
class Step:
    """One op; ``inputs`` are nodes or CONSTANT, ``g`` is the upstream gradient, ``shares`` what each input gets."""

    index: int
    call: Call
    inputs: list[int]
    arrays: list[Any]
    value: np.ndarray
    out: int
    place: Place | None
    within: str = ""
    visit: int = 0  # which run of the line it belongs to
    g: Any = None
    raw: list[Any] = field(default_factory=list)
    shares: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The op's name as the user knows it."""
        if self.call.name == "take":
            return "take" if self.place is None or "take(" in self.place.source else "embedding"
        return self.call.name

    @property
    def op(self) -> str:
        """The op's own name."""
        return str(self.call.op.name)

    @property
    def params(self) -> dict[str, Any]:
        """The op's parameters."""
        return self.call.params

    def wanted(self) -> Iterable[int]:
        """The numbers of the inputs that get a gradient."""
        return (i for i, x in enumerate(self.inputs) if x != CONSTANT)

    def number(self, i: int) -> float | None:
        """The value of an input of one entry; None for a larger one."""
        a = self.arrays[i]
        return float(np.reshape(a, -1)[0]) if a is not None and np.size(a) == 1 else None

    def multiplies_zeros(self) -> bool:
        """Whether an input is a constant array with zeros: a mask."""
        return any(
            x == CONSTANT and np.size(a) > 1 and not np.all(a) for x, a in zip(self.inputs, self.arrays, strict=True))

    def pull(self, g: np.ndarray) -> list[Any]:
        """The rule of the op, before sums over broadcast axes."""
        return self.call.pull(g, self.value, self.arrays)

    def share(self, i: int, g: np.ndarray) -> np.ndarray:
        """What input ``i`` gets of an upstream gradient."""
        return self.shares[i] if g is self.g else conform(self.pull(g)[i], self.arrays[i])


def pushed(step: Step, along: list[Any]) -> np.ndarray:
    """How the result of a step moves when its inputs move ``along`` (None for those that stay)."""
    op = step.op
    if op in ELEMENTWISE:  # its Jacobian is a diagonal: pulling and pushing are the same
        total = np.zeros(step.value.shape)
        for i, v in enumerate(along):
            if v is not None:
                total = total + step.pull(np.broadcast_to(v, step.value.shape))[i]
        return total

    def f(h: float) -> np.ndarray:
        moved = [a if v is None else a + h * v for a, v in zip(step.arrays, along, strict=True)]
        return step.call.forward(moved)

    if op in MULTILINEAR:
        return (f(1.0) - f(-1.0)) / 2
    h = 1e-3 / max(float(np.abs(v).max(initial=1e-300)) for v in along if v is not None)
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


ELEMENTWISE = {
    "add", "subtract", "multiply", "divide", "negative", "power", "exp", "log", "log1p", "expm1", "sqrt", "square",
    "reciprocal", "sin", "cos", "tanh", "sigmoid", "abs", "erf", "maximum", "minimum", "relu", "clip", "select", "silu",
    "_gelu_erf", "_gelu_tanh", "astype", "tril", "triu"}
MULTILINEAR = {
    "matmul", "sum", "mean", "var", "cumsum", "reshape", "transpose", "swapaxes", "split_heads", "join_heads",
    "broadcast_to", "_concatenate", "_stack", "flip", "pick", "_take", "put"}


class Skipped:
    """An op that hands on one of its inputs as it is."""

    def __init__(self, call: Call, i: int, mask: np.ndarray | None) -> None:
        self.call, self.i, self.mask = call, i, mask

    def __getattr__(self, name: str) -> Any:
        return getattr(self.call, name)

    def forward(self, arrays: Sequence[Any]) -> Any:
        return arrays[self.i]

    def pull(self, g: np.ndarray, out: np.ndarray, arrays: Sequence[Any]) -> list[Any]:
        given: list[Any] = [np.zeros(np.shape(a)) if self.call.wants(k) else None for k, a in enumerate(arrays)]
        given[self.i] = g if self.mask is None else g * self.mask
        return given


# The whole program ---------------------------------------------------------------------------------------------------

DIRECTIONS = 12
NOTHING: Mapping[int, Any] = {}
Placing = Callable[[int], tuple[Place | None, int]]  # the line at a tick, and which run of it


class Program:
    """Everything between the variables and the output, oldest first; nodes are numbered."""

    def __init__(
        self, output: Any, upstream: np.ndarray, variables: Sequence[Any], place: Placing, names: dict[int, str]
    ) -> None:
        self.steps: list[Step] = []
        self.values: list[np.ndarray] = []
        self.names: dict[int, str] = {}
        self._where: tuple[Place | None, int] = (None, 0)
        self.scalars: dict[str, float] = {}  # the user's numbers by name
        self.lengths: dict[tuple[int, ...], dict[int, str]] = {}  # where each length is met, by what is looked at first
        self._products: dict[str, list[tuple[str, float, list[tuple[str, float]]]]] = {}
        self.inner: dict[tuple[int, int], frozenset[int]] = {}  # by an edit's step and node: the steps it stands for
        self.recognised: set[int] = set()  # results of functions that were written out and are recognised
        self.constants = names  # by the id of the array
        self.keep: list[Any] = []  # ids stay valid while their objects live
        self.nodes: dict[int, int] = {}
        for v in variables:
            self._node(v, names)
        self.variables = list(range(len(self.values)))
        self._add(recorded_order(output, "diagnose"), place, names, "")
        self.output, self.seed = self.nodes[id(output)], upstream
        self._index()
        self._walk_back()

    def _node(self, t: Any, names: dict[int, str]) -> int:
        if id(t) not in self.nodes:
            self.nodes[id(t)] = len(self.values)
            self.values.append(t.data)
            self.keep.append(t)
            if name := names.get(id(t)) or t.name:
                self.names[self.nodes[id(t)]] = name
        return self.nodes[id(t)]

    def _add(self, order: Sequence[Any], place: Placing, names: dict[int, str], within: str) -> None:
        for t in order:
            call = call_of(t)
            if call is None:
                continue
            where = place(t.tick) if not within else self._where
            plainer = steps_of(call)
            if plainer is not None:
                stand_ins, result = plainer
                for x, s in zip(call.inputs, stand_ins, strict=True):
                    if s is not x:
                        self.nodes[id(s)] = self._node(x, names)
                        self.keep.append(s)
                self._where = where
                self._add(recorded_order(result, "diagnose"), place, names, within or call.name)
                self.nodes[id(t)] = self.nodes[id(result)]
                self.keep.append(t)
                if name := names.get(id(t)) or t.name:
                    self.names[self.nodes[id(t)]] = name
                continue
            inputs = [self._node(x, names) if call.wants(i) else CONSTANT for i, x in enumerate(call.inputs)]
            arrays = [np.asarray(a) if isinstance(a, np.ndarray) else a for a in call.arrays]
            out = self._node(t, names)
            self.steps.append(Step(len(self.steps), call, inputs, arrays, t.data, out, where[0], within, where[1]))

    def _index(self) -> None:
        self.made: dict[int, Step] = {step.out: step for step in self.steps}
        self.readers: dict[int, list[tuple[Step, int]]] = {}
        for step in self.steps:
            for i in step.wanted():
                self.readers.setdefault(step.inputs[i], []).append((step, i))

    def _walk_back(self, sites: Sequence[Site] = ()) -> None:
        self.gradients: list[Any] = [None] * len(self.values)
        self.gradients[self.output] = self.seed
        for step in reversed(self.steps):
            g = self.gradients[step.out]
            if g is None:
                continue
            step.g, step.raw = g, step.pull(g)
            step.shares = [None if r is None else conform(r, a) for r, a in zip(step.raw, step.arrays, strict=True)]
            for i in step.wanted():
                at, share = step.inputs[i], step.shares[i]
                self.gradients[at] = share if self.gradients[at] is None else self.gradients[at] + share
            for site in sites:
                if site.step == step.index:
                    before = self.gradients[site.node]
                    self.gradients[site.node] = site.more(g) + (0.0 if before is None else before)
        self.live = [step for step in self.steps if step.g is not None]

    def gradient(self, i: int) -> np.ndarray:
        """The gradient of variable ``i``."""
        g = self.gradients[i]
        return np.zeros(self.values[i].shape) if g is None else np.asarray(g)

    def changes(self, sites: Sequence[Site], given: Mapping[int, np.ndarray] = NOTHING) -> dict[int, np.ndarray]:
        """By how much the gradient of each node changes under these edits, and when more is ``given`` to some nodes."""
        at: dict[int, list[Site]] = {}
        for site in sites:
            at.setdefault(site.step, []).append(site)
        delta = dict(given)

        def add(node: int, d: np.ndarray) -> None:
            delta[node] = delta[node] + d if node in delta else d

        for step in reversed(self.steps if given else self.steps[: max(at, default=-1) + 1]):
            if step.g is None:
                continue
            moved = delta.get(step.out)
            if moved is not None:
                results = step.pull(moved)
                for i in step.wanted():
                    add(step.inputs[i], conform(results[i], step.arrays[i]))
            for site in at.get(step.index, ()):
                add(site.node, site.more(step.g if moved is None else step.g + moved))
        return delta

    def edited(self, i: int, sites: Sequence[Site]) -> np.ndarray:
        """The gradient of variable ``i`` under these edits."""
        delta = self.changes(sites).get(i)
        return self.gradient(i) if delta is None else self.gradient(i) + delta

    def leads(self, i: int) -> set[int]:
        """The nodes that variable ``i`` acts on, itself among them."""
        found = {i}
        for step in self.steps:
            if any(x in found for x in step.inputs):
                found.add(step.out)
        return found

    def tangents(self, i: int) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """A few directions in which variable ``i`` may move, and how each node moves along them."""
        rng = np.random.default_rng(0)
        x = self.values[i]
        directions = rng.normal(size=(DIRECTIONS, *x.shape))
        moved = {i: directions}
        for step in self.steps:
            if not any(n in moved for n in step.inputs):
                continue
            along = [moved.get(n) if n != CONSTANT else None for n in step.inputs]
            moved[step.out] = np.array(
                [pushed(step, [None if m is None else m[k] for m in along]) for k in range(DIRECTIONS)])
        return directions, moved

    def replayed(
        self, skip: Mapping[int, int], change: Mapping[int, Callable[[np.ndarray], np.ndarray]] = NOTHING,
        mask: Mapping[int, np.ndarray] = NOTHING, resized: bool = False
    ) -> Program | None:
        """The program of another function; None where that does not run.

        The result of a step in ``skip`` is one of its inputs itself, that of a step in ``change`` is changed; the
        gradient that passes a step in ``mask`` is multiplied.  ``resized``: shapes may change on the way.
        """
        new = copy.copy(self)
        new.values, new.steps = list(self.values), []
        try:
            for s in self.steps:
                arrays = [a if n == CONSTANT else new.values[n] for n, a in zip(s.inputs, s.arrays, strict=True)]
                call: Any = Skipped(s.call, skip[s.index], mask.get(s.index)) if s.index in skip else s.call
                same = s.index not in skip and all(x is y for x, y in zip(arrays, s.arrays, strict=True))
                value = s.value if same else np.asarray(call.forward(arrays), float)
                value = change[s.index](value) if s.index in change else value
                if (value.shape != s.value.shape and not resized) or not np.isfinite(value).all():
                    return None
                new.values[s.out] = value
                new.steps.append(Step(s.index, call, s.inputs, arrays, value, s.out, s.place, s.within, s.visit))
            if new.values[self.output].shape != self.values[self.output].shape:
                return None
            new._index()
            new._walk_back()
        except (ValueError, IndexError, TypeError, FloatingPointError):
            return None
        return new

    def under(self, sites: Sequence[Site]) -> Program:
        """The same program with an edited backward pass."""
        new = copy.copy(self)
        new.steps = [replace(s, g=None, raw=[], shares=[]) for s in self.steps]
        new._index()
        new._walk_back(sites)
        return new

    # Words -----------------------------------------------------------------------------------------------------------

    def called(self, node: int, depth: int = 2) -> str:
        """A node in words: the user's name for it, or the expression that made it."""
        if node in self.names:
            return self._counted(node)
        step = self.made.get(node)
        if step is None:
            return f"the input of shape {self.values[node].shape}"
        text = self.expression(step, depth)
        return text if len(text) <= 44 else f"the result of {step.name}"

    def _counted(self, node: int) -> str:
        """A name; where a loop gave it to several results, with the number of the one that is meant."""
        name = self.names[node]
        alike = [n for n in self.names if self.names[n] == name]
        return name if len(alike) == 1 else f"{name} (number {sorted(alike).index(node) + 1} of {len(alike)})"

    def expression(self, step: Step, depth: int = 2) -> str:
        """What a step computes, as code."""
        given = [i for i, a in enumerate(step.arrays) if a is not None]
        parts = [self.operand(step, i, depth - 1) if depth else "…" for i in given]
        sign = SIGNS.get(step.op)
        if sign and len(parts) == 2:
            return f"{_wrapped(parts[0])} {sign} {_wrapped(parts[1])}"
        if step.op == "negative":
            return f"-{_wrapped(parts[0])}"
        if step.op in ("swapaxes", "transpose") and step.value.ndim == 2:
            return f"{_wrapped(parts[0])}.T"
        if step.name == "indexing":
            return f"{_wrapped(parts[0])}[{_index_text(step.params.get('index'))}]"
        return f"{step.name}({', '.join(parts)})"

    def operand(self, step: Step, i: int, depth: int = 2) -> str:
        """Input ``i`` of a step in words."""
        if step.inputs[i] != CONSTANT:
            return self.called(step.inputs[i], depth)
        x, a = step.call.inputs[i], step.arrays[i]
        if id(x) in self.constants:
            return self.constants[id(x)]
        if isinstance(a, np.ndarray) and a.ndim and id(a.base) in self.constants:
            return f"{self.constants[id(a.base)]}[…]"
        value = step.number(i)
        if value is not None:
            return f"{value:.6g}"
        return f"the constant of shape {np.shape(a)}"

    def scalar_factors(self, node: int) -> list[int]:
        """The numbers that were multiplied to make one; nothing for a number that is no product."""
        made = self.made.get(node)
        if made is None or made.op != "multiply" or made.value.size != 1:
            return []
        return [x for n in made.wanted() for x in (self.scalar_factors(made.inputs[n]) or [made.inputs[n]])]

    def parts(self, step: Step, value: float) -> list[tuple[str, float, str]]:
        """Where the user's line computes a number from others, its factors: (text, value, the whole as code)."""
        if step.place is None:
            return []
        if step.place.source not in self._products:
            self._products[step.place.source] = list(_products(step.place.source, self.scalars))
        for whole, product, factors in self._products[step.place.source]:
            if abs(product - abs(value)) <= 1e-12 * abs(value):
                return [(text, v, whole) for text, v in factors if v not in (0.0, 1.0, -1.0)]
        return []

    def where(self, step: Step) -> str:
        """The line of the user's function, with the library op that the step is a part of."""
        inside = f" of {step.within}" if step.within else ""
        twin = any(
            s is not step and s.op == step.op and s.place == step.place and s.visit == step.visit
            for s in self.steps)
        text = self.expression(step, 1) if twin and step.name != "indexing" else ""
        what = text if text.startswith(f"{step.name}(") and not inside else f"{step.name}{inside} {text}".rstrip()
        return what + (f" ({step.place})" if step.place else "")


def _products(source: str, scalars: Mapping[str, float]) -> Iterator[tuple[str, float, list[tuple[str, float]]]]:
    """Every product of numbers in a line of code: the code, its value, and its factors as (code, value)."""
    try:
        tree = ast.parse(source if not source.endswith(":") else f"{source} pass")
    except SyntaxError:
        return
    for node in ast.walk(tree):
        factors = _factors(node, scalars, 1)
        if factors is not None and len(factors) > 1:
            yield ast.unparse(node), abs(math.prod(v for _, v in factors)), factors


def _factors(node: ast.AST, scalars: Mapping[str, float], power: int) -> list[tuple[str, float]] | None:
    """The factors of an expression of numbers; None for any other expression."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        left = _factors(node.left, scalars, power)
        right = _factors(node.right, scalars, -power if isinstance(node.op, ast.Div) else power)
        return None if left is None or right is None else left + right
    value = _number(node, scalars)
    if value is None or not value:
        return None
    plain, code = isinstance(node, ast.Constant), ast.unparse(node)
    if power < 0:
        code = f"1/{code}" if isinstance(node, ast.Name | ast.Constant) else f"1/({code})"
    return [(code if plain else f"{code} = {value**power:g}", value**power)]


def _number(node: ast.AST, scalars: Mapping[str, float]) -> float | None:
    """The value of an expression of the user's numbers."""
    if isinstance(node, ast.Constant):
        return float(node.value) if isinstance(node.value, int | float) and not isinstance(node.value, bool) else None
    if isinstance(node, ast.Name):
        return scalars.get(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand, scalars)
        return None if inner is None else -inner
    if isinstance(node, ast.Call) and not node.keywords and len(node.args) == 1:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        inner = _number(node.args[0], scalars) if name == "sqrt" else None
        return None if inner is None or inner < 0 else math.sqrt(inner)
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        left, right = _number(node.left, scalars), _number(node.right, scalars)
        if left is None or right is None:
            return None
        try:
            found = ARITHMETIC[type(node.op)](left, right)
        except (ZeroDivisionError, OverflowError, ValueError):
            return None
        return found if isinstance(found, float) and math.isfinite(found) else None
    return None


ARITHMETIC: dict[type, Callable[[float, float], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: lambda a, b: a**b if abs(b) < 100 else math.nan,
}  # fmt: skip
SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@", "power": "**"}


def _wrapped(text: str) -> str:
    """An operand as it stands beside a sign: in parentheses unless it is one name, number or call."""
    depth, bare = 0, not text.startswith("-")
    for k, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        bare = bare and (depth > 0 or letter != " " or text[k + 1 : k + 2] == "(")
    return text if bare or text.startswith("the ") else f"({text})"


def _index_text(index: Any) -> str:
    if isinstance(index, slice):
        ends = (index.start, index.stop) if index.step is None else (index.start, index.stop, index.step)
        return ":".join("" if v is None else str(v) for v in ends)
    if isinstance(index, tuple):
        return ", ".join(map(_index_text, index))
    if isinstance(index, np.ndarray):
        return str(index.tolist()) if index.size <= 8 else "…"
    return "..." if index is Ellipsis else str(index)


# Edits ---------------------------------------------------------------------------------------------------------------


def overlap(program: Program, first: Sequence[Site], second: Sequence[Site]) -> bool:
    """Whether two edits exclude each other: at one place, or one within a function whose rule the other replaces."""
    return bool({x[:2] for x in first} & {x[:2] for x in second}) or any(
        y.step in program.inner.get((x.step, x.node), ())
        for some, others in ((first, second), (second, first)) for x in some for y in others)


class Edit(NamedTuple):
    """A mistake, its words, how far-fetched it is, and where it changes the walk; ``kind`` is alike for alike edits."""

    name: str
    words: str
    cost: float
    sites: tuple[Site, ...]
    kind: tuple[Any, ...]


def edit(
    program: Program, step: Step, i: int, rule: Any, name: str, words: str, cost: float, kind: tuple[Any, ...]
) -> Iterator[Edit]:
    """A mistake that is another rule for one input, where it changes something."""
    if s := site(program, step, i, rule):
        yield Edit(name, words, cost, (s,), kind)


def site(program: Program, step: Step, i: int, rule: Any, zero: bool = False) -> Site | None:
    """The edit of one input's rule; None where it does not fit, changes nothing or (unless ``zero``) leaves nothing."""

    a = step.arrays[i]

    def more(g: np.ndarray) -> np.ndarray:
        r = np.asarray(rule(g), float)
        return conform(np.broadcast_to(r, np.broadcast_shapes(r.shape, np.shape(a))), a) - step.share(i, g)

    try:
        with np.errstate(all="ignore"):
            change = more(step.g)
    except (ValueError, IndexError, TypeError):
        return None
    size = float(np.abs(step.shares[i]).max(initial=0))
    if not zero and float(np.abs(change + step.shares[i]).max(initial=0)) <= 1e-12 * size:
        return None
    fits = change.shape == np.shape(a) and np.isfinite(change).all()
    if not fits or float(np.abs(change).max(initial=0)) <= 1e-10 * size:
        return None
    return Site(step.index, step.inputs[i], more)


# The question --------------------------------------------------------------------------------------------------------


class Question:
    """The function at its inputs: recorded once, and called again for differences."""

    def __init__(self, f: Callable[..., Any], inputs: Any, upstream: Any, names: list[str] | None) -> None:
        self.f = f
        self.keys: list[str] | None = list(inputs) if isinstance(inputs, Mapping) else None
        alone = not isinstance(inputs, Mapping | list | tuple) or (
            isinstance(inputs, list) and _is_data(inputs) and arity(f) == 1)
        given = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs] if alone else list(inputs)
        if any(isinstance(x, Mapping | list | tuple) for x in given if not _is_data(x)):
            raise TypeError("diagnose: nested inputs; give one array, a flat list or tuple, or a flat dict of arrays")
        self.as_tree = self.keys is not None and not takes(f, self.keys)
        self.arrays = [as_float64(np.asarray(x) if isinstance(x, list | tuple) else x, "diagnose") for x in given]
        self.which = floating(self.arrays, "diagnose")
        if self.keys is None and not binds(f, len(given)):
            raise TypeError(
                f"diagnose: the function takes {arity(f)} arguments, but {len(given)} inputs are given; give them as a"
                " list or a tuple")
        self.names = self._named(names, given)
        self.state = generator().bit_generator.state
        variables: list[Any] = list(self.arrays)
        for i in self.which:
            variables[i] = Tensor(self.arrays[i], requires_grad=True, name=self.names[i])
        self.trace = Trace()
        with enable_grad(), np.errstate(all="ignore"):
            output = self.trace.run(lambda: self.call(variables))
        if not output.requires_grad:
            raise TypeError(f"diagnose: {CUT}")
        if not np.isfinite(output.data).all():
            bad = output.data if output.size == 1 else "nan or infinity"
            raise ValueError(f"diagnose: the function gives {bad} at these inputs {EDGE}")
        if upstream is None and output.size != 1:
            raise ValueError(
                f"diagnose: the function returns shape {output.shape}, so its gradient needs an upstream gradient: "
                "pass upstream=array of that shape, or reduce to a scalar (a loss)")
        given_upstream = np.ones(output.shape) if upstream is None else getattr(upstream, "data", upstream)
        self.upstream = np.array(given_upstream, np.float64)
        if self.upstream.shape != output.shape:
            raise ValueError(
                f"diagnose: the upstream gradient has shape {self.upstream.shape}; expected {output.shape}, the shape"
                " of the output")
        names_of = {**self.trace.names, **{id(variables[i]): self.names[i] for i in self.which}}
        with np.errstate(all="ignore"):
            wanted = [variables[i] for i in self.which]
            self.program = Program(output, self.upstream.astype(output.dtype), wanted, self.trace.place, names_of)
            self.program.scalars = {k: v for k, v in self.trace.scalars.items() if v == v}
        self.variable_names = [self.names[i] for i in self.which]

    def _named(self, names: list[str] | None, given: list[Any]) -> list[str]:
        found = self.keys or _argument_names(self.f, len(given))
        if names is None:
            return [getattr(x, "name", None) or own if isinstance(x, Tensor) else own for x, own in zip(given, found)]
        if len(names) == len(given):
            return list(names)
        if len(names) != len(self.which):
            raise ValueError(
                f"diagnose: {len(names)} names for {len(given)} inputs; give one for each, or a dict of inputs by name")
        return [names[self.which.index(i)] if i in self.which else f"x{i}" for i in range(len(given))]

    def call(self, values: list[Any]) -> Tensor:
        """``f`` in the form in which its inputs were given, with the same draws of the random generator each time."""
        before = generator().bit_generator.state
        generator().bit_generator.state = self.state
        try:
            output = self.shaped(self.f, values)
        finally:
            generator().bit_generator.state = before
        if not isinstance(output, Tensor):
            raise TypeError(
                f"diagnose: the function must return one Tensor, got {type(output).__name__}; .data or float() loses"
                " the gradient")
        return output

    def shaped(self, function: Callable[..., Any], values: list[Any]) -> Any:
        """A call with one array, with positions, with keywords or with a dict."""
        if self.keys is None:
            return function(*values)
        arguments = dict(zip(self.keys, values, strict=True))
        return function(arguments) if self.as_tree else function(**arguments)

    def match(self, claimed: Any, arrays: list[np.ndarray] | None = None) -> dict[int, np.ndarray]:
        """The claimed arrays by the number of their variable; ValueError when they do not belong to the inputs."""
        if is_function(claimed):
            claimed = self.shaped(claimed, [np.array(x) for x in arrays or self.arrays])
        n = len(self.which)
        if isinstance(claimed, Mapping):
            unknown = [name for name in claimed if name not in self.variable_names]
            if unknown:
                raise ValueError(
                    f"diagnose: claimed a gradient of {unknown[0]!r}; the inputs are {', '.join(self.variable_names)}")
            pairs = [(self.variable_names.index(name), value) for name, value in claimed.items()]
        elif n == 1 and not self.listed(claimed):
            pairs = [(0, claimed)]
        elif not isinstance(claimed, list | tuple):
            raise ValueError(
                f"diagnose: {n} inputs ({', '.join(self.variable_names)}) need {n} claimed gradients, as a list or a"
                " dict by name")
        elif len(claimed) == n:
            pairs = list(enumerate(claimed))
        elif len(claimed) == len(self.arrays):
            pairs = [(self.which.index(i), value) for i, value in enumerate(claimed) if i in self.which]
        else:
            raise ValueError(
                f"diagnose: {len(claimed)} claimed gradients for {n} inputs ({', '.join(self.variable_names)}); None"
                " leaves one out")
        found = {i: _as_claim(value, self.variable_names[i]) for i, value in pairs if value is not None}
        if not found:
            raise ValueError("diagnose: no gradient is claimed")
        return found

    def listed(self, claimed: Any) -> bool:
        """Whether a claim for the one variable is given in a list, and is not itself a list of numbers."""
        if not isinstance(claimed, list | tuple):
            return False
        if len(claimed) == len(self.arrays) > 1:
            return all(claimed[i] is None for i in range(len(claimed)) if i not in self.which)
        return len(claimed) == 1 and np.ndim(claimed[0]) == self.program.gradient(0).ndim

    def along(self, values: list[np.ndarray], i: int, direction: np.ndarray, size: float) -> Line:
        """The outputs along one direction of variable ``i``, through ``values``."""
        k = self.which[i]

        def outputs(step: float) -> np.ndarray:
            moved = list(values)
            moved[k] = moved[k] + step * direction
            with no_grad(), np.errstate(all="ignore"):
                return self.call([Tensor(v) if j in self.which else v for j, v in enumerate(moved)]).data.ravel()

        return Line(outputs, outputs(0.0), self.upstream.ravel(), size, float(np.finfo(np.float64).eps))

    def difference(self, i: int, where: tuple[int, ...]) -> float:
        """The derivative with respect to one entry, by central differences: who is right?"""
        x = self.arrays[self.which[i]]
        direction = np.zeros(x.shape)
        direction[where] = 1
        size = max(1.0, abs(float(x[where]))) if np.isfinite(x[where]) else 1.0
        right = float(self.program.gradient(i)[where])
        return slope(self.along(self.arrays, i, direction, size), right, 1e-6, abs(right), abs(float(x[where]))).value

    def gradients_at(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """The gradients of the variables at other inputs."""
        variables: list[Any] = [Tensor(x, requires_grad=True) if i in self.which else x for i, x in enumerate(values)]
        with enable_grad(), np.errstate(all="ignore"):
            output = self.call(variables)
            output.backward(self.upstream.astype(output.dtype))
        grads = [variables[i].grad for i in self.which]
        return [np.zeros(values[i].shape) if g is None else np.asarray(g.data) for i, g in zip(self.which, grads)]


def is_function(claimed: Any) -> bool:
    """Whether a claim is a function that computes it."""
    return callable(claimed) and not isinstance(claimed, Tensor | np.ndarray)


def _is_data(x: Any) -> bool:
    """A nested list of numbers, such as token ids."""
    return isinstance(x, list | tuple) and all(isinstance(i, int | float | np.number) or _is_data(i) for i in x)


def _argument_names(f: Callable[..., Any], n: int) -> list[str]:
    """The names of the first ``n`` arguments of ``f``, where it has names for them."""
    try:
        parameters = inspect.signature(f).parameters.values()
        found = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        found = []
    return [found[i] if i < len(found) else f"x{i}" for i in range(n)]


def _as_claim(value: Any, name: str) -> np.ndarray:
    array = np.asarray(value.data if isinstance(value, Tensor) else value)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"diagnose: the claimed gradient of {name} must be real numbers, got {type(value).__name__} with dtype"
            f" {array.dtype}")
    return array if array.dtype.kind == "f" else array.astype(np.float64)
