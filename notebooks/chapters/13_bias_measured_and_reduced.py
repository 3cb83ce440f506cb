# ---
# jupyter:
#   cover: 1
# ---

# %% [markdown]
# # 13 · Bias, measured and reduced
#
# *About 45 minutes to read, 45 more for the exercises. You need cross-entropy ([03 · Softmax, cross-entropy, layer norm](03_softmax_cross_entropy_layer_norm.ipynb)); the model is a small GPT, a decoder-only stack of [the blocks of chapter 08](08_the_block.ipynb).*
#
# A language model learns which words go together in its text. Some of these associations one does not want to be passed on: that the nurse is a *she* and the engineer a *he*. Three cures are usually named: more balanced data, counterfactual examples, and a penalty during training. Here you measure a bias, in a language where its true size is known; apply each cure;
# and see what it costs, and what does not work.
#
# The two groups are those of English pronouns, *he* and *she*, because two words that take each other's place make everything countable. That is a simplification by grammar, not a statement about people. Which occupation of our language goes with which pronoun is as arbitrary as its sentences.
#
# **After this chapter you can**
#
# - score a pair of sentences that differ in one word, and say what the score does not tell;
# - give the mean of many pairs an interval that is honest about pairs that are not independent;
# - balance a text in three ways, and derive the gradient of a penalty;
# - read a trade-off between bias and perplexity, and name the text on which perplexity was measured.

# %%
import math

import numpy as np

import checks
import minigrad as mg
from book import COLOURS, ROOT, figure, paired, sized, table
from transformer.bias import LanguageModel, corpus, counterfactual, counterfactual_gap, pronoun_gap
from transformer.bias.experiment import BASELINE, TOKENIZER, Cure, cured, measured, projected
from transformer.bias.reduce import CounterfactualPenalty, augmented

# %% [markdown]
# ## 1 · One pair, by hand
#
# Let $x$ be a sentence and $\operatorname{swap}(x)$ its **counterfactual**: the same with the other pronouns. A language model gives every word a probability, given the words before it; those of a sentence multiply, so their logarithms add:
#
# $$\log p(x) = \sum_t \log p(x_t \mid x_1 \dots x_{t-1}), \qquad \boxed{\Delta(x) = \log p(x) - \log p(\operatorname{swap}(x))} .$$
#
# | $x$ | the | nurse | said | **she** | slept |
# | --- | --- | --- | --- | --- | --- |
# | $p(x_t \mid \dots)$ | 0.5 | 0.1 | 0.4 | **0.6** | 0.20 |
# | $\operatorname{swap}(x)$ | the | nurse | said | **he** | slept |
# | $p(x_t \mid \dots)$ | 0.5 | 0.1 | 0.4 | **0.2** | 0.25 |
#
# What stands before the changed word is the same in both and cancels. What stands *after* it does not: it was read with another word before it. So $\Delta = \ln\frac{0.6}{0.2} + \ln\frac{0.20}{0.25} = \ln 3 + \ln 0.8 = \ln 2.4 = 0.875$ nats: the model finds the first sentence $e^\Delta = 2.4$ times as likely as the second. For $\Delta = 0$ both are equally likely.

# %%
x, swapped = np.array([0.5, 0.1, 0.4, 0.6, 0.20]), np.array([0.5, 0.1, 0.4, 0.2, 0.25])
delta = np.log(x).sum() - np.log(swapped).sum()
assert np.isclose(delta, math.log(2.4))
print(f"Δ = {delta:.4f} nats; e^Δ = {math.exp(delta):.2f}")

# %% [markdown]
# ## 2 · A language whose bias is known
#
# Real text does not tell how biased it is. So we write a language: twenty occupations, six templates, a few words to put into them. Of the sentences about an occupation, the fraction $(1 + s)/2$ has one pronoun, *its* pronoun, and the rest the other. $s$ is the **skew**: 0 means half and half, 1 means without exception. A model that *is* this language has
#
# $$\Delta = \ln\frac{(1 + s)/2}{(1 - s)/2} = \ln\frac{1 + s}{1 - s}$$
#
# on every sentence with the occupation's own pronoun. On paper: with $s = 0.8$, nine nurses of ten are *she*, and $\Delta = \ln 9 = 2.197$.

