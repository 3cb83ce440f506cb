"""The models of the tasks as their recipes build them, under the losses that train them: the gradient of every parameter."""

import numpy as np
import pytest

from minigrad import manual_seed
from transformer.checks import check_module, shaken
from transformer.data.codec import BEGIN, END, PAD
from transformer.data.tasks import Pair, PairTask, Question, Tagged
from transformer.data.tokenizers import CharTokenizer
from transformer.models.build import build_model
from transformer.training import recipes
from transformer.training.answering import Answering
from transformer.training.tagging import Tagging
from transformer.training.translation import Translation

TOKENIZER = CharTokenizer(PAD + BEGIN + END + " abcd")
TAGGED = (Tagged(("ab", "c", "d"), ("B-PER", "I-PER", "O"), "1"), Tagged(("cad",), ("B-DATE",), "2"))
VERBS = (Tagged(("a", "cd", "b"), ("B-AGENT", "O", "B-PATIENT"), "1", 1), Tagged(("d", "b"), ("O", "B-AGENT"), "2", 0))
QUESTIONS = (Question(("a", "b"), ("c", "ad", "bb"), (1, 2), "1"), Question(("d",), ("a", "cc"), None, "2"))
PAIRS = (Pair("ab cd ab", "ba", "1"), Pair("d", "abc", "2"))


def task(pairs):
    return PairTask("t", "", pairs=pairs, every=3)


CASES = {
    "entities": lambda: Tagging(task(TAGGED), TOKENIZER, recipes.LABELS["entities"]),
    "roles": lambda: Tagging(task(VERBS), TOKENIZER, recipes.LABELS["roles"], class_weights=np.linspace(0.5, 2.0, 7)),
    "answers": lambda: Answering(task(QUESTIONS), TOKENIZER),
    "headlines": lambda: Translation(task(PAIRS), TOKENIZER),
}


def prepared(case):
    """A small model by the recipe, what trains it, and one batch in which lengths differ."""
    sizes = {"width": 4, "heads": 2, "layers": 1, "dropout": 0.0}
    config = recipes.configuration(case, None, sizes, TOKENIZER)
    config["model"] |= {"max_length": 16, "ffn_dim": 6}
    manual_seed(0)
    model, work = build_model(config), CASES[case]()
    batch = work.collate({"answers": QUESTIONS, "headlines": PAIRS, "roles": VERBS, "entities": TAGGED}[case])
    return shaken(model, np.random.default_rng(1)), work, batch


@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_the_gradient_of_every_parameter_of_a_task_agrees_with_finite_differences(case):
    model, work, batch = prepared(case)
    report = check_module(model, lambda m: work.loss(m, batch), ())
    assert report, report


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_of_a_task_is_trained_that_can_change_its_loss(case):
    """A key's bias shifts all scores of a query alike, and what is added to every position shifts a pointer's logits alike."""
    model, work, batch = prepared(case)
    work.loss(model, batch).backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or np.abs(p.grad.data).max() < 1e-9}
    alike = {"head.bias", "bert.encoder.layers.0.norm2.bias"} if case == "answers" else set()
    assert {name for name in still if not name.endswith("k_proj.bias")} == alike
