"""What students answer to chapter 09: the name of the check, the wrong answer, and what the hint must say."""

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


def _cross(Y, M, W_Q, W_K, W_V, mask, causal=False, scale=True, hide=True):
    s = Y @ W_Q @ (M @ W_K).T / (np.sqrt(W_Q.shape[1]) if scale else 1)
    s = np.where(mask, s, -np.inf) if hide else s
    s = np.where(np.tri(*s.shape, dtype=bool), s, -np.inf) if causal else s
    return _softmax(s) @ (M @ W_V), _softmax(s)


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
    ("check_09_cross_attention", lambda Y, M, *rest: _cross(M, Y, *rest[:3], np.ones(len(Y))), "keys are swapped"),
    ("check_09_beams", _greedy, "greedy"),
    ("check_09_beams", lambda *a: _beams(*a, first=True), "stop at a finished"),
    ("check_09_beams", lambda *a: _beams(*a, forget=True), "forgotten"),
    ("check_09_beams", lambda *a: _beams(*a, mean=True), "mean per token"),
    ("check_09_beams", _endless, "goes on after `end`"),
    ("check_09_best_span", lambda s, e, nothing, n: (s.argmax(), e.argmax()), "each by itself"),
    ("check_09_best_span", lambda s, e, nothing, n: _span(s, e, n), "return None"),
    ("check_09_best_span", lambda s, e, nothing, n: _answer(s, e, nothing, len(s)), "too many words"),
    ("check_09_best_span", lambda s, e, nothing, n: _answer(s, e, nothing, max(1, n - 1)), "exactly `longest` words"),
    ("check_09_best_span", lambda s, e, nothing, n: None, "beats `nothing`"),
    ("check_09_weighted_loss", lambda lp, y, w: (w[y] * _picked(lp, y)).mean(), "number of words"),
    ("check_09_weighted_loss", lambda lp, y, w: _picked(lp, y).mean(), "plain mean"),
    ("check_09_weighted_loss", lambda lp, y, w: (w[y] * _picked(lp, y)).sum() / w.sum(), "not by those of the classes"),
    ("check_09_weighted_loss", lambda lp, y, w: -(w[y] * _picked(lp, y)).sum() / w[y].sum(), "The sign"),
]
