"""The form of the book: letters mean what chapter 00 says, formulas can be typeset, code fits on a page.

Formulas are rendered by MathJax or KaTeX where node finds one of them, in ``node_modules`` here or through ``NODE_PATH``:
``npm install mathjax-full@3``.
"""

import ast
import io
import json
import re
import shutil
import subprocess
import sys
import tokenize
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("jupytext")

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "notebooks"
sys.path[:0] = [str(BOOK)]

import editions  # noqa: E402

PATHS = sorted((BOOK / "chapters").glob("[0-9][0-9]*_*.py"))


each_chapter = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


FORMULA = re.compile(r"(?<!\\)\$\$(.+?)\$\$|(?<![\\$])\$([^$\n]+?)(?<!\\)\$(?!\$)", re.S)

# Letters -------------------------------------------------------------------------------------------------------------------

SIZES = "BTSCHDFLN"  # numbers: how many
MATRICES = "QKVZPEWX"  # arrays
AGAINST = (  # in formulas: what a letter is not used for, and what is
    (
        r"(?<![A-Za-z\\])L\s*(?::?=(?!\s*\d)|'|\()|\\bar\{?\s*L\b|\\partial\s*L\b|\\nabla\s*L\b",
        r"L is layers; the loss is \mathcal L",
    ),
    (r"\\[lr]angle", r"⟨ ⟩ belongs to marks such as ⟨pad⟩; a mean is \operatorname{mean}, a product of vectors a dot"),
    (
        r"(?<!K)[(,]\s*V\s*[),]|\\(?:ln|log)\s*V\b|/\s*V\b|\bV\s*\+|\bV\s*=\s*\d",
        r"V is the values; the size of a vocabulary is \mathcal V",
    ),
    (r",\s*\d?H\s*\)|\bH\s*=\s*-", r"H is heads; the width of a recurrent state is M, an entropy \mathbb H"),
    (r"\bC\s*\(\s*h", r"C is the width of the model; a central difference is \delta_h"),
    (
        r"\\bar\s*S\b|\bS'|(?<![A-Za-z])S_\{?[hnij]|\^\{\s*-?S\b|(?<![A-Za-z,])S\s*=\s*(?!\d|T)[\\A-Z]|\\frac\{?\s*S",
        "S is the length of the source; scores are Z",
    ),
    (
        r"\\tilde\s*T\b|\bp\s*-\s*T\b|\bT\s*-\s*p\b|(?<![A-Za-z])T_\{|\bT\s*/\s*p\b|\bT\s*:",
        r"T is the length of the target; one-hot rows are \mathbf 1_t",
    ),
)


@cache
def cells(path):
    """(number, cell, whether it belongs to an exercise) of a chapter."""
    found, tasks = [], False
    for i, cell in enumerate(editions.source(path).cells):
        tasks = tasks and not cell.source.startswith("## ")
        exercise = (
            bool({"exercise", "idea"} & set(editions.tags(cell)))
            or cell.source.startswith("### Exercise")
            or "\n### Exercise" in cell.source
        )
        found.append((i, cell, exercise))
    return found


def formulas(text):
    """The formulas of a text in Markdown; code, between backticks, is left out."""
    text = re.sub(r"(?s)```.*?```|`[^`\n]*`", lambda code: " " * len(code[0]), text)
    return [(match[1] or match[2], bool(match[1])) for match in FORMULA.finditer(text)]


def misused(formula):
    """What is wrong with the letters of a formula."""
    plain = re.sub(r"\\math(?:cal|bb|bf|rm)\s*\w", r"\\alpha", formula)  # another alphabet, other letters
    return [why for pattern, why in AGAINST if re.search(pattern, plain)]


