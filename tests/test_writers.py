"""What is written is whole, of this run, and by one process at a time; a full disk, a signal and a closed stream cost one line."""

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minigrad as mg
from minigrad import load, save
from tests.test_runs import ROOT, hashes, one_line
from tests.test_same_run import in_a_copy, needs_fork, trainer_of
from transformer import Trainer, cli
from transformer.cli import main
from transformer.training.checkpoints import RunFolder
from transformer.training.locking import FolderLock
from transformer.training.objectives import LanguageModelling

TEXT = "The quick brown fox jumps over the lazy dog; the dog sleeps on. " * 40
SMALL = [
    "--width",
    "16",
    "--layers",
    "1",
    "--heads",
    "2",
    "--context",
    "16",
    "--batch",
    "4",
    "--sample-tokens",
    "4",
    "--evaluation-tokens",
    "200",
]
STEPS = ["--steps", "6", "--evaluate-every", "3"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, text: str) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "--text", text, *SMALL, *STEPS, "--out", str(path)]) == 0
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


# One writer ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_whoever_comes_second_is_refused_in_one_line_and_changes_nothing(run, text, finished, tmp_path, capsys):
    empty = tmp_path / "new"
    empty.mkdir()
    for folder, command in [
        (run, ["train", "--resume", "--out", str(run)]),
        (run, ["train", "--resume", "--steps", "9", "--out", str(run)]),
        (empty, ["train", "--text", text, *SMALL, *STEPS, "--out", str(empty)]),
        (empty, ["train", "--task", "copy", "--steps", "2", "--out", str(empty)]),
        (empty, ["compress", str(finished), "--to", "int8", "--out", str(empty)]),
        (empty, ["adapt", str(finished), "--text", text, "--steps", "2", "--out", str(empty)]),
    ]:
        first = FolderLock(folder)
        first.take()
        before = hashes(folder)
        capsys.readouterr()
        assert main(command) == 2, command
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("transformer: ")]
        assert (
            len(errors) == 1
            and f"{folder}: process {os.getpid()} on" in errors[0]
            and "is writing into it" in errors[0]
        )
        assert hashes(folder) == before
        first.give_back()
    assert main(["train", "--resume", "--out", str(run)]) == 0 and not (run / ".lock").exists()


def test_of_several_that_begin_at_once_one_begins_and_its_folder_is_whole(tmp_path):
    for number in range(20):
        outcomes: list[str] = []
        gate = threading.Barrier(3)

        def begin(folder: RunFolder, outcomes: list[str] = outcomes, gate: threading.Barrier = gate) -> None:
            gate.wait(20)
            try:
                folder.create({"model": {"n": 1}}, None)
                outcomes.append("begun")
            except OSError as error:
                outcomes.append(
                    "exists"
                    if "holds a run already" in str(error)
                    else "busy"
                    if "is writing into it" in str(error)
                    else str(error)
                )

        folders = [RunFolder(tmp_path / str(number)) for _ in range(3)]
        threads = [threading.Thread(target=begin, args=[folder]) for folder in folders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count("begun") == 1 and set(outcomes) <= {"begun", "exists", "busy"}, outcomes
        assert RunFolder(tmp_path / str(number)).config()["model"] == {"n": 1}


@needs_fork
def test_the_lock_of_a_process_that_was_killed_is_free_and_no_two_ever_have_it(tmp_path):
    def killed() -> None:
        held = FolderLock(tmp_path)
        held.take()
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_copy(killed) == -signal.SIGKILL and (tmp_path / ".lock").exists()
    lock = FolderLock(tmp_path)
    lock.take()
    lock.give_back()
    assert not (tmp_path / ".lock").exists()

    def contend() -> None:
        mine = FolderLock(tmp_path)
        for _ in range(300):
            try:
                mine.take()
            except BlockingIOError:
                continue
            os.close(os.open(tmp_path / "inside", os.O_CREAT | os.O_EXCL))  # fails when another one is inside
            os.unlink(tmp_path / "inside")
            mine.give_back()

    numbers = []
    for _ in range(3):
        number = os.fork()
        if not number:
            try:
                contend()
                os._exit(0)
            except BaseException:
                os._exit(1)
        numbers.append(number)
    assert [os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) for number in numbers] == [0, 0, 0]


def test_without_locks_in_the_system_everything_works(tmp_path, monkeypatch):
    monkeypatch.setattr("transformer.training.locking.fcntl", None)
    lock = FolderLock(tmp_path)
    lock.take()
    lock.give_back()
    assert not list(tmp_path.iterdir())


