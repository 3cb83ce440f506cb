"""Run the chapters from a clean kernel and store what they show, or make an edition for a class.

    python notebooks/build.py              run every chapter, store its outputs, the hash of its code and its picture
    python notebooks/build.py 01 03        only these
    python notebooks/build.py --student DIR   copies without solutions, outputs and try-it cells, for a class
    python notebooks/build.py --course DIR    a course for nbgrader, each chapter an assignment: docs/teaching.md
    python notebooks/build.py --pictures   only the small picture of each chapter, from its stored outputs, for the table in the README

An exercise is five cells: the task; a stub to try one's hand at (tag ``try-it``); the idea of the solution, folded (tag
``words``); nbgrader's answer cell, folded in the book, with the solution between its marks; nbgrader's check.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import importlib.util
import io
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

BOOK = Path(__file__).resolve().parent
PICTURES = BOOK / "pictures"
SOLUTION = re.compile(r"(?m)^([ \t]*)### BEGIN SOLUTION\n(?:.*\n)*?[ \t]*### END SOLUTION$")
KEPT = ("requires", "cover")  # what a chapter says of itself: the packages it needs, and which of its figures stands for it
CHECK = re.compile(r"(?m)^checks\.check_\w+\(.*\)\.require\(\)$")
STUB = "raise NotImplementedError  # your lines here"


def chapters(wanted: list[str] | None = None) -> list[Path]:
    """The notebooks, in order; those whose name begins with one of ``wanted``, when given."""
    return [p for p in sorted(BOOK.glob("[0-9][0-9]_*.ipynb")) if not wanted or p.name.startswith(tuple(wanted))]


def code_hash(notebook: Any) -> str:
    """A hash of the code cells: outputs that were stored with another one are stale."""
    code = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def tags(cell: Any) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def missing(notebook: Any) -> list[str]:
    """The packages that a chapter needs, by its metadata ``requires``, and that are not installed."""
    return [name for name in notebook.metadata.get("requires", []) if importlib.util.find_spec(name) is None]


def run(path: Path, seconds_per_cell: int = 120) -> Any:
    """The notebook, executed top to bottom in a new kernel with one thread; raises CellExecutionError where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(BOOK.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONUTF8": "1"}
    if sys.platform == "win32":
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    place = {"metadata": {"path": str(BOOK)}}
    client = NotebookClient(notebook, timeout=seconds_per_cell, kernel_name="python3", resources=place, record_timing=False)
    client.execute(env=environment)
    notebook.metadata = {
        **{key: notebook.metadata[key] for key in KEPT if key in notebook.metadata},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python", "pygments_lexer": "ipython3"},
        "code_hash": code_hash(notebook),
    }
    return notebook


def for_class(notebook: Any) -> Any:
    """The edition that a lecturer keeps for nbgrader: without the try-it cells and the ideas of the solutions, nothing folded, no outputs."""
    notebook.cells = [cell for cell in notebook.cells if not {"try-it", "words"} & set(tags(cell))]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.metadata.pop("jupyter", None)
            cell.source = CHECK.sub(r"print(\g<0>)", cell.source)  # nbgrader takes the value of a check's cell for a number of points
    notebook.metadata.pop("code_hash", None)
    return notebook


def students(notebook: Any) -> Any:
    """The edition without solutions: that of a class, each answer cell holding a stub."""
    notebook = for_class(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = SOLUTION.sub(lambda match: match[1] + STUB, cell.source)
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

c = get_config()
c.CourseDirectory.course_id = "attention-by-hand"
c.ClearSolutions.code_stub = {{"python": {stub!r}}}
c.Execute.timeout = {seconds}  # for each cell: some train a model
places = {places!r}  # where the chapters find the library and their checks
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*places, os.environ.get("PYTHONPATH")]))
"""


def write(notebook: Any, path: Path) -> None:
    """Whole or not at all."""
    from minigrad.storage import write_atomically

    nbformat.validate(notebook)
    write_atomically(path, lambda file: file.write((nbformat.writes(notebook).rstrip("\n") + "\n").encode("utf-8")))


def rebuild(path: Path) -> str:
    """Run a chapter, store its outputs and its picture; what there is to say."""
    if absent := missing(nbformat.read(path, as_version=4)):
        return f"{path.name}: left as it is; it needs {' and '.join(absent)}"
    started = time.perf_counter()
    write(run(path), path)
    return f"{path.name}: {time.perf_counter() - started:.1f} s, {path.stat().st_size / 1e6:.2f} MB; {draw_cover(path)}"


def draw_cover(path: Path) -> str:
    """Write the picture of a chapter, whole or not at all; what there is to say."""
    from minigrad.storage import write_atomically

    content = thumbnail(cover(nbformat.read(path, as_version=4)))
    PICTURES.mkdir(exist_ok=True)
    write_atomically(PICTURES / f"{path.name[:2]}.png", lambda file: file.write(content))
    return f"pictures/{path.name[:2]}.png: {len(content) / 1e3:.0f} kB"


def hand_out(path: Path, folder: Path) -> str:
    """Write a chapter's edition without solutions into the folder; what there is to say."""
    folder.mkdir(parents=True, exist_ok=True)
    write(students(nbformat.read(path, as_version=4)), folder / path.name)
    return f"{folder / path.name}: {(folder / path.name).stat().st_size / 1e6:.2f} MB"


def add_to_course(path: Path, folder: Path) -> str:
    """Write a chapter as ``source/NAME/NAME.ipynb`` of the course, with solutions, and nbgrader_config.py unless there is one."""
    place = folder / "source" / path.stem / path.name
    place.parent.mkdir(parents=True, exist_ok=True)
    write(for_class(nbformat.read(path, as_version=4)), place)
    config = folder / "nbgrader_config.py"
    if not config.exists():
        text = CONFIG.format(stub=STUB, seconds=300, places=[str(BOOK.parent), str(BOOK)])
        config.write_text(text, encoding="utf-8")
    return str(place)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Run the chapters and store their outputs and pictures, or make an edition for a class.")
    parser.add_argument("chapters", nargs="*", help="how their names begin, such as 01; all when left out")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--student", metavar="DIR", help="write copies without solutions and outputs there instead")
    instead.add_argument("--course", metavar="DIR", help="write a course folder for nbgrader there instead")
    instead.add_argument("--pictures", action="store_true", help="only write pictures/NN.png from the stored outputs")
    options = parser.parse_args(arguments)
    found = chapters(options.chapters)
    if not found:
        parser.error(f"no chapter begins with {' or '.join(options.chapters) or 'a number'}; there are {', '.join(p.stem for p in chapters())}")
    for path in found:
        if options.student:
            said = hand_out(path, Path(options.student))
        elif options.course:
            said = add_to_course(path, Path(options.course))
        else:
            said = draw_cover(path) if options.pictures else rebuild(path)
        print(said, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(BOOK.parent))
    main()
