"""From next word to assistant, in small."""

import numpy as np

import minigrad as mg

from .verdict import Wrong, ask, check, diagnosed, numbers, pair, same, softmax

PAIRS = [
    ([([5, 3, 8], [2, 7])], 0, -100),
    ([([5, 3, 8], [2, 7]), ([6], [1, 4, 9, 9]), ([0, 2], [0])], 0, -100),
    ([([3], [3]), ([1, 2, 3, 4], [3])], 3, -1),
    ([([2], [5, 6]), ([7], [2])], 9, -100),
]


def _whole(pairs, pad, left=False):
    longest = max(len(x) + len(y) for x, y in pairs)
    rows = np.full((len(pairs), longest), pad)
    for row, (x, y) in zip(rows, pairs, strict=True):
        at = longest - len(x) - len(y) if left else 0
        row[at : at + len(x) + len(y)] = [*x, *y]
    return rows


def _rows(pairs, pad, ignore, start=0, shift=True, everything=False):
    whole = _whole(pairs, pad)
    places = np.arange(whole.shape[1])
    begins, ends = (np.array(sizes)[:, None] for sizes in zip(*((len(x), len(x) + len(y)) for x, y in pairs), strict=True))
    counts = (places >= (0 if everything else begins + start)) & (places < ends)
    said = np.where(counts, whole, ignore)
    return np.where(places < ends - 1, whole, pad)[:, :-1], said[:, 1:] if shift else said[:, :-1]


@check
def check_14b_answer_rows(answer):
    for pairs, pad, ignore in PAIRS:
        inputs, targets = pair(ask(answer, pairs, pad, ignore))
        at = f"pairs = {pairs}, pad = {pad}, ignore = {ignore}"
        right = _rows(pairs, pad, ignore)
        whole = _whole(pairs, pad)
        unread = right[0].copy()
        for row, (x, _) in zip(unread, pairs, strict=True):
            row[len(x) :] = pad
        same(inputs, right[0], "inputs", {
            "The last token of a row is not read: nothing comes after it.": whole,
            "The last token of the longest row is cut off, but each row lacks its own last token.": whole[:, :-1],
            "Pad on the right, not on the left.": _whole(pairs, pad, left=True)[:, :-1],
            "The model reads the answer as well: each token of it has to say the next one.": unread,
        }, at=at)  # fmt: skip
        same(targets, right[1], "targets", {
            "The tokens of the prompt are targets too; they should be `ignore`.": _rows(pairs, pad, ignore, everything=True)[1],
            "The first token of the answer is lost: the last token of the prompt has to say it.": _rows(pairs, pad, ignore, start=1)[1],
            "One token of the prompt too many counts: its last one is said by the place before.": _rows(pairs, pad, ignore, start=-1)[1],
            "Targets are shifted by one: place t has to say token t + 1.": _rows(pairs, pad, ignore, shift=False)[1],
            "Where a row is padded, the target should be `ignore`, not `pad`.": np.where(
                np.arange(right[1].shape[1]) >= np.array([[len(x) + len(y) - 1] for x, y in pairs]), pad, right[1]
            ),
            "A token of the answer that equals `pad` still counts: go by the lengths.": np.where(right[1] == pad, ignore, right[1]),
        }, at=at)  # fmt: skip
        for array, what in ((inputs, "inputs"), (targets, "targets")):
            if numbers(array).dtype.kind == "f" and (numbers(array) % 1).any():
                raise Wrong(f"{what} should be whole numbers: they are ids.")
    return "The prompt is read, and only the answer is asked for."


def _sigma(d):
    return np.exp(-np.logaddexp(0, -d))