# %%
SKEW, SENTENCES = 0.8, 60  # sentences for each occupation
found = corpus.sentences(SKEW, SENTENCES, seed=0)
nurse = [s for s in found if s.occupation == "nurse"]
print(
    f"{len(found)} sentences; of {len(nurse)} about nurses, {sum(not s.male for s in nurse)} have she or her"
)
assert sum(not s.male for s in nurse) == 0.9 * SENTENCES and np.isclose(corpus.true_gap(SKEW), math.log(9))
print(*(s.text for s in found[:5]), sep="\n")

# %% [markdown]
# The counterfactual of a sentence of this language: exchange its pronouns, word by word. And then a model learns the language: a GPT of one layer, 400 steps.

# %%
SWAP = {"he": "she", "she": "he", "his": "her", "her": "his", "himself": "herself", "herself": "himself"}


def swap(text):
    return " ".join(SWAP.get(word, word) for word in text.split())


assert all(
    swap(s.text) == s.twin.text and swap(swap(s.text)) == s.text for s in found
)  # the library's twin is the same
STEPS = 400
model = cured(BASELINE, found, SKEW, 0, STEPS)  # no cure yet


def log_p(model, text):
    """log p of a sentence, word by word, after a full stop."""
    ids = TOKENIZER.encode(". " + text).astype(int)  # (T + 1,)
    with mg.no_grad():
        logits = model(ids[None, :-1]).data[0]  # (T, vocab)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_probabilities[np.arange(len(ids) - 1), ids[1:]].sum(dtype=float)


lm = LanguageModel(model, TOKENIZER, ". ")  # the library's way
rows = []
for text in (
    "the nurse said that she was tired .",
    "the pilot blamed himself for the letter .",
    "she is the new librarian of the school .",
):
    delta, library = (
        log_p(model, text) - log_p(model, swap(text)),
        counterfactual_gap(lm, [(text, swap(text))]).differences[0],
    )
    assert abs(delta - library) < 1e-4
    rows.append(
        (
            text,
            f"{log_p(model, text):.3f}",
            f"{log_p(model, swap(text)):.3f}",
            f"{delta:+.3f}",
            f"{abs(delta - library):.0e}",
        )
    )
table(["x", "log p(x)", "log p(swap(x))", "Δ", "ours − library"], rows)

# %% [markdown]
# ## 3 · Many pairs, and how sure is their mean?
#
# One sentence is an anecdote. Take three of each template for each occupation, 360 pairs, always with the occupation's own pronoun in $x$, so that a positive $\Delta$ means: the model has taken over the association of its text.
#
# **How sure is the mean?** The *bootstrap* draws 360 of the 360 values with replacement, takes the mean, does this 2000 times, and reports where the middle 95 % of the means lie. But pairs about one occupation are not independent: if the model has an opinion about *tailor*, all its 18 sentences show it. They are not 18 independent witnesses. So draw whole occupations:

# %%
pairs = [(s.text, s.twin.text) for s in corpus.test_sentences(each=3, seed=5)]
jobs = np.array([s.occupation for s in corpus.test_sentences(each=3, seed=5)])
values = np.array([log_p(model, one) - log_p(model, other) for one, other in pairs])  # (360,)


def bootstrap(values, groups, samples=2000, seed=0):
    """The middle 95 % of the means of whole groups, drawn with replacement."""
    rng = np.random.default_rng(seed)
    rows = np.array([values[groups == name] for name in np.unique(groups)])  # (G, values of each)
    means = rows[rng.integers(0, len(rows), (samples, len(rows)))].mean(axis=(1, 2))
    return np.quantile(means, [0.025, 0.975])


alone, together = bootstrap(values, np.arange(360)), bootstrap(values, jobs)
library = counterfactual_gap(lm, pairs, jobs).estimate
assert (
    np.ptp(together) > 1.2 * np.ptp(alone)
    and np.allclose(together, [library.low, library.high], atol=0.05)
    and library.p_value < 0.01
)
print(
    f"mean gap {values.mean():+.2f} nats; the language itself has {corpus.true_gap(SKEW):+.2f}; the "
    f"library: {library}"
)
table(
    ["drawn", "95 % interval", "width"],
    [
        ("single pairs", f"{alone[0]:+.3f} to {alone[1]:+.3f}", f"{np.ptp(alone):.3f}"),
        ("whole occupations", f"{together[0]:+.3f} to {together[1]:+.3f}", f"{np.ptp(together):.3f}"),
    ],
)

