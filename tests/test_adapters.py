"""Low-rank adapters: what they start as, what learns, what merging keeps, and whose they are."""

import json

import numpy as np
import pytest

import minigrad as mg
from minigrad import optim
from transformer import GPT, cli
from transformer.compression import LowRank, add_adapters, count, load_adapters, merge_adapters, remove_adapters, save_adapters, watch
from transformer.training.checkpoints import RunFolder

IDS = np.random.default_rng(0).integers(0, 9, (2, 3, 8))
EVERY = ("q_proj", "k_proj", "v_proj", "out_proj", "up", "down", "gate")


def model(seed=0, **options):
    mg.manual_seed(seed)
    return GPT(9, 16, 2, 2, 8, **options)


def taught(gpt, steps=5, rank=2, targets=EVERY):
    """A model with adapters that have learned something."""
    parameters = add_adapters(gpt, rank, targets=targets)
    optimizer = optim.Adam(parameters, 0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        mg.cross_entropy(gpt(IDS[0]), IDS[1]).backward()
        optimizer.step()
    return gpt


@pytest.mark.parametrize("options", [{}, {"ffn": "swiglu", "num_kv_heads": 1}, {"ffn": "relu"}])
def test_an_adapted_model_begins_as_the_model_itself_and_every_adapter_learns(options):
    gpt = model(**options)
    before = gpt(IDS[0]).data
    parameters = add_adapters(gpt, 2, targets=EVERY)
    assert np.allclose(gpt(IDS[0]).data, before, atol=1e-6)
    assert {id(p) for p in parameters} == {id(p) for p in gpt.parameters() if p.requires_grad}
    assert sum(p.size for p in parameters) == sum(2 * sum(m.base.weight.shape) for m in gpt.modules() if isinstance(m, LowRank))
    fixed = {name: p.data.copy() for name, p in gpt.named_parameters() if not p.requires_grad}
    started = [p.data.copy() for p in parameters]
    optimizer = optim.Adam(parameters, 0.05)
    for _ in range(2):
        optimizer.zero_grad()
        mg.cross_entropy(gpt(IDS[0]), IDS[1]).backward()
        optimizer.step()
    assert all(not np.array_equal(p.data, start) for p, start in zip(parameters, started, strict=True))
    assert all(np.array_equal(dict(gpt.named_parameters())[name].data, a) for name, a in fixed.items())


def test_an_adapter_passes_on_the_activation():
    mg.manual_seed(0)
    gpt = model(ffn="gelu")
    up = gpt.layers[0].ffn.up
    adapted = LowRank(up, 2)
    x = mg.Tensor(np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32))
    assert np.allclose(adapted(x, mg.gelu).data, up(x, mg.gelu).data, atol=1e-6)


def test_merged_weights_give_the_same_logits_at_the_cost_of_the_plain_model():
    gpt = taught(model())
    plain = model()
    logits = gpt(IDS[0]).data
    assert np.abs(logits - plain(IDS[0]).data).max() > 0.1
    merged = merge_adapters(gpt)
    assert np.abs(merged(IDS[0]).data - logits).max() < 1e-5
    assert merged.state_dict().keys() == plain.state_dict().keys() and all(p.requires_grad for p in merged.parameters())
    assert count(merged, 3, 8).forward_flops == count(plain, 3, 8).forward_flops


def test_adapters_that_are_taken_off_leave_the_base_as_it_was_bit_for_bit():
    gpt = remove_adapters(taught(model()))
    assert all(np.array_equal(a, gpt.state_dict()[name]) for name, a in model().state_dict().items())
    with pytest.raises(ValueError, match="has no adapters"):
        merge_adapters(gpt)


def test_the_flops_of_an_adapted_model_are_those_that_are_computed():
    """The gradients of fixed weights are spared."""
    gpt = model()
    add_adapters(gpt, 1, targets=("q_proj", "v_proj", "up", "down"))
    table, plain = count(gpt, 3, 8), count(model(), 3, 8)
    with watch() as work:
        loss = mg.cross_entropy(gpt(IDS[0]), IDS[1])
    assert table.forward_flops == work.flops > plain.forward_flops
    with watch() as backward:
        loss.backward()
    assert table.training_flops == work.flops + backward.flops < plain.training_flops
    assert table.parameters == gpt.num_parameters()


