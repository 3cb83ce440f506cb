r"""The search for the edits of the backward program that turn the right gradient into the claimed one, the cheapest
first.

Tried in projection, then verified to the full: one path scaled, one edit, an edit with a path scaled, two paths, two
edits, another function differentiated, and what is left of several uses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from .edits import edits
from .factors import same, tidy
from .pairs import two_edits, two_paths, with_factor
from .paths import Path, Stories, paths
from .program import Program
from .steps import Site, Step
from .variations import variations
from .whole import Case, Finding, off

SECONDS = 5.0  # for pairs of edits


class Shared:
    """What all claims of one question share: the program's edits, what each does to the variables, and the time that
    is left."""

    def __init__(self, program: Program) -> None:
        self.program, self.edits = program, edits(program)
        self.started = time.monotonic()
        self._deltas: dict[int, dict[int, np.ndarray]] = {}

    def delta(self, k: int, i: int) -> np.ndarray | None:
        """By how much edit ``k`` changes the gradient of variable ``i``."""
        if k not in self._deltas:
            found = self.program.changes(self.edits[k].sites)
            self._deltas[k] = {v: found[v] for v in self.program.variables if v in found}
        return self._deltas[k].get(i)

    def late(self) -> bool:
        """Whether the time for pairs of edits is over."""
        return time.monotonic() - self.started > SECONDS


class Search:
    """What explains one claimed gradient."""

    def __init__(self, case: Case, shared: Shared) -> None:
        self.case, self.program, self.i = case, case.program, case.i
        self.shared, self.edits = shared, shared.edits
        self.right = case.right
        self.directions, self.tangents = self.program.tangents(self.i)
        self.flat = self.directions.reshape(len(self.directions), -1)
        self.total, self.aim = self.project(self.right), self.project(case.claimed)
        self.paths = paths(self.program, self.i, self.tangents)
        self.stories = Stories(self.program, self.i, case.name, self.paths, self.total)
        self.size = max(float(np.abs(self.total).max()), float(np.abs(self.aim).max())) or 1.0

    def project(self, v: np.ndarray) -> np.ndarray:
        """A gradient of the variable along the directions."""
        return self.flat @ np.ravel(v)

    def near(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Whether two projections agree, roughly."""
        return bool(np.abs(a - b).max() <= 1e-5 * self.size)

    def fits(self, sites: Sequence[Site]) -> bool:
        """Whether these edits give the claimed numbers, and not the right ones."""
        found = self.program.edited(self.i, sites)
        return self.case.close(self.case.claimed, found) and not self.case.close(found, self.right)

    def evidence(self, sites: Sequence[Site]) -> str:
        """How close the claimed numbers are to what the edits give."""
        return f"from what this mistake gives, yours {off(self.case.claimed, self.program.edited(self.i, sites))}"

    # One edit ---------------------------------------------------------------------------------------------------------

    def scaled_paths(self) -> Iterator[Finding]:
        """One path dropped, negated, doubled or off by a factor."""
        d = self.aim - self.total
        for path in self.paths:
            c = 1 + self.ratio(d, path.effect)
            if np.isnan(c) or abs(c - 1) < 1e-9 or (self.stories.is_whole(path) and same(c, -1)):
                continue
            for finding in self.stories.of(path, tidy(c)):
                if self.case.right.size == 1 and (
                    (finding.cost > 2 and not self.stories.is_whole(path)) or finding.cost > 2.2
                ):
                    continue
                exact = self._exact(path, c, finding)
                if exact is not None:
                    yield exact

    def whole(self) -> Iterator[Finding]:
        """Everything off by one factor, where no single path carries everything."""
        c = self.ratio(self.aim, self.total)
        if (
            np.isnan(c)
            or abs(c - 1) < 1e-9
            or any(self.stories.is_whole(p) for p in self.paths)
            or not self.case.close(self.case.claimed, tidy(c) * self.right)
        ):
            return
        for f in self.stories.of(Path([], self.total), tidy(c)) if c > 0 else ():
            yield f._replace(evidence=f"divided by {c:.8g} it {off(self.case.claimed / c, self.right)}")

    def no_origin(self) -> Iterator[Finding]:
        """A constant multiple, by a number that nothing in the program explains."""
        c = self.ratio(self.aim, self.total)
        many = int((np.abs(self.right) > 1e-3 * np.abs(self.right).max(initial=0)).sum()) >= 2
        if many and not np.isnan(c) and abs(c) > 1e-9 and self.case.close(self.case.claimed, c * self.right):
            sign = "the sign is wrong, and " if c < 0 else ""
            words = (
                f"{sign}every entry is {abs(c):.8g} times the right one: a number with no origin in this computation"
            )
            yield Finding(
                "sign and factor" if c < 0 else "factor",
                words,
                f"divided by {c:.8g} it {off(self.case.claimed / c, self.right)}",
                8.0,
            )

    def _exact(self, path: Path, c: float, finding: Finding) -> Finding | None:
        c = tidy(c)
        sites = path.sites(c)
        found = self.program.edited(self.i, sites)
        if self.case.close(found, self.right) or not self.case.close(self.case.claimed, found):
            return None
        said = (
            self.evidence(sites)
            if not self.stories.is_whole(path)
            else f"divided by {c:.8g} it {off(self.case.claimed / c, self.right)}" if c else ""
        )
        return finding._replace(evidence=said)

    def ratio(self, d: np.ndarray, effect: np.ndarray) -> float:
        """The c for which d = c · effect; not a number when there is none."""
        square = float(effect @ effect)
        if not square or float(np.abs(effect).max()) < 1e-9 * self.size:
            return float("nan")
        c = float(d @ effect) / square
        return c if self.near(d, c * effect) else float("nan")

    def effects(self) -> np.ndarray:
        """What each edit adds to the gradient, in projection."""
        found = np.zeros((len(self.edits), len(self.flat)))
        for k, e in enumerate(self.edits):
            if len(e.sites) == 1:
                (site,) = e.sites
                tangent = self.tangents.get(site.node)
                if tangent is not None:
                    with np.errstate(all="ignore"):
                        found[k] = tangent.reshape(len(tangent), -1) @ np.ravel(
                            site.more(self.program.steps[site.step].g)
                        )
            else:
                delta = self.shared.delta(k, self.i)
                if delta is not None:
                    found[k] = self.project(delta)
        return np.where(np.isfinite(found), found, 0.0)

    def single(self, effects: np.ndarray) -> Iterator[Finding]:
        """One edit."""
        for k in np.flatnonzero(np.abs(self.total + effects - self.aim).max(axis=1) <= 1e-5 * self.size):
            e = self.edits[k]
            if self.fits(e.sites):
                yield Finding(e.name, e.words, self.evidence(e.sites), e.cost)

    # Other searches ---------------------------------------------------------------------------------------------------

    def other_functions(self) -> Iterator[Finding]:
        """The right gradient of another function: a step skipped, a mask late, a constant the wrong way round."""
        for v in variations(self.program):
            g = v.program.gradient(self.i)
            if not np.isfinite(g).all() or self.case.close(g, self.right):
                continue
            if self.case.close(self.case.claimed, g):
                yield Finding(v.name, v.words, f"from what this gives, yours {off(self.case.claimed, g)}", v.cost)
                continue
            c = self.ratio(self.aim, self.project(g))
            if np.isnan(c) or self.case.right.size < 3 or not self.case.close(self.case.claimed, tidy(c) * g):
                continue
            whole = next((p for p in self.paths if self.stories.is_whole(p)), None)
            also = Finding("sign", "the sign is wrong", "", 0.5) if same(c, -1) else None
            if also is None and v.retained is not None and same(c, v.retained):
                yield Finding(
                    v.name, v.words, f"from what this gives, yours {off(self.case.claimed, tidy(c) * g)}", v.cost
                )
                continue
            for f in [also] if also else self.stories.of(whole, tidy(c), loose=False)[:1] if whole else []:
                words = f"two mistakes: {v.words}; and {f.words}"
                yield Finding(
                    f"{v.name} and {f.mistake}",
                    words,
                    f"from what this gives, yours {off(self.case.claimed, tidy(c) * g)}",
                    v.cost + f.cost + 0.6,
                )

    def few_uses(self) -> Iterator[Finding]:
        """Of three or more uses of a tensor, some are lost, or overwritten by the last."""
        d = self.aim - self.total
        for node, tangent in self.tangents.items():
            uses = self.program.readers.get(node, [])
            by_step: dict[int, list[tuple[Step, int]]] = {}
            for step, k in uses:
                by_step.setdefault(step.index, []).append((step, k))
            groups = list(by_step.values()) if len(by_step) > 1 else [[u] for u in uses]
            if not 2 <= len(groups) <= 10 or (len(groups) > self.case.right.size and len(groups) > 2):
                continue
            parts = np.array(
                [tangent.reshape(len(tangent), -1) @ np.ravel(sum(s.shares[k] for s, k in g)) for g in groups]
            )
            seen = np.flatnonzero(np.abs(parts).max(axis=1) > 1e-9 * self.size)
            if not len(seen):
                continue
            solved, *_ = np.linalg.lstsq(parts[seen].T, d, rcond=None)
            c = np.ones(len(groups))
            c[seen] = 1 + solved
            if not np.abs(parts.T @ (c - 1) - d).max() <= 1e-5 * self.size or not all(
                min(abs(x), abs(x - 1)) < 1e-4 for x in c
            ):
                continue
            kept = [g for x, g in zip(c, groups, strict=True) if abs(x - 1) < 1e-4]
            lost = [g for x, g in zip(c, groups, strict=True) if abs(x) < 1e-4]
            if not lost or (len(lost) == 1 and len(groups) == 2 and lost[0][0][0].visit == kept[0][0][0].visit):
                continue
            sites = [Site(s.index, node, lambda g, s=s, k=k: -s.share(k, g)) for group in lost for s, k in group]
            if self.fits(sites):
                yield self._lost(node, kept, lost, groups, sites)

    def _lost(
        self,
        node: int,
        kept: list[list[tuple[Step, int]]],
        lost: list[list[tuple[Step, int]]],
        groups: Sequence[object],
        sites: list[Site],
    ) -> Finding:
        x, n = self.program.called(node), len(groups)
        where = lambda g: self.program.where(g[0][0])  # noqa: E731
        every = [g[0][0] for g in [*kept, *lost]]
        looped = len({s.place for s in every}) == 1 and len({s.visit for s in every}) == n > 1
        gone = " and ".join(dict.fromkeys(where(g) for g in lost))
        if len(kept) == 1 and n > 1 and looped:
            at = sorted(g[0][0].index for g in [*kept, *lost]).index(kept[0][0][0].index)
            which = "the last" if at == n - 1 else "the first" if at == 0 else f"the {at + 1}th"
            words = (
                f"{x} is used {n} times, once at each step of the loop, and its gradients must be added; only that of"
                f" {which} step is there, as if it had overwritten the others (in {where(kept[0])})"
            )
            return Finding("overwritten", words, self.evidence(sites), 1.1)
        if looped:
            words = (
                f"{x} is used {n} times, once at each step of the loop, and its gradients must be added; those of"
                f" {len(lost)} steps are missing (in {gone})"
            )
        elif len(kept) == 1 and len(lost) > 1:
            words = (
                f"{x} is used {n} times and its gradients must be added; only the one from {where(kept[0])} is there:"
                f" the paths through {gone} are missing"
            )
        else:
            words = f"{x} is used {n} times and its gradients must be added; the one from {gone} is missing"
        return Finding("missing path", words, self.evidence(sites), 1.2)

    def run(self) -> list[Finding]:
        """Everything that explains the numbers, the cheapest first; pairs only when nothing simpler does."""
        effects = self.effects()
        scaled = [*self.scaled_paths(), *self.whole()]
        few = [
            f
            for f in self.few_uses()
            if f.mistake == "overwritten" or not any(s.mistake.startswith("missing") for s in scaled)
        ]
        found = [*scaled, *self.single(effects), *few, *self.other_functions()]
        pairs = list(two_paths(self))
        if not found or min(f.cost for f in found) > 2.4:
            found += [*pairs, *with_factor(self, effects)]
        else:
            found += [f for f in pairs if f.mistake == "symmetry assumed"]
        if not found:
            found += two_edits(self, effects)
        if not found:
            found += self.no_origin()
        return sorted(found, key=lambda f: f.cost)


def search(case: Case, shared: Shared) -> list[Finding]:
    """Everything that explains a claimed gradient of the right shape."""
    return Search(case, shared).run()


__all__ = ["Shared", "search"]
