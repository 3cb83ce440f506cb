"""The site: the book with its stored outputs, the pages of docs/ and benchmarks/, and a reference made from the docstrings.

    python docs/build.py DIR                      a folder for any static host; pip install -e ".[site]" first
    python docs/build.py DIR --pyodide FOLDER     with the book as it runs in a browser, in DIR/lite: notebooks/lite.py
    python docs/build.py DIR --run RUN            with the model of a run of yours on the front page, in place of a small one trained now

No chapter is executed, and no page loads anything from elsewhere.  A warning of Sphinx or a link inside the site that leads nowhere is an error.
"""

from __future__ import annotations

import argparse
import html.parser
import importlib
import importlib.util
import inspect
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
PARTS = {  # what stands together on the left; a page that is new stands under "More" until it has a place
    "Measured": [
        "benchmarks/results", "Side by side, two threads <benchmarks/results_2_threads>", "benchmarks/tasks", "benchmarks/ablations",
        "benchmarks/remedies", "benchmarks/diagnose", "benchmarks/parallel", "docs/bias_results",
    ],
    "Explained": ["docs/engine", "docs/quality", "docs/bias", "docs/pretrained", "docs/parallel"],
    "Teaching": ["docs/syllabus", "docs/teaching"],
}  # fmt: skip
REFERENCE = {
    "minigrad": "The engine: tensors, functions, derivatives, and the tools for derivations by hand.",
    "minigrad.nn": "Modules and parameters.",
    "minigrad.optim": "Optimizers and schedules.",
    "transformer": "From the attention formula to text generation.",
}
SETTINGS = """
project = "attention by hand"
author = "The attention by hand authors"
copyright = "the attention by hand authors, MIT licence"
extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinx_copybutton"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 4
myst_links_external_new_tab = False
mathjax_path = "mathjax/tex-mml-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}
suppress_warnings = ["myst.header", "mystnb.mime_priority"]
html_theme = "sphinx_book_theme"
html_title = "attention by hand"
html_static_path = ["static"]
html_favicon = "static/icon.svg"
html_css_files = ["site.css"]
html_theme_options = {"show_navbar_depth": 1, "use_download_button": False, "use_fullscreen_button": False, "show_toc_level": 2}
html_theme_options |= {"navbar_persistent": []}
html_copy_source = False
html_extra_path = ["extra"]
html_show_sphinx = False
html_context = {"default_mode": "auto"}
add_module_names = False
python_use_unqualified_type_names = True
"""
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#0b5fa5"/>
<path d="M3 3h3v3H3zm3 3h4v4H6zm4 4h3v3h-3z" fill="#fff"/></svg>
"""
STYLE = """
.bd-main .bd-content .bd-article-container { max-width: 66em; }
.open-lite { display: inline-block; padding: .3em .8em; border: 1px solid var(--pst-color-primary); border-radius: .4em; }
.open-lite { text-decoration: none; }
.bd-article details { border-left: 3px solid var(--pst-color-border); }
.bd-article details { padding: .2em 0 .2em .9em; margin: .6em 0; }
.bd-article details > summary { cursor: pointer; font-weight: 600; }
.bd-article table td, .bd-article table th { padding: .25em .7em; vertical-align: top; }
.bd-article .pst-scrollable-table-container, .bd-article .output { overflow-x: auto; }
.bd-article div.cell_output table { font-variant-numeric: tabular-nums; }
.bd-article table:not(.cell_output table) td:first-child { min-width: 7em; }
.bd-article dt.sig, .bd-article dd code { overflow-wrap: anywhere; }
.front-model { width: 100%; height: min(88vh, 60rem); border: 1px solid var(--pst-color-border); border-radius: .5em; }
mjx-container[display="true"] { overflow-x: auto; overflow-y: hidden; padding: .2em 0; }
"""
FRONT = """# attention by hand

The Transformer in pure NumPy, with every gradient checked: {chapters} chapters, two small packages, and no framework.

Each chapter derives on paper, builds it in NumPy, compares it with finite differences and with PyTorch's numbers, measures something,
and ends in exercises that check themselves and say what is wrong.

{doors}

## A model that you can look into

