"""What came after 2017: windows and sinks, normed queries and keys, stretched rotary angles, latent attention, mixtures of experts.

Each part is held to a straight loop over its formula, and where the transformers library has it (tests marked `weights`) to that.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from small_models import tiny

import minigrad as mg
from minigrad import Tensor, gradcheck, no_grad
from transformer import (
    GPT,
    AlibiBias,
    Experts,
    KVCache,
    LatentAttention,
    MultiHeadAttention,
    RMSNorm,
    RotaryPositions,
    SwiGLU,
    Window,
    attention_maps,
    beam_search,
    generate,
)
from transformer.checks import shaken
from transformer.cli import main
from transformer.data.tokenizers import CharTokenizer
from transformer.decoding.speculative import speculative_generate
from transformer.models.build import build_model
from transformer.models.experts import Routing, imbalance, load_balance, routings
from transformer.models.stretching import Interpolated, RaisedBase, Yarn
from transformer.positions import StretchedRotation
from transformer.training.checkpoints import RunFolder
from transformer.training.objectives import Balanced, LanguageModelling

OPTIONS = {
    "window": {"attention": {"name": "full", "window": 3}, "positions": "rotary"},
    "window, sinks": {"attention": {"name": "full", "window": 3, "sinks": 2}, "positions": "rotary", "num_kv_heads": 1},
    "window, sinks, ALiBi": {"attention": {"name": "full", "window": 3, "sinks": 2}, "positions": "alibi"},
    "window, learned positions": {"attention": {"name": "full", "window": 2, "sinks": 1}},
    "normed queries and keys": {"attention": {"name": "full", "norm": "rms"}, "positions": "rotary"},
    "stretched": {"positions": {"name": "rotary", "stretch": {"name": "yarn", "factor": 4, "original_length": 6}}},
    "latent": {"attention": {"name": "latent", "latent_dim": 3}, "positions": {"name": "rotary", "head_dim": 2}},
    "latent, no rotary part": {"attention": {"name": "latent", "query_dim": 5, "value_dim": 3}},
    "latent and windows in turn": {"attention": ["latent", {"name": "full", "window": 3, "sinks": 1}], "positions": "rotary"},
    "experts": {"ffn": "experts"},
    "experts, one and a shared one": {"ffn": {"name": "experts", "num_experts": 4, "per_token": 1, "shared_dim": 6}},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))


@pytest.fixture(autouse=True)
def same_weights_each_time():
    mg.manual_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def softmax(s):
    e = np.exp(s - s.max())
    return e / e.sum()


def rms(x, gamma, eps=1e-6):
    return x / math.sqrt((x * x).mean() + eps) * gamma


def silu(x):
    return x / (1 + np.exp(-x))


def turned(x, t, theta, amplitude=1.0):
    """A vector at place t, pair by pair."""
    half, y = len(x) // 2, np.empty_like(x)
    for i, angle in enumerate(theta):
        c, s = math.cos(t * angle), math.sin(t * angle)
        y[i], y[i + half] = x[i] * c - x[i + half] * s, x[i + half] * c + x[i] * s
    return amplitude * y


# Windows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize(("size", "sinks"), [(1, 0), (3, 0), (3, 2), (2, 5), (20, 1)])
def test_windowed_attention_equals_a_loop_over_who_sees_whom(rng, size, sinks, kv_heads):
    attention = shaken(MultiHeadAttention(8, 4, kv_heads, window=Window(size, sinks), norm=RMSNorm), rng)
    x, D = rng.normal(size=(7, 8)), 2
    q, k, v = (x @ p.weight.data + p.bias.data for p in (attention.q_proj, attention.k_proj, attention.v_proj))
    joined = np.zeros((7, 8))
    for h in range(4):
        g = h // (4 // kv_heads)
        for t in range(7):
            seen = [s for s in range(t + 1) if t - s < size or s < sinks]
            query = rms(q[t, D * h : D * h + D], attention.q_norm.weight.data)
            scores = [query @ rms(k[s, D * g : D * g + D], attention.k_norm.weight.data) / math.sqrt(D) for s in seen]
            for p, s in zip(softmax(np.array(scores)), seen, strict=True):
                joined[t, D * h : D * h + D] += p * v[s, D * g : D * g + D]
    expected = joined @ attention.out_proj.weight.data + attention.out_proj.bias.data
    np.testing.assert_allclose(attention(x[None], causal=True).data[0], expected, atol=1e-12)


def test_an_encoders_window_looks_both_ways_and_beside_a_mask_only_where_both_allow(rng):
    attention = shaken(MultiHeadAttention(8, 2, window=Window(2, 1)), rng)
    x, mask = rng.normal(size=(1, 6, 8)), np.array([0, 1, 1, 1, 1, 0], bool)[None, None, None]
    near = np.abs(np.subtract.outer(np.arange(6), np.arange(6))) < 2
    near[:, 1] = True  # the first one that the mask shows
    plain = shaken(MultiHeadAttention(8, 2), rng)
    plain.load_state_dict(attention.state_dict())
    np.testing.assert_allclose(attention(x, mask=mask).data, plain(x, mask=mask & near).data, atol=1e-13)
    added = rng.normal(size=(6, 6))
    near[:, 1], near[:, 0] = np.abs(np.arange(6) - 1) < 2, True
    np.testing.assert_allclose(attention(x, mask=added).data, plain(x, mask=np.where(near, added, -np.inf)).data, atol=1e-13)


def test_with_a_window_of_the_whole_text_nothing_changes(rng):
    window, plain = MultiHeadAttention(8, 2, window=Window(9)), MultiHeadAttention(8, 2)
    plain.load_state_dict(window.state_dict())
    x = rng.normal(size=(2, 9, 8)).astype(np.float32)
    np.testing.assert_allclose(window(x, causal=True).data, plain(x, causal=True).data, atol=1e-6)


def test_information_travels_one_window_for_each_layer(rng):
    model = shaken(GPT(11, 8, 2, 3, 16, attention={"name": "full", "window": 3}), rng).eval()
    ids = rng.integers(0, 11, (1, 16))
    other = ids.copy()
    other[0, 2] = (ids[0, 2] + 1) % 11
    moved = np.abs(model(ids).data - model(other).data).max(axis=-1)[0] > 0
    assert moved.tolist() == [False] * 2 + [True] * 7 + [False] * 7  # its own place and 3 · 2 places more


@pytest.mark.parametrize("wrong", [(0, 0), (3, -1), (2.5, 0), (True, 0)])
def test_windows_that_see_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="size of 1 or more"):
        Window(*wrong)


def test_a_window_has_no_place_in_cross_attention(rng):
    attention = MultiHeadAttention(8, 2, window=Window(3))
    with pytest.raises(ValueError, match="self-attention"):
        attention(rng.normal(size=(1, 3, 8)), rng.normal(size=(1, 4, 8)))
    with pytest.raises(ValueError, match="learned mask"):
        attention(rng.normal(size=(1, 3, 8)), mask=Tensor(np.zeros((3, 3)), requires_grad=True))


# Rotary angles --------------------------------------------------------------------------------------------------------


THETA = 10_000.0 ** (-2 * np.arange(8) / 16)
STRETCHES = {
    "interpolated": (Interpolated(4.0), THETA / 4),
    "raised base": (RaisedBase(4.0), np.array([(10_000 * 4 ** (16 / 14)) ** (-2 * i / 16) for i in range(8)])),
    "dynamic": (RaisedBase.dynamic(2.0, 64, 160), np.array([(10_000 * 4.0 ** (16 / 14)) ** (-2 * i / 16) for i in range(8)])),
}


@pytest.mark.parametrize("name", STRETCHES)
def test_a_stretch_follows_its_formula(name):
    stretch, expected = STRETCHES[name]
    np.testing.assert_allclose(stretch(THETA), expected, rtol=1e-12)


def test_interpolated_angles_at_four_times_the_length_are_those_of_training(rng):
    x = rng.normal(size=(1, 2, 8, 16))
    plain, slow = RotaryPositions(16), RotaryPositions(16, stretch=Interpolated(4.0))
    for t in range(8):
        np.testing.assert_allclose(slow.rotate(x[:, :, :1], 4 * t).data, plain.rotate(x[:, :, :1], t).data, atol=1e-12)


def test_a_raised_base_leaves_the_fastest_pair_and_slows_the_slowest_by_the_factor():
    slowed = THETA / RaisedBase(8.0)(THETA)
    assert slowed[0] == 1 and slowed[-1] == pytest.approx(8) and (np.diff(slowed) > 0).all()


def test_yarn_keeps_what_turns_often_and_slows_what_never_turns_once():
    stretch = Yarn(8.0, 512)
    turns, slowed = 512 * THETA / (2 * np.pi), THETA / stretch(THETA)
    assert (slowed[turns > 32] == 1).all() and slowed[turns < 0.3] == pytest.approx(8)
    assert (np.diff(slowed) >= 0).all() and ((slowed > 1) & (slowed < 8)).any()
    assert stretch.amplitude == pytest.approx(0.1 * math.log(8) + 1) and Yarn(1.0, 64).amplitude == 1


def test_an_amplitude_lengthens_queries_and_keys_and_their_scores_by_its_square(rng):
    stretch = Yarn(4.0, 32)
    x, positions = rng.normal(size=(1, 1, 5, 16)), RotaryPositions(16, stretch=stretch)
    y = positions.rotate(x, 3).data
    for t in range(5):
        np.testing.assert_allclose(y[0, 0, t], turned(x[0, 0, t], 3 + t, stretch(THETA), stretch.amplitude), atol=1e-12)
    np.testing.assert_allclose((y * y).sum(axis=-1), stretch.amplitude**2 * (x * x).sum(axis=-1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Interpolated(0), lambda: RaisedBase(-1), lambda: Yarn(math.inf, 64), lambda: Yarn(4, 0), lambda: Yarn(4, 64, 1, 32),
        lambda: Yarn("4", 8),
    ],
)  # fmt: skip
def test_stretches_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


# Latent attention -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query_dim", [None, 5])
def test_latent_attention_equals_a_loop_over_its_formula(rng, query_dim):
    H, D, L, R, Dv, T = 2, 3, 4, 2, 5, 6
    attention = LatentAttention(
        8, H, positions=RotaryPositions(R), latent_dim=L, query_dim=query_dim, head_dim=D, value_dim=Dv
    )
    p = {name: q.data for name, q in shaken(attention, rng).named_parameters()}
    theta = 10_000.0 ** (-2 * np.arange(R // 2) / R)
    x, joined = rng.normal(size=(T, 8)), np.zeros((T, H * Dv))
    latent = [rms(row @ p["kv_down.weight"] + p["kv_down.bias"], p["kv_norm.weight"]) for row in x]
    shared = [turned(row @ p["k_rotary.weight"] + p["k_rotary.bias"], s, theta) for s, row in enumerate(x)]
    for t in range(T):
        z = x[t] if query_dim is None else rms(x[t] @ p["q_down.weight"] + p["q_down.bias"], p["q_norm.weight"])
        q = (z @ p["q_proj.weight"]).reshape(H, D + R)
        for h in range(H):
            scores = [
                q[h, :D] @ (latent[s] @ p["k_up.weight"])[h * D : h * D + D] + turned(q[h, D:], t, theta) @ shared[s] for s in range(t + 1)
            ]
            for w, s in zip(softmax(np.array(scores) / math.sqrt(D + R)), range(t + 1), strict=True):
                joined[t, h * Dv : h * Dv + Dv] += w * (latent[s] @ p["v_up.weight"])[h * Dv : h * Dv + Dv]
    expected = joined @ p["out_proj.weight"] + p["out_proj.bias"]
    np.testing.assert_allclose(attention(x[None], causal=True).data[0], expected, atol=1e-12)


def test_absorbed_and_expanded_are_the_same_function_and_have_the_same_maps(rng):
    attention = shaken(LatentAttention(8, 2, positions=RotaryPositions(4), latent_dim=3), rng)
    x = rng.normal(size=(2, 6, 8))
    with no_grad(), attention_maps(attention) as maps:
        whole = attention(x, causal=True).data
        cached = attention(x, causal=True, cache=KVCache(6)).data
    np.testing.assert_allclose(cached, whole, atol=1e-12)
    (expanded, absorbed) = maps[""]
    assert expanded.shape == (2, 2, 6, 6)
    np.testing.assert_allclose(absorbed, expanded, atol=1e-12)


def test_a_position_turned_into_the_content_could_not_be_absorbed(rng):
    """R_t W R_s does depend on both places, and not on the distance alone: hence the decoupled part."""
    W = rng.normal(size=(4, 4))
    R = [np.array([turned(e, t, 10_000.0 ** (-2 * np.arange(2) / 4)) for e in np.eye(4)]) for t in range(6)]
    between = [R[t] @ W @ R[t + 2].T for t in (0, 3)]  # the same distance with a matrix in between
    assert np.abs(between[0] - between[1]).max() > 0.1
    np.testing.assert_allclose(R[0] @ R[2].T, R[3] @ R[5].T, atol=1e-12)


def test_latent_attention_refuses_what_it_has_not(rng):
    with pytest.raises(ValueError, match="give latent_dim instead"):
        LatentAttention(8, 4, 2)
    with pytest.raises(ValueError, match="1, 2, 4, 8 would"):
        LatentAttention(8, 3)
    with pytest.raises(ValueError, match="use MultiHeadAttention"):
        LatentAttention(8, 2)(rng.normal(size=(1, 3, 8)), rng.normal(size=(1, 4, 8)))


# Experts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared_dim", [0, 4])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_experts_equal_a_loop_over_tokens_and_their_experts(rng, k, shared_dim):
    experts = shaken(Experts(6, 4, num_experts=5, per_token=k, shared_dim=shared_dim), rng)
    p = {name: q.data for name, q in experts.named_parameters()}
    x = rng.normal(size=(2, 3, 6))
    expected = np.zeros((2, 3, 6))
    for b, t in np.ndindex(2, 3):
        P = softmax(x[b, t] @ p["router.weight"])
        chosen = sorted(range(5), key=lambda e: -P[e])[:k]
        for e in chosen:
            weight = P[e] / sum(P[i] for i in chosen) if k > 1 else P[e]
            expected[b, t] += weight * ((silu(x[b, t] @ p["gate"][e]) * (x[b, t] @ p["up"][e])) @ p["down"][e])
        if shared_dim:
            expected[b, t] += (silu(x[b, t] @ p["shared.gate.weight"]) * (x[b, t] @ p["shared.up.weight"])) @ p["shared.down.weight"]
    np.testing.assert_allclose(experts(x).data, expected, atol=1e-12)


def test_an_expert_that_nobody_chooses_gets_no_gradient_and_every_router_column_does(rng):
    experts = Experts(6, 4, num_experts=4, per_token=1)
    experts.router.weight.data[:, 3] = 0
    experts.router.weight.data[0, 3] = -100.0
    x = np.abs(rng.normal(size=(5, 6))).astype(np.float32)
    experts(x).sum().backward()
    for p in (experts.gate, experts.up, experts.down):
        assert not p.grad.data[3].any() and p.grad.data.any()
    assert np.abs(experts.router.weight.grad.data[:, :3]).max() > 0


def test_one_expert_is_a_swiglu_and_the_router_of_renormalised_weights_learns_nothing(rng):
    experts = Experts(6, 4, num_experts=1, per_token=1)
    x = rng.normal(size=(5, 6)).astype(np.float32)
    gate, up, down = (p.data[0] for p in (experts.gate, experts.up, experts.down))
    np.testing.assert_allclose(experts(x).data, (silu(x @ gate) * (x @ up)) @ down, atol=1e-5)


def test_the_load_balance_loss_is_k_when_even_and_e_when_everyone_chooses_the_same(rng):
    even = np.full((8, 4), 0.25)
    chosen = np.array([[i % 4, (i + 1) % 4] for i in range(8)])
    assert load_balance(Routing(Tensor(even), chosen)).item() == pytest.approx(2)
    certain = np.zeros((8, 4))
    certain[:, 2] = 1
    assert load_balance(Routing(Tensor(certain), np.full((8, 1), 2))).item() == pytest.approx(4)
    P = rng.dirichlet(np.ones(4), 8)
    top = np.argsort(-P, axis=1)[:, :2]
    expected = 4 * sum((top == e).any(axis=1).mean() * P[:, e].mean() for e in range(4))
    assert load_balance(Routing(Tensor(P), top)).item() == pytest.approx(expected)


def test_descending_the_load_balance_loss_empties_the_crowded_expert(rng):
    experts = shaken(Experts(6, 4, num_experts=4, per_token=1), rng)
    experts.router.weight.data[0] += [4.0, 0, 0, 0]
    x = np.concatenate([np.ones((64, 1)), rng.normal(size=(64, 5))], axis=1)
    shares = []
    for _ in range(200):
        with routings(experts) as kept:
            experts(x)
        shares.append(np.bincount(kept[""][0].chosen.ravel(), minlength=4).max() / 64)
        experts.zero_grad()
        imbalance(kept).backward()
        experts.router.weight.data = experts.router.weight.data - 0.5 * experts.router.weight.grad.data
    assert shares[0] > 0.6 and shares[-1] < 0.4


def test_routings_are_kept_within_and_not_without(rng):
    model = GPT(7, 8, 2, 2, 6, ffn="experts")
    with routings(model) as kept:
        model([[1, 2, 3]])
        model([[1, 2]])
    assert list(kept) == ["layers.0.ffn", "layers.1.ffn"] and all(len(calls) == 2 for calls in kept.values())
    assert kept["layers.0.ffn"][0].chosen.shape == (3, 2) and kept["layers.0.ffn"][1].probabilities.shape == (2, 8)
    model([[1, 2, 3]])
    assert len(kept["layers.0.ffn"]) == 2 and model.layers[0].ffn.kept_routings is None
    with routings(GPT(7, 8, 2, 1, 6)) as none, pytest.raises(ValueError, match="ffn='experts'"):
        imbalance(none)


def test_experts_out_of_range_are_refused():
    for wrong in ({"per_token": 0}, {"num_experts": 2, "per_token": 3}):
        with pytest.raises(ValueError, match="expected 1 up to all"):
            Experts(8, **wrong)
    with pytest.raises(ValueError, match="0 or more"):
        Balanced(None, -1.0)


@pytest.mark.parametrize("counts", [[2, 2], [5, -1], [2.0, 2.0], [[4]]])
def test_groups_must_hold_every_row_once(rng, counts):
    with pytest.raises(ValueError, match=r"grouped_linear: .*expected"):
        mg.grouped_linear(rng.normal(size=(4, 3)) if counts != [2, 2] else rng.normal(size=(5, 3)), rng.normal(size=(2, 3, 2)), np.array(counts))


def test_grouped_products_have_second_derivatives(rng):
    x, w = rng.normal(size=(5, 3)), rng.normal(size=(3, 3, 2))
    assert gradcheck(lambda x, w: mg.grouped_linear(x, w, np.array([2, 0, 3])), x, w)
    assert mg.gradgradcheck(lambda x, w: mg.grouped_linear(x, w, np.array([2, 0, 3])) ** 3, x, w)


# In a model -----------------------------------------------------------------------------------------------------------


@every_option
def test_cached_logits_equal_uncached_ones(rng, options):
    model = shaken(GPT(11, 16, 4, 2, 24, **options), rng).eval()
    ids = rng.integers(0, 11, (2, 24))
    whole = model(ids).data
    for chunks in ([1] * 24, [24], [7, 5, 1, 1, 1, 9], [20, 1, 1, 1, 1]):
        cache, parts = KVCache(24), []
        with no_grad():
            for size in chunks:
                parts.append(model(ids[:, cache.length : cache.length + size], cache=cache).data)
        np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-9)


@every_option
def test_a_future_token_does_not_change_earlier_logits(rng, options):
    model = shaken(GPT(11, 16, 4, 2, 12, **options), rng).eval()
    ids = rng.integers(0, 11, (1, 12))
    other = ids.copy()
    other[0, 7] = (ids[0, 7] + 1) % 11
    a, b = model(ids).data[0], model(other).data[0]
    np.testing.assert_allclose(a[:7], b[:7], atol=1e-12)
    assert np.abs(a[7] - b[7]).max() > 1e-6


@every_option
@pytest.mark.slow
def test_generation_is_the_same_cached_uncached_in_a_batch_with_padding_by_guessing_and_by_beams(options):
    model = tiny(context=9, **options)
    prompts = [[1, 2, 3, 4, 5], [6], [2, 4]]
    alone = [generate(model, prompt, 20, temperature=0) for prompt in prompts]
    for row, prompt in zip(alone, prompts, strict=True):
        np.testing.assert_array_equal(row, generate(model, prompt, 20, temperature=0, use_cache=False))
    for row, other in zip(generate(model, prompts, 20, temperature=0), alone, strict=True):
        np.testing.assert_array_equal(row, other)
    draft = tiny(context=9, seed=3, **options)
    for row, prompt in zip(alone, prompts, strict=True):
        np.testing.assert_array_equal(speculative_generate(model, draft, prompt, 20, temperature=0, lookahead=3).ids, row)
    np.testing.assert_array_equal(beam_search(model, [1, 2], 12, 1), generate(model, [1, 2], 12, temperature=0))
    beams = beam_search(model, [1, 2], 7, 3)
    assert len(beams) == 9


@every_option
def test_a_run_comes_back_from_its_folder(options, tmp_path, rng):
    tokenizer = CharTokenizer("abcdefgh")
    sizes = {"vocab_size": 8, "embedding_dim": 8, "num_heads": 2, "num_layers": 2, "context_length": 9, **options}
    model = shaken(build_model({"model": sizes}), rng).astype(np.float32)
    folder = RunFolder(tmp_path / "run")
    folder.create({"model": sizes, "training": {}}, tokenizer)
    folder.save_best(model.state_dict(), 1)
    back, _, config = RunFolder(tmp_path / "run").load_model()
    assert config["model"] == json.loads(json.dumps(sizes))
    ids = rng.integers(0, 8, (2, 9))
    np.testing.assert_array_equal(back(ids).data, model.eval()(ids).data)


@pytest.mark.slow
@every_option
def test_a_training_step_as_a_program_has_the_same_gradients_on_every_batch(options, rng):
    model = GPT(11, 8, 2, 2, 8, **options)
    text = rng.integers(0, 11, 200)
    data = LanguageModelling(text[:150], text[150:], 8)
    objective = Balanced(data, 0.1) if "ffn" in options else data
    batches = [objective.batch(rng, 4) for _ in range(4)]
    step = mg.program(lambda batch: objective.loss(model, batch), model)
    for batch in batches:
        model.zero_grad()
        fast = step(batch).item()
        grads = [p.grad.data.copy() for p in model.parameters()]
        model.zero_grad()
        loss = objective.loss(model, batch)
        loss.backward()
        assert fast == pytest.approx(loss.item(), rel=1e-6)
        for (name, p), g in zip(model.named_parameters(), grads, strict=True):
            np.testing.assert_allclose(g, p.grad.data, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({}, 2 * 16),
        ({"num_kv_heads": 2}, 2 * 8),
        ({"num_kv_heads": 1}, 2 * 4),
        ({"attention": {"name": "latent", "latent_dim": 6}, "positions": {"name": "rotary", "head_dim": 2}}, 6 + 2),
    ],
)
def test_the_cache_grows_by_what_the_formula_says(options, numbers):
    model, sizes, cache = GPT(7, 16, 4, 3, 40, **options).eval(), [], KVCache(40)
    with no_grad():
        for token in range(30):
            model([[token % 7]], cache=cache)
            sizes.append(cache.nbytes)
    assert set(np.diff(sizes)) == {3 * numbers * 4} and sizes[0] == 3 * numbers * 4


def test_the_cache_of_a_window_stops_growing():
    model, sizes, cache = GPT(7, 16, 4, 3, 60, attention={"name": "full", "window": 8, "sinks": 2}).eval(), [], KVCache(60)
    with no_grad():
        model([[1, 2, 3] * 10], cache=cache)
        for token in range(30):
            model([[token % 7]], cache=cache)
            sizes.append(cache.nbytes)
    assert set(sizes) == {3 * 2 * 16 * 4 * (8 + 2)}
    assert cache.length == 60


def test_a_cache_that_let_go_of_what_is_asked_for_forgets_all_and_one_that_did_not_goes_back(rng):
    model = shaken(GPT(7, 8, 2, 1, 30, attention={"name": "full", "window": 4, "sinks": 1}), rng).eval()
    ids = rng.integers(0, 7, (1, 20))
    whole = model(ids).data
    with no_grad():
        cache = KVCache(30)
        model(ids[:, :10], cache=cache)
        model(ids[:, 10:14], cache=cache)
        cache.truncate(11)
        assert cache.length == 11
        np.testing.assert_allclose(model(ids[:, 11:20], cache=cache).data, whole[:, 11:20], atol=1e-12)
        cache.truncate(5)
        assert cache.length == 0 and cache.nbytes == 0
        np.testing.assert_allclose(model(ids, cache=cache).data, whole, atol=1e-12)


def test_options_that_do_not_exist_are_named():
    for options, words in (
        ({"attention": "flash"}, r"attention='flash'; expected one of full, latent"),
        ({"attention": []}, "one kind or more"),
        ({"attention": {"name": "latent", "width": 3}}, r"attention='latent' with width=3: .*width"),
        ({"attention": {"name": "full", "sinks": 3}}, "no window"),
        ({"attention": {"name": "full", "norm": "batch"}}, "norm='batch'; expected one of layer, rms"),
        ({"ffn": {"name": "experts", "experts": 3}}, r"ffn='experts' with experts=3"),
        ({"ffn": {"num_experts": 3}}, r"ffn=None; expected one of"),
        ({"positions": {"name": "rotary", "stretch": {"name": "rubber"}}}, "stretch='rubber'; expected one of interpolated"),
        ({"attention": LatentAttention(8, 2)}, "pass what makes one"),
    ):
        with pytest.raises(ValueError, match=words):
            GPT(7, 8, 2, 1, 6, **options)


# As the transformers library has it ------------------------------------------------------------------------------------

SIZES = {
    "vocab_size": 17, "hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "intermediate_size": 12,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
    "attn_implementation": "eager", "experts_implementation": "eager",
}  # fmt: skip
IDS = np.random.default_rng(1).integers(0, 17, (2, 24))


def theirs(kind, **settings):
    """A tiny random model of the library, its state, and its logits."""
    torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **settings})
    model = getattr(transformers, f"{kind}ForCausalLM")(config).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.3 + (1.0 if p.ndim == 1 else 0.0))
        logits = model(torch.from_numpy(IDS)).logits.numpy()
    return model, {name: p.numpy() for name, p in model.state_dict().items()}, logits


def loaded(state, block, **options):
    """Our GPT with those weights; ``block`` gives the arrays of one layer that are not everyone's."""
    settings = {"norm": "rms", "ffn": "swiglu", "positions": "rotary", "bias": False, "tie_embeddings": False, "num_kv_heads": 2, "ffn_dim": 12}
    embedding, norm, output = (state[name] for name in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"))
    model = GPT(17, embedding.shape[1], 4, 2, 64, **{**settings, **options}).astype(np.float64).eval()
    ours = {"token_embedding.weight": embedding, "norm.weight": norm, "output.weight": output.T}
    for i in range(2):
        layer = {name.removeprefix(f"model.layers.{i}."): array for name, array in state.items() if name.startswith(f"model.layers.{i}.")}
        one = {"norm1.weight": layer["input_layernorm.weight"], "norm2.weight": layer["post_attention_layernorm.weight"], **block(layer)}
        ours.update({f"layers.{i}.{name}": array for name, array in one.items()})
    return model.load_state_dict(ours)


def projections(layer):
    names = {"q_proj": "q_proj", "k_proj": "k_proj", "v_proj": "v_proj", "o_proj": "out_proj"}
    return {f"self_attention.{ours}.weight": layer[f"self_attn.{name}.weight"].T for name, ours in names.items()}


def mlp(layer):
    return {f"ffn.{part}.weight": layer[f"mlp.{part}_proj.weight"].T for part in ("gate", "up", "down")}


def close(ours, logits):
    np.testing.assert_allclose(ours(IDS).data, logits, atol=2e-6 * np.abs(logits).max())  # they keep angles in single precision


@pytest.mark.weights
@pytest.mark.parametrize(
    ("rope", "length", "stretch"),
    [
        ({"rope_type": "linear", "factor": 4.0}, 64, {"name": "interpolated", "factor": 4.0}),
        ({"rope_type": "dynamic", "factor": 4.0}, 64, None),
        ({"rope_type": "dynamic", "factor": 4.0}, 16, {"name": "raised base", "factor": 3.0}),  # 4 · 24/16 − 3
        (
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}, 64,
            {"name": "yarn", "factor": 4.0, "original_length": 16},
        ),
        (
            {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 40, "beta_fast": 4.0, "beta_slow": 0.5}, 80,
            {"name": "yarn", "factor": 2.0, "original_length": 40, "fast": 4.0, "slow": 0.5},
        ),
    ],
    ids=["linear", "dynamic within", "dynamic beyond", "yarn", "yarn, other turns"],
)  # fmt: skip
def test_stretched_rotation_as_in_llama(rope, length, stretch):
    rope = {"rope_theta": 100.0, **rope}
    _, state, logits = theirs("Llama", max_position_embeddings=length, rope_parameters=rope, hidden_size=32)
    positions = {"name": "rotary", "base": 100.0, "stretch": stretch}
    close(loaded(state, lambda layer: {**projections(layer), **mlp(layer)}, positions=positions), logits)


