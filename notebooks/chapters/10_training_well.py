# ---
# jupyter:
#   cover: 4
# ---

# %% [markdown]
# # 10 · Training well
#
# *About 60 minutes to read, 45 more for the exercises. You need [08 · The block](08_the_block.ipynb), and the gradients of [03 · Softmax, cross-entropy, layer norm](03_softmax_cross_entropy_layer_norm.ipynb).
# Next: [11 · Generating text](11_generating_text.ipynb).*
#
# A gradient says in which direction to go, not how far, and it is only a guess from a few examples. Everything in a training recipe answers one of these two problems. This chapter builds the pieces (momentum, Adam, AdamW, warm-up, clipping, dropout, label smoothing, and Muon), each in a few lines, and then takes them away one at a time to see which of them were needed. Some were not.
#
# **After this chapter you can**
#
# - write stochastic gradient descent (SGD), momentum, Adam and AdamW from memory, and compute their first steps on paper;
# - say what the bias correction corrects, by how much, and why it is related to warm-up;
# - read a learning-rate schedule, and compute the two that Transformers are trained with;
# - say what clipping, dropout, label smoothing and weight decay are for, and find out whether they help in *your* case;
# - measure the noise of a gradient.

# %%
import time

import numpy as np

import checks
import minigrad as mg
from book import figure, line, paired, recorded, sized, table
from minigrad import nn, optim
from transformer import EncoderLayer, SinusoidalPositions

# %% [markdown]
# ## 1 · How far to go
#
# (Some letters have two meanings in this chapter, as in the papers. $s$ counts steps in section 3 and is a singular value in section 8; $m$ is Adam's mean and, with $n$, the shape of a matrix; $n$ is also the last step; $c$ is the limit of clipping, in code also the steepness of a valley; Adam's small number is $\epsilon$, label smoothing's share $\varepsilon$.)
#
# The parameters of a model are a long vector $\theta$, the gradient of the loss is a vector $g$ of the same shape. **Gradient descent** takes a step against the gradient, $\theta \leftarrow \theta - \eta\, g$; the **learning rate** $\eta$ (eta) says how far.
#
# Take the smallest case with a difficulty: two parameters and the loss $\mathcal L(\theta) = \tfrac12\theta_1^2 + \tfrac{20}2\theta_2^2$, a valley that is flat along $\theta_1$ and steep along $\theta_2$. The gradient is $g = (\theta_1,\; 20\,\theta_2)$, so one step makes
#
# $$\theta_1 \leftarrow (1 - \eta)\,\theta_1, \qquad \theta_2 \leftarrow (1 - 20\,\eta)\,\theta_2 .$$
#
# The steep direction sets the limit: for $\eta > \tfrac2{20} = 0.1$ the factor $1 - 20\eta$ is below $-1$, and $\theta_2$ jumps from one wall to the other, farther each time. But with $\eta < 0.1$, the flat direction shrinks by less than 10 % in a step. One rate cannot suit both.
#
# **Momentum** lets a velocity $u$ remember the gradients: with $\mu$ (mu) between 0 and 1,
#
# $$u \leftarrow \mu\, u + g, \qquad \theta \leftarrow \theta - \eta\, u .$$
#
# On paper, with $\mu = \tfrac12$ and $u = 0$ at the start: if the gradient is always $1$, then $u = 1,\; 1.5,\; 1.75,\; 1.875, \dots \to 2 = \frac{1}{1-\mu}$. If it alternates, $1, -1, 1, -1$, then $u = 1,\; -0.5,\; 0.75,\; -0.625, \dots$, of size $\to \tfrac23 = \frac1{1+\mu}$. So momentum **speeds up where the gradients agree and damps where they alternate**: just what the valley needs. With the usual $\mu = 0.9$ the factors are 10 and 0.53.
#
# **Adam** gives each parameter a rate of its own. It keeps two running means, of the gradient and of its square, both starting at 0:
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2, \qquad \theta \leftarrow \theta - \eta\, \frac{\hat m}{\sqrt{\hat v} + \epsilon} .$$
#
# All of this is entry by entry. $\sqrt{\hat v}$ is the usual size of the gradient of *this* parameter; divided by it, a parameter with small gradients moves as far as one with large gradients. $\epsilon = 10^{-8}$ prevents division by zero. The hats are the **bias correction**. The means start at 0, and are too small at first; after $t$ steps ($t = 1, 2, \dots$) with a constant gradient, $m = (1 - \beta_1^t)\,g$ exactly. So divide by that:
#
# $$\hat m = \frac{m}{1 - \beta_1^t}, \qquad \hat v = \frac{v}{1 - \beta_2^t} .$$
#
# **On paper**, with $\beta_1 = 0.9$, $\beta_2 = 0.999$ and a first gradient $g = 2$: $m = 0.1 \cdot 2 = 0.2$ and $v = 0.001 \cdot 4 = 0.004$. Without the correction the step would be $\eta\, \frac{0.2}{\sqrt{0.004}} = 3.16\,\eta$. With it, $\hat m = 0.2/0.1 = 2$ and $\hat v = 0.004/0.001 = 4$, and the step is
# $\eta\, \frac{2}{\sqrt 4} = \eta$. **Adam's first step is $\eta$ in every entry, up or down, however large the gradient is** (unless it is 0). The reason for the factor: $v$ needs about 1000 steps to reach its size, $m$ only 10.

# %%
def sgd(mu=0.0, lam=0.0):
    def step(theta, g, memory, t, eta):
        u = mu * memory[0] + (g + lam * theta)
        return theta - eta * u, (u,)

    return step


def adam(beta1=0.9, beta2=0.999, eps=1e-8, lam=0.0, decoupled=False, correct=True):
    def step(theta, g, memory, t, eta):
        m, v = memory
        if decoupled:
            theta = theta - eta * lam * theta  # AdamW, section 2
        else:
            g = g + lam * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = (m / (1 - beta1**t), v / (1 - beta2**t)) if correct else (m, v)
        return theta - eta * m_hat / (np.sqrt(v_hat) + eps), (m, v)

    return step


def first_steps(step, gradients):
    """How far θ moves in each step, with η = 1."""
    theta, memory, moves = 0.0, (0.0, 0.0), []
    for t, g in enumerate(gradients, 1):
        new, memory = step(theta, g, memory, t, 1.0)
        moves.append(theta - new)
        theta = new
    return np.array(moves)


assert np.allclose(first_steps(sgd(0.5), [1, 1, 1, 1]), [1, 1.5, 1.75, 1.875])
assert np.allclose(first_steps(sgd(0.5), [1, -1, 1, -1]), [1, -0.5, 0.75, -0.625])
corrected, bare = (first_steps(adam(correct=c), [2.0] * 1000) for c in (True, False))
assert np.allclose(corrected, 1) and np.isclose(bare[0], 10**0.5) and bare.max() > 6
print(f"without the correction the largest step is {bare.max():.2f} η, at t = {bare.argmax() + 1}")
table(
    ["t", "step with bias correction (in η)", "without"],
    [(t, f"{corrected[t - 1]:.4f}", f"{bare[t - 1]:.4f}") for t in (1, 2, 3, 10, 100, 1000)],
)

