"""Every task by its recipe: exact match, accuracy or BLEU on the test part, for several seeds, beside the models to compare with.

    python -m benchmarks.tasks [--task NAME ...] [--model NAME ...] [--seeds 0 1 2] [--save]

Prints a line for each run.  With `--save` results are kept in benchmarks/tasks.json, and benchmarks/tasks.md is written from all of them, so the
table can be made in parts.  Times are processor seconds of one thread, training only.  The tasks strings, reviews and digits need their extras;
their PyTorch twins need `torch`, the line of sentence embeddings needs `minilm`.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # read when NumPy is imported

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import logistic
from minigrad import Tensor, manual_seed, nn, no_grad, recorded
from minigrad.storage import write_atomically
from transformer.bias import statistics
from transformer.data import real
from transformer.data.files import brief
from transformer.decoding.window import evaluating
from transformer.evaluation import metrics as scores
from transformer.evaluation.metrics import share
from transformer.models.build import build_model
from transformer.positions import Positions
from transformer.training import recipes
from transformer.training.loop import Trainer
from transformer.training.settings import Settings

HERE = Path(__file__).parent
Result = dict[str, Any]  # scores by name, "seconds", "parameters", "examples"


def main() -> int:
    every = [(task, model) for task, models in experiments().items() for model in models]
    models = sorted({model for _, model in every})
    parser = argparse.ArgumentParser(description="Train every task by its recipe; a table of results.")
    parser.add_argument("--task", nargs="+", choices=list(experiments()), metavar="NAME", help=f"of {', '.join(experiments())}")
    parser.add_argument("--model", nargs="+", choices=models, metavar="NAME", help=f"of {', '.join(models)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--save", action="store_true", help="keep the results in benchmarks/tasks.json and write benchmarks/tasks.md")
    arguments = parser.parse_args()
    for task, model in every:
        if (arguments.task and task not in arguments.task) or (arguments.model and model not in arguments.model):
            continue
        run = experiments()[task][model]
        for seed in arguments.seeds if model not in UNSEEDED else [0]:
            result = run(seed)
            print(f"{task:<10}{model:<20}seed {seed}  {summary(result)}  {result['seconds']:.0f} s", flush=True)
            for source, text, target in result.get("examples", [])[:4]:
                print(f"    {source} → {text}" + ("" if text == target else f"   (right: {target})"), flush=True)
            if arguments.save:
                keep(task, model, seed, result)
    return 0


# Experiments --------------------------------------------------------------------------------------------------------------

UNSEEDED = (  # what they find does not depend on a seed
    "bag of words", "MiniLM, linear head", "most frequent tag", "order alone", "words in common", "first sentence",
    "majority", "MiniLM, central sentence",
)  # fmt: skip


def experiments() -> dict[str, dict[str, Callable[[int], Result]]]:
    """Task → model → what to run with a seed."""

    def ours(task: str, model: str | None = None) -> Callable[[int], Result]:
        return lambda seed: train_ours(task, model, seed)

    def twin(task: str) -> dict[str, Callable[[int], Result]]:
        return {"PyTorch twin": lambda seed: train_twin(task, seed)}

    found = {task: {"Transformer": ours(task)} for task in ("copy", "reverse", "sort", "addition", "dates", "numbers")}
    found["reverse"]["no positions"] = lambda seed: train_ours("reverse", None, seed, blind=True)
    found["dates"] |= {"GRU, attention": ours("dates", "rnn-attention"), "GRU": ours("dates", "rnn")}
    found["strings"] = {"Transformer": ours("strings"), "PyTorch twin": lambda seed: train_twin("strings", seed)}
    found |= {
        "entities": {"Tagger": ours("entities"), **twin("entities"), "most frequent tag": frequent_tags("entities")},
        "roles": {
            "Tagger": ours("roles"), **twin("roles"),
            "no positions": lambda seed: train_ours("roles", None, seed, blind=True),
            "order alone": order_alone, "most frequent tag": frequent_tags("roles"),
        },
        "answers": {"SpanReader": ours("answers"), **twin("answers"), "words in common": words_in_common},
        "headlines": {
            "Transformer": ours("headlines"), **twin("headlines"), "first sentence": first_sentences("headlines"),
        },
    }  # fmt: skip
    found |= {
        "conll": {
            "Tagger": ours("conll"), "most frequent tag": frequent_tags("conll"),
            **{f"MiniLM, {how}": minilm_tagger(how) for how in FINE_TUNING},
        },
        "boolq": {
            "Classifier": ours("boolq"), "majority": majority("boolq"), "bag of words": bag_of_words("boolq"),
            "MiniLM, linear head": sentence_vectors("boolq"),
        },
        "xsum": {
            "Transformer": ours("xsum"), "first sentence": first_sentences("xsum"),
            "MiniLM, central sentence": central_sentences,
        },
    }  # fmt: skip
    found["digits"] = {"ImageClassifier": ours("digits")}
    found["reviews"] = {
        "Classifier": ours("reviews"), "PyTorch twin": lambda seed: train_twin("reviews", seed),
        "bag of words": bag_of_words("reviews"), "MiniLM, linear head": sentence_vectors("reviews"),
    }  # fmt: skip
    return found


def setting(task: str, model: str | None, seed: int) -> tuple[Any, Any, Any, Settings, str]:
    """Tokenizer, objective, model, settings and the model's kind."""
    tokenizer = recipes.make_tokenizer(task)
    config = recipes.configuration(task, model, {"seed": seed}, tokenizer)
    manual_seed(seed)
    return tokenizer, recipes.objective(task, tokenizer), build_model(config), Settings(**config["training"]), config["kind"]


