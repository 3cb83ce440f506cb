# ---
# jupyter:
#   cover: 3
# ---

# %% [markdown]
# # 12b · What the heads do
#
# *About 60 minutes to read, 60 more for the exercises. You need [06 · Q, K, V and many heads](06_q_k_v_and_many_heads.ipynb) and [08 · The block](08_the_block.ipynb): heads, and the stream that every block adds to. One section reads the model of [16 · Real weights](16_real_weights.ipynb); without the extra `minilm` it is skipped and says so.
# Next: [13 · Bias, measured and reduced](13_bias_measured_and_reduced.ipynb).*
#
# A trained model is a few million numbers that work. *How* do they work? In general nobody knows. But for small models, and for some parts of large ones, the question has an answer that can be checked. Here two heads learn, together, to continue what they have seen before. You build them by hand, watch them appear in training, read them off the weights, and then prove by surgery that they do what their pictures suggest.
#
# **After this chapter you can**
#
# - build an *induction head* from weights that you choose, and say why it needs two layers;
# - write a head as two matrices, where it looks ($W_{QK}$) and what it moves ($W_{OV}$), and read both in terms of tokens;
# - split logits into the parts that each head has added, and read the stream between the blocks (the *logit lens*);
# - test a claim about a model by *ablation* and by *activation patching*, and say what each can and cannot show.

# %%
from itertools import pairwise, permutations

import numpy as np

import checks
import minigrad as mg
from book import COLOURS, draw_matrix, figure, line, recorded, sized, table
from minigrad import optim
from transformer import GPT, attention_maps
from transformer.bias.statistics import over_seeds
from transformer.evaluation.interpretability import (
    captured, composition, copying, direct_logits, entries, head_entries, logit_lens,
    ov_circuit, patched, prefix_matching, previous_token, qk_circuit,
)  # fmt: skip
from transformer.pretrained import load_sentence_encoder

# %% [markdown]
# ## 1 · Two heads on paper
#
# The task: read `⟨s⟩ A B C A` (⟨s⟩ is the mark at the beginning) and say what comes next. No rule of language helps, only the text itself: last time `A` was followed by `B`. So: **find the earlier copy of the present token, and say what came after it.**
#
# One head cannot do it. A head looks for *keys*, and the place to look at is `B`. But nothing in the vector of `B` says that it stands behind an `A`. Somebody has to write that down first. That takes two heads, one after the other:
#
# 1. In layer 0, the **previous-token head**: every position looks at the position before it, and notes which token stands there.
# 2. In layer 1, the **induction head**: the present token looks for a position whose *note* equals it, and copies the token *of that position* to the output.
#
# We choose the weights. The residual stream has four compartments, each with one number per token (or position), all 0 or 1: the token itself, the position, the note ("the token before me"), and the answer. There are $\mathcal V = 4$ tokens and $T = 5$ positions, so the width is $C = 4 + 5 + 4 + 4 = 17$. We write $\mathrm{A}$ for the one-hot vector of the token, $\mathrm{p}_i$ for that of a position, and leave out what is 0.
#
# | position | 0 | 1 | 2 | 3 | 4 |
# | --- | --- | --- | --- | --- | --- |
# | token | ⟨s⟩ | A | B | C | A |
# | position | $\mathrm{p}_0$ | $\mathrm{p}_1$ | $\mathrm{p}_2$ | $\mathrm{p}_3$ | $\mathrm{p}_4$ |
# | head of layer 0 looks at | 0 (there is nothing before) | 0 | 1 | 2 | 3 |
# | and notes | ⟨s⟩ | ⟨s⟩ | A | B | C |
#
# At position 4 the head of layer 1 has the query A. It compares it with the *notes* ⟨s⟩, ⟨s⟩, A, B, C; the scores are
#
# $$(0,\; 0,\; \beta,\; 0,\; 0), \qquad \text{so the weights are}\quad \frac{1}{4 + e^{\beta}}\,(1,\; 1,\; e^{\beta},\; 1,\; 1) .$$
#
# With $\beta = 20$, $e^\beta = 4.85 \cdot 10^8$, and all but $10^{-8}$ of the weight is at position 2. The token there is B; the head copies it to the answer. The logits of (⟨s⟩, A, B, C) are $(0, 0, 1, 0)$, and the model says **B**.
#
# All this is four matrices $(C, C)$. With one row of the stream $x_i$ for each position, a head computes scores $x_i\,W_{QK}\,x_j^\top$ and adds $\sum_j P_{ij}\,x_j\,W_{OV}$:
#
# | | where it looks: $W_{QK}$ has a $\beta$ in | what it moves: $W_{OV}$ has a 1 in |
# | --- | --- | --- |
# | layer 0, previous token | row $\mathrm{p}_i$, column $\mathrm{p}_{i-1}$ | row *token* $v$, column *note* $v$ |
# | layer 1, induction | row *token* $v$, column *note* $v$ | row *token* $v$, column *answer* $v$ |

# %%
def circuits(vocab, T, beta=20.0):
    """The matrices (C, C) of the two heads, C = 3V + T: token, position, note, answer."""
    C = 3 * vocab + T
    ends = (0, vocab, vocab + T, 2 * vocab + T, C)
    token, position, note, answer = (range(start, stop) for start, stop in pairwise(ends))
    qk0, ov0, qk1, ov1 = np.zeros((4, C, C))
    qk0[position[1:], position[:-1]] = beta
    ov0[token, note] = 1
    qk1[token, note] = beta
    ov1[token, answer] = 1
    return qk0, ov0, qk1, ov1


def softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def head(x, qk, ov):  # (T, C) → what it adds (T, C), weights (T, T)
    Z = np.where(np.tri(len(x), dtype=bool), x @ qk @ x.T, -np.inf)
    P = softmax(Z)
    return P @ x @ ov, P


names = ["⟨s⟩", "A", "B", "C"]
ids, vocab, T = np.array([0, 1, 2, 3, 1]), 4, 5
qk0, ov0, qk1, ov1 = circuits(vocab, T)
x = np.zeros((T, 3 * vocab + T))
x[np.arange(T), ids] = x[np.arange(T), vocab + np.arange(T)] = 1  # embedding and position
added, P0 = head(x, qk0, ov0)
after = x + added
answer, P1 = head(after, qk1, ov1)
notes, logits = after[:, vocab + T : 2 * vocab + T], answer[:, 2 * vocab + T :]
assert np.allclose(notes, np.eye(vocab)[[0, 0, 1, 2, 3]], atol=1e-7)
assert np.allclose(P1[4], [0, 0, 1, 0, 0], atol=1e-7)
assert np.allclose(logits[4], [0, 0, 1, 0], atol=1e-7)
rows = []
for i in range(T):
    note = names[notes[i].argmax()]
    rows.append((i, names[ids[i]], P0[i].round(3), note, P1[i].round(3), logits[i].round(3)))
table(["position", "token", "head 0 looks", "its note", "head 1 looks", "logits of (⟨s⟩, A, B, C)"], rows)

# %% [markdown]
# Look at position 1, 2 and 3 too. Their tokens have not occurred before, no note equals them, and all scores are 0: the head spreads its weight over everything. *A head that finds nothing must still look somewhere*, since weights add up to 1. Trained models like to park such weight on the first token, which is called an attention sink.
#
# Now as real weights of the library's GPT, without norm and feed-forward (`norm="none"`, `ffn="none"`), one head in each layer. The library wants $W^Q, W^K, W^V, W^O$; any with the right products will do. We take $W^K = W^O = 1$. Then *every* sequence of the task: all orders of the letters, followed by a letter that is repeated.

