r"""What the engine recorded: the only file of this room that knows how a graph is kept.

A tensor that an op made remembers the op, its inputs, their arrays and the op's parameters.  Everything else here
works on ``Call``: one op that ran, which can be run again on other arrays, or be pulled back: :math:`\bar y \mapsto
(\bar x_1, \bar x_2, \dots)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import graph, watch
from ..graph import FREED, REGISTRY, Example, Op, Value
from ..modes import enable_grad
from ..tensor import Tensor, upstream_gradient

__all__ = ["REGISTRY", "Call", "Example", "Op"]
NAMES = {"pick": "indexing", "select": "where", "_gelu_tanh": "gelu", "_gelu_erf": "gelu"}
unbroadcast = graph.unbroadcast


@dataclass(eq=False)
class Call:
    """One op that ran: what it read, what it made."""

    result: Value
    op: Any
    inputs: tuple[Any, ...]
    arrays: list[Any]
    params: dict[str, Any]

    @property
    def name(self) -> str:
        """The op's name as the user knows it."""
        return NAMES.get(self.op.name, self.op.name.lstrip("_"))

    @property
    def out(self) -> np.ndarray:
        """The array that it made."""
        return self.result.data

    def param(self, name: str) -> Any:
        """A parameter, or its default."""
        return self.params.get(name, self.op.defaults.get(name))

    def wants(self, i: int) -> bool:
        """Whether input ``i`` is a tensor that wants a gradient."""
        return isinstance(self.inputs[i], Value) and self.inputs[i].requires_grad

    def forward(self, arrays: Sequence[Any]) -> np.ndarray:
        """The op on other arrays."""
        return np.asarray(self.op.forward(*arrays, **self.own_params()))

    def pull(self, g: np.ndarray, out: np.ndarray, arrays: Sequence[Any]) -> list[Any]:
        """What the op's rule hands to each input (before sums over broadcast axes), None for those that want none."""
        params = self.own_params()
        if self.op.saves:
            params["saved"] = None
        if self.op.joint:
            given = list(self.op.joint(g, out, *arrays, **params))
        else:
            given = [
                rule(g, out, *arrays, **params) if rule and self.wants(i) else None
                for i, rule in enumerate(self.op.rules)
            ]
        return [np.asarray(r) if r is not None and self.wants(i) else None for i, r in enumerate(given)]

    def handed(self, g: np.ndarray) -> list[Any]:
        """The same, as the engine does it in its own backward pass; RuntimeError when an array was written since."""
        if watch.last_write > self.result.tick:
            watch.refuse_written(self.result, self.op, self.arrays)
        given = list(self.op.joint(g.copy(), self.out, *self.arrays, **self.params)) if self.op.joint else None
        rules = self.op.rules
        handed = [
            (
                None
                if not self.wants(i)
                else given[i] if given else rules[i](g.copy(), self.out, *self.arrays, **self.params)
            )
            for i in range(len(self.inputs))
        ]
        return [None if r is None else np.asarray(r) for r in handed]

    def own_params(self) -> dict[str, Any]:
        return {k: v for k, v in self.params.items() if k != "saved"}


def is_tensor(x: Any) -> bool:
    """Whether ``x`` is a Tensor."""
    return isinstance(x, Value)


def call_of(t: Any) -> Call | None:
    """The op that made ``t``, None for what was given."""
    return Call(t, *t.history[:4]) if t.history else None


def inputs_of(t: Any) -> tuple[Any, ...]:
    """What the op that made ``t`` read; nothing for what was given."""
    return t.history[1] if t.history else ()


def is_result(t: Any) -> bool:
    """Whether an op made ``t``."""
    return bool(t.history)


def made_at(t: Any) -> int:
    """When ``t`` was made."""
    return t.tick


def recorded_order(output: Any, name: str) -> list[Any]:
    """The tensors from which ``output`` was computed, oldest first, itself last; errors speak for the function
    ``name``."""
    if not isinstance(output, Value):
        raise TypeError(
            f"{name}: expected a Tensor, got {type(output).__name__}; .data, float() and np.asarray cut the graph"
        )
    if not output.requires_grad:
        raise RuntimeError(
            f"{name}: this tensor does not require grad, so no op was recorded. Make the inputs with Tensor(data,"
            " requires_grad=True)"
        )
    stack, seen, order = [output], {id(output)}, []
    while stack:
        t = stack.pop()
        order.append(t)
        if t.history is FREED:
            raise RuntimeError(
                f"{name}: backward() has freed this graph. Call {name} before backward(), or keep it with"
                " backward(retain_graph=True)"
            )
        for x in t.history[1] if t.history else ():
            if isinstance(x, Value) and x.requires_grad and id(x) not in seen:
                seen.add(id(x))
                stack.append(x)
    return sorted(order, key=lambda t: t.tick if t.history else 0)


def clock() -> int:
    """A tick: whatever is recorded later has a greater one."""
    return graph.now()


def gradients(output: Any, tensors: Sequence[Any], upstream: Any = None) -> list[Any]:
    """The gradient of ``output`` with respect to each of ``tensors``, as arrays; the graph stays."""
    return graph.pullback([output], [upstream_gradient(output, upstream).data], wrt=tensors, retain_graph=True)


