"""What students answer to chapter 14: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

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


def _adapter_full(X, W, A, B, c, Y):
    """Through the whole update, (in, out)."""
    full = X.T @ Y
    return Y @ (W + c * A @ B).T, c * full @ B.T, c * A.T @ full


def _adapter_by_rows(X, W, A, B, c, Y):
    X_bar, A_bar, B_bar = np.zeros(X.shape), np.zeros(A.shape), np.zeros(B.shape)
    for x, y, out in zip(X, Y, X_bar):
        h = B @ y
        out[:] = W @ y + c * (A @ h)
        A_bar += c * np.outer(x, h)
        B_bar += c * np.outer(x @ A, y)
    return X_bar, A_bar, B_bar


def _rounded_by_spacing(x, digits):
    with np.errstate(divide="ignore"):
        step = 2.0 ** (np.floor(np.log2(np.abs(x))) - digits)
    step = np.where(x == 0, 1, step)
    return np.round(x / step) * step


def _rounded_by_bits(x, digits):
    """Adds what makes the low bits of a float64 carry into the ones that stay."""
    low = 52 - digits
    bits = np.ascontiguousarray(x, np.float64).view(np.int64)
    return (bits + (1 << (low - 1)) - 1 + (bits >> low & 1) >> low << low).view(np.float64)


def _groups_by_loop(W, g):
    out = np.zeros(W.shape)
    for i in range(0, len(W), g):
        for j in range(W.shape[1]):
            run = W[i : i + g, j]
            if run.any():
                s = max(abs(run)) / 127
                out[i : i + g, j] = [round(float(w / s)) * s for w in run]
    return out


def _groups_by_repeat(W, g):
    top = np.maximum.reduceat(np.abs(W), np.arange(0, len(W), g), axis=0).repeat(g, axis=0)
    return np.rint(127 * np.divide(W, top, out=np.zeros_like(W), where=top > 0)) / 127 * top


def _merge_by_weights(m1, l1, o1, m2, l2, o2):
    gap = np.where(np.isneginf(m1) & np.isneginf(m2), 0, np.abs(np.where(np.isneginf(m1), -1e300, m1) - np.where(np.isneginf(m2), -1e300, m2)))
    small, first = np.exp(-gap), m1 >= m2
    a, b = np.where(first, 1, small), np.where(first, small, 1)
    return np.where(first, m1, m2), a * l1 + b * l2, (a * o1.T + b * o2.T).T


def _merge_by_rows(m1, l1, o1, m2, l2, o2):
    rows = []
    for a, b in zip(zip(m1, l1, o1), zip(m2, l2, o2)):
        (m, l, o), (n, k, p) = (a, b) if a[0] >= b[0] else (b, a)
        f = np.exp(n - m) if k else 0.0
        rows.append((m, l + f * k, o + f * p))
    return [np.array(part) for part in zip(*rows)]


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
    ("check_14_adapter_gradients", _adapter_full, "was made on the way"),
    ("check_14_merge", lambda *a: _merge(*a)[:2], "three things"),
]

RIGHT = [
    ("check_14_training_flops", lambda n, p, L, C, T: 6 * n * L * p + 12 * n * L * T * C),
    ("check_14_training_flops", lambda n, p, L, C, T: float(sum(3 * (2 * p + 2 * (2 * T * C)) for _ in range(L)) * n)),
    ("check_14_round_to", _rounded_by_spacing),
    ("check_14_round_to", _rounded_by_bits),
    ("check_14_quantize_groups", _groups_by_loop),
    ("check_14_quantize_groups", _groups_by_repeat),
    ("check_14_adapter_gradients", _adapter_by_rows),
    ("check_14_adapter_gradients", lambda X, W, A, B, c, Y: [Y @ W.T + c * (Y @ B.T) @ A.T, X.T @ (Y @ B.T) * c, A.T @ X.T @ Y * c][:3]),
    ("check_14_merge", _merge_by_weights),
    ("check_14_merge", _merge_by_rows),
]
