"""A later collection: mistakes that textbooks warn of, written after the hints were done, and judged once as they stood."""

from __future__ import annotations

import numpy as np

import minigrad as mg

from .derivation import Derivation, bits, derivation, labels, positive

LEFT = r"missing|left out|dropped|forgot|not added|constant"
IDS = np.array([2, 0, 2, 1, 2, 0])
KEEP = np.array([[1.25, 0, 1.25, 1.25], [0, 1.25, 1.25, 1.25], [1.25, 1.25, 1.25, 0]])


def heads(Q, K, V, D):
    Z = Q @ K.swapaxes(-1, -2) / np.sqrt(3)
    A = mg.softmax(Z)
    return (D * (A @ V)).sum()


def pre_norm(x, gamma, W, D):
    y = mg.layer_norm(x, gamma, np.zeros(5))
    return (D * (x + y @ W)).sum()


def words(E, P, W, y):
    x = E[IDS] + P
    return mg.cross_entropy(x @ W, y)


def convolution(x, k, b, D):
    p = mg.pad(x, ((1, 1),))
    y = k[0] * p[:-2] + k[1] * p[1:-1] + k[2] * p[2:] + b
    return (D * mg.tanh(y)).sum()


def gru(x, h, Wz, Uz, Wn, Un, D):
    z = mg.sigmoid(x @ Wz + h @ Uz)
    n = mg.tanh(x @ Wn + h @ Un)
    out = (1 - z) * n + z * h
    return (D * out).sum()


def lstm(x, c, Wi, Wf, Wo, Wg, D):
    i, f, o, g = mg.sigmoid(x @ Wi), mg.sigmoid(x @ Wf), mg.sigmoid(x @ Wo), mg.tanh(x @ Wg)
    new = f * c + i * g
    return (D * (o * mg.tanh(new))).sum()


def gated(x, A, B, D):
    return (D * ((x @ A) * mg.sigmoid(x @ B))).sum()


def dropped(x, W, D):
    h = mg.relu(x @ W) * KEEP
    return (D * h).sum()


def weighted(X, w, t):
    z = X @ w
    p = mg.sigmoid(z)
    return -(3.0 * t * mg.log(p) + (1 - t) * mg.log(1 - p)).mean()


def gaussian(mu, s):
    return 0.5 * (mu * mu + mg.exp(s) - s - 1).sum()


def bilinear(x, W, y):
    return mg.log(1 + mg.exp(-(x @ W @ y)))


def branch(x, W, D):
    return (D * (x + 0.5 * mg.tanh(x @ W))).sum()


def tied(E, W, y):
    h = mg.tanh(E[IDS] @ W)
    return mg.cross_entropy(h @ E.T, y)


def policy(theta, X, a, R):
    logp = mg.log_softmax(X @ theta)
    return -(logp[np.arange(6), a] * R).mean()


def pooled(x, W, y):
    h = mg.tanh(x @ W).max(axis=1)
    return mg.cross_entropy(h, y)


def averaged(x, W, y):
    h = (x @ W).mean(axis=1)
    return mg.cross_entropy(h, y)


def rms(x, g, D):
    return (D * mg.rms_norm(x, g, 0.1)).sum()


def contrast(u, v):
    s = (u * v).sum() / mg.sqrt((u * u).sum()) / mg.sqrt((v * v).sum())
    return (1 - s) ** 2


