"""Who shares the work of a run: here one process alone; several, over MPI, are an extra (``transformer.parallel``) with the same methods."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from minigrad import Tensor

T = TypeVar("T")


class Workers:
    """One process: it does all the work, and has nobody to talk to."""

    rank = 0
    size = 1

    def check(self, batch_size: int) -> None:
        """ValueError unless every rank gets a row of a batch."""

    def agree(self, facts: Callable[[], dict[str, Any]]) -> None:
        """ValueError, with rank and name, unless the facts are the same on all ranks."""

    def part(self, objective: Any, batch: Any) -> tuple[Any, float]:
        """The rows of this rank, and their weight in the mean over all."""
        return batch, 1.0

    def own_draws(self, model: Any, *key: int) -> contextlib.AbstractContextManager[None]:
        """Within it each rank draws dropout masks of its own; afterwards all generators stand where they stood before."""
        return contextlib.nullcontext()

    def total(self, value: float) -> float:
        """The sum of the values of all ranks."""
        return value

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Give every rank the sum of all ranks' gradients."""

    def spread(self, function: Callable[[Any], T], items: Iterable[Any]) -> Iterable[T]:
        """``map``, with the items spread over the ranks; each of them gets all results, in order."""
        return map(function, items)

    def first(self, action: Callable[[], T]) -> T:
        """What rank 0 alone does; the others wait for its result, or raise the same error."""
        return action()

    def watched(self, folder: Path | None) -> contextlib.AbstractContextManager[None]:
        """Within it, the death of a rank is reported, with what to do."""
        return contextlib.nullcontext()

    def run(self, command: Callable[[], int]) -> int:
        """The exit status of a command that all ranks run."""
        return command()
