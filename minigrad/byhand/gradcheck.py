r"""Is this gradient right?  Compare it with central differences, whose error is bounded.

With :math:`D(h) = (f(x+h) - f(x-h)) / 2h` the estimate is Richardson's, :math:`(4 D(h/2) - D(h)) / 3`, whose error is
of order :math:`h^4`.  How far it lies from :math:`D(h/2)`, plus the round-off of f over h, bounds its error, so that a
wrong gradient is told from round-off.  Each entry starts with the same step; where the bound is too wide, or the
gradient disagrees, other steps are tried and the one with the narrowest bound is believed, provided that the next
smaller step says the same.

A kink, such as relu's at 0, is where the slopes from the right and from the left stay apart however small the step;
for a smooth function they approach each other as fast as the step shrinks.  A gradient is judged beside it.

It has more than 300 lines because the estimate (``Line``, ``slope``), the function that is asked many times with the
same random draws (``Problem``) and the verdict (``gradcheck``) are of no use without each other.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..derivatives import leaves as tree_leaves
from ..derivatives import rebuild, vjp
from ..modes import enable_grad, no_grad
from ..ops.declare import arrays_of
from ..random import generator
from ..tensor import Tensor
from .compare import Report as Table
from .compare import largest_finite, number, place
from .recording import REGISTRY, Example, Op

FIRST = 2e-4  # the first step, relative to the size of the entry
SMALLER = (2e-5, 2e-6)
STEPS = (2e-9, 2e-8, 2e-7, *SMALLER, FIRST, 2e-3, 2e-2)
Outputs = Callable[[float], np.ndarray]


class Slope(NamedTuple):
    """The derivative along a line, a bound of its error, and the size below which it counts as nothing."""

    value: float
    doubt: float
    floor: float
    kink: bool = False


class Line:
    """The outputs of f along a line through the inputs: ``outputs(step)`` is a vector, weighted to a number by
    ``weights``.

    Each output is looked at on its own, so that the round-off of those that do not change does not blur the others.
    """

    def __init__(self, outputs: Outputs, centre: np.ndarray, weights: np.ndarray, size: float, eps: float) -> None:
        self.outputs, self.centre, self.weights, self.size, self.eps = outputs, centre, weights, size, eps
        self.noise: np.ndarray | float = 0.0  # of each output, when it was measured
        self.known: dict[float, np.ndarray] = {0.0: centre}
        self.moved, self.straight = np.zeros((2, *centre.shape), bool)
        self.top = largest_finite(centre)
        self.height = float(np.abs(weights) @ np.where(np.isfinite(centre), np.abs(centre), 0.0))

    def at(self, step: float) -> np.ndarray:
        """The outputs after a step, kept."""
        if step not in self.known:
            self.known[step] = self.outputs(step)
        return self.known[step]

    def rise(self, a: float, b: float) -> np.ndarray:
        """How much each output changes from step ``a`` to step ``b``."""
        start, end = self.at(a), self.at(b)
        return np.where(start == end, 0.0, end - start)

    def central(self, h: float) -> Slope:
        """Richardson's estimate with the steps h and h/2."""
        wide, narrow = self.rise(-h, h), self.rise(-h / 2, h / 2)
        by_wide, by_narrow = float(self.weights @ wide) / (2 * h), float(self.weights @ narrow) / h
        self.moved |= (wide != 0) | (narrow != 0)  # once moved, it may be stuck in round-off now, unless it was bent:
        self.straight |= (wide != 0) & (np.abs(self.gap(h)) * h <= 0.5 * np.abs(wide))
        farthest = np.maximum(np.abs(self.at(h)), np.abs(self.at(-h)))
        height = float(np.abs(self.weights[self.moved]) @ farthest[self.moved])
        stuck = self.straight.any() and not wide[self.straight].any()
        measured = float(np.abs(self.weights) @ np.broadcast_to(self.noise, self.weights.shape))
        noise = np.inf if stuck else 8 * self.eps * (height / h + self.height / self.size) + 4 * measured / h
        floor = min(1e-8 * max(self.height, measured / self.eps) / self.size, 1e-6)
        return Slope((4 * by_narrow - by_wide) / 3, abs(by_narrow - by_wide) / 3 + noise, floor)

    def measure(self) -> None:
        """Find the function's own round-off: how far each output is from a straight line within a few last places."""
        moves = np.array([2, 3, 5, 7, 8, 11, 13, 16])
        ends = np.array([[self.outputs(sign * m * self.eps * self.size) for m in moves] for sign in (1, -1)])
        bent = np.abs(ends[0] + ends[1] - 2 * self.centre).max(axis=0)
        rises = (ends[0] - ends[1]) / 2
        straight = np.tensordot(moves, rises, 1) / float(moves @ moves)
        off = np.maximum(bent, np.abs(rises - moves.reshape(-1, *[1] * straight.ndim) * straight).max(axis=0))
        self.noise = np.where(np.isfinite(off), off, 0.0)

    def one_sided(self) -> tuple[float, float]:
        """The least and the greatest slope at this point, from the left and from the right, each output on its own."""
        ends = [
            self.weights * (2 * self.rise(0.0, s) / s - self.rise(0.0, 2 * s) / (2 * s))
            for s in (-1e-5 * self.size, 1e-5 * self.size)]
        return float(np.minimum(*ends).sum()), float(np.maximum(*ends).sum())

    def gap(self, h: float) -> np.ndarray:
        """By how much the slopes of each output from the right and from the left differ."""
        return (self.rise(0.0, h) - self.rise(-h, 0.0)) / h

    def bends(self) -> bool:
        """Whether the first step shows anything like a kink: the gap does not halve with the step."""
        h = FIRST * self.size
        near, wide = np.abs(self.gap(h / 2)), np.abs(self.gap(h))
        return bool(((near > 0.7 * wide) & self.counts(near * h / 2)).any())

    def counts(self, rise: np.ndarray) -> np.ndarray:
        """Which changes are more than round-off (an output that is zero in theory has the round-off of the others)."""
        return rise > 64 * self.eps * self.top

    def kinked(self) -> bool:
        """Whether some output has a kink or a jump here: the gap, or the rise, stays over two decades of steps."""
        steps = [r * self.size for r in (FIRST, *SMALLER)]
        gaps = np.abs([self.gap(h) for h in steps])
        rises = gaps * np.array(steps)[:, None]
        kink = (gaps.min(axis=0) > 0.5 * gaps.max(axis=0)) & self.counts(rises[-1])
        jump = (rises.min(axis=0) > 0.5 * rises.max(axis=0)) & (rises[-1] > 1e-7 * self.top)
        return bool((kink | jump).any())


