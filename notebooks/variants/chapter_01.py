"""Derivatives by hand, with other numbers."""

import numpy as np

from .variant import Variant

VARIANTS = [
    Variant(
        "01_second_difference",
        {"k": (2, 3, 4, 5)},
        r"""The three points need not be equally far apart. Estimate $f''(x)$ from $f(x + h)$, $f(x)$ and $f(x - «k»h)$: write down the Taylor formulas of both, up to $h^2$, combine them so that $f'$ cancels,
and solve for $f''$. The estimate should be exact for parabolas.""",
        '''def second_difference(f, x, h):
    """An estimate of f''(x) from f(x + h), f(x) and f(x − «k»h)."""
    ### BEGIN SOLUTION
    k = «k»
    return 2 * (k * f(x + h) - (k + 1) * f(x) + f(x - k * h)) / (k * (k + 1) * h**2)
    ### END SOLUTION
''',
        lambda rng: [(np.sin, float(x), 0.1) for x in rng.uniform(-1, 1, 2)] + [(np.exp, 0.5, 0.05)],
    ),
    Variant(
        "01_logistic_backward",
        {"scale": (2, 3, 5), "T": (0.5, 2, 4)},
        r"""A neuron says $y = wx + b$, and the truth is $t = +1$ or $t = -1$. Its loss is $L = «scale» \log(1 + e^{-ty/«T»})$. Go backward by hand: $\bar y$ first, then $\bar w$ and $\bar b$.
All are numbers.""",
        '''def logistic_backward(w, b, x, t):
    """The pair (w_bar, b_bar) of L = «scale» log(1 + exp(−t (w x + b) / «T»))."""
    ### BEGIN SOLUTION
    y_bar = -«scale» * t / «T» / (1 + np.exp(t * (w * x + b) / «T»))
    return y_bar * x, y_bar
    ### END SOLUTION
''',
        lambda rng: [(*map(float, rng.normal(size=3)), t) for t in (1, -1, 1)],
    ),
    Variant(
        "01_richardson",
        {"k": (3, 4, 5)},
        r"""$C(h) = f'(x) + c\,h^2 + d\,h^4 + \dots$ with numbers $c$ and $d$ that you do not know. Combine $C(h)$ and $C(h/«k»)$ so that the term with $h^2$ cancels (Richardson's extrapolation). The error should then be
of order $h^4$.""",
        '''def richardson(f, x, h):
    """f'(x) from central differences with steps h and h/«k», with an error of order h⁴."""
    ### BEGIN SOLUTION
    def central(h):
        return (f(x + h) - f(x - h)) / (2 * h)

    k = «k»
    return (k**2 * central(h / k) - central(h)) / (k**2 - 1)
    ### END SOLUTION
''',
        lambda rng: [(np.exp, float(rng.uniform(0, 1)), 0.2), (np.sin, float(rng.uniform(0.1, 1)), 0.3)],
    ),
]  # fmt: skip