def test_windows_locks_a_byte_behind_the_text_and_frees_it(tmp_path, monkeypatch):
    held: set[str] = set()

    def locking(number: int, mode: int, count: int) -> None:
        name = os.readlink(f"/proc/self/fd/{number}") if os.path.exists("/proc/self/fd") else "file"
        if name in held:
            raise PermissionError(13, "Permission denied")
        held.add(name)

    monkeypatch.setattr("transformer.training.locking.fcntl", None)
    monkeypatch.setattr("transformer.training.locking.msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.take()
    with pytest.raises(BlockingIOError, match="is writing into it"):
        second.take()
    first.give_back()
    held.clear()
    second.take()
    second.give_back()


# Of this run --------------------------------------------------------------------------------------------------------------


def other_seed(text: str, path: Path) -> Path:
    """A run of the same sizes on the same text."""
    assert main(["train", "--text", text, *SMALL, *STEPS, "--seed", "9", "--out", str(path)]) == 0
    return path


@pytest.mark.slow
def test_checkpoints_of_another_run_of_the_same_sizes_are_refused(run, text, tmp_path, capsys):
    other = other_seed(text, tmp_path / "other")
    for name in ("best.npz", "last.npz"):
        good = (run / name).read_bytes()
        shutil.copy(other / name, run / name)
        before = hashes(run)
        capsys.readouterr()
        commands = [
            ["train", "--resume", "--out", str(run)],
            *([["evaluate", str(run)], ["generate", str(run)]] if name == "best.npz" else []),
        ]
        for command in commands:
            assert main(command) == 2
            one_line(capsys, str(run / name), "another run")
        assert hashes(run) == before
        (run / name).write_bytes(good)


@pytest.mark.slow
def test_a_best_checkpoint_that_is_missing_or_of_another_moment_is_told(run, capsys):
    best = load(run / "best.npz")
    (run / "best.npz").unlink()
    for command in ("evaluate", "generate"):
        capsys.readouterr()
        assert main([command, str(run)]) == 2
        one_line(capsys, "best.npz", "missing", "those of step")
    moved = {name: array + 1 if array.dtype.kind == "f" else array for name, array in best.items()}
    save(moved, run / "best.npz")
    assert main(["train", "--resume", "--out", str(run)]) == 2
    one_line(capsys, "best.npz", "holds other weights than those of step")


@pytest.mark.slow
def test_a_run_that_was_stopped_before_its_first_evaluation_is_used_from_its_last_checkpoint(
    text, tmp_path, capsys, monkeypatch
):
    stop_after(2, monkeypatch)
    out = str(tmp_path / "run")
    assert main(["train", "--text", text, *SMALL, *STEPS, "--out", out]) == 130
    assert not (tmp_path / "run" / "best.npz").exists()
    assert main(["generate", out, "--tokens", "3"]) == 0
    expected, found = load(tmp_path / "run" / "last.npz"), RunFolder(out).load_model()[0].state_dict()
    assert all((expected[f"model.{name}"] == array).all() for name, array in found.items())


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGINT) -> None:
    """Let a signal come in the middle of a step."""
    real = Trainer.step

    def stopped(self: Trainer) -> list:
        if self.progress.step == step - 1:
            os.kill(os.getpid(), number)
        return real(self)

    monkeypatch.setattr(Trainer, "step", stopped)


def test_an_old_folder_whose_checkpoints_do_not_name_their_run_is_still_read(run, capsys):
    folder = RunFolder(run)
    config = folder.config()
    state = load(run / "best.npz")
    state.pop("@run")
    save(state, run / "best.npz")
    assert main(["evaluate", str(run)]) == 2  # a new one without the mark is none of ours
    one_line(capsys, "another run")
    folder.write_config({**config, "format": "attention-by-hand run 1"})
    assert main(["evaluate", str(run)]) == 0


# Numbers ------------------------------------------------------------------------------------------------------------------


def poisoned(trainer: Trainer, step: int, value: float, where: str) -> None:
    """Spoil a number after a step, as a bug or a broken memory would."""
    real = trainer.step

    def spoilt() -> list:
        row = real()
        if trainer.progress.step == step:
            array = (
                trainer.model.parameters()[-1].data if where == "model" else trainer.optimizers[0].state["square"][0]
            )
            array.flat[0] = value
        return row

    trainer.step = spoilt  # type: ignore[method-assign]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["model", "optimizer"])
