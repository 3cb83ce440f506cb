r"""Numbers as a reader wants them: a few digits, aligned, a common power of ten in front when they are tiny or huge.

A small array is shown whole; of a large one, its shape and its norm :math:`\|x\| = \sqrt{\sum x_i^2}`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .notation import plain

SMALL = 36  # entries of an array that is still shown whole
LONGEST = 10  # entries of a row or column that is still shown whole


def is_small(x: Any) -> bool:
    """Whether the array is shown whole."""
    x = np.asarray(x)
    return x.size <= SMALL and x.ndim <= 4 and all(n <= LONGEST for n in x.shape[-2:]) and math.prod(x.shape[:-2]) <= 4


@dataclass
class Numbers:
    """The entries of an array as strings of one width, to be multiplied by 10 to the ``exponent``."""

    entries: np.ndarray
    exponent: int


def numbers(x: Any, digits: int = 4) -> Numbers:
    """``x`` with ``digits`` significant digits for its largest entry, and as many decimals for the others; fewer where
    that is exact."""
    x = np.asarray(x)
    noise = 1e-9 if x.dtype.kind != "f" else max(1e-9, 2 * float(np.finfo(x.dtype).eps))
    x = x.astype(float)
    finite = np.abs(x[np.isfinite(x)])
    top = float(finite.max(initial=0.0))
    exponent = 0
    if (top and not np.array_equal(finite, np.round(finite))) or top >= 1e6:
        size = math.floor(math.log10(top))
        exponent = size if size < -3 or size > 5 else 0
        decimals = max(0, digits - 1 - (size - exponent))
    else:
        decimals = 0
    scaled = x / 10.0**exponent
    rest = scaled[np.isfinite(scaled)]
    while decimals and np.allclose(np.round(rest, decimals - 1), rest, rtol=0, atol=noise):
        decimals -= 1

    def write(value: float) -> str:
        if not math.isfinite(value):
            return "nan" if math.isnan(value) else "∞" if value > 0 else "-∞"
        text = f"{value:.{decimals}f}"
        return text.lstrip("-") if float(text) == 0 else text

    strings = np.array([write(float(v)) for v in scaled.ravel()], dtype=object).reshape(x.shape)
    width = max((len(s) for s in strings.ravel()), default=0)
    return Numbers(np.array([s.rjust(width) for s in strings.ravel()], dtype=object).reshape(x.shape), exponent)


def constant(value: float) -> str:
    """A number in a formula, as LaTeX: √3 and 1/√2 are recognised, whole numbers are written without decimals."""
    value = float(value)
    if not math.isfinite(value):
        return r"\text{nan}" if math.isnan(value) else r"\infty" if value > 0 else r"-\infty"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    if not 1e-3 < abs(value) < 1e3:
        return scientific(value)
    for square, form in ((value * value, r"\sqrt{{{}}}"), (1 / (value * value), r"1/\sqrt{{{}}}")):
        n = round(square)
        if 1 < n <= 100_000 and math.isclose(square, n, rel_tol=1e-7) and math.isqrt(n) ** 2 != n:
            return ("-" if value < 0 else "") + form.format(n)
    return scientific(value)


def plain_constant(value: float) -> str:
    """The same as text."""
    return plain(constant(value))


def scientific(value: float) -> str:
    """A number with six significant digits, as LaTeX; powers of ten where it is tiny or huge."""
    text = f"{value:.6g}"
    if "e" not in text:
        return text
    mantissa, power = text.split("e")
    return (rf"{mantissa} \cdot " if mantissa not in ("1", "-1") else mantissa[:-1]) + rf"10^{{{int(power)}}}"


def norm(x: Any) -> float:
    """The root of the sum of squares."""
    return float(np.sqrt(np.square(np.asarray(x, dtype=float)).sum()))


def size(x: Any) -> str:
    """A shape as text: ``3 × 4``."""
    return " × ".join(map(str, np.shape(x))) or "scalar"


def latex(x: Any, digits: int = 4) -> str:
    """An array as LaTeX: a matrix in brackets (a vector is a row), several side by side for more axes, or its shape
    and norm."""
    x = np.asarray(x)
    shape = r" \times ".join(map(str, x.shape))
    if not is_small(x):
        return rf"\big[\, {shape},\ \text{{norm }} {scientific(float(f'{norm(x):.{digits}g}'))} \,\big]"
    n = numbers(x, digits)
    front = rf"10^{{{n.exponent}}} \cdot " if n.exponent else ""
    if not x.ndim:
        return (front + n.entries.item().strip()).replace("∞", r"\infty")
    if not x.size:
        return rf"[\ ]_{{{shape}}}"
    blocks = n.entries.reshape(-1, *(x.shape[-2:] if x.ndim > 1 else (1, x.shape[0])))
    matrices = [
        r"\begin{bmatrix}" + r" \\ ".join(" & ".join(v.strip() for v in row) for row in b) + r"\end{bmatrix}"
        for b in blocks
    ]
    inside = r"\;\big|\;".join(matrices)
    return (front + (rf"\Big[{inside}\Big]" if len(matrices) > 1 else inside)).replace("∞", r"\infty")


# Text in two dimensions -----------------------------------------------------------------------------------------------


@dataclass
class Block:
    """Lines of one width; ``middle`` is the line that stands level with its neighbours."""

    lines: list[str]
    middle: int = 0

    @property
    def width(self) -> int:
        """The number of columns on screen."""
        return max((columns(line) for line in self.lines), default=0)


def columns(text: str) -> int:
    """How many columns a text takes: accents take none."""
    return sum(not 0x300 <= ord(c) < 0x370 for c in text)


def beside(*blocks: Block) -> Block:
    """Blocks side by side, their middles level."""
    above = max(b.middle for b in blocks)
    below = max(len(b.lines) - b.middle for b in blocks)
    rows = []
    for i in range(above + below):
        row = ""
        for b in blocks:
            k = i - above + b.middle
            line = b.lines[k] if 0 <= k < len(b.lines) else ""
            row += line + " " * (b.width - columns(line))
        rows.append(row.rstrip())
    return Block(rows, above)


def block(x: Any, digits: int = 4) -> Block:
    """An array as text: brackets drawn around rows, or its shape and norm."""
    x = np.asarray(x)
    if not is_small(x):
        return Block([f"[{size(x)}, norm {norm(x):.{digits}g}]"])
    n = numbers(x, digits)
    front = f"10^{n.exponent} · " if n.exponent else ""
    if not x.ndim:
        return Block([front + n.entries.item().strip()])
    if not x.size:
        return Block([f"[ ] of shape {x.shape}"])
    parts = [Block([front])] if front else []
    grids = n.entries.reshape(-1, *(x.shape[-2:] if x.ndim > 1 else (1, x.shape[0])))
    for i, grid in enumerate(grids):
        rows = ["  ".join(row) for row in grid]
        if len(rows) == 1:
            parts.append(Block([f"[ {rows[0]} ]"]))
        else:
            ends = ["⎡⎤", *["⎢⎥"] * (len(rows) - 2), "⎣⎦"]
            parts.append(
                Block([f"{end[0]} {row} {end[1]}" for row, end in zip(rows, ends, strict=True)], (len(rows) - 1) // 2)
            )
        if i + 1 < len(grids):
            parts.append(Block([" | "]))
    return beside(*parts)
