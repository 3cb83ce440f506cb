# %% [markdown]
# # 02 · A tensor that differentiates itself
#
# *About 45 minutes to read, 60 more for the exercises. You need [01 · Derivatives by hand](01_derivatives_by_hand.ipynb): the chain rule backwards, and how to check a gradient.
# Next: [03 · Softmax, cross-entropy, layer norm backward by hand](03_softmax_cross_entropy_layer_norm.ipynb).*
#
# In chapter 01 you walked back through a computation with a pencil. The walk was mechanical: every step had a rule, and the rules were applied in reverse order. What is mechanical a program
# can do. This chapter writes it, in about sixty lines, and then opens the library that the rest of the book uses.
#
# **After this chapter you can**
#
# - write an automatic differentiation engine from an empty file: record forward, walk back;
# - say in which order to walk, what goes wrong in another order, and what it costs;
# - say what happens to a gradient where NumPy broadcasts;
# - find each of these ideas again in `minigrad`, whose engine you open at the end.

# %%
import inspect

import numpy as np

import checks
import minigrad as mg
from minigrad import graph
from book import COLOURS, figure, line, recorded, table

# %% [markdown]
# ## 1 · One number, used twice
#
# Take $x = 3$ and compute
#
# $$y = x \cdot x = 9, \qquad z = y + x = 12, \qquad \mathcal L = z \cdot y = 108 .$$
#
# Both $x$ and $y$ are used more than once. Without any walk: $\mathcal L = (x^2 + x)\,x^2 = x^4 + x^3$, so $d\mathcal L/dx = 4x^3 + 3x^2 = 108 + 27 = 135$. Backwards, with $\bar v$ for $\partial \mathcal L/\partial v$:
#
# | step | backward | number |
# | --- | --- | --- |
# | $\mathcal L = z \cdot y$ | $\bar z = \bar{\mathcal L}\, y$ and a first contribution to $\bar y$: $\;\bar{\mathcal L}\, z$ | $\bar z = 9$, contribution $12$ |
# | $z = y + x$ | a second contribution to $\bar y$: $\;\bar z$, and a first one to $\bar x$: $\;\bar z$ | contributions $9$ and $9$ |
# | | *all contributions to $\bar y$ are here:* $\bar y = 12 + 9$ | $\bar y = 21$ |
# | $y = x \cdot x$ | two more contributions to $\bar x$: $\;\bar y\,x$ and $\bar y\,x$ | contributions $63$ and $63$ |
# | | $\bar x = 9 + 63 + 63$ | $\bar x = 135$ ✓ |
#
# Two rules are all there is to it:
#
# 1. **Where a variable is used several times, the contributions to its gradient add.** If $v$ goes into $r_1, r_2, \dots$, then $\bar v = \sum_k \bar r_k\, \partial r_k / \partial v$.
# 2. **Go back through a variable only when all contributions have arrived.** Had we gone back through $y = x\cdot x$ with $\bar y = 12$, we would have found $\bar x = 9 + 36 + 36 = 81$.

# %% [markdown]
# ## 2 · The engine
#
# Record while going forward: each result remembers its *parents* (what it was computed from) and, for each parent, a *rule*. The rule takes the upstream gradient of the result and returns its contribution to the parent's gradient,
#
# $$\text{rule}:\; \bar r \;\mapsto\; \bar r\, \frac{\partial r}{\partial v} .$$
#
# It is called a **vector–Jacobian product** (VJP). Data are NumPy arrays. First the recording, one line for each operation:

