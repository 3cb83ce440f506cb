# ---
# jupyter:
#   cover: 2
# ---

# %% [markdown]
# # 04 · From recurrence to attention
#
# *About 50 minutes to read, 60 more for the exercises. You need [03 · Softmax, cross-entropy, layer norm backward by hand](03_softmax_cross_entropy_layer_norm.ipynb): softmax, and how a gradient walks back through small steps.
# Next: [05 · Attention as soft lookup](05_attention_as_soft_lookup.ipynb).*
#
# Before there were Transformers, networks read text as we do, one word after the other, keeping in mind what came before. These are **recurrent** networks. They still are a fine idea, and this chapter builds them. But what they keep in mind is *one vector*, and everything has to pass through it: the meaning of the first word on
# its way to the last, and the gradient on its way back. You will measure both. Then comes the repair of 2014, **attention**: let the writer look back at everything that was read. Three years later somebody asked what happens if one keeps the repair and throws away the network.
#
# **After this chapter you can**
#
# - run a recurrent network and a GRU for a few steps on paper;
# - say why the gradient of an early word fades, measure how fast, and what gates and attention change about it;
# - build additive attention, check it against the library, and read an alignment map;
# - show with an experiment what a single vector costs, and at which length.

# %%
import numpy as np

import checks
import minigrad as mg
from book import figure, line, paired, sized, table
from minigrad import optim
from transformer import AdditiveAttention, CharTokenizer, Seq2SeqRNN, Translation, attention_maps, translate
from transformer.data.tasks import dates
from transformer.models.rnn import GRUCell
from transformer.evaluation.metrics import exact_match
from transformer.data.codec import BEGIN, END, PAD

# %% [markdown]
# ## 1 · A network with a memory
#
# The input is a sequence of vectors $x_1, x_2, \dots, x_T$, each with $C$ numbers. The network keeps a **state** $h$ of $M$ numbers, which begins at zero. At each step it mixes the new input with the old state:
#
# $$h_t = \tanh(x_t W + h_{t-1} U + b), \qquad W: (C, M),\quad U: (M, M),\quad b: (M,) .$$
#
# The same $W$, $U$, $b$ at every step; so it reads texts of any length. ($\tanh$ squeezes any number into $-1 \dots 1$; its slope is $1 - \tanh^2$.)
#
# On paper, with $C = M = 1$, $W = 1$, $U = \tfrac12$, $b = 0$, and the input $1, 0, 0$, a single knock at the door:
#
# $$h_1 = \tanh(1) = 0.7616, \qquad h_2 = \tanh(0.3808) = 0.3634, \qquad h_3 = \tanh(0.1817) = 0.1797 .$$
#
# Each step forgets half. How much does $h_3$ still depend on $x_1$? By the chain rule, one factor for each step, slope times $U$:
#
# $$\frac{\partial h_3}{\partial x_1} = \underbrace{(1 - h_3^2)\,U}_{0.4838} \cdot \underbrace{(1 - h_2^2)\,U}_{0.4340} \cdot \underbrace{(1 - h_1^2)\,W}_{0.4200} = 0.0882 .$$

# %%
def rnn(X, W, U, b):  # (T, C), (C, M), (M, M), (M,) → (T, M)
    h, states = np.zeros(len(U)), []
    for x in X:
        h = np.tanh(x @ W + h @ U + b)
        states.append(h)
    return np.stack(states)


one = np.ones((1, 1))
knock = np.array([[1.0], [0], [0]])
h = rnn(knock, one, one / 2, np.zeros(1))[:, 0]
factors = [(1 - h[2] ** 2) * 0.5, (1 - h[1] ** 2) * 0.5, (1 - h[0] ** 2) * 1.0]
step = np.array([[1e-6], [0], [0]])
numeric = (rnn(knock + step, one, one / 2, np.zeros(1)) - rnn(knock - step, one, one / 2, np.zeros(1)))[
    2, 0
] / 2e-6
assert (
    np.allclose(h, [0.7616, 0.3634, 0.1797], atol=5e-5)
    and np.isclose(np.prod(factors), 0.0882, atol=5e-5)
    and np.isclose(np.prod(factors), numeric)
)
print(
    f"states {np.round(h, 4)}; factors {np.round(factors, 4)}, product {np.prod(factors):.4f}, finite "
    f"differences {numeric:.4f}"
)

