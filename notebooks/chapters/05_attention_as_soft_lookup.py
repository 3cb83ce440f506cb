# ---
# jupyter:
#   cover: 1
# ---

# %% [markdown]
# # 05 · Attention as soft lookup
#
# *About 50 minutes to read, 60 more for the exercises. You need [03 · Softmax, cross-entropy, layer norm backward by hand](03_softmax_cross_entropy_layer_norm.ipynb): softmax and its gradient.
# Next: [06 · Q, K, V and many heads](06_q_k_v_and_many_heads.ipynb).*
#
# A dictionary answers a query with the value of the one key that equals it. Attention answers with a *mixture* of all values: much of those whose keys resemble the query, little of the others. That is all. And because a mixture changes smoothly with the query and the
# keys, it can be learned by gradient.
#
# **After this chapter you can**
#
# - compute an attention output on paper;
# - show that attention is a kernel regression with a learned notion of nearness;
# - derive why scores are divided by $\sqrt D$, the root of their width, and measure what happens without it;
# - apply a mask in the right place, and name three wrong places;
# - write the backward pass of attention and have it confirmed by four witnesses.

# %%
import numpy as np

import checks
import minigrad as mg
from book import draw_matrix, figure, line, paired, recorded, table
from transformer import causal_mask, scaled_dot_product_attention

# %% [markdown]
# ## 1 · An answer on paper
#
# We have $S = 3$ pairs of a **key** $k_j$ and a **value** $v_j$, and one **query** $q$. Query and keys are vectors with $D = 4$ numbers; the values are single numbers for now:
#
# $$q = (2, 0, 0, 0), \qquad k_1 = (0, 0, 0, 0), \quad k_2 = (\ln 2, 0, 0, 0), \quad k_3 = (\ln 3, 0, 0, 0), \qquad v_1 = 6,\; v_2 = 12,\; v_3 = 24 .$$
#
# 1. **Scores**: how well does each key fit? The dot product, divided by $\sqrt D = 2$ (section 3 says why): $z = (0, \ln 2, \ln 3)$.
# 2. **Weights**: softmax of the scores. The exponentials are $1, 2, 3$, so $p = (\tfrac16, \tfrac13, \tfrac12)$.
# 3. **Output**: the mixture $\sum_j p_j v_j = \tfrac66 + \tfrac{12}3 + \tfrac{24}2 = 1 + 4 + 12 = 17$.

# %%
def softmax(z):  # (..., S) → (..., S)
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


q = np.array([2.0, 0, 0, 0])
k = np.array([[0.0, 0, 0, 0], [np.log(2), 0, 0, 0], [np.log(3), 0, 0, 0]])
v = np.array([6.0, 12, 24])

z = k @ q / np.sqrt(4)
p = softmax(z)
o = p @ v
assert np.allclose(p, [1 / 6, 1 / 3, 1 / 2]) and np.isclose(o, 17)
table(
    ["key", "score", "weight", "value", "weight · value"],
    [*((f"k{j + 1}", z[j], p[j], v[j], p[j] * v[j]) for j in range(3)), ("sum", "", p.sum(), "", o)],
)

# %% [markdown]
# ## 2 · An old friend: kernel regression
#
# Measure a noisy curve at 40 places $k_j$ and find values $v_j$. What is the curve's height at another place $q$? Average the values, with more weight on near places. With a bell-shaped weight of width $w$ (Nadaraya and Watson, 1964):
#
# $$o(q) = \sum_j p_j v_j, \qquad p_j = \frac{e^{-(q-k_j)^2 / 2w^2}}{\sum_i e^{-(q-k_i)^2/2w^2}} = \operatorname{softmax}_j\!\Big({-\frac{(q-k_j)^2}{2w^2}}\Big) .$$
#
# This *is* attention, with minus the squared distance as the score. To the dot product it is one step. For vectors,
#
# $$-\frac{\|q-k_j\|^2}{2w^2} = \frac{q \cdot k_j}{w^2} - \frac{\|k_j\|^2}{2w^2} - \frac{\|q\|^2}{2w^2} .$$
#
# The last term is the same for all keys, and softmax does not notice what is added to all scores. The middle one vanishes in the same way if all keys have the same length. What remains is a **dot product, divided by $w^2$**: the scale of the scores is the width of the bell.

