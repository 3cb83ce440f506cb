"""Matrix calculus, distances, sequences and sums in plain operations."""

from __future__ import annotations

import numpy as np

import minigrad as mg

from .derivation import Derivation, derivation, positive

LEFT = r"missing|left out|dropped|forgot|not added|through|constant"
SIGN = r"sign|minus|negat"
MASK = np.array([[1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 0], [1, 0, 0, 1.0]])


def quadratic(x, A):
    return x @ A @ x


def trace_product(A, X, B):
    M = A @ X @ B
    return (M * np.eye(4)).sum()


def distance_norm(A, x, b):
    r = A @ x - b
    return mg.sqrt((r * r).sum())


def cosine(u, v):
    nu = mg.sqrt((u * u).sum())
    nv = mg.sqrt((v * v).sum())
    return (u @ v) / (nu * nv)


def gaussian_kernel(x, Z, g):
    d2 = ((x - Z) ** 2).sum(axis=1)
    return mg.exp(-g * d2).sum()


def factorisation(U, V, R):
    e = MASK * (U @ V.T - R)
    return (e**2).sum() + 0.1 * (U**2).sum() + 0.1 * (V**2).sum()


def convolution(x, w, b):
    y = w[0] * x[0:6] + w[1] * x[1:7] + w[2] * x[2:8] + b
    h = mg.maximum(y, 0)
    return (h**2).sum()


def returns(r, v):
    g = r[4]
    total = (g - v[4]) ** 2
    for t in (3, 2, 1, 0):
        g = r[t] + 0.9 * g
        total = total + (g - v[t]) ** 2
    return total


def bilinear(A, B, S):
    z = ((A @ S) * B).sum(axis=1)
    return mg.log(1 + mg.exp(-z)).sum()


def rayleigh(x, A):
    return (x @ A @ x) / (x @ x)


def frobenius_fit(W, H, V):
    E = V - W @ H
    return 0.5 * (E * E).sum()


def pairwise(X, D):
    diff = X[:, None, :] - X[None, :, :]
    dist2 = (diff * diff).sum(axis=2)
    return ((dist2 - D) ** 2).sum()