def train_ours(task: str, model_name: str | None, seed: int, blind: bool = False) -> Result:
    """By the recipe; judged with the weights of the best validation loss, as a run folder keeps them."""
    tokenizer, objective, model, settings, _ = setting(task, model_name, seed)
    if blind:
        getattr(model, "bert", model).positions = Positions()
    seconds = train(model, objective, settings)
    return scored(task, model, tokenizer, seconds, model.num_parameters())


def train(model: Any, objective: Any, settings: Settings) -> float:
    """Train, and go back to the best weights; gives the processor seconds."""
    settings.sample_tokens = 0
    start = time.process_time()
    best: dict[str, Any] = {}
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        trainer = Trainer(model, objective, settings, output=nowhere)
        trainer.train(show=lambda _: best.update(model.state_dict()) if trainer.progress.best_step == trainer.progress.step else None)
    seconds = time.process_time() - start
    model.load_state_dict(best)
    model.eval()
    return seconds


def train_twin(task: str, seed: int) -> Result:
    """The same model in PyTorch from the same initial weights."""
    import torch

    from benchmarks import pytorch_tasks as twins

    torch.set_num_threads(1)
    tokenizer, objective, model, settings, kind = setting(task, None, seed)
    config = recipes.configuration(task, None, {"seed": seed}, tokenizer)["model"]
    twin = getattr(twins, kind)(**config)
    twin.load_ours(model)
    wrapped = twins.AsOurs(twin, model.max_length, model.vocab_size)
    wrapped.labels = getattr(model, "labels", ())
    start = time.process_time()
    trained = twins.train(twin, wrapped, objective, settings)
    return scored(task, trained, tokenizer, time.process_time() - start, model.num_parameters())


def scored(task: str, model: Any, tokenizer: Any, seconds: float, parameters: int) -> Result:
    result = recipes.objective(task, tokenizer).test(model)
    return {**plain(result), "seconds": seconds, "parameters": parameters}


def plain(result: Result) -> Result:
    """For JSON: of a score its value times its number of examples, that number, and the interval.

    What a library says again is left out.
    """
    found = {name: value for name, value in result.items() if " by " not in name and name != "note"}
    return {name: [v.rate * v.of, v.of, v.low, v.high] if hasattr(v, "rate") else v for name, v in found.items()}


# Baselines on sentences -----------------------------------------------------------------------------------------------


def frequent_tags(task: str) -> Callable[[int], Result]:
    """Each word gets the tag that it has most often in 20,000 training sentences; O where it is not there."""

    def run(seed: int) -> Result:
        start, data = time.process_time(), recipes.pair_task(task)
        known: dict[str, Counter[str]] = {}
        for example in data.listed["training"] if data.pairs else data.sample("training", 20_000):
            for word, tag in zip(example.words, example.tags, strict=True):
                known.setdefault(word, Counter())[tag] += 1
        test = data.sample("test")
        found = [[known[w].most_common(1)[0][0] if w in known else "O" for w in example.words] for example in test]
        score = scores.span_f1(found, [example.tags for example in test])
        return {**plain({"test span F1": score}), "seconds": time.process_time() - start, "parameters": len(known)}

    return run


