r"""Closed forms: where the steps of the chain rule contract to one expression, :math:`\bar W = X^\top (P - Y) / N`.

Not a proof, but a search.  The rules below write expressions in the letters of the graph; one is believed when it is a
constant times the gradient, with the same constant at the recorded point and at two random ones, and when every mask,
clip or maximum on the way has taken both of its branches at these points.  What is found for one tensor is handed on
through linear maps and activations (``THROUGH``); a loss of several terms is taken term by term.

It has more than 300 lines because the rules are of no use without the search that tries them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..recording import Call, call_of, conform, is_result, is_tensor, sigmoid
from .describe import Names, is_transpose
from .notation import Name, constant, plain

MOST_STEPS, MOST_NUMBERS, MOST_PAIRS = 120, 50_000, 2_000
LONGEST = 96  # characters of LaTeX of an expression that is still one to look at
TOLERANCE = 1e-9  # relative to the largest entry
LETTER, PRODUCT, ENTRYWISE, SUM = range(4)  # what an expression is: the lower, the more tightly it binds


@dataclass
class Closed:
    """One gradient in one expression: ``latex`` and, as text, ``str()``."""

    name: Name
    latex: str
    note: str = ""

    def __str__(self) -> str:
        return plain(self.latex)

    def __repr__(self) -> str:
        return f"{plain(self.name.bar)} = {self}"


class Term(NamedTuple):
    """An expression: its LaTeX, its values at the points, and its rank."""

    latex: str
    values: list[np.ndarray]
    rank: int = LETTER

    def within(self, rank: int) -> str:
        """The LaTeX, in parentheses inside what binds more tightly."""
        return f"({self.latex})" if self.rank > rank else self.latex


class Form(NamedTuple):
    """``c`` times a term, times or over a scalar of the graph."""

    c: float
    term: Term
    times: str = ""
    over: str = ""


class Point:
    """The graph at other leaves: the value of each tensor, and what each op read."""

    def __init__(self, calls: Sequence[Call], leaves: dict[int, np.ndarray]) -> None:
        self.values, self.read = dict(leaves), dict[int, list[Any]]()
        for call in calls:
            arrays = [self.values.get(id(x), _double(a)) for x, a in zip(call.inputs, call.arrays, strict=True)]
            self.read[id(call.result)], self.values[id(call.result)] = arrays, np.asarray(call.forward(arrays))

    def pull(self, call: Call, g: np.ndarray) -> list[Any]:
        """What each input gets of an upstream gradient."""
        arrays, out = self.read[id(call.result)], self.values[id(call.result)]
        return [
            None if r is None else conform(r, a)
            for r, a in zip(call.pull(np.array(g), out, arrays), arrays, strict=True)]

    def gradients(self, calls: Sequence[Call], node: int, seed: np.ndarray) -> dict[int, np.ndarray]:
        """The gradient of one node with respect to everything before it."""
        found = {node: seed}
        for call in reversed(calls):
            if id(call.result) in found:
                for x, share in zip(call.inputs, self.pull(call, found[id(call.result)]), strict=True):
                    if share is not None:
                        found[id(x)] = found[id(x)] + share if id(x) in found else share
        return found


def closed_forms(order: Sequence[Any], names: Names, seed: np.ndarray, wanted: Sequence[Any]) -> dict[int, Closed]:
    """The closed forms of the gradients of ``wanted``, by the id of those that have one."""
    calls = [call for t in order if (call := call_of(t)) is not None]
    size = sum(t.data.size for t in order)
    if not calls or len(calls) > MOST_STEPS or size > MOST_NUMBERS or not all(call.op.builtin for call in calls):
        return {}
    with np.errstate(all="ignore"):
        points = _points(order, calls)
        if points is None:
            return {}
        terms = [Search(calls, names, points, seed, *part) for part in _parts(order[-1], seed)]
        whole = [Search(calls, names, points, seed, order[-1], 1.0, set())] if len(terms) > 1 else []
        dull = {"1", *(names.of(call.result).latex for call in calls if not names.given_name(call.result))}
        found = {}
        for t in wanted:
            for searches in (whole, terms) if t is not order[-1] else ():
                forms = [(s, s.form(t)) for s in searches if id(t) in s.gradients[0]]
                if id(t) not in found and forms and all(f is not None and f.term.latex not in dull for _, f in forms):
                    latex = "".join(s.written(f, first=not k) for k, (s, f) in enumerate(forms) if f is not None)
                    note = next((s.picked[letter] for s, _ in forms for letter in s.picked if letter in latex), "")
                    found[id(t)] = Closed(names.of(t), latex, note)
    return found


def _points(order: Sequence[Any], calls: Sequence[Call]) -> list[Point] | None:
    """The recorded point and two random ones; None where the function cannot be evaluated beside it."""
    rng = np.random.default_rng(0)
    leaves = {id(t): _double(t.data) for t in order if not is_result(t)}
    points = []
    for spread in (0.0, 0.4, 1.0):
        for _ in range(4):
            moved = {}
            for k, x in leaves.items():
                step = spread * rng.normal(size=x.shape)
                moved[k] = x * np.exp(step) if (x > 0).all() else x + step
            try:
                point = Point(calls, moved)
            except (ValueError, IndexError, ArithmeticError, np.linalg.LinAlgError):
                continue
            if all(np.isfinite(point.values[id(call.result)]).all() for call in calls):
                points.append(point)
                break
            spread /= 2
        else:
            return None
    return points


def _parts(output: Any, seed: np.ndarray) -> Iterator[tuple[Any, float, set[float]]]:
    """The terms of a scalar that is a sum, each with its factor and the numbers of which that is made."""
    waiting: list[tuple[Any, float, set[float]]] = [(output, 1.0, set())]
    while waiting:
        t, c, numbers = waiting.pop(0)
        call = call_of(t)
        op = call.op.name if call is not None and t.data.ndim == 0 and seed.shape == () else ""
        if call is not None and op in ("add", "subtract", "negative"):
            waiting += [(x, c if (k == 0 and op != "negative") or op == "add" else -c, numbers)
                        for k, x in enumerate(call.inputs) if call.wants(k)]  # fmt: skip
        elif (
            call is not None and op in ("multiply", "divide") and call.wants(0) != call.wants(1)
            and (call.wants(0) or op == "multiply")
        ):
            k = 0 if call.wants(0) else 1
            number = float(np.asarray(call.arrays[1 - k]))
            waiting.append((call.inputs[k], c * number if op == "multiply" else c / number, numbers | {number}))
        else:
            yield t, c, numbers


class Search:
    """The closed forms of one term of the output."""

    def __init__(
        self, calls: Sequence[Call], names: Names, points: list[Point], seed: np.ndarray, node: Any, c: float,
        numbers: set[float]
    ) -> None:
        self.names, self.points, self.node, self.c = names, points, node, c
        self.seed = seed if node is calls[-1].result else np.ones(())
        self.gradients = [p.gradients(calls, id(node), c * self.seed) for p in points]
        before = {id(node)}
        for call in reversed(calls):
            if id(call.result) in before:
                before |= {id(x) for x in call.inputs}
        self.calls = [call for call in calls if id(call.result) in before]
        self.made = {id(call.result): call for call in self.calls}
        self.forms: dict[int, Form | None] = {}
        self.by_shape: dict[tuple[int, ...], list[Term]] = {}
        self.picked: dict[str, str] = {}
        inputs = [x for call in self.calls for x in call.inputs if x is not None]
        self.nodes = list({id(x): x for x in [*inputs, node] if np.ndim(_data(x)) and np.size(_data(x))}.values())
        self.scalars = [x for x in [*inputs, node] if is_tensor(x) and x.requires_grad and x.data.size == 1]
        self.numbers = numbers | {float(np.asarray(x).item()) for x in inputs if not is_tensor(x) and np.size(x) == 1}
        sizes = {n for call in self.calls for a in call.arrays if a is not None for n in (*np.shape(a), np.size(a))}
        means = {int(x) for x in numbers if np.isfinite(x) and x == int(x)}  # what a mean divides by
        for call in self.calls:
            if call.op.name == "mean" and call.out.size:
                means.add(call.arrays[0].size // call.out.size)
            elif call.op.name == "_cross_entropy":
                means.add(call.param("targets").size)
            elif call.op.name == "divide" and np.ndim(x := call.arrays[1]) == 0 and np.isfinite(x) and x == int(x):
                means.add(int(x))
        odd = {n: 0.2 if n in means else 1.0 for n in sizes | means if n > 1}
        self.sizes = {1: 0.0} | odd  # how far-fetched each is
        self.hot = list(self._one_hot())

    def _one_hot(self) -> Iterator[Term]:
        """The targets of a cross-entropy, and what an index picks, as an array of zeros and ones."""
        for call in self.calls:
            x = np.asarray(call.arrays[0])
            if call.op.name == "_cross_entropy" and not call.param("label_smoothing"):
                hot = (np.arange(x.shape[-1]) == call.param("targets")[..., None]).astype(float)
            elif call.op.name == "pick" and isinstance(call.param("index"), tuple) and len(call.out.ravel()) < x.size:
                hot = np.zeros(x.shape)
                np.add.at(hot, call.param("index"), 1.0)
            else:
                continue
            letter = "T'" if "T" in self.names else "T"
            self.picked[letter] = f"${letter}$ is 1 at the target of each row, and 0 elsewhere"
            yield Term(letter, [hot] * len(self.points))

    # What can be said of one gradient --------------------------------------------------------------------------------

    def form(self, t: Any) -> Form | None:
        """The closed form of the gradient of a tensor."""
        if id(t) not in self.forms:
            self.forms[id(t)] = self._start() if t is self.node else self._searched(t)
        return self.forms[id(t)]

    def _start(self) -> Form:
        """That of the output: 1, or the gradient that was given."""
        if self.seed.ndim or self.seed != 1:
            return Form(1.0, Term(self.names.of(self.node).bar, [self.seed] * len(self.points)))
        return Form(self.c, Term("1", [np.ones(())] * len(self.points)))

    def _searched(self, t: Any) -> Form | None:
        if id(t) not in self.gradients[0] or not t.data.size or not self._both_branches(t):
            return None
        fitting = (f for rule in RULES for term in rule(self, t) if (f := self.fitted(t, term)))
        return next(fitting, None) or self._handed(t)

    def fitted(self, t: Any, term: Term) -> Form | None:
        """The term with its factor, where it is the gradient at every point."""
        cs = []
        for value, found in zip(term.values, self.gradients, strict=True):
            g = found[id(t)]
            if value.shape != g.shape or not (square := float(np.vdot(value, value))):
                return None
            cs.append(float(np.vdot(value, g)) / square)
            top = float(np.abs(g).max(initial=0))
            apart = np.abs(g - cs[-1] * value).max()
            if not top or not np.isfinite(square) or apart > TOLERANCE * top or len(term.latex) > LONGEST:
                return None
        if np.ptp(cs) <= TOLERANCE * abs(cs[0]):
            return Form(cs[0], term)
        for s in self.scalars if t.data.size > 1 else ():
            values = np.array([p.values[id(s)].item() for p in self.points])
            for times, ratios in ((True, cs / values), (False, cs * values)):
                if np.ptp(ratios) <= TOLERANCE * abs(ratios[0]):
                    letter = self.letter(s).within(LETTER)
                    return Form(float(ratios[0]), term, letter if times else "", "" if times else letter)
        return None

    def _handed(self, t: Any) -> Form | None:
        """The form of a result that reads ``t``, through that op; the sum of those of two."""
        uses = [(call, i) for call in self.calls for i, x in enumerate(call.inputs) if x is t]
        forms = []
        for call, i in uses[:4]:
            above = self.form(call.result) if call.op.name in THROUGH else None
            written = THROUGH[call.op.name](self, call, i, above.term) if above is not None else None
            if above is None or written is None:
                continue
            latex, rank = written
            pairs = zip(self.points, above.term.values, strict=True)
            values = [p.pull(call, np.broadcast_to(v, call.out.shape))[i] for p, v in pairs]
            sign = -1.0 if latex.startswith("-") else 1.0
            term = Term(latex.removeprefix("-"), [sign * v for v in values], rank)
            forms.append(above._replace(c=sign * above.c, term=term))
            if found := forms[0] if len(uses) == 1 else self.fitted(t, term):
                return found
        if len(forms) == 2:
            (a, b), same = forms, forms[0].c * forms[1].c > 0
            latex = f"{a.term.latex} {'+' if same else '-'} {b.term.within(ENTRYWISE)}"
            return self.fitted(t, Term(latex, _pairs(np.add if same else np.subtract, a.term, b.term), SUM))
        return None

    def _both_branches(self, t: Any) -> bool:
        """Whether each op between ``t`` and the output that has branches took both of them at the points."""
        after = {id(t)}
        for call in self.calls:
            if not any(id(x) in after for x in call.inputs):
                continue
            after.add(id(call.result))
            if side := SIDES.get(call.op.name):
                sides = [side(call, p.values[id(call.result)], *p.read[id(call.result)][:2]) for p in self.points]
                if all(np.all(s) for s in sides) or not any(np.any(s) for s in sides):
                    return False
        return True

    # Letters ---------------------------------------------------------------------------------------------------------

    def letter(self, x: Any, depth: int = 3) -> Term:
        """A tensor or an array: by the reader's name, or else written out while that is short."""
        values = [np.asarray(p.values.get(id(x), _double(_data(x)))) for p in self.points]
        call = self.made.get(id(x)) if not self.names.given_name(x) else None
        if call is not None and depth and call.op.name in WRITTEN and all(y is not None for y in call.inputs):
            latex, rank = WRITTEN[call.op.name](call, *(self.letter(y, depth - 1) for y in call.inputs))
            if latex and len(latex) < 48:
                return Term(latex, values, rank)
        name = self.names.of(x)
        return Term(name.latex, values, PRODUCT if name.transposed else LETTER)

    def given(self, shape: tuple[int, ...]) -> list[Term]:
        """What has a shape and a name: leaves, constants, targets, and what the reader named."""
        return [*map(self.letter, self._alike(shape, True)), *(h for h in self.hot if h.values[0].shape == shape)]

    def letters(self, shape: tuple[int, ...]) -> list[Term]:
        """What has a shape: what has a name, functions of it, then the other results."""
        if shape in self.by_shape:
            return self.by_shape[shape]
        terms = self.by_shape[shape] = self.given(shape)
        for x in (x for x in self.nodes if np.shape(_data(x)) == shape and is_tensor(x) and x.requires_grad):
            z = self.letter(x)
            terms.append(Term(rf"\operatorname{{softmax}}({z.latex})", [_softmax(v) for v in z.values]))
            terms.append(Term(rf"\sigma({z.latex})", [sigmoid(v) for v in z.values]))
        terms += [self.letter(x) for x in self._alike(shape, False)]
        return terms

    def _alike(self, shape: tuple[int, ...], named: bool) -> list[Any]:
        own = {id(x): bool(self.names.given_name(x)) or not (is_tensor(x) and is_result(x)) for x in self.nodes}
        return [x for x in self.nodes if np.shape(_data(x)) == shape and own[id(x)] == named]

    def written(self, form: Form, first: bool = True) -> str:
        """A form as LaTeX, its constant in the numbers and the sizes of the graph where they explain it."""
        front, below = self._constant(abs(form.c))
        front = [*front, *([form.times] if form.times else [])]
        below = [*below, *([form.over] if form.over else [])]
        body = form.term.within(ENTRYWISE if front or below or form.c < 0 else SUM)
        latex = r" \, ".join([*([r" \cdot ".join(front)] if front else []), body]) + "".join(f" / {b}" for b in below)
        return ("-" if form.c < 0 else "") + latex if first else (" - " if form.c < 0 else " + ") + latex

    def _constant(self, c: float) -> tuple[list[str], list[str]]:
        """A factor as numbers before an expression and below it, the simplest way in the graph's numbers and sizes."""
        best = (9.0, [constant(c)], list[str]())
        for number in {1.0, *map(abs, self.numbers)} - {0.0}:
            odd = 0.0 if number == 1 else 0.8 if number == round(number) else 0.4
            for n, odd_n in self.sizes.items():
                for k, (odd_k, factor) in {1: (0.0, ""), 2: (0.3, "2"), 0.5: (0.6, r"\tfrac12"), 4: (0.8, "4")}.items():
                    for up in (True, False):
                        cost = odd + odd_n + odd_k
                        if cost < best[0] and np.isclose(k * number ** (1 if up else -1) / n, c, rtol=1e-9, atol=0):
                            front = [*([factor] if factor else []), *([constant(number)] if up and number != 1 else [])]
                            below = [constant(x) for x in (n, *([] if up else [number])) if x != 1]
                            best = (cost, front, below)
        return best[1:]


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _data(x: Any) -> Any:
    return x.data if is_tensor(x) else x


