"""What students answer to chapter 12: the name of the check, the wrong answer, and what the hint must say."""

import itertools

import numpy as np


def _scaled(q):
    return q / q.sum()


def _nucleus(p, limit, crossing=True, order=True, scaled=True, back=True):
    order = np.argsort(-p, kind="stable") if order else np.arange(len(p))
    total = np.cumsum(p[order])
    keep = total - p[order] < limit - 1e-12 if crossing else total <= limit
    q = np.where(keep, p[order], 0)
    out = q.copy()
    if back:
        out[order] = q
    return out / out.sum() if scaled and out.any() else out


def _penalised(z, seen, rule, once=True):
    out = z.copy()
    for i in set(seen) if once else seen:
        out[i] = rule(out[i])
    return out


def _runs(texts, n):
    return [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]


def _joined(texts, n):
    return _distinct([[word for words in texts for word in words]], n)


def _distinct(texts, n):
    return len(set(_runs(texts, n))) / len(_runs(texts, n))


def _value(next_log_p, ids):
    return sum(next_log_p(ids[:i])[word] for i, word in enumerate(ids))


def _greedy(next_log_p, n, k):
    ids = ()
    for _ in range(n):
        ids = (*ids, int(np.argmax(next_log_p(ids))))
    return ids, _value(next_log_p, ids)


def _all(next_log_p, n, k):
    best = max(itertools.product(range(3), repeat=n), key=lambda ids: _value(next_log_p, ids))
    return best, _value(next_log_p, best)


def _beams(next_log_p, n, k):
    found = [(0.0, ())]
    for _ in range(n):
        found = sorted(((t + p, (*ids, i)) for t, ids in found for i, p in enumerate(next_log_p(ids))), reverse=True)[:k]
    return found[0][1], found[0][0]


WRONG = [
    ("check_12_at_temperature", lambda p, tau: _scaled(p**tau), "not τ"),
    ("check_12_at_temperature", lambda p, tau: p ** (1 / tau), "sum 1"),
    ("check_12_at_temperature", lambda p, tau: _scaled(p / tau), "changes nothing"),
    ("check_12_at_temperature", lambda p, tau: _scaled(np.exp(p / tau)), "not logits"),
    ("check_12_nucleus", lambda p, limit: _nucleus(p, limit, crossing=False), "crosses the limit"),
    ("check_12_nucleus", lambda p, limit: _nucleus(p, limit, order=False), "sorted"),
    ("check_12_nucleus", lambda p, limit: _nucleus(p, limit, scaled=False), "sum 1"),
    ("check_12_nucleus", lambda p, limit: _nucleus(p, limit, back=False), "back to its place"),
    ("check_12_penalised", lambda z, seen, rho: _penalised(z, seen, lambda x: x / rho), "nearer to 0"),
    ("check_12_penalised", lambda z, seen, rho: _penalised(z, seen, lambda x: x / rho if x > 0 else x * rho, once=False), "however often"),
    ("check_12_penalised", lambda z, seen, rho: _penalised(z, seen, lambda x: x - rho), "not subtracted"),
    ("check_12_penalised", lambda z, seen, rho: np.where(z > 0, z / rho, z * rho), "not seen have been changed"),
    ("check_12_distinct", lambda texts, n: len(set(_runs(texts, n))) / sum(map(len, texts)), "number of words"),
    ("check_12_distinct", lambda texts, n: 1 - _distinct(texts, n), "one minus it"),
    ("check_12_distinct", _joined, "into the next"),
    ("check_12_distinct", lambda texts, n: float(np.mean([_distinct([t], n) for t in texts if len(t) >= n])), "mean over the texts"),
    ("check_12_search", _greedy, "greedy"),
    ("check_12_search", _all, "best of all texts"),
    ("check_12_search", lambda f, n, k: (_beams(f, n, k)[0], np.exp(_beams(f, n, k)[1])), "its logarithm"),
]
