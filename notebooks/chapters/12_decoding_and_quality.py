# ---
# jupyter:
#   cover: 2
# ---

# %% [markdown]
# # 12 · Decoding and quality
#
# *About 50 minutes to read, 45 more for the exercises. You need [11 · Generating text](11_generating_text.ipynb): the loop that writes, nats, perplexity.
# Next: [12b · What the heads do](12b_what_the_heads_do.ipynb).*
#
# A model gives probabilities; a strategy has to choose. The same model writes dull loops or wild nonsense, depending on that choice alone. This chapter builds the usual ways to choose, each in a few lines, checks every number on a vocabulary of six words, and then measures what they make of the same trained models. The surprise: the most likely text is far from the best.
#
# **After this chapter you can**
#
# - compute greedy choice, temperature, top-k, top-p, min-p and the repetition penalty by hand, and say in which order they act;
# - run a beam search on paper, and say what it finds and what it cannot find;
# - measure likelihood, diversity and repetition of a text, and place a strategy between dullness and nonsense;
# - explain why the most likely text is not a typical one.

# %%
from itertools import pairwise
from math import comb

import numpy as np

import checks
import minigrad as mg
from book import COLOURS, figure, line, paired, sized, table
from minigrad import optim
from transformer import GPT, BPETokenizer, beam_search, generate
from transformer.evaluation import perplexity as metrics
from transformer.decoding import sampling as library
from transformer.data import corpora

# %% [markdown]
# ## 1 · Six words
#
# After *she saw* a model gives to its $\mathcal V = 6$ words the **logits** $z_i$, and $p_i = e^{z_i}/\sum_j e^{z_j}$. For paper, choose logits with simple exponentials, $e^{z} = (16, 8, 4, 2, 1, 1)$. Their sum is 32:
#
# | | the | a | his | one | no | zebra |
# | --- | --- | --- | --- | --- | --- | --- |
# | $e^{z_i}$ | 16 | 8 | 4 | 2 | 1 | 1 |
# | $p_i$ | ½ | ¼ | ⅛ | 1/16 | 1/32 | 1/32 |
#
# **Greedy**: always the most likely word, *the*.
#
# **Sampling**: draw a word with these probabilities. Everything below changes the distribution first, and then draws.
#
# **Temperature** $\tau$ (tau): divide all logits by $\tau$. Since $e^{z/\tau} = (e^z)^{1/\tau}$, this raises the probabilities to the power $1/\tau$. With $\tau = \tfrac12$ the numbers are squared: $(256, 64, 16, 4, 1, 1)/342 = (0.749, 0.187, 0.047, 0.012, 0.003, 0.003)$, sharper. With $\tau = 2$ we take roots: flatter. Towards $\tau = 0$ only the most likely word is left: greedy.
#
# **Top-k**: keep the $k$ most likely words, the others get 0. With $k = 2$: $(16, 8)/24 = (\tfrac23, \tfrac13)$.
#
# **Top-p**, or *nucleus*: keep the most likely words until together they have at least $p$ (a limit of this name, not a probability that the model gives); the word that crosses the limit is kept. With $p = 0.8$: after one word ½, after two ¾, after three ⅞, which reaches 0.8. So $(16, 8, 4)/28 = (\tfrac47, \tfrac27, \tfrac17)$.
#
# **Min-p**: keep the words whose probability is at least $p$ (again a limit) times that of the most likely one. With $p = 0.1$ the limit is $0.1 \cdot \tfrac12 = 0.05$, and four words pass: $(16, 8, 4, 2)/30$.
#
# **Repetition penalty** $\rho$ (rho): for each word that has been *seen* in the text, divide its logit by $\rho$ if it is positive, and multiply by $\rho$ if it is negative. With $\rho = 2$ and *the* seen: $e^{z/2} = \sqrt{16} = 4$ in the place of 16, and the distribution is $(4, 8, 4, 2, 1, 1)/20$.
#
# In code a word that is out gets the logit $-\infty$, whose exponential is 0. Then filters can follow one another, and the softmax comes once, at the end.

# %%
def softmax(z):  # (..., vocab) → (..., vocab)
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def temperature(z, tau):
    return z / tau


def top_k(z, k):
    least = np.sort(z)[-k]  # the k-th largest
    return np.where(z >= least, z, -np.inf)


def top_p(z, p):
    order = np.argsort(-z, kind="stable")  # most likely first
    total = np.cumsum(softmax(z)[order])
    before = np.concatenate([[0], total[:-1]])  # what the more likely words have together
    out = np.full_like(z, -np.inf)
    keep = order[before < p - 1e-12]  # round-off must not decide
    out[keep] = z[keep]
    return out


def min_p(z, p):
    share = softmax(z)
    return np.where(share >= p * share.max(), z, -np.inf)


def penalise(z, seen, rho):
    out = z.copy()
    i = np.unique(seen)  # once each, however often it was seen
    out[i] = np.where(z[i] > 0, z[i] / rho, z[i] * rho)
    return out


