"""One edit of the backward program: what it is, and the general ones that any op may suffer.

Its derivative left out or applied twice, a sum over broadcast axes forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..recording import conform
from .program import Program
from .steps import CONSTANT, Site, Step


class Edit(NamedTuple):
    """A mistake, what it is in words, how far-fetched it is, and where it changes the walk; ``kind`` is alike for
    alike edits."""

    name: str
    words: str
    cost: float
    sites: tuple[Site, ...]
    kind: tuple[Any, ...]


def site(program: Program, step: Step, i: int, rule: Any, zero: bool = False) -> Site | None:
    """The edit of one input's rule; None where it does not fit or changes nothing, or (unless ``zero``) leaves
    nothing."""

    def more(g: np.ndarray) -> np.ndarray:
        r = np.asarray(rule(g), float)
        np.broadcast_shapes(r.shape, np.shape(step.arrays[i]))
        return conform(
            np.broadcast_to(r, np.broadcast_shapes(r.shape, np.shape(step.arrays[i]))), step.arrays[i]
        ) - step.share(i, g)

    try:
        with np.errstate(all="ignore"):
            change = more(step.g)
    except (ValueError, IndexError, TypeError):
        return None
    size = float(np.abs(step.shares[i]).max(initial=0))
    if not zero and float(np.abs(change + step.shares[i]).max(initial=0)) <= 1e-12 * size:
        return None
    if (
        change.shape != np.shape(step.arrays[i])
        or not np.isfinite(change).all()
        or float(np.abs(change).max(initial=0)) <= 1e-10 * size
    ):
        return None
    return Site(step.index, step.inputs[i], more)


MASKS = ("maximum", "minimum", "relu", "clip", "select", "tril", "triu")


def general(program: Program, step: Step) -> Iterator[Edit]:
    """The derivative of a step left out, or applied twice."""
    op, name = step.call.op.name, step.name
    if op in (
        "add",
        "subtract",
        "sum",
        "reshape",
        "broadcast_to",
        "pick",
        "_take",
        "negative",
        "astype",
        "softmax",
        "cumsum",
        "mean",
        "max",
        "min",
        "prod",
        "logsumexp",
        "log_softmax",
        "var",
        "_concatenate",
        "_stack",
        *MASKS,
    ):
        return
    for i in step.wanted():
        a = program.operand(step, i)
        other = program.operand(step, 1 - i) if len(step.inputs) == 2 else ""
        left, twice = {
            "multiply": (
                ("missing factor", f"the factor {other} is left out of the gradient of {a}"),
                ("factor twice", f"the factor {other} is applied twice"),
            ),
            "divide": (
                (
                    ("missing factor", f"the division by {other} is left out of the gradient of {a}")
                    if i == 0
                    else (
                        "forgotten derivative",
                        (
                            f"the derivative with respect to the denominator {a} is left out: the gradient passes"
                            " through unchanged"
                        ),
                    )
                ),
                (
                    "factor twice",
                    (
                        f"the division by {other} is done twice"
                        if i == 0
                        else "the quotient's derivative is applied twice"
                    ),
                ),
            ),
            "matmul": (
                ("missing factor", f"the factor {other} of the product is left out of the gradient of {a}"),
                ("factor twice", f"the factor {other} is applied twice"),
            ),
        }.get(
            op,
            (
                (
                    "forgotten derivative",
                    f"the derivative of {name} is left out: the gradient passes through to {a} unchanged",
                ),
                ("derivative twice", f"the derivative of {name} is applied twice"),
            ),
        )
        at = f", in {program.where(step)}"
        if (
            op == "multiply"
            and step.inputs[1 - i] == CONSTANT
            and np.size(step.arrays[1 - i]) > 1
            and not np.all(step.arrays[1 - i])
        ):
            left = (
                "mask not applied",
                f"the mask {other} is not applied (the factor is left out) to the gradient of {a}",
            )
        if s := site(program, step, i, lambda g: g):
            yield Edit(left[0], left[1] + at, 1.1, (s,), ("left out", op, i))
        if np.shape(step.arrays[i]) == step.value.shape and (
            s := site(program, step, i, lambda g, i=i: step.pull(step.pull(g)[i])[i])
        ):
            yield Edit(twice[0], twice[1] + at, 1.5, (s,), ("twice", op, i))
        if op in ("multiply", "divide") and np.size(step.arrays[1 - i]) == 1 and i == 0:
            c = float(np.reshape(step.arrays[1], -1)[0])
            if c and (s := site(program, step, i, lambda g, c=c: g * c if op == "divide" else g / c)):
                word = ("multiplied by", "divides") if op == "divide" else ("divided by", "multiplies")
                yield Edit(
                    "upside down",
                    f"{word[0]} {other}, where the function {word[1]} by it{at}",
                    1.6,
                    (s,),
                    ("inverse", op, i),
                )


def broadcast(program: Program, step: Step) -> Iterator[Edit]:
    """An input that was broadcast: one of its gradients taken for their sum, or the sum along another axis."""
    for i in step.wanted():
        r, a = step.raw[i], step.arrays[i]
        if not a.size or r.size <= a.size:
            continue
        what = program.operand(step, i)
        extra = r.ndim - a.ndim
        axes = [k for k, n in enumerate(r.shape) if n > 1 and (k < extra or a.shape[k - extra] == 1)]
        n = r.size // a.size

        def one(g: np.ndarray, at: int, i: int = i, axes: list[int] = axes) -> np.ndarray:
            whole = step.pull(g)[i]
            for k in axes:
                whole = np.take(whole, [at], axis=k)
            return whole.reshape(step.arrays[i].shape)

        for at, which in ((-1, "last"), (0, "first")):
            if s := site(program, step, i, lambda g, at=at: one(g, at)):
                words = (
                    f"{what} was broadcast over {n} places by {program.where(step)}: their gradients must be added (a"
                    f" sum over the batch), here is the {which} alone"
                )
                yield Edit("missing sum", words, 1.1, (s,), ("first or last", step.call.op.name, i, at))
        if r.ndim == 2 and r.shape[0] == r.shape[1] and len(axes) == 1:
            other = 1 - axes[0]
            if s := site(
                program, step, i, lambda g, i=i, o=other: step.pull(g)[i].sum(axis=o).reshape(step.arrays[i].shape)
            ):
                words = (
                    f"the gradient of {what} is summed over axis {other}; it was broadcast along axis {axes[0]}, in"
                    f" {program.where(step)}"
                )
                yield Edit("wrong axis", words, 1.1, (s,), ("other axis", step.call.op.name, i))
