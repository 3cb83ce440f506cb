"""A decoder layer takes any target mask: alone, with padding and with a cache; a query that may see nothing gets zeros."""

import itertools

import numpy as np
import pytest

from minigrad import Tensor, manual_seed, no_grad
from transformer import DecoderLayer, KVCache, causal_mask, padding_mask
from transformer.attention import as_bias, attention_maps
from transformer.checks import check_module, shaken

B, T, S, H, C = 2, 5, 4, 2, 8
SHAPES = {"one for all": (), "one for each text": (B, 1), "one for each head": (B, H)}
EVERY_MASK = list(itertools.product((False, True), (False, True), SHAPES))  # pre-norm, additive, shape
NAMES = [f"{'pre' if first else 'post'}-norm, {'additive' if add else 'boolean'}, {s}" for first, add, s in EVERY_MASK]
every_mask = pytest.mark.parametrize(("norm_first", "additive", "shape"), EVERY_MASK, ids=NAMES)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def decoder_layer(rng, norm_first=False):
    manual_seed(3)
    return shaken(DecoderLayer(C, H, 12, norm_first=norm_first, activation="gelu_erf"), rng)


def some(rng, shape, length, shortest):
    """Booleans (*shape, T, length) of which each row allows at least one of the first ``shortest``, which are real."""
    allowed = rng.random((*shape, T, length)) < 0.5
    sure = rng.integers(0, shortest, (*shape, T, 1))
    np.put_along_axis(allowed, sure, True, axis=-1)
    return allowed


def random_masks(rng, shape, additive):
    """Of target and memory, and the padding of both, (B, T) and (B, S)."""
    masks = some(rng, SHAPES[shape], T, 3), some(rng, SHAPES[shape], S, 2)
    if additive:
        masks = tuple(as_bias(m, float) + rng.normal(size=m.shape) for m in masks)
    return *masks, np.arange(T) < np.array([[T], [3]]), np.arange(S) < np.array([[2], [S]])


def with_padding(mask, padding):
    """The mask where the key is real."""
    if mask.dtype == bool:
        return mask & padding_mask(padding)
    return mask + as_bias(padding_mask(padding), mask.dtype)


# PyTorch --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: the recorded cases stand in for the live ones")


def twin(torch, ours):
    """An nn.TransformerDecoderLayer with the weights of ours, in which attention to nothing gives zeros."""
    from benchmarks.pytorch_tasks import load_layer

    theirs = torch.nn.TransformerDecoderLayer(C, H, 12, 0.0, "gelu", batch_first=True, norm_first=ours.norm_first)
    load_layer(theirs, {name: torch.tensor(value) for name, value in ours.state_dict().items()}, "")

    def zeros_for_nan(attention, _, output):
        return (torch.where(output[0].isnan(), attention.out_proj.bias, output[0]), *output[1:])

    for attention in (theirs.self_attn, theirs.multihead_attn):
        attention.register_forward_hook(zeros_for_nan)
    return theirs.double()


def closed(torch, mask, *shape):
    """A mask as PyTorch has it: True where closed, for each head of each text."""
    mask = np.broadcast_to(~mask if mask.dtype == bool else mask, (B, H, *shape)) if shape else mask
    return torch.tensor(mask.copy()).flatten(0, 1)


def ask(torch, ours, x, memory, mask, memory_mask, padding=None, memory_padding=None):
    """The layer's output in PyTorch, and its gradients of x and memory for an upstream gradient of cosines."""
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, memory)]
    pads = (None, None) if padding is None else (padding, memory_padding)
    pads = [None if p is None else torch.tensor(~p if mask.dtype == bool else as_bias(p, float)) for p in pads]
    masks = closed(torch, mask, T, T), closed(torch, memory_mask, T, S)
    output = twin(torch, ours)(*leaves, *masks, tgt_key_padding_mask=pads[0], memory_key_padding_mask=pads[1])
    output.backward(torch.tensor(np.cos(np.arange(x.size)).reshape(x.shape)))
    return [output.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)]


@pytest.mark.torch
@every_mask
def test_any_target_mask_alone_and_with_padding_equals_pytorch(norm_first, additive, shape, torch, rng):
    layer = decoder_layer(rng, norm_first)
    for padded in (False, True):
        x, memory = rng.normal(size=(B, T, C)), rng.normal(size=(B, S, C))
        mask, memory_mask, padding, memory_padding = random_masks(rng, shape, additive)
        pads = (padding, memory_padding) if padded else ()
        expected = ask(torch, layer, x, memory, mask, memory_mask, *pads)
        if padded:
            mask, memory_mask = with_padding(mask, padding), with_padding(memory_mask, memory_padding)
        leaves = [Tensor(a, requires_grad=True) for a in (x, memory)]
        output = layer(*leaves, mask, memory_mask, causal=False)
        output.backward(np.cos(np.arange(x.size)).reshape(x.shape))
        for found, right in zip([output.data, *(leaf.grad.data for leaf in leaves)], expected, strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-10, atol=1e-10)


