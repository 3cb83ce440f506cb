# ---
# jupyter:
#   cover: 4
# ---

# %% [markdown]
# # 08b · From 2017 to today's block
#
# *About 70 minutes to read, 75 more for the exercises. You need [08 · The block](08_the_block.ipynb), heads from [06 · Q, K, V and many heads](06_q_k_v_and_many_heads.ipynb) and rotary positions from [07 · Where am I? Position](07_where_am_i_position.ipynb).*
#
# The block of 2017 is still there. But open a model of today, and almost every part of it has been exchanged: another norm, another feed-forward network, positions that turn, fewer keys than queries, windows, a latent vector in place of keys and values, a crowd of experts of which only two work. Each change was made for a reason: the loss,
# the stability of training, or the memory that a long text takes. This chapter builds the parts, exchanges **one at a time** on one task, at equal size, and says what each one changed, and what could not be told.
#
# **After this chapter you can**
#
# - write RMSNorm, SwiGLU, windowed attention, latent attention and a mixture of experts in NumPy, and get PyTorch's numbers;
# - count the bytes of a cache for any of today's kinds of attention, and check the count against the arrays;
# - say why rotary positions fail beyond the length of training, and what four cures trade for it;
# - read a comparison: what was held equal, how many seeds, and whether the interval leaves room for "no difference".

# %%
import numpy as np

import checks
import minigrad as mg
from book import COLOURS, figure, line, recorded, sized, table
from minigrad import optim
from transformer import (
    GPT,
    CharTokenizer,
    Experts,
    KVCache,
    LatentAttention,
    MultiHeadAttention,
    RotaryPositions,
    SwiGLU,
    Window,
    attention_maps,
)
from transformer.bias.statistics import over_seeds
from transformer.compression import count, watch
from transformer.data import corpora
from transformer.models.experts import imbalance, routings
from transformer.models.stretching import Interpolated, RaisedBase, Yarn

# %% [markdown]
# Letters, where they are new: $R$ is the number of coordinates that are turned by a rotary scheme, $C_c$ the width of a latent vector, $w$ a window's size, $\omega_i$ the angle by which a rotary pair turns per token, $N$ the number of tokens in a batch, $N_e$ the number of experts and $k$ how many of them a token gets. All others are those of chapters 05 to 08: $C$ width, $H$ heads, $D$ their width, $T$ queries, $S$ keys, $L$ layers, $F$ the inner width of a
# feed-forward network. A few have, as in the papers, a second sense that its place makes plain: $R_s$ with a place is the matrix that turns, $k_{hs}$ with a place a key, $s$ in section 9 how much longer a text is, $b$ there the base of the angles.
#
# The ladder of the chapter, one block on each rung. What is new is drawn dark:

# %%
RUNGS = [
    ("2017\n(pre-norm)", ["LayerNorm", "attention\nH heads", "LayerNorm", "FFN, relu"], ()),
    ("2019", ["RMSNorm", "attention\nH heads", "RMSNorm", "FFN, relu"], (0, 2)),
    ("2020", ["RMSNorm", "attention\nH heads", "RMSNorm", "SwiGLU"], (3,)),
    ("2021", ["RMSNorm", "attention\n+ rotary", "RMSNorm", "SwiGLU"], (1,)),
    ("2019, 2023", ["RMSNorm", "grouped\nheads", "RMSNorm", "SwiGLU"], (1,)),
    ("2020, 2023", ["RMSNorm", "normed\nq and k", "RMSNorm", "SwiGLU"], (1,)),
    ("2020, 2024", ["RMSNorm", "window\n+ sinks", "RMSNorm", "SwiGLU"], (1,)),
    ("2024", ["RMSNorm", "latent\nattention", "RMSNorm", "SwiGLU"], (1,)),
    ("2017, 2021", ["RMSNorm", "attention\n+ rotary", "RMSNorm", "experts"], (3,)),
]
fig, ax = figure(11, 3.6)
for x, (year, parts, new) in enumerate(RUNGS):
    for y, part in enumerate(parts):
        fill = COLOURS[0] if y in new else "0.93"
        box = {"boxstyle": "round,pad=0.3", "facecolor": fill, "edgecolor": "0.4"}
        ax.text(
            x, y, part, ha="center", va="center", fontsize=8, bbox=box, color="white" if y in new else "black"
        )
    ax.text(x, 3.75, year, ha="center", va="bottom", fontsize=8)
    ax.annotate("", (x, 3.65), (x, -0.65), arrowprops={"arrowstyle": "->", "color": "0.7"}, zorder=0)
ax.set_xlim(-0.6, len(RUNGS) - 0.4)
ax.set_ylim(-0.8, 4.5)
ax.axvline(3.5, color="0.5", linewidth=1, linestyle=":")
ax.text(1.5, 4.35, "each on top of the one before", ha="center", fontsize=9)
ax.text(6, 4.35, "each in place of a part of the fourth", ha="center", fontsize=9)
ax.axis("off")
fig

# %% [markdown]
# ## 1 · RMSNorm and SwiGLU
#
# **RMSNorm** leaves out two things that layer norm does: it subtracts no mean and adds no $\beta$.
#
# $$\operatorname{RMSNorm}(x) = \gamma \odot \frac{x}{r}, \qquad r = \sqrt{\tfrac1C \textstyle\sum_i x_i^2 + \varepsilon} .$$
#
# On paper, with $\gamma = 1$ and $\varepsilon = 0$: for $x = (1, 7)$ the mean of the squares is $(1 + 49)/2 = 25$, so $r = 5$ and the result is $(0.2, 1.4)$: the direction stays, the length becomes $\sqrt 2$. Layer norm subtracts the mean 4, divides by 3 and gives $(-1, 1)$: of two numbers it keeps only which is larger.
#
# **SwiGLU** replaces $\operatorname{relu}(xW_1)$ by a product of two linear maps, one of them through $\operatorname{silu}(u) = u\,\sigma(u) = u / (1 + e^{-u})$, a smooth relu:
#
# $$\operatorname{SwiGLU}(x) = \big(\operatorname{silu}(x W_g) \odot x W_u\big)\, W_d .$$
#
# On paper: if $x W_g = (0, 2)$ and $x W_u = (3, -1)$, then $\operatorname{silu} = (0,\ 2 \cdot 0.8808) = (0, 1.7616)$ and the product is $(0, -1.7616)$. The *gate* $x W_g$ opens or closes a channel, the other map says what goes through. There are three matrices in place of two, so at equal size each is narrower: $F = \tfrac83 C$ in place of $4C$, since $3 \cdot \tfrac83 = 2 \cdot 4$.


