"""Attention as soft lookup."""

import numpy as np

import minigrad as mg

from .verdict import WEAK_MASK, Wrong, ask, check, diagnosed, extreme, finite, numbers, same, several, softmax, zeros_at


def _with_sink(scores, z):
    """The weights of the keys, as if there were one more."""
    return softmax(np.concatenate([scores, np.full((len(scores), 1), float(z))], axis=1))[:, :-1]


@check
def check_05_sink_weights(answer):
    rng = np.random.default_rng(1)
    for t, s, d, z in [(3, 5, 4, 0.5), (4, 4, 9, -1.0), (2, 3, 16, 2.0), (1, 1, 2, 0.0)]:
        Q, K = rng.normal(size=(t, d)), rng.normal(size=(s, d))
        raw = Q @ K.T
        scores = raw / np.sqrt(d)
        top = scores.max(axis=-1, keepdims=True)
        e = np.exp(scores - top)
        hints = {
            "The division by √D is missing.": _with_sink(raw, z),
            "Divide by √D, not by D.": _with_sink(raw / d, z),
            "d is the width of a query, its last axis; you divided by the square root of another size.": _with_sink(raw / np.sqrt(s), z),
            "The sink is a score already: it is not divided by √D.": _with_sink(scores, z / np.sqrt(d)),
            "The sink takes no part: each row adds up to 1.": softmax(scores),
            "The largest score was subtracted from the keys, but not from the sink.": e / (e.sum(axis=-1, keepdims=True) + np.exp(z)),
            "The sink has no value: leave its own weight out of the result.": softmax(np.concatenate([scores, np.full((t, 1), z)], axis=1)),
            "The sink belongs below, e^z beside the other exponentials, not z itself.": e / (e.sum(axis=-1, keepdims=True) + z),
            "Softmax runs along the wrong axis: each query (row) distributes its weights over the keys.": _with_sink(scores.T, z).T,
            "Adding z to every score changes nothing; it is one score more.": softmax(scores + z),
        }
        same(ask(answer, Q, K, z), _with_sink(scores, z), "the weights", hints, at=f"T = {t}, S = {s}, d = {d}, z = {z}")
    for z in (0.0, 2e4, -2e4, 9950.0):
        Q, K = extreme(rng, 4, 5)
        got = ask(answer, Q, K, z)
        finite(got, "the weights")
        same(got, _with_sink(Q @ K.T / 2, z), "the weights", at=f"scores of ±10 000, z = {z:g}")
    return "A query that fits nowhere takes nothing."


def _prefix_window(t, s, prefix, window, shift=None, back=False, wide=0):
    i, j = np.arange(t)[:, None] + (s - t if shift is None else shift), np.arange(s)[None, :]
    return ((j <= i) & (j > i - window - wide)) | ((j < prefix) & ((j <= i) | (not back)))


@check
def check_05_prefix_window_mask(answer):
    for t, s, prefix, window in [(4, 4, 0, 2), (5, 5, 2, 1), (2, 6, 1, 3), (1, 6, 0, 6), (3, 4, 4, 1), (6, 6, 3, 9), (1, 1, 0, 1), (3, 8, 2, 2)]:
        case = (t, s, prefix, window)
        right = _prefix_window(*case)
        i, j = np.arange(s - t, s)[:, None], np.arange(s)[None, :]
        hints = {
            "The first query is aligned with the first key; but the queries are the last words: shift by S − T.": _prefix_window(*case, shift=0),
            "The mask is upside down: true where looking is allowed.": ~right,
            "The window is one word too wide: it includes the word itself.": _prefix_window(*case, wide=1),
            "The window is one word too narrow: it includes the word itself.": _prefix_window(*case, wide=-1),
            "Everyone sees the whole prefix, also the words of it that come later.": _prefix_window(*case, back=True),
            "The prefix has no effect.": _prefix_window(t, s, 0, window),
            "The prefix is one word too long: its places are 0 … prefix − 1.": _prefix_window(t, s, prefix + 1, window),
            "The window has no effect: all earlier words are seen.": _prefix_window(t, s, prefix, s + 1),
            "In the window or in the prefix: one of the two is enough.": (j <= i) & (j > i - window) & (j < prefix),
            "This lets queries look ahead, not back.": ((j >= i) & (j < i + window)) | (j < prefix),
        }
        got = ask(answer, *case)
        same(got, right, "the mask", hints, at=f"T = {t}, S = {s}, prefix = {prefix}, window = {window}")
        if numbers(got).dtype != bool:
            raise Wrong(f"The numbers are right, but the mask should be boolean; its dtype is {numbers(got).dtype}.")
    return "One line of comparisons, for prefix language models, sliding windows and all between them."