# %%
rng = np.random.default_rng(0)
places = np.sort(rng.uniform(0, 6, 40))  # keys
heights = np.sin(places) + 0.3 * rng.normal(size=40)  # values
queries = np.linspace(0, 6, 200)


def kernel_regression(q, k, v, w):  # (T,), (S,), (S,) → (T,), (T, S)
    p = softmax(-((q[:, None] - k[None, :]) ** 2) / (2 * w**2))
    return p @ v, p


fig, (left, right) = figure(9.2, 3.8, 1, 2)
left.plot(places, heights, "o", color="0.55", markersize=4, label="measured (key, value)")
rows = []
for i, w in enumerate((0.05, 0.4, 3.0)):
    o, p = kernel_regression(queries, places, heights, w)
    left.plot(queries, o, label=f"width {w}", **line(i))
    rows.append((w, np.sqrt(np.mean((o - np.sin(queries)) ** 2))))
left.set_xlabel("place")
left.set_ylabel("height")
left.legend(fontsize=8)
_, p = kernel_regression(queries, places, heights, 0.4)
image = right.imshow(p, cmap="Greys", aspect="auto", extent=(-0.5, 39.5, 6, 0), interpolation="nearest")
right.grid(False)
right.set_xlabel("key (number of the measured place)")
right.set_ylabel("query (place asked for)")
fig.colorbar(image, ax=right, label="weight, at width 0.4")
assert rows[1][1] < 0.6 * rows[0][1] and rows[1][1] < 0.4 * rows[2][1]
fig

# %%
print("error of the answers (root mean square): " + ", ".join(f"width {w}: {e:.3f}" for w, e in rows))
again = {w: [] for w, _ in rows}  # ten other curves, with other places and other noise
for seed in range(1, 11):
    other = np.random.default_rng(seed)
    k = np.sort(other.uniform(0, 6, 40))
    v = np.sin(k) + 0.3 * other.normal(size=40)
    for w in again:
        again[w].append(np.sqrt(np.mean((kernel_regression(queries, k, v, w)[0] - np.sin(queries)) ** 2)))
narrow, wide = (paired(again[w], again[0.4]) for w in (0.05, 3.0))
print(f"ten more: error of width 0.05 − that of 0.4: {narrow}; of width 3 − that of 0.4: {wide}")
assert narrow.low > 0 and wide.low > 0

angle = rng.uniform(0, 2 * np.pi, (2, 5))
K = np.stack([np.cos(angle[0]), np.sin(angle[0])], axis=1)  # five keys of length 1
Q = 3 * np.stack([np.cos(angle[1]), np.sin(angle[1])], axis=1)  # queries may have any length
w = 0.7
distance = np.sum((Q[:, None] - K[None]) ** 2, axis=-1)  # (5, 5)
gap = np.abs(softmax(-distance / (2 * w**2)) - softmax(Q @ K.T / w**2)).max()
print(f"bell weights and dot-product weights, keys of equal length: they differ by {gap:.0e} at most")
assert gap < 1e-14

# %% [markdown]
# Too narrow a bell believes single noisy neighbours, too wide a bell sees only the mean. In the map on the right, each row is a query; read it from left to right to see where it looks.
#
# In kernel regression, *near* is given. In attention it is **learned**: queries and keys are computed from the data by trained matrices (chapter 06), so that what a word needs lies near what another word offers.
#
# ## 3 · Experiment: why $\sqrt D$
#
# Let the $D$ numbers in $q$ and in $k$ be independent, with mean 0 and variance 1. The score $q \cdot k = \sum_i q_i k_i$ is a sum of $D$ products, each with mean 0 and variance $1 \cdot 1$. Variances of independent terms add:
#
# $$\operatorname{Var}(q\cdot k) = D \qquad\Rightarrow\qquad \text{typical size } \sqrt D, \qquad \operatorname{Var}\!\Big(\frac{q\cdot k}{\sqrt D}\Big) = 1 .$$
#
# Without the division, scores grow with the width of the model. Softmax of large scores is *saturated*: almost all weight on one key. Measure it with the **entropy** $\mathbb H(p) = -\sum_j p_j \ln p_j$: it is $\ln S$ when all $S$ keys get the same weight, and 0 when one gets all. And measure what learning gets:
# the size of softmax's Jacobian $p_j(\delta_{jk} - p_k)$ (chapter 03), which multiplies every gradient on its way to the scores.

