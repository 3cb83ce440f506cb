"""Derivatives by hand."""

import numpy as np

from .verdict import Wrong, ask, check, numbers, pair, same


@check
def check_01_second_difference(answer):
    for f, name, x, h in [
        (lambda x: x**2, "f(x) = x²", 3.0, 1e-3),
        (lambda x: x**3, "f(x) = x³", 2.0, 0.01),
        (np.sin, "f = sin", 0.5, 0.3),
        (np.exp, "f = exp", -1.0, 0.5),
    ]:
        up, mid, down = f(x + h), f(x), f(x - h)
        right = (up - 2 * mid + down) / h**2
        hints = {
            "Subtract 2 f(x), not f(x): there is one for f(x + h) and one for f(x − h).": (up - mid + down) / h**2,
            "Divide by h², not by h: the sum of the two Taylor formulas has h² in front of f''.": (up - 2 * mid + down) / h,
            "Divide by h², not by 4h²: x + h and x − h are one step from x, not two from each other.": (up - 2 * mid + down) / (4 * h**2),
            "This is the first derivative; add the two Taylor formulas instead of subtracting them.": (up - down) / (2 * h),
        }
        same(ask(answer, f, x, h), right, "the estimate of f''(x)", hints, 1e-8, f"{name}, x = {x}, h = {h}")
    return "It is exact for parabolas, and its error for sin is about h² f''''/12."


@check
def check_01_logistic_backward(answer):
    for w, b, x, t in [(0.5, -0.3, 2.0, 1), (-1.2, 0.4, 0.7, -1), (0.0, 0.0, 3.0, 1), (4.0, 1.0, 5.0, 1), (1.5, 0.2, 1.1, -1)]:
        s = 1 / (1 + np.exp(t * (w * x + b)))
        got = numbers(list(pair(ask(answer, w, b, x, t))))
        hints = {
            "The sign is wrong: u = −t y, so y_bar = −t · u_bar.": [t * s * x, t * s],
            "w_bar lacks the factor x: in y = w x + b the slope by w is x.": [-t * s, -t * s],
            "The factor −t is missing: the chain goes through u = −t y.": [s * x, s],
            "This is sigmoid(+t y), the right answers' share; the slope is −t · sigmoid(−t y).": [-t * (1 - s) * x, -t * (1 - s)],
            "w and b are swapped: return w_bar first.": [-t * s, -t * s * x],
        }
        same(got, [-t * s * x, -t * s], "(w_bar, b_bar)", hints, at=f"w = {w}, b = {b}, x = {x}, t = {t}")
    return "The slope is the probability of the wrong answer, times −t: a neuron that is right and sure hardly learns."


@check
def check_01_layer_backward(answer):
    rng = np.random.default_rng(1)
    for n, i, o in [(3, 2, 4), (3, 3, 3), (1, 2, 2), (2, 3, 1)]:  # different sizes find a wrong order; the square one, a lucky shape
        Y_bar, X, W, b = rng.normal(size=(n, o)), rng.normal(size=(n, i)), rng.normal(size=(i, o)), rng.normal(size=o)
        got = ask(answer, Y_bar, X, W, b)
        if not isinstance(got, tuple | list) or len(got) != 3:
            raise Wrong("Return three arrays: X_bar, W_bar, b_bar.")
        at = f"N = {n}, I = {i}, O = {o}"
        same(got[0], Y_bar @ W.T, "X_bar", {"X_bar = Y_bar Wᵀ: the transpose is missing.": Y_bar @ W if i == o else np.nan}, at=at)
        same(got[1], X.T @ Y_bar, "W_bar", {
            "This is the transpose of W_bar: W_bar = Xᵀ Y_bar, in the shape of W.": Y_bar.T @ X,
            "W_bar = Xᵀ Y_bar: the transpose is missing.": X @ Y_bar if n == i else np.nan,
        }, at=at)  # fmt: skip
        same(got[2], Y_bar.sum(axis=0), "b_bar", {
            "b was added to every row, so the rows of Y_bar must be summed: b_bar has the shape of b.": Y_bar,
            "Sum, do not average: each row adds its own path to b.": Y_bar.mean(axis=0),
            "You summed along the wrong axis: b has one entry for each output, so the sum runs over the examples, axis 0.": Y_bar.sum(axis=1),
            "One number for each output is wanted: sum over axis 0 only.": Y_bar.sum(),
            "The sum over the rows must have the shape of b, without a first axis of size 1.": Y_bar.sum(axis=0, keepdims=True),
        }, at=at)  # fmt: skip
    return "All three have the shapes of their variables and the right numbers: what is broadcast forward is summed backward."


