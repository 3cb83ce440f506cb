"""The parts of docs/build.py that need no Sphinx; CI builds the whole site, with warnings and dead links as errors."""

import importlib.util
import re
from pathlib import Path

import pytest

import minigrad
from minigrad import optim
from transformer.cli import main

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def site():
    spec = importlib.util.spec_from_file_location("site_build", ROOT / "docs" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_to_pages_stay_and_links_to_files_of_a_clone_become_words(site):
    text = "[a](bias.md), [b](../benchmarks/tasks.md#x), [c](https://x.org), [d](../benchmarks/parallel.py), ![e](bias.png), [f](none.md)"
    kept = "[a](bias.md), [b](../benchmarks/tasks.md#x), [c](https://x.org), d (`../benchmarks/parallel.py`), ![e](bias.png), f"
    assert site.plain_links(text, ROOT / "docs") == kept


def test_the_reference_has_every_public_name_with_arguments_docstring_and_formula(site, tmp_path):
    for module in site.REFERENCE:
        text = (tmp_path / f"{site.write_reference(tmp_path, module, 'about')}.md").read_text(encoding="utf-8")
        for name in site.public(importlib.import_module(module)):
            assert f":: {name}" in text, name
    lines = "\n".join(site.entry("softmax", minigrad.softmax, "minigrad"))
    assert ".. py:function:: softmax(x, axis=-1)" in lines and "Softmax along ``axis``" in lines
    assert r".. math:: y = \operatorname{softmax}(x)" in lines
    assert "   .. py:method:: step()" in "\n".join(site.entry("Adam", optim.Optimizer, "minigrad.optim"))
    assert {"Adam", "SGD", "noam"} <= set(site.public(optim)) and "Path" not in set(site.public(optim))


def test_docstrings_are_taken_as_they_stand_but_for_code_and_formulas(site):
    def f():
        """``a * b`` of *args|kwargs, x_ and :math:`x_i`."""

    assert site.words(f) == r"``a * b`` of \*args\|kwargs, x\_ and :math:`x_i`."


def test_dead_links_and_pages_that_load_from_elsewhere_are_found(site, tmp_path):
    links = '<h1 id="top"></h1><a href="b.html#here">1</a><a href="#top">2</a><a href="https://x.org">3</a>'
    (tmp_path / "a.html").write_text(links, encoding="utf-8")
    (tmp_path / "b.html").write_text('<p id="here"><img src="picture.png"></p>', encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"")
    assert site.broken(tmp_path) == []
    (tmp_path / "b.html").write_text('<p id="there"></p><a href="c.html">1</a><script src="https://cdn.org/x.js"></script>', encoding="utf-8")
    assert site.broken(tmp_path) == ["a.html: b.html#here", "b.html: c.html", "b.html: loads https://cdn.org/x.js"]


def test_the_door_to_the_browser_stands_below_the_title_only_where_there_is_one(site):
    nbformat = pytest.importorskip("nbformat")
    for lite in (True, False):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# 03 · Title\n\n*About an hour.*")])
        first = site.chapter(notebook, "03_x", lite).cells[0].source
        assert first.startswith("# 03 · Title\n") and ('href="../lite/notebooks/index.html?path=notebooks/03_x.ipynb"' in first) == lite


@pytest.mark.slow
def test_the_front_page_shows_the_model_of_a_run_with_links_into_the_chapters(site, tmp_path):
    (tmp_path / "text.txt").write_text("a text to learn from, and once more: " * 40, encoding="utf-8")
    sizes = ["--steps", "2", "--width", "8", "--layers", "1", "--heads", "1", "--context", "16", "--batch", "2"]
    assert main(["train", "--text", str(tmp_path / "text.txt"), *sizes, "--out", str(tmp_path / "run")]) == 0
    site.place_model(tmp_path / "extra", tmp_path / "run")
    links = re.findall(r"\./notebooks/(\w+)\.html", (tmp_path / "extra" / "model.html").read_text(encoding="utf-8"))
    assert len(links) > 5 and all((ROOT / "notebooks" / "chapters" / f"{name}.py").exists() for name in links)
    with pytest.raises(SystemExit, match="front page"):
        site.place_model(tmp_path / "other", tmp_path / "no run")
