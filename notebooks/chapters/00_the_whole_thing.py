# ---
# jupyter:
#   cover: 3
# ---

# %% [markdown]
# # 00 · The whole thing, made to run
#
# *About 60 minutes to read, 45 more for the exercises. You need Python, a little NumPy (arrays, `@` for the product of matrices) and the mathematics of school; nothing else from this book.
# Next: [01 · Derivatives by hand](01_derivatives_by_hand.ipynb).*
#
# A Transformer is a page of code. Here you see all of it once, from above: a plan of its parts, a small one that you train yourself and that translates sentences that it has never seen, and the path of one sentence through it, number by number.
#
# It is also easy to write a page that *looks* like a Transformer, with all the right words in it, and cannot run, or runs and cannot learn. In the second half you meet such a page, a class `Transformer(vocab_size, embedding_dim, num_heads, num_layers)` written in the manner of an introductory article, and take it apart: fourteen faults, each seen failing, each with its cure.
#
# Everything here is explained properly later; the chapters that do it are named as we go. Read this one for the overview.
#
# **After this chapter you can**
#
# - name the parts of a Transformer, in order, and say what each is for;
# - train an encoder–decoder on sentences of different lengths, and let it write;
# - say what shape the numbers have at every point between the words and the prediction;
# - recognise fourteen faults by what they *do*: an error, or an answer that does not change when it must, or changes when it must not.

# %%
import numpy as np

import checks
import minigrad as mg
from book import figure, line, paired, sized, table
from diagrams import architecture, book_map
from minigrad import optim
from transformer import Transformer, attention_maps

np.set_printoptions(precision=3, suppress=True)

# %% [markdown]
# ## 1 · The job, and the sizes
#
# The job is translation, from a toy English to a toy French: *the black cat sees a house* → *le chat noir voit une maison*. Small, but a word-by-word dictionary gets it wrong: colours go **after** the noun, and articles and colours **agree** with the gender of a
# noun that comes later. And sentences have **different lengths**.

# %%
NOUNS = {
    "cat": "chat m",
    "dog": "chien m",
    "horse": "cheval m",
    "wolf": "loup m",
    "house": "maison f",
    "flower": "fleur f",
    "apple": "pomme f",
    "frog": "grenouille f",
}
ARTICLES = {"the": ("le", "la"), "a": ("un", "une")}
COLOURS = {
    "black": ("noir", "noire"),
    "green": ("vert", "verte"),
    "white": ("blanc", "blanche"),
    "grey": ("gris", "grise"),
}
VERBS = {"sees": "voit", "eats": "mange", "wants": "veut", "follows": "suit"}


def phrase(rng):
    """An article, perhaps a colour, and a noun: in English and in French."""
    article, noun, colour = (str(rng.choice(list(words))) for words in (ARTICLES, NOUNS, COLOURS))
    french, gender = NOUNS[noun].split()
    g = "mf".index(gender)
    if rng.random() < 0.5:
        return f"{article} {noun}", f"{ARTICLES[article][g]} {french}"
    return f"{article} {colour} {noun}", f"{ARTICLES[article][g]} {french} {COLOURS[colour][g]}"


def sentence(rng):
    """Who does what to whom, and every other time in what: a pair (English, French)."""
    (who, qui), (whom, que), (where, ou) = phrase(rng), phrase(rng), phrase(rng)
    verb = str(rng.choice(list(VERBS)))
    tail, fin = (f" in {where}", f" dans {ou}") if rng.random() < 0.5 else ("", "")
    return f"{who} {verb} {whom}{tail}", f"{qui} {VERBS[verb]} {que}{fin}"


for english, french in (sentence(np.random.default_rng(seed)) for seed in (4, 2, 11)):
    print(f"{english}  →  {french}")

# %% [markdown]
# A model works with numbers. Each word of both languages, and three marks (*padding* makes short sentences as long as the longest, *begin* and *end* frame the French ones), gets a number, its **id**; all of them together are the **vocabulary**. The units of a text are called **tokens**; here they are words.

# %%
french_words = (
    {w for forms in (*ARTICLES.values(), *COLOURS.values()) for w in forms}
    | {n.split()[0] for n in NOUNS.values()}
    | {*VERBS.values(), "dans"}
)
VOCABULARY = [
    "⟨pad⟩",
    "⟨begin⟩",
    "⟨end⟩",
    *sorted({*ARTICLES, *COLOURS, *NOUNS, *VERBS, "in"}),
    *sorted(french_words),
]
ID = {word: i for i, word in enumerate(VOCABULARY)}
PAD, BEGIN, END = 0, 1, 2
vocab = len(VOCABULARY)


def encode(text):
    """A text as a list of ids."""
    return [ID[word] for word in text.split()]


ids = np.array(encode("the black cat sees a house"))
print(f"{vocab} words; ids of 'the black cat sees a house': {ids}")

# %% [markdown]
# The sizes have letters, the same in the whole book (section 8 has a table of all of them):
#
# | letter | what | the name in the constructor | our model |
# | --- | --- | --- | --- |
# | $\mathcal V$ | the vocabulary: how many words there are to choose from | `vocab_size` | as printed above |
# | $C$ | width: how many numbers describe a word | `embedding_dim` | 32 |
# | $H$ | heads: how many looks at once | `num_heads` | 2 |
# | $D$ | width of one head, $C/H$ | – | 16 |
# | $L$ | layers: how often it is repeated | `num_layers` | 2 |
# | $S$, $T$ | length of the source, and of the target, in words | – | up to 11 ($T$: up to 12, with a mark) |
# | $B$ | sentences in a batch | – | 64 |
#
# A sentence of $T$ words becomes an array of shape $(T, C)$: **one row for each word**. It keeps this shape through the whole model.
#
# ## 2 · The plan
#
# This is the Transformer of 2017, from bottom to top. The left stack, the **encoder**, reads the English sentence. The right stack, the **decoder**, reads what has been written of the French one so far, and says which word comes next.

# %%
architecture()

