r"""Paths of a program that carry one contribution each, and what is said of one that is scaled: dropped, negated, off
by a factor.

A factor c means: claimed = c · right, on one path or on all.  Each origin of a factor is a number found in the recorded
program, with the sentence that it stands for: the scale of attention, the n of a mean, the 2 of a square, the length of
an axis.  It has more than 300 lines because it holds these sentences, a few for each op.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .program import CONSTANT, Program, Site, Step
from .verdicts import Finding


class Origin(NamedTuple):
    """A factor that a mistake would leave in the gradient, the mistake's name, and the sentence for it."""

    factor: float
    mistake: str
    words: str
    cost: float = 0.0
    edge: int = 0  # the input of the step whose gradient is off
    step: Any = None
    elsewhere: str = ""  # the sentence for it when the step computes another term


def origins(program: Program, steps: Iterable[Step], through: set[int]) -> list[Origin]:
    """Every factor that these steps suggest, on the way to variables that act on the nodes ``through``."""
    found: list[Origin] = []
    for step in steps:
        if not any(x in through for x in step.inputs):
            continue
        found += [
            o._replace(words=f"{o.words}, in {program.where(step)}", step=step)
            for o in OF_OP.get(step.op, lambda p, s: ())(program, step) if step.inputs[o.edge] in through]
        for i in step.wanted():
            a, r = step.arrays[i], step.raw[i]
            if step.inputs[i] in through and a.size and r.size > a.size:
                n = r.size // a.size
                words = (
                    f"{program.operand(step, i)} was broadcast over {n} places by {program.where(step)}, whose"
                    f" gradients add up (a sum); here is their mean, divided by {n}")
                found.append(Origin(1 / n, "superfluous mean", words, 0.0, i, step))
    return found


def _of_one_division(a: Origin, b: Origin) -> bool:
    """Whether two origins are two stories of one division, such as that of a mean by hand."""
    return any(
        x.words.startswith("divided by") and (y.step is x.step or y.words.startswith(("the division by", "divided by")))
        for x, y in ((a, b), (b, a)))


def _two(*words: str) -> str:
    """Several slips in words; a place that they share is named once."""
    if len(set(words)) == 1 and len(words) > 1:
        return f"{words[0]}, {len(words)} times"
    return "; and ".join(words)


def same(a: float, b: float) -> bool:
    """Whether two factors agree, and are not 1."""
    return abs(a - b) <= 1e-6 * abs(b) and abs(a - 1) > 1e-9


def tidy(c: float) -> float:
    """A factor without its round-off."""
    for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12):
        if abs(c * n - round(c * n)) < 1e-7 * max(1.0, abs(c * n)):
            return round(c * n) / n
    return c


def general(program: Program, i: int) -> Iterator[Origin]:
    """What a factor may be when no step explains it: 2, 1/2, and n, 1/n, √n, 1/√n for the length n of an axis."""
    yield Origin(2, "factor", "counted twice")
    yield Origin(1 / 2, "factor", "half of it, as when a square's 2 or a second, equal contribution is forgotten")
    for n, where in _lengths(program, [i]).items():
        for value, text in ((n, f"{n}"), (1 / n, f"1/{n}"), (math.sqrt(n), f"√{n}"), (1 / math.sqrt(n), f"1/√{n}")):
            yield Origin(value, "factor", f"{text}, where {n} is {where}")


def _lengths(program: Program, first: Sequence[int] = ()) -> dict[int, str]:
    """Each length with where it is met: the variable itself, the others, and what has a name."""
    if tuple(first) in program.lengths:
        return program.lengths[tuple(first)]
    found: dict[int, list[str]] = {}
    for node in dict.fromkeys([*first, *program.variables, *program.names, *(step.out for step in program.steps)]):
        what, value = program.called(node), program.values[node]
        for axis, n in enumerate(value.shape):
            found.setdefault(n, []).append(f"the length of axis {axis} of {what}")
        if value.ndim > 1:
            found.setdefault(value.size, []).append(f"the number of entries of {what}")
    found.pop(1, None)
    program.lengths[tuple(first)] = {
        n: " or ".join(dict.fromkeys(where[:1] + [w.removeprefix("the length ") for w in where[1:3]]))
        for n, where in found.items()}
    return program.lengths[tuple(first)]


