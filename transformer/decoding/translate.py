r"""From one sequence to another: a decoder that was given a source is a language model of the target,

.. math:: p(y \mid x) = \prod_t p(y_t \mid y_{<t}, x)

so everything that writes text (greedy, sampling, beams, in ``generate`` and ``beams``) writes translations as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import nn, no_grad

from ..attention import KVCache, attention_maps
from ..data.codec import Codec
from .beams import beam_search
from .generate import generate
from .window import Spread, checked_count, evaluating, read_together


class GivenSource(nn.Module):
    """The decoder of ``model`` with its source: ``(ids, cache)`` → logits (B, T, V), as of a language model.

    One source serves any number of rows; several serve as many rows.  The encoder runs once, here.
    """

    def __init__(self, model: Any, source: Any, source_mask: Any = None) -> None:
        self.model, self.training = model, model.training
        self.context_length, self.vocab_size = model.max_length, model.vocab_size
        with no_grad(), evaluating(model):
            self.memory, self.mask = model.encode(source, source_mask), source_mask

    def forward(self, input_ids: Any, cache: KVCache | None = None) -> Any:
        """(B, T) → logits (B, T, V)."""
        memory, mask = self.memory, self.mask
        if len(memory) == 1 and len(input_ids) > 1:
            rows = np.zeros(len(input_ids), int)
            memory, mask = memory[rows], None if mask is None else np.asarray(mask)[rows]
        return self.model.decode(input_ids, memory, mask, cache=cache)


def translate(
    model: Any, codec: Codec, texts: Sequence[str], max_new_tokens: int | None = None, num_beams: int = 1, length_penalty: float = 1.0,
    batch_size: int = 128, spread: Spread = map,
) -> list[str]:  # fmt: skip
    """What the model makes of each text: greedily, or with beams; sources of like length are read together.

    Raises TypeError for a single text, ValueError for settings out of range or a text longer than the model reads.
    """
    if isinstance(texts, str):
        raise TypeError(f"translate: expected a list of texts, got one text; write [{texts[:20]!r}]")
    if num_beams < 1 or batch_size < 1:
        raise ValueError(f"translate: num_beams={num_beams}, batch_size={batch_size}; expected 1 or more")
    limit = model.max_length - 1 if max_new_tokens is None else max_new_tokens
    checked_count("translate", "max_new_tokens", limit)
    if limit >= model.max_length:
        raise ValueError(f"translate: max_new_tokens={limit}; this model writes 0 to {model.max_length - 1}")

    def write(places: np.ndarray) -> list[str]:
        ids, mask = codec.sources([texts[i] for i in places])
        given = GivenSource(model, ids, None if mask.all() else mask)
        if num_beams > 1:
            found = [beam_search(given, [codec.begin], limit, num_beams, length_penalty, stop=codec.end)]
        else:
            found = list(generate(given, np.full((len(ids), 1), codec.begin), limit, temperature=0, stop=codec.end))
        return [codec.decode(row) for row in found]

    return read_together(model, write, [len(codec.encode(text)) for text in texts], 1 if num_beams > 1 else batch_size, spread)


def check_length(model: Any, codec: Codec, text: str) -> np.ndarray:
    """The ids of a text that the model can read; ValueError with both lengths."""
    ids = codec.encode(text)
    if len(ids) > model.max_length:
        raise ValueError(f"the text has {len(ids)} tokens with its end; this model reads up to {model.max_length}")
    return ids


def cross_attention(model: Any, codec: Codec, source: str, target: str | None = None) -> tuple[list[np.ndarray], list[str], list[str]]:
    """Where each target token looks: for each layer (heads, T, S), and the tokens of source (keys) and target (queries).

    The query at a row is the position that *writes* the row's token.  ``target`` is what the model itself writes unless it is given.
    """
    ids = check_length(model, codec, source)
    text = translate(model, codec, [source])[0] if target is None else target
    said = codec.encode(text)[: model.max_length]
    read = np.concatenate([[codec.begin], said[:-1]])
    with attention_maps(model) as maps, no_grad(), evaluating(model):
        model(ids[None], None, read[None])
        looked = [calls for name, calls in maps.items() if name == "attention" or name.endswith("cross_attention")]
    weights = [np.concatenate([call[0] for call in calls], axis=1) for calls in looked]  # an RNN looks once for each target token
    if not weights:
        raise ValueError(f"this {type(model).__name__} was built without attention; there is nothing to draw")
    return weights, [label(codec, i) for i in ids], [label(codec, i) for i in said]


def label(codec: Codec, token: int) -> str:
    """A token for the axis of a figure."""
    return {codec.begin: "⊢", codec.end: "⊣", codec.pad: "·"}.get(int(token)) or codec.tokenizer.token(int(token))
