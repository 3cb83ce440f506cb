"""What students answer to chapter 07: the name of the check, the wrong answer, and what the hint must say."""

import numpy as np


def _angles(t, d, power=2):
    return np.asarray(t)[:, None] * 10000.0 ** (-power * np.arange(d // 2) / d)


def _interleave(a, b):
    return np.stack([a, b], axis=-1).reshape(len(a), -1)


def _columns(T, d):
    angle = np.arange(T)[:, None] * 10000.0 ** (-2 * np.arange(d) / d)
    return np.where(np.arange(d) % 2, np.cos(angle), np.sin(angle))


def _turn(x, start=0, sign=1, neighbours=False, use_start=True):
    T, D = x.shape
    angle = sign * _angles(np.arange(T) + (start if use_start else 0), D)
    a, b = (x[:, ::2], x[:, 1::2]) if neighbours else (x[:, : D // 2], x[:, D // 2 :])
    one, two = a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)
    return _interleave(one, two) if neighbours else np.concatenate([one, two], axis=1)


def _shift(k, d, sign=1, speeds=True):
    M = np.zeros((d, d))
    for i in range(d // 2):
        b = sign * k * (10000.0 ** (-2 * i / d) if speeds else 1)
        M[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[np.cos(b), np.sin(b)], [-np.sin(b), np.cos(b)]]
    return M


WRONG = [
    ("check_07_sinusoids", _columns, "counts pairs"),
    ("check_07_sinusoids", lambda T, d: np.concatenate([np.sin(_angles(range(T), d)), np.cos(_angles(range(T), d))], axis=1), "two halves"),
    ("check_07_sinusoids", lambda T, d: _interleave(np.cos(_angles(range(T), d)), np.sin(_angles(range(T), d))), "even columns"),
    ("check_07_sinusoids", lambda T, d: _interleave(np.sin(_angles(range(T), d, 1)), np.cos(_angles(range(T), d, 1))), "i/d in yours"),
    ("check_07_rotate", lambda x, start=0: _turn(x, start, sign=-1), "other way"),
    ("check_07_rotate", lambda x, start=0: _turn(x, start, neighbours=True), "neighbours"),
    ("check_07_rotate", lambda x, start=0: _turn(x, start, use_start=False), "`start` has no effect"),
    ("check_07_alibi", lambda m, T, S: m[:, None, None] * np.abs(np.arange(S - T, S)[:, None] - np.arange(S)), "sign"),
    ("check_07_alibi", lambda m, T, S: -m[:, None, None] * np.abs(np.arange(T)[:, None] - np.arange(S)), "shift by S − T"),
    ("check_07_alibi", lambda m, T, S: -m[:, None, None] * (np.arange(S - T, S)[:, None] - np.arange(S)), "absolute"),
    ("check_07_shift_matrix", lambda k, d: _shift(k, d, sign=-1), "steps back"),
    ("check_07_shift_matrix", lambda k, d: np.eye(d), "leaves PE"),
    ("check_07_shift_matrix", lambda k, d: _shift(k, d, speeds=False), "speed of the first"),
]
