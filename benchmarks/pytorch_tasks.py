"""The PyTorch twins of our Classifier, Transformer, Tagger and SpanReader, made of PyTorch's own layers.

They start from our initial weights, see batches of the same kind, and are trained with PyTorch's AdamW.  `AsOurs` puts ours in front of them,
so that losses, translations and scores come from the same code for both.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import minigrad as mg
from minigrad.programs import Refused
from transformer.data.corpora import IGNORE_INDEX
from transformer.positions import AlibiBias, sinusoids
from transformer.training.answering import SpanBatch
from transformer.training.objectives import Objective
from transformer.training.settings import Settings
from transformer.training.translation import PairBatch

torch.backends.mha.set_fastpath_enabled(False)  # in eval mode it gives NaN for additive masks of each head


def encoder_layer(
    width: int, heads: int, ffn: int, dropout: float, norm_first: bool, **more: Any
) -> nn.TransformerEncoderLayer:
    layer = nn.TransformerEncoderLayer(width, heads, ffn, dropout, batch_first=True, norm_first=norm_first, **more)
    layer.dropout = nn.Dropout(0.0)  # ours has none between the two maps of the feed-forward
    return layer


def decoder_layer(width: int, heads: int, ffn: int, dropout: float, norm_first: bool) -> nn.TransformerDecoderLayer:
    layer = nn.TransformerDecoderLayer(width, heads, ffn, dropout, batch_first=True, norm_first=norm_first)
    layer.dropout = nn.Dropout(0.0)
    return layer


class Embedded(nn.Module):
    """√C · E[ids] + sinusoids, then dropout."""

    def __init__(self, vocab_size: int, width: int, max_length: int, dropout: float) -> None:
        super().__init__()
        self.table, self.dropout, self.scale = nn.Embedding(vocab_size, width), nn.Dropout(dropout), math.sqrt(width)
        self.register_buffer("positions", torch.tensor(sinusoids(max_length, width), dtype=torch.float32))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.table(ids) * self.scale + self.positions[: ids.shape[1]])


class Classifier(nn.Module):
    def __init__(self, vocab_size: int, num_classes: int, embedding_dim: int, num_heads: int, num_layers: int, max_length: int,
                 dropout: float = 0.1) -> None:  # fmt: skip
        super().__init__()
        self.embedding = Embedded(vocab_size, embedding_dim, max_length, dropout)
        self.layers = nn.ModuleList(encoder_layer(embedding_dim, num_heads, 4 * embedding_dim, dropout, True) for _ in range(num_layers))
        self.norm, self.dropout, self.head = nn.LayerNorm(embedding_dim), nn.Dropout(dropout), nn.Linear(embedding_dim, num_classes)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~mask)
        x = self.norm(x) * mask[..., None]
        return self.head(self.dropout(x.sum(1) / mask.sum(1, keepdim=True)))

    def load_ours(self, ours: Any) -> None:
        state = {name: torch.tensor(value) for name, value in ours.state_dict().items()}
        self.embedding.table.weight.data = state["embedding.weight"]
        for i, layer in enumerate(self.layers):
            load_layer(layer, state, f"encoder.layers.{i}.")
        load_pair(self.norm, state, "encoder.norm.")
        load_linear(self.head, state, "head.")


class Transformer(nn.Module):
    def __init__(self, vocab_size: int, embedding_dim: int, num_heads: int, num_layers: int, max_length: int, dropout: float,
                 norm_first: bool) -> None:  # fmt: skip
        super().__init__()
        sizes = (embedding_dim, num_heads, 4 * embedding_dim, dropout, norm_first)
        self.embedding = Embedded(vocab_size, embedding_dim, max_length, dropout)
        self.encoders = nn.ModuleList(encoder_layer(*sizes) for _ in range(num_layers))
        self.decoders = nn.ModuleList(decoder_layer(*sizes) for _ in range(num_layers))
        self.norms = nn.ModuleList(nn.LayerNorm(embedding_dim) if norm_first else nn.Identity() for _ in range(2))

    def forward(self, sources: torch.Tensor, mask: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.decode(targets, self.encode(sources, mask), mask)

    def encode(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        for layer in self.encoders:
            x = layer(x, src_key_padding_mask=~mask)
        return self.norms[0](x)

    def decode(self, ids: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x, future = self.embedding(ids), nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        for layer in self.decoders:
            x = layer(x, memory, tgt_mask=future, tgt_is_causal=True, memory_key_padding_mask=torch.zeros(mask.shape).masked_fill(~mask, -torch.inf))
        return F.linear(self.norms[1](x), self.embedding.table.weight)

    def load_ours(self, ours: Any) -> None:
        state = {name: torch.tensor(value) for name, value in ours.state_dict().items()}
        self.embedding.table.weight.data = state["embedding.weight"]
        for part, layers, norm in (("encoder", self.encoders, self.norms[0]), ("decoder", self.decoders, self.norms[1])):
            for i, layer in enumerate(layers):
                load_layer(layer, state, f"{part}.layers.{i}.")
            if isinstance(norm, nn.LayerNorm):
                load_pair(norm, state, f"{part}.norm.")


class BERT(nn.Module):
    """Three embeddings, a norm, post-norm layers with the exact GELU, and one linear map of each token's vector.

    With `slopes` (H,) the scores fall off with distance (ALiBi).
    """

    def __init__(self, vocab_size: int, outputs: int, embedding_dim: int, num_heads: int, num_layers: int,
                 max_length: int, dropout: float, slopes: np.ndarray | None = None) -> None:  # fmt: skip
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, embedding_dim) for n in (vocab_size, max_length, 2))
        self.norm, self.dropout = nn.LayerNorm(embedding_dim, eps=1e-12), nn.Dropout(dropout)
        sizes = (embedding_dim, num_heads, 4 * embedding_dim, dropout, False)
        more = {"activation": F.gelu, "layer_norm_eps": 1e-12}
        self.layers = nn.ModuleList(encoder_layer(*sizes, **more) for _ in range(num_layers))
        self.last_dropout, self.head = nn.Dropout(dropout), nn.Linear(embedding_dim, outputs)
        place = torch.arange(max_length)
        far = (place[:, None] - place[None, :]).abs()
        bias = None if slopes is None else -torch.tensor(slopes, dtype=torch.float32)[:, None, None] * far
        self.register_buffer("bias", bias)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
        B, T = ids.shape
        x = self.tables[0](ids) + self.tables[1](torch.arange(T)) + self.tables[2](segments)
        x = self.dropout(self.norm(x))
        H = self.layers[0].self_attn.num_heads
        bias = torch.zeros(H, T, T) if self.bias is None else self.bias[:, :T, :T]
        scores = bias.expand(B, -1, -1, -1).masked_fill(~mask[:, None, None], -torch.inf).flatten(0, 1)  # (B·H, T, T)
        for layer in self.layers:
            x = layer(x, src_mask=scores)
        return self.head(self.last_dropout(x))

    def load_ours(self, ours: Any) -> None:
        state = {name: torch.tensor(value) for name, value in ours.state_dict().items()}
        for table, name in zip(self.tables, ("token_embedding", "positions", "segment_embedding"), strict=True):
            table.weight.data = state[f"bert.{name}.weight"]
        load_pair(self.norm, state, "bert.norm.")
        for i, layer in enumerate(self.layers):
            load_layer(layer, state, f"bert.encoder.layers.{i}.")
        load_linear(self.head, state, "head.")


class Tagger(BERT):
    def __init__(self, labels: list[str], vocab_size: int, **sizes: Any) -> None:
        super().__init__(vocab_size, len(labels), **sizes)


class SpanReader(BERT):
    def __init__(self, vocab_size: int, num_heads: int, **sizes: Any) -> None:
        super().__init__(vocab_size, 2, num_heads=num_heads, slopes=AlibiBias(num_heads).slopes, **sizes)
        self.last_dropout.p = 0.0

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
        return super().forward(ids, mask, segments).mT


def load_layer(layer: Any, state: dict[str, torch.Tensor], prefix: str) -> None:
    """The weights of one of our layers into PyTorch's: (in, out) → (out, in), q, k and v packed."""
    attentions = {"self_attention": layer.self_attn}
    if hasattr(layer, "multihead_attn"):
        attentions["cross_attention"] = layer.multihead_attn
    for name, attention in attentions.items():
        parts = [f"{prefix}{name}.{p}_proj." for p in "qkv"]
        attention.in_proj_weight.data = torch.cat([state[p + "weight"].mT for p in parts])
        attention.in_proj_bias.data = torch.cat([state[p + "bias"] for p in parts])
        load_linear(attention.out_proj, state, f"{prefix}{name}.out_proj.")
    load_linear(layer.linear1, state, prefix + "ffn.up.")
    load_linear(layer.linear2, state, prefix + "ffn.down.")
    for i in range(1, 2 + len(attentions)):
        load_pair(getattr(layer, f"norm{i}"), state, f"{prefix}norm{i}.")


