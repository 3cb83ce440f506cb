# ---
# jupyter:
#   cover: 1
# ---

# %% [markdown]
# # 06 · Q, K, V and many heads
#
# *About 50 minutes to read, 45 more for the exercises. You need [05 · Attention as soft lookup](05_attention_as_soft_lookup.ipynb): the attention formula and its backward pass.
# Next: [07 · Where am I? Position](07_where_am_i_position.ipynb).*
#
# In chapter 05 queries, keys and values were simply given. In a Transformer they all come from the *same* words: each word asks (query), offers (key) and has something to say (value), and three trained matrices decide what. This is **self-attention**. And since a word may have several questions at once,
# several small attentions work side by side: the **heads**.
#
# **After this chapter you can**
#
# - follow one six-word sentence through three heads, with every number on paper;
# - write multi-head attention as a loop and as a reshape, and say why the obvious reshape is wrong;
# - load weights into the library's `MultiHeadAttention` and get PyTorch's numbers;
# - say what a second head can do that one head cannot, and predict the error of one head before measuring it.

# %%
import numpy as np

import checks
import minigrad as mg
from book import draw_matrix, figure, line, paired, plot_attention, recorded, table
from minigrad import optim
from transformer import MultiHeadAttention, RotaryPositions, attention_maps, scaled_dot_product_attention

# %% [markdown]
# ## 1 · Six words, three numbers each
#
# The sentence is *the dog chased the small cat*: $T = 6$ words. Each word is a vector of $C = 3$ numbers, which we choose by hand so that they mean something: *is it a noun, is it a verb, does it describe?* The words are the rows of $X: (6, 3)$.
#
# $$X = \begin{pmatrix} 0&0&1\\ 1&0&0\\ 0&1&0\\ 0&0&1\\ 0&0&2\\ 1&0&0 \end{pmatrix} \begin{matrix} \text{the}\\ \text{dog}\\ \text{chased}\\ \text{the}\\ \text{small}\\ \text{cat}\end{matrix}$$
#
# A head has three matrices with $C$ rows and $D$ columns; here $D = 1$, so that a query is a single number. **Head 1** lets verbs look for nouns:
#
# $$W^Q_1 = \begin{pmatrix}0\\ \ln 4\\ 0\end{pmatrix} \text{(verbs ask)}, \qquad W^K_1 = \begin{pmatrix}1\\0\\0\end{pmatrix} \text{(nouns answer)}, \qquad W^V_1 = \begin{pmatrix}1\\0\\0\end{pmatrix} \text{(and say that they are nouns)} .$$
#
# Then $q = XW^Q_1$ is $\ln 4$ for *chased* and 0 for the others; $k = XW^K_1$ is 1 for *dog* and *cat*. The scores of *chased* are $q \cdot k / \sqrt{D} = \ln 4$ at the nouns and 0 elsewhere. Exponentials: $4$ at two words, $1$ at four, sum $12$. So *chased* looks at *dog* and at *cat* with weight $\tfrac4{12} = \tfrac13$ each, and
# at the other four with $\tfrac1{12}$. All other words ask nothing: their scores are 0, their weights $\tfrac16$. The output of *chased* is $\tfrac13 \cdot 1 + \tfrac13\cdot 1 = \tfrac23$.

# %%
words = ["the", "dog", "chased", "the", "small", "cat"]
X = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 2], [1, 0, 0]], float)  # (T, C) = (6, 3)


def softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def head(X, W_Q, W_K, W_V):  # (T, C), three times (C, D) → (T, D), (T, T)
    Q, K, V = X @ W_Q, X @ W_K, X @ W_V  # each (T, D)
    P = softmax(Q @ K.T / np.sqrt(Q.shape[-1]))  # (T, T)
    return P @ V, P


def column(*numbers):
    return np.array(numbers, float)[:, None]  # (3, 1)


heads = [
    (column(0, np.log(4), 0), column(1, 0, 0), column(1, 0, 0)),  # verbs look for nouns
    (column(np.log(3), 0, 0), column(0, 0, 1), column(0, 0, 1)),  # nouns look for what describes them
    (column(np.log(6), 0, np.log(6)), column(0, 1, 0), column(0, 1, 0)),  # all but the verb look for the verb
]
outputs, maps = zip(*(head(X, *weights) for weights in heads))
assert np.allclose(maps[0][2], [1 / 12, 1 / 3, 1 / 12, 1 / 12, 1 / 12, 1 / 3]) and np.isclose(
    outputs[0][2, 0], 2 / 3
)

