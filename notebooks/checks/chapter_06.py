"""Q, K, V and many heads."""

import numpy as np

import minigrad as mg

from .earlier import earlier
from .verdict import WEAK_MASK, Wrong, ask, check, close, finite, numbers, pair, same, several, softmax, tolerance


@check
def check_06_split_fused(answer):
    rng = np.random.default_rng(1)
    for t, h, d in [(4, 2, 2), (5, 3, 3), (3, 3, 1), (2, 1, 4), (1, 2, 3)]:
        c = h * d
        X, W = rng.normal(size=(t, c)), rng.normal(size=(c, 3 * c))
        Y = X @ W
        right = Y.reshape(t, h, 3, d).transpose(2, 1, 0, 3)
        variants = {
            "Your cut takes all queries first, then all keys, then all values; here each head has its three together: (T, H, 3, D).": (
                Y.reshape(t, 3, h, d).transpose(1, 2, 0, 3)
            ),
            "Within a head the D columns of the queries lie side by side; yours are dealt out like cards: (H, 3, D), not (H, D, 3).": (
                Y.reshape(t, h, d, 3).transpose(3, 1, 0, 2)
            ),
            "The heads must come first: (H, T, D).": right.swapaxes(1, 2),
            "The shapes are right, but words and heads are scrambled: cut the last axis only, then swap axes.": Y.reshape(3, h, t, d),
            "The order is query, key, value.": right[::-1],
        }
        got = several(ask(answer, X, W, h), "Q, K and V")
        for i, name in enumerate("QKV"):
            same(got[i], right[i], name, {hint: wrong[i] for hint, wrong in variants.items()}, at=f"T = {t}, H = {h}, D = {d}")
    return "One product instead of three, and each head with its own D numbers of each word."


@check
def check_06_attention_parameters(answer):
    for c, h, kv in [(8, 2, 2), (12, 3, 3), (12, 6, 2), (768, 12, 12)]:
        d = c // h
        right = 2 * (c * c + c) + 2 * (c * kv * d + kv * d)
        hints = {
            "The biases are missing: one number for each output of the four matrices.": right - 2 * c - 2 * kv * d,
            "W_O is missing: the heads are mixed by a (C, C) matrix with its bias.": right - c * c - c,
            "Heads share the width: W_Q holds all heads together, (C, C), not H times that.": 3 * h * (c * c + c) + c * c + c,
            "With fewer key heads, W_K and W_V have only H_kv · C/H columns.": 4 * (c * c + c),
            "H_kv is the number of heads of keys; the width of each is C/H, not C/H_kv.": 2 * (c * c + c) + 2 * (c * h + h),
        }
        same(ask(answer, c, h, kv), right, "the number of parameters", hints, at=f"C = {c}, H = {h}, H_kv = {kv}")
    return "4C² + 4C when every head has its own keys; the number of heads drops out."


