r"""The search for the edits of the backward program that turn the right gradient into the claimed one, the cheapest
first.

Tried in projection, then verified to the full: one path scaled, one edit, an edit with a path scaled, two paths, two
edits (one of them perhaps below the other), another function differentiated, and what is left of several uses.  It has
more than 300 lines because each of these is a way of its own through the same projections.
"""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from .hypotheses import edits
from .operands import SYMMETRIC, variations
from .paths import Path, Stories, paths, projected, same, tidy
from .program import CONSTANT, PRODUCTS, Edit, Program, Site, Step, overlap
from .verdicts import Case, Finding, off

Uses = list[tuple[Step, int]]
SECONDS = 5.0  # for pairs of edits


class Shared:
    """What all claims of one question share: the edits, what each does to the variables, the time that is left."""

    def __init__(self, program: Program) -> None:
        self.program, self.edits = program, edits(program)
        self.started = time.monotonic()
        self._deltas: dict[int, dict[int, np.ndarray]] = {}
        self.searches: dict[int, Search] = {}
        self._pairs: dict[tuple[int, int], dict[int, np.ndarray]] = {}

    def delta(self, k: int, i: int) -> np.ndarray | None:
        """By how much edit ``k`` changes the gradient of variable ``i``."""
        if k not in self._deltas:
            self._deltas[k] = self._of_variables(self.edits[k].sites)
        return self._deltas[k].get(i)

    def pair(self, first: Edit, second: Edit) -> dict[int, np.ndarray]:
        """By how much two edits together change the gradients of the variables."""
        key = (id(first), id(second))
        if key not in self._pairs:
            self._pairs[key] = self._of_variables([*first.sites, *second.sites])
        return self._pairs[key]

    def _of_variables(self, sites: Sequence[Site]) -> dict[int, np.ndarray]:
        found = self.program.changes(sites)
        return {v: found[v] for v in self.program.variables if v in found}

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
        return self.case.explained_by(self.program.edited(self.i, sites))

    def evidence(self, sites: Sequence[Site]) -> str:
        """How close the claimed numbers are to what the edits give."""
        return f"from what this mistake gives, yours {self.off(self.program.edited(self.i, sites))}"

    def off(self, found: np.ndarray) -> str:
        """How far the claimed numbers are from others."""
        return off(self.case.claimed, found)

    # One edit --------------------------------------------------------------------------------------------------------

    def scaled_paths(self) -> Iterator[Finding]:
        """One path dropped, negated, doubled or off by a factor."""
        d = self.aim - self.total
        for path in self.paths:
            c = 1 + self.ratio(d, path.effect)
            if np.isnan(c) or abs(c - 1) < 1e-9 or (self.stories.is_whole(path) and same(c, -1)):
                continue
            for finding in self.stories.of(path, tidy(c)):
                most = 9.9 if self.case.right.size > 1 else 2.46 if self.stories.is_whole(path) else 2.0
                exact = self._exact(path, c, finding) if finding.cost <= most else None
                if exact is not None:
                    yield exact

    def whole(self) -> Iterator[Finding]:
        """Everything off by one factor, where no single path carries everything."""
        c = self.ratio(self.aim, self.total)
        if np.isnan(c) or abs(c - 1) < 1e-9 or any(map(self.stories.is_whole, self.paths)):
            return
        if not self.case.close(self.case.claimed, tidy(c) * self.right):
            return
        for f in self.stories.of(Path([], self.total), tidy(c)) if c > 0 else ():
            yield f._replace(evidence=self._divided(c))

    def no_origin(self) -> Iterator[Finding]:
        """A constant multiple, by a number that nothing in the program explains."""
        c = self.ratio(self.aim, self.total)
        many = int((np.abs(self.right) > 1e-3 * np.abs(self.right).max(initial=0)).sum()) >= 2
        if many and not np.isnan(c) and abs(c) > 1e-9 and self.case.close(self.case.claimed, c * self.right):
            said, name = ("the sign is wrong, and ", "sign and factor") if c < 0 else ("", "factor")
            said += f"every entry is {abs(c):.8g} times the right one: a number with no origin in this computation"
            yield Finding(name, said, self._divided(c), 8.0)

    def _divided(self, c: float) -> str:
        return f"divided by {c:.8g} it {off(self.case.claimed / c, self.right)}"

    def _exact(self, path: Path, c: float, finding: Finding) -> Finding | None:
        c = tidy(c)
        sites = list(finding.sites) or path.sites(c, at=finding.at)
        if not self.fits(sites):
            return None
        said = self.evidence(sites) if not self.stories.is_whole(path) else self._divided(c) if c else ""
        return finding._replace(evidence=said, sites=tuple(sites))

    def ratio(self, d: np.ndarray, effect: np.ndarray) -> float:
        """The c for which d = c · effect; not a number when there is none."""
        square = float(effect @ effect)
        if not square or float(np.abs(effect).max()) < 1e-9 * self.size:
            return float("nan")
        c = float(d @ effect) / square
        return c if self.near(d, c * effect) else float("nan")

    @cached_property
    def effects(self) -> np.ndarray:
        """What each edit adds to the gradient, in projection."""
        found = np.zeros((len(self.edits), len(self.flat)))
        for k, e in enumerate(self.edits):
            if len(e.sites) > 1:
                delta = self.shared.delta(k, self.i)
                if delta is not None:
                    found[k] = self.project(delta)
            elif e.sites[0].node in self.tangents:
                with np.errstate(all="ignore"):
                    change = e.sites[0].more(self.program.steps[e.sites[0].step].g)
                    found[k] = projected(self.tangents[e.sites[0].node], change)
        return np.where(np.isfinite(found), found, 0.0)

    def single(self, effects: np.ndarray) -> Iterator[Finding]:
        """One edit."""
        for k in np.flatnonzero(np.abs(self.total + effects - self.aim).max(axis=1) <= 1e-5 * self.size):
            e = self.edits[k]
            if self.fits(e.sites):
                yield Finding(e.name, e.words, self.evidence(e.sites), e.cost, e.sites)

    # Other searches --------------------------------------------------------------------------------------------------

    def other_functions(self) -> Iterator[Finding]:
        """The right gradient of another function: a step skipped, a mask late, a constant the wrong way round."""
        for v in variations(self.program):
            g = v.program.gradient(self.i)
            if not np.isfinite(g).all() or self.case.close(g, self.right):
                continue
            if self.case.close(self.case.claimed, g):
                yield Finding(v.name, v.words, f"from what this gives, yours {self.off(g)}", v.cost, program=v.program)
                continue
            c = self.ratio(self.aim, self.project(g))
            if np.isnan(c) or self.case.right.size < 3 or not self.case.close(self.case.claimed, tidy(c) * g):
                continue
            evidence = f"from what this gives, yours {self.off(tidy(c) * g)}"
            whole = next((p for p in self.paths if self.stories.is_whole(p)), None)
            also = [Finding("sign", "the sign is wrong", "", 0.5)] if same(c, -1) else []
            if not also and v.retained is not None and same(c, v.retained):
                yield Finding(v.name, v.words, evidence, v.cost)
                continue
            for f in also or (self.stories.of(whole, tidy(c), loose=False)[:1] if whole else []):
                words, cost = f"two mistakes: {v.words}; and {f.words}", v.cost + f.cost + 0.6
                yield Finding(f"{v.name} and {f.mistake}", words, evidence, cost)

    def few_uses(self) -> Iterator[Finding]:
        """Of three or more uses of a tensor, some are lost, or overwritten by the last."""
        d = self.aim - self.total
        for node, tangent in self.tangents.items():
            uses = self.program.readers.get(node, [])
            by_step: dict[int, Uses] = {}
            for step, k in uses:
                by_step.setdefault(step.index, []).append((step, k))
            groups = list(by_step.values()) if len(by_step) > 1 else [[u] for u in uses]
            if not 2 <= len(groups) <= 10 or (len(groups) > self.case.right.size and len(groups) > 2):
                continue
            parts = np.array([projected(tangent, sum(s.shares[k] for s, k in g)) for g in groups])
            seen = np.flatnonzero(np.abs(parts).max(axis=1) > 1e-9 * self.size)
            if not len(seen):
                continue
            solved, *_ = np.linalg.lstsq(parts[seen].T, d, rcond=None)
            c = np.ones(len(groups))
            c[seen] = 1 + solved
            near = np.abs(parts.T @ (c - 1) - d).max() <= 1e-5 * self.size
            if not near or not all(min(abs(x), abs(x - 1)) < 1e-4 for x in c):
                continue
            kept = [g for x, g in zip(c, groups, strict=True) if abs(x - 1) < 1e-4]
            lost = [g for x, g in zip(c, groups, strict=True) if abs(x) < 1e-4]
            if not lost or (len(lost) == 1 and len(groups) == 2 and lost[0][0][0].visit == kept[0][0][0].visit):
                continue
            sites = [Site(s.index, node, lambda g, s=s, k=k: -s.share(k, g)) for group in lost for s, k in group]
            if self.fits(sites):
                yield self._lost(node, kept, lost, groups, sites)

    def _lost(self, node: int, kept: list[Uses], lost: list[Uses], groups: list[Uses], sites: list[Site]) -> Finding:
        x, n = self.program.called(node), len(groups)
        every = [g[0][0] for g in [*kept, *lost]]
        looped = len({s.place for s in every}) == 1 and len({s.visit for s in every}) == n > 1
        there, *gone = (self.program.where(g[0][0]) for g in [kept[0] if kept else lost[0], *lost])
        missing = " and ".join(dict.fromkeys(gone))
        if len(kept) == 1 and n > 1 and looped:
            at = sorted(s.index for s in every).index(every[0].index)
            which = "the last" if at == n - 1 else "the first" if at == 0 else f"the {at + 1}th"
            words = (
                f"{x} is used {n} times, once at each step of the loop, and its gradients must be added; only that of"
                f" {which} step is there, as if it had overwritten the others (in {there})")
            return Finding("overwritten", words, self.evidence(sites), 1.0, tuple(sites))
        words = f"{x} is used {n} times and its gradients must be added; "
        if looped:
            words = (
                f"{x} is used {n} times, once at each step of the loop, and its gradients must be added; those of"
                f" {len(lost)} steps are missing (in {missing})")
        elif len(kept) == 1 and len(lost) > 1:
            words += f"only the one from {there} is there: the paths through {missing} are missing"
        else:
            words += f"the ones from {missing} are missing" if len(lost) > 1 else f"the one from {missing} is missing"
        return Finding("missing path", words, self.evidence(sites), 1.2, tuple(sites))

    def after(self, first: Finding) -> Iterator[Finding]:
        """A second slip, on top of one that another claim has shown."""
        program = first.program or self.program.under(first.sites)
        tangents = program.tangents(self.i)[1] if first.program is not None else self.tangents
        total = self.project(program.gradient(self.i))
        d = self.aim - total
        if self.near(d, 0 * d):
            return
        for f, sites in self.scaled_below(program, first.sites, tangents, total, 2.5):
            if self._gives(program, sites):
                yield self._second(first, f, program, sites)
        for e in edits(program):
            if self.shared.late():
                return
            if overlap(program, first.sites, e.sites):
                continue
            with np.errstate(all="ignore"):
                if len(e.sites) == 1:
                    tangent, g = tangents.get(e.sites[0].node), program.steps[e.sites[0].step].g
                    if tangent is None or g is None:
                        continue
                    effect = projected(tangent, e.sites[0].more(g))
                else:
                    delta = program.changes(e.sites).get(self.i)
                    effect = 0 * d if delta is None else self.project(delta)
            if np.isfinite(effect).all() and self.near(effect, d) and self._gives(program, e.sites):
                yield self._second(first, _found(e), program, e.sites)

    def _gives(self, program: Program, sites: Sequence[Site]) -> bool:
        """Whether these edits of an edited program give the claimed numbers."""
        return self.case.explained_by(program.edited(self.i, sites))

    def scaled_below(
        self, program: Program, taken: Sequence[Site], tangents: dict[int, np.ndarray], total: np.ndarray, most: float
    ) -> Iterator[tuple[Finding, list[Site]]]:
        """The paths of an edited program that, scaled, would lead to the claimed numbers, with what is said of them."""
        chains = paths(program, self.i, tangents)
        stories = Stories(program, self.i, self.case.name, chains, total)
        for path in chains:
            c = 1 + self.ratio(self.aim - total, path.effect)
            if np.isnan(c) or abs(c - 1) < 1e-9:
                continue
            for f in stories.of(path, tidy(c), loose=False)[:2]:
                sites = path.sites(tidy(c), taken, f.at)
                if f.cost < most and not overlap(program, taken, sites):
                    yield f, sites

    def _second(self, first: Finding, second: Finding, program: Program, sites: Sequence[Site]) -> Finding:
        evidence = f"from what these give, yours {self.off(program.edited(self.i, sites))}"
        return _two(first._replace(words=FACTOR.sub("", first.words)), second, evidence, 0.4)

    def run(self) -> list[Finding]:
        """Everything that explains the numbers, the cheapest first; pairs only when nothing simpler does."""
        effects = self.effects
        scaled = [*self.scaled_paths(), *self.whole()]
        few = [
            f for f in self.few_uses()
            if f.mistake == "overwritten" or not any(s.mistake.startswith("missing") for s in scaled)]
        found = [*scaled, *self.single(effects), *few, *self.other_functions()]
        pairs = list(two_paths(self))
        if not found or min(f.cost for f in found) > 2.4:
            found += [*pairs, *with_factor(self, effects)]
            said = {part for f in found for part in f.parts}
            some = [e for e in self.edits if e.words in said]
            if self.case.right.size >= 3:
                found += _with_path_below(self, some[:6]) if some else []
        else:
            found += [f for f in pairs if f.mistake == "symmetry assumed"]
        if not found:
            found += two_edits(self, effects)
        if not found:
            found += self.no_origin()
        return sorted(found, key=lambda f: f.cost)