# %% [markdown]
# ## 2 · Gates: the GRU
#
# A product of many factors below 1 vanishes. The remedy of the nineties (LSTM) and its simpler sister (GRU, *gated recurrent unit*): do not overwrite the state, **mix** it with the new, in proportions that the network chooses itself. With $\sigma(a) = 1/(1 + e^{-a})$, a number between 0 and 1, and $\odot$ for the product entry by entry:
#
# $$r = \sigma(x W_r + h U_r + b_r), \quad z = \sigma(x W_z + h U_z + b_z), \quad n = \tanh\!\big(x W_n + b_n + r \odot (h U_n)\big), \qquad h' = (1 - z) \odot n + z \odot h .$$
#
# $n$ is the *new* candidate, $r$ says how much of the old state it may see (*reset*), and $z$ says how much of the old state is **kept**. Where $z = 1$ the state passes unchanged, and so does its gradient: the factor of that step is 1.
#
# On paper, with $C = M = 1$: $x = 1$, $h = 0.8$, $W_r = U_r = 0$, $W_z = \ln 3$, $U_z = 0$, $W_n = 0$, $U_n = 1$, no biases. Then $r = \tfrac12$, $z = \tfrac{1}{1 + 1/3} = \tfrac34$, $n = \tanh(\tfrac12 \cdot 0.8) = 0.3799$ and $h' = \tfrac14 \cdot 0.3799 + \tfrac34 \cdot 0.8 = 0.6950$.

# %%
def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def gru_step(
    x, h, W, U, b
):  # (B, C), (B, M), (C, 3M), (M, 3M), (3M,) → (B, M); the blocks r, z, n lie side by side
    M = h.shape[-1]
    a, u = x @ W + b, h @ U
    r, z = sigmoid(a[:, :M] + u[:, :M]), sigmoid(a[:, M : 2 * M] + u[:, M : 2 * M])
    n = np.tanh(a[:, 2 * M :] + r * u[:, 2 * M :])
    return (1 - z) * n + z * h


by_hand = gru_step(
    np.ones((1, 1)), np.array([[0.8]]), np.array([[0, np.log(3), 0]]), np.array([[0.0, 0, 1]]), np.zeros(3)
)
assert np.isclose(by_hand[0, 0], 0.6950, atol=5e-5)

mg.manual_seed(0)
cell = GRUCell(5, 4)  # the library's: C = 5, M = 4
for p in cell.parameters():
    p.data = p.data.astype(float)
rng = np.random.default_rng(0)
x, h, h_bar = rng.normal(size=(3, 5)), rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
weights = cell.input.weight.data, cell.recurrent.data, cell.input.bias.data
tx, th = mg.Tensor(x, requires_grad=True), mg.Tensor(h, requires_grad=True)
(out,) = cell(tx, (th,))
out.backward(h_bar)
numeric = np.zeros_like(h)
for i in np.ndindex(h.shape):
    step = np.zeros_like(h)
    step[i] = 1e-5
    numeric[i] = ((gru_step(x, h + step, *weights) - gru_step(x, h - step, *weights)) * h_bar).sum() / 2e-5
gaps = np.abs(gru_step(x, h, *weights) - out.data).max(), np.abs(th.grad.data - numeric).max()
assert gaps[0] < 1e-12 and gaps[1] < 1e-8
print(
    f"h' = {by_hand[0, 0]:.4f}; ours − the library's: {gaps[0]:.0e}; ∂/∂h, engine − finite differences: "
    f"{gaps[1]:.0e}"
)

# %% [markdown]
# ## 3 · Experiment: the gradient through time
#
# How much does the end of a text of 60 tokens depend on the token $k$ places before its end? Take a random direction $u$ and measure the length of the gradient of $u \cdot h_T$ with respect to $x_{T-k}$, for every distance $k$. In general the factor of a step is a matrix, $\operatorname{diag}(1 - h_t^2)\,U^\top$, and lengths shrink or grow like a product of
# $k$ of them.
#
# Five networks, $M = 32$, each with random weights from three seeds: a plain RNN whose entries of $U$ have the size $0.5/\sqrt M$ or $4/\sqrt M$; a GRU as it is initialised; a GRU whose keep-gate $z$ has the bias 4, so that it keeps about 98 % at each step; and the ordinary GRU again, but read through **attention** (section 4): instead of $h_T$ we take a mixture of *all* its states.

# %%
def gradient_by_distance(network, T=60, B=16, C=8):
    """Length of the gradient with respect to x[T − 1 − k], for k = 0 … T − 1, mean over the batch."""
    rng = np.random.default_rng(0)
    x = [mg.Tensor(rng.normal(size=(B, C)), requires_grad=True) for _ in range(T)]
    out = network(x)
    u = rng.normal(size=out.shape)
    out.backward(u / np.linalg.norm(u, axis=-1, keepdims=True))
    return np.array([np.linalg.norm(t.grad.data, axis=-1).mean() for t in reversed(x)])