# %%
def rms_norm(x, gamma, eps=1e-6):
    return gamma * x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)


def silu(u):
    return u / (1 + np.exp(-u))


def swiglu(x, p):
    return (silu(x @ p["gate"]) * (x @ p["up"])) @ p["down"]


assert np.allclose(rms_norm(np.array([1.0, 7]), 1, 0), [0.2, 1.4])
assert np.allclose(silu(np.array([0.0, 2])) * np.array([3, -1]), [0, -1.7616], atol=5e-5)
rms_norm(np.array([1.0, 7]), 1, 0), silu(np.array([0.0, 2])) * np.array([3, -1])

# %% [markdown]
# ## 2 · What a cache holds: heads that share, windows, sinks
#
# While a model writes, every token needs the keys and values of all earlier tokens. They are kept in a **cache**. Per token, layer and sequence it holds
#
# $$2 \cdot H_{kv} \cdot D \ \text{numbers}, \qquad \text{the 2 for keys } \textit{and} \text{ values},$$
#
# where $H_{kv}$ is the number of heads that have keys and values of their own. In the block of 2017, $H_{kv} = H$. With **grouped heads**, $H / H_{kv}$ query heads read the same keys and values; with $H_{kv} = 1$ (*multi-query*) all do. On paper, a model of 32 layers with $H = 32$, $D = 128$ in half precision (2 bytes): $32 \cdot 2 \cdot 32 \cdot 128 \cdot 2 = 524\,288$ bytes for **each token**, half a
# megabyte; 8000 tokens fill 4 gigabytes. With $H_{kv} = 8$ it is an eighth of a megabyte.
#
# A **window** limits the past instead: query $t$ sees key $s$ if $0 \le t - s < w$. The cache stops growing at $w$ tokens. Through $L$ layers, information can still travel $(w - 1)\,L$ places. A softmax must put its weight somewhere, though, and trained models put what they do not need on the first tokens of the text, whatever these are; take those away, and the averages shift. So some
# windows keep the first few tokens as **sinks**. On paper, $w = 3$ and one sink: query 5 sees the keys 3, 4, 5 and 0.


# %%
def softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def window_mask(T, size, sinks):
    distance = np.arange(T)[:, None] - np.arange(T)  # query − key
    return (distance >= 0) & ((distance < size) | (np.arange(T) < sinks))


def split(x, H):  # (B, T, H·D) → (B, H, T, D)
    return x.reshape(*x.shape[:2], H, -1).swapaxes(1, 2)


def join(x):  # (B, H, T, D) → (B, T, H·D)
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)


def windowed_attention(x, p, H=2, size=3, sinks=1):
    q, k, v = (split(x @ p[name], H) for name in "qkv")
    scores = q @ k.mT / np.sqrt(q.shape[-1])
    return join(softmax(np.where(window_mask(x.shape[1], size, sinks), scores, -np.inf)) @ v) @ p["out"]


assert np.flatnonzero(window_mask(6, 3, 1)[5]).tolist() == [0, 3, 4, 5]
print(window_mask(6, 3, 1).astype(int))

# %% [markdown]
# ## 3 · Latent attention
#
# Grouped heads make the cache small by giving all heads of a group the *same* keys. **Multi-head latent attention** lets every head have its own and still caches little: it keeps one small vector $c_s$ of $C_c$ numbers per token, from which keys and values are made by matrices (in their names, D is down, U up, K keys, V values).
#
# $$c_s = \operatorname{RMSNorm}(x_s W^{DKV}), \qquad k_{hs} = c_s W^{UK}_h, \qquad v_{hs} = c_s W^{UV}_h .$$
#
# Making the keys of all earlier tokens again for every new one would be slow. It is not necessary. A score is $q_{ht} \cdot (c_s W^{UK}_h)$, and a matrix may be moved to the other side of a dot product:
#
# $$q_{ht} \cdot (c_s W^{UK}_h) = \big(q_{ht} W_h^{UK\top}\big) \cdot c_s, \qquad\qquad \sum_s p_{hts}\, (c_s W^{UV}_h) = \Big(\sum_s p_{hts}\, c_s\Big) W^{UV}_h .$$
#
# The query goes down to the latent space, is compared with the $c_s$ as they lie in the cache, and the *average* of the $c_s$ goes up again, once. On paper with $C_c = 1$, $D = 2$: $c = 3$, $W^{UK} = (2, -1)$, $q = (1, 1)$. The key is $(6, -3)$ and the score $6 - 3 = 3$. The other way: $q W^{UK\top} = 2 - 1 = 1$, times $c$ is 3.
#
# **Rotary positions are in the way.** They turn the key by a matrix $R_s$ that depends on its place, and the query by $R_t$. The score becomes $(q_{ht} R_t)\,(c_s W_h^{UK} R_s)^\top = q_{ht}\, R_t R_s^\top\, W_h^{UK\top} c_s^\top$, and now nothing can be moved across once and for all: what stands between query and $c_s$ is another matrix for each distance. So the position gets a key of its own, $R$ numbers that all heads share
# (the *decoupled* rotary part, $R$ in the names), beside $C_c$ in the cache; a query has both parts, $q^C$ for the content and $q^R$, which is turned:
#
# $$k_{hs} = [\,c_s W^{UK}_h,\ (x_s W^{KR})\, R_s\,], \qquad q_{ht} = [\,q^C_{ht},\ q^R_{ht}\, R_t\,], \qquad \text{scale } 1/\sqrt{D + R}, \qquad \text{cache: } C_c + R \text{ numbers}.$$


