r"""Low-rank adapters: leave a trained matrix as it is, and learn a small difference beside it.

.. math:: y = x W + b + \frac{\alpha}{r}\, x A B, \qquad A : (C_{in}, r), \quad B : (r, C_{out})

W and b stay fixed.  B begins at zero, so an adapted model begins as the model that it adapts; A begins at random, so that B gets a
gradient.  Instead of :math:`C_{in} C_{out}` numbers, :math:`r (C_{in} + C_{out})` are trained, and Adam remembers as few.  In the end
:math:`W + \frac\alpha r A B` may take the place of W, and the adapter costs nothing.

Source: Hu et al. (2021), "LoRA: low-rank adaptation of large language models", section 4.1.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import Tensor, linear, load, nn, save
from minigrad.random import generator

FORMAT = "attention-by-hand adapter 1"
TARGETS = ("q_proj", "v_proj", "up", "down")


class LowRank(nn.Module):
    """A Linear, fixed, and the product of two thin matrices beside it; called like a Linear.  Raises ValueError for a rank that saves nothing."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float | None = None) -> None:
        rows, columns = base.weight.shape
        if not 1 <= rank <= min(rows, columns):
            raise ValueError(f"LowRank: rank {rank} for a matrix ({rows}, {columns}); expected 1 to {min(rows, columns)}")
        self.base, self.rank = base, rank
        self.scale = (2 * rank if alpha is None else alpha) / rank
        self.A = nn.Parameter(generator().normal(0, 1 / math.sqrt(rows), (rows, rank)), dtype=base.weight.dtype)
        self.B = nn.Parameter(np.zeros((rank, columns)), dtype=base.weight.dtype)

    def forward(self, x: Any, activation: Callable[[Any], Any] | None = None) -> Tensor:
        """(..., in) → (..., out), through an ``activation`` if one is given."""
        y = self.base(x) + linear(linear(x, self.A), self.B) * self.scale
        return y if activation is None else activation(y)

    @property
    def difference(self) -> np.ndarray:
        """(α/r) A B, (in, out)."""
        return self.scale * (self.A.data @ self.B.data)

    def describe(self) -> str:
        return f"rank {self.rank}, scale {self.scale:g}"


def places(model: nn.Module, kind: type, names: Iterable[str] | None = None) -> Iterator[tuple[str, nn.Module, str, Any]]:
    """(dotted name, the module around it, its name there, itself) of every module of a kind, by the last part of its name; each once."""
    seen: set[int] = set()
    for prefix, around in model.named_modules():
        for name, child in around.children():
            if type(child) is kind and (names is None or name in names) and id(child) not in seen:
                seen.add(id(child))
                yield f"{prefix}.{name}" if prefix else name, around, name, child


def add_adapters(model: nn.Module, rank: int = 4, alpha: float | None = None, targets: Iterable[str] = TARGETS) -> list[nn.Parameter]:
    """Put a LowRank in the place of every Linear whose name is in ``targets`` and fix all else; returns the parameters to train.

    α is 2r unless given.  Raises ValueError, before anything is changed, when no Linear has such a name, or the model has adapters already.
    """
    targets = tuple(targets)
    found = list(places(model, nn.Linear, targets))
    if next(places(model, LowRank), None):
        raise ValueError("add_adapters: this model has adapters already; merge_adapters(model) or remove_adapters(model) first")
    if not found:
        known = sorted({name for _, _, name, _ in places(model, nn.Linear)})
        raise ValueError(f"add_adapters: no Linear is named {' or '.join(targets)}; this {type(model).__name__} has {', '.join(known)}")
    new = [LowRank(inner, rank, alpha) for _, _, _, inner in found]  # a rank too large is told here, before anything is changed
    return put_on(model, [(around, name, adapted) for (_, around, name, _), adapted in zip(found, new, strict=True)])


