# %% [markdown]
# # 03 · Softmax, cross-entropy, layer norm backward by hand
#
# *About 60 minutes to read, 60 more for the exercises. You need [02 · A tensor that differentiates itself](02_a_tensor_that_differentiates_itself.ipynb): upstream gradients, the sum over all uses, and broadcasting.
# Next: [04 · From recurrence to attention](04_from_recurrence_to_attention.ipynb).*
#
# Three functions carry every Transformer: softmax turns scores into probabilities, cross-entropy turns probabilities into a loss, and layer norm keeps the numbers in range. An engine could differentiate each through its small
# steps. But each has a *short* gradient, which needs fewer steps (section 5 counts them), is safer against overflow, and says what learning does. Here you derive all three on paper, and every line is checked.
#
# **After this chapter you can**
#
# - derive the gradients of softmax, cross-entropy and layer norm, and say in words what each term does;
# - compute them without overflow;
# - check every intermediate of a backward pass, not only its end, with `mg.compare`;
# - let `mg.diagnose` tell you *which* mistake is in your own gradient, and see with `mg.explain` which steps contract to one.

# %%
import numpy as np

import checks
import minigrad as mg
from book import draw_matrix, figure, recorded, table

np.set_printoptions(precision=4, suppress=True)

# %% [markdown]
# ## 1 · Softmax
#
# Let $x$ be a vector of $C$ numbers, the **scores**. Softmax turns them into **probabilities**, positive numbers that add up to 1 (attention will call them *weights*):
#
# $$p_j = \frac{e^{x_j}}{\sum_k e^{x_k}}, \qquad j = 1, \dots, C .$$
#
# (As the input of a function it is called $x$; inside a model, from section 5 on, $z$.)
#
# An example for paper: $x = (0, \ln 2, \ln 3)$. The exponentials are $1, 2, 3$, their sum is $6$, so $p = (\tfrac16, \tfrac13, \tfrac12)$.
#
# **How does $p_j$ react to $x_k$?** By the quotient rule. If $j \ne k$, only the denominator moves: $\partial p_j/\partial x_k = -e^{x_j} e^{x_k} / (\sum)^2 = -p_j p_k$. If $j = k$, the numerator moves too and adds $p_j$. Both cases in one, with $\delta_{jk} = 1$
# if $j = k$ and $0$ otherwise:
#
# $$\boxed{\frac{\partial p_j}{\partial x_k} = p_j\,(\delta_{jk} - p_k)} .$$
#
# These are the entries of a matrix of shape $(C, C)$, the **Jacobian**.
#
# **Going backward**, an upstream gradient $\bar p$ with $C$ numbers arrives, and the contributions of all $j$ add:
#
# $$\bar x_k = \sum_j \bar p_j\, p_j (\delta_{jk} - p_k) = p_k \Big(\bar p_k - \sum_j \bar p_j\, p_j\Big), \qquad \boxed{\bar x = p \odot (\bar p - \bar p \cdot p)} .$$
#
# Here $\odot$ multiplies entry by entry, and $\bar p \cdot p = \sum_j \bar p_j p_j$ is one number: the mean of the upstream gradient, weighted with the probabilities. So each score is moved by *how much better than average its entry is*. The Jacobian itself is never needed; that
# matters when there are 50 000 scores, one for each word of a vocabulary.
#
# With $\bar p = (6, 0, 0)$: the weighted mean is $6 \cdot \tfrac16 = 1$, hence $\bar x = (\tfrac16 \cdot 5,\; \tfrac13 \cdot (-1),\; \tfrac12 \cdot (-1)) = (\tfrac56, -\tfrac13, -\tfrac12)$.

# %%
def softmax(x):  # (..., C) → (..., C)
    e = np.exp(
        x - x.max(axis=-1, keepdims=True)
    )  # the largest exponent is 0: nothing overflows, and the result is the same
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(p_bar, p):  # (..., C), (..., C) → (..., C)
    return p * (p_bar - (p_bar * p).sum(axis=-1, keepdims=True))


