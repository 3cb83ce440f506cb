"""An explanation on paper: what is given, the way forward, the way back, the result; as terminal text, Markdown, LaTeX
or HTML.

A page is headings, sentences and equations.  A sentence carries its mathematics between dollars; an equation is a chain
of sides, each a list of LaTeX strings and arrays.  It has more than 300 lines because it writes the same page in four
forms, which must say the same.
"""

from __future__ import annotations

import html
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import notation
from .closed import Closed
from .notation import ACCENTS, COMMANDS, GREEK, OPAQUE, Name, argument, escape, plain, tokens

WIDTH = 112  # columns of a terminal line
Piece = str | np.ndarray
Side = Sequence[Piece]


@dataclass
class Heading:
    """A title; level 1 for parts, 2 for steps."""

    text: str
    level: int = 1


@dataclass
class Sentence:
    """A line of prose."""

    text: str


@dataclass
class Equation:
    """``sides[0] = sides[1] = ...``."""

    sides: list[Side]


Item = Heading | Sentence | Equation


def _mathematics(text: str, math: Callable[[str], str], prose: Callable[[str], str] = lambda s: s) -> str:
    return "".join(math(part) if i % 2 else prose(part) for i, part in enumerate(text.split("$")))


Row = list[tuple[str, Side]]  # the sign in front of each side
OPENING, CLOSING = ("(", r"\langle"), (")", r"\rangle")


def _rows(sides: Sequence[Side], digits: int, limit: int) -> list[Row]:
    """The sides of an equation, as many in a row as fit (two at least in the first); long ones broken at operators."""
    rows: list[Row] = [[("", sides[0])]]
    used = margin = _side_block(sides[0], digits).width
    for side in sides[1:]:
        for k, part in enumerate(_broken(side, digits, limit - margin)):
            width = _side_block(part, digits).width + 3
            if k or (used + width > limit and (len(rows) > 1 or len(rows[0]) > 1)):
                rows.append([])
                used = margin
            rows[-1].append(("" if k else "=", part))
            used += width
    return rows


def _broken(side: Side, digits: int, limit: int) -> list[Side]:
    """A side in parts that fit, broken before operators: those outside parentheses, or else inside."""
    best: list[Side] = [side]
    for inside in range(3):
        if all(_side_block(part, digits).width <= limit for part in best):
            break
        depth, cuts = 0, [0]
        for i, piece in enumerate(side):
            if isinstance(piece, str):
                if i and depth <= inside and piece.startswith(" "):
                    cuts.append(i)
                depth += sum(piece.count(c) for c in OPENING) - sum(piece.count(c) for c in CLOSING)
        best = []
        for chunk in (list(side[a:b]) for a, b in zip(cuts, [*cuts[1:], len(side)], strict=True)):
            if best and _side_block([*best[-1], *chunk], digits).width <= limit:
                best[-1] = [*best[-1], *chunk]
            else:
                best.append(chunk)
    return best


# Text ----------------------------------------------------------------------------------------------------------------


def _side_block(side: Side, digits: int) -> notation.Block:
    blocks: list[notation.Block] = []
    for k, piece in enumerate(side):
        before = side[k - 1] if k else ""
        if k and not isinstance(piece, str) and (not isinstance(before, str) or before[-1:].isdigit()):
            blocks.append(notation.Block([" "]))
        if isinstance(piece, str):
            spaced = piece.startswith(" "), piece.endswith(" ")
            blocks.append(notation.Block([" " * spaced[0] + plain(piece) + " " * (spaced[1] and bool(piece.strip()))]))
        else:
            blocks.append(notation.block(piece, digits))
    return notation.beside(*blocks)


