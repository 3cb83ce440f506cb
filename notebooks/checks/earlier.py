"""Answers that later exercises build on: the reader's own where it is right, else the library's.

``earlier("02_walk_back")`` looks for the reader's function among what this notebook has run, then in the saved notebook of its chapter.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.graph import conform

HERE = Path(__file__).resolve().parent.parent


def earlier(key: str, ours: bool = False) -> Callable[..., Any]:
    """The function that answers the exercise whose check is ``check_KEY``: the reader's if it is right, else (or with ``ours``) the library's.

    Its attribute ``whose`` says which.  Raises KeyError for an exercise that nothing builds on.
    """
    if key not in OURS:
        raise KeyError(f"earlier: nothing builds on {key!r}; expected one of {', '.join(OURS)}")
    check = getattr(importlib.import_module(f"{__package__}.chapter_{key[:2]}"), f"check_{key}")
    for answer in () if ours else _answers(key):
        if check(answer):
            return _named(answer, "your")
    return _named(OURS[key], "the library's")


def _named(function: Callable[..., Any], whose: str) -> Callable[..., Any]:
    def named(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    named.whose = whose  # type: ignore[attr-defined]
    return named


def _answers(key: str) -> Iterator[Callable[..., Any]]:
    """The reader's functions: what this notebook has run, then the saved notebooks here, beside, and of the book."""
    name = NAMES[key]
    here = getattr(sys.modules.get("__main__"), name, None)
    if callable(here):
        yield here
    folders = [Path.cwd(), *Path.cwd().parent.glob(f"{key[:2]}_*"), HERE]
    for path in dict.fromkeys(p.resolve() for folder in folders for p in folder.glob(f"{key[:2]}_*.ipynb")):
        try:
            yield _defined(json.loads(path.read_text(encoding="utf-8")), key, name)
        except Exception:  # no answer, or one that does not run: the next
            continue


def _defined(notebook: dict[str, Any], key: str, name: str) -> Callable[..., Any]:
    """The function ``name`` of the notebook's answer cell, with the imports of the notebook's first code cell."""
    cells = [("".join(c["source"]), c["metadata"].get("nbgrader", {})) for c in notebook["cells"] if c["cell_type"] == "code"]
    call = re.compile(rf"(?m)^checks\.check_{key}\(.*$")
    (answer,) = [text for text, graded in cells if graded.get("grade_id") == f"answer_{key}" or (call.search(text) and f"def {name}(" in text)]
    namespace: dict[str, Any] = {"__name__": "earlier"}
    exec(cells[0][0], namespace)
    exec(call.sub("", answer), namespace)
    return namespace[name]


def graph(output: mg.Tensor, leaves: list[mg.Tensor]) -> tuple[Any, list[Any]]:
    """What minigrad recorded, as nodes like those of chapter 02: that of ``output``, and the list of those of ``leaves``.

    A node has ``.data``, ``.parents`` and ``.rules``.
    """
    nodes: dict[int, GraphNode] = {}
    waiting = [output, *leaves]
    while waiting:
        tensor = waiting.pop()
        if id(tensor) not in nodes:
            nodes[id(tensor)] = GraphNode(tensor)
            waiting += [x for x in (tensor.history or ((), ()))[1] if isinstance(x, mg.Tensor) and x.requires_grad]
    for node in nodes.values():
        node.join(nodes)
    return nodes[id(output)], [nodes[id(leaf)] for leaf in leaves]


class GraphNode:
    """A recorded tensor: its array, the nodes that it was computed from, and for each a rule from its gradient to their part."""

    def __init__(self, tensor: mg.Tensor) -> None:
        self.tensor, self.data = tensor, tensor.data
        self.parents: tuple[GraphNode, ...] = ()
        self.rules: tuple[Callable[[Any], Any], ...] = ()

    def join(self, nodes: dict[int, GraphNode]) -> None:
        """Find the parents among ``nodes``."""
        inputs = (self.tensor.history or ((), ()))[1]
        places = [i for i, x in enumerate(inputs) if id(x) in nodes]
        self.parents = tuple(nodes[id(inputs[i])] for i in places)
        self.rules = tuple(lambda g, i=i: self._part(np.asarray(g), i) for i in places)

    def _part(self, g: np.ndarray, i: int) -> np.ndarray:
        assert self.tensor.history is not None
        op, _, arrays, params, _ = self.tensor.history
        part = op.joint(g, self.data, *arrays, **params)[i] if op.joint else op.rules[i](g, self.data, *arrays, **params)
        return conform(part, arrays[i].shape, arrays[i].dtype, False)


# Ours --------------------------------------------------------------------------------------------------------------------


def topological_order(output: Any) -> list[Any]:
    """All nodes behind ``output``, each once and after its parents."""
    order, seen, stack = [], set(), [(output, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack += [(node, True), *((parent, False) for parent in node.parents)]
    return order


def walk_back(output: Any, upstream: Any, wanted: list[Any]) -> list[Any]:
    """The gradients of the nodes ``wanted``; None where no path leads."""
    gradients, kept = {id(output): np.asarray(upstream, float)}, {}
    for node in reversed(topological_order(output)):
        kept[id(node)] = g = gradients.pop(id(node))
        for parent, rule in zip(node.parents, node.rules, strict=True):
            part = rule(g)
            gradients[id(parent)] = gradients[id(parent)] + part if id(parent) in gradients else part
    return [kept.get(id(node)) for node in wanted]


def multi_head_attention(X: Any, W_Q: Any, W_K: Any, W_V: Any, W_O: Any, H: int, causal: bool = False) -> Any:
    """(T, C) → (T, C)."""
    T, C = X.shape
    Q, K, V = ((X @ W).reshape(T, H, C // H).swapaxes(0, 1) for W in (W_Q, W_K, W_V))
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(C // H)
    if causal:
        S = np.where(np.tri(T, dtype=bool), S, -np.inf)
    e = np.exp(S - S.max(axis=-1, keepdims=True))
    return ((e / e.sum(axis=-1, keepdims=True)) @ V).swapaxes(0, 1).reshape(T, C) @ W_O


OURS: dict[str, Callable[..., Any]] = {
    "02_topological_order": topological_order,
    "02_walk_back": walk_back,
    "06_multi_head_attention": multi_head_attention,
}
NAMES = {key: function.__name__ for key, function in OURS.items()}