{model} Type, point at a weight, switch a head off; everything is computed on this page. Yours, trained in a few minutes,
[becomes such a page](docs/page.md) by one command. <a href="model.html">The same on a page of its own</a>.

<iframe class="front-model" src="model.html" title="A small language model: what it reads, what it expects, and its heads" loading="lazy"></iframe>

"""
TRAINED = "A small GPT, trained on Python's help pages when this site was built: half a minute, with the code of this project."
GIVEN = "A model that was trained with the code of this project."
OPENING = "The function returns the value of the "
TRAINING = "train --steps 500 --width 64 --layers 2 --heads 4 --context 64 --optimizer muon"


def stage(folder: Path, lite: bool, run: Path | None = None) -> None:
    """Everything that Sphinx reads, in the layout of the repository, so that links between pages stay what they are.

    ``run`` is the folder of the model on the front page; without it, a small one is trained.
    """
    sys.path[:0] = [str(ROOT), str(ROOT / "notebooks")]
    build, nbformat = importlib.import_module("build"), importlib.import_module("nbformat")
    names = []
    for source in build.chapters():
        if build.stored(source).exists():
            place = folder / "notebooks" / f"{source.stem}.ipynb"
            place.parent.mkdir(exist_ok=True)
            nbformat.write(chapter(nbformat.read(build.stored(source), as_version=4), source.stem, lite), place)
            names.append(f"notebooks/{source.stem}")
    pages = []
    for path in sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]):
        place = folder / path.relative_to(ROOT)
        place.parent.mkdir(exist_ok=True)
        place.write_text(plain_links(path.read_text(encoding="utf-8"), path.parent), encoding="utf-8")
        pages.append(path.relative_to(ROOT).with_suffix("").as_posix())
    for path in [*(ROOT / "docs").glob("*.png"), *(ROOT / "benchmarks").glob("*.png")]:
        shutil.copy(path, folder / path.relative_to(ROOT))
    reference = [write_reference(folder, module, about) for module, about in REFERENCE.items()]
    (folder / "static" / "mathjax").mkdir(parents=True)
    place_mathjax(folder / "static" / "mathjax")
    (folder / "static" / "site.css").write_text(STYLE, encoding="utf-8")
    (folder / "static" / "icon.svg").write_text(ICON, encoding="utf-8")
    (folder / "conf.py").write_text(SETTINGS, encoding="utf-8")
    place_model(folder / "extra", run)
    sections = {"The book": names, "Tools": ["docs/verify", "docs/page"], **{k: [p for p in v if name_of(p) in pages] for k, v in PARTS.items()}}
    rest = [p for p in pages if p not in {name_of(p) for group in sections.values() for p in group}]
    sections |= {"More": rest} if rest else {}
    sections["Reference"] = reference
    doors = ["- **Read**: begin with [chapter 00](notebooks/00_the_whole_thing.ipynb)."]
    if lite:
        start = "lite/notebooks/index.html?path=notebooks/00_the_whole_thing.ipynb"
        doors.insert(0, f"- **Open it in the browser**: every chapter [runs there]({start}), nothing to install.")
    doors.append("- **Check a gradient** that you derived on paper: [in five minutes](docs/verify.md).")
    doors.append("- **Teach from it**: exercises, editions, grading: [for lecturers](docs/teaching.md).")
    front = FRONT.format(chapters=len(names), doors="\n".join(doors), model=GIVEN if run else TRAINED)
    front = re.sub(r"\[([^\]]+)\]\((lite/[^)]+)\)", r'<a href="\2">\1</a>', front)
    toc = "\n\n".join(f"```{{toctree}}\n:caption: {title}\n:hidden:\n\n" + "\n".join(group) + "\n```" for title, group in sections.items())
    (folder / "index.md").write_text(front + toc + "\n", encoding="utf-8")


def name_of(line: str) -> str:
    """The page that a line of a table of contents stands for, ``Title <page>`` or ``page``."""
    return line.rpartition("<")[2].rstrip(">")


def chapter(notebook: Any, name: str, lite: bool) -> Any:
    """A stored chapter with the door to its running twin below the title, and without links that only a clone can follow."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = plain_links(cell.source, ROOT / "notebooks")
    if lite:
        first = notebook.cells[0]
        title, _, rest = first.source.partition("\n")
        door = f'<a class="open-lite" href="../lite/notebooks/index.html?path=notebooks/{name}.ipynb">▶ Open in the browser</a>'
        first.source = f"{title}\n\n{door}\n{rest}"
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return notebook


