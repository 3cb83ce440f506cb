"""What the benchmark of the remedies compares is comparable."""

from functools import partial

import numpy as np
import pytest

import minigrad as mg
from benchmarks.remedies import Row, Section, attention_with_square, main, markdown
from transformer import GPT

IDS = np.random.default_rng(0).integers(0, 9, (2, 3, 12))


def gradients(model):
    mg.cross_entropy(model(IDS[0]), IDS[1]).backward()
    return [p.grad.data for p in model.parameters()]


@pytest.mark.parametrize("kv", [4, 2, 1])
def test_attention_with_a_square_array_has_the_gradients_of_attention_in_blocks(kv):
    mg.manual_seed(0)
    model = GPT(9, 16, 4, 1, 12, num_kv_heads=kv)
    expected = gradients(model)
    model.zero_grad()
    model.layers[0].self_attention.forward = partial(attention_with_square, model.layers[0].self_attention)
    for mine, theirs in zip(gradients(model), expected, strict=True):
        assert np.allclose(mine, theirs, atol=1e-6)


def test_a_section_is_a_table():
    lines = markdown(Section("Title", "What it is.", ("way", "time"), [Row("plain", ("1.00",))]))
    assert lines == ["## Title", "", "What it is.", "", "| way | time |", "| --- | ---: |", "| plain | 1.00 |", ""]


def test_a_part_of_the_report_is_not_saved_in_place_of_the_whole(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "memory", "--save"])
    assert "--save needs all sections" in capsys.readouterr().err
