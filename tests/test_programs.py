"""Programs: what a function computes, and its backward pass, recorded once and replayed; and the text that runs with NumPy alone."""

import itertools
import subprocess
import sys
import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, nn, optim
from minigrad.byhand.gradcheck import examples, run
from minigrad.graph import REGISTRY
from minigrad.ops.declare import Composed
from minigrad.programs import Refused
from minigrad.programs.program import RECORDINGS

EXAMPLES = [(name, n) for name in REGISTRY for n in range(len(examples(REGISTRY[name], np.random.default_rng(0))))]


def weighted(name, n):
    """An example of an op as a loss of its inputs, with a random upstream gradient; and the inputs."""
    op, example = REGISTRY[name], examples(REGISTRY[name], np.random.default_rng(5))[n]
    rng = np.random.default_rng(1)
    inputs = [Tensor(x, requires_grad=True) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in example.inputs]
    out = run(op, example, *inputs)
    weights = rng.normal(size=out.shape)

    def loss(*xs):
        return (run(op, example, *xs) * weights).sum()

    return loss, inputs


def gradients(inputs):
    found = [x.grad.data.copy() for x in inputs if isinstance(x, Tensor)]
    for x in inputs:
        if isinstance(x, Tensor):
            x.zero_grad()
    return found


def execute(text, name, *args, **kwargs):
    space = {}
    exec(compile(text, "source", "exec"), space)
    return space[name](*args, **kwargs)