x = np.log([1.0, 2.0, 3.0])
p = softmax(x)
jacobian = np.diag(p) - np.outer(p, p)  # p_j (δ_jk − p_k)
p_bar = np.array([6.0, 0, 0])
assert np.allclose(p, [1 / 6, 1 / 3, 1 / 2])
assert np.allclose(softmax_backward(p_bar, p), [5 / 6, -1 / 3, -1 / 2])
assert np.allclose(softmax_backward(p_bar, p), p_bar @ jacobian)
assert np.allclose(mg.jacobian(mg.softmax)(x).data, jacobian)
softmax_backward(p_bar, p)

# %% [markdown]
# The Jacobian as a picture: of our three scores, and of eight others, sorted. Dark means that the probability grows with the score, light (yellow) that it shrinks.

# %%
p8 = softmax(np.linspace(-1, 1, 8))
big = np.diag(p8) - np.outer(p8, p8)
fig, (left, right) = figure(8.6, 3.9, 1, 2)
for ax, J, numbers in ((left, jacobian, ".3f"), (right, big, "")):
    limit = np.abs(J).max()
    image = draw_matrix(ax, J, numbers=numbers, low=-limit, high=limit, cmap="cividis_r")
    ticks = range(len(J))
    ax.set_xticks(ticks, [str(i + 1) for i in ticks])
    ax.set_yticks(ticks, [str(i + 1) for i in ticks])
    ax.set_xlabel("score that moves (k)")
    ax.set_ylabel("probability that reacts (j)")
    fig.colorbar(image, ax=ax, label="∂ probability / ∂ score", shrink=0.85)
fig

# %% [markdown]
# Each row adds up to zero, and so does each column. **Question:** why? (A row: raising *all* scores by the same amount changes no probability. A column: the probabilities always add up to 1, so what one gains the others lose.)
#
# ## 2 · Cross-entropy
#
# A model gives $N$ rows of scores (*logits*) $x: (N, \mathcal V)$, one for each of $\mathcal V$ classes, and the truth is a class $t_n$ for each row. With $p = \operatorname{softmax}(x)$ row by row, the loss is the mean of the **surprise** at the truth:
#
# $$\mathcal L = -\frac1N \sum_n \log p_{n, t_n} .$$
#
# Backward, first through the logarithm: only the probability of the true class takes part, $\bar p_{n,t_n} = -\tfrac1N / p_{n,t_n}$, and all other $\bar p_{nj} = 0$. The weighted mean of section 1 is then $\bar p_n \cdot p_n = -\tfrac1N$: the probability cancels! So
#
# $$\bar x_{nk} = p_{nk}\Big(\bar p_{nk} + \frac1N\Big) = \frac{1}{N}\begin{cases} p_{nk} - 1 & k = t_n \\ p_{nk} & \text{else}\end{cases}
# \qquad\Rightarrow\qquad \boxed{\bar x = (p - \mathbf 1_t)/N}$$
#
# where $\mathbf 1_t: (N, \mathcal V)$ has a 1 at the true class of each row and 0 elsewhere (*one-hot*). In words: **push up the truth by what it lacks, push down the others by what they have.** With the scores of section 1 and the truth $t = 1$, the first class: $\mathcal L = -\ln\tfrac16 = 1.7918$ and
# $\bar x = (\tfrac16 - 1, \tfrac13, \tfrac12) = (-\tfrac56, \tfrac13, \tfrac12)$.
#
# There is a second reason to take the two together. If $p_{t}$ is so small that it is rounded to 0, then $\log 0 = -\infty$. With $\log p_t = x_t - \log\sum_k e^{x_k}$ nothing of the kind happens:

# %%
def log_softmax(x):  # (..., C) → (..., C)
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def cross_entropy(x, t):  # (N, vocab), (N,) → one number
    return -log_softmax(x)[np.arange(len(t)), t].mean()


def cross_entropy_backward(x, t):  # → (N, vocab)
    one_hot = np.eye(x.shape[-1])[t]
    return (softmax(x) - one_hot) / len(t)


row = np.log([[1.0, 2.0, 3.0]])
assert np.isclose(cross_entropy(row, [0]), np.log(6)) and np.allclose(
    cross_entropy_backward(row, [0]), [[-5 / 6, 1 / 3, 1 / 2]]
)
with np.errstate(divide="ignore"):
    naive = -np.log(softmax(np.array([800.0, 0.0]))[1])
safe = cross_entropy(np.array([[800.0, 0.0]]), [1])
print(f"scores (800, 0), the truth is the second: log of softmax gives {naive}, log-softmax gives {safe}")
assert naive == np.inf and safe == 800

