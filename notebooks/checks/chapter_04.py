"""From recurrence to attention."""

import numpy as np

import minigrad as mg

from .verdict import Wrong, ask, check, diagnosed, pair, same, softmax


def _states(X, W, U, b, carry=1.0):
    h, states = np.zeros(len(U)), []
    for x in X:
        h = np.tanh(x @ W + carry * h @ U + b)
        states.append(h)
    return np.stack(states)


@check
def check_04_rnn(answer):
    rng = np.random.default_rng(1)
    for t, c, n in [(3, 2, 4), (5, 3, 3), (1, 2, 2)]:
        X, W, U, b = rng.normal(size=(t, c)), rng.normal(size=(c, n)), rng.normal(size=(n, n)), rng.normal(size=n)
        right = _states(X, W, U, b)
        hints = {
            "The bias is missing.": _states(X, W, U, 0 * b),
            "The state is not carried on: each step begins at zero.": _states(X, W, U, b, carry=0.0),
            "U is transposed: h @ U, not U @ h.": _states(X, W, U.T, b),
            "This is the last state; all T of them are asked for.": right[-1],
            "h₀ = 0 is not part of the answer.": np.concatenate([np.zeros((1, n)), right]),
        }
        same(ask(answer, X, W, U, b), right, "the states", hints, at=f"T = {t}, C = {c}, H = {n}")
    return "The same three arrays of weights at every step, for any length."


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


def _gru(x, h, W, U, b, swap_z=False, use_r=True, r_first=False, order=(0, 1, 2), act=np.tanh):
    n = h.shape[-1]
    a, u = x @ W + b, h @ U
    (ar, ur), (az, uz), (an, un) = ((a[:, i * n : (i + 1) * n], u[:, i * n : (i + 1) * n]) for i in order)
    r, z = _sigmoid(ar + ur) if use_r else 1.0, _sigmoid(az + uz)
    new = act(an + ((r * h) @ U[:, order[2] * n : (order[2] + 1) * n] if r_first else r * un))
    return z * new + (1 - z) * h if swap_z else (1 - z) * new + z * h


@check
def check_04_gru_step(answer):
    rng = np.random.default_rng(2)
    for batch, c, n in [(1, 2, 3), (4, 3, 2)]:
        given = [rng.normal(size=s) for s in ((batch, c), (batch, n), (c, 3 * n), (n, 3 * n), (3 * n,))]
        hints = {
            "z belongs to the old state: h' = (1 − z) n + z h.": _gru(*given, swap_z=True),
            "The reset gate has no effect.": _gru(*given, use_r=False),
            "This is (r ⊙ h) Uₙ; here r multiplies after the product, r ⊙ (h Uₙ).": _gru(*given, r_first=True),
            "r and z are swapped: the blocks lie in the order r, z, n.": _gru(*given, order=(1, 0, 2)),
            "The candidate n goes through tanh, not σ.": _gru(*given, act=_sigmoid),
            "The bias is missing.": _gru(*given[:4], 0.0),
        }
        same(ask(answer, *given), _gru(*given), "the state", hints, at=f"B = {batch}, C = {c}, H = {n}")
    return "Where z is 1 nothing is written, and nothing is lost."


@check
def check_04_additive_attention(answer):
    rng = np.random.default_rng(3)
    for n, m, a, mask in [(2, 3, 4, [1, 1, 1]), (3, 2, 5, [1, 1, 0, 0]), (2, 2, 2, [0, 1, 1])]:
        s, h, W, U, v = rng.normal(size=n), rng.normal(size=(len(mask), m)), rng.normal(size=(n, a)), rng.normal(size=(m, a)), rng.normal(size=a)
        keep = np.array(mask)
        e = np.tanh(s @ W + h @ U) @ v
        alpha = softmax(np.where(keep, e, -np.inf))
        hints = {
            "The tanh is missing; without it, s would have no influence at all on the weights.": softmax(
                np.where(keep, (s @ W + h @ U) @ v, -np.inf)
            ),
            "The decoder's state s has no part in your scores.": softmax(np.where(keep, np.tanh(h @ U) @ v, -np.inf)),
            "The mask has no effect.": softmax(e),
            "The mask acts after the softmax: the weights no longer add up to 1.": softmax(e) * keep,
            "The score of padding became 0, not −∞.": softmax(e * keep),
            "There is no scale in additive attention.": softmax(np.where(keep, e / np.sqrt(a), -np.inf)),
            "These are the scores; they still need a softmax.": e,
        }
        c, got = pair(ask(answer, s, h, W, U, v, keep))
        at = f"S = {len(mask)}, mask {mask}"
        same(got, alpha, "the weights", hints, at=at)
        same(c, alpha @ h, "the context", at=at)
    return "A mixture of what was read, mixed anew for every token that is written."


def _recorded(X, W, U, b):
    h, states = mg.Tensor(np.zeros(U.shape[0])), []
    for t in range(X.shape[0]):
        h = mg.tanh(X[t] @ W + h @ U + b)
        states.append(h)
    return mg.stack(states)


@check
def check_04_rnn_backward(answer):
    rng = np.random.default_rng(4)
    for t, c, n in [(2, 3, 2), (5, 2, 4), (1, 2, 3)]:
        given = {"X": rng.normal(size=(t, c)), "W": rng.normal(size=(c, n)), "U": 0.7 * rng.normal(size=(n, n)), "b": rng.normal(size=n)}
        G = rng.normal(size=(t, n))
        got = ask(answer, G, *given.values())
        if not isinstance(got, tuple | list) or len(got) != 4:
            raise Wrong("Return four gradients: X_bar, W_bar, U_bar, b_bar.")
        for wrong, hint in _slips(G, **given):
            if t > 1 and all(np.shape(x) == np.shape(y) and np.allclose(x, y, rtol=1e-9, atol=1e-12) for x, y in zip(got, wrong, strict=True)):
                raise Wrong(f"{hint} (Found with T = {t}, C = {c}, H = {n}.)")
        diagnosed(_recorded, given, dict(zip(given, got, strict=True)), G, at=f"T = {t}, C = {c}, H = {n}")
    return "Every state answers for itself and for all that came after it."


def _backward(G, X, W, U, b, through_time=True, every=True, shift=1, slope=True):
    h = [np.zeros(len(U))]
    for x in X:
        h.append(np.tanh(x @ W + h[-1] @ U + b))
    X_bar, W_bar, U_bar, b_bar = (np.zeros_like(a) for a in (X, W, U, b))
    later = np.zeros(len(U))
    for t in reversed(range(len(X))):
        upstream = G[t] if every or t == len(X) - 1 else 0 * G[t]
        a_bar = (upstream + later) * ((1 - h[t + 1] ** 2) if slope else 1)
        X_bar[t] = a_bar @ W.T
        W_bar += np.outer(X[t], a_bar)
        U_bar += np.outer(h[t + 1 - shift], a_bar)
        b_bar += a_bar
        later = a_bar @ U.T if through_time else 0 * later
    return X_bar, W_bar, U_bar, b_bar


def _slips(G, X, W, U, b):
    """Wrong gradients, each with what is wrong with it."""
    yield _backward(G, X, W, U, b, through_time=False), "What the next step sends back, ā Uᵀ, is missing: each state is used by the step after it."
    yield _backward(G, X, W, U, b, every=False), "Only the last state's upstream gradient is used; every state has one of its own, G[t], to be added."
    yield _backward(G, X, W, U, b, shift=0), "U is multiplied by the state before: its gradient takes h[t − 1], not h[t]."
    yield _backward(G, X, W, U, b, slope=False), "The slope of tanh, 1 − h², is missing."