def _double(x: Any) -> Any:
    """A copy in float64 of an array of real numbers; anything else as it is."""
    return np.array(x, np.float64) if np.asarray(x).dtype.kind == "f" else x


# The rules: expressions that may be the gradient of t ----------------------------------------------------------------


def _pairs(make: Callable[[np.ndarray, np.ndarray], np.ndarray], a: Term, b: Term) -> list[np.ndarray]:
    return [make(x, y) for x, y in zip(a.values, b.values, strict=True)]


def _one(s: Search, t: Any) -> Iterator[Term]:
    """2 λ w, softmax(z), X w − y."""
    yield s.letter(t)
    yield from s.letters(t.data.shape)
    yield Term("1", [np.ones(t.data.shape)] * len(s.points))


def _difference(s: Search, t: Any) -> Iterator[Term]:
    """P − Y, σ(z) − y, 1 − y."""
    letters, given = s.letters(t.data.shape), s.given(t.data.shape)
    for a in letters if len(letters) * len(given) <= MOST_PAIRS else ():
        yield Term(f"1 - {a.within(ENTRYWISE)}", [1 - v for v in a.values], SUM)
        for b in given:
            if a.latex != b.latex:
                yield Term(f"{a.latex} - {b.within(ENTRYWISE)}", _pairs(np.subtract, a, b), SUM)


