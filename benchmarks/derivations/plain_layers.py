"""Networks, normalisations and attention in plain operations."""

from __future__ import annotations

import numpy as np

import minigrad as mg

from .derivation import Derivation, derivation, labels, positive

LEFT = r"missing|left out|dropped|forgot|not added|through|constant"
SIGN = r"sign|minus|negat"
CAUSAL = np.tril(np.ones((5, 5)))


def two_layer(X, W1, b1, W2, b2, y):
    h = mg.maximum(X @ W1 + b1, 0)
    scores = h @ W2 + b2
    e = mg.exp(scores)
    p = e / e.sum(axis=1, keepdims=True)
    return -mg.log(p[np.arange(6), y]).mean() + 0.05 * (W1 * W1).sum() + 0.05 * (W2 * W2).sum()


def sigmoid_net(X, W1, W2, T):
    h = 1 / (1 + mg.exp(-(X @ W1)))
    y = 1 / (1 + mg.exp(-(h @ W2)))
    return 0.5 * ((y - T) ** 2).sum()


def tanh_net(X, W1, W2, W3, T):
    h1 = mg.tanh(X @ W1)
    h2 = mg.tanh(h1 @ W2)
    y = h2 @ W3
    return ((y - T) ** 2).sum() / 6


def batch_norm(x, gamma, beta, D):
    mu = x.mean(axis=0)
    xc = x - mu
    var = (xc**2).mean(axis=0)
    std = mg.sqrt(var + 0.1)
    xhat = xc / std
    return (D * (gamma * xhat + beta)).sum()


def layer_norm(x, gamma, beta, D):
    mu = x.mean(axis=1, keepdims=True)
    xc = x - mu
    var = (xc * xc).mean(axis=1, keepdims=True)
    xhat = xc / mg.sqrt(var + 0.1)
    return (D * (gamma * xhat + beta)).sum()


def rms_norm(x, g, D):
    ms = (x * x).mean(axis=1, keepdims=True)
    r = mg.sqrt(ms + 0.1)
    return (D * (g * x / r)).sum()


def attention(Q, K, V, D):
    S = Q @ K.T / 2.0
    E = mg.exp(S)
    A = E / E.sum(axis=1, keepdims=True)
    return (D * (A @ V)).sum()


def causal_attention(Q, K, V, D):
    S = Q @ K.T / 2.0 - 1e9 * (1 - CAUSAL)
    E = mg.exp(S)
    A = E / E.sum(axis=1, keepdims=True)
    return (D * (A @ V)).sum()


def autoencoder(X, W):
    h = mg.tanh(X @ W)
    R = h @ W.T
    return ((R - X) ** 2).mean()


def residual(x, W1, W2, D):
    h = mg.maximum(x @ W1, 0)
    y = x + h @ W2
    return (D * y).sum() + 0.5 * (y * y).sum()


