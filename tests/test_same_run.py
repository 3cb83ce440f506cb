"""A resumed run is the same run: killed after any event, on any objective, with any option; on several ranks; beside another in a thread."""

import functools
import io
import os
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import load
from minigrad.random import generator
from tests.test_parallel import MPI, Threads
from transformer import GPT, CharTokenizer, Trainer
from transformer.data.tasks import MADE
from transformer.models.build import build_model
from transformer.parallel import watcher
from transformer.parallel.workers import Ranks
from transformer.training import loop
from transformer.training.checkpoints import RunFolder
from transformer.training.classification import Classification, Labelled
from transformer.training.objectives import LanguageModelling, Penalised
from transformer.training.recipes import make_tokenizer
from transformer.training.settings import Settings
from transformer.training.translation import Translation

IDS = np.random.default_rng(5).integers(0, 8, 500)
LETTERS = CharTokenizer("abcdefgh")
TEXT_MODEL = {"vocab_size": 8, "embedding_dim": 8, "num_layers": 2, "context_length": 8, "dropout": 0.2}
SEQUENCE_MODEL = {"embedding_dim": 8, "max_length": 24, "dropout": 0.2}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills copies of this process")


def on_text(wrap: Callable[[Any], Any] = lambda text: text, weights: Any = None) -> Callable[[], tuple[Any, Any]]:
    """Language modelling of random letters."""
    return lambda: (wrap(LanguageModelling(IDS[:400], IDS[400:], 8, LETTERS, weights)), LETTERS)


@functools.cache
def on_pairs() -> tuple[Any, Any]:
    """The task of copying."""
    tokenizer = make_tokenizer("copy")
    return Translation(MADE["copy"](), tokenizer), tokenizer


@functools.cache
def on_classes() -> tuple[Any, Any]:
    """Texts with two classes."""
    tokenizer = make_tokenizer("copy")
    letters = tokenizer.decode(np.arange(3, tokenizer.vocab_size))
    part = Labelled([letters[: 1 + i % 5] for i in range(20)], np.arange(20) % 2)
    return Classification(part, part, tokenizer, 16), tokenizer


def on_images() -> tuple[Any, Any]:
    """Noise with two classes."""
    part = Labelled(np.random.default_rng(0).random((20, 4, 4), np.float32), np.arange(20) % 2)
    return Classification(part, part), None


def penalised(text: Any) -> Any:
    """With a penalty that draws at every step."""
    return Penalised(text, lambda model, rng: (model(rng.integers(0, 8, (2, 8))) ** 2).mean() * 0.01)


GPT_SIZES = {**TEXT_MODEL, "num_heads": 2}
CASES: dict[str, tuple[Callable[[], tuple[Any, Any]], str, dict[str, Any], dict[str, Any]]] = {
    "text": (on_text(), "GPT", GPT_SIZES, {}),
    "text, recurrent": (on_text(), "RecurrentLM", TEXT_MODEL, {}),
    "text, averaged": (on_text(), "GPT", GPT_SIZES, {"average": 0.9}),
    "text, accumulated": (on_text(), "GPT", GPT_SIZES, {"accumulate": 2}),
    "text, recomputed": (on_text(), "GPT", GPT_SIZES, {"recompute_layers": True}),
    "text, weighted": (on_text(weights=np.random.default_rng(1).random(400)), "GPT", GPT_SIZES, {}),
    "text, penalised": (on_text(penalised), "GPT", GPT_SIZES, {}),
    "text, shared layers": (on_text(), "GPT", GPT_SIZES, {"distinct_layers": 1}),
    "pairs": (on_pairs, "Transformer", {**SEQUENCE_MODEL, "num_heads": 2, "num_layers": 1}, {}),
    "pairs, recurrent": (on_pairs, "Seq2SeqRNN", SEQUENCE_MODEL, {}),
    "classes": (on_classes, "Classifier", {**SEQUENCE_MODEL, "num_heads": 2, "num_layers": 1, "max_length": 16, "num_classes": 2}, {}),
    "images": (
        on_images, "ImageClassifier",
        {"image_size": 4, "patch_size": 2, "num_classes": 2, "embedding_dim": 8, "num_heads": 2, "num_layers": 1, "dropout": 0.2}, {},
    ),
}  # fmt: skip


def trainer_of(
    case: str, folder: RunFolder | None, workers: Any = None, **more: Any
) -> tuple[Trainer, Callable[[], None]]:
    """The trainer of a run of six steps with an evaluation after each third, and what begins its folder."""
    make, kind, sizes, options = CASES[case]
    objective, tokenizer = make()
    if kind not in ("GPT", "RecurrentLM", "ImageClassifier"):
        sizes = {**sizes, "vocab_size": tokenizer.vocab_size}
    options = {
        "steps": 6,
        "batch_size": 4,
        "evaluate_every": 3,
        "evaluation_tokens": 100,
        "warmup": 2,
        "sample_tokens": 6,
        **options,
        **more,
    }
    shared = {"distinct_layers": options.pop("distinct_layers")} if "distinct_layers" in options else {}
    settings = Settings(**options)
    config = {"kind": kind, "model": sizes, **shared, "training": vars(settings), "task": None, "text": None}
    mg.manual_seed(settings.seed)
    trainer = Trainer(build_model(config), objective, settings, folder, io.StringIO(), workers)
    return trainer, lambda: folder.create(config, tokenizer)