def test_the_adapter_alone_is_a_small_file_that_fits_its_base_only(tmp_path):
    gpt = taught(model(), rank=1, targets=("q_proj", "v_proj"))
    path = tmp_path / "adapter.npz"
    save_adapters(gpt, path)
    mg.save(gpt.state_dict(), tmp_path / "whole.npz")
    assert path.stat().st_size < 0.4 * (tmp_path / "whole.npz").stat().st_size
    fresh = model()
    parameters = load_adapters(fresh, path)
    assert np.array_equal(fresh(IDS[0]).data, gpt(IDS[0]).data) and len(parameters) == 8

    before = model(seed=1)
    state = before.state_dict()
    with pytest.raises(ValueError, match=r"adapter\.npz: these adapters belong to a GPT of this configuration, but with other weights"):
        load_adapters(before, path)
    assert before.state_dict().keys() == state.keys() and all(p.requires_grad for p in before.parameters())
    with pytest.raises(ValueError, match="of another configuration than this GPT"):
        load_adapters(model(ffn_dim=32), path)
    with pytest.raises(ValueError, match="the model has adapters already"):
        load_adapters(fresh, path)
    with pytest.raises(ValueError, match=r"whole\.npz: holds no adapters"):
        load_adapters(model(), tmp_path / "whole.npz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="damaged"):
        load_adapters(model(), path)


def test_mistakes_are_told_before_anything_is_changed():
    gpt = model()
    with pytest.raises(ValueError, match=r"no Linear is named query; this GPT has down, k_proj, out_proj, q_proj, up, v_proj"):
        add_adapters(gpt, targets=["query"])
    with pytest.raises(ValueError, match=r"rank 17 for a matrix \(16, 16\); expected 1 to 16"):
        add_adapters(gpt, 17)
    assert all(p.requires_grad for p in gpt.parameters()) and not any(isinstance(m, LowRank) for m in gpt.modules())
    add_adapters(gpt)
    with pytest.raises(ValueError, match="has adapters already"):
        add_adapters(gpt)
    with pytest.raises(ValueError, match="no adapters"):
        save_adapters(model(), "nowhere.npz")


@pytest.mark.slow
def test_the_command_leaves_a_folder_that_is_used_like_any_other_and_the_adapters_alone(tmp_path, capsys):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("to be or not to be, that is the question. " * 40, encoding="utf-8")
    second.write_text("question the question: to be that, or not. " * 30, encoding="utf-8")
    base, out = str(tmp_path / "base"), str(tmp_path / "adapted")
    sizes = ["--width", "32", "--layers", "2", "--heads", "2", "--context", "16"]
    assert cli.main(["train", "--text", str(first), "--steps", "30", *sizes, "--out", base]) == 0
    asked = ["adapt", base, "--text", str(second), "--steps", "30", "--out", out]
    capsys.readouterr()
    assert cli.main(asked) == 2 and "cannot encode ':'" in capsys.readouterr().err
    second.write_text(second.read_text(encoding="utf-8").replace(":", ","), encoding="utf-8")
    assert cli.main(asked) == 0
    assert (tmp_path / "adapted" / "adapter.npz").stat().st_size < RunFolder(out).best_file.stat().st_size / 2
    merged, _, config = RunFolder(out).load_model()
    plain, _, _ = RunFolder(base).load_model()
    ids = np.array([[1, 2, 3]])
    load_adapters(plain, tmp_path / "adapted" / "adapter.npz")
    assert np.abs(merged(ids).data - plain(ids).data).max() < 1e-5 and config["adapted"]["rank"] == 2
    losses = []
    for folder in (base, out):
        capsys.readouterr()
        assert cli.main(["evaluate", folder, "--text", str(second), "--json"]) == 0
        losses.append(json.loads(capsys.readouterr().out)["loss"])
    assert losses[1] < losses[0]
    assert cli.main(["generate", out, "--tokens", "5", "--prompt", "to be"]) == 0
    assert cli.main(asked) == 2 and "holds a run already" in capsys.readouterr().err
    assert cli.main(["train", "--resume", "--out", out]) == 2 and "adapted weights, which cannot be trained on" in capsys.readouterr().err
    assert cli.main(["compress", out, "--to", "int8", "--out", str(tmp_path / "small")]) == 0
    assert cli.main(["evaluate", str(tmp_path / "small"), "--json"]) == 0


@pytest.mark.slow
def test_adapters_of_less_than_two_percent_recover_what_fine_tuning_gains_on_a_second_text():
    """From Python's help texts to 48,000 characters of its source code; each at its best on held-out source code, as in benchmarks/remedies.md."""
    from benchmarks import remedies

    gpt = remedies.make()
    remedies.train(gpt, 1500)
    base, before = gpt.state_dict(), remedies.loss_of(gpt, second=True)
    full = min(remedies.train(gpt.load_state_dict(base), 375, True, lr, 0.1, 48_000) for lr in (1e-3, 4e-4))
    gpt.load_state_dict(base)
    mg.manual_seed(1)
    parameters = add_adapters(gpt, 2)
    assert sum(p.size for p in parameters) < 0.02 * sum(a.size for a in base.values())
    adapted = remedies.train(gpt, 375, True, 1e-2, 0.0, 48_000)
    print(f"{before:.3f} before, {full:.3f} fine-tuned, {adapted:.3f} adapted: {(before - adapted) / (before - full):.1%} of the gain")
    assert before - adapted > 0.8 * (before - full) > 0.1
