"""Recurrent cells and structured sequences in plain operations."""

from __future__ import annotations

import numpy as np

import minigrad as mg

from .derivation import Derivation, derivation

LEFT = r"missing|left out|dropped|forgot|not added|through|constant|path|use"
SIGN = r"sign|minus|negat"


def rnn(Wx, Wh, x, d):
    h = np.zeros(4)
    for t in range(3):
        h = mg.tanh(x[t] @ Wx + h @ Wh)
    return (d * h).sum()


def rnn_all(Wx, Wh, Wy, x, T):
    h = np.zeros(4)
    loss = 0.0
    for t in range(3):
        h = mg.tanh(x[t] @ Wx + h @ Wh)
        e = h @ Wy - T[t]
        loss = loss + 0.5 * (e * e).sum()
    return loss


def lstm(x, h, c, W, U, D):
    z = x @ W + h @ U
    i = 1 / (1 + mg.exp(-z[:, 0:3]))
    f = 1 / (1 + mg.exp(-z[:, 3:6]))
    o = 1 / (1 + mg.exp(-z[:, 6:9]))
    g = mg.tanh(z[:, 9:12])
    c_next = f * c + i * g
    h_next = o * mg.tanh(c_next)
    return (D * h_next).sum()


def gru(x, h, Wz, Wr, Wn, Uz, Ur, Un, D):
    z = 1 / (1 + mg.exp(-(x @ Wz + h @ Uz)))
    r = 1 / (1 + mg.exp(-(x @ Wr + h @ Ur)))
    n = mg.tanh(x @ Wn + r * (h @ Un))
    h_next = (1 - z) * n + z * h
    return (D * h_next).sum()


def crf(E, T):
    alpha = E[0]
    for t in (1, 2):
        s = alpha[:, None] + T + E[t][None, :]
        alpha = mg.log(mg.exp(s).sum(axis=0))
    log_z = mg.log(mg.exp(alpha).sum())
    score = E[0, 1] + T[1, 0] + E[1, 0] + T[0, 2] + E[2, 2]
    return log_z - score


def highway(x, Wh, Wt, D):
    t = 1 / (1 + mg.exp(-(x @ Wt)))
    h = mg.tanh(x @ Wh)
    y = t * h + (1 - t) * x
    return (D * y).sum()


