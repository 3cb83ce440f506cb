r"""Optimizers, schedules and clipping.  With gradient :math:`g`, learning rate :math:`\eta`, step :math:`t = 1, 2, \dots`:

- SGD: :math:`v \leftarrow \mu v + g`, :math:`\theta \leftarrow \theta - \eta v`
- Adam: :math:`m \leftarrow \beta_1 m + (1-\beta_1) g`, :math:`v \leftarrow \beta_2 v + (1-\beta_2) g^2`,
  :math:`\theta \leftarrow \theta - \eta\, \hat m / (\sqrt{\hat v} + \epsilon)`,
  with :math:`\hat m = m/(1-\beta_1^t)`, :math:`\hat v = v/(1-\beta_2^t)`; t counts the steps of each parameter, those at which it had a gradient
- AdamW: as Adam, after :math:`\theta \leftarrow \theta - \eta \lambda \theta`
- Muon: momentum made orthogonal, for the matrices of hidden layers.

Sources: Kingma & Ba (2015), algorithm 1; Loshchilov & Hutter (2019), algorithm 2; Jordan et al. (2024).

Small parameters lie side by side in one flat array, so that a step moves them all at once; a step updates in place, block by
block, so that a block and all that is remembered about it stay in the cache.  The file has more than 300 lines for that reason: the
rules themselves take five each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .graph import USED
from .guards import note_write
from .schedules import constant, noam, warmup_cosine
from .tensor import Tensor

__all__ = ["SGD", "Adam", "AdamW", "Muon", "Optimizer", "clip_grad_norm", "constant", "noam", "orthogonal", "warmup_cosine"]

BLOCK = 1 << 15


class Pack:
    """Parameters that are moved together: one large one, or small ones of one dtype whose arrays become parts of a flat one."""

    def __init__(self, params: list[Tensor], memory: list[list[np.ndarray]], places: list[int]) -> None:
        self.places = places  # of the parameters among all of the optimizer's
        sizes = [p.size for p in params]
        cuts = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
        self.params = params
        self.parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
        self.theta = np.concatenate([p.data.ravel() for p in params])
        self.gradient = np.empty_like(self.theta) if len(params) > 1 else None
        self.memory = [np.concatenate([m.ravel() for m in arrays]) for arrays in memory]
        self.arrays = [self.theta[part].reshape(p.shape) for part, p in zip(self.parts, params)]
        for p, array in zip(params, self.arrays):
            note_write(p.data)
            p.data = array

    def pieces(self, counts: list[int]) -> Iterator[tuple[Any, ...]]:
        """The step t, blocks of numbers, their gradients and what is remembered about them; parameters without a gradient are left out."""
        moved = [(place, part, p.grad) for p, place, part in zip(self.params, self.places, self.parts) if p.grad is not None]
        flat = []
        for place, _, grad in moved:
            counts[place] += 1
            grad.tick = USED
            flat.append(grad.data.reshape(-1))
        steps = [counts[place] for place, _, _ in moved]
        if self.gradient is not None and len(moved) == len(self.params) and steps.count(steps[0]) == len(steps):
            parts = [(steps[0], slice(0, self.gradient.size), np.concatenate(flat, out=self.gradient))]
        else:
            parts = [(t, part, g) for t, (_, part, _), g in zip(steps, moved, flat)]
        for t, part, g in parts:
            note_write(self.theta[part])
            for start in range(part.start, part.stop, BLOCK):
                block = slice(start, min(start + BLOCK, part.stop))
                yield t, self.theta[block], g[start - part.start : block.stop - part.start], *(m[block] for m in self.memory)


def packed(params: list[Tensor], state: dict[str, list[np.ndarray]]) -> list[Pack]:
    """The parameters in packs; the arrays of ``state`` become parts of those of the packs."""
    small: dict[Any, list[int]] = {}
    groups = []
    for i, p in enumerate(params):
        if p.size > BLOCK:
            groups.append([i])
        else:
            small.setdefault(p.dtype, []).append(i)
    packs = []
    for group in (*groups, *small.values()):
        pack = Pack([params[i] for i in group], [[arrays[i] for i in group] for arrays in state.values()], group)
        for arrays, flat in zip(state.values(), pack.memory):
            for i, part in zip(group, pack.parts):
                arrays[i] = flat[part].reshape(params[i].shape)
        packs.append(pack)
    return packs


class Optimizer:
    """Parameters and what is remembered about each; subclasses say how a block of numbers moves."""

    memory: tuple[str, ...] = ()  # the names of the arrays remembered beside the parameters

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        name = type(self).__name__
        self.params = checked_parameters(name, params)
        if callable(lr):
            raise TypeError(f"{name}: lr is a function; pass a number, and before each step set optimizer.lr = schedule(step)")
        for argument, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not isinstance(value, int | float | np.number) or not 0 <= value < math.inf:
                raise ValueError(f"{name}: {argument}={value!r}; expected a number ≥ 0")
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0
        self.counts = [0] * len(self.params)  # the steps at which each parameter had a gradient
        self.count = 0  # that of the parameters that are being moved
        self.state = {name: [np.zeros(p.shape, np.result_type(p.dtype, np.float32)) for p in self.params] for name in self.memory}
        self.packs: list[Pack] = []

    def zero_grad(self) -> None:
        """Forget all gradients, before the next backward pass adds to them."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient, in place."""
        self.steps += 1
        if not self.packs or not all([p.data is array for pack in self.packs for p, array in zip(pack.params, pack.arrays)]):
            self.packs = packed(self.params, self.state)  # the first step, or a parameter was given another array since
        for pack in self.packs:
            for t, theta, g, *remembered in pack.pieces(self.counts):
                self.count = t
                self.update(theta, g, *remembered)

    def update(self, theta: np.ndarray, g: np.ndarray, *memory: np.ndarray) -> None:
        """Move a block of numbers ``theta`` with gradients ``g``, in place."""
        raise TypeError(f"{type(self).__name__} defines no update")

    def state_dict(self) -> dict[str, np.ndarray]:
        """What is remembered, as named arrays."""
        arrays = {f"{name}.{i}": a.copy() for name in self.memory for i, a in enumerate(self.state[name])}
        return {"steps": np.array(self.steps), "counts": np.array(self.counts), **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set what is remembered; checked as a whole before anything is changed.  Raises ValueError."""
        self.check_state_dict(state)
        self._set_state(state)

    def check_state_dict(self, state: Mapping[str, Any]) -> None:
        """ValueError unless ``load_state_dict`` would take the state."""
        expected = self.state_dict()
        if isinstance(state, str | Path):
            raise TypeError(f"{type(self).__name__}.load_state_dict: got the name {str(state)!r}; pass what is in the file: load({str(state)!r})")
        if "counts" not in state:  # of a time when there was one count for all
            expected.pop("counts")
        if set(state) != set(expected):
            raise ValueError(f"{type(self).__name__}.load_state_dict: entries differ: {sorted(set(state) ^ set(expected))[:5]}")
        for name, array in expected.items():
            if np.shape(state[name]) != array.shape:
                raise ValueError(f"{type(self).__name__}.load_state_dict: {name} has shape {np.shape(state[name])}, expected {array.shape}")
            if np.asarray(state[name]).dtype.kind not in "iuf":
                raise ValueError(f"{type(self).__name__}.load_state_dict: {name} is {np.asarray(state[name]).dtype}, expected numbers")

    def _set_state(self, state: Mapping[str, Any]) -> None:
        self.steps = int(state["steps"])
        self.counts = [int(t) for t in state.get("counts", [self.steps] * len(self.params))]
        for name in self.memory:
            for i, a in enumerate(self.state[name]):
                a[...] = state[f"{name}.{i}"]


def checked_parameters(what: str, params: Any) -> list[Tensor]:
    """The parameters as a list; TypeError or ValueError, with the cure, when they are something else."""
    if isinstance(params, Tensor):
        raise TypeError(f"{what}: expected a list of Tensors, got one Tensor {params.shape}; write [w]")
    if hasattr(params, "parameters"):
        raise TypeError(f"{what}: expected a list of Tensors, got a {type(params).__name__}; pass model.parameters()")
    if isinstance(params, Mapping | str):
        raise TypeError(f"{what}: expected a list of Tensors, got a {type(params).__name__}; pass model.parameters(), or the values alone")
    found = list(params)
    if not found:
        raise ValueError(f"{what}: no parameters; pass model.parameters()")
    for p in found:
        if not isinstance(p, Tensor) or (type(p) is Tensor and not p.requires_grad):
            raise TypeError(f"{what}: expected Tensors that require grad, got {type(p).__name__}; pass model.parameters()")
        if p.history is not None:
            raise ValueError(f"{what}: a Tensor {p.shape} is the result of {p.history[0].name}; pass what it was computed from, the leaves")
    if not any(p.requires_grad for p in found):
        raise ValueError(f"{what}: all {len(found)} parameters are frozen (requires_grad is False), so that nothing would ever move")
    if len({id(p) for p in found}) < len(found):
        raise ValueError(f"{what}: a parameter is listed twice; model.parameters() lists shared ones once")
    return found


class SGD(Optimizer):
    """Gradient descent with momentum μ; ``weight_decay`` adds λθ to the gradient."""

    memory = ("velocity",)

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        super().__init__(params, lr, weight_decay)
        if not 0 <= momentum < 1:
            raise ValueError(f"SGD: momentum={momentum}; expected a number from 0 up to, but not including, 1")
        self.momentum = momentum

    def update(self, theta: np.ndarray, g: np.ndarray, *memory: np.ndarray) -> None:
        """v ← μ v + g, θ ← θ − η v."""
        (v,) = memory
        if self.weight_decay:
            g = g + self.weight_decay * theta
        v *= self.momentum
        v += g
        theta -= self.lr * v


class Adam(Optimizer):
    """Adam; ``weight_decay`` adds λθ to the gradient."""

    memory = ("mean", "square")
    decoupled = False

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        if np.shape(betas) != (2,) or not all(0 <= b < 1 for b in betas):
            raise ValueError(f"{type(self).__name__}: betas={betas}; expected two numbers from 0 up to, but not including, 1")
        if not 0 <= eps < math.inf:
            raise ValueError(f"{type(self).__name__}: eps={eps}; expected a small number ≥ 0, such as 1e-8")
        self.betas = betas
        self.eps = eps

    def update(self, theta: np.ndarray, g: np.ndarray, *memory: np.ndarray) -> None:
        """m and v follow g and g²; θ moves by η m̂ / (√v̂ + ε), as η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε √(1 − β₂ᵗ))."""
        m, v = memory
        (b1, b2), t = self.betas, self.count
        g = g.astype(m.dtype, copy=False)  # of a float16 parameter, whose squares would vanish
        if self.weight_decay and self.decoupled:
            theta *= 1 - self.lr * self.weight_decay
        elif self.weight_decay:
            g = g + self.weight_decay * theta
        work = g * (1 - b1)
        m *= b1
        m += work
        np.multiply(g, g, out=work)
        work *= 1 - b2
        v *= b2
        v += work
        np.sqrt(v, out=work)
        work += self.eps * (root := math.sqrt(1 - b2**t))
        np.divide(m, work, out=work)
        work *= self.lr * root / (1 - b1**t)
        theta -= work


class AdamW(Adam):
    """Adam with weight decay of its own: θ shrinks by ηλθ at each step."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)


