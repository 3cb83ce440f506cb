"""Byte-pair encoding: the pieces of words that occur most often become tokens.

It starts from the 256 bytes of UTF-8, as GPT-2 does (Radford et al. 2019, section 2.2), and repeats:

    (a, b) = the pair of neighbouring tokens that is most frequent in the text
    write one new token, ab, wherever a is followed by b

The list of merges *is* the tokenizer: encoding replays it, decoding joins the bytes.  Source: Gage (1994); Sennrich,
Haddow & Birch (2016), arXiv:1508.07909, algorithm 1.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .tokenizers import Ids, Remembered, Tokenizer, _checked_text, _encoded, _field

Pair = tuple[int, int]

BYTES = 256                 # the base vocabulary of byte-level BPE
LONGEST_TOKEN = 4 * 65      # bytes: no merge crosses a chunk, and a chunk has at most 65 characters

# Merges never cross these chunks: a word, up to three digits or a run of punctuation, each with the space before it,
# or white space. Every character matches one branch, so the chunks joined give the text back. Long runs are cut at
# 64 characters, so that no chunk is expensive.
CHUNK = re.compile(r" ?[^\W\d_]{1,64}| ?\d{1,3}| ?(?:[^\w\s]|_){1,64}|\s{1,64}(?!\S)|\s{1,64}")


class BPETokenizer(Tokenizer):
    """Byte-level byte-pair encoding; merge i joins the two token ids of `merges[i]` into the token 256 + i."""

    kind = "bpe"

    def __init__(self, merges: Iterable[Sequence[int]]) -> None:
        self.merges: list[Pair] = []
        self._tokens = [bytes([byte]) for byte in range(BYTES)]                 # id -> bytes
        self._ranks: dict[Pair, tuple[int, int]] = {}                           # pair -> place of its merge, id
        self._cache = Remembered(self._chunk)                                   # chunk -> its ids as raw memory
        for left, right in map(self._checked_pair, merges):
            self._ranks[left, right] = len(self.merges), len(self._tokens)
            self._tokens.append(self._tokens[left] + self._tokens[right])
            self.merges.append((left, right))

    @classmethod
    def train(cls, text: str, vocab_size: int = 512, max_characters: int = 2_000_000) -> Self:
        """Learn `vocab_size` - 256 merges from the first `max_characters` of the text; fewer if no pair occurs twice.

        Of equally frequent pairs the one with the smaller left id wins, then the smaller right id, so the same text
        gives the same merges everywhere. ValueError for an empty text or a vocabulary below the 256 bytes.
        """
        if vocab_size < BYTES:
            raise ValueError(f"vocab_size is {vocab_size}, expected at least {BYTES}, the bytes that BPE starts from")
        if max_characters < 1:
            raise ValueError(f"max_characters is {max_characters}, expected at least 1")
        return cls(learn_merges(_checked_text(text)[:max_characters], CHUNK, vocab_size - BYTES))

    @property
    def vocab_size(self) -> int:
        return len(self._tokens)

    def encode(self, text: str) -> Ids:
        """Text to ids (T,): every chunk merged in the order learned; ValueError only for lone surrogates."""
        ids = bytearray()
        try:
            for match in CHUNK.finditer(_checked_text(text, allow_empty=True)):
                ids += self._cache[match.group()]
        except UnicodeEncodeError:
            _encoded(text, "utf-8")                             # says where the lone surrogate stands
        return np.frombuffer(ids, self.id_dtype)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Ids (T,) to text, with U+FFFD for bytes that are not UTF-8; errors as for `CharTokenizer.decode`."""
        tokens = map(self._tokens.__getitem__, self._checked_ids(ids).tolist())
        return b"".join(tokens).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        return self._tokens[self._checked_id(token_id)]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "merges": [list(pair) for pair in self.merges]}

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        merges = _field(payload, cls.kind, "merges")
        if not isinstance(merges, list):
            raise ValueError(f"its merges are a {type(merges).__name__}, expected a list of pairs")
        return cls(merges)

    def _chunk(self, chunk: str) -> bytes:
        return np.array(merged(list(chunk.encode("utf-8")), self._ranks), self.id_dtype).tobytes()

    def _checked_pair(self, pair: Sequence[int]) -> Pair:
        index, size = len(self.merges), len(self._tokens)
        if not isinstance(pair, Sequence) or len(pair) != 2 or any(type(part) is not int for part in pair):
            raise ValueError(f"merge {index} is {pair!r:.80}, expected a pair of token ids")
        left, right = pair
        if not (0 <= left < size and 0 <= right < size):
            raise ValueError(f"merge {index} joins {left} and {right}, but only ids 0 to {size - 1} exist before it")
        if (left, right) in self._ranks:
            raise ValueError(f"merge {index} repeats the pair {left}, {right}")
        if len(self._tokens[left]) + len(self._tokens[right]) > LONGEST_TOKEN:
            raise ValueError(f"merge {index} makes a token of more than {LONGEST_TOKEN} bytes")
        return left, right


