"""The peak of a process's memory, as the operating system sees it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def status(field: str) -> float:
    """A field of /proc/self/status in MB."""
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def peak_megabytes(run: Callable[[], object], times: int = 1) -> float:
    """By how many MB resident memory grows at most while ``run`` runs; NaN where the system does not tell (not Linux)."""
    try:
        before = status("VmRSS")
        CLEAR.write_text("5", encoding="utf-8")  # forget the peak so far
    except OSError:
        return math.nan
    for _ in range(times):
        run()
    return status("VmHWM") - before