# %% [markdown]
# Now the valley, from the point $(-2, 0.8)$, 40 steps with each.

# %%
c = np.array([1.0, 20.0])  # ℒ = ½ Σ c θ², gradient c θ


def path(step, eta, steps=40):
    theta, memory, points = np.array([-2.0, 0.8]), (0.0, 0.0), []
    for t in range(1, steps + 1):
        points.append(theta)
        theta, memory = step(theta, c * theta, memory, t, eta)
    return np.array([*points, theta])


paths = {
    "gradient descent, η = 0.09": path(sgd(), 0.09),
    "momentum 0.8, η = 0.04": path(sgd(0.8), 0.04),
    "Adam, η = 0.15": path(adam(0.8, 0.9), 0.15),
}
fig, axes = figure(8.6, 2.7, 1, 3, sharey=True)
X, Y = np.meshgrid(np.linspace(-2.4, 0.9, 120), np.linspace(-1, 1, 100))
for i, (ax, (name, points)) in enumerate(zip(axes, paths.items(), strict=True)):
    ax.contour(X, Y, 0.5 * (X**2 + 20 * Y**2), levels=np.geomspace(0.3, 12, 5), colors="0.75", linewidths=0.8)
    ax.plot(*points.T, marker="o", markersize=3, **line(i))
    ax.plot(0, 0, marker="*", color="black", markersize=10)
    ax.set_title(name, fontsize=10)
    ax.set_xlabel("θ₁ (flat)")
    ax.grid(False)
axes[0].set_ylabel("θ₂ (steep)")
losses = {name: 0.5 * (c * points[-1] ** 2).sum() for name, points in paths.items()}
assert all(value < 0.05 for value in losses.values()) and np.isclose(
    paths["gradient descent, η = 0.09"][-1, 0], -2 * 0.91**40
)
print({name: f"loss {value:.1e}" for name, value in losses.items()})
fig

# %% [markdown]
# Gradient descent jumps from wall to wall and creeps along the floor. Momentum swings, and rolls. Adam begins with a step of equal length in both directions: it does not notice at first that one is steep.
#
# ## 2 · AdamW, and the proof that ours are the real ones
#
# **Weight decay** pulls every weight towards 0 by a small fraction $\lambda$ (lambda) of it in each step, so that only weights that the data keep asking for stay large. One way is to add $\lambda\theta$ to the gradient. With SGD that does what it says, $\theta \leftarrow \theta - \eta(g + \lambda\theta)$. With Adam it does not: $\lambda\theta$ is divided by $\sqrt{\hat v}$ like the rest, so the weights with *large* gradients are hardly pulled at all. **AdamW** pulls on its own, apart from the gradient:
#
# $$\theta \leftarrow \theta - \eta\lambda\theta, \qquad\text{then Adam's step.}$$
#
# On paper: $\theta = 1$, $\lambda = 0.1$, $\eta = 0.01$, and a first gradient $g = 10$. Adam with $\lambda\theta$ in the gradient moves by $\eta\,\frac{10.1}{10.1} = \eta$: the decay has vanished. AdamW moves by $\eta\lambda\theta + \eta\,\frac{10}{10} = 0.001 + 0.01$.
#
# **Clipping** limits the length of a step's gradient. With $\lVert g\rVert$ the Euclidean norm of *all* gradients of the model together, and a limit $c$: if $\lVert g\rVert > c$, multiply all of them by $c / \lVert g\rVert$. The direction stays. For $g = (3, 4)$ the norm is 5; with $c = 1$ what remains is $(0.6, 0.8)$.
#
# PyTorch once trained a small network for 20 steps with each of these optimizers, and we have its parameters after every step. Ours, the library's and PyTorch's must be the same path:

# %%
def clip(gradients, limit):
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    return [g * min(1.0, limit / (norm + 1e-6)) for g in gradients], norm


assert np.allclose(clip([np.array([3.0]), np.array([4.0])], 1.0)[0], [[0.6], [0.8]], atol=1e-6)
names = ("w1", "b1", "w2", "b2")


def follow(case, update):
    """The recorded network, trained by ``update(parameters, t)``: the parameters after each of 20 steps."""
    theta = [mg.Tensor(case[f"param.{name}"].copy(), requires_grad=True) for name in names]
    trail = []
    for t, (x, y) in enumerate(zip(case["input.x"], case["input.y"], strict=True), 1):
        w1, b1, w2, b2 = theta
        for p in theta:
            p.grad = None
        mg.cross_entropy(mg.tanh(x @ w1 + b1) @ w2 + b2, y, reduction="sum").backward()
        update(theta, t)
        trail.append([p.data.copy() for p in theta])
    return trail


def by_us(step, eta, limit=np.inf):
    memory = [(0.0, 0.0)] * 4

    def update(theta, t):
        gradients, _ = clip([p.grad.data for p in theta], limit)
        for i, (p, g) in enumerate(zip(theta, gradients, strict=True)):
            p.data, memory[i] = step(p.data, g, memory[i], t, eta(t - 1))

    return update


def by_library(make, eta, limit=np.inf):
    optimizers = []

    def update(theta, t):
        optimizers[:] = optimizers or [make(theta, eta(0))]
        optimizers[0].lr = eta(t - 1)
        optim.clip_grad_norm(theta, limit)
        optimizers[0].step()

    return update


cosine = optim.warmup_cosine(0.05, warmup_steps=5, total_steps=18, min_lr=0.005)
runs = {
    "sgd": (sgd(), optim.constant(0.05), np.inf, optim.SGD),
    "sgd_momentum": (sgd(0.9), optim.constant(0.02), np.inf, lambda p, lr: optim.SGD(p, lr, momentum=0.9)),
    "sgd_momentum_weight_decay_clipped": (
        sgd(0.8, 0.1),
        optim.constant(0.05),
        2.0,
        lambda p, lr: optim.SGD(p, lr, momentum=0.8, weight_decay=0.1),
    ),
    "adam": (
        adam(0.8, 0.95, 1e-6),
        optim.constant(0.02),
        np.inf,
        lambda p, lr: optim.Adam(p, lr, betas=(0.8, 0.95), eps=1e-6),
    ),
    "adam_weight_decay": (
        adam(lam=0.05),
        optim.constant(0.02),
        np.inf,
        lambda p, lr: optim.Adam(p, lr, weight_decay=0.05),
    ),
    "adamw": (
        adam(lam=0.01, decoupled=True),
        optim.constant(0.01),
        np.inf,
        lambda p, lr: optim.AdamW(p, lr, weight_decay=0.01),
    ),
    "adamw_clipped_scheduled": (
        adam(0.9, 0.99, lam=0.1, decoupled=True),
        cosine,
        4.0,
        lambda p, lr: optim.AdamW(p, lr, betas=(0.9, 0.99), weight_decay=0.1),
    ),
}
rows = []
for name, (step, eta, limit, make) in runs.items():
    case = recorded(name)
    ours, library = follow(case, by_us(step, eta, limit)), follow(case, by_library(make, eta, limit))
    torch = [[case[f"trajectory.{k}"][t] for k in names] for t in range(20)]
    apart = [
        max(np.abs(a - b).max() for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))
        for one, other in ((ours, library), (ours, torch))
    ]
    assert max(apart) < 1e-10
    rows.append((name, *(f"{gap:.0e}" for gap in apart)))
