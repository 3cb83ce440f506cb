"""WEAT: by hand, against numbers recorded from the library wefe, and live where it is installed."""

import numpy as np
import pytest
from conftest import need

from transformer import BPETokenizer, CharTokenizer
from transformer.bias import corpus, experiment
from transformer.bias.association import TESTS, association, token_vectors, weat, weat_battery, weat_lists

RECORDED = {  # (seed, sizes): wefe 1.0.1's statistic and effect size on vectors_of(seed, sizes)
    (0, (8, 8, 8, 8)): (0.2504116077765017, 0.3925005499688983),
    (1, (5, 5, 3, 4)): (0.11157598892835731, 0.13171298147368535),
    (2, (25, 25, 25, 25)): (-1.1498525029872517, -0.5261053327088901),
    (3, (8, 8, 7, 7)): (0.7166448097369044, 0.5785064181873213),
}
MINILM = (  # effect sizes of all-MiniLM-L6-v2 by wefe 1.0.1, in the order of TESTS
    1.2497549, 1.5253133, 0.2390988, 0.8474172, 1.0798181, 1.0545886, 0.9729441, 0.4917414, 0.2695750, 0.9394718,
)


def vectors_of(seed, sizes=(8, 8, 8, 8), width=16):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, width)) + 0.3 * rng.normal(size=width) for n in sizes]


def test_the_association_is_a_difference_of_mean_cosines():
    found = association(np.array([[3.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]))
    np.testing.assert_allclose(found, [1.0, 0.0], atol=1e-15)


def test_weat_by_hand():
    a, b = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    x, y = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 1.0]])
    found = weat(x, y, a, b)  # s is 1, 1, −1, −1: means differ by 2, the standard deviation is 1
    assert (found.statistic, found.effect_size) == (4.0, 2.0)
    assert found.p_value == 1 / 6  # of the six partitions of four words one is as extreme
    assert weat(y, x, a, b).p_value == 1.0


@pytest.mark.parametrize("case", RECORDED)
def test_statistic_and_effect_size_are_those_that_wefe_gives(case):
    found = weat(*vectors_of(*case))
    np.testing.assert_allclose([found.statistic, found.effect_size], RECORDED[case], atol=1e-9)


def test_the_length_of_a_vector_does_not_matter():
    x, y, a, b = vectors_of(0)
    np.testing.assert_allclose(weat(x * np.arange(1, 9)[:, None], y, a * 7, b).effect_size, weat(x, y, a, b).effect_size)


def test_the_sampled_p_value_agrees_with_the_exact_one_and_is_never_zero():
    x, y, a, b = vectors_of(3)
    exact = weat(x, y, a, b).p_value  # 12 870 partitions
    twice = weat(np.concatenate([x, x]), np.concatenate([y, y]), a, b)  # 6·10⁸: sampled
    assert 0 < exact < 1 and 0 < twice.p_value < exact
    far = weat(x + 50 * a[0], y - 50 * a[0], a[:1], b)
    assert far.p_value == 1 / 12_870


def test_the_p_value_is_uniform_when_there_is_nothing_to_find():
    rng = np.random.default_rng(0)
    p = [weat(*(rng.normal(size=(5, 8)) for _ in range(4))).p_value for _ in range(200)]
    assert 0.4 < np.mean(p) < 0.6 and 0.02 < np.mean(np.array(p) < 0.1) < 0.18


@pytest.mark.parametrize(("x", "message"), [(np.zeros((2, 3)), "is zero and has no direction"), (np.ones(3), "expected vectors")])
def test_vectors_without_a_direction_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        weat(x, np.ones((2, 3)), np.eye(3), -np.eye(3))


def test_equal_target_words_have_no_effect_size():
    with pytest.raises(ValueError, match="same association"):
        weat(np.ones((2, 3)), np.ones((2, 3)), np.eye(3), np.eye(3)[:1])


def test_a_word_of_several_tokens_is_the_mean_of_their_embeddings():
    model = experiment.GPT(400, 8, 2, 1, 8)
    tokenizer = BPETokenizer.train("the nurse and the pilot and the nurse " * 20, 280)
    found = token_vectors(model, tokenizer)(["nurse", "zebra"])
    for row, word in zip(found, (" nurse", " zebra")):
        np.testing.assert_allclose(row, model.token_embedding.weight.data[tokenizer.encode(word)].mean(axis=0))
    words = corpus.tokenizer()
    np.testing.assert_array_equal(token_vectors(model, words)(["nurse"])[0], model.token_embedding.weight.data[words.encode("nurse")[0]])
    with pytest.raises(ValueError, match="reads characters"):
        token_vectors(model, CharTokenizer("abc"))


@pytest.mark.weights
@pytest.mark.slow
def test_minilm_has_the_effect_sizes_that_wefe_finds(minilm):
    need("wefe")
    found = weat_battery(minilm, weat_lists())
    np.testing.assert_allclose([w.effect_size for w in found.values()], MINILM, atol=1e-5)  # float32, and other batches


@pytest.mark.weights
@pytest.mark.slow
def test_wefe_live_finds_the_same_effect_sizes_for_minilm(minilm):
    need("wefe", "gensim", "sklearn", "pandas", "semantic_version")
    from gensim.models import KeyedVectors
    from wefe.metrics import WEAT
    from wefe.query import Query
    from wefe.word_embedding_model import WordEmbeddingModel

    lists = weat_lists()
    words = sorted({word for parts in TESTS.values() for part in parts for word in lists[part]})
    table = dict(zip(words, minilm(words).astype(np.float64)))
    vectors = KeyedVectors(384, dtype=np.float64)
    vectors.add_vectors(words, np.stack(list(table.values())))
    ours = weat_battery(lambda chosen: np.stack([table[word] for word in chosen]), lists)
    for name, (x, y, a, b) in TESTS.items():
        theirs = WEAT().run_query(Query([lists[x], lists[y]], [lists[a], lists[b]]), WordEmbeddingModel(vectors, "MiniLM"))
        np.testing.assert_allclose([ours[name].statistic, ours[name].effect_size], [theirs["weat"], theirs["effect_size"]], atol=1e-6)
