"""The worked solution: its numbers multiply and add up, its letters are the reader's, and it changes nothing."""

import re
from itertools import pairwise

import numpy as np
import pytest

import minigrad as mg
from minigrad.byhand.explain import Backward, Meeting, derivation, notation
from minigrad.byhand.explain.notation import Name, named, plain, substitute
from minigrad.byhand.gradcheck import examples, run
from minigrad.graph import REGISTRY
from transformer.layers import EncoderLayer


def attention(fused=False, causal=False, seed=0):
    """Three words of width 4, from X to the loss, in the reader's own operators or with the fused op."""
    rng = np.random.default_rng(seed)
    X = mg.Tensor(rng.normal(size=(3, 4)), requires_grad=True, name="X")
    W_Q, W_K, W_V = (mg.Tensor(rng.normal(size=(4, 2)), requires_grad=True, name=f"W_{letter}") for letter in "QKV")
    Q, K, V = X @ W_Q, X @ W_K, X @ W_V
    if fused:
        O = mg.scaled_dot_product_attention(Q, K, V, causal=causal)
    else:
        S = Q @ K.mT / np.sqrt(2)
        O = mg.softmax(S) @ V
    loss = mg.cross_entropy(O, [0, 1, 1])
    return loss, {"X": X, "W_Q": W_Q, "W_K": W_K, "W_V": W_V}, locals()


# The printed numbers -----------------------------------------------------------------------------------------------------


class Printed:
    """A number or matrix as printed, with the error that its last digit allows; arithmetic carries the error along."""

    def __init__(self, value, error=0.0):
        self.value, self.error = np.asarray(value, float), np.asarray(error, float)

    def __add__(self, other):
        return Printed(self.value + other.value, self.error + other.error)

    def __neg__(self):
        return Printed(-self.value, self.error)

    def __sub__(self, other):
        return self + -other

    def __mul__(self, other):
        error = np.abs(self.value) * other.error + np.abs(other.value) * self.error + self.error * other.error
        return Printed(self.value * other.value, error)

    def __truediv__(self, other):
        quotient = self.value / other.value
        return Printed(quotient, (self.error + np.abs(quotient) * other.error) / (np.abs(other.value) - other.error))

    def __matmul__(self, other):
        """Things side by side: matrices multiply, numbers scale."""
        if not self.value.ndim or not other.value.ndim:
            return self * other
        a, b = np.broadcast_to(self.error, self.value.shape), np.broadcast_to(other.error, other.value.shape)
        return Printed(self.value @ other.value, np.abs(self.value) @ b + a @ np.abs(other.value) + a @ b)

    def sum(self, axes, keepdims=False):
        error = np.broadcast_to(self.error, self.value.shape)
        return Printed(self.value.sum(axes, keepdims=keepdims), error.sum(axes, keepdims=keepdims))

    def agrees(self, other):
        """Whether two printed results can be the same number."""
        shape = other.value.shape
        value, error = self.value.reshape(shape), np.broadcast_to(self.error, self.value.shape).reshape(shape)
        return bool((np.abs(value - other.value) <= error + other.error + 1e-12).all())


def read(strings):
    """The printed entries; an array with fewer than four significant digits is printed exactly."""
    strings = np.char.replace(np.array(strings), r"\infty", "inf")
    value = strings.astype(float)
    decimals = max(len(s.partition(".")[2]) for s in np.ravel(strings))
    digits = max(len(s.lstrip("-").replace(".", "").lstrip("0")) for s in np.ravel(strings))
    return Printed(value, 0.5 * 10.0**-decimals * 1.0001 if digits >= 4 else 1e-9)


TOKEN = re.compile(
    r"\s+|M\d+|10\^\{-?\d+\}|(?:1/)?\\sqrt\{\d+\}|\\operatorname\{rowsum\}|\\operatorname\{sum\}_\{\\text\{ax[ie]s ([\d, ]+)\}\}"
    r"|\\odot|\\cdot|\\langle|\\rangle|\\left|\\right|\\Bigg|\\,|\d+(?:\.\d+)?|[-+/()]"
)


