"""Timing in pairs: the contenders take turns, so that a machine whose speed drifts is as slow for one as for the other."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

PEERS = {"PyTorch": "torch", "HIPS autograd": "autograd", "MyGrad": "mygrad"}


class Row(NamedTuple):
    """One line of the table: what was measured, in which unit, and the figure of each contender (ours is "ours")."""

    section: str
    case: str
    unit: str
    figures: dict[str, float]
    ratios: dict[str, float]  # ours / theirs, or for a rate theirs / ours: below 1 we are the better one


def installed() -> list[str]:
    """The peers that can be imported."""
    return [name for name, module in PEERS.items() if importlib.util.find_spec(module)]


def seconds(contenders: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 2, calls: int = 1) -> dict[str, np.ndarray]:
    """The time of one call of each contender in each round; they run one after the other in every round, in alternating order.

    Short calls come ``calls`` at a time, as in use, where the caches hold what the last call left, and not another contender's numbers.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warm_up + rounds):
        for name in list(contenders)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            for _ in range(calls):
                contenders[name]()
            taken[name].append((time.perf_counter() - start) / calls)
    return {name: np.array(times[warm_up:]) for name, times in taken.items()}


def compare(
    section: str,
    case: str,
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    unit: str = "ms",
    per: float = 1e-3,
    warm_up: int = 2,
    calls: int = 1,
) -> Row:
    """The median time of each, in units of ``per`` seconds, and the medians of the paired ratios."""
    times = seconds(contenders, rounds, warm_up, calls)
    ratios = {name: float(np.median(times["ours"] / t)) for name, t in times.items() if name != "ours"}
    return Row(section, case, unit, {name: float(np.median(t)) / per for name, t in times.items()}, ratios)
