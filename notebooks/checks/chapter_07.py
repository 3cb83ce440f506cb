"""Where am I?  Position."""

import numpy as np

from .verdict import Wrong, ask, check, same


def _waves(t, theta):
    angle = np.asarray(t)[:, None] * theta
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(len(angle), -1)


def _theta(d, power=2):
    return 10000.0 ** (-power * np.arange(d // 2) / d)


@check
def check_07_sinusoids(answer):
    for length, d in [(5, 4), (3, 8), (40, 6)]:
        t, right = np.arange(length), _waves(np.arange(length), _theta(d))
        angle = t[:, None] * _theta(d)
        column = t[:, None] * 10000.0 ** (-2 * np.arange(d) / d)
        by_column = np.where(np.arange(d) % 2, np.cos(column), np.sin(column))
        hints = {
            "The exponent is 2i/d with i the number of the pair; it is i/d in yours.": _waves(t, _theta(d, 1)),
            "i counts pairs, 0 … d/2 − 1; you used the number of the column, up to d − 1.": by_column,
            "Sines and cosines alternate (columns 2i and 2i + 1); yours stand in two halves.": np.concatenate([np.sin(angle), np.cos(angle)], axis=1),
            "Sines belong in the even columns, cosines in the odd ones.": right.reshape(length, -1, 2)[..., ::-1].reshape(length, d),
            "Positions begin at 0.": _waves(t + 1, _theta(d)),
        }
        same(ask(answer, length, d), right, "the table", hints, at=f"T = {length}, d = {d}")
    return "A clock with d/2 hands."


def _turn(x, t, theta, sign=1, interleaved=False):
    half = x.shape[1] // 2
    angle = sign * np.asarray(t)[:, None] * theta
    a, b = (x[:, 0::2], x[:, 1::2]) if interleaved else (x[:, :half], x[:, half:])
    one, two = a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)
    return np.stack([one, two], axis=-1).reshape(x.shape) if interleaved else np.concatenate([one, two], axis=1)


@check
def check_07_rotate(answer):
    rng = np.random.default_rng(1)
    for length, d, start in [(4, 4, 0), (3, 6, 0), (3, 6, 7)]:
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
    for t, s in [(3, 3), (2, 5), (1, 4)]:
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
        M = np.asarray(ask(answer, k, d), float)
        if M.shape != (d, d):
            raise Wrong(f"The matrix should be ({d}, {d}); yours has shape {M.shape}.")
        PE, later = _waves(np.arange(50), _theta(d)), _waves(np.arange(50) + k, _theta(d))
        hints = {
            "Turned the other way: this matrix steps back, to PE[t − k].": _waves(np.arange(50) - k, _theta(d)),
            "Your matrix leaves PE as it is.": PE,
            "Every pair turns at the speed of the first; use θ_i of each pair.": PE @ _block(np.full(d // 2, k * 1.0)).T,
        }
        same(PE @ M.T, later, "M @ PE[t] for t = 0 … 49", hints, 1e-9, f"k = {k}, d = {d}")
    return "One matrix for all t: a step of k is the same turn everywhere."


def _block(angles):
    M = np.zeros((2 * len(angles),) * 2)
    for i, b in enumerate(angles):
        M[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[np.cos(b), np.sin(b)], [-np.sin(b), np.cos(b)]]
    return M