def slope(line: Line, claimed: float, rtol: float, scale: float, near_zero: float = 0.0) -> Slope:
    """The derivative along ``line``, as good as needed to judge ``claimed`` to ``rtol`` of ``scale``.

    ``near_zero`` is the distance to zero, where a logarithm or a root ends: steps below it are tried, too.
    """
    first = line.central(FIRST * line.size)
    allowed = rtol * max(scale, first.floor)
    if first.doubt <= allowed and abs(claimed - first.value) <= allowed + 2 * first.doubt and not line.bends():
        return first
    line.measure()
    first = line.central(FIRST * line.size)
    inside = [1e-2 * near_zero, 1e-3 * near_zero] if 0 < near_zero < 1e-2 * line.size else []
    steps = [2.0 ** round(math.log2(r * line.size)) for r in STEPS]  # powers of two: x + h is exact
    steps = sorted(steps + inside, reverse=True)
    tried = [line.central(h) for h in steps]
    for k, s in enumerate(tried):  # what a smaller step says differently, its bound must explain
        apart = [
            abs(s.value - smaller.value) - 2 * smaller.doubt for smaller in tried[k + 1 :]
            if np.isfinite(smaller.value + smaller.doubt)]
        tried[k] = s._replace(doubt=max([s.doubt, *apart]))
    k = min(range(len(tried)), key=lambda k: tried[k].doubt if np.isfinite(tried[k].value + tried[k].doubt) else np.inf)
    best = tried[k]
    resolved = steps[k] in inside and best.doubt <= allowed and abs(claimed - best.value) <= allowed + 2 * best.doubt
    return best._replace(kink=not resolved and line.kinked())


# The function at a point ---------------------------------------------------------------------------------------------

EDGE = (
    "(an overflow, a division by zero or a logarithm of zero), so it has no gradient there; try smaller inputs, or away"
    " from the edge of its domain")
CUT = "the result does not depend on the inputs through recorded ops; .data, np.asarray or detach() cut the graph"


