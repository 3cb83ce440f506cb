"""What the chapters share: paired differences, the drawing of the architecture, and the map of the book."""

import importlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

BOOK = Path(__file__).parent.parent / "notebooks"
sys.path[:0] = [str(BOOK)]

book = importlib.import_module("book")
diagrams = importlib.import_module("diagrams")


def test_a_paired_difference_has_students_interval():
    """Differences 1, 2, 3: mean 2, standard deviation 1; t(0.975, 2) = 4.303, so 2 ± 4.303/√3."""
    found = book.paired([2, 4, 6], [1, 2, 3])
    assert np.allclose([found.mean, found.low, found.high], [2, 2 - 4.303 / np.sqrt(3), 2 + 4.303 / np.sqrt(3)])
    assert not found.decided and str(found) == "+2.00 [−0.48, +4.48] undecided"


def test_what_all_seeds_share_cancels_in_a_paired_difference():
    luck = np.array([0.0, 5.0, -3.0, 1.0])
    found = book.paired(luck + np.array([1.0, 1.1, 0.9, 1.0]), luck, digits=1)
    assert found.decided and 0.8 < found.low < found.high < 1.2 and str(found) == "+1.0 [+0.9, +1.1]"
    assert book.paired(luck, luck + np.array([1.0, 1.1, 0.9, 1.0])).high < 0


@pytest.mark.parametrize(("a", "b"), [([1, 2], [0, 1]), ([1, 2, 3], [1, 2]), ([[1, 2, 3]], [[1, 2, 3]])])
def test_fewer_than_three_seeds_are_no_evidence(a, b):
    with pytest.raises(ValueError, match="three seeds or more"):
        book.paired(a, b)


def test_an_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [(e := book.paired(rng.normal(size=3), np.zeros(3))).low <= 0 <= e.high for _ in range(4000)]
    assert abs(np.mean(covered) - 0.95) < 0.015


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_the_map_has_every_chapter_and_leads_from_each_to_later_ones_only():
    chapters = diagrams.contents()
    shown = " ".join(texts(diagrams.book_map()))
    for number, (title, needs) in chapters.items():
        assert f"{number}\n" in shown and title.split()[0] in shown, number
        assert all(other in chapters and other < number for other in needs), (number, needs)
    assert chapters["08"][1] >= {"03", "07"} and diagrams.behind("12", chapters) >= {
        "01",
        "02",
        "03",
        "05",
        "06",
        "07",
        "08",
        "11",
    }


def test_the_map_is_the_same_from_the_notebooks_and_says_so_where_there_are_none(monkeypatch, tmp_path):
    from_sources = diagrams.contents()
    for path in BOOK.glob("[0-9][0-9]*_*.ipynb"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(diagrams, "BOOK", tmp_path)
    assert diagrams.contents() == from_sources
    monkeypatch.setattr(diagrams, "BOOK", tmp_path / "nowhere")
    assert texts(diagrams.book_map()) == ["The map is drawn where the other chapters are."]


def test_the_architecture_names_all_parts_and_their_shapes():
    shown = " ".join(texts(diagrams.architecture()))
    for part in (
        "embedding",
        "positions",
        "self-attention",
        "causal",
        "cross-attention",
        "feed-forward",
        "Add & Norm",
        "output layer",
        "softmax",
        "memory",
    ):
        assert part in shown, part
    for shape in ("(B, S)", "(B, T)", "(B, S, C)", "(B, T, C)", r"(B, T, \mathcal{V})"):
        assert shape in shown, shape
    assert shown.count("Add & Norm") == 5
