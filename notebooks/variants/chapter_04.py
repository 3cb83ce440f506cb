"""From recurrence to attention, with other numbers."""

from .variant import Variant

VARIANTS = [
    Variant(
        "04_rnn_backward",
        {"a": (0.5, 0.8, 1.5)},
        r"""Derive one step first, on paper: for $h' = \tanh(xW + «a»\,hU + b)$, the gradients of $x$, $h$, $W$, $U$ and $b$ from $\bar h'$. Then write the walk back through a **whole** text: for $X: (T, C)$ (no batch), $h_0 = 0$, and an
upstream gradient *for every state*, $G: (T, M)$, the gradients of $X$, $W$, $U$ and $b$.""",
        """def rnn_backward(G, X, W, U, b):
    \"\"\"The four gradients (X_bar, W_bar, U_bar, b_bar) of all states, with «a» h U, from G (T, M), the upstream gradient of each state.\"\"\"
    ### BEGIN SOLUTION
    h = [np.zeros(len(U))]
    for x in X:
        h.append(np.tanh(x @ W + «a» * h[-1] @ U + b))
    X_bar, W_bar, U_bar, b_bar = np.zeros_like(X), np.zeros_like(W), np.zeros_like(U), np.zeros_like(b)
    later = np.zeros(len(U))
    for t in reversed(range(len(X))):
        a_bar = (G[t] + later) * (1 - h[t + 1] ** 2)
        X_bar[t] = a_bar @ W.T
        W_bar += np.outer(X[t], a_bar)
        U_bar += «a» * np.outer(h[t], a_bar)
        b_bar += a_bar
        later = «a» * a_bar @ U.T
    return X_bar, W_bar, U_bar, b_bar
    ### END SOLUTION
""",
        lambda rng: [tuple(rng.normal(size=s) for s in ((t, n), (t, c), (c, n), (n, n), (n,))) for t, c, n in ((4, 2, 3), (3, 3, 3))],
    ),
    Variant(
        "04_lstm_step",
        {"order": ("f, i, o, g", "g, i, f, o", "o, f, g, i", "i, g, o, f")},
        r"""The *long short-term memory* of 1997 has two states, $h$ and $c$, and three gates. With $W: (C, 4M)$, $U: (M, 4M)$ and $b: (4M,)$, whose blocks lie side by side **in the order $«order»$**,

$$i, f, o = \sigma(\cdot), \qquad g = \tanh(\cdot), \qquad c' = f \odot c + i \odot g, \qquad h' = o \odot \tanh(c').$$

Each $(\cdot)$ is its block of $xW + hU + b$. From $x: (B, C)$ and $h, c: (B, M)$: the pair $(h', c')$.""",
        """def lstm_step(x, h, c, W, U, b):
    \"\"\"The pair of the next states (h (B, M), c (B, M)); the blocks of W, U and b are «order».\"\"\"
    ### BEGIN SOLUTION
    blocks = dict(zip("«order»".split(", "), np.split(x @ W + h @ U + b, 4, axis=-1)))
    i, f, o = (1 / (1 + np.exp(-blocks[name])) for name in "ifo")
    c = f * c + i * np.tanh(blocks["g"])
    return o * np.tanh(c), c
    ### END SOLUTION
""",
        lambda rng: [
            tuple(rng.normal(size=s) for s in ((b, c), (b, n), (b, n), (c, 4 * n), (n, 4 * n), (4 * n,))) for b, c, n in ((1, 2, 3), (4, 3, 2))
        ],
    ),
]  # fmt: skip
