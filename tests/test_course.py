"""The course kit: what is handed out, and grading that a submission can spoil neither for others nor for itself."""

import csv
import importlib
import io
import json
import os
import re
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "notebooks"
sys.path[:0] = [str(BOOK), str(Path(__file__).parent)]

editions = importlib.import_module("editions")
variants = importlib.import_module("variants")
checks = importlib.import_module("checks")
from course_attacks import ENDS, FAKES, FORK_BOMB, REFUSED, REWRITE, THREAD_BOMB  # noqa: E402

from course import chapters, grading, pages, release, report, room, slides, submissions, tables, written  # noqa: E402
from transformer.cli import course as command_line  # noqa: E402
from transformer.cli import main  # noqa: E402

sys.path.insert(0, str(BOOK / "course"))
try:  # the two processes' own modules, as they import one another there
    answerer, judge, wire = (importlib.import_module(name) for name in ("answerer", "judge", "wire"))
finally:
    sys.path.remove(str(BOOK / "course"))

CHAPTERS = chapters.chapters(BOOK)
THREE = next(one for one in CHAPTERS if one.number == "03")
FIRST, LOG_SOFTMAX, THIRD, RMS = THREE.exercises
LINUX = sys.platform == "linux"
only_linux = pytest.mark.skipif(not LINUX, reason="the system of this machine cannot refuse it: docs/teaching.md")


@pytest.fixture(scope="module")
def library():
    return room.Library(BOOK)


@pytest.fixture(scope="module")
def judged(library):
    """Judge one answer to an exercise of chapter 03: the verdict.  At the end no file may have changed."""
    with library.room() as place:
        process = grading.Judge(place, grading.Limits())

        def one(code, exercise=LOG_SOFTMAX, seconds=20.0, others=(), megabytes=2000):
            return process.verdict(
                grading.job_of(THREE, exercise, code, list(others), grading.Limits(seconds, megabytes))
            )

        yield one
        process.close()
        assert place.changed() == [] and library.changed() == []


def notebook_of(answers, path, edition=None):
    """The students' edition of chapter 03 with these answers in it, by the name of their exercise."""
    notebook = edition or editions.students(BOOK / "chapters" / f"{THREE.stem}.py")
    for cell in notebook.cells:
        mark = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if mark.startswith("answer_") and mark[7:] in answers:
            cell.source = answers[mark[7:]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook), encoding="utf-8")


RIGHT = {one.name: one.solution for one in THREE.exercises}

# Answers -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_right_answer_is_right_and_a_wrong_one_gets_the_words_of_the_check(judged):
    assert judged(LOG_SOFTMAX.solution)["right"]
    found = judged("def log_softmax_backward(y_bar, y):\n    return y_bar * y")
    assert not found["right"] and found["words"].startswith("✗ Not yet.") and len(found["words"]) > 20


@pytest.mark.slow
@only_linux
def test_an_answer_is_confined_where_the_system_can(judged):
    assert judged(LOG_SOFTMAX.solution)["held"] == ["resources", "files", "network", "processes"]


@pytest.mark.slow
def test_an_answer_may_use_what_the_chapter_defines_and_what_the_student_defined_elsewhere(judged):
    mine = "def log_softmax_backward(y_bar, y):\n    return y_bar - softmax(y) * y_bar.sum(axis=-1, keepdims=True)"
    assert judged(mine)["right"]
    helped = "def log_softmax_backward(y_bar, y):\n    return y_bar - np.exp(y) * total(y_bar)"
    helper = "x = experiment()\ndef total(a):\n    return add(a)\nadd = lambda a: a.sum(axis=-1, keepdims=True)"
    assert not judged(helped)["right"] and "total" in judged(helped)["words"]
    assert not judged(helped, others=[helper + "\n!pip install nothing"])["right"]  # a cell that is no Python
    assert judged(helped, others=[helper])["right"]
    assert judged(LOG_SOFTMAX.solution + "\n\nprint(log_softmax_backward(np.ones((2, 2)), unknown))", others=[helper])["right"]


def test_an_answer_that_knows_only_the_inputs_of_the_check_is_found_out(judged):
    """It returns what is right for the check's own seed, learned by heart, call by call."""
    learned = []

    def spy(y_bar, y):
        learned.append((y_bar - np.exp(y) * y_bar.sum(axis=-1, keepdims=True)).tolist())
        return np.array(learned[-1])

    assert checks.check_03_log_softmax_backward(spy)
    code = f"LEARNED = iter(2 * {learned})\ndef log_softmax_backward(y_bar, y):\n    return np.array(next(LEARNED))"
    found = judged(code)
    assert not found["right"] and "not on others" in found["words"]




@pytest.mark.parametrize("code", FAKES.values(), ids=list(FAKES))
@pytest.mark.slow
def test_a_fake_pass_gets_nothing(judged, code):
    found = judged(code)
    assert not found["right"], found["words"]




@pytest.mark.slow
@only_linux
@pytest.mark.parametrize(("code", "words"), [pytest.param(*end, id=name) for name, end in ENDS.items()])
def test_an_answer_that_ends_its_process_or_fills_the_machine_gets_nothing_but_a_reason(judged, code, words):
    found = judged(code, seconds=3.0, megabytes=1000)
    assert not found["right"] and words in found["words"], found["words"]
    assert found["seconds"] < 12