def search(case: Case, shared: Shared) -> list[Finding]:
    """Everything that explains a claimed gradient of the right shape."""
    shared.searches[case.i] = Search(case, shared)
    return shared.searches[case.i].run()


def after_turning(case: Case, shared: Shared) -> Iterator[Finding]:
    """One mistake, and the result transposed or flipped."""
    claimed = case.claimed
    transposed = (claimed.T, "transposed: the axes are exchanged")
    for turned, words in (transposed, (np.flip(claimed), "flipped along every axis")):
        if turned.shape != case.right.shape or case.close(turned, claimed):
            continue
        s = copy.copy(shared.searches[case.i])
        s.case, s.aim = case._replace(claimed=turned), s.project(turned)
        for f in (*s.scaled_paths(), *s.single(s.effects)):
            name = f"{f.mistake} and {words.split(':')[0].split(' ')[0]}"
            both = f"two mistakes: {f.words}; and {words}"
            yield Finding(name, both, f.evidence, f.cost + 1.2, parts=(f.words, words))


# Several claims ------------------------------------------------------------------------------------------------------


def together(cases: Sequence[Case], found: dict[int, list[Finding]], shared: Shared) -> None:
    """Judge what was found for several claims by each other.

    A slip that explains several of them is the likelier, one that would spoil a claim that is right the less likely.
    What explains one claim is tried on those that are not recognised: alone, and with a second slip.
    """
    same_shape = [c for c in cases if c.claimed.shape == c.right.shape and np.isfinite(c.claimed).all()]
    wrong = {c.i: c for c in same_shape if c.i in found}
    if len(cases) < 2:
        return
    passed: dict[int, list[Finding]] = {i: [] for i in wrong}
    for i in wrong:
        for k, f in enumerate(found[i][:12]):
            if not f.sites and f.program is None:
                continue
            given = _gradients(shared.program, f)
            spoils = any(not c.close(c.claimed, given[c.i]) for c in same_shape if c.i not in found)
            others = [c for c in wrong.values() if c.i != i]
            explained = [c for c in others if c.explained_by(given[c.i])]
            found[i][k] = f._replace(cost=f.cost + 0.3 * spoils - 0.12 * min(2, len(explained)))
            for c in explained:
                if not found[c.i] or (c.right.size < 3 and all(f.words != other.words for other in found[c.i])):
                    evidence = f"from what this mistake gives, yours {off(c.claimed, given[c.i])}"
                    passed[c.i].append(found[i][k]._replace(words=FACTOR.sub("", f.words), evidence=evidence))
    for i, more in passed.items():
        found[i] += more
    shared.started = max(shared.started, time.monotonic() - SECONDS + 3.0)
    for i in wrong:
        if not found[i]:
            known = [f for j in wrong if j != i for f in found[j][:2] if f.sites or f.program is not None]
            s = shared.searches[i]
            for f in list({f.words: f for f in known}.values())[:6]:
                found[i] += s.after(f)
        found[i].sort(key=lambda f: f.cost)


