"""Decoding and quality."""

import numpy as np

from .verdict import Wrong, ask, check, close, numbers, pair, same, tolerance


@check
def check_12_at_temperature(answer):
    tilted = [0.7, 0.2, 0.1], [0.6, 0.4, 0.0], [0.25, 0.25, 0.5], [0.2, 0.3, 0.5], [1 / 2, 1 / 4, 1 / 8, 1 / 8]
    for p, tau in zip(tilted, (2.0, 0.8, 1.0, 5.0, 0.5), strict=True):
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
    p = np.array([0.25, 0.5, 0.125, 0.125, 0.0])
    got = numbers(ask(answer, p, 1e-4))
    if not np.isfinite(got).all():
        raise Wrong("At τ = 0.0001 all powers become 0, and 0/0 is NaN: divide p by its largest entry first; the result stays the same.")
    same(got, [0, 1, 0, 0, 0], "the distribution", at="τ = 0.0001")
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
    cases = [([0.125, 0.5, 0.0625, 0.25, 0.0625], 0.8), ([0.1, 0.2, 0.7], 0.5), ([0.25, 0.5, 0.25], 0.75), ([0.1, 0.2, 0.3, 0.4], 1.0)]
    for p, limit in [*cases, ([0.125] * 8, 0.5), ([1.0], 0.9), ([0.5, 0.25, 0.25], 0.5)]:
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
        mine = numbers(got)
        rtol, kept = tolerance(mine, 1e-9), mine > 0
        if mine.shape == p.shape and close(np.sort(mine), np.sort(right), rtol) and close(mine[kept] * p[kept].sum(), p[kept], rtol):
            continue  # of words that are equally likely at the border, any may stay
        same(got, right, "the distribution", hints, at=f"p = {p.tolist()}, limit {limit}")
    return "Wide where the model is unsure, one word where it is sure."


def _forbidden(ids, n, last_only=False):
    """The tokens that would complete a run of n tokens that ``ids`` holds; or only after the last place where it began."""
    if len(ids) < n - 1:
        return []
    tail = ids[len(ids) - n + 1 :]
    found = [ids[i + n - 1] for i in range(len(ids) - n + 1) if ids[i : i + n - 1] == tail]
    return found[-1:] if last_only else found


@check
def check_12_without_repeats(answer):
    rng = np.random.default_rng(3)
    fixed = [([0, 1, 2, 0, 1], 3), ([0, 1, 0, 2, 0], 2), ([3, 1, 1], 1), ([1, 1, 1], 2), ([4, 4, 4, 4], 3)]
    fixed += [([0, 1], 3), ([2], 2), ([], 1), ([], 3)]  # too short
    for ids, n in [*fixed, *(([int(i) for i in rng.integers(0, 3, 9)], n) for n in (1, 2, 3, 4))]:
        z, given = rng.normal(size=5), list(ids)
        right = z.copy()
        right[_forbidden(ids, n)] = -np.inf
        got = numbers(ask(answer, z, given, n)).astype(float)
        at = f"(ids = {ids}, n = {n}.)"
        if given != ids:
            raise Wrong("Your function changes the list of ids.")
        if got.shape != z.shape:
            raise Wrong(f"The result should have shape {z.shape}; yours has {got.shape}. {at}")
        if np.isnan(got).any():
            raise Wrong(f"There is a NaN in your result. {at}")
        mine, expected = set(np.flatnonzero(np.isneginf(got))), set(np.flatnonzero(np.isneginf(right)))
        if mine != expected:
            low = {i for i in expected - mine if got[i] != z[i]}
            if low:
                raise Wrong(f"A forbidden token has the logit {got[min(low)]:g}; it should be −∞, or it comes one day. {at}")
            forbidden = f"Forbidden should be {sorted(map(int, expected))}; yours are {sorted(map(int, mine))}. {at}"
            if mine == set(_forbidden(ids, n + 1)):
                raise Wrong(f"You compare n tokens; the next one makes a run of n with the last n − 1. {forbidden}")
            if n > 1 and mine == set(_forbidden(ids, n - 1)):
                raise Wrong(f"You compare too few tokens: the next one makes a run of n with the last n − 1. {forbidden}")
            if mine == set(_forbidden(ids, n, last_only=True)):
                raise Wrong(f"Every place where the run began counts, not only the last. {forbidden}")
            if n == 1:
                raise Wrong(f"For n = 1 all tokens of the text are forbidden; `ids[-0:]` is the whole list. {forbidden}")
            raise Wrong(forbidden)
        same(np.delete(got, list(expected)), np.delete(right, list(expected)), "the logits of the other tokens", rtol=3e-5, at=at[1:-2])
    return "It cannot loop; but some runs, such as a name, must come twice."


