"""Reading and replacing activations, the circuits of heads, and the parts of the logits."""

from functools import partial

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, no_grad
from transformer import BERT, GPT, AlibiBias, MultiHeadAttention, RMSNorm, RotaryPositions, attention_maps, generate
from transformer.checks import shaken
from transformer.evaluation.interpretability import (
    captured,
    composition,
    contributions,
    copying,
    direct_logits,
    entries,
    head_entries,
    head_weights,
    logit_lens,
    ov_circuit,
    patched,
    prefix_matching,
    previous_token,
    qk_circuit,
)

CLEAN, CORRUPTED = np.array([[1, 4, 2, 0, 3], [2, 2, 5, 1, 6]]), np.array([[1, 0, 2, 0, 3], [2, 6, 5, 1, 6]])
HEADS = "layers.1.self_attention.out_proj.input"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def gpt(rng, **options):
    mg.manual_seed(0)
    return shaken(GPT(7, 8, 2, 2, 6, **options), rng).eval()


@pytest.fixture
def model(rng):
    return gpt(rng)


def run(model, ids, *sites):
    with captured(model, *sites) as seen:
        logits = model(ids)
    return logits.data, seen


# Hooks ----------------------------------------------------------------------------------------------------------------


def test_what_is_captured_is_what_the_modules_pass_on(model):
    logits, seen = run(model, CLEAN, "layers.0", "layers.1.input", "layers.1", HEADS, "layers.1.self_attention", "")
    assert seen["layers.0"] is seen["layers.1.input"]
    np.testing.assert_array_equal(seen[""].data, logits)
    np.testing.assert_allclose(model.readout(seen["layers.1"]).data, logits, rtol=1e-14)
    attention = model.layers[1].self_attention
    np.testing.assert_array_equal(attention.out_proj(seen[HEADS]).data, seen["layers.1.self_attention"].data)
    assert (
        list(seen) == ["layers.0", "layers.1.input", "layers.1", HEADS, "layers.1.self_attention", ""]
        and len(seen) == 6
    )


def test_a_captured_activation_has_its_graph(model):
    with captured(model, "layers.0") as seen:
        loss = mg.cross_entropy(model(CLEAN), CLEAN)
    seen["layers.0"].retain_grad()
    loss.backward()
    step = 1e-6 * np.random.default_rng(1).normal(size=seen["layers.0"].shape)
    sides = []
    for sign in (1, -1):
        with patched(model, {"layers.0": lambda x, sign=sign: x + sign * step}):
            sides.append(mg.cross_entropy(model(CLEAN), CLEAN).item())
    assert (sides[0] - sides[1]) / 2 == pytest.approx((seen["layers.0"].grad.data * step).sum(), rel=1e-6)


def test_several_calls_are_told_apart(model):
    with captured(model, "layers.0") as seen:
        model(CLEAN), model(CORRUPTED)
    assert len(seen.calls["layers.0"]) == 2
    with pytest.raises(LookupError, match="ran 2 times"):
        seen["layers.0"]
    with captured(model, "layers.0") as seen:
        pass
    with pytest.raises(LookupError, match="ran 0 times"):
        seen["layers.0"]


def test_patching_with_own_activations_changes_nothing(model):
    sites = [name for name, m in model.named_modules() if name and not isinstance(m, nn.ModuleList)]
    sites = [s for s in sites if s != "positions" and not s.endswith("self_attention.positions")]
    logits, seen = run(model, CLEAN, *sites)
    for site in sites:
        with patched(model, {site: seen.calls[site][0]} if len(seen.calls[site]) == 1 else {site: lambda x: x}):
            np.testing.assert_array_equal(model(CLEAN).data, logits, err_msg=site)


@pytest.mark.parametrize("site", ["layers.0.input", "layers.0", "layers.1", "norm.input", ""])
def test_patching_all_that_the_rest_depends_on_gives_the_other_runs_logits_exactly(model, site):
    clean, seen = run(model, CLEAN, site)
    assert not np.allclose(model(CORRUPTED).data, clean)
    with patched(model, {site: seen[site].data}):
        np.testing.assert_array_equal(model(CORRUPTED).data, clean)


def test_patching_the_embedding_and_all_sublayers_gives_the_other_runs_logits_exactly(model):
    clean, seen = run(
        model, CLEAN, "token_embedding", *(f"layers.{i}.{part}" for i in (0, 1) for part in ("self_attention", "ffn"))
    )
    with patched(model, seen):
        np.testing.assert_array_equal(model(CORRUPTED).data, clean)