# %%
def induction_model(vocab, T):
    C = 3 * vocab + T
    model = GPT(vocab, C, 1, 2, T, norm="none", ffn="none", bias=False, tie_embeddings=False)
    model = model.astype(np.float64)
    qk0, ov0, qk1, ov1 = circuits(vocab, T)
    for layer, qk, ov in zip(model.layers, (qk0, qk1), (ov0, ov1)):
        a = layer.self_attention
        a.q_proj.weight.data = np.sqrt(C) * qk  # the scores are divided by √D, and here D = C
        a.k_proj.weight.data = np.eye(C)
        a.v_proj.weight.data, a.out_proj.weight.data = ov, np.eye(C)
    model.token_embedding.weight.data = np.eye(C)[:vocab]
    model.positions.weight.data = np.eye(C)[vocab : vocab + T]
    model.output.weight.data = np.eye(C)[:, -vocab:]
    return model.eval()


rows = []
for vocab in (4, 5, 7):
    letters = vocab - 1
    orders = [(order, k) for order in permutations(range(1, vocab)) for k in range(letters - 1)]
    texts = np.array([(0, *order, order[k]) for order, k in orders])  # (N, vocab + 1)
    right = np.array([order[k + 1] for order, k in orders])
    with mg.no_grad():
        logits = induction_model(vocab, vocab + 1)(texts).data[:, -1]
    found = (logits.argmax(axis=-1) == right).sum()
    gap = np.abs(logits - np.eye(vocab)[right]).max()
    assert found == len(texts) and gap < 1e-7
    rows.append((letters, f"{len(texts):,}", f"{found:,}", f"{gap:.0e}"))
table(["letters", "sequences", "right", "logits differ from paper by at most"], rows)

# %% [markdown]
# No training, no data, all right. So the mechanism *exists*. Whether gradient descent finds it is another question, for section 4.
#
# ## 2 · Two circuits in each head
#
# Chapter 06 gave a head four matrices. But they always act in pairs. With $Q = xW^Q$, $K = xW^K$ (widths $D$) the scores are $x_i W^Q W^{K\top} x_j^\top/\sqrt D$, and what is added is $\sum_j P_{ij}\, x_j W^V W^O$. So
#
# $$\boxed{W_{QK} = \frac{W^Q W^{K\top}}{\sqrt D}} \qquad \boxed{W_{OV} = W^V W^O} \qquad \text{both } (C, C)\text{, of rank } D \text{ at most.}$$
#
# One decides **where** to look, the other **what** to move, and neither knows of the other. Without norms, everything on the way from tokens to logits is a product of such matrices, and each product can be read in terms of tokens. With $W_E: (\mathcal V, C)$ the embeddings ($E$ in other chapters), $W_P: (T, C)$ the positions ($PE$) and $W_U: (C, \mathcal V)$ the output layer:
#
# | product | shape | row, column: |
# | --- | --- | --- |
# | $W_P\, W_{QK}^{(0)}\, W_P^\top$ | $(T, T)$ | how much position $i$ wants to look at position $j$ |
# | $W_E\, W_{OV}^{(1)}\, W_U$ | $(\mathcal V, \mathcal V)$ | which token is made likely when a token is looked at |
# | $W_E\, W_{QK}^{(1)}\, W_{OV}^{(0)\top}\, W_E^\top$ | $(\mathcal V, \mathcal V)$ | how much token $v$ wants to look at a place whose *note* is token $u$ |
#
# The third one passes through *two* heads. The keys of layer 1 are made from the stream, and a part of the stream was written by layer 0: $x_j + \sum_k P^{(0)}_{jk}\, x_k W_{OV}^{(0)}$. A head that reads what an earlier one wrote **composes** with it: through its keys here (K-composition), or through its queries (Q) or values (V). How much it reads can be measured, as the size of the product compared with the sizes of the factors ($\lVert\cdot\rVert$ is the root of the sum of all squares):
#
# $$\kappa_K = \frac{\lVert W_{OV}^{(0)}\, W_{QK}^{(1)\top} \rVert}{\lVert W_{OV}^{(0)}\rVert\; \lVert W_{QK}^{(1)}\rVert}, \qquad \kappa_Q = \frac{\lVert W_{OV}^{(0)}\, W_{QK}^{(1)} \rVert}{\lVert W_{OV}^{(0)}\rVert\; \lVert W_{QK}^{(1)}\rVert}, \qquad \kappa_V = \frac{\lVert W_{OV}^{(0)}\, W_{OV}^{(1)} \rVert}{\lVert W_{OV}^{(0)}\rVert\; \lVert W_{OV}^{(1)}\rVert} .$$
#
# By hand, with $\mathcal V = 4$: $W_{OV}^{(0)}$ has four ones, so its size is $\sqrt4 = 2$; $W_{QK}^{(1)}$ has four times $\beta$, size $2\beta$. In $W_{OV}^{(0)} W_{QK}^{(1)\top}$ the note of token $v$ meets the note that token $v$ looks for: four times $\beta$, size $2\beta$. So $\kappa_K = 2\beta/(2 \cdot 2\beta) = \tfrac12$. Queries and values read the token and not the note: $\kappa_Q = \kappa_V = 0$.

# %%
vocab, T = 4, 5
model = induction_model(vocab, T)
first, second = (layer.self_attention for layer in model.layers)
writes, qk, ov = ov_circuit(first, 0), qk_circuit(second, 0), ov_circuit(second, 0)
found = {"K": composition(writes, qk.T), "Q": composition(writes, qk), "V": composition(writes, ov)}
assert np.isclose(found["K"], 0.5) and found["Q"] == found["V"] == 0
print("composition by hand-made weights:", found)

E, PE, U = model.token_embedding.weight.data, model.positions.weight.data, model.output.weight.data
AXES = [
    ("position looking", "position looked at"),
    ("token looking", "token in the note"),
    ("token looked at", "token made likely"),
]
products = {
    "where head 0 looks": PE @ qk_circuit(first, 0) @ PE.T,
    "where head 1 looks, through the notes": E @ qk @ writes.T @ E.T,
    "what head 1 moves": E @ ov @ U,
}
fig, axes = figure(9.6, 3.6, 1, 3)
for ax, (title, matrix), (down, across) in zip(axes, products.items(), AXES):
    labels = names if len(matrix) == vocab else [str(i) for i in range(T)]
    draw_matrix(ax, matrix, labels, labels, ".0f", 0, max(1, matrix.max()))
    ax.set(title=title, ylabel=down, xlabel=across)
    ax.title.set_fontsize(10)
fig

# %% [markdown]
# **Question.** Which of the three would have to change for a model that says what came *before* the earlier copy? (Not the first: the note is what is asked for. The head of layer 1 compares the token with the *tokens*, and moves the *note*. But then it also finds itself, and has to be kept from it. Exercise 5 asks for another cousin.)
#
# ## 3 · What a head learns from: four witnesses
#
# Let $\bar y: (T, C)$ be the gradient at the stream behind a head (from the loss), and let the head read $x$. In terms of the two circuits, the backward pass of chapter 05 becomes
#
# $$\bar P = \bar y\, W_{OV}^\top\, x^\top, \qquad \bar Z = P \odot \big(\bar P - \operatorname{rowsum}(\bar P \odot P)\big), \qquad \boxed{\bar W_{OV} = (P x)^\top\, \bar y}, \qquad \boxed{\bar W_{QK} = x^\top\, \bar Z\, x},$$
#
# and from these $\bar W^V = \bar W_{OV} W^{O\top}$, $\bar W^O = W^{V\top} \bar W_{OV}$, $\bar W^Q = \bar W_{QK} W^K/\sqrt D$ and $\bar W^K = \bar W_{QK}^\top W^Q/\sqrt D$.
#
# Read $\bar W_{QK} = x^\top \bar Z\, x$ for the induction head. It can only learn to match notes if there are notes in $x$; and the previous-token head can only learn to write them if somebody reads them. **Each gets a gradient only as far as the other is there already.** That is a reason to expect a long wait, and then a sudden fall. First the formulas, for the last layer of a random model ($H = 3$ heads), against finite differences, the engine, and numbers that PyTorch computed:

