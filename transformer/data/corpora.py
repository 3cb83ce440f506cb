"""Corpora: read a text, split its ids, cut them into batches, and the losses that a model has to beat.

A language model reads ids[t : t + T] and must predict ids[t + 1 : t + T + 1]. Three models that need no training
draw the lines to beat (Jurafsky & Martin, Speech and Language Processing, 3rd ed., chapter 3), in nats per token:

    uniform  P(b)     = 1 / V
    unigram  P(b)     = (count(b) + 1) / (N + V)
    bigram   P(b | a) = lambda * count(a b) / count(a) + (1 - lambda) * P(b)

All are scored on the same targets as the network: every token of the validation ids but the first.
"""

import math
import os
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.integer[Any]]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

IGNORE_INDEX = -100         # the target of a padded position; pass it to cross_entropy as ignore_index
BLOCK = 1 << 20             # ids counted at once
LAMBDAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99)


def _help_topics() -> dict[str, str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return {}
    return topics


def default_text() -> str:
    """The help topics that come with Python, about 0.5 MB of English.

    Where they were stripped, as in a browser: 0.13 MB of this project's own prose, which is in the public domain.
    """
    if topics := _help_topics():
        return "\n".join(topics.values())
    return resources.files(__package__).joinpath("default.txt").read_text(encoding="ascii")


def default_text_name() -> str:
    """What ``default_text`` is, in words."""
    return "Python's own help pages (pydoc_data.topics)" if _help_topics() else "this project's own prose"


def read_text(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> str:
    """One or many UTF-8 files as one text, a newline between files; a BOM is dropped, CRLF and CR become newlines.

    FileNotFoundError, IsADirectoryError, or ValueError for no files, an empty file or one that is not UTF-8.
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    if not files:
        raise ValueError("no files to read; pass at least one text file")
    return "\n".join(map(_decoded, files))


def train_validation_split(
    ids: npt.ArrayLike, context_length: int, validation_fraction: float = 0.1
) -> tuple[Ids, Ids]:
    """The first ids to train on and the last to validate on, as views; ValueError when a part has no full window."""
    array = _checked_ids(ids, context_length=context_length)
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction is {validation_fraction}, expected a number between 0 and 1, say 0.1")
    cut = array.size - round(array.size * validation_fraction)
    shortest = context_length + 1
    for name, size in (("training", cut), ("validation", array.size - cut)):
        if size < shortest:
            wanted = math.ceil(shortest / min(validation_fraction, 1 - validation_fraction))
            raise ValueError(f"the {name} part has {size} of {array.size} tokens, but context length {context_length} "
                             f"needs at least {shortest}; pass a text of about {wanted} tokens or more, "
                             f"a shorter context, or another validation fraction than {validation_fraction}")
    return array[:cut], array[cut:]


def held_out(ids: Ids, context_length: int) -> tuple[Ids, Ids]:
    """The first 90 % for training; of the rest at most 200 000 tokens for validation, so that a large text does not wait for it."""
    train_ids, validation_ids = train_validation_split(ids, context_length)
    return train_ids, validation_ids[:200_001]


def batch(ids: npt.ArrayLike, batch_size: int, context_length: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Inputs and targets (B, T), windows at random places; the targets are the inputs one step later."""
    array = _checked_ids(ids, batch_size=batch_size, context_length=context_length)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is {rng!r}, expected a random generator: np.random.default_rng(seed)")
    if array.size < context_length + 1:
        raise ValueError(f"{array.size} ids are too few for context length {context_length}: a window and its targets "
                         f"take {context_length + 1}; pass a longer text or a shorter context")
    starts = rng.integers(0, array.size - context_length, size=(batch_size, 1))     # (B, 1)
    places = starts + np.arange(context_length)                                     # (B, T)
    return array[places].astype(np.int64), array[places + 1].astype(np.int64)


def sequential_batches(ids: npt.ArrayLike, batch_size: int, context_length: int) -> Iterator[tuple[Ints, Ints]]:
    """Batches of inputs and targets (B, T) in which each of ids[1:] is a target exactly once, in order.

    The last batch may have fewer rows; its last row is padded with input 0 and target `IGNORE_INDEX`.
    """
    array = _checked_ids(ids, batch_size=batch_size, context_length=context_length)
    if array.size < 2:
        raise ValueError(f"{array.size} ids hold no target: pass at least 2")
    step = batch_size * context_length
    starts = range(0, array.size - 1, step)
    return (_padded_rows(array[start : start + step + 1], context_length) for start in starts)


def uniform_loss(vocab_size: int) -> float:
    """log V, the loss of a model that knows nothing."""
    _checked_size("vocab_size", vocab_size)
    return math.log(vocab_size)


def unigram_loss(train_ids: npt.ArrayLike, validation_ids: npt.ArrayLike, vocab_size: int) -> float:
    """Nats per token of validation_ids[1:] under the token frequencies of train_ids with add-one smoothing."""
    train, validation = _checked_ids(train_ids), _checked_ids(validation_ids)
    _checked_sizes(vocab_size, train.size, 1, validation.size)
    counts = _counts(validation[1:], vocab_size)
    return float(-counts @ np.log(_unigram(train, vocab_size)) / counts.sum())


def bigram_loss(train_ids: npt.ArrayLike, validation_ids: npt.ArrayLike, vocab_size: int) -> float:
    """Nats per token of validation_ids[1:] under bigrams of train_ids, interpolated with the add-one unigram.

    The weight lambda is the one of `LAMBDAS` that predicts the last tenth of train_ids best from the rest; the counts
    are then taken from all of train_ids (Jelinek & Mercer 1980, with one weight). After a token that train_ids never
    continues, the unigram alone predicts. Memory grows with the number of different pairs, not with V squared.
    """
    train, validation = _checked_ids(train_ids), _checked_ids(validation_ids)
    _checked_sizes(vocab_size, train.size, 4, validation.size)
    cut = train.size - max(2, train.size // 10)
    held_out = _bigram_losses(train[:cut], train[cut:], vocab_size, LAMBDAS)
    return _bigram_losses(train, validation, vocab_size, [LAMBDAS[int(np.argmin(held_out))]])[0]


def _decoded(file: Path) -> str:
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; pass the text files in it, such as {file / 'book.txt'}")
    if not file.exists():
        raise FileNotFoundError(f"there is no file {file}; check the name, or pass another text")
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:                 # error.object begins after the BOM
        offset = len(data) - len(error.object) + error.start
        guess = "UTF-16" if offset == 0 and data[0] in (0xFE, 0xFF) else "WINDOWS-1252"
        raise ValueError(f"{file} is not UTF-8: byte 0x{data[offset]:02x} at offset {offset} ({error.reason}); save it "
                         f"as UTF-8 in an editor, or try: iconv -f {guess} -t UTF-8 {file} > new.txt") from None
    if not text:
        raise ValueError(f"{file} is empty; pass a file with text in it")
    del data
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _padded_rows(window: Ids, context_length: int) -> tuple[Ints, Ints]:
    size = window.size - 1
    rows = -(-size // context_length)
    inputs = np.zeros(rows * context_length, np.int64)
    targets = np.full(rows * context_length, IGNORE_INDEX, np.int64)
    inputs[:size], targets[:size] = window[:-1], window[1:]
    return inputs.reshape(rows, context_length), targets.reshape(rows, context_length)


def _bigram_losses(train: Ids, validation: Ids, vocab_size: int, lambdas: Iterable[float]) -> list[float]:
    pairs, times = _pair_counts(train, vocab_size)
    seen, weight = _pair_counts(validation, vocab_size)
    first, second = np.divmod(seen, vocab_size)
    place = np.minimum(np.searchsorted(pairs, seen), pairs.size - 1)
    follows = np.where(pairs[place] == seen, times[place], 0)                       # count(a b)
    continued = _counts(train[:-1], vocab_size)[first]                              # count(a), each with a successor
    bigram = follows / np.maximum(continued, 1)
    unigram = _unigram(train, vocab_size)[second]
    losses = []
    for value in lambdas:
        trust = np.where(continued > 0, value, 0.0)
        losses.append(float(-weight @ np.log(trust * bigram + (1 - trust) * unigram) / weight.sum()))
    return losses


def _pair_counts(ids: Ids, vocab_size: int) -> tuple[Ints, Ints]:
    """The different pairs a b of neighbours as sorted codes a * V + b, and how often each occurs."""
    pairs = times = np.zeros(0, np.int64)
    for block in _blocks(ids, vocab_size, overlap=1):
        new, count = np.unique(block[:-1] * vocab_size + block[1:], return_counts=True)
        pairs, which = np.unique(np.concatenate([pairs, new]), return_inverse=True)
        times = np.bincount(which, np.concatenate([times, count])).astype(np.int64)
    return pairs, times


def _unigram(ids: Ids, vocab_size: int) -> Floats:
    return (_counts(ids, vocab_size) + 1.0) / (ids.size + vocab_size)               # (V,)


def _counts(ids: Ids, vocab_size: int) -> Ints:
    counts = np.zeros(vocab_size, np.int64)
    for block in _blocks(ids, vocab_size):
        counts += np.bincount(block.astype(np.intp), minlength=vocab_size)     # intp: a browser has 32 bits
    return counts


def _blocks(ids: Ids, vocab_size: int, overlap: int = 0) -> Iterator[Ints]:
    for start in range(0, ids.size - overlap, BLOCK):
        block = ids[start : start + BLOCK + overlap].astype(np.int64)
        for value in (block.min(), block.max()):
            if not 0 <= value < vocab_size:
                raise ValueError(f"id {value} is out of range: vocab_size {vocab_size} has ids 0 to {vocab_size - 1}")
        yield block


def _checked_ids(ids: npt.ArrayLike, **sizes: int) -> Ids:
    array = np.asarray(ids)
    if array.ndim != 1:
        raise ValueError(f"ids have shape {array.shape}, expected one row of token ids (N,)")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"ids have dtype {array.dtype}, expected integers; encode the text with a tokenizer first")
    for name, value in sizes.items():
        _checked_size(name, value)
    return array


def _checked_size(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} is {value!r}, expected a whole number of at least 1")


def _checked_sizes(vocab_size: int, train: int, shortest: int, validation: int) -> None:
    _checked_size("vocab_size", vocab_size)
    if train < shortest or validation < 2:
        raise ValueError(f"{train} training and {validation} validation ids are too few: "
                         f"pass at least {shortest} and 2")
