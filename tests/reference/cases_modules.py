"""torch.nn's multi-head attention, Transformer layers and whole Transformer, and a small GPT, under our names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from asking import F_DIM, B, C, H, S, Shapes, Spec, T, V, booleans, compare, integers, last_aligned, lengths, normal
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from benchmarks import pytorch_gpt


def prefixed(prefix: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def linear_shapes(wide_in: int, wide_out: int) -> dict[str, tuple[int, ...]]:
    return {"weight": (wide_in, wide_out), "bias": (wide_out,)}


def attention_shapes_of(width: int) -> dict[str, tuple[int, ...]]:
    names = ("q_proj", "k_proj", "v_proj", "out_proj")
    return {key: shape for name in names for key, shape in prefixed(name, linear_shapes(width, width)).items()}


def attention_shapes() -> dict[str, tuple[int, ...]]:
    return attention_shapes_of(C)


def norm_shapes_of(width: int, *names: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{leaf}": (width,) for name in names for leaf in ("weight", "bias")}


def norm_shapes(*names: str) -> dict[str, tuple[int, ...]]:
    return norm_shapes_of(C, *names)


def ffn_shapes() -> dict[str, tuple[int, ...]]:
    return prefixed("ffn.up", linear_shapes(C, F_DIM)) | prefixed("ffn.down", linear_shapes(F_DIM, C))


def encoder_layer_shapes() -> dict[str, tuple[int, ...]]:
    return prefixed("self_attention", attention_shapes()) | ffn_shapes() | norm_shapes("norm1", "norm2")


def decoder_layer_shapes() -> dict[str, tuple[int, ...]]:
    return encoder_layer_shapes() | prefixed("cross_attention", attention_shapes()) | norm_shapes("norm3")


def stack_shapes(layer: Shapes, depth: int) -> dict[str, tuple[int, ...]]:
    layers = {key: shape for i in range(depth) for key, shape in prefixed(f"layers.{i}", layer).items()}
    return layers | norm_shapes("norm")


def to_torch(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters under the names and in the layout of torch.nn's Transformer modules. Differentiable."""
    twin = {}
    for name, value in ours.items():
        for our_word, their_word in (("self_attention", "self_attn"), ("cross_attention", "multihead_attn"),
                                     ("ffn.up", "linear1"), ("ffn.down", "linear2")):  # fmt: skip
            name = name.replace(our_word, their_word)
        twin[name] = value.mT if value.ndim == 2 else value
    for name in [name for name in twin if "q_proj." in name]:
        parts = [twin.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        twin[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
    return twin


def call_torch(module: nn.Module, ours: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
    """Run the module with our parameters, all of them and no others."""
    theirs = to_torch(ours)
    if missing := set(dict(module.named_parameters())) ^ set(theirs):
        raise ValueError(f"parameters that one side lacks: {sorted(missing)}")
    return functional_call(module, theirs, args, kwargs)


def multi_head(name: str, inputs: Mapping[str, Spec], padding: tuple[str, ...] = (), **at_call: Any) -> None:
    def reference(ours: dict, query: Tensor, key: Tensor | None = None, value: Tensor | None = None,
                  mask: Tensor | None = None) -> Tensor:  # fmt: skip
        key = query if key is None else key
        value = key if value is None else value
        blocked: dict[str, Any] = {}
        if padding and mask is not None:
            blocked["key_padding_mask"] = mask == 0  # (B, S), True = ignore
        elif mask is not None:
            blocked["attn_mask"] = (~mask).expand(B, H, -1, -1).flatten(0, 1)  # (B·H, T, S), True = ignore
        if at_call.get("causal"):
            blocked["attn_mask"] = ~last_aligned(query.shape[1], key.shape[1])
        module = nn.MultiheadAttention(C, H, batch_first=True)
        return call_torch(module, ours, query, key, value, need_weights=False, **blocked)[0]

    compare("modules", f"multihead_{name}", "transformer.MultiHeadAttention", reference, inputs, attention_shapes(),
            options={"embedding_dim": C, "num_heads": H}, padding=padding, at_call=at_call)  # fmt: skip


x: Spec = (B, T, C)
memory: Spec = (B, S, C)
multi_head("self", {"query": x})
multi_head("self_causal", {"query": x}, causal=True)
multi_head("self_padding", {"query": x, "mask": lengths(B, T)}, padding=("mask",))
multi_head("self_causal_padding", {"query": x, "mask": lengths(B, T)}, padding=("mask",), causal=True)
multi_head("self_boolean_mask", {"query": x, "mask": booleans(B, H, T, T)})
multi_head("cross", {"query": x, "key": memory})
multi_head("cross_padding", {"query": x, "key": memory, "mask": lengths(B, S)}, padding=("mask",))
multi_head("cross_boolean_mask", {"query": x, "key": memory, "mask": booleans(B, 1, T, S)})
multi_head("cross_with_values", {"query": x, "key": memory, "value": memory})

ACTIVATIONS: dict[str, Any] = {"relu": F.relu, "gelu": partial(F.gelu, approximate="tanh")}


def layer(kind: str, norm_first: bool, activation: str, masked: bool) -> None:
    """One nn.TransformerEncoderLayer or nn.TransformerDecoderLayer; the decoder's self-attention is always causal."""
    sizes: dict[str, Any] = {"d_model": C, "nhead": H, "dim_feedforward": F_DIM, "dropout": 0.0}
    theirs: dict[str, Any] = {"batch_first": True, "norm_first": norm_first, "activation": ACTIVATIONS[activation]}

    def encoder(ours: dict, x: Tensor, mask: Tensor | None = None) -> Tensor:
        padded = None if mask is None else mask == 0
        return call_torch(nn.TransformerEncoderLayer(**sizes, **theirs), ours, x, src_key_padding_mask=padded)

    def decoder(ours: dict, x: Tensor, memory: Tensor, mask: Tensor | None = None,
                memory_mask: Tensor | None = None) -> Tensor:  # fmt: skip
        return call_torch(
            nn.TransformerDecoderLayer(**sizes, **theirs), ours, x, memory, tgt_mask=~last_aligned(T, T),
            tgt_key_padding_mask=None if mask is None else mask == 0,
            memory_key_padding_mask=None if memory_mask is None else memory_mask == 0)  # fmt: skip

    inputs: dict[str, Spec] = {"x": x} | ({"memory": memory} if kind == "decoder" else {})
    masks: dict[str, Spec] = {"mask": lengths(B, T)}
    if kind == "decoder":
        masks["memory_mask"] = lengths(B, S)
    name = f"{kind}_layer_{'pre' if norm_first else 'post'}_norm_{activation}{'_padding' if masked else ''}"
    compare("layers", name, f"transformer.{kind.capitalize()}Layer", encoder if kind == "encoder" else decoder,
            inputs | (masks if masked else {}), encoder_layer_shapes() if kind == "encoder" else decoder_layer_shapes(),
            options={"embedding_dim": C, "num_heads": H, "ffn_dim": F_DIM, "norm_first": norm_first,
                     "activation": activation}, padding=list(masks) if masked else [])  # fmt: skip


for kind in ("encoder", "decoder"):
    for norm_first in (False, True):
        layer(kind, norm_first, "relu", masked=True)
        layer(kind, norm_first, "gelu", masked=False)


def any_mask(name: str, norm_first: bool, mask: Spec, memory_mask: Spec) -> None:
    """One nn.TransformerDecoderLayer whose target mask is not the causal one."""
    sizes: dict[str, Any] = {"d_model": C, "nhead": H, "dim_feedforward": F_DIM, "dropout": 0.0}

    def blocked(mask: Tensor, length: int) -> Tensor:
        mask = mask if mask.is_floating_point() else ~mask
        return mask.expand(B, H, T, length).flatten(0, 1)  # (B·H, T, length), True = ignore

    def reference(ours: dict, x: Tensor, memory: Tensor, mask: Tensor, memory_mask: Tensor) -> Tensor:
        module = nn.TransformerDecoderLayer(**sizes, batch_first=True, norm_first=norm_first)
        return call_torch(module, ours, x, memory, tgt_mask=blocked(mask, T), memory_mask=blocked(memory_mask, S))

    compare("layers", f"decoder_layer_{name}", "transformer.DecoderLayer", reference,
            {"x": x, "memory": memory, "mask": mask, "memory_mask": memory_mask}, decoder_layer_shapes(),
            options={"embedding_dim": C, "num_heads": H, "ffn_dim": F_DIM, "norm_first": norm_first},
            at_call={"causal": False})  # fmt: skip


any_mask("boolean_masks", False, booleans(B, H, T, T), booleans(B, 1, T, S))
any_mask("one_mask_for_all", True, booleans(T, T), booleans(T, S))
any_mask("additive_masks", True, normal(B, H, T, T), normal(B, H, T, S))


def whole_transformer(norm_first: bool, masked: bool, depth: int = 2) -> None:
    """nn.Transformer: both stacks, each with its final norm, whatever the norm order."""

    def reference(ours: dict, source: Tensor, target: Tensor, source_mask: Tensor | None = None,
                  target_mask: Tensor | None = None) -> Tensor:  # fmt: skip
        module = nn.Transformer(C, H, depth, depth, F_DIM, dropout=0.0, batch_first=True, norm_first=norm_first)
        padded = None if source_mask is None else source_mask == 0
        return call_torch(module, ours, source, target, tgt_mask=~last_aligned(T, T), src_key_padding_mask=padded,
                          memory_key_padding_mask=padded,
                          tgt_key_padding_mask=None if target_mask is None else target_mask == 0)  # fmt: skip

    shapes = prefixed("encoder", stack_shapes(encoder_layer_shapes(), depth))
    shapes |= prefixed("decoder", stack_shapes(decoder_layer_shapes(), depth))
    masks: dict[str, Spec] = {"source_mask": lengths(B, S), "target_mask": lengths(B, T)} if masked else {}
    compare("models", f"transformer_{'pre' if norm_first else 'post'}_norm{'_padding' if masked else ''}",
            "encoder_decoder", reference, {"source": memory, "target": x, **masks}, shapes,
            options={"num_layers": depth, "embedding_dim": C, "num_heads": H, "ffn_dim": F_DIM,
                     "norm_first": norm_first, "final_norm": True}, padding=list(masks))  # fmt: skip


whole_transformer(norm_first=False, masked=True)
whole_transformer(norm_first=True, masked=True)


def gpt(name: str, call: str, inputs: Mapping[str, Spec]) -> None:
    sizes: dict[str, Any] = {"vocab_size": V, "embedding_dim": C, "num_heads": H, "num_layers": 2, "context_length": 8}

    def reference(ours: dict, **inputs: Tensor) -> Tensor:
        return functional_call(pytorch_gpt.GPT(**sizes), pytorch_gpt.from_our_names(ours), tuple(inputs.values()))

    block = prefixed("self_attention", attention_shapes()) | norm_shapes("norm1", "norm2")
    block |= prefixed("ffn.up", linear_shapes(C, 4 * C)) | prefixed("ffn.down", linear_shapes(4 * C, C))
    shapes = {"token_embedding.weight": (V, C), "positions.weight": (8, C)} | stack_shapes(block, 2)
    compare("models", name, call, reference, inputs, shapes, options=sizes)


gpt("gpt_logits", "transformer.GPT", {"input_ids": integers(V, B, 6)})
gpt("gpt_loss", "gpt_loss", {"input_ids": integers(V, B, 8), "targets": integers(V, B, 8)})