class Muon(Optimizer):
    r"""For the matrices of hidden layers: momentum, whose direction is kept and whose singular values are all brought near 1.

    :math:`V \leftarrow \mu V + G`, then, for W of shape (m, n),
    :math:`W \leftarrow W - \eta \lambda W - 0.2\, \eta \sqrt{\max(m, n)}\; O(G + \mu V)`.
    O's entries have a mean square of 1 / max(m, n); the factor makes steps of the size of Adam's, so that one learning rate
    serves both.  Embeddings, output layers and vectors belong to another optimizer.  Raises ValueError for what is no matrix.

    Sources: Jordan et al. (2024), "Muon"; Liu et al. (2025), "Muon is scalable for LLM training", section 2.2, for the factor.
    """

    memory = ("velocity",)

    def __init__(self, params: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.01, iterations: int = 5) -> None:
        super().__init__(params, lr, weight_decay)
        if not 0 <= momentum < 1:
            raise ValueError(f"Muon: momentum={momentum}; expected a number from 0 up to, but not including, 1")
        if not isinstance(iterations, int) or iterations < 1:
            raise ValueError(f"Muon: iterations={iterations!r}; expected a whole number from 1")
        for p in self.params:
            if p.ndim != 2:
                raise ValueError(f"Muon: a parameter of shape {p.shape}; expected matrices: give vectors and the like to AdamW")
        self.momentum, self.iterations = momentum, iterations

    def step(self) -> None:
        """Move every matrix that has a gradient, in place; those of one shape together."""
        self.steps += 1
        groups: dict[Any, list[tuple[int, np.ndarray]]] = {}
        for i, p in enumerate(self.params):
            if p.grad is not None:
                self.counts[i] += 1
                p.grad.tick = USED
                groups.setdefault((p.shape, p.dtype), []).append((i, p.grad.data))
        for (shape, _), members in groups.items():
            places = [i for i, _ in members]
            g = np.stack([gradient for _, gradient in members])  # (N, m, n)
            for i, one in zip(places, g):
                v = self.state["velocity"][i]
                v *= self.momentum
                v += one
                one += self.momentum * v
            move = orthogonal(g, self.iterations)
            move *= 0.2 * self.lr * math.sqrt(max(shape))
            for i, one in zip(places, move):
                theta = self.params[i].data
                note_write(theta)
                theta *= 1 - self.lr * self.weight_decay
                theta -= one