# %%
case = recorded("attention_only")
ids, upstream = case["input.input_ids"], case["upstream"]  # (B, T), (B, T, vocab)
p = {key.removeprefix("param."): value for key, value in case.items() if key.startswith("param.")}
H, (vocab, C) = 3, p["token_embedding.weight"].shape
D, (B, T) = C // H, ids.shape
NAMES = {"Q": "q_proj", "K": "k_proj", "V": "v_proj", "O": "out_proj"}
PARTS = {part: f"layers.1.self_attention.{name}.weight" for part, name in NAMES.items()}


def circuit(p, layer, h):
    own = slice(h * D, (h + 1) * D)
    q, k, v, o = (p[f"layers.{layer}.self_attention.{name}.weight"] for name in NAMES.values())
    return q[:, own] @ k[:, own].T / np.sqrt(D), v[:, own] @ o[own]


def forward(p):  # → logits (B, T, vocab), the stream before layer 1 (B, T, C), its weights (H, B, T, T)
    x = p["token_embedding.weight"][ids] + p["positions.weight"][:T]
    for layer in (0, 1):
        before, weights, x = x, [], x.copy()
        for h in range(H):  # all heads read the same stream, and all add to it
            qk, ov = circuit(p, layer, h)
            weights.append(softmax(np.where(np.tri(T, dtype=bool), before @ qk @ before.mT, -np.inf)))
            x += weights[-1] @ before @ ov
    return x @ p["output.weight"], before, weights


logits, x, weights = forward(p)
y_bar = upstream @ p["output.weight"].T  # (B, T, C)
ours = {part: np.zeros((C, C)) for part in "QKVO"}
for h, P in enumerate(weights):
    own = slice(h * D, (h + 1) * D)
    w_q, w_k, w_v = (p[PARTS[part]][:, own] for part in "QKV")
    w_o = p[PARTS["O"]][own]
    P_bar = y_bar @ (w_v @ w_o).T @ x.mT
    Z_bar = P * (P_bar - (P_bar * P).sum(axis=-1, keepdims=True))
    ov_bar, qk_bar = ((P @ x).mT @ y_bar).sum(axis=0), (x.mT @ Z_bar @ x).sum(axis=0)  # summed over the batch
    ours["V"][:, own], ours["O"][own] = ov_bar @ w_o.T, w_v.T @ ov_bar
    ours["Q"][:, own], ours["K"][:, own] = qk_bar @ w_k / np.sqrt(D), qk_bar.T @ w_q / np.sqrt(D)

model = GPT(vocab, C, H, 2, 8, norm="none", ffn="none", bias=False, tie_embeddings=False).astype(np.float64)
model.load_state_dict(p)
output = model(ids)
output.backward(upstream)
engine = dict(model.named_parameters())
gaps = [np.abs(logits - other).max() for other in (output.data, case["output"])]
assert max(gaps) < 1e-12
rows = [("logits", "", f"{np.abs(logits).max():.3f}", "", *(f"{gap:.0e}" for gap in gaps))]
for part, name in PARTS.items():
    difference = np.zeros((C, C))
    for i in np.ndindex(C, C):
        sides = []
        for h in (1e-5, -1e-5):
            moved = p[name].copy()
            moved[i] += h
            sides.append((forward(p | {name: moved})[0] * upstream).sum())
        difference[i] = (sides[0] - sides[1]) / 2e-5
    witnesses = (difference, engine[name].grad.data, case[f"grad.param.{name}"])
    gaps = [np.abs(ours[part] - other).max() for other in witnesses]
    assert gaps[0] < 1e-7 and max(gaps[1:]) < 1e-12
    largest = f"{np.abs(ours[part]).max():.3f}"
    rows.append((f"gradient of W{part}", str((C, C)), largest, *(f"{gap:.0e}" for gap in gaps)))
table(["", "shape", "paper: largest entry", "− finite differences", "− engine", "− PyTorch"], rows)

# %% [markdown]
# ## 4 · Experiment: do they appear by themselves?
#
# The data: a block of $n$ different tokens out of $\mathcal V = 24$ in random order, repeated until $T = 32$ tokens are full; $n$ is 6 to 14, another for each sequence, so that "look $n$ back" is no way out. Only places where the next token *can* be known count: from the second time on.
#
# Two layers of two heads each, width 32, against one layer of the same width. That is the smaller model, so there is a third: one layer with four heads and width 48, which has more parameters than the two layers, and is trained twice as long. Five seeds each; the same seed means the same data.
#
# Two scores for each head, both between 0 and 1:
#
# - **previous token**: the weight that goes to the position before;
# - **prefix matching**: the weight that goes to the places *behind earlier copies* of the present token.
#
# **Predict**, before you look. (1) What can one layer reach? It sees which tokens have occurred, but not what followed what: if it chooses among the $n$ tokens seen with equal chances, the loss is $\ln n$, on average 2.26. (2) What will the curve of two layers look like? (3) Which layer's heads will have which score?

# %%
vocab, T, BLOCK = 24, 32, (6, 14)


def sequences(rng, number):
    """Ids (N, T), and the next ones (N, T), −1 where nobody can know them."""
    n = rng.integers(BLOCK[0], BLOCK[1] + 1, number)
    whole = np.array([np.resize(rng.permutation(vocab)[:k], T + 1) for k in n])
    return whole[:, :-1], np.where(np.arange(T) >= n[:, None], whole[:, 1:], -1)


test_x, test_y = sequences(np.random.default_rng(99), 128)
known = test_y >= 0


def measure(model, x=test_x, y=test_y):  # → loss, share of right answers
    with mg.no_grad():
        logits = model(x)
        loss = mg.cross_entropy(logits, y, ignore_index=-1).item()
    return loss, (logits.data.argmax(axis=-1) == y)[y >= 0].mean()


def scores(model, x=test_x):  # → previous token (within the first block), prefix matching: (layers, H) each
    with mg.no_grad(), attention_maps(model) as maps:
        model(x)
    weights, first = [kept[0] for kept in maps.values()], slice(BLOCK[0] + 1)
    both = [(previous_token(w[:, :, first, first]), prefix_matching(w, x)) for w in weights]
    return np.array(both).swapaxes(0, 1)


def train(layers, width, heads, steps, seed):
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = GPT(vocab, width, heads, layers, T, norm="none", ffn="none", bias=False, tie_embeddings=False)
    optimizer = optim.AdamW(model.parameters(), 0.01, weight_decay=0.0)
    schedule = optim.warmup_cosine(0.01, 50, steps, 0.001)
    step = mg.program(lambda x, y: mg.cross_entropy(model(x), y, ignore_index=-1), model)
    curve = []
    for s in range(steps + 1):
        if s % 10 == 0:
            previous, prefix = scores(model, test_x[:32])
            curve.append((s, *measure(model, test_x[:32], test_y[:32]), previous[0].max(), prefix[-1].max()))
        optimizer.lr = schedule(s)
        optimizer.zero_grad()
        step(*sequences(rng, 32))
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
    return model.eval(), np.array(curve)


SIZES = {  # layers, width, heads, steps
    "one layer": (1, 32, 2, sized(500, 250, "steps")),
    "one layer, wider, longer": (1, 48, 4, sized(1000, 500, "steps")),
    "two layers": (2, 32, 2, 500),
}
SEEDS = range(sized(5, 3, "seeds"))
runs = {"two layers": [train(*SIZES["two layers"], seed) for seed in SEEDS]}
models = [model for model, _ in runs["two layers"]]

# %%
runs["one layer"] = [train(*SIZES["one layer"], seed) for seed in SEEDS]