def order_alone(seed: int) -> Result:
    """Whoever stands last before the verb did it, to whoever comes first after it; the phrases are given."""
    start, test = time.process_time(), recipes.pair_task("roles").sample("test")
    found = []
    for example in test:
        tags = ["O"] * len(example.words)
        known = [(first, last) for _, first, last in scores.spans(example.tags)]
        before = [span for span in known if span[1] < example.predicate][-1:]
        after = [span for span in known if span[0] > example.predicate][:1]
        for kind, chosen in (("AGENT", before), ("PATIENT", after)):
            for first, last in chosen:
                tags[first : last + 1] = [f"B-{kind}", *[f"I-{kind}"] * (last - first)]
        found.append(tags)
    score = scores.span_f1(found, [example.tags for example in test])
    return {**plain({"test span F1": score}), "seconds": time.process_time() - start, "parameters": 0}


def words_in_common(seed: int) -> Result:
    """Of the sentence that shares most words with the question, the longest run of words that the question lacks."""
    start, test = time.process_time(), recipes.pair_task("answers").sample("test")
    found = []
    for q in test:
        asked = {word.lower() for word in q.question}
        sentences = " ".join(q.passage).split(" .")
        best = max(sentences, key=lambda sentence: len(asked & set(sentence.lower().split())))
        runs: list[list[str]] = [[]]
        for word in best.split():
            runs = [*runs, []] if word.lower() in asked else [*runs[:-1], [*runs[-1], word]]
        found.append(" ".join(max(runs, key=len)))
    wanted = [q.target for q in test]
    result = {
        "test exact match": scores.exact_match(found, wanted),
        "test exact match, no answer": scores.share([not a for a, b in zip(found, wanted, strict=True) if not b]),
        "test word F1": scores.token_f1(found, wanted),
    }
    return {**plain(result), "seconds": time.process_time() - start, "parameters": 0}


def first_sentences(task: str) -> Callable[[int], Result]:
    """The summary is the report's first sentence."""

    def run(seed: int) -> Result:
        start, test = time.process_time(), recipes.pair_task(task).sample("test")
        found = [re.split(r"(?<=[.!?]) ", pair.source)[0] for pair in test]
        scored = summaries(found, [pair.target for pair in test])
        return {**scored, "seconds": time.process_time() - start, "parameters": 0}

    return run


def summaries(found: list[str], wanted: list[str]) -> Result:
    """Exact match and ROUGE."""
    rouge = {f"test {name}": value for name, value in scores.rouge(found, wanted).items()}
    return plain({"test exact match": scores.exact_match(found, wanted), **rouge})


def central_sentences(seed: int) -> Result:
    """The sentence of the report whose MiniLM vector lies nearest to the mean of all."""
    from transformer.pretrained import load_sentence_encoder

    start, test, encoder = time.process_time(), recipes.pair_task("xsum").sample("test"), load_sentence_encoder()
    found = []
    for pair in test:
        sentences = re.split(r"(?<=[.!?]) ", pair.source)
        vectors = encoder(sentences)
        found.append(sentences[int((vectors @ vectors.mean(axis=0)).argmax())])
    return {**summaries(found, [pair.target for pair in test]), "seconds": time.process_time() - start, "parameters": 0}


FINE_TUNING = {  # all-MiniLM-L6-v2 under a Tagger: what learns, and how fast
    "frozen": {"lr": 3e-3, "steps": 1000, "evaluate_every": 100},
    "adapters": {"lr": 2e-3, "steps": 60},
    "whole": {"lr": 2e-4, "steps": 60},
}


class Frozen(nn.Module):
    """A body that does not learn: it reads each text once, without dropout, and remembers the vectors."""

    def __init__(self, body: Any) -> None:
        self.body = body.eval()
        self.known: dict[bytes, np.ndarray] = {}
        for p in body.parameters():
            p.requires_grad = False

    def forward(self, ids: Any, mask: Any = None, segments: Any = None) -> Tensor:
        return Tensor(vectors(self, ids, mask, segments))


@recorded
def vectors(frozen: Frozen, ids: np.ndarray, mask: np.ndarray | None, segments: np.ndarray) -> np.ndarray:
    """(B, T) → (B, T, C), zeros at padding."""
    lengths = np.full(len(ids), ids.shape[1]) if mask is None else mask.sum(axis=1)
    found = np.zeros((*ids.shape, frozen.body.embedding_dim), np.float32)
    for row, line, segment, length in zip(found, ids, segments, lengths, strict=True):
        key = line[:length].tobytes() + segment[:length].tobytes()
        if key not in frozen.known:
            with no_grad(), evaluating(frozen.body):
                frozen.known[key] = frozen.body(line[None, :length], None, segment[None, :length]).data[0]
        row[:length] = frozen.known[key]
    return found


