"""Texts and words as arrays: where each begins and ends, rows of different lengths side by side, and rows of like length together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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


class Row(NamedTuple):
    """The ids (T,) of some words with the marks around them, their segments (T,), and where each word begins, ends."""

    ids: np.ndarray
    segments: np.ndarray
    first: np.ndarray  # (words,)
    last: np.ndarray  # (words,)


class Arrays(NamedTuple):
    """What a BERT is called with, all (B, T): ids, mask, None where nothing is padded, and segments."""

    ids: np.ndarray
    mask: np.ndarray | None
    segments: np.ndarray


class Pieces:
    """Words to ids by a tokenizer: BEGIN first and END last, which are [CLS] and [SEP] of a WordPieceTokenizer.

    The label of a word stands at its first piece; the other pieces, and the marks around the text, have none.
    Source: Devlin et al. (2019), section 5.3.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.marks_itself = tokenizer, tokenizer.kind == "wordpiece"
        if self.marks_itself:
            self.begin, self.end, self.pad = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
        else:
            codec = Codec(tokenizer)
            self.begin, self.end, self.pad = codec.begin, codec.end, codec.pad
        self._known = Remembered(self._ids)

    def of(self, word: str) -> list[int]:
        """The ids of a word within a text; of one that the tokenizer makes nothing of, PAD."""
        return self._known[word]

    def _ids(self, word: str) -> list[int]:
        if self.marks_itself:
            ids = self.tokenizer.encode(word)[1:-1]
        else:  # as it stands in a text: after a space, but for punctuation
            ids = self.tokenizer.encode(f" {word}" if word[:1].isalnum() else word)
        return [int(i) for i in ids] or [self.pad]

    def row(self, parts: Sequence[Sequence[str]], max_length: int) -> Row:
        """BEGIN, then the words of each part and END; the n-th part is segment n, from 0.

        Raises ValueError for more pieces than ``max_length``, with both numbers.
        """
        ids, segments, first, last = [self.begin], [0], [], []
        for segment, words in enumerate(parts):
            for word in words:
                pieces = self.of(word)
                first.append(len(ids))
                ids += pieces
                last.append(len(ids) - 1)
            ids.append(self.end)
            segments += [segment] * (len(ids) - len(segments))
        if len(ids) > max_length:
            raise ValueError(f"the text has {len(ids)} tokens with its marks; this model reads up to {max_length}")
        return Row(*(np.array(a, np.int64) for a in (ids, segments, first, last)))

    def arrays(self, rows: Sequence[Row]) -> Arrays:
        """Rows of different lengths, padded on the right."""
        ids, mask = padded([row.ids for row in rows], self.pad)
        segments, _ = padded([row.segments for row in rows], 0)
        return Arrays(ids, None if mask.all() else mask, segments)


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
