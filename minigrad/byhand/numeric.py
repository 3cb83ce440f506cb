"""A formula with numbers in it: each symbol replaced by its matrix, as one writes it out to check it by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import matrices
from .notation import ACCENTS, OPAQUE, argument, tokens
from .worked import Piece

OPERATORS = {
    r"\odot": r" \odot ", r"\cdot": r" \cdot ", "+": " + ", "-": " - ", "/": " / ", "(": "(", ")": ")", r"\langle": r"\langle ",
    r"\rangle": r"\rangle ", r"\big": "", r"\,": r"\,",
}  # fmt: skip


def numeric(latex: str, values: dict[str, Any]) -> list[Piece] | None:
    """A formula with its symbols replaced by their arrays; None when it is not made of small matrices, sums and products,
    or is a single symbol."""
    parts, out, i, arrays = tokens(latex), list[Piece](), 0, 0
    while i < len(parts):
        part = parts[i]
        i += 1
        if part.isspace():
            continue
        if part == r"\operatorname":
            inside, i = argument(parts, i)
            text = rf"\operatorname{{{''.join(inside)}}}"
            if i < len(parts) and parts[i] == "_":
                below, i = argument(parts, i + 1)
                text += f"_{{{''.join(below)}}}"
            if "".join(inside) not in ("sum", "rowsum"):
                return None
            out.append(text)
        elif part == "^" and out and isinstance(out[-1], np.ndarray):
            inside, i = argument(parts, i)
            if "".join(inside) != r"\top" or out[-1].ndim != 2:
                return None
            out[-1] = out[-1].T
        elif part in OPERATORS:
            first = not out or (isinstance(out[-1], str) and out[-1].rstrip().endswith(("(", r"\langle")))
            out.append(OPERATORS[part].lstrip() if first and part != "-" else "-" if first else OPERATORS[part])
        elif part[0].isdigit():
            out.append(part)
        else:
            if part in ACCENTS:
                inside, i = argument(parts, i)
                part = f"{part}{{{''.join(inside)}}}"
            elif i + 1 < len(parts) and parts[i] == "_" and f"{part}_{parts[i + 1]}" in values:
                part, i = f"{part}_{parts[i + 1]}", i + 2
            if part in OPAQUE or part not in values:
                return None
            value = np.asarray(values[part], dtype=float)
            if value.ndim > 2 or not matrices.is_small(value) or not value.size:
                return None
            arrays += value.ndim > 0
            out.append(value if value.ndim else _number(float(value), values[part]))
    return out if len(out) > 1 and arrays else None


def _number(value: float, given: Any) -> Piece:
    """A scalar: exact when it is a constant of the formula, rounded like the arrays when it was computed."""
    text = matrices.constant(value) if not isinstance(given, np.ndarray) else ""
    if not text:
        return np.asarray(value)
    return f"({text})" if text.startswith("-") or "/" in text else text + r"\," if text[0] == "\\" else text + " "
