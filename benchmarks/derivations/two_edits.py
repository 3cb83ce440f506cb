"""Two mistakes at once, in functions of the collection; the key asks for both."""

from __future__ import annotations

from . import library_layers, library_losses, plain_layers, plain_losses, plain_matrices, plain_recurrent
from .derivation import Derivation, Mistake

_ALL = [
    *plain_losses.DERIVATIONS, *plain_matrices.DERIVATIONS, *plain_layers.DERIVATIONS, *plain_recurrent.DERIVATIONS,
    *library_losses.DERIVATIONS, *library_layers.DERIVATIONS,
]  # fmt: skip
SIGN = r"sign|minus|negat"
NO_MEAN = r"mean|1/N|\bN\b|averag|\b{n}\b"
LEFT = r"missing|left out|dropped|forgot|not added|through|constant|use|path"

_PAIRS: dict[str, list[tuple[str, str, str, str]]] = {
    "linear regression": [("w", "-X.T @ e / N", "sign, and the 2", rf"{SIGN} & \b2\b|square|use|half"), ("w", "X.T @ e", "the 2 and 1/N", r"\b2\b|square|use|half|3\.5 & mean|1/N|\b7\b|3\.5")],
    "ridge regression": [("w", "2 * X.T @ e", "2 too many, no regulariser", rf"{LEFT} & \b2\b|0\.5|half"), ("w", "-X.T @ e + 0.15 * w", "sign, and the regulariser's 2", rf"{SIGN} & \b2\b|square|half|0\.15")],
    "logistic regression with L2": [("w", "X.T @ (t - p) + 0.2 * w", "sign, and the regulariser's 2", rf"{SIGN} & \b2\b|square|half|use|path"), ("w", "X.T @ (t - p)", "sign, no regulariser", rf"{SIGN} & {LEFT}")],
    "softmax regression, composed": [("W", "X.T @ (p - Y)", "no 1/N, no regulariser", r"mean|1/N|\b6\b & missing|left out|dropped|path|use"), ("W", "X.T @ (p - Y) + 0.1 * W", "no 1/N, regulariser's 2", r"mean|1/N|\b6\b & \b2\b|square|half|use|path"), ("W", "X.T @ p + 0.2 * W", "no one-hot, no 1/N", r"one-hot|label|target|\by\b & mean|1/N|\b6\b")],
    "multiclass hinge": [("W", "X.T @ M + 0.1 * W", "correct class and 1/N", r"correct & mean|1/N|\b6\b|divid"), ("W", "X.T @ D", "no 1/N, no regulariser", rf"mean|1/N|\b6\b|divid & {LEFT}")],
    "word2vec, negative sampling": [("v", "(1 - a) * uo - U.T @ s + 2 * U.T @ s - U.T @ s", "sign, and the other term left out", rf"{SIGN} & {LEFT}")],
    "GloVe": [("W", "d @ C", "weight and 2", r"weight & \b2\b|square"), ("C", "-k.T * d.T @ W", "sign and 2", rf"{SIGN} & \b2\b|square")],
    "InfoNCE": [("Q", "5 * D @ K", "temperature and 1/N", r"temperature|0\.5|2 & mean|1/N|\b5\b"), ("K", "-D.T @ Q", "sign and temperature", rf"{SIGN} & temperature|0\.5|2")],
    "two-layer net, composed": [("W1", "6 * X.T @ dh + 0.1 * W1", "relu and 1/N", r"max|relu & mean|1/N|\b6\b"), ("W1", "X.T @ dh", "relu, no regulariser", rf"max|relu & {LEFT}")],
    "sigmoid network with squared error": [("W1", "X.T @ (e @ W2.T)", "both sigmoids", r"sigmoid|\bh\b & \by\b|both|each|all"), ("W1", "-X.T @ dh", "sign and hidden sigmoid", rf"{SIGN} & \bh\b|sigmoid")],
    "three-layer tanh network": [("W1", "X.T @ (gb @ W2.T)", "both tanh", r"tanh & both|each|all|h1"), ("W2", "a.T @ gb * 6", "tanh and 1/N", r"tanh & mean|1/N|\b6\b")],
    "layer norm, composed": [("x", "-(g - g.mean(**k)) / s", "sign, variance constant", rf"{SIGN} & var"), ("x", "(D - D.mean(**k)) / s", "gamma, variance constant", r"gamma & var|std|sqrt")],
    "attention, composed": [("Q", "A * dA @ K", "softmax and scale", r"softmax|sum|E & scal|√|2"), ("K", "-dS.T @ Q", "sign and scale", rf"{SIGN} & scal|√|2")],
    "recurrent net, three steps": [("Wh", "bptt(tanh=False, T=False)[1]", "tanh and transpose", r"tanh & transpos"), ("Wx", "-bptt(tanh=False)[0]", "sign and tanh", rf"{SIGN} & tanh")],
    "highway layer": [("x", "D * (1 - t) + D * (h - x) @ Wt.T", "sigmoid, and a path", rf"sigmoid & {LEFT}"), ("Wt", "-x.T @ (D * (h - x))", "sign, sigmoid", rf"{SIGN} & sigmoid|exp")],
    "softmax regression": [("W", "6 * X.T @ D", "no 1/N, no regulariser", rf"mean|1/N|\b6\b & {LEFT}"), ("W", "6 * X.T @ D + 0.1 * W", "no 1/N, regulariser's 2", r"mean|1/N|\b6\b & \b2\b|square|half|use|path")],
    "label smoothing": [("W", "X.T @ (p - Y)", "smoothing and 1/N", r"smooth & mean|1/N|\b6\b"), ("W", "X.T @ (Y - p) / 6", "smoothing and sign", rf"smooth & {SIGN}")],
    "binary cross-entropy": [("z", "-t / p + (1 - t) / (1 - p)", "sigmoid and 1/N", r"sigmoid & mean|1/N|\b7\b"), ("z", "t * (1 - p) / 7", "sign, second term", rf"{SIGN} & {LEFT}")],
    "policy gradient": [("W", "s.T @ (Y - p)", "sign and advantage", rf"{SIGN} & \bA\b"), ("W", "s.T @ (A[:, None] * Y)", "sign and normaliser", rf"{SIGN} & softmax|normali|sum")],
    "learned temperature": [("logits", "5 * D", "τ and 1/N", r"tau & mean|1/N|\b5\b"), ("tau", "(D * logits).sum() / tau", "sign and a power of τ", rf"{SIGN} & tau")],
    "two-layer net": [("W1", "6 * X.T @ dh", "relu and 1/N", r"relu & mean|1/N|\b6\b"), ("b1", "-dh.sum(0)", "relu and sign", rf"relu & {SIGN}")],
    "layer norm": [("x", "(D - D.mean(**k)) / s", "γ, variance constant", r"gamma|γ|weight & var"), ("x", "g", "σ and statistics", r"σ|sigma|deviation|divid|1/ & mean|var|statistic|constant")],
    "scaled dot-product attention": [("k", "(A * dA).T @ q", "softmax and scale", r"softmax|second & scal|√"), ("q", "-dS @ k", "sign and scale", rf"{SIGN} & scal|√")],
    "attention pooling": [("u", "X.T @ np.outer(a * da, w)", "tanh and softmax", r"tanh & softmax"), ("u", "X.T @ dh / 2", "tanh and square", r"tanh & \b2\b|square")],
    "low-rank adapter": [("x", "D @ W.T", "two paths", LEFT), ("A", "-x.T @ g @ B.T", "sign and scale", rf"{SIGN} & \b2\b")],
    "geometric mean": [("x", "P ** 0.25 / x + 1 / x", "exponent and 1/N", r"0\.25|exponent|power|\b4\b & mean|1/N|\b4\b")],
}

DERIVATIONS: list[Derivation] = [
    Derivation(d.name, d.source, d.kind, d.f, d.data, d.steps, d.right, [Mistake(*m) for m in _PAIRS[d.name]]) for d in _ALL if d.name in _PAIRS
]