def test_some_entries_are_replaced_and_the_others_stay(model):
    _, seen = run(model, CLEAN, HEADS)
    _, other = run(model, CORRUPTED, HEADS)
    chosen = head_entries(model.layers[1].self_attention, 1)
    with patched(model, {HEADS: entries(seen[HEADS], chosen)}), captured(model, HEADS) as after:
        model(CORRUPTED)
    np.testing.assert_array_equal(after[HEADS].data[..., 4:], seen[HEADS].data[..., 4:])
    np.testing.assert_array_equal(after[HEADS].data[..., :4], other[HEADS].data[..., :4])
    with patched(model, {HEADS: entries(0.0, np.s_[:, 2])}), captured(model, HEADS) as after:
        model(CLEAN)
    model.astype(np.float32)
    with patched(model, {HEADS: entries(seen[HEADS].data, np.s_[:, 1])}), captured(model, HEADS) as single:
        model(CORRUPTED)
    assert single[HEADS].dtype == np.float32
    assert not after[HEADS].data[:, 2].any() and after[HEADS].data[:, [0, 1, 3, 4]].all()


def test_what_does_not_see_a_patched_position_stays_as_it_is(model):
    _, seen = run(model, CORRUPTED, "layers.0")
    with patched(model, {"layers.0": entries(seen["layers.0"], np.s_[:, 3])}):
        difference = np.abs(model(CLEAN).data - model(CORRUPTED).data)
    with patched(model, {"layers.0": entries(9.0, np.s_[:, 3])}):
        moved = np.abs(model(CLEAN).data - model(CLEAN[:, :5]).data)
        np.testing.assert_array_equal(moved, 0)
        patched_logits = model(CLEAN).data
    assert difference.any()
    change = np.abs(patched_logits - model(CLEAN).data).max(axis=(0, 2))
    assert not change[:3].any() and change[3:].all()


def test_gradients_are_right_with_a_patch_and_flow_into_it(model, rng):
    value = rng.normal(size=(2, 5, 8))

    def loss(v):
        with patched(model, {"layers.0": entries(v, np.s_[:, 1:3]), HEADS: lambda x: 2 * x}):
            return mg.cross_entropy(model(CLEAN), CLEAN)

    assert mg.gradcheck(loss, value)
    v = mg.Tensor(value, requires_grad=True)
    loss(v).backward()
    assert v.grad.data[:, 1:3].any() and not v.grad.data[:, [0, 3, 4]].any()
    parameter = model.layers[0].ffn.down.weight
    before, sides, where = parameter.data.copy(), [], (3, 2)
    for h in (1e-6, -1e-6):
        parameter.data = before.copy()
        parameter.data[where] += h
        sides.append(loss(value).item())
    parameter.data = before
    model.zero_grad()
    loss(value).backward()
    assert parameter.grad.data[where] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5)


def test_the_model_is_as_before_afterwards_also_after_an_error(model):
    expected = model(CLEAN).data
    with pytest.raises(ValueError, match="positions"), patched(model, {"layers.0": 0.0 * expected}):
        raise ValueError("positions")
    with (
        captured(model, "layers.0", "layers.0.input") as outer,
        patched(model, {"layers.0": lambda x: -x}),
        captured(model, "layers.0") as inner,
    ):
        model(CLEAN)
    np.testing.assert_array_equal(outer["layers.0"].data, -inner["layers.0"].data)
    first, second = captured(model, "norm.input"), patched(model, {"norm.input": lambda x: -x})
    with first as seen:
        second.__enter__()
        model(CLEAN)
    model(CORRUPTED)
    second.__exit__(None, None, None)  # left later than the one that was entered before it
    assert len(seen.calls["norm.input"]) == 1
    assert all("forward" not in m.__dict__ for m in model.modules())
    np.testing.assert_array_equal(model(CLEAN).data, expected)