FACTOR = re.compile(r"every entry is [-\d.e+]+ times the right one: |its part is [-\d.e+]+ times the right one: ")


def _gradients(program: Program, f: Finding) -> dict[int, np.ndarray]:
    """What a finding makes of the gradient of each variable."""
    if f.program is not None:
        return {i: f.program.gradient(i) for i in program.variables}
    delta = program.changes(f.sites)
    return {i: program.gradient(i) + delta[i] if i in delta else program.gradient(i) for i in program.variables}


# Two mistakes at once ------------------------------------------------------------------------------------------------

BUDGET = 260  # edits that are paired


def _names(first: str, second: str) -> str:
    """Two mistakes as a verdict."""
    return first if second == first or second in first.split(" and ") else f"{first} and {second}"


def _found(e: Edit) -> Finding:
    return Finding(e.name, e.words, "", e.cost, e.sites)


def _two(first: Finding, second: Finding, evidence: str, more: float, sites: Sequence[Site] = ()) -> Finding:
    """Two mistakes as one finding; ``more`` is how far-fetched it is that there are two."""
    words, cost = f"two mistakes: {first.words}; and {second.words}", first.cost + second.cost + more
    parts = (first.words, second.words)
    return Finding(_names(first.mistake, second.mistake), words, evidence, cost, tuple(sites), parts=parts)


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
        aim = s.aim - s.total + path.effect
        a = np.divide(inside @ aim, squares, out=np.zeros(len(moved)), where=squares > 1e-18 * s.size**2)
        off_by = np.abs(aim - a[:, None] * inside).max(axis=1)
        hits += [(moved[n], a[n]) for n in np.flatnonzero(off_by <= 1e-5 * s.size)]
        for k, c in hits:
            c, e = tidy(c), s.edits[k]
            if abs(c - 1) < 1e-6:
                continue
            for finding in s.stories.of(path, c, loose=False)[:2]:
                scaled = path.sites(c, e.sites, finding.at)
                sites = [*e.sites, *scaled]
                if finding.cost < 2.5 and not overlap(s.program, e.sites, scaled) and s.fits(sites):
                    yield _both(s, _found(e), finding, sites)


