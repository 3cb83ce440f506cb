"""What students answer to chapter 04: the name of the check, the wrong answer, and what the hint must say."""

import numpy as np


def _rnn(X, W, U, b, bias=True, carry=True):
    h, states = np.zeros(len(U)), []
    for x in X:
        h = np.tanh(x @ W + (h @ U if carry else 0) + (b if bias else 0))
        states.append(h)
    return np.stack(states)


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


def _gru(x, h, W, U, b, mix=lambda z, n, h: (1 - z) * n + z * h, reset=lambda r, h, U: r * (h @ U), act=np.tanh):
    H = h.shape[1]
    r, z = (_sigmoid(x @ W[:, i] + h @ U[:, i] + b[i]) for i in (slice(H), slice(H, 2 * H)))
    last = slice(2 * H, None)
    return mix(z, act(x @ W[:, last] + b[last] + reset(r, h, U[:, last])), h)


def _attention(s, h, W, U, v, mask, act=np.tanh, before=True, after=False):
    e = act(s @ W + h @ U) @ v
    e = np.where(mask, e, -np.inf) if before else e
    p = np.exp(e - e.max())
    alpha = p / p.sum() * (mask if after else 1)
    return alpha @ h, alpha


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


WRONG = [
    ("check_04_rnn", lambda X, W, U, b: _rnn(X, W, U, b, bias=False), "bias is missing"),
    ("check_04_rnn", lambda X, W, U, b: _rnn(X, W, U, b, carry=False), "not carried on"),
    ("check_04_rnn", lambda X, W, U, b: _rnn(X, W, U.T, b), "transposed"),
    ("check_04_rnn", lambda X, W, U, b: _rnn(X, W, U, b)[-1], "last state"),
    ("check_04_gru_step", lambda *a: _gru(*a, mix=lambda z, n, h: z * n + (1 - z) * h), "old state"),
    ("check_04_gru_step", lambda *a: _gru(*a, reset=lambda r, h, U: (r * h) @ U), "after the product"),
    ("check_04_gru_step", lambda *a: _gru(*a, reset=lambda r, h, U: h @ U), "no effect"),
    ("check_04_gru_step", lambda *a: _gru(*a, act=_sigmoid), "tanh"),
    ("check_04_additive_attention", lambda *a: _attention(*a, act=lambda x: x), "tanh is missing"),
    ("check_04_additive_attention", lambda *a: _attention(*a, before=False), "mask has no effect"),
    ("check_04_additive_attention", lambda *a: _attention(*a, before=False, after=True), "after the softmax"),
    ("check_04_additive_attention", lambda s, h, W, U, v, mask: _attention(0 * s, h, W, U, v, mask), "no part"),
    ("check_04_rnn_backward", lambda *a: _backward(*a, later=False), "sends back"),
    ("check_04_rnn_backward", lambda *a: _backward(*a, every=False), "Only the last"),
    ("check_04_rnn_backward", lambda *a: _backward(*a, before=False), "state before"),
    ("check_04_rnn_backward", lambda *a: _backward(*a, slope=False), "slope of tanh"),
    ("check_04_rnn_backward", lambda *a: _backward(*a)[:3], "four gradients"),
]