@only_linux
def test_what_is_no_part_of_an_answer_is_refused(judged):
    """One answer tries all of it, and complains about what it could do."""
    paths = {"solutions": str(BOOK / "chapters" / f"{THREE.stem}.py"), "checks": str(BOOK / "checks" / "chapter_03.py")}
    setups = "\n".join(setup.format(do=f"attempts[{name!r}]", **paths) for name, setup in REFUSED.items())
    code = (
        f"attempts = {{}}\n{setups}\n"
        + """
def log_softmax_backward(y_bar, y):
    done = []
    for name, attempt in attempts.items():
        try:
            attempt()
            done.append(name)
        except (OSError, ValueError):
            pass
    assert not done and len(attempts) == 18, done
    return y_bar - np.exp(y) * y_bar.sum(axis=-1, keepdims=True)
"""
    )
    found = judged(code)
    assert found["right"], found["words"]


@only_linux
def test_a_fork_bomb_starts_nothing(judged):
    found = judged(FORK_BOMB)
    assert not found["right"] and "PermissionError" in found["words"]


@only_linux
@pytest.mark.slow
def test_a_bomb_of_threads_is_bounded_and_threads_are_allowed(judged):
    assert not judged(THREAD_BOMB, seconds=5.0, megabytes=1000)["right"]


# The wire ----------------------------------------------------------------------------------------------------------------


class Loop:
    """An answer behind the wire, but in a thread of this process: what the judge calls."""

    def __init__(self, function):
        (mine_in, theirs_out), (theirs_in, mine_out) = os.pipe(), os.pipe()
        pipes = ((mine_in, "rb"), (theirs_out, "wb"), (theirs_in, "rb"), (mine_out, "wb"))
        self.files = [os.fdopen(fd, mode) for fd, mode in pipes]
        _, sink, source, _ = self.files

        def exchange(message):
            wire.send(sink, message)
            return wire.receive(source)

        there = answerer.Objects(exchange, judge.ours())
        self.thread = threading.Thread(target=answerer.serve, args=(function, there, source, sink, ""), daemon=True)
        self.thread.start()
        self.remote = judge.Answerer.__new__(judge.Answerer)
        process = type("Process", (), {"stdin": self.files[3], "stdout": self.files[0]})()
        here = judge.Shared(self.remote._exchange, judge.ours())
        here.answerer = self.remote
        self.remote.__dict__.update(process=process, ended="", refusal=None, objects=here, late=False, kill=lambda: None)

    def close(self):
        self.files[3].close()
        self.thread.join(5)
        for file in self.files[:3]:
            file.close()


def without_the_line(words):
    return " ".join(words.split(", at the line `")[0].split()).rstrip(".")


WRONG = [
    pytest.param(*wrong, id=f"{wrong[0]}-{wrong[2]}")
    for path in sorted((Path(__file__).parent / "book_answers").glob("chapter_0[1359].py"))
    for wrong in importlib.import_module(f"book_answers.{path.stem}").WRONG
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "function", "hint"), WRONG)
def test_a_check_says_the_same_through_the_wire(name, function, hint):
    if name == "check_02_topological_order":
        pytest.skip("twenty thousand questions")
    there = Loop(function)
    try:
        found = getattr(checks, name)(there.remote)
    finally:
        there.close()
    assert not found and without_the_line(found.words) == without_the_line(getattr(checks, name)(function).words)


def test_values_go_over_the_wire_and_come_back_as_they_were():
    import minigrad as mg

    thing = object()
    values = [
        None, True, 3, 2**80, -1.5, float("inf"), "ä\n", 1j, (1, [2, (3,)]), {"a": {1, 2}}, range(3), np.float32(0.1), np.bool_(True),
        np.arange(6).reshape(2, 3).T,
        np.array(["a", "bc"]), np.zeros((0, 3)), np.array(2.5), thing, mg.Tensor(np.ones(2)),
    ]  # fmt: skip
    for value in values:
        back = wire.decode(json.loads(json.dumps(wire.encode(value, lambda thing: {"mine": 7}))), lambda kind, number: thing)
        assert type(back) is type(value)
        if isinstance(value, np.ndarray):
            assert back.dtype == value.dtype and np.array_equal(back, value) and back.flags.writeable
        elif isinstance(value, mg.Tensor):
            assert np.array_equal(back.data, value.data)
        else:
            assert back == value and (value is not thing or back is thing)


@pytest.mark.parametrize(
    "data",
    [
        {"array": ["<f8", [10**12], "", False]},
        {"array": ["|O", [1], "AAAA", False]},
        {"x": 1},
        {"a": 1, "b": 2},
        {"range": [0, 10**12, 1]},
        {"int": "?"},
        {"set": [[1]]},
    ],
)
def test_what_is_no_value_is_refused(data):
    with pytest.raises(wire.Unreadable):
        wire.decode(data, lambda kind, number: None)


@pytest.mark.parametrize("content", [b"\xff" * 9, b"\0" * 7 + b"\x02" + b"xx", b"\0" * 7 + b"\x01" + b"3"])
def test_what_is_no_frame_is_refused(content):
    with pytest.raises(wire.Unreadable):
        wire.receive(io.BytesIO(content))


