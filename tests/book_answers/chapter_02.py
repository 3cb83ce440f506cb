"""What students answer to chapter 02: the name of the check, the wrong answer, and what the hint must say; and right ones that are unusual."""

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


def _raised(output):
    import sys

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        return _recursive(output)
    finally:
        sys.setrecursionlimit(before)


def _right_order(output):
    """Kahn's: a node is ready when all that used it are done."""
    users, waiting, met = {}, [output], {output}
    while waiting:
        node = waiting.pop()
        for parent in node.parents:
            users[parent] = users.get(parent, 0) + 1
            if parent not in met:
                met.add(parent)
                waiting.append(parent)
    order, ready = [], [output]
    while ready:
        node = ready.pop()
        order.append(node)
        for parent in node.parents:
            users[parent] -= 1
            if not users[parent]:
                ready.append(parent)
    return order[::-1]


def _right_order_by_iterators(output):
    order, seen, stack = [], {output}, [(output, iter(output.parents))]
    while stack:
        node, parents = stack[-1]
        for parent in parents:
            if parent not in seen:
                seen.add(parent)
                stack.append((parent, iter(parent.parents)))
                break
        else:
            order.append(node)
            stack.pop()
    return tuple(order)


def _walk(output, upstream, wanted, order=_right_order, in_place=False, last=False, zero=False, missing=None):
    grads = {output: upstream}
    for node in reversed(order(output)):
        for parent, rule in zip(node.parents, node.rules):
            if parent not in grads or last:
                grads[parent] = rule(grads[node])
            elif in_place:
                grads[parent] += rule(grads[node])
            else:
                grads[parent] = grads[parent] + rule(grads[node])
    return [grads.get(node, missing) for node in wanted]


def _walk_by_attributes(output, upstream, wanted):
    nodes = _right_order_by_iterators(output)
    for node in nodes:
        node.collected = []
    output.collected = [upstream]
    for node in nodes[::-1]:
        total = np.sum(node.collected, axis=0)
        node.collected = [total]
        for i in range(len(node.parents)):
            node.parents[i].collected.append(node.rules[i](total))
    return tuple(node.collected[0] if node in nodes else None for node in wanted)


def _walk_from_zeros(output, upstream, wanted):
    nodes = _right_order(output)
    grads = {node: np.zeros_like(node.data) for node in nodes}
    grads[output] = grads[output] + upstream
    for node in nodes[::-1]:
        for parent, rule in zip(node.parents, node.rules):
            grads[parent] = grads[parent] + rule(grads[node])
    return [grads.get(node) for node in wanted]


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
    ("check_02_topological_order", lambda output: _right_order(output)[:-1], "output is missing"),
    ("check_02_topological_order", lambda output: _right_order(output)[:1], "output is missing"),
    ("check_02_topological_order", _raised, "calls itself once for every step"),
    ("check_02_topological_order", lambda output: [output], "is missing from it"),
    ("check_02_mean_rule", lambda g, x, axis: np.expand_dims(g, axis) / x.shape[axis], "shape"),
    ("check_02_walk_back", lambda *a: _walk(*a, in_place=True), "changed"),
    ("check_02_walk_back", lambda *a: _walk(*a, last=True), "only the last path"),
    ("check_02_walk_back", lambda *a: _walk(*a, order=_recursive), "calls itself"),
    ("check_02_walk_back", lambda *a: _walk(*a, order=lambda output: _right_order(output)[::-1]), "stopped with KeyError"),
    ("check_02_walk_back", lambda *a: _walk(*a, missing=np.ones(2)), "does not depend on"),
    ("check_02_walk_back", lambda output, upstream, wanted: _walk(output, upstream, wanted)[:1], "a gradient for each node"),
]

RIGHT = [
    ("check_02_divide_rules", lambda g, a, b: [g * b**-1.0, -g * (a / b) / b]),
    ("check_02_divide_rules", lambda g, a, b: (np.divide(g, b), np.negative(np.divide(g, b)) * np.divide(a, b))),
    ("check_02_mean_rule", lambda g, x, axis: np.repeat(np.expand_dims(g, axis), x.shape[axis], axis) / x.shape[axis]),
    ("check_02_mean_rule", lambda g, x, axis: np.stack([g / x.shape[axis]] * x.shape[axis], axis=axis)),
    ("check_02_topological_order", _right_order),
    ("check_02_topological_order", _right_order_by_iterators),
    ("check_02_lookup_rule", lambda g, table, ids: (np.arange(len(table))[:, None] == ids) @ g),
    ("check_02_lookup_rule", lambda g, table, ids: [sum((g[t] for t in np.flatnonzero(ids == v)), 0 * g[0]) for v in range(len(table))]),
    ("check_02_layer_forward_mode", lambda x, dx, W, dW, b: (np.tanh(x @ W + b), (dx @ W + x @ dW) / np.cosh(x @ W + b) ** 2)),
    ("check_02_layer_forward_mode", lambda x, dx, W, dW, b: [np.tanh(b + x @ W), (1 - np.tanh(x @ W + b) ** 2) * (np.c_[dx, x] @ np.r_[W, dW])]),
    ("check_02_walk_back", _walk),
    ("check_02_walk_back", _walk_by_attributes),
    ("check_02_walk_back", _walk_from_zeros),
]
