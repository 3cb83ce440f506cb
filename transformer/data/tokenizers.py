"""Tokenizers: text to integer ids and back.

What every tokenizer can do, how one is read from its file, and the simplest: a character tokenizer numbers the code
points of a text.  Byte-pair encoding is in ``bpe``.
"""

import json
import operator
import os
import unicodedata
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from minigrad.storage import write_atomically

from .files import brief, parse_json, read_bytes

Ids = npt.NDArray[np.integer[Any]]

BLOCK = 1 << 18             # characters that CharTokenizer.encode looks up at once
CACHE_ENTRIES = 1 << 15     # words whose pieces are remembered


class Tokenizer(ABC):
    """What every tokenizer can do; those of a `kind` differ only in how they cut the text."""

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type["Tokenizer"]]] = {}
    vocabulary: Any             # the tokens in the order of their ids, for those that list them

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Tokenizer.kinds[cls.kind] = cls

    @property
    def vocab_size(self) -> int:
        """The number of different tokens V; ids run from 0 to V - 1."""
        return len(self.vocabulary)

    @abstractmethod
    def encode(self, text: str) -> Ids:
        """Text to ids (T,) of dtype `id_dtype`; ValueError for text that this tokenizer cannot write."""

    @abstractmethod
    def decode(self, ids: npt.ArrayLike) -> str:
        """Ids (T,) to text; TypeError unless they are integers, ValueError unless each is in 0 .. V - 1."""

    def token_bytes(self, token_id: int) -> bytes:
        """The UTF-8 bytes of one token, for BPE perhaps only a part of a character."""
        return self.vocabulary[self._checked_id(token_id)].encode("utf-8")

    def to_dict(self) -> dict[str, Any]:
        """Everything that defines this tokenizer, ready for JSON; `tokenizer_from_dict` reads it back."""
        return {"kind": self.kind, "vocabulary": self.vocabulary}

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

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        vocabulary = _field(payload, cls.kind, "vocabulary")
        if not isinstance(vocabulary, str):
            raise ValueError(f"its vocabulary is a {type(vocabulary).__name__}, expected a string")
        return cls(vocabulary)


class Remembered(dict[Any, Any]):
    """What a function returned for each word, worked out when it is first asked for; emptied when it is full."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __missing__(self, word: Any) -> Any:
        if len(self) >= CACHE_ENTRIES:
            self.clear()
        self[word] = found = self.function(word)
        return found


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
