"""What a model is trained for: which batches it gets, what its loss is, and how it is judged.

The trainer knows nothing of texts, pairs or labels.  It draws ``batch(rng, size)``, walks back from ``loss(model, batch)``, keeps the weights
with the lowest ``evaluate(model)``, and shows a ``sample``.  Another way of training is another class with these methods; one that adds
a penalty to the loss wraps an objective and replaces ``loss``.
"""

from __future__ import annotations

import functools
import itertools
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from minigrad import Tensor, cross_entropy, no_grad
from minigrad.random import generator

from .data.corpora import IGNORE_INDEX, batch
from .data.tasks.base import Pair, PairTask
from .data.tokenizers import Tokenizer
from .generation import generate
from .metrics import token_losses
from .reading import Spread, evaluating
from .scores import accuracy
from .translation import Codec, by_length, padded, translate


class Objective(Protocol):
    """What the trainer asks for.  All randomness of a batch comes from ``rng``, so that a resumed run sees the same batches."""

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
            return batch(self.train_ids, size, self.context_length, rng)
        places, following = batch(np.arange(len(self.train_ids)), size, self.context_length, rng)
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
        self.batch, self.evaluate, self.sample = objective.batch, objective.evaluate, objective.sample
        self.tokens, self.fingerprint, self.measure = objective.tokens, objective.fingerprint, objective.measure
        self.counts = getattr(objective, "counts", rows)

    def loss(self, model: Any, batch: Any, label_smoothing: float = 0.0) -> Tensor:
        """The objective's loss and the penalty."""
        return self.objective.loss(model, batch, label_smoothing) + self.penalty(model, generator())


class PairBatch(NamedTuple):
    """Sources (B, S) with their mask, None where nothing is padded; what the decoder reads and what it has to say, (B, T)."""

    sources: np.ndarray
    mask: np.ndarray | None
    inputs: np.ndarray
    targets: np.ndarray


