r"""Where the boxes of a graph go: in layers, so that every edge points down, with few crossings; frames within frames.

A frame is laid out on its own and is one large box to its surroundings, so frames never overlap and no edge runs
through a box. Source: Sugiyama, Tagawa & Toda (1981): layers by longest path, dummies for long edges, order by
barycentres.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

GAP_X, GAP_Y, MARGIN = 0.28, 0.36, 0.16  # inches
Key = Hashable
Point = tuple[float, float]


@dataclass
class Box:
    """A node, or with ``children`` a frame; after ``arrange``, (x, y) is the middle of its upper edge, y downwards.

    ``reads`` lists the values that it takes, ``makes`` those that it gives.
    """

    key: Key
    width: float
    height: float
    reads: list[Key] = field(default_factory=list)
    makes: list[Key] = field(default_factory=list)
    children: list[Box] = field(default_factory=list)
    head: float = 0.0  # room for a frame's title
    x: float = 0.0
    y: float = 0.0
    routes: list[tuple[list[Point], bool]] = field(default_factory=list)  # each edge, and whether it ends at a node
    ins: dict[Key, float] = field(default_factory=dict)
    outs: dict[Key, float] = field(default_factory=dict)


def arrange(frame: Box) -> None:
    """Give every box inside ``frame`` its place and every edge its way; sets the frame's size."""
    for child in frame.children:
        if child.children:
            arrange(child)
    boxes = list(frame.children)
    inputs = [Box(("in", v), 0.05, 0.0, makes=[v]) for v in frame.reads]
    outputs = [Box(("out", v), 0.05, 0.0, reads=[v]) for v in frame.makes]
    boxes = [*inputs, *boxes, *outputs]
    maker = {v: i for i, b in enumerate(boxes) for v in b.makes}
    edges = [(maker[v], i, v) for i, b in enumerate(boxes) for v in b.reads if v in maker and maker[v] != i]
    rank = _ranks(boxes, edges, len(inputs), len(outputs))
    _place(frame, boxes, edges, rank)
    frame.ins = {v: b.x for b in inputs for v in b.makes}
    frame.outs = {v: b.x for b in outputs for v in b.reads}


def _ranks(boxes: Sequence[Box], edges: list[tuple[int, int, Key]], inputs: int, outputs: int) -> list[int]:
    """The layer of each box: the longest path to it; sources stand right above what reads them, ports at the rims."""
    below, above = defaultdict(list), defaultdict(list)
    for a, b, _ in edges:
        below[a].append(b)
        above[b].append(a)
    rank = [0] * len(boxes)
    waiting = [len(above[i]) for i in range(len(boxes))]
    ready = [i for i in range(len(boxes)) if not waiting[i]]
    while ready:
        i = ready.pop()
        for j in below[i]:
            rank[j] = max(rank[j], rank[i] + 1)
            waiting[j] -= 1
            if not waiting[j]:
                ready.append(j)
    if inputs:  # a frame's inputs have the top layer for themselves
        for i in range(inputs, len(boxes)):
            rank[i] = max(rank[i], 1)
    for i in range(inputs, len(boxes)):
        if not above[i] and below[i]:
            rank[i] = max(rank[i], min(rank[j] for j in below[i]) - 1)
    last = max([rank[i] for i in range(len(boxes) - outputs)], default=0) + 1
    for i in range(len(boxes) - outputs, len(boxes)):
        rank[i] = last
    return rank


