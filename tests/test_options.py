"""Every option does something or is refused, for every command and every kind of run; and every command reads the data of the run."""

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import transformer.training.recipes as recipes
from tests.test_runs import ROOT, hashes
from transformer import cli, threads
from transformer.cli import main, options
from transformer.data import corpora
from transformer.training.checkpoints import RunFolder
from transformer.training.settings import Settings

TEXT = "The quick brown fox jumps over the lazy dog; the dog sleeps on. " * 40
BRIEF = ["--steps", "4", "--evaluate-every", "2", "--batch", "4", "--evaluation-tokens", "50", "--sample-tokens", "4"]
SMALL = ["--width", "16", "--layers", "1", "--context", "16"]
KINDS = {
    "gpt": ["--text", "TEXT", *SMALL, "--heads", "2"],
    "rnn": ["--text", "TEXT", *SMALL, "--model", "rnn"],
    "named": ["--task", "shakespeare", *SMALL, "--heads", "2", "--tokenizer", "bpe", "--vocab", "260"],
    "pairs": ["--task", "copy"],
    "pairs-rnn": ["--task", "copy", "--model", "rnn"],
    "digits": ["--task", "digits"],
}
PLAY = "".join(f"ACT {n}. Enter the king, and {n * n} soldiers. Exeunt.\n" for n in range(80))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A short run of every kind."""
    where = tmp_path_factory.mktemp("kinds")
    (where / "TEXT").write_text(TEXT, encoding="utf-8")
    before = os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recipes.TEXTS, "shakespeare", lambda: PLAY)
        os.chdir(where)
        try:
            for kind, words in KINDS.items():
                if kind == "digits":
                    pytest.importorskip("sklearn")
                assert main(["train", *words, *BRIEF, "--out", kind]) == 0, kind
        finally:
            os.chdir(before)
    return {kind: where / kind for kind in KINDS}


@pytest.fixture(autouse=True)
def named_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the package with Shakespeare's plays."""
    monkeypatch.setitem(recipes.TEXTS, "shakespeare", lambda: PLAY)


def refused(capsys: pytest.CaptureFixture, command: list[str], *words: str) -> None:
    """Status 2 and one line with these words."""
    capsys.readouterr()
    assert main(command) == 2, command
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "Traceback" not in text, text
    for word in words:
        assert word in text, (word, text)


def train_options() -> list[argparse.Action]:
    """Those of ``train``, from the parser itself."""
    commands = next(action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction))
    return [
        action
        for action in commands.choices["train"]._actions
        if action.dest not in ("help", "out", "resume", "threads")
    ]


