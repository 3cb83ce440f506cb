"""Writing text with a cache of keys and values: tokens per second, greedy, one at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

import minigrad as mg
import transformer

from .paired import Row, compare, installed
from .training_step import VOCABULARY

SECTION = "decoding with a cache"
MODELS = {  # vocabulary, width, heads, layers, context, tokens
    "width 128, 4 layers": (VOCABULARY, 128, 4, 4, 256, 100),
    "the size of GPT-2 small": (50_257, 768, 12, 12, 256, 10),
}


def ours(model: transformer.GPT, tokens: int) -> Callable[[], None]:
    """``generate`` as it stands, which replays a program for each token."""
    return lambda: transformer.generate(model, np.array([1]), tokens, temperature=0)


def eager(model: transformer.GPT, tokens: int) -> Callable[[], None]:
    """The model called again and again."""

    def run() -> None:
        cache, ids = transformer.KVCache(model.context_length), np.array([[1]])
        with mg.no_grad():
            for _ in range(tokens):
                ids = model(ids, cache=cache).data[:, -1].argmax(axis=-1)[:, None]

    return run


def by_hand(model: transformer.GPT, tokens: int) -> Callable[[], list[int]]:
    """The same tokens by NumPy calls alone, written out for this one case without any check: the limit that they set to Python code."""
    weights = {name: np.ascontiguousarray(value) for name, value in model.state_dict().items()}
    parts = ("q_proj", "k_proj", "v_proj", "out_proj")
    names = ["norm1", *(f"self_attention.{part}" for part in parts), "norm2", "ffn.up", "ffn.down"]
    layers = [[weights[f"layers.{i}.{name}.{kind}"] for name in names for kind in ("weight", "bias")] for i in range(len(model.layers))]
    embedding, positions = weights["token_embedding.weight"], weights["positions.weight"]
    heads = model.layers[0].self_attention.num_heads
    width, dtype = embedding.shape[1], embedding.dtype.type
    ones, tau = np.ones(width, dtype), dtype(1 / math.sqrt(width // heads))
    c, cubic, half = dtype(math.sqrt(2 / math.pi)), dtype(0.044715 * math.sqrt(2 / math.pi)), dtype(0.5)

    def norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        y = x - x.dot(ones) / width
        y *= 1 / math.sqrt(y.dot(y) / width + 1e-5)
        y *= weight
        y += bias
        return y

    def run() -> list[int]:
        keys, values = np.empty((2, len(layers), heads, model.context_length, width // heads), dtype)
        ids = [1]
        for t in range(tokens):
            x = embedding[ids[-1]] + positions[t]
            for layer, K, V in zip(layers, keys, values):
                g1, b1, wq, bq, wk, bk, wv, bv, wo, bo, g2, b2, up, b_up, down, b_down = layer
                h = norm(x, g1, b1)
                q, k, v = (h.dot(w) for w in (wq, wk, wv))
                q += bq
                k += bk
                v += bv
                q *= tau
                K[:, t], V[:, t] = k.reshape(heads, -1), v.reshape(heads, -1)
                p = K[:, : t + 1] @ q.reshape(heads, -1, 1)
                p -= np.maximum.reduce(p, axis=1, keepdims=True)
                np.exp(p, p)
                p /= np.add.reduce(p, axis=1, keepdims=True)
                o = (p.mT @ V[:, : t + 1]).reshape(width).dot(wo)
                o += bo
                x = x + o
                u = norm(x, g2, b2).dot(up)
                u += b_up
                h = u * u
                h *= cubic
                h += c
                h *= u
                np.tanh(h, h)
                h += 1
                h *= u
                h *= half
                o = h.dot(down)
                o += b_down
                x = x + o
            ids.append(int(norm(x, weights["norm.weight"], weights["norm.bias"]).dot(embedding.T).argmax()))
        return ids

    return run


def pytorch(model: transformer.GPT, size: tuple[int, ...], tokens: int) -> Callable[[], None]:
    import torch

    from .pytorch_gpt import GPT

    vocabulary, width, heads, layers, context, _ = size
    twin = GPT(vocabulary, width, heads, layers, context).load_ours(model.state_dict()).eval()

    def run() -> None:
        with torch.inference_mode():
            cache = twin.cache()
            ids = torch.tensor([[1]])
            for position in range(tokens):
                ids = twin.next_logits(ids, cache, position).argmax(dim=-1)[:, None]

    return run


def run(quick: bool) -> Iterator[Row]:
    """Tokens per second of each model."""
    for name, size in list(MODELS.items())[: 1 if quick else 2]:
        mg.manual_seed(0)
        model = transformer.GPT(*size[:-1]).eval()
        tokens = size[-1]
        contenders = {"ours": ours(model, tokens), "ours, eager": eager(model, tokens)}
        if size[1] == 128:
            contenders["NumPy by hand"] = by_hand(model, tokens)
            if contenders["NumPy by hand"]() != transformer.generate(model, np.array([1]), tokens, temperature=0).tolist():
                raise RuntimeError("the contenders do not write the same tokens")
        if "PyTorch" in installed():
            contenders["PyTorch"] = pytorch(model, size, tokens)
        row = compare(SECTION, name, contenders, 5 if quick else 15, "s", tokens)
        yield row._replace(unit="tokens/s", figures={k: 1 / v for k, v in row.figures.items()})
