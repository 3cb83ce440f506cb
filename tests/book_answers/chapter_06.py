"""What students answer to chapter 06: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

import numpy as np


def _softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _layer(X, W_Q, W_K, W_V, W_O, H, causal=False, width="D", mask=True, mixed=True, straight=False):
    T, C = X.shape
    Q, K, V = ((X @ W).reshape(H, T, -1) if straight else (X @ W).reshape(T, H, -1).swapaxes(0, 1) for W in (W_Q, W_K, W_V))
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(C // H if width == "D" else C)
    if causal and mask:
        S = np.where(np.tri(T, dtype=bool), S, -np.inf)
    O = (_softmax(S) @ V).swapaxes(0, 1).reshape(T, C)
    return O @ W_O if mixed else O


def _reorder(columns_of_out=False, out=True, single=False):
    def answer(W_Q, W_K, W_V, W_O, H, order):
        places = np.arange(len(W_Q)).reshape(H, -1)[list(order)].ravel()
        if single:
            places = [*order, *range(H, len(W_Q))]
        W_O = W_O if not out else W_O[:, places] if columns_of_out else W_O[np.arange(len(W_Q)).reshape(H, -1)[list(order)].ravel()]
        return W_Q[:, places], W_K[:, places], W_V[:, places], W_O

    return answer


def _fused(X, W, H, order="head", turned=True):
    T, C = X.shape
    Y, D = X @ W, C // H
    parts = {"head": Y.reshape(T, H, 3, D).transpose(2, 1, 0, 3), "kind": Y.reshape(T, 3, H, D).transpose(1, 2, 0, 3)}
    return tuple(parts[order] if turned else parts[order].swapaxes(1, 2))


def _fused_by_slices(X, W, H):
    D = W.shape[0] // H
    return [np.stack([X @ W[:, (3 * h + i) * D : (3 * h + i + 1) * D] for h in range(H)]) for i in range(3)]


def _fused_by_columns(X, W, H):
    columns = np.arange(W.shape[1]).reshape(H, 3, -1)
    return [np.stack([(X @ W)[:, columns[h, i]] for h in range(H)]) for i in range(3)]


def _masked(X, W_Q, W_K, W_V, W_O, H, causal=False, allowed=lambda T: np.tri(T, dtype=bool), floor=-np.inf, late=False):
    T, C = X.shape
    D = C // H
    heads = []
    for h in range(H):
        here = slice(h * D, (h + 1) * D)
        S = X @ W_Q[:, here] @ (X @ W_K[:, here]).T / D**0.5
        with np.errstate(all="ignore"):
            P = _softmax(np.where(allowed(T), S, floor) if causal and not late else S)
        heads.append((P * np.tri(T) if causal and late else P) @ X @ W_V[:, here])
    return np.hstack(heads) @ W_O


def _heads_added(X, W_Q, W_K, W_V, W_O, H, causal=False):
    """Each head through its rows of W_O; the results add up."""
    T, C = X.shape
    q, k, v = (np.einsum("tc,chd->htd", X, W.reshape(C, H, -1)) for W in (W_Q, W_K, W_V))
    s = np.einsum("htd,hsd->hts", q, k) * (C // H) ** -0.5
    s = s + np.triu(np.full((T, T), -1e9), 1) if causal else s
    return np.einsum("hts,hsd,hdc->tc", _softmax(s), v, W_O.reshape(H, -1, C))


def _reordered_blocks(W_Q, W_K, W_V, W_O, H, order):
    new = [np.concatenate([np.split(W, H, axis=1)[i] for i in order], axis=1) for W in (W_Q, W_K, W_V)]
    return *new, np.concatenate([np.split(W_O, H)[i] for i in order])


def _reordered_by_matrix(W_Q, W_K, W_V, W_O, H, order):
    P = np.kron(np.eye(H)[list(order)].T, np.eye(len(W_Q) // H))
    return W_Q @ P, W_K @ P, W_V @ P, P.T @ W_O


def _descend(attention, walk_back, X, Y, weights, H, eta, sign=-1, mean=True, own=True, move=True):
    import checks
    import minigrad as mg

    tensors = [mg.Tensor(w, requires_grad=True) for w in weights]
    error = attention(X, *tensors, H) - Y
    loss = (error * error).mean() if mean else (error * error).sum()
    root, leaves = checks.graph(loss, tensors)
    if own:
        gradients = walk_back(root, np.array(1.0), leaves)
    else:
        loss.backward()
        gradients = [t.grad.data for t in tensors]
    return float(loss.data), [w + sign * eta * g * move for w, g in zip(weights, gradients)]


def _descend_by_inner_product(attention, walk_back, X, Y, weights, H, eta):
    import checks
    import minigrad as mg

    tensors = [mg.Tensor(w, requires_grad=True) for w in weights]
    out = attention(X, *tensors, H)
    root, leaves = checks.graph(out, tensors)
    gradients = walk_back(root, 2 * (out.data - Y) / Y.size, leaves)  # the loss's own gradient by hand
    return ((out.data - Y) ** 2).mean(), [np.asarray(w) - np.asarray(g) * eta for w, g in zip(weights, gradients)]


WRONG = [
    ("check_06_attention_parameters", lambda C, H, H_kv: 4 * C * C, "biases"),
    ("check_06_attention_parameters", lambda C, H, H_kv: 3 * (C * C + C), "W_O is missing"),
    ("check_06_attention_parameters", lambda C, H, H_kv: 4 * (C * C + C), "fewer key heads"),
    ("check_06_attention_parameters", lambda C, H, H_kv: 3 * H * (C * C + C) + C * C + C, "share the width"),
    ("check_06_reorder_heads", _reorder(columns_of_out=True), "rows, not of columns"),
    ("check_06_reorder_heads", _reorder(out=False), "old order"),
    ("check_06_reorder_heads", _reorder(single=True), "single columns"),
    ("check_06_multi_head_attention", lambda *a: _layer(*a, width="C"), "not by √C"),
    ("check_06_multi_head_attention", lambda *a: _layer(*a, straight=True), "scrambled"),
    ("check_06_multi_head_attention", lambda *a: _layer(*a, mixed=False), "W_O is missing"),
    ("check_06_multi_head_attention", lambda *a: _layer(*a, mask=False), "no effect"),
    ("check_06_split_fused", lambda *a: _fused(*a, order="kind"), "each head has its three"),
    ("check_06_split_fused", lambda *a: _fused(*a, turned=False), "shape"),
    ("check_06_split_fused", lambda X, W, H: np.split((X @ W).reshape(len(X), H, -1).swapaxes(0, 1)[..., ::-1], 3, axis=-1), "entry"),
    ("check_06_split_fused", lambda *a: _fused(*a)[::-1], "query, key, value"),
    ("check_06_multi_head_attention", lambda *a: _masked(*a, allowed=lambda T: np.tri(T, dtype=bool).T), "transposed"),
    ("check_06_multi_head_attention", lambda *a: _masked(*a, allowed=lambda T: np.tri(T, k=-1, dtype=bool)), "look at itself"),
    ("check_06_multi_head_attention", lambda *a: _masked(*a, late=True), "after the softmax"),
    ("check_06_multi_head_attention", lambda *a: _masked(*a, floor=0), "e⁰ = 1"),
    ("check_06_multi_head_attention", lambda *a: _masked(*a, floor=-30), "lets a little through"),
    ("check_06_multi_head_attention", lambda *a: _masked(*a, floor=-1000), "too weak"),
    ("check_06_descend", lambda *a: _descend(*a, sign=1), "Uphill"),
    ("check_06_descend", lambda *a: _descend(*a, mean=False), "their sum"),
    ("check_06_descend", lambda *a: _descend(*a, own=False), "do not come from"),
    ("check_06_descend", lambda *a: _descend(*a, move=False), "has not moved"),
]

RIGHT = [
    ("check_06_split_fused", _fused_by_slices),
    ("check_06_split_fused", _fused_by_columns),
    ("check_06_attention_parameters", lambda C, H, G: (C + 1) * (2 * C + 2 * G * C // H)),
    ("check_06_attention_parameters", lambda C, H, G: sum(np.prod(s) for n in (C, G * C // H) for s in ((C, n), (n,)) for _ in range(2))),
    ("check_06_reorder_heads", _reordered_blocks),
    ("check_06_reorder_heads", _reordered_by_matrix),
    ("check_06_multi_head_attention", _masked),
    ("check_06_multi_head_attention", _heads_added),
    ("check_06_descend", _descend),
    ("check_06_descend", _descend_by_inner_product),
]
