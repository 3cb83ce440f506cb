"""The pictures, read back from their axes."""

import itertools

import numpy as np
import pytest
from matplotlib.text import Text

from transformer import plots


def maps(heads=2, queries=3, keys=4, seed=0):
    w = np.random.default_rng(seed).random((heads, queries, keys))
    return w / w.sum(-1, keepdims=True)


def panels(fig):
    return [ax for ax in fig.axes if ax.images]


def test_attention_maps_have_keys_across_and_queries_down():
    keys, queries = ["a", "b", "c", "d"], ["X", "Y", "Z"]
    weights = [maps(seed=0), maps(seed=1)]
    fig = plots.plot_attention(weights, keys, queries)
    axes = panels(fig)
    assert len(axes) == 4
    for n, ax in enumerate(axes):
        assert ax.get_xticks().tolist() == [0, 1, 2, 3] and ax.get_yticks().tolist() == [0, 1, 2]
        assert np.array_equal(ax.images[0].get_array(), weights[n // 2][n % 2])  # a row of the picture is a query
        assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first query at the top
        assert ax.images[0].get_clim() == (0, 1)
    for ax in axes[2:]:  # labels stand below the lowest row and left of the first column
        assert [t.get_text() for t in ax.get_xticklabels()] == keys
    for ax in axes[::2]:
        assert [t.get_text() for t in ax.get_yticklabels()] == queries
    assert [ax.get_title() for ax in axes] == ["head 1", "head 2", "", ""]
    assert [ax.get_ylabel() for ax in axes] == ["layer 1", "", "layer 2", ""]
    assert "key" in fig.get_supxlabel() and "query" in fig.get_supylabel()


def test_self_attention_has_the_same_tokens_on_both_axes():
    (ax,) = panels(plots.plot_attention([maps(1, 3, 3)], ["a", "b", "c"]))
    assert [t.get_text() for t in ax.get_xticklabels()] == [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("weights", "keys", "queries"),
    [
        ([maps()], ["a", "b", "c"], None),  # source tokens on both sides of a cross-attention
        ([maps()], ["a", "b", "c"], ["w", "x", "y", "z"]),  # swapped
        ([maps()[0]], ["a", "b", "c", "d"], ["x", "y", "z"]),  # no axis of heads
        ([maps(), maps(keys=3)], ["a", "b", "c", "d"], ["x", "y", "z"]),
    ],
)
def test_attention_maps_refuse_labels_that_do_not_fit(weights, keys, queries):
    with pytest.raises(ValueError, match=r"plot_attention: layer \d has weights .*queries.*keys"):
        plots.plot_attention(weights, keys, queries)


def test_layers_with_fewer_heads_leave_their_places_empty():
    fig = plots.plot_attention([maps(3), maps(1)], list("abcd"), list("xyz"))
    assert len(panels(fig)) == 4
    assert sum(not ax.get_visible() for ax in fig.axes) == 2


def test_tokens_that_look_like_formulas_are_drawn_as_they_are(tmp_path):
    tokens = ["$x_", "$", "\\frac", "_^{"]
    fig = plots.plot_attention([maps(1, 4, 4)], tokens)
    plots.save(fig, tmp_path / "a.png")
    assert [t.get_text() for t in panels(fig)[0].get_xticklabels()] == tokens


def test_the_loss_curve_names_its_axes_and_lines():
    losses = np.linspace(4, 2, 80).tolist()
    fig = plots.plot_loss(range(1, 81), losses, [(40, 3.1), (80, 2.2)], {"uniform": 4.2, "bigram": 2.5})
    (ax,) = fig.axes
    assert ax.get_xlabel() == "training step" and ax.get_ylabel() == "loss (nats per token)"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["training", "validation"]
    assert [t.get_text() for t in ax.texts] == ["bigram 2.50", "uniform 4.20"]
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["validation"].get_xydata().tolist() == [[40, 3.1], [80, 2.2]]
    np.testing.assert_allclose(lines["training"].get_ydata(), plots.smooth(losses, 2))
    assert np.array_equal(ax.lines[0].get_xdata(), np.arange(1, 81))
    assert np.array_equal(ax.lines[0].get_ydata(), losses)


def test_names_of_lines_stand_beside_the_curves_and_never_on_each_other():
    lines = {"uniform": 4.6, "bigram": 2.3, "3-gram": 1.7, "4-gram": 1.40, "5-gram": 1.32, "6-gram": 1.31}
    fig = plots.plot_loss([1, 2, 3], [4.7, 2.0, 1.2], baselines=lines)
    fig.canvas.draw()
    boxes = sorted((Text.get_window_extent(t) for t in fig.axes[0].texts), key=lambda box: box.y0)  # without their pointers
    assert len(boxes) == 6 and all(above.y0 >= below.y1 - 1 for below, above in itertools.pairwise(boxes))
    assert min(box.x0 for box in boxes) > fig.axes[0].get_window_extent().x1


def test_the_loss_of_a_single_step_can_be_drawn(tmp_path):
    plots.save(plots.plot_loss([1], [3.0]), tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_smoothing_takes_the_mean_of_each_value_and_those_before_it():
    np.testing.assert_allclose(plots.smooth([1, 2, 3, 4], 2), [1, 1.5, 2.5, 3.5])
    np.testing.assert_allclose(plots.smooth([1, 2, 3, 4], 1), [1, 2, 3, 4])
    np.testing.assert_allclose(plots.smooth([1, 2, 3], 10), [1, 1.5, 2])
    assert plots.smooth([], 3).size == 0


def test_a_picture_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def half_written(file, **kwargs):
        file.write(b"half")
        raise RuntimeError("out of ink")

    fig, _ = plots.figure(2, 1)
    monkeypatch.setattr(fig, "savefig", half_written)
    with pytest.raises(RuntimeError):
        plots.save(fig, path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_figure_is_a_picture_in_a_notebook():
    fig, ax = plots.figure(2, 1)
    ax.plot([0, 1])
    assert fig._repr_png_().startswith(b"\x89PNG")


def test_a_matrix_is_drawn_first_row_on_top_with_numbers_that_can_be_read():
    _, ax = plots.figure(3, 3)
    matrix = np.array([[0.0, 1.0, -0.5]])
    image = plots.draw_matrix(ax, matrix, ["q"], ["a", "b", "c"], ".1f", 0, 1)
    assert np.array_equal(image.get_array(), matrix) and image.get_clim() == (0, 1)
    assert [(t.get_text(), t.get_color()) for t in ax.texts] == [("0.0", "black"), ("1.0", "white"), ("−0.5", "black")]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b", "c"]


def test_a_label_longer_than_its_figure_is_broken_and_a_short_one_stays():
    fig, (left, right) = plots.figure(6, 2.8, columns=2)
    left.set_ylabel("a label that is a good deal longer than three inches of height")
    right.set_ylabel("short one")
    right.set_xlabel("a word")
    fig._repr_png_()
    assert left.get_ylabel().count("\n") == 1 and right.get_ylabel() == "short one" and right.get_xlabel() == "a word"
    fig.draw_without_rendering()
    box = left.yaxis.label.get_window_extent()
    assert box.y0 >= 0 and box.y1 <= fig.bbox.y1