# %%
class Node:
    """An array that remembers how it was computed."""

    __array_ufunc__ = None  # let `array * node` come to us instead of NumPy

    def __init__(self, data, parents=(), rules=()):
        self.data = np.asarray(data, dtype=float)
        self.parents = parents  # the nodes that it was computed from
        self.rules = rules  # for each of them: upstream gradient → contribution to its gradient
        self.grad = None

    def __add__(self, other):
        other = as_node(other)
        return Node(self.data + other.data, (self, other), (lambda g: g, lambda g: g))

    def __mul__(self, other):
        other = as_node(other)
        return Node(
            self.data * other.data, (self, other), (lambda g: g * other.data, lambda g: g * self.data)
        )

    def __pow__(self, n):
        return Node(self.data**n, (self,), (lambda g: g * n * self.data ** (n - 1),))

    def __matmul__(self, other):  # chapter 01: Ȳ Wᵀ and Xᵀ Ȳ
        other = as_node(other)
        rules = (lambda g: g @ other.data.swapaxes(-1, -2), lambda g: self.data.swapaxes(-1, -2) @ g)
        return Node(self.data @ other.data, (self, other), rules)

    def exp(self):
        y = np.exp(self.data)
        return Node(y, (self,), (lambda g: g * y,))

    def log(self):
        return Node(np.log(self.data), (self,), (lambda g: g / self.data,))

    def tanh(self):
        y = np.tanh(self.data)
        return Node(y, (self,), (lambda g: g * (1 - y**2),))

    def sum(self):
        return Node(self.data.sum(), (self,), (lambda g: np.broadcast_to(g, self.data.shape),))

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -as_node(other)

    def __rmatmul__(self, other):  # an array on the left of @
        return as_node(other) @ self

    __radd__, __rmul__ = __add__, __mul__

    def backward(self, gradient=1.0):
        backward(self, gradient)


def as_node(x):
    return x if isinstance(x, Node) else Node(x)

# %% [markdown]
# Then the walk. `topological` lists the nodes so that each comes after its parents. Read backwards, each comes before its parents: when its turn comes, every result that used it has been dealt with. That
# is rule 2; the `+` in `backward` is rule 1. (`unbroadcast` comes in section 4; for now it does nothing.)

# %%
def topological(node, seen=None):
    """All nodes behind `node`, itself last: each after its parents, each once."""
    seen = set() if seen is None else seen
    if node in seen:
        return []
    seen.add(node)
    return [n for parent in node.parents for n in topological(parent, seen)] + [node]


def backward(output, gradient=1.0):
    order = topological(output)
    for node in order:
        node.grad = np.zeros_like(node.data)
    output.grad = output.grad + gradient
    for node in reversed(order):
        for parent, rule in zip(node.parents, node.rules, strict=True):
            parent.grad = parent.grad + unbroadcast(rule(node.grad), parent.data.shape)


def unbroadcast(gradient, shape):
    return gradient  # a promise, kept in section 4


x = Node(3.0)
y = x * x
z = y + x
loss = z * y
loss.backward()
assert (loss.data, x.grad, y.grad, z.grad) == (108, 135, 21, 9)
table(
    ["node", "value", "gradient"],
    [("ℒ", loss.data, loss.grad), ("z", z.data, z.grad), ("y", y.data, y.grad), ("x", x.data, x.grad)],
)

# %% [markdown]
# The numbers of the table in section 1, to the last. And the library says the same. In its derivation, below the graph, see where *gradients meet and add*: $\bar y$ from two uses, $\bar x$ from three.

# %%
x_ = mg.Tensor(3.0, requires_grad=True)
y_ = x_ * x_
z_ = y_ + x_
loss_ = z_ * y_
mg.draw(loss_, show="gradients", names=dict(x=x_, y=y_, z=z_, loss=loss_))

# %%
mg.explain(loss_, names={"x": x_, "y": y_, "z": z_, "ℒ": loss_})

# %% [markdown]
# ## 3 · Experiment: why that order
#
# Two tempting ways to walk are wrong, each in its own way.
#
# **Wrong number.** Go through the nodes in the order in which you meet them from $\mathcal L$: first $\mathcal L$, then its parents $z$ and $y$, then *their* parents (breadth first). If $y$ has its turn before $z$ has sent its
# contribution, that contribution is lost on the way to $x$.
#
# **Right number, absurd price.** Follow every path from $\mathcal L$ down to the leaves, and hand on each contribution by itself. The sum over all paths is exactly what the chain rule says; but when $x \leftarrow x + x$ is repeated $n$
# times, there are $2^n$ paths.

