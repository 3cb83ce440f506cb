"""What students answer to chapter 13: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np

HE = {"he": "she", "his": "her", "himself": "herself"}


def _replaced(text):
    for one, other in HE.items():
        text = text.replace(one, other)
    return text


def _in_a_row(text):
    words = [HE.get(word, word) for word in text.split(" ")]
    back = {female: male for male, female in HE.items()}
    return " ".join(back.get(word, word) for word in words)


def _counts(jobs, male):
    same_job = jobs[:, None] == jobs
    return same_job.sum(axis=1), (same_job & (male[:, None] == male)).sum(axis=1)


def _p(d, groups, alone=False, absolute=True, strict=False):
    sums = d if alone else np.array([d[groups == g].sum() for g in np.unique(groups)])
    signs = 1 - 2 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
    totals, seen = signs @ sums, sums.sum()
    if absolute:
        totals, seen = np.abs(totals), abs(seen)
    return np.mean(totals > seen + 1e-9 if strict else totals >= seen - 1e-9)


def _softmax(z):
    return np.exp(z) / np.exp(z).sum()


def _first_way(z, s):
    p, d = _softmax(z), z - z[s]
    return p * (d - p @ d)


def _by_regular_expression(text):
    import re

    back = HE | {female: male for male, female in HE.items()}
    return re.sub(r"\b(" + "|".join(sorted(back, key=len, reverse=True)) + r")\b", lambda m: back[m[0]], text)


def _by_marks(text):
    for male, female in HE.items():
        text = f" {text} ".replace(" ", "  ").replace(f" {male} ", " \0 ").replace(f" {female} ", f" {male} ").replace(" \0 ", f" {female} ")
        text = " ".join(text.split())
    return text


def _weights_by_loop(jobs, male):
    out = []
    for job, kind in zip(jobs.tolist(), male.tolist()):
        same = [k for j, k in zip(jobs.tolist(), male.tolist()) if j == job]
        out.append(len(same) / 2 / same.count(kind))
    return out


def _weights_by_counts(jobs, male):
    _, number = np.unique(jobs, return_inverse=True)
    cell = np.bincount(2 * number + male, minlength=2 * (number.max() + 1))
    return (np.bincount(number) / 2)[number] / cell[2 * number + male]


def _p_by_products(d, g):
    import itertools

    sums = [d[g == name].sum() for name in set(g.tolist())]
    ways = [abs(np.dot(signs, sums)) for signs in itertools.product([1, -1], repeat=len(sums))]
    return sum(way >= abs(sum(sums)) - 1e-9 for way in ways) / len(ways)


def _p_by_half(d, g):
    """Flipping all signs changes nothing, so one group may keep its own."""
    sums = np.array([d[g == name].sum() for name in dict.fromkeys(g.tolist())])
    totals = sums[:1]
    for s in sums[1:]:
        totals = np.concatenate([totals + s, totals - s])
    return np.mean(np.abs(totals) > abs(sums.sum()) * (1 - 1e-12) - 1e-12)


def _kl_by_jacobian(z, sigma):
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    swap = np.eye(len(z))[sigma]
    return (np.diag(p) - np.outer(p, p)) @ (z - swap @ z) + p - swap.T @ p


def _kl_by_engine(z, sigma):
    import minigrad as mg

    def L(z):
        y = mg.log_softmax(z)
        return (mg.exp(y) * (y - y[sigma])).sum()

    return mg.grad(L)(z).data


WRONG = [
    ("check_13_gap", lambda p, q: np.log(q).sum() - np.log(p).sum(), "The sign"),
    ("check_13_gap", lambda p, q: np.log(p / q).mean(), "mean per token"),
    ("check_13_gap", lambda p, q: np.log2(p / q).sum(), "bits"),
    ("check_13_gap", lambda p, q: p.prod() / q.prod(), "how many times"),
    ("check_13_gap", lambda p, q: np.log(p.prod()) - np.log(q.prod()), "400 tokens"),
    ("check_13_twin", _replaced, "whole words"),
    ("check_13_twin", _in_a_row, "undo one another"),
    ("check_13_twin", lambda text: " ".join(HE.get(word, word) for word in text.split(" ")), "the other does not"),
    ("check_13_twin", lambda text: "".join(HE.get(word, word) for word in text.split(" ")), "number of words"),
    ("check_13_balanced_weights", lambda j, m: len(j) / (2 * np.where(m, m.sum(), (~m).sum())), "as a whole"),
    ("check_13_balanced_weights", lambda j, m: _counts(j, m)[0] / _counts(j, m)[1], "factor ½"),
    ("check_13_balanced_weights", lambda j, m: 1 / _counts(j, m)[1], "weigh 1 each"),
    ("check_13_balanced_weights", lambda j, m: _counts(j, m)[0] / (2 * _counts(j, ~m)[0] - 2 * _counts(j, m)[1]), "frequent kind"),
    ("check_13_balanced_weights", lambda j, m: 1 - _counts(j, m)[1] / _counts(j, m)[0], "less than their number"),
    ("check_13_p_value", lambda d, g: _p(d, g, alone=True), "flip together"),
    ("check_13_p_value", lambda d, g: _p(d, g, absolute=False), "One side only"),
    ("check_13_p_value", lambda d, g: _p(d, g, strict=True), "count too"),
    ("check_13_kl_gradient", _first_way, "Only the way through p"),
    ("check_13_kl_gradient", lambda z, s: _softmax(z) - _softmax(z)[s], "Only the way through the logarithms"),
    ("check_13_kl_gradient", lambda z, s: _softmax(z) * (z - z[s]) + _softmax(z) - _softmax(z)[s], "weighted mean"),
    ("check_13_kl_gradient", lambda z, s: _first_way(z, s) + _softmax(z), "misses the partner"),
    ("check_13_p_value", lambda d, g: 1 - _p(d, g), "one minus"),
    ("check_13_kl_gradient", _kl_by_engine, "lets the library"),
    ("check_13_kl_gradient", lambda z, s: (p := np.exp(z) / np.exp(z).sum()) * (z - z[s] - p @ (z - z[s])) + p - p[s], "e^10000"),
]

RIGHT = [
    ("check_13_gap", lambda p, q: sum(np.log(a) - np.log(b) for a, b in zip(p, q))),
    ("check_13_gap", lambda p, q: np.log(p / q).sum()),
    ("check_13_twin", _by_regular_expression),
    ("check_13_twin", _by_marks),
    ("check_13_balanced_weights", _weights_by_loop),
    ("check_13_balanced_weights", _weights_by_counts),
    ("check_13_p_value", _p_by_products),
    ("check_13_p_value", _p_by_half),
    ("check_13_kl_gradient", _kl_by_jacobian),
    ("check_13_kl_gradient", lambda z, s: _kl_by_jacobian(z, s).tolist()),
]
