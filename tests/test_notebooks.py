"""The book: its chapters run, their stored outputs are those of their code, and the checks of the exercises can fail.

`python -m pytest -m notebooks` runs every chapter from a clean kernel; the other tests here take seconds.
"""

import ast
import base64
import importlib
import io
import json
import os
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("jupytext")

BOOK = Path(__file__).parent.parent / "notebooks"
sys.path[:0] = [str(BOOK), str(Path(__file__).parent)]

build = importlib.import_module("build")
editions = importlib.import_module("editions")
checks = importlib.import_module("checks")
PATHS = build.chapters()
NOTEBOOKS = {path.stem: nbformat.read(build.stored(path), as_version=4) for path in PATHS}
SOURCES = {path.stem: path for path in PATHS}
ALL_CHECKS = [name for name in checks.__all__ if name.startswith("check_")]
mutations = importlib.import_module("book_mutations")
GIVEN = [importlib.import_module(f"book_answers.{path.stem}") for path in sorted((Path(__file__).parent / "book_answers").glob("chapter_*.py"))]
WRONG = [pytest.param(*wrong, id=f"{wrong[0]}-{wrong[2]}") for answers in GIVEN for wrong in answers.WRONG]
RIGHT = [pytest.param(*right, id=f"{right[0]}-{i}") for answers in GIVEN for i, right in enumerate(getattr(answers, "RIGHT", []))]
every_chapter = pytest.mark.parametrize("name", NOTEBOOKS)


def exercises(name):
    """(grade id, first code cell, try-it cell, answer cell, check cell) of each exercise."""
    tried = [cell for cell in editions.book(SOURCES[name]).cells if "exercise" in editions.tags(cell)]
    code = [cell for cell in editions.teachers(SOURCES[name]).cells if cell.cell_type == "code"]
    for i, cell in enumerate(code):
        if cell.metadata.get("nbgrader", {}).get("solution"):
            yield cell.metadata.nbgrader.grade_id, code[0].source, tried.pop(0), cell, code[i + 1]


ANSWERS = [pytest.param(*rest, id=key) for name in NOTEBOOKS for key, *rest in exercises(name)]
each_exercise = pytest.mark.parametrize(("start", "stub", "answer", "check"), ANSWERS)


# Running -----------------------------------------------------------------------------------------------------------------


@pytest.mark.notebooks
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_chapter_runs_top_to_bottom_from_a_clean_kernel_without_a_warning(path):
    if absent := build.missing(NOTEBOOKS[path.stem]):
        pytest.skip(f"{path.stem} needs {' and '.join(absent)}, which is not installed")
    notebook = build.run(editions.book(path), seconds_per_cell=900)
    complaints = [o.text for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "stream" and o.name == "stderr"]
    assert not complaints


@every_chapter
def test_stored_outputs_are_those_of_the_code(name):
    assert build.current(SOURCES[name]), f"stale outputs: python notebooks/build.py {name.split('_')[0]}"
    counts = [cell.execution_count for cell in NOTEBOOKS[name].cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


@every_chapter
def test_a_code_host_can_show_a_chapter(name):
    notebook = NOTEBOOKS[name]
    nbformat.validate(notebook)
    assert notebook.metadata.language_info.name == "python" and notebook.metadata.kernelspec.name == "python3"
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert all(o.output_type != "error" and o.get("name") != "stderr" for o in outputs)
    shown = "\n".join(str(o.get("data", {}).get(kind, o.get("text", ""))) for o in outputs for kind in ("text/plain", "text/html", "text/markdown"))
    assert not re.search(r"(?<![\w.])(/home/|/tmp/|/work/|/root/|/Users/|[A-Z]:\\)|object at 0x", shown)


def test_the_folder_is_small():
    assert sum(path.stat().st_size for path in BOOK.rglob("*") if path.is_file()) < 15e6


# Reading -----------------------------------------------------------------------------------------------------------------


@every_chapter
def test_links_lead_somewhere(name):
    prose = "\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        assert target.startswith("https://") or (BOOK / target).exists(), target


def test_each_chapter_leads_to_the_next_and_back():
    names = list(NOTEBOOKS)
    for i, name in enumerate(names):
        last = [cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown"][-1]
        expected = {}
        if i > 0:
            expected["Before"] = names[i - 1]
        if i + 1 < len(names):
            expected["Next"] = names[i + 1]
        found = dict(re.findall(r"\*\*(Before|Next):\*\* \[[^\]]*\]\((\w+)\.ipynb\)", last))
        assert found == expected, name


@every_chapter
def test_a_chapter_has_its_parts(name):
    prose = "\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")
    assert prose.startswith(f"# {name.split('_')[0]} · ")
    for part in ("minutes", "After this chapter you can", "Experiment", "Common misunderstandings", "## Exercises", "## References"):
        assert part in prose, part
    assert 3 <= len(list(exercises(name))) <= 6


# Pictures ----------------------------------------------------------------------------------------------------------------


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float)


