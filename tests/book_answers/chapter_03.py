"""What students answer to chapter 03: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _rms(y_bar, x, gamma, eps, minus_mean=False, through_scale=True, with_gamma=True, normalised=True, summed=True):
    s = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
    x_hat = s * x
    u = gamma * y_bar if with_gamma else y_bar
    x_bar = s * (u - (x_hat * (u * x_hat).mean(axis=-1, keepdims=True) if through_scale else 0))
    if minus_mean:
        x_bar = x_bar - s * u.mean(axis=-1, keepdims=True)
    gamma_bar = y_bar * (x_hat if normalised else x)
    return x_bar, gamma_bar.sum(axis=0) if summed else gamma_bar


def _soft_maximum(y_bar, x, tau, shares=True, entropy=True, summed=True, factor=False, upstream=True):
    p = _softmax(x / tau if shares else x)
    log_z = np.log(np.exp(x / tau).sum(axis=-1))
    slope = log_z - ((p * x).sum(axis=-1) / tau if entropy else 0)
    g = y_bar if upstream else np.ones_like(y_bar)
    return g[:, None] * p / (tau if factor else 1), (y_bar * slope).sum() if summed else y_bar * slope


def _soft_maximum_by_rows(y_bar, x, tau):
    x_bar, tau_bar = [], 0.0
    for g, row in zip(y_bar, x):
        p = _softmax(row / tau)
        p = np.maximum(p, 1e-300)
        x_bar.append(g * p)
        tau_bar -= g * (p * np.log(p)).sum()
    return np.array(x_bar), tau_bar


def _z_loss(x, t, lam, factor=2.0, shifted=False, padding=False, count=True, term=True):
    m = x.max(axis=-1, keepdims=True)
    total = np.exp(x - m).sum(axis=-1, keepdims=True)
    log_z = np.log(total) + (0 if shifted else m)
    rows = _softmax(x) * (1 + factor * lam * log_z * term)
    for n, k in enumerate(t):
        if k >= 0 or padding:
            rows[n, k] -= 1
        else:
            rows[n] = 0
    return rows / (max(1, (t >= 0).sum()) if count else len(x))


def _z_loss_overflowing(x, t, lam):
    e = np.exp(x)
    z = e.sum(axis=-1, keepdims=True)
    rows = e / z * (1 + 2 * lam * np.log(z)) - np.eye(x.shape[1])[t]
    return np.where(t[:, None] >= 0, rows, 0) / max(1, (t >= 0).sum())


def _z_loss_of_real_rows(x, t, lam):
    out, keep = np.zeros_like(x), np.flatnonzero(t >= 0)
    m = x[keep].max(1)
    log_z = m + np.log(np.exp(x[keep] - m[:, None]).sum(1))
    p = np.exp(x[keep] - log_z[:, None])
    p = p + 2 * lam * log_z[:, None] * p
    p[np.arange(len(keep)), t[keep]] -= 1
    out[keep] = p / max(len(keep), 1)
    return out


def _rms_by_jacobian(y_bar, x, gamma, eps):
    N, C = x.shape
    x_bar = np.zeros((N, C))
    for n in range(N):
        r = (x[n] @ x[n] / C + eps) ** 0.5
        J = np.diag(gamma / r) - gamma[:, None] * np.outer(x[n], x[n]) / (C * r**3)
        x_bar[n] = y_bar[n] @ J
    return x_bar, np.einsum("nc,nc->c", y_bar, x / np.sqrt((x**2).mean(1, keepdims=True) + eps))


def _by_engine(f, *arrays):
    import minigrad as mg

    return mg.vjp(f, *arrays)[1]


WRONG = [
    ("check_03_log_softmax_backward", lambda g, y: g - y * g.sum(axis=-1, keepdims=True), "exp(log_softmax)"),
    ("check_03_log_softmax_backward", lambda g, y: g - np.exp(y), "factor Σ_j ȳ_j"),
    ("check_03_log_softmax_backward", lambda g, y: g, "y"),
    ("check_03_rms_norm_backward", lambda *a: _rms(*a, through_scale=False), "missing"),
    ("check_03_rms_norm_backward", lambda *a: _rms(*a, with_gamma=False), "gamma"),
    ("check_03_rms_norm_backward", lambda *a: _rms(*a, normalised=False), "normalised"),
    ("check_03_rms_norm_backward", lambda *a: _rms(*a, summed=False), "sum"),
    ("check_03_rms_norm_backward", lambda *a: _rms(*a, minus_mean=True), "layer norm"),
    ("check_03_soft_maximum_backward", lambda *a: _soft_maximum(*a, shares=False), "not of x"),
    ("check_03_soft_maximum_backward", lambda *a: _soft_maximum(*a, entropy=False), "two places"),
    ("check_03_soft_maximum_backward", lambda *a: _soft_maximum(*a, summed=False), "One τ serves all rows"),
    ("check_03_soft_maximum_backward", lambda *a: _soft_maximum(*a, factor=True), "no factor is left"),
    ("check_03_soft_maximum_backward", lambda *a: _soft_maximum(*a, upstream=False), "upstream gradient is missing"),
    ("check_03_soft_maximum_backward", _soft_maximum, "e^10000"),
    ("check_03_z_loss_backward", lambda *a: _z_loss(*a, factor=1.0), "twice its root"),
    ("check_03_z_loss_backward", lambda *a: _z_loss(*a, shifted=True), "subtracted"),
    ("check_03_z_loss_backward", lambda *a: _z_loss(*a, padding=True), "as an index is the last"),
    ("check_03_z_loss_backward", lambda *a: _z_loss(*a, count=False), "rows that count"),
    ("check_03_z_loss_backward", lambda *a: _z_loss(*a, term=False), "no effect"),
    ("check_03_z_loss_backward", _z_loss_overflowing, "e^10000"),
    ("check_03_rms_norm_backward", lambda y, x, g, eps: _by_engine(lambda x, g: x * x * g, x, g)(y), "lets the library"),
]

RIGHT = [
    ("check_03_soft_maximum_backward", _soft_maximum_by_rows),
    ("check_03_soft_maximum_backward", lambda y, x, tau: tuple(_soft_maximum_by_rows(y, x, tau))),
    ("check_03_log_softmax_backward", lambda g, y: np.einsum("nj,njk->nk", g, np.eye(y.shape[1]) - np.exp(y)[:, None, :])),
    ("check_03_log_softmax_backward", lambda g, y: np.array([gn - np.sum(gn) * np.exp(yn) for gn, yn in zip(g, y)])),
    ("check_03_z_loss_backward", _z_loss),
    ("check_03_z_loss_backward", _z_loss_of_real_rows),
    ("check_03_rms_norm_backward", _rms_by_jacobian),
    ("check_03_rms_norm_backward", lambda *a: [np.asarray(part, np.float32) for part in _rms(*a)]),
]
