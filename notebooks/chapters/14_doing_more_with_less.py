# ---
# jupyter:
#   cover: 5
# ---

# %% [markdown]
# # 14 · Doing more with less
#
# *About 70 minutes to read, 60 more for the exercises. You need [06 · Q, K, V and many heads](06_q_k_v_and_many_heads.ipynb) and [08 · The block](08_the_block.ipynb).*
#
# A model is too slow, or does not fit. There are only three things to save: **arithmetic**, **bytes** and **numbers to learn**. This chapter first learns to count them, with pencil and paper, and then takes the remedies one by one: each is a few lines, and each has a price that we measure.
#
# **After this chapter you can**
#
# - count the floating-point operations (FLOPs) and bytes of a Transformer on paper, and know which part grows with the square of the length;
# - say what a cache of keys and values saves, and what it holds;
# - round a number to float16 and bfloat16 by hand, and explain where training in sixteen bits breaks and what mends it;
# - quantize a matrix to eight bits, and say what one outlier does to it;
# - compute attention without ever holding its matrix, and trade memory for time in training;
# - adapt a trained model with 2 % of its numbers.

# %%
import inspect
import math
import tracemalloc
import typing

import numpy as np

import checks
import minigrad as mg
from book import COLOURS, figure, line, paired, sized, table
from minigrad import optim
from transformer import GPT, KVCache, LanguageModelling, perplexity
from transformer.compression import (
    FORMATS,
    HalfTraining,
    LossScale,
    add_adapters,
    count,
    from_bfloat16,
    kept_bytes,
    merge_adapters,
    pack,
    quantize,
    recompute_layers,
    rounded,
    share_layers,
    to_bfloat16,
    unpack,
    watch,
)
from transformer.data import corpora
from transformer.data.tokenizers import CharTokenizer

# %% [markdown]
# ## 1 · What does it cost? Count
#
# Nearly all the work of a Transformer is in matrix products, so those are what we count. One entry of the product $Y = XW$ of $X: (n, k)$ and $W: (k, m)$ is a sum of $k$ products: $k$ multiplications and $k$ additions (the first addition, to 0, counted too). There are $nm$ entries:
#
# $$\text{FLOPs}(XW) = 2\,n\,k\,m .$$
#
# On paper: $(2, 3)$ times $(3, 4)$ has 8 entries, each of 3 multiply–adds: $2 \cdot 2 \cdot 3 \cdot 4 = 48$. The backward pass is two more products of the same size, $\bar X = \bar Y W^\top$ and $\bar W = X^\top \bar Y$: **training costs three times the forward pass.** Elementwise steps, norms and lookups are not counted: a few operations for each number, whose time is that of moving the numbers.
#
# Let $B$ be the number of sequences in a batch, $T$ the length of each, $C$ the width of the model. One block, for $n = B T$ tokens:
#
# | part | products | FLOPs |
# | --- | --- | --- |
# | Q, K, V and output projections | four of $(n, C)(C, C)$ | $8\,B\,T\,C^2$ |
# | $QK^\top$ and $PV$ | for all heads together, two of $(T, C)(C, T)$ for each sequence | $4\,B\,T^2 C$ |
# | feed-forward, inner width $4C$ | $(n, C)(C, 4C)$ and $(n, 4C)(4C, C)$ | $16\,B\,T\,C^2$ |
#
# `count` does this for every part of every model of the library, and `watch()` looks over NumPy's shoulder while the model runs and adds up the products that it really computes. Three ways to the same number:

# %%
def block_flops(B, T, C):
    return 8 * B * T * C**2 + 4 * B * T**2 * C + 16 * B * T * C**2


B, T, C, layers, vocab = 12, 64, 64, 2, 100
mg.manual_seed(0)
model = GPT(vocab, C, num_heads=4, num_layers=layers, context_length=T)
ids = np.random.default_rng(0).integers(0, vocab, (B, T))
paper = (
    layers * block_flops(B, T, C) + 2 * B * T * C * vocab
)  # the logits are one more product: (n, C) (C, vocab)
with watch() as forward:
    loss = mg.cross_entropy(model(ids), ids)
with watch() as backward:
    loss.backward()
model.zero_grad()
formula = count(model, B, T)
print(f"forward:   paper {paper:,}   library {formula.forward_flops:,}   watched {forward.flops:,}")
print(
    f"training:  paper {3 * paper:,}   library {formula.training_flops:,}   watched "
    f"{forward.flops + backward.flops:,}"
)
assert paper == formula.forward_flops == forward.flops
assert 3 * paper == formula.training_flops == forward.flops + backward.flops
print(formula.by_layer())

# %% [markdown]
# A rule of thumb follows. The projections and the feed-forward multiply each token once with each of their $12 C^2$ weights: $24 C^2 = 2 \cdot 12 C^2$ FLOPs. So a forward pass costs about **2 FLOPs for each parameter and token**, and training 6. Only $4BT^2C$ does not follow it: it grows with the square of the length. It equals the rest where $4 T^2 C = 24\,T C^2$, at $T = 6\,C$: long before that, the square does not matter.

# %%
fig, ax = figure(6.8, 3.7)
lengths = np.geomspace(16, 65536, 60)
for i, width in enumerate((64, 768, 4096)):
    share = 4 * lengths**2 * width / block_flops(1, lengths, width)
    ax.plot(lengths, 100 * share, label=f"width {width}", **line(i))
    ax.plot([6 * width], [50], "o", color=COLOURS[i], markersize=6)
ax.set_xscale("log")
ax.set_xlabel("length T of the sequence (tokens)")
ax.set_ylabel("attention scores' share of a block (%)")
ax.legend()
assert np.isclose(4 * (6 * 768) ** 2 * 768 / block_flops(1, 6 * 768, 768), 0.5)
fig

# %% [markdown]
# (The dots are at $T = 6C$.)
#
# ## 2 · Do nothing twice: the KV cache
#
# A language model writes one token at a time. For token $t + 1$ it needs the outputs at place $t$ only, and there nothing of the past has changed: with a causal mask, the keys and values of tokens $1 \dots t$ are what they were a moment ago. Without a cache all of them are computed again, $t$ rows for every token; with one, a single row goes through the model, and attends to the stored keys and values.
#
# **Predict.** The model starts from one token and writes 63. How many rows go through it without, and with a cache? ($1 + 2 + \dots + 63 = 2016$, and 63.)

