"""Q, K, V and many heads, with other numbers."""

from .variant import Variant

VARIANTS = [
    Variant(
        "06_attention_parameters",
        {"where": ("W_Q", "W_K and W_V", "W_Q and W_K", "W_Q and W_O")},
        r"""How many trained numbers does an attention layer of width $C$ with $H$ heads have, in which there are biases **in «where» only**? Groups of heads share keys and values (*grouped-query attention*): there are only $H_{kv}$ heads of keys
and of values, each of width $D = C/H$.""",
        '''def attention_parameters(C, H, H_kv):
    """The number of weights in W_Q, W_K, W_V and W_O, and of biases with «where» only."""
    ### BEGIN SOLUTION
    kv = H_kv * (C // H)
    biases = {"W_Q": C, "W_K and W_V": 2 * kv, "W_Q and W_K": C + kv, "W_Q and W_O": 2 * C}
    return 2 * C * C + 2 * C * kv + biases["«where»"]
    ### END SOLUTION
''',
        lambda rng: [(12, 4, 4), (12, 4, 2), (64, 8, 1)],
    ),
    Variant(
        "06_split_fused",
        {"order": ("K, Q, V", "V, K, Q", "Q, V, K", "K, V, Q")},
        r"""Some published models keep all projections in one matrix $W: (C, 3C)$, head after head: first $3D$ columns for head 0, then $3D$ for head 1, and so on. **Within a head the $D$ columns each come in the order $«order»$**.
From $X: (T, C)$: the queries, keys and values (in this order), each $(H, T, D)$.""",
        """def split_fused(X, W, H):
    \"\"\"The three arrays Q, K, V, each (H, T, D), of all heads; the blocks of a head are «order».\"\"\"
    ### BEGIN SOLUTION
    T, C = X.shape
    heads = dict(zip("«order»".split(", "), (X @ W).reshape(T, H, 3, C // H).transpose(2, 1, 0, 3)))
    return heads["Q"], heads["K"], heads["V"]
    ### END SOLUTION
""",
        lambda rng: [(rng.normal(size=(t, h * d)), rng.normal(size=(h * d, 3 * h * d)), h) for t, h, d in ((3, 2, 3), (4, 3, 2))],
    ),
]  # fmt: skip