@pytest.mark.weights
def test_normed_queries_and_keys_as_in_qwen3():
    _, state, logits = theirs("Qwen3", head_dim=4, rope_parameters={"rope_type": "default", "rope_theta": 1e4})
    norms = lambda layer: {f"self_attention.{n}_norm.weight": layer[f"self_attn.{n}_norm.weight"] for n in "qk"}  # noqa: E731
    close(loaded(state, lambda layer: {**projections(layer), **mlp(layer), **norms(layer)}, attention={"name": "full", "norm": "rms"}), logits)


@pytest.mark.weights
@pytest.mark.parametrize("window", [1, 5, 24])
def test_a_window_as_in_mistral(window):
    _, state, logits = theirs("Mistral", sliding_window=window, rope_parameters={"rope_type": "default", "rope_theta": 1e4})
    close(loaded(state, lambda layer: {**projections(layer), **mlp(layer)}, attention={"name": "full", "window": window}), logits)


@pytest.mark.weights
@pytest.mark.parametrize("k", [2, 3])
def test_experts_and_their_balance_as_in_mixtral(k):
    torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")
    rope = {"rope_type": "default", "rope_theta": 1e6}
    model, state, logits = theirs("Mixtral", num_local_experts=5, num_experts_per_tok=k, sliding_window=None, rope_parameters=rope)

    def experts(layer):
        (both,) = [a for name, a in layer.items() if name.endswith("experts.gate_up_proj")]  # (E, 2F, C)
        (down,) = [a for name, a in layer.items() if name.endswith("experts.down_proj")]
        (router,) = [a for name, a in layer.items() if name.endswith("gate.weight")]
        gate, up = np.split(both.transpose(0, 2, 1), 2, axis=2)
        return {"ffn.router.weight": router.T, "ffn.gate": gate, "ffn.up": up, "ffn.down": down.transpose(0, 2, 1)}

    parts = {"positions": {"name": "rotary", "base": 1e6}, "ffn": {"name": "experts", "num_experts": 5, "per_token": k}}
    ours = loaded(state, lambda layer: {**projections(layer), **experts(layer)}, **parts)
    with routings(ours) as kept:
        close(ours, logits)
    with torch.no_grad():
        asked = model(torch.from_numpy(IDS), output_router_logits=True).aux_loss.item()
    P, chosen = (np.concatenate(arrays) for arrays in zip(*((r.probabilities.data, r.chosen) for (r,) in kept.values()), strict=True))
    assert load_balance(Routing(Tensor(P), chosen)).item() == pytest.approx(asked, rel=1e-5)


