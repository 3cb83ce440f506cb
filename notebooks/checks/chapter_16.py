"""Real weights."""

import numpy as np

import minigrad as mg

from .verdict import Wrong, ask, check, diagnosed, pair, same

PIECES = {"un", "una", "##aff", "##ffa", "##able", "##ble", "##a", "play", "##ing", "##s", "ing", "s", "p", "##l", "##ay", "a"}


@check
def check_16_wordpiece(answer):
    cases = {
        "unaffable": ["una", "##ffa", "##ble"],
        "play": ["play"],
        "playings": ["play", "##ing", "##s"],
        "sing": ["s", "##ing"],
        "playx": ["[UNK]"],
        "xplay": ["[UNK]"],
        "aa": ["a", "##a"],
    }
    for word, right in cases.items():
        got = ask(answer, word, set(PIECES))
        if not isinstance(got, list | tuple):
            raise Wrong(f"Return a list of pieces; yours is {got!r}.")
        got = list(got)
        if got == right:
            continue
        said = f"(`{word}` should become {right}; yours is {got}.)"
        if right == ["[UNK]"]:
            raise Wrong(f"When no piece fits, the whole word is unknown: one [UNK], and no pieces beside it. {said}")
        if "".join(got) == word and len(got) > 1:
            raise Wrong(f"Pieces that do not begin the word carry ##, and are looked up with it. {said}")
        if "".join(piece.removeprefix("##") for piece in got) == word:
            raise Wrong(f"Take the longest piece first, at every place. {said}")
        if got == ["[UNK]"]:
            raise Wrong(f"This word can be cut. Are later pieces looked up with their ##? {said}")
        raise Wrong(f"Put together, the pieces should give the word again. {said}")
    return "The real vocabulary is longer; the rule is the same."


def _unit(m):
    return m / np.linalg.norm(m, axis=-1, keepdims=True)


@check
def check_16_pool(answer):
    rng = np.random.default_rng(1)
    for lengths, width in [((2, 4), 3), ((4, 4), 3), ((1, 3, 5), 4)]:
        h = rng.normal(size=(len(lengths), max(lengths), width))
        a = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(int)
        total = (h * a[..., None]).sum(axis=1)
        mean = total / a.sum(axis=1, keepdims=True)
        early = (_unit(h) * a[..., None]).sum(axis=1)
        hints = {
            "Padding takes part in the mean: multiply by `a` first.": _unit(h.mean(axis=1)),
            "The length is not 1: divide by the norm of each row.": mean,
            "The length is not 1, and this is the sum: divide by the norm of each row.": total,
            "Scale the mean to length 1, not each token before it.": early / a.sum(axis=1, keepdims=True),
            "Scale the mean to length 1, not each token before it; afterwards, that has another direction.": _unit(early),
            "Each row has a length of its own; you divided by the norm of all rows together.": mean / np.linalg.norm(mean),
            "This is the vector of the first token alone.": _unit(h[:, 0]),
        }
        same(ask(answer, h, a), _unit(mean), "the vectors", hints, at=f"texts of {', '.join(map(str, lengths))} tokens")
    return "The same vector, whatever company a text is read in."


@check
def check_16_from_torch(answer):
    rng = np.random.default_rng(2)
    for width in (2, 4, 6):
        stacked = rng.normal(size=(3 * width, width))
        right = np.stack([part.T for part in np.split(stacked, 3)])
        got = ask(answer, stacked)
        try:
            got = np.stack([np.asarray(part, float) for part in got])
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
    for n, k in [(6, 1), (8, 3), (5, 5), (40, 7)]:
        query = rng.normal(size=4) * 3
        vectors = rng.normal(size=(n, 4)) * rng.uniform(0.1, 10, size=(n, 1))
        vectors[0] = 100 * (query + rng.normal(size=4))  # long, and not the best
        vectors[1] = 0.01 * query  # short, and the best
        dots, lengths = vectors @ query, np.linalg.norm(vectors, axis=1)
        right = np.argsort(-dots / lengths)
        got = np.asarray(ask(answer, query, vectors, k))
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
    for width in (2, 3, 5):
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
        claimed = {"u": np.asarray(got[0], float), "v": np.asarray(got[1], float)}
        diagnosed(lambda u, v: (u * v).sum() / mg.sqrt((u * u).sum() * (v * v).sum()), {"u": u, "v": v}, claimed, at=at)
    return f"At right angles to u: ∂s/∂u · u = {got[0] @ u:.0e}. Training turns vectors, it does not stretch them."