table(["optimizer", "ours − the library's, at most in 20 steps", "ours − PyTorch's"], rows)

# %% [markdown]
# A consequence worth seeing: multiply the loss by 1000, and Adam takes the same steps, since numerator and denominator both grow by 1000. So clipping *every* gradient of a run by the same factor would do nothing under Adam. What clipping can do is to keep **one** unusual batch from counting more than the others. Adam remembers it twice: $m$ for some ten steps, in which $\theta$ runs on in that direction; and $v$ for about a thousand, in which all steps are too short. Here are 100 ordinary gradients, and the 11th of them may be a hundred times too large:

# %%
g = np.random.default_rng(0).normal(size=100)
assert np.allclose(first_steps(adam(), g), first_steps(adam(), 1000 * g), atol=1e-6)
spike = g.copy()
spike[10] = 100
moves = {
    name: np.abs(first_steps(adam(), x)[50:]).mean()
    for name, x in (
        ("ordinary", g),
        ("with the spike", spike),
        ("with the spike, clipped to 3", np.clip(spike, -3, 3)),
    )
}
assert (
    moves["with the spike"] < 0.3 * moves["ordinary"]
    and moves["with the spike, clipped to 3"] > 0.7 * moves["ordinary"]
)
table(
    ["100 gradients", "mean size of the last 50 steps, in η"],
    [(name, f"{move:.3f}") for name, move in moves.items()],
)

# %% [markdown]
# ## 3 · Schedules
#
# The rate need not be the same throughout. Let $s = 0, 1, 2, \dots$ be the number of steps made so far.
#
# **Warm-up** raises it in a straight line over the first $w$ steps. The means $m$ and $v$ are made of few gradients then, and a fresh model changes its mind quickly. Afterwards the rate should fall, because the noise of the gradients (section 4) keeps a model with a constant rate dancing around the minimum. With a **cosine** it falls from $\eta_{\max}$ to $\eta_{\min}$ at the last step $n$:
#
# $$\eta(s) = \begin{cases}\eta_{\max}\, \dfrac{s + 1}{w} & s < w\\[2mm] \eta_{\min} + \tfrac12(\eta_{\max} - \eta_{\min})\left(1 + \cos \pi\dfrac{s - w}{n - w}\right) & s \ge w .\end{cases}$$
#
# With $\eta_{\max} = 1$, $\eta_{\min} = 0$, $w = 4$, $n = 12$: $\tfrac14, \tfrac12, \tfrac34, 1$ in the warm-up, then $1$ at $s = 4$, $\tfrac12$ at $s = 8$ (half way, where the cosine is 0), $0$ at $s = 12$.
#
# The Transformer's own paper used another one, with width $C$, often called *Noam*: $\;\eta(s) = C^{-1/2}\,\min\big((s+1)^{-1/2},\; (s+1)\, w^{-3/2}\big)$. It rises in a straight line as well, until both terms are equal at $s + 1 = w$, and then falls as $1/\sqrt{s + 1}$. With $C = 512$ and $w = 4000$ its peak is $1/\sqrt{512 \cdot 4000} = 0.0007$.

# %%
def warmup_cosine(s, top, w, n, low=0.0):
    if s < w:
        return top * (s + 1) / w
    return low + (top - low) / 2 * (1 + np.cos(np.pi * (s - w) / (n - w)))


def noam(s, C, w):
    return C**-0.5 * min((s + 1) ** -0.5, (s + 1) * w**-1.5)


assert np.allclose(
    [warmup_cosine(s, 1, 4, 12) for s in (0, 1, 2, 3, 4, 8, 12)], [0.25, 0.5, 0.75, 1, 1, 0.5, 0]
)
assert np.isclose(noam(3999, 512, 4000), (512 * 4000) ** -0.5)
steps = 20_000
shapes = {
    "warm-up, then constant": [0.0007 * min(1, (s + 1) / 4000) for s in range(steps)],
    "warm-up and cosine": [warmup_cosine(s, 0.0007, 4000, steps) for s in range(steps)],
    "Noam, C = 512": [noam(s, 512, 4000) for s in range(steps)],
}
for name, make in (
    ("warm-up and cosine", optim.warmup_cosine(0.0007, 4000, steps)),
    ("Noam, C = 512", optim.noam(512, 4000)),
):
    assert np.allclose(shapes[name], [make(s) for s in range(steps)], rtol=1e-12)
fig, ax = figure(6.8, 3.4)
for i, (name, rates) in enumerate(shapes.items()):
    ax.plot(rates, label=name, **line(i))
ax.set_xlabel("steps made so far (s)")
ax.set_ylabel("learning rate η(s)")
ax.set_ylim(bottom=0, top=0.00092)
ax.legend(loc="upper right", ncols=3, fontsize=9)
fig

# %% [markdown]
# ## 4 · Gradient noise
#
# The gradient that we would like is the mean over all examples; the one that we have is the mean over a **batch** of $B$. It is right on average, but off by chance, and since variances of independent examples add, the error falls as $1/\sqrt B$: four times the work for half of the noise. Measured on the model of the next section, with 4096 examples as *all*:

# %%
class Sorter(nn.Module):
    """Reads T digits and writes them in rising order, each at its place: (B, T) → logits (B, T, 10)."""

    def __init__(self, blocks, dropout=0.0, norm_first=False, width=32):
        self.embedding, self.positions = nn.Embedding(10, width), SinusoidalPositions(width)
        self.blocks = nn.ModuleList(
            [EncoderLayer(width, 4, 2 * width, dropout, norm_first) for _ in range(blocks)]
        )
        self.out = nn.Linear(width, 10)

    def forward(self, ids):
        x = self.positions.embed(self.embedding(ids))
        for block in self.blocks:
            x = block(x)
        return self.out(x)


def examples(n, seed, T=10):
    x = np.random.default_rng(seed).integers(0, 10, (n, T))
    return x, np.sort(x, axis=1)


def gradient(model, x, y):
    for p in model.parameters():
        p.grad = None
    mg.cross_entropy(model(x), y).backward()
    return np.concatenate([p.grad.data.ravel() for p in model.parameters()])


mg.manual_seed(0)
model, (x, y), rng = Sorter(2), examples(4096, 1), np.random.default_rng(2)
full = gradient(model, x, y)
rms = [
    np.sqrt((p.grad.data**2).mean()) for p in model.parameters() if p.ndim == 2
]  # one number for each weight matrix
sizes = np.array([1, 4, 16, 64, 256])
noise = []
for B in sizes:
    draws = [gradient(model, x[k], y[k]) for k in rng.integers(0, len(x), (20, B))]
    noise.append(np.sqrt(np.mean([((g - full) ** 2).sum() for g in draws])) / np.linalg.norm(full))
