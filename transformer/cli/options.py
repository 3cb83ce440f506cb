"""Options that cannot do anything are refused: beside others, for this kind of model, or for a run that has begun."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..data.tokenizers import Tokenizer
from ..training.checkpoints import RunFolder
from ..training.settings import Settings

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
SIZES = {  # option: argument of the model
    "layers": "num_layers", "heads": "num_heads", "kv_heads": "num_kv_heads", "width": "embedding_dim", "context": "context_length",
    "dropout": "dropout", "positions": "positions", "norm": "norm", "ffn": "ffn", "cell": "cell",
}  # fmt: skip


class UsageError(Exception):
    """A user's mistake, as one line."""


def on_run(commands: Any, name: str, run: Callable[[argparse.Namespace], int], says: str, **defaults: Any) -> argparse.ArgumentParser:
    """Add a command whose first argument is the folder of a run."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=says)
    command.set_defaults(run=run, **defaults)
    command.add_argument("dir", metavar="DIR")
    return command


def positive(text: str) -> int:
    """A whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def say(message: str) -> None:
    """A line for the user, at once."""
    print(message, flush=True)


def name_of(option: str) -> str:
    """As it is written on the command line."""
    return "--batch" if option == "batch_size" else "--" + option.replace("_", "-")


def given(args: argparse.Namespace, option: str) -> bool:
    """Whether the user wrote the option."""
    value = getattr(args, option, None)
    return value is not None and value is not False


def refuse(args: argparse.Namespace, options: Iterable[str], why: str) -> None:
    """UsageError for the first of these options that was given."""
    for option in options:
        if given(args, option):
            raise UsageError(f"{name_of(option)} {why}; leave it out")


def check_folder(option: str, file: str | Path) -> None:
    """Refuse a file to be written whose folder does not exist."""
    if not Path(file).resolve().parent.is_dir():
        raise UsageError(f"{option} {file}: no such folder {Path(file).parent}")


def language_model(args: argparse.Namespace) -> tuple[Any, Tokenizer, dict[str, Any]]:
    """Model, tokenizer and configuration of a run that is on a text; ValueError for one on a task."""
    model, tokenizer, config = RunFolder(args.dir).load_model()
    if not hasattr(model, "context_length"):
        command = args.run.__name__.removesuffix("_command")
        raise ValueError(f"{args.dir}: is a {config['kind']} for the task {config['task']}; {command} is for language models of a text")
    return model, tokenizer, config


def check_training(args: argparse.Namespace) -> None:
    """Refuse what a new language model of a text has no use for."""
    if args.model == "rnn":
        refuse(args, ("heads", "kv_heads", "positions", "norm", "ffn"), "is for a Transformer; --model rnn has none")
    else:
        refuse(args, ("cell",), "is for a recurrent model, --model rnn")
    if args.tokenizer != "bpe":
        refuse(args, ("vocab",), "is for --tokenizer bpe; one of characters has as many tokens as the text has characters")


def check_rates(args: argparse.Namespace, settings: Settings) -> None:
    """A lowest rate above the highest would be lowered in silence."""
    if given(args, "min_lr") and settings.min_lr > settings.lr:
        raise UsageError(f"--min-lr {settings.min_lr:g} is above the highest rate, --lr {settings.lr:g}; lower it")


def check_generation(args: argparse.Namespace, kind: str) -> None:
    """Refuse what has no part in writing with this kind of model."""
    sampled = (*SAMPLING, "seed", "stop")
    if kind == "Classifier":
        refuse(args, (*sampled, "beams", "tokens", "interactive"), "is for models that write; this run classifies")
    elif kind in ("Transformer", "Seq2SeqRNN"):
        refuse(args, (*sampled, "interactive"), "is for language models; a run on a task writes its most likely answer")
    if args.beams:
        refuse(args, sampled, "is for sampled text; --beams searches for the most likely one")


def own_values(config: Mapping[str, Any], tokenizer: Tokenizer | None) -> dict[str, Any]:
    """What a run has in the place of each option of ``train``."""
    sizes, kind = config.get("model", {}), config.get("kind", "GPT")
    pairs_by_rnn = "rnn-attention" if sizes.get("attention") else "rnn"
    names = {"GPT": "gpt", "RecurrentLM": "rnn", "Transformer": "transformer", "Seq2SeqRNN": pairs_by_rnn}
    return {
        **{option: sizes.get(argument) for option, argument in SIZES.items()},
        **{name: value for name, value in config.get("training", {}).items() if name in Settings.__dataclass_fields__},
        "model": names.get(kind), "distinct_layers": config.get("distinct_layers"), "task": config.get("task"),
        "tokenizer": getattr(tokenizer, "kind", None), "vocab": getattr(tokenizer, "vocab_size", None),
    }  # fmt: skip


def check_resumed(args: argparse.Namespace, config: Mapping[str, Any], tokenizer: Tokenizer | None) -> None:
    """A run keeps its settings; all but the number of steps, which may change as long as it is not behind."""
    for option, value in own_values(config, tokenizer).items():
        if option != "steps" and given(args, option) and getattr(args, option) != value:
            has = "has none" if value is None else f"has {value}"
            raise UsageError(
                f"{name_of(option)} {getattr(args, option)}: the run in {args.out} {has}, and a run keeps its settings; "
                "leave it out, or start a new run (--steps alone may change)"
            )
    if config.get("task") is not None:
        refuse(args, ("text",), f"is for language models; the run in {args.out} is on {config['task']}")


def settings_of(config: Mapping[str, Any], where: Path, steps: int | None = None) -> Settings:
    """The settings of a run, with another number of steps if one is given; ValueError, naming the file, when they are none."""
    training = config.get("training")
    names = {field.name for field in fields(Settings)}
    if not isinstance(training, dict) or not set(training) <= names:
        raise ValueError(f"{where}: not a configuration of this project: 'training' is {training!r:.80}; expected settings of the training")
    try:
        return Settings(**{**training, **({} if steps is None else {"steps": steps})})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
