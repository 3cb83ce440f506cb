"""Encoder–decoder."""

import numpy as np

from .verdict import WEAK_MASK, Wrong, ask, by_hand, check, extreme, finite, numbers, pair, same, softmax, zeros_at


@check
def check_09_shift(answer):
    for rows, begin, end, fill in [([[5, 4, 3], [6]], 1, 2, 0), ([[7, 7], [8, 9]], 1, 2, 0), ([[3], [4, 3, 4, 5], [5, 5]], 10, 11, 12)]:
        length = max(map(len, rows)) + 1

        def filled(lines, stop, length=length):
            return np.array([[*line, *[stop] * (length - len(line))] for line in lines])

        reads, says = filled([[begin, *row] for row in rows], fill), filled([[*row, end] for row in rows], fill)
        mask = filled([[True] * (len(row) + 1) for row in rows], False)
        got = ask(answer, rows, begin, end, fill)
        if not isinstance(got, tuple | list) or len(got) != 3:
            raise Wrong("Return three arrays: reads, says and mask.")
        at = f"rows {rows}"
        if np.shape(got[0]) == (len(rows), length + 1):
            raise Wrong(f"Your arrays have {length + 1} places, one too many ({at}): the decoder never reads `end`, and never says `begin`.")
        if np.shape(got[0]) == np.shape(got[1]) == reads.shape and np.array_equal(got[0], got[1]):
            raise Wrong("Both are the same row: nothing is shifted, so each place reads what it has to say (section 5).")
        same(got[0], reads, "what is read", {"reads and says are swapped.": says}, at=at)
        without_end = np.where(says == end, fill, says)
        same(got[1], says, "what is said", {"The `end` is missing: the model would never learn to stop.": without_end}, at=at)
        hints = {
            "The mask leaves out `end`: it is a token like the others, and has to be learned.": mask & (says != end),
            "The mask is upside down: True is for tokens that count.": ~mask,
        }
        same(got[2], mask, "the mask", hints, at=at)
    return "What is read at a place is what was said at the one before."


@check
def check_09_masked_loss(answer):
    rng = np.random.default_rng(4)
    for lengths in ([3, 1], [4, 2, 1], [2, 2], [1], [5, 0, 1]):
        mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
        logits = rng.normal(size=(*mask.shape, 5)) * 2
        log_p = np.log(softmax(logits))
        says = np.where(mask, rng.integers(1, 5, mask.shape), 0)
        surprise = -np.take_along_axis(log_p, says[..., None], axis=-1)[..., 0]
        hints = {
            "Padding counts too: its surprise is part of your mean.": surprise.mean(),
            "The sum leaves out padding, the number you divide by does not: divide by the number of real tokens.": (surprise * mask).mean(),
            "You average each row first, so a token of a short row weighs more. All real tokens weigh the same.": np.mean(
                [s[m].mean() for s, m in zip(surprise, mask, strict=True) if m.any()]
            ),
            "This is the sum, not the mean.": surprise[mask].sum(),
            "The sign: surprise is −log p.": -surprise[mask].mean(),
        }
        same(ask(answer, log_p, says, mask), surprise[mask].mean(), "the loss", hints, at=f"rows of {lengths} tokens")
    return "More padding in the batch leaves it as it is."


@check
def check_09_cross_attention(answer):
    rng = np.random.default_rng(5)
    for t, s, c, d, mask in [(2, 4, 3, 2, [1, 1, 1, 0]), (5, 3, 4, 4, [1, 0, 1]), (3, 3, 4, 9, [1, 1, 1])]:
        y, m, keep = rng.normal(size=(t, c)), rng.normal(size=(s, c)), np.array(mask)
        w_q, w_k, w_v = rng.normal(size=(3, c, d))
        scores = y @ w_q @ (m @ w_k).T
        right = softmax(np.where(keep, scores / np.sqrt(d), -np.inf))
        hints = {
            "The scores are not divided by √D.": softmax(np.where(keep, scores, -np.inf)),
            "Divide by √D with D the width of the queries, not of Y.": softmax(np.where(keep, scores / np.sqrt(c), -np.inf)),
            "The mask has no effect: padding gets a share.": softmax(scores / np.sqrt(d)),
            "The mask acts after the softmax, so the rows no longer add up to 1.": softmax(scores / np.sqrt(d)) * keep,
            "Queries and keys are swapped: the queries come from the decoder, Y.": softmax(m @ w_q @ (y @ w_k).T / np.sqrt(d)),
            "This is self-attention of the decoder: keys come from the memory X.": softmax(y @ w_q @ (y @ w_k).T / np.sqrt(d)),
        }
        past = np.tri(t, s, dtype=bool) & (keep == 1)
        if past.any(axis=1).all():
            hints["There is a causal mask in it. All of the source is known from the start."] = softmax(np.where(past, scores / np.sqrt(d), -np.inf))
        got, weights = pair(ask(answer, y, m, w_q, w_k, w_v, keep))
        at = f"T = {t}, S = {s}, mask {mask}"
        same(weights, right, "the weights", hints, at=at)
        zeros_at(weights, np.broadcast_to(keep == 0, (t, s)), "Padding still gets a share, if a small one: its scores should become −∞.")
        same(got, right @ (m @ w_v), "the output", {"The values come from the memory, X Wᵛ.": right @ m} if c == d else {}, at=at)
    for hidden in ([0, 0, 0, 0, 0], [0, 0, 1, 1, 0]):
        (y, m), keep, w_v = extreme(rng, 3, 5, hidden), 1 - np.array(hidden), rng.normal(size=(4, 4))
        got, weights = pair(ask(answer, y, m, np.eye(4), np.eye(4), w_v, keep))
        finite(weights, "the weights")
        if not np.allclose(numbers(weights)[:, keep == 0], 0):
            raise Wrong(WEAK_MASK)
        right = softmax(np.where(keep, y @ m.T / 2, -np.inf))
        same(weights, right, "the weights", at="scores of ±10 000")
        same(got, right @ (m @ w_v), "the output", at="scores of ±10 000")
    return "Two lengths, two sentences, one table between them."


