"""How sure is a mean?  Bootstrap intervals, the paired permutation test, and intervals over seeds; all randomness is seeded.

Measurements that share something (an occupation, a template) are no independent witnesses: give them a common label in ``groups``, and
whole groups are drawn or flipped.  Sources: Efron & Tibshirani (1993), chapters 13 and 15; Good (2005), chapter 3, for paired tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evaluation import metrics

T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)  # Student's t, 97.5 %, 1 to 10 degrees of freedom
EXACT = 12  # with so many groups or fewer, all signs are tried


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, the p-value of "it is zero" (None when not tested) and the number of measurements."""

    value: float
    low: float
    high: float
    p_value: float | None = None
    n: int = 0

    def __str__(self) -> str:
        p = "" if self.p_value is None else f"  p {'<' if self.p_value < 0.001 else '='} {max(self.p_value, 0.001):.3f}"
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]{p}"


def estimate(values: Any, groups: Sequence[Any] | None = None, seed: int = 0) -> Estimate:
    """The mean of paired differences (N,), with bootstrap interval and permutation test."""
    values = checked(values)
    low, high = bootstrap_interval(values, groups, seed=seed)
    return Estimate(float(values.mean()), low, high, permutation_test(values, groups, seed=seed), len(values))


def bootstrap_interval(
    values: Any, groups: Sequence[Any] | None = None, samples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The percentile interval of the mean of values (N,) over ``samples`` bootstrap samples of the groups."""
    sums, counts = grouped(checked(values), groups)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=samples)  # how often each group is drawn
    means = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def permutation_test(values: Any, groups: Sequence[Any] | None = None, samples: int = 10_000, seed: int = 0) -> float:
    """The two-sided p-value of paired differences (N,): if x and swap(x) were alike, every sign could as well be the other.

    How often does flipping the signs of whole groups at random give a mean as far from zero?  All sign patterns are tried when there are
    12 groups or fewer; else ``samples`` random ones, and the observed one counts with them.
    """
    sums, _ = grouped(checked(values), groups)
    if len(sums) <= EXACT:
        signs = 1 - 2 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
    else:
        signs = 1 - 2 * np.random.default_rng(seed).integers(0, 2, (samples, len(sums)))
        signs = np.concatenate([np.ones((1, len(sums)), int), signs])
    totals = np.abs(signs @ sums)
    return float(np.mean(totals >= abs(sums.sum()) * (1 - 1e-12)))


def share(hits: Any) -> Estimate:
    """The share of True among (N,) booleans, with Wilson's 95 % interval, which is honest at 0 and at 1 too.  Source: Wilson (1927)."""
    found = metrics.share(checked(hits), z=1.959964)
    return Estimate(found.rate, found.low, found.high, n=found.of)


def over_seeds(values: Any) -> Estimate:
    """The mean of one number per seed, with Student's 95 % interval; up to 11 seeds."""
    values = checked(values)
    if not 2 <= len(values) <= len(T_975) + 1:
        raise ValueError(f"over_seeds: {len(values)} seeds; expected 2 to {len(T_975) + 1}")
    mean, half = values.mean(), T_975[len(values) - 2] * values.std(ddof=1) / np.sqrt(len(values))
    return Estimate(float(mean), float(mean - half), float(mean + half), n=len(values))


def checked(values: Any) -> np.ndarray:
    """Numbers (N,), at least one, all finite."""
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"statistics: expected one row of measurements, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"statistics: measurement {int(np.argmin(np.isfinite(values)))} is {values[~np.isfinite(values)][0]}; expected numbers")
    return values


def grouped(values: np.ndarray, groups: Sequence[Any] | None) -> tuple[np.ndarray, np.ndarray]:
    """The sum and the number of the values of each group; without groups each value is its own."""
    if groups is None:
        return values, np.ones(len(values))
    if len(groups) != len(values):
        raise ValueError(f"statistics: {len(values)} measurements with {len(groups)} group labels; expected one label for each")
    _, labels = np.unique(np.asarray(groups), return_inverse=True)
    return np.bincount(labels, weights=values), np.bincount(labels).astype(float)
