"""Real weights."""

import numpy as np

import minigrad as mg

from .verdict import Wrong, ask, check, diagnosed, numbers, pair, same

COST = {"un": 4.0, "una": 5.0, "aff": 3.0, "ffa": 2.5, "able": 4.5, "ble": 4.0, "a": 2.0, "f": 6.0, "b": 6.0, "l": 6.0, "e": 5.0,
        "play": 3.0, "ing": 2.0, "s": 1.5, "playing": 6.0, "in": 2.0, "g": 3.5, "p": 5.0, "ay": 3.0}  # fmt: skip


def _cuts(word, cost):
    """All cuts of a short word, with their totals."""
    found = [(0.0, [])] if not word else []
    for stop in range(1, len(word) + 1):
        if word[:stop] in cost:
            found += [(total + cost[word[:stop]], [word[:stop], *rest]) for total, rest in _cuts(word[stop:], cost)]
    return found


def _greedily(word, cost, best):
    """From left to right, at each place the piece that comes first in the order ``best``."""
    pieces = []
    while word:
        fits = [word[:stop] for stop in range(1, len(word) + 1) if word[:stop] in cost]
        if not fits:
            return None
        pieces.append(min(fits, key=best))
        word = word[len(pieces[-1]) :]
    return pieces


@check
def check_16_cheapest_cut(answer):
    rng = np.random.default_rng(5)
    cases = [(word, dict(COST)) for word in ("unaffable", "playings", "playing", "play", "playx", "xplay", "a", "pling", "ings")]
    for _ in range(12):
        pieces = {"".join(rng.choice(list("ab"), rng.integers(1, 5))) for _ in range(9)}
        cases.append(("".join(rng.choice(list("ab"), 8)), {piece: float(rng.uniform(1, 9)) for piece in sorted(pieces)}))
    for word, cost in cases:
        cuts, given = _cuts(word, cost), dict(cost)
        lowest, right = min(cuts) if cuts else (np.inf, ["[UNK]"])
        got = ask(answer, word, given)
        if given != cost:
            raise Wrong("Your function changes the dictionary of costs.")
        if not isinstance(got, list | tuple) or not all(isinstance(piece, str) for piece in got):
            raise Wrong(f"Return a list of pieces; yours is {got!r}.")
        got = list(got)
        total = sum(cost.get(piece, np.inf) for piece in got)
        if got == right or (cuts and "".join(got) == word and total <= lowest + 1e-9):
            continue
        said = f"(`{word}` should become {right}" + (f", in all {lowest:g}; yours is {got}" if cuts else f"; yours is {got}")
        said += f", in all {total:g}.)" if np.isfinite(total) and cuts else ".)"
        if not cuts:
            raise Wrong(f"There is no cut of this word into known pieces: the answer is one [UNK]. {said}")
        if got == ["[UNK]"]:
            raise Wrong(f"This word can be cut: go back where a first choice leads nowhere, or better, keep the best cut of every prefix. {said}")
        if "".join(got) != word:
            raise Wrong(f"Put together, the pieces should give the word again. {said}")
        if np.isinf(total):
            raise Wrong(f"A piece of your cut is not in the dictionary. {said}")
        if got == _greedily(word, cost, lambda piece: -len(piece)):
            raise Wrong(f"Longest first is WordPiece; here the total of the costs decides. {said}")
        if got == _greedily(word, cost, cost.get):
            raise Wrong(f"The cheapest piece first need not give the cheapest cut: compare totals. {said}")
        if len(got) == min(len(pieces) for _, pieces in cuts):
            raise Wrong(f"The fewest pieces need not be the cheapest. {said}")
        raise Wrong(f"There is a cheaper cut. {said}")
    word, steps = "ab" * 20, _Counted({"".join(x): 1.5 for x in ("a", "b", "ab", "ba", "aba", "bab")})
    got = list(ask(answer, word, steps))
    if "".join(got) != word or sum(steps.costs[piece] for piece in got) > 21.0 + 1e-9:
        raise Wrong(f"There is a cheaper cut of `{word}` than yours, {got}.")
    return "Forty letters, and not one cut was tried twice."


class _Counted(dict):
    """A dictionary that counts how often it is asked."""

    def __init__(self, costs):
        super().__init__(costs)
        self.costs, self.asked = costs, 0

    def _count(self):
        self.asked += 1
        if self.asked > 50_000:
            raise Wrong("A word of 40 letters takes more than 50 000 look-ups: keep the best cut of each prefix instead of trying all cuts.")

    def __contains__(self, piece):
        self._count()
        return piece in self.costs

    def __getitem__(self, piece):
        self._count()
        return self.costs[piece]

    def get(self, piece, otherwise=None):
        self._count()
        return self.costs.get(piece, otherwise)


def _pooled(u_bar, h, a, project=True, scale=True, padding=False, count=True, sign=1):
    weights = np.ones_like(a) if padding else a
    n = a.sum(axis=1, keepdims=True)
    m = (h * a[..., None]).sum(axis=1) / n
    length = np.linalg.norm(m, axis=-1, keepdims=True)
    u = m / length
    m_bar = u_bar - sign * u * (u * u_bar).sum(axis=-1, keepdims=True) if project else u_bar
    m_bar = m_bar / length if scale else m_bar
    return weights[..., None] * (m_bar / n if count else m_bar)[:, None, :]


