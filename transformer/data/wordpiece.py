"""WordPiece, the tokenizer of BERT: words, and where a word is not in the vocabulary, its longest known pieces.

    clean the text, space out CJK characters, strip accents, lowercase
    split at white space and around punctuation
    for each word: take the longest piece of the vocabulary that begins it; go on after it with pieces that begin with ##

"unaffable" becomes un ##aff ##able; a word that cannot be cut this way becomes [UNK] as a whole.  Sources: Wu et al. (2016),
section 4.1; Devlin et al. (2019), section 3; the rules of normalisation are those of BERT's release.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from . import codec
from .files import brief, read_bytes
from .tokenizers import Ids, Remembered, Tokenizer, _checked_text, _encoded

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST_WORD = 100  # characters; a longer word is [UNK]
CJK = [  # blocks whose characters are words of their own
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
]  # fmt: skip


def for_each(rule: Callable[[str], str]) -> Remembered:
    """What becomes of each character, as ``str.translate`` asks for it: by code point."""
    return Remembered(lambda code_point: rule(chr(code_point)))


@for_each
def CLEANED(c: str) -> str:
    """Control characters go, white space is a space, CJK characters get space around them."""
    if c in "\t\n\r" or unicodedata.category(c)[0] == "Z":
        return " "
    if c == "\ufffd" or unicodedata.category(c) in ("Cc", "Cf", "Co"):  # a code point not yet assigned (Cn) stays
        return ""
    return f" {c} " if any(first <= ord(c) <= last for first, last in CJK) else c


ACCENTS_STRIPPED = for_each(lambda c: "" if unicodedata.category(c) == "Mn" else c)
LOWERCASED = for_each(str.lower)  # one by one: Σ is σ wherever it stands
PUNCTUATION_APART = for_each(lambda c: f" {c} " if unicodedata.category(c)[0] == "P" or c in "$+<=>^`|~" else c)


def normalise(text: str, lowercase: bool = True, strip_accents: bool | None = None) -> str:
    """The text cleaned of control characters, with spaces around CJK characters; ``strip_accents`` is as ``lowercase`` unless given."""
    text = text.translate(CLEANED)
    if lowercase if strip_accents is None else strip_accents:
        text = unicodedata.normalize("NFD", text).translate(ACCENTS_STRIPPED)
    return text.translate(LOWERCASED) if lowercase else text


def words(text: str) -> list[str]:
    """A normalised text cut at white space and around each punctuation character."""
    return text.translate(PUNCTUATION_APART).split()


class WordPieceTokenizer(Tokenizer):
    """BERT's tokenizer; ``vocabulary`` lists the tokens in the order of their ids, [PAD] [UNK] [CLS] [SEP] [MASK] among them.

    ``encode`` puts [CLS] before and [SEP] after the text, and keeps at most ``max_length`` tokens with them.
    """

    kind = "wordpiece"

    def __init__(
        self, vocabulary: Iterable[str], lowercase: bool = True, strip_accents: bool | None = None, max_length: int = 512
    ) -> None:
        self.vocabulary = list(vocabulary)
        self.lowercase, self.strip_accents, self.max_length = lowercase, strip_accents, max_length
        self._ids = {token: i for i, token in enumerate(self.vocabulary)}
        if absent := [token for token in SPECIAL if token not in self._ids]:
            raise ValueError(f"the vocabulary lacks {' '.join(absent)}; expected BERT's vocab.txt, one token in each line")
        if len(self._ids) < len(self.vocabulary):
            twice = next(token for i, token in enumerate(self.vocabulary) if self._ids[token] != i)
            raise ValueError(f"the vocabulary lists {twice!r:.80} more than once; list each token once")
        if isinstance(max_length, bool) or not isinstance(max_length, int) or max_length < 2:
            raise ValueError(f"max_length is {max_length}, expected at least 2, for [CLS] and [SEP]")
        self.pad_id, self.unknown_id, self.cls_id, self.sep_id, self.mask_id = (self._ids[token] for token in SPECIAL)
        self._longest = max(map(len, self.vocabulary))
        self._cache = Remembered(self._pieces)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """The tokenizer of a vocab.txt, one token in each line."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no file {os.fspath(path)}; expected BERT's vocab.txt")
        try:
            lines = read_bytes(path).decode("utf-8-sig").split("\n")
            return cls([line.rstrip("\r") for line in (lines if lines[-1] else lines[:-1])], **options)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {brief(error)}") from error

    def encode(self, text: str) -> Ids:
        """Text to ids (T,), [CLS] first and [SEP] last, T at most ``max_length``; ValueError only for lone surrogates."""
        _encoded(_checked_text(text, allow_empty=True), "utf-8")
        room, ids = self.max_length - 2, []
        for part in re.split(r"(\[(?:PAD|UNK|CLS|SEP|MASK)\])", text):  # a special token written out in the text is that token
            ids += [self._ids[part]] if part in SPECIAL else [i for word in self.words(part) for i in self._cache[word]]
        return np.array([self.cls_id, *ids[:room], self.sep_id], self.id_dtype)

    def words(self, text: str) -> list[str]:
        """The words and punctuation marks that are then cut into pieces."""
        return words(normalise(text, self.lowercase, self.strip_accents))

    def batch(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Texts to ids (B, T), padded to the longest, and the attention mask (B, T) with 0 for padding."""
        if isinstance(texts, str) or not len(texts):
            raise ValueError(f"batch takes a list of one text or more, got {texts!r:.40}")
        return self.padded([self.encode(text) for text in texts])

    def padded(self, rows: Sequence[Ids]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows of ids as one array (B, T), and its attention mask."""
        ids, real = codec.padded(rows, self.pad_id)
        return ids, real.astype(np.int64)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Ids (T,) to text: pieces joined, words apart, special tokens left out; what normalising lost does not come back."""
        tokens = [self.vocabulary[i] for i in self._checked_ids(ids)]
        return " ".join(token for token in tokens if token not in SPECIAL).replace(" ##", "")

    def token_bytes(self, token_id: int) -> bytes:
        return self.vocabulary[self._checked_id(token_id)].removeprefix("##").encode("utf-8")

    def token(self, token_id: int) -> str:
        """One token as a label for a figure, with its ##."""
        return self.vocabulary[self._checked_id(token_id)]

    def to_dict(self) -> dict[str, Any]:
        settings = {"lowercase": self.lowercase, "strip_accents": self.strip_accents, "max_length": self.max_length}
        return {**super().to_dict(), **settings}

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        given = dict(payload)
        vocabulary = given.get("vocabulary")
        if given.pop("kind", None) != cls.kind or given.keys() != {"vocabulary", "lowercase", "strip_accents", "max_length"}:
            raise ValueError(f"expected a {cls.kind!r} tokenizer with its vocabulary and settings, got {str(payload)[:80]!r}")
        if not isinstance(vocabulary, list) or not all(isinstance(token, str) for token in vocabulary):
            raise ValueError("its vocabulary is not a list of tokens")
        if not isinstance(given["lowercase"], bool) or not isinstance(given["strip_accents"], bool | None):
            raise ValueError("its settings lowercase and strip_accents are neither true nor false")
        return cls(**given)

    def _pieces(self, word: str) -> tuple[int, ...]:
        """The longest known piece first; [UNK] for a word that is too long, or cannot be cut so."""
        if len(word) > LONGEST_WORD:
            return (self.unknown_id,)
        ids, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            stops = range(min(len(word), start + self._longest), start, -1)
            stop = next((stop for stop in stops if prefix + word[start:stop] in self._ids), None)
            if stop is None:
                return (self.unknown_id,)
            ids.append(self._ids[prefix + word[start:stop]])
            start = stop
        return tuple(ids)
