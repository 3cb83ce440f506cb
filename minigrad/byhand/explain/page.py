"""An explanation: its steps, and the page that they make: what is given, the way forward, the way back, the result."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import matrices, worked
from .closed import Closed
from .notation import ACCENTS, OPAQUE, Name, argument, escape, tokens
from .worked import Equation, Heading, Item, Piece, Sentence, Side

DEFINITION = r", \quad "  # between a formula and the letters that it defines


@dataclass
class Forward:
    """One op of the forward pass."""

    number: int
    op: str
    name: Name
    formula: str
    value: np.ndarray
    notes: list[str]


@dataclass
class Letter:
    """A letter that a rule defines on the way, with its value."""

    symbol: str
    formula: str
    value: Any
    numbers: list[Piece] | None


@dataclass
class Flow:
    """What one op hands to one of its inputs: ``symbol = formula = numbers = value``.

    ``raw`` is the gradient before it was summed over ``axes``, those along which the input was broadcast; ``column``
    says that a vector stands as a column in these numbers.
    """

    name: Name
    symbol: str
    formula: str
    numbers: list[Piece] | None
    raw: np.ndarray
    value: np.ndarray
    axes: tuple[int, ...]
    column: bool = False


@dataclass
class Backward:
    """One op of the backward pass: the gradient that it receives and those that it hands on."""

    number: int
    op: str
    name: Name
    upstream: np.ndarray
    letters: list[Letter]
    flows: list[Flow]
    notes: list[str]


@dataclass
class Meeting:
    """Where the parts of a gradient add, because its tensor was used several times."""

    name: Name
    parts: list[tuple[str, np.ndarray]]
    value: np.ndarray


@dataclass
class Explanation:
    """The worked solution.  ``print`` it, show it in a notebook, or take ``latex()`` or ``markdown()`` for a handout.

    ``given`` lists (name, full name, array) of the inputs; ``forward`` and ``backward`` the steps; ``gradients`` the
    results by name; ``closed``, also by name, the expressions to which the steps contract, for those that do.
    """

    output: Name
    given: list[tuple[Name, str, np.ndarray]]
    forward: list[Forward]
    seed: np.ndarray
    backward: list[Backward | Meeting]
    gradients: dict[str, np.ndarray]
    results: list[tuple[Name, np.ndarray]] = field(repr=False)
    closed: dict[str, Closed] = field(default_factory=dict)
    digits: int = 4
    replay: Any = field(default=None, repr=False)

    def code(self) -> str:
        """The same as Python that runs with NumPy alone: forward, then backward, a line for each op, with the reader's letters.

        ``derivation(**explanation.arrays())`` returns the value and a dict of gradients.  Raises RuntimeError for a graph with
        an op that has no text, such as one recorded by ``checkpoint``.
        """
        return str(self.replay.program.source(plain=True))

    def arrays(self) -> dict[str, np.ndarray]:
        """What the function that ``code()`` defines takes: the leaves, and constants too large to be written out, by name."""
        return dict(self.replay.program.arrays(plain=True))

    def items(self) -> list[Item]:
        """The solution as headings, sentences and equations."""
        return _items(self)

    def __str__(self) -> str:
        return worked.text(self.items(), self.digits)

    def __repr__(self) -> str:
        contracted = "".join(f", {form!r}" for form in self.closed.values())
        return f"<explanation of {self.output.text}: {len(self.forward)} steps{contracted}; print() shows it>"

    def latex(self, document: bool = False) -> str:
        """LaTeX to paste into a document that uses amsmath; with ``document`` a whole one, to compile as it stands."""
        return (worked.document if document else worked.latex)(self.items(), self.digits)

    def markdown(self) -> str:
        """Markdown with mathematics between dollars."""
        return worked.markdown(self.items(), self.digits)

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def _repr_html_(self) -> str:
        return worked.as_html(self.items(), self.digits)


# The page ------------------------------------------------------------------------------------------------------------

LEGEND = (
    (r"\\odot", r"$\odot$ multiplies entry by entry"),
    (r"rowsum", "rowsum adds up each row"),
    (r"\[[^]]*([<>=]|\\le)", "[…] is 1 where the condition holds and 0 elsewhere"),
    (r"\\overline", r"the bar of a longer name, $\overline{K^\top}$, likewise"),
    (r"\\vert_", r"a bar with an index, $\bar{x}\vert_{y}$, is the part of $\bar{x}$ that comes back through $y$"),
)


def _items(e: Explanation) -> list[Item]:
    items: list[Item] = [Heading("Given")]
    for name, full, value in e.given:
        items.append(Equation([[name.latex], *([[rf"\mathtt{{{escape(full)}}}"]] if full else []), [value]]))
    items.append(Heading("Forward"))
    for f in e.forward:
        items.append(Heading(f"({f.number}) " + _title(f.formula) + _tail(f.formula), 2))
        items += [Sentence("; ".join(f.notes))] * bool(f.notes)
        items.append(Equation([[f.name.latex], [f.value]]))
    items.append(Heading("Backward, by the chain rule"))
    items += [Sentence(line) for line in _legend(e)]
    items.append(Equation([[e.output.bar], [e.seed]]))
    formulas = {f.number: f.formula.split(DEFINITION)[0] for f in e.forward}
    for b in e.backward:
        items += _meeting(b) if isinstance(b, Meeting) else _step(b, formulas[b.number])
    items.append(Heading("Result"))
    scalar = e.seed.size == 1 and bool((e.seed == 1).all())
    for name, value in e.results:
        items.append(
            Equation(
                [*([[rf"\partial {e.output.latex} / \partial {name.latex}"]] if scalar else []), [name.bar], [value]]
            )
        )
    if e.closed:
        items.append(Heading("In one expression"))
        note = "".join(f"; {note}" for note in dict.fromkeys(form.note for form in e.closed.values() if form.note))
        items.append(Sentence(f"The steps contract; checked in numbers, here and at two other points{note}."))
        items += [Equation([[form.name.bar], [form.latex]]) for form in e.closed.values()]
    return items


def _tail(formula: str) -> str:
    rest = formula.split(DEFINITION)[1:]
    return ", " + ", ".join(f"${r}$" for r in rest) if rest else ""


def _title(formula: str) -> str:
    main = formula.split(DEFINITION)[0]
    left, _, right = main.partition(" = ")
    base = right.removesuffix(r"^{\top}")
    return f"${left}$, the transpose of ${base}$" if left == rf"{base}^\top" else f"${main}$"


def _legend(e: Explanation) -> list[str]:
    scalar = e.seed.size == 1 and bool((e.seed == 1).all())
    steps = [b for b in e.backward if isinstance(b, Backward)]
    everything = " ".join(
        [f.formula + f.symbol for b in steps for f in b.flows] + [f.formula for b in steps for f in b.letters]
    )
    start = rf"A bar is a gradient: $\bar{{x}} = \partial {e.output.latex} / \partial x$"
    if not scalar:
        start = (
            rf"A bar is a gradient: $\bar{{x}} = \partial L / \partial x$ for the $L$ whose gradient ${e.output.bar}$"
            r" is given"
        )
    lines = [start] + [text for sign, text in LEGEND if re.search(sign, everything)]
    return ["; ".join(lines) + "."]


def _step(b: Backward, formula: str) -> list[Item]:
    items: list[Item] = [Heading(f"Back through ({b.number}) {_title(formula)}", 2), *map(Sentence, b.notes)]
    for letter in b.letters:
        sides: list[Side] = [[letter.symbol], [letter.formula]]
        if letter.value is not None:
            sides += [*([letter.numbers] if letter.numbers else []), [np.asarray(letter.value)]]
        items.append(Equation(sides))
    for f in b.flows:
        shown = f.value[:, None] if f.column else f.value
        items.append(Equation([[f.symbol], [f.formula], *([f.numbers] if f.numbers else []), [shown]]))
    return items


def _meeting(m: Meeting) -> list[Item]:
    words = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}
    formula = " + ".join(symbol for symbol, _ in m.parts)
    sides: list[Side] = [[m.name.bar], [formula]]
    if all(matrices.is_small(value) and value.ndim <= 2 for _, value in m.parts):
        added: list[Piece] = []
        for i, (_, value) in enumerate(m.parts):
            added += ([" + "] if i else []) + [value]
        sides.append(added)
    n = len(m.parts)
    return [
        Heading(f"${m.name.latex}$ was used {words.get(n, f'{n} times')}: its gradients meet and add", 2),
        Equation([*sides, [m.value]]),
    ]


OPERATORS = {
    r"\odot": r" \odot ", r"\cdot": r" \cdot ", "+": " + ", "-": " - ", "/": " / ", "(": "(", ")": ")",
    r"\langle": r"\langle ",
    r"\rangle": r"\rangle ", r"\big": "", r"\,": r"\,",
}  # fmt: skip


def numeric(latex: str, values: dict[str, Any]) -> list[Piece] | None:
    """A formula with its symbols replaced by their arrays; None when it is not made of small matrices, sums and
    products, or is a single symbol."""
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
