r"""The worked solution: every step of the chain rule behind a gradient, in formulas and in numbers.

Forward, each op in turn: :math:`y = f(x_1, \dots)`.  Then backward, newest first, from :math:`\bar L = 1`: what an op
receives, :math:`\bar y`, times its derivative is what it hands on, :math:`\bar x_i`; where a tensor was used several
times, its parts add.  The same graph is also written as a program, with the same letters (``Replay``); it is these two
walks through one order that make more than 300 lines.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...nn import Module
from ...programs import Program, program
from ...programs.source import identifier
from ...tensor import Tensor, upstream_gradient
from ..gradcheck import examples, run
from ..recording import REGISTRY, Call, Op, call_of, in_shape, inputs_of, is_result, is_tensor, recorded_order
from .closed import closed_forms
from .describe import COLUMN, Names, Phrase, input_symbol, output_symbol, phrase
from .notation import ACCENTS, Name, is_small, named, plain, substitute, symbols, tokens
from .page import DEFINITION, Backward, Explanation, Flow, Forward, Letter, Meeting, numeric


def explain(output: Tensor, wrt: Any = None, gradient: Any = None, names: Any = None, digits: int = 4) -> Explanation:
    """Write out the gradient of ``output`` step by step, as one would by hand, with the graph's own numbers.

    ``wrt`` is a tensor or a list of them: only what leads to them is shown (default: every leaf).  ``gradient`` is
    the upstream gradient, needed unless ``output`` is a scalar.  ``names`` maps names to tensors (``locals()`` will
    do), or is a Module; otherwise tensors go by their ``name``, and the rest get letters.  The largest entry of an
    array has ``digits`` significant digits. Nothing is changed: ``backward()`` may follow.  Raises RuntimeError when
    there is no graph (or no longer), ValueError when ``output`` was not computed from a tensor of ``wrt``.
    """
    order = recorded_order(output, "explain")
    targets = _targets(order, wrt)
    needed = {id(t) for t in order} if wrt is None else {id(t) for t in targets}
    for t in order:
        if any(id(x) in needed for x in inputs_of(t)):
            needed.add(id(t))
    if output.data.size != 1 and gradient is None:
        raise RuntimeError(
            f"explain: a tensor of shape {output.shape} needs an upstream gradient of that shape: explain(output,"
            " gradient=...), or explain a scalar such as its sum")
    seed = np.array(upstream_gradient(output, gradient).data)
    return _Walk(order, needed, Names(order, names), wrt is None).run(targets, seed, digits)


def _targets(order: list[Any], wrt: Any) -> list[Any]:
    if wrt is None:
        return [t for t in order if not is_result(t)]
    wanted = list(wrt) if isinstance(wrt, list | tuple) else [wrt]
    known = {id(t) for t in order}
    for t in wanted:
        if not is_tensor(t):
            raise TypeError(f"explain: wrt takes a Tensor or a list of Tensors, got {type(t).__name__}")
        if id(t) not in known:
            reason = "the output was not computed from it" if t.requires_grad else "it does not require grad"
            raise ValueError(
                f"explain: no gradient flows to {t.name or f'the tensor of shape {t.data.shape}'}: {reason}")
    return wanted


class _Walk:
    """The state of one explanation."""

    def __init__(self, order: list[Any], needed: set[int], names: Names, everything: bool = True) -> None:
        self.everything = everything
        self.places: dict[Name, int] = {}
        self.order, self.needed, self.names = order, needed, names
        self.numbers = {id(t): i for i, t in enumerate((t for t in order if is_result(t)), 1)}
        self.uses = Counter(id(x) for t in order if id(t) in needed for x in inputs_of(t) if id(x) in needed)
        self.parts: dict[int, list[tuple[str, np.ndarray]]] = {}

    def run(self, targets: Sequence[Any], seed: np.ndarray, digits: int) -> Explanation:
        output = self.order[-1]
        forward = [self.forward(t) for t in self.order if is_result(t)]
        self.parts[id(output)] = [(self.names.of(output).bar, seed)]
        backward: list[Backward | Meeting] = []
        gradients: dict[int, np.ndarray] = {}
        for t in reversed(self.order):
            if id(t) not in self.needed or id(t) not in self.parts:
                continue
            parts = self.parts.pop(id(t))
            total = sum(value for _, value in parts[1:]) + parts[0][1] if len(parts) > 1 else parts[0][1]
            if len(parts) > 1 and _cancels(total, max(float(np.abs(value).max(initial=0)) for _, value in parts)):
                total = np.zeros_like(total)
            gradients[id(t)] = total
            if len(parts) > 1:
                backward.append(Meeting(self.names.of(t), parts, total))
            if any(id(x) in self.needed for x in inputs_of(t)):
                backward.append(self.backward(t, total))
        given = self.given()
        self.places = {name: i for i, (name, _, _) in enumerate(given)}
        results = sorted(((self.names.of(t), gradients[id(t)]) for t in targets), key=lambda r: self.place(r[0]))
        by_name = self.by_name(targets, gradients)
        replay = Replay(self.order, self.names, seed)
        forms = closed_forms(self.order, self.names, seed, list(by_name.values()))
        closed = {key: forms[id(t)] for key, t in by_name.items() if id(t) in forms}
        shown = {key: gradients[id(t)] for key, t in by_name.items()}
        return Explanation(
            self.names.of(output), given, forward, seed, backward, shown, results, closed, digits, replay)

    def place(self, name: Name) -> int:
        """Where a name stands among what is given; the others come last."""
        return self.places.get(name, len(self.places))

    def by_name(self, targets: Sequence[Any], gradients: dict[int, np.ndarray]) -> dict[str, Any]:
        """The tensors with a gradient by the reader's names: targets, and all named ones unless some were asked."""
        order = [t for t in self.order if self.everything or any(t is x for x in targets)]
        own = {id(t): self.names.given_name(t) for t in order}
        twice = {name for name, n in Counter(own.values()).items() if n > 1}
        asked = {id(t) for t in targets}
        ranked = sorted(targets, key=lambda t: self.place(self.names.of(t)))
        found: dict[str, Any] = {}
        for t in [*ranked, *(t for t in order if id(t) not in asked)]:
            name = own.get(id(t))
            key = name if name and name not in twice and "." not in name else None
            if key is None and (name or id(t) in asked):
                key = self.names.of(t).text
            if key is not None and id(t) in gradients:
                found.setdefault(key, t)
        return found

    def given(self) -> list[tuple[Name, str, np.ndarray]]:
        """The leaves and the constant arrays, in the order of use."""
        found: dict[int, tuple[Name, str, np.ndarray]] = {}
        for t in self.order:
            for x in inputs_of(t):
                name = self.names.by_id.get(id(x))
                if name is not None and not (is_tensor(x) and is_result(x)):
                    array = np.asarray(x.data if is_tensor(x) else x)
                    found.setdefault(id(x), (name, self.names.long.get(id(x), ""), array))
        return list(found.values())

    def said(self, t: Any) -> tuple[Call, Phrase, dict[str, Name]]:
        """The call that made ``t``, how to say it, and the names of its formula's symbols."""
        call = call_of(t)
        assert call is not None
        said = phrase(call)
        names = {input_symbol(call.op, i): self.names.of(x) for i, x in enumerate(call.inputs) if x is not None}
        names[output_symbol(call.op)] = self.names.of(t)
        everything = " ".join([said.formula, *(d for _, d in said.derivatives)])
        for symbol in symbols(everything) - names.keys() - {"e", r"\pi"}:
            if symbol in self.names:  # a letter of the op's own that the reader uses for something else
                names[symbol] = Name(symbol + "'")
        return call, said, names

    def forward(self, t: Any) -> Forward:
        call, said, names = self.said(t)
        notes = [substitute_prose(n, names) for n in said.notes]
        return Forward(
            self.numbers[id(t)], call.op.name, self.names.of(t), substitute(said.formula, names), t.data, notes)

    def backward(self, t: Any, g: np.ndarray) -> Backward:
        call, said, names = self.said(t)
        op, inputs, arrays = call.op, call.inputs, call.arrays
        values: dict[str, Any] = {input_symbol(op, i): a for i, a in enumerate(arrays) if a is not None}
        out = output_symbol(op)
        values |= {out: t.data, rf"\bar{{{out}}}": g} | said.values(g)
        if said.vectors is not None:
            flat = {k for k, v in values.items() if isinstance(v, np.ndarray) and v.ndim == 1}
            values |= {k: values[k].reshape(said.vectors) for k in flat}
        step = Backward(self.numbers[id(t)], op.name, self.names.of(t), g, [], [], [])
        results = call.handed(g)
        seen = Counter[int]()
        definitions: dict[str, str] = {}
        for i, x in enumerate(inputs):
            if id(x) not in self.needed:
                continue
            raw = results[i]
            index, derivative = said.derivatives[i]
            main, *where = derivative.split(DEFINITION)
            definitions |= {d.partition(" = ")[0]: d.partition(" = ")[2] for d in where}
            flow = self.flow(t, x, seen, raw, index, main, names, values, step.notes)
            flow.column = said.vectors == COLUMN and flow.numbers is not None and flow.value.ndim == 1
            step.flows.append(flow)
        rules = [said.derivatives[i][1] for i, x in enumerate(inputs) if id(x) in self.needed]
        for d in said.formula.split(DEFINITION)[1:]:
            left, _, right = d.partition(" = ")
            used = " ".join([*definitions.values(), *rules])
            if symbol_key(left) in values and left in used and symbol_key(left) != out:
                definitions = {left: right} | definitions
        step.letters = [self.letter(left, right, names, values) for left, right in definitions.items()]
        return step

    def letter(self, left: str, right: str, names: dict[str, Name], values: dict[str, Any]) -> Letter:
        value = values.get(symbol_key(left))
        pieces = numeric(right, values) if value is not None else None
        return Letter(substitute(left, names), substitute(right, names), value, pieces)

    def flow(
        self, t: Any, x: Any, seen: Counter[int], raw: np.ndarray, index: str, main: str, names: dict[str, Name],
        values: dict[str, Any], notes: list[str]
    ) -> Flow:
        """The gradient that one input gets, with its part's name when it is one of several."""
        name = self.names.of(x)
        value, op = in_shape(raw, x.data), self.said(t)[0].op
        upstream = values[rf"\bar{{{output_symbol(op)}}}"]
        if op.name in CANCELLING and _cancels(value, float(np.abs(upstream).max(initial=0))):
            value = np.zeros_like(value)
            raw = np.zeros_like(raw)
            notes.append(f"${name.bar}$ is 0 in theory: what remains on a computer is round-off, and is shown as 0")
        axes = _summed(raw.shape, x.data.shape)
        match = re.match(r"\\sum_n (.*)", main)  # a rule that sums the rows itself
        if match and t.data.ndim > 1:
            axes = axes or tuple(range(t.data.ndim - x.data.ndim))
        which = f"{'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"
        if match:
            main = re.sub(r"_n\b", "", match[1])
        elif axes:
            notes.append(
                f"${name.latex}$ of shape {x.data.shape} was broadcast to {raw.shape}: its gradient is summed over"
                f" {which}")
        if axes:
            main = rf"\operatorname{{sum}}_{{\text{{{which}}}}}({main})"
        symbol = name.bar
        if self.uses[id(x)] > 1:
            seen[id(x)] += 1
            consumer = self.names.of(t).latex
            times = sum(y is x for y in inputs_of(t))
            symbol += rf"\vert_{{{consumer}{f',{seen[id(x)]}' if times > 1 else ''}}}"
        self.parts.setdefault(id(x), []).append((symbol, value))
        wrap = index and (name.bar != symbol or name.index or name.transposed)
        shown = (f"({symbol})" if wrap else symbol) + (f"_{{{index}}}" if index else "")
        pieces = numeric(main, values)
        return Flow(name, shown, substitute(main, names), pieces, raw, value, axes)


