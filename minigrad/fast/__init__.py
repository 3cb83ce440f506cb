"""Speed, behind the definitions: kernels with hand-derived VJPs, and what pays besides.

Each module puts kernels behind ops by ``op.accelerate(forward, vjp)``.  A kernel works on arrays only, and does first-order work only; it
must agree with the definition of its op, and a test holds it to that.  This folder may be deleted: everything still works, more slowly.
"""

from . import activations as activations
from . import attention as attention
from . import linear as linear
from . import norms as norms
from . import softmax as softmax
from .memory import keep_freed_memory

keep_freed_memory()
