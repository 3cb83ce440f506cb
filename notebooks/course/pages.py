"""Pages that need no network: a chapter's solutions, and its slides (slides.py), by nbconvert, with reveal.js and MathJax inside the file.

The two libraries come with packages of the extra ``course``: sphinx-revealjs (MIT) and django-static-mathjax (Apache 2.0).
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import nbformat

import editions

from . import written
from .chapters import Chapter
from .slides import slides

TEMPLATES = Path(__file__).resolve().parent / "templates"
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
)
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe", r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)  # fmt: skip


def carried(package: str, *parts: str) -> str:
    """The text of a file that a package carries.  Raises ImportError that names the extra when it is not installed."""
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place).joinpath(*parts)
        if path.exists():
            return path.read_text(encoding="utf-8")
    raise ImportError(
        f"pages without a network need the extra course: pip install -e '.[course]' (no {package} with {'/'.join(parts)} here)"
    )


def mathjax() -> str:
    return carried("mathjax", "static", "mathjax", "es5", "tex-svg-full.js").replace("</script", "<\\/script")


def stored_outputs(book: Path, chapter: Chapter) -> list[Any]:
    """The outputs of each cell in the published edition, which has the same cells in the same places."""
    notebook = nbformat.read(book / f"{chapter.stem}.ipynb", as_version=4)
    return [cell.get("outputs", []) for cell in notebook.cells]


def solved_chapter(book: Path, chapter: Chapter, asked: list[written.Question]) -> Any:
    """The chapter with its outputs, every exercise solved, ideas open, and rubrics."""
    notebook = editions.solutions(book / "chapters" / f"{chapter.stem}.py")
    for cell, outputs in zip(notebook.cells, stored_outputs(book, chapter)):
        if cell.cell_type == "code" and "exercise" not in editions.tags(cell):
            cell.outputs = outputs
    last = next(
        (i for i, cell in enumerate(notebook.cells) if cell.source.startswith("## References")), len(notebook.cells)
    )
    notebook.cells[last:last] = written.solved(asked)
    for cell in notebook.cells:
        cell.source = (
            re.sub(r"\]\((\d\d\w*)\.ipynb", r"](\1.html", cell.source) if cell.cell_type == "markdown" else cell.source
        )
    return notebook


def exported(kind: str, notebook: Any, title: str, **resources: Any) -> bytes:
    """HTML by nbconvert with one of our templates."""
    try:
        from nbconvert import HTMLExporter, SlidesExporter
        from traitlets.config import Config
    except ImportError as error:
        raise ImportError(f"pages need the extra course: pip install -e '.[course]' (no {error.name} here)") from error
    exporter = (SlidesExporter if kind == "deck" else HTMLExporter)(
        config=Config(),
        template_name=kind,
        extra_template_basedirs=[str(TEMPLATES)],
        embed_images=False,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    text, _ = exporter.from_notebook_node(
        notebook, {"metadata": {"name": title}, "course": {"mathjax": mathjax(), "title": title, **resources}}
    )
    return text.encode("utf-8")


def solutions_page(book: Path, chapter: Chapter, asked: list[written.Question]) -> bytes:
    """A page with the whole chapter, solved."""
    return exported("solutions", solved_chapter(book, chapter, asked), f"{chapter.title} (solutions)")


def deck(book: Path, chapter: Chapter) -> bytes:
    """The chapter's slides."""
    notebook = nbformat.read(book / f"{chapter.stem}.ipynb", as_version=4)
    reveal = ("_static", "revealjs", "dist")
    theme = carried("sphinx_revealjs", *reveal, "theme", "white.css")
    theme = "\n".join(
        line for line in theme.splitlines() if not line.startswith("@import")
    )  # fonts of the reader's own
    return exported(
        "deck", slides(notebook), chapter.title,
        reveal=carried("sphinx_revealjs", *reveal, "reveal.js").replace("</script", "<\\/script"),
        css=carried("sphinx_revealjs", *reveal, "reveal.css") + theme,
        notes=carried("sphinx_revealjs", "_static", "revealjs", "plugin", "notes", "notes.js").replace("</script", "<\\/script"),
    )  # fmt: skip


def browser() -> str | None:
    """A Chromium, or a browser made from it; the environment's CHROMIUM goes first."""
    named = os.environ.get("CHROMIUM")
    return (
        named
        or next(filter(None, map(shutil.which, BROWSERS)), None)
        or next((path for path in APPLICATIONS if Path(path).exists()), None)
    )


def print_pdf(page: Path, out: Path, seconds: float = 180) -> str:
    """Print a page with a browser; an empty text, or why it was not."""
    program = browser()
    if program is None:
        return "no Chromium, Chrome or Edge was found to print with; install one, set CHROMIUM to its path, or print the HTML pages from any browser"
    rights = (
        ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    )  # Chromium's own does not start for root
    with tempfile.TemporaryDirectory() as profile:
        made = Path(profile) / "page.pdf"
        options = [
            "--headless",
            *rights,
            "--disable-gpu",
            "--no-pdf-header-footer",
            "--virtual-time-budget=60000",
            f"--user-data-dir={profile}/browser",
        ]
        try:
            subprocess.run(
                [program, *options, f"--print-to-pdf={made}", page.resolve().as_uri()],
                timeout=seconds,
                capture_output=True,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{program}: {type(error).__name__}"
        if not made.exists():
            return f"{program} printed nothing"
        out.write_bytes(made.read_bytes())
    return ""