def another(action: argparse.Action, has: object) -> list[str]:
    """The option with another value than a run has."""
    option = action.option_strings[0]
    if action.choices:
        return [option, next(str(choice) for choice in action.choices if choice != has)]
    if action.nargs == 0:
        return [option]
    if action.dest in ("text", "task"):
        return [option, "reverse" if action.dest == "task" else __file__]
    return [option, "0.25" if action.type is float else "3"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_resumed_run_refuses_every_option_that_it_cannot_take(kind, runs, capsys, tmp_path):
    path = Path(shutil.copytree(runs[kind], tmp_path / "run"))
    config = RunFolder(path).config()
    own = options.own_values(config, None if config["tokenizer"] is None else RunFolder(path).tokenizer())
    before, tried = hashes(path), 0
    for action in train_options():
        if action.dest != "steps":
            words = another(action, own.get(action.dest))
            expected = (
                "was trained on another text"
                if action.dest == "text" and not config["task"]
                else action.option_strings[0]
            )
            refused(capsys, ["train", "--resume", "--out", str(path), *words], expected)
            tried += 1
    assert tried > 25 and hashes(path) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_resumed_run_takes_the_options_that_it_has(kind, runs, capsys, tmp_path):
    path = Path(shutil.copytree(runs[kind], tmp_path / "run"))
    words = [str(runs["gpt"].parent / "TEXT") if word == "TEXT" else word for word in KINDS[kind]]
    assert main(["train", "--resume", *words, *BRIEF, "--out", str(path)]) == 0
    assert (path / "log.csv").read_bytes() == (runs[kind] / "log.csv").read_bytes()


@pytest.mark.parametrize("kind", ["gpt", "pairs"])
@pytest.mark.slow
def test_a_resumed_run_takes_more_steps_and_stays_the_same_run(kind, runs, capsys, tmp_path):
    path = Path(shutil.copytree(runs[kind], tmp_path / "run"))
    refused(capsys, ["train", "--resume", "--steps", "3", "--out", str(path)], "4 steps are done", "--steps 4 or more")
    assert main(["train", "--resume", "--steps", "7", "--out", str(path)]) == 0
    folder = RunFolder(path)
    assert len(folder.read_log()) == 7 and folder.config()["training"]["steps"] == 7
    assert (path / "log.csv").read_bytes().startswith((runs[kind] / "log.csv").read_bytes()[:-1].rsplit(b"\n", 1)[0])
    assert main(["train", "--resume", "--out", str(path)]) == 0 and len(folder.read_log()) == 7
    assert main(["evaluate", str(path)]) == 0


TRAINING = [
    (["--vocab", "300"], ["--vocab", "--tokenizer bpe"]),
    (["--tokenizer", "char", "--vocab", "300"], ["--vocab", "--tokenizer bpe"]),
    (["--cell", "gru"], ["--cell", "--model rnn"]),
    *((["--model", "rnn", option, value], [option, "--model rnn has none"]) for option, value in [
        ("--heads", "2"), ("--kv-heads", "1"), ("--positions", "none"), ("--norm", "rms"), ("--ffn", "relu"),
    ]),
    (["--min-lr", "0.5"], ["--min-lr 0.5", "--lr 0.006"]),
    (["--task", "copy", "--min-lr", "0.5"], ["--min-lr 0.5", "--lr 0.005"]),
    *((["--task", "copy", option, value], [option]) for option, value in [
        ("--tokenizer", "bpe"), ("--vocab", "300"), ("--context", "8"), ("--kv-heads", "1"), ("--positions", "none"), ("--norm", "rms"),
        ("--ffn", "relu"), ("--distinct-layers", "1"), ("--cell", "gru"),
    ]),
    (["--task", "copy", "--model", "rnn", "--heads", "2"], ["--heads"]),
    (["--task", "digits", "--model", "rnn"], ["--model"]),
    (["--steps", "0"], ["steps=0"]),
    (["--lr", "inf"], ["lr=inf"]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), TRAINING, ids=[" ".join(row[0]) for row in TRAINING])
def test_an_option_of_train_that_would_be_ignored_is_refused_and_leaves_nothing(
    words, expected, tmp_path, capsys
):
    (tmp_path / "TEXT").write_text(TEXT, encoding="utf-8")
    text = [] if "--task" in words else ["--text", str(tmp_path / "TEXT")]
    refused(capsys, ["train", *text, *words, "--out", str(tmp_path / "run")], *expected)
    assert not (tmp_path / "run").exists()


SAMPLING = {
    "--temperature": "0",
    "--top-k": "3",
    "--top-p": "0.5",
    "--min-p": "0.1",
    "--repetition-penalty": "1.2",
    "--seed": "1",
    "--stop": "e",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompts", [False, True])
def test_generate_takes_every_option_of_sampling_or_refuses_it(kind, prompts, runs, tmp_path, capsys):
    (tmp_path / "p.txt").write_text("e\n" if kind in ("gpt", "rnn", "named") else "1\n", encoding="utf-8")
    asked = ["--prompts", str(tmp_path / "p.txt")] if prompts else ["--prompt", "e"]
    for option, value in SAMPLING.items():
        command = ["generate", str(runs[kind]), *asked, option, value]
        if kind in ("gpt", "rnn", "named"):
            assert main([*command, "--tokens", "2"]) == 0
            refused(capsys, [*command, "--tokens", "2", "--beams", "2"], option, "--beams")
        elif kind != "digits":
            refused(capsys, command, option, "a run on a task")
        else:
            refused(capsys, command, "images" if not prompts else "")
    if kind == "pairs":
        refused(capsys, ["generate", str(runs[kind]), "--interactive"], "--interactive")


@pytest.mark.slow
def test_the_number_of_tokens_is_obeyed_for_an_answer_too(runs, capsys):
    answers = []
    for tokens in ("1", "3"):
        capsys.readouterr()
        assert main(["generate", str(runs["pairs"]), "--prompt", "abcde", "--tokens", tokens]) == 0
        answers.append(capsys.readouterr().out.rstrip("\n"))
    assert len(answers[0]) <= 1 and len(answers[1]) <= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["DIR", "--seeds", "2"], "--seeds"),
        (["DIR", "--steps", "2"], "--steps"),
        (["DIR", "--save", "x"], "--save"),
        (["DIR", "--out", "x"], "--out"),
        (["--experiment", "--examples", "3"], "--examples"),
        (["--experiment", "--seed", "3"], "--seed"),
        (["--minilm", "--examples", "3"], "--examples"),
        (["--minilm", "--seed", "3"], "--seed"),
    ],
)
def test_an_option_of_bias_that_would_be_ignored_is_refused(words, expected, runs, capsys):
    refused(capsys, ["bias", *(str(runs["gpt"]) if word == "DIR" else word for word in words)], expected)


