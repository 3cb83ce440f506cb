r"""The block: attention and a feed-forward network, each wrapped in Add & Norm.

- post-norm, as in the paper: :math:`x \leftarrow \operatorname{Norm}(x + f(x))`
- pre-norm, which trains more easily: :math:`x \leftarrow x + f(\operatorname{Norm}(x))`

Sources: Vaswani et al. (2017), section 3.1; Xiong et al. (2020) for pre-norm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minigrad import Tensor, gelu, layer_norm, nn, relu, rms_norm, silu

from .attention import KVCache, MultiHeadAttention
from .positions import Positions

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": relu, "gelu": gelu, "gelu_erf": partial(gelu, approximate="none"), "silu": silu}


class LayerNorm(nn.Module):
    """Mean 0 and variance 1 along the last axis, then a learned scale and shift.  Source: Ba, Kiros & Hinton (2016)."""

    def __init__(self, embedding_dim: int, bias: bool = True, eps: float = 1e-5) -> None:
        self.weight = nn.Parameter(np.ones(embedding_dim))
        self.bias = nn.Parameter(np.zeros(embedding_dim)) if bias else None
        self.eps = checked_eps("LayerNorm", eps)

    def forward(self, x: Any) -> Tensor:
        """(..., C) → (..., C)."""
        return layer_norm(x, self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """Root mean square 1 along the last axis, then a learned scale.  Source: Zhang & Sennrich (2019)."""

    def __init__(self, embedding_dim: int, bias: bool = False, eps: float = 1e-6) -> None:
        self.weight = nn.Parameter(np.ones(embedding_dim))
        self.eps = checked_eps("RMSNorm", eps)

    def forward(self, x: Any) -> Tensor:
        """(..., C) → (..., C)."""
        return rms_norm(x, self.weight, self.eps)


class NoNorm(nn.Module):
    """No norm at all, where a block expects one: every output is then a sum of products of the weights, as a circuit is."""

    def __init__(self, embedding_dim: int, bias: bool = False) -> None:
        pass

    def forward(self, x: Any) -> Any:
        """x itself."""
        return x


def checked_eps(what: str, eps: float) -> float:
    """ValueError unless it is a number that keeps a division from failing, and does no more."""
    if isinstance(eps, bool) or not isinstance(eps, int | float | np.number) or not 0 <= eps < 1:
        raise ValueError(f"{what}: eps={eps!r}; expected a small number from 0 on, such as 1e-5")
    return eps


class FeedForward(nn.Module):
    """Two linear maps with an activation between them, at each position alike: (..., C) → (..., ffn_dim) → (..., C)."""

    writes = "down"  # into the residual stream

    def __init__(self, embedding_dim: int, ffn_dim: int | None = None, activation: str = "relu", dropout: float = 0.0, bias: bool = True) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"FeedForward: activation {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        ffn_dim = 4 * embedding_dim if ffn_dim is None else ffn_dim
        self.up = nn.Linear(embedding_dim, ffn_dim, bias)
        self.down = nn.Linear(ffn_dim, embedding_dim, bias)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Tensor:
        """down(act(up(x)))."""
        return self.down(self.dropout(self.up(x, ACTIVATIONS[self.activation])))


class SwiGLU(nn.Module):
    """silu(gate(x)) ⊙ up(x), projected down; a third matrix, so ffn_dim is 8/3·C by default.  Source: Shazeer (2020), eq. 6."""

    writes = "down"

    def __init__(self, embedding_dim: int, ffn_dim: int | None = None, dropout: float = 0.0, bias: bool = False) -> None:
        ffn_dim = max(1, round(8 * embedding_dim / 3)) if ffn_dim is None else ffn_dim
        self.gate = nn.Linear(embedding_dim, ffn_dim, bias)
        self.up = nn.Linear(embedding_dim, ffn_dim, bias)
        self.down = nn.Linear(ffn_dim, embedding_dim, bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Tensor:
        """(..., C) → (..., C)."""
        return self.down(self.dropout(silu(self.gate(x)) * self.up(x)))


class NoFeedForward(nn.Module):
    """Zeros, where a block expects a feed-forward network: what is left is a model of attention alone.  Source: Elhage et al. (2021)."""

    def __init__(self, embedding_dim: int, ffn_dim: int | None = None, bias: bool = False) -> None:
        self.embedding_dim = embedding_dim

    def forward(self, x: Any) -> Any:
        """(..., C) → (..., C)."""
        return 0.0 * x


class _Block(nn.Module):
    """What encoder and decoder layers share: their parts, and how a sub-layer is added and normed.

    ``norm`` is a class such as RMSNorm, ``ffn`` a Module in place of the FeedForward, ``positions`` a scheme for the self-attention, and
    ``attention`` what makes that, called as MultiHeadAttention is.
    """

    crosses = False  # whether it looks at an encoder's output

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        ffn_dim: int | None = None,
        dropout: float = 0.0,
        norm_first: bool = False,
        activation: str = "relu",
        num_kv_heads: int | None = None,
        positions: Positions | None = None,
        norm: Callable[..., nn.Module] = LayerNorm,
        ffn: nn.Module | None = None,
        bias: bool = True,
        attention: Callable[..., nn.Module] = MultiHeadAttention,
    ) -> None:
        self.norm1 = norm(embedding_dim, bias=bias)
        self.self_attention = attention(embedding_dim, num_heads, num_kv_heads, bias, dropout, positions)
        self.norm2 = norm(embedding_dim, bias=bias)
        if self.crosses:
            self.cross_attention = MultiHeadAttention(embedding_dim, num_heads, num_kv_heads, bias, dropout)
            self.norm3 = norm(embedding_dim, bias=bias)
        self.ffn = FeedForward(embedding_dim, ffn_dim, activation, 0.0, bias) if ffn is None else ffn
        self.dropout = nn.Dropout(dropout)
        self.norm_first = norm_first

    def add(self, x: Any, norm: nn.Module, sublayer: Callable[[Any], Any]) -> Any:
        """Add & Norm around one sub-layer."""
        if self.norm_first:
            return x + self.dropout(sublayer(norm(x)))
        return norm(x + self.dropout(sublayer(x)))

    def scale_residuals(self, factor: float) -> None:
        """Shrink the projections that write into the residual stream, so that its variance does not grow with depth.
        Source: Radford et al. (2019), section 2.3."""
        for module in self.modules():
            if written := getattr(type(module), "writes", None):  # the name of a Linear, or of a Parameter
                last = getattr(module, written)
                weight = last if isinstance(last, nn.Parameter) else last.weight
                weight.data *= np.float32(factor)


class EncoderLayer(_Block):
    """Self-attention, then feed-forward; with ``causal`` it is a GPT block."""

    def forward(self, x: Any, mask: Any = None, causal: bool = False, cache: KVCache | None = None) -> Tensor:
        """(B, T, C) → (B, T, C)."""
        x = self.add(x, self.norm1, lambda h: self.self_attention(h, mask=mask, causal=causal, cache=cache))
        return self.add(x, self.norm2, self.ffn)


class DecoderLayer(_Block):
    """Self-attention, causal unless told otherwise, cross-attention to the encoder's output, then feed-forward."""

    crosses = True

    def forward(
        self,
        x: Any,
        memory: Any,
        mask: Any = None,
        memory_mask: Any = None,
        cache: KVCache | None = None,
        causal: bool = True,
    ) -> Tensor:
        """(B, T, C), memory (B, S, C) → (B, T, C); with ``causal`` False the mask alone decides."""
        x = self.add(x, self.norm1, lambda h: self.self_attention(h, mask=mask, causal=causal, cache=cache))
        known = None if cache is None else cache.memory(memory.shape[1])
        x = self.add(x, self.norm2, lambda h: self.cross_attention(h, memory, mask=memory_mask, cache=known))
        return self.add(x, self.norm3, self.ffn)