DERIVATIONS: list[Derivation] = [
    derivation(
        "two-layer net, composed", "CS231n assignment 1", "plain", two_layer, dict(X=(6, 4), W1=(4, 5), b1=5, W2=(5, 3), b2=3, y=labels(6, 3)),
        "z = X @ W1 + b1; h = np.maximum(z, 0); p = softmax(h @ W2 + b2); d = (p - onehot(y, 3)) / 6; dh = d @ W2.T; dz = dh * (z > 0)",
        {"W1": "X.T @ dz + 0.1 * W1", "b1": "dz.sum(0)", "W2": "h.T @ d + 0.1 * W2", "b2": "d.sum(0)"},
        [
            ("W1", "X.T @ dh + 0.1 * W1", "the relu's mask forgotten", r"max|relu|mask|> 0"),
            ("b1", "dh.sum(0)", "the relu's mask forgotten", r"max|relu|mask|> 0"),
            ("W2", "np.maximum(z, z).T @ d + 0.1 * W2", "pre- for post-activation", r"\bh\b|before|pre|activation|max|X @ W1|operand"),
            ("W1", "X.T @ dz", "regulariser left out", LEFT),
            ("b2", "6 * d.sum(0)", "1/N forgotten", r"mean|1/N|\bN\b|averag|divid|\b6\b"),
        ],
    ),
    derivation(
        "sigmoid network with squared error", "Nielsen, chapter 2", "plain", sigmoid_net, dict(X=(6, 3), W1=(3, 4), W2=(4, 2), T=(6, 2)),
        "h = sigmoid(X @ W1); y = sigmoid(h @ W2); e = y - T; d2 = e * y * (1 - y); dh = d2 @ W2.T",
        {"W1": "X.T @ (dh * h * (1 - h))", "W2": "h.T @ d2"},
        [
            ("W1", "X.T @ dh", "hidden layer's sigmoid' left out", r"\bh\b|W1"),
            ("W1", "X.T @ ((e @ W2.T) * h * (1 - h))", "output layer's sigmoid' left out", r"\by\b|W2"),
            ("W2", "h.T @ e", "sigmoid' left out", r"sigmoid|derivative|exp|1 / "),
            ("W2", "h.T @ (e * y)", "1 − y forgotten", r"1 ?[-−]|sigmoid"),
            ("W1", "X.T @ (((T - y) * y * (1 - y)) @ W2.T * h * (1 - h))", "sign", SIGN),
        ],
    ),
    derivation(
        "three-layer tanh network", "d2l 5.3", "plain", tanh_net, dict(X=(6, 3), W1=(3, 4), W2=(4, 4), W3=(4, 2), T=(6, 2)),
        "a = np.tanh(X @ W1); b = np.tanh(a @ W2); y = b @ W3; g = (y - T) / 3; gb = g @ W3.T; zb = gb * (1 - b ** 2); ga = zb @ W2.T",
        {"W1": "X.T @ (ga * (1 - a ** 2))", "W2": "a.T @ zb", "W3": "b.T @ g"},
        [
            ("W1", "X.T @ ((gb @ W2.T) * (1 - a ** 2))", "second layer's tanh' left out", r"tanh & h2|W2"),
            ("W1", "X.T @ ga", "first layer's tanh' left out", r"tanh & h1|W1"),
            ("W2", "a.T @ (gb * (1 - b))", "square in 1 − h² forgotten", r"square|tanh"),
            ("W1", "X.T @ ((zb @ W2) * (1 - a ** 2))", "W2 not transposed", r"transpos"),
            ("W2", "np.arctanh(a).T @ zb", "pre- for post-activation", r"h1|before|pre|X @ W1|activation"),
        ],
    ),
    derivation(
        "batch norm, composed", "CS231n assignment 2; Ioffe 2015", "plain", batch_norm, dict(x=(6, 3), gamma=positive(3), beta=3, D=(6, 3)),
        "m = x.mean(0); v = x.var(0); s = np.sqrt(v + 0.1); n = (x - m) / s; g = D * gamma",
        {"x": "(g - g.mean(0) - n * (g * n).mean(0)) / s", "gamma": "(D * n).sum(0)", "beta": "D.sum(0)"},
        [
            ("x", "g / s", "mean and variance taken as constants", r"mean & var|statistic|constant"),
            ("x", "(g - g.mean(0)) / s", "variance taken as a constant", r"var|std"),
            ("x", "(g - n * (g * n).mean(0)) / s", "mean taken as a constant", r"mean|\bmu\b"),
            ("x", "(D - D.mean(0) - n * (D * n).mean(0)) / s", "gamma forgotten", r"gamma"),
            ("gamma", "(D * x).sum(0)", "x for x̂", r"xhat|x for|normali"),
        ],
    ),
    derivation(
        "layer norm, composed", "Ba 2016; llm.c", "plain", layer_norm, dict(x=(4, 5), gamma=positive(5), beta=5, D=(4, 5)),
        "m = x.mean(1, keepdims=True); v = x.var(1, keepdims=True); s = np.sqrt(v + 0.1); n = (x - m) / s; g = D * gamma; k = dict(axis=1, keepdims=True)",
        {"x": "(g - g.mean(**k) - n * (g * n).mean(**k)) / s", "gamma": "(D * n).sum(0)", "beta": "D.sum(0)"},
        [
            ("x", "(g - g.mean(0) - n * (g * n).mean(0)) / s", "means over the wrong axis", r"axis"),
            ("x", "g / s", "mean and variance taken as constants", r"mean & var|statistic|constant"),
            ("x", "(g - g.mean(**k) - n * (g * n).mean(**k)) / (v + 0.1)", "the root forgotten", r"sqrt|root|std|deviation|divid|variance"),
            ("gamma", "(D * (x - m)).sum(0)", "xc for x̂", r"xhat|xc|normali|divid|std|sqrt"),
            ("x", "(g - g.sum(**k) - n * (g * n).sum(**k)) / s", "sums for means", r"mean|sum|1/N"),
        ],
    ),
    derivation(
        "RMS norm, composed", "Zhang 2019", "plain", rms_norm, dict(x=(4, 5), g=positive(5), D=(4, 5)),
        "r = np.sqrt((x * x).mean(1, keepdims=True) + 0.1); n = x / r; G = D * g; k = dict(axis=1, keepdims=True)",
        {"x": "(G - n * (G * n).mean(**k)) / r", "g": "(D * n).sum(0)"},
        [
            ("x", "G / r", "norm taken as a constant", r"constant|norm|\br\b|rms|root"),
            ("x", "(G - n * (G * n).sum(**k)) / r", "sum for mean", r"mean|sum|1/N"),
            ("x", "(G + n * (G * n).mean(**k)) / r", "sign of the norm's part", SIGN),
            ("x", "(D - n * (D * n).mean(**k)) / r", "g forgotten", r"\bg\b"),
            ("g", "(D * x).sum(0)", "x for x̂", r"divid|/ r|\br\b|normali|root|sqrt"),
        ],
    ),
    derivation(
        "attention, composed", "d2l 11.3; Vaswani 2017", "plain", attention, dict(Q=(4, 4), K=(5, 4), V=(5, 3), D=(4, 3)),
        "A = softmax(Q @ K.T / 2); dA = D @ V.T; dS = A * (dA - (A * dA).sum(1, keepdims=True))",
        {"Q": "dS @ K / 2", "K": "dS.T @ Q / 2", "V": "A.T @ D"},
        [
            ("Q", "dS @ K", "scale forgotten", r"scal|1/√|sqrt|\b2\b|/ 2"),
            ("Q", "A * dA @ K / 2", "softmax's second term left out", r"softmax|normali|sum|second"),
            ("V", "(Q @ K.T / 2).T @ D", "scores for weights", r"score|softmax|\bS\b|weights|\bA\b"),
            ("Q", "dS @ K * 2", "multiplied by the scale's inverse", r"scal|√|\b2\b|multipl|divid|4"),
            ("K", "((A * (dA - (A * dA).sum(0))).T @ Q) / 2", "softmax's sum over the wrong axis", r"axis"),
        ],
    ),
    derivation(
        "causal attention, composed", "Karpathy, nanoGPT lecture", "plain", causal_attention, dict(Q=(5, 4), K=(5, 4), V=(5, 3), D=(5, 3)),
        "F = softmax(Q @ K.T / 2); A = softmax(Q @ K.T / 2 - 1e9 * (1 - CAUSAL)); dA = D @ V.T; dS = A * (dA - (A * dA).sum(1, keepdims=True))",
        {"Q": "dS @ K / 2", "K": "dS.T @ Q / 2", "V": "A.T @ D"},
        [
            ("V", "F.T @ D", "mask forgotten", r"mask"),
            ("V", "(F * CAUSAL).T @ D", "mask after the softmax", r"mask"),
            ("Q", "(F * (dA - (F * dA).sum(1, keepdims=True))) @ K / 2", "mask forgotten", r"mask"),
            ("V", "A @ D", "transpose forgotten", r"transpos"),
            ("Q", "dS @ K", "scale forgotten", r"scal|√|\b2\b"),
        ],
    ),
    derivation(
        "tied autoencoder", "Vincent 2010", "plain", autoencoder, dict(X=(6, 4), W=(4, 3)),
        "h = np.tanh(X @ W); E = 2 * (h @ W.T - X) / 24; dh = E @ W",
        {"W": "X.T @ (dh * (1 - h ** 2)) + E.T @ h"},
        [
            ("W", "X.T @ (dh * (1 - h ** 2))", "decoder's use left out", r"use|path|left out|missing|dropped|W\.T|through"),
            ("W", "E.T @ h", "encoder's use left out", r"use|path|left out|missing|dropped|tanh|through"),
            ("W", "X.T @ dh + E.T @ h", "tanh' left out", r"tanh"),
            ("W", "24 * (X.T @ (dh * (1 - h ** 2)) + E.T @ h)", "1/N forgotten", r"mean|1/N|24|averag"),
            ("W", "4 * (X.T @ (dh * (1 - h ** 2)) + E.T @ h)", "mean over rows only", r"mean|\b4\b|axis|columns|averag"),
        ],
    ),
    derivation(
        "residual block", "He 2016", "plain", residual, dict(x=(4, 3), W1=(3, 5), W2=(5, 3), D=(4, 3)),
        "z = x @ W1; h = np.maximum(z, 0); y = x + h @ W2; g = D + y; dh = g @ W2.T; dz = dh * (z > 0)",
        {"x": "g + dz @ W1.T", "W1": "x.T @ dz", "W2": "h.T @ g"},
        [
            ("x", "dz @ W1.T", "skip connection left out", r"use|path|left out|missing|dropped|skip|through|\+"),
            ("x", "g", "the branch left out", r"use|path|left out|missing|dropped|through|branch"),
            ("W1", "x.T @ dh", "the relu's mask forgotten", r"max|relu|mask|> 0"),
            ("W2", "h.T @ D", "quadratic term left out", LEFT),
            ("x", "g + (dh * (h.mean() > -1)) @ W1.T", "the relu's mask forgotten", r"max|relu|mask|> 0"),
        ],
    ),
]