def as_float64(tree: Any, title: str = "gradcheck") -> Any:
    """A tree of arrays of our own, real numbers in float64 and integers as they are; TypeError for complex numbers."""

    def convert(x: Any) -> np.ndarray:
        array = np.array(x.data if isinstance(x, Tensor) else x)
        if array.dtype.kind == "c":
            raise TypeError(
                f"{title}: complex inputs are not supported; check the real and imaginary parts as two real inputs")
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{title}: expected numbers, got {type(x).__name__} with dtype {array.dtype}")
        return array.astype(np.float64) if array.dtype.kind == "f" else array

    return rebuild(tree, [convert(x) for x in tree_leaves(tree)])


def arranged(
    f: Callable[..., Any], inputs: tuple[Any, ...], names: list[str] | None, title: str
) -> tuple[Any, tuple[Any, ...], list[str] | None]:
    """The function, its inputs one by one and their names, also when they were given in one tuple, list or dict.

    Raises TypeError when ``f`` takes another number of arguments, ValueError for another number of names.
    """
    if len(inputs) == 1 and isinstance(inputs[0], Mapping | list | tuple) and not binds(f, 1):
        (one,) = inputs
        if isinstance(one, Mapping):
            keys = list(one)
            if not takes(f, keys):
                raise TypeError(
                    f"{title}: the inputs are {', '.join(map(str, keys))}, but the function takes {_parameters(f)}")
            return (lambda *xs: f(**dict(zip(keys, xs, strict=True)))), tuple(one.values()), names or keys
        inputs = tuple(one)
    if not binds(f, len(inputs)):
        given = f"{len(inputs)} {'is' if len(inputs) == 1 else 'are'}"
        raise TypeError(
            f"{title}: the function takes {arity(f)} arguments, but {given} given; pass them one by one, or in one"
            " tuple or list")
    if names is not None and len(names) != len(inputs) and len(inputs) == len(tree_leaves(list(inputs))):
        raise ValueError(f"{title}: {len(names)} names for {len(inputs)} inputs; give one for each")
    return f, inputs, names


def takes(f: Callable[..., Any], keys: list[str]) -> bool:
    """Whether ``f`` can be called with these keywords."""
    try:
        inspect.signature(f).bind(**dict.fromkeys(keys))
    except (TypeError, ValueError):
        return False
    return True


def binds(f: Callable[..., Any], n: int) -> bool:
    """Whether ``f`` can be called with so many positional arguments, as far as it is known."""
    try:
        inspect.signature(f).bind(*range(n))
    except TypeError:
        return False
    except ValueError:
        pass
    return True