def evaluate(latex, found):
    """The value of a side of an equation; None if it has letters."""
    code, position, previous = "", 0, False
    latex = latex.strip()
    while position < len(latex):
        match = TOKEN.match(latex, position)
        if not match:
            return None
        token, position = match[0], match.end()
        if token.isspace() or token in (r"\,", r"\left", r"\right", r"\Bigg"):
            continue
        opens = token[0] in "M1234567890(" or token.startswith((r"\sqrt", r"1/", r"\operatorname", r"\langle"))
        if previous and opens:
            code += " @ "
        if token[0] == "M":
            code += f"found[{token[1:]}]"
        elif token.startswith("10^"):
            code += f"Printed(10.0**{token[4:-1]})"
        elif r"\sqrt" in token:
            root = re.search(r"\d+(?=\})", token)[0]
            code += f"Printed({'1/' if token.startswith('1/') else ''}{root}**0.5)"
        elif "rowsum" in token:
            code += "row_sum"
        elif r"\operatorname{sum}" in token:
            code += f"sum_over({match[1]})"
        elif token in (r"\langle", r"\rangle"):
            code += "row_mean(" if token == r"\langle" else ")"
        elif token[0].isdigit():
            code += f"read(['{token}'])" if "." in token else f"Printed({token})"
        else:
            code += {r"\odot": "*", r"\cdot": "*"}.get(token, token)
        previous = token[0] in "M1234567890)" or token.startswith((r"\sqrt", r"\rangle")) or token.startswith("10^")
        if token in ("(",) or token.startswith(r"\operatorname") or token == r"\langle":
            previous = False
    if not code:
        return None
    helpers = {
        "found": found, "Printed": Printed, "read": lambda s: Printed(read(s).value[0], read(s).error),
        "row_sum": lambda p: p.sum(-1, True), "row_mean": lambda p: p.sum(-1, True) / Printed(p.value.shape[-1]),
        "sum_over": lambda *axes: lambda p: p.sum(axes),
    }  # fmt: skip
    return eval(code, helpers)


def printed_equations(latex):
    """Every displayed equation as its sides."""
    for display in re.findall(r"\\\[\n(.*?)\n\\\]", latex, re.DOTALL):
        found = []

        def keep(match, found=found):
            rows = [[v.strip() for v in row.split("&")] for row in match[1].split(r"\\")]
            found.append(read(rows))
            return f" M{len(found) - 1} "

        text = re.sub(r"\\begin\{bmatrix\}(.*?)\\end\{bmatrix\}", keep, display, flags=re.DOTALL)
        text = re.sub(r"\\(begin|end)\{aligned\}|\\\\\n|&|\\qquad", " ", text)
        yield [side.strip() for side in text.split("=")], found


@pytest.mark.parametrize("form", ["operators", "fused", "fused, causal"])
def test_the_printed_numbers_multiply_and_add_up_at_their_printed_precision(form):
    loss, leaves, names = attention("fused" in form, "causal" in form)
    e = mg.explain(loss, names=names)
    checked, products = 0, 0
    for sides, found in printed_equations(e.latex()):
        values = [v for v in (evaluate(s, found) for s in sides) if v is not None]
        for a, b in pairwise(values):
            assert a.agrees(b), sides
            checked += 1
            products += len(found) > 2
    assert checked >= (12 if form == "operators" else 10)
    assert products >= 6
    loss.backward()
    last = {sides[1]: evaluate(sides[-1], found) for sides, found in printed_equations(e.latex()) if r"\partial" in sides[0]}
    assert len(last) == len(leaves)
    for name, tensor in leaves.items():
        assert last[named(name).bar].agrees(Printed(tensor.grad.data)), name


def test_the_check_of_printed_numbers_notices_a_wrong_digit():
    loss, _, names = attention()
    latex = mg.explain(loss, names=names).latex()
    (start,) = [m.start() for m in re.finditer(re.escape(r"\bar{V} = P^{\top} \bar{O}"), latex)]
    digit = re.compile(r"0\.(\d)").search(latex, start)
    wrong = latex[: digit.start(1)] + str((int(digit[1]) + 5) % 10) + latex[digit.end(1) :]
    verdicts = []
    for sides, found in printed_equations(wrong):
        values = [v for v in (evaluate(s, found) for s in sides) if v is not None]
        verdicts += [a.agrees(b) for a, b in pairwise(values)]
    assert verdicts.count(False) == 1