def put_on(model: nn.Module, new: list[tuple[nn.Module, str, LowRank]]) -> list[nn.Parameter]:
    """Each adapter in its place, and all else fixed; returns the parameters to train."""
    for p in model.parameters():
        p.requires_grad = False
    for around, name, adapted in new:
        setattr(around, name, adapted)
    return trainable(model)


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that learn."""
    return [p for p in model.parameters() if p.requires_grad]


def take_off(model: nn.Module, keep: bool) -> nn.Module:
    """The Linears in their old places, with or without what was learned, and everything trainable again."""
    found = list(places(model, LowRank))
    if not found:
        raise ValueError(f"this {type(model).__name__} has no adapters; add them with add_adapters(model)")
    for _, around, name, adapted in found:
        if keep:
            adapted.base.weight.data = adapted.base.weight.data + adapted.difference.astype(adapted.base.weight.dtype)
        setattr(around, name, adapted.base)
    for p in model.parameters():
        p.requires_grad = True
    return model


def merge_adapters(model: nn.Module) -> nn.Module:
    """Add what the adapters learned to the weights, and take them off: the same outputs, at the cost of the plain model."""
    return take_off(model, keep=True)


def remove_adapters(model: nn.Module) -> nn.Module:
    """Take the adapters off: the model is what it was before ``add_adapters``, bit for bit."""
    return take_off(model, keep=False)


# On disk -----------------------------------------------------------------------------------------------------------------


def base_state(model: nn.Module) -> dict[str, np.ndarray]:
    """The parameters without adapters, under the names that they have without adapters."""
    inside = {id(p) for _, _, _, adapted in places(model, LowRank) for p in (adapted.A, adapted.B)}
    return {name.replace(".base.", "."): p.data for name, p in model.named_parameters() if id(p) not in inside}


def fingerprint(model: nn.Module) -> dict[str, int]:
    """What tells one base from another: checksums of the names and shapes of its parameters, and of their numbers."""
    state = base_state(model)
    shapes = json.dumps([[name, list(a.shape)] for name, a in state.items()])
    crc = 0
    for array in state.values():
        crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
    return {"shapes": zlib.crc32(shapes.encode()), "weights": crc}


def save_adapters(model: nn.Module, path: str | Path) -> None:
    """Write the adapters alone, and a fingerprint of the base that they belong to.  Raises ValueError for a model without adapters."""
    found = list(places(model, LowRank))
    if not found:
        raise ValueError(f"save_adapters: this {type(model).__name__} has no adapters; add them with add_adapters(model)")
    state = {f"{name}.{matrix}": getattr(adapted, matrix) for name, _, _, adapted in found for matrix in "AB"}
    scales = {name: adapted.scale for name, _, _, adapted in found}
    save({**state, "about": json.dumps({"format": FORMAT, "base": fingerprint(model), "scales": scales})}, path)


def load_adapters(model: nn.Module, path: str | Path) -> list[nn.Parameter]:
    """Put the adapters of a file on a plain ``model``, as ``add_adapters`` does; returns the parameters to train.

    Raises ValueError, naming the file, before anything is changed: when it is damaged or holds no adapters, or the model is not their base.
    """
    state = load(path)
    try:
        about = json.loads(str(state.pop("about")))
        base, scales = dict(about["base"]), {str(name): float(scale) for name, scale in about["scales"].items()}
        if about["format"] != FORMAT or not {"shapes", "weights"} <= set(base):
            raise KeyError(about["format"])
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: holds no adapters; expected a file written by save_adapters") from error
    if next(places(model, LowRank), None):
        raise ValueError(f"{path}: the model has adapters already; merge_adapters(model) or remove_adapters(model) first")
    own = fingerprint(model)
    if own["shapes"] != base["shapes"]:
        raise ValueError(f"{path}: these adapters belong to a model of another configuration than this {type(model).__name__}")
    if own["weights"] != base["weights"]:
        raise ValueError(f"{path}: these adapters belong to a {type(model).__name__} of this configuration, but with other weights")
    linears = {name: (around, last, inner) for name, around, last, inner in places(model, nn.Linear)}
    new = []
    for name, scale in scales.items():
        A, B = state.get(f"{name}.A"), state.get(f"{name}.B")
        if name not in linears or A is None or B is None or not A.ndim == B.ndim == 2:
            raise ValueError(f"{path}: there is no adapter of {name[:80]}, or no place for it in the model")
        if (A.shape[0], B.shape[1], A.shape[1]) != (*linears[name][2].weight.shape, B.shape[0]):
            raise ValueError(f"{path}: the adapter of {name[:80]} does not fit the model")
        if not all(array.dtype.kind == "f" and np.isfinite(array).all() for array in (A, B)) or not math.isfinite(scale):
            raise ValueError(f"{path}: the adapter of {name[:80]} holds something else than finite numbers")
        around, last, inner = linears[name]
        adapted = LowRank(inner, A.shape[1], scale * A.shape[1])
        adapted.A.data, adapted.B.data = A, B
        new.append((around, last, adapted))
    return put_on(model, new)
