"""What students answer to chapter 15: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _without_rest(count, rank, size):
    each = count // size
    return rank * each, (rank + 1) * each


def _rest_to_the_last(count, rank, size):
    start, stop = _without_rest(count, rank, size)
    return start, count if rank == size - 1 else stop


def _places_forgotten(count, rank, size):
    each, more = divmod(count, size)
    return rank * each, rank * each + each + (rank < more)


def _inclusive(count, rank, size):
    each, more = divmod(count, size)
    start = rank * each + min(rank, more)
    return start, start + each + (rank < more) - 1


def _weighted(counts, gradients):
    return sum(n / sum(counts) * g for n, g in zip(counts, gradients))


def _in_place(gradients, targets):
    counts = [np.sum(t != -100) for t in targets]
    for n, g in zip(counts, gradients):
        g *= n / sum(counts)
    return sum(gradients)


def _busy(talking, shared=True):
    """An answer whose time of talking is ``talking(N, S / B, alpha)``."""

    def answer(W, F, S, B, alpha):
        return max(N for N in (2**i for i in range(21)) if talking(N, S / B, alpha) <= W / F / (N if shared else 1))

    return answer


def _ring(chunks, shift=1, sign=-1, replace=False, extra=0):
    chunks = np.array(chunks)
    N = len(chunks)
    for s in range(N - 1 + extra):
        messages = [chunks[r, (r + sign * s) % N].copy() for r in range(N)]
        for r in range(N):
            if replace:
                chunks[(r + shift) % N, (r + sign * s) % N] = messages[r]
            else:
                chunks[(r + shift) % N, (r + sign * s) % N] += messages[r]
    return chunks


def _share_by_dealing(count, rank, size):
    """Rank by rank, as if rows were dealt out."""
    sizes = [len(range(r, count, size)) for r in range(size)]
    return sum(sizes[:rank]), sum(sizes[: rank + 1])


def _share_by_split(count, rank, size):
    mine = np.array_split(np.arange(count), size)
    start = sum(map(len, mine[:rank]))
    return [start, start + len(mine[rank])]


def _combine_by_average(gradients, targets):
    return np.average(gradients, axis=0, weights=[np.count_nonzero(t + 100) for t in targets])


def _combine_by_loop(gradients, targets):
    total, n = 0.0, 0
    for g, t in zip(gradients, targets):
        k = sum(int(x) != -100 for x in np.ravel(t))
        total, n = total + k * g, n + k
    return total / n


def _busy_by_doubling(W, F, S, B, alpha):
    N = 1
    while N < 2**20 and 2 * ((2 * N - 1) / (2 * N) * S / B + (2 * N - 1) * alpha) <= W / (2 * N * F):
        N *= 2
    return N


def _ring_at_once(chunks):
    out, N = np.array(chunks), len(chunks)
    r = np.arange(N)
    for s in range(N - 1):
        out[(r + 1) % N, (r - s) % N] += out[r, (r - s) % N]
    return out


def _ring_by_formula(chunks):
    """What rank r holds of chunk c at the end is the sum of the ranks c, …, r, unless it passed the chunk on before."""
    N = len(chunks)
    rows = [[sum(chunks[(c + i) % N][c] for i in range((r - c) % N + 1)) for c in range(N)] for r in range(N)]
    return np.array(rows)


WRONG = [
    ("check_15_share", _without_rest, "belong to nobody"),
    ("check_15_share", _rest_to_the_last, "The last rank gets all"),
    ("check_15_share", _places_forgotten, "the places are not"),
    ("check_15_share", _inclusive, "one row too early"),
    ("check_15_combine", lambda g, t: sum(g) / len(g), "plain mean"),
    ("check_15_combine", lambda g, t: _weighted([len(x) for x in t], g), "by rows"),
    ("check_15_combine", lambda g, t: _weighted([x.size for x in t], g), "Padding is counted"),
    ("check_15_combine", lambda g, t: sum(g), "must add up to 1"),
    ("check_15_combine", _in_place, "changes the ranks' gradients"),
    ("check_15_half_busy", _busy(lambda N, t, a: (N - 1) / N * t + (N - 1) * a), "should be 128; yours is 256"),
    ("check_15_half_busy", _busy(lambda N, t, a: 2 * (N - 1) / N * t + (a if N > 1 else 0)), "paid once"),
    ("check_15_half_busy", _busy(lambda N, t, a: 2 * (N - 1) * t + 2 * (N - 1) * a), "not 2 (N − 1) · S"),
    ("check_15_half_busy", _busy(lambda N, t, a: 2 * (N - 1) / N * t + 2 * (N - 1) * a, shared=False), "shared by the N workers"),
    ("check_15_reduce_scatter", lambda c: np.broadcast_to(np.sum(c, axis=0), np.shape(c)), "whole all-reduce"),
    ("check_15_reduce_scatter", lambda c: _ring(c, replace=True), "yours replaces it"),
    ("check_15_reduce_scatter", lambda c: _ring(c, sign=1), "yours sends r + s"),
    ("check_15_reduce_scatter", lambda c: _ring(c, extra=1), "One step too many"),
    ("check_15_half_busy", lambda W, F, S, B, a: 2 * _busy_by_doubling(W, F, S, B, a), "the last one before it"),
]

RIGHT = [
    ("check_15_share", _share_by_dealing),
    ("check_15_share", _share_by_split),
    ("check_15_combine", _combine_by_average),
    ("check_15_combine", _combine_by_loop),
    ("check_15_half_busy", _busy_by_doubling),
    ("check_15_half_busy", lambda *a: float(_busy_by_doubling(*a))),
    ("check_15_reduce_scatter", _ring_at_once),
    ("check_15_reduce_scatter", _ring_by_formula),
]