# The data of a run --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gpt", "rnn", "named"])
@pytest.mark.parametrize("command", ["evaluate", "quality", "train"])
@pytest.mark.slow
def test_every_command_reads_the_text_that_the_run_was_trained_on(kind, command, runs, monkeypatch, capsys, tmp_path):
    path = Path(shutil.copytree(runs[kind], tmp_path / "run"))
    read = []
    real = corpora.read_text
    monkeypatch.setattr(corpora, "default_text", lambda: read.append("default") or TEXT)
    monkeypatch.setattr(corpora, "read_text", lambda files: read.append(Path(files[0]).name) or real(files))
    monkeypatch.setitem(recipes.TEXTS, "shakespeare", lambda: read.append("shakespeare") or PLAY)
    words = {
        "evaluate": ["evaluate", str(path)],
        "quality": ["quality", str(path), "--prompts", "1", "--tokens", "8", "--out", str(tmp_path / "q.png")],
        "train": ["train", "--resume", "--out", str(path)],
    }[command]
    assert main(words) == 0
    assert read == ["shakespeare" if kind == "named" else "TEXT"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pairs", "pairs-rnn", "digits"])
@pytest.mark.parametrize("command", ["quality", "adapt"])
def test_what_needs_a_text_refuses_a_run_on_pairs_or_classes(kind, command, runs, capsys, tmp_path):
    more = ["--text", str(runs["gpt"].parent / "TEXT"), "--out", str(tmp_path / "out")] if command == "adapt" else []
    refused(capsys, [command, str(runs[kind]), *more], "for language models of a text", str(runs[kind]))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["evaluate", "quality"])
@pytest.mark.slow
def test_a_text_that_has_changed_since_is_not_taken_for_the_one_of_the_training(command, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text(TEXT, encoding="utf-8")
    out = str(tmp_path / "run")
    assert main(["train", "--text", str(text), *SMALL, "--heads", "2", *BRIEF, "--out", out]) == 0
    text.write_text(TEXT.replace("lazy", "yzal"), encoding="utf-8")
    refused(capsys, [command, out], "text.txt", "is not the text any more", "put the original back")
    refused(capsys, ["train", "--resume", "--out", out], "another text")


@pytest.mark.slow
def test_without_a_prompt_generate_begins_with_something_that_the_vocabulary_has(tmp_path, capsys):
    for text in ("one line of text, and no other. " * 40, "onelineoftextandnoother" * 40):
        (tmp_path / "text.txt").write_text(text, encoding="utf-8")
        out = str(tmp_path / f"run{len(text)}")
        assert main(["train", "--text", str(tmp_path / "text.txt"), *SMALL, "--heads", "2", *BRIEF, "--out", out]) == 0
        capsys.readouterr()
        assert main(["generate", out, "--tokens", "5", "--seed", "1"]) == 0
        shown = capsys.readouterr().out
        assert len(shown) == 7 and set(shown[:-1]) <= set(text)  # the prompt, five characters, and the end of the line


# Settings and threads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_a_setting_of_another_kind_is_refused_with_its_value(field):
    wrong = {
        int: [20.5, "3", True, None, float("nan")],
        float: ["0.1", True, None, float("inf"), float("nan")],
        bool: [1, "yes", None],
        str: ["sgd", 1, None],
    }
    for value in wrong[type(field.default)]:
        with pytest.raises(
            ValueError, match=f"{field.name}={str(value).strip() if not isinstance(value, str) else repr(value)}"
        ):
            Settings(**{field.name: value})


OURS = ["python", "-m", "transformer"]


@pytest.mark.parametrize(
    ("command", "before", "expected"),
    [
        ([*OURS], {}, "1"),
        ([*OURS, "train", "--threads", "3"], {}, "3"),
        ([*OURS, "train", "--threads=4"], {"OMP_NUM_THREADS": "2"}, "4"),
        ([*OURS, "train"], {"OMP_NUM_THREADS": "2"}, "2"),
        ([*OURS, "train", "--threads", "none"], {}, "1"),
        (["python", "-u", "-mtransformer"], {}, "1"),
        (["python", "/usr/bin/attention-by-hand", "check"], {}, "1"),
        (["python", "-m", "pytest", "-m", "transformer"], {}, None),
        (["python", "-W", "ignore", "-m", "transformer"], {}, "1"),
        (["python", "script.py", "--threads", "3"], {}, None),
        (["python", "script.py", "-m", "transformer"], {}, None),
        (["jupyter", "lab"], {}, None),
    ],
)
def test_the_command_line_uses_one_thread_unless_the_user_says_otherwise(command, before, expected):
    environment = dict(before)
    threads.limit_threads(command, environment)
    assert environment.get("OMP_NUM_THREADS") == expected
    if not before and expected:
        assert {environment[name] for name in threads.VARIABLES} == {expected}


def test_the_number_is_set_before_numpy_is_imported():
    code = "import sys; sys.orig_argv[:] = ['python', '-m', 'transformer', '--threads', '3']\n"
    code += "import transformer, os; print(os.environ['OMP_NUM_THREADS'])"
    environment = {name: value for name, value in os.environ.items() if name not in threads.VARIABLES} | {
        "PYTHONPATH": str(ROOT)
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "3", done.stderr
    first = (ROOT / "transformer" / "__init__.py").read_text(encoding="utf-8").split("\n\n")[1].splitlines()[0]
    assert first.startswith("from . import threads")
