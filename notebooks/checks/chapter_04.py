"""From recurrence to attention."""

import numpy as np

import minigrad as mg

from .verdict import WEAK_MASK, Wrong, ask, check, close, diagnosed, finite, numbers, pair, same, softmax, zeros_at


def _states(X, W, U, b, carry=1.0):
    h, states = np.zeros(len(U)), []
    for x in X:
        h = np.tanh(x @ W + carry * h @ U + b)
        states.append(h)
    return np.array(states).reshape(len(X), len(U))


def _both(X, n, one, two, end=None, turned=True, alike=False, carry=1.0, rest=True):
    """The states of both readers; the second begins at row ``end`` − 1."""
    end = n if end is None else end
    ahead, back = _states(X, *one, carry=carry), _states(X[:end][::-1], *(one if alike else two), carry=carry)
    back = np.concatenate([back[::-1] if turned else back, np.zeros((len(X) - end, back.shape[1]))])
    return np.concatenate([ahead, back], axis=1) * (np.arange(len(X)) < n if rest else np.ones(len(X)))[:, None]


@check
def check_04_bidirectional(answer):
    rng = np.random.default_rng(1)
    for t, n, c, h in [(3, 3, 2, 4), (5, 3, 3, 3), (4, 1, 2, 2), (1, 1, 1, 1)]:
        X = rng.normal(size=(t, c))
        one, two = ([rng.normal(size=s) for s in ((c, h), (h, h), (h,))] for _ in range(2))
        right = _both(X, n, one, two)
        hints = {
            "The second reader begins with padding: let it start at the last word, row n − 1.": _both(X, n, one, two, end=t),
            "The states of the second reader stand in the order in which it read; row t should hold the one that it had at word t.": (
                _both(X, n, one, two, turned=False)
            ),
            "Both readers use the same weights; the second has W2, U2 and b2.": _both(X, n, one, two, alike=True),
            "Rows of padding should be zeros.": _both(X, n, one, two, rest=False),
            "The second reader comes first in your rows: put that of W, U and b on the left.": np.roll(right, h, axis=1),
            "The state is not carried on: each step begins at zero.": _both(X, n, one, two, carry=0.0),
            "U is transposed: h @ U, not U @ h.": _both(X, n, (one[0], one[1].T, one[2]), (two[0], two[1].T, two[2])),
            "The biases are missing.": _both(X, n, (*one[:2], 0 * one[2]), (*two[:2], 0 * two[2])),
            "Both readers read forwards.": np.concatenate([_states(X, *one), _states(X, *two)], axis=1) * (np.arange(t) < n)[:, None],
        }
        same(ask(answer, X, n, *one, *two), right, "the states", hints, at=f"T = {t}, n = {n}, C = {c}, M = {h}")
    return "The two states of a word, side by side, know the whole text."


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


def _lstm(x, h, c, W, U, b, order=(0, 1, 2, 3), gate=np.tanh, out=np.tanh, old=False, tied=False):
    blocks = np.split(x @ W + h @ U + b, 4, axis=-1)
    i, f, g, o = (blocks[k] for k in order)
    new = (1 - _sigmoid(i) if tied else _sigmoid(f)) * c + _sigmoid(i) * gate(g)
    return _sigmoid(o) * out(c if old else new), new


@check
def check_04_lstm_step(answer):
    rng = np.random.default_rng(2)
    for batch, c, n in [(1, 2, 3), (4, 3, 2), (2, 1, 1)]:
        given = [rng.normal(size=s) for s in ((batch, c), (batch, n), (batch, n), (c, 4 * n), (n, 4 * n), (4 * n,))]
        got = pair(ask(answer, *given))
        right, at = _lstm(*given), f"B = {batch}, C = {c}, M = {n}"
        variants = {
            "i and f are swapped: the blocks lie in the order i, f, g, o.": _lstm(*given, order=(1, 0, 2, 3)),
            "g and o are swapped: the blocks lie in the order i, f, g, o.": _lstm(*given, order=(0, 1, 3, 2)),
            "The candidate g goes through tanh, not σ.": _lstm(*given, gate=_sigmoid),
            "The candidate g goes through tanh.": _lstm(*given, gate=lambda a: a),
            "The output gate lets tanh(c') through, not c' itself.": _lstm(*given, out=lambda a: a),
            "h' comes from the new c', not from the old c.": _lstm(*given, old=True),
            "The forget gate is f, not 1 − i: that is the GRU's way.": _lstm(*given, tied=True),
            "The bias is missing.": _lstm(*given[:5], 0.0),
            "h has no part in the gates.": _lstm(given[0], 0 * given[1], *given[2:]),
        }
        if got[0] is not None and np.shape(got[0]) == np.shape(right[1]) and close(numbers(got[0]).astype(float), right[1], 1e-5):
            raise Wrong("The two states are swapped: return h first, then c.")
        same(got[1], right[1], "c'", {hint: wrong[1] for hint, wrong in variants.items()}, at=at)
        same(got[0], right[0], "h'", {hint: wrong[0] for hint, wrong in variants.items()}, at=at)
    zeros = [np.zeros(s) for s in ((1, 1), (1, 2))]
    c, b = np.array([[300.0, -2.0]]), np.array([-1e4, -1e4, 1e4, 1e4, 0, 0, 1e4, 1e4])  # nothing is written, nothing is forgotten
    got = pair(ask(answer, *zeros, c, np.zeros((1, 8)), np.zeros((2, 8)), b))
    same(got[1], c, "c'", at="gates that are fully open or shut")
    same(got[0], np.tanh(c), "h'", at="gates that are fully open or shut")
    return "Where f is 1 and i is 0, c stays as it is, for as many steps as you like."


