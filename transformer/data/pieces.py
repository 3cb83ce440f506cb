"""Labels belong to words, but a model reads pieces of words: from one to the other, and back.

The label of a word stands at its first piece; the other pieces, and the marks around the text, have none.
Source: Devlin et al. (2019), section 5.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .codec import Codec, padded
from .tokenizers import Remembered, Tokenizer
from .wordpiece import WordPieceTokenizer


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
    """Words to ids by a tokenizer: BEGIN first and END last, which are [CLS] and [SEP] of a WordPieceTokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        if isinstance(tokenizer, WordPieceTokenizer):
            self.begin, self.end, self.pad = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
        else:
            codec = Codec(tokenizer)
            self.begin, self.end, self.pad = codec.begin, codec.end, codec.pad
        self._known = Remembered(self._ids)

    def of(self, word: str) -> list[int]:
        """The ids of a word within a text; of one that the tokenizer makes nothing of, PAD."""
        return self._known[word]

    def _ids(self, word: str) -> list[int]:
        if isinstance(self.tokenizer, WordPieceTokenizer):
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