# %% [markdown]
# - **Embedding**: a table with a row of $C$ numbers for each word of the vocabulary. An id picks its row. The numbers are learned.
# - **Positions**: attention by itself does not see the order of the words, so each *place* has a vector too, and it is added to the word.
# - **Attention**: each word asks a question (its **query** $q$), each word offers a label (its **key** $k$) and a content (its **value** $v$); three learned matrices make them from the word's row. The dot product $q_i \cdot k_j$, divided by $\sqrt D$, is the **score** of word $j$ for word $i$. **Softmax** turns the scores of a row into positive weights that add up to 1, and word $i$ receives the mixture of the values with these weights.
#   On paper: scores $\ln 1, \ln 2, \ln 3$ have the exponentials $1, 2, 3$; softmax divides them by their sum, so that the weights are $\tfrac16, \tfrac13, \tfrac12$; values $6, 12, 24$ are mixed to $1 + 4 + 12 = 17$.
# - It happens $H$ times at once, in **heads**, each with its own $D = C/H$ of the numbers of $q$, $k$ and $v$.
# - A **mask** says who may look where: nobody at padding; and in the decoder no word at *later* words, because they are the answers (**causal**). A forbidden score becomes $-\infty$, so that its weight is 0.
# - **Cross-attention**: the queries come from the decoder, keys and values from the encoder's result, the **memory**. So the decoder knows what to translate.
# - **Feed-forward network**: two matrices with $\operatorname{relu}(u) = \max(u, 0)$ in between, for each word by itself.
# - **Add & Norm**: each part *adds* its result to the row that it was given, and **layer norm** brings the row back to mean 0 and variance 1.
# - The **output layer** gives each place a score for each of the $\mathcal V$ words, its **logits**; softmax makes probabilities of them.
#
# The heart of it, attention, is six lines of NumPy. Softmax subtracts the largest score first, so that nothing overflows; that changes nothing else.

# %%
def softmax(s):  # (..., S) → (..., S): positive numbers that add up to 1
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention(
    q, k, v, mask=None
):  # (T, D), (S, D), (S, D), mask → (T, S), true where looking is allowed → (T, D)
    s = q @ k.T / np.sqrt(q.shape[-1])  # (T, S): how well does word j answer what word i asks for?
    if mask is not None:
        s = np.where(mask, s, -np.inf)
    return softmax(s) @ v


values = np.array([[6.0], [12], [24]])
assert np.allclose(softmax(np.log([1.0, 2, 3])), [1 / 6, 1 / 3, 1 / 2])
assert np.allclose(attention(np.ones((1, 1)), np.log([[1.0], [2], [3]]), values), 17)

# %% [markdown]
# ## 3 · Experiment: train it, and let it write
#
# The library's `Transformer` is this plan; below, `norm_first=True` makes one change: each norm comes *before* its part, and one more after the last layer (chapter 08). **Training** shows the decoder the right prefix and asks for the next word, at all places at once: it reads `⟨begin⟩ le chat noir …` and has to say `le chat noir … ⟨end⟩`, the same row **shifted by one**. The **loss** is the mean surprise at the right word, $-\log p$ (chapter 03); its **gradient** says how each weight should move
# (chapters 01 and 02), and *Adam* moves them (chapter 10). Whoever knows nothing but the $\mathcal V$ words has the surprise $\ln \mathcal V$.

# %%
def pad(rows):
    """Lists of ids as one array (B, S), padded on the right, and its mask: 1 for a word, 0 for padding."""
    mask = np.arange(max(map(len, rows))) < np.array([len(row) for row in rows])[:, None]
    padded = np.full(mask.shape, PAD)
    padded[mask] = np.concatenate(rows)
    return padded, mask.astype(int)


def batch(rng, size):
    """Sources (B, S), their mask, targets with begin and end (B, T + 1)."""
    pairs = [sentence(rng) for _ in range(size)]
    pairs = [pair for pair in pairs if pair[0] not in UNSEEN]
    sources, mask = pad([encode(english) for english, _ in pairs])
    targets, _ = pad([[BEGIN, *encode(french), END] for _, french in pairs])
    return sources, mask, targets


TEST = [sentence(np.random.default_rng([1, i])) for i in range(400)]
UNSEEN = {english for english, _ in TEST}  # never trained on


STEPS = sized(300, 150, "steps")


def train(seed, steps=STEPS):
    """A trained model and its loss at each step; first weights and sentences depend on the seed."""
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Transformer(vocab, 32, num_heads=2, num_layers=2, dropout=0.0, norm_first=True)
    optimizer = optim.Adam(model.parameters())
    losses = []
    for step in range(steps):
        warm, slow = min(1, (step + 1) / 50), min(1, 2 * (1 - step / steps))
        optimizer.lr = 5e-3 * warm * slow  # rises at first, and falls at the end
        sources, mask, targets = batch(rng, 64)
        logits = model(sources, mask, targets[:, :-1])  # reads ⟨begin⟩ w1 w2 …
        loss = mg.cross_entropy(logits, targets[:, 1:], ignore_index=PAD)  # has to say w1 w2 … ⟨end⟩
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.eval(), losses


trained = [train(seed) for seed in range(3)]  # three times, to see what chance does
fig, ax = figure(6.4, 3.2)
for i, (_, losses) in enumerate(trained):
    ax.plot(np.arange(1, STEPS + 1), losses, label=f"seed {i}", **line(i))
steps = STEPS
ax.legend(loc="lower left")
ax.axhline(np.log(vocab), color="0.35", linewidth=1, linestyle=":")
ax.text(steps, np.log(vocab), "guessing among all words", ha="right", va="bottom", fontsize=9, color="0.25")
ax.set_xlabel("training step (64 sentences each)")
ax.set_ylabel("loss (nats per word)")
ax.set_yscale("log")
fig

# %% [markdown]
# To **write**, there is no right prefix to show. The model begins with `⟨begin⟩` alone, its most probable word is appended, and it is asked again, until it says `⟨end⟩`. The mask goes along: sentences of all lengths are translated in one batch.

# %%
def write(model, sources, mask, longest=14):
    """The most probable next word, again and again: (B, S) → a list of texts."""
    rows = np.full((len(sources), 1), BEGIN)
    with mg.no_grad():
        for _ in range(longest):
            logits = model(sources, mask, rows).data  # (B, T, vocab)
            rows = np.concatenate([rows, logits[:, -1].argmax(axis=-1)[:, None]], axis=1)
    said = [row[1:].tolist() for row in rows]
    return [
        " ".join(VOCABULARY[i] for i in row[: row.index(END)] if i != PAD) if END in row else "(no end)"
        for row in said
    ]


def correct(model, sources, mask):
    """Which of the test sentences are translated word for word as they should be: (400,)."""
    return np.array(
        [text == french for text, (_, french) in zip(write(model, sources, mask), TEST, strict=True)]
    )


