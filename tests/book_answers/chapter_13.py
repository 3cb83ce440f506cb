"""What students answer to chapter 13: the name of the check, the wrong answer, and what the hint must say."""

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
]