def assert_consistent(e):
    """Whatever arrives is the sum of what was handed on: at meetings, at every step, and in the result."""
    arrived = {e.output.latex: [e.seed]}
    met = {}
    for b in e.backward:
        if isinstance(b, Meeting):
            assert len(b.parts) > 1
            np.testing.assert_allclose(sum(v for _, v in b.parts), b.value, rtol=1e-12, atol=1e-14)
            for (_, part), handed in zip(b.parts, arrived[b.name.latex], strict=True):
                np.testing.assert_array_equal(part, handed)
            met[b.name.latex] = b.value
        else:
            expected = met.get(b.name.latex, arrived[b.name.latex][0])
            np.testing.assert_array_equal(b.upstream, expected)
            assert b.name.latex in met or len(arrived[b.name.latex]) == 1
            for f in b.flows:
                arrived.setdefault(f.name.latex, []).append(f.value)
                summed = f.raw.sum(axis=f.axes).reshape(f.value.shape) if f.raw.shape != f.value.shape else f.raw
                np.testing.assert_allclose(summed, f.value, rtol=1e-7, atol=1e-15)  # the key biases' gradient is nothing but round-off
    for name, value in e.results:
        np.testing.assert_allclose(value, sum(arrived[name.latex]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.slow
def test_every_op_is_explained_with_the_engines_gradients(name):
    rng = np.random.default_rng(1)
    for example in examples(REGISTRY[name], rng):
        inputs = [mg.Tensor(x, requires_grad=True) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in example.inputs]
        out = run(REGISTRY[name], example, *inputs)
        upstream = rng.normal(size=out.shape)
        e = mg.explain(out, gradient=upstream)
        assert_consistent(e)
        assert str(e) and e.markdown() and e._repr_html_()
        e.latex().encode("ascii")
        out.backward(upstream)
        tensors = [x for x in inputs if isinstance(x, mg.Tensor)]
        assert len(e.results) == len(tensors)
        for (_, gradient), tensor in zip(e.results, sorted(tensors, key=lambda t: _place(e, t)), strict=True):
            np.testing.assert_allclose(gradient, tensor.grad.data, rtol=1e-12, atol=1e-14)


def _place(e, tensor):
    return next(i for i, (_, _, array) in enumerate(e.given) if array is tensor.data)


@pytest.mark.parametrize("name", ["layer_norm", "attention", "_cross_entropy", "softmax", "linear", "rms_norm", "_gelu_tanh", "relu", "matmul"])
def test_the_numbers_of_a_derivation_add_up(name):
    rng = np.random.default_rng(3)
    checked = 0
    for example in examples(REGISTRY[name], rng):
        inputs = [mg.Tensor(x, requires_grad=True) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in example.inputs]
        out = run(REGISTRY[name], example, *inputs)
        for sides, found in printed_equations(mg.explain(out, gradient=rng.normal(size=out.shape)).latex()):
            values = [v for v in (evaluate(s, found) for s in sides) if v is not None]
            assert all(a.agrees(b) for a, b in pairwise(values)), sides
            checked += max(0, len(values) - 1)
    assert checked


def test_a_block_of_gpt_is_explained_with_the_parameters_names():
    mg.manual_seed(0)
    block = EncoderLayer(8, 2, norm_first=True, activation="gelu").astype(np.float64)
    x = mg.Tensor(np.random.default_rng(0).normal(size=(2, 5, 8)), requires_grad=True, name="x")
    loss = (block(x, causal=True) ** 2).mean()
    e = mg.explain(loss, names=block)
    assert_consistent(e)
    text = str(e)
    assert "W_q_proj = self_attention.q_proj.weight = [8 × 8, norm" in text
    assert "2 × 5 × 8, norm" in text
    assert "x was used twice" in text
    loss.backward()
    np.testing.assert_allclose(e.gradients["x"], x.grad.data, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(e.gradients["W_q_proj"], block.self_attention.q_proj.weight.grad.data, rtol=1e-12, atol=1e-14)


# Letters -----------------------------------------------------------------------------------------------------------------


def test_a_student_reads_their_own_letters():
    loss, _, names = attention()
    latex = mg.explain(loss, names=names).latex()
    for line in (
        r"Q = X W_{Q}",
        r"\bar{Q} = \bar{A} K",
        r"\bar{W}_{Q} = X^{\top} \bar{Q}",
        r"\bar{X}\vert_{Q} = \bar{Q} W_{Q}^{\top}",
        r"\bar{V} = P^{\top} \bar{O}",
        r"\bar{S} = P \odot \big(\bar{P} - \operatorname{rowsum}(\bar{P} \odot P)\big)",
        r"\bar{A} = \bar{S} / \sqrt{2}",
        r"\overline{K^\top} = Q^{\top} \bar{A}",
    ):
        assert line in latex.replace("&", ""), line


def test_the_fused_op_shows_what_happens_inside():
    loss, _, names = attention(fused=True)
    latex = mg.explain(loss, names=names).latex()
    for line in (
        r"P = \operatorname{softmax}(\tau Q K^{\top})",
        r"\bar{P} = \bar{O} V^{\top}",
        r"\bar{S} = P \odot",
        r"\bar{Q} = \tau \bar{S} K",
        r"\bar{K} = \tau \bar{S}^\top Q",
    ):
        assert line in latex.replace("&", ""), line
    assert "+ M" not in latex


def test_names_come_from_the_tensor_the_caller_or_the_alphabet():
    a = mg.Tensor([1.0, 2.0], requires_grad=True, name="gamma")
    b = mg.Tensor([3.0, 4.0], requires_grad=True)
    c = mg.Tensor([3.0, 4.0], requires_grad=True)
    scaled = a * b * c
    text = str(mg.explain(scaled.sum(), names={"w1": b, "_hidden": c}))
    assert "γ ⊙ w₁" in text and "_hidden" not in text
    assert "∂ L / ∂ w₁" in text


def test_no_two_tensors_share_a_name():
    tensors = [mg.Tensor([1.0], requires_grad=True, name="x") for _ in range(3)]
    e = mg.explain((tensors[0] * tensors[1] + tensors[2]).sum())
    assert list(e.gradients) == ["x", "x₂", "x₃"]


def test_a_letter_of_the_formula_gives_way_to_the_readers():
    P, K, V = (mg.Tensor(np.eye(2), requires_grad=True, name=name) for name in ("P", "K", "V"))
    latex = mg.explain(mg.scaled_dot_product_attention(P, K, V).sum()).latex()
    assert r"P' = \operatorname{softmax}(\tau P K" in latex.replace("&", "")


def test_a_graph_with_many_unnamed_results_numbers_them():
    x = mg.Tensor(np.eye(2), requires_grad=True, name="x")
    y = x
    for _ in range(20):
        y = mg.sin(y)
    assert "sin Z₁" in str(mg.explain(y.sum()))


@pytest.mark.parametrize(
    ("name", "latex", "bar"),
    [
        ("Q", "Q", r"\bar{Q}"), ("W_Q", "W_{Q}", r"\bar{W}_{Q}"), ("x1", "x_{1}", r"\bar{x}_{1}"), ("beta", r"\beta", r"\bar{\beta}"),
        ("loss", r"\mathrm{loss}", r"\overline{\mathrm{loss}}"), ("W_out", r"W_{\mathrm{out}}", r"\bar{W}_{\mathrm{out}}"),
        ("h.0.w", r"\mathtt{h.0.w}", r"\overline{\mathtt{h.0.w}}"), ("é", "é", r"\bar{é}"),
    ],
)  # fmt: skip
def test_a_name_becomes_mathematics(name, latex, bar):
    assert (named(name).latex, named(name).bar) == (latex, bar)


def test_symbols_are_replaced_all_at_once_and_not_in_indices_or_prose():
    names = {"a": Name("b"), "b": Name("a"), "x": Name("W", "Q"), "k": Name("K", transposed=True)}
    assert substitute(r"a \odot b", names) == r"b \odot a"
    assert substitute(r"\text{a } x_a + \bar x", names) == r"\text{a } (W_{Q})_{a} + \bar{W}_{Q}"
    assert substitute(r"k^\top k", names) == r"K K^\top"
    assert substitute(r"a \odot b", {"b": Name("2", number=True)}) == r"a \cdot 2"
    assert substitute(r"a^2", {"a": Name("-1", number=True)}) == "(-1)^{2}"


def test_formulas_are_readable_in_a_terminal():
    assert plain(r"\bar C B^\top") == "C̄ Bᵀ"
    assert plain(r"y_i = \tfrac12 \sum_j e^{x_{ij}} / \sqrt{3}") == "yᵢ = ½ Σⱼ e^xᵢⱼ / √3"
    assert plain(r"W_{\text{out}} + M_\text{causal}") == "W_out + M_causal"
    assert all("\\" not in plain(f"{o.formula} {' '.join(o.derivatives.values())}") for o in REGISTRY.values())


# What is said ------------------------------------------------------------------------------------------------------------


def test_a_reused_tensor_adds_its_parts():
    x = mg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    e = mg.explain((x * x).sum())
    (meeting,) = [b for b in e.backward if isinstance(b, Meeting)]
    assert [symbol for symbol, _ in meeting.parts] == [r"\bar{x}\vert_{a,1}", r"\bar{x}\vert_{a,2}"]
    np.testing.assert_array_equal(meeting.value, [2.0, 4.0])


def test_a_broadcast_says_that_it_sums():
    x, b = mg.Tensor(np.ones((3, 2)), requires_grad=True, name="x"), mg.Tensor([1.0, 2.0], requires_grad=True, name="b")
    text = str(mg.explain((x + b).sum()))
    assert "b of shape (2,) was broadcast to (3, 2): its gradient is summed over axis 0" in text
    assert "b̄ = sum[axis 0](Ā)" in text


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda x: x.sum(axis=1).sum(), "aᵢ = Σⱼ xᵢⱼ"),
        (lambda x: x.mean(axis=0).sum(), "aⱼ = 1/3 Σᵢ xᵢⱼ"),
        (lambda x: (x**3).sum(), "Ā ⊙ x ⊙ x"),
        (lambda x: x[1].sum(), "x[1]"),
        (lambda x: mg.take(x, [2, 0], 0).sum(), "s = [2, 0] counts along axis 0"),
        (lambda x: mg.layer_norm(x, np.ones(2), eps=1e-3).sum(), "ε = 0.001"),
        (lambda x: mg.softmax(x, axis=0).sum(), "sum[axis 0]"),
        (lambda x: mg.concatenate([x, x * 2], axis=1).sum(), "joined along axis 1"),
        (lambda x: x.reshape(2, 3).sum(), "from (3, 2) to (2, 3)"),
        (lambda x: mg.einsum("ij,kj->ik", x, np.ones((2, 2))).sum(), "einsum ij,kj->ik"),
        (lambda x: mg.cross_entropy(x, [0, 1, 9], ignore_index=9, label_smoothing=0.1), "targets equal to 9 are left out"),
        (lambda x: (x / np.sqrt(5)).sum(), "x / √5"),
        (lambda x: (0.5 * x).sum(), "0.5 · x"),
        (lambda x: mg.clip(x, -1, 1).sum(), "max: 1"),
    ],
)
def test_the_parameters_of_a_call_are_said(make, said):
    x = mg.Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True, name="x")
    assert said in " ".join(str(mg.explain(make(x))).split())