# %%
def backward_breadth_first(output):
    queue, order = [output], []
    while queue:
        node = queue.pop(0)
        if node not in order:
            order.append(node)
            queue += node.parents[::-1]  # the parents in the other order: y before z
    for node in order:
        node.grad = np.zeros_like(node.data)
    output.grad = np.ones_like(output.data)
    for node in order:
        for parent, rule in zip(node.parents, node.rules, strict=True):
            parent.grad = parent.grad + rule(node.grad)


def backward_along_paths(node, gradient=1.0):
    """Returns how many rules were called."""
    node.grad = gradient + (0 if node.grad is None else node.grad)
    return sum(
        1 + backward_along_paths(parent, rule(gradient))
        for parent, rule in zip(node.parents, node.rules, strict=True)
    )


def ladder(n):
    x = y = Node(1.0)
    for _ in range(n):
        y = y + y
    return x, y


depths = range(1, 17)
paths, ordered = [], []
for n in depths:
    x1, top = ladder(n)
    paths.append(backward_along_paths(top))
    x2, top = ladder(n)
    top.backward()
    ordered.append(sum(len(node.parents) for node in topological(top)))
    assert x1.grad == x2.grad == 2**n  # both are right

fig, ax = figure(6.4, 3.8)
ax.semilogy(depths, paths, marker="o", markersize=4, label="along every path", **line(1))
ax.semilogy(depths, ordered, marker="s", markersize=4, label="in topological order", **line(0))
ax.set_xlabel("how often x ← x + x is repeated")
ax.set_ylabel("rules called")
ax.legend(loc="upper left")
fig

# %%
x = Node(3.0)
y = x * x
z = y + x
backward_breadth_first(z * y)
print(f"breadth first: {x.grad:.0f} instead of 135, without any error message")
print(f"along the paths, {depths[-1]} repetitions: {paths[-1]} rules; in topological order: {ordered[-1]}")
print(f"40 repetitions would be {2**41 - 2:.1e} rules along the paths, and 80 in order")
assert x.grad == 81 and paths[-1] == 2**17 - 2 and ordered[-1] == 2 * depths[-1]

# %% [markdown]
# Topological order calls each rule once. Its price is that of the forward computation, times a small constant, whatever the graph looks like.
#
# **Question.** A model applies the same weight matrix $W$ at 100 positions. How many contributions does $\bar W$ have? (One for each use; they add. Forgetting one of them is a classic mistake with *tied* weights.)

# %% [markdown]
# ## 4 · Broadcasting: what is copied forward is summed backward
#
# NumPy adds arrays of different shapes by repeating the smaller one. Let $a$ have shape $(2, 1)$ and $b$ shape $(3,)$, and $r = a + b$, of shape $(2, 3)$:
#
# $$a = \begin{pmatrix} 10 \\ 20 \end{pmatrix},\quad b = \begin{pmatrix} 1 & 2 & 3 \end{pmatrix},\quad r = \begin{pmatrix} 11 & 12 & 13 \\ 21 & 22 & 23 \end{pmatrix},
# \qquad \bar r = \begin{pmatrix} 1 & 2 & 3 \\ 4 & 5 & 6 \end{pmatrix} .$$
#
# The number $a_1 = 10$ is used three times. Rule 1: the contributions add, $\bar a_1 = 1 + 2 + 3 = 6$, and $\bar a_2 = 15$. Each $b_j$ is used twice: $\bar b = (1+4,\; 2+5,\; 3+6) = (5, 7, 9)$. In general:
#
# - an axis that was **missing** is summed away;
# - an axis of size **1** that was stretched is summed, and kept with size 1.

# %%
def unbroadcast(gradient, shape):
    """The gradient of an array of this `shape` that was broadcast to gradient.shape."""
    gradient = np.asarray(gradient)
    missing = gradient.ndim - len(shape)
    gradient = gradient.sum(axis=tuple(range(missing)))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return gradient.sum(axis=stretched, keepdims=True)


a, b = Node([[10.0], [20.0]]), Node([1.0, 2.0, 3.0])
(a + b).backward(np.array([[1.0, 2, 3], [4, 5, 6]]))
assert a.grad.tolist() == [[6], [15]] and b.grad.tolist() == [5, 7, 9]
a.grad, b.grad