sources, mask = pad([encode(english) for english, _ in TEST])
right = np.array([correct(model, sources, mask) for model, _ in trained])  # (3, 400)
words = np.array([len(english.split()) for english, _ in TEST])
model, losses = trained[0]  # the one to look at from here on
print(
    f"{model.num_parameters():,} weights; loss {np.mean(losses[:5]):.2f} → {np.mean(losses[-20:]):.4f}",
    f"(guessing: ln {vocab} = {np.log(vocab):.2f})",
)
print(
    "of 400 sentences that it has never seen, right word for word:",
    ", ".join(f"{r.mean():.1%}" for r in right),
)
assert right.mean(axis=1).min() > 0.95
table(
    ["English words", "sentences", "right, each of the three"],
    [
        (n, (words == n).sum(), "  ".join(f"{r[words == n].mean():.1%}" for r in right))
        for n in np.unique(words)
    ],
)

# %%
mine = [
    "the black cat sees a house",
    "a green apple eats the white wolf in a grey flower",
    "the frog follows the frog",
]
for english, text in zip(mine, write(model, *pad([encode(english) for english in mine])), strict=True):
    print(f"{english}  →  {text}")
phrases = len(ARTICLES) * len(NOUNS) * (1 + len(COLOURS))
possible = phrases * len(VERBS) * phrases * (1 + phrases)  # who, does what, to whom, and nowhere or in what
print(f"this language has {possible:,} sentences; in training it read {64 * steps:,}")
assert 64 * steps < possible / 100

# %% [markdown]
# None of the three models can have learned the 400 test sentences by heart: they were kept out of its training. (A short sentence such as the third above may well have been in it: of all sentences of the language it read one in a hundred at most, but of the shortest most.) It has learned the *rules*: the order, and the agreement of article and colour with a noun further on. (That apples do not eat wolves was not among them.)
#
# **And without the mask?** The same trained model, the same sentences, but `attention_mask` is not passed on, so padding counts as words. How much padding a sentence gets depends on the longest one in its batch; we pretend that there was a still longer one.

# %%
rows = []
for more in (0, 10, 30):
    longer, longer_mask = (np.pad(a, ((0, 0), (0, more))) for a in (sources, mask))
    kept = np.array([correct(model, longer, longer_mask).mean() for model, _ in trained])
    lost = np.array([correct(model, longer, None).mean() for model, _ in trained])
    assert np.abs(kept - right.mean(axis=1)).max() < 0.01
    shown = ("  ".join(f"{score:.1%}" for score in scores) for scores in (kept, lost))
    rows.append((longer.shape[1], *shown, f"{paired(100 * lost, 100 * kept, 1)}"))
assert (kept - lost).min() > 0.2
table(["padded to a length of", "right with the mask", "right without it", "difference in points"], rows)

# %% [markdown]
# (The last column: the mean of the three differences with its 95 % interval, as everywhere in this book; where the interval holds 0, it says *undecided*.)
#
# With the mask nothing changes, whatever the batch looks like. Without it, what a sentence means depends on the company it is in. How much is lost differs from model to model, so that the mean is *undecided* at first: look at the first row, where one of the three loses little. With that model the fault would survive, until one long sentence gets into the batch and spoils the others.

# %% [markdown]
# ## 4 · One sentence's path through the model
#
# Here is everything at once, with the numbers of the trained model. **Every row is a word, from left to right it goes through the model.** Above, the encoder reads the English sentence; below, the decoder has written *le chat* and is about to say the next word. Attention maps are grey: dark means that the
# word of this row looks at the word of that column (mean of the two heads). Vectors are coloured: dark blue is negative, yellow positive. The decoder's self-attention is causal: nothing above its diagonal. Its cross-attention looks at the rows of the memory, the picture at the top right.

# %%
english, so_far = "the black cat sees a house", "le chat"
source, target = np.array([encode(english)]), np.array([[BEGIN, *encode(so_far)]])
with mg.no_grad(), attention_maps(model) as maps:
    embedded = model.embedding(source).data[0] * np.sqrt(32)  # (S, C): the paper's factor √C
    placed = model.embed(model.embedding, source).data[0]  # + positions
    first = model.encoder.layers[0](mg.Tensor(placed[None]))
    memory = model.encode(source)
    begun = model.embed(model.target_embedding, target).data[0]
    logits = model.decode(target, memory).data[0]  # (T, vocab)
maps = {name: kept[-1][0].mean(axis=0) for name, kept in maps.items()}  # mean over the heads: (rows, columns)
probability = softmax(logits[-1].astype(float))
top = np.argsort(-probability)[:6]

rows, heard = english.split(), ["⟨begin⟩", *so_far.split()]
fig, axes = figure(13.2, 6.0, 2, 6, width_ratios=[1.3, 1.3, 1.1, 1.3, 1.1, 1.3])
fig.get_layout_engine().set(wspace=0.07)  # room for the arrows
steps_above = [
    ("embeddings", embedded, None),
    ("+ positions", placed, None),
    ("layer 1: self-attention", maps["encoder.layers.0.self_attention"], rows),
    ("after layer 1", first.data[0], None),
    ("layer 2: self-attention", maps["encoder.layers.1.self_attention"], rows),
    ("after layer 2: the memory", memory.data[0], None),
]
steps_below = [
    ("embeddings + positions", begun, None),
    ("layer 1: self-attention", maps["decoder.layers.0.self_attention"], heard),
    ("layer 1: cross-attention", maps["decoder.layers.0.cross_attention"], rows),
    ("layer 2: cross-attention", maps["decoder.layers.1.cross_attention"], rows),
    ("after layer 2: logits", logits, None),
]
for strip, shown, words, numbers in (
    (axes[0], steps_above, rows, source[0]),
    (axes[1], steps_below, heard, target[0]),
):
    for ax, (title, matrix, columns) in zip(strip, shown):
        limit = np.abs(matrix).max()
        signed = columns is None
        ax.imshow(
            matrix,
            cmap="cividis" if signed else "Greys",
            vmin=-limit if signed else 0,
            vmax=limit if signed else 1,
            aspect="auto",
            interpolation="nearest",
        )
        ax.grid(False)
        ax.set_title(f"{title}\n{matrix.shape}", fontsize=9.5)
        ax.set_yticks(
            range(len(words)),
            [f"{w}  {i}" for w, i in zip(words, numbers)] if ax is strip[0] else [],
            fontsize=9,
        )
        ax.set_xticks(
            range(len(columns)) if columns else [], columns if columns else [], rotation=90, fontsize=8.5
        )
        ax.set_xlabel(
            "word looked at (key)"
            if columns
            else "word of the vocabulary"
            if "logits" in title
            else "number in the vector",
            fontsize=8.5,
        )
        ax.tick_params(length=0)
        ax.spines[:].set_visible(True)
        if ax is not axes[0][5]:
            ax.annotate(
                "",
                (1.09, 0.5),
                (1.0, 0.5),
                "axes fraction",
                arrowprops={"arrowstyle": "-|>", "color": "0.2", "linewidth": 1.3},
                annotation_clip=False,
            )
