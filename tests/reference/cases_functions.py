"""The functions of minigrad that PyTorch has too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from asking import B, C, Spec, T, V, booleans, compare, integers, positive, targets
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F


def function(name: str, call: str, reference: Callable[..., Tensor], inputs: Mapping[str, Spec],
             leading: tuple = (), as_list: bool = False, **options: Any) -> None:  # fmt: skip
    """`leading` are arguments that come before the tensors; `as_list` gives the tensors as one list."""
    compare("functions", name, f"minigrad.{call}", reference, inputs, leading=leading, as_list=as_list, options=options)


cube: dict[str, Spec] = {"x": (2, 4, 5)}
wide: dict[str, Spec] = {"x": lambda rng: 6 * rng.standard_normal((4, 9))}  # into the tails

function("layer_norm", "layer_norm", lambda x, w, b: F.layer_norm(x, (C,), w, b),
         {"x": (B, T, C), "weight": (C,), "bias": (C,)})  # fmt: skip
function("layer_norm_other_eps", "layer_norm", lambda x, w, b: F.layer_norm(x, (C,), w, b, eps=0.1),
         {"x": (B, T, C), "weight": (C,), "bias": (C,)}, eps=0.1)  # fmt: skip
function("rms_norm", "rms_norm", lambda x, w: functional_call(nn.RMSNorm(C, eps=1e-6), {"weight": w}, x),
         {"x": (B, T, C), "weight": (C,)})  # fmt: skip
function("gelu_tanh", "gelu", lambda x: F.gelu(x, approximate="tanh"), wide, approximate="tanh")
function("gelu_exact", "gelu", lambda x: F.gelu(x, approximate="none"), wide, approximate="none")
for name in ("relu", "silu", "tanh", "sigmoid"):
    function(name, name, getattr(F if name in ("relu", "silu") else torch, name), wide)
for name in ("exp", "abs"):
    function(name, name, getattr(torch, name), cube)
for name in ("log", "sqrt"):
    function(name, name, getattr(torch, name), {"x": positive(2, 4, 5)})
function("softmax", "softmax", lambda x: x.softmax(-1), wide, axis=-1)
function("softmax_middle_axis", "softmax", lambda x: x.softmax(1), cube, axis=1)
function("log_softmax", "log_softmax", lambda x: x.log_softmax(-1), wide, axis=-1)
function("log_softmax_first_axis", "log_softmax", lambda x: x.log_softmax(0), cube, axis=0)
function("logsumexp", "logsumexp", lambda x: x.logsumexp(-1), wide, axis=-1)
function("logsumexp_two_axes", "logsumexp", lambda x: x.logsumexp((0, 2), True), cube, axis=[0, 2], keepdims=True)

logits: Spec = (9, V)
function("cross_entropy", "cross_entropy", F.cross_entropy, {"logits": logits, "targets": targets(9)})
function("cross_entropy_sequence", "cross_entropy", lambda x, y: F.cross_entropy(x.flatten(0, 1), y.flatten()),
         {"logits": (B, T, V), "targets": targets(B, T)})  # fmt: skip
for reduction in ("mean", "sum", "none"):
    for ignored in (-100, 3):
        for smoothing in (0.0, 0.2):
            name = f"cross_entropy_{reduction}_ignore_{'hundred' if ignored < 0 else 'class'}"

            def sequence_loss(x: Tensor, y: Tensor, how: Any = (reduction, ignored, smoothing)) -> Tensor:
                how, ignored, smoothing = how
                return F.cross_entropy(x.mT, y, reduction=how, ignore_index=ignored, label_smoothing=smoothing)

            function(name + "_smooth" * bool(smoothing), "cross_entropy", sequence_loss,
                     {"logits": (B, T, V), "targets": targets(B, T, ignored=ignored)},
                     reduction=reduction, ignore_index=ignored, label_smoothing=smoothing)  # fmt: skip
function("cross_entropy_smooth", "cross_entropy", lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1),
         {"logits": logits, "targets": targets(9)}, label_smoothing=0.1)  # fmt: skip

function("embedding_repeated_ids", "embedding", lambda w, ids: F.embedding(ids, w),
         {"weight": (V, C), "ids": integers(5, B, 9)})  # fmt: skip
function("embedding_large_vocabulary", "embedding", lambda w, ids: F.embedding(ids, w),
         {"weight": (900, 2), "ids": lambda rng: rng.integers(0, 30, (4, 25)) * 30})  # fmt: skip
function("linear", "linear", lambda x, w, b: F.linear(x, w.mT, b), {"x": (B, T, C), "weight": (C, 5), "bias": (5,)})
function("linear_without_bias", "linear", lambda x, w: F.linear(x, w.mT), {"x": (B, T, C), "weight": (C, 5)})
function("linear_of_vector", "linear", lambda x, w, b: F.linear(x, w.mT, b), {"x": (C,), "w": (C, 5), "b": (5,)})

for name, one, other in (
    ("matmul", (4, 3), (3, 5)),
    ("matmul_batched", (2, 4, 3), (2, 3, 5)),
    ("matmul_broadcast", (2, 1, 4, 3), (3, 3, 5)),
    ("matmul_broadcast_matrix", (2, 3, 4, 3), (3, 5)),
    ("matmul_vectors", (6,), (6,)),
    ("matmul_vector_by_batch", (3,), (2, 3, 5)),
    ("matmul_batch_by_vector", (2, 4, 3), (3,)),
):
    function(name, "matmul", torch.matmul, {"a": one, "b": other})
for name, subscripts, shapes in (
    ("scores", "bthd,bshd->bhts", ((2, 5, 3, 4), (2, 7, 3, 4))),
    ("diagonal", "ii->i", ((4, 4),)),
    ("trace_by_vector", "ii,j->j", ((4, 4), (3,))),
    ("sum_one_side", "ij,k->i", ((4, 3), (5,))),
    ("transpose", "ijk->kij", ((2, 3, 4),)),
    ("ellipsis", "...ij,jk->...ik", ((2, 2, 3, 4), (4, 5))),
    ("ellipsis_broadcast", "...ij,...jk->...ik", ((2, 1, 3, 4), (3, 4, 5))),
    ("size_one", "ij,ij->ij", ((4, 1), (4, 3))),
    ("three_operands", "ij,jk,kl->il", ((2, 3), (3, 4), (4, 5))),
    ("implicit_output", "ba,ac", ((2, 3), (3, 4))),
    ("outer", "i,j->ij", ((3,), (4,))),
):
    function(f"einsum_{name}", "einsum", lambda *args, how=subscripts: torch.einsum(how, *args),
             {f"operand{i}": shape for i, shape in enumerate(shapes)}, leading=(subscripts,))  # fmt: skip

function("sum_two_axes", "sum", lambda x: x.sum((0, 2)), cube, axis=[0, 2])
function("mean_two_axes", "mean", lambda x: x.mean((1, 2), keepdim=True), cube, axis=[1, 2], keepdims=True)
function("mean_of_all", "mean", torch.mean, cube)
function("var", "var", lambda x: x.var(-1, correction=0), cube, axis=-1)
function("var_ddof_1", "var", lambda x: x.var(1, correction=1, keepdim=True), cube, axis=1, ddof=1, keepdims=True)
function("var_two_axes_ddof_1", "var", lambda x: x.var((0, 2), correction=1), cube, axis=[0, 2], ddof=1)
function("max", "max", lambda x: x.amax(1), cube, axis=1)  # without ties: there conventions differ
function("min_two_axes", "min", lambda x: x.amin((0, 2), keepdim=True), cube, axis=[0, 2], keepdims=True)
function("maximum_broadcast", "maximum", torch.maximum, {"a": (2, 4, 5), "b": (4, 1)})
function("minimum_broadcast", "minimum", torch.minimum, {"a": (2, 1, 5), "b": (4, 5)})
function("where_broadcast", "where", torch.where, {"condition": booleans(4, 5), "a": (2, 4, 5), "b": (5,)})
function("pad", "pad", lambda x: F.pad(x, (2, 0, 0, 3, 1, 1)), cube, pad_width=[[1, 1], [0, 3], [2, 0]])
function("pad_with_value", "pad", lambda x: F.pad(x, (1, 2), value=7.0), {"x": (3, 4)},
         pad_width=[[0, 0], [1, 2]], constant_values=7.0)  # fmt: skip
function("cumsum", "cumsum", lambda x: x.cumsum(1), cube, axis=1)
function("take", "take", lambda x, i: x[:, i], {"x": (2, 4, 5), "indices": integers(4, 6)}, axis=1)
function("concatenate", "concatenate", lambda *parts: torch.cat(parts, 1),
         {"a": (2, 4, 5), "b": (2, 1, 5), "c": (2, 3, 5)}, as_list=True, axis=1)  # fmt: skip
function("stack", "stack", lambda *parts: torch.stack(parts, 1),
         {"a": (4, 5), "b": (4, 5), "c": (4, 5)}, as_list=True, axis=1)  # fmt: skip
function("tril", "tril", lambda x: x.tril(-1), cube, k=-1)
function("triu", "triu", lambda x: x.triu(1), cube, k=1)
