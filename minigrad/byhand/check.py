r"""Is this gradient right?  Compare it with central differences, :math:`\partial f / \partial x \approx (f(x+h) - f(x-h)) / 2h`.

Each entry gets two estimates, with steps h and h/2.  Their Richardson combination (4·D(h/2) − D(h))/3 is the numeric
value, and what the two differ by bounds its error, so that a wrong gradient is told from round-off and from a kink.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..derivatives import grad, rebuild, vjp
from ..derivatives import leaves as tree_leaves
from ..modes import enable_grad, no_grad
from ..random import generator
from ..tensor import Tensor

CUT = "the result does not depend on the inputs through recorded ops; .data, np.asarray or detach() cut the graph"
LARGE = 4096  # inputs with more entries are checked along random directions


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


@dataclass
class Report:
    """What ``gradcheck`` found: true when every input is right; prints as a table, also in a notebook."""

    rows: list[Row] = field(default_factory=list)
    title: str = "gradcheck"

    def __bool__(self) -> bool:
        return all(not row.verdict.startswith("WRONG") for row in self.rows)

    @property
    def max_rel(self) -> float:
        """The largest relative error of all inputs."""
        return max((row.max_rel for row in self.rows), default=0.0)

    def _cells(self) -> list[list[str]]:
        head = ["input", "shape", "max abs", "max rel", "worst entry: analytic, numeric", "verdict"]
        return [head] + [
            [r.name, str(r.shape), f"{r.max_abs:.1e}", f"{r.max_rel:.1e}", f"{list(r.worst)}: {r.analytic:.8g}, {r.numeric:.8g}", r.verdict]
            for r in self.rows
        ]

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)

    def _repr_html_(self) -> str:
        head, *body = self._cells()
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in body)
        return f"<table><tr>{''.join(f'<th>{html.escape(c)}</th>' for c in head)}</tr>{rows}</table>"


def gradcheck(f: Callable[..., Any], *inputs: Any, rtol: float = 1e-6, names: list[str] | None = None, seed: int = 0) -> Report:
    """Compare the gradient of ``f`` with central differences, in float64, for every floating-point input.

    ``f`` takes the inputs as Tensors (or trees of them) and returns Tensors; a non-scalar output is weighted with a random upstream
    gradient.  Inputs of more than 4096 entries are checked along 32 random directions.  ``rtol`` bounds the error relative to
    the largest gradient entry.  The random generator is rewound before each call, so dropout draws the same mask.  Raises
    TypeError for complex inputs or a result that is not differentiable, RuntimeError when ``f`` is random or changes its inputs.
    """
    return _check(f, inputs, rtol, names, seed, "gradcheck")


def gradgradcheck(f: Callable[..., Any], *inputs: Any, rtol: float = 1e-5, names: list[str] | None = None, seed: int = 0) -> Report:
    """The same for second derivatives: checks the gradient of (random vector · gradient of ``f``)."""
    arrays = [_as_float64(x) for x in inputs]
    flat = tree_leaves(list(arrays))
    rng = np.random.default_rng(seed + 1)
    which = [i for i, x in enumerate(flat) if x.dtype.kind == "f"]
    vectors = [rng.normal(size=flat[i].shape) for i in which]
    weights: list[np.ndarray] = []

    def slope(*args: Any) -> Any:
        leaves_in = tree_leaves(list(args))

        def scalar(*chosen: Any) -> Any:
            full = list(leaves_in)
            for i, x in zip(which, chosen, strict=True):
                full[i] = x
            total = _weighted(f(*rebuild(list(args), full)), weights, rng)
            if not total.requires_grad:
                raise TypeError(f"gradgradcheck: {CUT}")
            return total

        gradients = grad(scalar, tuple(range(len(which))))(*(leaves_in[i] for i in which))
        total: Any = 0.0
        for g, v in zip(gradients, vectors, strict=True):
            total = total + (g * v).sum()
        return total

    report = _check(slope, arrays, rtol, names, seed, "gradgradcheck")
    return report


def _as_float64(tree: Any) -> Any:
    def convert(x: Any) -> np.ndarray:
        array = np.array(x.data if isinstance(x, Tensor) else x)
        if array.dtype.kind == "c":
            raise TypeError("gradcheck: complex inputs are not supported; check the real and imaginary parts as two real inputs")
        if array.dtype.kind == "f" or isinstance(x, float):
            return array.astype(np.float64)
        return array

    return rebuild(tree, [convert(x) for x in tree_leaves(tree)])


def _weighted(output: Any, weights: list[np.ndarray], rng: np.random.Generator) -> Any:
    outputs = tree_leaves(output)
    if not all(isinstance(t, Tensor) for t in outputs) or not outputs:
        raise TypeError(f"gradcheck: the function must return Tensors, got {type(output).__name__}; .data or float() loses the gradient")
    while len(weights) < len(outputs):
        weights.append(rng.normal(size=outputs[len(weights)].shape))
    total: Any = 0.0
    for t, w in zip(outputs, weights, strict=True):
        total = total + (t * w).sum()
    return total


def _check(f: Callable[..., Any], inputs: Any, rtol: float, names: list[str] | None, seed: int, title: str) -> Report:
    arrays = [_as_float64(x) for x in inputs]
    flat = [np.array(x) for x in tree_leaves(arrays)]
    which = [i for i, x in enumerate(flat) if x.dtype.kind == "f"]
    if not which:
        raise TypeError(f"{title}: no floating-point input to differentiate by; got {[str(x.dtype) for x in flat]}")
    rng = np.random.default_rng(seed)
    weights: list[np.ndarray] = []
    state = generator().bit_generator.state

    def call(values: list[Any]) -> Any:
        generator().bit_generator.state = state
        return _weighted(f(*rebuild(arrays, values)), weights, rng)

    def watched(values: list[Any]) -> Any:
        before = [np.array(x) for x in values]
        result = call(values)
        if any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(before, values, strict=True)):
            raise RuntimeError(f"{title}: the function changed its inputs in place; let it work on copies")
        return result

    def evaluate(values: list[np.ndarray], call: Any = call) -> float:
        with no_grad() if title == "gradcheck" else enable_grad():  # gradgradcheck differentiates inside f
            return float(call([Tensor(x) if i in which else x for i, x in enumerate(values)]).item())

    if not np.array_equal(evaluate(flat, watched), evaluate(flat), equal_nan=True):
        raise RuntimeError(f"{title}: two calls with the same inputs gave different values; take randomness from minigrad's generator or fix it")
    place = {i: k for k, i in enumerate(which)}
    output, pull = vjp(lambda *xs: watched([xs[place[i]] if i in place else x for i, x in enumerate(flat)]), *(flat[i] for i in which))
    if not output.requires_grad and title == "gradcheck":
        raise TypeError(f"{title}: {CUT}")
    analytic = pull(1.0)  # zeros where the gradient is constant and gradgradcheck differentiates it
    generator().bit_generator.state = state
    report = Report(title=title)
    labels = names or [f"x{i}" for i in range(len(flat))]
    for k, i in enumerate(which):
        report.rows.append(_check_one(evaluate, flat, i, np.asarray(analytic[k].data), rtol, labels[i] if i < len(labels) else f"x{i}", rng))
    generator().bit_generator.state = state
    return report


def _check_one(evaluate: Any, flat: list[np.ndarray], i: int, gradient: np.ndarray, rtol: float, name: str, rng: np.random.Generator) -> Row:
    x = flat[i]
    large = x.size > LARGE
    units = [rng.normal(size=x.shape) for _ in range(32)] if large else None
    n = len(units) if units else x.size
    analytic, numeric, doubt, kinks = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n, bool)
    for k in range(n):
        if units is not None:
            direction: Any = units[k] / np.linalg.norm(units[k])
            size = float(np.abs(x[np.isfinite(x)]).max(initial=1.0))
            analytic[k] = float((gradient * direction).sum())
        else:
            place = np.unravel_index(k, x.shape)
            direction = np.zeros(x.shape)
            direction[place] = 1
            size = max(1.0, abs(float(x[place]))) if np.isfinite(x[place]) else 1.0
            analytic[k] = gradient[place]
        numeric[k], doubt[k], kinks[k] = _difference(evaluate, flat, i, direction, size)
    scale = max(float(np.abs(a[np.isfinite(a)]).max(initial=0)) for a in (numeric, analytic, np.array([1e-3])))
    error = np.abs(analytic - numeric)
    error = np.where(np.isnan(error), np.inf, error)
    bad = (error > rtol * scale + 2 * doubt) & ~kinks
    judged = np.where(kinks, -1.0, error)
    worst = int(judged.argmax()) if n else 0
    where = tuple(int(j) for j in np.unravel_index(worst, x.shape)) if not large and n else (worst,)
    verdict = "ok"
    if bad.any():
        verdict = f"WRONG at {int(bad.sum())} of {n}"
    elif kinks.any():
        verdict = f"ok, {int(kinks.sum())} at a kink not judged"
    if large:
        verdict += f" ({n} random directions)"
    top = float(judged.max(initial=0))
    if not n:
        return Row(name, x.shape, 0.0, 0.0, (), 0.0, 0.0, "ok, empty")
    return Row(name, x.shape, max(top, 0.0), max(top, 0.0) / scale, where, float(analytic[worst]), float(numeric[worst]), verdict)


def _difference(evaluate: Any, flat: list[np.ndarray], i: int, direction: np.ndarray, size: float) -> tuple[float, float, bool]:
    """The derivative along ``direction``, a bound of its error, and whether there is a kink within the step."""
    x = flat[i]
    h = 2e-4 * size

    def at(step: float) -> float:
        moved = list(flat)
        moved[i] = x + step * direction
        return evaluate(moved)

    centre = at(0.0)
    values = {s: at(s * h) for s in (-1.0, -0.5, 0.5, 1.0)}
    wide = (values[1.0] - values[-1.0]) / (2 * h)
    narrow = (values[0.5] - values[-0.5]) / h
    estimate = (4 * narrow - wide) / 3
    noise = 8 * np.finfo(float).eps * max(abs(v) for v in (*values.values(), centre)) / h
    right, left = (values[0.5] - centre) / (0.5 * h), (centre - values[-0.5]) / (0.5 * h)
    wide_right, wide_left = (values[1.0] - centre) / h, (centre - values[-1.0]) / h
    gap, wide_gap = abs(right - left), abs(wide_right - wide_left)
    # a smooth function's one-sided slopes approach each other as fast as the step shrinks; at a kink they stay apart
    kink = gap > 1e-3 * max(abs(estimate), abs(right), abs(left)) + 10 * noise and gap > 0.7 * wide_gap
    return estimate, abs(narrow - wide) / 15 + noise, bool(kink)
