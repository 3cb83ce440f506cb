"""Decoding and quality."""

import numpy as np

from .verdict import Wrong, ask, check, pair, same


@check
def check_12_at_temperature(answer):
    for p, tau in [([1 / 2, 1 / 4, 1 / 8, 1 / 8], 0.5), ([0.7, 0.2, 0.1], 2.0), ([0.6, 0.4, 0.0], 0.8)]:
        p = np.array(p)
        q = p ** (1 / tau)
        logits = np.exp(p / tau)
        hints = {
            "The exponent is 1/τ, not τ: a low temperature makes the distribution sharper.": p**tau / (p**tau).sum(),
            "Scale the result to sum 1.": q,
            "These are probabilities, not logits: their logarithms are divided by τ, so they are raised to the power 1/τ.": logits / logits.sum(),
            "Dividing probabilities by τ and scaling them again changes nothing.": p,
        }
        same(ask(answer, p, tau), q / q.sum(), "the distribution", hints, at=f"p = {p.tolist()}, τ = {tau}")
    return "What was impossible stays impossible at any temperature."


def _top(p, keep):
    q = np.where(keep, p, 0)
    return q / max(q.sum(), 1e-300)


def _nucleus(p, limit, crossing=True):
    order = np.argsort(-p, kind="stable")
    total = np.cumsum(p[order])
    keep = np.zeros(len(p), bool)
    keep[order] = (total - p[order] < limit - 1e-12) if crossing else total <= limit + 1e-12
    return keep


@check
def check_12_nucleus(answer):
    for p, limit in [([0.125, 0.5, 0.0625, 0.25, 0.0625], 0.8), ([0.1, 0.2, 0.7], 0.5), ([0.25, 0.5, 0.25], 0.75), ([0.1, 0.2, 0.3, 0.4], 1.0)]:
        p = np.array(p)
        keep, first = _nucleus(p, limit), np.cumsum(p) - p < limit - 1e-12
        right = _top(p, keep)
        with np.errstate(all="ignore"):
            hints = {
                "The word that crosses the limit belongs to the nucleus; without it there may be nothing left.": _top(p, _nucleus(p, limit, False)),
                "p is in any order: the words have to be sorted, the most likely first.": _top(p, first),
                "Scale what is kept to sum 1.": np.where(keep, p, 0),
                "The result stands in falling order; bring each word back to its place.": np.sort(right)[::-1],
                "The limit is for the sum of the kept, not for each word.": _top(p, p >= limit),
                "Where what is kept reaches the limit exactly, it is enough: keep a word only if the more likely ones are below it.": _top(
                    p, np.isin(np.arange(len(p)), np.argsort(-p, kind="stable")[: keep.sum() + 1])
                ),
            }
            got = ask(answer, p, limit)
        if np.shape(got) == p.shape and not np.isfinite(got).all():
            raise Wrong(f"Nothing is left for p = {p.tolist()} and limit {limit}: the word that crosses the limit belongs to the nucleus.")
        same(got, right, "the distribution", hints, at=f"p = {p.tolist()}, limit {limit}")
    return "Wide where the model is unsure, one word where it is sure."


@check
def check_12_penalised(answer):
    for z, seen, rho in [([2.0, -1.0, 0.5, -3.0], [0, 1], 2.0), ([1.0, 3.0, -2.0], [1, 1, 2, 1], 1.5)]:
        z, seen = np.array(z), np.array(seen)
        i = np.unique(seen)

        def put(values, z=z, i=i):
            out = z.copy()
            out[i] = values
            return out

        again = z.copy()
        for k in seen:
            again[k] = again[k] / rho if again[k] > 0 else again[k] * rho
        e = np.exp(z)
        hints = {
            "A negative logit divided by ρ comes nearer to 0, and the token becomes more likely: multiply those.": put(z[i] / rho),
            "A positive logit multiplied by ρ makes the token more likely: divide those.": put(z[i] * rho),
            "Each token is punished once, however often it was seen.": again,
            "ρ divides, it is not subtracted.": put(z[i] - rho),
            "The tokens that were not seen have been changed; only the seen ones should be.": np.where(z > 0, z / rho, z * rho),
            "Logits were asked for, not probabilities.": put(e[i] / rho),
        }
        at = f"z = {z.tolist()}, seen = {seen.tolist()}, ρ = {rho}"
        same(ask(answer, z, seen, rho), put(np.where(z[i] > 0, z[i] / rho, z[i] * rho)), "the logits", hints, at=at)
    return "Both signs go down."


