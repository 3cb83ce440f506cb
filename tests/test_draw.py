"""The graph as a picture: everything that was recorded is there, nothing covers anything, and drawing leaves no trace."""

from itertools import pairwise

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.byhand.draw import Box, arrange, crossings, module_calls
from transformer import GPT
from transformer.layers import EncoderLayer


def attention():
    """Three words, in plain operators."""
    rng = np.random.default_rng(0)
    X, W_Q, W_K, W_V = (mg.Tensor(rng.normal(size=s), requires_grad=True) for s in ((3, 4), (4, 2), (4, 2), (4, 2)))
    Q, K, V = X @ W_Q, X @ W_K, X @ W_V
    P = mg.softmax(Q @ K.mT / np.sqrt(2))
    O = P @ V
    loss = mg.cross_entropy(O, [0, 1, 1])
    return loss, locals()


def block():
    mg.manual_seed(0)
    module = EncoderLayer(8, 2, norm_first=True, activation="gelu")
    x = mg.Tensor(np.random.default_rng(0).normal(size=(2, 5, 8)), requires_grad=True, dtype=np.float32, name="x")
    return module, lambda: module(x, causal=True)


def gpt(**options):
    mg.manual_seed(0)
    model, ids = GPT(7, 8, 2, 2, 6, **options), np.array([[1, 2, 3, 4]])
    return model, lambda: mg.cross_entropy(model(ids), ids)


# What is drawn -----------------------------------------------------------------------------------------------------------


def test_every_tensor_of_the_graph_is_a_node_with_its_name_shape_and_op():
    loss, names = attention()
    nodes = {n.name: n for n in mg.draw(loss, names=names).nodes}
    assert set(nodes) == {"X", "W_Q", "W_K", "W_V", "Q", "K", "V", "Kᵀ", "A", "S", "P", "O", "loss"}
    assert [nodes[n].op for n in ("Q", "P", "S", "loss", "X")] == ["matmul", "softmax", "/ √2", "cross_entropy", ""]
    assert (nodes["Q"].shape, nodes["X"].kind, nodes["Q"].kind) == ((3, 2), "leaf", "op")
    assert nodes["Q"].inputs == [nodes["X"].key, nodes["W_Q"].key]


def test_constants_are_told_from_leaves_and_numbers_stand_on_the_op():
    x, c = mg.Tensor([1.0, 2.0], requires_grad=True, name="x"), mg.Tensor([3.0, 4.0], name="c")
    nodes = {n.name: n for n in mg.draw((2 * x + c).sum()).nodes}
    assert (nodes["c"].kind, nodes["x"].kind) == ("constant", "leaf")
    assert {n.op for n in nodes.values()} == {"", "2 ×", "+", "sum"}


def test_variables_without_axes_are_drawn_with_their_edges():
    w, x, t = (mg.Tensor(v, requires_grad=True, name=n) for v, n in ((2.0, "w"), (3.0, "x"), (4.0, "t")))
    nodes = {node.name: node for node in mg.draw((w * x - t) ** 2).nodes}
    assert {"w", "x", "t"} <= nodes.keys()
    assert sum(len(node.inputs) for node in nodes.values()) == 5  # ×: w and x, −: its result and t, square


def test_modules_become_frames_and_their_parameters_are_written_into_the_ops():
    module, run = block()
    drawing = mg.draw(run, module=module)
    (frame,) = drawing.root.frames
    assert [(f.name, f.kind) for f in frame.frames] == [("self_attention", "MultiHeadAttention"), ("ffn", "FeedForward")]
    inside = {n.module: n for n in frame.frames[0].nodes}
    assert {"q_proj", "k_proj", "v_proj", "out_proj"} <= set(inside)
    assert inside["q_proj"].parameters == ["weight 8×8", "bias 8"]
    assert [n.op for n in frame.nodes if n.module == ""] == ["+", "+"]
    assert [n.name for n in drawing.root.nodes] == ["x"]