def _packed(Q, K, V, doc, causal=True, apart=True, padding=True, late=False, scale=True, mean=False, zero=False, strict=False):
    t, d = Q.shape
    allowed = np.tri(t, k=-1 if strict else 0, dtype=bool) if causal else np.ones((t, t), bool)
    if apart:
        allowed = allowed & (doc[:, None] == doc)
    if padding:
        allowed = allowed & (doc >= 0)
    scores = Q @ K.T / (np.sqrt(d) if scale else 1)
    if late or zero:
        return (softmax(scores) * allowed if late else softmax(scores * allowed)) @ V
    p = softmax(np.where(allowed, scores, -1e30))
    return (p if mean else p * allowed.any(axis=1, keepdims=True)) @ V


@check
def check_05_packed_attention(answer):
    rng = np.random.default_rng(2)
    for doc, d in [([0, 0, 1, 1, -1], 3), ([0, 1, 0, 2, -1, 1, 0], 4), ([0, 0, 0], 2), ([-1, -1, 3, 3], 3), ([5], 1), ([-1], 2)]:
        doc = np.array(doc)
        t, at = len(doc), f"doc = {doc.tolist()}"
        Q, K, V = rng.normal(size=(t, d)), rng.normal(size=(t, d)), rng.normal(size=(t, 2))
        right, case = _packed(Q, K, V, doc), (Q, K, V, doc)
        hints = {
            "Words look at other texts: only words of the same number in doc may be seen.": _packed(*case, apart=False),
            "Words look at later words of their own text.": _packed(*case, causal=False),
            "Padding looks at padding; it should get zeros.": _packed(*case, padding=False),
            "The mask came after softmax: the rows no longer add up to 1. Make scores −∞ before.": _packed(*case, late=True),
            "A masked score of 0 still gets weight e⁰ = 1; it must be −∞.": _packed(*case, zero=True),
            "The division by √D is missing.": _packed(*case, scale=False),
            "A word that sees nothing gets the mean of all values; it should get zeros.": _packed(*case, mean=True),
            "A word may look at itself.": _packed(*case, strict=True),
        }
        got = ask(answer, *case)
        if np.shape(got) == right.shape and np.isnan(numbers(got)).any():
            raise Wrong(f"A word that may look at nothing gets NaN; it should get zeros. ({at}.)")
        same(got, right, "the output", hints, at=at)
        zeros_at(got, np.broadcast_to((doc < 0)[:, None], right.shape), "Padding should get zeros.")
        loud = V * np.where(np.arange(t) == t - 1, 1e12, 1.0)[:, None]  # a word that earlier ones must not hear, and other texts neither
        hears = doc == doc[-1] if doc[-1] >= 0 else np.zeros(t, bool)
        got = numbers(ask(answer, Q, K, loud, doc)).astype(float)
        if not np.allclose(got[:-1], _packed(Q, K, loud, doc)[:-1], rtol=1e-4) or (not hears.any() and got[-1].any()):
            raise Wrong("A hidden word with very large values is heard: its score should become −∞, its weight exactly 0.")
    doc = np.array([0, 1, 0, -1, 0])
    Q, K = extreme(rng, 5, 5, [False, True, False, True, False])
    V = rng.normal(size=(5, 2))
    got = ask(answer, Q, K, V, doc)
    finite(got, "the output")
    right = _packed(Q, K, V, doc)
    if not np.allclose(numbers(got), right, rtol=1e-3, atol=1e-3):
        raise Wrong(WEAK_MASK)
    same(got, right, "the output", at="scores of ±10 000")
    return "Two texts in one row, and neither knows of the other."


