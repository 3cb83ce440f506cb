"""Layers that use the library's ops: norms, attention, gated units, pooling, scans."""

from __future__ import annotations

import numpy as np

import minigrad as mg

from .derivation import Derivation, derivation, labels, positive

LEFT = r"missing|left out|dropped|forgot|not added|through|constant"
SIGN = r"sign|minus|negat"
MEAN = r"mean|1/N|\bN\b|averag|divid"


def mlp(X, W1, b1, W2, b2, y):
    h = mg.relu(mg.linear(X, W1, b1))
    return mg.cross_entropy(mg.linear(h, W2, b2), y)


def gelu_mlp(x, W1, W2, D):
    h = mg.gelu(x @ W1)
    return mg.sum(D * (h @ W2))


def swiglu(x, W, V, D):
    return mg.sum(D * (mg.silu(x @ W) * (x @ V)))


def layer(x, gamma, beta, D):
    return mg.sum(D * mg.layer_norm(x, gamma, beta, eps=0.1))


def rms(x, gain, D):
    return mg.sum(D * mg.rms_norm(x, gain, eps=0.1))


def attention(q, k, v, D):
    return mg.sum(D * mg.scaled_dot_product_attention(q, k, v))


def causal(q, k, v, D):
    return mg.sum(D * mg.scaled_dot_product_attention(q, k, v, causal=True))


def self_attention(X, Wq, Wk, Wv, D):
    q, k, v = X @ Wq, X @ Wk, X @ Wv
    a = mg.softmax(q @ k.T / 2.0)
    return mg.sum(D * (a @ v))


def pooling(X, u, w):
    h = mg.tanh(X @ u)
    a = mg.softmax(h @ w)
    return mg.sum(mg.square(a @ X))


def running(x, D):
    return mg.sum(D * mg.cumsum(x, axis=1))


def trilinear(a, T, b, D):
    return mg.sum(D * mg.einsum("bi,ijk,bj->bk", a, T, b))


def max_pool(x, w):
    m = mg.max(x, axis=1)
    return mg.sum(mg.square(m @ w))


def standardise(x, D):
    z = (x - mg.mean(x)) / mg.sqrt(mg.var(x) + 0.1)
    return mg.sum(D * z)


def unit(x, D):
    return mg.sum(D * (x / mg.norm(x)))


def lora(x, W, A, B, D):
    y = x @ W + 2.0 * ((x @ A) @ B)
    return mg.sum(D * y) + 0.5 * mg.sum(mg.square(y))


def pre_norm(x, g, b, W1, W2, D):
    h = mg.layer_norm(x, g, b, eps=0.1)
    return mg.sum(D * (x + mg.relu(h @ W1) @ W2))


def lstm_concat(x, h, c, W, b, D):
    z = mg.concatenate([x, h], axis=1) @ W + b
    i, f, o = mg.sigmoid(z[:, :2]), mg.sigmoid(z[:, 2:4]), mg.sigmoid(z[:, 4:6])
    n = f * c + i * mg.tanh(z[:, 6:])
    return mg.sum(D * (o * mg.tanh(n)))


def leaky(x, w, D):
    z = x @ w
    return mg.sum(D * mg.where(z.data > 0, z, 0.1 * z))


def geometric(x):
    return mg.power(mg.prod(x), 0.25) + mg.mean(mg.log(x))


def masked_softmax(s, V, D):
    a = mg.softmax(mg.where(np.tril(np.ones((4, 4))) > 0, s, -1e9))
    return mg.sum(D * (a @ V))


def position(E, P, ids, W, y):
    h = mg.embedding(E, ids) + P
    return mg.cross_entropy(h @ W, y)