def minilm_tagger(how: str) -> Callable[[int], Result]:
    """A Tagger on MiniLM's body: the head alone learns, or low-rank adapters as well, or everything."""

    def run(seed: int) -> Result:
        from transformer.compression.adapters import add_adapters
        from transformer.models.bert import Tagger
        from transformer.pretrained import load_sentence_encoder

        encoder = load_sentence_encoder()
        manual_seed(seed)
        model = Tagger(encoder.model, real.CONLL_LABELS)
        if how == "adapters":
            add_adapters(model.bert, rank=8)
        if how == "frozen":
            model.bert = Frozen(model.bert)
        learning = sum(p.size for p in model.parameters() if p.requires_grad)
        given = {"batch_size": 8, "warmup": 10, "evaluate_every": 30, "weight_decay": 0.01, "min_lr": 1e-5}
        settings = Settings(seed=seed, **{**given, **FINE_TUNING[how]})
        seconds = train(model, recipes.objective("conll", encoder.tokenizer), settings)
        return scored("conll", model, encoder.tokenizer, seconds, learning)

    return run


# Baselines of classification ------------------------------------------------------------------------------------------


def majority(task: str) -> Callable[[int], Result]:
    """Always the class that is most frequent in the training part."""

    def run(seed: int) -> Result:
        data = recipes.classified(task)
        most = np.bincount(data.part("training").labels).argmax()
        return {**plain({"test accuracy": share(data.part("test").labels == most)}), "seconds": 0.0, "parameters": 0}

    return run


def bag_of_words(task: str) -> Callable[[int], Result]:
    """Logistic regression on which words a text contains."""

    def run(seed: int) -> Result:
        start, data = time.process_time(), recipes.classified(task)
        train, validation, test = (data.part(part) for part in ("training", "validation", "test"))
        words = logistic.Words(train.inputs)
        parts = [(words(part.inputs), part.labels) for part in (train, validation, test)]
        return linear_result(parts, (1.0, 3.0, 10.0, 30.0), start)

    return run


def sentence_vectors(task: str) -> Callable[[int], Result]:
    """Logistic regression on the sentence embeddings of all-MiniLM-L6-v2."""

    def run(seed: int) -> Result:
        from transformer.pretrained import load_sentence_encoder

        start, data, encoder = time.process_time(), recipes.classified(task), load_sentence_encoder()
        vectors = encoder(data.inputs)
        place = {text: i for i, text in enumerate(data.inputs)}
        parts = []
        for name in ("training", "validation", "test"):
            part = data.part(name)
            parts.append((logistic.Dense(vectors[[place[text] for text in part.inputs]]), part.labels))
        return linear_result(parts, (0.1, 0.3, 1.0, 3.0), start)

    return run


def linear_result(parts: list[Any], penalties: tuple[float, ...], start: float) -> Result:
    weights, bias = logistic.best_of(parts[0], parts[1], penalties)
    X, y = parts[2]
    right = share(((X @ weights + bias) > 0) == y)
    return {"test accuracy": [right.right, right.of, right.low, right.high], "seconds": time.process_time() - start, "parameters": len(weights) + 1}


# The table ----------------------------------------------------------------------------------------------------------------


def score_names(result: Result) -> list[str]:
    return [name for name in result if name not in ("seconds", "parameters", "examples", "note")]


def number(value: Any) -> float:
    """A score as a number: shares from 0 to 1, BLEU and chrF from 0 to 100."""
    return value[0] / value[1] if isinstance(value, list) else float(value)


def shown(value: Any) -> str:
    return f"{number(value):.2%}" if isinstance(value, list) else f"{value:.1f}"


def mean(values: list[Any]) -> str:
    """Of one score for each seed."""
    middle = float(np.mean([number(v) for v in values]))
    return f"{middle:.2%}" if isinstance(values[0], list) else f"{middle:.1f}"


def over_seeds(values: list[Any]) -> str:
    """Student's 95 % interval of the mean, within the scale of the score; nothing for one run."""
    if len(values) < 2:
        return ""
    highest = 1.0 if isinstance(values[0], list) else 100.0
    found = statistics.over_seeds([number(v) for v in values])
    low, high = max(0.0, found.low), min(highest, found.high)
    return f"{low:.1%} – {high:.1%}" if isinstance(values[0], list) else f"{low:.1f} – {high:.1f}"


def over_examples(value: Any) -> str:
    """The interval that comes with a score: how far other examples of the same kind would move it."""
    return f"{value[2]:.1%} – {value[3]:.1%}" if isinstance(value, list) else ""


def summary(result: Result) -> str:
    return ", ".join(f"{name} {shown(result[name])}" for name in score_names(result))