@pytest.mark.weights
@pytest.mark.parametrize("query_dim", [None, 6])
def test_latent_attention_as_in_deepseek(query_dim):
    settings = {
        "q_lora_rank": query_dim, "kv_lora_rank": 5, "qk_rope_head_dim": 4, "qk_nope_head_dim": 3, "v_head_dim": 6, "num_key_value_heads": 4,
        "first_k_dense_replace": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, "rope_interleave": True,
    }  # fmt: skip
    _, state, logits = theirs("DeepseekV3", **settings)

    def attention(layer):
        both = layer["self_attn.kv_a_proj_with_mqa.weight"].T
        up = layer["self_attn.kv_b_proj.weight"].T.reshape(5, 4, 9)
        q = {"q_proj": "q_proj.weight"} if query_dim is None else {"q_down": "q_a_proj.weight", "q_proj": "q_b_proj.weight"}
        ours = {f"{name}.weight": layer[f"self_attn.{their}"].T for name, their in {**q, "out_proj": "o_proj.weight"}.items()}
        ours |= {"kv_down.weight": both[:, :5], "k_rotary.weight": both[:, 5:], "kv_norm.weight": layer["self_attn.kv_a_layernorm.weight"]}
        ours |= {"k_up.weight": up[..., :3].reshape(5, 12), "v_up.weight": up[..., 3:].reshape(5, 24)}
        if query_dim is not None:
            ours["q_norm.weight"] = layer["self_attn.q_a_layernorm.weight"]
        return {f"self_attention.{name}": array for name, array in ours.items()}

    ours = loaded(
        state, lambda layer: {**attention(layer), **mlp(layer)}, positions={"name": "rotary", "head_dim": 4, "interleaved": True}, num_kv_heads=None,
        attention={"name": "latent", "latent_dim": 5, "query_dim": query_dim, "head_dim": 3, "value_dim": 6},
    )  # fmt: skip
    close(ours, logits)
    cache = KVCache(24)
    with no_grad():
        parts = [ours(IDS[:, i : i + 1], cache=cache).data for i in range(24)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), logits, atol=2e-6 * np.abs(logits).max())
    assert cache.nbytes == 2 * 2 * 24 * (5 + 4) * 8