def orthogonal(G: np.ndarray, iterations: int = 5) -> np.ndarray:
    r"""(..., m, n): with :math:`G = U S V^\top`, about :math:`U V^\top`, without computing the SVD; zeros stay zeros.

    An odd polynomial acts on the singular values alone:
    :math:`a X + b X X^\top X + c (X X^\top)^2 X = U (a S + b S^3 + c S^5) V^\top`.
    Applied five times, with coefficients that are steep at 0, it brings nearly all of (0, 1] into [0.7, 1.2], which is near
    enough.  Source: Jordan et al. (2024).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = G.shape[-2] <= G.shape[-1]
    X = G if wide else np.swapaxes(G, -1, -2)
    X = X / (np.sqrt(np.einsum("...ij,...ij->...", X, X))[..., None, None] + 1e-7)  # no singular value above 1
    for _ in range(iterations):
        A = X @ np.swapaxes(X, -1, -2)
        B = A @ A
        B *= c
        A *= b
        B += A
        X = a * X + B @ X
    return X if wide else np.swapaxes(X, -1, -2)


def clip_grad_norm(params: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients so that their joint Euclidean norm is ``max_norm`` at most; returns the norm before.

    Source: Pascanu, Mikolov & Bengio (2013), algorithm 1.  Raises FloatingPointError when the norm is NaN or infinite.
    """
    if not isinstance(max_norm, int | float | np.number) or not max_norm > 0:
        raise ValueError(f"clip_grad_norm: max_norm={max_norm!r}; expected a number above 0 (math.inf only measures)")
    if isinstance(params, Tensor) or hasattr(params, "parameters"):
        params = [params] if isinstance(params, Tensor) else params.parameters()
    gradients = [p.grad for p in params if p.grad is not None]
    total = math.sqrt(sum(float(np.vdot(g.data, g.data)) for g in gradients))
    if not math.isfinite(total):
        raise FloatingPointError(f"clip_grad_norm: the gradient norm is {total}; lower the learning rate, or look with detect_anomaly()")
    if total > max_norm:
        for g in gradients:
            g.data *= max_norm / (total + 1e-6)
    return total
