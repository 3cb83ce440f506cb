r"""Direct preference optimisation: of two answers, make the preferred one likelier than a reference did, relative to the other.

.. math:: r(y) = \beta \log \frac{\pi_\theta(y \mid x)}{\pi_{\text{ref}}(y \mid x)}, \qquad
          \mathcal L = -\log \sigma\big(r(y_w) - r(y_l)\big)
          \quad\text{with}\quad \sigma(m) = \frac{1}{1 + e^{-m}}

r is the implicit reward; y_w was preferred to y_l.  The loss is the cross-entropy of a choice between two: a softmax over
(r(y_w), r(y_l)) of which the first is right.  So its gradient is that of a cross-entropy, and smoothed labels stand for raters who err.

Sources: Rafailov et al. (2023), "Direct preference optimization", eq. 7; Bradley & Terry (1952) for the model of a choice.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import Tensor, cross_entropy, stack

from ..decoding.window import Spread, read_together
from ..evaluation.metrics import share
from .examples import up_to
from .instructions import Ids, Rows, checked, checksum, collate, log_probability


class Preference(NamedTuple):
    """A prompt, the answer that was preferred, and the other, as ids."""

    prompt: Ids
    chosen: Ids
    rejected: Ids


class PreferenceBatch(NamedTuple):
    """The rows of both answers, and the log-probabilities (B, 2) that the reference gave them."""

    chosen: Rows
    rejected: Rows
    reference: np.ndarray


class Preferences:
    """Learn from pairs of answers; ``training`` and ``validation`` are triples (prompt ids, chosen ids, rejected ids).

    The ``reference`` reads all answers here, once, and is not kept: it may be the very model that is trained afterwards.
    ``beta`` is the price of drift: the larger, the nearer the model stays.  Raises ValueError for a ``beta`` that is not positive,
    and for an example that is empty or longer than the reference's context allows.
    """

    measure = "validation loss"

    def __init__(
        self,
        reference: Any,
        training: Sequence[tuple[Ids, Ids, Ids]],
        validation: Sequence[tuple[Ids, Ids, Ids]],
        beta: float = 0.1,
    ) -> None:
        if not (math.isfinite(beta) and beta > 0):
            raise ValueError(f"Preferences: beta={beta}; expected a positive number, such as 0.1")
        for examples in (training, validation):
            for kind in (1, 2):
                checked([(one[0], one[kind]) for one in examples], reference.context_length, "Preferences")
        self.beta = beta
        self.training = [Preference(*one) for one in training]
        self.validation = [Preference(*one) for one in validation]
        self.training_reference = log_probabilities(reference, self.training)  # (N, 2)
        self.validation_reference = log_probabilities(reference, self.validation)

    def batch(self, rng: np.random.Generator, size: int) -> PreferenceBatch:
        """Training pairs at random, with replacement."""
        places = rng.integers(0, len(self.training), size)
        chosen, rejected = both([self.training[i] for i in places])
        return PreferenceBatch(chosen, rejected, self.training_reference[places])

    def rewards(self, model: Any, batch: PreferenceBatch) -> Tensor:
        """(B, 2): β log(π/π_ref) of the chosen and of the rejected answers."""
        log_p = stack([log_probability(model, batch.chosen), log_probability(model, batch.rejected)], axis=1)
        return (log_p - batch.reference) * self.beta

    def loss(self, model: Any, batch: PreferenceBatch, label_smoothing: float = 0.0) -> Tensor:
        """−log σ(margin), the mean over pairs, in nats; with ``label_smoothing`` ε a share ε/2 of the choices is taken to be mistaken."""
        rewards = self.rewards(model, batch)
        return cross_entropy(rewards, np.zeros(len(batch.reference), np.int64), label_smoothing=label_smoothing)

    def evaluate(self, model: Any, limit: int | None = None, spread: Spread = map) -> float:
        """The mean loss of validation pairs of about ``limit`` tokens in all, in nats; ln 2 is a coin's."""
        some = up_to(None if limit is None else limit + 1, self.validation, length)
        changes = log_probabilities(model, some, spread) - self.validation_reference[: len(some)]
        margins = self.beta * (changes[:, 0] - changes[:, 1]).astype(np.float64)
        return float(np.logaddexp(0, -margins).mean())

    def sample(self, model: Any, tokens: int, rng: np.random.Generator) -> str:
        """Nothing: what changes is how likely answers are."""
        return ""

    def test(self, model: Any, num_beams: int = 1, spread: Spread = map) -> dict[str, Any]:
        """On validation pairs: how often the chosen answer has the larger reward, the margin, and what became of log p of both."""
        changes = log_probabilities(model, self.validation, spread) - self.validation_reference
        margins = self.beta * (changes[:, 0] - changes[:, 1])
        return {
            "loss": float(np.logaddexp(0, -margins.astype(np.float64)).mean()),
            "reward accuracy": share(list(margins > 0)),
            "reward margin": float(margins.mean()),
            "log p of chosen": float(changes[:, 0].mean()),  # minus the reference's, in nats
            "log p of rejected": float(changes[:, 1].mean()),
        }

    def tokens(self, batch: PreferenceBatch) -> int:
        return batch.chosen.inputs.size + batch.rejected.inputs.size

    def fingerprint(self) -> int:
        """Of the pairs, of what the reference said of them, and of β."""
        crc = checksum([*self.training, *self.validation])
        for array in (self.training_reference, self.validation_reference, np.float64(self.beta)):
            crc = zlib.crc32(array.tobytes(), crc)
        return crc


def length(pair: Preference) -> int:
    """The tokens of the prompt and the longer answer."""
    return len(pair.prompt) + max(len(pair.chosen), len(pair.rejected))


def both(pairs: Sequence[Preference]) -> tuple[Rows, Rows]:
    """The rows of the chosen answers, and those of the rejected ones."""
    return collate([(p, a) for p, a, _ in pairs]), collate([(p, b) for p, _, b in pairs])


def log_probabilities(model: Any, pairs: Sequence[Preference], spread: Spread = map, batch_size: int = 64) -> np.ndarray:
    """(N, 2): log p of the chosen and of the rejected answer, without dropout; pairs of like length are read together."""

    def read(places: np.ndarray) -> np.ndarray:
        return np.stack([log_probability(model, rows).data for rows in both([pairs[i] for i in places])], axis=1)

    return np.stack(read_together(model, read, [length(pair) for pair in pairs], batch_size, spread))
