"""A tensor that differentiates itself."""

import sys

import numpy as np

import minigrad as mg

from .verdict import Wrong, ask, by_hand, check, close, numbers, pair, same, tolerance, worst


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
    for shape, axis in [((3, 3), 1), ((3, 3), 0), ((2, 4), 1), ((2, 3, 4), 1), ((2, 3, 4), -1), ((3, 1), 1), ((1, 3), 0), ((4,), 0)]:
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


DEEP = "RecursionError is near: your function calls itself once for every step of a chain. Keep the nodes to do in a list of your own."


def _depth():
    frame, depth = sys._getframe(), 0
    while frame := frame.f_back:
        depth += 1
    return depth


class _Node:
    """Counts how often it is asked for its parents, and how deep in the stack."""

    deepest = 10**9  # the depth at which a function surely calls itself; set when a check begins

    def __init__(self, *parents):
        self.given, self.reads = parents, 0

    @property
    def parents(self):
        self.reads += 1
        if self.reads > 1000:
            raise Wrong("A node was asked for its parents more than 1000 times: remember the nodes that you have met, or the paths explode.")
        try:
            sys._getframe(_Node.deepest)
        except ValueError:
            return self.given
        raise Wrong(DEEP)


def _graphs(make):
    """(what it is, its output) of graphs that tell; ``make(*parents)`` makes a node."""
    x = make()
    y = make(x, x)
    z = make(y, x)
    yield "L = z·y, z = y + x, y = x·x", make(z, y)
    short, long = make(), make()
    for _ in range(3):
        long = make(long)
    meet = make(short)
    yield "a node that is met early but used again late", make(meet, make(long, meet))
    yield "a single node", make()
    rng = np.random.default_rng(7)
    nodes = [make()]
    for _ in range(25):
        nodes.append(make(*(nodes[i] for i in rng.integers(0, len(nodes), rng.integers(1, 4)))))
    yield "25 nodes with parents at random", nodes[-1]
    top = make()
    for _ in range(40):
        top = make(top, top)
    yield "x ← x + x, 40 times", top
    top = make()
    for _ in range(5000):
        top = make(top)
    yield "a chain of 5000", top


def _behind(output):
    found, waiting = {id(output): output}, [output]
    while waiting:
        for parent in waiting.pop().given:
            if id(parent) not in found:
                found[id(parent)] = parent
                waiting.append(parent)
    return found


@check
def check_02_topological_order(answer):
    _Node.deepest = _depth() + 200
    for graph, output in _graphs(_Node):
        try:
            with by_hand():
                order = answer(output)
        except RecursionError:
            raise Wrong(DEEP) from None
        _ordered(order, output, graph)
    return "Diamonds, shortcuts and a chain of 5000 nodes: each node once, after its parents."


def _ordered(order, output, graph):
    if not isinstance(order, list | tuple):
        raise Wrong(f"Return a list of nodes; yours is of type {type(order).__name__}.")
    place, all_nodes = {id(node): i for i, node in enumerate(order)}, _behind(output)
    if len(place) < len(order):
        raise Wrong(f"In the graph “{graph}” a node is in the list more than once: {len(order)} entries, {len(place)} nodes.")
    if strange := [node for node in order if id(node) not in all_nodes]:
        raise Wrong(f"In the graph “{graph}” the list holds something that is no node of it: {str(strange[0])[:60]}.")
    for node in order:
        for parent in node.given:
            if id(parent) not in place:
                raise Wrong(f"In the graph “{graph}” a parent of a node in the list is missing from it.")
            if place[id(parent)] > place[id(node)]:
                raise Wrong(
                    f"In the graph “{graph}” a node comes before one of its parents (places {place[id(node)]} and {place[id(parent)]}). "
                    "Append a node only when all its parents are in the list; output is the last."
                )
    if not order or order[-1] is not output:
        raise Wrong(f"In the graph “{graph}” the output is missing: it is the last of the list.")
    if len(order) < len(all_nodes):
        raise Wrong(f"In the graph “{graph}” the list has {len(order)} nodes; it should have {len(all_nodes)}.")


