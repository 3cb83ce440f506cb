# ---
# jupyter:
#   cover: 1
# ---

# %% [markdown]
# # 08 · The block
#
# *About 40 minutes to read, 45 more for the exercises. You need [07 · Where am I? Position](07_where_am_i_position.ipynb), and layer norm from [03 · Softmax, cross-entropy, layer norm backward by hand](03_softmax_cross_entropy_layer_norm.ipynb).*
#
# Attention lets words exchange what they know. To *think about* what they heard, each word then goes through a small network of its own, the feed-forward network. Both are wrapped in an addition and a normalisation (*Add & Norm*), and this pair of pairs, the **block**, is stacked 6, 12 or 96 times (in the paper of 2017, BERT and GPT-3). This chapter builds the block and shows
# that the humble addition is what makes the stack possible.
#
# **After this chapter you can**
#
# - write an encoder block in NumPy, in its two forms, and get PyTorch's numbers;
# - explain with one line of calculus why `x + f(x)` keeps gradients alive;
# - measure what happens to gradients, and to the words, in 24 blocks without it;
# - count the parameters of a block: where do they all go?

# %%
import numpy as np

import checks
import minigrad as mg
from book import figure, line, paired, recorded, sized, table
from minigrad import nn, optim
from transformer import EncoderLayer, FeedForward, LayerNorm, MultiHeadAttention, SinusoidalPositions

# %% [markdown]
# ## 1 · A word by itself: the feed-forward network
#
# For each word $x$ ($C$ numbers) separately, with the same weights for all words:
#
# $$\operatorname{FFN}(x) = \operatorname{relu}(x W_1 + b_1)\, W_2 + b_2, \qquad W_1: (C, F),\; W_2: (F, C),\; \operatorname{relu}(u) = \max(u, 0),$$
#
# usually with $F = 4C$. On paper with $C = 2$, $F = 3$, no biases, and $x = (1, -2)$:
#
# $$W_1 = \begin{pmatrix} 1 & 0 & -1\\ 0 & 1 & 1\end{pmatrix}, \quad x W_1 = (1, -2, -3), \quad \operatorname{relu} = (1, 0, 0), \qquad W_2 = \begin{pmatrix} 1 & 0\\ 0 & 1\\ 1 & 1\end{pmatrix}, \quad \operatorname{FFN}(x) = (1, 0) .$$
#
# ## 2 · Add & Norm
#
# Let $f$ be a sub-layer, attention or FFN. The paper of 2017 has the norm *after* the addition (**post-norm**); most large models since GPT-2 have it *before* the sub-layer (**pre-norm**):
#
# $$\text{post-norm:}\quad x \leftarrow \operatorname{norm}(x + f(x)) \qquad\qquad \text{pre-norm:}\quad x \leftarrow x + f(\operatorname{norm}(x)) .$$
#
# Take $x = (1, -2)$ and the FFN above. Layer norm of two numbers gives $(1, -1)$ if the first is larger, else $(-1, 1)$ (with $\varepsilon = 0$). Post-norm: $x + f(x) = (2, -2)$, normed $(1, -1)$. Pre-norm: $\operatorname{norm}(x) = (1, -1)$, $xW_1 = (1, -1, -2)$, $f = (1, 0)$, so $x + f = (2, -2)$. In pre-norm the sum itself, the
# **residual stream**, is never normed: each sub-layer reads a normed copy and adds its contribution.

# %%
def ffn(x, W1, b1, W2, b2):  # (..., C) → (..., C)
    return np.maximum(x @ W1 + b1, 0) @ W2 + b2


def layer_norm(x, gamma, beta, eps=1e-5):
    c = x - x.mean(axis=-1, keepdims=True)
    return gamma * c / np.sqrt((c * c).mean(axis=-1, keepdims=True) + eps) + beta


def post_norm(x, f, norm):
    return norm(x + f(x))


def pre_norm(x, f, norm):
    return x + f(norm(x))


