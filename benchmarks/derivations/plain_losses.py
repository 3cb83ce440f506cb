"""Losses written in plain operations: regressions, margins, likelihoods, contrasts."""

from __future__ import annotations

import numpy as np

import minigrad as mg

from .derivation import Derivation, bits, derivation, labels, one_hot, positive, softmax

MEAN = r"mean|1/N|\bN\b|averag|divid"


def linear_regression(X, w, b, t):
    e = X @ w + b - t
    return (e * e).mean()


def ridge(X, w, t):
    residual = X @ w - t
    return 0.5 * (residual**2).sum() + 0.15 * (w**2).sum()


def logistic(X, w, t):
    p = 1 / (1 + mg.exp(-(X @ w)))
    nll = -(t * mg.log(p) + (1 - t) * mg.log(1 - p)).sum()
    return nll + 0.2 * (w * w).sum()


def softmax_regression(X, W, y):
    scores = X @ W
    e = mg.exp(scores)
    probs = e / e.sum(axis=1, keepdims=True)
    data_loss = -mg.log(probs[np.arange(6), y]).mean()
    return data_loss + 0.1 * (W * W).sum()


def hinge(X, W, y):
    scores = X @ W
    correct = scores[np.arange(6), y]
    margins = mg.maximum(scores - correct[:, None] + 1.0, 0) * (1 - np.eye(4)[y])
    return margins.sum() / 6 + 0.05 * (W * W).sum()


def negative_sampling(v, uo, U):
    positive_term = -mg.log(1 / (1 + mg.exp(-(uo @ v))))
    negative_term = -mg.log(1 / (1 + mg.exp(U @ v))).sum()
    return positive_term + negative_term


def naive_softmax(v, U):
    scores = U @ v
    return -scores[2] + mg.log(mg.exp(scores).sum())


def glove(W, C, b, c, X):
    weight = np.minimum(1, (np.asarray(X.data) / 1.5) ** 0.75)
    d = W @ C.T + b[:, None] + c[None, :] - np.log(np.asarray(X.data))
    return (weight * d**2).sum()


def gaussian(x, mu, sigma):
    z = (x - mu) / sigma
    return (0.5 * z**2 + mg.log(sigma)).sum()


def mixture(x, mu, a):
    e = mg.exp(a)
    pi = e / e.sum()
    density = mg.exp(-0.5 * (x[:, None] - mu) ** 2)
    return -mg.log((pi * density).sum(axis=1)).sum()


def info_nce(Q, K):
    s = Q @ K.T / 0.5
    e = mg.exp(s)
    p = e / e.sum(axis=1, keepdims=True)
    return -mg.log(p[np.arange(5), np.arange(5)]).mean()


def triplet(a, p, n):
    dp = ((a - p) ** 2).sum(axis=1)
    dn = ((a - n) ** 2).sum(axis=1)
    return mg.maximum(dp - dn + 1.0, 0).mean()


def focal(z, t):
    p = 1 / (1 + mg.exp(-z))
    q = t * p + (1 - t) * (1 - p)
    return -((1 - q) ** 2 * mg.log(q)).sum()


def smoothed(z, Y):
    logp = z - mg.log(mg.exp(z).sum(axis=1, keepdims=True))
    target = 0.8 * Y + 0.2 / 4
    return -(target * logp).sum() / 5


def distillation(z, teacher):
    T = 3.0
    e = mg.exp(z / T)
    p = e / e.sum(axis=1, keepdims=True)
    return -T**2 * (teacher * mg.log(p)).sum(axis=1).mean()


def huber(w, X, t):
    r = X @ w - t
    small = abs(r.data) <= 1.0
    return mg.where(small, 0.5 * r**2, mg.abs(r) - 0.5).sum()


def vae_kl(mu, logvar):
    return -0.5 * (1 + logvar - mu**2 - mg.exp(logvar)).sum()


def poisson(X, w, t):
    rate = mg.exp(X @ w)
    return (rate - t * (X @ w)).mean()