def test_what_cannot_be_hooked_is_refused_with_the_reason(model):
    for site, words in [
        ("layer.0", r"did you mean 'layers.0'"),
        ("layers.2", "no site 'layers.2'"),
        ("layers.0.output", "no site"),
    ]:
        with pytest.raises(ValueError, match=words), captured(model, site):
            pass
    with (
        pytest.raises(TypeError, match=r"passes 'token_embedding.input' is of type ndarray"),
        captured(model, "token_embedding.input"),
    ):
        model(CLEAN)
    with (
        pytest.raises(ValueError, match=r"holds \(2, 5, 8\) float64, the patch \(5, 8\)"),
        patched(model, {"layers.0": np.zeros((5, 8))}),
    ):
        model(CLEAN)
    with (
        pytest.raises(ValueError, match="float32"),
        patched(model, {"layers.0": mg.Tensor(np.zeros((2, 5, 8), np.float32))}),
    ):
        model(CLEAN)
    with pytest.raises(RuntimeError, match="nothing passed 'positions'"), patched(model, {"positions": lambda x: x}):
        model(CLEAN)
    with pytest.raises(IndexError, match="head 2 of 2"):
        head_entries(model.layers[0].self_attention, 2)
    assert all("forward" not in m.__dict__ for m in model.modules())


def test_a_program_is_neither_passed_by_nor_made_with_a_hook_in_it(model):
    def loss(ids):
        return mg.cross_entropy(model(ids), CLEAN)

    step = mg.program(loss, model)
    plain = step(CLEAN).item()
    with patched(model, {"layers.0": lambda x: 0 * x}):
        changed = loss(CLEAN).item()
        assert step(CLEAN).item() == changed != pytest.approx(plain)
    assert step(CLEAN).item() == pytest.approx(plain, rel=1e-14)

    def hooked(ids):
        with captured(model, "layers.0"):
            return loss(ids)

    with pytest.raises(RuntimeError, match="recorded into a program"):
        mg.program(hooked, model)(CLEAN)
    with pytest.raises(RuntimeError, match="recorded into a program"), patched(model, {"layers.0": lambda x: x}):
        step.source()
    assert step(CLEAN).item() == pytest.approx(plain, rel=1e-14)


def test_writing_with_a_patch_uses_it_for_every_token(model):
    constant = np.zeros(7)
    constant[5] = 1.0
    with patched(model, {"": lambda x: x * 0 + constant}):
        assert generate(model, [1, 2], 3, temperature=0).tolist()[-3:] == [5, 5, 5]
    assert (
        generate(model, [1, 2], 3, temperature=0).tolist()
        == generate(model, [1, 2], 3, temperature=0, use_cache=False).tolist()
    )


def test_an_encoder_can_be_patched(rng):
    bert = shaken(BERT(7, 8, 2, 2, 8, 12), rng).eval()
    clean, seen = run(bert, CLEAN, "encoder.layers.0")
    with patched(bert, seen):
        np.testing.assert_array_equal(bert(CORRUPTED).data, clean)


# Circuits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_the_circuits_are_the_head(rng, kv_heads):
    attention = shaken(MultiHeadAttention(8, 4, kv_heads, bias=False), rng)
    x = rng.normal(size=(1, 5, 8))
    with attention_maps(attention) as maps:
        out = attention(x, causal=True).data[0]
    total = 0
    for h in range(4):
        scores = np.where(np.tri(5, dtype=bool), x[0] @ qk_circuit(attention, h) @ x[0].T, -np.inf)
        P = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(P, maps[""][0][0, h], rtol=1e-10)
        total = total + P @ x[0] @ ov_circuit(attention, h)
    np.testing.assert_allclose(total, out, rtol=1e-10)


def test_circuits_refuse_what_they_would_get_wrong():
    with pytest.raises(ValueError, match="rotary"):
        qk_circuit(MultiHeadAttention(8, 2, positions=RotaryPositions(4)), 0)
    with pytest.raises(IndexError, match="head 2 of 2"):
        head_weights(MultiHeadAttention(8, 2), 2)
    with pytest.raises(IndexError, match="head -1 of 2"):
        ov_circuit(MultiHeadAttention(8, 2), -1)
    qk_circuit(MultiHeadAttention(8, 2, positions=AlibiBias(2)), 0)


def test_composition_is_1_for_a_reader_of_what_is_written_and_0_for_another():
    writes = np.outer([1.0, 0, 0], [0, 1, 0])
    assert (
        composition(writes, np.outer([0, 1, 0], [1, 0, 0])) == 1
        and composition(writes, np.outer([1, 0, 0], [1, 0, 0])) == 0
    )
    rng = np.random.default_rng(0)
    found = [composition(*(rng.normal(size=(2, 64, 8)) @ rng.normal(size=(2, 8, 64)))) for _ in range(20)]
    assert np.mean(found) == pytest.approx(1 / 8, rel=0.1)


