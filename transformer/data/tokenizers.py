"""Tokenizers: text to integer ids and back.

A character tokenizer numbers the code points of a text. Byte-pair encoding (Gage 1994; Sennrich, Haddow & Birch
2016, arXiv:1508.07909, algorithm 1) starts from the 256 bytes of UTF-8, as GPT-2 does (Radford et al. 2019,
section 2.2), and repeats:

    (a, b) = the pair of neighbouring tokens that is most frequent in the text
    write one new token, ab, wherever a is followed by b

The list of merges *is* the tokenizer: encoding replays it, decoding joins the bytes.
"""

import heapq
import json
import operator
import os
import re
import unicodedata
import zlib
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from minigrad.storage import write_atomically

from .files import brief, parse_json, read_bytes

Ids = npt.NDArray[np.integer[Any]]
Pair = tuple[int, int]

BLOCK = 1 << 18             # characters that CharTokenizer.encode looks up at once
CACHE_ENTRIES = 1 << 15     # chunks that BPETokenizer.encode remembers
BYTES = 256                 # the base vocabulary of byte-level BPE
LONGEST_TOKEN = 4 * 65      # bytes: no merge crosses a chunk, and a chunk has at most 65 characters

# Merges never cross these chunks: a word, up to three digits or a run of punctuation, each with the space before it,
# or white space. Every character matches one branch, so the chunks joined give the text back. Long runs are cut at
# 64 characters, so that no chunk is expensive.
CHUNK = re.compile(r" ?[^\W\d_]{1,64}| ?\d{1,3}| ?(?:[^\w\s]|_){1,64}|\s{1,64}(?!\S)|\s{1,64}")


