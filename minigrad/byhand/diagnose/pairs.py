"""Two mistakes at once: two paths scaled, an edit beside a path that is scaled, two edits, one of them below the
other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .factors import tidy
from .paths import Path
from .single import Edit
from .steps import CONSTANT, Site, Step
from .whole import Finding, off

if TYPE_CHECKING:
    from .search import Search

BUDGET = 260  # edits that are paired


# Two edits --------------------------------------------------------------------------------------------------------


def with_factor(s: Search, effects: np.ndarray) -> Iterator[Finding]:
    """An edit, and a path scaled."""
    if s.case.right.size < 3:
        return
    moved = np.flatnonzero(np.abs(effects).max(axis=1) > 1e-9 * s.size)
    d = s.aim - s.total - effects
    for path in s.paths:
        square = float(path.effect @ path.effect)
        if s.shared.late():
            return
        apart = d[moved] @ path.effect / square
        off_by = np.abs(d[moved] - apart[:, None] * path.effect).max(axis=1)
        hits = [(moved[n], 1 + apart[n]) for n in np.flatnonzero(off_by <= 1e-5 * s.size)]
        inside = path.effect + effects[moved]
        squares = (inside * inside).sum(axis=1)
        a = np.divide(
            inside @ (s.aim - s.total + path.effect),
            squares,
            out=np.zeros(len(moved)),
            where=squares > 1e-18 * s.size**2,
        )
        off_by = np.abs(s.aim - s.total + path.effect - a[:, None] * inside).max(axis=1)
        hits += [(moved[n], a[n]) for n in np.flatnonzero(off_by <= 1e-5 * s.size)]
        for k, c in hits:
            c, e = tidy(c), s.edits[k]
            if abs(c - 1) < 1e-6:
                continue
            for finding in s.stories.of(path, c, loose=False)[:2]:
                sites = [*e.sites, *path.sites(c, e.sites)]
                if finding.cost < 2.5 and s.fits(sites):
                    yield _both(s, e.name, e.words, e.cost, finding, sites)


def _both(s: Search, name: str, words: str, cost: float, second: Finding, sites: Sequence[Site]) -> Finding:
    if second.mistake == "sign" and second.words == "the sign is wrong":
        return Finding(f"sign and {name}", f"the sign is wrong, and {words}", s.evidence(sites), cost + 1.2)
    return Finding(
        f"{name} and {second.mistake}",
        f"two mistakes: {words}; and {second.words}",
        s.evidence(sites),
        cost + second.cost + 0.6,
    )


def two_paths(s: Search) -> Iterator[Finding]:
    """Two paths scaled, each by a number with an origin."""
    if s.case.right.size < 2 or len(s.paths) > 160:
        return
    d = s.aim - s.total
    effects = np.array([p.effect for p in s.paths])
    gram, onto = effects @ effects.T, effects @ d
    for j in range(len(s.paths)):
        for k in range(j + 1, len(s.paths)):
            det = gram[j, j] * gram[k, k] - gram[j, k] ** 2
            if det <= 1e-10 * gram[j, j] * gram[k, k]:
                continue
            a = (onto[j] * gram[k, k] - onto[k] * gram[j, k]) / det
            b = (onto[k] * gram[j, j] - onto[j] * gram[j, k]) / det
            if abs(a) < 1e-6 or abs(b) < 1e-6 or not s.near(d, a * effects[j] + b * effects[k]):
                continue
            yield from _pair_of_paths(s, s.paths[j], tidy(1 + a), s.paths[k], tidy(1 + b))


def _pair_of_paths(s: Search, p: Path, c: float, q: Path, e: float) -> Iterator[Finding]:
    if {c, e} == {0.0, 2.0} and (symmetric := _symmetry(s, p, c, q, e)) is not None:
        yield symmetric
        return
    first, second = s.stories.of(p, c, loose=False), s.stories.of(q, e, loose=False)
    if not first or not second:
        return
    found = s.program.edited(s.i, [*p.sites(c), *q.sites(e)])
    if not s.case.close(s.case.claimed, found) or s.case.close(found, s.right):
        return
    evidence = f"from what these give, yours {off(s.case.claimed, found)}"
    if c == e == 0 and (one := s.stories.constants([p, q])):
        yield one._replace(evidence=evidence)
        return
    if (
        c == 0
        and e == 0
        and first[0].mistake.startswith("missing term through") != second[0].mistake.startswith("missing term through")
    ):
        return
    name = f"{first[0].mistake} and {second[0].mistake}" if first[0].mistake != second[0].mistake else first[0].mistake
    yield Finding(
        name, f"two mistakes: {first[0].words}; and {second[0].words}", evidence, first[0].cost + second[0].cost + 0.4
    )


def _symmetry(s: Search, p: Path, c: float, q: Path, e: float) -> Finding | None:
    """One of two uses, in a product with the other, counted twice in place of both."""
    ends = [s.stories.junction(path) or path.edges[-1] for path in (p, q)]
    if not _one_in_the_other(s, *ends):
        return None
    found = s.program.edited(s.i, [*p.sites(c), *q.sites(e)])
    if not s.case.close(s.case.claimed, found) or s.case.close(found, s.right):
        return None
    kept = p if c else q
    step, i = s.stories.junction(kept) or kept.edges[-1]
    x = s.program.called(step.inputs[i])
    words = (
        f"a symmetric matrix is assumed: {x} is used twice, and twice the part through {s.program.where(step)}"
        " stands for the sum of both; the two agree only where the matrix between them is symmetric, as in 2Ax for"
        " (A + Aᵀ)x"
    )
    return Finding("symmetry assumed", words, f"from what this gives, yours {off(s.case.claimed, found)}", 0.97)


def _one_in_the_other(s: Search, a: tuple[Step, int], b: tuple[Step, int]) -> bool:
    """Whether two uses of a tensor are multiplied with each other, as in xᵀAx: one reads what the other made."""
    for (first, _), (second, i) in ((a, b), (b, a)):
        others = [n for k, n in enumerate(second.inputs) if k != i and n != CONSTANT]
        if second.call.op.name in ("matmul", "multiply", "_einsum") and any(
            s.stories.depends(n, first.out) for n in others
        ):
            return True
    return False


def _left_out_together(s: Search) -> Iterator[Finding]:
    """Two paths that are left out, one of them a part of the other."""
    for j, p in enumerate(s.paths[:40]):
        for q in s.paths[j + 1 : 40]:
            if s.shared.late() or s.stories.is_whole(p) or s.stories.is_whole(q):
                break
            if s.fits(sites := [*p.sites(0.0), *q.sites(0.0)]):
                first, second = s.stories.dropped(p), s.stories.dropped(q)
                words = f"two mistakes: {first.words}; and {second.words}"
                yield Finding(first.mistake, words, s.evidence(sites), first.cost + second.cost + 0.4)


def _in_loops(s: Search, chosen: list[Edit]) -> Iterator[Finding]:
    """Two slips, each at every step of a loop."""
    repeated = [e for e in chosen if len(e.sites) > 1][:40]
    for j, first in enumerate(repeated):
        for second in repeated[j + 1 :]:
            if s.shared.late():
                return
            yield from _pair(s, first, second)


def two_edits(s: Search, effects: np.ndarray) -> Iterator[Finding]:
    """Two edits, at different steps."""
    if s.case.right.size < 3:
        return
    order = [
        k for k in np.argsort([e.cost for e in s.edits], kind="stable") if np.abs(effects[k]).max() > 1e-9 * s.size
    ][:BUDGET]
    some = effects[order]
    d = s.aim - s.total
    for a, k in enumerate(order):
        left = d - some[a]
        for b in np.flatnonzero(np.abs(some[a + 1 :] - left).max(axis=1) <= 1e-5 * s.size):
            yield from _pair(s, s.edits[k], s.edits[order[a + 1 + b]])
    yield from _dependent(s, [s.edits[k] for k in order])
    yield from _in_loops(s, [s.edits[k] for k in order])
    yield from _left_out_together(s)


def _dependent(s: Search, chosen: list[Edit]) -> Iterator[Finding]:
    """The second edit works on what the first one hands down."""
    d = s.aim - s.total
    for first in chosen:
        if s.shared.late():
            return
        delta = s.program.changes(first.sites)
        base = delta.get(s.i)
        left = d - (0.0 if base is None else s.project(base))
        below = min(x.step for x in first.sites)
        for second in chosen:
            if second is first or len(second.sites) > 1:
                continue
            (site,) = second.sites
            step = s.program.steps[site.step]
            moved, tangent = delta.get(step.out), s.tangents.get(site.node)
            if moved is None or tangent is None or site.step >= below:
                continue
            effect = tangent.reshape(len(tangent), -1) @ np.ravel(site.more(step.g + moved))
            if s.near(effect, left):
                yield from _pair(s, first, second)


def _pair(s: Search, first: Edit, second: Edit) -> Iterator[Finding]:
    if {x[:2] for x in first.sites} & {x[:2] for x in second.sites}:
        return
    sites = [*first.sites, *second.sites]
    if s.fits(sites):
        words = f"two mistakes: {first.words}; and {second.words}"
        name = first.name if first.name == second.name else f"{first.name} and {second.name}"
        yield Finding(name, words, s.evidence(sites), first.cost + second.cost + 0.6)