def _model(seed, size, sharp):
    def next_log_p(ids):
        logits = sharp * np.random.default_rng([seed, len(ids), *ids]).normal(size=size)
        return logits - np.log(np.exp(logits).sum())

    return next_log_p


def _every(next_log_p, longest, end):
    """All finished sequences with their totals."""
    alive, finished = [((), 0.0)], []
    for _ in range(longest):
        grown = [((*ids, w), total + lp) for ids, total in alive for w, lp in enumerate(next_log_p(ids))]
        finished += [h for h in grown if h[0][-1] == end]
        alive = [h for h in grown if h[0][-1] != end]
    return dict(finished + alive)


def _beams(next_log_p, k, longest, end, mistake=""):
    alive, finished = [((), 0.0)], []
    for _ in range(longest):
        grown = [((*ids, w), total + lp) for ids, total in alive for w, lp in enumerate(next_log_p(ids))]
        if mistake == "each":
            grown = [h for ids, _ in alive for h in sorted((g for g in grown if g[0][:-1] == ids), key=lambda h: -h[1])[:1]]
        if mistake == "crowded":  # finished ones take the place of living ones
            grown = sorted(grown, key=lambda h: -h[1])[:k]
        finished = [h for h in grown if h[0][-1] == end] + ([] if mistake == "forget" else finished)
        alive = sorted((h for h in grown if h[0][-1] != end), key=lambda h: -h[1])[:k]
        if mistake == "first" and finished:
            break
    found = finished if mistake in ("first", "ended") and finished else finished + alive
    return max(found, key=lambda h: h[1] / (len(h[0]) if mistake == "mean" else 1))[0]


BEAM_HINTS = {
    "first": "You stop at a finished sequence while a longer one can still be more probable.",
    "forget": "A finished sequence was found earlier and then forgotten: put it aside and compare at the end.",
    "mean": "You compare the mean per token; here the total counts.",
    "crowded": "Finished sequences take the place of living ones: keep k that are unfinished, and put the finished ones aside.",
    "each": "Each beam kept its own best extension; keep the best k of all extensions together.",
    "ended": "A sequence of `longest` tokens is finished, too, though it does not end with `end`.",
}


@check
def check_09_beams(answer):
    steps = {(): [0.55, 0.4, 0.05], (0,): [0.45, 0.45, 0.1], (1,): [0.04, 0.9, 0.06]}

    def paper(ids):
        return np.log(steps.get(tuple(ids), [0.05, 0.05, 0.9]))

    cases = [("two tokens and end, k = 2", paper, 2, 3, 2)]
    cases += [(f"a random model, k = 64, longest = 4 (seed {seed})", _model(seed, 3, 1.5), 64, 4, 0) for seed in (137, 75, 233)]
    cases += [(f"a random model, k = {k}, longest = {n} (seed {seed})", _model(seed, size, 1.5), k, n, 0) for k, n, size, seed in NARROW]
    spent = []
    for what, f, k, longest, end in cases:
        asked = []

        def counted(ids, f=f, asked=asked):
            asked.append(tuple(int(i) for i in ids))
            return f(asked[-1])

        got = ask(answer, counted, k, longest, end)
        if beyond := [ids for ids in asked if end in ids]:
            raise Wrong(f"You ask the model how {beyond[0]} goes on, after `end`: a finished sequence is put aside, not among the k. ({what}.)")
        if isinstance(got, tuple) and len(got) == 2 and isinstance(got[0], tuple | list):
            raise Wrong("Return the ids alone, without the score.")
        got, best = tuple(int(i) for i in got), _beams(f, k, longest, end)
        totals = _every(f, longest, end)
        if got not in totals:
            ends = (
                "goes on after `end`"
                if end in got[:-1]
                else f"neither ends with `end` nor has {longest} tokens"
                if len(got) != longest
                else "has a token that does not exist"
            )
            raise Wrong(f"With {what}, your answer {got} {ends}.")
        numbers = f"With {what}, the search finds {best} with log p = {totals[best]:.4f}; yours is {got} with {totals[got]:.4f}."
        if got != best:
            if k > 1 and got == _beams(f, 1, longest, end):
                raise Wrong(f"That is what greedy choice finds: keep k prefixes, not one, also when they are not the best so far. {numbers}")
            if got == max(totals, key=lambda ids: totals[ids]):
                raise Wrong(f"That is the best of all; with so few beams the search loses its prefix on the way. Prune after each step. {numbers}")
            for mistake, hint in BEAM_HINTS.items():
                if got == _beams(f, k, longest, end, mistake):
                    raise Wrong(f"{hint} {numbers}")
            other = next((n for n in (1, 2, 3, k - 1, k + 1) if n != k and n > 0 and got == _beams(f, n, longest, end)), None)
            raise Wrong((f"Your search keeps {other} prefixes, whatever k is. " if other else "") + numbers)
        most = 1 + k * (longest - 1)
        if len(asked) > 2 * most:
            spent.append(f"Right, but with {len(asked)} questions to the model; k prefixes and {longest} tokens need {most} at most. ({what}.)")
    if spent:
        raise Wrong(spent[0])
    return "With enough beams, nothing is missed; with two, what greedy missed is found, and not always the best."