# %%
runs["one layer, wider, longer"] = [train(*SIZES["one layer, wider, longer"], seed) for seed in SEEDS]

# %%
final = {name: np.array([measure(model) for model, _ in found]) for name, found in runs.items()}  # (seeds, 2)
matching = {name: np.array([curve[-1, 4] for _, curve in found]) for name, found in runs.items()}
two, wide = final["two layers"], final["one layer, wider, longer"]
rows = []
for name, sizes in SIZES.items():
    losses, right = final[name].T
    gap = over_seeds(two[:, 0] - losses)
    against = "" if name == "two layers" else f"{gap.value:.2f} [{gap.low:.2f}, {gap.high:.2f}]"
    assert name == "two layers" or (gap.high < -0.9 and matching[name].max() < 0.4)
    size, each = f"{runs[name][0][0].num_parameters():,}", " ".join(f"{loss:.2f}" for loss in losses)
    rows.append((name, size, sizes[-1], f"{losses.mean():.3f}", each, f"{right.mean():.1%}", against))
assert two[:, 0].max() < 0.4 and two[:, 1].min() > 0.9 and wide[:, 1].max() < 0.6
assert matching["two layers"].min() > 0.8
assert runs["one layer, wider, longer"][0][0].num_parameters() > models[0].num_parameters()
seen = np.array([len(set(row)) for row in test_x])  # the tokens of a block, n
chance = np.average(1 / seen, weights=known.sum(axis=1))
print(f"equal chances for all tokens seen: {chance:.1%} right")
for name, found in matching.items():
    print(f"prefix matching at the end, {name}: {found.min():.2f} to {found.max():.2f}")
table(["model", "parameters", "steps", "test loss", "of each seed", "right", "two layers − this, 95 %"], rows)

# %%
fig, (left, right) = figure(9.6, 3.9, 1, 2)
for i, name in enumerate(SIZES):
    for seed, (_, curve) in enumerate(runs[name]):
        left.plot(curve[:, 0], curve[:, 1], label=name if seed == 0 else None, linewidth=1.2, **line(i))
mean_log = np.log(np.arange(BLOCK[0], BLOCK[1] + 1)).mean()
for value, name in ((np.log(vocab), "all tokens alike"), (mean_log, "all tokens seen alike")):
    left.axhline(value, color="0.35", linewidth=1, linestyle=":")
    left.text(1000, value, name, ha="right", va="bottom", fontsize=9, color="0.25")
left.set(xlabel="training step", ylabel="test loss (nats), five seeds each", ylim=(0, 3.6))
left.legend(loc="center right", bbox_to_anchor=(1, 0.22))
shown = [
    ("previous token, best head of layer 0", "two layers", 3),
    ("prefix matching, best head of layer 1", "two layers", 4),
    ("prefix matching, one layer", "one layer", 4),
]
for i, (label, name, column) in enumerate(shown):
    for seed, (_, curve) in enumerate(runs[name]):
        right.plot(curve[:, 0], curve[:, column], label=None if seed else label, linewidth=1.2, **line(i))
right.set(xlabel="training step", ylabel="score (share of a head's weight)")
right.set(ylim=(0, 1.35), yticks=np.arange(0, 1.1, 0.2))
right.legend(fontsize=8, loc="upper left")
fig

# %%
def halfway(steps, values):
    """The first step at which they are halfway from the first value to the extreme that they reach."""
    end = values.max() if values[-1] > values[0] else values.min()
    return int(steps[np.argmax(np.abs(values - values[0]) >= abs(end - values[0]) / 2)])


rows, later = [], []
for seed, (_, curve) in enumerate(runs["two layers"]):
    fall, note, match = (halfway(curve[:, 0], curve[:, column]) for column in (1, 3, 4))
    before, behind = (float(np.interp(fall + step, curve[:, 0], curve[:, 1])) for step in (-30, 30))
    rows.append((seed, note, match, fall, f"{before:.2f} → {behind:.2f}"))
    later.append((note - fall, match - fall))
    assert abs(match - fall) <= 50 and abs(note - fall) <= 90 and before - behind > 0.8
halfway_of = ("previous token", "prefix matching", "loss")
for name, steps in zip(halfway_of, np.transpose(later)):
    gap = over_seeds(steps)
    print(f"{name} halfway, steps after the loss: {gap.value:+.0f} [{gap.low:+.0f}, {gap.high:+.0f}]")
table(["seed", *(f"{name} halfway" for name in halfway_of), "loss 30 steps before → after"], rows)

# %% [markdown]
# (1) One layer chooses among what it has seen, better than by equal chances (26 % right against 11 %), and far from all. With more parameters and more steps it goes on falling, slowly and without a cliff, by other and weaker means that we have not looked into: its heads never match prefixes. (2) Two layers stay beside it for a hundred steps and then fall off a cliff. (3) At that very time the heads of layer 1 begin to match prefixes, and those of layer 0 are halfway to looking one back some 30 steps later. In large language models the same happens early in training, as a bump in the loss curve, and it is the time at which they learn to use their context (Olsson et al., 2022).
#
# ## 5 · Reading the heads
#
# What do the heads look at? One sequence with a block of $n = 10$, the four heads of one model:

# %%
model, n = models[0], 10
text = np.resize(np.random.default_rng(7).permutation(vocab)[:n], 24)
with mg.no_grad(), attention_maps(model) as maps:
    model(text[None])
fig, axes = figure(10.4, 3.3, 1, 4, sharey=True)
for k, ax in enumerate(axes):
    layer, h = divmod(k, 2)
    image = draw_matrix(ax, maps[f"layers.{layer}.self_attention"][0][0, h], low=0, high=1)
    ax.set_title(f"layer {layer}, head {h}")
    for start in (n, 2 * n):
        ax.axhline(start - 0.5, color=COLOURS[1], linewidth=0.8)
        ax.axvline(start - 0.5, color=COLOURS[1], linewidth=0.8)
    ax.set_xlabel("position looked at")
axes[0].set_ylabel("position looking")
fig.colorbar(image, ax=axes, label="attention weight", shrink=0.8)
fig

# %% [markdown]
# Layer 1 draws a line $n - 1$ places below the diagonal: each token looks at what followed its last copy. (After two blocks there are two copies, and two lines.) Layer 0 draws the line just below the diagonal, *but only at the top*: as far as the longest block of the training data goes, where notes have to be taken. Later nobody needs them, the loss does not ask for them, and the heads do something else:

# %%
beside = []  # of each seed, (T − 1,): the weight on the position before, by position; the better head
for model in models:
    with mg.no_grad(), attention_maps(model) as maps:
        model(test_x)
    beside.append(np.diagonal(maps["layers.0.self_attention"][0], -1, 2, 3).mean(axis=0).max(axis=0))
soon, late = BLOCK[0], 2 * BLOCK[1] - 7
early, later = np.array([(row[:soon].mean(), row[late - 1 :].mean()) for row in beside]).T
gap = over_seeds(early - later)
print(f"weight on the position before: up to {soon}, {early.mean():.2f}; from {late} on, {later.mean():.2f}")
print(f"difference {gap.value:.2f} [{gap.low:.2f}, {gap.high:.2f}]")
assert gap.low > 0.3 and early.min() > 0.5 and later.max() < 0.3

# %% [markdown]
# *A head is what the data made of it, not what its name promises.* A score over all positions would have called this a poor previous-token head.
#
# Now the weights alone, without any text. The three products of section 2, in the same model:

