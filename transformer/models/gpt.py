"""GPT: a stack of causal blocks that predicts the next token at every position.

Sources: Radford et al. (2018, 2019); Touvron et al. (2023) for the RMSNorm, rotary, SwiGLU variant; DeepSeek-AI (2024) for latent attention and
experts.
``B`` batch, ``T`` length, ``C`` width, ``V`` vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from minigrad import Tensor, linear, nn

from ..attention import KVCache, MultiHeadAttention, Window, head_width, padding_mask
from ..layers import EncoderLayer, FeedForward, LayerNorm, NoFeedForward, NoNorm, RMSNorm, SwiGLU
from ..positions import AlibiBias, LearnedPositions, Positions, RotaryPositions, SinusoidalPositions, StretchedRotation
from .experts import Experts
from .inputs import check_sizes, checked_ids, left_padding
from .latent import LatentAttention
from .stretching import Interpolated, RaisedBase, Yarn


def rotary(context: int, width: int, heads: int, head_dim: int | None = None, stretch: Any = None, **sizes: Any) -> Positions:
    """Turned by pairs; ``stretch`` is one by name, with its sizes: {"name": "yarn", "factor": 4, "original_length": 64}."""
    stretch = None if stretch is None else choice(STRETCHES, stretch, "stretch")()
    return RotaryPositions(width // heads if head_dim is None else head_dim, stretch=stretch, **sizes)


def full(*args: Any, norm: Any = None, window: int | None = None, sinks: int = 0) -> nn.Module:
    """Attention with queries and keys normed, by a norm's name, and a window with sinks, where they are wanted."""
    if sinks and window is None:
        raise ValueError(f"GPT: attention has sinks={sinks} and no window; every key is seen anyway")
    seen = None if window is None else Window(window, sinks)
    parts: dict[str, Any] = {"norm": None if norm is None else maker(NORMS, norm, "norm"), "window": seen}
    return MultiHeadAttention(*args, **parts)


NORMS: dict[str, Callable[..., nn.Module]] = {"layer": LayerNorm, "rms": RMSNorm, "none": NoNorm}
STRETCHES: dict[str, Callable[..., Any]] = {"interpolated": Interpolated, "raised base": RaisedBase, "yarn": Yarn, "llama 3": StretchedRotation}
POSITIONS: dict[str, Callable[..., Positions]] = {
    "learned": lambda context, width, heads: LearnedPositions(context, width),
    "sinusoidal": lambda context, width, heads: SinusoidalPositions(width),
    "rotary": rotary,
    "alibi": lambda context, width, heads: AlibiBias(heads),
    "none": lambda context, width, heads: Positions(),
}
ATTENTIONS: dict[str, Callable[..., nn.Module]] = {"full": full, "latent": LatentAttention}
FEED_FORWARDS: dict[str, Callable[..., nn.Module]] = {
    "gelu": partial(FeedForward, activation="gelu"),
    "relu": partial(FeedForward, activation="relu"),
    "swiglu": SwiGLU,
    "experts": Experts,
    "none": NoFeedForward,
}


def choice(options: dict[str, Any], given: Any, argument: str) -> Any:
    """The option of that name, or of {"name": ..., and sizes of its own}; ValueError with the list of names."""
    name, sizes = (given.get("name"), {k: v for k, v in given.items() if k != "name"}) if isinstance(given, Mapping) else (given, {})
    if not isinstance(name, str) or name not in options:
        raise ValueError(f"GPT: {argument}={name!r}; expected one of {', '.join(options)}")
    return partial(sized, f"GPT: {argument}={name!r}", options[name], sizes) if sizes else options[name]


def sized(what: str, make: Callable[..., Any], sizes: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """``make`` with its sizes; ValueError, with what there is, for one that it does not have."""
    try:
        return make(*args, **{**kwargs, **sizes})
    except TypeError as error:
        raise ValueError(f"{what} with {', '.join(f'{k}={v!r}' for k, v in sizes.items())}: {error}") from error


def maker(options: dict[str, Any], given: Any, argument: str) -> Callable[..., nn.Module]:
    """What makes the norm or the feed-forward of each layer: the option of that name, or what was given in its place."""
    if isinstance(given, nn.Module):
        kind = type(given).__name__
        raise ValueError(f"GPT: {argument} is a {kind} already, but each layer needs its own; pass what makes one, {kind} or partial({kind}, ...)")
    return given if callable(given) else choice(options, given, argument)


class GPT(nn.Module):
    """The decoder-only language model: ``model(ids)`` gives, at each position, the logits of the next token, (B, T, V).

    ``norm`` is "layer", "rms" or "none"; ``positions`` "learned", "sinusoidal", "rotary", "alibi" or "none"; ``ffn`` "gelu", "relu", "swiglu",
    "experts" or "none" (without norm and feed-forward, attention is all there is); ``attention`` "full" or "latent", or a list of which the layers
    take turns.  In place of a name stands the name and sizes, as JSON has them:
    ``attention={"name": "full", "norm": "rms", "window": 64, "sinks": 4}``, ``ffn={"name": "experts", "num_experts": 8, "per_token": 2}``,
    ``positions={"name": "rotary", "stretch": {"name": "yarn", "factor": 4, "original_length": 64}}``; or whatever makes one:
    ``norm=partial(RMSNorm, eps=1e-5)``, called with (embedding_dim, bias=), ``ffn=partial(FeedForward, activation="silu")``, with
    (embedding_dim, ffn_dim, bias=), ``attention=partial(LatentAttention, latent_dim=32)``, as MultiHeadAttention is called, and
    ``positions=RotaryPositions(head_dim, base=5e5)``.
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
        positions: str | Mapping[str, Any] | Positions = "learned",
        ffn: str | Mapping[str, Any] | Callable[..., nn.Module] = "gelu",
        tie_embeddings: bool = True,
        bias: bool = True,
        attention: Any = "full",
    ) -> None:
        check_sizes(
            "GPT", vocab_size=vocab_size, embedding_dim=embedding_dim, num_heads=num_heads, num_layers=num_layers, context_length=context_length,
            num_kv_heads=num_kv_heads, ffn_dim=ffn_dim,
        )  # fmt: skip
        make_norm, make_ffn = maker(NORMS, norm, "norm"), maker(FEED_FORWARDS, ffn, "ffn")
        turns = [maker(ATTENTIONS, kind, "attention") for kind in (attention if isinstance(attention, list | tuple) else [attention])]
        if not turns:
            raise ValueError(f"GPT: attention={attention!r}; expected one kind or more, such as 'full'")
        self.vocab_size, self.context_length = vocab_size, context_length
        self.token_embedding = nn.Embedding(vocab_size, embedding_dim)
        head_width("GPT", embedding_dim, num_heads)
        if isinstance(positions, Positions):
            self.positions = positions
        else:
            self.positions = choice(POSITIONS, positions, "positions")(context_length, embedding_dim, num_heads)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            [EncoderLayer(
                embedding_dim, num_heads, dropout=dropout, norm_first=True, num_kv_heads=num_kv_heads, positions=self.positions,
                norm=make_norm, ffn=make_ffn(embedding_dim, ffn_dim, bias=bias), bias=bias, attention=turns[i % len(turns)],
            )
            for i in range(num_layers)]
        )  # fmt: skip
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