# %% [markdown]
# ## 3 · Layer norm
#
# Let $x$ be a vector of $C$ numbers. Layer norm shifts it to mean 0, scales it to variance 1, and then gives it a learned scale $\gamma$ (gamma) and shift $\beta$ (beta), both of $C$ numbers. In small steps, with $\operatorname{mean}(a) = \tfrac1C\sum_i a_i$ for the mean of the numbers of a vector:
#
# $$\mu = \operatorname{mean}(x),\quad c = x - \mu,\quad v = \operatorname{mean}(c \odot c),\quad s = (v + \varepsilon)^{-1/2},\quad \hat x = s\,c,\quad y = \gamma \odot \hat x + \beta .$$
#
# $\mu$, $v$ and $s$ are single numbers ($v$ is often written $\sigma^2$); $\varepsilon$ is tiny and prevents division by zero. Take $x = (1, 1, 3, 3)$, $\varepsilon = 0$: $\mu = 2$, $c = (-1,-1,1,1)$, $v = 1$, $s = 1$, $\hat x = (-1,-1,1,1)$.
#
# Backward, with $\bar y$ given (also $C$ numbers). One step after the other, newest first:
#
# | forward | backward |
# | --- | --- |
# | $y = \gamma \odot \hat x + \beta$ | $u := \bar{\hat x} = \gamma \odot \bar y, \qquad \bar\gamma = \bar y \odot \hat x, \qquad \bar\beta = \bar y$ &nbsp; (added up over all rows) |
# | $\hat x = s\,c$ | $\bar s = \sum_i u_i c_i$, and a first contribution to $\bar c$: $\; s\,u$ |
# | $s = (v + \varepsilon)^{-1/2}$ | $\bar v = -\tfrac12 s^3\, \bar s$ |
# | $v = \operatorname{mean}(c \odot c)$ | a second contribution to $\bar c$: $\; \tfrac2C\, c\, \bar v$ |
# | $c = x - \mu$ | a first contribution to $\bar x$: $\bar c$; and $\bar\mu = -\sum_i \bar c_i$ |
# | $\mu = \operatorname{mean}(x)$ | a second contribution to $\bar x$: $\bar\mu / C$ |
#
# So $x$ acts in three ways: directly, through the mean, and through the variance. **Put it together.** The second contribution to $\bar c$ is $\tfrac2C c \cdot (-\tfrac12 s^3) \sum_i u_i c_i = -s\,\hat x\,\operatorname{mean}(u \odot \hat x)$, because $c = \hat x/s$. And $\bar x = \bar c - \operatorname{mean}(\bar c)$, where
# $\operatorname{mean}(\hat x) = 0$. What remains:
#
# $$\boxed{\bar x = s\,\Big(u - \underbrace{\operatorname{mean}(u)}_{\text{through }\mu} - \underbrace{\hat x\,\operatorname{mean}(u \odot \hat x)}_{\text{through }v}\Big), \qquad u = \gamma \odot \bar y}$$
#
# In words: layer norm throws away the mean and the length of $x$, so the gradient has nothing to say in these two directions; the formula subtracts them. With $\gamma = (2, 1, 1, 1)$ and $\bar y = (1, 0, 0, 0)$: $u = (2,0,0,0)$, $\operatorname{mean}(u) = \tfrac12$, $\operatorname{mean}(u\odot\hat x) = -\tfrac12$, and
# $\bar x = (2 - \tfrac12 - \tfrac12,\; 0 - \tfrac12 - \tfrac12,\; 0 - \tfrac12 + \tfrac12,\; 0 - \tfrac12 + \tfrac12) = (1, -1, 0, 0)$.

# %%
def layer_norm(x, gamma, beta, eps=1e-5):  # (N, C), (C,), (C,) → (N, C)
    mu = x.mean(axis=-1, keepdims=True)
    c = x - mu
    s = (np.mean(c * c, axis=-1, keepdims=True) + eps) ** -0.5
    x_hat = s * c
    return gamma * x_hat + beta, (s, x_hat)


def layer_norm_backward(y_bar, gamma, s, x_hat):
    u = gamma * y_bar
    x_bar = s * (u - u.mean(axis=-1, keepdims=True) - x_hat * (u * x_hat).mean(axis=-1, keepdims=True))
    return x_bar, (y_bar * x_hat).sum(axis=0), y_bar.sum(axis=0)  # (N, C), (C,), (C,)


