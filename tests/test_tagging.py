"""Tagging and answering: labels at words, pointers into passages, models that say the same alone and in company."""

import io
import itertools

import numpy as np
import pytest

import minigrad as mg
from minigrad import manual_seed
from transformer import BERT, AlibiBias, SpanReader, Tagger
from transformer.checks import shaken
from transformer.data.bpe import BPETokenizer
from transformer.data.codec import Pieces
from transformer.data.corpora import IGNORE_INDEX
from transformer.data.tasks import MADE, PairTask, Question, Tagged
from transformer.data.tasks.sentences import question
from transformer.data.wordpiece import SPECIAL, WordPieceTokenizer
from transformer.models.build import build_model
from transformer.positions import Positions
from transformer.training import recipes
from transformer.training import tagging as tagging_module
from transformer.training.answering import Answering, allowed, answer, best_span, spans
from transformer.training.loop import Trainer
from transformer.training.objectives import parts
from transformer.training.settings import Settings
from transformer.training.tagging import Tagging, bracketed, read, tag

BYTES = BPETokenizer([])  # every word is the bytes of its letters, with a space before
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SENTENCES = (
    Tagged(("Anna", "saw", "New", "York"), ("B-PER", "O", "B-LOC", "I-LOC"), "1"),
    Tagged(("Go",), ("O",), "2"),
    Tagged(("It", "was", "Al", "Bo", "in", "X"), ("O", "O", "B-PER", "I-PER", "O", "B-LOC"), "3", 1),
)
QUESTIONS = (
    Question(("Who", "ran", "?"), ("Bo", "sat", ".", "Al", "Em", "ran", "."), (3, 4), "1"),
    Question(("Who", "sat", "?"), ("Al", "ran"), None, "2"),
    Question(("Where", "?"), ("x",), (0, 0), "3"),
)


@pytest.fixture
def rng():
    return np.random.default_rng(2)


def tagging(**options):
    return Tagging(PairTask("t", "", pairs=SENTENCES, every=3), BYTES, LABELS, 64, **options)


def body(seed=0, **options):
    manual_seed(seed)
    return shaken(BERT(256, 8, 2, 1, 64, 12, **options), np.random.default_rng(seed)).eval()


# Words and pieces -----------------------------------------------------------------------------------------------------


def test_a_row_knows_where_each_word_begins_and_ends():
    row = Pieces(BYTES).row([["ab", "c"], ["de"]], 64)
    assert row.ids.tolist() == [2, *b" ab", *b" c", 3, *b" de", 3]
    assert row.segments.tolist() == [0] * 7 + [1] * 4
    assert row.first.tolist() == [1, 4, 7] and row.last.tolist() == [3, 5, 9]
    assert Pieces(BYTES).of(".") == [ord(".")]  # punctuation follows its word without a space
    with pytest.raises(ValueError, match="the text has 11 tokens with its marks; this model reads up to 10"):
        Pieces(BYTES).row([["ab", "c"], ["de"]], 10)


def test_pieces_of_berts_tokenizer_stand_between_cls_and_sep():
    tokenizer = WordPieceTokenizer([*SPECIAL, "un", "##aff", "##able", "man"])
    row = Pieces(tokenizer).row([["unaffable", "man", "\u200b"]], 64)
    names = [tokenizer.vocabulary[i] for i in row.ids]
    assert names == ["[CLS]", "un", "##aff", "##able", "man", "[PAD]", "[SEP]"]  # a word of nothing keeps its place
    assert row.first.tolist() == [1, 4, 5] and row.last.tolist() == [3, 4, 5]


def test_the_label_of_a_word_stands_at_its_first_piece_and_nowhere_else():
    work = tagging()
    arrays, targets = work.collate(SENTENCES)
    for ids, line, example in zip(arrays.ids, targets, SENTENCES, strict=True):
        places = np.flatnonzero(line != IGNORE_INDEX)
        assert [LABELS[i] for i in line[places]] == list(example.tags)
        assert [bytes([ids[p], ids[p + 1]]).decode() for p in places] == [f" {word[0]}" for word in example.words]
    assert arrays.mask.sum(axis=1).tolist() == [len(" ".join(("", *e.words))) + 2 for e in SENTENCES]


