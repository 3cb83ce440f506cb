"""Attention as soft lookup."""

import warnings

import numpy as np

import minigrad as mg

from .verdict import Wrong, ask, check, close, diagnosed, same, softmax


@check
def check_05_attention_weights(answer):
    rng = np.random.default_rng(1)
    for t, s, d in [(3, 5, 4), (4, 4, 9), (2, 3, 16)]:
        Q, K = rng.normal(size=(t, d)), rng.normal(size=(s, d))
        raw = Q @ K.T
        hints = {
            "The division by √d is missing.": softmax(raw),
            "Divide by √d, not by d.": softmax(raw / d),
            "d is the width of a query, its last axis; you divided by the square root of another size.": softmax(raw / np.sqrt(s)),
            "These are the scores; softmax along the keys is missing.": raw / np.sqrt(d),
            "Softmax runs along the wrong axis: each query (row) distributes a weight of 1 over the keys.": softmax(raw.T / np.sqrt(d)).T,
            "Softmax was taken over all entries; each row should add up to 1.": softmax((raw / np.sqrt(d)).ravel()).reshape(t, s),
        }
        same(ask(answer, Q, K), softmax(raw / np.sqrt(d)), "the matrix of weights", hints, at=f"T = {t}, S = {s}, d = {d}")
    Q, K = np.array([[30.0, 0]]), np.array([[40.0, 0], [39, 0]])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        got = ask(answer, Q, K)
    if not np.isfinite(got).all():
        raise Wrong("Scores near 850 give NaN: e^850 overflows. Subtract the largest score of each row first; the weights stay the same.")
    return "Each row adds up to 1, whatever the size of the scores."


@check
def check_05_late_causal_mask(answer):
    for t, s in [(4, 4), (2, 5), (1, 6), (3, 4)]:
        right = np.tri(t, s, s - t, dtype=bool)
        hints = {
            "The first query is aligned with the first key; but the queries are the last words: shift by S − T.": np.tri(t, s),
            "The mask is upside down: true where looking is allowed, that is at earlier keys and at itself.": ~right,
            "A word may look at itself.": np.tri(t, s, s - t - 1),
            "This lets queries look ahead, not back.": np.triu(np.ones((t, s)), s - t),
        }
        got = ask(answer, t, s)
        same(got, right, "the mask", hints, at=f"T = {t}, S = {s}")
        if np.asarray(got).dtype != bool:
            raise Wrong(f"The numbers are right, but the mask should be boolean; its dtype is {np.asarray(got).dtype}.")
    return "With T = 1, a single new word may look at everything: generating text needs no mask at all."


@check
def check_05_masked_attention(answer):
    rng = np.random.default_rng(2)
    Q, K, V = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    allowed = np.tri(4, dtype=bool)
    allowed[3, 1] = False
    scores = Q @ K.T / np.sqrt(3)
    right = softmax(np.where(allowed, scores, -np.inf)) @ V
    hints = {
        "The mask has no effect.": softmax(scores) @ V,
        "The mask came after softmax: the rows no longer add up to 1. Make scores −∞ before.": (softmax(scores) * allowed) @ V,
        "The mask is upside down: True means that looking is allowed.": softmax(np.where(allowed, -np.inf, scores)) @ V,
        "Rows and columns of the mask are confused: rows are queries.": softmax(np.where(allowed.T, scores, -np.inf)) @ V,
        "A masked score of 0 still gets weight e⁰ = 1; it must be −∞.": softmax(scores * allowed) @ V,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            same(ask(answer, Q, K, V, allowed), right, "the output", hints, 1e-12)
            dead = allowed.copy()
            dead[1] = False
            got = np.asarray(ask(answer, Q, K, V, dead), float)
        except RuntimeWarning as warning:
            raise Wrong(f"NumPy warns: {warning}. In a row of −∞, look at the maximum that you subtract and the sum by which you divide.") from None
    if np.isnan(got).any():
        raise Wrong("A query that may look at nothing gets NaN; it should get zeros.")
    if got[1].any():
        mean = close(got[1], V.mean(axis=0), 1e-6)
        raise Wrong(f"A query that may look at nothing should get zeros; yours gets {'the mean of all values' if mean else got[1]}.")
    same(np.delete(got, 1, axis=0), np.delete(right, 1, axis=0), "the other rows, beside one that sees nothing,", rtol=1e-12)
    return "Masked keys have no say at all, and a query without keys gets zeros."


@check
def check_05_attention_backward(answer):
    rng = np.random.default_rng(3)
    for t, s, d, w in [(3, 5, 4, 2), (4, 4, 3, 3)]:
        Q, K, V, O_bar = (rng.normal(size=size) for size in [(t, d), (s, d), (s, w), (t, w)])
        got = ask(answer, O_bar, Q, K, V)
        if not isinstance(got, tuple | list) or len(got) != 3:
            raise Wrong("Return three arrays: Q_bar, K_bar, V_bar.")
        diagnosed(mg.scaled_dot_product_attention, {"q": Q, "k": K, "v": V}, dict(zip("qkv", got, strict=True)), O_bar, f"T = {t}, S = {s}, d = {d}")
    return "Three gradients, in the shapes of Q, K and V. You have differentiated attention by hand."