slope = np.polyfit(np.log(sizes), np.log(noise), 1)[0]
fig, ax = figure(5.6, 3.5)
ax.loglog(sizes, noise, marker="o", label="measured", **line(0))
ax.loglog(sizes, noise[0] / np.sqrt(sizes), label="1/√B", **line(1))
ax.set_xticks(sizes, [str(B) for B in sizes])
ax.minorticks_off()
ax.set_xlabel("examples in a batch (B)")
ax.set_ylabel("error of the gradient / its size")
ax.legend()
assert -0.6 < slope < -0.4 and max(rms) > 5 * min(rms)
print(f"typical size of a gradient entry, by weight matrix: from {min(rms):.1e} to {max(rms):.1e}")
print(
    "noise by batch size:",
    ", ".join(f"{B}: {n:.2f}" for B, n in zip(sizes, noise)),
    f"(falls as B to the power {slope:.2f})",
)
fig

# %% [markdown]
# ## 5 · Dropout and label smoothing
#
# **Dropout** sets each number of a vector to 0 with probability $p$ while training, and divides the others by $1 - p$, so that the mean stays what it was. With $p = \tfrac12$, $(2, 4, 6)$ may become $(4, 0, 12)$. No number can rely on another one being there. When the model is *used*, nothing is dropped.
#
# **Label smoothing** changes the target. Instead of 1 for the truth and 0 for the others of the $\mathcal V$ classes, the truth gets $1 - \varepsilon + \varepsilon/\mathcal V$ and the others $\varepsilon/\mathcal V$ each. With $\mathcal V = 4$, $\varepsilon = 0.1$: $(0.925, 0.025, 0.025, 0.025)$. The loss is then smallest when the model's probabilities *are* these numbers, and not when they are as extreme as possible: the best logit of the truth is only $\ln\frac{0.925}{0.025} = 3.61$ above the others, instead of infinitely far. The smallest loss is no longer 0 but the entropy of the target,
# $-0.925\ln 0.925 - 3\cdot 0.025 \ln 0.025 = 0.349$. A training loss with label smoothing must not be compared with one without.

# %%
def smooth_cross_entropy(x, t, eps):  # (N, vocab), (N,) → one number
    vocab = x.shape[-1]
    target = (1 - eps) * np.eye(vocab)[t] + eps / vocab  # (N, vocab)
    log_p = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    return -(target * log_p).sum(axis=-1).mean()


best = np.log([[0.925, 0.025, 0.025, 0.025]])
assert np.isclose(smooth_cross_entropy(best, [0], 0.1), 0.349, atol=5e-4) and np.isclose(
    best[0, 0] - best[0, 1], 3.61, atol=5e-3
)
x, t = np.random.default_rng(3).normal(size=(5, 7)), np.array([0, 6, 2, 2, 4])
ours, library = smooth_cross_entropy(x, t, 0.1), mg.cross_entropy(x, t, label_smoothing=0.1).item()
case = recorded("cross_entropy_smooth")
logits = mg.Tensor(case["input.logits"], requires_grad=True)
assert abs(ours - library) < 1e-12

mg.manual_seed(0)
dropped = mg.dropout(mg.Tensor(np.ones((200, 100))), 0.3).data
assert set(np.unique(dropped.round(6))) == {0, round(1 / 0.7, 6)} and abs(dropped.mean() - 1) < 0.02
print(f"label smoothing: ours − the library's {abs(ours - library):.0e}")
print(
    f"dropout with p = 0.3 on 20 000 ones: {np.mean(dropped == 0):.1%} are 0,",
    f"the others {dropped.max():.4f}; mean {dropped.mean():.4f}",
)

# %% [markdown]
# ## 6 · Experiment: take one away
#
# The task: **sort ten digits**. The model has three blocks of width 32, once post-norm, the kind of stack that chapter 08 found hard to train, and once pre-norm. It gets 160 batches of 32 out of 20 000 examples, so that few are seen twice; AdamW with $\eta_{\max} = 0.01$, which is a high rate, a warm-up of 40 steps and a cosine, and gradients clipped to norm 1. Then one thing is changed at a time. Guessing costs $\ln 10 = 2.303$; all losses are measured on 400 new examples *without* label smoothing and dropout.
#
# **The standard of evidence**, the same in both experiments: each recipe is trained from the same four seeds (which fix the first weights and the batches), the losses are subtracted seed by seed, and the mean difference stands with its 95 % interval. Where the interval holds 0, nothing was found, whatever the means say: it is marked *undecided*.
#
# **First the rates.** A comparison of optimizers is fair only if each has the rate that suits it. Three rates for each, three seeds, post-norm:

# %%
test_x, test_y = examples(400, 77)
SEEDS = sized(4, 3, "seeds")


def test(model):
    model.eval()
    with mg.no_grad():
        logits = model(test_x)
        loss = mg.cross_entropy(logits, test_y).item()
    model.train()
    return loss, (logits.data.argmax(axis=-1) == test_y).mean()


def train(
    seed,
    steps=160,
    blocks=3,
    norm_first=False,
    number=20_000,
    rate=0.01,
    warmup=40,
    falls=True,
    limit=1.0,
    dropout=0.0,
    smoothing=0.0,
    decay=0.01,
    make=None,
):
    """The test losses every 40 steps, the loss on what was trained on, and loss and accuracy at the end."""
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model, (x, y) = Sorter(blocks, dropout, norm_first), examples(number, 5)
    optimizer = (
        make(model.parameters(), rate) if make else optim.AdamW(model.parameters(), rate, weight_decay=decay)
    )
    curve = []
    for s in range(steps):
        optimizer.lr = (
            warmup_cosine(s, rate, warmup, steps) if falls else rate * min(1, (s + 1) / max(warmup, 1))
        )
        chosen = rng.integers(0, number, 32)
        loss = mg.cross_entropy(model(x[chosen]), y[chosen], label_smoothing=smoothing)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), limit)
        optimizer.step()
        if s % 40 == 39:
            curve.append(test(model)[0])
    model.eval()
    with mg.no_grad():
        seen = mg.cross_entropy(model(x[:400]), y[:400]).item()
    return np.array(curve), seen, *test(model)


def runs_of(seeds, **settings):
    return [train(seed, **settings) for seed in range(seeds)]


def losses_of(runs):
    return np.array([run[2] for run in runs])


SWEPT = sized(160, 60, "steps to choose a rate")
OPTIMIZERS = {
    "AdamW": (None, (0.003, 0.01, 0.03)),
    "SGD with momentum 0.9": (lambda p, lr: optim.SGD(p, lr, momentum=0.9), (0.1, 0.3, 1.0)),
    "SGD": (optim.SGD, (0.1, 0.3, 1.0)),
}
sweep = {
    (name, rate): losses_of(runs_of(3, rate=rate, make=make, steps=SWEPT))
    for name, (make, rates) in OPTIMIZERS.items()
    for rate in rates
}
best = {
    name: min(rates, key=lambda rate, name=name: sweep[name, rate].mean())
    for name, (_, rates) in OPTIMIZERS.items()
}
against = {
    name: paired(sweep[name, best[name]], sweep["AdamW", best["AdamW"]])
    for name in OPTIMIZERS
    if name != "AdamW"
}
for name, gap in against.items():
    print(f"{name} at its best rate, {best[name]:g}, against AdamW at {best['AdamW']:g}: {gap} nats")
