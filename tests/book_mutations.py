"""Mutations of the solutions: small wrong changes of code, each of which a check should notice.

``mutants(source)`` gives (what was changed, the changed source).  ``survivors`` runs them against a check.  Those that compute the same as
the solution, or differ only where the task says nothing, are listed in ``EQUIVALENT`` with the reason.
"""

import ast
import copy
import difflib
import sys
import warnings

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
            (parent, field, index), _ = list(_places(changed))[number]
            new = copy.deepcopy(new)
            if index is None:
                setattr(parent, field, new)
            else:
                getattr(parent, field)[index] = new
            text = ast.unparse(ast.fix_missing_locations(changed))
            if text not in met:
                met.add(text)
                yield _difference(ast.unparse(tree), text), text


def _difference(before, after):
    """The lines that were changed, as they are now; or the lines that are gone."""
    old, new = before.splitlines(), after.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    changes = [step for step in matcher.get_opcodes() if step[0] != "equal"]
    now = "; ".join(line.strip() for _, _, _, i, j in changes for line in new[i:j])
    return now if now not in ("", "pass") else "without " + "; ".join(line.strip() for _, i, j, _, _ in changes for line in old[i:j])


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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


# What computes the same as the solution, or differs only where the task leaves it open: the reason, and of which checks.
EQUIVALENT = {
    "the only entry of an axis is its last": {
        "08b_decode_latent": ["down = (WUK @ q[:, :, None])[:, :, -1]", "return (mixed[:, None] @ WUV)[:, -1]"],
    },
    "axis 1 of an array with two axes is its last": {
        "08b_rms_norm_backward": [
            "r = np.sqrt((x * x).mean(axis=1, keepdims=True) + eps)",
            "return ((n_bar - n * (n_bar * n).mean(axis=1, keepdims=True)) / r, (y_bar * n).sum(axis=0))",
        ],
        "08b_decode_latent": [
            "s = down @ c.T / np.sqrt(q.shape[1])",
            "e = np.exp(s - s.max(axis=1, keepdims=True))",
            "mixed = e / e.sum(axis=1, keepdims=True) @ c",
        ],
        "08b_balance": ["chosen = np.argsort(-P, axis=1)[:, :k]"],
        "00_masked_attention": [
            "s = Q @ K.T / np.sqrt(Q.shape[1])",
            "weights = e / e.sum(axis=1, keepdims=True)",
            "e = np.exp(s - s.max(axis=1, keepdims=True))",
        ],
        "03_soft_maximum_backward": [
            "total = e.sum(axis=1, keepdims=True)",
            "entropy = np.log(total[:, 0]) - (p * u).sum(axis=1)",
            "u = (x - x.max(axis=1, keepdims=True)) / tau",
        ],
        "03_log_softmax_backward": ["return y_bar - np.exp(y) * y_bar.sum(axis=1, keepdims=True)"],
        "03_z_loss_backward": [
            "m = x.max(axis=1, keepdims=True)",
            "total = e.sum(axis=1, keepdims=True)",
            "one_hot = np.eye(x.shape[1])[np.where(real, t, 0)]",
        ],
        "03_rms_norm_backward": [
            "s = (np.mean(x * x, axis=1, keepdims=True) + eps) ** (-0.5)",
            "x_bar = s * (u - x_hat * (u * x_hat).mean(axis=1, keepdims=True))",
        ],
        "04_lstm_step": ["i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=1)"],
        "05_sink_weights": [
            "s = Q @ K.T / np.sqrt(Q.shape[1])",
            "top = np.maximum(s.max(axis=1, keepdims=True), z)",
            "return e / (e.sum(axis=1, keepdims=True) + np.exp(z - top))",
        ],
        "05_packed_attention": [
            "top = s.max(axis=1, keepdims=True)",
            "total = e.sum(axis=1, keepdims=True)",
            "s = np.where(allowed, Q @ K.T / np.sqrt(Q.shape[1]), -np.inf)",
        ],
        "09_cross_attention": [
            "P = e / e.sum(axis=1, keepdims=True)",
            "s = np.where(np.asarray(mask, bool), Q @ K.T / np.sqrt(Q.shape[1]), -np.inf)",
            "e = np.exp(s - s.max(axis=1, keepdims=True))",
        ],
        "10_smooth_backward": [
            "p = e / e.sum(axis=1, keepdims=True)",
            "target = (1 - eps) * np.eye(x.shape[-1])[t] + eps / x.shape[1]",
            "e = np.exp(x - x.max(axis=1, keepdims=True))",
            "target = (1 - eps) * np.eye(x.shape[1])[t] + eps / x.shape[-1]",
        ],
        "12b_qk_gradient": [
            "P = e / e.sum(axis=1, keepdims=True)",
            "e = np.exp(Z - Z.max(axis=1, keepdims=True))",
            "Z_bar = P * (P_bar - (P_bar * P).sum(axis=1, keepdims=True))",
        ],
        "14b_unsure_backward": [
            "log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)",
            "one_hot = np.arange(z.shape[1]) == y[:, None]",
        ],
        "16_pool_backward": [
            "length = np.linalg.norm(m, axis=1, keepdims=True)",
            "m_bar = (u_bar - u * (u * u_bar).sum(axis=1, keepdims=True)) / length",
        ],
    },
    "a square matrix has as many rows as columns": {
        "12b_token_circuit": ["width = w_v.shape[0] // num_heads"],
    },
    "any large score, any size of note and answer will do, and nobody asks for the last note or that of position 2": {
        "12b_skip_circuits": [
            "for i in range(2 + 1, T):",
            "for i in range(2, T + 1):",
            "for i in range(2, T - 1):",
            "C, beta = (3 * vocab + T, 60.0)",
            "C, beta = (3 * vocab + T, 15.0)",
            "for i in range(3, T):",
            "ov0[v, vocab + T + v] = 2",
            "ov1[v, 2 * vocab + T + v] = 2",
        ],
    },
    "the only column is the first and the last": {
        "03_soft_maximum_backward": ["entropy = np.log(total[:, -1]) - (p * u).sum(axis=-1)"],
    },
    "rows of padding are multiplied by 0 in the end": {
        "03_z_loss_backward": ["one_hot = np.eye(x.shape[-1])[t]", "one_hot = np.eye(x.shape[-1])[np.where(real, t, -1)]"],
    },
    "any finite number will do where all scores are −∞": {
        "05_packed_attention": [
            "e = np.exp(s - np.where(np.isneginf(top), 1, top))",
            "e = np.exp(s - np.where(np.isneginf(top), -1, top))",
            "return e / np.where(total == 0, 2, total) @ V",
        ],
    },
    "NumPy takes any negative size for “what remains”": {
        "06_reorder_heads": ["places = np.arange(len(W_Q)).reshape(H, -2)[list(order)].ravel()"],
        "14_quantize_groups": ["groups = W.reshape(-2, g, W.shape[1])"],
    },
    "squares and absolute values know no sign": {
        "06_descend": ["loss = ((Y - attention(X, *tensors, H)) ** 2).mean()"],
        "07_alibi": ["distance = np.abs(np.arange(S)[None, :] - np.arange(S - T, S)[:, None])"],
    },
    "relu has no slope at 0; either one-sided value may stand for it": {
        "08_ffn_backward": ["u_bar = y_bar @ W2.T * (u >= 0)"],
    },
    "the only entry is the first and the last": {
        "09_masked_loss": ["chosen = np.take_along_axis(log_p, says[..., None], axis=-1)[..., -1]"],
    },
    "a list of rows is an array to NumPy": {
        "04_coverage_attention": ["without alphas = np.stack(alphas)"],
    },
    "a copy in a form that the check hands out already": {
        "11_write_with": ["without ids = np.array(ids)"],
        "12_without_repeats": ["without ids = list(ids)"],
    },
    "how much round-off counts as reaching the limit is left open": {
        "12_nucleus": [
            "keep = order[before <= limit - 1e-12]",
            "keep = order[before < limit]",
            "keep = order[before < limit - 2e-12]",
            "keep = order[before < limit - 5e-13]",
        ],
    },
    "every entry is written": {
        "12b_patching_map": ["found = np.ones(len(clean))"],
        "13_balanced_weights": ["weights = np.ones(len(jobs))"],
    },
    "an occupation that comes twice is written twice, alike": {
        "13_balanced_weights": ["for job in np.sort(jobs):", "for job in jobs:"],
    },
    "the loop runs over both kinds": {
        "13_balanced_weights": ["mine = (jobs == job) & (male != kind)"],
    },
    "how much round-off counts as equal is left open": {
        "13_p_value": [
            "return np.mean(totals > abs(sums.sum()) * (1 - 1e-09))",
            "return np.mean(totals >= abs(sums.sum()) * (1 - 2e-09))",
            "return np.mean(totals >= abs(sums.sum()) * (1 - 5e-10))",
        ],
    },
    "all patterns of signs are gone through, and with each its opposite": {
        "13_p_value": ["totals = np.abs((2 * digits - 1) @ sums)"],
    },
    "what is impossible is multiplied by 0": {
        "14b_best_policy": ["weight = p_ref * np.exp(np.where(possible, u, 1))", "weight = p_ref * np.exp(np.where(possible, u, -1))"],
    },
    "any scale will do for a group of zeros": {
        "14_quantize_groups": ["s = np.where(s == 0, 2, s)"],
    },
    "any finite number will do where both sides are −∞": {
        "14_merge": ["shift = np.where(np.isneginf(m), 1, m)", "shift = np.where(np.isneginf(m), -1, m)"],
    },
    "in one step nobody sends what it receives": {
        "15_reduce_scatter": ["messages = [chunks[r, (r - s) % N] for r in range(N)]"],
    },
    "a negative index counts from the end, as % does": {
        "15_reduce_scatter": ["chunks[(r + 1) % N, r - s] += messages[r]", "messages = [chunks[r, r - s].copy() for r in range(N)]"],
    },
    "a slice ends where the word does": {
        "16_cheapest_cut": ["for stop in range(1, len(word) + 1 + 1):", "for stop in range(1, len(word) + 2):"],
    },
    "the length of m takes the factor back": {
        "16_pool_backward": ["n = a.mean(axis=1, keepdims=True)"],
    },
    "a dot product is symmetric": {
        "16_cosine_gradient": ["s = v @ u / (lu * lv)"],
    },
}