def _symmetric(s: Search, t: Any) -> Iterator[Term]:
    """(A + Aᵀ) x, of xᵀAx."""
    for x in s.nodes if t.data.ndim in (1, 2) else ():
        if np.shape(_data(x)) == 2 * t.data.shape[:1]:
            a, b = s.letter(x), s.letter(t)
            both = rf"({a.latex} + {a.within(LETTER)}^\top) {b.within(LETTER)}"
            yield Term(both, [(m + m.T) @ v for m, v in zip(a.values, b.values, strict=True)], PRODUCT)


def _inverse(s: Search, t: Any) -> Iterator[Term]:
    """A⁻ᵀ, of log |det A|."""
    a = s.letter(t)
    square = t.data.ndim == 2 and t.data.shape[0] == t.data.shape[1]
    if square and all(np.linalg.cond(v) < 1e8 for v in a.values):
        yield Term(rf"{a.within(LETTER)}^{{-\top}}", [np.linalg.inv(v).T for v in a.values])


def _activation(s: Search, t: Any) -> Iterator[Term]:
    """Through softmax, σ or tanh, however computed: p ⊙ (p̄ − rowsum(p̄ ⊙ p)), ȳ ⊙ y ⊙ (1 − y), ȳ ⊙ (1 − y ⊙ y)."""
    z = s.letter(t).values

    def is_result_of(f: Callable[[Any], np.ndarray], node: Any) -> bool:
        pairs = zip(z, s.points, strict=True)
        return all(np.allclose(f(v), p.values[id(node)], rtol=1e-10, atol=1e-14) for v, p in pairs)

    for call in s.calls:
        node, shape = call.result, s.points[0].values[id(call.result)].shape
        alike = shape == t.data.shape != ()
        kind = next((k for k, f in FUNCTIONS.items() if alike and is_result_of(f, node)), "")
        if above := s.form(node) if kind and node is not t else None:
            yield _slope(kind, s.letter(node, 0), above.term)