x, gamma, beta = np.array([[1.0, 1, 3, 3]]), np.array([2.0, 1, 1, 1]), np.zeros(4)
y, kept = layer_norm(x, gamma, beta, eps=0)
x_bar, _, _ = layer_norm_backward(np.array([[1.0, 0, 0, 0]]), gamma, *kept)
assert np.allclose(x_bar, [[1, -1, 0, 0]])
x_bar

# %% [markdown]
# ## 4 · Four witnesses
#
# Paper, finite differences, the engine and PyTorch's stored arrays, on larger shapes and random upstream gradients. The column "paper" is the largest entry; the others say how far the witness is from it at most.

# %%
def numerical_gradient(f, x, h=1e-5):
    """Central differences of the number f(x), entry by entry (chapter 01)."""
    x_bar = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        x_bar[i] = (f(x + step) - f(x - step)) / (2 * h)
    return x_bar


rows = []


def witness(name, ours, f, x, engine, pytorch):
    gaps = [np.abs(ours - other).max() for other in (numerical_gradient(f, x), engine, pytorch)]
    assert gaps[0] < 1e-8 and max(gaps[1:]) < 1e-13, (name, gaps)
    rows.append((name, str(x.shape), f"{np.abs(ours).max():.4f}", *(f"{gap:.0e}" for gap in gaps)))


case = recorded("softmax")
x, p_bar = case["input.x"], case["upstream"]
t = mg.Tensor(x, requires_grad=True)
mg.softmax(t).backward(p_bar)
witness(
    "softmax: x",
    softmax_backward(p_bar, softmax(x)),
    lambda x: (softmax(x) * p_bar).sum(),
    x,
    t.grad.data,
    case["grad.input.x"],
)

case = recorded("cross_entropy")
x, targets, loss_bar = case["input.logits"], case["input.targets"], case["upstream"]
t = mg.Tensor(x, requires_grad=True)
mg.cross_entropy(t, targets).backward(loss_bar)
witness(
    "cross-entropy: logits",
    loss_bar * cross_entropy_backward(x, targets),
    lambda x: loss_bar * cross_entropy(x, targets),
    x,
    t.grad.data,
    case["grad.input.logits"],
)

case = recorded("layer_norm")
x, y_bar = (case[key].reshape(-1, 12) for key in ("input.x", "upstream"))  # (2, 5, 12) → (10, 12)
gamma, beta = case["input.weight"], case["input.bias"]
y, (s, x_hat) = layer_norm(x, gamma, beta)
tensors = [mg.Tensor(a, requires_grad=True) for a in (x, gamma, beta)]
mg.layer_norm(*tensors).backward(y_bar)
ours = layer_norm_backward(y_bar, gamma, s, x_hat)
for i, (name, key) in enumerate([("x", "x"), ("γ", "weight"), ("β", "bias")]):
    given = [x, gamma, beta]

    def f(a, i=i):
        return (layer_norm(*given[:i], a, *given[i + 1 :])[0] * y_bar).sum()

    witness(
        f"layer norm: {name}",
        ours[i],
        f,
        given[i],
        tensors[i].grad.data,
        case[f"grad.input.{key}"].reshape(ours[i].shape),
    )
table(["gradient of", "shape", "paper", "− finite differences", "− engine", "− PyTorch"], rows)

# %% [markdown]
# ## 5 · Experiment: every intermediate, checked
#
# When a long backward pass is wrong at its end, where did it go wrong? Check every name on the way. Here is a small network: $N = 8$ rows, $I = 6$ inputs, $C = 5$, $\mathcal V = 4$ classes,
#
# $$h = XW + b, \qquad y = \operatorname{layernorm}(h), \qquad z = yU, \qquad \mathcal L = \operatorname{crossentropy}(z, t),$$
#
# with layer norm and cross-entropy in their smallest steps. The engine runs the same steps and keeps each gradient (`retain_grad`). Then `mg.compare` puts both side by side: *exact* means equal to the last bit.