DERIVATIONS: list[Derivation] = [
    derivation(
        "linear regression", "CS229 notes 1", "plain", linear_regression, dict(X=(7, 3), w=3, b=(), t=7), "e = X @ w + b - t; N = len(t)",
        {"w": "2 * X.T @ e / N", "b": "2 * e.mean()"},
        [
            ("w", "X.T @ e / N", "2 of the square forgotten", r"\b2\b|square|half|1/2|e \* e|once"),
            ("w", "2 * X.T @ e", "1/N forgotten", MEAN),
            ("w", "-2 * X.T @ e / N", "sign", r"sign|minus|negat"),
            ("b", "2 * e.sum()", "1/N forgotten in the bias", MEAN),
            ("w", "2 * X.T @ (X @ w - t) / N", "the bias left out of the prediction", r"\bb\b|bias"),
        ],
    ),
    derivation(
        "ridge regression", "PRML 3.27", "plain", ridge, dict(X=(6, 3), w=3, t=6), "e = X @ w - t",
        {"w": "X.T @ e + 0.3 * w"},
        [
            ("w", "X.T @ e", "regulariser left out", r"(term|regulari|0\.15|w ?\*\* ?2|path|use).*(missing|left out|dropped|forgot|not added)|(missing|left out|dropped|forgot).*(term|regulari|0\.15|w|path|use)"),
            ("w", "X.T @ e + 0.15 * w", "regulariser without its 2", r"\b2\b|square|half & w|0\.15"),
            ("w", "X.T @ e - 0.3 * w", "sign of the regulariser", r"sign|minus|negat|subtract"),
            ("w", "2 * X.T @ e + 0.3 * w", "a 2 too many in the data term", r"\b2\b|0\.5|half|twice|doubl|square"),
            ("w", "X.T @ (X @ w) + 0.3 * w", "t left out of the residual", r"\bt\b"),
        ],
    ),
    derivation(
        "logistic regression with L2", "PRML 4.90", "plain", logistic, dict(X=(8, 3), w=3, t=bits(8)), "p = sigmoid(X @ w)",
        {"w": "X.T @ (p - t) + 0.4 * w"},
        [
            ("w", "X.T @ (t - p) + 0.4 * w", "sign of the data term", r"sign|minus|negat"),
            ("w", "X.T @ (p - t) + 0.2 * w", "regulariser without its 2", r"\b2\b|square|half|twice|doubl|once|0\.2"),
            ("w", "X.T @ ((p - t) * p * (1 - p)) + 0.4 * w", "derivative of the sigmoid multiplied once more", r"sigmoid|p ?\* ?\(1 ?[-−] ?p\)|derivative.*(twice|again|once more)|cancel|1 / \(1"),
            ("w", "X.T @ (p - t)", "regulariser left out", r"missing|left out|dropped|forgot|not added"),
            ("w", "X.T @ (p - t) / 8 + 0.4 * w", "mean for the sum", r"mean|sum|1/N|\bN\b|\b8\b"),
        ],
    ),
    derivation(
        "softmax regression, composed", "CS231n linear classify notes", "plain", softmax_regression, dict(X=(6, 3), W=(3, 4), y=labels(6, 4)),
        "p = softmax(X @ W); Y = onehot(y, 4); N = 6",
        {"W": "X.T @ (p - Y) / N + 0.2 * W"},
        [
            ("W", "X.T @ (p - Y) + 0.2 * W", "1/N forgotten beside the regulariser", MEAN),
            ("W", "X.T @ p / N + 0.2 * W", "the one-hot not subtracted", r"one-hot|target|label|\by\b|subtract"),
            ("W", "X.T @ (p - Y) / N + 0.1 * W", "regulariser without its 2", r"\b2\b|square|half|twice|once|0\.1"),
            ("W", "(X.T @ (p - Y) + 0.2 * W) / N", "everything divided by N", r"(1/N|mean|\bN\b|divid|\b6\b) & regulari|W|all|everything|both|term"),
            ("W", "X.T @ (Y - p) / N + 0.2 * W", "sign of the data term", r"sign|minus|negat"),
        ],
    ),
    derivation(
        "multiclass hinge", "CS231n assignment 1, svm", "plain", hinge, dict(X=(6, 3), W=(3, 4), y=labels(6, 4)),
        "s = X @ W; r = np.arange(6); m = s - s[r, y][:, None] + 1; M = (m > 0) * (1 - onehot(y, 4)); D = M - onehot(y, 4) * M.sum(1, keepdims=True)",
        {"W": "X.T @ D / 6 + 0.1 * W"},
        [
            ("W", "X.T @ M / 6 + 0.1 * W", "the correct class's row left out", r"correct|label|\by\b"),
            ("W", "X.T @ (M - onehot(y, 4)) / 6 + 0.1 * W", "the correct class counted once, not once for each margin", r"correct|sum|count|once"),
            ("W", "X.T @ D + 0.1 * W", "1/N forgotten", MEAN + r"|\b6\b"),
            ("W", "X.T @ ((1 - onehot(y, 4)) - 3 * onehot(y, 4)) / 6 + 0.1 * W", "indicator m > 0 forgotten", r"max|margin|mask|indicator|> 0|relu|zero"),
            ("W", "X.T @ D / 6", "regulariser left out", r"missing|left out|dropped|forgot|not added"),
        ],
    ),
    derivation(
        "word2vec, negative sampling", "CS224n assignment 2", "plain", negative_sampling, dict(v=4, uo=4, U=(5, 4)),
        "a = sigmoid(uo @ v); s = sigmoid(U @ v)",
        {"v": "(a - 1) * uo + U.T @ s", "uo": "(a - 1) * v", "U": "np.outer(s, v)"},
        [
            ("v", "(a - 1) * uo", "negative samples' term left out", r"missing|left out|dropped|forgot|not added|through"),
            ("v", "(1 - a) * uo + U.T @ s", "sign of the positive term", r"sign|minus|negat"),
            ("v", "a * uo + U.T @ s", "1 not subtracted: label of the positive pair forgotten", r"\b1\b|sigmoid|label|log"),
            ("v", "(a - 1) * uo + U.T @ (1 - s)", "sigma(-u.v) for sigma(u.v)", r"1 ?[-−]|sigmoid|for|place|instead"),
            ("U", "np.outer(s - 1, v)", "labels of the negatives taken as 1", r"\b1\b|sigmoid|label|log"),
        ],
    ),
    derivation(
        "word2vec, naive softmax", "CS224n assignment 2", "plain", naive_softmax, dict(v=4, U=(6, 4)),
        "p = softmax(U @ v); y = np.eye(6)[2]",
        {"v": "U.T @ (p - y)", "U": "np.outer(p - y, v)"},
        [
            ("v", "U.T @ (y - p)", "sign", r"sign|minus|negat"),
            ("v", "U.T @ p", "the outside vector not subtracted", r"one-hot|target|label|scores\[2\]|missing|left out|dropped|term"),
            ("U", "np.outer(p, v)", "the one-hot not subtracted", r"one-hot|target|label|scores\[2\]|missing|left out|dropped|term"),
            ("U", "np.outer(p - y, U[2])", "the outside word's vector for the center word's", r"operand|for|place|instead|\bv\b"),
            ("v", "U.T @ (np.exp(U @ v) - y)", "not normalised", r"normali|divid|denominator|log|sum"),
        ],
    ),
    derivation(
        "GloVe", "CS224n lecture 2", "plain", glove, dict(W=(4, 3), C=(5, 3), b=4, c=5, X=positive(4, 5)),
        "k = np.minimum(1, (X / 1.5) ** 0.75); d = W @ C.T + b[:, None] + c - np.log(X); E = 2 * k * d",
        {"W": "E @ C", "C": "E.T @ W", "b": "E.sum(1)", "c": "E.sum(0)"},
        [
            ("W", "2 * d @ C", "weighting function left out", r"weight|factor|multipl"),
            ("W", "k * d @ C", "2 of the square forgotten", r"\b2\b|square"),
            ("C", "2 * k.T * d.T @ W * 0.5", "2 of the square forgotten", r"\b2\b|square"),
            ("b", "E.mean(1)", "mean for sum", r"mean|sum|1/N|\bN\b|\b5\b"),
            ("C", "(2 * k ** 2 * d).T @ W", "weight applied twice", r"weight|twice|squared|again|once more"),
        ],
    ),
    derivation(
        "Gaussian likelihood", "PRML 1.53", "plain", gaussian, dict(x=6, mu=6, sigma=positive(6)), "z = (x - mu) / sigma",
        {"mu": "-z / sigma", "sigma": "(1 - z ** 2) / sigma"},
        [
            ("mu", "z / sigma", "sign of the inner derivative", r"sign|minus|negat"),
            ("mu", "-z", "1/sigma of the inner derivative forgotten", r"sigma|divid"),
            ("sigma", "1 / sigma", "through the squared term left out", r"missing|left out|dropped|forgot|not added|through|path|constant"),
            ("sigma", "-z ** 2 / sigma", "log sigma left out", r"log|missing|left out|dropped"),
            ("sigma", "(1 + z ** 2) / sigma", "sign of one term", r"sign|minus|negat"),
        ],
    ),
    derivation(
        "mixture of Gaussians", "PRML 9.17", "plain", mixture, dict(x=6, mu=3, a=3),
        "pi = softmax(a); d = np.exp(-0.5 * (x[:, None] - mu) ** 2); g = pi * d / (pi * d).sum(1, keepdims=True); u = x[:, None] - mu",
        {"mu": "-(g * u).sum(0)", "a": "6 * pi - g.sum(0)", "x": "(g * u).sum(1)"},
        [
            ("mu", "(g * u).sum(0)", "sign", r"sign|minus|negat"),
            ("mu", "-(pi * d * u).sum(0)", "responsibilities not normalised", r"normali|divid|denominator|log|sum"),
            ("a", "-g.sum(0)", "normalisation of pi left out: N pi", r"normali|sum|missing|left out|dropped|constant|softmax|through"),
            ("mu", "-(d / d.sum(1, keepdims=True) * u).sum(0)", "mixing weights left out", r"\bpi\b|weight|multipl"),
            ("mu", "-2 * (g * u).sum(0)", "1/2 forgotten", r"\b2\b|0\.5|half|twice|square"),
        ],
    ),
    derivation(
        "InfoNCE", "van den Oord 2018; CS231n self-supervised", "plain", info_nce, dict(Q=(5, 4), K=(5, 4)),
        "p = softmax(Q @ K.T / 0.5); D = (p - np.eye(5)) / 5",
        {"Q": "D @ K / 0.5", "K": "D.T @ Q / 0.5"},
        [
            ("Q", "D @ K", "temperature forgotten", r"temperature|0\.5|/ ?0\.5|\b2\b"),
            ("Q", "5 * D @ K / 0.5", "1/N forgotten", MEAN + r"|\b5\b"),
            ("K", "D @ Q / 0.5", "transpose forgotten", r"transpos|row"),
            ("Q", "p @ K / 5 / 0.5", "positives not subtracted", r"one-hot|target|label|positive|diagonal|missing|left out|dropped"),
            ("Q", "D @ K * 0.5", "temperature multiplied, not divided", r"temperature|0\.5|multipl|divid|upside"),
        ],
    ),
    derivation(
        "triplet loss", "FaceNet eq. 2", "plain", triplet, dict(a=(6, 3), p=(6, 3), n=(6, 3)),
        "m = (((a - p) ** 2).sum(1) - ((a - n) ** 2).sum(1) + 1 > 0)[:, None] / 6",
        {"a": "m * 2 * (n - p)", "p": "-m * 2 * (a - p)", "n": "m * 2 * (a - n)"},
        [
            ("a", "2 * (n - p) / 6", "indicator forgotten", r"max|margin|mask|indicator|> 0|hinge|active|zero"),
            ("a", "m * 2 * (a - p)", "through the negative left out", r"missing|left out|dropped|forgot|not added|through|constant"),
            ("p", "m * 2 * (a - p)", "sign", r"sign|minus|negat"),
            ("a", "m * 6 * 2 * (n - p)", "1/N forgotten", MEAN + r"|\b6\b"),
            ("a", "m * 2 * ((a - p) + (a - n))", "sign of the negative's term", r"sign|minus|negat"),
        ],
    ),
    derivation(
        "focal loss", "Lin et al. 2017 eq. 4", "plain", focal, dict(z=7, t=bits(7)),
        "p = sigmoid(z); q = np.where(t == 1, p, 1 - p); s = 2 * t - 1; dq = 2 * (1 - q) * np.log(q) - (1 - q) ** 2 / q",
        {"z": "dq * s * p * (1 - p)"},
        [
            ("z", "-(1 - q) ** 2 / q * s * p * (1 - p)", "modulating factor taken as a constant", r"missing|left out|dropped|constant|factor|\(1 ?[-−] ?q\)|power"),
            ("z", "dq * s", "derivative of the sigmoid left out", r"sigmoid|p ?\(1|p ?\*|1 / \(1|exp|derivative.*p\b"),
            ("z", "dq * p * (1 - p)", "sign of the negative class", r"sign|minus|negat|1 ?[-−] ?p"),
            ("z", "(-2 * (1 - q) * np.log(q) - (1 - q) ** 2 / q) * s * p * (1 - p)", "inner sign of 1 − q", r"sign|minus|negat"),
            ("z", "((1 - q) * np.log(q) - (1 - q) ** 2 / q) * s * p * (1 - p)", "2 of the power forgotten", r"\b2\b|square|power|exponent"),
        ],
    ),
    derivation(
        "label smoothing, composed", "Szegedy 2016 section 7", "plain", smoothed, dict(z=(5, 4), Y=one_hot(5, 4)),
        "p = softmax(z); Y2 = 0.8 * Y + 0.05",
        {"z": "(p - Y2) / 5"},
        [
            ("z", "(p - Y) / 5", "smoothing forgotten", r"smooth|target|0\.8|0\.2"),
            ("z", "p - Y2", "1/N forgotten", MEAN + r"|\b5\b"),
            ("z", "(p - 0.8 * Y) / 5", "the uniform part forgotten", r"smooth|target|uniform|0\.2|0\.05"),
            ("z", "(Y2 - p) / 5", "sign", r"sign|minus|negat"),
            ("z", "-Y2 / 5", "through the normaliser left out", r"normali|log|sum|missing|left out|dropped|constant|through"),
        ],
    ),
    derivation(
        "distillation", "Hinton 2015", "plain", distillation, dict(z=(4, 3), teacher=lambda rng: softmax(rng.normal(size=(4, 3)))),
        "p = softmax(z / 3)",
        {"z": "3 * (p - teacher) / 4"},
        [
            ("z", "9 * (p - teacher) / 4", "1/T of the inner derivative forgotten", r"\bT\b|temperature|\b3\b"),
            ("z", "(p - teacher) / 4 / 3", "T² forgotten", r"\bT\b|temperature|\b9\b"),
            ("z", "3 * (softmax(z) - teacher) / 4", "softmax without the temperature", r"\bT\b|temperature|\b3\b"),
            ("z", "3 * (p - teacher)", "1/N forgotten", MEAN + r"|\b4\b"),
            ("z", "3 * (teacher - p) / 4", "sign", r"sign|minus|negat"),
        ],
    ),
    derivation(
        "Huber loss", "d2l 3.1; ESL 10.23", "plain", huber, dict(w=3, X=(8, 3), t=lambda rng: 2 * rng.normal(size=8)),
        "r = X @ w - t; s = np.abs(r) <= 1",
        {"w": "X.T @ np.where(s, r, np.sign(r))"},
        [
            ("w", "X.T @ r", "the linear branch forgotten", r"where|branch|condition|mask|abs|piece"),
            ("w", "X.T @ np.where(s, r, 1.0)", "sign of the residual forgotten", r"sign|abs"),
            ("w", "X.T @ np.where(s, 2 * r, np.sign(r))", "½ of the square forgotten", r"\b2\b|0\.5|half|square|twice"),
            ("w", "X.T @ np.where(s, np.sign(r), r)", "branches exchanged", r"where|branch|condition|swap|exchang"),
            ("w", "X.T @ np.where(s, r, np.sign(r)) / 8", "mean for sum", r"mean|sum|1/N|\bN\b|\b8\b"),
        ],
    ),
    derivation(
        "KL of a VAE", "Kingma 2014 appendix B", "plain", vae_kl, dict(mu=5, logvar=5), "v = np.exp(logvar)",
        {"mu": "mu", "logvar": "0.5 * (v - 1)"},
        [
            ("mu", "-mu", "sign", r"sign|minus|negat"),
            ("mu", "2 * mu", "½ forgotten", r"\b2\b|0\.5|half|twice|square"),
            ("logvar", "0.5 * v", "through the linear term left out", r"missing|left out|dropped|forgot|not added|through|term"),
            ("logvar", "0.5 * (v + 1)", "sign of one term", r"sign|minus|negat"),
            ("logvar", "v - 1", "½ forgotten", r"\b2\b|0\.5|half|twice"),
        ],
    ),
    derivation(
        "Poisson regression", "CS229 notes, GLMs", "plain", poisson, dict(X=(6, 3), w=lambda rng: 0.5 * rng.normal(size=3), t=lambda rng: rng.integers(0, 4, 6) + 0.0),
        "r = np.exp(X @ w)",
        {"w": "X.T @ (r - t) / 6"},
        [
            ("w", "X.T @ (r - t)", "1/N forgotten", MEAN + r"|\b6\b"),
            ("w", "X.T @ (X @ w - t) / 6", "exp forgotten", r"exp|rate"),
            ("w", "X.T @ r / 6", "targets not subtracted", r"\bt\b|missing|left out|dropped|term"),
            ("w", "X.T @ (t - r) / 6", "sign", r"sign|minus|negat"),
            ("w", "(r - t) @ X * np.ones(3) / 6 + X.T @ r / 6", "the rate's term counted twice", r"twice|doubl|\b2\b|rate|exp"),
        ],
    ),
]