@check
def check_14b_strengths_backward(answer):
    rng = np.random.default_rng(0)
    for n, size in ((2, 1.0), (5, 2.0), (4, 1000.0)):
        r, wins = np.rint(rng.permutation(n) / (n - 1) * size * 8) / 8, rng.integers(1, 6, (n, n)).astype(float)
        np.fill_diagonal(wins, 0)
        d = r[:, None] - r[None, :]
        lost = wins * _sigma(-d)
        right = lost.sum(axis=0) - lost.sum(axis=1)
        got = ask(answer, r, wins)
        at = f"{n} answers with strengths up to {np.abs(r).max():.4g}"
        if numbers(got).shape == right.shape and not np.isfinite(numbers(got)).all():
            raise Wrong(f"For {at} there is a NaN in yours: e^d overflows. σ(−d) is exp(−np.logaddexp(0, d)), which does not.")
        swapped = wins * _sigma(d)
        same(got, right, "r_bar", {
            "The sign is wrong: to win should push a strength up, and the step goes against the gradient.": -right,
            "A pair moves both: the loser's strength goes down as much as the winner's goes up.": -lost.sum(axis=1),
            "Only the losers are moved; the winner's strength goes up as much.": lost.sum(axis=0),
            "σ(d) for σ(−d): a win that was expected should push little, a surprise much.": swapped.sum(axis=0) - swapped.sum(axis=1),
            "The loss is a sum over all games, not a mean.": right / max(wins.sum(), 1),
            "How often i was preferred to j is missing: multiply by wins.": _sigma(-d).sum(axis=0) - _sigma(-d).sum(axis=1),
        }, at=at)  # fmt: skip
        if size < 100:
            loss = lambda r, wins=wins: (mg.log(1 + mg.exp(r.reshape(1, -1) - r.reshape(-1, 1))) * wins).sum()  # noqa: E731
            diagnosed(loss, {"r": r}, {"r": got}, at=at)
    return "The entries add up to 0: only differences of strengths are ever seen."


def _best(p, r, beta):
    possible = p > 0
    u = np.where(possible, (r - r[possible].max()) / beta, 0)
    weight = p * np.exp(u)
    return weight / weight.sum(), float((weight * u).sum() / weight.sum() - np.log(weight.sum()))


@check
def check_14b_best_policy(answer):
    rng = np.random.default_rng(1)
    for n, beta, zeros in ((2, 1.0, 0), (6, 0.5, 0), (6, 3.0, 2), (5, 1e-4, 2), (4, 0.25, 3)):
        p, r = softmax(rng.normal(size=n)), np.rint(rng.normal(size=n) * 16) / 16
        p[rng.permutation(n)[:zeros]] = 0
        p /= p.sum()
        if zeros:
            r[p == 0] += 5  # what is impossible would be the best
        at = f"p_ref = {np.round(p, 4)}, r = {r}, beta = {beta}"
        pi, drift = pair(ask(answer, p, r, beta))
        right, kl = _best(p, r, beta)
        pi = numbers(pi, "π*")
        if pi.shape == right.shape and not (np.isfinite(pi).all() and np.isfinite(numbers(drift, "the KL")).all()):
            raise Wrong(
                f"There is a NaN or an infinity in yours for {at}: subtract the largest reward among the possible answers "
                "before the exponential, and take no logarithm of 0."
            )
        with np.errstate(all="ignore"):
            free = np.where(p > 0, 1.0, 0)
            plain = softmax(r / beta)
            hints = {
                "The reward is divided by β, not multiplied: a small β lets the reward rule.": _best(p, r, 1 / beta)[0],
                "The reference is missing: π* is π_ref times e^(r/β).": _best(free, r, 1.0 * beta)[0],
                "An answer that the reference never gives stays at 0.": plain,
                "That does not add up to 1: divide by Z.": right * np.exp(kl),
            }
            same(pi, right, "π*", hints, at=at)
            real = right > 0
            ratio = np.log(right[real] / p[real])
            back = float((p[p > 0] * (np.log(p[p > 0]) - np.log(np.maximum(right[p > 0], 1e-300)))).sum())
            drifts = {
                "KL(π_ref ‖ π*): the mean is over π*, the first of the two.": back,
                "That is β times the KL.": beta * kl,
                "A KL is never negative; the sign is wrong.": -kl,
                "That is the mean reward.": float(right @ r),
                "The mean of the log-ratio is weighted with π*.": float(ratio.mean()),
            }
            same(drift, kl, "the KL", drifts, at=at, scale=1e-3)
    return "No reward model, no search: the best answer to a known reward is a softmax."


def _log_pi(z, y):
    counts = y != -100
    p = softmax(z)
    one_hot = np.eye(z.shape[1])[np.where(counts, y, 0)] * counts[:, None]
    log_p = z - z.max(axis=1, keepdims=True)
    log_p = log_p - np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    return (log_p * one_hot).sum(), one_hot - p * counts[:, None], one_hot - p


