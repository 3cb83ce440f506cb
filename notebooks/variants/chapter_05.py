"""Attention as soft lookup, with other numbers."""

import numpy as np

from .variant import Variant

VARIANTS = [
    Variant(
        "05_sink_weights",
        {"c": (0.5, 2, 3, 5)},
        r"""Softmax must distribute a weight of 1, even where no key fits. A cure is a *sink*: one more score $z$ without a value, the same for all queries, that takes part in the softmax and is then left out. Write the weights $(T, S)$
for $Q: (T, D)$, $K: (S, D)$ and the number $z$, with the scores $«c»\,QK^\top/\sqrt D$, for scores of any size.""",
        """def sink_weights(Q, K, z):
    \"\"\"exp(s_j) / (exp(z) + Σ exp(s)) with s = «c» q · k / √D: (T, S); a row may add up to less than 1.\"\"\"
    ### BEGIN SOLUTION
    s = «c» * Q @ K.T / np.sqrt(Q.shape[-1])
    top = np.maximum(s.max(axis=-1, keepdims=True), z)
    e = np.exp(s - top)
    return e / (e.sum(axis=-1, keepdims=True) + np.exp(z - top))
    ### END SOLUTION
""",
        lambda rng: [(rng.normal(size=(t, d)), rng.normal(size=(s, d)), z) for t, s, d, z in ((3, 5, 4, 0.5), (4, 4, 9, -1.0))]
        + [(np.array([[60.0, 0]]), np.array([[80.0, 0], [79.9, 0]]), 900.0)],
    ),
    Variant(
        "05_prefix_window_mask",
        {"stride": (2, 3, 4)},
        r"""$T$ new words come after $S - T$ old ones, so that the *last* query is the word of the *last* key. Each word sees itself and the words before it, but only the last `window` words, itself included; besides, it sees **every «stride»-th
word before it** (those 0, «stride», 2 · «stride», … back), and **everyone** sees the first `prefix` words, also those of them that come later. Write the mask $(T, S)$, true where looking is allowed.""",
        """def prefix_window_mask(T, S, prefix, window):
    \"\"\"Boolean (T, S): query t may look at key j; the last query is the last key's word; besides the window, every «stride»-th word back.\"\"\"
    ### BEGIN SOLUTION
    back = np.arange(S - T, S)[:, None] - np.arange(S)[None, :]  # how many words back
    return ((back >= 0) & ((back < window) | (back % «stride» == 0))) | (np.arange(S)[None, :] < prefix)
    ### END SOLUTION
""",
        lambda rng: [(6, 9, 0, 1), (2, 9, 2, 2), (1, 8, 1, 1), (5, 5, 3, 2)],
    ),
]  # fmt: skip
