# ---
# jupyter:
#   cover: 2
# ---

# %% [markdown]
# # 15 · Beyond one machine
#
# *About 50 minutes to read, 40 more for the exercises. You need [03 · Softmax, cross-entropy, layer norm](03_softmax_cross_entropy_layer_norm.ipynb) for the gradient of a mean; the model is
# that of [08 · The block](08_the_block.ipynb).*
#
# One computer trains small models in minutes. The models in the news were trained on thousands of computers for months. What do so many do together, that one could not do alone in thousands of months? Exactly the same, as this chapter shows: the gradient of a batch is a sum, and a sum can be split. The art lies in adding up quickly.
#
# **After this chapter you can**
#
# - split a batch over workers so that the gradient is that of one worker, to the last digits, also when the shares are unequal;
# - add up a gradient in a ring, count the bytes, and say why nobody sends everything to one place;
# - train with several processes, and say which speed-up to expect before you measure it;
# - estimate, on paper, how long a step takes on 1 to 100 000 workers, and what limits it;
# - take a model that you trained here to PyTorch.

# %%
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import book
import checks
import minigrad as mg
from book import draw_matrix, figure, line, table
from transformer import GPT, LanguageModelling, Transformer, Translation
from transformer.data.tasks import MADE
from transformer.training.objectives import piece
from transformer.parallel import scaling
from transformer.parallel.sharing import share, weighted_share
from transformer.pretrained import from_arrays, to_arrays
from transformer.training.recipes import make_tokenizer

# %% [markdown]
# ## 1 · Half of the batch each
#
# A model with one number, $\hat y = w x$, and $n = 3$ examples $(x_i, y_i)$: $(1, 1)$, $(2, 1)$, $(3, 2)$. The loss is the mean of the squared errors, $\mathcal L = \frac1n \sum_i (w x_i - y_i)^2$, so each example contributes $2\,(w x_i - y_i)\, x_i$ to the gradient, and the gradient is the mean of the three. At $w = 2$:
#
# | $i$ | $x_i$ | $y_i$ | error $w x_i - y_i$ | $2 \cdot$ error $\cdot\, x_i$ |
# | --- | --- | --- | --- | --- |
# | 1 | 1 | 1 | 1 | 2 |
# | 2 | 2 | 1 | 3 | 12 |
# | 3 | 3 | 2 | 4 | 24 |
#
# One worker finds $(2 + 12 + 24)/3 = 12\frac23$. Now two workers, called *ranks* 0 and 1. Rank 0 takes the first two examples and finds the mean of *its* examples, $(2 + 12)/2 = 7$. Rank 1 takes the third and finds 24. The mean of the two means, $15\frac12$, is **not** the gradient: example 3 would count as much as the other two together. Each must count by the number of its examples, $n_0 = 2$ and $n_1 = 1$ of $n = 3$. With $\bar w_r$ for the gradient of $\mathcal L_r$, the loss of rank $r$'s examples alone:
#
# $$\bar w = \sum_r \frac{n_r}{n}\, \bar w_r = \tfrac23 \cdot 7 + \tfrac13 \cdot 24 = 12\tfrac23 .$$

# %%
w, x, y = 2.0, np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 2.0])
each = 2 * (w * x - y) * x  # (3,)
ranks = [each[:2], each[2:]]
whole = each.mean()
weighted = sum(len(g) / len(each) * g.mean() for g in ranks)
print(
    f"one worker {whole:.4f}, mean of the means {np.mean([g.mean() for g in ranks]):.4f}, weighted "
    f"{weighted:.4f}"
)
assert np.isclose(weighted, whole) and np.isclose(whole, 38 / 3)

# %% [markdown]
# **What is counted?** Not rows: *terms of the mean*. A language model's loss is a mean over tokens. In translation, sentences have different lengths; shorter ones are padded, which the loss leaves out. Two ranks with as many sentences then have different numbers of tokens to say, and $n_r$ is that number.
#
# Let us see it on a Transformer, that of 2017, which translates numbers to words. Seven pairs, three ranks (3, 2 and 2 rows). For every parameter, the gradient of the whole batch beside the one that three ranks add up, weighted by tokens, and weighted by rows:

# %%
tokenizer = make_tokenizer("numbers")
objective = Translation(MADE["numbers"](), tokenizer)
mg.manual_seed(0)
model = Transformer(tokenizer.vocab_size, 16, 2, 1, dropout=0.0).astype(np.float64)
batch = objective.batch(np.random.default_rng(2), 7)
N = 3


def gradient(part):  # the gradient of the mean loss of these rows, one array for each parameter
    model.zero_grad()
    objective.loss(model, part).backward()
    return [p.grad.data.copy() for p in model.parameters()]