@check
def check_14b_unsure_backward(answer):
    rng = np.random.default_rng(2)
    cases = [(3, 4, 5, 0.5, 0.1, 0), (2, 2, 3, 2.0, 0.0, 0), (5, 3, 4, 0.3, 0.3, 0), (3, 3, 4, 1.0, 0.2, 1000), (3, 4, 4, 1.0, 0.2, -1000)]
    for t_w, t_l, n, beta, eps, far in cases:
        size = 400 if far else 1.0
        z_w, z_l = rng.normal(size=(t_w, n)), rng.normal(size=(t_l, n))
        y_w, y_l = rng.integers(0, n, t_w), rng.integers(0, n, t_l)
        y_w[0] = y_l[0] = -100
        if t_w > 3:
            y_w[-1] = -100
        y_l[-1] = n - 1
        z_w, z_l = np.rint(z_w * size * 16) / 16, np.rint(z_l * size * 16) / 16
        ref_w, ref_l = np.rint(rng.normal(size=2) * 16) / 16
        if far:  # a margin of about that
            ref_w = np.rint(_log_pi(z_w, y_w)[0] - _log_pi(z_l, y_l)[0] + ref_l - far / beta)
        z_w_bar, z_l_bar = pair(ask(answer, z_w, y_w, z_l, y_l, ref_w, ref_l, beta, eps))
        (u_w, rows_w, open_w), (u_l, rows_l, open_l) = _log_pi(z_w, y_w), _log_pi(z_l, y_l)
        m = beta * (u_w - ref_w - u_l + ref_l)
        m_bar = _sigma(m) - (1 - eps)
        at = f"answers of {t_w} and {t_l} places, β = {beta}, ε = {eps}, m = {m:.4g}"
        for got, rows, free, sign, what in ((z_w_bar, rows_w, open_w, 1, "z_w_bar"), (z_l_bar, rows_l, open_l, -1, "z_l_bar")):
            got = numbers(got, what)
            right = sign * beta * m_bar * rows
            if got.shape == right.shape and not np.isfinite(got).all():
                raise Wrong(f"There is a NaN in your {what} for {at}: let no exponential overflow, of logits or of m; np.logaddexp helps.")
            factor = {
                "ε is missing: that is the gradient for a rater who never errs.": -_sigma(-m),
                "β is missing: m is β times a difference, so it comes back as a factor.": m_bar / beta,
                "The sign is wrong here: a step against the gradient lifts the preferred answer and lowers the other.": -m_bar,
                "The reference is missing in m.": _sigma(beta * (u_w - u_l)) - (1 - eps),
                "ε and 1 − ε have changed places.": _sigma(m) - eps,
                "σ(m) for σ(−m): a pair that the model gets right should push little.": -(1 - eps) * _sigma(m) + eps * _sigma(-m),
                "The mistaken share pulls the other way: its part has the opposite sign.": -(1 - eps) * _sigma(-m) - eps * _sigma(m),
            }
            hints = {words: sign * beta * wrong * rows for words, wrong in factor.items()}
            hints["Where the target is −100, the row of the gradient is 0."] = sign * beta * m_bar * free
            places = max(1, np.abs(rows).any(axis=1).sum())
            hints["Divided by the number of tokens: ln π of an answer is the sum over its places, not the mean."] = right / places
            same(got, right, what, hints, at=at, scale=1e-6)
        if not far:
            _by_diagnosis(z_w, y_w, z_l, y_l, ref_w, ref_l, beta, eps, z_w_bar, z_l_bar, at)
    return "Past the margin ln((1 − ε)/ε) the loss pulls back: certainty is not rewarded."


def _by_diagnosis(z_w, y_w, z_l, y_l, ref_w, ref_l, beta, eps, z_w_bar, z_l_bar, at):
    def loss(z_w, z_l):
        u_w, u_l = (-mg.cross_entropy(z, y, -100, reduction="none").sum() for z, y in ((z_w, y_w), (z_l, y_l)))
        m = beta * (u_w - ref_w - u_l + ref_l)
        return (1 - eps) * mg.log(1 + mg.exp(-m)) + eps * mg.log(1 + mg.exp(m))

    diagnosed(loss, {"z_w": z_w, "z_l": z_l}, {"z_w": z_w_bar, "z_l": z_l_bar}, at=at)
