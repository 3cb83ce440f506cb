# ---
# jupyter:
#   cover: 2
# ---

# %% [markdown]
# # 14b · From next word to assistant, in small
#
# *About 60 minutes to read, 60 more for the exercises. You need the gradient of cross-entropy from [03 · Softmax, cross-entropy, layer norm](03_softmax_cross_entropy_layer_norm.ipynb), a GPT as in [11 · Generating text](11_generating_text.ipynb), and the low-rank adapters of [14 · Doing more with less](14_doing_more_with_less.ipynb), section 9.*
#
# A language model continues texts. Ask it a question, and it may continue with another question, since that is what texts do. An assistant answers. Two steps lead from one to the other, and both only change *what counts*: first the model learns from examples of questions and answers, then from comparisons of two answers. You build both for a model so small that all its possible answers can be listed, so that what each step gains, and what it costs, is computed exactly, not guessed from samples.
#
# **After this chapter you can**
#
# - train on answers only, by a mask over the targets, and say what changes when the prompt counts too;
# - show that fine-tuning forgets, and name two remedies with their prices;
# - derive the DPO loss from a model of how people choose, and its gradient down to the logits;
# - say what β trades, why a preferred answer may become *less* likely, and how much diversity and drift a reward costs.

# %%
import io
import math
from itertools import product

import numpy as np

import checks
import minigrad as mg
from book import COLOURS, figure, line, table
from transformer import GPT, LanguageModelling, Trainer
from transformer.bias.statistics import over_seeds
from transformer.compression import add_adapters
from transformer.data.corpora import IGNORE_INDEX
from transformer.training.instructions import Instructions, Rows, collate, log_probability
from transformer.training.objectives import Penalised
from transformer.training.preference import PreferenceBatch, Preferences
from transformer.training.settings import Settings

# %% [markdown]
# ## 1 · A small world, and a model of its texts
#
# The world has 24 animals, eight of each kind. Its texts say what an animal is, who saw whom, and, now and then, ask a question, which nobody answers. Every document ends with ⟨end⟩.

# %%
NAMES = {
    "birds": "crow duck gull hawk kite lark rook wren",
    "beasts": "bear deer fox goat hare lynx mole wolf",
    "fish": "bass carp cod eel perch pike sole tench",
}
KINDS = {kind: names.split() for kind, names in NAMES.items()}
ONE = {"birds": "bird", "beasts": "beast", "fish": "fish"}
KIND_OF = {animal: kind for kind, animals in KINDS.items() for animal in animals}
ANIMALS, OTHERS = list(KIND_OF), "the a is sees fears likes . ? what name three ⟨end⟩"
WORDS = list(dict.fromkeys([*ANIMALS, *ONE.values(), *KINDS, *OTHERS.split()]))
ID = {word: i for i, word in enumerate(WORDS)}
CONTEXT = 24


def encode(text):
    return [ID[word] for word in text.split()]


def decode(ids):
    return " ".join(WORDS[i] for i in ids)


def sight(rng):
    one, other = rng.choice(ANIMALS, 2, replace=False)
    return f"the {one} {rng.choice(['sees', 'fears', 'likes'])} the {other} ."


def fact(rng):
    animal = rng.choice(ANIMALS)
    return f"the {animal} is a {ONE[KIND_OF[animal]]} ."


def question(rng):
    if rng.random() < 0.5:
        return f"what is the {rng.choice(ANIMALS)} ?"
    return f"name three {rng.choice(list(KINDS))} ?"


def document(rng):
    three = [(fact, sight, question)[i](rng) for i in rng.choice(3, 3, p=[0.5, 0.35, 0.15])]
    return " ".join(three) + " ⟨end⟩"


def fit(model, objective, steps, rate, seed, every=None):
    """Train, and return the readings (step, loss on validation data)."""
    options = Settings(steps=steps, batch_size=32, lr=rate, min_lr=rate / 10, warmup=20, weight_decay=0.01,
                       evaluate_every=every or steps, seed=seed)  # fmt: skip
    run = Trainer(model, objective, options, output=io.StringIO())
    run.train()
    return run.validation


def new_model(seed, state=None):
    mg.manual_seed(seed)
    model = GPT(len(WORDS), 32, num_heads=2, num_layers=2, context_length=CONTEXT)
    return model.load_state_dict(state) if state else model


def pretrained(seed):
    """A model of the texts, and the objective that it was trained for."""
    rng = np.random.default_rng(seed)
    ids = np.array(encode(" ".join(document(rng) for _ in range(2000))))
    texts = LanguageModelling(ids[:-2000], ids[-2000:], CONTEXT)
    model = new_model(seed)
    fit(model, texts, 600, 5e-3, seed)
    return model, texts


base, texts = pretrained(0)
print(decode(texts.train_ids[:40]))

# %% [markdown]
# **Predict.** This model knows every fact of its world. What does it say to `name three birds ?`

# %%
def write(model, prompts, rng, tokens=4):
    """Continue prompts (B, T) by so many tokens, drawn from the model's own probabilities."""
    ids = np.asarray(prompts)
    with mg.no_grad():
        for _ in range(tokens):
            logits = model(ids).data[:, -1]  # (B, vocab)
            noise = rng.gumbel(size=logits.shape)  # the largest of logits + noise: a draw from the softmax
            ids = np.concatenate([ids, (logits + noise).argmax(axis=-1)[:, None]], axis=1)
    return ids[:, -tokens:]


known = [(encode(f"⟨end⟩ the {animal} is a"), encode(ONE[KIND_OF[animal]])) for animal in ANIMALS]
rate = Instructions(known, known, CONTEXT).test(base)["exact match"].rate
asked = [encode("the fox sees the cod . name three birds ?")] * 200
said = write(base, asked, np.random.default_rng(0))
answered = [set(KINDS["birds"]) >= set(decode(ids[:3]).split()) for ids in said]
print(f"facts known: {rate:.0%}; of 200 continuations, {np.mean(answered):.0%} name three birds. Three:")
print(*(f"  … name three birds ? → {decode(ids)}" for ids in said[:3]), sep="\n")
assert rate > 0.9 and np.mean(answered) < 0.05

