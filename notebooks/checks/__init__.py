"""The checks of the exercises: each says right, or what is wrong, with the numbers that show it.

``check_NN_name(answer)`` gives a Verdict; ``.require()`` raises when it is wrong, as graders want.  One file per chapter.
"""

from .chapter_00 import *  # noqa: F403
from .chapter_01 import *  # noqa: F403
from .chapter_02 import *  # noqa: F403
from .chapter_03 import *  # noqa: F403
from .chapter_04 import *  # noqa: F403
from .chapter_05 import *  # noqa: F403
from .chapter_06 import *  # noqa: F403
from .chapter_07 import *  # noqa: F403
from .chapter_08 import *  # noqa: F403
from .chapter_08b import *  # noqa: F403
from .chapter_09 import *  # noqa: F403
from .chapter_10 import *  # noqa: F403
from .chapter_11 import *  # noqa: F403
from .chapter_12 import *  # noqa: F403
from .chapter_12b import *  # noqa: F403
from .chapter_13 import *  # noqa: F403
from .chapter_14 import *  # noqa: F403
from .chapter_14b import *  # noqa: F403
from .chapter_15 import *  # noqa: F403
from .chapter_16 import *  # noqa: F403
from .earlier import earlier, graph
from .verdict import Verdict

__all__ = [name for name in dir() if name.startswith("check_")] + ["Verdict", "earlier", "graph"]


def variant(exercise, answer, **numbers):
    """The verdict on an answer to an exercise with a student's own numbers: see the folder variants beside this one."""
    import variants

    return variants.check(exercise, numbers)(answer)
