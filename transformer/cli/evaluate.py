"""The command ``evaluate``: how good a run's model is on data that it has not seen."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from ..data import corpora
from ..parallel import world
from ..training.checkpoints import RunFolder
from ..training.examples import verdict
from ..training.objectives import LanguageModelling
from ..training.run_data import is_task, objective_of_run
from .options import UsageError, on_run, say


def add_commands(commands: Any) -> None:
    says = "loss, perplexity and bits per character, against simple lines; scores of a task"
    evaluate = on_run(commands, "evaluate", evaluate_command, says, shared=True)
    evaluate.add_argument("--text", nargs="+", metavar="FILE", help="another text; default: the validation part of the training text")
    evaluate.add_argument("--json", action="store_true", help="print JSON")


def evaluate_command(args: argparse.Namespace) -> int:
    """Loss, perplexity and bits per character, against the lines of models that count; of a task, its scores on the test part."""
    folder = RunFolder(args.dir)
    if args.text and is_task(folder.config()):
        raise UsageError("--text is for language models; a run on a task is judged on the task's test part")
    model, tokenizer, config = folder.load_model()
    work = objective_of_run(config, tokenizer)
    if args.text:
        assert isinstance(work, LanguageModelling)
        ids = tokenizer.encode(corpora.read_text(args.text))
        if len(ids) < 2:
            raise UsageError(f"the text has {len(ids)} tokens; evaluation needs two or more")
        work = LanguageModelling(work.train_ids, ids, work.context_length, tokenizer)
    result = work.test(model, spread=world().spread)
    if args.json:
        print(as_json(result))
    elif isinstance(work, LanguageModelling):
        print(f"{result['tokens']:,} tokens; {result['bits_per_character']:.3f} bits per character")
        print_lines(result["loss"], work.lines)
    else:
        print_result(result)
    return 0


def print_lines(loss: float, lines: dict[str, float]) -> None:
    """The model's loss among the lines to beat."""
    print("\nvalidation loss in nats per token (perplexity):")
    for name, value in {**lines, "this model": loss}.items():
        print(f"    {name:<12}{value:7.3f}  ({math.exp(value):,.1f})")


def print_result(result: dict[str, Any]) -> None:
    """The scores, then examples, the wrong ones first."""
    width = max(22, 2 + max(map(len, result)))
    for label, value in result.items():
        if label != "examples":
            say(f"{label:<{width}}{value:.1f}" if isinstance(value, float) else f"{label:<{width}}{value}")
    for source, text, target in result.get("examples", ()):
        say("    " + verdict(source, text, target))


def as_json(result: dict[str, Any]) -> str:
    plain = {k.replace(" ", "_"): {**v._asdict(), "rate": v.rate} if hasattr(v, "_asdict") else v for k, v in result.items()}
    return json.dumps(plain, indent=2, ensure_ascii=False)