# %% [markdown]
# It continues the text. It was never told that a question is there to be answered.
#
# ## 2 · What counts: a mask over the targets
#
# An example is a **prompt** and an **answer**. Both are one row of tokens, read from left to right, as always. The difference is which targets count. On paper, with the prompt `name three fish ?` and the answer `cod eel pike ⟨end⟩`:
#
# | place | 0 | 1 | 2 | 3 | 4 | 5 | 6 |
# | --- | --- | --- | --- | --- | --- | --- | --- |
# | reads | name | three | fish | ? | cod | eel | pike |
# | says | ~~three~~ | ~~fish~~ | ~~?~~ | **cod** | **eel** | **pike** | **⟨end⟩** |
#
# A prompt of $n$ tokens crosses out $n - 1$ targets: its first token is no target anyway, and the *last* token of the prompt has to say the *first* of the answer. With $\mathcal A$ the places that count, $N$ of them,
#
# $$\mathcal L = -\frac1N \sum_{t \in \mathcal A} \log p_t(y_t), \qquad \bar z_t = \begin{cases} (p_t - \mathbf 1_{y_t}) / N & t \in \mathcal A, \\ 0 & \text{otherwise,} \end{cases}$$
#
# where $z_t$ are the logits at place $t$. This is chapter 03's gradient with rows of zeros. (The tokens of the prompt still learn: gradients reach them through attention, as *inputs*.) In the library a target that does not count is `IGNORE_INDEX`, and `N` counts the others, over the whole batch.