ax = axes[1][5]
ax.barh(range(6), probability[top], color=[line(0)["color"], *["0.6"] * 5])
ax.set_yticks([])
for i, j in enumerate(top):
    inside = probability[j] > 0.6
    ax.text(
        0.03 if inside else probability[j] + 0.03,
        i,
        f"{VOCABULARY[j]}  {probability[j]:.3f}",
        va="center",
        fontsize=9,
        color="white" if inside else "black",
    )
ax.set_xlim(0, 1)
ax.invert_yaxis()
ax.set_title(f"softmax of the last row\nthe largest six of {vocab}", fontsize=9.5)
ax.set_xlabel("probability of the next word", fontsize=8.5)
axes[0][0].set_ylabel("encoder: word and id")
axes[1][0].set_ylabel("decoder: word and id")
fig

# %%
cross = maps["decoder.layers.0.cross_attention"], maps["decoder.layers.1.cross_attention"]
looked = [rows[int(m[-1].argmax())] for m in cross]
print(
    f"after '{so_far}' the next word is '{VOCABULARY[top[0]]}' with probability {probability[top[0]]:.3f};",
    f"to say so, layer 1 looked most at '{looked[0]}', layer 2 at '{looked[1]}'",
)
assert VOCABULARY[top[0]] == "noir" and np.allclose(
    maps["decoder.layers.0.self_attention"], np.tril(maps["decoder.layers.0.self_attention"])
)
table(
    ["step", "shape", "chapter"],
    [
        ("ids", f"(S,) = {source[0].shape}", "here"),
        ("embedding: E[ids]·√C, and positions", f"(S, C) = {placed.shape}", "07"),
        (
            "encoder layer: self-attention, feed-forward, each with addition and norm",
            f"(S, C) = {first.data[0].shape}",
            "05, 06, 08",
        ),
        ("decoder layer: the same, causal, with cross-attention in between", f"(T, C) = {begun.shape}", "09"),
        ("logits: the output · Eᵀ", f"(T, vocab) = {logits.shape}", "03"),
        ("softmax of the last row: the next word", f"(vocab,) = {probability.shape}", "03, 12"),
    ],
)

# %% [markdown]
# ## 5 · A page that looks like one
#
# Now for the other page. It is our own text, in the manner of an introductory article. The words are right: embedding, positions, heads, layers, encoder, decoder, attention mask. It is written for PyTorch, and Python has no objection to it:

# %%
LISTING = """
class Transformer(nn.Module):
    def __init__(self, vocab_size, embedding_dim, num_heads, num_layers):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, embedding_dim)
        self.position_embedding = nn.Embedding(vocab_size, embedding_dim)
        self.encoder = nn.ModuleList([self.make_layer(embedding_dim, num_layers) for _ in range(num_heads)])
        self.decoder = nn.ModuleList([self.make_layer(embedding_dim, num_layers) for _ in range(num_heads)])

    def make_layer(self, embedding_dim, num_layers):
        return nn.ModuleList([nn.Linear(embedding_dim, embedding_dim) for _ in range(num_layers)])

    def multi_head_attention(self, attention_heads, x):
        outputs = []
        for i, attention in enumerate(attention_heads):
            head = x[:, i].view(-1, 2 * self.embedding_dim)
            output, weights = attention(head, head, head)
            outputs.append(output)
        return torch.cat(outputs, dim=-1)

    def forward(self, input_ids, attention_mask):
        x = self.token_embedding(input_ids) + self.position_embedding(input_ids)
        for layer in self.encoder:
            x = self.multi_head_attention(layer, x)
        for layer in self.decoder:
            x = self.multi_head_attention(layer, x)
        return x
""".strip()
compile(LISTING, "the listing", "exec")
for number, text in enumerate(LISTING.splitlines(), 1):
    print(f"{number:2}  {text}")

# %% [markdown]
# **Read it before you go on**, with the plan of section 2 beside it. How many faults do you find?
#
# **The tool** for finding them is the *probe*: change something in the input, and see whether the output changes. An answer must change when the meaning does, and must not when it does not. Each idea of the listing is tried below in a few lines of NumPy, on one sentence, with small random weights ($C = 8$, $H = 2$, $D = 4$); its cure stands beside it.

# %%
C, H, T = 8, 2, len(ids)
D = C // H
rng = np.random.default_rng(0)
E = rng.normal(size=(vocab, C))  # the embedding: a row of C numbers for each word of the vocabulary
# three make queries, keys, values; W_O mixes the result (chapter 06)
W_Q, W_K, W_V, W_O = rng.normal(size=(4, C, C)) / np.sqrt(C)
x = E[ids]  # (T, C)
found = []  # what we saw: fault, its lines in the listing, evidence, cure, chapter


def attend(
    x, memory=None, mask=None
):  # (T, C) → (T, C): one head that asks, looks and mixes; the cured version
    memory = x if memory is None else memory  # what is looked at
    return attention(x @ W_Q, memory @ W_K, memory @ W_V, mask) @ W_O


def change(a, b):
    """The largest difference between two arrays."""
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def complaint(function):
    """What Python says when the function fails, as it must here."""
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("this was expected to fail, and did not")


def note(fault, lines, evidence, cure, chapter):
    found.append((len(found) + 1, fault, lines, evidence, cure, chapter))
    print(evidence)

# %% [markdown]
# ## 6 · Fourteen faults
#
# ### Getting the numbers in
#
# **Fault 1: positions looked up by token id** (lines 5 and 21). Each place should have a vector $PE_t$ that is added to the word. The faulty idea has a table $PE$ as long as the *vocabulary* and looks it up with the **id** of the word. But then
# a word brings the same "position" along wherever it stands: $E_{id} + PE_{id}$ is just another embedding. The probe swaps *cat* and *house*, a different sentence, and compares what the word *cat* gets.

