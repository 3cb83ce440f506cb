"""From recurrence to attention, with other numbers."""

from .variant import Variant

VARIANTS = [
    Variant(
        "04_rnn",
        {"a": (0.5, 0.8, 2), "start": (-1, 0.5, 1)},
        r"""All states $(T, H)$ of $h_t = \tanh(x_t W + «a»\, h_{t-1}U + b)$, for $X: (T, C)$. Every entry of $h_0$ is $«start»$, and $h_0$ is no part of the answer.""",
        '''def my_rnn(X, W, U, b):
    """The states (T, H) of a recurrent network that begins at «start» and carries on «a» h U."""
    ### BEGIN SOLUTION
    h, states = np.full(len(U), float(«start»)), []
    for x in X:
        h = np.tanh(x @ W + «a» * h @ U + b)
        states.append(h)
    return np.stack(states)
    ### END SOLUTION
''',
        lambda rng: [tuple(rng.normal(size=s) for s in ((t, c), (c, n), (n, n), (n,))) for t, c, n in ((3, 2, 4), (5, 3, 3), (1, 2, 2))],
    ),
    Variant(
        "04_gru_step",
        {"order": ("z, r, n", "n, r, z", "n, z, r", "z, n, r")},
        r"""With $W: (C, 3H)$, $U: (H, 3H)$ and $b: (3H,)$, whose blocks lie side by side **in the order $«order»$**: $(B, C)$ and $(B, H)$ → the new state $(B, H)$. The reset gate multiplies $h U_n$, after the product.""",
        '''def my_gru_step(x, h, W, U, b):
    """The next state (B, H); the blocks of W, U and b are «order»."""
    ### BEGIN SOLUTION
    a, u = np.split(x @ W + b, 3, axis=1), np.split(h @ U, 3, axis=1)
    r, z, n = (["«order»".split(", ").index(name) for name in "rzn"])
    reset, update = (1 / (1 + np.exp(-(a[i] + u[i]))) for i in (r, z))
    new = np.tanh(a[n] + reset * u[n])
    return (1 - update) * new + update * h
    ### END SOLUTION
''',
        lambda rng: [tuple(rng.normal(size=s) for s in ((b, c), (b, n), (c, 3 * n), (n, 3 * n), (3 * n,))) for b, c, n in ((1, 2, 3), (4, 3, 2))],
    ),
]  # fmt: skip
