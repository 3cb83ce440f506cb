"""Bias, measured and reduced."""

import numpy as np

import minigrad as mg

from .verdict import Wrong, ask, check, diagnosed, finite, same, softmax

PARTNER = {"he": "she", "she": "he", "his": "her", "her": "his", "himself": "herself", "herself": "himself"}


@check
def check_13_gap(answer):
    rng = np.random.default_rng(1)
    for n in (3, 5, 8, 1):
        p, q = rng.uniform(0.1, 0.9, (2, n))
        a, b = np.log(p).sum(), np.log(q).sum()
        hints = {
            "The sign: x minus its swap.": b - a,
            "A mean per token is another measure: here the logarithms add.": (a - b) / n,
            "These are bits; nats come from the natural logarithm.": (a - b) / np.log(2),
            "This is how many times as likely; the gap is its logarithm.": np.exp(a - b),
            "Probabilities were subtracted; subtract their logarithms.": p.prod() - q.prod(),
            "Probabilities were added before the logarithm: those of a sentence multiply.": np.log(p.sum()) - np.log(q.sum()),
            "This is the difference at one place; what stands after the changed word counts too.": np.log(p[0] / q[0]),
        }
        same(ask(answer, p, q), a - b, "the gap", hints, at=f"T = {n}")
    with np.errstate(all="ignore"):
        got = ask(answer, np.full(400, 0.1), np.full(400, 0.09))
    if not np.isfinite(got):
        raise Wrong("A text of 400 tokens gives no number: 0.1^400 is 0 in the machine. Add logarithms instead of multiplying probabilities.")
    return "A gap of 0.7 nats is a factor of two."


@check
def check_13_twin(answer):
    texts = [
        "the nurse said that she was tired .",
        "the pilot blamed himself for the letter .",
        "the theatre in the harbour was there .",
        "he gave her the ticket and she took his lamp .",
        "herself , himself , hers , this , sheep",
    ]
    for text in texts:
        right = " ".join(PARTNER.get(word, word) for word in text.split(" "))
        got = ask(answer, text)
        if got == right:
            continue
        said = f"({text!r} should become {right!r}; yours is {got!r}.)"
        if not isinstance(got, str):
            raise Wrong(f"Return a text; yours is {type(got).__name__}. {said}")
        before, after, mine = text.split(" "), right.split(" "), got.split(" ")
        if len(mine) != len(before):
            raise Wrong(f"The number of words changed: cut and join at single spaces. {said}")
        if any(b == a != m for b, a, m in zip(before, after, mine, strict=True)):
            raise Wrong(f"A word that is no pronoun was changed: compare whole words, not letters inside them. {said}")
        forward = all(m == a for b, a, m in zip(before, after, mine, strict=True) if b in ("he", "his", "himself"))
        if forward or all(m == a for b, a, m in zip(before, after, mine, strict=True) if b in ("she", "her", "herself")):
            raise Wrong(f"One direction works, the other does not. Two replacements in a row undo one another: decide for each word once. {said}")
        raise Wrong(f"Not every pronoun has its partner. {said}")
    return "Twice gives the text back, as a swap should."


@check
def check_13_balanced_weights(answer):
    cases = [(["a"] * 4 + ["b"] * 6, [1, 0, 0, 0, 1, 1, 1, 1, 0, 0]), (["x", "y"] * 5, [1, 1, 1, 0, 1, 0, 0, 0, 1, 0])]
    for jobs, male in cases:
        jobs, male = np.array(jobs), np.array(male, bool)
        n = len(jobs)
        number = np.array([(jobs == job).sum() for job in jobs])
        mine = np.array([((jobs == job) & (male == kind)).sum() for job, kind in zip(jobs, male, strict=True)])
        alike = np.array([(male == kind).sum() for kind in male])
        right = number / (2 * mine)
        hints = {
            "Balance within each occupation; these weights balance the text as a whole.": n / (2 * alike),
            "The frequent kind got the larger weight.": number / (2 * (number - mine)),
            "The factor ½ is missing: all together weigh twice their number.": number / mine,
            "In each occupation the two kinds weigh 1 each; together they should weigh as much as their number.": 1 / mine,
            "In each occupation the two kinds weigh ½ each; together they should weigh as much as their number.": 1 / (2 * mine),
            "Balanced, but together they weigh less than their number: divide by twice the share of its own kind.": 1 - mine / number,
        }
        same(ask(answer, jobs, male), right, "the weights", hints, at=f"{n} sentences")
    return "The model sees the same sentences, and a balanced text."


