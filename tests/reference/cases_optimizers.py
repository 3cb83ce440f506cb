"""Twenty steps of each optimizer, with clipping and a schedule whose formula is written here once more."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from asking import Arrays, parameter, register, single
from torch import nn
from torch.nn import functional as F

STEPS = 20


def schedule(step: int, max_lr: float, warmup_steps: int, total_steps: int, min_lr: float) -> float:
    """Linear warm-up whose first step is max_lr / warmup_steps, then a half cosine down to min_lr."""
    if step < warmup_steps:
        return max_lr * (step + 1) / warmup_steps
    done = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return min_lr + (max_lr - min_lr) * 0.5 * (1 + math.cos(math.pi * done))


def optimizer(name: str, call: str, make: Callable[..., torch.optim.Optimizer], max_norm: float | None = None,
              warmup_cosine: dict[str, Any] | None = None, **options: Any) -> None:  # fmt: skip
    """Train a two-layer perceptron; the answer holds every parameter after every step, the norms and learning rates."""

    def run(rng: np.random.Generator) -> Arrays:
        shapes = {"w1": (5, 6), "b1": (6,), "w2": (6, 3), "b2": (3,)}
        arrays: Arrays = {f"param.{key}": single(parameter(rng, key, shape)) for key, shape in shapes.items()}
        arrays |= {"input.x": single(rng.standard_normal((STEPS, 6, 5))), "input.y": rng.integers(0, 3, (STEPS, 6))}
        weights = {key: torch.tensor(arrays[f"param.{key}"], requires_grad=True) for key in shapes}
        steps = make(list(weights.values()), **options)
        losses, norms, rates = [], [], []
        trajectory: dict[str, list[np.ndarray]] = {key: [] for key in shapes}
        for step in range(STEPS):
            if warmup_cosine:
                for group in steps.param_groups:
                    group["lr"] = schedule(step, **warmup_cosine)
            rates.append(steps.param_groups[0]["lr"])
            batch, classes = (torch.from_numpy(arrays[key][step]) for key in ("input.x", "input.y"))
            hidden = torch.tanh(batch @ weights["w1"] + weights["b1"])
            loss = F.cross_entropy(hidden @ weights["w2"] + weights["b2"], classes, reduction="sum")
            steps.zero_grad()
            loss.backward()
            norms.append(float(nn.utils.clip_grad_norm_(weights.values(), math.inf if max_norm is None else max_norm)))
            steps.step()
            losses.append(loss.item())
            for key, value in weights.items():
                trajectory[key].append(value.detach().numpy().copy())
        arrays |= {"output": np.array(losses), "norms": np.array(norms), "rates": np.array(rates)}
        arrays |= {f"trajectory.{key}": np.stack(values) for key, values in trajectory.items()}
        config = {"call": call, "options": options, "max_norm": max_norm, "warmup_cosine": warmup_cosine}
        return arrays | {"config": np.array(json.dumps(config))}

    register("optimizers", name, run)


recipe: dict[str, Any] = {"max_lr": 0.05, "warmup_steps": 5, "total_steps": 18, "min_lr": 0.005}  # ends before step 20
optimizer("adamw_clipped_scheduled", "AdamW", torch.optim.AdamW, max_norm=4.0, warmup_cosine=recipe,
          lr=0.05, betas=[0.9, 0.99], eps=1e-8, weight_decay=0.1)  # fmt: skip
optimizer("adamw", "AdamW", torch.optim.AdamW, lr=0.01)
optimizer("adam", "Adam", torch.optim.Adam, lr=0.02, betas=[0.8, 0.95], eps=1e-6)
optimizer("adam_weight_decay", "Adam", torch.optim.Adam, lr=0.02, weight_decay=0.05)
optimizer("sgd", "SGD", torch.optim.SGD, lr=0.05)
optimizer("sgd_momentum", "SGD", torch.optim.SGD, lr=0.02, momentum=0.9)
optimizer("sgd_momentum_weight_decay_clipped", "SGD", torch.optim.SGD, max_norm=2.0, lr=0.05, momentum=0.8,
          weight_decay=0.1)  # fmt: skip
