r"""Is this gradient right?  Compare it with central differences, :math:`\partial f / \partial x \approx (f(x+h) -
f(x-h)) / 2h`.

The differences come with a bound of their error (differences.py), so that a wrong gradient is told from round-off,
and a kink, such as relu's at 0, is not called wrong: there the gradient is judged at a point beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..derivatives import leaves as tree_leaves
from ..derivatives import rebuild, vjp
from ..random import generator
from ..tensor import Tensor
from .compare import Report as Table
from .compare import number, place
from .differences import CUT, Line, Problem, Slope, arranged, as_float64, draw_upstream, floating, only_tensors, slope

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
            [
                r.name, str(r.shape), f"{r.max_abs:.1e}", f"{r.max_rel:.1e}",
                f"{place(r.worst)}: {number(r.analytic)}, {number(r.numeric)}", r.verdict]
            for r in self.rows
        ]


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
    """The same for second derivatives: ``gradcheck`` of the function that returns the gradients of ``f``, with respect
    to the inputs and to the upstream gradient."""
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
    labels += [
        "upstream gradient" if len(upstream) == 1 else f"upstream gradient {k + 1}" for k in range(len(upstream))
    ]
    return _check(gradient_of, [*arrays, *upstream], rtol, labels, seed, "gradgradcheck")


def _check(f: Callable[..., Any], inputs: Any, rtol: float, names: list[str] | None, seed: int, title: str) -> Report:
    rng = np.random.default_rng([seed, 71])  # not the numbers that a caller draws with the same seed
    before = generator().bit_generator.state
    try:
        problem = Problem(f, [as_float64(x, title) for x in inputs], title, rng)
        gradients = problem.gradient(problem.flat)
        labels = dict(enumerate(names or []))
        return Report(
            [_check_input(problem, gradients, k, rtol, labels.get(i, f"x{i}")) for k, i in enumerate(problem.which)],
            title)
    finally:
        generator().bit_generator.state = before


def directions(x: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[tuple[int, ...], Any, float, float]]:
    """Where to look: each entry (its index, unit vector, size and distance to zero), or random directions of a large
    input."""
    if x.size > LARGE:
        size = float(np.abs(x[np.isfinite(x)]).max(initial=1.0))
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
    scale = float(np.abs(gradient[np.isfinite(gradient)]).max(initial=0)) if x.size <= LARGE else 0.0
    overall = max(float(np.abs(g[np.isfinite(g)]).max(initial=0)) for g in gradients)
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
    """The slope that is nearest when a derivative at a kink is none of those around it; None when it is, or there is a
    jump."""
    low, high = line.one_sided()
    room = max(100 * rtol, 1e-4) * max(abs(low), abs(high))
    steep = max(abs(low), abs(high)) * 1e-5 * line.size > 1e-3 * max(line.top, 1e-300) and max(
        abs(low), abs(high)
    ) > 1e3 * abs(analytic)
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
    opposite = [
        2 * x - v if i in problem.which else v for i, (x, v) in enumerate(zip(problem.flat, values, strict=True))
    ]
    return [(values, centre, gradients), (opposite, problem.outputs(opposite), problem.gradient(opposite))]


def _beside(problem: Problem, by: float = 1e-2) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """A point a little beside the inputs, the outputs and the gradient there."""
    values = list(problem.flat)
    for i in problem.which:
        x = values[i]
        finite = np.where(np.isfinite(x), x, 0.0)
        values[i] = x + by * np.maximum(1, np.abs(finite)) * problem.rng.uniform(0.5, 1, x.shape) * problem.rng.choice(
            [-1, 1], x.shape
        )
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
    finite = np.abs(np.concatenate([analytic, numeric]))
    scale = max(float(finite[np.isfinite(finite)].max(initial=0)), float(np.nan_to_num(floor).max()))
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
        verdict = "UNDECIDED: at a kink or the edge of the domain, " + (
            "its only entry" if n == 1 else f"all {n} entries"
        )
    else:
        verdict = ", ".join(["ok", *(said for remark, said in REMARKS.items() if remark in remarks)]).format(
            *(remarks.count(remark) for remark in REMARKS if remark in remarks)
        )
    coarse = float((doubt[judged] / scale).max(initial=0)) if scale else 0.0
    if verdict.startswith("ok") and coarse > 100 * rtol and scale > 1e-6 * overall:
        verdict += f", known only to {coarse:.0e}"
    if x.size > LARGE:
        verdict += f" ({n} random directions)"
    top = max(float(error[worst]), 0.0)
    nothing = (
        not np.abs(numeric[judged]).max(initial=0) > 1e-9 * overall
    )  # a gradient that is zero in theory has no size of its own
    size = max(scale, overall) if nothing else scale
    return Row(
        name, x.shape, top, top / size if top else 0.0, found[worst][0], float(analytic[worst]), float(numeric[worst]),
        verdict)


REMARKS = {
    "kink": "{} at a kink judged beside it",
    "kink not judged": "{} at a kink not judged",
    "edge not judged": "{} at the edge of the domain not judged",
    "round-off not judged": "{} lost in round-off",
}