def test_a_module_that_is_called_twice_has_two_frames():
    pair = nn.Sequential(nn.Linear(2, 2), mg.relu, nn.Linear(2, 2))
    x = mg.Tensor(np.ones((1, 2)), requires_grad=True, dtype=np.float32)
    drawing = mg.draw(lambda: pair(pair(x)).sum(), module=pair)
    assert [f.kind for f in drawing.root.frames] == ["Sequential", "Sequential"]
    assert all(sorted(n.op for n in f.nodes) == ["linear", "linear", "relu"] for f in drawing.root.frames)


def test_gradients_are_the_engines():
    loss, names = attention()
    drawing = mg.draw(loss, show="gradients", names=names)
    loss.backward()
    nodes = {n.name: n for n in drawing.nodes}
    for name in ("X", "W_Q", "W_K", "W_V"):
        np.testing.assert_array_equal(nodes[name].gradient, names[name].grad.data)


def test_drawing_leaves_no_trace_on_the_modules_or_the_graph():
    module, run = block()
    before = {id(m): dict(m.__dict__) for m in module.modules()}
    out = run()
    mg.draw(run, module=module)
    with pytest.raises(ZeroDivisionError), module_calls(module):
        _ = 1 / 0
    assert all(m.__dict__ == before[id(m)] for m in module.modules())
    np.testing.assert_array_equal(run().data, out.data)
    loss = (out * out).sum()
    mg.draw(loss, show="gradients")
    loss.backward()
    assert module.norm1.weight.grad is not None


# How it is drawn ---------------------------------------------------------------------------------------------------------


