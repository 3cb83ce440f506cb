"""Two mistakes at once: two paths scaled, an edit beside a path that is scaled, two edits, one of them below the
other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .factors import tidy
from .paths import Path
from .single import Edit
from .steps import Site
from .whole import Finding, off

if TYPE_CHECKING:
    from .search import Search

BUDGET = 260  # edits that are paired


class Pairs:
    """The part of a search that tries two mistakes together."""

    # Two edits --------------------------------------------------------------------------------------------------------

    def with_factor(self: Search, effects: np.ndarray) -> Iterator[Finding]:
        """An edit, and a path scaled."""
        if self.case.right.size < 3:
            return
        moved = np.flatnonzero(np.abs(effects).max(axis=1) > 1e-9 * self.size)
        d = self.aim - self.total - effects
        for path in self.paths:
            square = float(path.effect @ path.effect)
            if self.shared.late():
                return
            apart = d[moved] @ path.effect / square
            off_by = np.abs(d[moved] - apart[:, None] * path.effect).max(axis=1)
            hits = [(moved[n], 1 + apart[n]) for n in np.flatnonzero(off_by <= 1e-5 * self.size)]
            inside = path.effect + effects[moved]
            squares = (inside * inside).sum(axis=1)
            a = np.divide(
                inside @ (self.aim - self.total + path.effect),
                squares,
                out=np.zeros(len(moved)),
                where=squares > 1e-18 * self.size**2,
            )
            off_by = np.abs(self.aim - self.total + path.effect - a[:, None] * inside).max(axis=1)
            hits += [(moved[n], a[n]) for n in np.flatnonzero(off_by <= 1e-5 * self.size)]
            for k, c in hits:
                c, e = tidy(c), self.edits[k]
                if abs(c - 1) < 1e-6:
                    continue
                for finding in self.stories.of(path, c, loose=False)[:2]:
                    sites = [*e.sites, *path.sites(c, e.sites)]
                    if finding.cost < 2.5 and self.fits(sites):
                        yield self._both(e.name, e.words, e.cost, finding, sites)

    def _both(self: Search, name: str, words: str, cost: float, second: Finding, sites: Sequence[Site]) -> Finding:
        if second.mistake == "sign" and second.words == "the sign is wrong":
            return Finding(f"sign and {name}", f"the sign is wrong, and {words}", self.evidence(sites), cost + 1.2)
        return Finding(
            f"{name} and {second.mistake}",
            f"two mistakes: {words}; and {second.words}",
            self.evidence(sites),
            cost + second.cost + 0.6,
        )

    def two_paths(self: Search) -> Iterator[Finding]:
        """Two paths scaled, each by a number with an origin."""
        if self.case.right.size < 2 or len(self.paths) > 160:
            return
        d = self.aim - self.total
        effects = np.array([p.effect for p in self.paths])
        gram, onto = effects @ effects.T, effects @ d
        for j in range(len(self.paths)):
            for k in range(j + 1, len(self.paths)):
                det = gram[j, j] * gram[k, k] - gram[j, k] ** 2
                if det <= 1e-10 * gram[j, j] * gram[k, k]:
                    continue
                a = (onto[j] * gram[k, k] - onto[k] * gram[j, k]) / det
                b = (onto[k] * gram[j, j] - onto[j] * gram[j, k]) / det
                if abs(a) < 1e-6 or abs(b) < 1e-6 or not self.near(d, a * effects[j] + b * effects[k]):
                    continue
                yield from self._pair_of_paths(self.paths[j], tidy(1 + a), self.paths[k], tidy(1 + b))

    def _pair_of_paths(self: Search, p: Path, c: float, q: Path, e: float) -> Iterator[Finding]:
        if {c, e} == {0.0, 2.0} and (symmetric := self._symmetry(p, c, q, e)) is not None:
            yield symmetric
            return
        first, second = self.stories.of(p, c, loose=False), self.stories.of(q, e, loose=False)
        if not first or not second:
            return
        found = self.program.edited(self.i, [*p.sites(c), *q.sites(e)])
        if not self.case.close(self.case.claimed, found) or self.case.close(found, self.right):
            return
        evidence = f"from what these give, yours {off(self.case.claimed, found)}"
        if c == e == 0 and (one := self.stories.constants([p, q])):
            yield one._replace(evidence=evidence)
            return
        if (
            c == 0
            and e == 0
            and first[0].mistake.startswith("missing term through")
            != second[0].mistake.startswith("missing term through")
        ):
            return
        name = (
            f"{first[0].mistake} and {second[0].mistake}" if first[0].mistake != second[0].mistake else first[0].mistake
        )
        yield Finding(
            name,
            f"two mistakes: {first[0].words}; and {second[0].words}",
            evidence,
            first[0].cost + second[0].cost + 0.4,
        )

    def _symmetry(self: Search, p: Path, c: float, q: Path, e: float) -> Finding | None:
        """One of two uses counted twice in place of both."""
        found = self.program.edited(self.i, [*p.sites(c), *q.sites(e)])
        if not self.case.close(self.case.claimed, found) or self.case.close(found, self.right):
            return None
        kept = p if c else q
        step, i = self.stories.junction(kept) or kept.edges[-1]
        x = self.program.called(step.inputs[i])
        words = (
            f"a symmetric matrix is assumed: {x} is used twice, and twice the part through {self.program.where(step)}"
            " stands for the sum of both; the two agree only where the matrix between them is symmetric, as in 2Ax for"
            " (A + Aᵀ)x"
        )
        return Finding("symmetry assumed", words, f"from what this gives, yours {off(self.case.claimed, found)}", 0.97)

    def two_edits(self: Search, effects: np.ndarray) -> Iterator[Finding]:
        """Two edits, at different steps."""
        if self.case.right.size < 3:
            return
        order = [
            k
            for k in np.argsort([e.cost for e in self.edits], kind="stable")
            if np.abs(effects[k]).max() > 1e-9 * self.size
        ][:BUDGET]
        some = effects[order]
        d = self.aim - self.total
        for a, k in enumerate(order):
            left = d - some[a]
            for b in np.flatnonzero(np.abs(some[a + 1 :] - left).max(axis=1) <= 1e-5 * self.size):
                yield from self._pair(self.edits[k], self.edits[order[a + 1 + b]])
        yield from self._dependent([self.edits[k] for k in order])

    def _dependent(self: Search, chosen: list[Edit]) -> Iterator[Finding]:
        """The second edit works on what the first one hands down."""
        d = self.aim - self.total
        for first in chosen:
            if self.shared.late():
                return
            delta = self.program.changes(first.sites)
            base = delta.get(self.i)
            left = d - (0.0 if base is None else self.project(base))
            below = min(s.step for s in first.sites)
            for second in chosen:
                if second is first or len(second.sites) > 1:
                    continue
                (site,) = second.sites
                step = self.program.steps[site.step]
                moved, tangent = delta.get(step.out), self.tangents.get(site.node)
                if moved is None or tangent is None or site.step >= below:
                    continue
                effect = tangent.reshape(len(tangent), -1) @ np.ravel(site.more(step.g + moved))
                if self.near(effect, left):
                    yield from self._pair(first, second)

    def _pair(self: Search, first: Edit, second: Edit) -> Iterator[Finding]:
        if {s[:2] for s in first.sites} & {s[:2] for s in second.sites}:
            return
        sites = [*first.sites, *second.sites]
        if self.fits(sites):
            words = f"two mistakes: {first.words}; and {second.words}"
            name = first.name if first.name == second.name else f"{first.name} and {second.name}"
            yield Finding(name, words, self.evidence(sites), first.cost + second.cost + 0.6)
