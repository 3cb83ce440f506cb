"""Several processes over MPI: the same curve as one, whatever their number, and a usable checkpoint when one of them dies."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from transformer.training.checkpoints import RunFolder

pytestmark = pytest.mark.mpi
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc to find the ranks")
ROOT = Path(__file__).resolve().parent.parent
WORDS = ["the", "a", "cat", "dog", "mat", "sat", "saw", "on", "and", "then", "it", "was", "not"]
SHAPE = ["--layers=1", "--heads=2", "--width=16", "--context=16", "--batch=6", "--lr=0.003", "--warmup=5", "--sample-tokens=8"]
LENGTH = ["--steps=50", "--evaluate-every=10", "--evaluation-tokens=500"]


@pytest.fixture(scope="module", autouse=True)
def mpiexec():
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if importlib.util.find_spec("mpi4py") is None or found is None:
        pytest.skip('mpi4py or mpiexec is missing: pip install -e ".[parallel]"')
    return found


def command(number, mpiexec, *arguments):
    return [*([mpiexec, "-n", str(number)] if number > 1 else []), sys.executable, *map(str, arguments)]


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1", "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}


def start(number, mpiexec, *arguments):
    """Run to the end; the finished process with its output."""
    return subprocess.run(command(number, mpiexec, *arguments), env=environment(), capture_output=True, encoding="utf-8", timeout=120)


def train(number, mpiexec, folder, *options):
    done = start(number, mpiexec, "-m", "transformer", "train", "--out", folder, *options)
    assert done.returncode == 0, done.stderr
    return curve(folder)


def curve(folder):
    """The losses, the gradients' norms and the validation losses of a run."""
    log = [[float(value or "nan") for value in row] for row in RunFolder(folder).read_log()]
    return np.array(log)[:, [1, 3, 4]]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(" ".join(np.random.default_rng(0).choice(WORDS, 3000)), encoding="utf-8")
    return path


def longer(*arguments):
    """More steps than pass before a test has found the process to kill."""
    return [*map(str, arguments), *SHAPE, "--steps=160", "--evaluate-every=10", "--evaluation-tokens=200"]


