"""The collection of derivations from public courses: what diagnose names, and that it never misjudges."""

import time

import numpy as np
import pytest

import minigrad as mg
from benchmarks.derivations import AGAIN, ALL, LATER, TWO
from benchmarks.diagnose import random_ones, right_ones, said


def test_the_collection_is_as_large_as_was_asked_for():
    assert len(ALL) >= 60 and all(len(d.wrong) == 5 for d in ALL)
    assert min(sum(d.kind == kind for d in ALL) for kind in ("plain", "library")) >= 30


@pytest.mark.slow
def test_right_gradients_are_right():
    assert right_ones([*ALL, *LATER, *AGAIN]) == []


@pytest.mark.parametrize("derivation", ALL, ids=[d.name for d in ALL])
@pytest.mark.slow
def test_wrong_gradients_are_wrong_and_no_cause_is_a_false_one(derivation):
    outcomes = [said(derivation, mistake) for mistake in derivation.wrong]
    assert {outcome for outcome, _, _ in outcomes} <= {"named", "tied", "unknown"}, outcomes
    assert sum(outcome == "unknown" for outcome, _, _ in outcomes) <= 2


@pytest.mark.parametrize("collection", [LATER, AGAIN], ids=["later", "again"])
@pytest.mark.slow
def test_the_later_collections_are_named_too(collection):
    outcomes = [said(d, mistake) for d in collection for mistake in d.wrong]
    assert {outcome for outcome, _, _ in outcomes} <= {"named", "tied", "unknown"}, outcomes
    assert sum(outcome == "unknown" for outcome, _, _ in outcomes) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("derivation", [*ALL, *LATER, *AGAIN], ids=lambda d: d.name)
def test_the_printed_code_of_a_derivation_runs_with_numpy_alone(derivation):
    inputs = derivation.inputs()
    leaves = {k: mg.Tensor(v, requires_grad=True) if np.asarray(v).dtype.kind == "f" else v for k, v in inputs.items()}
    named = {k: t for k, t in leaves.items() if isinstance(t, mg.Tensor)}
    solution = mg.explain(derivation.f(**leaves), names=named)
    space = {}
    exec(solution.code(), space)
    _, gradients = space["derivation"](**solution.arrays())
    for name, code in derivation.right.items():
        np.testing.assert_allclose(gradients[name], derivation.gradient(code, inputs), rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_two_mistakes_at_once_are_told_apart():
    outcomes = [said(d, mistake)[0] for d in TWO for mistake in d.wrong]
    assert sum(outcome in ("named", "tied") for outcome in outcomes) >= 0.9 * len(outcomes)
    assert "called right" not in outcomes


@pytest.mark.slow
def test_random_gradients_get_no_name():
    assert random_ones(ALL, 60) == []


@pytest.mark.slow
def test_sixty_steps_and_ten_thousand_numbers_take_less_than_ten_seconds():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 50)), rng.integers(0, 4, 100)
    inputs = {"W": 0.2 * rng.normal(size=(50, 50)), "V": 0.2 * rng.normal(size=(50, 50)), "g": np.ones(50), "U": rng.normal(size=(50, 4))}

    def f(W, V, g, U):
        h = mg.Tensor(x)
        for _ in range(4):
            a, c = mg.tanh(h @ W), mg.sigmoid(h @ V)
            h = mg.rms_norm(a * c + (1 - c) * h, g)
        return mg.cross_entropy(h @ U, y) + 0.01 * (W * W).sum()

    start = time.process_time()
    found = mg.diagnose(f, inputs, {name: rng.normal(size=v.shape) for name, v in inputs.items()})
    assert set(found.mistakes.values()) == {"not recognised"}
    assert time.process_time() - start < 10
