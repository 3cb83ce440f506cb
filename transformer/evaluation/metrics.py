"""How good are answers?  Exact match, accuracy, F1 of spans and words, ROUGE, with their uncertainty; BLEU and chrF.

Each measure is a few lines here; the extra "scores" brings the libraries that the field counts with, and the tests hold
ours equal to theirs.
"""

from __future__ import annotations

import math
import re
import string
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data.files import library
from .perplexity import ngrams


class Share(NamedTuple):
    """How many of how many are right, and the interval in which the true rate lies with 95 % confidence."""

    right: int
    of: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        return self.right / self.of

    def __str__(self) -> str:
        return f"{self.rate:.2%} of {self.of:,} (95 % interval {self.low:.2%} to {self.high:.2%})"


def share(right: Any, z: float = 1.96) -> Share:
    """Outcomes (N,), true where right, as a rate with its interval.  Raises ValueError for none.

    The interval is Wilson's, the rates p for which the one found is within z standard errors √(p(1 − p)/N); it stays inside 0 … 1 and
    is right at 100 %, where the usual one has no width.  Source: Wilson (1927).
    """
    outcomes = np.asarray(right, bool).ravel()
    n = outcomes.size
    if not n:
        raise ValueError("share: no outcomes; expected at least one")
    p = outcomes.mean()
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Share(int(outcomes.sum()), n, max(0.0, float(middle - half)), min(1.0, float(middle + half)))


def paired(measure: str, found: Sequence[str], wanted: Sequence[str], what: str = "texts") -> list[tuple[str, str]]:
    """Each text with its reference; ValueError when there are not as many."""
    if len(found) != len(wanted):
        raise ValueError(f"{measure}: {len(found)} {what} for {len(wanted)} references; expected as many")
    return list(zip(found, wanted, strict=True))


def exact_match(written: Sequence[str], wanted: Sequence[str]) -> Share:
    """The share of texts that are right to the last character."""
    return share([a == b for a, b in paired("exact_match", written, wanted)])


def wrong_first(shown: Sequence[tuple[str, str, str]], count: int = 3) -> list[tuple[str, str, str]]:
    """A few examples (read, said, right), the wrong ones first."""
    return [s for s in shown if s[1] != s[2]][:count] + [s for s in shown if s[1] == s[2]][:count]