# %% [markdown]
# The model has learned most of the bias. The interval of single pairs is too narrow: it believes in 360 witnesses where there are 20.
#
# **What is averaged matters.** Had we always taken *he* minus *she*, the ten occupations on one side would have cancelled most of the ten on the other:

# %%
he_minus_she = values * np.where(np.isin(jobs, corpus.WITH_HE), 1, -1)
print(f"own pronoun minus the other: {values.mean():+.2f}; he minus she: {he_minus_she.mean():+.2f}")
assert abs(he_minus_she.mean()) < 0.5 * values.mean()

# %% [markdown]
# ## 4 · Three cures
#
# **Balanced data.** Collect more sentences of the rarer kind, until every occupation has as many of one pronoun as of the other (`additional data` below). One has to *have* them, and to know for each sentence whom it is about.
#
# **Counterfactual augmentation.** Where they cannot be collected, make them: add to the sentences their swapped twins. Then each occupation is balanced *exactly*, whatever the skew was. It needs only the list of words to swap. With a share below 1 only some twins are added.

# %%
def count(found, job):
    return sum(s.male is True for s in found if s.occupation == job), sum(
        s.male is False for s in found if s.occupation == job
    )


twins = [s.twin for s in found if s.twin != s]
both = found + twins
library = augmented(found, np.random.default_rng(0))
assert sorted(s.text for s in both) == sorted(s.text for s in library)
assert all(count(both, job) == (SENTENCES, SENTENCES) for job in corpus.OCCUPATIONS)
table(
    ["occupation", "he, she in the text", "with a quarter of the twins", "with all of them"],
    [
        (
            job,
            count(found, job),
            count(augmented(found, np.random.default_rng(0), 0.25), job),
            count(both, job),
        )
        for job in ("pilot", "judge", "nurse", "singer")
    ],
)

# %% [markdown]
# **A penalty.** Leave the text as it is, and change the loss: whenever the model treats $x$ and its counterfactual differently, it pays,
#
# $$\mathcal L' = \mathcal L + \lambda\, \big|\,\log p(x) - \log p(\operatorname{swap}(x))\,\big| \qquad\text{(mean over random pairs of the training text)},$$
#
# with a strength $\lambda \ge 0$. **Its gradient, on paper**, for the one place at which two words $a$ (*she*) and $b$ (*he*) compete. With logits $z: (\mathcal V,)$ and $p = \operatorname{softmax}(z)$, $\log p_a - \log p_b = z_a - z_b$: the sum in softmax cancels. So
#
# $$\frac{\partial}{\partial z_k}\, \lambda\,|z_a - z_b| = \lambda \operatorname{sign}(z_a - z_b) \cdot \begin{cases} +1 & k = a\\ -1 & k = b\\ 0 & \text{else.}\end{cases}$$
#
# With $z = (2, 0, 1, -1)$, $a = 1$, $b = 3$ (counting from 1) and $\lambda = 0.1$: $\Delta = 1$, and the gradient is $(0.1, 0, -0.1, 0)$. Its size does not depend on the gap: it pushes as hard at 0.01 nats as at 3. Keep that in mind for section 6. Paper, engine and finite differences:

# %%
def penalty(z, a=0, b=2, strength=0.1):
    logs = mg.log_softmax(z)
    return strength * mg.abs(logs[a] - logs[b])


z = np.array([2.0, 0, 1, -1])
t = mg.Tensor(z, requires_grad=True)
penalty(t).backward()
paper = 0.1 * np.sign(z[0] - z[2]) * np.array([1.0, 0, -1, 0])
numeric = np.array(
    [
        (penalty(mg.Tensor(z + step)).item() - penalty(mg.Tensor(z - step)).item()) / 2e-5
        for step in 1e-5 * np.eye(4)
    ]
)
report = mg.compare(
    {"engine": t.grad, "finite differences": numeric}, {"engine": paper, "finite differences": paper}
)
assert report
report