# %%
def answers_only_loss(logits, targets):
    """The mean over places that count, and its gradient; (B, T, vocab), (B, T)."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    counts = targets != IGNORE_INDEX
    one_hot = np.eye(logits.shape[-1])[np.where(counts, targets, 0)]
    loss = -np.log((p * one_hot).sum(axis=-1))[counts].mean()
    return loss, np.where(counts[..., None], p - one_hot, 0) / counts.sum()


pair = encode("name three fish ?"), encode("cod eel pike ⟨end⟩")
rows = collate([pair, (encode("what is the fox ?"), encode("a beast ⟨end⟩"))])
assert rows.targets[0].tolist() == [IGNORE_INDEX] * 3 + pair[1]
logits = mg.Tensor(np.random.default_rng(0).normal(size=(*rows.inputs.shape, len(WORDS))), requires_grad=True)
library = Instructions([pair], [pair], CONTEXT).loss(lambda ids: logits, rows)
library.backward()
loss, logits_bar = answers_only_loss(logits.data, rows.targets)
assert np.isclose(loss, library.item())
mg.compare({"logits": logits.grad}, {"logits": logits_bar})

# %% [markdown]
# ## 3 · Experiment: does it matter whether the prompt counts?
#
# The examples: a sentence of small talk, then one of two questions. `what is the …` has one right answer. `name three …` has many: three animals of the kind, drawn at random, and the same may come twice. **Two animals of each kind are never asked about and never named**, so that six are left: $6^3 = 216$ right answers, and nobody can do better than guess among them, at a surprise of $\ln 216 = 5.375$ nats for an answer.
#
# **Predict.** Most of a prompt cannot be predicted either: who sees whom is drawn at random. When prompts count too, nearly three quarters of the targets are theirs. Does that slow down the learning of answers, spoil its end, or help?

# %%
NEVER_ASKED = {"rook", "wren", "mole", "wolf", "sole", "tench"}
ASKED = {kind: [animal for animal in animals if animal not in NEVER_ASKED] for kind, animals in KINDS.items()}
ALL_ASKED = [animal for animals in ASKED.values() for animal in animals]


def what(rng, animals):
    animal = rng.choice(animals)
    return encode(f"{sight(rng)} what is the {animal} ?"), encode(f"a {ONE[KIND_OF[animal]]} ⟨end⟩")


def name(rng, kind):
    three = " ".join(rng.choice(ASKED[kind], 3))
    return encode(f"{sight(rng)} name three {kind} ?"), encode(f"{three} ⟨end⟩")


def example(rng):
    return what(rng, ALL_ASKED) if rng.random() < 0.5 else name(rng, rng.choice(list(KINDS)))


SEEDS, STEPS, RATE = (0, 1, 2), 300, 3e-3
bases = [(base, texts), *(pretrained(seed) for seed in SEEDS[1:])]
states = [{key: array.copy() for key, array in model.state_dict().items()} for model, _ in bases]
rng = np.random.default_rng(7)
examples, unseen = [example(rng) for _ in range(1000)], [example(rng) for _ in range(200)]
curves, tuned = {"answers count": [], "everything counts": []}, []
for seed in SEEDS:
    for way, readings in curves.items():
        task = Instructions(examples, unseen, CONTEXT, answers_only=way == "answers count")
        model = new_model(seed, states[seed])
        readings.append(fit(model, task, STEPS, RATE, seed, every=20))
        if task.answers_only:
            tuned.append(model)  # goes on to section 4


def interval(values, digits=3):
    """The mean of one number per seed, with its 95 % interval."""
    e = over_seeds(values)
    return f"{e.value:.{digits}f} [{e.low:.{digits}f}, {e.high:.{digits}f}]".replace("-", "−")


choices = sum(len(answer) == 4 for _, answer in unseen) * math.log(216)  # what nobody can foresee
floor = choices / sum(len(answer) for _, answer in unseen)
read = {way: np.array(readings)[:, :, 1] for way, readings in curves.items()}  # (seeds, readings)
behind = read["everything counts"] - read["answers count"]
assert behind[:, -1].min() > -0.01  # in the end nothing is gained from the prompt
fig, ax = figure(6.8, 3.7)
for i, (way, readings) in enumerate(curves.items()):
    for seed, one in enumerate(readings):
        ax.plot(*zip(*one), label=way if seed == 0 else None, **line(i))
ax.axhline(floor, color="0.4", linewidth=1)
ax.text(STEPS, floor - 0.03, "as low as it gets", ha="right", va="top", fontsize=9, color="0.3")
ax.set_xlabel("steps of fine-tuning")
ax.set_ylabel("loss on answers (nats per token)")
ax.set_ylim(bottom=floor - 0.2)
ax.legend()
on_the_way, at_the_end = interval(behind.mean(axis=1)), interval(behind[:, -1])
print(f"prompt counts too: {on_the_way} nats behind on the way, {at_the_end} at the end")
fig

# %% [markdown]
# A model that also learns to predict small talk is behind on the way, and at the end a hundredth of a nat behind, in every seed; neither interval holds 0. Each seed finds the form of an answer at a moment of its own, though, and the curves cross. So the mask makes no much better model of this size. It says what is wanted, and all of the gradient is about that. (Both end close to the line below which nobody gets.)
#
# ## 4 · What fine-tuning forgets
#
# Two animals of each kind were never asked about. The base model knows what they are: it read so, hundreds of times. The examples show how to say it. Does the assistant put the two together?
#
# Two remedies for what you are about to see: **adapters** leave all weights as they are and learn small differences (chapter 14), and **mixing** adds the old loss, on the old texts, to the new one. The library's `Penalised` adds anything to an objective.

# %%
rng = np.random.default_rng(8)
about = {
    "asked about": [what(rng, ALL_ASKED) for _ in range(200)],
    "never asked about": [what(rng, sorted(NEVER_ASKED)) for _ in range(200)],
}
exact = {group: Instructions(pairs, pairs, CONTEXT) for group, pairs in about.items()}
task = Instructions(examples, unseen, CONTEXT)


def adapted(seed):
    model = new_model(seed, states[seed])
    add_adapters(model, rank=4)
    fit(model, task, STEPS, 1e-2, seed)
    return model


def mixed(seed):
    model, old = new_model(seed, states[seed]), bases[seed][1]
    both = Penalised(task, lambda model, rng: old.loss(model, old.batch(rng, 32)))
    fit(model, both, STEPS, RATE, seed)
    return model


ways = {
    "all weights": tuned,
    "adapters of rank 4": [adapted(seed) for seed in SEEDS],
    "all weights, old texts mixed in": [mixed(seed) for seed in SEEDS],
}
right, rows = {}, []
for way, models in ways.items():
    for group, one in exact.items():
        right[way, group] = np.array([one.test(model)["exact match"].rate for model in models])
    text_loss = np.array([old.evaluate(model) for model, (_, old) in zip(models, bases)])
    answer_loss = [task.evaluate(model) for model in models]
    shares = (" ".join(f"{r:.0%}" for r in right[way, group]) for group in exact)
    rows.append((way, interval(answer_loss), *shares, interval(text_loss, 2)))
before = [old.evaluate(model) for model, old in bases]
new = "never asked about"
assert all(right[way, "asked about"].min() > 0.97 for way in ways)
assert right["all weights", new].max() < 0.7 and right["adapters of rank 4", new].min() > 0.9
print(f"loss on the old texts before fine-tuning: {interval(before, 2)} nats per token")
mixing = ways["all weights, old texts mixed in"]
mixed_in = np.array([old.evaluate(model) for model, (_, old) in zip(mixing, bases)])
print(f"with the old texts mixed in, minus before: {interval(mixed_in - before)}")
table(["what learned", "loss on answers", *(f"right: {group}" for group in exact), "loss on old texts"], rows)

# %% [markdown]
# **Asked about what it was asked about in training, every model is right. Asked about the others, the model whose weights all moved guesses**, one kind out of three, although it knew all 24 before. It has learned 18 answers, not how to answer from what it knows, and to it the old texts have become noise. The adapters answer from what the base model knows, in all three seeds; the price is a higher loss on answers, at this rank, rate and number of steps. They do not keep the *texts*: a small difference, added to the weights, changes all that is written. With the old texts mixed in no difference in their likelihood was found (the paired interval holds 0), but whether the knowledge can be *asked* for differs from seed to seed, from all of it to none; three seeds cannot say more.
#
# ## 5 · Which of two answers? DPO, by hand
#
# Examples say what a right answer is. But often many answers are right, and some are better, and to *compare* two is easier than to write one. **Bradley and Terry** modelled comparisons in 1952: each answer has a strength $r(y)$, its *reward*, and the probability that a rater prefers $y$ to $y'$ is
#
# $$P(y \succ y') = \frac{e^{r(y)}}{e^{r(y)} + e^{r(y')}} = \sigma\big(r(y) - r(y')\big), \qquad \sigma(m) = \frac1{1 + e^{-m}} :$$
#
# a softmax over two. Let $\pi(y)$ be the probability that the model answers $y$ (to a prompt that we leave out), and $\pi_{\text{ref}}$ that of the **reference**, the model as it was before. What should be reached is much reward at little drift, measured by the Kullback–Leibler divergence (KL):
#
# $$\max_\pi \;\; \sum_y \pi(y)\, r(y) \;-\; \beta\, \mathrm{KL}(\pi \,\|\, \pi_{\text{ref}}), \qquad \mathrm{KL}(\pi \,\|\, \pi_{\text{ref}}) = \sum_y \pi(y) \ln \frac{\pi(y)}{\pi_{\text{ref}}(y)} .$$
#
# **Where is the maximum?** Call $\pi^*(y) = \pi_{\text{ref}}(y)\, e^{r(y)/\beta} / \mathcal Z$, with $\mathcal Z = \sum_y \pi_{\text{ref}}(y)\, e^{r(y)/\beta}$. Then $r(y) = \beta \ln \frac{\pi^*(y)}{\pi_{\text{ref}}(y)} + \beta \ln \mathcal Z$; put that in:
#
# $$\sum_y \pi(y) \Big(\beta \ln \frac{\pi^*(y)}{\pi_{\text{ref}}(y)} + \beta \ln \mathcal Z - \beta \ln \frac{\pi(y)}{\pi_{\text{ref}}(y)}\Big) = \beta \ln \mathcal Z - \beta\,\mathrm{KL}(\pi \,\|\, \pi^*) .$$
#
# A KL is never negative, and 0 only for equal distributions: **the maximum is $\pi^*$**. So the reward of an answer *is* what the best model does to its likelihood, up to $\beta \ln \mathcal Z$, the same for all answers, which cancels in a difference of rewards. Then no reward has to be learned first. Take for $r$ the model's own $\beta \ln(\pi_\theta/\pi_{\text{ref}})$, and fit *the model* to what raters chose; of a pair, $y_w$ is the answer that won, and $y_l$ the one that lost:
#
# $$\boxed{\mathcal L = -\ln \sigma(m), \qquad m = \beta \Big( \ln \frac{\pi_\theta(y_w)}{\pi_{\text{ref}}(y_w)} - \ln \frac{\pi_\theta(y_l)}{\pi_{\text{ref}}(y_l)} \Big)}$$
#
# This is *direct preference optimisation*, DPO, and $m$ is the **margin**. At the start $\pi_\theta = \pi_{\text{ref}}$, so that $m = 0$ and $\mathcal L = \ln 2$: a coin.
#
# **The gradient.** With $u = \ln \pi_\theta(y)$: $\frac{d}{dm}(-\ln\sigma(m)) = -\sigma(-m)$, hence $\bar u_w = -\beta\,\sigma(-m)$ and $\bar u_l = +\beta\,\sigma(-m)$. A pair pushes as hard as the model is *wrong* about it. And $u = \sum_t \ln p_t(y_t)$ over the places of the answer, so that down at the logits it is the rows of section 2 again:
#
# $$\boxed{\bar z_t = \bar u\, (\mathbf 1_{y_t} - p_t) \text{ where the answer stands, } 0 \text{ elsewhere.}}$$
#
# **On paper.** Three answers of one token each, A, B and C, with $\pi_{\text{ref}} = (\tfrac14, \tfrac14, \tfrac12)$ and now $\pi_\theta = (\tfrac16, \tfrac12, \tfrac13)$; the rater preferred A to B, and $\beta = 1$.
#
# | | A (won) | B (lost) |
# | --- | --- | --- |
# | $\pi_\theta / \pi_{\text{ref}}$ | $\tfrac23$ | $2$ |
#
# $m = \ln \tfrac23 - \ln 2 = -\ln 3$, so $\sigma(m) = \tfrac14$: the model gives the rater's choice one chance in four. $\mathcal L = \ln 4 = 1.386$, $\bar u_w = -\tfrac34$, $\bar u_l = \tfrac34$. Both answers stand at the same place, so $\bar z = -\tfrac34(\mathbf 1_A - p) + \tfrac34(\mathbf 1_B - p) = (-\tfrac34, \tfrac34, 0)$: a step against it lifts A and lowers B, and the $p$'s cancel. With $\beta = \tfrac12$: $m = -\tfrac12\ln 3$, $\sigma(-m) = \sqrt3/(1 + \sqrt3) = 0.634$, and $\bar z = (-0.317, 0.317, 0)$.

# %%
def sigma(m):
    return 1 / (1 + np.exp(-m))


def log_p_rows(logits, targets):
    """ln π of each answer (B,), the probabilities, one-hot rows, and which places count."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    counts = targets != IGNORE_INDEX
    one_hot = np.eye(logits.shape[-1])[np.where(counts, targets, 0)]
    return np.where(counts, np.log((p * one_hot).sum(axis=-1)), 0).sum(axis=-1), p, one_hot, counts


