"""Doing more with less."""

import tracemalloc

import numpy as np

import minigrad as mg

from .verdict import Wrong, ask, check, diagnosed, numbers, same, several


@check
def check_14_training_flops(answer):
    for tokens, size, layers, width, length in [(10, 100, 1, 4, 8), (1000, 12 * 64**2, 6, 64, 256)]:
        right = 3 * tokens * layers * (2 * size + 4 * length * width)
        hints = {
            "That is the forward pass alone; the backward pass is two more products for each.": right / 3,
            "A multiply–add is two operations: twice the number of parameters.": 3 * tokens * layers * (size + 4 * length * width),
            "The scores are there twice: QKᵀ and PV, 2 · length · width FLOPs each.": 3 * tokens * layers * (2 * size + 2 * length * width),
            "Every layer attends, too: multiply both parts by the number of layers.": 3 * tokens * (2 * size * layers + 4 * length * width),
            "Every layer has so many parameters.": 3 * tokens * (2 * size + 4 * length * width * layers),
            "Where do the layers come in?": 3 * tokens * (2 * size + 4 * length * width),
            "Attention is missing: QKᵀ and PV have no parameters, but cost as well.": 6 * tokens * layers * size,
            "Each token attends to `length` tokens; you counted a whole sequence for each of them.": (
                3 * tokens * layers * (2 * size + 4 * length**2 * width)
            ),
        }
        at = f"{tokens} tokens, {size} parameters per layer, {layers} layers, width {width}, length {length}"
        same(ask(answer, tokens, size, layers, width, length), right, "the number of FLOPs", hints, 1e-12, at)
    return "About 6 for each parameter and token, as long as the length is well below 6 widths."


def _rounded(x, digits, rule=np.rint):
    f, e = np.frexp(x)
    return np.ldexp(rule(f * 2.0 ** (digits + 1)), e - digits - 1)


def _half_up(x):
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


@check
def check_14_round_to(answer):
    rng = np.random.default_rng(0)
    for digits in (7, 10, 2):
        gap = 2.0**-digits
        ties = np.array([1 + gap / 2, 1 + 1.5 * gap, -(1 + gap / 2), 2 + gap, 0.0, 1.0])
        x = np.concatenate([ties, rng.normal(size=6) * 10.0 ** rng.integers(-8, 8, 6)])
        hints = {
            "Ties go to the even neighbour; yours go away from zero.": _rounded(x, digits, _half_up),
            "You cut digits off; round to the nearest.": _rounded(x, digits, np.trunc),
            "You round down; round to the nearest.": _rounded(x, digits, np.floor),
            "One binary digit too few: `digits` come after the leading 1.": _rounded(x, digits - 1),
            "One binary digit too many: the leading 1 counts, and `digits` come after it.": _rounded(x, digits + 1),
            "These are digits after the binary point, the same for all sizes; count them from the first 1 of each number.": (
                np.rint(x * 2.0**digits) / 2.0**digits
            ),
            "Binary digits, not decimal ones.": np.round(x, digits),
        }
        got, right = numbers(ask(answer, x, digits), "the rounded array"), _rounded(x, digits)
        for hint, wrong in hints.items():
            if got.shape == x.shape and np.array_equal(got, wrong) and not np.array_equal(wrong, right):
                i = int(np.argmax(np.abs(got - right) / np.maximum(np.abs(right), 1e-300)))
                raise Wrong(f"{hint} ({x[i]:.9g} rounded to {digits} digits should be {right[i]:.9g}; yours is {got[i]:.9g}.)")
        same(got, right, "the rounded array", rtol=1e-15, at=f"digits = {digits}")
        for one, right in zip(x, _rounded(x, digits), strict=True):
            same(ask(answer, np.array([one]), digits)[0], right, f"{one:.9g} rounded", rtol=1e-15, at=f"digits = {digits}")
    return "The error is half a gap at most, 2^-(digits + 1) of the number's size."


def _groups(W, g, axis=0, top=127, rule=np.rint, s=None):
    V = W if axis == 0 else W.T
    groups = V.reshape(-1, g, V.shape[1])
    s = np.abs(groups).max(axis=1, keepdims=True) / top if s is None else s
    s = np.where(s == 0, 1, s)
    out = (rule(groups / s) * s).reshape(V.shape)
    return out if axis == 0 else out.T


@check
def check_14_quantize_groups(answer):
    rng = np.random.default_rng(2)
    for rows, columns, g in [(6, 4, 2), (8, 8, 4), (4, 3, 4), (3, 2, 1), (6, 1, 3)]:
        W = rng.normal(size=(rows, columns))
        W[0] *= 9
        with np.errstate(all="ignore"):
            signed = W.reshape(-1, g, columns).max(axis=1, keepdims=True) / 127
            hints = {
                "One scale for the whole matrix; each group has its own.": _groups(W, g, s=np.abs(W).max() / 127),
                "One scale for each column; each run of g rows in it has its own.": _groups(W, rows),
                "The largest in size: take the absolute value before the maximum.": _groups(W, g, s=signed),
                "Integers go up to 127, not 128.": _groups(W, g, top=128),
                "Integers go up to 127, not 255.": _groups(W, g, top=255),
                "You cut the fraction off; round to the nearest integer.": _groups(W, g, rule=np.trunc),
                "You return the integers; multiply by the scales again.": _groups(W, g) / _scales(W, g),
            }
            if rows == columns:
                hints["Your groups run along the rows; here they are g rows of one column."] = _groups(W, g, axis=1)
        same(ask(answer, W, g), _groups(W, g), "the matrix", hints, 1e-9, f"W {W.shape}, g = {g}")
    W[:] = 0
    zeros = numbers(ask(answer, W, g))
    if np.isnan(zeros).any():
        raise Wrong("A group of zeros has the scale 0, and 0 / 0 is NaN. Divide by 1 there.")
    same(zeros, W, "a matrix of zeros, quantized,")
    return "One byte for a weight, and one scale for g of them."


