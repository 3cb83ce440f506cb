"""Paths of a program that carry one contribution each, and what is said of one that is scaled: dropped, negated, off by a factor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .factors import general, origins, same
from .program import CONSTANT, Program, Site, Step
from .whole import Finding


@dataclass(eq=False)
class Path:
    """The edges, as (step, number of the input), that carry the same contribution ``effect`` (in projection) to a variable."""

    edges: list[tuple[Step, int]]
    effect: np.ndarray

    def sites(self, c: float) -> list[Site]:
        """The edit that scales the contribution by ``c``."""
        step, i = self.edges[0]
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
            found = [Finding(f"sign and {f.mistake}", f"{also.words}; and {f.words}", "", f.cost + 0.5) for f in found]
        return found

    def _by_origin(self, path: Path, c: float, loose: bool) -> list[Finding]:
        steps = [step for step, _ in path.edges]
        on_path = origins(self.program, dict.fromkeys(steps), self.leads)
        where = "" if self.is_whole(path) else f"{self._path(path)}: "
        times = f"every entry is {c:.8g} times the right one: " if not where else f"{where}its part is {c:.8g} times the right one: "
        found = [Finding(o.mistake, times + o.words, "", 1.0) for o in on_path if same(o.factor, c)]
        if found:
            return list({f.words: f for f in found}.values())
        products = [
            Finding("two factors", f"{times}{a.words}; and {b.words}", "", 2.2)
            for k, a in enumerate(on_path) for b in on_path[k + 1 :] if same(a.factor * b.factor, c) and abs(a.factor * b.factor - 1) > 1e-6
        ]  # fmt: skip
        if products:
            return products[:2]
        if not loose:
            return []
        elsewhere = [step for step in self.program.live if step not in steps]
        found = [
            Finding(o.mistake, f"{times}{o.words}; it belongs to another term, and is applied here too", "", 1.6)
            for o in origins(self.program, elsewhere, self.leads | {s.out for s in elsewhere}) if same(o.factor, c)
        ]  # fmt: skip
        if found and not self.is_whole(path):
            return found[:2]
        rest = [Finding(o.mistake, times + o.words, "", 2.5) for o in general(self.program, self.i) if same(o.factor, c)]
        return (found + rest)[:2]

    # Words ------------------------------------------------------------------------------------------------------------------

    def _junction(self, path: Path) -> tuple[Step, int] | None:
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
        term, edge = self._term(path), self._junction(path) or path.edges[-1]
        through = f"on the path of {self.program.called(edge[0].inputs[edge[1]])} through {self.program.where(edge[0])}"
        return f"{through} (the term {term})" if term else through

    def statistic(self, path: Path) -> str:
        """Whether the path computes a mean, a variance or a norm of something that is also used directly."""
        edge = self._junction(path)
        if edge is None:
            return ""
        ops = [step.call.op.name for step, _ in path.edges[: path.edges.index(edge) + 1]]
        nodes = {step.out for step, _ in path.edges}
        squares = any(op in ("square", "power") or (op == "multiply" and step.inputs[0] == step.inputs[1]) for op, (step, _) in zip(ops, path.edges, strict=False))
        squares = squares or any(s.out in nodes and s.call.op.name == "multiply" and s.inputs[0] == s.inputs[1] for s in self.program.live)
        upstream = self._upstream_ops(path)
        if "var" in ops:
            return "variance"
        if "mean" in ops and not squares:
            return "variance" if upstream & {"square", "power"} and "sqrt" in upstream else "mean"
        if squares and ("mean" in ops or "mean" in upstream):
            return "variance" if self._centred(edge) else "norm (root mean square)"
        if squares and ("sum" in ops) and ("sqrt" in ops or "sqrt" in upstream):
            return "norm"
        return ""

    def _upstream_ops(self, path: Path) -> set[str]:
        """The ops just after the path's end, as long as they do not branch."""
        found, node = set(), path.edges[0][0].out
        for _ in range(4):
            readers = self.program.readers.get(node, ())
            if len(readers) != 1:
                break
            found.add(readers[0][0].call.op.name)
            node = readers[0][0].out
        return found

    def _centred(self, edge: tuple[Step, int]) -> bool:
        node = edge[0].inputs[edge[1]]
        made = self.program.made.get(node)
        if made is not None and made.call.op.name == "subtract":
            return True
        value = self.program.values[node]
        return value.size > 1 and abs(float(value.mean())) < 1e-9 * float(np.abs(value).max(initial=1))

    def dropped(self, path: Path) -> Finding:
        """A path that is left out."""
        edge = self._junction(path)
        term = self._term(path)
        statistic = self.statistic(path)
        if edge is None:
            step, _ = path.edges[-1]
            said = f"the term {term} is left out" if term else f"the path through {self.program.where(step)} is left out"
            return Finding("missing term" if term else "missing path", f"{said}: its gradient is missing, as if it were a constant", "", 1.05)
        step, i = edge
        node = step.inputs[i]
        x, n = self.program.called(node), len(self.program.readers[node])
        if statistic:
            end = path.edges[0][0]
            named = next((self.program.names[s.out] for s, _ in path.edges if s.out in self.program.names), "")
            words = f"{x} also acts through the {statistic}{f' {named}' if named else ''}, which is treated as a constant: the path through {self.program.where(step)} is missing"
            return Finding(f"missing term through the {statistic.split(' (')[0]}", words, f"as far as {self.program.where(end)}", 1.0)
        what = f"the term {term} is left out: " if term else ""
        words = f"{what}{x} is used {n} times and its gradients must be added; the one through {self.program.where(step)} is missing"
        return Finding("missing term" if term and node == self.i else "missing path", words, "", 1.05)

    def negated(self, path: Path) -> Finding:
        """A path with the wrong sign."""
        if self.is_whole(path):
            return Finding("sign", "the sign is wrong", "", 1.0)
        for step, i in path.edges:
            op = step.call.op.name
            if op == "negative" or (op in ("subtract", "divide") and i == 1) or op == "reciprocal":
                inner = f"{self.program.expression(step)} with respect to {self.program.operand(step, i)}"
                words = f"the minus sign of the derivative of {inner} is forgotten, in {self.program.where(step)}: the sign of {self._short(path)} is wrong"
                return Finding("sign", words, "", 1.05)
        return Finding("sign", f"the sign is wrong {self._path(path)}", "", 1.1)

    def _short(self, path: Path) -> str:
        term = self._term(path)
        return f"the term {term}" if term else "this part"

    def constants(self, chosen: list[Path]) -> Finding | None:
        """Several paths that are left out together, when that is one story."""
        statistics = [self.statistic(p) for p in chosen]
        if all(statistics):
            unique = list(dict.fromkeys(s.split(" (")[0] for s in statistics))
            through = " and ".join(f"the {s}" for s in unique)
            edge = self._junction(chosen[0])
            x = self.program.called(edge[0].inputs[edge[1]]) if edge else self.name
            words = f"{through} are treated as constants: {x} also acts through them, and these paths are missing"
            return Finding(f"missing term{'s' if len(unique) > 1 else ''} through {through}", words, "", 1.1)
        return None


def only_one_use(program: Program, i: int, kept: Step, n: int) -> str:
    """What is said when all but one of the uses of a variable are lost."""
    return f"used {n} times and its gradients must be added; only the one from {program.where(kept)} is there, as if it had overwritten the others"


__all__ = ["CONSTANT", "Path", "Stories", "only_one_use", "paths"]
