"""The paper model of a step: its terms by hand, what was measured, and what was published."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import parallel, scaling
from transformer import GPT
from transformer.compression import count
from transformer.parallel.scaling import A100, GPT2_XL, GPT3, Job, Layout, Machine, all_reduce, best, gpt, halving, ring, step

ROOT = Path(__file__).resolve().parent.parent
SIMPLE = Machine(flops=1e9, memory_bandwidth=1e9, memory=1e12, bandwidth=100.0, latency=1.0)
JOB = Job(parameters=1000, layers=4, width=8, context=2, batch=8, forward_flops=1e9, number=1, recompute=False)


def test_a_ring_of_four_sends_a_quarter_six_times():
    assert ring(400.0, 4, 100.0, 1.0) == 6 * (100 / 100 + 1)
    assert halving(400.0, 4, 100.0, 1.0) == 2 * (200 / 100 + 1) + 2 * (100 / 100 + 1)


def test_one_worker_sends_nothing_and_takes_the_time_of_its_products():
    taken = step(JOB, SIMPLE, Layout())
    assert (taken.data, taken.tensor, taken.pipeline, taken.bubble) == (0, 0, 0, 0)
    assert taken.compute == 8 * 3 and taken.memory > 1000 * (1 + 1 + 12)


def test_nodes_first_means_that_only_a_part_goes_through_the_network():
    machine = replace(SIMPLE, node=4, node_bandwidth=10.0, node_latency=0.0, latency=0.0)
    assert all_reduce(400.0, 8, machine, 4) == pytest.approx(2 * 0.75 * 400 / 100 + 2 * 0.5 * 100 / 10)
    assert all_reduce(400.0, 3, machine, 4) == pytest.approx(2 * 2 / 3 * 4)


@pytest.mark.parametrize(("stages", "microbatches"), [(2, 8), (4, 8), (4, 2)])
def test_the_bubble_of_a_pipeline_is_p_minus_1_of_m_plus_p_minus_1(stages, microbatches):
    taken = step(JOB, replace(SIMPLE, bandwidth=math.inf, latency=0), Layout(pipeline=stages, microbatch=8 // microbatches))
    assert taken.bubble / (taken.bubble + taken.compute) == pytest.approx((stages - 1) / (microbatches + stages - 1))


def test_tensor_parallelism_adds_up_activations_four_times_in_each_layer():
    taken = step(JOB, SIMPLE, Layout(tensor=2, microbatch=8))
    activations = 8 * 2 * 8
    assert taken.tensor == pytest.approx(4 * 4 * ring(activations, 2, 100.0, 1.0)) and taken.compute == 12


def test_sharding_divides_states_then_gradients_then_weights():
    """ZeRO's example, section 1: 7.5 billion parameters on 64 workers take 120, 31.4, 16.6 and 1.9 GB."""
    job = Job(7.5e9, 1, 1, 1, 64, 1.0)
    found = [step(job, A100, Layout(data=64, sharding=stage)).memory / 1e9 for stage in range(4)]
    assert found == pytest.approx([120, 31.4, 16.6, 1.9], abs=0.05)


def test_the_flops_of_a_gpt_by_its_sizes_are_those_that_are_counted():
    model = GPT(96, 32, 4, 3, 16)
    job = gpt(3, 32, 16, 96, 1)
    assert job.forward_flops == count(model, 1, dense=True).forward_flops
    assert job.parameters == model.num_parameters()


def test_a_layout_that_cannot_be_is_refused():
    for layout in (Layout(pipeline=5), Layout(data=16), Layout(sharding=4), Layout(data=4, microbatch=4)):
        with pytest.raises(ValueError, match="step: "):
            step(JOB, SIMPLE, layout)


def test_more_workers_are_never_slower_and_always_further_from_the_ideal():
    times = [best(GPT3, A100, n)[1].seconds for n in (64, 512, 4096, 32768, 100_000)]
    assert times == sorted(times, reverse=True)
    losses = [seconds * n for seconds, n in zip(times, (64, 512, 4096, 32768, 100_000))]
    assert losses == sorted(losses)
    assert best(GPT3, A100, 8) is None and best(GPT2_XL, A100, 1) is not None


def test_the_rate_that_was_published_for_a_trillion_parameters_is_met_within_a_tenth():
    """Narayanan et al. (2021): 502 PFLOP/s on 3072 A100 with tensor 8, pipeline 64."""
    job = gpt(128, 25600, 2048, 51200, 3072)
    assert job.flops / step(job, A100, Layout(6, 8, 64)).seconds == pytest.approx(502e15, rel=0.1)


def test_predicted_step_times_are_within_30_percent_of_the_measured_ones_and_follow_from_them():
    found = json.loads((ROOT / "benchmarks" / "parallel.json").read_text(encoding="utf-8"))
    predicted = parallel.predict(found["measured"])
    text = (ROOT / "benchmarks" / "parallel.md").read_text(encoding="utf-8")
    assert parallel.report(found["measured"], predicted) + "\n" == text
    ratios = [float(line.split("|")[-2]) for line in text.splitlines() if line.startswith(("| 2 ranks", "| 4 ranks"))]
    assert len(ratios) == 4 and all(0.7 <= ratio <= 1.3 for ratio in ratios)


def test_the_page_shows_what_its_command_prints():
    page = (ROOT / "docs" / "parallel.md").read_text(encoding="utf-8")
    for part in (scaling.layouts_table(), scaling.rings_table(), scaling.published()):
        assert part in page