# %%
swapped = np.array(encode("the black house sees a cat"))
PE = rng.normal(size=(vocab, C))  # as long as the vocabulary
wrong, wrong_swapped = attend(E[ids] + PE[ids]), attend(E[swapped] + PE[swapped])
cat, cat_swapped = 2, 5  # where the cat stands
place = np.arange(T)  # the cure: 0, 1, 2, …, whatever the words are
right, right_swapped = attend(E[ids] + PE[place]), attend(E[swapped] + PE[place])
faulty, cured = change(wrong[cat], wrong_swapped[cat_swapped]), change(right[cat], right_swapped[cat_swapped])
assert faulty < 1e-12 and cured > 0.1
note(
    "positions looked up by token id",
    "5, 21",
    f"who sees whom is swapped, and the cat's vector changes by {faulty:.0e} (with PE[place]: {cured:.2f})",
    "PE[0 … T−1]",
    "07",
)

# %% [markdown]
# **Fault 2: sizes used but never stored** (line 15). The constructor receives `embedding_dim`, and another method uses `self.embedding_dim`. Nothing put it there. A constructor's arguments are gone when it returns.

# %%
class Forgetful:
    def __init__(self, vocab_size, embedding_dim):
        self.E = np.zeros((vocab_size, embedding_dim))

    def forward(self, ids):
        return self.E[ids] * np.sqrt(self.embedding_dim)


class Mindful(Forgetful):
    def __init__(self, vocab_size, embedding_dim):
        super().__init__(vocab_size, embedding_dim)
        self.embedding_dim = embedding_dim  # the cure


said = complaint(lambda: Forgetful(vocab, C).forward(ids))
assert "embedding_dim" in said and Mindful(vocab, C).forward(ids).shape == (T, C)
note("sizes used but never stored", "15", said, "self.embedding_dim = embedding_dim", "–")

# %% [markdown]
# **Fault 3: heads and layers swapped** (lines 6, 7 and 10). Two whole numbers next to each other; Python does not mind. With some sizes there is an error. With others there is none, and that is worse: you get a model of another depth than the one you asked for, and compare it with the wrong things for weeks.

# %%
def build(num_heads, num_layers):
    """The faulty loop: one layer for each *head*, and as many heads as there should be *layers*."""
    x = E[ids]
    layers = [
        x.reshape(T, num_layers, C // num_layers) for _ in range(num_heads)
    ]  # each splits x into its heads
    return len(layers), layers[0].shape[1]


depth, heads = build(num_heads=2, num_layers=4)
said = complaint(lambda: build(num_heads=4, num_layers=6))
assert (depth, heads) == (2, 4) and "reshape" in said
note(
    "heads and layers swapped",
    "6–7, 10",
    f"asked for 2 heads and 4 layers, got {heads} heads and {depth} layers without a word; 4 and 6: {said}",
    "for _ in range(num_layers); split into num_heads",
    "06",
)

# %% [markdown]
# ### Inside attention
#
# **Fault 4: heads indexed as if they were positions** (line 15). `x[h]` is not head $h$ of every word; it is *everything of word h*. With $H = 2$ heads the model reads two words and never looks at the rest.

# %%
def heads_by_index(x):
    return np.stack([x[h] for h in range(H)])  # (H, C): the first H words!


def heads_by_slice(x):
    return x.reshape(T, H, D).swapaxes(0, 1)  # (H, T, D): a slice of every word


other = E[np.array(encode("the black horse eats the wolf"))]  # all others from the third word on
faulty, cured = (
    change(heads_by_index(x), heads_by_index(other)),
    change(heads_by_slice(x), heads_by_slice(other)),
)
assert faulty == 0 < cured
note(
    "heads indexed as sequence positions",
    "15",
    f"all words but the first {H} are exchanged, and the heads change by {faulty:.0f} (cured: {cured:.2f})",
    "x.reshape(T, H, D).swapaxes(0, 1)",
    "06",
)

# %% [markdown]
# **Fault 5: a vector of one width viewed as twice that width** (line 15). A row has $C$ numbers. Asking for $2C$ is an error, or, when NumPy is allowed to choose the other size, it glues two neighbouring words together into one.

# %%
said = complaint(lambda: x.reshape(T, 2 * C))
glued = x.reshape(-1, 2 * C)
assert "reshape" in said and glued.shape == (T // 2, 2 * C) and np.array_equal(glued[0], [*x[0], *x[1]])
note(
    "a vector viewed as twice its width",
    "15",
    f"{said}; with −1 instead of T: {T} words become {len(glued)}, each of them two words side by side",
    "H · D = C, always",
    "06",
)

# %% [markdown]
# **Fault 6: "attention" is one Linear** (lines 10 and 16). A *Linear* is a matrix product, $y = xW$, on each row by itself. It was called with three arguments (query, key, value) and expected to return two things (the output and the weights). It takes one and returns one. And even if the call is mended, no word learns
# anything about any other, which is the very thing attention is for.

# %%
def linear(x):
    return x @ W_V


def expecting_two():
    output, weights = linear(x)
    return output, weights


said = complaint(lambda: linear(x, x, x)), complaint(expecting_two)
changed = x.copy()
changed[5] = E[ID["frog"]]  # another last word
faulty, cured = change(linear(x)[:5], linear(changed)[:5]), change(attend(x)[:5], attend(changed)[:5])
assert "3 were given" in said[0] and "unpack" in said[1] and faulty == 0 and cured > 0.01
note(
    '"attention" is one Linear',
    "10, 16",
    f"{said[0]}; {said[1]}. Mended, a new last word changes others by {faulty:.0f} (attention: {cured:.2f})",
    "softmax(QKᵀ/√D) V, and return the weights too",
    "05",
)

# %% [markdown]
# **Fault 7: no $\sqrt{d}$** (nowhere, as with the next three). A dot product of two vectors with $d$ random numbers each has a typical size of $\sqrt d$. Without the division, softmax of such scores gives nearly everything to one word, and there it is flat: its slopes $p_j(1 - p_j)$ vanish, and learning stops, since learning *is* following slopes.

# %%
d, S = 512, 16  # a usual width, and sixteen keys
q, k = rng.normal(size=(400, 1, d)), rng.normal(size=(400, S, d))
scores = (q * k).sum(axis=-1)  # (400, S): 400 trials
slopes = {
    name: np.median((p * (1 - p)).max(axis=-1))
    for name, p in (("no", softmax(scores)), ("yes", softmax(scores / np.sqrt(d))))
}
assert slopes["no"] < 0.01 and slopes["yes"] > 0.05
note(
    "no √d",
    "none",
    f"the largest slope of softmax at d = {d}: {slopes['no']:.0e} (divided by √d: {slopes['yes']:.2f})",
    "scores / √D",
    "05",
)

# %% [markdown]
# **Fault 8: no softmax.** Then the weights are the scores themselves: of any sign, and of any sum. Say every word twice: a mixture stays what it was, but a raw sum doubles. The next layer makes it worse, and the answer depends on how long the text is.

# %%
def unnormalised(x):
    q, k, v = x @ W_Q, x @ W_K, x @ W_V
    return q @ k.T / np.sqrt(C) @ v @ W_O


twice = np.concatenate([x, x])  # every word said twice
growth = [np.abs(f(twice)[:T]).mean() / np.abs(f(x)).mean() for f in (unnormalised, attend)]
assert np.isclose(growth[0], 2) and np.isclose(growth[1], 1)
note(
    "no softmax",
    "none",
    f"every word said twice makes the output {growth[0]:.2f} times as large (softmax: {growth[1]:.2f} times)",
    "softmax over the keys, so that the weights add up to 1",
    "05",
)

# %% [markdown]
# ### Around attention
#
# **Fault 9: no norm.** Each layer *adds* something to every word (here about twice its own size). Stack 24 layers without a norm, and the numbers grow with each. Layer norm brings every row back to mean 0 and variance 1 before the next layer reads it.

# %%
def norm(x):
    return (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True)


sizes = {}
for name, step in {"without": lambda x, W: x + 2 * x @ W, "with": lambda x, W: norm(x + 2 * x @ W)}.items():
    deep, weights = x, np.random.default_rng(1)
    for _ in range(24):
        deep = step(deep, weights.normal(size=(C, C)) / np.sqrt(C))
    sizes[name] = deep.std()
assert sizes["without"] > 1e4 and 0.5 < sizes["with"] < 2
note(
    "no norm",
    "none",
    f"after 24 layers the numbers have size {sizes['without']:.0e} (with the norm: {sizes['with']:.2f})",
    "norm(x + sublayer(x)), or x + sublayer(norm(x))",
    "08",
)

# %% [markdown]
# **Fault 10: no feed-forward network.** Attention mixes words; with given weights, what it does to them is *linear*. Some things no linear map can do, however often it is repeated. The smallest of them: two yes/no numbers, and the question whether **exactly one** of them is yes. The
# feed-forward network can do it, with two hidden units.

# %%
bits = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
exactly_one = np.array([0, 1, 1, 0])
with_one = np.c_[bits, np.ones(4)]  # a column of ones for the bias
best_linear = with_one @ np.linalg.lstsq(with_one, exactly_one, rcond=None)[0]  # no linear map comes closer
hidden = np.maximum(bits @ np.array([[1, 1], [1, 1]]) + [0, -1], 0)  # relu(a + b), relu(a + b − 1)
ffn = hidden @ np.array([1, -2])
assert np.allclose(best_linear, 0.5) and np.array_equal(ffn, exactly_one)
note(
    "no feed-forward network",
    "none",
    f"the best linear answer to 'exactly one?' is {best_linear} for all four cases (feed-forward: {ffn})",
    "relu(xW₁ + b₁)W₂ + b₂ after attention",
    "08",
)

# %% [markdown]
# **Fault 11: `attention_mask` is never used** (line 20). A batch is one array, so short sentences are padded. The mask says which tokens are real: 1 for a word, 0 for padding. A `forward(input_ids, attention_mask)` that ignores its second argument lets every word look at the padding. The probe
# takes the same sentence alone and padded.

# %%
padded = np.append(ids, [PAD, PAD, PAD])
mask = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0])
faulty = change(attend(x), attend(E[padded])[:T])
cured = change(
    attend(x), attend(E[padded], mask=mask.astype(bool))[:T]
)  # padding gets the score −∞, so the weight 0
assert faulty > 0.01 and cured < 1e-12
note(
    "attention_mask never used",
    "20",
    f"three paddings change the sentence's numbers by {faulty:.2f} (masked: {cured:.0e})",
    "scores of padding = −∞, before the softmax",
    "05",
)

