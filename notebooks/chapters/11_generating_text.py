# %% [markdown]
# # 11 · Generating text
#
# *About 50 minutes to read, 45 more for the exercises. You need [08 · The block](08_the_block.ipynb), and the cross-entropy of [03 · Softmax, cross-entropy, layer norm](03_softmax_cross_entropy_layer_norm.ipynb).
# Next: [12 · Decoding and quality](12_decoding_and_quality.ipynb).*
#
# A language model answers one question: *what comes next?* Ask it again and again, and it writes. This chapter says what such an answer is worth, counts how far one gets without any network (further than one thinks), trains a small GPT on half a megabyte of English, says exactly which ways of counting it beats, and lets it write.
#
# **After this chapter you can**
#
# - compute the probability of a text by the chain rule, and turn it into cross-entropy, bits per character and perplexity;
# - build the lines that every language model has to beat: uniform, unigram, bigram, and the n-grams of Witten and Bell;
# - say why targets are shifted by one, and how a model with the shift forgotten gives itself away;
# - write the loop that generates text, with a cache and without, and get the library's text, token for token;
# - read the attention of a trained model, and measure how much of the past it uses.

# %%
from collections import Counter, defaultdict

import numpy as np

import checks
import minigrad as mg
from book import draw_lines, figure, line, paired, plot_attention, recorded, sized, table
from minigrad import optim
from transformer import GPT, CharTokenizer, KVCache, attention_maps, generate
from transformer.data import corpora
from transformer.data.ngrams import ngram_losses
from transformer.evaluation.perplexity import token_losses

# %% [markdown]
# ## 1 · What is a text worth?
#
# A text is a row of **tokens** $x_1, x_2, \dots, x_N$, taken from a vocabulary of $\mathcal V$ of them. Here a token is a character. A **language model** gives, for any beginning, a probability to each token that may come next: $\mathcal V$ numbers that are positive and add up to 1. We write
# $p(x_t \mid x_{<t})$ for the one that it gives to $x_t$ after $x_1, \dots, x_{t-1}$.
#
# From these follows the probability of the whole text. The probability that two things happen is that of the first, times that of the second *given* the first; so, one token after the other (the **chain rule**),
#
# $$p(x_1, \dots, x_N) = p(x_1)\; p(x_2 \mid x_1)\; p(x_3 \mid x_1, x_2) \cdots = \prod_{t=1}^{N} p(x_t \mid x_{<t}) .$$
#
# **On paper.** The vocabulary is $\{\texttt a, \texttt b, \texttt n\}$, the text is *banana*, $N = 6$, and the model looks at one character only, the last one:
#
# | after | a | b | n |
# | --- | --- | --- | --- |
# | (start) | ¼ | ½ | ¼ |
# | a | ½ | ¼ | ¼ |
# | b | ½ | ¼ | ¼ |
# | n | ½ | ¼ | ¼ |
#
# The six answers that count are $\tfrac12$ (b), $\tfrac12$ (a after b), $\tfrac14$ (n after a), $\tfrac12$ (a after n), $\tfrac14$ (n after a), $\tfrac12$ (a after n). Their product is $2^{-(1+1+2+1+2+1)} = 2^{-8} = \tfrac1{256}$.
#
# A product of a million such factors is 0 in any computer. So we take logarithms, which turn it into a sum, and change the sign: $-\log p(x_t \mid x_{<t})$ is the **surprise** at token $t$. The mean surprise is the **cross-entropy**, the loss $\mathcal L$ of chapter 03:
#
# $$\mathcal L = -\frac1N \sum_{t=1}^{N} \log p(x_t \mid x_{<t}) .$$
#
# The same number has three units:
#
# - with $\log_2$ it counts **bits**; here $(1+1+2+1+2+1)/6 = 8/6 = 1.333$ bits per character;
# - with the natural logarithm, as in all our code, it counts **nats**; $1.333 \cdot \ln 2 = 0.924$;
# - $e^{\mathcal L}$ with $\mathcal L$ in nats ($2^{\mathcal L}$ in bits) is the **perplexity**, here $2^{1.333} = 2.52$: the model is as unsure as if it had to guess among 2.52 equally likely characters. Somebody who knows nothing has perplexity $\mathcal V = 3$.

# %%
after = {
    "start": (0.25, 0.5, 0.25),
    "a": (0.5, 0.25, 0.25),
    "b": (0.5, 0.25, 0.25),
    "n": (0.5, 0.25, 0.25),
}  # of a, b, n
text = "banana"
p = np.array([after[last]["abn".index(x)] for last, x in zip(["start", *text], text)])  # (6,)

