"""A tensor that differentiates itself, with other numbers."""

from .variant import Variant

VARIANTS = [
    Variant(
        "02_divide_rules",
        {"p": (1, 2, 3), "q": (1, 2, 3)},
        r"""$r = a^{«p»} / b^{«q»}$, entry by entry, where $a$, $b$ and $r$ have the same shape. Write both rules: from the upstream gradient $g = \bar r$ to $\bar a$ and $\bar b$.""",
        '''def divide_rules(g, a, b):
    """The pair (a_bar, b_bar) of r = a**«p» / b**«q»; all arrays have the same shape."""
    ### BEGIN SOLUTION
    return «p» * g * a ** («p» - 1) / b**«q», -«q» * g * a**«p» / b ** («q» + 1)
    ### END SOLUTION
''',
        lambda rng: [tuple(rng.uniform(0.5, 2, shape) for _ in range(3)) for shape in ((2, 3), (4,))],
    ),
    Variant(
        "02_mean_rule",
        {"p": (2, 3, 4), "c": (2, 3, 5)},
        r"""`r = «c» * (x**«p»).mean(axis)`: the axis disappears, so $x: (3, 4)$ with `axis=1` gives $r: (3,)$. Given $g = \bar r$, find $\bar x$ in the shape of $x$. (`np.expand_dims` brings an axis back.)""",
        '''def mean_rule(g, x, axis):
    """x_bar, in the shape of x, for r = «c» * (x**«p»).mean(axis) and the upstream gradient g = r_bar."""
    ### BEGIN SOLUTION
    return «c» * «p» * np.expand_dims(g, axis) * x ** («p» - 1) / x.shape[axis]
    ### END SOLUTION
''',
        lambda rng: [(rng.normal(size=g), rng.normal(size=x), axis) for x, axis, g in (((3, 3), 0, 3), ((2, 4), 1, 2), ((2, 3, 4), 1, (2, 4)))],
    ),
]  # fmt: skip
