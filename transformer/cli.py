"""The command line: ``python -m transformer`` shows the whole thing; ``--help`` lists the commands.

Exit status 0 on success, 1 when a check fails, 2 on wrong usage, 130 after Ctrl-C; a user's mistake gets one line, never a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import itertools
import json
import math
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import manual_seed, no_grad
from minigrad.storage import write_atomically

from . import options, prompts, quality, recipes, streams, task_runs
from .attention import attention_maps
from .bias.command import add_command as add_bias_command
from .compression.command import add_commands as add_compression_commands
from .data import corpora
from .data.tokenizers import BPETokenizer, CharTokenizer, Tokenizer
from .files import brief
from .filters import Sampling
from .generation import beam_search
from .interactive import Session, text_steps
from .metrics import bits_per_character, token_losses
from .models.decoder_only import FEED_FORWARDS, NORMS, POSITIONS
from .models.recurrent import CELLS
from .objectives import LanguageModelling
from .options import UsageError, refuse
from .page.command import add_command as add_page_command
from .parallel import local_rank, world
from .runs import RunFolder, build_model
from .texts import data_of_run, held_out, load_text, text_of_run
from .training import Settings, Trainer

LANGUAGE_MODEL: dict[str, Any] = {
    "tokenizer": "char", "vocab": 512, "layers": 4, "heads": 4, "width": 128, "context": 64, "dropout": 0.0, "positions": "learned",
    "norm": "layer", "ffn": "gelu", "cell": "lstm",
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Reports a mistake in one line that says where help is."""

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: list[str] | None = None) -> int:
    """Run one command, on every process that mpiexec has started; gives the exit status."""
    closed = streams.open_closed()
    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(encoding="utf-8", errors="replace")
    try:
        workers = world()
    except (ImportError, RuntimeError) as error:
        if local_rank() == 0:
            print(f"transformer: {error}", file=sys.stderr)
        return 2
    return workers.run(lambda: command(argv, closed))