print(f"AdamW at 0.003 against AdamW at 0.01: {paired(sweep['AdamW', 0.003], sweep['AdamW', 0.01])} nats")
table(
    ["optimizer", "low rate: test loss (mean of 3 seeds)", "middle rate", "high rate"],
    [
        (name, *(f"{rate:g}: {sweep[name, rate].mean():.2f}" for rate in rates))
        for name, (_, rates) in OPTIMIZERS.items()
    ],
)

# %% [markdown]
# **Predict.** Now one change at a time, with AdamW at 0.01. Which of these changes will make it fail, which will make it worse, and which will nobody notice? Write down your order before you look, and whether pre-norm will change it.

# %%
changes = {
    "nothing changed": {},
    "no warm-up": {"warmup": 0},
    "no warm-up, a third of the rate": {"warmup": 0, "rate": 0.0033},
    "a third of the rate": {"rate": 0.0033},
    "no clipping": {"limit": np.inf},
    "rate stays high": {"falls": False},
    "dropout 0.1": {"dropout": 0.1},
    "label smoothing 0.1": {"smoothing": 0.1},
}
post = {name: runs_of(SEEDS, **change) for name, change in changes.items()}

# %%
pre = {name: runs_of(SEEDS, norm_first=True, **change) for name, change in changes.items()}


def shown(found):
    """For each change: mean loss, the loss of each seed, the paired difference from row 1, places right."""
    base = losses_of(next(iter(found.values())))
    for name, runs in found.items():
        losses, right = losses_of(runs), np.mean([run[3] for run in runs])
        gap = "" if name == "nothing changed" else paired(losses, base)
        yield name, f"{losses.mean():.2f}", " ".join(f"{loss:.2f}" for loss in losses), gap, f"{right:.0%}"


table(
    [
        "change",
        "post-norm: loss",
        "of each seed",
        "against row 1",
        "right",
        "pre-norm: loss",
        "of each seed",
        "against row 1",
        "right",
    ],
    [(*one, *other[1:]) for one, other in zip(shown(post), shown(pre))],
)

# %%
fig, axes = figure(9.6, 3.7, 1, 2, sharey=True)
at = np.arange(40, 161, 40)
for ax, (title, found) in zip(axes, {"post-norm": post, "pre-norm": pre}.items()):
    for i, name in enumerate(
        ["nothing changed", "no warm-up", "no clipping", "rate stays high", "dropout 0.1"]
    ):
        curves = np.array([run[0] for run in found[name]])  # (seeds, times)
        ax.plot(at, curves.mean(axis=0), label=name, marker="os^Dv"[i], markersize=4, **line(i))
        ax.fill_between(
            at, curves.min(axis=0), curves.max(axis=0), color=line(i)["color"], alpha=0.12, linewidth=0
        )
    ax.axhline(np.log(10), color="0.35", linewidth=1, linestyle=":")
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("training step")
    ax.set_ylim(0, 2.6)
axes[0].set_ylabel("test loss (nats; mean and range of 4 seeds)")
axes[0].text(160, np.log(10) + 0.02, "guessing", ha="right", fontsize=9, color="0.25")
axes[1].legend(fontsize=8.5, loc="upper right")
fig

# %%
gaps = {
    kind: {name: paired(losses_of(runs), losses_of(found["nothing changed"])) for name, runs in found.items()}
    for kind, found in (("post", post), ("pre", pre))
}
both = paired(losses_of(pre["nothing changed"]), losses_of(post["nothing changed"]))
assert gaps["post"]["no warm-up"].low > 0 and gaps["pre"]["no warm-up"].mean < gaps["post"]["no warm-up"].mean
assert all(gaps[kind]["no warm-up, a third of the rate"].low > 0 for kind in gaps)
assert all(gaps[kind]["a third of the rate"].mean > 0.1 for kind in gaps)
assert all(gaps[kind][name].mean > 0 for kind in gaps for name in ("dropout 0.1", "label smoothing 0.1"))
assert all(abs(gaps[kind][name].mean) < 0.15 for kind in gaps for name in ("no clipping", "rate stays high"))
print(f"pre-norm − post-norm, nothing changed: {both} nats")
print(
    "cost of leaving out the warm-up, in nats:",
    f"post-norm {gaps['post']['no warm-up']}, pre-norm {gaps['pre']['no warm-up']}",
)
costs = [losses_of(found["no warm-up"]) - losses_of(found["nothing changed"]) for found in (post, pre)]
print(f"the first of these costs − the second: {paired(*costs)} nats")
for kind, found in (("post-norm", post), ("pre-norm", pre)):
    plain, smoothed = found["nothing changed"], found["label smoothing 0.1"]
    old, new = np.mean([run[1] for run in plain]), losses_of(plain).mean()
    print(f"{kind}: loss on 400 examples of the training {old:.2f}, on new ones {new:.2f};")
    more = paired([100 * run[3] for run in smoothed], [100 * run[3] for run in plain], digits=1)
    print(f"  places right, label smoothing − nothing changed: {more} points")

# %% [markdown]
# What the numbers say, here:
#
# - **Warm-up** is needed in post-norm: without it the loss is clearly higher, and taking a third of the rate instead costs about as much. In pre-norm leaving it out costs less, as the difference of the two costs says; by itself, with these seeds, nothing is decided there. One explanation is the direct way of chapter 08, which is kind to the first steps.
# - **The rate itself** decides in both: with a third of it, and the warm-up as before, the model learns more slowly, wherever the norm stands.
# - **Clipping, and letting the rate fall**: no effect was found in either column. That is not "no effect": the interval says how large an effect these runs could have missed. Clipping is an insurance against the spike of section 2, and no spike came.
# - **Dropout makes it worse**, in both. With so many examples little is learned by heart (the losses on old and on new examples stand above), and dropout only disturbs.
# - **Label smoothing** raises the loss, in both: it asks for less confidence than is right on a task without doubt. No harm to the number of right answers was found (the intervals stand above).
# - **Adam against SGD**: each has the best of its three rates, from the sweep above. The gradients of the weight matrices are of very different sizes (printed in section 4); that one rate for all of them is a bad compromise is the reason usually given, and not tested here.
#
# ## 7 · Experiment: too few examples
#
# What are dropout, weight decay and label smoothing for, then? The same task, but only **64 different examples** to train on, two post-norm blocks, rate 0.003, 320 steps: each example is seen 160 times.

