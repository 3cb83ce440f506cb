"""What latent attention and mixtures of experts cost, by formula (see ``costs`` for what counts).

``B`` batch, ``T`` length, ``n`` tokens, ``H`` heads, ``D`` head width, ``L`` width of the latent vector, ``R`` of the
turned key, ``E`` experts, ``k`` of them for each token.
"""

from __future__ import annotations

from collections.abc import Iterator

from minigrad.ops.attention import KEPT

from ..models.experts import Experts
from ..models.latent import LatentAttention
from ..positions import AlibiBias
from .costs import (
    ATTENTIONS,
    FEED_FORWARDS,
    Cost,
    Part,
    feed_forward,
    kept,
    linear,
    norm,
    out_features,
    product,
    rotated,
    visible,
)


def latent_projections(m: LatentAttention, B: int, T: int, wants: bool = True) -> Cost:
    """To the latent vectors and up again; a cache holds one latent vector and one turned key."""
    H, D, R, L, n = m.num_heads, m.head_dim, m.rotary_dim, m.latent_dim, B * T
    down = (
        linear(m.kv_down, n, wants) + norm(m.kv_norm, n) + linear(m.k_up, n) + linear(m.v_up, n) + linear(m.out_proj, n)
    )
    if m.q_down is None:
        q = linear(m.q_proj, n, wants)
    else:
        q = linear(m.q_down, n, wants) + norm(m.q_norm, n) + linear(m.q_proj, n)
    turned = Cost()
    if m.k_rotary is not None:
        side_by_side = kept(2 * n * H * (D + R))
        turned = (
            linear(m.k_rotary, n, wants)
            + rotated(m.positions, H, B, T, R)
            + rotated(m.positions, 1, B, T, R)
            + side_by_side
        )
    return q + down + turned + Cost(cache=n * (L + R))


def latent_attention(
    name: str, m: LatentAttention, B: int, T: int, S: int, causal: bool, dense: bool, wants: bool = True
) -> Iterator[Part]:
    """Training and reading at once: keys and values are made, and attention is the usual one."""
    yield name, "projections", latent_projections(m, B, T, wants)
    H, D, V = m.num_heads, m.head_dim + m.rotary_dim, m.value_dim
    pairs = B * H * (T * T if dense else visible(T, T, causal))
    remembered = B * H * T * T <= KEPT
    bias = H * T * T if isinstance(m.positions, AlibiBias) else 0
    again = 0 if remembered or dense else 2 * pairs * D
    held = (pairs if remembered else B * H * T) + B * T * H * V + bias
    yield name, "scores", Cost(2 * pairs * (D + V), 4 * pairs * (D + V) + again, held)


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


ATTENTIONS[LatentAttention] = latent_attention
FEED_FORWARDS[Experts] = experts
