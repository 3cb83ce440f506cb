"""Mutation testing: small wrong changes of the library, each of which some test should notice.

    python -m tests.mutation [--count N] [--seed S] [--only WORD] [--again] [--first N] [--seconds X] [--work DIR]

Run by hand; it takes an hour or two on one core.  ``coverage`` must be installed (``pip install coverage``): the first run records which test
reaches which line, in how long, and a mutant is tried only on the tests that reach it, the quickest and most specific first.  Everything happens
in a copy of the tree below ``--work``; of the copy, one file at a time is changed.  A child is forked for each mutant from a process that has
imported NumPy and pytest, not the packages under test.  A test that fails, an import that fails and a hang kill a mutant.

The sample is the same for the same seed, and a change of the code changes little of it.  Results stay in ``--work`` and are taken from there;
``--again`` tries once more the survivors about which nothing is said yet, and ``--seconds 1e9`` on every test that reaches them, where otherwise
a minute of tests must do.
The result is written to ``tests/mutation.md``.  Why a survivor may live is said in ``tests/mutation_arguments.txt``.
"""

from __future__ import annotations

import argparse
import ast
import bisect
import collections
import difflib
import functools
import hashlib
import importlib.util
import itertools
import json
import os
import pickle
import re
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}

import hypothesis  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import numpy
import numpy.testing  # noqa: F401
import pytest
import tqdm

ROOT = Path(__file__).resolve().parent.parent
ROOMS = [
    *(f"minigrad/{name}.py" for name in ("graph", "tensor", "modes", "guards", "derivatives", "optim")),
    *(f"minigrad/{name}.py" for name in ("arguments", "numerics", "numpy_api/methods", "numpy_api/ops", "numpy_api/contractions")),
    "minigrad/ops/*.py", "minigrad/fast/*.py", "minigrad/programs/*.py",
    *(f"transformer/{name}.py" for name in ("attention", "positions", "layers")),
    "transformer/decoding/*.py", "transformer/training/*.py",
    *(f"transformer/data/{name}.py" for name in ("bpe", "byte_level", "wordpiece", "tokenizers")),
]  # fmt: skip
ELSEWHERE = re.compile(  # tests of other rooms, and long ones of which others do what they do
    r"test_(course|notebooks|book_\w+|site|browser|page|docs_\w+|house|ablations|remedies|task_benchmark|bias_\w+|plots|draw|scaling"
    r"|text_scores|parallel_mpi|derivations|corpora|sabotage|same_run|task_twins|task_gradients|sentence_tasks)\.py"
)
MARKS = "not notebooks and not slow and not mpi and not browser and not torch and not weights"
TABLE, ARGUMENTS = ROOT / "tests/mutation.md", ROOT / "tests/mutation_arguments.txt"
MEMORY = 8 << 30  # bytes of a child


# Mutants


class Mutant(NamedTuple):
    """One change: ``lines`` are those that a test must reach, ``wider`` the function or class around them."""

    file: str
    function: str
    operator: str
    line: int
    before: str
    after: str
    lines: tuple[int, int]
    wider: tuple[int, int]
    source: bytes

    @property
    def key(self) -> str:
        """What names it when lines move."""
        return "\n".join([self.file, self.function, self.before, self.after])