words = ["the", "a", "his", "one", "no", "zebra"]
z = np.log([16.0, 8, 4, 2, 1, 1])
chosen = {
    "sampling": z,
    "temperature ½": temperature(z, 0.5),
    "temperature 2": temperature(z, 2),
    "top-k, k = 2": top_k(z, 2),
    "top-p, p = 0.8": top_p(z, 0.8),
    "min-p, p = 0.1": min_p(z, 0.1),
    "penalty 2, the seen": penalise(z, [0], 2),
}
paper = [
    np.array([16, 8, 4, 2, 1, 1]) / 32,
    np.array([256, 64, 16, 4, 1, 1]) / 342,
    np.sqrt([16, 8, 4, 2, 1, 1]) / np.sqrt([16, 8, 4, 2, 1, 1]).sum(),
    np.array([16, 8, 0, 0, 0, 0]) / 24,
    np.array([16, 8, 4, 0, 0, 0]) / 28,
    np.array([16, 8, 4, 2, 0, 0]) / 30,
    np.array([4, 8, 4, 2, 1, 1]) / 20,
]
assert all(np.allclose(softmax(ours), by_hand) for ours, by_hand in zip(chosen.values(), paper, strict=True))
table(["", *words], [(name, *(f"{p:.3f}" for p in softmax(logits))) for name, logits in chosen.items()])

# %%
fig, axes = figure(9.4, 3.0, 1, 6, sharey=True)
for ax, name in zip(axes, list(chosen)[1:], strict=True):
    ax.barh(words, softmax(z), color="0.85", label="model")
    ax.barh(words, softmax(chosen[name]), color=COLOURS[0], height=0.45, label="drawn from")
    ax.set_title(name, fontsize=9)
    ax.set_xlim(0, 0.8)
    ax.set_xticks([0, 0.5], ["0", "½"])
    ax.grid(False)
axes[0].invert_yaxis()
fig.supxlabel("probability (pale, broad: the model's; dark, narrow: after the filter)", fontsize=10)
fig

# %% [markdown]
# **In which order?** First the penalty, since it looks at the sign of the model's own logits; then the temperature, so that the sets below are chosen from the distribution that is really drawn from; then top-k, top-p, min-p. Another order is another strategy: at temperature 2 the nucleus of $p = 0.8$ has more words in it than at temperature 1. The library's filters, one by one and in a chain, on random logits:

# %%
def distribution(z, seen, rho=1.0, tau=1.0, k=None, p=None, m=None):
    z = penalise(z, seen, rho)
    z = temperature(z, tau)
    z = z if k is None else top_k(z, k)
    z = z if p is None else top_p(z, p)
    z = z if m is None else min_p(z, m)
    return softmax(z)


rng = np.random.default_rng(0)
Z, seen = rng.normal(size=(200, 50)) * 2, rng.integers(0, 50, (200, 8))  # 200 rows, vocab = 50
pairs = {
    "temperature 0.7": ([temperature(z, 0.7) for z in Z], library.temperature_filter(Z, 0.7)),
    "top-k 10": ([top_k(z, 10) for z in Z], library.top_k_filter(Z, 10)),
    "top-p 0.9": ([top_p(z, 0.9) for z in Z], library.top_p_filter(Z, 0.9)),
    "min-p 0.1": ([min_p(z, 0.1) for z in Z], library.min_p_filter(Z, 0.1)),
    "penalty 1.3": (
        [penalise(z, s, 1.3) for z, s in zip(Z, seen)],
        library.penalise_repetition(Z, seen, 1.3),
    ),
    "all in a chain": (
        np.log([np.maximum(distribution(z, s, 1.3, 0.7, 20, 0.9, 0.05), 1e-300) for z, s in zip(Z, seen)]),
        np.log(np.maximum(library.Sampling(0.7, 20, 0.9, 0.05, 1.3).distribution(Z, seen), 1e-300)),
    ),
}
gaps = {
    name: np.abs(softmax(np.array(ours)) - softmax(theirs)).max() for name, (ours, theirs) in pairs.items()
}
assert max(gaps.values()) < 1e-12
wide, narrow = (
    np.isfinite(top_p(temperature(np.log([16.0, 8, 4, 2, 1, 1]), tau), 0.8)).sum() for tau in (2, 1)
)
assert wide > narrow
print(f"nucleus of 0.8 over the six words: {narrow} words at temperature 1, {wide} at temperature 2")
table(["filter", "probabilities, ours − the library's"], [(name, f"{gap:.0e}") for name, gap in gaps.items()])

# %% [markdown]
# **A trap in the penalty.** Adding the same number to all logits changes no probability: softmax does not see it. But the penalty sees it, since signs and quotients change. Two models that say *exactly the same* may get different texts:

# %%
z = np.log([16.0, 8, 4, 2, 1, 1])
same = np.allclose(softmax(z), softmax(z + 3))
one, other = softmax(penalise(z, [0], 2)), softmax(penalise(z + 3, [0], 2))
assert same and not np.allclose(one, other, atol=0.01)
print(f"probability of 'the' after the penalty: {one[0]:.3f} with z, {other[0]:.3f} with z + 3")

# %% [markdown]
# ## 2 · Beam search
#
# Greedy takes the best word *now*. The best text may begin with the second-best word. Two words, A and B, and two steps:
#
# $$p(A) = 0.6,\quad p(A \mid A) = 0.55,\; p(B \mid A) = 0.45, \qquad p(B) = 0.4,\quad p(A \mid B) = 0.05,\; p(B \mid B) = 0.95 .$$
#
# Greedy says A, then A: $0.6 \cdot 0.55 = 0.33$. But B B has $0.4 \cdot 0.95 = 0.38$. **Beam search** keeps the $k$ most likely prefixes, the *beams*, instead of one: extend each by every word, and of all extensions keep the best $k$. Products become sums of logarithms. With $k = 2$ both A and B survive the first step, and B B is found.

# %%
def beams(next_log_p, prompt, n, k):
    """The k best texts found, and their log-probabilities; next_log_p maps ids (b, T) to (b, vocab)."""
    ids, total = np.array([prompt]), np.zeros(1)  # (1, T), (1,)
    for _ in range(n):
        grown = total[:, None] + next_log_p(ids)  # (beams, vocab)
        best = np.argsort(-grown.ravel(), kind="stable")[:k]
        beam, word = np.divmod(best, grown.shape[1])
        ids, total = np.concatenate([ids[beam], word[:, None]], axis=1), grown.ravel()[best]
    return ids, total


def toy(ids):  # the prompt is [2], A is 0, B is 1
    return np.log(np.array([[0.55, 0.45], [0.05, 0.95], [0.6, 0.4]]))[ids[:, -1]]


rows = []
for k in (1, 2):
    ids, total = beams(toy, [2], 2, k)
    rows.append((k, " ".join("AB"[i] for i in ids[0, 1:]), f"{np.exp(total[0]):.2f}"))
assert rows[0][1:] == ("A A", "0.33") and rows[1][1:] == ("B B", "0.38")
table(["beams", "text", "probability"], rows)

# %% [markdown]
# **Length.** Every further word multiplies by a number below 1, so short texts are favoured. Where texts may end by themselves, they are compared by $\log p(\text{text}) / n^{\alpha}$ with $n$ words: $\alpha = 0$ leaves it as it is, $\alpha = 1$ takes the mean per word. A text of 2 words with $\log p = -2$ beats one of 5 words with $-4$ at $\alpha = 0$, but at $\alpha = 1$ it is $-1$ against $-0.8$, and the longer one wins.
#
# ## 3 · Three models to ask
#
# We need a trained model: two blocks of width 96 on the help pages of chapter 11. And since what one model writes may be a matter of chance, we train three, with three seeds. This time the tokens are not characters but the 512 most useful pieces of words (**BPE**, byte-pair encoding: beginning with single bytes, the pair of neighbours that occurs most often is merged into a new token, again and again). A token is then about two characters long.

# %%
text = corpora.default_text()
cut = len(text) * 9 // 10
tokenizer = BPETokenizer.train(text[:cut], 512)
train, val = (tokenizer.encode(part).astype(np.int64) for part in (text[:cut], text[cut:]))


WIDTH, STEPS, RATE = sized((96, 450, 4e-3), (64, 300, 8e-3), "as width, steps and rate")


def trained(seed, steps=STEPS):
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    options = {
        "num_heads": 4,
        "num_layers": 2,
        "context_length": 64,
        "positions": "rotary",
        "tie_embeddings": False,
    }
    model = GPT(tokenizer.vocab_size, WIDTH, **options)
    optimizer = optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.99))
    schedule = optim.warmup_cosine(RATE, warmup_steps=50, total_steps=steps, min_lr=RATE / 10)
    for step in range(steps):
        optimizer.lr = schedule(step)
        x, y = corpora.batch(train, 12, 64, rng)
        loss = mg.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


models = [trained(0), trained(1)]

# %%
models.append(trained(2))
model = models[0]  # where one is enough to look at

nats = np.array([metrics.token_losses(model, val).mean() for model in models])
bits = metrics.bits_per_character(nats.mean() * len(val), len(text) - cut)
bigram = corpora.bigram_loss(train, val, tokenizer.vocab_size)
assert nats.max() < bigram - 0.1
print("nats per token, three models:", *(f"{n:.2f}" for n in nats), f"(bigram line {bigram:.2f});")
print(f"{bits:.2f} bits per character; {(len(text) - cut) / len(val):.1f} characters per token")

# %% [markdown]
# Our chain of filters in a loop, and our beam search, against the library's, token for token:

# %%
def logits_after(ids):  # (b, T) → (b, vocab), within the context
    with mg.no_grad():
        return model(ids).data[:, -1].astype(np.float64)


def write(prompt, n, rng, **settings):
    ids = np.array(prompt)
    for _ in range(n):
        total = np.cumsum(distribution(logits_after(ids[None])[0], ids, **settings))
        ids = np.append(ids, (total <= rng.random() * total[-1]).sum())
    return ids


def log_p(ids):
    z = logits_after(ids)
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


prompt = tokenizer.encode("The function returns")
ours = write(prompt, 40, np.random.default_rng(3), rho=1.1, tau=0.8, k=50, p=0.95, m=0.02)
theirs = generate(
    model,
    prompt,
    40,
    0.8,
    top_k=50,
    top_p=0.95,
    min_p=0.02,
    repetition_penalty=1.1,
    use_cache=False,
    rng=np.random.default_rng(3),
)
searched, found = beams(log_p, prompt, 30, 4)[0][0], beam_search(model, prompt, 30, 4, use_cache=False)
assert np.array_equal(ours, theirs) and np.array_equal(searched, found)
print("drawn:", tokenizer.decode(ours))
print("\nbeam search:", tokenizer.decode(found))

# %% [markdown]
# **How many tokens does a filter leave?** Top-k always leaves $k$. Sometimes the next token is certain, sometimes dozens are possible; top-p and min-p notice. Over 5000 tokens of text that one of the models has not seen:

# %%
Z = np.concatenate([z for _, z in metrics.predictions(model, val[:5001])]).astype(np.float64)  # (5000, vocab)
kept = {
    "top-k 20": np.isfinite(library.top_k_filter(Z, 20)).sum(axis=1),
    "top-p 0.9": np.isfinite(library.top_p_filter(Z, 0.9)).sum(axis=1),
    "min-p 0.1": np.isfinite(library.min_p_filter(Z, 0.1)).sum(axis=1),
}
spread = {name: np.percentile(counts, [10, 50, 90]).astype(int) for name, counts in kept.items()}
assert spread["top-k 20"][2] <= 21 and spread["top-p 0.9"][2] > 4 * spread["top-p 0.9"][0]
table(
    ["filter", "tokens kept in 10 % of the cases at most", "in half of them", "in 90 %"],
    [(name, *map(str, found)) for name, found in spread.items()],
)

# %% [markdown]
# ## 4 · Experiment: what each of them writes
#
# - **Likelihood**: the mean surprise of the written tokens under the model itself, in nats per token. Low means: *the model finds it plausible.*
# - **Diversity**, *distinct-2*: of all pairs of neighbouring words in the texts, the fraction that are different from each other. On paper: *the cat and the cat* has four pairs, (the, cat), (cat, and), (and, the), (the, cat); three of them are different, so $\tfrac34$.
# - **Repetition**: the fraction of runs of 16 characters that the same text had said before.
#
# Each strategy continues the same 16 openings of text that the models have not seen, 24 tokens long, by 64 tokens, with each of the three models. (The pages contain tables and grammars; we take the 16 pieces with the most letters, which are running text.) The real continuations are measured in the same way: that is how a *human* text looks to a model.
#
# **Predict.** Will human text be more likely, or less likely, than what greedy decoding writes?

# %%
def words_of(text):
    """Runs of letters, digits and underscores; punctuation is left out."""
    return "".join(c if c.isalnum() or c == "_" else " " for c in text).split()


def distinct_2(texts):
    pairs = [pair for words in texts for pair in pairwise(words)]
    return len(set(pairs)) / len(pairs)


