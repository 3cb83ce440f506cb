"""What students answer to chapter 14b: the check, the wrong answer and its hint; and unusual right answers."""

import numpy as np

# Rows for answers ----------------------------------------------------------------------------------------------------------


def _rows(pairs, pad, ignore, first=0, everything=False, shift=True, cut_own=True, by_pad=False):
    width = max(len(x) + len(y) for x, y in pairs)
    whole = np.array([[*x, *y] + [pad] * (width - len(x) - len(y)) for x, y in pairs])
    places = np.arange(width)
    starts, ends = np.array([[len(x)] for x, _ in pairs]), np.array([[len(x) + len(y)] for x, y in pairs])
    counts = (places >= (0 if everything else starts + first)) & (places < ends)
    if by_pad:
        counts &= whole != pad
    said = np.where(counts, whole, ignore)
    read = np.where(places < ends - 1, whole, pad) if cut_own else whole
    return read[:, :-1], said[:, 1:] if shift else said[:, :-1]


def _rows_from_lists(pairs, pad, ignore):
    width = max(len(x) + len(y) for x, y in pairs) - 1
    inputs = [(x + y[:-1] + [pad] * width)[:width] for x, y in pairs]
    targets = [([ignore] * (len(x) - 1) + y + [ignore] * width)[:width] for x, y in pairs]
    return inputs, targets


def _rows_by_places(pairs, pad, ignore):
    width = max(len(x) + len(y) for x, y in pairs) - 1
    inputs, targets = np.full((2, len(pairs), width), [[[pad]], [[ignore]]], dtype=np.int16)
    for b, (x, y) in enumerate(pairs):
        for t, token in enumerate(x + y[:-1]):
            inputs[b, t] = token
        for t, token in enumerate(y, start=len(x) - 1):
            targets[b, t] = token
    return [inputs, targets]


# Strengths -----------------------------------------------------------------------------------------------------------------


def _sigma(d):
    return np.where(d >= 0, 1, np.exp(-np.abs(d))) / (1 + np.exp(-np.abs(d)))


def _strengths(r, wins, sign=1, winners=True, losers=True, swap=1, count=True, mean=False):
    s = (wins if count else 1 - np.eye(len(r))) * _sigma(-swap * (r[:, None] - r[None, :]))
    out = sign * (losers * s.sum(axis=0) - winners * s.sum(axis=1))
    return out / wins.sum() if mean else out


def _strengths_overflowing(r, wins):
    e = np.exp(r)
    s = wins * e[None, :] / (e[:, None] + e[None, :])
    return s.sum(axis=0) - s.sum(axis=1)


def _strengths_by_games(r, wins):
    r_bar = np.zeros(len(r))
    for i, j in np.ndindex(wins.shape):
        push = wins[i, j] * (0.5 - 0.5 * np.tanh((r[i] - r[j]) / 2))
        r_bar[i] -= push
        r_bar[j] += push
    return r_bar


def _strengths_expected(r, wins):
    """What was expected to be won, less what was won."""
    games = wins + wins.T
    return (games * _sigma(r[:, None] - r)).sum(axis=1) - wins.sum(axis=1)


# The best model --------------------------------------------------------------------------------------------------------------


def _best(p, r, beta, turned=False, reference=True, keep=True, divide=True, drift="kl"):
    u = np.where(p > 0, (r - r[p > 0].max()) / (1 / beta if turned else beta), 0)
    if not keep:
        w = np.exp((r - r.max()) / beta)
        return w / w.sum(), 0.0
    w = (p if reference else (p > 0)) * np.exp(u)
    pi = w / w.sum()
    kl = pi @ u - np.log(w.sum())
    back = sum(a * (np.log(a) - np.log(max(b, 1e-300))) for a, b in zip(p, pi) if a)
    found = {"kl": kl, "back": back, "beta": beta * kl, "sign": -kl, "reward": pi @ r}[drift]
    return (pi if divide else pi * np.exp(kl)), found


def _best_overflowing(p, r, beta):
    w = p * np.exp(r / beta)
    pi = w / w.sum()
    return pi, (pi * np.log(pi / p)).sum()


def _best_by_logs(p, r, beta):
    with np.errstate(divide="ignore"):
        logs = np.log(p) + r / beta
    log_pi = logs - np.logaddexp.reduce(logs)
    pi = np.exp(log_pi)
    return pi, sum(q * (l - np.log(a)) for q, l, a in zip(pi, log_pi, p) if a)


def _best_among_possible(p, r, beta):
    places = np.flatnonzero(p)
    q, s = p[places], r[places]
    w = q * np.exp((s - max(s)) / beta)
    w /= w.sum()
    pi = np.zeros(len(p))
    pi[places] = w
    real = w > 0
    return [pi, float(np.sum(w[real] * np.log(w[real] / q[real])))]


# A rater who errs ------------------------------------------------------------------------------------------------------------


def _answer(z, y, masked=True, mean=False):
    log_p = z - z.max(axis=1, keepdims=True)
    log_p = log_p - np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    counts = y != -100
    one_hot = np.zeros(z.shape)
    one_hot[counts, y[counts]] = 1
    rows = one_hot - np.exp(log_p)
    rows = rows * counts[:, None] if masked else rows
    return log_p[counts, y[counts]].sum(), rows / counts.sum() if mean else rows


