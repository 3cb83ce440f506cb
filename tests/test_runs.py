"""Run folders: a run that was killed goes on bit for bit; a damaged folder is refused in one line and left as it is."""

import errno
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minigrad import load
from transformer import CharTokenizer
from transformer.cli import main
from transformer.training import locking
from transformer.training.checkpoints import RunFolder
from transformer.training.locking import FolderLock
from transformer.training.run_data import is_task

ROOT = Path(__file__).resolve().parent.parent
TEXT = "The quick brown fox jumps over the lazy dog; the dog sleeps on. " * 40
OPTIONS = [
    "--steps", "60", "--width", "16", "--layers", "1", "--heads", "2", "--context", "16", "--batch", "4", "--evaluate-every", "5",
    "--dropout", "0.1", "--sample-tokens", "10", "--seed", "3",
]  # fmt: skip
FEW = [*OPTIONS, "--steps", "6", "--evaluate-every", "3"]
FILES = ["config.json", "tokenizer.json", "last.npz", "best.npz", "log.csv"]
READ_BY = {
    "evaluate": {"config.json", "tokenizer.json", "best.npz"},
    "generate": {"config.json", "tokenizer.json", "best.npz"},
    "train": set(FILES),
}
# np.load of a damaged file leaves it open when it is given a path
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed file:ResourceWarning")
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde"


def child(*arguments: str) -> subprocess.Popen:
    """The command line in a process of its own, with one thread."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "transformer", *arguments], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def finish(process: subprocess.Popen) -> tuple[int, str]:
    """Exit status and what it said on stderr."""
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors.decode()


def hashes(folder: Path) -> dict[str, str]:
    """Every file of a folder, by content."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def steps_logged(folder: Path) -> int:
    """How many rows the log holds, of a run that is going on."""
    try:
        return max(0, (folder / "log.csv").read_bytes().count(b"\n") - 1)
    except OSError:
        return 0


def one_line(capsys: pytest.CaptureFixture, *words: str) -> str:
    """What went to stderr: a single line without a traceback, with these words."""
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "Traceback" not in text, text
    for word in words:
        assert word in text, (word, text)
    return text


def same_run(one: Path, other: Path) -> None:
    """Equal logs, byte for byte, and equal models and optimizers."""
    assert (one / "log.csv").read_bytes() == (other / "log.csv").read_bytes()
    for name in ("last.npz", "best.npz"):
        a, b = load(one / name), load(other / name)
        assert a.keys() == b.keys()
        for key in a:
            assert a[key].dtype == b[key].dtype and a[key].tobytes() == b[key].tobytes(), (name, key)


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, text_file: Path) -> Path:
    """A run of 60 steps that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    status, errors = finish(child("train", "--text", str(text_file), *OPTIONS, "--out", str(folder)))
    assert status == 0, errors
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, text_file: Path) -> Path:
    """A finished run of 6 steps, to be damaged."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert main(["train", "--text", str(text_file), *FEW, "--out", str(folder)]) == 0
    return folder


# Stopping and going on --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.slow
def test_killed_ten_times_and_resumed_bit_for_bit(tmp_path: Path, text_file: Path, straight: Path) -> None:
    rng = random.Random(2017)
    folder = tmp_path / "killed"
    start = ["train", "--text", str(text_file), *OPTIONS, "--out", str(folder)]
    resume = ["train", "--resume", "--out", str(folder)]
    kills = 0
    for wanted in sorted(rng.sample(range(1, 56), 10)):
        process = child(*(resume if (folder / "last.npz").exists() else start))
        seen, deadline = steps_logged(folder), time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            now = steps_logged(folder)
            if now >= wanted and now > seen:  # a checkpoint is being written at this moment, or has just been
                break
            time.sleep(0.0005)
        time.sleep(rng.random() * 0.008)
        process.kill()
        finish(process)
        kills += process.returncode == -signal.SIGKILL
        if (folder / "last.npz").exists():
            assert "progress" in load(folder / "last.npz")  # the newest checkpoint loads, always
        else:
            shutil.rmtree(folder)
        if steps_logged(folder) >= 60:
            break
    assert kills >= 3
    (folder / ".last.npz.abc123.tmp").write_bytes(b"PK half a checkpoint")
    status, errors = finish(child(*resume))
    assert status == 0, errors
    same_run(folder, straight)
    assert not list(folder.glob("*.tmp")) and not list(folder.glob(".*.tmp"))


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_the_same_curve(tmp_path: Path, text_file: Path, straight: Path) -> None:
    if os.name == "nt":
        pytest.skip("signals differ")
    folder = tmp_path / "interrupted"
    process = child("train", "--text", str(text_file), *OPTIONS, "--out", str(folder))
    while steps_logged(folder) < 5 and process.poll() is None:
        time.sleep(0.0005)
    process.send_signal(signal.SIGINT)
    status, errors = finish(process)
    assert status == 130 and "Traceback" not in errors, errors
    assert 5 <= steps_logged(folder) < 60
    status, errors = finish(child("train", "--resume", "--out", str(folder)))
    assert status == 0, errors
    same_run(folder, straight)