# %%
rng = np.random.default_rng(7)
N, I, C, vocab = 8, 6, 5, 4
given = dict(
    X=rng.normal(size=(N, I)),
    W=rng.normal(size=(I, C)),
    b=rng.normal(size=C),
    gamma=rng.uniform(0.5, 2, C),
    beta=rng.normal(size=C),
    U=rng.normal(size=(C, vocab)),
)
target = rng.integers(0, vocab, N)
one_hot = np.eye(vocab)[target]
eps = 1e-5

# The engine, step by step, with a name for each
e = {name: mg.Tensor(value, requires_grad=True) for name, value in given.items()}
e["h"] = e["X"] @ e["W"] + e["b"]
e["mu"] = e["h"].mean(axis=-1, keepdims=True)
e["c"] = e["h"] - e["mu"]
e["v"] = (e["c"] * e["c"]).mean(axis=-1, keepdims=True)
e["s"] = (e["v"] + eps) ** -0.5
e["x_hat"] = e["s"] * e["c"]
e["y"] = e["gamma"] * e["x_hat"] + e["beta"]
e["z"] = e["y"] @ e["U"]
e["exp"] = mg.exp(e["z"] - e["z"].data.max(axis=-1, keepdims=True))
e["total"] = e["exp"].sum(axis=-1, keepdims=True)
e["p"] = e["exp"] / e["total"]
e["loss"] = -(mg.log(e["p"]) * one_hot).sum() / N
for tensor in e.values():
    tensor.retain_grad()
e["loss"].backward()

# By hand, from the values alone
value = {name: tensor.data for name, tensor in e.items()}
g = {"loss": np.ones(())}
g["p"] = -one_hot / value["p"] / N
g["total"] = (-g["p"] * value["exp"] / value["total"] ** 2).sum(axis=-1, keepdims=True)
g["exp"] = g["p"] / value["total"] + g["total"]
g["z"] = g["exp"] * value["exp"]
g["y"] = g["z"] @ value["U"].T
g["U"] = value["y"].T @ g["z"]
g["x_hat"] = g["y"] * value["gamma"]
g["gamma"] = (g["y"] * value["x_hat"]).sum(axis=0)
g["beta"] = g["y"].sum(axis=0)
g["s"] = (g["x_hat"] * value["c"]).sum(axis=-1, keepdims=True)
g["v"] = -0.5 * value["s"] ** 3 * g["s"]
g["c"] = g["x_hat"] * value["s"] + 2 / C * value["c"] * g["v"]
g["mu"] = -g["c"].sum(axis=-1, keepdims=True)
g["h"] = g["c"] + g["mu"] / C
g["X"], g["W"], g["b"] = g["h"] @ value["W"].T, value["X"].T @ g["h"], g["h"].sum(axis=0)

comparison = mg.compare(g, {name: tensor.grad for name, tensor in reversed(e.items())})
assert comparison and len(comparison.rows) == len(e)
comparison

# %%
short = {
    "z": cross_entropy_backward(value["z"], target),
    "h": layer_norm_backward(g["y"], value["gamma"], value["s"], value["x_hat"])[0],
}
report = mg.compare(short, {name: e[name].grad for name in short})
assert report
print(
    f"All {len(comparison.rows)} gradients agree; the largest difference is "
    f"{max(row.max_difference for row in comparison.rows):.0e}."
)
print(
    "The short formulas reach the same: (p − one-hot)/N in one step instead of 4, layer norm in one "
    "instead of 6."
)
report

# %% [markdown]
# ## 6 · Experiment: six mistakes, six answers
#
# A check that says "wrong" leaves you alone with your paper. `mg.diagnose(f, inputs, claimed, upstream=…)` tries to say **what** is wrong; it names a mistake only if making it gives the very numbers that were handed in. Six gradients that look right:

# %%
rng = np.random.default_rng(0)
x, up = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
p, t = softmax(x), np.array([1, 0, 4])
one_hot = np.eye(5)[t]
gamma, beta = rng.uniform(0.5, 2, 5), rng.normal(size=5)
_, (s, x_hat) = layer_norm(x, gamma, beta)
u = gamma * up


def average(a):
    return a.mean(axis=-1, keepdims=True)


def ce(x):
    return mg.cross_entropy(x, t)


def ln(x):
    return mg.layer_norm(x, gamma, beta)