# %% [markdown]
# And the whole penalty of one pair, from section 2's `log_p`, beside the library's:

# %%
one = nurse[0].text
ids = [TOKENIZER.encode(text).astype(int) for text in (".", one, swap(one))]  # what stands before, x, swap(x)
library = CounterfactualPenalty([ids], strength=0.1, batch_size=1)(model, np.random.default_rng(0)).item()
ours = 0.1 * abs(log_p(model, one) - log_p(model, swap(one)))
assert abs(ours - library) < 1e-5
print(f"{one}\nours {ours:.5f}, the library's {library:.5f}")

# %% [markdown]
# ## 5 · Experiment: the gap before and after
#
# The same model, trained on the same 1500 sentences (and, where the cure adds some, on those). First each occupation, *he* minus *she*, on sentences drawn anew, without a cure and with augmentation:

# %%
people = [
    (s.text, s.twin.text) if s.male else (s.twin.text, s.text) for s in corpus.test_sentences(each=3, seed=5)
]  # he first
before = pronoun_gap(lm, people, jobs)
mended = cured(Cure("augmentation", 1.0), found, SKEW, 0, STEPS)
after = pronoun_gap(LanguageModel(mended, TOKENIZER, ". "), people, jobs)

fig, ax = figure(7.2, 5.6)
order = list(before)
for name, gaps, marker, colour, filled in (
    ("before", before, "o", COLOURS[0], True),
    ("after augmentation", after, "s", COLOURS[1], False),
):
    value, low, high = (
        np.array([getattr(gaps[job], part) for job in order]) for part in ("value", "low", "high")
    )
    ax.errorbar(
        value,
        range(20),
        xerr=[value - low, high - value],
        fmt=marker,
        color=colour,
        markersize=7,
        markerfacecolor=colour if filled else "white",
        label=name,
        linewidth=1.2,
    )
for truth in (-corpus.true_gap(SKEW), corpus.true_gap(SKEW)):
    ax.axvline(truth, color="0.35", linewidth=1, linestyle=":")
ax.axvline(0, color="0.35", linewidth=1)
ax.set_yticks(range(20), order)
ax.invert_yaxis()
ax.set_xlabel("gap: log p(sentence with he) − log p(with she), in nats")
ax.set_ylabel("occupation")
ax.legend(loc="lower right")
largest = max(abs(e.value) for e in after.values())
print(
    f"largest gap of an occupation: {max(abs(e.value) for e in before.values()):.2f} nats before, "
    f"{largest:.2f} after"
)
assert largest < 0.35 and min(abs(e.value) for e in before.values()) > 0.5
fig

# %% [markdown]
# The dotted lines are the language itself, $\pm\ln 9$; the bars are 95 % intervals over the 18 sentences of an occupation. Afterwards every occupation is near zero.
#
# Now all cures, and what they cost. The cost is measured by *perplexity*, $e$ to the mean surprise $-\log p$ per word: among so many equally likely words the model hesitates, as it were. It is taken on **two** texts that no model has seen: one is balanced ($s = 0$), the other as skewed as the training text. **Predict:** on which of the two does a cured model become worse? Three seeds for each cure. In the table stand the mean differences from the model without a cure that has the same seed, with their 95 % intervals. (Five seeds and more steps: [docs/bias_results.md](../docs/bias_results.md).)

# %%
STRENGTHS = sized((0.003, 0.01, 0.1), (0.01, 0.1), "as strengths λ")
CURES = [
    Cure("additional data"),
    Cure("augmentation", 1.0),
    *(Cure("ratio penalty", strength) for strength in STRENGTHS),
]
results = {}
for seed in range(3):
    text = corpus.sentences(SKEW, SENTENCES, seed=seed)
    plain = cured(BASELINE, text, SKEW, seed, STEPS)
    results[BASELINE, seed] = measured(plain, SKEW, BASELINE, seed)
    for cure in CURES:
        results[cure, seed] = measured(cured(cure, text, SKEW, seed, STEPS), SKEW, cure, seed)
    results[Cure("projection"), seed] = measured(
        projected(plain), SKEW, Cure("projection"), seed
    )  # changes `plain`: last


