"""Every number that PyTorch computes too: outputs, every gradient and second derivatives, within 1e-10 in float64 and 1e-5 in float32.

The recorded tests compare with arrays that PyTorch once wrote (tests/reference/record.py) and run on every machine. The
live tests, marked `torch`, ask the PyTorch that is installed, with other random numbers.
"""

import importlib
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import transformer
from minigrad import Tensor, nn, optim

REFERENCE = Path(__file__).parent / "reference"
FILES = {path.stem: np.load(path, allow_pickle=False) for path in sorted(REFERENCE.glob("*.npz"))}
FAMILY = {  # case -> family, of the cases that say how they are to be repeated; those of todays_block.npz have a test of their own
    key.split("/")[0]: family for family, file in FILES.items() for key in file.files if key.endswith("/config")
}
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-5}
DERIVATIVES = ("grad.", "hvp.", "hessian.")


@pytest.mark.parametrize("name", FAMILY)
def test_float64_equals_recorded_pytorch(name):
    check(recorded(name), np.float64)


@pytest.mark.parametrize("name", FAMILY)
def test_float32_equals_recorded_pytorch(name):
    check(recorded(name), np.float32)


@pytest.mark.torch
@pytest.mark.parametrize("name", FAMILY)
def test_float64_equals_live_pytorch(name, ask_pytorch):
    check(ask_pytorch(name, seed=2), np.float64)


@pytest.mark.torch
def test_every_case_is_recorded(recorder):
    assert {name: family for family, cases in recorder.FAMILIES.items() for name in cases} == FAMILY


@pytest.mark.torch
def test_the_recorded_numbers_are_pytorchs(ask_pytorch):
    """A stale recording would hold us to numbers that nobody can explain."""
    for name in FAMILY:
        then, now = recorded(name), ask_pytorch(name)
        assert then.keys() == now.keys()
        for key in then.keys() - {"config"}:
            np.testing.assert_allclose(then[key], now[key], rtol=1e-12, atol=1e-12, err_msg=f"{name}/{key}")
        assert then["config"] == now["config"]


@pytest.fixture(scope="module")
def recorder():
    """tests/reference/record.py; the one place where a machine without PyTorch skips."""
    pytest.importorskip("torch", reason="PyTorch is not installed: the recorded tests stand in for the live ones")
    sys.path.insert(0, str(REFERENCE))
    try:
        return importlib.import_module("record")
    finally:
        sys.path.remove(str(REFERENCE))


@pytest.fixture
def ask_pytorch(recorder):
    return recorder.answer


@cache
def recorded(name):
    file = FILES[FAMILY[name]]
    return {key.split("/")[1]: file[key] for key in file.files if key.startswith(f"{name}/")}


def named(arrays, prefix):
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def check(case, dtype):
    """Do what the case's config says, and compare every number that the case holds beyond what was given."""
    config = json.loads(str(case["config"]))
    twice = any(key.startswith("hvp.") for key in case)
    answers = (train if "max_norm" in config else differentiate_twice if twice else differentiate)(case, config, dtype)
    assert answers.keys() == {key for key in case if not key.startswith(("input.", "param.", "upstream", "vector.", "config"))}
    largest_gradient = max((np.abs(case[key]).max() for key in case if key.startswith(DERIVATIVES)), default=0.0)
    for key, answer in answers.items():
        expected = case[key]
        assert answer.shape == expected.shape and answer.dtype == dtype, f"{key}: {answer.dtype} {answer.shape}"
        # A gradient that is zero in theory, as the key bias's is, has no size of its own to measure its error by.
        size = max(np.abs(expected).max(), 0.1 * largest_gradient if key.startswith(DERIVATIVES) else 0.0)
        error = np.abs(answer - expected).max() / size
        assert error < TOLERANCE[dtype], f"{key} is off by {error:.1e} of its largest entry"


def differentiate(case, config, dtype):
    """Our output and gradients: floating inputs and parameters are leaves, masks, ids and classes are plain arrays."""
    leaves = {key: leaf(array, dtype) for key, array in variables(case).items()}
    output = call_ours(case, config, leaves, dtype)
    output.backward(case["upstream"].astype(dtype))
    return {"output": output.numpy(), **{f"grad.{key}": tensor.grad.numpy() for key, tensor in leaves.items()}}


