"""What each tensor is called: by its own name, by the caller's variable, or by a letter that no other has."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..recording import Call, call_of, inputs_of, is_result, is_tensor
from .notation import Name, constant, escape, named, symbols, tokens

RESULTS = {"softmax": "P", "attention": "O", "_cross_entropy": "L"}  # the usual letter for the result of an op
MATRICES, VECTORS = (
    "ABDEFGHRUYZ", "abdfghrvwyz")  # for the rest; no letter that means something else in a formula or an index


class Names:
    """The Name of every tensor, array and number in a graph; ``order`` lists the tensors, oldest first.

    ``given`` maps names to tensors or arrays (``locals()`` will do), or is a Module, whose parameters have names.
    """

    def __init__(self, order: Sequence[Any], given: Any = None) -> None:
        self.by_id: dict[int, Name] = {}
        self.long: dict[int, str] = {}  # the full names of parameters that are shortened to W_up and the like
        self.taken: set[str] = set()
        self._given = _by_identity(given)
        order = [x for t in order if is_result(t) for x in (*(y for y in inputs_of(t) if _is_leaf(y)), t)] or order
        constants = [x for t in order for x in inputs_of(t) if _is_constant(x)]
        for x in (*order, *constants):
            if id(x) not in self.by_id and (name := self._own_name(x)):
                self._claim(x, self._parameter(x, name, order) if "." in name else named(name))
        for t in order:
            if id(t) not in self.by_id and _transposes(t):
                self._claim_transpose(t)
        self._claim_letters(list({id(t): t for t in order if id(t) not in self.by_id}.values()), order)
        unnamed = list({id(x): x for x in constants if id(x) not in self.by_id}.values())
        for i, x in enumerate(unnamed, 1):
            self._claim(x, Name("C", str(i) if len(unnamed) > 1 else ""))

    def of(self, x: Any) -> Name:
        """The name of an input: a Name for a tensor or an array, the number itself for a number."""
        if id(x) in self.by_id:
            return self.by_id[id(x)]
        return Name(constant(float(np.asarray(getattr(x, "data", x)))), number=True)

    def given_name(self, x: Any) -> str:
        """The reader's own name of a tensor, as it was written; empty without one."""
        return self._own_name(x) or ""

    def __contains__(self, latex: str) -> bool:
        return latex in self.taken

    def _own_name(self, x: Any) -> str | None:
        return self._given.get(id(x)) or (getattr(x, "name", None) if is_tensor(x) else None)

    def _claim(self, x: Any, name: Name) -> None:
        unique, n = name, 2
        while unique.latex in self.taken:
            unique, n = name.numbered(n), n + 1
        self.taken.add(unique.latex)
        self.by_id[id(x)] = unique

    def _parameter(self, x: Any, name: str, order: Sequence[Any]) -> Name:
        r"""``layers.0.ffn.up.weight`` as :math:`W_\text{up}`, with the letter of the first formula that uses it."""
        *path, kind = name.split(".")
        uses = (input_symbol(_op_of(t), i) for t in order for i, y in enumerate(inputs_of(t)) if y is x)
        letter = next(uses, "")
        if letter not in ("W", r"\gamma", "b", r"\beta"):
            letter = {"weight": "W", "bias": "b"}.get(kind, "")
        if not letter:
            return named(name)
        self.long[id(x)] = name
        for depth in range(1, len(path) + 1):
            short = Name(letter, rf"\mathrm{{{escape('.'.join(path[-depth:]))}}}")
            if short.latex not in self.taken:
                return short
        return named(name)

    def _claim_transpose(self, t: Any) -> None:
        base = self.by_id.get(id(inputs_of(t)[0]))
        if base is not None and not base.transposed:
            name = Name(base.base, base.index, transposed=True)
            if name.latex not in self.taken:
                self._claim(t, name)

    def _claim_letters(self, unnamed: list[Any], order: Sequence[Any]) -> None:
        scores = {id(inputs_of(t)[0]) for t in order if _op_name(t) == "softmax"}
        wanted = {}
        for t in unnamed:
            usual = RESULTS.get(_op_name(t)) or ("S" if id(t) in scores else "")
            wanted[id(t)] = usual or ("L" if t is order[-1] and not t.data.ndim else "Z" if t.data.ndim > 1 else "z")
        for letter, pool in (("Z", MATRICES), ("z", VECTORS)):
            rest = [t for t in unnamed if wanted[id(t)] == letter and not _transposes(t)]
            free = [c for c in pool if c not in self.taken]
            if len(rest) <= len(free):
                wanted |= {id(t): c for t, c in zip(rest, free, strict=False)}
        transposes = defaultdict(list)
        for t in unnamed:
            if _transposes(t):
                transposes[id(inputs_of(t)[0])].append(t)
        totals, seen = Counter(wanted.values()), Counter[str]()
        for t in unnamed:
            if id(t) in self.by_id:
                continue
            letter = wanted[id(t)]
            seen[letter] += 1
            alone = totals[letter] == 1 and letter not in self.taken
            name = Name(letter, "" if alone else str(seen[letter]))
            while name.latex in self.taken:
                seen[letter] += 1
                name = Name(letter, str(seen[letter]))
            self._claim(t, name)
            for later in transposes[id(t)]:  # the transpose of an unnamed tensor is called after it
                if id(later) not in self.by_id:
                    self._claim_transpose(later)