def text(items: Iterable[Item], digits: int = 4) -> str:
    """For a terminal."""
    lines: list[str] = []
    for item in items:
        if isinstance(item, Heading):
            title = _mathematics(item.text, plain)
            lines += ["", title, *(["=" * notation.columns(title)] if item.level == 1 else [])]
        elif isinstance(item, Sentence):
            lines += textwrap.wrap(
                _mathematics(item.text, plain), WIDTH - 2, initial_indent="  ", subsequent_indent="  ",
                break_on_hyphens=False)
        else:
            margin = _side_block(item.sides[0], digits).width
            for k, row in enumerate(_rows(item.sides, digits, WIDTH - 4)):
                parts = [notation.Block(["    " + " " * (margin if k else 0)])]
                for sign, side in row:
                    parts += [notation.Block([f" {sign} " if sign else "  " * bool(k)]), _side_block(side, digits)]
                lines += notation.beside(*parts).lines
    return "\n".join(lines).strip("\n")


# LaTeX, Markdown and HTML --------------------------------------------------------------------------------------------


def _side_latex(side: Side, digits: int) -> str:
    text = "".join(piece for piece in side if isinstance(piece, str))
    if len(side) > 1:  # parentheses as high as the matrices; two that a line break parts cannot know their height
        whole = all(text.count(a) == text.count(b) for a, b in zip(OPENING, CLOSING, strict=True))
        before, after = (r"\left", r"\right") if whole else (r"\Bigg", r"\Bigg")
        side = [_enlarged(piece, before, after) if isinstance(piece, str) else piece for piece in side]
    return "".join(piece if isinstance(piece, str) else notation.latex(piece, digits) for piece in side)


def _enlarged(text: str, before: str, after: str) -> str:
    for opening, closing in zip(OPENING, CLOSING, strict=True):
        text = text.replace(opening, before + opening).replace(closing, after + closing)
    return text


def equation(item: Equation, digits: int = 4) -> str:
    """An equation as LaTeX (amsmath), without the delimiters of a display."""
    rows = [[f"{sign} {_side_latex(side, digits)}" for sign, side in row] for row in _rows(item.sides, digits, 90)]
    if len(rows) == 1:
        return " ".join(rows[0]).strip()
    first = f"{rows[0][0].strip()} &{' '.join(rows[0][1:])}"
    others = [(r"&\qquad " if not row[0].startswith("=") else "&") + " ".join(row) for row in rows[1:]]
    return "\\begin{aligned}\n" + " \\\\\n".join([first, *others]) + "\n\\end{aligned}"


def _each(
    items: Iterable[Item], heading: Callable[[Heading], str], prose: Callable[[str], str], display: str, digits: int
) -> list[str]:
    """Every item written; ``display`` is what stands around an equation, with § in its place."""
    return [
        heading(x) if isinstance(x, Heading) else prose(x.text) if isinstance(x, Sentence)
        else display.replace("§", equation(x, digits)) for x in items]


def markdown(items: Iterable[Item], digits: int = 4) -> str:
    """Markdown with mathematics between dollars, as Jupyter and GitHub read it."""
    out = _each(items, lambda h: "#" * (h.level + 1) + " " + h.text, str, "$$\n§\n$$", digits)
    return "\n\n".join(out) + "\n"


DOCUMENT = r"""\documentclass[11pt]{article}
\usepackage[a4paper,margin=2.2cm]{geometry}
\usepackage{amsmath,amssymb,graphicx}
\setcounter{MaxMatrixCols}{64}
\setlength{\parindent}{0pt}\setlength{\parskip}{4pt}\sloppy\emergencystretch=3em\hbadness=10000
\newsavebox{\wide}
\newcommand{\fit}[1]{\sbox{\wide}{$\displaystyle #1$}%
  \ifdim\wd\wide>\linewidth\resizebox{\linewidth}{!}{\usebox{\wide}}\else\usebox{\wide}\fi}
\begin{document}
"""


