r"""Stacks of layers that share their weights, for fewer parameters, or that forget their interior, for less memory.

ALBERT reads its text with one layer, used twelve times: a twelfth of the parameters, and just as many FLOPs.  Two more ways of sharing are
options of GPT: the output shares the embedding's matrix (``tie_embeddings``; Press & Wolf 2017), and query heads share keys and values
(``num_kv_heads``: 1 is multi-query, Shazeer 2019; a few, grouped-query, Ainslie et al. 2023).

A training step of L layers that keep a each, and whose inputs are b, holds :math:`L a` until the backward pass.  When each layer keeps its
input only, and is computed again in the backward pass, it holds :math:`L b + a`, for one more forward pass: a third more FLOPs than before.

Sources: Lan et al. (2019), "ALBERT", section 3.1; Chen et al. (2016), "Training deep nets with sublinear memory cost", section 4.
"""

from __future__ import annotations

from typing import Any

from minigrad import Tensor, checkpoint, nn


def layer_lists(model: nn.Module) -> list[nn.ModuleList]:
    """The stacks of layers in a model: one in a GPT, two in an encoder–decoder."""
    return [m for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and name.rpartition(".")[2] in ("layers", "cells")]


def share_layers(model: Any, distinct: int = 1) -> Any:
    """Let each stack use ``distinct`` sets of weights, in runs: 6 layers and 2 sets are the layers 0 0 0 1 1 1.  Changes the model; returns it.

    Raises ValueError when the number of layers is no multiple of ``distinct``, or there are no layers.
    """
    stacks = layer_lists(model)
    if not stacks:
        raise ValueError(f"share_layers: {type(model).__name__} has no layers to share")
    for stack in stacks:
        if not 1 <= distinct <= len(stack) or len(stack) % distinct:
            raise ValueError(f"share_layers: {len(stack)} layers cannot share {distinct} sets of weights; expected a divisor of {len(stack)}")
    for stack in stacks:
        run = len(stack) // distinct
        for i in range(len(stack)):
            stack.__dict__[str(i)] = stack[i - i % run]
    return model


def recompute_layers(model: nn.Module) -> nn.Module:
    """Let every layer of ``model`` forget its interior between forward and backward pass; the gradients are the same.

    Changes the model, whose parameters keep their names, and returns it.  Raises ValueError for a model without layers of the kind.
    """
    layers = {id(layer): layer for stack in layer_lists(model) for layer in stack if hasattr(layer, "self_attention")}
    if not layers:
        raise ValueError(f"recompute_layers: {type(model).__name__} has no attention layers to compute again")
    for layer in layers.values():
        setattr(layer, "forward", Forgetful(type(layer).forward, layer))  # noqa: B010 (mypy: a method)
    return model


class Forgetful:
    """The forward of a layer, without its interior; where nothing is recorded, as in generation, the forward itself."""

    def __init__(self, forward: Any, layer: nn.Module) -> None:
        self.forward, self.layer = forward, layer

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Tensor:
        return checkpoint(lambda h: self.forward(self.layer, h, *args, **kwargs), x)
