"""Memory that is freed and taken again at each step."""

from __future__ import annotations

import os
import sys


def keep_freed_memory() -> bool:
    """Let the C library keep up to 256 MB of freed memory for the next array, instead of giving it back page by page.

    A training step frees and takes the same sizes again and again; on glibc this spares it the page
    faults of fresh memory (``MINIGRAD_MALLOC=0`` leaves the allocator alone, to compare).  Gives False where there is nothing to set.
    """
    if not sys.platform.startswith("linux") or os.environ.get("MINIGRAD_MALLOC") == "0":
        return False
    try:
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
    except (ImportError, OSError, AttributeError):
        return False
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    return bool(mallopt(mmap_threshold, 32 << 20) and mallopt(trim_threshold, 256 << 20))
