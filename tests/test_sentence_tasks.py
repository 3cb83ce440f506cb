"""Tasks on sentences: their answers are right by rules of their own, and the shortcuts that should fail do fail."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from transformer.data.tasks import MADE, PairTask, Tagged
from transformer.data.tasks.entities import NAMES
from transformer.data.tasks.headlines import EVENTS
from transformer.data.tasks.roles import clause
from transformer.data.tasks.sentences import question, tagged, text, words
from transformer.evaluation.metrics import rouge, spans

TASKS = ("entities", "roles", "answers", "headlines")


def drawn(name, count=600, part="training"):
    return MADE[name]().draw(np.random.default_rng(5), count, part)


def found(example):
    """kind → phrases."""
    by_kind = defaultdict(list)
    for kind, first, last in spans(example.tags):
        by_kind[kind].append(" ".join(example.words[first : last + 1]))
    return by_kind


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_no_key_is_in_two_parts_and_the_test_part_is_always_the_same(name):
    task = MADE[name]()
    parts = {part: {item.key for item in task.sample(part, 200)} for part in ("test", "validation", "training")}
    assert not parts["test"] & parts["validation"] and not (parts["test"] | parts["validation"]) & parts["training"]
    assert task.sample("test", 50) == MADE[name]().sample("test", 50)


@pytest.mark.parametrize("name", ["entities", "roles", "answers"])
def test_a_text_cut_into_words_gives_the_words_that_it_was_made_of(name):
    for item in drawn(name, 200):
        if name == "answers":
            asked = question(item.source)
            assert (asked.question, asked.passage) == (item.question, item.passage)
        else:
            assert tagged(item.source)[:1] + tagged(item.source)[3:] == (item.words, item.predicate)


def test_words_and_text_keep_what_belongs_together():
    assert words("Mr. O'Neil paid 3.50 in New-York, didn't he?") == (
        "Mr", ".", "O'Neil", "paid", "3.50", "in", "New-York", ",", "didn't", "he", "?",
    )  # fmt: skip
    assert text(["Yes", ",", "in", "Rome", "."]) == "Yes, in Rome."


def test_a_mark_names_the_predicate_and_two_marks_are_refused():
    example = tagged("the dog *chased* the cat.")
    assert example.words == ("the", "dog", "chased", "the", "cat", ".") and example.predicate == 2
    assert tagged("no mark").predicate is None
    for odd in ("the *dog* *chased* it", "the *dog chased it", "the *dog chased* it"):
        with pytest.raises(ValueError, match="mark one word"):
            tagged(odd)
    with pytest.raises(ValueError, match="expected a question, a question mark, and the passage"):
        question("Anna lives in Rome.")


# Entities -------------------------------------------------------------------------------------------------------------


def test_every_name_is_a_person_a_place_and_a_firm():
    kinds = defaultdict(set)
    for example in drawn("entities", 4000):
        for kind, phrases in found(example).items():
            for phrase in phrases:
                kinds[phrase].add(kind)
    assert all(kinds[name] >= {"PER", "LOC", "ORG"} for name in NAMES)
    assert kinds["May"] >= {"PER", "DATE"}
    assert any("may" in example.words for example in drawn("entities"))


def test_entities_follow_from_the_words_around_them():
    """Rules that read the context and never the name."""
    rules = [
        ("PER", r"mother of (.+?) smiled|letter from (.+?) arrived"),
        ("LOC", r"population of (.+?) grew|army left (.+?) in"),
        ("ORG", r"[Ss]hares of (.+?) fell|profits of (.+?) grew|strike at (.+?) ended"),
    ]
    checked = 0
    for example in drawn("entities", 2000):
        sentence = " ".join(example.words)
        for kind, pattern in rules:
            for match in re.finditer(pattern, sentence):
                phrase = next(group for group in match.groups() if group)
                assert phrase in found(example)[kind], sentence
                checked += 1
    assert checked > 300


def test_tags_begin_spans_with_b_and_go_on_with_i():
    for name in ("entities", "roles"):
        for example in drawn(name):
            assert len(example.tags) == len(example.words)
            for before, tag in zip(("O", *example.tags), example.tags, strict=False):
                assert tag[0] != "I" or before[2:] == tag[2:]


# Roles ----------------------------------------------------------------------------------------------------------------


def test_roles_follow_from_active_and_passive_alone():
    """A reader that knows four patterns finds the same roles in the sentences of one clause to which they apply."""
    phrase = r"((?:[Tt]he|[Aa]n?) (?:\w+ )?\w+(?: from \w+)?|[A-Z]\w+)"
    patterns = [
        (rf"^{phrase} was \*\w+\* by {phrase} \.$", ("PATIENT", "AGENT")),
        (rf"^It was {phrase} who \*\w+\* {phrase} \.$", ("AGENT", "PATIENT")),
        (rf"^It was {phrase} that {phrase} \*\w+\* \.$", ("PATIENT", "AGENT")),
        (rf"^{phrase} was \*(?:given|sent|shown)\* to {phrase} by {phrase} \.$", ("PATIENT", "RECIPIENT", "AGENT")),
    ]
    checked = Counter()
    for example in drawn("roles", 4000):
        sentence = " ".join(f"*{w}*" if i == example.predicate else w for i, w in enumerate(example.words))
        for pattern, kinds in patterns:
            if match := re.match(pattern, sentence):
                for kind, group in zip(kinds, match.groups(), strict=True):
                    assert found(example)[kind] == [group], sentence
                checked[pattern] += 1
    assert len(checked) == 4 and min(checked.values()) > 5


def test_agents_stand_before_their_verb_about_as_often_as_after_it():
    before = [first < e.predicate for e in drawn("roles", 2000) for kind, first, _ in spans(e.tags) if kind == "AGENT"]
    assert 0.35 < np.mean(before) < 0.75


def test_a_clause_with_two_verbs_has_roles_for_each_of_them():
    rng, seen = np.random.default_rng(0), Counter()
    for _ in range(300):
        views = clause(rng)
        assert len({tuple(part for part, _ in view) for view in views}) == 1  # the same words
        assert len({tuple(role for _, role in view) for view in views}) == len(views)
        assert all([role for _, role in view].count("V") == 1 for view in views)
        seen[len(views)] += 1
    assert seen[1] > 50 and seen[2] > 50


# Answers --------------------------------------------------------------------------------------------------------------

TOLD = {
    "home": [r"(?P<p>\w+) lives in (?P<v>.+)", r"the home of (?P<p>\w+) is in (?P<v>.+)"],
    "job": [r"(?P<p>\w+) works as (?P<v>.+)", r"the job of (?P<p>\w+) is that of (?P<v>.+)"],
    "game": [r"it is (?P<v>.+) that (?P<p>\w+) plays", r"(?P<p>\w+) plays (?P<v>.+)"],
    "goods": [r"(?P<p>\w+) owns (?P<v>.+)", r"there is (?P<v>.+) that belongs to (?P<p>\w+)"],
    "birth": [r"(?P<p>\w+) was born in (?P<v>.+)", r"in (?P<v>.+) , (?P<p>\w+) was born"],
}
ASKED = {
    "home": (r"Where does (\w+) live", r"Who lives in (.+)"),
    "job": (r"What does (\w+) work as", r"Who works as (.+)"),
    "game": (r"What does (\w+) play", r"Who plays (.+)"),
    "goods": (r"What does (\w+) own", r"Who owns (.+)"),
    "birth": (r"When was (\w+) born", r"Who was born in (.+)"),
}


def read(passage):
    """A reader of its own: (person, kind, value) of every sentence."""
    for sentence in " ".join(passage).split(" ."):
        if sentence.strip():
            sentence = sentence.strip()
            for kind, patterns in TOLD.items():
                match = next((m for p in patterns if (m := re.fullmatch(p, sentence, re.IGNORECASE))), None)
                if match:
                    yield match["p"], kind, match["v"]
                    break
            else:
                raise AssertionError(sentence)


def core(kind, value):
    """What is asked for of a thing: a grey cat is a cat, May 1990 is May."""
    return value.split()[-1] if kind == "goods" else value.split()[0] if kind == "birth" else value


def test_another_reader_finds_the_same_answers():
    kinds = Counter()
    for item in drawn("answers", 1500):
        asked = " ".join(item.question[:-1])
        kind, who, wanted = next(
            (kind, i, m[1]) for kind, pair in ASKED.items() for i, p in enumerate(pair) if (m := re.fullmatch(p, asked))
        )
        facts = [(person, value) for person, k, value in read(item.passage) if k == kind]
        if who:
            right = [person for person, value in facts if core(kind, value) == core(kind, wanted)]
        else:
            right = [value for person, value in facts if person == wanted]
        assert len(right) < 2, item.source
        assert item.target == (right[0] if right else ""), item.source
        kinds[kind, who, bool(right)] += 1
    assert len(kinds) == 20 and 0.25 < sum(n for key, n in kinds.items() if not key[2]) / 1500 < 0.45


def test_what_is_not_there_is_told_of_somebody_else_or_in_other_words():
    """So no question can be refused because its kind never occurs."""
    for item in drawn("answers"):
        if item.span is None:
            asked = " ".join(item.question[:-1])
            kind = next(kind for kind, pair in ASKED.items() if any(re.fullmatch(p, asked) for p in pair))
            assert kind in {k for _, k, _ in read(item.passage)}


# Headlines ------------------------------------------------------------------------------------------------------------


def test_summaries_say_what_happened_to_how_many_and_where():
    for pair in drawn("headlines"):
        event, place, town, verb, n = re.fullmatch(
            r"(\w+) at (\w+) in (\w+) (hurts|kills) (\w+)(?: people)?\.", pair.target
        ).groups()
        report = pair.source
        assert any(form.format(place=place).lower() in report.lower() for form in EVENTS[event.lower()]), report
        assert re.search(rf"People in {town} will|mayor of {town} came|All of {town} heard", report)
        if n == "nobody":
            assert re.search("Nobody was hurt|All were safe|nobody was inside", report) and verb == "hurts"
        else:
            died = rf"{n} people died|{n} people lost|For {n} people"
            hurt = rf"{n} people were taken to|treated {n}|brought away {n}"
            assert re.search(died if verb == "kills" else hurt, report, re.IGNORECASE)


def test_no_sentence_of_a_report_is_its_summary_nor_like_it():
    pairs = drawn("headlines", 300)
    firsts = [pair.source.split(". ")[0] for pair in pairs]
    assert rouge(firsts, [pair.target for pair in pairs])["ROUGE-L"].high < 0.1
    for pair in pairs:
        assert pair.target not in pair.source and not pair.source.startswith(pair.target.split()[0])


def test_a_report_mentions_another_event_of_another_town_and_number():
    for pair in drawn("headlines", 200):
        event = pair.target.split()[0].lower()
        others = [name for name in EVENTS if re.search(rf"the {name} (at|of)|during the {name}", pair.source)]
        assert len(others) == 1 and others[0] != event


def test_a_task_of_tagged_sentences_can_be_listed_too():
    task = PairTask("x", "", pairs=(Tagged(("a",), ("O",), "a"), Tagged(("b",), ("O",), "b")), every=3)
    assert sum(map(len, task.listed.values())) == 2 and task.text() == "a\nO\nb\nO"
