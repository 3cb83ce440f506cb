"""What a model is trained for: which batches it gets, what its loss is, and how it is judged.

The trainer knows nothing of texts, pairs or labels.  It draws ``batch(rng, size)``, walks back from ``loss(model, batch)``, keeps the weights
with the lowest ``evaluate(model)``, and shows a ``sample``; what has been trained is judged by ``test(model)``.  Another way of training is
another class with these methods, as in ``translation``, ``classification``, ``tagging``, ``answering``, ``instructions`` and ``preference``;
one that adds a penalty to the loss wraps an objective and replaces ``loss``.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from minigrad import Tensor, cross_entropy, nn
from minigrad.random import generator

from ..data import corpora
from ..data.ngrams import ngram_losses
from ..data.tokenizers import Tokenizer
from ..decoding.generate import generate
from ..decoding.window import Spread, evaluating
from ..evaluation.perplexity import bits_per_character, token_losses
from ..models.experts import Experts, imbalance, routings


class Objective(Protocol):
    """What the trainer asks for.  All randomness of a batch comes from ``rng``, so that a resumed run sees the same batches.

    One that has ``evaluate_seen``, as ``evaluate`` but on training data, has the training loss measured by it for the display.
    """

    measure: str  # what ``evaluate`` gives, in words

    def batch(self, rng: np.random.Generator, size: int) -> Any:
        """A batch of ``size`` examples."""

    def loss(self, model: Any, batch: Any, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss of a batch, a scalar."""

    def evaluate(self, model: Any, limit: int | None = None, spread: Spread = map) -> float:
        """How bad the model is on validation data, the same every time, over about ``limit`` tokens (all when None); the lowest is best.

        ``spread`` is ``map``, or does as ``map`` does with several processes.
        """

    def sample(self, model: Any, tokens: int, rng: np.random.Generator) -> str:
        """What the model can do, as text of about so many tokens; "" for nothing to show."""

    def test(self, model: Any, num_beams: int = 1, spread: Spread = map) -> dict[str, Any]:
        """How good the model is on data that no choice was made by: scores by name, and "examples" (read, said, right)."""

    def tokens(self, batch: Any) -> int:
        """How many tokens a batch holds, for the display of speed."""

    def fingerprint(self) -> int:
        """A checksum of the data, so that a run is not continued on another."""


