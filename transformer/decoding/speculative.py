r"""Speculative decoding: a small draft model guesses ahead, the large one checks all the guesses at once.

The draft q proposes x; the target p accepts it with probability :math:`\min(1, p(x)/q(x))`, and otherwise draws from the
residual :math:`\max(0, p - q)`, normalised.  Then x is distributed as p:

.. math:: q(x) \min\!\Big(1, \frac{p(x)}{q(x)}\Big) + \Big(1 - \sum_y \min(p(y), q(y))\Big)
   \frac{\max(0, p(x) - q(x))}{\sum_y \max(0, p(y) - q(y))} = \min(p, q)(x) + \max(0, p - q)(x) = p(x).

Source: Leviathan, Kalman & Matias (2023), algorithm 1; Chen et al. (2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .sampling import Sampling, draw
from .window import Reader, Seed, Stop, Stops, as_generator, checked_count, checked_prompts, evaluating, window_start


class Speculation(NamedTuple):
    """The text, and how well the draft guessed: a plain decoder calls the target once for each new token."""

    ids: np.ndarray  # prompt included
    proposed: int
    accepted: int
    calls: int  # of the target model


def residual(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """What the target draws from after it refused a proposal: max(0, p − q), normalised."""
    rest = np.maximum(0, p - q)
    total = rest.sum()
    return rest / total if total > 0 else p  # equal but for rounding


def speculative_generate(
    model: Any,
    draft: Any,
    prompt_ids: Any,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    stop: Stop = None,
    use_cache: bool = True,
    rng: Seed = None,
    stop_sequences: Sequence[Sequence[int]] | None = None,
    lookahead: int = 4,
) -> Speculation:
    """As ``generate`` for one prompt (T,), distributed exactly as ``model`` alone would write, with fewer calls of it.

    ``draft`` is another model of the same vocabulary, which guesses up to ``lookahead`` tokens at a time.  Filters act on both.
    Raises ValueError for vocabularies that differ, a batch, or settings out of range.
    """
    prompts = checked_prompts("speculative_generate", prompt_ids)
    if len(prompts) != 1 or np.ndim(prompt_ids) != 1:
        raise ValueError(f"speculative_generate: expected one prompt (length,), got {len(prompts)} rows; call it for each row")
    checked_count("speculative_generate", "max_new_tokens", max_new_tokens)
    checked_count("speculative_generate", "lookahead", lookahead, 1)
    sizes = [getattr(m, "vocab_size", None) for m in (model, draft)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"speculative_generate: the model has {sizes[0]} tokens, the draft {sizes[1]}; they need the same tokenizer")
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    stops, rng = Stops("speculative_generate", stop, stop_sequences), as_generator(rng)
    ids, start = prompts[0], len(prompts[0])
    proposed = accepted = calls = 0
    with evaluating(model, "speculative_generate"), evaluating(draft):
        target_reader, draft_reader = Reader(model, use_cache), Reader(draft, use_cache)
        while len(ids) - start < max_new_tokens:
            room = model.context_length - (len(ids) - int(window_start(len(ids), model.context_length)))  # until the target's window slides
            count = min(lookahead, room, max_new_tokens - (len(ids) - start) - 1)
            guess, q = propose(draft_reader, ids, count, sampling, rng)
            p = distributions(target_reader, guess, count + 1, sampling)  # (count + 1, V): after ids, and after each proposal
            kept = 0
            while kept < count and rng.random() * q[kept][guess[len(ids) + kept]] < p[kept][guess[len(ids) + kept]]:
                kept += 1
            last = residual(p[kept], q[kept]) if kept < count else p[count]  # all accepted: one more for nothing
            new = np.append(guess[: len(ids) + kept], draw(last[None], rng.random(1)))
            proposed, accepted, calls = proposed + count, accepted + kept, calls + 1
            for reader in (target_reader, draft_reader):
                reader.forget(len(new) - 1)  # the newest token has not been read yet
            for end in range(len(ids) + 1, len(new) + 1):
                if stops.ended(new[None, start:end])[0]:
                    return Speculation(new[:end], proposed, accepted, calls)
            ids = new
    return Speculation(ids, proposed, accepted, calls)


def propose(reader: Reader, ids: np.ndarray, count: int, sampling: Sampling, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """The ids with ``count`` guesses more, and the distribution (V,) that each was drawn from."""
    q = []
    for _ in range(count):
        q.append(distributions(reader, ids, 1, sampling)[0])
        ids = np.append(ids, draw(q[-1][None], rng.random(1)))
    return ids, q


def distributions(reader: Reader, ids: np.ndarray, last: int, sampling: Sampling) -> np.ndarray:
    """What each of the ``last`` prefixes of ids (N,) is continued from: (last, V)."""
    logits = reader.logits(ids[None], np.array([len(ids)]), last)[0]
    return sampling.distribution(logits, [ids[: len(ids) - last + 1 + i] for i in range(last)])