def placed(figure):
    """The rectangles of nodes, the rectangles of frames, and the edges as points, from what was painted."""
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    (axes,) = figure.axes
    boxes = [p for p in axes.patches if isinstance(p, FancyBboxPatch)]
    nodes = [(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in boxes if p.get_zorder() == 6]
    frames = [(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in boxes if p.get_zorder() < 6]
    arrows = [p._path_original for p in axes.patches if isinstance(p, FancyArrowPatch)]
    return nodes, frames, [np.concatenate(path.to_polygons(closed_only=False)) for path in arrows]


def apart(a, b):
    return a[0] + a[2] <= b[0] + 1e-6 or b[0] + b[2] <= a[0] + 1e-6 or a[1] + a[3] <= b[1] + 1e-6 or b[1] + b[3] <= a[1] + 1e-6


def within(a, b):
    return b[0] <= a[0] + 1e-6 and b[1] <= a[1] + 1e-6 and a[0] + a[2] <= b[0] + b[2] + 1e-6 and a[1] + a[3] <= b[1] + b[3] + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("options", [None, {}, {"positions": "rotary", "norm": "rms", "ffn": "swiglu"}])
def test_no_box_covers_another_and_no_edge_runs_through_one(options):
    if options is None:
        loss, names = attention()
        drawing = mg.draw(loss, show="gradients", names=names)
    else:
        model, run = gpt(**options)
        drawing = mg.draw(run, module=model)
    nodes, frames, edges = placed(drawing.figure)
    assert len(nodes) == len(drawing.nodes)
    assert len(edges) >= sum(len(set(n.inputs)) for n in drawing.nodes)  # an edge that enters a frame is painted in parts
    for i, a in enumerate(nodes):
        assert all(apart(a, b) for b in nodes[i + 1 :])
        assert all(apart(a, f) or within(a, f) for f in frames)
    for i, f in enumerate(frames):
        assert all(apart(f, g) or within(f, g) or within(g, f) for g in frames[i + 1 :])
    for points in edges:
        for p, q in pairwise(points):
            for t in np.linspace(0, 1, 8):
                x, y = p + t * (q - p)
                for left, top, width, height in nodes:
                    assert not (left + 1e-6 < x < left + width - 1e-6 and top + 1e-6 < y < top + height - 1e-6)


def test_edges_point_down():
    model, run = gpt()
    _, _, edges = placed(mg.draw(run, module=model).figure)
    assert all((np.diff(points[:, 1]) >= -1e-6).all() for points in edges)


def test_text_stays_inside_its_box():
    loss, names = attention()
    figure = mg.draw(loss, show="gradients", names=names).figure
    nodes, _, _ = placed(figure)
    figure.canvas.draw()
    (axes,) = figure.axes
    for text in axes.texts:
        corners = axes.transData.inverted().transform(text.get_window_extent())
        x, y = np.mean(corners, axis=0)
        (box,) = [b for b in nodes if b[0] < x < b[0] + b[2] and b[1] < y < b[1] + b[3]]
        assert box[0] <= corners[:, 0].min() and corners[:, 0].max() <= box[0] + box[2], text.get_text()
        assert box[1] <= corners[:, 1].min() + 0.02 and corners[:, 1].max() <= box[1] + box[3] + 0.02, text.get_text()


def test_crossings_are_taken_out():
    leaves = [Box(f"x{i}", 1, 1, makes=[f"x{i}"]) for i in range(4)]
    reading = [Box(f"y{i}", 1, 1, reads=[f"x{3 - i}"], makes=[f"y{i}"]) for i in range(4)]
    frame = Box("all", 0, 0, children=[*leaves, *reading])
    arrange(frame)
    order = sorted(leaves, key=lambda b: b.x)
    assert [b.key[1] for b in order] == [b.reads[0][1] for b in sorted(reading, key=lambda b: b.x)]
    assert crossings([[0, 1], [2, 3]], {(0, 3), (1, 2)}) == 1
    assert crossings([[0, 1], [2, 3]], {(0, 2), (1, 3)}) == 0


def test_large_graphs_show_shapes_small_ones_values():
    loss, names = attention()
    assert mg.draw(loss, names=names).show == "values"
    x = mg.Tensor(np.ones(3), requires_grad=True)
    for _ in range(40):
        x = mg.sin(x)
    assert mg.draw(x.sum()).show == "shapes"


# Files and text ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_is_shown_saved_and_described(tmp_path):
    loss, names = attention()
    drawing = mg.draw(loss, names=names)
    assert drawing._repr_png_().startswith(b"\x89PNG")
    for ending, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        drawing.save(tmp_path / f"graph.{ending}")
        assert (tmp_path / f"graph.{ending}").read_bytes().startswith(start)
    assert "13 nodes" in repr(drawing)
    with pytest.raises(ValueError, match=r"should end in \.png"):
        drawing.save(tmp_path / "graph.dot")


def test_dot_and_mermaid_hold_the_same_nodes_edges_and_frames():
    module, run = block()
    drawing = mg.draw(run, module=module)
    dot, mermaid = drawing.to_dot(), drawing.to_mermaid()
    edges = sum(len(set(n.inputs)) for n in drawing.nodes)
    assert dot.count(" -> ") == mermaid.count(" --> ") == edges
    assert dot.count("subgraph cluster_") == mermaid.count("subgraph g") == mermaid.count("\n  end") + mermaid.count("    end") == 3
    assert dot.count("{") == dot.count("}")
    assert 'label="layer_norm\\nnorm1' in dot and "<b>layer_norm</b><br/>norm1" in mermaid
    assert drawing.to_dot() == mg.draw(run, module=module).to_dot()


def test_names_are_escaped():
    x = mg.Tensor([1.0], requires_grad=True, name='a "quoted" name')
    assert '\\"quoted\\"' in mg.draw(x.sum()).to_dot()
    assert "#quot;quoted#quot;" in mg.draw(x.sum()).to_mermaid()


def test_mistakes_are_answered_with_what_to_do():
    module, run = block()
    out = run()
    with pytest.raises(TypeError, match=r"draw\(lambda: model\(ids\), module=model\)"):
        mg.draw(out, module=module)
    with pytest.raises(ValueError, match="expected one of 'auto', 'shapes', 'values', 'gradients'"):
        mg.draw(out, show="grads")
    with pytest.raises(RuntimeError, match="draw: this tensor does not require grad"):
        mg.draw(mg.Tensor([1.0]))
    with pytest.raises(TypeError, match="draw: expected a Tensor, got ndarray"):
        mg.draw(np.ones(3))
    loss = out.sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"Call draw before backward\(\)"):
        mg.draw(loss)
