"""The editions of a chapter, all made from its one source ``chapters/NN_name.py``, a text in jupytext's percent format.

An exercise is three cells of the source: its task; a code cell tagged ``exercise``, the solution between nbgrader's marks and the
call of its check as the last line; and the idea of the solution, tagged ``idea``.

* ``book``       a stub to fill in, which says so when it is run, and below it the idea and the solution, folded wherever it is shown
* ``solutions``  the solution in the stub's place, and its idea open
* ``teachers``   nbgrader's answer and check cells, with the solution between its marks and without the idea
* ``students``   the same with stubs: what a class is given
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat

SOLUTION = re.compile(r"(?m)^([ \t]*)### BEGIN SOLUTION\n((?:.*\n)*?)[ \t]*### END SOLUTION$")
CALL = re.compile(r"\n+checks\.check_(\d\d\w?_\w+)\(.*\)\s*\Z")
STUB = "raise NotImplementedError  # your lines here"
ABOUT = ("cover", "requires")  # what a chapter says of itself: which of its figures stands for it, and the packages it needs
PYTHON = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python", "pygments_lexer": "ipython3"},
}


def source(path: Path) -> Any:
    """The notebook that a source describes, exercises as they stand in it.

    Raises ValueError for an exercise without its marks, its check or its idea.
    """
    notebook = jupytext.read(path, fmt="py:percent")
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None]):
        if "exercise" in tags(cell):
            for what, there in (
                ("the marks ### BEGIN SOLUTION and ### END SOLUTION", SOLUTION.search(cell.source)),
                ("a call of its check as the last line", CALL.search(cell.source)),
                ('its idea, tags=["idea"], in the next cell', following and "idea" in tags(following)),
            ):
                if not there:
                    raise ValueError(f"{path.name}: an exercise lacks {what}: {cell.source[:60]!r}…")
    return notebook


def tags(cell: Any) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def number(path: Path) -> str:
    """A chapter's number, with its letter when it has one: ``08b``."""
    return path.name.split("_")[0]


def stubbed(text: str) -> str:
    """The same code with a stub in the place of each solution."""
    return SOLUTION.sub(lambda match: match[1] + STUB, text)


def solved(text: str) -> str:
    """The same code without the marks around the solution."""
    return SOLUTION.sub(lambda match: match[2].rstrip("\n"), text)


def folded(summary: str, text: str) -> str:
    """Markdown that is folded in a notebook, on a code host and in a web page alike."""
    return f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>"


def finished(cells: list[Any], path: Path, metadata: Any) -> Any:
    """A notebook of the cells, numbered, with what the chapter says of itself."""
    for i, cell in enumerate(cells):
        cell.id = f"c{number(path)}-{i:02}"
    return nbformat.v4.new_notebook(cells=cells, metadata=PYTHON | {key: metadata[key] for key in ABOUT if key in metadata})


def copied(cell: Any) -> Any:
    """A cell of the same text, without outputs and without jupytext's metadata."""
    new = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
    return new(cell.source, metadata={"tags": tags(cell)} if tags(cell) else {})


def book(path: Path) -> Any:
    """The edition for readers: what is published, run and with outputs."""
    chapter, cells = source(path), []
    for cell in map(copied, chapter.cells):
        if "exercise" in tags(cell):
            solution = CALL.sub("", solved(cell.source))
            cell.source = stubbed(cell.source)
        elif "idea" in tags(cell):
            code = folded("A solution", f"```python\n{solution}\n```")
            cell.source = folded("The idea", cell.source) + "\n\n" + code
        cells.append(cell)
    return finished(cells, path, chapter.metadata)


def solutions(path: Path) -> Any:
    """The edition with every exercise solved, and its idea in the open."""
    chapter = source(path)
    cells = [copied(cell) for cell in chapter.cells]
    for cell in cells:
        if "exercise" in tags(cell):
            cell.source = solved(cell.source)
    return finished(cells, path, chapter.metadata)


def teachers(path: Path) -> Any:
    """The edition that a lecturer keeps for nbgrader: an exercise is worth as many points as it has stars."""
    chapter, cells, points = source(path), [], 1
    for cell in map(copied, chapter.cells):
        if heading := re.search(r"(?m)^### .*?(★+)", cell.source):
            points = len(heading[1])
        if "idea" in tags(cell):
            continue
        cells.append(cell)
        if "exercise" in tags(cell):
            call = CALL.search(cell.source)
            shared = {"schema_version": 3, "task": False}
            answer = {"grade_id": f"answer_{call[1]}", "grade": False, "solution": True, "locked": False} | shared
            check = {"grade_id": f"check_{call[1]}", "grade": True, "solution": False, "locked": True, "points": points} | shared
            cell.source, cell.metadata = CALL.sub("", cell.source), nbformat.from_dict({"nbgrader": answer})
            judged = f"import checks\n\nprint({call[0].strip()}.require())"  # nbgrader takes the value of a check's cell for a number of points
            cells.append(nbformat.v4.new_code_cell(judged, metadata={"nbgrader": check}))
    return finished(cells, path, chapter.metadata)


def students(path: Path) -> Any:
    """The teachers' edition with a stub in the place of each solution."""
    notebook = teachers(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = stubbed(cell.source)
    return notebook