def _mean(program: Program, step: Step) -> Iterator[Origin]:
    n = step.arrays[0].size // max(1, step.value.size)
    axis = step.params.get("axis")
    over = f"the mean over {n} entries" + ("" if axis is None else f" (axis {axis})")
    over += ", the batch," if step.within == "cross_entropy" else ""
    missing = f"the 1/{n} of {over} is missing"
    if step.within == "cross_entropy":
        missing = f"the mean over the batch of {n} is missing: cross_entropy divides by {n}"
    yield Origin(n, "missing mean", missing)
    yield Origin(1 / n, "factor", f"divided by {n} twice, once more than {over} asks")
    shape = step.arrays[0].shape
    for k, m in enumerate(shape if axis is None and len(shape) > 1 else ()):
        yield Origin(n / m, "factor", f"divided by {m} only, as for a mean over axis {k}; {over} divides by {n}")
    if step.within == "cross_entropy":
        made = next((s for s in program.steps if s.index < step.index and s.op == "log_softmax"), None)
        v = made.value.shape[-1] if made else 1
        yield Origin(1 / v, "factor", f"divided by the {v} classes; the mean is over targets, not over classes")


def _sum(program: Program, step: Step) -> Iterator[Origin]:
    n = step.arrays[0].size // max(1, step.value.size)
    readers = program.readers.get(step.out, [])
    while len(readers) == 1 and readers[0][0].op == "negative":
        readers = program.readers.get(readers[0][0].out, [])
    divided = any(s.op == "divide" and i == 0 and s.number(1) is not None for s, i in readers)
    if not divided:  # else it is a mean, if only by hand
        cost = 0.0 if step.params.get("axis") is None else 0.1
        yield Origin(1 / n, "superfluous mean", f"a mean over {n} entries in place of the function's sum", cost)
        for m in {step.arrays[0].shape[0], step.arrays[0].shape[-1]} - {n, 1} if step.arrays[0].ndim > 1 else ():
            words = f"divided by {m}, as for a mean over a batch of {m}; the function has a sum"
            yield Origin(1 / m, "superfluous mean", words, 0.2)
    hidden = _hidden(program, step)
    for divide, i in readers:  # a mean written as sum / count
        d = divide.number(1 - i) if divide.op == "divide" else None
        for m in {n, *step.arrays[0].shape} - {1} if i == 0 and d else ():
            if d is None or abs(d - m) <= 1e-9:
                continue
            if step.within == "cross_entropy":
                words = f"divided by all {m} targets; the {m - d:g} ignored ones do not count"
                yield Origin(d / m, "factor", f"{words}, and the mean is over {d:g}")
            elif d < m and hidden:
                words = (
                    f"divided by all {m} entries (rows) and not by {d:g}, the count of those that are kept and not"
                    " ignored (masked, padding)")
                yield Origin(d / m, "factor", words)
            else:
                what = "the number of entries" if m == n else "the length of an axis"
                yield Origin(d / m, "factor", f"divided by {m}, {what}, where the function divides by {d:g}", 0.3)


def _hidden(program: Program, step: Step) -> bool:
    """Whether some of what is summed is hidden by a mask: multiplied by zeros, or picked."""
    stack, seen = list(step.inputs), set()
    while stack:
        made = program.made.get(stack.pop())
        if made is None or made.index in seen:
            continue
        seen.add(made.index)
        stack += made.inputs
        index = made.params["index"] if made.op == "pick" else ()
        picked = any(isinstance(k, np.ndarray) for k in (index if isinstance(index, tuple) else (index,)))
        if picked or made.op == "select" or (made.op == "multiply" and made.multiplies_zeros()):
            return True
    return False