mistakes = [
    ("softmax: p(1 − p) p̄, as for a sigmoid", mg.softmax, p * (1 - p) * up, up, "softmax diagonal"),
    ("cross-entropy: the mean is forgotten", ce, p - one_hot, None, "missing mean"),
    ("cross-entropy: one-hot − p", ce, (one_hot - p) / 3, None, "sign"),
    ("layer norm: μ and v as constants", ln, s * u, up, "missing terms through the mean and the variance"),
    (
        "layer norm: γ is forgotten",
        ln,
        s * (up - average(up) - x_hat * average(up * x_hat)),
        up,
        "missing factor",
    ),
    (
        "layer norm: the term through v is missing",
        ln,
        s * (u - average(u)),
        up,
        "missing term through the variance",
    ),
]
rows = []
for what, function, claim, upstream, expected in mistakes:
    verdict = mg.diagnose(function, {"x": x}, {"x": claim}, upstream=upstream)
    assert not verdict and verdict.mistake == expected, verdict.mistake
    rows.append((what, verdict.mistake, verdict["x"].words))
print(f"{sum(row[1] == m[4] for row, m in zip(rows, mistakes))} of {len(mistakes)} mistakes are recognised")
table(["handed in", "diagnosis", "in words"], rows)

# %% [markdown]
# **A test that cannot fail.** The fifth mistake, $\gamma$ forgotten, survives the test that looks most natural: a fresh layer, where $\gamma = 1$. With an upstream gradient of ones besides, the right gradient itself is 0, and many wrong ones pass too:

# %%
def forgotten_gamma(y_bar, gamma, s, x_hat):
    return s * (y_bar - average(y_bar) - x_hat * average(y_bar * x_hat))


ones = np.ones(5)
cases = [("γ = 1, random upstream", ones, up), ("random γ, random upstream", gamma, up)]
rows = [
    (what, f"{np.abs(forgotten_gamma(g, w, s, x_hat) - layer_norm_backward(g, w, s, x_hat)[0]).max():.1e}")
    for what, w, g in cases
]
plain = np.abs(layer_norm_backward(np.ones((3, 5)), ones, s, x_hat)[0]).max()
rows.append(("γ = 1, upstream of ones: the right gradient itself is", f"{plain:.1e}"))
assert float(rows[0][1]) < 1e-15 and float(rows[1][1]) > 0.1 and plain < 1e-15
table(["test", "error that it sees"], rows)

# %% [markdown]
# ## 7 · Your own derivation: found, explained, printed
#
# The first of the six, within a whole derivation. A linear classifier in its smallest steps, $z = XW$, $p = \operatorname{softmax}(z)$ and $\mathcal L = -\frac1N \sum_n \log p_{n,t_n}$; and somebody who takes the derivative of softmax for $p\,(1-p)$, as for a sigmoid:
#
# $$\bar p = -\frac{\mathbf 1_t}{N\,p}, \qquad \bar z = \bar p \odot p \odot (1 - p), \qquad \bar W = X^\top \bar z .$$

# %%
X, W, t = rng.normal(size=(2, 2)), rng.normal(size=(2, 3)), np.array([2, 0])
one_hot = np.eye(3)[t]


def classifier(X, W):
    e = mg.exp(X @ W)
    p = e / e.sum(axis=-1, keepdims=True)
    return -(mg.log(p) * one_hot).sum() / 2


p = softmax(X @ W)
z_bar = -one_hot / (2 * p) * p * (1 - p)
verdict = mg.diagnose(classifier, {"X": X, "W": W}, {"X": z_bar @ W.T, "W": X.T @ z_bar})
assert set(verdict.mistakes.values()) == {"softmax diagonal"}
verdict

# %% [markdown]
# No softmax is called in this code: it was written out, and was recognised by its numbers. The worked solution goes through all the small steps, the quotient among them, and says at its end that they contract to the one expression of section 2:

# %%
X_, W_ = mg.Tensor(X, requires_grad=True), mg.Tensor(W, requires_grad=True)
z = X_ @ W_
e = mg.exp(z)
total = e.sum(axis=-1, keepdims=True)
p = e / total
log_p = mg.log(p)
chosen = log_p * one_hot
loss = -chosen.sum() / 2
steps = dict(X=X_, W=W_, z=z, e=e, total=total, p=p, log_p=log_p, chosen=chosen, one_hot=one_hot)
solution = mg.explain(loss, names=steps | {"ℒ": loss})
assert str(solution.closed["W"]) == "Xᵀ (p - one_hot) / 2"
solution

