# ---
# jupyter:
#   cover: 1
# ---

# %% [markdown]
# # 01 · Derivatives by hand
#
# *About 45 minutes to read, 45 more for the exercises. You need Python with NumPy, and derivatives as taught at school.
# Next: [02 · A tensor that differentiates itself](02_a_tensor_that_differentiates_itself.ipynb).*
#
# A network learns by asking, for each of its numbers: *if I were a little larger, would the loss grow or shrink, and how fast?* The answer is a
# derivative. This book derives every one of them by hand. Hands make mistakes, so this first chapter is about how to **know** that a
# derivative is right.
#
# **After this chapter you can**
#
# - estimate any derivative with two evaluations of the function, and say how wrong the estimate is and why;
# - choose the step: why a smaller one is not always better, and what float32 does to it;
# - carry a derivative backwards through a computation, one small step at a time (the chain rule);
# - derive the gradients of a matrix product, and check them in three independent ways;
# - have a wrong derivation of your own found and explained, and the right one printed as a program.

# %%
import numpy as np

import checks
import minigrad as mg
from book import COLOURS, figure, line, recorded, table

# %% [markdown]
# ## 1 · The slope, from two points
#
# The **derivative** of a function $f$ at a point $x$ is the slope of its graph there. We write it $f'(x)$. Take
#
# $$f(x) = x^3 - 2x \qquad\text{at}\qquad x = 2 .$$
#
# The rules of calculus give $f'(x) = 3x^2 - 2$, so $f'(2) = 10$. Without any rule, take a small step $h$ to the right and see by how much $f$ rises:
#
# $$\text{forward difference:}\qquad \delta^+(h) = \frac{f(x+h) - f(x)}{h} .$$
#
# Or step to both sides, so that $x$ is in the middle:
#
# $$\text{central difference:}\qquad \delta(h) = \frac{f(x+h) - f(x-h)}{2h} .$$
#
# With $h = 0.1$ you can do it on paper:
#
# | | value |
# | --- | --- |
# | $f(2) = 8 - 4$ | $4$ |
# | $f(2.1) = 9.261 - 4.2$ | $5.061$ |
# | $f(1.9) = 6.859 - 3.8$ | $3.059$ |
# | $\delta^+ = (5.061 - 4)/0.1$ | $10.61$ |
# | $\delta = (5.061 - 3.059)/0.2$ | $10.01$ |
#
# The forward difference is wrong by $0.61$, the central one by $0.01$. The code has the same letters:

# %%
def forward(f, x, h):
    return (f(x + h) - f(x)) / h