# %% [markdown]
# That was the last piece: `Node`, `as_node`, `topological`, `backward` and `unbroadcast` are the whole engine. Is it right? Call the witnesses: PyTorch's stored arrays, whose upstream gradients are random. The case
# `linear` has $x$ of shape $(2, 5, 12)$, so that the weights, of shape $(12, 5)$, are broadcast over the batch.

# %%
cases = {
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "tanh": lambda x: x.tanh(),
    "matmul": lambda a, b: a @ b,
    "matmul_broadcast": lambda a, b: a @ b,
    "linear": lambda x, W, b: x @ W + b,
}
rows = []
for name, function in cases.items():
    case = recorded(name)
    inputs = {
        key.removeprefix("input."): Node(value) for key, value in case.items() if key.startswith("input.")
    }
    output = function(*inputs.values())
    output.backward(case["upstream"])
    forward_gap = np.abs(output.data - case["output"]).max()
    gap = max(np.abs(node.grad - case[f"grad.input.{key}"]).max() for key, node in inputs.items())
    assert max(gap, forward_gap) < 1e-12
    rows.append(
        (
            name,
            ", ".join(str(node.data.shape) for node in inputs.values()),
            f"{forward_gap:.0e}",
            f"{gap:.0e}",
        )
    )
table(["case", "shapes", "output − PyTorch", "worst gradient − PyTorch"], rows)

# %% [markdown]
# ## 5 · It learns
#
# An engine is for training. Forty points in the plane are to be told apart, those inside a ring from those on it: no straight line can. The network has one hidden layer of 8 numbers; all shapes are in the
# comments. The loss is the mean, over the points, of that of exercise 2 in chapter 01.

# %%
rng = np.random.default_rng(4)
radius = np.repeat([0.5, 1.6], 20)
angle = np.tile(np.linspace(0, 2 * np.pi, 20, endpoint=False), 2)
X = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1) + rng.normal(
    0, 0.12, (40, 2)
)  # (40, 2)
t = np.repeat([[1.0], [-1.0]], 20, axis=0)  # (40, 1): +1 inside, −1 on the ring
start = [rng.normal(0, 1, (2, 8)), np.zeros(8), rng.normal(0, 0.4, (8, 1)), np.zeros(1)]


def logistic(W1, b1, W2, b2):
    y = (X @ W1 + b1).tanh() @ W2 + b2  # (40, 2) → (40, 8) → (40, 1)
    return ((y * -t).exp() + 1).log().sum() * (1 / 40)


parameters = [Node(p) for p in start]
losses = []
for _ in range(500):
    value = logistic(*parameters)
    value.backward()
    losses.append(float(value.data))
    parameters = [Node(p.data - 1.0 * p.grad) for p in parameters]  # one step against the gradient
print(f"loss {losses[0]:.3f} → {losses[-1]:.4f} in 500 steps")
assert losses[0] > 0.5 and losses[-1] < 0.03

# %%
grid = np.linspace(-2.2, 2.2, 90)
plane = np.stack(np.meshgrid(grid, grid), axis=-1)  # (90, 90, 2)
W1, b1, W2, b2 = (p.data for p in parameters)
answer = (np.tanh(plane @ W1 + b1) @ W2 + b2)[..., 0]  # (90, 90)

fig, (left, right) = figure(8.6, 3.8, 1, 2)
left.semilogy(losses, **line(0))
left.set_yticks([0.5, 0.2, 0.1, 0.05, 0.02], ["0.5", "0.2", "0.1", "0.05", "0.02"])
left.minorticks_off()
left.set_xlabel("training step")
left.set_ylabel("loss (nats per point)")
right.contourf(grid, grid, 1 / (1 + np.exp(-answer)), levels=np.linspace(0, 1, 11), cmap="Greys", alpha=0.6)
right.contour(grid, grid, answer, levels=[0], colors="black", linewidths=1)
right.plot(*X[:20].T, "o", color=COLOURS[1], markeredgecolor="white", label="inside (t = +1)")
right.plot(*X[20:].T, "s", color=COLOURS[0], markeredgecolor="white", label="ring (t = −1)")
right.set_xlabel("first coordinate")
right.set_ylabel("second coordinate")
right.set_aspect("equal")
right.set_ylim(-2.2, 3.1)
right.legend(loc="upper center", ncols=2, fontsize=8)
fig