# %%
def write(model, tokens, cached):
    """FLOPs of each written token, and the tokens."""
    cache, ids, flops = KVCache(model.context_length) if cached else None, np.array([[1]]), []
    with mg.no_grad():
        for _ in range(tokens):
            with watch() as work:
                logits = model(ids[:, -1:] if cached else ids, cache=cache)
            ids = np.concatenate([ids, logits.data[:, -1].argmax(axis=-1)[:, None]], axis=1)
            flops.append(work.flops)
    return np.array(flops), ids[0]


model.eval()
without, text = write(model, 63, cached=False)
within, same = write(model, 63, cached=True)
assert np.array_equal(text, same) and without.sum() > 20 * within.sum()
print(
    f"{without.sum():,} FLOPs without, {within.sum():,} with a cache: {without.sum() / within.sum():.0f} "
    "times less, and the same text"
)
fig, ax = figure(6.8, 3.4)
for i, (name, flops) in enumerate({"no cache": without, "cache": within}.items()):
    ax.plot(np.arange(1, 64), flops / 1e6, label=name, **line(i))
ax.set_xlabel("token written")
ax.set_ylabel("million FLOPs for this token")
ax.set_ylim(bottom=0)
ax.legend()
fig

# %% [markdown]
# The price is memory. In every layer, every token leaves a key and a value of $H_{kv} D$ numbers each ($H_{kv}$ key/value heads of width $D$), four bytes a number:
#
# $$\text{cache} = 2 \cdot \text{layers} \cdot H_{kv} D \cdot T \cdot 4 \text{ bytes, for each sequence.}$$
#
# For 32 layers of width 4096 and 4096 tokens that is 4.3 GB, more than many models take. So query heads are made to share keys and values: *grouped heads* in groups, *multi-query* all of them.