def plain_links(text: str, folder: Path) -> str:
    """Links to files of the repository that are no pages of the site become their words, with the file's name."""

    def kept(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        if "://" in target or target.startswith(("#", "mailto:")) or target.split("#")[0].endswith((".md", ".ipynb", ".png")):
            inside = (folder / target.split("#")[0]).resolve()
            page = "://" in target or target.startswith(("#", "mailto:")) or (inside.exists() and inside.parent != ROOT)
            return match[0] if page else words
        return f"{words} (`{target}`)" if words.strip("`") != target else words

    return re.sub(r"(?<!!)\[([^\]\n]+)\]\(([^)\s]+)\)", kept, text)


def place_mathjax(folder: Path) -> None:
    """MathJax and its fonts from the package django-static-mathjax, which needs no Django for that."""
    try:
        found = importlib.util.find_spec("mathjax")
        if found is None or not found.submodule_search_locations:
            raise ImportError("no package mathjax")
        source = Path(found.submodule_search_locations[0]) / "static" / "mathjax" / "es5"
        shutil.copy(source / "tex-mml-chtml.js", folder)
        shutil.copytree(source / "output" / "chtml" / "fonts", folder / "output" / "chtml" / "fonts")
        shutil.copytree(source / "input", folder / "input", ignore=shutil.ignore_patterns("mml*", "asciimath*"))
    except (ImportError, OSError) as error:
        raise SystemExit(f"build.py: formulas need django-static-mathjax ({error}); pip install -e '.[site]'") from None


def place_model(folder: Path, run: Path | None) -> None:
    """``model.html``, a run as a page with links into the chapters of the site; SystemExit where that fails."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as work:
        trained = str(run or Path(work) / "a small GPT")
        page = ["page", trained, "--out", str(folder / "model.html"), "--book", "./notebooks/{chapter}.html"]
        for step in [page] if run else [[*TRAINING.split(), "--out", trained], [*page, "--text", OPENING]]:
            ran = subprocess.run([sys.executable, "-m", "transformer", *step], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
            if ran.returncode:
                raise SystemExit(f"build.py: the model of the front page: {(ran.stderr or ran.stdout).strip()[-600:]}")


# The reference -----------------------------------------------------------------------------------------------------------------


def write_reference(folder: Path, module: str, about: str) -> str:
    """A page of a module's public names, from their signatures and docstrings; the page's name."""
    found = importlib.import_module(module)
    names = sorted(name for name in public(found) if not inspect.ismodule(getattr(found, name)))
    title = module
    lines = [f"# {title}", "", about, ""]
    for kind, wanted in (("Classes", True), ("Functions", False)):
        chosen = [name for name in names if inspect.isclass(getattr(found, name)) == wanted]
        if chosen:
            lines += [f"## {kind}", "", "````{eval-rst}", f".. py:currentmodule:: {module}", ""]
            for name in chosen:
                lines += entry(name, getattr(found, name), module)
            lines += ["````", ""]
    place = folder / "api" / f"{module}.md"
    place.parent.mkdir(exist_ok=True)
    place.write_text("\n".join(lines), encoding="utf-8")
    return f"api/{module}"


def public(module: Any) -> Iterator[str]:
    """The names that a module gives: its ``__all__``, or what it defines itself."""
    for name in getattr(module, "__all__", None) or dir(module):
        value = getattr(module, name)
        if not name.startswith("_") and callable(value) and (hasattr(module, "__all__") or getattr(value, "__module__", "") == module.__name__):
            yield name


def entry(name: str, value: Any, module: str) -> list[str]:
    """A class with its public methods, or a function, as Sphinx describes Python."""
    lines = [f".. py:{'class' if inspect.isclass(value) else 'function'}:: {name}{signature(value)}", ""]
    lines += indented(words(value))
    if formula := getattr(value, "formula", None):
        lines += indented(f".. math:: {' '.join(formula.split())}")
    if inspect.isclass(value):
        for method, own in sorted(vars(value).items()):
            if not method.startswith("_") and inspect.isfunction(own) and own.__doc__:
                lines += ["   .. py:method:: " + method + signature(own, drop_self=True), "", *indented(words(own), 6)]
    return lines


def signature(value: Any, drop_self: bool = False) -> str:
    """Arguments and defaults, without annotations; () where they cannot be known."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(…)"
    arguments = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values() if not (drop_self and p.name == "self")]
    return re.sub(r"<[^<>]*>", "…", str(found.replace(parameters=arguments, return_annotation=inspect.Signature.empty)))


