"""Where am I? Position, with other numbers."""

from .variant import Variant

VARIANTS = [
    Variant(
        "07_alibi",
        {"cap": (2, 3, 4)},
        r"""As in exercise 2 of chapter 05: $T$ new words come after $S - T$ old ones, so that the last query stands at the last key. With slopes $m: (H,)$, give the bias $(H, T, S)$ that is added to the scores: the slope times the
distance, but **no distance counts for more than «cap»**.""",
        '''def alibi(slopes, T, S):
    """The bias (H, T, S): −slope · min(distance, «cap»), the last query at the last key."""
    ### BEGIN SOLUTION
    distance = np.abs(np.arange(S - T, S)[:, None] - np.arange(S)[None, :])
    return -np.asarray(slopes)[:, None, None] * np.minimum(distance, «cap»)
    ### END SOLUTION
''',
        lambda rng: [(rng.uniform(0.1, 1, h), t, s) for h, t, s in ((2, 6, 6), (3, 2, 8), (1, 1, 6))],
    ),
    Variant(
        "07_rotate",
        {"base": (100, 500, 2000, 50_000), "step": (1, 2, 3)},
        r"""Turn $x: (T, D)$, pairs $(i, i + D/2)$, with $\omega_i = «base»^{-2i/D}$. The first row stands at position `start`, the next at `start` + «step», and so on: each is «step» further than the one before.""",
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