class _Stack(nn.Module):
    """``num_layers`` layers one after the other, with a layer's own sizes and options; a last norm when pre-norm, or as ``final_norm`` says."""

    layer: Callable[..., Any]

    def __init__(self, num_layers: int, *sizes: Any, final_norm: bool | None = None, **options: Any) -> None:
        if num_layers < 1:
            raise ValueError(f"{type(self).__name__}: num_layers={num_layers}; expected 1 or more")
        if isinstance(options.get("ffn"), nn.Module):
            raise ValueError(f"{type(self).__name__}: one ffn cannot serve {num_layers} layers; build them one by one")
        self.layers = nn.ModuleList([type(self).layer(*sizes, **options) for _ in range(num_layers)])
        for layer in self.layers:
            layer.scale_residuals(1 / math.sqrt(2 * num_layers))
        wanted = self.layers[0].norm_first if final_norm is None else final_norm
        self.norm = options.get("norm", LayerNorm)(sizes[0] if sizes else options["embedding_dim"]) if wanted else None


class Encoder(_Stack):
    """A stack of encoder layers."""

    layer = EncoderLayer

    def forward(self, x: Any, mask: Any = None) -> Tensor:
        """(B, S, C) → (B, S, C)."""
        for layer in self.layers:
            x = layer(x, mask)
        return x if self.norm is None else self.norm(x)


class Decoder(_Stack):
    """A stack of decoder layers."""

    layer = DecoderLayer

    def forward(
        self,
        x: Any,
        memory: Any,
        mask: Any = None,
        memory_mask: Any = None,
        cache: KVCache | None = None,
        causal: bool = True,
    ) -> Tensor:
        """(B, T, C), memory (B, S, C) → (B, T, C); arguments as for a layer."""
        for i, layer in enumerate(self.layers):
            x = layer(x, memory, mask, memory_mask, None if cache is None else cache.layer(i), causal)
        return x if self.norm is None else self.norm(x)
