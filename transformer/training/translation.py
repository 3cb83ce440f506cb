"""Write the target of a pair after reading its source: translating, summarising, and every other task from text to text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import Tensor, cross_entropy

from ..data.codec import Codec
from ..data.corpora import IGNORE_INDEX
from ..data.tasks.base import PARTS, Pair, PairTask
from ..data.tokenizers import Tokenizer
from ..decoding.translate import translate
from ..decoding.window import Spread, evaluating
from ..evaluation.metrics import exact_match, wrong_first
from .examples import OnTask, a_few, mean_loss, up_to, verdict

Scores = Callable[[Sequence[str], Sequence[str]], dict[str, Any]]


class PairBatch(NamedTuple):
    """Sources (B, S) with their mask, None where nothing is padded; what the decoder reads and what it has to say, (B, T)."""

    sources: np.ndarray
    mask: np.ndarray | None
    inputs: np.ndarray
    targets: np.ndarray


class Translation(OnTask):
    """Write the target of each pair after reading its source; in training the prefix is the right one (teacher forcing).

    ``scores`` computes, from what was written and what was wanted, what there is to say besides exact matches.
    """

    measure = "validation loss"

    def __init__(self, task: PairTask, tokenizer: Tokenizer, scores: Scores = lambda written, wanted: {}) -> None:
        self.task, self.tokenizer, self.codec, self.scores = task, tokenizer, Codec(tokenizer), scores

    def collate(self, pairs: Sequence[Pair]) -> PairBatch:
        """Pairs as arrays."""
        sources, mask = self.codec.sources([pair.source for pair in pairs])
        return PairBatch(sources, None if mask.all() else mask, *self.codec.targets([pair.target for pair in pairs], IGNORE_INDEX))

    def loss(self, model: Any, batch: PairBatch, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy per token of the target, END included, padding excluded."""
        logits = model(batch.sources, batch.mask, batch.inputs)
        return cross_entropy(logits, batch.targets, IGNORE_INDEX, label_smoothing)

    def counts(self, batch: PairBatch) -> int:
        """How many targets the loss is the mean of."""
        return int((batch.targets != IGNORE_INDEX).sum())

    def evaluate(self, model: Any, limit: int | None = None, spread: Spread = map) -> float:
        """The mean loss per target token of validation pairs, in nats."""
        pairs = up_to(limit, self.validation, lambda pair: len(self.codec.encode(pair.target)))

        def losses(places: np.ndarray) -> tuple[float, int]:
            group = self.collate([pairs[i] for i in places])
            return self.loss(model, group).item() * self.counts(group), self.counts(group)

        return mean_loss(model, losses, [len(pair.source) for pair in pairs], spread)

    def sample(self, model: Any, tokens: int, rng: np.random.Generator) -> str:
        """A few validation pairs and what the model writes."""
        chosen = a_few(self.validation, tokens, rng)
        with evaluating(model):
            written = translate(model, self.codec, [pair.source for pair in chosen], min(tokens, model.max_length - 1))
        return "\n".join(verdict(pair.source, text, pair.target) for pair, text in zip(chosen, written, strict=True))

    def test(self, model: Any, num_beams: int = 1, spread: Spread = map) -> dict[str, Any]:
        """Exact matches on the test part, and for small tasks on the other parts, apart."""
        result: dict[str, Any] = {}
        for part in PARTS if self.task.pairs and len(self.task.pairs) < 1000 else ("test",):
            pairs = self.task.sample(part)
            written = translate(model, self.codec, [pair.source for pair in pairs], num_beams=num_beams, spread=spread)
            wanted = [pair.target for pair in pairs]
            result[f"{part} exact match"] = exact_match(written, wanted)
            if part == "test":
                shown = [(p.source, text, p.target) for p, text in zip(pairs, written, strict=True)]
                result |= self.scores(written, wanted) | {"examples": wrong_first(shown)}
        return result

    def tokens(self, batch: PairBatch) -> int:
        return batch.sources.size + batch.targets.size