# %% [markdown]
# The same as a program for NumPy alone. It is right but long: $\bar z = (p - \mathbf 1_t)/N$ stands for all its lines from `d_b` to `d_z`, and never divides by a probability that has become 0.

# %%
print(solution.code())
namespace = {}
exec(solution.code(), namespace)
_, gradients = namespace["derivation"](**solution.arrays())
assert mg.diagnose(classifier, {"X": X, "W": W}, gradients)
assert mg.compare({"W": X.T @ (softmax(X @ W) - one_hot) / 2}, {"W": gradients["W"]})

# %% [markdown]
# ## Common misunderstandings
#
# - ***The derivative of softmax is $p(1-p)$.*** That is its diagonal. Every score moves every probability.
# - ***$p - \mathbf 1_t$ is the gradient of cross-entropy with respect to the probabilities.*** It is the gradient with respect to the *logits*. With respect to the probabilities it is $-\mathbf 1_t/p$, and it explodes.
# - ***Layer norm normalises over the batch.*** Over the $C$ numbers of each vector, each row by itself. (Over the batch would be *batch* norm.) But $\bar\gamma$ and $\bar\beta$ are summed over the rows, since all rows share them.
# - ***Mean and variance are constants in the backward pass.*** They are computed from $x$; two of the three terms go through them.
# - ***Softmax needs its inputs to be probabilities, or positive.*** Any real numbers do, and adding the same number to all changes nothing.
#
# ## Exercises
#
# The checks use `diagnose`: make mistakes on purpose and read what it says.

# %% [markdown]
# ### Exercise 1 ★★ · A maximum that is soft
#
# The *log-sum-exp* of a row at temperature $\tau > 0$, $y_n = \tau \log\sum_j e^{x_{nj}/\tau}$, is a smooth maximum: for $\tau \to 0$ it becomes the largest entry. Let the temperature be learned too: given $\bar y: (N,)$, find $\bar x: (N, C)$ and $\bar\tau$, one number. Scores may be as large as $\pm 10^4$. Before you compute: which known quantity is $\partial y_n/\partial\tau$?

# %% tags=["exercise"]
def soft_maximum_backward(y_bar, x, tau):
    """The pair (x_bar (N, C), tau_bar) of y = tau log Σ exp(x / tau), from the upstream gradient y_bar (N,)."""
    ### BEGIN SOLUTION
    u = (x - x.max(axis=-1, keepdims=True)) / tau
    e = np.exp(u)
    total = e.sum(axis=-1, keepdims=True)
    p = e / total
    entropy = np.log(total[:, 0]) - (p * u).sum(axis=-1)
    return y_bar[:, None] * p, (y_bar * entropy).sum()
    ### END SOLUTION


checks.check_03_soft_maximum_backward(soft_maximum_backward)

# %% [markdown] tags=["idea"]
# $\partial y/\partial x_j = \tau\cdot\tfrac1\tau\,p_j = p_j$ with $p = \operatorname{softmax}(x/\tau)$. The temperature stands in two places: $\partial y/\partial\tau = \log\sum_j e^{x_j/\tau} - \sum_j p_j\,x_j/\tau = -\sum_j p_j\log p_j$, the **entropy** of $p$. One $\tau$ serves all rows, so their parts add. Both terms are shifted by the same amount when the largest score is subtracted, and nothing overflows.

# %% [markdown]
# ### Exercise 2 ★★ · Log-softmax
#
# $y = \log\operatorname{softmax}(x)$, that is $y_j = x_j - \log\sum_k e^{x_k}$. Find $\bar x$ from $\bar y$ and $y$, both $(N, C)$.

# %% tags=["exercise"]
def log_softmax_backward(y_bar, y):
    """x_bar (N, C) of y = log softmax(x), from the upstream gradient y_bar (N, C) and y (N, C)."""
    ### BEGIN SOLUTION
    return y_bar - np.exp(y) * y_bar.sum(axis=-1, keepdims=True)
    ### END SOLUTION


checks.check_03_log_softmax_backward(log_softmax_backward)

# %% [markdown] tags=["idea"]
# $\partial y_j/\partial x_k = \delta_{jk} - p_k$, so $\bar x_k = \bar y_k - p_k \sum_j \bar y_j$, and $p = e^y$.

