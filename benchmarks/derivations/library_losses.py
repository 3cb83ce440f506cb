"""Losses that use the library's ops: cross_entropy, log_softmax, logsumexp, sigmoid, minimum, clip ..."""

from __future__ import annotations

import numpy as np

import minigrad as mg

from .derivation import Derivation, bits, derivation, labels, one_hot, positive

LEFT = r"missing|left out|dropped|forgot|not added|through|constant"
SIGN = r"sign|minus|negat"
MEAN = r"mean|1/N|\bN\b|averag|divid"


def regularised(X, W, b, y):
    return mg.cross_entropy(X @ W + b, y) + 0.1 * mg.sum(W * W)


def smoothed(X, W, y):
    return mg.cross_entropy(X @ W, y, label_smoothing=0.2)


def padded(H, W, y):
    return mg.cross_entropy(H @ W, y, ignore_index=-1)


def cbow(E, U, ids, y):
    h = mg.embedding(E, ids).mean(axis=1)
    return mg.cross_entropy(h @ U.T, y)


def tied(E, ids, y):
    h = mg.embedding(E, ids)
    return mg.cross_entropy(h @ E.T, y)


def binary(X, w, b, t):
    z = X @ w + b
    return mg.sum(mg.log1p(mg.exp(z)) - t * z)


def bernoulli(z, t):
    p = mg.sigmoid(z)
    return -mg.mean(t * mg.log(p) + (1 - t) * mg.log(1 - p))


def log_sum_exp(x, c):
    return mg.logsumexp(x @ c)


def soft_targets(z, Q):
    return -mg.sum(Q * mg.log_softmax(z)) / 5


def reinforce(W, s, a, A):
    logp = mg.log_softmax(s @ W)
    return -mg.sum(A * logp[np.arange(6), a])


def policy(z, r):
    p = mg.softmax(z)
    return p @ r - 0.2 * mg.sum(p * mg.log(p))


def kl(z, u):
    p = mg.softmax(z)
    return mg.sum(p * (mg.log_softmax(z) - mg.log_softmax(u)))


def ppo(logits, old, A):
    ratio = mg.exp(logits - old)
    return -mg.mean(mg.minimum(ratio * A, mg.clip(ratio, 0.8, 1.2) * A))


def lasso(X, w, t):
    return 0.5 * mg.mean(mg.square(X @ w - t)) + 0.3 * mg.sum(mg.abs(w))


def contrastive(Z, P):
    z = Z / mg.sqrt(mg.sum(mg.square(Z), axis=1, keepdims=True))
    p = P / mg.sqrt(mg.sum(mg.square(P), axis=1, keepdims=True))
    return mg.cross_entropy(z @ p.T / 0.5, np.arange(5))


def temperature(logits, tau, y):
    return mg.cross_entropy(logits / tau, y)


def squared_softmax(z, Y):
    p = mg.softmax(z)
    return 0.5 * mg.sum(mg.square(p - Y))


def pairwise_ranking(s, winners, losers):
    d = mg.take(s, winners, axis=0) - mg.take(s, losers, axis=0)
    return -mg.sum(mg.log(mg.sigmoid(d)))


def masked_language(z, y, keep):
    logp = mg.log_softmax(z)
    nll = -logp[np.arange(6), y]
    return mg.sum(keep * nll) / np.sum(np.asarray(keep.data))


