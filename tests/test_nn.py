"""Modules: names, modes, state, and their mistakes."""

import copy
import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, nn


class Net(nn.Module):
    def __init__(self, tied=True):
        self.embed = nn.Embedding(5, 4)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 6), mg.gelu, nn.Linear(6, 4, bias=False)) for _ in range(2)])
        self.drop = nn.Dropout(0.5)
        self.head = self.embed.weight if tied else nn.Parameter(np.ones((5, 4)))
        self.scale = nn.Parameter(1.5)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = x + self.drop(block(x))
        return x @ self.head.T * self.scale


IDS = np.array([[0, 1, 1], [4, 2, 0]])
NAMES = ["scale", "embed.weight", "blocks.0.0.weight", "blocks.0.0.bias", "blocks.0.2.weight"]
NAMES += ["blocks.1.0.weight", "blocks.1.0.bias", "blocks.1.2.weight"]


def test_parameters_are_found_by_dotted_names_and_shared_ones_once():
    net = Net()
    names = dict(net.named_parameters())
    assert sorted(names) == sorted(["head" if n == "embed.weight" else n for n in NAMES])
    assert names["head"] is net.embed.weight
    assert net.num_parameters() == 20 + 2 * (24 + 6 + 24) + 1
    assert len(Net(tied=False).parameters()) == len(net.parameters()) + 1


@pytest.mark.slow
def test_every_parameter_of_a_net_with_tied_weights_and_dropout_passes_the_check():
    mg.manual_seed(0)
    net = Net().astype(np.float64)
    parameters = dict(net.named_parameters())

    def f(values):
        held = {n: p.data for n, p in parameters.items()}
        for owner in net.modules():
            for key, value in list(owner.__dict__.items()):
                for name, p in parameters.items():
                    if value is p:
                        owner.__dict__[key] = values[name]
        try:
            return net(IDS)
        finally:
            for owner in net.modules():
                for key, value in list(owner.__dict__.items()):
                    for name in held:
                        if value is values[name]:
                            owner.__dict__[key] = parameters[name]

    report = mg.gradcheck(f, {n: p.data for n, p in parameters.items()})
    assert report, report
    assert mg.gradgradcheck(f, {n: p.data for n, p in parameters.items()})


def test_a_tied_weight_gets_the_gradient_of_both_uses():
    mg.manual_seed(0)
    tied = Net().eval()
    loose = copy.deepcopy(tied)
    loose.head = nn.Parameter(tied.embed.weight.data)
    for net in (tied, loose):
        mg.cross_entropy(net(IDS), IDS).backward()
    both = loose.head.grad.data + loose.embed.weight.grad.data
    np.testing.assert_allclose(tied.embed.weight.grad.data, both, rtol=1e-5, atol=1e-7)


def test_a_typo_is_an_error_and_not_none():
    net = Net()
    with pytest.raises(AttributeError, match=r"Net has no attribute 'embde'; did you mean 'embed'"):
        net.embde  # noqa: B018
    with pytest.raises(AttributeError, match="it has embed, blocks, drop, head, scale"):
        net.xyzzy  # noqa: B018
    assert not hasattr(net, "nothing")
    with pytest.raises(TypeError, match="Module defines no forward"):
        nn.Module()(1)


def test_train_and_eval_reach_every_module_and_dropout_obeys():
    net = Net()
    assert all(m.training for m in net.modules())
    assert net.eval() is net and not any(m.training for m in net.modules())
    np.testing.assert_array_equal(net(IDS).data, net(IDS).data)
    net.train()
    assert (net(IDS).data != net(IDS).data).any()
    x = Tensor(np.ones(10))
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x


def test_one_dropout_that_serves_two_layers_keeps_both_masks():
    mg.manual_seed(1)
    drop, x = nn.Dropout(0.5), Tensor(np.ones(100), requires_grad=True)
    a, b = drop(x), drop(x * 3)
    (a.sum() + b.sum()).backward()
    np.testing.assert_array_equal(x.grad.data, a.data + b.data)
    assert ((a.data == 0) != (b.data == 0)).any()