nats = -np.log(p).mean()
assert (
    np.isclose(p.prod(), 1 / 256)
    and np.isclose(nats / np.log(2), 8 / 6)
    and np.isclose(np.exp(nats), 2 ** (8 / 6))
)
print(f"probability of the text 1/{1 / p.prod():.0f}, perplexity {np.exp(nats):.3f};")
print(f"{nats:.3f} nats or {nats / np.log(2):.3f} bits per character")
table(
    ["character", "probability", "surprise (bits)", "surprise (nats)"],
    [(x, q, -np.log2(q), -np.log(q)) for x, q in zip(text, p)],
)

# %% [markdown]
# The bits are meant literally: a file compressor that knows this model can store *banana* in 8 bits. And only bits **per character** can be compared between models with different tokens. If the tokens were *ba*, *na*, *na* with the same total of 8 bits, the loss per token would be $8/3 = 2.67$ bits, twice as much, for exactly the same probability of the text.
#
# ## 2 · Lines to beat
#
# A loss says nothing by itself. Models that only count draw lines to compare with. We need a real text: the help pages that come with Python (in a browser, where they are missing, paragraphs of this course). One character is one token; the first 90 % are for training, the rest (**validation**) is for judging and never trained on.

# %%
whole = corpora.default_text()
tokenizer = CharTokenizer.train(whole)
vocab = tokenizer.vocab_size
ids = tokenizer.encode(whole).astype(np.intp)  # (N,)
train, val = corpora.train_validation_split(ids, context_length=64)
print(f"{len(train):,} characters to train on, {len(val):,} to validate on, {vocab} different ones")
start = whole.index("\n\n", len(whole) // 3) + 2
print("\n" + whole[start : start + 300])

# %% [markdown]
# - **Uniform**: every token is equally likely, $p = 1/\mathcal V$. Its loss is $\log \mathcal V$, whatever the text.
# - **Unigram**: tokens are as likely as they are frequent, whatever came before, $p(b) = \dfrac{\text{count}(b) + 1}{N + \mathcal V}$. The $+1$ (*add-one smoothing*) keeps a token that was never seen from having probability 0, and the loss from being infinite.
# - **Bigram**: look at the last token $a$, and count what followed it: $\dfrac{\text{count}(a\,b)}{\text{count}(a)}$. A pair that never occurred would again have probability 0, so a share $1 - \lambda$ of the answer is the unigram's:
#
# $$p(b \mid a) = \lambda\, \frac{\text{count}(a\,b)}{\text{count}(a)} + (1 - \lambda)\, p(b) .$$
#
# The weight $\lambda$ is chosen by trying some on the last tenth of the training text, with the counts of the rest.

# %%
def unigram(ids):  # (N,) → (vocab,)
    return (np.bincount(ids, minlength=vocab) + 1) / (len(ids) + vocab)


def bigram(ids, lam):  # (N,) → (vocab, vocab): row a, column b, p(b | a)
    count = np.bincount(ids[:-1] * vocab + ids[1:], minlength=vocab * vocab).reshape(vocab, vocab)
    total = count.sum(axis=1, keepdims=True)  # (vocab, 1): how often a was followed by anything
    lam = np.where(total > 0, lam, 0)  # nothing is known of what follows a token that never occurred
    return lam * count / np.maximum(total, 1) + (1 - lam) * unigram(ids)


def loss(P, ids):  # (vocab, vocab), (N,) → nats per token, of all tokens but the first
    return -np.log(P[ids[:-1], ids[1:]]).mean()


cut = len(train) - len(train) // 10
best = min(corpora.LAMBDAS, key=lambda lam: loss(bigram(train[:cut], lam), train[cut:]))
P = bigram(train, best)
lines = {
    "uniform": np.log(vocab),
    "unigram": loss(np.tile(unigram(train), (vocab, 1)), val),
    "bigram": loss(P, val),
}
library = {
    "uniform": corpora.uniform_loss(vocab),
    "unigram": corpora.unigram_loss(train, val, vocab),
    "bigram": corpora.bigram_loss(train, val, vocab),
}
report = mg.compare(lines, library)
assert report and lines["uniform"] > lines["unigram"] + 0.5 and lines["unigram"] > lines["bigram"] + 0.5
print(f"λ = {best}")
print(report)
table(
    ["model", "nats per character", "bits per character", "perplexity"],
    [(name, f"{nats:.3f}", f"{nats / np.log(2):.3f}", f"{np.exp(nats):.1f}") for name, nats in lines.items()],
)

# %% [markdown]
# What did the bigram model learn? The part of $P$ for the letters and the space, a darker square where the probability is higher. **Question:** row *q* has one dark square and next to nothing else. Why? Which other rows are like it, and which words of these pages are behind them?

# %%
letters = " abcdefghijklmnopqrstuvwxyz"
which = tokenizer.encode(letters)
fig, ax = figure(6.4, 5.4)
image = ax.imshow(P[np.ix_(which, which)], cmap="Greys", vmin=0, vmax=0.6, interpolation="nearest")
ax.grid(False)
names = ["␣", *letters[1:]]
ax.set_xticks(range(27), names, fontsize=8)
ax.set_yticks(range(27), names, fontsize=8)
ax.tick_params(length=0)
ax.set_xlabel("next character (␣: space)")
ax.set_ylabel("last character")
fig.colorbar(image, ax=ax, label="probability of the next, given the last", extend="max", shrink=0.85)
after_q = P[tokenizer.encode("q")[0]]
assert tokenizer.decode([after_q.argmax()]) == "u" and after_q.max() > 0.7
fig

# %% [markdown]
# **Why stop at one character?** After *th* comes *e*, whatever a bigram thinks of *h*. But the more characters one looks back at, the more often one stands before a row that never occurred, and counting says nothing. So a longer context $h$ must ask the shorter one $h'$ (the same without its first character) for help. How much?
#
# Witten and Bell (1991) answer with a count as well. Read the text once more, and write down each time what followed $h$: $c(h)$ characters in all, among them $d(h)$ different ones. At $d(h)$ moments, then, something *new* followed. Let "something new" be one more kind of event, and give it its share of all events:
#
# $$p(\text{new} \mid h) = \frac{d(h)}{c(h) + d(h)} .$$
#
# If it is not new, it is what the counts say; if it is, the shorter context is asked:
#
# $$p(w \mid h) = \frac{c(h)}{c(h) + d(h)} \cdot \frac{c(h\,w)}{c(h)} + \frac{d(h)}{c(h) + d(h)}\; p(w \mid h') = \frac{c(h\,w) + d(h)\, p(w \mid h')}{c(h) + d(h)} .$$
#
# A context that was followed by always the same is trusted; one that was followed by this and that is not. The last one to be asked, after the empty context, is the uniform model. With $n - 1$ characters of context it is an **n-gram** model.
#
# **On paper**, counted in *banana*: the empty context was followed by $c = 6$ characters, $d = 3$ different ones, so $p(\texttt n) = \frac{2 + 3 \cdot \frac13}{6 + 3} = \frac13$, and likewise $p(\texttt a) = \frac49$, $p(\texttt b) = \frac29$. After *a* came *n* twice and nothing else, $c = 2$, $d = 1$: $p(\texttt n \mid \texttt a) = \frac{2 + \frac13}{3} = \frac79$, $p(\texttt a \mid \texttt a) = \frac{4/9}{3} = \frac4{27}$, $p(\texttt b \mid \texttt a) = \frac{2/9}{3} = \frac2{27}$. Together 1.

# %%
class Counted:
    """Witten and Bell's n-gram models of a text, for n up to ``longest``."""

    def __init__(self, text, size, longest=5):
        self.size = size
        self.after = [defaultdict(Counter) for _ in range(longest)]  # by length: context → what followed
        for length, after in enumerate(self.after):
            for i in range(length, len(text)):
                after[text[i - length : i]][text[i]] += 1

    def p(self, w, h):
        shorter = self.p(w, h[1:]) if h else 1 / self.size
        seen = self.after[len(h)].get(h)
        if seen is None:
            return shorter
        return (seen[w] + len(seen) * shorter) / (seen.total() + len(seen))


def counted_loss(model, text, n):
    return -np.mean([np.log(model.p(text[i], text[max(0, i - n + 1) : i])) for i in range(1, len(text))])


fruit = Counted("banana", 3)
assert np.allclose([fruit.p(w, "") for w in "nab"], [1 / 3, 4 / 9, 2 / 9])
assert np.allclose([fruit.p(w, "a") for w in "nab"], [7 / 9, 4 / 27, 2 / 27])

counts = Counted(whole[: len(train)], vocab)
library = {f"{n}-gram": ngram_losses(train, val, vocab)[n] for n in (3, 4, 5)}
longer = {f"{n}-gram": counted_loss(counts, whole[len(train) :], n) for n in (3, 4, 5)}
assert mg.compare(longer, library)
lines |= longer
sixth = ngram_losses(train, val, vocab, longest=6)[6]
assert sixth > min(lines.values())
print(f"six characters in a row: {sixth:.3f}, worse than five")
context_of_five = Counter(whole[i : i + 5] for i in range(len(train) - 5))
once = np.mean([seen == 1 for seen in context_of_five.values()])
print(f"of the {len(context_of_five):,} different contexts of five characters {once:.0%} occur once")
entries = np.cumsum([sum(len(seen) for seen in after.values()) for after in counts.after])
table(
    ["model", "nats per character", "perplexity", "numbers that it stores"],
    [
        (name, f"{lines[name]:.3f}", f"{np.exp(lines[name]):.2f}", f"{entries[int(name[0]) - 1]:,}")
        for name in longer
    ],
)

# %% [markdown]
# These are not lines that a network passes by being a network. A model that is to be called better than counting has to be below the **lowest** of them, and that one has a memory of four characters and more than a hundred thousand numbers. Longer memories do not help on so short a text: of the contexts of five characters, two fifths and more occur a single time, as printed.
#
# ## 3 · A GPT, and the shift
#
# **GPT** is a stack of the blocks of chapter 08 with the causal mask of chapter 05, and at the end a linear map from the width $C$ to $\mathcal V$ logits. Ids of shape $(B, T)$ go in, logits $(B, T, \mathcal V)$ come out: at *each* of the $T$ positions an answer to *what comes next?* So one text gives $T$ questions to learn from. The targets are the inputs, one step later:

# %%
window = tokenizer.encode("banana")
x, y = window[:-1], window[1:]  # (T,), (T,) with T = 5
table(
    ["position", "the model may read", "and must predict"],
    [(t, tokenizer.decode(x[: t + 1]), tokenizer.decode(y[t : t + 1])) for t in range(len(x))],
)

# %% [markdown]
# Position $t$ must not see its own answer, which is the input at $t + 1$. That is what the causal mask is for. The proof: change the last character, and the logits before it stay as they are.

# %%
mg.manual_seed(0)
context = 64
model = GPT(
    vocab, 64, num_heads=4, num_layers=2, context_length=context, positions="rotary", tie_embeddings=False
)
with mg.no_grad():
    one, other = (model(tokenizer.encode(word)[None]).data[0] for word in ("banana", "banane"))
change = np.abs(one - other).max(axis=-1)  # (6,)
assert change[:5].max() < 1e-4 < 1e-2 < change[5]  # round-off, and a real change
print(f"{model.num_parameters():,} parameters")
print("change of the logits at each position:", ", ".join(f"{c:.0e}" for c in change))

case = recorded("gpt_loss")  # a small GPT that PyTorch ran once
small = GPT(11, 12, num_heads=3, num_layers=2, context_length=8)
for name, parameter in small.named_parameters():
    parameter.data = np.array(case[f"param.{name}"])
value = mg.cross_entropy(small(case["input.input_ids"]), case["input.targets"])
value.backward(case["upstream"])
worst = max(np.abs(q.grad.data - case[f"grad.param.{name}"]).max() for name, q in small.named_parameters())
apart = abs(value.item() - case["output"])
assert apart < 1e-12 and worst < 1e-11
print(f"the library's GPT − PyTorch's: loss {apart:.0e}, gradients at most {worst:.0e}")

# %% [markdown]
# **Forget the shift**, and the model is asked to predict the character that it is looking at. It learns that at once, and the loss looks wonderful. Sixty steps of training, without the shift:

# %%
def learn(model, steps, rate, shift=1, moments=(), seed=0):
    """Train on random windows of the text; the losses, and at each moment a validation loss and a sample."""
    rng = np.random.default_rng(seed)
    named = dict(model.named_parameters())
    matrices = {name for name, p in named.items() if name.startswith("layers.") and p.ndim == 2}
    hidden = [p for name, p in named.items() if name in matrices]  # chapter 10, section 8
    rest = [p for name, p in named.items() if name not in matrices]
    optimizers = [optim.Muon(hidden, rate), optim.AdamW(rest, rate, betas=(0.9, 0.99))]
    program = mg.program(lambda x, y: mg.cross_entropy(model(x), y), model)  # chapter 02, section 6
    schedule = optim.warmup_cosine(rate, warmup_steps=min(50, steps), total_steps=steps)
    losses, seen = [], {}
    for step in range(steps + 1):
        if step in moments:
            sample = tokenizer.decode(generate(model, tokenizer.encode("The "), 160, rng=1))
            seen[step] = token_losses(model, val).mean(), sample
        if step == steps:
            return losses, seen
        x, y = corpora.batch(train, 12, context, rng)  # (B, T), (B, T): y is one token later
        for optimizer in optimizers:
            optimizer.lr = schedule(step)
            optimizer.zero_grad()
        value = program(x, y if shift else x)  # the loss, and the gradients
        optim.clip_grad_norm(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        losses.append(value.item())


mg.manual_seed(0)
cheat = GPT(vocab, 64, 4, 2, context, positions="rotary", tie_embeddings=False)
losses, _ = learn(cheat, 60, 8e-3, shift=0)
honest = token_losses(cheat, val[:5001]).mean()
copied = generate(cheat, tokenizer.encode("The function"), 40, temperature=0)
print(f"its own loss {losses[-1]:.3f} nats;")
print(f"on the real question {honest:.3f}, worse than uniform ({lines['uniform']:.3f})")
print(f"it writes: {tokenizer.decode(copied)!r}")
assert losses[-1] < 0.2 and honest > lines["uniform"]

# %% [markdown]
# A loss far below what is plausible is a bug until the opposite is proven. English costs a good model about one bit (0.7 nats) per character; 0.1 nats after a minute is no success.
#
# ## 4 · Experiment: train
#
# Now with the shift. The model has two blocks of width 64 and sees 64 characters at a time; it gets 1700 batches of 12 windows; the optimizer is Muon for the matrices of the blocks and AdamW for all else, as in [chapter 10](10_training_well.ipynb), section 8. At four moments we stop, look at the validation loss, and let it write on from *The*.
#
# **Predict.** What will it have learned first: words, letter frequencies, or which letter follows which?

# %%
moments = sized((0, 60, 300, 1700), (0, 60, 150, 300), "steps")
losses, seen = learn(model, moments[-1], 8e-3, moments=moments)
steps = np.arange(1, len(losses) + 1)
fig, ax = figure(7.2, 4.2)
ax.plot(steps, losses, color="0.8", linewidth=0.7)
ax.plot(steps[19:], np.convolve(losses, np.ones(20) / 20, "valid"), label="training", **line(0))
ax.plot(list(seen), [nats for nats, _ in seen.values()], label="validation", marker="o", **line(1))
ax.set_xlabel("training step")
ax.set_ylabel("loss (nats per character)")
ax.set_ylim(1, 5.4)
ax.legend(loc="upper center")
draw_lines(ax, lines)
fig

# %%
first, early, middle, final = (nats for nats, _ in seen.values())
assert (
    final < lines["bigram"] - 0.3
    and first > lines["uniform"] - 0.3
    and early < lines["unigram"]
    and final < middle < early
)


def crossings(losses):
    """The step at which the mean of 20 training losses falls below each line."""
    recent = np.convolve(losses, np.ones(20) / 20, "valid")  # the mean of each loss and the 19 before it
    return {
        name: int(np.argmax(recent < nats)) + 20
        for name, nats in lines.items()
        if name != "uniform" and recent.min() < nats
    }


crossed = crossings(losses)
assert (
    crossed["unigram"] < 150
    and crossed["bigram"] < 450
    and final < (min(lines.values()) if moments[-1] == 1700 else lines["bigram"])
)
print(f"GPT: {final:.3f} nats = {final / np.log(2):.3f} bits per character, perplexity {np.exp(final):.2f}")
print("GPT − each line:", ", ".join(f"{name} {final - nats:+.3f}" for name, nats in lines.items()))
print("training loss (mean of 20 steps) below a line from step:", crossed)


def draw(p, rng):
    """The first token whose running total exceeds a random number in [0, 1)."""
    total = np.cumsum(p)
    return int((total <= rng.random() * total[-1]).sum())


rng, counted = np.random.default_rng(1), list(tokenizer.encode("The "))
for _ in range(160):
    counted.append(draw(P[counted[-1]], rng))
rows = [
    ("bigram, by counting", lines["bigram"], tokenizer.decode(counted)),
    *((f"GPT after {step} steps", *found) for step, found in seen.items()),
]
table(
    ["model", "loss", "writes"], [(name, f"{nats:.2f}", " ".join(text.split())) for name, nats, text in rows]
)

# %% [markdown]
# At the start the loss is near $\log \mathcal V$, even a little above: the model knows nothing, and its random logits are not quite uniform. First it learns how frequent the characters are, and falls below the unigram line; then which follows which; then come words, and at the end pieces of sentences and the look of these help pages. In this run it crosses the lines one after the other, the bigram's within a tenth of the training: what it learns from there on cannot be learned by looking at one character. Compare the samples with what the bigram model writes.
#
# **Is it better than counting?** Say exactly than which. It beats pairs and triples by a wide margin. For the last line, five characters in a row, one run is not enough: the margin is small, and another start and other windows would give another number. So twice more, with other seeds; what decides is the interval over the three.

# %%
def another(seed):
    """A model with another start that has read other windows, its loss, and where it crossed the lines."""
    mg.manual_seed(seed)
    model = GPT(vocab, 64, 4, 2, context, positions="rotary", tie_embeddings=False)
    losses, seen = learn(model, moments[-1], 8e-3, moments=moments[-1:], seed=seed)
    return model, seen[moments[-1]][0], crossings(losses)


runs = [(model, final, crossed), *map(another, sized((1,), (), "further seeds"))]

# %%
runs += map(another, sized((2,), (), "further seeds"))
models, finals = [run[0] for run in runs], [run[1] for run in runs]
for seed, (_, _, steps_of) in enumerate(runs):
    print(f"seed {seed}, training loss below a line from step: {steps_of}")
    assert list(steps_of.values()) == sorted(steps_of.values())
if len(finals) > 1:
    margin = paired(finals, [lines["5-gram"]] * len(finals), 3)
    print(f"GPT − 5-gram over {len(finals)} seeds: {margin} nats")
    assert margin.high < 0

# %% [markdown]
# Below it, then, by a few hundredths of a nat. (In a browser, with less than a fifth of the steps and one seed, it gets past the bigram only.) A five-gram model is no straw man on a text that repeats itself as these pages do: it needs one reading, and about as many numbers as our model has weights. What it cannot do is to go on. A sixth character makes it worse, as section 2 has shown, while a larger network gets further:
# the command `python -m transformer`, with four blocks of width 128, ends clearly below all of these lines (1.24 and 1.23 nats, two seeds, after 1,000 steps): [benchmarks/first_command.md](../benchmarks/first_command.md).
#
# ## 5 · The loop that writes
#
# Give the model the text so far; take the logits at the **last** position; softmax; draw a token; append it; again. There is one complication: the text may outgrow the context. Then we drop the older half of the window and read the rest again. (After $n > T$ tokens, with a context of $T$, the window starts at the smallest multiple of $T/2$ that leaves at most $T$ tokens.)

# %%
def write(model, ids, n, rng):
    ids, context = list(ids), model.context_length
    half = context // 2
    for _ in range(n):
        start = max(0, -(-(len(ids) - context) // half) * half)  # −(−a // b): a / b, rounded up
        with mg.no_grad():
            logits = model(np.array([ids[start:]])).data[0, -1]  # (vocab,)
        p = np.exp(logits.astype(np.float64) - logits.max())
        ids.append(draw(p / p.sum(), rng))
    return np.array(ids)


prompt = tokenizer.encode("The function ")
ours = write(model, prompt, 250, np.random.default_rng(5))
library = generate(model, prompt, 250, use_cache=False, rng=np.random.default_rng(5))
assert np.array_equal(ours, library)
print(f"our loop and the library's agree in all {len(ours)} tokens, {len(ours) - context} past the context\n")
print(tokenizer.decode(ours))

# %% [markdown]
# **The KV cache.** Our loop reads the whole text again for each new token. But under the causal mask, what is computed at an old position cannot depend on newer ones: its keys and values will be the same next time. So keep them, and read only the new token. In two lines:

# %%
x = val[:40][None]  # (1, 40)
cache = KVCache()
with mg.no_grad():
    at_once = model(x).data[:, -1]
    model(x[:, :-1], cache=cache)
    step_by_step = model(x[:, -1:], cache=cache).data[:, -1]
print(f"logits with the cache − without: {np.abs(at_once - step_by_step).max():.0e}")
assert np.allclose(at_once, step_by_step, atol=1e-4)

cached = generate(model, prompt, 250, use_cache=True, rng=np.random.default_rng(5))
agree = int((cached == library).cumprod().sum())
assert agree >= len(prompt) + 50
m, n = len(prompt), 40
print(f"the text with the cache has the same first {agree} of {len(library)} tokens")
print(f"positions read to write {n} tokens after {m}:", end=" ")
print(f"{sum(m + i for i in range(n)):,} without the cache, {m + n - 1} with it")

# %% [markdown]
# The cache changes nothing but the work. (Round-off in the logits is about $10^{-6}$; very rarely a draw falls so near to a boundary that the two texts part.)
#
# ## 6 · How much of the past does it use?
#
# The bigram model sees one character. Our GPT may see up to 64, but does it *use* them? Cut the validation text into windows of 64 and take the loss at each position: at the first position the model has seen one character, at the last 64. The mean of the models of section 4:

# %%
windows = val[: len(val) // (context + 1) * (context + 1)].reshape(-1, context + 1)  # (windows, 65)


def losses_by_position(model):
    """The mean loss at each position of the windows, (64,)."""
    with mg.no_grad():
        parts = [
            mg.cross_entropy(model(w[:, :-1]), w[:, 1:], reduction="none").data.reshape(-1, context)
            for w in np.array_split(windows, 12)
        ]
    return np.concatenate(parts).mean(axis=0)


by_seed = np.stack([losses_by_position(model) for model in models])  # (seeds, 64)
by_position = by_seed.mean(axis=0)  # (64,)
fig, ax = figure(6.8, 3.8)
ax.plot(np.arange(1, context + 1), by_position, marker="o", markersize=3, **line(0))
ax.axhline(lines["bigram"], color="0.35", linewidth=1, linestyle=":")
ax.text(context, lines["bigram"] + 0.02, "bigram", ha="right", fontsize=9, color="0.25")
ax.set_xscale("log", base=2)
ax.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
ax.set_xlabel("characters seen")
ax.set_ylabel("loss (nats per character)")
assert by_position[0] > lines["bigram"] - 0.2 and by_position[:4].mean() > by_position[8:].mean() + 0.2
assert by_position[8:16].mean() - by_position[32:].mean() < (by_position[0] - by_position[8:16].mean()) / 3
fig

# %%
near, far = by_seed[:, 8:16].mean(axis=1), by_seed[:, 32:].mean(axis=1)  # (seeds,)
if len(models) > 1:
    print("33 to 64 characters seen − 9 to 16:", paired(far, near), "nats")
means = [*by_position[[0, 1, 3]], near.mean(), by_position[16:32].mean(), far.mean()]
table(
    ["characters seen", "1", "2", "4", "9 to 16", "17 to 32", "33 to 64"],
    [(f"loss, mean of {len(models)}", *(f"{x:.2f}" for x in means))],
)

# %% [markdown]
# With one character it is no better than counting. The gain comes from the next few characters; this small model makes little of what lies further back: at this training the loss hardly falls beyond 16. And where does it look? Here is the model of the first seed. Each picture is one head; a row is a character that asks, and its dark squares are the characters that it listens to. The upper triangle is empty: nobody sees the future.

# %%
piece = "returns the type"
with mg.no_grad(), attention_maps(model) as maps:
    model(tokenizer.encode(piece)[None])
weights = [kept[0][0] for kept in maps.values()]  # for each layer (H, T, T)
assert all(np.allclose(w.sum(axis=-1), 1, atol=1e-5) and not np.triu(w, 1).any() for w in weights)
fig = plot_attention(
    weights,
    ["␣" if c == " " else c for c in piece],
    key_name="key: the character attended to",
    query_name="query: the character that attends",
)
fig

# %%
def looking_back(model):
    """Of each head the mean distance to the keys, the attention on oneself, the one before, the 8 latest."""
    with mg.no_grad(), attention_maps(model) as maps:
        model(windows[:24, :-1])
    distance = np.arange(context)[:, None] - np.arange(context)
    for layer, kept in enumerate(maps.values()):
        for head, w in enumerate(np.concatenate(kept).mean(axis=0)):  # (T, T), the mean over texts
            rows, back = w[context // 2 :], distance[context // 2 :]  # queries with at least 32 keys
            parts = [rows[back == d].mean() for d in range(8)]
            yield (
                f"layer {layer + 1}, head {head + 1}",
                (rows * back).sum(axis=1).mean(),
                parts[0],
                parts[1],
                sum(parts),
            )


trained = list(looking_back(model))
fresh = list(looking_back(GPT(vocab, 64, 4, 2, context, positions="rotary", tie_embeddings=False)))
near, near_fresh = np.mean([row[-1] for row in trained]), np.mean([row[-1] for row in fresh])
assert (
    near > 0.5 > near_fresh
    and max(row[2] for row in trained) > 0.25
    and max(row[3] for row in trained) > 0.25
)
print(f"attention on the 8 latest characters, mean of all heads: {near:.0%}; untrained {near_fresh:.0%}")
table(
    ["head", "mean distance", "on itself", "on the one before", "on the 8 latest"],
    [(name, f"{d:.1f}", f"{a:.0%}", f"{b:.0%}", f"{c:.0%}") for name, d, a, b, c in trained],
)

# %% [markdown]
# In this run the model has taught itself to look at the latest characters, and its heads have taken different habits: some look mostly at the character itself, others at the one before. That agrees with the curve above. What a head looks at is not yet an explanation of what the model does with it; but it is something to see, and here it is what the loss by position leads one to expect.
#
# ## Common misunderstandings
#
# - ***The model writes; so it must be trained to write.*** It is trained to answer *what comes next* on texts of others. Writing is the loop around it.
# - ***It predicts the last token of the window.*** It predicts all $T$ of them in training, each from what stands before it. Only in writing is the last position the one that counts.
# - ***A perplexity of 6 is better than one of 20.*** Only on the same text *and with the same tokens*. Between tokenizers compare bits per character.
# - ***The lower the loss, the better.*** Not below what is possible. Forgotten shift, missing mask, validation text that is also in the training text: all look like triumphs.
# - ***The cache is an approximation.*** It is exact: the mask makes sure that old positions never change.
# - ***Without smoothing a bigram model is more honest.*** It gives some pairs of the validation text probability 0, and then its loss is infinite.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · Bits and perplexity
#
# `p` $(N,)$ holds the probabilities that a model gave to the characters of a text, one after the other.

# %% tags=["exercise"]
def bits_and_perplexity(p):
    """Bits per character and perplexity, as a pair."""
    ### BEGIN SOLUTION
    bits = -np.log2(p).mean()
    return bits, 2**bits
    ### END SOLUTION


checks.check_11_bits_and_perplexity(bits_and_perplexity)

# %% [markdown] tags=["idea"]
# The mean surprise with $\log_2$; the perplexity is 2 to that power.

# %% [markdown]
# ### Exercise 2 ★ · Windows and targets
#
# `ids` $(N,)$ is a text, `starts` $(B,)$ says where windows of `T` tokens begin. Inputs and targets, both $(B, T)$.

# %% tags=["exercise"]
def windows_and_targets(ids, starts, T):
    """The inputs x and targets y of next-token prediction."""
    ### BEGIN SOLUTION
    places = starts[:, None] + np.arange(T)
    return ids[places], ids[places + 1]
    ### END SOLUTION


checks.check_11_windows_and_targets(windows_and_targets)

# %% [markdown] tags=["idea"]
# The places are `starts[:, None] + np.arange(T)`, an array $(B, T)$; the targets stand one place later *in the text*, so the last target lies outside the window.

# %% [markdown]
# ### Exercise 3 ★★ · A bigram table
#
# Count pairs in `ids` $(N,)$ and add 1 to each count. The result $(\mathcal V, \mathcal V)$ has in row $a$, column $b$ the probability that $b$ follows $a$.

# %% tags=["exercise"]
def bigram_table(ids, vocab):
    """p(b | a) in row a and column b, with add-one smoothing."""
    ### BEGIN SOLUTION
    count = np.ones((vocab, vocab))
    np.add.at(count, (ids[:-1], ids[1:]), 1)
    return count / count.sum(axis=1, keepdims=True)
    ### END SOLUTION


checks.check_11_bigram_table(bigram_table)

# %% [markdown] tags=["idea"]
# Give each pair a number, $a\,\mathcal V + b$, and count these with `np.bincount`, or use `np.add.at(count, (ids[:-1], ids[1:]), 1)`. (`count[ids[:-1], ids[1:]] += 1` counts each pair once only, however often it occurs.) Then each row is divided by its own sum.

# %% [markdown]
# ### Exercise 4 ★★ · What the cache saves
#
# A prompt of $m$ tokens is there, and $n \ge 1$ tokens are to be written after it (all within the context). The last token written is never read. How many positions does the model read, all calls together, without a cache and with one?

# %% tags=["exercise"]
def positions_read(m, n):
    """The number without a cache and the number with one, as a pair."""
    ### BEGIN SOLUTION
    return n * m + n * (n - 1) // 2, m + n - 1
    ### END SOLUTION


checks.check_11_positions_read(positions_read)

# %% [markdown] tags=["idea"]
# Without: call $i = 0, \dots, n - 1$ reads $m + i$ positions, $nm + n(n-1)/2$ in all. With: the first call reads $m$, each of the $n - 1$ others reads one.

# %% [markdown]
# ### Exercise 5 ★★★ · The loop
#
# `next_p(ids)` takes an array $(T,)$ and gives the probabilities $(\mathcal V,)$ of the next token. Write one token for each number of `u` $(n,)$: the first one whose running total *exceeds* that number. The result holds the prompt too.

# %% tags=["exercise"]
def write_with(next_p, ids, u):
    """ids (T,) followed by one token for each number of u: (T + n,)."""
    ### BEGIN SOLUTION
    ids = np.array(ids)
    for number in u:
        token = (np.cumsum(next_p(ids)) <= number).sum()
        ids = np.append(ids, token)
    return ids
    ### END SOLUTION


checks.check_11_write_with(write_with)

# %% [markdown] tags=["idea"]
# `np.cumsum` gives the running totals; the first that exceeds $u$ has as many before it as there are totals $\le u$. The new token must be appended *before* the next question.

# %% [markdown]
# ## References
#
# - C. E. Shannon, "Prediction and entropy of printed English", Bell System Technical Journal 30 (1951): people guess the next letter; about one bit per character.
# - D. Jurafsky, J. H. Martin, *Speech and Language Processing*, 3rd edition (draft), chapter 3: n-grams, smoothing, perplexity.
# - I. H. Witten, T. C. Bell, "The zero-frequency problem: estimating the probabilities of novel events in adaptive text compression", IEEE Transactions on Information Theory 37 (1991): n-grams that ask shorter ones.
# - F. Jelinek, R. L. Mercer, "Interpolated estimation of Markov source parameters from sparse data", 1980: the weight λ.
# - A. Radford, K. Narasimhan, T. Salimans, I. Sutskever, "Improving language understanding by generative pre-training" (2018), section 3.1; A. Radford et al., "Language models are unsupervised multitask learners" (2019), section 2: GPT.
# - S. Jain, B. C. Wallace, "Attention is not explanation", NAACL 2019: why to be careful with maps.
#
# **Before:** [10 · Training well](10_training_well.ipynb). **Next:** [12 · Decoding and quality](12_decoding_and_quality.ipynb).