# %%
cures = {
    "nothing changed": {},
    "dropout 0.2": {"dropout": 0.2},
    "weight decay 0.3 (not 0.01)": {"decay": 0.3},
    "label smoothing 0.1": {"smoothing": 0.1},
}
found_few = {
    name: runs_of(4, number=64, blocks=2, rate=0.003, steps=320, **cure) for name, cure in cures.items()
}
fig, ax = figure(6.2, 3.5)
at = np.arange(40, 321, 40)
for i, (name, runs) in enumerate(found_few.items()):
    curves = np.array([run[0] for run in runs])
    ax.plot(at, curves.mean(axis=0), label=name, **line(i))
    ax.fill_between(
        at, curves.min(axis=0), curves.max(axis=0), color=line(i)["color"], alpha=0.15, linewidth=0
    )
ax.set_xlabel("training step")
ax.set_ylabel("test loss (nats; mean and range of 4 seeds)")
ax.set_ylim(0.4, 2.4)
ax.legend()
fig

# %%
seen_few = {name: np.array([run[1] for run in runs]) for name, runs in found_few.items()}
few = {name: losses_of(runs) for name, runs in found_few.items()}
assert few["nothing changed"].mean() > seen_few["nothing changed"].mean() + 0.4
assert all(
    few[name].mean() < few["nothing changed"].mean()
    for name in ("dropout 0.2", "weight decay 0.3 (not 0.01)")
)
print(
    "loss on the 64 examples themselves:",
    ", ".join(f"{name} {value.mean():.2f}" for name, value in seen_few.items()),
)
table(
    ["change", "test loss (mean)", "of each seed", "against the first row", "places right"], shown(found_few)
)

# %% [markdown]
# The model could learn 64 answers by heart: its loss on them is far lower than on new examples. Dropout and weight decay make that harder, and both have a lower mean on new examples. Weight decay helps here; for dropout (now 0.2) the four seeds do not decide, though its mean is the lowest: they differ much in how badly the plain run learns by heart, so that a difference must be large to be decided. Where learning by heart is no danger, dropout was harm (section 6). So look first at **how much there is to learn from**.
#
# For label smoothing nothing is decided here, and the number of right answers hardly moves. It was invented for models that are too sure of themselves, and whose labels are sometimes wrong; ours are always right. On text, two seeds of each in [benchmarks/ablations.md](../benchmarks/ablations.md) suggest the same: for a small model in a short training dropout and label smoothing cost, warm-up gains a little at a moderate rate, and clipping changes less than the seeds do.
#
# So a training recipe is not a list of good things. Each piece treats a disease: **find out whether you have it.**
#
# ## 8 · Muon: a matrix is more than its entries
#
# Adam treats a weight matrix as a bag of numbers. But a matrix $W$ is a map, $x \mapsto xW$, and what its next step changes is the output of the layer. So ask for the step $\Delta$ that lowers the loss fastest when **no output may move by more than a given share of its input**: $\lVert x\Delta\rVert \le \eta\lVert x\rVert$ for every $x$. To first order the loss changes by $\sum_{jk} G_{jk} \Delta_{jk}$, where $G$ is the gradient.
#
# Write the gradient by its singular values $s_i \ge 0$ and two sets of orthonormal vectors, $G = \sum_i s_i\, a_i b_i^\top$. Then
#
# $$\sum_{jk} G_{jk} \Delta_{jk} = \sum_i s_i\; a_i^\top \Delta\, b_i \;\ge\; -\eta \sum_i s_i ,$$
#
# since $a_i$ and $b_i$ have length 1 and $\Delta$ lengthens no vector by more than $\eta$. Equality holds for
#
# $$\Delta = -\eta \sum_i a_i b_i^\top :$$
#
# **the gradient with all its singular values set to 1.** Directions in which the gradient is small are walked as far as those in which it is large: for the directions of a matrix that is what Adam does for single entries.
#
# **Without the singular values.** They are expensive to compute. But products keep the $a_i$ and $b_i$: $G G^\top G = \sum_i s_i^3\, a_i b_i^\top$, so a polynomial of odd powers of $G$ acts on the $s_i$ alone. We need one that brings every $s$ to 1 when it is applied again and again. Newton's method for $f(s) = s^{-2} - 1 = 0$ says $s \leftarrow s - f(s)/f'(s)$ with $f'(s) = -2s^{-3}$, and there it is, the **Newton–Schulz** step:
#
# $$s \leftarrow s + \tfrac12\big(s - s^3\big) = \tfrac32 s - \tfrac12 s^3, \qquad\text{for the matrix}\qquad X \leftarrow \tfrac32 X - \tfrac12 X X^\top X .$$
#
# Near 1 it doubles the number of right digits each time: with $s = 1 - e$ the next error is $\tfrac32 e^2 - \tfrac12 e^3$. It is enough to begin with $0 < s \le 1$, so $G$ is first divided by its Euclidean norm, which is never below its largest singular value.
#
# **On paper**: $G$ is diagonal with $3$ and $4$, its norm is $5$, so we begin with $0.6$ and $0.8$. One step gives $\tfrac32 \cdot 0.6 - \tfrac12 \cdot 0.216 = 0.792$ and $\tfrac32\cdot 0.8 - \tfrac12\cdot 0.512 = 0.944$; two give $0.940$ and $0.995$. Both go to 1.
#
# A small $s$ only grows by half in each step, and the singular values of a gradient spread over decades. **Muon** (Jordan et al., 2024) takes a fifth power too, $s \leftarrow 3.4445\,s - 4.7750\,s^3 + 2.0315\,s^5$, which is steeper at 0. Its price is that it does not settle at 1 but keeps wandering about it; for a step, that is near enough. With the momentum of section 1, for $W$ of shape $(m, n)$ and $\operatorname{ns}$ for five such steps:
#
# $$u \leftarrow \mu u + G, \qquad W \leftarrow W - \eta\lambda W - 0.2\,\eta\,\sqrt{\max(m, n)}\;\operatorname{ns}(G + \mu u) .$$
#
# The last factor makes the step as large as one of Adam: $\sum_i a_i b_i^\top$ has $\min(m, n)$ singular values of 1, hence entries with a mean square of $\min(m, n)/(mn) = 1/\max(m, n)$; and Adam's steps, whose gradients do not all agree, have a root mean square of about $0.2\,\eta$ (Liu et al., 2025). So the same rates make sense for both. Embeddings, the output layer and vectors stay with AdamW.

# %%
def newton_schulz(G, steps=5, powers=(3.4445, -4.7750, 2.0315)):  # (m, n) → (m, n)
    a, b, c = powers
    X = G / np.sqrt((G**2).sum())
    for _ in range(steps):
        A = X @ X.T
        X = a * X + b * (A @ X) + c * (A @ A @ X)
    return X


def muon(eta, mu=0.95, lam=0.01):
    def step(W, G, u):
        u = mu * u + G
        scale = 0.2 * np.sqrt(max(W.shape))
        return W - eta * lam * W - eta * scale * newton_schulz(G + mu * u), u

    return step


cubic = (1.5, -0.5, 0.0)
paper = np.diag([3.0, 4.0])
assert np.allclose(np.diag(newton_schulz(paper, 1, cubic)), [0.792, 0.944])
assert np.allclose(np.diag(newton_schulz(paper, 2, cubic)), [0.940, 0.995], atol=5e-4)