def plain(seed, size, M=32):
    W, U = (np.random.default_rng([seed, 1]).normal(size=s) for s in ((8, M), (M, M)))

    def network(x):
        h = mg.Tensor(np.zeros((len(x[0]), M)))
        for t in x:
            h = mg.tanh(t @ (W / np.sqrt(8)) + h @ (U * size / np.sqrt(M)))
        return h

    return network


def gated(seed, bias=0.0, look_back=False, M=32):
    mg.manual_seed(seed)
    cell, attention = GRUCell(8, M), AdditiveAttention(M, M, M)
    cell.recurrent_bias.data[M : 2 * M] = bias

    def network(x):
        h, states = np.zeros((len(x[0]), M)), []
        for t in x:
            (h,) = cell(t, (h,))
            states.append(h)
        return attention(h, mg.stack(states, axis=1)) if look_back else h

    return network


networks = {
    "plain, U small (0.5)": lambda seed: plain(seed, 0.5),
    "plain, U large (4)": lambda seed: plain(seed, 4.0),
    "GRU": gated,
    "GRU that keeps 98 %": lambda seed: gated(seed, 4.0),
    "GRU with attention": lambda seed: gated(seed, look_back=True),
}
each = {  # (3, 60): three networks with other weights
    name: np.array([gradient_by_distance(make(seed)) for seed in range(3)]) for name, make in networks.items()
}
lengths = {name: np.exp(np.log(found).mean(axis=0)) for name, found in each.items()}  # the geometric mean
fig, ax = figure(7.0, 4.0)
for i, (name, values) in enumerate(lengths.items()):
    ax.plot(np.arange(60), values, label=name, marker="os^Dv"[i], markevery=10, markersize=5, **line(i))
ax.set_yscale("log")
ax.set_ylim(1e-12, None)
ax.set_xlabel("distance k of the token from the end")
ax.set_ylabel("length of its gradient")
ax.legend(fontsize=9)
assert (
    lengths["plain, U small (0.5)"][50] < 1e-10
    and lengths["plain, U large (4)"][50] > 1e3
    and lengths["GRU"][50] < 1e-3
    and lengths["GRU with attention"][50] > 1e-4
    and lengths["GRU that keeps 98 %"][50] > 1e-5
)
fig

# %%
per_step = {name: (found[:, 40] / found[:, 10]) ** (1 / 30) for name, found in each.items()}
assert per_step["GRU"].max() < 0.9 < per_step["GRU that keeps 98 %"].min()
table(
    ["network", "k = 0", "k = 10", "k = 50", "factor per step, k = 10 … 40, each seed"],
    [
        (name, *(f"{values[k]:.0e}" for k in (0, 10, 50)), " ".join(f"{f:.3f}" for f in per_step[name]))
        for name, values in lengths.items()
    ],
)

# %% [markdown]
# A straight line on a logarithmic axis is a constant factor per step. With small weights the gradient is gone after a dozen words: training cannot find out that an early word mattered. With large weights it *explodes*: a tiny change of an early word changes everything, and a step of training leads anywhere. (Between the two there is a size at which it would just hold. Nothing keeps the weights there while they are trained.) An ordinary GRU fades more slowly; one whose gate is set to keep fades
# hardly at all, but then it has little room for new things: what is kept is not written.
#
# **Attention goes around the slope.** The states forget as before (it is the same GRU), but every one of them is one step away from the output, at any distance. Nothing has to be carried.
#
# ## 4 · Additive attention
#
# Translation with recurrent networks: an **encoder** reads the source $x_1 \dots x_S$ into states $h_1 \dots h_S$; a **decoder**, another recurrent network, writes the target. In the first models (2014) all it got from the encoder was one vector, the last state. Bahdanau, Cho and Bengio let it look back instead. Before it writes token $i$, its
# state $s_{i-1}$, of $M_s$ numbers, asks every state of the encoder how well it fits:
#
# $$e_{ij} = v^\top \tanh(s_{i-1} W + h_j U), \qquad \alpha_{ij} = \operatorname{softmax}_j(e_{ij}), \qquad c_i = \sum_j \alpha_{ij}\, h_j .$$
#
# The score $e_{ij}$ is a tiny network with one hidden layer; $W$ and $U$ bring both states to a common width $A$, $v$ makes one number of it. The context $c_i$ is a mixture of the encoder's states, and a different one for each $i$. It is *additive* because $s$ and $h$ are added; chapter 05 multiplies them instead, which is one matrix product for all pairs (and faster in practice: Vaswani et al., section 3.2.1). (The letters are those of the paper; from chapter 05 on a score is $z_{ij}$ and a weight $p_{ij}$.)
#
# On paper, all widths 1: $s = 0$, $W = U = 1$, $v = \ln 4$, and two states $h_1 = 0$, $h_2 = \tfrac12\ln 3 = 0.5493$. Since $\tanh(\tfrac12 \ln a) = \frac{a - 1}{a + 1}$, we have $\tanh(h_2) = \tfrac12$. Scores: $e = (0, \tfrac12 \ln 4) = (0, \ln 2)$. Weights: $\alpha = (\tfrac13, \tfrac23)$. Context: $c = \tfrac23 \cdot 0.5493 = 0.3662$.

