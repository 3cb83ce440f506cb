"""Which code an answer is: the statements of its cell, and of other cells the definitions that it uses.  No experiment is run."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from typing import Any

NAME = "<answer>"  # of the file, in tracebacks


def names_in(node: ast.AST) -> Iterator[str]:
    """Every name that the code mentions."""
    return (n.id for n in ast.walk(node) if isinstance(n, ast.Name))


def defined(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a cell gives a meaning."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.split(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Assign):
        return [n.id for target in statement.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
    return []


def statements(cells: Iterable[str]) -> Iterator[ast.stmt]:
    """Those of the cells that are Python."""
    for cell in cells:
        try:
            yield from ast.parse(cell, NAME).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue


def literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return False
    return True


def of_chapter(cells: Iterable[str]) -> list[ast.stmt]:
    """What a chapter imports and defines, and its plain constants; no experiment is run."""
    kinds = ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom
    return [s for s in statements(cells) if isinstance(s, kinds) or (isinstance(s, ast.Assign) and literal(s.value))]


def needed(answer: list[ast.stmt], known: dict[str, Any], elsewhere: Iterable[str]) -> list[ast.stmt]:
    """What the answer takes from the student's other cells: definitions of names that nothing else defines, and what these need."""
    offered = {name: s for s in statements(elsewhere) for name in defined(s)}
    here = {name for s in answer for name in defined(s)} | set(known) | set(dir(builtins))
    found: list[ast.stmt] = []
    queue = [name for s in answer for name in names_in(s)]
    while queue:
        name = queue.pop()
        if name in offered and name not in here:
            here.add(name)
            if offered[name] not in found:
                found.insert(0, offered[name])
                queue.extend(names_in(offered[name]))
    return found


def run(body: list[ast.stmt], namespace: dict[str, Any]) -> Exception | None:
    """Run the statements one by one; what fails is passed over, and the first failure is told."""
    failure = None
    for statement in body:
        try:
            exec(compile(ast.Module([statement], []), NAME, "exec"), namespace)
        except Exception as error:
            failure = failure or error
    return failure


def prepare(job: dict[str, Any], namespace: dict[str, Any]) -> Any:
    """The student's function.  Raises what keeps it from being one."""
    run(of_chapter(job["chapter"]), namespace)
    source = job["answer"]
    body = ast.parse(source, NAME).body
    failure = run(needed(body, namespace, job["others"]) + body, namespace)
    function = namespace.get(job["function"])
    if not callable(function):
        raise failure or NameError(f"the answer does not define {job['function']}")
    return function