def _unsure(z_w, y_w, z_l, y_l, ref_w, ref_l, beta, eps, masked=True, mean=False, unsure=True, factor=True, sign=1, ref=True, turned=False, both=1):
    (u_w, rows_w), (u_l, rows_l) = _answer(z_w, y_w, masked, mean), _answer(z_l, y_l, masked, mean)
    m = beta * (u_w - u_l - ref * (ref_w - ref_l))
    share = (eps if turned else 1 - eps) if unsure else 1
    g = sign * (beta if factor else 1) * (_sigma(m) - share)
    return g * rows_w, -both * g * rows_l


def _unsure_overflowing(z_w, y_w, z_l, y_l, ref_w, ref_l, beta, eps):
    (u_w, rows_w), (u_l, rows_l) = _answer(z_w, y_w), _answer(z_l, y_l)
    e = np.exp(beta * (u_l - ref_l - u_w + ref_w))
    g = beta * (-(1 - eps) * e + eps) / (1 + e)
    return g * rows_w, -g * rows_l


def _unsure_by_places(z_w, y_w, z_l, y_l, ref_w, ref_l, beta, eps):
    def read(z, y):
        u, rows = 0.0, []
        for scores, target in zip(z, y):
            e = np.exp(scores - max(scores))
            row = -e / e.sum() if target >= 0 else 0 * e
            if target >= 0:
                row[target] += 1
                u += scores[target] - max(scores) - np.log(e.sum())
            rows.append(row)
        return u, np.array(rows)

    (u_w, rows_w), (u_l, rows_l) = read(z_w, y_w), read(z_l, y_l)
    m = beta * ((u_w - ref_w) - (u_l - ref_l))
    g = beta * (0.5 * np.tanh(m / 2) - 0.5 + eps)
    return [g * rows_w, -g * rows_l]


def _unsure_as_two_losses(*given):
    """The loss of the choice, and that of the opposite one, weighted."""
    z_w, y_w, z_l, y_l, ref_w, ref_l, beta, eps = given
    right = _unsure(*given[:-1], 0.0)
    wrong = _unsure(z_l, y_l, z_w, y_w, ref_l, ref_w, beta, 0.0)
    return (1 - eps) * right[0] + eps * wrong[1], (1 - eps) * right[1] + eps * wrong[0]


WRONG = [
    ("check_14b_answer_rows", lambda *a: _rows(*a, everything=True), "targets too"),
    ("check_14b_answer_rows", lambda *a: _rows(*a, first=1), "first token of the answer is lost"),
    ("check_14b_answer_rows", lambda *a: _rows(*a, first=-1), "too many counts"),
    ("check_14b_answer_rows", lambda *a: _rows(*a, shift=False), "shifted by one"),
    ("check_14b_answer_rows", lambda *a: _rows(*a, cut_own=False), "its own last token"),
    ("check_14b_answer_rows", lambda *a: _rows(*a, by_pad=True), "still counts"),
    ("check_14b_answer_rows", lambda *a: _rows(*a)[0], "two things"),
    ("check_14b_strengths_backward", lambda *a: _strengths(*a, sign=-1), "sign is wrong"),
    ("check_14b_strengths_backward", lambda *a: _strengths(*a, losers=False), "moves both"),
    ("check_14b_strengths_backward", lambda *a: _strengths(*a, winners=False), "Only the losers"),
    ("check_14b_strengths_backward", lambda *a: _strengths(*a, swap=-1), "σ(d) for σ(−d)"),
    ("check_14b_strengths_backward", lambda *a: _strengths(*a, mean=True), "not a mean"),
    ("check_14b_strengths_backward", lambda *a: _strengths(*a, count=False), "multiply by wins"),
    ("check_14b_strengths_backward", _strengths_overflowing, "overflows"),
    ("check_14b_best_policy", lambda *a: _best(*a, turned=True), "divided by β"),
    ("check_14b_best_policy", lambda *a: _best(*a, reference=False), "reference is missing"),
    ("check_14b_best_policy", lambda *a: _best(*a, divide=False), "add up to 1"),
    ("check_14b_best_policy", lambda *a: _best(*a, drift="back"), "mean is over π*"),
    ("check_14b_best_policy", lambda *a: _best(*a, drift="beta"), "β times the KL"),
    ("check_14b_best_policy", lambda *a: _best(*a, drift="sign"), "never negative"),
    ("check_14b_best_policy", _best_overflowing, "NaN or an infinity"),
    ("check_14b_unsure_backward", lambda *a: _unsure(*a, unsure=False), "ε is missing"),
    ("check_14b_unsure_backward", lambda *a: _unsure(*a, factor=False), "β is missing"),
    ("check_14b_unsure_backward", lambda *a: _unsure(*a, sign=-1), "sign is wrong"),
    ("check_14b_unsure_backward", lambda *a: _unsure(*a, both=-1), "lowers the other"),
    ("check_14b_unsure_backward", lambda *a: _unsure(*a, ref=False), "reference is missing"),
    ("check_14b_unsure_backward", lambda *a: _unsure(*a, turned=True), "changed places"),
    ("check_14b_unsure_backward", lambda *a: _unsure(*a, masked=False), "row of the gradient is 0"),
    ("check_14b_unsure_backward", lambda *a: _unsure(*a, mean=True), "not the mean"),
    ("check_14b_unsure_backward", _unsure_overflowing, "overflow"),
]

RIGHT = [
    ("check_14b_answer_rows", _rows_from_lists),
    ("check_14b_answer_rows", _rows_by_places),
    ("check_14b_strengths_backward", _strengths_by_games),
    ("check_14b_strengths_backward", _strengths_expected),
    ("check_14b_best_policy", _best_by_logs),
    ("check_14b_best_policy", _best_among_possible),
    ("check_14b_unsure_backward", _unsure_by_places),
    ("check_14b_unsure_backward", _unsure_as_two_losses),
]