def _shared(O_bar, Q, K, V, allowed, tile=False, mask=True, tau_q=True, tau_k=True, whole=True, mean=False, axis=-1):
    H, G = len(Q), len(K)
    which = np.arange(H) % G if tile else np.arange(H) * G // H
    tau = Q.shape[-1] ** -0.5
    keys, values = K[which], V[which]
    s = tau * Q @ keys.swapaxes(-1, -2)
    P = softmax(np.where(allowed, s, -np.inf) if mask else s)
    P_bar = O_bar @ values.swapaxes(-1, -2)
    S_bar = P * (P_bar - (P_bar * P).sum(axis=axis, keepdims=True)) if whole else P * P_bar
    K_bar, V_bar = np.zeros_like(K), np.zeros_like(V)
    np.add.at(K_bar, which, (tau if tau_k else 1) * S_bar.swapaxes(-1, -2) @ Q)
    np.add.at(V_bar, which, P.swapaxes(-1, -2) @ O_bar)
    share = G / H if mean else 1
    return (tau if tau_q else 1) * S_bar @ keys, K_bar * share, V_bar * share


@check
def check_05_grouped_backward(answer):
    rng = np.random.default_rng(3)
    cases = [(4, 2, 3, 5, 4, 2), (3, 1, 4, 4, 3, 3), (2, 2, 3, 3, 2, 3), (6, 3, 1, 2, 1, 1)]
    for h, g, t, s, d, w in cases:
        Q, K, V, O_bar = (rng.normal(size=size) for size in [(h, t, d), (g, s, d), (g, s, w), (h, t, w)])
        allowed = np.tri(t, s, s - t, dtype=bool)
        allowed[-1, 0] = s == 1
        got = several(ask(answer, O_bar, Q, K, V, allowed), "Q_bar, K_bar and V_bar")
        case, at = (O_bar, Q, K, V, allowed), f"H = {h}, G = {g}, T = {t}, S = {s}, d = {d}"
        right = _shared(*case)
        if np.shape(got[1]) == (h, s, d) and h != g:
            raise Wrong(f"K_bar has the shape of the copies, {(h, s, d)}: heads of a group share their keys, so their gradients add up. ({at}.)")
        variants = {
            "Head h uses group ⌊h G/H⌋: the first H/G heads share the first group; yours take turns.": _shared(*case, tile=True),
            "The mask has no effect.": _shared(*case, mask=False),
            "The gradients of the heads of a group add up; yours are averaged.": _shared(*case, mean=True),
            "The factor 1/√D is missing in Q_bar.": _shared(*case, tau_q=False),
            "The factor 1/√D is missing in K_bar.": _shared(*case, tau_k=False),
            "Softmax's gradient is not P ⊙ P̄ alone: each row's weighted mean is subtracted first.": _shared(*case, whole=False),
            "Softmax's weighted mean runs along the keys, the last axis.": _shared(*case, axis=-2),
        }
        for i, name in enumerate(("Q_bar", "K_bar", "V_bar")):
            same(got[i], right[i], name, {hint: wrong[i] for hint, wrong in variants.items()}, at=at)
        claimed = dict(zip("qkv", got, strict=True))
        diagnosed(lambda q, k, v, a=allowed: mg.scaled_dot_product_attention(q, k, v, mask=a), {"q": Q, "k": K, "v": V}, claimed, O_bar, at)
    hidden = np.array([False, True, False, True, False])
    (q, k), O_bar, V = extreme(rng, 3, 5, hidden), rng.normal(size=(2, 3, 2)), rng.normal(size=(1, 5, 2))
    case = (O_bar, np.stack([q, q[::-1]]), k[None], V, np.broadcast_to(~hidden, (3, 5)).copy())
    got, right = several(ask(answer, *case), "Q_bar, K_bar and V_bar"), _shared(*case)
    for i, name in enumerate(("Q_bar", "K_bar", "V_bar")):
        finite(got[i], name)
        if i and not np.allclose(numbers(got[i])[0, hidden], 0, atol=1e-6):
            raise Wrong(WEAK_MASK)
        same(got[i], right[i], name, rtol=1e-6, at="scores of ±10 000", scale=100.0)
    return "Three gradients, in the shapes of Q, K and V. You have differentiated the attention of today's models by hand."