HEADS = "s = np.sqrt(3); T = lambda a: a.swapaxes(-1, -2); A = softmax(Q @ T(K) / s); dA = D @ T(V); dZ = A * (dA - (dA * A).sum(-1, keepdims=True))"
NORM = (
    "k = dict(axis=-1, keepdims=True); m = x.mean(**k); s = np.sqrt(x.var(**k) + 1e-5); h = (x - m) / s; dy = D @ W.T; u = dy * gamma; "
    "dn = (u - u.mean(**k) - h * (u * h).mean(**k)) / s"
)
WORDS = "p = softmax((E[IDS] + P) @ W); dz = (p - onehot(y, 3)) / 6; dx = dz @ W.T; dE = np.zeros_like(E); np.add.at(dE, IDS, dx)"
CONV = (
    "p = np.pad(x, 1); y = k[0] * p[:-2] + k[1] * p[1:-1] + k[2] * p[2:] + b; g = D * (1 - np.tanh(y)**2); "
    "dp = np.zeros_like(p); dp[:-2] += k[0] * g; dp[1:-1] += k[1] * g; dp[2:] += k[2] * g"
)
GRU = (
    "z = sigmoid(x @ Wz + h @ Uz); n = np.tanh(x @ Wn + h @ Un); dz = D * (h - n) * z * (1 - z); dn = D * (1 - z) * (1 - n * n); "
    "dh = D * z + dz @ Uz.T + dn @ Un.T"
)
LSTM = (
    "i, f, o, g = sigmoid(x @ Wi), sigmoid(x @ Wf), sigmoid(x @ Wo), np.tanh(x @ Wg); t = np.tanh(f * c + i * g); dc = D * o * (1 - t * t)"
)
TIED = "e = E[IDS]; h = np.tanh(e @ W); d = (softmax(h @ E.T) - onehot(y, 4)) / 6; dz = d @ E * (1 - h * h); de = dz @ W.T; dI = np.zeros_like(E); np.add.at(dI, IDS, de)"

