"""A recording as Python text that one can read, and run with NumPy alone."""

from __future__ import annotations

import ast
import inspect
import keyword
import math
import re
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

from ..nn import Module
from .bundle import Bundle
from .straight import SIMPLE
from .tape import Line, Name
from .watched import Refused

INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@"}
INLINE = 16  # constants of up to so many numbers are written into the text
COLUMN = 58  # where comments begin


class Text:
    """The text of one recording, and the arrays that it takes besides the arguments of the function."""

    def __init__(self, recording: Any, function: Callable[..., Any], formula: Callable[[str], str]) -> None:
        self.recording, self.formula = recording, formula
        self.name = identifier(getattr(function, "__name__", type(function).__name__), "program")
        self.taken = {"np", "math", self.name, *keyword.kwlist, *dir(__builtins__ if inspect.ismodule(__builtins__) else object)}
        self.labels: dict[Name, str] = {}
        self.temporaries = 0
        self.arrays: dict[str, np.ndarray] = {}
        self.constants: list[tuple[Any, str]] = []
        self.bundle = Bundle(self.taken)
        self.parameters = self._arguments(function)
        for t, name in recording.leaves:
            self.arrays[self._label(name, identifier(name.label, "parameter"))] = t.data
        lines = self._lines()
        results = self._results()
        last = ["gradient=1.0"] if recording.gradients else []
        given = ", ".join([*self.parameters, *self.arrays, *last])
        body = "".join(f"    {line}\n" if line else "\n" for line in [*lines, *results])
        head = "\n".join(["from __future__ import annotations", "", *self.bundle.imports()])
        self.text = "\n\n\n".join([head, f"def {self.name}({given}):\n{body}".rstrip(), *self.bundle.texts]) + "\n"

    def _arguments(self, function: Callable[..., Any]) -> list[str]:
        """The parameters of the text's function: those of the user's, one for each array."""
        called = function.forward if isinstance(function, Module) else function
        try:
            named = [p.name for p in inspect.signature(called).parameters.values() if p.kind is not p.VAR_KEYWORD]
        except (TypeError, ValueError):
            named = []
        found = []
        for i, name in enumerate(self.recording.arguments):
            own = name.label or (named[i] if i < len(named) and named[i] != "args" else f"x{i + 1}")
            label = self._label(name, own)
            if name.label != "gradient":
                found.append(label)
        return found

    def _label(self, name: Name, wanted: str) -> str:
        label, n = wanted, 1
        while label in self.taken:
            n += 1
            label = f"{wanted}_{n}"
        self.taken.add(label)
        self.labels[name] = label
        return label

    def _called(self, name: Name) -> str:
        if name not in self.labels:
            if name.of is not None and name.of in self.labels:
                self._label(name, f"d_{self.labels[name.of]}")
            else:
                self.temporaries += name.label is None
                self._label(name, identifier(name.label, f"t{self.temporaries}"))
        return self.labels[name]

    # Lines ------------------------------------------------------------------------------------------------------------

    def _lines(self) -> list[str]:
        found: list[str] = []
        within: tuple[Any, ...] = ()
        backward = None
        for line in self.recording.lines:
            if line.backward is not backward:
                backward = line.backward
                found += ["", "# The backward pass" if backward else "# The forward pass"][0 if found else 1 :]
                if backward and self.recording.gradients:
                    found.append(f"gradient = np.asarray(gradient, {self.render(self.recording.dtype)})")
            if line.within != within:
                within = line.within
                found += [f"# {told(line.within[-1])}: {self.formula(line.within[-1].formula)}"] if within else []
            if line.role == "kernel":
                found.append(f"# {told(line.op)}: {self.formula(line.op.formula)}")
            elif line.role == "vjp":
                derivatives = [f"{k}: {self.formula(v)}" for k, v in line.op.derivatives.items()]
                found.append(f"# the gradients of {told(line.op)}, by {'; '.join(derivatives)}")
            shown = getattr(line.function, "shown", None)
            if shown and isinstance(line.out, Name):  # a check that hands on what it was given
                self.labels[line.out] = shown.format(*map(self.render, line.args))
                continue
            expression = self.expression(line)
            shapes = ", ".join(str(n.what.shape) for n in line.makes() if n.what is not None)
            left = f"{self._outs(line.out)} = {expression}"
            found.append(f"{left:{COLUMN}}  # {shapes}" if shapes else left)
        return found

    def _outs(self, out: Any, inside: bool = False) -> str:
        if isinstance(out, tuple):
            names = ", ".join(self._outs(x, True) for x in out) + ("," if len(out) == 1 else "")
            return f"({names})" if inside else names
        return "_" if out is None else self._called(out)

    def expression(self, line: Line) -> str:
        """The right-hand side."""
        if line.role != "forward":
            return self._call(line.function, line.args, line.kwargs)
        op, args = line.op, [self.render(a, operand=True) for a in line.args]
        name, p = op.name if op.builtin else "", line.kwargs  # a user's op may have the name of ours
        if name in INFIX:
            return f"{args[0]} {INFIX[name]} {args[1]}"
        if name == "negative":
            return f"-{args[0]}"
        if name in ("reshape", "swapaxes"):
            return f"{args[0]}.{name}({', '.join(self.render(v) for v in p.values())})"
        if name == "pick":
            return f"{args[0]}[{self._index(p['index'])}]"
        if name in ("sum", "mean", "max", "min"):
            settings = ", ".join(f"{k}={self.render(v)}" for k, v in p.items() if v is not None and v is not False)
            return f"{args[0]}.{name}({settings})"
        if name == "sum_to":
            return self._sum_to(args[0], line.args[0].what.shape, p["shape"])
        if op.ufunc is not None and not p:
            return f"np.{op.ufunc.__name__}({', '.join(map(self.render, line.args))})"
        return self._written_out(line) or self._call(line.function, line.args, p)

    @staticmethod
    def _sum_to(x: str, given: tuple[int, ...], shape: tuple[int, ...]) -> str:
        """The sum over the axes that broadcasting repeated."""
        extra = len(given) - len(shape)
        kept = tuple(i for i in range(extra, len(given)) if shape[i - extra] == 1 and given[i] != 1)
        x = f"{x}.sum(axis={kept if len(kept) > 1 else kept[0]}, keepdims=True)" if kept else x
        return f"{x}.sum(axis={tuple(range(extra)) if extra > 1 else 0})" if extra else x

    def _call(self, function: Any, args: Any, kwargs: Any) -> str:
        given = [*map(self.render, args), *(f"{k}={self.render(v)}" for k, v in kwargs.items())]
        return f"{self.bundle.name(function)}({', '.join(given)})"

    def _written_out(self, line: Line) -> str | None:
        """The expression that the forward of an op returns, if that is all it does, with the arguments in their places."""
        found = returned(line.function)
        if found is None:
            return None
        expression, parameters, defaults = found
        values = {k: self.render(v, operand=True) for k, v in defaults.items()}
        star = [p[1:] for p in parameters if p.startswith("*")]
        if star:
            return None
        values |= {p: self.render(a, operand=True) for p, a in zip(parameters, line.args)}
        values |= {k: self.render(v, operand=True) for k, v in line.kwargs.items()}
        self.bundle.needs(expression, line.function)
        tree = Substitute(values).visit(ast.parse(expression, mode="eval"))
        return self.bundle.renamed(ast.unparse(tree), line.function)

    # Arguments --------------------------------------------------------------------------------------------------------

    def render(self, x: Any, operand: bool = False) -> str:
        """An argument as Python text."""
        if isinstance(x, Name):
            return self._called(x)
        if isinstance(x, float) and not math.isfinite(x):
            return "np.nan" if x != x else "-np.inf" if x < 0 else "np.inf"
        if isinstance(x, np.generic):
            return f"np.{x.dtype.name}({x.item()!r})"
        if type(x) in SIMPLE:
            text = "..." if x is ... else repr(x)
            return f"({text})" if operand and text.startswith("-") else text
        if isinstance(x, tuple):
            return f"({', '.join(map(self.render, x))}{',' if len(x) == 1 else ''})"
        if isinstance(x, list):
            return f"[{', '.join(map(self.render, x))}]"
        if isinstance(x, slice):
            return f"slice({self.render(x.start)}, {self.render(x.stop)}, {self.render(x.step)})"
        if isinstance(x, np.dtype):
            return "bool" if x.kind == "b" else f"np.{x.name}"
        if isinstance(x, type) and issubclass(x, np.generic):
            return f"np.{x.__name__}"
        if isinstance(x, np.ndarray):
            return self._constant(x)
        raise Refused(f"program.source: a {type(x).__name__} among the arguments of a call has no text: {x!r:.60}")

    def _constant(self, x: np.ndarray) -> str:
        for known, label in self.constants:
            if known is x:
                return label
        if x.size <= INLINE:
            numbers = np.array2string(x, separator=", ", floatmode="unique", max_line_width=10**6, threshold=10**6)
            if x.dtype.kind in "iub" or np.isfinite(x).all():
                return f"np.array({' '.join(numbers.split())}, {self.render(x.dtype)})" if x.size else f"np.zeros({x.shape}, {self.render(x.dtype)})"
        label = self._label(Name("constant", x), "constant")
        self.constants.append((x, label))
        self.arrays[label] = x
        return label

    def _index(self, index: Any) -> str:
        if not isinstance(index, tuple):
            index = (index,)
        shown = []
        for i in index:
            if isinstance(i, slice):
                parts = ["" if x is None else str(x) for x in (i.start, i.stop)] + ([] if i.step is None else [str(i.step)])
                shown.append(":".join(parts))
            else:
                shown.append(self.render(i))
        return ", ".join(shown) + ("," if len(shown) == 1 and index[0] is None else "") if shown else "()"

    # Results ----------------------------------------------------------------------------------------------------------

    def _results(self) -> list[str]:
        outputs = self._tree(self.recording.outputs)
        if not self.recording.gradients:
            return [f"return {outputs}"]
        shown = {}
        for target, name, _ in self.recording.gradients:
            if isinstance(target, int):
                of = self.recording.arguments[self.recording.positions.index(target)]
            else:
                of = next(n for t, n in self.recording.leaves if t is target)
            shown[self.labels[of]] = self._called(name)
        order = [label for label in [*self.parameters, *self.arrays] if label in shown]
        return ["return " + outputs + ", {" + ", ".join(f"{label!r}: {shown[label]}" for label in order) + "}"]

    def _tree(self, tree: Any) -> str:
        if isinstance(tree, dict):
            return "{" + ", ".join(f"{k!r}: {self._tree(v)}" for k, v in tree.items()) + "}"
        if isinstance(tree, tuple | list):
            return "(" + "".join(self._tree(x) + ", " for x in tree) + ")"
        return self.render(tree)


def told(op: Any) -> str:
    """The name of an op as the user knows it."""
    return op.name.strip("_")


def identifier(label: str | None, otherwise: str) -> str:
    """The label as a Python name."""
    name = re.sub(r"\W+", "_", label or "").strip("_")
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"p_{name}" if name[:1].isdigit() else otherwise


class Substitute(ast.NodeTransformer):
    """Texts in the place of names."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """The parsed text of the value."""
        if node.id in self.values:
            return ast.parse(self.values[node.id], mode="eval").body
        return node


def returned(function: Any) -> tuple[str, list[str], dict[str, Any]] | None:
    """The expression that a function of one statement returns, its parameters, and their defaults."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        defaults = {p.name: p.default for p in inspect.signature(function).parameters.values() if p.default is not p.empty}
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    if not isinstance(tree, ast.FunctionDef):
        return None
    body = [s for s in tree.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
        return None
    parameters = [a.arg for a in tree.args.args] + ([f"*{tree.args.vararg.arg}"] if tree.args.vararg else [])
    return ast.unparse(body[0].value), parameters, defaults


def text(recording: Any, program: Any) -> Text:
    """The text of a recording of ``program``."""
    from ..byhand.explain.notation import plain

    return Text(recording, program.function, plain)