def _covered(s, h, W, U, v, w, keep, cover=True, sum_up=True, early=False, tanh=True, state=True, mask="before", scale=1.0):
    """The weights (T, S)."""
    count, out = np.zeros(len(h)), []
    for one in s:
        inner = (one @ W if state else 0) + h @ U + count[:, None] * (w if cover else 0 * w)
        e = (np.tanh(inner) if tanh else inner) @ v * scale
        alpha = softmax(np.where(keep, e, -np.inf) if mask == "before" else e * keep if mask == "zero" else e)
        alpha = alpha * keep if mask == "after" else alpha
        out.append(alpha)
        count = count + alpha if sum_up else alpha
        if early:  # the weights of a step count in the step itself
            e = np.tanh(one @ W + h @ U + count[:, None] * w) @ v
            out[-1] = softmax(np.where(keep, e, -np.inf))
    return np.stack(out)


@check
def check_04_coverage_attention(answer):
    rng = np.random.default_rng(3)
    for t, n, m, a, mask in [(3, 2, 3, 4, [1, 1, 1]), (4, 3, 2, 5, [1, 1, 0, 0]), (3, 2, 2, 2, [0, 1, 1]), (1, 1, 1, 1, [1])]:
        keep, at = np.array(mask), f"T = {t}, S = {len(mask)}, mask {mask}"
        s, h, W, U = rng.normal(size=(t, n)), rng.normal(size=(len(mask), m)), rng.normal(size=(n, a)), rng.normal(size=(m, a))
        given = (s, h, W, U, 2 * rng.normal(size=a), 2 * rng.normal(size=a), keep)
        right = _covered(*given)
        hints = {
            "The counts have no effect: this is attention without coverage.": _covered(*given, cover=False),
            "c_j is the sum of all weights so far; yours are those of the last step only.": _covered(*given, sum_up=False),
            "The counts hold the weights of the steps before, not yet those of this one.": _covered(*given, early=True),
            "The tanh is missing.": _covered(*given, tanh=False),
            "The decoder's state s has no part in your scores.": _covered(*given, state=False),
            "The mask has no effect.": _covered(*given, mask="none"),
            "The mask acts after the softmax: the weights no longer add up to 1.": _covered(*given, mask="after"),
            "The score of padding became 0, not −∞.": _covered(*given, mask="zero"),
            "There is no scale in additive attention.": _covered(*given, scale=a**-0.5) if a > 1 else np.nan,
        }
        c, got = pair(ask(answer, *given))
        same(got, right, "the weights", hints, at=at)
        zeros_at(got, np.broadcast_to(keep == 0, right.shape), "Padding still gets a share, if a small one: its scores should become −∞.")
        same(c, right @ h, "the contexts", at=at)
    h = np.array([[1.0, 1, 1], [-1, -1, -1], [-1, -1, -1], [1, -1, -1]])  # tanh(40) is 1: scores of −9000, −9000, −1000 and one of 9000
    W, U, v, w = np.zeros((2, 3)), 40 * np.eye(3), np.array([4000.0, 3000, 2000]), np.array([-80.0, 0, 0])
    for keep in (np.array([0, 1, 1, 0]), np.array([0, 1, 1, 1]), np.array([1, 1, 1, 1])):
        given = (np.zeros((2, 2)), h, W, U, v, w, keep)
        c, got = pair(ask(answer, *given))
        finite(got, "the weights")
        if keep[0] == 0 and not np.allclose(numbers(got)[:, 0], 0, atol=1e-6):
            raise Wrong(WEAK_MASK)
        right = _covered(*given)
        same(got, right, "the weights", at="scores of ±9000")
        same(c, right @ h, "the contexts", at="scores of ±9000", scale=1.0)
    return "What was read has a mark, and the next look goes elsewhere, or comes back: that is learned, in w."


def _recorded(X, W, U, b):
    h, states = mg.Tensor(np.zeros(U.shape[0])), []
    for t in range(X.shape[0]):
        h = mg.tanh(X[t] @ W + h @ U + b)
        states.append(h)
    return mg.stack(states)


@check
def check_04_rnn_backward(answer):
    rng = np.random.default_rng(4)
    for t, c, n in [(2, 3, 2), (5, 2, 4), (1, 2, 3), (3, 1, 1)]:
        given = {"X": rng.normal(size=(t, c)), "W": rng.normal(size=(c, n)), "U": 0.7 * rng.normal(size=(n, n)), "b": rng.normal(size=n)}
        G = rng.normal(size=(t, n))
        got = ask(answer, G, *given.values())
        if not isinstance(got, tuple | list) or len(got) != 4:
            raise Wrong("Return four gradients: X_bar, W_bar, U_bar, b_bar.")
        for wrong, hint in _slips(G, **given):
            if t > 1 and all(np.shape(x) == np.shape(y) and np.allclose(x, y, rtol=1e-9, atol=1e-12) for x, y in zip(got, wrong, strict=True)):
                raise Wrong(f"{hint} (Found with T = {t}, C = {c}, M = {n}.)")
        diagnosed(_recorded, given, dict(zip(given, got, strict=True)), G, at=f"T = {t}, C = {c}, M = {n}")
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