CANCELLING = {"softmax", "log_softmax", "layer_norm", "rms_norm", "attention", "_cross_entropy", "var"}


def _cancels(value: np.ndarray, scale: float) -> bool:
    """Whether nothing but round-off is left of terms of this size."""
    return bool(value.size) and value.dtype == np.float64 and 0 < float(np.abs(value).max()) <= 1e-14 * scale


def substitute_prose(text: str, names: dict[str, Name]) -> str:
    """A note with the symbols between its dollars replaced."""
    return "$".join(substitute(part, names) if i % 2 else part for i, part in enumerate(text.split("$")))


def symbol_key(latex: str) -> str:
    r"""One spelling for a symbol: ``\bar y`` and ``\bar{y}`` alike."""
    parts = [t for t in tokens(latex) if not t.isspace() and t not in "{}"]
    return f"{parts[0]}{{{parts[1]}}}" if len(parts) == 2 and parts[0] in ACCENTS else "".join(parts)


def _summed(raw: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    extra = len(raw) - len(shape)
    return tuple(i for i, n in enumerate(raw) if i < extra or (shape[i - extra] == 1 and n != 1))


# As a program --------------------------------------------------------------------------------------------------------


class Replay:
    """The ops of a graph in order, from copies of its leaves; ``program.source()`` prints them."""

    def __init__(self, order: Sequence[Any], names: Names, seed: np.ndarray) -> None:
        self.seed = seed
        self.values: dict[str, Any] = {}  # what the text of the function names: leaves, arrays, ops
        taken: set[str] = set()
        letters: dict[int, str] = {}
        lines: list[str] = []
        self.kept: list[Any] = []  # what the letters are of, so that no address is used again

        def letter(x: Any, otherwise: str) -> str:
            wanted = identifier(names.given_name(x) or (names.of(x).text if is_tensor(x) else ""), otherwise)
            found, n = wanted, 2
            while found in taken:
                found, n = f"{wanted}_{n}", n + 1
            taken.add(found)
            letters[id(x)] = found
            return found

        for t in order:
            call = call_of(t)
            if call is None:
                leaf = Tensor(t.data.copy(), requires_grad=t.requires_grad)
                leaf.name = letter(t, "x")
                self.values[leaf.name] = leaf
                continue
            inputs = []
            self.kept.append(call.inputs)
            for x in call.inputs:
                if id(x) not in letters and x is not None:
                    self.values[letter(x, "constant")] = x.data if is_tensor(x) else x
                inputs.append("None" if x is None else letters[id(x)])
            step = f"_op{len(lines)}"
            self.values[step] = _applied(call.op, call.own_params())
            lines.append(f"    {letter(t, 't')} = {step}({', '.join(inputs)})")
        self.output = letters[id(order[-1])]
        self.text = "def derivation():\n" + "\n".join(lines) + f"\n    return {self.output}\n"

    @functools.cached_property
    def program(self) -> Program:
        """The derivation, recorded."""
        exec(self.text, self.values)  # of our own making: names, and calls of ops by number
        whole = self.values["derivation"]
        if self.seed.shape == () and self.seed == 1:
            derivation = whole
        else:
            gradient = self.seed

            def derivation() -> Any:
                return (whole() * gradient).sum()

        recorded = program(derivation, Module())
        recorded()
        return recorded


def _applied(op: Any, params: dict[str, Any]) -> Any:
    def step(*inputs: Any) -> Any:
        return op.apply(inputs, params)

    return step


# Every op on small inputs --------------------------------------------------------------------------------------------


def derivation(name: str, seed: int = 0) -> str:
    """The derivation of the op ``name`` as text for a terminal.  Raises KeyError for a name that is no op."""
    if name not in REGISTRY:
        raise KeyError(f"no op called {name!r}; there are {', '.join(REGISTRY)}")
    op = REGISTRY[name]
    lines = [f"{name.lstrip('_')}: {plain(op.formula)}", ""]
    for i, key in enumerate(op.inputs or op.derivatives):
        bar = named(input_symbol(op, i) if op.inputs else "x_i").bar
        lines.append(f"  {plain(bar)} = {plain(op.derivatives[key])}")
    worked = example_of(op, seed)
    lines += ["", "With numbers", "", _below(worked)]
    if op.definition is not None:
        twin = example_of(op, seed, twin=True)
        difference = max((np.abs(twin.gradients[k] - g).max(initial=0) for k, g in worked.gradients.items()), default=0)
        lines += [
            "", "The same in plain operations, one at a time", "", _below(twin), "",
            f"The one rule and the plain operations give the same gradients: largest difference {difference:.0e}."]
    return "\n".join(lines)


def example_of(op: Op[Any], seed: int = 0, twin: bool = False) -> Explanation:
    """A small example of ``op`` explained, in the letters of its formula; with ``twin``, of its definition."""
    rng = np.random.default_rng(seed)
    small = [e for e in examples(op, rng) if all(x is None or is_small(x) for x in e.inputs)]
    small = [
        e for e in small
        if is_small(run(op, e, *(Tensor(x) if isinstance(x, np.ndarray) else x for x in e.inputs)).data)
    ] or small
    chosen = next((e for e in small if any(np.ndim(x) == 2 for x in e.inputs)), small[0])
    inputs = [
        Tensor(np.round(x, 1), requires_grad=True, name=input_symbol(op, i))
        if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for i, x in enumerate(chosen.inputs)]
    plainer = op.definition if twin else None
    out = plainer(*inputs, **chosen.params) if plainer is not None else run(op, chosen, *inputs)
    out.name = output_symbol(op)
    return explain(out, gradient=np.round(rng.normal(size=out.shape), 1))


def _below(e: Explanation) -> str:
    return "\n".join("  " + line if line else line for line in str(e).splitlines())