def _slope(kind: str, y: Term, g: Term) -> Term:
    """The gradient g of y = kind(z), handed on to z."""
    left, own = g.within(PRODUCT), y.within(LETTER)
    if kind == "softmax":
        total = r"\operatorname{rowsum}" if y.values[0].ndim > 1 else r"\operatorname{sum}"
        values = _pairs(lambda y, g: y * (g - (g * y).sum(axis=-1, keepdims=True)), y, g)
        return Term(rf"{own} \odot ({g.latex} - {total}({left} \odot {own}))", values, ENTRYWISE)
    slopes: dict[str, tuple[str, int, Callable[[Any, Any], Any]]] = {
        "sigmoid": (rf"{own} \odot (1 - {own})", ENTRYWISE, lambda y, g: g * y * (1 - y)),
        "tanh": (rf"1 - {own} \odot {own}", SUM, lambda y, g: g * (1 - y * y)),
        "exp": (own, LETTER, lambda y, g: g * y)}
    slope, rank, derivative = slopes[kind]
    values = _pairs(derivative, y, g)
    return Term(slope, values, rank) if g.latex == "1" else Term(
        rf"{left} \odot {f'({slope})' if rank == SUM else slope}", values, ENTRYWISE)  # fmt: skip


FUNCTIONS: dict[str, Callable[[Any], np.ndarray]] = {
    "softmax": _softmax, "sigmoid": sigmoid, "tanh": np.tanh, "exp": np.exp,
}  # fmt: skip
RULES = (_one, _difference, _symmetric, _inverse, _activation)


