r"""Four cures.  Each is an option of the trainer's objective, or comes after training:

- balanced data: the rarer of two twins gets more weight, ``LanguageModelling(..., weights=balanced_weights(...))``, or more sentences,
  ``additional``;
- counterfactual augmentation: sentences and their twins, ``LanguageModelling(ids_of(augmented(...)), ...)``.  Source: Lu et al. (2020), section 3;
- counterfactual penalty, ``Penalised(LanguageModelling(...), CounterfactualPenalty(...))``: to the loss is added

.. math:: \lambda \, E \, |\log p(x) - \log p(\mathrm{swap}(x))| \quad\text{or}\quad
          \lambda \, E \, \mathrm{KL}(p(\cdot \mid x) \,\|\, p(\mathrm{swap}(\cdot) \mid \mathrm{swap}(x)));

- projection: the gender direction is taken out of the embeddings of a trained model.  Source: Bolukbasi et al. (2016), section 6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minigrad import abs as absolute
from minigrad import exp, log_softmax, take

from ..data.codec import padded
from ..data.tokenizers import Tokenizer
from .corpus import Sentence, shuffled

KINDS = ("ratio", "kl")
Triple = tuple[np.ndarray, np.ndarray, np.ndarray]  # ids: what stands before, x, swap(x)


# Data --------------------------------------------------------------------------------------------------------------------


def balanced_weights(found: Sequence[Sentence], tokenizer: Tokenizer) -> np.ndarray:
    """A weight for each token of the sentences in a row, (N,), so that he and she weigh the same in every occupation.

    w = n(occupation) / 2 n(occupation, pronoun).  It needs the label of every sentence; ValueError when one of the two never occurs.
    """
    counts = Counter((s.occupation, s.male) for s in found)
    for occupation, male in counts:
        if male is not None and (occupation, not male) not in counts:
            raise ValueError(f"balanced_weights: {occupation!r} has only {'male' if male else 'female'} sentences; no weight balances them, add data")
    weights = []
    for s in found:
        both = counts[s.occupation, s.male] + counts[s.occupation, not s.male]
        weight = 1.0 if s.male is None else both / (2 * counts[s.occupation, s.male])
        weights += [weight] * len(tokenizer.encode(s.text))
    return np.array(weights)


def additional(found: Sequence[Sentence], more: Iterable[Sentence], rng: np.random.Generator) -> list[Sentence]:
    """The sentences and as many new ones, from ``more``, as each occupation's rarer pronoun lacks, in random order.

    ValueError when ``more`` does not have enough of them.
    """
    counts = Counter((s.occupation, s.male) for s in found if s.male is not None)
    lacking = {key: counts[key[0], not key[1]] - count for key, count in counts.items()}
    lacking |= {(job, not male): n for (job, male), n in counts.items() if (job, not male) not in counts}
    added = []
    for s in more:
        if s.male is not None and lacking.get((s.occupation, s.male), 0) > 0:
            lacking[s.occupation, s.male] -= 1
            added.append(s)
    if missing := {key: n for key, n in lacking.items() if n > 0}:
        (occupation, male), n = next(iter(missing.items()))
        raise ValueError(f"additional: {n} more {'male' if male else 'female'} sentences about {occupation!r} are needed than there are")
    return shuffled([*found, *added], rng)


def augmented(found: Sequence[Sentence], rng: np.random.Generator, share: float = 1.0) -> list[Sentence]:
    """The sentences and the twins of a ``share`` of those that have one, in random order; with share 1 the text is balanced exactly."""
    if not 0 <= share <= 1:
        raise ValueError(f"augmented: share={share}; expected 0 (nothing added) to 1 (every twin)")
    return shuffled([*found, *(s.twin for s in found if s.twin != s and rng.random() < share)], rng)


# Penalty -----------------------------------------------------------------------------------------------------------------


class CounterfactualPenalty:
    """λ times how differently the model treats x and swap(x), as a mean over pairs drawn at random; in nats per sentence.

    ``pairs`` are rows of ids (before, x, swap(x)): what stands before, one token or more and the same for both, and the two.  ``kind``
    "ratio" compares their log-probabilities; "kl" their predictive distributions at every place, in both directions: it needs rows of
    equal length and ``swapped_ids`` (V,), for each token the one that takes its place in the swapped text.
    """

    def __init__(
        self, pairs: Sequence[Triple], strength: float, kind: str = "ratio", swapped_ids: np.ndarray | None = None, batch_size: int = 8
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"CounterfactualPenalty: kind={kind!r}; expected one of {', '.join(KINDS)}")
        if not strength >= 0 or batch_size < 1:
            raise ValueError(f"CounterfactualPenalty: strength={strength}, batch_size={batch_size}; expected 0 or more, and 1 or more")
        if not len(pairs):
            raise ValueError("CounterfactualPenalty: no pairs; expected sentences that change when they are swapped")
        for i, pair in enumerate(pairs):
            if not all(map(len, pair)):
                raise ValueError(f"CounterfactualPenalty: pair {i} has rows of {tuple(map(len, pair))} tokens; expected one or more in each")
        if kind == "kl":
            check_alignment(pairs, swapped_ids)
        starts = np.repeat([len(before) for before, _, _ in pairs], 2)
        ids, real = padded([np.concatenate([before, row]) for before, *both in pairs for row in both], 0)
        counted = real & (np.arange(ids.shape[1]) >= starts[:, None])  # the tokens of x and of swap(x)
        self.ids, self.counted = ids.reshape(len(pairs), 2, -1), counted.astype(np.float32).reshape(len(pairs), 2, -1)
        self.strength, self.kind, self.swapped_ids, self.batch_size = strength, kind, swapped_ids, batch_size

    def __call__(self, model: Any, rng: np.random.Generator) -> Any:
        """The penalty on ``batch_size`` random pairs, as a scalar Tensor."""
        chosen = rng.integers(0, len(self.ids), self.batch_size)
        length = 1 + int(np.flatnonzero(self.counted[chosen].any(axis=(0, 1)))[-1])
        ids = self.ids[chosen, :, :length].reshape(-1, length)  # (2B, T + 1)
        counted = self.counted[chosen, :, 1:length].reshape(-1, length - 1)  # (2B, T)
        log_p = log_softmax(model(ids[:, :-1]))  # (2B, T, V)
        if self.kind == "ratio":
            rows, columns = np.indices(counted.shape)
            scores = (log_p[rows, columns, ids[:, 1:]] * counted).sum(axis=1)  # (2B,)
            return self.strength * absolute(scores[0::2] - scores[1::2]).mean()
        p, q = log_p[0::2], take(log_p[1::2], self.swapped_ids, axis=2)
        both_ways = ((exp(p) - exp(q)) * (p - q)).sum(axis=2) / 2  # (B, T), the mean of KL(p‖q) and KL(q‖p)
        return self.strength / self.batch_size * (both_ways * counted[0::2]).sum()


def check_alignment(pairs: Sequence[Triple], swapped_ids: np.ndarray | None) -> None:
    """ValueError unless the pairs can be compared place by place."""
    if swapped_ids is None:
        raise ValueError("CounterfactualPenalty: kind 'kl' needs swapped_ids, for each token the one of the swapped text")
    if not np.array_equal(swapped_ids[swapped_ids], np.arange(len(swapped_ids))):
        raise ValueError("CounterfactualPenalty: swapped_ids is no involution; expected that swapping twice changes nothing")
    for i, (_, x, y) in enumerate(pairs):
        if len(x) != len(y) or not np.array_equal(swapped_ids[x], y):
            raise ValueError(f"CounterfactualPenalty: pair {i} is not one text and the same with its tokens swapped, as 'kl' needs; use kind 'ratio'")


def running_pairs(
    texts: Sequence[tuple[str, str]], tokenizer: Tokenizer, context_length: int, rng: np.random.Generator, separator: str = "",
    from_start: bool = False,
) -> list[Triple]:
    """(before, x, swap(x)) for each of the ``texts`` (x, swap(x)) whose two differ, with a random length of the running text before it.

    The running text is every x with ``separator`` after it; texts that do not fit the context are left out.  ``from_start`` leaves one
    token only before each.  That looks like a detail and is none: see docs/bias.md.
    """
    rows = [tokenizer.encode(x + separator).astype(np.int64) for x, _ in texts]
    running = np.concatenate(rows)
    pairs, begin = [], 0
    for (x, swapped), row in zip(texts, rows, strict=True):
        if begin and swapped != x:
            twin = tokenizer.encode(swapped + separator).astype(np.int64)
            longest = max(len(row), len(twin))
            if longest <= context_length:
                room = 1 if from_start else int(rng.integers(1, context_length + 2 - longest))
                pairs.append((running[max(0, begin - room) : begin], row, twin))
        begin += len(row)
    return pairs


# Projection --------------------------------------------------------------------------------------------------------------


def project_out(weight: Any, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Embeddings (V, C) without the direction along which the words of each pair differ; the words of the pairs keep it.

    The direction is the first principal component of the differences (Bolukbasi et al. 2016, step 1), here around zero.
    """
    weight = np.array(getattr(weight, "data", weight) if not isinstance(weight, np.ndarray) else weight)
    if not pairs:
        raise ValueError("project_out: no pairs of words; expected ids such as those of he and she")
    differences = np.stack([weight[a] - weight[b] for a, b in pairs])
    direction = np.linalg.svd(differences, full_matrices=False)[2][0]  # (C,)
    neutral = np.setdiff1d(np.arange(len(weight)), np.unique(pairs))
    weight[neutral] -= np.outer(weight[neutral] @ direction, direction).astype(weight.dtype)
    return weight