# %%
def additive_attention(
    s, h, W, U, v, mask=None
):  # (B, Mₛ), (B, S, M), (Mₛ, A), (M, A), (A,) → (B, M), (B, S)
    e = np.tanh((s @ W)[:, None] + h @ U) @ v  # (B, S)
    if mask is not None:
        e = np.where(mask, e, -np.inf)
    p = np.exp(e - e.max(axis=-1, keepdims=True))
    alpha = p / p.sum(axis=-1, keepdims=True)
    return (alpha[:, :, None] * h).sum(axis=1), alpha


c, alpha = additive_attention(
    np.zeros((1, 1)), np.array([[[0.0], [0.5 * np.log(3)]]]), one, one, np.array([np.log(4)])
)
assert np.allclose(alpha, [[1 / 3, 2 / 3]]) and np.isclose(c[0, 0], 0.3662, atol=5e-5)

mg.manual_seed(2)
module = AdditiveAttention(4, 6, 5)
for p in module.parameters():
    p.data = p.data.astype(float)
module.query.bias.data[:] = 0  # the library has a bias inside the tanh; ours has none
rng = np.random.default_rng(3)
s, h, c_bar = rng.normal(size=(2, 4)), rng.normal(size=(2, 7, 6)), rng.normal(size=(2, 6))
mask = np.arange(7) < np.array([[7], [5]])
given = module.query.weight.data, module.key.weight.data, module.score.weight.data[:, 0]
ours, alpha = additive_attention(s, h, *given, mask)
ts, th = mg.Tensor(s, requires_grad=True), mg.Tensor(h, requires_grad=True)
library = module(ts, th, mask)
library.backward(c_bar)


def along(step, direction):
    return (additive_attention(s, h + step * direction, *given, mask)[0] * c_bar).sum()


direction = rng.normal(size=h.shape)
slope = (along(1e-5, direction) - along(-1e-5, direction)) / 2e-5
gaps = np.abs(ours - library.data).max(), abs(slope - (th.grad.data * direction).sum())
assert (
    gaps[0] < 1e-12
    and gaps[1] < 1e-8
    and np.all(alpha[1, 5:] == 0)
    and np.abs(th.grad.data[1, 5:]).max() == 0
)
print(
    f"c = {c[0, 0]:.4f}; ours − the library's: {gaps[0]:.0e}; slope along h, engine − finite differences: "
    f"{gaps[1]:.0e}; padding gets weight and gradient 0"
)

# %% [markdown]
# ## 5 · Experiment: how much fits into one vector?
#
# The task: read $n$ random digits, write them backwards. An encoder of GRUs (one reads forwards, one backwards) and a decoder that is a GRU; the library's `Seq2SeqRNN`. **Without** attention, every step of the decoder gets the same summary, the last states of both readers. **With** attention, each step gets its own mixture. Nothing else differs, except the weights of the attention itself: same
# training data, same number of steps, and three seeds for each. Lengths 2 to 12 are trained, each batch of one length; then we test on 2 to 16, where 13 to 16 were never seen. To see what helps without attention, that model is also given twice the width (and so a vector of twice the size), and twice the training.
#
# **Predict:** what happens to the fraction of right answers as $n$ grows?

# %%
def train(model, batch, loss_of, steps, rate, seed, watch=None):
    """Adam with warm-up and slowing down; the loss of each step."""
    rng, losses = np.random.default_rng(seed), []
    optimizer = optim.Adam(model.parameters(), betas=(0.9, 0.98))
    for step in range(steps):
        optimizer.lr = rate * min(1, (step + 1) / 50) * min(1, 2 * (1 - step / steps))
        loss = loss_of(model, batch(rng))
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)  # a safeguard (section 3)
        optimizer.step()
        losses.append(loss.item())
        if watch:
            watch(step + 1)
    return losses


def digits(rng, n, length):
    """Sources (n, length), and [10] + the digits backwards; 10 says begin."""
    x = rng.integers(0, 10, (n, length))
    return x, np.concatenate([np.full((n, 1), 10), x[:, ::-1]], axis=1)


STEPS = sized(500, 300, "steps")