@every_chapter
@pytest.mark.slow
def test_the_picture_of_a_chapter_comes_from_its_stored_outputs(name):
    number = name.split("_")[0]
    stored, drawn = (BOOK / "pictures" / f"{number}.png").read_bytes(), build.thumbnail(build.cover(NOTEBOOKS[name]))
    assert len(stored) <= 40_000
    stored, drawn = pixels(stored), pixels(drawn)
    assert stored.shape == drawn.shape and stored.shape[1] == 640, f"python notebooks/build.py --pictures {number}"
    assert np.abs(stored - drawn).mean() < 3, f"python notebooks/build.py --pictures {number}"  # of 255: releases of Pillow differ a little


def test_the_readme_shows_every_chapter_with_its_picture():
    rows = [line for line in (BOOK.parent / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| [")]
    for path in PATHS:
        (row,) = [line for line in rows if f"(notebooks/{path.stem}.ipynb)" in line]
        assert row.startswith(f"| [{editions.number(path)} · ") and f'src="notebooks/pictures/{editions.number(path)}.png"' in row
    assert {f"{editions.number(path)}.png" for path in PATHS} == {path.name for path in (BOOK / "pictures").iterdir()}


def test_the_cover_is_the_last_figure_unless_the_chapter_says_which():
    output = [nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(text).decode()}) for text in (b"one", b"two")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[one]) for one in output])
    assert build.cover(notebook) == b"two"
    notebook.metadata["cover"] = 1
    assert build.cover(notebook) == b"one"
    notebook.metadata["cover"] = 3
    with pytest.raises(ValueError, match="figure 3 of 2"):
        build.cover(notebook)


def test_a_chapter_names_the_packages_that_it_needs():
    notebook = nbformat.v4.new_notebook(metadata={"requires": ["numpy", "surely_not_installed"]})
    assert build.missing(notebook) == ["surely_not_installed"] and build.missing(nbformat.v4.new_notebook()) == []


# Exercises ---------------------------------------------------------------------------------------------------------------


def last_value(namespace, source):
    """Run a cell; the value of its last expression."""
    tree = ast.parse(source)
    exec(compile(ast.Module(tree.body[:-1], []), "<cell>", "exec"), namespace)
    return eval(compile(ast.Expression(tree.body[-1].value), "<cell>", "eval"), namespace)


@each_exercise
def test_a_check_accepts_the_solution_and_not_the_stub(start, stub, answer, check):
    """The solution needs the chapter's imports only."""
    namespace = {}
    exec(start, namespace)
    verdict = last_value(namespace, stub.source)
    assert not verdict and "stub" in verdict.words
    exec(answer.source, namespace)
    call = ast.unparse(ast.parse(check.source).body[-1].value.args[0])
    assert last_value(namespace, call)


@each_exercise
def test_a_grader_sees_the_stub_fail(start, stub, answer, check):
    namespace = {}
    exec(start, namespace)
    exec(editions.stubbed(answer.source), namespace)
    with pytest.raises(AssertionError, match="Not yet"):
        last_value(namespace, check.source)
    assert check.metadata.nbgrader.grade and check.metadata.nbgrader.locked and check.metadata.nbgrader.points > 0


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_check_rejects_a_wrong_answer_with_a_hint(name, answer, hint):
    verdict = getattr(checks, name)(answer)
    assert not verdict
    assert hint in verdict.words