def differentiate_twice(case, config, dtype):
    """Our Hessian-vector product of all leaves at once, and the Hessian by each leaf that the case asks for."""
    leaves = {key: array.astype(dtype) for key, array in variables(case).items()}

    def loss(values):
        return (call_ours(case, config, values, dtype) * case["upstream"].astype(dtype)).sum()

    products = mg.hvp(loss, leaves, named(case, "vector."))
    hessians = {key: mg.hessian(lambda x, key=key: loss({**leaves, key: x}))(leaves[key]) for key in named(case, "hessian.")}
    found = {"output": call_ours(case, config, {key: Tensor(array) for key, array in leaves.items()}, dtype)}
    found |= {f"hvp.{key}": value for key, value in products.items()} | {f"hessian.{key}": value for key, value in hessians.items()}
    return {key: value.numpy() for key, value in found.items()}


def variables(case):
    """What gradients are taken by."""
    return {key: array for key, array in case.items() if key.startswith(("input.", "param.")) and array.dtype.kind == "f"}


def call_ours(case, config, values, dtype):
    """Our output, where the leaves have these values."""
    given = named(case, "input.") | named(values, "input.")
    for key in config.get("padding", ()):
        given[key] = transformer.padding_mask(given[key])
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in config["options"].items()}
    if weights := named(values, "param."):
        module = lookup(config["call"])(**options).astype(dtype)
        assert {key: p.shape for key, p in module.named_parameters()} == {key: value.shape for key, value in weights.items()}
        tensors = {key: value if isinstance(value, Tensor) else Tensor(value) for key, value in weights.items()}
        output = nn.functional_call(module, tensors, lambda: module(**given, **config.get("at_call", {})))
    else:
        tensors = [list(given.values())] if config.get("as_list") else given.values()
        output = lookup(config["call"])(*config.get("leading", ()), *tensors, **options)
    return mg.concatenate(output, axis=-1) if isinstance(output, tuple) else output  # attention and its weights


def train(case, config, dtype):
    """Our optimizer's whole path over the case's batches: losses, norms, rates, and each parameter after each step."""
    inputs, classes = case["input.x"].astype(dtype), case["input.y"]
    weights = {key: leaf(array, dtype) for key, array in named(case, "param.").items()}
    optimizer = getattr(optim, config["call"])(list(weights.values()), **config["options"])
    schedule = optim.warmup_cosine(**config["warmup_cosine"]) if config["warmup_cosine"] else None
    losses, norms, rates = [], [], []
    path = {key: [] for key in weights}
    for step, (x, y) in enumerate(zip(inputs, classes, strict=True)):
        if schedule:
            optimizer.lr = schedule(step)
        hidden = mg.tanh(mg.matmul(x, weights["w1"]) + weights["b1"])
        loss = mg.cross_entropy(hidden @ weights["w2"] + weights["b2"], y, reduction="sum")
        optimizer.zero_grad()
        loss.backward()
        max_norm = np.inf if config["max_norm"] is None else config["max_norm"]
        norms.append(optim.clip_grad_norm(list(weights.values()), max_norm))
        optimizer.step()
        losses.append(loss.item())
        rates.append(optimizer.lr)
        for key, weight in weights.items():
            path[key].append(weight.numpy().copy())
    told = {"output": losses, "norms": norms, "rates": rates}
    return {key: np.array(values, dtype) for key, values in told.items()} | {
        f"trajectory.{key}": np.stack(values) for key, values in path.items()
    }


def leaf(array, dtype):
    return Tensor(array.astype(dtype), requires_grad=True)


def lookup(call):
    """`minigrad.softmax` and the like; a bare name is one of the modules below."""
    package, _, name = call.rpartition(".")
    return getattr({"minigrad": mg, "transformer": transformer}[package], name) if package else COMPOSED[call]


class EncoderDecoder(nn.Module):
    """What nn.Transformer is: two stacks, without embeddings and output layer."""

    def __init__(self, **sizes):
        super().__init__()
        self.encoder = transformer.Encoder(**sizes)
        self.decoder = transformer.Decoder(**sizes)

    def forward(self, source, target, source_mask=None, target_mask=None):
        memory = self.encoder(source, mask=source_mask)
        return self.decoder(target, memory, mask=target_mask, memory_mask=source_mask)


class GPTLoss(transformer.GPT):
    """A GPT and its loss in one graph."""

    def forward(self, input_ids, targets):
        return mg.cross_entropy(super().forward(input_ids), targets)


COMPOSED = {"encoder_decoder": EncoderDecoder, "gpt_loss": GPTLoss}
