"""The commands that train: ``train``, and the one without a name that shows the whole thing."""

from __future__ import annotations

import argparse
import itertools
import json
import signal
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from minigrad import manual_seed

from .. import plots
from ..data.bpe import BPETokenizer
from ..data.real import TEXTS, load_text
from ..data.tokenizers import CharTokenizer, Tokenizer
from ..models.build import build_model
from ..models.gpt import FEED_FORWARDS, NORMS, POSITIONS
from ..models.rnn import CELLS
from ..parallel import world
from ..training import recipes
from ..training.answering import Answering
from ..training.checkpoints import RunFolder
from ..training.classification import Classification
from ..training.loop import Trainer
from ..training.objectives import LanguageModelling, Objective, balanced
from ..training.run_data import is_task, language_modelling, name_of_text, objective_of_run, text_of_run
from ..training.settings import OPTIMIZERS, Settings
from ..training.tagging import Tagging
from . import options
from .attention import draw_example
from .evaluate import print_lines, print_result
from .options import UsageError, positive, refuse, say

LANGUAGE_MODEL: dict[str, Any] = {
    "tokenizer": "char", "vocab": 512, "layers": 4, "heads": 4, "width": 128, "context": 64, "dropout": 0.0, "positions": "rotary",
    "norm": "rms", "ffn": "gelu", "tied": False, "cell": "lstm",
}  # fmt: skip


def add_commands(commands: Any) -> None:
    train = commands.add_parser("train", help="train a language model, or a model for a task, into a run folder")
    train.set_defaults(run=train_command, works=True, shared=True)
    train.add_argument("--text", nargs="+", metavar="FILE", help="UTF-8 text files; default: the text that every Python carries")
    train.add_argument("--task", metavar="NAME", help=f"in place of a text: {', '.join([*recipes.RECIPES, *TEXTS])}")
    train.add_argument("--model", choices=["gpt", *recipes.PAIR_MODELS], help="default: gpt for texts, transformer for tasks on pairs")
    train.add_argument("--cell", choices=list(CELLS), help="of a recurrent model")
    train.add_argument("--out", metavar="DIR", help="the run folder (default: the next free runs/NNN)")
    train.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    train.add_argument("--tokenizer", choices=["char", "bpe"])
    train.add_argument("--vocab", type=positive, metavar="N", help="vocabulary of the BPE tokenizer")
    add_model_options(train)
    add_training_options(train)


def add_model_options(train: argparse.ArgumentParser) -> None:
    shared = "key/value heads, fewer than --heads to share them"
    for size, says in {"layers": None, "heads": None, "kv-heads": shared, "width": None, "context": None}.items():
        train.add_argument(f"--{size}", type=positive, metavar="N", help=says)
    train.add_argument("--dropout", type=float, metavar="X")
    for part, kinds in {"positions": list(POSITIONS), "norm": list(NORMS), "ffn": list(FEED_FORWARDS)}.items():
        train.add_argument(f"--{part}", choices=kinds)
    train.add_argument("--distinct-layers", type=positive, metavar="N", help="so many sets of weights for all --layers; default: one for each")


def add_training_options(train: argparse.ArgumentParser) -> None:
    """Every field of Settings is an option."""
    takes: dict[type, dict[str, Any]] = {
        bool: {"action": "store_const", "const": True}, str: {"choices": OPTIMIZERS},
        int: {"type": int, "metavar": "N"}, float: {"type": float, "metavar": "X"},
    }  # fmt: skip
    for field in fields(Settings):
        train.add_argument(options.name_of(field.name), dest=field.name, **takes[type(field.default)])


# Commands ----------------------------------------------------------------------------------------------------------------


def first_run(parse: Callable[[list[str]], argparse.Namespace]) -> int:
    """What a new user sees: gradients checked before their eyes, a model that learns, text, pictures."""
    from ..checks import demonstration

    print("Gradients, by the chain rule and by finite differences:")
    for line in demonstration():
        print("  " + line, flush=True)
    print()
    return train_command(parse(["train"]))


def next_run() -> Path:
    """The first free runs/NNN."""
    paths = (Path("runs") / f"{number:03}" for number in itertools.count(1))
    return next(path for path in paths if not path.exists())


