# ---
# jupyter:
#   cover: 1
# ---

# %% [markdown]
# # 07 · Where am I? Position
#
# *About 45 minutes to read, 45 more for the exercises. You need [06 · Q, K, V and many heads](06_q_k_v_and_many_heads.ipynb).
# Next: [08 · The block](08_the_block.ipynb).*
#
# *Dog bites man* and *man bites dog* have the same words. Attention, as we built it, cannot tell them apart: it treats a sentence as a bag. This chapter proves that, then gives each word a sense of place in four ways, and finds out what each of them can and cannot do.
#
# **After this chapter you can**
#
# - prove and measure that attention without positions does not see order;
# - compute sinusoidal encodings by hand, and say why their dot product depends on the distance only;
# - derive rotary positions and ALiBi, and say at which point of the layer each scheme acts;
# - predict which scheme solves which task, and which one survives texts longer than those of training.

# %%
import numpy as np

import checks
import minigrad as mg
from book import figure, line, paired, sized, table
from minigrad import nn, optim
from transformer import (
    AlibiBias,
    EncoderLayer,
    LearnedPositions,
    MultiHeadAttention,
    RotaryPositions,
    SinusoidalPositions,
)
from transformer.positions import Positions

# %% [markdown]
# ## 1 · Experiment: shuffle the words
#
# Let $f$ be a self-attention layer and $X: (T, C)$ a sentence. Shuffle its rows: $X' = \Pi X$, where $\Pi$ (a *permutation matrix*, $(T, T)$) has a single 1 in each row and column. Follow it through the formula: $Q' = \Pi Q$, $K' = \Pi K$, $V' = \Pi V$, so the scores are $Q'K'^\top = \Pi\, QK^\top\, \Pi^\top$: rows and columns shuffled alike.
# Softmax acts on each row, so $P' = \Pi P \Pi^\top$, and
#
# $$f(\Pi X) = \Pi P \Pi^\top \Pi V W^O = \Pi\, f(X), \qquad\text{because } \Pi^\top \Pi = 1 .$$
#
# The same word gets the same vector, wherever it stands. On paper that is a proof; in the machine:

# %%
rng = np.random.default_rng(0)
mg.manual_seed(0)
layer = MultiHeadAttention(8, 2)
X = rng.normal(size=(1, 6, 8)).astype(np.float32)
order = rng.permutation(6)


def shuffled_gap(positions):
    """How much more than the rows of the output change when the input's rows are shuffled."""
    layer.positions = positions
    with mg.no_grad():
        straight = layer(positions.embed(mg.Tensor(X))).data
        shuffled = layer(positions.embed(mg.Tensor(X[:, order]))).data
    return np.abs(shuffled - straight[:, order]).max()


mg.manual_seed(1)
schemes = {
    "none": Positions(),
    "sinusoidal": SinusoidalPositions(8),
    "learned": LearnedPositions(6, 8, std=0.3),
    "rotary": RotaryPositions(4),
    "ALiBi": AlibiBias(2),
}
gaps = {name: shuffled_gap(scheme) for name, scheme in schemes.items()}
assert gaps["none"] < 1e-6 and min(gap for name, gap in gaps.items() if name != "none") > 1e-3
table(["positions", "f(ΠX) − Π f(X), at most"], [(name, f"{gap:.0e}") for name, gap in gaps.items()])

# %% [markdown]
# Without positions the difference is round-off. The four schemes act at three different points:
#
# | scheme | acts on | how |
# | --- | --- | --- |
# | sinusoidal, learned | the word vectors, once, at the bottom | a vector for each position is **added** |
# | rotary | queries and keys, in every layer | they are **turned** by an angle proportional to the position |
# | ALiBi | the scores, in every layer | a penalty proportional to the **distance** is subtracted |
#
# ## 2 · Waves
#
# Position $t = 0, 1, 2, \dots$ gets a vector of $C$ numbers (the width of the model, even). They come in pairs, a sine and a cosine of the same frequency $\omega_i$:
#
# $$PE_{t, 2i} = \sin(t\,\omega_i), \quad PE_{t, 2i+1} = \cos(t\,\omega_i), \qquad \omega_i = 10000^{-2i/C}, \quad i = 0, \dots, \tfrac C2 - 1 .$$
#
# With $C = 4$ there are two frequencies, $\omega_0 = 1$ and $\omega_1 = 10000^{-1/2} = 0.01$. On paper (in radians):
#
# $$PE_0 = (0, 1, 0, 1), \qquad PE_1 = (\sin 1, \cos 1, \sin 0.01, \cos 0.01) = (0.8415,\; 0.5403,\; 0.0100,\; 1.0000) .$$
#
# It is a clock with $C/2$ hands: the first turns fast, each of the others more slowly. Two positions that look alike on one hand differ on another.

