"""Weights in sixteen and in eight bits: the error, the file, and what is refused."""

import json

import numpy as np
import pytest

import minigrad as mg
from transformer import GPT, cli
from transformer.compression import pack, quantize, unpack
from transformer.evaluation.perplexity import perplexity
from transformer.training.checkpoints import RunFolder


def weights(shape=(64, 48), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("by", ["tensor", "channel", "group"])
@pytest.mark.parametrize("axis", [0, 1])
def test_no_weight_is_off_by_more_than_half_a_step(by, axis):
    w = weights((70, 50)) * np.linspace(0.1, 3, 50)
    q = quantize(w, by, axis, group=16)
    rows, columns = (np.arange(n) // b for n, b in zip(w.shape, q.block, strict=True))
    assert (np.abs(q.array() - w) <= 0.5001 * q.scales[rows][:, columns]).all()
    assert np.abs(q.values.astype(int)).max() <= 127 and np.abs(q.values.astype(int)).max() >= 126
    expected = {"tensor": (1, 1), "channel": [(1, 50), (70, 1)][axis], "group": [(5, 50), (70, 4)][axis]}[by]
    assert q.scales.shape == expected and q.bytes == w.size + 2 * q.scales.size


def test_an_outlier_costs_its_whole_block_and_smaller_blocks_contain_it():
    w = weights()
    w[5, 7] = 100.0
    rest = np.ones(w.shape, bool)
    rest[5, 7] = False
    error = {by: np.sqrt(np.mean((quantize(w, by, 0, 16).array() - w)[rest] ** 2)) for by in ("tensor", "channel", "group")}
    assert error["tensor"] > 5 * error["channel"] > 5 * 1.3 * error["group"]


def test_zeros_tiny_and_huge_weights_survive_and_what_is_not_finite_is_refused():
    assert (quantize(np.zeros((3, 2))).array() == 0).all()
    for size in (1e-35, 1e35):
        w = weights() * np.float32(size)
        assert np.allclose(quantize(w).array(), w, atol=0.02 * np.abs(w).max())
    with pytest.raises(ValueError, match="NaN or infinity"):
        quantize(np.array([[np.nan]]))
    with pytest.raises(ValueError, match="expected a matrix"):
        quantize(np.ones(3))


def test_a_row_of_an_embedding_and_a_column_of_a_linear_map_are_channels():
    mg.manual_seed(0)
    model = GPT(9, 16, 2, 1, 8)
    model.token_embedding.weight.data[3] *= 1000  # an outlier of one token
    model.layers[0].ffn.up.weight.data[:, 5] *= 1000  # and of one output
    restored = unpack(pack(model, "int8"))
    for name, p in model.named_parameters():
        error = np.abs(restored[name] - p.data)
        if name == "token_embedding.weight":
            assert error[np.arange(9) != 3].max() < 0.01 * np.abs(p.data[0]).max() * 10
        if name == "layers.0.ffn.up.weight":
            assert error[:, np.arange(64) != 5].max() < 0.02


@pytest.mark.parametrize(("to", "tolerance"), [("float16", 2**-11), ("bfloat16", 2**-8), ("int8", 1 / 127)])
def test_every_parameter_comes_back_in_float32_within_the_precision(to, tolerance):
    mg.manual_seed(0)
    model = GPT(9, 16, 2, 1, 8, num_kv_heads=1)
    restored = unpack(pack(model, to))
    assert list(restored) == list(model.state_dict())
    for name, array in model.state_dict().items():
        assert restored[name].dtype == np.float32 and restored[name].shape == array.shape
        assert np.abs(restored[name] - array).max() <= tolerance * max(1e-9, np.abs(array).max())
    model.load_state_dict(restored)


def test_an_ordinary_state_dict_is_left_as_it_is():
    state = {"weight": weights()}
    assert unpack(state)["weight"] is state["weight"]


def test_weights_beyond_float16_are_refused_with_the_way_out():
    model = GPT(9, 16, 2, 1, 8)
    model.norm.weight.data[0] = 1e5
    with pytest.raises(ValueError, match=r"norm\.weight reaches 100000.*use bfloat16"):
        pack(model, "float16")
    assert unpack(pack(model, "bfloat16"))["norm.weight"][0] == pytest.approx(1e5, rel=0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a model of some size that has learned a little."""
    where = tmp_path_factory.mktemp("run")
    text = where / "text.txt"
    rng = np.random.default_rng(0)
    words = ["attention", "is", "all", "you", "need", "query", "key", "value", "softmax", "of", "the", "scores"]
    text.write_text(" ".join(rng.choice(words, 3000)), encoding="utf-8")
    sizes = ["--width", "64", "--layers", "2", "--heads", "2", "--context", "32", "--batch", "8"]
    assert cli.main(["train", "--text", str(text), "--steps", "40", *sizes, "--out", str(where / "run")]) == 0
    return where / "run"


@pytest.mark.parametrize(
    ("options", "share", "change"),
    [(["float16"], 0.52, 1e-3), (["bfloat16"], 0.52, 1e-2), (["int8"], 0.275, 1e-2), (["int8", "--by", "group"], 0.28, 1e-2)],
)
@pytest.mark.slow
def test_a_compressed_run_is_small_and_as_good_and_is_used_like_any_other(run, tmp_path, capsys, options, share, change):
    out = str(tmp_path / "small")
    assert cli.main(["compress", str(run), "--to", *options, "--out", out]) == 0
    small, whole = RunFolder(out), RunFolder(run)
    assert small.best_file.stat().st_size < share * whole.best_file.stat().st_size
    capsys.readouterr()
    found = {}
    for name in (str(run), out):
        assert cli.main(["evaluate", name, "--json"]) == 0
        found[name] = json.loads(capsys.readouterr().out)["perplexity"]
    assert found[out] == pytest.approx(found[str(run)], rel=change) and found[out] != found[str(run)]
    assert cli.main(["generate", out, "--tokens", "5", "--prompt", "attention", "--seed", "1"]) == 0
    assert capsys.readouterr().out.startswith("attention")


def refuses(capsys, *arguments):
    """The one line that a command says."""
    capsys.readouterr()
    assert cli.main(list(map(str, arguments))) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.slow
def test_damaged_mismatched_and_missing_files_are_refused_in_one_line(run, tmp_path, capsys):
    small, half, group = tmp_path / "small", tmp_path / "half", tmp_path / "group"
    for out, options in ((small, ["int8"]), (half, ["float16"]), (group, ["int8", "--by", "group"])):
        assert cli.main(["compress", str(run), "--to", *options, "--out", str(out)]) == 0
    good = (small / "best.npz").read_bytes()

    (small / "best.npz").write_bytes(good[: len(good) // 2])
    assert "damaged" in refuses(capsys, "evaluate", small)
    spoiled = bytearray(good)
    spoiled[len(good) // 2] ^= 1
    (small / "best.npz").write_bytes(bytes(spoiled))
    assert "damaged" in refuses(capsys, "generate", small)
    (small / "best.npz").write_bytes((half / "best.npz").read_bytes())
    assert "of another run" in refuses(capsys, "evaluate", small)
    (small / "best.npz").write_bytes((run / "best.npz").read_bytes())
    assert "of another run" in refuses(capsys, "evaluate", small)
    (run / "best.npz").rename(run / "kept.npz")
    (run / "best.npz").write_bytes(good)
    assert "of another run" in refuses(capsys, "evaluate", run)
    (run / "kept.npz").replace(run / "best.npz")
    (small / "best.npz").unlink()
    assert "it holds the weights: make them anew" in refuses(capsys, "evaluate", small)
    (small / "best.npz").write_bytes(good)
    assert cli.main(["evaluate", str(small), "--json"]) == 0

    other = {name: a for name, a in mg.load(group / "best.npz").items()}
    other["@values"] = other["@values"][::-1].copy()
    mg.save(other, group / "best.npz")
    assert "holds other weights" in refuses(capsys, "evaluate", group)
    assert "is compressed already" in refuses(capsys, "compress", small, "--to", "float16", "--out", tmp_path / "again")
    assert "cannot be trained on" in refuses(capsys, "train", "--resume", "--out", small)
    assert "--by is for --to int8" in refuses(capsys, "compress", run, "--to", "float16", "--by", "group", "--out", tmp_path / "again")
    assert "holds a run already" in refuses(capsys, "compress", run, "--to", "float16", "--out", half)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.update({"@values": s["@values"][:-1]}), "numbers of int8 left"),
        (lambda s: s.update({"@scales": np.append(s["@scales"], s["@scales"])}), "numbers more than"),
        (lambda s: s.update({"@halves": s["@halves"].astype(np.float32)}), "of float16 are due"),
        (lambda s: s.pop("@scales"), "@scales has 0 numbers"),
        (lambda s: s.update({"@format": np.array('{"to": "int4"}')}), "does not know"),
        (lambda s: s.update({"@format": np.array('{"to": "float16"}')}), "table of contents"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(spoil, message):
    state = pack(GPT(9, 16, 2, 1, 8), "int8")
    spoil(state)
    with pytest.raises(ValueError, match=message):
        unpack(state)


def test_int8_keeps_the_perplexity_of_a_model_with_an_outlier_only_by_channel():
    mg.manual_seed(0)
    model = GPT(9, 32, 2, 2, 16).eval()
    for layer in model.layers:
        layer.ffn.up.weight.data[:, 3] *= 200
        layer.ffn.down.weight.data[3] /= 200
    ids = np.random.default_rng(0).integers(0, 9, 200)
    exact = perplexity(model, ids)
    off = {}
    state = model.state_dict()
    for by in ("tensor", "channel"):
        model.load_state_dict(state)
        off[by] = abs(perplexity(model.load_state_dict(unpack(pack(model, "int8", by))), ids) / exact - 1)
    assert off["tensor"] > 5 * off["channel"]