def test_only_what_leads_to_wrt_is_shown():
    loss, leaves, names = attention()
    e = mg.explain(loss, wrt=leaves["W_V"], names=names)
    assert list(e.gradients) == ["W_V"]
    assert {f.name.text for b in e.backward if isinstance(b, Backward) for f in b.flows} == {"O", "V", "W_V"}
    assert set(mg.explain(loss, wrt=[names["S"], names["Q"]], names=names).gradients) == {"Q", "S"}
    np.testing.assert_allclose(mg.explain(loss, wrt=names["S"], names=names).gradients["S"].sum(axis=1), 0, atol=1e-15)


def test_large_arrays_are_told_by_shape_and_norm_small_ones_whole():
    x = mg.Tensor(np.full((20, 20), 0.5), requires_grad=True, name="x")
    text = str(mg.explain(x.sum()))
    assert "[20 × 20, norm 10]" in text


def test_explaining_changes_nothing():
    loss, leaves, names = attention(fused=True)
    first = str(mg.explain(loss, names=names))
    assert all(t.grad is None for t in leaves.values())
    assert str(mg.explain(loss, names=names)) == first
    loss.backward()
    again, fresh, _ = attention(fused=True)
    again.backward()
    for name, t in leaves.items():
        np.testing.assert_array_equal(t.grad.data, fresh[name].grad.data)


