"""Generating text."""

import numpy as np

from .verdict import ask, check, pair, same


@check
def check_11_bits_and_perplexity(answer):
    for p in ([0.5, 0.5, 0.25, 0.5, 0.25, 0.5], [0.1, 0.9, 0.3], [0.02]):
        p = np.array(p)
        bits, perplexity = pair(ask(answer, p))
        right, at = -np.log2(p).mean(), f"p = {p.tolist()}"
        hints = {
            "This is in nats: for bits, take the logarithm to base 2.": -np.log(p).mean(),
            "The sign: probabilities are below 1, so their logarithms are negative.": -right,
            "This is for the whole text: take the mean over the characters.": right * len(p),
            "Take the mean of the logarithms, not the logarithm of the mean.": -np.log2(p.mean()),
        }
        same(bits, right, "bits per character", hints, at=at)
        hints = {
            "The bits are right, but bits belong to the base 2: 2 to their power, not e.": np.exp(right),
            "This is 1 over the mean probability; perplexity is 1 over the geometric mean.": 1 / p.mean(),
            "This is 1 over the probability of the whole text, not per character.": 1 / p.prod(),
        }
        same(perplexity, 2**right, "perplexity", hints, at=at)
    return "A single character of probability 0.02 has perplexity 50: one of fifty."


@check
def check_11_windows_and_targets(answer):
    ids = np.random.default_rng(1).permutation(40)
    for starts, T in [(np.array([0, 7, 3]), 4), (np.array([5]), 1), (np.array([0, 33]), 6)]:
        places = starts[:, None] + np.arange(T)
        x, y = pair(ask(answer, ids, starts, T))
        at = f"starts = {starts.tolist()}, T = {T}"
        same(x, ids[places], "the inputs", at=at)
        hints = {
            "Your targets are the inputs: the shift is missing, and the model would learn to copy.": ids[places],
            "Shifted the wrong way: the target stands one place later, not earlier.": ids[places - 1],
            "The last target of a row is the next token of the text, not the first one of the window.": np.roll(ids[places], -1, axis=1),
        }
        same(y, ids[places + 1], "the targets", hints, at=at)
    return "Every position of a row is a question, and its answer is the next input."


@check
def check_11_bigram_table(answer):
    for ids, V in [(np.array([1, 0, 2, 0, 2, 0]), 3), (np.random.default_rng(2).integers(0, 4, 60), 5)]:
        count = np.zeros((V, V))
        np.add.at(count, (ids[:-1], ids[1:]), 1)
        total = np.maximum(count.sum(axis=1, keepdims=True), 1)
        once = np.minimum(count, 1) + 1
        right = (count + 1) / (count + 1).sum(axis=1, keepdims=True)
        hints = {
            "Rows and columns are swapped: the row is the token that comes first.": ((count.T + 1) / (count.T + 1).sum(axis=1, keepdims=True)),
            "Each row should add up to 1; here the columns do.": (count + 1) / (count + 1).sum(axis=0),
            "This is the probability of the pair; divide each row by its own sum.": (count + 1) / (count + 1).sum(),
            "The 1 that is added to each count is missing.": count / total,
            "A pair that occurs often was counted once: `count[a, b] += 1` with arrays adds once for each place. Use np.add.at.": (
                once / once.sum(axis=1, keepdims=True)
            ),
            "Each row was divided by its sum before the 1 was added: as many ones as there are tokens were added to it.": (count + 1) / total,
        }
        same(ask(answer, ids, V), right, "the table", hints, at=f"N = {len(ids)}, vocab = {V}")
    return "A token that was never seen is followed by anything, with the same probability."


@check
def check_11_positions_read(answer):
    for m, n in [(3, 1), (13, 40), (1, 5)]:
        without, cached = pair(ask(answer, m, n))
        at, right = f"m = {m}, n = {n}", n * m + n * (n - 1) // 2
        hints = {
            "The text grows: call i reads m + i positions, i = 0 … n − 1.": n * m,
            "The first call reads the prompt only: i runs from 0 to n − 1.": n * m + n * (n + 1) // 2,
            "This is what the cache does; without it, each call reads everything again.": m + n - 1,
        }
        same(without, right, "the number without a cache", hints, at=at)
        hints = {
            "The last token is written but never read.": m + n,
            "The prompt has to be read once, too.": n - 1,
            "With the cache each token is read once.": right,
        }
        same(cached, m + n - 1, "the number with a cache", hints, at=at)
    return "A square against a straight line: for a thousand tokens, five hundred thousand against a thousand."


def _next(ids):
    """Depends on the last two tokens."""
    table = np.array([[0.5, 0.25, 0.25, 0.0], [0.0, 0.25, 0.25, 0.5], [0.25, 0.0, 0.5, 0.25], [0.25, 0.25, 0.25, 0.25], [0.0, 0.5, 0.5, 0.0]])
    return table[int(ids[-1] + 2 * (ids[-2] if len(ids) > 1 else 0)) % 5]


def _written(ids, u, pick, read=lambda ids: ids):
    ids = list(ids)
    for number in u:
        ids.append(int(pick(_next(np.array(read(ids))), number)))
    return np.array(ids)


@check
def check_11_write_with(answer):
    def right(p, number):
        return (np.cumsum(p) <= number).sum()

    rng = np.random.default_rng(3)
    short, eighths, any_number = np.array([0.0, 0.5, 0.25, 0.9]), rng.integers(0, 8, 12) / 8, rng.random(30)
    for ids, u in [(np.array([1]), short), (np.array([2, 0, 1]), eighths), (np.array([3, 3]), any_number)]:
        n = len(ids)
        expected = _written(ids, u, right)
        hints = {
            "This is greedy: always the most likely token. Draw with the numbers u.": _written(ids, u, lambda p, _: p.argmax()),
            "A token whose running total only reaches u was drawn, even one of probability 0; it must exceed u.": _written(
                ids, u, lambda p, number: (np.cumsum(p) < number).sum()
            ),
            "Each question was asked of the prompt alone: append the token before you ask again.": _written(ids, u, right, lambda now, n=n: now[:n]),
            "next_p was given the last token only; it wants the whole text so far.": _written(ids, u, right, lambda now: now[-1:]),
            "The prompt belongs to the result, too.": expected[n:],
        }
        same(ask(lambda ids, u: answer(_next, ids, u), ids, u), expected, "the text", hints, at=f"ids = {ids.tolist()} and {len(u)} numbers")
    return "Give it a GPT for next_p and you have the library's `generate`."