parts = [piece(batch, share(7, r, N)) for r in range(N)]  # rows 0–2, 3–4, 5–6
tokens = np.array([objective.counts(part) for part in parts])  # n_r
lengths = np.array([len(part.targets) for part in parts])
whole = gradient(batch)
found = [gradient(part) for part in parts]


def combined(weights):  # sum over r of weight_r · gradient_r, for each parameter
    return [sum(weight * g for weight, g in zip(weights, of_ranks)) for of_ranks in zip(*found)]


def error(gradients):  # relative to the largest entry of the whole gradient
    return max(np.abs(a - b).max() for a, b in zip(gradients, whole)) / max(np.abs(g).max() for g in whole)


errors = {
    "by tokens": error(combined(tokens / tokens.sum())),
    "by rows": error(combined(lengths / 7)),
    "equally": error(combined([1 / N] * N)),
}
print("rows of the ranks", lengths, "tokens to say", tokens)
assert errors["by tokens"] < 1e-12 < 1e-2 < min(errors["by rows"], errors["equally"])
assert all(
    np.isclose(weighted_share(objective, batch, r, N)[1], tokens[r] / tokens.sum()) for r in range(N)
)  # the library's weights
table(
    ["weights of the ranks", "largest error of the gradient"],
    [(name, f"{value:.0e}") for name, value in errors.items()],
)

# %% [markdown]
# By tokens the three add up to the gradient of one, to the last digits. By rows, or with equal weights, it is off by more than a hundredth, and that is the trouble: such a model would still learn, only not quite what it should, and nobody might notice. The library's `weighted_share` computes just these weights, and its tests compare every kind of objective.
#
# This way of sharing is called **data parallelism**: every rank has the *whole model*, and a part of the *data*. After the sum all ranks make the same optimizer step, so their models stay equal without ever being sent.
#
# ## 2 · Adding up in a ring
#
# Every rank has a gradient of $G$ bytes (for GPT-3, in 16 bits, 350 GB), and every rank needs the sum. The operation is called *all-reduce*. The obvious way, all send to rank 0 and rank 0 sends the sum back, lets $2 (N - 1) G$ bytes pass through the one link of rank 0, while the other links idle.
#
# Better: a **ring**. Cut each gradient into $N$ chunks. In each step every rank sends one chunk to its right neighbour and gets one from its left.
#
# 1. *Reduce-scatter*, $N - 1$ steps: what arrives is added to one's own chunk. In step $s$ rank $r$ sends chunk $(r - s) \bmod N$. A chunk travels around and collects a summand at each stop; afterwards rank $r$ holds the complete chunk $(r + 1) \bmod N$.
# 2. *All-gather*, $N - 1$ steps: the complete chunks travel around once more, and replace what is there.
#
# By hand, three ranks with three chunks of one number each (complete sums in bold):
#
# | | rank 0 | rank 1 | rank 2 |
# | --- | --- | --- | --- |
# | at the start | 1, 2, 3 | 10, 20, 30 | 100, 200, 300 |
# | step 0: rank 0 sends its chunk 0, rank 1 its chunk 1, rank 2 its chunk 2 | 1, 2, 303 | 11, 20, 30 | 100, 220, 300 |
# | step 1: rank 0 sends chunk 2, rank 1 chunk 0, rank 2 chunk 1 | 1, **222**, 303 | 11, 20, **333** | **111**, 220, 300 |
# | all-gather, 2 steps | **111, 222, 333** | **111, 222, 333** | **111, 222, 333** |
#
# In each of the $2(N-1)$ steps every rank sends $G/N$ bytes, so each link carries
#
# $$2\,\frac{N-1}{N}\,G \;<\; 2G \quad\text{bytes, however many ranks there are.}$$

# %%
def ring_all_reduce(
    vectors,
):  # N arrays (n,) → the same N arrays, each the sum; what each rank sent, in numbers; pictures
    N = len(vectors)
    chunks = [np.array_split(v, N) for v in vectors]  # chunks[rank][chunk]
    summands = (
        np.eye(N, dtype=int)[:, :, None].repeat(N, axis=2).swapaxes(1, 2)
    )  # [rank, chunk]: which ranks' numbers are in it
    sent, pictures = np.zeros(N, int), [summands.sum(axis=-1)]
    for step in range(2 * (N - 1)):
        adding, s = step < N - 1, step % (N - 1)
        which = [(r - s + (not adding)) % N for r in range(N)]  # the chunk that rank r sends
        messages = [
            (chunks[r][which[r]].copy(), summands[r, which[r]].copy()) for r in range(N)
        ]  # all send at once
        for r in range(N):
            left, c = (r - 1) % N, which[(r - 1) % N]
            numbers, origins = messages[left]
            chunks[r][c] = chunks[r][c] + numbers if adding else numbers
            summands[r, c] = summands[r, c] + origins if adding else origins
            sent[left] += numbers.size
        pictures.append(summands.sum(axis=-1))
    assert (summands == 1).all()  # every chunk holds every rank's number, and none of them twice
    return [np.concatenate(own) for own in chunks], sent, pictures


