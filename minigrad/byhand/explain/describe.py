r"""What each tensor is called, and how a lecturer would write each call.

A tensor goes by its own name, the caller's variable, or a letter that no other has.  An op's own formula is too general
for some calls: a product with a vector, a sum along one axis, a power with a known exponent, attention without a mask;
these are written anew, with the numbers inside a fused rule.

It has more than 300 lines because it ends in a table, ``PHRASES``, with a few lines for each op.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..recording import Call, attention_mask, attention_weights, call_of, inputs_of, is_result, is_tensor, sigmoid
from ..recording import softmax as softmax_values
from .notation import Name, constant, escape, named, scientific, size, symbols, tokens

RESULTS = {"softmax": "P", "attention": "O", "_cross_entropy": "L"}  # the usual letter for the result of an op
MATRICES, VECTORS = "ABDEFGHRUYZ", "abdfghrvwyz"  # for the rest; none that is something else in a formula or an index


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
        calls = (call for t in order if (call := call_of(t)) is not None)
        letter = next((input_symbol(call.op, i) for call in calls for i, y in enumerate(call.inputs) if y is x), "")
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
            f" {type(given).__name__}")
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
    unknown = rf"\operatorname{{vjp}}_{{{input_symbol(op, i)}}}(\bar {output_symbol(op)})"
    return op.derivatives.get(key) or op.derivatives.get("*") or unknown


def output_symbol(op: Any) -> str:
    """The letter on the left of the formula."""
    return next((t for t in tokens(op.formula.partition("=")[0]) if t.removeprefix("\\").isalpha()), "y")


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


# Calls in words ------------------------------------------------------------------------------------------------------


def phrase(call: Call) -> Phrase:
    """How to say this call."""
    op = call.op
    n = len(call.arrays)
    arguments = ", ".join(input_symbol(op, i) for i in range(n))
    formula = op.formula or rf"y = \operatorname{{{escape(op.name.strip('_'))}}}({arguments})"
    said = Phrase(formula, [("", derivative(op, i)) for i in range(n)])
    special = PHRASES.get(op.name) if op.builtin else None
    if special is None:
        said.notes = [parameter(k, v) for k, v in call.params.items() if k != "saved" and v is not None]
    else:
        special(call, said)
    for i, x in enumerate(call.arrays):
        if x is None:
            term = re.compile(rf" \+ {re.escape(input_symbol(op, i))}(?![\w_])")
            said.formula = term.sub("", said.formula)
            said.derivatives = [(k, term.sub("", d)) for k, d in said.derivatives]
    return said


# Elementwise ---------------------------------------------------------------------------------------------------------


def _power(call: Call, said: Phrase) -> None:
    n = call.arrays[1]
    if isinstance(n, int | float):
        less = "" if n == 2 else f"^{{{constant(n - 1)}}}"
        said.formula = f"c = a^{{{constant(n)}}}"
        if np.ndim(call.arrays[0]) and n in (2, 3):  # A² would be A A
            said.formula = "c = " + r" \odot ".join("a" * int(n))
            less = less if n == 2 else r" \odot a"
        elif np.ndim(call.arrays[0]):
            said.notes = ["every entry is raised to the power"]
        said.derivatives[0] = ("", rf"{constant(n)} \, \bar c" + ("" if n == 1 else rf" \odot a{less}"))


def _square(call: Call, said: Phrase) -> None:
    if np.ndim(call.arrays[0]):
        said.formula = r"y = x \odot x"


def _cumsum(call: Call, said: Phrase) -> None:
    x, axis = call.arrays[0], call.param("axis")
    if axis is None and np.ndim(x) > 1:
        said.notes = ["over the entries in their order, as if flattened"]
    letters = "ijkl"[: np.ndim(x)] if axis is not None else "i"
    at = axis % np.ndim(x) if axis is not None else 0
    along, running = letters[at], "n" if "n" not in letters else "m"
    inner = letters[:at] + running + letters[at + 1 :]
    said.formula = rf"y_{{{letters}}} = \sum_{{{running} \le {along}}} x_{{{inner}}}"
    said.derivatives = [(letters, rf"\sum_{{{running} \ge {along}}} \bar y_{{{inner}}}")]


def _share(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.greater(above, below) + 0.5 * np.equal(above, below)


def _extremum(sign: int) -> Callable[[Call, Phrase], None]:
    def say(call: Call, said: Phrase) -> None:
        a, b = (sign * np.asarray(x) for x in call.arrays)
        said.values = lambda g: {"m": _share(a, b), "k": _share(b, a)}

    return say


def _values(compute: Callable[[Any, np.ndarray, np.ndarray], dict[str, Any]]) -> Callable[[Call, Phrase], None]:
    def say(call: Call, said: Phrase) -> None:
        said.values = lambda g: compute(call.arrays[0], call.out, g)
        said.notes = [parameter(k, v) for k, v in call.params.items() if k != "saved" and v is not None]

    return say


def _select(call: Call, said: Phrase) -> None:
    condition = np.asarray(call.param("condition"))
    said.values = lambda g: {"m": condition.astype(float)}
    said.notes = [
        f"$m$ is 1 where the condition holds ({int(condition.sum())} of {condition.size} entries) and 0 elsewhere"]


# Reductions ----------------------------------------------------------------------------------------------------------

REDUCTIONS = {  # x_I, y_K with the reduced indices R; n entries go into each result
    "sum": (r"y_K = \sum_R x_I", r"\bar y_K"),
    "mean": (r"y_K = \tfrac{1}{n} \sum_R x_I", r"\tfrac{1}{n} \bar y_K"),
    "max": (r"y_K = \max_R x_I", r"\bar y_K \, [x_I = y_K] / \text{number of ties}"),
    "min": (r"y_K = \min_R x_I", r"\bar y_K \, [x_I = y_K] / \text{number of ties}"),
    "var": (r"y_K = \tfrac{1}{m} \sum_R (x_I - \mu_K)^2", r"\tfrac{2}{m} \bar y_K (x_I - \mu_K)"),
    "logsumexp": (r"y_K = \log \sum_R e^{x_I}", r"\bar y_K \, e^{x_I - y_K}"),
    "prod": (r"y_K = \prod_R x_I", r"\bar y_K \, \textstyle\prod \text{ of the other factors}")}


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The reduced axes as non-negative numbers."""
    given = range(ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    return tuple(i % ndim for i in given)


def _reduction(call: Call, said: Phrase) -> None:
    x, axis = call.arrays[0], call.param("axis")
    reduced = axes_of(axis, x.ndim)
    letters = "ijklmnpq"[: x.ndim]
    n = math.prod(x.shape[i] for i in reduced)
    kept, gone = ([c for i, c in enumerate(letters) if (i in reduced) == inside] for inside in (False, True))
    filled = {"I": letters, "K": "".join(kept), "R": ", ".join(gone)}

    def fill(template: str) -> str:
        for key, index in filled.items():
            template = template.replace(f"_{key}", f"_{{{index}}}" if index else "")
        m = n - (call.param("ddof") or 0)
        return template.replace("{n}", f"{{{n}}}").replace("{m}", f"{{{m}}}")

    formula, derivative = REDUCTIONS[call.op.name]
    said.formula = fill(formula)
    said.derivatives = [(letters, fill(derivative))]
    where = "over all entries" if len(reduced) == x.ndim else f"over axis {', '.join(map(str, reduced))}"
    said.notes = [f"{where}, {n} in each {call.op.name}" if x.ndim else "of a single number"]


# Products and shapes -------------------------------------------------------------------------------------------------


def _matmul(call: Call, said: Phrase) -> None:
    """Vectors are columns; a leading index n counts the products of a batch."""
    a, b = call.arrays
    columns, rows = np.ndim(b) == 1, np.ndim(a) == 1
    batch = "_n" if max(np.ndim(a), np.ndim(b)) > 2 else ""
    total = r"\textstyle\sum_n " if batch else ""
    if columns or rows:
        said.vectors = COLUMN
        said.notes = ["vectors are columns"]
    if columns and rows:
        said.formula, said.derivatives = r"C = A^\top B", [("", r"\bar C B"), ("", r"A \bar C")]
    elif columns:
        said.derivatives = [(batch[1:], rf"\bar C{batch} B^\top"), ("", rf"{total}A{batch}^\top \bar C{batch}")]
    elif rows:
        said.formula = rf"C{batch} = B{batch}^\top A"
        said.derivatives = [("", rf"{total}B{batch} \bar C{batch}"), (batch[1:], rf"A \bar C{batch}^\top")]
    elif np.ndim(b) == 2 and batch:
        said.derivatives[1] = ("", r"\textstyle\sum_n A_n^\top \bar C_n")
        said.notes = ["one matrix for the whole batch $n$"]


def _linear(call: Call, said: Phrase) -> None:
    said.vectors = ROW


def _exchange(call: Call, said: Phrase) -> None:
    if is_transpose(call):
        said.formula, said.derivatives = r"y = x^\top", [("", r"\bar y^\top")]
        said.notes = ["the last two axes exchanged"] if call.out.ndim > 2 else []
    else:
        said.formula = r"y = x \text{ with its axes in another order}"
        said.derivatives = [("", r"\bar y \text{ with the axes put back}")]
        axes = call.param("axes") or range(call.out.ndim)[::-1]
        order = f"in the order {tuple(axes)}"
        if call.op.name == "swapaxes":
            order = " and ".join(str(call.param(p) % call.out.ndim) for p in ("axis1", "axis2")) + " exchanged"
        said.notes = [f"axes {order}: from {np.shape(call.arrays[0])} to {call.out.shape}"]


def _reshape(call: Call, said: Phrase) -> None:
    x, repeated = np.shape(call.arrays[0]), call.op.name == "broadcast_to"
    word, shown = ("repeated to a larger shape", "repeated to") if repeated else ("in another shape", "as")
    said.formula = said.formula.replace(rf"\text{{ {word}}}", rf"\text{{ {shown} {call.out.shape}}}")
    said.notes = [f"from {x} to {call.out.shape}"]
    if repeated:
        said.derivatives = [("", r"\bar y")]  # summed over the repeated axes, as for every broadcast input


def _pick(call: Call, said: Phrase) -> None:
    index = escape(in_words(call.param("index")))
    said.formula = rf"y = x[\mathtt{{{index}}}]"
    said.derivatives = [("", rf"\text{{zeros, with }} \bar y \text{{ added at }} [\mathtt{{{index}}}]")]


def _take(call: Call, said: Phrase) -> None:
    said.derivatives = [("j", d) for _, d in said.derivatives]
    said.notes = [f"$s$ = {in_words(call.param('indices'))} counts along axis {call.param('axis')}"]


def _put(call: Call, said: Phrase) -> None:
    said.derivatives = [("i", d) for _, d in said.derivatives]
    said.notes = [parameter(k, v) for k, v in call.params.items()]


def _joined(call: Call, said: Phrase) -> None:
    n = len(call.arrays)
    axis = call.param("axis") or 0
    terms = r" \;\; ".join(f"x_{i + 1}" for i in range(n)) if n <= 6 else r"x_1 \;\; \dots \;\; " + f"x_{n}"
    said.formula = f"y = [{terms}]"
    said.derivatives = [("", rf"\bar y \text{{ at the place of }} x_{i + 1}") for i in range(n)]
    said.notes = [f"joined along {'a new ' if call.op.name == '_stack' else ''}axis {axis}"]


def _einsum(call: Call, said: Phrase) -> None:
    subscripts = call.param("subscripts")
    terms = [f"x_{i + 1}_{{{t}}}" if t else f"x_{i + 1}" for i, t in enumerate(subscripts.split("->")[0].split(","))]
    target = subscripts.split("->")[1]
    summed = [c for c in dict.fromkeys(subscripts.replace(",", "").split("->")[0]) if c not in target]
    said.formula = (
        (f"Y_{{{target}}}" if target else "Y") + " = " + (rf"\sum_{{{','.join(summed)}}} " if summed else "")
        + r" \, ".join(terms))
    sources = subscripts.split("->")[0].split(",")
    upstream = rf"\bar Y_{{{target}}}" if target else r"\bar Y"
    said.derivatives = []
    for i, mine in enumerate(sources):
        others = [t for j, t in enumerate(terms) if j != i]
        rest = [c for c in dict.fromkeys(target + "".join(s for j, s in enumerate(sources) if j != i)) if c not in mine]
        total = rf"\sum_{{{','.join(rest)}}} " if rest else ""
        said.derivatives.append((mine, total + r" \, ".join([upstream, *others])))
    said.notes = [f"einsum {subscripts}"]


def _recomputed(call: Call, said: Phrase) -> None:
    said.notes = ["a checkpoint: what $f$ computed was not kept, and is computed again on the way back"]


# Library ops ---------------------------------------------------------------------------------------------------------

ROOT_2_OVER_PI = math.sqrt(2 / math.pi)


def gelu_slopes(x: Any, y: np.ndarray, g: np.ndarray) -> dict[str, Any]:
    return {
        "s": sigmoid(2 * ROOT_2_OVER_PI * (x + 0.044715 * x**3)),
        "w": 2 * ROOT_2_OVER_PI * (1 + 3 * 0.044715 * x * x)}


def softmax(call: Call, said: Phrase) -> None:
    ndim, axis = call.out.ndim, call.param("axis")
    along = r"\operatorname{sum}" if ndim == 1 else rf"\operatorname{{sum}}_{{\text{{axis }}{axis % ndim}}}"
    if axis % ndim != ndim - 1 or ndim == 1:
        said.derivatives = [(k, d.replace(r"\operatorname{rowsum}", along)) for k, d in said.derivatives]
    if ndim == 2 and axis % 2 == 1:
        said.formula = re.sub(r"_([jk])\b", r"_{i\1}", said.formula).replace(r"\sum_{ik}", r"\sum_k")
    said.notes = ["in every row" if axis % ndim == ndim - 1 and ndim > 1 else f"along axis {axis % ndim}"]
    said.values = lambda g: {"p": np.exp(call.out)} if call.op.name == "log_softmax" else {}


# Fused ---------------------------------------------------------------------------------------------------------------


def attention(call: Call, said: Phrase) -> None:
    q, k, v, bias = call.arrays
    mask, causal, scale = (call.param(p) for p in ("mask", "causal", "scale"))
    tau = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    said.notes = [
        rf"$\tau = 1/\sqrt{{d}} = 1/\sqrt{{{q.shape[-1]}}}$" if scale is None else rf"$\tau = {constant(tau)}$"]
    added = [] if bias is None else ["M"]
    if mask is not None:
        added.append(r"M_\text{mask}")
        said.notes.append(rf"$M_\text{{mask}}$, {size(mask)}, is added to the scores: −∞ where a word may not be seen")
    if causal:
        added.append(r"M_\text{causal}")
        said.notes.append(
            r"$M_\text{causal}$ is −∞ where the key is a later word than the query, so that its weight in $P$ is 0, and"
            r" 0 elsewhere")
    _rewrite(said, {" + M": "".join(f" + {m}" for m in added)})
    grouped = q.ndim > 2 and q.shape[-3] != k.shape[-3]
    if grouped:
        said.notes.append(
            f"{q.shape[-3]} query heads share {k.shape[-3]} key and value heads; their gradients are summed in each"
            " group")
    keep = attention_mask(call)
    if keep is not None:
        said.notes.append(
            f"$D$ is the dropout mask of the weights: 0 with probability {call.param('dropout'):g}, "
            f"and 1/{1 - call.param('dropout'):g} elsewhere")
        said.formula = re.sub(r"= (.*) \\, V", r"= \\big(\1 \\odot D\\big) V", said.formula)
        _rewrite(said, {r"P^\top": r"(P \odot D)^\top", r"\bar O V^\top": r"\bar O V^\top \odot D"})

    def inside(g: np.ndarray) -> dict[str, Any]:
        p = attention_weights(call)
        found = {"P": p, r"\tau": tau} | ({"D": keep} if keep is not None else {})
        if not grouped:
            p_bar = g @ v.swapaxes(-1, -2) * (1 if keep is None else keep)
            found |= {r"\bar{P}": p_bar, r"\bar{S}": p * (p_bar - (p_bar * p).sum(axis=-1, keepdims=True))}
        return found

    said.values = inside


def _rewrite(said: Phrase, changes: dict[str, str]) -> None:
    for old, new in changes.items():
        said.formula = said.formula.replace(old, new)
        said.derivatives = [(i, d.replace(old, new)) for i, d in said.derivatives]


def cross_entropy(call: Call, said: Phrase) -> None:
    x, targets = call.arrays[0], call.param("targets")
    smoothing, reduction, ignored = (call.param(p) for p in ("label_smoothing", "reduction", "ignore_index"))
    counted = np.ones(targets.shape, bool) if ignored is None else targets != ignored
    if reduction == "none":
        said.formula = said.formula.replace(r"L = -\tfrac1N \sum_{n,j}", r"L_n = -\sum_j")
        said.derivatives = [("n", r"\bar L_n (p_n - T_n)")]
    elif reduction == "sum":
        said.formula = said.formula.replace(r"\tfrac1N ", "")
        said.derivatives = [("", said.derivatives[0][1].replace(" / N", ""))]
    hot, rest = "1", "0 elsewhere"
    if smoothing:
        rest = rf"\varepsilon/{x.shape[-1]}"
        hot, rest = f"$1 - \\varepsilon + {rest}$", rf"${rest}$ elsewhere, $\varepsilon = {scientific(smoothing)}$"
    said.notes = [f"row $n$ of $T$ is {hot} at target $n$ and {rest}; targets {in_words(targets)}"]
    if reduction == "mean":
        said.notes.append(f"$N$ = {max(1, int(counted.sum()))} targets")
    if not counted.all():
        said.notes.append(f"targets equal to {ignored} are left out: their rows of $p$ and $T$ are set to 0")

    def inside(g: np.ndarray) -> dict[str, Any]:
        p = softmax_values(x)
        t = np.full(x.shape, smoothing / x.shape[-1]).reshape(-1, x.shape[-1])
        rows = np.flatnonzero(counted.ravel())
        t[rows, targets.ravel()[rows]] += 1 - smoothing
        t = t.reshape(x.shape) * counted[..., None]
        return {"p": p * counted[..., None], "T": t, "N": max(1, int(counted.sum()))}

    said.values = inside


def norm(call: Call, said: Phrase) -> None:
    x, weight = call.arrays[:2]
    eps = call.param("eps")
    said.notes = [
        rf"$\langle\cdot\rangle$ is the mean over the last axis, of size {x.shape[-1]}; $\varepsilon ="
        rf" {scientific(eps)}$"]
    centred = x - x.mean(axis=-1, keepdims=True) if call.op.name == "layer_norm" else x
    s = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)
    if call.op.name == "layer_norm":
        said.notes.insert(0, r"$\mu$ and $\sigma^2$ are the mean and the variance of each row")
    normalised = centred * s

    def inside(g: np.ndarray) -> dict[str, Any]:
        u = g * weight
        m, c = (v.mean(axis=-1, keepdims=True) for v in (u, u * normalised))
        return {r"\hat{x}": normalised, "s": s, "u": u, "m": m, "c": c}

    said.values = inside


PHRASES: dict[str, Callable[[Call, Phrase], None]] = {
    "power": _power, "square": _square, "cumsum": _cumsum, "maximum": _extremum(1), "minimum": _extremum(-1),
    "select": _select,
    "clip": _values(lambda x, y, g: {"m": np.equal(x, y) * 1.0}),
    "relu": _values(lambda x, y, g: {"m": np.greater(x, 0) * 1.0}), "abs": _values(lambda x, y, g: {"m": np.sign(x)}),
    "silu": _values(lambda x, y, g: {"s": sigmoid(x)}), "_gelu_tanh": _values(gelu_slopes),
    **dict.fromkeys(REDUCTIONS, _reduction), "softmax": softmax, "log_softmax": softmax,
    "matmul": _matmul, "swapaxes": _exchange, "transpose": _exchange, "reshape": _reshape, "broadcast_to": _reshape,
    "pick": _pick, "_take": _take, "put": _put, "_put_along": _put, "_concatenate": _joined, "_stack": _joined,
    "_einsum": _einsum,
    "attention": attention, "_cross_entropy": cross_entropy, "layer_norm": norm, "rms_norm": norm, "linear": _linear,
    "_recomputed": _recomputed,
}  # fmt: skip
