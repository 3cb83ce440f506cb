"""The functions that a text calls, with all that they call in turn, gathered so that it runs on its own."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import textwrap
import types
from typing import Any

from .watched import Refused

DRAWING = '''generator = np.random.default_rng(0)


def drawing(rng=None):
    """The generator that everything draws from unless it is given another."""
    return generator if rng is None else rng
'''


class Bundle:
    """Functions, classes and constants of modules, each once, under names that do not clash."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.names: dict[int, str] = {}
        self.kept: list[Any] = []  # so that identities stay theirs
        self.texts: list[str] = []
        self.modules = {"import numpy as np"}

    def imports(self) -> list[str]:
        """The import statements."""
        return sorted(self.modules, key=lambda line: (not line.startswith("from"), "numpy" in line, line))

    def name(self, function: Any) -> str:
        """What the text calls a function."""
        module, own = getattr(function, "__module__", None) or "numpy", getattr(function, "__name__", "")
        if module.partition(".")[0] == "numpy" or type(function).__name__ == "ufunc":
            return f"np{module.removeprefix('numpy')}.{own}" if module in ("numpy", "numpy.linalg") else f"np.{own}"
        return self.add(function, own)

    def add(self, value: Any, wanted: str) -> str:
        """Gather a function, a class or a constant, and return its name."""
        value = inspect.unwrap(value) if callable(value) and not inspect.isclass(value) else value
        if id(value) in self.names:
            return self.names[id(value)]
        if type(value).__name__ == "ufunc":  # NumPy's own, under another name
            return self.names.setdefault(id(value), self.name(value))
        name = wanted if wanted.isidentifier() and wanted not in self.taken else next(
            f"{wanted}_{n}" for n in range(2, 99) if f"{wanted}_{n}" not in self.taken and f"{wanted}_{n}".isidentifier()
        ) if wanted.isidentifier() else ""  # fmt: skip
        if not name:
            raise Refused(f"program.source: {value!r:.60} has no text of its own; write it as a function with a name, in a module")
        self.taken.add(name)
        self.names[id(value)] = name
        self.kept.append(value)
        at = len(self.texts)
        self.texts.insert(at, self._text(value, wanted, name).rstrip())
        return name

    def _text(self, value: Any, wanted: str, name: str) -> str:
        if not callable(value):
            return f"{name} = {value!r}"
        if wanted == "drawing" and getattr(value, "__module__", "") == "minigrad.random":
            self.taken.add("generator")
            return DRAWING
        try:
            source = textwrap.dedent(inspect.getsource(value))
        except (OSError, TypeError) as error:
            raise Refused(f"program.source: {wanted} has no source text: {error}") from error
        node = ast.parse(source).body[0]
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            raise Refused(f"program.source: {wanted} is no function with a name; write it with def")
        source = "\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno])
        if name != wanted:
            source = re.sub(rf"\b{wanted}\b", name, source, count=1)
        self.needs(source, value)
        return self.renamed(source, value)

    def needs(self, source: str, function: Any) -> None:
        """Gather all that a piece of text of ``function``'s module names."""
        for used, value in self._globals(source, function):
            if isinstance(value, types.ModuleType):
                self.modules.add(f"import {value.__name__}" + (f" as {used}" if used != value.__name__ else ""))
            elif getattr(value, "__module__", "") in ("typing", "collections.abc", "functools"):
                self.modules.add(f"from {value.__module__} import {used}")
            else:
                self.add(value, used.rpartition(".")[2])

    def renamed(self, source: str, function: Any) -> str:
        """The text with the names that the bundle gave."""
        for used, value in self._globals(source, function):
            value = inspect.unwrap(value) if callable(value) and not inspect.isclass(value) else value
            name = self.names.get(id(value))
            if name is not None and name != used:
                source = re.sub(rf"(?<![\w.]){re.escape(used)}\b", name, source)
        return source

    def _globals(self, source: str, function: Any) -> list[tuple[str, Any]]:
        """The names in a text that are the module's own: ``name``, or ``module.name`` for one of our modules."""
        module = inspect.getmodule(function)
        scope = vars(module) if module else {}
        found: dict[str, Any] = {}
        inner: set[int] = set()
        tree = ast.parse(textwrap.dedent(source))
        annotations = {id(n) for node in ast.walk(tree) for a in _annotations(node) for n in ast.walk(a)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                value = scope.get(node.value.id)
                if isinstance(value, types.ModuleType) and value.__name__.startswith(("minigrad", "transformer")):
                    found[f"{node.value.id}.{node.attr}"] = getattr(value, node.attr)
                    inner.add(id(node.value))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Name) or id(node) in inner or id(node) in annotations or hasattr(builtins, node.id):
                continue
            if node.id in scope and scope[node.id] is not function:
                found[node.id] = scope[node.id]
        return list(found.items())


def _annotations(node: ast.AST) -> list[ast.AST]:
    """The annotations of a node, which nobody evaluates."""
    own = [getattr(node, "annotation", None), getattr(node, "returns", None)]
    return [a for a in own if a is not None]