SWAPS = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "//")}
ORDERS = {
    ast.Lt: ("<", "<=", ">="), ast.LtE: ("<=", "<", ">"), ast.Gt: (">", ">=", "<="), ast.GtE: (">=", ">", "<"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
}  # fmt: skip


UNTRIED = ("examples", "strict")  # keywords: data of tests; an assertion about our own lists


class Sites(ast.NodeVisitor):
    """All mutants of a file, as replacements of pieces of its text."""

    def __init__(self, file: str, text: bytes) -> None:
        self.file, self.text, self.found = file, text, list[Mutant]()
        self.starts = [0]
        for line in text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.names: list[str] = []
        self.lines = self.wider = (1, len(self.starts))
        self.tree = ast.parse(text)
        self.visit(self.tree)

    # the text

    def span(self, node: Any) -> tuple[int, int]:
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def of(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.text[start:end].decode()

    def put(self, operator: str, start: int, end: int, new: str) -> None:
        """Note the mutant that has ``new`` instead of text[start:end]."""
        source = self.text[:start] + new.encode() + self.text[end:]
        first, last = bisect.bisect(self.starts, start) - 1, bisect.bisect_left(self.starts, max(end, start + 1)) - 1
        stop = self.starts[last + 1] if last + 1 < len(self.starts) else len(self.text)
        before = self.text[self.starts[first] : stop].decode()
        after = source[self.starts[first] : stop + len(source) - len(self.text)].decode()
        flat = [" ".join(part.split()) for part in (before, after)]
        self.found.append(Mutant(self.file, ".".join(self.names), operator, first + 1, *flat, self.lines, self.wider, source))

    def swap(self, operator: str, left: ast.AST, right: ast.AST, old: str, new: str) -> None:
        """Another operator between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        word = rf"\b{old}\b".replace(" ", r"\s+") if old[0].isalpha() else re.escape(old)
        if len(hits := list(re.finditer(word, self.text[start:end].decode()))) == 1:
            self.put(operator, start + hits[0].start(), start + hits[0].end(), new)

    # what is passed by

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            outer = self.lines
            body = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            body = body or [child for child in getattr(node, "handlers", [])]
            self.lines = (node.lineno, max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno)
            self.statement(node)
            super().visit(node)
            self.lines = outer
        else:
            super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        if isinstance(node, ast.FunctionDef) and node.returns is not None and "Example]" in ast.unparse(node.returns):
            return
        outer = self.wider
        start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        self.wider = (start, node.end_lineno or node.lineno)
        if isinstance(node, ast.FunctionDef):
            self.lines = self.wider
        for child in [*node.decorator_list, *((*node.args.defaults, *node.args.kw_defaults) if isinstance(node, ast.FunctionDef) else ())]:
            if child is not None:
                self.visit(child)
        self.names.append(node.name)
        for child in node.body:
            self.visit(child)
        self.names.pop()
        self.wider = outer

    visit_ClassDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if not any(re.search(r"__all__|\.examples$", ast.unparse(target)) for target in node.targets):
            self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if not re.search("TYPE_CHECKING|__name__", ast.unparse(node.test)):
            self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)

    def passed(self, node: ast.AST) -> None:
        """Imports, and the texts of messages; the examples of an op, which are data of tests, are passed by as well."""

    visit_Raise = visit_Import = visit_ImportFrom = visit_JoinedStr = passed

    # what is changed

    def statement(self, node: ast.stmt) -> None:
        deleted = isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
        if deleted and not any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(node)):
            self.put("statement deleted", *self.span(node), "pass")
        if isinstance(node, ast.Return) and node.value is not None:
            self.put("None returned", *self.span(node), "return None")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        plain = ast.Name | ast.Attribute | ast.Call | ast.Subscript | ast.Constant
        left, right = (self.of(side) if isinstance(side, plain) else f"({self.of(side)})" for side in (node.left, node.right))
        if type(node.op) in SWAPS and not (isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)):
            self.swap("other operation", node.left, node.right, *SWAPS[type(node.op)])
        if isinstance(node.op, ast.Sub | ast.MatMult):
            self.put("operands exchanged", *self.span(node), f"({right} {'-' if isinstance(node.op, ast.Sub) else '@'} {left})")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in SWAPS:
            self.swap("other operation", node.target, node.value, *(sign + "=" for sign in SWAPS[type(node.op)]))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        start, end = self.span(node)
        if isinstance(node.op, ast.Not):
            self.put("not dropped", start, end, f"({self.of(node.operand)})")
        elif isinstance(node.op, ast.USub) and ast.unparse(node) == "-1":
            return self.put("-1 made 0", start, end, "0")
        elif isinstance(node.op, ast.USub):
            self.put("sign dropped", start, end, f"({self.of(node.operand)})")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:]):
            self.swap("and, or", left, right, *words)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators):
            old, *others = ORDERS[type(op)]
            for other in others:
                self.swap("other comparison", left, right, old, other)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.put("True, False", *self.span(node), str(not value))
        elif isinstance(value, int | float):
            self.put("number plus 1", *self.span(node), repr(value + 1))

    def visit_Call(self, node: ast.Call) -> None:
        parts = sorted([*node.args, *node.keywords], key=lambda part: self.span(part)[0])
        for i, part in enumerate(parts):
            if isinstance(part, ast.keyword) and part.arg not in (None, *UNTRIED):
                start, end = self.span(part)
                if i:
                    start = self.span(parts[i - 1])[1]
                elif len(parts) > 1:
                    end = self.span(parts[1])[0]
                self.put("keyword dropped", start, end, "")
        self.visit(node.func)
        if ast.unparse(node.func) not in ("cast", "warnings.warn", "example", "Example", "_within"):
            for part in parts:
                if not (isinstance(part, ast.keyword) and part.arg in UNTRIED):
                    self.visit(part.value if isinstance(part, ast.keyword) else part)

    def visit_Slice(self, node: ast.Slice) -> None:
        for bound in (node.lower, node.upper):
            if bound is not None and not isinstance(bound, ast.Constant):
                self.put("slice off by one", *self.span(bound), f"({self.of(bound)}) + 1")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in ("mT", "T"):
            self.put("transpose dropped", *self.span(node), self.of(node.value))
        self.generic_visit(node)


def files() -> list[str]:
    """The modules that are mutated."""
    found = [path for room in ROOMS for path in sorted(ROOT.glob(room)) if path.name not in ("__init__.py", "recipes.py")]  # recipes are data
    return [path.relative_to(ROOT).as_posix() for path in found]


def differs(mutant: Mutant, whole: str) -> bool:
    """Whether a mutant is Python and another program; ``whole`` is the dump of the code."""
    try:
        return ast.dump(ast.parse(mutant.source)) != whole
    except SyntaxError:
        return False


def sample(count: int, seed: int) -> list[Mutant]:
    """``count`` mutants, for each module by its size: at first at most one of a line, then more; the order is by a hash."""
    sites = {file: Sites(file, (ROOT / file).read_bytes()) for file in files()}
    sizes = {file: len({mutant.line for mutant in site.found}) for file, site in sites.items()}
    chosen = []
    for file, site in sites.items():
        whole = ast.dump(site.tree)
        by_key = {mutant.key: mutant for mutant in reversed(site.found)}
        order = sorted(by_key.values(), key=lambda m: hashlib.sha256(f"{seed} {m.key}".encode()).digest())
        lines = collections.Counter[int]()
        ranked = []
        for mutant in order:
            ranked.append((lines[mutant.line], len(ranked), mutant))
            lines[mutant.line] += 1
        wanted = max(3, round(count * sizes[file] / sum(sizes.values())))
        valid = (mutant for *_, mutant in sorted(ranked) if differs(mutant, whole))
        chosen += sorted(itertools.islice(valid, wanted), key=lambda m: m.line)
    return chosen


# Tests, and what they reach


class Test(NamedTuple):
    """One test: its seconds, and for each module a number whose bit n says that it ran line n."""

    name: str
    seconds: float
    reach: dict[str, int]


@functools.cache
def opcodes(old: str, new: str) -> list[tuple[str, int, int, int, int]]:
    """What turns the lines of one text into those of another."""
    return difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False).get_opcodes()


def moved(bits: int, steps: list[tuple[str, int, int, int, int]]) -> int:
    """The set of lines in the new text; new lines count as reached when those that they replace or follow were."""
    found = 0
    for tag, a, b, c, d in steps:
        there = bits >> (a + 1) & ((1 << (b - a)) - 1)
        if tag == "equal":
            found |= there << (c + 1)
        elif there or (a == b and bits >> a & 1):
            found |= ((1 << (d - c)) - 1) << (c + 1)
    return found


class Recorder:
    """A pytest plugin: the lines of each test, by coverage's contexts."""

    def __init__(self, tree: Path, data: Path) -> None:
        import coverage

        self.tree, self.data = tree, data
        self.cover = coverage.Coverage(data_file=str(data), include=[str(tree / file) for file in files()], config_file=False)
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.began = time.perf_counter()
        self.collected = 0.0
        self.cover.start()

    def pytest_collection_finish(self) -> None:
        self.collected = time.perf_counter() - self.began

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        began = time.perf_counter()
        self.cover.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self.cover.switch_context("")
            self.seconds[item.nodeid] = time.perf_counter() - began

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or report.skipped:
            self.failed.add(report.nodeid)

    def tests(self) -> tuple[float, list[Test]]:
        """Seconds of collecting, and the tests that passed and reach something."""
        self.cover.stop()
        self.cover.save()
        reach: dict[str, dict[str, int]] = collections.defaultdict(dict)
        if self.data.exists():
            rows = sqlite3.connect(self.data).execute(
                "select path, context, numbits from line_bits join file on file.id = file_id join context on context.id = context_id"
            )
            for path, context, bits in rows:
                reach[context][Path(path).relative_to(self.tree).as_posix()] = int.from_bytes(bits, "little")
            self.data.unlink()
        passed = [name for name in self.seconds if name not in self.failed and name in reach]
        return self.collected, [Test(name, self.seconds[name], reach[name]) for name in passed]


class Only:
    """A pytest plugin: these tests in this order, and the name of the first that fails."""

    def __init__(self, names: list[str]) -> None:
        self.order = {name: i for i, name in enumerate(names)}
        self.killer = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self.order), key=lambda item: self.order[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.killer = self.killer or report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.killer = self.killer or f"collecting {report.nodeid}"


class Workshop:
    """The copy of the tree, the children that run pytest in it, and what was found."""

    def __init__(self, work: Path) -> None:
        self.work, self.tree = work, work / "tree"
        work.mkdir(parents=True, exist_ok=True)
        keep = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "runs", ".ci", "notebooks", "*.egg-info")
        shutil.copytree(ROOT, self.tree, ignore=keep, dirs_exist_ok=True)
        for path in self.tree.rglob("*.py"):  # files that are gone
            if not (ROOT / path.relative_to(self.tree)).exists():
                path.unlink()
        self.store = work / "results.json"
        self.results: dict[str, list[Any]] = json.loads(self.store.read_text(encoding="utf-8")) if self.store.exists() else {}

    def save(self) -> None:
        self.store.write_text(json.dumps(self.results, indent=1), encoding="utf-8")

    def child(self, work: Any, seconds: float) -> Any:
        """What ``work()`` returns in a forked child that sees the copy only; None after a crash, "hang" after ``seconds``."""
        answer = self.work / "answer"
        answer.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                log = os.open(self.work / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                null = os.open(os.devnull, os.O_RDONLY)
                for end, stream in ((null, 0), (log, 1), (log, 2)):
                    os.dup2(end, stream)
                os.chdir(self.tree)
                here = {"", str(ROOT), str(ROOT / "tests"), os.path.realpath(".")}
                sys.path[:] = [str(self.tree), *(path for path in sys.path if path not in here)]
                os.environ["PYTHONPATH"] = str(self.tree)
                for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "minigrad", "transformer")]:
                    del sys.modules[name]
                answer.write_bytes(pickle.dumps(work()))
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(0)
        until = time.monotonic() + seconds
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > until:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return "hang"
            time.sleep(0.005)
        return pickle.loads(answer.read_bytes()) if answer.exists() else None

    def pytest(self, plugin: Any, *arguments: str) -> int:
        options = ["-p", "no:cacheprovider", "--hypothesis-seed=0", "--tb=short", "-m", MARKS, "--rootdir", ".", "-c", "pyproject.toml"]
        options += ["-W", "ignore:Module already imported"]
        return int(pytest.main([*options, *arguments], plugins=[plugin]))

    def map(self) -> tuple[dict[str, float], list[Test]]:
        """Seconds of collecting each file of tests, and all tests; a file is recorded again after it has changed.

        When the code has changed, the lines that a test reached are looked up in the new text.
        """
        code = {file: (ROOT / file).read_text(encoding="utf-8") for file in files()}
        store = self.work / "reach"
        store.mkdir(exist_ok=True)
        collecting, tests = {}, []
        paths = [path for path in sorted(self.tree.glob("tests/**/test_*.py")) if not ELSEWHERE.fullmatch(path.name)]
        for path in tqdm.tqdm(paths, desc="which test reaches which line", file=sys.stderr):
            name = path.relative_to(self.tree).as_posix()
            stamp = hashlib.sha256(path.read_bytes()).hexdigest()
            kept = store / (name.replace("/", "_") + ".pickle")
            was, then, found = pickle.loads(kept.read_bytes()) if kept.exists() else ("", {}, None)
            if was != stamp:

                def record(name: str = name) -> tuple[float, list[Test]]:
                    recorder = Recorder(self.tree, self.work / "coverage")
                    self.pytest(recorder, name)
                    return recorder.tests()

                then, found = code, self.child(record, 1200.0)
                if not isinstance(found, tuple):
                    raise SystemExit(f"{name} could not be recorded: {self.work / 'log'} says why")
                kept.write_bytes(pickle.dumps((stamp, then, found)))
            collecting[name] = found[0]
            for file in code.keys() & then.keys():
                if then[file] != code[file]:
                    steps = opcodes(then[file], code[file])
                    for test in found[1]:
                        if file in test.reach:
                            test.reach[file] = moved(test.reach[file], steps)
            tests += found[1]
        return collecting, tests

    def at_import(self) -> dict[str, int]:
        """The lines that run when everything is imported."""

        def record() -> dict[str, int]:
            import coverage

            cover = coverage.Coverage(data_file=None, include=[str(self.tree / file) for file in files()], config_file=False)
            with cover.collect():
                for file in files():
                    importlib.import_module(file.removesuffix(".py").replace("/", "."))
            lines = {file: cover.get_data().lines(str(self.tree / file)) or [] for file in files()}
            return {file: sum(1 << line for line in found) for file, found in lines.items()}

        return self.child(record, 600)

    def killer(self, names: list[str]) -> str:
        """In a child: the first of these tests that fails, file by file, so that the first failure comes soon."""
        by_file = collections.defaultdict(list)
        for name in names:
            by_file[name.partition("::")[0]].append(name)
        for file, some in by_file.items():
            only = Only(some)
            status = self.pytest(only, "-x", "-q", file)
            if only.killer or status not in (0, 5):
                return only.killer or f"pytest's exit code {status}"
        return ""

    def run(self, mutant: Mutant, parts: list[list[str]], seconds: float) -> str:
        """What killed it: a test, "crash" or "hang"; "" if nothing did."""
        path = self.tree / mutant.file
        compiled = Path(importlib.util.cache_from_source(str(path)))
        path.write_bytes(mutant.source)
        compiled.unlink(missing_ok=True)
        try:
            found = self.child(lambda: next(filter(None, map(self.killer, parts)), ""), seconds)
        finally:
            path.write_bytes((ROOT / mutant.file).read_bytes())
            compiled.unlink(missing_ok=True)
        return "crash" if found is None else found

    def failing(self, names: list[str]) -> set[str]:
        """Those of the tests that fail without any mutant, each file in a child of its own."""
        by_file = collections.defaultdict(list)
        for name in names:
            by_file[name.partition("::")[0]].append(name)
        failed = set()
        for some in by_file.values():
            while some and (killer := self.child(lambda some=some: self.killer(some), 600)):
                failed.add(killer)
                some = [name for name in some[some.index(killer) + 1 :]] if killer in some else []
        return failed


