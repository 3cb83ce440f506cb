"""What students answer to chapter 07: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _angles(t, d, power=2):
    return np.asarray(t)[:, None] * 10000.0 ** (-power * np.arange(d // 2) / d)


def _interleave(a, b):
    return np.stack([a, b], axis=-1).reshape(len(a), -1)


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


def _close(k, d, wave=np.cos, power=2, factor=1, number=None):
    theta = 10000.0 ** (-power * np.arange(number or d // 2) / d)
    return factor * wave(np.asarray(k)[..., None] * theta).sum(axis=-1)


def _close_by_loop(k, d):
    total = np.zeros(np.shape(k))
    for i in range(d // 2):
        total += np.cos(k / 10000 ** (2 * i / d))
    return total


def _close_by_complex(k, d):
    return np.exp(1j * np.multiply.outer(k, 10000.0 ** -(np.arange(0, d, 2) / d))).real @ np.ones(d // 2)


def _turn_by_complex(x, start=0):
    T, D = x.shape
    z = (x[:, : D // 2] + 1j * x[:, D // 2 :]) * np.exp(1j * _angles(np.arange(start, start + T), D))
    return np.concatenate([z.real, z.imag], axis=1)


def _turn_by_matrix(x, start=0):
    out = []
    for t, row in enumerate(x, start):
        a, half = _angles([t], len(row))[0], len(row) // 2
        out.append(np.block([[np.diag(np.cos(a)), -np.diag(np.sin(a))], [np.diag(np.sin(a)), np.diag(np.cos(a))]]) @ row[: 2 * half])
    return np.array(out)


def _shift_by_least_squares(k, d):
    t = np.arange(50)
    now, later = (_interleave(np.sin(_angles(s, d)), np.cos(_angles(s, d))) for s in (t, t + k))
    return np.linalg.lstsq(now, later, rcond=None)[0].T


def _shift_by_kron(k, d):
    b = _angles([k], d)[0]
    return np.kron(np.diag(np.cos(b)), np.eye(2)) + np.kron(np.diag(np.sin(b)), [[0, 1], [-1, 0]])


WRONG = [
    ("check_07_rotate", lambda x, start=0: _turn(x, start, sign=-1), "other way"),
    ("check_07_rotate", lambda x, start=0: _turn(x, start, neighbours=True), "neighbours"),
    ("check_07_rotate", lambda x, start=0: _turn(x, start, use_start=False), "`start` has no effect"),
    ("check_07_alibi", lambda m, T, S: m[:, None, None] * np.abs(np.arange(S - T, S)[:, None] - np.arange(S)), "sign"),
    ("check_07_alibi", lambda m, T, S: -m[:, None, None] * np.abs(np.arange(T)[:, None] - np.arange(S)), "shift by S − T"),
    ("check_07_alibi", lambda m, T, S: -m[:, None, None] * (np.arange(S - T, S)[:, None] - np.arange(S)), "absolute"),
    ("check_07_shift_matrix", lambda k, d: _shift(k, d, sign=-1), "steps back"),
    ("check_07_shift_matrix", lambda k, d: np.eye(d), "leaves PE"),
    ("check_07_shift_matrix", lambda k, d: _shift(k, d, speeds=False), "speed of the first"),
    ("check_07_closeness", lambda k, d: _close(k, d, wave=np.sin), "a sine"),
    ("check_07_closeness", lambda k, d: _close(k, d, power=1), "i/C in yours"),
    ("check_07_closeness", lambda k, d: _close(k, d, factor=2), "counts it twice"),
    ("check_07_closeness", lambda k, d: _close(k, d, number=d), "over all C columns"),
    ("check_07_closeness", lambda k, d: float(_close(np.ravel(k)[0], d)), "shape"),
]

RIGHT = [
    ("check_07_closeness", _close_by_loop),
    ("check_07_closeness", _close_by_complex),
    ("check_07_rotate", _turn_by_complex),
    ("check_07_rotate", _turn_by_matrix),
    ("check_07_alibi", lambda m, T, S: np.array([[[-s * abs(i + S - T - j) for j in range(S)] for i in range(T)] for s in m])),
    ("check_07_alibi", lambda m, T, S: np.multiply.outer(-m, np.abs(np.arange(S) - np.arange(S - T, S)[:, None]))),
    ("check_07_shift_matrix", _shift_by_kron),
    ("check_07_shift_matrix", lambda k, d: _shift(k, d).astype(np.float32)),
]
