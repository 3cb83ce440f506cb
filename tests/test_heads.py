"""A head on a body that others trained: MiniLM learns to tag in three ways; and ours opens in transformers."""

import numpy as np
import pytest

from minigrad import manual_seed, no_grad
from transformer import SpanReader, Tagger
from transformer.compression.adapters import add_adapters, merge_adapters
from transformer.data.codec import Pieces
from transformer.data.tasks import PairTask, Tagged
from transformer.models.build import build_model
from transformer.pretrained import load_pretrained, load_sentence_encoder, save_pretrained
from transformer.training import recipes
from transformer.training.loop import Trainer
from transformer.training.settings import Settings
from transformer.training.tagging import Tagging

LABELS = ("O", "B-LOC")
TOWNS = ("Paris", "Rome", "Oslo", "Cairo", "Lima", "Delhi", "Kyoto", "Quito", "London", "Boston")


def towns():
    """A lesson of a minute: which word is a town."""
    pairs = tuple(
        Tagged(tuple(f"{who} went to {town}".split()), ("O", "O", "O", "B-LOC"), f"{who} {town}")
        for who in ("She", "Anna", "Nobody", "He") for town in TOWNS
    )  # fmt: skip
    return PairTask("towns", "", pairs=pairs, every=4)


@pytest.mark.weights
@pytest.mark.parametrize("how", ["frozen", "adapters", "whole"])
@pytest.mark.slow
def test_minilm_learns_to_tag_under_a_head(how, minilm, capsys):
    encoder = load_sentence_encoder()
    manual_seed(0)
    model = Tagger(encoder.model, LABELS)
    if how == "adapters":
        add_adapters(model.bert, rank=2)
    for p in model.bert.parameters() if how == "frozen" else ():
        p.requires_grad = False
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    work = Tagging(towns(), encoder.tokenizer, LABELS)
    rate = {"frozen": 2e-2, "adapters": 5e-3, "whole": 3e-4}[how]
    settings = Settings(steps=12, batch_size=8, lr=rate, warmup=1, evaluate_every=12, sample_tokens=0)
    trainer = Trainer(model, work, settings)
    trainer.train()
    assert np.mean(trainer.losses[-3:]) < 0.6 * np.mean(trainer.losses[:2])
    changed = {name for name, p in model.named_parameters() if not np.array_equal(p.data, before[name])}
    if how == "frozen":
        assert changed == {"head.weight", "head.bias"}
    elif how == "adapters":
        assert {name.rpartition(".")[2] for name in changed} == {"A", "B", "weight", "bias"}
        assert {name for name in changed if not name.endswith((".A", ".B"))} == {"head.weight", "head.bias"}
    else:
        assert {"bert.token_embedding.weight", "bert.encoder.layers.0.ffn.up.weight", "head.weight"} <= changed
    if how == "adapters":
        ids = work.collate(towns().pairs[:2])[0]
        with no_grad():
            adapted = model.eval()(*ids).data
            merge_adapters(model.bert)
            np.testing.assert_allclose(model(*ids).data, adapted, atol=1e-4)


@pytest.mark.slow
@pytest.mark.weights
def test_a_trained_tagger_and_a_reader_on_minilm_open_in_the_transformers_library(library, minilm, tmp_path):
    """The tagger of a run with its own tokenizer, and a new head on MiniLM's body with MiniLM's."""
    tokenizer = recipes.make_tokenizer("entities")
    manual_seed(0)
    tagger = build_model(recipes.configuration("entities", None, {"width": 16, "layers": 1}, tokenizer)).eval()
    save_pretrained(tagger, tmp_path / "tagger", tokenizer)
    theirs = library.transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "tagger")
    assert [theirs.config.id2label[i] for i in range(9)] == list(tagger.labels)
    encoder = load_sentence_encoder()
    reader = SpanReader(encoder.model).eval()
    save_pretrained(reader, tmp_path / "reader", encoder.tokenizer)
    reading = library.transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path / "reader")
    for ours, other, pieces in ((tagger, theirs, Pieces(tokenizer)), (reader, reading, Pieces(encoder.tokenizer))):
        questions = [[["Who", "ran", "?"], ["Jordan", "ran"]], [["Where", "?"], ["Rome"]]]
        arrays = pieces.arrays([pieces.row(parts, 96) for parts in questions])
        inputs = dict(zip(("ids", "mask", "segments"), arrays, strict=True))
        expected = library.ask(other.eval(), inputs).detach().numpy()
        with no_grad():
            logits = ours(*arrays).data
        real = arrays.mask.astype(bool)
        if ours is reader:
            logits, expected = logits.swapaxes(1, 2), expected.swapaxes(1, 2)
        np.testing.assert_allclose(logits[real], expected[real], atol=1e-4)
    np.testing.assert_array_equal(load_pretrained(tmp_path / "tagger").head.weight.data, tagger.head.weight.data)


@pytest.mark.slow
def test_a_reader_with_distances_in_its_attention_has_no_format(tmp_path):
    tokenizer = recipes.make_tokenizer("roles")
    reader = build_model(recipes.configuration("answers", None, {"width": 16, "layers": 1}, tokenizer))
    with pytest.raises(ValueError, match="this SpanReader has other positions than learned ones"):
        save_pretrained(reader, tmp_path / "x")
    assert not (tmp_path / "x").exists()
