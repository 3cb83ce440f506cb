"""A run as a page: what its JavaScript computes is what NumPy computes, and the file stands for itself."""

import html.parser
import json
import re
import shutil
import subprocess
import tomllib
import unicodedata
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import no_grad
from transformer.attention import attention_maps
from transformer.cli import main
from transformer.cli.page import build
from transformer.data.bpe import CHUNK, BPETokenizer
from transformer.data.codec import BEGIN, END, PAD, Codec
from transformer.data.corpora import default_text
from transformer.data.tokenizers import CharTokenizer
from transformer.decoding.generate import generate
from transformer.decoding.sampling import Sampling, draw
from transformer.decoding.translate import translate
from transformer.decoding.window import window_start
from transformer.models.build import build_model
from transformer.training.checkpoints import RunFolder

NODE = shutil.which("node")
node = pytest.mark.skipif(NODE is None, reason="node is not installed: what the page computes is tested where it is")
LETTERS = "".join(map(chr, range(32, 127))) + "\n"
ODD = [
    "", " ", "  \n\n x", "a\r\nb", "it's  2026, 3.14159 and 1234567", "naïve Ünïcödé — ½ ² ⅷ ٣٤٥ 一二三",
    "👩‍👩‍👧‍👦 👍🏽 🇨🇭", "e\u0301 combining \u0300\u0300",
    "\ufeffbom", "\x1c\x1d\x1e\x1f\x85\xa0\u2028\u3000x", "_snake_case __init__",
    "x" * 200, " " * 130 + "y", "!?" * 70, "\0\1\2\x7f", "</script><!-- <b>\"'&",
    "日本語のテキスト", "עברית العربية हिन्दी", "\U0001d4d0\U0001d4d1 \U0010ffff", "tab\tand\vmore\f",
]  # fmt: skip
SIZES = {"embedding_dim": 16, "num_heads": 4, "num_layers": 2}
MODELS = {
    "learned, layer norm, gelu": {"kind": "GPT", "positions": "learned"},
    "rotary, RMS norm, SwiGLU, grouped heads": {
        "kind": "GPT",
        "positions": "rotary",
        "norm": "rms",
        "ffn": "swiglu",
        "num_kv_heads": 2,
    },
    "alibi, three heads, untied": {
        "kind": "GPT",
        "positions": "alibi",
        "tie_embeddings": False,
        "num_heads": 3,
        "embedding_dim": 18,
    },
    "sinusoidal, odd width, one key": {
        "kind": "GPT",
        "positions": "sinusoidal",
        "num_heads": 3,
        "embedding_dim": 15,
        "num_kv_heads": 1,
    },
    "no positions, no biases": {"kind": "GPT", "positions": "none", "ffn": "relu", "bias": False},
    "layers that share their weights": {"kind": "GPT", "positions": "rotary", "distinct_layers": 1},
    "the Transformer of 2017": {"kind": "Transformer"},
    "the same, pre-norm, untied": {"kind": "Transformer", "norm_first": True, "tie_embeddings": False},
}


of_each_kind = pytest.mark.parametrize("made", ["learned, layer norm, gelu", "the Transformer of 2017"], indirect=True)


def make_run(path, tokenizer, kind="GPT", distinct_layers=None, scale=0.3, **sizes):
    """A run folder of a model whose every weight is away from its start."""
    length = {"context_length": 24} if kind == "GPT" else {"max_length": 24}
    task = {"task": "copy"} if kind == "Transformer" else {}
    config = {
        "kind": kind,
        "model": {**SIZES, **length, "vocab_size": tokenizer.vocab_size, **sizes},
        "training": {"steps": 1},
        **task,
    }
    if distinct_layers:
        config["distinct_layers"] = distinct_layers
    mg.manual_seed(3)
    model, rng = build_model(config), np.random.default_rng(4)
    for p in model.parameters():
        p.data = (p.data + rng.normal(0, scale, p.shape)).astype(np.float32)
    folder = RunFolder(path)
    folder.create(config, tokenizer)
    folder.save_best(model.state_dict())
    folder.lock.give_back()
    return folder


