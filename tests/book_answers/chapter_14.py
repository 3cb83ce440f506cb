"""What students answer to chapter 14: the name of the check, the wrong answer, and what the hint must say."""

import numpy as np


def _round_to(x, digits, rule=np.rint, offset=1):
    f, e = np.frexp(x)
    return np.ldexp(rule(f * 2.0 ** (digits + offset)), e - digits - offset)


def _away(x):
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


def _groups(W, g, top=127, rule=np.rint, back=True, guard=True, size=np.abs):
    groups = W.reshape(-1, g, W.shape[1])
    s = size(groups).max(axis=1, keepdims=True) / top
    s = np.where(s == 0, 1, s) if guard else s
    q = rule(groups / s)
    return (q * s if back else q).reshape(W.shape)


def _rows(W, g):
    return _groups(W.T, g).T if W.shape[1] % g == 0 else W


def _adapter(X, W, A, B, c, Y, through_w=True, through_ab=True, scale=True):
    s = c if scale else 1.0
    X_bar = through_w * (Y @ W.T) + through_ab * s * (Y @ B.T @ A.T)
    return X_bar, s * X.T @ (Y @ B.T), s * (X @ A).T @ Y


def _merge(m1, l1, o1, m2, l2, o2, sign=1, guard=True, divide=False, shift=True):
    m = np.maximum(m1, m2)
    low = np.where(np.isneginf(m), 0, m) if guard else m
    a, b = (np.exp(sign * (m1 - low)), np.exp(sign * (m2 - low))) if shift else (np.ones_like(m), np.ones_like(m))
    l, o = a * l1 + b * l2, a[:, None] * o1 + b[:, None] * o2
    return m, l, o / l[:, None] if divide else o


WRONG = [
    ("check_14_training_flops", lambda n, p, L, C, T: n * L * (2 * p + 4 * T * C), "forward pass alone"),
    ("check_14_training_flops", lambda n, p, L, C, T: 3 * n * L * (p + 4 * T * C), "two operations"),
    ("check_14_training_flops", lambda n, p, L, C, T: 3 * n * L * (2 * p + 2 * T * C), "QKᵀ and PV"),
    ("check_14_training_flops", lambda n, p, L, C, T: 6 * n * L * p, "Attention is missing"),
    ("check_14_training_flops", lambda n, p, L, C, T: 3 * n * (2 * p * L + 4 * T * C), "Every layer attends"),
    ("check_14_round_to", lambda x, d: _round_to(x, d, _away), "even neighbour"),
    ("check_14_round_to", lambda x, d: _round_to(x, d, np.trunc), "cut digits off"),
    ("check_14_round_to", lambda x, d: _round_to(x, d, offset=0), "too few"),
    ("check_14_round_to", lambda x, d: np.rint(x * 2.0**d) / 2.0**d, "after the binary point"),
    ("check_14_quantize_groups", lambda W, g: _groups(W, len(W)), "One scale for each column"),
    ("check_14_quantize_groups", lambda W, g: _groups(W, g, top=128), "not 128"),
    ("check_14_quantize_groups", lambda W, g: _groups(W, g, rule=np.trunc), "cut the fraction off"),
    ("check_14_quantize_groups", lambda W, g: _groups(W, g, back=False), "return the integers"),
    ("check_14_quantize_groups", lambda W, g: _groups(W, g, guard=False), "group of zeros"),
    ("check_14_adapter_gradients", lambda *a: _adapter(*a, through_ab=False), "through the adapter is missing"),
    ("check_14_adapter_gradients", lambda *a: _adapter(*a, through_w=False), "through W is missing"),
    ("check_14_adapter_gradients", lambda *a: _adapter(*a, scale=False), "factor c is missing"),
    ("check_14_adapter_gradients", lambda *a: _adapter(*a)[:2], "three gradients"),
    ("check_14_merge", lambda *a: _merge(*a, shift=False), "different maxima"),
    ("check_14_merge", lambda *a: _merge(*a, sign=-1), "Turned round"),
    ("check_14_merge", lambda *a: _merge(*a, divide=True), "very end"),
    ("check_14_merge", lambda *a: _merge(*a, guard=False), "saw no key on either machine"),
]
