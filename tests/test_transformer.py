"""The Transformer's parts and models: each test fails on a bug that was found in a published project, or guards a promise."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, no_grad
from minigrad.byhand.gradcheck import gradcheck
from transformer import (
    GPT,
    AlibiBias,
    Classifier,
    Decoder,
    Encoder,
    EncoderLayer,
    FeedForward,
    KVCache,
    LayerNorm,
    MultiHeadAttention,
    RotaryPositions,
    SinusoidalPositions,
    Transformer,
    attention_maps,
    causal_mask,
    layers,
    padding_mask,
    scaled_dot_product_attention,
)
from transformer.checks import cases, check_module, shaken
from transformer.data.corpora import batch
from transformer.models.gpt import FEED_FORWARDS, NORMS, POSITIONS
from transformer.positions import sinusoids

SCHEMES = list(POSITIONS)


@pytest.fixture(autouse=True)
def same_weights_each_time():
    mg.manual_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def numpy_softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# Scaled dot-product attention -----------------------------------------------------------------------------------------


def test_scores_are_divided_by_the_root_of_the_head_width_not_of_the_model_width(rng):
    attention = shaken(MultiHeadAttention(12, 3), rng)
    x = rng.normal(size=(2, 5, 12))
    q, k, v = (x @ p.weight.data + p.bias.data for p in (attention.q_proj, attention.k_proj, attention.v_proj))
    heads = []
    for h in range(3):
        part = slice(4 * h, 4 * h + 4)
        p = numpy_softmax(q[..., part] @ k[..., part].swapaxes(-1, -2) / math.sqrt(4))
        heads.append(p @ v[..., part])
    expected = np.concatenate(heads, -1) @ attention.out_proj.weight.data + attention.out_proj.bias.data
    np.testing.assert_allclose(attention(x).data, expected, rtol=1e-12, atol=1e-12)


def test_a_padding_mask_removes_columns_so_that_padded_keys_get_nothing_and_padded_queries_still_look(rng):
    q, k, v = (rng.normal(size=(2, 3, 4, 6)) for _ in range(3))
    real = np.array([[1, 1, 1, 0], [1, 1, 0, 0]])
    _, weights = scaled_dot_product_attention(q, k, v, padding_mask(real), return_weights=True)
    weights = weights.data
    assert (weights[0, :, :, 3] == 0).all() and (weights[1, :, :, 2:] == 0).all()
    assert (weights[0, :, :, :3] > 0).all() and (weights[1, :, :, :2] > 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_query_that_may_attend_to_nothing_gets_zeros_and_finite_gradients(rng, dtype):
    q, k, v = (Tensor(rng.normal(size=(1, 2, 3, 4)), requires_grad=True, dtype=dtype) for _ in range(3))
    mask = np.ones((3, 3), bool)
    mask[1] = False
    out, weights = scaled_dot_product_attention(q, k, v, mask, return_weights=True)
    fused = scaled_dot_product_attention(q, k, v, mask)
    for result in (out, fused):
        assert (result.data[:, :, 1] == 0).all() and np.isfinite(result.data).all()
    assert (weights.data[:, :, 1] == 0).all()
    fused.sum().backward()
    assert all(np.isfinite(np.asarray(t.grad)).all() for t in (q, k, v))
    assert (np.asarray(q.grad)[:, :, 1] == 0).all()


def test_a_mask_forbids_exactly_even_where_scores_are_huge(rng):
    q = np.full((1, 1, 2, 4), 400.0)
    k = np.stack([np.full(4, -400.0), np.full(4, 400.0)])[None, None]
    v = np.array([[1.0], [2.0]])[None, None]
    out = scaled_dot_product_attention(q, k, v, np.array([[True, False], [True, False]]))  # −10000 would lose against these scores
    assert (out.data == 1.0).all()


def test_masks_combine_and_boolean_additive_and_causal_say_the_same(rng):
    q, k, v = (rng.normal(size=(2, 2, 4, 3)) for _ in range(3))
    real = padding_mask([[1, 1, 1, 0], [1, 1, 1, 1]])
    both = real & causal_mask(4)
    a = scaled_dot_product_attention(q, k, v, both).data
    b = scaled_dot_product_attention(q, k, v, np.where(both, 0.0, -np.inf)).data
    c = scaled_dot_product_attention(q, k, v, real, causal=True).data
    np.testing.assert_allclose(a, b)
    np.testing.assert_allclose(a, c)


def test_the_causal_mask_aligns_the_last_query_with_the_last_key():
    assert causal_mask(2, 4).astype(int).tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert causal_mask(3).astype(int).tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize("wrong", [np.array([[3, 5, 0]]), np.array([1, 1, 0]), np.array([[0.5, 1.0]])])
def test_a_padding_mask_refuses_token_ids_and_other_shapes(wrong):
    with pytest.raises(ValueError, match="padding_mask"):
        padding_mask(wrong)


def test_grouped_heads_equal_full_heads_whose_keys_and_values_are_repeated(rng):
    grouped, full = shaken(MultiHeadAttention(12, 6, 2), rng), shaken(MultiHeadAttention(12, 6), rng)
    for name in ("q_proj", "out_proj"):
        getattr(full, name).load_state_dict(getattr(grouped, name).state_dict())
    for name in ("k_proj", "v_proj"):
        small, large = getattr(grouped, name), getattr(full, name)
        large.weight.data = np.repeat(small.weight.data.reshape(12, 2, 2), 3, axis=1).reshape(12, 12)
        large.bias.data = np.repeat(small.bias.data.reshape(2, 2), 3, axis=0).reshape(12)
    x = rng.normal(size=(2, 5, 12))
    np.testing.assert_allclose(grouped(x, causal=True).data, full(x, causal=True).data, rtol=1e-12, atol=1e-12)


def test_heads_that_do_not_divide_are_refused_with_what_would():
    with pytest.raises(ValueError, match=r"embedding_dim=10 .* num_heads=4; 1, 2, 5, 10 would"):
        MultiHeadAttention(10, 4)
    with pytest.raises(ValueError, match="no multiple of num_kv_heads=3"):
        MultiHeadAttention(8, 4, 3)


def test_attention_maps_give_each_layer_and_head_rows_that_sum_to_one(rng):
    model = shaken(GPT(7, 8, 2, 3, 6), rng).eval()
    ids = rng.integers(0, 7, (2, 5))
    plain = model(ids).data
    with attention_maps(model) as maps:
        watched = model(ids).data
    assert len(maps) == 3
    for calls in maps.values():
        (weights,) = calls
        assert weights.shape == (2, 2, 5, 5)
        np.testing.assert_allclose(weights.sum(-1), 1)
        assert (np.triu(weights, 1) == 0).all()
    np.testing.assert_allclose(watched, plain, rtol=1e-10)
    model(ids)
    assert all(len(calls) == 1 for calls in maps.values())


def test_attention_maps_of_cross_attention_have_target_rows_and_source_columns(rng):
    model = Transformer(7, 8, 2, 1).eval()
    with attention_maps(model) as maps:
        model(rng.integers(0, 7, (1, 5)), target_ids=rng.integers(0, 7, (1, 3)))
    shapes = {name: calls[0].shape for name, calls in maps.items()}
    cross = [shape for name, shape in shapes.items() if "cross" in name]
    assert cross == [(1, 2, 3, 5)]
    assert sorted(shapes.values()) == [(1, 2, 3, 3), (1, 2, 3, 5), (1, 2, 5, 5)]


# Dropout --------------------------------------------------------------------------------------------------------------


def test_every_sublayer_draws_its_own_dropout_mask(monkeypatch, rng):
    masks = []
    original = mg.nn.dropout

    def recorded(x, p):
        out = original(x, p)
        masks.append(out.data == 0)
        return out

    monkeypatch.setattr(mg.nn, "dropout", recorded)
    EncoderLayer(32, 4, dropout=0.5)(rng.normal(size=(2, 6, 32)))
    assert len(masks) == 2 and masks[0].shape == masks[1].shape
    assert 0.3 < (masks[0] != masks[1]).mean() < 0.7


def test_two_passes_in_training_mode_differ_and_the_seed_brings_them_back(rng):
    layer, x = EncoderLayer(16, 4, dropout=0.3), rng.normal(size=(1, 4, 16))
    mg.manual_seed(5)
    a, b = layer(x).data, layer(x).data
    mg.manual_seed(5)
    assert not np.allclose(a, b)
    assert np.array_equal(layer(x).data, a)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: (GPT(7, 8, 2, 2, 6, dropout=p), lambda m: m([[1, 2, 3, 0]])),
        lambda p: (Transformer(7, 8, 2, 1, dropout=p), lambda m: m([[1, 2, 3, 0]])),
        lambda p: (Classifier(7, 3, 8, 2, 1, 6, dropout=p), lambda m: m([[1, 2, 3, 0]])),
        lambda p: (MultiHeadAttention(8, 2, dropout=p), lambda m: m(np.ones((1, 3, 8), np.float32))),
    ],
    ids=["GPT", "Transformer", "Classifier", "attention"],
)
def test_dropout_neither_acts_nor_rescales_in_eval(make):
    (with_it, call), (without, _) = make(0.5), make(0.0)
    without.load_state_dict(with_it.state_dict())
    assert np.array_equal(call(with_it.eval()).data, call(without).data)
    assert not np.array_equal(call(with_it.train()).data, call(without).data)


def test_attention_and_residual_dropout_keep_the_mean(rng):
    x = Tensor(np.ones((400, 100), np.float32))
    assert abs(mg.dropout(x, 0.3).data.mean() - 1) < 0.01
    q, v = np.zeros((200, 1, 4, 4)), np.ones((200, 1, 50, 2))
    out = scaled_dot_product_attention(q, np.zeros((200, 1, 50, 4)), v, dropout=0.3)
    assert abs(out.data.mean() - 1) < 0.01


def test_the_gradient_of_attention_is_right_with_dropout_on(rng):
    q, k, v = rng.normal(size=(3, 2, 2, 4, 3))
    report = gradcheck(lambda q, k, v: scaled_dot_product_attention(q, k, v, causal=True, dropout=0.4), q, k, v)
    assert report, report


# Positions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [8, 7])
def test_sinusoids_follow_the_formula_of_the_paper(width):
    table = sinusoids(6, width, start=3)
    for row, t in enumerate(range(3, 9)):
        for column in range(width):
            angle = t / 10_000 ** (2 * (column // 2) / width)
            expected = math.cos(angle) if column % 2 else math.sin(angle)
            assert table[row, column] == pytest.approx(expected, abs=1e-12)


def test_sinusoidal_positions_count_on_from_the_start_in_the_dtype_of_the_input():
    x = Tensor(np.zeros((1, 3, 6), np.float32))
    out = SinusoidalPositions(6).embed(x, 5)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.data[0], sinusoids(8, 6)[5:], atol=1e-7)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_dot_products_depend_only_on_the_distance(rng, interleaved):
    rotary = RotaryPositions(8, interleaved=interleaved)
    q, k = rng.normal(size=(2, 1, 1, 1, 8))

    def product(i, j):
        return float((np.asarray(rotary.rotate(Tensor(q), i).data) * np.asarray(rotary.rotate(Tensor(k), j).data)).sum())

    for distance in (0, 1, 7):
        products = [product(j + distance, j) for j in (0, 3, 50, 200)]
        np.testing.assert_allclose(products, products[0], rtol=1e-10)
    assert abs(product(1, 0) - product(7, 0)) > 1e-3
    assert abs(product(3, 0) - product(0, 3)) > 1e-3
    np.testing.assert_allclose(np.linalg.norm(rotary.rotate(Tensor(q), 9).data), np.linalg.norm(q))


def test_both_rotary_layouts_agree_after_the_permutation_of_coordinates(rng):
    x = rng.normal(size=(2, 2, 5, 8))
    order = np.array([0, 2, 4, 6, 1, 3, 5, 7])  # pairs (2i, 2i + 1) to pairs (i, i + 4)
    interleaved = RotaryPositions(8, interleaved=True).rotate(Tensor(x), 2).data
    half = RotaryPositions(8).rotate(Tensor(x[..., order]), 2).data
    np.testing.assert_allclose(interleaved[..., order], half, rtol=1e-12)


def test_rotary_turns_the_first_pair_by_the_position_itself():
    x = np.zeros((1, 1, 3, 4))
    x[..., 0] = 1
    turned = RotaryPositions(4, interleaved=True).rotate(Tensor(x)).data[0, 0]
    np.testing.assert_allclose(turned[:, :2], [[math.cos(t), math.sin(t)] for t in range(3)], atol=1e-12)


def test_alibi_slopes_for_a_power_of_two_and_for_twelve_heads():
    powers = [2.0**-i for i in range(1, 9)]
    np.testing.assert_allclose(AlibiBias(8).slopes, powers)
    np.testing.assert_allclose(AlibiBias(12).slopes, [*powers, 2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5])


def test_the_alibi_penalty_grows_with_distance_and_aligns_the_last_query_with_the_last_key():
    bias = AlibiBias(8).bias(2, 4, np.float32)
    assert bias.shape == (8, 2, 4) and bias.dtype == np.float32
    np.testing.assert_allclose(bias[0], [[-1.0, -0.5, 0, -0.5], [-1.5, -1.0, -0.5, 0]])


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != "none"])
def test_every_scheme_tells_the_model_the_order_of_its_tokens(rng, scheme):
    model = shaken(GPT(7, 8, 2, 1, 6, positions=scheme), rng).eval()
    a, b = model([[1, 2, 3, 4]]).data[0, -1], model([[2, 1, 3, 4]]).data[0, -1]
    assert np.abs(a - b).max() > 1e-3


# Whole models ---------------------------------------------------------------------------------------------------------


def first_order_cases():
    return list(cases(np.random.default_rng(0)))


@pytest.mark.parametrize("n", range(len(first_order_cases())), ids=[case[1] for case in first_order_cases()])
@pytest.mark.slow
def test_the_gradient_of_every_parameter_agrees_with_finite_differences(n, rng, monkeypatch):
    _, _, module, call, inputs = first_order_cases()[n]
    if module.num_parameters() > 1000:  # 32 random directions in each matrix, for time; ``python -m transformer check`` tries each entry
        monkeypatch.setattr(mg.byhand.gradcheck, "LARGE", 32)
    report = check_module(shaken(module, rng), call, inputs)
    assert report, report
    assert len(report.rows) == len(inputs) + len(module.parameters())


IDS = np.array([[1, 3, 0], [2, 2, 4]])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "call", "inputs"),
    [
        (lambda: LayerNorm(4), lambda m, x: m(x), 1),
        (lambda: MultiHeadAttention(4, 2), lambda m, x: m(x, causal=True), 1),
        (lambda: EncoderLayer(4, 2, 6, norm_first=True, activation="gelu"), lambda m, x: m(x, causal=True), 1),
        (lambda: GPT(5, 4, 2, 1, 3, ffn_dim=6), lambda m: mg.cross_entropy(m(IDS), IDS), 0),
    ],
    ids=["layer norm", "attention", "GPT block", "GPT"],
)
def test_second_derivatives_agree_with_finite_differences(make, call, inputs, rng):
    values = tuple(rng.normal(size=(2, 3, 4)) for _ in range(inputs))
    report = check_module(shaken(make(), rng), call, values, second=True)
    assert report, report
    assert report.max_rel < 1e-5 and "kink" not in str(report)


def test_a_tied_embedding_gets_the_gradient_of_both_its_sides(rng):
    tied, untied = GPT(7, 8, 2, 1, 6), GPT(7, 8, 2, 1, 6, tie_embeddings=False)
    shaken(tied, rng)
    untied.astype(np.float64).load_state_dict(tied.state_dict() | {"output.weight": tied.token_embedding.weight.data.T})
    ids = rng.integers(0, 7, (2, 6))
    for model in (tied, untied):
        mg.cross_entropy(model(ids[:, :-1]), ids[:, 1:]).backward()
    input_side, output_side = np.asarray(untied.token_embedding.weight.grad), np.asarray(untied.output.weight.grad).T
    assert np.abs(input_side).max() > 1e-4 and np.abs(output_side).max() > 1e-4
    np.testing.assert_allclose(np.asarray(tied.token_embedding.weight.grad), input_side + output_side, rtol=1e-10, atol=1e-14)
    assert untied.num_parameters() - tied.num_parameters() == 7 * 8


def test_the_tied_matrix_of_the_transformer_gets_the_gradient_of_source_target_and_output(rng):
    tied, untied = Transformer(7, 8, 2, 1, dropout=0.0), Transformer(7, 8, 2, 1, dropout=0.0, tie_embeddings=False)
    shaken(tied, rng)
    table = tied.embedding.weight.data
    untied.astype(np.float64).load_state_dict(tied.state_dict() | {"target_embedding.weight": table, "output.weight": table.T})
    source, target = rng.integers(0, 7, (2, 5)), rng.integers(0, 7, (2, 4))
    for model in (tied, untied):
        mg.cross_entropy(model(source, target_ids=target[:, :-1]), target[:, 1:]).backward()
    sides = untied.embedding.weight.grad, untied.target_embedding.weight.grad, np.asarray(untied.output.weight.grad).T
    total = sum(np.asarray(side) for side in sides)
    np.testing.assert_allclose(np.asarray(tied.embedding.weight.grad), total, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("norm_first", [False, True])
def test_padding_changes_nothing_for_the_real_tokens_of_an_encoder(rng, norm_first):
    encoder = shaken(Encoder(2, 8, 2, norm_first=norm_first), rng)
    x = rng.normal(size=(2, 5, 8))
    padded = np.concatenate([x, 100 * rng.normal(size=(2, 3, 8))], axis=1)
    mask = padding_mask(np.array([[1] * 5 + [0] * 3] * 2))
    np.testing.assert_allclose(encoder(padded, mask).data[:, :5], encoder(x).data, rtol=1e-9, atol=1e-11)
    assert np.abs(encoder(padded).data[:, :5] - encoder(x).data).max() > 1e-3


def test_padding_changes_nothing_for_the_real_tokens_of_a_transformer(rng):
    model = shaken(Transformer(9, 8, 2, 2), rng).eval()
    source, target = rng.integers(1, 9, (1, 4)), rng.integers(1, 9, (1, 3))
    alone = model(source, target_ids=target).data
    longer, mask = np.pad(source, ((0, 0), (0, 3))), np.array([[1] * 4 + [0] * 3])
    longer_target, target_mask = np.pad(target, ((0, 0), (0, 2))), np.array([[1] * 3 + [0] * 2])
    padded = model(longer, mask, longer_target, target_mask).data
    np.testing.assert_allclose(padded[:, :3], alone, rtol=1e-9, atol=1e-11)
    other = longer.copy()
    other[:, 4:] = 8
    np.testing.assert_allclose(model(other, mask, longer_target, target_mask).data, padded, rtol=1e-12)
    assert np.isfinite(padded).all()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_changes_nothing_for_a_classifier(rng, pooling):
    model = shaken(Classifier(9, 3, 8, 2, 2, 12, pooling=pooling), rng).eval()
    ids = rng.integers(1, 9, (2, 4))
    padded = np.pad(ids, ((0, 0), (0, 5)), constant_values=7)
    mask = np.array([[1] * 4 + [0] * 5] * 2)
    np.testing.assert_allclose(model(padded, mask).data, model(ids).data, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(model(padded, mask.astype(bool)).data, model(ids).data, rtol=1e-9, atol=1e-11)
    assert np.abs(model(padded).data - model(ids).data).max() > 1e-3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_future_token_does_not_change_earlier_logits_of_a_gpt(rng, scheme):
    model = shaken(GPT(9, 8, 2, 2, 8, positions=scheme), rng).eval()
    ids = rng.integers(0, 9, (1, 8))
    for t in range(1, 8):
        other = ids.copy()
        other[0, t] = (other[0, t] + 1) % 9
        a, b = model(ids).data, model(other).data
        np.testing.assert_allclose(a[:, :t], b[:, :t], rtol=1e-12, atol=1e-13)
        assert np.abs(a[:, t] - b[:, t]).max() > 1e-3


def test_a_future_target_does_not_change_earlier_logits_of_a_transformer_but_every_source_token_does(rng):
    model = shaken(Transformer(9, 8, 2, 2), rng).eval()
    source, target = rng.integers(0, 9, (1, 5)), rng.integers(0, 9, (1, 6))
    logits = model(source, target_ids=target).data
    for t in range(1, 6):
        other = target.copy()
        other[0, t] = (other[0, t] + 1) % 9
        changed = model(source, target_ids=other).data
        np.testing.assert_allclose(changed[:, :t], logits[:, :t], rtol=1e-12, atol=1e-13)
        assert np.abs(changed[:, t] - logits[:, t]).max() > 1e-4
    other = source.copy()
    other[0, -1] = (other[0, -1] + 1) % 9
    assert (np.abs(model(other, target_ids=target).data - logits).max(axis=-1) > 1e-6).all()


def test_a_batch_asks_for_the_token_after_each_input(rng):
    ids = np.arange(100)
    inputs, targets = batch(ids, 4, 8, rng)
    assert np.array_equal(targets, inputs + 1)


def test_a_decoder_that_reads_the_shifted_target_cannot_copy_what_it_must_predict(rng):
    model = shaken(Transformer(9, 8, 2, 1), rng).eval()
    source, target = rng.integers(0, 9, (1, 4)), rng.integers(0, 9, (1, 5))
    other = target.copy()
    other[0, -1] = (other[0, -1] + 1) % 9  # only ever predicted, never read
    a, b = (model(source, target_ids=t[:, :-1]).data for t in (target, other))
    assert np.array_equal(a, b)
    losses = [mg.cross_entropy(Tensor(a), t[:, 1:]).item() for t in (target, other)]
    assert losses[0] != losses[1]


def test_a_decoder_without_causality_attends_where_its_mask_allows_and_nowhere_else(rng):
    decoder = shaken(Decoder(2, 8, 2, 12, norm_first=True), rng)
    x, memory = rng.normal(size=(1, 5, 8)), rng.normal(size=(1, 3, 8))
    window = np.abs(np.subtract.outer(np.arange(5), np.arange(5))) <= 1  # itself and its neighbours
    with attention_maps(decoder) as maps:
        free = decoder(x, memory, window, causal=False).data
    for name, calls in maps.items():
        if name.endswith("self_attention"):
            assert np.array_equal(calls[0] > 0, np.broadcast_to(window, calls[0].shape))
    causal = decoder(x, memory).data
    np.testing.assert_allclose(decoder(x, memory, causal_mask(5), causal=False).data, causal, rtol=1e-12)
    both = decoder(x, memory, window & causal_mask(5), causal=False).data
    np.testing.assert_allclose(decoder(x, memory, window).data, both, rtol=1e-12)
    assert np.abs(free - causal).max() > 1e-3


def test_the_transformer_called_with_ids_and_mask_lets_the_decoder_read_the_same_ids(rng):
    model = Transformer(9, 8, 2, 1).eval()
    ids, mask = np.array([[1, 2, 3, 0], [4, 5, 6, 7]]), np.array([[1, 1, 1, 0], [1, 1, 1, 1]])
    logits = model(ids, mask)
    assert logits.shape == (2, 4, 9) and logits.dtype == np.float32
    np.testing.assert_array_equal(logits.data, model(ids, mask, ids, mask).data)
    assert model(ids).shape == (2, 4, 9)


@pytest.mark.parametrize("layers", [2, 8])
def test_projections_into_the_residual_stream_start_smaller_in_deeper_models(layers):
    model = GPT(5, 64, 4, layers, 8)
    stacks = [model.layers, Encoder(layers, 64, 4).layers, Decoder(layers, 64, 4).layers]
    for stack in stacks:
        for block in stack:
            assert block.self_attention.out_proj.weight.data.std() == pytest.approx(1 / math.sqrt(64 * 2 * layers), rel=0.08)
            assert block.ffn.down.weight.data.std() == pytest.approx(1 / math.sqrt(256 * 2 * layers), rel=0.08)
            assert block.self_attention.q_proj.weight.data.std() == pytest.approx(1 / 8, rel=0.08)
            assert block.self_attention.out_proj.weight.dtype == np.float32


def test_post_norm_and_pre_norm_put_the_norm_where_the_papers_do(rng):
    x = rng.normal(size=(1, 3, 8))
    for first in (False, True):
        layer = shaken(EncoderLayer(8, 2, 12, norm_first=first), rng)
        if first:
            y = x + layer.self_attention(layer.norm1(x)).data
            expected = y + layer.ffn(layer.norm2(y)).data
        else:
            y = layer.norm1(x + layer.self_attention(x).data).data
            expected = layer.norm2(y + layer.ffn(y).data).data
        np.testing.assert_allclose(layer(x).data, expected, rtol=1e-12)


@pytest.mark.parametrize("norm", list(NORMS))
@pytest.mark.parametrize("ffn", list(FEED_FORWARDS))
def test_every_choice_of_norm_and_feed_forward_stays_in_single_precision(norm, ffn):
    model = GPT(7, 8, 2, 1, 6, norm=norm, ffn=ffn, bias=False)
    logits = model([[1, 2, 3]])
    assert logits.dtype == np.float32
    mg.cross_entropy(logits, [[2, 3, 4]]).backward()
    assert all(np.asarray(p.grad).dtype == np.float32 for p in model.parameters())


def test_a_fresh_model_guesses_uniformly(rng):
    model = GPT(50, 64, 4, 4, 32)
    ids = rng.integers(0, 50, (8, 33))
    assert mg.cross_entropy(model(ids[:, :-1]), ids[:, 1:]).item() == pytest.approx(math.log(50), rel=0.1)


# The KV cache ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_cached_logits_equal_uncached_ones_up_to_the_context_limit(rng, scheme, kv_heads):
    model = shaken(GPT(11, 16, 4, 2, 24, kv_heads, positions=scheme), rng).astype(np.float32).eval()
    ids = rng.integers(0, 11, (2, 24))
    whole = model(ids).data
    for chunks in ([1] * 24, [24], [7, 5, 1, 1, 1, 9], [20, 1, 1, 1, 1]):
        cache, parts, start = KVCache(24), [], 0
        with no_grad():
            for size in chunks:
                parts.append(model(ids[:, start : start + size], cache=cache).data)
                start += size
                assert cache.length == start
        cached = np.concatenate(parts, axis=1)
        assert cached.dtype == np.float32
        assert np.abs(cached - whole).max() < 1e-5 * max(1, np.abs(whole).max())
        for i in range(2):
            keys, values = cache.layer(i)._held
            assert keys.dtype == values.dtype == np.float32
            assert keys.shape == (2, kv_heads, 24, 4)
    with no_grad(), pytest.raises(ValueError, match="25 tokens exceed the context of 24"):
        model(ids[:, :1], cache=cache)


def test_the_cached_decoder_of_a_transformer_equals_the_uncached_one(rng):
    model = shaken(Transformer(9, 8, 2, 2), rng).astype(np.float32).eval()
    source, target = rng.integers(0, 9, (2, 5)), rng.integers(0, 9, (2, 7))
    with no_grad():
        memory = model.encode(source)
        whole, cache = model.decode(target, memory).data, KVCache(7)
        parts = [model.decode(target[:, a:b], memory, cache=cache).data for a, b in ((0, 3), (3, 4), (4, 7))]
    assert np.abs(np.concatenate(parts, axis=1) - whole).max() < 1e-5 * max(1, np.abs(whole).max())


def test_a_cache_refuses_gradients_more_tokens_than_it_holds_and_another_batch(rng):
    attention = MultiHeadAttention(8, 2)
    x = rng.normal(size=(1, 3, 8)).astype(np.float32)
    with pytest.raises(RuntimeError, match="no_grad"):
        attention(x, cache=KVCache(4))
    cache = KVCache(4)
    with no_grad():
        attention(x, causal=True, cache=cache)
        with pytest.raises(ValueError, match="5 tokens exceed its max_length=4"):
            attention(x[:, :2], causal=True, cache=cache)
        with pytest.raises(ValueError, match="use a new cache"):
            attention(np.repeat(x[:, :1], 2, axis=0), causal=True, cache=cache)
    assert cache.length == 3


# What users get wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "error", "words"),
    [
        ([[1, 9]], IndexError, "token id 9 at position"),
        ([[1, -1]], IndexError, "token id -1"),
        ([[0.5, 1.0]], TypeError, "must be integers"),
        ([1, 2], ValueError, "ids\\[None, :\\]"),
        ([[1] * 7], ValueError, "exceed"),
        (np.zeros((1, 0), int), ValueError, "no tokens"),
    ],
)
@pytest.mark.parametrize("make", [lambda: GPT(9, 8, 2, 1, 6), lambda: Transformer(9, 8, 2, 1, max_length=6), lambda: Classifier(9, 2, 8, 2, 1, 6)])
def test_wrong_token_ids_are_explained(make, ids, error, words):
    with pytest.raises(error, match=words):
        make()(ids)


def test_wrong_choices_name_the_right_ones():
    with pytest.raises(ValueError, match=r"positions='rope'.*rotary"):
        GPT(9, 8, 2, 1, 6, positions="rope")
    with pytest.raises(ValueError, match="does not divide into num_heads=3"):
        GPT(9, 8, 3, 1, 6)
    with pytest.raises(ValueError, match="pooling='max'"):
        Classifier(9, 2, 8, 2, 1, 6, pooling="max")
    with pytest.raises(ValueError, match="activation 'tanh'"):
        FeedForward(8, activation="tanh")
    with pytest.raises(ValueError, match="is odd"):
        RotaryPositions(5)
    with pytest.raises(ValueError, match="attention_mask"):
        Transformer(9, 8, 2, 1)([[1, 2]], [[1, 1, 1]])


@pytest.mark.parametrize("eps", [True, False, "small", None, -1e-5, 1.0, float("nan")])
def test_an_epsilon_that_is_no_small_number_is_refused(eps):
    for norm in (layers.LayerNorm, layers.RMSNorm):
        with pytest.raises(ValueError, match="expected a small number"):
            norm(4, eps=eps)