def in_shape(r: Any, like: np.ndarray) -> np.ndarray:
    """What a rule gave, in the shape and the precision of its input."""
    return conform(r, like).astype(like.dtype, copy=False)


def conform(r: Any, like: Any) -> np.ndarray:
    """What a rule gave, summed to the shape of its input."""
    r = np.asarray(r)
    return r if r.shape == np.shape(like) else unbroadcast(r, np.shape(like))


# The numbers inside library ops ---------------------------------------------------------------------------------------


def sigmoid(x: Any) -> np.ndarray:
    """The logistic function on arrays."""
    return REGISTRY["sigmoid"].forward(np.asarray(x))


def softmax(x: Any) -> np.ndarray:
    """Softmax over the last axis, on arrays."""
    return REGISTRY["softmax"].forward(np.asarray(x))


def attention_mask(call: Call) -> np.ndarray | None:
    """The dropout mask of the weights of an attention; None without dropout."""
    from ..ops.attention import dropout_matrix

    q, k, v = call.arrays[:3]
    return None if call.param("drop") is None else dropout_matrix(q, k, v, call.param("causal"), call.param("drop"))


def attention_weights(call: Call) -> np.ndarray:
    """The weights of an attention before dropout."""
    from ..ops.attention import attention_twin

    q, k, v, bias = call.arrays
    _, weights = attention_twin(q, k, v, bias, call.param("mask"), call.param("causal"), call.param("scale"))
    return np.asarray(weights)


def twin_of(op: Any) -> Callable[..., Any] | None:
    """A library op in plain operations, where there is such a definition."""
    return op.twin


# Library ops in steps that one would write by hand --------------------------------------------------------------------


def steps_of(call: Call) -> tuple[list[Any], Any] | None:
    """A library op in plainer ones: stand-ins for its inputs, and the result computed from them; None for an op that
    is plain."""
    expand = EXPANSIONS.get(call.op.name)
    if expand is None:
        return None
    stand_ins = [
        Tensor(a, requires_grad=True) if call.wants(i) else x
        for i, (x, a) in enumerate(zip(call.inputs, call.arrays, strict=True))
    ]
    with enable_grad():
        return stand_ins, expand(*stand_ins, **call.own_params())


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    from ..ops.linear import matmul

    y = matmul(x, weight)
    return y if bias is None else y + bias


def _linear_gelu(x: Any, weight: Any, bias: Any = None) -> Any:
    from ..ops.activations import gelu

    return gelu(_linear(x, weight, bias))


def _layer_norm(x: Any, weight: Any, bias: Any = None, eps: float = 1e-5) -> Any:
    from ..ops.arithmetic import sqrt
    from ..ops.reductions import mean

    centred = x - mean(x, axis=-1, keepdims=True)
    y = centred / sqrt(mean(centred * centred, axis=-1, keepdims=True) + eps) * weight
    return y if bias is None else y + bias


def _rms_norm(x: Any, weight: Any, eps: float = 1e-6) -> Any:
    from ..ops.arithmetic import sqrt
    from ..ops.reductions import mean

    return x / sqrt(mean(x * x, axis=-1, keepdims=True) + eps) * weight


def _attention(
    q: Any,
    k: Any,
    v: Any,
    bias: Any = None,
    mask: Any = None,
    causal: bool = False,
    scale: float | None = None,
    drop: Any = None,
) -> Any:
    from ..ops.attention import dropout_matrix, future, shared_heads
    from ..ops.fused import softmax
    from ..ops.linear import matmul

    keep = None if drop is None else dropout_matrix(graph.plain(q), graph.plain(k), graph.plain(v), causal, drop)
    k, v = shared_heads(q, k), shared_heads(q, v)
    scores = matmul(q, k.mT) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    fixed = future(*scores.shape[-2:], scores.dtype) if causal else None
    fixed = mask if fixed is None else fixed if mask is None else fixed + mask
    for added in (bias, fixed):
        scores = scores if added is None else scores + added
    weights = softmax(scores)
    return matmul(weights if keep is None else weights * keep, v)


def _cross_entropy(
    x: Any, targets: np.ndarray, ignore_index: int | None = None, label_smoothing: float = 0.0, reduction: str = "mean"
) -> Any:
    from ..ops.fused import log_softmax
    from ..ops.reductions import mean, sum

    v = x.shape[-1]
    counted = np.ones(targets.shape, bool) if ignore_index is None else targets != ignore_index
    wanted = np.where(counted, targets, 0)[..., None] == np.arange(v)
    losses = sum(log_softmax(x) * -((1 - label_smoothing) * wanted + label_smoothing / v), axis=-1)
    kept = losses if counted.all() else losses * counted.astype(float)
    if reduction == "none":
        return kept
    return (
        mean(kept)
        if reduction == "mean" and counted.all()
        else sum(kept) / max(1, int(counted.sum())) if reduction == "mean" else sum(kept)
    )


EXPANSIONS: dict[str, Callable[..., Any]] = {
    "linear": _linear, "linear_gelu": _linear_gelu, "layer_norm": _layer_norm, "rms_norm": _rms_norm,
    "attention": _attention,
    "_cross_entropy": _cross_entropy,
}  # fmt: skip
