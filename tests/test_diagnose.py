"""diagnose names the mistake in a wrong gradient, and keeps silent where no pattern fits.

The wrong gradients are written out as a student would write them, in NumPy and by hand; nothing here asks the engine for them.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, diagnose
from minigrad.byhand.diagnose.mistakes import MISTAKES
from minigrad.graph import REGISTRY
from transformer import GPT, MultiHeadAttention

RNG = np.random.default_rng(4)


def draw(*shape):
    return RNG.normal(size=shape)


class Problem(NamedTuple):
    """A function, its inputs by name, and a function that computes a table of the pieces of its right gradient by hand."""

    f: Callable[..., Any]
    inputs: dict[str, np.ndarray]
    pieces: Callable[..., dict[str, Any]]


def probabilities(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# Softmax: L = Σ c ⊙ softmax(x) ----------------------------------------------------------------------------------------

C34 = draw(3, 4)


def softmax_pieces(x):
    p = probabilities(x)
    return {"p": p, "g": C34, "right": {"x": p * (C34 - (C34 * p).sum(-1, keepdims=True))}}


SOFTMAX = Problem(lambda x: (mg.softmax(x) * C34).sum(), {"x": draw(3, 4)}, softmax_pieces)
COMPOSED_SOFTMAX = Problem(lambda x: (mg.exp(x) / mg.exp(x).sum(axis=-1, keepdims=True) * C34).sum(), {"x": draw(3, 4)}, softmax_pieces)
LOG_SOFTMAX = Problem(
    lambda x: (mg.log_softmax(x) * C34).sum(),
    {"x": draw(3, 4)},
    lambda x: {"p": probabilities(x), "right": {"x": C34 - probabilities(x) * C34.sum(-1, keepdims=True)}},
)

# Cross-entropy --------------------------------------------------------------------------------------------------------

TARGETS = np.array([2, 0, 3, 3, 1])
IGNORED = np.array([2, 0, -1, 3, -1])


def loss_pieces(x):
    p, t = probabilities(x), np.eye(4)[TARGETS]
    return {"p": p, "t": t, "right": {"x": (p - t) / 5}}


def ignoring_pieces(x):
    counted = (IGNORED >= 0)[:, None]
    p, t = probabilities(x), np.eye(4)[IGNORED] * counted
    return {"p": p, "t": t, "counted": counted, "right": {"x": (p - t) * counted / 3}}


def smooth_pieces(x):
    p, t = probabilities(x), np.eye(4)[TARGETS]
    return {"p": p, "t": t, "right": {"x": (p - 0.9 * t - 0.1 / 4) / 5}}


LOSS = Problem(lambda x: mg.cross_entropy(x, TARGETS), {"x": draw(5, 4)}, loss_pieces)
IGNORING = Problem(lambda x: mg.cross_entropy(x, IGNORED, ignore_index=-1), {"x": draw(5, 4)}, ignoring_pieces)
SMOOTH = Problem(lambda x: mg.cross_entropy(x, TARGETS, label_smoothing=0.1), {"x": draw(5, 4)}, smooth_pieces)
SUMMED = Problem(
    lambda x: mg.cross_entropy(x, TARGETS, reduction="sum"), {"x": draw(5, 4)}, lambda x: {"right": {"x": 5 * loss_pieces(x)["right"]["x"]}}
)

# Layer norm -----------------------------------------------------------------------------------------------------------

C36 = draw(3, 6)


def average(x):
    return x.mean(-1, keepdims=True)


def norm_pieces(x, gamma, beta):
    centred = x - average(x)
    s = np.sqrt(average(centred**2) + 1e-5)
    n, u = centred / s, C36 * gamma
    right = {"x": (u - average(u) - n * average(u * n)) / s, "gamma": (C36 * n).sum(0), "beta": C36.sum(0)}
    return {"n": n, "s": s, "u": u, "g": C36, "gamma": gamma, "x": x, "centred": centred, "y": n * gamma + beta, "right": right}


def composed_norm(x, gamma, beta):
    centred = x - x.mean(axis=-1, keepdims=True)
    y = centred / mg.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5)
    return ((y * gamma + beta) * C36).sum()


NORM_INPUTS = {"x": draw(3, 6), "gamma": 1 + 0.5 * draw(6), "beta": draw(6)}
NORM = Problem(lambda x, gamma, beta: (mg.layer_norm(x, gamma, beta) * C36).sum(), NORM_INPUTS, norm_pieces)
COMPOSED_NORM = Problem(composed_norm, NORM_INPUTS, norm_pieces)

# Attention ------------------------------------------------------------------------------------------------------------

T, D = 4, 5
CO = draw(T, D)
FUTURE = np.triu(np.ones((T, T), bool), 1)


def attention_pieces(Q, K, V, causal=False):
    s = Q @ K.T / math.sqrt(D)
    p = probabilities(np.where(FUTURE, -np.inf, s) if causal else s)
    dp = CO @ V.T
    ds = p * (dp - (dp * p).sum(-1, keepdims=True))
    right = {"Q": ds @ K / math.sqrt(D), "K": ds.T @ Q / math.sqrt(D), "V": p.T @ CO}
    return {"s": s, "p": p, "dp": dp, "ds": ds, "Q": Q, "K": K, "V": V, "tau": 1 / math.sqrt(D), "right": right}


def composed_attention(Q, K, V):
    return (mg.softmax(Q @ K.mT / math.sqrt(D)) @ V * CO).sum()


QKV = {"Q": draw(T, D), "K": draw(T, D), "V": draw(T, D)}
ATTENTION = Problem(lambda Q, K, V: (mg.scaled_dot_product_attention(Q, K, V) * CO).sum(), QKV, attention_pieces)
CAUSAL = Problem(
    lambda Q, K, V: (mg.scaled_dot_product_attention(Q, K, V, causal=True) * CO).sum(), QKV, lambda **a: attention_pieces(**a, causal=True)
)
COMPOSED_ATTENTION = Problem(composed_attention, QKV, attention_pieces)

# The projections: Q = X W^Q and so on, X used three times ---------------------------------------------------------------


def projected(X, Wq, Wk, Wv):
    return composed_attention(X @ Wq, X @ Wk, X @ Wv)


def projected_pieces(X, Wq, Wk, Wv):
    a = attention_pieces(X @ Wq, X @ Wk, X @ Wv)
    d = a["right"]
    x_parts = [d["Q"] @ Wq.T, d["K"] @ Wk.T, d["V"] @ Wv.T]
    right = {"X": sum(x_parts), "Wq": X.T @ d["Q"], "Wk": X.T @ d["K"], "Wv": X.T @ d["V"]}
    return {**a, "parts": x_parts, "X": X, "d": d, "Wq": Wq, "Wk": Wk, "Wv": Wv, "right": right}


PROJECTED = Problem(projected, {"X": draw(T, D), "Wq": draw(D, D), "Wk": draw(D, D), "Wv": draw(D, D)}, projected_pieces)

# Linear, embedding, GELU ----------------------------------------------------------------------------------------------

CL = draw(6, 3)


def linear_pieces(x, w, b):
    return {"x": x, "w": w, "g": CL, "right": {"x": CL @ w.T, "w": x.T @ CL, "b": CL.sum(0)}}


LINEAR_INPUTS = {"x": draw(6, 4), "w": draw(4, 3), "b": draw(3)}
LINEAR = Problem(lambda x, w, b: ((x @ w + b) * CL).sum(), LINEAR_INPUTS, linear_pieces)
FUSED_LINEAR = Problem(lambda x, w, b: (mg.linear(x, w, b) * CL).sum(), LINEAR_INPUTS, linear_pieces)
MEAN_LINEAR = Problem(
    lambda x, w, b: ((x @ w + b) * CL).mean(),
    LINEAR_INPUTS,
    lambda **a: {"right": {name: g / 18 for name, g in linear_pieces(**a)["right"].items()}},
)

IDS = np.array([1, 3, 1, 0, 3, 3])
CE = draw(6, 4)


def embedding_pieces(table):
    right = np.zeros((5, 4))
    np.add.at(right, IDS, CE)
    return {"right": {"table": right}}


EMBEDDING = Problem(lambda table: (mg.embedding(table, IDS) * CE).sum(), {"table": draw(5, 4)}, embedding_pieces)
CG = draw(3, 5)
R = math.sqrt(2 / math.pi)


def gelu_pieces(x):
    inside = R * (x + 0.044715 * x**3)
    t, du = np.tanh(inside), R * (1 + 3 * 0.044715 * x**2)
    return {"x": x, "t": t, "du": du, "right": {"x": CG * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)}}


def normal_cdf(x):
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def normal_pdf(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


GELU = Problem(lambda x: (mg.gelu(x) * CG).sum(), {"x": draw(3, 5)}, gelu_pieces)
EXACT_GELU = Problem(
    lambda x: (mg.gelu(x, "none") * CG).sum(), {"x": draw(3, 5)}, lambda x: {"x": x, "right": {"x": CG * (normal_cdf(x) + x * normal_pdf(x))}}
)

# Masks, dropout, reuse ------------------------------------------------------------------------------------------------

KEEP = (RNG.random((3, 4)) < 0.6) / 0.6
ALLOWED = np.tril(np.ones((4, 4), bool))
C44 = draw(4, 4)
DROPPED = Problem(lambda x: (x * x * KEEP * C34).sum(), {"x": draw(3, 4)}, lambda x: {"x": x, "right": {"x": 2 * x * KEEP * C34}})
TRIANGLE = Problem(
    lambda s: (mg.where(ALLOWED, mg.tanh(s), -1e9) * np.where(ALLOWED, C44, 0.5)).sum(),
    {"s": draw(4, 4)},
    lambda s: {"s": s, "right": {"s": np.where(ALLOWED, C44 * (1 - np.tanh(s) ** 2), 0)}},
)
RESIDUAL = Problem(
    lambda x, w: ((x + mg.tanh(x @ w)) * C34).sum(),
    {"x": draw(3, 4), "w": draw(4, 4)},
    lambda x, w: {"h": (h := C34 * (1 - np.tanh(x @ w) ** 2)), "x": x, "w": w, "right": {"x": C34 + h @ w.T, "w": x.T @ h}},
)


def one_entry(right):
    changed = right.copy()
    changed.flat[3] *= 1.5
    return changed


WRONG: list[tuple[str, Problem, Callable[[dict[str, Any]], dict[str, Any]], str]] = [
    # what is written, of what, the claimed gradients from the pieces, the name that diagnose must give
    ("softmax: the diagonal alone", SOFTMAX, lambda a: {"x": a["g"] * a["p"] * (1 - a["p"])}, "softmax diagonal"),
    ("softmax: without the sum", SOFTMAX, lambda a: {"x": a["g"] * a["p"]}, "missing term"),
    ("softmax: the sum without p", SOFTMAX, lambda a: {"x": a["p"] * (a["g"] - a["g"].sum(-1, keepdims=True))}, "wrong term"),
    ("softmax: negative", SOFTMAX, lambda a: {"x": -a["right"]["x"]}, "sign"),
    ("softmax: the sum over the other axis", SOFTMAX, lambda a: {"x": a["p"] * (a["g"] - (a["g"] * a["p"]).sum(0))}, "wrong axis"),
    ("softmax: for log_softmax", SOFTMAX, lambda a: {"x": a["g"] - a["p"] * a["g"].sum(-1, keepdims=True)}, "other function"),
    ("composed softmax: the denominator as a constant", COMPOSED_SOFTMAX, lambda a: {"x": a["g"] * a["p"]}, "missing term"),
    ("log_softmax: without Σ ȳ", LOG_SOFTMAX, lambda a: {"x": C34 - a["p"]}, "missing term"),
    ("log_softmax: passed through", LOG_SOFTMAX, lambda a: {"x": C34}, "forgotten softmax"),
    ("cross-entropy: without the mean", LOSS, lambda a: {"x": a["p"] - a["t"]}, "missing mean"),
    ("cross-entropy: the mean twice", LOSS, lambda a: {"x": (a["p"] - a["t"]) / 25}, "factor"),
    ("cross-entropy: target − softmax", LOSS, lambda a: {"x": (a["t"] - a["p"]) / 5}, "sign"),
    ("cross-entropy: target − softmax, without the mean", LOSS, lambda a: {"x": a["t"] - a["p"]}, "sign and missing mean"),
    ("cross-entropy: divided by the classes too", LOSS, lambda a: {"x": (a["p"] - a["t"]) / 20}, "factor"),
    ("cross-entropy: softmax alone", LOSS, lambda a: {"x": a["p"] / 5}, "missing target"),
    ("cross-entropy: target alone", LOSS, lambda a: {"x": -a["t"] / 5}, "forgotten softmax"),
    ("cross-entropy: the diagonal alone", LOSS, lambda a: {"x": -a["t"] * (1 - a["p"]) / 5}, "softmax diagonal"),
    ("cross-entropy: plus the target", LOSS, lambda a: {"x": (a["p"] + a["t"]) / 5}, "sign of a term"),
    ("cross-entropy: logits for softmax", LOSS, lambda a: {"x": (LOSS.inputs["x"] - a["t"]) / 5}, "forgotten softmax"),
    ("cross-entropy: transposed", LOSS, lambda a: {"x": a["right"]["x"].T}, "transposed"),
    ("cross-entropy, summed: a mean", SUMMED, lambda a: {"x": a["right"]["x"] / 5}, "superfluous mean"),
    ("cross-entropy: ignored targets counted", IGNORING, lambda a: {"x": (a["p"] - a["t"]) * a["counted"] / 5}, "factor"),
    ("cross-entropy: ignored rows not zeroed", IGNORING, lambda a: {"x": (a["p"] - a["t"]) / 3}, "masked entries not zeroed"),
    ("cross-entropy: smoothing forgotten", SMOOTH, lambda a: {"x": (a["p"] - a["t"]) / 5}, "missing label smoothing"),
    ("cross-entropy: one entry", LOSS, lambda a: {"x": one_entry(a["right"]["x"])}, "single entries"),
    *[
        (f"{kind}: {what}", problem, claim, name)
        for kind, problem in (("layer norm", NORM), ("composed layer norm", COMPOSED_NORM))
        for what, claim, name in [
            ("not through the mean", lambda a: {"x": (a["u"] - a["n"] * average(a["u"] * a["n"])) / a["s"]}, "missing term through the mean"),
            ("not through the variance", lambda a: {"x": (a["u"] - average(a["u"])) / a["s"]}, "missing term through the variance"),
            ("through neither", lambda a: {"x": a["u"] / a["s"]}, "missing terms through the mean and the variance"),
            ("β not summed", lambda a: {"beta": a["g"]}, "missing sum"),
            ("γ not summed", lambda a: {"gamma": a["g"] * a["n"]}, "missing sum"),
            ("β averaged", lambda a: {"beta": a["g"].mean(0)}, "superfluous mean"),
            ("β of the last row", lambda a: {"beta": a["g"][-1]}, "missing sum"),
            ("γ and β swapped", lambda a: {"gamma": a["right"]["beta"], "beta": a["right"]["gamma"]}, "wrong input"),
        ]
    ],
    ("layer norm: without γ", NORM, lambda a: {"x": norm_without_gamma(a)}, "missing factor"),
    ("layer norm: without 1/σ", NORM, lambda a: {"x": a["right"]["x"] * a["s"]}, "missing scale"),
    ("layer norm: sums for means", NORM, lambda a: {"x": norm_with_sums(a)}, "missing mean"),
    ("layer norm: γ from x", NORM, lambda a: {"gamma": (a["g"] * a["x"]).sum(0)}, "wrong operand"),
    ("layer norm: γ from the centred x", NORM, lambda a: {"gamma": (a["g"] * a["centred"]).sum(0)}, "wrong operand"),
    ("layer norm: γ from y", NORM, lambda a: {"gamma": (a["g"] * a["y"]).sum(0)}, "wrong operand"),
    *[
        (f"{kind}: {what}", problem, claim, name)
        for kind, problem in (("attention", ATTENTION), ("composed attention", COMPOSED_ATTENTION))
        for what, claim, name in [
            ("Q without the scale", lambda a: {"Q": a["ds"] @ a["K"]}, "factor"),
            ("K with the scale twice", lambda a: {"K": a["ds"].T @ a["Q"] / D}, "factor"),
            ("Q and K by the diagonal alone", lambda a: by_scores(a, a["dp"] * a["p"] * (1 - a["p"])), "softmax diagonal"),
            ("Q and K without softmax's sum", lambda a: by_scores(a, a["dp"] * a["p"]), "missing term"),
            ("K with S̄ for S̄ᵀ", lambda a: {"K": a["tau"] * a["ds"] @ a["Q"]}, "missing transposition"),
            ("V with P for Pᵀ", lambda a: {"V": a["p"] @ CO}, "missing transposition"),
            ("Q and K swapped", lambda a: {"Q": a["right"]["K"], "K": a["right"]["Q"]}, "wrong input"),
            ("V transposed", lambda a: {"V": a["right"]["V"].T}, "transposed"),
            ("Q negative", lambda a: {"Q": -a["right"]["Q"]}, "sign"),
            ("V of one query", lambda a: {"V": one_entry(a["right"]["V"])}, "single entries"),
        ]
    ],
    ("attention: Q and K without softmax", ATTENTION, lambda a: by_scores(a, a["dp"]), "forgotten softmax"),
    ("attention: Q where K belongs", ATTENTION, lambda a: {"Q": a["tau"] * a["ds"] @ a["Q"]}, "wrong operand"),
    ("attention: V from the scores", ATTENTION, lambda a: {"V": a["s"].T @ CO}, "wrong operand"),
    ("causal attention: V without the mask", CAUSAL, lambda a: {"V": probabilities(a["s"]).T @ CO}, "mask not applied"),
    ("projections: X from Q alone", PROJECTED, lambda a: {"X": a["parts"][0]}, "missing path"),
    ("projections: X from V alone", PROJECTED, lambda a: {"X": a["parts"][2]}, "missing path"),
    ("projections: X without K's part", PROJECTED, lambda a: {"X": a["parts"][0] + a["parts"][2]}, "missing path"),
    ("projections: W^Q without the scale", PROJECTED, lambda a: {"Wq": a["X"].T @ (a["ds"] @ a["K"])}, "factor"),
    ("projections: W^V transposed", PROJECTED, lambda a: {"Wv": a["right"]["Wv"].T}, "transposed"),
    ("projections: W^Q and W^K swapped", PROJECTED, lambda a: {"Wq": a["right"]["Wk"], "Wk": a["right"]["Wq"]}, "wrong input"),
    ("projections: W^Q by the diagonal alone", PROJECTED, lambda a: {"Wq": a["X"].T @ (a["dp"] * a["p"] * (1 - a["p"]) @ a["K"]) * a["tau"]},
     "softmax diagonal"),
    *[
        (f"{kind}: {what}", problem, claim, name)
        for kind, problem in (("linear", LINEAR), ("fused linear", FUSED_LINEAR))
        for what, claim, name in [
            ("b not summed", lambda a: {"b": a["g"]}, "missing sum"),
            ("b averaged", lambda a: {"b": a["g"].mean(0)}, "superfluous mean"),
            ("b of the first row", lambda a: {"b": a["g"][0]}, "missing sum"),
            ("b summed to a number", lambda a: {"b": a["g"].sum()}, "superfluous sum"),
            ("b as a row", lambda a: {"b": a["right"]["b"][None]}, "wrong shape"),
            ("W per example", lambda a: {"w": a["x"][:, :, None] * a["g"][:, None, :]}, "missing sum"),
            ("W transposed", lambda a: {"w": a["g"].T @ a["x"]}, "transposed"),
            ("x summed over the batch", lambda a: {"x": np.tile(a["right"]["x"].sum(0), (6, 1))}, "superfluous sum"),
        ]
    ],
    ("linear: without the mean", MEAN_LINEAR, lambda a: {"w": 18 * a["right"]["w"]}, "missing mean"),
    ("linear: half", LINEAR, lambda a: {"w": a["right"]["w"] / 2}, "factor"),
    ("linear: a number of no origin", LINEAR, lambda a: {"w": a["right"]["w"] * 1.2345}, "factor"),
    ("linear: minus a number", LINEAR, lambda a: {"w": a["right"]["w"] * -2}, "sign and factor"),
    ("linear: zero", LINEAR, lambda a: {"w": 0 * a["right"]["w"]}, "zero"),
    ("linear: nan", LINEAR, lambda a: {"w": np.where(a["w"] > 0, np.nan, a["right"]["w"])}, "not finite"),
    ("embedding: the last one wins", EMBEDDING, lambda a: {"table": scattered(range(6))}, "overwritten"),
    ("embedding: the first one wins", EMBEDDING, lambda a: {"table": scattered(range(5, -1, -1))}, "overwritten"),
    ("embedding: averaged", EMBEDDING, lambda a: {"table": a["right"]["table"] / np.maximum(1, np.bincount(IDS, minlength=5))[:, None]},
     "superfluous mean"),
    ("embedding: transposed", EMBEDDING, lambda a: {"table": a["right"]["table"].T}, "transposed"),
    ("embedding: rows that were not picked", EMBEDDING,
     lambda a: {"table": a["right"]["table"] + np.outer(np.bincount(IDS, minlength=5) == 0, CE[0])}, "masked entries not zeroed"),
    ("GELU: without the inner derivative", GELU, lambda a: {"x": CG * 0.5 * (1 + a["t"])}, "missing term"),
    ("GELU: without s", GELU, lambda a: {"x": CG * 0.5 * a["x"] * (1 - a["t"] ** 2) * a["du"]}, "missing term"),
    ("GELU: without u'", GELU, lambda a: {"x": CG * (0.5 * (1 + a["t"]) + 0.5 * a["x"] * (1 - a["t"] ** 2))}, "forgotten inner derivative"),
    ("GELU: u' without the cube", GELU,
     lambda a: {"x": CG * (0.5 * (1 + a["t"]) + 0.5 * a["x"] * (1 - a["t"] ** 2) * R)}, "forgotten inner derivative"),
    ("GELU: of the exact form", GELU, lambda a: {"x": CG * (normal_cdf(a["x"]) + a["x"] * normal_pdf(a["x"]))}, "other function"),
    ("GELU: passed through", GELU, lambda a: {"x": CG}, "forgotten derivative"),
    ("exact GELU: without the inner derivative", EXACT_GELU, lambda a: {"x": CG * normal_cdf(a["x"])}, "missing term"),
    ("exact GELU: without 1/√2", EXACT_GELU, lambda a: {"x": CG * (normal_cdf(a["x"]) + math.sqrt(2) * a["x"] * normal_pdf(a["x"]))},
     "forgotten inner derivative"),
    ("dropout: without 1/(1 − p)", DROPPED, lambda a: {"x": 2 * a["x"] * C34 * (KEEP > 0)}, "factor"),
    ("dropout: without the mask", DROPPED, lambda a: {"x": 2 * a["x"] * C34}, "mask not applied"),
    ("square: without the 2", DROPPED, lambda a: {"x": a["x"] * KEEP * C34}, "factor"),
    ("mask: not applied", TRIANGLE, lambda a: {"s": np.where(ALLOWED, C44, 0.5) * (1 - np.tanh(a["s"]) ** 2)}, "mask not applied"),
    ("mask: noise where it is zero", TRIANGLE, lambda a: {"s": a["right"]["s"] + (1 - ALLOWED) * 0.1}, "masked entries not zeroed"),
    ("residual: the shortcut overwritten", RESIDUAL, lambda a: {"x": a["h"] @ a["w"].T}, "missing term"),
    ("residual: the shortcut alone", RESIDUAL, lambda a: {"x": C34}, "missing term"),
    ("tanh: passed through", RESIDUAL, lambda a: {"w": a["x"].T @ C34}, "forgotten derivative"),
    ("tanh: of the input", RESIDUAL, lambda a: {"w": a["x"].T @ (C34 * (1 - (a["x"] @ a["w"]) ** 2))}, "wrong argument"),
]  # fmt: skip


def by_scores(a, ds):
    return {"Q": a["tau"] * ds @ a["K"], "K": a["tau"] * ds.T @ a["Q"]}


def norm_without_gamma(a):
    return (a["g"] - average(a["g"]) - a["n"] * average(a["g"] * a["n"])) / a["s"]


def norm_with_sums(a):
    return (a["u"] - a["u"].sum(-1, keepdims=True) - a["n"] * (a["u"] * a["n"]).sum(-1, keepdims=True)) / a["s"]


def scattered(order):
    table = np.zeros((5, 4))
    for i in order:
        table[IDS[i]] = CE[i]
    return table


@pytest.mark.parametrize(("problem", "claim", "name"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_the_mistake_is_named(problem, claim, name):
    pieces = problem.pieces(**problem.inputs)
    found = diagnose(problem.f, problem.inputs, claim(pieces))
    assert not found
    assert set(found.mistakes.values()) == {name}, f"\n{found}"
    for row in found.rows:
        assert row.words and row.name in str(found)


def test_there_are_forty_of_every_kind_that_was_asked_for():
    assert len(WRONG) >= 40
    assert len({row[0] for row in WRONG}) == len(WRONG)
    for word in ("softmax", "cross-entropy", "layer norm", "attention", "projections", "linear", "embedding", "GELU"):
        assert sum(word in row[0] for row in WRONG) >= 4, word


PROBLEMS = [SOFTMAX, COMPOSED_SOFTMAX, LOG_SOFTMAX, LOSS, IGNORING, SMOOTH, SUMMED, NORM, COMPOSED_NORM, ATTENTION, CAUSAL, COMPOSED_ATTENTION,
            PROJECTED, LINEAR, FUSED_LINEAR, MEAN_LINEAR, EMBEDDING, GELU, EXACT_GELU, DROPPED, TRIANGLE, RESIDUAL]  # fmt: skip


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_right_gradient_is_right(problem):
    right = problem.pieces(**problem.inputs)["right"]
    found = diagnose(problem.f, problem.inputs, right)
    assert found, f"\n{found}"
    assert found.mistake is None and found.notes() == []
    assert set(found.mistakes) == set(right)
    by_function = diagnose(problem.f, problem.inputs, lambda **inputs: problem.pieces(**inputs)["right"])
    assert by_function


def shuffled(x):
    flat = x.ravel()
    return np.roll(flat, flat.size // 2 + 1).reshape(x.shape)


STRANGE: list[tuple[str, Callable[[np.ndarray], np.ndarray]]] = [
    ("noise", lambda g: np.random.default_rng(7).normal(size=g.shape)),
    ("a little noise", lambda g: g + 0.01 * np.random.default_rng(8).normal(size=g.shape)),
    ("a constant added", lambda g: g + 0.3),
    ("squared", lambda g: g * g),
    ("tanh of it", lambda g: np.tanh(2 * g)),
    ("shuffled", shuffled),
    ("rows scaled", lambda g: g * np.linspace(0.5, 1.7, g.shape[0]).reshape(-1, *[1] * (g.ndim - 1))),
    ("columns scaled", lambda g: g * np.linspace(0.5, 1.7, g.shape[-1])),
    ("sorted", lambda g: np.sort(g.ravel()).reshape(g.shape)),
    ("absolute value", np.abs),
    ("all ones", np.ones_like),
    ("the signs alone", np.sign),
    ("twice plus one", lambda g: 2 * g + 1),
    ("rounded to tenths", lambda g: np.round(g, 1) + 0.01),
]  # fmt: skip
UNKNOWN = [
    (f"{of}: {what}", problem, name, change)
    for of, problem, name in (("attention, Q", ATTENTION, "Q"), ("layer norm, x", NORM, "x"), ("linear, W", LINEAR, "w"), ("loss", LOSS, "x"))
    for what, change in STRANGE
]


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "name", "change"), [row[1:] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
def test_what_fits_no_pattern_is_not_recognised(problem, name, change):
    assert len(UNKNOWN) >= 20
    right = problem.pieces(**problem.inputs)["right"][name]
    found = diagnose(problem.f, problem.inputs, {name: change(right)})
    assert not found
    assert found.mistake == "not recognised", f"\n{found}"
    assert "fits no pattern" in str(found) and "cosine" in str(found)


# The words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("problem", "claim", "words"), [
    (ATTENTION, lambda a: {"Q": a["ds"] @ a["K"]}, "the scale 1/√d_k = 1/√5 of attention is missing"),
    (COMPOSED_ATTENTION, lambda a: {"Q": a["ds"] @ a["K"]}, "the division by 2.23607 = √5 is missing"),
    (LOSS, lambda a: {"x": a["p"] - a["t"]}, "5 times the right one: the mean over the batch of 5 is missing"),
    (IGNORING, lambda a: {"x": (a["p"] - a["t"]) * a["counted"] / 5}, "divided by all 5 targets; the 2 ignored ones do not count"),
    (LOSS, lambda a: {"x": a["t"] - a["p"]}, "the sign is wrong, and every entry is 5 times"),
    (MEAN_LINEAR, lambda a: {"w": 18 * a["right"]["w"]}, "the 1/18 of the mean over 18 entries is missing"),
    (PROJECTED, lambda a: {"X": a["parts"][0]}, "X is used 3 times and its gradients must be added"),
    (LINEAR, lambda a: {"b": CL}, "b of shape (3,) was broadcast over 6 places"),
    (LINEAR, lambda a: {"w": a["right"]["w"] / 4}, "1/4, where 4 is the length of axis 0 of w"),
    (DROPPED, lambda a: {"x": 2 * a["x"] * C34 * (KEEP > 0)}, "the mask's factor 1.66667 = 1/(1 − p) is missing"),
    (LOSS, lambda a: {"x": one_entry(a["right"]["x"])}, "right except at a single entry (["),
])  # fmt: skip
def test_the_words_say_where_it_comes_from(problem, claim, words):
    assert words in str(diagnose(problem.f, problem.inputs, claim(problem.pieces(**problem.inputs))))


def test_only_what_is_wrong_is_called_wrong_and_each_for_its_own_mistake():
    a = ATTENTION.pieces(**QKV)
    found = diagnose(ATTENTION.f, QKV, {"Q": a["right"]["Q"], "K": -a["right"]["K"], "V": a["right"]["V"].T})
    assert found.mistakes == {"Q": None, "K": "sign", "V": "transposed"}
    assert found["Q"] and not found["K"]
    assert found.mistake == "sign"
    lines = str(found).splitlines()
    assert lines[1].endswith("right") and lines[2].endswith("WRONG: sign") and lines[3].endswith("WRONG: transposed")
    page = found._repr_html_()
    assert page.startswith("<table>") and page.count("<tr>") == 4 and "<p>K: the sign is wrong" in page
    with pytest.raises(KeyError, match="no claimed gradient of 'W'; there are Q, K, V"):
        found["W"]


def test_the_worst_entry_is_judged_by_differences_too():
    a = LINEAR.pieces(**LINEAR.inputs)
    row = diagnose(LINEAR.f, LINEAR.inputs, {"w": one_entry(a["right"]["w"])}).rows[0]
    entry, yours, rule, numeric = row.worst.replace(":", ",").rsplit(",", 3)[0], *map(float, row.worst.split(":")[1].split(","))
    assert entry == "[1, 0]"
    assert yours == pytest.approx(1.5 * rule) and numeric == pytest.approx(rule, rel=1e-7)


def test_two_explanations_of_the_same_numbers_are_both_told():
    """With three examples of width three, a missing mean and a missing width cannot be told apart."""
    x, c = draw(3, 3), draw(3, 3)
    found = diagnose(lambda x: (x * c).mean(axis=0).sum(), x, c)
    assert found.mistake == "missing mean"
    twice = diagnose(lambda x: ((x * c).mean(axis=0) / 3.0).sum(), x, c / 3)
    assert "the 1/3 of the mean over 3 entries (axis 0) is missing" in str(twice) and "the division by 3 is missing" in str(twice)


def test_a_number_is_no_constant_factor_of_another_number_unless_it_is_a_known_one():
    f = lambda x: x * x * 3.0  # noqa: E731
    assert diagnose(f, 1.5, 4.5).mistake == "factor"  # the 2 of the square
    assert diagnose(f, 1.5, 3.0).mistake == "factor"  # the 3
    assert diagnose(f, 1.5, 9.0)
    assert diagnose(f, 1.5, 7.1).mistake == "not recognised"


# How it is asked ------------------------------------------------------------------------------------------------------


def test_inputs_and_claims_in_every_form():
    f = lambda a, b: (a * b).sum()  # noqa: E731
    a, b = draw(3), draw(3)
    assert diagnose(f, (a, b), (b, a))
    assert diagnose(f, [a, b], [b, None])
    assert diagnose(f, {"a": a, "b": b}, {"b": a})
    assert diagnose(lambda p: f(p["a"], p["b"]), {"a": a, "b": b}, lambda p: {"a": p["b"], "b": p["a"]})
    assert diagnose(f, (a, b), lambda a, b: (b, a))
    assert diagnose(lambda x: (x * x).sum(), a, 2 * a)
    assert diagnose(lambda x: (x * x).sum(), Tensor(a), Tensor(2 * a))
    assert diagnose(lambda x: (x * x).sum(), [a], [2 * a])
    assert diagnose(lambda x: (x * x).sum(), a, (2 * a).tolist())
    assert diagnose(f, (Tensor(a, name="left"), b), {"left": b}).rows[0].name == "left"
    assert diagnose(f, (a, b), (b, a), names=["u", "v"]).rows[1].name == "v"
    ids = np.array([0, 2, 2])
    assert diagnose(lambda w, ids: (w[ids] * b).sum(), (a, ids), ([b[0], 0, b[1] + b[2]],))
    assert diagnose(lambda w, ids: (w[ids] * b).sum(), (a, ids), ([b[0], 0, b[1] + b[2]], None))


def test_an_output_that_is_no_scalar_needs_an_upstream_gradient():
    x, g = draw(3, 4), draw(3, 4)
    p = probabilities(x)
    assert diagnose(mg.softmax, x, p * (g - (g * p).sum(-1, keepdims=True)), upstream=g)
    assert diagnose(mg.softmax, x, g * p * (1 - p), upstream=g).mistake == "softmax diagonal"
    with pytest.raises(ValueError, match=r"returns shape \(3, 4\).*pass upstream="):
        diagnose(mg.softmax, x, g)
    with pytest.raises(ValueError, match=r"upstream gradient has shape \(4,\); expected \(3, 4\)"):
        diagnose(mg.softmax, x, g, upstream=g[0])


def test_what_does_not_fit_together_is_a_clear_error():
    f = lambda a, b: (a * b).sum()  # noqa: E731
    a = draw(3)
    for inputs, claimed, kind, message in [
        ((a, a), {"c": a}, ValueError, "claimed a gradient of 'c'; the inputs are a, b"),
        ((a, a), a, ValueError, r"2 inputs \(a, b\) need 2 claimed gradients"),
        ((a, a), [a, a, a], ValueError, "3 claimed gradients for 2 inputs"),
        ((a, a), [None, None], ValueError, "no gradient is claimed"),
        ((a, a), [a * 1j, a], TypeError, "gradient of a must be real numbers"),
        ((a * 1j, a), [a, a], TypeError, "complex inputs are not supported"),
        ((np.arange(3), np.arange(3)), [a, a], TypeError, "no floating-point input"),
        (({"x": a}, a), [a, a], TypeError, "nested inputs"),
    ]:
        with pytest.raises(kind, match=message):
            diagnose(f, inputs, claimed)
    with pytest.raises(TypeError, match=r"detach\(\) cut the graph"):
        diagnose(lambda x: Tensor(x.data.sum()), a, a)
    with pytest.raises(TypeError, match="must return one Tensor, got float"):
        diagnose(lambda x: float(x.data.sum()), a, a)


def test_claims_in_float32_and_from_paper_are_judged_by_their_own_precision():
    x = draw(3, 4)
    right = np.exp(x)
    f = lambda x: mg.exp(x).sum()  # noqa: E731
    assert diagnose(f, x, right.astype(np.float32))
    assert not diagnose(f, x, np.round(right, 3))
    assert diagnose(f, x, np.round(right, 3), rtol=1e-3)
    assert diagnose(f, x, np.round(-right, 3), rtol=1e-3).mistake == "sign"
    assert diagnose(f, x, 2 * right.astype(np.float32)).mistake == "factor"


def test_a_gradient_that_is_zero_in_theory_may_be_claimed_as_zero():
    x, b = draw(3, 4), draw(3, 1)
    c = draw(3, 4)
    f = lambda x, b: (mg.softmax(x + b) * c).sum()  # noqa: E731
    p = probabilities(x + b)
    assert diagnose(f, (x, b), (p * (c - (c * p).sum(-1, keepdims=True)), np.zeros((3, 1))))


def test_nothing_of_the_caller_is_changed_and_dropout_draws_the_same_mask():
    x = draw(3, 4)
    before = x.copy()
    state = mg.random.generator().bit_generator.state
    mask = mg.dropout(np.ones((3, 4)), 0.5)
    mg.random.generator().bit_generator.state = state
    found = diagnose(lambda x: (mg.dropout(x, 0.5) * x).sum(), x, 2 * x * mask)
    assert found, found
    np.testing.assert_array_equal(x, before)
    assert mg.random.generator().bit_generator.state == state


def test_the_parameters_of_a_module():
    """Multi-head attention by hand: the gradient of the output projection without the transposition of the mixed heads."""
    mg.manual_seed(0)
    module = MultiHeadAttention(8, 2).astype(np.float64)
    x, c = draw(1, 4, 8), draw(1, 4, 8)

    def f(**parameters):
        return (mg.nn.functional_call(module, parameters, lambda: module(x, causal=True)) * c).sum()

    values = {name: p.data for name, p in module.named_parameters()}
    right = {name: g.data for name, g in zip(values, mg.grad(lambda ps: f(**ps))(values).values(), strict=True)}
    assert diagnose(f, values, right)
    claimed = {**right, "q_proj.weight": right["q_proj.weight"] * 2, "out_proj.bias": c[0]}
    found = diagnose(f, values, claimed)
    assert {n: m for n, m in found.mistakes.items() if m} == {"q_proj.weight": "factor", "out_proj.bias": "missing sum"}
    assert "the scale 1/√d_k = 1/√4 of attention is missing" in str(found["q_proj.weight"].words)


def test_a_whole_gpt_whose_tied_embedding_got_the_gradient_of_one_side_only():
    mg.manual_seed(0)
    model = GPT(7, 8, 2, 1, 5).astype(np.float64)
    ids = RNG.integers(0, 7, (2, 5))
    values = {name: p.data for name, p in model.named_parameters()}

    def loss(**parameters):
        return mg.cross_entropy(mg.nn.functional_call(model, parameters, lambda: model(ids)), ids)

    def looked_up(table):  # the output side reads a constant
        x = model.positions.embed(mg.embedding(table, ids), 0)
        return mg.cross_entropy(mg.linear(model.norm(model.layers[0](x, causal=True)), values["token_embedding.weight"].T), ids)

    claimed = {"token_embedding.weight": mg.grad(looked_up)(values["token_embedding.weight"])}
    found = diagnose(loss, values, claimed)
    assert found.mistake == "missing path"
    assert "token_embedding.weight is used 2 times and its gradients must be added; the one through swapaxes" in str(found)


def test_the_same_mistake_in_several_gradients_is_said_once():
    a = LINEAR.pieces(**LINEAR.inputs)["right"]
    found = diagnose(LINEAR.f, LINEAR.inputs, {name: -g for name, g in a.items()})
    assert [note.split(":")[0] for note in found.notes()] == ["x, w, b"]


def test_every_op_with_typical_mistakes_exists():
    assert set(MISTAKES) <= set(REGISTRY)
