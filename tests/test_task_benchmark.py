"""What benchmarks/tasks.md promises of the tasks on sentences: the scores, the twins, the shortcuts, the time."""

import json
from pathlib import Path

import pytest

from benchmarks.tasks import UNSEEDED, report

FOLDER = Path(__file__).parents[1] / "benchmarks"
RESULTS = json.loads((FOLDER / "tasks.json").read_text(encoding="utf-8"))
PROMISED = [  # task, model, score, at least, a shortcut, its score at most
    ("entities", "Tagger", "test span F1", 0.99, "most frequent tag", 0.5),
    ("roles", "Tagger", "test span F1", 0.99, "order alone", 0.6),
    ("answers", "SpanReader", "test exact match", 0.98, "words in common", 0.3),
    ("headlines", "Transformer", "test exact match", 0.95, "first sentence", 0.01),
]


each_score = pytest.mark.parametrize(("task", "model", "score", "least"), [p[:4] for p in PROMISED])
each_twin = pytest.mark.parametrize(("task", "model", "score"), [p[:3] for p in PROMISED])
each_shortcut = pytest.mark.parametrize(("task", "score", "shortcut", "most"), [(p[0], p[2], *p[4:]) for p in PROMISED])


def rates(task, model, score):
    """Of the seeds, in order."""
    return [result[score][0] / result[score][1] for _, result in sorted(RESULTS[task][model].items())]


@each_score
def test_three_seeds_reach_it_within_five_minutes_of_one_thread(task, model, score, least):
    found = rates(task, model, score)
    assert len(found) == 3 and min(found) >= least, found
    assert max(result["seconds"] for result in RESULTS[task][model].values()) < 300


@each_twin
def test_the_twin_in_pytorch_is_within_one_point(task, model, score):
    ours, twin = rates(task, model, score), rates(task, "PyTorch twin", score)
    assert len(ours) == len(twin) == 3 and abs(sum(ours) - sum(twin)) / 3 <= 0.01, (ours, twin)


@each_shortcut
def test_the_shortcut_fails(task, score, shortcut, most):
    assert max(rates(task, shortcut, score)) <= most


def test_roles_without_positions_stay_below_sixty():
    assert max(rates("roles", "no positions", "test span F1")) < 0.6


def test_questions_without_an_answer_are_recognised():
    assert min(rates("answers", "SpanReader", "test exact match, no answer")) >= 0.97


REAL = {
    "conll": ["Tagger", "most frequent tag", "MiniLM, frozen", "MiniLM, adapters", "MiniLM, whole"],
    "boolq": ["Classifier", "majority", "bag of words", "MiniLM, linear head"],
    "xsum": ["Transformer", "first sentence", "MiniLM, central sentence"],
}


@pytest.mark.parametrize("task", REAL)
def test_real_data_stands_beside_its_baselines_with_three_seeds_each(task):
    for model in REAL[task]:
        assert list(RESULTS[task][model]) == (["0"] if model in UNSEEDED else ["0", "1", "2"]), model


def test_the_page_shows_the_mean_of_the_seeds_with_students_interval_and_names_baselines_beside_it():
    ours = {str(seed): result(rate) for seed, rate in enumerate((0.9, 0.91, 0.92))}
    page = report({"entities": {"Tagger": ours, "most frequent tag": {"0": result(0.5)}}})
    assert "| [entities](#entities) | test span F1 | Tagger 91.00% | most frequent tag 50.00% |" in page
    seeds = "90.00%, 91.00%, 92.00% | 91.00% | 88.5% – 93.5%"  # 91 ± 4.303 · 1 / √3
    assert f"| test span F1 of 200 | Tagger | 1,000 | {seeds} | 80.0% – 100.0% | 7 |" in page
    assert "| test span F1 of 200 | most frequent tag | 1,000 | 50.00% | 50.00% |  | 40.0% – 60.0% | 7 |" in page


def result(rate):
    score = [rate * 200, 200, rate - 0.1, min(1.0, rate + 0.1)]
    return {"test span F1": score, "seconds": 7.0, "parameters": 1000, "examples": []}


def test_every_interval_holds_its_score():
    for models in RESULTS.values():
        for runs in models.values():
            for result in runs.values():
                scores = [value for name, value in result.items() if name.startswith("test ") and isinstance(value, list)]
                assert all(low - 1e-6 <= total / count <= high + 1e-6 for total, count, low, high in scores)


def test_the_page_is_that_of_the_results():
    assert report(RESULTS) == (FOLDER / "tasks.md").read_text(encoding="utf-8")
