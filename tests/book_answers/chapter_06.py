"""What students answer to chapter 06: the name of the check, the wrong answer, and what the hint must say."""

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


WRONG = [
    ("check_06_split_heads", lambda x, H: x.reshape(H, len(x), -1), "scrambled"),
    ("check_06_split_heads", lambda x, H: x.reshape(len(x), H, -1), "heads must come first"),
    ("check_06_split_heads", lambda x, H: x.reshape(len(x), -1, H).transpose(2, 0, 1), "side by side"),
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
]