def keep(task: str, model: str, seed: int, result: Result) -> None:
    """Add one result to tasks.json, and write the table anew."""
    file = HERE / "tasks.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    known.setdefault(task, {}).setdefault(model, {})[str(seed)] = result
    text = json.dumps(known, indent=1, ensure_ascii=False) + "\n"
    write_atomically(file, lambda f: f.write(text.encode("utf-8")))
    table = report(known)
    write_atomically(HERE / "tasks.md", lambda f: f.write(table.encode("utf-8")))


SHOWN = ("dates", "numbers", "entities", "roles", "answers", "headlines", "conll", "xsum", "strings")


INTRODUCTION = """# Tasks

Made by `python -m benchmarks.tasks --save`: every model by the recipe of `python -m transformer train --task NAME`, judged on the test part
with the weights that were best on the validation part. A PyTorch twin is the same model made of PyTorch's own layers, trained by the same
recipe from the same initial weights. The data of `strings`, `reviews`, `digits`, `conll`, `boolq` and `xsum` are real. The last three are small
samples: from so few examples a small model learns little, and the baselines beside it say how little. Some of their recipes are short: `xsum` ends
after 100 steps, before the model writes sentences; under a head on MiniLM, adapters and the whole body learn for 60 steps, while the head alone,
on a frozen body, learns for 1,000.

- Mean: of the seeds 0, 1, 2, which stand before it. What draws nothing ("most frequent tag", "bag of words") is run once.
- 95 % over seeds: where the mean of many such trainings lies, by Student's t; wide, as three seeds say little about others.
- 95 % over examples: where the score of seed 0 lies for other test examples of the same kind, by Wilson's interval or the bootstrap.
- Parameters: those that learn; of the most frequent tag, the words that it knows.
- Seconds: processor time of one thread, the mean over seeds; of ours and the twins, of the training alone.

| task | score | mean | beside it |
| --- | --- | --- | --- |"""
MAIN = {"xsum": "test ROUGE-1"}  # no summary of the news is written twice in the same words
COLUMNS = "| score | model | parameters | seeds | mean | 95 % over seeds | 95 % over examples | seconds |"
SAYS = {"Transformer": ("writes", "written"), "Tagger": ("finds", "found"), "SpanReader": ("answers", "found")}


def report(known: dict[str, Any]) -> str:
    """First the main score of every task, then all that is known of each, in the order of the experiments."""
    overview, details = [INTRODUCTION], []
    for task, models in experiments().items():
        runs = {model: known.get(task, {}).get(model, {}) for model in models}
        found = {model: [by_seed[seed] for seed in sorted(by_seed, key=int)] for model, by_seed in runs.items() if by_seed}
        if not found:
            continue
        score = MAIN.get(task) or score_names(next(iter(found.values()))[0])[0]
        means = [f"{model} {mean([r[score] for r in results])}" for model, results in found.items()]
        overview.append(f"| [{task}](#{task}) | {score} | {means[0]} | {', '.join(means[1:])} |")
        about = recipes.recipe(task).says
        details += ["", f"## {task}", "", f"{about[0].upper()}{about[1:]}.", "", *table(found)]
        for model in SAYS if task in SHOWN else ():
            details += examples(model, found[model][0]) if model in found else []
    return "\n".join([*overview, *details]) + "\n"


def table(found: dict[str, list[Result]]) -> list[str]:
    """Each score of each model: the models of one score stand together."""
    lines = [COLUMNS, "| --- | --- | ---: | --- | --- | --- | --- | ---: |"]
    for score in dict.fromkeys(name for results in found.values() for name in score_names(results[0])):
        for model, results in found.items():
            values = [r[score] for r in results if score in r]
            if values:
                of = f" of {values[0][1]:,}" if isinstance(values[0], list) else ""
                seconds = np.mean([r["seconds"] for r in results])
                cells = (score + of, model, f"{results[0]['parameters']:,}", ", ".join(map(shown, values)), mean(values),
                         over_seeds(values), over_examples(values[0]), f"{seconds:.0f}")  # fmt: skip
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def examples(model: str, result: Result) -> list[str]:
    """What our model makes of a few inputs."""
    does, said = SAYS[model]
    rows = [[brief(text, 400).replace("|", "\\|") for text in row] for row in result["examples"]]
    head = [f"What the {model} {does} with seed 0, first where it is wrong:", "", f"| source | {said} | right |", "| --- | --- | --- |"]
    return ["", *head, *(f"| {' | '.join(row)} |" for row in rows)]


if __name__ == "__main__":
    sys.exit(main())
