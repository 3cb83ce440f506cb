"""Mutations of the solutions: small wrong changes of code, each of which a check should notice.

``mutants(source)`` gives (what was changed, the changed source).  ``survivors`` runs them against a check.  Those that compute the same as
the solution, or differ only where the task says nothing, are listed in ``EQUIVALENT`` with the reason.
"""

import ast
import copy
import sys

SWAPS = {ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Div], ast.Div: [ast.Mult], ast.FloorDiv: [ast.Mult], ast.Mod: [ast.FloorDiv],
         ast.Pow: [ast.Mult], ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd], ast.RShift: [ast.LShift], ast.LShift: [ast.RShift]}  # fmt: skip
COMPARISONS = {ast.Lt: [ast.LtE, ast.Gt], ast.LtE: [ast.Lt, ast.GtE], ast.Gt: [ast.GtE, ast.Lt], ast.GtE: [ast.Gt, ast.LtE], ast.Eq: [ast.NotEq],
               ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot], ast.IsNot: [ast.Is], ast.In: [ast.NotIn], ast.NotIn: [ast.In]}  # fmt: skip
NAMES = {"sum": "mean", "mean": "sum", "max": "min", "min": "max", "maximum": "minimum", "minimum": "maximum", "sin": "cos", "cos": "sin",
         "argmax": "argmin", "argmin": "argmax", "zeros": "ones", "ones": "zeros", "rint": "trunc", "unique": "sort", "log2": "log"}  # fmt: skip
UNWRAP = {"sqrt", "exp", "abs", "tanh", "log", "swapaxes", "cumsum", "copy", "sorted", "transpose", "unique", "expand_dims"}


def _shifted(node, by):
    return ast.BinOp(node, ast.Add() if by > 0 else ast.Sub(), ast.Constant(abs(by)))