DERIVATIONS: list[Derivation] = [
    derivation(
        "two-layer net", "CS231n assignment 1", "library", mlp, dict(X=(6, 4), W1=(4, 5), b1=5, W2=(5, 3), b2=3, y=labels(6, 3)),
        "z = X @ W1 + b1; h = np.maximum(z, 0); D = (softmax(h @ W2 + b2) - onehot(y, 3)) / 6; dh = D @ W2.T; dz = dh * (z > 0)",
        {"W1": "X.T @ dz", "b1": "dz.sum(0)", "W2": "h.T @ D", "b2": "D.sum(0)"},
        [
            ("W1", "X.T @ dh", "relu's mask forgotten", r"relu"),
            ("b1", "dh.sum(0)", "relu's mask forgotten", r"relu"),
            ("W1", "X.T @ (dh * (dh > 0))", "mask of the gradient, not of the input", r"relu|mask"),
            ("W2", "z.T @ D", "pre- for post-activation", r"relu|before|pre|linear|activation"),
            ("b2", "D.mean(0)", "mean for sum", r"mean|sum|1/N|\bN\b|\b6\b"),
        ],
    ),
    derivation(
        "GELU network", "GPT-2; Hendrycks 2016", "library", gelu_mlp, dict(x=(4, 3), W1=(3, 5), W2=(5, 2), D=(4, 2)),
        "z = x @ W1; c = np.sqrt(2 / np.pi); u = c * (z + 0.044715 * z ** 3); t = np.tanh(u); h = 0.5 * z * (1 + t); dh = D @ W2.T; du = c * (1 + 3 * 0.044715 * z ** 2); s = 1 - t ** 2",
        {"W1": "x.T @ (dh * (0.5 * (1 + t) + 0.5 * z * s * du))", "W2": "h.T @ D"},
        [
            ("W1", "x.T @ (dh * 0.5 * (1 + t))", "second term of the product rule left out", r"gelu"),
            ("W1", "x.T @ dh", "gelu' left out", r"gelu"),
            ("W1", "x.T @ (dh * (0.5 * (1 + t) + 0.5 * z * s))", "inner derivative left out", r"gelu|inner"),
            ("W2", "z.T @ D", "pre- for post-activation", r"gelu|before|pre|x @ W1|activation"),
            ("W1", "x.T @ (dh * (z > 0))", "relu's derivative", r"relu|gelu"),
        ],
    ),
    derivation(
        "SwiGLU", "Shazeer 2020", "library", swiglu, dict(x=(4, 3), W=(3, 5), V=(3, 5), D=(4, 5)),
        "a = x @ W; b = x @ V; s = sigmoid(a); ds = s * (1 + a * (1 - s))",
        {"W": "x.T @ (D * b * ds)", "V": "x.T @ (D * a * s)", "x": "(D * b * ds) @ W.T + (D * a * s) @ V.T"},
        [
            ("x", "(D * a * s) @ V.T", "through the gate left out", LEFT + r"|use|path"),
            ("W", "x.T @ (D * b * s)", "second term of silu' left out", r"silu|swish"),
            ("V", "x.T @ (D * a)", "gate's sigmoid left out", r"silu|sigmoid|before|pre|x @ W"),
            ("W", "x.T @ (D * b * s * (1 - s))", "sigmoid' for silu'", r"silu|sigmoid"),
            ("W", "x.T @ (D * ds)", "the other factor left out", r"x @ V|factor|multipl|other|operand"),
        ],
    ),
    derivation(
        "layer norm", "Ba 2016; llm.c", "library", layer, dict(x=(4, 5), gamma=positive(5), beta=5, D=(4, 5)),
        "m = x.mean(1, keepdims=True); s = np.sqrt(x.var(1, keepdims=True) + 0.1); n = (x - m) / s; g = D * gamma; k = dict(axis=1, keepdims=True)",
        {"x": "(g - g.mean(**k) - n * (g * n).mean(**k)) / s", "gamma": "(D * n).sum(0)", "beta": "D.sum(0)"},
        [
            ("x", "(D - D.mean(**k) - n * (D * n).mean(**k)) / s", "γ forgotten", r"gamma|γ|weight"),
            ("x", "(g - g.mean(**k)) / s", "variance taken as a constant", r"var|std|deviation"),
            ("gamma", "(D * x).sum(0)", "x for x̂", r"x̂|xhat|normali"),
            ("beta", "D.mean(0)", "mean for sum", r"mean|sum|1/N|\bN\b|\b4\b"),
            ("x", "g - g.mean(**k) - n * (g * n).mean(**k)", "1/σ forgotten", r"σ|sigma|deviation|std|divid|1/"),
        ],
    ),
    derivation(
        "RMS norm", "Zhang 2019; Llama", "library", rms, dict(x=(4, 5), gain=positive(5), D=(4, 5)),
        "r = np.sqrt((x * x).mean(1, keepdims=True) + 0.1); n = x / r; G = D * gain; k = dict(axis=1, keepdims=True)",
        {"x": "(G - n * (G * n).mean(**k)) / r", "gain": "(D * n).sum(0)"},
        [
            ("x", "G / r", "the norm taken as a constant", r"constant|norm|root|rms"),
            ("x", "(D - n * (D * n).mean(**k)) / r", "gain forgotten", r"gain|weight|γ"),
            ("x", "(G - G.mean(**k) - n * (G * n).mean(**k)) / r", "layer norm's gradient", r"layer norm|mean|center|centr"),
            ("gain", "(D * x).sum(0)", "x for x̂", r"x̂|normali|divid|root"),
            ("x", "(G - n * (G * n).sum(**k)) / r", "sum for mean", r"mean|sum|1/N"),
        ],
    ),
    derivation(
        "scaled dot-product attention", "Vaswani 2017 eq. 1", "library", attention, dict(q=(4, 4), k=(5, 4), v=(5, 3), D=(4, 3)),
        "S = q @ k.T / 2; A = softmax(S); dA = D @ v.T; dS = A * (dA - (A * dA).sum(1, keepdims=True))",
        {"q": "dS @ k / 2", "k": "dS.T @ q / 2", "v": "A.T @ D"},
        [
            ("q", "dS @ k", "scale forgotten", r"scal|√|sqrt"),
            ("k", "(A * dA).T @ q / 2", "second term of the softmax left out", r"softmax|sum|second"),
            ("v", "S.T @ D", "scores for weights", r"score|softmax|weights"),
            ("k", "dA.T @ q / 2", "softmax's Jacobian left out", r"softmax"),
            ("q", "(softmax(q @ k.T) * (dA - (softmax(q @ k.T) * dA).sum(1, keepdims=True))) @ k", "no scale at all", r"scal|√|sqrt"),
        ],
    ),
    derivation(
        "causal attention", "nanoGPT", "library", causal, dict(q=(5, 4), k=(5, 4), v=(5, 3), D=(5, 3)),
        "T = np.tril(np.ones((5, 5))); S = q @ k.T / 2; A = softmax(np.where(T > 0, S, -1e9)); F = softmax(S); dA = D @ v.T; dS = A * (dA - (A * dA).sum(1, keepdims=True))",
        {"q": "dS @ k / 2", "k": "dS.T @ q / 2", "v": "A.T @ D"},
        [
            ("v", "F.T @ D", "mask forgotten", r"mask|causal"),
            ("q", "(F * (dA - (F * dA).sum(1, keepdims=True))) @ k / 2", "mask forgotten", r"mask|causal"),
            ("v", "(F * T).T @ D", "mask after the softmax", r"mask|causal"),
            ("k", "dS.T @ k / 2", "keys for queries", r"\bq\b|quer|operand"),
            ("v", "softmax(np.where(T.T > 0, S, -1e9)).T @ D", "mask the wrong way round", r"mask|causal"),
        ],
    ),
    derivation(
        "self-attention with projections", "d2l 11.6; CS224n", "library", self_attention, dict(X=(5, 3), Wq=(3, 4), Wk=(3, 4), Wv=(3, 2), D=(5, 2)),
        "q = X @ Wq; k = X @ Wk; v = X @ Wv; A = softmax(q @ k.T / 2); dA = D @ v.T; dS = A * (dA - (A * dA).sum(1, keepdims=True)) / 2; dv = A.T @ D",
        {"X": "dS @ k @ Wq.T + dS.T @ q @ Wk.T + dv @ Wv.T", "Wq": "X.T @ dS @ k", "Wk": "X.T @ dS.T @ q", "Wv": "X.T @ dv"},
        [
            ("X", "dv @ Wv.T", "through queries and keys left out", LEFT + r"|use|path"),
            ("X", "dS @ k @ Wq.T + dv @ Wv.T", "through the keys left out", LEFT + r"|use|path"),
            ("Wk", "X.T @ dS @ q", "transpose of the scores forgotten", r"transpos"),
            ("Wv", "X.T @ D", "weights left out", r"weights|\ba\b|softmax"),
            ("Wq", "2 * X.T @ dS @ k", "scale forgotten", r"scal|√|\b2\b"),
        ],
    ),
    derivation(
        "attention pooling", "Bahdanau 2015; d2l 11.4", "library", pooling, dict(X=(5, 3), u=(3, 4), w=4),
        "h = np.tanh(X @ u); a = softmax(h @ w); c = a @ X; dc = 2 * c; da = X @ dc; ds = a * (da - a @ da); dh = np.outer(ds, w)",
        {"w": "h.T @ ds", "u": "X.T @ (dh * (1 - h ** 2))", "X": "np.outer(a, dc) + (dh * (1 - h ** 2)) @ u.T"},
        [
            ("X", "np.outer(a, dc)", "through the weights left out", LEFT + r"|use|path"),
            ("u", "X.T @ dh", "tanh' left out", r"tanh"),
            ("w", "h.T @ (a * da)", "second term of the softmax left out", r"softmax"),
            ("w", "h.T @ ds / 2", "2 of the square forgotten", r"\b2\b|square"),
            ("w", "(X @ u).T @ ds", "pre- for post-activation", r"tanh|before|pre|X @ u|activation"),
        ],
    ),
    derivation(
        "running sum", "S4 and scans; NumPy", "library", running, dict(x=(3, 5), D=(3, 5)), "",
        {"x": "D[:, ::-1].cumsum(1)[:, ::-1]"},
        [
            ("x", "D.cumsum(1)", "not reversed", r"revers|direction|order|from the end|flip"),
            ("x", "D", "each entry's later uses left out", r"cumsum|running|later"),
            ("x", "np.broadcast_to(D.sum(1, keepdims=True), (3, 5))", "all entries, not the later ones", r"cumsum|running|sum|later|all"),
            ("x", "D[::-1].cumsum(0)[::-1]", "wrong axis", r"axis"),
            ("x", "np.hstack([D[:, ::-1].cumsum(1)[:, ::-1][:, 1:], np.zeros((3, 1))])", "shifted by one", r"shift|one|exclusive|itself"),
        ],
    ),
    derivation(
        "bilinear tensor layer", "CS224n, neural tensor network", "library", trilinear, dict(a=(4, 2), T=(2, 3, 2), b=(4, 3), D=(4, 2)), "",
        {"a": "np.einsum('bk,ijk,bj->bi', D, T, b)", "T": "np.einsum('bi,bk,bj->ijk', a, D, b)", "b": "np.einsum('bi,ijk,bk->bj', a, T, D)"},
        [
            ("T", "np.einsum('bi,bk,bj->ijk', a, D, b) / 4", "mean over the batch", MEAN + r"|\b4\b"),
            ("a", "np.einsum('bk,ijk->bi', D, T)", "b left out", r"\bb\b"),
            ("a", "np.einsum('bk,ijk,bj->bi', D, T.transpose(2, 1, 0), b)", "axes of T exchanged", r"transpos|axes|axis"),
            ("b", "-np.einsum('bi,ijk,bk->bj', a, T, D)", "sign", SIGN),
            ("T", "np.einsum('bi,k,bj->ijk', a, D.sum(0), b)", "upstream summed over the batch too early", r"sum|batch|index|early|axis"),
        ],
    ),
    derivation(
        "max pooling over time", "Kim 2014", "library", max_pool, dict(x=(4, 5), w=4),
        "m = x.max(1); g = 2 * (m @ w) * w; H = np.eye(5)[x.argmax(1)]",
        {"x": "g[:, None] * H", "w": "2 * (m @ w) * m"},
        [
            ("x", "np.repeat(g[:, None], 5, 1)", "to all entries, not the largest", r"max|largest|mask"),
            ("x", "g[:, None] * H / 5", "mean pooling's 1/N", r"mean|1/N|\bN\b|\b5\b"),
            ("x", "np.repeat(g[:, None], 5, 1) / 5", "mean pooling's gradient", r"max|mean"),
            ("w", "(m @ w) * m", "2 of the square forgotten", r"\b2\b|square"),
            ("w", "2 * (m @ w) * x.mean(1)", "means for maxima", r"max|mean"),
        ],
    ),
    derivation(
        "standardising", "CS229 preprocessing", "library", standardise, dict(x=6, D=6), "m = x.mean(); s = np.sqrt(x.var() + 0.1); z = (x - m) / s",
        {"x": "(D - D.mean() - z * (D * z).mean()) / s"},
        [
            ("x", "D / s", "mean and deviation taken as constants", r"mean & var|constant|statistic"),
            ("x", "(D - D.mean()) / s", "deviation taken as a constant", r"var|std|deviation|sqrt"),
            ("x", "(D - z * (D * z).mean()) / s", "mean taken as a constant", r"mean"),
            ("x", "(D - D.mean() + z * (D * z).mean()) / s", "sign of the variance's part", SIGN),
            ("x", "D - D.mean() - z * (D * z).mean()", "1/s forgotten", r"sqrt|std|deviation|divid|1/"),
        ],
    ),
    derivation(
        "unit vector", "Matrix Cookbook 130", "library", unit, dict(x=5, D=5), "n = np.linalg.norm(x); u = x / n",
        {"x": "(D - u * (D @ u)) / n"},
        [
            ("x", "D / n", "norm taken as a constant", r"norm & constant|constant & norm|norm"),
            ("x", "D - u * (D @ u)", "1/norm forgotten", r"norm|divid|1/"),
            ("x", "(D + u * (D @ u)) / n", "sign of the norm's part", SIGN),
            ("x", "(D - x * (D @ x)) / n", "x for x/|x|", r"norm|square|divid"),
            ("x", "(D - u) / n", "D·u left out", r"upstream|sum|dot|factor|D|norm|multipl"),
        ],
    ),
    derivation(
        "low-rank adapter", "LoRA, Hu 2021", "library", lora, dict(x=(4, 3), W=(3, 3), A=(3, 2), B=(2, 3), D=(4, 3)), "y = x @ W + 2 * x @ A @ B; g = D + y",
        {"A": "2 * x.T @ g @ B.T", "B": "2 * (x @ A).T @ g", "x": "g @ W.T + 2 * g @ B.T @ A.T"},
        [
            ("A", "x.T @ g @ B.T", "scaling forgotten", r"\b2\b|scal|factor"),
            ("x", "g @ W.T", "adapter's path left out", LEFT + r"|use|path"),
            ("B", "2 * x.T @ g", "A left out", r"\bA\b|shape"),
            ("B", "2 * (x @ A).T @ D", "quadratic term left out", LEFT),
            ("x", "g @ W.T + 2 * g @ B.T @ A.T * -1", "sign on the adapter's path", SIGN),
        ],
    ),
    derivation(
        "pre-norm residual block", "Xiong 2020", "library", pre_norm, dict(x=(4, 3), g=positive(3), b=3, W1=(3, 5), W2=(5, 3), D=(4, 3)),
        "k = dict(axis=1, keepdims=True); s = np.sqrt(x.var(**k) + 0.1); n = (x - x.mean(**k)) / s; h = n * g + b; z = h @ W1; r = np.maximum(z, 0); dz = (D @ W2.T) * (z > 0); dh = dz @ W1.T; G = dh * g; dx = (G - G.mean(**k) - n * (G * n).mean(**k)) / s",
        {"x": "D + dx", "g": "(dh * n).sum(0)", "W1": "h.T @ dz"},
        [
            ("x", "dx", "skip connection left out", LEFT + r"|use|path|skip"),
            ("x", "D + G / s", "statistics taken as constants", r"mean|var|statistic|constant"),
            ("W1", "x.T @ dz", "x for the normalised h", r"norm|\bh\b"),
            ("W1", "h.T @ (D @ W2.T)", "relu's mask forgotten", r"relu"),
            ("g", "(dh * h).sum(0)", "h for x̂", r"x̂|normali|\bh\b|output"),
        ],
    ),
    derivation(
        "LSTM cell with concatenation", "Colah; d2l 10.1", "library", lstm_concat, dict(x=(3, 2), h=(3, 2), c=(3, 2), W=(4, 8), b=8, D=(3, 2)),
        "X = np.hstack([x, h]); z = X @ W + b; i = sigmoid(z[:, :2]); f = sigmoid(z[:, 2:4]); o = sigmoid(z[:, 4:6]); g = np.tanh(z[:, 6:]); n = f * c + i * g; t = np.tanh(n); dn = D * o * (1 - t ** 2)\n"
        "dz = np.hstack([dn * g * i * (1 - i), dn * c * f * (1 - f), D * t * o * (1 - o), dn * i * (1 - g ** 2)])\n"
        "d2 = np.hstack([dn * g * i * (1 - i), dn * c, D * t * o * (1 - o), dn * i * (1 - g ** 2)])",
        {"W": "X.T @ dz", "b": "dz.sum(0)", "h": "(dz @ W.T)[:, 2:]", "c": "dn * f"},
        [
            ("c", "D * o * f", "tanh' left out", r"tanh"),
            ("b", "dz.mean(0)", "mean for sum", r"mean|sum|1/N|\bN\b|\b3\b"),
            ("h", "(dz @ W.T)[:, :2]", "x's half taken for h's", r"concat|half|slice|part|piece|x"),
            ("W", "X.T @ d2", "sigmoid' of the forget gate left out", r"sigmoid & \bf\b|sigmoid"),
            ("c", "dn * i", "input gate for the forget gate", r"\bi\b|\bf\b"),
        ],
    ),
    derivation(
        "leaky relu", "Maas 2013", "library", leaky, dict(x=(5, 3), w=(3, 2), D=(5, 2)), "z = x @ w; G = D * np.where(z > 0, 1, 0.1)",
        {"w": "x.T @ G", "x": "G @ w.T"},
        [
            ("w", "x.T @ (D * (z > 0))", "the leak left out", LEFT + r"|0\.1|where|branch"),
            ("w", "x.T @ D", "mask forgotten", r"where|mask|condition|branch|0\.1"),
            ("w", "x.T @ G / 5", "mean for sum", r"mean|sum|1/N|\bN\b|\b5\b"),
            ("x", "(D * np.where(z > 0, 0.1, 1)) @ w.T", "branches exchanged", r"where|branch|condition|swap|exchang"),
            ("x", "(D * np.where(z > 0, 1, -0.1)) @ w.T", "sign of the leak", SIGN),
        ],
    ),
    derivation(
        "geometric mean", "MML exercises", "library", geometric, dict(x=positive(4)), "P = x.prod()",
        {"x": "0.25 * P ** 0.25 / x + 0.25 / x"},
        [
            ("x", "0.25 * P ** -0.75 + 0.25 / x", "product's inner derivative left out", r"prod"),
            ("x", "P ** 0.25 / x + 0.25 / x", "exponent forgotten", r"0\.25|exponent|power|factor|\b4\b"),
            ("x", "0.25 * P ** 0.25 / x + 1 / x", "1/N forgotten on one path", r"mean|1/N|\bN\b|\b4\b"),
            ("x", "0.25 * P ** 0.25 / x", "the log's term left out", LEFT),
            ("x", "0.25 * P ** 0.75 / x + 0.25 / x", "exponent b − 1 on the wrong side", r"power|exponent"),
        ],
    ),
    derivation(
        "masked softmax", "d2l 11.3.2", "library", masked_softmax, dict(s=(4, 4), V=(4, 3), D=(4, 3)),
        "T = np.tril(np.ones((4, 4))); A = softmax(np.where(T > 0, s, -1e9)); F = softmax(s); dA = D @ V.T",
        {"s": "A * (dA - (A * dA).sum(1, keepdims=True))", "V": "A.T @ D"},
        [
            ("V", "F.T @ D", "mask forgotten", r"mask|where"),
            ("s", "F * (dA - (F * dA).sum(1, keepdims=True))", "mask forgotten", r"mask|where"),
            ("s", "A * dA", "softmax's second term left out", r"softmax"),
            ("s", "T * (F * (dA - (F * dA).sum(1, keepdims=True)))", "mask only on the gradient", r"mask|where"),
            ("V", "A @ D", "transpose forgotten", r"transpos"),
        ],
    ),
    derivation(
        "token and position embeddings", "GPT", "library", position, dict(E=(6, 3), P=(5, 3), ids=lambda rng: np.array([[0, 2, 2, 5, 1], [3, 2, 1, 1, 4]]), W=(3, 4), y=labels((2, 5), 4)),
        "h = E[ids] + P; p = softmax(h @ W); D = (p - onehot(y, 4)) / 10; G = D @ W.T; g = np.zeros((6, 3)); np.add.at(g, ids, G); o = np.zeros((6, 3)); o[ids] = G",
        {"E": "g", "P": "G.sum(0)", "W": "np.einsum('bti,btj->ij', h, D)"},
        [
            ("E", "o", "repeated ids overwritten", r"overwrit|repeat"),
            ("P", "G.mean(0)", "mean for sum over the batch", r"mean|sum|1/N|\bN\b|\b2\b"),
            ("P", "G[0]", "only the first sequence: broadcast not summed", r"sum|broadcast|first|batch"),
            ("W", "np.einsum('bti,btj->ij', E[ids], D)", "positions left out", r"\bP\b|position|embedding"),
            ("E", "10 * g", "1/N forgotten", MEAN + r"|10"),
        ],
    ),
]