@pytest.mark.parametrize(("name", "answer"), RIGHT)
@pytest.mark.slow
def test_a_check_accepts_a_right_answer_that_is_unusual(name, answer):
    assert (verdict := getattr(checks, name)(answer)), verdict


def test_every_check_belongs_to_an_exercise_and_meets_three_wrong_answers_and_two_unusual_right_ones_at_least():
    called = {match for param in ANSWERS for match in re.findall(r"checks\.(check_\w+)", param.values[3].source)}
    assert called == set(ALL_CHECKS)
    for given, least in ((WRONG, 3), (RIGHT, 2)):
        met = [param.values[0] for param in given]
        assert {name: met.count(name) for name in ALL_CHECKS if met.count(name) < least} == {}


def mapped(change, x):
    """``x`` with every float array and every float in its lists and tuples changed."""
    if isinstance(x, list | tuple):
        return type(x)([mapped(change, part) for part in x])
    if isinstance(x, np.ndarray | np.floating | float) and np.asarray(x).dtype.kind == "f":
        return change(np.asarray(x))[()]
    return x


def nested(x):
    """``x`` as lists of numbers."""
    return x.tolist() if isinstance(x, np.ndarray) else [nested(part) for part in x] if isinstance(x, list | tuple) else x


def single(x):
    return x.astype(np.float32)


# differences of nearly equal numbers, and sums that are equal on paper, ask for more than float32 has
DOUBLE = {"second_difference", "directional_check", "p_value"}


@each_exercise
@pytest.mark.slow
def test_a_check_accepts_the_solution_in_single_precision_and_in_lists(start, stub, answer, check):
    namespace = {}
    exec(start, namespace)
    exec(answer.source, namespace)
    judge, name = re.search(r"checks\.(check_\w+)\((\w+)\)", check.source).groups()
    solution = namespace[name]
    styles = [
        lambda *given: mapped(single, solution(*given)),
        lambda *given: mapped(lambda x: single(x).astype(float), solution(*given)),
        lambda *given: nested(solution(*given)),
    ]
    if name not in DOUBLE:
        styles.append(lambda *given: mapped(single, solution(*mapped(single, given))))
    for style in styles:
        assert (verdict := getattr(checks, judge)(style)), verdict


@pytest.mark.torch
def test_a_check_accepts_another_librarys_tensors_and_not_its_derivatives():
    torch = pytest.importorskip("torch")

    def weights(Q, K, z):
        s = torch.tensor(Q) @ torch.tensor(K).T / Q.shape[1] ** 0.5
        return torch.cat([s, torch.full((len(Q), 1), z)], dim=1).softmax(dim=-1)[:, :-1].float()

    def backward(y_bar, y):
        x = torch.tensor(y, requires_grad=True)
        torch.log_softmax(x, -1).backward(torch.tensor(y_bar))
        return x.grad

    assert checks.check_05_sink_weights(weights)
    assert "lets the library do the work" in checks.check_03_log_softmax_backward(backward).words