# A whole course ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A course of chapter 03, with students who solve half of it honestly and spoil the rest, and what grading says."""
    folder = tmp_path_factory.mktemp("course")
    roster = folder / "roster.csv"
    roster.write_text("student,name\nanna,Anna\nmissing,Never seen\n", encoding="utf-8")
    assert main(["course", "release", str(folder / "c"), "--chapters", "03", "--only", "students"]) == 0
    place = folder / "c" / "submitted"
    wrong = {**RIGHT, LOG_SOFTMAX.name: "def log_softmax_backward(y_bar, y):\n    return y_bar"}

    def hand_in(student, answers, change=None):
        path = place / student / f"{THREE.stem}.ipynb"
        notebook = nbformat.read(folder / "c" / "students" / f"{THREE.stem}.ipynb", as_version=4)
        notebook_of(answers, path, change(notebook) if change else notebook)

    def without_marks(notebook):
        for cell in notebook.cells:
            cell.metadata.pop("nbgrader", None)
        return notebook

    def without_checks(notebook):
        notebook.cells = [
            c for c in notebook.cells if not c.metadata.get("nbgrader", {}).get("grade_id", "").startswith("check_")
        ]
        return notebook

    def without_an_answer(notebook):
        notebook.cells = [
            c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") != f"answer_{RMS.name}"
        ]
        return notebook

    def broken_imports(notebook):
        notebook.cells[1].source = "import nothing_of_the_kind\nchecks = 3"
        return notebook

    spoil = REWRITE.format(root=str(ROOT))
    hand_in("a_honest", RIGHT)
    hand_in("b_half", wrong)
    hand_in("c_rewrites", {**wrong, FIRST.name: spoil + FIRST.solution, THIRD.name: "import os\nos._exit(0)"})
    hand_in("d_after", wrong)
    hand_in("e_no_marks", RIGHT, lambda n: without_marks(editions_filled(n, RIGHT)))
    hand_in("f_no_checks", RIGHT, without_checks)
    hand_in("g_no_answer", RIGHT, without_an_answer)
    hand_in("h_imports", RIGHT, broken_imports)
    hand_in("i_zero\u200bwidth", RIGHT)
    (place / "j_not_json").mkdir()
    (place / "j_not_json" / f"{THREE.stem}.ipynb").write_bytes(b"\x80{not json" + b"[" * 10**5)
    (place / "k_empty").mkdir()
    (place / "l_other").mkdir()
    (place / "l_other" / "essay.ipynb").write_text("{}", encoding="utf-8")
    if LINUX:
        hand_in(os.fsdecode("m_José".encode("latin-1")), RIGHT)
        (place / "n_link").mkdir()
        (place / "n_link" / f"{THREE.stem}.ipynb").symlink_to(place / "a_honest" / f"{THREE.stem}.ipynb")
    hand_in("=cmd", {})
    status = main(["course", "grade", str(folder / "c"), "--seconds", "15"])
    rows = tables.records(folder / "c" / "grades" / "results.csv")
    return status, folder / "c", rows


def editions_filled(notebook, answers):
    for cell in notebook.cells:
        mark = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if mark.startswith("answer_"):
            cell.source = answers[mark[7:]]
    return notebook


def points(rows, student):
    return [int(row["points"]) for row in rows if row["student"] == student]


@pytest.mark.slow
def test_each_student_gets_the_points_of_what_was_solved_and_nobody_elses(graded):
    status, _, rows = graded
    assert status == 0
    a, b, c, d = (exercise.points for exercise in THREE.exercises)
    all_of_it, half = [a, b, c, d], [a, 0, c, d]
    expected = {
        "a_honest": all_of_it, "b_half": half, "c_rewrites": [a, 0, 0, d], "d_after": half, "e_no_marks": all_of_it, "f_no_checks": all_of_it,
        "g_no_answer": [a, b, c, 0], "h_imports": all_of_it, "i_zero\\u200bwidth": all_of_it, "j_not_json": [0] * 4,
        "k_empty": [0] * 4, "l_other": [0] * 4,
        "'=cmd": [0] * 4,
    }  # fmt: skip
    if LINUX:
        expected |= {"m_José": all_of_it, "n_link": [0] * 4}
    assert {student: points(rows, student) for student in dict.fromkeys(row["student"] for row in rows)} == expected
    assert (BOOK / "checks" / "verdict.py").stat().st_size > 1000


@pytest.mark.slow
def test_remarks_say_why(graded):
    _, folder, rows = graded
    remark = {(row["student"], row["exercise"]): row["remark"] for row in rows}
    assert "not JSON" in remark["j_not_json", LOG_SOFTMAX.name] and "no notebook" in remark["k_empty", LOG_SOFTMAX.name]
    assert (
        "essay.ipynb" in remark["l_other", LOG_SOFTMAX.name]
        and "no cell defines rms_norm_backward" in remark["g_no_answer", RMS.name]
    )
    assert (
        "found by the name" in remark["e_no_marks", LOG_SOFTMAX.name]
        and "exit status 0" in remark["c_rewrites", THIRD.name]
    )
    pages = {path.stem for path in (folder / "grades" / "feedback").glob("*.html")}
    assert len(pages) == len({row["student"] for row in rows})
    page = (folder / "grades" / "feedback" / "b_half.html").read_text(encoding="utf-8")
    assert "Log-softmax" in page and "Not yet" in page