def reversing(M, attention, seed, steps=STEPS):
    mg.manual_seed(seed)
    model = Seq2SeqRNN(11, 32, M, attention=attention)

    def loss_of(model, pair):
        return mg.cross_entropy(model(pair[0], None, pair[1][:, :-1]), pair[1][:, 1:])

    train(model, lambda rng: digits(rng, 32, rng.integers(2, 13)), loss_of, steps, 5e-3, seed)
    return model


def write(model, x):
    """As many digits as were read, the most probable each time: (n, length)."""
    rows = np.full((len(x), 1), 10)
    with mg.no_grad():
        memory = model.encode(x)
        for _ in range(x.shape[1]):
            rows = np.concatenate(
                [rows, model.decode(rows, memory).data[:, -1].argmax(axis=-1)[:, None]], axis=1
            )
    return rows[:, 1:]


tested = np.arange(2, 17, 2)


def exact_by_length(model):
    """The percentage of 200 sequences of each tested length that are right as a whole."""
    return np.array(
        [
            100 * (write(model, x) == y[:, 1:]).all(axis=1).mean()
            for x, y in (digits(np.random.default_rng(9), 200, n) for n in tested)
        ]
    )


SEEDS = range(3)
exact = {}  # each (seeds, lengths)
for M in sized((32, 64), (32,), "as vector's size M"):
    exact[f"no attention, M = {M}"] = np.array([exact_by_length(reversing(M, False, seed)) for seed in SEEDS])

# %%
for steps in sized((2 * STEPS,), (), "as more steps"):
    longer = [exact_by_length(reversing(32, False, seed, steps)) for seed in SEEDS]
    exact[f"no attention, M = 32, {steps} steps"] = np.array(longer)

# %%
exact["attention, M = 32"] = np.array([exact_by_length(reversing(32, True, seed)) for seed in SEEDS])

fig, ax = figure(7.0, 3.8)
for i, (name, found) in enumerate(exact.items()):
    ax.plot(tested, found.mean(axis=0), label=name, marker="os^D"[i], markersize=5, **line(i))
    ax.fill_between(
        tested, found.min(axis=0), found.max(axis=0), color=line(i)["color"], alpha=0.15, linewidth=0
    )
ax.axvline(12.5, color="0.35", linewidth=1, linestyle=":")
ax.text(12.6, 103, "longer than in training", fontsize=9, color="0.25", va="bottom")
ax.set_xlabel("how many digits are to be written backwards")
ax.set_ylabel("right as a whole (%; mean and range of 3 seeds)")
ax.legend(loc="lower left")
fig

# %%
at = {n: int(np.flatnonzero(tested == n)[0]) for n in (4, 8, 12, 16)}
with_attention, without = exact["attention, M = 32"], exact["no attention, M = 32"]
half = {name: [tested[row >= 50].max(initial=0) for row in found] for name, found in exact.items()}
assert paired(with_attention[:, at[8]], without[:, at[8]]).mean > 10
assert all(np.mean(half[name]) < np.mean(half["attention, M = 32"]) for name in half if "no" in name)
table(
    [
        "model", *(f"{n} digits" for n in at), "8 digits, against the first row",
        "8 digits, against attention", "half is right up to (each seed)",
    ],
    [
        (
            name, *(f"{found[:, i].mean():.0f} %" for i in at.values()),
            "" if found is without else paired(found[:, at[8]], without[:, at[8]], 0),
            "" if name == "attention, M = 32" else paired(found[:, at[8]], with_attention[:, at[8]], 0),
            " ".join(str(n) for n in half[name]),
        )
        for name, found in exact.items()
    ],
)

# %% [markdown]
# Without attention the answers fall apart as the sequence grows. Doubling the width, or the training, helps at eight digits by 20 to 25 points, and moves the length up to which half is right from 6 to 8 for one seed of three. It does not remove the cliff: compare the models with attention. It is not that the numbers could not hold it: 64 numbers of 32 bits (the last states of both readers) hold far more than 12 digits. But the network must *learn* to pack any 12 digits into one vector and to unpack them in order, and the gradient that should teach it fades (section 3). With attention there is nothing to pack.
#
# Beyond the trained lengths attention gets worse too: it has learned where to look for up to twelve digits.
#
# ## 6 · Experiment: dates, with and without attention
#
# The same two networks on a task that looks more like language: dates as people write them, in sixteen forms (*Monday, May 20th, 2002*; *20.05.02*; …), to ISO 8601 (*2002-05-20*). No date of the test occurs in training. $M = 48$.

# %%
task = dates()
objective = Translation(task, CharTokenizer(PAD + BEGIN + END + "".join(sorted(set(task.text()) - {"\n"}))))
check_on, test = task.sample("validation", 100), task.sample("test", sized(500, 200, "test dates"))
DATE_STEPS, BATCH = sized(300, 200, "steps"), sized(32, 16, "dates in a batch")


