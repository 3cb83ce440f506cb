"""A worked solution on paper: headings, sentences and equations, as terminal text, Markdown, LaTeX or HTML.

A sentence carries its mathematics between dollars; an equation is a chain of sides, each a list of LaTeX strings and
arrays.
"""

from __future__ import annotations

import html
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import matrices
from .notation import COMMANDS, GREEK, escape, plain

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
    """The sides of an equation, as many in a row as fit (two at least in the first); a side that is too long is broken
    before an operator."""
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


# Text -----------------------------------------------------------------------------------------------------------------


def _side_block(side: Side, digits: int) -> matrices.Block:
    blocks: list[matrices.Block] = []
    for k, piece in enumerate(side):
        before = side[k - 1] if k else ""
        if k and not isinstance(piece, str) and (not isinstance(before, str) or before[-1:].isdigit()):
            blocks.append(matrices.Block([" "]))
        if isinstance(piece, str):
            spaced = piece.startswith(" "), piece.endswith(" ")
            blocks.append(matrices.Block([" " * spaced[0] + plain(piece) + " " * (spaced[1] and bool(piece.strip()))]))
        else:
            blocks.append(matrices.block(piece, digits))
    return matrices.beside(*blocks)


def text(items: Iterable[Item], digits: int = 4) -> str:
    """For a terminal."""
    lines: list[str] = []
    for item in items:
        if isinstance(item, Heading):
            title = _mathematics(item.text, plain)
            if item.level == 1:
                lines += ["", title, "=" * matrices.columns(title)]
            else:
                lines += ["", title]
        elif isinstance(item, Sentence):
            lines += textwrap.wrap(
                _mathematics(item.text, plain),
                WIDTH - 2,
                initial_indent="  ",
                subsequent_indent="  ",
                break_on_hyphens=False,
            )
        else:
            margin = _side_block(item.sides[0], digits).width
            for k, row in enumerate(_rows(item.sides, digits, WIDTH - 4)):
                parts = [matrices.Block(["    " + " " * (margin if k else 0)])]
                for sign, side in row:
                    parts += [matrices.Block([f" {sign} " if sign else "  " * bool(k)]), _side_block(side, digits)]
                lines += matrices.beside(*parts).lines
    return "\n".join(lines).strip("\n")


# LaTeX, Markdown and HTML ---------------------------------------------------------------------------------------------


def _side_latex(side: Side, digits: int) -> str:
    text = "".join(piece for piece in side if isinstance(piece, str))
    if len(side) > 1:  # parentheses as high as the matrices; two that a line break parts cannot know their height
        whole = all(text.count(a) == text.count(b) for a, b in zip(OPENING, CLOSING, strict=True))
        before, after = (r"\left", r"\right") if whole else (r"\Bigg", r"\Bigg")
        side = [_enlarged(piece, before, after) if isinstance(piece, str) else piece for piece in side]
    return "".join(piece if isinstance(piece, str) else matrices.latex(piece, digits) for piece in side)


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


def markdown(items: Iterable[Item], digits: int = 4) -> str:
    """Markdown with mathematics between dollars, as Jupyter and GitHub read it."""
    out = []
    for item in items:
        if isinstance(item, Heading):
            out.append("#" * (item.level + 1) + " " + item.text)
        elif isinstance(item, Sentence):
            out.append(item.text)
        else:
            out.append(f"$$\n{equation(item, digits)}\n$$")
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


def document(items: Iterable[Item], digits: int = 4) -> str:
    """A whole LaTeX document, with every formula within the margins."""
    out = []
    for item in items:
        if isinstance(item, Heading):
            title = _mathematics(item.text, lambda m: rf"\fit{{{m}}}" if len(m) > 90 else f"${m}$", _ascii)
            out.append(rf"\subsection*{{{title}}}" if item.level == 1 else rf"\medskip\textbf{{{title}}}\par")
        elif isinstance(item, Sentence):
            out.append(_mathematics(item.text, lambda m: f"${m}$", _ascii))
        else:
            out.append(f"\\begin{{center}}\n\\fit{{{equation(item, digits)}}}\n\\end{{center}}")
    return DOCUMENT + typed("\n\n".join(out)) + "\n\\end{document}\n"


def latex(items: Iterable[Item], digits: int = 4) -> str:
    """LaTeX to paste into a document that uses amsmath."""
    out = []
    for item in items:
        if isinstance(item, Heading):
            title = _mathematics(item.text, lambda m: f"${m}$", _ascii)
            out.append(rf"\subsection*{{{title}}}" if item.level == 1 else rf"\paragraph{{{title}}}")
        elif isinstance(item, Sentence):
            out.append(_mathematics(item.text, lambda m: f"${m}$", _ascii))
        else:
            out.append(f"\\[\n{equation(item, digits)}\n\\]")
    return "\n\n".join(out) + "\n"


def _ascii(text: str) -> str:
    text = "".join(f"${COMMANDS[c]}$" if c in COMMANDS else c for c in escape(text))
    replaced = {
        "−": "$-$",
        "∞": r"$\infty$",
        "Σ": r"$\sum$",
        "≤": r"$\le$",
        "≥": r"$\ge$",
        "⊙": r"$\odot$",
        "²": "$^2$",
        "½": r"$\tfrac12$",
        "√": r"$\surd$",
        "×": r"$\times$",
        "…": r"\dots{}",
        "∂": r"$\partial$",
        "·": r"$\cdot$",
        "∥": r"$\|$",
    }
    return "".join(replaced.get(c, c if c.isascii() else typed(c)) for c in text)


STYLE = (
    "<style>.worked{max-width:72em;line-height:1.45}.worked h3{border-bottom:1px solid;padding-bottom:.2em;margin:1.2em"
    " 0 .5em}.worked .step{border-left:4px solid #0072B2;padding:.1em 0 .1em 1em;margin:.9em 0}.worked"
    " .step>h4{margin:.2em 0}.worked p{margin:.35em 0}.worked"
    " .math{font-size:95%;display:inline-block;vertical-align:middle;margin:0 2.5em .3em"
    " 0;max-width:100%;overflow-x:auto;overflow-y:hidden}</style>"
)


def as_html(items: Iterable[Item], digits: int = 4) -> str:
    """HTML with the mathematics between dollars, which a notebook typesets (MathJax)."""
    out, open_step = [STYLE, '<div class="worked">'], False
    for item in items:
        if isinstance(item, Heading):
            out.append("</div>" * open_step)
            open_step = item.level > 1
            title = _mathematics(item.text, lambda m: f"${html.escape(m)}$", html.escape)
            out.append(f'<div class="step"><h4>{title}</h4>' if open_step else f"<h3>{title}</h3>")
        elif isinstance(item, Sentence):
            out.append(f"<p>{_mathematics(item.text, lambda m: f'${html.escape(m)}$', html.escape)}</p>")
        else:
            out.append(f'<div class="math">$$\n{html.escape(equation(item, digits))}\n$$</div>')
    return "\n".join([*out, "</div>" * open_step + "</div>"])


def side(*pieces: Any) -> Side:
    """A side of an equation."""
    return list(pieces)


def typed(text: str) -> str:
    """A name in letters that every LaTeX knows: Greek ones by their names, accents dropped, what is left as x."""
    plain_letters = "".join(GREEK_NAMES.get(c, c) for c in text)
    bare = "".join(c for c in unicodedata.normalize("NFKD", plain_letters) if not unicodedata.combining(c))
    return "".join(c if c.isascii() else "x" for c in bare)


GREEK_NAMES = {letter: name for name, letter in GREEK.items()}
