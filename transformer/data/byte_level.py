"""GPT-2's tokenizer: byte-level BPE from the usual ``vocab.json`` and ``merges.txt``.

The text is cut into words, each with the space before it; a word is written as UTF-8 bytes, and the listed pairs are merged, the
earliest in the list first.  In the files each byte is a visible character: the printable ones of Latin-1 stand for themselves, the
others, in order, for the characters from U+0100 on, so that a space is Ġ.  Source: Radford et al. (2019), section 2.2.
"""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .bpe import learn_merges, merged
from .files import brief, read_bytes, read_json
from .tokenizers import Ids, Remembered, Tokenizer, _checked_text, _encoded

END_OF_TEXT = "<|endoftext|>"
PRINTABLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
OTHERS = [byte for byte in range(256) if byte not in PRINTABLE]
CHARACTER = {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(OTHERS)}  # in the order of GPT-2's ids
BYTE = {character: byte for byte, character in CHARACTER.items()}
LONGEST_REMEMBERED = 64  # characters of a word that is kept in the cache


@cache
def split_pattern() -> re.Pattern[str]:
    r"""GPT-2's pattern, ``'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+``, for a library without ``\p``.

    Python's ``\w`` is letters, numbers and _; its ``\d`` only the decimal numbers, so the others (², ½, Ⅷ) are listed.  Its ``\s`` has
    four control characters, U+001C to U+001F, that are no white space here.
    """
    rare = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) in ("Nl", "No"))
    letter, number, space = rf"[^\W\d_{rare}]", rf"[\d{rare}]", r"[^\S\x1c-\x1f]"
    other = r"(?:[^\w\s]|[_\x1c-\x1f])"
    return re.compile(rf"'s|'t|'re|'ve|'m|'ll|'d| ?{letter}+| ?{number}+| ?{other}+|{space}+(?!(?!{space})[\s\S])|{space}+")