def load_linear(linear: nn.Linear, state: dict[str, torch.Tensor], prefix: str) -> None:
    linear.weight.data, linear.bias.data = state[prefix + "weight"].mT.contiguous(), state[prefix + "bias"]


def load_pair(norm: Any, state: dict[str, torch.Tensor], prefix: str) -> None:
    norm.weight.data, norm.bias.data = state[prefix + "weight"], state[prefix + "bias"]


class AsOurs(mg.nn.Module):
    """A twin that takes and gives what our models do; it has no cache, so it reads its beginning again at every step."""

    def __init__(self, twin: Any, max_length: int, vocab_size: int) -> None:
        self.twin, self.max_length, self.vocab_size = twin, max_length, vocab_size
        self.labels: tuple[str, ...] = ()

    def train(self, mode: bool = True) -> AsOurs:
        self.training = mode
        self.twin.train(mode)
        return self

    def forward(self, ids: Any, mask: Any = None, *targets: Any) -> mg.Tensor:
        with torch.no_grad():
            return mg.Tensor(self.twin(torch.tensor(ids), bools(mask, ids), *map(torch.tensor, targets)).numpy())

    def encode(self, ids: Any, mask: Any = None) -> np.ndarray:
        with torch.no_grad():
            return self.twin.encode(torch.tensor(ids), bools(mask, ids)).numpy()

    def decode(self, ids: Any, memory: Any, mask: Any = None, cache: Any = None) -> mg.Tensor:
        if isinstance(ids, mg.Tensor):
            raise Refused("PyTorch's steps are none of ours")  # then the target is read from its beginning
        with torch.no_grad():
            known = bools(mask, memory[..., 0])
            return mg.Tensor(self.twin.decode(torch.tensor(ids), torch.tensor(memory), known).numpy())