def dpo(z_w, y_w, z_l, y_l, reference, beta):
    """The mean loss, and the gradients of the logits z (B, T, vocab) of both answers; reference: (B, 2)."""
    u_w, p_w, one_w, counts_w = log_p_rows(z_w, y_w)
    u_l, p_l, one_l, counts_l = log_p_rows(z_l, y_l)
    m = beta * ((u_w - reference[:, 0]) - (u_l - reference[:, 1]))  # (B,)
    loss = np.logaddexp(0, -m).mean()  # −ln σ(m), without overflow
    u_bar = -beta * sigma(-m)[:, None, None] / len(m)  # of the winners; with the other sign, of the losers
    z_w_bar = u_bar * np.where(counts_w[..., None], one_w - p_w, 0)
    return loss, z_w_bar, -u_bar * np.where(counts_l[..., None], one_l - p_l, 0)


now, ref = np.log([[[1 / 6, 1 / 2, 1 / 3]]]), np.log([[1 / 4, 1 / 4]])
loss, z_w_bar, z_l_bar = dpo(now, np.array([[0]]), now, np.array([[1]]), ref, beta=1.0)
assert np.isclose(loss, math.log(4)) and np.allclose(z_w_bar + z_l_bar, [[[-3 / 4, 3 / 4, 0]]])
_, *half = dpo(now, np.array([[0]]), now, np.array([[1]]), ref, beta=0.5)
assert np.allclose(sum(half), [[[-0.317, 0.317, 0]]], atol=5e-4)
print(f"loss {loss:.4f}; gradient {np.round((z_w_bar + z_l_bar).ravel(), 4)}")

# %% [markdown]
# Four witnesses on three pairs of longer answers: ours, central differences, minigrad through the formula, and the library's `Preferences`. And `mg.diagnose` on four mistakes that are easily made.