PLAIN = (0.0, 1.0, -1.0)  # numbers that are no factors


def _times(program: Program, step: Step) -> Iterator[Origin]:
    a, b = step.arrays
    if step.inputs[0] == step.inputs[1] != CONSTANT:
        square = program.expression(step)
        yield Origin(
            1 / 2, "factor",
            f"the 2 of the square is missing: in the derivative 2x of x·x one of the two uses is left out ({square})")
        yield Origin(2, "factor", f"a 2 too many: the square {square} is counted twice", 0.1)
    for i, s in ((1, b), (0, a)):
        value, made = step.number(i), program.made.get(step.inputs[i])
        if value is not None and value not in PLAIN and step.within == "attention":
            scores = program.made.get(step.inputs[1 - i])
            d = scores.arrays[0].shape[-1] if scores is not None else program.values[step.inputs[1 - i]].shape[-1]
            standard = abs(value * value * d - 1) < 1e-9
            scale = f"1/√d_k = 1/√{d}" if standard else f"{value:g}"
            yield from _scalar(value, f"the scale {scale} of attention", 1 - i)
            yield from _other_scale(program, d, 1 - i) if standard else ()
        elif value is not None and value not in PLAIN:
            yield from _other_scale(program, 1 / value**2, 1 - i)
            what = f"the factor {program.operand(step, i)}{_root(program, step, i)} of {step.name}"
            yield from _scalar(value, what, 1 - i)
            if value < 0:
                what = f"{program.operand(made, 0)} = " if made is not None and made.op == "negative" else ""
                what = f"the factor {what}{-value:.6g} (though not its minus sign) of {step.name}"
                yield from _scalar(-value, what, 1 - i)
        if value is not None:
            for node in program.scalar_factors(step.inputs[i]):
                part = float(np.reshape(program.values[node], -1)[0])
                if part not in PLAIN:
                    what = f"the factor {program.called(node)} = {part:.6g} of {program.operand(step, i)}"
                    yield from _scalar(part, what, 1 - i, 0.05)
            for text, part, whole in program.parts(step, value) if value else ():
                yield from _scalar(part, f"the factor {text} of {whole} = {value:g}", 1 - i, 0.05)
        if np.ndim(s) and step.inputs[i] == CONSTANT and not np.all(s) and len(np.unique(s)) == 2:  # a dropout mask
            kept = float(np.max(s))
            if kept not in (0.0, 1.0):
                yield Origin(1 / kept, "factor", f"the mask's factor {kept:g} = 1/(1 − p) is missing", edge=1 - i)
                yield Origin(kept, "factor", f"the mask's factor {kept:g} = 1/(1 − p) is applied twice", edge=1 - i)


def _other_scale(program: Program, d: float, edge: int) -> Iterator[Origin]:
    """A scale 1/√d with another length in place of d."""
    lengths = _lengths(program)
    if abs(d - round(d)) > 1e-9 or round(d) not in lengths:
        return
    for m, where in lengths.items():
        if m != round(d):
            words = f"the scale is 1/√{m} ({m} is {where}); it should be 1/√{round(d)}"
            yield Origin(math.sqrt(d / m), "wrong scale", words, 0.3, edge)


def _divide(program: Program, step: Step) -> Iterator[Origin]:
    d = step.number(1)
    if d is not None and d not in PLAIN:
        what = f"{program.operand(step, 1)}{_root(program, step, 1)}"
        summed = any(s.op == "sum" for s in program.steps if s.out in step.inputs[:1])
        mean = (step.op == "divide" and summed) or (abs(d - round(d)) < 1e-12 and step.value.ndim == 0)
        kind = f", the 1/N of a mean over {d:g}," if mean and abs(d - round(d)) < 1e-12 else ""
        yield from _other_scale(program, d * d, 0) if not kind else ()
        yield Origin(d, "missing mean" if kind else "factor", f"the division by {what}{kind} is missing")
        yield Origin(1 / d, "factor", f"the division by {what} is done twice", elsewhere=f"divided by {what}")
        yield Origin(d * d, "upside down", f"multiplied by {what}, where the function divides by it")
        if step.op == "divide":
            twice = "the derivative with respect to the denominator divides by its square"
            yield Origin(d, "factor", f"the division by {what} is missing once: {twice}", edge=1)
            yield Origin(1 / d, "factor", f"the division by {what} is done once more: {twice}", edge=1)
        for text, part, whole in program.parts(step, d):
            yield Origin(part, "factor", f"the division by {text}, a factor of {whole} = {d:g}, is missing", 0.05)
            yield Origin(1 / part, "factor", f"the division by {text}, a factor of {whole} = {d:g}, is done twice", 0.1)


