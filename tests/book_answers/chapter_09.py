"""What students answer to chapter 09: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _shift(rows, begin, end, pad, reads=lambda row, b, e: [b, *row], says=lambda row, b, e: [*row, e], mask=lambda row: len(row) + 1):
    out = []
    for make in (reads, says):
        lines = [make(row, begin, end) for row in rows]
        longest = max(map(len, lines))
        out.append(np.array([[*line, *[pad] * (longest - len(line))] for line in lines]))
    return *out, np.arange(out[0].shape[1]) < np.array([mask(row) for row in rows])[:, None]


def _surprise(log_p, says):
    return -np.take_along_axis(log_p, says[..., None], axis=-1)[..., 0]


def _softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _cross(Y, X, W_Q, W_K, W_V, mask, causal=False, scale=True, hide=True):
    s = Y @ W_Q @ (X @ W_K).T / (np.sqrt(W_Q.shape[1]) if scale else 1)
    s = np.where(mask, s, -np.inf) if hide else s
    s = np.where(np.tri(*s.shape, dtype=bool), s, -np.inf) if causal else s
    return _softmax(s) @ (X @ W_V), _softmax(s)


def _greedy(f, k, longest, end):
    ids = ()
    while len(ids) < longest and (not ids or ids[-1] != end):
        ids = (*ids, int(np.argmax(f(ids))))
    return ids


def _beams(f, k, longest, end, first=False, forget=False, mean=False):
    alive, finished = [((), 0.0)], []
    for _ in range(longest):
        grown = [((*ids, w), total + score) for ids, total in alive for w, score in enumerate(f(ids))]
        ended = [h for h in grown if h[0][-1] == end]
        finished = ended if forget else finished + ended
        alive = sorted((h for h in grown if h[0][-1] != end), key=lambda h: -h[1])[:k]
        if first and finished:
            return max(finished, key=lambda h: h[1])[0]
    return max(finished + alive, key=lambda h: h[1] / (len(h[0]) if mean else 1))[0]


def _endless(f, k, longest, end):
    """Goes on after the end."""
    alive = [((), 0.0)]
    for _ in range(longest):
        alive = sorted(((*ids, w), total + score) for ids, total in alive for w, score in enumerate(f(ids)))
        alive = sorted(alive, key=lambda h: -h[1])[:k]
    return alive[0][0]


def _picked(log_p, says):
    return -log_p[np.arange(len(says)), says]


def _span(start, end, longest):
    pairs = [(i, j) for i in range(len(start)) for j in range(i, min(len(start), i + longest))]
    return max(pairs, key=lambda pair: start[pair[0]] + end[pair[1]])


def _answer(start, end, nothing, longest):
    i, j = _span(start, end, longest)
    return (i, j) if start[i] + end[j] > nothing else None


def _exhaustive(f, k, longest, end):
    import itertools

    V = len(f(()))
    found = {}
    for n in range(1, longest + 1):
        for ids in itertools.product(range(V), repeat=n):
            if end not in ids[:-1] and (ids[-1] == end or n == longest):
                found[ids] = sum(f(ids[:i])[ids[i]] for i in range(n))
    return max(found, key=found.get)


def _crowded(f, k, longest, end):
    """Finished sequences stay among the k."""
    alive = [((), 0.0)]
    for _ in range(longest):
        grown = [((*ids, w), t + s) for ids, t in alive if not ids or ids[-1] != end for w, s in enumerate(f(ids))]
        alive = sorted(grown + [h for h in alive if h[0] and h[0][-1] == end], key=lambda h: -h[1])[:k]
    return alive[0][0]


def _beams_with_heap(f, k, longest, end):
    """Stops early where no living prefix can win any more."""
    import heapq

    alive, best = [(0.0, ())], (-np.inf, ())
    for n in range(1, longest + 1):
        grown = []
        for total, ids in alive:
            for w, score in enumerate(np.asarray(f(ids)).tolist()):
                if w == end or n == longest:
                    best = max(best, (total + score, (*ids, w)))
                if w != end:
                    grown.append((total + score, (*ids, w)))
        alive = [h for h in heapq.nlargest(k, grown) if h[0] > best[0]]
        if not alive:
            break
    return best[1]


def _beams_by_arrays(f, k, longest, end):
    prefixes, totals, done = [()], np.zeros(1), []
    for _ in range(longest):
        scores = totals[:, None] + np.stack([f(ids) for ids in prefixes])
        done += [((*ids, end), scores[i, end]) for i, ids in enumerate(prefixes)]
        scores[:, end] = -np.inf
        order = np.argsort(-scores, axis=None)[:k]
        rows, words = np.unravel_index(order[np.isfinite(scores.ravel()[order])], scores.shape)
        prefixes, totals = [(*prefixes[i], int(w)) for i, w in zip(rows, words)], scores[rows, words]
    done += list(zip(prefixes, totals))
    return list(max(done, key=lambda h: h[1])[0])


def _cross_by_loop(Y, X, W_Q, W_K, W_V, mask):
    P = np.zeros((len(Y), len(X)))
    for i, y in enumerate(Y):
        s = {j: float((y @ W_Q) @ (X[j] @ W_K)) / W_Q.shape[1] ** 0.5 for j in range(len(X)) if mask[j]}
        for j in s:
            P[i, j] = 1 / sum(np.exp(s[other] - s[j]) for other in s)
    return P @ X @ W_V, P


def _cross_by_floor(Y, X, W_Q, W_K, W_V, mask, floor=-1e9):
    P = _softmax(np.einsum("tc,cd,ed,se->ts", Y, W_Q, W_K, X) / np.sqrt(W_Q.shape[1]) + np.where(mask, 0, floor))
    return (P @ X) @ W_V, P


def _span_by_running_best(start, end, nothing, longest):
    best, found = nothing, None
    for j in range(len(end)):
        i = max(range(max(0, j - longest + 1), j + 1), key=lambda i: start[i])
        if start[i] + end[j] > best:
            best, found = start[i] + end[j], (i, j)
    return found


def _span_by_bands(start, end, nothing, longest):
    s = np.triu(np.ones((len(start), len(end)), bool)) & np.tri(len(start), len(end), longest - 1, dtype=bool)
    s = np.where(s, np.add.outer(start, end), -np.inf)
    i, j = divmod(int(s.argmax()), len(end))
    return [i, j] if s.max() > nothing else None


def _shift_by_zip(rows, begin, end, pad):
    from itertools import zip_longest

    both = [list(zip([begin, *row], [*row, end], strict=True)) for row in rows]
    full = np.array(list(zip_longest(*both, fillvalue=(pad, pad)))).swapaxes(0, 1)
    return full[..., 0], full[..., 1], [[t < len(b) for t in range(full.shape[1])] for b in both]


WRONG = [
    ("check_09_shift", lambda r, b, e, p: _shift(r, b, e, p, reads=lambda row, b, e: [*row, e]), "nothing is shifted"),
    ("check_09_shift", lambda r, b, e, p: _shift(r, b, e, p, mask=len), "leaves out `end`"),
    ("check_09_shift", lambda r, b, e, p: _shift(r, b, e, p, *[lambda row, b, e: [b, *row, e]] * 2), "one too many"),
    ("check_09_shift", lambda r, b, e, p: [_shift(r, b, e, p)[i] for i in (1, 0, 2)], "swapped"),
    ("check_09_masked_loss", lambda lp, says, m: _surprise(lp, says).mean(), "Padding counts"),
    ("check_09_masked_loss", lambda lp, says, m: (_surprise(lp, says) * m).mean(), "divide by the number of real"),
    ("check_09_masked_loss", lambda lp, says, m: np.mean([s[k].mean() for s, k in zip(_surprise(lp, says), m, strict=True)]), "short row"),
    ("check_09_cross_attention", lambda *a: _cross(*a, hide=False), "no effect"),
    ("check_09_cross_attention", lambda *a: _cross(*a, causal=True), "causal"),
    ("check_09_cross_attention", lambda *a: _cross(*a, scale=False), "√D"),
    ("check_09_cross_attention", lambda Y, X, *rest: _cross(X, Y, *rest[:3], np.ones(len(Y))), "keys are swapped"),
    ("check_09_beams", _greedy, "greedy"),
    ("check_09_beams", lambda *a: _beams(*a, first=True), "stop at a finished"),
    ("check_09_beams", lambda *a: _beams(*a, forget=True), "forgotten"),
    ("check_09_beams", lambda *a: _beams(*a, mean=True), "mean per token"),
    ("check_09_beams", _endless, "after `end`"),
    ("check_09_best_span", lambda s, e, nothing, n: (s.argmax(), e.argmax()), "each by itself"),
    ("check_09_best_span", lambda s, e, nothing, n: _span(s, e, n), "return None"),
    ("check_09_best_span", lambda s, e, nothing, n: _answer(s, e, nothing, len(s)), "too many words"),
    ("check_09_best_span", lambda s, e, nothing, n: _answer(s, e, nothing, max(1, n - 1)), "exactly `longest` words"),
    ("check_09_best_span", lambda s, e, nothing, n: None, "beats `nothing`"),
    ("check_09_weighted_loss", lambda lp, y, w: (w[y] * _picked(lp, y)).mean(), "number of words"),
    ("check_09_weighted_loss", lambda lp, y, w: _picked(lp, y).mean(), "plain mean"),
    ("check_09_weighted_loss", lambda lp, y, w: (w[y] * _picked(lp, y)).sum() / w.sum(), "not by those of the classes"),
    ("check_09_weighted_loss", lambda lp, y, w: -(w[y] * _picked(lp, y)).sum() / w[y].sum(), "The sign"),
    ("check_09_cross_attention", lambda *a: _cross_by_floor(*a, floor=-30), "a small one"),
    ("check_09_cross_attention", lambda *a: _cross_by_floor(*a, floor=-1000), "too weak"),
    ("check_09_beams", _exhaustive, "best of all"),
    ("check_09_beams", lambda f, k, longest, end: _beams(f, 2, longest, end), "the search finds"),
    ("check_09_beams", lambda f, k, longest, end: _beams(f, k + 1, longest, end), "whatever k is"),
    ("check_09_beams", _crowded, "put it aside"),
    ("check_09_masked_loss", lambda lp, says, m: _surprise(lp, says)[m].sum(), "sum, not the mean"),
]

RIGHT = [
    ("check_09_shift", _shift_by_zip),
    ("check_09_shift", lambda *a: list(_shift(*a))),
    ("check_09_masked_loss", lambda lp, says, m: -sum(lp[b, t, says[b, t]] for b, t in np.argwhere(m)) / m.sum()),
    ("check_09_masked_loss", lambda lp, says, m: -np.average(np.einsum("btv,btv->bt", lp, np.eye(lp.shape[-1])[says]), weights=m)),
    ("check_09_cross_attention", _cross_by_loop),
    ("check_09_cross_attention", _cross_by_floor),
    ("check_09_beams", _beams_with_heap),
    ("check_09_beams", _beams_by_arrays),
    ("check_09_best_span", _span_by_running_best),
    ("check_09_best_span", _span_by_bands),
    ("check_09_weighted_loss", lambda lp, y, w: np.average(-lp[range(len(y)), y], weights=w[y])),
    ("check_09_weighted_loss", lambda lp, y, w: -(np.eye(len(w))[y] * w * lp).sum() / (np.eye(len(w))[y] @ w).sum()),
]
