"""What students answer to chapter 12b: the check, the wrong answer and its hint; and unusual right answers."""

import numpy as np


def _softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _overflowing(s):
    return np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True)


# Prefix score ---------------------------------------------------------------------------------------------------------


def _score(P, ids, place=lambda copies: copies, shift=1, among="seen", join=sum):
    found = []
    for i in range(len(ids)):
        copies = [j for j in range(i) if ids[j] == ids[i]]
        if copies or among == "all":
            found.append(join([P[i, j + shift] for j in place(copies)]) if copies else 0.0)
    return np.mean(found)


def _score_by_masks(P, ids):
    follows = np.zeros(P.shape, bool)
    follows[:, 1:] = (ids[:, None] == ids[None, :])[:, :-1]
    follows &= np.tri(len(ids), dtype=bool)
    return float((P * follows).sum() / follows.any(axis=1).sum())


def _score_from_the_past(P, ids):
    total, count, places = 0.0, 0, {}
    for i, token in enumerate(ids.tolist()):
        if token in places:
            count += 1
            total += P[i, np.array(places[token]) + 1].sum()
        places.setdefault(token, []).append(i)
    return np.float32(total / count)


# Token circuit --------------------------------------------------------------------------------------------------------


def _slices(w_v, H, h):
    D = w_v.shape[1] // H
    return slice(h * D, (h + 1) * D)


def _circuit(w_e, w_v, w_o, w_u, H, h):
    own = _slices(w_v, H, h)
    return w_e @ w_v[:, own] @ w_o[own] @ w_u


def _circuit_by_mask(w_e, w_v, w_o, w_u, H, h):
    mask = np.zeros(w_v.shape[1])
    mask[_slices(w_v, H, h)] = 1
    return w_e @ (w_v * mask) @ w_o @ w_u


def _circuit_by_reshape(w_e, w_v, w_o, w_u, H, h):
    C = len(w_v)
    return np.einsum("vc,cd,de,eu->vu", w_e, w_v.reshape(C, H, -1)[:, h], w_o.reshape(H, -1, C)[h], w_u)


def _strided(w_e, w_v, w_o, w_u, H, h):
    return w_e @ w_v[:, h::H] @ w_o[h::H] @ w_u


def _rows_for_columns(w_e, w_v, w_o, w_u, H, h):
    own = _slices(w_v, H, h)
    return w_e[:, own] @ w_v[own] @ w_o[:, own] @ w_u[own]


# Parts of logits ------------------------------------------------------------------------------------------------------


def _parts(parts, gamma, w_u, eps):
    x = parts.sum(axis=0)
    return parts / np.sqrt((x * x).mean() + eps) * gamma @ w_u


def _parts_one_by_one(parts, gamma, w_u, eps):
    x = sum(parts)
    scale = gamma / np.sqrt(np.dot(x, x) / x.size + eps)
    return [list((part * scale) @ w_u) for part in parts]


def _parts_in_single_precision(parts, gamma, w_u, eps):
    return _parts(parts.astype(np.float32), gamma.astype(np.float32), w_u.astype(np.float32), np.float32(eps))


# Patching map ---------------------------------------------------------------------------------------------------------


def _map(rest, clean, corrupted, value=lambda m, low, high: (m - low) / (high - low), into="corrupted", fresh=True):
    low, high = rest(corrupted), rest(clean)
    base, other = (corrupted, clean) if into == "corrupted" else (clean, corrupted)
    found, x = [], base.copy()
    for t in range(len(clean)):
        x = base.copy() if fresh else x
        x[t] = other[t]
        found.append(value(rest(x), low, high))
    return np.array(found)


def _map_by_where(rest, clean, corrupted):
    T = len(clean)
    streams = np.where(np.eye(T, dtype=bool)[:, :, None], clean, corrupted)
    m = np.array([rest(x) for x in streams])
    return (m - rest(corrupted)) / (rest(clean) - rest(corrupted))


def _map_by_steps(rest, clean, corrupted):
    start, whole = rest(corrupted), rest(clean) - rest(corrupted)
    return [
        float((rest(corrupted + (np.arange(len(clean)) == t)[:, None] * (clean - corrupted)) - start) / whole)
        for t in range(len(clean))
    ]


# Skip circuits --------------------------------------------------------------------------------------------------------


