"""Where am I? Position, with other numbers."""

from .variant import Variant

VARIANTS = [
    Variant(
        "07_sinusoids",
        {"base": (100, 500, 2000, 50_000), "even": ("sines", "cosines")},
        r"""The table $(T, d)$ of sinusoidal encodings, $d$ even, with the frequencies $\theta_i = «base»^{-2i/d}$ and the **«even» in the even columns**, the others in the odd ones.""",
        '''def my_sinusoids(T, d):
    """The sinusoidal position encodings (T, d) with base «base», «even» first."""
    ### BEGIN SOLUTION
    angle = np.arange(T)[:, None] * float(«base») ** (-2 * np.arange(d // 2) / d)
    pair = [np.sin(angle), np.cos(angle)]
    return np.stack(pair if "«even»" == "sines" else pair[::-1], axis=-1).reshape(T, d)
    ### END SOLUTION
''',
        lambda rng: [(6, 8), (3, 2), (1, 6), (12, 10)],
    ),
    Variant(
        "07_rotate",
        {"base": (100, 500, 2000, 50_000), "step": (1, 2, 3)},
        r"""Turn $x: (T, D)$, pairs $(i, i + D/2)$, with $\theta_i = «base»^{-2i/D}$. The first row stands at position `start`, the next at `start` + «step», and so on: each is «step» further than the one before.""",
        '''def my_rotate(x, start=0):
    """Rotary positions start, start + «step», … for x (T, D), with base «base»."""
    ### BEGIN SOLUTION
    T, D = x.shape
    places = start + «step» * np.arange(T)
    angle = places[:, None] * float(«base») ** (-2 * np.arange(D // 2) / D)
    a, b = x[:, : D // 2], x[:, D // 2 :]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], axis=1)
    ### END SOLUTION
''',
        lambda rng: [(rng.normal(size=(4, 6)), 0), (rng.normal(size=(3, 4)), 5), (rng.normal(size=(1, 2)), 7)],
    ),
]  # fmt: skip