# %% [markdown]
# ### Exercise 3 ★★ · A loss with padding and a leash
#
# Some large language models (PaLM, for one) are trained with a second term, of a small weight $\lambda$, that keeps $\ell_n = \log\sum_j e^{x_{nj}}$ near 0, the *z-loss*; and rows of padding, marked by $t_n = -1$, do not count. With $N'$ the number of rows that do,
#
# $$\mathcal L = \frac{1}{N'}\sum_{n:\ t_n \ge 0} \Big( -\log p_{n,t_n} + \lambda\,\ell_n^2 \Big).$$
#
# Find $\bar x: (N, \mathcal V)$, for scores of any size. If all rows are padding, it is 0.

# %% tags=["exercise"]
def z_loss_backward(x, t, lam):
    """The gradient (N, vocab) of the loss with respect to the logits x (N, vocab), for the classes t (N,), -1 for padding."""
    ### BEGIN SOLUTION
    m = x.max(axis=-1, keepdims=True)
    e = np.exp(x - m)
    total = e.sum(axis=-1, keepdims=True)
    real = t >= 0
    one_hot = np.eye(x.shape[-1])[np.where(real, t, 0)]
    rows = (1 + 2 * lam * (m + np.log(total))) * (e / total) - one_hot
    return rows * real[:, None] / max(1, real.sum())
    ### END SOLUTION


checks.check_03_z_loss_backward(z_loss_backward)

# %% [markdown] tags=["idea"]
# $\partial \ell_n/\partial x_{nk} = p_{nk}$, so the second term adds $2\lambda\,\ell_n\,p_n$ to the $p_n - (\mathbf 1_t)_n$ of section 2. Three places to slip: $\ell_n$ is that of the scores themselves, so the maximum that was subtracted comes back; `t = -1` as an index is the *last* class; and the mean is over the rows that count.

# %% [markdown]
# ### Exercise 4 ★★★ · RMS norm
#
# Newer models leave the mean alone: $y = \gamma \odot \hat x$ with $\hat x = s\,x$ and $s = (\operatorname{mean}(x \odot x) + \varepsilon)^{-1/2}$. Derive $\bar x: (N, C)$ and $\bar\gamma: (C,)$ from $\bar y$.

# %% tags=["exercise"]
def rms_norm_backward(y_bar, x, gamma, eps):
    """The pair (x_bar (N, C), gamma_bar (C,)) of y = gamma x / sqrt(mean(x²) + eps)."""
    ### BEGIN SOLUTION
    s = (np.mean(x * x, axis=-1, keepdims=True) + eps) ** -0.5
    x_hat = s * x
    u = gamma * y_bar
    x_bar = s * (u - x_hat * (u * x_hat).mean(axis=-1, keepdims=True))
    return x_bar, (y_bar * x_hat).sum(axis=0)
    ### END SOLUTION


checks.check_03_rms_norm_backward(rms_norm_backward)

# %% [markdown] tags=["idea"]
# The derivation of section 3 without $\mu$: $x$ takes the place of $c$, so the way through the variance stays and the way through the mean is gone: $\bar x = s\,(u - \hat x\,\operatorname{mean}(u \odot \hat x))$ with $u = \gamma \odot \bar y$, and $\bar\gamma = \sum_n \bar y_n \odot \hat x_n$.

# %% [markdown]
# ## References
#
# - J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs", in *Neurocomputing*, Springer 1990: softmax, and its marriage with cross-entropy.
# - I. Goodfellow, Y. Bengio, A. Courville, *Deep Learning*, MIT Press 2016, section 6.2.2.3: softmax units and why the logarithm undoes the exponential.
# - J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", arXiv:1607.06450 (2016), section 3.
# - B. Zhang and R. Sennrich, "Root mean square layer normalization", NeurIPS 2019, section 4.
# - A. Chowdhery et al., "PaLM: scaling language modeling with pathways", JMLR 24 (2023), section 5: the second term of exercise 3.
#
# **Before:** [02 · A tensor that differentiates itself](02_a_tensor_that_differentiates_itself.ipynb). **Next:** [04 · From recurrence to attention](04_from_recurrence_to_attention.ipynb), where softmax decides what to look at.