# %% [markdown]
# The black line is where the network is undecided; darker means *surely inside*. And, as promised, nothing to be believed: the gradient of every parameter at the start, from our engine, the library's and finite differences.

# %%
ours = [Node(p) for p in start]
logistic(*ours).backward()

theirs = [mg.Tensor(p, requires_grad=True) for p in start]
y = mg.tanh(mg.Tensor(X) @ theirs[0] + theirs[1]) @ theirs[2] + theirs[3]
mg.log(1 + mg.exp(-y * t)).mean().backward()

rows = []
for i, name in enumerate(["W1", "b1", "W2", "b2"]):
    difference = np.zeros_like(start[i])
    for j in np.ndindex(difference.shape):
        values = []
        for h in (1e-5, -1e-5):
            moved = [np.array(p) for p in start]
            moved[i][j] += h
            values.append(float(logistic(*map(Node, moved)).data))
        difference[j] = (values[0] - values[1]) / 2e-5
    gaps = np.abs(ours[i].grad - difference).max(), np.abs(ours[i].grad - theirs[i].grad.data).max()
    assert gaps[0] < 1e-9 and gaps[1] < 1e-14
    rows.append(
        (name, start[i].shape, f"{np.abs(ours[i].grad).max():.3f}", f"{gaps[0]:.0e}", f"{gaps[1]:.0e}")
    )
table(["parameter", "shape", "largest entry", "ours − finite differences", "ours − minigrad"], rows)

# %% [markdown]
# ## 6 · A derivation found, explained, printed
#
# Rule 1 is easily forgotten. An autoencoder with one matrix for both ways squeezes the rows of $X: (N, I)$ into $O < I$ numbers, $h = XW$ with $W: (I, O)$, and unfolds them again with the same weights:
#
# $$y = h\,W^\top, \qquad e = y - X, \qquad \mathcal L = \tfrac12 \sum_{ni} e_{ni}^2 .$$
#
# Somebody goes back from $\bar y = e$ through the last product, finds $\bar W = e^\top h$, and stops there. The engine's `diagnose` goes through the record and asks of each step what would come out if it had been done wrong:

# %%
X_, W_ = np.array([[1.0, 0, 2], [0, 1, 1]]), np.array([[1.0, 0], [0, 1], [1, -1]])


def tied(W):
    h = X_ @ W
    e = h @ W.T - X_
    return (e * e).sum() / 2


h_ = X_ @ W_
verdict = mg.diagnose(tied, {"W": W_}, {"W": (h_ @ W_.T - X_).T @ h_})
assert verdict.mistake == "missing path", verdict
verdict

# %% [markdown]
# $W$ is used twice. In the worked solution, look for the place where *gradients meet and add*; at the end, the two are written in one expression:

# %%
W = mg.Tensor(W_, requires_grad=True)
h = X_ @ W
y = h @ W.T
e = y - X_
loss = (e * e).sum() / 2
solution = mg.explain(loss, names=dict(X=X_, W=W, h=h, y=y, e=e) | {"ℒ": loss})
assert str(solution.closed["W"]) == "Xᵀ e W + (hᵀ e)ᵀ"
solution

# %% [markdown]
# The engine knows every call that it made, forward and backward, so it can write them down: the derivative as a *program* of plain NumPy, a line for each op, with your letters. $\bar y$ is called `d_y`, the loss `L`. Find the two contributions to `d_W`, and the line that adds them.

# %%
print(solution.code())
namespace = {}
exec(solution.code(), namespace)  # it runs without minigrad
value, gradients = namespace["derivation"](W_)
assert mg.diagnose(tied, {"W": W_}, gradients)