# %%
rows = []
for kv in (4, 2, 1):
    mg.manual_seed(0)
    variant = GPT(vocab, C, 4, layers, T, num_kv_heads=kv).eval()
    cache = KVCache(T)
    with mg.no_grad():
        variant(ids[:1], cache=cache)
    held = sum(array.nbytes for i in range(layers) for array in cache.layer(i).contents())
    assert held == 2 * layers * kv * (C // 4) * T * 4 == count(variant, 1, T).cache_bytes
    rows.append((f"{kv} of 4", f"{held:,}", f"{variant.num_parameters():,}"))
table(["key/value heads", "bytes of the cache", "parameters"], rows)

# %% [markdown]
# ## 3 · Sixteen bits
#
# A float32 is a sign, 8 bits of exponent and 23 of mantissa: $\pm\, 1.m \times 2^{e}$. Two formats make do with sixteen bits:
#
# | | exponent | mantissa | smallest above 0 | largest | gap after 1 |
# | --- | --- | --- | --- | --- | --- |
# | float32 | 8 bits | 23 | $1.4 \cdot 10^{-45}$ | $3.4 \cdot 10^{38}$ | $2^{-23} \approx 10^{-7}$ |
# | float16 | 5 bits | 10 | $2^{-24} \approx 6\cdot 10^{-8}$ | 65 504 | $2^{-10} \approx 0.001$ |
# | bfloat16 | 8 bits | 7 | $2^{-133} \approx 10^{-40}$ | $3.4 \cdot 10^{38}$ | $2^{-7} \approx 0.008$ |
#
# float16 is fine but narrow, bfloat16 wide but coarse. A bfloat16 is the upper half of a float32, so rounding is on paper what it is in decimal. Take $x = 1.01 = 1.0000001\,0100\ldots_2$. Seven digits after the point stay, $1.0000001_2 = 1 + 2^{-7} = 1.0078125$; what is cut off, $0.0100\ldots$ of the last digit, is less than half: round down. For $x = 1.0039 \approx 1 + 2^{-8}$ the remainder is one half: a *tie*, which goes to the even neighbour, here 1. (Always rounding ties up would push sums upward.)
#
# In the machine: look at the bits as an integer, add just under half of what will be cut off, plus one if the last kept digit is odd, and cut.

# %%
def bfloat16(x):  # float32 → the nearest bfloat16, as a float32
    bits = np.asarray(x, np.float32).view(np.uint32)
    last = (bits >> 16) & 1  # the last digit that stays
    return ((bits + 0x7FFF + last) & 0xFFFF0000).astype(np.uint32).view(np.float32)


x = np.array([1.01, 1 + 2**-8, 1 + 3 * 2**-8, 0.1, 3.14159, 1e-40], np.float32)
rows = [(f"{a:.7g}", f"{b:.7g}", f"{c:.7g}") for a, b, c in zip(x, bfloat16(x), rounded(x, "float16"))]
assert np.array_equal(bfloat16(x), from_bfloat16(to_bfloat16(x)))
many = np.random.default_rng(0).normal(size=100_000).astype(np.float32) * 10.0 ** np.random.default_rng(
    1
).integers(-30, 30, 100_000).astype(np.float32)
assert np.array_equal(bfloat16(many), from_bfloat16(to_bfloat16(many)))
table(["float32", "bfloat16", "float16"], rows)

# %% [markdown]
# Ours equals the library's on 100 000 numbers (the library's also keeps NaN a NaN). For *storing* weights either will do, as section 6 shows. *Training* is another matter. Two things go wrong, and each is one line of arithmetic:
#
# - **Small gradients vanish.** In float16, $2^{-26} \to 0$. The remedy is *loss scaling*: multiply the loss by $s = 2^{16}$, say; every gradient is then $s$ times as large; divide by $s$ before the step. Too large an $s$ overflows: skip such a step, and halve $s$.
# - **Small updates vanish.** In bfloat16, $1 - 0.001 \to 1$: the gap below 1 is $2^{-8} \approx 0.004$, and a step of less than half of it is rounded away, again and again. The remedy is a float32 *master* copy of the weights, in which small steps add up.
#
# ## 4 · Experiment: training in sixteen bits
#
# Where are a model's gradients on the scale of numbers? We train a small GPT on the text that every Python carries, and collect all gradients of one step.

# %%
source_code = inspect.getsource(inspect) + inspect.getsource(typing)  # for section 9
text = corpora.default_text()
tokenizer = CharTokenizer.train(text + source_code)
vocab = tokenizer.vocab_size


MEASURED = sized(8000, 2000, "characters to measure on")
ROWS, STEPS, RATE, FEW = sized((B, 400, 3e-3, 100), (4, 300, 1e-2, 40), "as batch, steps, rate and few steps")


def data(text, characters=None):
    """What to train on, so many characters of it, and some from the end to measure on."""
    ids = tokenizer.encode(text)
    return LanguageModelling(ids[:-MEASURED][:characters], ids[-MEASURED:], T)


first = data(text)


def new_model(seed=0, **options):
    mg.manual_seed(seed)
    return GPT(vocab, C, 4, layers, T, **options)


def train(model, task, steps, rate, seed=0, step_by=None):
    """Adam with warm-up on what may learn; the loss on text not seen, the best of five readings."""
    rng = np.random.default_rng(seed)
    optimizer = optim.Adam([p for p in model.parameters() if p.requires_grad], betas=(0.9, 0.99))
    schedule = optim.warmup_cosine(rate, 30, steps, rate / 10)
    take_step = None if step_by is None else step_by(model, optimizer)
    read = []
    for step in range(steps):
        optimizer.lr = schedule(step)
        batch = task.batch(rng, ROWS)
        if take_step:
            take_step(lambda batch=batch: task.loss(model, batch))
        else:
            optimizer.zero_grad()
            task.loss(model, batch).backward()
            optimizer.step()
        if (step + 1) % (steps // 5) == 0:
            read.append(task.evaluate(model))
    model.zero_grad()
    return min(read)


bodies = []  # three trained models, from three seeds: the first is the one to look at
for seed in range(3):
    model = new_model(seed)
    trained_loss = train(model, first, STEPS, RATE, seed)
    bodies.append((trained_loss, model.state_dict()))
trained_loss, trained = bodies[0]
model = new_model().load_state_dict(trained)
print(
    f"{len(text):,} characters; loss {trained_loss:.3f} nats per character (guessing: {math.log(vocab):.3f})"
)
assert trained_loss < sized(2.4, 2.85, "nats") < math.log(vocab)

# %% [markdown]
# The gradients of this small model with a small batch are large. To see the fault here we make them small: we divide the loss by 4096. (Adam hardly minds, since it divides by the size of the gradients again. Hardly: its $\epsilon = 10^{-8}$ is no longer small against the smallest of them.)

# %%
class Faint:
    """An objective whose gradients are small."""

    def __init__(self, task, factor):
        self.task, self.factor, self.batch, self.evaluate = (
            task,
            np.float32(factor),
            task.batch,
            task.evaluate,
        )

    def loss(self, model, batch):
        return self.task.loss(model, batch) * self.factor


faint = Faint(first, 2.0**-12)
batch = faint.batch(np.random.default_rng(1), B)
faint.loss(model, batch).backward()
gradients = np.concatenate([p.grad.data.ravel() for p in model.parameters()])
model.zero_grad()
gradients = gradients[gradients != 0]
exponents, s = np.log2(np.abs(gradients)), 2.0**16
fig, ax = figure(6.8, 3.5)
ax.hist(exponents, bins=np.arange(-36, 5), color=COLOURS[0], alpha=0.45, label="gradients")
ax.hist(
    exponents + 16,
    bins=np.arange(-36, 5),
    histtype="step",
    color=COLOURS[1],
    linewidth=2,
    label="times s = 2¹⁶",
)
ax.set_ylim(0, ax.get_ylim()[1] * 1.25)
for place, words in ((-25, "below: zero\nin float16"), (-14, "below: fewer\nthan 11 digits")):
    ax.axvline(place, color="0.3", linestyle="--", linewidth=1)
    ax.text(place + 0.4, ax.get_ylim()[1] * 0.98, words, ha="left", va="top", fontsize=9, color="0.2")
ax.set_xlabel("log₂ of the size of a gradient")
ax.set_ylabel("how many")
ax.legend(loc="upper left")
lost = {
    name: (rounded(g, "float16") == 0).mean() for name, g in (("plain", gradients), ("scaled", gradients * s))
}
print(
    f"{lost['plain']:.1%} of the gradients become 0 in float16; multiplied by s = {s:,.0f} it is "
    f"{lost['scaled']:.2%}"
)
assert lost["plain"] > 5 * lost["scaled"] and np.abs(gradients * s).max() < FORMATS["float16"].largest
fig

# %% [markdown]
# Most of float16's range, up to $2^{16}$, lies idle, while the small gradients fall off its lower end; scaling moves them into the middle. (The gradients of activations, which come before them in the backward pass, fall off it as well.) Now train the same model for 30 steps in five ways, with three seeds each. Weights, the result of every op and every gradient are rounded; sums inside an op are float32, as in hardware made for it.
#
# **Predict** which rows will fail.

# %%
ways = {  # format, loss scaled, master weights
    "float32": None,
    "float16": ("float16", False, True),
    "float16, loss scaled": ("float16", True, True),
    "bfloat16": ("bfloat16", False, True),
    "bfloat16, no master weights": ("bfloat16", False, False),
}


def in_halves(format, scaled, master):
    return lambda model, optimizer: (
        HalfTraining(model, optimizer, format, LossScale(2.0**16) if scaled else None, master).step
    )


halves = {
    name: np.array(
        [train(new_model(seed), faint, 30, 1e-3, seed, how and in_halves(*how)) for seed in range(3)]
    )
    for name, how in ways.items()
}
against = {name: paired(losses, halves["float32"], 3) for name, losses in halves.items() if name != "float32"}
assert all(abs(against[name].mean) < 0.1 for name in ("float16, loss scaled", "bfloat16"))
assert (
    against["float16"].mean > 0.02
    and halves["bfloat16, no master weights"].mean() > halves["bfloat16"].mean()
)
table(
    ["trained in", "loss after 30 steps, each seed", "against float32"],
    [
        (name, " ".join(f"{loss:.3f}" for loss in losses), against.get(name, ""))
        for name, losses in halves.items()
    ],
)

# %% [markdown]
# Scaled float16, and bfloat16 with master weights, go down together with float32. Unscaled float16 loses the small gradients. Without a master copy, bfloat16 loses updates, and the more the smaller the steps are: which fraction of the trained weights does a step of size $\eta$ move at all?

# %%
weights = np.concatenate([a.ravel() for a in trained.values() if a.ndim == 2])
etas = 10.0 ** np.arange(-7, -0.9, 0.25)
fig, ax = figure(6.8, 3.5)
moved = {}
for i, name in enumerate(("float16", "bfloat16")):
    here = rounded(weights, name)
    moved[name] = [(rounded(here - np.float32(eta), name) != here).mean() for eta in etas]
    ax.plot(etas, 100 * np.array(moved[name]), label=name, **line(i))
ax.set_xscale("log")
ax.set_xlabel("size η of the step")
ax.set_ylabel("weights that move (%)")
ax.legend()
at = int(np.argmin(np.abs(etas - 1e-4)))
print(
    f"a step of {etas[at]:.0e} moves {moved['float16'][at]:.0%} of the weights in float16, "
    f"{moved['bfloat16'][at]:.0%} in bfloat16"
)
assert moved["bfloat16"][at] < moved["float16"][at] - 0.2 and moved["bfloat16"][-1] > 0.99
fig

# %% [markdown]
# Learning rates of $10^{-4}$ and less are usual at the end of training. There, most of a bfloat16 model without master weights stands still.
#
# ## 5 · Eight bits
#
# A *quantized* matrix is one of integers from $-127$ to $127$, and a scale $s$ for a block of them:
#
# $$s = \max_i |w_i| / 127, \qquad q_i = \operatorname{round}(w_i / s), \qquad w_i \approx s\, q_i .$$
#
# On paper: $w = (0.50, -1.27, 0.031, 0.90)$. The largest is 1.27, so $s = 0.01$ and $q = (50, -127, 3, 90)$; back: $(0.50, -1.27, 0.03, 0.90)$. No entry is off by more than $s / 2$. Now let the second be an outlier, $-12.7$: $s = 0.1$, $q = (5, -127, 0, 9)$. The outlier is exact, the others lost a digit, and $0.031$ became 0. One large weight makes the step coarse for all that share its scale.
#
# Which weights share a scale? All (*per tensor*); those of one output, a column of $W: (in, out)$ (*per channel*); or a group of, say, 64 in such a column (*per group*). The scale may be taken out of the product, $y_j = \sum_i x_i\, s_j q_{ij} = s_j \sum_i x_i q_{ij}$: that is why channels are columns.

# %%
def quantize_columns(W):  # (in, out) → integers (in, out), scales (1, out)
    s = np.abs(W).max(axis=0, keepdims=True) / 127
    return np.rint(W / s), s


w = np.array([0.50, -1.27, 0.031, 0.90])
for second in (-1.27, -12.7):
    w[1] = second
    q, s = quantize_columns(w[:, None])
    print(
        f"s = {s.item():.3f}   q = {q.ravel().astype(int).tolist()}   s q = "
        f"{np.round(q * s, 4).ravel().tolist()}"
    )
assert q.ravel().tolist() == [5, -127, 0, 9]

W = model.layers[0].ffn.up.weight.data
q, s = quantize_columns(W)
library = quantize(W, by="channel")
gap = np.abs(q * s - library.array()).max() / s.max()
print(f"ours − the library's: at most {gap:.2f} of a step (its scales are bfloat16 numbers)")
assert (
    np.abs(q * s - W).max() <= 0.5001 * s.max() and np.abs(library.array() - W).max() <= 0.51 * s.max() * 1.01
)

# %%
spoiled = W.copy()
spoiled[3, 5] = 40 * np.abs(W).max()  # one outlier
others = np.ones(W.shape, bool)
others[3, 5] = False
error = {}
for name, matrix in {"as trained": W, "with one outlier": spoiled}.items():
    for by in ("tensor", "channel", "group"):
        off = (quantize(matrix, by, group=16).array() - matrix)[others]
        error[name, by] = np.sqrt((off**2).mean()) / np.sqrt((matrix[others] ** 2).mean())
fig, ax = figure(6.8, 3.5)
for i, name in enumerate(("as trained", "with one outlier")):
    values = [100 * error[name, by] for by in ("tensor", "channel", "group")]
    bars = ax.bar(
        np.arange(3) + 0.4 * (i - 0.5),
        values,
        0.36,
        color=COLOURS[i],
        hatch=("", "//")[i],
        edgecolor="white",
        label=name,
    )
    ax.bar_label(bars, [f"{value:.2f} %" for value in values], fontsize=9, padding=2)
ax.set_xticks(range(3), ["the whole matrix", "each column", "groups of 16"])
ax.set_xlabel("which weights share a scale")
ax.set_ylabel("error of all other weights (%)")
ax.set_yscale("log")
ax.set_ylim(0.1, 100)
ax.legend()
assert (
    error["with one outlier", "tensor"]
    > 10 * error["with one outlier", "channel"]
    > 10 * error["with one outlier", "group"] * 0.9
)
assert error["as trained", "tensor"] > error["as trained", "channel"] > error["as trained", "group"]
fig

# %% [markdown]
# Per tensor, the outlier ruins all 16 384 weights; per channel it ruins one of its 256 columns; per group, 15 neighbours.
#
# ## 6 · Experiment: bytes against perplexity
#
# The model of section 4, stored in six ways, and computed in float32 as before. (*Perplexity* is $e^{\text{loss}}$: as many equally likely choices would be as hard to guess.)

# %%
validation = first.validation_ids
exact = np.array([perplexity(new_model().load_state_dict(body), validation) for _, body in bodies])
stored = {
    "float32": (sum(a.nbytes for a in trained.values()), exact)
}  # bytes, the perplexities of the three models
for name, how in {
    "bfloat16": {"to": "bfloat16"},
    "float16": {"to": "float16"},
    "int8, tensor": {"to": "int8", "by": "tensor"},
    "int8, channel": {"to": "int8"},
    "int8, group": {"to": "int8", "by": "group", "group": 32},
}.items():
    packed = [pack(new_model().load_state_dict(body), **how) for _, body in bodies]
    size = sum(a.nbytes for key, a in packed[0].items() if key != "@format")
    again = [new_model().load_state_dict(unpack(p)) for p in packed]
    stored[name] = size, np.array([perplexity(each, validation) for each in again])
whole = stored["float32"][0]
peaks = {name: np.abs(a).max() / np.sqrt((a**2).mean()) for name, a in trained.items() if a.ndim == 2}
print(f"largest entry of a matrix, in units of its root mean square: {min(peaks.values()):.1f} to", end=" ")
print(f"{max(peaks.values()):.1f} (in {max(peaks, key=peaks.get)})")
for name in ("float16", "bfloat16"):
    assert stored[name][0] == whole / 2
change = {name: 100 * (p / exact - 1) for name, (_, p) in stored.items()}  # in %
assert stored["int8, channel"][0] < 0.28 * whole and np.abs(change["int8, channel"]).max() < 1
assert np.abs(change["float16"]).max() < 0.1
print(
    "int8, change of the perplexity in %: channel − tensor",
    paired(change["int8, channel"], change["int8, tensor"], 3),
)
table(
    ["stored as", "bytes", "of float32", "perplexity (mean of 3 models)", "change in %, each model", "mean"],
    [
        (
            name,
            f"{size:,}",
            f"{size / whole:.1%}",
            f"{p.mean():.4f}",
            " ".join(f"{c:+.3f}" for c in change[name]),
            paired(change[name], np.zeros(3), 3) if name != "float32" else "",
        )
        for name, (size, p) in stored.items()
    ],
)

# %% [markdown]
# A quarter of the bytes, and the perplexity moves by a small part of a per cent. Section 5 found that a scale for each channel makes smaller errors than one for the whole matrix; here that need not show. Errors of such sizes have either sign in their effect on the loss, and what is left of them is a few hundredths of a per cent, as likely up as down: compare the three models of a row, and the printed difference, before you call one of the int8 rows better. What the finer scales insure against are outliers. (`python -m transformer compress DIR --to int8 --out DIR2` does this to a run of your own.) The largest entry of each of these matrices is only a few times the size of a typical one, as printed: there are no outliers yet. In models of billions of parameters they are the main difficulty of eight bits.
#
# ## 7 · Attention without its matrix
#
# $P = \operatorname{softmax}(QK^\top/\sqrt D)$ has $T^2$ numbers in every head: 4096 tokens, 16.8 million. But $P$ is never needed, only $PV$. Softmax of a row needs its maximum and its sum, and both can be had piece by piece. Read the keys in blocks, and keep for each query three things: the largest score $m$ so far, the sum $\ell$ of $e^{z - m}$, and the sum $o$ of $e^{z-m}$ times the values. When a block with scores $z'$ arrives:
#
# $$m' = \max(m, \max z'), \qquad \ell' = e^{m - m'}\ell + \sum e^{z' - m'}, \qquad o' = e^{m - m'} o + \sum e^{z' - m'} v' .$$
#
# In the end the output is $o / \ell$. On paper, scores $(1, 2)$, then $(3, 0)$, with values $(10, 20)$ and $(30, 40)$: after the first block $m = 2$, $\ell = e^{-1} + 1 = 1.368$, $o = 10 e^{-1} + 20 = 23.68$. Then $m' = 3$, the old sums shrink by $e^{-1}$: $\ell' = 0.503 + 1 + e^{-3} = 1.553$, $o' = 8.711 + 30 + 1.991 = 40.70$, and $o'/\ell' = 26.21$.

# %%
def online(z_blocks, v_blocks):
    """softmax(z) v of one query, block by block: scores (n,), values (n,)."""
    m, l, o = -np.inf, 0.0, 0.0
    for z, v in zip(z_blocks, v_blocks):
        new = max(m, z.max())
        l = np.exp(m - new) * l + np.exp(z - new).sum()
        o = np.exp(m - new) * o + np.exp(z - new) @ v
        m = new
        print(f"m = {m:.0f}   l = {l:.3f}   o = {o:.2f}   o / l = {o / l:.2f}")
    return o / l


z, values = np.array([1.0, 2, 3, 0]), np.array([10.0, 20, 30, 40])
blockwise = online(np.split(z, 2), np.split(values, 2))
assert np.isclose(blockwise, np.exp(z) / np.exp(z).sum() @ values) and round(blockwise, 2) == 26.21

# %% [markdown]
# The library works on blocks of queries, each against all the keys that it may see, which keeps the memory in bounds as well. For the backward pass it keeps the weights while they are few (up to $2^{21}$; with these 4 heads up to 724 tokens), and makes them again block by block where they are many. What is held at most, forward and backward, against the plain formula:

# %%
def plain_attention(q, k, v):
    T = q.shape[-2]
    return (
        mg.softmax(q @ k.mT / math.sqrt(q.shape[-1]) + np.triu(np.full((T, T), -np.inf, np.float32), 1)) @ v
    )


def peak(function):
    """The most bytes that NumPy held while the function ran."""
    function()
    tracemalloc.start()
    function()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def attend(how, length):
    q, k, v = (
        mg.Tensor(a, requires_grad=True)
        for a in np.random.default_rng(0).normal(size=(3, 1, 4, length, 16)).astype(np.float32)
    )
    return how(q, k, v).sum().backward()


ours = lambda q, k, v: mg.scaled_dot_product_attention(q, k, v, causal=True)  # noqa: E731
lengths = [128, 256, 512, 1024, 1536]
held = {
    name: [peak(lambda how=how, n=n: attend(how, n)) / 1e6 for n in lengths]
    for name, how in {"plain formula": plain_attention, "in blocks": ours}.items()
}
x = [mg.Tensor(a) for a in np.random.default_rng(1).normal(size=(3, 1, 4, 200, 16))]
assert np.allclose(ours(*x).data, plain_attention(*x).data, atol=1e-9)
fig, ax = figure(6.8, 3.6)
for i, (name, values) in enumerate(held.items()):
    ax.plot(lengths, values, marker="os"[i], label=name, **line(i))
ax.set(
    xscale="log", yscale="log", xlabel="length T of the sequence", ylabel="peak memory (MB), 4 heads of 16"
)
ax.set_xticks(lengths, [str(n) for n in lengths])
ax.minorticks_off()
ax.legend()
assert held["plain formula"][-1] > 5 * held["in blocks"][-1]
fig

# %% [markdown]
# ## 8 · Less memory for more time
#
# Training holds what the backward pass will need: in each layer 18 arrays of the size of its input, or their equivalent, and the weights of attention (`count` has the column *kept in training*). **Recomputation** (*gradient checkpointing*) holds the input of each layer only, and computes the rest again when the backward pass comes by: one more forward pass, four thirds of the FLOPs. **Accumulation** reads a batch in parts and adds their gradients: the mean over 12 examples is the mean of the means over 3 times 4.
#
# Both are exact, up to round-off: gradients add. Let us see.

# %%
def step(model, parts):
    """One gradient of the batch; the loss of a part counts by its number of rows."""
    model.zero_grad()
    for inputs, targets in zip(np.split(batch[0], parts), np.split(batch[1], parts)):
        mg.cross_entropy(model(inputs), targets).backward(np.float32(1 / parts))
    return np.concatenate([p.grad.data.ravel() for p in model.parameters()])


deep = lambda: (mg.manual_seed(0), GPT(vocab, C, 4, 6, T))[1]  # noqa: E731  (6 layers)
ways = {
    "plain": (deep(), 1),
    "layers computed again": (recompute_layers(deep()), 1),
    "batch in 4 parts": (deep(), 4),
    "both": (recompute_layers(deep()), 4),
}
batch = first.batch(np.random.default_rng(1), B)
reference, rows = step(*ways["plain"]), []
for name, (network, parts) in ways.items():
    gap = np.abs(step(network, parts) - reference).max() / np.abs(reference).max()
    with watch() as work:
        step(network, parts)
    rows.append((name, peak(lambda n=network, p=parts: step(n, p)) / 1e6, work.flops / 1e9, gap))
assert all(gap < 1e-4 for *_, gap in rows)
assert rows[1][1] < 0.6 * rows[0][1] and rows[2][1] < 0.6 * rows[0][1] and rows[3][1] < rows[1][1]
assert 1.25 < rows[1][2] / rows[0][2] < 1.34 and rows[2][2] == rows[0][2]
table(
    ["way", "peak (MB)", "billion FLOPs", "gradient's difference"],
    [(n, f"{p:.1f}", f"{f:.2f}", f"{g:.0e}") for n, p, f, g in rows],
)

# %% [markdown]
# How does it scale with depth? Keeping everything, $L$ layers hold $L\,a$; keeping inputs only, $L\,b + a$, with $a$ what one layer keeps and $b$ its input.

# %%
depths = [1, 2, 4, 8, 12]
curve = {"everything kept": [], "inputs of layers kept": []}
for depth in depths:
    for name, change in {"everything kept": lambda m: m, "inputs of layers kept": recompute_layers}.items():
        mg.manual_seed(0)
        network = change(GPT(vocab, C, 4, depth, T))
        curve[name].append(kept_bytes(network(batch[0]), network) / 1e6)
fig, ax = figure(6.8, 3.5)
for i, (name, values) in enumerate(curve.items()):
    ax.plot(depths, values, marker="os"[i], label=name, **line(i))
ax.set_xlabel("layers L")
ax.set_ylabel("MB kept for the backward pass")
ax.set_ylim(bottom=0)
ax.legend()
slopes = [np.polyfit(depths, values, 1)[0] for values in curve.values()]
print(f"each layer keeps {slopes[0]:.2f} MB, or its input, {slopes[1]:.2f} MB = {B * T * C * 4 / 1e6:.2f} MB")
assert np.isclose(slopes[1], B * T * C * 4 / 1e6) and slopes[0] > 10 * slopes[1]
fig

# %% [markdown]
# ## 9 · Experiment: fewer numbers to learn
#
# **Sharing.** The output may use the embedding's matrix (*tying*); heads may share keys and values; all layers may share one set of weights (the model ALBERT has 12 layers and the weights of one). Parameters go down. FLOPs hardly do: every layer still has to be computed. What each costs in quality are the last columns, after equally many steps, with three seeds.

# %%
makers = {
    "output of its own": lambda seed: new_model(seed, tie_embeddings=False),
    "tied output": new_model,
    "tied, 1 key/value head for 4": lambda seed: new_model(seed, num_kv_heads=1),
    "tied, 1 set of weights for 2 layers": lambda seed: share_layers(new_model(seed)),
}
tally = {name: count(make(0), B, T) for name, make in makers.items()}
losses = {
    name: np.array([train(make(seed), first, FEW, 3e-3, seed) for seed in range(3)])
    for name, make in makers.items()
}
one_set, tied = tally["tied, 1 set of weights for 2 layers"], tally["tied output"]
assert one_set.forward_flops == tied.forward_flops and one_set.parameters < 0.6 * tied.parameters
assert paired(losses["tied output"], losses["output of its own"]).mean > 0
table(
    [
        "model",
        "parameters",
        "million FLOPs forward",
        f"loss after {FEW} steps, each seed",
        "against tied output",
    ],
    [
        (
            name,
            f"{tally[name].parameters:,}",
            f"{tally[name].forward_flops / 1e6:.0f}",
            " ".join(f"{x:.2f}" for x in found),
            "" if name == "tied output" else paired(found, losses["tied output"]),
        )
        for name, found in losses.items()
    ],
)

# %% [markdown]
# Every kind of sharing costs something in so short a training, and tying most of all for its savings: it spares less than a tenth of the parameters. One table has to serve two ends then, reading a character and scoring it, and it takes time to find numbers that are good for both. (Raise the number of steps, and see whether the gap stays.) With a vocabulary of tens of thousands the table is a large part of a small model, and there tying helped (Press and Wolf, 2017).
#
# **Adapters.** A trained model is to learn something new. Must all its weights move? A *low-rank adapter* leaves $W: (in, out)$ as it is and learns a product of two thin matrices beside it, $A: (in, r)$ and $B: (r, out)$ (LoRA's names; $B$ is no batch here):
#
# $$y = x W + \tfrac\alpha r\, x A B .$$
#
# With $r = 1$ and a matrix of $64 \times 256$, that is 320 numbers in place of 16 384. $B$ begins at zero, so the adapted model begins as the model itself; $A$ begins at random, for if both were zero, neither would get a gradient: $\bar B = \tfrac\alpha r (xA)^\top \bar y$ and $\bar A = \tfrac\alpha r x^\top (\bar y B^\top)$. In the end $W + \tfrac\alpha r A B$ takes the place of $W$, and the adapter costs nothing.

# %%
class Adapted:
    """x ↦ x W + (α / r) x A B, with W fixed."""

    def __init__(self, W, r, alpha, rng):
        self.W, self.scale = W, alpha / r
        self.A = mg.Tensor(rng.normal(0, 1 / np.sqrt(W.shape[0]), (W.shape[0], r)), requires_grad=True)
        self.B = mg.Tensor(np.zeros((r, W.shape[1])), requires_grad=True)

    def __call__(self, x):
        return x @ self.W + self.scale * (x @ self.A @ self.B)


rng = np.random.default_rng(0)
layer = Adapted(rng.normal(size=(6, 4)), 2, 4, rng)
x, y_bar = rng.normal(size=(5, 6)), rng.normal(size=(5, 4))
layer(x).backward(y_bar)
A, B_matrix = layer.A.data, layer.B.data
paper = {"A": layer.scale * x.T @ (y_bar @ B_matrix.T), "B": layer.scale * (x @ A).T @ y_bar}
report = mg.compare({"A": layer.A.grad, "B": layer.B.grad}, paper)
assert report and not paper["A"].any() and paper["B"].any()
report

# %% [markdown]
# The gradient of $A$ is zero at first, as it must be while $B = 0$; it wakes up after one step.
#
# Now let the three models of section 4, which have read help texts, move to source code, of which there are only 30 000 characters. Each way of learning gets as many steps, and the best of three rates, found with the first model; then all three models learn with it.

# %%
code_task = data(source_code, 30_000)
ADAPTING = 80  # steps


def adapted_model(seed, rank):
    """A trained model, with adapters of a rank (0: all of its weights learn); and how many numbers learn."""
    model = new_model().load_state_dict(bodies[seed][1])
    mg.manual_seed(seed)
    return model, sum(p.size for p in (add_adapters(model, rank) if rank else model.parameters()))


def moved_to_code(seed, rank, rate):
    model, _ = adapted_model(seed, rank)
    return train(model, code_task, ADAPTING, rate, seed)


RATES = {0: (1e-3, 3e-3, 1e-2), 1: (1e-2, 3e-2, 1e-1), 4: (3e-3, 1e-2, 3e-2)}  # by rank; 0: all weights
sweep = {rank: {rate: moved_to_code(0, rank, rate) for rate in rates} for rank, rates in RATES.items()}
best = {rank: min(found, key=found.get) for rank, found in sweep.items()}
names = {0: "all weights", 1: "adapters of rank 1", 4: "adapters of rank 4"}
table(
    ["what learns: loss of the first model at each rate", "low", "middle", "high"],
    [
        (names[rank], *(f"{rate:g}: {loss:.3f}" for rate, loss in found.items()))
        for rank, found in sweep.items()
    ],
)

# %%
before = np.array([code_task.evaluate(new_model().load_state_dict(body)) for _, body in bodies])
after = {
    rank: np.array([sweep[rank][rate], *(moved_to_code(seed, rank, rate) for seed in (1, 2))])
    for rank, rate in best.items()
}
recovered = {rank: 100 * (before - losses) / (before - after[0]) for rank, losses in after.items()}
assert recovered[1].min() > 10 and recovered[4].mean() > recovered[1].mean()
everything = model.num_parameters()
rows = [("nothing", 0, "", " ".join(f"{loss:.3f}" for loss in before), "")]
for rank, losses in after.items():
    _, n = adapted_model(0, rank)
    gain = paired(recovered[rank], np.zeros(3), 0) if rank else "100"
    rows.append(
        (names[rank], f"{n:,}", f"{n / everything:.1%}", " ".join(f"{loss:.3f}" for loss in losses), gain)
    )
print("of the gain, rank 4 − rank 1, in points:", paired(recovered[4], recovered[1], 0))
table(
    ["what learns", "numbers", "of all", "loss on source code, each model", "of the gain of all weights, %"],
    rows,
)

# %% [markdown]
# In the end an adapter is merged, and the model is as before, with other numbers:

# %%
model, _ = adapted_model(0, 4)
train(model, code_task, 30, 1e-2)
adapted = model(batch[0]).data
merge_adapters(model)
gap = np.abs(model(batch[0]).data - adapted).max()
assert gap < 1e-4
print(f"merged and not merged, the logits differ by {gap:.0e} at most")

# %% [markdown]
# A few per cent of the numbers get a good part of the gain, and a model may have many adapters, each a small file. How much depends on how much there is to learn from: in one run of a larger model, rank 2 recovered 97 % of the gain from 48 000 characters, and 65 % from ten times as many ([the table of all remedies](../benchmarks/remedies.md)). In larger models the fraction of numbers falls, since $r\,(in + out)$ grows more slowly than $in \cdot out$.
#
# ## Common misunderstandings
#
# - *"Fewer parameters, fewer FLOPs."* Not when layers share weights: each layer is computed all the same.
# - *"Attention is quadratic, so that is where the FLOPs go."* Not before $T \approx 6C$; below, it is the matrix products with weights.
# - *"Half precision halves the precision."* float16 has 11 of float32's 24 binary digits; what breaks training is the range, or lost updates, not the digits as such.
# - *"Loss scaling changes the learning rate."* The gradients are divided by the same $s$ before the step.
# - *"Int8 weights mean integer arithmetic."* Here weights alone are quantized: they are turned back into floats and multiplied as floats, and the gain is in bytes. (LLM.int8() multiplies integers too.)
# - *"Recomputation and accumulation approximate."* Both give the same gradient up to round-off (unless a layer looks across the batch).
#
# ## Exercises
#
# ### Exercise 1 ★ · The price of a model
#
# Write `training_flops(tokens, parameters_per_layer, layers, width, length)`: the FLOPs to train on so many `tokens` with sequences of `length`, counting three times the forward pass. Each token is multiplied with every parameter of every layer, and attends to all `length` tokens ($QK^\top$ and $PV$ are each $2 \cdot length \cdot width$ FLOPs for one token, in every layer).

# %% tags=["exercise"]
def training_flops(tokens, parameters_per_layer, layers, width, length):
    """FLOPs of training on ``tokens`` tokens."""
    ### BEGIN SOLUTION
    forward = layers * (2 * parameters_per_layer + 4 * length * width)
    return 3 * forward * tokens
    ### END SOLUTION


checks.check_14_training_flops(training_flops)

# %% [markdown] tags=["idea"]
# A token meets each parameter in one multiply–add, 2 FLOPs, and in each layer the scores and the mixture are $2 \cdot 2 \cdot length \cdot width$. All that three times, for forward and two products backward, and for each token.

# %% [markdown]
# ### Exercise 2 ★★ · Round to a few digits
#
# Write `round_to(x, digits)`: each entry of the float64 array `x` rounded to the nearest number with `digits` binary digits after the leading 1, ties to even: so 7 gives bfloat16's and 10 float16's precision (leave their limits of range aside). `np.frexp` gives $x = f \cdot 2^e$ with $\tfrac12 \le |f| < 1$, `np.ldexp` puts them together again, and `np.rint` rounds to the nearest integer, ties to even.

# %% tags=["exercise"]
def round_to(x, digits):
    """x, each entry with ``digits`` binary digits after its first."""
    ### BEGIN SOLUTION
    f, e = np.frexp(x)
    return np.ldexp(np.rint(f * 2.0 ** (digits + 1)), e - digits - 1)
    ### END SOLUTION


checks.check_14_round_to(round_to)

# %% [markdown] tags=["idea"]
# $|f|$ has its leading 1 at the place $2^{-1}$, and `digits` more behind it: so $f \cdot 2^{digits + 1}$ has all the digits that stay before the point. Round that to an integer and scale back.

# %% [markdown]
# ### Exercise 3 ★★ · Eight bits in groups
#
# Write `quantize_groups(W, g)`: the matrix `W` $(in, out)$, with $in$ a multiple of `g`, quantized so that each run of `g` rows of a column has a scale of its own, and turned back into floats: return $s\,q$, $(in, out)$. A group of zeros stays zeros.

# %% tags=["exercise"]
def quantize_groups(W, g):
    """s q for groups of g rows in each column."""
    ### BEGIN SOLUTION
    groups = W.reshape(-1, g, W.shape[1])  # (in/g, g, out)
    s = np.abs(groups).max(axis=1, keepdims=True) / 127
    s = np.where(s == 0, 1, s)
    return (np.rint(groups / s) * s).reshape(W.shape)
    ### END SOLUTION


checks.check_14_quantize_groups(quantize_groups)

# %% [markdown] tags=["idea"]
# Reshape to (groups, g, out): then a scale is the maximum over the middle axis, kept for broadcasting. Where it is 0, divide by 1 instead.

# %% [markdown]
# ### Exercise 4 ★★ · The gradients of an adapter
#
# With $Y = X W + c\, X A B$, where $X: (n, in)$, $W: (in, out)$, $A: (in, r)$, $B: (r, out)$ and $c$ is a number, write `adapter_gradients(X, W, down, up, c, Y_bar)` (`down` is $A$, `up` is $B$): return $(\bar X, \bar A, \bar B)$ for the upstream gradient $\bar Y: (n, out)$. Never make a matrix $(in, out)$ on the way.

# %% tags=["exercise"]
def adapter_gradients(X, W, down, up, c, Y_bar):
    """The gradients of X, A and B."""
    ### BEGIN SOLUTION
    h_bar = c * Y_bar @ up.T  # (n, r)
    return Y_bar @ W.T + h_bar @ down.T, X.T @ h_bar, c * (X @ down).T @ Y_bar
    ### END SOLUTION


checks.check_14_adapter_gradients(adapter_gradients)

# %% [markdown] tags=["idea"]
# Two paths lead from $X$ to $Y$, and their gradients add: $\bar Y W^\top$ and, through $H = XA$, $\bar H A^\top$ with $\bar H = c\,\bar Y B^\top$. Then $\bar A = X^\top \bar H$ and $\bar B = c\,H^\top \bar Y$.

# %% [markdown]
# ### Exercise 5 ★★★ · Two halves of a softmax
#
# Two machines have each read half of the keys, and hold $(m, \ell, o)$ as in section 7 for every query: $m$ and $\ell$ are $(T,)$ arrays, $o$ is $(T, D)$. Write `merge(m1, l1, o1, m2, l2, o2)`: return the $(m, \ell, o)$ of all keys together. A query that saw no key on a machine has $m = -\infty$, $\ell = 0$, $o = 0$ there, and if it saw none on either, it has the same in the result, and nowhere a NaN.

# %% tags=["exercise"]
def merge(m1, l1, o1, m2, l2, o2):
    """The running softmax of both halves."""
    ### BEGIN SOLUTION
    m = np.maximum(m1, m2)
    shift = np.where(np.isneginf(m), 0, m)
    a, b = np.exp(m1 - shift), np.exp(m2 - shift)  # (T,)
    return m, a * l1 + b * l2, a[:, None] * o1 + b[:, None] * o2
    ### END SOLUTION


checks.check_14_merge(merge)

# %% [markdown] tags=["idea"]
# Shift both to the larger maximum: each side is multiplied by $e^{m_i - m}$. Where both are $-\infty$, $m_i - m$ would be NaN; subtract 0 there instead of $m$, and the factors are $e^{-\infty} = 0$.

# %% [markdown]
# ## References
#
# - J. Kaplan et al., "Scaling laws for neural language models", arXiv:2001.08361 (2020), section 2.1: counting FLOPs.
# - V. Korthikanti et al., "Reducing activation recomputation in large transformer models", MLSys 2023, section 4: counting activations.
# - N. Shazeer, "Fast transformer decoding: one write-head is all you need", arXiv:1911.02150 (2019); J. Ainslie et al., "GQA", EMNLP 2023: shared keys and values.
# - P. Micikevicius et al., "Mixed precision training", ICLR 2018, section 3: master weights, loss scaling.
# - O. Press, L. Wolf, "Using the output embedding to improve language models", EACL 2017: tying.
# - T. Dettmers et al., "LLM.int8(): 8-bit matrix multiplication for transformers at scale", NeurIPS 2022, sections 2 and 4: outliers.
# - M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867 (2018); T. Dao et al., "FlashAttention", NeurIPS 2022, algorithm 1.
# - T. Chen et al., "Training deep nets with sublinear memory cost", arXiv:1604.06174 (2016), section 4.
# - Z. Lan et al., "ALBERT: a lite BERT for self-supervised learning of language representations", ICLR 2020, section 3.1.
# - E. J. Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022, section 4.
#
# **Before:** [13 · Bias, measured and reduced](13_bias_measured_and_reduced.ipynb). **Next:** [14b · From next word to assistant, in small](14b_from_next_word_to_assistant.ipynb).
