"""The text that a model learns from where Python comes without its help topics: prose of the chapters and docstrings of the library.

    python notebooks/prose.py        writes transformer/data/default.txt

Written by this project from first to last, and dedicated to the public domain (CC0 1.0), so that it may go wherever the wheel goes.
It is plain ASCII, and its paragraphs are mixed, so that the last tenth is a fair sample of the rest.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import editions

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
PLACE = ROOT / "transformer" / "data" / "default.txt"
ASCII = str.maketrans({
    "−": "-", "–": "-", "→": "->", "×": "x", "…": "...", "⟨": "<", "⟩": ">", "·": "*", "≤": "<=", "≥": ">=", "²": "**2", "√": "sqrt ", "ᵀ": ".T",
})  # fmt: skip
NOT_PROSE = re.compile(r"[$|\\]|^#|^- |^\d+\.|^\*\*(Before|Next)|https?:|```|<|^\*About|\]\(", re.M)


def paragraphs() -> Iterator[str]:
    """The paragraphs of the chapters that are prose: no formulas, lists, tables or references; one line for each."""
    for path in sorted((BOOK / "chapters").glob("*.py")):
        for cell in editions.source(path).cells:
            for text in re.split(r"\n\s*\n", cell.source) if cell.cell_type == "markdown" else []:
                if not NOT_PROSE.search(text.strip()):
                    yield re.sub(r"[*`]+", "", " ".join(text.split()))


def docstrings() -> Iterator[str]:
    """Each public function and class of the library that says what it does: its name, its arguments, its docstring."""
    for path in sorted(path for package in ("minigrad", "transformer") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and (text := ast.get_docstring(node)):
                of = f"({', '.join(a.arg for a in node.args.args if a.arg != 'self')})" if isinstance(node, ast.FunctionDef) else ""
                yield f"{node.name}{of}\n" + "\n".join("   " + line if line else "" for line in inspect.cleandoc(text).splitlines())


def text(size: int = 150_000) -> str:
    """About ``size`` characters: paragraphs and docstrings in turn, those of a kind taken evenly from first to last."""
    written = []
    for found in (paragraphs(), docstrings()):
        plain = [piece for piece in (piece.translate(ASCII) for piece in found) if piece.isascii() and len(piece) > 60]
        total, wanted = sum(map(len, plain)), size // 2
        step = max(1, total / wanted)
        chosen = [plain[int(i * step)] for i in range(int(len(plain) / step))]
        written += [((i + 0.5) / len(chosen) * 7919 % 1, piece) for i, piece in enumerate(chosen)]  # each kind spread over the whole
    return "\n\n".join(piece for _, piece in sorted(written)) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from minigrad.storage import write_atomically

    content = text().encode("ascii")
    write_atomically(PLACE, lambda file: file.write(content))
    print(f"{PLACE.relative_to(ROOT)}: {len(content):,} bytes")
