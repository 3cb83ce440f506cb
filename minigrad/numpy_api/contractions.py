r"""Products along named axes, as ``einsum``: :math:`C_{ik} = \sum_j A_{ij} B_{jk}` is ``einsum("ij,jk->ik", A, B)``.

The rule of a matrix product, index by index: to get the gradient of an operand, let it and the output change places,
:math:`\bar A_{ij} = \sum_k \bar C_{ik} B_{jk}`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..ops.arithmetic import multiply
from ..ops.declare import op
from ..ops.linear import matmul
from ..ops.shapes import reshape


@op(r"Y = \operatorname{einsum}(X_1, X_2, \dots)")
def _einsum(*operands, subscripts):
    sizes = {c: n for t, x in zip(subscripts.split(","), operands) for c, n in zip(t, np.shape(x)) if n != 1}
    return np.einsum(subscripts, *operands, optimize=math.prod(sizes.values()) > 1 << 15)  # of many products BLAS pays


@_einsum.joint_vjp(x=r"\operatorname{einsum}(\bar Y, \text{the other operands})")
def _einsum_vjp(g: Any, y: Any, *operands: Any, subscripts: str) -> list[Any]:
    sources, target = subscripts.split("->")
    terms = sources.split(",")
    return [_einsum_rule(i, g, operands, terms, target) for i in range(len(operands))]


def _einsum_rule(i: int, g: Any, operands: Any, terms: list[str], target: str) -> Any:
    """Swap the output with operand ``i``; letters that only it has were summed, so the gradient is laid along them, and
    of a letter that it repeats only the diagonal was read."""
    mine = terms[i]
    sizes = dict(zip(mine, operands[i].shape, strict=True))
    others = [t for j, t in enumerate(terms) if j != i]
    rest = [x for j, x in enumerate(operands) if j != i]
    unique = "".join(dict.fromkeys(mine))
    known = [c for c in unique if c in target or any(c in t for t in others)]
    r = _einsum.on(g, *rest, subscripts=",".join([target, *others]) + "->" + "".join(known))
    for c in unique:  # a size-1 axis that was broadcast against a longer one: sum it back
        if c in known and sizes[c] == 1 and r.shape[known.index(c)] != 1:
            r = r.sum(axis=known.index(c), keepdims=True)
    laid = tuple(r.shape[known.index(c)] if c in known else 1 for c in unique)
    full = tuple(sizes[c] for c in unique)
    r = r.reshape(laid) if laid == full else np.broadcast_to(r.reshape(laid), full)
    if len(unique) < len(mine):
        for c in unique:
            if mine.count(c) > 1:
                eye = np.eye(sizes[c], dtype=g.dtype)
                for _ in range(mine.count(c) - 1):
                    r, unique = _onto_diagonal(r, unique, c, eye)
        places = _matching(unique, mine)
        r = r.transpose(places)
    return r


def _onto_diagonal(r: Any, letters: str, c: str, eye: Any) -> tuple[Any, str]:
    """Give the axis ``c`` of ``r`` a second copy, zero off the diagonal."""
    at = letters.rindex(c)
    shape = [1] * (r.ndim + 1)
    shape[at] = shape[at + 1] = len(eye)
    return r.reshape(*r.shape[: at + 1], 1, *r.shape[at + 1 :]) * eye.reshape(shape), letters[: at + 1] + c + letters[
        at + 1 :
    ]


def _matching(have: str, want: str) -> tuple[int, ...]:
    """The axes order that turns the letters ``have`` into ``want`` (repeated letters are interchangeable)."""
    free = list(enumerate(have))
    order = []
    for c in want:
        at = next(k for k, (_, letter) in enumerate(free) if letter == c)
        order.append(free.pop(at)[0])
    return tuple(order)


def einsum(subscripts: Any, *operands: Any, optimize: Any = True) -> Any:
    """Einstein summation, as ``np.einsum``: repeated letters, ellipsis, implicit output, sublists of numbers instead of
    letters, and size-1 axes broadcast against longer ones included.

    Three operands or more are multiplied two at a time, in the order that costs least (or that ``optimize`` says), and
    the backward pass goes back through these products.  Raises ValueError when letters and shapes do not fit.
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _from_sublists(subscripts, *operands)
    text = explicit_subscripts(subscripts, [tuple(np.shape(x)) for x in operands])
    if len(operands) < 3:
        return _einsum(*operands, subscripts=text)
    sources, target = text.split("->")
    terms, left = sources.split(","), list(operands)
    empty = [np.empty(np.shape(x), bool) for x in operands]  # the path depends on the shapes only
    for places in np.einsum_path(text, *empty, optimize=optimize or "greedy")[0][1:]:
        chosen = [(terms.pop(i), left.pop(i)) for i in sorted(places, reverse=True)]
        mine = [term for term, _ in chosen]
        needed = "".join(terms) + target
        kept = "".join(dict.fromkeys(c for c in "".join(mine) if c in needed)) if terms else target
        terms.append(kept)
        left.append(_einsum(*(x for _, x in chosen), subscripts=",".join(mine) + "->" + kept))
    return left[0]