def replacements(node):
    """What may stand in the place of a node, each wrong in one way: sign, operator, term, factor, axis, bound, mask, comparison."""
    match node:
        case ast.BinOp(left, op, right):
            for swapped in SWAPS.get(type(op), []):
                yield ast.BinOp(left, swapped(), right)
            yield left
            if isinstance(op, ast.Add | ast.Mult):
                yield right
            if isinstance(op, ast.Sub | ast.MatMult | ast.Div):
                yield ast.BinOp(right, op, left)
        case ast.UnaryOp(ast.USub(), ast.Attribute(attr="inf")):
            yield from (ast.Constant(-20.0), ast.Constant(-30.0), ast.Constant(0.0))
        case ast.UnaryOp(op, operand) if isinstance(op, ast.USub | ast.Not | ast.Invert):
            yield operand
        case ast.Compare(left, [op], right):
            yield from (ast.Compare(left, [other()], right) for other in COMPARISONS[type(op)])
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            yield from values
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() as value):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Constant(float() as value):
            yield from (ast.Constant(2 * value), ast.Constant(value / 2))
        case ast.Call(ast.Attribute(value=receiver, attr=name) as function, arguments, keywords):
            if name in NAMES:
                yield ast.Call(ast.Attribute(receiver, NAMES[name], function.ctx), arguments, keywords)
            if name in UNWRAP:
                module = isinstance(receiver, ast.Name) and receiver.id == "np"
                yield arguments[0] if module else receiver
            if name == "where" and len(arguments) == 3:
                condition, yes, no = arguments
                yield from (ast.Call(function, [condition, no, yes], []), yes, no)
        case ast.Call(ast.Name(id=name) as function, arguments, keywords):
            if name in NAMES:
                yield ast.Call(ast.Name(NAMES[name], ast.Load()), arguments, keywords)
            if name in UNWRAP:
                yield arguments[0]
            if name == "range":
                for i in range(len(arguments)):
                    yield from (ast.Call(function, [*arguments[:i], _shifted(arguments[i], by), *arguments[i + 1 :]], []) for by in (1, -1))
            if name == "reversed":
                yield arguments[0]
        case ast.Attribute(value=receiver, attr="T"):
            yield receiver
        case ast.Slice(lower, upper, step):
            if upper is not None and not isinstance(upper, ast.Constant):
                yield from (ast.Slice(lower, _shifted(upper, by), step) for by in (1, -1))
            if lower is not None and not isinstance(lower, ast.Constant):
                yield from (ast.Slice(_shifted(lower, by), upper, step) for by in (1, -1))
        case ast.IfExp(test, body, orelse):
            yield from (body, orelse, ast.IfExp(test, orelse, body))
        case ast.If(test, body, orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
            yield ast.If(ast.Constant(False), body, orelse)
        case ast.Return(ast.Tuple([first, second, *rest])):
            yield ast.Return(ast.Tuple([second, first, *rest], ast.Load()))
        case ast.Assign() | ast.Expr() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.AugAssign(target, op, value):
            yield ast.Pass()
            yield ast.Assign([target], value, lineno=0)
            yield from (ast.AugAssign(target, swapped(), value) for swapped in SWAPS.get(type(op), []))
        case ast.comprehension(target, iterated, conditions, is_async) if conditions:
            yield from (ast.comprehension(target, iterated, conditions[:i] + conditions[i + 1 :], is_async) for i in range(len(conditions)))


def _places(tree):
    """Every replaceable child below the functions' bodies: (parent, field, index or None)."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    spared = {id(node.args) for node in functions} | {id(node.body[0]) for node in functions if ast.get_docstring(node)}
    waiting = [(node, "body", i) for node in tree.body if isinstance(node, ast.FunctionDef) for i in range(len(node.body))]
    while waiting:
        parent, field, index = place = waiting.pop(0)
        child = getattr(parent, field) if index is None else getattr(parent, field)[index]
        if id(child) in spared:
            continue
        yield place, child
        for name, value in ast.iter_fields(child):
            if isinstance(value, list):
                waiting += [(child, name, i) for i, item in enumerate(value) if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context | ast.operator | ast.unaryop):
                waiting.append((child, name, None))


def mutants(source):
    """(what was changed, the changed source), each different from all others."""
    tree = ast.parse(source)
    met = {ast.unparse(tree)}
    count = sum(1 for _ in _places(tree))
    for number in range(count):
        _, child = list(_places(tree))[number]
        for new in replacements(child):
            changed = copy.deepcopy(tree)
            (parent, field, index), old = list(_places(changed))[number]
            new = copy.deepcopy(new)
            if index is None:
                setattr(parent, field, new)
            else:
                getattr(parent, field)[index] = new
            text = ast.unparse(ast.fix_missing_locations(changed))
            if text not in met:
                met.add(text)
                yield f"{ast.unparse(old)} → {ast.unparse(new)}".replace("\n", "; "), text


class Endless(Exception):
    """A mutant that takes too many steps."""


def judged(check, namespace, text, name, most):
    """(whether ``check`` accepts the function ``name`` that ``text`` defines, the lines that it took); Endless ones are not accepted."""
    steps = 0

    def trace(frame, event, argument):
        nonlocal steps
        if frame.f_code.co_filename != "<mutant>":
            return None
        if event == "line":
            steps += 1
            if steps > most:
                raise Endless
        return trace

    space, before = dict(namespace), sys.gettrace()
    sys.settrace(trace)
    try:
        exec(compile(text, "<mutant>", "exec"), space)
        return bool(check(space[name])), steps
    except Endless:
        return False, steps
    finally:
        sys.settrace(before)


def survivors(check, namespace, source):
    """(how many mutants there are, what was changed in those that ``check`` accepts)."""
    tree = ast.parse(source)
    name = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)][-1]
    right, steps = judged(check, namespace, source, name, 10**9)
    assert right, f"the solution {name} itself is not accepted"
    made = list(mutants(source))
    return len(made), [what for what, text in made if judged(check, namespace, text, name, 10 * steps + 10_000)[0]]
