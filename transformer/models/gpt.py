"""GPT: a stack of causal blocks that predicts the next token at every position.

Sources: Radford et al. (2018, 2019); Touvron et al. (2023) for the RMSNorm, rotary, SwiGLU variant.
``B`` batch, ``T`` length, ``C`` width, ``V`` vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from minigrad import Tensor, linear, nn

from ..attention import KVCache, divisors, padding_mask
from ..layers import EncoderLayer, FeedForward, LayerNorm, NoFeedForward, NoNorm, RMSNorm, SwiGLU
from ..positions import AlibiBias, LearnedPositions, Positions, RotaryPositions, SinusoidalPositions
from .inputs import check_sizes, checked_ids, left_padding

NORMS: dict[str, Callable[..., nn.Module]] = {"layer": LayerNorm, "rms": RMSNorm, "none": NoNorm}
POSITIONS: dict[str, Callable[[int, int, int], Positions]] = {
    "learned": lambda context, width, heads: LearnedPositions(context, width),
    "sinusoidal": lambda context, width, heads: SinusoidalPositions(width),
    "rotary": lambda context, width, heads: RotaryPositions(width // heads),
    "alibi": lambda context, width, heads: AlibiBias(heads),
    "none": lambda context, width, heads: Positions(),
}
FEED_FORWARDS: dict[str, Callable[..., nn.Module]] = {
    "gelu": partial(FeedForward, activation="gelu"),
    "relu": partial(FeedForward, activation="relu"),
    "swiglu": SwiGLU,
    "none": NoFeedForward,
}


def choice(options: dict[str, Any], name: Any, argument: str) -> Any:
    """The option of that name; ValueError with the list of names."""
    if not isinstance(name, str) or name not in options:
        raise ValueError(f"GPT: {argument}={name!r}; expected one of {', '.join(options)}")
    return options[name]


def maker(options: dict[str, Any], given: Any, argument: str) -> Callable[..., nn.Module]:
    """What makes the norm or the feed-forward of each layer: the option of that name, or what was given in its place."""
    if isinstance(given, nn.Module):
        kind = type(given).__name__
        raise ValueError(f"GPT: {argument} is a {kind} already, but each layer needs its own; pass what makes one, {kind} or partial({kind}, ...)")
    return given if callable(given) else choice(options, given, argument)


class GPT(nn.Module):
    """The decoder-only language model: ``model(ids)`` gives, at each position, the logits of the next token, (B, T, V).

    ``norm`` is "layer", "rms" or "none"; ``positions`` "learned", "sinusoidal", "rotary", "alibi" or "none"; ``ffn`` "gelu", "relu",
    "swiglu" or "none": without norm and feed-forward, attention is all there is.
    In place of a name stands whatever makes one: ``norm=partial(RMSNorm, eps=1e-5)``, called with (embedding_dim, bias=),
    ``ffn=partial(FeedForward, activation="silu")``, with (embedding_dim, ffn_dim, bias=), ``positions=RotaryPositions(head_dim, base=5e5)``.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        num_heads: int,
        num_layers: int,
        context_length: int,
        num_kv_heads: int | None = None,
        ffn_dim: int | None = None,
        dropout: float = 0.0,
        norm: str | Callable[..., nn.Module] = "layer",
        positions: str | Positions = "learned",
        ffn: str | Callable[..., nn.Module] = "gelu",
        tie_embeddings: bool = True,
        bias: bool = True,
    ) -> None:
        check_sizes(
            "GPT", vocab_size=vocab_size, embedding_dim=embedding_dim, num_heads=num_heads, num_layers=num_layers, context_length=context_length,
            num_kv_heads=num_kv_heads, ffn_dim=ffn_dim,
        )  # fmt: skip
        make_norm, make_ffn = maker(NORMS, norm, "norm"), maker(FEED_FORWARDS, ffn, "ffn")
        self.vocab_size, self.context_length = vocab_size, context_length
        self.token_embedding = nn.Embedding(vocab_size, embedding_dim)
        if embedding_dim % num_heads:
            raise ValueError(f"GPT: embedding_dim={embedding_dim} does not divide into num_heads={num_heads}; {divisors(embedding_dim)} would")
        if isinstance(positions, Positions):
            self.positions = positions
        else:
            self.positions = choice(POSITIONS, positions, "positions")(context_length, embedding_dim, num_heads)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            [EncoderLayer(
                embedding_dim,
                num_heads,
                dropout=dropout,
                norm_first=True,
                num_kv_heads=num_kv_heads,
                positions=self.positions,
                norm=make_norm,
                ffn=make_ffn(embedding_dim, ffn_dim, bias=bias),
                bias=bias,
            )
            for _ in range(num_layers)]
        )
        for layer in self.layers:
            layer.scale_residuals(1 / math.sqrt(2 * num_layers))
        self.norm = make_norm(embedding_dim, bias=bias)
        self.output = None if tie_embeddings else nn.Linear(embedding_dim, vocab_size, bias=False)

    def forward(self, input_ids: Any, cache: KVCache | None = None, attention_mask: Any = None) -> Tensor:
        """(B, T) → logits (B, T, V); with a ``cache`` the ids continue the tokens that it holds.

        ``attention_mask`` (B, S), S with the cached tokens, is 0 for padding on the left and 1 for tokens; nobody sees padding, and a
        row's first token has position 0.  Padding on the right needs no mask, since nobody sees the future.
        """
        start = 0 if cache is None else cache.length
        ids = checked_ids("GPT", input_ids, self.vocab_size)
        if isinstance(start, int) and start + ids.shape[1] > self.context_length:
            raise ValueError(
                f"GPT: {start + ids.shape[1]} tokens exceed the context of {self.context_length}; "
                f"shorten the input to ids[:, -{self.context_length}:], or build the model with a longer context_length"
            )
        mask, first = None, start  # type: Any, Any
        if attention_mask is not None:
            first = start - left_padding("GPT", attention_mask, (len(ids), start + ids.shape[1]))  # (B,): each row's own position
            mask = padding_mask(attention_mask)
        x = self.dropout(self.positions.embed(self.token_embedding(ids), first))  # (B, T, C)
        for i, layer in enumerate(self.layers):
            x = layer(x, mask, causal=True, cache=None if cache is None else cache.layer(i))
        return self.readout(x)

    def readout(self, x: Any) -> Tensor:
        """The last norm and the output layer: residual stream (B, T, C) → logits (B, T, V)."""
        x = self.norm(x)
        return linear(x, self.token_embedding.weight.mT) if self.output is None else self.output(x)