# %% [markdown]
# `mg.program(f, …)` makes such a program of any function, and from its second call on runs these lines and no engine at all: that saves the engine's own time at each step (`python -m benchmarks` measures it). What a program cannot know, such as an `if` on the numbers, it refuses (`docs/engine.md`). Here is the one for section 1: the same lines as in its table, with the contributions to $\bar y$ and $\bar x$, each added where two paths meet.

# %%
def loss(x):
    y = x * x
    z = y + x
    return z * y


program = mg.program(loss, [x_])
program(x_)
text = program.source(plain=True)
print(text)
exec(text, namespace)
value, gradients = namespace["loss"](np.array(3.0))
assert value == 108 and gradients["x"] == 135

# %% [markdown]
# ## 7 · The engine, grown up: `minigrad/graph.py`
#
# The library's engine is ours, with more features; `minigrad/graph.py` holds it, and you will walk through it by hand. What differs, and why:
#
# | here | in `minigrad` | why it differs |
# | --- | --- | --- |
# | `Node(data, parents, rules)` | `Tensor`, with `history = (op, inputs, …)` | rules are looked up by the op, not stored as closures: no function object for each operation, and the walk frees what a rule has used; a closure keeps its arrays as long as the graph lives |
# | `topological` by recursion | results carry a running number, the *tick*; the walk takes the newest first | what was made later can never be a parent of what was made earlier, so the order comes free, and no stack overflows |
# | gradients of all nodes are kept | only those of leaves; the rest is freed on the way | otherwise memory holds a gradient for every intermediate result at once |
# | rules for arrays | rules for arrays *and* tensors | then the walk back can itself be recorded: second derivatives |
#
# Two consequences, measured. A chain of 100 000 steps:

# %%
def chain(start, n):
    for _ in range(n):
        start = start + 1.0
    return start


try:
    chain(Node(0.0), 100_000).backward()
    ours = "finished"
except RecursionError:
    ours = "RecursionError"
x = mg.Tensor(0.0, requires_grad=True)
chain(x, 100_000).backward()
print(f"100 000 steps. Our engine: {ours}. minigrad: gradient {x.grad.item():.0f}.")
assert ours == "RecursionError" and x.grad.item() == 1

# %% [markdown]
# (Exercise 3 mends ours.) And the derivative of the derivative of section 1's $x^4 + x^3$: it is $12x^2 + 6x$, at $x = 3$ that is $108 + 18 = 126$.

# %%
def f(x):
    y = x * x
    return (y + x) * y


first, second = mg.grad(f)(3.0), mg.grad(mg.grad(f))(3.0)
assert first.item() == 135 and second.item() == 126
first, second

# %% [markdown]
# Now open the file. Its sections are called *record*, *order*, *walk* and *add*, and you have written each of them. Walk by hand through the graph of section 1. **Record:** every result has a `history`, the op and its inputs, and a `tick`. **Order:** `reachable` collects what led to the loss, oldest first, and an empty slot for each gradient.

# %%
x = mg.Tensor(3.0, requires_grad=True)
loss_ = f(x)
order, leaves, gradients = graph.reachable([loss_])
assert leaves == [x]
table(
    ["tick", "op", "value", "slot"],
    [(t.tick - order[0].tick, t.history[0].name, t.item(), gradients[id(t)]) for t in order],
)

# %% [markdown]
# **Walk:** put a 1 into the slot of the loss, and let `walk` do the rest. **Add:** what arrives in a slot that is taken is added to what is there.

# %%
gradients[id(loss_)] = np.ones(())
graph.walk(order, gradients, kept={}, retained=[], shared=set(), tensors=False, free=True)
assert gradients[id(x)] == 135
print(f"x̄ = {gradients[id(x)]}; all else was freed on the way: {list(gradients) == [id(x)]}, {not order}")

# %% [markdown]
# And this is the walk itself. Read it beside the `backward` of section 2: `order.pop()` is `reversed(order)`, `op.rules` are the `rules`, `conform` is `unbroadcast`, and `gradients[slot] = held + r` is rule 1. The rest is care: noting gradients that somebody asked for, freeing what was used, adding in place where nobody else holds the array, and refusing arrays that were written into since.

# %%
print(inspect.getsource(graph.walk))

