"""gradcheck between its two duties: every rule of the registry, made wrong in every way, is caught; right ones, of any shape, are not.

A wrong rule counts as caught when one of the examples that its op declares shows it.
"""

import numpy as np
import pytest

import minigrad as mg
from minigrad import gradcheck, gradgradcheck
from minigrad.byhand.diagnose.mistakes import MISTAKES
from minigrad.byhand.gradcheck import examples, run
from minigrad.graph import REGISTRY
from minigrad.ops.declare import Example

# Every rule, made wrong -----------------------------------------------------------------------------------------------


def thousandth(rule, g, *rest):
    return rule(g, *rest) * 1.001


def negative(rule, g, *rest):
    return -rule(g, *rest)


def dropped_term(rule, g, *rest):
    """A rule sums over the outputs; the term of one output, the last that matters, is left out."""
    right = rule(g, *rest)
    for k in reversed(range(g.size)):
        less = np.array(g)
        less.flat[k] = 0
        if not np.array_equal(rule(less, *rest), right):
            return rule(less, *rest)
    return right


def transposed(rule, g, *rest):
    """The axes exchanged where the two last ones are of one length, or else the entries in reverse order."""
    r = np.asarray(rule(g, *rest))
    return r.swapaxes(-1, -2) if r.ndim > 1 and r.shape[-1] == r.shape[-2] > 1 else np.flip(r)


WAYS = [thousandth, negative, dropped_term, transposed]
RULES = [(name, i) for name, op in REGISTRY.items() for i in range(max(len(e.inputs) for e in examples(op, np.random.default_rng(0))))]
SQUARE = {  # where factors can be confused without an error of shapes
    "matmul": [((3, 3), (3, 3))], "linear": [((3, 3), (3, 3))], "linear_gelu": [((3, 3), (3, 3))], "attention": [((3, 3), (3, 3), (3, 3))],
}  # fmt: skip


ROWS = np.random.default_rng(1).normal(size=(3, 4))
SPECIAL = {  # where a mistake shows that makes no difference elsewhere
    "sum": [Example((SQUARE_MATRIX := np.random.default_rng(2).normal(size=(3, 3)),), {"axis": 0})],
    "mean": [Example((SQUARE_MATRIX,), {"axis": 0})],
    "transpose": [Example((SQUARE_MATRIX,), {})],
    "swapaxes": [Example((SQUARE_MATRIX,), {"axis1": 0, "axis2": 1})],
    "_concatenate": [Example((ROWS, ROWS + 1), {"axis": 0})],
    "log_softmax": [
        Example((ROWS,), {}, lambda x: -(mg.log_softmax(x) * np.eye(4)[[0, 2, 1]] * np.array([[1.0], [1.0], [0.0]])).sum()),
        Example((ROWS,), {}, lambda x: -(mg.log_softmax(x) * (0.9 * np.eye(4)[[0, 2, 1]] + 0.025)).sum()),
        Example((ROWS,), {}, lambda x: -(mg.log_softmax(x) * np.array([[0.9, 0.3, 0.1, 0.2]])).sum()),
    ],
}  # fmt: skip


def replace_rule(monkeypatch, op, i, wrong):
    """The rule of input ``i`` becomes ``wrong(right rule, g, y, *inputs)``, where the inputs and params are already bound."""
    if op.joint:
        right = op.joint

        def joint(g, *rest, **params):
            results = list(right(g, *rest, **params))
            if i < len(results) and results[i] is not None:
                results[i] = wrong(lambda g: np.asarray(right(g, *rest, **params)[i]), g)
            return results

        monkeypatch.setattr(op, "joint", joint)
    else:
        rules = list(op.rules)
        rule = rules[i]
        rules[i] = lambda g, *rest, **params: wrong(lambda g: np.asarray(rule(g, *rest, **params)), g)
        monkeypatch.setattr(op, "rules", rules)