def _scales(W, g):
    groups = W.reshape(-1, g, W.shape[1])
    return np.repeat(np.abs(groups).max(axis=1) / 127, g, axis=0)


@check
def check_14_adapter_gradients(answer):
    rng = np.random.default_rng(3)
    for n, i, o, r, c in [(5, 4, 3, 2, 2.0), (3, 6, 5, 1, 0.5), (1, 3, 3, 3, -1.0)]:
        X, W, A, B, Y_bar = (rng.normal(size=s) for s in [(n, i), (i, o), (i, r), (r, o), (n, o)])
        got = ask(answer, X, W, A, B, c, Y_bar)
        if isinstance(got, tuple | list) and len(got) != 3:
            raise Wrong("Return three gradients: of X, of A and of B.")
        got = several(got, "X_bar, A_bar and B_bar")
        right = Y_bar @ W.T + c * Y_bar @ B.T @ A.T, c * X.T @ (Y_bar @ B.T), c * (X @ A).T @ Y_bar
        at = f"X {X.shape}, rank {r}, c = {c}"
        only_w, only_ab = Y_bar @ W.T, c * Y_bar @ B.T @ A.T
        no_c = "The factor c is missing: the adapter is multiplied by it."
        hints = {"Two paths lead from X to Y; the one through the adapter is missing.": only_w,
                 "Two paths lead from X to Y; the one through W is missing.": only_ab,
                 no_c: only_w + only_ab / c}  # fmt: skip
        same(got[0], right[0], "the gradient of X", hints, at=at)
        same(got[1], right[1], "the gradient of A", {no_c: right[1] / c}, at=at)
        same(got[2], right[2], "the gradient of B", {no_c: right[2] / c}, at=at)
        function = lambda X, A, B, W=W, c=c: X @ mg.Tensor(W) + c * (X @ A @ B)  # noqa: E731
        diagnosed(function, {"X": X, "A": A, "B": B}, dict(zip("XAB", got, strict=True)), Y_bar, at)
    if _memory(answer, rng) > 400 * 400 * 8:
        raise Wrong("The gradients are right, but a matrix (in, out) was made on the way: multiply from the left, (X A) B, never A B or Xᵀ Ȳ.")
    return "W gets no gradient: it is fixed, and a product of (in, out) is spared."


def _memory(answer, rng):
    """The bytes that an answer takes for a layer (400, 400) with an adapter of rank 2."""
    given = [rng.normal(size=s) for s in [(3, 400), (400, 400), (400, 2), (2, 400)]]
    Y_bar, running = rng.normal(size=(3, 400)), tracemalloc.is_tracing()
    tracemalloc.reset_peak() if running else tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        answer(*given, 0.5, Y_bar)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if not running:
            tracemalloc.stop()


def _state(S, V):
    m = S.max(axis=1, initial=-np.inf)
    e = np.exp(S - np.where(np.isneginf(m), 0, m)[:, None])
    return m, e.sum(axis=1), e @ V


@check
def check_14_merge(answer):
    rng = np.random.default_rng(4)
    for seen, size in ((True, 1.0), (False, 1.0), (True, 3000.0)):
        S, V = rng.normal(size=(4, 6)) * 3, rng.normal(size=(6, 2))
        S[:, 3:] += [[5.0], [-5], [0], [2]]
        S = np.rint(S * size * 4) / 4 if size > 1 else S
        if not seen:
            S[0, :3], S[1, 3:], S[2] = -np.inf, -np.inf, -np.inf
        halves = (*_state(S[:, :3], V[:3]), *_state(S[:, 3:], V[3:]))
        m1, l1, o1, m2, l2, o2 = halves
        right = _state(S, V)
        got = ask(answer, *halves)
        if not isinstance(got, tuple | list) or len(got) != 3:
            raise Wrong("Return three things: m, l and o.")
        if any(np.isnan(numbers(x)).any() for x in got):
            raise Wrong("There is a NaN in your result: where a query saw no key on either machine, −∞ − (−∞) is not a number; subtract 0 there.")
        if seen:
            a, b = np.exp(m1 - right[0]), np.exp(m2 - right[0])
            plain = "Sums relative to different maxima cannot be added; shift both to the larger one."
            back = "Turned round: a side is multiplied by exp(its own m − the new m)."
            same(got[0], right[0], "m", {"The new m is the larger of the two, not their sum.": m1 + m2})
            same(got[1], right[1], "l", {plain: l1 + l2, back: l1 / a + l2 / b})
            early = "o is a sum, not yet divided by l; the division comes at the very end."
            hints = {plain: o1 + o2, back: o1 / a[:, None] + o2 / b[:, None], early: right[2] / right[1][:, None]}
            same(got[2], right[2], "o", hints)
        for name, mine, theirs in zip("mlo", got, right, strict=True):
            mine = numbers(mine, name)
            if mine.shape != theirs.shape:
                raise Wrong(f"{name} should have shape {theirs.shape}; yours has {mine.shape}.")
            if not np.array_equal(np.where(np.isinf(mine), mine, 0), np.where(np.isinf(theirs), theirs, 0)):
                raise Wrong(f"Where a query saw no key on either machine, m should be −∞ and everything else finite; your {name} is {mine}.")
            finite = np.isfinite(theirs)
            same(mine[finite], theirs[finite], f"{name} where some query saw no key on a machine")
    return "Attention can be spread over any number of machines, and merged in any order."