# (k, longest, size, seed): each mistake of BEAM_HINTS, each other number of beams and an exhaustive search lead elsewhere in one at least
NARROW = [(3, 4, 5, 237), (2, 4, 5, 934), (3, 4, 5, 3579), (1, 3, 3, 0), (2, 4, 4, 1), (3, 3, 5, 26), (1, 4, 3, 33), (1, 3, 3, 36)]


@check
def check_09_best_span(answer):
    rng = np.random.default_rng(6)
    cases = [(n, longest) for n, longest in [(1, 3), (4, 4), (5, 2), (6, 3), (8, 8)] for _ in range(6)]
    for better, n, longest in [(b, *case) for b in (-100, -1, 0, 1) for case in cases]:  # spans first, then no answer
        start, end = rng.integers(-8, 8, (2, n)) / 4 - (5000 if better == -1 else 0)  # exact, with ties
        legal = {(i, j): start[i] + end[j] for i in range(n) for j in range(i, min(n, i + longest))}
        best = max(legal, key=lambda pair: legal[pair])
        right = None if better >= 0 else best
        got = ask_for_span(answer, start, end, legal[best] + better, longest)
        if got != right and not (right and got in legal and legal[got] == legal[right]):
            at = f" ({n} words, at most {longest}; the right answer is {right}, yours is {got}.)"
            if got is None:
                raise Wrong("There is an answer that beats `nothing`: compare its score with it." + at)
            if right is None:
                raise Wrong(f"`nothing` is {'as good as the best' if better == 0 else 'better than every'} answer: return None." + at)
            if got[0] > got[1]:
                raise Wrong("Start and end are chosen each by itself: the end comes before the start." + at)
            if got[1] - got[0] >= longest:
                raise Wrong("That answer has too many words: j − i must be less than `longest`." + at)
            if longest > 1 and best[1] - best[0] == longest - 1:
                raise Wrong("Words i to j are j − i + 1 words: an answer of exactly `longest` words is allowed." + at)
            raise Wrong("There is a better pair: look at all of them." + at)
    return "Not the best start and the best end, but the best pair."


def ask_for_span(answer, start, end, nothing, longest):
    """The answer's span as a pair of ints, or None, which here is no mistake."""
    given = start.copy(), end.copy()
    with by_hand():
        got = answer(*given, nothing, longest)
    if not (np.array_equal(given[0], start) and np.array_equal(given[1], end)):
        raise Wrong("Your function changes its input. Work on a new array: the caller still needs the old one.")
    if got is None:
        return None
    i, j = pair(got)
    return int(i), int(j)


@check
def check_09_weighted_loss(answer):
    rng = np.random.default_rng(7)
    for n, classes in [(6, 3), (9, 5), (4, 2)]:
        log_p = np.log(softmax(rng.normal(size=(n, classes)) * 2))
        says, w = np.r_[0, 1, rng.integers(0, classes, n - 2)], rng.uniform(0.2, 3.0, classes)
        surprise = -log_p[np.arange(n), says]
        right = (w[says] * surprise).sum() / w[says].sum()
        hints = {
            "You divide by the number of words: divide by the sum of their weights.": (w[says] * surprise).mean(),
            "The weights have no effect: this is the plain mean.": surprise.mean(),
            "Divide by the weights of the words that are there, not by those of the classes.": (
                (w[says] * surprise).sum() / w.sum()
            ),
            "This is the sum, not the mean.": (w[says] * surprise).sum(),
            "The weight of a word is that of its right class, not of the likeliest.": (
                (w[log_p.argmax(axis=1)] * surprise).sum() / w[log_p.argmax(axis=1)].sum()
            ),
            "The sign: surprise is −log p.": -right,
        }
        same(ask(answer, log_p, says, w), right, "the loss", hints, at=f"{n} words, {classes} classes")
    return "Twice the weights, the same loss."