def by_library(compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What an extra computes, or a note that names it."""
    try:
        return compute()
    except ImportError as error:
        return {"note": str(error)}


def accuracy(logits: Any, labels: Any) -> Share:
    """The share of rows (N, classes) whose largest logit is at their label (N,)."""
    scores, wanted = np.asarray(getattr(logits, "data", logits) if not isinstance(logits, np.ndarray) else logits), np.asarray(labels)
    if scores.ndim != 2 or wanted.shape != scores.shape[:1]:
        raise ValueError(f"accuracy: logits {scores.shape} for labels {wanted.shape}; expected (N, classes) and (N,)")
    return share(scores.argmax(axis=1) == wanted)


# Spans and words ------------------------------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """A score between 0 and 1 of so many examples, and the interval in which it lies with 95 % confidence."""

    rate: float
    of: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.rate:.2%} of {self.of:,} (95 % interval {self.low:.2%} to {self.high:.2%})"


def estimate(counts: Any, score: Callable[[np.ndarray], np.ndarray], resamples: int = 1000) -> Estimate:
    """A score of the sums of ``counts`` (N, k), one row for each example; ``score`` maps sums (..., k) to (...).

    The interval is that of the bootstrap: the same score of examples drawn from these with replacement, always the same
    way.  Source: Efron (1979).  Raises ValueError for no examples.
    """
    counts = np.asarray(counts, float)
    if not len(counts):
        raise ValueError("estimate: no examples; expected at least one")
    rng = np.random.default_rng(1979)
    draws = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), resamples)  # (resamples, N)
    low, high = np.quantile(score(draws @ counts), [0.025, 0.975])
    return Estimate(float(score(counts.sum(axis=0))), len(counts), float(low), float(high))


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(kind, first, last) of each span in tags such as B-PER I-PER O; an I-X that continues no X begins one."""
    found: list[tuple[str, int, int]] = []
    before = "O"
    for i, tag in enumerate(tags):
        place, _, kind = tag.partition("-")
        if place == "I" and before.partition("-")[2] == kind:
            found[-1] = (kind, found[-1][1], i)
        elif place in "BI":
            found.append((kind, i, i))
        before = tag
    return found


def f1(sums: np.ndarray) -> np.ndarray:
    """2PR / (P + R) of (..., 3): how many are right, found and wanted; 0 where nothing is right."""
    right, found, wanted = np.moveaxis(np.asarray(sums), -1, 0)
    return 2 * right / np.maximum(found + wanted, 1)


def span_f1(found: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> Estimate:
    """F1 of the spans in tags (sentences of them): a span is right when its kind and both its ends are.

    Raises ValueError when the numbers of sentences or of tags differ.  Source: Tjong Kim Sang & De Meulder (2003).
    """
    if len(found) != len(wanted) or any(len(a) != len(b) for a, b in zip(found, wanted, strict=False)):
        raise ValueError(f"span_f1: {len(found)} tagged sentences for {len(wanted)}; expected as many, with as many tags in each")
    pairs = [(set(spans(a)), set(spans(b))) for a, b in zip(found, wanted, strict=True)]
    return estimate([(len(a & b), len(a), len(b)) for a, b in pairs], f1)


def normalised(answer: str) -> list[str]:
    """The words that count in an answer: no capitals, punctuation or articles.  Source: Rajpurkar et al. (2016)."""
    plain = answer.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def token_f1(found: Sequence[str], wanted: Sequence[str]) -> Estimate:
    """The mean F1 of the words of answers, "" for none.  Source: Rajpurkar et al. (2016), section 6.1; (2018) for no answer."""
    each = []
    for one, other in paired("token_f1", found, wanted, "answers"):
        a, b = normalised(one), normalised(other)
        common = (Counter(a) & Counter(b)).total()
        each.append(float(a == b) if not a or not b else 2 * common / (len(a) + len(b)))
    return mean_of(each)


def mean_of(each: Sequence[float]) -> Estimate:
    """The mean of scores (N,) of examples."""
    return estimate([(score, 1) for score in each], lambda sums: sums[..., 0] / sums[..., 1])


# Summaries ------------------------------------------------------------------------------------------------------------


def rouge_words(text: str) -> list[str]:
    """The words that ROUGE compares: small letters and digits only."""
    return re.findall(r"[a-z0-9]+", text.lower())


def rouge(found: Sequence[str], wanted: Sequence[str]) -> dict[str, Estimate]:
    """The mean F1 of common words (ROUGE-1), of common pairs (ROUGE-2), of the longest common subsequence (ROUGE-L).

    Source: Lin (2004), sections 2 and 3, without stemming.  Raises ValueError when the numbers of texts differ.
    """
    pairs = [(rouge_words(a), rouge_words(b)) for a, b in paired("rouge", found, wanted)]
    measures: dict[str, Callable[[list[str], list[str]], float]] = {
        "ROUGE-1": lambda a, b: common_ngrams(a, b, 1),
        "ROUGE-2": lambda a, b: common_ngrams(a, b, 2),
        "ROUGE-L": common_subsequence,
    }
    return {name: mean_of([score(a, b) for a, b in pairs]) for name, score in measures.items()}


def common_ngrams(a: list[str], b: list[str], n: int) -> float:
    """F1 of the n-grams of two texts."""
    one, other = (Counter(ngrams(words, n)) for words in (a, b))
    return float(f1(np.array([(one & other).total(), one.total(), other.total()])))


def common_subsequence(a: list[str], b: list[str]) -> float:
    """F1 of the longest common subsequence of two texts."""
    row = np.zeros(len(b) + 1, int)  # of the words of a so far with each prefix of b
    same = np.array([[x == y for y in b] for x in a], bool).reshape(len(a), len(b))
    for line in same:
        row[1:] = np.maximum.accumulate(np.maximum(row[1:], np.where(line, row[:-1] + 1, 0)))
    return float(f1(np.array([row[-1], len(a), len(b)])))


# By the libraries of the field ----------------------------------------------------------------------------------------


def seqeval_f1(found: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> float:
    """F1 of spans (0 to 100) by seqeval; ImportError without the extra."""
    seqeval = library("seqeval.metrics", 'the same by seqeval needs the extra "scores": pip install -e ".[scores]"')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tags without spans, for which it says 0, as we do
        return 100 * float(seqeval.f1_score([list(tags) for tags in wanted], [list(tags) for tags in found]))


def rouge_scores(found: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-L (0 to 100) by rouge-score, without stemming; ImportError without the extra."""
    names = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
    missing = 'the same by rouge-score needs the extra "scores": pip install -e ".[scores]"'
    scorer = library("rouge_score.rouge_scorer", missing).RougeScorer(list(names.values()))
    each = [scorer.score(b, a) for a, b in zip(found, wanted, strict=True)]
    return {ours: 100 * float(np.mean([one[theirs].fmeasure for one in each])) for ours, theirs in names.items()}


def translation_scores(written: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
    """BLEU (0 to 100) of the corpus and chrF (0 to 100), by sacrebleu's standard settings.

    Sources: Papineni et al. (2002); Popović (2015); Post (2018) for why one fixed implementation.  Raises ImportError without the extra.
    """
    sacrebleu = library("sacrebleu", 'BLEU and chrF need the extra "sacrebleu": pip install -e ".[sacrebleu]"')
    if len(written) != len(wanted) or not written:
        raise ValueError(f"translation_scores: {len(written)} texts for {len(wanted)} references; expected as many, and at least one")
    return {
        "bleu": sacrebleu.corpus_bleu(list(written), [list(wanted)]).score,
        "chrf": sacrebleu.corpus_chrf(list(written), [list(wanted)]).score,
    }
