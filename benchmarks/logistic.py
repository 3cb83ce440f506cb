r"""Logistic regression, the line that a classifier has to beat: :math:`p = \sigma(X w + b)`, with a penalty :math:`\lambda \lVert w \rVert^2 / 2`.

The optimum is found, not approached: Newton's method with the Hessian :math:`X^\top \operatorname{diag}(p(1-p)) X + \lambda I`, solved directly
for few features, by conjugate gradients for many.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

Linear = Callable[[np.ndarray], np.ndarray]


class Words:
    """Which words a text contains, as a sparse matrix (N, V) of zeros and ones; a word counts when two training texts have it."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = Counter(word for text in texts for word in self.of(text))
        self.places = {word: i for i, word in enumerate(sorted(w for w, c in counts.items() if c > 1))}

    @staticmethod
    def of(text: str) -> set[str]:
        return set(re.findall(r"\w+(?:'\w+)?", text.lower()))

    def __call__(self, texts: Sequence[str]) -> Sparse:
        entries = [(i, self.places[w]) for i, text in enumerate(texts) for w in self.of(text) if w in self.places]
        rows, columns = np.array(entries).T
        return Sparse(rows, columns, (len(texts), len(self.places)))


class Sparse:
    """A matrix of zeros and ones with the two products that are needed: X @ w and X.T @ r."""

    def __init__(self, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> None:
        self.rows, self.columns, self.shape = rows, columns, shape

    def __matmul__(self, w: np.ndarray) -> np.ndarray:
        return np.bincount(self.rows, w[self.columns], self.shape[0])

    def back(self, r: np.ndarray) -> np.ndarray:
        return np.bincount(self.columns, r[self.rows], self.shape[1])


class Dense:
    """The same two products of an array."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array.astype(np.float64), array.shape

    def __matmul__(self, w: np.ndarray) -> np.ndarray:
        return self.array @ w

    def back(self, r: np.ndarray) -> np.ndarray:
        return self.array.T @ r


Part = tuple[Sparse | Dense, np.ndarray]  # features and labels


def fit(X: Sparse | Dense, y: np.ndarray, penalty: float, steps: int = 12) -> tuple[np.ndarray, float]:
    """The weights (V,) and the bias that make the labels most likely."""
    w = np.zeros(X.shape[1] + 1)  # the last is the bias

    def forward(v: np.ndarray) -> np.ndarray:
        return X @ v[:-1] + v[-1]

    def back(r: np.ndarray) -> np.ndarray:
        return np.append(X.back(r), r.sum())

    decay = np.append(np.full(X.shape[1], penalty), 1e-9)
    for _ in range(steps):
        p = 1 / (1 + np.exp(-forward(w)))
        gradient = back(p - y) + decay * w
        if np.abs(gradient).max() < 1e-6 * len(y):
            break
        curve = p * (1 - p)
        w -= conjugate_gradients(lambda v, curve=curve: back(curve * forward(v)) + decay * v, gradient)
    return w[:-1], float(w[-1])


def conjugate_gradients(A: Linear, b: np.ndarray, steps: int = 200) -> np.ndarray:
    """x with A x = b for a symmetric positive A.  Source: Hestenes & Stiefel (1952)."""
    x, r = np.zeros_like(b), b.copy()
    d, rr = r.copy(), float(r @ r)
    for _ in range(steps):
        Ad = A(d)
        alpha = rr / float(d @ Ad)
        x += alpha * d
        r -= alpha * Ad
        new = float(r @ r)
        if new < 1e-12 * float(b @ b):
            break
        d, rr = r + (new / rr) * d, new
    return x


def best_of(train: Part, validation: Part, penalties: Sequence[float]) -> tuple[np.ndarray, float]:
    """The fit whose penalty does best on the validation part."""
    fits = [fit(*train, penalty) for penalty in penalties]
    X, y = validation
    return max(fits, key=lambda wb: float((((X @ wb[0] + wb[1]) > 0) == y).mean()))