@check
def check_12_distinct(answer):
    for lines, n in [("the cat and the cat", 2), ("the cat and the cat / and the dog", 1), ("a b a b / a b c / b", 2)]:
        texts = [text.split() for text in lines.split(" / ")]
        runs = [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]
        joined = [word for words in texts for word in words]
        across = [tuple(joined[i : i + n]) for i in range(len(joined) - n + 1)]
        each = [[tuple(words[i : i + n]) for i in range(len(words) - n + 1)] for words in texts]
        hints = {
            "This divides by the number of words; divide by the number of runs.": len(set(runs)) / len(joined),
            "This is the share that was said before; distinct-n is one minus it.": 1 - len(set(runs)) / len(runs),
            "A run must not reach from one text into the next.": len(set(across)) / len(across),
            "This is the mean over the texts; put the runs of all texts together first.": float(np.mean([len(set(r)) / len(r) for r in each if r])),
            "The order of the words in a run counts.": len({tuple(sorted(run)) for run in runs}) / len(runs),
            "Different runs are all those that occur, not only those that occur once.": sum(runs.count(run) == 1 for run in runs) / len(runs),
        }
        at = f"{lines!r}, n = {n}"
        same(ask(answer, texts, n), len(set(runs)) / len(runs), "the share", hints, at=at)
    return "It falls with the length of the text: compare texts of equal length only."


def _step(ids):
    """Three words; greedy, two beams and the best of all say different things."""
    table = {
        (): [0.5, 0.3, 0.2], (0,): [0.4, 0.35, 0.25], (1,): [0.8, 0.1, 0.1], (2,): [0.05, 0.9, 0.05],
        (0, 0): [0.4, 0.3, 0.3], (1, 0): [0.5, 0.3, 0.2], (2, 1): [0.01, 0.01, 0.98],
    }  # fmt: skip
    return np.log(table.get(tuple(int(i) for i in ids)[:3], [0.3, 0.4, 0.3]))


def _search(n, k, per_beam=False):
    beams = [(0.0, ())]
    for _ in range(n):
        grown = [[(total + float(p), (*ids, i)) for i, p in enumerate(_step(ids))] for total, ids in beams]
        beams = [max(g) for g in grown] if per_beam and len(beams) > 1 else sorted((x for g in grown for x in g), reverse=True)[:k]
    return beams[0][1] if not per_beam else max(beams)[1]


@check
def check_12_search(answer):
    for n, k in [(1, 1), (3, 1), (3, 2), (3, 3)]:
        expected = _search(n, k)
        got, total = pair(ask(lambda n, k: answer(_step, n, k), n, k))
        got, at = tuple(int(i) for i in got), f"n = {n}, k = {k}"
        if got != expected:
            if k > 1 and got == _search(n, 1):
                hint = "This is what greedy choice finds: keep k beginnings, not one."
            elif got == _search(n, 3**n):
                hint = "This is the best of all texts; a beam search with so few beams loses its beginning on the way. Prune after each step."
            elif k > 1 and got == _search(n, k, per_beam=True):
                hint = "Each beam kept its own best extension; keep the best k of all extensions together."
            else:
                hint = "Extend every beam by every word, and keep the k most likely of all."
            raise Wrong(f"{hint} (The text should be {expected} for {at}; yours is {got}.)")
        right = float(sum(_step(got[:i])[word] for i, word in enumerate(got)))
        hints = {"This is the probability; its logarithm was asked for.": np.exp(right), "The sign.": -right}
        same(total, right, "its log-probability", hints, at=at)
    return "One beam is greedy, and even two miss the best text here: beam search promises nothing."