def _place(frame: Box, boxes: list[Box], edges: list[tuple[int, int, Key]], rank: list[int]) -> None:
    """Order the layers, then give coordinates; long edges pass each layer at a dummy."""
    count = len(boxes)
    widths = [b.width for b in boxes]
    dummies: dict[tuple[Key, int], int] = {}  # a value passes a layer once, whoever reads it below
    links: dict[tuple[int, int], float] = {}  # how much further right than its upper end the lower end should stand
    chains: list[tuple[int, int, Key, list[int]]] = []
    for a, b, v in edges:
        chain = []
        for r in range(rank[a] + 1, rank[b]):
            if (v, r) not in dummies:
                dummies[v, r] = len(widths)
                widths.append(0.12)
                rank = [*rank, r]
            chain.append(dummies[v, r])
        chains.append((a, b, v, chain))
        stops = [a, *chain, b]
        for upper, lower in pairwise(stops):
            links[upper, lower] = (boxes[a].outs.get(v, 0.0) if upper == a else 0.0) - (
                boxes[b].ins.get(v, 0.0) if lower == b else 0.0
            )
    layers: list[list[int]] = [[] for _ in range(max(rank, default=0) + 1)]
    for i, r in enumerate(rank):
        layers[r].append(i)
    layers = _ordered(layers, set(links), len(widths))
    xs = _abscissas(layers, links, widths, count)
    _straighten(xs, layers, widths, [chain for *_, chain in chains if chain])

    heights = [max((boxes[i].height for i in layer if i < count), default=0.0) for layer in layers]
    ports = {rank[i] for i, b in enumerate(boxes) if _is_port(b)}
    tops, y = [], frame.head + (0.0 if 0 in ports else MARGIN)
    for r, h in enumerate(heights):
        tops.append(y)
        y += h + (GAP_Y if not {r, r + 1} & ports else 0.7 * GAP_Y)
    y -= 0.7 * GAP_Y if len(layers) - 1 in ports else GAP_Y
    left = min((xs[i] - widths[i] / 2 for layer in layers for i in layer), default=0.0)
    right = max((xs[i] + widths[i] / 2 for layer in layers for i in layer), default=0.0)
    frame.width = max(frame.width, right - left + 2 * MARGIN)
    frame.height = y + (0.0 if len(layers) - 1 in ports else MARGIN)
    centre = (left + right) / 2
    for i, box in enumerate(boxes):
        box.x = float(xs[i] - centre)
        box.y = tops[rank[i]] + (heights[rank[i]] - box.height) / 2
        if _is_port(box):
            box.y = 0.0 if box.makes else frame.height
    entries = _entries(boxes, chains, xs, centre)
    frame.routes = []
    uses, seen = Counter((b, v) for _, b, v, _ in chains), Counter[tuple[int, Key]]()
    for a, b, v, chain in chains:
        aside = 0.08 * (seen[b, v] - (uses[b, v] - 1) / 2)  # the arrows of x·x stand side by side
        seen[b, v] += 1
        source, target = boxes[a], boxes[b]
        points: list[Point] = [(source.x + source.outs.get(v, 0.0), source.y + source.height)]
        if _is_port(source):  # down past the frame's title
            points.append((points[0][0], tops[0]))
        elif source.height < heights[rank[a]]:
            points.append((points[0][0], tops[rank[a]] + heights[rank[a]]))
        for d in chain:
            points += [(xs[d] - centre, tops[rank[d]]), (xs[d] - centre, tops[rank[d]] + heights[rank[d]])]
        end = (target.x + (target.ins[v] if v in target.ins else entries[b, v]), target.y)
        if target.height < heights[rank[b]]:
            points.append((end[0], tops[rank[b]]))
        frame.routes.append(([(x + aside, y) for x, y in [*points, end]], not target.children and not _is_port(target)))


def _is_port(box: Box) -> bool:
    return isinstance(box.key, tuple)


def _entries(
    boxes: list[Box], chains: list[tuple[int, int, Key, list[int]]], xs: np.ndarray, centre: float
) -> dict[tuple[int, Key], float]:
    """Where on the upper edge of its box each edge ends: spread out, in the order from which they come."""
    incoming = defaultdict(list)
    for a, b, v, chain in chains:
        incoming[b].append((float(xs[chain[-1]] if chain else xs[a]), str(v), v))
    entries = {}
    for b, ends in incoming.items():
        ends.sort(key=lambda e: e[:2])
        step = min(0.45, 0.7 * boxes[b].width / max(1, len(ends)))
        for k, (_, _, v) in enumerate(ends):
            entries[b, v] = (k - (len(ends) - 1) / 2) * step
    return entries


def crossings(layers: Sequence[Sequence[int]], links: set[tuple[int, int]]) -> int:
    """How many pairs of edges between neighbouring layers cross."""
    total = 0
    for upper, lower in pairwise(layers):
        up, low = {i: k for k, i in enumerate(upper)}, {i: k for k, i in enumerate(lower)}
        pairs = sorted((up[a], low[b]) for a, b in links if a in up and b in low)
        ends = [b for _, b in pairs]
        total += sum(
            pairs[i][0] < pairs[j][0] and ends[i] > ends[j] for i in range(len(ends)) for j in range(i + 1, len(ends))
        )
    return total


