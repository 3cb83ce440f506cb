r"""How formulas and numbers are written, as LaTeX and as text.

Formulas have the reader's own letters: an op says :math:`\bar a = \bar c B^\top`, yours :math:`\bar Q = \bar S K`.
``substitute`` replaces the symbols of a formula by Names, all at once and token by token; ``plain`` writes LaTeX as
Unicode text for a terminal.  Numbers have a few digits, aligned, and a common power of ten in front when they are tiny
or huge; a small array is shown whole, of a large one its shape and its norm :math:`\|x\| = \sqrt{\sum x_i^2}`.

It has more than 300 lines because formulas and numbers stand side by side in every line that is written.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[0-9]+(?:\.[0-9]+)?|\s+|.", re.DOTALL)
OPAQUE = {r"\text", r"\operatorname", r"\mathrm", r"\mathtt"}  # their argument is prose, not symbols
ACCENTS = {r"\bar": "\u0304", r"\hat": "\u0302"}
GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "varepsilon": "ε", "eta": "η", "theta": "θ",
    "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ",
    "phi": "ϕ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ",
    "Lambda": "Λ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω", "ell": "ℓ", "zeta": "ζ", "iota": "ι", "upsilon": "υ",
    "Sigma": "Σ", "Pi": "Π", "Xi": "Ξ", "Upsilon": "Υ", "vartheta": "ϑ", "varrho": "ϱ",
}  # fmt: skip
COMMANDS = {letter: f"\\{name}" for name, letter in GREEK.items()}
COMMANDS |= {"ε": r"\epsilon", "φ": r"\phi", "ο": "o", "ς": r"\varsigma"}
SIGNS = {
    "odot": "⊙", "cdot": "·", "times": "×", "le": "≤", "ge": "≥", "ne": "≠", "langle": "⟨", "rangle": "⟩", "top": "ᵀ",
    "infty": "∞", "dots": "…", "to": "→", "sum": "Σ", "prod": "Π", "int": "∫", "vert": "|", "mid": "|", "partial": "∂",
    "approx": "≈", "in": "∈", "quad": "\x00", ",": " ", ";": " ", ":": " ", " ": " ", "!": "", "big": "", "Big": "",
    "left": "", "right": "", "textstyle": "", "{": "{", "}": "}", "#": "#", "_": "_", "%": "%", "&": "&", "|": "‖",
}  # fmt: skip
RAISED = dict(zip("0123456789+-=()nix", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱˣ", strict=True)) | {"ᵀ": "ᵀ"}
LOWERED = dict(zip("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))


def tokens(latex: str) -> list[str]:
    """The tokens of a formula: commands, numbers, runs of space, single characters."""
    return TOKEN.findall(latex)


def argument(parts: list[str], i: int) -> tuple[list[str], int]:
    """The tokens of the argument that starts at ``i`` (one token, or a group without its braces), and where it ends."""
    while i < len(parts) and parts[i].isspace():
        i += 1
    if i >= len(parts):
        return [], i
    if parts[i] in OPAQUE:
        inside, end = argument(parts, i + 1)
        return [parts[i], "{", *inside, "}"], end
    if parts[i].isdigit() and len(parts[i]) > 1:  # TeX takes one digit
        parts[i : i + 1] = [parts[i][0], parts[i][1:]]
    if parts[i] != "{":
        return parts[i : i + 1], i + 1
    depth, start = 1, i + 1
    while depth and i + 1 < len(parts):
        i += 1
        depth += (parts[i] == "{") - (parts[i] == "}")
    return parts[start:i], i + 1


def escape(text: str) -> str:
    """Prose inside ``\\text{...}``."""
    return re.sub(r"([_#%&{}$])", r"\\\1", text.replace("\\", "/"))


def joined(parts: list[str]) -> str:
    """Tokens as LaTeX again, with a space where a command would run into the next letter."""
    out = ""
    for part in parts:
        out += (" " if re.search(r"\\[A-Za-z]+$", out) and part[:1].isalpha() else "") + part
    return out


# Names ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Name:
    """How a tensor is called in formulas: a letter with perhaps an index, the transpose of one, a word, or a number."""

    base: str
    index: str = ""
    transposed: bool = False
    number: bool = False

    @property
    def latex(self) -> str:
        """The name itself."""
        return self.base + (f"_{{{self.index}}}" if self.index else "") + (r"^\top" if self.transposed else "")

    @property
    def bar(self) -> str:
        """Its gradient."""
        return self.accented(r"\bar")

    @property
    def text(self) -> str:
        """The name in a terminal."""
        return plain(self.latex)

    def accented(self, accent: str) -> str:
        """With a bar or a hat: over the letter, or over a whole word."""
        if self.transposed or len(tokens(self.base)) > 1:
            return rf"\overline{{{self.latex}}}" if accent == r"\bar" else rf"\widehat{{{self.latex}}}"
        return rf"{accent}{{{self.base}}}" + (f"_{{{self.index}}}" if self.index else "")

    def numbered(self, n: int) -> Name:
        """The same with a number more in its index."""
        return replace(self, index=f"{self.index},{n}" if self.index else str(n))


def named(name: str) -> Name:
    """A user's name as mathematics: ``Q``, ``W_Q`` (an index), ``x1``, ``gamma`` (Greek), ``loss`` (a word)."""
    name = name.replace("$", "").strip() or "?"
    if name.startswith("\\"):
        return Name(name)
    letter = re.fullmatch(r"([^\W\d_])(?:_?(\d+)|_\{?([\w,]+?)\}?)?", name)
    greek = re.fullmatch(r"([A-Za-z]+?)(?:_?(\d+)|_(\w+))?", name)
    match = letter or (greek if greek and greek[1] in GREEK else None)
    if match is None:
        return Name(rf"\mathtt{{{escape(name)}}}" if re.search(r"[._\d]", name) else rf"\mathrm{{{escape(name)}}}")
    index = match[2] or match[3] or ""
    if index in COMMANDS:
        index = COMMANDS[index]
    elif len(index) > 1 and not index.replace(",", "").isdigit():
        index = rf"\mathrm{{{escape(index)}}}"  # not \text, in which MathJax shows \_ as it stands
    return Name(COMMANDS.get(match[1], match[1]) if letter else "\\" + match[1], index)