# One gradient, five ways ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "n"), EXAMPLES)
@pytest.mark.slow
def test_every_op_has_one_gradient_eager_plain_as_a_program_and_as_text(name, n):
    loss, inputs = weighted(name, n)
    loss(*inputs).backward()
    eager = gradients(inputs)
    with mg.plain():
        loss(*inputs).backward()
    for a, b in zip(eager, gradients(inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13, err_msg="plain")
    program = mg.program(loss, [])
    for _ in range(2):
        value = program(*inputs)
        for a, b in zip(eager, gradients(inputs), strict=True):
            np.testing.assert_array_equal(a, b, err_msg="program")
    if name == "_recomputed":
        return
    arrays = [x.data if isinstance(x, Tensor) else x for x in inputs if isinstance(x, Tensor | np.ndarray)]
    for plain in (False, True):
        found, by_name = execute(program.source(plain), "loss", *arrays, **program.arrays(plain))
        np.testing.assert_allclose(found, value.data, rtol=1e-12, atol=1e-13)
        assert len(by_name) == len(eager)
        for a, b in zip(eager, by_name.values(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13, err_msg=f"source(plain={plain})")


# Losses and models ----------------------------------------------------------------------------------------------------


def small_gpt(**settings):
    from transformer import GPT

    mg.manual_seed(0)
    return GPT(11, 16, 4, 2, 12, **settings)


def batch(b=2, t=8):
    ids = np.random.default_rng(0).integers(0, 11, (2, b, t))
    return ids[0], ids[1]


def language_model(model):
    def loss(ids, targets):
        logits = model(ids)
        return mg.cross_entropy(logits, targets)

    return loss


VARIANTS = [
    {}, {"norm": "rms", "positions": "rotary", "ffn": "swiglu", "num_kv_heads": 2, "bias": False}, {"positions": "alibi", "tie_embeddings": False},
    {"positions": "sinusoidal", "ffn": "relu"}, {"positions": "none"},
]  # fmt: skip


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_a_model_trains_alike_with_and_without_a_program(settings):
    losses, weights = [], []
    for recorded in (False, True):
        model = small_gpt(**settings)
        optimizer = optim.AdamW(model.parameters(), 1e-2)
        loss = language_model(model)
        program = mg.program(loss, model)
        found = []
        for step in range(6):
            ids, targets = batch(t=8 if step % 2 else 5)  # two shapes in turn
            optimizer.zero_grad()
            if recorded:
                value = program(ids, targets)
            else:
                value = loss(ids, targets)
                value.backward()
            optimizer.step()
            found.append(value.item())
        losses.append(found)
        weights.append(model.state_dict())
    assert losses[0] == losses[1]
    for name in weights[0]:
        np.testing.assert_array_equal(weights[0][name], weights[1][name], err_msg=name)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("settings", VARIANTS, ids=str)
@pytest.mark.slow
def test_the_text_of_a_model_runs_where_minigrad_cannot_be_imported(settings, plain, tmp_path):
    model = small_gpt(**settings).astype(np.float64)
    loss = language_model(model)
    ids, targets = batch()
    program = mg.program(loss, model)
    value = program(ids, targets)
    (tmp_path / "text.py").write_text(program.source(plain), encoding="utf-8")
    np.savez(tmp_path / "arrays.npz", **program.arrays(plain))
    np.savez(tmp_path / "data.npz", ids=ids, targets=targets)
    script = """if True:
        import sys
        sys.modules["minigrad"] = sys.modules["transformer"] = None
        import numpy as np
        from text import loss
        value, gradients = loss(**np.load("data.npz"), **np.load("arrays.npz"))
        np.savez("found.npz", value=value, **gradients)
    """
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_allclose(found["value"], value.data, rtol=1e-12)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(found[name.replace(".", "_")], p.grad.data, rtol=1e-9, atol=1e-13, err_msg=name)


def test_the_text_has_the_users_letters_shapes_and_formulas():
    W = Tensor(np.ones((3, 2)), requires_grad=True, name="W")

    def attend(X):
        S = X @ W
        P = mg.softmax(S)
        return (P * P).sum()

    program = mg.program(attend, [W])
    program(np.ones((4, 3)))
    text = program.source()
    assert "def attend(X, W, gradient=1.0):" in text
    assert "S = X @ W" in text and "# (4, 2)" in text
    assert "# softmax: y = softmax(x)" in text
    assert "d_W = " in text and "return" in text
    plain = program.source(plain=True)
    assert "np.exp(" in plain and "softmax_vjp" not in plain
    assert max(map(len, plain.splitlines())) < 160


def test_what_has_one_name_twice_has_two_in_the_text():
    leaves = [Tensor(np.full(3, n), name="W") for n in (2.0, 3.0, 5.0)]
    program = mg.program(lambda np: (np * leaves[0] + leaves[1]) * leaves[2])
    program(x0)
    assert list(program.arrays()) == ["W", "W_2", "W_3"]
    np.testing.assert_array_equal(execute(program.source(), "program", x0, **program.arrays()), (x0 * 2 + 3) * 5)


def test_the_text_of_a_function_returns_the_tree_that_it_returns():
    program = mg.program(lambda x: {"y": mg.where(x > 0, x, 0.0), "z": (x + 1, [x[:1, 1:]])})
    program(x0)
    for plain in (False, True):
        found = execute(program.source(plain), "program", x0)
        np.testing.assert_array_equal(found["y"], np.maximum(x0, 0))
        np.testing.assert_array_equal(found["z"][1][0], x0[:1, 1:])


FACTOR = 3.0


def factorial(n):
    return n * factorial(n - 1) if n else FACTOR


@mg.recorded
def grown(x):
    n = factorial(4)
    return n * x


def test_the_text_brings_along_what_a_recorded_function_calls_and_names():
    program = mg.program(lambda x: grown(x) + 1)
    program(x0)
    np.testing.assert_array_equal(execute(program.source(), "program", x0), 72 * x0 + 1)


def test_plain_text_has_no_call_of_an_op_that_is_one_expression():
    program = mg.program(lambda x: mg.where(x > 0, mg.tril(mg.relu(x)), mg.cumsum(x, axis=1)))
    program(x0)
    assert program.source(plain=True).count("def ") == 1


def test_gradients_of_functions_are_programs_too():
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))

    def f(x):
        return (mg.softmax(x) * mg.tanh(x)).sum()

    for transform in (mg.value_and_grad(f), mg.grad(f), mg.hessian(f), lambda x: mg.hvp(f, x, v), lambda x: mg.jvp(f, (x,), (v,))[1]):
        program = mg.program(transform)
        program(x)
        found, wanted = program(2 * x), transform(2 * x)
        for a, b in zip(mg.derivatives.leaves(found), mg.derivatives.leaves(wanted), strict=True):
            np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-14)