fig, axes = figure(10.4, 4.0, 1, 3, sharey=True)
plans = ("verbs look for nouns", "nouns look for descriptions", "all look for the verb")
for h, (ax, weights) in enumerate(zip(axes, maps)):
    image = draw_matrix(ax, weights, words, words, numbers=".2f", low=0, high=0.9)
    ax.tick_params(axis="x", rotation=90)
    ax.set_title(f"head {h + 1}: {plans[h]}", fontsize=10)
    ax.set_xlabel("key (attended to)")
axes[0].set_ylabel("query (attending)")
fig.colorbar(image, ax=axes, label="attention weight", shrink=0.8)
fig

# %% [markdown]
# **Question.** The two *the* have exactly the same rows in every map, and so have *dog* and *cat*, though one chases and the other runs. Why? (The same vector asks the same and offers the same. Nothing in $X$ says *where* a word stands; chapter 07 mends that.)
#
# The outputs of the heads are put side by side, $(T, 3 \cdot 1)$, and a last matrix $W^O: (H D, C)$ mixes them. With $H$ heads:
#
# $$\operatorname{head}_h = \operatorname{softmax}\!\Big(\frac{X W^Q_h (X W^K_h)^\top}{\sqrt{D}}\Big) X W^V_h, \qquad \operatorname{MultiHead}(X) = \big[\operatorname{head}_1 \cdots \operatorname{head}_H\big]\, W^O .$$

# %%
W_O = np.eye(3)
Y = np.concatenate(outputs, axis=-1) @ W_O  # (6, 3)
assert np.isclose(Y[2, 0], 2 / 3)
table(
    ["word", "noun seen (head 1)", "description seen (head 2)", "verb seen (head 3)"],
    [(word, *row) for word, row in zip(words, Y)],
)

# %% [markdown]
# Read a row: after attention, the vector of *chased* knows that there are nouns, and *dog* knows that it is described. (Everyone gets a little of everything: a query without a question averages.)
#
# ## 2 · All heads at once
#
# Usually $D = C/H$: the heads share the width. Instead of $H$ matrices $W^Q_h: (C, D)$, keep one $W^Q: (C, C)$ whose columns $hD \dots (h+1)D - 1$ belong to head $h$ (counting from 0). Then one product gives all queries, and what remains is to cut the last axis into heads and put the heads in front:
#
# $$(T, C) \;\xrightarrow{\text{reshape}}\; (T, H, D) \;\xrightarrow{\text{swap axes}}\; (H, T, D) .$$
#
# It is tempting to reshape straight to $(H, T, D)$. The shape is right and no error comes, but words and heads are scrambled. Number the entries and look:

# %%
def split_heads(x, H):  # (..., T, C) → (..., H, T, D)
    *batch, T, C = x.shape
    return x.reshape(*batch, T, H, C // H).swapaxes(-2, -3)


def join_heads(x):  # (..., H, T, D) → (..., T, C)
    *batch, H, T, D = x.shape
    return x.swapaxes(-2, -3).reshape(*batch, T, H * D)


T, H, D = 3, 2, 2
word_of = np.repeat(np.arange(T)[:, None], H * D, axis=1)  # (3, 4): which word an entry belongs to
fig, axes = figure(8.6, 2.9, 1, 3, width_ratios=[4, 4, 4])
for ax, matrix, name in (
    (axes[0], word_of, "all queries (T, C)"),
    (axes[1], split_heads(word_of, H)[0], "head 1, swapped axes"),
    (axes[2], word_of.reshape(H, T, D)[0], "head 1, straight reshape"),
):
    draw_matrix(
        ax,
        matrix,
        [f"row {i + 1}" for i in range(3)],
        [f"{j + 1}" for j in range(matrix.shape[1])],
        low=-1,
        high=3,
    )
    for (i, j), w in np.ndenumerate(matrix):
        ax.text(
            j, i, f"word {w + 1}", ha="center", va="center", fontsize=8, color="white" if w > 1 else "black"
        )
    ax.set_title(name, fontsize=10)
    ax.set_xlabel("number in the vector")
assert np.array_equal(split_heads(word_of, H)[0], [[0, 0], [1, 1], [2, 2]])
assert np.array_equal(join_heads(split_heads(word_of, H)), word_of)
fig

# %% [markdown]
# On the right, row 2 of head 1, which should be word 2, holds the second half of word 1. A model with this mistake trains without a complaint; section 5 measures how well.
#
# ## 3 · Experiment: loop = reshape = library = PyTorch
#
# The stored case `multihead_self` has $B = 2$ sentences of $T = 5$ words, $C = 12$, $H = 3$, and biases. Four computations of the same:

# %%
case = recorded("multihead_self")
X = case["input.query"]  # (2, 5, 12)
W = {name: case[f"param.{name}_proj.weight"] for name in ("q", "k", "v", "out")}  # each (12, 12)
b = {name: case[f"param.{name}_proj.bias"] for name in W}  # each (12,)
H, C = 3, 12
D = C // H


def by_loop(X):
    result = np.zeros_like(X)
    for i, sentence in enumerate(X):
        parts = []
        for h in range(H):
            mine = slice(h * D, (h + 1) * D)
            Q, K, V = (sentence @ W[name][:, mine] + b[name][mine] for name in "qkv")  # (T, D)
            parts.append(softmax(Q @ K.T / np.sqrt(D)) @ V)
        result[i] = np.concatenate(parts, axis=-1) @ W["out"] + b["out"]
    return result


def by_reshape(X, split=split_heads, scale=D**-0.5):
    Q, K, V = (split(X @ W[name] + b[name], H) for name in "qkv")  # (B, H, T, D)
    P = softmax(Q @ K.mT * scale)  # (B, H, T, T)
    return join_heads(P @ V) @ W["out"] + b["out"]


numbers = {key.removeprefix("param."): value for key, value in case.items() if key.startswith("param.")}
module = MultiHeadAttention(C, H)
for name, parameter in module.named_parameters():
    parameter.data = np.array(numbers[name])  # float64 instead of the usual float32, to compare all digits

results = {
    "loop over heads": by_loop(X),
    "reshape": by_reshape(X),
    "library": module(mg.Tensor(X)).data,
    "PyTorch": case["output"],
}
wrong = {
    "straight reshape (wrong)": by_reshape(X, split=lambda x, H: x.reshape(2, H, 5, D)),
    "divided by √C instead of √D (wrong)": by_reshape(X, scale=C**-0.5),
}
rows = [(name, f"{np.abs(y - case['output']).max():.0e}") for name, y in (results | wrong).items()]
assert all(np.abs(y - case["output"]).max() < 1e-14 for y in results.values())
assert all(np.abs(y - case["output"]).max() > 0.01 for y in wrong.values())
table(["computed by", "largest difference from PyTorch"], rows)

# %% [markdown]
# ## 4 · Backward: three ways to X
#
# $X$ is used three times: for queries, keys and values. By the rule of chapter 02 the contributions to its gradient add (with $\bar Q, \bar K, \bar V$ from chapter 05, heads joined again):
#
# $$\bar X = \bar Q\, W^{Q\top} + \bar K\, W^{K\top} + \bar V\, W^{V\top}, \qquad \bar W^Q = X^\top \bar Q, \quad \bar W^K = X^\top \bar K, \quad \bar W^V = X^\top \bar V .$$

# %%
Y_bar = case["upstream"]  # (2, 5, 12)
Q, K, V = (split_heads(X @ W[name] + b[name], H) for name in "qkv")
P = softmax(Q @ K.mT / np.sqrt(D))
joined = join_heads(P @ V)  # (2, 5, 12)

g = {"out_proj.weight": np.einsum("btc,bto->co", joined, Y_bar), "out_proj.bias": Y_bar.sum(axis=(0, 1))}
O_bar = split_heads(Y_bar @ W["out"].T, H)  # back through W_O, then cut into heads
P_bar = O_bar @ V.mT
Z_bar = P * (P_bar - (P_bar * P).sum(axis=-1, keepdims=True)) / np.sqrt(D)
bars = {"q": join_heads(Z_bar @ K), "k": join_heads(Z_bar.mT @ Q), "v": join_heads(P.mT @ O_bar)}
for name, bar in bars.items():
    g[f"{name}_proj.weight"] = np.einsum("btc,bto->co", X, bar)
    g[f"{name}_proj.bias"] = bar.sum(axis=(0, 1))
g["X"] = sum(bar @ W[name].T for name, bar in bars.items())

x = mg.Tensor(X, requires_grad=True)
module.zero_grad()
module(x).backward(Y_bar)
engine = {name: p.grad.data for name, p in module.named_parameters()} | {"X": x.grad.data}
pytorch = {name: case[f"grad.param.{name}"] for name in numbers} | {"X": case["grad.input.query"]}


def difference(name, h=1e-5):
    """Central differences of Σ Y_bar ⊙ Y along twenty random entries of one array."""
    array = X if name == "X" else (W if "weight" in name else b)[name.split("_")[0]]
    rng, gaps = np.random.default_rng(0), []
    for flat in rng.choice(array.size, min(20, array.size), replace=False):
        place, sides = np.unravel_index(flat, array.shape), []
        kept = array[place]
        for step in (h, -h):
            array[place] = kept + step
            sides.append((by_reshape(X) * Y_bar).sum())
        array[place] = kept
        gaps.append(abs((sides[0] - sides[1]) / (2 * h) - g[name][place]))
    return max(gaps)


rows = []
for name in g:
    gaps = [difference(name), np.abs(g[name] - engine[name]).max(), np.abs(g[name] - pytorch[name]).max()]
    assert gaps[0] < 1e-7 and max(gaps[1:]) < 1e-12
    rows.append((name, str(g[name].shape), f"{np.abs(g[name]).max():.2e}", *(f"{gap:.0e}" for gap in gaps)))
table(["gradient of", "shape", "paper: largest entry", "− finite differences", "− engine", "− PyTorch"], rows)

# %% [markdown]
# Look at `k_proj.bias`: its gradient is zero. Adding one vector to *all* keys adds the same number to all scores of a query, and softmax does not notice: here a bias on keys is a parameter that never learns. It depends on what happens between the bias and the score. With the rotary positions of chapter 07 each key is *turned* after the bias was added, by an angle that depends on its place; then it is a different vector for each key, and the bias learns:

# %%
rotary = MultiHeadAttention(C, H, positions=RotaryPositions(D))
for name, parameter in rotary.named_parameters():
    parameter.data = np.array(numbers[name])
rotary(mg.Tensor(X)).backward(Y_bar)
found = {"as above": g["k_proj.bias"], "with rotary positions": rotary.k_proj.bias.grad.data}
assert np.abs(found["as above"]).max() < 1e-12 and np.abs(found["with rotary positions"]).max() > 0.01
table(
    ["attention", "largest entry of the gradient of k_proj.bias"],
    [(name, f"{np.abs(b).max():.1e}") for name, b in found.items()],
)

# %% [markdown]
# ## 5 · Experiment: what can two heads do that one cannot?
#
# A task that needs two looks at once. Six words stand in a circle. Each carries six random numbers, and a one-hot vector that says where it stands. Every word must report the first three numbers of its *left* neighbour and the last three of its *right* neighbour.
#
# **Predict before you measure.** All numbers are independent with variance 1. One head has *one* set of weights for both halves: $a$ on the left neighbour, $b$ on the right, and the rest on others. What it may choose freely, through $W^V$ and $W^O$, is the scale of each half, $g_1$ and $g_2$. With $r = \sum_j p_j^2 \ge a^2 + b^2$ for the sum of its squared weights, the mean squared errors of the halves are
#
# $$1 - 2 g_1 a + g_1^2\, r \qquad\text{and}\qquad 1 - 2 g_2 b + g_2^2\, r, \qquad\text{at best (for } g_1 = a/r,\; g_2 = b/r\text{)}\qquad 1 - \frac{a^2}{r}, \quad 1 - \frac{b^2}{r} .$$
#
# (The term $-2g_1 a$ comes from the neighbour that is wanted, $g_1^2 r$ from the variance of the mixture.) Their mean is $1 - \dfrac{a^2 + b^2}{2r} \ge \tfrac12$. **Any split between the two neighbours gives exactly ½**: looking left only, or at both equally, or anything between; and looking at others gives more. Two heads can come as close to 0 as they like. (The proof takes weights that depend on the places only. The measurement below does not.)
#
# A third candidate: two heads with the straight reshape of section 2.

# %%
def batch(rng, size=64):
    content = rng.normal(size=(size, 6, 6))
    where = np.broadcast_to(2 * np.eye(6), (size, 6, 6))
    left, right = np.roll(content, 1, axis=1), np.roll(content, -1, axis=1)
    target = np.concatenate([left[..., :3], right[..., 3:]], axis=-1)  # (size, 6, 6)
    return mg.Tensor(np.concatenate([content, where], axis=-1), dtype=np.float32), target.astype(
        np.float32
    )  # (size, 6, 12)


class Scrambled(MultiHeadAttention):
    """The same layer with the straight reshape."""

    def forward(self, x):
        B, T, C = x.shape
        shape = (B, self.num_heads, T, C // self.num_heads)
        q, k, v = (project(x).reshape(*shape) for project in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(scaled_dot_product_attention(q, k, v).reshape(B, T, C))


def train(make, seed, steps=500):
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = make()
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    errors = []
    for _ in range(steps):
        x, target = batch(rng)
        loss = ((model(x)[..., :6] - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    return model, errors


layers = {
    "1 head": lambda: MultiHeadAttention(12, 1),
    "2 heads": lambda: MultiHeadAttention(12, 2),
    "3 heads": lambda: MultiHeadAttention(12, 3),
    "2 heads, straight reshape": lambda: Scrambled(12, 2),
}
trained = {name: [train(make, seed) for seed in range(3)] for name, make in layers.items()}
fig, ax = figure(6.6, 3.9)
for i, (name, runs) in enumerate(trained.items()):
    curves = np.array([np.convolve(errors, np.ones(10) / 10, "valid") for _, errors in runs])
    ax.semilogy(np.exp(np.log(curves).mean(axis=0)), label=name, **line(i))
    ax.fill_between(
        range(curves.shape[1]),
        curves.min(axis=0),
        curves.max(axis=0),
        color=line(i)["color"],
        alpha=0.15,
        linewidth=0,
    )
ax.axhline(0.5, color="0.35", linewidth=1, linestyle=":")
ax.text(500, 0.57, "predicted for one head", ha="right", va="bottom", fontsize=9, color="0.25")
ax.set_xlabel("training step")
ax.set_ylabel("mean squared error (mean and range of 3 seeds)")
ax.legend(loc="lower left")
fig

# %%
x, target = batch(np.random.default_rng(99), 5000)
error = {}
with mg.no_grad():
    for name, runs in trained.items():
        error[name] = np.array([((model(x).data[..., :6] - target) ** 2).mean() for model, _ in runs], float)
assert np.abs(error["1 head"] - 0.5).max() < 0.02 and error["2 heads"].max() < 0.05
behind = paired(error["2 heads, straight reshape"], error["2 heads"], 3)
assert behind.low > 0.2
print("error of 2 heads with the straight reshape − that of 2 heads:", behind)
table(
    ["heads", "parameters", "error on new data, each seed", "against one head"],
    [
        (
            name,
            trained[name][0][0].num_parameters(),
            " ".join(f"{e:.3f}" for e in found),
            "" if name == "1 head" else paired(found, error["1 head"], 3),
        )
        for name, found in error.items()
    ],
)

# %% [markdown]
# One head ends where the proof says it must. The straight reshape has as many parameters and as many heads as the second row, learns something, and stays far behind it (the line above the table): only the comparison tells.
#
# More heads do not cost parameters: $W^Q, W^K, W^V, W^O$ are $(C, C)$ whatever $H$ is. What they cost is width: a head of width $D$ compares with $D$ numbers only. (Here even a width of 4 is enough to find the neighbour.)
#
# And the two heads did divide the work (the first of the three seeds). Nobody told them which should look left:

# %%
two_heads = trained["2 heads"][0][0]
with mg.no_grad(), attention_maps(two_heads) as kept:
    two_heads(x[:1])
(weights,) = next(iter(kept.values()))  # (1, heads, queries, keys)
places = [f"place {i + 1}" for i in range(6)]
plot_attention([weights[0]], places)

# %%
looks = {"left": np.roll(np.eye(6), -1, axis=1), "right": np.roll(np.eye(6), 1, axis=1)}
share = {side: [float((w * mask).sum() / 6) for w in weights[0]] for side, mask in looks.items()}
print("mean weight on the left neighbour, by head: ", [f"{s:.2f}" for s in share["left"]])
print("mean weight on the right neighbour, by head:", [f"{s:.2f}" for s in share["right"]])
assert max(share["left"]) > 0.9 and max(share["right"]) > 0.9

# %% [markdown]
# ## Common misunderstandings
#
# - ***Each head sees a part of the word vector.*** Each head sees all $C$ numbers of every word; its $W_h$ is $(C, D)$. What is cut into heads is the *result* of the projection.
# - ***More heads mean more parameters.*** Not if $D = C/H$.
# - ***Heads are averaged.*** They are put side by side and mixed by $W^O$, which may add, subtract or ignore them.
# - ***Q, K and V are three copies of X.*** They are three *projections*, which is why a word's question may differ from its offer. With $W^Q = W^K$ the scores would be symmetric: *dog* would fit *chased* exactly as well as *chased* fits *dog*.
# - ***A head has a meaning that one can read off.*** Ours had because we built it, or because the task left no choice. In large models many heads can be taken out without much loss (Michel et al., below).
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★★ · One matrix for everything
#
# Some published models keep all projections in one matrix $W: (C, 3C)$, head after head: first the $D$ columns of the queries of head 0, then the $D$ columns of its keys, then of its values; then the same for head 1, and so on. From $X: (T, C)$: the queries, keys and values, each $(H, T, D)$.

# %% tags=["exercise"]
def split_fused(X, W, H):
    """The three arrays Q, K, V, each (H, T, D), of all heads."""
    ### BEGIN SOLUTION
    T, C = X.shape
    heads = (X @ W).reshape(T, H, 3, C // H)
    Q, K, V = heads.transpose(2, 1, 0, 3)
    return Q, K, V
    ### END SOLUTION


checks.check_06_split_fused(split_fused)

# %% [markdown] tags=["idea"]
# A reshape only draws boundaries. The last axis, $3C$, is cut from the outside in: heads, then the three kinds, then $D$: $(T, H, 3, D)$. Then bring the kinds to the front and the heads next: $(3, H, T, D)$. With the cut $(T, 3, H, D)$, the layout of other models, it would run too, and compute something else.

# %% [markdown]
# ### Exercise 2 ★★ · Count parameters
#
# How many trained numbers does an attention layer of width $C$ with $H$ heads have, biases included? Larger models let groups of heads share keys and values (*grouped-query attention*): there are only $H_{kv}$ heads of keys and of values, each of width $D = C/H$.

# %% tags=["exercise"]
def attention_parameters(C, H, H_kv):
    """The number of weights and biases in W_Q, W_K, W_V and W_O."""
    ### BEGIN SOLUTION
    kv = H_kv * (C // H)
    return 2 * (C * C + C) + 2 * (C * kv + kv)
    ### END SOLUTION


checks.check_06_attention_parameters(attention_parameters)

# %% [markdown] tags=["idea"]
# $W^Q$ and $W^O$ are $(C, C)$ with $C$ biases each. $W^K$ and $W^V$ are $(C, H_{kv} D)$ with $H_{kv} D$ biases each.

# %% [markdown]
# ### Exercise 3 ★★ · The order of heads means nothing
#
# Reorder the heads of a layer: new head $i$ is old head `order[i]`. Change the columns and rows of the four matrices, each $(C, C)$, so that the layer computes exactly what it did before.

# %% tags=["exercise"]
def reorder_heads(W_Q, W_K, W_V, W_O, H, order):
    """The four matrices with their heads in another order and the same function."""
    ### BEGIN SOLUTION
    places = np.arange(len(W_Q)).reshape(H, -1)[list(order)].ravel()
    return W_Q[:, places], W_K[:, places], W_V[:, places], W_O[places]
    ### END SOLUTION


checks.check_06_reorder_heads(reorder_heads)

# %% [markdown] tags=["idea"]
# The heads are blocks of *columns* in $W^Q, W^K, W^V$, and blocks of *rows* in $W^O$, which reads what the heads wrote. List the old column numbers in the new order, and index with the list.

# %% [markdown]
# ### Exercise 4 ★★★ · Multi-head attention, alone
#
# The whole layer for one sentence, without biases: $X: (T, C)$, four matrices $(C, C)$, $H$ heads, and with `causal` a word may not look at later words. Scores may be of any size.

# %% tags=["exercise"]
def multi_head_attention(X, W_Q, W_K, W_V, W_O, H, causal=False):
    """(T, C) → (T, C)."""
    ### BEGIN SOLUTION
    T, C = X.shape
    Q, K, V = ((X @ W).reshape(T, H, C // H).swapaxes(0, 1) for W in (W_Q, W_K, W_V))  # (H, T, D)
    Z = Q @ K.swapaxes(-1, -2) / np.sqrt(C // H)
    if causal:
        Z = np.where(np.tri(T, dtype=bool), Z, -np.inf)
    e = np.exp(Z - Z.max(axis=-1, keepdims=True))
    P = e / e.sum(axis=-1, keepdims=True)  # (H, T, T)
    return (P @ V).swapaxes(0, 1).reshape(T, C) @ W_O
    ### END SOLUTION


checks.check_06_multi_head_attention(multi_head_attention)

# %% [markdown] tags=["idea"]
# Project, cut into heads, scores over $\sqrt D$ (not $\sqrt C$), mask before softmax, mix the values, join the heads, multiply with $W^O$.

# %% [markdown]
# ### Exercise 5 ★★★ · Your engine trains your attention
#
# Now let them work together. `attention(X, W_Q, W_K, W_V, W_O, H)` is your answer to exercise 4, and `walk_back(output, upstream, wanted)` your engine of chapter 02 (the library's versions, where yours are not there yet). Arrays become Tensors that are only *recorded*; `checks.graph(loss, tensors)` gives the node of the loss and the list of the nodes of the tensors.
#
# Write one step of gradient descent: with the loss $\frac{1}{TC}\sum (\text{attention}(X) - Y)^2$, return the loss as a number, and the four matrices less $\eta$ times their gradients, as arrays. The check repeats your step until the layer computes nearly what another layer does.

# %% tags=["exercise"]
def descend(attention, walk_back, X, Y, weights, H, eta):
    """(loss before the step, the list of the four matrices after it)."""
    tensors = [mg.Tensor(w, requires_grad=True) for w in weights]
    ### BEGIN SOLUTION
    loss = ((attention(X, *tensors, H) - Y) ** 2).mean()
    output, wanted = checks.graph(loss, tensors)
    gradients = walk_back(output, np.ones(()), wanted)
    return loss.item(), [w - eta * g for w, g in zip(weights, gradients)]
    ### END SOLUTION


checks.check_06_descend(descend)

# %% [markdown] tags=["idea"]
# Compute the loss from the tensors with `attention`, which need not know that they are tensors; ask for the graph; start the walk with $\bar{\mathcal L} = 1$; then $W \leftarrow W - \eta\,\bar W$ for each of the four. There is no more to training a model than this, repeated.

# %% [markdown]
# ## References
#
# - A. Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.2.2: multi-head attention.
# - P. Michel, O. Levy, G. Neubig, "Are sixteen heads really better than one?", NeurIPS 2019, sections 3–4: many heads can be removed after training.
# - K. Clark, U. Khandelwal, O. Levy, C. D. Manning, "What does BERT look at?", BlackboxNLP 2019, section 3: heads that look at the neighbour.
# - J. Ainslie et al., "GQA: training generalized multi-query Transformer models from multi-head checkpoints", EMNLP 2023, section 2: grouped heads.
#
# **Before:** [05 · Attention as soft lookup](05_attention_as_soft_lookup.ipynb). **Next:** [07 · Where am I? Position](07_where_am_i_position.ipynb), where the two *the* learn to differ.
