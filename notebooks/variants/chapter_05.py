"""Attention as soft lookup, with other numbers."""

import numpy as np

from .variant import Variant

VARIANTS = [
    Variant(
        "05_attention_weights",
        {"c": (0.5, 2, 3, 5)},
        r"""The attention weights $(T, S)$ for $Q: (T, d)$ and $K: (S, d)$ with the scores $«c»\,QK^\top/\sqrt d$, for scores of any size (think of overflow).""",
        '''def attention_weights(Q, K):
    """The weights (T, S) of attention with the scores «c» Q Kᵀ / √d."""
    ### BEGIN SOLUTION
    S = «c» * Q @ K.T / np.sqrt(Q.shape[-1])
    e = np.exp(S - S.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
    ### END SOLUTION
''',
        lambda rng: [(rng.normal(size=(t, d)), rng.normal(size=(s, d))) for t, s, d in ((3, 5, 4), (4, 4, 9))]
        + [(np.array([[60.0, 0]]), np.array([[80.0, 0], [79.9, 0]]))],
    ),
    Variant(
        "05_late_causal_mask",
        {"w": (2, 3, 4)},
        r"""A text model with a short memory has already seen $S - T$ words and gets $T$ new ones. The queries are the $T$ new words, the keys all $S$ words: the *last* query belongs to the *last* key. Each word may look at itself and at
the words before it, but only at **«w» words in all**. Write the mask $(T, S)$, true where looking is allowed.""",
        '''def late_causal_mask(T, S):
    """Boolean (T, S): query i may look at key j; the last query is the last key's word, and sees «w» words at most."""
    ### BEGIN SOLUTION
    back = np.arange(S - T, S)[:, None] - np.arange(S)[None, :]  # how many words back
    return (back >= 0) & (back < «w»)
    ### END SOLUTION
''',
        lambda rng: [(6, 6), (2, 7), (1, 6), (3, 5)],
    ),
]  # fmt: skip
