"""What students answer to chapter 12: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""


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


def _runs(texts, n):
    return [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]


def _joined(texts, n):
    return _distinct([[word for words in texts for word in words]], n)


def _distinct(texts, n):
    return len(set(_runs(texts, n))) / len(_runs(texts, n))


def _value(next_log_p, ids):
    return sum(next_log_p(ids[:i])[word] for i, word in enumerate(ids))


def _beams(next_log_p, n, k):
    found = [(0.0, ())]
    for _ in range(n):
        found = sorted(((t + p, (*ids, i)) for t, ids in found for i, p in enumerate(next_log_p(ids))), reverse=True)[:k]
    return found[0][1], found[0][0]


def _by_logs(p, tau):
    with np.errstate(divide="ignore"):
        z = np.log(p) / tau
    e = np.exp(z - z.max())
    return e / e.sum()


def _nucleus_by_loop(p, limit):
    left, kept = list(range(len(p)))[::-1], []
    while sum(p[i] for i in kept) < limit - 1e-12:
        best = max(left, key=lambda i: p[i])
        left.remove(best)
        kept.append(best)
    return [p[i] / sum(p[j] for j in kept) if i in kept else 0.0 for i in range(len(p))]


def _nucleus_backwards(p, limit):
    """Ties at the border are broken the other way round."""
    order = np.argsort(p)[::-1]
    n = np.searchsorted(np.cumsum(p[order]), limit - 1e-12) + 1
    return np.where(np.isin(np.arange(len(p)), order[:n]), p, 0) / p[order[:n]].sum()


def _no_repeats(z, ids, n, floor=-np.inf, size=None, last_only=False, tail=lambda ids, n: ids[len(ids) - n + 1 :]):
    out, n = np.array(z), n if size is None else size(n)
    runs = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
    hits = [run[-1] for run in runs if list(run[:-1]) == list(tail(ids, n))]
    for token in hits[-1:] if last_only else hits:
        out[token] = floor
    return out


def _no_repeats_by_trial(z, ids, n):
    met = {tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)}
    return [-float("inf") if len(ids) + 1 >= n and tuple([*ids, w][len(ids) + 1 - n :]) in met else float(z[w]) for w in range(len(z))]


def _no_repeats_by_table(z, ids, n):
    follows = {}
    for i in range(n - 1, len(ids)):
        follows.setdefault(tuple(ids[i - n + 1 : i]), set()).add(ids[i])
    banned = follows.get(tuple(ids[len(ids) - n + 1 :]) if len(ids) >= n - 1 else None, set())
    return np.where(np.isin(np.arange(len(z)), list(banned)), -np.inf, z)


def _without_separator(texts, n):
    runs = ["".join(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs)


def _distinct_by_counter(texts, n):
    from collections import Counter

    runs = Counter(run for words in texts for run in zip(*(words[i:] for i in range(n))))
    return len(runs) / runs.total()


def _distinct_by_arrays(texts, n):
    number = {word: i for i, word in enumerate(sorted({word for words in texts for word in words}))}
    long = [[number[word] for word in words] for words in texts if len(words) >= n]
    runs = np.concatenate([np.lib.stride_tricks.sliding_window_view(words, n) for words in long])
    return len(np.unique(runs, axis=0)) / len(runs)


def _first_complete(next_log_p, n):
    """Stops as soon as a complete text is found."""
    waiting = [(0.0, ())]
    while True:
        total, ids = max(waiting)
        waiting.remove((total, ids))
        grown = [(total + p, (*ids, i)) for i, p in enumerate(next_log_p(ids))]
        if len(ids) == n - 1:
            return max(grown)[::-1]
        waiting += grown


def _every_text(next_log_p, n):
    layer = [(0.0, ())]
    for _ in range(n):
        layer = [(total + p, (*ids, i)) for total, ids in layer for i, p in enumerate(next_log_p(ids))]
    return max(layer)[::-1]


def _with_heap(next_log_p, n):
    import heapq

    waiting = [(-0.0, ())]
    while len(waiting[0][1]) < n:
        cost, ids = heapq.heappop(waiting)
        for i, p in enumerate(next_log_p(ids)):
            heapq.heappush(waiting, (cost - float(p), (*ids, i)))
    return list(waiting[0][1]), -waiting[0][0]


def _with_dictionary(next_log_p, n):
    totals = {(): 0.0}
    while len(best := max(totals, key=totals.get)) < n:
        total = totals.pop(best)
        totals.update({(*best, i): total + p for i, p in enumerate(next_log_p(best))})
    return best, np.float32(totals[best])


WRONG = [
    ("check_12_at_temperature", lambda p, tau: _scaled(p**tau), "not τ"),
    ("check_12_at_temperature", lambda p, tau: p ** (1 / tau), "sum 1"),
    ("check_12_at_temperature", lambda p, tau: _scaled(p / tau), "changes nothing"),
    ("check_12_at_temperature", lambda p, tau: _scaled(np.exp(p / tau)), "not logits"),
    ("check_12_nucleus", lambda p, limit: _nucleus(p, limit, crossing=False), "crosses the limit"),
    ("check_12_nucleus", lambda p, limit: _nucleus(p, limit, order=False), "sorted"),
    ("check_12_nucleus", lambda p, limit: _nucleus(p, limit, scaled=False), "sum 1"),
    ("check_12_nucleus", lambda p, limit: _nucleus(p, limit, back=False), "back to its place"),
    ("check_12_distinct", lambda texts, n: len(set(_runs(texts, n))) / sum(map(len, texts)), "number of words"),
    ("check_12_distinct", lambda texts, n: 1 - _distinct(texts, n), "one minus it"),
    ("check_12_distinct", _joined, "into the next"),
    ("check_12_distinct", lambda texts, n: float(np.mean([_distinct([t], n) for t in texts if len(t) >= n])), "mean over the texts"),
    ("check_12_at_temperature", lambda p, tau: _scaled(p ** (1 / tau)), "0/0 is NaN"),
    ("check_12_without_repeats", lambda *a: _no_repeats(*a, floor=-20.0), "it comes one day"),
    ("check_12_without_repeats", lambda *a: _no_repeats(*a, size=lambda n: n + 1), "You compare n tokens"),
    ("check_12_without_repeats", lambda *a: _no_repeats(*a, size=lambda n: max(1, n - 1)), "too few"),
    ("check_12_without_repeats", lambda *a: _no_repeats(*a, last_only=True), "not only the last"),
    ("check_12_without_repeats", lambda *a: _no_repeats(*a, tail=lambda ids, n: ids[-(n - 1) :]), "the whole list"),
    ("check_12_distinct", _without_separator, "without a space"),
    ("check_12_exact_search", lambda f, n: _beams(f, n, 1), "greedy"),
    ("check_12_exact_search", lambda f, n: _beams(f, n, 2), "two beams"),
    ("check_12_exact_search", _first_complete, "The text should be"),
    ("check_12_exact_search", _every_text, "are enough"),
    ("check_12_exact_search", lambda f, n: (_with_heap(f, n)[0], np.exp(_with_heap(f, n)[1])), "its logarithm"),
]

RIGHT = [
    ("check_12_at_temperature", _by_logs),
    ("check_12_at_temperature", lambda p, tau: [1 / sum((b / a) ** (1 / tau) for b in p) if a else 0.0 for a in p]),
    ("check_12_nucleus", _nucleus_by_loop),
    ("check_12_nucleus", _nucleus_backwards),
    ("check_12_without_repeats", _no_repeats_by_trial),
    ("check_12_without_repeats", _no_repeats_by_table),
    ("check_12_distinct", _distinct_by_counter),
    ("check_12_distinct", _distinct_by_arrays),
    ("check_12_exact_search", _with_heap),
    ("check_12_exact_search", _with_dictionary),
]