def test_copying_tells_copies_from_their_opposite():
    assert copying(np.eye(5)) == 1 and copying(-np.eye(5)) == -1
    assert copying(np.roll(np.eye(4), 1, axis=0)) == pytest.approx(0, abs=1e-12) and copying(np.zeros((3, 3))) == 0


def test_prefix_matching_by_hand():
    ids = np.array(
        [[3, 5, 3, 3]]
    )  # position 2 repeats position 0: look at 1; position 3 repeats 0 and 2: look at 1 and at 3
    weights = np.zeros((1, 2, 4, 4))
    weights[0, :, 0, 0] = weights[0, :, 1, 1] = 1
    weights[0, 0, 2, 1], weights[0, 0, 3, [1, 3]] = 1, 0.5
    weights[0, 1, 2], weights[0, 1, 3] = [0.5, 0.25, 0.25, 0], [0.25, 0.25, 0.25, 0.25]
    np.testing.assert_allclose(prefix_matching(weights, ids), [1, 0.375])
    np.testing.assert_allclose(previous_token(weights), [1 / 3, 0.25 / 3 + 0.25 / 3])
    with pytest.raises(ValueError, match="occurs twice"):
        prefix_matching(weights, np.array([[1, 2, 3, 4]]))
    with pytest.raises(ValueError, match="expected"):
        prefix_matching(weights, np.array([[1, 2, 3]]))


# Attribution ----------------------------------------------------------------------------------------------------------

KINDS = {
    "layer norm, tied": {},
    "layer norm without shift, untied": {"bias": False, "tie_embeddings": False},
    "RMS norm, rotary, grouped, SwiGLU": {
        "norm": partial(RMSNorm, eps=1e-3),
        "positions": "rotary",
        "num_kv_heads": 1,
        "ffn": "swiglu",
    },
    "attention only": {"norm": "none", "ffn": "none", "bias": False, "tie_embeddings": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_add_up_to_the_logits(rng, kind):
    model = gpt(rng, **KINDS[kind])
    logits, seen = run(model, CLEAN, "layers.1")
    np.testing.assert_allclose(sum(contributions(model, CLEAN).values()), seen["layers.1"].data, rtol=1e-10)
    parts = direct_logits(model, CLEAN)
    np.testing.assert_allclose(sum(parts.values()), logits, rtol=1e-9, atol=1e-12)
    assert "layers.1.head 1" in parts and all(np.shape(part) == logits.shape for part in parts.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_lens_ends_at_the_models_own_logits(rng, kind):
    model = gpt(rng, **KINDS[kind])
    lens = logit_lens(model, CLEAN)
    assert list(lens) == ["embedding", "layers.0", "layers.1"]
    np.testing.assert_array_equal(lens["layers.1"], model(CLEAN).data)
    with (
        no_grad(),
        patched(model, {f"layers.{i}": lambda x: model.positions.embed(model.token_embedding(CLEAN)) for i in (0, 1)}),
    ):
        np.testing.assert_allclose(lens["embedding"], model(CLEAN).data, rtol=1e-12)


def test_attention_alone_is_a_sum_over_its_heads(rng):
    model = gpt(rng, **KINDS["attention only"])
    names = {name.rsplit(".", 2)[-2] for name in model.state_dict()}
    assert names == {"token_embedding", "positions", "q_proj", "k_proj", "v_proj", "out_proj", "output"}
    with attention_maps(model) as maps:
        logits = model(CLEAN).data
    x = model.token_embedding.weight.data[CLEAN] + model.positions.weight.data[:5]
    for layer, weights in zip(model.layers, maps.values(), strict=True):
        x = x + sum(weights[0][:, h] @ x @ ov_circuit(layer.self_attention, h) for h in range(2))
    np.testing.assert_allclose(x @ model.output.weight.data, logits, rtol=1e-10)


def test_only_a_gpt_is_taken_apart(rng):
    for function in (contributions, direct_logits, logit_lens):
        with pytest.raises(TypeError, match="BERT; expected a GPT"):
            function(BERT(7, 8, 2, 1, 8, 12), CLEAN)
    strange = gpt(rng)
    strange.norm = nn.Linear(8, 8)
    with pytest.raises(TypeError, match="norm of type Linear"):
        direct_logits(strange, CLEAN)
