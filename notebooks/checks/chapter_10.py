"""Training well."""

import numpy as np

import minigrad as mg

from .verdict import Wrong, ask, check, close, diagnosed, extreme, finite, numbers, same, several, softmax, tolerance


@check
def check_10_clipped(answer):
    rng = np.random.default_rng(1)
    large, paper, small = [rng.normal(size=(2, 3)), rng.normal(size=4) * 5], [np.array([3.0]), np.array([4.0])], [np.array([0.3, 0.4])]
    zero = [np.zeros(2), np.zeros((1, 3))]
    for gradients, limit in [(large, 2.0), (paper, 1.0), (small, 1.0), (zero, 1.0)]:
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        right = [g * min(1.0, limit / max(norm, 1e-300)) for g in gradients]
        got = ask(lambda *arrays, limit=limit: answer(list(arrays), limit), *gradients)
        if not isinstance(got, list | tuple) or len(got) != len(gradients):
            raise Wrong(f"Return a list of {len(gradients)} arrays, as many as came in.")

        def flat(arrays):
            return np.concatenate([np.ravel(a) for a in arrays])

        hints = {
            "Small gradients stay as they are: the factor is never above 1.": [g * limit / norm for g in gradients],
            "Each array was clipped by its own norm, which turns the direction: use the joint norm of all.": [
                g * min(1.0, limit / np.linalg.norm(g)) for g in gradients
            ],
            "Entries were cut one by one, which turns the direction: multiply all by one factor.": [np.clip(g, -limit, limit) for g in gradients],
            "The norm is the root of the sum of squares; the root is missing.": [g * min(1.0, limit / norm**2) for g in gradients],
            "The norms of the arrays were added; add their squares, then take the root.": [
                g * min(1.0, limit / sum(np.linalg.norm(h) for h in gradients)) for g in gradients
            ],
        }
        if norm == 0 and np.isnan(flat(got)).any():
            raise Wrong("Gradients that are all 0 become NaN: their norm is 0, and you divide by it. They should stay as they are.")
        at = f"a joint norm of {norm:.3g} and limit {limit:g}"
        same(flat(got), flat(right), "all gradients, one after the other,", {h: flat(w) for h, w in hints.items()}, rtol=1e-5, at=at)
    return "The direction is untouched: only the length of the step is limited."