# Substitution --------------------------------------------------------------------------------------------------------


def substitute(latex: str, names: Mapping[str, Name]) -> str:
    r"""``latex`` with each symbol in ``names`` replaced, also under \bar and \hat; not in indices nor in prose."""
    parts, out, i = tokens(latex), [], 0
    while i < len(parts):
        part = parts[i]
        i += 1
        if part in OPAQUE:
            inside, i = argument(parts, i)
            out.append(f"{part}{{{''.join(inside)}}}")
        elif part == "_":
            inside, i = argument(parts, i)
            out.append(f"_{{{''.join(inside)}}}")
        elif part in ACCENTS:
            inside, after = argument(parts, i)
            symbol = "".join(inside).strip()
            if symbol in names:
                text, i = _dressed(names[symbol], names[symbol].accented(part), True, parts, after, names)
                out.append(text)
            else:
                out.append(f"{part}{{{symbol}}}")
                i = after
        elif (
            i < len(parts) and parts[i] == "_"
            and (whole := f"{part}_{''.join(argument(list(parts), i + 1)[0])}") in names
        ):
            text, i = _dressed(names[whole], names[whole].latex, False, parts, argument(parts, i + 1)[1], names)
            out.append(text)
        elif part in names:
            text, i = _dressed(names[part], names[part].latex, False, parts, i, names)
            out.append(text)
        else:
            out.append(part)
    return _scalar_products(joined(out), [n.latex for n in names.values() if n.number])


def _dressed(
    name: Name, text: str, accented: bool, parts: list[str], i: int, names: Mapping[str, Name]
) -> tuple[str, int]:
    """The replacement with the index and exponent that follow its symbol."""
    while i < len(parts) and parts[i] in "_^":
        kind = parts[i]
        inside, i = argument(parts, i + 1)
        if kind == "_":
            text = (f"({text})" if name.index or name.transposed else text) + f"_{{{''.join(inside)}}}"
        elif "".join(inside) == r"\top" and name.transposed and not accented:
            text = replace(name, transposed=False).latex
        else:
            wrap = (name.transposed and not accented) or (name.number and not text.isdigit())
            text = (f"({text})" if wrap else text) + f"^{{{substitute(''.join(inside), names)}}}"
    if name.number and (text.startswith("-") or "/" in text):
        text = f"({text})"
    return text, i


def _scalar_products(latex: str, numbers: list[str]) -> str:
    r"""⊙ is for arrays: a product with a number is written with a dot."""
    for number in numbers:
        for shape in (number, f"({number})"):
            latex = latex.replace(rf"\odot {shape}", rf"\cdot {shape}").replace(rf"{shape} \odot", rf"{shape} \cdot")
    return latex