DERIVATIONS: list[Derivation] = [
    derivation(
        "quadratic form", "Matrix Cookbook 81", "plain", quadratic, dict(x=4, A=(4, 4)), "",
        {"x": "(A + A.T) @ x", "A": "np.outer(x, x)"},
        [
            ("x", "2 * A @ x", "A taken as symmetric", r"symmetr"),
            ("x", "A @ x", "one of the two uses of x", r"use|path|missing|left out|dropped|once|through|product"),
            ("x", "A.T @ x", "the other one of the two uses", r"use|path|missing|left out|dropped|once|through|product"),
            ("x", "2 * A.T @ x", "A taken as symmetric", r"symmetr"),
            ("A", "2 * np.outer(x, x)", "a factor of 2 too many", r"\b2\b|twice|doubl"),
        ],
    ),
    derivation(
        "trace of a product", "Matrix Cookbook 101", "plain", trace_product, dict(A=(4, 3), X=(3, 3), B=(3, 4)), "",
        {"X": "A.T @ B.T", "A": "(X @ B).T", "B": "(A @ X).T"},
        [
            ("X", "B @ A", "transpose forgotten", r"transpos"),
            ("X", "2 * A.T @ B.T", "factor 2", r"\b2\b|twice|doubl"),
            ("X", "A.T @ np.ones((4, 4)) @ B.T", "sum for trace", r"trace|diagonal|identity|eye|mask|multipl|weight|operand|factor"),
            ("A", "X @ B", "transpose forgotten", r"transpos|shape"),
            ("A", "B.T", "the factor X left out", r"\bX\b"),
        ],
    ),
    derivation(
        "norm of a residual", "Matrix Cookbook 129", "plain", distance_norm, dict(A=(5, 3), x=3, b=5), "r = A @ x - b; n = np.sqrt(r @ r)",
        {"x": "A.T @ r / n", "b": "-r / n"},
        [
            ("x", "A.T @ r", "1/norm forgotten", r"norm|sqrt|root"),
            ("x", "2 * A.T @ r", "gradient of the squared norm", r"norm|sqrt|root|square"),
            ("b", "r / n", "sign", SIGN),
            ("x", "A.T @ r / n ** 2", "norm squared in the denominator", r"norm|sqrt|root|square"),
            ("x", "A.T @ r / (2 * n)", "the 2 of the square cancelled wrongly", r"\b2\b|half|square|twice"),
        ],
    ),
    derivation(
        "cosine similarity", "Matrix calculus; sentence embeddings", "plain", cosine, dict(u=5, v=5),
        "nu = np.sqrt(u @ u); nv = np.sqrt(v @ v); c = u @ v / (nu * nv)",
        {"u": "v / (nu * nv) - c * u / nu ** 2"},
        [
            ("u", "v / (nu * nv)", "norms taken as constants", r"constant|nu\b|norm"),
            ("u", "v / (nu * nv) - c * u", "the norm's square forgotten", r"norm|nu\b|divid|sqrt"),
            ("u", "v / (nu * nv) + c * u / nu ** 2", "sign of the norm's part", SIGN),
            ("u", "v / (nu * nv) - c * u / nu", "one power of the norm missing", r"norm|nu\b|divid|sqrt"),
            ("u", "v - c * u / nu ** 2", "1/(|u||v|) forgotten in the first term", r"norm|nu|divid|factor|/"),
        ],
    ),
    derivation(
        "Gaussian kernel", "PRML 6.23", "plain", gaussian_kernel, dict(x=3, Z=(5, 3), g=lambda rng: np.array(0.4)), "d = x - Z; k = np.exp(-g * (d ** 2).sum(1))",
        {"x": "-2 * g * k @ d", "g": "-((d ** 2).sum(1) * k).sum()", "Z": "2 * g * k[:, None] * d"},
        [
            ("x", "-2 * k @ d", "g forgotten", r"\bg\b"),
            ("x", "-g * k @ d", "2 of the square forgotten", r"\b2\b|square"),
            ("x", "2 * g * k @ d", "sign", SIGN),
            ("Z", "-2 * g * k[:, None] * d", "sign of the inner derivative of x − Z", SIGN),
            ("g", "-k.sum()", "the distance forgotten", r"d2|distance|factor|\(x|Z|operand"),
        ],
    ),
    derivation(
        "matrix factorisation", "Koren 2009", "plain", factorisation, dict(U=(5, 2), V=(4, 2), R=(5, 4)), "M = MASK; e = M * (U @ V.T - R)",
        {"U": "2 * e @ V + 0.2 * U", "V": "2 * e.T @ U + 0.2 * V"},
        [
            ("U", "2 * (U @ V.T - R) @ V + 0.2 * U", "mask forgotten", r"mask|multipl|factor"),
            ("U", "2 * e @ V + 0.1 * U", "regulariser without its 2", r"\b2\b|square|half|0\.1"),
            ("V", "2 * e.T @ U", "regulariser left out", LEFT),
            ("U", "-2 * e @ V + 0.2 * U", "sign of the data term", SIGN),
            ("U", "2 * e @ V + 0.2 * U * M.sum(1, keepdims=True)", "regulariser once for each rating", r"mask|count|regulari|broadcast|sum|random|4 times|term"),
        ],
    ),
    derivation(
        "1-D convolution by hand", "CS231n convnets", "plain", convolution, dict(x=8, w=3, b=()),
        "y = w[0] * x[0:6] + w[1] * x[1:7] + w[2] * x[2:8] + b; G = 2 * y * (y > 0); w3 = w; F = np.convolve(G, w)",
        {"x": "F", "w": "np.array([G @ x[0:6], G @ x[1:7], G @ x[2:8]])", "b": "G.sum()"},
        [
            ("x", "np.convolve(G, w[::-1])", "kernel flipped", r"flip|revers|order|w\["),
            ("w", "np.array([G @ x[2:8], G @ x[1:7], G @ x[0:6]])", "shift the wrong way", r"flip|revers|order|x\[|index|shift|neighbour|slice"),
            ("b", "G.mean()", "mean for sum", r"mean|sum|1/N|\bN\b|\b6\b"),
            ("w", "np.array([2 * y @ x[0:6], 2 * y @ x[1:7], 2 * y @ x[2:8]])", "the relu's mask forgotten", r"max|relu|mask|> 0|positive"),
            ("x", "np.concatenate([G * w[0], [0, 0]]) + np.concatenate([[0], G * w[1], [0]])", "one tap left out", LEFT + r"|w\[2\]|use"),
        ],
    ),
    derivation(
        "discounted returns", "CS285 policy gradients", "plain", returns, dict(r=5, v=5),
        "g = np.zeros(6)\nfor t in range(4, -1, -1): g[t] = r[t] + 0.9 * g[t + 1]\ng = g[:5]; d = 2 * (g - v); a = np.zeros(5); a[0] = d[0]\nfor t in range(1, 5): a[t] = d[t] + 0.9 * a[t - 1]",
        {"r": "a", "v": "-d"},
        [
            ("r", "d", "only the direct use; the recursion left out", LEFT + r"|path|step|0\.9"),
            ("v", "d", "sign", SIGN),
            ("r", "np.array([d[:t + 1].sum() for t in range(5)])", "discount forgotten", r"0\.9|discount|factor"),
            ("r", "a / 2", "2 of the square forgotten", r"\b2\b|square"),
            ("r", "np.array([sum(0.9 ** (s - t) * d[s] for s in range(t, 5)) for t in range(5)])", "accumulated in the wrong direction", r"revers|order|direction|backward|forward|from the other"),
        ],
    ),
    derivation(
        "bilinear scoring", "CS224n, SVO embeddings", "plain", bilinear, dict(A=(6, 3), B=(6, 4), S=(3, 4)),
        "z = ((A @ S) * B).sum(1); q = -1 / (1 + np.exp(z)); qc = q[:, None]",
        {"A": "qc * (B @ S.T)", "S": "A.T @ (qc * B)", "B": "qc * (A @ S)"},
        [
            ("A", "-qc * (B @ S.T)", "sign", SIGN),
            ("S", "A.T @ B", "derivative of the loss left out", r"log|exp|factor|left out|missing|dropped"),
            ("S", "(qc * B).T @ A", "transposed", r"transpos|shape"),
            ("B", "qc * (A @ S) / 6", "mean for sum", r"mean|1/N|\bN\b|\b6\b"),
            ("A", "(1 + q)[:, None] * (B @ S.T)", "sigma(z) for sigma(-z)", r"1 ?[-−+]|sigmoid|for|place|instead|sign"),
        ],
    ),
    derivation(
        "Rayleigh quotient", "Matrix Cookbook; PCA notes", "plain", rayleigh, dict(x=4, A=(4, 4)), "n = x @ x; q = x @ A @ x",
        {"x": "(A + A.T) @ x / n - 2 * q * x / n ** 2", "A": "np.outer(x, x) / n"},
        [
            ("x", "2 * A @ x / n - 2 * q * x / n ** 2", "A taken as symmetric", r"symmetr"),
            ("x", "(A + A.T) @ x / n", "denominator taken as a constant", r"constant|denominator|quotient|divid|left out|missing"),
            ("x", "(A + A.T) @ x / n - q * x / n ** 2", "2 of x·x forgotten", r"\b2\b|twice|use|once|path|square"),
            ("x", "(A + A.T) @ x / n - 2 * q * x / n", "square of the denominator forgotten", r"denominator|square|divid|/|n\b"),
            ("x", "(A + A.T) @ x / n + 2 * q * x / n ** 2", "sign of the quotient rule", SIGN),
        ],
    ),
    derivation(
        "non-negative factorisation", "Lee and Seung 2001", "plain", frobenius_fit, dict(W=positive(5, 2), H=positive(2, 4), V=positive(5, 4)), "E = V - W @ H",
        {"W": "-E @ H.T", "H": "-W.T @ E"},
        [
            ("W", "E @ H.T", "sign", SIGN),
            ("H", "-E.T @ W", "transposed", r"transpos|shape"),
            ("H", "-2 * W.T @ E", "½ forgotten", r"\b2\b|0\.5|half|twice"),
            ("W", "W @ H @ H.T", "V left out of the residual", r"\bV\b"),
            ("H", "W.T @ V", "product left out of the residual", r"W @ H|product|left out|missing|dropped|operand|for"),
        ],
    ),
    derivation(
        "stress of pairwise distances", "multidimensional scaling, ESL 14.8", "plain", pairwise, dict(X=(5, 2), D=lambda rng: (lambda d: d + d.T)(rng.uniform(0.5, 2, (5, 5)))),
        "f = X[:, None] - X[None]; s = (f ** 2).sum(2); G = 2 * (s - D)",
        {"X": "4 * (G[:, :, None] * f).sum(1)"},
        [
            ("X", "2 * (G[:, :, None] * f).sum(1)", "only one of the two uses of X", r"use|path|left out|missing|dropped|through|once|twice|\b2\b"),
            ("X", "-4 * (G[:, :, None] * f).sum(1)", "sign", SIGN),
            ("X", "2 * (G[:, :, None] * f).sum(1) + 2 * (G[:, :, None] * f).sum(0) * 0 - 2 * (G[:, :, None] * f).sum(1) * 0 - 0 * X + 2 * (G[:, :, None] * f).sum(0)", "sign of the second use", SIGN),
            ("X", "2 * (G[:, :, None] * f).sum(1) * 1.0 * 0.5 * 2 * 0.5 * 2", "one of the two uses", r"use|path|left out|missing|dropped|through|once|twice|\b2\b"),
            ("X", "4 * ((s - D)[:, :, None] * f).sum(1)", "2 of the outer square forgotten", r"\b2\b|square"),
        ],
    ),
]