def test_html_and_markdown_carry_the_same_mathematics_and_escape_it():
    x = mg.Tensor([[1.0, -1.0], [2.0, 3.0]], requires_grad=True, name="a<b")
    e = mg.explain(mg.relu(x).sum())
    assert "a<b" not in e._repr_html_() and "a&lt;b" in e._repr_html_()
    assert e.markdown().count("$$") == e._repr_html_().count("$$") == 2 * e.latex().count(r"\[" + "\n")
    assert e._repr_markdown_() == e.markdown()


def test_an_op_of_the_readers_own_is_explained_with_or_without_a_formula():
    @mg.custom_op(
        vjp={"a": lambda g, y, a, b: 3 * g * a**2 * b, "b": lambda g, y, a, b: g * a**3},
        formula=r"y = a^3 b",
        derivative={"a": r"3 \bar y \odot a^2 \odot b", "b": r"\bar y \odot a^3"},
    )
    def cube_times(a, b):
        return a**3 * b

    @mg.custom_op(vjp=lambda g, y, x: 2 * g)
    def mystery(x):
        return 2 * x

    p = mg.Tensor([1.0, 2.0], requires_grad=True, name="p")
    q = mg.Tensor([3.0, 4.0], requires_grad=True, name="q")
    text = str(mg.explain(mystery(cube_times(p, q)).sum()))
    assert "= p³ q" in text and "⊙ p² ⊙ q" in text
    assert "mystery(" in text and "vjp" in text