def merged(ids: list[int], ranks: Mapping[Pair, tuple[int, int]]) -> list[int]:
    """The ids after all merges of `ranks`, which gives a pair its place in the list and its new id; changes `ids`.

    The earliest merge first, of equals the leftmost, until none applies; n log n steps, since a word may be very long.
    """
    after, before = [*range(1, len(ids)), -1], [*range(-1, len(ids) - 1)]
    heap = [(*ranks[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in ranks]     # (rank, new id, place)
    heapq.heapify(heap)
    while heap:
        rank, new, i = heapq.heappop(heap)
        j = after[i]
        if j < 0 or ranks.get((ids[i], ids[j])) != (rank, new):     # one of the two has been merged otherwise
            continue
        ids[i], ids[j], after[i] = new, -1, after[j]
        if after[j] >= 0:
            before[after[j]] = i
        for left, right in ((before[i], i), (i, after[i])):
            if left >= 0 and right >= 0 and (merge := ranks.get((ids[left], ids[right]))):
                heapq.heappush(heap, (*merge, left))
    return [i for i in ids if i >= 0]


def learn_merges(text: str, pattern: re.Pattern[str], limit: int) -> list[Pair]:
    """Up to `limit` merges within the words that a pattern finds, as pairs of ids; ValueError for lone surrogates.

    A merge recounts only the words that hold its pair, and a heap finds the next one.
    """
    _encoded(text, "utf-8")
    found = Counter(match.group() for match in pattern.finditer(text))
    words, times = [list(word.encode("utf-8")) for word in found], list(found.values())
    counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, word in enumerate(words):
        for pair in pairwise(word):
            counts[pair] += times[index]
            where[pair].add(index)
    heap = [(-count, pair) for pair, count in counts.items()]   # ties: the smaller (left, right) comes first
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < limit:
        count, best = heapq.heappop(heap)
        if -count != counts[best]:                              # stale: a newer entry is in the heap
            continue
        if -count < 2:
            break
        change: Counter[Pair] = Counter()
        for index in where.pop(best):
            shorter = replace(words[index], best, BYTES + len(merges))
            if len(shorter) == len(words[index]):               # an earlier merge already took the pair apart
                continue
            for pair in pairwise(words[index]):
                change[pair] -= times[index]
            for pair in pairwise(shorter):
                change[pair] += times[index]
                where[pair].add(index)
            words[index] = shorter
        for pair, difference in change.items():
            if difference:
                counts[pair] += difference
                heapq.heappush(heap, (-counts[pair], pair))
        merges.append(best)
    return merges


def replace(ids: list[int], pair: Pair, new: int) -> list[int]:
    """The ids with each occurrence of the pair, from left to right, written as the new id."""
    out: list[int] = []
    i = 0
    while i < len(ids):
        if ids[i] == pair[0] and i + 1 < len(ids) and ids[i + 1] == pair[1]:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out
