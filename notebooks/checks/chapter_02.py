"""A tensor that differentiates itself."""

import numpy as np

import minigrad as mg

from .verdict import Wrong, ask, check, pair, same


@check
def check_02_divide_rules(answer):
    rng = np.random.default_rng(1)
    for shape in [(), (2, 3)]:
        g, a, b = (np.asarray(rng.uniform(0.5, 2, shape)) for _ in range(3))
        a_bar, b_bar = pair(ask(answer, g, a, b))
        same(a_bar, g / b, "a_bar", {"The upstream gradient g is missing.": 1 / b, "The slope by a is 1/b, not b.": g * b})
        same(b_bar, -g * a / b**2, "b_bar", {
            "The sign of b_bar is wrong: a larger b makes r smaller.": g * a / b**2,
            "The slope by b is −a/b²; the square is missing.": -g * a / b,
            "The factor a is missing in b_bar.": -g / b**2,
            "The upstream gradient g is missing in b_bar.": -a / b**2,
        })  # fmt: skip
    return "With r = a/b you may also write b_bar = −g r / b, which saves a square."


@check
def check_02_mean_rule(answer):
    rng = np.random.default_rng(2)
    for shape, axis in [((3, 3), 1), ((3, 3), 0), ((2, 4), 1), ((2, 3, 4), 1), ((2, 3, 4), -1)]:
        x = rng.normal(size=shape)
        n = x.shape[axis]
        g = rng.normal(size=x.mean(axis).shape)
        right = np.broadcast_to(np.expand_dims(g, axis), shape) / n
        hints = {
            "This is the gradient of the sum: divide by the number of entries along the axis.": right * n,
            "Divide by the number of entries along the axis, not of all entries.": right * n / x.size,
            "g must be copied along the axis that was averaged away; use np.expand_dims(g, axis).": g / n,
        }
        if len(set(shape)) == 1:
            hints["g was copied along the wrong axis: bring back the axis that was averaged away with np.expand_dims."] = right.T
        same(ask(answer, g, x, axis), right, "x_bar", hints, at=f"x of shape {shape}, axis {axis}")
    return "What is summed forward is copied backward, and 1/n stays 1/n."


class _Node:
    def __init__(self, *parents):
        self.given, self.reads = parents, 0

    @property
    def parents(self):
        self.reads += 1
        if self.reads > 1000:
            raise Wrong("A node was asked for its parents more than 1000 times: remember the nodes that you have met, or the paths explode.")
        return self.given


@check
def check_02_topological_order(answer):
    x = _Node()
    y = _Node(x, x)
    z = _Node(y, x)
    _ordered(answer(_Node(z, y)), "L = z·y, z = y + x, y = x·x")
    short, long = _Node(), _Node()
    for _ in range(3):
        long = _Node(long)
    meet = _Node(short)
    _ordered(answer(_Node(meet, _Node(long, meet))), "a node that is met early but used again late")
    top = _Node()
    for _ in range(40):
        top = _Node(top, top)
    _ordered(answer(top), "x ← x + x, 40 times")
    top = _Node()
    for _ in range(20_000):
        top = _Node(top)
    try:
        _ordered(answer(top), "a chain of 20 000")
    except RecursionError:
        raise Wrong("A chain of 20 000 steps ends in RecursionError: the order is right, but keep the nodes to do in a list of your own.") from None
    return "Diamonds, shortcuts and a chain of 20 000 nodes: each node once, after its parents."


def _ordered(order, graph):
    if not isinstance(order, list | tuple):
        raise Wrong(f"Return a list of nodes; yours is of type {type(order).__name__}.")
    place = {id(node): i for i, node in enumerate(order)}
    if len(place) < len(order):
        raise Wrong(f"In the graph “{graph}” a node is in the list more than once: {len(order)} entries, {len(place)} nodes.")
    for node in order:
        for parent in node.given:
            if id(parent) not in place:
                raise Wrong(f"In the graph “{graph}” a parent of a node in the list is missing from it.")
            if place[id(parent)] > place[id(node)]:
                raise Wrong(
                    f"In the graph “{graph}” a node comes before one of its parents (places {place[id(node)]} and {place[id(parent)]}). "
                    "Append a node only when all its parents are in the list; output is the last."
                )
    if not order or any(id(node) in {id(p) for n in order for p in n.given} for node in order[-1:]):
        raise Wrong(f"In the graph “{graph}” the last of the list is not the output.")


@check
def check_02_lookup_rule(answer):
    rng = np.random.default_rng(3)
    for ids in ([2, 0], [1, 1, 3], [3, 0, 3, 3]):
        ids = np.array(ids)
        table, g = rng.normal(size=(4, 2)), rng.normal(size=(len(ids), 2))
        right, last = np.zeros((4, 2)), np.zeros((4, 2))
        np.add.at(right, ids, g)
        last[ids] += g
        counts = np.maximum(1, np.bincount(ids, minlength=4))[:, None]
        hints = {
            "Of equal ids only the last was counted: `out[ids] += g` writes each row once. Use np.add.at(out, ids, g), or a loop.": last,
            "Add the rows of equal ids; do not average them.": right / counts,
            "Start from zeros: the gradient does not contain the table's values.": table + right,
            "This looks up rows again; the gradient has the shape of the table.": table[ids],
        }
        same(ask(answer, g, table, ids), right, "the gradient of the table", hints, at=f"ids = {ids.tolist()}")
    return "Repeated words add up, and words that do not occur get zero."


@check
def check_02_layer_forward_mode(answer):
    rng = np.random.default_rng(4)
    for n, i, o in [(2, 3, 4), (2, 2, 2)]:
        x, x_dot, W, W_dot, b = (rng.normal(size=s) for s in [(n, i), (n, i), (i, o), (i, o), (o,)])
        r, u_dot = np.tanh(x @ W + b), x_dot @ W + x @ W_dot
        value, slope = pair(ask(answer, x, x_dot, W, W_dot, b))
        same(value, r, "r")
        _, right = mg.jvp(lambda x, W, b=b: mg.tanh(x @ W + b), (x, W), (x_dot, W_dot))
        hints = {
            "tanh's own slope 1 − r² is missing.": u_dot,
            "b stands still: its slope is 0, so it adds nothing to u_dot.": (1 - r**2) * (u_dot + b),
            "Product rule: both x and W move, so u_dot has two terms; x W_dot is missing.": (1 - r**2) * (x_dot @ W),
            "Product rule: both x and W move, so u_dot has two terms; x_dot W is missing.": (1 - r**2) * (x @ W_dot),
            "The product of the two slopes is of second order; u_dot = x_dot W + x W_dot.": (1 - r**2) * (x_dot @ W_dot),
        }
        same(slope, right.data, "r_dot", hints)
    return "The same numbers as mg.jvp."
