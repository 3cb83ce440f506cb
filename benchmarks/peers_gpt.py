"""The GPT of `transformer.GPT` once more, in the functions that HIPS autograd and MyGrad have: the same weights, the same loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def loss(xp: Any, p: Mapping[str, Any], ids: np.ndarray, targets: np.ndarray, heads: int) -> Any:
    """Mean cross-entropy; ``xp`` is the namespace whose functions differentiate, ``p`` our state dict in its arrays."""
    B, T = ids.shape
    E = p["token_embedding.weight"]
    C = E.shape[1]
    future = np.triu(np.full((T, T), -1e9, np.float32), 1)
    x = E[ids] + p["positions.weight"][:T]  # (B, T, C)
    layer = 0
    while f"layers.{layer}.norm1.weight" in p:

        def w(name: str, layer: int = layer) -> Any:
            return p[f"layers.{layer}.{name}"]

        h = norm(xp, x, w("norm1.weight"), w("norm1.bias"))
        q, k, v = (
            split(xp, xp.matmul(h, w(f"self_attention.{n}_proj.weight")) + w(f"self_attention.{n}_proj.bias"), heads) for n in "qkv"
        )  # (B, H, T, D)
        scores = xp.matmul(q, xp.swapaxes(k, -1, -2)) * np.float32(1 / math.sqrt(C // heads)) + future
        e = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
        weights = e / xp.sum(e, axis=-1, keepdims=True)
        o = xp.reshape(xp.swapaxes(xp.matmul(weights, v), 1, 2), (B, T, C))
        x = x + xp.matmul(o, w("self_attention.out_proj.weight")) + w("self_attention.out_proj.bias")
        h = norm(xp, x, w("norm2.weight"), w("norm2.bias"))
        u = xp.matmul(h, w("ffn.up.weight")) + w("ffn.up.bias")
        u = np.float32(0.5) * u * (1 + xp.tanh(np.float32(math.sqrt(2 / math.pi)) * (u + np.float32(0.044715) * u * u * u)))
        x = x + xp.matmul(u, w("ffn.down.weight")) + w("ffn.down.bias")
        layer += 1
    logits = xp.matmul(norm(xp, x, p["norm.weight"], p["norm.bias"]), xp.transpose(E))
    logits = xp.reshape(logits, (B * T, E.shape[0]))
    logits = logits - xp.max(logits, axis=-1, keepdims=True)
    return xp.mean(xp.log(xp.sum(xp.exp(logits), axis=-1)) - logits[np.arange(B * T), targets.ravel()])


def norm(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    return centred / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + np.float32(1e-5)) * weight + bias


def split(xp: Any, x: Any, heads: int) -> Any:
    B, T, C = x.shape
    return xp.swapaxes(xp.reshape(x, (B, T, heads, C // heads)), 1, 2)


def training_step(peer: str, state: Mapping[str, np.ndarray], ids: np.ndarray, targets: np.ndarray, heads: int) -> Callable[[], float]:
    """Forward, backward and an AdamW update in the peer; calling it gives the loss."""
    p = {name: np.array(a) for name, a in state.items()}
    m, v = ({name: np.zeros_like(a) for name, a in p.items()} for _ in range(2))
    if peer == "HIPS autograd":
        from autograd import numpy as xp
        from autograd import value_and_grad

        def gradients() -> tuple[float, Mapping[str, np.ndarray]]:
            return value_and_grad(lambda p: loss(xp, p, ids, targets, heads))(p)

    else:
        import mygrad as xp

        def gradients() -> tuple[float, Mapping[str, np.ndarray]]:
            tensors = {name: xp.tensor(a, copy=False) for name, a in p.items()}
            value = loss(xp, tensors, ids, targets, heads)
            value.backward()
            return value.item(), {name: t.grad for name, t in tensors.items()}

    steps = 0

    def step() -> float:
        nonlocal steps
        value, g = gradients()
        steps += 1
        for name, theta in p.items():
            adamw(theta, g[name], m[name], v[name], steps)
        return float(value)

    return step


def adamw(theta: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, t: int) -> None:
    m += 0.1 * (g - m)
    v += 0.001 * (g * g - v)
    theta -= 1e-3 * (m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) + 0.01 * theta)
