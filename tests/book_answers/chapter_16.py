"""What students answer to chapter 16: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _unit(m):
    return m / np.linalg.norm(m, axis=-1, keepdims=True)


def _cosines(q, v):
    return v @ q / np.linalg.norm(v, axis=1)


def _slope(u, v, sign=-1, own=True, short=False):
    lu, lv = np.linalg.norm(u), np.linalg.norm(v)
    return (v / lv + own * sign * (u @ v) / (lu * lv) * u / lu) / (1 if short else lu)


def _cut(word, cost, best=None, back=False):
    """From left to right, the best piece first."""
    if not word:
        return []
    for piece in sorted((word[:i] for i in range(len(word), 0, -1) if word[:i] in cost), key=best or (lambda piece: -len(piece))):
        rest = _cut(word[len(piece) :], cost, best, back)
        if rest != ["[UNK]"] or not back:
            return ["[UNK]"] if rest == ["[UNK]"] else [piece, *rest]
    return ["[UNK]"]


def _all_cuts(word, cost, fewest=False):
    def cuts(word):
        if not word:
            yield 0.0, []
        for i in range(1, len(word) + 1):
            if word[:i] in cost:
                yield from ((cost[word[:i]] + total, [word[:i], *rest]) for total, rest in cuts(word[i:]))

    found = list(cuts(word))
    return min(found, key=lambda f: len(f[1]) if fewest else f)[1] if found else ["[UNK]"]


def _cut_from_the_right(word, cost):
    from functools import cache

    @cache
    def best(start):
        if start == len(word):
            return 0.0, ()
        ways = [(best(stop), word[start:stop]) for stop in range(start + 1, len(word) + 1) if word[start:stop] in cost]
        return min(((cost[p] + rest[0], (p, *rest[1])) for rest, p in ways if rest), default=None)

    return list(best(0)[1]) if best(0) else ["[UNK]"]


def _cut_by_dijkstra(word, cost):
    import heapq

    waiting, done = [(0.0, 0, [])], set()
    while waiting:
        total, start, pieces = heapq.heappop(waiting)
        if start == len(word):
            return pieces
        if start in done:
            continue
        done.add(start)
        for stop in range(start + 1, len(word) + 1):
            if (price := cost.get(word[start:stop])) is not None:
                heapq.heappush(waiting, (total + price, stop, [*pieces, word[start:stop]]))
    return ["[UNK]"]


def _pool(u_bar, h, a, project=True, scale=True, padding=False, count=True):
    n = a.sum(axis=1)[:, None]
    m = np.einsum("btc,bt->bc", h, a) / n
    length = np.linalg.norm(m, axis=1, keepdims=True)
    along = (u_bar * m).sum(axis=1, keepdims=True) * m / length**2 if project else 0
    m_bar = (u_bar - along) / (length if scale else 1) / (n if count else 1)
    return m_bar[:, None] * (np.ones_like(a) if padding else a)[..., None]


def _pool_by_text(u_bar, h, a):
    out = np.zeros(h.shape)
    for b in range(len(h)):
        real = np.flatnonzero(a[b])
        total = h[b, real].sum(axis=0)  # its direction is that of the mean
        size = np.sqrt(total @ total)
        out[b, real] = (np.eye(len(total)) - np.outer(total, total) / size**2) @ u_bar[b] / size
    return out


def _pool_by_engine(u_bar, h, a):
    import minigrad as mg

    def f(h):
        m = (h * a[..., None]).sum(axis=1)
        return m / mg.sqrt((m * m).sum(axis=-1, keepdims=True))

    return mg.vjp(f, h)[1](u_bar)[0]


def _cosine_by_matrix(u, v):
    def slope(u, v):
        return (np.eye(len(u)) - np.outer(u, u) / (u @ u)) @ v / np.sqrt(u @ u * (v @ v))

    return slope(u, v), slope(v, u)


def _cosine_by_differences(u, v, h=1e-5):
    def cosine(u, v):
        return u @ v / np.linalg.norm(u) / np.linalg.norm(v)

    steps = h * np.eye(len(u))
    return [(cosine(u + s, v) - cosine(u - s, v)) / (2 * h) for s in steps], [(cosine(u, v + s) - cosine(u, v - s)) / (2 * h) for s in steps]


def _cosine_by_engine(u, v):
    import minigrad as mg

    return mg.grad(lambda u, v: (u * v).sum() / mg.sqrt((u * u).sum() * (v * v).sum()), argnums=(0, 1))(u, v)


WRONG = [
    ("check_16_from_torch", lambda w: np.split(w, 3), "not transposed"),
    ("check_16_from_torch", lambda w: w.T.reshape(3, *w.T.shape[:1] * 2), "along the columns"),
    ("check_16_from_torch", lambda w: [part.T for part in np.split(w, 3)][::-1], "order is query"),
    ("check_16_from_torch", lambda w: w.T, "should have shape"),
    ("check_16_search", lambda q, v, k: np.argsort(-(v @ q))[:k], "Long vectors win"),
    ("check_16_search", lambda q, v, k: np.argsort(_cosines(q, v))[:k], "least similar"),
    ("check_16_search", lambda q, v, k: np.argsort(_cosines(q, v))[-k:], "best one last"),
    ("check_16_search", lambda q, v, k: np.sort(-_cosines(q, v))[:k], "numbers of the rows"),
    ("check_16_search", lambda q, v, k: np.argsort(np.linalg.norm(v - q, axis=1))[:k], "by distance"),
    ("check_16_cosine_gradient", lambda u, v: (_slope(u, v, own=False), _slope(v, u, own=False)), "length of the vector itself"),
    ("check_16_cosine_gradient", lambda u, v: (_slope(u, v, short=True), _slope(v, u, short=True)), "once too little"),
    ("check_16_cosine_gradient", lambda u, v: (_slope(u, v, sign=1), _slope(v, u, sign=1)), "sign of the second part"),
    ("check_16_cosine_gradient", lambda u, v: _slope(u, v), "two things"),
    ("check_16_cheapest_cut", _cut, "Longest first is WordPiece"),
    ("check_16_cheapest_cut", lambda w, c: _cut(w, c, back=True), "Longest first is WordPiece"),
    ("check_16_cheapest_cut", lambda w, c: _cut(w, c, best=c.get), "compare totals"),
    ("check_16_cheapest_cut", lambda w, c: _all_cuts(w, c, fewest=True), "the total of the costs decides"),
    ("check_16_cheapest_cut", _all_cuts, "more than 50 000"),
    ("check_16_cheapest_cut", lambda w, c: _cut_by_dijkstra(w, c)[::-1], "give the word again"),
    ("check_16_pool_backward", lambda *a: _pool(*a, project=False), "points along u"),
    ("check_16_pool_backward", lambda *a: _pool(*a, scale=False), "division by ‖m‖"),
    ("check_16_pool_backward", lambda *a: _pool(*a, padding=True), "Padding gets a gradient"),
    ("check_16_pool_backward", lambda *a: _pool(*a, count=False), "n is missing"),
    ("check_16_pool_backward", _pool_by_engine, "lets the library"),
    ("check_16_cosine_gradient", _cosine_by_engine, "lets the library"),
    ("check_16_cosine_gradient", _cosine_by_differences, "from differences"),
]

RIGHT = [
    ("check_16_cheapest_cut", _cut_from_the_right),
    ("check_16_cheapest_cut", _cut_by_dijkstra),
    ("check_16_pool_backward", _pool),
    ("check_16_pool_backward", _pool_by_text),
    ("check_16_from_torch", lambda w: w.reshape(3, -1, w.shape[1]).transpose(0, 2, 1)),
    ("check_16_from_torch", lambda w: np.split(w.T, 3, axis=1)),
    ("check_16_search", lambda q, v, k: np.argsort(v @ q / np.sqrt((v * v).sum(axis=1)))[::-1][:k]),
    ("check_16_search", lambda q, v, k: sorted(range(len(v)), key=lambda i: -(v[i] @ q) / np.hypot.reduce(v[i]))[:k]),
    ("check_16_cosine_gradient", _cosine_by_matrix),
    ("check_16_cosine_gradient", lambda u, v: [np.array(part).tolist() for part in _cosine_by_matrix(u, v)]),
]
