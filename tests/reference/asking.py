"""How a case asks PyTorch. Every case answers with one flat dict of float64, integer and bool arrays,

    input.<name>  param.<our name>  upstream  output  grad.input.<name>  grad.param.<our name>  config

and one of second derivatives with vector.<...>, hvp.<...> and hessian.<...> in place of grad.<...>,

where `upstream` is a random, non-uniform gradient of `output` and `config` is a JSON string that says what to call on
our side. Parameters carry *our* names and layout. PyTorch receives them through differentiable renaming, transposing
and packing, so its autograd hands the gradients back in our layout too: no gradient is converted by hand. What goes in
is exact in float32, so that a float32 test asks the very same question.
"""

from __future__ import annotations

import json
import math
import warnings
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Arrays = dict[str, np.ndarray]
Draw = Callable[[np.random.Generator], np.ndarray]
Spec = tuple[int, ...] | Draw  # a shape means normal numbers
Shapes = Mapping[str, tuple[int, ...]]

SEED = 1
B, T, S, H, D = 2, 5, 7, 3, 4  # batch, target length, source length, heads, head width
C, F_DIM, V = H * D, 8, 11  # model width, feed-forward width, vocabulary
FAMILIES: dict[str, dict[str, Callable[[np.random.Generator], Arrays]]] = {}


def answer(name: str, seed: int = SEED) -> Arrays:
    """Run one case in PyTorch. Each case has a random stream of its own, so that a new case leaves the others alone."""
    run = next(cases[name] for cases in FAMILIES.values() if name in cases)
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.filterwarnings("ignore", message=".*nested_tensor.*")
        return run(np.random.default_rng([seed, zlib.crc32(name.encode())]))


def register(family: str, name: str, run: Callable[[np.random.Generator], Arrays]) -> None:
    if any(name in cases for cases in FAMILIES.values()):
        raise ValueError(f"two cases are called {name!r}")
    FAMILIES.setdefault(family, {})[name] = run


def compare(family: str, name: str, call: str, reference: Callable[..., Tensor], inputs: Mapping[str, Spec],
            params: Shapes | None = None, **config: Any) -> None:  # fmt: skip
    """Register a case: `call` names our function (or, with `params`, our module), `reference` is its twin in PyTorch.

    The reference of a function gets the inputs by position, that of a module our parameters and the inputs by name.
    """

    def run(rng: np.random.Generator) -> Arrays:
        arrays, leaves, output = ask(rng, reference, inputs, params)
        output.backward(torch.from_numpy(arrays["upstream"]))
        for key, leaf in leaves.items():
            if leaf.requires_grad:
                assert leaf.grad is not None, f"{name}: the reference does not use {key}"
                arrays[f"grad.{key}"] = leaf.grad.numpy()
        return arrays | {"config": np.array(json.dumps({"call": call, **config}))}

    register(family, name, run)


def ask(rng: np.random.Generator, reference: Callable[..., Tensor], inputs: Mapping[str, Spec], params: Shapes | None
        ) -> tuple[Arrays, dict[str, Tensor], Tensor]:  # fmt: skip
    """Draw what goes in, and let the reference compute; with a random upstream gradient for its output."""
    specs = {key: spec if callable(spec) else normal(*spec) for key, spec in inputs.items()}
    arrays = {f"input.{key}": single(draw(rng)) for key, draw in specs.items()}
    arrays |= {f"param.{key}": single(parameter(rng, key, shape)) for key, shape in (params or {}).items()}
    leaves = {key: torch.tensor(value, requires_grad=value.dtype.kind == "f") for key, value in arrays.items()}
    given = named(leaves, "input.")
    output = reference(named(leaves, "param."), **given) if params else reference(*given.values())
    arrays["output"] = output.detach().numpy()
    arrays["upstream"] = single(np.asarray(rng.standard_normal(output.shape)))
    return arrays, leaves, output


