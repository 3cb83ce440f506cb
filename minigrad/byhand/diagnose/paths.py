"""Paths of a program that carry one contribution each, and what is said of one that is scaled: dropped, negated, off
by a factor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .factors import general, origins, same
from .program import Program
from .steps import CONSTANT, Site, Step
from .whole import Finding


@dataclass(eq=False)
class Path:
    """The edges, as (step, number of the input), that carry the same contribution ``effect`` (in projection) to a
    variable."""

    edges: list[tuple[Step, int]]
    effect: np.ndarray

    def sites(self, c: float, avoid: Iterable[Site] = ()) -> list[Site]:
        """The edit that scales the contribution by ``c``, on an edge that no other edit uses."""
        taken = {site[:2] for site in avoid}
        step, i = next(((s, k) for s, k in self.edges if (s.index, s.inputs[k]) not in taken), self.edges[0])
        return [Site(step.index, step.inputs[i], lambda g: (c - 1) * step.share(i, g))]


def paths(program: Program, i: int, tangents: dict[int, np.ndarray]) -> list[Path]:
    """Every path to variable ``i``, from the output's end; edges in a row with no branch between them are one path."""
    found: list[Path] = []
    for step in reversed(program.live):
        for k in step.wanted():
            tangent = tangents.get(step.inputs[k])
            if tangent is None:
                continue
            effect = tangent.reshape(len(tangent), -1) @ np.ravel(step.shares[k])
            for path in found:
                if np.abs(path.effect - effect).max() <= 1e-7 * np.abs(effect).max():
                    if (
                        path.edges[-1][0] is not step
                    ):  # the two uses of x in x·x are no path of one edge after the other
                        path.edges.append((step, k))
                    break
            else:
                found.append(Path([(step, k)], effect))
    return [p for p in found if np.abs(p.effect).max() > 0]