DERIVATIONS: list[Derivation] = [
    derivation(
        "recurrent net, three steps", "d2l 9.7", "plain", rnn, dict(Wx=(3, 4), Wh=(4, 4), x=(3, 3), d=4),
        "h = [np.zeros(4)]\nfor t in range(3): h.append(np.tanh(x[t] @ Wx + h[-1] @ Wh))\n"
        "def bptt(tanh=True, T=True, steps=3, order=None):\n"
        "    g = d; gx = np.zeros((3, 4)); gh = np.zeros((4, 4)); last = None\n"
        "    for t in (2, 1, 0)[:steps]:\n"
        "        q = g * (1 - h[t + 1] ** 2) if tanh else g\n"
        "        gx += np.outer(x[t], q); last = np.outer(h[t], q); gh += np.outer(h[t], q) if order is None else np.outer(h[t + 1], q)\n"
        "        g = Wh @ q if T else q @ Wh\n"
        "    return gx, gh, last",
        {"Wx": "bptt()[0]", "Wh": "bptt()[1]"},
        [
            ("Wh", "bptt(tanh=False)[1]", "tanh' left out at every step", r"tanh"),
            ("Wh", "bptt(T=False)[1]", "Wh not transposed at every step", r"transpos"),
            ("Wx", "bptt(steps=1)[0]", "truncated: only the last step's use", LEFT + r"|step|truncat|last"),
            ("Wh", "bptt(order=1)[1]", "h_t for h_(t−1)", r"\bh\b|step|neighbour|next|previous|tanh|after|before"),
            ("Wx", "bptt(tanh=False)[0]", "tanh' left out at every step", r"tanh"),
        ],
    ),
    derivation(
        "recurrent net with a loss at each step", "CS224n lecture 6", "plain", rnn_all, dict(Wx=(3, 4), Wh=(4, 4), Wy=(4, 2), x=(3, 3), T=(3, 2)),
        "h = [np.zeros(4)]\nfor t in range(3): h.append(np.tanh(x[t] @ Wx + h[-1] @ Wh))\ne = [h[t + 1] @ Wy - T[t] for t in range(3)]\n"
        "def bptt(carry=True, tanh=True, keep=True):\n"
        "    g = np.zeros(4); gx = np.zeros((3, 4)); gh = np.zeros((4, 4))\n"
        "    for t in (2, 1, 0):\n"
        "        a = Wy @ e[t] + (g if carry else 0) if keep or t == 2 else g\n"
        "        q = a * (1 - h[t + 1] ** 2) if tanh else a\n"
        "        gx += np.outer(x[t], q); gh += np.outer(h[t], q); g = Wh @ q\n"
        "    return gx, gh",
        {"Wx": "bptt()[0]", "Wh": "bptt()[1]", "Wy": "sum(np.outer(h[t + 1], e[t]) for t in range(3))"},
        [
            ("Wh", "bptt(carry=False)[1]", "gradient from later steps left out", LEFT + r"|step|later|next"),
            ("Wh", "bptt(keep=False)[1]", "only the last step's loss", LEFT + r"|step|last|loss"),
            ("Wy", "np.outer(h[3], e[2])", "overwritten: only the last step", r"overwrit|step|last|use|path|missing|left out"),
            ("Wx", "bptt(tanh=False)[0]", "tanh' left out at every step", r"tanh"),
            ("Wy", "sum(np.outer(h[t], e[t]) for t in range(3))", "h_(t−1) for h_t", r"\bh\b|step|previous|neighbour|before"),
        ],
    ),
    derivation(
        "LSTM cell", "CS231n assignment 3", "plain", lstm, dict(x=(2, 3), h=(2, 3), c=(2, 3), W=(3, 12), U=(3, 12), D=(2, 3)),
        "z = x @ W + h @ U; i = sigmoid(z[:, :3]); f = sigmoid(z[:, 3:6]); o = sigmoid(z[:, 6:9]); g = np.tanh(z[:, 9:]); n = f * c + i * g; t = np.tanh(n)\n"
        "dc = D * o * (1 - t ** 2)\n"
        "def dz(dc=dc, o2=None, di=None): return np.hstack([dc * g * i * (1 - i) if di is None else di, dc * c * f * (1 - f), D * t * o * (1 - o) if o2 is None else o2, dc * i * (1 - g ** 2)])",
        {"W": "x.T @ dz()", "h": "dz() @ U.T", "c": "dc * f"},
        [
            ("c", "D * o * f", "tanh' of the cell left out", r"tanh"),
            ("c", "dc", "forget gate left out", r"\bf\b|forget"),
            ("W", "x.T @ dz(o2=np.zeros((2, 3)))", "output gate's path left out", LEFT + r"|\bo\b"),
            ("W", "x.T @ dz(di=dc * g)", "sigmoid' of the input gate left out", r"sigmoid|\bi\b"),
            ("c", "D * o * (1 - n ** 2) * f", "1 − c² for 1 − tanh²(c)", r"tanh|c_next|before|pre"),
        ],
    ),
    derivation(
        "GRU cell", "d2l 10.2", "plain", gru, dict(x=(2, 3), h=(2, 3), Wz=(3, 3), Wr=(3, 3), Wn=(3, 3), Uz=(3, 3), Ur=(3, 3), Un=(3, 3), D=(2, 3)),
        "z = sigmoid(x @ Wz + h @ Uz); r = sigmoid(x @ Wr + h @ Ur); k = h @ Un; n = np.tanh(x @ Wn + r * k)\n"
        "dz = D * (h - n) * z * (1 - z); dn = D * (1 - z) * (1 - n ** 2); dr = dn * k * r * (1 - r)",
        {"h": "D * z + dz @ Uz.T + dr @ Ur.T + (dn * r) @ Un.T", "Uz": "h.T @ dz", "Un": "h.T @ (dn * r)"},
        [
            ("h", "dz @ Uz.T + dr @ Ur.T + (dn * r) @ Un.T", "direct path z·h left out", LEFT),
            ("Uz", "h.T @ (D * (n - h) * z * (1 - z))", "sign: h − n exchanged", SIGN + r"|swap|exchang"),
            ("Uz", "h.T @ (D * h * z * (1 - z))", "through 1 − z left out", LEFT + r"|1 ?[-−]"),
            ("Un", "h.T @ dn", "reset gate left out", r"\br\b|reset"),
            ("h", "D * z + dz @ Uz.T + (dn * r) @ Un.T", "path through the reset gate left out", LEFT + r"|\br\b"),
        ],
    ),
    derivation(
        "CRF of length 3", "Collins' notes; CS224n", "plain", crf, dict(E=(3, 4), T=(4, 4)),
        "L = np.exp; a0 = E[0]; a1 = np.log(L(a0[:, None] + T + E[1]).sum(0)); a2 = np.log(L(a1[:, None] + T + E[2]).sum(0)); Z = np.log(L(a2).sum())\n"
        "p2 = L(a2 - Z); x2 = p2 * L(a1[:, None] + T + E[2] - a2); p1 = x2.sum(1); x1 = p1 * L(a0[:, None] + T + E[1] - a1); p0 = x1.sum(1)\n"
        "y = np.zeros((3, 4)); y[0, 1] = y[1, 0] = y[2, 2] = 1; t = np.zeros((4, 4)); t[1, 0] = t[0, 2] = 1",
        {"E": "np.array([p0, p1, p2]) - y", "T": "x1 + x2 - t"},
        [
            ("E", "np.array([p0, p1, p2])", "the score of the labels not subtracted", r"score|label|left out|missing|dropped|term|one-hot"),
            ("T", "x2 - t", "one step of transitions left out", LEFT + r"|step"),
            ("T", "x1.T + x2.T - t", "transitions transposed", r"transpos"),
            ("E", "y - np.array([p0, p1, p2])", "sign", SIGN),
            ("E", "np.array([L(E[k]) / L(E[k]).sum() for k in range(3)]) - y", "local softmax in place of marginals", r"not recognised|alpha|T\b|forward|local|missing|left out"),
        ],
    ),
    derivation(
        "highway layer", "Srivastava 2015", "plain", highway, dict(x=(3, 4), Wh=(4, 4), Wt=(4, 4), D=(3, 4)),
        "t = sigmoid(x @ Wt); h = np.tanh(x @ Wh); dt = D * (h - x) * t * (1 - t); dh = D * t * (1 - h ** 2)",
        {"x": "D * (1 - t) + dt @ Wt.T + dh @ Wh.T", "Wt": "x.T @ dt", "Wh": "x.T @ dh"},
        [
            ("x", "dt @ Wt.T + dh @ Wh.T", "carry path left out", LEFT),
            ("Wt", "x.T @ (D * (h + x) * t * (1 - t))", "sign of 1 − t", SIGN),
            ("Wt", "x.T @ (D * (h - x))", "sigmoid' left out", r"sigmoid|derivative|exp"),
            ("Wh", "x.T @ (D * (1 - t) * (1 - h ** 2))", "1 − t for t", r"1 ?[-−]|\bt\b"),
            ("x", "D * t + dt @ Wt.T + dh @ Wh.T", "t for 1 − t on the carry path", r"1 ?[-−]|\bt\b"),
        ],
    ),
]
