"""Somebody's own gradient: is it right, and if not, what is wrong?  In words, and only what the numbers prove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ...derivatives import grad
from ...modes import no_grad
from ...tensor import Tensor
from ..compare import entries, largest, number, place
from .program import Question, is_function
from .search import Shared, after_turning, search, together
from .verdicts import (
    UNKNOWN,
    Case,
    Diagnosis,
    Finding,
    Verdict,
    at_kink,
    by_differences,
    by_entries,
    by_order,
    by_shape,
    by_sign,
    by_sum,
    digits,
    floor,
    reference_is_off,
    right_elsewhere,
    zero_in_theory,
)


def diagnose(
    f: Callable[..., Any], inputs: Any, claimed: Any, *, upstream: Any = None, names: list[str] | None = None,
    rtol: float | None = None
) -> Diagnosis:
    """Judge ``claimed``, somebody's own gradient of ``f`` at ``inputs``, and say what is wrong with it, when the
    numbers prove it.

    ``inputs`` is one array, a list or tuple (``f(*inputs)``) or a dict (``f(**inputs)``, or ``f(inputs)`` when ``f``
    takes one argument with another name).  ``claimed`` has the same form, None for what is not claimed, or is a
    function that computes it from the inputs.  ``f`` returns a scalar, or else ``upstream`` gives the upstream
    gradient.  ``rtol`` (1e-6; 1e-4 for claims in float32) bounds the error relative to the largest entry.  A mistake
    is named only when making it gives the claimed numbers; else it says "not recognised".  Raises TypeError and
    ValueError for what does not fit together.
    """
    asked = _derivative_of_more(f, inputs, claimed, upstream, names)
    if asked is not None:
        found = diagnose(asked.f, asked.inputs, asked.claimed, upstream=asked.upstream, names=names, rtol=rtol)
        found.remarks.append(asked.note)
        return found
    question = Question(f, inputs, upstream, names)
    answers = question.match(claimed)
    program = question.program
    scale = max((largest(program.gradient(i))[0] for i in program.variables), default=0.0)
    cases, precisions = [], {}
    for i, answer in answers.items():
        right = program.gradient(i)
        double = answer.dtype.kind != "f" or answer.dtype.itemsize >= 8
        precisions[i] = rtol if rtol is not None else 1e-6 if double else 1e-4
        tolerance = precisions[i] * largest(right)[0] + 1e-12 * scale + 1e-300
        cases.append(Case(i, question.variable_names[i], answer.astype(np.float64), right, tolerance, program))
    cut = bool(cases) and reference_is_off(question)
    said = {case.i: "right" if _agrees(case) and not cut else _special(case, question, bool(cut)) for case in cases}
    findings: dict[int, list[Finding]] = {}
    with np.errstate(all="ignore"):
        if not all(said.values()):
            shared = Shared(program)
            findings = {case.i: _findings(case, shared) for case in cases if not said[case.i]}
            together(cases, findings, shared)
    found = Diagnosis([
        _right(case, text) if (text := said[case.i]) else _judge(case, findings[case.i], question) for case in cases])
    if is_function(claimed) and found:
        found = _elsewhere(found, question, claimed, precisions, f, upstream, names, rtol)
    if cut:
        found.remarks.append(LEAVES_THE_GRAPH)
    return found


LEAVES_THE_GRAPH = (
    "the function leaves the graph: its recorded gradient does not agree with differences (does it use .data,"
    " np.asarray, float() or detach()?), so the claims were judged by differences and causes cannot be named reliably")


def _agrees(case: Case) -> bool:
    return case.claimed.shape == case.right.shape and case.close(case.claimed, case.right)


def _special(case: Case, question: Question, cut: bool) -> str | None:
    """What makes a claim right that differs from the engine's gradient."""
    if case.claimed.shape != case.right.shape or not np.isfinite(case.claimed).all():
        return None
    if cut:
        numeric = by_differences(question, case.i)
        agrees = numeric is not None and np.abs(numeric - case.claimed).max(initial=0) <= 1e-5 * largest(numeric)[0]
        return "right, by differences" if agrees else None
    if zero_in_theory(case) and np.abs(case.claimed).max(initial=0) <= floor(case.program, case.i):
        return "right: zero in theory, and the engine's own is round-off"
    with np.errstate(all="ignore"):
        if at_kink(case, question):
            return "right, at a kink: one of several subgradients"
    return None


def _right(case: Case, said: str) -> Verdict:
    top, where = largest(case.claimed - case.right)
    shown = f"{place(where)}: {number(case.claimed[where])}, {number(case.right[where])}" if case.right.size else ""
    return Verdict(case.name, case.right.shape, None, said, "", [], top, shown)


def _elsewhere(
    found: Diagnosis, question: Question, claimed: Any, precisions: dict[int, float], f: Any, upstream: Any, names: Any,
    rtol: float | None
) -> Diagnosis:
    """A claim that is a function, right at the given inputs: is it right at others?"""
    wrong = right_elsewhere(question, claimed, precisions)
    if wrong is None:
        return found
    _, values = wrong
    inputs = values if question.keys is None else dict(zip(question.keys, values, strict=True))
    claims = {question.variable_names[i]: a for i, a in question.match(claimed, values).items()}
    there = diagnose(f, inputs, claims, upstream=upstream, names=names, rtol=rtol)
    for k, row in enumerate(there.rows):
        if not row:
            words = f"right at the given inputs, but wrong at other inputs a little beside: {row.words}"
            found.rows[k] = replace(row, words=words)
    return found


class _Asked(NamedTuple):
    f: Any
    inputs: Any
    claimed: Any
    upstream: Any
    note: str


