"""Causal attention, forward and backward, against the length of the sequence: time and peak memory (8 heads of 64)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np

import minigrad as mg

from .paired import Row, compare, installed
from .peak import peak_megabytes

HEADS, WIDTH = 8, 64
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
SECTION = "causal attention, forward and backward (8 heads of 64)"


def arrays(length: int) -> np.ndarray:
    """q, k, v and the upstream gradient, (1, H, T, D) each."""
    return np.random.default_rng(0).normal(size=(4, 1, HEADS, length, WIDTH)).astype(np.float32)


def ours(length: int) -> Callable[[], None]:
    *inputs, g = arrays(length)
    q, k, v = (mg.Tensor(a, requires_grad=True) for a in inputs)

    def run() -> None:
        q.grad = k.grad = v.grad = None
        mg.scaled_dot_product_attention(q, k, v, causal=True).backward(g)

    return run


def pytorch(length: int) -> Callable[[], None]:
    import torch

    *inputs, upstream = (torch.from_numpy(a) for a in arrays(length))
    q, k, v = (a.requires_grad_() for a in inputs)

    def run() -> None:
        q.grad = k.grad = v.grad = None
        torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).backward(upstream)

    return run


def run(quick: bool) -> Iterator[Row]:
    """Time and memory at each length."""
    with_torch = "PyTorch" in installed()
    for length in LENGTHS[:4] if quick else LENGTHS:
        contenders = {"ours": ours(length)} | ({"PyTorch": pytorch(length)} if with_torch else {})
        yield compare(SECTION, f"T = {length}", contenders, max(3, min(50, 20_000 // length)))
    for length in () if quick else LENGTHS[3:]:
        figures = {}
        for name in contenders:
            command = [sys.executable, "-m", "benchmarks.attention_scaling", name, str(length)]
            figures[name] = float(subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout)
        ratios = {"PyTorch": figures["ours"] / figures["PyTorch"]} if with_torch else {}
        yield Row(SECTION, f"peak memory, T = {length}", "MB", figures, ratios)


if __name__ == "__main__":
    print(peak_megabytes((ours if sys.argv[1] == "ours" else pytorch)(int(sys.argv[2]))))