W1, W2 = np.array([[1.0, 0, -1], [0, 1, 1]]), np.array([[1.0, 0], [0, 1], [1, 1]])
small = (lambda x: ffn(x, W1, 0, W2, 0)), (lambda x: layer_norm(x, 1, 0, eps=0))
x = np.array([1.0, -2])
assert (
    np.allclose(small[0](x), [1, 0])
    and np.allclose(post_norm(x, *small), [1, -1])
    and np.allclose(pre_norm(x, *small), [2, -2])
)
post_norm(x, *small), pre_norm(x, *small)

# %% [markdown]
# ## 3 · The whole block, and PyTorch's numbers
#
# Two sub-layers: attention between the words, then the FFN for each word. Attention is that of chapter 06. The stored cases have $B = 2$, $T = 5$, $C = 12$, $H = 3$ and $F = 8$, two of them a smooth activation in place of relu, $\operatorname{gelu}(u) = u\,\Phi(u)$ with $\Phi$ the distribution function of the standard normal. Here it is the usual approximation of it by a tanh, for which we ask the library.

# %%
def softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def block(x, p, H, norm_first, activation, allowed=True):
    """(B, T, C) → (B, T, C), with the parameters p by name."""
    B, T, C = x.shape

    def attention(x):
        q, k, v = (
            (x @ p[f"self_attention.{n}_proj.weight"] + p[f"self_attention.{n}_proj.bias"])
            .reshape(B, T, H, -1)
            .swapaxes(1, 2)
            for n in "qkv"
        )
        P = softmax(np.where(allowed, q @ k.mT / np.sqrt(C // H), -np.inf))  # (B, H, T, T)
        return (P @ v).swapaxes(1, 2).reshape(B, T, C) @ p["self_attention.out_proj.weight"] + p[
            "self_attention.out_proj.bias"
        ]

    def feed_forward(x):
        return (
            activation(x @ p["ffn.up.weight"] + p["ffn.up.bias"]) @ p["ffn.down.weight"] + p["ffn.down.bias"]
        )

    wrap = pre_norm if norm_first else post_norm
    for f, name in ((attention, "norm1"), (feed_forward, "norm2")):
        x = wrap(x, f, lambda h, name=name: layer_norm(h, p[f"{name}.weight"], p[f"{name}.bias"]))
    return x


def relu(u):
    return np.maximum(u, 0)


def gelu(u):
    return mg.gelu(mg.Tensor(u), approximate="tanh").data


rows = []
for name, norm_first, activation in (
    ("encoder_layer_post_norm_relu_padding", False, relu),
    ("encoder_layer_pre_norm_relu_padding", True, relu),
    ("encoder_layer_post_norm_gelu", False, gelu),
    ("encoder_layer_pre_norm_gelu", True, gelu),
):
    case = recorded(name)
    p = {key.removeprefix("param."): value for key, value in case.items() if key.startswith("param.")}
    x, y_bar = case["input.x"], case["upstream"]
    real = (
        case["input.mask"].astype(bool)[:, None, None, :] if "input.mask" in case else True
    )  # True: a real word
    ours = block(x, p, 3, norm_first, activation, real)

    module = EncoderLayer(
        12, 3, 8, norm_first=norm_first, activation="relu" if activation is relu else "gelu"
    )
    for key, parameter in module.named_parameters():
        parameter.data = np.array(p[key])
    t = mg.Tensor(x, requires_grad=True)
    y = module(t, mask=None if real is True else real)
    y.backward(y_bar)
    direction = np.random.default_rng(0).normal(size=x.shape)
    slope = (
        sum(
            s * (block(x + s * 1e-5 * direction, p, 3, norm_first, activation, real) * y_bar).sum()
            for s in (1, -1)
        )
        / 2e-5
    )
    gaps = [
        np.abs(ours - y.data).max(),
        np.abs(ours - case["output"]).max(),
        np.abs(t.grad.data - case["grad.input.x"]).max(),
        abs(slope - (t.grad.data * direction).sum()),
    ]
    worst = max(np.abs(q.grad.data - case[f"grad.param.{key}"]).max() for key, q in module.named_parameters())
    assert max(gaps[:3]) < 1e-12 and gaps[3] < 1e-6 and worst < 1e-11
    rows.append((name.removeprefix("encoder_layer_"), *(f"{gap:.0e}" for gap in (*gaps, worst))))
table(
    [
        "case",
        "ours − library",
        "ours − PyTorch",
        "∂x: engine − PyTorch",
        "∂x: engine − finite differences",
        "parameters: engine − PyTorch",
    ],
    rows,
)

# %% [markdown]
# ## 4 · Why add?
#
# Send the gradient back through a stack of $n$ sub-layers. Without the addition, $x \leftarrow f(x)$, each sends $\bar x = \bar y\, J$, where $J$ is the Jacobian of $f$. After $n$ of them the gradient is a product $\bar y\, J_n \cdots J_1$: if each factor shrinks it by a little, $n$ of them shrink it exponentially. With the addition,
#
# $$y = x + f(x) \qquad\Rightarrow\qquad \bar x = \bar y + \bar y\, J .$$
#
# The first term is the upstream gradient itself, *unchanged*; the second is what the sub-layer contributes. Multiplied out, the gradient after $n$ of them is $\bar y\,(1 + J_n) \cdots (1 + J_1)$, with 1 the identity matrix: where the $J$ are small, about $\bar y$, and not a product of small factors. It is not a guarantee: a contribution can also work against the direct way (with $J = -1$ it cancels it). But that is a special case, where the shrinking product was the rule.
#
# And it is **pre-norm** that has this direct way. In post-norm, $y = \operatorname{norm}(x + f(x))$ gives $\bar x = \bar u + \bar u\, J$ with $\bar u = \bar y\, J_{\text{norm}}$: every gradient goes through the Jacobian of every norm on its way down.
#
# ## 5 · Experiment: 24 blocks
#
# Four stacks of 24 blocks, fresh from initialisation, width 32, 16 random words, each with three seeds. At the input of every block we measure two things: the size of the gradient that arrives there (relative to the top), and how *alike* the 16 words have become (the mean cosine of the angle between two of them; 1 means that all point the same way).

# %%
class Block(nn.Module):
    """Attention and feed-forward, wrapped in one of four ways."""

    def __init__(self, how, width=32, heads=4):
        self.how = how
        self.attention, self.ffn = MultiHeadAttention(width, heads), FeedForward(width)
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)

    def forward(self, x):
        for f, norm in ((self.attention, self.norm1), (self.ffn, self.norm2)):
            x = {
                "neither": lambda: f(x),
                "norm only": lambda: norm(f(x)),
                "post-norm": lambda: norm(x + f(x)),
                "pre-norm": lambda: x + f(norm(x)),
            }[self.how]()
        return x


def likeness(x):  # (B, T, C) → one number
    unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
    cosines = unit @ unit.mT  # (B, T, T)
    return (cosines.sum() / len(x) - x.shape[1]) / (x.shape[1] * (x.shape[1] - 1))


def through(how, seed, depth=24):
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    blocks = [Block(how) for _ in range(depth)]
    stream = [mg.Tensor(rng.normal(size=(4, 16, 32)), requires_grad=True, dtype=np.float32)]
    for b in blocks:
        stream.append(b(stream[-1]))
        stream[-1].retain_grad()
    stream[-1].backward(rng.normal(size=(4, 16, 32)).astype(np.float32))
    sizes = np.array([np.linalg.norm(x.grad.data) for x in stream])
    return sizes / sizes[-1], [likeness(x.data) for x in stream]


kinds = ["neither", "norm only", "post-norm", "pre-norm"]
measured = {how: np.array([through(how, seed) for seed in range(3)]) for how in kinds}  # (seeds, 2, 25)
fig, (left, right) = figure(9.6, 3.9, 1, 2)
for i, (how, runs) in enumerate(measured.items()):
    for ax, values in ((left, runs[:, 0]), (right, runs[:, 1])):
        ax.plot(np.median(values, axis=0), label=how if i > 1 else f"{how} (no addition)", **line(i))
        ax.fill_between(
            range(25), values.min(axis=0), values.max(axis=0), color=line(i)["color"], alpha=0.15, linewidth=0
        )
left.set_yscale("log")
left.set_xlabel("blocks below (0: the words, 24: the top)")
left.set_ylabel("size of the gradient, relative to the top")
left.legend(fontsize=8)
right.set_xlabel("blocks below")
right.set_ylabel("how alike the words are (mean cosine)")
fig

# %%
bottom, alike = ({how: runs[:, i] for how, runs in measured.items()} for i in (0, 1))
assert bottom["neither"][:, 0].max() < 1e-3 and all(
    0.1 < bottom[how][:, 0].min() < 30 for how in ("post-norm", "pre-norm")
)
assert all(alike[how][:, 6].min() > 0.95 for how in ("neither", "norm only"))
assert paired(alike["post-norm"][:, 12], alike["pre-norm"][:, 12]).low > 0.05
print(
    "words after 12 blocks, likeness, post-norm − pre-norm:",
    paired(alike["post-norm"][:, 12], alike["pre-norm"][:, 12]),
)
table(
    [
        "stack",
        "gradient at the bottom / at the top, each seed",
        "likeness of words (mean): bottom",
        "after 6 blocks",
        "after 12",
        "top",
    ],
    [
        (
            how,
            " ".join(f"{g:.0e}" for g in bottom[how][:, 0]),
            *(f"{alike[how][:, i].mean():.2f}" for i in (0, 6, 12, -1)),
        )
        for how in kinds
    ],
)

# %% [markdown]
# Two different diseases. *Neither* loses the gradient. *Norm only* keeps the gradient's size, since every norm scales things up again; but look at the right picture: attention averages, and repeated averaging makes all words alike (Dong et al., 2021, prove it for attention alone; here the feed-forward networks may add to it). After a few blocks there is nothing left to tell them apart.
#
# The addition cures the first disease, and slows the second down: a word keeps itself, and adds. It does so better in pre-norm. In post-norm, the sum of a word and an *independent* contribution of equal size is scaled back to size 1, so the word's own part is multiplied by about $1/\sqrt2$ each time; after $2L$ sub-layers
# $2^{-L}$ of it is left. In pre-norm the word itself is never scaled.
#
# ## 6 · Experiment: does it learn?
#
# The reverse task of chapter 07 (ten symbols, length 8) with 12 blocks: far too many for so small a task, which is the point. Guessing costs $\ln 10 = 2.303$. The learning rate warms up for 60 steps, then stays; three seeds for each stack. Since a smaller rate may suit post-norm better, it is tried with three others too.

# %%
class Stack(nn.Module):
    def __init__(self, how, depth, width=32):
        self.embedding, self.positions = nn.Embedding(10, width), SinusoidalPositions(width)
        self.blocks = nn.ModuleList([Block(how, width) for _ in range(depth)])
        self.norm, self.out = LayerNorm(width), nn.Linear(width, 10)

    def forward(self, ids):
        x = self.positions.embed(self.embedding(ids))
        for b in self.blocks:
            x = b(x)
        return self.out(self.norm(x))


DEPTH, STEPS, RATES = sized((12, 220, (3e-4, 5e-4, 1e-3)), (8, 200, ()), "as depth, steps and other rates")


def train(how, depth, seed, rate=3e-3, steps=STEPS):
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Stack(how, depth)
    optimizer = optim.Adam(model.parameters(), lr=rate)
    losses = []
    for step in range(steps):
        optimizer.lr = rate * min(1, (step + 1) / 60)
        ids = rng.integers(0, 10, (24, 8))
        loss = mg.cross_entropy(model(ids), ids[:, ::-1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


stacks = {
    f"pre-norm, {DEPTH} blocks": ("pre-norm", DEPTH),
    f"post-norm, {DEPTH} blocks": ("post-norm", DEPTH),
    f"norm only, {DEPTH} blocks": ("norm only", DEPTH),
    "post-norm, 2 blocks": ("post-norm", 2),
}
runs = {
    name: np.array([train(*stack, seed) for seed in range(3)]) for name, stack in stacks.items()
}  # (3, steps)
fig, ax = figure(6.8, 3.9)
for i, (name, losses) in enumerate(runs.items()):
    curves = np.array([np.convolve(row, np.ones(5) / 5, "valid") for row in losses])
    ax.plot(curves.mean(axis=0), label=name, **line(i))
    ax.fill_between(
        range(curves.shape[1]),
        curves.min(axis=0),
        curves.max(axis=0),
        color=line(i)["color"],
        alpha=0.15,
        linewidth=0,
    )
ax.axhline(np.log(10), color="0.35", linewidth=1, linestyle=":")
ax.text(0, np.log(10) - 0.03, "guessing", fontsize=9, color="0.25", va="top")
ax.set_xlabel("training step")
ax.set_ylabel("loss (nats per symbol; mean and range of 3 seeds)")
ax.set_ylim(bottom=0)
ax.legend(loc="lower left", bbox_to_anchor=(0, 0.1))
fig

# %%
final = {name: losses[:, -10:].mean(axis=1) for name, losses in runs.items()}
for rate in RATES:
    losses = np.array([train("post-norm", DEPTH, seed, rate) for seed in range(3)])
    final[f"post-norm, {DEPTH} blocks, rate {rate:g}"] = losses[:, -10:].mean(axis=1)

# %%
pre_norm = final[f"pre-norm, {DEPTH} blocks"]
assert max(pre_norm.max(), final["post-norm, 2 blocks"].max()) < 1
assert all(final[name].min() > 2.2 for name in final if f"{DEPTH} blocks" in name and "pre" not in name)
table(
    ["stack (rate 0.003 where none is given)", "loss of the last ten steps, each seed", "against pre-norm"],
    [
        (
            name,
            " ".join(f"{loss:.2f}" for loss in losses),
            "" if "pre" in name else paired(losses, pre_norm),
        )
        for name, losses in final.items()
    ],
)

# %% [markdown]
# The pre-norm stack learns. Post-norm blocks, as many of them, hardly do: in these few steps no run at any of the rates above gets below 2.2 (guessing 2.303), although their gradients are of a healthy size. One thing that speaks against them is what section 5 measured: at the start, the words that reach the top are nearly the same word. (That this is *the* reason, no cell here tests.) Two post-norm blocks are fine. Post-norm *can* be trained deep, with
# a longer warm-up and smaller rates: BERT's 24 layers are post-norm (Devlin et al., 2019). The paper's six layers used 4000 steps of warm-up.
#
# ## 7 · Where the parameters are
#
# With $F = 4C$, an FFN has $2 \cdot 4C^2$ weights and attention has $4C^2$: two thirds of a block are feed-forward.

# %%
layer = EncoderLayer(768, 12)
counts = {
    part: sum(p.size for n, p in layer.named_parameters() if n.startswith(start))
    for part, start in (("attention", "self_attention"), ("feed-forward", "ffn"), ("norms", "norm"))
}
total = layer.num_parameters()
assert sum(counts.values()) == total and counts["feed-forward"] == 8 * 768**2 + 5 * 768
table(
    ["part, at width 768", "parameters", "share"],
    [*((part, f"{n:,}", f"{n / total:.2%}") for part, n in counts.items()), ("block", f"{total:,}", "100%")],
)

# %% [markdown]
# ## Common misunderstandings
#
# - ***Attention is where the model thinks.*** Attention moves information between words; two thirds of the weights are in the feed-forward networks, which see one word at a time.
# - ***Residual connections are there to save the input.*** They do, and in pre-norm they give the gradient a way of slope 1. In post-norm every norm lies on that way.
# - ***Healthy gradients are enough.*** *Norm only* learns nothing here, although its gradients are healthy; its words have become one (section 5).
# - ***Pre-norm and post-norm are the same with another order.*** Pre-norm never norms the stream; therefore it needs one more norm at the very end, which post-norm does not.
# - ***Dropout belongs after the addition.*** It is applied to $f(x)$, before the addition; otherwise it would cut the direct way.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · Two ways to wrap
#
# `f` and `norm` are functions from an array to an array of the same shape. Write both forms in one function.

# %% tags=["exercise"]
def add_and_norm(x, f, norm, norm_first):
    """One sub-layer with Add & Norm: pre-norm if `norm_first`, else post-norm."""
    ### BEGIN SOLUTION
    return x + f(norm(x)) if norm_first else norm(x + f(x))
    ### END SOLUTION


checks.check_08_add_and_norm(add_and_norm)

# %% [markdown] tags=["idea"]
# The two formulas of section 2, word for word.

# %% [markdown]
# ### Exercise 2 ★★ · The feed-forward network, backwards
#
# $y = \operatorname{relu}(xW_1 + b_1) W_2 + b_2$ with $x: (N, C)$ and $\bar y: (N, C)$. All five gradients, in the order $\bar x, \bar W_1, \bar b_1, \bar W_2, \bar b_2$.

# %% tags=["exercise"]
def ffn_backward(y_bar, x, W1, b1, W2, b2):
    """The gradients (x_bar, W1_bar, b1_bar, W2_bar, b2_bar)."""
    ### BEGIN SOLUTION
    u = x @ W1 + b1
    a = np.maximum(u, 0)
    u_bar = y_bar @ W2.T * (u > 0)
    return u_bar @ W1.T, x.T @ u_bar, u_bar.sum(axis=0), a.T @ y_bar, y_bar.sum(axis=0)
    ### END SOLUTION


checks.check_08_ffn_backward(ffn_backward)

# %% [markdown] tags=["idea"]
# Forward with names: $u = xW_1 + b_1$, $a = \operatorname{relu}(u)$, $y = aW_2 + b_2$. Backward: $\bar a = \bar y W_2^\top$; relu lets through where $u > 0$, so $\bar u = \bar a \odot [u > 0]$; the rest is chapter 01's layer, twice.

# %% [markdown]
# ### Exercise 3 ★★ · Count a whole encoder
#
# $L$ blocks of width $C$ with a feed-forward width $F$, biases everywhere, two norms in each block (each with $\gamma$ and $\beta$), and one norm at the end if pre-norm.

# %% tags=["exercise"]
def encoder_parameters(L, C, F, norm_first):
    """The number of trained numbers in an encoder of L blocks, without embeddings."""
    ### BEGIN SOLUTION
    return L * (4 * C * C + 4 * C + 2 * C * F + F + C + 4 * C) + (2 * C if norm_first else 0)
    ### END SOLUTION


checks.check_08_encoder_parameters(encoder_parameters)

# %% [markdown] tags=["idea"]
# Attention: $4C^2 + 4C$. Feed-forward: $2CF + F + C$. Two norms: $4C$. Times $L$, plus $2C$ for the last norm.

# %% [markdown]
# ### Exercise 4 ★★★ · The stream grows
#
# In a pre-norm stack each sub-layer adds something of about the same variance, say $\sigma^2$, and independent of what is there. The stream starts with variance 1 and passes through $L$ blocks of two sub-layers each. By which factor should the outputs of all sub-layers be multiplied, so that the stream ends with variance $1 + \sigma^2$, whatever $L$ is?

# %% tags=["exercise"]
def residual_factor(L):
    """The factor for each of the 2L contributions."""
    ### BEGIN SOLUTION
    return 1 / np.sqrt(2 * L)
    ### END SOLUTION


checks.check_08_residual_factor(residual_factor)

# %% [markdown] tags=["idea"]
# Variances of independent terms add, and a factor $c$ multiplies a variance by $c^2$: $1 + 2L\, c^2 \sigma^2 = 1 + \sigma^2$ gives $c = 1/\sqrt{2L}$. GPT-2 does this at initialisation, and so does this library.

# %% [markdown]
# ## References
#
# - A. Vaswani et al., "Attention is all you need", NeurIPS 2017, sections 3.1 and 3.3: the block, and its feed-forward network.
# - K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, section 3; "Identity mappings in deep residual networks", ECCV 2016, section 2: the direct way.
# - R. Xiong et al., "On layer normalization in the Transformer architecture", ICML 2020, sections 3–4: pre-norm against post-norm, and why warm-up.
# - Y. Dong, J.-B. Cordonnier, A. Loukas, "Attention is not all you need: pure attention loses rank doubly exponentially with depth", ICML 2021: the words that become one.
# - A. Radford et al., "Language models are unsupervised multitask learners" (2019), section 2.3: GPT-2, its norms before the sub-layers, and the factor of exercise 4.
# - J. Devlin et al., "BERT: pre-training of deep bidirectional Transformers for language understanding", NAACL 2019, section 3: 12 and 24 blocks. T. Brown et al., "Language models are few-shot learners", NeurIPS 2020, table 2.1: GPT-3, with 96.
#
# **Before:** [07 · Where am I? Position](07_where_am_i_position.ipynb). **Next:** [08b · From 2017 to today's block](08b_todays_block.ipynb), where its parts are exchanged one by one.
