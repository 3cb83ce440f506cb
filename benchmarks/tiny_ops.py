"""What an op costs when its arrays are tiny (4 × 4): the engine itself, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minigrad as mg

from .paired import Row, compare, installed

OPS = 40  # of a kind, in a chain


def chain(step: Callable[[Any, Any], Any], x: Any, w: Any) -> Callable[[], None]:
    """Forward and backward through ``OPS`` applications of ``step``."""

    mygrad = hasattr(x, "null_grad")  # whose backward() starts anew by itself

    def run() -> None:
        if not mygrad:
            x.grad = w.grad = None
        y = x
        for _ in range(OPS):
            y = step(y, w)
        y.sum().backward()

    return run


def steps() -> dict[str, dict[str, Callable[[Any, Any], Any]]]:
    """The ops of a Transformer, for every engine that has them."""
    same = {
        "x + w": lambda x, w: x + w, "x * w": lambda x, w: x * w, "x / w": lambda x, w: x / w, "0.9 x": lambda x, w: 0.9 * x,
        "x @ w": lambda x, w: x @ w,
    }  # fmt: skip
    ours = {
        **same, "tanh": lambda x, w: mg.tanh(x), "exp": lambda x, w: mg.exp(x) * 0.3, "relu": lambda x, w: mg.relu(x),
        "softmax": lambda x, w: mg.softmax(x),
        "gelu": lambda x, w: mg.gelu(x), "linear": lambda x, w: mg.linear(x, w, None), "reshape": lambda x, w: x.reshape(2, 8).reshape(4, 4),
        "transpose": lambda x, w: x.mT,
    }  # fmt: skip
    found = {name: {"ours": step} for name, step in ours.items()}
    peers = installed()
    if "PyTorch" in peers:
        import torch
        from torch.nn import functional as F

        theirs = {
            **same, "tanh": lambda x, w: torch.tanh(x), "exp": lambda x, w: torch.exp(x) * 0.3, "relu": lambda x, w: torch.relu(x),
            "softmax": lambda x, w: torch.softmax(x, -1), "gelu": lambda x, w: F.gelu(x, approximate="tanh"), "linear": lambda x, w: F.linear(x, w),
            "reshape": lambda x, w: x.reshape(2, 8).reshape(4, 4), "transpose": lambda x, w: x.mT,
        }  # fmt: skip
        for name, step in theirs.items():
            found[name]["PyTorch"] = step
    if "MyGrad" in peers:
        import mygrad

        for name, step in {**same, "tanh": lambda x, w: mygrad.tanh(x), "exp": lambda x, w: mygrad.exp(x) * 0.3}.items():
            found[name]["MyGrad"] = step
    return found


def run(quick: bool) -> Iterator[Row]:
    """A row for each op, and their geometric mean."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.1, 0.3, (2, 4, 4)).astype(np.float32)
    b += 0.8
    rows = []
    for name, engines in steps().items():
        contenders = {}
        for engine, step in engines.items():
            x, w = leaves(engine, a, b)
            contenders[engine] = chain(step, x, w)
        ops = OPS * name.count("reshape") * 2 or OPS
        rows.append(compare("cost per op on tiny tensors", name, contenders, 20 if quick else 100, "µs", ops * 1e-6))
        yield rows[-1]
    with_torch = [row for row in rows if "PyTorch" in row.ratios]
    if with_torch:
        mean = {engine: float(np.exp(np.mean([np.log(row.figures[engine]) for row in with_torch]))) for engine in ("ours", "PyTorch")}
        ratio = float(np.exp(np.mean([np.log(row.ratios["PyTorch"]) for row in with_torch])))
        yield Row("cost per op on tiny tensors", "geometric mean", "µs", mean, {"PyTorch": ratio})


def leaves(engine: str, *arrays: np.ndarray) -> list[Any]:
    """The arrays as tensors of an engine that want gradients."""
    if engine == "PyTorch":
        import torch

        return [torch.tensor(a, requires_grad=True) for a in arrays]
    if engine == "MyGrad":
        import mygrad

        return [mygrad.tensor(a) for a in arrays]
    return [mg.Tensor(a, requires_grad=True) for a in arrays]
