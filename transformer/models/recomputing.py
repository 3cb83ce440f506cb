r"""Less memory for more time: each layer keeps its input only, and is computed again in the backward pass.

A training step of L layers that keep a each, and whose inputs are b, holds :math:`L a` until the backward pass; with recomputation
:math:`L b + a`, for one more forward pass, a third more FLOPs than before.

Source: Chen et al. (2016), "Training deep nets with sublinear memory cost", section 4.
"""

from __future__ import annotations

from typing import Any

from minigrad import Tensor, checkpoint, nn

from .sharing import layer_lists


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
