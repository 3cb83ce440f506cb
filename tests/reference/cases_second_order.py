"""Second derivatives: Hessian-vector products of everything, whole Hessians of what is small."""

from __future__ import annotations

from asking import Spec, booleans, curvature, integers
from cases_modules import attention_shapes_of, linear_shapes, norm_shapes_of, prefixed
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from benchmarks import pytorch_gpt

sdpa = F.scaled_dot_product_attention
heads: dict[str, Spec] = {name: (2, 3, 2) for name in "qkv"}  # two heads, three words
curvature("attention_curvature", "minigrad.scaled_dot_product_attention", sdpa, heads, whole=("q", "k", "v"))
curvature("attention_causal_curvature", "minigrad.scaled_dot_product_attention", lambda q, k, v: sdpa(q, k, v, is_causal=True), heads,
          whole=("q", "k"), options={"causal": True})  # fmt: skip
curvature("attention_masked_curvature", "minigrad.scaled_dot_product_attention", sdpa, heads | {"mask": booleans(2, 3, 3)}, whole=("q", "v"))
curvature("attention_biased_curvature", "minigrad.scaled_dot_product_attention", sdpa, heads | {"mask": (2, 3, 3)}, whole=("k", "mask"))
curvature("layer_norm_curvature", "minigrad.layer_norm", lambda x, w, b: F.layer_norm(x, (5,), w, b),
          {"x": (3, 5), "weight": (5,), "bias": (5,)}, whole=("x", "weight", "bias"))  # fmt: skip
curvature("cross_entropy_curvature", "minigrad.cross_entropy", F.cross_entropy, {"logits": (4, 5), "targets": integers(5, 4)}, whole=("logits",))
curvature("cross_entropy_smooth_curvature", "minigrad.cross_entropy",
          lambda x, y: F.cross_entropy(x, y, ignore_index=2, label_smoothing=0.2, reduction="sum"),
          {"logits": (4, 5), "targets": integers(5, 4)}, whole=("logits",),
          options={"ignore_index": 2, "label_smoothing": 0.2, "reduction": "sum"})  # fmt: skip

WIDTH, FFN, VOCABULARY, CONTEXT = 4, 6, 7, 5


def block_shapes() -> dict[str, tuple[int, ...]]:
    shapes = prefixed("self_attention", attention_shapes_of(WIDTH)) | norm_shapes_of(WIDTH, "norm1", "norm2")
    return shapes | prefixed("ffn.up", linear_shapes(WIDTH, FFN)) | prefixed("ffn.down", linear_shapes(FFN, WIDTH))


def block(ours: dict[str, Tensor], x: Tensor) -> Tensor:
    twin = pytorch_gpt.Block(WIDTH, 2, FFN, sdpa=True).double()
    return functional_call(twin, pytorch_gpt.from_our_names(ours), (x,))


def gpt_loss(ours: dict[str, Tensor], input_ids: Tensor, targets: Tensor) -> Tensor:
    twin = pytorch_gpt.GPT(VOCABULARY, WIDTH, 2, 1, CONTEXT, FFN).double()
    return functional_call(twin, pytorch_gpt.from_our_names(ours), (input_ids, targets))


curvature("gpt_block_curvature", "transformer.EncoderLayer", block, {"x": (1, 3, WIDTH)}, block_shapes(), whole=("x", "norm1.weight", "ffn.up.bias"),
          options={"embedding_dim": WIDTH, "num_heads": 2, "ffn_dim": FFN, "norm_first": True, "activation": "gelu"},
          at_call={"causal": True})  # fmt: skip
ids: dict[str, Spec] = {name: integers(VOCABULARY, 2, CONTEXT) for name in ("input_ids", "targets")}
gpt_shapes = {"token_embedding.weight": (VOCABULARY, WIDTH), "positions.weight": (CONTEXT, WIDTH)} | norm_shapes_of(WIDTH, "norm")
curvature("gpt_loss_curvature", "gpt_loss", gpt_loss, ids, gpt_shapes | prefixed("layers.0", block_shapes()), whole=("token_embedding.weight",),
          options={"vocab_size": VOCABULARY, "embedding_dim": WIDTH, "num_heads": 2, "num_layers": 1, "context_length": CONTEXT,
                   "ffn_dim": FFN})  # fmt: skip
