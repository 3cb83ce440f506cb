"""What students answer to chapter 05: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _softmax(s, axis=-1):
    e = np.exp(s - s.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _scores(Q, K):
    return Q @ K.T / np.sqrt(Q.shape[-1])


def _sink(Q, K, z, scale=lambda d: np.sqrt(d), sink=True, shift=True, keep=False):
    s = Q @ K.T / scale(Q.shape[1])
    top = s.max(axis=-1, keepdims=True)
    e = np.exp(s - top)
    rest = np.exp(z - top if shift else z) * sink
    total = e.sum(axis=-1, keepdims=True) + rest
    return np.concatenate([e, rest], axis=1) / total if keep else e / total


def _sink_plain(Q, K, z):
    e = np.exp(_scores(Q, K))
    return e / (e.sum(axis=-1, keepdims=True) + np.exp(z))


def _clipped(Q, K, z):
    e, rest = np.exp(np.clip(_scores(Q, K), -700, 700)), np.exp(np.clip(z, -700, 700))
    return e / (e.sum(axis=-1, keepdims=True) + rest)


def _one_more_key(Q, K, z):
    s = np.c_[_scores(Q, K), np.full(len(Q), z)]
    return _softmax(s)[:, :-1]


def _sink_by_logaddexp(Q, K, z):
    s = _scores(Q, K)
    return np.exp(s - np.logaddexp(np.logaddexp.reduce(s, axis=1), z)[:, None])


def _mask_by_loop(T, S, prefix, window):
    def sees(i, j):
        return j < prefix or 0 <= i - j < window

    return np.array([[sees(i, j) for j in range(S)] for i in range(S - T, S)])


def _mask_by_triangles(T, S, prefix, window):
    mask = np.tri(T, S, S - T, dtype=bool) & ~np.tri(T, S, S - T - window, dtype=bool)
    mask[:, :prefix] = True
    return mask


def _band(T, S, prefix, window, shift=None, wide=0, ahead=True):
    i, j = np.arange(T)[:, None] + (S - T if shift is None else shift), np.arange(S)
    return ((j <= i) & (j > i - window - wide)) | (j < prefix) & (ahead | (j <= i))


def _seen(doc, causal=True, apart=True, padding=True):
    allowed = np.tri(len(doc), dtype=bool) if causal else np.ones((len(doc),) * 2, bool)
    allowed &= (doc[:, None] == doc) | (not apart)
    return allowed & ((doc >= 0) | (not padding))


def _packed(Q, K, V, doc, floor=-np.inf, zeros=True, **what):
    allowed = _seen(doc, **what)
    with np.errstate(all="ignore"):
        out = _softmax(np.where(allowed, _scores(Q, K), floor)) @ V
    return np.where(allowed.any(axis=1)[:, None], out, 0) if zeros else out


def _packed_late(Q, K, V, doc):
    return _softmax(_scores(Q, K)) * _seen(doc) @ V


def _packed_renormalised(Q, K, V, doc):
    P = _softmax(_scores(Q, K)) * _seen(doc)
    return P / np.where(doc >= 0, P.sum(axis=1), 1)[:, None] @ V


def _packed_overflowing(Q, K, V, doc):
    e = np.exp(_scores(Q, K)) * _seen(doc)
    return e / np.where(doc >= 0, e.sum(axis=1), 1)[:, None] @ V


def _packed_by_text(Q, K, V, doc):
    out = np.zeros((len(Q), V.shape[1]))
    for name in set(doc.tolist()) - {-1}:
        mine = np.flatnonzero(doc == name)
        s = np.where(np.tri(len(mine), dtype=bool), _scores(Q[mine], K[mine]), -np.inf)
        out[mine] = _softmax(s) @ V[mine]
    return out


def _packed_by_word(Q, K, V, doc):
    rows = []
    for i in range(len(Q)):
        keys = [j for j in range(i + 1) if doc[j] == doc[i] >= 0]
        rows.append(_softmax(_scores(Q[i : i + 1], K[keys]))[0] @ V[keys] if keys else np.zeros(V.shape[1]))
    return np.array(rows)


def _grouped(O_bar, Q, K, V, allowed, tile=False, tau_k=True, whole=True, mean=False, summed=True, masked=True, floor=-np.inf):
    H, G = len(Q), len(K)
    tau = 1 / np.sqrt(Q.shape[-1])
    Q_bar, K_bar, V_bar = np.zeros(Q.shape), np.zeros((H, *K.shape[1:])), np.zeros((H, *V.shape[1:]))
    group = [h % G if tile else h // (H // G) for h in range(H)]
    for h, g in enumerate(group):
        P = _softmax(np.where(allowed | (not masked), tau * Q[h] @ K[g].T, floor))
        P_bar = O_bar[h] @ V[g].T
        S_bar = P * (P_bar - (P_bar * P).sum(axis=-1, keepdims=True)) if whole else P * P_bar
        Q_bar[h], K_bar[h], V_bar[h] = tau * S_bar @ K[g], (tau if tau_k else 1) * S_bar.T @ Q[h], P.T @ O_bar[h]
    if summed:
        K_bar, V_bar = (np.array([sum(a[h] for h in range(H) if group[h] == g) for g in range(G)]) for a in (K_bar, V_bar))
    return Q_bar, K_bar * (G / H if mean else 1), V_bar * (G / H if mean else 1)


def _grouped_by_axes(O_bar, Q, K, V, allowed):
    G, n = len(K), len(Q) // len(K)
    q, o = Q.reshape(G, n, *Q.shape[1:]), O_bar.reshape(G, n, *O_bar.shape[1:])
    s = np.einsum("gntd,gsd->gnts", q, K) / Q.shape[-1] ** 0.5
    P = _softmax(np.where(allowed, s, -np.inf))
    P_bar = np.einsum("gntw,gsw->gnts", o, V)
    S_bar = P * P_bar - P * np.einsum("gnts,gnts->gnt", P, P_bar)[..., None]
    S_bar = S_bar / Q.shape[-1] ** 0.5
    return np.einsum("gnts,gsd->gntd", S_bar, K).reshape(Q.shape), np.einsum("gnts,gntd->gsd", S_bar, q), np.einsum("gnts,gntw->gsw", P, o)


def _grouped_by_engine(O_bar, Q, K, V, allowed):
    from minigrad import scaled_dot_product_attention, vjp

    return vjp(lambda q, k, v: scaled_dot_product_attention(q, k, v, mask=allowed), Q, K, V)[1](O_bar)


def _grouped_by_tensors(O_bar, Q, K, V, allowed):
    import minigrad as mg

    q, k, v = (mg.Tensor(a, requires_grad=True) for a in (Q, K, V))
    mg.scaled_dot_product_attention(q, k, v, mask=allowed).backward(O_bar)
    return q.grad.data, k.grad.data, v.grad.data


WRONG = [
    ("check_05_sink_weights", lambda Q, K, z: _sink(Q, K, z, sink=False), "takes no part"),
    ("check_05_sink_weights", lambda Q, K, z: _sink(Q, K, z, shift=False), "not from the sink"),
    ("check_05_sink_weights", lambda Q, K, z: _sink(Q, K, z, scale=lambda d: 1), "√D is missing"),
    ("check_05_sink_weights", lambda Q, K, z: _sink(Q, K, z, scale=lambda d: d), "not by D"),
    ("check_05_sink_weights", lambda Q, K, z: _sink(Q, K, z / np.sqrt(Q.shape[1])), "is a score already"),
    ("check_05_sink_weights", lambda Q, K, z: _sink(Q, K, z, keep=True), "leave its own weight out"),
    ("check_05_sink_weights", _clipped, "±10 000"),
    ("check_05_sink_weights", _sink_plain, "e^10000"),
    ("check_05_prefix_window_mask", lambda *a: _band(*a, shift=0), "shift by S − T"),
    ("check_05_prefix_window_mask", lambda *a: ~_band(*a), "upside down"),
    ("check_05_prefix_window_mask", lambda *a: _band(*a, wide=1), "too wide"),
    ("check_05_prefix_window_mask", lambda *a: _band(*a, ahead=False), "that come later"),
    ("check_05_prefix_window_mask", lambda *a: _band(*a) * 1.0, "boolean"),
    ("check_05_packed_attention", lambda *a: _packed(*a, apart=False), "other texts"),
    ("check_05_packed_attention", lambda *a: _packed(*a, causal=False), "later words"),
    ("check_05_packed_attention", lambda *a: _packed(*a, padding=False), "looks at padding"),
    ("check_05_packed_attention", _packed_late, "after softmax"),
    ("check_05_packed_attention", _packed_renormalised, "NaN"),
    ("check_05_packed_attention", _packed_overflowing, "NaN"),
    ("check_05_packed_attention", lambda *a: _packed(*a, zeros=False), "NaN"),
    ("check_05_packed_attention", lambda *a: _packed(*a, zeros=False, floor=-1e9), "mean of all values"),
    ("check_05_packed_attention", lambda *a: _packed(*a, floor=-30), "with very large values is heard"),
    ("check_05_packed_attention", lambda *a: _packed(*a, floor=-1000), "too weak"),
    ("check_05_grouped_backward", lambda *a: _grouped(*a, tile=True), "take turns"),
    ("check_05_grouped_backward", lambda *a: _grouped(*a, summed=False), "add up"),
    ("check_05_grouped_backward", lambda *a: _grouped(*a, mean=True), "averaged"),
    ("check_05_grouped_backward", lambda *a: _grouped(*a, tau_k=False), "missing in K_bar"),
    ("check_05_grouped_backward", lambda *a: _grouped(*a, whole=False), "weighted mean"),
    ("check_05_grouped_backward", lambda *a: _grouped(*a, masked=False), "mask has no effect"),
    ("check_05_grouped_backward", lambda *a: _grouped(*a, floor=-1000), "too weak"),
    ("check_05_grouped_backward", lambda *a: _grouped(*a)[0], "three things"),
    ("check_05_grouped_backward", _grouped_by_engine, "lets the library"),
    ("check_05_grouped_backward", _grouped_by_tensors, "lets the library"),
]

RIGHT = [
    ("check_05_sink_weights", _one_more_key),
    ("check_05_sink_weights", _sink),
    ("check_05_sink_weights", _sink_by_logaddexp),
    ("check_05_prefix_window_mask", _mask_by_loop),
    ("check_05_prefix_window_mask", _mask_by_triangles),
    ("check_05_packed_attention", _packed_by_text),
    ("check_05_packed_attention", _packed_by_word),
    ("check_05_packed_attention", lambda *a: _packed(*a, floor=-1e9)),
    ("check_05_packed_attention", lambda *a: np.nan_to_num(_packed(*a, zeros=False))),
    ("check_05_grouped_backward", _grouped),
    ("check_05_grouped_backward", _grouped_by_axes),
]
