"""What students answer to chapter 16: the name of the check, the wrong answer, and what the hint must say."""

import numpy as np


def _pieces(word, vocabulary, shortest=False, marked=True, give_up=True):
    pieces, start = [], 0
    while start < len(word):
        stops = range(start + 1, len(word) + 1) if shortest else range(len(word), start, -1)
        fits = [stop for stop in stops if ("##" if start and marked else "") + word[start:stop] in vocabulary]
        if not fits:
            if give_up:
                return ["[UNK]"]
            fits, pieces = [len(word)], [*pieces, "[UNK]"]
        else:
            pieces.append(("##" if start and marked else "") + word[start : fits[0]])
        start = fits[0]
    return pieces


def _unit(m):
    return m / np.linalg.norm(m, axis=-1, keepdims=True)


def _mean(h, a):
    return (h * a[..., None]).sum(axis=1) / a.sum(axis=1, keepdims=True)


def _cosines(q, v):
    return v @ q / np.linalg.norm(v, axis=1)


def _slope(u, v, sign=-1, own=True, short=False):
    lu, lv = np.linalg.norm(u), np.linalg.norm(v)
    return (v / lv + own * sign * (u @ v) / (lu * lv) * u / lu) / (1 if short else lu)


WRONG = [
    ("check_16_wordpiece", lambda w, v: _pieces(w, v, shortest=True), "longest piece first"),
    ("check_16_wordpiece", lambda w, v: _pieces(w, v | {"ffa", "ble"}, marked=False), "carry ##"),
    ("check_16_wordpiece", lambda w, v: _pieces(w, v, give_up=False), "the whole word is unknown"),
    ("check_16_wordpiece", lambda w, v: [w] if w in v else ["[UNK]"], "can be cut"),
    ("check_16_pool", lambda h, a: _unit(h.mean(axis=1)), "Padding takes part"),
    ("check_16_pool", lambda h, a: _mean(h, a), "length is not 1"),
    ("check_16_pool", lambda h, a: _unit(_mean(_unit(h), a)), "not each token"),
    ("check_16_pool", lambda h, a: _mean(h, a) / np.linalg.norm(_mean(h, a)), "all rows together"),
    ("check_16_from_torch", lambda w: np.split(w, 3), "not transposed"),
    ("check_16_from_torch", lambda w: w.T.reshape(3, *w.T.shape[:1] * 2), "along the columns"),
    ("check_16_from_torch", lambda w: [part.T for part in np.split(w, 3)][::-1], "order is query"),
    ("check_16_from_torch", lambda w: w.T, "should have shape"),
    ("check_16_search", lambda q, v, k: np.argsort(-(v @ q))[:k], "Long vectors win"),
    ("check_16_search", lambda q, v, k: np.argsort(_cosines(q, v))[:k], "least similar"),
    ("check_16_search", lambda q, v, k: np.argsort(_cosines(q, v))[-k:], "best one last"),
    ("check_16_search", lambda q, v, k: np.sort(-_cosines(q, v))[:k], "numbers of the rows"),
    ("check_16_search", lambda q, v, k: np.argsort(np.linalg.norm(v - q, axis=1))[:k], "by distance"),
    ("check_16_cosine_gradient", lambda u, v: (_slope(u, v, own=False), _slope(v, u, own=False)), "length of the vector itself"),
    ("check_16_cosine_gradient", lambda u, v: (_slope(u, v, short=True), _slope(v, u, short=True)), "once too little"),
    ("check_16_cosine_gradient", lambda u, v: (_slope(u, v, sign=1), _slope(v, u, sign=1)), "sign of the second part"),
    ("check_16_cosine_gradient", lambda u, v: _slope(u, v), "two things"),
]