# %%
S, trials = 16, 800
widths = 2 ** np.arange(1, 12)


def measure(D, scale, seed=0):
    rng = np.random.default_rng([D, seed])
    q, k = rng.normal(size=(trials, 1, D)), rng.normal(size=(trials, S, D))
    z = scale(D) * (q * k).sum(axis=-1)  # (trials, S)
    p = softmax(z)
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1)
    jacobian = p[:, :, None] * (np.eye(S) - p[:, None, :])  # (trials, S, S)
    return z.std(), entropy.mean(), p.max(axis=-1).mean(), np.median(np.linalg.norm(jacobian, axis=(1, 2)))


def divided(D):
    return 1 / np.sqrt(D)


def undivided(D):
    return 1.0


with_scale, without = (np.array([measure(D, scale) for D in widths]) for scale in (divided, undivided))

fig, axes = figure(9.2, 3.6, 1, 2)
for ax, column, what in zip(
    axes, (1, 3), ("entropy of the weights (nats)", "size of softmax's Jacobian (median)")
):
    for i, (name, found) in enumerate((("divided by √D", with_scale), ("not divided", without))):
        ax.plot(widths, found[:, column], marker="os"[i], markersize=4, label=name, **line(i))
    ax.set_xscale("log", base=2)
    ax.set_xlabel("width D of queries and keys")
    ax.set_ylabel(what)
axes[0].axhline(np.log(S), color="0.35", linewidth=1, linestyle=":")
axes[0].text(widths[-1], np.log(S), "all keys alike", ha="right", va="bottom", fontsize=9, color="0.25")
axes[1].set_yscale("log")
axes[1].legend(loc="lower left")
fig

# %%
chosen = [i for i, D in enumerate(widths) if D in (4, 64, 1024)]
rows = []
for i in chosen:
    for name, found in (("yes", with_scale), ("no", without)):
        deviation, entropy, largest, jacobian = found[i]
        rows.append(
            (int(widths[i]), name, f"{deviation:.1f}", f"{entropy:.2f}", f"{largest:.2f}", f"{jacobian:.1e}")
        )
i = chosen[1]
assert abs(without[i, 0] - 8) < 0.2 and abs(with_scale[i, 0] - 1) < 0.03
assert np.ptp(with_scale[3:, 1]) < 0.1 and without[-1, 1] < 0.1 and without[-1, 3] < 1e-3 * with_scale[-1, 3]
table(
    ["D", "divided by √D", "spread of scores", "entropy", "largest weight", "size of Jacobian (median)"], rows
)

# %%
smaller = {}  # how many times the Jacobian is smaller without the division, in five draws
for D in (64, 1024):
    sizes = [[measure(D, scale, seed)[3] for seed in range(5)] for scale in (divided, undivided)]
    smaller[D] = np.divide(*sizes)
assert smaller[64].min() > 2 and smaller[64].max() < 4 and smaller[1024].min() > 1000
print(
    f"At D = {widths[i]}, a usual head width: undivided scores spread by {without[i, 0]:.1f} (√D = "
    f"{np.sqrt(widths[i]):.0f}), the best of {S} keys takes {without[i, 2]:.0%} of the weight"
)
print(
    "before anything is learned, and the gradient that reaches the scores is "
    f"{smaller[64].min():.1f} to {smaller[64].max():.1f} times smaller than with the division (in the "
    "median; five draws)."
)
print(
    f"At D = {widths[chosen[2]]} the best key takes {without[chosen[2], 2]:.0%}, and the gradient is "
    f"{smaller[1024].min():,.0f} to {smaller[1024].max():,.0f} times smaller."
)