def right(model, pairs):
    model.eval()
    result = exact_match(
        translate(model, objective.codec, [pair.source for pair in pairs]), [pair.target for pair in pairs]
    )
    model.train()
    return result


def learn(attention, seed):
    """A model trained on dates, its curve (in %), the percentage of the test that is right, its losses."""
    mg.manual_seed(seed)
    model = Seq2SeqRNN(objective.codec.tokenizer.vocab_size, 32, 48, attention=attention, max_length=64)
    curve = []

    def watch(step):
        if step % (DATE_STEPS // 5) == 0:
            curve.append(100 * right(model, check_on).rate)

    losses = train(
        model, lambda rng: objective.batch(rng, BATCH), objective.loss, DATE_STEPS, 6e-3, seed, watch
    )
    return model, curve, 100 * right(model, test).rate, losses


learned = {"no attention": [learn(False, seed) for seed in SEEDS]}

# %%
learned["attention"] = [learn(True, seed) for seed in SEEDS]
results = {name: np.array([result for _, _, result, _ in runs]) for name, runs in learned.items()}
model = learned["attention"][0][0]
fig, ax = figure(6.6, 3.4)
at = np.arange(1, 6) * DATE_STEPS // 5
for i, (name, runs) in enumerate(learned.items()):
    curves = np.array([curve for _, curve, _, _ in runs])
    ax.plot(at, curves.mean(axis=0), marker="os"[i], markersize=5, label=name, **line(i))
    ax.fill_between(
        at,
        curves.min(axis=0),
        curves.max(axis=0),
        color=line(i)["color"],
        alpha=0.15,
        linewidth=0,
    )
ax.set_xlabel(f"training step ({BATCH} dates each)")
ax.set_ylabel("unseen dates right (%; mean and range of 3 seeds)")
ax.set_ylim(0, 102)
ax.legend()
assert results["attention"].mean() > results["no attention"].mean() + 10
fig

# %%
fifths = np.array([np.reshape(losses, (5, -1)).mean(axis=1) for *_, losses in learned["no attention"]])
assert np.all(fifths[:, 4] < fifths[:, 3])  # still learning
print("no attention, loss in the last but one fifth of the training and in the last, each seed:",
      "; ".join(f"{before:.2f} → {last:.2f}" for before, last in fifths[:, 3:]))
print("attention − no attention, in points:", paired(results["attention"], results["no attention"], 0))
table(
    ["model", f"exact match on {len(test)} unseen dates, each seed"],
    [(name, "  ".join(f"{rate:.1f} %" for rate in rates)) for name, rates in results.items()],
)

# %% [markdown]
# A date is short. The model without attention is still learning when we stop (its loss still falls), so one vector may yet learn to hold a date. With attention the same training gets much further: looking is easier to learn than packing.
#
# **The alignment map.** The weights $\alpha_{ij}$ of a row add up to 1, and can be looked at: a row for each token of the target (it asks), a column for each token of the source (it is looked at). Nobody told the model which characters belong together.

# %%
model.eval()
source = next(
    p.source
    for p in test
    if "," in p.source
    and 18 < len(p.source) < 26
    and p.source not in (p.source.upper(), p.source.lower())
    and translate(model, objective.codec, [p.source]) == [p.target]
)
(target,) = translate(model, objective.codec, [source])
ids, _ = objective.codec.sources([source])
reads, _ = objective.codec.targets([target], -100)
with mg.no_grad(), attention_maps(model) as maps:
    model(ids, None, reads)
(steps,) = maps.values()  # one array (1, 1, 1, S) for each step of the decoder
alignment = np.concatenate([w[0, 0] for w in steps])  # (T, S)
assert alignment.shape == (len(target) + 1, len(source) + 1) and np.allclose(
    alignment.sum(axis=1), 1, atol=1e-5
)

fig, ax = figure(7.2, 4.0)
image = ax.imshow(alignment, vmin=0, vmax=1, cmap="Greys", interpolation="nearest", aspect="auto")
ax.grid(False)
ax.set_xticks(range(len(source) + 1), [*source, "\n⟨end⟩"], parse_math=False)
ax.set_yticks(range(len(target) + 1), [*target, "⟨end⟩"])
ax.tick_params(length=0)
ax.spines[:].set_visible(True)
ax.set_xlabel("source token looked at (key)")
ax.set_ylabel("target token about to be written (query)")
fig.colorbar(image, ax=ax, label="attention weight")
print(f"{source} → {target}")
fig

# %% [markdown]
# The digits of the year are written while looking near the end of the source, those of the day while looking at the day. (A dark square need not stand at the very character that matters: each state of a recurrent network contains its neighbours too.)
#
# ## 7 · What was left to do
#
# Two things remained recurrent: reading and writing go token by token. For a text of $T$ tokens,
#
# | | steps that must wait for one another | longest way between two tokens | multiplications per layer |
# | --- | --- | --- | --- |
# | recurrent layer, width $C$ | $T$ | $T$ | about $T \cdot C^2$ |
# | attention layer, width $C$ | 1 | 1 | about $T^2 \cdot C$, and $T \cdot C^2$ for the projections |
#
# (Vaswani et al., table 1.) If attention can look anywhere from anywhere, why carry a state at all? Let every token look at every other, and drop the recurrence. What one loses is the *order*, which recurrence gave for free; it has to be put back (chapter 07). What one gains is that all tokens are computed at the same time. That is the Transformer.
#
# ## Common misunderstandings
#
# - ***Recurrent networks cannot remember.*** A gate can keep a number for a thousand steps. The difficulty is to *learn* what to keep, through a gradient that fades.
# - ***Clipping the gradient cures vanishing.*** It cures exploding. What is too small to be seen is not made visible by it.
# - ***Attention was invented with the Transformer.*** It came three years earlier, as a part of recurrent networks. New in 2017 was that nothing else was needed.
# - ***The attention weights are the explanation.*** They say where the model looked. The states it looked at contain more than their own token.
# - ***$z$ is the update gate, so $z = 1$ means: take the new.*** Conventions differ. In this library (and PyTorch) $z = 1$ keeps the **old**; in the paper of Cho et al. as well; elsewhere the two are swapped. Read the formula.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★★ · Read in both directions
#
# A word is easier to understand when one knows what follows. Let one plain network read the text forwards and a second one, with weights of its own, read it backwards, and put the two states of each word side by side. The text is padded: of $X: (T, C)$ only the first $n \ge 1$ rows are words. Both begin with the state 0, the second at the **last word**. Rows of padding give zeros.

# %% tags=["exercise"]
def bidirectional(X, n, W, U, b, W2, U2, b2):
    """The states (T, 2M) of both readers, those of W, U, b first; zeros beyond the first n rows."""
    ### BEGIN SOLUTION
    M = len(b)
    out = np.zeros((len(X), 2 * M))
    h = np.zeros(M)
    for t in range(n):
        h = np.tanh(X[t] @ W + h @ U + b)
        out[t, :M] = h
    h = np.zeros(M)
    for t in reversed(range(n)):
        h = np.tanh(X[t] @ W2 + h @ U2 + b2)
        out[t, M:] = h
    return out
    ### END SOLUTION


checks.check_04_bidirectional(bidirectional)

# %% [markdown] tags=["idea"]
# Two loops. The second goes from $t = n - 1$ down to 0 and writes its state to row $t$, so that row $t$ holds what was read up to word $t$ from either side. Reversing the *padded* array would let the second reader begin with padding.

# %% [markdown]
# ### Exercise 2 ★★ · The cell before the GRU
#
# The *long short-term memory* of 1997 has two states, $h$ and $c$, and three gates. With $W: (C, 4M)$, $U: (M, 4M)$ and $b: (4M,)$, whose blocks $i, f, g, o$ lie side by side,
#
# $$i, f, o = \sigma(\cdot), \qquad g = \tanh(\cdot), \qquad c' = f \odot c + i \odot g, \qquad h' = o \odot \tanh(c').$$
#
# Each $(\cdot)$ is its block of $xW + hU + b$. From $x: (B, C)$ and $h, c: (B, M)$: the pair $(h', c')$.

# %% tags=["exercise"]
def lstm_step(x, h, c, W, U, b):
    """The pair of the next states (h (B, M), c (B, M))."""
    ### BEGIN SOLUTION
    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c
    ### END SOLUTION


checks.check_04_lstm_step(lstm_step)

# %% [markdown] tags=["idea"]
# One product for all four blocks, then cut. Compare with the GRU: there $1 - z$ and $z$ add up to 1, here $i$ and $f$ are free, so that $c$ can grow, and the road from $c$ to $c'$ is a product with $f$ alone. (S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), had no $f$; it came with F. Gers et al., "Learning to forget", Neural Computation 12 (2000).)

# %% [markdown]
# ### Exercise 3 ★★ · Attention that remembers where it looked
#
# A decoder that looks at the same place twice translates it twice. A cure is *coverage*: each place $j$ of the source keeps a count $c_j$, the sum of all weights that it has had so far, 0 at the start; and the score sees it, $e_j = v \cdot \tanh(sW + h_jU + c_j\,w)$. Write it for a whole row of decoder states $s: (T, M_s)$, one step after the other, with encoder states $h: (S, M)$, weights $W: (M_s, A)$, $U: (M, A)$, $v, w: (A,)$ and a mask $(S,)$, 1 for tokens and 0 for padding: the pair of the contexts $(T, M)$ and the weights $(T, S)$, for scores of any size.

# %% tags=["exercise"]
def coverage_attention(s, h, W, U, v, w, mask):
    """The pair (contexts (T, M), weights (T, S)) of additive attention with coverage."""
    ### BEGIN SOLUTION
    keep, cover, alphas = np.asarray(mask, bool), np.zeros(len(h)), []
    for state in s:
        e = np.tanh(state @ W + h @ U + cover[:, None] * w) @ v
        e = np.where(keep, e, -np.inf)
        p = np.exp(e - e.max())
        alpha = p / p.sum()
        alphas.append(alpha)
        cover = cover + alpha
    alphas = np.stack(alphas)
    return alphas @ h, alphas
    ### END SOLUTION


checks.check_04_coverage_attention(coverage_attention)

# %% [markdown] tags=["idea"]
# A loop over the states; inside it is section 4 with one term more: broadcasting adds $sW$ to every row, and $c_j w$ to row $j$. The weights of a step are added to the counts *after* they have been used. There is no $\sqrt D$ here: $\tanh$ keeps the sizes in check. (Z. Tu et al., "Modeling coverage for neural machine translation", ACL 2016; A. See et al., "Get to the point", ACL 2017, against repeated words.)

# %% [markdown]
# ### Exercise 4 ★★★ · Backward through time
#
# Derive one step first, on paper: for $h' = \tanh(xW + hU + b)$, the gradients of $x$, $h$, $W$, $U$ and $b$ from $\bar h'$. Then write the walk back through a **whole** text: for $X: (T, C)$ (no batch), $h_0 = 0$, and an upstream gradient *for every state*, $G: (T, M)$, the gradients of $X$, $W$, $U$ and $b$.

# %% tags=["exercise"]
def rnn_backward(G, X, W, U, b):
    """The four gradients (X_bar, W_bar, U_bar, b_bar) of all states of the RNN, from G (T, M), the upstream gradient of each state."""
    ### BEGIN SOLUTION
    h = [np.zeros(len(U))]
    for x in X:
        h.append(np.tanh(x @ W + h[-1] @ U + b))
    X_bar, W_bar, U_bar, b_bar = np.zeros_like(X), np.zeros_like(W), np.zeros_like(U), np.zeros_like(b)
    later = np.zeros(len(U))  # what the next step sends back
    for t in reversed(range(len(X))):
        a_bar = (G[t] + later) * (1 - h[t + 1] ** 2)
        X_bar[t] = a_bar @ W.T
        W_bar += np.outer(X[t], a_bar)
        U_bar += np.outer(h[t], a_bar)
        b_bar += a_bar
        later = a_bar @ U.T
    return X_bar, W_bar, U_bar, b_bar
    ### END SOLUTION


checks.check_04_rnn_backward(rnn_backward)

# %% [markdown] tags=["idea"]
# Forward first, keeping the states. Then from the last step to the first: the state $h_t$ is used twice, as an output (gradient $G_t$) and by the next step; add both. $\bar a_t = \bar h_t \odot (1 - h_t^2)$, $\bar x_t = \bar a_t W^\top$, and $\bar a_t U^\top$ goes on to $h_{t-1}$. $W$, $U$ and $b$ are used at every step: their gradients add up, $\bar W = \sum_t x_t^\top \bar a_t$, $\bar U = \sum_t h_{t-1}^\top \bar a_t$.

# %% [markdown]
# ## References
#
# - J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990): the plain recurrent network.
# - Y. Bengio, P. Simard, P. Frasconi, "Learning long-term dependencies with gradient descent is difficult", IEEE Transactions on Neural Networks 5 (1994): why the gradient fades.
# - S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997): gates.
# - K. Cho et al., "Learning phrase representations using RNN encoder–decoder for statistical machine translation", EMNLP 2014, section 2.3: the GRU.
# - D. Bahdanau, K. Cho, Y. Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015, section 3 and appendix A.1.2: additive attention; figure 3: alignment maps.
# - R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013: clipping.
# - A. Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.2.1: additive and dot-product attention; table 1: how they compare with recurrence.
#
# **Before:** [03 · Softmax, cross-entropy, layer norm backward by hand](03_softmax_cross_entropy_layer_norm.ipynb). **Next:** [05 · Attention as soft lookup](05_attention_as_soft_lookup.ipynb), where the state is gone and the looking stays.