class GPT2Tokenizer(Tokenizer):
    """Byte-level BPE with the vocabulary, the merges and the way of cutting words of GPT-2.

    ``vocabulary`` maps tokens to ids 0 … V − 1, ``merges`` lists pairs of tokens, both in the characters of the files; ``special``
    tokens stand for themselves wherever they are written in a text.
    """

    kind = "gpt2"

    def __init__(self, vocabulary: Mapping[str, int], merges: Iterable[Sequence[str]], special: Sequence[str] = (END_OF_TEXT,)) -> None:
        self.vocabulary, self.merges = dict(vocabulary), [tuple(pair) for pair in merges]
        self.special = tuple(token for token in special if token in self.vocabulary)
        if sorted(self.vocabulary.values()) != list(range(len(self.vocabulary))):
            raise ValueError(f"the {len(self.vocabulary)} tokens of the vocabulary should have the ids 0 to {len(self.vocabulary) - 1}, each once")
        if absent := [c for c in CHARACTER.values() if c not in self.vocabulary]:
            raise ValueError(f"the vocabulary lacks {absent[0]!r}, which stands for the byte 0x{BYTE[absent[0]]:02x}; it needs all 256")
        self._ranks: dict[tuple[int, int], tuple[int, int]] = {}  # ids of a pair -> place of its merge, id of the two together
        for rank, pair in enumerate(self.merges):
            known = len(pair) == 2 and all(isinstance(part, str) for part in pair)
            if not known or not all(part in self.vocabulary for part in (*pair, "".join(pair))):
                raise ValueError(f"merge {rank}, {' '.join(map(str, pair))[:80]!r}: not two tokens of the vocabulary that make a third")
            self._ranks.setdefault((self.vocabulary[pair[0]], self.vocabulary[pair[1]]), (rank, self.vocabulary["".join(pair)]))
        self._bytes = [b""] * len(self.vocabulary)
        for token, i in self.vocabulary.items():
            ours = token not in self.special and all(c in BYTE for c in token)
            self._bytes[i] = bytes(BYTE[c] for c in token) if ours else token.encode("utf-8")
        self._byte_ids = [self.vocabulary[CHARACTER[byte]] for byte in range(256)]
        self._cut = re.compile("(" + "|".join(map(re.escape, sorted(self.special, key=len, reverse=True))) + ")") if self.special else None
        self._cache = Remembered(self._word)

    @classmethod
    def from_files(cls, vocabulary: str | os.PathLike[str], merges: str | os.PathLike[str]) -> Self:
        """The tokenizer of a ``vocab.json`` and a ``merges.txt``; FileNotFoundError, or ValueError that names the file."""
        for path in (vocabulary, merges):
            if not Path(path).is_file():
                raise FileNotFoundError(f"there is no file {os.fspath(path)}; a GPT-2 tokenizer is a vocab.json and a merges.txt")
        try:
            tokens = read_json(vocabulary)
            if not all(type(i) is int for i in tokens.values()):
                raise ValueError(f"{os.fspath(vocabulary)}: expected a JSON object that gives each token its id")
            lines = [line.rstrip("\r") for line in read_bytes(merges).decode("utf-8-sig").split("\n")]
            return cls(tokens, [line.split(" ") for line in lines if line and not line.startswith("#version")])
        except ValueError as error:
            if str(error).startswith((os.fspath(vocabulary), os.fspath(merges))):
                raise
            raise ValueError(f"{os.fspath(merges)}, with {os.fspath(vocabulary)}: {brief(error)}") from error

    def files(self) -> dict[str, str]:
        """The contents of ``vocab.json`` and ``merges.txt``."""
        tokens = dict(sorted(self.vocabulary.items(), key=lambda item: item[1]))
        lines = ["#version: 0.2", *(f"{left} {right}" for left, right in self.merges)]
        return {"vocab.json": json.dumps(tokens, ensure_ascii=False) + "\n", "merges.txt": "\n".join(lines) + "\n"}

    @classmethod
    def train(cls, text: str, vocab_size: int = 512, max_characters: int = 2_000_000) -> Self:
        """Learn merges from a text until there are ``vocab_size`` tokens, <|endoftext|> the last of them."""
        if vocab_size < 257:
            raise ValueError(f"vocab_size is {vocab_size}, expected at least 257: the 256 bytes and {END_OF_TEXT}")
        tokens, merges = [CHARACTER[byte] for byte in range(256)], []
        for left, right in learn_merges(_checked_text(text)[:max_characters], split_pattern(), vocab_size - 257):
            merges.append((tokens[left], tokens[right]))
            tokens.append(tokens[left] + tokens[right])
        ordered = dict.fromkeys([*CHARACTER.values(), *tokens[256:], END_OF_TEXT])
        return cls({token: i for i, token in enumerate(ordered)}, merges)

    def encode(self, text: str) -> Ids:
        """Text to ids (T,); ValueError only for lone surrogates."""
        _encoded(_checked_text(text, allow_empty=True), "utf-8")
        ids: list[int] = []
        for part in self._cut.split(text) if self._cut else [text]:
            if part in self.special:
                ids.append(self.vocabulary[part])
            else:
                for word in split_pattern().findall(part):
                    ids += self._cache[word] if len(word) <= LONGEST_REMEMBERED else self._word(word)
        return np.array(ids, self.id_dtype)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Ids (T,) to text, with U+FFFD for bytes that are not UTF-8; TypeError unless integers, ValueError when out of range."""
        return b"".join(self._bytes[i] for i in self._checked_ids(ids)).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        return self._bytes[self._checked_id(token_id)]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "vocabulary": self.vocabulary, "merges": [list(pair) for pair in self.merges], "special": list(self.special)}

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        given = dict(payload)
        if given.pop("kind", None) != cls.kind or given.keys() != {"vocabulary", "merges", "special"}:
            raise ValueError(f"expected a {cls.kind!r} tokenizer with vocabulary, merges and special tokens, got {str(payload)[:80]!r}")
        if not isinstance(given["vocabulary"], dict) or not all(type(i) is int for i in given["vocabulary"].values()):
            raise ValueError("its vocabulary does not give each token its id")
        if not isinstance(given["merges"], list) or not all(isinstance(pair, list) for pair in given["merges"]):
            raise ValueError("its merges are no list of pairs")
        return cls(**given)

    def _word(self, word: str) -> list[int]:
        return merged([self._byte_ids[byte] for byte in word.encode("utf-8")], self._ranks)