def words(value: Any) -> str:
    """The docstring as reStructuredText: its asterisks and bars are meant as they stand."""
    text = inspect.getdoc(value) or ""
    pieces = re.split(r"(``.*?``|:math:`[^`]*`)", text, flags=re.S)
    return "".join(piece if i % 2 else re.sub(r"([*|`_])", r"\\\1", piece) for i, piece in enumerate(pieces))


def indented(text: str, by: int = 3) -> list[str]:
    return [*textwrap.indent(text, " " * by).splitlines(), ""]


# Checking ------------------------------------------------------------------------------------------------------------------------


LOADED = re.compile(r'<(?:script|img|iframe)[^>]*\ssrc="(https?://[^"]+)|<link[^>]*rel="stylesheet"[^>]*href="(https?://[^"]+)')


class Links(html.parser.HTMLParser):
    """The targets and the anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is not None and name in ("href", "src"):
                self.targets.append(value)
            if value is not None and name in ("id", "name"):
                self.anchors.add(value)


def broken(folder: Path) -> list[str]:
    """Every link inside the site that leads nowhere, and everything that a page would load from elsewhere."""
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        if path.relative_to(folder).parts[0] not in ("lite", "_static"):
            pages[path.resolve()] = reader = Links()
            reader.feed(path.read_text(encoding="utf-8"))
            reader.targets += [f"loads {a or b}" for a, b in LOADED.findall(path.read_text(encoding="utf-8"))]
    found = []
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if target.startswith("loads "):
                found.append(f"{path.name}: {target}")
            elif not parts.scheme and not parts.netloc:
                place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                place = place / "index.html" if place.is_dir() else place
                anchors = pages[place].anchors if place in pages else None
                if not place.exists() or (parts.fragment and anchors is not None and unquote(parts.fragment) not in anchors):
                    found.append(f"{path.relative_to(folder.resolve())}: {target}")
    return sorted(set(found))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Build the site.")
    parser.add_argument("folder", type=Path, help="where to; new or empty")
    parser.add_argument("--pyodide", type=Path, metavar="FOLDER", help="a Pyodide distribution: the book also runs in the browser, from DIR/lite")
    parser.add_argument("--run", type=Path, metavar="RUN", help="a run, whose model stands on the front page; default: a small one, trained now")
    options = parser.parse_args(arguments)
    folder: Path = options.folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{options.folder} is not empty; give a new folder for the site")
    if importlib.util.find_spec("myst_nb") is None or importlib.util.find_spec("sphinx_book_theme") is None:
        raise SystemExit("build.py: the site needs Sphinx with myst-nb and a theme; pip install -e '.[site]'")
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "source"
        source.mkdir()
        stage(source, lite=options.pyodide is not None, run=options.run and options.run.resolve())
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "auto", "-d", f"{work}/doctrees", str(source), str(folder)]
        if subprocess.run(command).returncode:
            raise SystemExit("build.py: Sphinx complained; see above")
    if options.pyodide is not None:
        importlib.import_module("build").main(["--lite", str(folder / "lite"), "--pyodide", str(options.pyodide)])
    if wrong := broken(folder):
        raise SystemExit("build.py: links that lead nowhere:\n" + "\n".join(wrong))
    print(f"{options.folder}: {len(list(folder.rglob('*.html')))} pages; open index.html")


if __name__ == "__main__":
    main()
