"""Run the chapters from a clean kernel and store what they show, or make an edition for a class.

    python notebooks/build.py              run every chapter that was changed; write its notebook, with outputs, and its picture
    python notebooks/build.py 01 03        only these, changed or not
    python notebooks/build.py --all        all of them, changed or not
    python notebooks/build.py --student DIR     copies without solutions and outputs, for a class
    python notebooks/build.py --solutions DIR   copies with every exercise solved
    python notebooks/build.py --course DIR      a course for nbgrader, each chapter an assignment: docs/teaching.md
    python notebooks/build.py --lite DIR --pyodide FOLDER   the book as a site that runs in a browser, for any static host: lite.py
    python notebooks/build.py --pictures   only the small picture of each chapter, from its stored outputs, for the table in the README

A chapter is edited in ``chapters/NN_name.py``; ``NN_name.ipynb`` is made from it, and ``editions.py`` says how.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import importlib.util
import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

import editions

BOOK = Path(__file__).resolve().parent
PICTURES = BOOK / "pictures"
ROOT = BOOK.parent


def chapters(wanted: list[str] | None = None) -> list[Path]:
    """The sources, in order; those whose name begins with one of ``wanted``, when given."""
    return [p for p in sorted((BOOK / "chapters").glob("[0-9][0-9]*_*.py")) if not wanted or p.name.startswith(tuple(wanted))]


def stored(path: Path) -> Path:
    """The notebook, with outputs, that belongs to a source."""
    return BOOK / f"{path.stem}.ipynb"


def cells_of(notebook: Any) -> list[tuple[str, str, str]]:
    """What a reader sees of a notebook but its outputs: stored ones are stale when this is not the source's."""
    return [(cell.id, cell.cell_type, cell.source) for cell in notebook.cells]


def current(path: Path) -> bool:
    """Whether the stored notebook is the one that the source describes."""
    return stored(path).exists() and cells_of(nbformat.read(stored(path), as_version=4)) == cells_of(editions.book(path))


def missing(notebook: Any) -> list[str]:
    """The packages that a chapter needs, by its metadata ``requires``, and that are not installed."""
    return [name for name in notebook.metadata.get("requires", []) if importlib.util.find_spec(name) is None]