def _both(s: Search, first: Finding, second: Finding, sites: Sequence[Site]) -> Finding:
    evidence, name = s.evidence(sites), f"sign and {first.mistake}"
    if second.mistake == "sign" and second.words == "the sign is wrong":
        return Finding(name, f"the sign is wrong, and {first.words}", evidence, first.cost + 1.2, tuple(sites))
    return _two(first, second, evidence, 0.6, sites)


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
            for p, q, x, y in ((j, k, a, b), (k, j, b, a)):  # q within p: p's factor acts on it, too
                if abs(1 + x) > 1e-6 and abs(x) > 1e-6 and abs(1 + y / (1 + x) - 1 - y) > 1e-9:
                    for f in _pair_of_paths(s, s.paths[q], tidy(1 + y / (1 + x)), s.paths[p], tidy(1 + x)):
                        if "sign and" not in f.mistake:
                            yield f


def _pair_of_paths(s: Search, p: Path, c: float, q: Path, e: float) -> Iterator[Finding]:
    if {c, e} == {0.0, 2.0} and (symmetric := _symmetry(s, p, c, q, e)) is not None:
        yield symmetric
        return
    first, second = s.stories.of(p, c, loose=False), s.stories.of(q, e, loose=False)
    if not first or not second:
        return
    inner = p.sites(c, at=first[0].at)
    sites = (*inner, *q.sites(e, inner, second[0].at))
    found = s.program.edited(s.i, sites)
    if not s.case.explained_by(found):
        return
    evidence = f"from what these give, yours {s.off(found)}"
    if c == e == 0 and (one := s.stories.constants([p, q])):
        yield one._replace(evidence=evidence, sites=sites)
        return
    through = [some[0].mistake.startswith("missing term through") for some in (first, second)]
    if c == e == 0 and through[0] != through[1]:
        return
    yield _two(first[0], second[0], evidence, 0.55, sites)