def test_what_is_not_finite_is_never_written_over_a_good_checkpoint(where, value, tmp_path):
    folder = RunFolder(tmp_path / "run")
    trainer, create = trainer_of("text", folder)
    create()
    poisoned(trainer, 6, value, where)
    words = r"(is not finite after|became \w+ at) step 6.*lower.*last\.npz holds step 3, the last good one"
    with pytest.raises(FloatingPointError, match=words), np.errstate(all="ignore"):
        trainer.train()
    assert load(folder.last_file).keys() and int(np.isfinite(load(folder.last_file)["model.norm.weight"]).all())
    again, _ = trainer_of("text", RunFolder(tmp_path / "run"))
    again.resume()
    assert again.progress.step == 3
    again.train()
    assert again.progress.step == 6


def test_a_validation_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    trainer, create = trainer_of("text", folder)
    create()
    values = iter([2.0, float("nan")])
    monkeypatch.setattr(LanguageModelling, "evaluate", lambda *_, **__: next(values))
    with pytest.raises(
        FloatingPointError, match=r"the validation loss became nan at step 6; lower .*last\.npz holds step 3"
    ):
        trainer.train()
    assert folder.load_last()[2]["step"] == 3


def test_a_loss_that_is_not_finite_names_the_op_that_made_it_and_the_last_good_checkpoint(tmp_path):
    folder = RunFolder(tmp_path / "run")
    trainer, create = trainer_of("text", folder)
    create()
    real = trainer.objective.loss
    trainer.objective.loss = lambda *args: real(*args) + (mg.log(mg.Tensor(0.0)) if trainer.progress.step == 4 else 0.0)
    trainer.program = None  # a loss that changes from step to step by itself is none
    words = r"the loss became -inf at step 5 \(.*log made -inf.*\).*last\.npz holds step 3"
    with pytest.raises(FloatingPointError, match=words), np.errstate(all="ignore"):
        trainer.train()


# A full disk --------------------------------------------------------------------------------------------------------------


def with_small_files(limit: int, command: list[str], folder: Path) -> tuple[int, str]:
    """Status and errors of a command in a process whose files may have ``limit`` bytes, as on a disk that is full by then."""
    resource = pytest.importorskip("resource")
    errors = folder / "errors.txt"

    def work() -> None:
        output = os.open(errors, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        status = main(command)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        os.write(output, sys.stderr.getvalue().encode())
        os._exit(status)

    return in_a_copy(work), errors.read_text(encoding="utf-8")


def no_temporary_files(folder: Path) -> None:
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp") or path.name == ".lock"]


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("command", ["train", "task", "compress", "adapt", "answers", "attention"])
def test_a_disk_that_fills_up_at_any_file_costs_one_line_and_leaves_nothing_half_written(
    command, finished, text, tmp_path
):
    (tmp_path / "p.txt").write_text("The\n" * 30, encoding="utf-8")
    out = tmp_path / "out"
    commands = {
        "train": ["train", "--text", text, *SMALL, *STEPS, "--out", str(out)],
        "task": [
            "train",
            "--task",
            "reverse",
            "--steps",
            "2",
            "--evaluate-every",
            "1",
            "--batch",
            "2",
            "--evaluation-tokens",
            "9",
            "--out",
            str(out),
        ],
        "compress": ["compress", str(finished), "--to", "int8", "--out", str(out)],
        "adapt": ["adapt", str(finished), "--text", text, "--steps", "2", "--out", str(out)],
        "answers": [
            "generate",
            str(finished),
            "--prompts",
            str(tmp_path / "p.txt"),
            "--tokens",
            "9",
            "--out",
            str(out),
        ],
        "attention": ["attention", str(finished), "--text", "The fox", "--out", str(out)],
    }
    before, failures = hashes(finished), 0
    for limit in (0, 300, 900, 2000, 6000, 15_000, 40_000):
        status, errors = with_small_files(limit, commands[command], tmp_path)
        if status == 0:
            break
        failures += 1
        told = [line for line in errors.splitlines() if line.startswith("transformer: ")]
        assert status == 2 and len(told) == 1 and "Traceback" not in errors, errors
        assert str(out) in told[0] and "not written: File too large" in told[0], told
        no_temporary_files(tmp_path)
        if command not in ("train", "task") or not (out / "config.json").exists():
            assert not out.exists()
        else:  # it had begun: what is there can be used, or says what to do
            shutil.rmtree(out)
    assert failures >= 2
    assert hashes(finished) == before


@pytest.mark.slow
@needs_fork
def test_a_disk_that_fills_up_while_training_leaves_the_last_checkpoint_usable(finished, text, tmp_path):
    out = tmp_path / "run"
    command = ["train", "--text", text, *SMALL, "--steps", "40", "--evaluate-every", "4", "--out", str(out)]
    status, errors = with_small_files((finished / "last.npz").stat().st_size + 200, command, tmp_path)
    for limit in range(1500, 3000, 300) if status == 0 else ():
        shutil.rmtree(out, ignore_errors=True)
        status, errors = with_small_files(limit, command, tmp_path)
    assert status == 2 and "not written" in errors
    no_temporary_files(tmp_path)
    assert main(["train", "--resume", "--out", str(out)] if (out / "last.npz").exists() else ["count", str(out)]) == 0


# Signals ------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("data", ["text", "task"])
def test_a_signal_ends_the_step_saves_and_the_resumed_run_is_the_same(name, data, text, tmp_path, monkeypatch):
    number = getattr(signal, name)
    what = (
        ["--text", text, *SMALL] if data == "text" else ["--task", "copy", "--batch", "2", "--evaluation-tokens", "50"]
    )
    command = ["train", *what, *STEPS]

    def work(out: str, stops: bool) -> int:
        def inner() -> None:
            sys.stdout = sys.stderr = io.StringIO()
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)
            if stops:
                stop_after(5, monkeypatch, number)
            os._exit(main([*command, "--out", out] if not Path(out).exists() else ["train", "--resume", "--out", out]))

        return in_a_copy(inner)

    assert work(str(tmp_path / "whole"), False) == 0
    assert work(str(tmp_path / "stopped"), True) == 128 + number
    assert RunFolder(tmp_path / "stopped").load_last()[2]["step"] == 5
    assert work(str(tmp_path / "stopped"), False) == 0
    for file in ("log.csv", "samples.txt"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "stopped" / file).read_bytes()