# %% [markdown]
# ## Common misunderstandings
#
# - ***Automatic differentiation is symbolic differentiation.*** No formula for $\bar x$ is ever written down, only numbers flow. An `if` or a loop in the forward code is no obstacle.
# - ***It is a kind of finite difference.*** There is no step $h$ and no truncation error: section 4 agrees with PyTorch to the last digit or two.
# - ***`backward` computes the gradient of the loss "with respect to the network".*** It gives one array for each leaf, with the leaf's shape.
# - ***A second `backward()` gives the same `.grad`.*** In most libraries (minigrad too) leaves *accumulate*: the contributions of several calls add, by rule 1. Set gradients to zero between steps. Ours starts from zero by itself.
# - ***Broadcasting is free.*** Forward, yes. Backward, each broadcast is a sum over the axis that was stretched.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1 ★ · Division
#
# $r = a / b$, entry by entry, where $a$, $b$ and $r$ have the same shape. Write both rules: from the upstream gradient $g = \bar r$ to $\bar a$ and $\bar b$.

# %% tags=["exercise"]
def divide_rules(g, a, b):
    """The pair (a_bar, b_bar) of r = a / b; all arrays have the same shape."""
    ### BEGIN SOLUTION
    return g / b, -g * a / b**2
    ### END SOLUTION


checks.check_02_divide_rules(divide_rules)

# %% [markdown] tags=["idea"]
# $\partial r/\partial a = 1/b$ and $\partial r/\partial b = -a/b^2$.

# %% [markdown]
# ### Exercise 2 ★★ · The mean along an axis
#
# `r = x.mean(axis)`: the axis disappears, so $x: (3, 4)$ with `axis=1` gives $r: (3,)$. Given $g = \bar r$, find $\bar x$ in the shape of $x$. (`np.expand_dims` brings an axis back.)

# %% tags=["exercise"]
def mean_rule(g, x, axis):
    """x_bar, in the shape of x, for r = x.mean(axis) and the upstream gradient g = r_bar."""
    ### BEGIN SOLUTION
    return np.broadcast_to(np.expand_dims(g, axis), x.shape) / x.shape[axis]
    ### END SOLUTION


checks.check_02_mean_rule(mean_rule)

# %% [markdown] tags=["idea"]
# With $n$ entries along the axis, each $x_{ij}$ takes part in one $r_i$, with the factor $1/n$: $\bar x_{ij} = g_i / n$. So $g$ is copied along the axis. (What is summed forward is copied backward: the mirror image of section 4.)

# %% [markdown]
# ### Exercise 3 ★★ · The order, without recursion
#
# Write `topological` anew with a list as a stack instead of recursion, so that 100 000 steps are no problem. Nodes have an attribute `.parents`, a tuple of nodes. Each node must come once, after all its parents.

# %% tags=["exercise"]
def topological_order(output):
    """The list of all nodes behind `output`, each once and after its parents; `output` is the last."""
    ### BEGIN SOLUTION
    order, seen, stack = [], set(), [(output, False)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(parent, False) for parent in node.parents]
    return order
    ### END SOLUTION


checks.check_02_topological_order(topological_order)

# %% [markdown] tags=["idea"]
# A node has two appointments. On the first, put it back for its second and its parents on top of it; on the second, when all of those are in the list, append it. A set of nodes that had their first appointment keeps shared nodes from being
# walked twice.

# %% [markdown]
# ### Exercise 4 ★★ · Looking up rows
#
# Language models look up a row of a table for each word: `r = table[ids]`, with a table $(\mathcal V, C)$ of $\mathcal V$ words and integer ids of shape $(T,)$, gives $r: (T, C)$. The same word may occur several times. Find the gradient of the table, given
# $g = \bar r: (T, C)$.

# %% tags=["exercise"]
def lookup_rule(g, table, ids):
    """The gradient (vocab, C) of the table for r = table[ids] and the upstream gradient g (T, C)."""
    ### BEGIN SOLUTION
    table_bar = np.zeros_like(table)
    np.add.at(table_bar, ids, g)
    return table_bar
    ### END SOLUTION