sums, sent, _ = ring_all_reduce([np.array([1, 2, 3]) * 10**r for r in range(3)])
print(*sums, "numbers sent by each rank:", sent)
assert all(np.array_equal(s, [111, 222, 333]) for s in sums) and (sent == 2 * 2 / 3 * 3).all()

# %% [markdown]
# Follow four ranks. Each picture shows, for every rank and chunk, how many summands are in it: 1 at the start, 4 when it is complete.

# %%
_, _, pictures = ring_all_reduce(list(np.zeros((4, 8))))
fig, axes = figure(11, 2.3, 1, 7)
titles = ["start", *(f"sum, step {s}" for s in range(3)), *(f"pass on, step {s}" for s in range(3))]
for ax, picture, title in zip(axes, pictures, titles):
    draw_matrix(
        ax, picture, [str(r) for r in range(4)], [str(c) for c in range(4)], numbers="d", low=0, high=6
    )
    ax.set_title(title, fontsize=9)
    ax.set_xlabel("chunk")
axes[0].set_ylabel("rank")
assert (pictures[3].max(axis=1) == 4).all() and (pictures[3] == 4).sum() == 4 and (pictures[-1] == 4).all()
fig

# %% [markdown]
# After three steps each rank has exactly one complete chunk; after six everyone has everything. How much passes through the busiest link, counted?