@check
def check_12_distinct(answer):
    cases = [("the cat and the cat", 2), ("the cat and the cat / and the dog", 1), ("a b a b / a b c / b", 2)]
    for lines, n in [*cases, ("ab c / a bc / ab c", 2), ("a a a a", 3), ("x / y / x y z", 3)]:
        texts = [text.split() for text in lines.split(" / ")]
        runs = [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]
        joined = [word for words in texts for word in words]
        across = [tuple(joined[i : i + n]) for i in range(len(joined) - n + 1)]
        each = [[tuple(words[i : i + n]) for i in range(len(words) - n + 1)] for words in texts]
        hints = {
            "Words joined without a space between them: “ab c” and “a bc” are different runs. Compare tuples.": (
                len({"".join(run) for run in runs}) / len(runs)
            ),
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


def _flat(ids):
    """Greedy's first word leads to an even choice, another to a sure one."""
    return np.log([0.6, 0.3, 0.1] if not len(ids) else [0.35, 0.33, 0.32] if ids[0] == 0 else [0.02, 0.9, 0.08])


def _random(ids):
    logits = np.random.default_rng([8, len(ids), *(int(i) for i in ids)]).normal(size=4)
    return logits - np.log(np.exp(logits).sum())


def _search(f, n, k):
    beams = [(0.0, ())]
    for _ in range(n):
        beams = sorted(((total + float(p), (*ids, i)) for total, ids in beams for i, p in enumerate(f(ids))), reverse=True)[:k]
    return beams[0][1]


def _totals(f, n):
    """The total of every prefix of at most n ids."""
    found, layer = {(): 0.0}, {(): 0.0}
    for _ in range(n):
        layer = {(*ids, i): total + float(p) for ids, total in layer.items() for i, p in enumerate(f(ids))}
        found |= layer
    return found


@check
def check_12_exact_search(answer):
    spent = []
    for f, n in [(_step, 1), (_step, 3), (_random, 3), (_random, 5), (_flat, 4)]:
        totals, asked = _totals(f, n), []
        expected = max((ids for ids in totals if len(ids) == n), key=totals.__getitem__)

        def counted(ids, f=f, asked=asked):
            asked.append(tuple(int(i) for i in ids))
            if len(asked) > 5000:
                raise Wrong("More than 5000 questions to the model: the list of prefixes should shrink by the one that you go on with.")
            return f(asked[-1])

        got, total = pair(ask(answer, counted, n))
        got, at = tuple(int(i) for i in got), f"n = {n}"
        if len(got) != n:
            raise Wrong(f"The text should have {n} ids; yours is {got}.")
        if got != expected:
            numbers = f"(The text should be {expected}, log p = {totals[expected]:.4f}; yours is {got}, {totals.get(got, np.nan):.4f}.)"
            if got == _search(f, n, 1):
                raise Wrong(f"This is what greedy choice finds: keep the other prefixes too, and come back to them. {numbers}")
            if got == _search(f, n, 2):
                raise Wrong(f"This is what two beams find: throw no prefix away. {numbers}")
            raise Wrong(f"A text is the best when it is the most probable of the whole list, not when it is first complete. {numbers}")
        right = totals[got]
        hints = {"This is the probability; its logarithm was asked for.": np.exp(right), "The sign.": -right}
        same(total, right, "its log-probability", hints, at=at)
        needed = sum(len(ids) < n and p >= right - 1e-12 for ids, p in totals.items())
        if len(set(asked)) > needed or len(asked) > needed + n:
            spent.append(f"Right, but with {len(asked)} questions, where {needed} are enough: go on with the most probable prefix only ({at}).")
    if spent:
        raise Wrong(spent[0])
    return "Never wrong, and with long texts never done: beam search gives up the first for the second."