# Ops through which a form is handed on: (search, call, number of the input, form of the result) to LaTeX and rank ----


def _product(s: Search, call: Call, i: int, g: Term) -> tuple[str, int] | None:
    if call.op.name == "linear" and i == 2:
        return _summed(s, call, i, g)
    other, mine, others = s.letter(call.inputs[1 - i]), np.ndim(call.arrays[i]), np.ndim(call.arrays[1 - i])
    turned = other.latex.endswith(r"^\top")
    transposed = other.latex.removesuffix(r"^\top") if turned else rf"{other.within(LETTER)}^\top"
    if g.latex == "1":
        return (other.latex, other.rank) if mine == others == 1 else None
    left, right = g.within(PRODUCT), other.within(PRODUCT)
    if mine == others == 1:
        return rf"{left} \, {right}", PRODUCT
    if others == 1:  # the outer product
        return (rf"{left} {other.within(LETTER)}^\top" if i == 0 else rf"{right} {g.within(LETTER)}^\top"), PRODUCT
    if i == 0:
        return (f"{right} {left}" if mine == 1 else f"{left} {transposed}"), PRODUCT
    if mine == 2 and others > 2:
        a, b = (f"({x.latex})" if "_" in x.latex or x.rank else x.latex for x in (other, g))
        return rf"\textstyle\sum_n {a}_n^\top {b}_n", PRODUCT
    return f"{transposed} {left}", PRODUCT


