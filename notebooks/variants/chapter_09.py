"""Encoder–decoder, with other numbers."""

import numpy as np

from .variant import Variant


def batch(rng, lengths, classes=5):
    """Log-probabilities (B, T, V), ids and mask (B, T)."""
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    logits = 2 * rng.normal(size=(*mask.shape, classes))
    says = np.where(mask, rng.integers(1, classes, mask.shape), 0)
    says[0, :2] = 1, 2
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)), says, mask


VARIANTS = [
    Variant(
        "09_masked_loss",
        {"end": (1, 2), "k": (2, 3, 5)},
        r"""From log-probabilities $(B, T, V)$, the right ids `says` $(B, T)$ and the mask $(B, T)$: the mean surprise over all **real tokens** of the batch, in which the token «end», which ends a text, **counts «k» times**
(in the sum and in the number that you divide by).""",
        '''def masked_loss(log_p, says, mask):
    """The mean of −log p of the right token over the places where mask is True; token «end» counts «k» times."""
    ### BEGIN SOLUTION
    chosen = np.take_along_axis(log_p, says[..., None], axis=-1)[..., 0]  # (B, T)
    weight = np.where(says == «end», «k», 1) * np.asarray(mask, bool)
    return -(weight * chosen).sum() / weight.sum()
    ### END SOLUTION
''',
        lambda rng: [batch(rng, lengths) for lengths in ([3, 2], [4, 2, 1], [2, 2])],
    ),
    Variant(
        "09_weighted_loss",
        {"p": (0.5, 2, 3)},
        r"""Most words are *O*, so a tagger does well by saying *O* everywhere. The **number of words of each class in the training text**, $c: (L,)$, says how rare it is. Weigh each word by $c_y^{-«p»}$ of its *right* class $y$: the loss is the
weighted mean of the surprises, $\sum_n c_{y_n}^{-«p»} \cdot (-\log p_n(y_n)) \big/ \sum_n c_{y_n}^{-«p»}$. From log-probabilities $(N, L)$, the right classes `says` $(N,)$ and the numbers `w` $(L,)$.""",
        '''def weighted_loss(log_p, says, w):
    """The mean surprise, weighted by the number w of words of the class to the power −«p»."""
    ### BEGIN SOLUTION
    weight = np.asarray(w, float)[says] ** -«p»
    return (weight * -log_p[np.arange(len(says)), says]).sum() / weight.sum()
    ### END SOLUTION
''',
        lambda rng: [(*(part[0] for part in batch(rng, [n], c)[:2]), rng.integers(2, 60, c)) for n, c in ((6, 4), (9, 5))],
    ),
]  # fmt: skip
