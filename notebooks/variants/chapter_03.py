"""Softmax, cross-entropy, layer norm backward by hand, with other numbers."""

import numpy as np

from .variant import Variant


def shares(rng, *shape):
    e = np.exp(rng.normal(size=shape))
    return e / e.sum(axis=-1, keepdims=True)


VARIANTS = [
    Variant(
        "03_rms_norm_backward",
        {"k": (0.5, 2, 3, 4)},
        r"""Newer models leave the mean alone. Here $x$ is also passed on beside the norm: $y = «k»\,\gamma \odot \hat x + x$ with $\hat x = s\,x$ and $s = (\langle x \odot x\rangle + \varepsilon)^{-1/2}$.
Derive $\bar x: (N, C)$ and $\bar\gamma: (C,)$ from $\bar y$.""",
        '''def rms_norm_backward(y_bar, x, gamma, eps):
    """The pair (x_bar (N, C), gamma_bar (C,)) of y = «k» gamma x / sqrt(mean(x²) + eps) + x."""
    ### BEGIN SOLUTION
    s = (np.mean(x * x, axis=-1, keepdims=True) + eps) ** -0.5
    x_hat = s * x
    u = «k» * gamma * y_bar
    x_bar = s * (u - x_hat * (u * x_hat).mean(axis=-1, keepdims=True)) + y_bar
    return x_bar, «k» * (y_bar * x_hat).sum(axis=0)
    ### END SOLUTION
''',
        lambda rng: [(rng.normal(size=(3, 5)), rng.normal(size=(3, 5)), rng.uniform(0.5, 2, 5), eps) for eps in (1e-6, 0.5)],
    ),
    Variant(
        "03_log_softmax_backward",
        {"T": (0.5, 2, 4, 5)},
        r"""At temperature $T = «T»$, $y = \log\operatorname{softmax}(x/«T»)$, that is $y_j = x_j/«T» - \log\sum_k e^{x_k/«T»}$. Find $\bar x$ from $\bar y$ and $y$, both $(N, C)$.""",
        """def log_softmax_backward(y_bar, y):
    \"\"\"x_bar (N, C) of y = log softmax(x / «T»), from the upstream gradient y_bar (N, C) and y (N, C).\"\"\"
    ### BEGIN SOLUTION
    return (y_bar - np.exp(y) * y_bar.sum(axis=-1, keepdims=True)) / «T»
    ### END SOLUTION
""",
        lambda rng: [(rng.normal(size=(n, c)), np.log(shares(rng, n, c))) for n, c in ((3, 5), (4, 4))],
    ),
]  # fmt: skip