def halved(folder):
    """Its model, with the weights that the page has."""
    model = folder.load_model()[0]
    for p in model.parameters():
        p.data = p.data.astype(np.float16).astype(np.float32)
    return model


def in_node(page, job):
    """The answer of the page's own JavaScript."""
    command = [NODE, str(Path(__file__).parent / "page_in_node.js"), str(page)]
    done = subprocess.run(command, input=json.dumps(job).encode(), capture_output=True, timeout=120)
    assert not done.returncode, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=list(MODELS))
def made(request, tmp_path_factory):
    """A run of each kind of model, and its page."""
    choice, path = MODELS[request.param], tmp_path_factory.mktemp("run")
    tokenizer = CharTokenizer((PAD + BEGIN + END if choice["kind"] == "Transformer" else "") + LETTERS)
    folder = make_run(path / "run", tokenizer, **choice)
    build.write_page(folder, path / "page.html", "The first text" if choice["kind"] == "GPT" else "321")
    return folder, path / "page.html"


def texts_for(model, rng, longest=24):
    """Twenty rows of ids; of the encoder–decoder, pairs."""
    row = lambda: rng.integers(0, model.vocab_size, rng.integers(1, longest + 1)).tolist()  # noqa: E731
    return [[row(), row()] if hasattr(model, "encode") else row() for _ in range(20)]


def numpy_answer(model, text):
    with attention_maps(model) as maps, no_grad():
        source, target = text if hasattr(model, "encode") else (text, None)
        out = model(np.array([source]), None, np.array([target])) if target else model(np.array([source]))
        return out.data[0], {
            name: calls[int(re.search(r"\d+", name)[0]) % len(calls)][0] for name, calls in maps.items()
        }


@node
@pytest.mark.slow
def test_the_page_computes_numpys_logits_and_attention(made):
    folder, page = made
    model = halved(folder)
    texts = texts_for(model, np.random.default_rng(5))
    job = {"do": "translate", "pairs": texts} if hasattr(model, "encode") else {"do": "read", "ids": texts}
    found = in_node(page, {**job, "off": [], "grow": False})
    grown = in_node(page, {**job, "off": [], "grow": True})  # token by token, from what is kept
    for text, once, slowly in zip(texts, found, grown, strict=True):
        logits, maps = numpy_answer(model, text)
        np.testing.assert_allclose(once["logits"], logits, atol=1e-3, rtol=0)
        np.testing.assert_allclose(slowly["logits"], once["logits"], atol=1e-9)
        assert once["attention"].keys() == maps.keys() and np.std(logits) > 0.5  # there is something to compare
        for name, weights in maps.items():
            for theirs, ours in zip(once["attention"][name], weights, strict=True):
                for row, expected in zip(theirs, ours, strict=True):  # of a causal map the page has what is seen
                    np.testing.assert_allclose(row + [0] * (len(expected) - len(row)), expected, atol=1e-4)


@pytest.mark.slow
@node
def test_a_head_that_is_switched_off_adds_nothing(made):
    folder, page = made
    model = halved(folder)
    two = hasattr(model, "encode")
    attention = model.decoder.layers[1].cross_attention if two else model.layers[1].self_attention
    name = "decoder.layers.1.cross_attention" if two else "layers.1.self_attention"
    texts = texts_for(model, np.random.default_rng(6))[:3]
    others = [name.replace("1", "0")] if folder.config().get("distinct_layers") else []  # that have the same matrix
    before = numpy_answer(model, texts[0])[0]
    attention.out_proj.weight.data[attention.head_dim : 2 * attention.head_dim] = 0  # what head 1 writes through
    job = {"do": "translate", "pairs": texts} if two else {"do": "read", "ids": texts}
    for text, found in zip(
        texts, in_node(page, {**job, "off": [f"{each}.1" for each in [name, *others]], "grow": True}), strict=True
    ):
        np.testing.assert_allclose(found["logits"], numpy_answer(model, text)[0], atol=1e-3, rtol=0)
    assert np.abs(numpy_answer(model, texts[0])[0] - before).max() > 1e-2