def _scalar(s: float, what: str, edge: int, cost: float = 0.0) -> Iterator[Origin]:
    plain = what.removeprefix("the factor ")
    yield Origin(1 / s, "factor", f"{what} is missing", cost, edge)
    yield Origin(s, "factor", f"{what} is applied twice", cost, edge, elsewhere=f"multiplied by {plain}")
    if not cost:
        yield Origin(1 / (s * s), "upside down", f"divided by {plain}, where the function multiplies by it", cost, edge)


def _root(program: Program, step: Step, i: int) -> str:
    """= √5 after 2.23607, and the like; nothing for whole numbers and their inverses; for a named number, its value."""
    s = step.number(i) or 0.0
    text = "" if step.inputs[i] == CONSTANT and not isinstance(step.arrays[i], np.ndarray) else f" = {s:.6g}"
    if any(abs(v - round(v)) < 1e-9 for v in (s, 1 / s)):
        return text
    for value, form in ((s * s, "√{}"), (1 / (s * s), "1/√{}")):
        if abs(value - round(value)) < 1e-9 and 1 < round(value) < 10_000:
            return f"{text} = {form.format(round(value))}"
    return text


def _power(program: Program, step: Step) -> Iterator[Origin]:
    n = step.number(1) if len(step.arrays) > 1 else 2.0
    if n is not None and n not in (0.0, 1.0):
        what = (
            "the 2 of the square (the derivative 2x of x²)" if n == 2
            else f"the exponent {n:g} in front, of the derivative of the power x^{n:g},")
        yield Origin(1 / n, "factor", f"{what} is missing")
        yield Origin(n, "factor", f"{what} is applied twice", 0.1)
        if n < 0:
            yield Origin(-1 / n, "factor", f"the exponent {-n:g} (though not its minus sign) in front is missing", 0.05)


def _var(program: Program, step: Step) -> Iterator[Origin]:
    n, ddof = step.arrays[0].size // max(1, step.value.size), step.params.get("ddof", 0)
    yield Origin(1 / 2, "factor", "the 2 of the derivative of the squares in var is missing")
    yield Origin(n - ddof, "missing mean", f"the 1/{n - ddof} of var is missing")
    if n > 1:
        other = 1 - ddof if ddof in (0, 1) else 0
        yield Origin(
            (n - ddof) / (n - other), "factor", f"divided by {n - other}; var divides by {n - ddof} (ddof = {ddof})")


def _sqrt(program: Program, step: Step) -> Iterator[Origin]:
    yield Origin(2, "factor", "the 1/2 of the derivative 1/(2√x) of the square root is missing")
    yield Origin(
        1 / 2, "factor",
        "the 1/2 of the derivative 1/(2√x) of the square root is applied twice, or a square's 2 is missing", 0.1)


def _erf(program: Program, step: Step) -> Iterator[Origin]:
    yield Origin(math.sqrt(math.pi) / 2, "factor", "the 2/√π of the derivative of erf is missing")


def _take(program: Program, step: Step) -> Iterator[Origin]:
    """Query heads that share a key head are averaged."""
    if step.within == "attention":
        n = step.value.size // max(1, step.arrays[0].size)
        yield Origin(
            1 / n, "superfluous mean", f"a mean over the {n} query heads that share a key head; their gradients add up")