# Reading what was handed in ----------------------------------------------------------------------------------------------


def test_names_that_files_and_tables_cannot_hold_are_spelled_out():
    assert (
        submissions.shown("Zoe\u0308") == "Zoë"
        and submissions.shown("a\u200bb") == "a\\u200bb"
        and submissions.shown("x\ny") == "x\\u000ay"
    )
    assert submissions.shown("Jos\udce9") == "José"
    taken = set()
    names = [report.file_name(name, taken) for name in ("a/b", "a_b", "A_B", "../..", "", "CON.", "=x")]
    assert len({name.casefold() for name in names}) == len(names) and not any(
        set(name) & set('/\\:*?"<>|') or name.startswith(".") for name in names
    )


def test_two_folders_whose_names_look_alike_are_two_students(tmp_path):
    for name in ("Zoë", "Zoe\u0308"):
        (tmp_path / name).mkdir()
    if len(list(tmp_path.iterdir())) == 2:  # some systems take both for one
        assert [one.student for one in submissions.submissions(tmp_path, [])] == ["Zoë", "Zoë'"]


@pytest.mark.parametrize(
    ("folder", "student"),
    [("anna", "anna"), ("Anna", "anna"), ("Ben Müller_4711_assignsubmission_file", "b2"), ("ben müller", "b2"), ("Ben Müllers", ""), ("Jo_1", "")],
)
def test_a_folder_belongs_to_the_student_of_the_roster_whom_it_names(folder, student, tmp_path):
    roster = {"anna": "Anna Bell", "b2": "Ben Müller", "j1": "Jo", "j2": "Jo"}
    (tmp_path / folder).mkdir()
    found = {one.student: one for one in submissions.submissions(tmp_path, [THREE.stem], roster)}
    assert set(found) == {*roster, student or folder}
    assert ("not in the roster" in found[student or folder].note) == (not student)


def test_a_folder_with_a_students_very_name_is_not_displaced_by_one_that_resembles_it(tmp_path):
    for folder in ("Anna", "anna", "Anna Bell_4711"):
        (tmp_path / folder).mkdir()
    found = {one.student: one.note for one in submissions.submissions(tmp_path, [THREE.stem], {"anna": "Anna Bell"})}
    assert set(found) == {"Anna", "anna", "Anna Bell_4711"}
    assert found["anna"] == "" and "anna is meant" in found["Anna"]


@pytest.mark.parametrize("name", [THREE.stem, "03", "03 final (2)", "03-anna", "03.1", "03_"])
def test_any_name_that_begins_with_the_chapters_number_is_found(name, tmp_path):
    (tmp_path / "anna").mkdir()
    for stem in (name, "03b_other", "030", "essay"):
        (tmp_path / "anna" / f"{stem}.ipynb").write_text("{}", encoding="utf-8")
    (one,) = submissions.submissions(tmp_path, [THREE.stem])
    assert one.notebooks[THREE.stem].stem == name and len(one.remarks) == 3


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["a check", "all marks"])
def test_nbgrader_gives_the_points_of_what_lost_its_cells_or_marks(lost, tmp_path):
    pytest.importorskip("nbgrader")
    judged = importlib.import_module("course.judged")
    path = BOOK / "chapters" / f"{THREE.stem}.py"
    asked = written.questions(BOOK)["03"]
    notebook = editions_filled(release.finished(editions.students(path), path, written.cells(asked), {}, stubbed=True), RIGHT)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == asked[0].name:
            cell.source = "because it is"
    if lost == "all marks":
        for cell in notebook.cells:
            cell.metadata.pop("nbgrader", None)
    else:
        notebook.cells = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") != f"check_{RMS.name}"]
    found, _ = judged.Judged().preprocess(notebook, {"nbgrader": {"notebook": THREE.stem, "student": "otto"}})
    nbformat.validate(found)
    with_points = {c.metadata.nbgrader.grade_id: c for c in found.cells if c.metadata.get("nbgrader", {}).get("grade")}
    assert set(with_points) == {*(f"check_{one.name}" for one in THREE.exercises), *(one.name for one in asked)}
    assert all("✓" in with_points[f"check_{one.name}"].outputs[0].text for one in THREE.exercises)
    assert with_points[asked[0].name].source == "because it is"


def test_students_of_the_roster_without_a_folder_and_both_layouts_are_found(tmp_path):
    for place in (
        tmp_path / "ann" / f"{THREE.stem}.ipynb",
        tmp_path / "bob" / THREE.stem / f"{THREE.stem}.ipynb",
        tmp_path / "cy" / "03_mine (1).ipynb",
    ):
        notebook_of(RIGHT, place)
    found = {one.student: one for one in submissions.submissions(tmp_path, [THREE.stem], {"ann": "", "dan": ""})}
    assert list(found) == ["ann", "bob", "cy", "dan"] and all(
        THREE.stem in found[name].notebooks for name in ("ann", "bob", "cy")
    )
    assert found["dan"].remarks == ["nothing was handed in"]
    with pytest.raises(ValueError, match="no such folder"):
        submissions.submissions(tmp_path / "nowhere", [])