def _skip(V, T, back=2, beta=30.0, reads="note", moves="token"):
    C = 3 * V + T
    token, note, answer = np.arange(V), V + T + np.arange(V), 2 * V + T + np.arange(V)
    qk0, ov0, qk1, ov1 = np.zeros((4, C, C))
    for i in range(back, T):
        qk0[V + i, V + i - back] = beta
    ov0[token, note] = 1
    qk1[token, note if reads == "note" else token] = beta
    ov1[token if moves == "token" else note, answer] = 1
    return qk0, ov0, qk1, ov1


def _skip_with_another_answer(V, T):
    qk0, ov0, qk1, ov1 = _skip(V, T)
    return qk0, ov0, qk1, np.roll(ov1, 1, axis=0)


def _skip_with_shuffled_notes(V, T):
    """The note may be written in any code, if the reader knows it; scores and answers may be larger."""
    qk0, ov0, qk1, ov1 = _skip(V, T, beta=50.0)
    note, code = V + T + np.arange(V), np.random.default_rng(0).permutation(V)
    ov0[:, note], qk1[:, note] = 0, 0
    ov0[np.arange(V), note[code]] = 3
    qk1[np.arange(V), note[code]] = 20
    return qk0, ov0, qk1, 5 * ov1


def _skip_by_distance(V, T):
    """A score that falls with the distance from two places before, so that position 1 looks at 0."""
    qk0, ov0, qk1, ov1 = _skip(V, T)
    i = np.arange(T)
    qk0[V : V + T, V : V + T] = -40.0 * np.abs(i[:, None] - 2 - i[None, :])
    return [qk0, ov0, qk1, ov1]


# Gradient -------------------------------------------------------------------------------------------------------------


def _gradient(y_bar, x, qk, ov, masked=True, inner="rows", transposed_ov=False, hidden=-np.inf, softmax=_softmax):
    scores = x @ qk @ x.T
    P = softmax(np.where(np.tri(len(x), dtype=bool), scores, hidden) if masked else scores)
    P_bar = y_bar @ (x @ (ov.T if transposed_ov else ov)).T
    if inner == "none":
        return x.T @ (P_bar * np.tri(len(x))) @ x
    if inner == "half":
        return x.T @ (P * P_bar) @ x
    return x.T @ (P * (P_bar - (P_bar * P).sum(axis=-1 if inner == "rows" else 0, keepdims=True))) @ x


def _gradient_row_by_row(y_bar, x, qk, ov):
    total, values = np.zeros_like(qk), x @ ov
    for i in range(len(x)):
        past = x[: i + 1]
        p = _softmax(x[i] @ qk @ past.T)
        jacobian = np.diag(p) - np.outer(p, p)
        total += np.outer(x[i], (jacobian @ (values[: i + 1] @ y_bar[i])) @ past)
    return total


def _gradient_in_single_precision(*inputs):
    return _gradient(*(a.astype(np.float32) for a in inputs))


