"""What students answer to chapter 11: the name of the check, the wrong answer, and what the hint must say."""

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
]
