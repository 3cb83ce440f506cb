"""Say the class of a text or of an image."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import Tensor, cross_entropy, log_softmax

from ..data.codec import Codec, padded
from ..data.tokenizers import Tokenizer
from ..decoding.window import Spread, read_together
from ..evaluation.metrics import accuracy


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

    def __init__(
        self, train: Labelled, validation: Labelled, tokenizer: Tokenizer | None = None, max_length: int = 512,
        unseen: Labelled | None = None, classes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        for part in (train, validation):
            if len(part.inputs) != len(part.labels) or not len(part.labels):
                raise ValueError(f"Classification: {len(part.inputs)} inputs for {len(part.labels)} labels; expected as many, and at least one")
        self.train, self.validation, self.unseen, self.max_length, self.classes = train, validation, unseen, max_length, classes
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

        def read(places: np.ndarray) -> np.ndarray:
            return model(*self.arrays([inputs[i] for i in places])).data

        return np.stack(read_together(model, read, lengths, batch_size, spread))

    def evaluate(self, model: Any, limit: int | None = None, spread: Spread = map) -> float:
        """The share of validation examples that get a wrong class; ``limit`` counts examples here."""
        part = self.validation if limit is None else Labelled(self.validation.inputs[:limit], self.validation.labels[:limit])
        return 1 - accuracy(self.logits(model, part.inputs, spread=spread), part.labels).rate

    def sample(self, model: Any, tokens: int, rng: np.random.Generator) -> str:
        """The share of validation examples that the model gets right."""
        return f"validation: {accuracy(self.logits(model, self.validation.inputs), self.validation.labels)} right"

    def test(self, model: Any, num_beams: int = 1, spread: Spread = map) -> dict[str, Any]:
        """The share of the ``unseen`` examples that the model gets right."""
        if self.unseen is None:
            raise ValueError("Classification: was given no unseen examples to be tested on")
        return {"test accuracy": accuracy(self.logits(model, self.unseen.inputs, spread=spread), self.unseen.labels)}

    def answers(self, model: Any, texts: Sequence[str], spread: Spread = map) -> list[str]:
        """The class of each text, with the model's probability of it."""
        p = np.exp(log_softmax(self.logits(model, texts, spread=spread).astype(np.float64)).data)
        return [f"{self.classes[int(row.argmax())]} ({row.max():.0%})" for row in p]

    def tokens(self, batch: Any) -> int:
        return batch[0][0].size

    def fingerprint(self) -> int:
        """Of all examples and labels."""
        crc = 0
        for inputs, labels in (self.train, self.validation):
            data = "\n".join(inputs).encode() if self.codec is not None else np.ascontiguousarray(inputs).tobytes()
            crc = zlib.crc32(np.ascontiguousarray(labels).tobytes(), zlib.crc32(data, crc))
        return crc