def _symmetry(s: Search, p: Path, c: float, q: Path, e: float) -> Finding | None:
    """One of two uses, in a product with the other, counted twice in place of both."""
    ends = [s.stories.junction(path) or path.edges[-1] for path in (p, q)]
    if not _one_in_the_other(s, *ends):
        return None
    found = s.program.edited(s.i, [*p.sites(c), *q.sites(e)])
    if not s.case.explained_by(found):
        return None
    kept = p if c else q
    step, i = s.stories.junction(kept) or kept.edges[-1]
    words = SYMMETRIC.format(s.program.called(step.inputs[i]), s.program.where(step))
    return Finding("symmetry assumed", words, f"from what this gives, yours {s.off(found)}", 0.97)


def _one_in_the_other(s: Search, a: tuple[Step, int], b: tuple[Step, int]) -> bool:
    """Whether two uses of a tensor are multiplied with each other, as in xᵀAx: one reads what the other made."""
    for (first, _), (second, i) in ((a, b), (b, a)):
        others = [n for k, n in enumerate(second.inputs) if k != i and n != CONSTANT]
        if second.op in PRODUCTS and any(s.stories.depends(n, first.out) for n in others):
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


def _in_loops(s: Search, effects: np.ndarray) -> Iterator[Finding]:
    """Two slips, each at every step of a loop."""
    several = sorted((k for k, e in enumerate(s.edits) if len(e.sites) > 1), key=lambda k: s.edits[k].cost)
    alike = {tuple(np.round(effects[k] / s.size, 7)): s.edits[k] for k in reversed(several) if effects[k].any()}
    repeated = sorted(alike.values(), key=lambda e: e.cost)[:60]
    for j, first in enumerate(repeated):
        for second in repeated[j + 1 :]:
            if s.shared.late():
                return
            if overlap(s.program, first.sites, second.sites):
                continue
            delta = s.shared.pair(first, second).get(s.i)
            if delta is not None and s.case.close(s.case.claimed, s.right + delta):
                yield from _pair(s, _found(first), second)


