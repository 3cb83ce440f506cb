"""docs/bias.md: its example runs, its figures are those of the recorded experiment, its sentences are swapped as it says."""

import contextlib
import io
import re
from pathlib import Path

from transformer.bias import counterfactual
from transformer.bias.experiment import BASELINE, CURES

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "bias.md").read_text(encoding="utf-8")
RESULTS = (DOCS / "bias_results.md").read_text(encoding="utf-8")


def rows(text):
    return {cells[0]: cells[1:] for cells in ([c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|"))}


def test_the_example_runs_and_ends_with_an_estimate():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], {})
    assert re.fullmatch(r"[+-]\d+\.\d{3} \[[+-][\d.]+, [+-][\d.]+\]  p = \d\.\d{3}\n", printed.getvalue())


def test_the_figures_are_those_that_the_experiment_wrote():
    page, results = rows(PAGE), rows(RESULTS)
    assert {str(cure) for cure in (BASELINE, *CURES)} <= results.keys()
    shown = [name for name in results if name in page and name != "---" and not name.startswith(("cure", "skew"))]
    assert {"0.8", "projection", "augmentation 1"} <= set(shown)
    for name in shown:
        assert set(page[name]) <= set(results[name]), name


def test_the_experiment_shows_what_the_page_says():
    results = rows(RESULTS)
    number = lambda cell: float(cell.split()[0])  # noqa: E731
    low = lambda cell: float(re.search(r"\[([+-][\d.]+),", cell)[1])  # noqa: E731
    high = lambda cell: float(re.search(r", ([+-][\d.]+)\]", cell)[1])  # noqa: E731
    measured = [number(results[skew][1]) for skew in ("0", "0.2", "0.4", "0.6", "0.8")]
    assert measured == sorted(measured) and low(results["0"][1]) < 0 < high(results["0"][1])
    for cure in ("re-weighting", "additional data", "augmentation 1", "ratio penalty 0.1", "KL penalty 1"):
        assert low(results[cure][1]) > 50 and high(results[cure][4]) < 3


def test_its_sentences_are_swapped_as_it_says():
    table = rows(PAGE[PAGE.index("## Swapping real text") :])
    assert len(table) > 10
    for text, (becomes,) in table.items():
        if becomes.startswith(("None", "unchanged")):
            assert counterfactual(text) is None
        elif text not in ("text", "---"):
            assert counterfactual(text) == becomes