def misused_in_code(source):
    """(letter, line) where a size is used as an array, an array as a size, or a shape in a comment has an array in it."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in SIZES:
            yield node.name, node.lineno
        inner = {ast.Subscript: "value", ast.Attribute: "value", ast.Call: "func"}.get(type(node))
        if inner and isinstance(getattr(node, inner), ast.Name) and getattr(node, inner).id in SIZES:
            yield getattr(node, inner).id, node.lineno
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            yield from (
                (side.id, side.lineno)
                for side in (node.left, node.right)
                if isinstance(side, ast.Name) and side.id in SIZES
            )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
            yield from ((a.id, a.lineno) for a in node.args if isinstance(a, ast.Name) and a.id in MATRICES)
        shapes = [k.value for k in node.keywords if k.arg in ("size", "shape")] if isinstance(node, ast.Call) else []
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("reshape", "zeros", "ones", "full", "eye")
        ):
            shapes += node.args[:1] if node.func.attr != "reshape" else node.args
        for shape in shapes:
            parts = shape.elts if isinstance(shape, ast.Tuple) else [shape]
            yield from ((part.id, part.lineno) for part in parts if isinstance(part, ast.Name) and part.id in MATRICES)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            for shape in re.findall(r"\(([^()]*)\)", token.string):
                parts = [part.strip() for part in shape.split(",")]
                if len(parts) > 1 and all(
                    re.fullmatch(r"|\.\.\.|\d*[A-Za-z]\w?|\w+[ +·*/]+\w+|\d+", part) for part in parts
                ):
                    yield from ((part, token.start[0]) for part in parts if part and part in MATRICES)


@each_chapter
def test_formulas_use_letters_as_the_table_says(path):
    found = [(i, formula, why) for i, cell, exercise in cells(path) if cell.cell_type == "markdown" and not exercise
             for formula, _ in formulas(cell.source) for why in misused(formula)]  # fmt: skip
    assert not found, "\n".join(f"cell {i}: {formula!r}: {why}" for i, formula, why in found)


@each_chapter
def test_code_uses_letters_as_the_table_says(path):
    found = [
        (i, *use)
        for i, cell, exercise in cells(path)
        if cell.cell_type == "code" and not exercise
        for use in misused_in_code(cell.source)
    ]
    assert not found, "\n".join(f"cell {i}, line {at}: {letter}" for i, letter, at in found)


@each_chapter
def test_exercises_use_letters_as_the_table_says(path):
    mine = [(i, cell) for i, cell, exercise in cells(path) if exercise]
    found = [(i, f) for i, cell in mine if cell.cell_type == "markdown" for f, _ in formulas(cell.source) if misused(f)]
    found += [(i, *use) for i, cell in mine if cell.cell_type == "code" for use in misused_in_code(cell.source)]
    assert not found


def test_misused_letters_are_found():
    wrong = [
        r"\bar L",
        "L = -\\log p",
        r"\partial L / \partial w",
        r"\langle x \rangle",
        "(T, V)",
        r"\ln V",
        "(H, H)",
        "H = -\\sum_j p_j",
        "C(h)",
        r"\bar S",
        "S = Q K",
        "p - T",
    ]
    right = [
        r"\mathcal L = 1",
        "L_r",
        r"(T, \mathcal V)",
        "(Q, K, V)",
        r"V: (S, D_v)",
        "(H, T, D)",
        r"\mathbb H(p)",
        "(T, S)",
        "S = 3",
        "x_{T - k}",
        "(H D, C)",
        "L = 12",
    ]
    assert all(misused(formula) for formula in wrong) and not any(misused(formula) for formula in right), [
        f for f in wrong if not misused(f)
    ] + [f for f in right if misused(f)]
    code = {
        "def L(w): pass": "L",
        "S = Q @ K.T\nS.max()": "S",
        "T[0]": "T",
        "np.zeros((T, V))": "V",
        "range(V)": "V",
        "x = 1  # (B, T, V)": "V",
        "C(f, x, h)": "C",
    }
    assert {source: [letter for letter, _ in misused_in_code(source)] for source in code} == {
        source: [letter] for source, letter in code.items()
    }
    assert not list(
        misused_in_code(
            "Z = Q @ K.T / np.sqrt(D)  # (T, S)\nx.reshape(B, T, H, D)\nattention(Q, K, V)  # (..., T, D), of V and of K"
        )
    )


def test_the_table_of_chapter_00_has_every_letter_that_is_checked():
    text = PATHS[0].read_text(encoding="utf-8")
    *_, table = re.findall(r"(?ms)^# \| letter \| .*?^#\s*$", text)
    for letter in [*SIZES, *MATRICES, r"\mathcal V", r"\mathcal L", r"\mathbb H", r"\mathbf 1_t", r"\delta_h", "M"]:
        assert re.search(rf"(?<![A-Za-z\\]){re.escape(letter)}(?![A-Za-z])", table), letter


# Formulas ------------------------------------------------------------------------------------------------------------------


def typeset(all_formulas):
    """What the typesetter of node says about each formula, "" when nothing; skips the test where there is none."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed, so that no formula can be typeset")
    work = json.dumps([{"tex": tex, "display": display} for tex, display in all_formulas])
    done = subprocess.run(
        [node, str(Path(__file__).parent / "typeset.cjs")],
        input=work,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
    )
    if done.returncode == 3:
        pytest.skip(f"neither MathJax nor KaTeX is installed for node: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_formula_of_every_chapter_is_typeset_without_a_complaint():
    every = [
        (path.stem, i, tex, display)
        for path in PATHS
        for i, cell, _ in cells(path)
        if cell.cell_type == "markdown"
        for tex, display in formulas(cell.source)
    ]
    assert len(every) > 1000
    said = typeset([(tex, display) for *_, tex, display in every])
    wrong = [
        f"{name}, cell {i}: ${tex}$: {words}" for (name, i, tex, _), words in zip(every, said, strict=True) if words
    ]
    assert not wrong, "\n".join(wrong)


def test_a_formula_that_cannot_be_typeset_is_found():
    good, *bad = typeset(
        [
            (r"\frac{a}{b}", True),
            (r"\frac{a}", True),
            (r"\nosuchcommand x", False),
            (r"\text{the \textbf{Jacobian}}", True),
            ("a_b_c", False),
        ]
    )
    assert not good and all(bad)


# Pages ---------------------------------------------------------------------------------------------------------------------


@each_chapter
def test_lines_of_code_fit_on_a_page(path):
    long = [
        (i, line)
        for i, cell, exercise in cells(path)
        if cell.cell_type == "code" and not exercise
        for line in cell.source.splitlines()
        if len(line) > 110
    ]
    assert not long, "\n".join(f"cell {i}: {len(line)} characters: {line.strip()[:80]}…" for i, line in long)
