r"""How likely is a sentence?  Log-probabilities of every token, from any of our language models.

A causal model (GPT) gives :math:`\log p(x) = \sum_t \log p(x_t \mid x_{<t})`.  A masked one (MaskedLM) gives the pseudo-log-likelihood
:math:`\sum_t \log p(x_t \mid x_{\setminus t})`, each token hidden in turn (Salazar et al. 2020, eq. 1): no probability, but comparable between
sentences that differ in a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import log_softmax, no_grad

from ..data.codec import by_length, padded
from ..data.tokenizers import Tokenizer
from ..data.wordpiece import WordPieceTokenizer
from ..decoding.window import evaluating
from ..models.bert import MaskedLM

BATCH = 64  # rows read at once


@dataclass
class LanguageModel:
    """A model with its tokenizer; ``start`` is what stands before every sentence for a causal model: a line end, unless given."""

    model: Any
    tokenizer: Tokenizer
    start: str = "\n"

    def token_scores(self, texts: Sequence[str], after: Sequence[str] | None = None) -> list[np.ndarray]:
        """For each text the log-probability of each of its tokens, (T,), given those before it, in nats.

        ``after`` gives texts that stand before them and are not scored.  Raises ValueError for text that the tokenizer cannot write.
        """
        if isinstance(texts, str):
            raise TypeError(f"token_scores: expected a list of texts, got one text; write [{texts[:20]!r}]")
        rows, firsts = [], []
        for context, text in zip([""] * len(texts) if after is None else after, texts, strict=True):
            row, first = self.encoded(context, text)
            if first == len(row):
                raise ValueError(f"token_scores: no token to score in {text!r}; expected some text")
            rows.append(row)
            firsts.append(first)
        with evaluating(self.model), no_grad():
            score = self._masked if isinstance(self.model, MaskedLM) else self._causal
            return [scores[first:] for scores, first in zip(score(rows, firsts), firsts, strict=True)]

    def log_probabilities(self, texts: Sequence[str], after: Sequence[str] | None = None) -> np.ndarray:
        """log p of each text (N,), in nats, given what stands before it; for a masked model the pseudo-log-likelihood."""
        return np.array([scores.sum(dtype=np.float64) for scores in self.token_scores(texts, after)])

    def encoded(self, context: str, text: str) -> tuple[np.ndarray, int]:
        """The ids of both, and where those of the text begin."""
        if isinstance(self.tokenizer, WordPieceTokenizer):  # as one running text
            head = self.tokenizer.encode(context)[:-1]
            return np.concatenate([head, self.tokenizer.encode(text)[1:-1]]).astype(np.int64), len(head)
        gap = " " if context and not context.endswith((" ", "\n")) else ""
        head = self.tokenizer.encode(self.start + context)
        row = np.concatenate([head, self.tokenizer.encode(gap + text)]).astype(np.int64)
        return row, max(1, len(head))  # what nothing stands before has no probability

    def can_write(self, text: str) -> bool:
        try:
            self.encoded("", text)
        except ValueError:
            return False
        return True

    # The two kinds of model -------------------------------------------------------------------------------------------

    def _causal(self, rows: list[np.ndarray], firsts: list[int]) -> list[np.ndarray]:
        """log p(x_t | x_<t); a row longer than the context is read in windows that overlap by half."""
        context = self.model.context_length
        half = max(1, context // 2)
        scores = [np.zeros(len(row)) for row in rows]
        windows = []  # (row, where it begins, first place to note)
        for i, row in enumerate(rows):
            begins = range(0, max(1, len(row) - context - 1 + half), half)
            windows += [(i, begin, begin + context - half + 1 if begin else 1) for begin in begins]
        for places in by_length([min(context, len(rows[i]) - 1 - begin) for i, begin, _ in windows], BATCH):
            group = [windows[place] for place in places]
            pieces = [rows[i][begin : begin + context + 1] for i, begin, _ in group]
            ids, _ = padded([piece[:-1] for piece in pieces], 0)
            log_p = log_softmax(self.model(ids)).data  # (B, T, V); padding stands after the text, where causal models do not look
            for (i, begin, note), piece, table in zip(group, pieces, log_p, strict=True):
                found = table[np.arange(len(piece) - 1), piece[1:]]
                scores[i][note : begin + len(piece)] = found[note - begin - 1 :]
        return scores

    def _masked(self, rows: list[np.ndarray], firsts: list[int]) -> list[np.ndarray]:
        """log p(x_t | all the others), the token itself hidden by [MASK]."""
        tokenizer: Any = self.tokenizer
        scores = [np.zeros(len(row)) for row in rows]
        hidden = [(i, t) for i, (row, first) in enumerate(zip(rows, firsts, strict=True)) for t in range(first, len(row))]
        for places in by_length([len(rows[i]) for i, _ in hidden], BATCH):
            group = [hidden[place] for place in places]
            ids, mask = tokenizer.padded([np.append(rows[i], tokenizer.sep_id) for i, _ in group])
            row_numbers, positions = np.arange(len(group)), np.array([t for _, t in group])
            wanted = ids[row_numbers, positions]
            ids[row_numbers, positions] = tokenizer.mask_id
            log_p = log_softmax(self.model(ids, mask)[row_numbers, positions]).data  # (B, V)
            for (i, t), value in zip(group, log_p[row_numbers, wanted], strict=True):
                scores[i][t] = value
        return scores
