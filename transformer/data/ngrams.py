r"""Models that count: the probability of a token after its last n − 1 tokens, by how often it followed them.

Where a context h was followed by few different tokens, its own counts are trusted; where by many, those of the context without its first token, h′:

.. math:: p(w \mid h) = \frac{c(h w) + T(h)\, p(w \mid h')}{c(h) + T(h)}

with c(h) the number of times that h was followed by anything, and T(h) the number of different tokens that followed it.  The recursion ends
at the uniform distribution.  Source: Witten & Bell (1991); Chen & Goodman (1999), section 2.5.

A language model that has learned no more than these has only learned to count.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .corpora import _checked_ids, _checked_size, _checked_sizes

LONGEST_TEXT = 20_000_000  # training tokens that are counted; of a longer text the last ones, which are nearest


def ngram_losses(train_ids: npt.ArrayLike, validation_ids: npt.ArrayLike, vocab_size: int, longest: int = 5) -> dict[int, float]:
    """Nats per token of ``validation_ids[1:]`` under n-gram models counted in ``train_ids``, for n = 1 … ``longest``.

    Raises ValueError for ids out of range, too few of them, or n < 1.
    """
    _checked_size("longest", longest)
    train, validation = _checked_ids(train_ids)[-LONGEST_TEXT:], _checked_ids(validation_ids)
    _checked_sizes(vocab_size, train.size, 2, validation.size)
    ids = np.concatenate([train, validation]).astype(np.int64)
    if ids.min() < 0 or ids.max() >= vocab_size:
        raise ValueError(f"ids from {ids.min()} to {ids.max()}: vocab_size {vocab_size} has ids 0 to {vocab_size - 1}")
    place = np.concatenate([np.arange(train.size), np.arange(validation.size)])  # of a token within its own text
    known = np.arange(ids.size) < train.size
    context = np.zeros(ids.size, np.int64)  # a number for each context that occurs; of length 0 there is one
    p = np.full(validation.size, 1 / vocab_size)  # of each validation token, after ever longer contexts
    losses: dict[int, float] = {}
    for length in range(longest):
        if length:
            first = np.where(place >= length, np.roll(ids, length), -1)  # the token that makes the context one longer
            context = np.unique(context * (vocab_size + 1) + first + 1, return_inverse=True)[1].reshape(-1)
        complete = place >= length
        counted = known & complete
        if not counted.any():  # the training text is shorter than the context
            losses[length + 1] = losses[length]
            continue
        pairs, times = np.unique(context[counted] * vocab_size + ids[counted], return_counts=True)
        contexts = int(context.max()) + 1
        different = np.bincount((pairs // vocab_size).astype(np.intp), minlength=contexts)  # T(h)
        followed = np.bincount(context[counted].astype(np.intp), minlength=contexts)  # c(h)
        h = context[train.size :]
        asked = h * vocab_size + ids[train.size :]
        found = np.minimum(np.searchsorted(pairs, asked), pairs.size - 1)
        times_here = np.where(pairs[found] == asked, times[found], 0)  # c(h w)
        seen = complete[train.size :] & (followed[h] > 0)
        longer = (times_here + different[h] * p) / np.maximum(followed[h] + different[h], 1)
        p = np.where(seen, longer, p)
        losses[length + 1] = float(-np.log(p[1:]).mean())
    return losses