DERIVATIONS: list[Derivation] = [
    derivation(
        "softmax regression", "CS231n; d2l 4.4", "library", regularised, dict(X=(6, 3), W=(3, 4), b=4, y=labels(6, 4)),
        "p = softmax(X @ W + b); D = (p - onehot(y, 4)) / 6",
        {"W": "X.T @ D + 0.2 * W", "b": "D.sum(0)", "X": "D @ W.T"},
        [
            ("W", "X.T @ D", "regulariser left out", LEFT),
            ("W", "6 * X.T @ D + 0.2 * W", "1/N forgotten beside the regulariser", MEAN + r"|\b6\b"),
            ("W", "X.T @ D + 0.1 * W", "regulariser without its 2", r"\b2\b|square|half|once|use|path"),
            ("X", "p @ W.T / 6", "one-hot not subtracted", r"one-hot|target|label"),
            ("b", "p.mean(0)", "one-hot not subtracted", r"one-hot|target|label"),
        ],
    ),
    derivation(
        "label smoothing", "Szegedy 2016", "library", smoothed, dict(X=(6, 3), W=(3, 4), y=labels(6, 4)),
        "p = softmax(X @ W); Y = onehot(y, 4); S = 0.8 * Y + 0.05",
        {"W": "X.T @ (p - S) / 6"},
        [
            ("W", "X.T @ (p - Y) / 6", "smoothing forgotten", r"smooth"),
            ("W", "X.T @ (p - 0.8 * Y) / 6", "uniform part forgotten", r"smooth|uniform"),
            ("W", "X.T @ (p - 0.8 * Y - 0.2 / 3 * (1 - Y)) / 6", "α/(V−1) over the other classes", r"V ?[-−] ?1|smooth|other classes"),
            ("W", "X.T @ (p - S)", "1/N forgotten", MEAN + r"|\b6\b"),
            ("W", "X.T @ (S - p) / 6", "sign", SIGN),
        ],
    ),
    derivation(
        "padding ignored", "CS224n assignment 4", "library", padded, dict(H=(6, 3), W=(3, 4), y=lambda rng: np.array([0, 2, 1, 3, -1, -1])),
        "p = softmax(H @ W); k = (y >= 0)[:, None]; D = k * (p - onehot(y, 4))",
        {"W": "H.T @ D / 4", "H": "D @ W.T / 4"},
        [
            ("W", "H.T @ D / 6", "divided by all rows, not those kept", r"ignor|pad|count|kept|\b4\b|\b6\b|rows"),
            ("W", "H.T @ (p - k * onehot(y, 4)) / 4", "ignored rows not masked", r"ignor|pad|mask"),
            ("H", "D @ W.T", "1/N forgotten", MEAN + r"|\b4\b"),
            ("H", "(p - onehot(y, 4)) @ W.T / 6", "padding treated as the last class", r"ignor|pad|mask"),
            ("W", "H.T @ (k * p) / 4", "one-hot not subtracted", r"one-hot|target|label"),
        ],
    ),
    derivation(
        "continuous bag of words", "CS224n lecture 1; Mikolov 2013", "library", cbow, dict(E=(7, 3), U=(7, 3), ids=lambda rng: rng.integers(0, 7, (5, 2)), y=labels(5, 7)),
        "h = E[ids].mean(1); p = softmax(h @ U.T); D = (p - onehot(y, 7)) / 5; dh = D @ U\n"
        "def scatter(v):\n    g = np.zeros((7, 3)); np.add.at(g, ids, v); return g\n"
        "def overwrite(v):\n    g = np.zeros((7, 3)); g[ids] = v; return g",
        {"U": "D.T @ h", "E": "scatter(dh[:, None] / 2)"},
        [
            ("E", "scatter(dh[:, None])", "1/context of the mean forgotten", r"mean|\b2\b|1/N|context"),
            ("E", "overwrite(np.broadcast_to(dh[:, None] / 2, (5, 2, 3)))", "repeated ids overwritten", r"overwrit|repeat|add"),
            ("U", "(5 * D).T @ h", "1/N forgotten", MEAN + r"|\b5\b"),
            ("U", "D.T @ E[ids].sum(1)", "sum for mean of the context", r"mean|sum|\b2\b"),
            ("E", "scatter(-dh[:, None] / 2)", "sign", SIGN),
        ],
    ),
    derivation(
        "tied embedding", "Press and Wolf 2017", "library", tied, dict(E=(6, 3), ids=lambda rng: np.array([0, 2, 2, 5, 1]), y=labels(5, 6)),
        "h = E[ids]; p = softmax(h @ E.T); D = (p - onehot(y, 6)) / 5; g = np.zeros((6, 3)); np.add.at(g, ids, D @ E); w = np.zeros((6, 3)); w[ids] = D @ E",
        {"E": "D.T @ h + g"},
        [
            ("E", "D.T @ h", "input embedding's use left out", r"use|path|embedding|missing|left out"),
            ("E", "g", "output use left out", r"use|path|missing|left out|h @ E|product"),
            ("E", "D.T @ h + w", "repeated ids overwritten", r"overwrit|repeat"),
            ("E", "D.T @ h - g", "sign on one path", SIGN),
            ("E", "5 * (D.T @ h + g)", "1/N forgotten", MEAN + r"|\b5\b"),
        ],
    ),
    derivation(
        "logistic loss by log1p", "CS229", "library", binary, dict(X=(7, 3), w=3, b=(), t=bits(7)), "z = X @ w + b; p = sigmoid(z)",
        {"w": "X.T @ (p - t)", "b": "(p - t).sum()"},
        [
            ("w", "X.T @ p", "targets not subtracted", r"\bt\b|missing|left out|dropped|term"),
            ("w", "X.T @ (p - t) / 7", "mean for sum", r"mean|sum|1/N|\bN\b|\b7\b"),
            ("w", "X.T @ (np.exp(z) - t)", "1/(1 + e) of the log forgotten", r"log"),
            ("b", "(t - p).sum()", "sign", SIGN),
            ("b", "(p - t).mean()", "mean for sum", r"mean|sum|1/N|\bN\b|\b7\b"),
        ],
    ),
    derivation(
        "binary cross-entropy", "d2l 18; Keras notes", "library", bernoulli, dict(z=7, t=bits(7)), "p = sigmoid(z)",
        {"z": "(p - t) / 7"},
        [
            ("z", "(-t / p + (1 - t) / (1 - p)) / 7", "sigmoid' left out", r"sigmoid"),
            ("z", "p - t", "1/N forgotten", MEAN + r"|\b7\b"),
            ("z", "-t * (1 - p) / 7", "the second term left out", LEFT),
            ("z", "(p - t) * p * (1 - p) / 7", "sigmoid' twice", r"sigmoid|twice|again|p ?\(1|cancel"),
            ("z", "(-t * (1 - p) - (1 - t) * p) / 7", "inner sign of 1 − p", SIGN),
        ],
    ),
    derivation(
        "log-sum-exp", "Boyd 3.1.5", "library", log_sum_exp, dict(x=(5, 3), c=3), "p = softmax(x @ c)",
        {"x": "np.outer(p, c)", "c": "x.T @ p"},
        [
            ("x", "np.outer(np.exp(x @ c), c)", "not normalised", r"normali|divid|sum|softmax|exp"),
            ("c", "x.sum(0)", "softmax weights left out", r"softmax|weight|logsumexp|left out"),
            ("c", "x.T @ (x @ c)", "scores for their softmax", r"softmax|for|place|instead|score|operand|x @ c"),
            ("c", "-x.T @ p", "sign", SIGN),
            ("x", "np.outer(p, c) / 5", "mean for sum", r"mean|1/N|\bN\b|\b5\b|divid"),
        ],
    ),
    derivation(
        "cross-entropy with soft targets", "d2l 4.1", "library", soft_targets, dict(z=(5, 4), Q=positive(5, 4)), "p = softmax(z)",
        {"z": "(p * Q.sum(1, keepdims=True) - Q) / 5"},
        [
            ("z", "(p - Q) / 5", "targets assumed to sum to one", r"sum"),
            ("z", "p * Q.sum(1, keepdims=True) - Q", "1/N forgotten", MEAN + r"|\b5\b"),
            ("z", "-Q / 5", "through the normaliser left out", r"normali|softmax|sum|" + LEFT),
            ("z", "(Q - p * Q.sum(1, keepdims=True)) / 5", "sign", SIGN),
            ("z", "(p * Q.sum(0) - Q) / 5", "sum over the wrong axis", r"axis"),
        ],
    ),
    derivation(
        "policy gradient", "CS285 lecture 5; Sutton 13.3", "library", reinforce, dict(W=(3, 4), s=(6, 3), a=labels(6, 4), A=6),
        "p = softmax(s @ W); Y = onehot(a, 4)",
        {"W": "s.T @ (A[:, None] * (p - Y))"},
        [
            ("W", "s.T @ (A[:, None] * (Y - p))", "sign", SIGN),
            ("W", "s.T @ (p - Y)", "advantage left out", r"\bA\b|advantage|weight|multipl"),
            ("W", "s.T @ (A[:, None] * p)", "chosen action not subtracted", r"one-hot|target|label|index|pick|chosen|softmax"),
            ("W", "s.T @ (-A[:, None] * Y)", "through the normaliser left out", r"normali|softmax|sum|" + LEFT),
            ("W", "s.T @ (A[:, None] * (p - Y)) / 6", "mean for sum", r"mean|sum|1/N|\bN\b|\b6\b"),
        ],
    ),
    derivation(
        "expected reward with entropy bonus", "Williams 1992; Mnih 2016", "library", policy, dict(z=5, r=5), "p = softmax(z); H = r - 0.2 * (np.log(p) + 1)",
        {"z": "p * (H - (p * H).sum())"},
        [
            ("z", "p * (r - (p * r).sum())", "entropy bonus left out", LEFT),
            ("z", "p * H", "softmax's second term left out", r"softmax"),
            ("z", "H", "softmax's Jacobian left out", r"softmax"),
            ("z", "p * (1 - p) * H", "only the diagonal of the softmax's Jacobian", r"diagonal|p ?\(1|softmax"),
            ("z", "p * (r + 0.2 * (np.log(p) + 1) - (p * (r + 0.2 * (np.log(p) + 1))).sum())", "sign of the bonus", SIGN),
        ],
    ),
    derivation(
        "KL divergence of two softmaxes", "TRPO; d2l 22.11", "library", kl, dict(z=5, u=5), "p = softmax(z); q = softmax(u); l = np.log(p / q)",
        {"z": "p * (l - (p * l).sum())", "u": "q - p"},
        [
            ("z", "p - q", "that of cross-entropy: p's own use left out", r"softmax|use|path|" + LEFT),
            ("u", "p - q", "sign", SIGN),
            ("z", "p * l", "softmax's second term left out", r"softmax"),
            ("u", "-p", "normaliser of q left out", r"normali|softmax|sum|" + LEFT),
            ("u", "q", "p not subtracted", r"\bp\b|target|one-hot|" + LEFT),
        ],
    ),
    derivation(
        "PPO's clipped objective", "Schulman 2017 eq. 7", "library", ppo, dict(logits=8, old=lambda rng: 0.5 * rng.normal(size=8), A=8),
        "r = np.exp(logits - old); c = np.clip(r, 0.8, 1.2); m = (r * A <= c * A) * 1.0",
        {"logits": "-m * r * A / 8"},
        [
            ("logits", "-r * A / 8", "clipping forgotten", r"clip|min"),
            ("logits", "-m * A / 8", "ratio left out", r"exp|ratio"),
            ("logits", "m * r * A / 8", "sign", SIGN),
            ("logits", "-m * r * A", "1/N forgotten", MEAN + r"|\b8\b"),
            ("logits", "-1.0 * (c == r) * r * A / 8", "clip's mask where the minimum's belongs", r"clip|min"),
        ],
    ),
    derivation(
        "lasso", "ESL 3.52", "library", lasso, dict(X=(6, 3), w=lambda rng: np.array([0.7, -0.4, 1.3]), t=6), "e = X @ w - t",
        {"w": "X.T @ e / 6 + 0.3 * np.sign(w)"},
        [
            ("w", "X.T @ e / 6", "penalty left out", LEFT),
            ("w", "X.T @ e / 6 + 0.3 * w", "w for sign(w)", r"abs|sign"),
            ("w", "X.T @ e / 6 + 0.3", "sign of w forgotten", r"abs|sign"),
            ("w", "X.T @ e + 0.3 * np.sign(w)", "1/N forgotten beside the penalty", MEAN + r"|\b6\b"),
            ("w", "2 * X.T @ e / 6 + 0.3 * np.sign(w)", "½ forgotten", r"\b2\b|0\.5|half|twice|square"),
        ],
    ),
    derivation(
        "normalised contrastive loss", "SimCLR; CS231n assignment 3", "library", contrastive, dict(Z=(5, 4), P=(5, 4)),
        "n = np.sqrt((Z ** 2).sum(1, keepdims=True)); z = Z / n; q = P / np.sqrt((P ** 2).sum(1, keepdims=True)); p = softmax(z @ q.T / 0.5); D = (p - np.eye(5)) / 5; G = D @ q / 0.5",
        {"Z": "(G - z * (G * z).sum(1, keepdims=True)) / n"},
        [
            ("Z", "G / n", "norm taken as a constant", r"norm|constant|sqrt"),
            ("Z", "G", "normalisation left out", r"norm|divid|constant|sqrt"),
            ("Z", "0.5 * (G - z * (G * z).sum(1, keepdims=True)) / n", "temperature forgotten", r"temperature|0\.5|\b2\b"),
            ("Z", "5 * (G - z * (G * z).sum(1, keepdims=True)) / n", "1/N forgotten", MEAN + r"|\b5\b"),
            ("Z", "(G - z * (G * z).sum(0)) / n", "sum over the wrong axis", r"axis"),
        ],
    ),
    derivation(
        "learned temperature", "Guo 2017", "library", temperature, dict(logits=(5, 4), tau=lambda rng: np.array(1.7), y=labels(5, 4)),
        "p = softmax(logits / tau); D = (p - onehot(y, 4)) / 5",
        {"logits": "D / tau", "tau": "-(D * logits).sum() / tau ** 2"},
        [
            ("logits", "D", "1/τ forgotten", r"tau"),
            ("tau", "(D * logits).sum() / tau ** 2", "sign", SIGN),
            ("tau", "-(D * logits).sum() / tau", "one power of τ missing", r"tau"),
            ("logits", "(softmax(logits) - onehot(y, 4)) / 5 / tau", "softmax without the temperature", r"tau"),
            ("logits", "D * tau", "multiplied by τ", r"tau"),
        ],
    ),
    derivation(
        "squared error of a softmax", "PRML exercise; Brier score", "library", squared_softmax, dict(z=(4, 3), Y=one_hot(4, 3)), "p = softmax(z); e = p - Y",
        {"z": "p * (e - (p * e).sum(1, keepdims=True))"},
        [
            ("z", "e", "gradient of cross-entropy: Jacobian left out", r"softmax"),
            ("z", "p * e", "second term left out", r"softmax"),
            ("z", "p * (1 - p) * e", "diagonal only", r"softmax|diagonal|p ?\(1"),
            ("z", "2 * p * (e - (p * e).sum(1, keepdims=True))", "½ forgotten", r"\b2\b|0\.5|half|twice"),
            ("z", "p * (e - (p * e).sum(0))", "wrong axis", r"axis"),
        ],
    ),
    derivation(
        "pairwise ranking", "RankNet; RLHF reward models", "library", pairwise_ranking, dict(s=5, winners=lambda rng: np.array([0, 1, 2, 0]), losers=lambda rng: np.array([1, 3, 4, 4])),
        "d = s[winners] - s[losers]; q = sigmoid(d) - 1\ndef put(i, v):\n    g = np.zeros(5); np.add.at(g, i, v); return g\ndef over(i, v):\n    g = np.zeros(5); g[i] = v; return g",
        {"s": "put(winners, q) - put(losers, q)"},
        [
            ("s", "put(winners, q)", "losers' use left out", LEFT + r"|use|path|losers"),
            ("s", "put(winners, q) + put(losers, q)", "losers' sign", SIGN),
            ("s", "over(winners, q) - over(losers, q)", "repeated indices overwritten", r"overwrit|repeat"),
            ("s", "put(winners, q + 1) - put(losers, q + 1)", "σ(d) for σ(d) − 1", r"sigmoid|log|1 ?[-−]|for|place"),
            ("s", "put(losers, q) - put(winners, q)", "sign", SIGN),
        ],
    ),
    derivation(
        "masked language model", "BERT; CS224n", "library", masked_language, dict(z=(6, 4), y=labels(6, 4), keep=bits(6)), "p = softmax(z); D = p - onehot(y, 4); k = keep[:, None]",
        {"z": "k * D / keep.sum()"},
        [
            ("z", "D / keep.sum()", "mask forgotten", r"mask|keep"),
            ("z", "k * D", "1/count forgotten", MEAN + r"|count|\d\b"),
            ("z", "k * D / 6", "divided by all rows", r"mean|count|divid|\b6\b|times"),
            ("z", "k * p / keep.sum()", "one-hot not subtracted", r"one-hot|target|label|index|softmax"),
            ("z", "-k * D / keep.sum()", "sign", SIGN),
        ],
    ),
]