def test_a_program_of_a_function_takes_trees_and_settings():
    program = mg.program(lambda p, scale, mode: {"y": mg.exp(p["a"] * scale), "z": (p["b"], p["a"] if mode == "sum" else p["b"])})
    for scale in (2.0, 3.0):
        for mode in ("sum", "other"):
            p = {"a": np.arange(3.0), "b": np.ones(3)}
            for _ in range(2):
                found = program(p, scale, mode)
                np.testing.assert_array_equal(found["y"].data, np.exp(scale * p["a"]))
                np.testing.assert_array_equal(found["z"][1].data, p["a"] if mode == "sum" else p["b"])


def test_the_upstream_gradient_scales_and_gradients_add_up():
    W = Tensor(np.arange(3.0), requires_grad=True)
    program = mg.program(lambda x: (W * W * x).sum(), [W])
    x = np.array([1.0, 2.0, 3.0])
    for n in range(1, 4):
        program(x, gradient=0.5)
        np.testing.assert_allclose(W.grad.data, n * 0.5 * 2 * W.data * x)


@pytest.mark.parametrize("weights", [1.0, np.array([1.0, 2.0, 3.0])])
def test_an_argument_that_requires_grad_gets_its_gradient_and_no_two_gradients_share_memory(weights):
    given = [Tensor(np.ones(3), requires_grad=True) for _ in range(3)]
    program = mg.program(lambda x, y, z: ((x + y + z) * weights).sum(), [])
    for _ in range(2):
        for t in given:
            t.zero_grad()
        program(*given)
        for one, other in itertools.combinations(given, 2):
            assert not np.shares_memory(one.grad.data, other.grad.data)
    first = given[0].grad.data
    program(*given)
    np.testing.assert_array_equal(first, weights)  # what was handed out is not written by a later call


@pytest.mark.parametrize(
    "f", [mg.sum, mg.mean, lambda x: (x + x).sum(), lambda x: (x * np.ones(3)).sum(), lambda x: x[1:].sum(), lambda x: (-x).sum() + x.sum()]
)
def test_a_gradient_that_the_caller_overwrites_is_right_at_the_next_call(f):
    x = Tensor(np.ones(3), requires_grad=True)
    expected = mg.grad(f)(x).data.copy()
    program = mg.program(f, [])
    for _ in range(5):
        x.zero_grad()
        program(x)
        np.testing.assert_array_equal(x.grad.data, expected)
        x.grad.data[...] = 7


def test_the_upstream_gradient_is_not_handed_out_as_a_gradient():
    x, upstream = Tensor(1.0, requires_grad=True), np.ones(())
    program = mg.program(lambda x: x + 1.0, [])
    for _ in range(3):
        x.zero_grad()
        program(x, gradient=upstream)
        x.grad.data[...] = 7
        assert upstream == 1


def test_inside_of_detect_anomaly_a_program_computes_as_usual():
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    program = mg.program(lambda x: mg.log(x).sum(), [])
    program(x), program(x)  # the third call is not compared with the function
    x = Tensor(np.array([1.0, 0.0]), requires_grad=True)
    with mg.detect_anomaly(), pytest.raises(FloatingPointError, match="detect_anomaly: forward of log"), np.errstate(all="ignore"):
        program(x)


