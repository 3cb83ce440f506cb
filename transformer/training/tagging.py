r"""A label for every word: named entities, semantic roles.

.. math:: p(y \mid x) = \prod_t p(y_t \mid x)

Labels are independent given the text, unlike the words of a translation.  Tags are B-X for the first word of a span of
kind X, I-X for its other words, O outside.  A word may be marked as the one that the tags are about (a predicate): it
is segment 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import Tensor, cross_entropy

from ..data.codec import Arrays, Pieces, Row, padded
from ..data.corpora import IGNORE_INDEX
from ..data.tasks.base import PairTask
from ..data.tasks.sentences import Tagged
from ..data.tokenizers import Tokenizer
from ..decoding.window import Spread, read_together
from ..evaluation.metrics import by_library, seqeval_f1, span_f1, spans, wrong_first
from .examples import OnTask, a_few, up_to


class Tagging(OnTask):
    """Say the tag of each word; judged by the F1 of spans, as a tag that is right alone may be of no use.

    ``class_weights`` (L,) let rare labels count more.  Raises ValueError for a tag that is none of ``labels``.
    """

    measure = "validation 1 − F1"

    def __init__(
        self,
        task: PairTask[Tagged],
        tokenizer: Tokenizer,
        labels: Sequence[str],
        max_length: int = 512,
        class_weights: Any = None,
    ) -> None:
        self.task, self.tokenizer, self.pieces, self.labels, self.max_length = task, tokenizer, Pieces(tokenizer), tuple(labels), max_length
        self.class_weights = class_weights
        self._numbers = {label: i for i, label in enumerate(self.labels)}
        strange = {tag for example in self.validation for tag in example.tags} - set(self.labels)
        if strange:
            raise ValueError(f"Tagging: the tag {min(strange)!r} is none of the labels {', '.join(self.labels)}")

    def collate(self, examples: Sequence[Tagged]) -> tuple[Arrays, np.ndarray]:
        """What the model reads, and the number of the label at the first piece of each word, IGNORE_INDEX elsewhere."""
        rows = [read(self.pieces, example, self.max_length) for example in examples]
        targets = []
        for row, example in zip(rows, examples, strict=True):
            wanted = np.full(len(row.ids), IGNORE_INDEX)
            wanted[row.first] = [self._numbers[tag] for tag in example.tags]
            targets.append(wanted)
        return self.pieces.arrays(rows), padded(targets, IGNORE_INDEX)[0]

    def loss(self, model: Any, batch: tuple[Arrays, np.ndarray], label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy per word, in nats."""
        arrays, targets = batch
        return cross_entropy(model(*arrays), targets, IGNORE_INDEX, label_smoothing, class_weights=self.class_weights)

    def counts(self, batch: tuple[Arrays, np.ndarray]) -> float:
        """How many words the loss is the mean of; with class weights, their sum."""
        real = batch[1][batch[1] != IGNORE_INDEX]
        return len(real) if self.class_weights is None else float(np.asarray(self.class_weights)[real].sum())

    def evaluate(self, model: Any, limit: int | None = None, spread: Spread = map) -> float:
        """1 − F1 of the spans in validation sentences of about ``limit`` words."""
        some = up_to(limit, self.validation, lambda example: len(example.words))
        return 1 - span_f1(tag(model, self.pieces, some, spread=spread), [example.tags for example in some]).rate

    def sample(self, model: Any, tokens: int, rng: np.random.Generator) -> str:
        """A few validation sentences with the spans that the model finds."""
        chosen = a_few(self.validation, tokens, rng)
        return "\n".join(bracketed(e, tags) for e, tags in zip(chosen, tag(model, self.pieces, chosen), strict=True))

    def test(self, model: Any, num_beams: int = 1, spread: Spread = map) -> dict[str, Any]:
        """F1 of spans on the test part."""
        examples = self.task.sample("test")
        found, wanted = tag(model, self.pieces, examples, spread=spread), [example.tags for example in examples]
        pairs = zip(examples, found, strict=True)
        shown = [(e.source, bracketed(e, tags), bracketed(e, e.tags)) for e, tags in pairs]
        library = by_library(lambda: {"span F1 by seqeval": seqeval_f1(found, wanted)})
        return {"test span F1": span_f1(found, wanted), **library, "examples": wrong_first(shown)}

    def tokens(self, batch: tuple[Arrays, np.ndarray]) -> int:
        return batch[1].size


def read(pieces: Pieces, example: Tagged, max_length: int) -> Row:
    """The sentence as one part, its predicate as segment 1.  Raises ValueError for one that is empty or too long."""
    if not example.words:
        raise ValueError("there is no word to tag; give a sentence")
    row = pieces.row([example.words], max_length)
    if example.predicate is not None:
        row.segments[row.first[example.predicate] : row.last[example.predicate] + 1] = 1
    return row


def tag(model: Any, pieces: Pieces, examples: Sequence[Tagged], batch_size: int = 64, spread: Spread = map) -> list[tuple[str, ...]]:
    """The most likely tag of each word of each sentence; sentences of like length are read together."""
    rows = [read(pieces, example, model.max_length) for example in examples]

    def best(places: np.ndarray) -> list[tuple[str, ...]]:
        numbers = model(*pieces.arrays([rows[i] for i in places])).data.argmax(axis=-1)  # (B, T)
        return [tuple(model.labels[j] for j in line[rows[i].first]) for i, line in zip(places, numbers, strict=True)]

    return read_together(model, best, [len(row.ids) for row in rows], batch_size, spread)


def bracketed(example: Tagged, tags: Sequence[str]) -> str:
    """The sentence with its spans in brackets: [PER Jordan] flew to [LOC New Jordan]."""
    parts = [f"*{w}*" if i == example.predicate else w for i, w in enumerate(example.words)]
    for kind, first, last in spans(tags):
        parts[first] = f"[{kind} {parts[first]}"
        parts[last] += "]"
    return " ".join(parts)