class Stories:
    """What can be said of the paths to one variable."""

    def __init__(self, program: Program, i: int, name: str, all_paths: list[Path], total: np.ndarray) -> None:
        self.program, self.i, self.name, self.all = program, i, name, all_paths
        self.leads = program.leads(i)
        self.total = total

    def is_whole(self, path: Path) -> bool:
        """Whether the path carries all of the gradient."""
        return bool(np.abs(path.effect - self.total).max() <= 1e-7 * np.abs(self.total).max())

    def of(self, path: Path, c: float, loose: bool = True) -> list[Finding]:
        """What scales a path by ``c``, the likeliest first; nothing when the number has no origin."""
        if abs(c) < 1e-6:
            return [] if self.is_whole(path) else [self.dropped(path)]
        if abs(c + 1) < 1e-6:
            return [self.negated(path)]
        found = self._by_origin(path, abs(c), loose)
        if c < 0:
            also = self.negated(path)
            between = ", and " if self.is_whole(path) else "; and "
            found = [
                Finding(f"sign and {f.mistake}", f"{also.words}{between}{f.words}", "", f.cost + 0.5) for f in found
            ]
        return found

    def _by_origin(self, path: Path, c: float, loose: bool) -> list[Finding]:
        steps = [step for step, _ in path.edges]
        made = [self.program.made.get(step.inputs[i]) for step, i in path.edges]
        steps += [
            s for s in made if s is not None and s.call.op.name in ("multiply", "matmul") and s.inputs[0] == s.inputs[1]
        ]
        on_path = origins(self.program, dict.fromkeys(steps), self.leads)
        where = "" if self.is_whole(path) else f"{self._path(path)}: "
        times = (
            f"every entry is {c:.8g} times the right one: "
            if not where
            else f"{where}its part is {c:.8g} times the right one: "
        )
        found = sorted(
            (Finding(o.mistake, times + o.words, "", 1.0 + o.cost) for o in on_path if same(o.factor, c)),
            key=lambda f: f.cost,
        )
        if found:
            return list({f.words: f for f in found}.values())
        products = [
            Finding("two factors", f"{times}{a.words}; and {b.words}", "", 2.2)
            for k, a in enumerate(on_path)
            for b in on_path[k + 1 :]
            if same(a.factor * b.factor, c) and abs(a.factor * b.factor - 1) > 1e-6
        ]
        if products:
            return products[:2]
        if not loose:
            return []
        elsewhere = [step for step in self.program.live if step not in steps]
        found = [
            Finding(o.mistake, f"{times}{o.words}; it belongs to another term, and is applied here too", "", 1.6)
            for o in origins(self.program, elsewhere, self.leads | {s.out for s in elsewhere})
            if same(o.factor, c) and not o.cost
        ]
        if found and not self.is_whole(path):
            return found[:2]
        rest = [
            Finding(o.mistake, times + o.words, "", 2.5) for o in general(self.program, self.i) if same(o.factor, c)
        ]
        return (found + rest)[:2]

    # Words ------------------------------------------------------------------------------------------------------------

    def junction(self, path: Path) -> tuple[Step, int] | None:
        """The edge from a tensor that is used elsewhere, too."""
        for step, i in reversed(path.edges):
            if len(self.program.readers.get(step.inputs[i], ())) > 1:
                return step, i
        return None

    def _term(self, path: Path) -> str:
        """The term of a sum that the path computes."""
        for step, i in path.edges:
            if step.call.op.name in ("add", "subtract") and step.inputs[1 - i] in self.leads:
                return self.program.called(step.inputs[i], 3)
        return ""

    def _path(self, path: Path) -> str:
        term, edge = self._term(path), self.junction(path) or path.edges[-1]
        through = f"on the path of {self.program.called(edge[0].inputs[edge[1]])} through {self.program.where(edge[0])}"
        return f"{through} (the term {term})" if term else through

    def _square(self, path: Path) -> Step | None:
        """The product x·x at which the path begins."""
        step, i = path.edges[-1]
        made = self.program.made.get(step.inputs[i])
        return (
            made
            if made is not None and made.call.op.name in ("multiply", "matmul") and made.inputs[0] == made.inputs[1]
            else None
        )

    def statistic(self, path: Path) -> str:
        """Whether the path computes a mean, a variance or a norm of something that is also used directly, with which
        it is combined."""
        node = self._source(path)
        if node is None:
            return ""
        ops = [step.call.op.name for step, _ in path.edges] + (["square"] if self._square(path) else [])
        if not {"mean", "sum", "var", "matmul"} & set(ops):
            return ""
        x = self.program.values[node]
        step, i = path.edges[0]
        combined = {"subtract": 1, "divide": 1, "multiply": i}.get(step.call.op.name) == i and len(step.inputs) == 2
        if (
            not combined
            or step.arrays[i].size >= max(x.size, 2)
            or step.inputs[1 - i] == CONSTANT
            or not self.depends(step.inputs[1 - i], node)
        ):
            return ""
        if step.call.op.name == "subtract":
            return "mean" if "mean" in ops and step.arrays[0].shape == x.shape else ""
        squares = {"square", "power"} & set(ops)
        if "var" in ops or ("mean" in ops and squares and self._centred(node)):
            return "variance"
        if squares:
            return "norm (root mean square)" if "mean" in ops else "norm" if {"sqrt", "power"} & set(ops[:-1]) else ""
        return ""

    def _source(self, path: Path) -> int | None:
        """The tensor at which the path begins, when it is used elsewhere, too."""
        square = self._square(path)
        if square is not None:
            return square.inputs[0] if len(self.program.readers[square.inputs[0]]) > 2 else None
        edge = self.junction(path)
        return None if edge is None else edge[0].inputs[edge[1]]

    def depends(self, node: int, on: int) -> bool:
        """Whether a node was computed from another one."""
        stack = [node]
        while stack:
            n = stack.pop()
            if n == on:
                return True
            if n in self.program.made:
                stack += [x for x in self.program.made[n].inputs if x >= on]
        return False

    def _centred(self, node: int) -> bool:
        made = self.program.made.get(node)
        return made is not None and made.call.op.name == "subtract"

    def dropped(self, path: Path) -> Finding:
        """A path that is left out."""
        term, statistic, source = self._term(path), self.statistic(path), self._source(path)
        if statistic and source is not None:
            x, last = self.program.called(source), path.edges[-1][0]
            named = next((self.program.names[s.out] for s, _ in path.edges[1:] if s.out in self.program.names), "")
            through = f"the {statistic}{f' {named}' if named else ''}"
            words = (
                f"{x} also acts through {through}, which is treated as a constant: the path through"
                f" {self.program.where(self._square(path) or last)} is missing"
            )
            return Finding(f"missing term through the {statistic.split(' (')[0]}", words, "", 1.0)
        for step, i in path.edges:
            if step.call.op.name == "divide" and i == 1 and step.out not in self.program.recognised:
                words = (
                    f"the denominator {self.program.operand(step, 1)} is treated as a constant: the second term of the"
                    f" quotient rule is missing, in {self.program.where(step)}"
                )
                return Finding("missing term through the denominator", words, "", 1.02)
        edge = self.junction(path)
        if edge is None:
            step, _ = path.edges[-1]
            said = (
                f"the term {term} is left out" if term else f"the path through {self.program.where(step)} is left out"
            )
            return Finding(
                "missing term" if term else "missing path",
                f"{said}: its gradient is missing, as if it were a constant",
                "",
                1.05,
            )
        step, i = edge
        node = step.inputs[i]
        x, n = self.program.called(node), len(self.program.readers[node])
        if step.call.op.name == "multiply" and step.inputs[0] == step.inputs[1]:
            words = (
                f"the 2 of the square {self.program.expression(step)} is missing: {x} is used twice in it, and one of"
                f" the two is left out, in {self.program.where(step)}"
            )
            return Finding("factor", words, "", 1.0)
        what = f"the term {term} is left out: " if term else ""
        words = (
            f"{what}{x} is used {n} times and its gradients must be added; the one through {self.program.where(step)}"
            " is missing"
        )
        return Finding("missing term" if term and node == self.i else "missing path", words, "", 1.05)

    def negated(self, path: Path) -> Finding:
        """A path with the wrong sign."""
        if self.is_whole(path):
            return Finding("sign", "the sign is wrong", "", 1.0)
        for step, i in path.edges:
            op = step.call.op.name
            if op == "negative" or (op in ("subtract", "divide") and i == 1) or op == "reciprocal":
                inner = f"{self.program.expression(step)} with respect to {self.program.operand(step, i)}"
                words = (
                    f"the minus sign of the derivative of {inner} is forgotten, in {self.program.where(step)}: the sign"
                    f" of {self._short(path)} is wrong"
                )
                return Finding("sign", words, "", 1.05)
        return Finding("sign", f"the sign is wrong {self._path(path)}", "", 1.1)

    def _short(self, path: Path) -> str:
        term = self._term(path)
        return f"the term {term}" if term else "this part"

    def constants(self, chosen: list[Path]) -> Finding | None:
        """Several paths that are left out together, when that is one story."""
        statistics = [self.statistic(p) for p in chosen]
        if all(statistics):
            unique = sorted({s.split(" (")[0] for s in statistics})
            through = " and ".join(f"the {s}" for s in unique)
            source = self._source(chosen[0])
            x = self.name if source is None else self.program.called(source)
            words = f"{through} are treated as constants: {x} also acts through them, and these paths are missing"
            return Finding(f"missing term{'s' if len(unique) > 1 else ''} through {through}", words, "", 1.1)
        return None