def _summed(s: Search, call: Call, i: int, g: Term) -> tuple[str, int] | None:
    sign = "-" if call.op.name == "negative" or (call.op.name == "subtract" and i == 1) else ""
    mine, out = np.shape(call.arrays[i]), call.out.shape
    axes = [k for k in range(len(out)) if k < len(out) - len(mine) or mine[k - len(out)] != out[k]]
    if not axes:
        return (f"-{g.within(ENTRYWISE)}", ENTRYWISE) if sign else (g.latex, g.rank)
    which = f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
    return None if g.latex == "1" else (rf"{sign}\operatorname{{sum}}_{{\text{{{which}}}}}({g.latex})", LETTER)


def _turned(s: Search, call: Call, i: int, g: Term) -> tuple[str, int] | None:
    return (rf"{g.within(LETTER)}^\top", PRODUCT) if is_transpose(call) and g.latex != "1" else None


def _mask(s: Search, call: Call, i: int, g: Term) -> tuple[str, int] | None:
    if call.op.name == "maximum" and (i == 1 or np.ndim(call.arrays[1]) or call.arrays[1] != 0):
        return None
    mask = f"[{s.letter(call.inputs[0]).latex} > 0]"
    return (mask, LETTER) if g.latex == "1" else (rf"{g.within(PRODUCT)} \odot {mask}", ENTRYWISE)


