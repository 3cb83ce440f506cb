"""Sharing the work, without MPI: the arithmetic of shares, and ranks that are threads of this process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from transformer import GPT, Classifier, Trainer, Transformer
from transformer.cli import main
from transformer.data.tasks import MADE
from transformer.evaluation.perplexity import token_losses
from transformer.parallel import Workers, share, watcher, world
from transformer.parallel.sharing import Buckets, buckets, weighted_share
from transformer.parallel.workers import Ranks, drops
from transformer.training.classification import Classification, Labelled
from transformer.training.objectives import LanguageModelling, Penalised, piece
from transformer.training.recipes import make_tokenizer
from transformer.training.resuming import facts
from transformer.training.settings import Settings
from transformer.training.translation import Translation

IDS = np.random.default_rng(5).integers(0, 8, 500)
MPI = SimpleNamespace(IN_PLACE=object(), MAX=np.maximum)


class Threads:
    """A communicator between threads: what one gives, all get."""

    def __init__(self, size):
        self.size, self.barrier, self.given = size, threading.Barrier(size), [None] * size
        self.here = threading.local()

    def Dup(self):
        return self

    def Get_rank(self):
        return self.here.rank

    def Get_size(self):
        return self.size

    def allgather(self, mine):
        self.given[self.here.rank] = mine
        self.barrier.wait(20)
        everything = list(self.given)
        self.barrier.wait(20)
        return everything

    def bcast(self, mine):
        return self.allgather(mine)[0]

    def Allreduce(self, _, array, combine=np.add):
        array[...] = combine.reduce(self.allgather(array.copy()))


def together(size, work):
    """What ``work(ranks)`` gives, or raises, on each of ``size`` ranks."""
    comm, found = Threads(size), [None] * size

    def one(rank):
        comm.here.rank = rank
        try:
            found[rank] = work(Ranks(comm, MPI))
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=one, args=[rank]) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@given(st.integers(0, 50), st.integers(1, 9))
def test_the_shares_are_all_rows_once_in_order_and_differ_by_one_row_at_most(count, size):
    shares = [list(range(count))[share(count, rank, size)] for rank in range(size)]
    assert [row for rows_of_one in shares for row in rows_of_one] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_rank_that_there_is_not_has_no_share():
    with pytest.raises(ValueError, match="rank 3 of 3"):
        share(10, 3, 3)


def objective_of(kind):
    """An objective, a model for it, both small, and dropout nowhere."""
    mg.manual_seed(0)
    if kind == "translation":
        tokenizer = make_tokenizer("numbers")
        return Translation(MADE["numbers"](), tokenizer), Transformer(tokenizer.vocab_size, 8, 2, 1, dropout=0.0)
    if kind == "classification":
        tokenizer = make_tokenizer("copy")
        letters = tokenizer.decode(np.arange(3, tokenizer.vocab_size))
        texts = [letters[: 1 + i % 5] for i in range(20)]
        part = Labelled(texts, np.arange(20) % 2)
        return Classification(part, part, tokenizer, 16), Classifier(tokenizer.vocab_size, 2, 8, 2, 1, 16, dropout=0.0)
    weights = np.random.default_rng(1).random(400) if kind == "weights" else None
    text = LanguageModelling(IDS[:400], IDS[400:], 8, weights=weights)
    if kind == "penalty":
        return Penalised(text, lambda model, rng: (model(rng.integers(0, 8, (2, 8))) ** 2).mean()), GPT(8, 8, 2, 1, 8)
    return text, GPT(8, 8, 2, 1, 8)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("kind", ["text", "weights", "penalty", "translation", "classification"])
def test_weighted_shares_add_up_to_the_loss_and_the_gradients_of_the_whole_batch(kind, size):
    objective, model = objective_of(kind)
    model.astype(np.float64)
    batch = objective.batch(np.random.default_rng(2), 7)
    drawn = mg.manual_seed(3).bit_generator.state
    whole = objective.loss(model, batch, 0.1)
    whole.backward()
    expected = [p.grad.data for p in model.parameters()]
    model.zero_grad()
    total = weights = 0.0
    for rank in range(size):
        mg.random.generator().bit_generator.state = drawn
        part, weight = weighted_share(objective, batch, rank, size)
        loss = objective.loss(model, part, 0.1)
        loss.backward(weight)
        total, weights = total + weight * loss.item(), weights + weight
    assert weights == pytest.approx(1)
    assert total == pytest.approx(whole.item(), rel=1e-12)
    for p, g in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(p.grad.data, g, rtol=1e-9, atol=1e-14)


def test_shares_of_as_many_rows_weigh_what_they_have_to_say_and_not_their_padding():
    objective, _ = objective_of("translation")
    batch = objective.batch(np.random.default_rng(0), 8)
    weights = [weighted_share(objective, batch, rank, 2)[1] for rank in (0, 1)]
    said = (batch.targets != -100).sum(axis=1)
    assert weights == [said[:4].sum() / said.sum(), said[4:].sum() / said.sum()] and weights[0] != weights[1]


def test_rows_of_a_batch_keep_its_structure():
    objective, _ = objective_of("translation")
    batch = objective.batch(np.random.default_rng(0), 6)
    part = piece(batch._replace(mask=None), slice(2, 5))
    assert type(part) is type(batch) and part.mask is None
    np.testing.assert_array_equal(part.targets, batch.targets[2:5])


# Gradients ---------------------------------------------------------------------------------------------------------------


def test_buckets_hold_every_parameter_once_the_last_first_and_not_more_than_their_limit():
    assert buckets([5, 3, 3, 20, 1, 1], 7) == [[5, 4], [3], [2, 1], [0]] and buckets([], 7) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_that_travelled_in_buckets_are_the_sums_in_their_own_dtype(dtype):
    def work(ranks):
        parameters = [mg.nn.Parameter(np.zeros(shape), dtype=dtype) for shape in [(3, 4), (5,), (2, 2), (1,)]]
        for i, p in enumerate(parameters[:2] if ranks.rank else parameters[1:3]):
            p.grad = mg.Tensor(np.full(p.shape, 1 + i + 1e-12), dtype=dtype)
        ranks.sum_gradients(parameters)
        return parameters

    for parameters in together(2, work):
        found = [None if p.grad is None else (p.grad.dtype, np.unique(p.grad.data)[0], p.grad.shape) for p in parameters]
        one, more = np.dtype(dtype).type(1 + 1e-12), np.dtype(dtype).type(3 + 2e-12)
        assert found[0] == (dtype, one, (3, 4)) and found[1][:2] == (dtype, more) and found[2][0] == dtype
        assert found[3] is None  # no rank has a gradient for it, so an optimizer must leave it alone, as one process would


def test_a_bucket_is_used_again_at_the_next_step():
    parameters, used = [mg.nn.Parameter(np.ones(3))], Buckets()
    for value in (1.0, 2.0):
        parameters[0].grad = mg.Tensor(np.full(3, value))
        for row, give_back in used.fill(parameters):
            row *= 10
            give_back()
        np.testing.assert_array_equal(parameters[0].grad.data, [10 * value] * 3)
    assert len(used.rows) == 1


# Ranks -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3])
def test_spread_does_as_map_does_on_every_rank(size):
    assert together(size, lambda ranks: list(ranks.spread(lambda i: i * i, range(7)))) == [[i * i for i in range(7)]] * size
    assert together(size, lambda ranks: list(ranks.spread(str, []))) == [[]] * size


def test_what_rank_0_alone_does_reaches_all_and_so_does_its_error():
    calls = []
    assert together(3, lambda ranks: ranks.first(lambda: calls.append(ranks.rank) or "done")) == ["done"] * 3
    assert calls == [0]
    errors = together(2, lambda ranks: ranks.first(Path("/no/such/file").read_bytes))
    assert [type(error) for error in errors] == [FileNotFoundError] * 2


def test_ranks_that_differ_stop_and_say_in_what():
    for error in together(3, lambda ranks: ranks.agree(lambda: {"the data": 7, "the parameter b": int(ranks.rank == 2)})):
        assert isinstance(error, ValueError) and "rank 2 of 3 differs from rank 0 in the parameter b; start" in str(error)
    assert together(3, lambda ranks: ranks.agree(lambda: {"the data": 7})) == [None] * 3


def test_the_data_the_random_numbers_and_every_parameter_are_compared():
    mg.manual_seed(0)
    make = lambda ids: Trainer(GPT(8, 8, 2, 1, 8), LanguageModelling(ids[:400], ids[400:], 8), Settings())  # noqa: E731
    trainer = make(IDS)
    before = facts(trainer)
    assert len(before) == 2 + len(trainer.model.parameters()) and facts(trainer) == before
    trainer.model.parameters()[3].data.flat[0] += 1e-6
    trainer.rng.random()
    assert sum(before[name] != value for name, value in facts(trainer).items()) == 2
    assert facts(make(IDS[::-1]))["the data"] != before["the data"]


def test_a_batch_too_small_to_split_is_told_before_training():
    assert "--batch 3" in str(together(3, lambda ranks: ranks.check(2))[1])


def test_with_dropout_ranks_draw_masks_of_their_own_and_then_agree_again():
    model = GPT(8, 8, 2, 1, 8, dropout=0.1)
    assert drops(model) and not drops(GPT(8, 8, 2, 1, 8)) and drops(Transformer(8, 8, 2, 1, dropout=0.1))
    before = mg.manual_seed(1).bit_generator.state
    drawn = []
    for rank in range(2):  # one after the other, as they share a generator here
        ranks = Ranks.__new__(Ranks)
        ranks.rank = rank
        with ranks.own_draws(model, 0, 5):
            drawn.append(mg.random.generator().random())
        assert mg.random.generator().bit_generator.state == before
    assert drawn[0] != drawn[1]


def test_a_process_alone_is_told_nothing_of_all_this(capsys):
    mg.manual_seed(0)
    options = Settings(steps=4, batch_size=4, evaluate_every=2)
    trainer = Trainer(GPT(8, 16, 2, 2, 8), LanguageModelling(IDS[:400], IDS[400:], 8), options)
    assert type(trainer.workers) is Workers and trainer.workers.part(trainer.objective, "all of it") == ("all of it", 1.0)
    trainer.train()
    assert len(trainer.losses) == 4


def test_token_losses_do_not_depend_on_who_computes_them():
    mg.manual_seed(0)
    model = GPT(8, 16, 2, 2, 8)
    backwards = lambda function, items: reversed([function(item) for item in reversed(list(items))])  # noqa: E731
    for stride in (None, 3):
        np.testing.assert_array_equal(token_losses(model, IDS, stride), token_losses(model, IDS, stride, spread=backwards))


@pytest.mark.parametrize(("local", "lines"), [(0, 1), (1, 0)])
def test_mpiexec_without_mpi4py_names_the_extra_once_on_each_host(local, lines, monkeypatch, capsys):
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setenv("MPI_LOCALRANKID", str(local))
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    world.cache_clear()
    assert main(["check", "--op", "exp"]) == 2
    world.cache_clear()
    error = capsys.readouterr().err
    assert error.count("\n") == lines and ('-e ".[parallel]"' in error) == bool(lines)


# A file of prompts -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompts")
    (folder / "text.txt").write_text("the cat sat on the mat and saw the dog\n" * 60, encoding="utf-8")
    shape = ["--layers=1", "--heads=2", "--width=16", "--context=16", "--steps=20", "--evaluate-every=10", "--batch=4", "--lr=0.01"]
    assert main(["train", "--text", str(folder / "text.txt"), "--out", str(folder / "run"), *shape]) == 0
    return folder / "run"


def answers(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_every_line_of_a_file_is_continued_in_order_by_a_generator_of_its_own(run, tmp_path, capsys):
    lines = [f"{word} sat" for word in ("the", "a", "dog", "cat")] * 5
    (tmp_path / "all.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = [str(run), "--tokens", "9", "--seed", "4"]
    assert main(["generate", *options, "--prompts", str(tmp_path / "all.txt"), "--out", str(tmp_path / "out.jsonl")]) == 0
    found = answers((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert [answer["prompt"] for answer in found] == lines and all(len(answer["text"]) == 9 for answer in found)
    assert len({answer["text"] for answer in found if answer["prompt"] == "the sat"}) == 5
    (tmp_path / "first.txt").write_text(lines[0], encoding="utf-8")
    capsys.readouterr()
    assert main(["generate", *options, "--prompts", str(tmp_path / "first.txt")]) == 0
    assert answers(capsys.readouterr().out) == found[:1]  # the company does not matter


@pytest.mark.slow
def test_a_text_ends_where_it_is_told_to(run, tmp_path, capsys):
    (tmp_path / "p.txt").write_text("the\non\n", encoding="utf-8")
    assert main(["generate", str(run), "--prompts", str(tmp_path / "p.txt"), "--tokens", "200", "--seed", "1", "--stop", "t"]) == 0
    assert all(answer["text"].count("t") == 1 and answer["text"].endswith("t") for answer in answers(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("the\n\ncat", [], "line 2: is empty"),
        ("the\ncat .", [], "line 2: cannot encode '.'"),
        ("", [], "is empty"),
        ("the", ["--prompt", "a"], "leave out --prompt"),
        ("the", ["--seed", "-1"], "--seed -1"),
        ("the", ["--out", "no/such/folder/x"], "no such folder"),
        ("the", ["--beams", "2", "--stop", "a"], "--stop"),
    ],
)
def test_a_mistake_with_a_file_of_prompts_is_one_line(run, tmp_path, capsys, content, options, message):
    (tmp_path / "p.txt").write_text(content, encoding="utf-8")
    assert main(["generate", str(run), "--prompts", str(tmp_path / "p.txt"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_an_out_file_is_for_a_file_of_prompts(run, capsys):
    assert main(["generate", str(run), "--prompt", "the", "--out", "x.jsonl"]) == 2
    assert "--out is for the answers to --prompts" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "pidfd_open") or not os.path.exists("/proc/self/fdinfo"), reason="needs Linux's pidfd and /proc")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_watcher_names_the_rank_that_died_first_even_if_it_wakes_after_the_others_end(order):
    def registered(number):
        found = 0
        for path in Path(f"/proc/{number}/fdinfo").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                found += path.read_text().count("tfd:")
        return found

    with contextlib.ExitStack() as processes:

        def begin(*words, **pipes):
            process = processes.enter_context(subprocess.Popen([sys.executable, *words], **pipes))
            processes.callback(process.kill)
            return process

        ranks = [begin("-c", "input()", stdin=subprocess.PIPE) for _ in range(2)]
        watching = begin(watcher.__file__, "", *(str(rank.pid) for rank in ranks), stderr=subprocess.PIPE, text=True)
        while registered(watching.pid) < 2:
            assert watching.poll() is None
            time.sleep(0.01)
        watching.send_signal(signal.SIGSTOP)
        while Path(f"/proc/{watching.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.01)
        for rank in order:
            ranks[rank].kill()
            ranks[rank].wait()
        watching.send_signal(signal.SIGCONT)
        assert f"rank {order[0]} of 2 (process {ranks[order[0]].pid}) has died" in watching.stderr.read()