def _p(differences, groups, two_sided=True, strict=False):
    sums = np.array([differences[groups == name].sum() for name in np.unique(groups)])
    signs = 1 - 2 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
    totals, seen = signs @ sums, sums.sum()
    if two_sided:
        totals, seen = np.abs(totals), abs(seen)
    return np.mean(totals > seen + 1e-9 if strict else totals >= seen - 1e-9)


@check
def check_13_p_value(answer):
    cases = [
        ([1.0, 2, 0.5, -0.4, 0.3, 1.1], [0, 0, 1, 1, 2, 2]),
        ([0.3, -0.2, 0.4, 0.9, -0.1, 0.2, 0.7, 0.6], [0, 1, 2, 0, 1, 2, 3, 3]),
        ([0.1, 0.2, 0.3, 0.4], [0, 1, 2, 3]),
        ([-1.0, -2, -0.4, 0.2, -0.3], [0, 1, 2, 3, 3]),
        ([0.9, 0.2, 0.3, 0.4, -0.5, 0.7, 0.1], [0, 1, 1, 1, 2, 2, 3]),
        ([0.1, 0.2, -0.3, 0.4, 0.7], [0, 1, 2, 3, 4]),
        ([0.3, 0.6, -0.9, 0.7, 0.1, 0.2], [5, 4, 3, 2, 1, 0]),
        ([0.4], [3]),
        ([1.0, -0.3, -0.3, -0.3, 0.5, 0.2], [0, 1, 1, 1, 2, 3]),
        ([0.7, 0.1, 0.1, 0.1, 0.1, -0.2], [0, 1, 1, 1, 1, 2]),
    ]
    for differences, groups in cases:
        d, g = np.array(differences), np.array(groups)
        hints = {
            "Every difference was flipped on its own; those of a group flip together.": _p(d, np.arange(len(d))),
            "One side only: sums far below zero are as surprising as those far above.": _p(d, g, two_sided=False),
            "Sums that equal the observed one count too (the way without a flip is one of them).": _p(d, g, strict=True),
            "This is one minus the p-value.": 1 - _p(d, g),
        }
        same(ask(answer, d, g), _p(d, g), "the p-value", hints, at=f"{len(d)} differences in {len(set(groups))} groups")
    return "With G groups it can never be smaller than 2/2^G: five occupations cannot reach 0.05."


@check
def check_13_kl_gradient(answer):
    rng = np.random.default_rng(5)
    for sigma in ([1, 0], [1, 0, 2], [2, 3, 0, 1, 4]):
        sigma = np.array(sigma)
        z = rng.normal(size=len(sigma)) * 1.5
        p, d = softmax(z), z - z[sigma]
        mean = (p * d).sum()
        right = p * (d - mean) + p - p[sigma]
        hints = {
            "Only the way through p is there; z also stands in the logarithms.": p * (d - mean),
            "Only the way through the logarithms is there; p depends on z too.": p - p[sigma],
            "In softmax's gradient the weighted mean is missing: p (d − ⟨d, p⟩).": p * d + p - p[sigma],
            "The second way misses the partner: z_k stands in the logarithm of its partner's place too.": p * (d - mean) + p,
        }
        got = ask(answer, z, sigma)
        at = f"σ = {sigma.tolist()}"
        for hint, wrong in hints.items():
            if np.shape(got) == wrong.shape and np.allclose(got, wrong) and not np.allclose(wrong, right):
                same(got, right, "∂L/∂z", {hint: wrong}, at=at)

        def divergence(z, sigma=sigma):
            logs = mg.log_softmax(z)
            return (mg.exp(logs) * (logs - mg.take(logs, sigma, axis=0))).sum()

        diagnosed(divergence, {"z": z}, {"z": got}, at=at)
    z, sigma = np.array([1e4, -1e4, 500.0, 0.0]), np.array([1, 0, 3, 2])
    got = ask(answer, z, sigma)
    finite(got, "the gradient")
    p, d = softmax(z), z - z[sigma]
    same(got, p * (d - p @ d) + p - p[sigma], "∂L/∂z", at="logits of ±10 000")
    return "Near the goal the push fades, so that a large λ does less harm."
