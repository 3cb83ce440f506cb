"""What benchmarks/tasks.md promises of the tasks on sentences: the scores, the twins, the shortcuts, the time."""

import json
from pathlib import Path

import pytest

from benchmarks.tasks import report

FOLDER = Path(__file__).parents[1] / "benchmarks"
RESULTS = json.loads((FOLDER / "tasks.json").read_text(encoding="utf-8"))
PROMISED = [  # task, model, score, at least, a shortcut, its score at most
    ("entities", "Tagger", "test span F1", 0.99, "most frequent tag", 0.5),
    ("roles", "Tagger", "test span F1", 0.99, "order alone", 0.6),
    ("answers", "SpanReader", "test exact match", 0.98, "words in common", 0.3),
    ("headlines", "Transformer", "test exact match", 0.95, "first sentence", 0.01),
]
each_task = pytest.mark.parametrize(("task", "model", "score", "least", "shortcut", "most"), PROMISED)


def rates(task, model, score):
    """Of the seeds, in order."""
    return [result[score][0] / result[score][1] for _, result in sorted(RESULTS[task][model].items())]


@each_task
def test_three_seeds_reach_it_within_five_minutes_of_one_thread(task, model, score, least, shortcut, most):
    found = rates(task, model, score)
    assert len(found) == 3 and min(found) >= least, found
    assert max(result["seconds"] for result in RESULTS[task][model].values()) < 300


@each_task
def test_the_twin_in_pytorch_is_within_one_point(task, model, score, least, shortcut, most):
    ours, twin = rates(task, model, score), rates(task, "PyTorch twin", score)
    assert len(twin) == 3 and abs(sum(ours) - sum(twin)) / 3 <= 0.01, (ours, twin)


@each_task
def test_the_shortcut_fails(task, model, score, least, shortcut, most):
    assert max(rates(task, shortcut, score)) <= most


def test_roles_without_positions_stay_below_sixty():
    found = rates("roles", "no positions", "test span F1")
    assert len(found) == 3 and max(found) < 0.6, found


def test_questions_without_an_answer_are_recognised():
    assert min(rates("answers", "SpanReader", "test exact match, no answer")) >= 0.97


@pytest.mark.parametrize(("task", "baselines"), [
    ("conll", ["most frequent tag", "MiniLM, frozen", "MiniLM, adapters", "MiniLM, whole"]),
    ("boolq", ["majority", "bag of words", "MiniLM, linear head"]),
    ("xsum", ["first sentence", "MiniLM, central sentence"]),
])  # fmt: skip
def test_real_data_stands_beside_its_baselines_with_intervals(task, baselines):
    own = {"conll": "Tagger", "boolq": "Classifier", "xsum": "Transformer"}[task]
    assert len(RESULTS[task][own]) == 3 and set(baselines) <= RESULTS[task].keys()
    for model in (own, *baselines):
        for result in RESULTS[task][model].values():
            scores = [value for name, value in result.items() if name.startswith("test ")]
            assert scores and all(low <= total / count <= high for total, count, low, high in scores)


def test_the_page_is_that_of_the_results():
    assert report(RESULTS) == (FOLDER / "tasks.md").read_text(encoding="utf-8")