@pytest.mark.slow
@every_chapter
def test_a_check_rejects_what_differs_from_the_solution_in_one_place(name):
    """Every mutation, of sign, operator, term, factor, axis, bound, mask or comparison, but those that are listed as equivalent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minigrad.diagnose", lambda *arguments, **options: True)  # which only finds words
        for key, start, _, answer, _ in exercises(name):
            key, namespace = key.removeprefix("answer_"), {}
            exec(start, namespace)
            number, accepted = mutations.survivors(getattr(checks, f"check_{key}"), namespace, answer.source)
            equivalent = {change for listed in mutations.EQUIVALENT.values() for change in listed.get(key, [])}
            assert number and set(accepted) == equivalent, key


def test_a_message_tells_two_numbers_apart_and_shows_the_worst_entry():
    verdict = checks.verdict
    with pytest.raises(verdict.Wrong, match=r"x: entry \[1, 0\] should be 3; yours is 3\.0000003, off by 3e-07\. That is nearly right"):
        verdict.same(np.array([[1, 2], [3 + 3e-7, 4]]), [[1, 2], [3, 4]], "x")
    with pytest.raises(verdict.Wrong, match=r"x for n = 2: entry \[0\] should be 0; yours is nan \(2 of 3"):
        verdict.same([np.nan, 2.0, 5.0], [0, 2, 4], "x", at="n = 2")
    with pytest.raises(verdict.Wrong, match="x should be real numbers"):
        verdict.same(["a"], [1], "x")
    verdict.same(np.float32([1 / 3]), [1 / 3], "x")
    with pytest.raises(verdict.Wrong, match=r"0\.333333333; yours is 0\.333333343"):
        verdict.same(np.array([np.float32(1 / 3), 1 / 7], float), [1 / 3, 1 / 7], "x")


def test_a_later_exercise_builds_on_the_readers_answer_or_on_the_librarys(tmp_path, monkeypatch):
    (key,) = [param.id for param in ANSWERS if param.id.endswith("topological_order")]
    _, stub, answer, _ = next(param.values for param in ANSWERS if param.id == key)
    notebook = build.stored(next(path for path in PATHS if path.name.startswith("02")))
    monkeypatch.chdir(tmp_path)
    assert checks.earlier("02_topological_order").whose == "the library's"
    call = "\n\nchecks.check_02_topological_order(topological_order)"
    stored = notebook.read_text(encoding="utf-8").replace(json_of(stub.source), json_of(answer.source + call))
    (tmp_path / notebook.name).write_text(stored, encoding="utf-8")
    assert checks.earlier("02_topological_order").whose == "your"
    wrong = stored.replace("return order", "return order[:1]")
    (tmp_path / notebook.name).write_text(wrong, encoding="utf-8")
    assert checks.earlier("02_topological_order").whose == "the library's"
    with pytest.raises(KeyError, match="nothing builds on"):
        checks.earlier("01_richardson")


def test_the_readers_own_engine_trains_the_readers_own_attention(monkeypatch):
    import __main__

    for key in ("walk_back", "multi_head_attention", "descend"):
        start, _, answer, _ = next(param.values for param in ANSWERS if param.id.endswith(f"_{key}"))
        namespace = {}
        exec(start, namespace)
        exec(answer.source, namespace)
        monkeypatch.setattr(__main__, key, namespace[key], raising=False)
    assert "Your attention, trained by your engine" in checks.check_06_descend(__main__.descend).words
    monkeypatch.setattr(__main__, "walk_back", lambda output, upstream, wanted: [np.zeros_like(node.data) for node in wanted])
    assert "Your attention, trained by the library's engine" in checks.check_06_descend(__main__.descend).words


def json_of(source):
    """The lines of a cell as a notebook's file has them."""
    return json.dumps(source.splitlines(keepends=True), indent=1, ensure_ascii=False).replace("\n", "\n   ")


@every_chapter
def test_an_exercise_is_worth_its_stars(name):
    stars = 0
    for cell in editions.teachers(SOURCES[name]).cells:
        heading = re.search(r"^### .*?(★+)", cell.source, re.M) if cell.cell_type == "markdown" else None
        stars = len(heading[1]) if heading else stars
        if cell.metadata.get("nbgrader", {}).get("grade"):
            assert cell.metadata.nbgrader.points == stars, cell.metadata.nbgrader.grade_id


@every_chapter
@pytest.mark.slow
def test_the_students_edition_holds_no_solution(name):
    notebook = editions.students(SOURCES[name])
    for key, _, _, answer, check in exercises(name):
        (mine,) = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == key]
        assert "SOLUTION" not in mine.source and editions.STUB in mine.source
        assert mine.source.splitlines()[0] == answer.source.splitlines()[0]  # the signature stays
        assert check.source in [cell.source for cell in notebook.cells]
    assert not any(cell.get("outputs") for cell in notebook.cells)


