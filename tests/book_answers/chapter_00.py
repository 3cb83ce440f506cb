"""What students answer to chapter 00: the name of the check, the wrong answer, and what the hint must say."""

import numpy as np


def _pad(rows, pad_id, left=False, mask_of=None):
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), pad_id)
    mask = np.zeros((len(rows), longest), int)
    for b, row in enumerate(rows):
        place = slice(longest - len(row), None) if left else slice(len(row))
        ids[b, place], mask[b, place] = row, 1
    return ids, mask if mask_of is None else mask_of(ids, mask)


def _softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _attention(mask_scores, mask_weights=lambda w, m: w, scale=lambda d: np.sqrt(d)):
    def answer(Q, K, V, mask):
        weights = mask_weights(_softmax(mask_scores(Q @ K.T / scale(Q.shape[1]), mask)), mask)
        return weights @ V, weights

    return answer


def _hide(s, mask):
    return np.where(mask, s, -np.inf)


def _probe(places, others, rows):
    def answer(f, ids, V):
        before = np.array(f(ids))
        for u in places(len(ids)):
            for other in others(V):
                changed = np.array(ids)
                changed[u] = (changed[u] + other) % V
                if not np.allclose(np.array(f(changed))[rows(u)], before[rows(u)]):
                    return True
        return False

    return answer


WRONG = [
    ("check_00_pad_and_mask", lambda rows, p: _pad(rows, p, left=True), "on the left"),
    ("check_00_pad_and_mask", lambda rows, p: _pad(rows, p, mask_of=lambda ids, m: (ids != p).astype(int)), "from the lengths"),
    ("check_00_pad_and_mask", lambda rows, p: _pad(rows, p, mask_of=lambda ids, m: 1 - m), "upside down"),
    ("check_00_pad_and_mask", lambda rows, p: _pad(rows, p)[0], "Return two things"),
    ("check_00_split", lambda x, H: x.reshape(len(x), H, x.shape[1], -1), "a single reshape"),
    ("check_00_split", lambda x, H: x.reshape(len(x), x.shape[1], H, -1), "not in front"),
    ("check_00_split", lambda x, H: x.reshape(*x.shape[:2], -1, H).transpose(0, 3, 1, 2), "every H-th"),
    ("check_00_split", lambda x, H: x[:, :H], "shape"),
    ("check_00_masked_attention", _attention(_hide, scale=lambda d: 1), "√D"),
    ("check_00_masked_attention", _attention(lambda s, m: s, lambda w, m: w * m), "after the softmax"),
    ("check_00_masked_attention", _attention(lambda s, m: s * m), "became 0"),
    ("check_00_masked_attention", _attention(lambda s, m: s), "no effect"),
    ("check_00_sees_the_future", _probe(lambda T: [T - 1], lambda V: range(V), lambda u: slice(u)), "second place see the third"),
    ("check_00_sees_the_future", _probe(range, lambda V: range(V), lambda u: slice(None)), "accuses it"),
    ("check_00_sees_the_future", _probe(range, lambda V: [1], lambda u: slice(u)), "a single word"),
    ("check_00_sees_the_future", _probe(range, lambda V: range(V), lambda u: slice(max(0, u - 1), u)), "see the last"),
]
