"""Tasks on sequences of symbols: copy, reverse, sort, add.  Small enough to train in a minute, and one can see whether it was understood."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from .base import Pair, PairTask


def rewriting(name: str, symbols: str, length: int, rewrite: Callable[[str], str], test_size: int) -> PairTask:
    """Random symbols, and what becomes of them."""

    def make(rng: np.random.Generator) -> Pair:
        text = "".join([symbols[i] for i in rng.integers(0, len(symbols), length).tolist()])
        return Pair(text, rewrite(text), text)

    return PairTask(name, f"{name} {length} symbols out of {len(symbols)}", make, test_size=test_size)


def copying(symbols: str = "abcdefghijk", length: int = 10) -> PairTask:
    """Write what you read."""
    return rewriting("copy", symbols, length, str, test_size=2000)


def reversal(symbols: str = "0123456789", length: int = 16, test_size: int = 10_000) -> PairTask:
    """Write what you read from its end to its beginning."""
    return rewriting("reverse", symbols, length, lambda text: text[::-1], test_size)


def sorting(symbols: str = "012", length: int = 6) -> PairTask:
    """Write the symbols in order."""
    texts = ("".join(p) for p in product(symbols, repeat=length))
    pairs = tuple(Pair(text, "".join(sorted(text)), text) for text in texts)
    return PairTask("sort", f"sort {length} digits, each one of {len(symbols)}", pairs=pairs)


def addition(digits: int = 2) -> PairTask:
    """The sum of two numbers of so many digits; a + b and b + a are always in the same part."""
    low, high = 10 ** (digits - 1), 10**digits

    def pair(a: int, b: int) -> Pair:
        return Pair(f"{a}+{b}", str(a + b), f"{min(a, b)}+{max(a, b)}")

    pairs = tuple(pair(a, b) for a in range(low, high) for b in range(low, high)) if digits <= 2 else ()
    return PairTask("addition", f"add two numbers of {digits} digits", lambda rng: pair(*rng.integers(low, high, 2).tolist()), pairs)
