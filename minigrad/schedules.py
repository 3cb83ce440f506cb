"""Schedules: functions from the step (0, 1, …) to the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable


def constant(lr: float) -> Callable[[int], float]:
    """The same learning rate throughout."""
    return lambda step: lr


def warmup_cosine(max_lr: float, warmup_steps: int, total_steps: int, min_lr: float = 0.0) -> Callable[[int], float]:
    """A straight rise to ``max_lr`` over ``warmup_steps``, then half a cosine down to ``min_lr`` at ``total_steps``.
    Source: Loshchilov & Hutter (2017), eq. 5."""
    if not (0 <= min_lr < math.inf and 0 <= max_lr < math.inf):
        raise ValueError(f"warmup_cosine: max_lr={max_lr}, min_lr={min_lr}; expected numbers ≥ 0")
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_cosine: warmup_steps={warmup_steps} of total_steps={total_steps}; expected 0 ≤ warm-up ≤ total")

    def schedule(step: int) -> float:
        if step < warmup_steps:
            return max_lr * (step + 1) / warmup_steps
        progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        return min_lr + (max_lr - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))

    return schedule


def noam(embedding_dim: int, warmup_steps: int = 4000, factor: float = 1.0) -> Callable[[int], float]:
    """The 2017 paper's schedule: ∝ d^−½ · min(t^−½, t · warmup^−3/2).  Source: Vaswani et al. (2017), eq. 3."""
    if warmup_steps < 1 or embedding_dim < 1:
        raise ValueError(f"noam: embedding_dim={embedding_dim}, warmup_steps={warmup_steps}; expected positive numbers")
    return lambda step: factor * embedding_dim**-0.5 * min((step + 1) ** -0.5, (step + 1) * warmup_steps**-1.5)
