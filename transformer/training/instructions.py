r"""From next word to answer: a language model reads a prompt and its answer as one row, and learns the answer only.

.. math:: \mathcal L = -\frac1N \sum_{t \,\in\, \text{answers}} \log p(y_t \mid x, y_{<t})

The tokens of the prompt are read, and attended to, but none of them is a target.  N counts the tokens of the answers of a batch.
Source: Ouyang et al. (2022), "Training language models to follow instructions with human feedback", section 3.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import Tensor, cross_entropy

from ..data.codec import padded
from ..data.corpora import IGNORE_INDEX
from ..data.tokenizers import Tokenizer
from ..decoding.window import Spread, read_together
from ..evaluation.metrics import share
from .examples import a_few, mean_loss, up_to

Ids = Sequence[int] | np.ndarray


class Exchange(NamedTuple):
    """What is asked and what is answered, as ids; the answer has its end mark, if there is one."""

    prompt: Ids
    answer: Ids


class Rows(NamedTuple):
    """What the model reads and what it has to say next, both (B, T); a target that does not count is IGNORE_INDEX."""

    inputs: np.ndarray
    targets: np.ndarray


def checked(exchanges: Sequence[tuple[Ids, Ids]], context: int, who: str) -> None:
    """ValueError for no exchange, for one with an empty prompt or answer, and for one that is longer than the context allows."""
    if not len(exchanges):
        raise ValueError(f"{who}: got no example; expected one or more for training and for validation")
    for i, (prompt, answer) in enumerate(exchanges):
        if not len(prompt) or not len(answer):
            empty = "answer" if len(prompt) else "prompt"
            raise ValueError(f"{who}: the {empty} of example {i} is empty; give it one token or more, such as a mark of begin or end")
        if len(prompt) + len(answer) - 1 > context:
            length = f"{len(prompt)} + {len(answer)} tokens"
            raise ValueError(f"{who}: example {i} has {length}; a context of {context} holds {context + 1}, since the last one is not read")


def collate(exchanges: Sequence[tuple[Ids, Ids]], answers_only: bool = True) -> Rows:
    """Prompts with their answers as rows padded on the right; unless ``answers_only``, the tokens of the prompt are targets too."""
    said, mask = padded([np.concatenate([prompt, answer]) for prompt, answer in exchanges], 0)  # (B, T + 1)
    if answers_only:
        mask = mask & (np.arange(said.shape[1]) >= np.array([len(prompt) for prompt, _ in exchanges])[:, None])
    return Rows(said[:, :-1], np.where(mask, said, IGNORE_INDEX)[:, 1:])


def log_probability(model: Any, rows: Rows) -> Tensor:
    """log p(y | x) of each row, (B,): the sum over the targets that count."""
    return -cross_entropy(model(rows.inputs), rows.targets, IGNORE_INDEX, reduction="none").sum(axis=1)


def checksum(examples: Sequence[Sequence[Ids]]) -> int:
    """Of lists of rows of ids: of their numbers, and of where each ends."""
    crc = 0
    for example in examples:
        for ids in example:
            crc = zlib.crc32(np.array([len(ids), *ids], np.int64).tobytes(), crc)
    return crc


class Instructions:
    """Answer prompts: ``training`` and ``validation`` are pairs (prompt ids, answer ids).

    ``answers_only=False`` counts the tokens of the prompts too, as ordinary language modelling does; ``evaluate`` never does.
    Raises ValueError for an example that is empty or longer than ``context_length`` allows.
    """

    measure = "validation loss"

    def __init__(
        self,
        training: Sequence[tuple[Ids, Ids]],
        validation: Sequence[tuple[Ids, Ids]],
        context_length: int,
        tokenizer: Tokenizer | None = None,
        answers_only: bool = True,
    ) -> None:
        for examples in (training, validation):
            checked(examples, context_length, "Instructions")
        self.training = [Exchange(*pair) for pair in training]
        self.validation = [Exchange(*pair) for pair in validation]
        self.tokenizer, self.answers_only = tokenizer, answers_only

    def batch(self, rng: np.random.Generator, size: int) -> Rows:
        """Training examples at random, with replacement."""
        return collate([self.training[i] for i in rng.integers(0, len(self.training), size)], self.answers_only)

    def loss(self, model: Any, batch: Rows, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy per token that counts, in nats."""
        return cross_entropy(model(batch.inputs), batch.targets, IGNORE_INDEX, label_smoothing)

    def counts(self, batch: Rows) -> int:
        """How many tokens the loss is the mean of."""
        return int((batch.targets != IGNORE_INDEX).sum())

    def evaluate(self, model: Any, limit: int | None = None, spread: Spread = map) -> float:
        """The mean loss per token of the answers to validation prompts of about ``limit`` tokens in all, in nats."""
        some = up_to(None if limit is None else limit + 1, self.validation, length)

        def losses(places: np.ndarray) -> tuple[float, int]:
            rows = collate([some[i] for i in places])
            return -float(log_probability(model, rows).data.sum(dtype=np.float64)), self.counts(rows)

        return mean_loss(model, losses, [length(one) for one in some], spread)

    def sample(self, model: Any, tokens: int, rng: np.random.Generator) -> str:
        """A few validation prompts, each with the tokens that the model finds likeliest where the answer stands."""
        if self.tokenizer is None:
            return ""
        chosen, decode = a_few(self.validation, tokens, rng), self.tokenizer.decode
        return "\n".join(f"{decode(x)} → {decode(said)}" for (x, _), said in zip(chosen, likeliest(model, chosen), strict=True))

    def test(self, model: Any, num_beams: int = 1, spread: Spread = map) -> dict[str, Any]:
        """Loss and exact match on the validation prompts.

        One pass over the right answers tells: one is written exactly if each of its tokens is the likeliest after those before it.
        """
        found = likeliest(model, self.validation)
        right = [np.array_equal(said, answer) for said, (_, answer) in zip(found, self.validation, strict=True)]
        return {"loss": self.evaluate(model, spread=spread), "exact match": share(right)}

    def tokens(self, batch: Rows) -> int:
        return batch.inputs.size

    def fingerprint(self) -> int:
        """Of all examples, and of what counts."""
        return zlib.crc32(bytes([self.answers_only]), checksum([*self.training, *self.validation]))


def length(exchange: Exchange) -> int:
    """The tokens of prompt and answer."""
    return len(exchange.prompt) + len(exchange.answer)


def likeliest(model: Any, exchanges: Sequence[Exchange]) -> list[np.ndarray]:
    """The likeliest token at each place of each answer, given the right ones before it."""

    def best(places: np.ndarray) -> list[np.ndarray]:
        rows = collate([exchanges[i] for i in places])
        said = model(rows.inputs).data.argmax(axis=-1)  # (B, T)
        return [row[counts] for row, counts in zip(said, rows.targets != IGNORE_INDEX, strict=True)]

    return read_together(model, best, [length(one) for one in exchanges])