def command(argv: list[str] | None, closed: Sequence[str] = ()) -> int:
    """Run one command in this process; ``closed`` are the standard streams that were."""
    args = parser().parse_args(argv)
    works = args.run in (train_command, first_run) or getattr(args, "works", False)  # it leaves files, so what it says is not all
    try:
        if world().size > 1 and not (args.run in (train_command, evaluate_command, first_run) or getattr(args, "prompts", None)):
            raise UsageError("only train, evaluate and generate --prompts share their work; start this command without mpiexec")
        check_streams(args, closed, works)
        with streams.lasting() if works else contextlib.nullcontext():
            status = args.run(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (UsageError, ValueError, OSError, IndexError, FloatingPointError, MemoryError, ImportError) as error:
        if isinstance(error, OSError) and streams.reader_gone(error):
            streams.discard(sys.stdout)
            return 0
        print(f"transformer: {told(error)}", file=sys.stderr)
        return 2


def check_streams(args: argparse.Namespace, closed: Sequence[str], works: bool) -> None:
    """UsageError when what a command is for would go to, or come from, a stream that is closed."""
    if "stdout" in closed and not works and not getattr(args, "out", None):
        raise UsageError("standard output is closed, so there is nowhere to write to; redirect it to a file")
    if "stdin" in closed and getattr(args, "interactive", False):
        raise UsageError("standard input is closed, and --interactive reads its prompts there; use --prompt or --prompts FILE")


def told(error: Exception) -> str:
    """An error in one line of bounded length."""
    if isinstance(error, OSError) and error.strerror:
        unnamed = "standard output" if error.errno == errno.ENOSPC else ""
        parts = [str(part) for part in (error.filename or unnamed, error.strerror) if part]
        if error.errno == errno.ENOSPC and not error.filename:
            streams.discard(sys.stdout)  # Python would fail on it once more at its end
        return brief(": ".join(parts), 2000)
    return brief(error, 2000) or type(error).__name__


def positive(text: str) -> int:
    """A whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def parser() -> Parser:
    """The commands and their options."""
    top = Parser(prog="python -m transformer", description="Train, use and check small Transformers written in NumPy.")
    top.set_defaults(run=first_run)
    commands = top.add_subparsers(metavar="COMMAND", parser_class=Parser)

    train = commands.add_parser("train", help="train a language model, or a model for a task, into a run folder")
    train.set_defaults(run=train_command)
    train.add_argument("--text", nargs="+", metavar="FILE", help="UTF-8 text files; default: the text that every Python carries")
    train.add_argument("--task", metavar="NAME", help=f"in place of a text: {', '.join([*recipes.RECIPES, *recipes.TEXTS])}")
    train.add_argument("--model", choices=["gpt", *recipes.PAIR_MODELS], help="default: gpt for texts, transformer for tasks on pairs")
    train.add_argument("--cell", choices=list(CELLS), help="of a recurrent model")
    train.add_argument("--out", metavar="DIR", help="the run folder (default: the next free runs/NNN)")
    train.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    train.add_argument("--tokenizer", choices=["char", "bpe"])
    train.add_argument("--vocab", type=positive, metavar="N", help="vocabulary of the BPE tokenizer")
    add_model_options(train)
    add_training_options(train)

    write = commands.add_parser("generate", help="write text with a trained model")
    write.set_defaults(run=generate_command)
    write.add_argument("dir", metavar="DIR")
    write.add_argument("--prompt", help="default: a new line, or what the vocabulary has in its place")
    write.add_argument("--prompts", metavar="FILE", help="a prompt on each line; writes a JSON object for each, in order")
    write.add_argument("--out", metavar="FILE", help="where the answers to --prompts go; default: standard output")
    write.add_argument("--tokens", type=int, metavar="N", help="default 300; for a run on a task, as many as the answer needs")
    write.add_argument("--temperature", type=float, metavar="X", help="0 is greedy (default 0.8)")
    write.add_argument("--top-k", type=int, metavar="N")
    write.add_argument("--top-p", type=float, metavar="X")
    write.add_argument("--min-p", type=float, metavar="X")
    write.add_argument("--repetition-penalty", type=float, metavar="X")
    write.add_argument("--beams", type=positive, metavar="N", help="beam search instead of sampling")
    write.add_argument("--stop", metavar="S", help="end after this text")
    write.add_argument("--seed", type=int, metavar="N")
    write.add_argument("--interactive", action="store_true", help="a prompt that streams, explains and changes strategy on the fly")

    evaluate = commands.add_parser("evaluate", help="loss, perplexity and bits per character, against simple lines; scores of a task")
    evaluate.set_defaults(run=evaluate_command)
    evaluate.add_argument("dir", metavar="DIR")
    evaluate.add_argument("--text", nargs="+", metavar="FILE", help="another text; default: the validation part of the training text")
    evaluate.add_argument("--json", action="store_true", help="print JSON")

    quality.add_options(commands.add_parser("quality", help="likelihood, diversity and repetition of each decoding strategy"))

    attention = commands.add_parser("attention", help="draw the attention maps of a text")
    attention.set_defaults(run=attention_command)
    attention.add_argument("dir", metavar="DIR")
    attention.add_argument("--text", metavar="S", help="what the model reads (a run on a task has an example of its own)")
    attention.add_argument("--target", metavar="S", help="what a translating model writes; default: what it would write")
    attention.add_argument("--out", metavar="PNG", help="default: attention.png in the run folder")

    check = commands.add_parser("check", help="check the gradients of every op, layer and model against finite differences")
    check.set_defaults(run=check_command)
    check.add_argument("--op", metavar="NAME", help="only this op (with its derivation, worked out), layer or model")

    add_bias_command(commands, positive)
    add_compression_commands(commands, positive)
    add_page_command(commands)
    for one in (top, *commands.choices.values()):
        one.add_argument("--threads", type=positive, metavar="N", help="of matrix products (default 1: small ones gain nothing from more)")
    return top


def add_model_options(train: argparse.ArgumentParser) -> None:
    """The shape of the model."""
    train.add_argument("--layers", type=positive, metavar="N")
    train.add_argument("--heads", type=positive, metavar="N")
    train.add_argument("--kv-heads", type=positive, metavar="N", help="key/value heads, fewer than --heads to share them")
    train.add_argument("--width", type=positive, metavar="N")
    train.add_argument("--context", type=positive, metavar="N")
    train.add_argument("--dropout", type=float, metavar="X")
    train.add_argument("--positions", choices=list(POSITIONS))
    train.add_argument("--norm", choices=list(NORMS))
    train.add_argument("--ffn", choices=list(FEED_FORWARDS))
    train.add_argument("--distinct-layers", type=positive, metavar="N", help="so many sets of weights for all --layers; default: one for each")


def add_training_options(train: argparse.ArgumentParser) -> None:
    """Every field of Settings is an option."""
    names = {"batch_size": "--batch"}
    for field in fields(Settings):
        kind = type(field.default)
        option = names.get(field.name, "--" + field.name.replace("_", "-"))
        if kind is bool:
            train.add_argument(option, dest=field.name, action="store_const", const=True)
            continue
        train.add_argument(option, dest=field.name, type=kind, metavar="N" if kind is int else "X")


# Commands ----------------------------------------------------------------------------------------------------------------


def first_run(args: argparse.Namespace) -> int:
    """What a new user sees: gradients checked before their eyes, a model that learns, text, pictures."""
    from .checks import demonstration

    print("Gradients, by the chain rule and by finite differences:")
    for line in demonstration():
        print("  " + line, flush=True)
    print()
    return train_command(parser().parse_args(["train", "--steps", "1200", "--evaluate-every", "300"]))


def next_run() -> Path:
    """The first free runs/NNN."""
    number = 1
    while (path := Path("runs") / f"{number:03}").exists():
        number += 1
    return path


def train_command(args: argparse.Namespace) -> int:
    """Train, or resume, and leave the pictures."""
    if args.resume:
        if not args.out:
            raise UsageError("--resume needs --out DIR, the folder of the run to continue")
        folder = RunFolder(args.out)
        config = folder.config()
        if args.task and args.task != config.get("task"):
            raise UsageError(f"--task {args.task}: the run in {args.out} is on {config.get('task') or 'a text'}; leave out --task")
        for kind in {"compressed", "adapted"} & set(config):
            raise ValueError(f"{folder.path}: holds {kind} weights, which cannot be trained on; resume the run that they were made from")
        own = None if config.get("tokenizer") is None else folder.tokenizer()
        settings = options.settings_of(config, folder.config_file, args.steps)
        options.check_resumed(args, config, own)
        if task_runs.is_task(config):
            return task_runs.resume(folder, config, own, settings, say)
        tokenizer: Tokenizer = folder.tokenizer()
        text = load_text(args.text, config.get("task")) if args.text else text_of_run(config)
    else:
        if args.task and args.text:
            raise UsageError("--task brings its own data; leave out --text")
        folder = RunFolder(args.out or world().first(next_run))
        if args.task and args.task not in recipes.TEXTS:
            only = ("tokenizer", "vocab", "context", "kv_heads", "positions", "norm", "ffn", "distinct_layers")
            refuse(args, only, "is for language models of a text; a task sets it itself")
            return task_runs.start(args, folder, say)
        options.check_training(args)
        settings = Settings(**{f.name: value for f in fields(Settings) if (value := getattr(args, f.name)) is not None})
        options.check_rates(args, settings)
        text = load_text(args.text, args.task)
        use = {**LANGUAGE_MODEL, **{name: value for name, value in vars(args).items() if value is not None}}
        tokenizer = CharTokenizer.train(text) if use["tokenizer"] == "char" else BPETokenizer.train(text, use["vocab"])
        config = {
            **language_model(use, tokenizer.vocab_size), "training": {f.name: getattr(settings, f.name) for f in fields(Settings)},
            "text": [str(Path(t).resolve()) for t in args.text] if args.text else None, "task": args.task,
        }  # fmt: skip
    manual_seed(settings.seed)
    try:
        model = build_model(config, "model options" if not args.resume else folder.config_file)
    except ValueError as error:
        raise ValueError(str(error).replace("model options: does not describe a model: ", "")) from error
    try:
        ids = tokenizer.encode(text)
    except ValueError as error:
        if not args.resume:
            raise
        raise ValueError(f"{folder.path}: was trained on another text; resume with the same --text ({error})") from error
    characters = len(text)
    del text
    train_ids, validation_ids = held_out(ids, model.context_length)
    data = LanguageModelling(train_ids, validation_ids, model.context_length, tokenizer)
    workers = world()
    trainer = Trainer(model, data, settings, folder, workers=workers)
    if args.resume:
        trainer.resume()
        workers.first(lambda: folder.change_steps(settings.steps))
        print(f"resuming {folder.path} after step {trainer.progress.step}", flush=True)
    else:
        workers.first(lambda: folder.create({**config, "data": trainer.fingerprint}, tokenizer))
    print(
        f"{characters:,} characters, {len(ids):,} tokens, vocabulary {tokenizer.vocab_size}; "
        f"model with {model.num_parameters():,} parameters; {settings.steps:,} steps into {folder.path}"
        + (f"; {workers.size} processes share each batch of {settings.batch_size}" if workers.size > 1 else ""),
        flush=True,
    )
    lines = baselines(train_ids, validation_ids, tokenizer.vocab_size)
    trainer.train(show=say)
    if workers.rank == 0:
        draw_loss(trainer, lines, folder)
    if trainer.stopping and trainer.progress.step < settings.steps:
        print(f"stopped after step {trainer.progress.step}; continue with: python -m transformer train --resume --out {folder.path}")
        return 128 + (trainer.signal or signal.SIGINT)
    best, _, _ = folder.load_model()
    losses = token_losses(best, validation_ids, spread=workers.spread)
    if workers.rank:
        return 0
    loss = float(losses.mean(dtype=np.float64))
    print_lines(loss, lines)
    trainer.model = best
    sample = trainer.sample(tokens=400)
    print(f"\nThe model continues {data.opening()!r}:\n\n" + "\n".join("    " + line for line in sample.strip().splitlines()) + "\n")
    if config.get("kind") != "RecurrentLM":
        draw_attention(best, tokenizer, tokenizer.encode(data.opening())[: model.context_length], folder.path / "attention.png")
    print(f"{folder.path}: {', '.join(sorted(file.name for file in folder.path.iterdir()))}")
    print(f"more text: python -m transformer generate {folder.path} --prompt {json.dumps(data.opening().split(' ')[0], ensure_ascii=False)}")
    return 0


def say(message: str) -> None:
    """A line for the user, at once."""
    print(message, flush=True)


def language_model(use: dict[str, Any], vocab_size: int) -> dict[str, Any]:
    """The kind and the sizes of the model that the options describe."""
    sizes = {
        "vocab_size": vocab_size, "embedding_dim": use["width"], "num_layers": use["layers"], "context_length": use["context"],
        "dropout": use["dropout"],
    }  # fmt: skip
    shared = {"distinct_layers": use["distinct_layers"]} if use.get("distinct_layers") else {}
    if use.get("model") in (None, "gpt"):
        own = {"num_heads": use["heads"], "num_kv_heads": use.get("kv_heads"), "norm": use["norm"], "positions": use["positions"], "ffn": use["ffn"]}
        return {"kind": "GPT", "model": {**sizes, **own}, **shared}
    if use["model"] != "rnn":
        raise UsageError(f"--model {use['model']} is for tasks on pairs; a language model of a text is gpt or rnn")
    return {"kind": "RecurrentLM", "model": {**sizes, "cell": use["cell"]}, **shared}


def baselines(train_ids: np.ndarray, validation_ids: np.ndarray, vocab_size: int) -> dict[str, float]:
    """The loss of models that count: nothing, tokens, pairs of tokens."""
    return {
        "uniform": corpora.uniform_loss(vocab_size),
        "unigram": corpora.unigram_loss(train_ids, validation_ids, vocab_size),
        "bigram": corpora.bigram_loss(train_ids, validation_ids, vocab_size),
    }


def print_lines(loss: float, lines: dict[str, float]) -> None:
    """The model's loss among the lines to beat."""
    print("\nvalidation loss in nats per token (perplexity):")
    for name, value in {**lines, "this model": loss}.items():
        print(f"    {name:<12}{value:7.3f}  ({math.exp(value):,.1f})")


def draw_loss(trainer: Trainer, lines: dict[str, float], folder: RunFolder) -> None:
    """loss.png."""
    from . import plots

    if trainer.losses:
        steps = range(1, len(trainer.losses) + 1)
        plots.save(plots.plot_loss(list(steps), trainer.losses, trainer.validation, lines), folder.path / "loss.png")


def draw_attention(model: Any, tokenizer: Tokenizer, ids: np.ndarray, path: Path) -> None:
    """The attention of every layer and head on these tokens."""
    from . import plots

    with attention_maps(model) as maps, no_grad():
        model(np.asarray(ids)[None].astype(np.int64))
        weights = [calls[0][0] for calls in maps.values()]
    plots.save(plots.plot_attention(weights, [tokenizer.token(int(i)) for i in ids]), path)


def generate_command(args: argparse.Namespace) -> int:
    """Text to standard output, as it is drawn; of a run on a task, the answer to the prompt."""
    folder = RunFolder(args.dir)
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"--seed {args.seed}; expected 0 or more")
    if args.prompts:
        return generate_all(args, folder)
    if args.out:
        raise UsageError("--out is for the answers to --prompts FILE; a single text goes to standard output")
    config = folder.config()
    options.check_generation(args, config.get("kind", "GPT"))
    if task_runs.is_task(config):
        if not args.prompt:
            raise UsageError("--prompt is missing: the text to translate, to classify, to tag or to find an answer in")
        print(task_runs.answer(folder, args.prompt, args.beams or 1, args.tokens))
        return 0
    model, tokenizer, _ = folder.load_model()
    sampling, tokens = sampling_of(args), 300 if args.tokens is None else args.tokens
    if args.interactive:
        if args.beams or args.prompt is not None:
            raise UsageError("--interactive asks for its prompts, and samples; leave out --prompt and --beams")
        return Session(model, tokenizer, sampling, tokens, args.seed, args.stop).run()
    prompt = default_prompt(tokenizer) if args.prompt is None else args.prompt
    ids = tokenizer.encode(prompt)
    if not len(ids):
        raise UsageError("--prompt is empty; give it at least one character")
    if args.beams:
        sys.stdout.write(tokenizer.decode(beam_search(model, ids, tokens, args.beams)) + "\n")
        return 0
    pieces = text_steps(model, tokenizer, ids, tokens, sampling, np.random.default_rng(args.seed), args.stop)
    first = list(itertools.islice(pieces, 1))  # a wrong setting is reported here, before any text
    sys.stdout.write(prompt)
    for _, piece in itertools.chain(first, pieces):
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