def whole_document(items: Iterable[Item], digits: int = 4) -> str:
    """A whole LaTeX document, with every formula within the margins."""

    def heading(h: Heading) -> str:
        title = _mathematics(h.text, lambda m: rf"\fit{{{m}}}" if len(m) > 90 else f"${m}$", _ascii)
        return rf"\subsection*{{{title}}}" if h.level == 1 else rf"\medskip\textbf{{{title}}}\par"

    out = _each(items, heading, _latex_prose, "\\begin{center}\n\\fit{§}\n\\end{center}", digits)
    return DOCUMENT + typed("\n\n".join(out)) + "\n\\end{document}\n"


def latex(items: Iterable[Item], digits: int = 4) -> str:
    """LaTeX to paste into a document that uses amsmath."""

    def heading(h: Heading) -> str:
        return rf"\{'subsection*' if h.level == 1 else 'paragraph'}{{{_latex_prose(h.text)}}}"

    return "\n\n".join(_each(items, heading, _latex_prose, "\\[\n§\n\\]", digits)) + "\n"


def _latex_prose(text: str) -> str:
    return _mathematics(text, lambda m: f"${m}$", _ascii)


LATEX_SIGNS = {
    "−": "$-$", "∞": r"$\infty$", "Σ": r"$\sum$", "≤": r"$\le$", "≥": r"$\ge$", "⊙": r"$\odot$", "²": "$^2$",
    "½": r"$\tfrac12$", "√": r"$\surd$", "×": r"$\times$", "…": r"\dots{}", "∂": r"$\partial$", "·": r"$\cdot$",
    "∥": r"$\|$",
}  # fmt: skip


def _ascii(text: str) -> str:
    text = "".join(f"${COMMANDS[c]}$" if c in COMMANDS else c for c in escape(text))
    return "".join(LATEX_SIGNS.get(c, c if c.isascii() else typed(c)) for c in text)


STYLE = (
    "<style>.worked{max-width:72em;line-height:1.45}.worked h3{border-bottom:1px solid;padding-bottom:.2em;margin:1.2em"
    " 0 .5em}.worked .step{border-left:4px solid #0072B2;padding:.1em 0 .1em 1em;margin:.9em 0}.worked"
    " .step>h4{margin:.2em 0}.worked p{margin:.35em 0}.worked"
    " .math{font-size:95%;display:inline-block;vertical-align:middle;margin:0 2.5em .3em"
    " 0;max-width:100%;overflow-x:auto;overflow-y:hidden}</style>")


def as_html(items: Iterable[Item], digits: int = 4) -> str:
    """HTML with the mathematics between dollars, which a notebook typesets (MathJax)."""
    out, opened = [STYLE, '<div class="worked">'], False
    for item in items:
        if isinstance(item, Heading):
            out.append("</div>" * opened)
            opened = item.level > 1
            title = _html_prose(item.text)
            out.append(f'<div class="step"><h4>{title}</h4>' if opened else f"<h3>{title}</h3>")
        elif isinstance(item, Sentence):
            out.append(f"<p>{_html_prose(item.text)}</p>")
        else:
            out.append(f'<div class="math">$$\n{html.escape(equation(item, digits))}\n$$</div>')
    return "\n".join([*out, "</div>" * opened + "</div>"])


def _html_prose(text: str) -> str:
    return _mathematics(text, lambda m: f"${html.escape(m)}$", html.escape)


def typed(text: str) -> str:
    """A name in letters that every LaTeX knows: Greek ones by their names, accents dropped, what is left as x."""
    plain_letters = "".join(GREEK_NAMES.get(c, c) for c in text)
    bare = "".join(c for c in unicodedata.normalize("NFKD", plain_letters) if not unicodedata.combining(c))
    return "".join(c if c.isascii() else "x" for c in bare)


GREEK_NAMES = {letter: name for name, letter in GREEK.items()}


