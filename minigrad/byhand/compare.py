"""My intermediates beside the reference's, name by name: for people who write every step of a backward pass
themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tensor import Tensor
from .report import Report, largest, place


@dataclass
class Line:
    """One name: equal to the last bit, equal to the tolerance, and how far apart at most."""

    name: str
    exact: bool
    approximately: bool
    max_difference: float
    verdict: str


@dataclass(repr=False)
class Comparison(Report):
    """What ``compare`` found: true when every name is there on both sides, in the same shape, with approximately the
    same numbers."""

    rows: list[Line]

    def __bool__(self) -> bool:
        return all(row.approximately for row in self.rows)

    def table(self) -> list[list[str]]:
        """One row for each name, those of the reference first."""
        said = {True: "yes", False: "no"}
        body = [
            [
                r.name,
                said[r.exact],
                said[r.approximately],
                "-" if np.isnan(r.max_difference) else f"{r.max_difference:.1e}",
                r.verdict,
            ]
            for r in self.rows
        ]
        return [["name", "exact", "approximately", "max difference", "verdict"], *body]


def compare(mine: Mapping[str, Any], reference: Mapping[str, Any], rtol: float = 1e-6) -> Comparison:
    """Compare two dictionaries of arrays or Tensors; ``approximately`` means within ``rtol`` of the reference's
    largest entry.

    Names that one side lacks and shapes that differ are rows of the table, and make it false.  Raises TypeError for
    what is no dict or holds no numbers.
    """
    for which, given in (("mine", mine), ("reference", reference)):
        if not isinstance(given, Mapping):
            raise TypeError(f"compare: {which} must be a dict of names to arrays, got {type(given).__name__}")
    everything = [
        np.abs(_array(str(name), x)) for given in (mine, reference) for name, x in given.items() if x is not None
    ]
    top = max((float(a[np.isfinite(a)].max(initial=0)) for a in everything), default=0.0)
    zero = 1e-14 * top if top > 1e-14 else 1e-14  # below it, a number is what round-off leaves of a zero
    names = [*reference, *(name for name in mine if name not in reference)]
    return Comparison(
        [
            _line(str(name), mine.get(name), reference.get(name), name in mine, name in reference, rtol, zero)
            for name in names
        ]
    )


def _line(name: str, mine: Any, reference: Any, here: bool, there: bool, rtol: float, zero: float) -> Line:
    nothing = float("nan")
    if not here:
        return Line(name, False, False, nothing, "missing: not among mine")
    if not there:
        return Line(name, False, False, nothing, "unexpected: not in the reference")
    if mine is None or reference is None:
        side = "mine" if mine is None else "the reference"
        return Line(
            name,
            False,
            False,
            nothing,
            f"missing: {side} is None (an interior tensor keeps its .grad after retain_grad())",
        )
    a, b = _array(name, mine), _array(name, reference)
    if a.shape != b.shape:
        hint = ", transposed" if a.shape == b.shape[::-1] else ""
        return Line(name, False, False, nothing, f"shape {a.shape}, expected {b.shape}{hint}")
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        top, where = largest(np.where(same, 0.0, a - b))
    scale = largest(b[np.isfinite(b)])[0]
    nothing_but_round_off = (not b.any() and top <= zero) or (not a.any() and scale <= zero)
    close = bool(same.all()) or top <= rtol * scale or nothing_but_round_off
    said = "ok, zero up to round-off" if nothing_but_round_off and not same.all() else "ok"
    return Line(
        name,
        bool(same.all()),
        close,
        top,
        said if close else f"WRONG, most at {place(where)}: {a[where]:.8g}, expected {b[where]:.8g}",
    )


def _array(name: str, x: Any) -> np.ndarray:
    array = np.asarray(x.data if isinstance(x, Tensor) else x)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"compare: {name!r} must be real numbers, got {type(x).__name__} with dtype {array.dtype}")
    return array.astype(np.float64)
