"""What students answer to chapter 11: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _windows(ids, starts, T, shift):
    places = starts[:, None] + np.arange(T)
    return ids[places], ids[places + shift]


def _rolled(ids, starts, T):
    x = ids[starts[:, None] + np.arange(T)]
    return x, np.roll(x, -1, axis=1)


def _counts(ids, V, add=1.0):
    count = np.full((V, V), add)
    np.add.at(count, (ids[:-1], ids[1:]), 1)
    return count


def _counted_once(ids, V):
    count = np.ones((V, V))
    count[ids[:-1], ids[1:]] += 1
    return count / count.sum(axis=1, keepdims=True)


def _unsmoothed(ids, V):
    count = _counts(ids, V, 0.0)
    return count / count.sum(axis=1, keepdims=True)


def _write(next_p, ids, u, greedy=False, reaches=False, prompt_only=False, last_only=False, new_only=False):
    prompt, ids = list(ids), list(ids)
    for number in u:
        p = next_p(np.array(prompt if prompt_only else ids[-1:] if last_only else ids))
        total = np.cumsum(p)
        ids.append(int(p.argmax() if greedy else np.searchsorted(total, number) if reaches else (total <= number).sum()))
    return np.array(ids[len(prompt) :] if new_only else ids)


def _bigrams_by_product(ids, V):
    one = np.eye(V)[ids]
    count = one[:-1].T @ one[1:] + 1
    return (count.T / count.sum(axis=1)).T


def _bigrams_by_loop(ids, V):
    rows = [[1.0] * V for _ in range(V)]
    for i in range(1, len(ids)):
        rows[ids[i - 1]][ids[i]] += 1
    return [[c / sum(row) for c in row] for row in rows]


def _write_by_loop(next_p, ids, u):
    ids = [int(i) for i in ids]
    for number in u.tolist():
        total, token = 0.0, -1
        while total <= number:
            token += 1
            total += float(next_p(np.array(ids))[token])
        ids.append(token)
    return ids


def _write_by_search(next_p, ids, u):
    out = np.concatenate([ids, np.zeros(len(u), int)])
    for i, number in enumerate(u, len(ids)):
        out[i] = np.searchsorted(np.cumsum(next_p(out[:i])), number, side="right")
    return out


WRONG = [
    ("check_11_bits_and_perplexity", lambda p: (-np.log(p).mean(), np.exp(-np.log(p).mean())), "base 2"),
    ("check_11_bits_and_perplexity", lambda p: (np.log2(p).mean(), 2 ** np.log2(p).mean()), "sign"),
    ("check_11_bits_and_perplexity", lambda p: (-np.log2(p).sum(), 2 ** -np.log2(p).sum()), "whole text"),
    ("check_11_bits_and_perplexity", lambda p: (-np.log2(p).mean(), np.exp(-np.log2(p).mean())), "not e"),
    ("check_11_bits_and_perplexity", lambda p: (-np.log2(p).mean(), 1 / p.mean()), "geometric"),
    ("check_11_windows_and_targets", lambda ids, starts, T: _windows(ids, starts, T, 0), "shift is missing"),
    ("check_11_windows_and_targets", lambda ids, starts, T: _windows(ids, starts, T, -1), "wrong way"),
    ("check_11_windows_and_targets", _rolled, "not the first one of the window"),
    ("check_11_bigram_table", lambda ids, V: (_counts(ids, V) / _counts(ids, V).sum(axis=1, keepdims=True)).T, "should be"),
    ("check_11_bigram_table", lambda ids, V: _counts(ids, V) / _counts(ids, V).sum(axis=0), "columns do"),
    ("check_11_bigram_table", lambda ids, V: _counts(ids, V).T / _counts(ids, V).T.sum(axis=1, keepdims=True), "swapped"),
    ("check_11_bigram_table", _counted_once, "np.add.at"),
    ("check_11_bigram_table", _unsmoothed, "is missing"),
    ("check_11_positions_read", lambda m, n: (n * m, m + n - 1), "grows"),
    ("check_11_positions_read", lambda m, n: (sum(m + i for i in range(n)), m + n), "never read"),
    ("check_11_positions_read", lambda m, n: (sum(m + i for i in range(1, n + 1)), m + n - 1), "from 0"),
    ("check_11_write_with", lambda *a: _write(*a, greedy=True), "greedy"),
    ("check_11_write_with", lambda *a: _write(*a, reaches=True), "must exceed"),
    ("check_11_write_with", lambda *a: _write(*a, prompt_only=True), "append the token"),
    ("check_11_write_with", lambda *a: _write(*a, last_only=True), "whole text"),
    ("check_11_write_with", lambda *a: _write(*a, new_only=True), "prompt belongs"),
    ("check_11_windows_and_targets", lambda ids, starts, T: (ids[starts], ids[starts + 1]), "shape"),
    ("check_11_positions_read", lambda m, n: (m + n - 1, m + n - 1), "what the cache does"),
]

RIGHT = [
    ("check_11_bits_and_perplexity", lambda p: (np.log(1 / p).mean() / np.log(2), np.exp(-np.mean(np.log(p))))),
    ("check_11_bits_and_perplexity", lambda p: [-sum(np.log2(x) for x in p) / len(p), np.prod(p ** (-1 / len(p)))]),
    ("check_11_windows_and_targets", lambda ids, starts, T: ([ids[s : s + T] for s in starts], [ids[s + 1 : s + 1 + T] for s in starts])),
    ("check_11_windows_and_targets", lambda ids, s, T: np.lib.stride_tricks.sliding_window_view(ids, T)[np.array([s, s + 1])].tolist()),
    ("check_11_bigram_table", _bigrams_by_product),
    ("check_11_bigram_table", _bigrams_by_loop),
    ("check_11_positions_read", lambda m, n: (sum(range(m, m + n)), m - 1 + n)),
    ("check_11_positions_read", lambda m, n: [n * (2 * m + n - 1) / 2, float(m + (n - 1))]),
    ("check_11_write_with", _write_by_loop),
    ("check_11_write_with", _write_by_search),
]
