"""What students answer to chapter 04: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


def _backward(G, X, W, U, b, later=True, every=True, before=True, slope=True, overwrite=False):
    h = [np.zeros(len(U))]
    for x in X:
        h.append(np.tanh(x @ W + h[-1] @ U + b))
    out = [np.zeros_like(a) for a in (X, W, U, b)]
    back = np.zeros(len(U))
    for t in reversed(range(len(X))):
        a_bar = ((G[t] if every or t == len(X) - 1 else 0) + back) * ((1 - h[t + 1] ** 2) if slope else 1)
        out[0][t] = a_bar @ W.T
        for i, part in ((1, np.outer(X[t], a_bar)), (2, np.outer(h[t if before else t + 1], a_bar)), (3, a_bar)):
            out[i] = part if overwrite else out[i] + part
        back = a_bar @ U.T if later else back
    return tuple(out)


def _read(X, W, U, b):
    h, states = np.zeros(len(U)), []
    for x in X:
        h = np.tanh(x @ W + h @ U + b)
        states.append(h)
    return np.reshape(states, (len(X), len(U)))


def _two_way(X, n, W, U, b, W2, U2, b2, end=None, turned=True, rest=True):
    end = n if end is None else end
    out = np.zeros((len(X), 2 * len(b)))
    back = _read(X[:end][::-1], W2, U2, b2)
    out[:, : len(b)], out[:end, len(b) :] = _read(X, W, U, b), back[::-1] if turned else back
    if rest:
        out[n:] = 0
    return out


def _two_way_by_recursion(X, n, W, U, b, W2, U2, b2):
    def ahead(t):
        return np.tanh(X[t] @ W + (ahead(t - 1) @ U if t else 0) + b)

    def back(t):
        return np.tanh(X[t] @ W2 + (back(t + 1) @ U2 if t < n - 1 else 0) + b2)

    rows = [np.concatenate([ahead(t), back(t)]) for t in range(n)]
    return np.array(rows + [np.zeros(2 * len(b))] * (len(X) - n))


def _lstm(x, h, c, W, U, b, order=(0, 1, 2, 3), act=np.tanh, out=np.tanh, forget=True, new=True):
    H = h.shape[1]
    i, f, g, o = ((x @ W + h @ U + b)[:, k * H : (k + 1) * H] for k in order)
    c2 = (_sigmoid(f) if forget else 1) * c + _sigmoid(i) * act(g)
    return _sigmoid(o) * out(c2 if new else c), c2


def _lstm_by_halves(x, h, c, W, U, b):
    a = np.concatenate([x, h], axis=1) @ np.concatenate([W, U]) + b
    H = h.shape[1]
    half = 0.5 * np.tanh(a / 2) + 0.5  # σ
    c = half[:, H : 2 * H] * c + half[:, :H] * np.tanh(a[:, 2 * H : 3 * H])
    return half[:, 3 * H :] * np.tanh(c), c


def _covered(s, h, W, U, v, w, mask, floor=-np.inf, cover=True, total=True, act=np.tanh, late=False, plain=False, again=False):
    count, out = np.zeros(len(h)), []
    for one in s:
        for _ in range(1 + again):
            e = act(one @ W + h @ U + np.outer(count, w) * cover) @ v
            e = e if late or plain else np.where(mask, e, floor)
            p = np.exp(e - e.max())
            alpha = p / p.sum() * (mask if late else 1)
            count = count + alpha if total else alpha
        out.append(alpha)
    return np.array(out) @ h, np.array(out)


def _covered_by_recursion(s, h, W, U, v, w, mask):
    def weights(t):
        before = [weights(i) for i in range(t)]
        e = [np.dot(v, np.tanh(W.T @ s[t] + U.T @ h[j] + sum(b[j] for b in before) * w)) if mask[j] else -np.inf for j in range(len(h))]
        p = np.exp(np.subtract(e, max(e)))
        return p / p.sum()

    alphas = [weights(t) for t in range(len(s))]
    return [sum(a * row for a, row in zip(alpha, h)) for alpha in alphas], alphas


def _covered_in_place(s, h, W, U, v, w, mask):
    alphas, fixed = np.zeros((len(s), len(h))), (s @ W)[:, None] + h @ U
    real = np.flatnonzero(mask)
    for t in range(len(s)):
        e = np.einsum("sa,a->s", np.tanh(fixed[t] + alphas.sum(axis=0)[:, None] * w), v)[real]
        alphas[t, real] = np.exp(e - np.logaddexp.reduce(e))
    return np.einsum("ts,sm->tm", alphas, h), alphas


def _backward_by_unrolling(G, X, W, U, b):
    """For each state by itself, all the way back."""
    h = np.concatenate([np.zeros((1, len(U))), _read(X, W, U, b)])
    out = [np.zeros_like(a) for a in (X, W, U, b)]
    for t in range(len(X)):
        back = G[t]
        for s in range(t, -1, -1):
            a = back * (1 - h[s + 1] ** 2)
            out[0][s] += W @ a
            out[1] += X[s][:, None] * a
            out[2] += h[s][:, None] * a
            out[3] += a
            back = U @ a
    return out


def _backward_at_once(G, X, W, U, b):
    h = _read(X, W, U, b)
    A = np.zeros_like(h)
    for t in range(len(X) - 1, -1, -1):
        A[t] = (G[t] + (A[t + 1] @ U.T if t + 1 < len(X) else 0)) * (1 - h[t] ** 2)
    return A @ W.T, X.T @ A, h[:-1].T @ A[1:], A.sum(axis=0)


WRONG = [
    ("check_04_rnn_backward", lambda *a: _backward(*a, later=False), "sends back"),
    ("check_04_rnn_backward", lambda *a: _backward(*a, every=False), "Only the last"),
    ("check_04_rnn_backward", lambda *a: _backward(*a, before=False), "state before"),
    ("check_04_rnn_backward", lambda *a: _backward(*a, slope=False), "slope of tanh"),
    ("check_04_rnn_backward", lambda *a: _backward(*a)[:3], "four gradients"),
    ("check_04_bidirectional", lambda X, n, *w: _two_way(X, n, *w, end=len(X)), "begins with padding"),
    ("check_04_bidirectional", lambda *a: _two_way(*a, turned=False), "order in which it read"),
    ("check_04_bidirectional", lambda *a: _two_way(*a, rest=False), "Rows of padding"),
    ("check_04_bidirectional", lambda X, n, *w: _two_way(X, n, *w[:3], *w[:3]), "same weights"),
    ("check_04_bidirectional", lambda X, n, *w: _two_way(X, n, *w)[:n], "shape"),
    ("check_04_lstm_step", lambda *a: _lstm(*a, order=(1, 0, 2, 3)), "i and f are swapped"),
    ("check_04_lstm_step", lambda *a: _lstm(*a, act=_sigmoid), "candidate g"),
    ("check_04_lstm_step", lambda *a: _lstm(*a, out=lambda c: c), "not c' itself"),
    ("check_04_lstm_step", lambda *a: _lstm(*a, new=False), "not from the old c"),
    ("check_04_lstm_step", lambda *a: _lstm(*a)[::-1], "return h first"),
    ("check_04_lstm_step", lambda *a: _lstm(*a, forget=False), "c'"),
    ("check_04_coverage_attention", lambda *a: _covered(*a, cover=False), "no effect"),
    ("check_04_coverage_attention", lambda *a: _covered(*a, total=False), "last step only"),
    ("check_04_coverage_attention", lambda *a: _covered(*a, act=lambda x: x), "tanh is missing"),
    ("check_04_coverage_attention", lambda *a: _covered(*a, plain=True), "mask has no effect"),
    ("check_04_coverage_attention", lambda *a: _covered(*a, late=True), "after the softmax"),
    ("check_04_coverage_attention", lambda *a: _covered(*a, again=True), "entry"),
    ("check_04_coverage_attention", lambda *a: _covered(*a, floor=-30), "a small one"),
    ("check_04_coverage_attention", lambda *a: _covered(*a, floor=-1000), "too weak"),
    ("check_04_rnn_backward", lambda *a: _backward(*a, overwrite=True), "W"),
]

RIGHT = [
    ("check_04_bidirectional", _two_way),
    ("check_04_bidirectional", _two_way_by_recursion),
    ("check_04_lstm_step", _lstm),
    ("check_04_lstm_step", _lstm_by_halves),
    ("check_04_coverage_attention", _covered_by_recursion),
    ("check_04_coverage_attention", _covered_in_place),
    ("check_04_coverage_attention", lambda *a: _covered(*a, floor=-1e9)),
    ("check_04_rnn_backward", _backward_by_unrolling),
    ("check_04_rnn_backward", _backward_at_once),
]
