"""Where am I?  Position."""

import numpy as np

from .verdict import Wrong, ask, check, numbers, same, tolerance


def _waves(t, theta):
    angle = np.asarray(t)[:, None] * theta
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(len(angle), -1)


def _theta(d, power=2):
    return 10000.0 ** (-power * np.arange(d // 2) / d)


@check
def check_07_closeness(answer):
    for k, d in [([0, 1, 2, 5], 4), ([-3, 3], 8), ([[0, 7], [40, 1000]], 6), (3, 2), ([1], 12)]:
        k = np.asarray(k)
        angle = k[..., None] * _theta(d)
        right = np.cos(angle).sum(axis=-1)
        hints = {
            "The exponent is 2i/C with i the number of the pair; it is i/C in yours.": np.cos(k[..., None] * _theta(d, 1)).sum(axis=-1),
            "i counts pairs, 0 … C/2 − 1; you added over all C columns.": np.cos(k[..., None] * 10000.0 ** (-2 * np.arange(d) / d)).sum(axis=-1),
            "Each pair gives one cosine, sin a sin b + cos a cos b = cos(a − b); yours counts it twice.": 2 * right,
            "This is a sine: at distance 0 it would be 0.": np.sin(angle).sum(axis=-1),
            "This is the mean; a dot product is a sum.": np.cos(angle).mean(axis=-1),
            "This is PE_0 + PE_k summed up, not their product.": (np.sin(angle) + np.cos(angle)).sum(axis=-1),
        }
        same(ask(answer, k, d), right, "the dot product", hints, at=f"k = {k.tolist()}, C = {d}")
    return "Only the distance counts, in either direction."


def _turn(x, t, theta, sign=1, interleaved=False):
    half = x.shape[1] // 2
    angle = sign * np.asarray(t)[:, None] * theta
    a, b = (x[:, 0::2], x[:, 1::2]) if interleaved else (x[:, :half], x[:, half:])
    one, two = a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)
    return np.stack([one, two], axis=-1).reshape(x.shape) if interleaved else np.concatenate([one, two], axis=1)


@check
def check_07_rotate(answer):
    rng = np.random.default_rng(1)
    for length, d, start in [(4, 4, 0), (3, 6, 0), (3, 6, 7), (1, 2, 3), (5, 8, 100)]:
        x, t, theta = rng.normal(size=(length, d)), np.arange(start, start + length), _theta(d)
        hints = {
            "Turned the other way: a cos − b sin comes first.": _turn(x, t, theta, -1),
            "The pairs here are (i, i + D/2); yours are neighbours, (2i, 2i + 1).": _turn(x, t, theta, interleaved=True),
            "The exponent is 2i/D; it is i/D in yours.": _turn(x, t, _theta(d, 1)),
            "`start` has no effect: the first row stands at position start.": _turn(x, t - start, theta),
            "Positions begin at `start`, not at start + 1.": _turn(x, t + 1, theta),
        }
        same(ask(answer, x, start), _turn(x, t, theta), "the turned array", hints, at=f"T = {length}, D = {d}, start = {start}")
    return "The length of every row is unchanged, and scores will depend on distances only."


@check
def check_07_alibi(answer):
    slopes = np.array([0.5, 0.25])
    for t, s in [(3, 3), (2, 5), (1, 4), (1, 1), (5, 5)]:
        i, j = np.arange(s - t, s)[:, None], np.arange(s)[None, :]
        m = slopes[:, None, None]
        hints = {
            "The sign: far keys should lose.": m * np.abs(i - j),
            "The first query is aligned with the first key; but the queries are the last words: shift by S − T.": -m * np.abs(i - (s - t) - j),
            "Use the absolute distance: with i − j, later keys would gain.": -m * (i - j),
            "The distance is counted, not squared.": -m * (i - j) ** 2,
            "Each head has a slope of its own: bring the slopes to the first axis.": -slopes[0] * np.abs(i - j) * np.ones((2, 1, 1)),
        }
        same(ask(answer, slopes, t, s), -m * np.abs(i - j), "the bias", hints, at=f"T = {t}, S = {s}")
    return "Zero at oneself, and the same whatever has been cached before."


@check
def check_07_shift_matrix(answer):
    for k, d in [(1, 2), (1, 4), (3, 6), (-2, 8)]:
        M = numbers(ask(answer, k, d), "the matrix")
        rtol = tolerance(M, 1e-9)
        if M.shape != (d, d):
            raise Wrong(f"The matrix should be ({d}, {d}); yours has shape {M.shape}.")
        PE, later = _waves(np.arange(50), _theta(d)), _waves(np.arange(50) + k, _theta(d))
        hints = {
            "Turned the other way: this matrix steps back, to PE[t − k].": _waves(np.arange(50) - k, _theta(d)),
            "Your matrix leaves PE as it is.": PE,
            "Every pair turns at the speed of the first; use ω_i of each pair.": PE @ _block(np.full(d // 2, k * 1.0)).T,
        }
        same(PE @ M.T, later, "R @ PE[t] for t = 0 … 49", hints, rtol, f"k = {k}, C = {d}")
    return "One matrix for all t: a step of k is the same turn everywhere."


def _block(angles):
    M = np.zeros((2 * len(angles),) * 2)
    for i, b in enumerate(angles):
        M[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[np.cos(b), np.sin(b)], [-np.sin(b), np.cos(b)]]
    return M