@node
@pytest.mark.slow
def test_what_a_reader_lets_it_write_is_what_numpy_writes(made):
    folder, page = made
    model = halved(folder)
    texts = ["12", "a b c", "The first text of the page"]
    found = in_node(page, {"do": "write", "texts": texts, "count": 40, "off": []})
    tokenizer = folder.tokenizer()
    if hasattr(model, "encode"):
        texts[-1] = texts[-1][: model.max_length - 1]  # as it says
        assert [each["text"] for each in found] == translate(model, Codec(tokenizer), texts)
        assert found[-1]["problem"].startswith("This model reads 23 tokens")
        return
    for text, each in zip(texts, found, strict=True):
        expected = generate(model, tokenizer.encode(text), 40, temperature=0)
        assert each["ids"] == expected.tolist() and each["problem"] == ""
        start = each["from"]
        assert start == window_start(len(expected), 24) > 0 and each["surprises"][:start] == [None] * start
        with no_grad():
            log_p = mg.log_softmax(model(expected[None, start:-1])).data[0]
        bits = -log_p[np.arange(len(log_p)), expected[start + 1 :]] / np.log(2)
        np.testing.assert_allclose(each["surprises"][start + 1 :], bits, atol=1e-3)


@pytest.mark.slow
@node
def test_the_weights_arrive_as_the_halves_that_numpy_rounds_to(made):
    folder, page = made
    expected = np.concatenate([p.data.ravel() for p in halved(folder).parameters()])
    np.testing.assert_array_equal(np.sort(np.array(in_node(page, {"do": "numbers"}), np.float32)), np.sort(expected))


@node
def test_tiny_and_large_halves_are_read_exactly(tmp_path):
    folder = make_run(tmp_path / "run", CharTokenizer(LETTERS))
    state = folder.load_best()[0]
    row = np.array([0.0, -0.0, 6e-8, -5.9e-5, 6.1e-5, 65504.0, -1.0, 1 / 3], np.float32)
    state["token_embedding.weight"][0, :8] = row
    folder.save_best(state)
    build.write_page(folder, tmp_path / "page.html", "x")
    start = json.loads(part(tmp_path / "page.html", "run-data"))["weights"]["token_embedding.weight"][1]
    assert (
        in_node(tmp_path / "page.html", {"do": "numbers"})[start : start + 8]
        == row.astype(np.float16).astype(float).tolist()
    )


def part(page, name):
    """The contents of one script of a page."""
    return re.search(rf'<script[^>]* ?id="{name}"[^>]*>(.*?)</script>', page.read_text(encoding="utf-8"), re.S)[1]


# Tokenizers and sampling ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    """A tokenizer of byte pairs, and a page with it."""
    path = tmp_path_factory.mktemp("bpe")
    tokenizer = BPETokenizer.train(default_text(), 700)
    build.write_page(make_run(path / "run", tokenizer), path / "page.html", "x")
    return tokenizer, path / "page.html"


@pytest.mark.slow
@node
def test_byte_pairs_are_cut_as_python_cuts_them(bpe):
    tokenizer, page = bpe
    rng = np.random.default_rng(7)
    anything = [
        "".join(map(chr, rng.choice([*range(0x20, 0x250), *range(0x4E00, 0x4E20), *range(0x1F600, 0x1F640)], 40)))
        for _ in range(50)
    ]
    texts = [default_text(), *ODD, *anything]
    for text, found in zip(texts, in_node(page, {"do": "encode", "texts": texts}), strict=True):
        assert found["ids"] == tokenizer.encode(text).tolist()
        assert found["back"] == text and found["strangers"] == []


@pytest.mark.slow
@node
def test_bytes_that_are_no_text_are_decoded_alike(bpe):
    tokenizer, page = bpe
    broken = [[0xEF, 0xBB, 0xBF, 65], [0xF0, 0x9F], [0xED, 0xA0, 0x80]]
    rows = [*np.random.default_rng(8).integers(0, tokenizer.vocab_size, (200, 12)).tolist(), *broken]
    assert in_node(page, {"do": "decode", "rows": rows}) == [tokenizer.decode(row) for row in rows]