def _attend(X, W_Q, W_K, W_V, W_O, H, causal=False, straight=False, scale=None, axis=-1, allowed=None, late=False):
    t, c = X.shape
    Q, K, V = ((X @ W).reshape(H, t, -1) if straight else (X @ W).reshape(t, H, -1).swapaxes(0, 1) for W in (W_Q, W_K, W_V))
    S = Q @ K.swapaxes(-1, -2) * ((c // H) ** -0.5 if scale is None else scale)
    if causal and not late:
        S = np.where(np.tri(t, dtype=bool) if allowed is None else allowed, S, -np.inf)
    P = softmax(S) * np.tri(t) if late else softmax(S) if axis == -1 else softmax(S.swapaxes(-1, -2)).swapaxes(-1, -2)
    return (P @ V).swapaxes(0, 1).reshape(t, c) @ W_O


def _layer(seed, t=5, c=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(t, c)), *(rng.normal(size=(c, c)) for _ in range(4))


@check
def check_06_reorder_heads(answer):
    for h, order in [(3, [2, 0, 1]), (2, [1, 0]), (3, [1, 2, 0]), (6, [5, 0, 3, 1, 2, 4])]:
        X, *weights = _layer(h)
        new = ask(answer, *weights, h, order)
        if not isinstance(new, tuple | list) or len(new) != 4:
            raise Wrong("Return four matrices: W_Q, W_K, W_V, W_O.")
        places = np.arange(6).reshape(h, -1)[order].ravel()
        if np.shape(new[3]) == (6, 6) and not close(numbers(new[3]), weights[3][places], tolerance(numbers(new[3]), 1e-9)):
            new = [numbers(w) for w in new]
            if close(new[3], weights[3][:, places], tolerance(new[3], 1e-9)):
                raise Wrong("In W_O the heads are blocks of rows, not of columns: it reads what the heads wrote.")
            if close(new[3], weights[3], tolerance(new[3], 1e-9)):
                raise Wrong("W_O still expects the heads in the old order: its rows must move too.")
        for name, was, now in zip(("W_Q", "W_K", "W_V"), weights, new, strict=False):
            if np.shape(now) == (6, 6) and close(numbers(now), was[places], tolerance(numbers(now), 1e-9)):
                raise Wrong(f"In {name} the heads are blocks of columns, not of rows: each reads the whole word.")
            single = was[:, [*order, *range(h, 6)]]
            same(now, was[:, places], name, {"Whole blocks of D columns move together, not single columns.": single}, at=f"order {order}")
        same(new[3], weights[3][places], "W_O", at=f"order {order}")
        if not close(_attend(X, *map(numbers, new), h), _attend(X, *weights, h), 1e-3):
            raise Wrong("The layer computes something else now.")
    return "The layer computes the same: heads have no order."


@check
def check_06_multi_head_attention(answer):
    for h, t, causal in [(2, 5, False), (3, 4, False), (2, 5, True), (1, 3, True), (6, 1, True)]:
        X, *W = _layer(h + t, t)
        later = np.tri(t, dtype=bool).T
        hints = {
            "Divide by √D, the width of a head, not by √C.": _attend(X, *W, h, causal, scale=6**-0.5),
            "The division by √D is missing.": _attend(X, *W, h, causal, scale=1.0),
            "W_O is missing: the joined heads must be mixed.": _attend(X, *W[:3], np.eye(6), h, causal),
            "Words and heads are scrambled: reshape to (T, H, D), then swap axes.": _attend(X, *W, h, causal, straight=True),
            "All heads are taken as one: cut queries, keys and values into heads.": _attend(X, *W, 1, causal),
            "`causal` has no effect.": _attend(X, *W, h) if causal else np.nan,
            "The mask is transposed: your words look at later ones. Rows are queries, and query i may see the keys j ≤ i.": (
                _attend(X, *W, h, True, allowed=later) if causal else np.nan
            ),
            "A masked score of 0 still gets weight e⁰ = 1; it must be −∞.": _zeroed(X, *W, h) if causal else np.nan,
            "The mask acts after the softmax: the weights of a row no longer add up to 1.": _attend(X, *W, h, True, late=True) if causal else np.nan,
            "Softmax runs along the wrong axis: each query's weights add up to 1.": _attend(X, *W, h, axis=-2) if not causal else np.nan,
        }
        got, right = ask(answer, X, *W, h, causal), _attend(X, *W, h, causal)
        if causal and t > 1 and np.shape(got) == right.shape:
            mine = numbers(got).astype(float)
            strictly = _strictly(X, *W, h)
            if np.isnan(mine[0]).all() or close(mine[1:], strictly[1:], 1e-6):
                raise Wrong("A word may look at itself: your mask allows only the words before it, and the first word has nothing to look at.")
        same(got, right, "the output", hints, at=f"H = {h}, T = {t}, causal = {causal}")
    # scores from −10 000 to 10 000, exact in float32: a key's is 50 times the second number of its word, and the first words have low ones
    X = np.random.default_rng(9).integers(-3, 4, (5, 8)).astype(float)
    X[:, 0], X[:, 1] = 1.0, [-190, -200, -150, 0, 200]
    W = [np.zeros((8, 8)), np.zeros((8, 8)), np.eye(8), np.eye(8)]
    W[0][0, [0, 4]], W[1][1, [0, 4]] = 100.0, 1.0
    for causal in (False, True):
        got, right = ask(answer, X, *W, 2, causal), _attend(X, *W, 2, causal)
        finite(got, "the output")
        if causal and np.shape(got) == right.shape and not close(numbers(got)[:1].astype(float), right[:1], 1e-4):
            raise Wrong(WEAK_MASK)
        same(got, right, "the output", at=f"scores of ±10 000, causal = {causal}")
    return "That is the layer at the heart of every Transformer."


def _zeroed(X, W_Q, W_K, W_V, W_O, H):
    t, c = X.shape
    Q, K, V = ((X @ W).reshape(t, H, -1).swapaxes(0, 1) for W in (W_Q, W_K, W_V))
    P = softmax(Q @ K.swapaxes(-1, -2) / np.sqrt(c // H) * np.tri(t))
    return (P @ V).swapaxes(0, 1).reshape(t, c) @ W_O


def _strictly(X, *weights_and_heads):
    """Each word looks at earlier ones only; the first at itself, which matters to nobody."""
    allowed = np.tri(len(X), k=-1, dtype=bool)
    allowed[0, 0] = True
    return _attend(X, *weights_and_heads, True, allowed=allowed)


def _gradients(attention, X, Y, weights, H):
    tensors = [mg.Tensor(w, requires_grad=True) for w in weights]
    loss = ((attention(X, *tensors, H) - Y) ** 2).mean()
    return loss.item(), [g.data for g in mg.grad(lambda *w: ((attention(X, *w, H) - Y) ** 2).mean(), argnums=(0, 1, 2, 3))(*tensors)]


@check
def check_06_descend(answer):
    attention, walk_back = earlier("06_multi_head_attention"), earlier("02_walk_back")
    try:
        _gradients(attention, *_lesson(5))
    except Exception:
        attention = earlier("06_multi_head_attention", ours=True)

    def twice(*arguments):
        return [2 * g for g in walk_back(*arguments)]

    X, Y, weights, H = _lesson(5)
    loss, gradients = _gradients(attention, X, Y, weights, H)
    for eta in (0.5, 0.01):
        given = [w.copy() for w in weights]
        said, after = pair(answer(attention, walk_back, X, Y, given, H, eta))
        if not all(np.array_equal(a, b) for a, b in zip(given, weights, strict=True)):
            raise Wrong("Your step changes the matrices that it was given. Return new ones.")
        same(said, loss, "the loss before the step", {
            "The loss is a mean over all entries; yours is their sum.": loss * X.size,
            "The mean of squares, not of half squares.": loss / 2,
        })  # fmt: skip
        after = several(list(after), "W_Q, W_K, W_V and W_O")
        for name, now, w, g in zip(("W_Q", "W_K", "W_V", "W_O"), after, weights, gradients, strict=True):
            same(now, w - eta * g, f"{name} after the step", {
                "Uphill: the gradient is subtracted.": w + eta * g,
                "The matrix has not moved.": w,
                "The learning rate is missing.": w - g,
                "This is the gradient, not the matrix after the step.": g,
            }, at=f"η = {eta}")  # fmt: skip
    _, after = answer(attention, twice, X, Y, list(weights), H, 0.5)
    if not close(numbers(after[0]).astype(float), weights[0] - 2 * 0.5 * gradients[0], 1e-4):
        raise Wrong("The numbers are right, but they do not come from `walk_back`: let the engine that was handed in do the way back.")
    first = loss
    for _ in range(100):
        loss, weights = answer(attention, walk_back, X, Y, list(weights), H, 1.0)
        weights = [numbers(w).astype(float) for w in weights]
    if not float(loss) < first / 100:
        raise Wrong(f"After 100 steps the loss should be below a hundredth of the first, {first:.4g}; it is {float(loss):.4g}.")
    who = f"{attention.whose} attention, trained by {walk_back.whose} engine"
    return f"{who[:1].upper()}{who[1:]}: the loss fell from {first:.3g} to {float(loss):.2g} in 100 steps."


def _lesson(seed):
    """X (T, C), what another layer makes of it, matrices to begin with, and H."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(6, 4))
    teacher, pupil = (rng.normal(size=(4, 4, 4)) / 2 for _ in range(2))
    return X, _attend(X, *teacher, 2), list(pupil), 2
