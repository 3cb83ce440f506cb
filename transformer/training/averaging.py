r"""The average of the weights along the path of training: calmer, and often better, than the weights at its end.

.. math:: \bar\theta_t = \beta_t \bar\theta_{t-1} + (1 - \beta_t)\,\theta_t, \qquad \beta_t = \min\!\Big(\beta, \frac{t-1}{t+8}\Big)

with t = 1, 2, … steps: it begins as a plain mean over the recent tenth of the path, and forgets at the rate β later.
Source: Polyak & Juditsky (1992), in its exponential form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from minigrad import Tensor, no_grad
from minigrad.optim import Optimizer


class WeightAverage(Optimizer):
    """Follows ``params``; call ``step`` after the optimizer's.  It is saved and loaded like an optimizer.

    Raises ValueError for a ``decay`` β outside [0, 1).
    """

    memory = ("average",)

    def __init__(self, params: Iterable[Tensor], decay: float) -> None:
        super().__init__(params, lr=0.0)
        if not 0 <= decay < 1:
            raise ValueError(f"WeightAverage: decay={decay}; expected a number from 0 up to, but not including, 1")
        self.decay = decay

    def step(self) -> None:
        """Move the average towards the weights as they are."""
        self.steps += 1
        beta = min(self.decay, (self.steps - 1) / (self.steps + 8))
        for p, average in zip(self.params, self.state["average"], strict=True):
            average *= beta
            average += (1 - beta) * p.data

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the parameters hold the average; afterwards what they held before."""
        before = [p.data.copy() for p in self.params]
        if self.steps:
            self._write(self.state["average"])
        try:
            yield
        finally:
            self._write(before)

    @no_grad()
    def _write(self, arrays: Iterable[np.ndarray]) -> None:
        for p, array in zip(self.params, arrays, strict=True):
            p[...] = array
