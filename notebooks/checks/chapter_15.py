"""Beyond one machine."""

import itertools

import numpy as np

from .verdict import Wrong, ask, check, pair, same


@check
def check_15_share(answer):
    for count, size in [(6, 3), (7, 3), (8, 3), (2, 4), (5, 1), (0, 2), (11, 4)]:
        shares = [tuple(int(i) for i in pair(ask(answer, count, rank, size))) for rank in range(size)]
        each, more = divmod(count, size)
        starts = [rank * each + min(rank, more) for rank in range(size + 1)]
        expected = list(itertools.pairwise(starts))
        at = f"{count} rows on {size} ranks"
        if shares == expected:
            continue
        if all(stop - start == each for start, stop in shares) and more:
            raise Wrong(f"{more} of the {count} rows belong to nobody: {at} leave a remainder, which the first ranks take.")
        if shares == [(start, stop - 1) for start, stop in expected]:
            raise Wrong("The share ends before `stop`, as in Python's slices; yours ends one row too early.")
        if shares[:-1] == [(r * each, (r + 1) * each) for r in range(size - 1)] and shares[-1][1] == count:
            raise Wrong(f"The last rank gets all {each + more} remaining rows; spread them, one for each of the first {more} ranks. ({at})")
        lengths = [stop - start for start, stop in shares]
        if lengths == [stop - start for start, stop in expected]:
            raise Wrong(f"The sizes {lengths} are right, the places are not: ranks before mine may have one row more. Yours: {shares}. ({at})")
        raise Wrong(f"{at} should be {expected}; yours are {shares}.")
    return "Every row once, in order, and no rank has more than one row more than another."


@check
def check_15_combine(answer):
    rng = np.random.default_rng(1)
    targets = [rng.integers(0, 9, (3, 4)), rng.integers(0, 9, (2, 4)), rng.integers(0, 9, (2, 5))]
    targets[0][1:, 1:] = -100
    targets[2][0] = -100
    gradients = [rng.normal(size=(2, 3)) for _ in targets]
    counts = np.array([6, 8, 5])

    def mixed(weights):
        return sum(w * g for w, g in zip(weights, gradients, strict=True))

    right = mixed(counts / counts.sum())
    hints = {
        "This is the plain mean of the gradients: a rank with few targets counts as much as one with many.": mixed([1 / 3] * 3),
        "Weighted by rows; but the loss is a mean over targets, and padding is none.": mixed(np.array([3, 2, 2]) / 7),
        "Padding is counted: leave out the targets that are -100.": mixed(np.array([12, 8, 10]) / 30),
        "This is the sum of the gradients: the weights must add up to 1.": mixed([1, 1, 1]),
        "Divide by the number of all targets in the end: this is n times too large.": mixed(counts),
    }
    given = [g.copy() for g in gradients]
    same(ask(answer, gradients, targets), right, "the gradient", hints)
    if not all(np.array_equal(a, b) for a, b in zip(given, gradients, strict=True)):
        raise Wrong("Your function changes the ranks' gradients. Work on new arrays.")
    alone = [g[0] for g in gradients], [np.full((2, 3), -100), np.array([[4, -100]]), np.array([[-100], [0]])]
    same(ask(answer, *alone), (alone[0][1] + alone[0][2]) / 2, "the gradient", at="a rank whose targets are all padding, and one with the target 0")
    return "As if one worker had read the whole batch."


def _largest(work, bytes_factor, messages):
    """The largest power of two at which ``work(N)`` is at least the time of talking; both factors are functions of N."""
    return max([N for N in (2**i for i in range(21)) if bytes_factor(N) + messages(N) <= work(N)], default=0)


def _workers(W, F, S, B, alpha):
    """The right number, and those of typical mistakes."""

    def work(N):
        return W / (N * F)

    def sent(N):
        return 2 * (N - 1) / N * S / B

    def waits(N):
        return 2 * (N - 1) * alpha

    right = _largest(work, sent, waits)
    hints = {
        "This is the first N at which the workers compute less than half of the time; the last one before it is asked for.": 2 * right,
        "Without the 2: a ring goes around twice.": _largest(work, lambda N: sent(N) / 2, lambda N: waits(N) / 2),
        "The latency is paid for every message, 2 (N − 1) times; yours is paid once.": _largest(work, sent, lambda N: alpha),
        "The messages' latency is missing.": _largest(work, sent, lambda N: 0),
        "Every link carries 2 (N − 1)/N · S, not 2 (N − 1) · S.": _largest(work, lambda N: N * sent(N), waits),
        "The work of a step is shared by the N workers: W / (N F).": _largest(lambda N: W / F, sent, waits),
    }
    return right, {hint: wrong for hint, wrong in hints.items() if wrong != right}


@check
def check_15_half_busy(answer):
    for case in [
        (8e15, 2e14, 3e9, 25e9, 1e-5),
        (8e15, 2e14, 3e7, 25e9, 1e-4),
        (1e12, 1e9, 1e3, 1e9, 1e-9),
        (1.0, 1e9, 1e9, 1e6, 1.0),
        (1e18, 1.0, 1.0, 1e9, 1e-9),  # busy up to 2**20
        (8.0, 1.0, 3.0, 1.0, 0.5),  # exactly half at N = 2
        (10.0, 1.0, 0.0, 1.0, 0.5),
        (4.8, 1.0, 1.0, 1.0, 0.0),
        (1e7, 1.0, 3.0, 1.0, 0.0),
    ]:
        right, hints = _workers(*case)
        numbers = "w = {:g}, f = {:g}, G = {:g}, β = {:g}, α = {:g}".format(*case)
        same(ask(answer, *case), right, "the number of workers", hints, at=numbers)
    return "Beyond that, most of the machines' time goes into talking."


def _around(chunks, shift=1, sign=-1, replace=False, steps=None):
    chunks = chunks.copy()
    n = len(chunks)
    for s in range(n - 1 if steps is None else steps):
        messages = [chunks[r, (r + sign * s) % n].copy() for r in range(n)]
        for r in range(n):
            place = (r + shift) % n, (r + sign * s) % n
            chunks[place] = messages[r] + (0 if replace else chunks[place])
    return chunks


@check
def check_15_reduce_scatter(answer):
    rng = np.random.default_rng(2)
    for n in (2, 3, 5, 1):
        chunks = rng.normal(size=(n, n, 2))
        hints = {
            "This is the whole all-reduce; after N − 1 steps most chunks are still incomplete.": np.broadcast_to(chunks.sum(axis=0), chunks.shape),
            "The chunk that arrives is added to one's own; yours replaces it.": _around(chunks, replace=True),
            "Rank r sends to its right neighbour, r + 1; yours sends to r − 1.": _around(chunks, shift=-1),
            "In step s rank r sends chunk r − s, the one that it has just added to; yours sends r + s.": _around(chunks, sign=1),
            "One step too many: N − 1 of them complete every chunk.": _around(chunks, steps=n),
        }
        same(ask(answer, chunks), _around(chunks), "the chunks", hints, at=f"{n} ranks")
    return "Each rank now holds one complete chunk: that is all the optimizer needs, if its states are sharded."