def reaching(mutant: Mutant, tests: list[Test], collecting: dict[str, float], imported: dict[str, int]) -> list[Test]:
    """The tests that reach a mutant, in the order in which they are tried: those of its own room, one of each function, the quick ones.

    What runs at import is reached by the tests of its function or class, and by all that use the module.
    """

    def between(first: int, last: int, reach: int) -> int:
        return reach & ((1 << (last + 1)) - 1) ^ ((1 << first) - 1) & reach

    lines = [mutant.lines]
    if between(*mutant.lines, imported[mutant.file]):
        lines += [mutant.wider, (1, 100_000)]
    ways = {test.name: next((i for i, pair in enumerate(lines) if between(*pair, test.reach.get(mutant.file, 0))), None) for test in tests}
    found = [test for test in tests if ways[test.name] is not None]
    stem = Path(mutant.file).stem

    def cost(test: Test) -> float:
        file = test.name.partition("::")[0]
        own = stem in file or Path(mutant.file).parent.name in file
        return (test.seconds + collecting[file]) * (0.2 if own else 1.0) + 1e-5 * sum(map(int.bit_count, test.reach.values()))

    costs = {test.name: cost(test) for test in found}
    found.sort(key=lambda test: costs[test.name])
    seen = collections.Counter[str]()
    ranks = {}
    for test in found:
        ranks[test.name] = seen[function := test.name.partition("[")[0]]
        seen[function] += 1
    return sorted(found, key=lambda test: (ways[test.name], min(ranks[test.name], 3), costs[test.name]))


