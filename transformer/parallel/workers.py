"""What several processes do together, over MPI, through mpi4py; one alone is a plain ``Workers``, and all of this costs it nothing.

Every rank holds the whole model and takes the same steps; they differ in the rows of the batch that they read.  Rank 0 alone writes.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import Tensor, nn
from minigrad.random import generator

from ..training.workers import T, Workers
from . import watcher
from .sharing import Buckets, weighted_share

LOCAL_RANKS = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK")
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")  # one of these is in the environment of what mpiexec starts,
MARKS = (*SIZES, "PMIX_RANK", "MPI_LOCALNRANKS")  # or one of these
PATIENCE = 5.0  # seconds for all ranks to come to the same end


class Ranks(Workers):
    """The processes of an MPI communicator; ``mpi`` is the module ``mpi4py.MPI``."""

    def __init__(self, comm: Any, mpi: Any) -> None:
        self.mpi, self.comm, self.gate = mpi, comm, comm.Dup()  # the gate is for the end alone
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.buckets = Buckets()
        self.watch: Any = None
        self.folder: Path | None = None  # of the run that is under way

    # Training ---------------------------------------------------------------------------------------------------------

    def check(self, batch_size: int) -> None:
        if batch_size < self.size:
            raise ValueError(f"a batch of {batch_size} cannot be split over {self.size} processes; give --batch {self.size} or more, or start fewer")

    def agree(self, facts: Callable[[], dict[str, Any]]) -> None:
        first, *others = self.comm.allgather(facts())
        for rank, theirs in enumerate(others, 1):
            if names := [name for name in first if theirs.get(name) != first[name]]:
                more = f", and in {len(names) - 1} more" if len(names) > 1 else ""
                raise ValueError(
                    f"rank {rank} of {self.size} differs from rank 0 in {names[0]}{more}; start all ranks with the same data, seed and versions, "
                    "and continue from the last checkpoint with --resume"
                )

    def part(self, objective: Any, batch: Any) -> tuple[Any, float]:
        return weighted_share(objective, batch, self.rank, self.size)

    @contextlib.contextmanager
    def own_draws(self, model: Any, *key: int) -> Iterator[None]:
        if not drops(model):
            yield  # whatever is drawn, a penalty's examples say, is drawn alike by all ranks, and as by one process
            return
        common = generator().bit_generator.state
        generator().bit_generator.state = np.random.default_rng([*key, self.rank]).bit_generator.state
        try:
            yield
        finally:
            generator().bit_generator.state = common

    def total(self, value: float) -> float:
        numbers = np.array([value], np.float64)
        self.comm.Allreduce(self.mpi.IN_PLACE, numbers)
        return float(numbers[0])

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        present = np.array([p.grad is not None for p in parameters], np.int8)
        self.comm.Allreduce(self.mpi.IN_PLACE, present, self.mpi.MAX)  # a share may do without a parameter that another one uses
        for buffer, give_back in self.buckets.fill([p for p, here in zip(parameters, present) if here]):
            self.comm.Allreduce(self.mpi.IN_PLACE, buffer)
            give_back()

    # Working side by side ---------------------------------------------------------------------------------------------

    def spread(self, function: Callable[[Any], T], items: Iterable[Any]) -> Iterable[T]:
        everything = list(items)
        shares = self.comm.allgather([function(item) for item in everything[self.rank :: self.size]])
        return [shares[i % self.size][i // self.size] for i in range(len(everything))]

    def first(self, action: Callable[[], T]) -> T:
        result, error = None, None
        if self.rank == 0:
            try:
                result = action()
            except Exception as caught:
                error = caught
        result, error = self.comm.bcast((result, error))
        if error is not None:
            raise error
        return result

    # Beginning and end ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def watched(self, folder: Path | None) -> Iterator[None]:
        places = self.comm.allgather((self.mpi.Get_processor_name(), os.getpid()))
        self.folder, self.watch = folder, None if self.rank else watcher.start(places, folder)
        yield
        watcher.stop(self.watch)  # after an error this is not reached: it watches on until the ranks have met
        self.folder = None

    def run(self, command: Callable[[], int]) -> int:
        """Rank 0 alone speaks.  All ranks end together; one that fails alone ends the job with MPI_Abort, so that no rank waits for it."""
        errors = io.StringIO()
        try:
            with contextlib.ExitStack() as quiet:
                if self.rank:
                    quiet.enter_context(contextlib.redirect_stdout(quiet.enter_context(open(os.devnull, "w", encoding="utf-8"))))
                    quiet.enter_context(contextlib.redirect_stderr(errors))
                try:
                    status = command()
                except Exception:
                    traceback.print_exc()
                    status = 1
        except SystemExit as end:  # argparse has said why
            status = end.code if isinstance(end.code, int) else 1
        statuses = self.meet(status)
        if status and (statuses is None or statuses[0] == 0):
            message = f"{errors.getvalue()}rank {self.rank} of {self.size} failed alone, so all are stopped."
            print(message + watcher.advice(self.folder, self.size), file=sys.stderr, flush=True)
        if statuses is None:
            self.comm.Abort(status)
        watcher.stop(self.watch)
        return status

    def meet(self, status: int) -> np.ndarray | None:
        """The exit statuses of all ranks; None when this one failed and the others do not come: they wait for it elsewhere."""
        statuses = np.zeros(self.size, np.int32)
        request = self.gate.Iallgather(np.array([status], np.int32), statuses)
        begun = time.monotonic()
        while not request.Test():
            if status and time.monotonic() - begun > PATIENCE:
                return None
            time.sleep(0.01)
        return statuses


def drops(model: Any) -> bool:
    """Whether a module of the model has a dropout rate above 0."""
    rates = [value for m in model.modules() for name, value in m.__dict__.items() if name in ("p", "dropout")]
    return any(rate > 0 for rate in rates if not isinstance(rate, nn.Module))


def local_rank() -> int:
    """The number that mpiexec gave this process on its host, known also where mpi4py is missing."""
    return max(int(os.environ.get(name, 0)) for name in LOCAL_RANKS)


@functools.cache
def world() -> Workers:
    """All processes that mpiexec has started, or this one alone where it was not.

    Raises ImportError without the extra ``parallel``, and RuntimeError when mpiexec and mpi4py belong to two MPIs.
    """
    if not any(name in os.environ for name in MARKS):
        return Workers()
    started = max(int(os.environ.get(name, 0)) for name in SIZES)
    try:
        mpi = importlib.import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as error:
        if started == 1:
            return Workers()
        raise ImportError(f'mpiexec needs the extra "parallel": pip install -e ".[parallel]" ({error})') from None
    size = mpi.COMM_WORLD.Get_size()
    if started > size:
        library = mpi.Get_library_version().split("\n")[0].strip(" \0")
        raise RuntimeError(
            f"mpiexec started {started} processes, but mpi4py sees {size}: they belong to two MPIs; use the mpiexec of {library}, which mpi4py loads"
        )
    return Ranks(mpi.COMM_WORLD, mpi) if size > 1 else Workers()
