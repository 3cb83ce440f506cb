"""What students answer to chapter 10: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _norm(gradients):
    return np.sqrt(sum((g**2).sum() for g in gradients))


def _adam(theta, g, m, v, t, eta, b1, b2, eps, correct=True, square=True, inside=False, keep=False, swap=False, up=1):
    m, v = (1 - b1) * m + b1 * g if swap else b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * (g**2 if square else g)
    mh, vh = (m / (1 - b1**t), v / (1 - b2**t)) if correct else (m, v)
    move = eta * mh / (np.sqrt(vh + eps) if inside else np.sqrt(np.abs(vh)) + eps)
    return theta - up * move, mh if keep else m, vh if keep else v


def _smooth(x, t, eps, target, rows=True, sign=1):
    e, V = np.exp(x), x.shape[-1]
    one = np.eye(V)[t]
    return sign * (e / e.sum(axis=-1, keepdims=True) - target(one, eps, V)) / (len(x) if rows else 1)


def _target(one, eps, V):
    return (1 - eps) * one + eps / V


def _pytorch(gradients, limit):
    total = np.linalg.norm([np.linalg.norm(g) for g in gradients])
    return [g * np.minimum(1, limit / (total + 1e-6)) for g in gradients]


def _hatless(gradients, limit):
    flat = np.concatenate([g.ravel() for g in gradients])
    norm = (flat @ flat) ** 0.5
    return tuple(g / norm * limit if norm > limit else g + 0.0 for g in gradients)


def _efficient(theta, g, m, v, t, eta, b1, b2, eps, hat=False):
    """Kingma and Ba, end of section 2."""
    m, v = m + (1 - b1) * (g - m), v + (1 - b2) * (g * g - v)
    rate = eta * np.sqrt(1 - b2**t) / (1 - b1**t)
    return theta - rate * m / (np.sqrt(v) + (eps * np.sqrt(1 - b2**t) if hat else eps)), m, v


def _smooth_by_rows(x, t, eps):
    out = []
    for row, k in zip(x, t):
        p = np.exp(row - row.max())
        p = p / p.sum() - eps / len(row)
        p[k] -= 1 - eps
        out.append(p / len(x))
    return out


def _smooth_by_logs(x, t, eps):
    n, V = x.shape
    p = np.exp(x - np.logaddexp.reduce(x, axis=1)[:, None])
    return (1 - eps) * (p - (t[:, None] == np.arange(V))) / n + eps * (p - 1 / V) / n


WRONG = [
    ("check_10_clipped", lambda gs, limit: [g * limit / _norm(gs) for g in gs], "never above 1"),
    ("check_10_clipped", lambda gs, limit: [g * min(1, limit / np.linalg.norm(g)) for g in gs], "joint norm"),
    ("check_10_clipped", lambda gs, limit: [np.clip(g, -limit, limit) for g in gs], "one by one"),
    ("check_10_clipped", lambda gs, limit: [g * min(1, limit / _norm(gs) ** 2) for g in gs], "root is missing"),
    ("check_10_warmup_linear", lambda s, top, w, n: top * s / w if s < w else top * (n - s) / (n - w), "s + 1"),
    ("check_10_warmup_linear", lambda s, top, w, n: top * (s + 1) / w if s < w else top * (n - s) / n, "n − w"),
    ("check_10_warmup_linear", lambda s, top, w, n: top * min(1, (s + 1) / w), "should fall"),
    ("check_10_warmup_linear", lambda s, top, w, n: top * min((s + 1) / w, (1 + np.cos(np.pi * max(0, s - w) / (n - w))) / 2), "straight line"),
    ("check_10_adam_step", lambda *a: _adam(*a, correct=False), "correction is missing"),
    ("check_10_adam_step", lambda *a: _adam(*a, square=False), "g²"),
    ("check_10_adam_step", lambda *a: _adam(*a, inside=True), "after the root"),
    ("check_10_adam_step", lambda *a: _adam(*a, keep=True), "without its hat"),
    ("check_10_adam_step", lambda *a: _adam(*a, swap=True), "swapped"),
    ("check_10_adam_step", lambda *a: _adam(*a, up=-1), "Uphill"),
    ("check_10_smooth_backward", lambda x, t, eps: _smooth(x, t, eps, lambda one, eps, V: one), "without label smoothing"),
    ("check_10_smooth_backward", lambda x, t, eps: _smooth(x, t, eps, _target, rows=False), "mean over the N rows"),
    ("check_10_smooth_backward", lambda x, t, eps: _smooth(x, t, eps, lambda one, eps, V: np.where(one == 1, 1 - eps, eps / (V - 1))), "V − 1"),
    ("check_10_smooth_backward", lambda x, t, eps: _smooth(x, t, eps, _target, sign=-1), "sign"),
    ("check_10_distance_moved", lambda mu, n: n / (1 - mu), "grow first"),
    ("check_10_distance_moved", lambda mu, n: (1 - mu**n) / (1 - mu), "last velocity"),
    ("check_10_distance_moved", lambda mu, n: n, "without momentum"),
    ("check_10_clipped", lambda gs, limit: [g * min(1, limit / _norm(gs)) if _norm(gs) else g / _norm(gs) for g in gs], "become NaN"),
    ("check_10_adam_step", lambda *a: (_adam(*a)[0], _adam(*a)[2], _adam(*a)[1]), "the new m"),
    ("check_10_smooth_backward", lambda x, t, eps: _smooth(x, t, eps, _target), "e^10000"),
    ("check_10_distance_moved", lambda mu, n: n / (1 - mu) - mu / (1 - mu) ** 2, "should be"),
]

RIGHT = [
    ("check_10_clipped", _pytorch),
    ("check_10_clipped", _hatless),
    ("check_10_warmup_linear", lambda s, top, w, n: top * np.interp(s, [-1, w - 1, w, n], [0, 1, 1, 0])),
    ("check_10_warmup_linear", lambda s, top, w, n: top * min((s + 1) / w, max(0, n - s) / (n - w))),
    ("check_10_adam_step", _efficient),
    ("check_10_adam_step", lambda *a: _efficient(*a, hat=True)),
    ("check_10_adam_step", lambda *a: [np.float32(x) for x in _adam(*a)]),
    ("check_10_smooth_backward", _smooth_by_rows),
    ("check_10_smooth_backward", _smooth_by_logs),
    ("check_10_distance_moved", lambda mu, n: sum((n - j) * mu**j for j in range(n))),
    ("check_10_distance_moved", lambda mu, n: np.cumsum(np.cumsum(mu ** np.arange(n)))[-1]),
]