def caught(op):
    """Whether one of the examples of the op shows that a rule is wrong."""
    rng = np.random.default_rng(0)
    square = [Example(tuple(rng.normal(size=s) for s in shapes), {}) for shapes in SQUARE.get(op.name, [])]
    tried = [*examples(op, rng), *SPECIAL.get(op.name, ()), *square]
    return any(not gradcheck(lambda *xs, e=e: op(*xs) if e.params == {} and not e.through else run(op, e, *xs), *e.inputs) for e in tried)


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
@pytest.mark.parametrize(("name", "i"), RULES)
@pytest.mark.slow
def test_every_wrong_rule_is_caught(name, i, way, monkeypatch):
    op = REGISTRY[name]
    replace_rule(monkeypatch, op, i, way)
    assert caught(op), f"{name}: the rule of input {i}, {way.__name__}, passes the check"


@pytest.mark.parametrize(("name", "n"), [(name, n) for name in MISTAKES for n in range(len(MISTAKES[name]))])
@pytest.mark.slow
def test_every_typical_mistake_is_caught(name, n, monkeypatch):
    """The dropped terms that people really drop: the wrong rules with which diagnose compares."""
    op, mistake = REGISTRY[name], MISTAKES[name][n]

    def mistaken(i, right, *args, **params):
        results = mistake.rule(*args, **{k: v for k, v in params.items() if k not in ("saved", "wanted")})
        return right if i >= len(results) or results[i] is None else results[i]

    if op.joint:
        joint = op.joint
        wrong_joint = lambda *args, **params: [mistaken(i, r, *args, **params) for i, r in enumerate(joint(*args, **params))]  # noqa: E731
        monkeypatch.setattr(op, "joint", wrong_joint)
    else:
        rules = [
            lambda *args, i=i, rule=rule, **params: mistaken(i, rule(*args, **params), *args, **params) for i, rule in enumerate(op.rules)
        ]
        monkeypatch.setattr(op, "rules", rules)
    assert caught(op), f"{name}: {mistake.words}"


# Right rules on random shapes -----------------------------------------------------------------------------------------


def shape(rng, low=1, high=3, side=4):
    return tuple(int(n) for n in rng.integers(1, side + 1, rng.integers(low, high + 1)))


def stretched(rng, full):
    """A shape that broadcasts to ``full``: some axes of length 1, some leading ones missing."""
    cut = full[rng.integers(0, len(full) + 1) :]
    return tuple(1 if rng.random() < 0.3 else n for n in cut)


def of_one(f, positive=False, low=0):
    def make(rng):
        s = shape(rng, low)
        return f, [rng.uniform(0.1, 3, s) if positive else rng.normal(0, rng.choice([0.1, 1, 3]), s)]

    return make


def of_two(f, positive=False):
    def make(rng):
        full = shape(rng)
        a, b = full, stretched(rng, full)
        return f, [rng.uniform(0.3, 2, s) if positive else rng.normal(size=s) for s in ((a, b) if rng.random() < 0.5 else (b, a))]

    return make


def along_an_axis(f):
    def make(rng):
        s = shape(rng)
        axis = int(rng.integers(-len(s), len(s)))
        return (lambda x: f(x, axis=axis)), [rng.normal(size=s)]

    return make


def make_matmul(rng):
    batch, (m, k, n) = shape(rng, 0, 2), rng.integers(1, 5, 3)
    a, b = (*stretched(rng, batch or (1,))[: len(batch)], m, k), (*batch, k, n)
    return mg.matmul, [rng.normal(size=a), rng.normal(size=b)]


def make_attention(rng):
    heads, group, t, s, d = (int(n) for n in rng.integers(1, 4, 5))
    batch, causal = shape(rng, 0, 1), bool(rng.random() < 0.5)
    mask = None if rng.random() < 0.5 else rng.random((t, s)) < 0.7
    shapes = [(*batch, heads * group, t, d), (*batch, heads, s, d), (*batch, heads, s, d)]
    return (lambda q, k, v: mg.scaled_dot_product_attention(q, k, v, mask, causal)), [rng.normal(size=x) for x in shapes]