DERIVATIONS: list[Derivation] = [
    derivation(
        "attention, three heads", "Vaswani et al. (2017), equation 1", "library", heads, dict(Q=(3, 4, 3), K=(3, 5, 3), V=(3, 5, 2), D=(3, 4, 2)), HEADS,
        {"Q": "dZ @ K / s", "K": "T(dZ) @ Q / s", "V": "T(A) @ D"},
        [("Q", "dZ @ K", "scale forgotten", r"√|scale|1\.73|division"), ("K", "T(dZ) @ Q / 3", "d for √d", r"√|scale|1\.73|division|twice"),
         ("Q", "A * dA @ K / s", "the softmax's sum forgotten", rf"softmax|sum & {LEFT}|constant|diagonal")]),
    derivation(
        "pre-norm residual", "Xiong et al. (2020), figure 1", "library", pre_norm, dict(x=(4, 5), gamma=positive(5), W=(5, 5), D=(4, 5)), NORM,
        {"x": "D + dn", "gamma": "(dy * h).sum(0)", "W": "(h * gamma).T @ D"},
        [("x", "D + (u - h * (u * h).mean(**k)) / s", "layer norm's mean path dropped", r"mean"), ("x", "dn", "residual path dropped", rf"{LEFT}|path"),
         ("x", "D + u / s", "mean and variance as constants", r"mean & var|constant"), ("W", "h.T @ D", "γ forgotten", r"gamma|γ|weight|factor|normalised|x̂")]),
    derivation(
        "words and positions", "CS224n, assignment 2", "library", words, dict(E=(3, 4), P=(6, 4), W=(4, 3), y=labels(6, 3)), WORDS,
        {"E": "dE", "P": "dx", "W": "(E[IDS] + P).T @ dz"},
        [("E", "(lambda r: [r.__setitem__(IDS, dx), r][1])(np.zeros_like(E))", "repeated ids overwritten", r"last|overwrit|added|more than once"),
         ("E", "dE / np.bincount(IDS)[:, None]", "averaged over repeated ids", r"averag|mean"), ("W", "E[IDS].T @ dz", "positions forgotten", r"\bP\b|posit|\+|left out|E\[.*stands where x"),
         ("P", "6 * dx", "mean over the batch forgotten", r"mean|\b6\b")]),
    derivation(
        "convolution with padding", "Goodfellow et al. (2016), section 9.5", "plain", convolution, dict(x=(6,), k=(3,), b=(), D=(6,)), CONV,
        {"x": "dp[1:-1]", "k": "np.array([(g * p[i:i + 6]).sum() for i in range(3)])", "b": "g.sum()"},
        [("k", "np.array([(g * np.roll(p, 1)[i:i + 6]).sum() for i in range(3)])", "window shifted by one", r"shift|slice|index|places|entry|order|edge"),
         ("x", "(lambda q: k[0] * q[:-2] + k[1] * q[1:-1] + k[2] * q[2:])(np.pad(g, 1))", "kernel not flipped", r"flip|revers|order|exchanged|k\[|transpos"),
         ("b", "g.mean()", "mean for the sum", r"mean"), ("x", "k[1] * g", "the taps beside the middle forgotten", rf"{LEFT}|path|only")]),
    derivation(
        "GRU cell", "Cho et al. (2014)", "library", gru, dict(x=(3, 2), h=(3, 4), Wz=(2, 4), Uz=(4, 4), Wn=(2, 4), Un=(4, 4), D=(3, 4)), GRU,
        {"h": "dh", "Wz": "x.T @ dz", "Wn": "x.T @ dn", "Uz": "h.T @ dz", "Un": "h.T @ dn"},
        [("Wz", "-x.T @ dz", "sign of the gate", r"sign"), ("Wz", "x.T @ (D * (h + n) * z * (1 - z))", "1 − z differentiated without its minus", r"sign|minus"),
         ("h", "dz @ Uz.T + dn @ Un.T", "direct path dropped", rf"{LEFT}|path"), ("Wn", "x.T @ (D * z * (1 - n * n))", "z for 1 − z", r"1 − z|1 - z|\bz\b|operand"),
         ("Uz", "h.T @ (D * (h - n) * (1 - z * z))", "tanh's derivative for the sigmoid's", r"tanh|sigmoid")]),
    derivation(
        "LSTM cell", "Hochreiter & Schmidhuber (1997)", "library", lstm, dict(x=(3, 2), c=(3, 4), Wi=(2, 4), Wf=(2, 4), Wo=(2, 4), Wg=(2, 4), D=(3, 4)), LSTM,
        {"c": "dc * f", "Wi": "x.T @ (dc * g * i * (1 - i))", "Wf": "x.T @ (dc * c * f * (1 - f))", "Wo": "x.T @ (D * t * o * (1 - o))", "Wg": "x.T @ (dc * i * (1 - g * g))"},
        [("c", "D * o * f", "tanh of the cell not differentiated", r"tanh"), ("c", "dc", "forget gate left out", r"\bf\b|factor"),
         ("Wf", "x.T @ (dc * f * (1 - f))", "the old cell left out", r"\bc\b|factor"), ("Wo", "x.T @ (D * (f * c + i * g) * o * (1 - o))", "c for tanh c", r"tanh|before the activation|new"),
         ("Wi", "x.T @ (dc * i * i * (1 - i))", "i for g", r"\bg\b|\bi\b|operand")]),
    derivation(
        "gated linear unit", "Dauphin et al. (2017)", "library", gated, dict(x=(3, 4), A=(4, 2), B=(4, 2), D=(3, 2)), "a = x @ A; s = sigmoid(x @ B); da = D * s; db = D * a * s * (1 - s)",
        {"A": "x.T @ da", "B": "x.T @ db", "x": "da @ A.T + db @ B.T"},
        [("B", "x.T @ (D * s * (1 - s))", "the linear half left out", r"factor|x @ A|left out"), ("x", "da @ A.T", "the gate as a constant", rf"{LEFT}|path"),
         ("A", "x.T @ D", "the gate left out", r"factor|sigmoid|left out")]),
    derivation(
        "inverted dropout", "Srivastava et al. (2014)", "library", dropped, dict(x=(3, 5), W=(5, 4), D=(3, 4)), "z = x @ W; g = D * KEEP * (z > 0)",
        {"W": "x.T @ g", "x": "g @ W.T"},
        [("W", "x.T @ (D * (KEEP > 0) * (z > 0))", "1/(1 − p) forgotten", r"1\.25|1/\(1|mask"), ("W", "x.T @ (D * (z > 0))", "dropout's mask not applied", r"mask|KEEP"),
         ("x", "(D * KEEP) @ W.T", "relu's mask not applied", r"relu")]),
    derivation(
        "weighted binary cross-entropy", "PyTorch's pos_weight", "library", weighted, dict(X=(6, 3), w=3, t=bits(6)), "p = sigmoid(X @ w); d = (-3 * t * (1 - p) + (1 - t) * p) / 6",
        {"w": "X.T @ d", "X": "np.outer(d, w)"},
        [("w", "X.T @ (p - t) / 6", "weight forgotten", r"\b3\b|weight|factor"), ("w", "X.T @ (3 * (p - t)) / 6", "weight on both terms", r"\b3\b|weight|factor|other term"),
         ("X", "6 * np.outer(d, w)", "mean forgotten", r"mean|\b6\b")]),
    derivation(
        "KL divergence of a Gaussian", "Kingma & Welling (2014), appendix B", "plain", gaussian, dict(mu=4, s=4), "",
        {"mu": "mu", "s": "0.5 * (np.exp(s) - 1)"},
        [("mu", "0.5 * mu", "the 2 forgotten", r"\b2\b|square|half"), ("s", "0.5 * np.exp(s)", "the −s forgotten", rf"{LEFT}|path"), ("s", "np.exp(s) - 1", "½ forgotten", r"0\.5|½|1/2|factor"),
         ("s", "0.5 * (s - 1)", "s for eˢ", r"exp"), ("s", "0.5 * (np.exp(s) + 1)", "sign of the −s", r"sign|minus")]),
    derivation(
        "bilinear score", "Matrix Cookbook, equation 70", "plain", bilinear, dict(x=3, W=(3, 3), y=3), "c = -1 / (1 + np.exp(x @ W @ y))",
        {"x": "c * (W @ y)", "W": "c * np.outer(x, y)", "y": "c * (x @ W)"},
        [("W", "c * np.outer(y, x)", "outer product transposed", r"transpos|order|exchanged"), ("x", "c * (W.T @ y)", "Wᵀ for W", r"transpos|order"), ("y", "-c * (x @ W)", "sign", r"sign|minus"),
         ("W", "np.outer(x, y)", "the loss's derivative left out", r"left out|missing|upstream|log|factor")]),
    derivation(
        "scaled residual branch", "Zhang et al. (2019), Fixup", "library", branch, dict(x=(3, 4), W=(4, 4), D=(3, 4)), "h = np.tanh(x @ W); g = 0.5 * D * (1 - h * h)",
        {"x": "D + g @ W.T", "W": "x.T @ g"},
        [("x", "D + 2 * g @ W.T", "scale of the branch forgotten", r"0\.5|scale"), ("x", "g @ W.T", "skip path dropped", rf"{LEFT}|path"), ("x", "D + g @ W", "W not transposed", r"transpos"),
         ("W", "x.T @ (0.5 * D * (1 - h))", "1 − h for 1 − h²", r"square|1 − y")]),
    derivation(
        "tied embeddings", "Press & Wolf (2017)", "library", tied, dict(E=(4, 3), W=(3, 3), y=labels(6, 4)), TIED,
        {"E": "dI + d.T @ h", "W": "e.T @ dz"},
        [("E", "d.T @ h", "input side dropped", rf"{LEFT}|path|only"), ("E", "dI", "output side dropped", rf"{LEFT}|path|only"), ("E", "dI + 6 * d.T @ h", "mean forgotten on one path", r"mean|\b6\b"),
         ("W", "e.T @ (d @ E)", "tanh left out", r"tanh")]),
    derivation(
        "policy gradient", "Williams (1992)", "library", policy, dict(theta=(4, 3), X=(6, 4), a=labels(6, 3), R=6), "p = softmax(X @ theta); d = (p - onehot(a, 3)) * R[:, None] / 6",
        {"theta": "X.T @ d"},
        [("theta", "-X.T @ d", "ascent for descent", r"sign"), ("theta", "X.T @ (p - onehot(a, 3)) / 6", "return left out", r"\bR\b"), ("theta", "-X.T @ (onehot(a, 3) * R[:, None]) / 6", "softmax's sum left out", r"softmax|log|sum|denominator"),
         ("theta", "6 * X.T @ d", "mean forgotten", r"mean|\b6\b")]),
    derivation(
        "max over time", "Collobert et al. (2011)", "library", pooled, dict(x=(3, 4, 2), W=(2, 5), y=labels(3, 5)),
        "h = np.tanh(x @ W); m = h.max(1); d = (softmax(m) - onehot(y, 5)) / 3; one = h == h.max(1, keepdims=True)",
        {"W": "np.einsum('nti,ntj->ij', x, one * d[:, None] * (1 - h * h))"},
        [("W", "np.einsum('nti,ntj->ij', x, d[:, None] * (1 - h * h))", "every time gets the gradient", r"max|every entry"),
         ("W", "np.einsum('nti,ntj->ij', x, one * d[:, None])", "tanh left out", r"tanh"), ("W", "x[-1].T @ (one * d[:, None] * (1 - h * h))[-1]", "one example only", r"last|batch|sum|added")]),
    derivation(
        "mean over time", "d2l, section 16.2", "library", averaged, dict(x=(3, 4, 2), W=(2, 5), y=labels(3, 5)), "d = (softmax((x @ W).mean(1)) - onehot(y, 5)) / 3",
        {"W": "x.mean(1).T @ d", "x": "np.repeat(d[:, None] @ W.T / 4, 4, 1)"},
        [("W", "x.sum(1).T @ d", "1/T forgotten", r"mean|\b4\b"), ("x", "np.repeat(d[:, None] @ W.T, 4, 1)", "1/T forgotten", r"mean|\b4\b"), ("x", "3 * np.repeat(d[:, None] @ W.T / 4, 4, 1)", "1/N forgotten", r"mean|\b3\b")]),
    derivation(
        "RMS norm", "Zhang & Sennrich (2019)", "library", rms, dict(x=(4, 5), g=positive(5), D=(4, 5)),
        "k = dict(axis=-1, keepdims=True); r = np.sqrt((x * x).mean(**k) + 0.1); h = x / r; u = D * g",
        {"x": "(u - h * (u * h).mean(**k)) / r", "g": "(D * h).sum(0)"},
        [("x", "(u - u.mean(**k) - h * (u * h).mean(**k)) / r", "layer norm's gradient", r"layer norm|mean"), ("x", "u / r", "the norm as a constant", r"norm|constant"),
         ("x", "(D - h * (D * h).mean(**k)) / r", "γ forgotten", r"\bg\b|factor"), ("g", "(D * x).sum(0)", "x for x̂", r"normalis|x̂|\bx\b")]),
    derivation(
        "cosine loss", "PyTorch's CosineEmbeddingLoss", "plain", contrast, dict(u=5, v=5),
        "a, b = np.linalg.norm(u), np.linalg.norm(v); s = u @ v / a / b; c = -2 * (1 - s)",
        {"u": "c * (v / b - s * u / a) / a", "v": "c * (u / a - s * v / b) / b"},
        [("u", "c * v / a / b", "norm of u as a constant", r"norm|constant|sqrt|denominator|quotient"), ("u", "c * (v / b + s * u / a) / a", "sign of the norm's term", r"sign|minus"), ("u", "-c * (v / b - s * u / a) / a", "sign", r"sign|minus"),
         ("v", "c * (u / a - s * v / b)", "not divided by the norm", r"norm|sqrt|division|factor|missing")]),
]
