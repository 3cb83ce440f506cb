"""Fewer parameters: layers that share one set of weights.

ALBERT reads its text with one layer, used twelve times: a twelfth of the parameters, and just as many FLOPs.  Two more ways of sharing are
options of GPT: the output shares the embedding's matrix (``tie_embeddings``; Press & Wolf 2017), and query heads share keys and values
(``num_kv_heads``: 1 is multi-query, Shazeer 2019; a few, grouped-query, Ainslie et al. 2023).

Source: Lan et al. (2019), "ALBERT", section 3.1.
"""

from __future__ import annotations

from typing import Any

from minigrad import nn


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