def test_zero_grad_and_astype():
    net = Net()
    net(IDS).sum().backward()
    assert all(p.grad is not None and p.grad.dtype == np.float32 for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    assert {p.dtype for p in net.astype(np.float64).parameters()} == {np.dtype(np.float64)}
    assert net.head is net.embed.weight


def test_state_dict_round_trip_and_independence():
    a, b = Net(), Net()
    state = a.state_dict()
    assert (a(IDS).data != b(IDS).data).any()
    assert b.load_state_dict(state) is b
    np.testing.assert_array_equal(a.eval()(IDS).data, b.eval()(IDS).data)
    state["scale"][...] = 99
    assert a.scale.item() == b.scale.item() == 1.5
    b.load_state_dict({"scale": 2.0}, strict=False)
    assert b.scale.item() == 2 and b.scale.dtype == np.float32
    b.load_state_dict({**a.state_dict(), "scale": Tensor(3.0)})
    assert b.scale.item() == 3


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: s.pop("scale"), "missing: scale"), (lambda s: s.update(extra=np.ones(1)), "unknown: extra"),
    (lambda s: s.update({"blocks.1.0.bias": np.ones(7)}), r"blocks.1.0.bias has shape \(7,\), the model expects \(6,\)"),
    (lambda s: s.update(scale=np.array("x")), "scale has dtype <U1"), (lambda s: s.update(scale=np.ones(1)), r"scale has shape \(1,\)"),
])  # fmt: skip
def test_load_state_dict_refuses_before_it_changes_anything(change, message):
    net = Net()
    before = net.state_dict()
    state = Net().state_dict()
    change(state)
    with pytest.raises(ValueError, match=f"Net.load_state_dict.*{message}"):
        net.load_state_dict(state)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_deepcopy_and_pickle_keep_ties_and_are_independent():
    net = Net()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin.head is twin.embed.weight and twin.head is not net.head
        twin.scale.data[...] = 7
    assert net.scale.item() == 1.5


def test_module_lists_and_sequentials():
    layers = nn.ModuleList([nn.Linear(2, 3)]).append(nn.Linear(3, 1))
    assert len(layers) == 2 and layers[-1] is layers[1] and [m.weight.shape for m in layers] == [(2, 3), (3, 1)]
    with pytest.raises(IndexError, match="index 2 of 2"):
        layers[2]
    with pytest.raises(TypeError, match="expected Modules, got function"):
        layers.append(lambda x: x)
    with pytest.raises(TypeError, match="expected a Module or a function, got int"):
        nn.Sequential(3)
    net = nn.Sequential(nn.Linear(2, 3), mg.relu, nn.Linear(3, 1))
    assert net(np.ones((5, 2), np.float32)).shape == (5, 1)
    assert "Linear(weight (2, 3), bias (3,))" in repr(net)
    assert "Dropout(p=0.5)" in repr(Net())


def test_wrong_sizes_are_named():
    with pytest.raises(ValueError, match="Linear: sizes must be positive, got 0 → 3"):
        nn.Linear(0, 3)
    with pytest.raises(ValueError, match="Embedding: sizes must be positive"):
        nn.Embedding(3, 0)
    for p in (1.0, -0.1):
        with pytest.raises(ValueError, match=f"Dropout: p={p}"):
            nn.Dropout(p)
    with pytest.raises(ValueError, match=r"linear: \(5, 3\) @ \(2, 4\)"):
        nn.Linear(2, 4)(np.ones((5, 3)))
    with pytest.raises(IndexError, match="token id 5"):
        nn.Embedding(5, 2)([1, 5])


def test_initialisation_follows_the_seed_and_the_fan_in():
    mg.manual_seed(7)
    a = nn.Linear(400, 300)
    mg.manual_seed(7)
    b = nn.Linear(400, 300)
    np.testing.assert_array_equal(a.weight.data, b.weight.data)
    assert abs(a.weight.data.std() - 0.05) < 0.001
    assert not a.bias.data.any()
    assert a.weight.dtype == np.float32 and nn.Linear(2, 2, bias=False).bias is None