# %% [markdown]
# ### The decoder
#
# **Fault 12: the decoder has no mask** (lines 24 and 25). It repeats the encoder, in which every word sees every other. But in the decoder the words to the right are the *answers*. With them in sight, the shortest way to a low loss is to copy them, and when the model writes they are not there.

# %%
causal = np.tri(T, dtype=bool)  # (T, T): place i may look at places 0 … i
faulty = change(attend(x)[:5], attend(changed)[:5])  # only the last word was changed
cured = change(attend(x, mask=causal)[:5], attend(changed, mask=causal)[:5])
assert faulty > 0.01 and cured == 0
note(
    "decoder without a causal mask",
    "24–25",
    f"the first five places feel a change of the sixth word by {faulty:.2f} (masked: {cured:.0f})",
    "score of word j for word i = −∞ for j > i",
    "05, 09",
)

# %% [markdown]
# **Fault 13: the decoder has no cross-attention** (the same lines). How should it know what to translate?

# %%
begun = E[np.array([BEGIN, *encode("le chat")])]  # what the decoder has written
cat_memory, frog_memory = (
    attend(E[np.array(encode(text))]) for text in ("the black cat sees a house", "a frog eats the apple")
)


def without_cross(target, memory):
    return attend(target, mask=np.tri(3, dtype=bool))  # the memory is there, and nobody asks


def with_cross(target, memory):
    y = target + attend(target, mask=np.tri(3, dtype=bool))
    return y + attend(y, memory)


faulty, cured = (change(f(begun, cat_memory), f(begun, frog_memory)) for f in (without_cross, with_cross))
assert faulty == 0 and cured > 0.01
note(
    "decoder without cross-attention",
    "24–25",
    f"another source sentence changes the decoder by {faulty:.0f} (with cross-attention: {cured:.2f})",
    "queries from the decoder, keys and values from the encoder",
    "09",
)

# %% [markdown]
# **Fault 14: no output layer** (line 26). The last layer gives $C$ numbers for each place. A prediction needs logits, one for each of the $\mathcal V$ words. Without them, the id of a French word is not even a valid index, and taking the largest of $C$ numbers can only ever name
# the first $C$ words of the vocabulary.

# %%
h = attend(x)  # (T, C): what the last layer gives
wanted = ID["le"]
said = complaint(lambda: h[-1, wanted])
logits = h @ E.T  # (T, vocab): how much does the output look like each word's embedding?
p = softmax(logits[-1])
assert "out of bounds" in said and logits.shape == (T, vocab) and np.isclose(p.sum(), 1)
note(
    "no output layer gives logits",
    "26",
    f"{said}; with an output layer 'le' has the probability {p[wanted]:.3f}, before any training",
    "logits = h Eᵀ, (T, vocab)",
    "03, 09",
)