# Streams ------------------------------------------------------------------------------------------------------------------


def shell(command: str, *words: str) -> subprocess.CompletedProcess:
    """A shell's command, in which $P is the program."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "P": f"{shlex.quote(sys.executable)} -m transformer",
    }
    return subprocess.run(
        ["/bin/bash", "-c", command, "sh", *words], env=env, capture_output=True, encoding="utf-8", timeout=180
    )


needs_bash = pytest.mark.skipif(not os.path.exists("/bin/bash"), reason="closes streams with bash")


@pytest.mark.slow
@needs_bash
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("$P generate $1 --tokens 3 --seed 1 >&-", "standard output is closed"),
        ("$P evaluate $1 --json >&-", "standard output is closed"),
        ("$P generate $1 --interactive <&-", "standard input is closed"),
        ("$P generate $1 --tokens 3 > /dev/full", "standard output: No space left on device"),
    ],
)
def test_a_stream_that_a_command_needs_and_that_is_closed_or_full_is_named_in_one_line(command, words, finished):
    if "full" in command and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    done = shell(command, str(finished))
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.slow
@needs_bash
@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", "| head -1", "2>&1 | head -1"])
def test_training_goes_on_without_streams_and_without_a_reader(streams, finished, text, tmp_path):
    out = tmp_path / "run"
    done = shell(f"set -o pipefail; $P train --text $1 {' '.join([*SMALL, *STEPS])} --out $2 {streams}", text, str(out))
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Exception" not in done.stderr, done.stderr
    assert sorted(file.name for file in out.iterdir()) == sorted(file.name for file in finished.iterdir())
    assert (out / "log.csv").read_bytes() == (finished / "log.csv").read_bytes()


@pytest.mark.slow
@needs_bash
def test_a_reader_that_has_enough_ends_generate_quietly(finished):
    done = shell("$P generate $1 --tokens 3000 --seed 1 | head -c 5; exit ${PIPESTATUS[0]}", str(finished))
    assert done.returncode == 0 and done.stderr == ""


def test_a_stream_that_was_closed_gives_its_number_to_no_file(finished, tmp_path):
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("looks into /proc")
    code = "import os, sys\nfrom transformer.cli import streams\n"
    code += "print(sorted(streams.open_closed()), os.open('/dev/zero', 0) > 2, file=sys.__stderr__)"
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} <&- >&-"
    done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr.split("\n")[0] == "['stdin', 'stdout'] True", done.stderr
    assert cli  # the module is the one of this tree
