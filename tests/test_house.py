"""The plan of the house: imports point one way, the extras stay behind their doors, and no room is too large."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from minigrad import graph

ROOT = Path(__file__).parent.parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("minigrad", "transformer")
    for path in sorted((ROOT / package).rglob("*.py"))
}
EXTRAS = ("bias", "compression", "parallel", "pretrained", "cli")


def imports(name, path):
    """The modules that a file imports, at the top or within functions; not those that only a type checker sees."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    hidden = {id(node) for block in for_types for node in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in FILES else base


GRAPH = {name: {other for other in imports(name, path) if other in FILES and other != name} for name, path in FILES.items()}


def room(name):
    """The folder of transformer that a module is in, "" for the modules at its top."""
    parts = name.split(".")
    return parts[1] if len(parts) > 2 or (FILES[name].name == "__init__.py" and len(parts) == 2) else ""


def test_no_module_imports_itself_by_a_detour():
    """Packages' ``__init__`` re-export, so only the files with content count."""
    inner = {name: {n for n in GRAPH[name] if FILES[n].name != "__init__.py"} for name in GRAPH if FILES[name].name != "__init__.py"}
    seen, done = [], set()

    def visit(name):
        assert name not in seen, " → ".join([*seen[seen.index(name) :], name])
        if name in done:
            return
        seen.append(name)
        for other in sorted(inner[name]):
            visit(other)
        seen.pop()
        done.add(name)

    for name in inner:
        visit(name)


def test_the_core_imports_no_extra():
    found = [
        f"{name} → {other}"
        for name in GRAPH
        if name.startswith("transformer.") and room(name) not in EXTRAS and name != "transformer.__main__"
        for other in GRAPH[name]
        if other.startswith("transformer.") and room(other) in EXTRAS
    ]
    assert not found


def test_imports_point_one_way_between_the_packages():
    assert not [f"{name} → {other}" for name in GRAPH if name.startswith("minigrad") for other in GRAPH[name] if other.startswith("transformer")]


def test_the_rooms_of_transformer_are_few():
    top = ROOT / "transformer"
    modules = {path.stem for path in top.glob("*.py")} - {"__init__", "__main__"}
    folders = {path.name for path in top.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert len(modules) <= 6 and len(folders) <= 10, (sorted(modules), sorted(folders))


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_at_most_300_lines_long_or_says_why(name):
    text = FILES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300 or "more than 300 lines" in (ast.get_docstring(ast.parse(text)) or "")


PATH = [*(FILES[f"minigrad.{name}"] for name in ("graph", "tensor", "modes", "guards", "numpy_protocol")), *(ROOT / "minigrad/ops").glob("*.py")]


def test_the_engine_can_be_read_in_one_sitting():
    """What docs/engine.md calls the reader's path, and on it the file with which chapter 02 ends."""
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PATH}
    assert sum(lines.values()) <= 2400, lines
    assert lines[FILES["minigrad.graph"]] <= 300
    assert len(inspect.getsource(graph.walk).splitlines()) <= 45


def test_what_is_beside_the_readers_path_is_not_needed_on_it():
    """The ops know nothing of NumPy's breadth, of Tensors, or of kernels."""
    beside = {"numpy_api", "linalg", "examples", "tensor", "fast", "programs", "byhand"}
    found = [(name, other) for name in GRAPH if name.startswith("minigrad.ops.") for other in GRAPH[name] if other.split(".")[1] in beside]
    assert not found


def test_the_examples_of_ops_are_loaded_when_they_are_asked_for():
    code = """
import sys
import minigrad
assert "minigrad.examples" not in sys.modules
assert minigrad.matmul.examples is not None and "minigrad.examples" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