# %%
table(["", "fault", "lines", "what we saw", "cure", "chapter"], found)

# %% [markdown]
# Six of the fourteen (2, 3, 4 with more heads than words, 5, 6, 14) can stop with an error, and of these only fault 2 has no quiet form. Errors are the kind ones. The quiet ones run. Nothing but a probe would have found them, and each probe is a line or two: **swap words, change the last word, exchange the source, add padding.** Make a habit of it.

# %% [markdown]
# ## 7 · The same probes on one that runs
#
# The library's model has the four names of the listing, and its `forward(input_ids, attention_mask)`. Let us ask it the same questions, before training, with random weights.

# %%
mg.manual_seed(0)
fresh = Transformer(vocab_size=vocab, embedding_dim=32, num_heads=2, num_layers=2)
fresh.eval()  # no dropout (chapter 10) while we look
source, mask = pad([encode("the black cat sees a house"), encode("a frog eats the apple in the green house")])
target = np.array([[BEGIN, *encode("le chat noir")], [BEGIN, *encode("une grenouille mange")]])

with mg.no_grad():
    simple = fresh(source, mask)  # the article's call: the decoder reads the source itself
    logits = fresh(source, mask, target).data  # (2, 4, vocab)
    alone = fresh(source[:1, :6], None, target[:1]).data
    last = target.copy()
    last[:, 3] = ID["blanche"]
    other_last = fresh(source, mask, last).data
    other_source = fresh(source[::-1], mask[::-1], target).data
    word_order = fresh(np.array([encode("the black house sees a cat")]), None, target[:1]).data

probes = [
    (
        "model(input_ids, attention_mask) gives logits",
        f"{simple.shape} = (B, S, vocab)",
        simple.shape == (2, 9, vocab),
    ),
    ("cat and house are swapped: must change", change(alone, word_order), change(alone, word_order) > 1e-3),
    ("padding is added: must not change", change(alone, logits[:1]), change(alone, logits[:1]) < 1e-5),
    (
        "the last target word is exchanged, earlier places: must not change",
        change(logits[:, :3], other_last[:, :3]),
        change(logits[:, :3], other_last[:, :3]) < 1e-5,
    ),
    (
        "the source is exchanged: must change",
        change(logits, other_source),
        change(logits, other_source) > 1e-3,
    ),
]
mg.cross_entropy(fresh(source, mask, target), target).backward()  # cross-entropy: chapter 03
asleep = [
    name for name, p in fresh.named_parameters() if p.grad is None or not np.abs(p.grad.data).max() > 1e-6
]
asleep = [
    name for name in asleep if "k_proj.bias" not in name
]  # added to all scores of a row alike: softmax does not notice it
probes.append(
    (
        f"the gradient reaches each of its {len(fresh.parameters())} arrays (key biases aside)",
        f"{len(asleep)} missed",
        not asleep,
    )
)
assert all(fine for *_, fine in probes), probes
table(
    ["probe", "measured", "as it should be"],
    [(what, f"{m:.1g}" if isinstance(m, float) else m, "yes" if fine else "NO") for what, m, fine in probes],
)

# %% [markdown]
# (In the two-argument call the decoder reads the source *and* sees all of it through cross-attention. That is fine for questions such as *what kind of word is this?*, and useless for learning to predict the next word. For translation we give the target as well.)

# %% [markdown]
# ## 8 · The letters of the book, and its map
#
# A letter means the same in all chapters, in formulas and in code (the tests of this project look for others). Small letters that only one section needs are explained there. Exceptions, each explained where it is made: $g$ in 02 is the upstream gradient of one step, $\varepsilon$ in 01 the precision of a number, and 08b, 10 and 15 keep a few letters of their papers for one section.
#
# | letter | in code | what it is | explained in |
# | --- | --- | --- | --- |
# | $B$ | `B` | sequences in a batch | 00 |
# | $T$ | `T` | length of the target: how many tokens are written, or ask; of a text, when there is only one | 00 |
# | $S$ | `S` | length of the source: how many tokens are looked at | 00 |
# | $C$ | `C` | width of the model: numbers for each token | 00 |
# | $H$, $D$ | `H`, `D` | heads, and the width of one: $D = C/H$ | 00 |
# | $F$ | `F` | width inside of the feed-forward network | 08 |
# | $L$ | `L` | layers | 00 |
# | $M$ | `M` | width of a recurrent network's state | 04 |
# | $N$ | `N` | how many of something: examples, rows, workers | 01 |
# | $\mathcal V$ | `vocab` | how many there are to choose from: words of the vocabulary, classes, labels | 00 |
# | $\mathcal L$ | `loss` | the loss | 01 |
# | $\bar w$ | `w_bar` | the gradient of the loss with respect to $w$, in the shape of $w$ | 01 |
# | $\delta^+(h)$, $\delta(h)$ | `forward`, `central` | the forward and the central difference, $\delta_h$ for short | 01 |
# | $X$, $x$ | `X`, `x` | what goes into a layer, a row for each token | 01 |
# | $W$, $b$ | `W`, `b` | the matrix and the bias of a linear map, $y = xW + b$ | 01 |
# | $I$, $O$ | `I`, `O` | numbers that go into a linear map, and that come out (in 05 and 06, $O$ is the output $PV$ of attention) | 01 |
# | $E$ | `E` | the table of embeddings, $(\mathcal V, C)$ | 00 |
# | $PE$ | `PE` | the table of positions, $(T, C)$ | 07 |
# | $Q$, $K$, $V$ | `Q`, `K`, `V` | queries, keys, values, a row for each token | 05 |
# | $W^Q$, $W^K$, $W^V$, $W^O$ | `W_Q`, `W_K`, `W_V`, `W_O` | the matrices that make queries, keys and values, and the one that mixes the heads | 06 |
# | $D_v$ | `Dv` | width of a value, where it is not $D$ | 05 |
# | $Z$, $z$ | `Z`, `z` | what goes into a softmax: scores $(T, S)$, logits $(T, \mathcal V)$ | 03 |
# | $P$, $p$ | `P`, `p` | what comes out of it: weights $(T, S)$, probabilities $(T, \mathcal V)$ | 03 |
# | $\mathbf 1_t$ | `one_hot` | rows with a 1 at the right class and 0 elsewhere | 03 |
# | $\delta_{jk}$ | `np.eye` | 1 if $j = k$, else 0 | 03 |
# | $\gamma$, $\beta$, $\varepsilon$ | `gamma`, `beta`, `eps` | scale, shift and tiny number of a norm | 03 |
# | $\mathbb H(p)$ | `entropy` | the entropy of a distribution | 05 |
# | $\theta$, $g$, $\eta$ | `theta`, `g`, `eta` | all parameters, their gradient, the learning rate | 10 |
# | $\odot$, $\operatorname{mean}$ | `*`, `.mean()` | product entry by entry; mean of the numbers of a row | 02, 03 |
# | ⟨pad⟩, ⟨begin⟩, ⟨end⟩ | `PAD`, `BEGIN`, `END` | marks in a text | 00 |
#
# (The library's comments write `V` for the size of the vocabulary, since its queries, keys and values are small letters.)
#
# The map: read along the rows. An arrow leads to a chapter from each one that it needs.