def go(case: str, path: Path) -> None:
    """Begin the run, or resume it where it has a checkpoint; a run without one is begun anew, as its message says."""
    folder = RunFolder(path)
    trainer, create = trainer_of(case, folder)
    if folder.last_file.exists():
        trainer.resume()
    else:
        for file in path.iterdir() if path.exists() else ():
            file.unlink()
        create()
    trainer.train()


def tell(note: Callable[[str], None], patch: pytest.MonkeyPatch) -> None:
    """Note what happens in a run: each step, evaluation, sample, and file that is written, appended to or moved into place."""

    def noting(owner: Any, name: str, label: Callable[..., str]) -> None:
        real = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            note(f"before {label(*args)}")
            found = real(*args, **kwargs)
            note(f"after {label(*args)}")
            return found

        patch.setattr(owner, name, wrapped)

    for name in ("step", "evaluate", "sample"):
        noting(Trainer, name, lambda *_, name=name: name)
    noting(loop, "checkpoint", lambda *_: "checkpoint")
    noting(os, "replace", lambda source, target: f"{Path(target).name} takes its place")
    noting(os, "fsync", lambda number: "something is on the disk")


def in_a_copy(work: Callable[[], None]) -> int:
    """The exit status of a copy of this process that does this work and nothing else."""
    number = os.fork()
    if not number:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)  # as SIGKILL: nothing is tidied up
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def events_of(case: str, path: Path) -> list[str]:
    """All events of the run, in order."""
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        tell(seen.append, patch)
        go(case, path)
    return seen


def killed_at(wanted: int, case: str, path: Path) -> None:
    """The run in a copy of this process, killed at one of its events, and then resumed."""

    def dies() -> None:
        seen: list[str] = []

        def note(event: str) -> None:
            seen.append(event)
            if len(seen) > wanted:
                os.kill(os.getpid(), signal.SIGKILL)

        with pytest.MonkeyPatch.context() as patch:
            tell(note, patch)
            go(case, path)

    assert in_a_copy(dies) == -signal.SIGKILL
    assert in_a_copy(lambda: go(case, path)) == 0


def same(one: Path, other: Path) -> None:
    """Equal files, checkpoints by their contents, and none left over."""
    assert sorted(file.name for file in one.iterdir()) == sorted(file.name for file in other.iterdir())
    for file in one.iterdir():
        if file.suffix == ".npz":
            a, b = load(file), load(other / file.name)
            assert a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a), file.name
        else:
            assert file.read_bytes() == (other / file.name).read_bytes(), file.name


@needs_fork
@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_a_run_killed_at_the_last_event_of_each_kind_and_resumed_is_the_same_run(case, tmp_path):
    events = events_of(case, tmp_path / "whole")
    for number in sorted({event: i for i, event in enumerate(events)}.values()):
        killed_at(number, case, tmp_path / "killed")
        same(tmp_path / "whole", tmp_path / "killed")
        for file in (tmp_path / "killed").iterdir():
            file.unlink()


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_killed_at_any_event_and_resumed_is_the_same_run(case, tmp_path):
    events = events_of(case, tmp_path / "whole")
    assert len(events) >= 50
    for number in range(len(events)):
        killed_at(number, case, tmp_path / "killed")
        same(tmp_path / "whole", tmp_path / "killed")
        for file in (tmp_path / "killed").iterdir():
            file.unlink()


@needs_fork
@pytest.mark.slow
def test_a_run_killed_at_fifty_random_events_one_after_the_other_is_the_same_run(tmp_path):
    rng, kills = np.random.default_rng(2017), 0
    for case in ("text, averaged", "pairs", "text, accumulated", "images", "classes"):
        events_of(case, tmp_path / f"{case} whole")
        for _ in range(10):  # each resumed run is killed again, before the last one is let through
            path = tmp_path / f"{case} killed"

            def dies(case: str = case, path: Path = path, left: int = int(rng.integers(1, 40))) -> None:
                count = iter(range(left))

                def note(_: str) -> None:
                    if next(count, None) is None:
                        os.kill(os.getpid(), signal.SIGKILL)

                with pytest.MonkeyPatch.context() as patch:
                    tell(note, patch)
                    go(case, path)

            status = in_a_copy(dies)
            assert status in (0, -signal.SIGKILL)
            kills += status != 0
        assert in_a_copy(lambda case=case, path=path: go(case, path)) == 0
        same(tmp_path / f"{case} whole", path)
    assert kills >= 20