def of(cure, what):
    return np.array([getattr(results[cure, seed], what) for seed in range(3)])


def change(cure, what):  # of the perplexity, in %
    return 100 * (of(cure, what) / of(BASELINE, what) - 1)


def against(cure, what):  # the change of the perplexity in %, with its interval
    return paired(change(cure, what), np.zeros(3), 1)


rows = [("none", " ".join(f"{gap:+.2f}" for gap in of(BASELINE, "gap")), "", "", "")]
for cure in CURES:
    gaps = " ".join(f"{gap:+.2f}" for gap in of(cure, "gap"))
    rows.append(
        (
            cure,
            gaps,
            paired(of(cure, "gap"), of(BASELINE, "gap")),
            against(cure, "balanced"),
            against(cure, "skewed"),
        )
    )
strong = [*CURES[:2], CURES[-1]]
assert of(BASELINE, "gap").min() > 1.2 and all(np.abs(of(cure, "gap")).max() < 0.2 for cure in strong)
dial = [of(cure, "gap").mean() for cure in (BASELINE, *CURES[2:])]  # λ = 0, 0.003, 0.01, 0.1
assert np.diff(dial).max() < 0
assert all(change(cure, "balanced").max() < 0 < change(cure, "skewed").min() for cure in strong)
print(
    f"perplexity without a cure: {of(BASELINE, 'balanced').mean():.2f} on balanced text, "
    f"{of(BASELINE, 'skewed').mean():.2f} on skewed text"
)
table(
    ["cure", "gap left, each seed", "against none", "perplexity on balanced text, %", "on skewed text, %"],
    rows,
)

# %%
fig, axes = figure(9.8, 4.0, 1, 2)
families = {
    "augmentation": [CURES[1]],
    f"penalty: λ = {', '.join(map(str, STRENGTHS))}": [BASELINE, *CURES[2:]],
    "additional data": [CURES[0]],
}
for ax, what in zip(axes, ("balanced", "skewed"), strict=True):
    for (name, family), marker, colour, style in zip(
        families.items(), "s^D", COLOURS[1:], ("none", "--", "none"), strict=False
    ):
        x, y = (
            [values(cure).mean() for cure in family]
            for values in (lambda cure: of(cure, "gap"), lambda cure, what=what: change(cure, what))
        )
        ax.plot(
            x,
            y,
            marker=marker,
            color=colour,
            linestyle=style,
            markersize=11 if marker == "s" else 7,
            markerfacecolor="none",
            label=name,
        )
    ax.plot(
        [of(BASELINE, "gap").mean()],
        [0],
        marker="o",
        color=COLOURS[0],
        markersize=9,
        linestyle="none",
        label="no cure",
    )
    ax.axhline(0, color="0.35", linewidth=1, linestyle=":")
    ax.set_xlabel("gap left (nats, mean of three seeds)")
    ax.set_ylabel(f"change of perplexity, {what} text (%)")
    ax.invert_xaxis()
axes[1].legend(loc="upper left", fontsize=9)
fig

# %% [markdown]
# Read the pictures from left (no cure) to right (no gap left). $\lambda$ is a dial: more of it, less gap. And the price depends on the text that one asks. **On balanced text the cures of this table that close the gap make the model better**, since it no longer believes something false of that text. (Not every cure does: section 6 has one that closes the gap and makes the model worse.) **On text as skewed as its training text the model becomes worse**, since it has
# been forbidden to use what it knew there. Both numbers are true. Which of the two texts should be the judge is no question of statistics: it depends on what the model is for.
#
# ## 6 · What does not work
#
# **Projection.** Find the direction *she − he* in the embeddings, $d$ of length 1, and take it out of every other word: $w \leftarrow w - (w \cdot d)\, d$. Then the word *nurse* itself no longer points to a pronoun. But the layers above find it by other directions (Gonen and Goldberg, 2019):

# %%
projection = Cure("projection")
assert of(projection, "gap").min() > 0.3
print("projection − none, gap in running text:", paired(of(projection, "gap"), of(BASELINE, "gap")))
print(
    "none, templates never seen − running text:",
    paired(of(BASELINE, "gap_unseen"), of(BASELINE, "gap")),
)
table(
    ["", "gap in running text", "gap in templates never seen"],
    [
        (str(cure), *(" ".join(f"{gap:+.2f}" for gap in of(cure, what)) for what in ("gap", "gap_unseen")))
        for cure in (BASELINE, projection, CURES[-1])
    ],
)