def _derivative_of_more(f: Any, inputs: Any, claimed: Any, upstream: Any, names: Any) -> _Asked | None:
    """A Jacobian, or a Hessian, that is claimed as such: asked as the gradient of its product with random numbers."""
    several = Mapping | list | tuple
    if upstream is not None or is_function(claimed) or isinstance(inputs, several) or isinstance(claimed, several):
        return None
    x, a = np.asarray(getattr(inputs, "data", inputs)), np.asarray(getattr(claimed, "data", claimed))
    if x.dtype.kind != "f" or not x.ndim or a.ndim <= x.ndim or a.dtype.kind not in "fiub":
        return None
    with no_grad(), np.errstate(all="ignore"):
        try:
            shape = f(Tensor(x)).shape
        except Exception:  # whatever is wrong with the function is said where it is asked in earnest
            return None
    rng = np.random.default_rng(0)
    if shape and a.shape == shape + x.shape:
        u = rng.normal(size=shape)
        note = "claimed as the Jacobian; judged as the gradient for a random upstream gradient u, Σ_k u_k J_k"
        return _Asked(f, inputs, np.tensordot(u, a, len(shape)), u, note)
    if not shape and a.shape == x.shape + x.shape:
        v = rng.normal(size=x.shape)
        note = "claimed as the Hessian; judged as the gradient of ∇f · v for a random v, H v"
        if not _is_jacobian_inside(f, x, a):
            return _Asked(lambda x: (grad(f)(x) * v).sum(), inputs, np.tensordot(a, v, x.ndim), None, note)
    return None


def _is_jacobian_inside(f: Any, x: np.ndarray, a: np.ndarray) -> bool:
    """Whether the claim is the Jacobian of an intermediate result rather than the Hessian."""
    question = Question(f, x, None, None)
    case = Case(0, "x", a, question.program.gradient(0), 0.0, question.program)
    return any(finding.mistake == "jacobian" for finding in by_shape(case))


def _judge(case: Case, findings: list[Finding], question: Question) -> Verdict:
    top, shown = float("nan"), f"shapes {case.claimed.shape}, {case.right.shape}"
    if case.claimed.shape == case.right.shape:
        top, where = largest(case.claimed - case.right)
        numbers = (case.claimed[where], case.right[where], question.difference(case.i, where))
        shown = f"{place(where)}: {', '.join(map(number, numbers))}"
    if (not findings or findings[0].cost > 2) and (n := digits(case)):
        words = (
            f"agrees to {n} digits: these are the right numbers, rounded; pass rtol={10.0 ** (1 - n):g} to call them"
            " right")
        return Verdict(case.name, case.right.shape, "rounded", words, "", [], top, shown)
    if not findings:
        return Verdict(case.name, case.right.shape, UNKNOWN, _no_pattern(case), "", [], top, shown)
    first, *others = findings
    others = [o for o in others if o.words != first.words and o.cost <= first.cost + 0.45]
    distinct = list(dict.fromkeys(_beside(first, o) for o in others))
    return Verdict(case.name, case.right.shape, first.mistake, first.words, first.evidence, distinct[:3], top, shown)


def _findings(case: Case, shared: Shared) -> list[Finding]:
    """Everything that explains the numbers, the plainest first."""
    claimed = case.claimed
    if not np.isfinite(claimed).all():
        bad = np.argwhere(~np.isfinite(claimed))
        words = f"not finite at {entries(len(bad), claimed.size)}, the first at {place(bad[0])}"
        at = tuple(bad[0])
        right = f"; the right one is {number(case.right[at])}" if claimed.shape == case.right.shape else ""
        return [Finding("not finite", words, f"{claimed[at]} there{right}")]
    if claimed.shape != case.right.shape:
        return list(by_shape(case))
    found = [*by_sign(case), *by_order(case), *search(case, shared), *by_sum(case)]
    if not claimed.any():
        largest_one = f"the largest entry of the right one is {number(largest(case.right)[0])}"
        found.append(Finding("zero", "zero everywhere: nothing was added to it", largest_one, 1.5))
    found += by_entries(case)
    if not found and case.right.ndim > 1:
        found += after_turning(case, shared)
    return sorted(found, key=lambda f: f.cost)


def _beside(first: Finding, other: Finding) -> str:
    """Another explanation; of two mistakes only the one that differs."""
    if first.parts and other.parts:
        for k, which in ((0, "second"), (1, "first")):
            if first.parts[k] in other.parts:
                (rest,) = [p for p in other.parts if p != first.parts[k]] or [other.parts[1 - k]]
                return f"in place of the {which} mistake, {rest}"
    return other.words


def _no_pattern(case: Case) -> str:
    wrong = ~np.isclose(case.claimed, case.right, rtol=1e-6, atol=1e-6 * largest(case.right)[0])
    norms = float(np.linalg.norm(case.claimed) * np.linalg.norm(case.right))
    along = ""
    if case.right.size == 1 and norms:
        along = f"; yours is {float(case.claimed.sum() / case.right.sum()):.6g} times the right one"
    elif norms:
        along = f"; the two point in directions with cosine {float((case.claimed * case.right).sum()) / norms:.4f}"
    places = [np.unique(at) for at in np.argwhere(wrong).T]  # along each axis, those with something wrong
    block = [
        f"{k.min()}:{k.max() + 1}" if 0 < len(k) < n else ":" for k, n in zip(places, wrong.shape, strict=True)]
    within = f", all of them in [{', '.join(block)}]" if set(block) - {":"} and wrong.sum() > 1 else ""
    where = f"it differs at {entries(int(wrong.sum()), case.right.size)}{within}{along}"
    return f"wrong, in a way that fits no pattern known here: {where}. Try a shorter piece of the function"


__all__ = ["Diagnosis", "Verdict", "diagnose", "is_function"]
