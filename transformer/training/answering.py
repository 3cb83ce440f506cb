r"""Find the answer in a passage: two pointers, to its first and to its last word.

.. math:: p(i, j) = p_{\text{start}}(i)\, p_{\text{end}}(j), \qquad i \le j

Position 0, before question and passage, stands for "no answer".  The pointers may point there and into the passage.
Source: Devlin et al. (2019), sections 4.2 and 4.3; Rajpurkar et al. (2018) for questions without an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import Tensor, cross_entropy

from ..attention import as_bias
from ..data.codec import Arrays, Pieces, Row
from ..data.tasks.base import PairTask
from ..data.tasks.sentences import Question, text
from ..data.tokenizers import Tokenizer
from ..decoding.window import Spread, read_together
from ..evaluation.metrics import exact_match, share, token_f1, wrong_first
from .examples import OnTask, a_few, up_to, verdict

Span = tuple[int, int] | None


class SpanBatch(NamedTuple):
    """What the model reads; where an answer may begin or end, (B, 2, T); where it does, (B, 2)."""

    arrays: Arrays
    allowed: np.ndarray
    targets: np.ndarray


class Answering(OnTask):
    """Point at the first and the last word of the answer, or at position 0 when it is not there."""

    measure = "validation share of wrong answers"

    def __init__(self, task: PairTask[Question], tokenizer: Tokenizer, max_length: int = 512, longest: int = 12) -> None:
        self.task, self.tokenizer, self.pieces, self.max_length, self.longest = task, tokenizer, Pieces(tokenizer), max_length, longest

    def collate(self, questions: Sequence[Question]) -> SpanBatch:
        """Questions as arrays."""
        rows = [read(self.pieces, question, self.max_length) for question in questions]
        arrays = self.pieces.arrays(rows)
        targets = np.zeros((len(rows), 2), np.int64)
        for target, row, question in zip(targets, rows, questions, strict=True):
            if question.span is not None:
                target[:] = ends(row, question)[:, question.span].diagonal()
        return SpanBatch(arrays, allowed(rows, questions, arrays.ids.shape[1]), targets)

    def loss(self, model: Any, batch: SpanBatch, label_smoothing: float = 0.0) -> Tensor:
        """The mean cross-entropy of the two pointers, in nats."""
        if label_smoothing:
            raise ValueError(f"Answering: label_smoothing={label_smoothing} would reward pointing outside the passage; leave it at 0")
        logits = model(*batch.arrays)
        return cross_entropy(logits + as_bias(batch.allowed, logits.dtype), batch.targets)

    def evaluate(self, model: Any, limit: int | None = None, spread: Spread = map) -> float:
        """The share of validation questions with a wrong answer, over passages of about ``limit`` words."""
        some = up_to(limit, self.validation, lambda q: len(q.question) + len(q.passage))
        found = answer(model, self.pieces, some, self.longest, spread=spread)
        return 1 - exact_match(found, [q.target for q in some]).rate

    def sample(self, model: Any, tokens: int, rng: np.random.Generator) -> str:
        """A few validation questions with the model's answers."""
        chosen = a_few(self.validation, tokens, rng)
        found = answer(model, self.pieces, chosen, self.longest)
        return "\n".join(verdict(text(q.question), said(a), said(q.target)) for q, a in zip(chosen, found, strict=True))

    def test(self, model: Any, num_beams: int = 1, spread: Spread = map) -> dict[str, Any]:
        """Exact match of all, and of those without an answer, and F1 of words, on the test part."""
        questions = self.task.sample("test")
        found, wanted = answer(model, self.pieces, questions, self.longest, spread=spread), [q.target for q in questions]
        shown = [(q.source, said(a), said(q.target)) for q, a in zip(questions, found, strict=True)]
        return {
            "test exact match": exact_match(found, wanted),
            "test exact match, no answer": share([not a for a, b in zip(found, wanted, strict=True) if not b]),
            "test word F1": token_f1(found, wanted),
            "examples": wrong_first(shown),
        }

    def tokens(self, batch: SpanBatch) -> int:
        return batch.arrays.ids.size

    def wanted(self, example: Question) -> Span:
        return example.span


def said(answer: str) -> str:
    """An answer for the eyes."""
    return answer or "(no answer)"


def read(pieces: Pieces, question: Question, max_length: int) -> Row:
    """BEGIN, question, END, passage, END.  Raises ValueError when the passage is empty, or both are too long."""
    if not question.passage:
        raise ValueError(f"{text(question.question)!r}: there is no passage in which to look")
    return pieces.row([question.question, question.passage], max_length)


def ends(row: Row, question: Question) -> np.ndarray:
    """(2, words of the passage): the positions at which each of them begins and ends."""
    return np.stack([row.first, row.last])[:, len(question.question) :]


def allowed(rows: Sequence[Row], questions: Sequence[Question], length: int) -> np.ndarray:
    """(B, 2, T): an answer may begin where a word of the passage begins, and end where one ends; or be position 0."""
    mask = np.zeros((len(rows), 2, length), bool)
    mask[:, :, 0] = True
    for m, row, question in zip(mask, rows, questions, strict=True):
        first, last = ends(row, question)
        m[0, first] = m[1, last] = True
    return mask


def best_span(starts: np.ndarray, ends: np.ndarray, nothing: float, longest: int) -> Span:
    """The first and last word (i, j) of the likeliest answer, i ≤ j < i + ``longest``; None if ``nothing`` is likelier.

    ``starts`` and ``ends`` (words,) are logits of the words, ``nothing`` the sum of the two logits of position 0.
    """
    scores = starts[:, None] + ends[None, :]
    steps = np.arange(len(starts))[None, :] - np.arange(len(starts))[:, None]  # j − i
    scores = np.where((steps >= 0) & (steps < longest), scores, -np.inf)
    i, j = np.unravel_index(int(scores.argmax()), scores.shape)
    return None if nothing >= scores[i, j] else (int(i), int(j))


def answer(
    model: Any,
    pieces: Pieces,
    questions: Sequence[Question],
    longest: int = 12,
    batch_size: int = 64,
    spread: Spread = map,
) -> list[str]:
    """The likeliest answer of at most ``longest`` words to each question, "" for none."""
    found = spans(model, pieces, questions, longest, batch_size, spread)
    return [question._replace(span=span).target for question, span in zip(questions, found, strict=True)]


def spans(
    model: Any,
    pieces: Pieces,
    questions: Sequence[Question],
    longest: int = 12,
    batch_size: int = 64,
    spread: Spread = map,
) -> list[Span]:
    """The first and last word of each answer, counted in the passage, or None; like lengths are read together."""
    rows = [read(pieces, question, model.max_length) for question in questions]

    def best(places: np.ndarray) -> list[Span]:
        logits = model(*pieces.arrays([rows[i] for i in places])).data  # (B, 2, T)
        found = []
        for i, (start, end) in zip(places, logits, strict=True):
            first, last = ends(rows[i], questions[i])
            found.append(best_span(start[first], end[last], start[0] + end[0], longest))
        return found

    return read_together(model, best, [len(row.ids) for row in rows], batch_size, spread)
