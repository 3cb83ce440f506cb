"""How many causes ``diagnose`` names: ``python -m benchmarks.diagnose [seen|untouched|all] [-v]``."""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np

import minigrad as mg

from .derivations import AGAIN, ALL, LATER, TWO, Derivation, Mistake, half

UNKNOWN = "not recognised"


def said(d: Derivation, m: Mistake, seed: int = 0) -> tuple[str, str, float]:
    """What becomes of one wrong gradient: "named", "tied" (among the alternatives), "unknown", "false" or "called
    right"."""
    inputs = d.inputs(seed)
    start = time.perf_counter()
    answer = mg.diagnose(d.f, inputs, {m.of: d.gradient(m.code, inputs)})[m.of]
    seconds = time.perf_counter() - start
    if answer:
        return "called right", answer.words, seconds
    words = f"{answer.mistake}: {answer.words}"
    if m.named_by(words):
        return ("unknown" if answer.mistake == UNKNOWN else "named"), words, seconds
    if any(m.named_by(o) for o in answer.others):
        return "tied", words + "".join(f"\n      or: {o}" for o in answer.others), seconds
    return (
        ("unknown" if answer.mistake == UNKNOWN else "false"),
        words + "".join(f"\n      or: {o}" for o in answer.others),
        seconds,
    )


def right_ones(derivations: list[Derivation]) -> list[str]:
    """The right gradients that are not called right."""
    lost = []
    for d in derivations:
        inputs = d.inputs()
        verdict = mg.diagnose(d.f, inputs, {name: d.gradient(code, inputs) for name, code in d.right.items()})
        lost += [f"{d.name}: {row.name}" for row in verdict.rows if not row]
    return lost


def random_ones(derivations: list[Derivation], n: int) -> list[str]:
    """Of ``n`` random wrong gradients, what is said of those that get a name."""
    rng, said_of = np.random.default_rng(0), []
    for i in range(n):
        d = derivations[i % len(derivations)]
        inputs = d.inputs(i)
        name = list(d.right)[i % len(d.right)]
        right = d.gradient(d.right[name], inputs)
        wrong = rng.normal(size=right.shape) if i % 2 else right * (1 + rng.normal(size=right.shape))
        if right.size > 1:
            row = mg.diagnose(d.f, inputs, {name: wrong})[name]
            if row.mistake != UNKNOWN:
                said_of.append(f"{d.name}, {name} {right.shape}: {row.mistake}: {row.words}")
    return said_of


def count(derivations: list[Derivation], verbose: bool = False, only: str = "") -> dict[str, Counter[str]]:
    """The outcomes by kind of derivation."""
    outcomes: dict[str, Counter[str]] = {"plain": Counter(), "library": Counter()}
    slowest = (0.0, "")
    for d in derivations:
        for m in d.wrong:
            if only and only not in d.name:
                continue
            outcome, words, seconds = said(d, m)
            slowest = max(slowest, (seconds, f"{d.name}, {m.cause}"))
            outcomes[d.kind][outcome] += 1
            if verbose or (outcome not in ("named", "tied") and verbose is None):
                print(f"[{outcome}] {d.name} | {m.of}: {m.cause}\n      {words}", flush=True)
    print(f"slowest: {slowest[0]:.1f} s, {slowest[1]}")
    return outcomes


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", nargs="?", default="seen", choices=["seen", "untouched", "all"])
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--failures", action="store_true", help="print what is not named")
    parser.add_argument("--two", action="store_true", help="two mistakes at once")
    parser.add_argument("--later", action="store_true", help="the later collection, of mistakes that textbooks warn of")
    parser.add_argument("--again", action="store_true", help="the second later collection, written after the first was mended")
    parser.add_argument("--right", action="store_true", help="also judge the right gradients")
    parser.add_argument("--random", type=int, default=0, help="judge so many random gradients, too")
    parser.add_argument("--only", default="", help="part of a derivation's name")
    a = parser.parse_args()
    whole = TWO if a.two else LATER if a.later else AGAIN if a.again else ALL
    chosen = whole if a.which == "all" else half(a.which, whole)
    print(f"{a.which}: {len(chosen)} derivations, {sum(len(d.wrong) for d in chosen)} wrong gradients")
    for kind, outcomes in count(chosen, True if a.verbose else None if a.failures else False, a.only).items():
        total = sum(outcomes.values())
        if total:
            print(f"  {kind}: {outcomes['named'] + outcomes['tied']} of {total} named; {dict(outcomes)}")
    if a.right:
        print("right gradients called wrong:", right_ones(chosen) or "none")
    if a.random:
        named = random_ones(chosen, a.random)
        print(f"random gradients named: {len(named)} of {a.random}", *named, sep="\n  ")


if __name__ == "__main__":
    main()
