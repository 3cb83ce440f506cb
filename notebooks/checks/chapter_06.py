"""Q, K, V and many heads."""

import numpy as np

from .verdict import Wrong, ask, check, close, same, softmax


@check
def check_06_split_heads(answer):
    for t, h, d in [(3, 2, 2), (4, 4, 3), (5, 1, 2)]:
        x = np.arange(t * h * d, dtype=float).reshape(t, h * d)
        right = x.reshape(t, h, d).swapaxes(0, 1)
        hints = {
            "The shape is right, but words and heads are scrambled: reshape to (T, H, D) first, then swap the first two axes.": x.reshape(h, t, d),
            "The heads must come first: swap the first two axes.": x.reshape(t, h, d),
            "The columns of a head lie side by side, not H apart: cut the last axis into (H, D), not (D, H).": x.reshape(t, d, h).transpose(2, 0, 1),
        }
        same(ask(answer, x, h), right, "the array of heads", hints, at=f"T = {t}, H = {h}, D = {d}")
    return "Each head has all words, and its own D numbers of each."


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


def _attend(X, W_Q, W_K, W_V, W_O, H, causal=False, straight=False, scale=None, axis=-1):
    t, c = X.shape
    Q, K, V = ((X @ W).reshape(H, t, -1) if straight else (X @ W).reshape(t, H, -1).swapaxes(0, 1) for W in (W_Q, W_K, W_V))
    S = Q @ K.swapaxes(-1, -2) * ((c // H) ** -0.5 if scale is None else scale)
    if causal:
        S = np.where(np.tri(t, dtype=bool), S, -np.inf)
    P = softmax(S) if axis == -1 else softmax(S.swapaxes(-1, -2)).swapaxes(-1, -2)
    return (P @ V).swapaxes(0, 1).reshape(t, c) @ W_O


def _layer(seed, t=5, c=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(t, c)), *(rng.normal(size=(c, c)) for _ in range(4))


@check
def check_06_reorder_heads(answer):
    for h, order in [(3, [2, 0, 1]), (2, [1, 0]), (3, [1, 2, 0])]:
        X, *weights = _layer(h)
        new = ask(answer, *weights, h, order)
        if not isinstance(new, tuple | list) or len(new) != 4:
            raise Wrong("Return four matrices: W_Q, W_K, W_V, W_O.")
        places = np.arange(6).reshape(h, -1)[order].ravel()
        if np.shape(new[3]) == (6, 6) and not np.array_equal(new[3], weights[3][places]):
            if np.array_equal(new[3], weights[3][:, places]):
                raise Wrong("In W_O the heads are blocks of rows, not of columns: it reads what the heads wrote.")
            if np.array_equal(new[3], weights[3]):
                raise Wrong("W_O still expects the heads in the old order: its rows must move too.")
        for name, was, now in zip(("W_Q", "W_K", "W_V"), weights, new, strict=False):
            if np.shape(now) == (6, 6) and np.array_equal(now, was[places]):
                raise Wrong(f"In {name} the heads are blocks of columns, not of rows: each reads the whole word.")
            single = was[:, [*order, *range(h, 6)]]
            same(now, was[:, places], name, {"Whole blocks of D columns move together, not single columns.": single}, at=f"order {order}")
        same(new[3], weights[3][places], "W_O", at=f"order {order}")
        if not close(_attend(X, *new, h), _attend(X, *weights, h), 1e-9):
            raise Wrong("The layer computes something else now.")
    return "The layer computes the same: heads have no order."


@check
def check_06_multi_head_attention(answer):
    for h, t, causal in [(2, 5, False), (3, 4, False), (2, 5, True), (1, 3, True)]:
        X, *W = _layer(h + t, t)
        hints = {
            "Divide by √D, the width of a head, not by √C.": _attend(X, *W, h, causal, scale=6**-0.5),
            "The division by √D is missing.": _attend(X, *W, h, causal, scale=1.0),
            "W_O is missing: the joined heads must be mixed.": _attend(X, *W[:3], np.eye(6), h, causal),
            "Words and heads are scrambled: reshape to (T, H, D), then swap axes.": _attend(X, *W, h, causal, straight=True),
            "All heads are taken as one: cut queries, keys and values into heads.": _attend(X, *W, 1, causal),
            "`causal` has no effect.": _attend(X, *W, h) if causal else np.nan,
            "Softmax runs along the wrong axis: each query's weights add up to 1.": _attend(X, *W, h, axis=-2) if not causal else np.nan,
        }
        same(ask(answer, X, *W, h, causal), _attend(X, *W, h, causal), "the output", hints, at=f"H = {h}, T = {t}, causal = {causal}")
    return "That is the layer at the heart of every Transformer."