# %% [markdown]
# (The last column is a reminder: in templates that the training text does not have, the gap is smaller from the start, in all three seeds. Where one measures decides how large a bias looks.)
#
# **A cure can learn the test.** Apply the penalty to sentences that stand *first* in the model's window only; it is an easy thing to do without noticing. Is the gap gone? It depends on where one looks. To tell, our three seeds of a short training are not enough: here is a record with five seeds, 1500 steps and four times the text, with 95 % intervals. The columns are the gap of
# sentences that stand first, and of sentences in running text, where others stand before:

# %%
record = (ROOT / "docs" / "bias_results.md").read_text(encoding="utf-8").split("What the cures do")[1]
kept = {
    cells[0]: cells
    for row in record.splitlines()
    if len(cells := [cell.strip() for cell in row.strip("| ").split("|")]) == 7
}
chosen = [
    "none",
    "ratio penalty 0.03",
    "ratio penalty at starts 0.03",
    "projection",
    "ratio penalty 10",
    "KL penalty 10",
]
low = float(kept[chosen[2]][1].split("[")[1].split(",")[0])
assert (
    low > 1 and float(kept[chosen[2]][3].split()[0]) < 0.1
)  # most of it is left in running text, nothing at the starts
table(
    ["five seeds, 1500 steps", "gap at starts", "gap in running text", "perplexity on balanced text, %"],
    [(name, kept[name][3], kept[name][1], kept[name][5]) for name in chosen],
)

# %% [markdown]
# Measured where it was trained, the third row is a perfect cure. Measured where the model is used, it is hardly one.
#
# **Too large a λ.** The penalty's gradient keeps its size however small the gap has become (section 4), so a large λ drowns the language: in the record, `ratio penalty 10` closes the gap as well as any, and it **raises** the perplexity on *balanced* text by 22 to 45 % in four seeds of five and fivefold in the other ([docs/bias.md](../docs/bias.md); one seed so far from the others makes the interval of the mean useless). A gap of zero is not the only thing to ask of a cure. The Kullback–Leibler (KL) penalty is quadratic near zero and does not do that; exercise 5.
#
# **No gap is no certificate.** The easiest way to have no gap is to have learned nothing. In one run:

# %%
rows, history = [], []
for steps in (1, 50, 100, 200, STEPS):
    r = (
        measured(cured(BASELINE, found, SKEW, 0, steps), SKEW, BASELINE, 0)
        if steps < STEPS
        else results[BASELINE, 0]
    )
    history.append(r)
    rows.append((steps, f"{r.skewed:.2f}", f"{r.gap:+.2f}"))
assert (
    abs(history[0].gap) < 0.2
    and history[-1].gap > history[1].gap + 0.8
    and history[0].skewed > 5 * history[-1].skewed
)
table(["steps of training", "perplexity on skewed text", "gap"], rows)

# %% [markdown]
# In this run a model that has hardly been trained passes the test, and cannot write a sentence. A small gap means something only together with a perplexity. And it speaks of its words and templates only: nothing here says how the model writes *about* people, what it leaves out, or how it treats groups that are not on the list.
#
# ## 7 · Real text
#
# In our language every swap is right. English is not so kind: *her* is two words (*her book* → *his book*, but *saw her* → *saw him*), titles have no partner, and some sentences cannot be decided without understanding them. The library swaps what it is sure of, and gives nothing rather than a wrong sentence:

# %%
examples = [
    "Her book is hers.",
    "I saw her yesterday.",
    "The engineer and his mother",
    "He gave her flowers.",
    "They heard her singing.",
    "Mr. and Mrs. Smith",
]
assert counterfactual(examples[0]) == "His book is his." and counterfactual(examples[3]) is None
table(["text", "counterfactual"], [(text, counterfactual(text) or "(none: in doubt)") for text in examples])