@pytest.mark.slow
def test_killed_before_the_first_checkpoint(tmp_path: Path, small: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "early"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(small / name, folder / name)
    capsys.readouterr()
    before = hashes(folder)
    assert main(["train", "--resume", "--out", str(folder)]) == 2
    one_line(capsys, "last.npz", "before its first checkpoint", "delete", "start anew")
    assert main(["evaluate", str(folder)]) == 2
    one_line(capsys, "last.npz", "before its first checkpoint")
    assert hashes(folder) == before


def test_a_new_run_removes_what_a_crash_before_its_first_file_left(tmp_path: Path) -> None:
    (tmp_path / ".config.json.abc123.tmp").write_text("{half")
    (tmp_path / "notes.tmp").write_text("mine")
    RunFolder(tmp_path).create({}, None)
    assert {file.name for file in tmp_path.glob("*.tmp")} | {file.name for file in tmp_path.glob(".config*")} == {"notes.tmp"}


def test_a_tokenizer_of_another_run_is_refused_and_one_with_other_line_ends_is_not(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create({}, CharTokenizer("abc"))
    folder.tokenizer_file.write_bytes(folder.tokenizer_file.read_bytes().replace(b"\n", b"\r\n"))
    assert folder.tokenizer().decode([0, 1, 2]) == "abc"
    CharTokenizer("xyz").save(folder.tokenizer_file)
    with pytest.raises(ValueError, match=r"tokenizer\.json: damaged, or from another run"):
        folder.tokenizer()


def test_lines_of_the_log_that_a_crash_spoilt_are_left_out(tmp_path: Path) -> None:
    folder, good = RunFolder(tmp_path), [["1", "2.5", "0.1", "1.0", ""], ["2", "2.25", "0.1", "1.0", "3.5"]]
    folder.rewrite_log(good)
    with folder.log_file.open("a") as file:
        file.write("three,2.0,0.1,1.0,\n4,3.1")
    assert folder.read_log() == good


def test_a_lock_names_the_process_that_holds_it_and_not_one_that_crashed(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("process 1 on a machine whose name was longer than that of any other\n")
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.take()
    first.take()
    with pytest.raises(BlockingIOError, match=rf"process {os.getpid()} on [^\n]* is writing into it") as told:
        second.take()
    assert "process 1 on a machine" not in str(told.value)
    first.give_back()
    second.take()
    second.give_back()
    assert not (tmp_path / ".lock").exists()


def test_where_there_is_no_fcntl_windows_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = set()

    class Windows:
        LK_NBLCK = 2

        @staticmethod
        def locking(number: int, mode: int, size: int) -> None:
            place = (os.fstat(number).st_ino, os.lseek(number, 0, os.SEEK_CUR), mode, size)
            if place in held:
                raise PermissionError(errno.EACCES, "locked")
            held.add(place)

    monkeypatch.setattr(locking, "fcntl", None)
    monkeypatch.setattr(locking, "msvcrt", Windows)
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.take()
    with pytest.raises(BlockingIOError, match="is writing into it"):
        second.take()


def test_a_run_is_on_a_task_when_it_names_one_that_there_is() -> None:
    assert is_task({"task": "copy"}) and not any(map(is_task, ({"task": "no such task"}, {"task": ["copy"]}, {"text": ["copy"]}, {})))


@pytest.mark.slow
def test_a_crash_in_the_middle_of_a_line_of_the_log(tmp_path: Path, small: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "run"
    shutil.copytree(small, folder)
    with (folder / "log.csv").open("a") as file:
        file.write("7,3.25,0.001,0.5,\n8,3.1")
    assert main(["train", "--resume", "--out", str(folder)]) == 0
    assert (folder / "log.csv").read_bytes() == (small / "log.csv").read_bytes()


# Damage -----------------------------------------------------------------------------------------------------------------


def empty(data: bytes) -> bytes:
    """A file of no bytes."""
    return b""


def truncated(data: bytes) -> bytes:
    """The first half."""
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    """One bit of a letter or digit in the middle, or of the byte there."""
    at = next((i for i in range(len(data) // 2, len(data)) if chr(data[i]).isascii() and chr(data[i]).isalnum()), len(data) // 2)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def png(data: bytes) -> bytes:
    """A picture."""
    return PNG


def other_npz(data: bytes) -> bytes:
    """Arrays that somebody else saved."""
    out = io.BytesIO()
    np.savez(out, a=np.arange(3.0))
    return out.getvalue()


def json_list(data: bytes) -> bytes:
    """JSON, but not ours."""
    return b"[1, 2, 3]\n"


@pytest.mark.slow
@pytest.mark.parametrize("damage", [empty, truncated, flipped, png, other_npz, json_list])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_nothing_changes(
    name: str, damage: object, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(small, folder)
    (folder / name).write_bytes(damage((small / name).read_bytes()))
    before = hashes(folder)
    capsys.readouterr()
    for command in (["evaluate", str(folder)], ["generate", str(folder), "--tokens", "3"], ["train", "--resume", "--out", str(folder)]):
        if name in READ_BY[command[0]]:
            assert main(command) == 2, command
            one_line(capsys, str(folder / name))
            assert hashes(folder) == before


@pytest.mark.parametrize("name", FILES)
@pytest.mark.slow
def test_any_flipped_bit_is_found(name: str, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "run"
    shutil.copytree(small, folder)
    data = (small / name).read_bytes()
    rng = random.Random(name)
    for _ in range(40):
        at = rng.randrange(len(data))
        (folder / name).write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
        before = hashes(folder)
        capsys.readouterr()
        status = main(["train", "--resume", "--out", str(folder)])
        if status == 0:  # harmless: white space of JSON, a date in the npz, the like
            assert (folder / "log.csv").read_bytes() == (small / "log.csv").read_bytes()
            load(folder / "last.npz"), load(folder / "best.npz")
            assert name != "config.json" or json.loads((folder / name).read_bytes()) == json.loads(data)
        else:
            assert status == 2
            one_line(capsys, str(folder / name))
            assert hashes(folder) == before


def test_foreign_samples_are_not_thrown_away(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "run"
    shutil.copytree(small, folder)
    (folder / "samples.txt").write_text("my own notes\n")
    before = hashes(folder)
    capsys.readouterr()
    assert main(["train", "--resume", "--out", str(folder)]) == 2
    one_line(capsys, "samples.txt", "=== step")
    assert hashes(folder) == before


# Wrong use --------------------------------------------------------------------------------------------------------------


def test_resume_with_another_text(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, other = tmp_path / "run", tmp_path / "other.txt"
    shutil.copytree(small, folder)
    other.write_text(TEXT[::-1], encoding="utf-8")
    before = hashes(folder)
    capsys.readouterr()
    assert main(["train", "--resume", "--text", str(other), "--out", str(folder)]) == 2
    one_line(capsys, "last.npz", "another text", "--text")
    assert hashes(folder) == before


def test_an_existing_run_needs_resume(small: Path, text_file: Path, capsys: pytest.CaptureFixture) -> None:
    before = hashes(small)
    capsys.readouterr()
    assert main(["train", "--text", str(text_file), *FEW, "--out", str(small)]) == 2
    one_line(capsys, str(small), "--resume", "--out")
    assert hashes(small) == before


def test_a_file_in_the_way_is_not_replaced(text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "log.csv").write_text("my measurements\n")
    assert main(["train", "--text", str(text_file), *FEW, "--out", str(tmp_path)]) == 2
    one_line(capsys, "log.csv", "--out")
    assert (tmp_path / "log.csv").read_text() == "my measurements\n"


@pytest.mark.slow
def test_a_short_paragraph(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "short.txt"
    file.write_text("Attention is all you need, they said; and so we write it by hand, line by line.", encoding="utf-8")
    assert main(["train", "--text", str(file), "--out", str(tmp_path / "a")]) == 2
    one_line(capsys, "context length 64", "65", "validation part has 8 of 79 tokens", "shorter context")
    assert not (tmp_path / "a").exists()
    few = ["--steps", "4", "--layers", "1", "--heads", "2", "--width", "8", "--context", "6", "--batch", "2"]
    assert main(["train", "--text", str(file), *few, "--out", str(tmp_path / "b")]) == 0
    assert steps_logged(tmp_path / "b") == 4


def test_text_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    latin = tmp_path / "latin.txt"
    latin.write_bytes("Grüße aus Köln".encode("latin-1") * 100)
    for file, words in ((latin, ["UTF-8"]), (tmp_path / "nothing.txt", ["no file"]), (tmp_path, ["folder"])):
        assert main(["train", "--text", str(file), "--out", str(tmp_path / "run")]) == 2
        one_line(capsys, str(file), *words)
        assert not (tmp_path / "run").exists()
