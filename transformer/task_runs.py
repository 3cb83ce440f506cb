"""Runs on tasks: the same run folders as those of language models, judged by the measure of each task."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import log_softmax, manual_seed, no_grad

from . import answering, recipes, scores, tagging
from .answering import Answering
from .attention import attention_maps
from .data.tasks import sentences
from .data.tasks.base import PARTS
from .data.tokenizers import Tokenizer
from .models.bert import SpanReader, Tagger
from .objectives import Classification, Translation
from .options import check_rates
from .parallel import world
from .pieces import Pieces
from .reading import Spread, evaluating
from .runs import RunFolder, build_model
from .scores import accuracy, exact_match, translation_scores
from .tagging import Tagging
from .training import Settings, Trainer
from .translation import Codec, translate

Say = Callable[[str], None]


def is_task(config: Mapping[str, Any]) -> bool:
    """Whether a run is one on a task; the others are language models of a text."""
    return isinstance(task := config.get("task"), str) and task in recipes.RECIPES


def start(args: argparse.Namespace, folder: RunFolder, say: Say) -> int:
    """Train on a task by its recipe, with what the user gave in its place; gives the exit status."""
    tokenizer = recipes.make_tokenizer(args.task)
    config = recipes.configuration(args.task, args.model, vars(args), tokenizer)
    settings = Settings(**config["training"])
    check_rates(args, settings)
    manual_seed(settings.seed)
    trainer = Trainer(build_model(config, f"task {args.task}"), recipes.objective(args.task, tokenizer), settings, folder, workers=world())
    world().first(lambda: folder.create({**config, "data": trainer.fingerprint}, tokenizer))
    return run(trainer, config, folder, say)


def resume(folder: RunFolder, config: dict[str, Any], tokenizer: Tokenizer | None, settings: Settings, say: Say) -> int:
    """Continue a run on a task."""
    manual_seed(settings.seed)
    trainer = Trainer(build_model(config, folder.config_file), recipes.objective(config["task"], tokenizer), settings, folder, workers=world())
    trainer.resume()
    world().first(lambda: folder.change_steps(settings.steps))
    say(f"resuming {folder.path} after step {trainer.progress.step}")
    return run(trainer, config, folder, say)


def run(trainer: Trainer, config: dict[str, Any], folder: RunFolder, say: Say) -> int:
    """Train to the end, then judge the best weights on the test part and draw."""
    from . import plots

    name, steps = config["task"], trainer.settings.steps
    size = f"{config['kind']} with {trainer.model.num_parameters():,} parameters"
    say(f"task {name}: {recipes.recipe(name).says}; {size}; {steps:,} steps into {folder.path}")
    trainer.train(show=say)
    if trainer.losses and world().rank == 0:
        each = {Classification: "example", Tagging: "word", Answering: "end of an answer"}
        unit = f"nats per {each.get(type(trainer.objective), 'token')}"
        count = list(range(1, len(trainer.losses) + 1))
        plots.save(plots.plot_loss(count, trainer.losses, trainer.validation, unit=unit, measure=trainer.objective.measure), folder.path / "loss.png")
    if trainer.stopping and trainer.progress.step < steps:
        say(f"stopped after step {trainer.progress.step}; continue with: python -m transformer train --resume --out {folder.path}")
        return 128 + (trainer.signal or signal.SIGINT)
    model, tokenizer, _ = folder.load_model()
    print_result(name, judge(name, model, tokenizer, spread=world().spread), say)
    if world().rank == 0 and isinstance(trainer.objective, Translation | Tagging | Answering):
        example = trainer.objective.task.sample("test")[0].source
        if getattr(model, "attention", True) is not None:
            draw_attention(model, tokenizer, example, None, folder.path / "attention.png")
        say(f"try it: python -m transformer generate {folder.path} --prompt {json.dumps(example, ensure_ascii=False)}")
    return 0


# Judging ------------------------------------------------------------------------------------------------------------------


def judge(name: str, model: Any, tokenizer: Any, num_beams: int = 1, spread: Spread = map) -> dict[str, Any]:
    """How good the model is on the test part, which it has not seen, and for small tasks on the training part, apart."""
    work = recipes.objective(name, tokenizer)
    if isinstance(work, Classification):
        test = recipes.classified(name).part("test")
        return {"test accuracy": accuracy(work.logits(model, test.inputs, spread=spread), test.labels)}
    if isinstance(work, Tagging):
        return judge_tags(work, model, spread)
    if isinstance(work, Answering):
        return judge_answers(work, model, spread)
    task, codec = recipes.pair_task(name), Codec(tokenizer)
    result: dict[str, Any] = {}
    for part in PARTS if task.pairs and len(task.pairs) < 1000 else ("test",):
        pairs = task.sample(part)
        written = translate(model, codec, [pair.source for pair in pairs], num_beams=num_beams, spread=spread)
        wanted = [pair.target for pair in pairs]
        result[f"{part} exact match"] = exact_match(written, wanted)
        if part == "test":
            shown = [(p.source, text, p.target) for p, text in zip(pairs, written, strict=True)]
            result |= more_scores(name, written, wanted) | {"examples": wrong_first(shown)}
    return result


def more_scores(name: str, written: list[str], wanted: list[str]) -> dict[str, Any]:
    """What else there is to say of texts: BLEU and chrF of translations, ROUGE of summaries."""
    result: dict[str, Any] = {}
    if name in ("headlines", "xsum"):
        result |= {f"test {measure}": value for measure, value in scores.rouge(written, wanted).items()}
        add(result, lambda: {f"{m} by rouge-score": v for m, v in scores.rouge_scores(written, wanted).items()})
    if name == "strings":
        add(result, lambda: translation_scores(written, wanted))
    return result


def judge_tags(work: Tagging, model: Any, spread: Spread) -> dict[str, Any]:
    """F1 of spans on the test part."""
    test = work.task.sample("test")
    found, wanted = tagging.tag(model, work.pieces, test, spread=spread), [example.tags for example in test]
    result: dict[str, Any] = {"test span F1": scores.span_f1(found, wanted)}
    add(result, lambda: {"span F1 by seqeval": scores.seqeval_f1(found, wanted)})
    pairs = zip(test, found, strict=True)
    shown = [(e.source, tagging.bracketed(e, tags), tagging.bracketed(e, e.tags)) for e, tags in pairs]
    return {**result, "examples": wrong_first(shown)}


def judge_answers(work: Answering, model: Any, spread: Spread) -> dict[str, Any]:
    """Exact match of all, and of those without an answer, and F1 of words, on the test part."""
    test = work.task.sample("test")
    found, wanted = answering.answer(model, work.pieces, test, work.longest, spread=spread), [q.target for q in test]
    shown = [(q.source, answering.said(a), answering.said(q.target)) for q, a in zip(test, found, strict=True)]
    return {
        "test exact match": exact_match(found, wanted),
        "test exact match, no answer": scores.share([not a for a, b in zip(found, wanted, strict=True) if not b]),
        "test word F1": scores.token_f1(found, wanted),
        "examples": wrong_first(shown),
    }


def wrong_first(shown: list[tuple[str, str, str]], count: int = 3) -> list[tuple[str, str, str]]:
    """A few examples (read, said, right), the wrong ones first."""
    return [m for m in shown if m[1] != m[2]][:count] + [m for m in shown if m[1] == m[2]][:count]


def add(result: dict[str, Any], more: Callable[[], dict[str, Any]]) -> None:
    """Put in what an extra computes, or a note that names it."""
    try:
        result |= more()
    except ImportError as error:
        result["note"] = str(error)


def print_result(name: str, result: dict[str, Any], say: Say) -> None:
    """The scores, then examples, the wrong ones first."""
    width = max(22, 2 + max(map(len, result)))
    for label, value in result.items():
        if label != "examples":
            say(f"{label:<{width}}{value:.1f}" if isinstance(value, float) else f"{label:<{width}}{value}")
    for source, text, target in result.get("examples", ()):
        say(f"    {source} → {text}" + ("" if text == target else f"   (right: {target})"))


def as_json(result: dict[str, Any]) -> str:
    """The scores for programs."""
    plain = {k.replace(" ", "_"): {**v._asdict(), "rate": v.rate} if hasattr(v, "_asdict") else v for k, v in result.items()}
    return json.dumps(plain, indent=2, ensure_ascii=False)


def evaluate(folder: RunFolder) -> tuple[str, dict[str, Any]]:
    """The task of a run and its result on the test part."""
    model, tokenizer, config = folder.load_model()
    return config["task"], judge(config["task"], model, tokenizer, spread=world().spread)


# Using --------------------------------------------------------------------------------------------------------------------


def answer(folder: RunFolder, text: str, num_beams: int = 1, limit: int | None = None) -> str:
    """What the model makes of a text: the target, the class, the sentence with its spans in brackets, or the answer."""
    return answers(folder, [text], num_beams, limit)[0]


def answers(folder: RunFolder, texts: Sequence[str], num_beams: int = 1, limit: int | None = None, spread: Spread = map) -> list[str]:
    """What the model makes of each text."""
    model, tokenizer, config = folder.load_model()
    if limit is not None and limit < 1:
        raise ValueError(f"--tokens {limit}; expected 1 or more")
    if config["kind"] == "ImageClassifier":
        raise ValueError(f"{folder.path}: reads images, so there is nothing to write for a text")
    if config["kind"] == "Classifier":
        work = recipes.objective(config["task"], tokenizer)
        assert isinstance(work, Classification)
        p = np.exp(log_softmax(work.logits(model, texts, spread=spread).astype(np.float64)).data)
        return [f"{recipes.CLASSES[config['task']][int(row.argmax())]} ({row.max():.0%})" for row in p]
    if config["kind"] == "Tagger":
        examples = [sentences.tagged(text) for text in texts]
        if config["task"] == "roles" and (plain := [e.source for e in examples if e.predicate is None]):
            raise ValueError(f"{plain[0]!r}: of which verb? Put it between asterisks: the dog *chased* the cat")
        found = tagging.tag(model, Pieces(tokenizer), examples, spread=spread)
        return [tagging.bracketed(example, tags) for example, tags in zip(examples, found, strict=True)]
    if config["kind"] == "SpanReader":
        questions = [sentences.question(text) for text in texts]
        return [answering.said(a) for a in answering.answer(model, Pieces(tokenizer), questions, spread=spread)]
    for text in texts:
        check_length(model, Codec(tokenizer), text)
    return translate(model, Codec(tokenizer), texts, limit, num_beams, spread=spread)


def check_length(model: Any, codec: Codec, text: str) -> np.ndarray:
    """The ids of a text that the model can read; ValueError with both lengths."""
    ids = codec.encode(text)
    if len(ids) > model.max_length:
        raise ValueError(f"the text has {len(ids)} tokens with its end; this model reads up to {model.max_length}")
    return ids


def cross_attention(model: Any, codec: Codec, source: str, target: str | None = None) -> tuple[list[np.ndarray], list[str], list[str]]:
    """Where each target token looks: for each layer (heads, T, S), and the tokens of source (keys) and target (queries).

    The query at a row is the position that *writes* the row's token.  ``target`` is what the model itself writes unless it is given.
    """
    ids = check_length(model, codec, source)
    text = translate(model, codec, [source])[0] if target is None else target
    said = codec.encode(text)[: model.max_length]
    read = np.concatenate([[codec.begin], said[:-1]])
    with attention_maps(model) as maps, no_grad(), evaluating(model):
        model(ids[None], None, read[None])
        looked = [calls for name, calls in maps.items() if name == "attention" or name.endswith("cross_attention")]
    weights = [np.concatenate([call[0] for call in calls], axis=1) for calls in looked]  # an RNN looks once for each target token
    if not weights:
        raise ValueError(f"this {type(model).__name__} was built without attention; there is nothing to draw")
    return weights, [label(codec, i) for i in ids], [label(codec, i) for i in said]


def label(codec: Codec, token: int) -> str:
    """A token for the axis of a figure."""
    return {codec.begin: "⊢", codec.end: "⊣", codec.pad: "·"}.get(int(token)) or codec.tokenizer.token(int(token))


def self_attention(
    model: Tagger | SpanReader, pieces: Pieces, text: str
) -> tuple[list[np.ndarray], list[str], list[str]]:
    """Where each token of a text looks: for each layer (heads, T, T), the tokens, and what the model says of them.

    A tagger says the tag of a word, a reader marks the words of its answer.
    """
    if isinstance(model, Tagger):
        example = sentences.tagged(text)
        row = tagging.read(pieces, example, model.max_length)
        notes = dict(zip(row.first.tolist(), tagging.tag(model, pieces, [example])[0], strict=True))
    else:
        question = sentences.question(text)
        row = answering.read(pieces, question, model.max_length)
        (span,) = answering.spans(model, pieces, [question])
        first, last = answering.ends(row, question)
        places = [0] if span is None else range(first[span[0]], last[span[1]] + 1)
        notes = dict.fromkeys(places, "no answer" if span is None else "answer")
    with attention_maps(model) as maps, no_grad(), evaluating(model):
        model(*pieces.arrays([row]))
        weights = [calls[0][0] for calls in maps.values()]
    marks = {pieces.begin: "⊢", pieces.end: "⊣"}
    keys = [marks.get(int(i)) or pieces.tokenizer.token(int(i)).lstrip("␣") or "␣" for i in row.ids]
    noted = [f"{key}  {notes[i]}" if notes.get(i, "O") != "O" else key for i, key in enumerate(keys)]
    return weights, keys, noted


def draw_attention(model: Any, tokenizer: Any, source: str, target: str | None, path: Path) -> None:
    """Every layer and head: from what a model writes to what it read; of one that only reads, from token to token."""
    from . import plots

    if isinstance(model, Tagger | SpanReader):
        weights, keys, queries = self_attention(model, Pieces(tokenizer), source)
        names = "token (key)", "token, and what the model says of it (query)"
    else:
        weights, keys, queries = cross_attention(model, Codec(tokenizer), source, target)
        names = "source token (key)", "target token written (query)"
    plots.save(plots.plot_attention(weights, keys, queries, *names), path)