rng = np.random.default_rng(4)
G = rng.normal(size=(6, 9))
a, s, b = np.linalg.svd(G, full_matrices=False)
gap_svd = np.abs(newton_schulz(G, 15, cubic) - a @ b).max()
gap_library = np.abs(newton_schulz(G) - optim.orthogonal(G)).max()

W, u = rng.normal(size=(6, 9)), np.zeros((6, 9))
theirs = mg.Tensor(W.copy(), requires_grad=True)
library = optim.Muon([theirs], lr=0.03)
for G in rng.normal(size=(20, 6, 9)):
    W, u = muon(0.03)(W, G, u)
    theirs.grad = mg.Tensor(G.copy())
    library.step()
gap_path = np.abs(W - theirs.data).max()
assert max(gap_svd, gap_library, gap_path) < 1e-5
print(f"15 cubic steps − the SVD's answer: {gap_svd:.0e}")
print(f"five steps of Muon's polynomial, ours − the library's: {gap_library:.0e}")
print(f"20 steps of Muon, ours − the library's: {gap_path:.0e}")

# %% [markdown]
# Left, what five steps make of a singular value. Right, the singular values of one real gradient, that of a feed-forward matrix in a fresh sorter, and of three steps made from it: gradient descent's, Adam's first one (the signs of the entries), and Muon's.

# %%
mg.manual_seed(0)
model, (x, y) = Sorter(3, norm_first=True), examples(32, 5)
gradient(model, x, y)
G = model.blocks[1].ffn.up.weight.grad.data.astype(float)  # (32, 64)
before = np.geomspace(1e-3, 1, 400)
fig, (left, right) = figure(9.2, 3.5, 1, 2)
for i, (name, powers) in enumerate({"cubic": cubic, "Muon's": (3.4445, -4.7750, 2.0315)}.items()):
    after = before
    for _ in range(5):
        after = powers[0] * after + powers[1] * after**3 + powers[2] * after**5
    left.semilogx(before, after, label=f"{name}, five times", **line(i))
left.axhline(1, color="0.35", linewidth=1, linestyle=":")
left.set_xlabel("singular value before")
left.set_ylabel("after")
left.legend()
large = {}
for i, (name, step) in enumerate(
    {"the gradient": G, "its signs (Adam's first step)": np.sign(G), "Muon's step": newton_schulz(G)}.items()
):
    s = np.linalg.svd(step, compute_uv=False)
    large[name] = int((s > s[0] / 5).sum())
    right.semilogy(np.arange(1, len(s) + 1), s / s[0], marker="os^"[i], markersize=3, label=name, **line(i))
right.set_xlabel("number of the singular value")
right.set_ylabel("share of the largest")
right.legend(fontsize=8.5, loc="upper right")
assert after[before > 0.01].min() > 0.6 and after.max() < 1.3
right.set_ylim(1e-4, 2)
assert large["Muon's step"] > 1.5 * large["the gradient"]
print(f"above a fifth of the largest, of {len(s)}:", ", ".join(f"{name} {n}" for name, n in large.items()))
fig

# %% [markdown]
# **Is it better?** A sorter of two pre-norm blocks, where AdamW does well, and 80 steps. Four rates for each on three seeds; then each at its best rate, on **six seeds that had no part in choosing it**. Muon's step costs more, so a third row asks the question of the clock. How much more is measured first, by steps of both in turn, and AdamW then gets as many more steps.

# %%
class MuonAndAdamW:
    """Muon for the matrices within the blocks; AdamW for the vectors, the embedding and the output."""

    def __init__(self, parameters, rate):
        parameters = list(parameters)
        hidden = [p for p in parameters if p.ndim == 2 and 10 not in p.shape]
        rest = [p for p in parameters if p.ndim < 2 or 10 in p.shape]
        self.both = [optim.Muon(hidden, rate), optim.AdamW(rest, rate, weight_decay=0.01)]
        self.lr = rate

    def zero_grad(self):
        for optimizer in self.both:
            optimizer.zero_grad()

    def step(self):
        for optimizer in self.both:
            optimizer.lr = self.lr
            optimizer.step()


RIVALS = {"AdamW": None, "Muon": MuonAndAdamW}
RATES = sized((0.01, 0.02, 0.04, 0.08), (0.04, 0.08), "as rates")
short = {"blocks": 2, "norm_first": True, "warmup": 20}
sweep = {
    (name, rate): losses_of(runs_of(3, steps=80, rate=rate, make=make, **short))
    for name, make in RIVALS.items()
    for rate in RATES
}
best = {name: min(RATES, key=lambda rate, name=name: sweep[name, rate].mean()) for name in RIVALS}
table(
    ["optimizer", *(f"rate {rate:g}: test loss (mean of 3 seeds)" for rate in RATES)],
    [(name, *(f"{sweep[name, rate].mean():.3f}" for rate in RATES)) for name in RIVALS],
)

# %%
def seconds_of_a_step(count=60):
    """The median time of a step of each optimizer, the two in turn."""
    x, y = examples(32, 5)
    taken = {name: [] for name in RIVALS}
    models = {name: Sorter(2, norm_first=True) for name in RIVALS}
    optimizers = {
        name: (make or optim.AdamW)(models[name].parameters(), 1e-3) for name, make in RIVALS.items()
    }
    for _ in range(count):
        for name, model in models.items():
            start = time.perf_counter()
            optimizers[name].zero_grad()
            mg.cross_entropy(model(x), y).backward()
            optim.clip_grad_norm(model.parameters(), 1.0)
            optimizers[name].step()
            taken[name].append(time.perf_counter() - start)
    return {name: np.median(found) for name, found in taken.items()}


seconds = seconds_of_a_step()
ratio = seconds["Muon"] / seconds["AdamW"]
steps_of = {"AdamW": 80, "Muon": 80, "AdamW, equal time": round(80 * max(1, ratio))}
rows = {}
for name, steps in steps_of.items():
    optimizer = name.split(",")[0]
    settings = {**short, "rate": best[optimizer], "steps": steps, "make": RIVALS[optimizer]}
    rows[name] = [train(seed, **settings) for seed in range(10, 16)]
final = {name: losses_of(runs) for name, runs in rows.items()}
gain = {name: paired(final["Muon"], final[name], digits=3) for name in final if name != "Muon"}
assert gain["AdamW"].high < 0
print(f"a step of Muon takes {ratio:.2f} times as long as one of AdamW")
print(f"Muon − AdamW after equal steps: {gain['AdamW']} nats")
print(f"Muon − AdamW after equal time: {gain['AdamW, equal time']} nats")
table(
    ["optimizer", "steps", "rate", "test loss (mean of 6 seeds)", "of each seed", "places right"],
    [
        (
            name,
            steps_of[name],
            f"{best[name.split(',')[0]]:g}",
            f"{final[name].mean():.3f}",
            " ".join(f"{loss:.2f}" for loss in final[name]),
            f"{np.mean([run[3] for run in runs]):.1%}",
        )
        for name, runs in rows.items()
    ],
)