def two_edits(s: Search, effects: np.ndarray) -> Iterator[Finding]:
    """Two edits, at different steps."""
    if s.case.right.size < 3:
        return
    cheapest = np.argsort([e.cost for e in s.edits], kind="stable")
    order = [k for k in cheapest if np.abs(effects[k]).max() > 1e-9 * s.size][:BUDGET]
    some = effects[order]
    d = s.aim - s.total
    for a, k in enumerate(order):
        left = d - some[a]
        for b in np.flatnonzero(np.abs(some[a + 1 :] - left).max(axis=1) <= 1e-5 * s.size):
            yield from _pair(s, _found(s.edits[k]), s.edits[order[a + 1 + b]])
    chosen = [s.edits[k] for k in order]
    looped = list(_in_loops(s, effects))
    yield from looped
    if looped:
        return
    yield from _with_path_below(s, chosen)
    yield from _dependent(s, chosen)
    yield from _left_out_together(s)


def _with_path_below(s: Search, chosen: Sequence[Edit]) -> Iterator[Finding]:
    """An edit, or a path left out or scaled, and on top of it a path that hands on a part of what it hands down."""
    if s.shared.late():
        return
    firsts = [_found(e) for e in chosen[:80]]
    for path in s.paths[:30]:
        for c in (0.0, -1.0, 2.0, 0.5) if not s.stories.is_whole(path) else ():
            firsts += [f._replace(sites=tuple(path.sites(c, at=f.at))) for f in s.stories.of(path, c, loose=False)[:1]]
    for first in firsts:
        if s.shared.late():
            return
        program = s.program.under(first.sites)
        total = s.project(program.gradient(s.i))
        for f, scaled in s.scaled_below(program, first.sites, s.tangents, total, 2.2):
            if s.fits([*first.sites, *scaled]):
                yield _both(s, first, f, [*first.sites, *scaled])


def _dependent(s: Search, chosen: list[Edit]) -> Iterator[Finding]:
    """The second edit works on what the first one, or a path that is left out or negated, hands down."""
    d = s.aim - s.total
    if s.shared.late():
        return
    firsts = [_found(e) for e in chosen]
    for path in s.paths[:40]:
        for c in (0.0, -1.0) if not s.stories.is_whole(path) else ():
            firsts += [f._replace(sites=tuple(path.sites(c))) for f in s.stories.of(path, c, loose=False)[:1]]
    for first in firsts:
        if s.shared.late():
            return
        delta = s.program.changes(first.sites)
        base = delta.get(s.i)
        left = d - (0.0 if base is None else s.project(base))
        below = min(x.step for x in first.sites)
        for second in chosen:
            if second.sites == first.sites or len(second.sites) > 1:
                continue
            (site,) = second.sites
            step = s.program.steps[site.step]
            moved, tangent = delta.get(step.out), s.tangents.get(site.node)
            if moved is None or tangent is None or site.step >= below:
                continue
            if s.near(projected(tangent, site.more(step.g + moved)), left):
                yield from _pair(s, first, second)


def _pair(s: Search, first: Finding, second: Edit) -> Iterator[Finding]:
    if overlap(s.program, first.sites, second.sites):
        return
    sites = [*first.sites, *second.sites]
    if s.fits(sites):
        yield _two(first, _found(second), s.evidence(sites), 0.6, sites)