def parts(objective: Objective, batch: Any, n: int) -> Iterator[tuple[Any, float]]:
    """A batch in ``n`` parts, each with its share of the mean loss: by its targets if the objective ``counts`` them, else by its rows."""
    if n == 1:
        yield batch, 1.0
        return
    size = rows(batch)
    cuts = [size * i // n for i in range(n + 1)]
    pieces = [piece(batch, slice(a, b)) for a, b in itertools.pairwise(cuts) if a < b]
    counts = getattr(objective, "counts", rows)
    numbers = [counts(part) for part in pieces]
    for part, number in zip(pieces, numbers, strict=True):
        if number:
            yield part, number / sum(numbers)


def piece(batch: Any, where: slice) -> Any:
    """Some rows of all arrays in nested tuples."""
    if isinstance(batch, tuple | list):
        inner = [piece(item, where) for item in batch]
        return type(batch)(*inner) if hasattr(batch, "_fields") else type(batch)(inner)
    return None if batch is None else batch[where]


def rows(batch: Any) -> int:
    """How many examples a batch holds."""
    return rows(batch[0]) if isinstance(batch, tuple | list) else len(batch)


class LanguageModelling:
    """Predict the next token of a text: ``train_ids`` and ``validation_ids`` are one row each.

    ``weights`` say how much each training token counts, in one row like ``train_ids``; they are scaled to a mean of 1.
    """

    measure = "validation loss"

    def __init__(
        self,
        train_ids: np.ndarray,
        validation_ids: np.ndarray,
        context_length: int,
        tokenizer: Tokenizer | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        self.train_ids, self.validation_ids = train_ids, validation_ids
        self.context_length, self.tokenizer = context_length, tokenizer
        self.weights = None if weights is None else checked_weights(weights, train_ids)

    def batch(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, ...]:
        """Windows at random places and the same one token later, and the weights of the latter where there are some, all (B, T)."""
        if self.weights is None:
            return corpora.batch(self.train_ids, size, self.context_length, rng)
        places, following = corpora.batch(np.arange(len(self.train_ids)), size, self.context_length, rng)
        return self.train_ids[places].astype(np.int64), self.train_ids[following].astype(np.int64), self.weights[following]

    def loss(self, model: Any, batch: Any, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of the next token, in nats."""
        inputs, targets, *weights = batch
        if not weights:
            return cross_entropy(model(inputs), targets, label_smoothing=label_smoothing)
        return (cross_entropy(model(inputs), targets, label_smoothing=label_smoothing, reduction="none") * weights[0]).mean()

    def evaluate(self, model: Any, limit: int | None = None, spread: Spread = map) -> float:
        """The mean loss per validation token, in nats."""
        ids = self.validation_ids if limit is None else self.validation_ids[: limit + 1]
        return float(token_losses(model, ids, spread=spread).mean(dtype=np.float64))

    def evaluate_seen(self, model: Any, limit: int | None = None, spread: Spread = map) -> float:
        """The same on the last so many training tokens: what is left of the difference is what was learned by heart."""
        length = len(self.validation_ids if limit is None else self.validation_ids[: limit + 1])
        return float(token_losses(model, self.train_ids[-length:], spread=spread).mean(dtype=np.float64))

    def opening(self, characters: int = 24) -> str:
        """The first piece of running text in the validation part, for samples and pictures."""
        if self.tokenizer is None:
            raise ValueError("LanguageModelling: needs a tokenizer for samples")
        text = self.tokenizer.decode(self.validation_ids[:4000])
        phrase = re.search(rf"(?<=\s)\w[^\W\d_]+(?: \w[^\s]*){{3,}}.{{{characters}}}", text)
        return (phrase[0] if phrase else text)[:characters]

    def sample(self, model: Any, tokens: int, rng: np.random.Generator) -> str:
        """How the model continues that opening."""
        if self.tokenizer is None:
            return ""
        with evaluating(model):
            written = generate(model, self.tokenizer.encode(self.opening()), tokens, temperature=0.8, top_p=0.95, rng=rng)
        return self.tokenizer.decode(written)

    def test(self, model: Any, num_beams: int = 1, spread: Spread = map) -> dict[str, Any]:
        """The loss on the whole validation part, as perplexity and as bits per character, and the losses of models that count."""
        if self.tokenizer is None:
            raise ValueError("LanguageModelling: needs a tokenizer to count characters")
        losses = token_losses(model, self.validation_ids, spread=spread)
        loss = float(losses.mean(dtype=np.float64))
        bits = bits_per_character(float(losses.sum(dtype=np.float64)), len(self.tokenizer.decode(self.validation_ids[1:])))
        found = {"tokens": len(losses), "loss": loss, "perplexity": math.exp(loss), "bits_per_character": bits}
        return found | {f"{name}_loss": value for name, value in self.lines.items()}

    @functools.cached_property
    def lines(self) -> dict[str, float]:
        """The loss of models that count: nothing, tokens, pairs of tokens, and up to five in a row."""
        if self.tokenizer is None:
            raise ValueError("LanguageModelling: needs a tokenizer to know the size of the vocabulary")
        size = self.tokenizer.vocab_size
        return {
            "uniform": corpora.uniform_loss(size),
            "unigram": corpora.unigram_loss(self.train_ids, self.validation_ids, size),
            "bigram": corpora.bigram_loss(self.train_ids, self.validation_ids, size),
        } | {f"{n}-gram": loss for n, loss in ngram_losses(self.train_ids, self.validation_ids, size).items() if n > 2}

    def tokens(self, batch: Any) -> int:
        """B · T."""
        return batch[0].size

    def fingerprint(self) -> int:
        """Of the whole training text and the beginning of the validation text."""
        crc = 0
        for start in range(0, len(self.train_ids), 1 << 20):
            crc = zlib.crc32(np.ascontiguousarray(self.train_ids[start : start + (1 << 20)]).tobytes(), crc)
        if self.weights is not None:
            crc = zlib.crc32(self.weights.tobytes(), crc)
        return zlib.crc32(np.ascontiguousarray(self.validation_ids[: 1 << 20]).tobytes(), crc)


def checked_weights(weights: Any, ids: np.ndarray) -> np.ndarray:
    """Weights of tokens, scaled to a mean of 1; ValueError when they do not fit or mean nothing."""
    weights = np.asarray(weights, np.float64)
    if weights.shape != np.shape(ids):
        raise ValueError(f"LanguageModelling: weights {weights.shape} for train_ids {np.shape(ids)}; expected one weight for each token")
    if not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
        raise ValueError(f"LanguageModelling: weights from {weights.min()} to {weights.max()}; expected numbers from 0 on, not all of them 0")
    return (weights / weights.mean()).astype(np.float32)


class Penalised:
    """An objective with something added to its loss: ``penalty(model, rng)``, a scalar Tensor, drawn anew at every step."""

    def __init__(self, objective: Objective, penalty: Callable[[Any, np.random.Generator], Any]) -> None:
        self.objective, self.penalty = objective, penalty

    def __getattr__(self, name: str) -> Any:
        """All else is the objective's own."""
        if name == "objective":  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self.objective, name)

    def loss(self, model: Any, batch: Any, label_smoothing: float = 0.0) -> Tensor:
        """The objective's loss and the penalty."""
        return self.objective.loss(model, batch, label_smoothing) + self.penalty(model, generator())


class Balanced(Penalised):
    """An objective with ``strength`` times the load-balance loss of a model's Experts added to its loss, from the very routings of that loss."""

    def __init__(self, objective: Any, strength: float = 0.01) -> None:
        if not strength >= 0:
            raise ValueError(f"Balanced: strength={strength}; expected 0 or more")
        self.objective, self.strength = objective, strength

    def loss(self, model: Any, batch: Any, label_smoothing: float = 0.0) -> Tensor:
        """The objective's loss of a batch and the penalty."""
        with routings(model) as kept:
            loss = self.objective.loss(model, batch, label_smoothing)
        return loss + self.strength * imbalance(kept)


def balanced(objective: Any, model: nn.Module, strength: float = 0.01) -> Any:
    """The objective with the load-balance loss if ``model`` has Experts, else as it is."""
    return Balanced(objective, strength) if any(isinstance(m, Experts) for m in model.modules()) else objective