def test_the_predicate_is_segment_one_with_all_its_pieces():
    row = read(Pieces(BYTES), SENTENCES[2], 64)
    assert bytes(row.ids[row.segments == 1].tolist()) == b" was"
    assert not read(Pieces(BYTES), SENTENCES[0], 64).segments.any()
    with pytest.raises(ValueError, match="no word to tag"):
        read(Pieces(BYTES), Tagged((), (), ""), 64)


# Tagging --------------------------------------------------------------------------------------------------------------


def test_tags_do_not_depend_on_the_company_in_which_a_sentence_is_read():
    manual_seed(0)
    model = Tagger(BERT(256, 16, 2, 2, 64), LABELS).eval()
    together = tag(model, Pieces(BYTES), SENTENCES)
    assert [len(tags) for tags in together] == [4, 1, 6] and len(set(itertools.chain(*together))) > 1
    assert together == [tag(model, Pieces(BYTES), [example])[0] for example in SENTENCES]


def test_the_loss_of_tags_is_the_mean_over_words_and_padding_costs_nothing():
    model = shaken(Tagger(body(), LABELS), np.random.default_rng(1)).eval()
    work = tagging()
    whole = work.collate(SENTENCES)
    each = [work.collate([example]) for example in SENTENCES]
    losses = [work.loss(model, batch).item() for batch in each]
    counts = [work.counts(batch) for batch in each]
    assert counts == [4, 1, 6] and work.counts(whole) == 11
    assert work.loss(model, whole).item() == pytest.approx(np.average(losses, weights=counts), rel=1e-9)


def test_class_weights_make_a_rare_label_count_more():
    model = shaken(Tagger(body(), LABELS), np.random.default_rng(1)).eval()
    weights = np.array([0.0, 1.0, 2.0, 0.0, 3.0])
    work = tagging(class_weights=weights)
    batch = work.collate(SENTENCES)
    arrays, targets = batch
    log_p = mg.log_softmax(model(*arrays)).data
    real = targets != IGNORE_INDEX
    w = weights[targets[real]]
    expected = -(w * log_p[real, targets[real]]).sum() / w.sum()
    assert work.loss(model, batch).item() == pytest.approx(expected, rel=1e-9)
    assert work.counts(batch) == w.sum() == 7