def arity(f: Callable[..., Any]) -> int:
    """The number of arguments that ``f`` needs, −1 when nobody knows."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return -1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)


def _parameters(f: Callable[..., Any]) -> str:
    return ", ".join(inspect.signature(f).parameters)


def floating(arrays: list[np.ndarray], title: str) -> list[int]:
    """The numbers of the floating-point inputs; TypeError when there are none."""
    found = [i for i, x in enumerate(arrays) if x.dtype.kind == "f"]
    if not found:
        kinds = [str(x.dtype) for x in arrays]
        raise TypeError(
            f"{title}: no floating-point input to differentiate with respect to; got {kinds}. Write 2.0 for 2, or"
            " x.astype(float)")
    return found


def only_tensors(title: str, output: Any) -> list[Tensor]:
    """The outputs in a tree of them; TypeError when they are not all Tensors."""
    outputs = tree_leaves(output)
    if not outputs or not all(isinstance(t, Tensor) for t in outputs):
        raise TypeError(
            f"{title}: the function must return Tensors, got {type(output).__name__}; .data or float() loses the"
            " gradient")
    return outputs


def draw_upstream(weights: list[np.ndarray], outputs: list[Tensor], rng: np.random.Generator) -> None:
    """A random upstream gradient for each output, 1 for a scalar; drawn once."""
    for t in outputs[len(weights) :]:
        weights.append(rng.normal(size=t.shape) if t.ndim else np.ones(()))


class Problem:
    """A function at a point: its outputs near it and its gradient, from the same draws of the random generator."""

    def __init__(self, f: Callable[..., Any], arrays: Any, title: str, rng: np.random.Generator) -> None:
        self.f, self.arrays, self.title, self.rng = f, arrays, title, rng
        self.flat = [np.array(x) for x in tree_leaves(arrays)]
        self.which = floating(self.flat, title)
        self.state = generator().bit_generator.state
        self.weights: list[np.ndarray] = []
        self.eps = float(np.finfo(np.float64).eps)
        self.centre = self.outputs(self.flat, watch=True)
        if np.isnan(self.centre).any():
            raise ValueError(f"{title}: the function gives nan at these inputs, so there is nothing to compare")
        if not np.isfinite(self.centre).all() and title == "gradcheck":
            raise ValueError(f"{title}: the function gives infinity at these inputs {EDGE}")
        if not np.array_equal(self.centre, self.outputs(self.flat)):
            raise RuntimeError(
                f"{title}: two calls with the same inputs gave different values; take randomness from minigrad's"
                " generator or fix it")

    def call(self, values: list[Any], watch: bool = False) -> list[Tensor]:
        """The outputs as Tensors; with ``watch``, RuntimeError when ``f`` writes into what it is given."""
        generator().bit_generator.state = self.state
        before = [np.array(arrays_of(x)) for x in values] if watch else []
        outputs = only_tensors(self.title, self.f(*rebuild(self.arrays, values)))
        if any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(before, values, strict=False)):
            raise RuntimeError(f"{self.title}: the function changed its inputs in place; let it work on copies")
        draw_upstream(self.weights, outputs, self.rng)
        return outputs

    def outputs(self, values: list[np.ndarray], watch: bool = False) -> np.ndarray:
        """All outputs in one vector."""
        differentiates = self.title == "gradgradcheck"  # inside f
        with enable_grad() if differentiates else no_grad(), np.errstate(all="ignore"):
            found = self.call([Tensor(x) if i in self.which else x for i, x in enumerate(values)], watch)
        self.eps = max([self.eps, *(float(np.finfo(t.dtype).eps) for t in found if t.dtype.kind == "f")])
        return np.concatenate([t.data.ravel().astype(np.float64) for t in found])

    def gradient(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """What the engine says, for each floating-point input."""

        def outputs(*chosen: Any) -> list[Tensor]:
            full: list[Any] = list(values)
            for i, x in zip(self.which, chosen, strict=True):
                full[i] = x
            return self.call(full, watch=True)

        with np.errstate(all="ignore"):
            found, pull = vjp(outputs, *(values[i] for i in self.which))
            if self.title == "gradcheck" and not any(t.requires_grad for t in found):
                raise TypeError(f"{self.title}: {CUT}")
            return [np.asarray(g.data) for g in pull(self.weights)]  # zeros where gradgradcheck finds constants

    def line(self, values: list[np.ndarray], centre: np.ndarray, i: int, direction: np.ndarray, size: float) -> Line:
        """The outputs along one direction of input ``i``."""

        def outputs(step: float) -> np.ndarray:
            moved = list(values)
            moved[i] = values[i] + step * direction
            return self.outputs(moved)

        return Line(outputs, centre, np.concatenate([w.ravel() for w in self.weights]), size, self.eps)


# The verdict ---------------------------------------------------------------------------------------------------------

LARGE = 4096  # inputs with more entries are checked along random directions
DIRECTIONS = 32


@dataclass
class Row:
    """The verdict on one input."""

    name: str
    shape: tuple[int, ...]
    max_abs: float
    max_rel: float
    worst: tuple[int, ...]
    analytic: float
    numeric: float
    verdict: str


@dataclass(repr=False)
class Report(Table):
    """What ``gradcheck`` found: true when no input is wrong or undecided; prints as a table, also in a notebook."""

    rows: list[Row] = field(default_factory=list)
    title: str = "gradcheck"

    def __bool__(self) -> bool:
        return not any(row.verdict.startswith(("WRONG", "UNDECIDED")) for row in self.rows)

    @property
    def max_rel(self) -> float:
        """The largest relative error of all inputs."""
        return max((row.max_rel for row in self.rows), default=0.0)

    def table(self) -> list[list[str]]:
        """One row for each input."""
        head = ["input", "shape", "max abs", "max rel", "worst entry: analytic, numeric", "verdict"]
        return [head] + [
            [r.name, str(r.shape), f"{r.max_abs:.1e}", f"{r.max_rel:.1e}",
             f"{place(r.worst)}: {number(r.analytic)}, {number(r.numeric)}", r.verdict] for r in self.rows]


def gradcheck(
    f: Callable[..., Any], *inputs: Any, rtol: float = 1e-6, names: list[str] | None = None, seed: int = 0
) -> Report:
    """Compare the gradient of ``f`` with central differences, in float64, for every entry of every floating-point
    input.

    ``f`` takes the inputs as Tensors (or trees of them) and returns Tensors; a non-scalar output is weighted with a
    random upstream gradient.  Inputs of more than 4096 entries are checked along 32 random directions.  ``rtol``
    bounds the error relative to the largest gradient entry.  The random generator is rewound before each call, so
    dropout draws the same mask. Raises TypeError for complex inputs or a result that is not differentiable,
    ValueError when ``f`` gives nan, RuntimeError when it is random or changes its inputs.
    """
    f, inputs, names = arranged(f, inputs, names, "gradcheck")
    return _check(f, inputs, rtol, names, seed, "gradcheck")


def gradgradcheck(
    f: Callable[..., Any], *inputs: Any, rtol: float = 1e-5, names: list[str] | None = None, seed: int = 0
) -> Report:
    """``gradcheck`` of the gradients of ``f``, with respect to the inputs and to the upstream gradient."""
    f, inputs, names = arranged(f, inputs, names, "gradgradcheck")
    arrays = [as_float64(x, "gradgradcheck") for x in inputs]
    rng = np.random.default_rng(seed + 1)
    which = floating(tree_leaves(arrays), "gradgradcheck")
    upstream: list[np.ndarray] = []

    def gradient_of(*args: Any) -> list[Tensor]:
        args, ups = args[: len(arrays)], args[len(arrays) :]
        given = tree_leaves(list(args))

        def outputs(*chosen: Any) -> list[Tensor]:
            for i, x in zip(which, chosen, strict=True):
                given[i] = x
            found = only_tensors("gradgradcheck", f(*rebuild(list(args), given)))
            if not any(t.requires_grad for t in found):
                raise TypeError(f"gradgradcheck: {CUT}")
            return found

        found, pull = vjp(outputs, *(given[i] for i in which))
        draw_upstream(upstream, found, rng)
        return list(pull(list(ups) or upstream))

    before = generator().bit_generator.state
    gradient_of(*arrays)
    generator().bit_generator.state = before
    labels = [*(names or []), *(f"x{i}" for i in range(len(names or []), len(tree_leaves(arrays))))]
    several = len(upstream) > 1
    labels += [f"upstream gradient {k}" if several else "upstream gradient" for k in range(1, len(upstream) + 1)]
    return _check(gradient_of, [*arrays, *upstream], rtol, labels, seed, "gradgradcheck")


def _check(f: Callable[..., Any], inputs: Any, rtol: float, names: list[str] | None, seed: int, title: str) -> Report:
    rng = np.random.default_rng([seed, 71])  # not the numbers that a caller draws with the same seed
    before = generator().bit_generator.state
    try:
        problem = Problem(f, [as_float64(x, title) for x in inputs], title, rng)
        gradients = problem.gradient(problem.flat)
        labels = dict(enumerate(names or []))
        which = enumerate(problem.which)
        return Report([_check_input(problem, gradients, k, rtol, labels.get(i, f"x{i}")) for k, i in which], title)
    finally:
        generator().bit_generator.state = before


def directions(x: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[tuple[int, ...], Any, float, float]]:
    """Where to look: each entry (index, unit vector, size, distance to zero), or random directions of a large input."""
    if x.size > LARGE:
        size = max(1.0, largest_finite(x))
        for k in range(DIRECTIONS):
            d = rng.normal(size=x.shape)
            yield (k,), d / np.linalg.norm(d), size, 0.0
        return
    for index in np.ndindex(x.shape):
        d = np.zeros(x.shape)
        d[index] = 1
        distance = abs(float(x[index])) if np.isfinite(x[index]) else 0.0
        yield index, d, max(1.0, distance), distance


def _check_input(problem: Problem, gradients: list[np.ndarray], k: int, rtol: float, name: str) -> Row:
    i, gradient = problem.which[k], gradients[k]
    x = problem.flat[i]
    scale = largest_finite(gradient) if x.size <= LARGE else 0.0
    overall = max(map(largest_finite, gradients))
    beside: Any = None
    found: list[tuple[tuple[int, ...], float, Slope, str]] = []
    for index, direction, size, near_zero in directions(x, problem.rng):
        analytic = float((gradient * direction).sum()) if x.size > LARGE else float(gradient[index])
        scale = scale if x.size <= LARGE or not np.isfinite(analytic) else max(scale, abs(analytic))
        line = problem.line(problem.flat, problem.centre, i, direction, size)
        numeric = slope(line, analytic, rtol, scale, near_zero)
        remark = ""
        outside = _beyond_the_kink(problem, k, direction, line, analytic, rtol) if numeric.kink else None
        if outside is not None:
            numeric = outside
        elif numeric.kink:
            beside = beside or _both_sides(problem)
            judged = []
            for values, centre, others in beside:
                if np.isfinite(centre).all():
                    there = float((others[k] * direction).sum())
                    seen = slope(problem.line(values, centre, i, direction, size), there, rtol, scale)
                    if not seen.kink and np.isfinite([there, seen.value]).all():
                        judged.append((there, seen))
            remark = "kink" if judged else "kink not judged"
            if judged:
                analytic, numeric = max(judged, key=lambda pair: abs(pair[0] - pair[1].value) - 2 * pair[1].doubt)
        elif np.isnan(numeric.value) and not np.isfinite(analytic):
            remark = "edge not judged"
        elif numeric.doubt > 1e-2 * max(overall, scale, abs(numeric.value), numeric.floor):
            remark = "round-off not judged"
        found.append((index, analytic, numeric, remark))
    return _row(name, x, found, rtol, gradient, overall)


def _beyond_the_kink(
    problem: Problem, k: int, direction: np.ndarray, line: Line, analytic: float, rtol: float
) -> Slope | None:
    """The nearest slope, when a derivative at a kink is none of those around it; None if it is, or at a jump."""
    low, high = line.one_sided()
    steepest = max(abs(low), abs(high))
    room = max(100 * rtol, 1e-4) * steepest
    steep = steepest * 1e-5 * line.size > 1e-3 * max(line.top, 1e-300) and steepest > 1e3 * abs(analytic)
    if steep or not np.isfinite([low, high, analytic]).all() or low - room <= analytic <= high + room:
        return None
    around = [float((_beside(problem, 1e-4)[2][k] * direction).sum()) for _ in range(8)]
    low, high = min(low, *around), max(high, *around)
    if not np.isfinite(around).all() or 2 * low - high <= analytic <= 2 * high - low:
        return None
    return Slope(low if analytic < low else high, room, 0.0)


def _both_sides(problem: Problem) -> list[tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]]:
    """A point beside the inputs and the one opposite: what is wrong may show on one side only."""
    values, centre, gradients = _beside(problem)
    pairs = enumerate(zip(problem.flat, values, strict=True))
    opposite = [2 * x - v if i in problem.which else v for i, (x, v) in pairs]
    return [(values, centre, gradients), (opposite, problem.outputs(opposite), problem.gradient(opposite))]


def _beside(problem: Problem, by: float = 1e-2) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """A point a little beside the inputs, the outputs and the gradient there."""
    values = list(problem.flat)
    for i in problem.which:
        x = values[i]
        size = np.maximum(1, np.abs(np.where(np.isfinite(x), x, 0.0)))
        values[i] = x + by * size * problem.rng.uniform(0.5, 1, x.shape) * problem.rng.choice([-1, 1], x.shape)
    return values, problem.outputs(values), problem.gradient(values)


def _row(
    name: str, x: np.ndarray, found: list[tuple[tuple[int, ...], float, Slope, str]], rtol: float, gradient: np.ndarray,
    overall: float
) -> Row:
    if not found:
        return Row(name, x.shape, 0.0, 0.0, (), 0.0, 0.0, "ok, empty")
    n = len(found)
    analytic = np.array([a for _, a, _, _ in found])
    numeric, doubt, floor, _ = np.array([s for _, _, s, _ in found], float).T
    remarks = [remark for *_, remark in found]
    judged = np.array(["not judged" not in remark for remark in remarks])
    scale = max(largest_finite([analytic, numeric]), float(np.nan_to_num(floor).max()))
    error = np.abs(analytic - numeric)
    error = np.where(judged, np.where(np.isnan(error), np.inf, error), -1.0)
    wrong = error > rtol * scale + 2 * np.nan_to_num(doubt, posinf=np.inf)
    worst = int(error.argmax())
    if wrong.any():
        verdict = f"WRONG at {int(wrong.sum())} of {n}"
        if not gradient.any():
            verdict += ": no gradient arrives; do .data, np.asarray or detach() cut the graph?"
    elif remarks.count("round-off not judged") == n:
        verdict = f"UNDECIDED: the function's round-off hides {'it' if n == 1 else f'all {n}'}"
    elif not judged.any():
        which = "its only entry" if n == 1 else f"all {n} entries"
        verdict = f"UNDECIDED: at a kink or the edge of the domain, {which}"
    else:
        said = [words.format(remarks.count(remark)) for remark, words in REMARKS.items() if remark in remarks]
        verdict = ", ".join(["ok", *said])
    coarse = float((doubt[judged] / scale).max(initial=0)) if scale else 0.0
    if verdict.startswith("ok") and coarse > 100 * rtol and scale > 1e-6 * overall:
        verdict += f", known only to {coarse:.0e}"
    if x.size > LARGE:
        verdict += f" ({n} random directions)"
    top = max(float(error[worst]), 0.0)
    nothing = not np.abs(numeric[judged]).max(initial=0) > 1e-9 * overall  # zero in theory: it has no size of its own
    size = max(scale, overall) if nothing else scale
    return Row(
        name, x.shape, top, top / size if top else 0.0, found[worst][0], float(analytic[worst]), float(numeric[worst]),
        verdict)


REMARKS = {
    "kink": "{} at a kink judged beside it",
    "kink not judged": "{} at a kink not judged",
    "edge not judged": "{} at the edge of the domain not judged",
    "round-off not judged": "{} lost in round-off"}


# Every op on small inputs --------------------------------------------------------------------------------------------


def examples(op: Op[Any], rng: np.random.Generator) -> list[Example]:
    """The examples that ``op`` declares, or else one: every input uniform in (0.5, 1.5), of shape (3, 4)."""
    if op.examples is not None:
        return op.examples(rng)
    return [Example(tuple(rng.uniform(0.5, 1.5, (3, 4)) for _ in op.inputs or range(2)), {})]


def run(op: Op[Any], example: Example, *inputs: Any) -> Any:
    """``op`` on the example, or on other inputs with its params."""
    given = inputs or example.inputs
    return op.apply(given, example.params) if example.through is None else example.through(*given)


def calls(op: Op[Any], example: Example) -> str:
    """The example in words: shapes and params."""
    sizes = ["x".join(map(str, np.shape(x))) or "()" for x in example.inputs]
    shown = [x if x is None or isinstance(x, int | float) else n for x, n in zip(example.inputs, sizes, strict=True)]
    params = [f"{k}={f'array {v.shape}' if isinstance(v, np.ndarray) else v}" for k, v in example.params.items()]
    return f"{op.name}({', '.join(map(str, [*shown, *params]))})"


def check_op(op: Op[Any], check: Any = gradcheck, seed: int = 0) -> Report:
    """``gradcheck`` (or ``gradgradcheck``) of every example of ``op``, in one table."""
    report = Report(title=f"{check.__name__} {op.name}")
    for n, tried in enumerate(examples(op, np.random.default_rng(seed)), 1):
        names = list(op.inputs) or [f"x{i + 1}" for i in range(len(tried.inputs))]
        names = [name for name, x in zip(names, tried.inputs, strict=True) if x is not None]
        for row in check(lambda *xs, tried=tried: run(op, tried, *xs), *tried.inputs, names=names).rows:
            row.name = f"{row.name} in example {n}, {calls(op, tried)}"
            report.rows.append(row)
    return report


def check_ops(names: Iterable[str] | None = None) -> list[tuple[str, Report, Report]]:
    """Each op of the registry (or those named) with its report of first and of second order.

    Raises KeyError for a name that is no op.
    """
    chosen = list(REGISTRY) if names is None else list(names)
    unknown = [name for name in chosen if name not in REGISTRY]
    if unknown:
        raise KeyError(f"no op called {unknown[0]!r}; there are {', '.join(REGISTRY)}")
    return [(name, check_op(REGISTRY[name]), check_op(REGISTRY[name], gradgradcheck)) for name in chosen]
