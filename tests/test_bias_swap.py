"""Swapping: she for he and back, in every case and inflection, and nothing that is no term."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.bias import corpus
from transformer.bias.swap import counterfactual, counterfactual_pairs, swap
from transformer.bias.terms import NAMES, NO_NOUN, PARTNERLESS, TITLES, WORDS

SENTENCES = {  # beyond doubt, so both ways
    "Her book is on the table.": "His book is on the table.",
    "I saw her.": "I saw him.",
    "I saw her yesterday.": "I saw him yesterday.",
    "The book is hers.": "The book is his.",
    "Hers was better than his.": "His was better than hers.",
    "a friend of his was here": "a friend of hers was here",
    "She hurt herself.": "He hurt himself.",
    "HER MOTHER'S hat": "HIS FATHER'S hat",
    "She’s late; he'll wait for her to come.": "He’s late; she'll wait for him to come.",
    "He told her that she was right.": "She told him that he was right.",
    "Let her go!": "Let him go!",
    "It made her happy.": "It made him happy.",
    "It made her happy memories fade.": "It made his happy memories fade.",
    "his or her book": "her or his book",
    "Each brings his/her book.": "Each brings her/his book.",
    "him or her": "her or him",
    "his and hers": "hers and his",
    "his 2 cats and her 3 dogs": "her 2 cats and his 3 dogs",
    "“Her?” he asked.": "“Him?” she asked.",
    "her\nbook": "his\nbook",
    "her very old house": "his very old house",
    "her own": "his own",
    "Mary's mother-in-law met her ex-husband James.": "James's father-in-law met his ex-wife Mary.",
    "Her Mother-In-Law left.": "His Father-In-Law left.",
    "Mr. Smith and Ms. Jones": "Ms. Smith and Mr. Jones",
    "She told her sister that the house was hers, not his.": "He told his brother that the house was his, not hers.",
    "Women and girls, men and boys": "Men and boys, women and girls",
    "I miss her.": "I miss him.",
    "she/her, he/him": "he/him, she/her",
    "An actress gave her speech; her sisters cheered.": "An actor gave his speech; his brothers cheered.",
}


@pytest.mark.parametrize("text", SENTENCES)
def test_a_sentence_is_swapped_and_swapping_back_gives_it(text):
    assert swap(text) == SENTENCES[text]
    assert swap(SENTENCES[text]) == text


@pytest.mark.parametrize("text", [t for t in SENTENCES if "gave" not in t and "memories" not in t])
def test_a_sentence_beyond_doubt_has_a_counterfactual(text):
    assert counterfactual(text) == SENTENCES[text]


@pytest.mark.parametrize(
    "text",
    [
        "mankind and humans, the manual, a heron, this and there, Hershey",
        "her_name = sheHe", "HER2 and HER-2", "www.her.com and him@her.org", "@her #she",
        "(s)he and s/he", "Theresa May and Mark Rose in Jordan", "mary and JaMes", "an MR scan after 20 ms of MS", "to miss a hit", "sHe", "",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_term_stays(text):
    assert swap(text) == text and counterfactual(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "He gave her flowers.", "She gave him flowers.", "They heard her singing.", "They called her “honey”.", "I saw her and his brother.",
        "It was her back again.", "Mr. and Mrs. Smith saw her.", "The king saw her.", "Miss Jones saw him.",
        "She runs a woman-owned shop.", "her (old) book",
        "She is pregnant.",
    ],
)  # fmt: skip
def test_where_the_reading_is_in_doubt_there_is_no_counterfactual_rather_than_a_wrong_one(text):
    assert counterfactual(text) is None


def test_pairs_leave_out_what_has_no_counterfactual():
    assert counterfactual_pairs(["He slept.", "It rained.", "He gave her flowers."]) == [("He slept.", "She slept.")]


def test_every_list_is_a_pairing_without_a_third():
    for table in (WORDS, NAMES, TITLES):
        assert all(table[table[word]] == word != table[word] for word in table)
    assert not WORDS.keys() & (NO_NOUN | PARTNERLESS) - {"he", "she", "himself", "herself"}
    assert not {name.lower() for name in NAMES} & WORDS.keys()


@pytest.mark.parametrize("case", [str.lower, str.capitalize, str.upper])
@pytest.mark.parametrize("word", [*WORDS, "her", "his", "him", "hers"])
def test_every_term_alone_keeps_its_case_and_comes_back(word, case):
    text = f"{case(word)} ." if word in ("her", "his", "him", "hers") else case(word)
    swapped = swap(text)
    assert swapped != text and swap(swapped) == text
    assert swapped == case(swapped)


NEUTRAL = ["doctor", "saw", "the", "old", "quickly", "to", "and", "was", "Doctor", "it", "7", "self", "yesterday"]
ALONE = ["him .", "hers .", "Him ,", "HERS !", "him to", "hers was"]  # these two stand where no noun follows, in any sentence of English


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*WORDS, *NAMES, *TITLES, "her", "his", "Her", "HIS", *ALONE, *NEUTRAL]), max_size=12), st.sampled_from(" ,\n("))
def test_swapping_is_an_involution_on_all_texts_made_of_the_lists(words, gap):
    text = (gap + " ").join(words)
    assert swap(swap(text)) == text


def test_it_agrees_with_the_grammar_of_the_artificial_language():
    for sentence in corpus.sentences(0.5, 20) + corpus.test_sentences(corpus.UNSEEN_TEMPLATES):
        assert swap(sentence.text) == sentence.twin.text
        assert counterfactual(sentence.text) == (sentence.twin.text if sentence.male is not None else None)
