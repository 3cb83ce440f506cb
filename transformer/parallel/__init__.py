"""Many processes on one job, over MPI: ``mpiexec -n 4 python -m transformer train …``.

``sharing`` splits a batch, ``workers`` says what processes do together, ``scaling`` models what that brings with up to 10⁵ of them.
See docs/parallel.md.
"""

from ..training.workers import Workers
from .sharing import share
from .workers import local_rank, world

__all__ = ["Workers", "local_rank", "share", "world"]