def _from_sublists(*args: Any) -> tuple[str, tuple[Any, ...]]:
    """``(a, [0, 1], b, [1, 2], [0, 2])`` as ``("AB,BC->AC", (a, b))``."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    lists = [*args[1::2], *args[-1:]] if len(args) % 2 else args[1::2]
    terms = ["".join("..." if i is Ellipsis else letters[i] for i in numbers) for numbers in lists]
    n = len(args) // 2
    return ",".join(terms[:n]) + ("->" + terms[n] if len(args) % 2 else ""), args[: 2 * n : 2]


def explicit_subscripts(subscripts: str, shapes: list[tuple[int, ...]]) -> str:
    """The subscripts with the output spelled out and a letter for every axis that an ellipsis stands for."""
    text = subscripts.replace(" ", "")
    left, arrow, target = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: {subscripts!r} names {len(terms)} operands, got {len(shapes)}")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in text]
    widths = [len(s) - len(t.replace("...", "")) if "..." in t else 0 for t, s in zip(terms, shapes, strict=True)]
    dots = "".join(free[: max(widths, default=0)])
    full = [t.replace("...", dots[len(dots) - w :]) for t, w in zip(terms, widths, strict=True)]
    for term, shape in zip(full, shapes, strict=True):
        if len(term) != len(shape):
            raise ValueError(f"einsum: {subscripts!r}: subscripts {term!r} for an operand of shape {shape}")
    if not arrow:
        letters = "".join(full)
        target = dots + "".join(sorted(c for c in set(letters) if letters.count(c) == 1 and c not in dots))
    target = target.replace("...", dots)
    unknown = set(target) - set("".join(full))
    if unknown or len(set(target)) < len(target):
        raise ValueError(f"einsum: {subscripts!r}: output {target!r} has unknown or repeated letters")
    return ",".join(full) + "->" + target


def outer(a: Any, b: Any) -> Any:
    """All products ``a_i b_j`` of two arrays, flattened: (len(a), len(b))."""
    return multiply(reshape(a, (-1, 1)), reshape(b, (1, -1)))


def dot(a: Any, b: Any) -> Any:
    """``np.dot``: inner product of vectors, matrix product of matrices, and for more axes the last of ``a`` with the
    second to last of ``b``."""
    da, db = np.ndim(a), np.ndim(b)
    if not da or not db:
        return multiply(a, b)
    if db <= 2 or da == 1:
        return matmul(a, b)
    return tensordot(a, b, ([da - 1], [db - 2]))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """The sum of products over the given axes of ``a`` and of ``b``, as ``np.tensordot``."""
    da, db = np.ndim(a), np.ndim(b)
    if isinstance(axes, int | np.integer):
        axes = (list(range(da - axes, da)), list(range(axes)))
    first, second = ([x] if isinstance(x, int | np.integer) else list(x) for x in axes)
    sizes = tuple(tuple(np.shape(x)[i] for i in chosen) for x, chosen in ((a, first), (b, second)))
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"tensordot: {np.shape(a)} and {np.shape(b)} over axes {first} and {second}: sizes {sizes[0]} and {sizes[1]} differ"
        )
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    left = list(letters[:da])
    right = list(letters[da : da + db])
    for i, j in zip(first, second, strict=True):
        right[j] = left[i]
    kept = [c for i, c in enumerate(left) if i not in {x % da for x in first}]
    kept += [c for j, c in enumerate(right) if j not in {x % db for x in second}]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", a, b)