def curvature(name: str, call: str, reference: Callable[..., Tensor], inputs: Mapping[str, Spec], params: Shapes | None = None,
              whole: tuple[str, ...] = (), **config: Any) -> None:  # fmt: skip
    """Register a case of second derivatives of upstream · output: ``hvp.<leaf>`` with random ``vector.<leaf>`` for all leaves at once,
    and ``hessian.<leaf>`` for each leaf in ``whole``."""

    def run(rng: np.random.Generator) -> Arrays:
        arrays, leaves, output = ask(rng, reference, inputs, params)
        variables = {key: leaf for key, leaf in leaves.items() if leaf.requires_grad}
        loss = (output * torch.from_numpy(arrays["upstream"])).sum()
        gradients = dict(zip(variables, torch.autograd.grad(loss, list(variables.values()), create_graph=True), strict=True))
        vectors = {key: single(rng.standard_normal(tuple(leaf.shape))) for key, leaf in variables.items()}
        total = sum((gradients[key] * torch.from_numpy(vector)).sum() for key, vector in vectors.items())
        for key, product in zip(variables, second(total, list(variables.values())), strict=True):
            arrays[f"vector.{key}"], arrays[f"hvp.{key}"] = vectors[key], product.numpy()
        for key in (f"{kind}.{leaf}" for leaf in whole for kind in ("input", "param") if f"{kind}.{leaf}" in variables):
            rows = [second(entry, [variables[key]])[0] for entry in gradients[key].flatten()]
            arrays[f"hessian.{key}"] = torch.stack(rows).reshape(*variables[key].shape, *variables[key].shape).numpy()
        return arrays | {"config": np.array(json.dumps({"call": call, "options": {}, **config}))}

    register("second_order", name, run)


def second(value: Tensor, variables: list[Tensor]) -> tuple[Tensor, ...]:
    """The gradient of a component of a gradient; zeros where it is constant."""
    if not value.requires_grad:
        return tuple(torch.zeros_like(v) for v in variables)
    found = torch.autograd.grad(value, variables, retain_graph=True, allow_unused=True)
    return tuple(torch.zeros_like(v) if g is None else g for g, v in zip(found, variables, strict=True))


def named(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


def single(array: np.ndarray) -> np.ndarray:
    """Floats rounded to what float32 holds, still float64."""
    return array.astype(np.float32).astype(np.float64) if array.dtype.kind == "f" else array


def parameter(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random weights at a trained model's scale; no bias is 0 and no gain is 1, since there whole terms vanish."""
    numbers = rng.standard_normal(shape)
    if len(shape) == 2:
        return numbers / math.sqrt(shape[0])
    return 1 + 0.5 * numbers if "norm" in name and name.endswith("weight") else 0.3 * numbers


def integers(high: int, *shape: int) -> Draw:
    return lambda rng: rng.integers(0, high, shape)


def targets(*shape: int, ignored: int | None = None) -> Draw:
    """Classes, every third of them ignored."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        classes = rng.integers(0, V, shape)
        if ignored is not None:
            classes.flat[::3] = ignored
        return classes

    return draw


def positive(*shape: int) -> Draw:
    return lambda rng: rng.uniform(0.2, 3.0, shape)


def booleans(*shape: int, dead_row: bool = False) -> Draw:
    """About two thirds True and at least one True in each row, but for one (`dead_row`) in which there is none."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        allowed = rng.random(shape) < 0.65
        np.put_along_axis(allowed, rng.integers(0, shape[-1], (*shape[:-1], 1)), True, axis=-1)
        if dead_row:
            allowed[..., 1, :] = False
        return allowed

    return draw


def normal(*shape: int) -> Draw:
    return lambda rng: rng.standard_normal(shape)


def additive_with_infinity(*shape: int, dead_row: bool = False) -> Draw:
    return lambda rng: np.where(booleans(*shape, dead_row=dead_row)(rng), rng.standard_normal(shape), -np.inf)


def lengths(batch: int, length: int) -> Draw:
    """An attention mask in the usual form: 1 for tokens, then 0 for padding; the first row is full, no other is."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        real = np.concatenate([[length], rng.integers(1, length, batch - 1)])
        return (np.arange(length) < real[:, None]).astype(np.int64)

    return draw


def last_aligned(queries: int, keys: int) -> Tensor:
    """Causal, with the last query at the last key: True = may attend."""
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
