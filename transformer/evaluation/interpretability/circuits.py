r"""The two circuits of a head, as matrices, what its attention gives away about its job, and what each part of a GPT adds to the logits.

With the residual stream :math:`x_t` as a row of width C, a head h without biases does two things that are independent:

.. math:: \text{where it looks:} \quad s_{ij} = x_i \, W_{QK} \, x_j^\top, \quad W_{QK} = W^Q_h W^{K\top}_h / \sqrt{D}
   \qquad \text{what it moves:} \quad x_j \, W_{OV}, \quad W_{OV} = W^V_h W^O_h

Every block adds to the residual stream, so at the end it is a sum over all that was ever written,

.. math:: x = e + \sum_{l} \Big( b_l + \sum_h z_{lh} W^O_{lh} + \mathrm{ffn}_l \Big),
   \qquad \text{logits} = \mathrm{Norm}(x)\, W_U ,

and with the norm's scale held at its value every part has logits of its own, which add up to the model's.
The **logit lens** reads the stream itself, block by block, as if the model ended there.

Sources: Elhage et al. (2021) for circuits, composition and the sum, Olsson et al. (2022) for prefix matching, nostalgebraist (2020) for the lens.
``B`` batch, ``T`` length, ``H`` heads, ``C`` model width, ``D`` head width, ``V`` vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import no_grad

from ...attention import MultiHeadAttention
from ...decoding.window import evaluating
from ...layers import LayerNorm, NoNorm, RMSNorm
from ...models.gpt import GPT
from ...positions import RotaryPositions
from .hooks import captured


def head_weights(attention: MultiHeadAttention, head: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """W_Q, W_K, W_V (C, D) and W_O (D, C) of one head; heads of a group have the same keys and values."""
    if not 0 <= head < attention.num_heads:
        raise IndexError(f"head_weights: head {head} of {attention.num_heads}")
    D, group = attention.head_dim, attention.num_heads // attention.num_kv_heads
    own, shared = slice(head * D, (head + 1) * D), slice(head // group * D, (head // group + 1) * D)
    q, k, v, o = (getattr(attention, f"{name}_proj").weight.data for name in ("q", "k", "v", "out"))
    return q[:, own], k[:, shared], v[:, shared], o[own]


def qk_circuit(attention: MultiHeadAttention, head: int) -> np.ndarray:
    """W_QK (C, C): the score of a query x_i for a key x_j is ``x_i @ W_QK @ x_j``, biases and ALiBi's penalty left out.

    Raises ValueError for rotary positions, with which there is another matrix for each distance.
    """
    if isinstance(attention.positions, RotaryPositions):
        raise ValueError("qk_circuit: with rotary positions the scores have another matrix for each distance; look at attention_maps(model) instead")
    q, k, _, _ = head_weights(attention, head)
    return q @ k.T / math.sqrt(attention.head_dim)


def ov_circuit(attention: MultiHeadAttention, head: int) -> np.ndarray:
    """W_OV (C, C): attending fully to x_j adds ``x_j @ W_OV`` to the residual stream, biases left out."""
    _, _, v, o = head_weights(attention, head)
    return v @ o


def composition(writes: np.ndarray, reads: np.ndarray) -> float:
    r"""How much of what an earlier head writes a later one reads, 0 to 1: :math:`\|W_1 W_2\| / (\|W_1\| \|W_2\|)`.

    The norms are Frobenius's.  ``writes`` is the W_OV of the earlier head; ``reads`` is of the later one W_QK for its queries,
    ``W_QK.T`` for its keys, W_OV for its values.  Two random (C, C) matrices of rank D give about 1/√C.
    """
    return float(np.linalg.norm(writes @ reads) / (np.linalg.norm(writes) * np.linalg.norm(reads)))


def copying(matrix: np.ndarray) -> float:
    r"""Whether (V, V) raises the token it is given, −1 to 1: :math:`\sum\mathrm{Re}\,\lambda_i/\sum|\lambda_i|`."""
    eigenvalues = np.linalg.eigvals(matrix)
    return float(eigenvalues.real.sum() / max(np.abs(eigenvalues).sum(), 1e-300))


def prefix_matching(weights: Any, ids: Any) -> np.ndarray:
    """(H,): how much of its attention (B, H, T, T) a head gives to what followed earlier copies of the present token.

    ``ids`` are (B, T).  The mean over all positions whose token has occurred before; ValueError when there are none.
    """
    weights, ids = np.asarray(weights), np.asarray(ids)
    B, T = ids.shape if ids.ndim == 2 else (0, 0)
    if weights.ndim != 4 or (len(weights), *weights.shape[2:]) != (B, T, T):
        raise ValueError(f"prefix_matching: weights {weights.shape} for ids {ids.shape}; expected (B, H, T, T) and (B, T)")
    follows = np.zeros((B, T, T), bool)  # query i, key j: ids[j − 1] = ids[i] and j ≤ i
    follows[:, :, 1:] = (ids[:, :, None] == ids[:, None, :-1]) & np.tri(T, T - 1, -1, dtype=bool)
    seen = follows.any(axis=-1)  # (B, T)
    if not seen.any():
        raise ValueError("prefix_matching: no token of these ids occurs twice in its row")
    return (weights * follows[:, None]).sum(axis=-1).swapaxes(1, 2)[seen].mean(axis=0)


def previous_token(weights: Any) -> np.ndarray:
    """(H,): how much of its attention (B, H, T, T) a head gives to the position before, from the second position on."""
    return np.diagonal(np.asarray(weights), -1, 2, 3).mean(axis=(0, 2))


# What each part adds to the logits -----------------------------------------------------------------------------------------


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