# %%
def turned(x):  # rotary, neighbours as pairs: (..., T, R)
    T, R = x.shape[-2:]
    angle = np.arange(T)[:, None] * 10_000.0 ** (-2 * np.arange(R // 2) / R)
    a, b = x[..., 0::2], x[..., 1::2]
    return np.stack(
        [a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1
    ).reshape(x.shape)


def latent_attention(x, p, H=2, D=4, absorbed=False):
    q = split(x @ p["q"], H)  # (B, H, T, D + R)
    qC, qR = q[..., :D], turned(q[..., D:])
    c = rms_norm(x @ p["kv_down"], p["kv_norm"])[:, None]  # (B, 1, S, Cc)
    kR = turned((x @ p["k_rotary"])[:, None])  # (B, 1, S, R): c and kR are all that a cache holds
    WUK, WUV = (p[name].reshape(c.shape[-1], H, -1).swapaxes(0, 1) for name in ("k_up", "v_up"))  # (H, Cc, D)
    content = (qC @ WUK.mT) @ c.mT if absorbed else qC @ (c @ WUK).mT
    scores = (content + qR @ kR.mT) / np.sqrt(q.shape[-1])
    P = softmax(np.where(np.tri(x.shape[1], dtype=bool), scores, -np.inf))
    return join((P @ c) @ WUV if absorbed else P @ (c @ WUV)) @ p["out"]


# %% [markdown]
# ## 4 · A mixture of experts
#
# Two thirds of a block are its feed-forward network (chapter 08). A **mixture of experts** has $N_e$ of them, and a *router* that picks $k$ for each token:
#
# $$P = \operatorname{softmax}(x W_r), \qquad y = \sum_{e \,\in\, \text{the } k \text{ largest}} \frac{P_e}{\sum_{e' \in \text{the } k \text{ largest}} P_{e'}}\; \operatorname{SwiGLU}_e(x) .$$
#
# The parameters grow with $N_e$, the work for a token with $k$. On paper: $P = (0.5, 0.3, 0.2)$ and $k = 2$ give the weights $\tfrac58$ and $\tfrac38$, and the third expert is not even computed.
#
# A router left alone tends to collapse: who is chosen learns, who learns is chosen. So a small **load-balance loss** is added. With $f_e$ the number of times that expert $e$ is chosen per token and $\operatorname{mean} P_e$ its mean probability over the tokens,
#
# $$\ell = N_e \sum_e f_e\, \operatorname{mean} P_e, \qquad\text{which is } k \text{ when all is even.}$$
#
# On paper, two tokens with $P = (0.5, 0.3, 0.2)$ and $(0.6, 0.1, 0.3)$, $k = 2$: the first chooses experts 1 and 2, the second 1 and 3, so $f = (1, \tfrac12, \tfrac12)$, $\operatorname{mean} P = (0.55, 0.2, 0.25)$ and $\ell = 3\,(0.55 + 0.1 + 0.125) = 2.325$. The choice itself has no derivative; the gradient goes through $\operatorname{mean} P$, and it is largest for the most crowded expert.


# %%
def experts(x, p, k=2):
    y = np.zeros_like(x)
    for place in np.ndindex(x.shape[:-1]):  # token by token
        P = softmax(x[place] @ p["router"])
        chosen = np.argsort(-P)[:k]
        for e in chosen:
            own = {name: p[name][e] for name in ("gate", "up", "down")}
            y[place] += P[e] / P[chosen].sum() * swiglu(x[place], own)
    return y


def load_balance(P, k):  # (tokens, experts)
    chosen = np.argsort(-P, axis=-1)[:, :k]
    f = np.bincount(chosen.ravel(), minlength=P.shape[1]) / len(P)
    return P.shape[1] * (f * P.mean(axis=0)).sum()


assert np.isclose(load_balance(np.array([[0.5, 0.3, 0.2], [0.6, 0.1, 0.3]]), 2), 2.325)
load_balance(np.array([[0.5, 0.3, 0.2], [0.6, 0.1, 0.3]]), 2)

# %% [markdown]
# ## 5 · Four witnesses
#
# Our lines above, the library, PyTorch (for latent attention and experts the code of the `transformers` library, run in PyTorch once and stored), and finite differences. That library computes angles and routers in single precision, hence the larger differences there.


# %%
def named(module, case):  # the library's part with the stored parameters
    for key, parameter in module.astype(np.float64).named_parameters():
        parameter.data = case["param." + key.removesuffix(".weight").removesuffix("_proj")]
    return module


rotary = RotaryPositions(2, interleaved=True)
PARTS = {
    "swiglu": (swiglu, SwiGLU(8, 5), {}),
    "window_and_sink": (
        windowed_attention,
        MultiHeadAttention(8, 2, bias=False, window=Window(3, 1)),
        {"causal": True},
    ),
    "latent_attention": (
        latent_attention,
        LatentAttention(8, 2, bias=False, positions=rotary, latent_dim=3),
        {"causal": True},
    ),
    "experts": (experts, Experts(8, 5, num_experts=4), {}),
}
rows = []
for name, (ours, module, options) in PARTS.items():
    case = recorded(name)
    p = {key.removeprefix("param."): value for key, value in case.items() if key.startswith("param.")}
    x, y_bar = mg.Tensor(case["input.x"], requires_grad=True), case["upstream"]
    y = named(module, case)(x, **options)
    y.backward(y_bar)
    direction = np.random.default_rng(0).normal(size=x.shape)
    slope = sum(s * (ours(x.data + s * 1e-6 * direction, p) * y_bar).sum() for s in (1, -1)) / 2e-6
    worst = max(
        np.abs(q.grad.data - case["grad.param." + key.removesuffix(".weight").removesuffix("_proj")]).max()
        for key, q in module.named_parameters()
    )
    gaps = [np.abs(ours(x.data, p) - y.data).max(), np.abs(ours(x.data, p) - case["output"]).max()]
    gaps += [
        np.abs(x.grad.data - case["grad.input.x"]).max(),
        worst,
        abs(slope - (x.grad.data * direction).sum()),
    ]
    limit = 1e-6 if name in ("latent_attention", "experts") else 1e-12
    assert gaps[0] < 1e-12 and max(gaps[1:4]) < limit and gaps[4] < 1e-6
    rows.append((name.replace("_", " "), *(f"{gap:.0e}" for gap in gaps)))
case = recorded("latent_attention")
p = {key.removeprefix("param."): value for key, value in case.items() if key.startswith("param.")}
both = [latent_attention(case["input.x"], p, absorbed=way) for way in (False, True)]
assert np.abs(both[0] - both[1]).max() < 1e-12
case = recorded("rms_norm")
gap = np.abs(rms_norm(case["input.x"], case["input.weight"]) - case["output"]).max()
assert gap < 1e-12
print(f"RMSNorm, ours − PyTorch: {gap:.0e}")
print(f"latent attention, absorbed − expanded: {np.abs(both[0] - both[1]).max():.0e}")
head = [
    "part",
    "ours − library",
    "ours − PyTorch",
    "∂x: engine − PyTorch",
    "parameters",
    "∂x: engine − finite differences",
]
table(head, rows)

# %% [markdown]
# ## 6 · The bytes of a cache, counted and measured
#
# Four small models write 60 tokens, one by one; after each we add up the bytes of the arrays that the cache holds (dots) and compare with the formula (lines). On the right the same formulas at the sizes of large models.


# %%
def cache_numbers(T, kv_heads, head_dim, window=None, sinks=0):  # per layer and sequence
    return 2 * kv_heads * head_dim * (T if window is None else min(T, window + sinks))


LAYERS, BYTES = 2, 4
kinds = {
    "every head its own (H = 4)": ({}, lambda T: cache_numbers(T, 4, 8)),
    "one for all (multi-query)": ({"num_kv_heads": 1}, lambda T: cache_numbers(T, 1, 8)),
    "latent, 16 + 8 numbers": (
        {"attention": {"name": "latent", "latent_dim": 16}, "positions": "rotary"}, lambda T: T * (16 + 8)
    ),
    "window of 16, 2 sinks": (
        {"attention": {"name": "full", "window": 16, "sinks": 2}}, lambda T: cache_numbers(T, 4, 8, 16, 2)
    ),
}  # fmt: skip
fig, (left, right) = figure(10.6, 3.8, 1, 2)
places = np.arange(1, 61)
for i, (name, (options, formula)) in enumerate(kinds.items()):
    model, cache, held = GPT(11, 32, 4, LAYERS, 64, **options).eval(), KVCache(64), []
    with mg.no_grad():
        for t in places:
            model([[int(t) % 11]], cache=cache)
            held.append(cache.nbytes)
    expected = [LAYERS * BYTES * formula(int(t)) for t in places]
    assert held == expected
    left.plot(places, np.array(expected) / 1024, label=name, **line(i))
    left.plot(places[::6], np.array(held)[::6] / 1024, "o", color=COLOURS[i], markersize=4)
left.set_xlabel("tokens read")
left.set_ylabel("cache (KiB): lines counted, dots measured")
left.legend(fontsize=8)

large = {  # 32 layers, 32 heads of 128, half precision
    "every head\nits own": cache_numbers(1, 32, 128), "grouped\n(8)": cache_numbers(1, 8, 128),
    "multi-query\n(1)": cache_numbers(1, 1, 128), "latent\n(512 + 64)": 512 + 64,
}  # fmt: skip
sizes = [32 * 2 * n / 1024 for n in large.values()]
right.bar(list(large), sizes, color=[COLOURS[0], COLOURS[0], COLOURS[0], COLOURS[1]])
for x, size in enumerate(sizes):
    right.text(x, size, f"{size:.0f} KiB", ha="center", va="bottom", fontsize=9)
right.set_ylabel("cache per token (KiB), 32 layers")
right.tick_params(axis="x", labelsize=8)
assert sizes[0] == 512 and sizes[1] == 128 and sizes[3] == 36
fig

# %% [markdown]
# ## 7 · Experiment: one change at a time
#
# The task is the one of chapter 11, in small: predict the next character of English text, 32 characters at a time. Each run is a model of 2 layers and width 32, with about 29 800 parameters, 200 steps of 12 rows, the optimizer AdamW with gradients clipped to norm 1 (chapter 10) and a rate that rises to 0.01 in 20 steps and falls to a tenth of it. **Held equal** are the data, their order for each seed, the steps, the rate and, by choosing $F$, the number of parameters (within
# 2 %). The experts are the exception: they have almost three times the parameters, and are held equal in *work per token*, counted in GFLOP, $10^9$ floating-point operations. Every change is run with the same four seeds; the table shows the mean of the paired differences and a 95 % interval (Student's).
#
# **Predict before you run it.** Which of these eight changes lower the loss? By more than 0.1 nats? Which one makes it worse? Write your guess down.

# %%
text = corpora.default_text()
tokenizer = CharTokenizer.train(text)
train_ids, validation_ids = corpora.train_validation_split(tokenizer.encode(text), 256)
CONTEXT, STEPS, ROWS, RATE, SEEDS = 32, 200, 12, 1e-2, range(4)
checked = [corpora.batch(validation_ids, 64, CONTEXT, np.random.default_rng(9 + i)) for i in range(6)]


def trained(seed, width=32, rate=RATE, balance=0.01, heads=4, **options):
    """A model, its loss on six validation batches, and the FLOPs of its training."""
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = GPT(
        tokenizer.vocab_size,
        width,
        heads,
        2,
        CONTEXT if options["positions"] == "learned" else 256,
        **options,
    )
    mixture = "experts" in str(options["ffn"])

    def loss(inputs, targets):
        if not mixture:
            return mg.cross_entropy(model(inputs), targets)
        with routings(model) as kept:
            main = mg.cross_entropy(model(inputs), targets)
        return main + balance * imbalance(kept)

    step = mg.program(loss, model)
    optimizer = optim.AdamW(model.parameters(), lr=rate)
    for i in range(STEPS):
        model.zero_grad()
        step(*corpora.batch(train_ids, ROWS, CONTEXT, rng))
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.lr = rate * min(1, (i + 1) / 20) * (1 - 0.9 * i / STEPS)
        optimizer.step()
    with mg.no_grad():
        found = np.mean([mg.cross_entropy(model(a), b).item() for a, b in checked])
    return model.eval(), float(found), STEPS * count(model, ROWS, CONTEXT).training_flops


BLOCKS = {"2017, pre-norm": {"norm": "layer", "ffn": "relu", "positions": "learned", "ffn_dim": 128}}
BLOCKS["RMSNorm"] = {**BLOCKS["2017, pre-norm"], "norm": "rms"}
BLOCKS["SwiGLU"] = {**BLOCKS["RMSNorm"], "ffn": "swiglu", "ffn_dim": 85}
BLOCKS["rotary"] = {**BLOCKS["SwiGLU"], "positions": "rotary", "ffn_dim": 91}
runs = {name: [trained(seed, **options) for seed in SEEDS] for name, options in BLOCKS.items()}

# %%
OTHERS = {
    "multi-query": {**BLOCKS["rotary"], "num_kv_heads": 1, "ffn_dim": 107},
    "normed q and k": {**BLOCKS["rotary"], "attention": {"name": "full", "norm": "rms"}},
    "window 8, 1 sink": {**BLOCKS["rotary"], "attention": {"name": "full", "window": 8, "sinks": 1}},
    "latent 16 + 8": {**BLOCKS["rotary"], "attention": {"name": "latent", "latent_dim": 16}, "ffn_dim": 83},
}
runs |= {name: [trained(seed, **options) for seed in SEEDS] for name, options in OTHERS.items()}

# %%
OTHERS["8 experts, 2 each"] = {
    **BLOCKS["rotary"],
    "ffn": {"name": "experts", "num_experts": 8, "per_token": 2},
    "ffn_dim": 45,
}
BLOCKS |= OTHERS
AGAINST = {"RMSNorm": "2017, pre-norm", "SwiGLU": "RMSNorm", "rotary": "SwiGLU"}  # the others: against rotary
runs["8 experts, 2 each"] = [trained(seed, **OTHERS["8 experts, 2 each"]) for seed in SEEDS]
losses = {name: np.array([run[1] for run in found]) for name, found in runs.items()}


# %%
def paired(a, b):
    """The mean of a − b over seeds, and the half width of its 95 % interval (Student's)."""
    found = over_seeds(a - b)
    return found.value, found.high - found.value


rows, change = [], {}
for name in BLOCKS:
    model, _, flops = runs[name][0]
    if name == "2017, pre-norm":
        verdict = ("", "", "")
    else:
        other = AGAINST.get(name, "rotary")
        change[name] = mean, half = paired(losses[name], losses[other])
        told = "lower" if mean + half < 0 else "higher" if mean - half > 0 else "cannot be told"
        verdict = (other, f"{mean:+.3f} ± {half:.3f}", told)
    shown = f"{losses[name].mean():.3f}", f"{np.ptp(losses[name]):.2f}"
    rows.append((name, f"{model.num_parameters():,}", f"{flops / 1e9:.1f}", *shown, *verdict))
sizes = [found[0][0].num_parameters() for name, found in runs.items() if "experts" not in name]
assert max(sizes) < 1.02 * min(sizes)
assert change["rotary"][0] < -0.08 and sum(change["rotary"]) < 0
assert (
    change["normed q and k"][0] > 0.02 and max(abs(change[name][0]) for name in ("RMSNorm", "SwiGLU")) < 0.08
)
table(
    [
        "block",
        "parameters",
        "GFLOP of training",
        "loss (nats)",
        "range of seeds",
        "against",
        "paired difference",
        "so it is",
    ],
    rows,
)

# %% [markdown]
# Only one change is large: from learned vectors to rotary positions. RMSNorm and SwiGLU cannot be told from what they replace here, in spite of everything that is said about them: RMSNorm is *simpler*, and the gain that the paper of SwiGLU reports, 0.04 to 0.05 nats (its table 1), is smaller than the range of our seeds. One key head for four, and a cache of 24 numbers in place of 64,
# have means on the wrong side of zero and intervals that reach across it: what they cost these four seeds do not say, and it may be as much as 0.21 and 0.11 nats; what they save is certain, three quarters and five eighths of the cache. That is what these two are for. A window of 8 characters and the experts have means on the right side, and cannot be told either. "Cannot be told" is not "no difference": the intervals say how large a
# difference may still be hiding. And normed queries and keys look like a mistake; the next section asks when they might not be.

# %%
order = list(change)
fig, ax = figure(8.4, 3.8)
for y, name in enumerate(order[::-1]):
    mean, half = change[name]
    ax.errorbar(mean, y, xerr=half, fmt="o", color=COLOURS[0], capsize=4, markersize=6)
    ax.plot(
        losses[name] - losses[AGAINST.get(name, "rotary")],
        [y - 0.22] * len(SEEDS),
        "|",
        color="0.4",
        markersize=8,
    )
ax.axvline(0, color="0.35", linewidth=1, linestyle=":")
ax.set_yticks(
    range(len(order)),
    [f"{name}  (against {AGAINST.get(name, 'rotary')})" for name in order[::-1]],
    fontsize=8,
)
ax.set_xlabel("difference of the loss (nats): mean and 95 % interval; ticks: the four seeds")
fig

# %% [markdown]
# ### When training is too fast: normed queries and keys
#
# With RMSNorm on each query and key (before they are turned), $\|q\| = \|k\| = \sqrt D$ up to $\gamma$, so no score exceeds $\sqrt D$ times the scales, whatever the weights do. Without it, scores grow with the product of two matrices, and a rate that is too high drives the softmax into its flat corners. So, if anywhere, it should help at *high* rates: the same two blocks at a rate fifteen times as high.

# %%
RATES = [1e-2, 1.5e-1]
pair = ["rotary", "normed q and k"]
swept = {name: [losses[name]] for name in pair}
for name in pair:
    for rate in RATES[1:]:
        swept[name].append(np.array([trained(seed, rate=rate, **BLOCKS[name])[1] for seed in SEEDS]))
fig, ax = figure(6.4, 3.6)
for i, name in enumerate(pair):
    found = np.array(swept[name])  # (rates, seeds)
    label = {"rotary": "as they come"}.get(name, name)
    ax.plot(RATES, found.mean(axis=1), marker="os"[i], label=label, **line(i))
    ax.plot(RATES, found, ".", color=COLOURS[i], markersize=4)
ax.set_xscale("log")
ax.set_xlabel("highest learning rate")
ax.set_ylabel("loss (nats); dots: four seeds")
ax.legend()
gains = [paired(a, b) for a, b in zip(swept["normed q and k"], swept["rotary"])]
assert gains[0][0] > 0.02
print("normed − as they come:")
for rate, (mean, half) in zip(RATES, gains):
    print(f"  {mean:+.3f} ± {half:.3f} at a rate of {rate}")
fig

# %% [markdown]
# At the rate that suits both, the norm costs, and the interval says so. At the high rate its mean is the lower one, but now the seeds scatter more than the means differ, and the interval reaches across zero: four seeds do not decide, at this size, what the papers report of large models, that the norm lets them train where others diverge. A cost that can be told, and an insurance that cannot.
#
# ## 8 · Loss against work
#
# At equal parameters one asks for the better model; at equal *work*, for the better bargain. The block of 2017 and the rotary block at three widths, and the experts, against the floating-point operations of their training (counted by the formulas of chapter 14; the assertion holds them to the products that NumPy really computes).

# %%
WIDTHS = sized((24, 48), (24,), "as other widths")
lines = {name: {32: losses[name][:3]} for name in ("2017, pre-norm", "rotary")}
work = {name: {32: runs[name][0][2]} for name in lines}
for name in lines:
    for width in WIDTHS:
        size = {**BLOCKS[name], "ffn_dim": round(BLOCKS[name]["ffn_dim"] * width / 32)}
        found = [trained(seed, width=width, **size) for seed in range(3)]
        lines[name][width], work[name][width] = np.array([run[1] for run in found]), found[0][2]

model = runs["8 experts, 2 each"][0][0]
model.zero_grad()
with watch() as seen:
    mg.cross_entropy(model(checked[0][0][:ROWS]), checked[0][1][:ROWS]).backward()
assert seen.flops == count(model, ROWS, CONTEXT).training_flops

fig, ax = figure(7.4, 4.2)
for i, name in enumerate(lines):
    widths = sorted(lines[name])
    x, y = [work[name][w] / 1e9 for w in widths], np.array([lines[name][w] for w in widths])
    ax.plot(
        x, y.mean(axis=1), marker="os"[i], label=f"{name}, widths {', '.join(map(str, widths))}", **line(i)
    )
    ax.plot(x, y, ".", color=COLOURS[i], markersize=4)
for i, name in enumerate(["8 experts, 2 each", "window 8, 1 sink", "latent 16 + 8", "multi-query"], 2):
    x = runs[name][0][2] / 1e9
    ax.errorbar(
        x,
        losses[name].mean(),
        losses[name].std(ddof=1),
        fmt="^Dv*"[i - 2],
        color=COLOURS[i % len(COLOURS)],
        capsize=3,
        label=name,
    )
ax.set_xscale("log")
ax.set_xlabel("work of training (GFLOP)")
ax.set_ylabel("loss (nats); bars: standard deviation of 4 seeds")
ax.set_xticks([10, 15, 20, 30], ["10", "15", "20", "30"])
ax.minorticks_off()
ax.legend(fontsize=8)
fig

# %%
dense, mixed = runs["rotary"][0], runs["8 experts, 2 each"][0]
assert abs(mixed[2] / dense[2] - 1) < 0.05 and mixed[0].num_parameters() > 2.5 * dense[0].num_parameters()
more = mixed[0].num_parameters() / dense[0].num_parameters()
print(f"The experts: {mixed[2] / dense[2]:.2f} of the dense block's work, {more:.1f} times its parameters,")
print("loss {:+.3f} ± {:.3f} nats.".format(*change["8 experts, 2 each"]))

# %% [markdown]
# ### Does the router need its penalty?
#
# The same experts without the load-balance loss. The picture shows how often each expert of the first layer is chosen, in order; even would be 25 % each (two of eight).


# %%
def shares(model):
    with mg.no_grad(), routings(model) as kept:
        model(checked[0][0])
    chosen = [calls[0].chosen for calls in kept.values()]
    return np.array([np.sort(np.bincount(c.ravel(), minlength=8))[::-1] / len(c) for c in chosen]).mean(
        axis=0
    )


free = [trained(seed, balance=0.0, **BLOCKS["8 experts, 2 each"]) for seed in range(3)]
used = {
    "with the load-balance loss": [shares(run[0]) for run in runs["8 experts, 2 each"][:3]],
    "without": [shares(run[0]) for run in free],
}
fig, ax = figure(6.4, 3.4)
for i, (name, found) in enumerate(used.items()):
    ax.bar(
        np.arange(8) + 0.4 * i - 0.2,
        100 * np.mean(found, axis=0),
        0.38,
        label=name,
        color=COLOURS[i],
        hatch=["", "//"][i],
        edgecolor="white",
    )
ax.axhline(25, color="0.35", linewidth=1, linestyle=":")
ax.set_xlabel("expert, the busiest first (mean of two layers and three seeds)")
ax.set_ylabel("tokens that choose it (%)")
ax.legend()
unbalanced = np.array([run[1] for run in free])
for name, found in used.items():
    mean = 100 * np.mean(found, axis=0)
    print(f"{name}: busiest {mean[0]:.0f} %, idlest {mean[-1]:.1f} %")
even, crowded = (np.array(found) for found in used.values())  # (seeds, experts)
for what, a, b, unit in (
    ("loss", unbalanced, losses["8 experts, 2 each"][:3], "nats"),
    ("share of the busiest", 100 * crowded[:, 0], 100 * even[:, 0], "points"),
    ("share of the idlest", 100 * crowded[:, -1], 100 * even[:, -1], "points"),
):
    print("{}, without − with: {:+.2f} ± {:.2f} {}".format(what, *paired(a, b), unit))
even, crowded = even.mean(axis=0), crowded.mean(axis=0)
assert crowded[0] > even[0] + 0.1 and crowded[-1] < even[-1] - 0.03
fig

# %% [markdown]
# The penalty does what it says: without it, two experts take most of the tokens, and some get next to none. Whether that costs *loss* three seeds do not decide: the interval stands above the picture. On one machine an uneven load should cost little time. On many machines, each with a few experts, all wait for the busiest one.
#
# ## 9 · Longer than in training
#
# A rotary pair turns by $\omega_i = b^{-2i/D}$ per token. Trained on 32 tokens, the model has met every angle of the fast pairs, but of the slow ones only the first degrees. At token 100 they stand at angles that no weight was ever fitted to. Three ways to slow the pairs, with $s$ = new length / old length:
#
# - **interpolated**: $\omega_i / s$ for all. No new angle ever occurs, but neighbours are now told apart by $1/s$ of a step.
# - **raised base** (called "NTK-aware", after the neural tangent kernel, whose theory suggested it): $\omega_i\, s^{-2i/(D-2)}$, that is $b$ becomes $b\, s^{D/(D-2)}$. The fastest pair stays, the slowest becomes $s$ times slower.
# - **YaRN** (*yet another RoPE extension*): pairs that turn often within the old length stay, those that turn less than once become $s$ times slower, a ramp between; and scores are multiplied by $(0.1 \ln s + 1)^2$.
#
# On paper, $D = 4$, $b = 10\,000$, $s = 4$: $\omega = (1,\ 0.01)$; interpolated $(0.25,\ 0.0025)$; raised base $(1,\ 0.0025)$.
#
# A fourth cure is not to look so far: a **window** at the time of writing. Our rotary models, trained on 32 tokens, now read 256, with nothing trained again. **Predict**: which curve is lowest at token 250? Which one pays for it at token 20?

# %%
omega = 10_000.0 ** (-2 * np.arange(2) / 4)
assert np.allclose(Interpolated(4)(omega), [0.25, 0.0025]) and np.allclose(RaisedBase(4)(omega), [1, 0.0025])

LONG = 256
long_inputs, long_targets = corpora.batch(validation_ids, 32, LONG, np.random.default_rng(3))


def by_place(model, stretch=None, window=None):
    """The loss at each place of a long text, (T,)."""
    for layer in model.layers:
        layer.self_attention.positions, layer.self_attention.window = (
            RotaryPositions(8, stretch=stretch),
            window,
        )
    with mg.no_grad():
        return mg.cross_entropy(model(long_inputs), long_targets, reduction="none").data.mean(axis=0)


CURES = {
    "as trained": {},
    "interpolated, s = 8": {"stretch": Interpolated(8)},
    "raised base, s = 8": {"stretch": RaisedBase(8)},
    "YaRN, s = 8": {"stretch": Yarn(8, CONTEXT)},
    "window of 16": {"window": Window(16)},
    "window of 16, 1 sink": {"window": Window(16, 1)},
}
curves = {
    name: np.array([by_place(run[0], **cure) for run in runs["rotary"]]) for name, cure in CURES.items()
}
fig, ax = figure(8, 4.2)
for i, (name, found) in enumerate(curves.items()):
    blocks = found.mean(axis=0).reshape(-1, 16).mean(axis=1)
    ax.plot(np.arange(8, LONG, 16), blocks, marker="osD^v*"[i], markersize=4, label=name, **line(i))
ax.axvline(CONTEXT, color="0.35", linewidth=1, linestyle=":")
ax.set_ylim(top=ax.get_ylim()[1] + 0.3)
ax.text(CONTEXT + 2, ax.get_ylim()[0], "length of training", va="bottom", fontsize=8, color="0.25")
ax.set_xlabel("place in the text")
ax.set_ylabel("loss (nats), mean of 16 places and 4 seeds")
ax.legend(fontsize=8, ncol=3, loc="upper left")
fig

# %%
parts = {
    "places 8–31": slice(8, 32),
    "32–63": slice(32, 64),
    "64–127": slice(64, 128),
    "128–255": slice(128, 256),
}
at = {
    name: {part: found[:, where].mean(axis=1) for part, where in parts.items()}
    for name, found in curves.items()
}
far, near = "128–255", "places 8–31"
gap = {name: at[name][far].mean() - at["as trained"][far].mean() for name in CURES}
assert at["as trained"][far].mean() > at["as trained"][near].mean() + 0.3  # it fails beyond its length
assert max(gap[name] for name in ("interpolated, s = 8", "YaRN, s = 8")) < -0.1
assert gap["window of 16"] < min(gap["interpolated, s = 8"], gap["YaRN, s = 8"]) - 0.1
assert at["interpolated, s = 8"][near].mean() > at["as trained"][near].mean() + 0.1
table(["reads", *parts], [(name, *(f"{at[name][part].mean():.2f}" for part in parts)) for name in CURES])

# %%
differences = [(name, "as trained") for name in CURES if name != "as trained"]
differences += [("YaRN, s = 8", "interpolated, s = 8"), ("window of 16", "YaRN, s = 8")]
differences += [("window of 16, 1 sink", "window of 16")]
rows = []
for a, b in differences:
    both = [paired(at[a][part], at[b][part]) for part in (near, far)]
    rows.append((f"{a} − {b}", *(f"{mean:+.2f} ± {half:.2f}" for mean, half in both)))
table(["difference of the loss, four seeds", near, far], rows)

# %% [markdown]
# (The zigzag that all curves share is the text's: these 32 passages happen to be harder in some places.) *As trained*, the loss climbs as soon as the text is longer than in training. Interpolation holds the far end and pays for it nearby; the raised base costs little nearby and holds about twice the length; YaRN holds the far end no worse than interpolation (what lies between them there, the four seeds do not decide) and pays
# less nearby. (Interpolation and YaRN are meant as the start of a short further training, which repairs much of what they cost; raising the base was proposed for use without any. Ours get none.) The plain window beats them all here, at both ends, since English characters need little of the far past: no far token is looked at, so no strange angle occurs.
#
# And the sink? What it changes at the far end, the last row does not decide; it is a far token with a strange angle. How much weight goes to the first token?


# %%
def on_first(model):
    for layer in model.layers:
        layer.self_attention.positions, layer.self_attention.window = RotaryPositions(8), None
    with mg.no_grad(), attention_maps(model) as maps:
        model(checked[0][0])
    weights = np.stack([kept[0] for kept in maps.values()])[..., 16:, :]  # (layers, B, H, T, S), late queries
    return weights[..., 0].mean(), (1 / np.arange(17, CONTEXT + 1)).mean()


first = [on_first(run[0]) for run in runs["rotary"]]
assert max(share for share, _ in first) < 0.2
print(
    ", ".join(f"{share:.3f}" for share, _ in first),
    f"of a late query's weight lies on the first token; {first[0][1]:.3f} would be even.",
)

# %% [markdown]
# No sink has formed in 200 steps: the first token gets less than its even part. In large trained models the first token gets much of the weight, and a window without sinks ruins them; that is a claim of the paper in the references (Xiao et al.), and not one that this chapter measured. In the small encoder of chapter 16, `[CLS]` gets about half in the middle blocks.
#
# ## Common misunderstandings
#
# - ***Newer parts make better models.*** Most of them make *cheaper*, *longer* or *stabler* ones. At equal size and on this task, one change in eight lowered the loss by an amount that four seeds can tell.
# - ***RMSNorm is layer norm without bias.*** It also leaves the mean where it is. $(1, 7)$ becomes $(0.2, 1.4)$, not $(-1, 1)$.
# - ***A model with 8 experts does 8 times the work.*** It has as many feed-forward networks as experts: 8 times their *parameters* at equal width, 4 times here, where each has half the width. A token pays for the $k$ that it is given.
# - ***Each expert learns a subject.*** Nothing asks for that. The router sees one token's vector at a time and is trained for the loss and for balance.
# - ***Latent attention is grouped heads with another name.*** Grouped heads share keys; here all heads have keys of their own, made from a shared vector, and it is the *vector* that is cached.
# - ***A window forgets everything beyond $w$ tokens.*** One layer does. Through $L$ layers, $(w - 1)\,L$ places can be reached.
# - ***Rotary positions work at any length, since only distances count.*** They are *defined* at any distance. The weights have met those of training.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · What will it take?
#
# The bytes of a whole cache after $T$ tokens: `layers`, `kv_heads` heads of `head_dim`, numbers of `size` bytes. With a `window` (or None) and `sinks`, only what a later query can still see is kept, the newest token included.


# %% tags=["exercise"]
def cache_bytes(T, layers, kv_heads, head_dim, size, window, sinks):
    """Bytes of the cache of one sequence."""
    ### BEGIN SOLUTION
    held = T if window is None else min(T, window + sinks)
    return 2 * layers * kv_heads * head_dim * size * held
    ### END SOLUTION


checks.check_08b_cache_bytes(cache_bytes)

# %% [markdown] tags=["idea"]
# Keys *and* values: a factor 2. The window and the sinks are different tokens once the text is longer than both together; before that, all $T$ are held.

# %% [markdown]
# ### Exercise 2 ★★ · Who sees whom, late
#
# A cache holds $S - T$ tokens, $T$ new ones come in, and the last query belongs to the last key. Boolean $(T, S)$: query may see key; a window of `size` places (itself included), the first `sinks` keys, and never the future.


# %% tags=["exercise"]
def late_window(T, S, size, sinks):
    """Boolean (T, S)."""
    ### BEGIN SOLUTION
    query, key = np.arange(S - T, S)[:, None], np.arange(S)[None, :]
    return (key <= query) & ((query - key < size) | (key < sinks))
    ### END SOLUTION


checks.check_08b_late_window(late_window)

# %% [markdown] tags=["idea"]
# Give both their place in the text: queries $S - T, \dots, S - 1$, keys $0, \dots, S - 1$. Then write the sentence down: not later, and (near, or a sink).

# %% [markdown]
# ### Exercise 3 ★★ · RMSNorm, backwards
#
# $y = \gamma \odot x / r$ for rows $x: (N, C)$, with $r$ as in section 1. From $\bar y$ to $(\bar x, \bar\gamma)$. Layer norm's backward (chapter 03) had two corrections; which one is left?


# %% tags=["exercise"]
def rms_norm_backward(y_bar, x, gamma, eps):
    """The gradients (x_bar, gamma_bar)."""
    ### BEGIN SOLUTION
    r = np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    n = x / r
    n_bar = y_bar * gamma
    return (n_bar - n * (n_bar * n).mean(axis=-1, keepdims=True)) / r, (y_bar * n).sum(axis=0)
    ### END SOLUTION


checks.check_08b_rms_norm_backward(rms_norm_backward)

# %% [markdown] tags=["idea"]
# With $n = x/r$ and $\bar n = \gamma \odot \bar y$: $r$ depends on every $x_i$, $\partial r/\partial x_i = x_i/(C r)$. So $\bar x = \bar n / r - n\, \tfrac1C (\sum_j \bar n_j n_j)/r$. The term with the mean of $\bar n$ is gone, since no mean was subtracted.

# %% [markdown]
# ### Exercise 4 ★★ · Slower, but not all of it
#
# The angles $\omega_i$, $i = 0, \dots, D/2 - 1$, of the rotary scheme with base $b$, its base raised so that the **fastest** pair stays as it is and the **slowest** becomes exactly $s$ times slower.


# %% tags=["exercise"]
def raised_base(D, b, s):
    """The angles per token, (D/2,)."""
    ### BEGIN SOLUTION
    raised = b * s ** (D / (D - 2))
    return raised ** (-2 * np.arange(D // 2) / D)
    ### END SOLUTION


checks.check_08b_raised_base(raised_base)

# %% [markdown] tags=["idea"]
# The slowest pair is $i = D/2 - 1$, with $\omega_i = b^{-(D-2)/D}$. We want $b'^{-(D-2)/D} = b^{-(D-2)/D} / s$, hence $b' = b\, s^{D/(D-2)}$.

# %% [markdown]
# ### Exercise 5 ★★★ · Latent attention without keys
#
# One new token: $q: (H, D)$, without a rotary part; the cache $c: (S, C_c)$; $W^{UK}: (H, C_c, D)$ and $W^{UV}: (H, C_c, D_v)$. Return $(H, D_v)$, with the scale $1/\sqrt D$, and **never make** the keys or values of the $S$ tokens: the check watches what is computed from $c$.


# %% tags=["exercise"]
def decode_latent(q, c, WUK, WUV):
    """What the H heads get for one new token, (H, Dv)."""
    ### BEGIN SOLUTION
    down = (WUK @ q[:, :, None])[:, :, 0]  # (H, Cc)
    s = down @ c.T / np.sqrt(q.shape[-1])  # (H, S)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    mixed = (e / e.sum(axis=-1, keepdims=True)) @ c  # (H, Cc)
    return (mixed[:, None] @ WUV)[:, 0]
    ### END SOLUTION


checks.check_08b_decode_latent(decode_latent)

# %% [markdown] tags=["idea"]
# Section 3: $q_h W_h^{UK\top}$ first, $(H, C_c)$; its dot products with the $c_s$ are the scores; the weights' mean of the $c_s$, $(H, C_c)$, goes through $W_h^{UV}$. The scale is that of the keys that are never made.

# %% [markdown]
# ### Exercise 6 ★★ · The router's push
#
# For $P: (N, N_e)$ and the $k$ largest of each row chosen, return $\ell = N_e \sum_e f_e \operatorname{mean} P_e$ **and** its gradient $\bar P: (N, N_e)$. (No gradient goes through a choice.)


# %% tags=["exercise"]
def balance_with_gradient(P, k):
    """(loss, P_bar)."""
    ### BEGIN SOLUTION
    N, N_e = P.shape
    chosen = np.argsort(-P, axis=-1)[:, :k]
    f = np.bincount(chosen.ravel(), minlength=N_e) / N
    return N_e * (f * P.mean(axis=0)).sum(), np.tile(N_e * f / N, (N, 1))
    ### END SOLUTION


checks.check_08b_balance(balance_with_gradient)

# %% [markdown] tags=["idea"]
# Only $\operatorname{mean} P_e = \tfrac1N \sum_n P_{ne}$ depends smoothly on $P$, so $\partial \ell/\partial P_{ne} = N_e f_e / N$, the same for every token: each is pushed away from what is crowded, whether it chose it or not.

# %% [markdown]
# ## References
#
# - B. Zhang, R. Sennrich, "Root mean square layer normalization", NeurIPS 2019, section 3.
# - N. Shazeer, "GLU variants improve Transformer" (2020), eq. 6: SwiGLU; "Fast Transformer decoding: one write-head is all you need" (2019): multi-query.
# - J. Ainslie et al., "GQA: training generalized multi-query Transformer models from multi-head checkpoints", EMNLP 2023.
# - J. Su et al., "RoFormer: enhanced Transformer with rotary position embedding" (2021), section 3.4.
# - A. Henry et al., "Query-key normalization for Transformers", Findings of EMNLP 2020, section 3; M. Dehghani et al., "Scaling vision Transformers to 22 billion parameters", ICML 2023, section 2: stability.
# - I. Beltagy, M. Peters, A. Cohan, "Longformer: the long-document Transformer" (2020), section 3.1; A. Q. Jiang et al., "Mistral 7B" (2023), section 2: windows.
# - G. Xiao et al., "Efficient streaming language models with attention sinks", ICLR 2024, section 3.
# - S. Chen et al., "Extending context window of large language models via positional interpolation" (2023); bloc97, "NTK-aware scaled RoPE" (2023); B. Peng et al., "YaRN: efficient context window extension of large language models", ICLR 2024.
# - DeepSeek-AI, "DeepSeek-V2: a strong, economical, and efficient mixture-of-experts language model" (2024), section 2.1 and appendix C: latent attention.
# - N. Shazeer et al., "Outrageously large neural networks: the sparsely-gated mixture-of-experts layer", ICLR 2017; W. Fedus, B. Zoph, N. Shazeer, "Switch Transformers", JMLR 23 (2022), section 2.2; A. Q. Jiang et al., "Mixtral of experts" (2024), section 2.1.
#
# **Before:** [08 · The block](08_the_block.ipynb). **Next:** [09 · Encoder–decoder](09_encoder_decoder.ipynb), where one block gets a second sentence to look at.