def repeated(text, n=16):
    runs = [text[i : i + n] for i in range(len(text) - n + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


assert distinct_2([words_of("the cat and the cat")]) == 3 / 4

opening, new, number = 24, 64, sized(16, 8, "openings")
pieces = [val[s : s + opening + new] for s in range(0, len(val) - opening - new, opening + new)]
letters = [np.mean([c.isalpha() for c in tokenizer.decode(ids)]) for ids in pieces]
human = [pieces[i] for i in sorted(np.argsort(letters, kind="stable")[-number:])]
prompts = [ids[:opening] for ids in human]


def measured(model, texts):
    nats = np.mean([metrics.token_losses(model, ids, stride=32)[opening - 1 :].mean() for ids in texts])
    said = [tokenizer.decode(ids[opening:]) for ids in texts]
    return (
        nats,
        distinct_2([words_of(text) for text in said]),
        np.mean([repeated(text) for text in said]),
        said,
    )


def continued(model, **settings):
    if "beams" in settings:
        return [beam_search(model, prompt, new, settings["beams"]) for prompt in prompts]
    return list(
        generate(
            model,
            np.array(prompts),
            new,
            rng=[np.random.default_rng([0, row]) for row in range(number)],
            **settings,
        )
    )


strategies = {
    "greedy": {"temperature": 0},
    "beam search, 4 beams": {"beams": 4},
    "beam search, 8 beams": {"beams": 8},
    "greedy, repetition penalty 1.3": {"temperature": 0, "repetition_penalty": 1.3},
    "temperature 0.5": {"temperature": 0.5},
    "top-k 20": {"top_k": 20},
    "top-p 0.9": {"top_p": 0.9},
    "min-p 0.1": {"min_p": 0.1},
    "sampling": {},
    "temperature 1.3": {"temperature": 1.3},
}
runs = {"human": [measured(model, human) for model in models]}
for name, settings in strategies.items():
    runs[name] = [measured(model, continued(model, **settings)) for model in models]
result = {
    name: np.array([run[:3] for run in found], float) for name, found in runs.items()
}  # (models, 3 measures)
said, greedy = [words_of(text) for text in runs["human"][0][3]], runs["greedy"][0]
assert abs(distinct_2(said) - metrics.distinct_n(said, 2)) < 1e-12
assert np.isclose(greedy[2], np.mean([metrics.repetition_rate(t, 16) for t in greedy[3]]))
table(
    [
        "text (mean of 3 models)",
        "nats per token",
        "distinct-2",
        "repeated",
        f"the first model continues {tokenizer.decode(prompts[0])[-30:]!r}",
    ],
    [
        (name, *(f"{a:.2f} {b:.2f} {c:.0%}".split()), " ".join(runs[name][0][3][0].split())[:70])
        for name, (a, b, c) in ((name, found.mean(axis=0)) for name, found in result.items())
    ],
)

# %%
def compared(one, other, what):
    return paired(result[one][:, what], result[other][:, what])


rows = []
for one, other in (
    ("greedy", "human"),
    ("beam search, 4 beams", "human"),
    ("beam search, 8 beams", "human"),
    ("beam search, 4 beams", "greedy"),
    ("beam search, 8 beams", "beam search, 4 beams"),
    ("greedy, repetition penalty 1.3", "greedy"),
    ("sampling", "greedy"),
    ("temperature 1.3", "human"),
):
    rows.append((f"{one} − {other}", *(compared(one, other, what) for what in range(3))))
assert compared("greedy", "human", 0).high < 0 and compared("greedy", "human", 1).high < 0
assert (
    compared("beam search, 4 beams", "greedy", 0).mean < 0
    and compared("temperature 1.3", "human", 0).mean > 0
)
assert compared("greedy", "human", 2).mean > 0 and compared("sampling", "greedy", 1).low > 0
h, g, b = (result[name].mean(axis=0) for name in ("human", "greedy", "beam search, 8 beams"))
print(
    f"a token of human text is typically {np.exp(h[0] - b[0]):.0f} times less likely than one of beam search"
)
table(["difference, 3 models", "nats per token", "distinct-2", "repeated"], rows)

# %% [markdown]
# Beam search does what it was built for: it finds text that is more likely than greedy's, and both are far more likely than what people wrote. And both repeat themselves, with far fewer different pairs of words. Whether *more* beams make it duller still is another question, and its row of the table has the answer for these models: read the intervals before you believe it. At the other end, at temperature 1.3, text is *less* likely than people's. **Searching for the most likely text leads away from what people write; so does leaving likelihood behind.**
#
# ## 5 · Experiment: the frontier
#
# Now vary one setting at a time: temperature, $k$, $p$. Each setting is a point, the mean of the three models: how likely, how diverse. The dotted lines run through human text.

# %%
sweeps = {
    "temperature": [("temperature", t) for t in (0.3, 0.6, 0.8, 1.0, 1.3)],
    "top-k": [("top_k", k) for k in (2, 5, 20, 100)],
    "top-p": [("top_p", p) for p in (0.3, 0.6, 0.9, 0.97)],
    "min-p": [("min_p", m) for m in (0.5, 0.2, 0.1, 0.03)],
}
found = {
    name: np.array(
        [[measured(model, continued(model, **{key: value}))[:2] for key, value in sweep] for model in models]
    )
    for name, sweep in sweeps.items()
}  # (models, settings, 2)
curves = {
    name: [(*point, f"{value:g}") for point, (_, value) in zip(found[name].mean(axis=0), sweep)]
    for name, sweep in sweeps.items()
}
fig, ax = figure(7.4, 4.8)
places = [
    ((14, -3), (0, 9)),
    ((-10, -4), (-8, 9)),
    ((15, 3), (14, 9)),
    ((0, -15), (16, 6)),
]  # of the labels at both ends
for i, ((name, curve), marker) in enumerate(zip(curves.items(), "os^D", strict=True)):
    nats, diversity, labels = zip(*curve, strict=True)
    ax.plot(-np.array(nats), diversity, marker=marker, markersize=5, label=name, **line(i))
    for end, place in zip((0, -1), places[i], strict=True):
        ax.annotate(
            labels[end],
            (-nats[end], diversity[end]),
            place,
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=line(i)["color"],
        )
for name, marker, place in (
    ("human", "*", (-30, 12)),
    ("greedy", "o", (-28, -4)),
    ("beam search, 8 beams", "o", (-14, -17)),
):
    nats, diversity, _ = result[name].mean(axis=0)
    ax.plot(-nats, diversity, color="black", marker=marker, markersize=14 if name == "human" else 7)
    ax.annotate(
        name,
        (-nats, diversity),
        place,
        textcoords="offset points",
        ha="center",
        fontweight="bold" if name == "human" else "normal",
    )
ax.axvline(-h[0], color="0.35", linewidth=1, linestyle=":")
ax.axhline(h[1], color="0.35", linewidth=1, linestyle=":")
ax.set_xlabel("likelihood under the model (mean log p per token, nats)")
ax.set_ylabel("diversity (distinct-2 of words)")
ax.set_ylim(0, 1.08)
ax.margins(x=0.1)
ax.legend(loc="lower left", title="one setting varied", alignment="left")
fig

# %%
rises = {
    name: np.corrcoef([nats for nats, _, _ in curve], [d for _, d, _ in curve])[0, 1]
    for name, curve in curves.items()
}
assert min(rises.values()) > 0.3
near = {name: min(curve, key=lambda point: abs(point[0] - h[0])) for name, curve in curves.items()}
at_two = {  # for each model: its diversity where its text has 2 nats per token
    name: np.array([np.interp(2.0, *zip(*sorted(map(tuple, of_model)))) for of_model in of_models])
    for name, of_models in found.items()
}
assert np.ptp([d.mean() for d in at_two.values()]) < 0.3
print("diversity at 2 nats per token, against temperature:")
for name, d in at_two.items():
    print(f"  {name}: {d.mean():.2f}", "" if name == "temperature" else paired(d, at_two["temperature"]))
print(f"as surprising as human text ({h[0]:.2f} nats, distinct-2 {h[1]:.2f}) is, as nearly as possible:")
print("; ".join(f"{name} {value} ({nats:.2f}, {d:.2f})" for name, (nats, d, value) in near.items()))
print(
    "correlation of surprise and diversity along each curve:",
    ", ".join(f"{name} {r:.2f}" for name, r in rises.items()),
)

# %% [markdown]
# All curves go the same way, from the lower right (likely and monotonous) to the upper left (unlikely and diverse): you buy diversity with likelihood. And they lie close together: at the same likelihood, the diversities printed above differ by little, and *how much* is cut off matters more, in this picture, than *which* filter does it. The filters differ in what they do with the tail of senseless tokens, and there the picture says too little, since it cannot tell a good unlikely word from a bad one; Holtzman et al. asked people. With a model as small as this one, no setting makes good prose; read the samples. What a strategy can do is to keep the model from being worse than it is.
#
# ## 6 · Why is the most likely text not the best?
#
# **A coin.** It shows heads with probability 0.6. Toss it ten times: the single most likely result is ten heads, $0.6^{10} = 0.006$. And yet nobody would call it typical. Exactly six heads have the probability $\binom{10}{6} 0.6^6\, 0.4^4 = 210 \cdot 0.001194 = 0.251$: each such row is *less* likely than ten heads, but there are 210 of them. A typical row has a surprise per toss near the **entropy** $-0.6 \ln 0.6 - 0.4 \ln 0.4 = 0.673$ nats; ten heads have $-\ln 0.6 = 0.511$. Whoever searches for the most likely row finds ten heads, always.
#
# Language is like that. People choose words that say something, that is, words that were not certain. Here is the surprise of every token of one human text, and of what beam search wrote in its place:

# %%
assert np.isclose(0.6**10, 0.006, atol=1e-4) and np.isclose(comb(10, 6) * 0.6**6 * 0.4**4, 0.251, atol=5e-4)
entropy = metrics.entropy(Z).mean()
row = 0
fig, ax = figure(8.6, 3.4)
for i, (name, ids) in enumerate(
    (("human", human[row]), ("beam search, 8 beams", beam_search(model, prompts[row], new, 8)))
):
    surprise = metrics.token_losses(model, ids, stride=32)[opening - 1 :]
    ax.plot(
        np.arange(1, new + 1),
        surprise,
        linewidth=1.4,
        marker="os"[i],
        markersize=3,
        label=f"{name}: mean {surprise.mean():.2f}",
        **{k: v for k, v in line(i).items() if k != "linewidth"},
    )
ax.axhline(entropy, color="0.35", linewidth=1.2, linestyle=":", label=f"expected by the model: {entropy:.2f}")
ax.set_xlabel("token of the continuation")
ax.set_ylabel("surprise (nats)")
ax.set_ylim(bottom=0)
ax.legend(loc="upper right", ncols=3, fontsize=8.5)
sampled, searched = runs["sampling"][0][0], runs["beam search, 8 beams"][0][0]
assert abs(sampled - entropy) < 0.8 and entropy - searched > 0.5
print(
    f"the model expects {entropy:.2f} nats per token on human text; its own samples have {sampled:.2f}, "
    f"human text {result['human'][0, 0]:.2f}, beam search {searched:.2f} (the first model)"
)
fig

# %% [markdown]
# Human text goes up and down: easy tokens, then one that carries the news. Beam search stays at the bottom. Samples have about the surprise that the model itself expects; the search finds what it does *not* expect to see.
#
# **And why loops?** A model like this decides chiefly by the latest tokens (chapter 11, section 6). Greedy choice is a fixed rule; when the same few tokens come back, the same continuation comes back, and the text runs in a circle. In large models something worse is added: a sentence that has been said twice becomes *more* likely a third time (Holtzman et al., figure 4). Does that happen here? Take phrases of eight tokens from the validation text, say each eight times in a row, and measure the surprise of each copy:

# %%
n, copies = 8, 8
places = np.linspace(0, len(val) - n, 150).astype(int)
x = np.stack([np.tile(val[s : s + n], copies) for s in places])  # (150, 64)
by_copy = []
for one in models:
    with mg.no_grad():
        surprise = mg.cross_entropy(one(x[:, :-1]), x[:, 1:], reduction="none").data.reshape(len(x), -1)
    by_copy.append([surprise[:, max(0, i * n - 1) : (i + 1) * n - 1].mean() for i in range(copies)])
    print("nats per token in copy 1 … 8:", ", ".join(f"{s:.2f}" for s in by_copy[-1]))
by_copy = np.array(by_copy)  # (models, copies)
print("copy 2 − copy 1:", paired(by_copy[:, 1], by_copy[:, 0]), "nats")
print("copy 8 − copy 2:", paired(by_copy[:, -1], by_copy[:, 1]), "nats")

# %% [markdown]
# A repeated phrase is not copied: copy 2 is *more* surprising than copy 1 (where it begins anew, its first token follows what it never followed in a text), and what is gained afterwards is next to nothing, as the last printed line says. To copy, a model needs heads that find an earlier occurrence and repeat what followed it (*induction heads*, Olsson et al., 2022; [chapter 12b](12b_what_the_heads_do.ipynb) grows some). Two blocks in a few hundred steps are a short training for that, and their circles come about without them.
#
# The repetition penalty breaks the circles of greedy choice: look at its row in the table of section 4. It does so by force: every token that has been seen is punished, *the* and the full stop too. With characters for tokens it would punish spelling, since all letters have been seen.
#
# ## Common misunderstandings
#
# - ***Sampling is random, so greedy is more accurate.*** For open text greedy and beam search are the least human choices of section 4, in likelihood, diversity and repetition.
# - ***Beam search fails because it does not search well enough.*** It fails because it searches well. The most likely text under the model *is* dull.
# - ***Temperature 0.7 and top-p 0.7 do similar things.*** Temperature changes all ratios and removes nothing; top-p removes the tail and leaves the ratios of the others as they are.
# - ***Top-p drops the token that crosses the limit.*** It keeps it; otherwise a token with probability 0.95 would be dropped by $p = 0.9$, and nothing would be left.
# - ***The repetition penalty divides probabilities.*** It acts on logits, whose zero point is arbitrary (section 1).
# - ***Low perplexity means good text.*** Low perplexity *of a model on human text* does. Of a text under its own model it often means a loop.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · Temperature on probabilities
#
# From probabilities `p` $(\mathcal V,)$, without logits: the distribution at temperature `tau`, which may be as low as $10^{-4}$.

# %% tags=["exercise"]
def at_temperature(p, tau):
    """The probabilities p (V,) at temperature tau > 0."""
    ### BEGIN SOLUTION
    q = (p / p.max()) ** (1 / tau)
    return q / q.sum()
    ### END SOLUTION


checks.check_12_at_temperature(at_temperature)

# %% [markdown] tags=["idea"]
# Raise to the power $1/\tau$, then divide by the sum. At a low temperature all powers would become 0 in the machine; a common factor changes nothing, so divide by the largest probability first: it stays 1.

# %% [markdown]
# ### Exercise 2 ★★ · The nucleus
#
# From probabilities `p` $(\mathcal V,)$, in any order: keep the most likely ones until they have at least `limit` together, the one that crosses it included, and scale them to sum 1. The result stands in the order of `p`.

# %% tags=["exercise"]
def nucleus(p, limit):
    """The distribution (V,) of top-p sampling."""
    ### BEGIN SOLUTION
    order = np.argsort(-p, kind="stable")
    before = np.cumsum(p[order]) - p[order]
    keep = order[before < limit - 1e-12]
    q = np.zeros_like(p)
    q[keep] = p[keep]
    return q / q.sum()
    ### END SOLUTION


checks.check_12_nucleus(nucleus)

# %% [markdown] tags=["idea"]
# Sort; a token is kept if what the more likely ones have together is still *below* the limit. Put the kept ones back to their places.

# %% [markdown]
# ### Exercise 3 ★★ · Nothing twice
#
# A blunt cure for loops: forbid every run of $n$ tokens that the text already contains. From logits `z` $(\mathcal V,)$ and the tokens `ids` so far, a list of any length, the logits $(\mathcal V,)$ in which each token that would complete such a run is $-\infty$. For $n = 1$ no token comes twice.

# %% tags=["exercise"]
def without_repeats(z, ids, n):
    """Logits (V,) in which the tokens that would repeat a run of n tokens are −∞."""
    ### BEGIN SOLUTION
    out = np.array(z, float)
    ids = list(ids)
    last = ids[len(ids) - n + 1 :]  # the n − 1 tokens that the next one follows
    for i in range(len(ids) - n + 1):
        if ids[i : i + n - 1] == last:
            out[ids[i + n - 1]] = -np.inf
    return out
    ### END SOLUTION


checks.check_12_without_repeats(without_repeats)

# %% [markdown] tags=["idea"]
# The next token makes a run of $n$ with the last $n - 1$. Wherever these $n - 1$ stand in the text, with a token after them, that token is forbidden. For $n = 1$ the run before it is empty and stands everywhere, so all tokens of the text are forbidden. (`ids[-(n - 1):]` would be wrong for $n = 1$: it is the whole list.) R. Paulus et al., "A deep reinforced model for abstractive summarization", ICLR 2018, section 2.5, forbid runs of three.

# %% [markdown]
# ### Exercise 4 ★★ · Distinct-n
#
# `texts` is a list of texts, each a list of words. The number of *different* runs of $n$ words over the number of all of them, in all texts together; a run does not reach from one text into the next.

# %% tags=["exercise"]
def distinct(texts, n):
    """The share of different n-grams."""
    ### BEGIN SOLUTION
    runs = [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs)
    ### END SOLUTION


checks.check_12_distinct(distinct)

# %% [markdown] tags=["idea"]
# A text of $T$ words has $T - n + 1$ runs. Collect them as tuples from all texts, then compare the set with the list.

# %% [markdown]
# ### Exercise 5 ★★★ · A search that keeps its promise
#
# Beam search may miss the most probable text. Logarithms of probabilities are never positive, so a prefix is at least as probable as anything that begins with it: keep *all* prefixes that were found, with their totals, and always go on with the most probable one. When that has $n$ ids, nothing can beat it any more. `next_log_p(ids)` takes a tuple of ids and gives the log-probabilities $(\mathcal V,)$ of the next one; begin with the empty tuple, and ask about no prefix that cannot lead to the best text.

# %% tags=["exercise"]
def exact_search(next_log_p, n):
    """The most probable text, as a tuple of n ids, and its log-probability."""
    ### BEGIN SOLUTION
    waiting = [(0.0, ())]
    while True:
        total, ids = waiting.pop(max(range(len(waiting)), key=lambda i: waiting[i][0]))
        if len(ids) == n:
            return ids, total
        waiting += [(total + log_p, (*ids, i)) for i, log_p in enumerate(next_log_p(ids))]
    ### END SOLUTION


checks.check_12_exact_search(exact_search)

# %% [markdown] tags=["idea"]
# Best first, as Dijkstra finds shortest ways: take the most probable prefix out of the list, and either it is complete, or its extensions go into the list. The trap is to stop when a complete text is *found*: a prefix in the list may still be more probable. It may have to ask about nearly all prefixes, which is why nobody decodes a language model so; `heapq` finds the best of a long list faster.

# %% [markdown]
# ## References
#
# - A. Holtzman, J. Buys, L. Du, M. Forbes, Y. Choi, "The curious case of neural text degeneration", ICLR 2020: nucleus sampling (section 3.1), and why likelihood is not quality (figures 2 and 4).
# - A. Fan, M. Lewis, Y. Dauphin, "Hierarchical neural story generation", ACL 2018, section 5.4: top-k.
# - M. N. Nguyen et al., "Turning up the heat: min-p sampling for creative and coherent LLM outputs", 2024: min-p.
# - N. S. Keskar et al., "CTRL: a conditional transformer language model for controllable generation", 2019, section 4.1: the repetition penalty.
# - C. Olsson et al., "In-context learning and induction heads", Transformer Circuits Thread 2022 (arXiv:2209.11895): heads that copy.
# - Y. Wu et al., "Google's neural machine translation system", 2016, section 7: beam search and the length.
# - J. Li et al., "A diversity-promoting objective function for neural conversation models", NAACL 2016: distinct-n. S. Welleck et al., "Neural text generation with unlikelihood training", ICLR 2020: measuring repetition.
# - R. Sennrich, B. Haddow, A. Birch, "Neural machine translation of rare words with subword units", ACL 2016: BPE.
#
# **Before:** [11 · Generating text](11_generating_text.ipynb). **Next:** [12b · What the heads do](12b_what_the_heads_do.ipynb).