# %%
model = models[0]
first, second = (layer.self_attention for layer in model.layers)
E, PE, U = model.token_embedding.weight.data, model.positions.weight.data, model.output.weight.data
best = int(scores(model)[0][0].argmax())
h = int(scores(model)[1][1].argmax())
notes = sum(ov_circuit(first, k).T for k in (0, 1))
products = {
    f"layer 0, head {best}: looks": PE @ qk_circuit(first, best) @ PE.T,
    f"layer 1, head {h}: looks (notes)": E @ qk_circuit(second, h) @ notes @ E.T,
    f"layer 1, head {h}: moves": E @ ov_circuit(second, h) @ U,
}
fig, axes = figure(10.4, 3.6, 1, 3)
for ax, (title, matrix), (down, across) in zip(axes, products.items(), AXES):
    limit = np.abs(matrix).max()
    image = draw_matrix(ax, matrix, low=-limit, high=limit, cmap="cividis_r")
    ax.set(title=title, ylabel=down, xlabel=across)
    ax.title.set_fontsize(9)
    fig.colorbar(image, ax=ax, shrink=0.7, label="logit" if "moves" in title else "score")
fig

# %% [markdown]
# The same pictures as by hand, with noise. (The first one is sharp only as far as notes are needed.) Are the two diagonals in the $(\mathcal V, \mathcal V)$ pictures an accident of this seed? For each of the five models: how many of the 24 tokens look most at places whose note is themselves; how many are copied when looked at; the *copying score* $\sum \operatorname{Re}\lambda_i / \sum |\lambda_i|$ over the eigenvalues of $W_E W_{OV} W_U$, which is 1 for a matrix that only raises what it is given; and the compositions of all four pairs of heads. Two random heads of these sizes compose with about $1/\sqrt C = 0.18$.

# %%
rows, kappas = [], []
for seed, model in enumerate(models):
    first, second = (layer.self_attention for layer in model.layers)
    E, U = model.token_embedding.weight.data, model.output.weight.data
    ovs0 = [ov_circuit(first, h) for h in (0, 1)]
    qks1, ovs1 = ([of(second, h) for h in (0, 1)] for of in (qk_circuit, ov_circuit))
    look = sum(E @ qk @ ov.T @ E.T for qk in qks1 for ov in ovs0)
    move = sum(E @ ov @ U for ov in ovs1)
    reads = [[qk.T for qk in qks1], qks1, ovs1]  # keys, queries, values
    kappas.append([np.mean([composition(ov, reader) for ov in ovs0 for reader in pair]) for pair in reads])
    own_note, own_copy = ((matrix.argmax(axis=1) == np.arange(vocab)).sum() for matrix in (look, move))
    shares = f"{own_note} of {vocab}", f"{own_copy} of {vocab}", f"{copying(move):.2f}"
    rows.append((seed, *shares, *(f"{k:.2f}" for k in kappas[-1])))
    assert own_note >= 22 and own_copy >= 22 and copying(move) > 0.9
kappas = np.array(kappas)  # (seeds, 3)
rng = np.random.default_rng(0)
pairs = rng.normal(size=(100, 2, 32, 16)) @ rng.normal(size=(100, 2, 16, 32))  # of rank 16, as the heads' are
random_heads = [composition(*pair) for pair in pairs]
for k, letter in ((1, "Q"), (2, "V")):
    gap = over_seeds(kappas[:, 0] - kappas[:, k])
    print(f"K-composition − {letter}-composition: {gap.value:.3f} [{gap.low:.3f}, {gap.high:.3f}]")
    assert gap.low > 0.05
print(f"random heads: {np.mean(random_heads):.3f} (spread {np.std(random_heads):.3f})")
assert kappas[:, 0].min() > np.mean(random_heads) + 0.02 and kappas[:, 1:].max() < np.mean(random_heads)
table(["seed", "own note first", "copied", "copying score", "K-composition", "Q", "V"], rows)

# %% [markdown]
# Keys read what layer 0 wrote, more than chance would have it; queries and values read it *less*. It is the circuit of section 1, found by gradient descent, five times out of five.
#
# ## 6 · Experiment: surgery
#
# So far we have *looked*. Maps and matrices show what could be; whether the model's answers depend on it is another question. The library lets you stand between its modules. A **site** is a module's name, for what it returns, or its name and `.input`:
#
# - `with captured(model, "layers.0") as seen:` keeps what passes there;
# - `with patched(model, {"layers.0": value}):` puts something else in its place: an array, a Tensor, or a function of what would have passed. `entries(value, index)` replaces a part only.
#
# Two tests that such a tool must pass: an activation replaced by itself changes nothing; and if *all* that follows depends on is replaced by that of another run, the logits are those of the other run, to the last bit.

# %%
HEADS = "layers.{}.self_attention.out_proj.input"  # the outputs of a layer's heads, side by side
model, other_x = models[0], sequences(np.random.default_rng(5), 128)[0]
with mg.no_grad():
    with captured(model, "layers.0", "layers.0.input", HEADS.format(1)) as seen:
        plain = model(test_x).data
    with patched(model, {"layers.0": seen["layers.0"], HEADS.format(1): seen[HEADS.format(1)]}):
        again = model(test_x).data
    with patched(model, {"layers.0": seen["layers.0"]}):
        swapped = model(other_x).data  # other tokens go in, and layer 1 gets the stream of the test's
assert np.array_equal(again, plain) and np.array_equal(swapped, plain)
assert not np.allclose(model(other_x).data, plain)
print("own activations: the same logits; all of another run's: that run's logits. Both to the last bit.")

# %% [markdown]
# **Ablation** switches something off and looks what breaks. What to put in its place? Zero is simple, but it is nothing that the rest of the model has ever met; the *mean* over many inputs takes away only what depends on this one. **Path patching** is finer: it changes what one reader sees, and leaves the stream alone for everybody else. We give the keys (or the queries, or the values) of layer 1 the stream as it was *before* layer 0.
#
# **Predict** the order: without one head of layer 0; without one of layer 1; without both of a layer; keys, queries, values without the work of layer 0.

# %%
def damage(model, patches):
    with patched(model, patches):
        return measure(model)[0]


surgeries = {}
for model in models:
    with mg.no_grad(), captured(model, "layers.0.input", HEADS.format(0), HEADS.format(1)) as seen:
        model(test_x)
    surgery = {"nothing": {}}
    for layer, order in enumerate((scores(model)[0][0], scores(model)[1][1])):
        site, a = HEADS.format(layer), model.layers[layer].self_attention
        mean = np.broadcast_to(seen[site].data.mean(axis=0), seen[site].shape)
        for word, h in (("better", order.argmax()), ("other", order.argmin())):
            surgery[f"the {word} head of layer {layer}: zero"] = {site: entries(0.0, head_entries(a, h))}
            surgery[f"the {word} head of layer {layer}: mean"] = {site: entries(mean, head_entries(a, h))}
        surgery[f"both heads of layer {layer}: mean"] = {site: mean}
    for letter, name in (("k", "keys"), ("q", "queries"), ("v", "values")):
        site = f"layers.1.self_attention.{letter}_proj.input"
        surgery[f"{name} of layer 1 without the work of layer 0"] = {site: seen["layers.0.input"]}
    for name, patches in surgery.items():
        surgeries.setdefault(name, []).append(damage(model, patches))
surgeries = {name: np.array(losses) for name, losses in surgeries.items()}
rows = []
for name, losses in surgeries.items():
    gap = over_seeds(losses - surgeries["nothing"])
    more = "" if name == "nothing" else f"{gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"
    rows.append((name, f"{losses.mean():.2f}", " ".join(f"{loss:.2f}" for loss in losses), more))
table(["changed", "test loss", "of each seed", "more than unchanged, 95 % interval"], rows)

# %%
base, one = surgeries["nothing"], surgeries["the better head of layer 1: mean"]
twins = surgeries["both heads of layer 1: mean"]
assert (surgeries["keys of layer 1 without the work of layer 0"] > 3).all()
for name in ("queries", "values"):
    assert (surgeries[f"{name} of layer 1 without the work of layer 0"] < base + 0.6).all()