def train_command(args: argparse.Namespace) -> int:
    """Train, or resume, on a text or on a task, and leave the pictures."""
    workers = world()
    job = continued(args) if args.resume else begun(args)
    folder, settings = job.folder, job.settings
    manual_seed(settings.seed)
    model = build_model(job.config, folder.config_file if args.resume else "the options")
    work = objective_of(job, folder if args.resume else None)
    trainer = Trainer(model, balanced(work, model), settings, folder, workers=workers)
    if args.resume:
        trainer.resume()
        workers.first(lambda: folder.change_steps(settings.steps))
        say(f"resuming {folder.path} after step {trainer.progress.step}")
    else:
        workers.first(lambda: folder.create({**job.config, "data": trainer.fingerprint}, job.tokenizer))
    say(opening(job, work, model) + f"; {settings.steps:,} steps into {folder.path}" + (
        f"; {workers.size} processes share each batch of {settings.batch_size}" if workers.size > 1 else ""
    ))
    trainer.train(show=say)
    if workers.rank == 0:
        draw_loss(trainer, work)
    if trainer.stopping and trainer.progress.step < settings.steps:
        say(f"stopped after step {trainer.progress.step}; continue with: python -m transformer train --resume --out {folder.path}")
        return 128 + (trainer.signal or signal.SIGINT)
    trainer.model, _, _ = folder.load_model()
    result = work.test(trainer.model, spread=workers.spread)
    if workers.rank == 0:
        show(trainer, work, job.config, result)
    return 0


class Job(NamedTuple):
    """What is to be trained: the run folder, its configuration and settings, the tokenizer, and the text, None for a run on a task."""

    folder: RunFolder
    config: dict[str, Any]
    settings: Settings
    tokenizer: Tokenizer | None
    text: str | None


def begun(args: argparse.Namespace) -> Job:
    if args.task and args.text:
        raise UsageError("--task brings its own data; leave out --text")
    folder = RunFolder(args.out or world().first(next_run))
    if args.task and args.task not in TEXTS:
        only = ("tokenizer", "vocab", "context", "kv_heads", "positions", "norm", "ffn", "distinct_layers")
        refuse(args, only, "is for language models of a text; a task sets it itself")
        tokenizer = recipes.make_tokenizer(args.task)
        config = recipes.configuration(args.task, args.model, vars(args), tokenizer)
        settings = Settings(**config["training"])
        options.check_rates(args, settings)
        return Job(folder, config, settings, tokenizer, None)
    options.check_training(args)
    settings = text_settings(args)
    options.check_rates(args, settings)
    text = load_text(args.text, args.task)
    use = {**LANGUAGE_MODEL, **{name: value for name, value in vars(args).items() if value is not None}}
    learned: Tokenizer = CharTokenizer.train(text) if use["tokenizer"] == "char" else BPETokenizer.train(text, use["vocab"])
    config = {
        **language_model(use, learned.vocab_size), "training": vars(settings),
        "text": [str(Path(t).resolve()) for t in args.text] if args.text else None, "task": args.task,
    }  # fmt: skip
    return Job(folder, config, settings, learned, text)


def text_settings(args: argparse.Namespace) -> Settings:
    """How to train a language model of a text: by the recipe of its optimizer, but for what was given."""
    given = {f.name: value for f in fields(Settings) if (value := getattr(args, f.name)) is not None}
    optimizer = given.get("optimizer", "adamw" if args.model == "rnn" else "muon")
    return Settings(**{**recipes.TEXT[optimizer], **given})


def continued(args: argparse.Namespace) -> Job:
    if not args.out:
        raise UsageError("--resume needs --out DIR, the folder of the run to continue")
    folder = RunFolder(args.out)
    config = folder.config()
    if args.task and args.task != config.get("task"):
        raise UsageError(f"--task {args.task}: the run in {args.out} is on {config.get('task') or 'a text'}; leave out --task")
    folder.check_trainable(config)
    own = None if config.get("tokenizer") is None else folder.tokenizer()
    settings = options.settings_of(config, folder.config_file, args.steps)
    options.check_resumed(args, config, own)
    if is_task(config):
        return Job(folder, config, settings, own, None)
    text = load_text(args.text, config.get("task")) if args.text else text_of_run(config)
    return Job(folder, config, settings, own or folder.tokenizer(), text)


def objective_of(job: Job, resumed: RunFolder | None) -> Objective:
    """What to train for; ValueError when a run that goes on cannot read the text."""
    if job.text is None or job.tokenizer is None:
        return objective_of_run(job.config, job.tokenizer)
    try:
        return language_modelling(job.text, job.tokenizer, job.config["model"]["context_length"])
    except ValueError as error:
        if resumed is None:
            raise
        raise ValueError(f"{resumed.path}: was trained on another text; resume with the same --text ({error})") from error