@pytest.mark.slow
@node
def test_every_code_point_is_of_the_kind_that_python_says(bpe):
    kinds = in_node(bpe[1], {"do": "kinds"})
    wrong, checked = [], 0
    for point, kind in enumerate(kinds):
        character = chr(point)
        if kind == "?" or unicodedata.category(character) == "Cn":
            continue  # one of the two has an older Unicode
        chunks = [len(CHUNK.findall(before + character)) for before in "a1!\n"]
        checked += 1
        if kind != ("wdps"[chunks.index(1)] if 1 in chunks else "!"):
            wrong.append(point)
    assert checked > 200_000
    told = [f"U+{point:04X}" for point in wrong]
    assert not [point for point in wrong if point < 0x1000] and len(wrong) <= 5, told  # Unicode moves one now and then


@node
def test_characters_are_cut_as_python_cuts_them(tmp_path):
    text = default_text()
    tokenizer = CharTokenizer.train(text + "é😀\0\u2028</script>")
    build.write_page(make_run(tmp_path / "run", tokenizer), tmp_path / "page.html", "x")
    texts = [text, "é😀\0\u2028", "</script>", ""]
    for each, found in zip(texts, in_node(tmp_path / "page.html", {"do": "encode", "texts": texts}), strict=True):
        assert (found["ids"], found["back"], found["strangers"]) == (tokenizer.encode(each).tolist(), each, [])
    told = in_node(tmp_path / "page.html", {"do": "refuses", "texts": ["a日b", "\ud800", "ok"]})
    assert "日" in told[0] and "U+65E5" in told[0] and "U+D800" in told[1] and told[2] is None


@node
def test_the_distribution_is_that_of_generate(bpe):
    rng = np.random.default_rng(9)
    logits = np.round(rng.normal(0, 2, 40), 1)  # some tie
    settings = [
        {},
        {"temperature": 0},
        {"temperature": 0.3},
        {"temperature": 1.7, "top_k": 5},
        {"top_p": 0.6},
        {"temperature": 0.8, "top_k": 20, "top_p": 0.9},
    ]
    names = {"temperature": "temperature", "top_k": "topK", "top_p": "topP"}
    job = {
        "do": "distribution",
        "logits": logits.tolist(),
        "settings": [{names[k]: v for k, v in s.items()} for s in settings],
    }
    for setting, found in zip(settings, in_node(bpe[1], job), strict=True):
        np.testing.assert_allclose(found, Sampling(**setting).distribution(logits[None], [])[0], atol=1e-12)
    p, u = Sampling(top_k=4).distribution(logits[None], []), [0, 0.2, 0.5, 0.9, 0.999999]
    found = in_node(bpe[1], {"do": "draw", "probabilities": p[0].tolist(), "uniforms": u})
    assert found == draw(np.repeat(p, len(u), axis=0), np.array(u)).tolist()


@node
@pytest.mark.parametrize("context", [1, 2, 7, 64])
def test_beyond_the_context_it_reads_the_window_that_generate_reads(bpe, context):
    lengths = list(range(1, 200))
    assert in_node(bpe[1], {"do": "windows", "lengths": lengths, "context": context}) == [
        int(window_start(n, context)) for n in lengths
    ]


# The file -------------------------------------------------------------------------------------------------------------