assert (twins > 2).all() and (one < 0.4 * twins).all()
assert (surgeries["both heads of layer 0: mean"] > 2).all()
alone, together = over_seeds(one - base), over_seeds(twins - base)
print(f"loss without the better induction head: {alone.value:+.2f} nats; without both: {together.value:+.2f}")

# %% [markdown]
# - **Keys carry the circuit.** Take the notes away from the keys of layer 1 and the model is worse than guessing: it still *looks for* notes, and finds noise. Queries and values hardly need them. What composition scores suggested is now a cause.
# - **Two heads do the same job**, so the loss of one costs little: the other stands in. Whoever ablates heads one at a time, and concludes from small damage that a head does nothing, would have missed the induction heads of this model altogether.
#
# ## 7 · What each part adds, and a lens
#
# The stream at the end is a *sum*: embedding and position, plus what each head has added. The output layer is linear, so the logits are a sum as well, and each part has logits of its own: **direct logit attribution**. With a norm before the output layer the same holds if the norm's scale is kept at its value (exercise 3).
#
# The **logit lens** is the running total: read the stream after each block as if it were the last. Here is how sure the lens is of the right token, and which part has raised its logit, averaged over all places of the test where it can be known:

# %%
lens_p, parts_of = [], []
for model in models:
    right = np.maximum(test_y, 0)[..., None]
    lens = logit_lens(model, test_x)
    lens_p.append([np.take_along_axis(softmax(z), right, -1)[..., 0][known].mean() for z in lens.values()])
    parts = direct_logits(model, test_x)
    assert np.allclose(sum(parts.values()), lens["layers.1"], atol=1e-3)
    parts = {name: z for name, z in parts.items() if not name.endswith("ffn")}  # here it adds zeros
    above = [np.take_along_axis(z, right, -1)[..., 0] - z.mean(axis=-1) for z in parts.values()]
    parts_of.append([z[known].mean() for z in above])
named = [name.replace("layers.", "layer ").replace(".head", ", head") for name in parts]
lens_p, parts_of = np.array(lens_p), np.array(parts_of)
fig, (left, right) = figure(9.4, 3.3, 1, 2)
stages = ["embedding", "after layer 0", "after layer 1"]
for i, row in enumerate(lens_p):
    left.plot(stages, row, marker="o", markersize=4, linewidth=1, **line(i), label=f"seed {i}")
left.axhline(1 / vocab, color="0.35", linewidth=1, linestyle=":")
left.text(0, 1 / vocab, "all tokens alike", va="bottom", fontsize=9, color="0.25")
left.set(ylabel="probability of the right token", xlabel="where the lens reads", ylim=(0, 1.05))
left.legend(fontsize=8)
right.barh(named, parts_of.mean(axis=0), color=COLOURS[0])
for i, column in enumerate(parts_of.T):
    right.plot(column, [i] * len(column), "k.", markersize=5)
right.invert_yaxis()
right.set(xlabel="logit of the right token, above the mean of all\n(bar: mean; dots: seeds)")
fig

# %%
for stage, p in zip(stages, lens_p.mean(axis=0)):
    print(f"the lens, {stage}: {p:.3f} on average")
gap = over_seeds(lens_p[:, 1] - lens_p[:, 0])
print(f"after layer 0 − embedding: {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]")
added = parts_of[:, -2:].sum(axis=1) / parts_of.sum(axis=1)
print(f"share of the logit that the heads of layer 1 add: {added.min():.1%} to {added.max():.1%}")
assert lens_p[:, :2].max() < 0.15 and lens_p[:, 2].min() > 0.8 and added.min() > 0.9

# %% [markdown]
# Seen through the lens, layer 0 does *next to nothing*: the right token is hardly more likely after it than before, and its direct part in the logits is about 0. Yet section 6 has shown that without layer 0 all is lost. Its work is written for the keys of layer 1, not for the output. **Direct attribution and the lens see only what already speaks the language of the output.**
#
# ## 8 · Activation patching: where is it, and when?
#
# Ablation asks whether something is *needed*. Patching asks *where a certain piece of information is*. Take pairs of inputs that differ in one token only, such that the right answer depends on it. In the **clean** run the present token has an earlier copy; in the **corrupted** one that copy is replaced by a token that occurs nowhere else. Then run the corrupted input with *one* vector of the stream, at one position and one depth, taken from the clean run. How much of the answer comes back?
#
# $$\text{restored} = \frac{m(\text{patched}) - m(\text{corrupted})}{m(\text{clean}) - m(\text{corrupted})}, \qquad m = \log p(\text{right token at the last position}).$$
#
# 0 is nothing, 1 is everything. **Predict** the picture: the copy stands at position 4, what followed it at position 5, and the present token at position 13.

# %%
n, copy, last = 9, 4, 13  # the present token, at position 13 = 9 + 4, has its copy at position 4
rng = np.random.default_rng(11)
drawn = np.array([rng.permutation(vocab)[: n + 1] for _ in range(100)])  # the last: one that occurs nowhere
clean = np.concatenate([drawn[:, :n], drawn[:, : last - n + 1]], axis=1)  # (100, last + 1)
corrupted = clean.copy()
corrupted[:, copy] = drawn[:, n]
right = drawn[:, copy + 1]
SITES = {"embedding": "layers.0.input", "after layer 0": "layers.0", "after layer 1": "layers.1"}


def m(model, x):
    with mg.no_grad():
        log_p = mg.log_softmax(model(x)[:, -1]).data
    return log_p[np.arange(len(x)), right].mean()


def restored(model):
    with mg.no_grad(), captured(model, *SITES.values()) as seen:
        model(clean)
    low, high = m(model, corrupted), m(model, clean)
    grid = np.zeros((len(SITES), last + 1))
    for (i, site), t in ((pair, t) for pair in enumerate(SITES.values()) for t in range(last + 1)):
        with patched(model, {site: entries(seen[site], np.s_[:, t])}):
            grid[i, t] = (m(model, corrupted) - low) / (high - low)
    return grid


grids = np.array([restored(model) for model in models])  # (seeds, 3, last + 1)
fig, ax = figure(9.4, 2.9)
shown = grids.mean(axis=0).round(2) + 0.0  # + 0.0: no "−0.00"
image = draw_matrix(ax, shown, list(SITES), [str(t) for t in range(last + 1)], ".2f", 0, 1)
places = f"copy at {copy}, what followed it at {copy + 1}, present token at {last}"
ax.set(xlabel=f"position whose vector is taken from the clean run ({places})", ylabel="where")
fig.colorbar(image, ax=ax, label="restored", shrink=0.8)
fig

# %%
assert (grids[:, 0, copy] > 0.999).all() and (grids[:, 2, last] > 0.999).all()
assert (grids[:, 1, copy + 1] > 0.8).all()
others = grids.copy()
others[:, [0, 1, 2], [copy, copy + 1, last]] = 0
assert np.abs(others).max() < 0.35 and np.abs(grids[:, 1, copy]).max() < 0.3
noted = grids[:, 1, copy + 1]
print(f"after layer 0, restored at position {copy + 1}: {noted.min():.2f} to {noted.max():.2f}", end="")
print(f"; anywhere else {np.abs(others[:, 1]).max():.2f} at most")

# %% [markdown]
# The information walks down a staircase. In the embeddings it is where the tokens differ, at position 4. After layer 0 it is at position 5: *the note*. After layer 1 it is at the end. That is the circuit of section 1 without a look at a single weight, and this works in models whose weights nobody can read.
#
# ## 9 · In a real model: which bank?
#
# *He sat on the bank of the river* and *he sat on the bank of the city* differ in one word, but for us in two: the bank is not the same bank. Does the model think so too, and from which block on? MiniLM (chapter 16) makes one vector $u$ for each sentence, the mean over its tokens. We need a number for "river or money": $m = u \cdot a - u \cdot b$ with the vectors $a$ of *Water flows along the shore* and $b$ of *Money is kept in an account*. Clean is the river. Then the same picture as before: tokens across, blocks down.

