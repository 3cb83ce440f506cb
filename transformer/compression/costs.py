r"""What each layer costs, by formula: FLOPs forward and backward, numbers kept for the backward pass, numbers in the KV cache.

A multiply–add is 2 FLOPs, and only matrix products count: the product of (n, k) and (k, m) is :math:`2nkm`.  Its backward pass is two
more, :math:`\bar A = \bar C B^\top` and :math:`\bar B = A^\top \bar C`, so training is three times the forward pass; less where an input or a weight
wants no gradient, more where something is computed again.  Elementwise ops, norms, softmax and lookups count nothing: they
are a few operations for each number, and their time is that of moving the numbers.

Causal attention: our blocks skip keys that no query of a block may see, so :math:`QK^\top` and :math:`PV` are counted as computed; with
``dense`` they are counted whole, :math:`4 B H T S D`, as most papers and PyTorch's counter do.

Sources: Kaplan et al. (2020), section 2.1 (FLOPs of a Transformer); Korthikanti et al. (2022), section 4.1 (activations).
``B`` batch, ``T`` length, ``S`` source length, ``n`` rows (B · T), ``C`` width, ``H`` heads or hidden width, ``D`` head width; of latent
attention, ``L`` width of the latent vector, ``R`` of the turned key; of experts, ``E`` all of them, ``k`` for each token.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

from minigrad import nn
from minigrad.ops import norms
from minigrad.ops.attention import KEPT, ROWS

from ..attention import MultiHeadAttention
from ..layers import Decoder, DecoderLayer, Encoder, EncoderLayer, FeedForward, NoFeedForward, NoNorm, RMSNorm, SwiGLU
from ..models.experts import Experts
from ..models.latent import LatentAttention
from ..positions import AlibiBias, LearnedPositions, Positions, RotaryPositions, SinusoidalPositions
from .adapters import LowRank


@dataclass(frozen=True)
class Cost:
    """FLOPs forward and backward; how many numbers are ``kept`` for the backward pass, and how many a KV ``cache`` holds."""

    forward: int = 0
    backward: int = 0
    kept: int = 0
    cache: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, times: int) -> Cost:
        return Cost(*(times * a for a in astuple(self)))


Part = tuple[str, str, Cost]  # the module's name, what it does there, and what that costs


def kept(numbers: int) -> Cost:
    """An op without products whose result is kept."""
    return Cost(kept=numbers)


def product(n: int, k: int, m: int, left: bool = True, right: bool = True) -> Cost:
    """(n, k) @ (k, m); ``left`` and ``right``: which factors want a gradient."""
    return Cost(2 * n * k * m, 2 * n * k * m * (left + right), n * m)


# Layers ------------------------------------------------------------------------------------------------------------------


def linear(m: Any, n: int, wants: bool = True) -> Cost:
    """x (n, in) → (n, out); ``wants``: x wants a gradient."""
    if isinstance(m, LowRank):  # the map itself, two thin products, and the sum
        (rows, rank), columns = m.A.shape, m.B.shape[1]
        return linear(m.base, n, wants) + product(n, rows, rank, wants) + product(n, rank, columns) + kept(2 * n * columns)
    n_in, n_out = m.weight.shape
    return product(n, n_in, n_out, wants, m.weight.requires_grad)


def activated(m: Any, n: int, activation: str, fused: bool = True) -> Cost:
    """A linear map and an activation, of which the result is kept, and of the gelus and silu the slope too.

    ``fused``, gelu and the linear map are one op, which keeps the slope in place of the linear map's result, and computes both gradients.
    """
    one_op = fused and activation == "gelu" and type(m) is nn.Linear
    slopes = activation in ("gelu", "gelu_erf", "silu") and not one_op
    cost = linear(m, n) + kept((1 + slopes) * n * out_features(m))
    return cost + Cost(backward=cost.forward * (one_op and not m.weight.requires_grad))


def out_features(m: Any) -> int:
    return (m.base if isinstance(m, LowRank) else m).weight.shape[1]


def norm(m: Any, n: int) -> Cost:
    """Result, 1/σ of each row, and of a layer norm x̂, or where that is much the means."""
    if isinstance(m, NoNorm):
        return Cost()
    width = m.weight.size
    return kept(n * (width + 1 + (0 if isinstance(m, RMSNorm) else width if n * width <= norms.KEPT else 1)))


def dropout(m: nn.Dropout, numbers: int) -> Cost:
    return kept(2 * numbers if m.p else 0)  # the mask and the product


def feed_forward(m: nn.Module, n: int) -> Cost:
    """Two linear maps and an activation, or three and a gate."""
    if isinstance(m, Experts):
        return experts(m, n)
    if isinstance(m, SwiGLU):
        inner = n * out_features(m.up)
        return activated(m.gate, n, "silu") + linear(m.up, n) + kept(inner) + dropout(m.dropout, inner) + linear(m.down, n)
    if isinstance(m, FeedForward):
        inner = n * out_features(m.up)
        return activated(m.up, n, m.activation) + dropout(m.dropout, inner) + linear(m.down, n)
    if isinstance(m, NoFeedForward):
        return kept(n * m.embedding_dim)
    raise TypeError(f"count: no formula for a feed-forward of type {type(m).__name__}; it knows FeedForward, SwiGLU and NoFeedForward")


def experts(m: Experts, n: int) -> Cost:
    """The router, and k experts for each token: their number changes the parameters, and not the products."""
    E, C, F = m.gate.shape
    k, rows = m.per_token, n * m.per_token
    router = linear(m.router, n) + kept(n * E + rows)  # the probabilities, and those of the chosen
    if k > 1:
        router = router + kept(n + rows)  # their sum, and their parts of it
    inner = product(rows, C, F) * 2 + product(rows, F, C) + kept(rows * F * 3)  # silu, its slope, and the gated product
    around = kept(rows * C * 3 + n * C)  # taken, put back, weighted, summed
    shared = Cost() if m.shared is None else feed_forward(m.shared, n) + kept(n * out_features(m.shared.down))
    return router + inner + around + shared


def embedded(m: Positions, B: int, T: int, C: int) -> Cost:
    if isinstance(m, SinusoidalPositions):
        return kept(B * T * C + T * C)
    return kept(B * T * C if isinstance(m, LearnedPositions) else 0)


def rotated(m: Positions, heads: int, B: int, T: int, D: int) -> Cost:
    """Turning queries or keys: four products, a sum and a difference of halves, and the two halves side by side."""
    if not isinstance(m, RotaryPositions):
        return Cost()
    return kept((5 if m.interleaved else 4) * B * heads * T * D + 2 * T * D)


# Attention ---------------------------------------------------------------------------------------------------------------


def visible(T: int, S: int, causal: bool) -> int:
    """How many (query, key) pairs our blocks compute: of each block of queries, all keys up to its last query."""
    if not causal:
        return T * S
    rows = min(T, max(ROWS, min(2 * ROWS, T // 4)))
    return sum(min(rows, t) * max(0, S - T + t) for t in range(T, 0, -rows))


def scores(m: Any, B: int, T: int, S: int, causal: bool, dense: bool) -> Cost:
    """softmax(QKᵀ) V, keys D wide and values V: two products; backward four, and QKᵀ again where the weights are too many to keep."""
    H, D, V = m.num_heads, m.head_dim, m.head_dim
    if isinstance(m, LatentAttention):
        D, V = D + m.rotary_dim, m.value_dim
    pairs = B * H * (T * S if dense else visible(T, S, causal))
    remembered = B * H * T * S <= KEPT
    bias = (H if isinstance(m.positions, AlibiBias) else 1 if getattr(m, "window", None) else 0) * T * S
    again = 0 if remembered or dense else 2 * pairs * D
    return Cost(2 * pairs * (D + V), 4 * pairs * (D + V) + again, (pairs if remembered else B * H * T) + B * T * H * V + bias)


def projections(m: MultiHeadAttention, B: int, T: int, S: int, wants: bool = True) -> Cost:
    """Q, K, V and the output; a cache holds K and V.  ``wants``: the input wants a gradient."""
    q, k, v = (linear(p, B * n, wants) for p, n in ((m.q_proj, T), (m.k_proj, S), (m.v_proj, S)))
    out = linear(m.out_proj, B * T)
    turned = rotated(m.positions, m.num_heads, B, T, m.head_dim) + rotated(m.positions, m.num_kv_heads, B, S, m.head_dim)
    normed = Cost()
    if m.q_norm is not None:  # head after head in memory, and so is the result, until it is copied to put the heads side by side
        normed = norm(m.q_norm, B * T * m.num_heads) + norm(m.k_norm, B * S * m.num_kv_heads) + kept(B * T * m.num_heads * m.head_dim)
    held = S if m.window is None else min(S, m.window.size + m.window.sinks)
    return q + k + v + out + normed + turned + Cost(cache=2 * B * held * m.num_kv_heads * m.head_dim)


def latent_projections(m: LatentAttention, B: int, T: int, wants: bool) -> Cost:
    """To the latent vectors and up again; a cache holds one latent vector and one turned key."""
    H, D, R, L, n = m.num_heads, m.head_dim, m.rotary_dim, m.latent_dim, B * T
    cost = linear(m.kv_down, n, wants) + norm(m.kv_norm, n) + linear(m.k_up, n) + linear(m.v_up, n) + linear(m.out_proj, n)
    if m.q_down is None:
        cost += linear(m.q_proj, n, wants)
    else:
        cost += linear(m.q_down, n, wants) + norm(m.q_norm, n) + linear(m.q_proj, n)
    if m.k_rotary is not None:  # turned, and put beside what is not
        turned = rotated(m.positions, H, B, T, R) + rotated(m.positions, 1, B, T, R)
        cost += linear(m.k_rotary, n, wants) + turned + kept(2 * n * H * (D + R))
    return cost + Cost(cache=n * (L + R))


def attention(name: str, m: Any, B: int, T: int, S: int, causal: bool, dense: bool, wants: bool = True) -> Iterator[Part]:
    latent = isinstance(m, LatentAttention)  # in training and reading at once keys and values are made, and attention is the usual one
    yield name, "projections", latent_projections(m, B, T, wants) if latent else projections(m, B, T, S, wants)
    yield name, "scores", scores(m, B, T, S, causal, dense)


def sublayer(m: Any, norm_module: Any, B: int, T: int) -> Cost:
    """Norm, dropout and the sum around a sub-layer."""
    n, C = B * T, out_features(m.self_attention.out_proj)
    return norm(norm_module, n) + dropout(m.dropout, n * C) + kept(n * C)


def encoder_layer(
    name: str, m: EncoderLayer, B: int, T: int, causal: bool = False, dense: bool = False, wants: bool = True
) -> Iterator[Part]:
    yield from attention(f"{name}.self_attention", m.self_attention, B, T, T, causal, dense, wants)
    yield f"{name}.ffn", "feed-forward", feed_forward(m.ffn, B * T)
    yield name, "norms and sums", sublayer(m, m.norm1, B, T) + sublayer(m, m.norm2, B, T)


def decoder_layer(name: str, m: DecoderLayer, B: int, T: int, S: int, dense: bool = False) -> Iterator[Part]:
    yield from attention(f"{name}.self_attention", m.self_attention, B, T, T, True, dense)
    yield from attention(f"{name}.cross_attention", m.cross_attention, B, T, S, False, dense)
    yield f"{name}.ffn", "feed-forward", feed_forward(m.ffn, B * T)
    yield name, "norms and sums", sublayer(m, m.norm1, B, T) + sublayer(m, m.norm2, B, T) + sublayer(m, m.norm3, B, T)


def encoder(name: str, m: Encoder, B: int, T: int, dense: bool) -> Iterator[Part]:
    """All layers, and the last norm if there is one; nothing is cached."""
    for i, layer in enumerate(m.layers):
        for module, part, cost in encoder_layer(f"{name}.layers.{i}", layer, B, T, False, dense):
            yield module, part, Cost(cost.forward, cost.backward, cost.kept)
    if m.norm is not None:
        yield f"{name}.norm", "norm", norm(m.norm, B * T)


def decoder(name: str, m: Decoder, B: int, T: int, S: int, dense: bool) -> Iterator[Part]:
    for i, layer in enumerate(m.layers):
        yield from decoder_layer(f"{name}.layers.{i}", layer, B, T, S, dense)
    if m.norm is not None:
        yield f"{name}.norm", "norm", norm(m.norm, B * T)