class Translation:
    """Write the target of each pair after reading its source, with the right beginning before one's eyes (teacher forcing)."""

    measure = "validation loss"

    def __init__(self, task: PairTask, tokenizer: Tokenizer) -> None:
        self.task, self.codec = task, Codec(tokenizer)

    @functools.cached_property
    def validation(self) -> list[Pair]:
        """Up to 1000 pairs that are never trained on, and are no test."""
        return self.task.sample("validation", 1000)

    def collate(self, pairs: Sequence[Pair]) -> PairBatch:
        """Pairs as arrays."""
        sources, mask = self.codec.sources([pair.source for pair in pairs])
        return PairBatch(sources, None if mask.all() else mask, *self.codec.targets([pair.target for pair in pairs], IGNORE_INDEX))

    def batch(self, rng: np.random.Generator, size: int) -> PairBatch:
        """Pairs for training, never of the test or validation part."""
        return self.collate(self.task.draw(rng, size))

    def loss(self, model: Any, batch: PairBatch, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy per token of the target, END included, padding excluded."""
        logits = model(batch.sources, batch.mask, batch.inputs)
        return cross_entropy(logits, batch.targets, IGNORE_INDEX, label_smoothing)

    def counts(self, batch: PairBatch) -> int:
        """How many targets the loss is the mean of."""
        return int((batch.targets != IGNORE_INDEX).sum())

    def evaluate(self, model: Any, limit: int | None = None, spread: Spread = map) -> float:
        """The mean loss per target token of validation pairs, in nats."""
        pairs = self.validation
        sizes = np.cumsum([len(self.codec.encode(pair.target)) for pair in pairs])
        pairs = pairs if limit is None else pairs[: max(1, int(np.searchsorted(sizes, limit)))]

        def losses(places: np.ndarray) -> tuple[float, int]:
            group = self.collate([pairs[i] for i in places])
            return self.loss(model, group).item() * self.counts(group), self.counts(group)

        with evaluating(model), no_grad():
            total, count = np.sum(list(spread(losses, by_length([len(pair.source) for pair in pairs], 64))), axis=0)
        return float(total / count)

    def sample(self, model: Any, tokens: int, rng: np.random.Generator) -> str:
        """A few validation pairs and what the model writes."""
        chosen = [self.validation[i] for i in rng.permutation(len(self.validation))[: min(3, tokens)]]
        with evaluating(model):
            written = translate(model, self.codec, [pair.source for pair in chosen], min(tokens, model.max_length - 1))
        return "\n".join(
            f"{pair.source} → {text}" + ("" if text == pair.target else f"   (right: {pair.target})")
            for pair, text in zip(chosen, written, strict=True)
        )

    def tokens(self, batch: PairBatch) -> int:
        """Of sources and targets."""
        return batch.sources.size + batch.targets.size

    @functools.cached_property
    def held(self) -> list[Pair]:
        """What tells this data from other data: the pairs held out follow from the data and the way of splitting it."""
        return [*self.validation, *self.task.sample("test", 1000), *self.task.pairs]

    def fingerprint(self) -> int:
        """Of the pairs held out."""
        return zlib.crc32("\n".join(f"{pair.source}\t{pair.target}" for pair in self.held).encode())


class Labelled(NamedTuple):
    """Examples with their labels (N,): texts, or arrays (N, ...) such as images."""

    inputs: Any
    labels: np.ndarray


class Classification:
    """Say the class of each text, or of each image where there is no tokenizer; a text is read up to ``max_length`` tokens.

    The weights are judged by how often they are wrong, not by their loss: on small data the loss turns up again, from overconfidence, long
    before the classes are as good as they become.
    """

    measure = "validation share of wrong answers"

    def __init__(self, train: Labelled, validation: Labelled, tokenizer: Tokenizer | None = None, max_length: int = 512) -> None:
        for part in (train, validation):
            if len(part.inputs) != len(part.labels) or not len(part.labels):
                raise ValueError(f"Classification: {len(part.inputs)} inputs for {len(part.labels)} labels; expected as many, and at least one")
        self.train, self.validation, self.max_length = train, validation, max_length
        self.codec = None if tokenizer is None else Codec(tokenizer)

    def arrays(self, inputs: Any) -> tuple[Any, ...]:
        """What the model is called with: images as they are; texts as BEGIN, ids, END with their mask."""
        if self.codec is None:
            return (np.asarray(inputs),)
        codec = self.codec
        return padded([np.insert(codec.encode(text), 0, codec.begin)[: self.max_length] for text in inputs], codec.pad)

    def batch(self, rng: np.random.Generator, size: int) -> tuple[tuple[Any, ...], np.ndarray]:
        """Training examples at random, as arrays and labels."""
        chosen = rng.integers(0, len(self.train.labels), size)
        return self.arrays([self.train.inputs[i] for i in chosen]), self.train.labels[chosen]

    def loss(self, model: Any, batch: Any, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of the class, in nats."""
        arrays, labels = batch
        return cross_entropy(model(*arrays), labels, label_smoothing=label_smoothing)

    def logits(self, model: Any, inputs: Any, batch_size: int = 64, spread: Spread = map) -> np.ndarray:
        """(N, classes) of any number of examples; texts of like length are read together."""
        lengths = [0 if self.codec is None else len(self.codec.encode(text)) for text in inputs]
        groups = list(by_length(lengths, batch_size))
        with evaluating(model), no_grad():
            found = list(spread(lambda places: model(*self.arrays([inputs[i] for i in places])).data, groups))
        return np.concatenate(found)[np.argsort(np.concatenate(groups))]

    def evaluate(self, model: Any, limit: int | None = None, spread: Spread = map) -> float:
        """The share of validation examples that get a wrong class; ``limit`` counts examples here."""
        part = self.validation if limit is None else Labelled(self.validation.inputs[:limit], self.validation.labels[:limit])
        return 1 - accuracy(self.logits(model, part.inputs, spread=spread), part.labels).rate

    def sample(self, model: Any, tokens: int, rng: np.random.Generator) -> str:
        """The share of validation examples that the model gets right."""
        return f"validation: {accuracy(self.logits(model, self.validation.inputs), self.validation.labels)} right"

    def tokens(self, batch: Any) -> int:
        """Ids, or pixels."""
        return batch[0][0].size

    def fingerprint(self) -> int:
        """Of all examples and labels."""
        crc = 0
        for inputs, labels in (self.train, self.validation):
            data = "\n".join(inputs).encode() if self.codec is not None else np.ascontiguousarray(inputs).tobytes()
            crc = zlib.crc32(np.ascontiguousarray(labels).tobytes(), zlib.crc32(data, crc))
        return crc
