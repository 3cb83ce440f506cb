"""One training step of a GPT: forward, backward, AdamW; its time against the peers and against its matrix products alone, and its memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
import transformer
from minigrad import optim

from .paired import Row, compare, installed
from .peak import peak_megabytes

VOCABULARY = 96
SECTION = "training step of a GPT"
WARM_UP = 16  # steps; a program is compared with its function at calls 1, 2, 4, 8, 16, …, which soon costs nothing


class Size(NamedTuple):
    width: int
    layers: int
    heads: int
    context: int
    batch: int

    def __str__(self) -> str:
        return f"width {self.width}, {self.layers} layer{'s' * (self.layers > 1)}, context {self.context}, batch {self.batch}"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and targets, (batch, context) each."""
        ids = np.random.default_rng(0).integers(0, VOCABULARY, (2, self.batch, self.context))
        return ids[0], ids[1]

    def model(self) -> transformer.GPT:
        mg.manual_seed(0)
        return transformer.GPT(VOCABULARY, self.width, self.heads, self.layers, self.context)


SIZES = [Size(16, 1, 2, 8, 4), Size(16, 1, 4, 16, 1), Size(16, 2, 4, 32, 8), Size(128, 4, 4, 64, 12), Size(384, 6, 6, 256, 4)]


def ours(size: Size, recorded: bool = True) -> Callable[[], float]:
    """A step by a program, or by the engine as it comes to each op."""
    ids, targets = size.data()
    model = size.model()
    optimizer = optim.AdamW(model.parameters(), 1e-3)

    def loss(ids: np.ndarray, targets: np.ndarray) -> mg.Tensor:
        return mg.cross_entropy(model(ids), targets)

    program = mg.program(loss, model)

    def step() -> float:
        optimizer.zero_grad()
        if recorded:
            value = program(ids, targets)
        else:
            value = loss(ids, targets)
            value.backward()
        optimizer.step()
        return value.item()

    return step


def pytorch(size: Size, sdpa: bool) -> Callable[[], float]:
    import torch

    from .pytorch_gpt import GPT

    ids, targets = (torch.from_numpy(a) for a in size.data())
    model = GPT(VOCABULARY, size.width, size.heads, size.layers, size.context, sdpa=sdpa).load_ours(size.model().state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    def step() -> float:
        optimizer.zero_grad()
        loss = model(ids, targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def peer(name: str, size: Size) -> Callable[[], float]:
    from .peers_gpt import training_step

    return training_step(name, size.model().state_dict(), *size.data(), size.heads)


def matrix_products(size: Size) -> Callable[[], None]:
    """The products of the step and nothing else: those of the linear maps, and of the causal half of attention."""
    rng = np.random.default_rng(0)
    n, c, t, heads = size.batch * size.context, size.width, size.context, size.batch * size.heads
    d = c // size.heads
    shapes = [(n, c, c)] * 4 * size.layers + [(n, c, 4 * c), (n, 4 * c, c)] * size.layers + [(n, c, VOCABULARY)]
    arrays = {s: [rng.normal(size=s[i : i + 2] if i < 2 else (s[0], s[2])).astype(np.float32) for i in range(3)] for s in set(shapes)}
    q, k = rng.normal(size=(2, heads, t, d)).astype(np.float32)
    scores = rng.normal(size=(heads, t, t // 2)).astype(np.float32)

    def products() -> None:
        for shape in shapes:
            x, w, y = arrays[shape]
            x @ w, y @ w.T, x.T @ y
        for _ in range(size.layers):
            for _ in range(2):  # q kᵀ, and its like for the gradient of the weights
                q @ k[:, : t // 2].mT
            for _ in range(4):  # P v, and the gradients of q, k and v
                scores @ k[:, : t // 2]

    return products


def run(quick: bool) -> Iterator[Row]:
    """Time at each size; then memory at the largest."""
    for size in SIZES[: 4 if quick else 5]:
        contenders: dict[str, Callable[[], Any]] = {"ours": ours(size), "ours, eager": ours(size, False), "matrix products": matrix_products(size)}
        for name in installed():
            if name == "PyTorch":
                contenders[name] = pytorch(size, fused_is_faster(size))
            elif size.width == 128:
                contenders[name] = peer(name, size)
        losses = {name: step() for name, step in contenders.items() if name != "matrix products"}
        if max(losses.values()) - min(losses.values()) > 1e-3:
            raise RuntimeError(f"the contenders do not compute the same loss: {losses}")
        rounds = {16: 100, 128: 30, 384: 8}[size.width]
        calls = 20 if size.width == 16 else 1
        yield compare(SECTION, str(size), contenders, rounds // 4 if quick else rounds, warm_up=2 if quick else WARM_UP, calls=calls)
    if not quick:
        yield memory(SIZES[-1])


def fused_is_faster(size: Size) -> bool:
    """Whether PyTorch's fused attention beats its plain one at this size."""
    return compare("", "", {"ours": pytorch(size, True), "plain": pytorch(size, False)}, 5, calls=20 if size.width == 16 else 1).ratios["plain"] <= 1


def memory(size: Size) -> Row:
    """The growth of resident memory at its peak during steps, each engine in a process of its own."""
    figures = {}
    for name, key in [("ours", "ours"), *(("PyTorch", "pytorch") for p in installed() if p == "PyTorch")]:
        command = [sys.executable, "-m", "benchmarks.training_step", key, json.dumps(size)]
        figures[name] = float(subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout)
    ratios = {"PyTorch": figures["ours"] / figures["PyTorch"]} if "PyTorch" in figures else {}
    return Row(SECTION, f"peak memory, {size}", "MB", figures, ratios)


if __name__ == "__main__":
    size = Size(*json.loads(sys.argv[2]))
    print(peak_megabytes(ours(size) if sys.argv[1] == "ours" else pytorch(size, True), 3))
