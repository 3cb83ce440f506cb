"""What students answer to chapter 02: the name of the check, the wrong answer, and what the hint must say."""

import numpy as np


def _recursive(node, seen=None):
    seen = set() if seen is None else seen
    if id(node) in seen:
        return []
    seen.add(id(node))
    parents = node.parents
    return [n for parent in parents for n in _recursive(parent, seen)] + [node]


def _breadth_first(output):
    order, seen, queue = [], {id(output)}, [output]
    while queue:
        node = queue.pop(0)
        order.append(node)
        for parent in node.parents:
            if id(parent) not in seen:
                seen.add(id(parent))
                queue.append(parent)
    return order[::-1]


def _every_path(output):
    return [n for parent in output.parents for n in _every_path(parent)] + [output]


def _lookup(how):
    def rule(g, table, ids):
        out = np.zeros_like(table)
        how(out, ids, g)
        return out

    return rule


def _assign(out, ids, g):
    out[ids] = g


def _add_once(out, ids, g):
    out[ids] += g


def _average(out, ids, g):
    np.add.at(out, ids, g)
    out /= np.maximum(1, np.bincount(ids, minlength=len(out)))[:, None]


def _forward(which):
    def layer(x, x_dot, W, W_dot, b):
        r = np.tanh(x @ W + b)
        return r, (1 - r**2 if which != "slope" else 1) * {"x": x_dot @ W, "both": x_dot @ W_dot, "slope": x_dot @ W + x @ W_dot}[which]

    return layer


WRONG = [
    ("check_02_divide_rules", lambda g, a, b: (g / b, g * a / b**2), "sign"),
    ("check_02_divide_rules", lambda g, a, b: (g / b, -g * a / b), "square"),
    ("check_02_divide_rules", lambda g, a, b: (1 / b, -a / b**2), "upstream"),
    ("check_02_divide_rules", lambda g, a, b: g / b, "pair"),
    ("check_02_mean_rule", lambda g, x, axis: np.broadcast_to(np.expand_dims(g, axis), x.shape), "sum"),
    ("check_02_mean_rule", lambda g, x, axis: np.broadcast_to(g, x.shape) / x.shape[axis], "wrong axis"),
    ("check_02_mean_rule", lambda g, x, axis: g / x.shape[axis], "copied along"),
    ("check_02_mean_rule", lambda g, x, axis: np.broadcast_to(np.expand_dims(g, axis), x.shape) / x.size, "not of all"),
    ("check_02_topological_order", _recursive, "RecursionError"),
    ("check_02_topological_order", _breadth_first, "before one of its parents"),
    ("check_02_topological_order", _every_path, "more than once"),
    ("check_02_topological_order", lambda output: _recursive(output)[::-1], "before one of its parents"),
    ("check_02_lookup_rule", _lookup(_add_once), "add.at"),
    ("check_02_lookup_rule", _lookup(_assign), "add.at"),
    ("check_02_lookup_rule", _lookup(_average), "average"),
    ("check_02_layer_forward_mode", _forward("slope"), "tanh's own slope"),
    ("check_02_layer_forward_mode", _forward("x"), "x W_dot is missing"),
    ("check_02_layer_forward_mode", _forward("both"), "second order"),
]