@check
def check_10_warmup_linear(answer):
    for top, w, n in [(1.0, 4, 12), (0.003, 10, 100), (2.0, 1, 3)]:
        for s in (0, 1, w - 1, w, w + 1, (w + n) // 2, n):
            right = top * (s + 1) / w if s < w else top * (n - s) / (n - w)
            hints = {
                "The first step has the rate top/w, not 0: the numerator is s + 1.": top * s / w if s < w else right,
                "The fall runs from s = w to s = n, not from s = 0: divide by n − w.": right if s < w else top * (n - s) / n,
                "In the fall, count from the end of the warm-up: s − w steps have passed, not s.": right if s < w else top * (1 - s / (n - w)),
                "This is the cosine; a straight line was asked for.": right if s < w else top / 2 * (1 + np.cos(np.pi * (s - w) / (n - w))),
                "After the warm-up the rate should fall.": right if s < w else top,
            }
            same(ask(answer, s, top, w, n), right, "the rate", hints, at=f"s = {s}, top = {top:g}, w = {w}, n = {n}")
    return "Rising, then falling: BERT was trained so."


def _adam(theta, g, m, v, t, eta, b1, b2, eps, correct=True, square=True, inside=False, keep_hat=False, up=False, t0=0):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * (g**2 if square else g)
    mh, vh = (m / (1 - b1 ** (t + t0)), v / (1 - b2 ** (t + t0))) if correct else (m, v)
    with np.errstate(invalid="ignore", divide="ignore"):
        move = eta * mh / (np.sqrt(vh + eps) if inside else np.sqrt(vh) + eps)
    return theta + move if up else theta - move, mh if keep_hat else m, vh if keep_hat else v


@check
def check_10_adam_step(answer):
    rng = np.random.default_rng(2)
    efficient = False
    for t, scale, b2, eps in [(1, 0.0, 0.95, 1e-8), (2, 1.0, 0.95, 1e-8), (50, 1.0, 0.99, 1e-8), (3, 1.0, 0.95, 1e-2), (1, 0.0, 0.999, 0.1)]:
        theta, g = rng.normal(size=3), rng.normal(size=3)
        m, v = scale * rng.normal(size=3) * 0.3, scale * rng.random(3)
        given = (theta, g, m, v, t, 0.1, 0.9, b2, eps)
        got = several(ask(answer, *given), "theta, m and v")
        right, at = _adam(*given), f"t = {t}, β₂ = {b2:g}, ε = {eps:g}"
        mix = {"The shares are swapped: the old mean keeps β, the new gradient gets 1 − β.": 0.1 * m + 0.9 * g}
        hat = {"Remember the mean without its hat: the correction is for this step only.": _adam(*given, keep_hat=True)[1]}
        same(got[1], right[1], "the new m", mix | hat, at=at)
        hints = {
            "v is the mean of the squares: g², not g.": _adam(*given, square=False)[2],
            "v has its own share, β₂.": 0.9 * v + 0.1 * g**2,
            "Remember the mean without its hat: the correction is for this step only.": _adam(*given, keep_hat=True)[2],
        }
        same(got[2], right[2], "the new v", hints, at=at)
        rate = 0.1 * np.sqrt(1 - b2**t) / (1 - 0.9**t)  # Kingma & Ba, end of section 2: the corrections in the rate
        other = theta - rate * right[1] / (np.sqrt(right[2]) + eps)
        hints = {
            "The bias correction is missing.": _adam(*given, correct=False)[0],
            "The bias correction raises β to the power t, with t = 1 at the first step.": _adam(*given, t0=1)[0],
            "ε is added after the root, not under it.": _adam(*given, inside=True)[0],
            "Uphill: the step is subtracted.": _adam(*given, up=True)[0],
            "The root of v̂ is missing.": theta - 0.1 * (right[1] / (1 - 0.9**t)) / (right[2] / (1 - b2**t) + eps),
            "Only m is corrected; v has a hat too.": theta - 0.1 * (right[1] / (1 - 0.9**t)) / (np.sqrt(right[2]) + eps),
            "Only v is corrected; m has a hat too.": theta - 0.1 * right[1] / (np.sqrt(right[2] / (1 - b2**t)) + eps),
        }
        mine = numbers(got[0], "the new theta")
        if eps > 1e-3 and mine.shape == other.shape and close(mine.astype(float), other, tolerance(mine, 1e-9)):
            efficient = True
            continue
        same(got[0], right[0], "the new theta", hints, 1e-6 if eps < 1e-3 else 1e-9, at)
    if efficient:
        return (
            "This is Kingma & Ba's efficient form. Its ε weighs 1/√(1 − β₂ᵗ) times as much as the one beside v̂: "
            "the same for an ε as small as 1e-8, and not for a large one."
        )
    return "The same numbers as minigrad.optim.Adam, and as PyTorch."


@check
def check_10_smooth_backward(answer):
    rng = np.random.default_rng(3)
    for n, classes, eps in [(3, 4, 0.1), (2, 5, 0.3), (4, 3, 0.0), (1, 2, 0.2)]:
        x, t = rng.normal(size=(n, classes)), rng.integers(0, classes, n)
        e = np.exp(x)
        p, one = e / e.sum(axis=-1, keepdims=True), np.eye(classes)[t]
        target = (1 - eps) * one + eps / classes
        at = f"N = {n}, V = {classes}, ε = {eps}"
        hints = {
            "This is the gradient without label smoothing.": (p - one) / n,
            "The mean over the N rows is missing.": p - target,
            "Every class gets ε/V, and the truth gets 1 − ε more: your target gives the others ε/(V − 1) and the truth 1 − ε.": (
                p - np.where(one == 1, 1 - eps, eps / (classes - 1))
            )
            / n,
            "The truth gets 1 − ε + ε/V; the ε/V is missing there.": (p - np.where(one == 1, 1 - eps, eps / classes)) / n,
            "The sign: model minus target.": (target - p) / n,
        }
        got = ask(answer, x, t, eps)
        same(got, (p - target) / n, "the gradient", hints, rtol=1e-7, at=at)
        diagnosed(lambda x, t=t, eps=eps: mg.cross_entropy(x, t, label_smoothing=eps), {"x": x}, {"x": got}, at=at)
    x, t = extreme(rng, 4, 5)[1] * 50, np.array([0, 1, 2, 3, 0])
    got = ask(answer, x, t, 0.1)
    finite(got, "the gradient")
    same(got, (softmax(x) - 0.9 * np.eye(4)[t] - 0.025) / 5, "the gradient", at="scores of ±10 000")
    return "It vanishes where the model says exactly the smooth target, with finite logits."


@check
def check_10_distance_moved(answer):
    for mu, n in [(0.5, 1), (0.5, 4), (0.9, 30), (0.0, 7), (0.95, 12), (0.75, 2)]:
        v, total = 0.0, 0.0
        for _ in range(n):
            v = mu * v + 1
            total += v
        hints = {
            "This is the last velocity; add up all n of them.": v,
            "This counts 1/(1 − μ) from the first step on; the velocity has to grow first.": n / (1 - mu),
            "This is the distance without momentum.": n,
        }
        same(ask(answer, mu, n), total, "the distance", hints, at=f"μ = {mu}, n = {n}")
    return "For many steps it approaches n/(1 − μ) less a fixed delay of μ/(1 − μ)²."