@check
def check_16_pool_backward(answer):
    rng = np.random.default_rng(1)
    for lengths, width in [((2, 4), 3), ((4, 4), 3), ((1, 3, 5), 4), ((1,), 2)]:
        h, u_bar = rng.normal(size=(len(lengths), max(lengths), width)), rng.normal(size=(len(lengths), width))
        a = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(int)
        case, at = (u_bar, h, a), f"texts of {', '.join(map(str, lengths))} tokens, C = {width}"
        hints = {
            "Padding gets a gradient; it takes no part in the mean, so its own is 0.": _pooled(*case, padding=True),
            "The scaling to length 1 is forgotten: what points along u is taken out, and the rest divided by ‖m‖.": (
                _pooled(*case, project=False, scale=False)
            ),
            "What points along u is to be taken out: a longer m changes nothing.": _pooled(*case, project=False),
            "The division by ‖m‖ is missing.": _pooled(*case, scale=False),
            "The sign: the part along u is subtracted.": _pooled(*case, sign=-1),
            "The mean hands on 1/n to each of the n tokens; n is missing.": _pooled(*case, count=False),
            "n is the number of real tokens of each text, not the length of the row.": _pooled(*case, count=False) / max(lengths),
        }
        got = ask(answer, u_bar, h, a)
        same(got, _pooled(*case), "h_bar", hints, at=at)

        def pooled(h, a=a):
            m = (h * a[..., None]).sum(axis=1) / a.sum(axis=1, keepdims=True)
            return m / mg.sqrt((m * m).sum(axis=-1, keepdims=True))

        diagnosed(pooled, {"h": h}, {"h": got}, u_bar, at)
    return "Every real token of a text gets the same share, at right angles to the vector of the text."


@check
def check_16_from_torch(answer):
    rng = np.random.default_rng(2)
    for width in (2, 4, 6):
        stacked = rng.normal(size=(3 * width, width))
        right = np.stack([part.T for part in np.split(stacked, 3)])
        got = ask(answer, stacked)
        try:
            got = np.stack([numbers(part) for part in got])
        except (TypeError, ValueError):
            raise Wrong("Return three matrices of the same shape: W_Q, W_K, W_V.") from None
        hints = {
            "Cut correctly, but not transposed: their matrices are (out, in). It would run, since they are square.": np.stack(np.split(stacked, 3)),
            "Transposed first, then cut into rows again: the out side is now along the columns.": stacked.T.reshape(3, width, width),
            "The rows were dealt out like cards; query, key and value are three blocks of C rows.": np.stack([stacked[i::3].T for i in range(3)]),
            "The order is query, key, value.": right[::-1],
        }
        same(got, right, "W_Q, W_K, W_V", hints, at=f"C = {width}")
    return "The mistake that runs is the one to test for."


@check
def check_16_search(answer):
    rng = np.random.default_rng(3)
    for n, k in [(6, 1), (8, 3), (5, 5), (40, 7), (2, 1)]:
        query = rng.normal(size=4) * 3
        vectors = rng.normal(size=(n, 4)) * rng.uniform(0.1, 10, size=(n, 1))
        vectors[0] = 100 * (query + rng.normal(size=4))  # long, and not the best
        vectors[1] = 0.01 * query  # short, and the best
        dots, lengths = vectors @ query, np.linalg.norm(vectors, axis=1)
        right = np.argsort(-dots / lengths)
        got = numbers(ask(answer, query, vectors, k), "the numbers of the rows")
        if got.shape != (k,):
            raise Wrong(f"Give {k} numbers of rows for k = {k}; yours has shape {got.shape}.")
        if not np.issubdtype(got.dtype, np.integer):
            raise Wrong(f"Give the numbers of the rows, integers; yours are {got.dtype}: {got[:3]}.")
        hints = {
            "Long vectors win in a dot product: divide by the length of each row.": np.argsort(-dots)[:k],
            "These are the least similar rows: argsort goes upward.": right[::-1][:k],
            "The right rows, the best one last: turn them round.": right[:k][::-1],
            "The sign of the cosine counts: opposite is not alike.": np.argsort(-np.abs(dots / lengths))[:k],
            "This is the nearest row by distance; the question is the angle.": np.argsort(np.linalg.norm(vectors - query, axis=1))[:k],
        }
        same(got, right[:k], "the numbers of the rows", hints, at=f"N = {n}, k = {k}")
    return "That is all a vector search does; the rest is doing it fast."


@check
def check_16_cosine_gradient(answer):
    rng = np.random.default_rng(4)
    for width in (2, 3, 5, 40):
        u, v = rng.normal(size=width), 2 * rng.normal(size=width)
        got = pair(ask(answer, u, v))
        lu, lv = np.linalg.norm(u), np.linalg.norm(v)
        s = u @ v / (lu * lv)
        for name, one, mine, others, along in (("u", got[0], lu, lv, (u, v)), ("v", got[1], lv, lu, (v, u))):
            hints = {
                "The length of the vector itself moves too: its part is missing.": along[1] / (mine * others),
                "Divided once too little: the gradient is the smaller, the longer the vector.": along[1] / others - s * along[0] / mine,
                "The sign of the second part: making the vector longer must not help.": (along[1] / others + s * along[0] / mine) / mine,
            }
            right = (along[1] / others - s * along[0] / mine) / mine
            at = f"C = {width}"
            if np.shape(one) == right.shape:
                for hint, wrong in hints.items():
                    if np.allclose(one, wrong) and not np.allclose(wrong, right):
                        same(one, right, f"∂s/∂{name}", {hint: wrong}, at=at)
        claimed = {"u": got[0], "v": got[1]}
        diagnosed(lambda u, v: (u * v).sum() / mg.sqrt((u * u).sum() * (v * v).sum()), {"u": u, "v": v}, claimed, at=at)
    return f"At right angles to u: ∂s/∂u · u = {numbers(got[0]).astype(float) @ u:.0e}. Training turns vectors, it does not stretch them."