def test_a_program_in_the_function_of_another_is_part_of_it():
    inner = mg.program(lambda x: mg.exp(x) * 2)
    outer = mg.program(lambda x: inner(x) + inner(-x))
    inner(x0), inner(x0)  # the third call would be a replay
    for x in (x0, -x0, 2 * x0, 3 * x0):
        np.testing.assert_allclose(outer(x).data, 2 * (np.exp(x) + np.exp(-x)), rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "got"), [(lambda x: x * 2, r"one of shape \(3,\)"), (lambda x: x.detach().sum(), r"one of shape \(\)"), (list, "list")]
)
def test_what_is_no_loss_is_refused_by_its_shape(loss, got):
    with pytest.raises(Refused, match=f"the loss must be a Tensor that holds one number .*got {got}"):
        mg.program(loss, [])(Tensor(np.ones(3), requires_grad=True))


def test_parameters_are_seen_wherever_they_come_from():
    model = small_gpt()
    loss = language_model(model)
    program = mg.program(loss, model)
    ids, targets = batch()
    program(ids, targets)
    other = {name: a + 0.1 for name, a in model.state_dict().items()}
    model.load_state_dict(other)
    assert program(ids, targets).item() == loss(ids, targets).item()
    model.astype(np.float64)
    assert program(ids, targets).item() == loss(ids, targets).item()


def test_a_tensor_that_a_recorded_function_is_given_by_name_is_read_anew():
    least = Tensor(0.0)
    above = mg.recorded(lambda x, least: x > least)
    program = mg.program(lambda x: mg.where(above(x, least=least), x, 0.0))
    for least.data in (np.array(0.0), np.array(0.5), np.array(-0.5)):
        np.testing.assert_array_equal(program(x0).data, np.where(x0 > least.data, x0, 0))


def test_dropout_draws_anew_and_as_the_engine_does():
    model = small_gpt(dropout=0.3)
    loss = language_model(model)
    program = mg.program(loss, model)
    ids, targets = batch()
    mg.manual_seed(5)
    found = [program(ids, targets).item() for _ in range(4)]
    mg.manual_seed(5)
    assert found == [loss(ids, targets).item() for _ in range(4)]
    assert len(set(found)) == 4
    model.eval()
    assert program(ids, targets).item() == loss(ids, targets).item() == program(ids, targets).item()


def test_checkpointed_layers_can_be_recorded():
    W = Tensor(np.random.default_rng(0).normal(size=(4, 4)), requires_grad=True)

    def loss(x):
        h = mg.checkpoint(lambda t: mg.dropout(mg.tanh(t @ W), 0.5), x)
        return (h * h).sum()

    x = np.ones((3, 4))
    mg.manual_seed(1)
    loss(x).backward()
    wanted = W.grad.data.copy()
    W.zero_grad()
    mg.manual_seed(1)
    mg.program(loss, [W])(x)
    np.testing.assert_allclose(W.grad.data, wanted, rtol=1e-12)


def test_threads_may_call_one_program():
    W = np.random.default_rng(0).normal(size=(50, 50))
    program = mg.program(lambda x: mg.tanh(mg.tanh(x @ W) @ W + 1.0) * 2.0)
    inputs = [np.full((40, 50), float(i)) for i in range(8)]
    wanted = [program(x).data.copy() for x in inputs]
    wrong = []

    def call(i):
        for _ in range(50):
            if not np.array_equal(program(inputs[i]).data, wanted[i]):
                wrong.append(i)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_what_a_kernel_keeps_in_an_object_of_its_own_is_not_written_over():
    """Nobody can tell which arrays such an object holds: it may be its inputs, and its result."""
    op = Composed(lambda x: mg.exp(x), "y = e^x", None, {})
    op.accelerate(lambda x, save: (y := np.exp(x), {"x": x, "y": y}), lambda g, _, saved, x: [g * saved["y"] * (saved["x"] == x)])
    x = Tensor(x0, requires_grad=True)
    program = mg.program(lambda x: (op(x * 1.0) + 1.0).sum(), [])
    for _ in range(3):
        x.zero_grad()
        program(x)
        np.testing.assert_allclose(x.grad.data, np.exp(x0))


