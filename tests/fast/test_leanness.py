"""What a training step costs, counted and not timed: ops recorded, arrays allocated, bytes held.  A regression guard for speed."""

import ctypes
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

import minigrad as mg
from minigrad import graph, optim
from minigrad.fast.memory import keep_freed_memory
from transformer import GPT, KVCache, generate

LAYERS, WIDTH, CONTEXT, BATCH, VOCABULARY = 2, 32, 16, 4, 20
UNIT = BATCH * CONTEXT * WIDTH * 4  # bytes of one activation (B, T, C)


@pytest.fixture
def model():
    mg.manual_seed(0)
    return GPT(VOCABULARY, WIDTH, 4, LAYERS, CONTEXT)


def batch():
    ids = np.random.default_rng(0).integers(0, VOCABULARY, (2, BATCH, CONTEXT))
    return ids[0], ids[1]


def test_a_block_records_fourteen_ops(model):
    ids, targets = batch()
    loss = mg.cross_entropy(model(ids), targets)
    order, leaves, _ = graph.reachable([loss])
    names = [t.history[0].name for t in order]
    per_block = ["layer_norm"] * 2 + ["linear"] * 5 + ["split_heads"] * 3 + ["attention", "join_heads", "linear_gelu"] + ["add"] * 2
    around = ["_take", "pick", "add", "layer_norm", "swapaxes", "linear", "_cross_entropy"]
    assert sorted(names) == sorted(per_block * LAYERS + around)
    assert len(leaves) == len(model.parameters())


def test_the_graph_of_a_step_holds_a_bounded_number_of_activations(model):
    ids, targets = batch()
    mg.cross_entropy(model(ids), targets).backward()
    model.zero_grad()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    loss = mg.cross_entropy(model(ids), targets)
    held = tracemalloc.get_traced_memory()[0] - before
    loss.backward()
    after = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    # norm, q, k, v, output, projection, sum, norm, 4 gelu, 4 gelu', down, sum = 18, and the weights of attention (4 · T·T·B)
    per_block = 18 * UNIT + 4 * CONTEXT * CONTEXT * BATCH * 4
    assert held < 1.25 * (LAYERS * per_block + 4 * UNIT) + 100_000
    gradients = sum(p.data.nbytes for p in model.parameters())
    assert after < gradients + 100_000  # nothing but the gradients is left


def test_activations_are_freed_while_backward_consumes_them(model):
    ids, targets = batch()
    mg.cross_entropy(model(ids), targets).backward()
    model.zero_grad()
    tracemalloc.start()
    loss = mg.cross_entropy(model(ids), targets)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    loss.backward()
    top = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert top < held + 12 * UNIT + 100_000  # one layer's gradients at a time, not those of all


def test_an_optimizer_step_allocates_no_array_of_the_size_of_the_parameters(model):
    ids, targets = batch()
    optimizer = optim.AdamW(model.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        mg.cross_entropy(model(ids), targets).backward()
        optimizer.step()
    mg.cross_entropy(model(ids), targets)
    optimizer.zero_grad()
    mg.cross_entropy(model(ids), targets).backward()
    tracemalloc.start()
    optimizer.step()
    left, top = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert left < 5_000
    assert top < 3 * 4 * optim.BLOCK  # a working block, whatever the size of the model


def test_small_parameters_are_moved_in_one_update(model, monkeypatch):
    ids, targets = batch()
    optimizer = optim.AdamW(model.parameters(), 1e-3)
    mg.cross_entropy(model(ids), targets).backward()
    calls = []
    update = optim.AdamW.update
    monkeypatch.setattr(optim.AdamW, "update", lambda self, theta, *rest: (calls.append(theta.size), update(self, theta, *rest)))
    optimizer.step()
    assert len(calls) == 1 + sum(p.size for p in model.parameters()) // optim.BLOCK


def test_decoding_with_a_cache_keeps_nothing_that_grows(model):
    model.eval()
    cache = KVCache(CONTEXT)
    held = []
    tracemalloc.start()
    with mg.no_grad():
        for i in range(CONTEXT):
            model(np.full((1, 1), i % VOCABULARY), cache=cache)
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert max(held[4:]) - min(held[4:]) < 5_000  # a column of ones for each length, and what Python keeps for the next tuple


def test_the_allocator_is_told_what_to_keep_where_there_is_one_to_tell(monkeypatch):
    told = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=lambda what, size: told.append((what, size)) or 1))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("MINIGRAD_MALLOC", "0")
    assert keep_freed_memory() is False and not told
    monkeypatch.delenv("MINIGRAD_MALLOC")
    assert keep_freed_memory() is True and told == [(-3, 32 << 20), (-1, 256 << 20)]  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    assert keep_freed_memory() is False
    monkeypatch.setattr(sys, "platform", "win32")
    assert keep_freed_memory() is False


def test_a_program_computes_in_memory_that_it_has_already():
    x = np.linspace(0.1, 1, 1 << 17)

    def f(a):
        for _ in range(4):
            a = mg.exp(-mg.sqrt(a * a + 1)) + mg.tanh(a)
        return a

    program = mg.program(f)
    for _ in range(6):
        program(x)
    tracemalloc.start()
    program(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * x.nbytes  # what it returns, and nothing besides


def test_softmax_along_the_last_axis_has_its_kernel_by_either_number_of_the_axis():
    x, fits = np.ones((2, 3)), graph.REGISTRY["softmax"].fits
    assert fits(x, axis=-1) and fits(x, axis=1) and not fits(x, axis=0) and not fits(x, axis=2)


def test_what_one_text_has_recorded_the_next_one_uses():
    mg.manual_seed(0)
    model, widths = GPT(7, 16, 2, 2, 40), []
    forward = model.forward
    model.forward = lambda ids, **options: widths.append(ids.shape[1]) or forward(ids, **options)
    generate(model, [1, 2], 20, rng=0)
    widths.clear()
    assert len(generate(model, [3, 4], 9, rng=1)) == 11
    assert widths == [2]  # the prompt; every further token is a replay