WRONG = [
    ("check_12b_prefix_score", lambda P, ids: _score(P, ids, shift=0), "copies themselves"),
    ("check_12b_prefix_score", lambda P, ids: _score(P, ids, among="all"), "do not count"),
    ("check_12b_prefix_score", lambda P, ids: _score(P, ids, place=lambda copies: copies[-1:]), "latest"),
    ("check_12b_prefix_score", lambda P, ids: _score(P, ids, place=lambda copies: copies[:1]), "first one"),
    ("check_12b_prefix_score", lambda P, ids: _score(P, ids, join=np.mean), "not averaged"),
    ("check_12b_prefix_score", lambda P, ids: _score(P.T, ids), "the other way round"),
    ("check_12b_token_circuit", lambda e, v, o, u, H, h: e @ v @ o @ u, "whole layer"),
    ("check_12b_token_circuit", _strided, "side by side"),
    ("check_12b_token_circuit", _rows_for_columns, "rows of W_O"),
    ("check_12b_token_circuit", lambda *a: _circuit(*a).T, "transposed"),
    ("check_12b_token_circuit", lambda e, v, o, u, H, h: _circuit(e, v, o, u, H, h - 1), "counted"),
    (
        "check_12b_parts_of_logits",
        lambda p, g, u, eps: p / np.sqrt((p * p).mean(axis=-1, keepdims=True) + eps) * g @ u,
        "scale of its own",
    ),
    ("check_12b_parts_of_logits", lambda p, g, u, eps: p * g @ u, "norm is missing"),
    ("check_12b_parts_of_logits", lambda p, g, u, eps: _parts(p, np.ones_like(g), u, eps), "γ is missing"),
    ("check_12b_parts_of_logits", lambda p, g, u, eps: p / np.linalg.norm(p.sum(axis=0)) * g @ u, "should"),
    ("check_12b_parts_of_logits", lambda p, g, u, eps: _parts(p, g, u, 0.0), "ε is missing"),
    ("check_12b_parts_of_logits", lambda p, g, u, eps: _parts(p, g, u, eps).sum(axis=0), "each part"),
    ("check_12b_patching_map", lambda *a: _map(*a, value=lambda m, low, high: m), "what share"),
    ("check_12b_patching_map", lambda *a: _map(*a, value=lambda m, low, high: m - low), "Divide"),
    ("check_12b_patching_map", lambda *a: _map(*a, into="clean"), "the question is the other"),
    ("check_12b_patching_map", lambda *a: _map(*a, fresh=False), "pile up"),
    ("check_12b_patching_map", lambda *a: _map(*a, value=lambda m, low, high: (high - m) / (high - low)), "sign"),
    (
        "check_12b_patching_map",
        lambda rest, clean, corrupted: _map(lambda row: rest(row[0]), clean[:, None], corrupted[:, None]),
        "whole stream",
    ),
    ("check_12b_skip_circuits", lambda V, T: _skip(V, T, back=1), "one place after"),
    ("check_12b_skip_circuits", lambda V, T: _skip(V, T, beta=1.0), "not decided"),
    ("check_12b_skip_circuits", lambda V, T: _skip(V, T, moves="note"), "the present token itself"),
    ("check_12b_skip_circuits", lambda V, T: (*_skip(V, T)[:3], np.zeros((3 * V + T, 3 * V + T))), "same logit"),
    ("check_12b_skip_circuits", _skip_with_another_answer, "first that is wrong"),
    ("check_12b_skip_circuits", lambda V, T: _skip(V, T, back=3), "not decided"),
    ("check_12b_skip_circuits", lambda V, T: _skip(V, T)[:2], "four matrices"),
    ("check_12b_skip_circuits", lambda V, T: _skip(V, T, reads="token"), "the present token itself"),
    ("check_12b_qk_gradient", lambda *a: _gradient(*a).T, "transpose:"),
    ("check_12b_qk_gradient", lambda *a: _gradient(*a, masked=False), "future"),
    ("check_12b_qk_gradient", lambda *a: _gradient(*a, inner="none"), "own gradient"),
    ("check_12b_qk_gradient", lambda *a: _gradient(*a, inner="half"), "subtract"),
    ("check_12b_qk_gradient", lambda *a: _gradient(*a, inner="columns"), "along the rows"),
    ("check_12b_qk_gradient", lambda *a: _gradient(*a, hidden=-30.0), "mask lets a little through"),
    ("check_12b_qk_gradient", lambda *a: _gradient(*a, hidden=-100.0), "too weak"),
    ("check_12b_qk_gradient", lambda *a: _gradient(*a, softmax=_overflowing), "e^1000 overflows"),
    ("check_12b_qk_gradient", lambda *a: _gradient(*a, transposed_ov=True), "not its transpose"),
    ("check_12b_qk_gradient", lambda y_bar, x, qk, ov: _gradient(y_bar, x, qk, ov) / np.sqrt(len(qk)), "√D"),
]
RIGHT = [
    ("check_12b_prefix_score", _score_by_masks),
    ("check_12b_prefix_score", _score_from_the_past),
    ("check_12b_token_circuit", _circuit_by_mask),
    ("check_12b_token_circuit", _circuit_by_reshape),
    ("check_12b_parts_of_logits", _parts_one_by_one),
    ("check_12b_parts_of_logits", _parts_in_single_precision),
    ("check_12b_patching_map", _map_by_where),
    ("check_12b_patching_map", _map_by_steps),
    ("check_12b_skip_circuits", _skip_with_shuffled_notes),
    ("check_12b_skip_circuits", _skip_by_distance),
    ("check_12b_qk_gradient", _gradient_row_by_row),
    ("check_12b_qk_gradient", _gradient_in_single_precision),
]