# The steps of an explanation -----------------------------------------------------------------------------------------

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
        """The same as Python that runs with NumPy alone: forward, then backward, a line for each op.

        ``derivation(**explanation.arrays())`` returns the value and a dict of gradients.  Raises RuntimeError for a
        graph with an op that has no text, such as one recorded by ``checkpoint``.
        """
        return str(self.replay.program.source(plain=True))

    def arrays(self) -> dict[str, np.ndarray]:
        """What the function that ``code()`` defines takes, by name: leaves, and constants too large to write out."""
        return dict(self.replay.program.arrays(plain=True))

    def items(self) -> list[Item]:
        """The solution as headings, sentences and equations."""
        return _items(self)

    def __str__(self) -> str:
        return text(self.items(), self.digits)

    def __repr__(self) -> str:
        contracted = "".join(f", {form!r}" for form in self.closed.values())
        return f"<explanation of {self.output.text}: {len(self.forward)} steps{contracted}; print() shows it>"

    def latex(self, document: bool = False) -> str:
        """LaTeX to paste into a document that uses amsmath; with ``document`` a whole one, to compile as it stands."""
        return (whole_document if document else latex)(self.items(), self.digits)

    def markdown(self) -> str:
        """Markdown with mathematics between dollars."""
        return markdown(self.items(), self.digits)

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def _repr_html_(self) -> str:
        return as_html(self.items(), self.digits)


# The page ------------------------------------------------------------------------------------------------------------

LEGEND = (
    (r"\\odot", r"$\odot$ multiplies entry by entry"), (r"rowsum", "rowsum adds up each row"),
    (r"\[[^]]*([<>=]|\\le)", "[…] is 1 where the condition holds and 0 elsewhere"),
    (r"\\overline", r"the bar of a longer name, $\overline{K^\top}$, likewise"),
    (r"\\vert_", r"a bar with an index, $\bar{x}\vert_{y}$, is the part of $\bar{x}$ that comes back through $y$"))


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
        derivative: list[Side] = [[rf"\partial {e.output.latex} / \partial {name.latex}"]] if scalar else []
        items.append(Equation([*derivative, [name.bar], [value]]))
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
    formulas = [f.formula + f.symbol for b in steps for f in b.flows] + [f.formula for b in steps for f in b.letters]
    everything = " ".join(formulas)
    start = rf"A bar is a gradient: $\bar{{x}} = \partial {e.output.latex if scalar else 'L'} / \partial x$"
    start += "" if scalar else f" for the $L$ whose gradient ${e.output.bar}$ is given"
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
    if all(notation.is_small(value) and value.ndim <= 2 for _, value in m.parts):
        added: list[Piece] = []
        for i, (_, value) in enumerate(m.parts):
            added += ([" + "] if i else []) + [value]
        sides.append(added)
    n = len(m.parts)
    return [
        Heading(f"${m.name.latex}$ was used {words.get(n, f'{n} times')}: its gradients meet and add", 2),
        Equation([*sides, [m.value]])]


OPERATORS = {
    r"\odot": r" \odot ", r"\cdot": r" \cdot ", "+": " + ", "-": " - ", "/": " / ", "(": "(", ")": ")",
    r"\langle": r"\langle ", r"\rangle": r"\rangle ", r"\big": "", r"\,": r"\,",
}  # fmt: skip


def numeric(latex: str, values: dict[str, Any]) -> list[Piece] | None:
    """A formula with arrays for its symbols; None for one symbol, or more than small sums and products."""
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
            if value.ndim > 2 or not notation.is_small(value) or not value.size:
                return None
            arrays += value.ndim > 0
            out.append(value if value.ndim else _number(float(value), values[part]))
    return out if len(out) > 1 and arrays else None


def _number(value: float, given: Any) -> Piece:
    """A scalar: exact when it is a constant of the formula, rounded like the arrays when it was computed."""
    text = notation.constant(value) if not isinstance(given, np.ndarray) else ""
    if not text:
        return np.asarray(value)
    return f"({text})" if text.startswith("-") or "/" in text else text + r"\," if text[0] == "\\" else text + " "