def bools(mask: Any, ids: Any) -> torch.Tensor:
    return torch.ones(np.shape(ids), dtype=torch.bool) if mask is None else torch.tensor(np.asarray(mask, bool))


def taken_apart(batch: Any) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """What the model reads, what it should say, and where it may point, if it points."""
    if isinstance(batch, PairBatch):
        return (batch.sources, batch.mask, batch.inputs), batch.targets, None
    if isinstance(batch, SpanBatch):
        return batch.arrays, batch.targets, batch.allowed
    arrays, targets = batch
    return arrays, targets, None


def train(twin: Any, ours: AsOurs, objective: Objective, s: Settings) -> AsOurs:
    """The same recipe in PyTorch: AdamW with decay on matrices, warm-up and cosine, clipping; the best weights by validation loss."""
    torch.manual_seed(s.seed)
    rng = np.random.default_rng(s.seed)
    parameters = list(twin.parameters())
    groups = [{"params": [p for p in parameters if p.ndim >= 2], "weight_decay": s.weight_decay},
              {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, s.lr, betas=(s.beta1, s.beta2))
    best, kept, warmup = math.inf, None, min(s.warmup, s.steps // 2)
    for step in range(s.steps):
        progress = (step - warmup) / max(1, s.steps - warmup)
        rate = s.lr * (step + 1) / warmup if step < warmup else s.min_lr + (s.lr - s.min_lr) * (1 + math.cos(math.pi * progress)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        ours.train()
        (ids, mask, *read), targets, allowed = taken_apart(objective.batch(rng, s.batch_size))
        logits = twin(torch.tensor(ids), bools(mask, ids), *map(torch.tensor, read))
        if allowed is not None:
            logits = logits.masked_fill(~torch.tensor(allowed), -torch.inf)
        loss = F.cross_entropy(logits.flatten(0, -2), torch.tensor(targets).flatten(), ignore_index=IGNORE_INDEX, label_smoothing=s.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, s.clip)
        optimizer.step()
        if (step + 1) % s.evaluate_every == 0 or step + 1 == s.steps:
            found = objective.evaluate(ours, s.evaluation_tokens)
            if found < best:
                best, kept = found, copy.deepcopy(twin.state_dict())
    if kept is not None:
        twin.load_state_dict(kept)
    return ours.eval()  # type: ignore[return-value]