# %%
book_map()

# %% [markdown]
# ## Common misunderstandings
#
# - ***It runs, so it is a Transformer.*** Thirteen of the fourteen faults have a form that runs. A model without positions, masks or cross-attention even *learns* something, just not what you think.
# - ***The attention mask and the causal mask are the same.*** One hides padding and depends on the batch; the other hides the future and depends on nothing but the place. A decoder needs both.
# - ***Position is a property of the word.*** It is a property of the place. The same word at another place gets another vector.
# - ***The decoder outputs a word.*** It outputs $\mathcal V$ logits for each place; somebody has to choose (chapter 12).
# - ***Heads are copies of the model that vote.*** Heads are slices of queries, keys and values: each makes its $D = C/H$ numbers from all $C$ of a word, and costs $1/H$ of the whole.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · Padding and its mask
#
# Rows of ids of different lengths become one array $(B, S)$, filled up **on the right** with `pad_id`, and a mask $(B, S)$: 1 for a token, 0 for padding. Beware: `pad_id` may also be the id of a real token in some row.

# %% tags=["exercise"]
def pad_and_mask(rows, pad_id):
    """Lists of ids → the pair (ids (B, S), mask (B, S) of 0 and 1)."""
    ### BEGIN SOLUTION
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), pad_id)
    mask = np.zeros((len(rows), longest), int)
    for b, row in enumerate(rows):
        ids[b, : len(row)] = row
        mask[b, : len(row)] = 1
    return ids, mask
    ### END SOLUTION


checks.check_00_pad_and_mask(pad_and_mask)

# %% [markdown] tags=["idea"]
# $S$ is the length of the longest row. Begin with an array full of `pad_id` and a mask of zeros, and write each row's ids, and as many ones, at its beginning. The mask comes from the **lengths**: comparing ids with `pad_id` would hide real tokens.

# %% [markdown]
# ### Exercise 2 ★★ · Heads
#
# Split $x: (B, T, C)$ into $H$ heads, $(B, H, T, D)$ with $D = C/H$: head $h$ gets numbers $hD \dots (h+1)D - 1$ of **every word**.

# %% tags=["exercise"]
def split(x, H):
    """(B, T, C) → (B, H, T, C/H)."""
    ### BEGIN SOLUTION
    B, T, C = x.shape
    return x.reshape(B, T, H, C // H).swapaxes(1, 2)
    ### END SOLUTION


checks.check_00_split(split)

# %% [markdown] tags=["idea"]
# First `reshape` cuts each row of $C$ numbers into $H$ pieces: $(B, T, H, D)$. Then `swapaxes(1, 2)` brings the heads forward. A direct `reshape(B, H, T, D)` has the right shape and the wrong numbers: it cuts the *sentence* into pieces.

# %% [markdown]
# ### Exercise 3 ★★ · Attention that respects the mask
#
# From $Q: (T, D)$, $K: (S, D)$, $V: (S, D_v)$ (a value may have another width, $D_v$) and a mask $(S,)$, 1 for tokens and 0 for padding: the pair of the output $(T, D_v)$ and the weights $(T, S)$, for scores of any size.

# %% tags=["exercise"]
def masked_attention(Q, K, V, mask):
    """The pair (output (T, Dv), weights (T, S)); nobody attends to padding."""
    ### BEGIN SOLUTION
    s = Q @ K.T / np.sqrt(Q.shape[-1])
    s = np.where(np.asarray(mask, bool)[None, :], s, -np.inf)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    return weights @ V, weights
    ### END SOLUTION


checks.check_00_masked_attention(masked_attention)

# %% [markdown] tags=["idea"]
# Scores, divided by $\sqrt D$; the columns of padding become $-\infty$; softmax along the keys, the last axis; times $V$. The mask must act **before** the softmax: shares that are set to zero afterwards no longer add up to 1.

# %% [markdown]
# ### Exercise 4 ★★★ · A probe for the future
#
# You are given a decoder as a black box: `f(ids)` takes ids $(T,)$ and returns logits $(T, \mathcal V)$. Write the probe: True if the logits at **any** place depend on ids at **any later** place. You may call `f` as often as you like; the ids you may use are $0 \dots \mathcal V - 1$. Some of the boxes in the check are sly.

# %% tags=["exercise"]
def sees_the_future(f, ids, vocab):
    """Whether f(ids)[t] depends on ids[u] for some u > t."""
    ### BEGIN SOLUTION
    before = np.array(f(ids))
    for u in range(len(ids)):
        for other in range(vocab):
            changed = np.array(ids)
            changed[u] = other
            if not np.allclose(f(changed)[:u], before[:u]):
                return True
    return False
    ### END SOLUTION


checks.check_00_sees_the_future(sees_the_future)

# %% [markdown] tags=["idea"]
# Change **one place $u$ at a time**, to **every other id**, and compare all rows before $u$; rows from $u$ on may change. Changing only the last place misses a box that looks just one place ahead in the middle; comparing all rows finds the present guilty; trying a single other id can
# meet one that the box happens to treat alike.

# %% [markdown]
# ## References
#
# - A. Vaswani et al., "Attention is all you need", NeurIPS 2017: section 3 and figure 1, all of it.
# - A. Rush, "The annotated Transformer", Workshop for NLP Open Source Software, ACL 2018: the same paper, line by line in code.
# - A. Karpathy, "A recipe for training neural networks" (blog, 2019): why mistakes here are silent, and what to look at before training anything.
# - M. Phuong and M. Hutter, "Formal algorithms for Transformers", arXiv:2207.09238 (2022): the pseudocode, complete and precise.
#
# **Next:** [01 · Derivatives by hand](01_derivatives_by_hand.ipynb), where learning begins.
