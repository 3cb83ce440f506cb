"""The block."""

import numpy as np

import minigrad as mg

from .verdict import ask, check, diagnosed, same, several


@check
def check_08_add_and_norm(answer):
    x = np.random.default_rng(1).normal(size=(3, 4))

    def f(x):
        return np.sin(3 * x)

    def norm(x):
        return (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True)

    post, pre = norm(x + f(x)), x + f(norm(x))
    for first in (False, True):
        right = pre if first else post
        hints = {
            "Pre-norm and post-norm are swapped.": post if first else pre,
            "The addition is missing: x + …": f(norm(x)) if first else norm(f(x)),
            "The stream itself must stay as it is: add to x, not to norm(x).": norm(x) + f(norm(x)),
            "Norm the sum, not only the sub-layer's output.": x + norm(f(x)),
        }
        same(ask(answer, x, f, norm, first), right, "the result", hints, at=f"norm_first = {first}")
    return "In pre-norm, a sub-layer that returns zeros changes nothing at all."


@check
def check_08_ffn_backward(answer):
    rng = np.random.default_rng(2)
    names = ("x", "W1", "b1", "W2", "b2")
    for n, c, f in [(5, 3, 4), (4, 4, 4), (1, 2, 1)]:
        given = dict(zip(names, (rng.normal(size=s) for s in [(n, c), (c, f), (f,), (f, c), (c,)]), strict=True))
        y_bar = rng.normal(size=(n, c))
        got = ask(answer, y_bar, *given.values())
        got = several(got, "x_bar, W1_bar, b1_bar, W2_bar and b2_bar")
        claimed = dict(zip(names, got, strict=True))
        diagnosed(lambda x, W1, b1, W2, b2: mg.relu(x @ W1 + b1) @ W2 + b2, given, claimed, y_bar, f"N = {n}, C = {c}, F = {f}")
    return "Where u ≤ 0 nothing flows back: a unit that is never positive never learns."


@check
def check_08_encoder_parameters(answer):
    for blocks, c, f, first in [(1, 4, 16, False), (2, 4, 10, False), (3, 6, 24, True), (12, 768, 3072, True)]:
        attention, ffn, norms, last = 4 * c * c + 4 * c, 2 * c * f + f + c, 4 * c, 2 * c if first else 0
        hints = {
            "The biases of the feed-forward network are missing: F and C of them.": blocks * (attention + 2 * c * f + norms) + last,
            "4C numbers of each block are missing: attention's biases (4 times C), or γ and β of the two norms.": blocks * (attention + ffn) + last,
            "The last norm of a pre-norm stack is missing.": blocks * (attention + ffn + norms),
            "There is one last norm for the whole stack, not one for each block.": blocks * (attention + ffn + norms + last),
            "Post-norm ends with a norm already; only pre-norm needs another.": blocks * (attention + ffn + norms) + 2 * c,
            "Each norm has γ and β: 2C numbers.": blocks * (attention + ffn + 2 * c) + last // 2,
        }
        right = blocks * (attention + ffn + norms) + last
        same(ask(answer, blocks, c, f, first), right, "the number", hints, at=f"L = {blocks}, C = {c}, F = {f}, norm_first = {first}")
    return "The last one, 12 blocks of width 768, has 85 million: the body of GPT-2 small and of BERT base."


@check
def check_08_residual_factor(answer):
    for blocks in (1, 6, 24):
        hints = {
            "Each block has two sub-layers: there are 2L contributions.": blocks**-0.5,
            "Variances add, not standard deviations: a factor c multiplies the variance by c².": 1 / (2 * blocks),
            "This makes the stream grow; divide.": (2 * blocks) ** 0.5,
        }
        same(ask(answer, blocks), (2 * blocks) ** -0.5, "the factor", hints, at=f"L = {blocks}")
    rng = np.random.default_rng(3)
    stream = rng.normal(size=100_000)
    for _ in range(48):
        stream += answer(24) * rng.normal(size=100_000)
    return f"Measured with L = 24 and σ² = 1: the stream ends with variance {stream.var():.2f}."
