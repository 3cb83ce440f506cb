"""The PyTorch twins of benchmarks/tasks.md say what ours say, from the same weights: with any batch, and step by step."""

import numpy as np
import pytest

from minigrad import manual_seed
from transformer.checks import shaken
from transformer.data.codec import BEGIN, END, PAD, Codec
from transformer.data.tokenizers import CharTokenizer
from transformer.decoding.translate import translate
from transformer.models.build import build_model
from transformer.training import recipes

TOKENIZER = CharTokenizer(PAD + BEGIN + END + "abcdefgh ")


@pytest.fixture
def twin_of():
    pytest.importorskip("torch", reason="PyTorch is not installed: there is nothing to be compared with")
    from benchmarks import pytorch_tasks as twins

    def make(task):
        config = recipes.configuration(task, None, {"width": 16, "heads": 2}, TOKENIZER)
        manual_seed(0)
        ours = shaken(build_model(config), np.random.default_rng(0)).astype(np.float32).eval()
        twin = getattr(twins, config["kind"])(**config["model"])
        twin.load_ours(ours)
        return ours, twins.AsOurs(twin, ours.max_length, ours.vocab_size).eval()

    return make


@pytest.mark.torch
@pytest.mark.parametrize("task", ["entities", "roles", "answers", "headlines", "strings", "reviews"])
def test_a_twin_gives_the_logits_of_ours(task, twin_of):
    ours, twin = twin_of(task)
    rng = np.random.default_rng(1)
    ids, mask = rng.integers(0, 12, (3, 9)), np.arange(9) < np.array([[9], [4], [7]])
    segments, targets = rng.integers(0, 2, (3, 9)), rng.integers(0, 12, (3, 5))
    read = {"reviews": (), "headlines": (targets,), "strings": (targets,)}.get(task, (segments,))
    found, expected = (model(ids, mask, *read).data for model in (twin, ours))
    if task in ("entities", "roles"):
        found, expected = found[mask], expected[mask]  # of padding they may say what they like
    if task == "answers":
        found, expected = (logits.swapaxes(1, 2)[mask] for logits in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.torch
def test_a_twin_writes_the_summaries_of_ours(twin_of):
    ours, twin = twin_of("headlines")
    texts = ["abc", "hg fed", "a b c d e f g h", "b"]
    written = [translate(model, Codec(TOKENIZER), texts, 12) for model in (ours, twin)]
    assert written[0] == written[1] and len(set(written[0])) > 1