def _ordered(layers: list[list[int]], links: set[tuple[int, int]], n: int) -> list[list[int]]:
    """Sweep down and up, each layer sorted by the mean place of its neighbours; keep the order with the fewest
    crossings."""
    up, down = defaultdict(list), defaultdict(list)
    for a, b in sorted(links):
        down[a].append(b)
        up[b].append(a)
    best, fewest = [list(layer) for layer in layers], crossings(layers, links)
    for sweep in range(12):
        if not fewest:
            break
        place = np.zeros(n)
        for layer in layers:
            for k, i in enumerate(layer):
                place[i] = k - len(layer) / 2
        towards = up if sweep % 2 == 0 else down
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            layer.sort(key=lambda i: float(np.mean([place[j] for j in towards[i]])) if towards[i] else place[i])
            for k, i in enumerate(layer):
                place[i] = k - len(layer) / 2
        now = crossings(layers, links)
        if now < fewest:
            best, fewest = [list(layer) for layer in layers], now
    return best


def _abscissas(
    layers: list[list[int]], links: dict[tuple[int, int], float], widths: list[float], count: int
) -> np.ndarray:
    """The x of every box and dummy: near its neighbours' mean, in the order given, without overlap; dummies
    straightest."""
    xs = np.zeros(len(widths))
    neighbours = defaultdict(list)
    for (a, b), shift in links.items():
        weight = 1.0 if a < count and b < count else 4.0 if a >= count and b >= count else 2.0
        neighbours[a].append((b, -shift, weight))
        neighbours[b].append((a, shift, weight))
    offsets = []
    for layer in layers:
        at, middles = 0.0, []
        for k, i in enumerate(layer):
            at += (widths[layer[k - 1]] / 2 + GAP_X if k else 0.0) + widths[i] / 2
            middles.append(at)
            xs[i] = at
        middle = at / 2
        for i in layer:
            xs[i] -= middle
        offsets.append(np.array(middles))
    for sweep in range(80):  # later sweeps weigh a link less the longer it is, so that most become straight
        pairs = list(zip(layers, offsets, strict=True))
        for layer, places in pairs if sweep % 2 == 0 else pairs[::-1]:
            wanted, weights = [], []
            for i in layer:
                near = [
                    (xs[j] + s, w / max(abs(xs[j] + s - xs[i]), 0.05) if sweep > 20 else w) for j, s, w in neighbours[i]
                ]
                total = sum(w for _, w in near)
                wanted.append(sum(x * w for x, w in near) / total if near else xs[i])
                weights.append(max(total, 0.1))
            xs[layer] = _increasing(np.array(wanted) - places, np.array(weights)) + places
    return xs


def _straighten(xs: np.ndarray, layers: list[list[int]], widths: list[float], chains: list[list[int]]) -> None:
    """Stand the dummies of a long edge exactly above each other where their neighbours leave room."""
    room = {}
    for layer in layers:
        for k, i in enumerate(layer):
            room[i] = (layer[k - 1] if k else None, layer[k + 1] if k + 1 < len(layer) else None)
    for chain in chains:
        low, high = -np.inf, np.inf
        for i in chain:
            left, right = room[i]
            low = max(low, -np.inf if left is None else xs[left] + (widths[left] + widths[i]) / 2 + GAP_X / 2)
            high = min(high, np.inf if right is None else xs[right] - (widths[right] + widths[i]) / 2 - GAP_X / 2)
        if low <= high:
            xs[chain] = np.clip(np.median(xs[chain]), low, high)


def _increasing(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The non-decreasing sequence nearest to ``values`` in least squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        pools.append((float(value), float(weight), 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (v1, w1, n1), (v2, w2, n2) = pools[-2:]
            pools[-2:] = [((v1 * w1 + v2 * w2) / (w1 + w2), w1 + w2, n1 + n2)]
    return np.repeat([v for v, _, _ in pools], [n for _, _, n in pools])
