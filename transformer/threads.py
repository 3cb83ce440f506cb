"""How many threads matrix products use on the command line: one, unless the user says otherwise.

The products of small models gain nothing from threads, and on a busy machine they wait for each other: a training step of the first command
took 0.25 s with one thread, and 1.4 to 2.6 s with two at a load of 8.  The libraries read the number when NumPy loads them, so this comes before.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import MutableMapping, Sequence

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def limit_threads(command: Sequence[str], environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables for ``command``, the words of a command line: to N with ``--threads N``, else to 1 unless the user has set one."""
    if not is_ours(command):
        return
    words = itertools.pairwise([*command, ""])
    wanted = next((word.partition("=")[2] or after for word, after in words if word.split("=")[0] == "--threads"), "")
    if wanted.isdecimal() and int(wanted) > 0:
        environment.update(dict.fromkeys(VARIABLES, wanted))
    elif not any(environment.get(name) for name in VARIABLES):
        environment.update(dict.fromkeys(VARIABLES, "1"))


def is_ours(command: Sequence[str]) -> bool:
    """Whether it is ``python -m transformer …``, or our script; a program that imports us chooses for itself."""
    words = iter(command[1:])
    for word in words:
        if word.startswith("-m"):
            return (word[2:] or next(words, "")) == "transformer"
        if word in ("-W", "-X"):
            next(words, "")
        elif not word.startswith("-"):
            return os.path.basename(word).startswith("attention-by-hand")
    return False


if "numpy" not in sys.modules:
    limit_threads(sys.orig_argv)
