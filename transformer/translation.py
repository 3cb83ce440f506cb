r"""From one sequence to another: a decoder that was given a source is a language model of the target,

.. math:: p(y \mid x) = \prod_t p(y_t \mid y_{<t}, x)

so everything that writes text (greedy, sampling, beams, in ``generation`` and ``beams``) writes translations as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minigrad import nn, no_grad

from .attention import KVCache
from .beams import beam_search
from .data.tokenizers import Tokenizer
from .generation import generate
from .reading import Spread, checked_count, evaluating

PAD, BEGIN, END = "\0", "\2", "\3"  # the control characters of ASCII made for it: null, start of text, end of text


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


class Codec:
    """Texts to ids and back, for sequence pairs: a source ends with END, a target also begins with BEGIN, and PAD fills up.

    Raises ValueError for a tokenizer that lacks the three control characters.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.pad, self.begin, self.end = (self._id(c) for c in (PAD, BEGIN, END))
        self._known: dict[str, np.ndarray] = {}

    def _id(self, character: str) -> int:
        ids = self.tokenizer.encode(character)
        if len(ids) != 1:
            raise ValueError(f"Codec: {character!r} takes {len(ids)} tokens of this tokenizer; expected one")
        return int(ids[0])

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text, and END."""
        if text not in self._known:
            self._known[text] = np.append(self.tokenizer.encode(text), self.end).astype(np.int64)
            if len(self._known) > 50_000:
                self._known.pop(next(iter(self._known)))
        return self._known[text]

    def decode(self, ids: Any) -> str:
        """The text before END; BEGIN and PAD are left out."""
        row = np.asarray(ids)
        row = row[: int(np.argmax(row == self.end))] if (row == self.end).any() else row
        return self.tokenizer.decode(row[(row != self.begin) & (row != self.pad)])

    def sources(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids (B, S), padded on the right, and their mask, 1 for tokens."""
        return padded([self.encode(text) for text in texts], self.pad)

    def targets(self, texts: Sequence[str], ignore: int) -> tuple[np.ndarray, np.ndarray]:
        """What the decoder reads, (B, T), and what it has to say, shifted by one: [BEGIN a b] and [a b END]; ``ignore`` over padding."""
        said, mask = padded([self.encode(text) for text in texts], self.pad)
        read = np.concatenate([np.full((len(said), 1), self.begin), said[:, :-1]], axis=1)
        return np.where(mask, read, self.pad), np.where(mask, said, ignore)


def padded(rows: Sequence[np.ndarray], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of different lengths as one array, filled up on the right, and the mask of what is real."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad, np.int64)
    ids[mask] = np.concatenate(rows)
    return ids, mask


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
    if not 0 <= limit < model.max_length:
        raise ValueError(f"translate: max_new_tokens={limit}; this model writes 0 to {model.max_length - 1}")

    def write(places: np.ndarray) -> list[str]:
        ids, mask = codec.sources([texts[i] for i in places])
        given = GivenSource(model, ids, None if mask.all() else mask)
        if num_beams > 1:
            found = [beam_search(given, [codec.begin], limit, num_beams, length_penalty, stop=codec.end)]
        else:
            found = list(generate(given, np.full((len(ids), 1), codec.begin), limit, temperature=0, stop=codec.end))
        return [codec.decode(row) for row in found]

    out = [""] * len(texts)
    groups = list(by_length([len(codec.encode(text)) for text in texts], 1 if num_beams > 1 else batch_size))
    with evaluating(model):
        for places, written in zip(groups, spread(write, groups), strict=True):
            for i, text in zip(places, written, strict=True):
                out[i] = text
    return out


def by_length(lengths: Sequence[int], batch_size: int) -> Iterator[np.ndarray]:
    """Places of rows, those of like length together, ``batch_size`` at a time."""
    order = np.argsort(lengths, kind="stable")
    return (order[i : i + batch_size] for i in range(0, len(order), batch_size))