# %% [markdown]
# With the division, hardly anything depends on the width: one can make heads wider without touching anything else. Without it, wide heads begin as hard lookups that hardly learn.
#
# **Question.** A trained model may *want* a hard lookup. Can it still have one? (Yes: it learns longer queries or keys. The division fixes the start, not the end.)
#
# ## 4 · Many queries at once
#
# Let there be $T$ queries, $S$ keys and values; a value has $D_v$ numbers (the paper writes $d_k$ and $d_v$ for $D$ and $D_v$). Stack them as rows: $Q: (T, D)$, $K: (S, D)$, $V: (S, D_v)$. Then all scores are one matrix product, and so are all mixtures:
#
# $$\boxed{\operatorname{Attention}(Q, K, V) = \operatorname{softmax}\!\Big(\frac{Q K^\top}{\sqrt D}\Big) V} \qquad (T, D)(D, S) \to (T, S), \quad (T, S)(S, D_v) \to (T, D_v) .$$
#
# Row $t$ of the $(T, S)$ matrix says where query $t$ looks; softmax goes along the rows, so each adds up to 1.

# %%
def attention(Q, K, V, allowed=None):  # (..., T, D), (..., S, D), (..., S, Dv) → (..., T, Dv), (..., T, S)
    Z = Q @ K.swapaxes(-1, -2) / np.sqrt(Q.shape[-1])
    if allowed is not None:
        Z = np.where(allowed, Z, -np.inf)
    P = softmax(Z)
    return P @ V, P


rng = np.random.default_rng(1)
Q, K, V = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(5, 2))

loop = np.zeros((3, 2))
for t in range(3):  # the same, one query and one key at a time, as in section 1
    p = softmax(np.array([Q[t] @ K[j] for j in range(5)]) / np.sqrt(4))
    for j in range(5):
        loop[t] += p[j] * V[j]

O, P = attention(Q, K, V)
case = recorded("attention_weights_too")  # (2, 3, 5, 4) queries: batch, heads, T, D; 7 keys
o, p = attention(*(case[f"input.{name}"] for name in "qkv"))
rows = [
    ("our loop", np.abs(O - loop).max()),
    ("the library", np.abs(O - scaled_dot_product_attention(Q, K, V).data).max()),
    ("PyTorch, output (2, 3, 5, 4)", np.abs(o - case["output"][..., :4]).max()),
    ("PyTorch, weights (2, 3, 5, 7)", np.abs(p - case["output"][..., 4:]).max()),
]
assert all(gap < 1e-14 for _, gap in rows)
table(["our matrix form, against", "largest difference"], [(what, f"{gap:.0e}") for what, gap in rows])

# %% [markdown]
# ## 5 · Masks: who may look where
#
# Sometimes a query must not see a key. A text model must not see the words that it is to predict (the **causal** mask); and in a batch of sentences of different lengths, nobody should look at the padding (the **padding** mask). A mask is a boolean array, true where looking is allowed, that broadcasts to $(T, S)$:
# rows are queries, columns are keys.
#
# Where it is false, the score becomes $-\infty$ **before** softmax, so that the weight is $e^{-\infty} = 0$, and the other weights of the row add up to 1.

# %%
words = ["the", "cat", "sat", "down", "⟨pad⟩"]
rng = np.random.default_rng(5)
Q, K, V = (rng.normal(size=(5, 8)) for _ in range(3))
real = np.array([True, True, True, True, False])
masks = {"no mask": None, "causal": causal_mask(5), "padding": real[None, :]}

fig, axes = figure(10.2, 3.7, 1, 3, sharey=True)
for ax, (name, mask) in zip(axes, masks.items()):
    _, P = attention(Q, K, V, mask)
    assert np.allclose(P.sum(axis=-1), 1) and (
        mask is None or np.all(P[~np.broadcast_to(mask, P.shape)] == 0)
    )
    image = draw_matrix(ax, P, words, words, ".2f", 0, 1)
    ax.set_title(name)
axes[1].set_xlabel("key (attended to)")
axes[0].set_ylabel("query (attending)")
fig.colorbar(image, ax=axes, label="attention weight", shrink=0.8)
fig

# %% [markdown]
# Three wrong places for a mask. The test that finds them all: *change what must not be seen, and see whether anything moves*.

# %%
def too_late(Q, K, V, allowed):
    _, P = attention(Q, K, V)
    return (
        P * allowed
    ) @ V  # the rows no longer add up to 1, and the future still counts in their denominators


def transposed(Q, K, V, allowed):
    return attention(Q, K, V, allowed.T)[0]  # rows and columns confused