class Tokenizer(ABC):
    """What every tokenizer can do; those of a `kind` differ only in how they cut the text."""

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type["Tokenizer"]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Tokenizer.kinds[cls.kind] = cls

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """The number of different tokens V; ids run from 0 to V - 1."""

    @abstractmethod
    def encode(self, text: str) -> Ids:
        """Text to ids (T,) of dtype `id_dtype`; ValueError for text that this tokenizer cannot write."""

    @abstractmethod
    def decode(self, ids: npt.ArrayLike) -> str:
        """Ids (T,) to text; TypeError unless they are integers, ValueError unless each is in 0 .. V - 1."""

    @abstractmethod
    def token_bytes(self, token_id: int) -> bytes:
        """The UTF-8 bytes of one token, for BPE perhaps only a part of a character."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Everything that defines this tokenizer, ready for JSON; `tokenizer_from_dict` reads it back."""

    @classmethod
    @abstractmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        """The tokenizer that `to_dict` described; ValueError when the payload is anything else."""

    @property
    def id_dtype(self) -> np.dtype[Any]:
        """The integer type of the ids: uint16 while they fit (half the memory of int32), else int32."""
        return np.dtype(np.uint16 if self.vocab_size <= 1 << 16 else np.int32)

    def token(self, token_id: int) -> str:
        """One token as a label for a figure: ␣ for space, ⏎ for newline, `\\xe2` for a lone byte of UTF-8."""
        return "".join(map(_visible, self.token_bytes(token_id).decode("utf-8", errors="backslashreplace")))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer as one JSON file; an old file stays whole until the new one replaces it."""
        target = Path(path).resolve()
        if not target.parent.is_dir():
            raise FileNotFoundError(f"cannot save {target}: the folder {target.parent} does not exist; create it first")
        if target.is_dir():
            raise IsADirectoryError(f"cannot save {target}: it is a folder; pass the name of a file inside it")
        write_atomically(target, lambda file: file.write(_document(self.to_dict())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"

    def _checked_id(self, token_id: int) -> int:
        try:
            index = operator.index(token_id)
        except TypeError:
            raise TypeError(f"a token id is an integer, got {token_id!r} ({type(token_id).__name__})") from None
        if not 0 <= index < self.vocab_size:
            raise ValueError(f"token id {index} is out of range: this vocabulary has ids 0 to {self.vocab_size - 1}")
        return index

    def _checked_ids(self, ids: npt.ArrayLike) -> Ids:
        array = np.asarray(ids)
        if array.ndim > 1:
            raise ValueError(f"decode takes one row of ids (T,), got shape {array.shape}; decode row by row")
        if array.size == 0:                                     # np.asarray([]) is float64
            return np.zeros(0, np.int64)
        if array.dtype.kind not in "iu":
            raise TypeError(f"decode takes integer ids, got dtype {array.dtype}; take the argmax of logits, or round")
        outside = (array < 0) | (array >= self.vocab_size)
        if outside.any():
            position = int(np.argmax(outside))
            raise ValueError(f"id {array.flat[position]} at position {position} is out of range: "
                             f"this vocabulary has ids 0 to {self.vocab_size - 1}")
        return array.reshape(-1)


class CharTokenizer(Tokenizer):
    """One token per character (Unicode code point); `vocabulary` lists them in the order of their ids."""

    kind = "char"

    def __init__(self, vocabulary: Iterable[str]) -> None:
        characters = list(vocabulary)
        for index, character in enumerate(characters):
            if not isinstance(character, str) or len(character) != 1:
                raise ValueError(f"vocabulary entry {index} is {character!r:.80}, expected a single character")
        if not characters:
            raise ValueError("the vocabulary is empty; pass at least one character, or train on a text")
        repeated = [character for character, times in Counter(characters).items() if times > 1]
        if repeated:
            raise ValueError(f"the vocabulary lists {repeated[0]!r} more than once; list each character once")
        self.vocabulary = "".join(characters)
        self._code_points = _code_points(self.vocabulary)                       # id -> code point
        self._ids = np.full(int(self._code_points.max()) + 2, -1, np.int32)     # code point -> id, or -1
        self._ids[self._code_points] = np.arange(len(characters))

    @classmethod
    def train(cls, text: str) -> Self:
        """A tokenizer for exactly the characters of the text, numbered by code point; ValueError if there are none."""
        characters = sorted(set(_checked_text(text)))
        surrogates = [text.index(character) for character in characters if "\ud800" <= character <= "\udfff"]
        if surrogates:
            _encoded(text[min(surrogates)], "utf-8", min(surrogates))           # raises, with the position
        return cls(characters)

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str) -> Ids:
        """Text to ids (T,), T = len(text); ValueError names the first character outside the vocabulary."""
        ids = np.empty(len(_checked_text(text, allow_empty=True)), self.id_dtype)
        for start in range(0, len(text), BLOCK):                # block by block: no large temporary
            points = _code_points(text[start : start + BLOCK], start)
            block = self._ids[np.minimum(points, self._ids.size - 1)]
            if (block < 0).any():
                position = start + int(np.argmax(block < 0))
                stranger = text[position]
                raise ValueError(f"cannot encode {stranger!r} (U+{ord(stranger):04X}) at position {position}: it is "
                                 f"not among the {self.vocab_size} characters of this vocabulary; remove it, train "
                                 "on a text that has it, or use BPETokenizer, which can write any text")
            ids[start : start + BLOCK] = block
        return ids

    def decode(self, ids: npt.ArrayLike) -> str:
        """Ids (T,) to a text of T characters; TypeError unless integers, ValueError when out of range."""
        return self._code_points[self._checked_ids(ids)].tobytes().decode("utf-32-le")

    def token_bytes(self, token_id: int) -> bytes:
        return self.vocabulary[self._checked_id(token_id)].encode("utf-8")

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "vocabulary": self.vocabulary}

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        vocabulary = _field(payload, cls.kind, "vocabulary")
        if not isinstance(vocabulary, str):
            raise ValueError(f"its vocabulary is a {type(vocabulary).__name__}, expected a string")
        return cls(vocabulary)


class BPETokenizer(Tokenizer):
    """Byte-level byte-pair encoding; merge i joins the two token ids of `merges[i]` into the token 256 + i."""

    kind = "bpe"

    def __init__(self, merges: Iterable[Sequence[int]]) -> None:
        self.merges: list[Pair] = []
        self._tokens = [bytes([byte]) for byte in range(BYTES)]                 # id -> bytes
        self._merged: dict[Pair, int] = {}                                      # pair -> id
        self._cache: dict[str, bytes] = {}                                      # chunk -> its ids as raw memory
        for left, right in map(self._checked_pair, merges):
            self._merged[left, right] = len(self._tokens)
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
        sample = _checked_text(text)[:max_characters]
        _encoded(sample, "utf-8")                               # refuses lone surrogates, with their position
        times = Counter(match.group() for match in CHUNK.finditer(sample))
        words = [list(word.encode("utf-8")) for word in times]
        return cls(_learn_merges(words, list(times.values()), vocab_size - BYTES))

    @property
    def vocab_size(self) -> int:
        return len(self._tokens)

    def encode(self, text: str) -> Ids:
        """Text to ids (T,): every chunk merged in the order learned; ValueError only for lone surrogates."""
        ids = bytearray()
        for match in CHUNK.finditer(_checked_text(text, allow_empty=True)):
            chunk = match.group()
            encoded = self._cache.get(chunk)
            if encoded is None:
                encoded = np.array(self._merge(list(_encoded(chunk, "utf-8", match.start()))), self.id_dtype).tobytes()
                if len(self._cache) >= CACHE_ENTRIES:
                    self._cache.clear()
                self._cache[chunk] = encoded
            ids += encoded
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

    def _merge(self, ids: list[int]) -> list[int]:
        unknown = len(self._tokens)
        while len(ids) > 1:
            pair = min(pairwise(ids), key=lambda candidate: self._merged.get(candidate, unknown))
            if pair not in self._merged:                        # the earliest merge first, until none applies
                break
            ids = _replace(ids, pair, self._merged[pair])
        return ids

    def _checked_pair(self, pair: Sequence[int]) -> Pair:
        index, size = len(self.merges), len(self._tokens)
        if not isinstance(pair, Sequence) or len(pair) != 2 or any(type(part) is not int for part in pair):
            raise ValueError(f"merge {index} is {pair!r:.80}, expected a pair of token ids")
        left, right = pair
        if not (0 <= left < size and 0 <= right < size):
            raise ValueError(f"merge {index} joins {left} and {right}, but only ids 0 to {size - 1} exist before it")
        if (left, right) in self._merged:
            raise ValueError(f"merge {index} repeats the pair {left}, {right}")
        if len(self._tokens[left]) + len(self._tokens[right]) > LONGEST_TOKEN:
            raise ValueError(f"merge {index} makes a token of more than {LONGEST_TOKEN} bytes")
        return left, right


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer that `save` wrote; ValueError in one line when the file is foreign, truncated or damaged."""
    if Path(path).is_dir():
        raise IsADirectoryError(f"{os.fspath(path)} is a folder, expected a tokenizer file")
    try:
        data = read_bytes(path).replace(b"\r\n", b"\n")       # git on Windows may rewrite the last newline
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no tokenizer file {os.fspath(path)}; check the name, or train one") from None
    try:
        document = parse_json(data, "it")
        if not isinstance(document, dict) or document.keys() != {"crc32", "tokenizer"}:
            raise ValueError("it was not written by Tokenizer.save")
        if data != _document(document["tokenizer"]):
            raise ValueError("its contents do not match its checksum")
        return tokenizer_from_dict(document["tokenizer"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"cannot load the tokenizer {os.fspath(path)}: {brief(error)}; "
                         "copy the file again from where it came, or train a new one") from None


def tokenizer_from_dict(payload: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of any kind that `to_dict` described; ValueError when the payload is anything else."""
    kinds = Tokenizer.kinds
    kind = payload.get("kind") if isinstance(payload, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"its kind is {kind!r:.80}, expected one of {', '.join(map(repr, kinds))}")
    return kinds[kind].from_dict(payload)


def _learn_merges(words: list[list[int]], times: list[int], limit: int) -> list[Pair]:
    """Up to `limit` merges; a merge recounts only the words that hold its pair, and a heap finds the next one."""
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
            merged = _replace(words[index], best, BYTES + len(merges))
            if len(merged) == len(words[index]):                # an earlier merge already took the pair apart
                continue
            for pair in pairwise(words[index]):
                change[pair] -= times[index]
            for pair in pairwise(merged):
                change[pair] += times[index]
                where[pair].add(index)
            words[index] = merged
        for pair, difference in change.items():
            if difference:
                counts[pair] += difference
                heapq.heappush(heap, (-counts[pair], pair))
        merges.append(best)
    return merges


def _replace(ids: list[int], pair: Pair, new: int) -> list[int]:
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


def _checked_text(text: str, allow_empty: bool = False) -> str:
    if not isinstance(text, str):
        raise TypeError(f"expected text (str), got {type(text).__name__}; decode bytes first: data.decode('utf-8')")
    if not text and not allow_empty:
        raise ValueError("cannot train a tokenizer on an empty text; pass some text")
    return text


def _encoded(text: str, codec: str, start: int = 0) -> bytes:
    try:
        return text.encode(codec)
    except UnicodeEncodeError as error:
        raise ValueError(f"U+{ord(text[error.start]):04X} at position {start + error.start} is a lone surrogate, half "
                         "of a UTF-16 pair and not a character; mend the text with "
                         "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')") from None


def _code_points(text: str, start: int = 0) -> npt.NDArray[np.uint32]:
    return np.frombuffer(_encoded(text, "utf-32-le", start), "<u4")


def _visible(character: str) -> str:
    if character in " \n\t":
        return {" ": "␣", "\n": "⏎", "\t": "⇥"}[character]
    if not character.isprintable():
        return character.encode("unicode_escape").decode("ascii")
    return "◌" + character if unicodedata.category(character).startswith("M") else character


def _field(payload: Mapping[str, Any], kind: str, name: str) -> Any:
    if not isinstance(payload, Mapping) or payload.keys() != {"kind", name} or payload["kind"] != kind:
        fields = dict(payload) if isinstance(payload, Mapping) else payload
        raise ValueError(f"expected a {kind!r} tokenizer with the fields 'kind' and {name!r}, got {str(fields)[:80]!r}")
    return payload[name]


def _document(payload: Mapping[str, Any]) -> bytes:
    """The one way to write a payload: ASCII, sorted keys, no spaces. So any changed bit shows when it is rewritten."""
    canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return f'{{"crc32":"{zlib.crc32(canonical.encode("ascii")):08x}","tokenizer":{canonical}}}\n'.encode("ascii")