@pytest.fixture(scope="module")
def alone_for_longer(mpiexec, text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("longer") / "run"
    train(1, mpiexec, folder, *longer("--text", text))
    return folder


@pytest.fixture(scope="module")
def alone(mpiexec, text, tmp_path_factory):
    """A run of one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(1, mpiexec, folder, "--text", text, *SHAPE, *LENGTH)
    return folder


@pytest.mark.parametrize(("number", "options"), [(2, ["--accumulate=2"]), (4, [])])  # 4 does not divide the batch of 6
def test_the_loss_curve_of_several_processes_is_that_of_one(mpiexec, text, alone, tmp_path, number, options):
    found = train(number, mpiexec, tmp_path / "run", "--text", text, *SHAPE, *LENGTH, *options)
    np.testing.assert_allclose(found, curve(alone), rtol=0, atol=1e-5)
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == sorted(file.name for file in alone.iterdir())


LOSSES = """
import sys
from minigrad import manual_seed
from transformer import Trainer, Transformer, Translation
from transformer.data.tasks import MADE
from transformer.parallel import world
from transformer.training.recipes import make_tokenizer
from transformer.training.settings import Settings

def job():
    tokenizer = make_tokenizer("numbers")
    manual_seed(0)
    model = Transformer(tokenizer.vocab_size, 16, 2, 1, dropout={dropout})
    settings = Settings(steps=15, batch_size=7, evaluate_every=15, evaluation_tokens=500, label_smoothing=0.1)
    trainer = Trainer(model, Translation(MADE["numbers"](), tokenizer), settings, workers=world())
    trainer.train()
    print(*trainer.losses, trainer.validation[0][1])
    return 0

sys.exit(world().run(job))
"""


def losses(mpiexec, number, dropout):
    done = start(number, mpiexec, "-c", LOSSES.format(dropout=dropout))
    assert done.returncode == 0, done.stderr
    return np.array(done.stdout.split(), float)


def test_targets_with_padding_give_the_same_curve(mpiexec):
    np.testing.assert_allclose(losses(mpiexec, 3, 0.0), losses(mpiexec, 1, 0.0), rtol=0, atol=1e-5)


def test_with_dropout_the_masks_are_others_and_yet_the_parameters_agree(mpiexec):
    """The first loss is of the same batch; the trainer itself compares the parameters of all ranks at the checkpoint."""
    two, again = losses(mpiexec, 2, 0.2), losses(mpiexec, 2, 0.2)
    np.testing.assert_array_equal(two, again)
    assert abs(two[0] - losses(mpiexec, 2, 0.0)[0]) > 1e-4


@pytest.fixture
def begin(mpiexec, text):
    """Starts a run that goes on while the test does, and not longer."""
    begun = []

    def start(number, folder):
        words = command(number, mpiexec, "-m", "transformer", "train", "--out", folder, *longer("--text", text))
        begun.append(subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"))
        return begun[-1]

    yield start
    for process in begun:
        with process:
            process.terminate()  # mpiexec ends its ranks


def wait_for(process, come):
    while not come():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.005)


def ranks(process):
    """The process numbers of the ranks, from the processes' own environment; Linux only."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int((entry / "stat").read_text().split(")")[-1].split()[1]) in descendants(process.pid):
                values = dict(word.split("=", 1) for word in (entry / "environ").read_text().split("\0") if "=" in word)
                if "PMI_RANK" in values and b"-m\0transformer\0" in (entry / "cmdline").read_bytes():
                    found[int(values["PMI_RANK"])] = int(entry.name)
        except OSError:
            continue
    return found


def descendants(number):
    """A process and those that it started, directly or not."""
    found = {number}
    for task in Path(f"/proc/{number}/task").glob("*/children"):
        for child in task.read_text().split():
            found |= descendants(int(child))
    return found


@needs_proc
def test_ctrl_c_stops_all_ranks_after_the_same_step_and_another_number_of_them_goes_on(mpiexec, begin, alone_for_longer, tmp_path):
    """The signal comes to one rank of 2 only; 3 take the run to its end."""
    process = begin(2, tmp_path / "run")
    wait_for(process, lambda: (tmp_path / "run" / "last.npz").exists())
    os.kill(ranks(process)[1], signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130 and "continue with" in output, output
    np.testing.assert_allclose(train(3, mpiexec, tmp_path / "run", "--resume"), curve(alone_for_longer), rtol=0, atol=1e-5)


@needs_proc
@pytest.mark.parametrize("seed", range(3))
def test_after_the_death_of_a_rank_the_run_goes_on_from_its_last_checkpoint(mpiexec, begin, alone_for_longer, tmp_path, seed):
    rng, folder = np.random.default_rng(seed), tmp_path / "run"
    number, victim, written = 2 + seed % 2, int(rng.integers(2 + seed % 2)), int(rng.integers(1, 8))
    process = begin(number, folder)
    wait_for(process, lambda: (folder / "last.npz").exists() and len(RunFolder(folder).read_log()) >= 10 * written)
    time.sleep(float(rng.random()) * 0.05)
    os.kill(ranks(process)[victim], signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert f"rank {victim} of {number} (process" in output and f"train --resume --out {folder}" in output
    RunFolder(folder).load_model()
    np.testing.assert_allclose(train(number, mpiexec, folder, "--resume"), curve(alone_for_longer), rtol=0, atol=1e-5)


FAILING = """
import sys, numpy as np
from transformer import GPT, Trainer
from transformer.training.objectives import LanguageModelling
from transformer.parallel import world
from transformer.training.checkpoints import RunFolder
from transformer.training.settings import Settings

class Failing(Trainer):
    def step(self):
        if world().rank in {ranks} and self.progress.step == 5:
            raise OSError("the disk of this machine is full")
        if world().rank == {drifting}:
            self.model.token_embedding.weight.data[0] += 1e-6
        return super().step()

def job():
    folder = RunFolder({folder!r})
    world().first(lambda: folder.create({{"model": {{}}}}, None))
    ids = np.arange(400) % 7
    settings = Settings(steps=9, evaluate_every=2, batch_size=4)
    trainer = Failing(GPT(7, 8, 2, 1, 8), LanguageModelling(ids[:300], ids[300:], 8), settings, folder, workers=world())
    trainer.train()
    return 0

sys.exit(world().run(job))
"""


def fail(mpiexec, tmp_path, ranks="()", drifting=-1):
    return start(3, mpiexec, "-c", FAILING.format(ranks=ranks, folder=str(tmp_path / "run"), drifting=drifting))


def test_an_error_on_one_rank_ends_the_job_and_names_the_rank(mpiexec, tmp_path):
    done = fail(mpiexec, tmp_path, ranks="(1,)")
    assert done.returncode != 0
    assert "OSError: the disk of this machine is full" in done.stderr and "rank 1 of 3 failed alone" in done.stderr
    assert f"train --resume --out {tmp_path / 'run'}" in done.stderr and "rank 0 of 3" not in done.stderr
    assert len(RunFolder(tmp_path / "run").read_log()) == 4


def test_an_error_on_all_ranks_is_told_once(mpiexec, tmp_path):
    done = fail(mpiexec, tmp_path, ranks="(0, 1, 2)")
    assert done.returncode == 1 and done.stderr.count("OSError") == 1 and "failed alone" not in done.stderr


def test_parameters_that_drift_apart_are_noticed_at_the_next_checkpoint(mpiexec, tmp_path):
    done = fail(mpiexec, tmp_path, drifting=2)
    assert done.returncode == 1 and "rank 2 of 3 differs from rank 0 in the parameter token_embedding.weight; start" in done.stderr
    assert not (tmp_path / "run" / "last.npz").exists()


def test_evaluation_gives_the_number_of_one_process(mpiexec, alone):
    one, three = (start(n, mpiexec, "-m", "transformer", "evaluate", alone, "--json") for n in (1, 3))
    assert three.returncode == 0, three.stderr
    a, b = json.loads(one.stdout), json.loads(three.stdout)
    assert a["tokens"] == b["tokens"] and a["loss"] == pytest.approx(b["loss"], abs=1e-12)


def test_the_answers_to_a_file_of_prompts_come_in_order_and_are_those_of_one_process(mpiexec, alone, tmp_path):
    (tmp_path / "p.txt").write_text("\n".join(WORDS * 4), encoding="utf-8")
    for n in (1, 3):
        files = ["--prompts", tmp_path / "p.txt", "--out", tmp_path / str(n)]
        done = start(n, mpiexec, "-m", "transformer", "generate", alone, *files, "--tokens=20", "--seed=7")
        assert done.returncode == 0 and not done.stdout, done.stderr
    found = (tmp_path / "3").read_text(encoding="utf-8")
    assert found == (tmp_path / "1").read_text(encoding="utf-8")
    assert [json.loads(line)["prompt"] for line in found.splitlines()] == WORDS * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["train", "--batch", "1", "--steps", "2"], "a batch of 1 cannot be split over 2 processes; give --batch 2"),
        (["train", "--resume", "--out", "nowhere"], "nowhere: no such run folder"),
        (["check"], "only train, evaluate and generate --prompts share their work"),
    ],
)
def test_a_mistake_is_told_once_by_rank_0(mpiexec, tmp_path, arguments, message):
    done = subprocess.run(
        command(2, mpiexec, "-m", "transformer", *arguments), env=environment(), cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("runs/*"))


def test_the_mpiexec_of_another_mpi_is_noticed(alone):
    variables = environment() | {"OMPI_COMM_WORLD_SIZE": "4"}
    done = subprocess.run(command(1, "", "-m", "transformer", "evaluate", alone), env=variables, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 2 and "mpiexec started 4 processes, but mpi4py sees 1" in done.stderr