THROUGH: dict[str, Callable[[Search, Call, int, Term], tuple[str, int] | None]] = {
    "matmul": _product, "linear": _product, "add": _summed, "subtract": _summed, "negative": _summed,
    "swapaxes": _turned, "transpose": _turned, "relu": _mask, "maximum": _mask,
}  # fmt: skip

SIDES: dict[str, Callable[..., Any]] = {  # which branch each entry took: (call, result, inputs)
    "clip": lambda call, y, x, *_: np.equal(x, y), "maximum": lambda call, y, a, b: np.greater(a, b),
    "minimum": lambda call, y, a, b: np.less(a, b), "relu": lambda call, y, x, *_: np.greater(x, 0),
    "abs": lambda call, y, x, *_: np.greater(x, 0), "select": lambda call, y, *_: call.param("condition"),
}  # fmt: skip


# How a result without a name is written ------------------------------------------------------------------------------


def _written_product(call: Call, a: Term, b: Term, *bias: Term) -> tuple[str, int]:
    rows, columns = np.ndim(call.arrays[0]) == 1, np.ndim(call.arrays[1]) == 1
    if rows and not columns and not bias:
        return rf"{b.within(LETTER)}^\top {a.within(PRODUCT)}", PRODUCT
    product = f"{a.within(PRODUCT)} {b.within(PRODUCT)}"
    if rows and columns:
        product = rf"{a.within(LETTER)}^\top {b.within(PRODUCT)}"
    return (f"{product} + {bias[0].latex}", SUM) if bias else (product, PRODUCT)


WRITTEN: dict[str, Callable[..., tuple[str, int]]] = {
    "matmul": _written_product, "linear": _written_product,
    "inv": lambda call, a: (rf"{a.within(LETTER)}^{{-1}}", LETTER),
    "add": lambda call, a, b: (f"{a.latex} + {b.latex}", SUM),
    "subtract": lambda call, a, b: (f"{a.latex} - {b.within(ENTRYWISE)}", SUM),
    "softmax": lambda call, z: (rf"\operatorname{{softmax}}({z.latex})", LETTER),
    "sigmoid": lambda call, z: (rf"\sigma({z.latex})", LETTER), "tanh": lambda call, z: (rf"\tanh({z.latex})", LETTER),
}  # fmt: skip
