"""What students answer to chapter 00: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

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


def _weak(floor):
    return _attention(lambda s, m: np.where(m, s, floor))


def _pad_by_zip(rows, pad_id):
    from itertools import zip_longest

    ids = np.array(list(zip_longest(*rows, fillvalue=pad_id))).T
    return ids.tolist(), [[True] * len(row) + [False] * (ids.shape[1] - len(row)) for row in rows]


def _split_by_loop(x, H):
    D = x.shape[-1] // H
    return np.stack([x[:, :, h * D : (h + 1) * D] for h in range(H)], axis=1)


def _attention_by_loop(Q, K, V, mask):
    real = [j for j in range(len(K)) if mask[j]]
    weights = np.zeros((len(Q), len(K)))
    for i, q in enumerate(Q):
        s = [float(q @ K[j]) / len(q) ** 0.5 for j in real]
        e = np.exp(np.array(s) - max(s))
        weights[i, real] = e / e.sum()
    return weights @ V, weights


def _attention_by_product(Q, K, V, mask):
    s = np.einsum("td,sd->ts", Q, K) * Q.shape[1] ** -0.5
    s = s - s[:, np.asarray(mask, bool)].max(axis=1, keepdims=True)
    e = np.exp(np.minimum(s, 0)) * mask
    return e @ V / e.sum(1, keepdims=True), e / e.sum(1, keepdims=True)


def _random_suffixes(f, ids, V):
    rng = np.random.default_rng(0)
    for t in range(1, len(ids)):
        before = np.array(f(ids))[:t]
        for _ in range(60):
            changed = np.concatenate([ids[:t], rng.integers(0, V, len(ids) - t)])
            if not np.allclose(f(changed)[:t], before):
                return True
    return False


def _prefixes(f, ids, V):
    rng = np.random.default_rng(0)
    return any(
        not np.allclose(f(np.array(text))[:t], f(np.array(text[:t])))
        for text in rng.integers(0, V, (100, len(ids)))
        for t in range(1, len(ids))
    )


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
    ("check_00_masked_attention", _weak(-25), "a small one"),
    ("check_00_masked_attention", _weak(-1000), "too weak"),
    ("check_00_masked_attention", _attention(lambda s, m: s, lambda w, m: w * m / (w * m).sum(axis=-1, keepdims=True)), "NaN"),
    ("check_00_masked_attention", lambda Q, K, V, m: [np.exp(_hide(Q @ K.T / Q.shape[1] ** 0.5, m)) @ V] * 2, "weights"),
    ("check_00_masked_attention", lambda Q, K, V, m: __import__("transformer").scaled_dot_product_attention(Q, K, V), "lets the library"),
]

RIGHT = [
    ("check_00_pad_and_mask", _pad_by_zip),
    ("check_00_pad_and_mask", lambda rows, p: [np.array(a, np.int32) for a in _pad(rows, p)]),
    ("check_00_split", _split_by_loop),
    ("check_00_split", lambda x, H: np.moveaxis(np.array(np.split(x, H, axis=-1)), 0, 1)),
    ("check_00_masked_attention", _attention_by_loop),
    ("check_00_masked_attention", _attention_by_product),
    ("check_00_masked_attention", _weak(-1e9)),
    ("check_00_sees_the_future", _random_suffixes),
    ("check_00_sees_the_future", _prefixes),
]