# %%
rng = np.random.default_rng(1)
y_w, y_l = rng.integers(0, 6, (3, 4)), rng.integers(0, 6, (3, 5))
y_w[:, :2] = y_l[:, :2] = IGNORE_INDEX  # the prompt
y_w[2, 3] = y_l[0, 4] = IGNORE_INDEX  # padding
z_w, z_l, reference = rng.normal(size=(3, 4, 6)), rng.normal(size=(3, 5, 6)), rng.normal(size=(3, 2))
loss, z_w_bar, z_l_bar = dpo(z_w, y_w, z_l, y_l, reference, 0.5)


def by_minigrad(z_w, z_l):
    u_w = -mg.cross_entropy(z_w, y_w, IGNORE_INDEX, reduction="none").sum(axis=1)
    u_l = -mg.cross_entropy(z_l, y_l, IGNORE_INDEX, reduction="none").sum(axis=1)
    m = 0.5 * ((u_w - reference[:, 0]) - (u_l - reference[:, 1]))
    return mg.log(1 + mg.exp(-m)).mean()


def central(which, at, h=1e-5):
    moved = []
    for sign in (1, -1):
        both = [z_w.copy(), z_l.copy()]
        both[which][at] += sign * h
        moved.append(dpo(both[0], y_w, both[1], y_l, reference, 0.5)[0])
    return (moved[0] - moved[1]) / (2 * h)


differences = [np.zeros(z_w.shape), np.zeros(z_l.shape)]
for which, array in enumerate(differences):
    for at in np.ndindex(array.shape):
        array[at] = central(which, at)
_, engine = mg.value_and_grad(by_minigrad, argnums=(0, 1))(z_w, z_l)
objective = Preferences(base, [(*pair, pair[1])], [(*pair, pair[1])], beta=0.5)
tensors = [mg.Tensor(z, requires_grad=True) for z in (z_w, z_l)]
waiting = iter(tensors)
batch = PreferenceBatch(Rows(y_w, y_w), Rows(y_l, y_l), reference)
library = objective.loss(lambda ids: next(waiting), batch)
library.backward()
assert np.isclose(loss, library.item()) and np.isclose(loss, by_minigrad(z_w, z_l).item())
rows = []
for witness, pairs in {
    "central differences": differences,
    "minigrad": [g.data for g in engine],
    "the library's Preferences": [z.grad.data for z in tensors],
}.items():
    error = max(np.abs(a - b).max() for a, b in zip((z_w_bar, z_l_bar), pairs))
    assert error < (1e-9 if "central" in witness else 1e-14)
    rows.append((witness, f"{error:.0e}"))
table(["witness", "largest difference from ours"], rows)

# %%
m = 0.5 * (log_p_rows(z_w, y_w)[0] - log_p_rows(z_l, y_l)[0] - reference[:, 0] + reference[:, 1])
swapped = (sigma(m) / sigma(-m))[:, None, None]
claims = {
    "σ(m) for σ(−m)": (z_w_bar * swapped, z_l_bar * swapped),
    "β forgotten": (z_w_bar / 0.5, z_l_bar / 0.5),
    "both answers lifted": (z_w_bar, -z_l_bar),
    "not divided by the pairs": (z_w_bar * 3, z_l_bar * 3),
}
assert mg.diagnose(by_minigrad, {"z_w": z_w, "z_l": z_l}, {"z_w": z_w_bar, "z_l": z_l_bar})
rows = []
for what_is_wrong, (one, other) in claims.items():
    verdict = mg.diagnose(by_minigrad, {"z_w": z_w, "z_l": z_l}, {"z_w": one, "z_l": other})
    assert not verdict
    rows.append((what_is_wrong, verdict["z_w"].words, verdict["z_l"].words))
table(["handed in", "z_w", "z_l"], rows)

# %% [markdown]
# ## 6 · Experiment: reward against drift
#
# Our rater has three favourites among the six animals of each kind, and $r(y)$ is **how many of the three places of an answer name a favourite**. Between two answers the rater chooses as Bradley and Terry say: of two that differ by one favourite, the better one in $\sigma(1) = 73\,\%$ of the cases. So the rater is known, and so is the best possible model. On paper: a reference that names all six alike gives each place a favourite with probability $\tfrac12$. Rewards add up over the places, so $\pi^*$ too treats each place alone: a favourite gets $\tfrac12 e^{1/\beta}$, another animal $\tfrac12$, and divided by their sum,
#
# $$\text{share of favourites} = \frac{e^{1/\beta}}{e^{1/\beta} + 1} = \sigma(1/\beta), \qquad \mathcal Z = \Big(\frac{1 + e^{1/\beta}}2\Big)^3 .$$
#
# With $q = \sigma(1/\beta)$, the best model has the reward $3q$, the drift $3\,(\ln 2 + q \ln q + (1 - q) \ln(1 - q))$, and the entropy $\ln 216$ less that drift. For $\beta = 1$: $q = 0.731$, the reward is 2.19 (it was 1.5), $\mathcal Z = 1.859^3 = 6.43$, the drift 0.333 nats. For $\beta \to 0$, $27$ of the 216 answers share everything, at a drift of $3 \ln 2 = 2.08$.
#
# **Predict.** With $\beta = 1$, what happens to the probability of an answer that names one favourite, and was preferred to one with none? (It is multiplied by $e^{r/\beta}/\mathcal Z = e/6.43 = 0.42$. **It was preferred, and becomes less than half as likely**: what counts is the difference.)

# %%
FAVOURITES = {animal for animals in ASKED.values() for animal in animals[:3]}


def reward(answer):
    return sum(WORDS[i] in FAVOURITES for i in answer)


def best_model(beta):
    """(reward, drift, 𝒵) of the best model, for a reference that names all six animals alike."""
    q = sigma(1 / beta)
    drift = 3 * (math.log(2) + q * np.log(q) + (1 - q) * np.log1p(-q))
    return 3 * q, drift, ((1 + np.exp(1 / beta)) / 2) ** 3