# %% [markdown]
# Before you use it on people, three more things. A list of words misses most of what carries an association in real text. There are facts that should not be swapped. And a published test can itself be flawed: S. Blodgett and others went through four well-known collections of such pairs (StereoSet, CrowS-Pairs, WinoBias, Winogender) and found in most of their tests something that undermines what they should
# measure. [docs/bias.md](../docs/bias.md) has more measures, each with what it does not say.
#
# ## Common misunderstandings
#
# - ***The gap is what the model thinks of nurses.*** It is the ratio of two probabilities in given sentences. It says which text the model expects.
# - ***A mean gap of zero means no bias.*** Here he minus she over all occupations is small, although every single one is skewed (sections 3 and 5): opposite signs cancel.
# - ***More pairs make the interval honest.*** Only if they are new witnesses. A thousand sentences about one occupation are one opinion.
# - ***Reducing bias costs quality.*** On the skewed text, yes; on the balanced text a cure of the right strength *gains* quality, and one that is too strong loses it. Say which text, and which strength.
# - ***The penalty was small at the end of training, so the bias is gone.*** It is gone on the sentences on which the penalty was taken. Measure elsewhere.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · The gap of a pair
#
# `p` and `q` hold the probabilities that a model gave to the tokens of $x$ and of $\operatorname{swap}(x)$, each $(T,)$. Give the gap in nats.

# %% tags=["exercise"]
def gap(p, q):
    """log p(x) − log p(swap(x)), from the probabilities (T,) of their tokens."""
    ### BEGIN SOLUTION
    return np.log(p).sum() - np.log(q).sum()
    ### END SOLUTION


checks.check_13_gap(gap)

# %% [markdown] tags=["idea"]
# Add logarithms. Multiplying the probabilities first is the same on paper, but for a long text the product becomes 0 in the machine.

# %% [markdown]
# ### Exercise 2 ★ · The twin
#
# Swap the pronouns of a sentence of our language (words in lower case, separated by single spaces): he ↔ she, his ↔ her, himself ↔ herself. Everything else stays.

# %% tags=["exercise"]
def twin(text):
    """The sentence with the other pronouns."""
    ### BEGIN SOLUTION
    partner = {"he": "she", "his": "her", "himself": "herself"}
    partner |= {b: a for a, b in partner.items()}
    return " ".join(partner.get(word, word) for word in text.split(" "))
    ### END SOLUTION


checks.check_13_twin(twin)

# %% [markdown] tags=["idea"]
# Word by word, all at once, with a dictionary of both directions. `text.replace("he", "she")` meets the *he* in *the*; and two replacements in a row undo one another.

# %% [markdown]
# ### Exercise 3 ★★ · Weights instead of sentences
#
# Instead of adding sentences, let the rare ones count more. `jobs` $(N,)$ has the occupation of each sentence and `male` $(N,)$ whether its pronoun is *he*. Give weights $(N,)$ such that in each occupation the *he* sentences weigh as much as the *she* sentences, and both together as much as before (their number). Both kinds occur in every occupation.

# %% tags=["exercise"]
def balanced_weights(jobs, male):
    """A weight (N,) for each sentence."""
    ### BEGIN SOLUTION
    weights = np.zeros(len(jobs))
    for job in np.unique(jobs):
        for kind in (True, False):
            mine = (jobs == job) & (male == kind)
            weights[mine] = (jobs == job).sum() / (2 * mine.sum())
    return weights
    ### END SOLUTION


checks.check_13_balanced_weights(balanced_weights)

# %% [markdown] tags=["idea"]
# If an occupation has $n$ sentences, $m$ of them of one kind, each of these weighs $\dfrac{n}{2m}$: together $n/2$.

# %% [markdown]
# ### Exercise 4 ★★ · Could it be chance?
#
# If the model treated $x$ and $\operatorname{swap}(x)$ alike, each difference could as well have the other sign. But differences of one group (an occupation) hang together, so their signs flip together. Go through *all* $2^G$ ways to flip the signs of the $G$ groups, the one without a flip among them; the **p-value** is the share of ways whose sum is at least as far
# from zero as the sum observed. (Allow for round-off: a sum that is equal on paper counts.)

