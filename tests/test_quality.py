"""The quality command: what it measures, its table, its picture, and the shape known from the literature."""

import json

import numpy as np
import pytest
from small_models import Table

from transformer import CharTokenizer, plots
from transformer.cli import main
from transformer.data import corpora
from transformer.decoding.sampling import Sampling
from transformer.evaluation import quality
from transformer.evaluation.perplexity import distinct_n, repetition_rate, token_losses
from transformer.training.checkpoints import RunFolder

TEXT = "".join(f"The {n} cats sat on mat {n * n}, and the dog number {n + 3} saw them.\n" for n in range(60))
SHAPE = ["--layers", "1", "--heads", "2", "--width", "32", "--context", "16", "--batch", "8", "--sample-tokens", "8"]
SHAPE += ["--optimizer", "adamw", "--positions", "learned", "--norm", "layer"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    text = tmp_path_factory.mktemp("text") / "cats.txt"
    text.write_text(TEXT, encoding="utf-8", newline="\n")
    path = tmp_path_factory.mktemp("runs") / "cats"
    assert main(["train", "--text", str(text), "--out", str(path), "--steps", "150", "--evaluate-every", "150", "--lr", "5e-3", *SHAPE]) == 0
    return path


@pytest.fixture(scope="module")
def found(run):
    """What the command prints as JSON, by strategy."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        assert main(["quality", str(run), "--prompts", "2", "--tokens", "150", "--json"]) == 0
    return {row["name"]: row for row in json.loads(out.getvalue())["strategies"]}


@pytest.mark.slow
def test_maximising_likelihood_repeats_and_sampling_is_diverse_and_unlikely_with_the_nucleus_between(found):
    greedy, beam, nucleus, sampling = (found[name] for name in ("greedy", "beam search, 8 beams", "sampling, top-p 0.9", "sampling"))
    assert beam["loss"] <= greedy["loss"] < nucleus["loss"] < sampling["loss"]
    assert max(greedy["distinct2"], beam["distinct2"]) < sampling["distinct2"]
    assert min(greedy["repeated"], beam["repeated"]) > sampling["repeated"]


@pytest.mark.slow
def test_the_figures_are_those_of_the_definitions_on_the_texts_themselves(run, found):
    model, tokenizer, _ = RunFolder(run).load_model()
    ids = corpora.train_validation_split(tokenizer.encode(TEXT), 16)[1]
    starts = np.linspace(0, len(ids) - 158, 2).astype(int)  # openings of half the context
    for row in found.values():
        assert len(row["texts"]) == 2 and all(len(text) == 150 for text in row["texts"])
        whole = [np.concatenate([ids[s : s + 8], tokenizer.encode(text)]) for s, text in zip(starts, row["texts"], strict=True)]
        assert row["loss"] == pytest.approx(np.mean([token_losses(model, one, 8)[7:].mean() for one in whole]))
        assert row["distinct2"] == distinct_n([quality.words(text) for text in row["texts"]], 2)
        assert row["repeated"] == pytest.approx(np.mean([repetition_rate(text, 16) for text in row["texts"]]))
    assert found["held-out text"]["texts"] == [tokenizer.decode(ids[s + 8 : s + 158]) for s in starts]


@pytest.mark.slow
def test_the_command_gives_the_same_table_again_and_writes_the_frontier(run, tmp_path, capsys):
    tables = []
    for name in ("a.png", "b.png"):
        assert main(["quality", str(run), "--prompts", "2", "--tokens", "20", "--out", str(tmp_path / name)]) == 0
        shown = capsys.readouterr()
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / name.replace(".png", "-calibration.png")).read_bytes().startswith(b"\x89PNG")
        tables.append(shown.out[: shown.out.index(str(tmp_path))])
    assert tables[0] == tables[1]
    for word in ("held-out text", "greedy", "beam search, 8 beams", "min-p 0.1", "distinct-2", "is continued", "calibration error"):
        assert word in tables[0]


def test_openings_do_not_overlap_and_their_continuations_are_known():
    pieces = quality.openings(np.arange(100), 4, 5, 20)
    assert [piece[0] for piece in pieces] == [0, 25, 50, 75] and all(len(piece) == 25 for piece in pieces)
    with pytest.raises(ValueError, match="at most 4 of this size"):
        quality.openings(np.arange(100), 5, 5, 20)


def test_a_row_writes_the_same_whatever_the_number_of_prompts():
    model = Table(np.random.default_rng(0).normal(size=(5, 5)), 16)
    prompts = [np.array([0]), np.array([3])]
    one, two = (quality.write(model, Sampling(), some, 20, seed=1) for some in (prompts[:1], prompts))
    assert one[0].tolist() == two[0].tolist() != two[1].tolist()


def test_a_text_of_nothing_but_spaces_counts_as_repetition():
    tokenizer = CharTokenizer("ab ")
    q = quality.measure("x", Table(np.zeros((3, 3)), 16), tokenizer, [np.full(101, 2)], 1)
    assert q.repeated == pytest.approx(84 / 85) and np.isnan(q.distinct2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prompts", "0"], "--prompts 0"),
        (["--tokens", "3"], "--tokens 3"),
        (["--tokens", "9999"], "do not fit"),
        (["--out", "no/such/q.png"], "no such folder"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(run, tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    assert main(["quality", str(run), *options]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and words in shown.err and len(shown.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_frontier_has_likelihood_across_and_diversity_up():
    fig = plots.plot_frontier({"top-p": [(0.5, 0.2, "0.3"), (1.5, 0.8, "0.9")]}, {"held-out text": (1.4, 0.7), "greedy": (0.3, 0.1)})
    (ax,) = fig.axes
    curve = next(line for line in ax.lines if line.get_label() == "top-p")
    assert list(curve.get_xdata()) == [-0.5, -1.5] and list(curve.get_ydata()) == [0.2, 0.8]
    assert {"0.3", "0.9", "held-out text", "greedy"} <= {text.get_text() for text in ax.texts}
    assert "likelihood" in ax.get_xlabel() and "diversity" in ax.get_ylabel()