def sampling_of(args: argparse.Namespace) -> Sampling:
    """What the options say of sampling."""
    usual = {"temperature": 0.8}
    return Sampling(**{**usual, **{name: getattr(args, name) for name in options.SAMPLING if options.given(args, name)}})


def default_prompt(tokenizer: Tokenizer) -> str:
    """A new line; where the vocabulary has none, a space; where it has neither, its first token."""
    for prompt in ("\n", " ", *(tokenizer.decode([i]) for i in range(min(tokenizer.vocab_size, 256)))):
        with contextlib.suppress(ValueError):
            if len(tokenizer.encode(prompt)):
                return prompt
    raise UsageError("--prompt is missing, and the vocabulary has no token to begin with")


def generate_all(args: argparse.Namespace, folder: RunFolder) -> int:
    """An answer to every line of a file."""
    if args.prompt is not None or args.interactive:
        raise UsageError("--prompts brings its own prompts; leave out --prompt and --interactive")
    if args.out and not Path(args.out).parent.is_dir():
        raise UsageError(f"--out {args.out}: no such folder {Path(args.out).parent}")
    config = folder.config()
    options.check_generation(args, config.get("kind", "GPT"))
    lines, workers = prompts.read_prompts(args.prompts), world()
    if task_runs.is_task(config):
        texts = task_runs.answers(folder, lines, args.beams or 1, args.tokens, spread=workers.spread)
    else:
        model, tokenizer, _ = folder.load_model()
        sampling, tokens = sampling_of(args), 300 if args.tokens is None else args.tokens
        rows = prompts.encoded(tokenizer, lines, args.prompts)
        seed = workers.first(lambda: int(np.random.default_rng().integers(1 << 32)) if args.seed is None else args.seed)
        texts = prompts.continuations(model, tokenizer, rows, tokens, sampling, seed, args.stop, args.beams or 0, workers.spread)
    found = "".join(json.dumps({"prompt": line, "text": text}, ensure_ascii=False) + "\n" for line, text in zip(lines, texts, strict=True))
    if args.out:
        workers.first(lambda: write_atomically(args.out, lambda file: file.write(found.encode("utf-8"))))
    else:
        sys.stdout.write(found)
    return 0