@check
def check_01_directional_check(answer):
    rng = np.random.default_rng(2)
    for shape, h in [((2, 3), 1e-6), ((4,), 0.1), ((2, 1, 2), 0.3)]:
        w, v = rng.normal(size=shape), rng.normal(size=shape)
        calls = []

        def L(w, calls=calls):
            calls.append(np.array(w))
            return np.sum(np.sin(w) * w + np.exp(w) / 3)

        w_bar = np.sin(w) + w * np.cos(w) + np.exp(w) / 3
        got = ask(answer, L, w, w_bar, v, h)
        used = len(calls)
        slope, claim = pair(got)
        up, here, down = L(w + h * v), L(w), L(w - h * v)
        right, at = (up - down) / (2 * h), f"w of shape {shape}, h = {h}"
        hints = {
            "Divide by 2h: the two points are 2h apart.": right * 2,
            "This is the forward difference; the central one takes one point on each side, and its error is of order h².": (up - here) / h,
            "This is the backward difference; the central one takes one point on each side, and its error is of order h².": (here - down) / h,
            "The sign: the value behind is subtracted from the value ahead.": -right,
        }
        if h > 0.01:
            step = v / np.linalg.norm(v)
            hints |= {
                "Step along v itself, not along its unit vector.": (L(w + h * step) - L(w - h * step)) / (2 * h),
                "Step along v; a step h in every entry is the direction of ones.": (L(w + h) - L(w - h)) / (2 * h),
            }
        same(slope, right, "the slope along v", hints, 1e-9 if h > 0.01 else 1e-7, at)
        said = np.sum(w_bar * v)
        hints = {
            "Sum the products of all entries: one number.": w_bar * v,
            "Multiply w_bar by v.": w_bar.sum(),
            "This is a mean, not a sum.": said / w.size,
        }
        same(claim, said, "what the gradient says", hints, at=at)
        if used > 2:
            raise Wrong(f"The numbers are right, but L was evaluated {used} times; two are enough, whatever the size of w.")
        same(pair(ask(answer, L, w, 0 * w_bar, v))[1], 0.0, "what a gradient of zeros says")
    return f"Two evaluations, {right:.6f} against {float(said):.6f} with a large step: the same would do for a million weights."


@check
def check_01_richardson(answer):
    for f, right, x, name in [(np.exp, np.exp(1.0), 1.0, "f = exp"), (np.sin, np.cos(0.7), 0.7, "f = sin")]:
        h = 0.1

        def central(h, f=f, x=x):
            return (f(x + h) - f(x - h)) / (2 * h)

        one, half = central(h), central(h / 2)
        hints = {
            "This is C(h/2) alone: better than C(h), but still of order h².": half,
            "The mean of the two does not cancel h²: C(h/2) has a quarter of its error, so it needs the weight 4.": (one + half) / 2,
            "The weights 2 and −1 cancel an error of order h; that of C is of order h²: C(h/2) has a quarter of it.": 2 * half - one,
            "The weights are swapped: C(h/2) gets 4, C(h) gets −1.": (4 * one - half) / 3,
            "Divide by 3: the weights 4 and −1 add up to 3.": 4 * half - one,
        }
        got = ask(answer, f, x, h)
        same(got, (4 * half - one) / 3, "f'(x)", hints, 1e-8, f"{name}, x = {x}, h = {h}")
        error, plain = abs(float(got) - right), abs(one - right)
    return f"With h = {h} the error for sin falls from {plain:.0e} to {error:.0e}."