answers = [encode(" ".join(three) + " ⟨end⟩") for three in product(ASKED["fish"], repeat=3)]
r = np.array([reward(answer) for answer in answers])
pi = np.exp(r) / np.exp(r).sum()  # β = 1: all 216 answers, one by one
drift = (pi * np.log(216 * pi)).sum()
assert np.bincount(r).tolist() == [27, 81, 81, 27]
assert np.allclose(best_model(1.0), [pi @ r, drift, np.exp(r).mean()])
times = math.e / np.exp(r).mean()
print(f"β = 1: reward {pi @ r:.3f}, drift {drift:.3f} nats; an answer with one favourite: times {times:.3f}")


def comparisons(model, count, rng):
    """(prompt, chosen, rejected): two answers of the model to a prompt, and the rater's choice."""
    kinds = rng.choice(list(KINDS), count)
    prompts = np.array([name(rng, kind)[0] for kind in kinds])
    found = []
    for prompt, one, other in zip(prompts, write(model, prompts, rng), write(model, prompts, rng)):
        one, other = one.tolist(), other.tolist()
        if rng.random() > sigma(reward(one) - reward(other)):
            one, other = other, one
        found.append((prompt.tolist(), one, other))
    return found


questions = [name(np.random.default_rng(i), kind)[0] for kind in KINDS for i in (90, 91)]  # to measure on
every = [
    (prompt, encode(" ".join(three) + " ⟨end⟩"))
    for prompt in questions
    for three in product(ASKED[WORDS[prompt[-2]]], repeat=3)
]
r = np.array([reward(answer) for _, answer in every]).reshape(-1, 216)  # (questions, 216)


def log_pi(model):
    """ln π of all right answers to each question, (questions, 216)."""
    with mg.no_grad():
        return log_probability(model, collate(every)).data.astype(float).reshape(-1, 216)


def measured(log_now, log_ref):
    """What a model does, exactly: its mean reward, its drift, its entropy, and the share of right answers."""
    now, ref = np.exp(log_now), np.exp(log_ref)
    right, right_ref = now.sum(axis=1), ref.sum(axis=1)
    wrong, wrong_ref = 1 - right, 1 - right_ref  # all that is no right answer, as one answer more
    drift = (now * (log_now - log_ref)).sum(axis=1) + wrong * np.log(wrong / wrong_ref)
    share = now / right[:, None]
    entropy = -(share * np.log(share)).sum(axis=1)
    found = {"reward": (share * r).sum(axis=1), "drift": drift, "entropy": entropy, "right": right}
    return {key: values.mean() for key, values in found.items()}


BETAS = (0.1, 0.3, 1.0, 3.0)
found, runs, adapters, log_refs = [], {}, [], []
for seed, reference in zip(SEEDS, tuned):
    pairs = comparisons(reference, 1200, np.random.default_rng([seed, 1]))
    found.append((pairs[:1000], pairs[1000:]))
    log_refs.append(log_pi(reference))
    state = {key: array.copy() for key, array in reference.state_dict().items()}
    for beta in BETAS:
        objective = Preferences(reference, *found[-1], beta)
        model = new_model(seed, state)
        fit(model, objective, 150, 1e-3, seed)
        runs[beta, seed] = measured(log_pi(model), log_refs[-1]) | objective.test(model)
    model, objective = new_model(seed, state), Preferences(reference, *found[-1], beta=1.0)
    learned = sum(p.size for p in add_adapters(model, rank=4))
    fit(model, objective, 150, 5e-3, seed)
    adapters.append(measured(log_pi(model), log_refs[-1]) | objective.test(model))
before = [measured(log_ref, log_ref) for log_ref in log_refs]
COLUMNS = {
    "reward": "reward",
    "drift": "drift (nats)",
    "entropy": "entropy (nats)",
    "right": "share of right answers",
    "reward margin": "margin, new pairs",
    "log p of chosen": "change of ln π, preferred",
}
HEAD = ["", *COLUMNS.values()]


def row(label, results):
    """Means over seeds with their intervals."""
    known = [key for key in COLUMNS if key in results[0]]
    cells = [interval([one[key] for one in results], 2) for key in known]
    return (label, *cells, *["–"] * (len(COLUMNS) - len(known)))


of = {beta: [runs[beta, seed] for seed in SEEDS] for beta in BETAS}
for beta in BETAS:
    change = [one["right"] - was["right"] for one, was in zip(of[beta], before)]
    each = ", ".join(f"{c:+.2f}" for c in change).replace("-", "−")
    print(f"share of right answers, β = {beta}, minus before: {interval(change, 2)}; each seed {each}")
for beta in BETAS:
    best_reward, best_drift, _ = best_model(beta)
    varied = math.log(216) - best_drift
    print(f"best model, β = {beta}: reward {best_reward:.2f}, drift {best_drift:.2f}, entropy {varied:.2f}")
low, middle = of[0.1], of[1.0]
assert all(abs(one["reward"] - best_model(1.0)[0]) < 0.3 for one in middle)
assert all(one["log p of chosen"] < -1 for one in low)
assert all(one["log p of rejected"] < one["log p of chosen"] for results in of.values() for one in results)
assert all(one["entropy"] < was["entropy"] - 1 for one, was in zip(low, before))
table(HEAD, [row("before", before), *(row(f"β = {beta}", results) for beta, results in of.items())])

# %%
fig, ax = figure(6.8, 4.0)
curve = np.array([best_model(beta)[:2] for beta in np.geomspace(0.05, 100, 200)])
ax.plot(curve[:, 1], curve[:, 0], color="0.3", linewidth=1.5, label="the best there is")
for i, beta in enumerate(BETAS):
    points = [(one["drift"], one["reward"]) for one in of[beta]]
    ax.plot(*zip(*points), "osD^"[i], color=COLOURS[i], markersize=8, label=f"β = {beta}, three seeds")
    reached, drift, _ = best_model(beta)
    ax.plot(drift, reached, "osD^"[i], color="0.2", markerfacecolor="white", markersize=9, zorder=1.5)