def symbols(latex: str) -> set[str]:
    """The letters and Greek letters of a formula, without indices, prose and functions' names."""
    parts, found, i = tokens(latex), set(), 0
    while i < len(parts):
        part = parts[i]
        i += 1
        if part in OPAQUE or part == "_":
            _, i = argument(parts, i)
        elif part.isalpha() or (part.lstrip("\\") in GREEK and part.startswith("\\")):
            found.add(part)
    return found


# Text ----------------------------------------------------------------------------------------------------------------


def plain(latex: str) -> str:
    """LaTeX as Unicode text: ``\\bar C B^\\top`` as ``C̄ Bᵀ``."""
    text = _plain(tokens(latex))
    text = re.sub(r" *\x00 *", "   ", re.sub(r" +", " ", text)).strip()
    return unicodedata.normalize("NFC", re.sub(r"([(⟨]) | ([)⟩,])", r"\1\2", text))


def _plain(parts: list[str]) -> str:
    out, i = "", 0
    while i < len(parts):
        part = parts[i]
        i += 1
        word = part[1:] if part.startswith("\\") else ""
        if part.isspace():
            out += " "
        elif part == r"\vert" and parts[i : i + 1] == ["_"]:  # the part of a gradient that comes through one op
            inside, i = argument(parts, i + 1)
            out += "|" + _plain(inside)
        elif part in "_^":
            inside, i = argument(parts, i)
            script = _plain(inside)
            out += (
                (f"[{script}]" if script.startswith("ax") else f"_{script}") if {r"\text", r"\mathrm"} & set(inside)
                else _script(script, part))
        elif part in ("{", "}"):
            continue
        elif part in OPAQUE:
            inside, i = argument(parts, i)
            content = re.sub(r"\\([_#%&{}$])", r"\1", "".join(inside))
            out += content if part != r"\operatorname" or _opens(parts, i) else content + " "
        elif part in ACCENTS:
            inside, i = argument(parts, i)
            out += _plain(inside) + ACCENTS[part]
        elif word in ("overline", "widehat"):
            inside, i = argument(parts, i)
            out += ("grad(" if word == "overline" else "hat(") + _plain(inside) + ")"
        elif word in ("frac", "tfrac"):
            above, i = argument(parts, i)
            below, i = argument(parts, i)
            out += _fraction(_plain(above).strip(), _plain(below).strip())
        elif word == "sqrt":
            inside, i = argument(parts, i)
            out += "√" + _grouped(_plain(inside).strip())
        elif word in GREEK or word in SIGNS:
            out += GREEK.get(word, SIGNS.get(word, ""))
        elif word:  # \log, \max, \tanh ...
            out += word + ("" if _opens(parts, i) else " ")
        else:
            out += part
    return out


def _opens(parts: list[str], i: int) -> bool:
    while i < len(parts) and parts[i] in (r"\big", r"\Big", r"\left", r"\,", r"\!"):
        i += 1
    return i >= len(parts) or parts[i] in "(_[" or parts[i].isspace()


def _grouped(text: str) -> str:
    return text if re.fullmatch(r"[\w.]\u0304?|[\d.]+", text) else f"({text})"


def _fraction(above: str, below: str) -> str:
    if (above, below) == ("1", "2"):
        return "½"
    simple = re.fullmatch(r"[\w.√\u0304]+", above)
    return (above if simple else f"({above})") + "/" + (below if re.fullmatch(r"√?[\w.]+", below) else f"({below})")


def _script(text: str, kind: str) -> str:
    text = text.strip()
    table = RAISED if kind == "^" else LOWERED
    compact = text.replace(" ", "")
    if all(c in table for c in compact):
        return "".join(table[c] for c in compact)
    return kind + (text if re.fullmatch(r"\w[\w.ᵢⱼₖₙ]*", text) else f"({text})")


# Numbers -------------------------------------------------------------------------------------------------------------

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
    """``x`` with ``digits`` significant digits for its largest entry, and as many decimals; fewer if exact."""
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
    """An array as LaTeX: a matrix (a vector is a row), several side by side for more axes, or its shape and norm."""
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
        for b in blocks]
    inside = r"\;\big|\;".join(matrices)
    return (front + (rf"\Big[{inside}\Big]" if len(matrices) > 1 else inside)).replace("∞", r"\infty")


# Text in two dimensions ----------------------------------------------------------------------------------------------


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
                Block([f"{end[0]} {row} {end[1]}" for row, end in zip(rows, ends, strict=True)], (len(rows) - 1) // 2))
        if i + 1 < len(grids):
            parts.append(Block([" | "]))
    return beside(*parts)
