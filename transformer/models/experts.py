r"""Mixture of experts: many feed-forward networks, of which a router picks a few for each token.

.. math:: P = \operatorname{softmax}(x W_r), \qquad y = \sum_{e \in \operatorname{top}_k(P)} \frac{P_e}{\sum_{e' \in \operatorname{top}_k} P_{e'}}
   \operatorname{SwiGLU}_e(x)

Left alone, a router that once prefers an expert trains it more, and prefers it more.  The load-balance loss is least
when tokens are spread evenly, and the router's gradient of it pushes down what is crowded:

.. math:: \ell = E \sum_e f_e \bar P_e, \qquad f_e \text{ choices of expert } e \text{ per token}, \quad \bar P_e \text{ its mean probability.}

Sources: Shazeer et al. (2017), section 2; Fedus, Zoph & Shazeer (2022), section 2.2, eq. 4 to 6; Jiang et al. (2024),
"Mixtral of experts", section 2.1; Dai et al. (2024), "DeepSeekMoE", section 3.2 for a shared expert.  ``N`` tokens,
``E`` experts, ``k`` for each token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from minigrad import Tensor, grouped_linear, nn, recorded, silu, softmax, take, take_along_axis
from minigrad.random import generator

from ..attention import keeping
from ..layers import SwiGLU


class Routing(NamedTuple):
    """One call of an Experts layer: the router's probabilities (N, E), and each token's experts (N, k), best first."""

    probabilities: Tensor
    chosen: np.ndarray


class Experts(nn.Module):
    """SwiGLU networks, ``per_token`` of them for each token: (..., C) → (..., C); a ``shared_dim`` adds one for all.

    ``ffn_dim`` is the width of one expert, by default such that a token's experts together cost what one SwiGLU would.
    With one expert per token its output is multiplied by P itself, or else nothing would teach the router.  Experts
    have no biases, whatever ``bias`` says.
    """

    writes = "down"  # into the residual stream
    kept_routings: list[Routing] | None = None  # filled by routings()

    def __init__(
        self,
        embedding_dim: int,
        ffn_dim: int | None = None,
        bias: bool = False,
        num_experts: int = 8,
        per_token: int = 2,
        shared_dim: int = 0,
    ) -> None:
        if not 1 <= per_token <= num_experts:
            raise ValueError(f"Experts: per_token={per_token} of num_experts={num_experts}; expected 1 up to all of them")
        ffn_dim = max(1, round(8 * embedding_dim / (3 * per_token))) if ffn_dim is None else ffn_dim
        self.num_experts, self.per_token = num_experts, per_token
        self.router = nn.Linear(embedding_dim, num_experts, bias=False)
        self.gate = stacked(num_experts, embedding_dim, ffn_dim)  # (E, C, F)
        self.up = stacked(num_experts, embedding_dim, ffn_dim)
        self.down = stacked(num_experts, ffn_dim, embedding_dim)  # (E, F, C)
        self.shared = SwiGLU(embedding_dim, shared_dim) if shared_dim else None

    def forward(self, x: Any) -> Tensor:
        """Only the chosen experts are computed: tokens are sorted by expert, go through in groups, and back."""
        rows = x.reshape(-1, x.shape[-1])  # (N, C)
        P = softmax(self.router(rows))  # (N, E)
        chosen = likeliest(P, self.per_token)  # (N, k)
        weights = take_along_axis(P, chosen, -1)
        if self.per_token > 1:
            weights = weights / weights.sum(axis=-1, keepdims=True)
        token, back, counts = sorting(chosen, self.num_experts)
        h = take(rows, token, 0)  # (N·k, C), expert after expert
        h = silu(grouped_linear(h, self.gate, counts)) * grouped_linear(h, self.up, counts)
        h = take(grouped_linear(h, self.down, counts), back, 0)  # (N·k, C), token after token
        y = (h.reshape(-1, self.per_token, x.shape[-1]) * weights[..., None]).sum(axis=1)
        if self.kept_routings is not None:
            self.kept_routings.append(Routing(P, chosen))
        y = y.reshape(x.shape)
        return y if self.shared is None else y + self.shared(x)


def stacked(num_experts: int, n_in: int, n_out: int) -> nn.Parameter:
    """A matrix for each expert, (E, in, out), drawn as a Linear draws its own."""
    if num_experts < 1 or n_in < 1 or n_out < 1:
        raise ValueError(f"Experts: sizes must be positive, got {num_experts} experts of {n_in} → {n_out}")
    return nn.Parameter(generator().normal(0, n_in**-0.5, (num_experts, n_in, n_out)))


@recorded
def likeliest(P: np.ndarray, k: int) -> np.ndarray:
    """(N, k): the experts with the largest probabilities (N, E), in order; of equal ones the first."""
    return np.argsort(-P, axis=-1, kind="stable")[:, :k]


@recorded
def sorting(chosen: np.ndarray, num_experts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The choices (N, k) expert after expert: of which token each is, where each lies now, how many an expert has (E,)."""
    order = np.argsort(chosen.ravel(), kind="stable")
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    return order // chosen.shape[1], back, np.bincount(chosen.ravel(), minlength=num_experts)


# Balance -----------------------------------------------------------------------------------------------------------------


def routings(model: nn.Module) -> AbstractContextManager[dict[str, list[Routing]]]:
    """Within it, every Experts layer of ``model`` keeps its routings: names to lists, one for each call."""
    return keeping(model, "kept_routings")


def load_balance(routing: Routing) -> Tensor:
    """E Σ f_e P̄_e, a scalar: k when probabilities or choices are even, up to E when all are sure of the same experts."""
    P = routing.probabilities  # (N, E)
    return (loads(routing.chosen, P) * P.mean(axis=0)).sum() * P.shape[-1]


@recorded
def loads(chosen: np.ndarray, P: np.ndarray) -> np.ndarray:
    """f (E,): how often each expert is chosen, per token; no gradient goes through a choice."""
    return (np.bincount(chosen.ravel(), minlength=P.shape[-1]) / len(chosen)).astype(P.dtype)


def imbalance(kept: Mapping[str, Sequence[Routing]]) -> Any:
    """The mean load-balance loss of everything that ``routings`` kept; ValueError when that is nothing."""
    losses = [load_balance(routing) for kept_here in kept.values() for routing in kept_here]
    if not losses:
        raise ValueError("imbalance: no Experts layer was called within routings(model); build the model with ffn='experts'")
    return sum(losses[1:], losses[0]) * (1 / len(losses))