ax.set_xlabel("drift from the reference (nats)")
ax.set_ylabel("reward: favourites in an answer of three")
ax.legend(loc="lower right")
fig

# %% [markdown]
# White marks are the best models for the same $\beta$, and the line all of them, for a reference that names six animals exactly alike; ours does so nearly, and had its own small taste before. **A thousand comparisons by a rater who errs in more than a fifth of the pairs with a better answer bring the model close to where the paper says (mean rewards within 0.12), if not exactly**, and no label ever said what a favourite is. To the right of the line are models that drift *more* than their reward costs. Where does the rest of the drift go?

# %%
fig, (left, right_side) = figure(9.2, 3.7, columns=2)
mean = {key: np.array([np.mean([one[key] for one in of[beta]]) for beta in BETAS]) for key in
        ("log p of chosen", "log p of rejected", "entropy", "right")}  # fmt: skip
left.plot(BETAS, mean["log p of chosen"], marker="o", label="preferred", **line(0))
left.plot(BETAS, mean["log p of rejected"], marker="s", label="the other", **line(1))
left.axhline(0, color="0.4", linewidth=1)
left.set_ylabel("change of ln π on new pairs (nats)")
right_side.plot(BETAS, 100 * np.exp(mean["entropy"]) / 216, marker="o", label="variety", **line(0))
right_side.plot(BETAS, 100 * mean["right"], marker="s", label="share of right answers", **line(1))
right_side.set_ylabel("per cent")
right_side.set_ylim(0, 105)
for ax in (left, right_side):
    ax.set_xscale("log")
    ax.set_xticks(BETAS, [str(beta) for beta in BETAS])
    ax.minorticks_off()
    ax.set_xlabel("β")
    ax.legend(loc="lower right")
fig

# %% [markdown]
# Three prices of a reward, all measured on new questions; "variety" is $e^{\mathbb H}$, the number of equally likely answers that would be as varied, out of 216:
#
# - **Likelihood.** For a small $\beta$ *both* answers of a pair become less likely; the preferred one only falls less. Nothing in the loss asks for more. With $\beta = 1$ the fall is undecided on three seeds, and with $\beta = 3$ there is none to be seen.
# - **Diversity.** What pleases the rater crowds out what is as right: with $\beta = 0.1$ a tenth of the variety is left. The best model has little more; it is the price of this reward, not a flaw of DPO.
# - **Drift to where nobody looked.** In these three seeds part of what both answers lose goes to answers that are *wrong*. They are in few pairs, so that little pushes them down. How much goes there differs widely between the seeds: for $\beta \le 1$ the interval of the change, printed above the table, holds 0.
#
# **Adapters.** Now let only adapters of rank 4 learn the preferences, $\beta = 1$. The reference is then the same model with its adapters switched off: no second model has to be stored.

# %%
gap = {key: [a[key] - b[key] for a, b in zip(adapters, of[1.0])] for key in ("reward", "drift", "right")}
print(f"adapters learn {learned:,} numbers of {base.num_parameters():,}; adapters minus all weights, paired:")
print(*(f"  {key}: {interval(values, 2)}" for key, values in gap.items()), sep="\n")
assert all(one["reward"] > was["reward"] + 0.1 for one, was in zip(adapters, before))
table(HEAD, [row("all weights", of[1.0]), row("adapters of rank 4", adapters)])

# %% [markdown]
# An eighth of the numbers learns the taste too, but in as many steps it comes less far, and that is all that three seeds decide: the intervals of drift and of right answers hold 0. Fewer numbers to learn do not *guarantee* that a model stays near its reference. (The rate of each was not tuned; a fair race would sweep both.)
#
# ## Common misunderstandings
#
# - *"With the mask, the prompt is not learned from."* It is read and attended to, and gradients flow through it. It is only no *target*.
# - *"Fine-tuning adds a skill to what the model knows."* It moves the weights to wherever the new loss is low. What is not in the new loss is kept only by luck, or by a remedy that is paid for.
# - *"DPO raises the probability of preferred answers."* It raises their probability *relative to* the other ones, and relative to the reference. Both may fall.
# - *"DPO has no reward model."* The model is one: $\beta \ln(\pi_\theta/\pi_{\text{ref}})$, up to a constant for each prompt.
# - *"A smaller β is a smaller step."* A *small* β asks for larger changes before the margin is reached, so the model drifts further.
# - *"The KL term holds the model near the reference."* In DPO it holds only where there are pairs; elsewhere nothing does.
#
# ## Exercises
#
# ### Exercise 1 ★ · Rows for answers
#
# Write `answer_rows(pairs, pad, ignore)`: `pairs` is a list of (prompt, answer), both lists of ids with one token or more. Return the pair (inputs, targets), integer arrays $(B, T)$, padded on the right to the longest: the row of inputs lacks its last token, the row of targets is shifted by one, and all targets but those of the answer are `ignore`. Beware: `pad` may also be the id of a real token.

# %% tags=["exercise"]
def answer_rows(pairs, pad, ignore):
    """[(prompt, answer), …] → (inputs (B, T), targets (B, T))."""
    ### BEGIN SOLUTION
    longest = max(len(prompt) + len(answer) for prompt, answer in pairs) - 1
    inputs = np.full((len(pairs), longest), pad)
    targets = np.full((len(pairs), longest), ignore)
    for b, (prompt, answer) in enumerate(pairs):
        end = len(prompt) + len(answer) - 1
        inputs[b, :end] = [*prompt, *answer][:end]
        targets[b, len(prompt) - 1 : end] = answer
    return inputs, targets
    ### END SOLUTION


checks.check_14b_answer_rows(answer_rows)

# %% [markdown] tags=["idea"]
# A prompt of $n$ tokens and an answer of $k$ make a row of $n + k - 1$ places. Place $n - 1$, which reads the last token of the prompt, has to say the first of the answer: so the answer stands at the places $n - 1$ to $n + k - 2$ of the targets. The lengths say where padding is, not the ids.