# %% [markdown]
# On this task Muon wins by a wide margin after equal steps. After equal time the second interval decides, for the machine on which it was measured: how much longer a step takes differs between machines. AdamW has its best rate too, far above the one of section 6, and at the next higher rate it is no better; Muon's best is the highest tried, so its own optimum may lie beyond.
#
# What this does not show: that it is so everywhere. The task is one of order, in a short training of a tiny model, and Muon's products cost $m^2 n$ for a matrix of shape $(m, n)$ with $m \le n$, whatever the batch: for small batches that is dear. A step of the first command's model, 4 blocks of width 128 with 12 windows of 64 characters, takes half as long again with Muon as with AdamW: [benchmarks/first_command.md](../benchmarks/first_command.md). There it is the better bargain only if it saves a third of the steps, and that is an experiment for each model.
#
# ## Common misunderstandings
#
# - ***Adam needs no learning rate.*** It needs none for each parameter; the common one still decides how much is learned: 0.82 or 0.47 nats after 160 steps, in the sweep of section 6.
# - ***The bias correction is a detail.*** Without it the first steps are three to six and a half times too long, just when the model is most fragile. (A warm-up would hide the mistake.)
# - ***AdamW is Adam with weight decay.*** Adam with $\lambda\theta$ added to the gradient is another thing: there, parameters with large gradients are hardly decayed.
# - ***Clipping is entry by entry.*** The usual one scales all gradients of the model by one common factor; the direction stays.
# - ***Dropout is a good thing to have.*** It is a remedy for learning by heart. Where that does not happen, it is harm.
# - ***A lower training loss is a better recipe.*** With label smoothing or dropout the training loss is another quantity. Compare on test data, without both, and with several seeds.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · Clipping
#
# A list of arrays, the gradients of a model. If their joint norm exceeds `limit`, scale all of them by one factor so that it equals `limit`; otherwise leave them alone.

# %% tags=["exercise"]
def clipped(gradients, limit):
    """The list of gradients, with a joint norm of `limit` at most."""
    ### BEGIN SOLUTION
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    return [g * min(1.0, limit / norm) for g in gradients]
    ### END SOLUTION


checks.check_10_clipped(clipped)

# %% [markdown] tags=["idea"]
# The joint norm: the root of the sum of *all* squares, over all arrays. The factor is `min(1, limit / norm)`.

# %% [markdown]
# ### Exercise 2 ★ · A schedule
#
# Warm-up over $w$ steps (at step $s = 0$ the rate is $\text{top}/w$), then in a **straight line** down to 0 at step $n$.

# %% tags=["exercise"]
def warmup_linear(s, top, w, n):
    """The learning rate at step s = 0, 1, …, n."""
    ### BEGIN SOLUTION
    return top * (s + 1) / w if s < w else top * (n - s) / (n - w)
    ### END SOLUTION


checks.check_10_warmup_linear(warmup_linear)

# %% [markdown] tags=["idea"]
# As in section 3, with $(n - s)/(n - w)$ in the place of the cosine's half wave: 1 at $s = w$ and 0 at $s = n$.

# %% [markdown]
# ### Exercise 3 ★★ · Adam
#
# One step: from $\theta$, $g$, the means $m$ and $v$ before the step, and its number $t = 1, 2, \dots$

# %% tags=["exercise"]
def adam_step(theta, g, m, v, t, eta, beta1, beta2, eps):
    """The new (theta, m, v)."""
    ### BEGIN SOLUTION
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return theta - eta * m_hat / (np.sqrt(v_hat) + eps), m, v
    ### END SOLUTION


checks.check_10_adam_step(adam_step)

# %% [markdown] tags=["idea"]
# The formulas of section 1 from top to bottom. The means that are remembered are the ones *without* hat; $\epsilon$ is added after the root.

# %% [markdown]
# ### Exercise 4 ★★ · Label smoothing, backwards
#
# Logits $x: (N, \mathcal V)$, true classes $t: (N,)$, and the loss of section 5, a mean over the $N$ rows. Its gradient $\bar x$ by hand, for logits of any size.

# %% tags=["exercise"]
def smooth_backward(x, t, eps):
    """The gradient of the smoothed cross-entropy with respect to x."""
    ### BEGIN SOLUTION
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    target = (1 - eps) * np.eye(x.shape[-1])[t] + eps / x.shape[-1]
    return (p - target) / len(x)
    ### END SOLUTION


checks.check_10_smooth_backward(smooth_backward)

# %% [markdown] tags=["idea"]
# As in chapter 03, but with the smooth target: the weighted mean of $\bar p_k p_k$ is $-\tfrac1N\sum_k q_k = -\tfrac1N$ for any target whose entries add up to 1. So again $\bar x = (p - q)/N$, with $q = (1-\varepsilon)\cdot\text{one-hot} + \varepsilon/\mathcal V$.

# %% [markdown]
# ### Exercise 5 ★★★ · How far does a run of equal gradients carry?
#
# With momentum $\mu$ and $u = 0$ at the start, the gradient is $1$ in every one of $n$ steps, and $\eta = 1$. How far has $\theta$ moved *in all* after the $n$ steps? (A formula without a loop; $0 \le \mu < 1$.)

# %% tags=["exercise"]
def distance_moved(mu, n):
    """The sum of the first n velocities."""
    ### BEGIN SOLUTION
    return (n - mu * (1 - mu**n) / (1 - mu)) / (1 - mu)
    ### END SOLUTION


checks.check_10_distance_moved(distance_moved)

# %% [markdown] tags=["idea"]
# After $k$ steps $u_k = 1 + \mu + \dots + \mu^{k-1} = \frac{1 - \mu^k}{1 - \mu}$. Their sum is $\frac{1}{1-\mu}\big(n - \sum_{k=1}^n \mu^k\big) = \frac{1}{1-\mu}\Big(n - \mu\frac{1 - \mu^n}{1 - \mu}\Big)$.

# %% [markdown]
# ## References
#
# - D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015: algorithm 1, and section 3 for the bias correction.
# - I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019: AdamW, algorithm 2; "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, equation 5: the cosine.
# - A. Vaswani et al., "Attention is all you need", NeurIPS 2017, sections 5.3 and 5.4: Adam, the schedule with warm-up, dropout, label smoothing.
# - R. Xiong et al., "On layer normalization in the Transformer architecture", ICML 2020: why post-norm needs a warm-up.
# - R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013, algorithm 1: clipping.
# - N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014). C. Szegedy et al., "Rethinking the Inception architecture", CVPR 2016, section 7: label smoothing.
# - K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024): Newton–Schulz with a fifth power. J. Liu et al., "Muon is scalable for LLM training" (2025), section 2.2: the factor. J. Bernstein, L. Newhouse, "Old optimizer, new norm" (2024): steepest descent in the norm of a map.
# - G. Goh, "Why momentum really works", Distill (2017): the valley, with pictures that move.
#
# **Before:** [09 · Encoder–decoder](09_encoder_decoder.ipynb). **Next:** [11 · Generating text](11_generating_text.ipynb).
