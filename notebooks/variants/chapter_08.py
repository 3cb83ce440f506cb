"""The block, with other numbers."""

from .variant import Variant

VARIANTS = [
    Variant(
        "08_ffn_backward",
        {"a": (0.1, 0.2, 0.3, 0.5)},
        r"""$y = f(xW_1 + b_1) W_2 + b_2$ with a *leaky* ReLU, $f(u) = u$ where $u > 0$ and $«a»\,u$ elsewhere, $x: (N, C)$ and $\bar y: (N, C)$. All five gradients, in the order $\bar x, \bar W_1, \bar b_1, \bar W_2, \bar b_2$.""",
        '''def ffn_backward(y_bar, x, W1, b1, W2, b2):
    """The gradients (x_bar, W1_bar, b1_bar, W2_bar, b2_bar), with a leaky ReLU of slope «a»."""
    ### BEGIN SOLUTION
    u = x @ W1 + b1
    slope = np.where(u > 0, 1.0, «a»)
    u_bar = y_bar @ W2.T * slope
    return u_bar @ W1.T, x.T @ u_bar, u_bar.sum(axis=0), (u * slope).T @ y_bar, y_bar.sum(axis=0)
    ### END SOLUTION
''',
        lambda rng: [tuple(rng.normal(size=s) for s in ((n, c), (n, c), (c, f), (f,), (f, c), (c,))) for n, c, f in ((3, 2, 4), (4, 3, 3))],
    ),
    Variant(
        "08_encoder_parameters",
        {"heads": ("no biases", "biases in W_O only"), "norm": ("γ and β", "γ only")},
        r"""$L$ blocks of width $C$ with a feed-forward width $F$ (with biases); the attention has **«heads»**, and each norm has **«norm»**. There are two norms in each block, and one at the end if pre-norm.""",
        '''def encoder_parameters(L, C, F, norm_first):
    """The number of trained numbers in an encoder of L blocks, without embeddings: attention with «heads», norms with «norm»."""
    ### BEGIN SOLUTION
    attention = 4 * C * C + (C if "«heads»" == "biases in W_O only" else 0)
    norm = 2 * C if "«norm»" == "γ and β" else C
    return L * (attention + 2 * C * F + F + C + 2 * norm) + (norm if norm_first else 0)
    ### END SOLUTION
''',
        lambda rng: [(2, 8, 32, True), (3, 12, 20, False), (1, 64, 256, True)],
    ),
]  # fmt: skip