class Reader(html.parser.HTMLParser):
    """The tags of a page with their attributes, and what stands in its scripts and its title."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts = [], {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag in ("script", "title", "style"):
            key = attributes.get("id", tag)
            self.texts[key] = self.texts.get(key, "") + data


@of_each_kind
def test_the_page_stands_for_itself(made):
    page = made[1].read_text(encoding="utf-8")
    reader = Reader(page)
    assert len(page.encode()) < build.LARGEST
    for tag, attributes in reader.tags:
        assert tag not in ("img", "iframe", "object", "embed", "base", "form") and "src" not in attributes
        assert attributes.get("href", "#")[:5] in ("#", "#text", "data:")
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|\bimport\(", page)
    (policy,) = (a["content"] for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "http" not in policy
    assert [t for t, _ in reader.tags].count("script") == len(build.SCRIPTS) + 2


@node
@of_each_kind
def test_every_script_of_the_page_is_javascript(made):
    reader = Reader(made[1].read_text(encoding="utf-8"))
    code = "\n".join(reader.texts[name] for name in build.SCRIPTS)
    assert not subprocess.run([NODE, "--check", "-"], input=code.encode(), capture_output=True, timeout=60).returncode
    assert subprocess.run(
        [NODE, "--check", "-"], input=(code + "}").encode(), capture_output=True, timeout=60
    ).returncode


def test_the_same_run_gives_the_same_page(tmp_path):
    folder = make_run(tmp_path / "run", CharTokenizer(LETTERS))
    pages = [build.build_page(folder) for _ in range(2)]
    assert pages[0] == pages[1] and str(tmp_path) not in pages[0]


@node
def test_no_token_or_name_can_break_the_page(tmp_path, monkeypatch):
    hostile = "</script><!--<script>\"'&\u2028{{weights}}😀"
    tokenizer = CharTokenizer(dict.fromkeys(hostile + "The "))
    assert tokenizer.vocabulary.startswith("</script>")
    folder = make_run(tmp_path / "run", tokenizer)
    monkeypatch.setattr(build, "about", lambda *_: {"name": hostile, "task": None, "learned": hostile})
    build.write_page(folder, tmp_path / "page.html", hostile)
    reader = Reader((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert [t for t, _ in reader.tags].count("script") == len(build.SCRIPTS) + 2
    assert reader.texts["title"].startswith(hostile)
    assert json.loads(reader.texts["run-data"])["opens_with"] == hostile
    (found,) = in_node(tmp_path / "page.html", {"do": "encode", "texts": [hostile]})
    assert found["ids"] == tokenizer.encode(hostile).tolist() and found["back"] == hostile


def test_a_page_has_room_for_so_many_parameters(tmp_path):
    tokenizer = CharTokenizer(LETTERS)
    folder = make_run(tmp_path / "run", tokenizer, embedding_dim=256, num_layers=2, scale=0)
    with pytest.raises(
        ValueError, match=r"would have 4\.\d MB, for 1,\d\d\d,\d\d\d parameters.*--width.*--distinct-layers"
    ):
        build.write_page(folder, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    build.write_page(
        make_run(tmp_path / "shared", tokenizer, embedding_dim=256, distinct_layers=1, scale=0), tmp_path / "page.html"
    )
    assert 2_000_000 < (tmp_path / "page.html").stat().st_size < build.LARGEST


@of_each_kind
def test_the_command_writes_the_page_and_says_so(made, tmp_path, capsys):
    folder = made[0]
    assert main(["page", str(folder.path), "--out", str(tmp_path / "p.html"), "--book", "../book/{chapter}.html"]) == 0
    assert re.search(r"p\.html: 0\.\d\d MB; open it in a browser", capsys.readouterr().out)
    chapters = json.loads(part(tmp_path / "p.html", "run-data"))["chapters"]
    assert chapters["05"] == ["Attention as soft lookup", "../book/05_attention_as_soft_lookup.html"]
    assert main(["page", str(folder.path)]) == 0 and (folder.path / "page.html").exists()


@of_each_kind
def test_a_language_model_opens_with_its_own_words_and_a_task_with_its_examples(made):
    run = json.loads(part(made[1], "run-data"))
    assert run["opens_with"] == ("321" if run["model"]["kind"] == "Transformer" else "The first text")
    run = json.loads(Reader(build.build_page(made[0])).texts["run-data"])
    if run["model"]["kind"] == "Transformer":
        assert run["opens_with"] == run["examples"][0] and len(run["examples"]) > 2
    else:
        assert run["opens_with"].startswith("The ") and len(run["opens_with"]) == 24


@pytest.mark.slow
def test_what_it_tells_of_a_run_is_no_path(tmp_path, capsys):
    (tmp_path / "words.txt").write_text("to be or not to be, that is the question. " * 40, encoding="utf-8")
    short = [
        "--steps",
        "2",
        "--evaluate-every",
        "2",
        "--layers",
        "1",
        "--width",
        "16",
        "--context",
        "16",
        "--batch",
        "2",
        "--warmup",
        "1",
    ]
    assert main(["train", "--text", str(tmp_path / "words.txt"), "--out", str(tmp_path / "run"), *short]) == 0
    assert main(["page", str(tmp_path / "run"), "--out", str(tmp_path / "page.html")]) == 0
    about = json.loads(part(tmp_path / "page.html", "run-data"))["about"]
    assert (about["name"], about["learned"], about["steps"]) == ("run", "words.txt", 2) and about["loss"] > 0
    assert str(tmp_path) not in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["{}/none"], "no such run folder"),
        (["{}"], "config.json: missing"),
        (["{}/run", "--out", "{}/none/page.html"], "no such folder"),
        (["{}/run", "--out", "{}/run"], "is a folder"),
        (["{}/run", "--out", "{}/page.txt"], "let it end in .html"),
        (["{}/run", "--text", "日本"], "cannot encode '日'"),
        (["{}/run", "--text", ""], "--text is empty"),
        (["{}/run", "--book", "javascript:alert(1)//{{chapter}}"], "expected an address with {chapter}"),
        (["{}/run", "--book", "../book"], "expected an address with {chapter}"),
        (["{}/rnn"], "is a RecurrentLM; a page shows language models of a text"),
        (["{}/large"], "token_embedding.weight holds 70000; half precision ends at 65504"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(tmp_path, capsys, options, told):
    folder = make_run(tmp_path / "run", CharTokenizer(LETTERS))
    if options[0] == "{}/rnn":
        sizes = {"vocab_size": len(LETTERS), "embedding_dim": 4, "num_layers": 1, "context_length": 8}
        RunFolder(tmp_path / "rnn").create(
            {"kind": "RecurrentLM", "model": sizes, "training": {}}, CharTokenizer(LETTERS)
        )
    if options[0] == "{}/large":
        large, state = make_run(tmp_path / "large", CharTokenizer(LETTERS)), folder.load_best()[0]
        state["token_embedding.weight"][3, 3] = 70000
        large.save_best(state)
    before = sorted(tmp_path.rglob("*"))
    status = main(
        ["page", *(option.replace("{}", str(tmp_path)).replace("{{", "{").replace("}}", "}") for option in options)]
    )
    error = capsys.readouterr().err
    assert status == 2 and told in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_the_wheel_carries_every_file_of_the_page():
    house = Path(build.__file__).parents[3]
    settings = tomllib.loads((house / "pyproject.toml").read_text(encoding="utf-8"))
    declared = settings["tool"]["setuptools"]["package-data"]["transformer"]
    carried = {file for pattern in declared for file in (house / "transformer").glob(pattern)}
    needed = {file for file in Path(build.__file__).parent.iterdir() if file.is_file() and file.suffix != ".py"}
    assert needed <= carried and {file.name for file in needed} == {*build.SCRIPTS, "page.html", "style.css"}


def test_the_chapters_that_it_names_exist():
    root = Path(build.__file__).parents[3] / "notebooks"
    named = set(re.findall(r'data-chapter="(\d\d)"', build.source("page.html")))
    assert named == set(build.CHAPTERS)
    assert all(
        (root / f"{file}.ipynb").exists() and file.startswith(number) for number, (file, _) in build.CHAPTERS.items()
    )


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@of_each_kind
def test_the_page_opens_in_a_browser_from_a_file(made, tmp_path):
    quiet = "disable-gpu disable-quic no-first-run disable-background-networking disable-sync disable-component-update"
    options = ["--headless", "--no-sandbox", f"--user-data-dir={tmp_path}", *(f"--{each}" for each in quiet.split())]
    done = subprocess.run([BROWSER, *options, "--dump-dom", made[1].as_uri()], capture_output=True, timeout=120)
    dom = done.stdout.decode("utf-8")
    heads = len(re.findall(r'role="switch"', dom))
    run = json.loads(part(made[1], "run-data"))["model"]
    assert heads == run["heads"] * run["layers"] * (3 if run["kind"] == "Transformer" else 1)
    assert (
        '<h3 class="weight"><b' in dom and dom.count("<li><button") == 10
    )  # the last thing that is drawn, and the bars