def attempt(
    shop: Workshop, mutant: Mutant, tests: list[Test], collecting: dict[str, float], imported: dict[str, int], options: argparse.Namespace
) -> str:
    """What killed it, or "survived", or "not reached"."""
    order = reaching(mutant, tests, collecting, imported)
    if not order:
        return "not reached"
    near = list(dict.fromkeys(test.name.partition("::")[0] for test in order))[: max(2, options.first // 8)]
    first = [test for test in order if test.name.partition("::")[0] in near][: options.first]
    known = {test.name for test in first}
    rest = [test for test in order if test.name not in known]
    sums = itertools.accumulate(test.seconds for test in rest)
    tried = [first, [test for test, spent in zip(rest, sums) if spent < options.seconds]]
    opened = {test.name.partition("::")[0] for part in tried for test in part}
    expected = sum(test.seconds for part in tried for test in part) + sum(collecting[file] for file in opened)
    return shop.run(mutant, [[test.name for test in part] for part in tried], 20 + 3 * expected) or "survived"


# The table


def arguments() -> dict[tuple[str, str, str], tuple[str, str]]:
    """(file, before, after) → (kind, reason): blocks of a file's name, lines that begin with - and +, and "kind: reason"."""
    found = {}
    file = before = after = ""
    for line in ARGUMENTS.read_text(encoding="utf-8").splitlines() if ARGUMENTS.exists() else ():
        if line.startswith("- "):
            before = line[2:]
        elif line.startswith("+ "):
            after = line[2:]
        elif line.endswith(".py"):
            file = line
        elif ": " in line and not line.startswith("#"):
            kind, reason = line.split(": ", 1)
            found[file, before, after] = (kind, reason)
    return found


def in_cell(text: str) -> str:
    """Code in a cell of a table."""
    ticks = "``" if "`" in text else "`"
    return f"{ticks}{text}{ticks}".replace("|", r"\|")


def write_table(mutants: list[Mutant], results: dict[str, list[Any]], options: argparse.Namespace) -> tuple[int, int, int]:
    """Write the table; the numbers of mutants, of killed ones and of equivalent ones."""
    known = arguments()
    chosen, mutants = mutants, [mutant for mutant in mutants if mutant.key in results]
    modules: dict[str, list[int]] = {}
    survivors, kinds = [], collections.Counter[str]()
    for mutant in mutants:
        row = modules.setdefault(mutant.file, [0, 0, 0])
        row[0] += 1
        fate = results[mutant.key][0]
        if fate not in ("survived", "not reached"):
            row[1] += 1
            continue
        kind, reason = known.get((mutant.file, mutant.before, mutant.after), ("open", fate))
        row[2] += kind == "equivalent"
        kinds[kind] += 1
        survivors.append(f"| {mutant.file}:{mutant.line} | {in_cell(mutant.before)} | {in_cell(mutant.after)} | {kind}: {reason} |")
    total, killed, same = (sum(row[i] for row in modules.values()) for i in range(3))
    unseen = sum(kinds[kind] for kind in ("speed", "message", "rounding"))
    visible = total - same - unseen
    lines = [
        "# Mutants",
        "",
        f"Written by `python -m tests.mutation --count {options.count} --seed {options.seed}`: small wrong changes of the library, and whether a",
        f"test fails. Of {total} mutants {killed} are killed: **{killed / total:.1%}**. {same} of the others are equivalent, nothing could tell",
        f"them from the code; without these **{killed / (total - same):.1%}** are killed. {unseen} more change only how fast,",
        f"in how much memory, with which rounding or in which words: without these too **{killed / visible:.1%}**. All that live, by kind: "
        + ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())
        + ".",
        *(
            [f"**{len(chosen) - len(mutants)} of the {len(chosen)} mutants of this sample have not been tried yet.**"]
            if len(mutants) < len(chosen)
            else []
        ),
        "",
        "| module | mutants | killed | equivalent | left |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {file} | {n} | {k} | {e or ''} | {n - k - e or ''} |" for file, (n, k, e) in modules.items()),
        "",
        "## Those that live",
        "",
        "| where | before | after | why |",
        "| --- | --- | --- | --- |",
        *survivors,
    ]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return total, killed, same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--count", type=int, default=600, help="mutants in all modules together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="WORD", help="the modules whose path has this word; the table is left alone")
    parser.add_argument("--again", action="store_true", help="try the survivors again, but for those of which it is said why they live")
    parser.add_argument("--first", type=int, default=40, help="the nearest tests, which are tried first")
    parser.add_argument("--seconds", type=float, default=60.0, help="of tests that a survivor of the first tests must pass")
    parser.add_argument("--list", action="store_true", help="show the sample and run nothing")
    parser.add_argument("--table", action="store_true", help="write the table from what is known and run nothing")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "mutation", help="where copy, map and results are kept")
    options = parser.parse_args()

    whole = sample(options.count, options.seed)
    mutants = [mutant for mutant in whole if options.only in mutant.file]
    if options.list:
        for mutant in mutants:
            print(f"{mutant.file}:{mutant.line} [{mutant.operator}] {mutant.before}  →  {mutant.after}")
        return
    shop = Workshop(options.work)
    if not options.table:
        collecting, tests = shop.map()
        imported, known = shop.at_import(), arguments()
        print(f"{len(tests)} tests, {len(mutants)} mutants", file=sys.stderr)
        for mutant in tqdm.tqdm(mutants, desc="mutants", file=sys.stderr):
            fate = shop.results.get(mutant.key, [None])[0]
            if fate is None or (options.again and fate in ("survived", "not reached") and (mutant.file, mutant.before, mutant.after) not in known):
                began = time.perf_counter()
                fate = attempt(shop, mutant, tests, collecting, imported, options)
                shop.results[mutant.key] = [fate, round(time.perf_counter() - began, 2)]
                shop.save()
            if fate in ("survived", "not reached"):
                tqdm.tqdm.write(f"{fate}: {mutant.file}:{mutant.line} {mutant.before}  →  {mutant.after}", file=sys.stdout)
    killers = {shop.results[mutant.key][0] for mutant in mutants if mutant.key in shop.results}
    if not options.table and (guilty := shop.failing(sorted(killer for killer in killers if "::" in killer))):
        shop.results = {key: result for key, result in shop.results.items() if result[0] not in guilty}
        shop.save()
        raise SystemExit(f"these fail without a mutant, so what they killed is forgotten: {', '.join(sorted(guilty))}")
    if options.only:
        return
    total, killed, same = write_table(whole, shop.results, options)
    print(f"{killed} of {total} killed, {same} equivalent")


if __name__ == "__main__":
    main()