def too_weak(Q, K, V, allowed):
    Z = Q @ K.T / np.sqrt(Q.shape[-1]) + np.where(allowed, 0, -10.0)  # a penalty instead of a prohibition
    return softmax(Z) @ V


allowed = causal_mask(5)
later_K, later_V = K.copy(), V.copy()
later_K[3:], later_V[3:] = 5 * K[3:] + 1, -V[3:]  # other words at places 4 and 5
rows = []
for name, function in [
    ("before softmax, −∞", lambda *a: attention(*a)[0]),
    ("after softmax", too_late),
    ("transposed", transposed),
    ("minus 10", too_weak),
]:
    change = np.abs(function(Q, K, V, allowed) - function(Q, later_K, later_V, allowed))[:3].max()
    rows.append((name, f"{change:.1e}", "nothing leaks" if change == 0 else "sees the future"))
assert rows[0][1] == "0.0e+00" and all(row[2] == "sees the future" for row in rows[1:])
table(["mask applied", "change at the first three words", "verdict"], rows)

# %% [markdown]
# One case needs a decision: a query that may look at *nothing*, such as one in a sentence of padding only. All its scores are $-\infty$, softmax divides 0 by 0, and one NaN ruins the whole batch. In this library such a query gets zeros:

# %%
nothing = np.zeros((5, 5), bool)
with np.errstate(invalid="ignore"):
    ours = attention(Q, K, V, nothing)[0]
theirs = scaled_dot_product_attention(Q, K, V, mask=nothing).data
print("ours:", ours[0, :3], " the library's:", theirs[0, :3])
assert np.isnan(ours).all() and not theirs.any()

weak = np.full(8, -10_000.0, np.float16)  # masks of −10000, added up in half precision
with np.errstate(over="ignore"):
    sums = [weak[:n].sum(dtype=np.float16) for n in (6, 7)]
print("six of them:", sums[0], " seven:", sums[1])
assert np.isfinite(sums[0]) and np.isneginf(sums[1])

# %% [markdown]
# ## 6 · Backward
#
# With $\tau = 1/\sqrt D$, the forward steps are $Z = \tau Q K^\top$, $P = \operatorname{softmax}(Z)$, $O = P V$. Two matrix products (chapter 01) and one softmax (chapter 03), in reverse order, from the upstream gradient $\bar O: (T, D_v)$:
#
# $$\bar V = P^\top \bar O, \qquad \bar P = \bar O\, V^\top, \qquad \bar Z = P \odot \big(\bar P - \operatorname{rowsum}(\bar P \odot P)\big), \qquad \bar Q = \tau\, \bar Z K, \qquad \bar K = \tau\, \bar Z^\top Q .$$

# %%
def attention_backward(O_bar, Q, K, V, P):
    tau = 1 / np.sqrt(Q.shape[-1])
    V_bar = P.swapaxes(-1, -2) @ O_bar
    P_bar = O_bar @ V.swapaxes(-1, -2)
    Z_bar = P * (P_bar - (P_bar * P).sum(axis=-1, keepdims=True))
    return tau * Z_bar @ K, tau * Z_bar.swapaxes(-1, -2) @ Q, V_bar


case = recorded("attention_causal")
Q, K, V, O_bar = (case[key] for key in ("input.q", "input.k", "input.v", "upstream"))  # (2, 3, 5, 4)
allowed = causal_mask(5)
O, P = attention(Q, K, V, allowed)
ours = attention_backward(O_bar, Q, K, V, P)
tensors = [mg.Tensor(x, requires_grad=True) for x in (Q, K, V)]
scaled_dot_product_attention(*tensors, causal=True).backward(O_bar)
rows = []
for i, name in enumerate("QKV"):
    difference = np.zeros_like(Q)
    for j in np.ndindex(Q.shape):
        sides = []
        for h in (1e-5, -1e-5):
            moved = [np.array(x) for x in (Q, K, V)]
            moved[i][j] += h
            sides.append((attention(*moved, allowed)[0] * O_bar).sum())
        difference[j] = (sides[0] - sides[1]) / 2e-5
    gaps = [
        np.abs(ours[i] - other).max()
        for other in (difference, tensors[i].grad.data, case[f"grad.input.{name.lower()}"])
    ]
    assert gaps[0] < 1e-8 and max(gaps[1:]) < 1e-14
    rows.append((name, f"{np.abs(ours[i]).max():.3f}", *(f"{gap:.0e}" for gap in gaps)))
