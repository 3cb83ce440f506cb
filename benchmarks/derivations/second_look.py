"""A second later collection, written after the hints were mended for the first, and judged once as they stood."""

from __future__ import annotations

import numpy as np

import minigrad as mg

from .derivation import Derivation, derivation, labels, one_hot, positive

LEFT = r"missing|left out|dropped|forgot|not added|constant"


def biased(Q, K, V, B, D):
    Z = Q @ K.swapaxes(-1, -2) / 2.0 + B
    return (D * (mg.softmax(Z) @ V)).sum()


def grouped(Q, K, V, D):
    O = mg.scaled_dot_product_attention(Q, K, V)
    return (D * O).sum()


def tempered(X, W, c, y):
    return mg.cross_entropy(X @ W / c, y)


def poisson(X, w, y):
    z = X @ w
    return (mg.exp(z) - y * z).mean()


def siamese(a, b, W):
    d = mg.tanh(a @ W) - mg.tanh(b @ W)
    return (d * d).sum()


def experts(x, G, A, B, D):
    g = mg.softmax(x @ G)
    y = g[:, :1] * (x @ A) + g[:, 1:] * (x @ B)
    return (D * y).sum()


def linear_attention(Q, K, V, D):
    q, k = mg.exp(Q), mg.exp(K)
    top = q @ (k.T @ V)
    below = q @ k.sum(axis=0)
    return (D * top / below.reshape(4, 1)).sum()


def distances(X, Y, D):
    d = (X * X).sum(axis=1, keepdims=True) + (Y * Y).sum(axis=1) - 2.0 * (X @ Y.T)
    return (D * mg.exp(-d)).sum()


def gaussian_density(A, x):
    return 0.5 * (x @ A @ x) - 0.5 * np.linalg.slogdet(A)[1]


def solved(A, b, c):
    return (c * np.linalg.solve(A, b)).sum()


def unrolled(x, h0, W, U, D):
    h = h0
    for t in range(3):
        h = mg.tanh(x[t] @ W + h @ U)
    return (D * h).sum()


def layer_scale(x, g, W, D):
    return (D * (x + g * mg.gelu(x @ W))).sum()


def standard_scores(x, D):
    m = x.mean(axis=0)
    v = ((x - m) ** 2).sum(axis=0) / 5
    return (D * (x - m) / mg.sqrt(v)).sum()


def smoothed(Z, Y):
    T = 0.9 * Y + 0.1 / 4
    return -(T * mg.log_softmax(Z)).sum() / 5


def seq_loss(H, W, y, m):
    logp = mg.log_softmax(H @ W)
    picked = logp[np.arange(2)[:, None], np.arange(4), y]
    return -(picked * m).sum() / m.sum()


def draw_mask(rng):
    return np.array([[1.0, 1, 1, 0], [1, 1, 0, 0]])


def spd(rng):
    a = rng.normal(size=(3, 3))
    return a @ a.T + 3 * np.eye(3) + 0.3 * rng.normal(size=(3, 3))


BIAS = "A = softmax(Q @ K.swapaxes(-1, -2) / 2 + B); dA = D @ V.swapaxes(-1, -2); dZ = A * (dA - (dA * A).sum(-1, keepdims=True))"
GROUP = (
    "r = np.repeat; s = np.sqrt(3); k, v = r(K, 2, 1), r(V, 2, 1); T = lambda a: a.swapaxes(-1, -2); A = softmax(Q @ T(k) / s); "
    "dA = D @ T(v); dZ = A * (dA - (dA * A).sum(-1, keepdims=True)); dk, dv = T(dZ) @ Q / s, T(A) @ D; "
    "fold = lambda a: a.reshape(1, 2, 2, *a.shape[2:])"
)
EXPERTS = "g = softmax(x @ G); a, b = x @ A, x @ B; dg = np.stack([(D * a).sum(1), (D * b).sum(1)], 1); dz = g * (dg - (dg * g).sum(1, keepdims=True))"
LINEAR = "q, k = np.exp(Q), np.exp(K); S = k.T @ V; n = (q @ k.sum(0))[:, None]; o = q @ S / n; u = D / n; dn = -(D * o).sum(1, keepdims=True) / n"
DIST = "d = (X * X).sum(1)[:, None] + (Y * Y).sum(1) - 2 * X @ Y.T; g = -D * np.exp(-d)"
ROLL = (
    "h = [h0]\nfor t in range(3): h.append(np.tanh(x[t] @ W + h[-1] @ U))\n"
    "def back(steps=3, slope=True, through=True):\n"
    "    dh, dW, dU = D, 0, 0\n"
    "    for t in range(2, 2 - steps, -1):\n"
    "        dz = dh * (1 - h[t + 1]**2) if slope else dh\n"
    "        dW, dU = dW + x[t].T @ dz, dU + h[t].T @ dz\n"
    "        dh = dz @ U.T if through else D\n"
    "    return dW, dU, dh"
)
SCORES = "m = x.mean(0); c = x - m; v = (c * c).sum(0) / 5; s = np.sqrt(v); h = c / s"