def test_llamas_own_stretch_can_be_named():
    stretch = {"name": "llama 3", "factor": 8.0, "low": 1.0, "high": 4.0, "original_length": 8}
    model = GPT(7, 8, 2, 1, 16, positions={"name": "rotary", "stretch": stretch})
    assert model.positions.stretch == StretchedRotation(8.0, 1.0, 4.0, 8)
    assert isinstance(GPT(7, 8, 2, 1, 16, positions="alibi").positions, AlibiBias)


RECORDED = {
    "swiglu": (lambda: SwiGLU(8, 5), {}),
    "window_and_sink": (lambda: MultiHeadAttention(8, 2, bias=False, window=Window(3, 1)), {"causal": True}),
    "latent_attention": (lambda: LatentAttention(8, 2, bias=False, positions=RotaryPositions(2, interleaved=True), latent_dim=3), {"causal": True}),
    "experts": (lambda: Experts(8, 5, num_experts=4), {}),
}


@pytest.mark.parametrize("name", RECORDED)
def test_outputs_and_gradients_are_those_that_were_recorded_of_pytorch_and_the_transformers_library(name):
    with np.load(Path(__file__).parent / "reference" / "todays_block.npz", allow_pickle=False) as file:
        case = {key.partition("/")[2]: file[key] for key in file.files if key.startswith(name + "/")}
    make, options = RECORDED[name]
    module, x = make().astype(np.float64), Tensor(case["input.x"], requires_grad=True)
    for key, p in module.named_parameters():
        p.data = case["param." + key.removesuffix(".weight").removesuffix("_proj")]
    y = module(x, **options)
    y.backward(case["upstream"])
    tolerance = 1e-6 if name in ("latent_attention", "experts") else 1e-12  # angles and routers of the library are in single precision
    np.testing.assert_allclose(y.data, case["output"], atol=tolerance)
    np.testing.assert_allclose(x.grad.data, case["grad.input.x"], atol=tolerance)
    for key, p in module.named_parameters():
        np.testing.assert_allclose(p.grad.data, case["grad.param." + key.removesuffix(".weight").removesuffix("_proj")], atol=tolerance, err_msg=key)


@pytest.mark.slow
def test_the_command_trains_experts_with_their_penalty_and_generates(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 40, encoding="utf-8")
    out = tmp_path / "run"
    sizes = ["--layers", "1", "--width", "16", "--heads", "2", "--context", "16", "--batch", "4", "--steps", "6", "--evaluate-every", "3"]
    with pytest.MonkeyPatch.context() as patch:
        seen = []
        patch.setattr("transformer.training.objectives.imbalance", lambda kept: seen.append(kept) or imbalance(kept))
        assert main(["train", "--text", str(text), "--out", str(out), "--ffn", "experts", "--positions", "rotary", *sizes]) == 0
    assert seen
    capsys.readouterr()
    assert main(["generate", str(out), "--tokens", "12", "--prompt", "the "]) == 0
    assert len(capsys.readouterr().out.strip("\n")) >= 12
