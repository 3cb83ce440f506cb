"""The command line, in this process: train, generate, evaluate, attention, check."""

import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from minigrad.graph import REGISTRY
from transformer import cli, perplexity
from transformer.cli import main
from transformer.data import corpora
from transformer.training.checkpoints import RunFolder

TEXT = "".join(f"The {n} cats sat on mat {n * n}, and the dog number {n + 3} saw them.\n" for n in range(60))
SHAPE = ["--layers", "1", "--heads", "2", "--width", "16", "--context", "16"]
LENGTH = ["--steps", "6", "--evaluate-every", "3", "--batch", "4", "--warmup", "2", "--sample-tokens", "8"]


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "cats.txt"
    path.write_text(TEXT, encoding="utf-8", newline="\n")
    return path


@pytest.fixture(scope="module")
def run(text_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "cats"
    assert main(["train", "--text", str(text_file), "--out", str(path), *SHAPE, *LENGTH, "--dropout", "0.2"]) == 0
    return path


@pytest.mark.slow
def test_training_leaves_the_whole_run_folder(run):
    names = {"config.json", "tokenizer.json", "last.npz", "best.npz", "log.csv", "samples.txt", "loss.png", "attention.png"}
    assert {p.name for p in run.iterdir()} == names
    log = (run / "log.csv").read_text(encoding="utf-8").splitlines()
    assert log[0] == "step,loss,learning_rate,gradient_norm,validation_loss"
    assert [line.split(",")[0] for line in log[1:]] == ["1", "2", "3", "4", "5", "6"]
    assert [bool(line.split(",")[4]) for line in log[1:]] == [False, False, True] * 2
    assert all((run / p).read_bytes().startswith(b"\x89PNG") for p in ("loss.png", "attention.png"))


@pytest.mark.slow
def test_training_shows_the_lines_to_beat_and_the_next_command(text_file, tmp_path, capsys):
    out = tmp_path / "r"
    assert main(["train", "--text", str(text_file), "--out", str(out), *SHAPE, *LENGTH, "--tokenizer", "bpe", "--vocab", "280"]) == 0
    shown = capsys.readouterr().out
    for word in ("uniform", "unigram", "bigram", "this model", f"generate {out}", "vocabulary 280"):
        assert word in shown


def test_training_does_not_overwrite_a_run(run, text_file, capsys):
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    assert main(["train", "--text", str(text_file), "--out", str(run), *SHAPE, *LENGTH]) == 2
    assert "--resume" in capsys.readouterr().err
    assert before == {p.name: p.read_bytes() for p in run.iterdir()}


@pytest.mark.slow
def test_a_finished_run_can_be_resumed_and_stays_as_it_is(run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    assert main(["train", "--resume", "--out", str(copy)]) == 0
    assert "after step 6" in capsys.readouterr().out
    assert (copy / "log.csv").read_bytes() == (run / "log.csv").read_bytes()


@pytest.mark.slow
def test_the_attention_map_after_training_is_drawn_without_dropout(text_file, tmp_path, monkeypatch):
    modes = []
    monkeypatch.setattr(cli.attention, "draw_attention", lambda model, *rest: modes.append(model.training))
    assert main(["train", "--text", str(text_file), "--out", str(tmp_path / "r"), *SHAPE, *LENGTH, "--dropout", "0.2"]) == 0
    assert modes == [False]


def test_generate_writes_the_text_and_nothing_else_and_repeats_it_with_a_seed(run, capsys):
    def write(*options):
        capsys.readouterr()
        assert main(["generate", str(run), "--prompt", "The ", "--tokens", "50", *options]) == 0
        shown = capsys.readouterr()
        assert shown.err == ""
        return shown.out

    first = write("--seed", "3")
    assert first.startswith("The ") and len(first) == 4 + 50 + 1 and first.endswith("\n")
    assert set(first) <= set(TEXT)
    assert write("--seed", "3") == first
    assert write("--seed", "4") != first
    assert write("--temperature", "0", "--seed", "1") == write("--temperature", "0", "--seed", "2")
    assert write("--top-k", "1", "--seed", "1") == write("--temperature", "0")
    assert len(write("--beams", "2")) == 55
    assert write("--tokens", "0") == "The \n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--top-p", "2"], "top_p=2"),
        (["--temperature", "-1"], "temperature=-1"),
        (["--prompt", ""], "--prompt is empty"),
        (["--prompt", "日"], "日"),
        (["--seed", "-1"], "--seed -1"),
    ],
)
def test_generate_explains_a_mistake_in_one_line_and_writes_no_text(run, capsys, options, words):
    capsys.readouterr()
    assert main(["generate", str(run), *options]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and words in shown.err and len(shown.err.splitlines()) == 1


def test_evaluate_as_json_has_its_keys_and_the_loss_is_the_log_of_the_perplexity(run, text_file, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    lines = ("uniform", "unigram", "bigram", "3-gram", "4-gram", "5-gram")
    assert set(result) == {"tokens", "loss", "perplexity", "bits_per_character", *(f"{name}_loss" for name in lines)}
    model, tokenizer, _ = RunFolder(run).load_model()
    _, validation = corpora.train_validation_split(tokenizer.encode(TEXT), model.context_length)
    assert result["tokens"] == len(validation) - 1
    assert result["loss"] == pytest.approx(math.log(perplexity(model, validation)), rel=1e-6)
    assert result["loss"] == pytest.approx(math.log(result["perplexity"]))
    assert result["bits_per_character"] == pytest.approx(result["loss"] / math.log(2))  # one character, one token
    assert result["uniform_loss"] == pytest.approx(math.log(tokenizer.vocab_size))


def test_evaluate_takes_another_text(run, tmp_path, capsys):
    other = tmp_path / "other.txt"
    other.write_text("The cats sat on the mat.\n", encoding="utf-8", newline="\n")
    capsys.readouterr()
    assert main(["evaluate", str(run), "--text", str(other), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"] == 24
    assert main(["evaluate", str(run), "--text", str(other)]) == 0
    assert "this model" in capsys.readouterr().out


def test_attention_writes_a_picture_and_says_where(run, tmp_path, capsys):
    capsys.readouterr()
    out = tmp_path / "maps.png"
    assert main(["attention", str(run), "--text", "The cats sat", "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert out.read_bytes().startswith(b"\x89PNG")
    assert main(["attention", str(run), "--text", "x" * 17, "--out", str(out)]) == 2
    assert main(["attention", str(run), "--text", "The", "--out", str(tmp_path / "no" / "maps.png")]) == 2


def test_check_of_one_op_succeeds(capsys):
    assert main(["check", "--op", "softmax"]) == 0
    shown = capsys.readouterr().out
    assert "softmax" in shown and "all right" in shown


def test_check_fails_when_a_rule_is_sabotaged(monkeypatch, capsys):
    monkeypatch.setattr(REGISTRY["tanh"], "rules", [lambda g, out, x: 1.01 * g * (1 - out * out)])
    assert main(["check", "--op", "tanh"]) == 1
    assert "WRONG" in capsys.readouterr().out


def test_check_of_an_unknown_op_names_those_there_are(capsys):
    assert main(["check", "--op", "sofmax"]) == 2
    assert "softmax" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--text", "no-such-file.txt", "--out", "r"],
        ["train", "--resume"],
        ["train", "--resume", "--out", "no-such-run"],
        ["generate", "no-such-run"],
        ["evaluate", "no-such-run"],
        ["attention", "no-such-run", "--text", "a"],
    ],
)
def test_what_does_not_exist_is_named_in_one_line(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["train", "--heads", "0"], ["train", "--positions", "rope"], ["fly"], ["generate"]])
def test_wrong_usage_ends_with_status_two_and_points_to_the_help(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "--help" in capsys.readouterr().err


def test_a_text_too_short_for_the_context_and_heads_that_do_not_divide_leave_nothing_behind(text_file, tmp_path, capsys):
    short = tmp_path / "short.txt"
    short.write_text("Hi there", encoding="utf-8")
    assert main(["train", "--text", str(short), "--out", str(tmp_path / "a")]) == 2
    assert main(["train", "--text", str(text_file), "--out", str(tmp_path / "b"), "--width", "10", "--heads", "4"]) == 2
    assert "num_heads=4" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["short.txt"]


@pytest.mark.slow
def test_without_out_runs_are_numbered(text_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = [*SHAPE, "--steps", "1", "--batch", "2", "--sample-tokens", "1"]
    assert main(["train", "--text", str(text_file), *short]) == 0
    assert main(["train", "--text", str(text_file), *short]) == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["001", "002"]
    losses = [np.loadtxt(tmp_path / "runs" / n / "log.csv", delimiter=",", skiprows=1)[1] for n in ("001", "002")]
    assert losses[0] == losses[1]


def test_check_of_one_op_shows_its_worked_derivation(capsys):
    assert main(["check", "--op", "layer_norm"]) == 0
    shown = capsys.readouterr().out
    assert "y = γ ⊙ x̂ + β" in shown and "Back through (1)" in shown and "give the same gradients: largest difference" in shown
    assert "weight in example 1" in shown and "all right" in shown


def test_check_of_one_layer_shows_each_parameter(capsys):
    assert main(["check", "--op", "LayerNorm"]) == 0
    shown = capsys.readouterr().out
    assert "input 0" in shown and "weight" in shown and "all right" in shown


BROWSER = """
import sys, threading, os, subprocess, warnings
def refuse(*_, **__):
    raise RuntimeError("not in a browser")
threading.Thread.start = subprocess.Popen.__init__ = refuse
os.fork = refuse
for module in ("ctypes", "multiprocessing", "mmap", "fcntl", "resource"):
    sys.modules[module] = None
warnings.simplefilter("error")
from transformer.cli import main
run = sys.argv[1]
assert main(["train", "--steps", "2", "--width", "8", "--layers", "1", "--heads", "2", "--context", "8", "--out", run]) == 0
assert main(["generate", run, "--prompt", "The ", "--tokens", "4", "--seed", "1"]) == 0
assert main(["check", "--op", "exp"]) == 0
"""


@pytest.mark.slow
def test_it_works_and_says_nothing_where_threads_processes_and_ctypes_are_missing(tmp_path):
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", BROWSER, str(tmp_path / "run")], capture_output=True, text=True, encoding="utf-8", env=environment)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "step" not in line and line.strip()]  # the progress bar alone