def evaluate_command(args: argparse.Namespace) -> int:
    """Loss, perplexity and bits per character, against the uniform, unigram and bigram lines; of a task, its scores on the test part."""
    folder = RunFolder(args.dir)
    if task_runs.is_task(folder.config()):
        if args.text:
            raise UsageError("--text is for language models; a run on a task is judged on the task's test part")
        name, result = task_runs.evaluate(folder)
        if args.json:
            print(task_runs.as_json(result))
        else:
            task_runs.print_result(name, result, say)
        return 0
    model, tokenizer, config = folder.load_model()
    train_ids, validation_ids = data_of_run(config, tokenizer, model.context_length)
    ids = tokenizer.encode(corpora.read_text(args.text)) if args.text else validation_ids
    if len(ids) < 2:
        raise UsageError(f"the text has {len(ids)} tokens; evaluation needs two or more")
    losses = token_losses(model, ids, spread=world().spread)
    loss = float(losses.mean(dtype=np.float64))
    lines = baselines(train_ids, ids, tokenizer.vocab_size)
    bits = bits_per_character(float(losses.sum(dtype=np.float64)), len(tokenizer.decode(ids[1:])))
    result = {"tokens": len(losses), "loss": loss, "perplexity": math.exp(loss), "bits_per_character": bits}
    result.update({f"{name}_loss": value for name, value in lines.items()})
    if args.json:
        print(json.dumps(result, indent=2))
        return 0
    print(f"{len(losses):,} tokens; {bits:.3f} bits per character")
    print_lines(loss, lines)
    return 0


