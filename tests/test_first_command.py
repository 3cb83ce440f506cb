"""What a new user sees: what is read, how long it takes, losses measured alike, and what to do next."""

from __future__ import annotations

import argparse

import pytest

from transformer.cli import main, train
from transformer.training import console, recipes
from transformer.training.settings import Settings

SHORT = ["--layers", "1", "--heads", "2", "--width", "16", "--context", "16", "--steps", "2", "--batch", "2", "--sample-tokens", "5"]


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "cats.txt"
    path.write_text("the cat sat on the mat and the dog sat on the log. " * 60, encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_run_says_what_it_reads_and_ends_by_naming_three_next_steps(book, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "--text", str(book), "--out", str(out), *SHORT]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("the text is cats.txt: 3,060 characters")
    steps = shown.split("what next:")[1].strip().splitlines()
    assert [f"generate {out} --interactive" in steps[0], f"page {out} --out" in steps[1], "00_the_whole_thing" in steps[2]] == [True] * 3
    assert len(steps) == 3


@pytest.mark.slow
def test_both_losses_are_measured_alike(book, tmp_path, capsys):
    assert main(["train", "--text", str(book), "--out", str(tmp_path / "run"), *SHORT]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("measured alike"))
    assert "on 305 tokens each" in line  # the text repeats itself, so that the two can only differ by where its windows begin
    training, validation = (float(word.strip(",")) for word in (line.split()[-4], line.split()[-1]))
    assert training == pytest.approx(validation, abs=0.05)


@pytest.mark.parametrize(("files", "said"), [
    (None, "Python's own help pages (pydoc_data.topics)"),
    (["/a/one.txt"], "one.txt"),
    (["/a/1", "/a/2", "/b/3", "/b/4", "/b/5"], "1, 2, 3 and 2 more"),
])  # fmt: skip
def test_a_text_has_a_name(files, said):
    assert train.name_of_text({"text": files, "task": None}) == said


def test_the_optimizer_brings_the_settings_that_suit_it():
    nothing = dict.fromkeys(Settings.__dataclass_fields__)
    given = lambda **options: train.text_settings(argparse.Namespace(**{**nothing, "model": None, **options}))  # noqa: E731
    assert given() == Settings(**recipes.TEXT["muon"])
    assert given(optimizer="adamw").lr == given(model="rnn").lr == recipes.TEXT["adamw"]["lr"]
    assert given(lr=1e-4, steps=7).lr == 1e-4 and given(steps=7).steps == 7


def test_the_pace_is_told_once_after_the_first_steps_and_never_of_a_short_run(monkeypatch):
    now = iter([10.0, 14.0])
    monkeypatch.setattr(console.time, "perf_counter", lambda: next(now))
    pace = console.Pace(1025)
    told = [text for _ in range(1025) if (text := pace.step())]
    assert told == ["5.0 steps a second: about 3 minutes to go"]  # 20 steps in 4 s, 1000 more
    monkeypatch.setattr(console.time, "perf_counter", lambda: 0.0)
    short = console.Pace(99)
    assert not any(short.step() for _ in range(99))


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "2 seconds"), (119, "119 seconds"), (121, "2 minutes"), (7300, "2.0 hours")])
def test_durations_can_be_pictured(seconds, said):
    assert console.duration(seconds) == said