table(
    [
        "causal attention, gradient of",
        "paper: largest entry",
        "− finite differences",
        "− engine",
        "− PyTorch",
    ],
    rows,
)

# %% [markdown]
# The mask does not appear in the backward formulas. It need not: where it forbids, $P$ is 0, hence $\bar Z$ is 0.
#
# ## Common misunderstandings
#
# - ***The weights are learned parameters.*** No. They are computed anew from every input. What is learned are the matrices that make queries, keys and values.
# - ***$D$ is the width of the model.*** It is the width of one query, that is of one head (chapter 06). Dividing by the square root of the whole width makes scores too small.
# - ***The columns add up to 1.*** The rows do: a query distributes its attention. A key may be looked at by everybody, or by nobody.
# - ***A large weight means an important word.*** It means that much of its *value* is mixed in; if the value is near zero, nothing comes of it.
# - ***$-10000$ is as good as $-\infty$.*** It is, until every key of a query is masked (then the weights are those of no mask at all, or, where scores are *replaced* by $-10000$, all equal), or scores are of that size themselves, or masks are added up in half precision: float16 ends at 65 504, so that the seventh $-10000$ on the same score makes it $-\infty$ after all.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · Weights that may be withheld
#
# Softmax must distribute a weight of 1, even where no key fits. A cure is a *sink*: one more score $z$ without a value, the same for all queries, that takes part in the softmax and is then left out. Write the weights $(T, S)$ for $Q: (T, D)$, $K: (S, D)$ and the number $z$, for scores of any size.

# %% tags=["exercise"]
def sink_weights(Q, K, z):
    """exp(s_j) / (exp(z) + Σ exp(s)) with s = q · k / √D: (T, S); a row may add up to less than 1."""
    ### BEGIN SOLUTION
    s = Q @ K.T / np.sqrt(Q.shape[-1])
    top = np.maximum(s.max(axis=-1, keepdims=True), z)
    e = np.exp(s - top)
    return e / (e.sum(axis=-1, keepdims=True) + np.exp(z - top))
    ### END SOLUTION


checks.check_05_sink_weights(sink_weights)

# %% [markdown] tags=["idea"]
# As if there were one more key with the score $z$, not divided by $\sqrt D$. The largest of *all* scores is subtracted, the sink's included, from the sink too. Where all keys lie far below $z$, the weights fade to 0: the query takes nothing. (G. Xiao et al., "Efficient streaming language models with attention sinks", ICLR 2024, found that models without one make the first word their sink.)

# %% [markdown]
# ### Exercise 2 ★★ · Who sees whom
#
# $T$ new words come after $S - T$ old ones, so that the *last* query is the word of the *last* key. Each word sees itself and the words before it, but only the last `window` words, itself included; besides, **everyone** sees the first `prefix` words, the question, also those of them that come later. Write the mask $(T, S)$, true where looking is allowed.

# %% tags=["exercise"]
def prefix_window_mask(T, S, prefix, window):
    """Boolean (T, S): query t may look at key j; the last query is the last key's word."""
    ### BEGIN SOLUTION
    i, j = np.arange(S - T, S)[:, None], np.arange(S)[None, :]
    return ((j <= i) & (j > i - window)) | (j < prefix)
    ### END SOLUTION


checks.check_05_prefix_window_mask(prefix_window_mask)

# %% [markdown] tags=["idea"]
# Query $t$ is word number $i = t + (S - T)$. A column of positions of queries, a row of positions of keys, and three comparisons: not later than $i$, not earlier than the window, or in the prefix. The last `window` words are those with $j > i - \text{window}$. (I. Beltagy et al., "Longformer", 2020, section 3.1, has windows and words that all see.)

# %% [markdown]
# ### Exercise 3 ★★ · Many texts in one row
#
# To waste nothing on padding, several texts are packed into one row of $T$ words: `doc` $(T,)$ says to which text a word belongs (the words of a text keep their order, but texts may be mixed), and $-1$ marks padding. A word sees itself and earlier words of **its own text**; padding sees nothing, is seen by nobody, and gets zeros, not NaN. From $Q, K: (T, D)$ and $V: (T, D_v)$, the output $(T, D_v)$, for scores of any size.