def make_norm(f, biased):
    def make(rng):
        s = shape(rng, 1, 3)
        s = (*s[:-1], s[-1] + 2)
        return f, [rng.normal(size=s), rng.uniform(0.5, 2, s[-1]), *([rng.normal(size=s[-1])] if biased else [])]

    return make


def make_linear(rng):
    s, out = shape(rng), int(rng.integers(1, 5))
    return mg.linear, [rng.normal(size=s), rng.normal(size=(s[-1], out)), rng.normal(size=out)]


def make_loss(rng):
    s, v = shape(rng, 1, 2), int(rng.integers(2, 6))
    targets = rng.integers(0, v, s)
    options = {"label_smoothing": float(rng.choice([0, 0.1])), "reduction": str(rng.choice(["mean", "sum", "none"]))}
    ignored = None if rng.random() < 0.5 else int(targets.flat[0])
    return (lambda x: mg.cross_entropy(x, targets, ignore_index=ignored, **options)), [rng.normal(size=(*s, v))]


def make_embedding(rng):
    v, c = rng.integers(1, 6, 2)
    ids = rng.integers(0, v, shape(rng, 0, 2))
    return (lambda w: mg.embedding(w, ids)), [rng.normal(size=(v, c))]


def make_relu(rng):
    """With some entries at the kink."""
    x = rng.normal(size=shape(rng))
    return mg.relu, [x * (rng.random(x.shape) < 0.8)]


def make_block(rng):
    """Layer norm, projection, softmax, residual: a small chain."""
    n, c = (int(k) for k in rng.integers(2, 5, 2))
    return (
        lambda x, w, g, b: x + mg.softmax(mg.layer_norm(x, g, b) @ w) @ mg.gelu(w),
        [rng.normal(size=(n, c)), rng.normal(size=(c, c)), rng.uniform(0.5, 2, c), rng.normal(size=c)],
    )


SMOOTH = [mg.tanh, mg.gelu, mg.silu, mg.sigmoid, mg.exp, mg.erf, mg.sin, mg.cos, mg.square, mg.expm1]
ALONG = [mg.softmax, mg.log_softmax, mg.logsumexp, mg.sum, mg.mean, mg.var, mg.max, mg.min, mg.prod, mg.cumsum, mg.flip]
KINDS = {
    **{f.__name__: of_one(f) for f in SMOOTH},
    **{f.name: of_one(f, positive=True) for f in (mg.log, mg.sqrt, mg.reciprocal, mg.log1p)},
    **{f.name: of_two(f) for f in (mg.add, mg.subtract, mg.multiply, mg.maximum, mg.minimum)},
    **{f.name: of_two(f, positive=True) for f in (mg.divide, mg.power)},
    **{f.name: along_an_axis(f) for f in ALONG},
    "matmul": make_matmul, "attention": make_attention, "layer_norm": make_norm(mg.layer_norm, True), "rms_norm": make_norm(mg.rms_norm, False),
    "linear": make_linear, "cross_entropy": make_loss, "embedding": make_embedding, "relu": make_relu, "block": make_block,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_no_right_rule_is_reported_on_random_shapes(kind):
    """Twenty random shapes of each of forty kinds."""
    for seed in range(20):
        f, inputs = KINDS[kind](np.random.default_rng(seed))
        report = gradcheck(f, *inputs, seed=seed)
        assert report, f"seed {seed}\n{report}"
        assert "not judged" not in str(report) and "round-off" not in str(report), f"seed {seed}\n{report}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_no_right_rule_is_reported_in_second_order(kind):
    for seed in range(4):
        f, inputs = KINDS[kind](np.random.default_rng(seed))
        report = gradgradcheck(f, *inputs, seed=seed)
        assert report and ("kink" not in str(report) or kind == "relu"), f"seed {seed}\n{report}"
