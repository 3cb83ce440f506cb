"""Optimizers, clipping and schedules against their formulas, step by step."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, nn, no_grad, optim
from minigrad.optim import SGD, Adam, AdamW, clip_grad_norm, constant, noam, warmup_cosine

RNG = np.random.default_rng(0)


def parameters(*shapes, dtype=np.float64):
    return [nn.Parameter(RNG.normal(size=s), dtype=dtype) for s in shapes]


def give_gradients(params, seed):
    rng = np.random.default_rng(seed)
    for p in params:
        p.grad = Tensor(rng.normal(size=p.shape), dtype=p.dtype)


def formula(kind, theta, gradients, lr, weight_decay=0.0, momentum=0.0, betas=(0.9, 0.999), eps=1e-8):
    m = v = np.zeros_like(theta)
    for t, g in enumerate(gradients, 1):
        if kind is AdamW:
            theta = theta - lr * weight_decay * theta
        else:
            g = g + weight_decay * theta
        if kind is SGD:
            v = momentum * v + g
            theta = theta - lr * v
            continue
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        theta = theta - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return theta


@pytest.mark.parametrize(("kind", "options"), [
    (SGD, {}), (SGD, {"momentum": 0.9}), (SGD, {"momentum": 0.5, "weight_decay": 0.1}), (Adam, {}), (Adam, {"weight_decay": 0.1}),
    (Adam, {"betas": (0.5, 0.7), "eps": 0.01}), (AdamW, {"weight_decay": 0.0}), (AdamW, {"weight_decay": 0.1, "betas": (0.8, 0.95)}),
])  # fmt: skip
def test_steps_follow_the_formula_for_every_parameter_alike(kind, options):
    """Every tensor shares one step count: bias correction must not depend on its place in the list."""
    params = parameters((3, 4), (5,), (), (40_000,))
    start = [p.data.copy() for p in params]
    optimizer = kind(params, lr=0.01, **options)
    history = []
    for step in range(5):
        give_gradients(params, step)
        history.append([p.grad.data.copy() for p in params])
        optimizer.step()
        optimizer.zero_grad()
    assert optimizer.steps == 5
    for i, p in enumerate(params):
        np.testing.assert_allclose(p.data, formula(kind, start[i], [h[i] for h in history], 0.01, **options), rtol=1e-11, atol=1e-13)


def test_adamw_decays_by_a_hundredth_unless_told_and_adam_does_not():
    assert AdamW(parameters(2)).weight_decay == 0.01
    assert Adam(parameters(2)).weight_decay == 0


def test_the_learning_rate_may_change_between_steps():
    (p,) = parameters(3)
    before = p.data.copy()
    optimizer = SGD([p], lr=1.0)
    give_gradients([p], 0)
    optimizer.lr = 0.0
    optimizer.step()
    np.testing.assert_array_equal(p.data, before)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_steps_keep_float32_and_leave_gradients_alone_and_skip_what_has_none(kind):
    params = parameters((3, 2), (4,), dtype=np.float32)
    give_gradients(params[:1], 0)
    g, untouched = params[0].grad.data.copy(), params[1].data.copy()
    kind(params, lr=0.1, weight_decay=0.1).step()
    assert params[0].dtype == np.float32
    np.testing.assert_array_equal(params[0].grad.data, g)
    np.testing.assert_array_equal(params[1].data, untouched)


def test_a_parameter_in_another_memory_order_is_updated_too():
    p = nn.Parameter(np.zeros((3, 4)), dtype=np.float64)
    p.data = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    p.grad = Tensor(np.arange(12.0).reshape(3, 4))
    SGD([p], lr=1.0).step()
    assert not p.data.any()


@pytest.mark.parametrize("kind", [lambda p: SGD(p, 0.1, momentum=0.9), Adam, AdamW])
def test_state_dict_continues_the_very_same_run(kind):
    def steps(params, optimizer, seeds):
        for seed in seeds:
            give_gradients(params, seed)
            optimizer.step()
            optimizer.zero_grad()

    a = parameters((3, 4), (5,), dtype=np.float32)
    first = kind(a)
    steps(a, first, range(3))
    b = [nn.Parameter(p.data) for p in a]
    second = kind(b)
    second.load_state_dict(first.state_dict())
    steps(a, first, range(3, 6))
    steps(b, second, range(3, 6))
    assert second.steps == 6
    for p, q in zip(a, b, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: s.pop("steps"), "entries differ: .*steps"), (lambda s: s.update(mean=np.ones(1)), "entries differ"),
    (lambda s: s.update({"square.1": np.ones(4)}), r"square.1 has shape \(4,\), expected \(5,\)"),
])  # fmt: skip
def test_load_state_dict_refuses_before_it_changes_anything(change, message):
    params = parameters((3, 4), (5,))
    optimizer = Adam(params)
    give_gradients(params, 0)
    optimizer.step()
    before, state = optimizer.state_dict(), Adam(params).state_dict()
    change(state)
    with pytest.raises(ValueError, match=f"Adam.load_state_dict: {message}"):
        optimizer.load_state_dict(state)
    for name, array in optimizer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_training_lowers_the_loss_of_a_tied_net():
    w = nn.Parameter(RNG.normal(size=(4, 4)), dtype=np.float64)
    x = RNG.normal(size=(20, 4))
    optimizer, losses = AdamW([w], lr=0.05), []
    for _ in range(60):
        optimizer.zero_grad()
        loss = ((x @ w @ w.T - x) ** 2).mean()  # w is used twice
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


def test_a_forgotten_zero_grad_is_warned_of():
    w = nn.Parameter([1.0, 2.0])
    optimizer = SGD([w], lr=0.1)
    (w * w).sum().backward()
    optimizer.step()
    with pytest.warns(UserWarning, match="zero_grad"):
        (w * w).sum().backward()


def test_clipping_scales_the_joint_norm_and_gives_the_norm_before():
    params = parameters((3, 4), (5,))
    give_gradients(params, 0)
    before = [p.grad.data.copy() for p in params]
    norm = math.sqrt(sum((g**2).sum() for g in before))
    assert clip_grad_norm(params, 100.0) == pytest.approx(norm)
    np.testing.assert_array_equal(params[0].grad.data, before[0])
    assert clip_grad_norm(params, 1.0) == pytest.approx(norm)
    for p, g in zip(params, before, strict=True):
        np.testing.assert_allclose(p.grad.data, g / norm, rtol=1e-5)
    assert clip_grad_norm(params, 1.0) == pytest.approx(1, rel=1e-5)
    assert clip_grad_norm([nn.Parameter([1.0])], 1.0) == 0


def test_clipping_gradients_that_were_recorded_scales_each_once():
    a, b = (nn.Parameter(np.ones(2), dtype=np.float64) for _ in range(2))
    (a + b).sum().backward(create_graph=True)
    clip_grad_norm([a, b], 1.0)
    np.testing.assert_allclose(a.grad.data, 0.5, rtol=1e-5)
    np.testing.assert_allclose(b.grad.data, 0.5, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clipping_refuses_a_norm_that_is_no_number(bad):
    (p,) = parameters(3)
    p.grad = Tensor([1.0, bad, 0.0])
    with pytest.raises(FloatingPointError, match="clip_grad_norm: the gradient norm is"):
        clip_grad_norm([p], 1.0)


def test_schedules_follow_their_formulas():
    assert [constant(0.1)(t) for t in (0, 10**6)] == [0.1, 0.1]
    s = warmup_cosine(1.0, 4, 12, min_lr=0.2)
    np.testing.assert_allclose([s(t) for t in range(5)], [0.25, 0.5, 0.75, 1.0, 1.0])
    assert s(8) == pytest.approx(0.6) and s(12) == pytest.approx(0.2) and s(1000) == pytest.approx(0.2)
    assert all(s(t) >= s(t + 1) for t in range(4, 20))
    assert warmup_cosine(1.0, 0, 0)(0) == 1.0
    n = noam(512, 4000)
    for t in (1, 100, 4000, 20_000):
        assert n(t - 1) == pytest.approx(512**-0.5 * min(t**-0.5, t * 4000**-1.5))
    assert max(range(10_000), key=n) == 3999


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: SGD([], 0.1), ValueError, r"SGD: no parameters; pass model.parameters\(\)"),
    (lambda: Adam([np.ones(2)]), TypeError, "Adam: expected Tensors that require grad, got ndarray"),
    (lambda: Adam([Tensor([1.0])]), TypeError, "require grad"), (lambda: SGD(parameters(2) * 2, 0.1), ValueError, "listed twice"),
    (lambda: SGD(parameters(2), -1), ValueError, "lr=-1"), (lambda: SGD(parameters(2), math.nan), ValueError, "lr=nan"),
    (lambda: SGD(parameters(2), 0.1, momentum=1.0), ValueError, "momentum=1.0"), (lambda: Adam(parameters(2), betas=(0.9, 1.0)), ValueError, "betas"),
    (lambda: AdamW(parameters(2), weight_decay=-0.1), ValueError, "weight_decay=-0.1"),
    (lambda: warmup_cosine(1.0, 5, 4), ValueError, "warmup_steps=5 of total_steps=4"), (lambda: noam(0), ValueError, "embedding_dim=0"),
])  # fmt: skip
def test_wrong_settings_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


# Parameters side by side -----------------------------------------------------------------------------------------------------


def three():
    rng = np.random.default_rng(3)
    return [nn.Parameter(rng.normal(size=s)) for s in ((3,), (2, 2), (200, 200))]


def loss_of(params, skip=()):
    return sum(((p * p).sum() for i, p in enumerate(params) if i not in skip), Tensor(0.0, dtype=np.float32))


def alone(arrays, steps, skip_at):
    """The same updates, each parameter with an optimizer of its own."""
    params = [nn.Parameter(a) for a in arrays]
    optimizers = [AdamW([p], 0.1) for p in params]
    for step in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss_of(params, skip_at.get(step, ())).backward()
        for optimizer in optimizers:
            optimizer.step()
    return [p.numpy() for p in params]


@pytest.mark.parametrize("skip_at", [{}, {1: (0,)}, {0: (1, 2), 2: (0,)}])
def test_small_parameters_that_lie_side_by_side_move_as_they_would_alone(skip_at):
    params = three()
    optimizer = AdamW(params, 0.1)
    for step in range(4):
        optimizer.zero_grad()
        loss_of(params, skip_at.get(step, ())).backward()
        optimizer.step()
    assert np.shares_memory(params[0].data, optimizer.packs[-1].theta)
    for p, expected in zip(params, alone([p.numpy() for p in three()], 4, skip_at), strict=True):
        np.testing.assert_array_equal(p.numpy(), expected)


def test_a_parameter_without_a_gradient_stays_where_it_is():
    params = three()
    before = params[1].numpy().copy()
    optimizer = SGD(params, 0.1, momentum=0.9)
    loss_of(params, skip=(1,)).backward()
    optimizer.step()
    np.testing.assert_array_equal(params[1].numpy(), before)
    assert not np.array_equal(params[0].numpy(), three()[0].numpy())


def test_parameters_that_are_given_new_arrays_between_steps_are_moved_from_there():
    params = three()
    optimizer = SGD(params, 0.5)
    loss_of(params).backward()
    optimizer.step()
    for p in params:
        p.data = np.full(p.shape, 2.0, np.float32)
        p.zero_grad()
    loss_of(params).backward()
    optimizer.step()
    for p in params:
        np.testing.assert_allclose(p.numpy(), 0.0)


def test_writing_one_of_the_parameters_that_lie_side_by_side_spares_the_others():
    a, b, _ = params = three()
    optimizer = SGD(params, 0.1)
    loss_of(params).backward()
    optimizer.step()
    optimizer.zero_grad()
    of_a, of_b = (a * a).sum(), (b * b).sum()
    with no_grad():
        a[...] = 0
    of_b.backward()
    with pytest.raises(RuntimeError, match="changed in place"):
        of_a.backward()


# Each parameter's own count, halves, and what is no list of parameters ---------------------------------------------------


@pytest.mark.parametrize("size", [3, optim.BLOCK + 1])
def test_a_parameter_whose_first_gradient_comes_late_moves_as_far_as_one_whose_first_comes_first(size):
    early, late = (mg.nn.Parameter(np.zeros(size)) for _ in range(2))
    optimizer = optim.AdamW([early, late], 0.1, weight_decay=0.0)
    for step in range(5):
        optimizer.zero_grad()
        loss = early.sum() if step < 4 else early.sum() + late.sum()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(late.data, -0.1, rtol=1e-5)
    alone = mg.nn.Parameter(np.zeros(size))
    other = optim.AdamW([alone], 0.1, weight_decay=0.0)
    for _ in range(5):
        other.zero_grad()
        alone.sum().backward()
        other.step()
    np.testing.assert_array_equal(early.data, alone.data)


def test_the_counts_of_parameters_survive_saving_and_loading():
    def make():
        params = [mg.nn.Parameter(np.zeros(2)) for _ in range(2)]
        return params, optim.Adam(params, 0.1)

    def step(params, optimizer, both):
        optimizer.zero_grad()
        (params[0].sum() * 2.0 + (params[1].sum() * 3.0 if both else 0.0)).backward()
        optimizer.step()

    whole, one = make()
    for both in (False, False, True, True):
        step(whole, one, both)
    first, a = make()
    for both in (False, False, True):
        step(first, a, both)
    second, b = make()
    for p, q in zip(second, first):
        p.data = q.data.copy()
    b.load_state_dict(a.state_dict())
    step(second, b, True)
    for p, q in zip(second, whole):
        np.testing.assert_array_equal(p.data, q.data)


def test_a_state_from_the_time_of_one_count_for_all_is_still_read():
    p = mg.nn.Parameter(np.zeros(2))
    optimizer = optim.Adam([p], 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        p.sum().backward()
        optimizer.step()
    state = optimizer.state_dict()
    state.pop("counts")
    other = optim.Adam([p], 0.1)
    other.load_state_dict(state)
    assert other.counts == [3]


@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW])
def test_a_half_precision_parameter_without_slope_stays_and_a_small_slope_moves_it_as_in_single_precision(make):
    moved = {}
    for dtype in (np.float16, np.float32):
        still, p = (mg.nn.Parameter(np.ones(3), dtype=dtype) for _ in range(2))
        optimizer = make([still, p], 0.01, weight_decay=0.0)
        for _ in range(3):
            optimizer.zero_grad()
            (still * 0.0 + p * 1e-4).sum().backward()
            optimizer.step()
        assert still.dtype == dtype and (still.data == 1).all()
        moved[dtype] = p.data.astype(float)
    np.testing.assert_allclose(moved[np.float16], moved[np.float32], atol=2e-3)
    np.testing.assert_allclose(moved[np.float32], 0.97, atol=1e-3)


def test_frozen_parameters_are_passed_over_until_they_are_not():
    layer = mg.nn.Linear(2, 2)
    layer.weight.requires_grad = False
    before = layer.weight.data.copy()
    optimizer = optim.AdamW(layer.parameters(), 0.1)
    for frozen in (True, False):
        layer.weight.requires_grad = not frozen
        optimizer.zero_grad()
        layer(np.ones((1, 2))).sum().backward()
        optimizer.step()
        assert (layer.weight.data == before).all() == frozen


def test_warmup_cosine_ends_at_zero_unless_told_otherwise():
    assert optim.warmup_cosine(0.1, 2, 10)(10) == pytest.approx(0.0, abs=1e-12)
    assert optim.warmup_cosine(0.1, 2, 10)(6) == pytest.approx(0.05)


# Muon --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 6), (3, 8), (8, 3), (1, 5)])
def test_the_orthogonal_part_has_the_same_vectors_and_singular_values_near_one(shape):
    G = np.random.default_rng(0).normal(size=shape)
    U, S, Vt = np.linalg.svd(G, full_matrices=False)
    O = optim.orthogonal(G)
    values = np.diag(U.T @ O @ Vt.T)
    assert np.allclose(U.T @ O @ Vt.T, np.diag(values), atol=1e-12) and (values > 0.6).all() and (values < 1.25).all()
    a, b, c = 3.4445, -4.7750, 2.0315
    s = S / np.linalg.norm(G)
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    assert np.allclose(values, s, atol=1e-6)
    assert not optim.orthogonal(np.zeros(shape)).any()
    assert np.allclose(optim.orthogonal(np.stack([G, 2 * G]))[1], O, atol=1e-6)  # stacks, and the size of G does not matter


def test_muon_follows_its_formula_for_matrices_of_several_shapes():
    rng = np.random.default_rng(1)
    start = [rng.normal(size=shape) for shape in [(3, 4), (5, 2), (3, 4)]]
    params = [Tensor(a.copy(), requires_grad=True) for a in start]
    optimizer = optim.Muon(params, lr=0.1, momentum=0.9, weight_decay=0.2)
    velocity = [np.zeros_like(a) for a in start]
    for _ in range(3):
        for p, theta, v in zip(params, start, velocity):
            g = rng.normal(size=theta.shape)
            p.grad = Tensor(g.copy())
            v[...] = 0.9 * v + g
            theta[...] = theta * (1 - 0.1 * 0.2) - 0.2 * 0.1 * np.sqrt(max(theta.shape)) * optim.orthogonal(g + 0.9 * v)
            kept = g
        optimizer.step()
        assert np.array_equal(params[-1].grad.data, kept)  # the gradient stays as it was
    for p, theta in zip(params, start):
        assert np.allclose(p.data, theta, rtol=1e-12)


def test_muon_refuses_what_is_no_matrix_and_steps_are_as_large_as_adams():
    with pytest.raises(ValueError, match=r"shape \(3,\); expected matrices"):
        optim.Muon([Tensor(np.zeros(3), requires_grad=True)])
    for wrong in ({"momentum": 1.0}, {"iterations": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            optim.Muon([Tensor(np.zeros((2, 2)), requires_grad=True)], **wrong)
    p = Tensor(np.zeros((64, 32)), requires_grad=True)
    p.grad = Tensor(np.random.default_rng(0).normal(size=(64, 32)))
    optim.Muon([p], lr=1.0).step()
    assert 0.1 < np.sqrt((p.data**2).mean()) < 0.3  # Adam's steps have about 0.2 of its rate (Liu et al. 2025)


@pytest.mark.parametrize("make", [SGD, optim.Adam, optim.AdamW, optim.Muon])
def test_every_optimizer_counts_steps_and_marks_what_it_wrote_and_what_it_used(make):
    one, two = params = [Tensor(np.full((2, 3), 0.5), requires_grad=True) for _ in range(2)]
    optimizer = make(params, 0.1)
    (one.sum() + two.sum()).backward()
    before = (one * one).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        before.backward()
    with pytest.warns(UserWarning, match="used already"):
        one.sum().backward()
    two.zero_grad()
    optimizer.step()
    assert optimizer.state_dict()["counts"].tolist() == [2, 1] and optimizer.state_dict()["steps"] == 2


@pytest.mark.torch
def test_muon_moves_as_pytorchs_does():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    start = rng.normal(size=(6, 10)).astype(np.float32)
    ours, theirs = Tensor(start.copy(), requires_grad=True), torch.nn.Parameter(torch.tensor(start))
    mine = optim.Muon([ours], lr=0.05, momentum=0.95, weight_decay=0.1)
    other = torch.optim.Muon([theirs], lr=0.05, momentum=0.95, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        g = rng.normal(size=start.shape).astype(np.float32)
        ours.grad, theirs.grad = Tensor(g.copy()), torch.tensor(g)
        mine.step()
        other.step()
    moved = np.abs(theirs.detach().numpy() - start).max()
    assert np.abs(ours.data - theirs.detach().numpy()).max() < 0.03 * moved  # PyTorch iterates in bfloat16