@pytest.mark.parametrize("content", ["[]", '{"cells": 3}', "null", "{", "[" * 100_000])
def test_what_is_no_notebook_is_refused(tmp_path, content):
    (tmp_path / "x.ipynb").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="not a notebook"):
        submissions.read(tmp_path / "x.ipynb")


def test_odd_cells_are_read_as_what_they_hold(tmp_path):
    cells = [
        3,
        {"source": 5},
        {"cell_type": "code", "source": ["a\n", 3, "b"], "metadata": []},
        {"cell_type": "code", "source": "c", "metadata": {"nbgrader": None}},
    ]
    (tmp_path / "x.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert [cell.source for cell in submissions.read(tmp_path / "x.ipynb")] == ["", "a\nb", "c"]


def test_a_stub_beside_an_answer_is_not_taken_for_it():
    stub = submissions.Cell(
        "code",
        editions.stubbed("def log_softmax_backward(y_bar, y):\n    ### BEGIN SOLUTION\n    pass\n    ### END SOLUTION"),
        "answer_" + LOG_SOFTMAX.name,
    )
    mine = submissions.Cell(
        "code",
        "def log_softmax_backward(y_bar, y):\n    return y\n\n\nchecks.check_03_log_softmax_backward(log_softmax_backward)",
        "",
    )
    code, remark = submissions.answer([stub, mine], LOG_SOFTMAX)
    assert code == "def log_softmax_backward(y_bar, y):\n    return y" and "by the name" in remark
    assert submissions.answer([stub], LOG_SOFTMAX) == (stub.source, "")


@pytest.mark.slow
def test_a_judge_that_does_not_find_the_solution_right_grades_nobody(library):
    broken = chapters.Exercise(LOG_SOFTMAX.name, "", 1, LOG_SOFTMAX.function, "def log_softmax_backward(y_bar, y):\n    return y")
    with pytest.raises(RuntimeError, match="03_log_softmax_backward is not found right"):
        grading.try_out(library, [chapters.Chapter(THREE.stem, "", THREE.code, (broken,))], grading.Limits())
    with library.room() as place:
        (place.checks / "course" / "judge.py").write_text("raise SystemExit('no NumPy')", encoding="utf-8")
        process = grading.Judge(place, grading.Limits())
        found = process.verdict(grading.job_of(THREE, LOG_SOFTMAX, LOG_SOFTMAX.solution, [], grading.Limits()))
        process.close()
        assert not found["right"] and "no NumPy" in process.log.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_change_of_the_room_is_seen_and_undone(library):
    with library.room() as place:
        (place.answers / "minigrad" / "nn.py").write_text("", encoding="utf-8")
        (place.answers / "new.py").write_text("", encoding="utf-8")
        (place.checks / "checks" / "verdict.py").unlink()
        assert place.changed() == ["checks/verdict.py", "minigrad/nn.py", "new.py"]
        place.furnish()
        assert place.changed() == []
        names = {path.name for path in place.answers.rglob("*")}
        assert (
            "checks" not in names
            and "chapters" not in names
            and not any(name.startswith(("chapter_", "03_")) for name in names)
        )


# Handing out -------------------------------------------------------------------------------------------------------------


def test_every_exercise_has_a_function_a_title_and_points():
    for chapter in CHAPTERS:
        assert chapter.title.startswith(chapter.number) and chapter.exercises
        for exercise in chapter.exercises:
            assert (
                exercise.title and exercise.points in (1, 2, 3) and f"def {exercise.function}(" in exercise.solution
            ), exercise.name


def test_two_exercises_of_each_of_the_first_chapters_have_variants_of_the_same_function():
    functions = {one.name: one.function for chapter in CHAPTERS for one in chapter.exercises}
    there = {name: one for name, one in variants.variants().items() if name in functions}
    numbers = [name[:2] for name in there]
    assert all(numbers.count(f"{i:02}") >= 2 for i in range(1, 10))
    for name, one in there.items():
        assert f"def {functions[name]}(" in one.answer and editions.SOLUTION.search(one.answer), name


@pytest.mark.parametrize("name", variants.variants())
def test_a_variant_accepts_its_solution_and_names_a_neighbours(name):
    one = variants.variants()[name]
    drawn = [variants.draw(name, 3, student) for student in "abcdefgh"]
    assert (
        drawn == [variants.draw(name, 3, student) for student in "abcdefgh"]
        and len({str(numbers) for numbers in drawn}) > 1
    )
    for numbers in drawn[:3]:
        check = variants.check(name, numbers)
        assert check(one.solution(numbers))
        for other in variants.others(one, numbers):
            verdict = check(one.solution(other))
            assert not verdict and "other numbers" in verdict.words
        namespace = {"np": np}
        exec(editions.stubbed(one.fill(one.answer, numbers)), namespace)
        assert "stub" in check(next(v for k, v in namespace.items() if f"def {k}(" in one.answer)).words
        assert "«" not in one.fill(one.task, numbers) + one.fill(one.answer, numbers)


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("01_logistic_backward", (0, 1), lambda n, w, b, x, t: n["scale"] * np.log(1 + np.exp(-t * (w * x + b) / n["T"]))),
        ("02_divide_rules", (1, 2), lambda n, g, a, b: (g * a ** n["p"] / b ** n["q"]).sum()),
        ("02_mean_rule", (1,), lambda n, g, x, axis: (g * n["c"] * (x ** n["p"]).mean(axis)).sum()),
        ("03_rms_norm_backward", (1, 2),
         lambda n, y_bar, x, gamma, eps: (y_bar * (n["k"] * gamma * x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) + x)).sum()),
        ("08_ffn_backward", (1, 2, 3, 4, 5),
         lambda n, y_bar, x, W1, b1, W2, b2: (y_bar * (np.where((u := x @ W1 + b1) > 0, u, n["a"] * u) @ W2 + b2)).sum()),
    ],
)  # fmt: skip
def test_the_gradients_of_variants_are_those_of_finite_differences(name, at, value):
    one = variants.variants()[name]
    for student in "abc":
        numbers = variants.draw(name, 0, student)
        for given in one.inputs(np.random.default_rng(5)):
            found = one.solution(numbers)(*given)
            found = found if isinstance(found, tuple) else (found,)
            for gradient, place in zip(found, at, strict=True):
                x = np.asarray(given[place], float)
                slopes = np.zeros_like(x)
                for i in np.ndindex(x.shape):
                    step = np.zeros_like(x)
                    step[i] = 1e-6
                    up, down = ([*given[:place], x + sign * step, *given[place + 1 :]] for sign in (1, -1))
                    slopes[i] = (value(numbers, *up) - value(numbers, *down)) / 2e-6
                np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-7)


