"""What students answer to chapter 08b: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _cache(T, layers, heads, D, size, window, sinks, two=2, beside=True, bound=True, layered=True):
    held = T if window is None or not bound else min(T, window + sinks * beside)
    return two * (layers if layered else 1) * heads * D * size * held


def _cache_token_by_token(T, layers, heads, D, size, window, sinks):
    held = [t for t in range(T) if window is None or t >= T - window or t < sinks]
    return sum(size for _ in held for _ in range(layers * heads * D * 2))


def _window(T, S, size, sinks, shift=0, late=True, closed=True, own=True):
    query, key = np.arange(T)[:, None] + (S - T) * late, np.arange(S)
    near = (query - key < size + shift) | (key < sinks)
    return near & (key < query + own) if closed else near


def _window_by_loops(T, S, size, sinks):
    rows = [[False] * S for _ in range(T)]
    for i in range(T):
        for j in (*range(max(0, S - T + i - size + 1), S - T + i + 1), *range(min(sinks, S - T + i + 1))):
            rows[i][j] = True
    return rows


def _window_by_triangles(T, S, size, sinks):
    band = np.tri(S, S, 0) - np.tri(S, S, -size)
    band[:, :sinks] = np.tri(S, S, 0)[:, :sinks]
    return band[S - T :].astype(int)


def _rms(y_bar, x, gamma, eps, second=1.0, mean=0.0, scale=True, total=False, summed=True, normed=True):
    r = np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    n, g = x / r, y_bar * gamma if scale else y_bar
    inner = (g * n).sum(-1, keepdims=True) if total else (g * n).mean(-1, keepdims=True)
    gamma_bar = y_bar * (n if normed else x)
    return (g - second * n * inner - mean * g.mean(-1, keepdims=True)) / r, gamma_bar.sum(0) if summed else gamma_bar


def _rms_by_jacobian(y_bar, x, gamma, eps):
    x_bar = np.zeros_like(x)
    for i, row in enumerate(x):
        r = np.sqrt(row @ row / len(row) + eps)
        jacobian = gamma[:, None] * (np.eye(len(row)) / r - np.outer(row, row) / (len(row) * r**3))
        x_bar[i] = y_bar[i] @ jacobian
    return [x_bar, np.einsum("nc,nc->c", y_bar, x / np.sqrt((x * x).mean(1) + eps)[:, None])]


def _rms_by_inverse(y_bar, x, gamma, eps):
    inverse = ((x**2).sum(1) / x.shape[1] + eps) ** -0.5
    g = gamma * y_bar
    x_bar = inverse[:, None] * g - (inverse**3 * (g * x).sum(1) / x.shape[1])[:, None] * x
    return x_bar, inverse @ (x * y_bar)


def _latent(q, c, WUK, WUV, scale=None, axis=-1, stable=True):
    s = np.einsum("hd,hmd->hm", q, WUK) @ c.T / (np.sqrt(q.shape[1]) if scale is None else scale)
    weights = _softmax(s) if axis == -1 else _softmax(s.T).T
    weights = weights if stable else np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True)
    return np.einsum("hm,hmv->hv", weights @ c, WUV)


def _latent_with_keys(q, c, WUK, WUV):
    weights = _softmax((q[:, None] @ (c @ WUK).mT / np.sqrt(q.shape[1]))[:, 0])
    return (weights[:, None] @ (c @ WUV))[:, 0]


def _latent_with_values(q, c, WUK, WUV):
    weights = _softmax((q[:, None] @ WUK.mT)[:, 0] @ c.T / np.sqrt(q.shape[1]))
    return np.stack([w @ (c @ up) for w, up in zip(weights, WUV)])


def _latent_head_by_head(q, c, WUK, WUV):
    out = []
    for head in range(len(q)):
        s = c @ (WUK[head] @ q[head]) / len(q[head]) ** 0.5
        e = np.exp(s - max(s))
        out.append(((e @ c) / sum(e)) @ WUV[head])
    return np.array(out)


def _latent_token_by_token(q, c, WUK, WUV):
    down, mixed, total = np.einsum("hd,hmd->hm", q, WUK) / np.sqrt(q.shape[-1]), np.zeros(WUK.shape[:2]), np.zeros((len(q), 1))
    top = np.max(down @ c.T, axis=1, keepdims=True)
    for token in c:
        weight = np.exp((down @ token)[:, None] - top)
        mixed, total = mixed + weight * token, total + weight
    return ((mixed / total)[:, None] @ WUV)[:, 0]


def _balance(P, k, factor=True, per=1, own=False, divided=True):
    N, E = P.shape
    chosen = np.argsort(-P, axis=1)[:, :k]
    f = np.bincount(chosen.ravel(), minlength=E) / N / per
    hot = np.zeros_like(P)
    np.put_along_axis(hot, chosen, 1, 1)
    P_bar = np.tile((E if factor else 1) * f / (N if divided else 1), (N, 1))
    return (E if factor else 1) * (f * P.mean(0)).sum(), P_bar * hot if own else P_bar


def _balance_by_ranks(P, k):
    rank = (P[:, None, :] > P[:, :, None]).sum(axis=2)  # how many are larger
    f = (rank < k).mean(axis=0)
    return len(f) * float(np.dot(f, P.mean(axis=0))), np.ones((len(P), 1)) * (len(f) * f / len(P))


def _balance_by_loops(P, k):
    N, E = P.shape
    loss, P_bar = 0.0, np.zeros((N, E))
    for e in range(E):
        f = sum(e in sorted(range(E), key=lambda i, row=row: row[i])[-k:] for row in P) / N
        loss += E * f * sum(P[:, e]) / N
        P_bar[:, e] = E * f / N
    return loss, P_bar.tolist()


WRONG = [
    ("check_08b_cache_bytes", lambda *a: _cache(*a, two=1), "Keys and values"),
    ("check_08b_cache_bytes", lambda *a: _cache(*a, beside=False), "beside the window"),
    ("check_08b_cache_bytes", lambda *a: _cache(*a, bound=False), "bounds the cache"),
    ("check_08b_cache_bytes", lambda *a: _cache(*a, layered=False), "Each layer"),
    ("check_08b_cache_bytes", lambda T, L, h, D, b, w, s: 2 * L * h * D * b * ((w or T) + s), "not filled the window"),
    ("check_08b_late_window", lambda *a: _window(*a, shift=1), "own place"),
    ("check_08b_late_window", lambda *a: _window(*a, late=False), "last query"),
    ("check_08b_late_window", lambda *a: _window(*a, closed=False), "future"),
    ("check_08b_late_window", lambda *a: _window(*a, own=False), "sees itself"),
    ("check_08b_late_window", lambda T, S, size, sinks: _window(T, S, size, 0), "sinks are missing"),
    ("check_08b_late_window", lambda *a: _window(*a).T, "Rows are queries"),
    ("check_08b_rms_norm_backward", lambda *a: _rms(*a, second=0), "second term is missing"),
    ("check_08b_rms_norm_backward", lambda *a: _rms(*a, mean=1), "layer norm's"),
    ("check_08b_rms_norm_backward", lambda *a: _rms(*a, scale=False), "γ is missing"),
    ("check_08b_rms_norm_backward", lambda *a: _rms(*a, total=True), "not their sum"),
    ("check_08b_rms_norm_backward", lambda *a: _rms(*a, second=-1), "subtracted"),
    ("check_08b_rms_norm_backward", lambda *a: _rms(*a, summed=False), "sum over them"),
    ("check_08b_rms_norm_backward", lambda *a: _rms(*a, normed=False), "not x"),
    ("check_08b_raised_base", lambda D, b, s: b ** (-2 * np.arange(D // 2) / D) / s, "interpolation"),
    ("check_08b_raised_base", lambda D, b, s: (b * s) ** (-2 * np.arange(D // 2) / D), "not yet s times slower"),
    ("check_08b_raised_base", lambda D, b, s: b ** (-2 * np.arange(D // 2) / D), "without any change"),
    ("check_08b_raised_base", lambda D, b, s: (b / s ** (D / (D - 2))) ** (-2 * np.arange(D // 2) / D), "faster"),
    ("check_08b_decode_latent", lambda *a: _latent(*a, scale=1.0), "not divided"),
    ("check_08b_decode_latent", lambda q, c, *W: _latent(q, c, *W, scale=np.sqrt(c.shape[1])), "that of the keys"),
    ("check_08b_decode_latent", lambda *a: _latent(*a, axis=0), "over the tokens"),
    ("check_08b_decode_latent", lambda *a: _latent(*a, stable=False), "overflow"),
    ("check_08b_decode_latent", _latent_with_keys, "make the keys"),
    ("check_08b_decode_latent", _latent_with_values, "make the values"),
    ("check_08b_balance", lambda P, k: _balance(P, k, factor=False), "factor N_e"),
    ("check_08b_balance", lambda P, k: _balance(P, k, per=k), "adds up to k"),
    ("check_08b_balance", lambda P, k: _balance(P, k, own=True), "whether it chose"),
    ("check_08b_balance", lambda P, k: _balance(P, k, divided=False), "divided by N"),
    ("check_08b_balance", lambda P, k: _balance(P, k)[0], "pair"),
]

RIGHT = [
    ("check_08b_cache_bytes", _cache_token_by_token),
    ("check_08b_cache_bytes", lambda T, L, h, D, b, w, s: float(2 * L * h * D * b * min(T, np.inf if w is None else w + s))),
    ("check_08b_late_window", _window_by_loops),
    ("check_08b_late_window", _window_by_triangles),
    ("check_08b_rms_norm_backward", _rms_by_jacobian),
    ("check_08b_rms_norm_backward", _rms_by_inverse),
    ("check_08b_raised_base", lambda D, b, s: [b ** (-2 * i / D) * s ** (-2 * i / (D - 2)) for i in range(D // 2)]),
    ("check_08b_raised_base", lambda D, b, s: np.exp(-np.linspace(0, np.log(b) * (D - 2) / D + np.log(s), D // 2))),
    ("check_08b_decode_latent", _latent_head_by_head),
    ("check_08b_decode_latent", _latent_token_by_token),
    ("check_08b_balance", _balance_by_ranks),
    ("check_08b_balance", _balance_by_loops),
]