# What cannot be recorded ----------------------------------------------------------------------------------------------

x0 = np.linspace(-1, 1, 6).reshape(2, 3)


class Counting(nn.Module):
    def __init__(self):
        self.calls = 0
        self.w = nn.Parameter(np.ones(3))

    def forward(self, x):
        self.calls += 1
        return (self.w * x * self.calls).sum()


REFUSED = {
    "a decision by a number": (lambda x: x * 2 if x.sum() > 0 else x, "reads the numbers"),
    "a number": (lambda x: x * x.max().item(), "reads the numbers"),
    "an array": (lambda x: x * x.data, r"reads the numbers.*\.data"),
    "a conversion": (lambda x: x * np.asarray(x), "reads the numbers"),
    "a float": (lambda x: x * float(x[0, 0]), "reads the numbers"),
    "a loop over values": (lambda x: [x for _ in range(int(x.max()))] or x, "reads the numbers"),
    "a mask as an index": (lambda x: x[x > 0], "depends on"),
    "other random numbers": (lambda x: x * np.random.default_rng().normal(size=3), r"two runs .*\(what multiply reads, shape \(3,\)\)"),
    "a draw from minigrad's generator": (lambda x: x * float(mg.random.generator().integers(2)), "draws random numbers itself"),
    "the global generator": (lambda x: x * np.random.normal(), "two runs"),
    "writing in place": (lambda x: x.__setitem__(0, 1.0), "reads the numbers|in place"),
    "no tensor": (lambda x: 3.0, "returns a float"),
    "a backward pass inside": (lambda x: (x * 2).sum().backward(), "backward|None"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_replayed_is_refused_with_the_reason_and_the_place(name):
    function, reason = REFUSED[name]
    with pytest.raises((Refused, TypeError), match=reason):
        mg.program(function)(x0)


def test_hidden_state_is_noticed():
    model = Counting()
    with pytest.raises(Refused, match="two runs with the same arguments differ"):
        mg.program(lambda x: model(x), model)(x0)


def test_what_is_computed_from_parameters_behind_the_engine_is_noticed_at_the_second_call():
    w = Tensor(np.ones(3), requires_grad=True)
    scale = np.ones(1)
    program = mg.program(lambda x: (w * x * (2 * scale)).sum(), [w])
    program(x0 + 2)
    scale[0] = 3.0
    with pytest.raises(Refused, match="call 2 of the recording and the function itself differ in its result"):
        program(x0 + 2)


def test_an_optimizer_step_inside_is_refused():
    w = Tensor(np.ones(3), requires_grad=True)
    optimizer = optim.SGD([w], 0.1)

    def loss(x):
        optimizer.step()
        return (w * x).sum()

    loss(x0).backward()
    with pytest.raises(Refused, match="in place"):
        mg.program(loss, [w])(x0)


def test_the_refusal_names_the_line_of_the_user():
    def loss(x):
        y = x * 2
        return y if y.sum() > 0 else x

    with pytest.raises(Refused, match=rf"test_programs\.py, line {loss.__code__.co_firstlineno + 2}, in loss"):
        mg.program(loss)(x0)


def test_after_a_refusal_tensors_are_as_before():
    w = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(Refused):
        mg.program(lambda x: (w * x).sum() * w.sum().item(), [w])(x0)
    assert type(w) is Tensor and w.sum().item() == 3.0
    (w * x0).sum().backward()


def test_a_result_that_the_function_kept_is_an_ordinary_tensor_afterwards():
    kept = []
    mg.program(lambda x: kept.append(x.sum()) or x * 2)(Tensor(x0 + 1))
    for t in kept:
        t.data = t.data + 0.5
        assert t.item() == float(t) == t.numpy() == t.tolist() == 6.5 and int(t) == 6 and bool(t) and 6.5 in t
        assert str(t) == "Tensor(6.5)" and f"{t:.2f}" == "6.50"


def test_a_lost_gradient_is_refused():
    w = Tensor(np.ones(3), requires_grad=True)
    program = mg.program(lambda x: w * x)
    with pytest.raises(TypeError, match="requires grad goes in"):
        program(x0)
    with mg.no_grad():
        np.testing.assert_array_equal(program(x0).data, x0)


def test_too_many_shapes_are_computed_as_usual_and_it_is_said():
    w = Tensor(np.ones(1), requires_grad=True)
    program = mg.program(lambda x: (w * x).sum(), [w])
    for n in range(1, RECORDINGS + 1):
        program(np.ones(n))
    with pytest.warns(UserWarning, match=f"{RECORDINGS} sets of shapes"):
        assert program(np.ones(RECORDINGS + 5)).item() == RECORDINGS + 5
    assert len(program.recordings) == RECORDINGS


def test_errors_of_the_call_are_those_of_the_function():
    model = small_gpt()
    program = mg.program(language_model(model), model)
    ids, targets = batch()
    program(ids, targets)
    with pytest.raises(IndexError, match="token id 99"):
        program(np.full_like(ids, 99), targets)
    with pytest.raises(TypeError, match="expected a function"):
        mg.program(3)
    with pytest.raises(RuntimeError, match="nothing has been recorded yet"):
        mg.program(lambda x: x).source()


# The trainer ------------------------------------------------------------------------------------------------------------


class Text:
    """An objective on random tokens."""

    measure = "loss"

    def batch(self, rng, size):
        ids = rng.integers(0, 11, (size, 9))
        return ids[:, :-1], ids[:, 1:]

    def loss(self, model, batch, label_smoothing=0.0):
        return mg.cross_entropy(model(batch[0]), batch[1], label_smoothing=label_smoothing)

    def tokens(self, batch):
        return batch[0].size

    def fingerprint(self):
        return 0


class Deciding(Text):
    def loss(self, model, batch, label_smoothing=0.0):
        value = super().loss(model, batch, label_smoothing)
        return value * 2 if value.item() < 0 else value


def trained(objective, recorded, **settings):
    from transformer.training.loop import Trainer
    from transformer.training.settings import Settings

    model = small_gpt(dropout=0.1)
    trainer = Trainer(model, objective, Settings(steps=6, batch_size=4, seed=3, **settings))
    model.train()
    if not recorded:
        trainer.program = None
    rows = [trainer.step() for _ in range(6)]
    return trainer, rows, model.state_dict()


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"recompute_layers": True}, {"label_smoothing": 0.1}], ids=str)
def test_a_training_with_programs_is_the_same_training(settings):
    trainer, rows, weights = trained(Text(), True, **settings)
    assert trainer.program is not None and len(trainer.program.recordings) == 1
    _, others, eager = trained(Text(), False, **settings)
    assert rows == others
    for name in weights:
        np.testing.assert_array_equal(weights[name], eager[name])