def central(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def f(x):
    return x**3 - 2 * x


rows = [
    (h, forward(f, 2.0, h), forward(f, 2.0, h) - 10, central(f, 2.0, h), central(f, 2.0, h) - 10)
    for h in (0.1, 0.05, 0.025)
]
assert np.allclose(rows[0][1:], [10.61, 0.61, 10.01, 0.01])
table(["h", "δ⁺(h)", "error of δ⁺", "δ(h)", "error of δ"], rows)

# %% [markdown]
# Halve the step: the error of $\delta^+$ is halved (about), the error of $\delta$ is divided by **four**.
#
# Why? Near $x$, a smooth function is a polynomial in $h$ (Taylor's formula; $f''$ is the derivative of $f'$, and $f'''$ of $f''$):
#
# $$f(x \pm h) = f(x) \pm h f'(x) + \tfrac{h^2}{2} f''(x) \pm \tfrac{h^3}{6} f'''(x) + \dots$$
#
# Put it into the two formulas. In $\delta^+$ the term with $f''$ stays; in $\delta$ it is the same on both sides and cancels:
#
# $$\delta^+(h) = f'(x) + \tfrac{h}{2} f''(x) + \tfrac{h^2}{6} f'''(x) + \dots \qquad\qquad \delta(h) = f'(x) + \tfrac{h^2}{6} f'''(x) + \dots$$
#
# Here $f''(2) = 6 \cdot 2 = 12$ and $f''' = 6$. With $h = 0.1$ that predicts an error of $0.6 + 0.01 = 0.61$ for $\delta^+$ and $0.01$ for $\delta$: exactly what we saw. What
# the formula leaves out is called the **truncation error**; it shrinks like $h$ for $\delta^+$ and like $h^2$ for $\delta$.
#
# **Question.** So take $h = 10^{-15}$ and be done? Decide before you read on.

# %% [markdown]
# ## 2 · Experiment: the best step is not the smallest
#
# A computer keeps about 16 digits of each number in float64, and 7 in float32. The gap between 1 and the next larger number is called
# $\varepsilon$ (*machine epsilon*): $2.2\cdot10^{-16}$ and $1.2\cdot10^{-7}$. So $f(x+h)$ and $f(x)$ each carry a **rounding error** of about $\varepsilon\,|f(x)|$. When $h$ is
# tiny the two are nearly equal, their difference is mostly rounding, and we divide it by $h$:
#
# $$\text{error} \;\approx\; \underbrace{c\, h^{p}}_{\text{truncation}} + \underbrace{\varepsilon\,|f| / h}_{\text{rounding}} \qquad p = 1 \text{ for } \delta^+,\; p = 2 \text{ for } \delta ,$$
#
# with a number $c$ that depends on $f$. One part falls as $h$ shrinks, the other grows. Measure it on $f(x) = \sin x$ at $x = 1$, where the truth $\cos 1$ is known. (One measured point jumps up
# and down, because rounding is erratic; we take the root mean square over 50 points near 1.)

# %%
steps = np.logspace(-14, 0, 85)
points = np.linspace(0.9, 1.1, 50)


def error(difference, h, dtype):
    """Root mean square error of the derivative of sin at 50 points, computed in `dtype`."""
    x, h = points.astype(dtype), dtype(h)
    estimate = difference(np.sin, x, h).astype(np.float64)
    return np.sqrt(np.mean((estimate - np.cos(x.astype(np.float64))) ** 2))


errors = {}
for name, dtype in [("float64", np.float64), ("float32", np.float32)]:
    for kind, difference in [("forward", forward), ("central", central)]:
        usable = steps[steps > 4 * np.finfo(dtype).eps]  # below, x + h is x
        errors[kind, name] = usable, np.array([error(difference, h, dtype) for h in usable])

fig, ax = figure(7.2, 4.4)
for i, ((kind, name), (h, e)) in enumerate(errors.items()):
    ax.loglog(h, e, label=f"{kind}, {name}", **line(i))
    ax.plot(h[e.argmin()], e.min(), "o", color=COLOURS[i])
ax.annotate("rounding wins", (1e-11, 2e-3), color="0.3")
ax.annotate("truncation wins", (4e-3, 2e-9), color="0.3")
ax.set_xlabel("step h")
ax.set_ylabel("error of the estimated derivative")
ax.legend(loc="lower left")
fig

# %%
def order(h, e, low, high):
    """The exponent p of e ~ h^p between two steps: the slope of the line in the log-log picture."""
    part = (h > low) & (h < high)
    return np.polyfit(np.log(h[part]), np.log(e[part]), 1)[0]


rows = []
for (kind, name), (h, e) in errors.items():
    eps, best = np.finfo(name).eps, h[e.argmin()]
    right = order(h, e, 10 * best, 0.3)
    left = order(h, e, 0, best / 10)
    theory = eps ** (1 / 2) if kind == "forward" else eps ** (1 / 3)
    rows.append(
        (kind, name, f"{best:.0e}", f"{theory:.0e}", f"{e.min():.0e}", f"h^{right:.2f}", f"h^{left:.2f}")
    )
    assert (
        abs(right - (1 if kind == "forward" else 2)) < 0.1
        and abs(left + 1) < 0.2
        and theory / 30 < best < 30 * theory
    )
table(
    [
        "difference",
        "precision",
        "best step",
        "predicted",
        "error there",
        "right of it, error ~",
        "left of it, error ~",
    ],
    rows,
)

# %% [markdown]
# The picture is a V, and every part of it is understood. On the right the error falls like $h$ or $h^2$; on the left it grows like
# $1/h$. The best step balances the two: setting the derivative of $c\,h^p + \varepsilon/h$ to zero gives $h \sim \varepsilon^{1/2}$ for $\delta^+$ and $\varepsilon^{1/3}$ for $\delta$,
# up to a factor that depends on $f$. The next cell prints what to remember.

# %%
best = {key: e.min() for key, (_, e) in errors.items()}
digits = {key: int(-np.log10(e)) for key, e in best.items()}
print(
    f"At its best step, the central difference has {digits['central', 'float64']} right digits in float64 "
    f"and {digits['central', 'float32']} in float32;"
)
print(f"the forward difference has {digits['forward', 'float64']} and {digits['forward', 'float32']}.")
print(
    f"With h = 1e-14, float64 gives only {int(-np.log10(errors['forward', 'float64'][1][0]))} or so. Hence "
    "the house rule: check in float64, with central differences."
)
assert (
    digits["central", "float64"] >= 9
    and digits["central", "float32"] <= 5
    and digits["forward", "float64"] in (7, 8)
)

# %% [markdown]
# ## 3 · Many variables: the gradient
#
# A loss depends on many numbers. Change one of them and hold the others still: the slope is a **partial derivative**, $\partial \mathcal L/\partial w_i$. All of them,
# arranged in the shape of $w$, are the **gradient**. This book writes it with a bar, after the variable:
#
# $$\bar w \;:=\; \frac{\partial \mathcal L}{\partial w}, \qquad \text{the same shape as } w .$$
#
# Finite differences give it one entry at a time. That costs two evaluations of $\mathcal L$ for each entry: fine for a check, hopeless for training, and therefore
# the next section.

# %%
def numerical_gradient(f, w, h=1e-5):
    """The central difference of the number f(w) with respect to every entry of the array w, any shape."""
    w_bar = np.zeros_like(w)
    for i in np.ndindex(w.shape):
        step = np.zeros_like(w)
        step[i] = h
        w_bar[i] = (f(w + step) - f(w - step)) / (2 * h)
    return w_bar


w = np.array([1.0, 2.0])
gradient = numerical_gradient(lambda w: w[0] ** 2 * w[1], w)  # on paper: (2 w0 w1, w0²) = (4, 1)
assert np.allclose(gradient, [4, 1])
gradient

# %% [markdown]
# ## 4 · The chain rule, backwards
#
# One neuron with one input $x$, weight $w$ and bias $b$ should answer the target $t$. Its loss is $\mathcal L = (wx + b - t)^2$. Take
#
# $$w = 2,\quad x = 3,\quad b = -1,\quad t = 4 .$$
#
# Cut the formula into steps so small that you know the derivative of each by heart. Go **forward** first, with numbers:
#
# $$z = wx = 6, \qquad y = z + b = 5, \qquad e = y - t = 1, \qquad \mathcal L = e^2 = 1 .$$
#
# Then go **backward**, starting from $\bar{\mathcal L} = \partial \mathcal L / \partial \mathcal L = 1$. Each step asks: *I know how $\mathcal L$ reacts to my result. How does it react to my input?* The chain
# rule says: multiply.
#
# | step | its derivative | backward | number |
# | --- | --- | --- | --- |
# | $\mathcal L = e^2$ | $\partial \mathcal L/\partial e = 2e$ | $\bar e = \bar{\mathcal L} \cdot 2e$ | $1 \cdot 2 = 2$ |
# | $e = y - t$ | $1$ and $-1$ | $\bar y = \bar e, \quad \bar t = -\bar e$ | $2, \; -2$ |
# | $y = z + b$ | $1$ and $1$ | $\bar z = \bar y, \quad \bar b = \bar y$ | $2, \; 2$ |
# | $z = wx$ | $x$ and $w$ | $\bar w = \bar z\, x, \quad \bar x = \bar z\, w$ | $6, \; 4$ |
#
# What comes in from above ($\bar e$, $\bar y$, …) is called the **upstream gradient**. One walk back gives *all* the derivatives, for a small multiple of the price of one evaluation: in section 5, two products of
# matrices for each one forward; in general less than six times it, and typically two or three times (Baydin et al., section 3.2). That is
# why this direction, *reverse mode*, trains networks.
#
# Do you believe the table? You should not have to. Three witnesses, who do not know of each other: the paper, finite differences, and the library's engine.

# %%
numbers = dict(w=2.0, x=3.0, b=-1.0, t=4.0)


def squared_error(w, x, b, t):
    return (w * x + b - t) ** 2


paper = dict(w=6.0, x=4.0, b=2.0, t=-2.0)
differences = {
    name: central(lambda value: squared_error(**(numbers | {name: value})), numbers[name], 1e-5)
    for name in numbers
}
w, x, b, t = (mg.Tensor(value, requires_grad=True) for value in numbers.values())
z = w * x
y = z + b
e = y - t
loss = e**2
loss.backward(retain_graph=True)
engine = dict(w=w.grad.item(), x=x.grad.item(), b=b.grad.item(), t=t.grad.item())

for name in numbers:
    assert abs(paper[name] - differences[name]) < 1e-8 and paper[name] == engine[name]
table(
    ["gradient of", "paper", "finite differences", "engine"],
    [(name, paper[name], differences[name], engine[name]) for name in numbers],
)

# %% [markdown]
# The engine keeps its own record of the steps. `explain` writes it out in the notation of this book, so that you can hold it beside your paper, and `draw` shows who
# was computed from whom:

# %%
letters = dict(w=w, x=x, b=b, t=t, z=z, y=y, e=e)
mg.explain(loss, names=letters | {"ℒ": loss})

# %%
mg.draw(loss, show="gradients", names=letters | {"loss": loss})

# %% [markdown]
# ## 5 · The same with matrices
#
# A layer multiplies many inputs with many weights at once. Let
#
# $$Y = X W, \qquad X: (N, I), \quad W: (I, O), \quad Y: (N, O),$$
#
# with $N$ examples, $I$ inputs and $O$ outputs. Some $\mathcal L$ is computed from $Y$ later on, and its upstream gradient $\bar Y$, of shape $(N, O)$, has arrived. Wanted: $\bar X$, of shape $(N, I)$, and
# $\bar W$, of shape $(I, O)$. One entry is a sum, $Y_{no} = \sum_i X_{ni} W_{io}$. The weight $W_{io}$ takes part in the column $Y_{1o}, \dots, Y_{No}$, each time multiplied by an $X_{ni}$; by the chain rule
# all these paths add:
#
# $$\bar W_{io} = \sum_n X_{ni}\, \bar Y_{no} \;\Rightarrow\; \boxed{\bar W = X^\top \bar Y} \qquad\qquad \bar X_{ni} = \sum_o \bar Y_{no}\, W_{io} \;\Rightarrow\; \boxed{\bar X = \bar Y\, W^\top}$$
#
# If you forget where the transposes go, let the shapes tell you: $(I, N)(N, O) = (I, O)$ is the only product of $X$ and $\bar Y$ that fits $W$. On paper, with $N = 1$, $I = O = 2$:
#
# $$X = \begin{pmatrix} 1 & 2 \end{pmatrix}, \quad \bar Y = \begin{pmatrix} 3 & 4 \end{pmatrix}, \quad W = \begin{pmatrix} 5 & 6 \\ 7 & 8 \end{pmatrix}
# \quad\Rightarrow\quad \bar W = \begin{pmatrix} 3 & 4 \\ 6 & 8 \end{pmatrix}, \qquad
# \bar X = \begin{pmatrix} 3\cdot5 + 4\cdot6 & 3\cdot7+4\cdot8 \end{pmatrix} = \begin{pmatrix} 39 & 53 \end{pmatrix}.$$

# %%
def matmul_backward(Y_bar, X, W):
    X_bar = Y_bar @ W.T  # (N, O) (O, I) → (N, I)
    W_bar = X.T @ Y_bar  # (I, N) (N, O) → (I, O)
    return X_bar, W_bar


X_bar, W_bar = matmul_backward(np.array([[3.0, 4]]), np.array([[1.0, 2]]), np.array([[5.0, 6], [7, 8]]))
assert X_bar.tolist() == [[39, 53]] and W_bar.tolist() == [[3, 4], [6, 8]]
X_bar, W_bar

# %% [markdown]
# For a larger example, call a fourth witness. This repository keeps arrays that PyTorch computed once: inputs, a random upstream gradient, and the gradients that it found. `recorded` reads
# them; no PyTorch is needed.

# %%
case = recorded("matmul")
X, W, Y_bar = case["input.a"], case["input.b"], case["upstream"]  # (4, 3), (3, 5), (4, 5)

ours = matmul_backward(Y_bar, X, W)
differences = (
    numerical_gradient(
        lambda X: (X @ W * Y_bar).sum(), X
    ),  # the number whose gradient with respect to Y is Y_bar
    numerical_gradient(lambda W: (X @ W * Y_bar).sum(), W),
)
tensors = mg.Tensor(X, requires_grad=True), mg.Tensor(W, requires_grad=True)
mg.matmul(*tensors).backward(Y_bar)
pytorch = case["grad.input.a"], case["grad.input.b"]

rows = []
for i, name in enumerate("XW"):
    gaps = [np.abs(ours[i] - other).max() for other in (differences[i], tensors[i].grad.data, pytorch[i])]
    assert gaps[0] < 1e-8 and max(gaps[1:]) < 1e-13
    rows.append((name, str(ours[i].shape), *(f"{gap:.0e}" for gap in gaps)))
table(["gradient of", "shape", "paper − finite differences", "paper − engine", "paper − PyTorch"], rows)

# %% [markdown]
# Finite differences agree to about ten digits, as the V promised; the exact methods to the last digit or two of sixteen (here to the very last).
#
# ## 6 · The library's check
#
# `mg.gradcheck(f, *inputs)` is what we built, grown up. It works in float64, chooses a step for each entry, takes two steps and combines them (exercise 5), weights the outputs with a *random*
# upstream gradient, and tells a wrong gradient from a kink and from round-off.

# %%
rng = np.random.default_rng(0)
report = mg.gradcheck(
    lambda X, W, b: mg.tanh(X @ W + b),
    *(rng.normal(size=s) for s in [(4, 3), (3, 5), (5,)]),
    names=["X", "W", "b"],
)
assert report
report

# %% [markdown]
# ## 7 · Your own derivation: found, explained, printed
#
# A check that says *wrong* leaves you alone with your paper. Give the neuron of section 4 several examples, the rows $x_n$ of $X: (N, I)$, and the mean of their losses:
#
# $$e = Xw + b - t, \qquad \mathcal L = \frac1N \sum_n e_n^2 .$$
#
# Somebody hands in $\bar w = 2 X^\top e$ and $\bar b = 2e/N$. Both are wrong. Do you see why? `mg.diagnose` makes the mistakes that people make in such a derivation, one after the other, and names one only if it gives the very numbers that were handed in.

# %%
X, t = np.array([[1.0, 2], [3, 1], [0, 2], [2, 2]]), np.array([4.0, 1, 3, 2])
w, b = np.array([1.0, -1.0]), 2.0
e = X @ w + b - t


def mean_square(w, b):
    e = X @ w + b - t
    return (e * e).mean()


verdict = mg.diagnose(mean_square, {"w": w, "b": b}, {"w": 2 * X.T @ e, "b": 2 * e / 4})
assert verdict.mistakes == {"w": "missing mean", "b": "missing sum"}
verdict

# %% [markdown]
# The $1/N$ is forgotten in $\bar w$, and in $\bar b$ the sum: one $b$ serves all examples, and its contributions add. The worked solution has every step, and ends in one expression for each gradient, where the steps contract to one:

# %%
w_, b_ = mg.Tensor(w, requires_grad=True), mg.Tensor(b, requires_grad=True)
e_ = X @ w_ + b_ - t
loss = (e_ * e_).mean()
solution = mg.explain(loss, names=dict(X=X, w=w_, b=b_, t=t, e=e_) | {"ℒ": loss})
assert str(solution.closed["w"]) == "2 Xᵀ e / 4"
solution

# %% [markdown]
# And the right derivation as a program: forward, then backward, a line for each step, with your letters; $\bar w$ is called `d_w`, the loss `L`. It needs NumPy and nothing else, so you can change it, and see what breaks.

# %%
print(solution.code())
namespace = {}
exec(solution.code(), namespace)
value, gradients = namespace["derivation"](w, b)
assert mg.diagnose(mean_square, {"w": w, "b": b}, gradients)
gradients

# %% [markdown]
# ## Common misunderstandings
#
# - ***A smaller step is more exact.*** Until rounding takes over; at $h = 10^{-14}$ two digits are left.
# - ***My check fails by 10⁻³ in float32, so my gradient is wrong.*** Look at the V: at $h = 10^{-4}$ rounding alone makes such an error in float32. Check in float64, train in float32.
# - ***It passed with $\mathcal L = \sum Y$.*** Then the upstream gradient is all ones, which hides mistakes: the gradient of a softmax is zero there, and so is one with a wrong sign or a forgotten factor. (Not every mistake: keeping only the diagonal gives $p(1-p)$.) Use random numbers.
# - ***The derivative of $|x|$ at 0 is 0, says the central difference.*** At a kink there is no slope; the symmetric estimate is the mean of two. Check elsewhere.
# - ***$\bar W$ is a single number, the slope.*** It has one entry for every entry of $W$, always in the shape of $W$. The first thing to check in any gradient is its shape.
#
# ## Exercises
#
# Each has a stub to fill in and a check that answers with a hint; below it, folded, are the idea and a solution. ★ is a warm-up, ★★★ needs a piece of paper.

# %% [markdown]
# ### Exercise 1 ★ · The second derivative
#
# From three values of $f$ one can estimate $f''(x)$. Add the two Taylor formulas of section 1, for $f(x+h)$ and $f(x-h)$, and solve for $f''$.

# %% tags=["exercise"]
def second_difference(f, x, h):
    """An estimate of f''(x) from f(x + h), f(x) and f(x − h)."""
    ### BEGIN SOLUTION
    return (f(x + h) - 2 * f(x) + f(x - h)) / h**2
    ### END SOLUTION


checks.check_01_second_difference(second_difference)

# %% [markdown] tags=["idea"]
# The odd terms cancel in the sum: $f(x+h) + f(x-h) = 2 f(x) + h^2 f''(x) + \dots$. Subtract $2f(x)$, divide by $h^2$. The error is again of order $h^2$, but rounding is
# divided by $h^2$: the best step is near $\varepsilon^{1/4} \approx 10^{-4}$.

# %% [markdown]
# ### Exercise 2 ★★ · Logistic loss, backwards
#
# A neuron says $y = wx + b$, and the truth is $t = +1$ or $t = -1$. Its logistic loss is $\mathcal L = \log(1 + e^{-ty})$. Go backward by hand: $\bar y$ first, then $\bar w$ and $\bar b$.
# All are numbers.

# %% tags=["exercise"]
def logistic_backward(w, b, x, t):
    """The pair (w_bar, b_bar) of ℒ = log(1 + exp(−t (w x + b)))."""
    ### BEGIN SOLUTION
    y = w * x + b
    y_bar = -t / (1 + np.exp(t * y))
    return y_bar * x, y_bar
    ### END SOLUTION


checks.check_01_logistic_backward(logistic_backward)

# %% [markdown] tags=["idea"]
# Steps: $u = -ty$, $v = 1 + e^u$, $\mathcal L = \log v$. Backward: $\bar v = 1/v$, $\bar u = \bar v\, e^u = 1/(1 + e^{ty})$, $\bar y = -t\,\bar u$, and from $y = wx + b$: $\bar w = \bar y\,x$, $\bar b = \bar y$.

# %% [markdown]
# ### Exercise 3 ★★ · A layer with a bias
#
# $Y = XW + b$ with $X: (N, I)$, $W: (I, O)$, $b: (O,)$. The bias is added to every row of $XW$ (NumPy broadcasts it). Given $\bar Y: (N, O)$, find all three gradients.

# %% tags=["exercise"]
def layer_backward(Y_bar, X, W, b):
    """The gradients (X_bar, W_bar, b_bar) of Y = X W + b, in the shapes of X, W and b."""
    ### BEGIN SOLUTION
    return Y_bar @ W.T, X.T @ Y_bar, Y_bar.sum(axis=0)
    ### END SOLUTION


checks.check_01_layer_backward(layer_backward)

# %% [markdown] tags=["idea"]
# $\bar X$ and $\bar W$ are those of section 5. The entry $b_o$ takes part in every row, $Y_{no} = \dots + b_o$, so its paths add: $\bar b_o = \sum_n \bar Y_{no}$. What was broadcast forward
# is summed backward.

# %% [markdown]
# ### Exercise 4 ★★ · A million weights, two evaluations
#
# A check of every entry is dear when $w$ has a million of them. In one *direction* $v$ (same shape as $w$), the slope of $s \mapsto \mathcal L(w + s v)$ at $s = 0$ must be $\sum_i \bar w_i v_i$. Return
# the two numbers, so that they can be compared: the central difference along $v$, and the sum.

# %% tags=["exercise"]
def directional_check(loss, w, w_bar, v, h=1e-6):
    """The pair (slope of the loss at w along v by a central difference with step h, what the gradient w_bar says it is)."""
    ### BEGIN SOLUTION
    return (loss(w + h * v) - loss(w - h * v)) / (2 * h), np.sum(w_bar * v)
    ### END SOLUTION


checks.check_01_directional_check(directional_check)

# %% [markdown] tags=["idea"]
# Two evaluations: at $w + hv$ and at $w - hv$. The second number is a dot product over all entries, whatever their shape. With a random $v$, a wrong gradient would have to be unlucky to pass.

# %% [markdown]
# ### Exercise 5 ★★★ · Two estimates make a better one
#
# $\delta_h = f'(x) + c\,h^2 + d\,h^4 + \dots$ with numbers $c$ and $d$ that you do not know. Combine $\delta_h$ and $\delta_{h/2}$ so that the term with $h^2$ cancels (Richardson's extrapolation). The error should then be
# of order $h^4$.

# %% tags=["exercise"]
def richardson(f, x, h):
    """f'(x) from central differences with steps h and h/2, with an error of order h⁴."""
    ### BEGIN SOLUTION
    def central(h):
        return (f(x + h) - f(x - h)) / (2 * h)

    return (4 * central(h / 2) - central(h)) / 3
    ### END SOLUTION


checks.check_01_richardson(richardson)

# %% [markdown] tags=["idea"]
# $\delta_{h/2} = f' + c\,h^2/4 + \dots$, so $4\,\delta_{h/2} - \delta_h = 3f' + 0\cdot h^2 + \dots$. Divide by 3. This is what `gradcheck` does, and the difference of the two estimates tells it how far to trust them.

# %% [markdown]
# ## References
#
# - A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM 2008, chapter 3: forward and reverse mode, and their cost.
# - A. G. Baydin, B. A. Pearlmutter, A. A. Radul, J. M. Siskind, "Automatic differentiation in machine learning: a survey", JMLR 18 (2018), section 2: why neither finite differences nor symbolic rules are what trains networks; section 3.2: what reverse mode costs.
# - J. Nocedal and S. J. Wright, *Numerical Optimization*, 2nd ed., Springer 2006, section 8.1: the best step.
# - L. F. Richardson, "The approximate arithmetical solution by finite differences…", Phil. Trans. R. Soc. A 210 (1911): the extrapolation of exercise 5.
#
# **Before:** [00 · The whole thing, made to run](00_the_whole_thing.ipynb). **Next:** [02 · A tensor that differentiates itself](02_a_tensor_that_differentiates_itself.ipynb), where the walk back of section 4 becomes sixty lines of Python.