# What only shows ----------------------------------------------------------------------------------------------------------


class Greedy:
    """An objective whose evaluation and samples draw from the generator that everything draws from."""

    def __init__(self, objective: Any) -> None:
        self.objective = objective

    def __getattr__(self, name: str) -> Any:
        return getattr(self.objective, name)

    def evaluate(self, *args: Any, **kwargs: Any) -> float:
        generator().random(7)
        return self.objective.evaluate(*args, **kwargs)

    def sample(self, *args: Any) -> str:
        generator().random(3)
        return self.objective.sample(*args)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_evaluation_and_samples_do_not_disturb_the_run(case):
    losses = []
    for shows in (False, True):
        trainer, _ = trainer_of(case, None, evaluate_every=2 if shows else 6)
        trainer.objective = Greedy(trainer.objective)
        before = generator().bit_generator.state
        trainer.train(show=(lambda message: None) if shows else None)
        assert generator().bit_generator.state == before
        losses.append(trainer.losses)
    assert losses[0] == losses[1]


# Side by side -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in CASES if case != "text, recomputed"])
@pytest.mark.slow
def test_several_ranks_train_every_objective_as_one_process_does(case, tmp_path, monkeypatch):
    monkeypatch.setattr(watcher, "start", lambda *_: None)
    monkeypatch.setitem(CASES, case, (*CASES[case][:2], {**CASES[case][2], "dropout": 0.0}, CASES[case][3]))
    alone, _ = trainer_of(case, None)
    alone.train()
    comm, found = Threads(2), [None, None]
    mpi = SimpleNamespace(**vars(MPI), Get_processor_name=lambda: "here")

    def one(rank: int) -> None:
        comm.here.rank = rank
        try:
            folder = RunFolder(tmp_path / "run")
            trainer, create = trainer_of(case, folder, Ranks(comm, mpi))
            trainer.workers.first(create)
            trainer.train(show=lambda message: None)
            found[rank] = (trainer.losses, trainer.validation)
        except Exception as error:
            found[rank] = error
            comm.barrier.abort()

    threads = [threading.Thread(target=one, args=[rank]) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in found:
        assert isinstance(result, tuple), result
        np.testing.assert_allclose(result[0], alone.losses, atol=1e-5)
        np.testing.assert_allclose(result[1], alone.validation, atol=1e-5)


@pytest.mark.slow
def test_two_trainings_in_two_threads_give_the_results_of_sequential_ones():
    def job(seed: int, losses: dict[int, list[float]]) -> None:
        mg.manual_seed(seed)
        trainer, _ = trainer_of("text", None, seed=seed, steps=15)
        trainer.train(show=lambda message: None)
        losses[seed] = trainer.losses

    one, other = {}, {}
    before = generator().bit_generator.state
    for seed in (1, 2):
        job(seed, one)
    mg.manual_seed(0).bit_generator.state = before
    threads = [threading.Thread(target=job, args=[seed, other]) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one == other and one[1] != one[2]
    assert generator().bit_generator.state == before  # that of the main thread


@pytest.mark.slow
def test_trainers_made_in_one_thread_and_run_in_others_do_not_share_random_numbers():
    losses = []
    for side_by_side in (False, True):
        trainers = [trainer_of("text", None, seed=seed, steps=10)[0] for seed in (1, 2)]
        threads = [threading.Thread(target=trainer.train) for trainer in trainers]
        for thread in threads:
            thread.start()
            if not side_by_side:
                thread.join()
        for thread in threads:
            thread.join()
        losses.append([trainer.losses for trainer in trainers])
    assert losses[0] == losses[1]


def test_a_thread_that_seeds_has_a_generator_of_its_own_and_one_that_does_not_shares_that_of_the_program():
    found = []

    def draw(seed: int | None) -> None:
        if seed is not None:
            mg.manual_seed(seed)
        found.append(generator().random())

    mg.manual_seed(3)
    for seed in (3, None):
        thread = threading.Thread(target=draw, args=[seed])
        thread.start()
        thread.join()
    assert found[0] == found[1] and generator().random() != found[0]


def test_threads_that_generate_leave_the_model_in_the_mode_in_which_they_found_it():
    from transformer.decoding.generate import steps

    model = GPT(8, 8, 2, 1, 8, dropout=0.5)
    model.dropout.training = False  # a part that was switched off on purpose stays so
    before = [module.training for module in model.modules()]
    with pytest.warns(UserWarning, match="training mode"):
        one, other = (steps(model, [1, 2], 3, rng=0) for _ in range(2))
        next(one), next(other)
    assert not any(module.training for module in model.modules())
    list(one)  # the first one ends first
    assert not any(module.training for module in model.modules())
    list(other)
    assert [module.training for module in model.modules()] == before