@pytest.mark.torch
@every_mask
def test_a_cache_with_any_mask_equals_pytorch_without_one(norm_first, additive, shape, torch, rng):
    layer = decoder_layer(rng, norm_first)
    x, memory = rng.normal(size=(B, T, C)), rng.normal(size=(B, S, C))
    mask, memory_mask, *_ = random_masks(rng, shape, additive)
    for cuts in ([0, 1, 2, 3, 4, 5], [0, 2, 5]):
        seen = np.repeat(cuts[1:], np.diff(cuts))  # how many tokens the cache holds when each query looks
        before = np.arange(T) < seen[:, None]
        known = mask & before if mask.dtype == bool else np.where(before, mask, -np.inf)
        expected = ask(torch, layer, x, memory, known, memory_mask)[0]  # zeros for a query all of whose keys come later
        np.testing.assert_allclose(in_parts(layer, x, memory, mask, memory_mask, cuts), expected, rtol=1e-10, atol=1e-10)


def in_parts(layer, x, memory, mask, memory_mask, cuts, causal=False):
    """The layer's output, a part of the targets after another."""
    cache = KVCache(T)
    with no_grad():
        parts = [
            layer(x[:, a:b], memory, mask[..., a:b, :b], memory_mask[..., a:b, :], cache, causal).data
            for a, b in itertools.pairwise(cuts)
        ]
    return np.concatenate(parts, axis=1)


# Ours alone -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("additive", [False, True])
def test_a_causal_layer_with_a_mask_says_the_same_with_and_without_a_cache(additive, rng):
    layer = decoder_layer(rng)
    x, memory = rng.normal(size=(B, T, C)), rng.normal(size=(B, S, C))
    mask, memory_mask, *_ = random_masks(rng, "one for each text", additive)
    whole = layer(x, memory, mask, memory_mask).data
    future = causal_mask(T)
    both = mask & future if mask.dtype == bool else mask + as_bias(future, float)
    np.testing.assert_allclose(layer(x, memory, both, memory_mask, causal=False).data, whole, rtol=1e-10, atol=1e-10)
    for cuts in ([0, 1, 2, 3, 4, 5], [0, 3, 5]):
        parts = in_parts(layer, x, memory, mask, memory_mask, cuts, causal=True)
        np.testing.assert_allclose(parts, whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.slow
def test_a_query_that_may_see_nothing_gets_zeros_and_right_gradients(additive, dtype, rng):
    layer = decoder_layer(rng)
    x, memory = rng.normal(size=(B, T, C)), rng.normal(size=(B, S, C))
    mask, memory_mask, *_ = random_masks(rng, "one for each text", additive)
    mask[1, 0, 2], memory_mask[0, 0, 4] = (-np.inf, -np.inf) if additive else (False, False)
    if dtype is np.float64:
        report = check_module(layer, lambda m, x, y: m(x, y, mask, memory_mask, causal=False), (x, memory))
        assert report, report
    layer.astype(dtype)
    with attention_maps(layer) as maps:
        output = layer(x.astype(dtype), memory.astype(dtype), mask, memory_mask, causal=False).data
    assert np.isfinite(output).all() and output.dtype == dtype
    assert not maps["self_attention"][0][1, :, 2].any() and not maps["cross_attention"][0][0, :, 4].any()
    for weights in (maps["self_attention"][0], maps["cross_attention"][0]):
        sums = weights.sum(axis=-1)
        assert np.isclose(sums, 0, atol=1e-6).sum() == H and np.isclose(sums, 1, atol=1e-5).sum() == sums.size - H


def test_a_mask_of_another_shape_is_refused_with_both_shapes(rng):
    layer = decoder_layer(rng)
    x, memory = rng.normal(size=(B, T, C)), rng.normal(size=(B, S, C))
    with pytest.raises(ValueError, match=rf"\({T}, {T - 1}\).*\({B}, {H}, {T}, {T}\)"):
        layer(x, memory, np.ones((T, T - 1), bool), causal=False)
    with pytest.raises(ValueError, match=rf"\({S}, {T}\).*\({B}, {H}, {T}, {S}\)"):
        layer(x, memory, memory_mask=np.ones((S, T), bool))
