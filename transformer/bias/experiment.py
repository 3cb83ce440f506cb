"""The experiment: train a tiny GPT on the artificial language with each cure, and see what is gained and what it costs.

Everything is known here: the skew of the language, hence the gap of a perfect model; so the measure can be checked before it is believed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import manual_seed

from ..evaluation.perplexity import token_losses
from ..models.gpt import GPT
from ..training.loop import Trainer
from ..training.objectives import LanguageModelling, Objective, Penalised
from ..training.settings import Settings
from . import corpus
from .measure import counterfactual_gap
from .reduce import CounterfactualPenalty, additional, augmented, balanced_weights, project_out, running_pairs
from .scoring import LanguageModel

SKEW = 0.8
SKEWS = (0.0, 0.2, 0.4, 0.6, 0.8)
CONTEXT = 24
STEPS = 1500
TOKENIZER = corpus.tokenizer()
SWAPPED_IDS = TOKENIZER.encode(" ".join(corpus.SWAPPED.get(word, word) for word in TOKENIZER.vocabulary)).astype(np.int64)


@dataclass(frozen=True)
class Cure:
    """What is done, and how much of it: the share of twins added, or λ."""

    name: str
    strength: float | None = None

    def __str__(self) -> str:
        return self.name if self.strength is None else f"{self.name} {self.strength:g}"


BASELINE = Cure("none")
CURES = (
    Cure("re-weighting"),
    Cure("additional data"),
    *(Cure("augmentation", share) for share in (0.25, 0.5, 1.0)),
    *(Cure("ratio penalty", strength) for strength in (0.003, 0.01, 0.03, 0.1, 1.0, 10.0)),
    *(Cure("KL penalty", strength) for strength in (0.01, 0.1, 1.0, 10.0)),
    Cure("ratio penalty at starts", 0.03),
    Cure("projection"),
)


@dataclass(frozen=True)
class Result:
    """Gaps in nats per sentence, stereotyped minus twin, and perplexities per word."""

    skew: float
    cure: Cure
    seed: int
    gap: float  # in running text
    gap_at_start: float  # the sentence stands first in the window
    gap_unseen: float  # in templates that the training text does not have
    balanced: float  # perplexity on a text of skew 0
    skewed: float  # perplexity on a text of the training text's skew


def train(ids: np.ndarray, seed: int, steps: int = STEPS, weights: np.ndarray | None = None, penalty: Any = None) -> GPT:
    """A GPT of one layer, trained on ids (N,) with the options of a cure."""
    manual_seed(seed)
    model = GPT(TOKENIZER.vocab_size, 32, 4, 1, CONTEXT, tie_embeddings=False)
    settings = Settings(steps=steps, batch_size=16, lr=1e-2, min_lr=1e-3, warmup=20, weight_decay=0.0, seed=seed)
    objective: Objective = LanguageModelling(ids, ids[: CONTEXT + 1], CONTEXT, weights=weights)
    trainer = Trainer(model, objective if penalty is None else Penalised(objective, penalty), settings)
    model.train()
    for _ in range(steps):
        trainer.step()
    return model.eval()


def cured(cure: Cure, found: list[corpus.Sentence], skew: float, seed: int, steps: int = STEPS) -> GPT:
    """A model trained on the sentences with that cure."""
    rng = np.random.default_rng([seed, 7])
    if cure.name == "re-weighting":
        return train(corpus.ids_of(found, TOKENIZER), seed, steps, weights=balanced_weights(found, TOKENIZER))
    if cure.name == "additional data":
        found = additional(found, corpus.sentences(0.0, 2 * len(found) // len(corpus.OCCUPATIONS), seed + 1000), rng)
    elif cure.name == "augmentation":
        found = augmented(found, rng, cure.strength or 0.0)
    ids, penalty = corpus.ids_of(found, TOKENIZER), None
    if "penalty" in cure.name:
        pairs = running_pairs([(s.text, s.twin.text) for s in found], TOKENIZER, CONTEXT, rng, from_start="starts" in cure.name)
        penalty = CounterfactualPenalty(pairs, cure.strength or 0.0, "kl" if "KL" in cure.name else "ratio", SWAPPED_IDS)
    return train(ids, seed, steps, penalty=penalty)


def projected(model: GPT) -> GPT:
    """The model with the direction of its pronouns taken out of its embeddings, in place."""
    pairs = [tuple(TOKENIZER.encode(f"{he} {she}").astype(int)) for he, she in corpus.PRONOUNS.items()]
    weight = model.token_embedding.weight
    weight.data = project_out(weight, pairs)
    return model


@functools.cache
def held_out(skew: float, per_occupation: int, seed: int) -> np.ndarray:
    """The ids of a text that no model was trained on."""
    return corpus.ids_of(corpus.sentences(skew, per_occupation, seed), TOKENIZER)


def measured(model: GPT, skew: float, cure: Cure, seed: int) -> Result:
    """All numbers of one model; the test texts are the same for all cures of a seed."""
    lm = LanguageModel(model, TOKENIZER, ". ")
    losses = [float(token_losses(model, held_out(s, 60, 2000 + seed)).mean(dtype=np.float64)) for s in (0.0, skew)]
    rng = np.random.default_rng([seed, 11])
    words = TOKENIZER.decode(held_out(0.0, 20, 3000 + seed)).split()

    def gap(templates: tuple[str, ...], running: bool = True) -> float:
        found = corpus.test_sentences(templates, each=6, seed=seed)
        after = []
        for s in found:
            stop = int(rng.integers(CONTEXT, len(words)))
            room = int(rng.integers(0, CONTEXT - len(s.text.split()))) if running else 0
            after.append(" ".join(words[stop - room : stop]))
        pairs = [(s.text, s.twin.text) for s in found]
        return counterfactual_gap(lm, pairs, [s.occupation for s in found], after).estimate.value

    gaps = gap(corpus.TEMPLATES), gap(corpus.TEMPLATES, running=False), gap(corpus.UNSEEN_TEMPLATES)
    return Result(skew, cure, seed, *gaps, *map(math.exp, losses))


def skew_study(seeds: Iterable[int] = range(5), steps: int = STEPS, skews: tuple[float, ...] = SKEWS) -> Iterator[Result]:
    """Does the measured gap follow the known skew?  Trained twice as long: a weak skew is learned late, as its gain is small."""
    for seed in seeds:
        for skew in skews:
            found = corpus.sentences(skew, seed=seed)
            yield measured(cured(BASELINE, found, skew, seed, 2 * steps), skew, BASELINE, seed)


def cure_study(seeds: Iterable[int] = range(5), steps: int = STEPS, skew: float = SKEW, cures: tuple[Cure, ...] = CURES) -> Iterator[Result]:
    """What each cure does to the gap and to the perplexity; the baseline of each seed comes first."""
    for seed in seeds:
        found = corpus.sentences(skew, seed=seed)
        baseline = cured(BASELINE, found, skew, seed, steps)
        yield measured(baseline, skew, BASELINE, seed)
        for cure in cures:
            model = projected(baseline) if cure.name == "projection" else cured(cure, found, skew, seed, steps)  # the last one: in place
            yield measured(model, skew, cure, seed)