@pytest.mark.parametrize("weights", [None, np.array([0.5, 1.0, 2.0, 0.1, 3.0])])
def test_a_batch_read_in_parts_gives_the_gradient_of_the_whole(weights):
    model = shaken(Tagger(body(), LABELS), np.random.default_rng(1)).eval()
    work = tagging(class_weights=weights)
    batch = work.collate(SENTENCES)
    work.loss(model, batch).backward()
    whole = {name: p.grad.data.copy() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    for part, share in parts(work, batch, 3):
        loss = work.loss(model, part)
        loss.backward(np.asarray(share, loss.dtype))
    for name, p in model.named_parameters():
        if name in whole:
            np.testing.assert_allclose(p.grad.data, whole[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_tagging_is_judged_by_the_share_of_spans_that_it_misses(monkeypatch):
    examples = tuple(Tagged(("Al", "ran"), ("B-PER", "O"), str(i)) for i in range(40))
    work, read = Tagging(PairTask("t", "", pairs=examples, every=3), BYTES, LABELS), []

    def tags(model, pieces, some, **_):
        read.append(len(some))
        return [("B-PER", "O") if i % 2 else ("O", "O") for i in range(len(some))]

    monkeypatch.setattr(tagging_module, "tag", tags)
    n = len(work.validation)
    assert work.evaluate(None) == pytest.approx(1 - 2 * (n // 2) / (n // 2 + n)) and work.evaluate(None, 1) == 1
    assert [work.sample(None, tokens, np.random.default_rng(0)).count("\n") for tokens in (2, 3, 200)] == [1, 2, 2]
    assert read == [n, 1, 2, 3, 3]


def test_a_strange_tag_is_named_with_the_labels():
    with pytest.raises(ValueError, match="the tag 'B-LOC' is none of the labels O, B-PER, I-PER"):
        Tagging(PairTask("t", "", pairs=sentences_of_every_part(), every=3), BYTES, LABELS[:3], 64)


def sentences_of_every_part():
    task = PairTask("t", "", every=3)
    keys = {task.part(str(i)): str(i) for i in range(50)}
    return tuple(Tagged(("a", "b"), ("B-LOC", "I-LOC"), key) for key in keys.values())


def test_a_tagger_refuses_labels_that_are_no_choice():
    for labels in (("O",), ("O", "O", "B")):
        with pytest.raises(ValueError, match="expected two different names or more"):
            Tagger(body(), labels)


def test_spans_are_shown_in_brackets():
    assert bracketed(SENTENCES[0], SENTENCES[0].tags) == "[PER Anna] saw [LOC New York]"
    assert bracketed(SENTENCES[2], SENTENCES[2].tags) == "It *was* [PER Al Bo] in [LOC X]"


# Answering ------------------------------------------------------------------------------------------------------------


def test_the_best_span_is_that_of_trying_all_of_them(rng):
    for n, longest in ((1, 3), (5, 2), (7, 7), (9, 12)):
        for _ in range(30):
            start, end = rng.normal(size=(2, n))
            scores = {(i, j): start[i] + end[j] for i in range(n) for j in range(i, min(n, i + longest))}
            right = max(scores, key=scores.get)
            assert best_span(start, end, -np.inf, longest) == right
            assert best_span(start, end, scores[right] - 1e-9, longest) == right
            assert best_span(start, end, scores[right] + 1e-9, longest) is None


def test_pointers_are_allowed_at_words_of_the_passage_and_before_everything():
    pieces = Pieces(BYTES)
    rows = [pieces.row([q.question, q.passage], 64) for q in QUESTIONS]
    mask = allowed(rows, QUESTIONS, max(len(row.ids) for row in rows))
    for m, row, q in zip(mask, rows, QUESTIONS, strict=True):
        words = len(q.question)
        assert np.flatnonzero(m[0]).tolist() == [0, *row.first[words:]]
        assert np.flatnonzero(m[1]).tolist() == [0, *row.last[words:]]


def test_targets_are_the_first_and_the_last_piece_of_the_answer_or_the_beginning():
    work = Answering(PairTask("q", "", pairs=QUESTIONS, every=3), BYTES, 64)
    batch = work.collate(QUESTIONS)
    said = []
    for ids, (first, last) in zip(batch.arrays.ids, batch.targets, strict=True):
        said.append("" if first == 0 else bytes(ids[first : last + 1].tolist()).decode())
    assert said == [" Al Em", "", " x"] and batch.targets[1].tolist() == [0, 0]
    np.testing.assert_array_equal(batch.arrays.segments.max(axis=1), 1)
    for row in range(3):
        assert batch.allowed[row, 0, batch.targets[row, 0]] and batch.allowed[row, 1, batch.targets[row, 1]]


def test_the_loss_is_that_of_two_choices_among_the_allowed_places():
    model = shaken(SpanReader(body()), np.random.default_rng(1)).eval()
    work = Answering(PairTask("q", "", pairs=QUESTIONS, every=3), BYTES, 64)
    batch = work.collate(QUESTIONS)
    logits = model(*batch.arrays).data
    each = []
    for line, can, target in zip(logits, batch.allowed, batch.targets, strict=True):
        for pointer in range(2):
            some = line[pointer][can[pointer]]
            each.append(np.log(np.exp(some).sum()) - line[pointer, target[pointer]])
    assert work.loss(model, batch).item() == pytest.approx(np.mean(each), rel=1e-9)
    with pytest.raises(ValueError, match=r"label_smoothing=0\.1 would reward"):
        work.loss(model, batch, 0.1)


def test_a_question_gets_the_same_answer_alone_and_in_company():
    model = shaken(SpanReader(body()), np.random.default_rng(1)).eval()
    pieces = Pieces(BYTES)
    together = spans(model, pieces, QUESTIONS)
    assert together == [spans(model, pieces, [q])[0] for q in QUESTIONS]
    words = answer(model, pieces, QUESTIONS)
    for span, said, q in zip(together, words, QUESTIONS, strict=True):
        assert said == ("" if span is None else " ".join(q.passage[span[0] : span[1] + 1]).replace(" .", "."))


def test_an_answer_of_many_words_is_not_longer_than_allowed():
    class Far(SpanReader):
        def forward(self, ids, mask=None, segments=None):
            logits = np.zeros((len(ids), 2, ids.shape[1]))
            logits[:, 0, 7] = logits[:, 1, ids.shape[1] - 2] = 9.0  # the first and the last word
            return mg.Tensor(logits)

    asked = question("Who? " + "a " * 20)
    span = spans(Far(body()), Pieces(BYTES), [asked], longest=4)[0]
    assert span is not None and span[1] - span[0] < 4


@pytest.mark.parametrize(("nothing", "span"), [(6.0, None), (3.0, (0, 0))])
def test_there_is_no_answer_where_both_pointers_together_prefer_the_beginning(nothing, span):
    class Torn(SpanReader):
        def forward(self, ids, mask=None, segments=None):
            logits = np.zeros((len(ids), 2, ids.shape[1]))
            logits[:, :, 0] = nothing  # of each pointer
            logits[:, 0, 7] = 9.0
            return mg.Tensor(logits)

    assert spans(Torn(body()), Pieces(BYTES), [question("Who? a b")], longest=2) == [span]


def test_a_reader_needs_a_segment_for_the_question_and_one_for_the_passage():
    with pytest.raises(ValueError, match="num_segments=1; expected 2 or more"):
        SpanReader(body(num_segments=1))
    with pytest.raises(ValueError, match="no passage in which to look"):
        answer(SpanReader(body()), Pieces(BYTES), [Question(("Who", "?"), (), None, "")])


def test_a_new_reader_finds_equal_words_and_near_ones_from_the_start():
    manual_seed(0)
    reader = SpanReader.sized(40, 32, 4, 2, 24)
    for layer in reader.bert.encoder.layers:
        assert isinstance(layer.self_attention.positions, AlibiBias)
        np.testing.assert_array_equal(layer.self_attention.q_proj.weight.data, layer.self_attention.k_proj.weight.data)
        assert layer.self_attention.q_proj.weight is not layer.self_attention.k_proj.weight


# Learning -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["entities", "answers"])
@pytest.mark.slow
def test_training_lowers_the_loss_and_is_the_same_every_time(name):
    tokenizer = recipes.make_tokenizer(name)
    given = {"steps": 12, "evaluate_every": 12, "batch_size": 8, "warmup": 2}
    config = recipes.configuration(name, None, given, tokenizer)
    ends = []
    for _ in range(2):
        manual_seed(0)
        settings, work = Settings(**config["training"]), recipes.objective(name, tokenizer)
        trainer = Trainer(build_model(config), work, settings, output=io.StringIO())
        trainer.settings.sample_tokens = 0
        trainer.train()
        ends.append(trainer.losses)
    assert ends[0] == ends[1] and np.mean(ends[0][-3:]) < np.mean(ends[0][:3])


@pytest.mark.slow
def test_roles_cannot_be_found_without_positions():
    """The order of words decides who did it: F1 stays below 60 where the same training reaches more than 90."""
    found = {}
    for blind in (False, True):
        tokenizer = recipes.make_tokenizer("roles")
        config = recipes.configuration("roles", None, {"steps": 450, "evaluate_every": 450}, tokenizer)
        manual_seed(0)
        model, work = build_model(config), recipes.objective("roles", tokenizer)
        if blind:
            model.bert.positions = Positions()
        trainer = Trainer(model, work, Settings(**config["training"]), output=io.StringIO())
        trainer.settings.sample_tokens = 0
        trainer.train()
        found[blind] = 1 - work.evaluate(model)
    assert found[True] < 0.6 and found[False] > 0.9, found


def test_every_task_on_sentences_has_labels_or_words_that_its_tokenizer_knows():
    for name in ("entities", "roles"):
        tags = {tag for example in MADE[name]().sample("test", 500) for tag in example.tags}
        assert tags == set(recipes.LABELS[name])
