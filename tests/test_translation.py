"""From one sequence to another: the shift, padding, greedy and beam decoding with and without cache, and what theory says of positions."""

import io
import itertools
import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import cross_entropy
from transformer import CharTokenizer, Codec, Seq2SeqRNN, Trainer, Transformer, translate
from transformer.data.codec import BEGIN, END, PAD
from transformer.data.corpora import IGNORE_INDEX
from transformer.data.tasks import Pair, PairTask, copying, reversal
from transformer.decoding.beams import beam_hypotheses
from transformer.decoding.translate import GivenSource, cross_attention
from transformer.evaluation.metrics import exact_match
from transformer.positions import Positions
from transformer.training import translation
from transformer.training.settings import Settings
from transformer.training.translation import Translation

TOKENIZER = CharTokenizer(PAD + BEGIN + END + "abcdef")
CODEC = Codec(TOKENIZER)
TEXTS = ["abc", "", "fedcba", "a", "ffff"]


def model(kind="transformer", positions=None):
    mg.manual_seed(1)
    if kind == "transformer":
        made = Transformer(9, 8, 2, 2, max_length=16, positions=positions)
    else:
        made = Seq2SeqRNN(9, 6, 8, attention=kind == "attention", max_length=16)
    for p in made.parameters():  # an untrained model has few opinions
        p.data = p.data * 3
    return made.astype(np.float64).eval()


MODELS = ["transformer", "attention", "rnn"]


def test_the_decoder_reads_the_target_shifted_by_one():
    read, said = CODEC.targets(["ab", "cdef"], IGNORE_INDEX)
    b, e = CODEC.begin, CODEC.end
    assert read.tolist() == [[b, 3, 4, 0, 0], [b, 5, 6, 7, 8]]
    assert said.tolist() == [[3, 4, e, -100, -100], [5, 6, 7, 8, e]]
    ids, mask = CODEC.sources(["ab", ""])
    assert ids.tolist() == [[3, 4, e], [e, 0, 0]] and mask.tolist() == [[True] * 3, [True, False, False]]


def test_a_text_comes_back_from_its_ids_and_what_follows_the_end_is_ignored():
    assert CODEC.decode([CODEC.begin, 3, 4, CODEC.end, 5, 5]) == "ab"
    assert CODEC.decode([3, 4, CODEC.pad]) == "ab"