@every_chapter
@pytest.mark.slow
def test_running_a_whole_notebook_leaves_the_readers_answers_alone(name):
    """The published edition holds a solution as folded text only: no cell defines what the reader is to write."""
    code = "\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "code")
    assert "SOLUTION" not in code and code.count(editions.STUB) >= len(list(exercises(name)))
    for _, _, stub, answer, _ in exercises(name):
        (folded,) = [cell.source for cell in NOTEBOOKS[name].cells if editions.solved(answer.source) in cell.source]
        assert folded.count("<details>") == folded.count("</details>") == 2
        for definition in re.findall(r"(?m)^def \w+\(.*$", answer.source):
            assert definition in stub.source


def test_an_exercise_without_its_parts_is_refused(tmp_path):
    path = tmp_path / "01_x.py"
    answer = "def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n\n\nchecks.check_01_f(f)\n"
    whole = f'# %% tags=["exercise"]\n{answer}\n# %% [markdown] tags=["idea"]\n# One.\n'
    path.write_text(whole, encoding="utf-8")
    assert "raise NotImplementedError" in editions.book(path).cells[0].source
    for part, lacks in (("    ### BEGIN SOLUTION\n", "marks"), ("checks.check_01_f(f)\n", "check"), (' tags=["idea"]', "idea")):
        path.write_text(whole.replace(part, ""), encoding="utf-8")
        with pytest.raises(ValueError, match=lacks):
            editions.book(path)


def test_a_course_holds_the_solutions_and_nothing_that_gives_them_away(tmp_path):
    build.main(["--course", str(tmp_path), "03"])
    (path,) = (tmp_path / "source").rglob("*.ipynb")
    assert path.parent.name == path.stem
    notebook = nbformat.read(path, as_version=4)
    keys = [cell.metadata.nbgrader.grade_id for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert len(keys) == len(set(keys)) == 2 * len(list(exercises(path.stem))) + sum(key.startswith("written_03_") for key in keys)
    assert keys[-1].startswith("written_03_") and notebook.cells[-1].source.startswith("## References")
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "### BEGIN SOLUTION" in text and "The idea of the solution" not in text and "NotImplementedError" not in text


@pytest.mark.slow
def test_the_configuration_of_a_course_finds_the_clone_from_where_it_lies(tmp_path, monkeypatch):
    pytest.importorskip("nbgrader")
    build.main(["--course", str(tmp_path / "course"), "03"])
    config = tmp_path / "course" / "nbgrader_config.py"
    text = config.read_text(encoding="utf-8")
    assert repr(str(BOOK.resolve().parent)) not in text or os.name == "nt"

    def load(place):
        parts = {name: types.SimpleNamespace() for name in ("CourseDirectory", "ClearSolutions", "Autograde")}
        settings = types.SimpleNamespace(**parts)
        with monkeypatch.context() as patch:
            patch.setenv("PYTHONPATH", "elsewhere")
            patch.setattr(sys, "path", list(sys.path))
            exec(compile(text, str(place), "exec"), {"get_config": lambda: settings, "__file__": str(place)})
            return settings, os.environ["PYTHONPATH"].split(os.pathsep)

    settings, places = load(config)
    assert places == [str(BOOK.resolve().parent), str(BOOK.resolve()), "elsewhere"]
    assert settings.ClearSolutions.code_stub == {"python": editions.STUB}
    assert settings.Autograde.autograde_preprocessors[0].__name__ == "Judged"
    with pytest.raises(SystemExit, match="ATTENTION_BY_HAND"):
        load(tmp_path / "a" / "b" / "nbgrader_config.py")
    monkeypatch.setenv("ATTENTION_BY_HAND", str(BOOK.parent))
    assert load(tmp_path / "a" / "b" / "nbgrader_config.py")[1] == places


def test_tables_show_numbers_shapes_and_arrays():
    book = importlib.import_module("book")
    shown = book.table(["a", "b"], [(1 / 3, np.array([1.0, 2.0])), ("<x>", (2, 3))])
    assert repr(shown).splitlines() == ["a         b", "0.333333  [1., 2.]", "<x>       (2, 3)"]
    assert "&lt;x&gt;" in shown._repr_html_()
    with pytest.raises(KeyError, match="no case"):
        book.recorded("nothing")