# Mistakes ----------------------------------------------------------------------------------------------------------------


def test_mistakes_are_answered_with_what_to_do():
    x = mg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    with pytest.raises(TypeError, match="expected a Tensor, got float"):
        mg.explain(1.0)
    with pytest.raises(RuntimeError, match="requires_grad=True"):
        mg.explain(mg.Tensor([1.0]))
    with pytest.raises(RuntimeError, match=r"explain\(output, gradient=\.\.\.\)"):
        mg.explain(x * 2)
    with pytest.raises(ValueError, match="no gradient flows to z: the output was not computed from it"):
        mg.explain(x.sum(), wrt=mg.Tensor([1.0], requires_grad=True, name="z"))
    with pytest.raises(ValueError, match="it does not require grad"):
        mg.explain(x.sum(), wrt=mg.Tensor([1.0]))
    with pytest.raises(TypeError, match="wrt takes a Tensor"):
        mg.explain(x.sum(), wrt="x")
    with pytest.raises(TypeError, match="expected a dictionary of tensors"):
        mg.explain(x.sum(), names=["x"])
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"Call explain before backward\(\)"):
        mg.explain(loss)


def test_numbers_that_were_written_over_are_refused_as_in_backward():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    c = mg.Tensor([3.0, 4.0])
    loss = (x * c).sum()
    c[0] = 5.0
    with pytest.raises(RuntimeError, match="changed in place"):
        mg.explain(loss)


def test_odd_graphs_are_explained_too():
    x = mg.Tensor(2.0, requires_grad=True, name="x")
    assert mg.explain(x).gradients["x"] == 1.0
    (x**3).backward(create_graph=True)
    second = mg.explain(x.grad * 1e-200 * 1e250, wrt=x)
    np.testing.assert_allclose(second.gradients["x"], 12e50)
    strange = mg.Tensor([np.inf, np.nan, 1e-30], requires_grad=True, name="a $strange$ name_1 {}")
    assert "∞" in str(mg.explain((strange * 2).sum())) and mg.explain((strange * 2).sum()).markdown().count("$") % 2 == 0
    empty = mg.Tensor(np.zeros((0, 3)), requires_grad=True)
    assert "of shape (0, 3)" in str(mg.explain(empty.sum()))
    single = mg.Tensor(np.float32([0.1, 0.2]), requires_grad=True, name="s")
    assert "[ 0.1  0.2 ]" in str(mg.explain(single.sum()))


def test_the_derivation_of_an_op_ends_in_agreement_with_its_plain_twin():
    text = derivation("layer_norm")
    assert text.startswith("layer_norm: y = γ ⊙ x̂ + β")
    assert "γ̄ = Σₙ ȳₙ ⊙ x̂ₙ" in text
    difference = float(re.search(r"largest difference (\S+)\.$", text)[1])
    assert difference < 1e-12
    with pytest.raises(KeyError, match="no op called 'layernorm'"):
        derivation("layernorm")


@pytest.mark.parametrize("name", REGISTRY)
def test_every_op_has_a_derivation(name):
    text = derivation(name)
    assert "Back through (1)" in text
    assert "\\" not in text


# Numbers -----------------------------------------------------------------------------------------------------------------


def test_numbers_keep_their_significant_digits_and_their_exactness():
    assert list(notation.numbers([0.012345, -1e-7]).entries) == ["0.01235", "0.00000"]
    assert list(notation.numbers([0.5, 1.25]).entries) == ["0.50", "1.25"]
    assert list(notation.numbers([1.0, 0.0, -3.0]).entries) == [" 1", " 0", "-3"]
    assert notation.numbers([3e-9]).exponent == -9
    assert list(notation.numbers([np.inf, -np.inf, np.nan, 1.0]).entries) == ["  ∞", " -∞", "nan", "  1"]
    assert notation.constant(np.sqrt(64)) == "8"
    assert notation.constant(1 / np.sqrt(2)) == r"1/\sqrt{2}"
    assert notation.constant(-np.sqrt(3)) == r"-\sqrt{3}"
    assert notation.constant(0.044715) == "0.044715"
    assert notation.constant(1e-5) == "10^{-5}"