# %%
try:
    encoder = load_sentence_encoder()
except ImportError:
    encoder = None
    print('This section reads MiniLM, which comes with the extra "minilm" (chapter 16), and is skipped.')

MEANINGS = {  # an ambiguous word, and a sentence for each of its meanings
    "bank": ("Water flows along the shore.", "Money is kept in an account."),
    "bat": ("An animal with wings hunts at night.", "A player hits the ball in a game."),
}
PAIRS = [  # clean, corrupted, the ambiguous word
    ("He sat on the bank of the river.", "He sat on the bank of the city.", "bank"),
    ("The bank of the river was muddy.", "The bank of the city was muddy.", "bank"),
    ("The bat flew out of the cave.", "The bat flew out of the hand.", "bat"),
    ("She heard the bat in the cave.", "She heard the bat in the game.", "bat"),
]


class Meaning:
    """m of one pair, and how much of it a patch brings back."""

    def __init__(self, encoder, clean, corrupted, word):
        self.model = encoder.model
        a, b = encoder(MEANINGS[word])
        self.direction = a - b
        self.clean, self.corrupted = (encoder.tokenizer.encode(text)[None] for text in (clean, corrupted))
        self.tokens = [encoder.tokenizer.vocabulary[i] for i in self.clean[0]]
        self.changed = int(np.flatnonzero(self.clean[0] != self.corrupted[0])[0])
        self.word = self.tokens.index(word)
        self.high, self.low = self.m(self.clean), self.m(self.corrupted)

    def m(self, ids):
        with mg.no_grad():
            u = self.model(ids).data[0].mean(axis=0)
        return float(u @ self.direction / np.linalg.norm(u))

    def restored(self, site, value, index):
        with patched(self.model, {site: entries(value, index)}):
            return (self.m(self.corrupted) - self.low) / (self.high - self.low)


if encoder is not None:
    encoder.model.eval()
    blocks = range(len(encoder.model.encoder.layers))
    STREAM = ["encoder.layers.0.input", *(f"encoder.layers.{i}" for i in blocks)]
    MIX = [f"encoder.layers.{i}.self_attention.out_proj.input" for i in blocks]
    meaning = Meaning(encoder, *PAIRS[0])
    with mg.no_grad(), captured(encoder.model, *STREAM, *MIX) as seen:
        encoder.model(meaning.clean)
    places = [np.s_[:, t] for t in range(len(meaning.tokens))]
    stream = np.array([[meaning.restored(site, seen[site], place) for place in places] for site in STREAM])
    each_head = [head_entries(encoder.model.encoder.layers[0].self_attention, h) for h in range(12)]
    heads = np.array([[meaning.restored(site, seen[site], index) for index in each_head] for site in MIX])
    stream, heads = stream.round(2) + 0.0, heads.round(3)
    fig, (left, right) = figure(12.4, 4.6, 1, 2, width_ratios=(1.25, 1))
    depths = ["embedding", *(f"after block {i}" for i in blocks)]
    image = draw_matrix(left, stream, depths, meaning.tokens, ".2f", 0, 1)
    left.tick_params(axis="x", rotation=60)
    left.set(xlabel="token whose vector is taken from the river", title="one vector of the stream")
    fig.colorbar(image, ax=left, label="restored", shrink=0.6)
    limit = np.abs(heads).max()
    rows, columns = [f"block {i}" for i in blocks], [str(h) for h in range(12)]
    image = draw_matrix(right, heads, rows, columns, low=-limit, high=limit, cmap="cividis_r")
    right.set(xlabel="head whose output is taken from the river, at all tokens", title="one head")
    fig.colorbar(image, ax=right, label="restored", shrink=0.6)
else:
    fig = None
fig

# %%
if encoder is not None:
    rows = []
    for pair in PAIRS:
        meaning = Meaning(encoder, *pair)
        with mg.no_grad(), captured(encoder.model, *STREAM) as seen:
            encoder.model(meaning.clean)
        places = (meaning.changed, meaning.word)
        sites = [STREAM[k] for k in (0, 1, 5)]
        at = np.array([[meaning.restored(site, seen[site], np.s_[:, t]) for t in places] for site in sites])
        shares = (f"{changed:.2f} / {word:.2f}" for changed, word in at)
        rows.append((pair[0], meaning.tokens[meaning.changed], pair[2], *shares))
        assert np.abs(at[0] - [1, 0]).max() < 1e-3 and at[1, 1] > 0.08 and at[2, 0] < at[1, 0] < 1
    top = [tuple(map(int, np.unravel_index(i, heads.shape))) for i in np.argsort(-heads, axis=None)[:4]]
    best = ", ".join(f"{place}: {heads[place]:.2f}" for place in top)
    print(f"the four heads that bring back most (block, head): {best}")
    assert {block for block, _ in top} == {0, 5}
    stages = ["restored at each: embedding", "after block 0", "after block 4"]
    shown = table(["clean sentence", "changed", "ambiguous", *stages], rows)
else:
    shown = None
shown

# %% [markdown]
# At first all of the difference is in the word that differs, as it must be. After *one* block a part of it, between an eighth and two fifths in these four pairs, sits at the ambiguous word: the model has looked up which bank it is. (In the right picture two heads of block 0 stand out; those of block 5 mix the tokens before the mean is taken.) And most of it stays where it was, up to the last block, where it is spread over all tokens, since their mean is what counts. So both are true: the meaning of *bank* has changed, and the sentence's vector does not depend on that alone.
#
# Four sentences of our choice are a demonstration, not a sample; and $m$ is one direction of 384. Ask for another difference and you may find another place.
#
# ## Common misunderstandings
#
# - ***Attention shows why the model answered so.*** It shows where a head has looked. What it moved from there is in $W_{OV}$, whether anybody uses it is in later layers, and whether the answer depends on it only an intervention shows.
# - ***Ablation and patching are the same.*** Ablation asks "does it break without it?" and depends on what is put in its place; patching asks "does this piece carry this difference?". Needed and sufficient are two things.
# - ***A head that can be removed without damage does nothing.*** Its twin may stand in for it (section 6).
# - ***What the lens does not see is not there.*** It reads with the output's matrix. Notes for later heads are written in another language (section 7).
# - ***An induction head is a head of layer 1.*** It is a job: match, and copy what followed. It takes a partner in an earlier layer, and the two find each other; in large models there are many of both.
# - ***This explains in-context learning.*** Induction heads are one mechanism for which there is causal evidence in small attention-only models, and correlations in large ones. The step between is an argument, not a proof.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · The score of an induction head
#
# For one head with weights $P: (T, T)$ (causal) on the ids $(T,)$: for each position whose token has occurred *before*, add up the weight at all positions that directly follow an earlier copy. Return the mean over these positions.

# %% tags=["exercise"]
def prefix_score(P, ids):
    """How much of its attention a head gives to what followed earlier copies of the present token."""
    ### BEGIN SOLUTION
    found = []
    for i in range(len(ids)):
        copies = [j for j in range(i) if ids[j] == ids[i]]
        if copies:
            found.append(sum(P[i, j + 1] for j in copies))
    return np.mean(found)
    ### END SOLUTION


checks.check_12b_prefix_score(prefix_score)

# %% [markdown] tags=["idea"]
# A copy at $j < i$ is followed by position $j + 1$. Add up $P_{i,j+1}$ over all copies (there may be several); then take the mean over the positions $i$ that have at least one copy, and only those.

# %% [markdown]
# ### Exercise 2 ★★ · What a head moves, in tokens
#
# From the weights of a whole layer, $W^V, W^O: (C, C)$ with $H$ heads side by side, and $W_E: (\mathcal V, C)$, $W_U: (C, \mathcal V)$: the matrix $(\mathcal V, \mathcal V)$ of head $h$ whose entry $(v, u)$ is how much the logit of token $u$ rises when the head looks at token $v$ with weight 1.