def language_model(use: dict[str, Any], vocab_size: int) -> dict[str, Any]:
    """The kind and the sizes of the model that the options describe."""
    sizes = {
        "vocab_size": vocab_size, "embedding_dim": use["width"], "num_layers": use["layers"], "context_length": use["context"],
        "dropout": use["dropout"],
    }  # fmt: skip
    kind = use.get("model") or "gpt"
    if kind not in ("gpt", "rnn"):
        raise UsageError(f"--model {kind} is for tasks on pairs; a language model of a text is gpt or rnn")
    own = {
        "num_heads": use["heads"], "num_kv_heads": use.get("kv_heads"), "norm": use["norm"], "positions": use["positions"],
        "ffn": use["ffn"], "tie_embeddings": use["tied"],
    } if kind == "gpt" else {"cell": use["cell"]}  # fmt: skip
    shared = {"distinct_layers": use["distinct_layers"]} if use.get("distinct_layers") else {}
    return {"kind": {"gpt": "GPT", "rnn": "RecurrentLM"}[kind], "model": {**sizes, **own}, **shared}


# What is shown -----------------------------------------------------------------------------------------------------------


def opening(job: Job, work: Objective, model: Any) -> str:
    count = f"{model.num_parameters():,} parameters"
    if not isinstance(work, LanguageModelling) or job.text is None or job.tokenizer is None:
        task = job.config["task"]
        return f"task {task}: {recipes.recipe(task).says}; {job.config['kind']} with {count}"
    tokens = len(work.train_ids) + len(work.validation_ids)
    read = f"the text is {name_of_text(job.config)}: {len(job.text):,} characters, {tokens:,} tokens, vocabulary {job.tokenizer.vocab_size}"
    return f"{read}; model with {count}"


def draw_loss(trainer: Trainer, work: Objective) -> None:
    """loss.png, with the lines to beat where there are some."""
    if not trainer.losses or not trainer.folder:
        return
    if isinstance(work, LanguageModelling):
        how: dict[str, Any] = {"baselines": work.lines}
    else:
        each = {Classification: "example", Tagging: "word", Answering: "end of an answer"}.get(type(work), "token")
        how = {"unit": f"nats per {each}", "measure": work.measure}
    figure = plots.plot_loss(range(1, len(trainer.losses) + 1), trainer.losses, trainer.validation, **how)
    plots.save(figure, trainer.folder.path / "loss.png")


def show(trainer: Trainer, work: Objective, config: dict[str, Any], result: dict[str, Any]) -> None:
    """How good the model is, what it does, where it looks, and what to try next."""
    folder, model = trainer.folder, trainer.model
    assert folder is not None
    if not isinstance(work, LanguageModelling):
        print_result(result)
        if example := draw_example(work, model, folder.path / "attention.png"):
            say(f"try it: python -m transformer generate {folder.path} --prompt {json.dumps(example, ensure_ascii=False)}")
        return
    print_lines(result["loss"], work.lines)
    seen, length = work.evaluate_seen(model), len(work.validation_ids) - 1
    say(f"\nmeasured alike, on {length:,} tokens each: training loss {seen:.3f}, validation loss {result['loss']:.3f}")
    sample = trainer.sample(tokens=400)
    say(f"\nThe model continues {work.opening()!r}:\n\n" + "\n".join("    " + line for line in sample.strip().splitlines()) + "\n")
    draw_example(work, model, folder.path / "attention.png")
    say(f"{folder.path}: {', '.join(sorted(file.name for file in folder.path.iterdir()))}")
    for step in next_steps(folder.path, config):
        say(step)


def next_steps(path: Path, config: dict[str, Any]) -> list[str]:
    steps = [(f"python -m transformer generate {path} --interactive", "write with it; :why shows what a token was chosen from")]
    if config["kind"] == "GPT":
        steps.append((f"python -m transformer page {path} --out page.html", "the model as a page: look into every head"))
    steps.append(("jupyter lab notebooks/00_the_whole_thing.ipynb", "the book, from chapter 00 on"))
    width = max(len(command) for command, _ in steps)
    return ["\nwhat next:", *(f"    {command:<{width}}   {why}" for command, why in steps)]
