"""The command line: ``python -m transformer`` shows the whole thing; ``--help`` lists the commands.

Exit status 0 on success, 1 when a check fails, 2 on wrong usage, 130 after Ctrl-C; a user's mistake gets one line, never a traceback.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import manual_seed, no_grad

from .attention import attention_maps
from .bias.command import add_command as add_bias_command
from .data import corpora
from .data.tokenizers import BPETokenizer, CharTokenizer, Tokenizer
from .generation import beam_search, stream
from .metrics import bits_per_character, token_losses
from .models.decoder_only import FEED_FORWARDS, NORMS, POSITIONS
from .runs import RunFolder, build_model
from .training import Settings, Trainer


class UsageError(Exception):
    """A user's mistake, as one line."""


class Parser(argparse.ArgumentParser):
    """Reports a mistake in one line that says where help is."""

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: list[str] | None = None) -> int:
    """Run one command; gives the exit status."""
    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(encoding="utf-8", errors="replace")
    args = parser().parse_args(argv)
    try:
        return args.run(args)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (UsageError, ValueError, OSError, IndexError, FloatingPointError, MemoryError) as error:
        print(f"transformer: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 2


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

    train = commands.add_parser("train", help="train a language model into a run folder")
    train.set_defaults(run=train_command)
    train.add_argument("--text", nargs="+", metavar="FILE", help="UTF-8 text files; default: the text that every Python carries")
    train.add_argument("--out", metavar="DIR", help="the run folder (default: the next free runs/NNN)")
    train.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    train.add_argument("--tokenizer", choices=["char", "bpe"], default="char")
    train.add_argument("--vocab", type=positive, default=512, metavar="N", help="vocabulary of the BPE tokenizer")
    add_model_options(train)
    add_training_options(train)

    write = commands.add_parser("generate", help="write text with a trained model")
    write.set_defaults(run=generate_command)
    write.add_argument("dir", metavar="DIR")
    write.add_argument("--prompt", default="\n")
    write.add_argument("--tokens", type=int, default=300, metavar="N")
    write.add_argument("--temperature", type=float, default=0.8, metavar="X", help="0 is greedy")
    write.add_argument("--top-k", type=int, metavar="N")
    write.add_argument("--top-p", type=float, metavar="X")
    write.add_argument("--min-p", type=float, metavar="X")
    write.add_argument("--repetition-penalty", type=float, default=1.0, metavar="X")
    write.add_argument("--beams", type=positive, metavar="N", help="beam search instead of sampling")
    write.add_argument("--seed", type=int, metavar="N")

    evaluate = commands.add_parser("evaluate", help="loss, perplexity and bits per character, against simple lines")
    evaluate.set_defaults(run=evaluate_command)
    evaluate.add_argument("dir", metavar="DIR")
    evaluate.add_argument("--text", nargs="+", metavar="FILE", help="another text; default: the validation part of the training text")
    evaluate.add_argument("--json", action="store_true", help="print JSON")

    attention = commands.add_parser("attention", help="draw the attention maps of a text")
    attention.set_defaults(run=attention_command)
    attention.add_argument("dir", metavar="DIR")
    attention.add_argument("--text", required=True, metavar="S")
    attention.add_argument("--out", metavar="PNG", help="default: attention.png in the run folder")

    check = commands.add_parser("check", help="check the gradients of every op, layer and model against finite differences")
    check.set_defaults(run=check_command)
    check.add_argument("--op", metavar="NAME", help="only this op (with its derivation, worked out), layer or model")

    add_bias_command(commands, positive)
    return top


def add_model_options(train: argparse.ArgumentParser) -> None:
    """The shape of the model."""
    train.add_argument("--layers", type=positive, default=4, metavar="N")
    train.add_argument("--heads", type=positive, default=4, metavar="N")
    train.add_argument("--kv-heads", type=positive, metavar="N", help="key/value heads, fewer than --heads to share them")
    train.add_argument("--width", type=positive, default=128, metavar="N")
    train.add_argument("--context", type=positive, default=64, metavar="N")
    train.add_argument("--dropout", type=float, default=0.0, metavar="X")
    train.add_argument("--positions", choices=list(POSITIONS), default="learned")
    train.add_argument("--norm", choices=list(NORMS), default="layer")
    train.add_argument("--ffn", choices=list(FEED_FORWARDS), default="gelu")


def add_training_options(train: argparse.ArgumentParser) -> None:
    """Every field of Settings is an option."""
    names = {"batch_size": "--batch"}
    for field in fields(Settings):
        kind = type(field.default)
        option = names.get(field.name, "--" + field.name.replace("_", "-"))
        train.add_argument(option, dest=field.name, type=kind, default=field.default, metavar="N" if kind is int else "X")


# Commands ----------------------------------------------------------------------------------------------------------------


def first_run(args: argparse.Namespace) -> int:
    """What a new user sees: gradients checked before their eyes, a model that learns, text, pictures."""
    from .checks import demonstration

    print("Gradients, by the chain rule and by finite differences:")
    for line in demonstration():
        print("  " + line, flush=True)
    print()
    return train_command(parser().parse_args(["train", "--steps", "1200", "--evaluate-every", "300"]))


def load_text(text: list[str] | None) -> str:
    """The given files, or the default text."""
    return corpora.read_text(text) if text else corpora.default_text()


def held_out(ids: np.ndarray, context_length: int) -> tuple[np.ndarray, np.ndarray]:
    """The first 90 % for training; of the rest at most 200 000 tokens for validation, so that a large text does not wait for it."""
    train_ids, validation_ids = corpora.train_validation_split(ids, context_length)
    return train_ids, validation_ids[:200_001]


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
        tokenizer: Tokenizer = folder.tokenizer()
        try:
            settings = Settings(**config["training"])
            text_files = args.text or config["text"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder.config_file}: not a configuration of this project: {error}") from error
        text = load_text(text_files)
    else:
        folder = RunFolder(args.out or next_run())
        settings = Settings(**{f.name: getattr(args, f.name) for f in fields(Settings)})
        text_files = args.text
        text = load_text(text_files)
        tokenizer = CharTokenizer.train(text) if args.tokenizer == "char" else BPETokenizer.train(text, args.vocab)
        model_config = {
            "vocab_size": tokenizer.vocab_size, "embedding_dim": args.width, "num_heads": args.heads, "num_layers": args.layers,
            "context_length": args.context, "num_kv_heads": args.kv_heads, "dropout": args.dropout, "norm": args.norm,
            "positions": args.positions, "ffn": args.ffn,
        }  # fmt: skip
        training = {f.name: getattr(settings, f.name) for f in fields(Settings)}
        config = {"model": model_config, "training": training, "text": [str(Path(t).resolve()) for t in text_files] if text_files else None}
    manual_seed(settings.seed)
    try:
        model = build_model(config, "model options" if not args.resume else folder.config_file)
    except ValueError as error:
        raise ValueError(str(error).replace("model options: does not describe a model: ", "")) from error
    ids = tokenizer.encode(text)
    characters = len(text)
    del text
    train_ids, validation_ids = held_out(ids, model.context_length)
    trainer = Trainer(model, train_ids, validation_ids, settings, tokenizer, folder)
    if args.resume:
        trainer.resume()
        print(f"resuming {folder.path} after step {trainer.progress.step}", flush=True)
    else:
        folder.create(config, tokenizer)
    print(
        f"{characters:,} characters, {len(ids):,} tokens, vocabulary {tokenizer.vocab_size}; "
        f"model with {model.num_parameters():,} parameters; {settings.steps:,} steps into {folder.path}",
        flush=True,
    )
    lines = baselines(train_ids, validation_ids, tokenizer.vocab_size)
    trainer.train(show=lambda message: print(message, flush=True))
    draw_loss(trainer, lines, folder)
    if trainer.stopping and trainer.progress.step < settings.steps:
        print(f"stopped after step {trainer.progress.step}; continue with: python -m transformer train --resume --out {folder.path}")
        return 130
    best, _, _ = folder.load_model()
    losses = token_losses(best, validation_ids)
    loss = float(losses.mean(dtype=np.float64))
    print_lines(loss, lines)
    trainer.model = best
    sample = trainer.sample(tokens=400)
    print(f"\nThe model continues {trainer.opening()!r}:\n\n" + "\n".join("    " + line for line in sample.strip().splitlines()) + "\n")
    draw_attention(best, tokenizer, tokenizer.encode(trainer.opening())[: model.context_length], folder.path / "attention.png")
    print(f"{folder.path}: last.npz, best.npz, config.json, tokenizer.json, log.csv, samples.txt, loss.png, attention.png")
    print(f"more text: python -m transformer generate {folder.path} --prompt {json.dumps(trainer.opening().split(' ')[0], ensure_ascii=False)}")
    return 0


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
    """Text to standard output, as it is drawn."""
    model, tokenizer, _ = RunFolder(args.dir).load_model()
    ids = tokenizer.encode(args.prompt)
    if not len(ids):
        raise UsageError("--prompt is empty; give it at least one character")
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"--seed {args.seed}; expected 0 or more")
    if args.beams:
        found = beam_search(model, ids, args.tokens, args.beams)
        sys.stdout.write(tokenizer.decode(found) + "\n")
        return 0
    steps = stream(
        model, ids[None], args.tokens, args.temperature, args.top_k, args.top_p, args.min_p, args.repetition_penalty,
        rng=np.random.default_rng(args.seed),
    )  # fmt: skip
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    first = list(itertools.islice(steps, 1))  # a wrong setting is reported here, before any text
    sys.stdout.write(args.prompt)
    for step in itertools.chain(first, steps):
        sys.stdout.write(decoder.decode(tokenizer.token_bytes(int(step[0]))))
        sys.stdout.flush()
    sys.stdout.write(decoder.decode(b"", True) + "\n")
    return 0


def evaluate_command(args: argparse.Namespace) -> int:
    """Loss, perplexity and bits per character, against the uniform, unigram and bigram lines."""
    folder = RunFolder(args.dir)
    model, tokenizer, config = folder.load_model()
    train_ids, validation_ids = held_out(tokenizer.encode(load_text(config.get("text"))), model.context_length)
    ids = tokenizer.encode(corpora.read_text(args.text)) if args.text else validation_ids
    if len(ids) < 2:
        raise UsageError(f"the text has {len(ids)} tokens; evaluation needs two or more")
    losses = token_losses(model, ids)
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
    """Draw the maps of a text."""
    model, tokenizer, _ = RunFolder(args.dir).load_model()
    ids = tokenizer.encode(args.text)
    if not 1 <= len(ids) <= model.context_length:
        raise UsageError(f"--text has {len(ids)} tokens; this model takes 1 to {model.context_length}")
    out = Path(args.out) if args.out else Path(args.dir) / "attention.png"
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: no such folder {out.parent}")
    draw_attention(model, tokenizer, ids, out)
    print(out)
    return 0


def check_command(args: argparse.Namespace) -> int:
    """The table of gradient checks; exit status 1 when one fails."""
    from .checks import check_everything

    return check_everything(args.op)