checks.check_02_lookup_rule(lookup_rule)

# %% [markdown] tags=["idea"]
# Row $v$ is used wherever `ids == v`, so the rows of $g$ at these places add (rule 1); words that do not occur get zero. Beware: `out[ids] += g` reads, adds and writes once for all ids, so that of several equal ids only the last counts. `np.add.at`
# adds one after the other.

# %% [markdown]
# ### Exercise 5 ★★★ · Forward mode
#
# There is another way to use the chain rule: take along, with every value, its slope in one chosen direction. If $x$ moves as $x + s\,\dot x$, then a result moves as $r + s\,\dot r$; a dot marks the slope by $s$. No record is needed, but one
# run gives one direction only. Do it for a layer $r = \tanh(xW + b)$, where $x: (N, I)$ moves with $\dot x: (N, I)$, $W: (I, O)$ moves with $\dot W: (I, O)$, and $b: (O,)$ stands still.

# %% tags=["exercise"]
def layer_forward_mode(x, x_dot, W, W_dot, b):
    """The pair (r, r_dot), both (N, O), for r = tanh(x W + b)."""
    ### BEGIN SOLUTION
    r = np.tanh(x @ W + b)
    return r, (1 - r**2) * (x_dot @ W + x @ W_dot)
    ### END SOLUTION


checks.check_02_layer_forward_mode(layer_forward_mode)

# %% [markdown] tags=["idea"]
# Product rule: $u = xW + b$ has $\dot u = \dot x W + x \dot W$. Then $\dot r = (1 - r^2) \odot \dot u$, where $\odot$ multiplies entry by entry. The library calls this `mg.jvp`.

# %% [markdown]
# ### Exercise 6 ★★★ · The engine that chapter 06 will use
#
# The walk of section 2, without its two limits. Nodes have `.parents`, a tuple of nodes, and `.rules`, for each parent a function from the node's gradient to that parent's part. From the gradient `upstream` of `output`, find the gradients of the nodes in the list `wanted`; for a node that `output` does not depend on it is `None`. Long chains must work, and **no array may be written into**: the rule of a sum returns the very array that it was given.
#
# `order(output)` is your answer to exercise 3 if it is right, and the library's if not. In chapter 06 your engine will train an attention layer.

# %% tags=["exercise"]
order = checks.earlier("02_topological_order")


def walk_back(output, upstream, wanted):
    """The list of the gradients of the nodes in `wanted`, None for one that `output` does not depend on."""
    ### BEGIN SOLUTION
    gradients = {output: upstream}
    for node in reversed(order(output)):
        for parent, rule in zip(node.parents, node.rules):
            part = rule(gradients[node])
            gradients[parent] = gradients[parent] + part if parent in gradients else part
    return [gradients.get(node) for node in wanted]
    ### END SOLUTION


checks.check_02_walk_back(walk_back)

# %% [markdown] tags=["idea"]
# A dictionary from nodes to gradients, with one entry at the start. Read backwards, the order guarantees that a node's gradient is complete when its turn comes. Each part is added with `a + b`, never `+=`: with `s = x + y` both rules return the same array, and writing into it would change the gradient of the other.

# %% [markdown]
# ## References
#
# - A. G. Baydin, B. A. Pearlmutter, A. A. Radul, J. M. Siskind, "Automatic differentiation in machine learning: a survey", JMLR 18 (2018), sections 3.1 (forward mode) and 3.2 (reverse mode).
# - S. Linnainmaa, "Taylor expansion of the accumulated rounding error", BIT 16 (1976), 146–160: reverse mode, before anyone called it backpropagation.
# - D. E. Rumelhart, G. E. Hinton, R. J. Williams, "Learning representations by back-propagating errors", Nature 323 (1986), 533–536.
# - A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM 2008, chapter 4: what it costs, in time and memory.
#
# **Before:** [01 · Derivatives by hand](01_derivatives_by_hand.ipynb). **Next:** [03 · Softmax, cross-entropy, layer norm backward by hand](03_softmax_cross_entropy_layer_norm.ipynb), where the steps are larger
# and the rules worth deriving.
