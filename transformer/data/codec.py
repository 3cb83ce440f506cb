"""Sequence pairs as arrays: where a text begins and ends, rows of different lengths side by side, and rows of like length together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .tokenizers import Remembered, Tokenizer

PAD, BEGIN, END = "\0", "\2", "\3"  # the control characters of ASCII made for it: null, start of text, end of text


class Codec:
    """Texts to ids and back, for sequence pairs: a source ends with END, a target also begins with BEGIN, and PAD fills up.

    Raises ValueError for a tokenizer that lacks the three control characters.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.pad, self.begin, self.end = (self._id(c) for c in (PAD, BEGIN, END))
        self._known = Remembered(self._ids)

    def _id(self, character: str) -> int:
        ids = self.tokenizer.encode(character)
        if len(ids) != 1:
            raise ValueError(f"Codec: {character!r} takes {len(ids)} tokens of this tokenizer; expected one")
        return int(ids[0])

    def _ids(self, text: str) -> np.ndarray:
        return np.append(self.tokenizer.encode(text), self.end).astype(np.int64)

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text, and END."""
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


def by_length(lengths: Sequence[int], batch_size: int) -> Iterator[np.ndarray]:
    """Places of rows, those of like length together, ``batch_size`` at a time."""
    order = np.argsort(lengths, kind="stable")
    return (order[i : i + batch_size] for i in range(0, len(order), batch_size))