OF_OP: dict[str, Any] = {
    "mean": _mean, "sum": _sum, "multiply": _times, "divide": _divide, "power": _power, "square": _power, "var": _var,
    "sqrt": _sqrt, "erf": _erf, "_take": _take}


# Paths ---------------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Path:
    """The edges, as (step, input's number), that carry one contribution ``effect`` (in projection) to a variable."""

    edges: list[tuple[Step, int]]
    effect: np.ndarray

    def sites(self, c: float, avoid: Iterable[Site] = (), at: Step | None = None) -> list[Site]:
        """The edit that scales the contribution by ``c``, on an edge that no other edit uses; ``at`` a step if it can
        be."""
        taken = {site[:2] for site in avoid}
        free = [(s, k) for s, k in self.edges if (s.index, s.inputs[k]) not in taken] or self.edges[:1]
        step, i = next(((s, k) for s, k in free if s is at), free[0])
        return [Site(step.index, step.inputs[i], lambda g: (c - 1) * step.share(i, g))]


def projected(tangent: np.ndarray, g: np.ndarray) -> np.ndarray:
    """What a gradient of a node contributes in projection; ``tangent`` is how the node moves in each direction."""
    return np.asarray(tangent.reshape(len(tangent), -1) @ np.ravel(g))


def paths(program: Program, i: int, tangents: dict[int, np.ndarray]) -> list[Path]:
    """Every path to variable ``i``, from the output's end; edges in a row with no branch between them are one path."""
    found: list[Path] = []
    for step in reversed(program.live):
        for k in step.wanted():
            tangent = tangents.get(step.inputs[k])
            if tangent is None:
                continue
            effect = projected(tangent, step.shares[k])
            for path in found:
                if np.abs(path.effect - effect).max() <= 1e-7 * np.abs(effect).max():
                    if path.edges[-1][0] is not step:  # the uses of x in x·x are no path of one edge after the other
                        path.edges.append((step, k))
                    break
            else:
                found.append(Path([(step, k)], effect))
    return [p for p in found if np.abs(p.effect).max() > 0]


def _is_square(step: Step) -> bool:
    """Whether a step computes x·x."""
    return step.op in ("multiply", "matmul") and step.inputs[0] == step.inputs[1]