# %%
def sinusoids(T, C):  # → (T, C)
    t = np.arange(T)[:, None]  # (T, 1)
    i = np.arange(C // 2)[None, :]  # (1, C/2)
    omega = 10000.0 ** (-2 * i / C)
    PE = np.empty((T, C))
    PE[:, 0::2], PE[:, 1::2] = np.sin(t * omega), np.cos(t * omega)
    return PE


assert np.allclose(sinusoids(2, 4)[1], [0.8415, 0.5403, 0.0100, 1.0000], atol=5e-5)
library = SinusoidalPositions(64).embed(mg.Tensor(np.zeros((1, 100, 64)))).data[0]
print(f"ours − the library's: {np.abs(sinusoids(100, 64) - library).max():.0e}")
assert np.allclose(sinusoids(100, 64), library, atol=1e-12)

# %% [markdown]
# **What does a query see?** Take the dot product of two encodings, pair by pair; $\sin a \sin b + \cos a \cos b = \cos(a - b)$:
#
# $$PE_t \cdot PE_s = \sum_{i} \cos\big((t - s)\,\omega_i\big) .$$
#
# Only the *distance* $t - s$ is left. The sum is largest at distance 0, falls over the first few places on either side, and then goes up and down.

# %%
PE = sinusoids(100, 64)
dots = PE @ PE.T
fig, (left, right) = figure(9.4, 3.7, 1, 2)
image = left.imshow(PE, cmap="cividis", aspect="auto", interpolation="nearest", vmin=-1, vmax=1)
left.grid(False)
left.set_xlabel("number in the vector (2i: sine, 2i + 1: cosine)")
left.set_ylabel("position t")
fig.colorbar(image, ax=left, label="value")
for i, t in enumerate((20, 50, 80)):
    distance = np.arange(100) - t
    right.plot(distance, dots[t], label=f"t = {t}", **line(i))
right.set_xlabel("distance s − t")
right.set_ylabel("dot product of the encodings")
right.legend()
predicted = np.cos(
    np.subtract.outer(np.arange(100), np.arange(100))[..., None] * 10000.0 ** (-2 * np.arange(32) / 64)
).sum(axis=-1)
assert np.allclose(dots, predicted) and np.allclose(np.diag(dots), 32)
assert np.all(np.diff(dots[0, :4]) < 0) and not np.all(
    np.diff(dots[0]) < 0
)  # first it falls, later it does not
fig

# %% [markdown]
# The three curves lie on one another, as the formula says. (Each is cut off where the text begins or ends.)
#
# **But a model does not take this dot product.** Queries and keys are projections, so what enters a score is $PE_t\, W^Q W^{K\top} PE_s^\top$, and that does *not* depend on the distance alone. For random projections hardly anything of the property is left:

# %%
def spreads(scores):
    """Standard deviation of all scores, and of those at equal distance (root mean square over distances)."""
    T = len(scores)
    around = [np.var(np.diag(scores, distance)) for distance in range(1 - T, T)]
    weights = [T - abs(distance) for distance in range(1 - T, T)]
    return scores.std(), np.sqrt(np.average(around, weights=weights))


rows = [("PE · PE", *spreads(dots))]
for seed in range(3):
    W_Q, W_K = np.random.default_rng(seed).normal(size=(2, 64, 64)) / 8
    rows.append((f"projected at random, seed {seed}", *spreads(PE @ W_Q @ W_K.T @ PE.T)))
assert rows[0][2] < 1e-9 and all(equal > 0.7 * everywhere for _, everywhere, equal in rows[1:])
table(
    ["scores", "spread of all", "spread at equal distance"],
    [(name, f"{a:.2f}", f"{b:.2f}") for name, a, b in rows],
)

# %% [markdown]
# What the waves offer is that a projection which looks $k$ places back *exists*, the same for all places (exercise 4 finds it). Training has to find it.
#
# **Learned** positions are simpler still: a table $(T_\text{max}, C)$ of trained numbers, one row for each position. It can take any form that helps, but there is no row $T_\text{max} + 1$.
#
# ## 3 · Rotary: turn instead of add
#
# Adding mixes *what* and *where* in one vector. Rotary positions leave the vectors alone and turn queries and keys just before they meet. Take a pair of numbers $(a, b)$ of a query at position $t$ and turn it by the angle $t\omega$:
#
# $$R_t \begin{pmatrix} a\\ b\end{pmatrix} = \begin{pmatrix} a\cos t\omega - b \sin t\omega \\ b\cos t\omega + a\sin t\omega\end{pmatrix}, \qquad (R_t\, q)\cdot(R_s\, k) = q \cdot (R_{s-t}\, k) .$$
#
# Turning both by the same angle changes no dot product, so only the difference of the angles counts: **the score depends on the contents and on the distance, never on the absolute position.** This holds in every layer and *after* the projections, which is what the waves could not do.
#
# By hand, with $\omega = \tfrac\pi3$ (a sixth of a turn per step, $\cos\omega = \tfrac12$, $\sin\omega = \tfrac{\sqrt3}2$), $q = (2, 0)$ and $k = (1, 0)$. At $t = 1$ and $s = 2$: $R_1 q = (1, \sqrt3)$, $R_2 k = (-\tfrac12, \tfrac{\sqrt3}2)$, and the score is $-\tfrac12 + \tfrac32 = 1$. One step further, $t = 2$, $s = 3$: $R_2 q = (-1, \sqrt3)$, $R_3 k = (-1, 0)$, and it is $1$ again.
# At twice the distance, $t = 1$, $s = 3$: $(1, \sqrt3) \cdot (-1, 0) = -1$. And the *sign* of the distance counts: for $k = (0, 1)$ the score is $-\sqrt3$ when the key is one place behind the query ($s = t + 1$), and $+\sqrt3$ when it is one place before.
#
# A head of width $D$ has $D/2$ pairs, each with its own $\omega_i = 10000^{-2i/D}$; here a pair is $(i, i + D/2)$.

# %%
def rotate(x, base=10000.0):  # (..., T, D) → (..., T, D)
    T, D = x.shape[-2:]
    angle = np.arange(T)[:, None] * base ** (-2 * np.arange(D // 2) / D)  # (T, D/2)
    a, b = x[..., : D // 2], x[..., D // 2 :]
    return np.concatenate(
        [a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], axis=-1
    )


def turned(x, t, omega=np.pi / 3):
    a, b = x
    return np.array(
        [a * np.cos(t * omega) - b * np.sin(t * omega), b * np.cos(t * omega) + a * np.sin(t * omega)]
    )


by_hand = [
    turned((2, 0), t) @ turned(k, s)
    for t, s, k in ((1, 2, (1, 0)), (2, 3, (1, 0)), (1, 3, (1, 0)), (1, 2, (0, 1)), (2, 1, (0, 1)))
]
assert np.allclose(by_hand, [1, 1, -1, -np.sqrt(3), np.sqrt(3)])

rng = np.random.default_rng(2)
q, k = rng.normal(size=8), rng.normal(size=8)
scores = (
    rotate(np.tile(q, (12, 1))) @ rotate(np.tile(k, (12, 1))).T
)  # the same q and k at all pairs of positions: (12, 12)
spread = max(np.ptp(np.diag(scores, distance)) for distance in range(-11, 12))
x = rng.normal(size=(3, 12, 8))
ours, library = rotate(x), RotaryPositions(8).rotate(mg.Tensor(x))
print(
    f"scores at equal distance differ by {spread:.0e}; scores at different distances by {np.ptp(scores):.2f}"
)
print(f"ours − the library's: {np.abs(ours - library.data).max():.0e}")
assert spread < 1e-13 < np.ptp(scores) and np.allclose(ours, library.data, atol=1e-12)

# %% [markdown]
# The gradient is easy too: turning is linear, so the upstream gradient is turned *back*, $\bar x = R_{-t}\, \bar y$. Engine, paper and finite differences:

# %%
def rotate_backward(y_bar, base=10000.0):
    T, D = y_bar.shape[-2:]
    angle = -np.arange(T)[:, None] * base ** (-2 * np.arange(D // 2) / D)  # the other way
    a, b = y_bar[..., : D // 2], y_bar[..., D // 2 :]
    return np.concatenate(
        [a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], axis=-1
    )


x, y_bar = np.random.default_rng(3).normal(size=(2, 5, 6))
t = mg.Tensor(x, requires_grad=True)
RotaryPositions(6).rotate(t).backward(y_bar)
paper = rotate_backward(y_bar)
numeric = np.zeros_like(x)
for i in np.ndindex(x.shape):
    step = np.zeros_like(x)
    step[i] = 1e-5
    numeric[i] = ((rotate(x + step) - rotate(x - step)) * y_bar).sum() / 2e-5
report = mg.compare(
    {"engine": t.grad, "finite differences": numeric}, {"engine": paper, "finite differences": paper}
)
assert report
report

# %% [markdown]
# **ALiBi** is the simplest of all. Query $i$ pays for looking at key $j$ in proportion to the distance, with a slope $m_h$ of its own for each head, $\tfrac12, \tfrac14, \dots$ for 8 heads:
#
# $$z_{hij} = \frac{q_i \cdot k_j}{\sqrt D} - m_h\, |i - j| .$$
#
# Steep heads are short-sighted, flat ones see far. How much do the schemes favour near words, before anything is learned? Draw queries of width 64 at random, and keys for all distances, and take the mean weight by distance. For rotary, two cases: queries and keys drawn *independently*, as they are when $W^Q$ and $W^K$ are fresh, and all keys *equal to* the query.

# %%
T, draws = 40, 4000
rng = np.random.default_rng(6)
q, k = (
    rng.normal(size=(draws, 1, 64)),
    rng.normal(size=(draws, T, 64)),
)  # a query, and another key at each distance
omega = 10000.0 ** (-2 * np.arange(32) / 64)
angles = np.arange(T)[:, None] * omega  # (T, 32): how far a key at this distance is turned


def scores_by_distance(q, k):  # (draws, 1, D), (draws, T, D) → (draws, T): q · R k / √D
    along = (q[..., :32] * k[..., :32] + q[..., 32:] * k[..., 32:]) * np.cos(angles)
    across = (q[..., 32:] * k[..., :32] - q[..., :32] * k[..., 32:]) * np.sin(angles)
    return (along + across).sum(axis=-1) / 8


def mean_weights(scores):  # (draws, T) → (T,), relative to distance 0
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = (e / e.sum(axis=-1, keepdims=True)).mean(axis=0)
    return weights / weights[0]


alibi = AlibiBias(8).bias(T, T, np.float64)  # (8, T, T)
content = (q * k).sum(axis=-1) / 8  # what the scores would be without positions
curves = {
    f"ALiBi, head {h + 1} (slope {-alibi[h, 0, 1]:g})": mean_weights(content + alibi[h, 0]) for h in (0, 3)
}
curves["rotary, q and k independent"] = mean_weights(scores_by_distance(q, k))
curves["rotary, q = k"] = mean_weights(scores_by_distance(q, q))
assert np.allclose(scores_by_distance(q, k)[:, 0], content[:, 0]) and np.allclose(
    -alibi[:, 0, 1], 2.0 ** -np.arange(1, 9)
)
assert np.abs(curves["rotary, q and k independent"] - 1).max() < 0.1 and curves["rotary, q = k"][20] < 0.1
fig, ax = figure(6.8, 3.7)
for i, (name, weights) in enumerate(curves.items()):
    ax.plot(np.arange(T), weights, label=name, **line(i))
ax.set_xlabel("distance to the key")
ax.set_ylabel("mean weight, relative to distance 0")
ax.set_ylim(bottom=0)
ax.legend()
flat = curves["rotary, q and k independent"]
print(f"rotary, independent q and k: between {flat.min():.2f} and {flat.max():.2f} at all distances")
fig

# %% [markdown]
# ALiBi prefers near words from the first step on. Rotary positions do not: with independent queries and keys the line is flat. The preference that is often shown for them (Su et al., section 3.4.3) belongs to $q = k$, a word that meets itself. Rotary positions *can* express "near", and much else; which of it, training decides.
#
# ## 4 · Experiment: reverse
#
# Ten symbols, length 16; the answer is the same sequence backwards. At place $t$ the model must look at place $15 - t$: that is an **absolute** question. One layer, one head, width 32.
#
# **Predict.** Without positions, equal symbols get equal answers. Which of the four schemes will solve it? (Remember what a rotary score may depend on.)

# %%
class Tagger(nn.Module):
    """An answer for each place: embedding, blocks of attention and feed-forward, one linear map."""

    def __init__(self, positions, heads, layers, width=32, symbols=10, causal=False):
        self.embedding = nn.Embedding(symbols, width)
        self.positions = positions
        self.layers = nn.ModuleList(
            [
                EncoderLayer(width, heads, 2 * width, norm_first=True, positions=positions)
                for _ in range(layers)
            ]
        )
        self.out = nn.Linear(width, symbols)
        self.causal = causal

    def forward(self, ids):  # (B, T) → (B, T, symbols)
        x = self.positions.embed(self.embedding(ids))
        for block in self.layers:
            x = block(x, causal=self.causal)
        return self.out(x)


def make(name, heads, width=32, length=16):
    return {
        "none": Positions,
        "sinusoidal": lambda: SinusoidalPositions(width),
        "learned": lambda: LearnedPositions(length, width, std=0.3),
        "rotary": lambda: RotaryPositions(width // heads),
        "ALiBi": lambda: AlibiBias(heads),
    }[name]()


def train(task, name, heads, layers, causal, seed, steps=300, rate=3e-3):
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Tagger(make(name, heads), heads, layers, causal=causal)
    optimizer = optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        optimizer.lr = (
            rate * min(1, (step + 1) / 50) * (1 if step < 0.7 * steps else 0.2)
        )  # warm up, slow down at the end
        x, y = task(rng, 32, 16)
        loss = mg.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    return model


def accuracy(model, task, length, examples=200, first=0):
    x, y = task(np.random.default_rng(9), examples, length)
    with mg.no_grad():
        right = (model(x).data.argmax(axis=-1) == y)[:, first:]
    return right.mean(), right.all(axis=1).mean()  # single places (from ``first`` on), whole sequences


def reverse(rng, n, length):
    x = rng.integers(0, 10, (n, length))
    return x, x[:, ::-1]


names = ["none", "sinusoidal", "learned", "rotary", "ALiBi"]
SEEDS = range(3)
reversing = {
    name: np.array([accuracy(train(reverse, name, 1, 1, False, seed), reverse, 16) for seed in SEEDS])
    for name in names
}
assert all(reversing[name][:, 1].min() > 0.9 for name in ("sinusoidal", "learned"))
assert all(reversing[name][:, 1].max() < 0.05 for name in ("none", "rotary", "ALiBi"))
table(
    ["positions (3 seeds)", "places right", "whole sequences right", "places: against none, in points"],
    [
        (
            name,
            f"{100 * a:.1f} %",
            f"{100 * b:.1f} %",
            paired(100 * found[:, 0], 100 * reversing["none"][:, 0], 1) if name != "none" else "",
        )
        for name, found in reversing.items()
        for a, b in [found.mean(axis=0)]
    ],
)

# %% [markdown]
# (The last column shows a difference as everywhere in this book: both are trained from the same seeds, the differences are taken seed by seed, and the mean stands with its 95 % interval, by Student's $t$. An interval that holds 0 is marked *undecided*.)
#
# The absolute schemes are perfect. Rotary and ALiBi get no sequence right; ALiBi gets no more places than none (undecided), rotary six points more: they know how far a word is, not where one is oneself, and no distance answers *look at place $15 - t$*.
#
# ## 5 · Experiment: two relative questions, and longer texts
#
# Now two **relative** tasks, read from left to right (causal), each with a rule that does not depend on the length of the text:
#
# - *most recent*: symbols 0–3 are *marked*, 4–9 are not; the answer at each place is the most recent marked symbol, this place included. The nearer, the better.
# - *eight back*: the answer is the symbol exactly 8 places back (in the first 8 places, which are not scored, the symbol itself). Nearness is no help; one must count. A guess is right in 10 %.
#
# Train on length 16, then test on longer texts. Learned positions cannot even be asked.
#
# **Predict.** ALiBi subtracts more the further a key is. On which of the two tasks will that help?

# %%
def most_recent(rng, n, length):
    x = rng.integers(0, 10, (n, length))
    x[:, 0] = rng.integers(0, 4, n)
    y = x.copy()
    for t in range(1, length):
        y[:, t] = np.where(x[:, t] < 4, x[:, t], y[:, t - 1])
    return x, y


def eight_back(rng, n, length):
    x = rng.integers(0, 10, (n, length))
    y = x.copy()
    y[:, 8:] = x[:, :-8]
    return x, y


lengths = [16, 24, 32, 64, 128]
STEPS = sized(300, 200, "steps")


def by_length(task, name, first=0):
    """The share of places, from ``first`` on, that are right, in %: (seeds, lengths)."""
    asked = lengths if name != "learned" else lengths[:1]
    models = [train(task, name, 4, 2, True, seed, STEPS) for seed in SEEDS]
    return np.array([[100 * accuracy(model, task, n, 64, first)[0] for n in asked] for model in models])


recent = {name: by_length(most_recent, name) for name in names}

try:
    model = Tagger(LearnedPositions(16, 32), 4, 2, causal=True)
    model(np.zeros((1, 17), int))
except ValueError as error:
    print(error)

# %%
back = {name: by_length(eight_back, name, 8) for name in names}
fig, axes = figure(9.6, 4.0, 1, 2, sharey=True)
for ax, (title, result) in zip(
    axes, {"most recent marked symbol": recent, "symbol eight places back": back}.items()
):
    for i, (name, found) in enumerate(result.items()):
        style = line(i) | (
            {"markersize": 11, "markerfacecolor": "none", "zorder": 5}
            if name == "learned"
            else {"markersize": 5}
        )
        ax.plot(lengths[: found.shape[1]], found.mean(axis=0), marker="os^Dv"[i], label=name, **style)
        ax.fill_between(
            lengths[: found.shape[1]],
            found.min(axis=0),
            found.max(axis=0),
            color=style["color"],
            alpha=0.15,
            linewidth=0,
        )
    ax.axvline(16, color="0.35", linewidth=1, linestyle=":")
    ax.set_xscale("log", base=2)
    ax.set_xticks([16, 32, 64, 128], ["16", "32", "64", "128"])
    ax.minorticks_off()
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("length of the test text (16: that of training)")
axes[0].set_ylabel("places right (%; mean and range of 3 seeds)")
axes[0].set_ylim(0, 104)
axes[1].legend(loc="upper right", fontsize=9)
fig

# %%
end, asked = len(lengths) - 1, [lengths.index(n) for n in (16, 24, 32, 128)]
assert (
    min(found[:, 0].min() for found in recent.values()) > 85
    and recent["ALiBi"][:, end].min() > 95 > 75 > recent["sinusoidal"][:, end].max()
)
assert all(recent["rotary"][seed, 2] > recent["sinusoidal"][seed, 2] for seed in SEEDS)
assert all(back[name][:, 0].min() > 85 for name in ("sinusoidal", "learned", "rotary")) and all(
    back[name][:, 0].max() < 30 for name in ("none", "ALiBi")
)
duels = {
    "most recent, length 128: ALiBi − rotary": paired(recent["ALiBi"][:, end], recent["rotary"][:, end], 1),
    "most recent, length 128: rotary − none": paired(recent["rotary"][:, end], recent["none"][:, end], 1),
    "eight back, length 16: ALiBi − rotary": paired(back["ALiBi"][:, 0], back["rotary"][:, 0], 1),
    "eight back, length 16: ALiBi − none": paired(back["ALiBi"][:, 0], back["none"][:, 0], 1),
    "eight back, length 16: none − a guess": paired(back["none"][:, 0], np.full(len(SEEDS), 10.0), 1),
    "eight back, length 24: rotary − sinusoidal": paired(back["rotary"][:, 1], back["sinusoidal"][:, 1], 1),
}
assert (
    duels["most recent, length 128: ALiBi − rotary"].low > 5
    and duels["eight back, length 16: ALiBi − rotary"].high < -20
)
for what, found in duels.items():
    print(f"{what}, in points: {found}")
table(
    ["task", "positions", "length 16", "24", "32", "128"],
    [
        (task, name, *(f"{found[:, i].mean():.1f} %" if i < found.shape[1] else "error" for i in asked))
        for task, result in (("most recent", recent), ("eight back", back))
        for name, found in result.items()
    ],
)

# %% [markdown]
# The winners change places. When the nearest is asked for, ALiBi hardly notices that the text is eight times as long, since its penalty goes on as before; sinusoidal vectors that never occurred in training confuse the model at once, and rotary holds on for a while (at length 128 it is below no positions at all). When a *place* is asked for, ALiBi is no better than no positions at all (undecided): a penalty that only grows has no peak at the eighth place. Rotary, sinusoidal and learned positions can, at the length of training. None of them carries the rule over to longer texts, though rotary loses less at first.
#
# So "ALiBi extrapolates" means: on questions that reward nearness. Text asks many such questions, and others. Among large models, LLaMA and its many relatives use rotary positions (and slow the turns down to read longer texts: chapter 08b), BLOOM used ALiBi, and T5 learned a number for each distance to add to the scores, with one number for a whole range of large distances.
#
# And *none*? It gets a little more than a guess at *eight back* (21 % against 10 % at length 16), and far more at *most recent* (96 %): a **causal** model can count. Place $t$ averages over $t + 1$ words, so the size of an average tells where it is. The proof of section 1 needs every word to see every other.
#
# ## Common misunderstandings
#
# - ***Positions are needed because attention processes words in parallel.*** They are needed because softmax-weighted sums have no order, however they are computed.
# - ***Sinusoidal encodings extrapolate, since sines go on forever.*** The encodings do; the trained model that reads them does not.
# - ***Adding a position to a word destroys the word.*** In 32 or 512 dimensions there is room for the two in different directions, and training can use it.
# - ***Rotary positions rotate the values too.*** Only queries and keys. The values are what is said, not where.
# - ***A KV cache (chapter 11) starts a new text at position 0.*** It must go on counting (`start=` in this library); otherwise every new word claims to be the first.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · How alike are two places?
#
# The dot product of two sinusoidal encodings, $PE_t \cdot PE_{t+k}$, does not depend on $t$. Write it as a function of the distance $k$ alone, for an array of distances $k$ of any shape (also negative ones), without making a table of encodings; the width $C$ is even.

# %% tags=["exercise"]
def closeness(k, C):
    """PE[t] · PE[t + k] for every distance in the array k, in its shape."""
    ### BEGIN SOLUTION
    omega = 10000.0 ** (-2 * np.arange(C // 2) / C)
    return np.cos(np.asarray(k)[..., None] * omega).sum(axis=-1)
    ### END SOLUTION


checks.check_07_closeness(closeness)

# %% [markdown] tags=["idea"]
# Each pair gives $\sin a \sin b + \cos a\cos b = \cos(a - b)$ with $a - b = k\omega_i$, so the sum is $\sum_i \cos(k\omega_i)$: $C/2$ at distance 0, the same for $k$ and $-k$, and smaller, but not steadily, further away.

# %% [markdown]
# ### Exercise 2 ★★ · Rotary, with a start
#
# Turn $x: (T, D)$, whose first row stands at position `start`, pairs $(i, i + D/2)$, $\omega_i = 10000^{-2i/D}$.

# %% tags=["exercise"]
def my_rotate(x, start=0):
    """Rotary positions start, start + 1, … for x (T, D)."""
    ### BEGIN SOLUTION
    T, D = x.shape
    angle = np.arange(start, start + T)[:, None] * 10000.0 ** (-2 * np.arange(D // 2) / D)
    a, b = x[:, : D // 2], x[:, D // 2 :]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], axis=1)
    ### END SOLUTION


checks.check_07_rotate(my_rotate)

# %% [markdown] tags=["idea"]
# As in section 3, with `np.arange(start, start + T)` for the positions.

# %% [markdown]
# ### Exercise 3 ★★ · ALiBi for a late query
#
# As in exercise 2 of chapter 05: $T$ new words come after $S - T$ old ones, so that the last query stands at the last key. With slopes $m: (H,)$, give the bias $(H, T, S)$ that is added to the scores.

# %% tags=["exercise"]
def alibi(slopes, T, S):
    """The bias (H, T, S): −slope · distance, the last query at the last key."""
    ### BEGIN SOLUTION
    distance = np.abs(np.arange(S - T, S)[:, None] - np.arange(S)[None, :])
    return -np.asarray(slopes)[:, None, None] * distance
    ### END SOLUTION


checks.check_07_alibi(alibi)

# %% [markdown] tags=["idea"]
# Query $i$ stands at $i + S - T$, key $j$ at $j$. Broadcasting: positions of queries as a column, of keys as a row, slopes on an axis in front.

# %% [markdown]
# ### Exercise 4 ★★★ · A step is a turn
#
# The authors of the Transformer hoped that the model could easily learn to look $k$ places back, since $PE_{t+k}$ is a linear function of $PE_t$. Find that function: the matrix $R_k: (C, C)$ with $R_k\, PE_t = PE_{t+k}$ for *every* $t$.

# %% tags=["exercise"]
def shift_matrix(k, C):
    """R (C, C) with R @ PE[t] = PE[t + k] for all t."""
    ### BEGIN SOLUTION
    R = np.zeros((C, C))
    for i in range(C // 2):
        angle = k * 10000.0 ** (-2 * i / C)
        R[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    return R
    ### END SOLUTION


checks.check_07_shift_matrix(shift_matrix)

# %% [markdown] tags=["idea"]
# For one pair, $\sin(a + b) = \sin a\cos b + \cos a \sin b$ and $\cos(a+b) = \cos a\cos b - \sin a\sin b$ with $a = t\omega_i$, $b = k\omega_i$. So each pair is multiplied by $\begin{pmatrix}\cos b & \sin b\\ -\sin b & \cos b\end{pmatrix}$, and $R_k$ has these blocks on its diagonal. That is a rotation: rotary positions are sinusoidal ones,
# used differently.

# %% [markdown]
# ## References
#
# - A. Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.5: the waves.
# - J. Gehring et al., "Convolutional sequence to sequence learning", ICML 2017, section 3.1: learned positions.
# - J. Su et al., "RoFormer: enhanced Transformer with rotary position embedding", arXiv:2104.09864 (2021), section 3.2 and eq. 34.
# - P. Shaw, J. Uszkoreit, A. Vaswani, "Self-attention with relative position representations", NAACL 2018, section 3: the distance enters attention. C. Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text Transformer", JMLR 21 (2020), section 2.1: T5, one learned number for each range of distances.
# - O. Press, N. A. Smith, M. Lewis, "Train short, test long: attention with linear biases enables input length extrapolation", ICLR 2022, section 3.
# - A. Haviv et al., "Transformer language models without positional encodings still learn positional information", Findings of EMNLP 2022: why *none* is not lost when the model is causal.
# - H. Touvron et al., "LLaMA: open and efficient foundation language models", arXiv:2302.13971 (2023), section 2.2: rotary positions in use. BigScience Workshop, "BLOOM: a 176B-parameter open-access multilingual language model", arXiv:2211.05100 (2022), section 3.2.2: ALiBi in use.
#
# **Before:** [06 · Q, K, V and many heads](06_q_k_v_and_many_heads.ipynb). **Next:** [08 · The block](08_the_block.ipynb).
