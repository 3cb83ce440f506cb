r"""How a lecturer would write calls of library ops: softmax, attention, losses and norms, with the numbers inside
their rules."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from ..recording import Call, attention_mask, attention_weights, sigmoid
from ..recording import softmax as softmax_values
from .matrices import constant, scientific, size
from .names import Phrase, in_words

ROOT_2_OVER_PI = math.sqrt(2 / math.pi)


def gelu_slopes(x: Any, y: np.ndarray, g: np.ndarray) -> dict[str, Any]:
    return {
        "s": sigmoid(2 * ROOT_2_OVER_PI * (x + 0.044715 * x**3)),
        "w": 2 * ROOT_2_OVER_PI * (1 + 3 * 0.044715 * x * x),
    }


def softmax(call: Call, said: Phrase) -> None:
    ndim, axis = call.out.ndim, call.param("axis")
    along = r"\operatorname{sum}" if ndim == 1 else rf"\operatorname{{sum}}_{{\text{{axis }}{axis % ndim}}}"
    if axis % ndim != ndim - 1 or ndim == 1:
        said.derivatives = [(k, d.replace(r"\operatorname{rowsum}", along)) for k, d in said.derivatives]
    if ndim == 2 and axis % 2 == 1:
        said.formula = re.sub(r"_([jk])\b", r"_{i\1}", said.formula).replace(r"\sum_{ik}", r"\sum_k")
    said.notes = ["in every row" if axis % ndim == ndim - 1 and ndim > 1 else f"along axis {axis % ndim}"]
    said.values = lambda g: {"p": np.exp(call.out)} if call.op.name == "log_softmax" else {}


# Fused ----------------------------------------------------------------------------------------------------------------


def attention(call: Call, said: Phrase) -> None:
    q, k, v, bias = call.arrays
    mask, causal, scale = (call.param(p) for p in ("mask", "causal", "scale"))
    tau = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    said.notes = [
        rf"$\tau = 1/\sqrt{{d}} = 1/\sqrt{{{q.shape[-1]}}}$" if scale is None else rf"$\tau = {constant(tau)}$"
    ]
    added = [] if bias is None else ["M"]
    if mask is not None:
        added.append(r"M_\text{mask}")
        said.notes.append(rf"$M_\text{{mask}}$, {size(mask)}, is added to the scores: −∞ where a word may not be seen")
    if causal:
        added.append(r"M_\text{causal}")
        said.notes.append(
            r"$M_\text{causal}$ is −∞ where the key is a later word than the query, so that its weight in $P$ is 0, and"
            r" 0 elsewhere"
        )
    _rewrite(said, {" + M": "".join(f" + {m}" for m in added)})
    grouped = q.ndim > 2 and q.shape[-3] != k.shape[-3]
    if grouped:
        said.notes.append(
            f"{q.shape[-3]} query heads share {k.shape[-3]} key and value heads; their gradients are summed in each"
            " group"
        )
    keep = attention_mask(call)
    if keep is not None:
        said.notes.append(
            f"$D$ is the dropout mask of the weights: 0 with probability {call.param('dropout'):g}, "
            f"and 1/{1 - call.param('dropout'):g} elsewhere"
        )
        said.formula = re.sub(r"= (.*) \\, V", r"= \\big(\1 \\odot D\\big) V", said.formula)
        _rewrite(said, {r"P^\top": r"(P \odot D)^\top", r"\bar O V^\top": r"\bar O V^\top \odot D"})

    def inside(g: np.ndarray) -> dict[str, Any]:
        p = attention_weights(call)
        found = {"P": p, r"\tau": tau} | ({"D": keep} if keep is not None else {})
        if not grouped:
            p_bar = g @ v.swapaxes(-1, -2) * (1 if keep is None else keep)
            found |= {r"\bar{P}": p_bar, r"\bar{S}": p * (p_bar - (p_bar * p).sum(axis=-1, keepdims=True))}
        return found

    said.values = inside


def _rewrite(said: Phrase, changes: dict[str, str]) -> None:
    for old, new in changes.items():
        said.formula = said.formula.replace(old, new)
        said.derivatives = [(i, d.replace(old, new)) for i, d in said.derivatives]


def cross_entropy(call: Call, said: Phrase) -> None:
    x, targets = call.arrays[0], call.param("targets")
    smoothing, reduction, ignored = (call.param(p) for p in ("label_smoothing", "reduction", "ignore_index"))
    counted = np.ones(targets.shape, bool) if ignored is None else targets != ignored
    if reduction == "none":
        said.formula = said.formula.replace(r"L = -\tfrac1N \sum_{n,j}", r"L_n = -\sum_j")
        said.derivatives = [("n", r"\bar L_n (p_n - T_n)")]
    elif reduction == "sum":
        said.formula = said.formula.replace(r"\tfrac1N ", "")
        said.derivatives = [("", said.derivatives[0][1].replace(" / N", ""))]
    wanted = in_words(targets)
    said.notes = [f"row $n$ of $T$ is 1 at target $n$ and 0 elsewhere; targets {wanted}"]
    if smoothing:
        v = x.shape[-1]
        said.notes = [rf"row $n$ of $T$ is $1 - \varepsilon + \varepsilon/{v}$ at target $n$ and "
                      rf"$\varepsilon/{v}$ elsewhere, "
                      rf"$\varepsilon = {scientific(smoothing)}$; targets {wanted}"]  # fmt: skip
    if reduction == "mean":
        said.notes.append(f"$N$ = {max(1, int(counted.sum()))} targets")
    if not counted.all():
        said.notes.append(f"targets equal to {ignored} are left out: their rows of $p$ and $T$ are set to 0")

    def inside(g: np.ndarray) -> dict[str, Any]:
        p = softmax_values(x)
        t = np.full(x.shape, smoothing / x.shape[-1]).reshape(-1, x.shape[-1])
        rows = np.flatnonzero(counted.ravel())
        t[rows, targets.ravel()[rows]] += 1 - smoothing
        return {
            "p": p * counted[..., None],
            "T": t.reshape(x.shape) * counted[..., None],
            "N": max(1, int(counted.sum())),
        }

    said.values = inside


def norm(call: Call, said: Phrase) -> None:
    x, weight = call.arrays[:2]
    eps = call.param("eps")
    said.notes = [
        rf"$\langle\cdot\rangle$ is the mean over the last axis, of size {x.shape[-1]}; $\varepsilon ="
        rf" {scientific(eps)}$"
    ]
    centred = x - x.mean(axis=-1, keepdims=True) if call.op.name == "layer_norm" else x
    s = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)
    if call.op.name == "layer_norm":
        said.notes.insert(0, r"$\mu$ and $\sigma^2$ are the mean and the variance of each row")
    normalised = centred * s

    def inside(g: np.ndarray) -> dict[str, Any]:
        u = g * weight
        return {
            r"\hat{x}": normalised, "s": s, "u": u, "m": u.mean(axis=-1, keepdims=True),
            "c": (u * normalised).mean(axis=-1, keepdims=True)
        }  # fmt: skip

    said.values = inside