DERIVATIONS: list[Derivation] = [
    derivation(
        "attention with a bias", "Press et al. (2022), ALiBi", "library", biased, dict(Q=(2, 3, 4), K=(2, 5, 4), V=(2, 5, 2), B=(3, 5), D=(2, 3, 2)), BIAS,
        {"B": "dZ.sum(0)", "Q": "dZ @ K / 2", "K": "dZ.swapaxes(-1, -2) @ Q / 2"},
        [("B", "dZ[-1]", "not summed over the heads", r"sum|added|last"), ("B", "dZ.mean(0)", "mean over the heads", r"mean"), ("B", "dZ.sum(0) / 2", "scale applied to the bias", r"2|scale|mean"),
         ("K", "dZ.swapaxes(-1, -2) @ Q / 4", "scale twice", r"twice|\b2\b")]),
    derivation(
        "grouped queries", "Ainslie et al. (2023)", "library", grouped, dict(Q=(1, 4, 3, 3), K=(1, 2, 5, 3), V=(1, 2, 5, 2), D=(1, 4, 3, 2)), GROUP,
        {"Q": "dZ @ k / s", "K": "fold(dk).sum(2)", "V": "fold(dv).sum(2)"},
        [("K", "fold(dk).mean(2)", "mean over the group", r"mean|averag"), ("V", "fold(dv)[:, :, -1]", "only the last head of a group", r"last|added|overwrit|sum"), ("Q", "dZ @ k", "scale forgotten", r"scale|√"),
         ("K", "-fold(dk).sum(2)", "sign", r"sign")]),
    derivation(
        "a learned temperature", "Guo et al. (2017)", "library", tempered, dict(X=(5, 3), W=(3, 4), c=positive(), y=labels(5, 4)),
        "z = X @ W; d = (softmax(z / c) - onehot(y, 4)) / 5", {"W": "X.T @ d / c", "c": "-(d * z).sum() / c**2", "X": "d @ W.T / c"},
        [("W", "X.T @ d", "temperature forgotten", r"\bc\b|temperature"), ("X", "d @ W.T * c", "temperature upside down", r"\bc\b"), ("W", "X.T @ (softmax(z) - onehot(y, 4)) / 5 / c", "softmax without temperature", r"\bc\b|temperature")]),
    derivation(
        "Poisson regression", "McCullagh & Nelder (1989)", "plain", poisson, dict(X=(6, 3), w=3, y=6), "z = X @ w; d = (np.exp(z) - y) / 6", {"w": "X.T @ d"},
        [("w", "X.T @ (z - y) / 6", "z for eᶻ", r"exp"), ("w", "X.T @ (np.exp(z) - y)", "mean forgotten", r"mean|\b6\b"), ("w", "X.T @ np.exp(z) / 6", "targets forgotten", LEFT), ("w", "X.T @ (np.exp(z) + y) / 6", "sign of the targets", r"sign|minus")]),
    derivation(
        "twin networks", "Bromley et al. (1993)", "library", siamese, dict(a=(3, 4), b=(3, 4), W=(4, 2)),
        "p, q = np.tanh(a @ W), np.tanh(b @ W); d = 2 * (p - q); da, db = d * (1 - p * p), -d * (1 - q * q)", {"W": "a.T @ da + b.T @ db", "a": "da @ W.T", "b": "db @ W.T"},
        [("W", "a.T @ da", "one twin only", rf"{LEFT}|path"), ("W", "a.T @ da - b.T @ db", "sign of the second twin", r"sign|minus"), ("W", "(a.T @ da + b.T @ db) / 2", "averaged over the twins", r"half|2|mean"),
         ("b", "d * (1 - q * q) @ W.T", "minus forgotten", r"sign|minus"), ("W", "a.T @ d - b.T @ d", "both tanh left out", r"tanh")]),
    derivation(
        "two experts and a gate", "Jacobs et al. (1991)", "library", experts, dict(x=(3, 4), G=(4, 2), A=(4, 2), B=(4, 2), D=(3, 2)), EXPERTS,
        {"G": "x.T @ dz", "A": "x.T @ (g[:, :1] * D)", "B": "x.T @ (g[:, 1:] * D)", "x": "dz @ G.T + (g[:, :1] * D) @ A.T + (g[:, 1:] * D) @ B.T"},
        [("A", "x.T @ D", "gate left out", r"factor|g\["), ("G", "x.T @ (dg * g)", "the softmax's sum forgotten", r"softmax"), ("x", "(g[:, :1] * D) @ A.T + (g[:, 1:] * D) @ B.T", "gate as a constant", rf"{LEFT}|path"),
         ("B", "x.T @ (g[:, :1] * D)", "the other expert's gate", r"g\[|stands where|exchanged|order|operand|flipped|gradient of A, not of B")]),
    derivation(
        "linear attention", "Katharopoulos et al. (2020)", "plain", linear_attention, dict(Q=(4, 3), K=(5, 3), V=(5, 2), D=(4, 2)), LINEAR,
        {"V": "k @ (q.T @ u)", "Q": "q * (u @ S.T + dn * k.sum(0))", "K": "k * (V @ (u.T @ q) + (dn * q).sum(0))"},
        [("Q", "q * (u @ S.T)", "denominator as a constant", rf"{LEFT}|denominator|quotient"), ("Q", "u @ S.T + dn * k.sum(0)", "exp left out", r"exp"), ("K", "k * (V @ (u.T @ q) - (dn * q).sum(0))", "sign of the denominator's term", r"sign|minus"),
         ("V", "k @ (q.T @ D)", "not divided", r"divi|denominator|below")]),
    derivation(
        "kernel of distances", "Schölkopf & Smola (2002)", "plain", distances, dict(X=(4, 2), Y=(3, 2), D=(4, 3)), DIST,
        {"X": "2 * g.sum(1)[:, None] * X - 2 * g @ Y", "Y": "2 * g.sum(0)[:, None] * Y - 2 * g.T @ X"},
        [("X", "2 * g.sum(1)[:, None] * X", "cross term forgotten", rf"{LEFT}|path"), ("X", "-2 * g @ Y", "|x|² forgotten", rf"{LEFT}|path"), ("Y", "2 * g.sum(0)[:, None] * Y - g.T @ X", "the 2 of the cross term forgotten", r"\b2\b|factor"),
         ("X", "-(2 * g.sum(1)[:, None] * X - 2 * g @ Y)", "sign", r"sign|minus"), ("Y", "2 * g.sum(0)[:, None] * Y + 2 * g.T @ X", "sign of the cross term", r"sign|minus")]),
    derivation(
        "Gaussian log-density", "Bishop (2006), equation 2.43", "library", gaussian_density, dict(A=spd, x=3), "i = np.linalg.inv(A)",
        {"A": "0.5 * np.outer(x, x) - 0.5 * i.T", "x": "0.5 * (A + A.T) @ x"},
        [("A", "0.5 * np.outer(x, x) - 0.5 * i", "inverse not transposed", r"transpos"), ("x", "A @ x", "symmetry assumed", r"symmetr"), ("A", "0.5 * np.outer(x, x)", "log-det forgotten", LEFT), ("A", "0.5 * np.outer(x, x) + 0.5 * i.T", "sign of the log-det", r"sign|minus"),
         ("A", "np.outer(x, x) - 0.5 * i.T", "½ forgotten", r"0\.5|½|\b2\b|factor|twice")]),
    derivation(
        "a linear system", "Giles (2008)", "library", solved, dict(A=spd, b=3, c=3), "s = np.linalg.solve(A, b); y = np.linalg.solve(A.T, c)", {"A": "-np.outer(y, s)", "b": "y"},
        [("A", "np.outer(y, s)", "sign", r"sign|minus"), ("A", "-np.outer(s, y)", "transposed", r"transpos|order"), ("b", "np.linalg.solve(A, c)", "A for Aᵀ", r"transpos"), ("A", "-np.outer(y, b)", "b for the solution", r"\bb\b|solve|operand|stands where")]),
    derivation(
        "three steps of recurrence", "Werbos (1990)", "library", unrolled, dict(x=(3, 2, 2), h0=(2, 3), W=(2, 3), U=(3, 3), D=(2, 3)), ROLL,
        {"W": "back()[0]", "U": "back()[1]", "h0": "back()[2]"},
        [("U", "back(1)[1]", "only the last step", r"last|overwrit"), ("W", "back(2)[0]", "cut after two steps", r"missing|steps"), ("W", "back(slope=False)[0]", "tanh left out at every step", r"tanh"),
         ("U", "back(through=False)[1]", "the gradient of the state not carried back", r"U|matmul|path|derivative|state")]),
    derivation(
        "layer scale", "Touvron et al. (2021), CaiT", "library", layer_scale, dict(x=(3, 4), g=4, W=(4, 4), D=(3, 4)), "f = mg.gelu(mg.Tensor(x @ W)).data; s = mg.grad(lambda v: (mg.gelu(v) * (g * D)).sum())(x @ W).data",
        {"g": "(D * f).sum(0)", "x": "D + s @ W.T", "W": "x.T @ s"},
        [("g", "D * f", "not summed over the batch", r"sum"), ("g", "(D * f).mean(0)", "mean over the batch", r"mean"), ("x", "s @ W.T", "skip path dropped", rf"{LEFT}|path"), ("W", "x.T @ (g * D)", "gelu left out", r"gelu")]),
    derivation(
        "standard scores", "Ioffe & Szegedy (2015), with n − 1", "plain", standard_scores, dict(x=(6, 3), D=(6, 3)), SCORES,
        {"x": "(D - D.mean(0) - h * (D * h).sum(0) / 5) / s"},
        [("x", "(D - D.mean(0) - h * (D * h).mean(0)) / s", "n for n − 1", r"\b5\b|\b6\b|mean"), ("x", "(D - D.mean(0)) / s", "variance as a constant", r"var|sqrt|constant"), ("x", "(D - h * (D * h).sum(0) / 5) / s", "mean as a constant", r"mean"),
         ("x", "D / s", "both as constants", r"mean & var|constant|\bv = ")]),
    derivation(
        "smoothed targets", "Szegedy et al. (2016)", "plain", smoothed, dict(Z=(5, 4), Y=one_hot(5, 4)), "p = softmax(Z); T = 0.9 * Y + 0.025", {"Z": "(p - T) / 5"},
        [("Z", "(p - Y) / 5", "smoothing forgotten", r"smooth|0\.9|0\.025|left out|\bY\b"), ("Z", "p - T", "mean forgotten", r"mean|\b5\b"), ("Z", "-T / 5", "softmax's part forgotten", r"softmax|missing"), ("Z", "(T - p) / 5", "sign", r"sign")]),
    derivation(
        "loss of padded sequences", "CS224n, assignment 4", "library", seq_loss, dict(H=(2, 4, 3), W=(3, 5), y=labels((2, 4), 5), m=draw_mask),
        "p = softmax(H @ W); d = (p - onehot(y, 5)) * m[..., None] / m.sum()", {"W": "np.einsum('nti,ntj->ij', H, d)", "H": "d @ W.T"},
        [("H", "d @ W.T * m.sum() / 8", "padding counted in the mean", r"\b8\b|\b5\b|count"), ("H", "((p - onehot(y, 5)) / m.sum()) @ W.T", "mask forgotten", r"mask|\bm\b"), ("W", "np.einsum('nti,ntj->ij', H, d) * m.sum()", "mean forgotten", r"mean|\b5\b"),
         ("W", "H[-1].T @ d[-1]", "one sequence only", r"last|sum|added")]),
]