# %% tags=["exercise"]
def packed_attention(Q, K, V, doc):
    """Causal attention within each text, (T, Dv); rows of padding are zeros."""
    ### BEGIN SOLUTION
    allowed = np.tri(len(doc), dtype=bool) & (doc[:, None] == doc) & (doc >= 0)
    s = np.where(allowed, Q @ K.T / np.sqrt(Q.shape[-1]), -np.inf)
    top = s.max(axis=-1, keepdims=True)
    e = np.exp(s - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total == 0, 1, total) @ V
    ### END SOLUTION


checks.check_05_packed_attention(packed_attention)

# %% [markdown] tags=["idea"]
# Three conditions make the mask: not later, same text, no padding. A row of $-\infty$ makes trouble in two places: subtracting the maximum ($-\infty$ minus $-\infty$) and dividing by the sum (0). Replace a maximum of $-\infty$ by 0, and a sum of 0 by 1.

# %% [markdown]
# ### Exercise 4 ★★★ · Backward, with shared keys and a mask
#
# Large models let groups of heads share their keys and values: $Q: (H, T, D)$, but $K: (G, S, D)$ and $V: (G, S, D_v)$ with $H$ a multiple of $G$, and head $h$ uses group $\lfloor h\,G/H\rfloor$: the first $H/G$ heads the first group, and so on. `allowed` $(T, S)$ says who may look at whom; each query may look at something. From $\bar O: (H, T, D_v)$ to $(\bar Q, \bar K, \bar V)$, each in the shape of its variable.

# %% tags=["exercise"]
def grouped_backward(O_bar, Q, K, V, allowed):
    """The gradients (Q_bar, K_bar, V_bar) of attention whose H heads share G groups of keys and values."""
    ### BEGIN SOLUTION
    H, G = len(Q), len(K)
    tau = 1 / np.sqrt(Q.shape[-1])
    K_all, V_all = np.repeat(K, H // G, axis=0), np.repeat(V, H // G, axis=0)  # (H, S, D), (H, S, Dv)
    s = np.where(allowed, tau * Q @ K_all.swapaxes(-1, -2), -np.inf)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    P = e / e.sum(axis=-1, keepdims=True)
    P_bar = O_bar @ V_all.swapaxes(-1, -2)
    Z_bar = P * (P_bar - (P_bar * P).sum(axis=-1, keepdims=True))
    K_bar, V_bar = tau * Z_bar.swapaxes(-1, -2) @ Q, P.swapaxes(-1, -2) @ O_bar
    return tau * Z_bar @ K_all, K_bar.reshape(G, H // G, *K.shape[1:]).sum(axis=1), V_bar.reshape(G, H // G, *V.shape[1:]).sum(axis=1)
    ### END SOLUTION


checks.check_05_grouped_backward(grouped_backward)

# %% [markdown] tags=["idea"]
# Forward, each group is *copied* to its heads (`np.repeat`), then everything is section 6 with one more axis in front. Backward, what was copied is summed: the gradient of a group is the sum over its heads. The mask needs no line of its own in the backward pass: where $P = 0$, $\bar Z = 0$.

# %% [markdown]
# ## References
#
# - A. Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.2.1: the formula, and in its footnote 4 the variance argument for $\sqrt{d_k}$.
# - E. A. Nadaraya, "On estimating regression", Theory of Probability and Its Applications 9 (1964); G. S. Watson, "Smooth regression analysis", Sankhyā A 26 (1964): kernel regression.
# - Y.-H. H. Tsai et al., "Transformer dissection: a unified understanding of Transformer's attention via the lens of kernel", EMNLP 2019, section 2.
# - D. Bahdanau, K. Cho, Y. Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015, section 3.1: attention before the dot product.
# - S. Jain and B. C. Wallace, "Attention is not explanation", NAACL 2019: what weights do not tell.
#
# **Before:** [04 · From recurrence to attention](04_from_recurrence_to_attention.ipynb). **Next:** [06 · Q, K, V and many heads](06_q_k_v_and_many_heads.ipynb), where queries, keys and values come from one sentence.