def attention_command(args: argparse.Namespace) -> int:
    """Draw the maps of a text; of a model that writes, the cross-attention from what it writes to what it reads."""
    folder = RunFolder(args.dir)
    model, tokenizer, config = folder.load_model()
    out = Path(args.out) if args.out else Path(args.dir) / "attention.png"
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: no such folder {out.parent}")
    if config.get("kind") in ("Transformer", "Seq2SeqRNN", "Tagger", "SpanReader"):
        if args.target is not None and config["kind"] in ("Tagger", "SpanReader"):
            raise UsageError(f"--target is for models that write; this {config['kind']} reads one text: leave it out")
        source = args.text if args.text is not None else recipes.pair_task(config["task"]).sample("test")[0].source
        task_runs.draw_attention(model, tokenizer, source, args.target, out)
        print(out)
        return 0
    if config.get("kind", "GPT") not in ("GPT", "Classifier"):
        raise UsageError(f"{args.dir}: a {config['kind']} has no attention over text to draw")
    if args.text is None or args.target is not None:
        raise UsageError("this model reads one text: give --text and no --target")
    ids = tokenizer.encode(args.text)
    longest = model.context_length if config.get("kind", "GPT") == "GPT" else model.max_length
    if not 1 <= len(ids) <= longest:
        raise UsageError(f"--text has {len(ids)} tokens; this model takes 1 to {longest}")
    draw_attention(model, tokenizer, ids, out)
    print(out)
    return 0


def check_command(args: argparse.Namespace) -> int:
    """The table of gradient checks; exit status 1 when one fails."""
    from .checks import check_everything

    return check_everything(args.op)