# %% [markdown]
# ### Exercise 2 ★★ · Strengths from games
#
# Bradley and Terry had many answers compared many times: `wins[i, j]` says how often $i$ was preferred to $j$ (the diagonal is 0). The loss is $\mathcal L = -\sum_{ij} \text{wins}_{ij} \ln \sigma(r_i - r_j)$. Write `strengths_backward(r, wins)`: return $\bar r$, for `r` of shape $(N,)$ with differences as large as 1000. What must $\sum_i \bar r_i$ be, and why?

# %% tags=["exercise"]
def strengths_backward(r, wins):
    """The gradient (N,) of −Σ wins ln σ(r_i − r_j)."""
    ### BEGIN SOLUTION
    d = r[:, None] - r[None, :]  # (N, N)
    surprise = wins * np.exp(-np.logaddexp(0, d))  # wins σ(−d)
    return surprise.sum(axis=0) - surprise.sum(axis=1)
    ### END SOLUTION


checks.check_14b_strengths_backward(strengths_backward)

# %% [markdown] tags=["idea"]
# Each win of $i$ over $j$ adds $-\sigma(r_j - r_i)$ to $\bar r_i$ and the opposite to $\bar r_j$. So rows count negative and columns positive, and all entries add up to 0: a constant added to all strengths changes no difference. $\sigma(-d) = e^{-\ln(1 + e^d)}$, where `np.logaddexp` does not overflow.

# %% [markdown]
# ### Exercise 3 ★★ · The best model there is
#
# Write `best_policy(p_ref, r, beta)`: for a reference `p_ref` $(N,)$ of $N$ answers (some may have probability 0) and their rewards `r`, return the pair $(\pi^*, \mathrm{KL}(\pi^* \| \pi_{\text{ref}}))$. $\beta$ may be as small as $10^{-4}$; an answer that the reference never gives stays at 0, however great its reward.

# %% tags=["exercise"]
def best_policy(p_ref, r, beta):
    """(π* (N,), its KL from the reference)."""
    ### BEGIN SOLUTION
    possible = p_ref > 0
    u = (r - r[possible].max()) / beta
    weight = p_ref * np.exp(np.where(possible, u, 0))
    total = weight.sum()
    return weight / total, (weight * u).sum() / total - np.log(total)
    ### END SOLUTION


checks.check_14b_best_policy(best_policy)

# %% [markdown] tags=["idea"]
# Subtract the largest reward *among the possible answers*, so that no exponential overflows and not all of them vanish. Then $\ln(\pi^*/\pi_{\text{ref}}) = (r - r_{\max})/\beta - \ln \mathcal Z$, and its mean under $\pi^*$ is the KL, without a logarithm of 0.

# %% [markdown]
# ### Exercise 4 ★★★ · A rater who errs
#
# If a share $\varepsilon$ of the choices is taken to be mistaken, the loss of a pair is $-(1 - \varepsilon) \ln\sigma(m) - \varepsilon \ln\sigma(-m)$. Write `unsure_backward(z_w, y_w, z_l, y_l, ref_w, ref_l, beta, eps)` for one pair: logits `z` $(T, \mathcal V)$ and targets `y` $(T,)$ of the preferred and of the other answer, of different lengths, with −100 where a target does not count; `ref` are the reference's $\ln\pi$, two numbers. Margins may be as large as 1000. Return $(\bar z_w, \bar z_l)$. At which margin does the loss stop pushing?

# %% tags=["exercise"]
def unsure_backward(z_w, y_w, z_l, y_l, ref_w, ref_l, beta, eps):
    """The gradients (T, vocab) of the logits of both answers."""
    ### BEGIN SOLUTION
    def answer(z, y):
        log_p = z - np.logaddexp.reduce(z, axis=-1, keepdims=True)
        one_hot = np.arange(z.shape[-1]) == y[:, None]  # a row of zeros where the target does not count
        return log_p[one_hot].sum(), one_hot - np.exp(log_p) * (y != -100)[:, None]

    u_w, rows_w = answer(z_w, y_w)
    u_l, rows_l = answer(z_l, y_l)
    m = beta * (u_w - ref_w - u_l + ref_l)
    m_bar = np.exp(-np.logaddexp(0, -m)) - (1 - eps)  # σ(m) − (1 − ε)
    return beta * m_bar * rows_w, -beta * m_bar * rows_l
    ### END SOLUTION


checks.check_14b_unsure_backward(unsure_backward)

# %% [markdown] tags=["idea"]
# $\bar m = -(1 - \varepsilon)\,\sigma(-m) + \varepsilon\,\sigma(m) = \sigma(m) - (1 - \varepsilon)$: a cross-entropy with a smoothed label, as in chapter 10. It is 0 where $\sigma(m) = 1 - \varepsilon$, and beyond that margin the loss pushes *back*: no more drift for a pair that may be a mistake. Then $\bar u_w = \beta \bar m$, $\bar u_l = -\beta \bar m$, and the rows of section 5.

# %% [markdown]
# ## References
#
# - R. A. Bradley, M. E. Terry, "Rank analysis of incomplete block designs: I. The method of paired comparisons", Biometrika 39 (1952).
# - P. F. Christiano et al., "Deep reinforcement learning from human preferences", NeurIPS 2017: a reward learned from comparisons.
# - L. Ouyang et al., "Training language models to follow instructions with human feedback", NeurIPS 2022: examples first, then preferences; section 3 mixes the old texts in.
# - R. Rafailov et al., "Direct preference optimization: your language model is secretly a reward model", NeurIPS 2023, sections 4 and 5 and appendix A.
# - E. J. Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022 (arXiv:2106.09685, 2021).
#
# **Before:** [14 · Doing more with less](14_doing_more_with_less.ipynb). **Next:** [15 · Beyond one machine](15_beyond_one_machine.ipynb).
