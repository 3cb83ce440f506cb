r"""What each part of a GPT adds to its logits.

Every block adds to the residual stream, so at the end it is a sum over all that was ever written,

.. math:: x = e + \sum_{l} \Big( b_l + \sum_h z_{lh} W^O_{lh} + \mathrm{ffn}_l \Big),
   \qquad \text{logits} = \mathrm{Norm}(x)\, W_U ,

and with the norm's scale held at its value every part has logits of its own, which add up to the model's.
The **logit lens** reads the stream itself, block by block, as if the model ended there.
Sources: Elhage et al. (2021); nostalgebraist (2020) for the lens.

``B`` batch, ``T`` length, ``C`` width, ``V`` vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import no_grad

from ...decoding.window import evaluating
from ...layers import LayerNorm, NoNorm, RMSNorm
from ...models.gpt import GPT
from .circuits import head_weights
from .hooks import captured


def contributions(model: GPT, input_ids: Any) -> dict[str, np.ndarray]:
    """What each part writes into the residual stream, (B, T, C) each: they add up to what enters the last norm.

    The names are "embedding", "layers.0.head 0", …, "layers.0.out_proj.bias" where there is one, "layers.0.ffn", …
    """
    layers = layer_names("contributions", model)
    heads, ffns = [f"{name}.self_attention.out_proj.input" for name in layers], [f"{name}.ffn" for name in layers]
    with evaluating(model), no_grad(), captured(model, "layers.0.input", *heads, *ffns) as seen:
        model(input_ids)
    parts = {"embedding": seen["layers.0.input"].data}
    for name, layer, z, ffn in zip(layers, model.layers, heads, ffns, strict=True):
        attention = layer.self_attention
        outputs = np.split(seen[z].data, attention.num_heads, axis=-1)
        parts |= {f"{name}.head {h}": output @ head_weights(attention, h)[3] for h, output in enumerate(outputs)}
        if attention.out_proj.bias is not None:
            parts[f"{name}.out_proj.bias"] = np.broadcast_to(attention.out_proj.bias.data, parts["embedding"].shape)
        parts[f"{name}.ffn"] = seen[ffn].data
    return parts


def layer_names(what: str, model: Any) -> list[str]:
    """The sites of the residual stream after each block; TypeError for a model whose stream is not a sum."""
    if not isinstance(model, GPT):
        raise TypeError(f"{what}: a model of type {type(model).__name__}; expected a GPT, whose blocks only add to the stream")
    return [f"layers.{i}" for i in range(len(model.layers))]


def direct_logits(model: GPT, input_ids: Any) -> dict[str, np.ndarray]:
    """The logits (B, T, V) of each of the ``contributions``, the last norm's scale held fixed: they sum to the model's.

    A layer norm's shift has a part of its own, "norm.bias".  Raises TypeError for a norm that is not known to be linear but for its scale.
    """
    parts = contributions(model, input_ids)
    norm, x = model.norm, np.sum(list(parts.values()), axis=0)
    unembedding = model.token_embedding.weight.data.T if model.output is None else model.output.weight.data  # (C, V)
    if isinstance(norm, NoNorm):
        return {name: part @ unembedding for name, part in parts.items()}
    if not isinstance(norm, LayerNorm | RMSNorm):
        raise TypeError(f"direct_logits: a norm of type {type(norm).__name__}; expected LayerNorm, RMSNorm or NoNorm")
    centred = isinstance(norm, LayerNorm)

    def centre(y: np.ndarray) -> np.ndarray:
        return y - y.mean(axis=-1, keepdims=True) if centred else y

    scale = norm.weight.data / np.sqrt((centre(x) ** 2).mean(axis=-1, keepdims=True) + norm.eps)
    logits = {name: centre(part) * scale @ unembedding for name, part in parts.items()}
    if centred and norm.bias is not None:
        logits["norm.bias"] = np.broadcast_to(norm.bias.data @ unembedding, next(iter(logits.values())).shape)
    return logits


def logit_lens(model: GPT, input_ids: Any) -> dict[str, np.ndarray]:
    """The logits (B, T, V) as if the model ended there: "embedding", then "layers.0", … up to its own."""
    layers = layer_names("logit_lens", model)
    with evaluating(model), no_grad(), captured(model, "layers.0.input", *layers) as seen:
        model(input_ids)
        return {site.replace("layers.0.input", "embedding"): model.readout(stream).data for site, stream in seen.items()}