def _op_of(t: Any) -> Any:
    call = call_of(t)
    return call.op if call else None


def _op_name(t: Any) -> str:
    call = call_of(t)
    return call.op.name if call else ""


def _transposes(t: Any) -> bool:
    call = call_of(t)
    return call is not None and is_transpose(call)


def _is_leaf(x: Any) -> bool:
    return is_tensor(x) and x.requires_grad and not is_result(x)


def _is_constant(x: Any) -> bool:
    if is_tensor(x):
        return not x.requires_grad and x.data.ndim > 0
    return isinstance(x, np.ndarray)


def _by_identity(given: Any) -> dict[int, str]:
    if given is None:
        return {}
    if hasattr(given, "named_parameters"):
        given = dict(given.named_parameters())
    if not isinstance(given, Mapping):
        raise TypeError(
            "names: expected a dictionary of tensors such as {'Q': Q} or locals(), or a Module; got"
            f" {type(given).__name__}"
        )
    found: dict[int, str] = {}
    for name, x in given.items():
        if (is_tensor(x) or isinstance(x, np.ndarray)) and not str(name).startswith("_"):
            found.setdefault(id(x), str(name))
    return found


COLUMN, ROW = (-1, 1), (1, -1)  # how a vector stands in a product of matrices
ALIASES = {"weight": ("W", r"\gamma"), "bias": ("b", r"\beta", "M"), "logits": ("x",)}


@dataclass
class Phrase:
    """The formula of a call, for each input its derivative (and the index that the gradient carries there), notes, the
    values of letters that the formulas define, as a function of the upstream gradient, and how a vector stands in a
    product.
    """

    formula: str
    derivatives: list[tuple[str, str]]
    notes: list[str] = field(default_factory=list)
    values: Callable[[np.ndarray], dict[str, Any]] = lambda g: {}
    vectors: tuple[int, ...] | None = None


def derivative(op: Any, i: int) -> str:
    key = op.inputs[i] if i < len(op.inputs) else next(iter(op.derivatives), "")
    given = op.derivatives.get(key) or op.derivatives.get("*")
    symbol = rf"\bar {output_symbol(op)}"
    if given is None:
        return rf"\operatorname{{vjp}}_{{{input_symbol(op, i)}}}({symbol})"
    return given


def output_symbol(op: Any) -> str:
    """The letter on the left of the formula."""
    return next(
        (t for t in tokens(op.formula.partition("=")[0]) if t.isalpha() or (t.startswith("\\") and t[1:].isalpha())),
        "y")


def input_symbol(op: Any, i: int) -> str:
    """The letter by which the formula calls an input: its name, the capital, the first letter, or a usual alias."""
    if op.variadic or i >= len(op.inputs):
        return f"x_{i + 1}"
    name = op.inputs[i]
    used = symbols(op.formula).union(*map(symbols, op.derivatives.values())) - {output_symbol(op)}
    for candidate in (name, name.upper(), *ALIASES.get(name, ()), "\\" + name, name[:1], name[:1].upper()):
        if candidate in used:
            return candidate
    return name if len(name) == 1 else rf"\mathtt{{{escape(name)}}}"


def parameter(name: str, value: Any) -> str:
    return f"{name.replace('_', ' ')}: {in_words(value)}"


def in_words(value: Any) -> str:
    """A parameter in words; arrays whole when they are small."""
    if isinstance(value, np.ndarray):
        return str(value.tolist()) if value.size <= 16 else f"array of shape {value.shape}"
    if isinstance(value, slice):
        start, stop, step = ("" if v is None else str(v) for v in (value.start, value.stop, value.step))
        return f"{start}:{stop}" + (f":{step}" if step else "")
    if isinstance(value, tuple):
        return ", ".join(map(in_words, value)) if value else "()"
    if isinstance(value, type):
        return value.__name__
    return "..." if value is Ellipsis else str(value)


def is_transpose(call: Call) -> bool:
    """Whether the call only exchanges the last two axes."""
    n = call.out.ndim
    if n < 2 or call.op.name not in ("swapaxes", "transpose"):
        return False
    if call.op.name == "swapaxes":
        return {call.param("axis1") % n, call.param("axis2") % n} == {n - 1, n - 2}
    axes = call.param("axes")
    return (n == 2 and axes is None) or (axes is not None and [i % n for i in axes] == [*range(n - 2), n - 1, n - 2])