def test_a_variant_with_other_numbers_than_it_has_is_refused():
    with pytest.raises(ValueError, match="expected T of"):
        checks.variant("03_log_softmax_backward", lambda y_bar, y: y, T=17)
    with pytest.raises(ValueError, match="has none"):
        checks.variant("03_nothing", lambda p: p)


@pytest.mark.slow
def test_students_get_their_own_numbers_and_are_graded_by_them(tmp_path, library, capsys):
    roster = tmp_path / "roster.csv"
    roster.write_bytes("student;name\r\nanna;Anna\r\nbea;Bea\r\ncarl;Carl\r\n".encode("utf-8-sig"))
    assert (
        main(
            [
                "course",
                "release",
                str(tmp_path / "c"),
                "--chapters",
                "03",
                "--only",
                "students",
                "--seed-per-student",
                str(roster),
                "--seed",
                "4",
            ]
        )
        == 0
    )
    manifest = json.loads((tmp_path / "c" / "course.json").read_text(encoding="utf-8"))
    assert list(manifest["students"]) == ["anna", "bea", "carl"]
    for student, numbers in manifest["variants"].items():
        text = (tmp_path / "c" / "students" / student / f"{THREE.stem}.ipynb").read_text(encoding="utf-8")
        assert (
            "SOLUTION" not in text
            and f"T={numbers[LOG_SOFTMAX.name]['T']!r}" in text
            and f"softmax}}(x/{numbers[LOG_SOFTMAX.name]['T']})" in text
        )
        nbformat.validate(nbformat.reads(text, as_version=4))
    mine = manifest["variants"]["anna"]
    assert len({str(numbers) for numbers in manifest["variants"].values()}) > 1
    one = variants.variants()[LOG_SOFTMAX.name]
    path = tmp_path / "x" / f"{THREE.stem}.ipynb"
    notebook_of({LOG_SOFTMAX.name: one.fill(one.answer, mine[LOG_SOFTMAX.name])}, path)
    handed_in = submissions.Submission("anna", {THREE.stem: path})
    short = chapters.Chapter(THREE.stem, THREE.title, THREE.code, (LOG_SOFTMAX,))
    assert [r.points for r in grading.grade(handed_in, [short], library, grading.Limits(), mine)] == [LOG_SOFTMAX.points]
    assert [r.points for r in grading.grade(handed_in, [short], library, grading.Limits(), None)] == [0]


def test_a_second_release_keeps_what_was_handed_out(tmp_path):
    roster, folder = tmp_path / "r.csv", str(tmp_path / "c")
    roster.write_text("anna\nbea\n", encoding="utf-8")
    arguments = [
        "course",
        "release",
        folder,
        "--chapters",
        "03",
        "--only",
        "students",
        "--seed-per-student",
        str(roster),
    ]
    assert main(arguments) == 0
    before = json.loads((tmp_path / "c" / "course.json").read_text(encoding="utf-8"))["variants"]
    roster.write_text("carl\n", encoding="utf-8")
    assert main([*arguments[:3], "--chapters", "02", *arguments[5:]]) == 0
    after = json.loads((tmp_path / "c" / "course.json").read_text(encoding="utf-8"))
    assert (
        after["variants"]["anna"] == before["anna"]
        and list(after["students"]) == ["anna", "bea", "carl"]
        and len(after["chapters"]) == 2
    )
    assert main([*arguments, "--seed", "9"]) == 2


@pytest.mark.parametrize("head", ["", "student,name\n", "Student ID;Name\n", "login\tname\n", "Name,Matriculation number\n"])
def test_a_first_line_that_is_a_heading_is_no_student(head, tmp_path):
    separator = next((c for c in ";\t" if c in head), ",")
    (tmp_path / "r.csv").write_text(head + separator.join(["anna", "Anna Bell"]) + "\n", encoding="utf-8")
    assert release.roster_of(tmp_path / "r.csv") == {"anna": "Anna Bell"}