# %% tags=["exercise"]
def p_value(differences, groups):
    """Two-sided, from all sign flips of whole groups; differences (N,), groups (N,)."""
    ### BEGIN SOLUTION
    sums = np.array([differences[groups == name].sum() for name in np.unique(groups)])  # (G,)
    digits = np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1  # (2^G, G)
    totals = np.abs((1 - 2 * digits) @ sums)
    return np.mean(totals >= abs(sums.sum()) * (1 - 1e-9))
    ### END SOLUTION


checks.check_13_p_value(p_value)

# %% [markdown] tags=["idea"]
# First the sum of each group, $(G,)$; then all sign patterns, $(2^G, G)$, for instance from the binary digits of $0 \dots 2^G - 1$; one matrix product gives all sums.

# %% [markdown]
# ### Exercise 5 ★★★ · A gentler penalty, on paper
#
# Let $z: (\mathcal V,)$ be the logits at one place, $p = \operatorname{softmax}(z)$, and $\sigma$ the swap of the vocabulary: word $\sigma(j)$ takes the place of word $j$, and $\sigma(\sigma(j)) = j$. Compare the distribution with its swapped self by the Kullback–Leibler divergence,
#
# $$\mathcal L = \sum_j p_j\, \big(\log p_j - \log p_{\sigma(j)}\big) .$$
#
# Derive $\partial \mathcal L/\partial z_k$, for logits of any size. What is it where $p_j = p_{\sigma(j)}$ for all $j$? `sigma` is an integer array $(\mathcal V,)$. Your answer is compared with the engine and finite differences.

# %% tags=["exercise"]
def kl_gradient(z, sigma):
    """∂L/∂z (V,)."""
    ### BEGIN SOLUTION
    e = np.exp(z - z.max())
    p, d = e / e.sum(), z - z[sigma]
    return p * (d - (p * d).sum()) + p - p[sigma]
    ### END SOLUTION


checks.check_13_kl_gradient(kl_gradient)

# %% [markdown] tags=["idea"]
# Let $d_j = \log p_j - \log p_{\sigma(j)} = z_j - z_{\sigma(j)}$, so $\mathcal L = \sum_j p_j d_j$. Two ways lead from $z_k$ to $\mathcal L$. Through $p$: softmax's gradient of chapter 03 with the upstream gradient $d$ gives $p_k(d_k - \mathcal L)$. Through $d$: $z_k$ stands in $d_k$ with $+1$ and in $d_{\sigma(k)}$ with $-1$, which gives $p_k - p_{\sigma(k)}$. Together
#
# $$\frac{\partial \mathcal L}{\partial z_k} = p_k (d_k - \mathcal L) + p_k - p_{\sigma(k)} .$$
#
# Where $p$ is its own swap, everything is 0: near the goal the push fades, unlike the $\pm\lambda$ of section 4. (For a word that is its own partner, $d_k = 0$; the rule holds too.)

# %% [markdown]
# ## References
#
# - R. Rudinger, J. Naradowsky, B. Leonard, B. Van Durme, "Gender bias in coreference resolution", NAACL 2018; J. Zhao et al., "Gender bias in coreference resolution: evaluation and debiasing methods", NAACL 2018: occupations and pronouns.
# - K. Lu, P. Mardziel, F. Wu, P. Amancharla, A. Datta, "Gender bias in neural natural language processing", in *Logic, Language, and Security* (2020), section 3: counterfactual augmentation.
# - T. Bolukbasi et al., "Man is to computer programmer as woman is to homemaker? Debiasing word embeddings", NeurIPS 2016, section 6: projection. H. Gonen, Y. Goldberg, "Lipstick on a pig", NAACL 2019: why it is not enough.
# - S. L. Blodgett, G. Lopez, A. Olteanu, R. Sim, H. Wallach, "Stereotyping Norwegian salmon: an inventory of pitfalls in fairness benchmark datasets", ACL 2021: what tests of pairs get wrong.
# - B. Efron, R. J. Tibshirani, *An Introduction to the Bootstrap* (1993), chapters 13 and 15; P. Good, *Permutation, Parametric and Bootstrap Tests of Hypotheses* (2005), chapter 3.
#
# **Before:** [12b · What the heads do](12b_what_the_heads_do.ipynb). **Next:** [14 · Doing more with less](14_doing_more_with_less.ipynb).