def test_a_loss_that_cannot_be_recorded_is_trained_all_the_same_and_it_is_said():
    trainer, rows, _ = trained(Deciding(), True)
    assert trainer.program is None and "reads the numbers" in trainer.unrecorded
    assert rows == trained(Deciding(), False)[1]


# What a newcomer does ---------------------------------------------------------------------------------------------------

SAME = {
    "a Tensor of the argument": (lambda a: Tensor(a) * 2.0, (x0,), (3 * x0,)),
    "a cast to integers": (lambda a: Tensor(np.arange(50.0))[(a * 10 + 20).astype(int)], (x0,), (x0 / 2,)),
    "argmax": (lambda a: a * 0 + a.argmax(), (x0,), (-x0,)),
    "a comparison": (lambda a: mg.where(a > 0.1, a, a * a), (x0,), (-x0,)),
    "masks together": (lambda a: mg.where((a > 0.1) | ~(a < -0.1), a, 2 * a), (x0,), (-x0,)),
    "whole division": (lambda a: a // 2 + 1.0, (np.arange(4),), (np.arange(4) * 3,)),
    "a list and an array": (lambda t, u: t[0] + 10 * u if isinstance(t, list) else t - u, ([x0], x0), (x0, x0)),
    "the parts of lists": (lambda s, t: sum(2 * x for x in s) + sum(t), ([x0], [x0]), ([x0, x0], [])),
    "the sign of zero": (lambda x, c: mg.divide(x, c), (np.ones(2), 0.0), (np.ones(2), -0.0)),
    "a constant where a kernel expects the first input": (
        lambda m: mg.scaled_dot_product_attention(np.eye(3), np.eye(3), np.eye(3), mask=m), (np.eye(3) > 0,), (np.ones((3, 3), bool),),
    ),
    "numbers that are not finite": (lambda x: mg.minimum(x, np.inf) * mg.maximum(np.nan, x), (x0,), (-x0,)),
    "class weights": (lambda w: mg.cross_entropy(np.eye(3), np.array([0, 2, 1]), class_weights=w), (np.ones(3),), (np.arange(3) + 1.0,)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("name", SAME)
def test_a_program_returns_what_its_function_returns(name):
    function, first, second = SAME[name]
    program = mg.program(function)
    for args in (first, first, first, second, first, second):
        found, wanted = program(*args), function(*args)
        np.testing.assert_array_equal(found.data, wanted.data if isinstance(wanted, Tensor) else wanted)


def test_one_tensor_as_two_arguments_and_as_a_leaf_gets_all_its_gradients():
    w, x = (Tensor(np.arange(1.0, 4), requires_grad=True) for _ in range(2))
    for loss, args in ((lambda a, b: (a * b * w).sum(), (x, x)), (lambda a: (a * a * w).sum(), (w,))):
        program = mg.program(loss, [w])
        for _ in range(3):
            w.zero_grad(), x.zero_grad()
            loss(*args).backward()
            wanted = [t.grad.data for t in args]
            w.zero_grad(), x.zero_grad()
            program(*args)
            for t, g in zip(args, wanted, strict=True):
                np.testing.assert_allclose(t.grad.data, g)


def test_modules_that_only_the_function_knows_may_switch_to_evaluation():
    drop, layer = nn.Dropout(0.5), nn.Linear(3, 4)
    program = mg.program(lambda x: drop(layer(x)))
    x = x0.astype(np.float32)
    with mg.no_grad():
        program(x), program(x)
        drop.eval()
        np.testing.assert_array_equal(program(x).data, layer(x).data)


def test_parameters_that_are_replaced_frozen_or_thawed_are_seen():
    layer = nn.Linear(3, 1)
    loss = lambda x: (layer(x) ** 2).sum()  # noqa: E731
    program, x = mg.program(loss, layer), x0.astype(np.float32)
    for change in (
        lambda: None,
        lambda: setattr(layer, "weight", nn.Parameter(np.ones((3, 1)))),
        lambda: layer.weight.requires_grad_(False),
        lambda: layer.weight.requires_grad_(True),
    ):
        change()
        for _ in range(3):
            layer.zero_grad()
            loss(x).backward()
            wanted = {n: p.grad for n, p in layer.named_parameters()}
            layer.zero_grad()
            assert program(x).item() == pytest.approx(loss(x).item(), rel=1e-6)
            for n, p in layer.named_parameters():
                assert (p.grad is None) == (wanted[n] is None)
                if p.grad is not None:
                    np.testing.assert_allclose(p.grad.data, wanted[n].data, rtol=1e-6)


def test_generation_sees_adapters_and_parameters_that_were_put_in():
    from transformer import generate
    from transformer.compression import add_adapters

    model = small_gpt().eval()
    ids = np.array([1, 2])
    generate(model, ids, 8, temperature=0)
    add_adapters(model, rank=4)
    for p in model.parameters():
        p.data[...] += np.random.default_rng(0).normal(size=p.shape).astype(np.float32)
    for n in (2, 3, 4, 9):
        np.testing.assert_array_equal(generate(model, ids, n, temperature=0), generate(model, ids, n, temperature=0, use_cache=False))


def test_an_argument_with_a_history_and_arguments_by_name_are_refused():
    w = Tensor(np.ones(3), requires_grad=True)
    program = mg.program(lambda h, scale=2.0: (h * w * scale).sum(), [w])
    with pytest.raises(TypeError, match="an argument is the result of multiply"):
        program(w * 2)
    with pytest.raises(TypeError, match="by position"):
        program(x0, scale=3.0)
    with pytest.raises(Refused, match="reads the numbers"):
        mg.program(lambda a: a * float(str(a.sum())[7:-1]))(x0)


def test_a_leaf_that_only_a_definition_reads_gets_its_gradient_in_plain_mode_too():
    """Without kernels a composed op works on other Tensors around the same arrays; the leaf is that of the caller."""
    w, v = (mg.Tensor(np.random.default_rng(n).normal(size=4), requires_grad=True) for n in range(2))
    with mg.plain():
        run = mg.program(lambda x: (mg.softmax(w) * mg.gelu(v) * x).sum(), mg.nn.Module())
        run(np.arange(4.0))
        run(np.arange(4.0) + 1)
    total = [t.grad.data.copy() for t in (w, v)]
    w.grad = v.grad = None
    for x in (np.arange(4.0), np.arange(4.0) + 1):
        (mg.softmax(w) * mg.gelu(v) * x).sum().backward()
    for t, found in zip((w, v), total):
        np.testing.assert_allclose(found, t.grad.data, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [1000, 1 << 17])
def test_one_wrong_number_in_a_large_result_is_noticed_and_rounding_is_not(dtype, size):
    """Large results are compared by sums of 64 numbers each; a single one that is off must not hide in its sum."""
    from minigrad.programs.refusals import close, digest

    x = np.random.default_rng(0).normal(size=size).astype(dtype)
    step = {np.float16: 3e-2, np.float32: 3e-4, np.float64: 3e-9}[dtype] * np.abs(x).max()
    place = np.abs(x).argmin()  # where no relative tolerance helps
    wrong = x.copy()
    wrong[place] += step
    assert close(x, digest(x)) and not close(wrong, digest(x))
    rounded = np.nextafter(x, np.inf, dtype=dtype)
    assert close(rounded, digest(x))
    nan = x.copy()
    nan[place] = np.nan
    many = x.copy()
    many[:64] = np.inf
    assert close(many, digest(many)) and not close(many, digest(x))  # ∞ − ∞ in a sum is no reason for a warning
    assert close(nan, digest(nan)) and not close(nan, digest(x)) and not close(x, digest(nan)) and not close(x[:-1], digest(x))


def test_a_printed_program_names_each_of_its_halves_once():
    w = Tensor(np.ones(3), requires_grad=True)
    step, forward = mg.program(lambda x: (x * w).sum(), [w]), mg.program(lambda x: x * 2 + 1)
    step(x0), forward(x0)
    assert step.source().count("The forward pass") == step.source().count("The backward pass") == step.source().count("gradient = np.asarray") == 1
    assert "gradient" not in forward.source() and "backward" not in forward.source()


def test_a_program_of_several_shapes_compares_itself_with_its_function_at_powers_of_two_of_all_calls():
    ran, factor = [], [1.0]

    def scaled(x):
        ran.append(x.shape)
        return x * factor[0]

    program = mg.program(scaled)
    for call in range(1, 33):
        ran.clear()
        program(np.ones(1 + call % 3))
        compared = call <= 6 or call & (call - 1) == 0  # the first two of each of three shapes, and 8, 16, 32
        assert bool(ran) == compared, call
    factor[0] = 2.0
    for call in range(33, 64):
        assert program(np.ones(1 + call % 3)).data[0] == 1
    with pytest.raises(RuntimeError, match="differ in its result"):
        program(np.ones(2))
