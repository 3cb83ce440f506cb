"""Writing text with a cache of keys and values: tokens per second, greedy, one at a time."""

from __future__ import annotations

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
        if "PyTorch" in installed():
            contenders["PyTorch"] = pytorch(model, size, tokens)
        row = compare(SECTION, name, contenders, 5 if quick else 15, "s", tokens)
        yield row._replace(unit="tokens/s", figures={k: 1 / v for k, v in row.figures.items()})