def test_a_tokenizer_without_the_control_characters_is_refused():
    with pytest.raises(ValueError, match="cannot encode"):
        Codec(CharTokenizer("abc"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_the_loss_of_a_padded_batch_is_that_of_its_pairs_token_by_token(kind):
    objective, m = Translation(copying("abcdef", 3), TOKENIZER), model(kind)
    pairs = [Pair(text, text[::-1] + "b", text) for text in TEXTS]
    alone = [(objective.loss(m, objective.collate([pair])).item(), len(pair.target) + 1) for pair in pairs]
    expected = sum(loss * n for loss, n in alone) / sum(n for _, n in alone)
    assert objective.loss(m, objective.collate(pairs)).item() == pytest.approx(expected, abs=1e-12)


def pairs_of(*texts):
    return tuple(Pair(text, text[::-1], text) for text in texts)


def test_a_limit_of_evaluation_is_that_of_the_targets_and_one_pair_at_least():
    work, m = Translation(PairTask("small", "", pairs=pairs_of(*(a + b for a in "abcdef" for b in "abcdef")), every=3), TOKENIZER), model()
    each = [work.loss(m, work.collate([pair])).item() for pair in work.validation]  # of three tokens, END included
    for limit, count in ((1, 1), (7, 2), (None, len(each)), (10**6, len(each))):
        assert work.evaluate(m, limit) == pytest.approx(np.mean(each[:count]))


def test_a_task_of_few_pairs_is_tested_on_each_of_its_parts_and_others_on_what_is_held_out(monkeypatch):
    monkeypatch.setattr(translation, "translate", lambda model, codec, texts, **_: [text[::-1] for text in texts])
    few, many = (PairTask("listed", "", pairs=pairs_of(*map(str, range(n))), every=3) for n in (999, 1000))
    for task, parts in ((few, ("test", "validation", "training")), (many, ("test",)), (reversal("abcdef", 3), ("test",))):
        found = Translation(task, TOKENIZER).test(None)
        assert found.keys() == {*(f"{part} exact match" for part in parts), "examples"}
        assert all(found[f"{part} exact match"].rate == 1 for part in parts)


@pytest.mark.parametrize("kind", MODELS)
def test_greedy_decoding_is_the_largest_logit_again_and_again(kind):
    m = model(kind)
    for text, written in zip(TEXTS, translate(m, CODEC, TEXTS, 7), strict=True):
        ids, so_far = CODEC.encode(text)[None], [CODEC.begin]
        while len(so_far) < 8 and so_far[-1] != CODEC.end:
            so_far.append(int(m(ids, None, np.array([so_far])).data[0, -1].argmax()))
        assert written == CODEC.decode(so_far)


@pytest.mark.parametrize("kind", MODELS)
def test_beams_of_texts_of_one_length_are_those_of_each_alone(kind):
    m, texts = model(kind), ["abc", "fed", "cab"]
    assert translate(m, CODEC, texts, 7, num_beams=2) == [translate(m, CODEC, [text], 7, num_beams=2)[0] for text in texts]


@pytest.mark.parametrize("kind", MODELS)
def test_beam_search_with_one_beam_is_greedy_and_with_more_never_worse_than_its_own_choice(kind):
    m = model(kind)
    assert translate(m, CODEC, TEXTS, 7, num_beams=1) == translate(m, CODEC, TEXTS, 7)
    for text, beams in itertools.product(("abc", "ef"), (2, 3)):
        ids = CODEC.encode(text)[None]
        given = GivenSource(m, ids)
        cached, plain = (beam_hypotheses(given, [CODEC.begin], 6, beams, stop=CODEC.end, use_cache=use) for use in (True, False))
        for a, b in zip(cached, plain, strict=True):
            np.testing.assert_array_equal(a.ids, b.ids)
            assert a.score == pytest.approx(b.score)
        best = cached[0]
        logits = m(ids, None, best.ids[None, :-1]).data
        loss = cross_entropy(logits, best.ids[None, 1:]).item()
        assert best.score == pytest.approx(-loss)  # the mean log-probability of its own tokens
        assert translate(m, CODEC, [text], 6, num_beams=beams) == [CODEC.decode(best.ids)]


def test_the_keys_of_the_memory_are_made_once():
    m, calls = model(), []
    projection = m.decoder.layers[0].cross_attention.k_proj
    forward = projection.forward
    projection.forward = lambda x: calls.append(x.shape) or forward(x)
    written = translate(m, CODEC, ["abcabcabc"], 9)  # longer than the model is wide
    assert len(calls) == 1 and written


def test_translating_while_training_is_done_without_dropout_and_training_goes_on():
    m = model().train()
    assert translate(m, CODEC, TEXTS, 7) == translate(m, CODEC, TEXTS, 7) == translate(m.eval(), CODEC, TEXTS, 7)
    m.train()
    translate(m, CODEC, TEXTS, 2)
    assert all(part.training for part in m.modules())


def test_a_translation_of_no_tokens_is_empty_and_the_longest_may_fill_the_model():
    assert translate(model(), CODEC, TEXTS, 0) == [""] * len(TEXTS)
    assert translate(model(), CODEC, TEXTS, 15) == translate(model(), CODEC, TEXTS)


def test_translate_explains_wrong_use():
    m = model()
    with pytest.raises(TypeError, match=r"write \['abc'\]"):
        translate(m, CODEC, "abc")
    with pytest.raises(ValueError, match="num_beams=0"):
        translate(m, CODEC, ["abc"], num_beams=0)
    with pytest.raises(ValueError, match="writes 0 to 15"):
        translate(m, CODEC, ["abc"], 16)
    with pytest.raises(ValueError, match="exceed the context of 16"):
        translate(m, CODEC, ["a" * 16])


@pytest.mark.parametrize("kind", ["transformer", "attention"])
def test_the_map_of_cross_attention_has_the_source_across_and_the_target_down(kind):
    m = model(kind)
    weights, keys, queries = cross_attention(m, CODEC, "abc", "fedcb")
    assert keys == ["a", "b", "c", "⊣"] and queries == ["f", "e", "d", "c", "b", "⊣"]
    for w in weights:
        assert w.shape[1:] == (6, 4)
        np.testing.assert_allclose(w.sum(axis=-1), 1)
    assert len(weights) == (2 if kind == "transformer" else 1)
    assert cross_attention(m, CODEC, "abc", "a" * 30)[2] == ["a"] * 16  # of a longer target, what the model can say


def test_a_model_without_attention_has_no_map():
    with pytest.raises(ValueError, match="without attention"):
        cross_attention(model("rnn"), CODEC, "abc")


# What theory says of positions --------------------------------------------------------------------------------------------


def test_without_positions_the_order_of_the_source_cannot_be_seen():
    order = np.array([2, 0, 3, 1])
    source, target = np.array([[3, 4, 5, 6]]), np.array([[1, 6, 5]])
    blind, seeing = model(positions=Positions()), model()
    np.testing.assert_allclose(blind(source[:, order], None, target).data, blind(source, None, target).data, atol=1e-12)
    assert np.abs(seeing(source[:, order], None, target).data - seeing(source, None, target).data).max() > 1e-3


def trained(positions, task, steps=250):
    mg.manual_seed(0)
    m = Transformer(9, 32, 1, 1, max_length=16, dropout=0.0, positions=positions)
    settings = Settings(steps=steps, batch_size=64, lr=5e-3, warmup=20, beta2=0.98, weight_decay=0.01, evaluate_every=steps, sample_tokens=0)
    objective = Translation(task, TOKENIZER)
    Trainer(m, objective, settings, output=io.StringIO()).train()
    pairs = task.sample("test", 300)
    written = translate(m, objective.codec, [pair.source for pair in pairs])
    return objective.evaluate(m), exact_match(written, [pair.target for pair in pairs]).rate


@pytest.mark.slow
def test_reversing_without_positions_fails_as_theory_says_and_with_them_succeeds():
    """A bag of n symbols with counts n_a has n!/Πn_a! orders, all alike: nobody who sees the bag alone has a smaller loss than the log of that."""
    task = reversal("abcdef", 5)
    orders = [math.factorial(5) / math.prod(math.factorial(pair.source.count(s)) for s in "abcdef") for pair in task.sample("validation")]
    bound = float(np.mean(np.log(orders))) / 6  # nats per token, END included
    blind, blind_exact = trained(Positions(), task)
    seeing, seeing_exact = trained(None, task)
    assert seeing < 0.1 * bound and seeing_exact > 0.98
    assert blind > 0.95 * bound and blind_exact < 0.1
    assert blind < 1.5 * bound  # it does learn the bag