def run(notebook: Any, seconds_per_cell: int = 120) -> Any:
    """The notebook, executed top to bottom in a new kernel with one thread; raises CellExecutionError where a cell fails."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONUTF8": "1"}
    if sys.platform == "win32":
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    place, about = {"metadata": {"path": str(BOOK)}}, dict(notebook.metadata)
    NotebookClient(notebook, timeout=seconds_per_cell, kernel_name="python3", resources=place, record_timing=False).execute(env=environment)
    notebook.metadata = about  # the kernel adds the version of its Python
    return notebook


def cover(notebook: Any) -> bytes:
    """The PNG that stands for a chapter: of its figures the last one, or the one that its metadata ``cover`` numbers, from 1.

    Raises ValueError when there is no such figure.
    """
    figures = [o.data["image/png"] for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    number = notebook.metadata.get("cover", len(figures))
    if not 1 <= number <= len(figures):
        raise ValueError(f"cover: figure {number} of {len(figures)}; expected the number of a figure in the stored outputs, from 1")
    return base64.b64decode(figures[number - 1])


def thumbnail(png: bytes, width: int = 640, height: int = 400) -> bytes:
    """The same PNG made small, in the middle of a white strip of the width (twice that of the README's column, for sharp screens)."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    scale = min(width / picture.width, height / picture.height, 1.0)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    strip = Image.new("RGBA", (width, picture.height), "white")
    strip.alpha_composite(picture, ((width - picture.width) // 2, 0))
    buffer = io.BytesIO()
    strip.convert("RGB").quantize(128).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


CONFIG = """import os
import sys
from pathlib import Path

c = get_config()
c.CourseDirectory.course_id = "attention-by-hand"
c.ClearSolutions.code_stub = {{"python": {stub!r}}}

# Where the clone of the project is, seen from this folder; the environment's ATTENTION_BY_HAND goes first, as a container may need it.
clone = Path(os.environ.get("ATTENTION_BY_HAND") or Path(__file__).resolve().parent / {clone!r}).resolve()
if not (clone / "notebooks" / "course").is_dir():
    raise SystemExit(f"nbgrader_config.py: no clone of the project in {{clone}}; set ATTENTION_BY_HAND to its folder")
places = [str(clone), str(clone / "notebooks")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*places, os.environ.get("PYTHONPATH")]))
sys.path[:0] = places

# Answers are judged one by one, confined and in processes of their own (docs/teaching.md).  Without these lines nbgrader runs whole notebooks.
from nbgrader.preprocessors import AssignLatePenalties, CheckCellMetadata, LimitOutput, SaveAutoGrades  # noqa: E402

from course.judged import Judged  # noqa: E402

c.Autograde.autograde_preprocessors = [Judged, LimitOutput, SaveAutoGrades, AssignLatePenalties, CheckCellMetadata]
"""


def write(notebook: Any, path: Path) -> str:
    """Whole or not at all; what there is to say."""
    from minigrad.storage import write_atomically

    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.write((nbformat.writes(notebook).rstrip("\n") + "\n").encode("utf-8")))
    return f"{path.name}: {path.stat().st_size / 1e6:.2f} MB"


def rebuild(path: Path) -> str:
    """Run a chapter, store its outputs and its picture; what there is to say."""
    notebook = editions.book(path)
    if absent := missing(notebook):
        return f"{path.stem}: left as it is; it needs {' and '.join(absent)}"
    started = time.perf_counter()
    said = write(run(notebook), stored(path))
    return f"{said}, {time.perf_counter() - started:.1f} s; {draw_cover(path)}"


def draw_cover(path: Path) -> str:
    """Write the picture of a chapter, whole or not at all; what there is to say."""
    from minigrad.storage import write_atomically

    content = thumbnail(cover(nbformat.read(stored(path), as_version=4)))
    PICTURES.mkdir(exist_ok=True)
    place = PICTURES / f"{editions.number(path)}.png"
    write_atomically(place, lambda file: file.write(content))
    return f"pictures/{place.name}: {len(content) / 1e3:.0f} kB"


def add_to_course(path: Path, folder: Path) -> str:
    """Write a chapter as ``source/NAME/NAME.ipynb`` of the course, with solutions, and nbgrader_config.py unless there is one."""
    from course import written
    from course.release import finished

    place = folder / "source" / path.stem / f"{path.stem}.ipynb"
    asked = written.questions(BOOK).get(editions.number(path), [])
    write(finished(editions.teachers(path), path, written.cells(asked), {}, stubbed=False), place)
    config = folder / "nbgrader_config.py"
    if not config.exists():
        try:
            clone = Path(os.path.relpath(ROOT, folder.resolve())).as_posix()
        except ValueError:  # another drive of Windows
            clone = ROOT.as_posix()
        text = CONFIG.format(stub=editions.STUB, clone=clone)
        config.write_text(text, encoding="utf-8")
    return str(place)


def make_site(folder: Path, pyodide: Path, wanted: list[Path]) -> str:
    """The site that runs in a browser; SystemExit with one line when it cannot be made."""
    import lite

    try:
        return lite.site(folder, pyodide, [(path, stored(path)) for path in wanted])
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise SystemExit(f"build.py: {error}") from None


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Run the chapters and store their outputs and pictures, or make an edition for a class.")
    parser.add_argument("chapters", nargs="*", help="how their names begin, such as 01; else those that were changed, or all for an edition")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--all", action="store_true", help="run every chapter, changed or not")
    instead.add_argument("--student", metavar="DIR", help="write copies without solutions and outputs there instead")
    instead.add_argument("--solutions", metavar="DIR", help="write copies with the exercises solved, without outputs, there instead")
    instead.add_argument("--course", metavar="DIR", help="write a course folder for nbgrader there instead")
    instead.add_argument("--lite", metavar="DIR", help="write the site that runs in a browser there instead")
    instead.add_argument("--pictures", action="store_true", help="only write pictures/NN.png from the stored outputs")
    parser.add_argument("--pyodide", metavar="FOLDER", help="with --lite: the Pyodide distribution to put into the site")
    options = parser.parse_args(arguments)
    if bool(options.lite) != bool(options.pyodide):
        parser.error("--lite DIR and --pyodide FOLDER go together: the site needs the Python that it runs")
    wanted = chapters(options.chapters)
    if not wanted:
        parser.error(f"no chapter begins with {' or '.join(options.chapters) or 'a number'}; there are {', '.join(p.stem for p in chapters())}")
    if options.lite:
        print(make_site(Path(options.lite), Path(options.pyodide), wanted))
        return
    step: Callable[[Path], str] = rebuild
    if folder := options.student or options.solutions:
        edition = editions.students if options.student else editions.solutions
        step = lambda path: write(edition(path), Path(folder) / f"{path.stem}.ipynb")  # noqa: E731
    elif options.course:
        step = lambda path: add_to_course(path, Path(options.course))  # noqa: E731
    elif options.pictures:
        step = draw_cover
    elif not options.chapters and not options.all:
        wanted = [path for path in wanted if not current(path)]
    for path in wanted:
        print(step(path), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