class Stories:
    """What can be said of the paths to one variable."""

    def __init__(self, program: Program, i: int, name: str, all_paths: list[Path], total: np.ndarray) -> None:
        self.program, self.i, self.name, self.all = program, i, name, all_paths
        self.leads = program.leads(i)
        self.total = total

    def is_whole(self, path: Path) -> bool:
        """Whether the path carries all of the gradient."""
        return bool(np.abs(path.effect - self.total).max() <= 1e-7 * np.abs(self.total).max())

    def of(self, path: Path, c: float, loose: bool = True) -> list[Finding]:
        """What scales a path by ``c``, the likeliest first; nothing when the number has no origin."""
        if abs(c) < 1e-6:
            return [] if self.is_whole(path) else [self.dropped(path)]
        if abs(c + 1) < 1e-6:
            return [self.negated(path)]
        if c < 0 and (found := self._by_origin(path, c, False)):
            return found
        found = self._by_origin(path, abs(c), loose)
        if c < 0:
            sign = f"{self.negated(path).words}{', and ' if self.is_whole(path) else '; and '}"
            found = [
                f._replace(mistake=f"sign and {f.mistake}", words=sign + f.words, cost=f.cost + 0.5) for f in found]
        return found

    def _by_origin(self, path: Path, c: float, loose: bool) -> list[Finding]:
        made = [self.program.made.get(step.inputs[i]) for step, i in path.edges]
        steps = [*(step for step, _ in path.edges), *(s for s in made if s is not None and _is_square(s))]
        on_path = origins(self.program, dict.fromkeys(steps), self.leads)
        where = "" if self.is_whole(path) else f"{self._path(path)}: "
        times = f"{where}its part is" if where else "every entry is"
        times += f" {c:.8g} times the right one: "
        found = sorted(
            (Finding(o.mistake, times + o.words, "", 1.0 + o.cost, at=o.step) for o in on_path if same(o.factor, c)),
            key=lambda f: f.cost)
        exponents = [o for o in on_path if o.step is not None and o.step.op == "power" and not o.cost]
        found += [
            Finding("factor", f"{times}{_two(a.words, b.words)}", "", 1.1)
            for a, b in itertools.combinations(exponents, 2)
            if found and same(a.factor * b.factor, c) and a.step is not b.step]
        found += [] if found else self._in_each(path, c)
        if found:
            beside = self._beside(path, c, times) if where else []
            found += [f._replace(cost=f.cost - 0.1) for f in beside if f.cost < 1.45]
            return list({f.words: f for f in found}.values())
        products = [
            Finding("two factors", f"{times}{_two(a.words, b.words)}", "", 2.45) for k, a in enumerate(on_path)
            for b in on_path[k + 1 :] if same(a.factor * b.factor, c) and abs(a.factor * b.factor - 1) > 1e-6
            and not _of_one_division(a, b)]
        if products:
            return products[:2]
        if where and (found := self._beside(path, c, times)):
            return found[:2]
        if not loose:
            return []
        elsewhere = [step for step in self.program.live if step not in steps]
        computed = [s for s in elsewhere if CONSTANT not in s.inputs and s.op in ("multiply", "divide")]
        found = [
            Finding(o.mistake, f"{times}{o.words}, and so in every part of the gradient", "", 1.6)
            for o in origins(self.program, computed, self.leads) if not where and same(o.factor, c) and not o.cost]
        if found:
            return found[:2]
        found = [
            Finding(
                o.mistake,
                f"{times}{o.elsewhere} in {self.program.where(o.step)} of another term: applied here too", "", 1.6)
            for o in origins(self.program, elsewhere, self.leads) if same(o.factor, c) and not o.cost and o.elsewhere]
        if found and not self.is_whole(path):
            return found[:2]
        rest = [
            Finding(o.mistake, times + o.words, "", 2.5) for o in general(self.program, self.i) if same(o.factor, c)]
        return (found + rest)[:2]

    def _beside(self, path: Path, c: float, times: str) -> list[Finding]:
        """Factors between the path and the variable, or the output, that are missing for this part alone."""
        node, chain = path.edges[-1][0].inputs[path.edges[-1][1]], []
        while node in self.program.made:
            step = self.program.made[node]
            inner = {x for x in step.inputs if x in self.leads}
            if len(inner) != 1:
                break
            chain.append(step)
            (node,) = inner
        node = path.edges[0][0].out
        while len(readers := self.program.readers.get(node, [])) == 1:
            chain.append(readers[0][0])
            node = readers[0][0].out
        near = origins(self.program, chain, self.leads)
        factors = [o for o in near if o.mistake in ("factor", "missing mean") and "is missing" in o.words]
        for n in range(1, 4):
            found = []
            for some in itertools.combinations(factors, n):
                if same(math.prod(o.factor for o in some), c) and len({o.step.index for o in some}) == n:
                    words = f"{times}{_two(*(o.words for o in some))}, in this part alone"
                    found.append(Finding(some[0].mistake, words, "", 1.3 + 0.1 * n))
            if found:
                return found
        return []

    def _in_each(self, path: Path, c: float) -> list[Finding]:
        """The same slip on every branch, so that all of the gradient is off by one factor."""
        if not self.is_whole(path):
            return []
        covers: dict[tuple[int, int], Origin] = {}
        stack, seen = [self.program.output], set()
        while stack:
            node = stack.pop()
            if node == self.i:
                return []
            step = self.program.made.get(node)
            if step is None or node in seen:
                continue
            seen.add(node)
            near = [o for o in origins(self.program, [step], self.leads) if same(o.factor, c) and not o.cost]
            for k in step.wanted():
                if step.inputs[k] in self.leads:
                    cover = next((o for o in near if o.edge == k), None)
                    if cover is None:
                        stack.append(step.inputs[k])
                    else:
                        covers[step.index, k] = cover
        words = {o.words.split(", in ")[0] for o in covers.values()}
        missing = all("is missing" in w for w in words)
        if len(covers) < 2 or not (missing or all(o.mistake == "superfluous mean" for o in covers.values())):
            return []
        steps = [self.program.steps[index] for index, _ in sorted(covers)]
        at = [(self.program.steps[index], k) for index, k in covers]
        sites = tuple(Site(s.index, s.inputs[k], lambda g, s=s, k=k: (c - 1) * s.share(k, g)) for s, k in at)
        right = self.program.gradient(self.i)
        if np.abs(self.program.edited(self.i, sites) - c * right).max() > 1e-9 * np.abs(right).max():
            return []
        places = " and ".join(dict.fromkeys(self.program.where(s) for s in steps))
        alike = len(words) == 1
        what = f"{words.pop()}, in {places}" if alike else " and ".join([o.words for o in covers.values()][:2])
        what += " and so on" if not alike and len(covers) > 2 else ""
        said = f"every entry is {c:.8g} times the right one: in each of {len(covers)} places, {what}"
        return [Finding(next(iter(covers.values())).mistake, said, "", 1.05 if alike else 1.3, sites=sites)]

    # Words -----------------------------------------------------------------------------------------------------------

    def junction(self, path: Path) -> tuple[Step, int] | None:
        """The edge from a tensor that is used elsewhere, too."""
        for step, i in reversed(path.edges):
            if len(self.program.readers.get(step.inputs[i], ())) > 1:
                return step, i
        return None

    def _term(self, path: Path) -> str:
        """The term of a sum that the path computes."""
        for step, i in path.edges:
            if step.op in ("add", "subtract") and step.inputs[1 - i] in self.leads:
                return self.program.called(step.inputs[i], 3)
        return ""

    def _path(self, path: Path) -> str:
        term, edge = self._term(path), self.junction(path) or path.edges[-1]
        through = f"on the path of {self.program.called(edge[0].inputs[edge[1]])} through {self.program.where(edge[0])}"
        return f"{through} (the term {term})" if term and not term.startswith("the result") else through

    def _square(self, path: Path) -> Step | None:
        """The product x·x at which the path begins."""
        step, i = path.edges[-1]
        made = self.program.made.get(step.inputs[i])
        return made if made is not None and _is_square(made) else None

    def statistic(self, path: Path) -> str:
        """Whether the path computes a mean, variance or norm of something with which it is then combined."""
        node = self._source(path)
        if node is None:
            return ""
        ops = [step.op for step, _ in path.edges] + (["square"] if self._square(path) else [])
        if not {"mean", "sum", "var", "matmul"} & set(ops):
            return ""
        x = self.program.values[node]
        step, i = path.edges[0]
        combined = {"subtract": 1, "divide": 1, "multiply": i}.get(step.op) == i and len(step.inputs) == 2
        if not combined or step.arrays[i].size >= max(x.size, 2) or not self.depends(step.inputs[1 - i], node):
            return ""
        if step.op == "subtract":
            return "mean" if "mean" in ops and step.arrays[0].shape == x.shape else ""
        squares = {"square", "power"} & set(ops)
        if "var" in ops or ("mean" in ops and squares and self._centred(node)):
            return "variance"
        if squares:
            return "norm (root mean square)" if "mean" in ops else "norm" if {"sqrt", "power"} & set(ops[:-1]) else ""
        return ""

    def _source(self, path: Path) -> int | None:
        """The tensor at which the path begins, when it is used elsewhere, too."""
        square = self._square(path)
        if square is not None:
            return square.inputs[0] if len(self.program.readers[square.inputs[0]]) > 2 else None
        edge = self.junction(path)
        return None if edge is None else edge[0].inputs[edge[1]]

    def depends(self, node: int, on: int) -> bool:
        """Whether a node was computed from another one."""
        stack = [node] if node != CONSTANT else []
        while stack:
            n = stack.pop()
            if n == on:
                return True
            if n in self.program.made:
                stack += [x for x in self.program.made[n].inputs if x >= on]
        return False

    def _centred(self, node: int) -> bool:
        made = self.program.made.get(node)
        return made is not None and made.op == "subtract"

    def dropped(self, path: Path) -> Finding:
        """A path that is left out."""
        term, statistic, source = self._term(path), self.statistic(path), self._source(path)
        if statistic and source is not None:
            last = self._square(path) or path.edges[-1][0]
            names = (self.program.names.get(s.out) for s, _ in path.edges[1:])
            named = next((f" {name}" for name in names if name is not None), "")
            words = (
                f"{self.program.called(source)} also acts through the {statistic}{named}, which is treated as a"
                f" constant: the path through {self.program.where(last)} is missing")
            return Finding(f"missing term through the {statistic.split(' (')[0]}", words, "", 1.0)
        for step, i in path.edges:
            if step.op == "divide" and i == 1 and step.out not in self.program.recognised:
                words = (
                    f"the denominator {self.program.operand(step, 1)} is treated as a constant: the second term of the"
                    f" quotient rule is missing, in {self.program.where(step)}")
                return Finding("missing term through the denominator", words, "", 1.02)
        edge = self.junction(path)
        if edge is None:
            what = f"the term {term}" if term else f"the path through {self.program.where(path.edges[-1][0])}"
            words = f"{what} is left out: its gradient is missing, as if it were a constant"
            return Finding("missing term" if term else "missing path", words, "", 1.05)
        step, i = edge
        node = step.inputs[i]
        x, n = self.program.called(node), len(self.program.readers[node])
        if step.op == "multiply" and _is_square(step):
            words = (
                f"the 2 of the square {self.program.expression(step)} is missing: {x} is used twice in it, and one of"
                f" the two is left out, in {self.program.where(step)}")
            return Finding("factor", words, "", 1.0)
        what = f"the term {term} is left out: " if term else ""
        words = (
            f"{what}{x} is used {n} times and its gradients must be added; the one through {self.program.where(step)}"
            " is missing")
        return Finding("missing term" if term and node == self.i else "missing path", words, "", 1.05)

    def negated(self, path: Path) -> Finding:
        """A path with the wrong sign."""
        if self.is_whole(path):
            return Finding("sign", "the sign is wrong", "", 1.0)
        for step, i in path.edges:
            op = step.op
            if op == "negative" or (op in ("subtract", "divide") and i == 1) or op == "reciprocal":
                inner = f"{self.program.expression(step)} with respect to {self.program.operand(step, i)}"
                words = (
                    f"the minus sign of the derivative of {inner} is forgotten, in {self.program.where(step)}: the sign"
                    f" of {self._short(path)} is wrong")
                return Finding("sign", words, "", 1.05)
        half = any(step.op == "multiply" and _is_square(step) for step, _ in path.edges[-1:])
        return Finding("sign", f"the sign is wrong {self._path(path)}", "", 1.6 if half else 1.1)

    def _short(self, path: Path) -> str:
        term = self._term(path)
        return "this part" if not term or term.startswith("the result") else f"the term {term}"

    def constants(self, chosen: list[Path]) -> Finding | None:
        """Several paths that are left out together, when that is one story."""
        statistics = [self.statistic(p) for p in chosen]
        if all(statistics):
            unique = sorted({s.split(" (")[0] for s in statistics})
            through = " and ".join(f"the {s}" for s in unique)
            source = self._source(chosen[0])
            x = self.name if source is None else self.program.called(source)
            words = f"{through} are treated as constants: {x} also acts through them, and these paths are missing"
            return Finding(f"missing term{'s' if len(unique) > 1 else ''} through {through}", words, "", 1.1)
        return None