class _Step(_Node):
    """A node whose rules multiply by a number of their own; a rule hands out what the caller must not write into."""

    def __init__(self, *parents):
        super().__init__(*parents)
        self.factors = [1.0 if len(parents) == 1 else 0.5 + 0.25 * ((len(parents) + i) % 3) for i in range(len(parents))]
        self.data, self.calls = np.zeros(2), 0
        self.rules = tuple(self._rule(i) for i in range(len(parents)))

    def _rule(self, i):
        def rule(g):
            self.calls += 1
            if self.calls > 100 * len(self.given):
                raise Wrong("A rule was called again and again: walk the nodes in their order, each once, when its gradient is complete.")
            if np.shape(g) != (2,):
                raise Wrong(f"A rule was given a gradient of shape {np.shape(g)}; that of its node has shape (2,).")
            return g if self.factors[i] == 1 else g * self.factors[i]  # the very array that it was given, as the rule of a sum does

        return rule


def _gradients(output, upstream, mistake=""):
    order, waiting = list(_behind(output).values()), []
    seen = {}
    for node in order:
        for parent in node.given:
            seen[id(parent)] = seen.get(id(parent), 0) + 1
    found, waiting = {id(output): upstream}, [output]
    while waiting:  # a node's turn comes when all that used it are done
        node = waiting.pop()
        for parent, factor in zip(node.given, node.factors, strict=True):
            part = found[id(node)] * factor
            found[id(parent)] = part if mistake == "last" or id(parent) not in found else found[id(parent)] + part
            seen[id(parent)] -= 1
            if not seen[id(parent)]:
                waiting.append(parent)
    return order, found


@check
def check_02_walk_back(answer):
    _Node.deepest = _depth() + 200
    upstream = np.array([1.0, -2.0])
    for graph, output in _graphs(_Step):
        nodes, found = _gradients(output, upstream)
        _, last = _gradients(output, upstream, "last")
        wanted = [*nodes[-3:], output, _Step()]
        given = upstream.copy()
        try:
            with by_hand():
                got = answer(output, given, list(wanted))
        except RecursionError:
            raise Wrong(DEEP) from None
        if not np.array_equal(given, upstream):
            raise Wrong(f"In the graph “{graph}” the upstream gradient was changed: `+=` writes into an array that others use. Write a = a + b.")
        if not isinstance(got, list | tuple) or len(got) != len(wanted):
            raise Wrong(f"Return a list with a gradient for each node of `wanted`, here {len(wanted)}; yours is {type(got).__name__}.")
        if got[-1] is not None and np.any(numbers(got[-1])):
            raise Wrong("A node that the output does not depend on has no gradient: None.")
        for node, mine in zip(wanted[:-1], got, strict=False):
            if mine is None:
                raise Wrong(f"In the graph “{graph}” a node on the way has the gradient None" + (": the output itself." if node is output else "."))
            mine, right = numbers(mine), found[id(node)]
            if mine.shape == right.shape and close(mine, right, tolerance(mine, 1e-9)):
                continue
            if mine.shape == right.shape and close(mine, last[id(node)], 1e-9):
                raise Wrong(f"In the graph “{graph}” only the last path counts: what comes on several paths adds up.")
            said = worst(mine.astype(float), right).lstrip(": ") if mine.shape == right.shape else f"should have shape {right.shape}"
            raise Wrong(
                f"In the graph “{graph}” a gradient is wrong: {said}. A node's rules may be called when all that used the node is done; "
                "and an array that a rule returns may be the one that it was given, so nothing may be written into it."
            )
    return "An engine: order, walk, add. It has no limit but memory."


@check
def check_02_lookup_rule(answer):
    rng = np.random.default_rng(3)
    for ids in ([2, 0], [1, 1, 3], [3, 0, 3, 3], [2], [0, 0, 0, 1, 1, 3]):
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
    for n, i, o in [(2, 3, 4), (2, 2, 2), (1, 3, 1)]:
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