# %% tags=["exercise"]
def token_circuit(w_e, w_v, w_o, w_u, num_heads, h):
    """W_E W_OV W_U (vocab, vocab) of head h."""
    ### BEGIN SOLUTION
    width = w_v.shape[1] // num_heads
    own = slice(h * width, (h + 1) * width)
    return w_e @ w_v[:, own] @ w_o[own] @ w_u
    ### END SOLUTION


checks.check_12b_token_circuit(token_circuit)

# %% [markdown] tags=["idea"]
# Head $h$ owns $D = C/H$ *columns* of $W^V$, since the values of all heads stand side by side, and the same $D$ *rows* of $W^O$, which read them. The product of the two parts is $(C, C)$ and has rank $D$.

# %% [markdown]
# ### Exercise 3 ★★ · Parts of a logit, through a norm
#
# Before the output layer there is now an RMS norm: $\text{logits} = \big(\gamma \odot x / r\big)\, W_U$ with $r = \sqrt{\operatorname{mean}(x \odot x) + \varepsilon}$, and $x = \sum_k x_k$ is the sum of $N$ parts, $(N, C)$. Give each part's logits, $(N, \mathcal V)$, such that they add up to the model's: the scale is that of the whole stream.

# %% tags=["exercise"]
def parts_of_logits(parts, gamma, w_u, eps):
    """(N, C), (C,), (C, vocab) → (N, vocab): the logits of each part, with the norm's scale held fixed."""
    ### BEGIN SOLUTION
    x = parts.sum(axis=0)
    r = np.sqrt((x * x).mean() + eps)
    return parts / r * gamma @ w_u
    ### END SOLUTION


checks.check_12b_parts_of_logits(parts_of_logits)

# %% [markdown] tags=["idea"]
# $r$ is one number, computed from the sum of all parts. With $r$ fixed everything else is linear, so each part goes through it alone. A norm of its own for each part would make all parts equally long, and they would no longer add up.

# %% [markdown]
# ### Exercise 4 ★★ · A patching map
#
# `rest(x)` is the rest of a model: it takes a stream $(T, C)$ and returns the number $m$. You have the streams of a clean and of a corrupted run. For each position $t$: how much is restored when the corrupted stream gets the clean vector at $t$, and only there? Return $(T,)$.

# %% tags=["exercise"]
def patching_map(rest, clean, corrupted):
    """(T,): (m(patched at t) − m(corrupted)) / (m(clean) − m(corrupted))."""
    ### BEGIN SOLUTION
    low, high = rest(corrupted), rest(clean)
    found = np.zeros(len(clean))
    for t in range(len(clean)):
        x = corrupted.copy()
        x[t] = clean[t]
        found[t] = (rest(x) - low) / (high - low)
    return found
    ### END SOLUTION


checks.check_12b_patching_map(patching_map)

# %% [markdown] tags=["idea"]
# For each $t$ a fresh copy of the corrupted stream with one row replaced. Patching the clean run with corrupted vectors is another experiment: it asks what is *needed*, not what is enough.

# %% [markdown]
# ### Exercise 5 ★★★ · Two after, by hand
#
# Change the circuit of section 1: the model is to say what stood **two** places after the earlier copy of the present token. For `⟨s⟩ A B C D A` that is C. The compartments are as in section 1 (token, position, note, answer; $C = 3\,\mathcal V + T$; causal attention without any further division). Return the four matrices of `circuits`. The check tries all orders of the letters.

# %% tags=["exercise"]
def skip_circuits(vocab, T):
    """qk0, ov0, qk1, ov1, each (3V + T, 3V + T): they say what stood two places after the copy."""
    ### BEGIN SOLUTION
    C, beta = 3 * vocab + T, 30.0
    qk0, ov0, qk1, ov1 = np.zeros((4, C, C))
    for i in range(2, T):
        qk0[vocab + i, vocab + i - 2] = beta
    for v in range(vocab):
        ov0[v, vocab + T + v] = 1
        qk1[v, vocab + T + v] = beta
        ov1[v, 2 * vocab + T + v] = 1
    return qk0, ov0, qk1, ov1
    ### END SOLUTION


checks.check_12b_skip_circuits(skip_circuits)

# %% [markdown] tags=["idea"]
# Only the *note* has to change: each position writes down the token two places before it. The induction head then finds the position whose note is the present token, which is two places behind the copy. Position 1 has nothing two places before it; all its scores are 0, and it notes half of ⟨s⟩ and half of itself. That does no harm: against a whole note, with a score of $\beta$, half a note has a weight of only $e^{-\beta/2}$.

# %% [markdown]
# ### Exercise 6 ★★★ · The gradient of where to look
#
# One causal head, $y = P\,x\,W_{OV}$ with $P = \operatorname{softmax}(x\, W_{QK}\, x^\top)$, the future masked. Find $\bar W_{QK}$ from $\bar y: (T, C)$, for scores of any size (think of overflow), without the engine.

# %% tags=["exercise"]
def qk_gradient(y_bar, x, qk, ov):
    """The gradient (C, C) of W_QK."""
    ### BEGIN SOLUTION
    Z = np.where(np.tri(len(x), dtype=bool), x @ qk @ x.T, -np.inf)
    e = np.exp(Z - Z.max(axis=-1, keepdims=True))
    P = e / e.sum(axis=-1, keepdims=True)
    P_bar = y_bar @ (x @ ov).T
    Z_bar = P * (P_bar - (P_bar * P).sum(axis=-1, keepdims=True))
    return x.T @ Z_bar @ x
    ### END SOLUTION


checks.check_12b_qk_gradient(qk_gradient)

# %% [markdown] tags=["idea"]
# Section 3: $\bar P = \bar y\,(x W_{OV})^\top$, then softmax's own gradient, row by row, then $\bar W_{QK} = x^\top \bar Z\, x$ (the scores are $x\,W_{QK}\,x^\top$: the left $x$ comes in transposed in front, the right one behind). The mask needs no term of its own, since $P$ is 0 there.

# %% [markdown]
# ## References
#
# - N. Elhage et al., "A mathematical framework for transformer circuits", Transformer Circuits Thread 2021: attention-only models, QK and OV circuits, composition scores, the copying score, the pair of heads in two layers.
# - C. Olsson et al., "In-context learning and induction heads", Transformer Circuits Thread 2022 (arXiv:2209.11895): prefix matching, the bump in the loss curve, and how strong the evidence is at which size.
# - nostalgebraist, "Interpreting GPT: the logit lens", LessWrong 2020.
# - J. Vig et al., "Investigating gender bias in language models using causal mediation analysis", NeurIPS 2020; K. Meng, D. Bau, A. Andonian, Y. Belinkov, "Locating and editing factual associations in GPT", NeurIPS 2022, section 2: activation patching.
# - K. Wang et al., "Interpretability in the wild: a circuit for indirect object identification in GPT-2 small", ICLR 2023 (arXiv:2211.00593, 2022): path patching, mean ablation, and heads that stand in for others.
# - F. Zhang, N. Nanda, "Towards best practices of activation patching in language models: metrics and methods", ICLR 2024: what a patching result depends on.
# - S. Jain and B. C. Wallace, "Attention is not explanation", NAACL 2019; S. Wiegreffe and Y. Pinter, "Attention is not not explanation", EMNLP 2019.
# - G. Xiao et al., "Efficient streaming language models with attention sinks", ICLR 2024.
#
# **Before:** [12 · Decoding and quality](12_decoding_and_quality.ipynb). **Next:** [13 · Bias, measured and reduced](13_bias_measured_and_reduced.ipynb).