# %%
rows = []
n = 240_000
for N in (2, 4, 8, 16):
    vectors = list(np.random.default_rng(N).normal(size=(N, n)).astype(np.float32))
    sums, sent, _ = ring_all_reduce(vectors)
    exact = np.sum(vectors, axis=0, dtype=np.float64)
    assert all(np.array_equal(s, sums[0]) for s in sums) and np.allclose(sums[0], exact, atol=1e-5)
    assert (sent == 2 * (N - 1) * n // N).all()  # the formula
    rows.append((N, f"{2 * (N - 1):.2f} G", f"{sent[0] / n:.2f} G", f"{np.abs(sums[0] - exact).max():.0e}"))
big, small = np.float32(1e8), np.float32(1)
assert (big + small) - big == 0 and (big - big) + small == 1  # see below
table(["ranks", "through rank 0, all to one", "through each link, in the ring", "round-off of the sum"], rows)

# %% [markdown]
# One more thing is asserted above, and it matters: the sums are **the same on all ranks, bit for bit**. Floating-point addition depends on the order ($10^8 + 1 - 10^8$ in float32 is 0 in one order and 1 in another), and the ring's order differs from that of a plain sum. But each chunk is added up *once*, along its way, and then copied. If every rank added up for itself, in an order of its own, their models could differ in the last digits, and nothing would bring them together again.
#
# ## 3 · Experiment: N models, one training
#
# Now the whole loop, with the ranks played by one process. Each rank has its own GPT (same seed), its own AdamW, reads its rows of each batch, adds up in the ring, and steps. Beside it, one worker with the whole batch. Five rows on three ranks: the shares are unequal.

# %%
text = (
    np.frombuffer(
        b"she sells sea shells by the sea shore, and the shells that she sells are sea shells for sure. "
        * 30,
        np.uint8,
    )
    % 32
)
data = LanguageModelling(text[:2400].astype(np.int64), text[2400:].astype(np.int64), 16)


def make():
    mg.manual_seed(0)
    model = GPT(32, 32, 2, 2, 16)
    return model, mg.optim.AdamW(model.parameters(), 3e-3)


def train(N, steps=60):
    ranks, losses = [make() for _ in range(N)], []
    rng = np.random.default_rng(1)  # every rank draws the same batch
    for _ in range(steps):
        batch, value, flats = data.batch(rng, 5), 0.0, []
        for r, (model, optimizer) in enumerate(ranks):
            optimizer.zero_grad()
            part, weight = weighted_share(data, batch, r, N)
            loss = data.loss(model, part)
            loss.backward(np.float32(weight))  # the upstream gradient n_r / n instead of 1
            value += weight * loss.item()
            flats.append(np.concatenate([p.grad.data.ravel() for p in model.parameters()]))  # one long row
        sums = ring_all_reduce(flats)[0] if N > 1 else flats
        for (model, optimizer), flat in zip(ranks, sums):
            start = 0
            for p in model.parameters():
                p.grad = mg.Tensor(flat[start : start + p.size].reshape(p.shape))
                start += p.size
            optimizer.step()
        losses.append(value)
    return np.array(losses), [
        np.concatenate([p.data.ravel() for p in model.parameters()]) for model, _ in ranks
    ]


alone, _ = train(1)
three, models = train(3)
gap = np.abs(three - alone)
print(f"loss from {alone[0]:.3f} to {alone[-1]:.3f}; the curves differ by {gap.max():.0e} at most")
print("the three models are equal, bit for bit:", all(np.array_equal(m, models[0]) for m in models))
assert gap.max() < 1e-4 and alone[-1] < 0.7 * alone[0] and all(np.array_equal(m, models[0]) for m in models)

# %% [markdown]
# The difference is round-off, magnified a little by training. Nothing was *approximated*: data-parallel training is the same training.
#
# (Dropout is the exception: ranks that drew the same mask for different rows would be wrong, so each draws its own. Then the run is one of the many that a seed may give.)
#
# **With real processes.** MPI, the *message passing interface*, is how programs on different computers have talked to each other since 1994. `mpiexec -n 2 program` starts the program twice; inside, each learns its rank, and `Allreduce` is one call. The library's command line speaks MPI when it is started by `mpiexec`. Where it is installed (`pip install -e ".[parallel]"`), this cell trains with one process and with two:

# %%
beside = Path(sys.executable).parent / "mpiexec"
mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
if importlib.util.find_spec("mpi4py") is None or mpiexec is None:
    print(
        "mpi4py or mpiexec is not installed here, so the ranks above, played by one process, stand for them."
    )
else:
    with tempfile.TemporaryDirectory() as folder:
        curves = []
        (Path(folder) / "text.txt").write_text(
            "she sells sea shells by the sea shore\n" * 60, encoding="utf-8"
        )
        options = [
            "--text",
            f"{folder}/text.txt",
            "--steps=50",
            "--evaluate-every=50",
            "--layers=1",
            "--width=16",
            "--heads=2",
            "--context=16",
            "--batch=5",
        ]
        for N in (1, 2):
            command = [
                *([mpiexec, "-n", "2"] if N == 2 else []),
                sys.executable,
                "-m",
                "transformer",
                "train",
                *options,
                "--out",
                f"{folder}/{N}",
            ]
            subprocess.run(
                command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
            log = (Path(folder) / str(N) / "log.csv").read_text(encoding="utf-8").splitlines()[1:]
            curves.append(np.array([float(row.split(",")[1]) for row in log]))
        gap = np.abs(curves[0] - curves[1]).max()
        assert len(curves[1]) == 50 and gap < 1e-5
        print("50 steps with 1 process and with mpiexec -n 2: the loss curves differ by less than 0.00001")

# %% [markdown]
# What happens when a rank dies? The others wait for it in the next sum, forever, unless someone ends them: `mpiexec` does. What is left is the last checkpoint, and nothing in it knows how many ranks there were; `--resume` with any number continues the same curve ([docs/parallel.md](../docs/parallel.md)). Among many thousands of machines there is always one that breaks; this is how training survives.
#
# ## 4 · Is it worth it?
#
# `benchmarks/parallel.py` measured a GPT of width 384 on a machine with two cores, one thread for each rank: the throughput with 1, 2 and 4 ranks, four sequences for each. Beside it stands the throughput of as many processes that do *not* talk to each other. No way of working together can do better than that.

# %%
stored = json.loads(
    (book.ROOT / "benchmarks" / "parallel.json").read_text(encoding="utf-8")
)
times = stored["measured"]["seconds"]  # eight steps for each way
measured = {name: np.median(of_steps) for name, of_steps in times.items()}  # seconds of a step
cores, one = stored["measured"]["cores"], measured["1 rank"]
rows = [("1", f"{one:.3f}", f"{min(times['1 rank']):.2f} to {max(times['1 rank']):.2f}", "1.00", "", "")]
speedup = {1: 1.0}
for N in (2, 4):
    way = f"{N} ranks, 4 sequences each"
    seconds, apart = measured[way], measured[f"{N} processes side by side"]
    predicted = stored["predicted"]["seconds"][way]["total"]
    speedup[N] = N * one / seconds
    rows.append(
        (
            str(N),
            f"{seconds:.3f}",
            f"{min(times[way]):.2f} to {max(times[way]):.2f}",
            f"{speedup[N]:.2f}",
            f"{N * one / apart:.2f}",
            f"{N * one / predicted:.2f}",
        )
    )
    assert 0.7 < predicted / seconds < 1.3 and speedup[N] > 0.9 * N * one / apart
assert speedup[2] > 1.6 and speedup[4] < 1.2 * speedup[2]
numbers = stored["measured"]["parameters"]
print(f"{cores} cores; the gradient: 4 · {numbers / 1e6:.1f} million bytes = {4 * numbers / 1e6:.0f} MB")
table(
    [
        "ranks",
        "seconds for a step (median)",
        "least and most of eight",
        "times one rank",
        "without talking",
        "predicted (section 5)",
    ],
    rows,
)

# %% [markdown]
# Two ranks on two cores come close to what two silent processes reach: the sum of 43 MB of gradients is a small part of the step. (The speed-ups are ratios of medians; single steps scatter, as the table says, so that 1.85 and 1.90 need not differ.) Four ranks gain nothing, since there are two cores. And two cores are not twice one, even in silence: they share the memory, and much of the chip. Before blaming communication, measure the ceiling.
#
# ## 5 · On paper: 1 to 100 000 workers
#
# How long is a step on $N$ workers? Let $w$ be the *work*, the operations of a step (FLOPs; a multiply–add is two; it is no weight any more), $f$ what one worker does of them in a second, $G$ the bytes of the gradient, $\beta$ the bytes per second of a link, and $\alpha$ the seconds before a message's first byte arrives, its *latency*. With the ring of section 2,
#
# $$t(N) = \underbrace{\frac{w}{N f}}_{\text{computing}} + \underbrace{2\,\frac{N-1}{N}\,\frac{G}{\beta}}_{\text{bytes}} + \underbrace{2\,(N - 1)\,\alpha}_{\text{messages}} .$$
#
# For instance $w = 8 \cdot 10^{15}$, $f = 2\cdot 10^{14}$: one worker needs 40 s. With $N = 8$, $G = 3$ GB, $\beta = 25$ GB/s, $\alpha = 10\,\mu\text{s}$: computing $5$ s, bytes $2 \cdot \frac78 \cdot \frac{3}{25} = 0.21$ s, messages $0.00014$ s. The first term falls with $N$, the second soon stands still, the third *grows*.

# %%
def t(N, w, f, G, beta, alpha):  # seconds of a step
    return w / (N * f), 2 * (N - 1) / N * G / beta, 2 * (N - 1) * alpha


w, f, G, beta, alpha = 8e15, 2e14, 3e9, 25e9, 1e-5
assert np.allclose(t(8, w, f, G, beta, alpha), (5, 0.21, 0.00014), atol=1e-12)
assert np.isclose(sum(t(8, w, f, G, beta, alpha)[1:]), scaling.ring(G, 8, beta, alpha))  # the library's ring
workers = np.array([2**i for i in range(17)] + [100_000])
parts = np.array([t(k, w, f, G, beta, alpha) for k in workers])  # (18, 3)
fig, (left, right) = figure(9.8, 3.8, 1, 2)
for i, name in enumerate(("computing", "bytes of the gradient", "messages of the ring")):
    left.loglog(workers[parts[:, i] > 0], parts[parts[:, i] > 0, i], label=name, **line(i))
left.set_xlabel("workers N")
left.set_ylabel("seconds in a step")
left.set_ylim(1e-5, 1e4)
left.legend(loc="upper right", fontsize=9)
halving = np.array([w / (k * f) + (scaling.halving(G, int(k), beta, alpha) if k > 1 else 0) for k in workers])
right.loglog(workers, parts[0].sum() / parts.sum(axis=1), label="in a ring", **line(0))
right.loglog(workers, parts[0].sum() / halving, label="by halving: 2 log₂ N messages", **line(1))
right.loglog(workers, workers, color="0.6", linewidth=1, label="ideal")
right.set_xlabel("workers N")
right.set_ylabel("speed-up t(1) / t(N)")
right.legend(fontsize=9)
best = int(workers[parts.sum(axis=1).argmin()])
print(
    f"of these, the ring is fastest with {best:,} workers; with 100,000 a step takes {parts[-1].sum():.1f} "
    f"s, of which {parts[-1, 2]:.1f} s are messages"
)
assert 64 < best < 10_000 and parts[-1].argmax() == 2
fig

# %% [markdown]
# With a fixed batch every curve ends: sooner or later adding up the gradient takes longer than computing it. Three remedies, and in practice all of them:
#
# - **Fewer messages.** *Halving and doubling* exchanges halves, quarters, … with partners at distance $N/2$, $N/4$, …: as few bytes, but only $2\log_2 N$ messages. (Between machines one first adds up inside each.)
# - **More work for each message:** a larger batch, as long as it still helps learning.
# - **Split the model, not only the data.** Beyond some size a model does not even fit into one worker's memory.
#
# ### Splitting the model
#
# *Tensor parallelism* splits every matrix: each of $k$ workers computes some heads and some columns of the feed-forward network, and the results are added up twice in each layer forward, and twice backward. That takes much communication, so it stays inside one machine.
#
# *Pipeline parallelism* gives each of $p$ workers some of the layers. A batch goes through them in $m$ *microbatches*, like cars along an assembly line. While the line fills and empties, workers stand idle:

# %%
def schedule(p, m):  # (p, m + p − 1): which microbatch a stage works on at each time; −1: none
    plan = np.full((p, m + p - 1), -1)
    for stage in range(p):
        plan[stage, stage : stage + m] = np.arange(
            m
        )  # it starts when the stage before it has handed over the first one
    return plan


plan = schedule(4, 8)
fig, ax = figure(7.2, 2.5)
draw_matrix(ax, (plan >= 0) * 0.3, [str(s) for s in range(4)], [str(i) for i in range(11)], low=0, high=1)
ax.hlines(np.arange(3) + 0.5, -0.5, 10.5, color="white")
ax.vlines(np.arange(10) + 0.5, -0.5, 3.5, color="white")
for (stage, time), microbatch in np.ndenumerate(plan):
    ax.text(time, stage, microbatch if microbatch >= 0 else "", ha="center", va="center")
ax.set_xlabel("time")
ax.set_ylabel("stage")
for p, m in ((4, 8), (4, 32), (8, 8)):
    idle = (schedule(p, m) < 0).mean()
    assert np.isclose(idle, (p - 1) / (m + p - 1))
    print(
        f"p = {p} stages, m = {m:>2} microbatches: idle {idle:.0%} of the time; (p − 1)/(m + p − 1) = "
        f"{(p - 1) / (m + p - 1):.0%}"
    )
fig

# %% [markdown]
# The empty corners are the *bubble*, $\frac{p-1}{m+p-1}$ of the time. It is small when there are many more microbatches than stages.
#
# *Sharding.* In data parallelism each of $N$ workers keeps all 16 bytes for each parameter: weight (2) and gradient (2) in 16 bits, and 12 for the optimizer (a float32 weight, and Adam's two numbers). But a rank could keep the optimizer's 12 bytes for *its* chunk of the ring only: after the reduce-scatter it has just that chunk's gradient, steps it, and the all-gather passes on new weights instead of gradients. As many bytes travel as before; that is stage 1. Stage 2 splits the gradients too, stage 3 the weights. For a model with 7.5 billion parameters on 64 workers:

# %%
model_7B = scaling.Job(7.5e9, 1, 1, 1, 64, 1.0)
rows = []
for stage, name in enumerate(("nothing", "optimizer states", "and gradients", "and weights")):
    bytes_each = sum(
        size / (64 if 3 - i <= stage else 1) for i, size in enumerate((2, 2, 12))
    )  # of weight, gradient, states
    gigabytes = 7.5 * bytes_each
    assert np.isclose(
        gigabytes,
        scaling.step(model_7B, scaling.A100, scaling.Layout(data=64, sharding=stage)).memory / 1e9,
        atol=0.01,
    )
    rows.append((stage, name, f"{bytes_each:.2f}", f"{gigabytes:.1f}"))
assert [row[-1] for row in rows] == ["120.0", "31.4", "16.6", "1.9"]  # the numbers in the paper
table(["stage", "split", "bytes for each parameter", "GB for each worker"], rows)

# %% [markdown]
# ### All together: GPT-3
#
# `transformer.parallel.scaling` is the model of this section with all its terms, about two hundred lines. Give it a machine by its data sheet and a model by its sizes; `best` tries all ways of $\text{data} \times \text{tensor} \times \text{pipeline}$ that fit into memory. For 175 billion parameters, a batch of 1536 sequences and graphics processors of the kind of 2020:

# %%
rows, workers, efficiency = [], [], []
for N in (1, 8, 64, 512, 4096, 32_768, 100_000):
    pair = scaling.best(scaling.GPT3, scaling.A100, N)
    if pair is None:
        rows.append((f"{N:,}", "does not fit", "", "", ""))
        continue
    layout, taken = pair
    ideal = scaling.GPT3.flops / (scaling.A100.flops * N)
    workers.append(N)
    efficiency.append(ideal / taken.seconds)
    rows.append(
        (
            f"{N:,}",
            f"{layout.data} × {layout.tensor} × {layout.pipeline}",
            f"{taken.seconds:.1f}",
            f"{ideal / taken.seconds:.0%}",
            f"{taken.bubble / taken.seconds:.0%}",
        )
    )
assert (
    rows[0][1] == "does not fit"
    and efficiency[0] > 0.9
    and efficiency[-1] < 0.3
    and sorted(efficiency, reverse=True) == efficiency
)
trillion = scaling.gpt(128, 25600, 2048, 51200, 3072)
rate = trillion.flops / scaling.step(trillion, scaling.A100, scaling.Layout(6, 8, 64)).seconds / 1e15
assert abs(rate / 502 - 1) < 0.1
print(
    f"a check: one trillion parameters on 3072 such workers should reach {rate:.0f} PFLOP/s; 502 were "
    "published"
)
table(["workers", "data × tensor × pipeline", "seconds for a step", "efficiency", "bubble"], rows)

# %% [markdown]
# One worker, or eight, cannot even hold it. 64 lose 4 %, 512 lose 12 %. At 100 000 the *batch* is too small: the pipelines are mostly bubble. Whoever owns that many trains a larger model, on more data at once.
#
# And the measured speed-ups of section 4? Their prediction is the same function, with this little machine's numbers: what one rank does, a message between two, a copy in memory, and how much slower silent processes are side by side.

# %%
fig, ax = figure(6.6, 3.9)
ranks = [1, 2, 4]
predicted = [
    1.0,
    *(N * one / stored["predicted"]["seconds"][f"{N} ranks, 4 sequences each"]["total"] for N in (2, 4)),
]
apart = [1.0, *(N * one / measured[f"{N} processes side by side"] for N in (2, 4))]
ax.plot(ranks, [speedup[N] for N in ranks], marker="o", label="measured", **line(0))
ax.plot(ranks, predicted, marker="s", label="predicted", **line(1))
ax.plot(ranks, apart, marker="^", label="side by side, silent", **line(2))
ax.plot(ranks, ranks, color="0.6", linewidth=1, label="ideal")
ax.set_xticks(ranks)
ax.set_xlabel(f"ranks, one thread each, on {cores} cores")
ax.set_ylabel("throughput relative to one rank")
ax.set_ylim(0, 4.2)
ax.legend()
fig

# %% [markdown]
# ## 6 · Leaving for PyTorch
#
# This library is for understanding. When you need a hundred graphics processors, take your weights and go. A checkpoint for other libraries is a `config.json` and one file of arrays in the *safetensors* format, which is so simple that we write it by hand: eight bytes that say how long the header is, the header as JSON (name, type, shape and place of each array), then the numbers, and nothing else.
#
# `to_arrays` gives our GPT's arrays under the names and in the layout of GPT-2, for which the `transformers` library has a class.

# %%
def write_safetensors(arrays):  # {name: float32 array} → bytes
    header, place = {"__metadata__": {"format": "pt"}}, 0
    for name, a in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [place, place + a.nbytes]}
        place += a.nbytes
    text = json.dumps(header).encode()
    return (
        struct.pack("<Q", len(text))
        + text
        + b"".join(np.ascontiguousarray(a, "<f4").tobytes() for a in arrays.values())
    )


def read_safetensors(content):  # bytes → {name: float32 array}
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    return {
        name: np.frombuffer(data[slice(*e["data_offsets"])], "<f4").reshape(e["shape"])
        for name, e in header.items()
        if name != "__metadata__"
    }


mg.manual_seed(0)
model = GPT(32, 32, 2, 2, 16).eval()
config, arrays = to_arrays(model)
content = write_safetensors(arrays)
back = from_arrays(config, read_safetensors(content))
ids = np.arange(16)[None]
with mg.no_grad():
    assert np.array_equal(back(ids).data, model(ids).data)
if importlib.util.find_spec("safetensors"):
    from safetensors.numpy import load

    assert all(np.array_equal(a, arrays[name]) for name, a in load(content).items())
print(
    f"model_type {config['model_type']!r}, {len(arrays)} arrays, {len(content):,} bytes; read back, the "
    "same logits to the last bit"
)
print("for instance", *list(arrays)[:4], sep="\n    ")

# %% [markdown]
# `save_pretrained(model, folder, tokenizer)` does this with the tokenizer beside it, and `transformers.AutoModelForCausalLM.from_pretrained(folder)` opens it; the library's tests compare the logits and every gradient with those of PyTorch. See [docs/pretrained.md](../docs/pretrained.md), and [docs/parallel.md](../docs/parallel.md) for everything about several processes.
#
# ## Common misunderstandings
#
# - ***With N workers the learning rate must be N times as high.*** Not if the batch stays the same: then the run is the same. People raise it because they raise the batch.
# - ***Workers send their models to each other.*** They send gradients (or parts of optimizer states). The models stay equal because all do the same.
# - ***The mean of the ranks' losses is the loss.*** Only when all have as many terms; count tokens, not rows.
# - ***More workers are always faster.*** For a fixed batch, the messages of a ring grow with $N$ while the work of each shrinks.
# - ***A ring sends each gradient N times.*** Each link carries less than twice its size, for any $N$.
# - ***Two ranks on two cores must be twice as fast.*** Measure two silent processes first.
# - ***If the loss goes down, the sharing is right.*** With weights by rows instead of tokens a model would still learn, only something else.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · Which rows are mine?
#
# A batch of `count` rows on `size` ranks, in order: the first `count % size` ranks get one row more than the others. Where does rank `rank`'s share begin and end?

# %% tags=["exercise"]
def my_share(count, rank, size):
    """(start, stop): the rows start, …, stop − 1 are those of ``rank``."""
    ### BEGIN SOLUTION
    each, more = divmod(count, size)
    start = rank * each + min(rank, more)
    return start, start + each + (rank < more)
    ### END SOLUTION


checks.check_15_share(my_share)

# %% [markdown] tags=["idea"]
# With `each, more = divmod(count, size)`, the ranks before mine have `rank * each` rows, and one more for each of them that is among the first `more`: `min(rank, more)`.

# %% [markdown]
# ### Exercise 2 ★★ · One gradient out of many
#
# Each rank gives the gradient of the mean loss over *its* targets, and its targets themselves, $(B_r, T_r)$, in which $-100$ marks padding. Give the gradient of the mean loss over all targets of all ranks.

# %% tags=["exercise"]
def combine(gradients, targets):
    """The gradient of the whole batch from lists of the ranks' gradients (any shape) and targets (B_r, T_r)."""
    ### BEGIN SOLUTION
    counts = [np.sum(np.asarray(t) != -100) for t in targets]
    return sum(n / sum(counts) * g for n, g in zip(counts, gradients))
    ### END SOLUTION


checks.check_15_combine(combine)

# %% [markdown] tags=["idea"]
# $n_r$ is the number of targets that are not $-100$, and the answer $\sum_r \frac{n_r}{n}\, \bar w_r$, with rank $r$'s gradient $\bar w_r$. A rank whose targets are all padding counts 0.

# %% [markdown]
# ### Exercise 3 ★★ · How many workers?
#
# Time of a step with a ring, in the letters of section 5: $t(N) = \frac{w}{N f} + 2\,\frac{N-1}{N}\,\frac G\beta + 2\,(N-1)\,\alpha$. Give the largest $N$, a power of two up to $2^{20}$, at which the workers still compute at least half of the time.

# %% tags=["exercise"]
def half_busy(w, f, G, beta, alpha):
    """The largest N = 1, 2, 4, … 2**20 at which computing takes at least half of a step."""
    ### BEGIN SOLUTION
    def talking(N):
        return 2 * (N - 1) / N * G / beta + 2 * (N - 1) * alpha

    return max(N for N in [2**i for i in range(21)] if talking(N) <= w / (N * f))
    ### END SOLUTION


checks.check_15_half_busy(half_busy)

# %% [markdown] tags=["idea"]
# Computing falls with $N$ and the rest grows, so there is one border: go through the powers of two and keep the last one with $\frac{w}{N f} \ge 2\,\frac{N-1}{N}\,\frac G\beta + 2\,(N-1)\,\alpha$. $N = 1$ always qualifies: nothing is sent.

# %% [markdown]
# ### Exercise 4 ★★★ · Reduce-scatter
#
# The first half of the ring, on real chunks. `chunks[r][c]` is chunk `c` of rank `r`. Play the $N - 1$ steps of section 2: in step $s$ rank $r$ sends chunk $(r - s) \bmod N$ to rank $(r + 1) \bmod N$, which adds it to its own. All send at the same time. Return the chunks as they are afterwards, all of them, the incomplete ones too; leave the input alone.

# %% tags=["exercise"]
def reduce_scatter(chunks):
    """chunks (N, N, n), [rank, chunk] → the same after N − 1 steps around the ring."""
    ### BEGIN SOLUTION
    chunks = np.array(chunks)
    N = len(chunks)
    for s in range(N - 1):
        messages = [chunks[r, (r - s) % N].copy() for r in range(N)]
        for r in range(N):
            chunks[(r + 1) % N, (r - s) % N] += messages[r]
    return chunks
    ### END SOLUTION


checks.check_15_reduce_scatter(reduce_scatter)

# %% [markdown] tags=["idea"]
# Copy the input. In each step first take all messages, then deliver them. (Within one step no rank sends the chunk that it receives, so the order does no harm here; with real messages you would not know.) The indices wrap around with `%`.

# %% [markdown]
# ## References
#
# - P. Patarasuk, X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", *Journal of Parallel and Distributed Computing* 69 (2009): the ring, and that no way sends fewer bytes.
# - R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of collective communication operations in MPICH", *IJHPCA* 19 (2005): halving and doubling.
# - S. Li et al., "PyTorch Distributed: experiences on accelerating data parallel training", VLDB 2020, section 3.2: buckets, and sending during the backward pass.
# - M. Shoeybi et al., "Megatron-LM", arXiv:1909.08053 (2019), section 3: splitting the matrices of a Transformer.
# - Y. Huang et al., "GPipe", NeurIPS 2019, section 2: microbatches and the bubble.
# - S. Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter models", SC 2020, figure 1: the example of 7.5 billion parameters.
# - D. Narayanan et al., "Efficient large-scale language model training on GPU clusters using Megatron-LM", SC 2021: all together, and the trillion parameters on 3072 processors.
#
# **Before:** [14b · From next word to assistant, in small](14b_from_next_word_to_assistant.ipynb). **Next:** [16 · Real weights](16_real_weights.ipynb).
