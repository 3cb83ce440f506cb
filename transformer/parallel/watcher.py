"""Tells which rank died, and what to do: a process of its own, since mpiexec ends the other ranks before they could say it.

It sees the ranks on its own host, on Linux; elsewhere mpiexec's message is all there is.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def start(places: Sequence[tuple[str, int]], folder: Path | None) -> subprocess.Popen[bytes] | None:
    """Begin to watch the processes at ``places``, a host and a number for each rank; None where that cannot be done."""
    if not hasattr(os, "pidfd_open"):
        return None
    numbers = [str(number if host == places[0][0] else 0) for host, number in places]
    return subprocess.Popen([sys.executable, __file__, str(folder or ""), *numbers], stdin=subprocess.DEVNULL, start_new_session=True)


def stop(watcher: subprocess.Popen[bytes] | None) -> None:
    """End the watching: every rank has come to its end."""
    if watcher is not None:
        watcher.kill()
        watcher.wait()


def main(folder: str, *numbers: str) -> None:
    """Wait for the first of these processes (0: on another host) to end, and report it."""
    ends, ranks = select.epoll(), {}
    for rank, number in enumerate(map(int, numbers)):
        if number:
            descriptor = os.pidfd_open(number)
            ranks[descriptor] = rank
            ends.register(descriptor, select.EPOLLIN)
    first, _ = ends.poll()[0]  # in the order in which they ended: mpiexec may have stopped the others by now
    rank = ranks[first]
    message = f"rank {rank} of {len(numbers)} (process {numbers[rank]}) has died, and mpiexec stops the others."
    print(f"\n{message}{advice(folder, len(numbers))}", file=sys.stderr, flush=True)


def advice(folder: str | Path | None, size: int) -> str:
    """What to do after a run of ``size`` processes into this folder has died, as a line of its own."""
    if not folder:
        return ""
    if (Path(folder) / "last.npz").exists():
        return f"\nThe last checkpoint is whole; continue with: mpiexec -n {size} python -m transformer train --resume --out {folder}"
    return f"\nThere was no checkpoint yet: remove {folder} and start again; --evaluate-every N makes one every N steps."


if __name__ == "__main__":
    main(*sys.argv[1:])