@pytest.mark.parametrize(
    ("text", "words"), [("", "no students"), ("a\na\n", "twice"), ("../up\n", "folder"), ("student\n", "no students")]
)
def test_a_roster_that_names_no_folders_is_refused(tmp_path, text, words):
    (tmp_path / "r.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        release.roster_of(tmp_path / "r.csv")


def test_the_command_says_what_it_lacks(tmp_path, capsys, monkeypatch):
    assert main(["course", "grade", str(tmp_path)]) == 2 and "course release" in capsys.readouterr().err
    assert (
        main(["course", "release", str(tmp_path / "c"), "--chapters", "99"]) == 2
        and "no chapter begins with 99" in capsys.readouterr().err
    )
    assert (
        main(["course", "release", str(tmp_path / "c"), "--book", str(tmp_path)]) == 2
        and "comes with a clone" not in capsys.readouterr().out
    )
    monkeypatch.setattr(command_line, "__file__", str(tmp_path / "site-packages" / "transformer" / "cli" / "course.py"))
    monkeypatch.chdir(tmp_path)
    assert main(["course", "release", str(tmp_path / "c")]) == 2 and "clone" in capsys.readouterr().err


# Written answers ---------------------------------------------------------------------------------------------------------


def test_questions_are_read_from_their_page_and_their_rubrics_add_up():
    asked = written.questions(BOOK)
    assert len(asked) >= 8 and all(1 <= len(each) <= 2 for each in asked.values())
    names = [one.name for each in asked.values() for one in each]
    assert len(names) == len(set(names)) and all(one.text and one.good for each in asked.values() for one in each)


def test_points_that_a_reader_gave_are_kept_unless_the_answer_changes(tmp_path):
    row = {
        "student": "ann",
        "chapter": "x",
        "question": "q",
        "of": "4",
        "points": "",
        "remark": "",
        "answer": "- because\nso",
    }
    marked = {**row, "points": "2,5", "remark": "good"}
    (tmp_path / "w.csv").write_bytes(tables.table(written.COLUMNS, [marked]))
    old = written.marked(tmp_path / "w.csv")
    assert written.merged([row], old)[0]["points"] == "2,5" and written.merged([row], old)[0]["remark"] == "good"
    changed = written.merged([{**row, "answer": "another"}], old)[0]
    assert changed["points"] == "" and "2,5" in changed["remark"]
    with pytest.raises(ValueError, match="0 to 4"):
        written.merged([row], {("ann", "q"): {**marked, "points": "5"}})
    assert written.marked(tmp_path / "none.csv") == {}


def test_what_is_not_graded_now_keeps_its_lines(tmp_path):
    old = [grading.Result(s, c, "x", "X", 1, 1, 0.1, "", "✓") for s in ("ann", "bob") for c in ("03_a", "05_b")]
    report.write(tmp_path, old, [], [])
    new = [grading.Result("ann", "03_a", "x", "X", 0, 1, 0.1, "", "✗")]
    found = report.together(new, report.earlier(tmp_path))
    assert [(r.student, r.chapter, r.points) for r in found] == [("ann", "03_a", 0), ("ann", "05_b", 1), ("bob", "03_a", 1), ("bob", "05_b", 1)]
    assert report.earlier(tmp_path / "nowhere") == []
    row = {"student": "bob", "chapter": "x", "question": "q", "of": "4", "points": "2", "remark": "", "answer": "so"}
    lines = written.kept([{**row, "student": "ann", "title": "t"}], {("bob", "q"): row, ("ann", "q"): row}, {})
    assert [(one["student"], one["points"]) for one in lines] == [("ann", "2"), ("bob", "2")]


def test_written_answers_are_found_and_reach_the_table_and_the_page(tmp_path):
    question = written.questions(BOOK)["03"][0]
    cells = [
        submissions.Cell("markdown", c.source, c.metadata.get("nbgrader", {}).get("grade_id", ""))
        for c in written.cells([question])
    ]
    assert written.of(cells, question) == ""
    mine = [cells[0], submissions.Cell("markdown", "<b>Ones</b> and x̂.", "")]
    assert written.of(mine, question) == "<b>Ones</b> and x̂."
    result = grading.Result("ann", THREE.stem, LOG_SOFTMAX.name, "Softmax", 1, 1, 0.5, "", "✓ Right.")
    mark = {
        "student": "ann",
        "chapter": THREE.stem,
        "question": question.name,
        "title": question.title,
        "of": "4",
        "points": "3.5",
        "remark": "fine",
        "answer": "<b>Ones</b>",
    }
    page, text = report.feedback("ann", [result], [mark], [THREE])
    assert b"&lt;b&gt;Ones" in page and b"<b>Ones" not in page and b"3.5 of 4" in text and b"4.5 of 5 points" in text
    (line,) = list(csv.DictReader(io.StringIO(report.totals([result], [mark], [THREE]).decode("utf-8-sig"))))
    assert line["total"] == "4.5" and line["of"] == "5" and line["not yet marked"] == "0"


def test_no_cell_of_a_table_is_a_formula_and_other_separators_are_read(tmp_path):
    for text in ("=1+1", "+cmd", "@x", " -2+3", "-3.5", "plain"):
        assert tables.plain(text) == (text if text in ("-3.5", "plain") else "'" + text)
    (tmp_path / "t.csv").write_bytes("student;points\r\nJosé;3\r\n".encode("cp1252"))
    assert tables.records(tmp_path / "t.csv") == [{"student": "José", "points": "3"}]


# The syllabus ------------------------------------------------------------------------------------------------------------


def minutes(number):
    """Reading and exercises, as the chapter's first lines have them."""
    (path,) = (BOOK / "chapters").glob(f"{number}_*.py")
    found = re.search(r"\*About (\d+) minutes to read, (\d+) more", path.read_text(encoding="utf-8"))
    return int(found[1]), int(found[2])


def test_the_hours_of_the_syllabus_are_those_of_its_chapters():
    page = (ROOT / "docs" / "syllabus.md").read_text(encoding="utf-8")
    weeks = re.findall(r"(?m)^\| \d+ \| ([\d, ]+) \| (\d+):(\d+) \| (\d+):(\d+) \| .* \| (.*) \|$", page)
    assert len(weeks) == 14
    stars = {(one.number, i + 1) for one in CHAPTERS for i in range(len(one.exercises))}
    for chapters_of, *clock, hand_in in weeks:
        each = [minutes(number) for number in chapters_of.split(", ")]
        hours, mins, more, rest = map(int, clock)
        assert (60 * hours + mins, 60 * more + rest) == tuple(map(sum, zip(*each, strict=True))), chapters_of
        for number, listed in re.findall(r"(\d\d): ([\d, to]+|all)", hand_in):
            assert number in chapters_of and all((number, int(i)) in stars for i in re.findall(r"\d", listed)), hand_in
    rows = re.findall(r"(?m)^\| (\d\d\w?) [^|]+\| (\d+) \+ (\d+) \|.* (\d) \|$", page)
    assert {row[0] for row in rows} == {one.number for one in CHAPTERS}
    for number, read, more, one in rows:
        assert minutes(number) == (int(read), int(more)) and (number, int(one)) in stars
    total = [sum(parts) for parts in zip(*(minutes(one.number) for one in CHAPTERS), strict=True)]
    assert re.search(rf"{total[0] // 60} h {total[0] % 60} min to read and {total[1] // 60} h {total[1] % 60} min", page)


def test_the_pages_for_lecturers_lead_somewhere():
    for name in ("syllabus", "teaching", "written_answers"):
        page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", page):
            assert target.startswith("https://") or (ROOT / "docs" / target).exists(), target


# Slides and pages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.number)
def test_slides_have_the_chapters_headings_formulas_and_figures_and_no_exercise(chapter):
    notebook = nbformat.read(BOOK / f"{chapter.stem}.ipynb", as_version=4)
    made = slides.slides(notebook).cells
    kinds = [cell.metadata["slideshow"]["slide_type"] for cell in made]
    text = "\n".join(cell.source for cell, kind in zip(made, kinds) if kind != "notes")
    assert (
        kinds[0] == "slide"
        and chapter.title in made[0].source
        and kinds.count("slide") >= 5
        and len(kinds) - kinds.count("notes") >= 10
    )
    assert "Exercise 1" not in text and "## References" not in text and text.count("$$") % 2 == 0

    def figures(cells):
        return sum("image/png" in o.get("data", {}) for cell in cells for o in cell.get("outputs", []))

    assert figures(made) == figures(notebook.cells)
    assert all(len(cell.source) < 2500 for cell, kind in zip(made, kinds) if kind != "notes")


def test_a_sentence_does_not_end_inside_a_formula():
    assert slides.first_sentence("Let $x = a. B$ be one. Two.") == "Let $x = a. B$ be one."
    assert (
        slides.last_sentence("The share cancels! So") == "The share cancels! So"
        and slides.last_sentence("One is here. Two come after it:") == "Two come after it:"
    )


@pytest.mark.skipif(
    importlib.util.find_spec("nbconvert") is None or importlib.util.find_spec("sphinx_revealjs") is None,
    reason="extra course",
)
@pytest.mark.slow
def test_pages_need_no_network():
    for page in (pages.deck(BOOK, THREE), pages.solutions_page(BOOK, THREE, written.questions(BOOK)["03"])):
        text = page.decode("utf-8")
        for tag in ('src="http', "src='http", 'rel="stylesheet"', "@import", "url(http"):
            assert tag not in text.replace("https://www.mathjax.org", "")
        assert len(page) < 8e6


def test_pages_without_their_packages_name_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"\.\[course\]"):
        pages.carried("mathjax", "x.js")


@pytest.mark.slow
def test_without_a_browser_there_is_a_reason_and_no_pdf(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "browser", lambda: None)
    assert "Chromium" in pages.print_pdf(tmp_path / "a.html", tmp_path / "a.pdf") and not (tmp_path / "a.pdf").exists()


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("chromium") is None or importlib.util.find_spec("sphinx_revealjs") is None,
    reason="extra course, and Chromium",
)
def test_solutions_are_printed(tmp_path):
    page = tmp_path / "a.html"
    page.write_bytes(pages.solutions_page(BOOK, THREE, []))
    assert pages.print_pdf(page, tmp_path / "a.pdf") == "" and (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
